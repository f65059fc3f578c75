/* The tables of the ledger's file, version by version. docs/LEDGER.md describes them for people
 * with a sqlite3 shell; a change here is a change there, and of LEDGER_SCHEMA. */
#include "engine/ledger_sqlite_base.h"

/* The views, of which each version has a few columns more than the one before. */
#define MESSAGE_1 \
	"m.source AS source, m.target AS target, b.name AS box, s.no AS no," \
	" CASE s.fate & 7 WHEN 1 THEN 'moved' WHEN 2 THEN 'skipped' WHEN 3 THEN 'doubtful'" \
	" WHEN 4 THEN 'withdrawn' END AS state," \
	" coalesce((SELECT name FROM reason WHERE code = s.fate >> 3), '') AS reason," \
	" s.size_bytes AS size_bytes, m.digest AS digest_name, lower(hex(s.digest)) AS digest," \
	" s.seal_no AS seal_no, s.box_no AS box_no, b.mailbox_no AS mailbox_no"
#define MESSAGE_3 \
	MESSAGE_1 ", b.epoch AS epoch, coalesce(s.vanished_s, 0) AS vanished_s"
#define MESSAGE_4 \
	MESSAGE_3 ", b.target AS target_box, b.target_epoch AS target_epoch," \
	" coalesce(s.target_no, 0) AS target_no, s.date_s AS date_s"
#define MESSAGE_5 \
	MESSAGE_4 ", coalesce(s.form, 0) AS form, CASE WHEN s.found IS NULL THEN ''" \
	" WHEN length(s.found) = 0 THEN 'digest' ELSE 'fingerprint' END AS found"
#define VIEWS(MESSAGE) \
	"CREATE VIEW message AS SELECT " MESSAGE \
	" FROM settled s JOIN box b USING (box_no) JOIN mailbox m USING (mailbox_no);" \
	"CREATE VIEW exception AS SELECT message.* FROM message JOIN settled USING (box_no, no)" \
	" WHERE fate <> 1;"

/* WITHOUT ROWID: the key is the row's place, so a message costs one tree entry. A moved message
 * without a reason has fate 1, which SQLite stores in no bytes at all. */
static const char schema_1[] =
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
	VIEWS(MESSAGE_1);

/* How a mailbox's last attempt ended; a batch in its run; what was learnt about servers. */
static const char schema_2[] =
	"ALTER TABLE mailbox ADD COLUMN state TEXT NOT NULL DEFAULT '';"
	"ALTER TABLE mailbox ADD COLUMN error TEXT NOT NULL DEFAULT '';"
	"ALTER TABLE mailbox ADD COLUMN note TEXT NOT NULL DEFAULT '';"
	"ALTER TABLE mailbox ADD COLUMN ended_s INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE run ADD COLUMN batch TEXT NOT NULL DEFAULT '';"
	"ALTER TABLE run ADD COLUMN waiting INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE run ADD COLUMN running INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE run ADD COLUMN done INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE run ADD COLUMN incomplete INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE run ADD COLUMN doubtful INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE run ADD COLUMN failed INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE run ADD COLUMN drained INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE run ADD COLUMN connections INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE run ADD COLUMN throttled_permille INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE run ADD COLUMN window_closes_s INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE run ADD COLUMN errors TEXT NOT NULL DEFAULT '{}';"
	"CREATE TABLE lesson(lesson_no INTEGER PRIMARY KEY, kind TEXT NOT NULL, name TEXT NOT NULL,"
	" not_before_s INTEGER NOT NULL, connections_max INTEGER NOT NULL,"
	" failures INTEGER NOT NULL, reason TEXT NOT NULL, UNIQUE(kind, name));";

/* What a second run needs to know of the first: where folders stood, which flags were seen, what is
 * not there any more. A folder that was replaced stays beside its successor of the same name, so
 * the name alone is no key any more and the table is made anew. Views are made last: SQLite looks
 * through them when a table gets another name. Columns added to `settled` cost old rows nothing. */
static const char schema_3[] =
	"DROP VIEW exception; DROP VIEW message;"
	"CREATE TABLE box_3(box_no INTEGER PRIMARY KEY, mailbox_no INTEGER NOT NULL REFERENCES "
	"mailbox,"
	" name TEXT NOT NULL, epoch INTEGER NOT NULL, fate TEXT NOT NULL DEFAULT '',"
	" note TEXT NOT NULL DEFAULT '', moved INTEGER NOT NULL DEFAULT 0,"
	" skipped INTEGER NOT NULL DEFAULT 0, doubtful INTEGER NOT NULL DEFAULT 0,"
	" withdrawn INTEGER NOT NULL DEFAULT 0, bytes_moved INTEGER NOT NULL DEFAULT 0,"
	" vanished INTEGER NOT NULL DEFAULT 0, former INTEGER NOT NULL DEFAULT 0,"
	" id TEXT NOT NULL DEFAULT '', cursor TEXT NOT NULL DEFAULT '');"
	"INSERT INTO box_3(box_no, mailbox_no, name, epoch, fate, note, moved, skipped, doubtful,"
	" withdrawn, bytes_moved) SELECT box_no, mailbox_no, name, epoch, fate, note, moved,"
	" skipped, doubtful, withdrawn, bytes_moved FROM box;"
	"DROP TABLE box; ALTER TABLE box_3 RENAME TO box;"
	"CREATE INDEX box_of_mailbox ON box(mailbox_no);"
	"CREATE UNIQUE INDEX box_present ON box(mailbox_no, name) WHERE former = 0;"
	"CREATE INDEX box_former ON box(mailbox_no, name) WHERE former <> 0;"
	"CREATE INDEX box_by_id ON box(mailbox_no, id) WHERE id <> '';"
	"ALTER TABLE settled ADD COLUMN mark INTEGER;"
	"ALTER TABLE settled ADD COLUMN vanished_s INTEGER;"
	"CREATE TABLE sought(mailbox_no INTEGER NOT NULL, digest BLOB NOT NULL,"
	" box_no INTEGER NOT NULL, no INTEGER NOT NULL,"
	" PRIMARY KEY(mailbox_no, digest, box_no, no)) WITHOUT ROWID;"
	VIEWS(MESSAGE_3);

/* Where a folder's messages lie in a target that has folders and numbers of its own. */
static const char schema_4[] =
	"ALTER TABLE box ADD COLUMN target TEXT NOT NULL DEFAULT '';"
	"ALTER TABLE box ADD COLUMN target_epoch INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE settled ADD COLUMN target_no INTEGER;"
	"ALTER TABLE settled ADD COLUMN date_s INTEGER;"
	"DROP VIEW exception; DROP VIEW message;"
	VIEWS(MESSAGE_4);

/* How a message's bytes are held there (enum mail_form); NULL: as they are. And which messages were
 * at the target before, and how they were found there: NULL, they were sent; empty, by the same
 * bytes; else by this fingerprint. */
static const char schema_5[] =
	"ALTER TABLE settled ADD COLUMN form INTEGER;"
	"ALTER TABLE settled ADD COLUMN found BLOB;"
	"CREATE INDEX settled_wrapped ON settled(box_no, no) WHERE form NOT NULL;"
	"CREATE INDEX settled_found ON settled(box_no, no) WHERE found NOT NULL;"
	"DROP VIEW exception; DROP VIEW message;"
	VIEWS(MESSAGE_5);

/* Which mailboxes go to one target is asked for each folder that is looked into. */
static const char schema_6[] = "CREATE INDEX mailbox_by_target ON mailbox(target);";

/* A new file takes all steps, an older one those it lacks: they have the same tables. */
const char *const ledger_sqlite_schema_steps[LEDGER_SCHEMA] = { schema_1, schema_2, schema_3,
								schema_4, schema_5, schema_6 };

/* What `status` asks for and an older version has not; a temporary view hides the table of its
 * name. */
static const char schema_1_views[] =
	"CREATE TEMP VIEW mailbox AS SELECT *, '' AS state, '' AS error, '' AS note, 0 AS ended_s"
	" FROM main.mailbox;"
	"CREATE TEMP VIEW run AS SELECT *, '' AS batch, 0 AS waiting, 0 AS running, 0 AS done,"
	" 0 AS incomplete, 0 AS doubtful, 0 AS failed, 0 AS drained, 0 AS connections,"
	" 0 AS throttled_permille, 0 AS window_closes_s, '{}' AS errors FROM main.run;";
static const char schema_2_views[] =
	"CREATE TEMP VIEW box AS SELECT *, 0 AS former, 0 AS vanished FROM main.box;";
const char *const ledger_sqlite_schema_views[LEDGER_SCHEMA] = { "", schema_1_views, schema_2_views,
								"", "", "" };
