/* The only place that acts on an error's retry class. */
#include "engine/retry.h"

#include "engine/clock.h"

enum { RETRY_FAILURES_MAX = 8 };
#define BACKOFF_FIRST (NSEC_SECOND / 2)
#define BACKOFF_LAST  (60 * NSEC_SECOND)

void retry_progress(struct retry *retry)
{
	retry->failures = 0;
}

/* Longest wait before attempt number `failures` + 1: doubling, as long as it is below the last. */
static nsec backoff(unsigned failures)
{
	nsec wait = BACKOFF_FIRST;

	must(failures > 0);
	for (unsigned i = 1; i < failures && wait < BACKOFF_LAST; i++)
		wait *= 2;
	return min_nsec(wait, BACKOFF_LAST);
}

/* Anything from nothing to `most`: full jitter spreads those who failed together over the whole
 * time, where a fixed wait would bring them back together. */
static nsec jitter(nsec most)
{
	uint64_t random;

	must(most >= 0);
	clock_random(&random, sizeof random);
	return (nsec)(random % ((uint64_t)most + 1));
}

bool retry_again(struct retry *retry, enum err e, nsec *at)
{
	enum err_retry retry_class = err_retry_class(e);
	nsec most;

	if (retry_class != RETRY_NOW && retry_class != RETRY_RECONNECT &&
	    retry_class != RETRY_BACKOFF)
		return false;
	if (retry_class == RETRY_BACKOFF && retry->backoff_is_elsewhere)
		return false;
	if (++retry->failures >= RETRY_FAILURES_MAX)
		return false;
	most = backoff(retry->failures);
	*at = clock_after(jitter(retry_class == RETRY_BACKOFF ? most : most / 10));
	return true;
}
