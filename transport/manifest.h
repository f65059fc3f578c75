/* The manifest of a mailbox: generations, each naming its predecessor's digest, the packs and the
 * changes that came since; folders anew in each. docs/FORMAT.md section 4. */
#ifndef MAILHAUL_MANIFEST_H
#define MAILHAUL_MANIFEST_H

#include "transport/archive_faults.h"
#include "transport/ndjson.h"

/* The first line. generation 0: there is none yet. */
struct manifest_head {
	char mailbox[512], digest_name[16], created[40];
	uint64_t generation;
	uint8_t previous[DIGEST_BYTES];				  /* zeros in the first */
	uint64_t packs, messages, bytes, stored_bytes, last_pack; /* sums of the whole chain */
	uint64_t changes, last_changes;				  /* the same; 0 of old ones */
};

/* Any other line; `line` says which members are meant. Large: keep it off fiber stacks. */
struct manifest_line {
	char line[8]; /* "pack", "changes", "box", "end" */
	uint64_t number, pack_bytes, index_bytes, messages, bytes;
	char pack[STORE_KEY_BYTES_MAX + 1], index[STORE_KEY_BYTES_MAX + 1];
	uint8_t pack_digest[DIGEST_BYTES], index_digest[DIGEST_BYTES];
	char name[BOX_NAME_BYTES_MAX + 1], raw[BOX_NAME_BYTES_MAX + 1], separator[5], use[16];
	char prefix[BOX_PREFIX_BYTES_MAX + 1];
	bool subscribed, selectable;
	uint64_t epoch;
	char object[STORE_KEY_BYTES_MAX + 1]; /* "changes": its key */
	uint8_t object_digest[DIGEST_BYTES];
	uint64_t object_bytes, reflagged, vanished, renumbered;
	uint64_t lines;
};
bool manifest_head_read(struct text line, struct manifest_head *) MUST_CHECK;
bool manifest_line_read(struct text line, struct manifest_line *) MUST_CHECK;
void manifest_line_box(const struct manifest_line *, struct box *);

void manifest_key(char to[STORE_KEY_BYTES_MAX + 1], const char *mailbox_key, uint64_t generation);
/* The head of the newest generation. Where it is damaged, head->generation still says which. */
enum err manifest_newest(struct store *, const char *mailbox_key,
			 struct manifest_head *) MUST_CHECK;

/* The newest one up to a moment (zeros: now) that can be read: each that cannot is told, and the
 * one before it taken. */
enum err manifest_find(struct archive_faults *, struct store *, const char *mailbox_key,
		       const struct archive_moment *, struct manifest_head *) MUST_CHECK;

/* Folders met in this run. Zero-initialised is valid and empty; release with manifest_boxes_free().
 */
struct manifest_boxes {
	struct buffer lines;
	uint64_t *
		hashes; /* of names, to tell which ones of the last generation were not met again */
	size_t count, room;
};
enum err manifest_boxes_add(struct manifest_boxes *, const struct box *) MUST_CHECK;
void manifest_boxes_free(struct manifest_boxes *);

/* Write the next generation if there are packs or changes that the newest one does not list, or if
 * folders are others. */
struct manifest_next {
	const char *mailbox_key, *mailbox_name;
	const struct tap_type *digest;
	struct manifest_boxes *boxes; /* may be reordered */
};
enum err manifest_write(struct store *, const struct manifest_next *) MUST_CHECK;

#endif
