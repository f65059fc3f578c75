#include "tools/durations.h"

static unsigned step_of(uint64_t us)
{
	unsigned doublings;

	us = min_u64(us, UINT32_MAX);
	if (us < 8)
		return (unsigned)us;
	doublings = 63 - (unsigned)__builtin_clzll(us);
	return 8 * (doublings - 2) + (unsigned)(us >> (doublings - 3) & 7);
}

/* The longest of a step. */
static nsec end_of(unsigned step)
{
	uint64_t us = step;

	if (step >= 8)
		us = ((UINT64_C(9) + step % 8) << (step / 8 - 1)) - 1;
	return (nsec)us * NSEC_MICROSECOND;
}

void durations_add(struct durations *durations, nsec duration)
{
	durations->count++;
	durations->steps[step_of((uint64_t)duration / NSEC_MICROSECOND)]++;
}

nsec durations_of(const struct durations *durations, unsigned permille)
{
	uint64_t wanted = (durations->count * permille + 999) / 1000, passed = 0;
	unsigned step = 0;

	must(permille <= 1000);
	while (step + 1 < DURATIONS_STEPS && (passed += durations->steps[step]) < wanted)
		step++;
	return durations->count ? end_of(step) : 0;
}
