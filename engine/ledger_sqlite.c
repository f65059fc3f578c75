/* One transaction: the queued rows, the run, the calls. Not for: what each call does
 * (ledger_sqlite_write.c, ledger_sqlite_read.c), the file and its statements
 * (ledger_sqlite_base.c), fibers (ledger.c). */
#include <stdlib.h>

#include "engine/ledger_sqlite_base.h"

/* ---- settled messages ---- */

/* A reason's code in this file. Names are what counts: err.def may be renumbered at any time. */
enum err ledger_sqlite_reason(struct ledger_store *store, enum err reason, uint64_t *code)
{
	sqlite3_stmt *statement;
	enum err e;

	*code = 0;
	if (reason == OK)
		return OK;
	if (!store->reason_codes[reason]) {
		if ((e = ledger_sqlite_bind(store, SQL_REASON_NEW, NO_NUMBERS, &statement)))
			return e;
		ledger_sqlite_bind_text(statement, 1, err_name(reason));
		if ((e = ledger_sqlite_done(store, statement, NULL)))
			return e;
		store->reason_codes[reason] = (uint16_t)sqlite3_last_insert_rowid(store->db);
	}
	*code = store->reason_codes[reason];
	return OK;
}

static bool has_digest(enum ledger_state state)
{
	return state == LEDGER_MOVED || state == LEDGER_DOUBTFUL;
}

static enum err insert(struct ledger_store *store, const struct ledger_row *row, uint64_t fate,
		       bool *is_new)
{
	sqlite3_stmt *statement;
	uint64_t changes = 0;
	enum err e = ledger_sqlite_bind(
		store, SQL_SETTLE,
		NUMBERS(row->box_no, row->no, fate, row->size_bytes, row->seal_no), &statement);

	if (e)
		return e;
	if (has_digest(row->state))
		sqlite3_bind_blob(statement, 6, row->digest.bytes, DIGEST_BYTES, SQLITE_STATIC);
	else
		sqlite3_bind_null(statement, 6);
	if (row->mark)
		sqlite3_bind_int64(statement, 7, (sqlite3_int64)row->mark);
	else
		sqlite3_bind_null(statement, 7);
	if (row->target_no)
		sqlite3_bind_int64(statement, 8, (sqlite3_int64)row->target_no);
	else
		sqlite3_bind_null(statement, 8);
	if (row->dated)
		sqlite3_bind_int64(statement, 9, row->date_s);
	else
		sqlite3_bind_null(statement, 9);
	if (row->form != MAIL_AS_IT_IS)
		sqlite3_bind_int(statement, 10, (int)row->form);
	else
		sqlite3_bind_null(statement, 10);
	if (row->found)
		sqlite3_bind_blob(statement, 11, row->fingerprint.bytes,
				  row->found == LEDGER_FOUND_ALIKE ? DIGEST_BYTES : 0,
				  SQLITE_STATIC);
	else
		sqlite3_bind_null(statement, 11);
	e = ledger_sqlite_done(store, statement, &changes);
	*is_new = changes == 1;
	return e;
}

static bool is_same(sqlite3_stmt *there, const struct ledger_row *row, uint64_t fate)
{
	const void *digest = sqlite3_column_blob(there, 3);
	bool same = (uint64_t)sqlite3_column_int64(there, 0) == fate &&
		    (uint64_t)sqlite3_column_int64(there, 1) == row->size_bytes &&
		    (uint64_t)sqlite3_column_int64(there, 2) == row->seal_no;

	if (!has_digest(row->state))
		return same && !digest;
	return same && digest && sqlite3_column_bytes(there, 3) == DIGEST_BYTES &&
	       memcmp(digest, row->digest.bytes, DIGEST_BYTES) == 0;
}

/* What one batch did to one folder; written to its row when the batch comes to another folder. */
struct tally {
	uint64_t box_no;
	int64_t messages[LEDGER_WITHDRAWN + 1], bytes_moved;
	uint64_t first, last; /* an intended range of the folder: rows in it need no look-up */
};

static enum err refuse(struct ledger_store *store, const struct ledger_row *row, const char *why)
{
	return RAISE(ERR_LEDGER_STATE,
		     "settling message %llu of folder %llu as %s in the ledger %s: %s",
		     (unsigned long long)row->no, (unsigned long long)row->box_no,
		     ledger_state_name(row->state), store->path, why);
}

/* What the ledger holds about a message; state 0: nothing. */
struct there {
	unsigned state;
	int64_t size_bytes;
	bool same; /* as the row that is asked for */
};

static enum err look_up(struct ledger_store *store, const struct ledger_row *row, uint64_t fate,
			struct there *there)
{
	sqlite3_stmt *found;
	bool is_there;
	enum err e = ledger_sqlite_bind(store, SQL_SETTLED, NUMBERS(row->box_no, row->no), &found);

	*there = (struct there){ 0 };
	if (e)
		return e;
	if ((e = ledger_sqlite_step(store, found, &is_there)) == OK && is_there) {
		there->state = (unsigned)sqlite3_column_int(found, 0) & FATE_STATE_MASK;
		there->size_bytes = sqlite3_column_int64(found, 1);
		there->same = row->state == LEDGER_WITHDRAWN ? there->state == LEDGER_WITHDRAWN
							     : is_same(found, row, fate);
	}
	sqlite3_reset(found);
	return e;
}

/* The message has a row already, or should have: the same again, or one of the legal changes. */
static enum err settle_again(struct ledger_store *store, const struct ledger_row *row,
			     uint64_t fate, struct tally *tally)
{
	struct there there;
	enum err e = look_up(store, row, fate, &there);

	if (e || there.same)
		return e;
	if (row->state != LEDGER_WITHDRAWN || !has_digest(there.state))
		return refuse(store, row,
			      there.state ? "it is settled already, and not so"
					  : "it was never moved");
	tally->messages[there.state]--;
	tally->messages[row->state]++;
	tally->bytes_moved -= there.state == LEDGER_MOVED ? there.size_bytes : 0;
	return ledger_sqlite_do(store, SQL_SETTLED_CHANGE, NUMBERS(row->box_no, row->no, fate),
				NULL);
}

/* Only what was intended may reach the sink, and nothing may turn up in a range that is done: it
 * would mean that the range was closed too early. */
static enum err check_intended(struct ledger_store *store, const struct ledger_row *row,
			       struct tally *tally)
{
	uint64_t range[3];
	bool found;
	enum err e;

	if (row->no >= tally->first && row->no <= tally->last)
		return OK;
	if ((e = ledger_sqlite_query(store, SQL_RANGE_AT, NUMBERS(row->box_no, row->no), range, 3,
				     &found)))
		return e;
	if (!found || row->no > range[1])
		return refuse(store, row, "it was never intended");
	if (!range[2])
		return refuse(store, row, "its range is done already");
	tally->first = range[0];
	tally->last = range[1];
	return OK;
}

static enum err settle(struct ledger_store *store, const struct ledger_row *row,
		       struct tally *tally)
{
	uint64_t reason, fate;
	bool is_new = false;
	enum err e = ledger_sqlite_reason(store, row->reason, &reason);

	fate = reason << FATE_STATE_BITS | row->state;
	if (e)
		return e;
	if (row->state == LEDGER_WITHDRAWN)
		return settle_again(store, row, fate, tally);
	if ((e = insert(store, row, fate, &is_new)))
		return e;
	if (!is_new)
		return settle_again(store, row, fate, tally);
	tally->messages[row->state]++;
	if (row->state == LEDGER_MOVED)
		tally->bytes_moved += (int64_t)row->size_bytes;
	return check_intended(store, row, tally);
}

enum err ledger_sqlite_count(struct ledger_store *store, uint64_t box_no, const int64_t messages[5],
			     int64_t bytes_moved, int64_t vanished)
{
	const int64_t *n = messages;
	uint64_t changes = 0;
	enum err e = ledger_sqlite_do(
		store, SQL_BOX_COUNT,
		NUMBERS(box_no, (uint64_t)n[LEDGER_MOVED], (uint64_t)n[LEDGER_SKIPPED],
			(uint64_t)n[LEDGER_DOUBTFUL], (uint64_t)n[LEDGER_WITHDRAWN],
			(uint64_t)bytes_moved, (uint64_t)vanished),
		&changes);

	if (!e && changes != 1)
		e = RAISE(ERR_LEDGER_STATE,
			  "settling messages in the ledger %s: there is no folder %llu",
			  store->path, (unsigned long long)box_no);
	return e;
}

static enum err write_tally(struct ledger_store *store, struct tally *tally)
{
	if (!tally->box_no)
		return OK;
	return ledger_sqlite_count(store, tally->box_no, tally->messages, tally->bytes_moved, 0);
}

/* ---- ranges and seals that are done ---- */

enum err ledger_sqlite_range_add(struct ledger_store *store, uint64_t box_no, uint64_t first,
				 uint64_t last, bool done)
{
	uint64_t changes = 0;
	enum err e = ledger_sqlite_do(store, SQL_RANGE_NEW, NUMBERS(box_no, first, last, done),
				      &changes);

	if (!e && changes != 1)
		e = RAISE(ERR_LEDGER_STATE,
			  "intending messages in the ledger %s: there is no folder %llu",
			  store->path, (unsigned long long)box_no);
	return e;
}

/* Take [first, last] out of the intended range around it. */
static enum err range_carve(struct ledger_store *store, uint64_t box_no, uint64_t first,
			    uint64_t last)
{
	uint64_t around[3];
	bool found;
	enum err e =
		ledger_sqlite_query(store, SQL_RANGE_AT, NUMBERS(box_no, first), around, 3, &found);

	if (e)
		return e;
	if (!found || last > around[1] || !around[2])
		return RAISE(
			ERR_LEDGER_STATE,
			"closing range %llu to %llu of folder %llu in the ledger %s: it is not an"
			" intended one",
			(unsigned long long)first, (unsigned long long)last,
			(unsigned long long)box_no, store->path);
	if (around[0] < first)
		e = ledger_sqlite_do(store, SQL_RANGE_CUT, NUMBERS(box_no, around[0], first - 1),
				     NULL);
	else
		e = ledger_sqlite_do(store, SQL_RANGE_DROP, NUMBERS(box_no, first), NULL);
	if (!e && last < around[1])
		e = ledger_sqlite_range_add(store, box_no, last + 1, around[1], false);
	return e;
}

/* The done range that holds `no`, if there is one, leaves the table and joins *first, *last. */
static enum err range_absorb(struct ledger_store *store, uint64_t box_no, uint64_t no,
			     uint64_t *first, uint64_t *last)
{
	uint64_t at[4];
	bool found;
	enum err e = ledger_sqlite_query(store, SQL_RANGE_AT, NUMBERS(box_no, no), at, 4, &found);

	if (e || !found || at[1] < no || !at[3])
		return e;
	*first = min_u64(*first, at[0]);
	*last = max_u64(*last, at[1]);
	return ledger_sqlite_do(store, SQL_RANGE_DROP, NUMBERS(box_no, at[0]), NULL);
}

static enum err range_done(struct ledger_store *store, uint64_t box_no, uint64_t first,
			   uint64_t last)
{
	enum err e = range_carve(store, box_no, first, last);

	if (!e && (e = range_absorb(store, box_no, first - 1, &first, &last)) == OK &&
	    (e = range_absorb(store, box_no, last + 1, &first, &last)) == OK)
		e = ledger_sqlite_range_add(store, box_no, first, last, true);
	return e;
}

/* From the last done range that [first, last] meets to the first: that part of it is cut out. */
enum err ledger_sqlite_range_again(struct ledger_store *store, uint64_t box_no, uint64_t first,
				   uint64_t last)
{
	uint64_t at[4];
	bool found;
	enum err e = OK;

	for (uint64_t to = last; !e && to >= first; to = at[0] - 1) {
		e = ledger_sqlite_query(store, SQL_RANGE_AT, NUMBERS(box_no, to), at, 4, &found);
		if (e || !found || at[1] < first)
			break;
		if (!at[3])
			continue;
		e = ledger_sqlite_do(store, SQL_RANGE_DROP, NUMBERS(box_no, at[0]), NULL);
		if (!e && at[1] > to)
			e = ledger_sqlite_range_add(store, box_no, to + 1, at[1], true);
		if (!e)
			e = ledger_sqlite_range_add(store, box_no, max_u64(at[0], first),
						    min_u64(at[1], to), false);
		if (!e && at[0] < first)
			e = ledger_sqlite_range_add(store, box_no, at[0], first - 1, true);
	}
	return e;
}

enum err ledger_sqlite_seal_gone(struct ledger_store *store, uint64_t mailbox_no, uint64_t seal_no)
{
	uint64_t changes = 0;
	enum err e = ledger_sqlite_do(store, SQL_SEAL_DROP, NUMBERS(mailbox_no, seal_no), &changes);

	if (!e && changes != 1)
		e = RAISE(ERR_LEDGER_STATE,
			  "dropping seal %llu of mailbox %llu in the ledger %s: it is not held",
			  (unsigned long long)seal_no, (unsigned long long)mailbox_no, store->path);
	return e;
}

/* ---- one transaction ---- */

/* Settled rows first, in the order of their keys (LIMITS: clustered rows cost a fifth of scattered
 * ones); then the rest as it was queued. */
static int compare(const void *left, const void *right)
{
	const struct ledger_entry *a = left, *b = right;

	if (a->kind != b->kind && (a->kind == LEDGER_SETTLE || b->kind == LEDGER_SETTLE))
		return a->kind == LEDGER_SETTLE ? -1 : 1;
	if (a->kind == LEDGER_SETTLE && a->row.box_no != b->row.box_no)
		return a->row.box_no < b->row.box_no ? -1 : 1;
	if (a->kind == LEDGER_SETTLE && a->row.no != b->row.no)
		return a->row.no < b->row.no ? -1 : 1;
	return a->order < b->order ? -1 : 1;
}

static void sort(struct ledger_batch *batch)
{
	for (size_t i = 1; i < batch->count; i++)
		if (compare(&batch->entries[i - 1], &batch->entries[i]) > 0) {
			qsort(batch->entries, batch->count, sizeof batch->entries[0], compare);
			return;
		}
}

static enum err apply_settled(struct ledger_store *store, const struct ledger_row *row,
			      struct tally *tally)
{
	enum err e = OK;

	if (row->box_no != tally->box_no) {
		e = write_tally(store, tally);
		*tally = (struct tally){ .box_no = row->box_no, .first = 1 };
	}
	return e ? e : settle(store, row, tally);
}

static enum err apply(struct ledger_store *store, struct ledger_batch *batch)
{
	struct tally tally = { 0 };
	enum err e = OK;
	size_t i;

	sort(batch);
	for (i = 0; !e && i < batch->count && batch->entries[i].kind == LEDGER_SETTLE; i++)
		e = apply_settled(store, &batch->entries[i].row, &tally);
	if (!e)
		e = write_tally(store, &tally);
	for (; !e && i < batch->count; i++) {
		const struct ledger_entry *entry = &batch->entries[i];

		if (entry->kind == LEDGER_RANGE_DONE)
			e = range_done(store, entry->range.box_no, entry->range.first,
				       entry->range.last);
		else if (entry->kind == LEDGER_RANGE_AGAIN)
			e = ledger_sqlite_range_again(store, entry->range.box_no,
						      entry->range.first, entry->range.last);
		else if (entry->kind == LEDGER_SEAL_DONE)
			e = ledger_sqlite_seal_gone(store, entry->seal.mailbox_no,
						    entry->seal.seal_no);
		else
			e = ledger_sqlite_change(store, entry);
	}
	return e;
}

/* The errors of a run as a JSON object, which SQLite takes apart again: {"NET_REFUSED":2}. */
static void list_errors(struct buffer *json, const struct ledger_run *run)
{
	buffer_add_text(json, "{");
	for (int e = OK + 1; e < ERR_COUNT; e++)
		if (run->errors[e])
			buffer_addf(json, "%s\"%s\":%llu", json->bytes > 1 ? "," : "",
				    err_name((enum err)e), (unsigned long long)run->errors[e]);
	buffer_add_text(json, "}");
}

static enum err bind_run(struct ledger_store *store, const struct ledger_run *run,
			 enum ledger_statement which, sqlite3_stmt **statement)
{
	const uint64_t *boxes = run->mailboxes;

	return ledger_sqlite_bind(
		store, which,
		NUMBERS((uint64_t)run->started_wall_s, (uint64_t)run->updated_wall_s,
			(uint64_t)run->ended_wall_s, (uint64_t)run->pid, run->messages, run->bytes,
			(uint64_t)run->exit_code, boxes[BATCH_WAITING], boxes[BATCH_RUNNING],
			boxes[BATCH_DONE], boxes[BATCH_INCOMPLETE], boxes[BATCH_DOUBTFUL],
			boxes[BATCH_FAILED], boxes[BATCH_DRAINED], run->connections,
			run->throttled_permille, (uint64_t)run->window_closes_wall_s),
		statement);
}

/* The run's row is made by its first note and changed by every later one. */
static enum err write_run(struct ledger_store *store, const struct ledger_run *run)
{
	enum ledger_statement which = store->run_no ? SQL_RUN_CHANGE : SQL_RUN_NEW;
	struct buffer errors = { 0 };
	sqlite3_stmt *statement;
	enum err e = bind_run(store, run, which, &statement);

	list_errors(&errors, run);
	if (!e && errors.failed)
		e = RAISE(ERR_MEMORY_EXHAUSTED, "noting the run in the ledger %s", store->path);
	if (!e) {
		ledger_sqlite_bind_text(statement, 18, run->batch);
		ledger_sqlite_bind_text(statement, 19, errors.at);
		if (store->run_no)
			must(!sqlite3_bind_int64(statement, 20, store->run_no));
		e = ledger_sqlite_done(store, statement, NULL);
		sqlite3_clear_bindings(statement);
	}
	if (!e && !store->run_no)
		store->run_no = sqlite3_last_insert_rowid(store->db);
	buffer_free(&errors);
	return e;
}

static void roll_back(struct ledger_store *store)
{
	sqlite3_stmt *statement;

	/* Best effort: the error that led here is the one to tell. Without a transaction SQLite
	 * refuses. */
	if (!sqlite3_get_autocommit(store->db) &&
	    ledger_sqlite_bind(store, SQL_ROLLBACK, NO_NUMBERS, &statement) == OK) {
		sqlite3_step(statement);
		sqlite3_reset(statement);
	}
}

/* A call in a writing transaction that fails is undone alone, unless SQLite has already undone all
 * of it (a full disk, an I/O error). */
static enum err apply_call(struct ledger_store *store, struct ledger_call *call)
{
	enum err e = ledger_sqlite_do(store, SQL_SAVE, NO_NUMBERS, NULL);

	if (e) {
		roll_back(store);
		return e;
	}
	if ((e = call->run(store, call)) == OK &&
	    (e = ledger_sqlite_do(store, SQL_SAVE_KEEP, NO_NUMBERS, NULL)) == OK)
		return OK;
	if (!sqlite3_get_autocommit(store->db) &&
	    (ledger_sqlite_do(store, SQL_SAVE_UNDO, NO_NUMBERS, NULL) ||
	     ledger_sqlite_do(store, SQL_SAVE_KEEP, NO_NUMBERS, NULL)))
		roll_back(store); /* not even that: nothing of the transaction may stay */
	return e;
}

/* Fails when nothing is left of the transaction. */
static enum err do_call(struct ledger_store *store, struct ledger_call *call)
{
	enum err e;

	if (!call->run)
		return OK;
	e = call->result = call->writes ? apply_call(store, call) : call->run(store, call);
	if (!e || sqlite3_get_autocommit(store->db))
		return e;
	call->failure = *err_note();
	err_note_clear();
	return OK;
}

static bool any_writes(const struct ledger_call *calls)
{
	for (const struct ledger_call *call = calls; call; call = call->next)
		if (call->run && call->writes)
			return true;
	return false;
}

enum err ledger_sqlite_transact(struct ledger_store *store, struct ledger_batch *batch,
				const struct ledger_run *run, struct ledger_call *calls)
{
	bool writes = batch->count || run || any_writes(calls);
	enum err e = ledger_sqlite_do(store, writes ? SQL_BEGIN_WRITE : SQL_BEGIN_READ, NO_NUMBERS,
				      NULL);

	if (!e)
		e = apply(store, batch);
	if (!e && run)
		e = write_run(store, run);
	for (struct ledger_call *call = calls; !e && call; call = call->next)
		e = do_call(store, call);
	if (!e)
		e = ledger_sqlite_do(store, SQL_COMMIT, NO_NUMBERS, NULL);
	if (e)
		roll_back(store);
	return e;
}
