/* When a run may work, and how fast: "22:00-06:00 Europe/Berlin" on certain days, never on blackout
 * dates, with a bandwidth per hour. Pure calendar: takes wall-clock times, knows no clock. Daylight
 * saving comes from the system's zoneinfo: times are those the zone's wall clock shows, so
 * 22:00-06:00 is seven hours long in the night the clock is put forward and nine when it is put
 * back. A time the clock jumps over is the moment of the jump (a span that lies in the gap is not
 * at all); of a time that comes twice, the first counts, for begin and end. */
#ifndef MAILHAUL_WINDOW_H
#define MAILHAUL_WINDOW_H

#include "engine/err.h"

struct window;

/* Read a window. Blocks; sets $TZ for a moment, so call it while there is one thread only. A window
 * that is open is constant: every thread may ask it.
 * spans            "22:00-06:00", several separated by commas, all or none with days in front:
 *                  "mon-fri 22:00-06:00, sat,sun 00:00-24:00"; a span over midnight belongs to the
 *                  day it begins on; last the zone: "Europe/Berlin" (none: the system's own).
 *                  Without spans ("", or the zone only) the window is always open
 * blackout         "2026-12-24, 2026-12-31..2027-01-02": dates in the window's zone on which no
 *                  span begins and any span is cut; "" for none
 * bandwidth        "22:00-00:00 50MB/s, 00:00-06:00 200MB/s", days as above; where several apply,
 *                  the lowest does; hours not named are unbounded; "" for no bound at all
 * returns          OK | ERR_INPUT_USAGE, the note says which part and what is expected |
 *                  ERR_MEMORY_EXHAUSTED */
enum err window_open(const char *spans, const char *blackout, const char *bandwidth,
		     struct window **) MUST_CHECK;
void window_close(struct window **);

struct window_state {
	bool open;
	int64_t changes_at_s;	   /* wall time (seconds since 1970 UTC) when `open` changes next;
				      INT64_MAX: never */
	uint64_t bytes_per_second; /* now; 0: unbounded */
	int64_t bandwidth_changes_at_s; /* when bytes_per_second changes next; INT64_MAX: never */
};
/* What holds at wall time `at_s`. NULL is a window that is always open, without bounds. Some
 * microseconds; the longer nothing changes the more, so keep the answer until it changes. */
struct window_state window_at(const struct window *, int64_t at_s);
/* "until 06:00 Europe/Berlin", "opens Mon 2026-11-23 22:00 Europe/Berlin", "always open"; for
 * people. Returns `to`. */
enum { WINDOW_TEXT_BYTES = 128 };
char *window_describe(const struct window *, int64_t at_s, char to[WINDOW_TEXT_BYTES]);

#endif
