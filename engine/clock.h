/* The only door to time and randomness, so that tests/sim can replay a run from a seed.
 * clock.c asks the kernel; tests/sim/clock_sim.c is linked in its place. */
#ifndef MAILHAUL_CLOCK_H
#define MAILHAUL_CLOCK_H

#include "engine/base.h"

/* A deadline that does not come: where somebody else is sure to end the wait. */
#define DEADLINE_NEVER INT64_MAX

/* Monotonic, never negative; deadlines are values of this clock. */
nsec clock_now(void);
/* Nanoseconds since 1970-01-01 UTC; may jump; for reports and file contents only. */
nsec clock_wall(void);
/* CPU time of this thread (user + system), for accounting. */
nsec clock_thread_cpu(void);
/* Fill with unpredictable bytes. Keys are made by libsodium, not here. */
void clock_random(void *to, size_t bytes);

static inline nsec clock_after(nsec duration)
{
	return clock_now() + duration;
}

#endif
