/* One worker: a thread with its ring, its scheduler and its arena. Shards share nothing on the data
 * path. This runs use the calling thread as the only shard; pinning comes with topology. */
#ifndef MAILHAUL_SHARD_H
#define MAILHAUL_SHARD_H

#include "engine/fiber.h"
#include "engine/ring.h"

struct shard_config {
	unsigned arena_chunks; /* 0: ARENA_CHUNKS_DEFAULT */
	enum ring_use ring_use;
};

/* Open ring, scheduler and arena on this thread, run `main` as the first fiber (large stack) until
 * it ends, close everything. */
enum err shard_run(const struct shard_config *, fiber_main *main, void *argument) MUST_CHECK;

/* Orderly end, asked for by a signal: settable from a signal handler of this process. */
enum shard_stop { SHARD_RUN, SHARD_DRAIN };
void shard_request(enum shard_stop); /* async-signal-safe; wakes the shard's ring */
enum shard_stop shard_requested(void);

#endif
