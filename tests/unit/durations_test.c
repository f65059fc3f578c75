/* Durations by steps: none is told shorter than it was, nor longer by more than an eighth. */
#include "tools/durations.h"

#include "tests/test.h"

static struct durations durations;

static void begin(void)
{
	static const struct durations none;

	durations = none;
}

static nsec told_of(nsec duration)
{
	begin();
	durations_add(&durations, duration);
	return durations_of(&durations, 1000);
}

TEST(what_was_never_counted_took_no_time)
{
	begin();
	CHECK_EQ(durations_of(&durations, 500), 0);
}

TEST(a_duration_is_told_in_whole_microseconds_and_an_eighth_too_long_at_most)
{
	for (uint64_t us = 0; us <= UINT32_MAX; us = us < 4096 ? us + 1 : us + us / 97) {
		nsec exact = (nsec)us * NSEC_MICROSECOND, told = told_of(exact + 999);

		if (told < exact || told > exact + exact / 8)
			test_failed(__FILE__, __LINE__, "%llu us are told as %lld ns",
				    (unsigned long long)us, (long long)told);
	}
	CHECK_EQ(told_of(7 * NSEC_MICROSECOND), 7 * NSEC_MICROSECOND);
	CHECK_EQ(told_of(NSEC_SECOND), 1048575 * NSEC_MICROSECOND);
	CHECK_EQ(told_of(90000 * NSEC_SECOND), UINT32_MAX * NSEC_MICROSECOND);
}

TEST(so_many_of_a_thousand_took_no_longer)
{
	begin();
	for (unsigned us = 1; us <= 100; us++)
		durations_add(&durations, us * NSEC_MICROSECOND);
	CHECK_EQ(durations_of(&durations, 0), 0);
	CHECK_EQ(durations_of(&durations, 10), NSEC_MICROSECOND);
	CHECK_EQ(durations_of(&durations, 11), 2 * NSEC_MICROSECOND);
	CHECK_EQ(durations_of(&durations, 500), 51 * NSEC_MICROSECOND);
	CHECK_EQ(durations_of(&durations, 1000), 103 * NSEC_MICROSECOND);
}
