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
/* Left for one conversation, a second one is not worth its handshake. */
enum { LANE_MESSAGES_PER_READER = PARCEL_MESSAGES / 4 };
/* Ranges a conversation is asked for ahead where several share a mailbox: enough to keep a long
 * line busy, few enough that all end together. */
enum { LANE_SHARED_ASKS = 3 };
/* How soon a request to drain is seen. */
#define LANE_LOOK (100 * NSEC_MILLISECOND)

struct lane;

/* One conversation with the source. The first lists the folders as well; the others take what the
 * plan has next, and a server that will not have them costs nothing but them. */
struct lane_reader {
	struct lane *lane;
	struct source *source;
	unsigned asked; /* ranges, not answered yet */
	bool failed;	/* its conversation ended in the middle of them */
};

struct lane {
	const struct lane_config *config;
	struct lane_progress *progress;
	struct ledger_mailbox mailbox;
	struct plan *plan;
	struct reserve *reserve;
	struct lane_reader readers[LANE_READERS_MAX];
	unsigned readers_max; /* more are refused by the server, or not asked for */
	unsigned reading;     /* read fibers at work */
	struct sink *sink;
	struct pipe *pipe;
	struct wait_queue changed; /* a fiber ended, or something was receipted */
	uint64_t owed;		   /* messages put and not receipted */
	uint64_t seals_owed;	   /* recovered seals not settled */
	uint64_t unsaid;	   /* moved, not durable yet: not in the progress */
	uint64_t unsaid_bytes;
	uint64_t settled; /* in this attempt */
	bool listed;
	bool connecting;
	bool planning;		     /* a reader is in plan_next(), */
	struct wait_queue plan_free; /* others wait for their turn */
	bool sink_failed;
	bool writing, receiving;
	struct err_note later; /* a folder is to be asked for again later: why */
	enum err body_end;     /* why the source ended a body that passes through the pipe */
	enum err write_end, receive_end;
};

static inline nsec lane_stall_deadline(void)
{
	return clock_after(LANE_STALL);
}

static inline bool lane_is_drained(void)
{
	return shard_requested() == SHARD_DRAIN;
}

/* The fibers; the argument is the lane, of each read fiber its reader. */
enum err lane_read(void *reader);
enum err lane_write(void *lane);
enum err lane_receive(void *lane);

/* Connect and log in, unless that is done. Suspends. */
enum err lane_open_source(struct lane_reader *) MUST_CHECK;
/* A folder that the source refuses: on record, and never the end of the mailbox. Suspends. */
enum err lane_refuse_box(struct lane *, uint64_t box_no, enum err fate) MUST_CHECK;
/* What was said to be moved is durable now, and counted. Suspends. */
enum err lane_make_durable(struct lane *) MUST_CHECK;

#endif
