/* One mailbox on its way: read fibers (source to pipe; one a conversation), a write fiber (pipe to
 * sink), a receipt fiber (sink to ledger). Many messages are in flight, and nobody waits for one
 * answer before the next message. Recovers what an interrupted run left, copies what is not settled
 * yet, reconnects, and ends with every message in a legal state or its folder's fate in the ledger.
 */
#ifndef MAILHAUL_LANE_H
#define MAILHAUL_LANE_H

#include "engine/ledger.h"
#include "engine/sink.h"

/* Counters of this run, readable at any time by other fibers of the shard. */
struct lane_progress {
	uint64_t mailbox_no; /* the ledger's; 0 until known and in a dry run */
	uint64_t boxes_known, boxes_done, boxes_failed;
	uint64_t messages_known,
		bytes_known; /* announced by the source; bytes 0 where it does not say */
	uint64_t messages_read, bytes_read;
	uint64_t messages_moved, bytes_moved; /* durable in the ledger, */
	uint64_t messages_found;	      /* among them those that were there before */
	uint64_t messages_before;	      /* settled by earlier runs */
	uint64_t messages_skipped, messages_doubtful;
	uint64_t messages_wrapped; /* of those moved or doubtful */
	/* Left out by the filter (account.filter): folders, in none of the other counts; messages,
	 * in all runs as long as the filter is the same. */
	uint64_t boxes_left_out, messages_filtered;
	uint64_t messages_retried; /* skipped by earlier runs, and asked for again, */
	bool retry_begun;	   /* as the configuration says */
	struct batch_changes changes;
	/* Of a dry run with a ledger: what would be moved; messages of folders that were replaced,
	 * renamed or deleted, which would be looked for among those. */
	uint64_t messages_new, messages_sought;
	uint64_t kinds[MAIL_KIND_COUNT];
	uint64_t reconnects;
	unsigned connections_refused; /* the source let in one less than so many; 0: all it was
				       * asked for */
	uint64_t connections;	      /* with the source, open now */
	bool met;		      /* a conversation was had */
	bool met_sink;		      /* and one with the sink, in the last attempt */
	bool sink_failed; /* what ended the last attempt is of the conversation with the sink */
	char box_name[BOX_NAME_BYTES_MAX + 1]; /* being read now */
};

struct lane_config {
	const struct source_driver *source;
	const struct account *source_account;
	const struct sink_driver *sink;
	const struct account *sink_account;
	struct sink_config
		sink_config; /* mailbox_no, ledger_id and next_seal_no are filled by the lane */
	struct ledger *ledger;
	struct tap *digest;   /* the lane's own, for message bytes */
	unsigned connections; /* conversations with the source at once, 1 to LANE_READERS_MAX */
	unsigned chunks, chunks_most; /* of the arena: its own, with a loan; 0: lane_chunks() */
	struct pace *pace;	      /* bandwidth shared by all lanes; NULL: unbounded */
	/* Of a lane alone: when the source may be asked again and with how many conversations, for
	 * the caller to keep until the next run. NULL: somebody else knows (engine/batch). */
	struct backoff *rest;
	bool backoff_is_elsewhere; /* see engine/retry.h */
	bool newest_first;	   /* within each folder, from the highest number down */
	bool flags_never;	   /* where a source cannot tell what changed, leave flags alone */
	/* Ask again for messages that were skipped for this reason, see ledger_forget_skipped();
	 * NULL: for none. */
	const char *retry_skipped;
	bool dry_run;	     /* list and count; without a sink, and `ledger` is a copy or NULL */
	nsec finish_timeout; /* for LOGOUT and the like */
};

/* Chunks of the worker's arena that a lane with so many conversations holds while it runs. */
static inline unsigned lane_chunks(unsigned connections)
{
	return LANE_CHUNKS_RESERVED + (connections - 1) * LANE_CHUNKS_PER_READER;
}

/* Runs to the end; suspends for as long as that takes. OK when every message and folder has its
 * legal state (skipped ones are in `progress` and the ledger); otherwise the first error that
 * stopped the mailbox. When shard_requested() says drain: stops asking, settles what is in flight,
 * ERR_FIBER_CANCELED. */
enum err lane_run(const struct lane_config *, struct lane_progress *) MUST_CHECK;

#endif
