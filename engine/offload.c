/* offload.h: a few threads that may block. Not for: anything that touches a fiber, a ring (but to
 * wake it) or a chunk. tests/sim/offload_sim.c is linked in place of this file. */
#include "engine/offload.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

#include "engine/bytes.h"
#include "engine/clock.h"
#include "engine/confine.h"
#include "engine/fiber.h"
#include "engine/limits.h"
#include "engine/ring.h"

enum {
	JOB_MAGIC = 0x4a4f4231,
	/* SQLite and getaddrinfo with its plugins; virtual memory until it is used. */
	THREAD_STACK_BYTES = 1024 * 1024,
};

enum job_state {
	JOB_QUEUED,
	JOB_RUNNING,
	JOB_ABANDONED, /* running, but nobody waits: the thread drops what came out */
	JOB_DONE,
};

/* The waiting side of one worker thread. */
struct door {
	struct offload_act *done; /* ended, not collected yet; behind `lock` */
};

/* One job and its own copy of the argument. The waiter looks into it once it was collected. */
struct offload_act {
	uint32_t magic;
	enum job_state state;
	struct offload_act *next; /* in the queue, or in its door's list */
	struct offload_job what;  /* its `argument` is the caller's: of no use after the start */
	struct door *door;	  /* of the thread that started it */
	struct ring *ring;	  /* to be woken when it has ended */
	enum err result;
	struct err_note note;
	struct wait_queue waiters; /* the waiting thread's */
	bool collected;		   /* the waiting thread's: it may look now */
	_Alignas(max_align_t) uint8_t argument[];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_cond_t thread_ended;

/* A thread without work. The one that worked last is called first: its caches and its compressor
 * are warm, and one busy thread stays on one core where a queue would send jobs round all of them.
 */
struct idler {
	pthread_cond_t call;
	bool called;
	struct idler *next;
};
/* All behind `lock`. */
static struct idler *idlers;
static struct offload_act *queue_first, *queue_last;
static unsigned queued, threads, idle; /* idle: not called yet */
static unsigned threads_max = OFFLOAD_THREADS;
static bool shutting_down;

static _Thread_local struct door door;

static void conditions_init(void)
{
	pthread_condattr_t monotonic;

	/* Deadlines are values of clock_now(). */
	must(pthread_condattr_init(&monotonic) == 0);
	must(pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC) == 0);
	must(pthread_cond_init(&thread_ended, &monotonic) == 0);
	must(pthread_condattr_destroy(&monotonic) == 0);
}

static void lock_take(void)
{
	must(pthread_mutex_lock(&lock) == 0);
}

static void lock_leave(void)
{
	must(pthread_mutex_unlock(&lock) == 0);
}

/* ---- the threads ---- */

static void queue_push(struct offload_act *job)
{
	job->next = NULL;
	if (queue_last)
		queue_last->next = job;
	else
		queue_first = job;
	queue_last = job;
	queued++;
}

static struct offload_act *queue_pop(void)
{
	struct offload_act *job = queue_first;

	must(job != NULL && queued > 0);
	queue_first = job->next;
	if (!queue_first)
		queue_last = NULL;
	queued--;
	return job;
}

static void queue_remove(struct offload_act *job)
{
	struct offload_act **at = &queue_first, *before = NULL;

	for (; *at && *at != job; at = &(*at)->next)
		before = *at;
	must(*at == job);
	*at = job->next;
	if (queue_last == job)
		queue_last = before;
	queued--;
}

static void job_free(struct offload_act *job)
{
	job->magic = 0;
	free(job);
}

/* Nobody wants what it holds. */
static void job_drop(struct offload_act *job)
{
	MAGIC_CHECK(job, JOB_MAGIC);
	if (job->what.drop)
		job->what.drop(job->argument);
	job_free(job);
}

/* Run it with a note of its own, so that what is raised here reaches the waiter. */
static void job_run(struct offload_act *job)
{
	struct err_note *before = err_note_swap(&job->note);

	MAGIC_CHECK(job, JOB_MAGIC);
	job->result = job->what.run(job->argument);
	(void)err_note_swap(before);
}

/* Hand it to its waiter, or drop it. The wake happens under the lock: a ring whose waiter gave up
 * before that is never touched, and one whose waiter did not is still open. */
static void job_end(struct offload_act *job)
{
	bool abandoned;

	lock_take();
	abandoned = job->state == JOB_ABANDONED;
	if (!abandoned) {
		must(job->state == JOB_RUNNING);
		job->state = JOB_DONE;
		job->next = job->door->done;
		job->door->done = job;
		ring_wake(job->ring);
	}
	lock_leave();
	if (abandoned)
		job_drop(job);
}

static void call_idler(void)
{
	struct idler *idler = idlers;

	if (!idler)
		return;
	idlers = idler->next;
	idle--;
	idler->called = true;
	must(pthread_cond_signal(&idler->call) == 0);
}

/* Wait for a call; the lock is held on the way in and out. */
static void idle_wait(struct idler *idler)
{
	idler->called = false;
	idler->next = idlers;
	idlers = idler;
	idle++;
	while (!idler->called)
		must(pthread_cond_wait(&idler->call, &lock) == 0);
}

static void *thread_main(void *unused)
{
	struct idler idler = { .call = PTHREAD_COND_INITIALIZER };

	(void)unused;
	confine_thread(CONFINE_OFFLOAD);
	lock_take();
	while (true) {
		struct offload_act *job;

		while (queued == 0 && !shutting_down)
			idle_wait(&idler);
		if (queued == 0)
			break;
		job = queue_pop();
		job->state = JOB_RUNNING;
		lock_leave();
		job_run(job);
		job_end(job);
		lock_take();
	}
	threads--;
	must(pthread_cond_broadcast(&thread_ended) == 0);
	lock_leave();
	must(pthread_cond_destroy(&idler.call) == 0);
	return NULL;
}

/* Signals are for the threads that were there before: blocked from the first instruction on. */
static int thread_start(void)
{
	pthread_attr_t attributes;
	sigset_t all, before;
	pthread_t thread;
	int result;

	sigfillset(&all);
	must(pthread_attr_init(&attributes) == 0);
	must(pthread_attr_setstacksize(&attributes, THREAD_STACK_BYTES) == 0);
	must(pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED) == 0);
	must(pthread_sigmask(SIG_BLOCK, &all, &before) == 0);
	result = pthread_create(&thread, &attributes, thread_main, NULL);
	must(pthread_sigmask(SIG_SETMASK, &before, NULL) == 0);
	must(pthread_attr_destroy(&attributes) == 0);
	return result;
}

/* ---- the waiting side ---- */

/* Called by this thread's ring after a wake. */
static void door_collect(void *context)
{
	struct door *mine = context;
	struct offload_act *job, *next;

	must(mine == &door);
	lock_take();
	job = mine->done;
	mine->done = NULL;
	lock_leave();
	for (; job; job = next) {
		next = job->next;
		MAGIC_CHECK(job, JOB_MAGIC);
		job->collected = true;
		wake_all(&job->waiters);
	}
}

static struct offload_act *job_new(const struct offload_job *what)
{
	struct offload_act *job = calloc(1, sizeof *job + what->argument_bytes);

	if (!job)
		return NULL;
	job->magic = JOB_MAGIC;
	job->what = *what;
	job->door = &door;
	job->ring = scheduler_ring();
	if (what->argument_bytes > 0)
		bytes_copy(job->argument, what->argument, what->argument_bytes, BYTES_META);
	return job;
}

/* Queue it, and see that somebody will run it. */
static enum err job_queue(struct offload_act *job)
{
	int result = 0;

	lock_take();
	if (idle == 0 && threads < threads_max && (result = thread_start()) == 0)
		threads++;
	if (threads == 0) {
		lock_leave();
		return RAISE_ERRNO(ERR_MEMORY_EXHAUSTED, result, "starting a thread for %s",
				   job->what.name);
	}
	queue_push(job);
	call_idler();
	lock_leave();
	return OK;
}

/* Nobody waits for a job that has not been collected. True: it is gone, or its thread drops it.
 * False: it ended just now and is this thread's after all, collected. */
static bool job_leave(struct offload_act *job)
{
	enum job_state state;

	must(!job->collected);
	lock_take();
	state = job->state;
	if (state == JOB_QUEUED)
		queue_remove(job);
	else if (state == JOB_RUNNING)
		job->state = JOB_ABANDONED;
	lock_leave();
	if (state == JOB_QUEUED)
		job_drop(job);
	else if (state == JOB_DONE)
		door_collect(&door);
	return state != JOB_DONE;
}

/* The job ended: argument and note back to the caller. */
static enum err job_take(struct offload_act *job, void *argument_out)
{
	enum err result = job->result;

	must(job->collected && job->state == JOB_DONE);
	if (argument_out && job->what.argument_bytes > 0)
		bytes_copy(argument_out, job->argument, job->what.argument_bytes, BYTES_META);
	if (result)
		err_note_inherit(&job->note);
	job_free(job);
	return result;
}

enum err offload_start(const struct offload_job *what, struct offload_act **act)
{
	struct offload_act *job;
	enum err e;

	*act = NULL;
	must(what->run != NULL && what->argument_bytes <= OFFLOAD_ARGUMENT_BYTES_MAX);
	must(scheduler_ring() != NULL);
	must(pthread_once(&once, conditions_init) == 0);
	ring_on_wake(scheduler_ring(), door_collect, &door);
	if (!(job = job_new(what)))
		return RAISE(ERR_MEMORY_EXHAUSTED, "queueing %s", what->name);
	if ((e = job_queue(job)))
		job_free(job);
	else
		*act = job;
	return e;
}

enum err offload_wait(struct offload_act **act, void *argument_out, nsec until)
{
	struct offload_act *job = *act;
	enum err e = OK;

	*act = NULL;
	MAGIC_CHECK(job, JOB_MAGIC);
	must(job->door == &door && fiber_self() != NULL);
	while (!job->collected && e == OK)
		e = wait_on(&job->waiters, until);
	if (!job->collected && job_leave(job))
		return e;
	if (e == ERR_FIBER_CANCELED) {
		job_drop(job);
		return e;
	}
	return job_take(job, argument_out);
}

void offload_abandon(struct offload_act **act)
{
	struct offload_act *job = *act;

	*act = NULL;
	if (!job)
		return;
	MAGIC_CHECK(job, JOB_MAGIC);
	must(job->door == &door && !job->waiters.first);
	if (job->collected || !job_leave(job))
		job_drop(job);
}

enum err offload_run(const struct offload_job *what, nsec until)
{
	struct offload_act *act;
	enum err e = offload_start(what, &act);

	return e ? e : offload_wait(&act, what->argument, until);
}

void offload_limit(unsigned limit)
{
	must(limit > 0);
	lock_take();
	threads_max = limit;
	lock_leave();
}

enum err offload_prestart(void)
{
	int result = 0;

	must(pthread_once(&once, conditions_init) == 0);
	lock_take();
	while (threads < threads_max && (result = thread_start()) == 0)
		threads++;
	lock_leave();
	return threads > 0 ? OK
			   : RAISE_ERRNO(ERR_MEMORY_EXHAUSTED, result,
					 "starting threads for work "
					 "that blocks");
}

void offload_shutdown(nsec until)
{
	struct timespec limit = { until / NSEC_SECOND, until % NSEC_SECOND };

	must(pthread_once(&once, conditions_init) == 0);
	lock_take();
	shutting_down = true;
	while (idlers)
		call_idler();
	while (threads > 0)
		if (pthread_cond_timedwait(&thread_ended, &lock, &limit) == ETIMEDOUT)
			break;
	/* Whatever still runs ends by itself; a later job starts threads anew. */
	shutting_down = false;
	lock_leave();
}
