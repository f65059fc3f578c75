/* The ledger as fibers see it: the lock on its directory, the queue of the group commit, and one
 * call at a time into the storage. Not for: what the storage does with it (ledger_sqlite.h).
 *
 * A call is one job; the job gets pointers into the ledger and into the caller's frame, so it is
 * always waited for, shielded from cancel. While it runs nobody else touches the store, the leaving
 * batch or the leaving run; the filling batch is only ever the fibers'. */
#include "engine/ledger.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "engine/clock.h"
#include "engine/fiber.h"
#include "engine/io.h"
#include "engine/ledger_sqlite.h"
#include "engine/offload.h"

enum { LEDGER_MAGIC = 0x6c656467, JOB_MAGIC = 0x6c6a6f62, LOCK_TEXT_BYTES_MAX = 31 };

/* Longest that a queued row waits while others follow it. */
#define COMMIT_AGE (50 * NSEC_MILLISECOND)
/* A disk that does not finish a transaction in an hour never will. */
#define JOB_TIME (3600 * NSEC_SECOND)

struct ledger {
	uint32_t magic;
	int lock_fd;
	char *directory, *lock_path, *db_path;
	struct ledger_store *store;
	uint8_t id[LEDGER_ID_BYTES];

	bool busy;		/* a job has the store, `leaving` and `run_leaving` */
	struct wait_queue turn; /* fibers that want them */
	struct ledger_batch *filling, *leaving;
	nsec filling_since;
	uint64_t queued, durable;
	struct ledger_run run, run_leaving;
	bool run_noted;

	enum err broken; /* a commit failed: nothing more is written */
	char broken_text[ERR_NOTE_BYTES_MAX];
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
	struct ledger *ledger;
	struct ledger_call *call;
	const struct ledger_run *run;
	bool lost;
};

static struct job *job_of(void *argument)
{
	struct job *job = argument;

	MAGIC_CHECK(job, JOB_MAGIC);
	MAGIC_CHECK(job->ledger, LEDGER_MAGIC);
	return job;
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

static enum err take_turn(struct ledger *ledger, nsec until)
{
	enum err e;

	MAGIC_CHECK(ledger, LEDGER_MAGIC);
	while (ledger->busy)
		if ((e = wait_on(&ledger->turn, until)))
			return e == ERR_FIBER_TIMEOUT
				       ? RAISE(e, "waiting for the ledger %s", ledger->directory)
				       : e;
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

static enum err transact_job(void *argument)
{
	struct job *job = job_of(argument);

	return ledger_sqlite_transact(job->ledger->store, job->ledger->leaving, job->run, job->call,
				      &job->lost);
}

static enum err still_broken(struct ledger *ledger)
{
	return RAISE(ledger->broken, "%s", ledger->broken_text);
}

static void note_broken(struct ledger *ledger, enum err e)
{
	const struct err_note *note = err_note();

	ledger->broken = e;
	snprintf(ledger->broken_text, sizeof ledger->broken_text, "%s",
		 note->error == e ? note->text : "a commit of the ledger failed");
}

/* Write what is queued, then do the call; it is our turn. */
static enum err transact(struct ledger *ledger, struct ledger_call *call)
{
	struct ledger_batch *batch = ledger->filling;
	struct job job = { .magic = JOB_MAGIC, .ledger = ledger, .call = call };
	enum err e;

	must(ledger->leaving->count == 0);
	ledger->filling = ledger->leaving;
	ledger->leaving = batch;
	if (ledger->run_noted) {
		ledger->run_leaving = ledger->run;
		job.run = &ledger->run_leaving;
	}
	ledger->run_noted = false;
	job.lost = batch->count > 0 || job.run; /* until the transaction says otherwise */
	e = run_job("ledger", transact_job, &job);
	if (job.lost) {
		note_broken(ledger, e);
		return e;
	}
	ledger->durable += batch->count;
	batch->count = 0;
	return e;
}

/* One call of ledger.h. Without a call: only where something waits to be written. */
static enum err act(struct ledger *ledger, struct ledger_call *call)
{
	enum err e = take_turn(ledger, clock_after(JOB_TIME));

	if (e)
		return e;
	must(ledger->store);
	if (ledger->broken)
		e = still_broken(ledger);
	else if (call || ledger->filling->count || ledger->run_noted)
		e = transact(ledger, call);
	give_turn(ledger);
	return e;
}

/* ---- opening ---- */

/* Make one directory, and its name in its parent durable: a ledger that a power cut takes away with
 * its directory would leave a filled target behind. It may be there already. */
static enum err make_directory(char *path, nsec until)
{
	char *slash = strrchr(path, '/');
	enum err e = io_mkdir(path, 0700, until);
	bool existed = e == ERR_DISK_EXISTS;

	if (e && !existed)
		return e;
	err_note_clear();
	if (!slash || slash == path) {
		e = io_sync_directory(slash ? "/" : ".", until);
	} else {
		*slash = '\0';
		e = io_sync_directory(path, until);
		*slash = '/';
	}
	/* One that was there may be the work of a run that was killed before it synced; or of
	 * somebody else, below a directory that we may enter but not read. */
	if (existed && e == ERR_DISK_DENIED) {
		err_note_clear();
		e = OK;
	}
	return e;
}

/* Missing parents too, like mkdir -p. */
static enum err make_directories(char *path, nsec until)
{
	enum err e = OK;
	bool end = false;

	for (char *at = path + 1; !end && !e; at++) {
		end = *at == '\0';
		if ((*at != '/' && !end) || at[-1] == '/')
			continue;
		*at = '\0';
		e = make_directory(path, until);
		if (!end)
			*at = '/';
	}
	return e;
}

static enum err say_busy(struct ledger *ledger, nsec until)
{
	char pid[LOCK_TEXT_BYTES_MAX + 1] = "";
	size_t length = 0;

	if (io_read(ledger->lock_fd, pid, LOCK_TEXT_BYTES_MAX, 0, until, &length))
		err_note_clear();
	pid[strspn(pid, "0123456789")] = '\0';
	return RAISE(ERR_LEDGER_BUSY,
		     "another run, process %s, holds the ledger in %s; wait until it has ended,"
		     " or end it (kill %s), and run again",
		     pid[0] ? pid : "unknown", ledger->directory, pid[0] ? pid : "PID");
}

/* The file stays when the lock goes; only the lock counts. */
static enum err lock(struct ledger *ledger, nsec until)
{
	char pid[LOCK_TEXT_BYTES_MAX + 1];
	bool held = false;
	enum err e;

	if ((e = io_open(ledger->lock_path, O_RDWR | O_CREAT, 0600, until, &ledger->lock_fd)) ||
	    (e = io_lock(ledger->lock_fd, until, &held)))
		return e;
	if (!held)
		return say_busy(ledger, until);
	snprintf(pid, sizeof pid, "%ld\n", (long)getpid());
	if ((e = io_truncate(ledger->lock_fd, 0, until)))
		return e;
	return io_write(ledger->lock_fd, pid, strlen(pid), 0, until);
}

static enum err open_job(void *argument)
{
	struct ledger *ledger = job_of(argument)->ledger;

	return ledger_sqlite_open(ledger->db_path, ledger->lock_path, &ledger->store);
}

static enum err open_all(struct ledger *ledger, nsec until)
{
	struct job job = { .magic = JOB_MAGIC, .ledger = ledger };
	enum err e;

	if ((e = make_directories(ledger->directory, until)) || (e = lock(ledger, until)) ||
	    (e = run_job("ledger open", open_job, &job)))
		return e;
	bytes_copy(ledger->id, ledger_sqlite_id(ledger->store), sizeof ledger->id, BYTES_META);
	return io_sync_directory(ledger->directory, until); /* the file's own name */
}

enum err ledger_open(const char *directory, nsec until, struct ledger **out)
{
	struct ledger *ledger = calloc(1, sizeof *ledger);
	enum err e;

	must(directory[0]);
	*out = NULL;
	if (!ledger)
		return RAISE(ERR_MEMORY_EXHAUSTED, "opening the ledger in %s", directory);
	ledger->magic = LEDGER_MAGIC;
	ledger->lock_fd = -1;
	ledger->filling = calloc(1, sizeof *ledger->filling);
	ledger->leaving = calloc(1, sizeof *ledger->leaving);
	ledger->directory = strdup(directory);
	if (!ledger->filling || !ledger->leaving || !ledger->directory ||
	    asprintf(&ledger->lock_path, "%s/ledger.lock", directory) < 0 ||
	    asprintf(&ledger->db_path, "%s/ledger.db", directory) < 0)
		e = RAISE(ERR_MEMORY_EXHAUSTED, "opening the ledger in %s", directory);
	else
		e = open_all(ledger, until);
	if (e)
		ledger_close(&ledger);
	*out = ledger;
	return e;
}

static enum err finish_job(void *argument)
{
	return ledger_sqlite_finish(&job_of(argument)->ledger->store);
}

static enum err finish(struct ledger *ledger, nsec until)
{
	struct job job = { .magic = JOB_MAGIC, .ledger = ledger };
	enum err e = take_turn(ledger, until), closed;

	if (e)
		return e;
	must(ledger->store);
	e = ledger->broken ? still_broken(ledger) : OK;
	if (!e && (ledger->filling->count || ledger->run_noted))
		e = transact(ledger, NULL);
	closed = run_job("ledger finish", finish_job, &job);
	io_close(&ledger->lock_fd);
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

	*taken = NULL;
	if (!ledger)
		return;
	MAGIC_CHECK(ledger, LEDGER_MAGIC);
	must(!ledger->busy && !ledger->turn.first);
	ledger_sqlite_close(&ledger->store);
	io_close(&ledger->lock_fd);
	free(ledger->filling);
	free(ledger->leaving);
	free(ledger->directory);
	free(ledger->lock_path);
	free(ledger->db_path);
	ledger->magic = 0;
	free(ledger);
}

const uint8_t *ledger_id(const struct ledger *ledger)
{
	return ledger->id;
}

/* ---- the queue ---- */

/* Room for one entry, or the error that keeps us from having it. */
static enum err make_room(struct ledger *ledger)
{
	enum err e = OK;

	while (!ledger->broken && ledger->filling->count == LEDGER_BATCH_ENTRIES_MAX && !e)
		e = act(ledger, NULL);
	if (e)
		return e;
	return ledger->broken ? still_broken(ledger) : OK;
}

/* Who makes the batch full, or finds it old, writes it; who finds another at it goes on. */
static enum err enqueue(struct ledger *ledger, const struct ledger_entry *entry)
{
	nsec now = clock_now();
	struct ledger_batch *batch;
	enum err e;

	MAGIC_CHECK(ledger, LEDGER_MAGIC);
	if ((e = make_room(ledger)))
		return e;
	batch = ledger->filling;
	must(batch->count < LEDGER_BATCH_ENTRIES_MAX);
	if (batch->count == 0)
		ledger->filling_since = now;
	batch->entries[batch->count] = *entry;
	batch->entries[batch->count].order = (uint32_t)batch->count;
	batch->count++;
	ledger->queued++;
	if (ledger->busy ||
	    (batch->count < LEDGER_ROWS_PER_COMMIT && now - ledger->filling_since < COMMIT_AGE))
		return OK;
	return act(ledger, NULL);
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

enum err ledger_seal_done(struct ledger *ledger, uint64_t mailbox_no, uint64_t seal_no)
{
	return enqueue(ledger, &(struct ledger_entry){ .kind = LEDGER_SEAL_DONE,
						       .seal = { mailbox_no, seal_no } });
}

enum err ledger_commit(struct ledger *ledger)
{
	return act(ledger, NULL);
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
	ledger->run = *run;
	ledger->run_noted = true;
}

/* ---- the calls ---- */

enum err ledger_mailbox(struct ledger *ledger, const char *source, const char *target,
			const char *digest, struct ledger_mailbox *mailbox)
{
	struct ledger_call call = { .run = ledger_sqlite_mailbox,
				    .writes = true,
				    .source = source,
				    .target = target,
				    .digest = digest,
				    .mailbox = mailbox };

	must(strlen(digest) < sizeof mailbox->digest);
	*mailbox = (struct ledger_mailbox){ 0 };
	return act(ledger, &call);
}

enum err ledger_box(struct ledger *ledger, uint64_t mailbox_no, struct box *box,
		    uint64_t *epoch_before, uint64_t *next_no)
{
	struct ledger_call call = {
		.run = ledger_sqlite_box, .writes = true, .mailbox_no = mailbox_no, .box = box
	};
	enum err e = act(ledger, &call);

	*epoch_before = call.epoch;
	*next_no = call.next_no;
	return e;
}

enum err ledger_box_fate(struct ledger *ledger, uint64_t box_no, enum err fate, const char *note)
{
	struct ledger_call call = { .run = ledger_sqlite_box_fate,
				    .writes = true,
				    .box_no = box_no,
				    .fate = fate,
				    .note = note ? note : "" };

	return act(ledger, &call);
}

enum err ledger_intend(struct ledger *ledger, uint64_t box_no, uint64_t first, uint64_t last)
{
	struct ledger_call call = { .run = ledger_sqlite_intend,
				    .writes = true,
				    .box_no = box_no,
				    .first = first,
				    .last = last };

	must(first > 0 && first <= last && last < INT64_MAX);
	return act(ledger, &call);
}

enum err ledger_open_range(struct ledger *ledger, uint64_t box_no, uint64_t after,
			   struct ledger_range *range)
{
	struct ledger_call call = { .run = ledger_sqlite_open_range,
				    .box_no = box_no,
				    .first = after };
	enum err e = act(ledger, &call);

	*range = call.range;
	return e || call.found ? e : ERR_PIPE_ENDED;
}

enum err ledger_unsettled(struct ledger *ledger, uint64_t box_no, uint64_t from, uint64_t last,
			  struct ledger_range *gap)
{
	struct ledger_call call = {
		.run = ledger_sqlite_unsettled, .box_no = box_no, .first = from, .last = last
	};
	enum err e = OK;

	must(from > 0 && last < INT64_MAX);
	while (!e && !call.found && call.first <= last)
		e = act(ledger, &call); /* each moves call.first, or ends it */
	*gap = call.range;
	return e || call.found ? e : ERR_PIPE_ENDED;
}

enum err ledger_seal(struct ledger *ledger, uint64_t mailbox_no, uint64_t seal_no, struct text seal)
{
	struct ledger_call call = { .run = ledger_sqlite_seal,
				    .writes = true,
				    .mailbox_no = mailbox_no,
				    .seal_no = seal_no,
				    .seal = seal };

	must(seal_no > 0 && seal_no < INT64_MAX);
	return act(ledger, &call);
}

enum err ledger_seal_drop(struct ledger *ledger, uint64_t mailbox_no, uint64_t seal_no)
{
	struct ledger_call call = { .run = ledger_sqlite_seal_drop,
				    .writes = true,
				    .mailbox_no = mailbox_no,
				    .seal_no = seal_no };

	return act(ledger, &call);
}

enum err ledger_seal_next(struct ledger *ledger, uint64_t mailbox_no, uint64_t after,
			  uint64_t *seal_no, struct buffer *seal)
{
	struct ledger_call call = { .run = ledger_sqlite_seal_next,
				    .mailbox_no = mailbox_no,
				    .seal_no = after,
				    .blob = seal };
	enum err e = act(ledger, &call);

	*seal_no = call.seal_no;
	return e || call.found ? e : ERR_PIPE_ENDED;
}

enum err ledger_totals(struct ledger *ledger, uint64_t mailbox_no, struct ledger_totals *totals)
{
	struct ledger_call call = { .run = ledger_sqlite_totals,
				    .mailbox_no = mailbox_no,
				    .totals = totals };

	*totals = (struct ledger_totals){ 0 };
	return act(ledger, &call);
}

enum err ledger_exception_next(struct ledger *ledger, uint64_t mailbox_no,
			       struct ledger_exception *exception)
{
	struct ledger_call call = { .run = ledger_sqlite_exception,
				    .mailbox_no = mailbox_no,
				    .exception = exception };
	enum err e = act(ledger, &call);

	return e || call.found ? e : ERR_PIPE_ENDED;
}
