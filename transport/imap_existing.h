/* Mail that lies in a destination's folders already and counts as the copy of what is to be sent
 * (--skip-existing). A folder is listed once, before anything is sent to it; bodies are read back
 * only where a size, or what the header says, makes one likely. What an earlier run sent, or found,
 * is nobody's: the ledger knows it. Each copy counts once. For the IMAP sink. Not for: what was
 * sent and not answered (imap_recover.c). */
#ifndef MAILHAUL_IMAP_EXISTING_H
#define MAILHAUL_IMAP_EXISTING_H

#include "engine/sink.h"
#include "transport/imap_look.h"
#include "transport/imap_parcel.h"
#include "transport/imap_place.h"

struct imap_existing;

/* config->existing is not SINK_EXISTING_NO; the config is borrowed. ERR_MEMORY_EXHAUSTED. */
enum err imap_existing_open(const struct sink_config *, struct imap_existing **) MUST_CHECK;
void imap_existing_close(struct imap_existing **);

/* Those of the parcel's messages that have a copy in its folder get the fate IMAP_MESSAGE_FOUND and
 * stand behind the others, parcel->found of them. *listed: the folder was listed for this, and
 * nothing may have been sent there yet; place->seen_top is set, and the numbers asked for before
 * are not known any more. The look's tap is of the kind that digests are of. Errors of class
 * SKIP_BOX: the folder will not be looked into; nothing was matched. ERR_NET_*, ERR_IMAP_*,
 * ERR_DISK_*, ERR_MEMORY_EXHAUSTED, those of config->ask_copies(). Suspends, for as long as all
 * that takes. */
enum err imap_existing_match(struct imap_existing *, struct imap_look *, struct imap_parcel *,
			     bool *listed) MUST_CHECK;

/* ---- parts, for tests ---- */

/* What a FETCH reply says, which stands behind "* ". Borrows from the reply, or `room`. */
struct imap_existing_facts {
	uint32_t uid; /* 0: it does not say */
	bool has_flags, is_deleted, has_size;
	uint64_t size_bytes;
	struct text header; /* of BODY[HEADER.FIELDS ...]; .at NULL: none */
};
enum { IMAP_EXISTING_HEADER_BYTES_MAX = 4096 };
/* False: it is no FETCH reply. */
bool imap_existing_read(struct text reply, char room[IMAP_EXISTING_HEADER_BYTES_MAX],
			struct imap_existing_facts *) MUST_CHECK;

#endif
