/* Taking messages back from an IMAP server, by their UIDs and nothing else: UID STORE \Deleted and
 * UID EXPUNGE (RFC 4315), over a session of its own that can do no more. What else is marked
 * \Deleted in the folder stays. Not for: deciding which ones (engine/recheck.h reads them first).
 */
#ifndef MAILHAUL_IMAP_REMOVE_H
#define MAILHAUL_IMAP_REMOVE_H

#include "engine/bytes.h"
#include "engine/source.h"
#include "transport/imap_scan.h"

enum { IMAP_REMOVE_UIDS_MAX = 512 };

struct imap_remove;
/* Connect and log in; borrows the account until close. ERR_SINK_KEEPS: the server has no UIDPLUS,
 * and a plain EXPUNGE would take what others marked. `dry`: it only looks for that, and a session
 * that can change nothing. ERR_NET_*, ERR_TLS_*, ERR_IMAP_*. Suspends; needs a large stack. */
enum err imap_remove_open(const struct account *, bool dry, nsec until,
			  struct imap_remove **) MUST_CHECK;
void imap_remove_close(struct imap_remove **);
/* LOGOUT; a server that is gone already is no error. Suspends. */
void imap_remove_finish(struct imap_remove *, nsec until);

/* Remove `count` messages of the folder `raw`, whose UIDVALIDITY must be the one given; `uids`
 * ascend and are at most IMAP_REMOVE_UIDS_MAX. On OK the server has said so and was asked again:
 * there[i] tells of each whether it is there all the same. ERR_SOURCE_EPOCH: another folder has the
 * name, and nothing was done. ERR_IMAP_REFUSED, ERR_IMAP_BOX_GONE: no, and some may be marked. Any
 * other error: they may be gone. Suspends. */
enum err imap_remove_from(struct imap_remove *, const char *raw, uint32_t uidvalidity,
			  const uint32_t *uids, size_t count, bool *there) MUST_CHECK;

/* ---- parts, for tests ---- */

/* "1:3,7" of ascending numbers. */
void imap_remove_add_set(struct buffer *, const uint32_t *uids, size_t count);
/* The UID of a FETCH reply, which stands behind "* "; false where there is none. */
bool imap_remove_read_uid(struct text reply, uint32_t *uid) MUST_CHECK;

#endif
