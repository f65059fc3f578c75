#include "tools/progress.h"

#include <stdio.h>
#include <unistd.h>

#include "engine/clock.h"
#include "engine/fiber.h"
#include "tools/terminal.h"
#include "tools/units.h"

#define REDRAW_EVERY (250 * NSEC_MILLISECOND)
#define LINE_EVERY   (5 * NSEC_SECOND)
/* Speeds shown lean on about this much of the past. */
#define SMOOTHED_OVER ((double)(3 * NSEC_SECOND))

static void smooth(struct progress *progress, nsec now)
{
	const struct lane_progress *lane = progress->lane;
	nsec since = now - (progress->last_at ? progress->last_at : progress->started);
	double weight = (double)since / ((double)since + SMOOTHED_OVER);

	if (since <= 0)
		return;
	progress->bytes_per_second +=
		weight * (units_rate(lane->bytes_read - progress->last_bytes, since) -
			  progress->bytes_per_second);
	progress->messages_per_second +=
		weight * (units_rate(lane->messages_read - progress->last_messages, since) -
			  progress->messages_per_second);
	progress->last_at = now;
	progress->last_bytes = lane->bytes_read;
	progress->last_messages = lane->messages_read;
}

/* By messages and over the whole run: sizes of what is to come are mostly unknown, and a rate over
 * seconds would make it jump. What earlier runs settled is not read again. */
static void eta(const struct progress *progress, nsec now, char *to, size_t to_bytes)
{
	const struct lane_progress *lane = progress->lane;
	double rate = units_rate(lane->messages_read, now - progress->started);
	uint64_t gone = lane->messages_read + lane->messages_before + lane->messages_filtered;
	char time[UNITS_TEXT_BYTES];
	double left;

	to[0] = '\0';
	if (rate <= 0 || lane->messages_known <= gone)
		return;
	left = (double)(lane->messages_known - gone) / rate;
	if (left < 1e7)
		snprintf(to, to_bytes, "  ETA %s",
			 units_duration(time, (nsec)(left * (double)NSEC_SECOND)));
}

char *progress_line(struct progress *progress, nsec now, unsigned columns, char *to,
		    size_t to_bytes)
{
	const struct lane_progress *lane = progress->lane;
	char bytes[UNITS_TEXT_BYTES], speed[UNITS_TEXT_BYTES], left[UNITS_TEXT_BYTES + 8];
	char line[BOX_NAME_BYTES_MAX + 256];

	smooth(progress, now);
	eta(progress, now, left, sizeof left);
	snprintf(line, sizeof line,
		 "%llu/%llu folders  %llu/%llu messages  %s  %s/s  %.0f msg/s%s%s%s",
		 (unsigned long long)lane->boxes_done, (unsigned long long)lane->boxes_known,
		 (unsigned long long)(lane->messages_moved + lane->messages_before),
		 (unsigned long long)lane->messages_known,
		 units_bytes(bytes, lane->bytes_read),
		 units_bytes(speed, (uint64_t)progress->bytes_per_second),
		 progress->messages_per_second, left, *lane->box_name ? "  " : "", lane->box_name);
	return terminal_fit(to, to_bytes, text_of(line), columns);
}

static void show(struct progress *progress, bool redraws)
{
	char line[1024];
	unsigned columns = redraws ? terminal_columns(STDERR_FILENO) : 200;

	if (redraws) {
		/* The last column stays free: some terminals wrap when it is written. */
		terminal_redraw(progress_line(progress, clock_now(), columns > 1 ? columns - 1 : 1,
					      line, sizeof line));
		return;
	}
	bytes_copy(line, "mailhaul: ", 10, BYTES_META);
	progress_line(progress, clock_now(), columns, line + 10, sizeof line - 10);
	terminal_say(line);
}

enum err progress_run(void *argument)
{
	struct progress *progress = argument;
	bool redraws = terminal_is(STDERR_FILENO);
	enum err e;

	while ((e = fiber_sleep(clock_after(redraws ? REDRAW_EVERY : LINE_EVERY))) == OK)
		show(progress, redraws);
	terminal_restore();
	return e;
}
