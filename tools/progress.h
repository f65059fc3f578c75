/* Live progress on stderr: one redrawn line on a terminal, a line every few seconds elsewhere. */
#ifndef MAILHAUL_TOOLS_PROGRESS_H
#define MAILHAUL_TOOLS_PROGRESS_H

#include "engine/lane.h"

struct progress {
	const struct lane_progress *lane; /* borrowed */
	nsec started;
	/* own */
	nsec last_at;
	uint64_t last_bytes, last_messages;
	double bytes_per_second, messages_per_second; /* smoothed over some seconds */
};

/* The main function of a fiber beside the lane: shows a struct progress until cancelled, then
 * removes its line. Suspends. */
enum err progress_run(void *progress);

/* One line for what is known at `now`, at most `columns` wide. */
char *progress_line(struct progress *, nsec now, unsigned columns, char *to, size_t to_bytes);

#endif
