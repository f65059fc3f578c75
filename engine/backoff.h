/* What is known of one peer (a host, an account) that asked us to slow down: until when it rests,
 * and how many connections it bears at once. A value with pure functions: no clock, no randomness,
 * no lock of its own; engine/batch.c keeps one per host and account under its lock.
 *
 * Rest: exponential with full jitter, 1 s doubling to 15 min; what the peer suggested is a floor.
 * Limit: halved when throttled, one more after each quiet period of work; the period is longer
 * where the peer refused last, so that most of the time goes by just below what it bears. After a
 * rest the peer is asked by one connection a second until one works, so that a host that still
 * refuses costs single attempts, not a wave of them. */
#ifndef MAILHAUL_BACKOFF_H
#define MAILHAUL_BACKOFF_H

#include "engine/base.h"

#define BACKOFF_FIRST NSEC_SECOND
#define BACKOFF_LAST  (15 * 60 * NSEC_SECOND)
#define BACKOFF_QUIET (10 * NSEC_SECOND)
#define BACKOFF_HOLD  (5 * 60 * NSEC_SECOND) /* the quiet period next to the last refusal */
/* No peer sends us away for longer: Gmail's lockouts last up to a day. */
#define BACKOFF_SUGGESTED_MAX (24 * 3600 * NSEC_SECOND)

struct backoff {
	nsec not_before;   /* nothing is started before; 0: no rest */
	nsec throttled_at; /* when the last throttling was counted; -1: never */
	nsec started_at;   /* when a connection was started last */
	nsec changed_at;   /* when `limit` changed last, up or down */
	unsigned failures; /* throttlings since a connection begun after them worked */
	unsigned limit;	   /* connections at once */
	unsigned limit_max;
	unsigned refused_at; /* so many were in use when it throttled last; 0: not known */
};

/* limit_max  as configured, at least 1; UINT_MAX: as many as it bears */
void backoff_init(struct backoff *, unsigned limit_max);

/* The peer refused or throttled a connection.
 * began      when that connection was started: before the throttling counted last, it belongs to
 *            the same event, and only a later suggested time is taken from it
 * in_use     connections to this peer, this one included
 * suggested  how long the peer asks us to stay away (err_note's retry_after); 0: not said
 * random     of clock_random
 * returns    whether it was an event of its own */
bool backoff_throttled(struct backoff *, nsec began, nsec now, unsigned in_use, nsec suggested,
		       uint64_t random);
/* A connection does its work: call it when one has logged in, and now and then while it moves
 * messages or when it ends well. */
void backoff_worked(struct backoff *, nsec began, nsec now);

/* It is not asked before `until`; no throttling, so the limit stays. */
void backoff_rest(struct backoff *, nsec until);
/* So many connections were let in, and one more was refused: that is the limit, without a rest. */
void backoff_granted(struct backoff *, unsigned granted, nsec now);

/* May one more be started beside `in_use`? If not, *when says when to ask again: DEADLINE_NEVER
 * means when one of those in use has ended. */
bool backoff_may_start(const struct backoff *, nsec now, unsigned in_use, nsec *when);
/* One was. */
void backoff_started(struct backoff *, nsec now);

/* For the ledger, so that what was learnt survives a restart. */
struct backoff_saved {
	int64_t not_before_wall_s; /* 0: no rest */
	unsigned failures;
	unsigned limit; /* 0: as configured */
};
/* `wall` is of clock_wall(). */
struct backoff_saved backoff_save(const struct backoff *, nsec now, nsec wall);
/* Into an initialised one. What cannot be (a rest of more than a day, after the wall clock was set
 * back) is cut to what can. */
void backoff_load(struct backoff *, const struct backoff_saved *, nsec now, nsec wall);

#endif
