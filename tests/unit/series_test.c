/* Samples of a run of any length in a fixed space: nothing is lost when they merge. */
#include "tools/series.h"

#include "tests/test.h"

static struct series series;
static struct batch_counts counts;

static void begin(void)
{
	static const struct series empty;
	static const struct batch_counts zero;

	series = empty;
	counts = zero;
}

/* `each` messages and ten times as many bytes a second, four mailboxes running. */
static void run_for(unsigned seconds, unsigned each)
{
	counts.mailboxes[BATCH_RUNNING] = 4;
	for (unsigned i = 0; i < seconds; i++) {
		counts.elapsed += NSEC_SECOND;
		counts.messages_moved += each;
		counts.bytes_moved += 10 * each;
		counts.ran += 3 * NSEC_SECOND;
		counts.throttled += NSEC_SECOND;
		series_feed(&series, &counts);
	}
}

static bool near(double a, double b)
{
	return a - b < 1e-6 && b - a < 1e-6;
}

TEST(each_second_is_a_sample_until_the_room_is_full)
{
	begin();
	CHECK_EQ(series_points(&series), 0);
	run_for(SERIES_SAMPLES_MAX, 5);
	CHECK_EQ(series_points(&series), SERIES_SAMPLES_MAX);
	CHECK(near(series_point(&series, 7).at, 8));
	CHECK(near(series_point(&series, 7).messages_per_second, 5));
	CHECK(near(series_point(&series, 7).bytes_per_second, 50));
	CHECK(near(series_point(&series, 7).running, 4));
	CHECK(near(series_point(&series, 7).throttled_share, 0.25));
}

TEST(a_night_fits_and_every_message_is_in_some_span)
{
	double messages = 0, running = 0, end = 0;

	begin();
	run_for(8 * 3600, 3);
	run_for(3600, 9);
	CHECK(series.count > SERIES_SAMPLES_MAX / 2 - 1);
	for (unsigned i = 0; i < series_points(&series); i++) {
		struct series_point point = series_point(&series, i);

		messages += point.messages_per_second * point.seconds;
		running += point.running * point.seconds;
		CHECK(near(point.at - point.seconds, end)); /* no gap, no overlap */
		end = point.at;
	}
	CHECK(near(messages, 8 * 3600 * 3 + 3600 * 9));
	CHECK(near(running, 9 * 3600 * 4));
	CHECK(near(end, 9 * 3600));
	CHECK(near(series_point(&series, 0).messages_per_second, 3));
	CHECK(near(series_point(&series, series_points(&series) - 1).messages_per_second, 9));
}

TEST(a_run_shorter_than_the_interval_has_one_point)
{
	begin();
	counts.elapsed = NSEC_SECOND / 4;
	counts.messages_moved = 10;
	series_feed(&series, &counts);
	REQUIRE(series_points(&series) == 1);
	CHECK(near(series_point(&series, 0).messages_per_second, 40));
	CHECK(near(series_point(&series, 0).throttled_share, 0));
}

TEST(looking_often_or_twice_at_the_same_moment_changes_nothing)
{
	begin();
	run_for(3, 5);
	series_feed(&series, &counts);
	counts.elapsed += NSEC_SECOND / 10;
	series_feed(&series, &counts);
	counts.elapsed -= NSEC_SECOND; /* an older copy of the counts comes late */
	counts.messages_moved = 2;
	series_feed(&series, &counts);
	CHECK_EQ(series_points(&series), 4);
	CHECK(near(series_point(&series, 3).messages_per_second, 0));
}
