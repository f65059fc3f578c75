/* A day's bytes: what rolls, what is remembered, and clocks that jump. */
#include "tests/test.h"

#include "engine/ration.h"

#define HOUR INT64_C(3600)
#define DAY  INT64_C(86400)
/* 2026-11-22 00:00 UTC, where a slot begins. */
#define NOON (INT64_C(1795305600) + 12 * HOUR)

static struct ration of(uint64_t bytes_a_day)
{
	struct ration r;

	ration_init(&r, bytes_a_day);
	return r;
}

TEST(without_a_bound_there_is_always_room_and_it_is_counted_all_the_same)
{
	struct ration r = of(0);
	int64_t free_s;

	ration_spend(&r, UINT64_MAX, NOON);
	CHECK(ration_has_room(&r, UINT64_MAX, NOON, &free_s));
	CHECK(ration_spent(&r, NOON) > 0);
}

TEST(a_ration_is_used_up_to_the_byte)
{
	struct ration r = of(1000);
	int64_t free_s;

	ration_spend(&r, 600, NOON);
	CHECK(ration_has_room(&r, 400, NOON, &free_s));
	CHECK(!ration_has_room(&r, 401, NOON, &free_s));
	ration_spend(&r, 400, NOON + HOUR);
	CHECK(!ration_has_room(&r, 1, NOON + HOUR, &free_s));
	CHECK(ration_has_room(&r, 0, NOON + HOUR, &free_s));
}

TEST(there_is_room_again_when_it_was_said_and_not_a_second_sooner)
{
	struct ration r = of(1000);
	int64_t free_s, again;

	ration_spend(&r, 300, NOON);
	ration_spend(&r, 700, NOON + 5 * HOUR);
	CHECK(!ration_has_room(&r, 200, NOON + 6 * HOUR, &free_s));
	CHECK(free_s >= NOON + DAY && free_s <= NOON + DAY + 2 * HOUR);
	CHECK(!ration_has_room(&r, 200, free_s - 1, &again));
	CHECK_EQ(again, free_s);
	CHECK(ration_has_room(&r, 200, free_s, &again));
	CHECK(!ration_has_room(&r, 301, free_s, &again));
	CHECK(again > free_s && again <= NOON + 5 * HOUR + DAY + 2 * HOUR);
	CHECK(ration_has_room(&r, 1000, again, &free_s));
	CHECK_EQ(ration_spent(&r, again), 0);
}

/* Whenever a provider's day begins: no 24 hours see more than a ration. */
TEST(no_day_sees_more_than_a_ration_wherever_it_begins)
{
	enum { HOURS = 24 * 14, RATION = 10000 };
	uint64_t spent[HOURS] = { 0 }, sum;
	struct ration r = of(RATION);
	int64_t free_s;
	uint64_t random = 7;

	for (int64_t hour = 0; hour < HOURS; hour++)
		for (unsigned i = 0; i < 40; i++) {
			uint64_t bytes;

			random = random * 6364136223846793005u + 1442695040888963407u;
			bytes = (random >> 33) % 150;
			if (!ration_has_room(&r, bytes, NOON + hour * HOUR, &free_s))
				continue;
			ration_spend(&r, bytes, NOON + hour * HOUR);
			spent[hour] += bytes;
		}
	for (int64_t from = 0; from + 24 <= HOURS; from++) {
		sum = 0;
		for (int64_t hour = from; hour < from + 24; hour++)
			sum += spent[hour];
		CHECK(sum <= RATION);
	}
	sum = 0;
	for (int64_t hour = 0; hour < HOURS; hour++)
		sum += spent[hour];
	CHECK(sum > UINT64_C(12) * RATION); /* and most of it is made use of */
}

TEST(what_is_larger_than_a_ration_passes_when_nothing_else_did)
{
	struct ration r = of(1000);
	int64_t free_s;

	CHECK(ration_has_room(&r, 5000, NOON, &free_s));
	ration_spend(&r, 5000, NOON);
	CHECK(!ration_has_room(&r, 1, NOON, &free_s));
	CHECK(ration_has_room(&r, 5000, free_s, &free_s));
}

/* ---- clocks ---- */

TEST(a_clock_that_is_put_back_gives_nothing_back)
{
	struct ration r = of(1000);
	int64_t free_s;

	ration_spend(&r, 1000, NOON);
	CHECK(!ration_has_room(&r, 1, NOON - 10 * DAY, &free_s));
	CHECK(free_s > NOON - 10 * DAY && free_s <= NOON - 9 * DAY + 2 * HOUR);
	ration_spend(&r, 0, NOON - 10 * DAY);
	CHECK_EQ(ration_spent(&r, NOON - 10 * DAY), 1000);
	CHECK(ration_has_room(&r, 1, free_s, &free_s));
}

TEST(a_clock_that_jumps_ahead_ends_the_wait)
{
	struct ration r = of(1000);
	int64_t free_s;

	ration_spend(&r, 1000, NOON);
	CHECK(ration_has_room(&r, 1000, NOON + 400 * DAY, &free_s));
	ration_spend(&r, 10, NOON + 400 * DAY);
	CHECK_EQ(ration_spent(&r, NOON + 400 * DAY), 10);
}

TEST(a_clock_before_1970_is_taken_for_1970)
{
	struct ration r = of(1000);
	int64_t free_s;

	ration_spend(&r, 999, -5);
	CHECK(!ration_has_room(&r, 2, -5, &free_s));
	CHECK(free_s > 0);
}

/* ---- memory ---- */

TEST(a_restart_remembers_the_day)
{
	char text[RATION_TEXT_BYTES];
	struct ration r = of(1000), next = of(1000);
	int64_t free_s, again;

	ration_spend(&r, 100, NOON);
	ration_spend(&r, 900, NOON + 3 * HOUR);
	ration_save(&r, NOON + 3 * HOUR, text);
	CHECK(ration_load(&next, text, NOON + 4 * HOUR));
	CHECK(!ration_has_room(&r, 50, NOON + 4 * HOUR, &free_s));
	CHECK(!ration_has_room(&next, 50, NOON + 4 * HOUR, &again));
	CHECK_EQ(free_s, again);
	CHECK(ration_load(&next, text, NOON + 3 * DAY));
	CHECK_EQ(ration_spent(&next, NOON + 3 * DAY), 0);
}

TEST(nothing_spent_is_nothing_to_remember)
{
	char text[RATION_TEXT_BYTES];
	struct ration r = of(1000);

	ration_save(&r, NOON, text);
	CHECK_TEXT(text, "");
	ration_spend(&r, 1, NOON);
	ration_save(&r, NOON + 2 * DAY, text);
	CHECK_TEXT(text, "");
}

TEST(the_largest_day_fits_its_line)
{
	char text[RATION_TEXT_BYTES];
	struct ration r = of(1000), next = of(0);

	for (int64_t at = NOON; at < NOON + 26 * HOUR; at += 2 * HOUR)
		ration_spend(&r, UINT64_MAX, at);
	ration_save(&r, NOON + 25 * HOUR, text);
	CHECK(ration_load(&next, text, NOON + 25 * HOUR));
	CHECK_EQ(ration_spent(&next, NOON + 25 * HOUR), ration_spent(&r, NOON + 25 * HOUR));
}

TEST(a_line_that_is_none_is_not_believed)
{
	static const char *const bad[] = {
		"",
		"slot=",
		"slot=5",
		"slot=5 spent=",
		"slot=5 spent=1,2,3",
		"slot=-5 spent=1,2,3,4,5,6,7,8,9,10,11,12,13",
		"slot=5 spent=1,2,3,4,5,6,7,8,9,10,11,12,13,14",
		"slot=5 spent=1,2,3,4,5,6,7,8,9,10,11,12,-1",
		"slot=99999999999999999999 spent=1,2,3,4,5,6,7,8,9,10,11,12,13",
		"milli=5 refused=10",
	};
	struct ration r = of(10);
	int64_t free_s;

	for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
		ration_spend(&r, 10, NOON);
		CHECK(!ration_load(&r, bad[i], NOON));
		CHECK_EQ(ration_spent(&r, NOON), 0);
		CHECK(ration_has_room(&r, 10, NOON, &free_s));
	}
}
