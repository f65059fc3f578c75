/* The ledger as fibers see it: opening, the queues of the group commit, one job
 * at a time into the storage. Not for: what the storage does with it (ledger_sqlite.h).
 *
 * A job gets pointers into the front and into the frames of the fibers whose calls it does, so it
 * is always waited for, shielded from cancel. While it runs nobody else touches the leaving batch
 * or the leaving run; the filling batch and the waiting calls are only ever the fibers'. Jobs of
 * other fronts, on their threads, stay outside by the storage's mutex. */
#include "engine/ledger.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/clock.h"
#include "engine/fiber.h"
#include "engine/io.h"
#include "engine/ledger_call.h"
#include "engine/ledger_lock.h"
#include "engine/ledger_sqlite.h"
#include "engine/offload.h"

enum { LEDGER_MAGIC = 0x6c656467, JOB_MAGIC = 0x6c6a6f62 };

/* Longest that a queued row waits while others follow it. */
#define COMMIT_AGE (50 * NSEC_MILLISECOND)
/* A disk that does not finish a transaction in an hour never will. */
#define JOB_TIME (3600 * NSEC_SECOND)

/* Calls that share a transaction: enough for the lanes of a worker that come while a disk syncs,
 * and few enough that the first of them does not wait long for the last. */
enum { CALLS_PER_JOB = 64 };

/* What all fronts have in common. It goes with the one that opened it. */
struct storage {
	char *directory, *lock_path, *db_path;
	int lock_fd;
	uint8_t id[LEDGER_ID_BYTES];
	atomic_uint fronts;

	/* One job at a time. Taken by offload jobs only: it is held while the disk syncs, and a
	 * fiber must not block its shard. */
	pthread_mutex_t mutex;
	struct ledger_store *store;

	/* A commit failed: nothing more is written. Set once, under the mutex, after the text. */
	_Atomic(enum err) broken;
	char broken_text[ERR_NOTE_BYTES_MAX];
};

/* One thread's front. */
struct ledger {
	uint32_t magic;
	bool opened_it;
	struct storage *storage;

	bool busy;		/* a job of this front has `leaving` and `run_leaving` */
	struct wait_queue turn; /* fibers that want them */
	struct ledger_call *waiting_first, *waiting_last; /* for the next job */
	struct ledger_batch *filling, *leaving;
	nsec filling_since;
	uint64_t queued, durable;
	struct ledger_run run, run_leaving;
	bool run_noted;
};

const char *ledger_state_name(enum ledger_state state)
{
	static const char *const names[] = { [LEDGER_MOVED] = "moved",
					     [LEDGER_SKIPPED] = "skipped",
					     [LEDGER_DOUBTFUL] = "doubtful",
					     [LEDGER_WITHDRAWN] = "withdrawn" };

	must(state >= LEDGER_MOVED && state <= LEDGER_WITHDRAWN);
	return names[state];
}

/* ---- one job at a time ---- */

struct job {
	uint32_t magic;
	bool began;
	struct ledger *ledger;
	struct ledger_call *calls;
	const struct ledger_run *run;
};

/* On the job's thread; the storage is ours until job_end. */
static struct storage *job_begin(struct job *job)
{
	struct storage *storage;

	MAGIC_CHECK(job, JOB_MAGIC);
	MAGIC_CHECK(job->ledger, LEDGER_MAGIC);
	job->began = true;
	storage = job->ledger->storage;
	must(pthread_mutex_lock(&storage->mutex) == 0);
	return storage;
}

static void job_end(struct storage *storage)
{
	must(pthread_mutex_unlock(&storage->mutex) == 0);
}

/* The frames of the waiting fiber are in use until the job ended. */
static enum err run_job(const char *name, enum err (*run)(void *), struct job *job)
{
	struct offload_job offload = {
		.name = name, .run = run, .argument = job, .argument_bytes = sizeof *job
	};
	enum err e;

	fiber_shield();
	e = offload_run(&offload, DEADLINE_NEVER); /* a stopped process is waited out */
	fiber_unshield();
	must(e != ERR_FIBER_TIMEOUT && e != ERR_FIBER_CANCELED);
	return e;
}

static enum err say_waited(struct ledger *ledger)
{
	return RAISE(ERR_FIBER_TIMEOUT, "waiting for the ledger %s", ledger->storage->directory);
}

static enum err take_turn(struct ledger *ledger, nsec until)
{
	enum err e;

	MAGIC_CHECK(ledger, LEDGER_MAGIC);
	while (ledger->busy)
		if ((e = wait_on(&ledger->turn, until)))
			return e == ERR_FIBER_TIMEOUT ? say_waited(ledger) : e;
	ledger->busy = true;
	return OK;
}

/* All are woken: a fiber woken and cancelled at once would keep a single wake for itself. */
static void give_turn(struct ledger *ledger)
{
	must(ledger->busy);
	ledger->busy = false;
	wake_all(&ledger->turn);
}

static enum err still_broken(struct storage *storage)
{
	return RAISE(storage->broken, "%s", storage->broken_text);
}

/* What was to be written is lost; its error is the thread's note. */
static void note_broken(struct storage *storage, enum err e)
{
	const struct err_note *note = err_note();

	snprintf(storage->broken_text, sizeof storage->broken_text, "%s",
		 note->error == e ? note->text : "a commit of the ledger failed");
	storage->broken = e;
}

static void fail_calls(struct ledger_call *calls, enum err e)
{
	for (struct ledger_call *call = calls; call; call = call->next) {
		call->result = e;
		call->failure = *err_note();
	}
}

static enum err transact_job(void *argument)
{
	struct job *job = argument;
	struct storage *storage = job_begin(job);
	struct ledger_batch *batch = job->ledger->leaving;
	enum err e;

	must(storage->store);
	if (storage->broken)
		e = still_broken(storage);
	else if ((e = ledger_sqlite_transact(storage->store, batch, job->run, job->calls)) &&
		 (batch->count > 0 || job->run))
		note_broken(storage, e);
	job_end(storage);
	if (e)
		fail_calls(job->calls, e);
	return e;
}

static void swap_batches(struct ledger *ledger)
{
	struct ledger_batch *batch = ledger->filling;

	ledger->filling = ledger->leaving;
	ledger->leaving = batch;
}

/* Write what is queued, then do the calls; it is our turn. */
static enum err transact(struct ledger *ledger, struct ledger_call *calls)
{
	struct job job = { .magic = JOB_MAGIC, .ledger = ledger, .calls = calls };
	bool swapped = ledger->leaving->count == 0;
	enum err e;

	must(swapped || ledger->storage->broken); /* and then the job says so */
	if (swapped)
		swap_batches(ledger);
	if (ledger->run_noted) {
		ledger->run_leaving = ledger->run;
		job.run = &ledger->run_leaving;
	}
	ledger->run_noted = false;
	e = run_job("ledger", transact_job, &job);
	if (!job.began) { /* no memory for a job: nothing happened, and nobody else ran */
		fail_calls(calls, e);
		if (swapped)
			swap_batches(ledger);
		ledger->run_noted = job.run != NULL;
	} else if (!e) {
		ledger->durable += ledger->leaving->count;
		ledger->leaving->count = 0;
	}
	return e;
}

/* ---- the calls that wait ---- */

static void waiting_push(struct ledger *ledger, struct ledger_call *call)
{
	if (ledger->waiting_last)
		ledger->waiting_last->next = call;
	else
		ledger->waiting_first = call;
	ledger->waiting_last = call;
}

static void waiting_remove(struct ledger *ledger, struct ledger_call *call)
{
	struct ledger_call **at = &ledger->waiting_first, *before = NULL;

	for (; *at && *at != call; at = &(*at)->next)
		before = *at;
	must(*at == call);
	*at = call->next;
	if (ledger->waiting_last == call)
		ledger->waiting_last = before;
}

/* The first ones, in order; *work: one of them has something to do. */
static struct ledger_call *waiting_take(struct ledger *ledger, bool *work)
{
	struct ledger_call *first = ledger->waiting_first, *last = NULL;
	struct ledger_call *call = first;

	*work = false;
	for (int count = 0; call && count < CALLS_PER_JOB; count++, call = call->next) {
		call->taken = true;
		*work |= call->run != NULL;
		last = call;
	}
	must(last);
	last->next = NULL;
	ledger->waiting_first = call;
	if (!call)
		ledger->waiting_last = NULL;
	return first;
}

/* Nobody is at it, so this fiber has the calls done that wait: its own and those of others. */
static void lead(struct ledger *ledger)
{
	struct ledger_call *calls, *next;
	bool work;

	must(!ledger->busy);
	ledger->busy = true;
	calls = waiting_take(ledger, &work);
	if (work || ledger->filling->count || ledger->run_noted)
		(void)transact(ledger, calls); /* each call has its result */
	for (; calls; calls = next) {
		next = calls->next; /* its fiber's frame, which goes once it runs */
		calls->done = true;
	}
	give_turn(ledger);
}

static enum err await(struct ledger *ledger, struct ledger_call *call, nsec until)
{
	enum err e;

	if (call->taken) { /* a job looks into this fiber's frame */
		fiber_shield();
		must(wait_on(&ledger->turn, DEADLINE_NEVER) == OK);
		fiber_unshield();
		return OK;
	}
	if ((e = wait_on(&ledger->turn, until)) == OK || call->taken)
		return OK;
	waiting_remove(ledger, call);
	return e == ERR_FIBER_TIMEOUT ? say_waited(ledger) : e;
}

enum err ledger_act(struct ledger *ledger, struct ledger_call *call)
{
	nsec until = clock_after(JOB_TIME);
	enum err e = OK;

	MAGIC_CHECK(ledger, LEDGER_MAGIC);
	if (ledger->storage->broken)
		return still_broken(ledger->storage);
	call->next = NULL;
	call->taken = call->done = false;
	call->result = OK;
	waiting_push(ledger, call);
	while (!call->done && !e)
		if (ledger->busy)
			e = await(ledger, call, until);
		else
			lead(ledger);
	if (e)
		return e;
	if (call->result)
		err_note_inherit(&call->failure);
	return call->result;
}

/* Where something waits to be written, write it. */
static enum err write_queued(struct ledger *ledger)
{
	struct ledger_call nothing = { .run = NULL };

	return ledger_act(ledger, &nothing);
}

/* ---- opening ---- */

static enum err open_job(void *argument)
{
	struct storage *storage = job_begin(argument);
	enum err e = ledger_sqlite_open(storage->db_path, storage->lock_path, &storage->store);

	if (!e)
		bytes_copy(storage->id, ledger_sqlite_id(storage->store), sizeof storage->id,
			   BYTES_META);
	job_end(storage);
	return e;
}

static enum err open_all(struct ledger *ledger, nsec until)
{
	struct job job = { .magic = JOB_MAGIC, .ledger = ledger };
	struct storage *storage = ledger->storage;
	enum err e;

	if ((e = ledger_lock(storage->directory, storage->lock_path, until, &storage->lock_fd)) ||
	    (e = run_job("ledger open", open_job, &job)))
		return e;
	return io_sync_directory(storage->directory, until); /* the file's own name */
}

static void storage_free(struct storage *storage)
{
	if (!storage)
		return;
	ledger_sqlite_close(&storage->store);
	io_close(&storage->lock_fd);
	must(pthread_mutex_destroy(&storage->mutex) == 0);
	free(storage->directory);
	free(storage->lock_path);
	free(storage->db_path);
	free(storage);
}

/* NULL: no memory. */
static struct storage *storage_new(const char *directory)
{
	struct storage *storage = calloc(1, sizeof *storage);

	if (!storage)
		return NULL;
	storage->lock_fd = -1;
	must(pthread_mutex_init(&storage->mutex, NULL) == 0);
	storage->directory = strdup(directory);
	if (asprintf(&storage->lock_path, "%s/ledger.lock", directory) < 0)
		storage->lock_path = NULL;
	if (asprintf(&storage->db_path, "%s/ledger.db", directory) < 0)
		storage->db_path = NULL;
	if (!storage->directory || !storage->lock_path || !storage->db_path) {
		storage_free(storage);
		return NULL;
	}
	return storage;
}

/* A front on `storage`, which it takes if it opens it; NULL: no memory. */
static struct ledger *front_new(struct storage *storage, bool opens_it)
{
	struct ledger *ledger = storage ? calloc(1, sizeof *ledger) : NULL;

	if (!ledger) {
		if (opens_it)
			storage_free(storage);
		return NULL;
	}
	ledger->magic = LEDGER_MAGIC;
	ledger->storage = storage;
	ledger->opened_it = opens_it;
	atomic_fetch_add(&storage->fronts, 1);
	ledger->filling = calloc(1, sizeof *ledger->filling);
	ledger->leaving = calloc(1, sizeof *ledger->leaving);
	if (!ledger->filling || !ledger->leaving)
		ledger_close(&ledger);
	return ledger;
}

enum err ledger_open(const char *directory, nsec until, struct ledger **out)
{
	enum err e;

	must(directory[0]);
	*out = front_new(storage_new(directory), true);
	if (!*out)
		return RAISE(ERR_MEMORY_EXHAUSTED, "opening the ledger in %s", directory);
	if ((e = open_all(*out, until)))
		ledger_close(out);
	return e;
}

enum err ledger_join(struct ledger *opened, struct ledger **out)
{
	MAGIC_CHECK(opened, LEDGER_MAGIC);
	must(opened->opened_it);
	*out = front_new(opened->storage, false);
	return *out ? OK
		    : RAISE(ERR_MEMORY_EXHAUSTED, "joining the ledger in %s",
			    opened->storage->directory);
}

static enum err finish_job(void *argument)
{
	struct storage *storage = job_begin(argument);
	enum err e;

	must(storage->store);
	e = ledger_sqlite_finish(&storage->store);
	job_end(storage);
	return e;
}

static enum err finish(struct ledger *ledger, nsec until)
{
	struct job job = { .magic = JOB_MAGIC, .ledger = ledger };
	struct storage *storage = ledger->storage;
	enum err e = take_turn(ledger, until), closed = OK;

	if (e)
		return e;
	must(!ledger->waiting_first && (!ledger->opened_it || storage->fronts == 1));
	e = storage->broken ? still_broken(storage) : OK;
	if (!e && (ledger->filling->count || ledger->run_noted))
		e = transact(ledger, NULL);
	if (ledger->opened_it) {
		closed = run_job("ledger finish", finish_job, &job);
		io_close(&storage->lock_fd);
	}
	give_turn(ledger);
	return e ? e : closed;
}

enum err ledger_finish(struct ledger *ledger, nsec until)
{
	enum err e;

	fiber_shield();
	e = finish(ledger, until);
	fiber_unshield();
	return e;
}

void ledger_close(struct ledger **taken)
{
	struct ledger *ledger = *taken;
	unsigned fronts;

	*taken = NULL;
	if (!ledger)
		return;
	MAGIC_CHECK(ledger, LEDGER_MAGIC);
	must(!ledger->busy && !ledger->turn.first && !ledger->waiting_first);
	fronts = atomic_fetch_sub(&ledger->storage->fronts, 1);
	must(fronts > 0 && (!ledger->opened_it || fronts == 1)); /* the joined ones go first */
	if (ledger->opened_it)
		storage_free(ledger->storage);
	free(ledger->filling);
	free(ledger->leaving);
	ledger->magic = 0;
	free(ledger);
}

const uint8_t *ledger_id(const struct ledger *ledger)
{
	return ledger->storage->id;
}

/* ---- the queue ---- */

/* Room for so many entries, or the error that keeps us from having it. */
static enum err make_room(struct ledger *ledger, size_t entries)
{
	enum err e = OK;

	while (!e && ledger->filling->count + entries > LEDGER_BATCH_ENTRIES_MAX)
		e = write_queued(ledger);
	if (e)
		return e;
	return ledger->storage->broken ? still_broken(ledger->storage) : OK;
}

/* Who makes the batch full, or finds it old, writes it; who finds another at it goes on. */
static enum err enqueue_together(struct ledger *ledger, const struct ledger_entry *entries,
				 size_t count)
{
	nsec now = clock_now();
	struct ledger_batch *batch;
	enum err e;

	MAGIC_CHECK(ledger, LEDGER_MAGIC);
	if ((e = make_room(ledger, count)))
		return e;
	batch = ledger->filling;
	must(batch->count + count <= LEDGER_BATCH_ENTRIES_MAX);
	if (batch->count == 0)
		ledger->filling_since = now;
	for (size_t i = 0; i < count; i++) {
		batch->entries[batch->count] = entries[i];
		batch->entries[batch->count].order = (uint32_t)batch->count;
		batch->count++;
	}
	ledger->queued += count;
	if (ledger->busy ||
	    (batch->count < LEDGER_ROWS_PER_COMMIT && now - ledger->filling_since < COMMIT_AGE))
		return OK;
	return write_queued(ledger);
}

static enum err enqueue(struct ledger *ledger, const struct ledger_entry *entry)
{
	return enqueue_together(ledger, entry, 1);
}

enum err ledger_settle(struct ledger *ledger, const struct ledger_row *row)
{
	must(row->state >= LEDGER_MOVED && row->state <= LEDGER_WITHDRAWN);
	must(row->box_no > 0 && row->no > 0 && row->no < INT64_MAX && row->size_bytes < INT64_MAX);
	must((row->reason == OK) == (row->state == LEDGER_MOVED || row->state == LEDGER_WITHDRAWN));
	return enqueue(ledger, &(struct ledger_entry){ .kind = LEDGER_SETTLE, .row = *row });
}

enum err ledger_range_done(struct ledger *ledger, uint64_t box_no, uint64_t first, uint64_t last)
{
	must(first > 0 && first <= last && last < INT64_MAX);
	return enqueue(ledger, &(struct ledger_entry){ .kind = LEDGER_RANGE_DONE,
						       .range = { box_no, first, last } });
}

enum err ledger_range_again(struct ledger *ledger, uint64_t box_no, uint64_t first, uint64_t last)
{
	must(first > 0 && first <= last && last < INT64_MAX);
	return enqueue(ledger, &(struct ledger_entry){ .kind = LEDGER_RANGE_AGAIN,
						       .range = { box_no, first, last } });
}

enum err ledger_mark(struct ledger *ledger, uint64_t box_no, uint64_t no, uint64_t mark)
{
	return enqueue(ledger, &(struct ledger_entry){ .kind = LEDGER_MARK,
						       .change = { box_no, no, mark } });
}

enum err ledger_doubt(struct ledger *ledger, uint64_t box_no, uint64_t no, enum err reason)
{
	must(reason == ERR_SINK_MISSING || reason == ERR_SINK_ALTERED);
	return enqueue(ledger, &(struct ledger_entry){ .kind = LEDGER_DOUBT,
						       .change = { box_no, no, reason } });
}

enum err ledger_vanished(struct ledger *ledger, uint64_t box_no, uint64_t no)
{
	uint64_t now = (uint64_t)(clock_wall() / NSEC_SECOND);

	return enqueue(ledger, &(struct ledger_entry){ .kind = LEDGER_VANISHED,
						       .change = { box_no, no, now } });
}

enum err ledger_renumber(struct ledger *ledger, const struct ledger_renumber *renumber)
{
	must(renumber->was_no > 0 && renumber->no > 0 && renumber->no < INT64_MAX);
	return enqueue(ledger,
		       &(struct ledger_entry){ .kind = LEDGER_RENUMBER, .renumber = *renumber });
}

enum err ledger_seal_done(struct ledger *ledger, uint64_t mailbox_no, uint64_t seal_no)
{
	return enqueue(ledger, &(struct ledger_entry){ .kind = LEDGER_SEAL_DONE,
						       .seal = { mailbox_no, seal_no } });
}

enum err ledger_seals_done(struct ledger *ledger, uint64_t mailbox_no, const uint64_t *seal_nos,
			   size_t count)
{
	struct ledger_entry *entries;
	enum err e;

	must(count <= LEDGER_ROWS_PER_COMMIT);
	if (!(entries = calloc(count + 1, sizeof *entries)))
		return RAISE(ERR_MEMORY_EXHAUSTED, "forgetting seals");
	for (size_t i = 0; i < count; i++)
		entries[i] = (struct ledger_entry){ .kind = LEDGER_SEAL_DONE,
						    .seal = { mailbox_no, seal_nos[i] } };
	e = enqueue_together(ledger, entries, count);
	free(entries);
	return e;
}

enum err ledger_commit(struct ledger *ledger)
{
	return write_queued(ledger);
}

uint64_t ledger_queued(const struct ledger *ledger)
{
	return ledger->queued;
}

uint64_t ledger_durable(const struct ledger *ledger)
{
	return ledger->durable;
}

void ledger_run_note(struct ledger *ledger, const struct ledger_run *run)
{
	MAGIC_CHECK(ledger, LEDGER_MAGIC);
	must(ledger->opened_it);
	ledger->run = *run;
	ledger->run_noted = true;
}
