/* What the filter of a mailbox's last run asked of messages, kept in the table of facts about the
 * file: where this run asks something else, what was left out then is to be judged anew. Not for:
 * judging (filter.c), nor how messages are forgotten (ledger_sqlite_retry.c). Runs within a
 * savepoint: what fails is undone. */
#include "engine/filter.h"
#include "engine/ledger_sqlite_base.h"

uint64_t ledger_sqlite_filtered(const struct ledger_store *store)
{
	uint64_t code = store->reason_codes[ERR_SOURCE_FILTERED];

	return code ? code << FATE_STATE_BITS | LEDGER_SKIPPED : 0;
}

static enum err read_kept(struct ledger_store *store, uint64_t mailbox_no,
			  char to[FILTER_TEXT_BYTES])
{
	sqlite3_stmt *row;
	bool found;
	enum err e = ledger_sqlite_bind(store, SQL_FILTER, NUMBERS(mailbox_no), &row);

	to[0] = '\0';
	if (e)
		return e;
	if ((e = ledger_sqlite_step(store, row, &found)) == OK && found)
		ledger_sqlite_text(row, 0, to, FILTER_TEXT_BYTES);
	sqlite3_reset(row);
	return e;
}

static enum err keep(struct ledger_store *store, uint64_t mailbox_no, const char *text)
{
	sqlite3_stmt *statement;
	enum err e = ledger_sqlite_bind(store, *text ? SQL_FILTER_SET : SQL_FILTER_DROP,
					NUMBERS(mailbox_no), &statement);

	if (e)
		return e;
	if (*text)
		ledger_sqlite_bind_text(statement, 2, text);
	e = ledger_sqlite_done(store, statement, NULL);
	sqlite3_clear_bindings(statement); /* the caller's frame goes */
	return e;
}

enum err ledger_sqlite_filter(struct ledger_store *store, struct ledger_call *call)
{
	char kept[FILTER_TEXT_BYTES];
	struct ledger_call forget = { .mailbox_no = call->mailbox_no,
				      .note = err_name(ERR_SOURCE_FILTERED) };
	enum err e = read_kept(store, call->mailbox_no, kept);

	if (e || strcmp(kept, call->note) == 0)
		return e;
	if ((e = ledger_sqlite_forget(store, &forget)) == OK)
		e = keep(store, call->mailbox_no, call->note);
	call->count = forget.count;
	return e;
}
