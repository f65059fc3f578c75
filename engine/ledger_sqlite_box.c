/* Folders in the ledger: which row is the one that the source speaks of. Names change and come
 * back, a folder of the same name may be another one; only an id, or the name with the epoch, says
 * that it is the same. A folder that was replaced or deleted keeps its row as a *former* one. Each
 * call runs within a savepoint: what fails is undone. */
#include <stdio.h>

#include "engine/ledger_sqlite_base.h"

/* A row of `box`, as far as is asked for. */
struct row {
	bool found;
	uint64_t box_no, epoch, settled, former;
	bool same_name, other_id;
	struct cursor cursor;
};

/* All of them give box_no, epoch, settled, former, name, id, cursor for ?1 mailbox, ?2 name,
 * ?3 epoch, ?4 id. */
static enum err find(struct ledger_store *store, const struct ledger_call *call,
		     enum ledger_statement sql, struct row *row)
{
	const struct box *box = call->box;
	sqlite3_stmt *statement;
	char id[BOX_ID_BYTES_MAX + 1], name[BOX_NAME_BYTES_MAX + 1];
	enum err e = ledger_sqlite_bind(store, sql, NUMBERS(call->mailbox_no), &statement);

	*row = (struct row){ 0 };
	if (e)
		return e;
	ledger_sqlite_bind_text(statement, 2, box->name);
	must(!sqlite3_bind_int64(statement, 3, (sqlite3_int64)box->epoch));
	ledger_sqlite_bind_text(statement, 4, box->id);
	if ((e = ledger_sqlite_step(store, statement, &row->found)) == OK && row->found) {
		row->box_no = (uint64_t)sqlite3_column_int64(statement, 0);
		row->epoch = (uint64_t)sqlite3_column_int64(statement, 1);
		row->settled = (uint64_t)sqlite3_column_int64(statement, 2);
		row->former = (uint64_t)sqlite3_column_int64(statement, 3);
		ledger_sqlite_text(statement, 4, name, sizeof name);
		ledger_sqlite_text(statement, 5, id, sizeof id);
		ledger_sqlite_text(statement, 6, row->cursor.at, sizeof row->cursor.at);
		row->same_name = strcmp(name, box->name) == 0;
		row->other_id = id[0] && box->id[0] && strcmp(id, box->id) != 0;
	}
	sqlite3_reset(statement);
	return e;
}

/* What it holds may be elsewhere in the source now. What is open in it stays so, for the case that
 * it comes back; nobody asks for it as long as it does not. */
static enum err set_aside(struct ledger_store *store, uint64_t box_no)
{
	return ledger_sqlite_do(store, SQL_BOX_FORMER_SET, NUMBERS(box_no, LEDGER_SOUGHT), NULL);
}

static bool is_another(const struct box *box, const struct row *row)
{
	return row->other_id || (box->epoch && row->epoch && box->epoch != row->epoch);
}

/* The row of the folder; what stands in its place and is another one is set aside. */
static enum err find_box(struct ledger_store *store, const struct ledger_call *call,
			 struct row *row)
{
	static const enum ledger_statement ways[] = { SQL_BOX_BY_ID, SQL_BOX_BY_NAME };
	enum err e;

	for (unsigned i = call->box->id[0] ? 0 : 1; i < ARRAY_COUNT(ways); i++) {
		if ((e = find(store, call, ways[i], row)) ||
		    (row->found && !is_another(call->box, row)))
			return e;
		if (row->found && (e = set_aside(store, row->box_no)))
			return e;
	}
	return find(store, call, SQL_BOX_OF_BEFORE, row);
}

/* A new folder. Those of its name that are over are sought once more: what was deleted with them
 * may have come back with this one. */
static enum err add_box(struct ledger_store *store, struct ledger_call *call)
{
	const struct box *box = call->box;
	sqlite3_stmt *statement;
	uint64_t changes = 0;
	enum err e = ledger_sqlite_bind(store, SQL_BOX_NEW, NUMBERS(call->mailbox_no, box->epoch),
					&statement);

	if (e)
		return e;
	ledger_sqlite_bind_text(statement, 3, box->name);
	ledger_sqlite_bind_text(statement, 4, box->id);
	ledger_sqlite_bind_text(statement, 5, box->cursor.at);
	if ((e = ledger_sqlite_done(store, statement, &changes)) == OK && changes != 1)
		e = RAISE(ERR_LEDGER_STATE,
			  "adding a folder to the ledger %s: there is no mailbox %llu", store->path,
			  (unsigned long long)call->mailbox_no);
	if (!e)
		e = ledger_sqlite_bind(store, SQL_BOX_SEEK_AGAIN, NUMBERS(call->mailbox_no),
				       &statement);
	if (e)
		return e;
	ledger_sqlite_bind_text(statement, 2, box->name);
	return ledger_sqlite_done(store, statement, NULL);
}

/* A folder that was away is there again. Where it stood before says nothing, and of its messages
 * those that were found elsewhere meanwhile belong to that place: the gaps that they left are to be
 * asked for again. */
static enum err come_back(struct ledger_store *store, struct row *row)
{
	enum err e = ledger_sqlite_do(store, SQL_RANGE_REOPEN, NUMBERS(row->box_no), NULL);

	row->cursor.at[0] = '\0';
	return e || !row->same_name
		       ? e
		       : ledger_sqlite_do(store, SQL_BOX_BACK, NUMBERS(row->box_no), NULL);
}

/* A fate is that of the last run: a folder that is entered again has none yet. One first met as a
 * mere level, or while its server refused to say, has no epoch yet; the same goes for its id. */
static enum err refresh(struct ledger_store *store, const struct ledger_call *call, struct row *row)
{
	sqlite3_stmt *statement;
	enum err e = OK;

	if (row->former && (e = come_back(store, row)))
		return e;
	e = ledger_sqlite_bind(store, SQL_BOX_REFRESH, NUMBERS(row->box_no, call->box->epoch),
			       &statement);
	if (e)
		return e;
	ledger_sqlite_bind_text(statement, 3, call->box->id);
	if ((e = ledger_sqlite_done(store, statement, NULL)) == OK && !row->epoch)
		row->epoch = call->box->epoch;
	return e;
}

enum err ledger_sqlite_box(struct ledger_store *store, struct ledger_call *call)
{
	struct box *box = call->box;
	struct row row;
	uint64_t last;
	bool found;
	enum err e = find_box(store, call, &row);

	if (!e && row.found)
		e = refresh(store, call, &row);
	if (!e && !row.found && (e = add_box(store, call)) == OK)
		e = find(store, call, SQL_BOX_BY_NAME, &row);
	if (e)
		return e;
	must(row.found);
	box->box_no = row.box_no;
	box->settled = row.settled;
	box->before = row.cursor;
	box->renamed = !row.same_name;
	call->epoch = row.epoch;
	e = ledger_sqlite_query(store, SQL_RANGE_LAST, NUMBERS(box->box_no), &last, 1, &found);
	call->next_no = last + 1;
	return e;
}

enum err ledger_sqlite_box_fate(struct ledger_store *store, struct ledger_call *call)
{
	sqlite3_stmt *statement;
	uint64_t changes = 0;
	enum err e = ledger_sqlite_bind(store, SQL_BOX_FATE, NUMBERS(call->box_no), &statement);

	if (e)
		return e;
	ledger_sqlite_bind_text(statement, 2, call->fate ? err_name(call->fate) : "");
	ledger_sqlite_bind_text(statement, 3, call->note);
	if ((e = ledger_sqlite_done(store, statement, &changes)) == OK && changes != 1)
		e = RAISE(ERR_LEDGER_STATE,
			  "noting a folder's fate in the ledger %s: there is no folder %llu",
			  store->path, (unsigned long long)call->box_no);
	return e;
}

/* ---- names and places ---- */

enum err ledger_sqlite_box_target(struct ledger_store *store, struct ledger_call *call)
{
	sqlite3_stmt *statement;
	uint64_t changes = 0;
	enum err e = ledger_sqlite_bind(store, SQL_BOX_UNPLACED, NUMBERS(call->box_no, call->epoch),
					&statement);

	if (e)
		return e;
	ledger_sqlite_bind_text(statement, 3, call->target);
	if ((e = ledger_sqlite_done(store, statement, &changes)) ||
	    (e = ledger_sqlite_bind(store, SQL_BOX_TARGET, NUMBERS(call->box_no, call->epoch),
				    &statement)))
		return e;
	changes = 0;
	ledger_sqlite_bind_text(statement, 3, call->target);
	if ((e = ledger_sqlite_done(store, statement, &changes)) == OK && changes != 1)
		e = RAISE(ERR_LEDGER_STATE,
			  "noting a folder's place in the ledger %s: there is no folder %llu",
			  store->path, (unsigned long long)call->box_no);
	return e;
}

/* The next folder that is there or sought, with the name it is known by. */
enum err ledger_sqlite_box_next(struct ledger_store *store, struct ledger_call *call)
{
	struct ledger_known_box *known = call->known;
	sqlite3_stmt *row;
	enum err e = ledger_sqlite_bind(store, SQL_BOX_NEXT,
					NUMBERS(call->mailbox_no, known->box_no), &row);

	if (e)
		return e;
	if ((e = ledger_sqlite_step(store, row, &call->found)) == OK && call->found) {
		known->box_no = (uint64_t)sqlite3_column_int64(row, 0);
		known->epoch = (uint64_t)sqlite3_column_int64(row, 1);
		known->former = (enum ledger_former)sqlite3_column_int(row, 2);
		ledger_sqlite_text(row, 3, known->name, sizeof known->name);
		ledger_sqlite_text(row, 4, known->target, sizeof known->target);
		known->target_epoch = (uint64_t)sqlite3_column_int64(row, 5);
		ledger_sqlite_text(row, 6, known->id, sizeof known->id);
	}
	sqlite3_reset(row);
	return e;
}

/* From now on the folder has the name of `box`; whoever had it is a former one. */
enum err ledger_sqlite_box_rename(struct ledger_store *store, struct ledger_call *call)
{
	struct row holder;
	sqlite3_stmt *statement;
	uint64_t changes = 0;
	enum err e = find(store, call, SQL_BOX_BY_NAME, &holder);

	if (!e && holder.found && holder.box_no != call->box->box_no)
		e = set_aside(store, holder.box_no);
	if (!e)
		e = ledger_sqlite_bind(store, SQL_BOX_RENAME, NUMBERS(call->box->box_no),
				       &statement);
	if (e)
		return e;
	ledger_sqlite_bind_text(statement, 2, call->box->name);
	if ((e = ledger_sqlite_done(store, statement, &changes)) == OK && changes != 1)
		e = RAISE(ERR_LEDGER_STATE,
			  "naming a folder in the ledger %s: there is no folder %llu", store->path,
			  (unsigned long long)call->box->box_no);
	return e;
}

enum err ledger_sqlite_box_former(struct ledger_store *store, struct ledger_call *call)
{
	return ledger_sqlite_do(store, SQL_BOX_FORMER_SET, NUMBERS(call->box_no, call->former),
				NULL);
}

enum err ledger_sqlite_cursor(struct ledger_store *store, struct ledger_call *call)
{
	sqlite3_stmt *statement;
	enum err e = ledger_sqlite_bind(store, SQL_BOX_CURSOR, NUMBERS(call->box_no), &statement);

	if (e)
		return e;
	ledger_sqlite_bind_text(statement, 2, call->note);
	return ledger_sqlite_done(store, statement, NULL);
}
