/* What goes on beside the workers of a batch, on the main thread: the window and its bandwidth, the
 * heartbeat that `mailhaul status` reads, the service manager, and what was learnt about hosts. */
#include <stdio.h>
#include <unistd.h>

#include "engine/clock.h"
#include "engine/log.h"
#include "engine/shard.h"
#include "tools/governing.h"
#include "tools/run.h"

#define LOOK_EVERY  (50 * NSEC_MILLISECOND)
#define NOTE_EVERY  NSEC_SECOND
#define LEARN_EVERY (30 * NSEC_SECOND)
/* So long before the window closes the run begins to end: what is in flight is finished, and packs
 * and ledgers are closed, by the time it does. */
enum { DRAIN_BEFORE_S = 60 };

static int64_t wall_s(void)
{
	return clock_wall() / NSEC_SECOND;
}

/* ---- window and bandwidth ---- */

static uint64_t slower(uint64_t a, uint64_t b)
{
	return a == 0 ? b : b == 0 ? a : min_u64(a, b);
}

/* A window that is shorter than the time to drain is used as far as it goes. */
static bool is_time_to_drain(const struct run *run, int64_t now)
{
	const struct window_state *window = &run->window;

	if (run->options.ignore_window)
		return false;
	return !window->open ||
	       (window->changes_at_s != INT64_MAX && window->changes_at_s - now <= DRAIN_BEFORE_S &&
		now - run->started_wall_s > DRAIN_BEFORE_S);
}

static void look_at_window(struct run *run)
{
	int64_t now = wall_s();

	run->window = window_at(run->job->window, now);
	pace_set(run->pace, slower(run->window.bytes_per_second, run->job->limits.bytes_per_second),
		 clock_now());
	atomic_store(&run->window_closes_wall_s, run->window.open && !run->options.ignore_window
							 ? run->window.changes_at_s
							 : INT64_MAX);
	if (!is_time_to_drain(run, now) || shard_requested() == SHARD_DRAIN)
		return;
	run->window_is_closing = true;
	log_event(LOG_INFO, "run.drain", "why=window");
	shard_request(SHARD_DRAIN);
}

/* ---- heartbeat ---- */

static void note_run(struct run *run, bool ended)
{
	struct ledger_run note = {
		.started_wall_s = run->started_wall_s,
		.updated_wall_s = wall_s(),
		.pid = getpid(),
	};
	struct batch_counts counts;

	run_counts(run, &counts);
	if (ended) {
		note.ended_wall_s = note.updated_wall_s;
		note.exit_code = run_exit_code(run, &counts);
	}
	notify_status(run->notify, "%llu of %llu mailboxes done, %llu messages moved",
		      (unsigned long long)counts.mailboxes[BATCH_DONE],
		      (unsigned long long)batch_size(run->batch),
		      (unsigned long long)counts.messages_moved);
	if (!run->ledger)
		return;
	snprintf(note.batch, sizeof note.batch, "%s", run->job->name);
	note.messages = counts.messages_moved;
	note.bytes = counts.bytes_moved;
	for (unsigned i = 0; i < BATCH_STATES; i++)
		note.mailboxes[i] = counts.mailboxes[i];
	for (unsigned i = 0; i < ERR_COUNT; i++)
		note.errors[i] = counts.errors[i];
	note.connections = counts.connections;
	if (counts.throttled + counts.ran > 0)
		note.throttled_permille =
			(unsigned)(1000.0 * (double)counts.throttled /
				   ((double)counts.throttled + (double)counts.ran));
	note.window_closes_wall_s = counts.window_closes_wall_s;
	ledger_run_note(run->ledger, &note);
	if (ledger_commit(run->ledger))
		err_note_clear(); /* a failed ledger tells everybody; the mailboxes say so */
}

enum err run_watch(void *argument)
{
	struct run *run = argument;
	nsec noted = 0, barked = 0, learnt = clock_now(),
	     watchdog = notify_watchdog_every(run->notify);
	bool stopping = false;
	enum err e = OK;

	while (e == OK && atomic_load(&run->workers_alive) > 0) {
		nsec now = clock_now();

		log_attend();
		if (now - noted >= NOTE_EVERY) {
			noted = now;
			look_at_window(run);
			note_run(run, false);
		}
		if (now - learnt >= LEARN_EVERY) { /* a run may be killed */
			learnt = now;
			if (run_lessons_save(run, false))
				err_note_clear();
		}
		if (shard_requested() == SHARD_DRAIN && !stopping) {
			stopping = true;
			batch_drain(run->batch);
			notify_stopping(run->notify);
		}
		if (watchdog && now - barked >= watchdog) {
			barked = now;
			notify_watchdog(run->notify);
		}
		e = fiber_sleep(clock_after(LOOK_EVERY));
	}
	return e;
}

void run_note_end(struct run *run)
{
	note_run(run, true);
}

void run_attend(void *argument)
{
	struct run *run = argument;

	log_attend();
	notify_watchdog(run->notify);
}

/* ---- lessons ---- */

enum err run_lessons_load(struct run *run)
{
	struct ledger_lesson learnt = { 0 };
	enum err e = OK;

	while (run->ledger && (e = ledger_lesson_next(run->ledger, &learnt)) == OK) {
		struct batch_lesson lesson = {
			.of_account = strcmp(learnt.kind, "account") == 0,
			.saved = { .not_before_wall_s = learnt.not_before_wall_s,
				   .failures = learnt.failures,
				   .limit = learnt.connections_max },
		};

		snprintf(lesson.name, sizeof lesson.name, "%s", learnt.name);
		if (lesson.of_account || strcmp(learnt.kind, "host") == 0)
			batch_learn(run->batch, &lesson, clock_now());
		else if ((e = governing_learn(run->governor, &learnt)))
			break;
	}
	return e == ERR_PIPE_ENDED ? OK : e;
}

enum err run_lessons_save(struct run *run, bool accounts)
{
	struct batch_lesson lesson;
	enum err e = OK;
	bool known;

	for (size_t i = 0; e == OK && run->ledger; i++) {
		if (i >= batch_hosts(run->batch) && !accounts)
			break;
		if (!batch_lesson(run->batch, i, clock_now(), &lesson, &known))
			break;
		struct ledger_lesson learnt = { .not_before_wall_s = lesson.saved.not_before_wall_s,
						.connections_max = lesson.saved.limit,
						.failures = lesson.saved.failures,
						.reason = "throttled" };

		if (!known)
			continue;
		snprintf(learnt.kind, sizeof learnt.kind, "%s",
			 lesson.of_account ? "account" : "host");
		snprintf(learnt.name, sizeof learnt.name, "%s", lesson.name);
		e = ledger_lesson_set(run->ledger, &learnt);
	}
	if (e == OK && run->ledger)
		e = governing_save(run->governor, run->ledger);
	return e;
}
