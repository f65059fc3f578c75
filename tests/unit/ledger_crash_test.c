/* The ledger against the world outside: kill -9, a second run, a reader beside the writer, full
 * disks, files that are not ours. Tests that fork stand first: before them this process had no
 * threads. */
#include "tests/unit/ledger_help.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/ledger_child.h"

/* ---- other processes ---- */

static enum err open_and_finish(void *argument)
{
	struct child *child = argument;
	struct world w;
	enum err e = world_open(&w, child->directory);

	return e ? e : world_finish(&w);
}

/* Settle without end, telling the parent what is durable. */
static enum err settle_for_ever(void *argument)
{
	struct child *child = argument;
	struct ledger_range gap = { 1, 0 };
	struct ledger_row row;
	uint64_t before, told = 0;
	struct world w;
	enum err e = world_open(&w, child->directory);

	if (!e && w.next_no == 1)
		e = ledger_intend(w.ledger, w.box_no, 1, 10000000);
	if (!e)
		e = ledger_unsettled(w.ledger, w.box_no, 1, 10000000, &gap);
	before = gap.first - 1;
	for (uint64_t no = 1; !e;
	     no++) { /* from the start: what is there already is settled again */
		e = ledger_settle(w.ledger, (row = moved(w.box_no, no), &row));
		if (!e && no % 217 == 0)
			e = ledger_commit(w.ledger);
		if (ledger_durable(w.ledger) == told)
			continue;
		told = ledger_durable(w.ledger);
		if (told > before && write(child->to_parent[1], &told, sizeof told) != sizeof told)
			break;
	}
	return e;
}

TEST(what_was_durable_survives_kill_nine)
{
	char sql[200];

	for (uint64_t round = 1; round <= 6; round++) {
		struct child *child = child_open(test_directory(), settle_for_ever);
		uint64_t durable = kill_after(child, round * 1700);

		CHECK_EQ(child_end(child), -1);
		child_free(child);
		CHECK(durable >= round * 1700);
		CHECK_TEXT(ask_file(test_directory(), "PRAGMA integrity_check"), "ok");
		snprintf(sql, sizeof sql, "SELECT count(*) = %llu FROM settled WHERE no <= %llu",
			 (unsigned long long)durable, (unsigned long long)durable);
		CHECK_TEXT(ask_file(test_directory(), sql), "1");
		CHECK_TEXT(
			ask_file(test_directory(),
				 "SELECT moved = (SELECT count(*) FROM settled) AND"
				 " bytes_moved = (SELECT sum(size_bytes) FROM settled) FROM box"),
			"1");
	}
}

static enum err hold(void *argument)
{
	struct child *child = argument;
	struct ledger_row row;
	struct world w;
	char byte = 'h';
	enum err e = world_open(&w, child->directory);

	if (e || (e = ledger_intend(w.ledger, w.box_no, 1, 10)))
		return e;
	if ((e = ledger_settle(w.ledger, (row = moved(w.box_no, 1), &row))))
		return e;
	ledger_run_note(w.ledger, &(struct ledger_run){
					  .started_wall_s = 11, .pid = getpid(), .messages = 1 });
	if ((e = ledger_commit(w.ledger)))
		return e;
	must(write(child->to_parent[1], &byte, 1) == 1);
	must(read(child->to_child[0], &byte, 1) == 0); /* until the parent closes its end */
	return world_finish(&w);
}

static void count_moved(void *context, const struct ledger_status_mailbox *mailbox)
{
	*(uint64_t *)context += mailbox->totals.messages[LEDGER_MOVED];
}

TEST(a_second_run_is_told_who_holds_the_ledger)
{
	struct child *holder = child_open(test_directory(), hold), *second;
	struct ledger_run run = { 0 };
	uint64_t found = 0;
	char byte, expected[40];

	REQUIRE(read(holder->to_parent[0], &byte, 1) == 1);
	second = child_open(test_directory(), open_and_finish);
	CHECK_EQ(child_end(second), ERR_LEDGER_BUSY);
	snprintf(expected, sizeof expected, "process %ld,", (long)holder->pid);
	CHECK(strstr(second->note, expected) != NULL);
	CHECK(strstr(second->note, test_directory()) != NULL);
	child_free(second);

	/* Meanwhile anybody may look. */
	CHECK_OK(ledger_status(test_directory(), count_moved, &run, &found));
	CHECK_EQ(found, 1);
	CHECK_EQ(run.pid, holder->pid);
	CHECK_EQ(run.started_wall_s, 11);
	CHECK_EQ(run.ended_wall_s, 0);
	CHECK(!ledger_is_free(test_directory()));

	CHECK_EQ(child_end(holder), OK);
	CHECK(ledger_is_free(test_directory()));
	child_free(holder);
	second = child_open(test_directory(), open_and_finish);
	CHECK_EQ(child_end(second), OK);
	child_free(second);
	CHECK_OK(ledger_status(test_directory(), count_moved, NULL, &found));
	CHECK_EQ(found, 2);
}

TEST(a_killed_holder_holds_nothing)
{
	struct child *holder = child_open(test_directory(), hold), *second;
	char byte;

	CHECK(!ledger_is_free("/nonexistent")); /* it cannot be told */
	REQUIRE(read(holder->to_parent[0], &byte, 1) == 1);
	must(kill(holder->pid, SIGKILL) == 0);
	CHECK_EQ(child_end(holder), -1);
	CHECK(ledger_is_free(test_directory()));
	child_free(holder);
	second = child_open(test_directory(), open_and_finish);
	CHECK_EQ(child_end(second), OK);
	child_free(second);
}

static uint64_t mode_of(const char *directory, const char *name)
{
	struct stat status;
	char path[300];

	snprintf(path, sizeof path, "%s%s", directory, name);
	return stat(path, &status) == 0 ? status.st_mode & 07777 : 0;
}

static enum err open_with_umask_zero(void *argument)
{
	struct child *child = argument;
	struct ledger_row row;
	struct world w;
	enum err e;

	umask(0);
	if ((e = world_open(&w, child->directory)) ||
	    (e = ledger_intend(w.ledger, w.box_no, 1, 1)) ||
	    (e = ledger_settle(w.ledger, (row = moved(w.box_no, 1), &row))) ||
	    (e = ledger_commit(w.ledger)))
		return e;
	child->values[0] = mode_of(child->directory, "/ledger.db") == 0600 &&
			   mode_of(child->directory, "/ledger.db-wal") == 0600 &&
			   mode_of(child->directory, "/ledger.db-shm") == 0600 &&
			   mode_of(child->directory, "/ledger.lock") == 0600 &&
			   mode_of(child->directory, "") == 0700;
	return world_finish(&w);
}

TEST(nobody_else_can_read_the_ledger_whatever_the_umask)
{
	char directory[200];
	struct child *child;

	snprintf(directory, sizeof directory, "%s/new/100%% #?&/state", test_directory());
	child = child_open(directory, open_with_umask_zero);
	CHECK_EQ(child_end(child), OK);
	CHECK_EQ(child->values[0], 1);
	child_free(child);
}

static enum err open_as_nobody(void *argument)
{
	struct child *child = argument;
	struct world w = { 0 };

	if (geteuid() == 0)
		must(setegid(65534) == 0 && seteuid(65534) == 0);
	return world_open(&w, child->directory);
}

TEST(a_directory_that_cannot_be_written_is_named)
{
	struct child *child;

	CHECK(chmod(test_directory(), 0555) == 0);
	child = child_open(test_directory(), open_as_nobody);
	CHECK_EQ(child_end(child), ERR_DISK_DENIED);
	CHECK(strstr(child->note, test_directory()) != NULL);
	child_free(child);
	CHECK(chmod(test_directory(), 0700) == 0);
}

/* ---- a disk that fills up: a VFS over the default one, as tests/sim has one ---- */

static sqlite3_vfs *real_vfs, full_vfs;
/* The file and its log have different methods. */
static struct full_methods {
	sqlite3_io_methods full;
	const sqlite3_io_methods *real;
} full_main, full_log;
static int writes_left; /* only one thread at a time is inside the store */

static int full_write(sqlite3_file *file, const void *from, int bytes, sqlite3_int64 at)
{
	struct full_methods *methods = file->pMethods == &full_log.full ? &full_log : &full_main;

	if (writes_left == 0)
		return SQLITE_FULL;
	writes_left--;
	return methods->real->xWrite(file, from, bytes, at);
}

static int full_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *out)
{
	struct full_methods *methods = flags & SQLITE_OPEN_WAL ? &full_log : &full_main;
	int result = real_vfs->xOpen(real_vfs, name, file, flags, out);

	(void)vfs;
	if (result == SQLITE_OK && flags & (SQLITE_OPEN_MAIN_DB | SQLITE_OPEN_WAL)) {
		methods->real = file->pMethods;
		methods->full = *file->pMethods;
		methods->full.xWrite = full_write;
		file->pMethods = &methods->full;
	}
	return result;
}

static void disk_with_room_for(int writes)
{
	real_vfs = sqlite3_vfs_find(NULL);
	full_vfs = *real_vfs;
	full_vfs.zName = "full";
	full_vfs.xOpen = full_open;
	writes_left = writes;
	must(sqlite3_vfs_register(&full_vfs, 1) == SQLITE_OK);
}

static void disk_as_before(void)
{
	must(sqlite3_vfs_unregister(&full_vfs) == SQLITE_OK);
	must(sqlite3_vfs_register(real_vfs, 1) == SQLITE_OK);
}

static enum err fill(struct world *w, uint64_t from, uint64_t last)
{
	struct ledger_row row;
	enum err e = OK;

	for (uint64_t no = from; !e && no <= last; no++)
		e = ledger_settle(w->ledger, (row = moved(w->box_no, no), &row));
	return e ? e : ledger_commit(w->ledger);
}

TEST_FIBER(a_full_disk_is_said_and_loses_nothing_that_was_durable)
{
	struct ledger_range gap;
	uint64_t durable;
	struct world w;

	disk_with_room_for(1000000);
	REQUIRE(world_open(&w, test_directory()) == OK);
	CHECK_OK(ledger_intend(w.ledger, w.box_no, 1, 100000));
	CHECK_OK(fill(&w, 1, 500));
	writes_left = 60;
	CHECK_ERR(fill(&w, 501, 100000), ERR_DISK_FULL);
	CHECK(strstr(err_note()->text, "ledger.db") != NULL);
	CHECK(strstr(err_note()->text, "writing of the ledger") != NULL);
	durable = ledger_durable(w.ledger);
	CHECK(durable >= 500 && durable < 100000);
	CHECK_ERR(ledger_commit(w.ledger), ERR_DISK_FULL);
	CHECK_ERR(ledger_seal(w.ledger, w.mailbox_no, 1, text_of("x")), ERR_DISK_FULL);
	CHECK_ERR(world_finish(&w), ERR_DISK_FULL);
	disk_as_before();
	err_note_clear();

	REQUIRE(world_open(&w, test_directory()) == OK);
	CHECK_OK(ledger_unsettled(w.ledger, w.box_no, 1, 100000, &gap));
	CHECK_EQ(gap.first, durable + 1);
	CHECK_EQ(gap.last, 100000);
	CHECK_OK(fill(&w, gap.first, 5000));
	CHECK_OK(world_finish(&w));
	CHECK_TEXT(ask_file(test_directory(), "PRAGMA integrity_check"), "ok");
}

TEST_FIBER(a_disk_without_room_for_a_ledger_gives_a_blank_one_later)
{
	for (int room = 0; room <= 12; room++) {
		struct world w = { 0 };
		enum err e;

		disk_with_room_for(room);
		e = world_open(&w, test_directory());
		CHECK(e == OK || e == ERR_DISK_FULL);
		ledger_close(&w.ledger);
		disk_as_before();
		err_note_clear();
		REQUIRE(world_open(&w, test_directory()) == OK);
		CHECK_OK(world_finish(&w));
	}
}

/* ---- files that are not a ledger, or not ours ---- */

static void write_file(const char *directory, const char *name, const void *bytes, size_t n,
		       off_t at)
{
	char path[300];
	int fd;

	snprintf(path, sizeof path, "%s/%s", directory, name);
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	must(fd >= 0 && pwrite(fd, bytes, n, at) == (ssize_t)n && close(fd) == 0);
}

static void check_refused(enum err expected, const char *hint)
{
	struct ledger *ledger;

	CHECK_ERR(ledger_open(test_directory(), soon(), &ledger), expected);
	CHECK(ledger == NULL);
	CHECK(strstr(err_note()->text, "ledger.db") != NULL);
	CHECK(strstr(err_note()->text, hint) != NULL);
	err_note_clear();
	CHECK_ERR(ledger_status(test_directory(), NULL, NULL, NULL), expected);
	err_note_clear();
}

TEST_FIBER(a_file_that_is_not_sqlite_is_damaged)
{
	static char text[9000];

	memset(text, 'x', sizeof text);
	write_file(test_directory(), "ledger.db", text, sizeof text, 0);
	check_refused(ERR_LEDGER_DAMAGED, "pragma integrity_check");
}

TEST_FIBER(a_database_of_somebody_else_is_refused_untouched)
{
	write_file(test_directory(), "ledger.db", "", 0, 0);
	CHECK_TEXT(ask_file(test_directory(), "CREATE TABLE theirs(x)"), "");
	check_refused(ERR_LEDGER_DAMAGED, "mailhaul did not make");
	CHECK_TEXT(ask_file(test_directory(), "SELECT group_concat(name) FROM sqlite_schema"),
		   "theirs");
	CHECK_TEXT(ask_file(test_directory(), "PRAGMA journal_mode"), "delete");
}

TEST_FIBER(a_newer_ledger_is_refused)
{
	struct world w;

	REQUIRE(world_open(&w, test_directory()) == OK);
	CHECK_OK(world_finish(&w));
	CHECK_TEXT(ask_file(test_directory(), "PRAGMA user_version = 99"), "");
	check_refused(ERR_LEDGER_VERSION, "99");
	CHECK_TEXT(ask_file(test_directory(), "PRAGMA user_version"), "99");
}

TEST_FIBER(a_disk_too_full_to_upgrade_leaves_the_older_ledger_as_it_was)
{
	struct ledger_totals totals;
	struct world w = { 0 };
	int room = 0;
	enum err e;

	make_ledger_of_version_1(test_directory());
	do {
		disk_with_room_for(room++);
		e = ledger_open(test_directory(), soon(), &w.ledger);
		ledger_close(&w.ledger);
		disk_as_before();
		err_note_clear();
		CHECK(e == OK || e == ERR_DISK_FULL);
		CHECK_TEXT(ask_file(test_directory(),
				    "SELECT user_version || ' ' || (SELECT count(*) FROM"
				    " sqlite_schema WHERE name = 'lesson') FROM"
				    " pragma_user_version"),
			   e ? "1 0" : "6 1");
	} while (e && room < 100);
	CHECK(room > 3 && room < 100);
	REQUIRE(world_open(&w, test_directory()) == OK);
	CHECK_OK(ledger_totals(w.ledger, w.mailbox_no, &totals));
	CHECK_EQ(totals.messages[LEDGER_MOVED], 2);
	CHECK_OK(world_finish(&w));
}

TEST_FIBER(a_damaged_page_is_found_when_it_is_read)
{
	static char noise[4096];
	struct ledger_range gap;
	struct world w;
	enum err e = OK;

	REQUIRE(world_open(&w, test_directory()) == OK);
	CHECK_OK(ledger_intend(w.ledger, w.box_no, 1, 20000));
	CHECK_OK(fill(&w, 1, 20000));
	CHECK_OK(world_finish(&w));
	memset(noise, 0xa5, sizeof noise);
	for (int page = 60; page < 70; page++)
		write_file(test_directory(), "ledger.db", noise, sizeof noise, page * 4096);
	REQUIRE(world_open(&w, test_directory()) == OK);
	CHECK_ERR(ledger_unsettled(w.ledger, w.box_no, 1, 20000, &gap), ERR_LEDGER_DAMAGED);
	CHECK(strstr(err_note()->text, "ledger.db \"pragma integrity_check\"") != NULL);
	err_note_clear();
	e = world_finish(&w);
	CHECK(e == OK || e == ERR_LEDGER_DAMAGED);
}

TEST_FIBER(a_ledger_whose_tables_are_gone_is_damaged)
{
	struct world w = { 0 };

	REQUIRE(world_open(&w, test_directory()) == OK);
	CHECK_OK(world_finish(&w));
	CHECK_TEXT(ask_file(test_directory(), "DROP TABLE range"), "");
	CHECK_ERR(world_open(&w, test_directory()), ERR_LEDGER_DAMAGED);
	CHECK(strstr(err_note()->text, "range") != NULL);
	err_note_clear();
	ledger_close(&w.ledger);
}

TEST_FIBER(a_second_open_in_one_process_is_busy_too)
{
	struct ledger *second;
	struct world w;
	char pid[40];

	REQUIRE(world_open(&w, test_directory()) == OK);
	CHECK_ERR(ledger_open(test_directory(), soon(), &second), ERR_LEDGER_BUSY);
	snprintf(pid, sizeof pid, "process %ld,", (long)getpid());
	CHECK(strstr(err_note()->text, pid) != NULL);
	err_note_clear();
	CHECK_OK(world_finish(&w));
}

/* ---- reading beside a writer ---- */

TEST_FIBER(status_sees_what_is_durable_and_nothing_else)
{
	struct ledger_run run = { 0 };
	struct ledger_row row;
	uint64_t found = 0;
	struct world w;

	CHECK_ERR(ledger_status(test_directory(), NULL, NULL, NULL), ERR_LEDGER_ABSENT);
	err_note_clear();
	REQUIRE(world_open(&w, test_directory()) == OK);
	CHECK_OK(ledger_intend(w.ledger, w.box_no, 1, 10));
	CHECK_OK(ledger_status(test_directory(), count_moved, &run, &found));
	CHECK(found == 0 && run.pid == 0);
	ledger_run_note(w.ledger,
			&(struct ledger_run){ .pid = 4711, .started_wall_s = 1, .messages = 2 });
	CHECK_OK(ledger_settle(w.ledger, (row = moved(w.box_no, 1), &row)));
	CHECK_OK(ledger_settle(w.ledger, (row = moved(w.box_no, 2), &row)));
	CHECK_OK(ledger_commit(w.ledger));
	CHECK_OK(ledger_status(test_directory(), count_moved, &run, &found));
	CHECK(found == 2 && run.pid == 4711 && run.messages == 2 && run.ended_wall_s == 0);
	ledger_run_note(w.ledger,
			&(struct ledger_run){ .pid = 4711, .ended_wall_s = 9, .exit_code = 75 });
	CHECK_OK(world_finish(&w));
	CHECK_OK(ledger_status(test_directory(), NULL, &run, NULL));
	CHECK(run.ended_wall_s == 9 && run.exit_code == 75);
	CHECK_TEXT(ask_file(test_directory(), "SELECT count(*) FROM run"), "1");
}

TEST_FIBER(a_reader_that_stays_does_not_stop_the_writer)
{
	char path[200];
	sqlite3 *reader;
	struct world w;

	REQUIRE(world_open(&w, test_directory()) == OK);
	CHECK_OK(ledger_intend(w.ledger, w.box_no, 1, 10000));
	snprintf(path, sizeof path, "%s/ledger.db", test_directory());
	REQUIRE(sqlite3_open_v2(path, &reader, SQLITE_OPEN_READONLY, NULL) == SQLITE_OK);
	CHECK(sqlite3_exec(reader, "BEGIN; SELECT count(*) FROM settled", NULL, NULL, NULL) ==
	      SQLITE_OK);
	CHECK_OK(fill(&w, 1, 10000));
	CHECK_OK(world_finish(&w));
	sqlite3_close(reader);
	CHECK_TEXT(ask_file(test_directory(), "SELECT count(*) FROM settled"), "10000");
}

/* ---- how much room a message takes ---- */

TEST_FIBER(a_million_settled_messages_take_at_most_96_bytes_each)
{
	enum { BOXES = 20, EACH = 50000 };
	uint64_t box_no = 0, rows = 0;
	struct ledger_row row;
	struct stat status;
	char path[200];
	struct world w;
	enum err e = OK;

	REQUIRE(world_open(&w, test_directory()) == OK);
	for (int i = 0; !e && i < BOXES; i++) {
		snprintf(path, sizeof path, "Archive/%d", i);
		if ((e = world_box(&w, path, &box_no)) ||
		    (e = ledger_intend(w.ledger, box_no, 1, 9000000)))
			break;
		for (uint64_t n = 1; !e && n <= EACH; n++, rows++) {
			row = moved(box_no, n * 100); /* numbers with gaps, up to five million */
			e = ledger_settle(w.ledger, &row);
		}
	}
	CHECK_OK(e);
	CHECK_OK(world_finish(&w));
	CHECK_EQ(rows, 1000000);
	snprintf(path, sizeof path, "%s/ledger.db", test_directory());
	REQUIRE(stat(path, &status) == 0);
	CHECK((uint64_t)status.st_size <= 96 * rows);
	CHECK_TEXT(ask_file(test_directory(), "SELECT sum(moved) FROM box"), "1000000");
}
