/* mailhaul status: what the ledger knows, also while a copy goes on. Takes no lock. */
#include <errno.h>
#include <signal.h>

#include "engine/clock.h"
#include "engine/ledger.h"
#include "tools/commands.h"
#include "tools/hints.h"
#include "tools/json_out.h"
#include "tools/terminal.h"
#include "tools/units.h"
#include "tools/url.h"

struct status {
	struct status_options {
		const char *state;
		bool json;
	} options;
	struct json_out json;
	uint64_t mailboxes;
};

static void tell_mailbox_json(struct json_out *json, const struct ledger_status_mailbox *mailbox)
{
	const struct ledger_totals *totals = &mailbox->totals;

	json_object_begin(json, NULL);
	json_text(json, "kind", "mailbox");
	json_text(json, "source", mailbox->source);
	json_text(json, "target", mailbox->target);
	json_number(json, "folders", totals->boxes);
	json_number(json, "folders_failed", totals->boxes_skipped);
	for (unsigned state = LEDGER_MOVED; state <= LEDGER_WITHDRAWN; state++)
		json_number(json, ledger_state_name((enum ledger_state)state),
			    totals->messages[state]);
	json_number(json, "bytes_moved", totals->bytes_moved);
	json_number(json, "ranges_open", totals->ranges_open);
	json_number(json, "seals_open", totals->seals_open);
	json_object_end(json);
	json_line_end(json);
}

static void tell_mailbox(void *context, const struct ledger_status_mailbox *mailbox)
{
	struct status *status = context;
	const struct ledger_totals *totals = &mailbox->totals;
	char source[600], target[600], bytes[UNITS_TEXT_BYTES];

	status->mailboxes++;
	if (status->options.json) {
		tell_mailbox_json(&status->json, mailbox);
		return;
	}
	printf("%s -> %s\n", terminal_text(source, sizeof source, mailbox->source),
	       terminal_text(target, sizeof target, mailbox->target));
	printf("  %llu folder%s, %llu message%s moved (%s)", (unsigned long long)totals->boxes,
	       units_plural(totals->boxes), (unsigned long long)totals->messages[LEDGER_MOVED],
	       units_plural(totals->messages[LEDGER_MOVED]),
	       units_bytes(bytes, totals->bytes_moved));
	for (unsigned state = LEDGER_SKIPPED; state <= LEDGER_WITHDRAWN; state++)
		if (totals->messages[state])
			printf(", %llu %s", (unsigned long long)totals->messages[state],
			       ledger_state_name((enum ledger_state)state));
	if (totals->boxes_skipped)
		printf(", %llu folder%s failed", (unsigned long long)totals->boxes_skipped,
		       units_plural(totals->boxes_skipped));
	printf("%s\n", totals->ranges_open ? ", more to do" : "");
}

/* A run that ended without saying so was killed, or its machine was. */
static const char *state_of(const struct ledger_run *run)
{
	if (run->ended_wall_s)
		return "ended";
	if (run->pid > 0 && (kill((pid_t)run->pid, 0) == 0 || errno == EPERM))
		return "running";
	return "interrupted";
}

static void tell_run_json(struct json_out *json, const struct ledger_run *run)
{
	char time[UNITS_TEXT_BYTES];

	json_object_begin(json, NULL);
	json_text(json, "kind", "run");
	json_text(json, "state", state_of(run));
	json_signed(json, "pid", run->pid);
	json_text(json, "started", units_wall(time, run->started_wall_s));
	json_text(json, "updated", units_wall(time, run->updated_wall_s));
	if (run->ended_wall_s) {
		json_text(json, "ended", units_wall(time, run->ended_wall_s));
		json_signed(json, "exit_code", run->exit_code);
	}
	json_number(json, "messages_moved", run->messages);
	json_number(json, "bytes_moved", run->bytes);
	json_object_end(json);
	json_line_end(json);
}

static void tell_run(const struct ledger_run *run)
{
	char started[UNITS_TEXT_BYTES], took[UNITS_TEXT_BYTES], bytes[UNITS_TEXT_BYTES];
	int64_t until = run->ended_wall_s ? run->ended_wall_s : run->updated_wall_s;
	nsec duration =
		(nsec)max_u64((uint64_t)until, (uint64_t)run->started_wall_s) - run->started_wall_s;

	printf("Last run: %s, pid %lld, started %s, %s, %llu message%s moved (%s)", state_of(run),
	       (long long)run->pid, units_wall(started, run->started_wall_s),
	       units_duration(took, duration * NSEC_SECOND), (unsigned long long)run->messages,
	       units_plural(run->messages), units_bytes(bytes, run->bytes));
	if (run->ended_wall_s)
		printf(", exit code %d", run->exit_code);
	putchar('\n');
}

static enum err status_tell(struct status *status)
{
	char directory[URL_PATH_BYTES_MAX + 1];
	struct ledger_run run = { 0 };
	enum err e;

	if ((e = command_state_directory(status->options.state, directory, sizeof directory)) ||
	    (e = ledger_status(directory, tell_mailbox, &run, status)))
		return e;
	if (run.started_wall_s && status->options.json)
		tell_run_json(&status->json, &run);
	else if (run.started_wall_s)
		tell_run(&run);
	if (!status->mailboxes && !status->options.json)
		printf("The ledger holds no mailbox yet.\n");
	return OK;
}

static int status_main(int count, char *const *words)
{
	struct status status = { .json.file = stdout };
	struct opt_words arguments;
	int exit_code = EXIT_ALL_MOVED;
	enum err e;

	if (!command_parse(status_command.usage, count, words, &status.options, &arguments,
			   &exit_code))
		return exit_code;
	if ((e = status_tell(&status)))
		exit_code = hint_fail("status", e);
	return command_finish_output("status", exit_code);
}

static const struct opt options[] = {
	{ .name = "state",
	  OPT_STORES_FILE(struct status_options, state),
	  .value = "DIR",
	  .help = "The directory that copy was given with --state. Without it: "
		  "$XDG_STATE_HOME/mailhaul, or ~/.local/state/mailhaul." },
	{ .name = "json",
	  OPT_STORES_FLAG(struct status_options, json),
	  .help = "One JSON object per mailbox and one for the last run, one per line." },
};

static const struct opt_command usage = {
	.name = "status",
	.arguments = "",
	.summary = "show what is moved already, also while a copy goes on",
	.about = "Show each mailbox the ledger knows and the last run. Nothing is locked or "
		 "changed.\n",
	.options = options,
	.options_count = ARRAY_COUNT(options),
	.examples = "  mailhaul status\n"
		    "  mailhaul status --state /var/lib/mailhaul --json\n",
};

const struct command status_command = { &usage, status_main };
