/* Payload memory: fixed chunks from one arena per worker, handed out as slices with reference
 * counts. A chunk is written once by whoever produced it, then frozen. A lane reserves its worst
 * case before it connects and then takes chunks only from its own reserve, so waiting cannot
 * deadlock. */
#ifndef MAILHAUL_CHUNK_H
#define MAILHAUL_CHUNK_H

#include "engine/err.h"
#include "engine/limits.h"

struct arena;
struct reserve;

struct chunk {
	uint8_t *data; /* CHUNK_BYTES, 4096-aligned */
	uint32_t references;
	uint32_t filled; /* bytes given out so far by chunk_fill_* users; the producer's */
	struct reserve *reserve;
	struct chunk *next_free;
};

/* One arena of chunks_count chunks (huge pages where the kernel gives them). */
enum err arena_open(unsigned chunks_count, struct arena **) MUST_CHECK;
void arena_close(struct arena **); /* every chunk must be home */
/* This thread's arena, set by the shard. */
struct arena *arena_current(void);
void arena_set_current(struct arena *);
struct arena_counts {
	unsigned chunks, reserved, in_use, in_use_high;
	uint64_t loans;
};
struct arena_counts arena_counts(const struct arena *);

/* Reserve `chunks`; suspends until other reserves were closed. More than the arena has is
 * ERR_MEMORY_RESERVE at once. */
enum err reserve_open(struct arena *, unsigned chunks, nsec until, struct reserve **) MUST_CHECK;
/* The same, and when they are all in use a *loan* of as many as make it `chunks_most`, as soon as
 * the arena has so many that nobody reserved; first come, first served. It ends when no more than
 * `chunks` are in use, to which reserve_return_loan() brings it. Whoever has one needs nobody else
 * to come to the end of its message, so loans come back; an arena needs room for all reserves and
 * one loan. */
enum err reserve_open_lending(struct arena *, unsigned chunks, unsigned chunks_most, nsec until,
			      struct reserve **) MUST_CHECK;
void reserve_close(struct reserve **); /* every chunk must be home */
/* Before one begins what may need many chunks: while others wait for what is lent to this reserve,
 * let its chunks come home and the loan with them. At `until` it goes on all the same, so nothing
 * is lost where they do not come. The caller may hold chunks, but less than the reserve's own; who
 * uses the others must get on without the caller. OK | ERR_FIBER_CANCELED. */
enum err reserve_return_loan(struct reserve *, nsec until) MUST_CHECK;

/* One empty chunk with one reference; suspends until one of this reserve's comes home. */
enum err chunk_wait(struct reserve *, nsec until, struct chunk **) MUST_CHECK;
struct chunk *chunk_ref(struct chunk *);
void chunk_unref(struct chunk **); /* leaves NULL */
static inline bool chunk_is_sole(const struct chunk *chunk)
{
	return chunk->references == 1;
}

/* A span of a chunk; holds one reference. */
struct slice {
	struct chunk *chunk;
	uint32_t offset, length;
};
static inline const uint8_t *slice_bytes(const struct slice *slice)
{
	return slice->chunk->data + slice->offset;
}

struct iolist {
	struct slice slices[IOLIST_SLICES_MAX];
	unsigned count;
};
uint64_t iolist_bytes(const struct iolist *);
/* Takes the slice's reference. A full list is a broken promise. */
void iolist_add(struct iolist *, struct slice);
/* Drops every reference. */
void iolist_release(struct iolist *);

#endif
