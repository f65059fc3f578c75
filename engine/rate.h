/* How many messages a second a peer bears, learnt as TCP learns its window: additive increase while
 * it is quiet, multiplicative decrease when it complains. A value with pure functions: no clock, no
 * lock, no randomness. `now` is of clock_now(); one that goes back changes nothing.
 *
 * Unbounded until the peer complains for the first time; then half of what it was sent in the last
 * seconds. After each quiet period in which the rate was made use of, a sixteenth more of what it
 * refused last; next to that the period is long, so most of the time goes by just below what the
 * peer bears. A peer that bears eight times what it once refused was not meant so: unbounded again.
 * Not for: resting altogether, and connections (engine/backoff). */
#ifndef MAILHAUL_RATE_H
#define MAILHAUL_RATE_H

#include "engine/base.h"

#define RATE_QUIET (15 * NSEC_SECOND)
#define RATE_HOLD  (5 * 60 * NSEC_SECOND) /* the quiet period next to what was refused last */
#define RATE_EVENT (5 * NSEC_SECOND)	  /* complaints within it are one */

enum {
	/* Rates are in messages per 1000 s ("milli": thousandths of a message a second). Slower
	 * than one message in two seconds nothing goes: a server that refuses that has to say how
	 * long it wants to rest. */
	RATE_LEAST_MILLI = 500,
	RATE_STEPS = 16,
	RATE_FORGET = 8,
};

struct rate {
	uint64_t limit_milli;	/* learnt; 0: none */
	uint64_t most_milli;	/* as asked for; 0: none */
	uint64_t refused_milli; /* so fast it went when the peer complained last; 0: never did */
	uint64_t seen_milli;	/* in the last full window */
	uint64_t counted;	/* messages in the window that goes on */
	nsec counted_at;	/* it began */
	nsec paid_until;	/* what was taken is paid for then */
	nsec throttled_at;	/* -1: never */
	nsec changed_at;	/* `limit_milli` */
};

void rate_init(struct rate *, uint64_t most_milli, nsec now);
/* Another bound is asked for from now on; what was learnt stays. */
void rate_bound(struct rate *, uint64_t most_milli);
/* The lower one of what was learnt and what was asked for; 0: unbounded. */
uint64_t rate_milli(const struct rate *);

/* So many messages pass, and until when to wait before the next does (`now`: go on at once). They
 * are taken first and paid for afterwards, so the mean is exact and nobody waits for the first. */
nsec rate_take(struct rate *, unsigned messages, nsec now) MUST_CHECK;
/* The peer complained. False: it belongs to the complaint before, or nothing was sent, and the rate
 * is not what it complains of. */
bool rate_throttled(struct rate *, nsec now);

/* What is kept from run to run. */
struct rate_saved {
	uint64_t limit_milli, refused_milli;
};
struct rate_saved rate_save(const struct rate *);
/* Into an initialised one. What cannot be is cut to what can. */
void rate_load(struct rate *, const struct rate_saved *, nsec now);

#endif
