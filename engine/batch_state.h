/* The batch from inside; private to engine/batch*.c. Everything is behind `lock`. */
#ifndef MAILHAUL_BATCH_STATE_H
#define MAILHAUL_BATCH_STATE_H

#include <pthread.h>

#include "engine/batch.h"

enum { NOBODY = UINT32_MAX };

/* One mailbox. */
struct slot {
	struct batch_entry entry;
	struct batch_figures figures;
	struct backoff *account; /* NULL: it never asked for rest */
	char *note;		 /* NULL: nothing to say */
	nsec began, ran;	 /* the present attempt; all before */
	enum batch_state state;
	enum err error;
	int exit_code;
	unsigned attempts, fruitless; /* since anything was moved */
	unsigned connections;	      /* granted */
	uint64_t found_before_attempt, moved_before_attempt, bytes_before_attempt, skipped_before,
		reconnects_before;
	struct batch_changes changes_before;
	uint32_t host, target; /* target NOBODY: it goes to no server */
	uint32_t first;	       /* of those that go to the same account; itself where it is alone */
	uint32_t holder;       /* of the first: who of them has begun and has not ended for good */
	uint32_t next; /* in its host's list of those to be tried again; in the running list */
	bool again;    /* in its host's list of those to be tried again */
	bool rests;    /* waiting for its account or host */
};

struct host {
	const char *name;
	struct backoff rest;
	uint32_t *slots; /* its mailboxes, in order */
	uint32_t count, at;
	uint32_t again, again_last; /* tried before, oldest first */
	uint32_t again_count;
	unsigned connections; /* in use */
	unsigned failures;    /* times it was not reached, with a rest after each */
	bool met, given_up;
};

/* A host that mail goes to. */
struct target {
	char *name;
	struct backoff rest;
	unsigned in_use;   /* mailboxes that run */
	unsigned failures; /* as of a host */
	bool met, given_up;
	enum err error; /* of the last failure before it was given up */
	int exit_code;
	char *note;
};

struct batch {
	pthread_mutex_t lock;
	struct batch_limits limits;
	struct slot *slots;
	struct host *hosts;
	struct target *targets;
	uint32_t count, hosts_count, targets_count;
	uint64_t *waves_left; /* by wave number: mailboxes not begun yet */
	uint32_t waves_count, wave;
	uint64_t states[BATCH_STATES];
	struct batch_figures totals; /* of all mailboxes */
	uint64_t resting;
	uint32_t running; /* first of the running list */
	unsigned connections;
	uint64_t errors[ERR_COUNT];
	nsec throttled, ran, counted_at; /* times of all mailboxes, up to counted_at */
	bool draining;
};

void batch_lock(struct batch *);
void batch_unlock(struct batch *);
/* The times so far, with what was running and resting since they were counted last. */
void batch_count_times(struct batch *, nsec now);

/* ---- engine/batch_target.c ---- */
enum err batch_targets_make(struct batch *) MUST_CHECK;
void batch_targets_free(struct batch *);
/* Whether another one that goes to the same account has begun and has not ended for good. */
bool batch_target_is_held(const struct batch *, const struct slot *);
/* From the beginning of its first attempt until its end is final, a mailbox holds its account. */
void batch_target_hold(struct batch *, const struct slot *);
void batch_target_let_go(struct batch *, const struct slot *);
/* ---- its host's rests; all do nothing for a slot without a target ---- */
/* Whether nothing may begin there now; *again comes down to when it may. */
bool batch_target_rests(const struct batch *, const struct slot *, nsec now, nsec *again);
/* Nobody has reached it in this run. NULL: it is not given up. */
const struct target *batch_target_given_up(const struct batch *, const struct slot *);
void batch_target_began(struct batch *, const struct slot *, nsec now);
void batch_target_worked(struct batch *, const struct slot *, nsec now);
void batch_target_ended(struct batch *, const struct slot *);
/* Of an attempt that ended and is to be tried again: true where it is the target that rests, and
 * nobody else. */
bool batch_target_slow_down(struct batch *, const struct slot *, const struct batch_outcome *,
			    nsec now);

#endif
