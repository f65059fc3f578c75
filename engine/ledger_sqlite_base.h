/* What the files of the SQLite storage share: the open store, its statements, its errors. Only
 * engine/ledger_sqlite*.c include this; SQLite's types stay behind ledger_sqlite.h. */
#ifndef MAILHAUL_LEDGER_SQLITE_BASE_H
#define MAILHAUL_LEDGER_SQLITE_BASE_H

#include <sqlite3.h>

#include "engine/ledger_sqlite.h"

/* "PRAGMA application_id" of our files, "mhlg"; PRAGMA user_version counts schemas: those from 1 on
 * are read, and upgraded when they are opened for writing. */
enum { LEDGER_APPLICATION = 0x6d686c67, LEDGER_SCHEMA = 6 };
/* The first version with settled.form and settled.found. */
enum { LEDGER_SCHEMA_FORM = 5 };
/* From version i to i + 1; what makes version i look like i + 1 to who only reads. */
extern const char *const ledger_sqlite_schema_steps[LEDGER_SCHEMA];
extern const char *const ledger_sqlite_schema_views[LEDGER_SCHEMA];

/* Every statement of the program; the texts are in ledger_sqlite_base.c. */
enum ledger_statement {
	SQL_BEGIN_READ,
	SQL_BEGIN_WRITE,
	SQL_COMMIT,
	SQL_ROLLBACK,
	SQL_SAVE,
	SQL_SAVE_KEEP,
	SQL_SAVE_UNDO,
	SQL_REASONS,
	SQL_REASON_NEW,
	SQL_REASON_CODE,
	SQL_MAILBOX,
	SQL_MAILBOX_NEW,
	SQL_MAILBOX_END,
	SQL_MAILBOX_BESIDE,
	SQL_BOX_BY_ID,
	SQL_BOX_BY_NAME,
	SQL_BOX_OF_BEFORE,
	SQL_BOX_NEW,
	SQL_BOX_REFRESH,
	SQL_BOX_BACK,
	SQL_BOX_SEEK_AGAIN,
	SQL_BOX_FORMER_SET,
	SQL_BOX_RENAME,
	SQL_BOX_CURSOR,
	SQL_BOX_TARGET,
	SQL_BOX_UNPLACED,
	SQL_BOX_NEXT,
	SQL_BOX_AFTER,
	SQL_BOX_FATE,
	SQL_BOX_COUNT,
	SQL_RANGE_AT,
	SQL_RANGE_LAST,
	SQL_RANGE_OPEN,
	SQL_RANGE_OPEN_BELOW,
	SQL_RANGE_NEW,
	SQL_RANGE_CUT,
	SQL_RANGE_DROP,
	SQL_RANGE_REOPEN,
	SQL_SETTLE,
	SQL_SETTLED,
	SQL_SETTLED_CHANGE,
	SQL_SETTLED_SEEN,
	SQL_SETTLED_STORED,
	SQL_SETTLED_DOUBT,
	SQL_SETTLED_MARK,
	SQL_SETTLED_BACK,
	SQL_SETTLED_VANISHED,
	SQL_SETTLED_WALK,
	SQL_SKIPPED_BOX,
	SQL_SKIPPED_PAGE,
	SQL_SKIPPED_FORGET,
	SQL_FILTER,
	SQL_FILTER_SET,
	SQL_FILTER_DROP,
	SQL_SOUGHT_FILL,
	SQL_SOUGHT_PAGE,
	SQL_SOUGHT,
	SQL_SOUGHT_LIKELY,
	SQL_SOUGHT_BOX,
	SQL_SOUGHT_NAME,
	SQL_SOUGHT_FOUND,
	SQL_SOUGHT_END,
	SQL_RENUMBER,
	SQL_RENUMBER_PLACE,
	SQL_RENUMBER_WHAT,
	SQL_SEAL,
	SQL_SEAL_NUMBER,
	SQL_SEAL_DROP,
	SQL_SEAL_NEXT,
	SQL_RUN_NEW,
	SQL_RUN_CHANGE,
	SQL_RUN_NEWEST,
	SQL_RUN_ERRORS,
	SQL_LESSON_SET,
	SQL_LESSON_DROP,
	SQL_LESSON_NEXT,
	SQL_TOTALS,
	SQL_TOTALS_OPEN,
	SQL_TOTALS_SKIPPED,
	SQL_TOTALS_FOUND,
	SQL_EXCEPTION,
	SQL_EXCEPTION_BOX,
	SQL_WRAPPED,
	SQL_WRAPPED_COUNT,
	SQL_MAILBOXES,
	SQL_SNAPSHOT,
	SQL_COUNT
};

struct ledger_store {
	sqlite3 *db;
	char *path;
	int64_t version;		  /* of the schema in the file */
	int64_t run_no;			  /* 0: no row yet */
	uint16_t reason_codes[ERR_COUNT]; /* 0: not in the table yet */
	uint8_t id[LEDGER_ID_BYTES];
	sqlite3_stmt *statements[SQL_COUNT]; /* prepared on first use */
};

/* settled.fate is the state and the code of the reason in one number. */
enum { FATE_STATE_BITS = 3, FATE_STATE_MASK = 7 };

/* One of ours for SQLite's result code, with the file's name and what to do in the note. */
enum err ledger_sqlite_error(struct ledger_store *, int result, const char *doing);

/* Arguments that are numbers; the others are bound by the caller after them. */
#define NUMBERS(...)                                                                               \
	(const uint64_t[]){ __VA_ARGS__ },                                                         \
		sizeof((const uint64_t[]){ __VA_ARGS__ }) / sizeof(uint64_t)
#define NO_NUMBERS NULL, 0

/* Ready to step, parameters ?1... bound. Every statement that was stepped is to be reset, or it
 * holds the transaction's snapshot: done() and query() do so. */
enum err ledger_sqlite_bind(struct ledger_store *, enum ledger_statement, const uint64_t *numbers,
			    size_t, sqlite3_stmt **) MUST_CHECK;
/* *row: there is one. */
enum err ledger_sqlite_step(struct ledger_store *, sqlite3_stmt *, bool *row) MUST_CHECK;
/* Step to the end, reset; *changes (may be NULL): rows changed. */
enum err ledger_sqlite_done(struct ledger_store *, sqlite3_stmt *, uint64_t *changes) MUST_CHECK;
/* bind and done in one. */
enum err ledger_sqlite_do(struct ledger_store *, enum ledger_statement, const uint64_t *numbers,
			  size_t, uint64_t *changes) MUST_CHECK;
/* The first row's first `count` columns, numbers all; reset. Not *found: none, columns are zero. */
enum err ledger_sqlite_query(struct ledger_store *, enum ledger_statement, const uint64_t *numbers,
			     size_t, uint64_t *columns, int count, bool *found) MUST_CHECK;

/* Text for parameter `number`; not copied, so it stays until the statement is reset. */
void ledger_sqlite_bind_text(sqlite3_stmt *, int number, const char *text);
/* A column's text, cut to fit. */
void ledger_sqlite_text(sqlite3_stmt *, int column, char *to, size_t to_bytes);

/* Open `path` with `flags` of sqlite3_open_v2, no checks yet. */
enum err ledger_sqlite_connect(const char *path, const char *mode_of, int flags,
			       struct ledger_store **) MUST_CHECK;
/* ERR_LEDGER_DAMAGED unless it is a ledger, ERR_LEDGER_VERSION if of a version that we do not know;
 * sets `version`, to 0 when nothing was ever written to it. */
enum err ledger_sqlite_recognize(struct ledger_store *) MUST_CHECK;
/* After recognize(): what an earlier run left in the log is durable on return; nobody else writes.
 */
enum err ledger_sqlite_settle_log(struct ledger_store *) MUST_CHECK;
/* Make the tables of an older version look like ours, for this connection only. */
enum err ledger_sqlite_view_old(struct ledger_store *) MUST_CHECK;

/* A range of a folder, intended or done. */
enum err ledger_sqlite_range_add(struct ledger_store *, uint64_t box_no, uint64_t first,
				 uint64_t last, bool done) MUST_CHECK;
/* What of [first, last] is done is intended again. */
enum err ledger_sqlite_range_again(struct ledger_store *, uint64_t box_no, uint64_t first,
				   uint64_t last) MUST_CHECK;
/* A reason's code in this file, which is entered there if it is new; 0 for OK. */
enum err ledger_sqlite_reason(struct ledger_store *, enum err reason, uint64_t *code) MUST_CHECK;
/* What became of a settled message later on: the entries of those kinds. */
enum err ledger_sqlite_change(struct ledger_store *, const struct ledger_entry *) MUST_CHECK;
/* Add to a folder's sums. */
enum err ledger_sqlite_count(struct ledger_store *, uint64_t box_no, const int64_t messages[5],
			     int64_t bytes_moved, int64_t vanished) MUST_CHECK;
/* The fate of messages that the filter left out: 0 while there never was one. */
uint64_t ledger_sqlite_filtered(const struct ledger_store *);
/* A seal leaves the table. */
enum err ledger_sqlite_seal_gone(struct ledger_store *, uint64_t mailbox_no,
				 uint64_t seal_no) MUST_CHECK;

#endif
