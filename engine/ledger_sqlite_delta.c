/* What became of settled messages in the source afterwards: flags, vanished ones, and those that
 * turn up under another number; and what was found of them at the target. Not for: settling
 * (ledger_sqlite.c), folders (ledger_sqlite_box.c).
 *
 * Digests have no index of their own, which would cost each message as much again as its row. Those
 * of the folders whose messages are sought are put into the table `sought`, clustered by digest,
 * for as long as that takes. */
#include "engine/ledger_sqlite_base.h"

/* ---- queued changes ---- */

static enum err count_vanished(struct ledger_store *store, uint64_t box_no, int64_t vanished)
{
	static const int64_t none[LEDGER_WITHDRAWN + 1];

	return vanished ? ledger_sqlite_count(store, box_no, none, 0, vanished) : OK;
}

static enum err refuse(struct ledger_store *store, uint64_t box_no, uint64_t no, const char *why)
{
	return RAISE(ERR_LEDGER_STATE, "changing message %llu of folder %llu in the ledger %s: %s",
		     (unsigned long long)no, (unsigned long long)box_no, store->path, why);
}

static enum err mark(struct ledger_store *store, uint64_t box_no, uint64_t no, uint64_t value)
{
	uint64_t changes = 0, back = 0;
	enum err e =
		ledger_sqlite_do(store, SQL_SETTLED_MARK, NUMBERS(box_no, no, value), &changes);

	if (!e && changes != 1)
		return refuse(store, box_no, no, "it was never moved");
	if (!e)
		e = ledger_sqlite_do(store, SQL_SETTLED_BACK, NUMBERS(box_no, no), &back);
	return e ? e : count_vanished(store, box_no, -(int64_t)back);
}

static enum err vanish(struct ledger_store *store, uint64_t box_no, uint64_t no, uint64_t second)
{
	uint64_t changes = 0, columns[4];
	bool found = true;
	enum err e = ledger_sqlite_do(store, SQL_SETTLED_VANISHED, NUMBERS(box_no, no, second),
				      &changes);

	if (!e && changes != 1) /* said before, or never moved */
		e = ledger_sqlite_query(store, SQL_SETTLED, NUMBERS(box_no, no), columns, 1,
					&found);
	if (!e && !found)
		return refuse(store, box_no, no, "it was never moved");
	return e ? e : count_vanished(store, box_no, (int64_t)changes);
}

/* The new number is one that may be settled: intended, and nothing there. */
static enum err check_new(struct ledger_store *store, const struct ledger_renumber *r)
{
	uint64_t range[3], columns[1];
	bool found;
	enum err e = ledger_sqlite_query(store, SQL_RANGE_AT, NUMBERS(r->box_no, r->no), range, 3,
					 &found);

	if (e)
		return e;
	if (!found || r->no > range[1] || !range[2])
		return refuse(store, r->box_no, r->no, "it lies in no intended range");
	e = ledger_sqlite_query(store, SQL_SETTLED, NUMBERS(r->box_no, r->no), columns, 1, &found);
	if (!e && found)
		return refuse(store, r->box_no, r->no, "it is settled already");
	return e;
}

static enum err renumber(struct ledger_store *store, const struct ledger_renumber *r)
{
	int64_t gone[LEDGER_WITHDRAWN + 1] = { [LEDGER_MOVED] = -1 };
	int64_t come[LEDGER_WITHDRAWN + 1] = { [LEDGER_MOVED] = 1 };
	uint64_t was[2];
	bool found;
	enum err e = check_new(store, r);

	if (!e)
		e = ledger_sqlite_query(store, SQL_RENUMBER_WHAT, NUMBERS(r->was_box_no, r->was_no),
					was, 2, &found);
	if (e)
		return e;
	if (!found)
		return refuse(store, r->was_box_no, r->was_no, "it is not there to be renumbered");
	if ((e = ledger_sqlite_do(store, SQL_SOUGHT_FOUND, NUMBERS(r->was_box_no, r->was_no),
				  NULL)) ||
	    (e = ledger_sqlite_do(store, SQL_RENUMBER_PLACE, NUMBERS(r->was_box_no, r->box_no),
				  NULL)) ||
	    (e = ledger_sqlite_do(store, SQL_RENUMBER,
				  NUMBERS(r->was_box_no, r->was_no, r->box_no, r->no, r->mark),
				  NULL)) ||
	    (e = ledger_sqlite_count(store, r->was_box_no, gone, -(int64_t)was[0],
				     -(int64_t)was[1])))
		return e;
	return ledger_sqlite_count(store, r->box_no, come, (int64_t)was[0], 0);
}

/* What is doubtful already stays so, for the reason it is. */
static enum err doubt(struct ledger_store *store, uint64_t box_no, uint64_t no, enum err reason)
{
	int64_t tally[LEDGER_WITHDRAWN + 1] = { [LEDGER_MOVED] = -1, [LEDGER_DOUBTFUL] = 1 };
	uint64_t there[2], code;
	bool found;
	enum err e = ledger_sqlite_query(store, SQL_SETTLED, NUMBERS(box_no, no), there, 2, &found);

	if (e || (found && (there[0] & FATE_STATE_MASK) == LEDGER_DOUBTFUL))
		return e;
	if (!found || (there[0] & FATE_STATE_MASK) != LEDGER_MOVED)
		return refuse(store, box_no, no, "it is not one that was moved");
	if ((e = ledger_sqlite_reason(store, reason, &code)) ||
	    (e = ledger_sqlite_do(store, SQL_SETTLED_DOUBT,
				  NUMBERS(box_no, no, code << FATE_STATE_BITS | LEDGER_DOUBTFUL),
				  NULL)))
		return e;
	return ledger_sqlite_count(store, box_no, tally, -(int64_t)there[1], 0);
}

enum err ledger_sqlite_change(struct ledger_store *store, const struct ledger_entry *entry)
{
	if (entry->kind == LEDGER_DOUBT)
		return doubt(store, entry->change.box_no, entry->change.no,
			     (enum err)entry->change.value);
	if (entry->kind == LEDGER_RENUMBER)
		return renumber(store, &entry->renumber);
	return (entry->kind == LEDGER_MARK ? mark : vanish)(store, entry->change.box_no,
							    entry->change.no, entry->change.value);
}

/* ---- the calls ---- */

enum err ledger_sqlite_seen(struct ledger_store *store, struct ledger_call *call)
{
	sqlite3_stmt *statement;
	bool row = true;
	enum err e = ledger_sqlite_bind(store, SQL_SETTLED_SEEN,
					NUMBERS(call->box_no, call->first, call->last, call->max),
					&statement);

	if (e)
		return e;
	for (call->count = 0; !(e = ledger_sqlite_step(store, statement, &row)) && row;)
		call->seen[call->count++] = (struct ledger_seen){
			.no = (uint64_t)sqlite3_column_int64(statement, 0),
			.stored = sqlite3_column_int(statement, 1),
			.mark = (uint64_t)sqlite3_column_int64(statement, 2),
			.vanished = sqlite3_column_int(statement, 3),
			.target_no = (uint64_t)sqlite3_column_int64(statement, 4),
		};
	sqlite3_reset(statement);
	return e;
}

static void read_found(sqlite3_stmt *row, struct ledger_stored *stored)
{
	if (!sqlite3_column_int(row, 10))
		return;
	stored->found = LEDGER_FOUND_SAME;
	if (sqlite3_column_bytes(row, 9) != DIGEST_BYTES)
		return;
	stored->found = LEDGER_FOUND_ALIKE;
	bytes_copy(stored->fingerprint.bytes, sqlite3_column_blob(row, 9), DIGEST_BYTES,
		   BYTES_META);
}

enum err ledger_sqlite_stored(struct ledger_store *store, struct ledger_call *call)
{
	sqlite3_stmt *row;
	int altered = store->reason_codes[ERR_SINK_ALTERED];
	bool found = true;
	enum err e = ledger_sqlite_bind(store, SQL_SETTLED_STORED,
					NUMBERS(call->box_no, call->first, call->max), &row);

	if (e)
		return e;
	for (call->count = 0; !(e = ledger_sqlite_step(store, row, &found)) && found;) {
		struct ledger_stored *stored = &call->stored[call->count++];

		*stored = (struct ledger_stored){
			.no = (uint64_t)sqlite3_column_int64(row, 0),
			.size_bytes = (uint64_t)sqlite3_column_int64(row, 1),
			.mark = (uint64_t)sqlite3_column_int64(row, 2),
			.target_no = (uint64_t)sqlite3_column_int64(row, 3),
			.doubtful = sqlite3_column_int(row, 4),
			.date_s = sqlite3_column_int64(row, 6),
			.dated = sqlite3_column_int(row, 7),
			.form = (enum mail_form)sqlite3_column_int(row, 8),
		};
		stored->altered = stored->doubtful && sqlite3_column_int(row, 11) == altered;
		read_found(row, stored);
		if (sqlite3_column_bytes(row, 5) == DIGEST_BYTES)
			bytes_copy(stored->digest.bytes, sqlite3_column_blob(row, 5), DIGEST_BYTES,
				   BYTES_META);
	}
	sqlite3_reset(row);
	return e;
}

/* Rows entered in one job, so that others come to their turn. */
enum { SEEK_ROWS_MAX = 16384 };

/* A page of the folder, or, behind its last one, the next folder. */
enum err ledger_sqlite_seek(struct ledger_store *store, struct ledger_call *call)
{
	uint64_t last = 0;
	bool found;
	enum err e = OK;

	if (call->box_no)
		e = ledger_sqlite_query(store, SQL_SOUGHT_PAGE,
					NUMBERS(call->box_no, call->first, SEEK_ROWS_MAX), &last, 1,
					&found);
	if (!e && last) {
		e = ledger_sqlite_do(store, SQL_SOUGHT_FILL,
				     NUMBERS(call->mailbox_no, call->box_no, call->first, last),
				     NULL);
		call->first = last + 1;
		return e;
	}
	if (!e)
		e = ledger_sqlite_query(store, SQL_SOUGHT_BOX,
					NUMBERS(call->mailbox_no, call->box_no), &call->box_no, 1,
					&found);
	call->first = 0;
	return e;
}

static bool is_taken(const struct ledger_call *call, uint64_t box_no, uint64_t no)
{
	for (size_t i = 0; i < call->count; i++)
		if (call->apart[i].was_box_no == box_no && call->apart[i].was_no == no)
			return true;
	return false;
}

/* The first with the digest in folders [first, last] that is not taken. At most the taken ones are
 * passed over, so equal messages without number cost no more than others. */
static enum err look_in(struct ledger_store *store, const struct ledger_call *call, uint64_t first,
			uint64_t last)
{
	struct ledger_renumber *r = call->renumber;
	sqlite3_stmt *statement;
	uint64_t box_no, no;
	bool row = true;
	enum err e = ledger_sqlite_bind(store, SQL_SOUGHT, NUMBERS(call->mailbox_no, first, last),
					&statement);

	if (e)
		return e;
	must(!sqlite3_bind_blob(statement, 4, call->sought->bytes, DIGEST_BYTES, SQLITE_STATIC));
	while (!r->was_no && !(e = ledger_sqlite_step(store, statement, &row)) && row) {
		box_no = (uint64_t)sqlite3_column_int64(statement, 0);
		no = (uint64_t)sqlite3_column_int64(statement, 1);
		if (is_taken(call, box_no, no))
			continue;
		r->was_box_no = box_no;
		r->was_no = no;
	}
	sqlite3_reset(statement);
	sqlite3_clear_bindings(statement);
	return e;
}

static enum err name_it(struct ledger_store *store, const struct ledger_call *call)
{
	sqlite3_stmt *row;
	bool found;
	enum err e = ledger_sqlite_bind(store, SQL_SOUGHT_NAME, NUMBERS(call->renumber->was_box_no),
					&row);

	if (e)
		return e;
	if ((e = ledger_sqlite_step(store, row, &found)) == OK && found) {
		ledger_sqlite_text(row, 0, call->name, BOX_NAME_BYTES_MAX + 1);
		call->renumber->was_epoch = (uint64_t)sqlite3_column_int64(row, 1);
	}
	sqlite3_reset(row);
	return e;
}

enum err ledger_sqlite_sought(struct ledger_store *store, struct ledger_call *call)
{
	struct ledger_renumber *r = call->renumber;
	uint64_t likely;
	bool found;
	enum err e = ledger_sqlite_query(store, SQL_SOUGHT_LIKELY, NUMBERS(r->box_no), &likely, 1,
					 &found);

	r->was_no = 0;
	if (!e && found)
		e = look_in(store, call, likely, likely);
	if (!e && !r->was_no)
		e = look_in(store, call, 0, INT64_MAX);
	return e || !r->was_no ? e : name_it(store, call);
}

enum err ledger_sqlite_seek_end(struct ledger_store *store, struct ledger_call *call)
{
	return ledger_sqlite_do(store, SQL_SOUGHT_END, NUMBERS(call->mailbox_no), NULL);
}
