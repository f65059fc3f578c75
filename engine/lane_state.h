/* What a lane's three fibers share; private to engine/lane*.c. One thread, so no locks; after every
 * call that suspends, what was assumed about it is checked again. */
#ifndef MAILHAUL_LANE_STATE_H
#define MAILHAUL_LANE_STATE_H

#include "engine/clock.h"
#include "engine/lane.h"
#include "engine/lane_plan.h"
#include "engine/pipe.h"
#include "engine/shard.h"

/* No peer may keep the pipe still for longer; disks and servers have shorter deadlines of their
 * own. */
#define LANE_STALL (600 * NSEC_SECOND)
/* How soon a request to drain is seen. */
#define LANE_LOOK (100 * NSEC_MILLISECOND)

struct lane {
	const struct lane_config *config;
	struct lane_progress *progress;
	struct ledger_mailbox mailbox;
	struct plan *plan;
	struct reserve *reserve;
	struct source *source;
	struct sink *sink;
	struct pipe *pipe;
	struct wait_queue changed; /* a fiber ended, or something was receipted */
	uint64_t owed;		   /* messages put and not receipted */
	uint64_t seals_owed;	   /* recovered seals not settled */
	uint64_t unsaid;	   /* moved, not durable yet: not in the progress */
	uint64_t unsaid_bytes;
	uint64_t settled; /* in this attempt */
	bool met;	  /* a conversation was had in this run */
	bool listed;
	bool connecting;
	bool sink_failed;
	bool reading, writing, receiving;
	enum err read_end, write_end, receive_end;
};

static inline nsec lane_stall_deadline(void)
{
	return clock_after(LANE_STALL);
}

static inline bool lane_is_drained(void)
{
	return shard_requested() == SHARD_DRAIN;
}

/* The three fibers; the argument is the lane. */
enum err lane_read(void *lane);
enum err lane_write(void *lane);
enum err lane_receive(void *lane);

/* A folder that the source refuses: on record, and never the end of the mailbox. Suspends. */
enum err lane_refuse_box(struct lane *, uint64_t box_no, enum err fate) MUST_CHECK;
/* What was said to be moved is durable now, and counted. Suspends. */
enum err lane_make_durable(struct lane *) MUST_CHECK;

#endif
