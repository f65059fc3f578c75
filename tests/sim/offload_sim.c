/* Blocking jobs in the simulated world, linked in place of engine/offload.c. A job is ready a
 * simulated moment after its start, and when it is waited for it runs to its end at once: on a
 * thread of its own, because it may need a deep stack and must not call a fiber's functions, but
 * nothing else runs meanwhile, so the order stays the seed's. */
#include "engine/offload.h"

#include <pthread.h>
#include <stdlib.h>

#include "engine/bytes.h"
#include "engine/fiber.h"
#include "tests/sim/sim.h"

enum { DELAY_NSEC_MAX = 300000 };

struct offload_act {
	struct offload_job job; /* its `argument` is the caller's */
	nsec ready;
	enum err error;
	struct err_note note;
	_Alignas(max_align_t) uint8_t argument[OFFLOAD_ARGUMENT_BYTES_MAX];
};

static void *run_job(void *pointer)
{
	struct offload_act *act = pointer;

	err_note_clear();
	act->error = act->job.run(act->argument);
	act->note = *err_note();
	return NULL;
}

static void run_alone(struct offload_act *act)
{
	pthread_t thread;

	must(pthread_create(&thread, NULL, run_job, act) == 0);
	must(pthread_join(thread, NULL) == 0);
}

enum err offload_start(const struct offload_job *job, struct offload_act **act)
{
	must(job->run != NULL && job->argument_bytes <= OFFLOAD_ARGUMENT_BYTES_MAX);
	*act = calloc(1, sizeof **act);
	if (!*act)
		return RAISE(ERR_MEMORY_EXHAUSTED, "queueing %s", job->name);
	(*act)->job = *job;
	(*act)->ready = sim_now() + 1 + (nsec)sim_below(SIM_OFFLOAD, DELAY_NSEC_MAX);
	bytes_copy((*act)->argument, job->argument, job->argument_bytes, BYTES_META);
	return OK;
}

/* A job that nobody waits for any more still runs to its end: here at the same moment. */
void offload_abandon(struct offload_act **act_at)
{
	struct offload_act *act = *act_at;

	*act_at = NULL;
	if (!act)
		return;
	run_alone(act);
	if (act->job.drop)
		act->job.drop(act->argument);
	free(act);
}

static enum err wait_until_ready(const struct offload_act *act, nsec until)
{
	enum err e = OK;

	if (fiber_self() && sim_now() < act->ready)
		e = fiber_sleep(min_nsec(act->ready, until));
	if (!e && act->ready > until)
		e = RAISE(ERR_FIBER_TIMEOUT, "%s did not end in time", act->job.name);
	return e;
}

enum err offload_wait(struct offload_act **act_at, void *argument_out, nsec until)
{
	struct offload_act *act = *act_at;
	enum err e;

	must(act != NULL);
	if ((e = wait_until_ready(act, until))) {
		offload_abandon(act_at);
		return e;
	}
	*act_at = NULL;
	run_alone(act);
	if (argument_out)
		bytes_copy(argument_out, act->argument, act->job.argument_bytes, BYTES_META);
	e = act->error;
	if (e)
		err_note_inherit(&act->note);
	free(act);
	return e;
}

enum err offload_run(const struct offload_job *job, nsec until)
{
	struct offload_act *act;
	enum err e = offload_start(job, &act);

	return e ? e : offload_wait(&act, job->argument, until);
}

void offload_limit(unsigned threads)
{
	(void)threads;
}

enum err offload_prestart(void)
{
	return OK;
}

void offload_shutdown(nsec until)
{
	(void)until;
}
