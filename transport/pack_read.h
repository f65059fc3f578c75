/* A pack read back: any span of its tar through the seek table, or all of it frame by frame. Trusts
 * no number in it. docs/FORMAT.md section 2.3. */
#ifndef MAILHAUL_PACK_READ_H
#define MAILHAUL_PACK_READ_H

#include "transport/store.h"

struct pack_read;

/* Takes the length, finds the table. ERR_DISK_ABSENT, ERR_ARCHIVE_DAMAGED. */
enum err pack_read_open(struct store *, const char *key, struct pack_read **) MUST_CHECK;
void pack_read_close(struct pack_read **);
const char *pack_read_key(const struct pack_read *);
uint64_t pack_read_stored_bytes(const struct pack_read *);
uint64_t pack_read_frames(const struct pack_read *); /* 0: not compressed */

/* Hand `length` bytes of the tar from `offset` on to `write`, piece by piece. Reads only the frames
 * they lie in; forward from the span before, the table is read once. */
enum err pack_read_span(struct pack_read *, uint64_t offset, uint64_t length,
			enum err (*write)(void *context, const void *, size_t),
			void *context) MUST_CHECK;

/* The last file of this name among those behind the messages; damage before and behind it is passed
 * over. At most bytes_max bytes of it. */
enum err pack_read_file(struct pack_read *, const char *name, size_t bytes_max,
			struct buffer *to) MUST_CHECK;

/* All of it from the start: the next piece of the tar, borrowed until the next call on this object.
 * ERR_PIPE_ENDED at the end, when frames and table added up. */
enum err pack_read_next(struct pack_read *, const uint8_t **at, size_t *n) MUST_CHECK;

#endif
