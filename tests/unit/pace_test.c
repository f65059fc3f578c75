#include "engine/pace.h"

#include <pthread.h>

#include "engine/clock.h"
#include "tests/test.h"

static struct pace *opened(uint64_t rate, nsec now)
{
	struct pace *pace;

	CHECK_OK(pace_open(&pace));
	pace_set(pace, rate, now);
	return pace;
}

TEST(unbounded_costs_nothing)
{
	struct pace *pace;

	CHECK_OK(pace_open(&pace));
	for (int i = 0; i < 1000; i++)
		CHECK_EQ(pace_take(pace, UINT64_MAX, 7 * NSEC_SECOND), 7 * NSEC_SECOND);
	/* And leaves no debt behind. */
	pace_set(pace, 1000, 7 * NSEC_SECOND);
	CHECK_EQ(pace_take(pace, 0, 7 * NSEC_SECOND), 7 * NSEC_SECOND);
	pace_close(&pace);
	CHECK(pace == NULL);
	pace_close(&pace);
}

/* One who always wants more and sleeps as told, until all is paid: the time it took. */
static nsec time_for(uint64_t rate, uint64_t piece, uint64_t pieces)
{
	nsec begin = 5 * NSEC_SECOND, now = begin;
	struct pace *pace = opened(rate, begin);

	for (uint64_t i = 0; i < pieces; i++) {
		nsec until = pace_take(pace, piece, now);

		if (until > now)
			now = until;
	}
	pace_close(&pace);
	return now - begin;
}

TEST(the_rate_is_exact_in_the_long_run)
{
	CHECK_EQ(time_for(1000000, 1000, 100000), 100 * NSEC_SECOND);
	/* Pieces that take no whole number of nanoseconds, nor a whole nanosecond. */
	CHECK_EQ(time_for(3, 1, 300), 100 * NSEC_SECOND);
	CHECK_EQ(time_for(7000000, 13, 7000000), 13 * NSEC_SECOND);
	CHECK_EQ(time_for(3000000000, 1, 3000000), NSEC_MILLISECOND);
	/* Messages larger than what a second grants. */
	CHECK_EQ(time_for(1000000, 25000000, 4), 100 * NSEC_SECOND);
}

TEST(many_workers_share_one_rate)
{
	struct pace *pace = opened(1000000, 0);
	nsec wakes[5] = { 0 }, now = 0;
	uint64_t taken = 0;

	/* Whoever wakes first takes next. */
	while (now < 60 * NSEC_SECOND) {
		size_t first = 0;

		for (size_t i = 1; i < ARRAY_COUNT(wakes); i++)
			if (wakes[i] < wakes[first])
				first = i;
		now = wakes[first];
		wakes[first] = pace_take(pace, 50000 * (first + 1), now);
		taken += 50000 * (first + 1);
	}
	/* What was taken last is not paid yet. */
	CHECK(taken >= 60 * 1000000 && taken <= 60 * 1000000 + 5 * 250000);
	pace_close(&pace);
}

TEST(a_piece_is_taken_at_once_and_paid_afterwards)
{
	struct pace *pace = opened(1000, NSEC_SECOND);

	CHECK_EQ(pace_take(pace, 3000, NSEC_SECOND), 4 * NSEC_SECOND);
	CHECK_EQ(pace_take(pace, 1000, 2 * NSEC_SECOND), 5 * NSEC_SECOND);
	CHECK_EQ(pace_take(pace, 0, 4 * NSEC_SECOND), 5 * NSEC_SECOND);
	CHECK_EQ(pace_take(pace, 0, 6 * NSEC_SECOND), 6 * NSEC_SECOND);
	pace_close(&pace);
}

TEST(after_a_pause_a_tenth_of_a_second_is_given_and_no_more)
{
	struct pace *pace = opened(1000000, 0);
	nsec now = 3600 * NSEC_SECOND;

	CHECK_EQ(pace_take(pace, 100000, now), now);
	CHECK_EQ(pace_take(pace, 1000, now), now + NSEC_MILLISECOND);
	/* A sleeper who wakes 50 ms too late loses nothing. */
	now += 51 * NSEC_MILLISECOND;
	CHECK_EQ(pace_take(pace, 100000, now), now + 50 * NSEC_MILLISECOND);
	pace_close(&pace);
}

TEST(a_new_rate_holds_at_once_for_what_is_owed_too)
{
	struct pace *pace = opened(1000, 0);

	CHECK_EQ(pace_take(pace, 100000, 0), 100 * NSEC_SECOND);
	pace_set(pace, 1000000, 10 * NSEC_SECOND); /* 90,000 bytes are owed */
	CHECK_EQ(pace_take(pace, 0, 10 * NSEC_SECOND), 10 * NSEC_SECOND + 90 * NSEC_MILLISECOND);
	pace_set(pace, 9000, 10 * NSEC_SECOND);
	CHECK_EQ(pace_take(pace, 0, 10 * NSEC_SECOND), 20 * NSEC_SECOND);
	pace_set(pace, 0, 11 * NSEC_SECOND);
	CHECK_EQ(pace_take(pace, 1000000, 11 * NSEC_SECOND), 11 * NSEC_SECOND);
	pace_set(pace, 1000, 12 * NSEC_SECOND);
	CHECK_EQ(pace_take(pace, 1000, 12 * NSEC_SECOND), 13 * NSEC_SECOND);
	pace_close(&pace);
}

TEST(the_same_rate_again_changes_nothing)
{
	struct pace *pace = opened(1000, 0);

	CHECK_EQ(pace_take(pace, 5000, 0), 5 * NSEC_SECOND);
	for (nsec now = 0; now < 3 * NSEC_SECOND; now += 333333333)
		pace_set(pace, 1000, now);
	CHECK_EQ(pace_take(pace, 0, 3 * NSEC_SECOND), 5 * NSEC_SECOND);
	pace_close(&pace);
}

TEST(no_number_is_too_large)
{
	struct pace *pace = opened(1, 0);

	CHECK_EQ(pace_take(pace, UINT64_MAX, 0), DEADLINE_NEVER);
	CHECK_EQ(pace_take(pace, UINT64_MAX, NSEC_SECOND), DEADLINE_NEVER);
	pace_set(pace, UINT64_MAX, NSEC_SECOND);
	CHECK_EQ(pace_take(pace, 0, NSEC_SECOND), 2 * NSEC_SECOND);
	CHECK_EQ(pace_take(pace, 0, DEADLINE_NEVER), DEADLINE_NEVER);
	pace_close(&pace);
	/* A clock read before the rate was set. */
	pace = opened(1000, NSEC_SECOND);
	CHECK_EQ(pace_take(pace, 1000, 0), 2 * NSEC_SECOND);
	pace_close(&pace);
}

enum { THREADS = 4, TAKES = 20000 };

static void *take_many(void *pace)
{
	for (int i = 0; i < TAKES; i++)
		(void)(pace_take(pace, 3, 0) == 0);
	return NULL;
}

TEST(nothing_is_lost_between_threads)
{
	struct pace *pace = opened(1000, 0);
	pthread_t threads[THREADS];

	for (int i = 0; i < THREADS; i++)
		REQUIRE(pthread_create(&threads[i], NULL, take_many, pace) == 0);
	for (int i = 0; i < THREADS; i++)
		CHECK_EQ(pthread_join(threads[i], NULL), 0);
	CHECK_EQ(pace_take(pace, 0, 0), (nsec)THREADS * TAKES * 3 * NSEC_MILLISECOND);
	pace_close(&pace);
}
