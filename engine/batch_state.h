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
	uint64_t moved_before_attempt, bytes_before_attempt, skipped_before, reconnects_before;
	struct batch_changes changes_before;
	uint32_t host;
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
	unsigned connections;	    /* in use */
	unsigned failures;	    /* times it was not reached, with a rest after each */
	bool met, given_up;
};

struct batch {
	pthread_mutex_t lock;
	struct batch_limits limits;
	struct slot *slots;
	struct host *hosts;
	uint32_t count, hosts_count;
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

#endif
