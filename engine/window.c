#include "engine/window.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "engine/window_parse.h"
#include "engine/window_zone.h"

/* Spans, and the dates they leave out. */
struct schedule {
	struct window_spans spans;
	struct window_dates dates;
	int32_t last_date; /* of them all; INT32_MIN without any */
};
struct window {
	struct window_zone zone;
	struct schedule hours, rates;
};
/* Moments in seconds since 1970 UTC; end_s is not in it. */
struct interval {
	int64_t begin_s, end_s;
};

/* After the last date left out a schedule is that of any week. Two weeks hold every change, also
 * when one of them has a day whose span falls into the hour that the clock jumps over. */
enum { AHEAD_DAYS = 15 };

static int64_t day_of(int64_t wall_s)
{
	return wall_s / DAY_SECONDS - (wall_s % DAY_SECONDS < 0);
}

/* 0 is Monday; 1970-01-01 was a Thursday. */
static unsigned weekday_of(int64_t day)
{
	return (unsigned)((day % 7 + 7 + 3) % 7);
}

static bool is_left_out(const struct schedule *schedule, int64_t day)
{
	if (day > schedule->last_date)
		return false;
	for (size_t i = 0; i < schedule->dates.count; i++)
		if (schedule->dates.at[i].first <= day && day <= schedule->dates.at[i].last)
			return true;
	return false;
}

/* The span that begins on this day; false if there is none. */
static bool span_on(const struct window_zone *zone, const struct schedule *schedule,
		    const struct window_span *span, int64_t day, struct interval *found)
{
	int64_t midnight = day * DAY_SECONDS, end = midnight + span->end_s;

	if (!(span->days >> weekday_of(day) & 1) || is_left_out(schedule, day))
		return false;
	if (is_left_out(schedule, day + 1) && span->end_s > DAY_SECONDS)
		end = midnight + DAY_SECONDS;
	found->begin_s = window_zone_first(zone, midnight + span->begin_s);
	found->end_s = window_zone_first(zone, end);
	return found->begin_s < found->end_s;
}

/* The lowest rate of the spans that hold at this time; 0: none holds. Those of the day before may
 * go on, and where the clock was put back over midnight those of the next day have begun. */
static uint64_t value_at(const struct window_zone *zone, const struct schedule *schedule,
			 int64_t at_s)
{
	int64_t today = day_of(window_zone_wall(zone, at_s));
	uint64_t value = 0;

	for (size_t i = 0; i < schedule->spans.count; i++) {
		const struct window_span *span = &schedule->spans.at[i];
		struct interval found;

		for (int64_t day = today - 1; day <= today + 1; day++)
			if (span_on(zone, schedule, span, day, &found) && found.begin_s <= at_s &&
			    at_s < found.end_s && (!value || span->bytes_per_second < value))
				value = span->bytes_per_second;
	}
	return value;
}

/* The next begin or end of a span after this time; INT64_MAX: none until last_day. */
static int64_t next_edge(const struct window_zone *zone, const struct schedule *schedule,
			 int64_t at_s, int64_t last_day)
{
	int64_t edge = INT64_MAX;

	/* What begins on a later day has no edge before that day. */
	for (int64_t day = day_of(window_zone_wall(zone, at_s)) - 1;
	     day <= last_day && edge > window_zone_first(zone, day * DAY_SECONDS); day++) {
		for (size_t i = 0; i < schedule->spans.count; i++) {
			struct interval found;

			if (!span_on(zone, schedule, &schedule->spans.at[i], day, &found))
				continue;
			if (found.begin_s > at_s && found.begin_s < edge)
				edge = found.begin_s;
			else if (found.end_s > at_s && found.end_s < edge)
				edge = found.end_s;
		}
	}
	return edge;
}

/* When another value holds than now; not every edge is a change, where spans meet or overlap. */
static int64_t next_change(const struct window_zone *zone, const struct schedule *schedule,
			   int64_t at_s, uint64_t value)
{
	int64_t last_day = day_of(window_zone_wall(zone, at_s));

	if (last_day < schedule->last_date)
		last_day = schedule->last_date;
	last_day += AHEAD_DAYS;
	do
		at_s = next_edge(zone, schedule, at_s, last_day);
	while (at_s != INT64_MAX && value_at(zone, schedule, at_s) == value);
	return at_s;
}

struct window_state window_at(const struct window *window, int64_t at_s)
{
	struct window_state state = { true, INT64_MAX, 0, INT64_MAX };
	uint64_t value;

	if (!window)
		return state;
	value = value_at(&window->zone, &window->hours, at_s);
	state.open = value != 0;
	state.changes_at_s = next_change(&window->zone, &window->hours, at_s, value);
	value = value_at(&window->zone, &window->rates, at_s);
	state.bytes_per_second = value;
	state.bandwidth_changes_at_s = next_change(&window->zone, &window->rates, at_s, value);
	return state;
}

char *window_describe(const struct window *window, int64_t at_s, char to[WINDOW_TEXT_BYTES])
{
	struct window_state state = window_at(window, at_s);
	const char *word = state.open ? "until" : "opens";
	char when[32];
	struct tm parts;
	time_t wall;

	if (state.changes_at_s == INT64_MAX) {
		snprintf(to, WINDOW_TEXT_BYTES, state.open ? "always open" : "never opens");
		return to;
	}
	wall = window_zone_wall(&window->zone, state.changes_at_s);
	must(gmtime_r(&wall, &parts) != NULL);
	if (state.open && state.changes_at_s - at_s <= DAY_SECONDS)
		strftime(when, sizeof when, "%H:%M", &parts);
	else
		strftime(when, sizeof when, "%a %Y-%m-%d %H:%M", &parts);
	snprintf(to, WINDOW_TEXT_BYTES, "%s %s %s", word, when, window->zone.name);
	return to;
}

static enum err read_all(struct window *window, const char *spans, const char *blackout,
			 const char *bandwidth)
{
	static const struct window_spans always = {
		.at = { { 0, DAY_SECONDS, 0x7f, WINDOW_UNRATED } },
		.count = 1,
	};
	struct schedule *hours = &window->hours;
	struct text zone;
	enum err e;

	if ((e = window_parse_spans(spans, &hours->spans, &zone)) ||
	    (e = window_parse_dates(blackout, &hours->dates)) ||
	    (e = window_parse_rates(bandwidth, &window->rates.spans)))
		return e;
	if (!hours->spans.count)
		hours->spans = always;
	window->rates.last_date = hours->last_date = INT32_MIN;
	for (size_t i = 0; i < hours->dates.count; i++)
		if (hours->last_date < hours->dates.at[i].last)
			hours->last_date = hours->dates.at[i].last;
	return window_zone_open(zone, &window->zone);
}

enum err window_open(const char *spans, const char *blackout, const char *bandwidth,
		     struct window **out)
{
	struct window *window = calloc(1, sizeof *window);
	enum err e;

	*out = NULL;
	if (!window)
		return RAISE(ERR_MEMORY_EXHAUSTED, "reading a window");
	if ((e = read_all(window, spans, blackout, bandwidth)))
		window_close(&window);
	*out = window;
	return e;
}

void window_close(struct window **window)
{
	if (*window) {
		window_zone_close(&(*window)->zone);
		free(*window);
	}
	*window = NULL;
}
