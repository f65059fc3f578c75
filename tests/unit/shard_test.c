/* A worker from open to close, and the request to stop. */
#include "engine/shard.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include "engine/chunk.h"
#include "engine/clock.h"
#include "engine/io.h"
#include "tests/test.h"
#include "tests/unit/loopback.h"

static nsec later(void)
{
	return clock_after(20 * NSEC_SECOND);
}

static const struct shard_config small = { .arena_chunks = 16 };

static enum err look_around(void *argument)
{
	bool *seen = argument;

	*seen = scheduler_ring() != NULL && arena_current() != NULL && fiber_self() != NULL &&
		arena_counts(arena_current()).chunks == small.arena_chunks;
	return ERR_IMAP_BYE;
}

TEST(main_has_all_it_needs_and_its_result_is_the_shards)
{
	bool seen = false;

	CHECK_ERR(shard_run(&small, look_around, &seen), ERR_IMAP_BYE);
	CHECK(seen);
	CHECK(scheduler_ring() == NULL);
	CHECK(arena_current() == NULL);
}

static enum err leave_a_mess(void *argument)
{
	struct io_receiver *receiver;
	int *ends = argument, fd;
	enum err e;

	if ((e = io_receiver_open(ends[0], &receiver)) || (e = fiber_yield()))
		return e;
	(void)pattern_send(ends[1], 100 * 1000, 1, 0);
	io_receiver_close(&receiver);
	if ((e = io_open("/", O_RDONLY, 0, later(), &fd)))
		return e;
	io_close(&fd);
	io_close(&ends[0]);
	io_close(&ends[1]);
	return OK;
}

TEST(what_fibers_left_to_the_kernel_is_drained_before_the_end)
{
	for (int round = 0; round < 20; round++) {
		int ends[2], kept;

		loopback_pair(ends);
		kept = ends[0];
		CHECK_OK(shard_run(&small, leave_a_mess, ends));
		CHECK_EQ(fcntl(kept, F_GETFD), -1); /* it was really closed */
	}
}

static void ask_to_drain(int signal_no)
{
	(void)signal_no;
	shard_request(SHARD_DRAIN);
}

static void *raise_elsewhere(void *unused)
{
	sigset_t wanted;

	(void)unused;
	sigemptyset(&wanted);
	sigaddset(&wanted, SIGUSR1);
	pthread_sigmask(SIG_UNBLOCK, &wanted, NULL);
	raise(SIGUSR1); /* runs the handler on this thread, which has no ring */
	return NULL;
}

/* The turn's thread has the signal blocked: only the wake can end the turn, not EINTR. */
static enum err wait_for_request(void *argument)
{
	nsec until = later();
	pthread_t thread;

	(void)argument;
	CHECK_EQ(pthread_create(&thread, NULL, raise_elsewhere, NULL), 0);
	while (shard_requested() == SHARD_RUN && clock_now() < until)
		ring_turn(scheduler_ring(), until);
	CHECK(clock_now() < until);
	pthread_join(thread, NULL);
	return OK;
}

TEST(a_request_from_a_signal_handler_wakes_a_waiting_shard)
{
	struct sigaction action = { .sa_handler = ask_to_drain }, before;
	sigset_t blocked, mask_before;

	sigemptyset(&blocked);
	sigaddset(&blocked, SIGUSR1);
	REQUIRE(sigaction(SIGUSR1, &action, &before) == 0);
	REQUIRE(pthread_sigmask(SIG_BLOCK, &blocked, &mask_before) == 0);
	for (int round = 0; round < 20; round++) {
		CHECK_EQ(shard_requested(), SHARD_RUN);
		CHECK_OK(shard_run(&small, wait_for_request, NULL));
		CHECK_EQ(shard_requested(), SHARD_DRAIN);
		shard_request(SHARD_RUN); /* without any shard: remembered only */
	}
	pthread_sigmask(SIG_SETMASK, &mask_before, NULL);
	sigaction(SIGUSR1, &before, NULL);
}

static enum err until_drained(void *argument)
{
	nsec until = later();
	enum err e = OK;

	*(bool *)argument = true;
	while (shard_requested() == SHARD_RUN && clock_now() < until && e == OK)
		e = fiber_sleep(clock_after(NSEC_MILLISECOND));
	return e;
}

static void *run_until_drained(void *seen)
{
	CHECK_OK(shard_run(&small, until_drained, seen));
	return NULL;
}

TEST(one_request_reaches_every_shard_while_they_come_and_go)
{
	enum { SHARDS = 3 };
	pthread_t threads[SHARDS];
	bool seen[SHARDS] = { false };

	for (int i = 0; i < SHARDS; i++)
		REQUIRE(pthread_create(&threads[i], NULL, run_until_drained, &seen[i]) == 0);
	for (int i = 0; i < 1000; i++)
		shard_request(SHARD_RUN); /* wakes, changes nothing */
	shard_request(SHARD_DRAIN);
	for (int i = 0; i < SHARDS; i++) {
		pthread_join(threads[i], NULL);
		CHECK(seen[i]);
	}
	shard_request(SHARD_RUN);
}
