/* The ledger's file: its statements, what SQLite's errors mean for a person. Not for: its tables
 * (ledger_sqlite_schema.c), what is done with it (ledger_sqlite.c, ledger_sqlite_*.c). */
#include "engine/ledger_sqlite_base.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/clock.h"

/* A folder's row as ledger_sqlite_box.c reads it. */
#define BOX_COLUMNS                                                                                \
	"SELECT box_no, epoch, moved + skipped + doubtful + withdrawn - vanished, former, name,"   \
	" id, cursor FROM box WHERE mailbox_no = ?1"

static const char *const texts[SQL_COUNT] = {
	[SQL_BEGIN_READ] = "BEGIN",
	[SQL_BEGIN_WRITE] = "BEGIN IMMEDIATE",
	[SQL_COMMIT] = "COMMIT",
	[SQL_ROLLBACK] = "ROLLBACK",
	[SQL_SAVE] = "SAVEPOINT call",
	[SQL_SAVE_KEEP] = "RELEASE call",
	[SQL_SAVE_UNDO] = "ROLLBACK TO call",
	[SQL_REASONS] = "SELECT code, name FROM reason",
	[SQL_REASON_NEW] = "INSERT INTO reason(name) VALUES(?1)",
	[SQL_REASON_CODE] = "SELECT code FROM reason WHERE name = ?1",
	[SQL_MAILBOX] = "SELECT mailbox_no, next_seal_no, digest FROM mailbox WHERE source = ?1 "
			"AND target = ?2",
	[SQL_MAILBOX_NEW] = "INSERT INTO mailbox(source, target, digest) VALUES(?1, ?2, ?3)",
	[SQL_MAILBOX_END] = "UPDATE mailbox SET ended_s = ?2, state = ?3, error = ?4, note = ?5"
			    " WHERE mailbox_no = ?1",
	[SQL_MAILBOX_BESIDE] = "SELECT mailbox_no FROM mailbox WHERE target = (SELECT target FROM"
			       " mailbox WHERE mailbox_no = ?1) AND mailbox_no > ?2"
			       " ORDER BY mailbox_no LIMIT 1",
	/* Said twice, since only the same words make SQLite take an index of some rows. */
	[SQL_BOX_BY_ID] = BOX_COLUMNS " AND id = ?4 AND id <> '' ORDER BY former LIMIT 1",
	[SQL_BOX_BY_NAME] = BOX_COLUMNS " AND name = ?2 AND former = 0 AND ?4 NOT NULL",
	[SQL_BOX_OF_BEFORE] = BOX_COLUMNS
	" AND name = ?2 AND former <> 0"
	" AND (epoch = ?3 OR ?3 = 0) AND id IN ('', ?4) ORDER BY box_no DESC LIMIT 1",
	[SQL_BOX_NEW] = "INSERT INTO box(mailbox_no, epoch, name, id, cursor)"
			" SELECT mailbox_no, ?2, ?3, ?4, ?5 FROM mailbox WHERE mailbox_no = ?1",
	[SQL_BOX_REFRESH] = "UPDATE box SET fate = '', note = '',"
			    " epoch = CASE epoch WHEN 0 THEN ?2 ELSE epoch END,"
			    " id = CASE id WHEN '' THEN ?3 ELSE id END WHERE box_no = ?1"
			    " AND (fate <> '' OR (epoch = 0 AND ?2 <> 0)"
			    " OR (id = '' AND ?3 <> ''))",
	[SQL_BOX_SEEK_AGAIN] = "UPDATE box INDEXED BY box_former SET former = 1"
			       " WHERE mailbox_no = ?1 AND name = ?2 AND former <> 0"
			       " AND moved > 0",
	[SQL_BOX_BACK] = "UPDATE box SET former = 0, cursor = '' WHERE box_no = ?1",
	[SQL_BOX_FORMER_SET] = "UPDATE box SET former = ?2 WHERE box_no = ?1",
	[SQL_BOX_RENAME] = "UPDATE box SET name = ?2, cursor = CASE former WHEN 0 THEN cursor ELSE"
			   " '' END, former = 0 WHERE box_no = ?1",
	[SQL_BOX_CURSOR] = "UPDATE box SET cursor = ?2 WHERE box_no = ?1",
	[SQL_BOX_TARGET] = "UPDATE box SET target = ?3, target_epoch = ?2 WHERE box_no = ?1",
	/* Before that: another folder of the target gave these numbers. */
	[SQL_BOX_UNPLACED] = "UPDATE settled SET target_no = NULL WHERE box_no ="
			     " (SELECT box_no FROM box WHERE box_no = ?1 AND target <> ''"
			     " AND (target <> ?3 OR target_epoch <> ?2) AND target_epoch <> 0)",
	[SQL_BOX_NEXT] = "SELECT box_no, epoch, former, name, target, target_epoch, id FROM box "
			 "INDEXED BY box_of_mailbox"
			 " WHERE mailbox_no = ?1 AND box_no > ?2"
			 " ORDER BY box_no LIMIT 1",
	[SQL_BOX_AFTER] = "SELECT box_no FROM box INDEXED BY box_of_mailbox WHERE mailbox_no = ?1"
			  " AND box_no > ?2 ORDER BY box_no LIMIT 1",
	[SQL_BOX_FATE] = "UPDATE box SET fate = ?2, note = ?3 WHERE box_no = ?1",
	[SQL_BOX_COUNT] =
		"UPDATE box SET moved = moved + ?2, skipped = skipped + ?3,"
		" doubtful = doubtful + ?4, withdrawn = withdrawn + ?5,"
		" bytes_moved = bytes_moved + ?6, vanished = vanished + ?7 WHERE box_no = ?1",
	[SQL_RANGE_AT] = "SELECT first, last, state = 'intended', state = 'done' FROM range"
			 " WHERE box_no = ?1 AND first <= ?2 ORDER BY first DESC LIMIT 1",
	[SQL_RANGE_LAST] = "SELECT last FROM range WHERE box_no = ?1 ORDER BY first DESC LIMIT 1",
	[SQL_RANGE_OPEN] = "SELECT first, last FROM range WHERE box_no = ?1 AND first > ?2"
			   " AND state <> 'done' ORDER BY first LIMIT 1",
	[SQL_RANGE_OPEN_BELOW] = "SELECT first, last FROM range WHERE box_no = ?1 AND first < ?2"
				 " AND state <> 'done' ORDER BY first DESC LIMIT 1",
	[SQL_RANGE_NEW] = "INSERT INTO range SELECT box_no, ?2, ?3, CASE ?4 WHEN 1 THEN 'done'"
			  " ELSE 'intended' END FROM box WHERE box_no = ?1",
	[SQL_RANGE_CUT] = "UPDATE range SET last = ?3 WHERE box_no = ?1 AND first = ?2",
	[SQL_RANGE_DROP] = "DELETE FROM range WHERE box_no = ?1 AND first = ?2",
	[SQL_RANGE_REOPEN] = "UPDATE range SET state = 'intended' WHERE box_no = ?1"
			     " AND state = 'done'",
	[SQL_SETTLE] =
		"INSERT INTO settled(box_no, no, fate, size_bytes, seal_no, digest, mark,"
		" target_no, date_s, form, found)"
		" VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11) ON CONFLICT DO NOTHING",
	[SQL_SETTLED] = "SELECT fate, size_bytes, seal_no, digest FROM settled WHERE box_no = ?1 "
			"AND no = ?2",
	[SQL_SETTLED_CHANGE] = "UPDATE settled SET fate = ?3 WHERE box_no = ?1 AND no = ?2",
	[SQL_SETTLED_SEEN] = "SELECT no, fate & 7 IN (1, 3), mark, vanished_s NOT NULL,"
			     " CASE WHEN found IS NULL THEN target_no END"
			     " FROM settled"
			     " WHERE box_no = ?1 AND no >= ?2 AND no <= ?3 ORDER BY no LIMIT ?4",
	[SQL_SETTLED_STORED] = "SELECT no, size_bytes, mark, target_no, fate & 7 = 3, digest,"
			       " date_s, date_s NOT NULL, form, found, found NOT NULL,"
			       " fate >> 3 FROM settled"
			       " WHERE box_no = ?1 AND no > ?2 AND fate & 7 IN (1, 3)"
			       " ORDER BY no LIMIT ?3",
	[SQL_SETTLED_DOUBT] = "UPDATE settled SET fate = ?3 WHERE box_no = ?1 AND no = ?2"
			      " AND fate & 7 = 1",
	[SQL_SETTLED_MARK] = "UPDATE settled SET mark = ?3 WHERE box_no = ?1 AND no = ?2"
			     " AND fate & 7 IN (1, 3)",
	[SQL_SETTLED_BACK] = "UPDATE settled SET vanished_s = NULL WHERE box_no = ?1 AND no = ?2"
			     " AND vanished_s NOT NULL",
	[SQL_SETTLED_VANISHED] = "UPDATE settled SET vanished_s = ?3 WHERE box_no = ?1 AND no = ?2"
				 " AND fate & 7 IN (1, 3) AND vanished_s IS NULL",
	[SQL_SETTLED_WALK] = "SELECT no FROM settled WHERE box_no = ?1 AND no >= ?2 AND no <= ?3"
			     " ORDER BY no LIMIT ?4",
	[SQL_SKIPPED_BOX] = "SELECT box_no FROM box INDEXED BY box_of_mailbox WHERE mailbox_no = ?1"
			    " AND box_no > ?2 AND (former = 0 OR ?3) AND skipped > 0"
			    " ORDER BY box_no LIMIT 1",
	/* The first of the conditions makes SQLite take the index of exceptions. */
	[SQL_SKIPPED_PAGE] = "SELECT no FROM settled INDEXED BY settled_exception WHERE box_no = ?1"
			     " AND no > ?2 AND fate <> 1 AND fate & 7 = 2"
			     " AND (?3 = 0 AND fate <> ?5 OR fate = ?3) ORDER BY no LIMIT ?4",
	[SQL_SKIPPED_FORGET] = "DELETE FROM settled WHERE box_no = ?1 AND no >= ?2 AND no <= ?3"
			       " AND fate & 7 = 2 AND (?4 = 0 AND fate <> ?5 OR fate = ?4)",
	[SQL_FILTER] = "SELECT value FROM meta WHERE key = 'filter ' || ?1",
	[SQL_FILTER_SET] = "INSERT INTO meta VALUES('filter ' || ?1, ?2)"
			   " ON CONFLICT DO UPDATE SET value = ?2",
	[SQL_FILTER_DROP] = "DELETE FROM meta WHERE key = 'filter ' || ?1",
	/* Moved without a reason: what was stored and is what was sent. */
	[SQL_SOUGHT_FILL] = "INSERT OR IGNORE INTO sought(mailbox_no, digest, box_no, no)"
			    " SELECT ?1, digest, box_no, no FROM settled WHERE box_no = ?2"
			    " AND no >= ?3 AND no <= ?4 AND fate = 1 AND digest NOT NULL",
	[SQL_SOUGHT_PAGE] = "SELECT max(no) FROM (SELECT no FROM settled WHERE box_no = ?1"
			    " AND no >= ?2 ORDER BY no LIMIT ?3)",
	/* An earlier run may have left rows of a folder that is there again: those are its own. */
	[SQL_SOUGHT] = "SELECT box_no, no FROM sought WHERE mailbox_no = ?1 AND digest = ?4"
		       " AND box_no >= ?2 AND box_no <= ?3 AND (SELECT former FROM box"
		       " WHERE box.box_no = sought.box_no) = 1 ORDER BY box_no, no",
	[SQL_SOUGHT_LIKELY] = "SELECT was.box_no FROM box AS is_now JOIN box AS was INDEXED BY"
			      " box_former USING (mailbox_no, name) WHERE is_now.box_no = ?1"
			      " AND was.former <> 0 AND was.former = 1"
			      " ORDER BY was.box_no DESC LIMIT 1",
	[SQL_SOUGHT_BOX] = "SELECT box_no FROM box INDEXED BY box_of_mailbox WHERE mailbox_no = ?1"
			   " AND box_no > ?2 AND former = 1 ORDER BY box_no LIMIT 1",
	[SQL_SOUGHT_NAME] = "SELECT name, epoch FROM box WHERE box_no = ?1",
	[SQL_SOUGHT_FOUND] = "DELETE FROM sought WHERE mailbox_no = (SELECT mailbox_no FROM box"
			     " WHERE box_no = ?1) AND digest = (SELECT digest FROM settled"
			     " WHERE box_no = ?1 AND no = ?2) AND box_no = ?1 AND no = ?2",
	[SQL_SOUGHT_END] = "DELETE FROM sought WHERE mailbox_no = ?1",
	[SQL_RENUMBER] =
		"UPDATE settled SET box_no = ?3, no = ?4, mark = nullif(?5, 0),"
		" vanished_s = NULL, target_no = CASE WHEN (SELECT target, target_epoch"
		" FROM box WHERE box_no = ?1) = (SELECT target, target_epoch FROM box"
		" WHERE box_no = ?3) THEN target_no END WHERE box_no = ?1 AND no = ?2 AND fate = 1",
	/* The next folder of the same name goes where the former one went, until it is said that it
	 * goes elsewhere. */
	[SQL_RENUMBER_PLACE] = "UPDATE box SET (target, target_epoch) = (SELECT target,"
			       " target_epoch FROM box WHERE box_no = ?1) WHERE box_no = ?2"
			       " AND target = '' AND name = (SELECT name FROM box"
			       " WHERE box_no = ?1)",
	[SQL_RENUMBER_WHAT] = "SELECT size_bytes, vanished_s NOT NULL FROM settled"
			      " WHERE box_no = ?1 AND no = ?2 AND fate = 1",
	[SQL_SEAL] = "INSERT INTO seal(mailbox_no, seal_no, seal) VALUES(?1, ?2, ?3)",
	[SQL_SEAL_NUMBER] = "UPDATE mailbox SET next_seal_no = ?2 + 1 WHERE mailbox_no = ?1"
			    " AND next_seal_no <= ?2",
	[SQL_SEAL_DROP] = "DELETE FROM seal WHERE mailbox_no = ?1 AND seal_no = ?2",
	[SQL_SEAL_NEXT] = "SELECT seal_no, seal FROM seal WHERE mailbox_no = ?1 AND seal_no > ?2"
			  " ORDER BY seal_no LIMIT 1",
	[SQL_RUN_NEW] = "INSERT INTO run(started_s, updated_s, ended_s, pid, messages, bytes,"
			" exit_code, waiting, running, done, incomplete, doubtful, failed, drained,"
			" connections, throttled_permille, window_closes_s, batch, errors)"
			" VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15,"
			" ?16, ?17, ?18, ?19)",
	[SQL_RUN_CHANGE] = "UPDATE run SET started_s = ?1, updated_s = ?2, ended_s = ?3, pid = ?4,"
			   " messages = ?5, bytes = ?6, exit_code = ?7, waiting = ?8, running = ?9,"
			   " done = ?10, incomplete = ?11, doubtful = ?12, failed = ?13,"
			   " drained = ?14, connections = ?15, throttled_permille = ?16,"
			   " window_closes_s = ?17, batch = ?18, errors = ?19 WHERE run_no = ?20",
	[SQL_RUN_NEWEST] = "SELECT started_s, updated_s, ended_s, pid, messages, bytes, exit_code,"
			   " waiting, running, done, incomplete, doubtful, failed, drained,"
			   " connections, throttled_permille, window_closes_s, batch"
			   " FROM run ORDER BY run_no DESC LIMIT 1",
	[SQL_RUN_ERRORS] = "SELECT key, value FROM json_each((SELECT errors FROM run"
			   " ORDER BY run_no DESC LIMIT 1))",
	[SQL_LESSON_SET] = "INSERT INTO lesson(kind, name, not_before_s, connections_max, failures,"
			   " reason) VALUES(?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT(kind, name) DO"
			   " UPDATE SET not_before_s = ?3, connections_max = ?4, failures = ?5,"
			   " reason = ?6",
	[SQL_LESSON_DROP] = "DELETE FROM lesson WHERE kind = ?1 AND name = ?2",
	[SQL_LESSON_NEXT] = "SELECT lesson_no, kind, name, not_before_s, connections_max, failures,"
			    " reason FROM lesson WHERE lesson_no > ?1 ORDER BY lesson_no LIMIT 1",
	[SQL_TOTALS] = "SELECT sum(former = 0), sum(fate <> '' AND former = 0), sum(moved),"
		       " sum(skipped * (former = 0)), sum(doubtful), sum(withdrawn),"
		       " sum(bytes_moved), sum(vanished) FROM box WHERE mailbox_no = ?1",
	[SQL_TOTALS_OPEN] = "SELECT (SELECT count(*) FROM box JOIN range USING (box_no)"
			    " WHERE mailbox_no = ?1 AND former = 0 AND state <> 'done'),"
			    " (SELECT count(*) FROM seal WHERE mailbox_no = ?1)",
	[SQL_TOTALS_SKIPPED] = "SELECT r.name, count(*) AS messages FROM box b CROSS JOIN settled s"
			       " INDEXED BY settled_exception USING (box_no)"
			       " LEFT JOIN reason r ON r.code = s.fate >> 3 WHERE mailbox_no = ?1"
			       " AND former = 0 AND skipped > 0 AND s.fate <> 1 AND s.fate & 7 = 2"
			       " GROUP BY s.fate ORDER BY r.name IS ?3 DESC, messages DESC, r.name"
			       " LIMIT ?2 + 1",
	[SQL_TOTALS_FOUND] = "SELECT count(*) FROM box b CROSS JOIN settled s INDEXED BY"
			     " settled_found USING (box_no) WHERE mailbox_no = ?1"
			     " AND s.found NOT NULL AND s.fate & 7 IN (1, 3)",
	[SQL_EXCEPTION] = "SELECT s.no, s.fate, r.name, b.name"
			  " FROM settled s INDEXED BY settled_exception JOIN box b USING (box_no)"
			  " LEFT JOIN reason r ON r.code = s.fate >> 3"
			  " WHERE s.box_no = ?1 AND s.no > ?2 AND s.fate <> 1 AND s.fate <> ?3"
			  " AND (s.fate & 7 = 3 OR (s.fate & 7 = 2 AND b.former = 0))"
			  " ORDER BY s.no LIMIT 1",
	[SQL_EXCEPTION_BOX] = "SELECT 0, ?2, fate, name FROM box WHERE box_no = ?1 AND fate <> ''"
			      " AND former = 0 AND ?3 NOT NULL",
	[SQL_WRAPPED] = "SELECT s.no, s.fate, '', b.name FROM settled s INDEXED BY settled_wrapped"
			" JOIN box b USING (box_no) WHERE s.box_no = ?1 AND s.no > ?2"
			" AND s.form NOT NULL AND s.fate & 7 IN (1, 3) AND ?3 NOT NULL"
			" ORDER BY s.no LIMIT 1",
	[SQL_WRAPPED_COUNT] = "SELECT count(*) FROM box b CROSS JOIN settled s INDEXED BY"
			      " settled_wrapped USING (box_no) WHERE b.mailbox_no = ?1"
			      " AND s.form NOT NULL AND s.fate & 7 IN (1, 3)",
	[SQL_SNAPSHOT] = "VACUUM INTO ?1",
	[SQL_MAILBOXES] = "SELECT mailbox_no, source, target, ended_s, state, error, note"
			  " FROM mailbox WHERE mailbox_no > ?1 ORDER BY mailbox_no LIMIT 1",
};

static enum err error_class(sqlite3 *db, int result)
{
	int errno_value = sqlite3_system_errno(db);

	switch (result & 0xff) {
	case SQLITE_FULL:
		return ERR_DISK_FULL;
	case SQLITE_NOMEM:
		return ERR_MEMORY_EXHAUSTED;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return ERR_LEDGER_BUSY;
	case SQLITE_READONLY:
	case SQLITE_PERM:
	case SQLITE_AUTH:
		return ERR_DISK_DENIED;
	case SQLITE_IOERR:
	case SQLITE_CANTOPEN:
		return errno_value ? err_of_file_errno(errno_value) : ERR_DISK_IO;
	default: /* CORRUPT, NOTADB; also ERROR and the like: tables that are not as we made them */
		return ERR_LEDGER_DAMAGED;
	}
}

enum err ledger_sqlite_error(struct ledger_store *store, int result, const char *doing)
{
	const char *says = store->db ? sqlite3_errmsg(store->db) : sqlite3_errstr(result);
	enum err e = store->db ? error_class(store->db, result) : ERR_MEMORY_EXHAUSTED;
	int errno_value = store->db ? sqlite3_system_errno(store->db) : 0;

	if (e == ERR_LEDGER_DAMAGED)
		return RAISE(e,
			     "%s of the ledger %s: %s; look at it with: sqlite3 %s \"pragma "
			     "integrity_check\"",
			     doing, store->path, says, store->path);
	if (e == ERR_LEDGER_BUSY)
		return RAISE(e,
			     "%s of the ledger %s: %s; another program keeps it locked, perhaps a "
			     "sqlite3 shell:"
			     " end that, then run again",
			     doing, store->path, says);
	if ((result & 0xff) == SQLITE_IOERR || (result & 0xff) == SQLITE_CANTOPEN)
		return RAISE_ERRNO(e, errno_value ? errno_value : EIO, "%s of the ledger %s: %s",
				   doing, store->path, says);
	return RAISE(e, "%s of the ledger %s: %s", doing, store->path, says);
}

static enum err prepare(struct ledger_store *store, enum ledger_statement which)
{
	int result = sqlite3_prepare_v3(store->db, texts[which], -1, SQLITE_PREPARE_PERSISTENT,
					&store->statements[which], NULL);

	return result ? ledger_sqlite_error(store, result, "reading the tables") : OK;
}

enum err ledger_sqlite_bind(struct ledger_store *store, enum ledger_statement which,
			    const uint64_t *numbers, size_t count, sqlite3_stmt **out)
{
	sqlite3_stmt *statement;
	enum err e;

	must(which < SQL_COUNT);
	if (!store->statements[which] && (e = prepare(store, which)))
		return e;
	statement = store->statements[which];
	for (size_t i = 0; i < count; i++)
		must(sqlite3_bind_int64(statement, (int)i + 1, (sqlite3_int64)numbers[i]) ==
		     SQLITE_OK);
	*out = statement;
	return OK;
}

enum err ledger_sqlite_step(struct ledger_store *store, sqlite3_stmt *statement, bool *row)
{
	int result = sqlite3_step(statement);

	*row = result == SQLITE_ROW;
	if (*row)
		return OK;
	if (result != SQLITE_DONE)
		return ledger_sqlite_error(store, result,
					   sqlite3_column_count(statement) ? "reading" : "writing");
	return OK;
}

enum err ledger_sqlite_done(struct ledger_store *store, sqlite3_stmt *statement, uint64_t *changes)
{
	bool row;
	enum err e = ledger_sqlite_step(store, statement, &row);

	if (!e && changes)
		*changes = (uint64_t)sqlite3_changes64(store->db);
	sqlite3_reset(statement); /* repeats the error that was raised already */
	return e;
}

enum err ledger_sqlite_do(struct ledger_store *store, enum ledger_statement which,
			  const uint64_t *numbers, size_t count, uint64_t *changes)
{
	sqlite3_stmt *statement;
	enum err e = ledger_sqlite_bind(store, which, numbers, count, &statement);

	return e ? e : ledger_sqlite_done(store, statement, changes);
}

enum err ledger_sqlite_query(struct ledger_store *store, enum ledger_statement which,
			     const uint64_t *numbers, size_t numbers_count, uint64_t *columns,
			     int count, bool *found)
{
	sqlite3_stmt *statement;
	enum err e = ledger_sqlite_bind(store, which, numbers, numbers_count, &statement);

	if (e || (e = ledger_sqlite_step(store, statement, found)))
		*found = false;
	for (int i = 0; i < count; i++)
		columns[i] = *found ? (uint64_t)sqlite3_column_int64(statement, i) : 0;
	if (store->statements[which])
		sqlite3_reset(store->statements[which]);
	return e;
}

void ledger_sqlite_bind_text(sqlite3_stmt *statement, int number, const char *text)
{
	must(!sqlite3_bind_text(statement, number, text, -1, SQLITE_STATIC));
}

void ledger_sqlite_text(sqlite3_stmt *statement, int column, char *to, size_t to_bytes)
{
	const unsigned char *text = sqlite3_column_text(statement, column);

	snprintf(to, to_bytes, "%s", text ? (const char *)text : "");
}

/* ---- opening ---- */

/* The path as a URI: what would mean something there is percent-encoded. modeof makes SQLite create
 * the file with the permissions of another one whatever the umask is; creating it ourselves first
 * would not do, because closing that descriptor drops SQLite's own POSIX locks on the file. */
static void uri_add_path(struct buffer *uri, const char *path)
{
	for (; *path; path++)
		if (strchr("%?#&", *path))
			buffer_addf(uri, "%%%02x", (unsigned char)*path);
		else
			buffer_add(uri, path, 1);
}

/* Nobody can be writing: a log would be there while somebody is, and its index cannot be made
 * beside it (a file system mounted read-only, a directory of somebody else's). SQLite must be told,
 * or it tries to make them. */
static bool is_at_rest(const char *path)
{
	struct buffer other = { 0 };
	struct stat log;
	bool at_rest = false;

	buffer_addf(&other, "%s-wal", path);
	if (!other.failed && (stat(other.at, &log) ? errno == ENOENT : log.st_size == 0)) {
		buffer_reset(&other);
		buffer_add(&other, path, (size_t)(strrchr(path, '/') - path));
		at_rest = !other.failed && access(other.bytes ? other.at : "/", W_OK) != 0;
	}
	buffer_free(&other);
	return at_rest;
}

enum err ledger_sqlite_connect(const char *path, const char *mode_of, int flags,
			       struct ledger_store **out)
{
	struct ledger_store *store = calloc(1, sizeof *store);
	struct buffer uri = { 0 };
	int result = SQLITE_NOMEM;
	enum err e = OK;

	*out = NULL;
	if (!store || !(store->path = strdup(path))) {
		free(store);
		return RAISE(ERR_MEMORY_EXHAUSTED, "opening the ledger %s", path);
	}
	buffer_add_text(&uri, "file:");
	uri_add_path(&uri, path);
	buffer_add_text(&uri, mode_of ? "?modeof=" : "");
	uri_add_path(&uri, mode_of ? mode_of : "");
	if ((flags & SQLITE_OPEN_READONLY) && is_at_rest(path))
		buffer_add_text(&uri, "?immutable=1");
	buffer_add(&uri, "", 1);
	if (!uri.failed)
		result = sqlite3_open_v2(uri.at, &store->db,
					 flags | SQLITE_OPEN_URI | SQLITE_OPEN_NOMUTEX |
						 SQLITE_OPEN_EXRESCODE,
					 NULL);
	if (result)
		e = ledger_sqlite_error(store, result, "opening");
	else
		sqlite3_busy_timeout(store->db, 10000);
	buffer_free(&uri);
	if (e)
		ledger_sqlite_close(&store);
	*out = store;
	return e;
}

static enum err execute(struct ledger_store *store, const char *sql, const char *doing)
{
	int result = sqlite3_exec(store->db, sql, NULL, NULL, NULL);

	return result ? ledger_sqlite_error(store, result, doing) : OK;
}

static enum err first_number(struct ledger_store *store, const char *sql, int64_t *out)
{
	sqlite3_stmt *statement = NULL;
	int result = sqlite3_prepare_v2(store->db, sql, -1, &statement, NULL);

	if (!result && (result = sqlite3_step(statement)) == SQLITE_ROW) {
		*out = sqlite3_column_int64(statement, 0);
		sqlite3_finalize(statement);
		return OK;
	}
	sqlite3_finalize(statement);
	return ledger_sqlite_error(store, result, "reading the head");
}

enum err ledger_sqlite_recognize(struct ledger_store *store)
{
	int64_t application, tables;
	enum err e;

	if ((e = first_number(store, "PRAGMA application_id", &application)) ||
	    (e = first_number(store, "PRAGMA user_version", &store->version)) ||
	    (e = first_number(store, "SELECT count(*) FROM sqlite_schema", &tables)))
		return e;
	if (tables == 0 && application == 0) {
		store->version = 0;
		return OK;
	}
	if (application != LEDGER_APPLICATION)
		return RAISE(
			ERR_LEDGER_DAMAGED,
			"%s is an SQLite file that mailhaul did not make (application_id %lld);"
			" look at it with: sqlite3 %s \"pragma integrity_check\", or name another"
			" state directory",
			store->path, (long long)application, store->path);
	if (store->version < 1 || store->version > LEDGER_SCHEMA)
		return RAISE(ERR_LEDGER_VERSION,
			     "the ledger %s has schema version %lld, this mailhaul knows 1 to %d; "
			     "use the"
			     " version that wrote it",
			     store->path, (long long)store->version, LEDGER_SCHEMA);
	return OK;
}

enum err ledger_sqlite_view_old(struct ledger_store *store)
{
	enum err e = OK;

	for (int64_t version = store->version; !e && version < LEDGER_SCHEMA; version++)
		e = execute(store, ledger_sqlite_schema_views[version], "reading an older version");
	return e;
}

/* The schema, the version and the identity appear in one transaction, so a ledger is blank or
 * whole, and of one version. */
static enum err make_tables(struct ledger_store *store)
{
	struct buffer sql = { 0 };
	char hex[2 * LEDGER_ID_BYTES + 1];
	enum err e;

	buffer_add_text(&sql, "BEGIN IMMEDIATE;");
	for (int64_t step = store->version; step < LEDGER_SCHEMA; step++)
		buffer_add_text(&sql, ledger_sqlite_schema_steps[step]);
	if (store->version == 0) {
		clock_random(store->id, sizeof store->id);
		bytes_to_hex(hex, store->id, sizeof store->id);
		buffer_addf(&sql,
			    " PRAGMA application_id = %d;"
			    " INSERT INTO meta VALUES('ledger_id', x'%s'), ('created_s', %lld);",
			    LEDGER_APPLICATION, hex, (long long)(clock_wall() / NSEC_SECOND));
	}
	buffer_addf(&sql, " PRAGMA user_version = %d; COMMIT", LEDGER_SCHEMA);
	e = sql.failed
		    ? RAISE(ERR_MEMORY_EXHAUSTED, "making the tables of the ledger %s", store->path)
		    : execute(store, sql.at, "making the tables");
	buffer_free(&sql);
	if (!e)
		store->version = LEDGER_SCHEMA;
	return e;
}

static enum err load_id(struct ledger_store *store)
{
	sqlite3_stmt *statement = NULL;
	int result = sqlite3_prepare_v2(store->db, "SELECT value FROM meta WHERE key = 'ledger_id'",
					-1, &statement, NULL);
	bool whole;

	if (!result)
		result = sqlite3_step(statement);
	whole = result == SQLITE_ROW && sqlite3_column_bytes(statement, 0) == LEDGER_ID_BYTES;
	if (whole)
		bytes_copy(store->id, sqlite3_column_blob(statement, 0), LEDGER_ID_BYTES,
			   BYTES_META);
	sqlite3_finalize(statement);
	if (result != SQLITE_ROW && result != SQLITE_DONE)
		return ledger_sqlite_error(store, result, "reading the identity");
	if (!whole)
		return RAISE(ERR_LEDGER_DAMAGED,
			     "the ledger %s has no identity; look at it with: sqlite3 %s"
			     " \"pragma integrity_check\"",
			     store->path, store->path);
	return OK;
}

static enum err load_reasons(struct ledger_store *store)
{
	sqlite3_stmt *statement;
	char name[64];
	bool row = true;
	enum err e = ledger_sqlite_bind(store, SQL_REASONS, NO_NUMBERS, &statement), reason;

	if (e)
		return e;
	while (!(e = ledger_sqlite_step(store, statement, &row)) && row) {
		ledger_sqlite_text(statement, 1, name, sizeof name);
		if (err_from_name(text_of(name), &reason))
			store->reason_codes[reason] = (uint16_t)sqlite3_column_int(statement, 0);
	}
	sqlite3_reset(statement);
	return e;
}

/* One kibibyte of cache per entry keeps a clustered batch's pages; the log is brought into the file
 * every 16 MiB (LIMITS: small intervals cost the most). */
static const char settings[] =
	"PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
	"PRAGMA cache_size = -4096;" /* LEDGER_CACHE_BYTES */
	" PRAGMA temp_store = MEMORY;"
	"PRAGMA wal_autocheckpoint = 4096; PRAGMA journal_size_limit = 67108864";

enum err ledger_sqlite_open(const char *path, const char *mode_of, struct ledger_store **out)
{
	struct ledger_store *store;
	enum err e = ledger_sqlite_connect(path, mode_of,
					   SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, &store);

	*out = NULL;
	if (e)
		return e;
	sqlite3_db_config(store->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
	if (!(e = ledger_sqlite_recognize(store)) && !(e = ledger_sqlite_settle_log(store)) &&
	    !(e = execute(store, settings, "opening")) &&
	    !(e = store->version < LEDGER_SCHEMA ? make_tables(store) : OK) &&
	    !(e = load_id(store)))
		e = load_reasons(store);
	if (e)
		ledger_sqlite_close(&store);
	*out = store;
	return e;
}

const uint8_t *ledger_sqlite_id(const struct ledger_store *store)
{
	return store->id;
}

static void finalize_all(struct ledger_store *store)
{
	for (size_t i = 0; i < SQL_COUNT; i++) {
		sqlite3_finalize(store->statements[i]);
		store->statements[i] = NULL;
	}
}

/* A reader that still looks at the log keeps it from being emptied: the next run does that. */
enum err ledger_sqlite_finish(struct ledger_store **taken)
{
	struct ledger_store *store = *taken;
	int result;
	enum err e = OK;

	finalize_all(store);
	sqlite3_busy_timeout(store->db, 1000);
	result = sqlite3_wal_checkpoint_v2(store->db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
	if (result && (result & 0xff) != SQLITE_BUSY && (result & 0xff) != SQLITE_LOCKED)
		e = ledger_sqlite_error(store, result, "the checkpoint");
	else
		sqlite3_db_config(store->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, NULL);
	ledger_sqlite_close(taken);
	return e;
}

void ledger_sqlite_close(struct ledger_store **taken)
{
	struct ledger_store *store = *taken;

	*taken = NULL;
	if (!store)
		return;
	finalize_all(store);
	must(sqlite3_close(store->db) == SQLITE_OK);
	free(store->path);
	free(store);
}
