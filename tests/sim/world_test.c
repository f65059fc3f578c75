/* The simulated world is one: time, files, sockets and SQLite behave as the engine is promised, a
 * seed repeats a run, a cut cuts, a deadlock is told. What the engine does in it is copy_test.c's.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdlib.h>

#include "engine/clock.h"
#include "engine/io.h"
#include "engine/offload.h"
#include "engine/shard.h"
#include "tests/sim/sim.h"
#include "tests/sim/world.h"
#include "tests/test.h"

enum { SEEDS = 20 };

/* A body that runs one fiber; `argument` is its main. */
struct fiber_of {
	fiber_main *main;
	struct world *world;
};

static enum err run_fiber(struct world *world, void *argument)
{
	struct fiber_of *fiber = argument;

	fiber->world = world;
	return shard_run(&(struct shard_config){ .arena_chunks = LANE_CHUNKS_RESERVED },
			 fiber->main, fiber);
}

static const struct world_result *run(struct world *world, fiber_main *main)
{
	struct fiber_of fiber = { .main = main };

	return world_process(world, run_fiber, &fiber);
}

/* The process went to its end without an error and closed everything. */
static void check_finished(struct world *world, const struct world_result *result)
{
	CHECK_EQ(result->end, WORLD_FINISHED);
	CHECK_EQ(result->error, OK);
	CHECK_EQ(result->open_files, 0);
	if (result->end != WORLD_FINISHED || result->error)
		world_show(world, "the process");
}

static nsec soon(void)
{
	return clock_after(10 * NSEC_SECOND);
}

/* ---- files ---- */

/* More than one page, in pieces that are none. */
static enum err write_and_read(int fd)
{
	static uint8_t out[50000], in[60000];
	size_t got;
	enum err e;

	for (size_t i = 0; i < sizeof out; i++)
		out[i] = (uint8_t)(i * 7 + i / 251);
	if ((e = io_write(fd, out, 1234, 0, soon())) ||
	    (e = io_write(fd, out + 1234, sizeof out - 1234, 1234, soon())) ||
	    (e = io_fsync(fd, false, soon())) || (e = io_read(fd, in, sizeof in, 0, soon(), &got)))
		return e;
	if (got != sizeof out || memcmp(in, out, sizeof out) != 0)
		return RAISE(ERR_DISK_IO, "other bytes came back, %zu", got);
	return OK;
}

static enum err files_fiber(void *argument)
{
	struct ring_stat stat;
	struct buffer names = { 0 };
	int fd = -1;
	enum err e;

	(void)argument;
	if ((e = io_mkdir("/mail/d", 0700, soon())) ||
	    (e = io_open("/mail/d/a", O_RDWR | O_CREAT | O_EXCL, 0600, soon(), &fd)) ||
	    (e = write_and_read(fd)) || (e = io_rename("/mail/d/a", "/mail/d/b", false, soon())) ||
	    (e = io_sync_directory("/mail/d", soon())) ||
	    (e = io_stat("/mail/d/b", soon(), &stat)) || (e = io_list("/mail/d", soon(), &names)))
		goto out;
	if (stat.size_bytes != 50000 || names.bytes != 2 || names.at[0] != 'b')
		e = RAISE(ERR_DISK_IO, "%llu bytes, %zu of names",
			  (unsigned long long)stat.size_bytes, names.bytes);
out:
	buffer_free(&names);
	io_close(&fd);
	return e;
}

TEST(files_behave_through_short_reads_and_short_writes_of_any_seed)
{
	for (unsigned seed = 0; seed < SEEDS; seed++) {
		struct world *world = world_open(seed);

		check_finished(world, run(world, files_fiber));
		world_close(&world);
	}
}

static enum err missing_fiber(void *argument)
{
	int fd = -1;

	(void)argument;
	return io_open("/mail/none", O_RDONLY, 0, soon(), &fd);
}

TEST(a_missing_file_is_an_error_as_the_kernel_gives_it)
{
	struct world *world = world_open(1);

	CHECK_EQ(run(world, missing_fiber)->error, ERR_DISK_ABSENT);
	world_close(&world);
}

/* ---- sockets ---- */

static const char conversation[] = "a1 CAPABILITY\r\na2 NOOP\r\na3 LOGOUT\r\n";

static enum err connect_to(uint16_t port, int *fd)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(port) };

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	return io_connect((const struct sockaddr *)&address, sizeof address, soon(), fd);
}

static enum err read_to_end(struct io_receiver *receiver, struct buffer *to)
{
	struct ring_bytes bytes;
	enum err e;

	while ((e = io_receive(receiver, soon(), &bytes)) == OK && bytes.length > 0) {
		buffer_add(to, bytes.at, bytes.length);
		io_release(receiver, &bytes);
	}
	return e;
}

static enum err talk_fiber(void *argument)
{
	struct io_receiver *receiver = NULL;
	struct buffer heard = { 0 };
	int fd = -1;
	enum err e;

	(void)argument;
	if ((e = connect_to(WORLD_PORT, &fd)) || (e = io_receiver_open(fd, &receiver)) ||
	    (e = io_send(fd, conversation, sizeof conversation - 1, soon())) ||
	    (e = read_to_end(receiver, &heard)))
		goto out;
	buffer_add(&heard, "", 1);
	if (!strstr(heard.at, "a2 OK Noop completed\r\n* BYE") ||
	    !strstr(heard.at, "a3 OK Logout completed.\r\n"))
		e = RAISE(ERR_IMAP_SYNTAX, "heard \"%.300s\"", heard.at);
out:
	io_receiver_close(&receiver);
	io_close(&fd);
	buffer_free(&heard);
	return e;
}

TEST(a_conversation_arrives_in_order_however_it_is_cut_into_pieces)
{
	for (unsigned seed = 0; seed < SEEDS; seed++) {
		struct world *world = world_open(seed);

		check_finished(world, run(world, talk_fiber));
		CHECK_EQ(world->result->imap.connections, 1);
		CHECK_EQ(world->result->imap.unknown, 0);
		world_close(&world);
	}
}

static enum err refused_fiber(void *argument)
{
	int fd = -1;

	(void)argument;
	return connect_to(WORLD_PORT + 1, &fd);
}

TEST(a_port_without_a_server_refuses)
{
	struct world *world = world_open(1);

	CHECK_EQ(run(world, refused_fiber)->error, ERR_NET_REFUSED);
	world_close(&world);
}

TEST(a_connection_that_is_to_be_cut_is_cut)
{
	struct world *world = world_open(1);

	world->imap.end_count = 1;
	world->imap.end_after = 20;
	world->imap.end_how = NET_RESETS;
	CHECK_EQ(run(world, talk_fiber)->error, ERR_NET_RESET);
	world_close(&world);
}

static enum err talk_twice_fiber(void *argument)
{
	struct io_receiver *receiver = NULL;
	struct ring_bytes bytes;
	nsec until = clock_after(NSEC_SECOND);
	int fd = -1;
	enum err e;

	(void)argument;
	if ((e = connect_to(WORLD_PORT, &fd)) || (e = io_receiver_open(fd, &receiver)))
		goto out;
	while ((e = io_receive(receiver, until, &bytes)) == OK && bytes.length)
		io_release(receiver, &bytes);
	if (e != ERR_NET_TIMEOUT) {
		e = RAISE(ERR_DISK_IO, "the server was heard to its end");
		goto out;
	}
	err_note_clear();
	e = io_send(fd, conversation, sizeof conversation - 1, soon());
out:
	io_receiver_close(&receiver);
	io_close(&fd);
	return e;
}

TEST(a_stalled_connection_neither_takes_nor_gives)
{
	struct world *world = world_open(1);

	world->imap.end_count = 1;
	world->imap.end_after = 20;
	world->imap.end_how = NET_STALLS;
	CHECK_EQ(run(world, talk_twice_fiber)->error, ERR_NET_TIMEOUT);
	CHECK_EQ(world->result->open_files, 0);
	world_close(&world);
}

/* ---- time ---- */

static enum err sleep_fiber(void *argument)
{
	nsec before = clock_now(), slept;
	enum err e = fiber_sleep(clock_after(86400 * NSEC_SECOND));

	(void)argument;
	slept = clock_now() - before;
	if (!e && (slept < 86400 * NSEC_SECOND || slept > 86401 * NSEC_SECOND))
		e = RAISE(ERR_FIBER_TIMEOUT, "slept %lld ns", (long long)slept);
	return e;
}

/* Sets it back by a day in the middle of a second. */
static enum err jump_fiber(void *argument)
{
	nsec before = clock_now(), wall = clock_wall(), slept, wall_slept;
	int fd = -1;
	enum err e;

	(void)argument;
	if ((e = fiber_sleep(clock_after(NSEC_SECOND))) ||
	    (e = io_open("/mail", O_RDONLY | O_DIRECTORY, 0, soon(), &fd)))
		return e;
	io_close(&fd);
	slept = clock_now() - before;
	wall_slept = clock_wall() - wall;
	if (slept < NSEC_SECOND || wall_slept > 2 * NSEC_SECOND - 86400 * NSEC_SECOND)
		e = RAISE(ERR_FIBER_TIMEOUT, "slept %lld ns, by the wall clock %lld ns",
			  (long long)slept, (long long)wall_slept);
	return e;
}

TEST(the_wall_clock_is_set_back_and_the_other_one_is_not_and_it_stays_set)
{
	struct world *world = world_open(1);

	world->faults.wall_jumps_at = 1;
	world->faults.wall_jump_s = -86400;
	check_finished(world, run(world, jump_fiber));
	CHECK_EQ(world->wall_s, -86400);
	world_close(&world);
}

TEST(a_day_passes_in_no_time)
{
	struct world *world = world_open(1);

	check_finished(world, run(world, sleep_fiber));
	world_close(&world);
}

static enum err silent_fiber(void *argument)
{
	struct io_receiver *receiver = NULL;
	struct ring_bytes bytes;
	nsec until;
	int fd = -1;
	enum err e;

	(void)argument;
	if ((e = connect_to(WORLD_PORT, &fd)) || (e = io_receiver_open(fd, &receiver)))
		goto out;
	until = soon();
	while ((e = io_receive(receiver, until, &bytes)) == OK && bytes.length)
		io_release(receiver, &bytes);
	if (e == ERR_NET_TIMEOUT && clock_now() < until)
		e = RAISE(ERR_DISK_IO, "the deadline came early");
out:
	io_receiver_close(&receiver);
	io_close(&fd);
	return e;
}

TEST(waiting_for_a_silent_server_ends_at_the_deadline)
{
	struct world *world = world_open(1);

	CHECK_EQ(run(world, silent_fiber)->error, ERR_NET_TIMEOUT);
	CHECK_EQ(world->result->open_files, 0);
	world_close(&world);
}

static enum err deadlock_fiber(void *argument)
{
	struct wait_queue nobody = { 0 };

	(void)argument;
	return wait_on(&nobody, INT64_MAX);
}

TEST(a_deadlock_is_told_and_not_waited_for)
{
	struct world *world = world_open(1);

	CHECK_EQ(run(world, deadlock_fiber)->end, WORLD_STUCK);
	CHECK(strstr(world->result->note, "deadlock") != NULL);
	world_close(&world);
}

static enum err broken_promise_fiber(void *argument)
{
	must(argument == NULL);
	return OK;
}

TEST(a_broken_promise_ends_the_process_and_is_told)
{
	struct world *world = world_open(1);

	printf("  (the broken promise below is wanted)\n");
	CHECK_EQ(run(world, broken_promise_fiber)->end, WORLD_CRASHED);
	world_close(&world);
}

/* ---- jobs ---- */

static enum err count_job(void *argument)
{
	++*(int *)argument;
	return *(int *)argument > 1 ? RAISE(ERR_INPUT_FILE, "counted to %d", *(int *)argument) : OK;
}

static enum err jobs_fiber(void *argument)
{
	int count = 0;
	struct offload_job job = { .name = "count",
				   .run = count_job,
				   .argument = &count,
				   .argument_bytes = sizeof count };
	enum err e = offload_run(&job, soon());

	(void)argument;
	if (e || count != 1)
		return RAISE(ERR_DISK_IO, "the first job");
	e = offload_run(&job, clock_now()); /* does not end in time, and changes nothing here */
	if (e != ERR_FIBER_TIMEOUT || count != 1)
		return RAISE(ERR_DISK_IO, "the late job");
	err_note_clear();
	return offload_run(&job, soon());
}

TEST(a_job_runs_on_its_own_copy_and_its_error_is_carried_over)
{
	struct world *world = world_open(1);

	CHECK_EQ(run(world, jobs_fiber)->error, ERR_INPUT_FILE);
	CHECK_TEXT(world->result->note, "counted to 2");
	world_close(&world);
}

/* ---- seeds and cuts ---- */

TEST(a_seed_repeats_a_run_to_the_step_and_another_seed_does_not)
{
	uint64_t steps[3], prints[3];
	static const uint64_t seeds[] = { 5, 5, 6 };

	for (unsigned i = 0; i < 3; i++) {
		struct world *world = world_open(seeds[i]);

		check_finished(world, run(world, files_fiber));
		steps[i] = world->result->steps;
		world_cut_at(world, 15);
		CHECK_EQ(run(world, files_fiber)->end, WORLD_FINISHED); /* -EEXIST long before */
		prints[i] = disk_fingerprint(world->disk, "/");
		world_close(&world);
	}
	CHECK_EQ(steps[0], steps[1]);
	CHECK_EQ(prints[0], prints[1]);
	CHECK(steps[0] != steps[2]);
}

TEST(a_cut_ends_the_process_before_that_step)
{
	struct world *world = world_open(3);

	for (uint64_t k = 1; k < 8; k++) {
		struct world_mark mark = world_mark(world);

		world_cut_at(world, k);
		CHECK_EQ(run(world, files_fiber)->end, WORLD_CUT);
		CHECK_EQ(world->result->steps, k);
		world_back(world, &mark);
		world_mark_free(&mark);
	}
	world_close(&world);
}

/* ---- SQLite ---- */

static bool execute(sqlite3 *db, const char *sql)
{
	return sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK;
}

static int64_t number(sqlite3 *db, const char *sql)
{
	sqlite3_stmt *statement = NULL;
	int64_t result = -1;

	if (sqlite3_prepare_v2(db, sql, -1, &statement, NULL) == SQLITE_OK &&
	    sqlite3_step(statement) == SQLITE_ROW)
		result = sqlite3_column_int64(statement, 0);
	sqlite3_finalize(statement);
	return result;
}

/* Commits row after row and says after each that it is durable. */
static enum err commit_body(struct world *world, void *argument)
{
	sqlite3 *db = NULL;
	bool good = sqlite3_open("/mail/rows.db", &db) == SQLITE_OK &&
		    execute(db, "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
				"PRAGMA wal_autocheckpoint = 4;"
				"CREATE TABLE IF NOT EXISTS row(no INTEGER PRIMARY KEY, text)");

	(void)argument;
	for (unsigned i = 0; good && i < 12; i++) {
		good = execute(db, "INSERT INTO row(text) VALUES(hex(randomblob(700)))");
		world->result->progress.messages_moved += good;
	}
	good = sqlite3_close(db) == SQLITE_OK && good;
	return good ? OK : RAISE(ERR_DISK_IO, "SQLite failed");
}

static enum err count_body(struct world *world, void *argument)
{
	sqlite3 *db = NULL;
	bool good = sqlite3_open("/mail/rows.db", &db) == SQLITE_OK;
	int64_t rows = number(db, "SELECT count(*) FROM sqlite_schema WHERE name = 'row'");

	if (rows > 0)
		rows = number(db, "SELECT count(*) FROM row");
	if (!good || rows < *(int64_t *)argument || rows > *(int64_t *)argument + 1)
		RAISE(ERR_DISK_IO, "%lld rows of %lld", (long long)rows, *(long long *)argument);
	else if (number(db, "SELECT integrity_check = 'ok' FROM pragma_integrity_check") != 1)
		RAISE(ERR_DISK_IO, "the database is damaged");
	sqlite3_close(db);
	(void)world;
	return err_note()->error;
}

TEST(sqlite_loses_no_committed_row_at_any_cut)
{
	struct world *world = world_open(world_seed(11));
	struct world_mark start = world_mark(world);
	uint64_t k = 0;
	int64_t rows;

	do {
		world_back(world, &start);
		world_cut_at(world, ++k);
		if (world_process(world, commit_body, NULL)->end == WORLD_FINISHED)
			break;
		REQUIRE(world->result->end == WORLD_CUT);
		rows = (int64_t)world->result->progress.messages_moved;
		if (!CHECK_OK(world_process(world, count_body, &rows)->error))
			world_show(world, "counting");
	} while (k < 10000);
	CHECK_OK(world->result->error);
	CHECK(k > 50 && k < 10000);
	world_mark_free(&start);
	world_close(&world);
}
