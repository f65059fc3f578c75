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
/* A destination may be looked through for long before anything is stored in it: nothing is settled
 * then, but it is heard. */
#define LANE_STALL_MOST (24 * 3600 * NSEC_SECOND)
/* A server whose folders are replaced again and again keeps them for itself after so many. */
enum { LANE_LISTINGS_AGAIN_MAX = 3 };
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
	struct account sink_account;   /* the configured one, and: */
	uint64_t sink_heard;	       /* grows with every word of the destination */
	struct group *receiving_group; /* the receipt fiber; NULL: there is none */
	struct pipe *pipe;
	struct wait_queue changed; /* a fiber ended, or something was receipted */
	uint64_t owed;		   /* messages put and not receipted */
	uint64_t seals_owed;	   /* recovered seals not settled */
	uint64_t unsaid;	   /* moved, not durable yet: not in the progress */
	uint64_t unsaid_bytes;
	uint64_t settled; /* in this attempt */
	bool listed;
	unsigned listings_again; /* folders were replaced while we read them */
	bool seek_stale;	 /* folders were listed since it was filled */
	struct lane_seek *seek;	 /* NULL: no message of a former folder is sought */
	bool connecting;
	bool planning;		     /* a reader is in plan_next(), */
	struct wait_queue plan_free; /* others wait for their turn */
	bool sink_failed;
	unsigned no_room; /* folders that the sink refused for want of room */
	bool recovered;	  /* nothing is sealed that this sink does not know of */
	bool writing, receiving;
	struct err_note later; /* a folder is to be asked for again later: why */
	enum err write_end, receive_end;
	struct err_note receive_note; /* of receive_end, until the fiber is joined */
	nsec began;		      /* the present attempt; in it: */
	uint64_t connections_most;    /* at once, with the source */
	bool was_refused_a_further;   /* because it bears no more */
};

static inline nsec lane_stall_deadline(void)
{
	return clock_after(LANE_STALL);
}

static inline bool lane_is_drained(void)
{
	return shard_requested() == SHARD_DRAIN;
}

/* A wait that goes on while something moves: `moves` is what its caller counts, and what is heard
 * of the destination keeps it going, too, until `most`. */
struct lane_stall {
	uint64_t moves, heard;
	nsec until, most; /* wait until `until` */
};
struct lane_stall lane_stall_begin(const struct lane *, uint64_t moves);
/* False: nothing moved, and it is over. */
bool lane_stall_goes_on(const struct lane *, struct lane_stall *, uint64_t moves);

/* The fibers; the argument is the lane, of each read fiber its reader. */
enum err lane_read(void *reader);
enum err lane_write(void *lane);
enum err lane_receive(void *lane);
/* Why it ended, with its note. */
static inline enum err lane_receive_failed(const struct lane *lane)
{
	if (lane->receive_end)
		err_note_inherit(&lane->receive_note);
	return lane->receive_end;
}

/* What the ledger has of the mailbox, now: what was sealed before has numbers that are not used
 * again. Made if it is new. Suspends. */
enum err lane_mailbox(struct lane *) MUST_CHECK;
/* Connect and log in, unless that is done. Suspends. */
enum err lane_open_source(struct lane_reader *) MUST_CHECK;
/* A folder that the source refuses: on record, and never the end of the mailbox. Suspends. */
enum err lane_refuse_box(struct lane *, uint64_t box_no, enum err fate) MUST_CHECK;
/* A folder that the sink refuses: the same, with what err_note() says. Suspends. */
enum err lane_sink_refuses_box(struct lane *, uint64_t box_no, enum err fate) MUST_CHECK;

/* engine/lane_sink.c. Suspend. */

/* The sink is open and its receipt fiber runs, unless that is so already. From the lane's own
 * fiber, which joins that one. */
enum err lane_sink_open(struct lane *) MUST_CHECK;
/* What became of all that was sealed before this sink was opened is in the ledger. */
enum err lane_sink_recover(struct lane *) MUST_CHECK;
/* Everything put so far has its receipt, and that is durable. */
enum err lane_sink_settled(struct lane *) MUST_CHECK;
/* The sink failed, and the next attempt opens another. */
void lane_sink_drop(struct lane *);
/* No more is put: what is owed is answered, then the orderly end, unless `e` stops the job. */
enum err lane_sink_finish(struct lane *, nsec until, enum err e) MUST_CHECK;

/* engine/lane_copies.c: as ask_copies() of struct sink_config; the argument is the lane. */
enum err lane_ask_copies(void *lane, const char *target, uint64_t target_epoch, sink_each_copy *,
			 void *context) MUST_CHECK;

/* What was said to be moved is durable now, and counted. Suspends. */
enum err lane_make_durable(struct lane *) MUST_CHECK;

/* engine/lane_govern.c: what the governor of source and sink says. */

/* Before anything is asked: rests that the source asked for earlier, and used up budgets. Waits for
 * what is over soon, otherwise ERR_IMAP_THROTTLED or ERR_LIMIT_DAY. Suspends. */
enum err lane_may_begin(struct lane *) MUST_CHECK;
/* One message passes there: wait for its turn. Suspends. */
enum err lane_take_turn(struct lane *, const struct account *) MUST_CHECK;
/* So many bytes come from the source or go to the sink: taken from the daily budget.
 * ERR_LIMIT_DAY: they do not fit, and nothing was taken. */
enum err lane_spend(struct lane *, const struct account *, int64_t bytes) MUST_CHECK;
/* How many pieces a range is asked for in, so that one holds about what passes in a second. */
unsigned lane_pieces(const struct lane *);
/* The attempt ended with `e`, which err_note() tells of. */
void lane_tell_governor(struct lane *, enum err e);
/* When to try again after that, *at or later; false: not in this run. */
bool lane_may_go_on(struct lane *, enum err e, nsec *at);
/* The source works. */
void lane_worked(struct lane *);

/* engine/lane_delta.c: what changed in folders that were copied before. Suspend. */

/* The folders of this listing, so that those that are not in it are known. */
struct lane_listed {
	uint64_t *box_nos;
	size_t count, room;
	bool any; /* a folder that can be read */
	/* Folders that are there, and left out by the filter. */
	struct lane_left_out {
		char *name, *id; /* id "": it has none */
		uint64_t epoch;
	} * left_out;
	size_t left_out_count, left_out_room;
};
void lane_listed_free(struct lane_listed *);
enum err lane_listed_add(struct lane_listed *, const struct box *) MUST_CHECK;
/* Folders that were there before and are not any more are sought from now on. */
enum err lane_look_for_missing(struct lane *, struct lane_listed *) MUST_CHECK;
/* Tell the source what earlier runs settled, if it wants to know; before it lists. The
 * conversation is readers[0]'s. engine/lane_recall.c. */
enum err lane_recall(struct lane *) MUST_CHECK;
/* Ask for changes, folder by folder; tell sink and ledger. The conversation is readers[0]'s. */
enum err lane_delta(struct lane *) MUST_CHECK;
/* ERR_SOURCE_EPOCH of a folder: list again, ERR_SOURCE_AGAIN; or, when that was done often enough,
 * the same error, which costs the folder. */
enum err lane_replaced(struct lane *, enum err) MUST_CHECK;

/* engine/lane_filter.c: what account.filter leaves out. */

/* Where an earlier run's filter asked something else of messages, what it left out is to be judged
 * anew. After the mailbox is known, before anything is planned. Suspends. */
enum err lane_filter_begin(struct lane *) MUST_CHECK;
/* A folder as it is listed: left out, or given its name here; a name that is impossible is its
 * fate. */
enum err lane_filter_box(struct lane *, struct lane_listed *, struct box *,
			 bool *left_out) MUST_CHECK;
/* All folders were listed: says so where not one is wanted. */
void lane_filter_listed(const struct lane *);
/* A folder that was copied before is left out now: it is not missing. */
bool lane_is_left_out(const struct lane_listed *, const struct ledger_known_box *);
/* An unwanted message loses its body and has its fate. */
void lane_filter_item(struct lane *, struct item *);
/* What is not found in this run may be in what was left out. */
bool lane_filter_may_hide(const struct lane *);

/* engine/lane_seek.c: messages that are stored already and turn up under another number. Suspend,
 * but for the closer. */

/* What is sought can be found from now on; lane->seek stays NULL where nothing is. */
enum err lane_seek_begin(struct lane *) MUST_CHECK;
/* In the write fiber. A staged message: is it one of those? Then it is taken care of. */
enum err lane_seek_staged(struct lane *, struct item *, bool *known) MUST_CHECK;
/* The body of one that is not staged, around `body`: ends with ERR_SOURCE_KNOWN where it turns out
 * to be one, which is then to be taken by lane_seek_take(). */
struct stream *lane_seek_open(struct lane *, const struct item *, struct stream *body);
enum err lane_seek_take(struct lane *, const struct item *) MUST_CHECK;
/* Those taken are told to sink and ledger. */
enum err lane_seek_flush(struct lane *) MUST_CHECK;
/* What was told to a sink that is gone, and not flushed, was not told. */
void lane_seek_sink_lost(struct lane *);
/* Everything there is was read: what was not found is gone. */
enum err lane_seek_end(struct lane *) MUST_CHECK;
/* How many messages are sought. */
enum err lane_seek_count(struct lane *, uint64_t *count) MUST_CHECK;
void lane_seek_close(struct lane_seek **);
/* Tell the sink, where it wants to know. */
enum err lane_amend(struct lane *, const struct change *) MUST_CHECK;
/* Whether it wants to know where a message lies and what its flags were. */
bool lane_carries(const struct lane *);
/* Where the messages of a folder lie at the target: `target` and `target_epoch` of the change, good
 * as long as *known. */
enum err lane_change_place(struct lane *, uint64_t box_no, struct ledger_known_box *known,
			   struct change *) MUST_CHECK;
enum err lane_amend_flush(struct lane *) MUST_CHECK;

#endif
