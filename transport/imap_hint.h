/* What a server means by NO, BAD or BYE: which of our errors it is, whom it concerns, and how long
 * to stay away. Pure: reads the response code (RFC 5530) and, of servers that put it there, the
 * text. Not for: what to do about it (engine/retry, engine/backoff). */
#ifndef MAILHAUL_IMAP_HINT_H
#define MAILHAUL_IMAP_HINT_H

#include "transport/imap_scan.h"

struct imap_hint {
	enum err error; /* OK: the status was OK or PREAUTH */
	enum err_scope scope;
	nsec retry_after; /* 0: not said */
};

/* refused  what NO means where neither code nor text say more: ERR_IMAP_LOGIN for a login,
 *          ERR_IMAP_REFUSED for a folder, ERR_SINK_REFUSED for a message that was to be stored...
 *          BAD is ERR_IMAP_BAD then, and BYE ERR_IMAP_BYE. */
struct imap_hint imap_hint(const struct imap_status *, enum err refused);
/* Raise it with scope and time: "<what>: the server says NO [CODE] "text"". OK where that is OK. */
enum err imap_status_raise(const struct imap_status *, enum err refused,
			   const char *what) MUST_CHECK;

#endif
