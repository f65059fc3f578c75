/* What reads the ledger: the walk over what is left, the totals, the exceptions, and `status`
 * beside a writer. Not for: changing anything. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
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

enum err ledger_sqlite_open_range_below(struct ledger_store *store, struct ledger_call *call)
{
	uint64_t range[2];
	enum err e = ledger_sqlite_query(store, SQL_RANGE_OPEN_BELOW,
					 NUMBERS(call->box_no, call->last), range, 2, &call->found);

	call->range = (struct ledger_range){ range[0], min_u64(range[1], call->last - 1) };
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

enum err ledger_sqlite_mailbox_beside(struct ledger_store *store, struct ledger_call *call)
{
	return ledger_sqlite_query(store, SQL_MAILBOX_BESIDE,
				   NUMBERS(call->mailbox_no, call->first), &call->first, 1,
				   &call->found);
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

/* Nothing is looked at where nothing was skipped. What the filter left out comes first, and is
 * counted apart: nobody waits for it. */
static enum err read_reasons(struct ledger_store *store, uint64_t mailbox_no,
			     struct ledger_totals *totals)
{
	const char *filtered = err_name(ERR_SOURCE_FILTERED);
	struct ledger_reason *reason = totals->skipped_for;
	sqlite3_stmt *row;
	bool found = true;
	enum err e;

	if (!totals->messages[LEDGER_SKIPPED])
		return OK;
	e = ledger_sqlite_bind(store, SQL_TOTALS_SKIPPED, NUMBERS(mailbox_no, LEDGER_REASONS_MAX),
			       &row);
	if (e)
		return e;
	ledger_sqlite_bind_text(row, 3, filtered);
	while (!(e = ledger_sqlite_step(store, row, &found)) && found) {
		struct ledger_reason one = { .messages = (uint64_t)sqlite3_column_int64(row, 1) };

		ledger_sqlite_text(row, 0, one.name, sizeof one.name);
		if (strcmp(one.name, filtered) == 0)
			totals->filtered = one.messages;
		else if (reason < totals->skipped_for + LEDGER_REASONS_MAX)
			*reason++ = one;
	}
	sqlite3_reset(row);
	totals->messages[LEDGER_SKIPPED] -=
		min_u64(totals->filtered, totals->messages[LEDGER_SKIPPED]);
	return e;
}

enum err ledger_sqlite_totals(struct ledger_store *store, struct ledger_call *call)
{
	struct ledger_totals *totals = call->totals;
	uint64_t sums[8], open[2], wrapped = 0;
	bool found;
	enum err e =
		ledger_sqlite_query(store, SQL_TOTALS, NUMBERS(call->mailbox_no), sums, 8, &found);

	if (!e)
		e = ledger_sqlite_query(store, SQL_TOTALS_OPEN, NUMBERS(call->mailbox_no), open, 2,
					&found);
	if (!e && store->version >= LEDGER_SCHEMA_FORM)
		e = ledger_sqlite_query(store, SQL_WRAPPED_COUNT, NUMBERS(call->mailbox_no),
					&wrapped, 1, &found);
	if (e)
		return e;
	*totals = (struct ledger_totals){ .boxes = sums[0],
					  .boxes_skipped = sums[1],
					  .bytes_moved = sums[6],
					  .vanished = sums[7],
					  .wrapped = wrapped,
					  .ranges_open = open[0],
					  .seals_open = open[1] };
	for (int state = LEDGER_MOVED; state <= LEDGER_WITHDRAWN; state++)
		totals->messages[state] = sums[1 + state];
	if (store->version >= LEDGER_SCHEMA_FORM &&
	    (e = ledger_sqlite_query(store, SQL_TOTALS_FOUND, NUMBERS(call->mailbox_no),
				     &totals->found, 1, &found)))
		return e;
	return read_reasons(store, call->mailbox_no, totals);
}

/* The first row of a statement that gives number, fate, reason and folder name. */
static enum err exception_row(struct ledger_store *store, enum ledger_statement sql,
			      uint64_t number, struct ledger_exception *exception, bool *found)
{
	sqlite3_stmt *statement;
	enum err e = ledger_sqlite_bind(
		store, sql, NUMBERS(exception->box_no, number, ledger_sqlite_filtered(store)),
		&statement);

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
 * with `boxes` the folder itself first, where it was refused, then its messages. */
static enum err next_exception(struct ledger_store *store, struct ledger_call *call,
			       enum ledger_statement of_messages, bool boxes)
{
	struct ledger_exception *at = call->exception;
	bool is_box = at->box_no > 0;
	uint64_t next;
	enum err e = OK;

	call->found = false;
	for (;;) {
		if (is_box && ((e = exception_row(store, of_messages, at->no, at, &call->found)) ||
			       call->found))
			break;
		e = ledger_sqlite_query(store, SQL_BOX_AFTER, NUMBERS(call->mailbox_no, at->box_no),
					&next, 1, &is_box);
		if (e || !is_box)
			break;
		at->box_no = next;
		at->no = 0;
		if (boxes && ((e = exception_row(store, SQL_EXCEPTION_BOX, LEDGER_SKIPPED, at,
						 &call->found)) ||
			      call->found))
			break;
	}
	return e;
}

enum err ledger_sqlite_exception(struct ledger_store *store, struct ledger_call *call)
{
	return next_exception(store, call, SQL_EXCEPTION, true);
}

enum err ledger_sqlite_wrapped(struct ledger_store *store, struct ledger_call *call)
{
	return next_exception(store, call, SQL_WRAPPED, false);
}

enum err ledger_sqlite_lesson(struct ledger_store *store, struct ledger_call *call)
{
	struct ledger_lesson *lesson = call->lesson;
	sqlite3_stmt *row;
	enum err e = ledger_sqlite_bind(store, SQL_LESSON_NEXT, NUMBERS(lesson->lesson_no), &row);

	if (e)
		return e;
	if ((e = ledger_sqlite_step(store, row, &call->found)) == OK && call->found) {
		lesson->lesson_no = (uint64_t)sqlite3_column_int64(row, 0);
		ledger_sqlite_text(row, 1, lesson->kind, sizeof lesson->kind);
		ledger_sqlite_text(row, 2, lesson->name, sizeof lesson->name);
		lesson->not_before_wall_s = sqlite3_column_int64(row, 3);
		lesson->connections_max = (unsigned)sqlite3_column_int64(row, 4);
		lesson->failures = (unsigned)sqlite3_column_int64(row, 5);
		ledger_sqlite_text(row, 6, lesson->reason, sizeof lesson->reason);
	}
	sqlite3_reset(row);
	return e;
}

uint64_t ledger_memory_high(void)
{
	return (uint64_t)sqlite3_memory_highwater(0);
}

/* ---- status: another process's view ---- */

static void take_run(sqlite3_stmt *row, struct ledger_run *run)
{
	run->started_wall_s = sqlite3_column_int64(row, 0);
	run->updated_wall_s = sqlite3_column_int64(row, 1);
	run->ended_wall_s = sqlite3_column_int64(row, 2);
	run->pid = sqlite3_column_int64(row, 3);
	run->messages = (uint64_t)sqlite3_column_int64(row, 4);
	run->bytes = (uint64_t)sqlite3_column_int64(row, 5);
	run->exit_code = sqlite3_column_int(row, 6);
	for (int state = 0; state < BATCH_STATES; state++) /* in the order of their enum */
		run->mailboxes[state] = (uint64_t)sqlite3_column_int64(row, 7 + state);
	run->connections = (uint64_t)sqlite3_column_int64(row, 14);
	run->throttled_permille = (unsigned)sqlite3_column_int64(row, 15);
	run->window_closes_wall_s = sqlite3_column_int64(row, 16);
	ledger_sqlite_text(row, 17, run->batch, sizeof run->batch);
}
_Static_assert(BATCH_STATES == 7, "the columns of a run");

/* Errors this version does not know are left out. */
static enum err read_errors(struct ledger_store *store, struct ledger_run *run)
{
	sqlite3_stmt *row;
	char name[64];
	bool found = true;
	enum err e = ledger_sqlite_bind(store, SQL_RUN_ERRORS, NO_NUMBERS, &row), error;

	if (e)
		return e;
	while (!(e = ledger_sqlite_step(store, row, &found)) && found) {
		ledger_sqlite_text(row, 0, name, sizeof name);
		if (err_from_name(text_of(name), &error))
			run->errors[error] = (uint64_t)sqlite3_column_int64(row, 1);
	}
	sqlite3_reset(row);
	return e;
}

static enum err read_run(struct ledger_store *store, struct ledger_run *run)
{
	sqlite3_stmt *row;
	bool found;
	enum err e = ledger_sqlite_bind(store, SQL_RUN_NEWEST, NO_NUMBERS, &row);

	*run = (struct ledger_run){ 0 };
	if (e)
		return e;
	if ((e = ledger_sqlite_step(store, row, &found)) == OK && found)
		take_run(row, run);
	sqlite3_reset(row);
	return e || !found ? e : read_errors(store, run);
}

/* The mailbox with the next higher number. */
static enum err read_mailbox(struct ledger_store *store, struct ledger_status_mailbox *mailbox,
			     bool *found)
{
	struct ledger_call call = { .totals = &mailbox->totals };
	sqlite3_stmt *row;
	enum err e = ledger_sqlite_bind(store, SQL_MAILBOXES, NUMBERS(mailbox->mailbox_no), &row);

	if (e)
		return e;
	if ((e = ledger_sqlite_step(store, row, found)) == OK && *found) {
		mailbox->mailbox_no = (uint64_t)sqlite3_column_int64(row, 0);
		ledger_sqlite_text(row, 1, mailbox->source, sizeof mailbox->source);
		ledger_sqlite_text(row, 2, mailbox->target, sizeof mailbox->target);
		mailbox->ended_wall_s = sqlite3_column_int64(row, 3);
		ledger_sqlite_text(row, 4, mailbox->state, sizeof mailbox->state);
		ledger_sqlite_text(row, 5, mailbox->error, sizeof mailbox->error);
		ledger_sqlite_text(row, 6, mailbox->note, sizeof mailbox->note);
		call.mailbox_no = mailbox->mailbox_no;
		e = ledger_sqlite_totals(store, &call);
	}
	sqlite3_reset(row);
	return e;
}

static enum err read_all(struct ledger_store *store,
			 void (*each)(void *context, const struct ledger_status_mailbox *),
			 struct ledger_run *last_run, void *context)
{
	struct ledger_status_mailbox mailbox = { 0 };
	bool found = true;
	enum err e = ledger_sqlite_view_old(store);

	if (!e) /* one moment of it */
		e = ledger_sqlite_do(store, SQL_BEGIN_READ, NO_NUMBERS, NULL);
	if (!e && last_run)
		e = read_run(store, last_run);
	while (each && !e && (e = read_mailbox(store, &mailbox, &found)) == OK && found)
		each(context, &mailbox);
	return e ? e : ledger_sqlite_do(store, SQL_COMMIT, NO_NUMBERS, NULL);
}

/* The ledger of a directory, for reading, whatever its version. */
static enum err open_to_read(const char *directory, struct ledger_store **store)
{
	struct buffer path = { 0 };
	enum err e;

	*store = NULL;
	buffer_addf(&path, "%s/ledger.db", directory);
	buffer_add(&path, "", 1);
	if (path.failed)
		e = RAISE(ERR_MEMORY_EXHAUSTED, "opening the ledger in %s", directory);
	else if (access(path.at, F_OK) != 0)
		e = RAISE(ERR_LEDGER_ABSENT,
			  "there is no %s: nothing was copied with this state directory", path.at);
	else if ((e = ledger_sqlite_connect(path.at, NULL, SQLITE_OPEN_READONLY, store)) == OK &&
		 (e = ledger_sqlite_recognize(*store)) == OK && (*store)->version == 0)
		e = RAISE(ERR_LEDGER_ABSENT, "%s is empty: its first run has not begun yet",
			  path.at);
	buffer_free(&path);
	return e;
}

enum err ledger_status(const char *directory,
		       void (*each)(void *context, const struct ledger_status_mailbox *),
		       struct ledger_run *last_run, void *context)
{
	struct ledger_store *store;
	enum err e = open_to_read(directory, &store);

	if (!e)
		e = read_all(store, each, last_run, context);
	ledger_sqlite_close(&store);
	return e;
}

/* Version 1 learnt nothing. */
enum err ledger_lessons(const char *directory,
			void (*each)(void *context, const struct ledger_lesson *), void *context)
{
	struct ledger_lesson lesson = { 0 };
	struct ledger_call call = { .lesson = &lesson };
	struct ledger_store *store;
	enum err e = open_to_read(directory, &store);

	while (!e && store->version > 1 && !(e = ledger_sqlite_lesson(store, &call)) && call.found)
		each(context, &lesson);
	ledger_sqlite_close(&store);
	return e;
}

enum err ledger_snapshot(const char *directory, const char *to)
{
	struct buffer path = { 0 };
	struct ledger_store *store;
	sqlite3_stmt *statement;
	enum err e = open_to_read(directory, &store);

	buffer_addf(&path, "%s/ledger.db", to);
	if (!e && path.failed)
		e = RAISE(ERR_MEMORY_EXHAUSTED, "copying the ledger in %s", directory);
	if (!e && (e = ledger_sqlite_bind(store, SQL_SNAPSHOT, NO_NUMBERS, &statement)) == OK) {
		must(!sqlite3_bind_text(statement, 1, path.at, (int)path.bytes, SQLITE_STATIC));
		e = ledger_sqlite_done(store, statement, NULL);
	}
	ledger_sqlite_close(&store);
	buffer_free(&path);
	return e;
}

bool ledger_is_free(const char *directory)
{
	char *path = NULL;
	bool is_free = false;
	int fd = -1;

	if (asprintf(&path, "%s/ledger.lock", directory) < 0)
		path = NULL;
	else
		fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (fd >= 0) {
		is_free = flock(fd, LOCK_SH | LOCK_NB) == 0;
		close(fd); /* and the lock goes with it */
	}
	free(path);
	return is_free;
}
