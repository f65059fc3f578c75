/* The calls that change the ledger, but for folders (ledger_sqlite_box.c) and the queued rows
 * (ledger_sqlite.c). Not for: reading (ledger_sqlite_read.c). Each runs within a savepoint: what
 * fails is undone. */
#include "engine/ledger_sqlite_base.h"

static enum err find_mailbox(struct ledger_store *store, struct ledger_call *call)
{
	sqlite3_stmt *statement;
	enum err e = ledger_sqlite_bind(store, SQL_MAILBOX, NO_NUMBERS, &statement);

	if (e)
		return e;
	ledger_sqlite_bind_text(statement, 1, call->source);
	ledger_sqlite_bind_text(statement, 2, call->target);
	if ((e = ledger_sqlite_step(store, statement, &call->found)) == OK && call->found) {
		call->mailbox->mailbox_no = (uint64_t)sqlite3_column_int64(statement, 0);
		call->mailbox->next_seal_no = (uint64_t)sqlite3_column_int64(statement, 1);
		ledger_sqlite_text(statement, 2, call->mailbox->digest,
				   sizeof call->mailbox->digest);
	}
	sqlite3_reset(statement);
	return e;
}

enum err ledger_sqlite_mailbox(struct ledger_store *store, struct ledger_call *call)
{
	sqlite3_stmt *statement;
	enum err e = find_mailbox(store, call);

	if (e || call->found)
		return e;
	if ((e = ledger_sqlite_bind(store, SQL_MAILBOX_NEW, NO_NUMBERS, &statement)))
		return e;
	ledger_sqlite_bind_text(statement, 1, call->source);
	ledger_sqlite_bind_text(statement, 2, call->target);
	ledger_sqlite_bind_text(statement, 3, call->digest);
	if ((e = ledger_sqlite_done(store, statement, NULL)) == OK)
		e = find_mailbox(store, call);
	must(e || call->found);
	return e;
}

enum err ledger_sqlite_intend(struct ledger_store *store, struct ledger_call *call)
{
	uint64_t before[2];
	bool found;
	enum err e = ledger_sqlite_query(store, SQL_RANGE_AT, NUMBERS(call->box_no, call->last),
					 before, 2, &found);

	if (!e && found && before[1] >= call->first)
		return RAISE(ERR_LEDGER_STATE,
			     "intending messages %llu to %llu of folder %llu in the ledger %s: they"
			     " overlap the range %llu to %llu",
			     (unsigned long long)call->first, (unsigned long long)call->last,
			     (unsigned long long)call->box_no, store->path,
			     (unsigned long long)before[0], (unsigned long long)before[1]);
	return e ? e : ledger_sqlite_range_add(store, call->box_no, call->first, call->last, false);
}

enum err ledger_sqlite_seal(struct ledger_store *store, struct ledger_call *call)
{
	sqlite3_stmt *statement;
	uint64_t changes = 0;
	enum err e = ledger_sqlite_do(store, SQL_SEAL_NUMBER,
				      NUMBERS(call->mailbox_no, call->seal_no), &changes);

	if (!e && changes != 1)
		e = RAISE(
			ERR_LEDGER_STATE,
			"sealing number %llu of mailbox %llu in the ledger %s: the number was used"
			" before, or there is no such mailbox",
			(unsigned long long)call->seal_no, (unsigned long long)call->mailbox_no,
			store->path);
	if (e || (e = ledger_sqlite_bind(store, SQL_SEAL, NUMBERS(call->mailbox_no, call->seal_no),
					 &statement)))
		return e;
	must(!sqlite3_bind_blob64(statement, 3, call->seal.bytes ? call->seal.at : "",
				  call->seal.bytes, SQLITE_STATIC));
	e = ledger_sqlite_done(store, statement, NULL);
	sqlite3_clear_bindings(statement);
	return e;
}

enum err ledger_sqlite_seal_drop(struct ledger_store *store, struct ledger_call *call)
{
	return ledger_sqlite_seal_gone(store, call->mailbox_no, call->seal_no);
}

/* ---- outcomes and lessons ---- */

enum err ledger_sqlite_mailbox_end(struct ledger_store *store, struct ledger_call *call)
{
	sqlite3_stmt *statement;
	uint64_t changes = 0;
	enum err e = ledger_sqlite_bind(store, SQL_MAILBOX_END,
					NUMBERS(call->mailbox_no, (uint64_t)call->ended_wall_s),
					&statement);

	if (e)
		return e;
	ledger_sqlite_bind_text(statement, 3, call->state);
	ledger_sqlite_bind_text(statement, 4, call->fate ? err_name(call->fate) : "");
	ledger_sqlite_bind_text(statement, 5, call->note);
	if ((e = ledger_sqlite_done(store, statement, &changes)) == OK && changes != 1)
		e = RAISE(ERR_LEDGER_STATE,
			  "noting a mailbox's end in the ledger %s: there is no mailbox %llu",
			  store->path, (unsigned long long)call->mailbox_no);
	return e;
}

enum err ledger_sqlite_lesson_set(struct ledger_store *store, struct ledger_call *call)
{
	const struct ledger_lesson *lesson = call->lesson;
	bool empty = !lesson->not_before_wall_s && !lesson->connections_max && !lesson->failures;
	sqlite3_stmt *statement;
	enum err e = ledger_sqlite_bind(store, empty ? SQL_LESSON_DROP : SQL_LESSON_SET, NO_NUMBERS,
					&statement);

	if (e)
		return e;
	ledger_sqlite_bind_text(statement, 1, lesson->kind);
	ledger_sqlite_bind_text(statement, 2, lesson->name);
	if (!empty) {
		must(!sqlite3_bind_int64(statement, 3, lesson->not_before_wall_s));
		must(!sqlite3_bind_int64(statement, 4, lesson->connections_max));
		must(!sqlite3_bind_int64(statement, 5, lesson->failures));
		ledger_sqlite_bind_text(statement, 6, lesson->reason);
	}
	e = ledger_sqlite_done(store, statement, NULL);
	sqlite3_clear_bindings(statement); /* the caller's frame goes */
	return e;
}
