/* tar as far as packs need it: POSIX.1-2001 pax headers and ustar headers written, and read again
 * by feeding bytes. Knows no mail and no compression. docs/FORMAT.md section 2.1. */
#ifndef MAILHAUL_TAR_H
#define MAILHAUL_TAR_H

#include "engine/bytes.h"
#include "engine/err.h"

enum {
	TAR_BLOCK_BYTES = 512,
	/* 1024 bytes of folder name, every byte encoded as three, and the file name. */
	TAR_NAME_BYTES_MAX = 3400,
	/* Records of one member: the name twice (as member and as folder), keywords, numbers. */
	TAR_RECORDS_BYTES_MAX = 16 * 1024,
	/* Longest level of a member's name; file systems stop at 255. */
	TAR_LEVEL_BYTES_MAX = 200,
	TAR_END_BYTES = 2 * TAR_BLOCK_BYTES,
};

/* Append a folder's levels as a member's name has them, joined by '/'. separator '\0': one level.
 */
enum err tar_path_add(struct buffer *to, struct text folder, char separator) MUST_CHECK;

/* Append one pax record. */
void tar_record_add(struct buffer *to, const char *key, struct text value);

/* Append a member's head: pax header and `records` if there are any, and the ustar header. Where
 * the name or the size does not fit the latter, `records` gets them as well, so pass at least an
 * empty buffer; it is changed. */
struct tar_entry {
	struct text name; /* whole, '/'-separated */
	uint64_t size_bytes;
	uint64_t mtime; /* seconds; at most 33 bits */
};
void tar_head_add(struct buffer *to, const struct tar_entry *, struct buffer *records);

static inline size_t tar_padding(uint64_t size_bytes)
{
	return (size_t)(-size_bytes % TAR_BLOCK_BYTES);
}

/* ---- reading ---- */

/* Whether a block is the ustar header of a file of this name without a pax header, and how long the
 * file is. */
bool tar_block_is(const void *block, const char *name, uint64_t *size_bytes);

struct tar_member {
	char name[TAR_NAME_BYTES_MAX + 1];
	uint64_t size_bytes;
	uint64_t offset; /* of its first header */
	uint64_t body_offset;
};
struct tar_events {
	enum err (*begin)(void *context, const struct tar_member *);
	enum err (*bytes)(void *context, const void *, size_t);
	enum err (*end)(void *context);
};
struct tar_read;
/* The events are borrowed until close. */
enum err tar_read_open(const struct tar_events *, void *context, struct tar_read **) MUST_CHECK;
/* The next bytes. ERR_ARCHIVE_DAMAGED, or what an event returned. Suspends where an event does. */
enum err tar_read_feed(struct tar_read *, const void *, size_t) MUST_CHECK;
/* There are no more: OK if the end of the archive was seen. */
enum err tar_read_finish(const struct tar_read *) MUST_CHECK;
void tar_read_close(struct tar_read **);

#endif
