/* Skipped messages that a person wants tried again: their rows go, and what held them is intended
 * again, so that the next planning asks for them, in this run or, after a cut, in the next. Not
 * for: any other change of a settled message (ledger_sqlite.c, ledger_sqlite_delta.c). Runs within
 * a savepoint: what fails is undone. */
#include "engine/ledger_sqlite_base.h"

/* Numbers read before their rows are deleted: SQLite does not say what a statement that is being
 * stepped sees of that. */
enum { PAGE_MESSAGES = 256 };
/* So near each other they are opened as one range. What was gone between them is asked for again,
 * for nothing, which costs less than a range for each: every second one of 64,000 took 12 s. */
enum { TOGETHER_NUMBERS = 64 };

/* What is forgotten of one folder; fate 0: whatever the reason, but for the filter's, which asks
 * for its messages itself (ledger_sqlite_filter.c). */
struct forgetting {
	uint64_t box_no, fate;
	uint64_t after; /* which number the next page begins */
	uint64_t no[PAGE_MESSAGES];
	size_t count, messages; /* in the page; forgotten */
};

static enum err find_reason(struct ledger_store *store, const char *name, uint64_t *code)
{
	sqlite3_stmt *row;
	bool found;
	enum err e = ledger_sqlite_bind(store, SQL_REASON_CODE, NO_NUMBERS, &row);

	*code = 0;
	if (e)
		return e;
	ledger_sqlite_bind_text(row, 1, name);
	if ((e = ledger_sqlite_step(store, row, &found)) == OK && found)
		*code = (uint64_t)sqlite3_column_int64(row, 0);
	sqlite3_reset(row);
	return e;
}

static enum err read_page(struct ledger_store *store, struct forgetting *f)
{
	sqlite3_stmt *row;
	bool found = true;
	enum err e = ledger_sqlite_bind(
		store, SQL_SKIPPED_PAGE,
		NUMBERS(f->box_no, f->after, f->fate, PAGE_MESSAGES, ledger_sqlite_filtered(store)),
		&row);

	if (e)
		return e;
	for (f->count = 0; !(e = ledger_sqlite_step(store, row, &found)) && found;)
		f->no[f->count++] = (uint64_t)sqlite3_column_int64(row, 0);
	sqlite3_reset(row);
	return e;
}

/* Rows are only made in ranges that are intended, and ranges never go: a number that is in none now
 * would never be asked for again. */
static enum err check_intended(struct ledger_store *store, const struct forgetting *f)
{
	uint64_t at[3] = { 1, 0 };
	bool found;
	enum err e = OK;

	for (size_t i = 0; i < f->count && !e; i++) {
		if (f->no[i] >= at[0] && f->no[i] <= at[1])
			continue;
		e = ledger_sqlite_query(store, SQL_RANGE_AT, NUMBERS(f->box_no, f->no[i]), at, 3,
					&found);
		if (!e && (!found || at[1] < f->no[i] || !at[2]))
			e = RAISE(ERR_LEDGER_STATE,
				  "forgetting skipped message %llu of folder %llu in the ledger %s:"
				  " it lies in no range",
				  (unsigned long long)f->no[i], (unsigned long long)f->box_no,
				  store->path);
	}
	return e;
}

static enum err delete_page(struct ledger_store *store, const struct forgetting *f)
{
	uint64_t changes = 0;
	enum err e = ledger_sqlite_do(store, SQL_SKIPPED_FORGET,
				      NUMBERS(f->box_no, f->no[0], f->no[f->count - 1], f->fate,
					      ledger_sqlite_filtered(store)),
				      &changes);

	if (!e && changes != f->count)
		e = RAISE(ERR_LEDGER_DAMAGED,
			  "forgetting skipped messages of folder %llu in the ledger %s: its index"
			  " has %zu and its table %llu; look at it with: sqlite3 %s \"pragma "
			  "integrity_check\"",
			  (unsigned long long)f->box_no, store->path, f->count,
			  (unsigned long long)changes, store->path);
	return e;
}

static enum err forget_page(struct ledger_store *store, struct forgetting *f)
{
	size_t end;
	enum err e = delete_page(store, f);

	for (size_t i = 0; i < f->count && !e; i = end) {
		for (end = i + 1;
		     end < f->count && f->no[end] - f->no[end - 1] <= TOGETHER_NUMBERS;)
			end++;
		e = ledger_sqlite_range_again(store, f->box_no, f->no[i], f->no[end - 1]);
	}
	f->messages += f->count;
	return e ? e : check_intended(store, f);
}

/* The sum, and where the folder stood: it is listed in full by the next look, however little has
 * changed in it. */
static enum err note_folder(struct ledger_store *store, const struct forgetting *f)
{
	int64_t gone[LEDGER_WITHDRAWN + 1] = { [LEDGER_SKIPPED] = -(int64_t)f->messages };
	struct ledger_call cursor = { .box_no = f->box_no, .note = "" };
	enum err e = ledger_sqlite_count(store, f->box_no, gone, 0, 0);

	return e ? e : ledger_sqlite_cursor(store, &cursor);
}

static enum err forget_in_box(struct ledger_store *store, struct forgetting *f)
{
	enum err e;

	f->after = f->messages = 0;
	while ((e = read_page(store, f)) == OK && f->count) {
		if ((e = forget_page(store, f)))
			return e;
		f->after = f->no[f->count - 1];
	}
	return e || !f->messages ? e : note_folder(store, f);
}

enum err ledger_sqlite_forget(struct ledger_store *store, struct ledger_call *call)
{
	struct forgetting f = { 0 };
	bool found = true, of_filter;
	uint64_t code;
	enum err e = OK;

	if (strcmp(call->note, LEDGER_ANY_REASON) != 0) {
		if ((e = find_reason(store, call->note, &code)) || !code)
			return e; /* nothing was ever skipped for it */
		f.fate = code << FATE_STATE_BITS | LEDGER_SKIPPED;
	}
	/* A former folder may come back, and nobody would judge its messages by the new filter. */
	of_filter = f.fate && f.fate == ledger_sqlite_filtered(store);
	while (!(e = ledger_sqlite_query(store, SQL_SKIPPED_BOX,
					 NUMBERS(call->mailbox_no, f.box_no, of_filter), &f.box_no,
					 1, &found)) &&
	       found) {
		if ((e = forget_in_box(store, &f)))
			return e;
		call->count += f.messages;
	}
	return e;
}
