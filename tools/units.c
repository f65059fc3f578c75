#include "tools/units.h"

#include <stdio.h>
#include <time.h>

char *units_bytes(char to[UNITS_TEXT_BYTES], uint64_t bytes)
{
	static const char *const names[] = { "B", "kB", "MB", "GB", "TB", "PB", "EB" };
	double value = (double)bytes;
	size_t unit = 0;

	while (value >= 999.95 && unit + 1 < ARRAY_COUNT(names)) {
		value /= 1000;
		unit++;
	}
	snprintf(to, UNITS_TEXT_BYTES, unit ? "%.1f %s" : "%.0f %s", value, names[unit]);
	return to;
}

char *units_duration(char to[UNITS_TEXT_BYTES], nsec duration)
{
	long long seconds = duration / NSEC_SECOND;

	if (seconds < 10)
		snprintf(to, UNITS_TEXT_BYTES, "%.1f s", (double)duration / (double)NSEC_SECOND);
	else if (seconds < 60)
		snprintf(to, UNITS_TEXT_BYTES, "%lld s", seconds);
	else if (seconds < 3600)
		snprintf(to, UNITS_TEXT_BYTES, "%lld:%02lld min", seconds / 60, seconds % 60);
	else
		snprintf(to, UNITS_TEXT_BYTES, "%lld:%02lld h", seconds / 3600, seconds / 60 % 60);
	return to;
}

char *units_wall(char to[UNITS_TEXT_BYTES], int64_t wall_seconds)
{
	time_t seconds = wall_seconds;
	struct tm parts;

	if (!gmtime_r(&seconds, &parts) ||
	    !strftime(to, UNITS_TEXT_BYTES, "%Y-%m-%dT%H:%M:%SZ", &parts))
		snprintf(to, UNITS_TEXT_BYTES, "?");
	return to;
}

double units_rate(uint64_t n, nsec duration)
{
	return duration > 0 ? (double)n * (double)NSEC_SECOND / (double)duration : 0;
}

const char *units_plural(uint64_t n)
{
	return n == 1 ? "" : "s";
}
