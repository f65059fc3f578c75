/* The arena, its reserves and the chunks. An arena promises its chunks to reserves and never more
 * than it has, so whoever waits for a chunk waits only for chunks of its own reserve to come home:
 * another lane can neither starve it nor deadlock with it. Belongs to one thread. */
#include "engine/chunk.h"

#include <stdlib.h>
#include <sys/mman.h>

#include "engine/budget.h"
#include "engine/fiber.h"

#if UNDER_ASAN
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(at, bytes)   ((void)(at))
#define ASAN_UNPOISON_MEMORY_REGION(at, bytes) ((void)(at))
#endif

enum {
	ARENA_MAGIC = 0x4152454e,
	RESERVE_MAGIC = 0x52535256,
	HUGE_PAGE_BYTES = 2 * 1024 * 1024,
};
_Static_assert(HUGE_PAGE_BYTES % CHUNK_BYTES == 0, "a chunk never straddles two huge pages");

/* Somebody waits for a reserve; lives on the waiter's stack. Strictly first come, first served, or
 * a large reserve would wait for ever behind small ones. */
struct request {
	struct request *next;
	struct wait_queue waiter;
	unsigned chunks;
	bool granted;
};

struct arena {
	uint32_t magic;
	uint8_t *slab;
	size_t slab_bytes;
	struct chunk *chunks;
	struct chunk *free; /* last in, first out: the warmest first */
	struct request *first, **last;
	struct reserve *asking, **asking_last; /* for loans */
	struct wait_queue returning;	       /* fibers, until a loan ends or nobody wants it */
	struct arena_counts counts;
};

struct reserve {
	uint32_t magic;
	struct arena *arena;
	unsigned quota, in_use;
	unsigned chunks, chunks_most; /* the quota without and with a loan */
	bool asks;		      /* for a loan: in the arena's list */
	unsigned waiting;	      /* fibers, for a chunk */
	struct reserve *next;
	struct wait_queue waiters;
};

static _Thread_local struct arena *current;

struct arena *arena_current(void)
{
	return current;
}

void arena_set_current(struct arena *arena)
{
	current = arena;
}

/* Address space that starts at a huge page's border; NULL if there is none. */
static uint8_t *map_aligned(size_t bytes)
{
	uint8_t *map = mmap(NULL, bytes + HUGE_PAGE_BYTES, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	size_t head;

	if (map == MAP_FAILED)
		return NULL;
	head = round_up((uintptr_t)map, HUGE_PAGE_BYTES) - (uintptr_t)map;
	if (head > 0)
		munmap(map, head);
	if (head < HUGE_PAGE_BYTES)
		munmap(map + head + bytes, HUGE_PAGE_BYTES - head);
	/* A wish; what does not fill one at the end is counted as it is touched. */
	(void)madvise(map + head, bytes - bytes % HUGE_PAGE_BYTES, MADV_HUGEPAGE);
	return map + head;
}

enum err arena_open(unsigned chunks_count, struct arena **out)
{
	struct arena *arena = calloc(1, sizeof *arena);

	must(chunks_count > 0 && chunks_count < UINT32_MAX / 2);
	if (!arena)
		goto out;
	arena->chunks = calloc(chunks_count, sizeof *arena->chunks);
	arena->slab_bytes = (size_t)chunks_count * CHUNK_BYTES;
	arena->slab = arena->chunks ? map_aligned(arena->slab_bytes) : NULL;
	if (!arena->slab)
		goto out;
	arena->magic = ARENA_MAGIC;
	arena->counts.chunks = chunks_count;
	arena->last = &arena->first;
	arena->asking_last = &arena->asking;
	for (unsigned i = chunks_count; i-- > 0;) {
		arena->chunks[i].data = arena->slab + (size_t)i * CHUNK_BYTES;
		arena->chunks[i].next_free = arena->free;
		arena->free = &arena->chunks[i];
		ASAN_POISON_MEMORY_REGION(arena->chunks[i].data, CHUNK_BYTES);
	}
	*out = arena;
	return OK;
out:
	if (arena)
		free(arena->chunks);
	free(arena);
	return RAISE(ERR_MEMORY_EXHAUSTED, "opening an arena of %u chunks of %d bytes",
		     chunks_count, CHUNK_BYTES);
}

void arena_close(struct arena **arena_at)
{
	struct arena *arena = *arena_at;

	if (!arena)
		return;
	MAGIC_CHECK(arena, ARENA_MAGIC);
	must(arena->counts.in_use == 0 && arena->counts.reserved == 0);
	must(!arena->first && !arena->returning.first);
	if (current == arena)
		current = NULL;
	ASAN_UNPOISON_MEMORY_REGION(arena->slab, arena->slab_bytes);
	munmap(arena->slab, arena->slab_bytes);
	budget_give(BUDGET_ARENA, (size_t)arena->counts.in_use_high * CHUNK_BYTES);
	free(arena->chunks);
	arena->magic = 0;
	free(arena);
	*arena_at = NULL;
}

struct arena_counts arena_counts(const struct arena *arena)
{
	return arena->counts;
}

/* ---- reserves ---- */

static bool fits(const struct arena *arena, unsigned chunks)
{
	return arena->counts.reserved + chunks <= arena->counts.chunks;
}

/* ---- loans ---- */

static void ask_loan(struct reserve *reserve)
{
	struct arena *arena = reserve->arena;

	if (reserve->asks || reserve->quota == reserve->chunks_most)
		return;
	reserve->asks = true;
	reserve->next = NULL;
	*arena->asking_last = reserve;
	arena->asking_last = &reserve->next;
}

static void ask_loan_no_more(struct reserve *reserve)
{
	struct reserve **at = &reserve->arena->asking;

	if (!reserve->asks)
		return;
	while (*at != reserve)
		at = &(*at)->next;
	*at = reserve->next;
	if (reserve->arena->asking_last == &reserve->next)
		reserve->arena->asking_last = at;
	reserve->asks = false;
}

/* After those who wait for a reserve: what they wait for are loans that come back. */
static void lend(struct arena *arena)
{
	struct reserve *reserve;
	unsigned loan;

	while (!arena->first && (reserve = arena->asking)) {
		loan = reserve->chunks_most - reserve->chunks;
		if (reserve->waiting && !fits(arena, loan))
			return;
		ask_loan_no_more(reserve);
		if (!reserve->waiting)
			continue; /* one of its own came home meanwhile */
		arena->counts.reserved += loan;
		arena->counts.loans++;
		reserve->quota = reserve->chunks_most;
		wake_all(&reserve->waiters);
	}
}

/* Give what is free to those who wait, in their order, as far as it goes. */
static void grant(struct arena *arena)
{
	struct request *request;

	while ((request = arena->first) && fits(arena, request->chunks)) {
		arena->first = request->next;
		if (!arena->first)
			arena->last = &arena->first;
		arena->counts.reserved += request->chunks;
		request->granted = true;
		wake_one(&request->waiter);
	}
	lend(arena);
}

/* No more is in use than the reserve has without it. */
static void end_loan(struct reserve *reserve)
{
	reserve->arena->counts.reserved -= reserve->quota - reserve->chunks;
	reserve->quota = reserve->chunks;
	grant(reserve->arena);
	wake_all(&reserve->arena->returning);
}

/* Whoever asks does not wait any more when one of its own came home meanwhile. */
static bool is_loan_wanted(const struct arena *arena)
{
	const struct reserve *reserve = arena->asking;

	while (reserve && !reserve->waiting)
		reserve = reserve->next;
	return arena->first || reserve;
}

enum err reserve_return_loan(struct reserve *reserve, nsec until)
{
	enum err e = OK;

	MAGIC_CHECK(reserve, RESERVE_MAGIC);
	while (reserve->quota > reserve->chunks && is_loan_wanted(reserve->arena) && !e)
		e = wait_on(&reserve->arena->returning, until);
	return e == ERR_FIBER_TIMEOUT ? OK : e;
}

static void withdraw(struct arena *arena, struct request *request)
{
	struct request **at = &arena->first;

	while (*at != request) {
		must(*at);
		at = &(*at)->next;
	}
	*at = request->next;
	if (arena->last == &request->next)
		arena->last = at;
	grant(arena); /* those behind it may fit now */
}

static enum err request_wait(struct arena *arena, unsigned chunks, nsec until)
{
	struct request request = { .chunks = chunks };
	enum err e = OK;

	*arena->last = &request;
	arena->last = &request.next;
	grant(arena);
	while (!request.granted && !e)
		e = wait_on(&request.waiter, until);
	wake_all(&arena->returning);
	if (request.granted)
		return OK; /* a cancel that came with it is told by the next call that suspends */
	withdraw(arena, &request);
	return e == ERR_FIBER_TIMEOUT
		       ? RAISE(e, "waiting to reserve %u chunks; %u of %u are reserved by others",
			       chunks, arena->counts.reserved, arena->counts.chunks)
		       : e;
}

enum err reserve_open(struct arena *arena, unsigned chunks, nsec until, struct reserve **out)
{
	return reserve_open_lending(arena, chunks, chunks, until, out);
}

enum err reserve_open_lending(struct arena *arena, unsigned chunks, unsigned chunks_most,
			      nsec until, struct reserve **out)
{
	struct reserve *reserve;
	enum err e;

	MAGIC_CHECK(arena, ARENA_MAGIC);
	must(chunks > 0 && chunks <= chunks_most);
	if (chunks_most > arena->counts.chunks)
		return RAISE(ERR_MEMORY_RESERVE, "reserving %u chunks of an arena of %u",
			     chunks_most, arena->counts.chunks);
	reserve = calloc(1, sizeof *reserve);
	if (!reserve)
		return RAISE(ERR_MEMORY_EXHAUSTED, "opening a reserve");
	if ((e = request_wait(arena, chunks, until))) {
		free(reserve);
		return e;
	}
	must(arena->counts.reserved <= arena->counts.chunks);
	reserve->magic = RESERVE_MAGIC;
	reserve->arena = arena;
	reserve->quota = reserve->chunks = chunks;
	reserve->chunks_most = chunks_most;
	*out = reserve;
	return OK;
}

void reserve_close(struct reserve **reserve_at)
{
	struct reserve *reserve = *reserve_at;

	if (!reserve)
		return;
	MAGIC_CHECK(reserve, RESERVE_MAGIC);
	must(reserve->in_use == 0 && !reserve->waiters.first);
	must(reserve->arena->counts.reserved >= reserve->quota);
	ask_loan_no_more(reserve);
	reserve->arena->counts.reserved -= reserve->quota;
	grant(reserve->arena);
	reserve->magic = 0;
	free(reserve);
	*reserve_at = NULL;
}

/* ---- chunks ---- */

static struct chunk *chunk_take(struct reserve *reserve)
{
	struct arena *arena = reserve->arena;
	struct chunk *chunk = arena->free;

	must(chunk &&
	     chunk->references == 0); /* the sum of the reserves is no more than there is */
	arena->free = chunk->next_free;
	ASAN_UNPOISON_MEMORY_REGION(chunk->data, CHUNK_BYTES);
	*chunk = (struct chunk){ .data = chunk->data, .references = 1, .reserve = reserve };
	reserve->in_use++;
	arena->counts.in_use++;
	if (arena->counts.in_use > arena->counts.in_use_high) {
		arena->counts.in_use_high = arena->counts.in_use;
		budget_take(BUDGET_ARENA, CHUNK_BYTES); /* touched once, it stays */
	}
	return chunk;
}

/* For one of its own to come home, or for a loan, which may be there at once. */
static enum err wait_or_borrow(struct reserve *reserve, nsec until)
{
	enum err e = OK;

	reserve->waiting++;
	ask_loan(reserve);
	lend(reserve->arena);
	if (reserve->in_use == reserve->quota)
		e = wait_on(&reserve->waiters, until);
	reserve->waiting--;
	wake_all(&reserve->arena->returning);
	return e;
}

enum err chunk_wait(struct reserve *reserve, nsec until, struct chunk **out)
{
	enum err e = OK;

	MAGIC_CHECK(reserve, RESERVE_MAGIC);
	while (reserve->in_use == reserve->quota && !e)
		e = wait_or_borrow(reserve, until);
	if (e == ERR_FIBER_TIMEOUT)
		return RAISE(e, "waiting for one of %u reserved chunks to come home",
			     reserve->quota);
	if (e)
		return e;
	*out = chunk_take(reserve);
	return OK;
}

struct chunk *chunk_ref(struct chunk *chunk)
{
	must(chunk->references > 0 && chunk->references < UINT32_MAX);
	chunk->references++;
	return chunk;
}

void chunk_unref(struct chunk **chunk_at)
{
	struct chunk *chunk = *chunk_at;
	struct reserve *reserve;

	if (!chunk)
		return;
	*chunk_at = NULL;
	must(chunk->references > 0);
	if (--chunk->references > 0)
		return;
	reserve = chunk->reserve;
	MAGIC_CHECK(reserve, RESERVE_MAGIC);
	must(reserve->in_use > 0);
	ASAN_POISON_MEMORY_REGION(chunk->data, CHUNK_BYTES);
	chunk->reserve = NULL;
	chunk->next_free = reserve->arena->free;
	reserve->arena->free = chunk;
	reserve->arena->counts.in_use--;
	reserve->in_use--;
	if (reserve->quota > reserve->chunks && reserve->in_use <= reserve->chunks)
		end_loan(reserve);
	wake_one(&reserve->waiters);
}

/* ---- lists of slices ---- */

uint64_t iolist_bytes(const struct iolist *list)
{
	uint64_t bytes = 0;

	for (unsigned i = 0; i < list->count; i++)
		bytes += list->slices[i].length;
	return bytes;
}

void iolist_add(struct iolist *list, struct slice slice)
{
	must(list->count < IOLIST_SLICES_MAX);
	must(slice.chunk && slice.length <= CHUNK_BYTES &&
	     slice.offset <= CHUNK_BYTES - slice.length);
	list->slices[list->count++] = slice;
}

void iolist_release(struct iolist *list)
{
	must(list->count <= IOLIST_SLICES_MAX);
	for (unsigned i = 0; i < list->count; i++)
		chunk_unref(&list->slices[i].chunk);
	list->count = 0;
}
