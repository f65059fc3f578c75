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
	static char answer[4096];
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

#endif
