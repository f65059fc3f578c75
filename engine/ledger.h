/* What is known durably about every message: HOUSE section 5's states and no other. ledger.c is the
 * fibers' side (the lock, the queue of the group commit); ledger_sqlite.c is the embedded storage
 * (docs/LEDGER.md has the schema); PostgreSQL can be another. Calls that say so suspend: the work
 * is done by an offload job, one at a time, which once begun is waited for even by a cancelled
 * fiber. Calls of fibers that wait for the job before theirs share the next one, and its
 * transaction: each has its own result, and one that is refused undoes nothing of the others.
 *
 * A struct ledger is the front of one thread. ledger_open makes the first; each further thread
 * joins it with a front of its own (ledger_join): queues of its own, the same storage.
 *
 * A folder's messages are covered by *ranges* of keys: planned, then intended (may reach the sink
 * from now on), then done. Only settled messages have rows. Keys are 1 or more.
 *
 * Group commit: settle, range_done and seal_done only queue. *Every* call that reaches the storage
 * first writes what is queued, in the same transaction, so it sees all of it and makes all of it
 * durable. ledger_settle itself does that when LEDGER_ROWS_PER_COMMIT rows wait or the oldest has
 * waited 50 ms. There is no fiber of the ledger's own: rows left behind when a mailbox falls silent
 * wait for the next call *of the same front*, which is sound (the sink answers for them after a
 * crash); whoever writes the heartbeat (ledger_run_note, ledger_commit once a second or so, on each
 * front) bounds the wait.
 *
 * After a commit that failed nothing more is written: every later call of every front returns the
 * same error. */
#ifndef MAILHAUL_LEDGER_H
#define MAILHAUL_LEDGER_H

#include "engine/batch.h"
#include "engine/bytes.h"
#include "engine/mail.h"

struct ledger;

enum ledger_state {
	LEDGER_MOVED = 1,
	LEDGER_SKIPPED = 2,
	LEDGER_DOUBTFUL = 3,
	LEDGER_WITHDRAWN = 4
};
const char *ledger_state_name(enum ledger_state);

/* Opens (creates, 0600 in a 0700 directory) `directory`/ledger.db for one writing run and locks it:
 * a second run is ERR_LEDGER_BUSY with the holder's pid in the note. ERR_LEDGER_DAMAGED,
 * ERR_LEDGER_VERSION, ERR_DISK_*. Suspends. */
enum err ledger_open(const char *directory, nsec until, struct ledger **) MUST_CHECK;
/* Another front on what `opened` opened, for the calling thread: only its fibers use it and close
 * it. `opened` stays open until then. Does not suspend, and needs no fiber.
 * returns     OK | ERR_MEMORY_EXHAUSTED */
enum err ledger_join(struct ledger *opened, struct ledger **) MUST_CHECK;
/* Commits what is waiting in this front; nobody else may be in a call of it. The opened front's,
 * once every joined one is closed, also checkpoints and unlocks. Whatever it returns, only
 * ledger_close may follow. Not stopped by cancel. Suspends. */
enum err ledger_finish(struct ledger *, nsec until) MUST_CHECK;
/* Without ledger_finish before it: what is only queued is lost, as after a crash. The opened front
 * is closed last. */
void ledger_close(struct ledger **);
/* LEDGER_ID_BYTES random bytes made at creation: which ledger this is. */
enum { LEDGER_ID_BYTES = 16 };
const uint8_t *ledger_id(const struct ledger *);

/* The mailbox of (source, target), created if new. Both texts are as shown to users: no secrets.
 * Suspends. */
struct ledger_mailbox {
	uint64_t mailbox_no;
	uint64_t next_seal_no; /* 1 when new */
	char digest[16]; /* name of the digest its rows are made with: `digest` when new. Another
			  * name than the run's: the caller must refuse */
};
enum err ledger_mailbox(struct ledger *, const char *source, const char *target, const char *digest,
			struct ledger_mailbox *) MUST_CHECK;
/* How the mailbox's last attempt ended, for `status` and reports over several nights: kept until it
 * ends again. `state` is a word of batch_state_name(), the note may be NULL or is for people (no
 * secrets). Durable on return. ERR_LEDGER_STATE: no such mailbox. Suspends. */
enum err ledger_mailbox_end(struct ledger *, uint64_t mailbox_no, const char *state, enum err,
			    const char *note, int64_t ended_wall_s) MUST_CHECK;

/* The folder: by its id where it has one, else by its name and epoch; created if new. One of that
 * name with another epoch or id is another folder: it is set aside as a former one, LEDGER_SOUGHT.
 * Sets box->box_no, settled, before, and renamed: then its messages are known under another name,
 * which ledger_box_next() tells, until ledger_box_rename(). *epoch_before is the epoch it is known
 * with (== box->epoch unless one of them is 0, not known). *next_no is the first key never planned.
 * Suspends. */
enum err ledger_box(struct ledger *, uint64_t mailbox_no, struct box *, uint64_t *epoch_before,
		    uint64_t *next_no) MUST_CHECK;
/* What became of the folder in this run: OK, or why it was skipped. Durable on return. Suspends. */
enum err ledger_box_fate(struct ledger *, uint64_t box_no, enum err fate,
			 const char *note) MUST_CHECK;

/* The mailbox with the next higher number than *beside (0 to start) that goes to the same target,
 * this one among them. ERR_PIPE_ENDED: no more. Suspends. */
enum err ledger_mailbox_beside(struct ledger *, uint64_t mailbox_no, uint64_t *beside) MUST_CHECK;

/* The folder of a mailbox that was entered next after known->box_no (0: the first), as it is known.
 * ERR_PIPE_ENDED when there is none. Suspends. */
enum ledger_former {
	LEDGER_PRESENT,
	LEDGER_SOUGHT, /* gone or replaced: its messages may be found elsewhere in the source */
	LEDGER_OVER,   /* and what was not found is gone */
};
struct ledger_known_box {
	uint64_t box_no, epoch;
	enum ledger_former former;
	char name[BOX_NAME_BYTES_MAX + 1];
	char id[BOX_ID_BYTES_MAX + 1]; /* as of struct box */
	/* As ledger_box_target() said it; "" and 0: never. */
	char target[BOX_NAME_BYTES_MAX + 1];
	uint64_t target_epoch;
};
enum err ledger_box_next(struct ledger *, uint64_t mailbox_no,
			 struct ledger_known_box *) MUST_CHECK;
/* The folder box->box_no has box->name from now on; another one of that name is set aside. Durable
 * on return. Suspends. */
enum err ledger_box_rename(struct ledger *, uint64_t mailbox_no, struct box *) MUST_CHECK;
/* Durable on return. Suspends. */
enum err ledger_box_former(struct ledger *, uint64_t box_no, enum ledger_former) MUST_CHECK;
/* The folder's messages go to the target's folder of this name, in the target's own words, and
 * their numbers there mean something with this epoch. Where that is another folder than before,
 * the numbers of those that are there already are forgotten. Durable on return. Suspends. */
enum err ledger_box_target(struct ledger *, uint64_t box_no, const char *target,
			   uint64_t target_epoch) MUST_CHECK;
/* Everything that changed in the folder up to this cursor is durable in sink and ledger. Durable on
 * return. Suspends. */
enum err ledger_cursor(struct ledger *, uint64_t box_no, const struct cursor *) MUST_CHECK;

/* Plan and intend [first, last] of a box in one transaction (durable before return). Overlapping an
 * earlier range is ERR_LEDGER_STATE. Suspends. */
enum err ledger_intend(struct ledger *, uint64_t box_no, uint64_t first, uint64_t last) MUST_CHECK;
/* Ranges of a box that are not done, oldest first: the one that begins after key `after` (0 to
 * start, then the last range's `last`). Returns ERR_PIPE_ENDED when there is none. Suspends. */
struct ledger_range {
	uint64_t first, last;
};
enum err ledger_open_range(struct ledger *, uint64_t box_no, uint64_t after,
			   struct ledger_range *) MUST_CHECK;
/* Of the ranges that are not done, the last one that begins below key `below`, up to there. As
 * above. */
enum err ledger_open_range_below(struct ledger *, uint64_t box_no, uint64_t below,
				 struct ledger_range *) MUST_CHECK;
/* The next run of keys in [from, last] that has no settled row; ERR_PIPE_ENDED when there is none.
 * Suspends. */
enum err ledger_unsettled(struct ledger *, uint64_t box_no, uint64_t from, uint64_t last,
			  struct ledger_range *) MUST_CHECK;

/* Settle one message. Queued; suspends when it is its turn to commit or the queue is full (2 *
 * LEDGER_ROWS_PER_COMMIT). Durable when ledger_commit() returned, or when ledger_durable() has
 * reached what ledger_queued() was after the call. ERR_FIBER_CANCELED: it was not queued.
 *
 * Legal changes, judged when the row is written; anything else is ERR_LEDGER_STATE:
 *   nothing -> moved, skipped, doubtful   while the message lies in an intended range
 *   moved, doubtful -> withdrawn          (only the state is taken from the row)
 *   the very same row again               does nothing: a sink reports again after a restart
 * And skipped -> nothing, by ledger_forget_skipped(); moved -> doubtful, by ledger_doubt(). */
struct ledger_row {
	uint64_t box_no, no;
	enum ledger_state state;
	enum err reason; /* of skipped and doubtful; OK for moved */
	uint64_t size_bytes;
	struct digest digest; /* of moved and doubtful */
	uint64_t seal_no;     /* where it lies; 0: nowhere */
	uint64_t mark;	      /* mail_mark(); 0: not known */
	uint64_t target_no;   /* its number in the target's folder; 0: not known */
	int64_t date_s;	      /* the date the target was told; valid if `dated` */
	bool dated;
	enum mail_form form; /* of moved and doubtful */
	/* Moved without being sent: it was at the target before, */
	enum ledger_found {
		LEDGER_SENT,	    /* (it was sent) */
		LEDGER_FOUND_SAME,  /* with the same bytes, */
		LEDGER_FOUND_ALIKE, /* or with this fingerprint */
	} found;
	struct digest fingerprint;
};
enum err ledger_settle(struct ledger *, const struct ledger_row *) MUST_CHECK;
/* A moved message was looked for at the target and is not there as it was stored: it is doubtful
 * from now on, for ERR_SINK_MISSING or ERR_SINK_ALTERED. Queued, and written behind the rows. Of a
 * message that is doubtful already nothing changes; ERR_LEDGER_STATE (when written) for any other.
 */
enum err ledger_doubt(struct ledger *, uint64_t box_no, uint64_t no, enum err reason) MUST_CHECK;
/* Everything of [first, last] is settled or gone: the range, or that part of it, is done. Queued
 * like a row and written with the rows queued before it. ERR_LEDGER_STATE (when written) unless it
 * lies in one intended range. */
enum err ledger_range_done(struct ledger *, uint64_t box_no, uint64_t first,
			   uint64_t last) MUST_CHECK;
/* There is more in [first, last] than was thought: what of it is done is intended again, without
 * what is settled in it. Queued like a row. */
enum err ledger_range_again(struct ledger *, uint64_t box_no, uint64_t first,
			    uint64_t last) MUST_CHECK;

/* A person wants the skipped messages of a mailbox tried again that were skipped for the reason of
 * this name, or LEDGER_ANY_REASON: their rows are forgotten, the ranges that held them are intended
 * again, and their folders' cursors emptied. One transaction, durable on return: whatever happens
 * then, the next run plans them. Moved, doubtful and withdrawn messages are not touched, nor are
 * folders that are not there any more. *count: so many. ERR_LEDGER_STATE: one of them lies in no
 * range; nothing was changed. Suspends. */
#define LEDGER_ANY_REASON "all"
enum err ledger_forget_skipped(struct ledger *, uint64_t mailbox_no, const char *reason,
			       uint64_t *count) MUST_CHECK;
/* What this run's filter asks of messages (filter_text(); "": nothing). Where that is not what the
 * mailbox's last run asked, the messages that were skipped as ERR_SOURCE_FILTERED are forgotten as
 * above, so that they are judged anew, *count of them, and the text is kept: one transaction,
 * durable on return. LEDGER_ANY_REASON above does not stand for that reason. Suspends. */
enum err ledger_filter(struct ledger *, uint64_t mailbox_no, const char *text,
		       uint64_t *count) MUST_CHECK;

/* The messages of a folder that are moved or doubtful, with keys above `after`, at most `max` of
 * them, in order: what should be at the target. *count 0: no more. Suspends. */
struct ledger_stored {
	uint64_t no, size_bytes, mark, target_no; /* as of struct ledger_row */
	struct digest digest;
	int64_t date_s;
	bool dated, doubtful;
	bool altered; /* doubtful, because it has other bytes there: ERR_SINK_ALTERED */
	enum mail_form form;
	enum ledger_found found; /* as of struct ledger_row */
	struct digest fingerprint;
};
enum err ledger_stored(struct ledger *, uint64_t box_no, uint64_t after, struct ledger_stored *,
		       size_t max, size_t *count) MUST_CHECK;

/* ---- what became of settled messages in the source afterwards ---- */

/* Settled messages of [first, last], at most `max` of them, in order. Suspends. */
struct ledger_seen {
	uint64_t no, mark;
	uint64_t target_no; /* as of struct ledger_row; 0 also of what was found there */
	bool stored;	    /* moved or doubtful */
	bool vanished;	    /* and not in the source any more */
};
enum err ledger_seen(struct ledger *, uint64_t box_no, uint64_t first, uint64_t last,
		     struct ledger_seen *, size_t max, size_t *count) MUST_CHECK;
/* Queued like rows and written behind them. ERR_LEDGER_STATE (when written) unless the message was
 * moved or is doubtful. Telling it again does nothing.
 *
 * It has these flags now (mark 0: not known); it is there, whatever was said before. */
enum err ledger_mark(struct ledger *, uint64_t box_no, uint64_t no, uint64_t mark) MUST_CHECK;
/* It is not there any more: a fact about a moved message, which stays moved. */
enum err ledger_vanished(struct ledger *, uint64_t box_no, uint64_t no) MUST_CHECK;

/* Moved messages of folders that are LEDGER_SOUGHT can be found by their digest, once they were all
 * entered: call until *box_no is 0 again; start with 0 and 0. Suspends. */
enum err ledger_seek(struct ledger *, uint64_t mailbox_no, uint64_t *box_no,
		     uint64_t *no) MUST_CHECK;
/* A message that turned up as (box_no, no), and the one it was before. */
struct ledger_renumber {
	uint64_t box_no, no, mark;
	uint64_t was_box_no, was_no, was_epoch;
};
/* One of the sought messages with this digest, first of all of a folder of the same name, that is
 * not among the `taken`. Fills was_*, and was_name, with BOX_NAME_BYTES_MAX + 1 bytes. was_no 0:
 * there is none. Suspends. */
enum err ledger_sought(struct ledger *, uint64_t mailbox_no, const struct digest *,
		       const struct ledger_renumber *taken, size_t taken_count,
		       struct ledger_renumber *, char *was_name) MUST_CHECK;
/* It is the same stored message, which has its new number from now on. Queued; written behind the
 * rows. ERR_LEDGER_STATE (when written) unless the new number lies in an intended range and is not
 * settled. */
enum err ledger_renumber(struct ledger *, const struct ledger_renumber *) MUST_CHECK;
/* Nothing is sought any more. Durable on return. Suspends. */
enum err ledger_seek_end(struct ledger *, uint64_t mailbox_no) MUST_CHECK;

/* Make everything queued durable now, and the run's note if it is new. Suspends. */
enum err ledger_commit(struct ledger *) MUST_CHECK;
/* Queued calls since open, and how many of them are durable: they become so in order. */
uint64_t ledger_queued(const struct ledger *);
uint64_t ledger_durable(const struct ledger *);

/* Seals: what a sink asks us to hold durably before it makes something visible. ledger_seal is
 * durable on return (it also commits what is queued). A number below next_seal_no, used before, is
 * ERR_LEDGER_STATE. Suspends. */
enum err ledger_seal(struct ledger *, uint64_t mailbox_no, uint64_t seal_no,
		     struct text seal) MUST_CHECK;
/* Queued, with the rows queued before it: the seal's messages are all settled. */
enum err ledger_seal_done(struct ledger *, uint64_t mailbox_no, uint64_t seal_no) MUST_CHECK;
/* The same of several, all of them in one commit; no more than LEDGER_ROWS_PER_COMMIT. */
enum err ledger_seals_done(struct ledger *, uint64_t mailbox_no, const uint64_t *seal_nos,
			   size_t count) MUST_CHECK;
/* The sink never showed it: the number stays used, the seal is dropped. Durable on return.
 * Suspends. */
enum err ledger_seal_drop(struct ledger *, uint64_t mailbox_no, uint64_t seal_no) MUST_CHECK;
/* The oldest seal still held with a number above `after`; ERR_PIPE_ENDED when there is none. The
 * caller frees `seal`. Suspends. */
enum err ledger_seal_next(struct ledger *, uint64_t mailbox_no, uint64_t after, uint64_t *seal_no,
			  struct buffer *seal) MUST_CHECK;

/* Totals of a mailbox, all runs. Suspends. */
enum { LEDGER_REASON_NAME_BYTES = 32, LEDGER_REASONS_MAX = 8 };
struct ledger_reason {
	char name[LEDGER_REASON_NAME_BYTES]; /* as stored, known to this version or not */
	uint64_t messages;		     /* 0: no more reasons */
};
struct ledger_totals {
	uint64_t boxes, boxes_skipped;
	uint64_t messages[5]; /* by enum ledger_state; skipped ones without */
	uint64_t filtered;    /* those that the filter left out, as asked */
	uint64_t found;	      /* of the moved and doubtful ones: they were there before */
	uint64_t bytes_moved, vanished;
	uint64_t wrapped; /* of the moved and doubtful ones */
	uint64_t ranges_open, seals_open;
	struct ledger_reason skipped_for[LEDGER_REASONS_MAX]; /* the most frequent ones first */
};
enum err ledger_totals(struct ledger *, uint64_t mailbox_no, struct ledger_totals *) MUST_CHECK;

/* Folders that were refused (no 0) and messages skipped or doubtful, in order, without those that
 * the filter left out; start with *after zeroed. ERR_PIPE_ENDED at the end. Suspends. */
struct ledger_exception {
	uint64_t box_no, no;
	enum ledger_state state;
	enum err reason; /* OK when this version does not know the name any more */
	char reason_name[LEDGER_REASON_NAME_BYTES]; /* as stored */
	char box_name[BOX_NAME_BYTES_MAX + 1];
};
enum err ledger_exception_next(struct ledger *, uint64_t mailbox_no,
			       struct ledger_exception *) MUST_CHECK;

/* Messages that are stored wrapped, in order: box_no, no, state and box_name of them. Otherwise as
 * ledger_exception_next(). Suspends. */
enum err ledger_wrapped_next(struct ledger *, uint64_t mailbox_no,
			     struct ledger_exception *) MUST_CHECK;

/* What was learnt about a host or an account, so that a restart does not run into it again: kinds
 * "host" and "account" are a struct backoff_saved of engine/backoff.h, the others are
 * engine/govern.h's, which has all it knows in `reason` and says 1 in `failures`. */
enum { LEDGER_LESSON_NAME_BYTES_MAX = 767 };
struct ledger_lesson {
	uint64_t lesson_no; /* set by ledger_lesson_next */
	char kind[16];
	char name[LEDGER_LESSON_NAME_BYTES_MAX + 1]; /* no secrets */
	int64_t not_before_wall_s;		     /* 0: no rest */
	unsigned connections_max;		     /* 0: as configured */
	unsigned failures;
	char reason[200];
};
/* Keep it in place of what was known of (kind, name). No rest, no limit and no failures: forget it.
 * Durable on return. Suspends. */
enum err ledger_lesson_set(struct ledger *, const struct ledger_lesson *) MUST_CHECK;
/* The next one, in the order they were first learnt; start zeroed. ERR_PIPE_ENDED at the end.
 * Suspends. */
enum err ledger_lesson_next(struct ledger *, struct ledger_lesson *) MUST_CHECK;

/* No run holds the ledger in `directory`: the kernel says so, whatever is noted in it. Its lock is
 * taken, shared, and given back for that. False where it cannot be told: no lock file yet, or not
 * ours to read. Blocks; for the command line. */
bool ledger_is_free(const char *directory);

/* The most memory that the storage's library held at once in this process. */
uint64_t ledger_memory_high(void);

/* A run's heartbeat and counters, for `mailhaul status` of another process; written with each
 * commit that follows, and at finish. The first note makes the run's row. Belongs to the opened
 * front. Does not suspend. */
struct ledger_run {
	int64_t started_wall_s, updated_wall_s, ended_wall_s; /* ended 0: going on */
	int64_t pid;
	uint64_t messages, bytes; /* moved in this run */
	int exit_code;
	/* Of a batch; all zero for a single mailbox. Meanings as in engine/batch.h. */
	char batch[64];
	uint64_t mailboxes[BATCH_STATES];
	uint64_t connections;
	unsigned throttled_permille;  /* of the time that mailboxes ran or had to wait */
	int64_t window_closes_wall_s; /* INT64_MAX: never */
	uint64_t errors[ERR_COUNT];
};
void ledger_run_note(struct ledger *, const struct ledger_run *);

/* A copy of `directory`'s ledger, as it is at this moment, into the (empty) directory `to`: what is
 * done with that one changes nothing. Beside a running writer, no lock taken. Blocks: for the
 * command line. ERR_LEDGER_ABSENT when there is none. */
enum err ledger_snapshot(const char *directory, const char *to) MUST_CHECK;

/* Reading beside a running writer, no lock taken. Blocks: for the command line, not for fibers.
 * Each mailbox is told to `each` (NULL: to nobody); the newest run is put into *last_run (NULL:
 * nowhere; all zero when no run was noted). ERR_LEDGER_ABSENT when there is none. */
struct ledger_status_mailbox {
	uint64_t mailbox_no;
	char source[512], target[512];
	struct ledger_totals totals;
	/* Of ledger_mailbox_end(): "" and 0 while it never ended. */
	char state[16], error[32], note[200];
	int64_t ended_wall_s;
};
enum err ledger_status(const char *directory,
		       void (*each)(void *context, const struct ledger_status_mailbox *),
		       struct ledger_run *last_run, void *context) MUST_CHECK;
/* The same for what was learnt about hosts and accounts, in the order it was. */
enum err ledger_lessons(const char *directory,
			void (*each)(void *context, const struct ledger_lesson *),
			void *context) MUST_CHECK;

#endif
