/* shard.h: a thread becomes a worker, and the process is asked to stop. Not for: what a worker does
 * (lanes), how a stop is carried out (they ask shard_requested()). */
#include "engine/shard.h"

#include <sched.h>
#include <stdatomic.h>

#include "engine/chunk.h"
#include "engine/clock.h"
#include "engine/io.h"
#include "engine/ring.h"

enum {
	/* Workers are pinned to cores; more than this many on one machine are not planned for. */
	SHARDS_MAX = 320,
};

_Static_assert(ATOMIC_INT_LOCK_FREE == 2 && ATOMIC_POINTER_LOCK_FREE == 2,
	       "shard_request() runs in signal handlers");

/* Longest wait for closes that nobody waits for (a file on a network file system). */
#define DRAIN_LIMIT (30 * NSEC_SECOND)

static atomic_int requested;
static _Atomic(struct ring *) rings[SHARDS_MAX];
/* Callers of shard_request() between reading a ring's address and having woken it. */
static atomic_int wakers;

void shard_request(enum shard_stop stop)
{
	atomic_store(&requested, (int)stop);
	atomic_fetch_add(&wakers, 1);
	for (unsigned i = 0; i < SHARDS_MAX; i++) {
		struct ring *ring = atomic_load(&rings[i]);

		if (ring)
			ring_wake(ring);
	}
	atomic_fetch_sub(&wakers, 1);
}

enum shard_stop shard_requested(void)
{
	return (enum shard_stop)atomic_load(&requested);
}

static unsigned ring_publish(struct ring *ring)
{
	struct ring *none;
	unsigned i = 0;

	for (; i < SHARDS_MAX; i++) {
		none = NULL;
		if (atomic_compare_exchange_strong(&rings[i], &none, ring))
			break;
	}
	must(i < SHARDS_MAX);
	return i;
}

/* On return nobody will touch the ring any more. A signal handler on this thread has ended by then;
 * one on another thread needs a few instructions to end. */
static void ring_withdraw(unsigned place)
{
	atomic_store(&rings[place], NULL);
	while (atomic_load(&wakers) > 0)
		sched_yield();
}

static enum err run_scheduler(struct ring *ring, fiber_main *main, void *argument)
{
	struct scheduler *scheduler;
	enum err e;

	if ((e = scheduler_open(ring, &scheduler)))
		return e;
	e = scheduler_run(scheduler, main, argument);
	if (!io_drain(ring, clock_after(DRAIN_LIMIT)) && e == OK)
		e = RAISE(ERR_RING_FAILED, "%u operations did not end", ring_in_flight(ring));
	scheduler_close(&scheduler);
	return e;
}

enum err shard_run(const struct shard_config *config, fiber_main *main, void *argument)
{
	unsigned chunks = config->arena_chunks ? config->arena_chunks : ARENA_CHUNKS_DEFAULT;
	struct arena *arena = NULL;
	struct ring *ring;
	unsigned place;
	enum err e;

	if ((e = ring_open_for(config->ring_use, &ring)))
		return e;
	place = ring_publish(ring);
	if ((e = arena_open(chunks, &arena)) == OK) {
		arena_set_current(arena);
		e = run_scheduler(ring, main, argument);
		arena_set_current(NULL);
	}
	arena_close(&arena);
	ring_withdraw(place);
	/* A kernel that will not let go of an operation keeps the ring it belongs to. */
	if (ring_in_flight(ring) == 0)
		ring_close(&ring);
	return e;
}
