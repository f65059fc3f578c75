/* One worker of a batch: a thread on its own core with its own shard, which takes mailboxes as long
 * as it has room for them. */
#include "engine/budget.h"
#include "engine/clock.h"
#include "engine/confine.h"
#include "engine/log.h"
#include "engine/shard.h"
#include "tools/run.h"
#include "transport/conn.h"
#include "transport/http_pool.h"
#include "transport/oauth2.h"

/* How often the batch is told how far the mailboxes are, and asked whether one that could not begin
 * may begin now. */
#define LOOK_EVERY   (100 * NSEC_MILLISECOND)
#define COMMIT_EVERY NSEC_SECOND
/* To idle connections with a bucket's server. */
#define GOODBYE_NS (5 * NSEC_SECOND)

static bool has_room(const struct run_worker *worker)
{
	return worker->mailboxes_count < worker->run->mailboxes_per_worker &&
	       worker->connections < budget_worker_connections();
}

/* Take all that may begin. */
static enum err take_mailboxes(struct run_worker *worker, struct group *group, nsec *again)
{
	unsigned connections;
	size_t no;
	enum err e = OK;

	*again = DEADLINE_NEVER;
	while (e == OK && has_room(worker) &&
	       batch_take(worker->run->batch, clock_now(), &no, &connections, again)) {
		e = run_mailbox_begin(worker, group, no, connections);
		if (e) {
			struct batch_outcome outcome = { .state = BATCH_FAILED, .error = e };

			(void)batch_end(worker->run->batch, no, &outcome, clock_now());
		} else {
			e = fiber_yield(); /* one after the other, so that all begin to work */
		}
	}
	return e;
}

/* What is queued in this thread's front of the ledger does not wait for the mailboxes' next call.
 */
static void commit(struct run_worker *worker, nsec *committed)
{
	if (!worker->ledger || clock_now() - *committed < COMMIT_EVERY)
		return;
	*committed = clock_now();
	if (ledger_commit(worker->ledger))
		err_note_clear(); /* a failed ledger tells everybody; the mailboxes say so */
}

static enum err work(struct run_worker *worker, struct group *group)
{
	struct batch *batch = worker->run->batch;
	nsec again, committed = clock_now();
	enum err e = OK;

	while (e == OK && (!batch_is_over(batch) || worker->mailboxes_count)) {
		if ((e = take_mailboxes(worker, group, &again)))
			break;
		e = wait_on(&worker->changed, min_nsec(again, clock_after(LOOK_EVERY)));
		if (e == ERR_FIBER_TIMEOUT)
			e = OK;
		run_mailboxes_tell(worker);
		commit(worker, &committed);
	}
	return e;
}

static enum err worker_fiber(void *argument)
{
	struct run_worker *worker = argument;
	struct group *group = group_open();
	enum err e, ended;

	confine_thread(CONFINE_WORKER);
	group_cancel_on_error(group, false);
	e = http_pool_open(BUCKET_CONNECTIONS, &worker->pool);
	if (e == OK && worker->run->ledger)
		e = ledger_join(worker->run->ledger, &worker->ledger);
	if (e == OK)
		e = work(worker, group);
	if (e)
		run_stop(worker->run, e);
	ended = group_join(&group);
	e = e ? e : ended;
	if (worker->pool)
		http_pool_finish(worker->pool, clock_after(GOODBYE_NS));
	http_pool_close(&worker->pool);
	if (worker->ledger) {
		ended = ledger_finish(worker->ledger, clock_after(60 * NSEC_SECOND));
		if (ended && e == OK)
			run_stop(worker->run, e = ended);
	}
	ledger_close(&worker->ledger);
	worker->cpu = clock_thread_cpu();
	counters_take(&worker->counters);
	return e;
}

void *run_worker_main(void *argument)
{
	struct run_worker *worker = argument;
	struct run *run = worker->run;
	const struct shard_config config = {
		.arena_chunks = budget_arena_chunks(),
	};
	enum err e;

	worker->bound = topology_bind(run->topology, worker->no, worker->not_bound);
	log_event(LOG_INFO, "worker.begin", "worker=%u bound=%d why=\"%s\"", worker->no,
		  worker->bound, worker->bound ? "" : worker->not_bound);
	if ((e = shard_run(&config, worker_fiber, worker)))
		run_stop(run, e);
	err_note_clear();
	oauth2_thread_cleanup();
	conn_thread_cleanup();
	atomic_fetch_sub(&run->workers_alive, 1);
	return NULL;
}
