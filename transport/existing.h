/* What lay in the folders of a destination before anything was sent to them in this run: a row a
 * message, in scratch storage, so memory does not grow with a folder. A row is found by its key
 * (its size, or what its header says) and counts as the copy of one message at most, once its bytes
 * were read back. Not for: asking the server (imap_existing.h). */
#ifndef MAILHAUL_EXISTING_H
#define MAILHAUL_EXISTING_H

#include "engine/mail.h"
#include "engine/scratch.h"

enum { EXISTING_KEY_BYTES = 16 };

struct existing_row {
	uint32_t uid;
	enum existing_state {
		EXISTING_UNREAD,
		EXISTING_READ,	/* `value` is valid */
		EXISTING_TAKEN, /* by a message, or ours, or not to be read: nobody's any more */
	} state;
	uint8_t key[EXISTING_KEY_BYTES];
	struct digest value; /* what two messages must have in common to be one */
};

/* Zero-initialised is valid: empty. */
struct existing {
	struct scratch rows, sent;
	size_t rows_count, sent_count;
	size_t sent_of_all; /* the first of `sent` mean every folder */
};
/* A folder's part of it; the last one that was begun may grow. */
struct existing_box {
	size_t first, count; /* rows */
	size_t sent_first, sent_count;
};

void existing_close(struct existing *);

/* ---- filling: begin, rows, by_uid, what is ours, by_key ---- */

void existing_begin(const struct existing *, struct existing_box *);
/* `taken`: it is nobody's. ERR_DISK_*, ERR_MEMORY_EXHAUSTED of the scratch storage. */
enum err existing_add(struct existing *, struct existing_box *, uint32_t uid,
		      const uint8_t key[EXISTING_KEY_BYTES], bool taken) MUST_CHECK;
/* The folder's rows. */
struct existing_row *existing_rows(const struct existing *, const struct existing_box *);
/* Sort by UID; of two rows with the same one stays. */
void existing_by_uid(struct existing *, struct existing_box *);
/* After existing_by_uid(): the row of this UID, NULL: there is none. */
struct existing_row *existing_of_uid(const struct existing *, const struct existing_box *,
				     uint32_t uid);
/* Something with this digest was sent to the folder, nobody knows under which UID: what has it is
 * nobody's. With `box` NULL to any folder: before the first is begun, closed by
 * existing_sent_ends() as the folder's own are. */
enum err existing_was_sent(struct existing *, struct existing_box *box,
			   const struct digest *) MUST_CHECK;
void existing_sent_ends(struct existing *, struct existing_box *box);
/* Sort by key; rows that are taken go. From here on rows stay where they are. */
void existing_by_key(struct existing *, struct existing_box *);

/* ---- asking ---- */

/* The rows with this key: *first and how many. In the order of their UIDs. */
size_t existing_find(const struct existing *, const struct existing_box *,
		     const uint8_t key[EXISTING_KEY_BYTES], struct existing_row **first);
/* See existing_was_sent(). */
bool existing_may_be_ours(const struct existing *, const struct existing_box *,
			  const struct digest *);

#endif
