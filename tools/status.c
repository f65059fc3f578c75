/* mailhaul status: what the ledger knows, also while a run goes on. Keeps no lock and changes
 * nothing, but that it looks for an instant whether the ledger's lock is free; what it says is in
 * status_view.c. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "engine/clock.h"
#include "tools/commands.h"
#include "tools/hints.h"
#include "tools/job.h"
#include "tools/status_learnt.h"
#include "tools/status_view.h"
#include "tools/terminal.h"
#include "tools/url.h"

#define WATCH_UNLESS_SAID "2s"

enum { YOUNG_S = 1, COLUMNS_MAX = 400, LINE_BYTES = 2048, LINES_UNBOUNDED = INT32_MAX };

struct status {
	struct status_options {
		const char *state, *job;
		bool json, all;
		nsec watch; /* between two looks; 0: one look only */
	} options;
	char directory[URL_PATH_BYTES_MAX + 1];
	struct log_ids ids;
	struct status_view view;
	struct json_out json;
	/* What the last look found, as it is shown. */
	char *text;
	size_t text_bytes;
	bool redraws;
	uint64_t shown;
};

/* ---- one look ---- */

static void take_mailbox(void *context, const struct ledger_status_mailbox *mailbox)
{
	struct status *status = context;

	if (status->options.json)
		status_view_json_mailbox(&status->view, mailbox, &status->json);
	status_view_add(&status->view, mailbox);
}

/* The run first: what is said of a mailbox depends on whether it still goes on. */
static enum err read_ledger(struct status *status)
{
	struct ledger_run run;
	enum err e = ledger_status(status->directory, NULL, &run, NULL);

	if (e)
		return e;
	/* One that notes each second that it lives needs no further proof. */
	status->view.is_free = clock_wall() / NSEC_SECOND - run.updated_wall_s > YOUNG_S &&
			       ledger_is_free(status->directory);
	status_view_begin(&status->view, &run, clock_now(), clock_wall() / NSEC_SECOND);
	e = ledger_status(status->directory, take_mailbox, NULL, status);
	return e == OK && status->view.failed
		       ? RAISE(ERR_MEMORY_EXHAUSTED, "reading the ledger in %s", status->directory)
		       : e;
}

static void take_lesson(void *learnt, const struct ledger_lesson *lesson)
{
	status_learnt_add(learnt, lesson);
}

static enum err show_learnt(struct status *status, FILE *to)
{
	struct status_learnt learnt = { .to = status->options.json ? NULL : to,
					.json = &status->json,
					.all = status->options.all,
					.now_wall_s = clock_wall() / NSEC_SECOND };
	enum err e = ledger_lessons(status->directory, take_lesson, &learnt);

	status_learnt_end(&learnt);
	return e;
}

/* Into memory first: a reader that is slow to take it must not hold up the ledger's writer. */
static enum err look(struct status *status)
{
	FILE *to;
	enum err e;

	free(status->text);
	status->text = NULL;
	if (!(to = open_memstream(&status->text, &status->text_bytes)))
		return RAISE(ERR_MEMORY_EXHAUSTED, "showing the ledger");
	status->json = (struct json_out){ .file = to };
	e = read_ledger(status);
	if (e == OK && !status->options.json)
		status_view_text(&status->view, to);
	if (e == OK)
		e = show_learnt(status, to);
	if (e == OK && status->options.json)
		status_view_json_run(&status->view, &status->json);
	if (fclose(to) && e == OK)
		e = RAISE(ERR_MEMORY_EXHAUSTED, "showing the ledger");
	return e;
}

/* ---- showing it ---- */

static unsigned terminal_rows(void)
{
	struct winsize size;

	return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row > 2 ? size.ws_row : 24;
}

/* Each line erases its own rest, so nothing flickers. The cursor waits where the text begins, where
 * another size of the window does not move it; after the last drawing it stays below. */
static void redraw(const struct status *status, bool is_last)
{
	unsigned columns = (unsigned)min_u64(terminal_columns(STDOUT_FILENO), COLUMNS_MAX);
	unsigned rows = is_last ? LINES_UNBOUNDED : terminal_rows() - 1, lines = 0;
	struct text left = { status->text, status->text_bytes };
	char line[LINE_BYTES];

	while (left.bytes && lines < rows) {
		const char *end = memchr(left.at, '\n', left.bytes);
		size_t bytes = end ? (size_t)(end - left.at) : left.bytes;
		struct text now = { left.at, bytes };

		left.at += min_u64(bytes + 1, left.bytes);
		left.bytes -= min_u64(bytes + 1, left.bytes);
		if (++lines == rows && left.bytes)
			now = text_of("...");
		printf("%s\x1b[K\n",
		       terminal_fit(line, sizeof line, now, is_last ? COLUMNS_MAX : columns - 1));
	}
	printf("\x1b[J");
	if (!is_last && lines)
		printf("\x1b[%uA\r", lines);
}

static void show(struct status *status, bool is_last)
{
	if (status->redraws) {
		redraw(status, is_last);
	} else {
		if (status->shown && !status->options.json)
			putchar('\n');
		fwrite(status->text, 1, status->text_bytes, stdout);
	}
	fflush(stdout); /* command_finish_output() looks for what failed */
	status->shown++;
}

/* ---- watching ---- */

static void ending_signals(sigset_t *set)
{
	sigemptyset(set);
	sigaddset(set, SIGINT);
	sigaddset(set, SIGTERM);
}

/* The signals are taken here only, so none can come between looking for one and waiting. */
static bool is_asked_to_end(nsec within)
{
	struct timespec time = { within / NSEC_SECOND, within % NSEC_SECOND };
	sigset_t set;
	int got;

	ending_signals(&set);
	while ((got = sigtimedwait(&set, NULL, &time)) < 0 && errno == EINTR)
		; /* stopped and continued: one look later than asked is soon enough */
	return got > 0;
}

static volatile sig_atomic_t is_interrupted;

static void on_end(int number)
{
	(void)number;
	is_interrupted = 1;
}

/* Output may have to wait for its reader: here alone a signal interrupts. */
static bool show_unless_asked(struct status *status, bool is_last)
{
	sigset_t set;

	ending_signals(&set);
	if (is_asked_to_end(0))
		return false;
	must(sigprocmask(SIG_UNBLOCK, &set, NULL) == 0);
	show(status, is_last);
	must(sigprocmask(SIG_BLOCK, &set, NULL) == 0);
	if (is_interrupted)
		clearerr(stdout); /* what was cut short, was so on request */
	return !is_interrupted && !ferror(stdout);
}

static void take_signals(struct sigaction *action, int how)
{
	sigset_t set;

	ending_signals(&set);
	must(sigaction(SIGINT, action, NULL) == 0);
	must(sigaction(SIGTERM, action, NULL) == 0);
	must(sigprocmask(how, &set, NULL) == 0);
}

static enum err watch(struct status *status)
{
	bool runs = true;
	enum err e;

	take_signals(&(struct sigaction){ .sa_handler = on_end }, SIG_BLOCK);
	while ((e = look(status)) == OK) {
		runs = status->view.life == STATUS_RUNNING;
		if (!show_unless_asked(status, !runs) || !runs ||
		    is_asked_to_end(status->options.watch))
			break;
	}
	take_signals(&(struct sigaction){ .sa_handler = SIG_DFL }, SIG_UNBLOCK);
	if (e == OK && status->redraws && status->shown && runs)
		show(status, true);
	return e;
}

/* ---- the command ---- */

static enum err find_directory(struct status *status)
{
	const struct status_options *options = &status->options;
	struct job *job = NULL;
	enum err e;

	if (!options->job)
		return command_state_directory(options->state, status->directory,
					       sizeof status->directory);
	if (options->state)
		return RAISE(ERR_INPUT_USAGE, "--state and --job name two places; give one");
	if ((e = job_open(options->job, NULL, NULL, &job)) == OK)
		e = command_state_directory(job->outputs.state, status->directory,
					    sizeof status->directory);
	job_close(&job);
	return e;
}

/* Only a batch makes ids. Without its salt, or where it is not ours to read, none are shown. */
static void find_ids(struct status *status)
{
	char path[sizeof status->directory + sizeof "/log.salt"];

	snprintf(path, sizeof path, "%s/log.salt", status->directory);
	if (access(path, R_OK))
		return;
	if (log_ids_open(&status->ids, status->directory, false) == OK)
		status->view.ids = &status->ids;
	else
		fprintf(stderr, "mailhaul: status: without the ids used in logs: %s\n",
			err_note()->text);
	err_note_clear();
}

static enum err status_tell(struct status *status)
{
	const char *kind = getenv("TERM");
	enum err e;

	if ((e = find_directory(status)))
		return e;
	find_ids(status);
	status->view.all = status->options.all && !status->options.json;
	status->redraws = status->options.watch && !status->options.json &&
			  terminal_is(STDOUT_FILENO) && kind && *kind && strcmp(kind, "dumb") != 0;
	if (status->options.watch)
		return watch(status);
	if ((e = look(status)) == OK)
		show(status, true);
	return e;
}

/* "--watch" may stand without "=SECONDS", which the option table does not know. */
static char **words_with_watch(int count, char *const *words)
{
	static char watch[] = "--watch=" WATCH_UNLESS_SAID;
	char **out = calloc((size_t)count + 1, sizeof *out);
	bool options = true;

	for (int i = 0; out && i < count; i++) {
		options = options && strcmp(words[i], "--") != 0;
		out[i] = options && strcmp(words[i], "--watch") == 0 ? watch : words[i];
	}
	return out;
}

static int status_main(int count, char *const *words)
{
	struct status *status = calloc(1, sizeof *status);
	char **given = words_with_watch(count, words);
	struct opt_words arguments;
	int exit_code = EXIT_ALL_MOVED;
	enum err e;

	if (!status || !given) {
		exit_code = hint_fail("status", RAISE(ERR_MEMORY_EXHAUSTED, "starting"));
	} else if (command_parse(status_command.usage, count, given, &status->options, &arguments,
				 &exit_code)) {
		if ((e = status_tell(status)))
			exit_code = hint_fail("status", e);
		exit_code = command_finish_output("status", exit_code);
		status_view_close(&status->view);
		free(status->text);
	}
	free(given);
	free(status);
	return exit_code;
}

static const struct opt options[] = {
	{ .name = "state",
	  OPT_STORES_FILE(struct status_options, state),
	  .value = "DIR",
	  .help = "The directory that copy was given with --state, or the job's state. Without it: "
		  "$XDG_STATE_HOME/mailhaul, or ~/.local/state/mailhaul." },
	{ .name = "job",
	  OPT_STORES_FILE(struct status_options, job),
	  .value = "JOB.yaml",
	  .help = "Take the state directory from this job file, which must be in order." },
	{ .name = "all",
	  OPT_STORES_FLAG(struct status_options, all),
	  .help = "Of a batch, list every mailbox that was begun, not only those that need "
		  "attention." },
	{ .name = "watch",
	  OPT_STORES_DURATION(struct status_options, watch),
	  .value = "SECONDS",
	  .min = (uint64_t)(100 * NSEC_MILLISECOND),
	  .help = "Look again and again until the run ends or SIGINT; on a terminal in place. As "
		  "--watch=SECONDS, or alone for every " WATCH_UNLESS_SAID "." },
	{ .name = "json",
	  OPT_STORES_FLAG(struct status_options, json),
	  .help = "One JSON object per mailbox and one for the last run, one per line." },
};

static const struct opt_section sections[] = {
	{ "JSON", status_view_json_keys },
};

static const struct opt_command usage = {
	.name = "status",
	.arguments = "",
	.summary = "show what is moved already, also while a run goes on",
	.about = "Show the last run and what the ledger knows of the mailboxes: those that need "
		 "attention with the reason and what to do next, each with the id that logs call "
		 "it by. Nothing is changed, and no run is held up.\n",
	.options = options,
	.options_count = ARRAY_COUNT(options),
	.examples = "  mailhaul status\n"
		    "  mailhaul status --job tenant.yaml --watch\n"
		    "  mailhaul status --state /var/lib/mailhaul --json\n",
	.sections = sections,
	.sections_count = ARRAY_COUNT(sections),
};

const struct command status_command = { &usage, status_main };
