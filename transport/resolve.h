/* A host as a list of addresses in the order in which they shall be tried. Literals are taken as
 * they are; names go through the system's resolver in the helper. Not for: connecting
 * (dial.h). */
#ifndef MAILHAUL_RESOLVE_H
#define MAILHAUL_RESOLVE_H

#include <netinet/in.h>

#include "engine/helper.h"

enum {
	RESOLVE_HOST_BYTES_MAX = 254, /* RFC 1035 section 2.3.4, with a last dot */
	RESOLVE_ADDRESSES_MAX = 16,   /* more are not worth the wait; large services give 8 */
	RESOLVE_SHOWN_BYTES = 64,     /* "[address%zone]:port", as in struct peer */
};

union resolve_address {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

struct resolve_list {
	unsigned count;
	union resolve_address addresses[RESOLVE_ADDRESSES_MAX];
};

/* ERR_NET_NAME with the resolver's reason, ERR_NET_TIMEOUT. On OK there is at least one. Suspends
 * for names, not for literals. */
enum err resolve(const char *host, uint16_t port, nsec until, struct resolve_list *) MUST_CHECK;

/* False: `host` is a name, or nothing at all. */
bool resolve_literal(const char *host, uint16_t port, union resolve_address *) MUST_CHECK;

/* What the helper is started with. */
extern const struct helper_call resolve_call;

/* In the resolver's order (RFC 6724), families alternating (RFC 8305 section 4), no address twice.
 */
void resolve_order(struct resolve_list *);

socklen_t resolve_address_bytes(const union resolve_address *);
/* "192.0.2.1:993", "[2001:db8::1]:993"; returns `to`. */
const char *resolve_show(const union resolve_address *, char to[RESOLVE_SHOWN_BYTES]);

#endif
