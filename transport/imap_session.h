/* An IMAP session up to and beside the transfer of messages: greeting, STARTTLS, login, ID, LOGOUT,
 * and replies one at a time for those who ask beside it (auth, imap_list). Runs on a fiber with
 * FIBER_STACK_LARGE. Not for: messages (imap_fetch). */
#ifndef MAILHAUL_IMAP_SESSION_H
#define MAILHAUL_IMAP_SESSION_H

#include "engine/source.h"
#include "transport/imap.h"
#include "transport/imap_hint.h"
#include "transport/imap_wire.h"

struct imap_session;
struct provider; /* transport/provider.h */

#define IMAP_APPEND_LIMIT_UNKNOWN UINT64_MAX

/* Connect, greet, secure, log in, ask capabilities again, exchange IDs. `account` is borrowed until
 * close. ERR_NET_*, ERR_TLS_*, ERR_IMAP_*, ERR_SOURCE_FOREIGN. Suspends. */
enum err imap_session_open(const struct account *, nsec until, struct imap_session **) MUST_CHECK;
/* The same with a destination: only such a session may send what changes the server
 * (imap_wire_allow_changes()). */
enum err imap_session_open_to_change(const struct account *, nsec until,
				     struct imap_session **) MUST_CHECK;
/* The same to take messages back: only such a session may send what removes them
 * (imap_wire_allow_removal()). */
enum err imap_session_open_to_remove(const struct account *, nsec until,
				     struct imap_session **) MUST_CHECK;
/* The same to bring flags up to date: only such a session may send what changes them
 * (imap_wire_allow_flags()). A dry run has no use for it. */
enum err imap_session_open_to_flag(const struct account *, nsec until,
				   struct imap_session **) MUST_CHECK;
void imap_session_close(struct imap_session **);
/* LOGOUT and its answer; a server that is gone already is no error. Suspends. */
enum err imap_session_finish(struct imap_session *, nsec until) MUST_CHECK;

struct imap_wire *imap_session_wire(struct imap_session *);
unsigned imap_session_capabilities(const struct imap_session *);
/* The largest message that any of the server's folders takes, RFC 7889; IMAP_APPEND_LIMIT_UNKNOWN
 * where it did not say. */
uint64_t imap_session_append_limit(const struct imap_session *);
/* The row of transport/provider.def that this server is, by host, ID or greeting, and capabilities;
 * never NULL. */
const struct provider *imap_session_provider(const struct imap_session *);
const struct account *imap_session_account(const struct imap_session *);
uint16_t imap_session_port(const struct imap_session *);
struct imap_grammar *imap_session_grammar(struct imap_session *);

/* ---- one reply at a time ---- */

enum imap_reply_kind { IMAP_TAGGED, IMAP_UNTAGGED, IMAP_CONTINUE };
struct imap_reply {
	enum imap_reply_kind kind;
	unsigned tag;	/* IMAP_TAGGED */
	bool is_status; /* `status` is valid */
	struct imap_status status;
	struct text text; /* behind tag, "* " or "+ "; literals inline; borrowed until the next */
};
/* The next reply in full. An unexpected BYE is an error. Suspends. */
enum err imap_session_reply(struct imap_session *, struct imap_reply *) MUST_CHECK;
/* Read up to the tagged answer of command `tag`, handing what comes before to `each` (NULL:
 * nobody). Status texts in *status are borrowed until the next reply. Suspends. */
typedef enum err imap_each(struct imap_session *, const struct imap_reply *, void *context);
enum err imap_session_answer(struct imap_session *, unsigned tag, imap_each *, void *context,
			     struct imap_status *status) MUST_CHECK;

#endif
