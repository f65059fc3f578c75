/* What became of messages after they were stored, as objects beside the packs: lines of JSON in
 * zstd frames, written once and never changed. docs/FORMAT.md section 5. Not for: what they come to
 * for a reader (archive_changes.h). */
#ifndef MAILHAUL_CHANGES_H
#define MAILHAUL_CHANGES_H

#include "engine/sink.h"
#include "transport/ndjson.h"

void changes_key(char to[STORE_KEY_BYTES_MAX + 1], const char *mailbox_key, uint64_t number);
const char *change_kind_name(enum change_kind);

/* ---- writing ---- */

struct changes;

/* Changes of one mailbox, into objects with numbers above those that are there. Nothing is written
 * before the first change. The store is borrowed and needs its lock, the texts are borrowed. */
enum err changes_open(struct store *, const char *mailbox_key, const char *mailbox_name,
		      struct changes **) MUST_CHECK;
/* Queue a change; memory stays bounded, however many there are. Suspends. */
enum err changes_add(struct changes *, const struct change *) MUST_CHECK;
/* All of them are durable and visible on return. Suspends. */
enum err changes_flush(struct changes *) MUST_CHECK;
void changes_close(struct changes **);

/* ---- reading ---- */

/* One line. Large: keep it off fiber stacks. */
struct change_line {
	char change[16];
	enum change_kind kind; /* by `change`; not at the end */
	char seen[40];
	char box[BOX_NAME_BYTES_MAX + 1], separator[5];
	uint64_t epoch, no;
	char was_box[BOX_NAME_BYTES_MAX + 1];
	uint64_t was_epoch, was_no;
	char date[40], flags[64], keywords[KEYWORDS_BYTES_MAX + 1];
	uint64_t changes; /* of the last line, whose `change` is "end": how many there are */
};
bool change_line_read(struct text, struct change_line *) MUST_CHECK;

/* An object read line by line: its head and its end are checked and not handed out. */
struct changes_read;
enum err changes_read_open(struct store *, const char *key, struct changes_read **) MUST_CHECK;
/* The next change, and its text, borrowed until the next call. ERR_PIPE_ENDED behind the last one,
 * ERR_ARCHIVE_DAMAGED. Suspends. */
enum err changes_read_next(struct changes_read *, struct change_line *,
			   struct text *line) MUST_CHECK;
void changes_read_close(struct changes_read **);

#endif
