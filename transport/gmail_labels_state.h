/* What the parts of the labels share; private to transport/gmail_labels*.c. */
#ifndef MAILHAUL_GMAIL_LABELS_STATE_H
#define MAILHAUL_GMAIL_LABELS_STATE_H

#include "engine/scratch.h"
#include "transport/gmail_labels.h"
#include "transport/name_table.h"

enum { GMAIL_FOLDER_NONE = UINT32_MAX };

struct gmail_folder {
	char *name, *raw;
	char id[64]; /* what the ledger knows it by, whatever it is called */
	char separator;
	enum box_use use;
	bool subscribed, childless;
	bool listed; /* by the server; else a label has it, and IMAP does not show it */
	bool wanted; /* by the filter of folders */
	unsigned levels;
	uint64_t announced; /* by the server, of messages with the label */
	uint64_t labelled;  /* in All Mail */
	size_t first, end;  /* its places */
	uint64_t mark[2];   /* equal: the same messages, flags and keywords */
};

struct gmail_label {
	char *raw; /* as the server says it */
	enum gmail_label_kind {
		GMAIL_LABEL_USERS,
		GMAIL_LABEL_PLACE, /* \Inbox, \Sent, \Draft */
		GMAIL_LABEL_MARK,  /* \Important, ...: a keyword at most */
		GMAIL_LABEL_FLAG,  /* \Starred, which FLAGS says, too */
	} kind;
	enum box_use use; /* of a place */
	uint32_t folder;  /* GMAIL_FOLDER_NONE: it has none */
};

/* Labels that one or more messages have together. */
struct gmail_set {
	uint32_t labels_at, labels_count; /* in `numbers` */
	uint32_t folders_at, folders_count;
	uint64_t messages;
};

struct gmail_row {
	uint32_t uid, set, keywords;
	uint32_t stays; /* the folder an earlier run settled it in; GMAIL_FOLDER_NONE: none */
	uint8_t flags;
	bool wanted;
};

/* What an earlier run settled of a message in a folder (struct settled_before), the best first. */
enum gmail_rank {
	GMAIL_RANK_THERE,      /* stored */
	GMAIL_RANK_GONE_LATER, /* stored, and then the source had it in this folder no more */
	GMAIL_RANK_NOT_STORED, /* skipped, or taken back */
	GMAIL_RANK_NONE,       /* nothing */
};

struct gmail_recalled {
	uint32_t no, id;
	enum gmail_rank rank;
};

struct labels {
	enum gmail_rule rule;
	bool keywords_wanted;
	const struct filter *filter;
	struct box all, work; /* `work`: where a folder is put together to be judged */
	struct gmail_folder *folders;
	size_t folders_count, folders_room;
	uint32_t archive; /* the folder of those without another one */
	struct gmail_label *labels;
	size_t labels_count, labels_room;
	struct name_table names, raws; /* of folders */
	struct name_table label_names, sets_known, keywords_known;
	struct buffer keywords; /* texts, each terminated */
	struct scratch rows, sets, numbers, places;
	size_t rows_count, sets_count, numbers_count, places_count;
	struct gmail_sums sums;
	/* What earlier runs settled. */
	struct name_table ids; /* gmail_id_key() of folders */
	struct scratch recalled;
	size_t recalled_count;
};

static inline struct gmail_row *gmail_rows(const struct labels *labels)
{
	return (struct gmail_row *)(void *)labels->rows.at;
}

static inline struct gmail_set *gmail_sets(const struct labels *labels)
{
	return (struct gmail_set *)(void *)labels->sets.at;
}

static inline uint32_t *gmail_numbers(const struct labels *labels)
{
	return (uint32_t *)(void *)labels->numbers.at;
}

static inline uint32_t *gmail_places(const struct labels *labels)
{
	return (uint32_t *)(void *)labels->places.at;
}

static inline enum err gmail_no_memory(void)
{
	return RAISE(ERR_MEMORY_EXHAUSTED, "keeping which labels messages have");
}

/* Room for `bytes` bytes, doubled as often as need be. */
enum err gmail_room(struct scratch *, size_t bytes) MUST_CHECK;
enum { GMAIL_ID_KEY_BYTES = BOX_ID_BYTES_MAX + 24 };
char *gmail_id_key(char to[GMAIL_ID_KEY_BYTES], const char *id, uint64_t epoch);
/* That of all folders here. */
uint64_t gmail_labels_epoch(const struct labels *);
/* Append to `numbers`. */
enum err gmail_add_number(struct labels *, uint32_t number) MUST_CHECK;
/* The folder of a box, new. */
enum err gmail_folder_add(struct labels *, const struct box *, bool listed,
			  uint32_t *out) MUST_CHECK;

/* The names of a label that the server spells so, in modified UTF-7 or in UTF-8: raw and name of
 * `work`. */
enum err gmail_label_names(struct labels *, struct text raw) MUST_CHECK;

/* transport/gmail_labels_rule.c: what the rule says, when all is known. */
enum err gmail_choose_folders(struct labels *) MUST_CHECK;

#endif
