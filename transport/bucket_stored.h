/* What this process has stored in a bucket since it began: the key, length and checksum of each
 * object, as they were sent. Kept so that an audit can compare with our own numbers and not with
 * the service's, and can miss what is gone; nothing of it outlives the process, for what an earlier
 * run stored was audited then. In scratch memory, some 110 bytes an object. */
#ifndef MAILHAUL_BUCKET_STORED_H
#define MAILHAUL_BUCKET_STORED_H

#include "engine/err.h"

struct bucket_stored;

/* Makes the temporary file, so before the process is confined. ERR_DISK_*, ERR_MEMORY_EXHAUSTED. */
enum err bucket_stored_open(struct bucket_stored **) MUST_CHECK;
void bucket_stored_close(struct bucket_stored **);

/* The object is there, under this key of the bucket. Any thread; blocks where a file must grow.
 * Where there is no room it is counted as lost, for the object is stored all the same. */
void bucket_stored_add(struct bucket_stored *, const char *key, uint64_t bytes, uint64_t crc);

struct bucket_stored_row {
	const char *key; /* valid until the next add or close */
	uint64_t bytes, crc;
};
/* Put them in the order of their keys, each once: by what was said of it last. Nobody may add until
 * the rows are no longer read. ERR_DISK_*, ERR_MEMORY_EXHAUSTED. */
enum err bucket_stored_sort(struct bucket_stored *) MUST_CHECK;
/* By index from 0 on, after bucket_stored_sort(); false: behind the last. */
bool bucket_stored_row(const struct bucket_stored *, size_t index, struct bucket_stored_row *);
/* How many could not be kept. */
uint64_t bucket_stored_lost(const struct bucket_stored *);

#endif
