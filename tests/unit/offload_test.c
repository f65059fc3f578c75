/* Jobs on other threads: results, notes, giving up; nothing is lost or leaked on any way out. */
#include "engine/offload.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "engine/clock.h"
#include "engine/fiber.h"
#include "engine/limits.h"
#include "engine/shard.h"
#include "tests/test.h"

static nsec later(void)
{
	return clock_after(20 * NSEC_SECOND);
}

struct sum {
	int left, right, total;
	bool elsewhere, signals_blocked;
	pthread_t asker;
};

static enum err add(void *argument)
{
	struct sum *sum = argument;
	sigset_t blocked;

	sum->total = sum->left + sum->right;
	sum->elsewhere = !pthread_equal(pthread_self(), sum->asker);
	pthread_sigmask(SIG_SETMASK, NULL, &blocked);
	sum->signals_blocked = sigismember(&blocked, SIGINT) && sigismember(&blocked, SIGTERM);
	return OK;
}

TEST_FIBER(a_job_runs_elsewhere_and_its_argument_comes_back)
{
	struct sum sum = { .left = 40, .right = 2, .asker = pthread_self() };

	CHECK_OK(offload_run(
		&(struct offload_job){
			.name = "add", .run = add, .argument = &sum, .argument_bytes = sizeof sum },
		later()));
	CHECK_EQ(sum.total, 42);
	CHECK(sum.elsewhere);
	CHECK(sum.signals_blocked);
}

static enum err fail(void *argument)
{
	(void)argument;
	return RAISE_ERRNO(ERR_NET_NAME, ENOENT, "looking up %s", "mail.example.com");
}

TEST_FIBER(the_error_of_a_job_arrives_with_its_note)
{
	struct offload_job job = { .name = "fail", .run = fail };

	CHECK_ERR(offload_run(&job, later()), ERR_NET_NAME);
	CHECK_EQ(err_note()->error, ERR_NET_NAME);
	CHECK_EQ(err_note()->errno_value, ENOENT);
	CHECK(strstr(err_note()->text, "looking up mail.example.com"));
	CHECK(strstr(err_note()->file, "offload_test.c"));
	err_note_clear();
	(void)RAISE(ERR_IMAP_BYE, "the cause");
	CHECK_ERR(offload_run(&job, later()), ERR_NET_NAME);
	CHECK_EQ(err_note()->error, ERR_IMAP_BYE); /* an earlier cause stays */
	err_note_clear();
}

/* A job that waits at a gate, takes memory, and whose result may be dropped. */
struct gated {
	atomic_int *gate, *begun, *dropped;
	char *memory;
};

static enum err pass_gate(void *argument)
{
	struct gated *gated = argument;

	atomic_fetch_add(gated->begun, 1);
	while (!atomic_load(gated->gate))
		usleep(500);
	gated->memory = strdup("what a job found");
	return OK;
}

static void drop_memory(void *argument)
{
	struct gated *gated = argument;

	if (gated->memory) /* else it never began */
		atomic_fetch_add(gated->dropped, 1);
	free(gated->memory);
}

static bool becomes(atomic_int *counter, int value)
{
	nsec until = later();

	while (atomic_load(counter) != value && clock_now() < until)
		if (fiber_sleep(clock_after(NSEC_MILLISECOND)))
			break;
	return atomic_load(counter) == value;
}

static struct offload_job gated_job(struct gated *gated)
{
	return (struct offload_job){ .name = "gated",
				     .run = pass_gate,
				     .drop = drop_memory,
				     .argument = gated,
				     .argument_bytes = sizeof *gated };
}

TEST_FIBER(a_waiter_past_its_deadline_leaves_a_result_that_is_dropped)
{
	static atomic_int gate, begun, dropped;
	struct gated gated = { &gate, &begun, &dropped, NULL };
	struct offload_job job = gated_job(&gated);
	enum err e;

	do /* until the deadline found it running, not still queued */
		e = offload_run(&job, clock_after(20 * NSEC_MILLISECOND));
	while (e == ERR_FIBER_TIMEOUT && atomic_load(&begun) == 0);
	CHECK_EQ(e, ERR_FIBER_TIMEOUT);
	CHECK(gated.memory == NULL); /* our copy was not written to */
	CHECK_EQ(atomic_load(&dropped), 0);
	atomic_store(&gate, 1);
	CHECK(becomes(&dropped, atomic_load(&begun)));
	CHECK(gated.memory == NULL);
}

TEST_FIBER(a_job_that_never_began_is_taken_back_from_the_queue)
{
	static atomic_int gate, begun, dropped;
	struct gated gated = { &gate, &begun, &dropped, NULL };
	struct offload_job job = gated_job(&gated);
	struct sum sum = { .left = 1, .asker = pthread_self() };
	struct offload_job add_job = {
		.name = "add", .run = add, .argument = &sum, .argument_bytes = sizeof sum
	};

	while (atomic_load(&begun) < OFFLOAD_THREADS) /* until every thread is busy */
		CHECK_ERR(offload_run(&job, clock_after(10 * NSEC_MILLISECOND)), ERR_FIBER_TIMEOUT);
	CHECK_ERR(offload_run(&add_job, clock_after(5 * NSEC_MILLISECOND)), ERR_FIBER_TIMEOUT);
	atomic_store(&gate, 1);
	CHECK(becomes(&dropped, OFFLOAD_THREADS));
	CHECK_EQ(sum.total, 0);
	CHECK_OK(offload_run(&add_job, later())); /* and the threads go on */
	CHECK_EQ(sum.total, 1);
}

static enum err wait_for_gate(void *argument)
{
	struct gated *gated = argument;
	struct offload_job job = gated_job(gated);

	return offload_run(&job, later());
}

TEST_FIBER(a_canceled_waiter_returns_at_once)
{
	static atomic_int gate, begun, dropped;
	struct gated gated = { &gate, &begun, &dropped, NULL };
	struct group *group = group_open();

	REQUIRE(CHECK_OK(group_spawn(group, "wait", FIBER_STACK_SMALL, wait_for_gate, &gated)));
	REQUIRE(becomes(&begun, 1));
	group_cancel(group);
	(void)!group_join(&group); /* would hang here if it waited for the gate */
	atomic_store(&gate, 1);
	CHECK(becomes(&dropped, 1));
}

TEST_FIBER(a_started_job_runs_beside_its_starter_and_is_collected_later)
{
	static atomic_int gate, begun, dropped;
	struct gated gated = { &gate, &begun, &dropped, NULL }, out = { 0 };
	struct offload_job job = gated_job(&gated);
	struct offload_act *act;

	REQUIRE(CHECK_OK(offload_start(&job, &act)));
	gated.gate = NULL; /* the job has a copy of its own */
	CHECK(becomes(&begun, 1));
	atomic_store(&gate, 1);
	CHECK_OK(offload_wait(&act, &out, later()));
	CHECK(act == NULL);
	CHECK_TEXT(out.memory, "what a job found");
	CHECK(gated.memory == NULL);
	CHECK_EQ(atomic_load(&dropped), 0);
	free(out.memory);
}

TEST_FIBER(a_job_that_ended_before_it_is_waited_for_hands_over_its_error)
{
	struct offload_act *first, *second;
	struct offload_job job = { .name = "fail", .run = fail };

	REQUIRE(CHECK_OK(offload_start(&job, &first)));
	REQUIRE(CHECK_OK(offload_start(&job, &second)));
	CHECK_ERR(offload_wait(&second, NULL, later()), ERR_NET_NAME);
	err_note_clear();
	CHECK_OK(fiber_sleep(clock_after(5 * NSEC_MILLISECOND)));
	CHECK_ERR(offload_wait(&first, NULL, later()), ERR_NET_NAME);
	CHECK(strstr(err_note()->text, "looking up mail.example.com"));
	err_note_clear();
}

TEST_FIBER(an_abandoned_job_goes_on_alone_and_is_dropped_at_its_end)
{
	static atomic_int gate, begun, dropped;
	struct gated gated = { &gate, &begun, &dropped, NULL };
	struct offload_job job = gated_job(&gated);
	struct offload_act *act;

	REQUIRE(CHECK_OK(offload_start(&job, &act)));
	CHECK(becomes(&begun, 1));
	offload_abandon(&act); /* the gate is shut: would hang here if it waited */
	CHECK(act == NULL);
	offload_abandon(&act);
	CHECK_EQ(atomic_load(&dropped), 0);
	atomic_store(&gate, 1);
	CHECK(becomes(&dropped, 1));
}

/* Counts what it is given up with, begun or not. */
static void count_drop(void *argument)
{
	atomic_fetch_add(*(atomic_int **)argument, 1);
}

static enum err do_nothing(void *argument)
{
	(void)argument;
	return OK;
}

TEST_FIBER(every_abandoned_job_is_dropped_once_at_whatever_stage_it_is)
{
	enum { JOBS = 300 };
	static atomic_int count;
	atomic_int *counter = &count;
	const struct offload_job job = { .name = "nothing",
					 .run = do_nothing,
					 .drop = count_drop,
					 .argument = &counter,
					 .argument_bytes = sizeof counter };
	struct offload_act *acts[JOBS];

	for (int i = 0; i < JOBS; i++) {
		REQUIRE(CHECK_OK(offload_start(&job, &acts[i])));
		if (i % 3 == 0) /* queued or running, or just over */
			offload_abandon(&acts[i]);
	}
	CHECK_OK(fiber_sleep(clock_after(NSEC_MILLISECOND)));
	for (int i = 0; i < JOBS; i++) /* ended, collected or not, or still queued */
		offload_abandon(&acts[i]);
	CHECK(becomes(&count, JOBS));
	offload_shutdown(later());
	CHECK_EQ(atomic_load(&count), JOBS);
}

struct worker {
	unsigned jobs;
	long total;
};

static enum err many_sums(void *argument)
{
	struct worker *worker = argument;

	for (unsigned i = 0; i < worker->jobs; i++) {
		struct sum sum = { .left = (int)i, .right = 1, .asker = pthread_self() };
		struct offload_job job = {
			.name = "add", .run = add, .argument = &sum, .argument_bytes = sizeof sum
		};
		enum err e = offload_run(&job, later());

		if (e)
			return e;
		worker->total += sum.total;
	}
	return OK;
}

TEST_FIBER(many_fibers_have_many_jobs_done_and_none_is_mixed_up)
{
	enum { FIBERS = 20, JOBS = 100 };
	struct worker workers[FIBERS];
	struct group *group = group_open();

	for (int i = 0; i < FIBERS; i++) {
		workers[i] = (struct worker){ .jobs = JOBS };
		REQUIRE(CHECK_OK(
			group_spawn(group, "sums", FIBER_STACK_SMALL, many_sums, &workers[i])));
	}
	CHECK_OK(group_join(&group));
	for (int i = 0; i < FIBERS; i++)
		CHECK_EQ(workers[i].total, JOBS * (JOBS - 1) / 2 + JOBS);
}

static void *run_shard(void *worker)
{
	static const struct shard_config small = { .arena_chunks = 16 };
	enum err e = shard_run(&small, many_sums, worker);

	CHECK_EQ(e, OK);
	return NULL;
}

TEST(several_workers_share_the_threads)
{
	enum { WORKERS = 3, JOBS = 200 };
	struct worker workers[WORKERS];
	pthread_t threads[WORKERS];

	for (int i = 0; i < WORKERS; i++) {
		workers[i] = (struct worker){ .jobs = JOBS };
		REQUIRE(pthread_create(&threads[i], NULL, run_shard, &workers[i]) == 0);
	}
	for (int i = 0; i < WORKERS; i++) {
		pthread_join(threads[i], NULL);
		CHECK_EQ(workers[i].total, JOBS * (JOBS - 1) / 2 + JOBS);
	}
}

TEST_FIBER(after_a_shutdown_new_jobs_start_new_threads)
{
	struct sum sum = { .left = 1, .right = 1, .asker = pthread_self() };
	struct offload_job job = {
		.name = "add", .run = add, .argument = &sum, .argument_bytes = sizeof sum
	};

	offload_shutdown(later());
	CHECK_OK(offload_run(&job, later()));
	offload_shutdown(later());
	offload_shutdown(later());
	CHECK_OK(offload_run(&job, later()));
	CHECK_EQ(sum.total, 2);
}

TEST_FIBER(a_shutdown_does_not_wait_longer_than_asked_for)
{
	static atomic_int gate, begun, dropped;
	struct gated gated = { &gate, &begun, &dropped, NULL };
	struct offload_job job = gated_job(&gated);

	while (atomic_load(&begun) == 0)
		CHECK_ERR(offload_run(&job, clock_after(20 * NSEC_MILLISECOND)), ERR_FIBER_TIMEOUT);
	offload_shutdown(
		clock_after(20 * NSEC_MILLISECOND)); /* the gate is shut: would hang here */
	atomic_store(&gate, 1);
	CHECK(becomes(&dropped, atomic_load(&begun)));
	offload_shutdown(later());
}

TEST_FIBER(more_jobs_run_at_once_when_the_limit_is_raised)
{
	enum { JOBS = OFFLOAD_THREADS + 3 };
	static atomic_int gate, begun, dropped;
	struct gated gated = { &gate, &begun, &dropped, NULL };
	struct offload_job job = gated_job(&gated);
	struct offload_act *acts[JOBS];

	offload_shutdown(later());
	offload_limit(JOBS);
	for (int i = 0; i < JOBS; i++)
		REQUIRE(CHECK_OK(offload_start(&job, &acts[i])));
	CHECK(becomes(&begun, JOBS)); /* all of them, while the gate is shut */
	atomic_store(&gate, 1);
	for (int i = 0; i < JOBS; i++)
		offload_abandon(&acts[i]);
	CHECK(becomes(&dropped, JOBS));
	offload_shutdown(later());
	offload_limit(OFFLOAD_THREADS);
}
