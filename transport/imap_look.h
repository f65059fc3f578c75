/* Looking into a folder of an IMAP destination: what is there from a UID on, and how its bytes are,
 * over a conversation of its own that changes nothing (EXAMINE, BODY.PEEK). For the IMAP sink,
 * after a lost answer and for messages that some servers alter. */
#ifndef MAILHAUL_IMAP_LOOK_H
#define MAILHAUL_IMAP_LOOK_H

#include "engine/source.h"
#include "transport/parcel.h"

struct imap_look;

/* Connect and log in. `account` and `tap` are borrowed until close. ERR_NET_*, ERR_IMAP_*...
 * Suspends. */
enum err imap_look_open(const struct account *, struct reserve *, struct tap *, nsec until,
			struct imap_look **) MUST_CHECK;
void imap_look_close(struct imap_look **);
/* LOGOUT; a server that is gone already is no error. Suspends. */
void imap_look_finish(struct imap_look *, nsec until);

/* The digest of every message of the folder with a UID in [first, last]. The caller frees *found.
 * ERR_IMAP_BOX_GONE, ERR_IMAP_REFUSED, ERR_SOURCE_EPOCH (another UIDVALIDITY): of the folder.
 * Memory is 40 bytes a message. Suspends. */
enum err imap_look_into(struct imap_look *, const char *raw, uint32_t uidvalidity, uint32_t first,
			uint32_t last, struct parcel_found **found, size_t *count) MUST_CHECK;

#endif
