/* mailhaul run: a job of many mailboxes. Reads the job whole, plans the workers, runs them inside
 * the window, and ends with reports and an exit code. What a worker does is in run_worker.c, what
 * becomes of one mailbox in run_mailbox.c. */
#include "tools/run.h"

#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "crypto/zstd_stage.h"
#include "engine/budget.h"
#include "engine/clock.h"
#include "engine/lane.h"
#include "engine/log.h"
#include "engine/offload.h"
#include "engine/shard.h"
#include "tools/commands.h"
#include "tools/confinement.h"
#include "tools/drivers.h"
#include "tools/governing.h"
#include "tools/hints.h"
#include "tools/signals.h"
#include "tools/terminal.h"
#include "tools/trace.h"
#include "tools/url.h"
#include "transport/residency.h"

#define LEDGER_TIMEOUT	(120 * NSEC_SECOND)
#define HOLD_TIMEOUT	(60 * NSEC_SECOND)
#define GOODBYE_TIMEOUT (5 * NSEC_SECOND)
#define WORKERS_LOOK	(20 * NSEC_MILLISECOND)

enum {
	/* Chosen where the job does not say: enough to hide a server's latency, few enough that
	 * their memory stays in bounds (docs/ARCHITECTURE.md). */
	MAILBOXES_PER_WORKER = 32,
	/* Open files: of a mailbox its packs, index and directories, besides its connections; and
	 * of the process itself. */
	FILES_PER_MAILBOX = 6,
	FILES_OF_PROCESS = 64,
};

/* ---- what ends the run ---- */

bool run_is_stopped_by(enum err e)
{
	switch (e) {
	case ERR_DISK_FULL:
	case ERR_DISK_READ_ONLY:
	case ERR_DISK_IO:
	case ERR_LEDGER_DAMAGED:
	case ERR_LEDGER_STATE:
	case ERR_LEDGER_BUSY:
	case ERR_MEMORY_EXHAUSTED:
	case ERR_MEMORY_RESERVE:
	case ERR_RING_FAILED:
	case ERR_HELPER_DIED:
	/* Whoever wrote the policy wants to know at once, and not what else leads outside. */
	case ERR_RESIDENCY_ENDPOINT:
	case ERR_RESIDENCY_KEY:
		return true;
	default:
		return false;
	}
}

void run_stop(struct run *run, enum err e)
{
	must(pthread_mutex_lock(&run->lock) == 0);
	if (!run->stopped) {
		run->stopped = e;
		run->stopped_note = *err_note();
	}
	must(pthread_mutex_unlock(&run->lock) == 0);
	log_event(LOG_ERROR, "run.stop", "error=%s", err_name(e));
	shard_request(SHARD_DRAIN);
}

void run_counts(void *context, struct batch_counts *counts)
{
	struct run *run = context;
	nsec now = clock_now(), elapsed = atomic_load(&run->elapsed);

	batch_counts(run->batch, now, counts);
	counts->started_wall_s = run->started_wall_s;
	counts->elapsed = elapsed ? elapsed : now - run->started;
	counts->window_closes_wall_s = atomic_load(&run->window_closes_wall_s);
}

static bool running_row(void *context, size_t index, struct batch_mailbox *out)
{
	return batch_running(((struct run *)context)->batch, index, out);
}

/* ---- start-up, before any thread ---- */

static void tell_fault(void *context, const struct job_fault *fault)
{
	unsigned *count = context;

	if (fault->line)
		fprintf(stderr, "%s:%u: ", fault->file, fault->line);
	else
		fprintf(stderr, "%s: ", fault->file);
	fprintf(stderr, "%s%s%s%s\n", fault->key, *fault->key ? ": " : "",
		fault->warning ? "warning: " : "", fault->text);
	*count += fault->more ? fault->more : !fault->warning;
}

static enum err open_log(const struct run *run)
{
	static const char *const levels[] = { "debug", "info", "warn", "error" };
	const struct job_outputs *outputs = &run->job->outputs;
	struct log_config config = { .path = outputs->log,
				     .level = LOG_WARN,
				     .json = outputs->log_json,
				     .names = outputs->log_names || run->options.log_names };

	for (size_t i = 0; i < ARRAY_COUNT(levels); i++)
		if (strcmp(levels[i], outputs->log_level) == 0)
			config.level = (enum log_level)i;
	log_set_mailbox(fiber_tag);
	log_set_trace(run->options.trace);
	return log_open(&config);
}

static void entry_of(void *context, size_t no, struct batch_entry *entry)
{
	const struct run *run = context;
	const struct job_mailbox *mailbox = &run->job->mailboxes[no];
	const char *host = strchr(mailbox->account, '@');
	uint32_t wave = 0;

	while (wave < run->job->waves_count && strcmp(run->job->waves[wave], mailbox->wave) != 0)
		wave++;
	for (const char *next = host; next; next = strchr(next + 1, '@'))
		host = next; /* users are addresses themselves */
	*entry = (struct batch_entry){
		.source = mailbox->source,
		.target = mailbox->target,
		.wave = mailbox->wave,
		.host = host ? host + 1 : mailbox->account,
		.target_account = job_target_account(mailbox),
		.line = mailbox->line,
		.wave_no = wave,
		.priority = mailbox->priority,
		.connections = (unsigned)min_u64(min_u64(mailbox->connections, LANE_READERS_MAX),
						 run->job->limits.connections_per_account),
	};
	entry->connections = drivers_is_packed(mailbox->source)
				     ? 1 /* it is read faster than anything is written */
				     : governing_connections_at(entry->host, entry->connections);
}

/* Files: a night of 20,000 connections on a machine that allows 1,024. */
static void fit_open_files(struct batch_limits *limits)
{
	struct rlimit allowed;
	uint64_t needed, room;

	if (getrlimit(RLIMIT_NOFILE, &allowed))
		return;
	if (allowed.rlim_cur < allowed.rlim_max) {
		allowed.rlim_cur = allowed.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &allowed);
		(void)getrlimit(RLIMIT_NOFILE, &allowed);
	}
	needed = FILES_OF_PROCESS + (uint64_t)limits->mailboxes * FILES_PER_MAILBOX +
		 limits->connections;
	if (needed <= allowed.rlim_cur)
		return;
	room = allowed.rlim_cur > 2 * FILES_OF_PROCESS ? allowed.rlim_cur - FILES_OF_PROCESS : 16;
	limits->mailboxes =
		(unsigned)max_u64(1, min_u64(limits->mailboxes, room / (FILES_PER_MAILBOX + 2)));
	limits->connections = (unsigned)max_u64(
		1, min_u64(limits->connections, room - limits->mailboxes * FILES_PER_MAILBOX));
	fprintf(stderr,
		"mailhaul: run: %llu open files are needed and %llu allowed: going on with %u "
		"mailboxes and %u connections at once; raise the limit (ulimit -n, or LimitNOFILE= "
		"of the service) for more\n",
		(unsigned long long)needed, (unsigned long long)allowed.rlim_cur, limits->mailboxes,
		limits->connections);
}

static bool has_servers(const struct job *job)
{
	for (size_t i = 0; i < job->mailboxes_count; i++)
		if (drivers_is_server(job->mailboxes[i].target))
			return true;
	return false;
}

static void set_budget(const struct run *run, const struct batch_limits *limits)
{
	/* Indexes are compressed even where packs are not. */
	int level = (int)max_u64(run->job->options.zstd_level, 1);

	budget_set(&(struct budget_shape){
		.workers = run->workers_count,
		.lanes = limits->mailboxes,
		.connections = run->connections_most,
		.pairs = limits->connections,
		.waiting = run->job->mailboxes_count,
		.to_servers = has_servers(run->job),
		.to_buckets = *run->job->target_bucket.name,
		.from_buckets = *run->job->source_bucket.name,
		.offload_threads = OFFLOAD_THREADS + run->workers_count,
		.compressor_bytes = zstd_stage_context_bytes(level, FRAME_BYTES),
		.compressor_bytes_of_many = zstd_stage_context_bytes(level, FRAME_BYTES_OF_MANY),
		.compressed = run->job->source_route.compress + run->job->target_route.compress,
	});
}

/* Memory: what a worker needs beside its connections does not shrink with their number. */
static void fit_memory(struct run *run, const struct batch_limits *limits)
{
	unsigned planned = run->workers_count;

	set_budget(run, limits);
	while (!budget_is_kept() && run->workers_count > 1) {
		run->workers_count--;
		set_budget(run, limits);
	}
	if (run->workers_count < planned)
		fprintf(stderr,
			"mailhaul: run: the memory of %u connections at once is too little for %u "
			"workers: going on with %u; raise limits.connections and limits.mailboxes "
			"for more\n",
			limits->connections, planned, run->workers_count);
}

static enum err plan_batch(struct run *run)
{
	const struct job_limits *asked = &run->job->limits;
	struct batch_limits limits = { .mailboxes = asked->mailboxes,
				       .connections = asked->connections,
				       .connections_per_host = asked->connections_per_host };
	size_t count = run->job->mailboxes_count;

	run->workers_count =
		(unsigned)min_u64(topology_plan(run->topology)->workers_count, max_u64(count, 1));
	if (!limits.mailboxes)
		limits.mailboxes = run->workers_count * MAILBOXES_PER_WORKER;
	limits.mailboxes = (unsigned)min_u64(limits.mailboxes, limits.connections);
	limits.mailboxes = (unsigned)min_u64(limits.mailboxes, max_u64(count, 1));
	run->connections_most = 1;
	for (size_t i = 0; i < count; i++) {
		struct batch_entry entry;

		entry_of(run, i, &entry);
		run->connections_most = (unsigned)max_u64(run->connections_most, entry.connections);
	}
	run->connections_most = (unsigned)min_u64(run->connections_most, limits.connections);
	limits.connections = (unsigned)min_u64(limits.connections,
					       (uint64_t)limits.mailboxes * run->connections_most);
	fit_open_files(&limits);
	run->workers_count = (unsigned)min_u64(run->workers_count, limits.mailboxes);
	fit_memory(run, &limits);
	run->mailboxes_per_worker =
		(limits.mailboxes + run->workers_count - 1) / run->workers_count;
	return batch_open(count, entry_of, run, &limits, &run->batch);
}

static enum err plan_retry(struct run *run)
{
	enum err e = skip_reason_parse(run->options.retry_skipped, run->job->outputs.state,
				       run->retry_skipped);

	if (e || !*run->retry_skipped)
		return e;
	run->retried = calloc(run->job->mailboxes_count + 1, sizeof *run->retried);
	return run->retried ? OK : RAISE(ERR_MEMORY_EXHAUSTED, "planning the batch");
}

/* Each server once, as far as mailboxes of one stand together. */
static bool is_as_before(const struct job_mailbox *before, const struct job_mailbox *mailbox)
{
	const char *was = before ? strrchr(before->account, '@') : NULL;
	const char *is = strrchr(mailbox->account, '@');

	return was && is && strcmp(was, is) == 0 && strcmp(before->target, mailbox->target) == 0;
}

/* Hosts at which there is nothing, and those that are going to be shut down. */
static enum err look_at_hosts(struct run *run)
{
	struct url *url = calloc(2, sizeof *url);
	enum err e = url ? OK : RAISE(ERR_MEMORY_EXHAUSTED, "looking at the servers");
	bool told = false;

	for (size_t i = 0; i < run->job->mailboxes_count && e == OK; i++) {
		const struct job_mailbox *mailbox = &run->job->mailboxes[i];

		if (is_as_before(i ? mailbox - 1 : NULL, mailbox))
			continue;
		if ((e = url_parse("source", mailbox->source, "password", &url[0])) ||
		    (e = url_parse("target", mailbox->target, "password", &url[1])) ||
		    (e = governing_check(&url[0])) || (e = governing_check(&url[1])))
			break;
		(void)governing_connections(&url[0], mailbox->connections);
		for (unsigned side = 0; side < 2 && !told; side++)
			told = governing_tell_end("run", &url[side]);
	}
	free(url);
	return e;
}

/* Everything that can be refused before the first connection. One thread only. */
static enum err prepare(struct run *run, const char *path)
{
	unsigned faults = 0;
	enum err e;

	if ((e = confinement_prepare(run->options.confine)) || (e = notify_open(&run->notify)))
		return e;
	counters_begin();
	e = job_open(path, tell_fault, &faults, &run->job);
	counters_listed();
	if (e && faults > 1) {
		err_note_clear();
		return RAISE(e, "%s: %u faults, told above", path, faults);
	}
	if (e == OK)
		residency_set(run->job->residency);
	if (e || (e = topology_open(run->job->limits.workers, &run->topology)) ||
	    (e = plan_retry(run)) || (e = command_make_state_directory(run->job->outputs.state)) ||
	    (e = open_log(run)) ||
	    (e = log_ids_open(&run->ids, run->job->outputs.state,
			      run->job->outputs.log_names || run->options.log_names)) ||
	    (e = pace_open(&run->pace)) || (e = governor_open(&run->governor)) ||
	    (e = look_at_hosts(run)) || (e = plan_batch(run)))
		return e;
	run->window = window_at(run->job->window, clock_wall() / NSEC_SECOND);
	atomic_init(&run->window_closes_wall_s, run->window.open && !run->options.ignore_window
							? run->window.changes_at_s
							: INT64_MAX);
	offload_limit(OFFLOAD_THREADS + run->workers_count);
	if ((e = run_plan_buckets(run)) || (e = confinement_begin(run->job)))
		return e;
	return routes_open_job(&run->job->source_route, &run->job->target_route, &run->routes);
}

/* ---- the run, in the main thread's first fiber ---- */

static enum err start_workers(struct run *run)
{
	int result = 0;

	run->workers = calloc(run->workers_count, sizeof *run->workers);
	if (!run->workers)
		return RAISE(ERR_MEMORY_EXHAUSTED, "starting %u workers", run->workers_count);
	for (unsigned i = 0; i < run->workers_count && !result; i++) {
		run->workers[i].run = run;
		run->workers[i].no = i;
		atomic_fetch_add(&run->workers_alive, 1);
		result = pthread_create(&run->workers[i].thread, NULL, run_worker_main,
					&run->workers[i]);
		run->workers[i].started = result == 0;
		if (result)
			atomic_fetch_sub(&run->workers_alive, 1);
	}
	return result ? RAISE_ERRNO(ERR_MEMORY_EXHAUSTED, result, "starting a worker") : OK;
}

/* All have ended, or are about to. */
static void join_workers(struct run *run)
{
	while (atomic_load(&run->workers_alive) > 0) {
		fiber_shield();
		if (fiber_sleep(clock_after(WORKERS_LOOK)))
			err_note_clear();
		fiber_unshield();
	}
	for (unsigned i = 0; run->workers && i < run->workers_count; i++)
		if (run->workers[i].started)
			must(pthread_join(run->workers[i].thread, NULL) == 0);
}

static enum err haul(struct run *run)
{
	struct group *beside = group_open();
	enum err e;

	run->view = (struct batch_view){ .name = run->job->name,
					 .context = run,
					 .counts = run_counts,
					 .running = running_row,
					 .series = &run->series };
	e = group_spawn(beside, "view", FIBER_STACK_LARGE, batch_view_run, &run->view);
	run->begun = true;
	if (e == OK && (e = start_workers(run)) == OK) {
		notify_ready(run->notify);
		e = run_watch(run);
	}
	if (e)
		run_stop(run, e);
	join_workers(run);
	group_cancel(beside);
	if (group_join(&beside))
		err_note_clear();
	return e;
}

static enum err run_fiber(void *argument)
{
	struct run *run = argument;
	enum err e, ended;

	run->started = clock_now();
	run->started_wall_s = clock_wall() / NSEC_SECOND;
	if (!run->options.dry_run)
		e = ledger_open(run->job->outputs.state, clock_after(LEDGER_TIMEOUT), &run->ledger);
	else
		e = OK;
	if (e == OK)
		e = run_hold_targets(run);
	if (e == OK)
		e = run_lessons_load(run);
	if (e == OK && *run->job->outputs.metrics)
		e = metrics_open(run->job->outputs.metrics, run_counts, run, &run->metrics);
	if (e == OK && (e = haul(run)) == OK)
		e = run_lessons_save(run, true);
	if (e == OK && shard_requested() != SHARD_DRAIN && (e = run_audit_targets(run)))
		run_stop(run, e);
	if (run->begun)
		run_note_end(run);
	atomic_store(&run->elapsed, clock_now() - run->started);
	run_release_targets(run);
	if (run->record)
		aws_record_finish(run->record, clock_after(GOODBYE_TIMEOUT));
	if (run->ledger) {
		ended = ledger_finish(run->ledger, clock_after(LEDGER_TIMEOUT));
		e = e ? e : ended;
	}
	ledger_close(&run->ledger);
	counters_take(&run->counters);
	for (unsigned i = 0; run->workers && i < run->workers_count; i++)
		counters_add(&run->counters, &run->workers[i].counters);
	for (unsigned i = 0; run->workers && i < run->workers_count; i++) {
		endpoints_merge(&run->endpoints, &run->workers[i].endpoints);
		paths_merge(&run->paths, &run->workers[i].paths);
	}
	return e;
}

/* ---- the command ---- */

/* Outside its window nothing is begun at all. */
static bool is_too_early(const struct run *run, int *exit_code)
{
	char opens[WINDOW_TEXT_BYTES];

	if (run->window.open || run->options.ignore_window)
		return false;
	notify_ready(run->notify); /* a service that never was would be one that failed */
	notify_stopping(run->notify);
	fprintf(stderr,
		"mailhaul: run: outside the window: the run %s. Run the same command then, or give "
		"--ignore-window.\n",
		window_describe(run->job->window, clock_wall() / NSEC_SECOND, opens));
	*exit_code = EXIT_LATER;
	return true;
}

static void run_close(struct run **run_at)
{
	struct run *run = *run_at;

	*run_at = NULL;
	metrics_close(&run->metrics);
	batch_close(&run->batch);
	offload_shutdown(clock_after(HOLD_TIMEOUT)); /* a password may be read through the job */
	confinement_end();
	run_forget_targets(run);
	bucket_close(&run->source_buckets.bucket);
	bucket_close(&run->target_buckets.bucket);
	aws_record_close(&run->record);
	residency_set(NULL);
	routes_close(&run->routes);
	job_close(&run->job);
	topology_close(&run->topology);
	pace_close(&run->pace);
	governor_close(&run->governor);
	notify_close(&run->notify);
	free(run->workers);
	free(run->retried);
	must(pthread_mutex_destroy(&run->lock) == 0);
	free(run);
}

/* Before a line of log on the terminal: the view takes itself off, and comes back by itself. */
static void give_way(void)
{
	const char *prefix = batch_view_prefix();

	if (*prefix && write(STDERR_FILENO, prefix, strlen(prefix)) < 0)
		return; /* a terminal that is gone shows nothing */
}

static void go_on(void)
{
}

static int run_job(struct run *run, const char *path)
{
	int exit_code;
	enum err e;

	if ((e = prepare(run, path)))
		return hint_fail("run", e);
	if (is_too_early(run, &exit_code))
		return exit_code;
	signals_setup();
	signals_reopen_log();
	if (!*run->job->outputs.log)
		log_set_around(give_way, go_on);
	if ((e = shard_run(&(struct shard_config){ .arena_chunks = 1 }, run_fiber, run)) &&
	    !run->begun)
		return hint_fail("run", e); /* last night's reports stay as they are */
	if (e && !run->stopped) {
		run->stopped = e;
		run->stopped_note = *err_note();
		err_note_clear();
	}
	return run_conclude(run);
}

static int run_main(int count, char *const *words)
{
	struct run *run = calloc(1, sizeof *run);
	struct opt_words arguments;
	int exit_code;

	if (!run)
		return hint_fail("run", RAISE(ERR_MEMORY_EXHAUSTED, "starting"));
	must(pthread_mutex_init(&run->lock, NULL) == 0);
	if (command_parse(run_command.usage, count, words, &run->options, &arguments, &exit_code))
		exit_code = run_job(run, arguments.at[0]);
	run_close(&run);
	return exit_code;
}

static const struct opt options[] = {
	{ .name = "dry-run",
	  OPT_STORES_FLAG(struct run_options, dry_run),
	  .help = "Log in to every mailbox, list and count, and write nothing but the report." },
	{ .name = "retry-skipped",
	  OPT_STORES_TEXT(struct run_options, retry_skipped),
	  .value = "REASON",
	  .help = RETRY_SKIPPED_HELP },
	{ .name = "ignore-window",
	  OPT_STORES_FLAG(struct run_options, ignore_window),
	  .help = "Run now, whatever the job's window says. Its bandwidth still holds." },
	{ .name = "confine",
	  OPT_STORES_CHOICE(struct run_options, confine),
	  .choices = confinement_modes,
	  .initial = "on",
	  .help = CONFINEMENT_HELP },
	{ .name = "stats",
	  OPT_STORES_FLAG(struct run_options, stats),
	  .help = "Tell at the end what the run cost and what memory each part took, beside what "
		  "it may take: on stderr, and in the JSON report." },
	{ .name = "json",
	  OPT_STORES_FLAG(struct run_options, json),
	  .help = "Print the report as one JSON object, a part for each mailbox." },
	TRACE_OPTION(struct run_options, trace),
	{ .name = "log-names",
	  OPT_STORES_FLAG(struct run_options, log_names),
	  .help = "Log names of mailboxes and folders; without it, salted ids. Subjects and bodies "
		  "are never logged." },
};

static const struct opt_command usage = {
	.name = "run",
	.arguments = "JOB.yaml",
	.words_min = 1,
	.words_max = 1,
	.summary = "move many mailboxes, inside a window, on every core",
	.about =
		"Run a job: every mailbox of its list from its source to its target, many at once, "
		"within the job's limits and its window. Run it again and it goes on where it "
		"stopped. The job file is described in docs/JOBFILE.md; check it with mailhaul "
		"config check.\n",
	.options = options,
	.options_count = ARRAY_COUNT(options),
	.examples = "  mailhaul run tenant.yaml\n"
		    "  mailhaul run --dry-run tenant.yaml\n"
		    "  mailhaul run --json tenant.yaml > report.json\n",
};

const struct command run_command = { .usage = &usage, .run = run_main };
