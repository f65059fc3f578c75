#include "engine/window_zone.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>

#include "engine/bytes.h"

#define ZONEINFO "/usr/share/zoneinfo/"

/* Midnight of 2000-01-01 and of 2050-01-01, UTC. No rule that is in force is older, and no job is
 * planned for later. */
static const int64_t TABLE_BEGIN_S = 946684800, TABLE_END_S = 2524608000;

/* What libc says, of the zone that is set. */
static int32_t libc_offset(int64_t at_s)
{
	time_t at = at_s;
	struct tm parts;

	must(localtime_r(&at, &parts) != NULL); /* fails for years beyond int only */
	return (int32_t)parts.tm_gmtoff;
}

/* The second at which the offset that holds at `before` is replaced by that of `after`. */
static int64_t change_between(int64_t before, int64_t after)
{
	int32_t offset_s = libc_offset(before);

	while (after - before > 1) {
		int64_t middle = before + (after - before) / 2;

		if (libc_offset(middle) == offset_s)
			before = middle;
		else
			after = middle;
	}
	return after;
}

/* By days: the nearest that two changes of one zone come is a week (Gaza). */
static bool read_steps(struct buffer *steps)
{
	struct window_zone_step step = { TABLE_BEGIN_S, libc_offset(TABLE_BEGIN_S) };

	buffer_add(steps, &step, sizeof step);
	for (int64_t day = TABLE_BEGIN_S; day < TABLE_END_S; day += DAY_SECONDS) {
		if (libc_offset(day + DAY_SECONDS) == step.offset_s)
			continue;
		step.from_s = change_between(day, day + DAY_SECONDS);
		step.offset_s = libc_offset(step.from_s);
		buffer_add(steps, &step, sizeof step);
	}
	return !steps->failed;
}

/* Names are words of letters, digits, '_', '+' and '-' that begin with a capital, joined by '/'.
 * That keeps out "..", absolute paths and what else lies in zoneinfo (zone.tab, leapseconds). */
static bool is_zone_name(struct text name)
{
	for (size_t i = 0; i < name.bytes; i++) {
		char c = name.at[i];
		bool capital = c >= 'A' && c <= 'Z';
		bool other = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' ||
			     c == '+' || c == '-';

		if (i == 0 || name.at[i - 1] == '/' ? !capital : !capital && !other && c != '/')
			return false;
	}
	return name.bytes > 0 && name.bytes < WINDOW_ZONE_NAME_BYTES;
}

static void tz_set(const char *value)
{
	must((value ? setenv("TZ", value, 1) : unsetenv("TZ")) == 0);
	tzset();
}

/* Make `name` libc's zone. Where it cannot read the file, glibc takes UTC without a word and
 * without a name for it; other libcs call that UTC too, so the file is looked for as well. */
static bool tz_enter(struct text name)
{
	char path[1 + sizeof ZONEINFO +
		  WINDOW_ZONE_NAME_BYTES]; /* ":/usr/share/zoneinfo/Europe/Berlin" */
	struct stat status;

	if (!is_zone_name(name))
		return false;
	snprintf(path, sizeof path, ":" ZONEINFO "%.*s", (int)name.bytes, name.at);
	if (stat(path + 1, &status) != 0 || !S_ISREG(status.st_mode))
		return false;
	tz_set(path);
	return tzname[0][0] != '\0';
}

static enum err name_refused(struct text name)
{
	char shown[2 * WINDOW_ZONE_NAME_BYTES];

	return RAISE(
		ERR_INPUT_USAGE,
		"zone \"%s\": there is none of that name in " ZONEINFO "; expected one such as "
		"Europe/Berlin or UTC (`timedatectl list-timezones` shows them; Debian's package "
		"tzdata brings them)",
		err_quote(shown, sizeof shown, name));
}

enum err window_zone_open(struct text name, struct window_zone *zone)
{
	struct text shown = name.bytes ? name : text_of("local time");
	const char *current = getenv("TZ");
	char *kept = current ? strdup(current) : NULL;
	struct buffer steps = { 0 };
	enum err e = OK;

	*zone = (struct window_zone){ 0 };
	if (current && !kept)
		return RAISE(ERR_MEMORY_EXHAUSTED, "reading a time zone");
	tzset(); /* $TZ as it is now, when no zone is named */
	if (name.bytes && !tz_enter(name))
		e = name_refused(name);
	else if (!read_steps(&steps))
		e = RAISE(ERR_MEMORY_EXHAUSTED, "reading a time zone");
	if (name.bytes)
		tz_set(kept);
	free(kept);
	if (e) {
		buffer_free(&steps);
		return e;
	}
	bytes_copy(zone->name, shown.at, shown.bytes, BYTES_META); /* and the zero that is there */
	zone->steps = (void *)steps.at;
	zone->steps_count = steps.bytes / sizeof *zone->steps;
	return OK;
}

void window_zone_close(struct window_zone *zone)
{
	free(zone->steps);
	*zone = (struct window_zone){ 0 };
}

/* The step that holds at at_s. */
static size_t step_at(const struct window_zone *zone, int64_t at_s)
{
	size_t low = 0, high = zone->steps_count; /* low holds or is the first, high begins later */

	must(zone->steps_count > 0);
	while (high - low > 1) {
		size_t middle = low + (high - low) / 2;

		if (zone->steps[middle].from_s <= at_s)
			low = middle;
		else
			high = middle;
	}
	return low;
}

int64_t window_zone_wall(const struct window_zone *zone, int64_t at_s)
{
	return at_s + zone->steps[step_at(zone, at_s)].offset_s;
}

int64_t window_zone_first(const struct window_zone *zone, int64_t wall_s)
{
	/* No zone is a day or more from UTC: a day before, the clock has not shown it yet. */
	for (size_t i = step_at(zone, wall_s - DAY_SECONDS);; i++) {
		const struct window_zone_step *step = &zone->steps[i];
		int64_t at_s = wall_s - step->offset_s;

		if (at_s < step->from_s && i > 0)
			at_s = step->from_s;
		if (i + 1 == zone->steps_count || at_s < step[1].from_s)
			return at_s;
	}
}
