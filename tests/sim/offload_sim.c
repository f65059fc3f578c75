/* Blocking jobs in the simulated world, linked in place of engine/offload.c. A job waits a
 * simulated moment and then runs to its end at once: on a thread of its own, because it may need a
 * deep stack and must not call a fiber's functions, but nothing else runs meanwhile, so the order
 * stays the seed's. */
#include "engine/offload.h"

#include <pthread.h>

#include "engine/bytes.h"
#include "engine/fiber.h"
#include "tests/sim/sim.h"

enum { DELAY_NSEC_MAX = 300000 };

struct run {
	const struct offload_job *job;
	_Alignas(max_align_t) uint8_t argument[OFFLOAD_ARGUMENT_BYTES_MAX];
	enum err error;
	struct err_note note;
};

static void *run_job(void *pointer)
{
	struct run *run = pointer;

	err_note_clear();
	run->error = run->job->run(run->argument);
	run->note = *err_note();
	return NULL;
}

/* The static is safe: one simulated process has one job running at a time. */
static struct run *run_alone(const struct offload_job *job)
{
	static struct run run;
	pthread_t thread;

	must(job->argument_bytes <= OFFLOAD_ARGUMENT_BYTES_MAX);
	run = (struct run){ .job = job };
	bytes_copy(run.argument, job->argument, job->argument_bytes, BYTES_META);
	must(pthread_create(&thread, NULL, run_job, &run) == 0);
	must(pthread_join(thread, NULL) == 0);
	return &run;
}

/* A waiter that is called off, or whose deadline comes first, leaves a job behind that still runs
 * to its end: here at the same moment. */
enum err offload_run(const struct offload_job *job, nsec until)
{
	nsec ready = sim_now() + 1 + (nsec)sim_below(SIM_OFFLOAD, DELAY_NSEC_MAX);
	enum err e = fiber_self() ? fiber_sleep(min_nsec(ready, until)) : OK;
	struct run *run = run_alone(job);

	if (!e && ready > until)
		e = RAISE(ERR_FIBER_TIMEOUT, "%s did not end in time", job->name);
	if (e) {
		if (job->drop)
			job->drop(run->argument);
		return e;
	}
	bytes_copy(job->argument, run->argument, job->argument_bytes, BYTES_META);
	if (run->error && !err_note()->error)
		*err_note() = run->note;
	return run->error;
}

void offload_shutdown(nsec until)
{
	(void)until;
}
