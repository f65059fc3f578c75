/* Blocking work (name lookup, SQLite, token commands) and long computing, on a few threads of their
 * own. In tests/sim jobs run one at a time. A job works on its own copy of the argument, so a
 * waiter that gives up leaves nothing behind that a thread still writes to. */
#ifndef MAILHAUL_OFFLOAD_H
#define MAILHAUL_OFFLOAD_H

#include "engine/err.h"

struct offload_job {
	const char *name; /* a literal */
	/* On another thread: no fiber calls; RAISE works and is carried over. */
	enum err (*run)(void *argument);
	/* Frees what the argument owns when nobody waits any more: once, after run() or in place of
	 * it, on any thread. May be NULL. */
	void (*drop)(void *argument);
	void *argument; /* copied in, and copied back when the job is waited for to its end */
	size_t argument_bytes; /* at most OFFLOAD_ARGUMENT_BYTES_MAX */
};
enum { OFFLOAD_ARGUMENT_BYTES_MAX = 4096 };

/* A job under way. It belongs to the thread that started it, which waits for it or abandons it
 * before its scheduler is closed. */
struct offload_act;

/* Queue a job; threads start on first use and are shared by all workers. Does not suspend. On OK
 * the job has its copy of the argument and owns what drop() frees; otherwise the caller still does.
 * returns     OK | ERR_MEMORY_EXHAUSTED */
enum err offload_start(const struct offload_job *, struct offload_act **) MUST_CHECK;
/* Suspends until the job ended: its error with its note, its argument copied to argument_out (may
 * be NULL) and what that owns the caller's again. Else ERR_FIBER_TIMEOUT at `until` or
 * ERR_FIBER_CANCELED: as if abandoned. Leaves NULL. */
enum err offload_wait(struct offload_act **, void *argument_out, nsec until) MUST_CHECK;
/* Nobody wants the result. What did not begin never will; what runs goes on alone and is dropped at
 * its end. Never suspends. */
void offload_abandon(struct offload_act **);
/* Start and wait. */
enum err offload_run(const struct offload_job *, nsec until) MUST_CHECK;
/* How many threads there may be (OFFLOAD_THREADS unless said): once, before jobs start. A run with
 * many workers needs more: each may have a job that waits for its turn at the ledger. */
void offload_limit(unsigned threads);
/* Start all of them now, from a thread that may: a confined worker cannot start any. Those that
 * cannot be had are done without. ERR_MEMORY_EXHAUSTED: none at all. */
enum err offload_prestart(void) MUST_CHECK;
/* Ends idle threads; waits for jobs still running at most until `until`. */
void offload_shutdown(nsec until);

#endif
