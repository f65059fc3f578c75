/* The offset of one zone's wall clock from UTC, at any time. Comes from the system's zoneinfo
 * through libc, once, when the zone is opened; afterwards a constant table that every thread may
 * read. Not for: showing times of other zones, leap seconds (POSIX time has none). */
#ifndef MAILHAUL_WINDOW_ZONE_H
#define MAILHAUL_WINDOW_ZONE_H

#include "engine/err.h"

enum {
	DAY_SECONDS = 24 * 60 * 60,
	/* The longest name of Debian 12 has 30 bytes (America/Argentina/ComodRivadavia, 32). */
	WINDOW_ZONE_NAME_BYTES = 64,
};

/* From this moment on (seconds since 1970 UTC) the wall clock shows UTC plus this. */
struct window_zone_step {
	int64_t from_s;
	int32_t offset_s;
};
struct window_zone {
	char name[WINDOW_ZONE_NAME_BYTES]; /* "Europe/Berlin"; "local time" for the system's own */
	struct window_zone_step *steps; /* in order; the first holds for all time before it too */
	size_t steps_count;
};

/* Read a zone, "" for the system's own. libc knows one zone at a time, the one in $TZ, so $TZ is
 * changed and put back: call it while there is one thread only. Known from 2000 to 2050; outside
 * that the nearest offset holds.
 * returns     OK | ERR_INPUT_USAGE no such zone | ERR_MEMORY_EXHAUSTED */
enum err window_zone_open(struct text name, struct window_zone *) MUST_CHECK;
void window_zone_close(struct window_zone *);

/* What the wall clock shows at at_s, as seconds since 1970-01-01 00:00 on that clock. */
int64_t window_zone_wall(const struct window_zone *, int64_t at_s);
/* The first moment at which the wall clock shows wall_s or something later: a time the clock jumps
 * over is the moment of the jump, of a time that comes twice it is the first. */
int64_t window_zone_first(const struct window_zone *, int64_t wall_s);

#endif
