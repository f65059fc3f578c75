/* What the parts of a catalogue share; private to transport/archive_catalogue*.c. */
#ifndef MAILHAUL_ARCHIVE_CATALOGUE_STATE_H
#define MAILHAUL_ARCHIVE_CATALOGUE_STATE_H

#include "engine/scratch.h"
#include "transport/archive_catalogue.h"
#include "transport/name_table.h"

enum {
	/* Epochs of one folder whose messages can be told apart. */
	EDITIONS_MAX = 64,
};
/* Numbers below one or the other have room for the epoch above them; above the widest for one
 * former epoch: whoever makes such numbers of hashes (transport/mime_source.c) has but one. */
#define NO_BITS	       32
#define NO_BITS_WIDE   40
#define NO_BITS_WIDEST 62
#define NO_MAX	       (((uint64_t)1 << NO_BITS_WIDEST) - 1)

/* A folder under one epoch. */
struct edition {
	uint64_t epoch, no_max;
	uint32_t folder;
	uint32_t next; /* of the same folder; EDITION_NONE: it is the last */
	uint32_t rank; /* among the former epochs; 0: it is the folder's own */
	bool kept;     /* it has rows */
};
enum { EDITION_NONE = UINT32_MAX };

struct folder_work {
	uint32_t editions; /* the first one */
	unsigned editions_count;
	uint32_t last_edition; /* of the last message */
	bool listed, left;
};

struct row {
	uint64_t no, size_bytes, body_offset;
	uint64_t pack; /* its number, doubled; odd: not compressed */
	uint64_t keywords_at;
	int64_t date_seconds;
	int32_t zone_minutes;
	uint32_t edition;
	struct digest digest;
	uint16_t keywords_bytes, keywords_dropped;
	uint8_t flags;
	bool date_known, vanished;
};

struct archive_catalogue {
	char mailbox_key[128];
	char prefix[BOX_PREFIX_BYTES_MAX + 1];
	bool with_vanished;
	struct archive_folder *folders;
	struct folder_work *work; /* beside them */
	size_t folders_count, folders_room;
	struct edition *editions;
	size_t editions_count, editions_room;
	struct name_table names, raws;
	struct scratch rows, keys, texts;
	size_t rows_count, texts_bytes;
	uint64_t keywords_at; /* of the last row that had some */
	uint16_t keywords_bytes;
	struct archive_loss *losses;
	size_t losses_count;
};

static inline struct row *catalogue_rows(const struct archive_catalogue *catalogue)
{
	return (struct row *)(void *)catalogue->rows.at;
}

static inline struct archive_key *catalogue_keys(const struct archive_catalogue *catalogue)
{
	return (struct archive_key *)(void *)catalogue->keys.at;
}

static inline enum err catalogue_no_memory(void)
{
	return RAISE(ERR_MEMORY_EXHAUSTED, "listing what an archive holds");
}

/* transport/archive_catalogue_folders.c: folders and the epochs that they had. `listed`: by the
 * manifest. */
enum err catalogue_folder_add(struct archive_catalogue *, const struct box *,
			      bool listed) MUST_CHECK;
enum err catalogue_folder_of(struct archive_catalogue *, const struct archive_message *,
			     uint32_t *index) MUST_CHECK;
/* EDITION_NONE: the folder has had too many. */
enum err catalogue_edition_of(struct archive_catalogue *, uint32_t folder, uint64_t epoch,
			      uint32_t *index) MUST_CHECK;
/* When all messages were met. */
void catalogue_rank(struct archive_catalogue *, size_t folder);
/* Where keys end; returns how far the epoch's rank is shifted in them. */
unsigned catalogue_set_next_no(struct archive_catalogue *, size_t folder);
/* What is added to the epoch's numbers. */
uint64_t catalogue_rank_base(const struct edition *, unsigned shift);

#endif
