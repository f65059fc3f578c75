#include "tools/progress.h"

#include "tests/test.h"
#include "tools/units.h"

static struct lane_progress lane;
static char line[512];

static struct progress begin(void)
{
	lane = (struct lane_progress){ .boxes_known = 4, .boxes_done = 1, .messages_known = 400 };
	return (struct progress){ .lane = &lane, .started = NSEC_SECOND };
}

TEST(a_steady_flow_gives_its_speed_and_the_time_left)
{
	struct progress progress = begin();

	snprintf(lane.box_name, sizeof lane.box_name, "INBOX");
	for (unsigned second = 1; second <= 100; second++) {
		lane.messages_read = 2 * second;
		lane.bytes_read = 1000000 * second;
		progress_line(&progress, (1 + second) * NSEC_SECOND, 200, line, sizeof line);
	}
	CHECK_TEXT(line,
		   "1/4 folders  0/400 messages  100.0 MB  1.0 MB/s  2 msg/s  ETA 1:40 min  INBOX");
}

TEST(what_earlier_runs_moved_is_counted_but_not_waited_for)
{
	struct progress progress = begin();

	lane.messages_before = 300;
	lane.messages_read = lane.messages_moved = 50;
	progress_line(&progress, 51 * NSEC_SECOND, 200, line, sizeof line);
	CHECK(strstr(line, "350/400 messages"));
	CHECK(strstr(line, "ETA 50 s"));
}

TEST(a_line_fits_its_terminal)
{
	struct progress progress = begin();

	memset(lane.box_name, 'x', sizeof lane.box_name - 1);
	progress_line(&progress, 2 * NSEC_SECOND, 79, line, sizeof line);
	CHECK_EQ(strlen(line), 79 - 1 + 3); /* the last column is an ellipsis of three bytes */
	progress_line(&progress, 2 * NSEC_SECOND, 1, line, sizeof line);
	CHECK_TEXT(line, "\xe2\x80\xa6");
}

TEST(before_anything_moved_there_is_no_estimate)
{
	struct progress progress = begin();

	progress_line(&progress, NSEC_SECOND, 200, line, sizeof line); /* no time has passed */
	CHECK(!strstr(line, "ETA"));
	lane.messages_known = lane.messages_read = 5;
	progress_line(&progress, 2 * NSEC_SECOND, 200, line, sizeof line);
	CHECK(!strstr(line, "ETA")); /* nothing is left */
}

TEST(numbers_are_written_as_people_read_them)
{
	char to[UNITS_TEXT_BYTES];

	CHECK_TEXT(units_bytes(to, 0), "0 B");
	CHECK_TEXT(units_bytes(to, 999), "999 B");
	CHECK_TEXT(units_bytes(to, 1000), "1.0 kB");
	CHECK_TEXT(units_bytes(to, 999949), "999.9 kB");
	CHECK_TEXT(units_bytes(to, 999951), "1.0 MB");
	CHECK_TEXT(units_bytes(to, UINT64_MAX), "18.4 EB");
	CHECK_TEXT(units_duration(to, 400 * NSEC_MILLISECOND), "0.4 s");
	CHECK_TEXT(units_duration(to, 59 * NSEC_SECOND), "59 s");
	CHECK_TEXT(units_duration(to, 185 * NSEC_SECOND), "3:05 min");
	CHECK_TEXT(units_duration(to, 7800 * NSEC_SECOND), "2:10 h");
	CHECK_TEXT(units_wall(to, 0), "1970-01-01T00:00:00Z");
	CHECK(units_rate(10, 0) <= 0);
}
