/* Additive increase, multiplicative decrease. Arithmetic only. */
#include "engine/rate.h"

#define RATE_WINDOW (2 * NSEC_SECOND)
#define RATE_SOON   (NSEC_SECOND / 4) /* a shorter window says nothing yet */

/* What no mail server comes near: a bound for arithmetic. */
static const uint64_t RATE_MOST_MILLI = UINT64_C(1000) * 1000 * 1000;

void rate_init(struct rate *r, uint64_t most_milli, nsec now)
{
	*r = (struct rate){ .throttled_at = -1, .counted_at = now, .changed_at = now };
	rate_bound(r, most_milli);
}

void rate_bound(struct rate *r, uint64_t most_milli)
{
	r->most_milli = min_u64(most_milli, RATE_MOST_MILLI);
}

uint64_t rate_milli(const struct rate *r)
{
	if (!r->limit_milli || !r->most_milli)
		return r->limit_milli + r->most_milli;
	return min_u64(r->limit_milli, r->most_milli);
}

/* ---- how fast it goes ---- */

static uint64_t per_second(uint64_t messages, nsec within)
{
	unsigned __int128 milli =
		(unsigned __int128)messages * 1000 * NSEC_SECOND / (uint64_t)within;

	return milli > RATE_MOST_MILLI ? RATE_MOST_MILLI : (uint64_t)milli;
}

static void count(struct rate *r, unsigned messages, nsec now)
{
	if (now - r->counted_at >= RATE_WINDOW) {
		r->seen_milli = per_second(r->counted, now - r->counted_at);
		r->counted = 0;
		r->counted_at = now;
	}
	r->counted += messages;
}

/* The faster one of the window that goes on and the one before: what came to an end long ago is not
 * what a peer complains of, and what it complains of may just have begun. */
static uint64_t speed(const struct rate *r, nsec now)
{
	nsec within = now - r->counted_at;
	uint64_t present = within >= RATE_SOON ? per_second(r->counted, within)
					       : per_second(r->counted, NSEC_SECOND);

	return within < 2 * RATE_WINDOW ? max_u64(present, r->seen_milli) : present;
}

/* ---- the rate ---- */

static uint64_t step(const struct rate *r)
{
	return max_u64(RATE_LEAST_MILLI / 2, r->refused_milli / RATE_STEPS);
}

static nsec quiet_period(const struct rate *r)
{
	bool is_near = r->limit_milli + step(r) >= r->refused_milli &&
		       r->limit_milli < r->refused_milli + step(r);

	return is_near ? RATE_HOLD : RATE_QUIET;
}

/* A rate that nobody used to the full has not been tried. */
static void grow(struct rate *r, nsec now)
{
	if (!r->limit_milli || now - r->changed_at < quiet_period(r))
		return;
	if (r->seen_milli < r->limit_milli / 4 * 3)
		return;
	r->changed_at = now;
	r->limit_milli += step(r);
	if (r->limit_milli >= RATE_FORGET * r->refused_milli)
		r->limit_milli = r->refused_milli = 0;
}

nsec rate_take(struct rate *r, unsigned messages, nsec now)
{
	uint64_t milli;

	count(r, messages, now);
	grow(r, now);
	if (!(milli = rate_milli(r)))
		return now;
	if (r->paid_until < now)
		r->paid_until = now;
	r->paid_until += (nsec)((unsigned __int128)messages * 1000 * NSEC_SECOND / milli);
	return r->paid_until;
}

bool rate_throttled(struct rate *r, nsec now)
{
	uint64_t was = speed(r, now);

	if (!was || (r->throttled_at >= 0 && now - r->throttled_at < RATE_EVENT))
		return false;
	/* Waiting for its turn it goes no faster than this, whatever a window says. */
	if (rate_milli(r))
		was = min_u64(was, rate_milli(r));
	r->throttled_at = r->changed_at = now;
	r->refused_milli = max_u64(was, 2 * RATE_LEAST_MILLI);
	r->limit_milli = max_u64(was / 2, RATE_LEAST_MILLI);
	return true;
}

/* ---- from run to run ---- */

struct rate_saved rate_save(const struct rate *r)
{
	return (struct rate_saved){ r->limit_milli, r->refused_milli };
}

void rate_load(struct rate *r, const struct rate_saved *saved, nsec now)
{
	r->limit_milli = r->refused_milli = 0;
	r->changed_at = now;
	if (!saved->limit_milli || !saved->refused_milli)
		return;
	r->refused_milli = min_u64(saved->refused_milli, RATE_MOST_MILLI);
	r->limit_milli = max_u64(RATE_LEAST_MILLI,
				 min_u64(saved->limit_milli, RATE_FORGET * r->refused_milli));
}
