/* What a run cost and what memory it took, beside what it may take: for --stats, as text and in the
 * report's JSON. */
#ifndef MAILHAUL_TOOLS_COUNTERS_H
#define MAILHAUL_TOOLS_COUNTERS_H

#include "engine/bytes.h"
#include "engine/fiber.h"
#include "engine/ring.h"
#include "tools/json_out.h"

/* Of one thread's shard, or of several together. Zero-initialised: none yet. */
struct counters {
	struct ring_counts ring;
	struct fiber_counts fibers;
	uint64_t arena_chunks, arena_loans, copied[BYTES_WHY_COUNT];
	uint64_t payload_bytes; /* of the messages moved: the caller's to set */
	unsigned shards;
};

/* What the process has before there is anything to do, and what the list of mailboxes takes. */
void counters_begin(void);
void counters_listed(void);
/* Add this thread's; called inside its shard, at its end. */
void counters_take(struct counters *);
/* Add others. */
void counters_add(struct counters *to, const struct counters *more);

/* Lines of "stats NAME VALUE". */
void counters_text(const struct counters *, FILE *);
/* An object under the key "stats". */
void counters_json(const struct counters *, struct json_out *);

#endif
