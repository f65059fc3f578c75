/* What the ledger's two test programs share: a ledger with a mailbox and a folder, rows that can be
 * told apart, and a look into the file as a person with the sqlite3 shell has it. */
#ifndef MAILHAUL_LEDGER_HELP_H
#define MAILHAUL_LEDGER_HELP_H

#include <sqlite3.h>
#include <stdio.h>

#include "engine/clock.h"
#include "engine/ledger.h"
#include "tests/test.h"

/* The only folder of the only mailbox. */
struct world {
	struct ledger *ledger;
	uint64_t mailbox_no, box_no;
	uint64_t next_no, next_seal_no;
};

static inline nsec soon(void)
{
	return clock_after(60 * NSEC_SECOND);
}

static inline enum err world_box(struct world *world, const char *name, uint64_t *box_no)
{
	static struct box box;
	uint64_t epoch;
	enum err e;

	box = (struct box){ .epoch = 7 };
	snprintf(box.name, sizeof box.name, "%s", name);
	e = ledger_box(world->ledger, world->mailbox_no, &box, &epoch, &world->next_no);
	*box_no = box.box_no;
	return e;
}

static inline enum err world_open(struct world *world, const char *directory)
{
	struct ledger_mailbox mailbox;
	enum err e = ledger_open(directory, soon(), &world->ledger);

	if (e || (e = ledger_mailbox(world->ledger, "imaps://a@here/", "file:///there", "blake3",
				     &mailbox)))
		return e;
	world->mailbox_no = mailbox.mailbox_no;
	world->next_seal_no = mailbox.next_seal_no;
	return world_box(world, "INBOX", &world->box_no);
}

/* Ends the run in order; what finish said. */
static inline enum err world_finish(struct world *world)
{
	enum err e = ledger_finish(world->ledger, soon());

	ledger_close(&world->ledger);
	return e;
}

/* Message `no`, moved, as different from its neighbours as real ones are. */
static inline struct ledger_row moved(uint64_t box_no, uint64_t no)
{
	struct ledger_row row = { .box_no = box_no, .no = no, .state = LEDGER_MOVED };

	row.size_bytes = 2000 + no * 7919 % 150000;
	row.seal_no = 1 + no / 900;
	for (size_t i = 0; i < DIGEST_BYTES; i++)
		row.digest.bytes[i] = (uint8_t)((no * 2654435761u + box_no) >> i % 24 ^ i * 37);
	return row;
}

static inline struct ledger_row skipped(uint64_t box_no, uint64_t no, enum err reason)
{
	return (struct ledger_row){
		.box_no = box_no, .no = no, .state = LEDGER_SKIPPED, .reason = reason
	};
}

/* The first column of the first row, "" if there is none, "error: ..." if SQLite refuses. */
static inline const char *ask_file(const char *directory, const char *sql)
{
	static char answer[8192];
	sqlite3_stmt *statement = NULL;
	sqlite3 *db = NULL;

	snprintf(answer, sizeof answer, "%s/ledger.db", directory);
	if (sqlite3_open_v2(answer, &db, SQLITE_OPEN_READWRITE, NULL) == SQLITE_OK)
		sqlite3_busy_timeout(db, 20000);
	answer[0] = '\0';
	if (sqlite3_prepare_v2(db, sql, -1, &statement, NULL) != SQLITE_OK)
		snprintf(answer, sizeof answer, "error: %s", sqlite3_errmsg(db));
	else if (sqlite3_step(statement) == SQLITE_ROW)
		snprintf(answer, sizeof answer, "%s",
			 (const char *)sqlite3_column_text(statement, 0));
	sqlite3_finalize(statement);
	sqlite3_close(db);
	return answer;
}

static inline const char *ranges_in_file(const char *directory)
{
	return ask_file(directory, "SELECT group_concat(first || '-' || last || ' ' || state, ', ')"
				   " FROM (SELECT * FROM range ORDER BY box_no, first)");
}

/* The tables as version 1 made them, with two moved messages, a skipped one, one that is on its
 * way, a seal and a run in them. */
static const char version_1[] =
	"CREATE TABLE meta(key TEXT PRIMARY KEY, value NOT NULL) WITHOUT ROWID;"
	"CREATE TABLE mailbox(mailbox_no INTEGER PRIMARY KEY, source TEXT NOT NULL, target TEXT "
	"NOT NULL,"
	" digest TEXT NOT NULL, next_seal_no INTEGER NOT NULL DEFAULT 1, UNIQUE(source, target));"
	"CREATE TABLE box(box_no INTEGER PRIMARY KEY, mailbox_no INTEGER NOT NULL REFERENCES "
	"mailbox,"
	" name TEXT NOT NULL, epoch INTEGER NOT NULL, fate TEXT NOT NULL DEFAULT '',"
	" note TEXT NOT NULL DEFAULT '', moved INTEGER NOT NULL DEFAULT 0,"
	" skipped INTEGER NOT NULL DEFAULT 0, doubtful INTEGER NOT NULL DEFAULT 0,"
	" withdrawn INTEGER NOT NULL DEFAULT 0, bytes_moved INTEGER NOT NULL DEFAULT 0,"
	" UNIQUE(mailbox_no, name));"
	"CREATE INDEX box_of_mailbox ON box(mailbox_no);"
	"CREATE TABLE range(box_no INTEGER NOT NULL REFERENCES box, first INTEGER NOT NULL,"
	" last INTEGER NOT NULL, state TEXT NOT NULL CHECK(state IN ('planned', 'intended', "
	"'done')),"
	" PRIMARY KEY(box_no, first), CHECK(first <= last)) WITHOUT ROWID;"
	"CREATE TABLE settled(box_no INTEGER NOT NULL REFERENCES box, no INTEGER NOT NULL,"
	" fate INTEGER NOT NULL, size_bytes INTEGER NOT NULL, seal_no INTEGER NOT NULL, digest "
	"BLOB,"
	" PRIMARY KEY(box_no, no)) WITHOUT ROWID;"
	"CREATE INDEX settled_exception ON settled(box_no, no) WHERE fate <> 1;"
	"CREATE TABLE reason(code INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);"
	"CREATE TABLE seal(mailbox_no INTEGER NOT NULL REFERENCES mailbox, seal_no INTEGER NOT "
	"NULL,"
	" seal BLOB NOT NULL, PRIMARY KEY(mailbox_no, seal_no));"
	"CREATE TABLE run(run_no INTEGER PRIMARY KEY, started_s INTEGER NOT NULL,"
	" updated_s INTEGER NOT NULL, ended_s INTEGER NOT NULL, pid INTEGER NOT NULL,"
	" messages INTEGER NOT NULL, bytes INTEGER NOT NULL, exit_code INTEGER NOT NULL);"
	"CREATE VIEW message AS SELECT m.source AS source, m.target AS target, b.name AS box, s.no "
	"AS no,"
	" CASE s.fate & 7 WHEN 1 THEN 'moved' WHEN 2 THEN 'skipped' WHEN 3 THEN 'doubtful'"
	" WHEN 4 THEN 'withdrawn' END AS state,"
	" coalesce((SELECT name FROM reason WHERE code = s.fate >> 3), '') AS reason,"
	" s.size_bytes AS size_bytes, m.digest AS digest_name, lower(hex(s.digest)) AS digest,"
	" s.seal_no AS seal_no, s.box_no AS box_no, b.mailbox_no AS mailbox_no"
	" FROM settled s JOIN box b USING (box_no) JOIN mailbox m USING (mailbox_no);"
	"CREATE VIEW exception AS SELECT message.* FROM message JOIN settled USING (box_no, no)"
	" WHERE fate <> 1;"
	"PRAGMA application_id = 1835560039; PRAGMA user_version = 1;"
	"INSERT INTO meta VALUES('ledger_id', x'000102030405060708090a0b0c0d0e0f'),"
	" ('created_s', 1700000000);"
	"INSERT INTO mailbox VALUES(1, 'imaps://a@here/', 'file:///there', 'blake3', 8);"
	"INSERT INTO box VALUES(1, 1, 'INBOX', 7, '', '', 2, 1, 0, 0, 300);"
	"INSERT INTO range VALUES(1, 1, 2, 'done'), (1, 3, 10, 'intended');"
	"INSERT INTO reason VALUES(1, 'SOURCE_SIZE');"
	"INSERT INTO settled VALUES(1, 1, 1, 100, 7, zeroblob(32)), (1, 2, 1, 200, 7, "
	"zeroblob(32)),"
	" (1, 3, 10, 0, 0, NULL);"
	"INSERT INTO seal VALUES(1, 7, 'a pack');"
	"INSERT INTO run VALUES(1, 1700000000, 1700000010, 1700000020, 4711, 2, 300, 111);";

static inline void make_ledger_of_version_1(const char *directory)
{
	char path[200];
	sqlite3 *db = NULL;

	snprintf(path, sizeof path, "%s/ledger.db", directory);
	must(sqlite3_open(path, &db) == SQLITE_OK);
	must(sqlite3_exec(db, "PRAGMA journal_mode = WAL; BEGIN", NULL, NULL, NULL) == SQLITE_OK);
	must(sqlite3_exec(db, version_1, NULL, NULL, NULL) == SQLITE_OK);
	must(sqlite3_exec(db, "COMMIT", NULL, NULL, NULL) == SQLITE_OK);
	must(sqlite3_close(db) == SQLITE_OK);
}

#endif
