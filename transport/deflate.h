/* Both directions of a compressed stream: raw deflate (RFC 1951), as RFC 4978 has it, step by step
 * between memory of the caller's. The door to zlib. What it takes is bounded (DEFLATE_BYTES) and
 * does not grow, whatever the peer sends: what is opened goes into the caller's room, no faster
 * than the caller asks. Nothing here suspends, and the two directions know nothing of each other.
 *
 * Not for: who is at the other end (imap_deflate). */
#ifndef MAILHAUL_DEFLATE_H
#define MAILHAUL_DEFLATE_H

#include "engine/err.h"

struct deflate;

/* ERR_MEMORY_EXHAUSTED. */
enum err deflate_open(struct deflate **) MUST_CHECK;
void deflate_close(struct deflate **);

/* Bytes on their way in; a step moves it over what it took. */
struct deflate_span {
	const uint8_t *at;
	size_t bytes;
};

/* Compress, until `from` is taken or `to` is full; returns how much of `to` was written. What was
 * taken may stay inside until deflate_flush(). room > 0. */
size_t deflate_pack(struct deflate *, struct deflate_span *from, void *to, size_t room);
/* Bring out all that was taken so far, so that the peer can open it (Z_SYNC_FLUSH). *done false:
 * `to` was too small, so call again. Nothing comes where nothing was packed since the last one.
 * `room` is at least DEFLATE_FLUSH_ROOM_BYTES. */
enum { DEFLATE_FLUSH_ROOM_BYTES = 16 };
size_t deflate_flush(struct deflate *, void *to, size_t room, bool *done);

/* Open, until `to` is full or all there is of `from` is taken: *got may be 0 then, and more must
 * come. ERR_IMAP_DEFLATE: damaged, or something stands behind its end, which is told once all
 * before it was handed out; this direction is then of no more use. ERR_MEMORY_EXHAUSTED. max > 0.
 */
enum err deflate_unpack(struct deflate *, struct deflate_span *from, void *to, size_t max,
			size_t *got) MUST_CHECK;

/* Of the libraries' memory at present, for tests: at most DEFLATE_BYTES. */
size_t deflate_held_bytes(const struct deflate *);

#endif
