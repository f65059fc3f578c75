#include "tools/status_view.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>

#include "tools/skip_reason.h"
#include "tools/terminal.h"

/* A batch notes each second that it lives. One whose process cannot be seen may be in a container:
 * a young note is its sign of life. One that has fallen silent although there is a process of its
 * number hangs, is stopped, or the number is another's by now. */
enum { UNSEEN_LIVES_S = 10, SILENT_LIVES_S = 60 };
/* Speeds are of at least this long: notes come each second, and a shorter time would show that. */
#define SPEED_OVER (5 * NSEC_SECOND)

enum { NAME_SHOWN_BYTES = 1600 };

struct status_row {
	char id[SALTED_ID_TEXT_BYTES];
	bool needs_attention;
	struct ledger_status_mailbox mailbox;
};

/* ---- what is known ---- */

static bool is_batch(const struct status_view *view)
{
	return *view->run.batch;
}

static enum status_life life_of(const struct ledger_run *run, int64_t now_wall_s, bool is_free)
{
	int64_t silent_s = now_wall_s - run->updated_wall_s;
	bool seen = run->pid > 0 && (kill((pid_t)run->pid, 0) == 0 || errno == EPERM);

	if (!run->started_wall_s)
		return STATUS_NO_RUN;
	if (run->ended_wall_s)
		return STATUS_ENDED;
	if (is_free)
		return STATUS_INTERRUPTED;
	if (*run->batch)
		seen = silent_s < (seen ? SILENT_LIVES_S : UNSEEN_LIVES_S);
	return seen ? STATUS_RUNNING : STATUS_INTERRUPTED;
}

static nsec duration_of(const struct ledger_run *run)
{
	int64_t until = run->ended_wall_s ? run->ended_wall_s : run->updated_wall_s;

	return until > run->started_wall_s ? (until - run->started_wall_s) * NSEC_SECOND : 0;
}

/* Between two looks where the run goes on, else over all of it. */
static void find_speed(struct status_view *view, nsec now)
{
	const struct ledger_run *run = &view->run;
	bool same = view->sample_at && view->sample_started_wall_s == run->started_wall_s;
	nsec since = now - view->sample_at;

	if (view->life != STATUS_RUNNING || !same) {
		view->messages_per_second = units_rate(run->messages, duration_of(run));
		view->bytes_per_second = units_rate(run->bytes, duration_of(run));
	} else if (since >= SPEED_OVER) {
		view->messages_per_second =
			units_rate(run->messages - view->sample_messages, since);
		view->bytes_per_second = units_rate(run->bytes - view->sample_bytes, since);
	}
	if (same && since < SPEED_OVER)
		return;
	view->sample_at = now;
	view->sample_started_wall_s = run->started_wall_s;
	view->sample_messages = run->messages;
	view->sample_bytes = run->bytes;
}

void status_view_begin(struct status_view *view, const struct ledger_run *run, nsec now,
		       int64_t now_wall_s)
{
	view->run = *run;
	view->now_wall_s = now_wall_s;
	view->life = life_of(run, now_wall_s, view->is_free);
	view->totals = (struct ledger_totals){ 0 };
	view->mailboxes = view->need_attention = 0;
	memset(view->kinds, 0, sizeof view->kinds);
	view->rows_count = 0;
	view->failed = false;
	find_speed(view, now);
}

static bool is_tried_again(enum err e)
{
	enum err_retry class = err_retry_class(e);

	return class == RETRY_NOW || class == RETRY_RECONNECT || class == RETRY_BACKOFF;
}

/* The mailbox as the reports of a run see it, so that both say the same of it. Only the run knows
 * which attempt is the last: while it goes on, one that may be tried again waits. */
static void judge(const struct status_view *view, const struct ledger_status_mailbox *mailbox,
		  struct batch_mailbox *out)
{
	*out = (struct batch_mailbox){
		.source = mailbox->source,
		.target = mailbox->target,
		.state = BATCH_DONE, /* never ended, or a word of a later version: nothing to do */
		.messages_skipped = mailbox->totals.messages[LEDGER_SKIPPED],
		.messages_doubtful = mailbox->totals.messages[LEDGER_DOUBTFUL],
		.folders_skipped = mailbox->totals.boxes_skipped,
	};
	for (unsigned state = 0; state < BATCH_STATES; state++)
		if (strcmp(mailbox->state, batch_state_name((enum batch_state)state)) == 0)
			out->state = (enum batch_state)state;
	if (!err_from_name(text_of(mailbox->error), &out->error))
		out->error = OK;
	if (view->life == STATUS_RUNNING && out->state == BATCH_FAILED && out->error &&
	    is_tried_again(out->error))
		out->state = BATCH_WAITING;
}

/* What an earlier run left is not news while this one is still on its way there. */
static bool needs_attention(const struct status_view *view,
			    const struct ledger_status_mailbox *mailbox,
			    const struct batch_mailbox *judged)
{
	return batch_report_rank(judged) <= BATCH_RANK_STUCK &&
	       (view->life != STATUS_RUNNING || mailbox->ended_wall_s >= view->run.started_wall_s);
}

/* "" where there are no ids. A name that was cut when it was read has none either. */
static const char *id_of(const struct status_view *view,
			 const struct ledger_status_mailbox *mailbox, char to[SALTED_ID_TEXT_BYTES])
{
	to[0] = '\0';
	if (view->ids && strlen(mailbox->source) < sizeof mailbox->source - 1)
		log_ids_of(view->ids, mailbox->source, to);
	return to;
}

static void add_totals(struct ledger_totals *sum, const struct ledger_totals *more)
{
	sum->boxes += more->boxes;
	sum->boxes_skipped += more->boxes_skipped;
	sum->bytes_moved += more->bytes_moved;
	sum->found += more->found;
	sum->wrapped += more->wrapped;
	for (unsigned state = LEDGER_MOVED; state <= LEDGER_WITHDRAWN; state++)
		sum->messages[state] += more->messages[state];
	skip_reasons_add(sum->skipped_for, more->skipped_for);
}

static struct status_row *new_row(struct status_view *view)
{
	if (view->rows_count == view->rows_room) {
		size_t room = view->rows_room ? 2 * view->rows_room : 64;
		struct status_row *rows = realloc(view->rows, room * sizeof *rows);

		if (!rows) {
			view->failed = true;
			return NULL;
		}
		view->rows = rows;
		view->rows_room = room;
	}
	return &view->rows[view->rows_count++];
}

void status_view_add(struct status_view *view, const struct ledger_status_mailbox *mailbox)
{
	struct batch_mailbox judged;
	struct status_row *row;
	bool noted, kept = view->all || !is_batch(view);

	judge(view, mailbox, &judged);
	noted = needs_attention(view, mailbox, &judged);
	view->mailboxes++;
	add_totals(&view->totals, &mailbox->totals);
	if (noted) {
		view->need_attention++;
		kept |= view->kinds[batch_report_rank(&judged)][judged.error]++ <
			STATUS_VIEW_KIND_SHOWN;
	}
	if (!kept || !(row = new_row(view)))
		return;
	row->needs_attention = noted;
	row->mailbox = *mailbox;
	id_of(view, mailbox, row->id);
}

void status_view_close(struct status_view *view)
{
	free(view->rows);
	view->rows = NULL;
	view->rows_count = view->rows_room = 0;
}

/* ---- text: a batch ---- */

static void text_run(const struct status_view *view, FILE *to)
{
	const struct ledger_run *run = &view->run;
	char name[NAME_SHOWN_BYTES], time[UNITS_TEXT_BYTES], took[UNITS_TEXT_BYTES];

	fprintf(to, "Batch        %s\nRun          ", terminal_text(name, sizeof name, run->batch));
	if (view->life == STATUS_INTERRUPTED)
		fprintf(to, "no sign of life since %s, ", units_wall(time, run->updated_wall_s));
	else if (view->life == STATUS_ENDED)
		fprintf(to, "ended %s with exit code %d, ", units_wall(time, run->ended_wall_s),
			run->exit_code);
	else
		fputs("running, ", to);
	fprintf(to, "pid %lld, started %s, took %s%s\n", (long long)run->pid,
		units_wall(time, run->started_wall_s), units_duration(took, duration_of(run)),
		view->life == STATUS_RUNNING ? " so far" : "");
}

static void text_states(const struct ledger_run *run, FILE *to)
{
	char number[UNITS_TEXT_BYTES];
	const char *before = ": ";
	uint64_t total = 0;

	for (unsigned state = 0; state < BATCH_STATES; state++)
		total += run->mailboxes[state];
	fprintf(to, "Mailboxes    %s", batch_report_number(number, total));
	for (unsigned state = 0; state < BATCH_STATES; state++) {
		if (!run->mailboxes[state])
			continue;
		fprintf(to, "%s%s %s", before, batch_report_number(number, run->mailboxes[state]),
			batch_state_name((enum batch_state)state));
		before = ", ";
	}
	fputc('\n', to);
}

static void text_figures(const struct status_view *view, FILE *to)
{
	const struct ledger_run *run = &view->run;
	char number[UNITS_TEXT_BYTES], bytes[UNITS_TEXT_BYTES], left[UNITS_TEXT_BYTES];
	bool runs = view->life == STATUS_RUNNING;
	int64_t left_s = run->window_closes_wall_s - view->now_wall_s;

	fprintf(to, "Messages     %s moved in this run (%s)",
		batch_report_number(number, run->messages), units_bytes(bytes, run->bytes));
	if (view->messages_per_second > 0) /* not known in the first second */
		fprintf(to, ", %.0f msg/s, %.1f MB/s", view->messages_per_second,
			view->bytes_per_second / 1e6);
	fputc('\n', to);
	if (runs)
		fprintf(to, "Connections  %s\n", batch_report_number(number, run->connections));
	fprintf(to, "Throttled    %.1f %% of the time\n", run->throttled_permille / 10.0);
	if (runs && run->window_closes_wall_s && run->window_closes_wall_s != INT64_MAX)
		fprintf(to, "Window       closes %s, in %s\n",
			units_wall(number, run->window_closes_wall_s),
			units_duration(left, left_s > 0 ? left_s * NSEC_SECOND : 0));
}

static void text_errors(const struct ledger_run *run, FILE *to)
{
	const char *before = "Errors       ";

	for (unsigned e = OK + 1; e < ERR_COUNT; e++) {
		if (!run->errors[e])
			continue;
		fprintf(to, "%s%llu %s", before, (unsigned long long)run->errors[e],
			err_name((enum err)e));
		before = ", ";
	}
	if (*before == ',')
		fputc('\n', to);
}

static void text_totals(const struct status_view *view, FILE *to)
{
	const struct ledger_totals *totals = &view->totals;
	char number[UNITS_TEXT_BYTES], bytes[UNITS_TEXT_BYTES];

	fprintf(to, "All runs     %s mailbox%s begun, ",
		batch_report_number(number, view->mailboxes), view->mailboxes == 1 ? "" : "es");
	fprintf(to, "%s message%s moved (%s)",
		batch_report_number(number, totals->messages[LEDGER_MOVED]),
		units_plural(totals->messages[LEDGER_MOVED]),
		units_bytes(bytes, totals->bytes_moved));
	for (unsigned state = LEDGER_SKIPPED; state <= LEDGER_WITHDRAWN; state++)
		if (totals->messages[state])
			fprintf(to, ", %s %s", batch_report_number(number, totals->messages[state]),
				ledger_state_name((enum ledger_state)state));
	if (totals->wrapped)
		fprintf(to, ", %s of them wrapped", batch_report_number(number, totals->wrapped));
	if (totals->found)
		fprintf(to, ", %s found there already", batch_report_number(number, totals->found));
	if (totals->boxes_skipped)
		fprintf(to, ", %s folder%s failed",
			batch_report_number(number, totals->boxes_skipped),
			units_plural(totals->boxes_skipped));
	fputc('\n', to);
	skip_reasons_text(totals->skipped_for, "Skipped for  ", to);
}

static void text_attention_row(const struct status_row *row, const struct batch_mailbox *judged,
			       FILE *to)
{
	char shown[NAME_SHOWN_BYTES], reason[BATCH_REASON_BYTES];

	fprintf(to, "    %s%s%s", row->id, *row->id ? "  " : "",
		terminal_text(shown, sizeof shown, row->mailbox.source));
	if (!judged->error)
		fprintf(to, ": %s", batch_report_reason(judged, reason));
	if (*row->mailbox.note)
		fprintf(to, ": %s", terminal_text(shown, sizeof shown, row->mailbox.note));
	fputc('\n', to);
}

/* One reason and one next step, and the mailboxes that share them. */
static unsigned text_kind(const struct status_view *view, unsigned rank, unsigned e, FILE *to)
{
	struct batch_mailbox judged;
	char number[UNITS_TEXT_BYTES];
	unsigned shown = 0;

	for (size_t i = 0; i < view->rows_count && shown < STATUS_VIEW_KIND_SHOWN; i++) {
		if (!view->rows[i].needs_attention)
			continue;
		judge(view, &view->rows[i].mailbox, &judged);
		if (batch_report_rank(&judged) != rank || judged.error != e)
			continue;
		if (!shown++)
			fprintf(to, "\n  %s%s%s: %s mailbox%s\n  Next: %s.\n",
				batch_state_name(judged.state), e ? ", " : "",
				e ? err_text((enum err)e) : "",
				batch_report_number(number, view->kinds[rank][e]),
				view->kinds[rank][e] == 1 ? "" : "es",
				rank == BATCH_RANK_STUCK && view->life == STATUS_RUNNING
					? "Nothing yet: the run tries again by itself"
					: batch_report_next_step(&judged));
		text_attention_row(&view->rows[i], &judged, to);
	}
	if (view->kinds[rank][e] > shown)
		fprintf(to, "    ... and %s more\n",
			batch_report_number(number, view->kinds[rank][e] - shown));
	return shown;
}

static void text_attention(const struct status_view *view, FILE *to)
{
	char number[UNITS_TEXT_BYTES];
	unsigned shown = 0;

	if (!view->need_attention)
		return;
	fprintf(to, "\nNeeds attention: %s mailbox%s\n",
		batch_report_number(number, view->need_attention),
		view->need_attention == 1 ? "" : "es");
	for (unsigned rank = 0; rank <= BATCH_RANK_STUCK; rank++)
		for (unsigned e = 0; e < ERR_COUNT; e++)
			if (view->kinds[rank][e])
				shown += text_kind(view, rank, e, to);
	if (view->need_attention > shown && !view->all)
		fputs("\n  mailhaul status --all lists them all.\n", to);
}

static void text_all(const struct status_view *view, FILE *to)
{
	char shown[NAME_SHOWN_BYTES], number[UNITS_TEXT_BYTES], bytes[UNITS_TEXT_BYTES];

	fprintf(to, "\nAll mailboxes begun\n  %-10s  %12s %10s  %-12s  %s\n", "state", "messages",
		"bytes", view->ids ? "id in logs" : "", "source");
	for (size_t i = 0; i < view->rows_count; i++) {
		const struct status_row *row = &view->rows[i];
		const struct ledger_totals *totals = &row->mailbox.totals;

		fprintf(to, "  %-10s  %12s %10s  %-12s  %s",
			*row->mailbox.state ? row->mailbox.state : "begun",
			batch_report_number(number, totals->messages[LEDGER_MOVED]),
			units_bytes(bytes, totals->bytes_moved), row->id,
			terminal_text(shown, sizeof shown, row->mailbox.source));
		fprintf(to, "%s%s\n", *row->mailbox.note ? ": " : "",
			terminal_text(shown, sizeof shown, row->mailbox.note));
	}
}

static void text_batch(const struct status_view *view, FILE *to)
{
	text_run(view, to);
	text_states(&view->run, to);
	text_figures(view, to);
	text_errors(&view->run, to);
	text_totals(view, to);
	text_attention(view, to);
	if (view->all)
		text_all(view, to);
	if (view->life == STATUS_INTERRUPTED ||
	    (view->life == STATUS_ENDED &&
	     view->run.mailboxes[BATCH_WAITING] + view->run.mailboxes[BATCH_DRAINED]))
		fputs("\nNot all mailboxes are done. Run the same command again: it goes on where "
		      "it stopped.\n",
		      to);
}

/* ---- text: single mailboxes, each by a copy of its own ---- */

static const char *const life_names[] = {
	[STATUS_NO_RUN] = "none",
	[STATUS_RUNNING] = "running",
	[STATUS_ENDED] = "ended",
	[STATUS_INTERRUPTED] = "interrupted",
};

static void text_mailbox(const struct ledger_status_mailbox *mailbox, FILE *to)
{
	const struct ledger_totals *totals = &mailbox->totals;
	char shown[NAME_SHOWN_BYTES], bytes[UNITS_TEXT_BYTES];

	fprintf(to, "%s -> ", terminal_text(shown, sizeof shown, mailbox->source));
	fprintf(to, "%s\n", terminal_text(shown, sizeof shown, mailbox->target));
	fprintf(to, "  %llu folder%s, %llu message%s moved (%s)", (unsigned long long)totals->boxes,
		units_plural(totals->boxes), (unsigned long long)totals->messages[LEDGER_MOVED],
		units_plural(totals->messages[LEDGER_MOVED]),
		units_bytes(bytes, totals->bytes_moved));
	for (unsigned state = LEDGER_SKIPPED; state <= LEDGER_WITHDRAWN; state++)
		if (totals->messages[state])
			fprintf(to, ", %llu %s", (unsigned long long)totals->messages[state],
				ledger_state_name((enum ledger_state)state));
	if (totals->boxes_skipped)
		fprintf(to, ", %llu folder%s failed", (unsigned long long)totals->boxes_skipped,
			units_plural(totals->boxes_skipped));
	fprintf(to, "%s\n", totals->ranges_open ? ", more to do" : "");
	skip_reasons_text(totals->skipped_for, "  skipped for ", to);
}

static void text_copy(const struct status_view *view, FILE *to)
{
	const struct ledger_run *run = &view->run;
	char started[UNITS_TEXT_BYTES], took[UNITS_TEXT_BYTES], bytes[UNITS_TEXT_BYTES];

	fprintf(to, "Last run: %s, pid %lld, started %s, %s, %llu message%s moved (%s)",
		life_names[view->life], (long long)run->pid,
		units_wall(started, run->started_wall_s), units_duration(took, duration_of(run)),
		(unsigned long long)run->messages, units_plural(run->messages),
		units_bytes(bytes, run->bytes));
	if (run->ended_wall_s)
		fprintf(to, ", exit code %d", run->exit_code);
	fputc('\n', to);
}

void status_view_text(const struct status_view *view, FILE *to)
{
	if (is_batch(view)) {
		text_batch(view, to);
		return;
	}
	for (size_t i = 0; i < view->rows_count; i++)
		text_mailbox(&view->rows[i].mailbox, to);
	if (view->life != STATUS_NO_RUN)
		text_copy(view, to);
	if (!view->mailboxes)
		fputs("The ledger holds no mailbox yet.\n", to);
}

/* ---- JSON ---- */

const char status_view_json_keys[] =
	"With --json: one object a line, first one for each mailbox, then one for each thing "
	"learnt "
	"of servers, then one for the last run. "
	"Keys stay; later versions may add some.\n"
	"\n"
	"  kind \"mailbox\": source, target, id (in logs; null: none), folders,\n"
	"    folders_failed, moved, skipped, doubtful, withdrawn (messages, all runs),\n"
	"    found (of these, at the target before the copy), wrapped (of those moved),\n"
	"    skipped_reasons {NAME: messages}, bytes_moved, ranges_open, seals_open; of a\n"
	"    mailbox that ended in a batch also state (done, incomplete, doubtful, failed,\n"
	"    drained, waiting), error (a name or null), note, ended (UTC),\n"
	"    needs_attention, next_step\n"
	"  kind \"learnt\": about (host, account: connections and rests; pace-host,\n"
	"    pace-account: messages a second; bytes-down, bytes-up: of the last 24\n"
	"    hours), name, says (in words), connections_max and rests_until where they hold\n"
	"  kind \"run\": state (running, ended, interrupted), pid, started, updated,\n"
	"    ended (UTC), exit_code, messages_moved, bytes_moved (this run); of a batch\n"
	"    also batch, mailboxes {one count per state}, connections,\n"
	"    throttled_share (0 to 1), window_closes (UTC or null),\n"
	"    messages_per_second, bytes_per_second, errors {NAME: how often it stopped\n"
	"    an attempt}, need_attention (mailboxes)\n";

static void json_text_or_null(struct json_out *json, const char *key, const char *text)
{
	if (*text)
		json_text(json, key, text);
	else
		json_null(json, key);
}

static void json_end_of(const struct status_view *view, const struct ledger_status_mailbox *mailbox,
			struct json_out *json)
{
	struct batch_mailbox judged;
	char time[UNITS_TEXT_BYTES];

	judge(view, mailbox, &judged);
	json_text(json, "state", mailbox->state);
	json_text_or_null(json, "error", mailbox->error);
	json_text(json, "note", mailbox->note);
	json_text(json, "ended", units_wall(time, mailbox->ended_wall_s));
	json_bool(json, "needs_attention", needs_attention(view, mailbox, &judged));
	json_text(json, "next_step", batch_report_next_step(&judged));
}

void status_view_json_mailbox(const struct status_view *view,
			      const struct ledger_status_mailbox *mailbox, struct json_out *json)
{
	const struct ledger_totals *totals = &mailbox->totals;
	char id[SALTED_ID_TEXT_BYTES];

	json_object_begin(json, NULL);
	json_text(json, "kind", "mailbox");
	json_text(json, "source", mailbox->source);
	json_text(json, "target", mailbox->target);
	json_text_or_null(json, "id", id_of(view, mailbox, id));
	json_number(json, "folders", totals->boxes);
	json_number(json, "folders_failed", totals->boxes_skipped);
	for (unsigned state = LEDGER_MOVED; state <= LEDGER_WITHDRAWN; state++)
		json_number(json, ledger_state_name((enum ledger_state)state),
			    totals->messages[state]);
	skip_reasons_json(totals->skipped_for, json);
	json_number(json, "found", totals->found);
	json_number(json, "wrapped", totals->wrapped);
	json_number(json, "bytes_moved", totals->bytes_moved);
	json_number(json, "ranges_open", totals->ranges_open);
	json_number(json, "seals_open", totals->seals_open);
	if (*mailbox->state)
		json_end_of(view, mailbox, json);
	json_object_end(json);
	json_line_end(json);
}

static void json_batch(const struct status_view *view, struct json_out *json)
{
	const struct ledger_run *run = &view->run;
	char time[UNITS_TEXT_BYTES] = "";

	json_text(json, "batch", run->batch);
	json_object_begin(json, "mailboxes");
	for (unsigned state = 0; state < BATCH_STATES; state++)
		json_number(json, batch_state_name((enum batch_state)state), run->mailboxes[state]);
	json_object_end(json);
	json_number(json, "connections", run->connections);
	json_number_decimal(json, "throttled_share", run->throttled_permille / 1000.0);
	if (run->window_closes_wall_s && run->window_closes_wall_s != INT64_MAX)
		units_wall(time, run->window_closes_wall_s);
	json_text_or_null(json, "window_closes", time);
	json_number_decimal(json, "messages_per_second", view->messages_per_second);
	json_number_decimal(json, "bytes_per_second", view->bytes_per_second);
	json_object_begin(json, "errors");
	for (unsigned e = OK + 1; e < ERR_COUNT; e++)
		if (run->errors[e])
			json_number(json, err_name((enum err)e), run->errors[e]);
	json_object_end(json);
	json_number(json, "need_attention", view->need_attention);
}

void status_view_json_run(const struct status_view *view, struct json_out *json)
{
	const struct ledger_run *run = &view->run;
	char time[UNITS_TEXT_BYTES];

	if (view->life == STATUS_NO_RUN)
		return;
	json_object_begin(json, NULL);
	json_text(json, "kind", "run");
	json_text(json, "state", life_names[view->life]);
	json_signed(json, "pid", run->pid);
	json_text(json, "started", units_wall(time, run->started_wall_s));
	json_text(json, "updated", units_wall(time, run->updated_wall_s));
	if (run->ended_wall_s) {
		json_text(json, "ended", units_wall(time, run->ended_wall_s));
		json_signed(json, "exit_code", run->exit_code);
	}
	json_number(json, "messages_moved", run->messages);
	json_number(json, "bytes_moved", run->bytes);
	if (is_batch(view))
		json_batch(view, json);
	json_object_end(json);
	json_line_end(json);
}
