/* Rest and limit of one peer. Arithmetic only. */
#include "engine/backoff.h"

#include <limits.h>

#include "engine/clock.h"

enum { FAILURES_MAX = 1000 }; /* far beyond BACKOFF_LAST: only a bound */

void backoff_init(struct backoff *b, unsigned limit_max)
{
	must(limit_max > 0);
	*b = (struct backoff){ .throttled_at = -1,
			       .started_at = -BACKOFF_FIRST,
			       .limit = limit_max,
			       .limit_max = limit_max };
}

/* Longest rest after so many failures. */
static nsec rest_most(unsigned failures)
{
	nsec rest = BACKOFF_FIRST;

	must(failures > 0);
	for (unsigned i = 1; i < failures && rest < BACKOFF_LAST; i++)
		rest *= 2;
	return min_nsec(rest, BACKOFF_LAST);
}

/* Anything from nothing to `most`. */
static nsec jitter(nsec most, uint64_t random)
{
	return (nsec)(random % ((uint64_t)most + 1));
}

static void rest_until(struct backoff *b, nsec at)
{
	if (at > b->not_before)
		b->not_before = at;
}

bool backoff_throttled(struct backoff *b, nsec began, nsec now, unsigned in_use, nsec suggested,
		       uint64_t random)
{
	bool is_event = began > b->throttled_at;
	unsigned borne = in_use < b->limit ? in_use : b->limit;

	must(began <= now && suggested >= 0);
	suggested = min_nsec(suggested, BACKOFF_SUGGESTED_MAX);
	/* Never sooner than it said, and not all of us in the same instant. */
	if (suggested)
		rest_until(b, now + suggested + jitter(suggested / 10, random));
	if (!is_event)
		return false;
	b->throttled_at = b->changed_at = now;
	if (b->failures < FAILURES_MAX)
		b->failures++;
	/* A limit that was never reached says nothing: half of what was in use. One alone was not
	 * too many, so what the peer bears is not known better than before. */
	if (borne > 1) {
		b->limit = borne / 2;
		b->refused_at = borne;
	}
	rest_until(b, now + jitter(rest_most(b->failures), random));
	return true;
}

/* Below the number that was refused last one more is safe, far above it the peer has changed its
 * mind. Between the two it is likely to be refused again, and that costs a rest and half of all
 * connections: so that is tried seldom. */
static nsec quiet_period(const struct backoff *b)
{
	return b->limit + 1 == b->refused_at || b->limit == b->refused_at ? BACKOFF_HOLD
									  : BACKOFF_QUIET;
}

void backoff_worked(struct backoff *b, nsec began, nsec now)
{
	must(began <= now);
	/* One that was there before the peer refused others says nothing of its mood now. */
	if (began > b->throttled_at)
		b->failures = 0;
	if (now < b->not_before || now - b->changed_at < quiet_period(b))
		return;
	b->changed_at = now;
	if (b->limit < b->limit_max)
		b->limit++;
}

void backoff_rest(struct backoff *b, nsec until)
{
	rest_until(b, until);
}

void backoff_granted(struct backoff *b, unsigned granted, nsec now)
{
	granted = granted ? granted : 1;
	if (granted >= b->limit)
		return;
	b->limit = granted;
	b->refused_at = granted + 1;
	b->changed_at = now;
}

bool backoff_may_start(const struct backoff *b, nsec now, unsigned in_use, nsec *when)
{
	*when = b->not_before;
	if (b->failures && b->started_at + BACKOFF_FIRST > *when)
		*when = b->started_at + BACKOFF_FIRST;
	if (now < *when)
		return false;
	*when = DEADLINE_NEVER;
	return in_use < b->limit;
}

void backoff_started(struct backoff *b, nsec now)
{
	b->started_at = now;
}

/* Rounded up: a rest is not cut short by being written down. */
static int64_t wall_seconds(nsec wall)
{
	return (wall + NSEC_SECOND - 1) / NSEC_SECOND;
}

struct backoff_saved backoff_save(const struct backoff *b, nsec now, nsec wall)
{
	return (struct backoff_saved){
		.not_before_wall_s =
			b->not_before > now ? wall_seconds(wall + (b->not_before - now)) : 0,
		.failures = b->failures,
		.limit = b->limit < b->limit_max ? b->limit : 0,
	};
}

void backoff_load(struct backoff *b, const struct backoff_saved *saved, nsec now, nsec wall)
{
	int64_t rest_s_max = BACKOFF_SUGGESTED_MAX / NSEC_SECOND * 11 / 10;
	int64_t wall_s = wall / NSEC_SECOND;

	if (saved->not_before_wall_s > wall_s)
		b->not_before =
			now + min_nsec(saved->not_before_wall_s - wall_s, rest_s_max) * NSEC_SECOND;
	b->failures = saved->failures < FAILURES_MAX ? saved->failures : FAILURES_MAX;
	if (saved->limit && saved->limit < b->limit_max)
		b->limit = saved->limit;
	b->changed_at = now;
}
