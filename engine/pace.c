#include "engine/pace.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "engine/clock.h"

/* What nobody used is kept for this long. */
static const nsec CREDIT = 100 * NSEC_MILLISECOND;

/* Bytes are granted as time goes by and taken as they come. Both are counted from the last change
 * of the rate and never rounded in between, so the rate is exact however small the pieces are. */
struct pace {
	pthread_mutex_t lock;
	atomic_uint_fast64_t rate; /* bytes per second; written under the lock */
	nsec since;		   /* when `rate` was set */
	uint64_t taken;		   /* since then; at the beginning what was still owed */
};

enum err pace_open(struct pace **out)
{
	struct pace *pace = calloc(1, sizeof *pace);

	*out = pace;
	if (!pace)
		return RAISE(ERR_MEMORY_EXHAUSTED, "setting up the bandwidth limit");
	must(pthread_mutex_init(&pace->lock, NULL) == 0);
	return OK;
}

void pace_close(struct pace **pace)
{
	if (*pace)
		must(pthread_mutex_destroy(&(*pace)->lock) == 0);
	free(*pace);
	*pace = NULL;
}

/* What the rate grants until then. */
static uint64_t granted(const struct pace *pace, uint64_t rate, nsec at)
{
	unsigned __int128 bytes;

	if (at <= pace->since)
		return 0;
	bytes = (unsigned __int128)rate * (uint64_t)(at - pace->since) / NSEC_SECOND;
	return bytes > UINT64_MAX ? UINT64_MAX : (uint64_t)bytes;
}

/* The first nanosecond at which the rate has granted all that was taken. */
static nsec paid_at(const struct pace *pace, uint64_t rate)
{
	unsigned __int128 wait = ((unsigned __int128)pace->taken * NSEC_SECOND + rate - 1) / rate;

	if (wait > (uint64_t)(DEADLINE_NEVER - pace->since))
		return DEADLINE_NEVER;
	return pace->since + (nsec)wait;
}

void pace_set(struct pace *pace, uint64_t bytes_per_second, nsec now)
{
	uint64_t rate, paid;

	must(pthread_mutex_lock(&pace->lock) == 0);
	rate = atomic_load(&pace->rate);
	paid = granted(pace, rate, now);
	if (rate != bytes_per_second) {
		pace->taken = rate && pace->taken > paid ? pace->taken - paid : 0;
		pace->since = now;
		atomic_store(&pace->rate, bytes_per_second);
	}
	must(pthread_mutex_unlock(&pace->lock) == 0);
}

nsec pace_take(struct pace *pace, uint64_t bytes, nsec now)
{
	uint64_t rate, least;
	nsec until = now;

	if (!atomic_load_explicit(&pace->rate, memory_order_relaxed))
		return now;
	must(pthread_mutex_lock(&pace->lock) == 0);
	rate = atomic_load(&pace->rate);
	if (rate) {
		least = granted(pace, rate, now - CREDIT);
		if (pace->taken < least)
			pace->taken = least;
		pace->taken = bytes > UINT64_MAX - pace->taken ? UINT64_MAX : pace->taken + bytes;
		until = paid_at(pace, rate);
	}
	must(pthread_mutex_unlock(&pace->lock) == 0);
	return until > now ? until : now;
}
