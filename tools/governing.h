/* What copy and run have in common around limits: who the servers are (transport/provider), what
 * was asked for, and the ledger's memory of what they taught us (engine/govern). */
#ifndef MAILHAUL_TOOLS_GOVERNING_H
#define MAILHAUL_TOOLS_GOVERNING_H

#include "engine/govern.h"
#include "engine/ledger.h"
#include "tools/url.h"

/* Of one account at one server. */
struct governing {
	const struct url *url;
	enum govern_way way;	      /* GOVERN_DOWN: mail comes from there */
	uint64_t messages_per_second; /* 0: unbounded */
	uint64_t bytes_a_day;	      /* 0: as its provider says */
};

/* *out is NULL where there is no server to spare (file://). */
enum err governing_open(struct governor *, const struct governing *,
			struct govern **out) MUST_CHECK;

/* "mail.example", with ":port" where the URL has one: what lessons about a host are known by. */
enum { GOVERNING_HOST_BYTES = URL_PART_BYTES_MAX + 8 };
void governing_host(const struct url *, char to[GOVERNING_HOST_BYTES]);

/* An IMAP server where there can be none (WorkMail in the European Sovereign Cloud) is refused. */
enum err governing_check(const struct url *) MUST_CHECK;
/* A server that is going to be shut down is told of on stderr, with the days that are left. */
bool governing_tell_end(const char *command, const struct url *);
/* `asked`, or fewer connections where the provider allows no more; that is logged. */
unsigned governing_connections(const struct url *, unsigned asked);
/* The same of "host" or "host:port", and not logged. */
unsigned governing_connections_at(const char *host, unsigned asked);

/* One row of the ledger's lessons. Those of other kinds are passed over. */
enum err governing_learn(struct governor *, const struct ledger_lesson *) MUST_CHECK;
/* What changed since it was saved last. Suspends. */
enum err governing_save(struct governor *, struct ledger *) MUST_CHECK;

#endif
