/* One mailbox of a batch: secrets, accounts and drivers put together for a lane, and what became of
 * it told to the batch and the ledger. */
#include <stdlib.h>

#include "crypto/digest.h"
#include "engine/budget.h"
#include "engine/clock.h"
#include "engine/lane.h"
#include "engine/log.h"
#include "engine/shard.h"
#include "tools/archived.h"
#include "tools/commands.h"
#include "tools/drivers.h"
#include "tools/gmail.h"
#include "tools/governing.h"
#include "tools/report.h"
#include "tools/run.h"
#include "tools/url.h"

/* LOGOUT and the like. */
#define FINISH_TIMEOUT (10 * NSEC_SECOND)
/* A command that asks a vault, or a file on a network. */
#define SECRET_TIMEOUT (30 * NSEC_SECOND)

struct run_mailbox {
	struct run_worker *worker;
	size_t no;
	unsigned connections;
	const struct job_mailbox *asked;
	struct url source_url, target_url;
	struct account source, target;
	struct store_s3_config source_s3, target_s3;
	struct secret *source_secret, *target_secret;
	struct login_source source_login, target_login;
	struct tap *digest, *store_digest;
	char name[ARCHIVED_NAME_BYTES + 16], id[SALTED_ID_TEXT_BYTES];
	struct lane_progress done;
	struct report report;
	struct run_mailbox *next;
};

static void mailbox_close(struct run_mailbox **mailbox_at)
{
	struct run_mailbox *mailbox = *mailbox_at;

	*mailbox_at = NULL;
	secret_close(&mailbox->source_secret);
	secret_close(&mailbox->target_secret);
	gmail_labels_close(&mailbox->source.labels);
	govern_close(&mailbox->source.govern);
	govern_close(&mailbox->target.govern);
	if (mailbox->digest)
		mailbox->digest->type->close(&mailbox->digest);
	if (mailbox->store_digest)
		mailbox->store_digest->type->close(&mailbox->store_digest);
	free(mailbox);
}

/* What gets tokens is read when one is needed. */
static enum err resolve_secret(const struct secret_ref *ref, const struct login *login,
			       struct secret **secret)
{
	return ref->kind == SECRET_REF_NONE || login
		       ? OK
		       : secret_ref_resolve(ref, clock_after(SECRET_TIMEOUT), secret);
}

static struct account account(const struct run_mailbox *mailbox, const struct url *url,
			      const struct secret *secret)
{
	const struct job_options *options = &mailbox->worker->run->job->options;
	struct account made = url_account(url);

	made.password = secret;
	made.ca_file = *mailbox->asked->ca_file ? mailbox->asked->ca_file : NULL;
	made.io_timeout = options->io_timeout;
	made.connect_timeout = options->connect_timeout;
	return made;
}

static enum err govern_both(struct run_mailbox *mailbox)
{
	struct run *run = mailbox->worker->run;
	const struct job_limits *limits = &run->job->limits;
	const struct governing source = {
		.url = &mailbox->source_url,
		.way = GOVERN_DOWN,
		.messages_per_second = limits->source.messages_per_second,
		.bytes_a_day = limits->source.bytes_a_day,
	};
	const struct governing target = {
		.url = &mailbox->target_url,
		.way = GOVERN_UP,
		.messages_per_second = limits->target.messages_per_second,
		.bytes_a_day = limits->target.bytes_a_day,
	};
	enum err e = governing_open(run->governor, &source, &mailbox->source.govern);

	return e ? e : governing_open(run->governor, &target, &mailbox->target.govern);
}

static enum err use_buckets(struct run_mailbox *mailbox)
{
	const struct run_worker *worker = mailbox->worker;
	const struct run *run = worker->run;
	const struct run_hold *hold = run_hold_of(run, mailbox->asked->target);
	enum err e;

	if ((e = run_use_bucket(run, &run->source_buckets, worker->pool, &mailbox->source,
				&mailbox->source_s3)) ||
	    (e = run_use_bucket(run, &run->target_buckets, worker->pool, &mailbox->target,
				&mailbox->target_s3)))
		return e;
	if (hold)
		bucket_watch_use(hold->watch, &mailbox->target_s3);
	return OK;
}

static enum err prepare(struct run_mailbox *mailbox)
{
	const struct job_mailbox *asked = mailbox->asked;
	const struct tap_type *digest =
		digest_type(text_of(mailbox->worker->run->job->options.digest));
	enum err e;

	if ((e = url_parse("source", asked->source, "password", &mailbox->source_url)) ||
	    (e = url_parse("target", asked->target, "password", &mailbox->target_url)) ||
	    (e = resolve_secret(&asked->source_secret, asked->source_login,
				&mailbox->source_secret)) ||
	    (e = resolve_secret(&asked->target_secret, asked->target_login,
				&mailbox->target_secret)) ||
	    (e = digest_open(digest, &mailbox->digest)) ||
	    (e = digest_open(digest, &mailbox->store_digest)))
		return e;
	mailbox->source = account(mailbox, &mailbox->source_url, mailbox->source_secret);
	mailbox->target = account(mailbox, &mailbox->target_url, mailbox->target_secret);
	mailbox->source.filter = mailbox->worker->run->job->filter.filter;
	if ((e = use_buckets(mailbox)))
		return e;
	url_mailbox_name(&mailbox->source_url, mailbox->name, sizeof mailbox->name);
	mailbox->source.route = &mailbox->worker->run->routes.source;
	mailbox->target.route = &mailbox->worker->run->routes.destination;
	mailbox->source.compress = mailbox->worker->run->job->source_route.compress;
	mailbox->target.compress = mailbox->worker->run->job->target_route.compress;
	mailbox->source.met = mailbox->target.met = endpoints_met;
	mailbox->source.met_context = mailbox->target.met_context = &mailbox->worker->endpoints;
	mailbox->source.parted = mailbox->target.parted = paths_add;
	mailbox->source.parted_context = mailbox->target.parted_context = &mailbox->worker->paths;
	if (asked->source_login)
		login_use(asked->source_login, &asked->source_secret, &mailbox->source_login,
			  &mailbox->source);
	if (asked->target_login)
		login_use(asked->target_login, &asked->target_secret, &mailbox->target_login,
			  &mailbox->target);
	if ((e = gmail_open(&mailbox->worker->run->job->options.gmail, &mailbox->source.labels)) ||
	    (e = govern_both(mailbox)))
		return e;
	return drivers_is_packed(asked->source)
		       ? archived_find(&mailbox->source, &mailbox->target, &mailbox->source_url,
				       mailbox->name)
		       : archived_check_apart(&mailbox->source, &mailbox->target);
}

static enum err haul(struct run_mailbox *mailbox)
{
	struct run *run = mailbox->worker->run;
	struct lane_config lane = {
		.source = drivers_source(mailbox->source_url.scheme),
		.source_account = &mailbox->source,
		.sink = drivers_sink(mailbox->target_url.scheme),
		.sink_account = &mailbox->target,
		.sink_config = {
			.mailbox_name = mailbox->name,
			.digest = mailbox->digest->type,
			.digest_of_store = mailbox->store_digest,
			.zstd_level = (int)run->job->options.zstd_level,
			.pack_bytes = run->job->options.pack_bytes,
			.dry_run = run->options.dry_run,
			.settle = run->job->options.settle,
			.spool = run->job->outputs.state,
			.wrap = command_sink_wrap(run->job->options.wrap),
			.existing = (enum sink_existing)run->job->options.existing,
			.flags_keep = run->job->options.flags_keep,
		},
		.ledger = mailbox->worker->ledger,
		.digest = mailbox->digest,
		.connections = mailbox->connections,
		.chunks = budget_lane_chunks(mailbox->connections),
		.chunks_most = budget_lane_chunks_most(mailbox->connections),
		.pace = run->pace,
		.backoff_is_elsewhere = true,
		.flags_never = run->job->options.flags_never,
		.newest_first = run->job->options.newest_first,
		.retry_skipped = run->retried && !run->retried[mailbox->no] ? run->retry_skipped
									  : NULL,
		.dry_run = run->options.dry_run,
		.finish_timeout = FINISH_TIMEOUT,
	};
	enum err e = lane_run(&lane, &mailbox->done);

	if (mailbox->done.retry_begun) /* what this run skips again, its later attempts leave */
		run->retried[mailbox->no] = true;
	return e;
}

/* ---- what became of it ---- */

static struct batch_figures figures(const struct run_mailbox *mailbox)
{
	const struct lane_progress *done = &mailbox->done;

	return (struct batch_figures){
		.messages_known = done->messages_known,
		.bytes_known = done->bytes_known,
		.messages_moved = done->messages_moved,
		.bytes_moved = done->bytes_moved,
		.messages_found = done->messages_found,
		.messages_before = done->messages_before,
		.messages_skipped = done->messages_skipped,
		.messages_doubtful = done->messages_doubtful,
		.messages_wrapped = done->messages_wrapped,
		.folders_skipped = done->boxes_failed,
		.messages_left_out = done->messages_filtered,
		.folders_left_out = done->boxes_left_out,
		.changes = done->changes,
		.reconnects = done->reconnects,
		.connections = done->connections,
	};
}

static enum batch_state state_of(int exit_code)
{
	switch (exit_code) {
	case EXIT_ALL_MOVED:
		return BATCH_DONE;
	case EXIT_INCOMPLETE:
		return BATCH_INCOMPLETE;
	case EXIT_MISMATCH:
		return BATCH_DOUBTFUL;
	case EXIT_LATER:
		return BATCH_DRAINED;
	}
	return BATCH_FAILED;
}

/* A mailbox whose error has the exit code of "incomplete" was stopped all the same. */
static enum batch_state judge(const struct report *report, int exit_code)
{
	if (report->error && !report->drained && exit_code != EXIT_MISMATCH)
		return BATCH_FAILED;
	return state_of(exit_code);
}

/* The machine failed, and the ledger may be what did. */
static bool is_without_ledger(enum err e)
{
	return run_is_stopped_by(e) && err_exit_code(e) != EXIT_RESIDENCY;
}

/* After `e` the report knows all; the fiber's note is taken into it. */
static void take_end(struct run_mailbox *mailbox, enum err e)
{
	struct report *report = &mailbox->report;

	report->progress = &mailbox->done;
	report->drained = e && shard_requested() == SHARD_DRAIN && report_is_given_up(e);
	report->error = e;
	report->note = *err_note();
	err_note_clear();
	if (mailbox->done.mailbox_no && !is_without_ledger(e)) {
		report->totals_known =
			ledger_totals(mailbox->worker->ledger, mailbox->done.mailbox_no,
				      &report->totals) == OK;
		err_note_clear();
	}
}

static void tell_ledger(struct run_mailbox *mailbox, const struct batch_outcome *outcome)
{
	if (!mailbox->done.mailbox_no || is_without_ledger(outcome->error))
		return;
	if (ledger_mailbox_end(mailbox->worker->ledger, mailbox->done.mailbox_no,
			       batch_state_name(outcome->state), outcome->error, outcome->note,
			       clock_wall() / NSEC_SECOND))
		err_note_clear(); /* a ledger that is broken says so to everybody */
}

static void tell_end(struct run_mailbox *mailbox)
{
	const struct report *report = &mailbox->report;
	int exit_code = report_exit_code(report);
	struct batch_outcome outcome = {
		.state = judge(report, exit_code),
		.error = report->drained ? OK : report->error,
		.note = report->drained ? "" : report->note.text,
		.exit_code = exit_code,
		.met = mailbox->done.met,
		.met_target = mailbox->done.met_sink,
		.retry_after = report->note.retry_after,
		.scope = report->note.scope,
		.of_target = mailbox->done.sink_failed,
		.connections_refused = mailbox->done.connections_refused,
		.figures = figures(mailbox),
	};
	bool final;

	if (report->totals_known) {
		outcome.figures.messages_skipped = report->totals.messages[LEDGER_SKIPPED];
		outcome.figures.messages_doubtful = report->totals.messages[LEDGER_DOUBTFUL];
		outcome.figures.messages_wrapped = report->totals.wrapped;
		outcome.figures.folders_skipped = report->totals.boxes_skipped;
		outcome.figures.messages_left_out = report->totals.filtered;
	}
	tell_ledger(mailbox, &outcome);
	final = batch_end(mailbox->worker->run->batch, mailbox->no, &outcome, clock_now());
	log_event(outcome.state == BATCH_DONE ? LOG_INFO : LOG_WARN, "mailbox.end",
		  "state=%s error=%s final=%d moved=%llu bytes=%llu !note=\"%s\"",
		  batch_state_name(outcome.state), outcome.error ? err_name(outcome.error) : "none",
		  final, (unsigned long long)outcome.figures.messages_moved,
		  (unsigned long long)outcome.figures.bytes_moved, outcome.note);
}

/* ---- the fiber ---- */

static void leave_worker(struct run_mailbox *mailbox)
{
	struct run_mailbox **at = &mailbox->worker->mailboxes;

	while (*at != mailbox)
		at = &(*at)->next;
	*at = mailbox->next;
	mailbox->worker->mailboxes_count--;
	mailbox->worker->connections -= mailbox->connections;
	wake_all(&mailbox->worker->changed);
}

static enum err mailbox_fiber(void *argument)
{
	struct run_mailbox *mailbox = argument;
	struct run *run = mailbox->worker->run;
	enum err e;

	fiber_set_tag(log_ids_of(&run->ids, mailbox->asked->source, mailbox->id));
	if ((e = prepare(mailbox)) == OK)
		e = haul(mailbox);
	if (run_is_stopped_by(e))
		run_stop(run, e);
	take_end(mailbox, e);
	tell_end(mailbox);
	fiber_set_tag(NULL);
	leave_worker(mailbox);
	mailbox_close(&mailbox);
	return OK;
}

enum err run_mailbox_begin(struct run_worker *worker, struct group *group, size_t no,
			   unsigned connections)
{
	struct run_mailbox *mailbox = calloc(1, sizeof *mailbox);
	enum err e;

	if (!mailbox)
		return RAISE(ERR_MEMORY_EXHAUSTED, "beginning a mailbox");
	mailbox->worker = worker;
	mailbox->no = no;
	mailbox->connections = connections;
	mailbox->asked = &worker->run->job->mailboxes[no];
	mailbox->next = worker->mailboxes;
	worker->mailboxes = mailbox;
	worker->mailboxes_count++;
	worker->connections += connections;
	if ((e = group_spawn(group, "mailbox", FIBER_STACK_LARGE, mailbox_fiber, mailbox))) {
		leave_worker(mailbox);
		mailbox_close(&mailbox);
	}
	return e;
}

void run_mailboxes_tell(struct run_worker *worker)
{
	for (const struct run_mailbox *mailbox = worker->mailboxes; mailbox;
	     mailbox = mailbox->next) {
		struct batch_figures now = figures(mailbox);

		batch_progress(worker->run->batch, mailbox->no, &now, clock_now());
	}
}
