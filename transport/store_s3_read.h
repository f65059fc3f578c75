/* Reading objects of a store in a bucket, each as it was when it was first looked at. A request
 * takes a round trip, however little it asks for, and readers ask for some 100 KiB at a time. So
 * what is read in order is read ahead, twice as much each time up to the budget's ahead_bytes, of
 * the READ_AHEADS objects that were read last; and who asks for an object's end is given what lies
 * before it, too, for there packs have their tables. What lies elsewhere is read as it is asked
 * for.
 */
#ifndef MAILHAUL_STORE_S3_READ_H
#define MAILHAUL_STORE_S3_READ_H

#include "engine/limits.h"
#include "transport/store_s3_state.h"

enum { STORE_S3_SEEN = 4 /* a pack and its index in turn, and what is looked at between */ };

/* An object that was read or asked for: it does not change while we read. */
struct store_s3_seen {
	char key[STORE_KEY_BYTES_MAX + 1];
	char etag[S3_ETAG_BYTES_MAX + 1];
	uint64_t bytes, used_last;
};

/* What was read ahead of one. */
struct store_s3_ahead {
	char key[STORE_KEY_BYTES_MAX + 1];
	char etag[S3_ETAG_BYTES_MAX + 1];
	uint8_t *memory; /* ahead_bytes, or NULL */
	uint64_t at;	 /* where in the object the bytes lie */
	size_t bytes;
	uint64_t next; /* behind what was read last: who goes on there reads in order */
	size_t step;   /* to read next */
	uint64_t used_last;
	bool is_busy; /* it is being read into: others read past it */
};

/* Zero-initialised is valid. */
struct store_s3_reader {
	struct store_s3_seen seen[STORE_S3_SEEN];
	struct store_s3_ahead ahead[READ_AHEADS];
	uint64_t reads;
};

/* As the calls of struct store_driver. ERR_S3_CHANGED: it is another object by now. */
enum err store_s3_read_size(const struct store_s3_place *, struct store_s3_reader *,
			    const char *key, uint64_t *bytes) MUST_CHECK;
enum err store_s3_read_get(const struct store_s3_place *, struct store_s3_reader *, const char *key,
			   uint64_t offset, void *to, size_t length, size_t *got) MUST_CHECK;
/* Gives back its memory. */
void store_s3_read_close(struct store_s3_reader *);

#endif
