/* How long many things took, in little memory: counted in steps that are an eighth wide, so that
 * what is asked for is at most so much too long. Pure. Not for: times over a run (series.h). */
#ifndef MAILHAUL_TOOLS_DURATIONS_H
#define MAILHAUL_TOOLS_DURATIONS_H

#include "engine/base.h"

/* Whole microseconds below 8, then 8 steps to each doubling, up to 2^32 us. */
enum { DURATIONS_STEPS = 8 * 30 };

/* Zero-initialised is valid and empty. */
struct durations {
	uint64_t count;
	uint32_t steps[DURATIONS_STEPS];
};

/* More than 71 minutes count as so many. */
void durations_add(struct durations *, nsec);
/* What so many of a thousand did not exceed; 0 where there are none. */
nsec durations_of(const struct durations *, unsigned permille);

#endif
