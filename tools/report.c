#include "tools/report.h"

#include "tools/aws_record.h"
#include "tools/commands.h"
#include "tools/bucket.h"
#include "tools/bucket_watch.h"
#include "tools/confinement.h"
#include "tools/counters.h"
#include "tools/hints.h"
#include "tools/json_out.h"
#include "tools/skip_reason.h"
#include "tools/terminal.h"
#include "tools/units.h"

/* ---- the end ---- */

bool report_is_given_up(enum err e)
{
	enum err_retry class = err_retry_class(e);

	return e == ERR_FIBER_CANCELED || class == RETRY_NOW || class == RETRY_RECONNECT ||
	       class == RETRY_BACKOFF;
}

static uint64_t skipped(const struct report *report)
{
	return report->totals_known ? report->totals.messages[LEDGER_SKIPPED]
				    : report->progress->messages_skipped;
}

static uint64_t doubtful(const struct report *report)
{
	return report->totals_known ? report->totals.messages[LEDGER_DOUBTFUL]
				    : report->progress->messages_doubtful;
}

static uint64_t boxes_failed(const struct report *report)
{
	return report->totals_known ? report->totals.boxes_skipped : report->progress->boxes_failed;
}

int report_exit_code(const struct report *report)
{
	if (doubtful(report))
		return EXIT_MISMATCH;
	if (report->drained)
		return EXIT_LATER;
	if (report->error)
		return err_exit_code(report->error);
	if (skipped(report) || boxes_failed(report))
		return EXIT_INCOMPLETE;
	return EXIT_ALL_MOVED;
}

char *report_reason(const struct report *report, char *to, size_t to_bytes)
{
	char sentence[ERR_NOTE_BYTES_MAX * 4];

	to[0] = '\0';
	if (doubtful(report))
		snprintf(to, to_bytes,
			 "%llu message%s stored but not as sent. Run mailhaul verify on the "
			 "target, and look at the list above.",
			 (unsigned long long)doubtful(report),
			 doubtful(report) == 1 ? " is" : "s are");
	else if (report->drained)
		snprintf(to, to_bytes,
			 "%s, with everything in flight finished. Run the same command again: it "
			 "goes on where it stopped.",
			 bucket_stop_words());
	else if (report->error)
		snprintf(to, to_bytes, "%s.",
			 hint_sentence(report->error, &report->note, sentence, sizeof sentence));
	else if (report_exit_code(report) == EXIT_INCOMPLETE)
		snprintf(to, to_bytes,
			 "%llu message%s and %llu folder%s were not moved. The report names each "
			 "and why; everything else is moved.",
			 (unsigned long long)skipped(report), units_plural(skipped(report)),
			 (unsigned long long)boxes_failed(report),
			 units_plural(boxes_failed(report)));
	return to;
}

static bool nothing_was_left(const struct report *report)
{
	return !report->error && !report->drained && !report->dry_run &&
	       !report->progress->messages_moved && !report->progress->messages_retried &&
	       !report->progress->changes.reflagged && !report->progress->changes.vanished &&
	       !report->progress->changes.renumbered;
}

/* ---- text ---- */

static const char *digest_shown(const struct report *report)
{
	return report->digest ? report->digest : "?";
}

static void text_kinds(const struct report *report, FILE *to)
{
	const uint64_t *kinds = report->progress->kinds;
	bool any = false;

	for (unsigned kind = MAIL_PLAIN + 1; kind < MAIL_KIND_COUNT; kind++)
		if (kinds[kind]) {
			fprintf(to, "%s%llu %s", any ? ", " : "Sealed mail  ",
				(unsigned long long)kinds[kind],
				mail_kind_name((enum mail_kind)kind));
			any = true;
		}
	if (any)
		fputc('\n', to);
}

static void text_flags(const struct mail_carried *flags, FILE *to)
{
	if (flags->carried || flags->gone || flags->refused)
		fprintf(to,
			"Flags        %llu carried to the destination, %llu of them changed there "
			"too; %llu gone there, %llu could not be carried\n",
			(unsigned long long)flags->carried, (unsigned long long)flags->merged,
			(unsigned long long)flags->gone, (unsigned long long)flags->refused);
}

void report_text_changes(const struct batch_changes *changes, FILE *to)
{
	if (changes->reflagged || changes->vanished || changes->renumbered)
		fprintf(to,
			"Changed      %llu re-flagged, %llu vanished, %llu renumbered in the "
			"source "
			"since earlier runs\n",
			(unsigned long long)changes->reflagged,
			(unsigned long long)changes->vanished,
			(unsigned long long)changes->renumbered);
	text_flags(&changes->flags, to);
}

static uint64_t left_out(const struct report *report)
{
	return report->totals_known ? report->totals.filtered : report->progress->messages_filtered;
}

void report_text_left_out(uint64_t folders, uint64_t messages, FILE *to)
{
	if (folders || messages)
		fprintf(to, "Left out     %llu folder%s and %llu message%s by the filter\n",
			(unsigned long long)folders, units_plural(folders),
			(unsigned long long)messages, units_plural(messages));
}

static void text_left_out(const struct report *report, FILE *to)
{
	report_text_left_out(report->progress->boxes_left_out, left_out(report), to);
}

static uint64_t wrapped(const struct report *report)
{
	return report->totals_known ? report->totals.wrapped : report->progress->messages_wrapped;
}

static void text_retried(const struct report *report, FILE *to)
{
	uint64_t retried = report->progress->messages_retried;

	if (report->progress->retry_begun)
		fprintf(to, "%s %llu message%s that earlier runs skipped\n",
			report->dry_run ? "Would retry " : "Retried     ",
			(unsigned long long)retried, units_plural(retried));
}

static void text_moved(const struct report *report, FILE *to)
{
	const struct lane_progress *done = report->progress;
	char bytes[UNITS_TEXT_BYTES], speed[UNITS_TEXT_BYTES];

	if (report->dry_run) {
		fprintf(to,
			"Dry run      %llu message%s in %llu folder%s%s%s; nothing was written\n",
			(unsigned long long)done->messages_known,
			units_plural(done->messages_known), (unsigned long long)done->boxes_known,
			units_plural(done->boxes_known), done->bytes_known ? ", " : "",
			done->bytes_known ? units_bytes(bytes, done->bytes_known) : "");
		if (done->messages_before)
			fprintf(to,
				"Before       %llu message%s by earlier runs\nNew          %llu\n",
				(unsigned long long)done->messages_before,
				units_plural(done->messages_before),
				(unsigned long long)done->messages_new);
		text_left_out(report, to);
		text_retried(report, to);
		report_text_changes(&done->changes, to);
		if (done->messages_sought)
			fprintf(to,
				"Sought       %llu message%s of folders that were replaced, "
				"renamed "
				"or deleted: equal ones will not be stored again\n",
				(unsigned long long)done->messages_sought,
				units_plural(done->messages_sought));
		return;
	}
	fprintf(to, "Moved        %llu message%s, %s (%.0f messages/s, %s/s)\n",
		(unsigned long long)done->messages_moved, units_plural(done->messages_moved),
		units_bytes(bytes, done->bytes_moved),
		units_rate(done->messages_moved, report->duration),
		units_bytes(speed, (uint64_t)units_rate(done->bytes_moved, report->duration)));
	if (done->messages_found)
		fprintf(to, "Found        %llu of them, there already and not sent\n",
			(unsigned long long)done->messages_found);
	if (done->messages_before)
		fprintf(to, "Before       %llu message%s by earlier runs\n",
			(unsigned long long)done->messages_before,
			units_plural(done->messages_before));
	text_left_out(report, to);
	text_retried(report, to);
	report_text_changes(&done->changes, to);
	fprintf(to, "Folders      %llu of %llu done\n", (unsigned long long)done->boxes_done,
		(unsigned long long)done->boxes_known);
	if (done->reconnects)
		fprintf(to, "Reconnects   %llu\n", (unsigned long long)done->reconnects);
}

/* A reason that an older or newer version noted has its name only. */
static const char *exception_text(const struct ledger_exception *exception)
{
	return exception->reason ? err_text(exception->reason) : exception->reason_name;
}

/* A row of the ledger without a message number is a folder as a whole. */
static void text_exception(const struct ledger_exception *exception, FILE *to)
{
	char name[BOX_NAME_BYTES_MAX + 8];

	terminal_text(name, sizeof name, exception->box_name);
	if (exception->no)
		fprintf(to, "  %-8s %s  message %llu: %s\n", ledger_state_name(exception->state),
			name, (unsigned long long)exception->no, exception_text(exception));
	else
		fprintf(to, "  %-8s %s  the folder: %s\n", ledger_state_name(exception->state),
			name, exception_text(exception));
}

static enum err text_exceptions(const struct report *report, struct ledger *ledger, FILE *to)
{
	uint64_t total = skipped(report) + doubtful(report), shown = 0;
	struct ledger_exception exception = { 0 };
	enum err e = OK;

	if (!total && !boxes_failed(report))
		return OK;
	fprintf(to, "Not moved    %llu message%s, %llu folder%s\n", (unsigned long long)total,
		units_plural(total), (unsigned long long)boxes_failed(report),
		units_plural(boxes_failed(report)));
	while (report->totals_known && shown < REPORT_EXCEPTIONS_SHOWN &&
	       (e = ledger_exception_next(ledger, report->progress->mailbox_no, &exception)) ==
		       OK) {
		text_exception(&exception, to);
		shown++;
	}
	if (shown == REPORT_EXCEPTIONS_SHOWN && total > shown)
		fprintf(to, "  ... and %llu more: --json names them all\n",
			(unsigned long long)(total - shown));
	if (report->totals_known)
		skip_reasons_text(report->totals.skipped_for, "Skipped for  ", to);
	return e == ERR_PIPE_ENDED ? OK : e;
}

/* They are moved, but people find them otherwise than they were. */
static enum err text_wrapped(const struct report *report, struct ledger *ledger, FILE *to)
{
	struct ledger_exception one = { 0 };
	char name[BOX_NAME_BYTES_MAX + 8];
	uint64_t shown = 0;
	enum err e = OK;

	if (!wrapped(report))
		return OK;
	fprintf(to,
		"Wrapped      %llu message%s inside others: mailhaul unwrap has the originals\n",
		(unsigned long long)wrapped(report), units_plural(wrapped(report)));
	while (report->totals_known && shown < REPORT_EXCEPTIONS_SHOWN &&
	       (e = ledger_wrapped_next(ledger, report->progress->mailbox_no, &one)) == OK) {
		fprintf(to, "  wrapped  %s  message %llu\n",
			terminal_text(name, sizeof name, one.box_name), (unsigned long long)one.no);
		shown++;
	}
	if (shown == REPORT_EXCEPTIONS_SHOWN && wrapped(report) > shown)
		fprintf(to, "  ... and %llu more: --json names them all\n",
			(unsigned long long)(wrapped(report) - shown));
	return e == ERR_PIPE_ENDED ? OK : e;
}

enum err report_text(const struct report *report, struct ledger *ledger, FILE *to)
{
	char started[UNITS_TEXT_BYTES], took[UNITS_TEXT_BYTES], bytes[UNITS_TEXT_BYTES];
	enum err e;

	fprintf(to, "Source       %s\nTarget       %s\nStarted      %s, took %s\nDigest       %s\n",
		report->source, report->target, units_wall(started, report->started_wall_s),
		units_duration(took, report->duration), digest_shown(report));
	confinement_text(to);
	if (report->endpoints)
		endpoints_text(report->endpoints, to);
	if (report->paths)
		paths_text(report->paths, to);
	if (report->aws_record)
		aws_record_text(report->aws_record, to);
	bucket_watch_text(report->bucket, to);
	text_moved(report, to);
	text_kinds(report, to);
	e = text_exceptions(report, ledger, to);
	if (!e)
		e = text_wrapped(report, ledger, to);
	if (report->totals_known && !report->dry_run)
		fprintf(to, "In all       %llu message%s moved, %s\n",
			(unsigned long long)report->totals.messages[LEDGER_MOVED],
			units_plural(report->totals.messages[LEDGER_MOVED]),
			units_bytes(bytes, report->totals.bytes_moved));
	if (nothing_was_left(report))
		fprintf(to, "Nothing was left to do.\n");
	return e;
}

/* ---- JSON ---- */

static void json_counts(const struct report *report, struct json_out *json)
{
	const struct lane_progress *done = report->progress;

	json_object_begin(json, "run");
	json_number(json, "folders", done->boxes_known);
	json_number(json, "folders_done", done->boxes_done);
	json_number(json, "folders_failed", done->boxes_failed);
	json_number(json, "messages_known", done->messages_known);
	json_number(json, "bytes_known", done->bytes_known);
	json_number(json, "messages_moved", done->messages_moved);
	json_number(json, "bytes_moved", done->bytes_moved);
	json_number(json, "messages_found", done->messages_found);
	json_number(json, "messages_before", done->messages_before);
	json_number(json, "messages_skipped", done->messages_skipped);
	json_number(json, "folders_left_out", done->boxes_left_out);
	json_number(json, "messages_left_out", left_out(report));
	json_number(json, "messages_retried", done->messages_retried);
	json_number(json, "messages_doubtful", done->messages_doubtful);
	json_number(json, "messages_wrapped", done->messages_wrapped);
	json_number(json, "messages_reflagged", done->changes.reflagged);
	json_number(json, "messages_vanished", done->changes.vanished);
	json_number(json, "messages_renumbered", done->changes.renumbered);
	json_number(json, "flags_carried", done->changes.flags.carried);
	json_number(json, "flags_changed_on_both_sides", done->changes.flags.merged);
	json_number(json, "flags_of_messages_gone", done->changes.flags.gone);
	json_number(json, "flags_not_carried", done->changes.flags.refused);
	if (report->dry_run) {
		json_number(json, "messages_new", done->messages_new);
		json_number(json, "messages_sought", done->messages_sought);
	}
	json_number(json, "reconnects", done->reconnects);
	json_number_decimal(json, "messages_per_second",
			    units_rate(done->messages_moved, report->duration));
	json_number_decimal(json, "bytes_per_second",
			    units_rate(done->bytes_moved, report->duration));
	json_object_begin(json, "kinds");
	for (unsigned kind = 0; kind < MAIL_KIND_COUNT; kind++)
		json_number(json, mail_kind_name((enum mail_kind)kind), done->kinds[kind]);
	json_object_end(json);
	json_object_end(json);
}

static void json_totals(const struct report *report, struct json_out *json)
{
	if (!report->totals_known)
		return;
	json_object_begin(json, "totals");
	json_number(json, "folders", report->totals.boxes);
	json_number(json, "folders_failed", report->totals.boxes_skipped);
	for (unsigned state = LEDGER_MOVED; state <= LEDGER_WITHDRAWN; state++)
		json_number(json, ledger_state_name((enum ledger_state)state),
			    report->totals.messages[state]);
	skip_reasons_json(report->totals.skipped_for, json);
	json_number(json, "found", report->totals.found);
	json_number(json, "wrapped", report->totals.wrapped);
	json_number(json, "vanished", report->totals.vanished);
	json_number(json, "bytes_moved", report->totals.bytes_moved);
	json_object_end(json);
}

static enum err json_exceptions(const struct report *report, struct ledger *ledger,
				struct json_out *json)
{
	struct ledger_exception exception = { 0 };
	enum err e = ERR_PIPE_ENDED;

	json_array_begin(json, "exceptions");
	while (report->totals_known &&
	       (e = ledger_exception_next(ledger, report->progress->mailbox_no, &exception)) ==
		       OK) {
		json_object_begin(json, NULL);
		json_text(json, "folder", exception.box_name);
		if (exception.no)
			json_number(json, "uid", exception.no);
		json_text(json, "state", ledger_state_name(exception.state));
		json_text(json, "reason", exception.reason_name);
		json_text(json, "text", exception_text(&exception));
		json_object_end(json);
	}
	json_array_end(json);
	return e == ERR_PIPE_ENDED ? OK : e;
}

static enum err json_wrapped(const struct report *report, struct ledger *ledger,
			     struct json_out *json)
{
	struct ledger_exception one = { 0 };
	enum err e = ERR_PIPE_ENDED;

	json_array_begin(json, "wrapped");
	while (report->totals_known &&
	       (e = ledger_wrapped_next(ledger, report->progress->mailbox_no, &one)) == OK) {
		json_object_begin(json, NULL);
		json_text(json, "folder", one.box_name);
		json_number(json, "uid", one.no);
		json_object_end(json);
	}
	json_array_end(json);
	return e == ERR_PIPE_ENDED ? OK : e;
}

static void json_end(const struct report *report, struct json_out *json)
{
	char reason[ERR_NOTE_BYTES_MAX * 4];

	json_bool(json, "nothing_left", nothing_was_left(report));
	json_bool(json, "drained", report->drained);
	if (report->error) {
		json_object_begin(json, "error");
		json_text(json, "name", err_name(report->error));
		json_text(json, "text", err_text(report->error));
		json_text(json, "note", report->note.text);
		json_object_end(json);
	}
	json_text(json, "reason", report_reason(report, reason, sizeof reason));
	json_number(json, "exit_code", (uint64_t)report_exit_code(report));
}

enum err report_json(const struct report *report, struct ledger *ledger, FILE *to)
{
	struct json_out json = { .file = to };
	char started[UNITS_TEXT_BYTES];
	enum err e;

	json_object_begin(&json, NULL);
	json_text(&json, "command", "copy");
	json_text(&json, "version", program_version);
	json_text(&json, "source", report->source);
	json_text(&json, "target", report->target);
	json_text(&json, "digest", digest_shown(report));
	json_bool(&json, "dry_run", report->dry_run);
	json_text(&json, "started", units_wall(started, report->started_wall_s));
	json_number_decimal(&json, "seconds", (double)report->duration / (double)NSEC_SECOND);
	confinement_json(&json);
	if (report->endpoints)
		endpoints_json(report->endpoints, &json);
	if (report->paths)
		paths_json(report->paths, &json);
	if (report->aws_record)
		aws_record_json(report->aws_record, &json);
	if (report->bucket) {
		json_array_begin(&json, "buckets");
		bucket_watch_json(report->bucket, &json);
		json_array_end(&json);
	}
	json_counts(report, &json);
	json_totals(report, &json);
	e = json_exceptions(report, ledger, &json);
	if (!e)
		e = json_wrapped(report, ledger, &json);
	if (report->counters)
		counters_json(report->counters, &json);
	json_end(report, &json);
	json_object_end(&json);
	json_line_end(&json);
	return e;
}
