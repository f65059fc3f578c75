/* What reads the ledger: the walk over what is left, the totals, the exceptions, and `status`
 * beside a writer. Not for: changing anything. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "engine/ledger_sqlite_base.h"

enum err ledger_sqlite_open_range(struct ledger_store *store, struct ledger_call *call)
{
	uint64_t range[2];
	enum err e = ledger_sqlite_query(store, SQL_RANGE_OPEN, NUMBERS(call->box_no, call->first),
					 range, 2, &call->found);

	call->range = (struct ledger_range){ range[0], range[1] };
	return e;
}

/* Rows looked at in one job: about 10 ms of one thread, so that others come to their turn. */
enum { WALK_ROWS_MAX = 65536 };

enum err ledger_sqlite_unsettled(struct ledger_store *store, struct ledger_call *call)
{
	sqlite3_stmt *statement;
	uint64_t expected = call->first, no = 0, rows = 0;
	bool row = true;
	enum err e = ledger_sqlite_bind(
		store, SQL_SETTLED_WALK,
		NUMBERS(call->box_no, call->first, call->last, WALK_ROWS_MAX), &statement);

	if (e)
		return e;
	while ((e = ledger_sqlite_step(store, statement, &row)) == OK && row) {
		no = (uint64_t)sqlite3_column_int64(statement, 0);
		rows++;
		if (no != expected)
			break;
		expected++;
	}
	sqlite3_reset(statement);
	call->found = row || (rows < WALK_ROWS_MAX && expected <= call->last);
	call->range = (struct ledger_range){ expected, row ? no - 1 : call->last };
	call->first = expected;
	return e;
}

enum err ledger_sqlite_seal_next(struct ledger_store *store, struct ledger_call *call)
{
	sqlite3_stmt *statement;
	enum err e = ledger_sqlite_bind(store, SQL_SEAL_NEXT,
					NUMBERS(call->mailbox_no, call->seal_no), &statement);

	if (e)
		return e;
	if ((e = ledger_sqlite_step(store, statement, &call->found)) == OK && call->found) {
		call->seal_no = (uint64_t)sqlite3_column_int64(statement, 0);
		buffer_reset(call->blob);
		buffer_add(call->blob, sqlite3_column_blob(statement, 1),
			   (size_t)sqlite3_column_bytes(statement, 1));
		if (call->blob->failed)
			e = RAISE(ERR_MEMORY_EXHAUSTED, "reading seal %llu of the ledger %s",
				  (unsigned long long)call->seal_no, store->path);
	}
	sqlite3_reset(statement);
	return e;
}

enum err ledger_sqlite_totals(struct ledger_store *store, struct ledger_call *call)
{
	struct ledger_totals *totals = call->totals;
	uint64_t sums[7], open[2];
	bool found;
	enum err e =
		ledger_sqlite_query(store, SQL_TOTALS, NUMBERS(call->mailbox_no), sums, 7, &found);

	if (!e)
		e = ledger_sqlite_query(store, SQL_TOTALS_OPEN, NUMBERS(call->mailbox_no), open, 2,
					&found);
	if (e)
		return e;
	*totals = (struct ledger_totals){ .boxes = sums[0],
					  .boxes_skipped = sums[1],
					  .bytes_moved = sums[6],
					  .ranges_open = open[0],
					  .seals_open = open[1] };
	for (int state = LEDGER_MOVED; state <= LEDGER_WITHDRAWN; state++)
		totals->messages[state] = sums[1 + state];
	return OK;
}

/* The first row of a statement that gives number, fate, reason and folder name. */
static enum err exception_row(struct ledger_store *store, enum ledger_statement sql,
			      uint64_t number, struct ledger_exception *exception, bool *found)
{
	sqlite3_stmt *statement;
	enum err e = ledger_sqlite_bind(store, sql, NUMBERS(exception->box_no, number), &statement);

	if (e)
		return e;
	if ((e = ledger_sqlite_step(store, statement, found)) == OK && *found) {
		exception->no = (uint64_t)sqlite3_column_int64(statement, 0);
		exception->state =
			(enum ledger_state)(sqlite3_column_int(statement, 1) & FATE_STATE_MASK);
		ledger_sqlite_text(statement, 2, exception->reason_name,
				   sizeof exception->reason_name);
		ledger_sqlite_text(statement, 3, exception->box_name, sizeof exception->box_name);
		if (!err_from_name(text_of(exception->reason_name), &exception->reason))
			exception->reason = OK;
	}
	sqlite3_reset(statement);
	return e;
}

/* Folder by folder, so that each call is one or a few look-ups however many exceptions there are:
 * the folder itself first, where it was refused, then its messages. */
enum err ledger_sqlite_exception(struct ledger_store *store, struct ledger_call *call)
{
	struct ledger_exception *at = call->exception;
	bool is_box = at->box_no > 0;
	uint64_t next;
	enum err e = OK;

	call->found = false;
	for (;;) {
		if (is_box &&
		    ((e = exception_row(store, SQL_EXCEPTION, at->no, at, &call->found)) ||
		     call->found))
			break;
		e = ledger_sqlite_query(store, SQL_BOX_AFTER, NUMBERS(call->mailbox_no, at->box_no),
					&next, 1, &is_box);
		if (e || !is_box)
			break;
		at->box_no = next;
		at->no = 0;
		e = exception_row(store, SQL_EXCEPTION_BOX, LEDGER_SKIPPED, at, &call->found);
		if (e || call->found)
			break;
	}
	return e;
}

/* ---- status: another process's view ---- */

static enum err read_run(struct ledger_store *store, struct ledger_run *run)
{
	uint64_t c[7];
	bool found;
	enum err e = ledger_sqlite_query(store, SQL_RUN_NEWEST, NO_NUMBERS, c, 7, &found);

	*run = (struct ledger_run){
		.started_wall_s = (int64_t)c[0],
		.updated_wall_s = (int64_t)c[1],
		.ended_wall_s = (int64_t)c[2],
		.pid = (int64_t)c[3],
		.messages = c[4],
		.bytes = c[5],
		.exit_code = (int)c[6],
	};
	return e;
}

/* The mailbox with the next higher number. */
static enum err read_mailbox(struct ledger_store *store, struct ledger_status_mailbox *mailbox,
			     bool *found)
{
	struct ledger_call call = { .totals = &mailbox->totals };
	sqlite3_stmt *statement;
	enum err e =
		ledger_sqlite_bind(store, SQL_MAILBOXES, NUMBERS(mailbox->mailbox_no), &statement);

	if (e)
		return e;
	if ((e = ledger_sqlite_step(store, statement, found)) == OK && *found) {
		mailbox->mailbox_no = (uint64_t)sqlite3_column_int64(statement, 0);
		ledger_sqlite_text(statement, 1, mailbox->source, sizeof mailbox->source);
		ledger_sqlite_text(statement, 2, mailbox->target, sizeof mailbox->target);
		call.mailbox_no = mailbox->mailbox_no;
		e = ledger_sqlite_totals(store, &call);
	}
	sqlite3_reset(statement);
	return e;
}

static enum err read_all(struct ledger_store *store,
			 void (*each)(void *context, const struct ledger_status_mailbox *),
			 struct ledger_run *last_run, void *context)
{
	struct ledger_status_mailbox mailbox = { 0 };
	bool found = true;
	enum err e =
		ledger_sqlite_do(store, SQL_BEGIN_READ, NO_NUMBERS, NULL); /* one moment of it */

	if (!e && last_run)
		e = read_run(store, last_run);
	while (each && !e && (e = read_mailbox(store, &mailbox, &found)) == OK && found)
		each(context, &mailbox);
	return e ? e : ledger_sqlite_do(store, SQL_COMMIT, NO_NUMBERS, NULL);
}

enum err ledger_status(const char *directory,
		       void (*each)(void *context, const struct ledger_status_mailbox *),
		       struct ledger_run *last_run, void *context)
{
	struct ledger_store *store = NULL;
	struct buffer path = { 0 };
	bool blank = false;
	enum err e;

	buffer_addf(&path, "%s/ledger.db", directory);
	buffer_add(&path, "", 1);
	if (path.failed)
		e = RAISE(ERR_MEMORY_EXHAUSTED, "opening the ledger in %s", directory);
	else if (access(path.at, F_OK) != 0)
		e = RAISE(ERR_LEDGER_ABSENT,
			  "there is no %s: nothing was copied with this state directory", path.at);
	else if ((e = ledger_sqlite_connect(path.at, NULL, SQLITE_OPEN_READONLY, &store)) == OK &&
		 (e = ledger_sqlite_recognize(store, &blank)) == OK)
		e = blank ? RAISE(ERR_LEDGER_ABSENT, "%s is empty: its first run has not begun yet",
				  path.at)
			  : read_all(store, each, last_run, context);
	ledger_sqlite_close(&store);
	buffer_free(&path);
	return e;
}
