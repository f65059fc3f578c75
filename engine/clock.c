/* Time and randomness from the kernel. tests/sim links clock_sim.c in its place. */
#include "engine/clock.h"

#include <errno.h>
#include <sys/random.h>
#include <time.h>

static nsec read_clock(clockid_t clock)
{
	struct timespec now;

	must(clock_gettime(clock, &now) == 0);
	return now.tv_sec * NSEC_SECOND + now.tv_nsec;
}

nsec clock_now(void)
{
	return read_clock(CLOCK_MONOTONIC);
}

nsec clock_wall(void)
{
	return read_clock(CLOCK_REALTIME);
}

nsec clock_thread_cpu(void)
{
	return read_clock(CLOCK_THREAD_CPUTIME_ID);
}

void clock_random(void *to, size_t bytes)
{
	uint8_t *at = to;
	ssize_t got;

	while (bytes > 0) {
		got = getrandom(at, bytes, 0);
		must(got > 0 || errno == EINTR);
		if (got < 0)
			continue;
		at += got;
		bytes -= (size_t)got;
	}
}
