/* Stackful fibers, one scheduler per thread. A fiber belongs to a group, and the group's opener
 * joins it: there are no orphans. Everything that may suspend says so; everything that suspends has
 * an absolute deadline; cancel arrives only as ERR_FIBER_CANCELED from a suspending call, so
 * cleanup, which does not suspend, always finishes. */
#ifndef MAILHAUL_FIBER_H
#define MAILHAUL_FIBER_H

#include "engine/err.h"

struct fiber;
struct group;
struct scheduler;
struct ring;

typedef enum err fiber_main(void *argument);

enum fiber_stack {
	FIBER_STACK_SMALL, /* FIBER_STACK_BYTES */
	FIBER_STACK_LARGE, /* FIBER_STACK_BYTES_LARGE: enters libetpan or SQLite */
};

/* ---- one scheduler per thread ---- */

/* Opens the thread's scheduler over `ring` (borrowed until close). */
enum err scheduler_open(struct ring *, struct scheduler **) MUST_CHECK;
void scheduler_close(struct scheduler **);
/* Run `main` as the first fiber until it and all it opened ended; returns what it returned. */
enum err scheduler_run(struct scheduler *, fiber_main *main, void *argument) MUST_CHECK;
/* This thread's. NULL outside scheduler_run. */
struct ring *scheduler_ring(void);

struct fiber_counts {
	uint64_t switches, spawned;
	size_t stack_bytes_high; /* deepest use of any stack so far */
	nsec longest_run;	 /* longest time one fiber held the core */
	const char *longest_name;
};
struct fiber_counts fiber_counts(void);

/* ---- groups ---- */

/* NULL is never returned: groups are small and come from the scheduler's pool or abort. */
struct group *group_open(void);
/* Start a fiber. `name` is a literal; `argument` is borrowed until the fiber ends. */
enum err group_spawn(struct group *, const char *name, enum fiber_stack, fiber_main *,
		     void *argument) MUST_CHECK;
/* Ask every member to stop: its present or next suspending call returns
 * ERR_FIBER_CANCELED, and so does every later one. A member that starts later starts cancelled. */
void group_cancel(struct group *);
/* When a member ends with an error (other than ERR_FIBER_CANCELED), the others are cancelled; with
 * false they go on. Default true. */
void group_cancel_on_error(struct group *, bool);
/* Wait for all members; the first error wins and its note becomes this fiber's. If the waiting
 * fiber is itself cancelled, the members are cancelled and still waited for. A cause takes the
 * place of ERR_FIBER_CANCELED, and a note that this fiber has already stays. Only the opener may
 * join. Leaves NULL behind. Suspends. */
enum err group_join(struct group **) MUST_CHECK;

/* ---- the running fiber ---- */

struct fiber *fiber_self(void); /* NULL outside */
const char *fiber_name(void);
/* Whom the fiber works for, for the log: text that the setter keeps until this fiber and all it
 * spawns from now on have ended. They inherit it. NULL: nobody, and outside. */
const char *fiber_tag(void);
void fiber_set_tag(const char *);
/* Let others run. ERR_FIBER_CANCELED if so. Suspends. */
enum err fiber_yield(void);
/* Suspends until `until`: OK when it came. */
enum err fiber_sleep(nsec until) MUST_CHECK;
bool fiber_canceled(void);
/* Between the two, cancel is not delivered to this fiber (for an orderly end with its own
 * deadline). Nests. */
void fiber_shield(void);
void fiber_unshield(void);

/* ---- waiting for a condition ---- */

/* Zero-initialised is valid and empty. The condition must be checked again after every wake. */
struct wait_queue {
	struct fiber *first, *last;
};
/* Suspends: OK when woken, ERR_FIBER_TIMEOUT, ERR_FIBER_CANCELED. */
enum err wait_on(struct wait_queue *, nsec until) MUST_CHECK;
void wake_one(struct wait_queue *);
void wake_all(struct wait_queue *);

#endif
