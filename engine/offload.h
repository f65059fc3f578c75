/* Blocking work (name lookup, SQLite, token commands) on a few threads of its own. In tests/sim
 * jobs run as fibers. A job works on its own copy of the argument, so a waiter that gives up leaves
 * nothing behind that a thread still writes to. */
#ifndef MAILHAUL_OFFLOAD_H
#define MAILHAUL_OFFLOAD_H

#include "engine/err.h"

struct offload_job {
	const char *name; /* a literal */
	/* On another thread: no fiber calls; RAISE works and is carried over. */
	enum err (*run)(void *argument);
	/* Frees what run() put there when nobody waits any more; may be NULL. Not called for a job
	 * that never began. */
	void (*drop)(void *argument);
	void *argument; /* copied in, and copied back when the job is waited for to its end */
	size_t argument_bytes; /* at most OFFLOAD_ARGUMENT_BYTES_MAX */
};
enum { OFFLOAD_ARGUMENT_BYTES_MAX = 4096 };

/* Threads start on first use and are shared by all workers. Suspends until the job ended or `until`
 * (ERR_FIBER_TIMEOUT; the job goes on alone and its result is dropped). */
enum err offload_run(const struct offload_job *, nsec until) MUST_CHECK;
/* Ends idle threads; waits for jobs still running at most until `until`. */
void offload_shutdown(nsec until);

#endif
