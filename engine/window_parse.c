#include "engine/window_parse.h"

#include <stdio.h>
#include <strings.h>
#include <time.h>

#include "engine/bytes.h"
#include "engine/opt.h"
#include "engine/window_zone.h"

enum { ALL_DAYS = 0x7f, MINUTE_SECONDS = 60, HOUR_SECONDS = 60 * 60 };

/* Where the reading is; `what` names the text in errors. */
struct cursor {
	const char *at, *what;
};

static bool is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static void skip_blanks(struct cursor *c)
{
	c->at += strspn(c->at, " \t");
}

static bool skip_char(struct cursor *c, char wanted)
{
	if (*c->at != wanted)
		return false;
	c->at++;
	return true;
}

/* The part that begins at `from`, as far as the next comma, does not read as expected. */
static enum err refuse(const struct cursor *c, const char *from, const char *expected)
{
	char shown[80];

	if (!*from)
		return RAISE(ERR_INPUT_USAGE, "%s ends too early: expected %s", c->what, expected);
	err_quote(shown, sizeof shown, (struct text){ from, strcspn(from, ",") });
	return RAISE(ERR_INPUT_USAGE, "%s, at \"%s\": expected %s", c->what, shown, expected);
}

/* Digits, at least digits_min and at most digits_max of them. */
static bool read_digits(struct cursor *c, size_t digits_min, size_t digits_max, int32_t *value)
{
	size_t digits = strspn(c->at, "0123456789");

	if (digits < digits_min || digits > digits_max)
		return false;
	for (*value = 0; digits > 0; digits--)
		*value = *value * 10 + (*c->at++ - '0');
	return true;
}

/* ---- days ---- */

/* "mon", "Monday" and what lies between; 0 is Monday. Leaves the cursor where it is if it is none.
 */
static bool read_day(struct cursor *c, unsigned *day)
{
	static const char *const names[] = { "monday", "tuesday",  "wednesday", "thursday",
					     "friday", "saturday", "sunday" };
	size_t letters = 0;

	while (is_letter(c->at[letters]))
		letters++;
	for (*day = 0; *day < ARRAY_COUNT(names); ++*day) {
		if (letters < 3 || letters > strlen(names[*day]) ||
		    strncasecmp(c->at, names[*day], letters) != 0)
			continue;
		c->at += letters;
		return true;
	}
	return false;
}

/* "mon", "mon-fri", "sat-mon", several separated by blanks or commas; *days stays 0 without any. */
static enum err read_days(struct cursor *c, uint8_t *days)
{
	unsigned first, last;

	*days = 0;
	while (read_day(c, &first)) {
		skip_blanks(c);
		last = first;
		if (skip_char(c, '-')) {
			skip_blanks(c);
			if (!read_day(c, &last))
				return refuse(c, c->at, "a day such as fri after the dash");
			skip_blanks(c);
		}
		for (unsigned day = first;; day = (day + 1) % 7) {
			*days |= (uint8_t)(1u << day);
			if (day == last)
				break;
		}
		if (skip_char(c, ','))
			skip_blanks(c);
	}
	return OK;
}

/* ---- spans ---- */

/* "22:00", and "24:00" too where a span may end. */
static bool read_time(struct cursor *c, int32_t *seconds)
{
	int32_t hour, minute;

	if (!read_digits(c, 1, 2, &hour) || !skip_char(c, ':') || !read_digits(c, 2, 2, &minute) ||
	    *c->at == ':')
		return false;
	*seconds = hour * HOUR_SECONDS + minute * MINUTE_SECONDS;
	return minute < 60 && *seconds <= DAY_SECONDS;
}

static enum err read_times(struct cursor *c, struct window_span *span)
{
	const char *from = c->at;

	if (!read_time(c, &span->begin_s) || span->begin_s == DAY_SECONDS)
		return refuse(c, from,
			      "a span such as 22:00-06:00 that begins by 23:59 and ends by 24:00");
	skip_blanks(c);
	if (!skip_char(c, '-'))
		return refuse(c, from, "a dash and the time the span ends: 22:00-06:00");
	skip_blanks(c);
	if (!read_time(c, &span->end_s))
		return refuse(c, from, "an end such as 06:00 after the dash, 24:00 at most");
	if (span->begin_s == span->end_s)
		return refuse(c, from, "two different times; a whole day is 00:00-24:00");
	if (span->end_s < span->begin_s)
		span->end_s += DAY_SECONDS;
	return OK;
}

/* "50MB/s" */
static enum err read_rate(struct cursor *c, struct window_span *span)
{
	const char *from = c->at;
	size_t length = strcspn(from, ", \t");
	char size[24];

	if (length < 3 || length - 2 >= sizeof size || strncmp(from + length - 2, "/s", 2) != 0)
		return refuse(c, from, "a rate such as 50MB/s after the span");
	bytes_copy(size, from, length - 2, BYTES_META);
	size[length - 2] = '\0';
	if (!opt_size(size, &span->bytes_per_second) || !span->bytes_per_second)
		return refuse(
			c, from,
			"a rate such as 50MB/s or 800kB/s, in bytes and more than 0 (hours in "
			"which nothing may be moved belong to no window)");
	c->at += length;
	return OK;
}

/* "[DAYS] HH:MM-HH:MM", and a rate if there are any. */
static enum err read_span(struct cursor *c, bool rated, struct window_spans *spans)
{
	struct window_span span = { .bytes_per_second = WINDOW_UNRATED };
	const char *from = c->at;
	enum err e;

	if (spans->count == WINDOW_SPANS_MAX)
		return refuse(c, from, "48 spans at most");
	if ((e = read_days(c, &span.days)) || (e = read_times(c, &span)))
		return e;
	skip_blanks(c);
	if (rated && (e = read_rate(c, &span)))
		return e;
	/* "mon-fri 18:00-20:00, 23:00-06:00": does the second hold on Sundays? */
	if (spans->count && (span.days == 0) != (spans->at[0].days == 0))
		return refuse(c, from, "the days with every span, or with none");
	spans->at[spans->count++] = span;
	return OK;
}

/* Spans separated by commas, up to where something else follows. */
static enum err read_spans(struct cursor *c, bool rated, struct window_spans *spans)
{
	enum err e = OK;

	do {
		skip_blanks(c);
		if ((e = read_span(c, rated, spans)))
			return e;
		skip_blanks(c);
	} while (skip_char(c, ','));
	for (size_t i = 0; i < spans->count; i++)
		if (!spans->at[i].days)
			spans->at[i].days = ALL_DAYS;
	return OK;
}

/* Whether a zone's name comes next; a day is none, and stands in front of its span. */
static bool at_zone(struct cursor c)
{
	unsigned day;

	return is_letter(*c.at) && !read_day(&c, &day);
}

enum err window_parse_spans(const char *from, struct window_spans *spans, struct text *zone)
{
	struct cursor c = { from, "window" };
	enum err e;

	spans->count = 0;
	skip_blanks(&c);
	if (*c.at && !at_zone(c) && (e = read_spans(&c, false, spans)))
		return e;
	*zone = (struct text){ c.at, strcspn(c.at, ", \t") };
	c.at += zone->bytes;
	skip_blanks(&c);
	if (*c.at || (zone->bytes && !at_zone((struct cursor){ zone->at, c.what })))
		return refuse(&c, zone->at,
			      "a span with its days in front (mon-fri 22:00-06:00), commas between "
			      "spans, and last the zone such as Europe/Berlin");
	return OK;
}

enum err window_parse_rates(const char *from, struct window_spans *spans)
{
	struct cursor c = { from, "bandwidth" };
	enum err e;

	spans->count = 0;
	skip_blanks(&c);
	if (!*c.at)
		return OK;
	if ((e = read_spans(&c, true, spans)))
		return e;
	return *c.at ? refuse(&c, c.at, "a comma before another span; the zone is the window's")
		     : OK;
}

/* ---- dates ---- */

/* "2026-12-24" as a day since 1970-01-01. */
static bool read_date(struct cursor *c, int32_t *day)
{
	int32_t year, month, day_of_month;
	struct tm parts = { 0 };

	if (!read_digits(c, 4, 4, &year) || !skip_char(c, '-') || !read_digits(c, 2, 2, &month) ||
	    !skip_char(c, '-') || !read_digits(c, 2, 2, &day_of_month) || is_digit(*c->at))
		return false;
	parts.tm_year = year - 1900;
	parts.tm_mon = month - 1;
	parts.tm_mday = day_of_month;
	*day = (int32_t)(timegm(&parts) / DAY_SECONDS);
	/* libc makes the first of March of a 29th of February that is none. */
	return year >= 2000 && year < 2050 && parts.tm_mday == day_of_month &&
	       parts.tm_mon == month - 1;
}

enum err window_parse_dates(const char *text, struct window_dates *dates)
{
	struct cursor c = { text, "blackout" };

	dates->count = 0;
	skip_blanks(&c);
	if (!*c.at)
		return OK;
	do {
		int32_t first, last;
		const char *from;

		skip_blanks(&c);
		from = c.at;
		if (!read_date(&c, &first))
			return refuse(&c, from, "a date such as 2026-12-24, from 2000 to 2049");
		last = first;
		if (skip_char(&c, '.') && !(skip_char(&c, '.') && read_date(&c, &last)))
			return refuse(&c, from, "two dates such as 2026-12-31..2027-01-02");
		if (last < first)
			return refuse(&c, from, "the earlier date first");
		if (dates->count == WINDOW_DATES_MAX)
			return refuse(&c, from, "400 dates at most; name ranges");
		dates->at[dates->count].first = first;
		dates->at[dates->count++].last = last;
		skip_blanks(&c);
	} while (skip_char(&c, ','));
	return *c.at ? refuse(&c, c.at, "a comma between dates, or .. for a range") : OK;
}
