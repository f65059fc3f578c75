/* Looking into a folder of an IMAP destination: what is there from a UID on, and how its bytes are,
 * over a conversation of its own that changes nothing (EXAMINE, BODY.PEEK). For the IMAP sink,
 * after a lost answer and for messages that some servers alter. */
#ifndef MAILHAUL_IMAP_LOOK_H
#define MAILHAUL_IMAP_LOOK_H

#include "engine/source.h"
#include "transport/parcel_wanted.h"

struct imap_look;

/* What is there. */
struct imap_looked {
	struct parcel_found *found;
	size_t found_count;
	struct parcel_unread *unread; /* what the server does not hand out */
	size_t unread_count;
	uint64_t seen; /* messages, wanted or not */
};

/* Connect and log in. `account` is borrowed until close; a tap of the same kind as `tap` is made.
 * ERR_NET_*, ERR_IMAP_*... Suspends. */
enum err imap_look_open(const struct account *, struct reserve *, struct tap *, nsec until,
			struct imap_look **) MUST_CHECK;
void imap_look_close(struct imap_look **);
/* LOGOUT; a server that is gone already is no error. Suspends. */
void imap_look_finish(struct imap_look *, nsec until);

/* The digests of the messages of the folder with a UID in [first, last] that are wanted (NULL: all,
 * of a few). What the server does not hand out is asked for in ever smaller pieces, until it is
 * known which messages these are, and what size the server says they have.
 * out     zeroed where it fails; else imap_looked_free(). 120 bytes a message found
 * returns ERR_IMAP_BOX_GONE, ERR_IMAP_REFUSED, ERR_SOURCE_EPOCH (another UIDVALIDITY): of the
 *         folder; ERR_SINK_BUSY: very many that cannot be read
 * Suspends. */
enum err imap_look_into(struct imap_look *, const char *raw, uint32_t uidvalidity, uint32_t first,
			uint32_t last, struct parcel_wanted *, struct imap_looked *out) MUST_CHECK;
void imap_looked_free(struct imap_looked *);

/* Single messages of the folder: each that can be read is told, in any order; `fingerprint` is a
 * tap of transport/fingerprint.h (NULL: not wanted). Errors as above. Suspends. */
struct imap_look_one {
	uint32_t uid;
	struct digest digest, fingerprint;
};
typedef void imap_look_each(void *context, const struct imap_look_one *);
enum err imap_look_at(struct imap_look *, const char *raw, uint32_t uidvalidity,
		      const uint32_t *uids, size_t count, struct tap *fingerprint, imap_look_each *,
		      void *context) MUST_CHECK;
/* Its conversation, between two calls. */
struct imap_session *imap_look_session(struct imap_look *);

#endif
