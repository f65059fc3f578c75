/* One ledger and several threads, each with a front of its own and fibers that share it: nothing is
 * lost, nothing is mixed up, and calls that share a transaction do not share their fate. */
#include "tests/unit/ledger_help.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "engine/fiber.h"
#include "tests/unit/ledger_child.h"

enum { THREADS = 4, FIBERS = 6, RANGES = 12, RANGE = 50 };
static const struct shard_config small = { .arena_chunks = 16 };

/* ---- many threads ---- */

/* One thread: joins, and moves a mailbox in each of its fibers. */
struct team {
	struct ledger *opened, *front;
	unsigned number, ranges;
	uint64_t *told; /* by member, shared with a parent; NULL: nobody is told */
	atomic_uint *ended;
	pthread_t thread;
};
struct member {
	struct team *team;
	unsigned number;
	uint64_t mailbox_no, seal_no, box_no, next_no;
};

/* A new mailbox, or that of a killed run. */
static enum err member_begin(struct member *member)
{
	struct box box = { .name = "INBOX", .epoch = 7 };
	struct ledger_mailbox mailbox;
	uint64_t epoch;
	char source[40];
	enum err e;

	snprintf(source, sizeof source, "imaps://%u@here/", member->number);
	if ((e = ledger_mailbox(member->team->front, source, "file:///there", "blake3", &mailbox)))
		return e;
	member->mailbox_no = mailbox.mailbox_no;
	member->seal_no = mailbox.next_seal_no;
	e = ledger_box(member->team->front, mailbox.mailbox_no, &box, &epoch, &member->next_no);
	member->box_no = box.box_no;
	return e;
}

static enum err move_range(struct member *member, uint64_t first)
{
	struct ledger *ledger = member->team->front;
	struct ledger_row row;
	enum err e = ledger_intend(ledger, member->box_no, first, first + RANGE - 1);

	for (uint64_t no = first; !e && no < first + RANGE; no++)
		e = ledger_settle(ledger, (row = moved(member->box_no, no), &row));
	if (!e)
		e = ledger_range_done(ledger, member->box_no, first, first + RANGE - 1);
	if (e || (e = ledger_seal(ledger, member->mailbox_no, member->seal_no, text_of("pack"))))
		return e;
	/* A seal is durable with all that was queued before it. */
	if (member->team->told)
		__atomic_store_n(&member->team->told[member->number], first + RANGE - 1,
				 __ATOMIC_RELEASE);
	return ledger_seal_done(ledger, member->mailbox_no, member->seal_no++);
}

static enum err member_main(void *argument)
{
	struct member *member = argument;
	uint64_t first;
	enum err e = member_begin(member);

	first = member->next_no;
	for (unsigned i = 0; !e && i < member->team->ranges; i++)
		e = move_range(member, first + i * (uint64_t)RANGE);
	return e ? e
		 : ledger_mailbox_end(member->team->front, member->mailbox_no, "done", OK, NULL, 1);
}

static enum err team_main(void *argument)
{
	struct team *team = argument;
	struct member members[FIBERS];
	struct group *group;
	enum err e = ledger_join(team->opened, &team->front), ended;

	if (e)
		return e;
	group = group_open();
	for (unsigned i = 0; !e && i < FIBERS; i++) {
		members[i] = (struct member){ .team = team, .number = team->number * FIBERS + i };
		e = group_spawn(group, "member", FIBER_STACK_SMALL, member_main, &members[i]);
	}
	ended = group_join(&group);
	e = e ? e : ended;
	if (!e)
		e = ledger_finish(team->front, soon());
	ledger_close(&team->front);
	return e;
}

static void *team_thread(void *argument)
{
	struct team *team = argument;
	enum err e = shard_run(&small, team_main, team);

	if (e)
		test_failed(__FILE__, __LINE__, "team %u: %s (%s)", team->number, err_name(e),
			    err_note()->text);
	atomic_fetch_add(team->ended, 1);
	return NULL;
}

/* Teams at work, and the opened front beating beside them, until the last one ended. */
static enum err run_teams(struct ledger *opened, unsigned ranges, uint64_t *told)
{
	static atomic_uint ended;
	struct team teams[THREADS];
	struct ledger_run run = { .started_wall_s = 1, .pid = 1 };
	enum err e = OK;

	atomic_store(&ended, 0);
	for (unsigned i = 0; i < THREADS; i++) {
		teams[i] = (struct team){ .opened = opened,
					  .number = i,
					  .ranges = ranges,
					  .told = told,
					  .ended = &ended };
		must(pthread_create(&teams[i].thread, NULL, team_thread, &teams[i]) == 0);
	}
	while (!e && atomic_load(&ended) < THREADS) {
		run.messages++;
		ledger_run_note(opened, &run);
		if ((e = ledger_commit(opened)) == OK)
			e = fiber_sleep(clock_after(NSEC_MILLISECOND));
	}
	for (unsigned i = 0; i < THREADS; i++)
		must(pthread_join(teams[i].thread, NULL) == 0);
	return e;
}

static enum err teams_for_ever(void *argument)
{
	struct child *child = argument;
	struct ledger *ledger;
	enum err e = ledger_open(child->directory, soon(), &ledger);

	return e ? e : run_teams(ledger, UINT32_MAX, child->values);
}

static uint64_t told_at_least(const struct child *child)
{
	uint64_t least = UINT64_MAX;

	for (unsigned i = 0; i < THREADS * FIBERS; i++)
		least = min_u64(least, __atomic_load_n(&child->values[i], __ATOMIC_ACQUIRE));
	return least;
}

/* Everything that member was told is durable: settled, in done ranges. */
static void check_told(unsigned member, uint64_t told)
{
	char sql[600];

	snprintf(
		sql, sizeof sql,
		"SELECT (SELECT count(*) FROM settled s WHERE s.box_no = box.box_no AND no <= %llu)"
		" = %llu AND (SELECT last FROM range r WHERE r.box_no = box.box_no AND first = 1"
		" AND state = 'done') >= %llu AND moved = (SELECT count(*) FROM settled s WHERE"
		" s.box_no = box.box_no) FROM box JOIN mailbox USING (mailbox_no)"
		" WHERE source = 'imaps://%u@here/'",
		(unsigned long long)told, (unsigned long long)told, (unsigned long long)told,
		member);
	CHECK_TEXT(ask_file(test_directory(), sql), "1");
}

/* Ranges that were only intended at the kill stay open, so each round has a ledger of its own. */
TEST(what_several_threads_were_told_is_durable_survives_kill_nine)
{
	for (unsigned round = 1; round <= 3; round++) {
		struct child *child = child_open(test_directory(), teams_for_ever);
		nsec until = clock_after(120 * NSEC_SECOND);
		char path[200];

		while (told_at_least(child) < round * 2 * RANGE && clock_now() < until)
			usleep(1000);
		CHECK(kill(child->pid, SIGKILL) == 0);
		CHECK_EQ(child_end(child), -1);
		CHECK_TEXT(ask_file(test_directory(), "PRAGMA integrity_check"), "ok");
		for (unsigned i = 0; i < THREADS * FIBERS; i++) {
			CHECK(child->values[i] >= round * 2 * RANGE);
			check_told(i, child->values[i]);
		}
		child_free(child);
		snprintf(path, sizeof path, "%s/ledger.db", test_directory());
		CHECK(unlink(path) == 0); /* its log went when the last reader closed it */
	}
}

TEST_FIBER(several_threads_on_one_ledger_sum_up)
{
	struct ledger *ledger;

	REQUIRE(CHECK_OK(ledger_open(test_directory(), soon(), &ledger)));
	CHECK_OK(run_teams(ledger, RANGES, NULL));
	CHECK_OK(ledger_finish(ledger, soon()));
	ledger_close(&ledger);
	CHECK_TEXT(ask_file(test_directory(), "PRAGMA integrity_check"), "ok");
	CHECK_TEXT(ask_file(test_directory(), "SELECT count(*) || ' ' || sum(moved) || ' ' ||"
					      " (SELECT count(*) FROM settled) FROM box"),
		   "24 14400 14400");
	CHECK_TEXT(ask_file(test_directory(), "SELECT group_concat(DISTINCT first || '-' || last ||"
					      " ' ' || state) FROM range"),
		   "1-600 done");
	CHECK_TEXT(ask_file(test_directory(), "SELECT group_concat(DISTINCT state || ' ' ||"
					      " next_seal_no) FROM mailbox"),
		   "done 13");
	CHECK_TEXT(ask_file(test_directory(), "SELECT count(*) FROM seal"), "0");
	CHECK_TEXT(ask_file(test_directory(), "SELECT count(*) FROM run"), "1");
}

/* ---- a front beside another, on one thread ---- */

TEST_FIBER(a_joined_front_leaves_the_ledger_open)
{
	struct ledger *joined, *second;
	struct ledger_row row;
	struct ledger_range gap;
	struct world w;

	REQUIRE(world_open(&w, test_directory()) == OK);
	REQUIRE(CHECK_OK(ledger_join(w.ledger, &joined)));
	REQUIRE(CHECK_OK(ledger_join(w.ledger, &second)));
	CHECK(memcmp(ledger_id(joined), ledger_id(w.ledger), LEDGER_ID_BYTES) == 0);
	CHECK_OK(ledger_intend(joined, w.box_no, 1, 10));
	CHECK_OK(ledger_settle(joined, (row = moved(w.box_no, 1), &row)));
	CHECK_OK(ledger_settle(second, (row = moved(w.box_no, 2), &row)));
	CHECK_EQ(ledger_queued(w.ledger), 0);
	CHECK_OK(ledger_finish(joined, soon()));
	CHECK_EQ(ledger_durable(joined), 1);
	ledger_close(&joined);
	ledger_close(&second); /* without finish: what it had queued is lost */
	ledger_close(&second);
	CHECK_OK(ledger_unsettled(w.ledger, w.box_no, 1, 10, &gap));
	CHECK_EQ(gap.first, 2);
	CHECK_OK(world_finish(&w));
}

TEST_FIBER(a_commit_that_failed_in_one_front_ends_them_all)
{
	struct ledger *joined;
	struct ledger_row row;
	char note[ERR_NOTE_BYTES_MAX];
	struct world w;

	REQUIRE(world_open(&w, test_directory()) == OK);
	REQUIRE(CHECK_OK(ledger_join(w.ledger, &joined)));
	CHECK_OK(ledger_intend(w.ledger, w.box_no, 1, 10));
	CHECK_OK(ledger_settle(w.ledger, (row = moved(w.box_no, 1), &row)));
	CHECK_OK(ledger_settle(joined, (row = moved(w.box_no, 11), &row))); /* never intended */
	CHECK_ERR(ledger_commit(joined), ERR_LEDGER_STATE);
	snprintf(note, sizeof note, "%s", err_note()->text);
	CHECK(strstr(note, "message 11"));
	err_note_clear();
	CHECK_ERR(ledger_commit(w.ledger), ERR_LEDGER_STATE);
	CHECK_TEXT(err_note()->text, note);
	CHECK_ERR(ledger_intend(w.ledger, w.box_no, 20, 29), ERR_LEDGER_STATE);
	CHECK_ERR(ledger_settle(w.ledger, (row = moved(w.box_no, 2), &row)), ERR_LEDGER_STATE);
	CHECK_ERR(ledger_intend(joined, w.box_no, 20, 29), ERR_LEDGER_STATE);
	CHECK_ERR(ledger_finish(joined, soon()), ERR_LEDGER_STATE);
	ledger_close(&joined);
	CHECK_ERR(world_finish(&w), ERR_LEDGER_STATE);
	err_note_clear();
	CHECK_TEXT(ask_file(test_directory(), "SELECT count(*) FROM settled"), "0");
}

/* ---- calls that share a transaction ---- */

/* Transactions in SQLite's log: each ends with a page whose header says how long the file is then
 * (https://www.sqlite.org/fileformat2.html, section 4.1). */
static unsigned commits_in_log(void)
{
	enum { HEAD = 32, FRAME = 24, PAGE = 4096 };
	uint8_t head[FRAME];
	char path[200];
	unsigned commits = 0;
	int fd;

	snprintf(path, sizeof path, "%s/ledger.db-wal", test_directory());
	fd = open(path, O_RDONLY);
	must(fd >= 0);
	for (off_t at = HEAD; pread(fd, head, sizeof head, at) == sizeof head; at += FRAME + PAGE)
		commits += head[4] || head[5] || head[6] || head[7];
	close(fd);
	return commits;
}

enum { CALLERS = 150 };
struct caller {
	struct world *world;
	uint64_t number;
	enum err result;
	char note[ERR_NOTE_BYTES_MAX];
};

/* Every third asks for what overlaps [1, 10]. */
static enum err call(void *argument)
{
	struct caller *caller = argument;
	uint64_t first = caller->number % 3 == 0 ? 5 : caller->number * 100;

	caller->result = ledger_intend(caller->world->ledger, caller->world->box_no, first,
				       first + (first == 5 ? caller->number : 9));
	snprintf(caller->note, sizeof caller->note, "%s", err_note()->text);
	err_note_clear();
	return OK;
}

static void start_callers(struct world *w, struct group *group, struct caller *callers)
{
	for (unsigned i = 0; i < CALLERS; i++) {
		callers[i] = (struct caller){ .world = w, .number = i + 1 };
		CHECK_OK(group_spawn(group, "caller", FIBER_STACK_SMALL, call, &callers[i]));
	}
}

static bool is_intended(uint64_t first)
{
	char sql[100];

	snprintf(sql, sizeof sql, "SELECT count(*) FROM range WHERE first = %llu",
		 (unsigned long long)first);
	return strcmp(ask_file(test_directory(), sql), "1") == 0;
}

TEST_FIBER(calls_share_a_transaction_and_each_has_its_own_result)
{
	static struct caller callers[CALLERS];
	struct group *group;
	unsigned before;
	char said[80];
	struct world w;

	REQUIRE(world_open(&w, test_directory()) == OK);
	CHECK_OK(ledger_intend(w.ledger, w.box_no, 1, 10));
	before = commits_in_log();
	group = group_open();
	start_callers(&w, group, callers);
	CHECK_OK(group_join(&group));
	CHECK(commits_in_log() - before <= 6); /* not 100 */
	for (unsigned i = 0; i < CALLERS; i++) {
		uint64_t number = i + 1;

		if (number % 3) {
			CHECK_EQ(callers[i].result, OK);
			CHECK(is_intended(number * 100));
			continue;
		}
		snprintf(said, sizeof said, "messages 5 to %llu of",
			 (unsigned long long)(5 + number));
		CHECK_EQ(callers[i].result, ERR_LEDGER_STATE);
		CHECK(strstr(callers[i].note, said));
	}
	CHECK_OK(world_finish(&w));
	CHECK_TEXT(ask_file(test_directory(), "SELECT count(*) FROM range"), "101");
}

TEST_FIBER(a_cancelled_call_was_done_or_was_not_begun)
{
	static struct caller callers[CALLERS];
	unsigned done = 0, canceled = 0;
	struct group *group;
	struct world w;

	REQUIRE(world_open(&w, test_directory()) == OK);
	CHECK_OK(ledger_intend(w.ledger, w.box_no, 1, 10));
	group = group_open();
	start_callers(&w, group, callers);
	CHECK_OK(fiber_yield()); /* the first call is under way, the others wait */
	group_cancel(group);
	(void)!group_join(&group);
	err_note_clear();
	for (unsigned i = 0; i < CALLERS; i++) {
		bool intended = is_intended((i + 1) * UINT64_C(100));

		done += callers[i].result == OK;
		canceled += callers[i].result == ERR_FIBER_CANCELED;
		if ((i + 1) % 3)
			CHECK_EQ(callers[i].result == OK, intended);
		else
			CHECK(callers[i].result && !intended);
	}
	CHECK(done > 0 && canceled > 0);
	CHECK_OK(ledger_intend(w.ledger, w.box_no, 100000, 100001)); /* and it goes on */
	CHECK_OK(world_finish(&w));
}
