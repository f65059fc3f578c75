#include "engine/window.h"

#include <stdlib.h>
#include <time.h>

#include "tests/test.h"

enum { DAY = 24 * 60 * 60 };
#define NEVER INT64_MAX

/* "2026-03-29 01:00:00", UTC, as libc counts. */
static int64_t utc(const char *text)
{
	struct tm parts = { 0 };

	if (!strptime(text, "%Y-%m-%d %H:%M:%S", &parts))
		test_failed(__FILE__, __LINE__, "%s is no time", text);
	return timegm(&parts);
}

static struct window *opened(const char *spans, const char *blackout, const char *bandwidth)
{
	struct window *window;

	CHECK_OK(window_open(spans, blackout, bandwidth, &window));
	return window;
}

struct expectation {
	const char *at;
	bool open;
	const char *changes; /* NULL: never */
};

static void expect(const char *spans, const char *blackout, const struct expectation *rows,
		   size_t count)
{
	struct window *window = opened(spans, blackout, "");

	for (size_t i = 0; window && i < count; i++) {
		struct window_state state = window_at(window, utc(rows[i].at));
		int64_t changes = rows[i].changes ? utc(rows[i].changes) : NEVER;

		if (state.open != rows[i].open || state.changes_at_s != changes)
			test_failed(
				__FILE__, __LINE__,
				"%s without \"%s\" at %s: open is %d, changes %lld s later than "
				"expected",
				spans, blackout, rows[i].at, state.open,
				(long long)(state.changes_at_s - changes));
		CHECK_EQ(state.bytes_per_second, 0);
		CHECK_EQ(state.bandwidth_changes_at_s, NEVER);
	}
	window_close(&window);
}
#define EXPECT(spans, blackout, ...)                                                               \
	expect(spans, blackout, (const struct expectation[]){ __VA_ARGS__ },                       \
	       ARRAY_COUNT(((const struct expectation[]){ __VA_ARGS__ })))

static void refused(const char *spans, const char *blackout, const char *bandwidth,
		    const char *part, const char *expected)
{
	struct window *window = (void *)&utc;

	err_note_clear();
	CHECK_ERR(window_open(spans, blackout, bandwidth, &window), ERR_INPUT_USAGE);
	CHECK(window == NULL);
	if (!strstr(err_note()->text, part) || !strstr(err_note()->text, expected))
		test_failed(__FILE__, __LINE__, "\"%s\" names neither %s nor %s", err_note()->text,
			    part, expected);
	err_note_clear();
	window_close(&window);
}

/* ---- a week like any other ---- */

TEST(a_span_over_midnight_is_open_from_second_to_second)
{
	/* Winter in Berlin: UTC + 1. */
	EXPECT("22:00-06:00 Europe/Berlin", "",
	       { "2026-11-23 12:00:00", false, "2026-11-23 21:00:00" },
	       { "2026-11-23 20:59:59", false, "2026-11-23 21:00:00" },
	       { "2026-11-23 21:00:00", true, "2026-11-24 05:00:00" },
	       { "2026-11-23 23:00:00", true, "2026-11-24 05:00:00" },
	       { "2026-11-24 04:59:59", true, "2026-11-24 05:00:00" },
	       { "2026-11-24 05:00:00", false, "2026-11-24 21:00:00" });
}

TEST(a_span_belongs_to_the_day_it_begins_on)
{
	/* 2026-11-27 is a Friday: its night ends on Saturday, and Sunday has none. */
	EXPECT("mon-fri 22:00-06:00 UTC", "",
	       { "2026-11-27 21:59:59", false, "2026-11-27 22:00:00" },
	       { "2026-11-28 05:59:59", true, "2026-11-28 06:00:00" },
	       { "2026-11-28 06:00:00", false, "2026-11-30 22:00:00" },
	       { "2026-11-30 01:00:00", false, "2026-11-30 22:00:00" });
}

TEST(days_are_ranges_and_lists_that_may_wrap_in_any_case)
{
	EXPECT("Sat-Mon 10:00-11:00 UTC", "",
	       { "2026-11-28 10:30:00", true, "2026-11-28 11:00:00" }, /* Saturday */
	       { "2026-11-29 11:00:00", false, "2026-11-30 10:00:00" },
	       { "2026-11-30 11:00:00", false, "2026-12-05 10:00:00" });
	EXPECT("TUE, Thursday 10:00-11:00 UTC", "",
	       { "2026-11-24 10:00:00", true, "2026-11-24 11:00:00" },
	       { "2026-11-24 11:00:00", false, "2026-11-26 10:00:00" },
	       { "2026-11-26 11:00:00", false, "2026-12-01 10:00:00" });
	EXPECT("sun 23:00-01:00 UTC", "", { "2026-11-30 00:30:00", true, "2026-11-30 01:00:00" },
	       { "2026-11-30 01:00:00", false, "2026-12-06 23:00:00" });
}

TEST(spans_that_meet_or_overlap_are_one)
{
	EXPECT("mon-fri 22:00-06:00, sat-sun 00:00-24:00 UTC", "",
	       { "2026-11-27 22:00:00", true, "2026-11-30 00:00:00" }, /* Friday to Monday */
	       { "2026-11-30 00:00:00", false, "2026-11-30 22:00:00" });
	EXPECT("20:00-23:00, 22:00-02:00, 02:00-03:00 UTC", "",
	       { "2026-11-27 20:00:00", true, "2026-11-28 03:00:00" },
	       { "2026-11-28 03:00:00", false, "2026-11-28 20:00:00" });
}

TEST(the_whole_day_never_changes)
{
	EXPECT("00:00-24:00 Europe/Berlin", "", { "2026-03-28 12:00:00", true, NULL },
	       { "2026-10-25 00:30:00", true, NULL });
	EXPECT("00:00-12:00, 12:00-00:00 UTC", "", { "2026-03-28 12:00:00", true, NULL });
	EXPECT("Europe/Berlin", "", { "2026-03-28 12:00:00", true, NULL });
	EXPECT("", "", { "2026-03-28 12:00:00", true, NULL });
}

TEST(no_window_is_always_open)
{
	struct window_state state = window_at(NULL, utc("2026-11-23 12:00:00"));
	char text[WINDOW_TEXT_BYTES];

	CHECK(state.open);
	CHECK_EQ(state.changes_at_s, NEVER);
	CHECK_EQ(state.bytes_per_second, 0);
	CHECK_EQ(state.bandwidth_changes_at_s, NEVER);
	CHECK_TEXT(window_describe(NULL, 0, text), "always open");
}

TEST(blanks_are_free_and_hours_need_no_leading_zero)
{
	EXPECT("  mon - fri   9:30 -  17:00 ,sat 10:00-11:00   Asia/Kolkata ", "",
	       { "2026-11-23 04:00:00", true, "2026-11-23 11:30:00" }, /* 09:30 is 04:00 UTC */
	       { "2026-11-23 03:59:59", false, "2026-11-23 04:00:00" },
	       { "2026-11-28 04:30:00", true, "2026-11-28 05:30:00" });
}

/* ---- daylight saving ---- */

TEST(nights_of_the_clock_change_are_an_hour_shorter_and_longer)
{
	/* Berlin, 2026-03-29 01:00 UTC and 2026-10-25 01:00 UTC; in 2027 03-28 and 10-31. */
	EXPECT("22:00-06:00 Europe/Berlin", "",
	       { "2026-03-28 21:00:00", true, "2026-03-29 04:00:00" },
	       { "2026-03-29 04:00:00", false, "2026-03-29 20:00:00" },
	       { "2026-10-24 20:00:00", true, "2026-10-25 05:00:00" },
	       { "2026-10-25 05:00:00", false, "2026-10-25 21:00:00" },
	       { "2027-03-27 21:00:00", true, "2027-03-28 04:00:00" },
	       { "2027-10-30 20:00:00", true, "2027-10-31 05:00:00" });
	/* New York, 2026-03-08 07:00 UTC and 2026-11-01 06:00 UTC. */
	EXPECT("22:00-06:00 America/New_York", "",
	       { "2026-03-08 03:00:00", true, "2026-03-08 10:00:00" },
	       { "2026-11-01 02:00:00", true, "2026-11-01 11:00:00" },
	       { "2026-11-01 11:00:00", false, "2026-11-02 03:00:00" });
	/* Lord Howe moves by half an hour: 2026-10-03 15:30 UTC on, 2026-04-04 15:00 UTC off. */
	EXPECT("22:00-06:00 Australia/Lord_Howe", "",
	       { "2026-10-03 11:30:00", true, "2026-10-03 19:00:00" },
	       { "2026-04-04 11:00:00", true, "2026-04-04 19:30:00" });
}

TEST(what_begins_or_ends_in_the_missing_hour_does_so_when_the_clock_jumps)
{
	EXPECT("01:00-02:30 Europe/Berlin", "",
	       { "2026-03-29 00:00:00", true, "2026-03-29 01:00:00" },
	       { "2026-03-29 01:00:00", false, "2026-03-29 23:00:00" },
	       { "2026-03-28 00:00:00", true, "2026-03-28 01:30:00" });
	EXPECT("02:30-04:00 Europe/Berlin", "",
	       { "2026-03-29 00:59:59", false, "2026-03-29 01:00:00" },
	       { "2026-03-29 01:00:00", true, "2026-03-29 02:00:00" });
	EXPECT("02:15-04:00 Australia/Lord_Howe", "",
	       { "2026-10-03 15:29:59", false, "2026-10-03 15:30:00" },
	       { "2026-10-03 15:30:00", true, "2026-10-03 17:00:00" });
}

TEST(a_span_inside_the_missing_hour_is_not_that_day)
{
	EXPECT("02:10-02:50 Europe/Berlin", "",
	       { "2026-03-28 02:00:00", false, "2026-03-30 00:10:00" });
	EXPECT("sun 02:10-02:50 Europe/Berlin", "",
	       { "2026-03-22 01:50:00", false, "2026-04-05 00:10:00" });
}

TEST(of_a_time_that_comes_twice_the_first_counts)
{
	/* 02:30 in Berlin is 00:30 UTC and again 01:30 UTC. */
	EXPECT("22:00-02:30 Europe/Berlin", "",
	       { "2026-10-24 20:00:00", true, "2026-10-25 00:30:00" },
	       { "2026-10-25 01:15:00", false, "2026-10-25 21:00:00" });
	EXPECT("02:30-06:00 Europe/Berlin", "",
	       { "2026-10-25 00:30:00", true, "2026-10-25 05:00:00" },
	       { "2026-10-25 01:15:00", true, "2026-10-25 05:00:00" });
	EXPECT("02:10-02:50 Europe/Berlin", "",
	       { "2026-10-25 00:10:00", true, "2026-10-25 00:50:00" },
	       { "2026-10-25 01:20:00", false, "2026-10-26 01:10:00" });
	EXPECT("00:00-03:00 Europe/Berlin", "",
	       { "2026-10-24 22:00:00", true, "2026-10-25 02:00:00" });
}

TEST(a_clock_put_back_over_midnight_does_not_open_a_day_twice)
{
	/* Beirut goes from 24:00 of Saturday to 23:00, 2026-10-24 21:00 UTC. */
	EXPECT("23:30-00:30 Asia/Beirut", "",
	       { "2026-10-24 20:30:00", true, "2026-10-24 22:30:00" },
	       { "2026-10-24 22:30:00", false, "2026-10-25 21:30:00" });
	/* St John's went from 00:01 of Sunday to 23:01 of Saturday, 2010-11-07 02:31 UTC. */
	EXPECT("sun 00:00-01:00 America/St_Johns", "",
	       { "2010-11-07 02:30:00", true, "2010-11-07 04:30:00" },
	       { "2010-11-07 02:45:00", true, "2010-11-07 04:30:00" });
	/* Havana goes from 01:00 of Sunday to 00:00, 2026-11-01 05:00 UTC. */
	EXPECT("sat 20:00-24:00 America/Havana", "",
	       { "2026-11-01 00:00:00", true, "2026-11-01 04:00:00" },
	       { "2026-11-01 05:30:00", false, "2026-11-08 01:00:00" });
	EXPECT("sun 00:00-24:00 America/Havana", "",
	       { "2026-11-01 04:00:00", true, "2026-11-02 05:00:00" });
}

/* ---- dates left out ---- */

TEST(on_a_blackout_date_nothing_begins_and_what_runs_is_cut)
{
	EXPECT("22:00-06:00 UTC", "2026-12-24",
	       { "2026-12-23 22:00:00", true, "2026-12-24 00:00:00" },
	       { "2026-12-24 00:00:00", false, "2026-12-25 22:00:00" },
	       { "2026-12-25 01:00:00", false, "2026-12-25 22:00:00" });
	EXPECT("00:00-24:00 Europe/Berlin", "2026-12-24, 2026-12-31..2027-01-02",
	       { "2026-11-01 00:00:00", true, "2026-12-23 23:00:00" },
	       { "2026-12-23 23:00:00", false, "2026-12-24 23:00:00" },
	       { "2026-12-24 23:00:00", true, "2026-12-30 23:00:00" },
	       { "2026-12-30 23:00:00", false, "2027-01-02 23:00:00" },
	       { "2027-01-02 23:00:00", true, NULL });
	/* The day the clock is put forward, in the window's zone. */
	EXPECT("Europe/Berlin", "2026-03-29",
	       { "2026-03-28 23:00:00", false, "2026-03-29 22:00:00" });
}

TEST(long_blackouts_end_too)
{
	EXPECT("mon 22:00-06:00 UTC", "2026-12-01..2028-02-29",
	       { "2026-12-01 00:00:00", false, "2028-03-06 22:00:00" },
	       { "2026-11-30 23:00:00", true, "2026-12-01 00:00:00" });
}

/* ---- bandwidth ---- */

TEST(bandwidth_follows_the_hours)
{
	struct window *window =
		opened("00:00-24:00 Europe/Berlin", "", "22:00-00:00 50MB/s, 00:00-06:00 200MB/s");
	struct window_state state = window_at(window, utc("2026-11-23 20:00:00"));

	CHECK_EQ(state.bytes_per_second, 0);
	CHECK_EQ(state.bandwidth_changes_at_s, utc("2026-11-23 21:00:00"));
	CHECK_EQ(state.changes_at_s, NEVER);
	state = window_at(window, utc("2026-11-23 21:00:00"));
	CHECK_EQ(state.bytes_per_second, 50000000);
	CHECK_EQ(state.bandwidth_changes_at_s, utc("2026-11-23 23:00:00"));
	state = window_at(window, utc("2026-11-23 23:00:00"));
	CHECK_EQ(state.bytes_per_second, 200000000);
	CHECK_EQ(state.bandwidth_changes_at_s, utc("2026-11-24 05:00:00"));
	state = window_at(window, utc("2026-03-28 23:30:00"));
	CHECK_EQ(state.bandwidth_changes_at_s, utc("2026-03-29 04:00:00"));
	window_close(&window);
}

TEST(of_several_rates_the_lowest_holds_whatever_the_blackout)
{
	struct window *window = opened("UTC", "2026-11-24",
				       "mon-sun 00:00-24:00 1GiB/s, mon-fri 08:00-18:00 5MB/s");
	struct window_state state = window_at(window, utc("2026-11-24 08:00:00")); /* Tuesday */

	CHECK(!state.open);
	CHECK_EQ(state.bytes_per_second, 5000000);
	CHECK_EQ(state.bandwidth_changes_at_s, utc("2026-11-24 18:00:00"));
	state = window_at(window, utc("2026-11-27 18:00:00"));
	CHECK_EQ(state.bytes_per_second, 1 << 30);
	CHECK_EQ(state.bandwidth_changes_at_s, utc("2026-11-30 08:00:00"));
	window_close(&window);
}

TEST(a_bandwidth_for_the_whole_day_never_changes)
{
	struct window *window = opened("UTC", "", "00:00-24:00 800kB/s");
	struct window_state state = window_at(window, utc("2026-11-24 08:00:00"));

	CHECK_EQ(state.bytes_per_second, 800000);
	CHECK_EQ(state.bandwidth_changes_at_s, NEVER);
	window_close(&window);
}

/* ---- for people ---- */

TEST(a_description_says_what_comes_next_and_where)
{
	struct window *window = opened("22:00-06:00 Europe/Berlin", "2026-11-25", "");
	char text[WINDOW_TEXT_BYTES];

	CHECK_TEXT(window_describe(window, utc("2026-11-23 23:00:00"), text),
		   "until 06:00 Europe/Berlin");
	CHECK_TEXT(window_describe(window, utc("2026-11-23 12:00:00"), text),
		   "opens Mon 2026-11-23 22:00 Europe/Berlin");
	CHECK_TEXT(window_describe(window, utc("2026-11-24 23:00:00"), text),
		   "opens Thu 2026-11-26 22:00 Europe/Berlin");
	window_close(&window);
	window = opened("sat-sun 00:00-24:00 Asia/Kolkata", "", "");
	CHECK_TEXT(window_describe(window, utc("2026-11-27 18:30:00"), text),
		   "until Mon 2026-11-30 00:00 Asia/Kolkata");
	window_close(&window);
	window = opened("UTC", "", "");
	CHECK_TEXT(window_describe(window, utc("2026-11-27 18:30:00"), text), "always open");
	window_close(&window);
}

/* ---- zones ---- */

TEST(without_a_zone_the_system_s_own_holds_and_is_left_as_it_was)
{
	char text[WINDOW_TEXT_BYTES];
	struct window *window;
	struct tm parts;
	time_t at = utc("2026-11-23 12:00:00");

	CHECK_EQ(setenv("TZ", "Asia/Kolkata", 1), 0);
	tzset();
	EXPECT("22:00-06:00", "", { "2026-11-23 16:30:00", true, "2026-11-24 00:30:00" });
	window = opened("22:00-06:00", "", "");
	CHECK_TEXT(window_describe(window, at, text), "opens Mon 2026-11-23 22:00 local time");
	window_close(&window);
	EXPECT("22:00-06:00 Europe/Berlin", "",
	       { "2026-11-23 21:00:00", true, "2026-11-24 05:00:00" });
	CHECK_TEXT(getenv("TZ"), "Asia/Kolkata");
	CHECK(localtime_r(&at, &parts) && parts.tm_gmtoff == 19800);
	refused("22:00-06:00 Mars/Olympus", "", "", "Mars/Olympus", "Europe/Berlin");
	CHECK_TEXT(getenv("TZ"), "Asia/Kolkata");
	CHECK_EQ(unsetenv("TZ"), 0);
	EXPECT("22:00-06:00 Europe/Berlin", "",
	       { "2026-11-23 21:00:00", true, "2026-11-24 05:00:00" });
	CHECK(getenv("TZ") == NULL);
	tzset();
}

TEST(what_is_no_zone_is_refused)
{
	static const char *const names[] = {
		"Europe/Berlni",
		"Europe",
		"../../../etc/passwd",
		"/etc/localtime",
		"Europe/../UTC",
		"zone.tab",
		"tzdata.zi",
		"leapseconds",
		"posix/UTC",
		":UTC",
		"CET-1CEST,M3.5.0,M10",
		"Europe//Berlin",
		"Europe/Berlin/x",
		"Europe/Berlin\n",
		"UTC+1x",
	};
	static char long_name[200];

	for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
		char spans[64];

		snprintf(spans, sizeof spans, "22:00-06:00 %s", names[i]);
		refused(spans, "", "", "such as", "Europe/Berlin");
	}
	memset(long_name, 'A', sizeof long_name - 1);
	refused(long_name, "", "", "zone", "Europe/Berlin");
}

/* ---- texts that are refused ---- */

TEST(errors_name_the_part_and_what_is_expected)
{
	refused("25:00-06:00", "", "", "window, at \"25:00-06:00\"", "22:00-06:00");
	refused("22:60-06:00", "", "", "22:60", "such as 22:00-06:00");
	refused("24:00-06:00", "", "", "24:00", "begins by 23:59 and ends by 24:00");
	refused("22:00-24:01", "", "", "22:00-24:01", "24:00 at most");
	refused("22:00", "", "", "22:00", "a dash");
	refused("22:00-", "", "", "22:00-", "an end");
	refused("22-06", "", "", "22-06", "22:00-06:00");
	refused("22:00:00-06:00", "", "", "22:00:00", "22:00-06:00");
	refused("22:00-06:00:00", "", "", "06:00:00", "an end");
	refused("22:0-06:00", "", "", "22:0-", "22:00-06:00");
	refused("22:00-22:00 UTC", "", "", "22:00-22:00", "00:00-24:00");
	refused("00:00-00:00", "", "", "00:00-00:00", "00:00-24:00");
	refused("mon-fri", "", "", "window ends too early", "a span");
	refused("mon-xyz 22:00-06:00", "", "", "xyz", "a day such as fri");
	refused("mno-fri 22:00-06:00", "", "", "mno-fri", "days in front");
	refused("22:00-06:00 mon-fri", "", "", "mon-fri", "days in front");
	refused("22:00-06:00,", "", "", "window ends too early", "a span");
	refused("22:00-06:00, Europe/Berlin", "", "", "Europe/Berlin", "a span such as");
	refused("22:00-06:00 Europe/Berlin 23:00-24:00", "", "", "Europe/Berlin", "last the zone");
	refused("22:00-06:00 10:00-11:00", "", "", "10:00-11:00", "commas between");
	refused("mon 22:00-06:00, 10:00-11:00 UTC", "", "", "10:00-11:00", "with every span");
	refused("10:00-11:00, mon 22:00-06:00 UTC", "", "", "mon 22:00-06:00", "with every span");
}

TEST(blackout_errors_name_the_part)
{
	refused("UTC", "24.12.2026", "", "blackout, at \"24.12.2026\"", "2026-12-24");
	refused("UTC", "2026-02-29", "", "2026-02-29", "a date such as");
	refused("UTC", "2026-13-01", "", "2026-13-01", "a date such as");
	refused("UTC", "2026-12-00", "", "2026-12-00", "a date such as");
	refused("UTC", "0026-12-01", "", "0026-12-01", "from 2000 to 2049");
	refused("UTC", "2026-12-240", "", "2026-12-240", "a date such as");
	refused("UTC", "2026-12-24..", "", "2026-12-24..", "two dates");
	refused("UTC", "2026-12-24.2026-12-26", "", "2026-12-24.", "two dates");
	refused("UTC", "2026-12-24..2026-12-23", "", "2026-12-24..", "the earlier date first");
	refused("UTC", "2026-12-24,", "", "blackout ends too early", "a date");
	refused("UTC", "2026-12-24 2026-12-26", "", "2026-12-26", "a comma");
}

TEST(bandwidth_errors_name_the_part)
{
	refused("UTC", "", "22:00-06:00", "bandwidth ends too early", "50MB/s");
	refused("UTC", "", "50MB/s", "bandwidth, at \"50MB/s\"", "a span");
	refused("UTC", "", "22:00-06:00 50MB", "50MB", "50MB/s");
	refused("UTC", "", "22:00-06:00 0MB/s", "0MB/s", "more than 0");
	refused("UTC", "", "22:00-06:00 100Mbit/s", "100Mbit/s", "in bytes");
	refused("UTC", "", "22:00-06:00 /s", "/s", "50MB/s");
	refused("UTC", "", "22:00-06:00 99999999999999999999999999MB/s", "999", "50MB/s");
	refused("UTC", "", "22:00-06:00 50MB/s UTC", "UTC", "the zone is the window's");
}

TEST(more_spans_and_dates_than_anybody_writes_are_refused)
{
	static char text[12 * 500];

	for (size_t i = 0; i < 49; i++)
		snprintf(text + i * 12, 13, "01:00-02:00%c", i < 48 ? ',' : ' ');
	refused(text, "", "", "01:00-02:00", "48 spans at most");
	for (size_t i = 0; i < 401; i++)
		snprintf(text + i * 12, 13, "2026-12-%02u %c", (unsigned)(i % 28 + 1),
			 i < 400 ? ',' : ' ');
	refused("UTC", text, "", "2026-12-", "400 dates at most");
}

static uint64_t next_random(uint64_t *state)
{
	*state = *state * 6364136223846793005u + 1442695040888963407u; /* Knuth, MMIX */
	return *state >> 33;
}

TEST(texts_with_bytes_exchanged_are_read_or_refused)
{
	static const char alphabet[] = "0123456789:-,. /sunmonMB\n\x80";
	uint64_t random = 7;
	unsigned read = 0;

	for (int i = 0; i < 1200; i++) {
		char texts[3][48] = { "mon-fri 22:00-06:00, sun 0:00-24:00 UTC",
				      "2026-12-24, 2026-12-31..2027-01-02",
				      "22:00-00:00 50MB/s, 00:00-06:00 200MB/s" };
		char *text = texts[i % 3];
		struct window *window;
		enum err e;

		for (uint64_t n = next_random(&random) % 4; n > 0; n--)
			text[next_random(&random) % strlen(text)] =
				alphabet[next_random(&random) % (sizeof alphabet - 1)];
		err_note_clear();
		e = window_open(texts[0], texts[1], texts[2], &window);
		CHECK(e == OK || (e == ERR_INPUT_USAGE && err_note()->text[0]));
		CHECK((e == OK) == (window != NULL));
		if (window)
			read += window_at(window, 1700000000).changes_at_s > 1700000000;
		window_close(&window);
	}
	err_note_clear();
	CHECK(read > 200 && read < 1000);
}

/* ---- against another way to say the same ---- */

/* The latest that the clock of $TZ has shown, minute by minute: a span holds while that lies in it.
 * Spans are given as minutes of a day and a set of days, bit 0 Sunday. */
struct minute_span {
	int begin, end;
	unsigned days;
};

/* Seconds since 1970 as the wall clock of $TZ shows them. */
static int64_t wall_at(int64_t at_s)
{
	time_t at = at_s;
	struct tm parts;

	return localtime_r(&at, &parts) ? at_s + parts.tm_gmtoff : 0;
}

static bool holds(const struct minute_span *spans, size_t count, int64_t wall_s)
{
	for (size_t i = 0; i < count; i++) {
		for (int back = 0; back < 2; back++) {
			int64_t day = wall_s / DAY - back;
			int64_t minute = (wall_s - day * DAY) / 60;

			if (spans[i].days >> (day + 4) % 7 & 1 && spans[i].begin <= minute &&
			    minute < spans[i].end)
				return true;
		}
	}
	return false;
}

/* Every minute from 2026-01-01 for so many days; the window is asked only when it should change. */
static void same_as_by_minutes(const char *zone, const char *text, const struct minute_span *spans,
			       size_t count, int days)
{
	int64_t from = utc("2026-01-01 00:00:00"), shown = 0;
	struct window_state state = { .changes_at_s = INT64_MIN };
	unsigned differences = 0;
	struct window *window;
	char whole[160];

	snprintf(whole, sizeof whole, "%s %s", text, zone);
	window = opened(whole, "", "");
	setenv("TZ", zone, 1);
	tzset();
	for (int64_t at = from; window && at < from + (int64_t)days * DAY; at += 60) {
		int64_t wall_s = wall_at(at);

		if (wall_s > shown)
			shown = wall_s;
		if (at >= state.changes_at_s) {
			differences += state.changes_at_s % 60 != 0 && at != from;
			state = window_at(window, at);
			differences += state.changes_at_s <= at;
		}
		differences += state.open != holds(spans, count, shown);
	}
	if (differences)
		test_failed(__FILE__, __LINE__, "%s differs in %u minutes", whole, differences);
	window_close(&window);
	unsetenv("TZ");
	tzset();
}

TEST(every_minute_of_a_year_is_as_the_running_clock_says)
{
	static const struct minute_span nights[] = { { 22 * 60, 30 * 60, 0x7f } };
	static const struct minute_span hour[] = { { 130, 170, 0x7f }, { 150, 200, 1 } };
	static const struct minute_span mixed[] = { { 1290, 1575, 0x3e }, { 0, 1440, 0x41 } };
	static const char *const zones[] = { "Europe/Berlin",
					     "America/New_York",
					     "Asia/Kolkata",
					     "Australia/Lord_Howe",
					     "UTC",
					     "Asia/Beirut",
					     "Africa/Casablanca",
					     "America/Havana",
					     "America/St_Johns",
					     "Pacific/Chatham" };

	for (size_t i = 0; i < ARRAY_COUNT(zones); i++)
		same_as_by_minutes(zones[i], "mon-sun 02:10-02:50, sun 02:30-03:20", hour, 2, 366);
	for (size_t i = 0; i < 4; i++) {
		same_as_by_minutes(zones[i], "22:00-06:00", nights, 1, i ? 366 : 700);
		same_as_by_minutes(zones[i], "mon-fri 21:30-02:15, sat-sun 00:00-24:00", mixed, 2,
				   366);
	}
}

TEST(a_state_is_constant_until_it_changes_and_flips_there)
{
	static const char *const spans[] = {
		"22:00-06:00 Europe/Berlin",
		"mon-fri 01:30-02:30, sun 02:15-03:05 America/New_York",
		"02:05-02:25, 01:40-01:50 Australia/Lord_Howe",
		"sat 23:00-22:59 Asia/Kolkata",
	};
	uint64_t random = 42;

	for (size_t i = 0; i < ARRAY_COUNT(spans); i++) {
		struct window *window =
			opened(spans[i], "2026-05-01..2026-05-20, 2026-10-04, 2026-11-01",
			       "02:00-02:30 1MB/s, 02:20-05:00 2MB/s");
		int64_t end = utc("2027-01-01 00:00:00");

		for (int64_t at = utc("2026-01-01 00:00:00"); at < end;) {
			struct window_state now = window_at(window, at), then;
			int64_t wait = now.changes_at_s - at;

			REQUIRE(wait > 0 && now.changes_at_s != NEVER);
			then = window_at(window, at + (int64_t)(next_random(&random) % wait));
			CHECK(then.open == now.open && then.changes_at_s == now.changes_at_s);
			CHECK(window_at(window, now.changes_at_s - 1).open == now.open);
			CHECK(window_at(window, now.changes_at_s).open != now.open);
			wait = now.bandwidth_changes_at_s - at;
			REQUIRE(wait > 0 && now.bandwidth_changes_at_s != NEVER);
			then = window_at(window, at + (int64_t)(next_random(&random) % wait));
			CHECK_EQ(then.bytes_per_second, now.bytes_per_second);
			then = window_at(window, now.bandwidth_changes_at_s);
			CHECK(then.bytes_per_second != now.bytes_per_second);
			at += 1 + (int64_t)(next_random(&random) % (2 * DAY));
		}
		window_close(&window);
	}
}
