/* mailhaul copy: one mailbox from a source into a target, resumably. Composes drivers, lane and
 * ledger; shows progress; ends with a report and an exit code. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "crypto/digest.h"
#include "crypto/zstd_stage.h"
#include "engine/backoff.h"
#include "engine/budget.h"
#include "engine/clock.h"
#include "engine/fiber.h"
#include "engine/log.h"
#include "engine/offload.h"
#include "engine/pace.h"
#include "engine/shard.h"
#include "tools/archived.h"
#include "tools/aws_record.h"
#include "tools/copy_bucket.h"
#include "tools/commands.h"
#include "tools/confinement.h"
#include "tools/copy_options.h"
#include "tools/counters.h"
#include "tools/drivers.h"
#include "tools/dry_run.h"
#include "tools/governing.h"
#include "tools/hints.h"
#include "tools/progress.h"
#include "tools/report.h"
#include "tools/routes.h"
#include "tools/signals.h"
#include "tools/skip_reason.h"
#include "tools/url.h"
#include "transport/archive.h"
#include "transport/residency.h"

/* LOGOUT and the like: long enough for a slow server, short enough not to seem hung. */
#define FINISH_TIMEOUT (10 * NSEC_SECOND)
/* Opening and closing the ledger: a large one is checkpointed. */
#define LEDGER_TIMEOUT (120 * NSEC_SECOND)
#define NOTE_EVERY     NSEC_SECOND
/* What is kept of limits: at the end, and in between for a process that is killed. */
enum { LEARN_EVERY_NOTES = 5 };

struct copy {
	struct copy_options options;
	struct url source_url, target_url;
	struct account source_account, target_account;
	struct copy_login source_login, target_login;
	struct job *logins; /* of --oauth2; NULL: none */
	struct residency *residency;
	struct copy_buckets buckets;
	char state[URL_PATH_BYTES_MAX + 1];
	char retry_skipped[LEDGER_REASON_NAME_BYTES]; /* "": nothing */
	char mailbox_name[ARCHIVED_NAME_BYTES + 16];
	struct filter *filter; /* NULL: everything is wanted */
	struct labels *labels;
	struct ledger *ledger;	/* NULL in a dry run */
	struct ledger *scratch; /* of a dry run: a copy, if there is something to copy */
	struct dry_run dry_run;
	struct tap *digest, *store_digest;
	struct lane_config lane;
	struct lane_progress done;
	struct progress progress;
	struct ledger_run run;
	struct report report;
	struct routes routes;
	struct endpoints endpoints;
	struct paths paths;
	struct counters counters;
	struct governor *governor;
	struct pace *pace;
	struct backoff rest; /* of the source */
};

/* ---- the command line ---- */

/* A mailbox on a server is somebody's, all of it. */
static enum err check_server(const char *which, const struct url *url)
{
	if (strcmp(url->path, "/") != 0)
		return RAISE(ERR_INPUT_USAGE,
			     "%s names a folder; whole mailboxes only are "
			     "copied: end it after the host with a slash",
			     which);
	if (!*url->user)
		return RAISE(ERR_INPUT_USAGE, "%s names no user: %s://user@%s/", which, url->scheme,
			     url->host);
	return OK;
}

/* Nobody logs in there. */
static bool is_archive(const struct url *url)
{
	return drivers_has_archives(url->scheme);
}

/* Of packs, with index and manifest; else it is of messages, each by itself. */
static bool is_packed(const struct url *url)
{
	return store_driver_of(url->scheme) != NULL;
}

/* What only an archive has as a source, or only an account. */
static enum err check_source(struct copy *copy)
{
	const struct url *source = &copy->source_url;
	struct copy_options *options = &copy->options;
	struct archive_moment moment;

	if (is_packed(source)) {
		options->connections = 1; /* it is read faster than anything is written */
		return !options->as_of || archive_moment_read(options->as_of, &moment)
			       ? OK
			       : RAISE(ERR_INPUT_USAGE,
				       "--as-of %s: give a generation (3), a day (2026-11-22) or a "
				       "moment (2026-11-22T06:00:00Z)",
				       options->as_of);
	}
	if (options->as_of || options->vanished)
		return RAISE(ERR_INPUT_USAGE,
			     "%s is for an archive as SOURCE (file:///path, s3://...)",
			     options->as_of ? "--as-of" : "--vanished");
	return is_archive(source) ? OK : check_server("SOURCE", source);
}

static enum err parse_urls(struct copy *copy, const struct opt_words *words)
{
	struct url *source = &copy->source_url, *target = &copy->target_url;
	enum err e;

	if ((e = url_parse("SOURCE", words->at[0], "source-password-file", source)) ||
	    (e = url_parse("TARGET", words->at[1], "destination-password-file", target)))
		return e;
	if (!drivers_source(source->scheme))
		return RAISE(ERR_INPUT_USAGE, "SOURCE is %s://, which is none of the sources",
			     source->scheme);
	if (!drivers_sink(target->scheme))
		return RAISE(ERR_INPUT_USAGE, "TARGET is %s://, which is none of the targets",
			     target->scheme);
	if ((e = check_source(copy)) ||
	    (drivers_sink(target->scheme)->reopens && (e = check_server("TARGET", target))))
		return e;
	/* Two names of one archive are told apart once it is found. */
	if (!is_packed(source) && strcmp(source->shown, target->shown) == 0)
		return RAISE(ERR_INPUT_USAGE, "SOURCE and TARGET are the same mailbox: %s",
			     source->shown);
	return OK;
}

/* Faults of the file of --oauth2: the first one will do. */
static enum err plan_logins(struct copy *copy)
{
	const struct copy_options *options = &copy->options;
	const struct job_mailbox none = { 0 }, *of_file = &none;
	enum err e;

	if (options->oauth2) {
		if ((e = job_open_logins(options->oauth2, copy->source_url.user,
					 copy->target_url.user, &copy->logins)))
			return e;
		of_file = copy->logins->mailboxes;
	}
	if ((e = copy_login_plan("source", &options->source_login, of_file->source_login,
				 &of_file->source_secret, &copy->source_login)) ||
	    (e = copy_login_plan("destination", &options->destination_login, of_file->target_login,
				 &of_file->target_secret, &copy->target_login)))
		return e;
	if (!is_archive(&copy->source_url) &&
	    (e = copy_login_check("source", copy->source_url.shown, &options->source_login,
				  &copy->source_login)))
		return e;
	return drivers_sink(copy->target_url.scheme)->reopens
		       ? copy_login_check("destination", copy->target_url.shown,
					  &options->destination_login, &copy->target_login)
		       : OK;
}

/* An archive is no conversation. */
static enum err plan_compression(const struct copy *copy, bool *source, bool *target)
{
	const char *which = copy->options.compress;
	bool both = strcmp(which, "both") == 0;

	*source = both || strcmp(which, "source") == 0;
	*target = both || strcmp(which, "destination") == 0;
	if (!both && ((*source && is_archive(&copy->source_url)) ||
		      (*target && is_archive(&copy->target_url))))
		return RAISE(ERR_INPUT_USAGE,
			     "--compress %s is for a server, and %s is an archive: leave it out",
			     which, *source ? "SOURCE" : "TARGET");
	*source &= !is_archive(&copy->source_url);
	*target &= !is_archive(&copy->target_url);
	return OK;
}

static enum err open_record(struct copy *copy)
{
	const struct aws_record_config config = {
		.directory = copy->options.dry_run ? NULL : copy->state,
		.names = true,
	};

	if (!bucket_is_meant(copy->source_url.scheme) && !bucket_is_meant(copy->target_url.scheme))
		return OK;
	return aws_record_open(&config, &copy->buckets.record);
}

static enum err plan_buckets(struct copy *copy)
{
	const struct account source = url_account(&copy->source_url);
	const struct account target = url_account(&copy->target_url);
	struct copy_buckets *buckets = &copy->buckets;
	enum err e;

	if ((e = open_record(copy)) ||
	    (e = copy_bucket_plan("--source-", &copy->source_account, &source,
				  &copy->options.source_bucket, buckets->record, &buckets->source)))
		return e;
	return copy_bucket_plan("--destination-", &copy->target_account, &target,
				&copy->options.destination_bucket, buckets->record,
				&buckets->target);
}

static struct account account(const struct copy *copy, const struct url *url,
			      const struct bucket *bucket)
{
	struct account made = url_account(url);

	made.ca_file = copy->options.ca_file ? copy->options.ca_file
		       : bucket		     ? bucket_ca_file(bucket)
					     : NULL;
	made.io_timeout = copy->options.io_timeout;
	made.connect_timeout = copy->options.connect_timeout;
	return made;
}

static enum err open_log(const struct copy_options *options)
{
	int fd = STDERR_FILENO;

	/* Stays open until the process ends. */
	if (options->log &&
	    (fd = open(options->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY, 0600)) <
		    0)
		return RAISE_ERRNO(ERR_INPUT_FILE, errno, "opening the log file %s", options->log);
	log_setup(fd, copy_options_log_level(options), options->json);
	log_set_trace(options->trace);
	return OK;
}

/* Who the servers are, and what they are to be spared. */
static enum err set_limits(struct copy *copy)
{
	struct copy_options *options = &copy->options;
	const struct governing source = { .url = &copy->source_url,
					  .way = GOVERN_DOWN,
					  .messages_per_second = options->messages_per_second,
					  .bytes_a_day = options->daily_down };
	const struct governing target = { .url = &copy->target_url,
					  .way = GOVERN_UP,
					  .messages_per_second = options->messages_per_second,
					  .bytes_a_day = options->daily_up };
	enum err e;

	if ((e = governing_check(source.url)) || (e = governing_check(target.url)) ||
	    (e = governor_open(&copy->governor)) || (e = pace_open(&copy->pace)) ||
	    (e = governing_open(copy->governor, &source, &copy->source_account.govern)) ||
	    (e = governing_open(copy->governor, &target, &copy->target_account.govern)))
		return e;
	pace_set(copy->pace, options->bytes_per_second, clock_now());
	options->connections = governing_connections(source.url, (unsigned)options->connections);
	backoff_init(&copy->rest, (unsigned)options->connections);
	(void)(governing_tell_end("copy", source.url) || governing_tell_end("copy", target.url));
	return OK;
}

/* Everything that can be refused before the first connection. */
static enum err prepare(struct copy *copy, const struct opt_words *words)
{
	bool compress_source, compress_target;
	enum err e;

	if ((e = confinement_prepare(copy->options.confine)) || (e = parse_urls(copy, words)) ||
	    (e = plan_compression(copy, &compress_source, &compress_target)) ||
	    (e = filters_open(&copy->options.filter, &copy->filter)) || (e = plan_logins(copy)) ||
	    (e = residency_options_set(&copy->options.residency, copy->logins, &copy->residency)) ||
	    (e = gmail_open(&copy->options.gmail, &copy->labels)) ||
	    (e = command_state_directory(copy->options.state, copy->state, sizeof copy->state)) ||
	    (e = skip_reason_parse(copy->options.retry_skipped, copy->state,
				   copy->retry_skipped)) ||
	    (e = open_log(&copy->options)) || (e = plan_buckets(copy)) ||
	    (e = confinement_begin(copy->logins)) ||
	    (e = copy_login_open(&copy->options.source_login, &copy->source_login)) ||
	    (e = copy_login_open(&copy->options.destination_login, &copy->target_login)) ||
	    (e = routes_open(&copy->options.routes, &copy->routes)) ||
	    (e = digest_open(digest_type(text_of(copy->options.digest)), &copy->digest)) ||
	    (e = digest_open(digest_type(text_of(copy->options.digest)), &copy->store_digest)))
		return e;
	copy->source_account = account(copy, &copy->source_url, copy->buckets.source.bucket);
	copy->target_account = account(copy, &copy->target_url, copy->buckets.target.bucket);
	copy->source_account.filter = copy->filter;
	copy->source_account.labels = copy->labels;
	copy->source_account.as_of = copy->options.as_of;
	copy->source_account.vanished = copy->options.vanished;
	copy->source_account.compress = compress_source;
	copy->target_account.compress = compress_target;
	copy->source_account.met = copy->target_account.met = endpoints_met;
	copy->source_account.met_context = copy->target_account.met_context = &copy->endpoints;
	url_mailbox_name(&copy->source_url, copy->mailbox_name, sizeof copy->mailbox_name);
	copy->source_account.route = &copy->routes.source;
	copy->target_account.route = &copy->routes.destination;
	copy->source_account.parted = copy->target_account.parted = paths_add;
	copy->source_account.parted_context = copy->target_account.parted_context = &copy->paths;
	copy_login_use(&copy->source_login, &copy->source_account);
	copy_login_use(&copy->target_login, &copy->target_account);
	return set_limits(copy);
}

/* ---- the run, in the shard's first fiber ---- */

/* What earlier runs learnt about source and target. A batch of the same ledger learns of hosts,
 * too.
 */
static enum err load_lessons(struct copy *copy)
{
	struct ledger_lesson lesson = { 0 };
	char host[GOVERNING_HOST_BYTES];
	enum err e;

	governing_host(&copy->source_url, host);
	while ((e = ledger_lesson_next(copy->ledger, &lesson)) == OK) {
		const struct backoff_saved saved = {
			.not_before_wall_s = lesson.not_before_wall_s,
			.failures = lesson.failures,
			.limit = lesson.connections_max,
		};
		bool of_account = strcmp(lesson.kind, "account") == 0 &&
				  strcmp(lesson.name, copy->source_url.shown) == 0;
		bool of_host = strcmp(lesson.kind, "host") == 0 && strcmp(lesson.name, host) == 0;
		struct backoff of_others;

		if ((e = governing_learn(copy->governor, &lesson)))
			return e;
		if (of_account)
			backoff_load(&copy->rest, &saved, clock_now(), clock_wall());
		backoff_init(&of_others, 1);
		backoff_load(&of_others, &saved, clock_now(), clock_wall());
		if (of_host)
			backoff_rest(&copy->rest, of_others.not_before);
	}
	return e == ERR_PIPE_ENDED ? OK : e;
}

static enum err save_lessons(struct copy *copy)
{
	struct backoff_saved saved = backoff_save(&copy->rest, clock_now(), clock_wall());
	struct ledger_lesson lesson = { .kind = "account",
					.not_before_wall_s = saved.not_before_wall_s,
					.connections_max = saved.limit,
					.failures = saved.failures,
					.reason = "throttled" };
	enum err e;

	snprintf(lesson.name, sizeof lesson.name, "%.*s", LEDGER_LESSON_NAME_BYTES_MAX,
		 copy->source_url.shown);
	e = ledger_lesson_set(copy->ledger, &lesson);
	return e ? e : governing_save(copy->governor, copy->ledger);
}

static enum err open_ledger(struct copy *copy)
{
	enum err e = OK;

	if (copy->options.dry_run)
		return copy->dry_run.has_ledger
			       ? ledger_open(copy->dry_run.directory, clock_after(LEDGER_TIMEOUT),
					     &copy->scratch)
			       : OK;
	if (!copy->options.state)
		e = command_make_state_directory(copy->state);
	if (e == OK)
		e = ledger_open(copy->state, clock_after(LEDGER_TIMEOUT), &copy->ledger);
	if (e == OK)
		ledger_run_note(copy->ledger, &copy->run);
	return e ? e : load_lessons(copy);
}

/* Beside the lane: the heartbeat that `mailhaul status` reads. */
static enum err note_run(void *argument)
{
	struct copy *copy = argument;
	unsigned notes = 0;
	enum err e;

	while ((e = fiber_sleep(clock_after(NOTE_EVERY))) == OK) {
		copy->run.updated_wall_s = clock_wall() / NSEC_SECOND;
		copy->run.messages = copy->done.messages_moved;
		copy->run.bytes = copy->done.bytes_moved;
		if (!copy->ledger)
			continue;
		ledger_run_note(copy->ledger, &copy->run);
		if (ledger_commit(copy->ledger) ||
		    (++notes % LEARN_EVERY_NOTES == 0 && save_lessons(copy)))
			err_note_clear(); /* a failed ledger tells everybody; the lane says so */
	}
	return e;
}

/* After a signal: whether `e` stands for "stopped as asked". What would have been tried again is
 * not an answer of its own, and a dry run has nothing in flight to fail with. */
static bool is_given_up(const struct report *report, enum err e)
{
	return report->dry_run || report_is_given_up(e);
}

/* What stopped the mailbox, kept before anything else can raise. */
static void take_error(struct report *report, enum err e)
{
	if (!e || report->error)
		return;
	report->drained = shard_requested() == SHARD_DRAIN && is_given_up(report, e);
	if (report->drained)
		return;
	report->error = e;
	report->note = *err_note();
	err_note_clear();
}

static enum err run_lane(struct copy *copy)
{
	struct group *beside = group_open();
	enum err e, beside_e;

	copy->progress = (struct progress){ .lane = &copy->done, .started = clock_now() };
	e = group_spawn(beside, "progress", FIBER_STACK_SMALL, progress_run, &copy->progress);
	if (e == OK)
		e = group_spawn(beside, "note", FIBER_STACK_LARGE, note_run, copy);
	if (e == OK)
		e = lane_run(&copy->lane, &copy->done);
	take_error(&copy->report, e);
	group_cancel(beside);
	beside_e = group_join(&beside);
	return e || beside_e == ERR_FIBER_CANCELED ? e : beside_e;
}

static void configure_lane(struct copy *copy)
{
	const struct tap_type *digest = copy->digest->type;

	copy->lane = (struct lane_config){
		.source = drivers_source(copy->source_url.scheme),
		.source_account = &copy->source_account,
		.sink = drivers_sink(copy->target_url.scheme),
		.sink_account = &copy->target_account,
		.sink_config = {
			.mailbox_name = copy->mailbox_name,
			.digest = digest,
			.digest_of_store = copy->store_digest,
			.zstd_level = (int)copy->options.zstd,
			.pack_bytes = copy->options.pack_size,
			.dry_run = copy->options.dry_run,
			.settle = copy->options.settle,
			.spool = copy->state,
			.wrap = command_sink_wrap(copy->options.wrap),
			.existing = copy_options_existing(&copy->options),
			.flags_keep = strcmp(copy->options.flags, "auto") != 0,
		},
		.ledger = copy->options.dry_run ? copy->scratch : copy->ledger,
		.digest = copy->digest,
		.connections = (unsigned)copy->options.connections,
		.pace = copy->pace,
		.rest = &copy->rest,
		.flags_never = strcmp(copy->options.flags, "never") == 0,
		.newest_first = copy->options.filter.newest_first,
		.retry_skipped = *copy->retry_skipped ? copy->retry_skipped : NULL,
		.dry_run = copy->options.dry_run,
		.finish_timeout = FINISH_TIMEOUT,
	};
}

/* Nothing worth telling on paper happened when not even the source was met. */
static enum err tell(struct copy *copy)
{
	struct report *report = &copy->report;

	counters_take(&copy->counters);
	copy->counters.payload_bytes = copy->done.bytes_moved;
	report->counters = copy->options.stats ? &copy->counters : NULL;
	if (copy->options.json)
		return report_json(report, copy->ledger, stdout);
	return copy->endpoints.count || residency_refused() || copy->done.met
		       ? report_text(report, copy->ledger, stdout)
		       : OK;
}

/* The ledger's last word on this run, then the report, then the ledger is closed in order. */
static enum err conclude(struct copy *copy)
{
	struct ledger_run *run = &copy->run;
	enum err e = OK;

	if (!copy->ledger)
		return tell(copy);
	if (copy->done.mailbox_no)
		e = ledger_totals(copy->ledger, copy->done.mailbox_no, &copy->report.totals);
	copy->report.totals_known = copy->done.mailbox_no && e == OK;
	take_error(&copy->report, e);
	take_error(&copy->report, save_lessons(copy));
	run->updated_wall_s = run->ended_wall_s = clock_wall() / NSEC_SECOND;
	run->messages = copy->done.messages_moved;
	run->bytes = copy->done.bytes_moved;
	run->exit_code = report_exit_code(&copy->report);
	ledger_run_note(copy->ledger, run);
	e = tell(copy);
	return e ? e : ledger_finish(copy->ledger, clock_after(LEDGER_TIMEOUT));
}

/* A source that is an archive: which mailbox of it, and that it is not the target's. */
static enum err place_source(struct copy *copy)
{
	if (!is_packed(&copy->source_url))
		return archived_check_apart(&copy->source_account, &copy->target_account);
	return archived_find(&copy->source_account, &copy->target_account, &copy->source_url,
			     copy->mailbox_name);
}

/* The record of requests is written there before the ledger is. */
static enum err make_state(struct copy *copy)
{
	return copy->buckets.record && !copy->options.dry_run && !copy->options.state
		       ? command_make_state_directory(copy->state)
		       : OK;
}

static enum err copy_fiber(void *argument)
{
	struct copy *copy = argument;
	nsec started = clock_now();
	enum err e;

	copy->report.started_wall_s = copy->run.started_wall_s = clock_wall() / NSEC_SECOND;
	copy->run.pid = getpid();
	e = make_state(copy);
	if (e == OK)
		e = copy_buckets_open(&copy->buckets, &copy->source_account, &copy->target_account,
				      &copy->options.destination_bucket, copy->options.dry_run);
	copy->report.bucket = copy->buckets.watch;
	if (e == OK)
		e = place_source(copy);
	if (e == OK && (e = open_ledger(copy)) == OK) {
		copy->buckets.target.s3.ledger_id = copy->ledger ? ledger_id(copy->ledger) : NULL;
		confine_thread(CONFINE_WORKER);
		configure_lane(copy);
		e = run_lane(copy);
		if (e == OK)
			e = copy_buckets_audit(&copy->buckets);
	}
	copy->report.duration = clock_now() - started;
	take_error(&copy->report, e);
	copy_buckets_finish(&copy->buckets);
	take_error(&copy->report, conclude(copy));
	ledger_close(&copy->ledger);
	ledger_close(&copy->scratch);
	dry_run_close(&copy->dry_run, clock_after(LEDGER_TIMEOUT));
	if (copy->options.stats && !copy->options.json)
		counters_text(&copy->counters, stderr);
	return OK;
}

/* ---- the command ---- */

static void copy_close(struct copy **taken)
{
	struct copy *copy = *taken;

	if (!copy)
		return;
	confinement_end();
	dry_run_remove(&copy->dry_run); /* if the shard did not come to its fiber */
	filter_close(&copy->filter);
	gmail_labels_close(&copy->labels);
	copy_login_close(&copy->source_login);
	copy_login_close(&copy->target_login);
	residency_options_end(&copy->residency);
	job_close(&copy->logins);
	copy_buckets_close(&copy->buckets);
	routes_close(&copy->routes);
	if (copy->digest)
		copy->digest->type->close(&copy->digest);
	if (copy->store_digest)
		copy->store_digest->type->close(&copy->store_digest);
	govern_close(&copy->source_account.govern);
	govern_close(&copy->target_account.govern);
	governor_close(&copy->governor);
	pace_close(&copy->pace);
	free(copy);
	*taken = NULL;
}

static int say_end(const struct report *report)
{
	char reason[ERR_NOTE_BYTES_MAX * 4];

	if (*report_reason(report, reason, sizeof reason))
		fprintf(stderr, "mailhaul: copy: %s\n", reason);
	return command_finish_output("copy", report_exit_code(report));
}

static void set_budget(const struct copy *copy)
{
	const struct copy_options *options = &copy->options;
	/* Indexes are compressed even where packs are not. */
	int level = (int)max_u64(options->zstd, 1);

	budget_set(&(struct budget_shape){
		.workers = 1,
		.lanes = 1,
		.connections = (unsigned)options->connections,
		.pairs = (unsigned)options->connections,
		.offload_threads = OFFLOAD_THREADS,
		.to_servers = drivers_is_server(copy->target_url.shown),
		.to_buckets = copy->buckets.target.bucket != NULL,
		.from_buckets = copy->buckets.source.bucket != NULL,
		.compressor_bytes = zstd_stage_context_bytes(level, FRAME_BYTES),
		.compressor_bytes_of_many = zstd_stage_context_bytes(level, FRAME_BYTES_OF_MANY),
		.compressed = copy->source_account.compress + copy->target_account.compress,
	});
}

static int copy_run(struct copy *copy, const struct opt_words *words)
{
	enum err e;

	if ((e = prepare(copy, words)))
		return hint_fail("copy", e);
	copy->report.source = copy->source_url.shown;
	copy->report.target = copy->target_url.shown;
	copy->report.digest = copy->options.digest;
	copy->report.dry_run = copy->options.dry_run;
	copy->report.progress = &copy->done;
	copy->report.endpoints = &copy->endpoints;
	copy->report.paths = &copy->paths;
	copy->report.aws_record = copy->buckets.record;
	signals_setup();
	if (copy->options.dry_run && (e = dry_run_open(&copy->dry_run, copy->state)))
		return hint_fail("copy", e);
	set_budget(copy);
	if ((e = shard_run(&(struct shard_config){ .arena_chunks = budget_arena_chunks() },
			   copy_fiber, copy)))
		return hint_fail("copy", e);
	return say_end(&copy->report);
}

static int copy_main(int count, char *const *words)
{
	struct copy *copy = calloc(1, sizeof *copy);
	struct opt_words arguments;
	int exit_code;

	if (!copy)
		return hint_fail("copy", RAISE(ERR_MEMORY_EXHAUSTED, "starting"));
	counters_begin();
	if (command_parse(copy_command.usage, count, words, &copy->options, &arguments, &exit_code))
		exit_code = copy_run(copy, &arguments);
	copy_close(&copy);
	return exit_code;
}

const struct command copy_command = { &copy_usage, copy_main };
