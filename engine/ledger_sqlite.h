/* The ledger's storage as ledger.c sees it: a file, and transactions on it. Everything here blocks
 * and runs in an offload job, one at a time per store. Another storage would implement the same
 * calls. */
#ifndef MAILHAUL_LEDGER_SQLITE_H
#define MAILHAUL_LEDGER_SQLITE_H

#include "engine/ledger.h"

struct ledger_store;

/* What was queued. */
struct ledger_entry {
	enum ledger_entry_kind {
		LEDGER_SETTLE,
		LEDGER_RANGE_DONE,
		LEDGER_RANGE_AGAIN,
		LEDGER_SEAL_DONE,
		LEDGER_MARK,
		LEDGER_VANISHED,
		LEDGER_RENUMBER,
		LEDGER_DOUBT,
	} kind;
	uint32_t order; /* in the batch, so that sorting keeps the order of equals */
	union {
		struct ledger_row row;
		struct {
			uint64_t box_no, first, last;
		} range;
		struct {
			uint64_t mailbox_no, seal_no;
		} seal;
		struct {
			uint64_t box_no, no, value; /* the mark, the second, the reason */
		} change;
		struct ledger_renumber renumber;
	};
};

/* Two of these take turns, one filling while the other is written. */
enum { LEDGER_BATCH_ENTRIES_MAX = 2 * LEDGER_ROWS_PER_COMMIT };
struct ledger_batch {
	size_t count;
	struct ledger_entry entries[LEDGER_BATCH_ENTRIES_MAX];
};

/* One call of ledger.h on its way to the store: what it brings and where the answer goes. Each run
 * function says which fields it uses. */
struct ledger_call;
typedef enum err ledger_call_run(struct ledger_store *, struct ledger_call *);
struct ledger_call {
	struct ledger_call *next; /* that shares the transaction */
	bool taken, done;	  /* of ledger.c: a job has it; its fiber may look */
	enum err result;
	struct err_note failure; /* its note */

	ledger_call_run *run; /* NULL: nothing but the batch */
	bool writes;
	uint64_t mailbox_no, box_no, seal_no;
	uint64_t first, last;
	const char *source, *target, *digest, *state, *note;
	enum err fate;
	int64_t ended_wall_s;
	struct text seal;
	struct ledger_mailbox *mailbox;
	struct box *box;
	struct ledger_totals *totals;
	struct ledger_exception *exception;
	struct ledger_lesson *lesson;
	struct ledger_known_box *known;
	enum ledger_former former;
	struct ledger_seen *seen;
	struct ledger_stored *stored;
	size_t max, count;
	const struct digest *sought;
	const struct ledger_renumber *apart;
	struct ledger_renumber *renumber;
	char *name; /* BOX_NAME_BYTES_MAX + 1 */
	struct buffer *blob;
	uint64_t epoch, next_no;
	struct ledger_range range;
	bool found;
};

/* Opens or creates. A new file gets the permissions of `mode_of`. */
enum err ledger_sqlite_open(const char *path, const char *mode_of,
			    struct ledger_store **) MUST_CHECK;
const uint8_t *ledger_sqlite_id(const struct ledger_store *);
/* One transaction: the batch, the run's row (NULL: not new), then the calls (NULL: none) in order.
 * A call that fails is undone alone and keeps its error and note; with OK the others are durable.
 * Otherwise nothing of all that was done. Sorts the batch. */
enum err ledger_sqlite_transact(struct ledger_store *, struct ledger_batch *,
				const struct ledger_run *, struct ledger_call *calls) MUST_CHECK;
/* Bring everything into the one file and close it; the store is closed in any case. */
enum err ledger_sqlite_finish(struct ledger_store **) MUST_CHECK;
/* Close without a checkpoint: a few closing system calls, no data is moved. */
void ledger_sqlite_close(struct ledger_store **);

/* The calls, for ledger_call.run: which fields they use -> which they fill. */
ledger_call_run ledger_sqlite_mailbox;	   /* source target digest -> mailbox */
ledger_call_run ledger_sqlite_mailbox_end; /* mailbox_no state fate note ended_wall_s */
ledger_call_run ledger_sqlite_box;	   /* mailbox_no box -> box, epoch, next_no */
ledger_call_run ledger_sqlite_box_fate;	   /* box_no fate note */
ledger_call_run ledger_sqlite_box_rename;  /* mailbox_no box */
ledger_call_run ledger_sqlite_box_former;  /* box_no former */
ledger_call_run ledger_sqlite_box_target;  /* box_no target epoch */
ledger_call_run ledger_sqlite_cursor;	   /* box_no note */
ledger_call_run ledger_sqlite_seek;	   /* mailbox_no box_no first -> found box_no first */
ledger_call_run ledger_sqlite_seek_end;	   /* mailbox_no */
ledger_call_run ledger_sqlite_intend;	   /* box_no first last */
ledger_call_run ledger_sqlite_seal;	   /* mailbox_no seal_no seal */
ledger_call_run ledger_sqlite_seal_drop;   /* mailbox_no seal_no */
ledger_call_run ledger_sqlite_lesson_set;  /* lesson */
ledger_call_run ledger_sqlite_forget;	   /* mailbox_no note -> count */
ledger_call_run ledger_sqlite_filter;	   /* mailbox_no note -> count */
/* Of ledger_sqlite_read.c; `found` false: nothing more. */
ledger_call_run ledger_sqlite_box_next;	      /* mailbox_no known -> found known */
ledger_call_run ledger_sqlite_mailbox_beside; /* mailbox_no first -> found first */
ledger_call_run ledger_sqlite_seen;	      /* box_no first last seen max -> seen count */
ledger_call_run ledger_sqlite_stored;	      /* box_no first stored max -> stored count */
ledger_call_run ledger_sqlite_sought; /* mailbox_no sought apart count renumber -> renumber name */
ledger_call_run ledger_sqlite_open_range;	/* box_no first -> found range */
ledger_call_run ledger_sqlite_open_range_below; /* box_no last -> found range */
ledger_call_run ledger_sqlite_seal_next;	/* mailbox_no seal_no -> found seal_no blob */
ledger_call_run ledger_sqlite_totals;		/* mailbox_no -> totals */
ledger_call_run ledger_sqlite_exception;	/* mailbox_no exception -> found exception */
ledger_call_run ledger_sqlite_wrapped;		/* mailbox_no exception -> found exception */
ledger_call_run ledger_sqlite_lesson;		/* lesson -> found lesson */
/* Looks at a bounded number of rows; when all of them are settled, `found` is false and `first` has
 * moved behind them. */
ledger_call_run ledger_sqlite_unsettled; /* box_no first last -> found range first */

#endif
