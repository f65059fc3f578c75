/* What imap_existing.c (which copy is whose) and imap_existing_list.c (what lies in a folder)
 * share. */
#ifndef MAILHAUL_IMAP_EXISTING_STATE_H
#define MAILHAUL_IMAP_EXISTING_STATE_H

#include "transport/existing.h"
#include "transport/imap_existing.h"

/* A folder that was listed. */
struct imap_existing_box {
	struct imap_place *place; /* borrowed */
	struct existing_box box;
	struct imap_existing_box *next;
};

struct imap_existing {
	const struct sink_config *config; /* borrowed */
	struct existing table;
	struct imap_existing_box *boxes;
	bool knows_sent;	 /* of everything sent under numbers that nobody knows */
	struct tap *fingerprint; /* NULL: digests are compared */
	/* Of the parcel that is matched. */
	struct imap_existing_wanted {
		bool is_known; /* it may have a copy */
		uint8_t key[EXISTING_KEY_BYTES];
		struct digest value;
	} wanted[IMAP_PARCEL_MESSAGES_MAX];
	const struct existing_box *box;
	/* Rows that are read back, by UID. */
	struct existing_row **reading;
	size_t reading_count;
};

/* List the folder of the box, whose place has its numbers: it holds what may count. */
enum err imap_existing_list(struct imap_existing *, struct imap_session *,
			    struct imap_existing_box *) MUST_CHECK;

#endif
