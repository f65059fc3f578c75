/* The report of a batch as text. */
#include "tools/batch_report.h"
#include "tools/aws_record.h"
#include "tools/bucket_watch.h"
#include "tools/confinement.h"
#include "tools/endpoints.h"
#include "tools/paths.h"
#include "tools/report.h"
#include "tools/terminal.h"

enum { NAME_SHOWN_BYTES = 512 };

static void text_states(const struct batch_counts *counts, FILE *to)
{
	char number[UNITS_TEXT_BYTES];
	const char *before = ": ";

	fprintf(to, "Mailboxes    %s", batch_report_number(number, batch_report_total(counts)));
	for (unsigned i = 0; i < BATCH_STATES; i++) {
		/* What went well stands first, as in the enum from DONE on, then what is left. */
		unsigned state = (i + BATCH_DONE) % BATCH_STATES;

		if (!counts->mailboxes[state])
			continue;
		fprintf(to, "%s%s %s", before,
			batch_report_number(number, counts->mailboxes[state]),
			batch_state_name((enum batch_state)state));
		before = ", ";
	}
	fputc('\n', to);
}

static void text_moved(const struct batch_counts *counts, FILE *to)
{
	char number[UNITS_TEXT_BYTES], bytes[UNITS_TEXT_BYTES], speed[UNITS_TEXT_BYTES];

	fprintf(to, "Moved        %s message%s, %s (%.0f messages/s, %s/s)\n",
		batch_report_number(number, counts->messages_moved),
		units_plural(counts->messages_moved), units_bytes(bytes, counts->bytes_moved),
		units_rate(counts->messages_moved, counts->elapsed),
		units_bytes(speed, (uint64_t)units_rate(counts->bytes_moved, counts->elapsed)));
}

static void text_messages(const struct batch_report *report, FILE *to)
{
	const struct batch_counts *counts = report->counts;
	char number[UNITS_TEXT_BYTES], found[BATCH_FOUND_BYTES];

	if (report->dry_run)
		fprintf(to, "Dry run      %s\n", batch_report_found(counts, found));
	else
		text_moved(counts, to);
	if (counts->messages_found)
		fprintf(to, "Found        %s of them, there already and not sent\n",
			batch_report_number(number, counts->messages_found));
	if (counts->messages_before)
		fprintf(to, "Before       %s message%s by earlier runs\n",
			batch_report_number(number, counts->messages_before),
			units_plural(counts->messages_before));
	report_text_left_out(counts->folders_left_out, counts->messages_left_out, to);
	report_text_changes(&counts->changes, to);
	if (counts->messages_skipped)
		fprintf(to, "Skipped      %s message%s\n",
			batch_report_number(number, counts->messages_skipped),
			units_plural(counts->messages_skipped));
	if (counts->messages_doubtful)
		fprintf(to, "Doubtful     %s message%s stored but not as sent\n",
			batch_report_number(number, counts->messages_doubtful),
			counts->messages_doubtful == 1 ? " is" : "s are");
	if (counts->messages_wrapped)
		fprintf(to, "Wrapped      %s message%s inside others\n",
			batch_report_number(number, counts->messages_wrapped),
			units_plural(counts->messages_wrapped));
	if (counts->throttled)
		fprintf(to, "Throttled    %.1f %% of the mailboxes' time, because hosts asked\n",
			batch_report_throttled(counts) * 100);
	if (counts->reconnects)
		fprintf(to, "Reconnects   %s\n", batch_report_number(number, counts->reconnects));
}

/* ---- what needs attention: by kind, so that the next step is told once ---- */

struct kinds {
	uint32_t count[BATCH_RANK_STUCK + 1][ERR_COUNT];
	uint64_t total;
};

static bool needs_attention(const struct batch_mailbox *mailbox)
{
	return batch_report_rank(mailbox) <= BATCH_RANK_STUCK;
}

static bool row(const struct batch_report *report, size_t index, struct batch_mailbox *out)
{
	return report->rows.next(report->rows.context, index, out);
}

static void count_kinds(const struct batch_report *report, struct kinds *kinds)
{
	struct batch_mailbox mailbox;

	for (size_t i = 0; i < report->rows.count; i++)
		if (row(report, i, &mailbox) && needs_attention(&mailbox)) {
			kinds->count[batch_report_rank(&mailbox)][mailbox.error]++;
			kinds->total++;
		}
}

static void text_kind_head(const struct batch_mailbox *mailbox, uint64_t count, FILE *to)
{
	char number[UNITS_TEXT_BYTES];

	fprintf(to, "\n  %s%s%s: %s mailbox%s\n  Next: %s.\n", batch_state_name(mailbox->state),
		mailbox->error ? ", " : "", mailbox->error ? err_text(mailbox->error) : "",
		batch_report_number(number, count), count == 1 ? "" : "es",
		batch_report_next_step(mailbox));
}

static void text_mailbox(const struct batch_mailbox *mailbox, FILE *to)
{
	char shown[NAME_SHOWN_BYTES], reason[BATCH_REASON_BYTES];

	fprintf(to, "    %s", terminal_text(shown, sizeof shown, mailbox->source));
	if (mailbox->line)
		fprintf(to, " (line %u)", mailbox->line);
	if (!mailbox->error)
		fprintf(to, ": %s", batch_report_reason(mailbox, reason));
	if (*mailbox->note)
		fprintf(to, ": %s", terminal_text(shown, sizeof shown, mailbox->note));
	fputc('\n', to);
}

static uint64_t text_kind(const struct batch_report *report, enum batch_rank rank, enum err e,
			  uint64_t count, uint64_t room, FILE *to)
{
	struct batch_mailbox mailbox;
	uint64_t shown = 0;

	for (size_t i = 0; i < report->rows.count && shown < min_u64(count, room); i++) {
		if (!row(report, i, &mailbox) || batch_report_rank(&mailbox) != rank ||
		    mailbox.error != e)
			continue;
		if (!shown++)
			text_kind_head(&mailbox, count, to);
		text_mailbox(&mailbox, to);
	}
	return shown;
}

static void text_attention(const struct batch_report *report, FILE *to)
{
	struct kinds kinds = { .total = 0 };
	char number[UNITS_TEXT_BYTES];
	uint64_t shown = 0;

	count_kinds(report, &kinds);
	if (!kinds.total)
		return;
	fprintf(to, "\nNeeds attention: %s mailbox%s\n", batch_report_number(number, kinds.total),
		kinds.total == 1 ? "" : "es");
	for (unsigned rank = 0; rank <= BATCH_RANK_STUCK; rank++)
		for (unsigned e = 0; e < ERR_COUNT; e++)
			if (kinds.count[rank][e] && shown < BATCH_REPORT_WORST_SHOWN)
				shown += text_kind(report, (enum batch_rank)rank, (enum err)e,
						   kinds.count[rank][e],
						   BATCH_REPORT_WORST_SHOWN - shown, to);
	if (kinds.total > shown)
		fprintf(to, "\n  ... and %s more: see the CSV%s%s\n",
			batch_report_number(number, kinds.total - shown),
			report->csv_path && *report->csv_path ? " " : " (report.csv)",
			report->csv_path ? report->csv_path : "");
}

/* ---- the slowest ---- */

struct slowest {
	size_t index[BATCH_REPORT_SLOWEST_SHOWN];
	nsec duration[BATCH_REPORT_SLOWEST_SHOWN];
	unsigned count;
};

/* Slowest first; among equals the earlier row. */
static void slowest_add(struct slowest *slowest, size_t index, nsec duration)
{
	unsigned at = slowest->count;

	if (at == BATCH_REPORT_SLOWEST_SHOWN && slowest->duration[--at] >= duration)
		return;
	for (; at > 0 && slowest->duration[at - 1] < duration; at--) {
		slowest->duration[at] = slowest->duration[at - 1];
		slowest->index[at] = slowest->index[at - 1];
	}
	slowest->duration[at] = duration;
	slowest->index[at] = index;
	if (slowest->count < BATCH_REPORT_SLOWEST_SHOWN)
		slowest->count++;
}

static void text_slowest(const struct batch_report *report, FILE *to)
{
	char took[UNITS_TEXT_BYTES], number[UNITS_TEXT_BYTES], bytes[UNITS_TEXT_BYTES];
	struct slowest slowest = { .count = 0 };
	struct batch_mailbox mailbox;
	char name[NAME_SHOWN_BYTES];

	for (size_t i = 0; i < report->rows.count; i++)
		if (row(report, i, &mailbox) && mailbox.duration > 0)
			slowest_add(&slowest, i, mailbox.duration);
	if (slowest.count)
		fprintf(to, "\nSlowest\n  %10s %12s %10s  %s\n", "took", "messages", "bytes",
			"mailbox");
	for (unsigned i = 0; i < slowest.count; i++)
		if (row(report, slowest.index[i], &mailbox))
			fprintf(to, "  %10s %12s %10s  %s\n",
				units_duration(took, mailbox.duration),
				batch_report_number(number, mailbox.messages_moved),
				units_bytes(bytes, mailbox.bytes_moved),
				terminal_text(name, sizeof name, mailbox.source));
}

void batch_report_text(const struct batch_report *report, FILE *to)
{
	const struct batch_counts *counts = report->counts;
	char name[NAME_SHOWN_BYTES], started[UNITS_TEXT_BYTES], took[UNITS_TEXT_BYTES];

	fprintf(to, "Batch        %s\nStarted      %s, took %s%s\n",
		terminal_text(name, sizeof name, report->name),
		units_wall(started, counts->started_wall_s), units_duration(took, counts->elapsed),
		counts->draining ? ", stopped as asked" : "");
	confinement_text(to);
	text_states(counts, to);
	text_messages(report, to);
	if (report->endpoints)
		endpoints_text(report->endpoints, to);
	if (report->paths)
		paths_text(report->paths, to);
	if (report->aws_record)
		aws_record_text(report->aws_record, to);
	for (size_t i = 0; report->bucket && report->bucket(report->bucket_context, i); i++)
		bucket_watch_text(report->bucket(report->bucket_context, i), to);
	text_attention(report, to);
	if (counts->mailboxes[BATCH_DRAINED] + counts->mailboxes[BATCH_WAITING])
		fputs("\nNot all mailboxes are done. Run the same command again: it goes on where "
		      "it stopped.\n",
		      to);
	text_slowest(report, to);
}
