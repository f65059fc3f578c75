#include "tools/batch_html.h"

#include "crypto/digest.h"
#include "tools/commands.h"
#include "tools/terminal.h"

enum { TEXT_SHOWN_BYTES = 1024 };

void batch_html_text(FILE *to, const char *text)
{
	char shown[TEXT_SHOWN_BYTES];

	for (const char *at = terminal_text(shown, sizeof shown, text); *at; at++)
		switch (*at) {
		case '&':
			fputs("&amp;", to);
			break;
		case '<':
			fputs("&lt;", to);
			break;
		case '>':
			fputs("&gt;", to);
			break;
		case '"':
			fputs("&quot;", to);
			break;
		case '\'':
			fputs("&#39;", to);
			break;
		default:
			fputc(*at, to);
		}
}

/* ---- the head ---- */

/* RFC 4648, section 4. */
static void write_base64(FILE *to, const uint8_t *from, size_t n)
{
	static const char letters[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

	for (size_t i = 0; i < n; i += 3) {
		uint32_t bits = (uint32_t)from[i] << 16 |
				(uint32_t)(i + 1 < n ? from[i + 1] : 0) << 8 |
				(uint32_t)(i + 2 < n ? from[i + 2] : 0);

		fputc(letters[bits >> 18], to);
		fputc(letters[bits >> 12 & 63], to);
		fputc(i + 1 < n ? letters[bits >> 6 & 63] : '=', to);
		fputc(i + 2 < n ? letters[bits & 63] : '=', to);
	}
}

/* "; KIND-src 'sha256-...'": lets this one text in (Content Security Policy Level 3, 2.3.1). Should
 * there be no memory for the digest, the page is plain but can be read. */
static void allow(FILE *to, const char *kind, const char *text)
{
	struct digest digest;

	if (digest_of(digest_type(text_of("sha-256")), text, strlen(text), &digest)) {
		err_note_clear();
		return;
	}
	fprintf(to, "; %s-src 'sha256-", kind);
	write_base64(to, digest.bytes, sizeof digest.bytes);
	fputc('\'', to);
}

static void write_head(const struct batch_report *report, FILE *to)
{
	fputs("<!doctype html>\n<html lang=en>\n<head>\n<meta charset=utf-8>\n"
	      "<meta http-equiv=Content-Security-Policy content=\"default-src 'none'; "
	      "base-uri 'none'; form-action 'none'",
	      to);
	allow(to, "style", batch_html_style);
	allow(to, "script", batch_html_script);
	fputs("\">\n<meta name=viewport content=\"width=device-width\">\n"
	      "<meta name=referrer content=no-referrer>\n<title>",
	      to);
	batch_html_text(to, report->name);
	fprintf(to, " \xc2\xb7 mailhaul</title>\n<style>%s</style>\n</head>\n<body>\n",
		batch_html_style);
}

/* ---- the totals ---- */

static uint64_t attention(const struct batch_report *report)
{
	struct batch_mailbox mailbox;
	uint64_t count = 0;

	for (size_t i = 0; i < report->rows.count; i++)
		if (report->rows.next(report->rows.context, i, &mailbox))
			count += batch_report_rank(&mailbox) <= BATCH_RANK_STUCK;
	return count;
}

static void write_verdict(const struct batch_report *report, FILE *to)
{
	const struct batch_counts *counts = report->counts;
	uint64_t total = batch_report_total(counts), left, look = attention(report);
	char number[UNITS_TEXT_BYTES], of[UNITS_TEXT_BYTES], found[BATCH_FOUND_BYTES];

	left = counts->mailboxes[BATCH_WAITING] + counts->mailboxes[BATCH_DRAINED] +
	       counts->mailboxes[BATCH_RUNNING];
	fputs("<p class=verdict>", to);
	if (report->dry_run)
		fprintf(to, "Dry run: %s. ", batch_report_found(counts, found));
	fprintf(to, "%s of %s mailboxes are done.",
		batch_report_number(number, counts->mailboxes[BATCH_DONE]),
		batch_report_number(of, total));
	if (look)
		fprintf(to, " <b>%s need%s attention.</b>", batch_report_number(number, look),
			look == 1 ? "s" : "");
	if (left)
		fprintf(to, " %s %s left: run the same command again, it goes on where it stopped.",
			batch_report_number(number, left), left == 1 ? "is" : "are");
	fputs("</p>\n", to);
}

static void card(FILE *to, const char *term, const char *value, const char *more)
{
	fprintf(to, "<div><dt>%s</dt><dd><b>%s</b><span>%s</span></dd></div>\n", term, value, more);
}

static void write_found(const struct batch_counts *counts, FILE *to)
{
	char value[UNITS_TEXT_BYTES];

	card(to, "Messages found", batch_report_number(value, counts->messages_known),
	     "dry run: none is moved");
	if (counts->bytes_known)
		card(to, "Data found", units_bytes(value, counts->bytes_known), "none is moved");
}

static void write_moved(const struct batch_counts *counts, FILE *to)
{
	char value[UNITS_TEXT_BYTES], first[UNITS_TEXT_BYTES], second[UNITS_TEXT_BYTES];
	char more[2 * UNITS_TEXT_BYTES + 64];

	snprintf(more, sizeof more, "%s by earlier runs, %s skipped",
		 batch_report_number(first, counts->messages_before),
		 batch_report_number(second, counts->messages_skipped));
	card(to, "Messages moved", batch_report_number(value, counts->messages_moved), more);
	snprintf(more, sizeof more, "of %s announced", units_bytes(first, counts->bytes_known));
	card(to, "Data moved", units_bytes(value, counts->bytes_moved), more);
	snprintf(value, sizeof value, "%.0f/s",
		 units_rate(counts->messages_moved, counts->elapsed));
	snprintf(more, sizeof more, "messages; %s/s",
		 units_bytes(first, (uint64_t)units_rate(counts->bytes_moved, counts->elapsed)));
	card(to, "Speed on average", value, more);
}

static void write_left_out(const struct batch_counts *counts, FILE *to)
{
	char value[UNITS_TEXT_BYTES], folders[UNITS_TEXT_BYTES];
	char more[UNITS_TEXT_BYTES + 64];

	if (!counts->messages_left_out && !counts->folders_left_out)
		return;
	snprintf(more, sizeof more, "by the filter, and %s folder%s",
		 batch_report_number(folders, counts->folders_left_out),
		 units_plural(counts->folders_left_out));
	card(to, "Messages left out", batch_report_number(value, counts->messages_left_out), more);
}

static void write_cards(const struct batch_report *report, FILE *to)
{
	const struct batch_counts *counts = report->counts;
	char value[UNITS_TEXT_BYTES], first[UNITS_TEXT_BYTES];
	char more[UNITS_TEXT_BYTES + 64];

	fputs("<dl class=cards>\n", to);
	(report->dry_run ? write_found : write_moved)(counts, to);
	card(to, "Time", units_duration(value, counts->elapsed),
	     counts->draining ? "stopped as asked" : "from start to end");
	snprintf(value, sizeof value, "%.1f %%", batch_report_throttled(counts) * 100);
	snprintf(more, sizeof more, "of the time, as hosts asked; %s reconnect%s",
		 batch_report_number(first, counts->reconnects), units_plural(counts->reconnects));
	card(to, "Throttled", value, more);
	if (counts->messages_doubtful)
		card(to, "Doubtful messages", batch_report_number(value, counts->messages_doubtful),
		     "stored but not as sent");
	if (counts->messages_found)
		card(to, "Not sent", batch_report_number(value, counts->messages_found),
		     "of the moved ones: they were there already");
	if (counts->messages_wrapped)
		card(to, "Wrapped messages", batch_report_number(value, counts->messages_wrapped),
		     "stored inside others");
	write_left_out(counts, to);
	fputs("</dl>\n", to);
}

/* States in the order in which they are read: well, less well, not yet. */
static const enum batch_state states_shown[] = { BATCH_DONE,   BATCH_INCOMPLETE, BATCH_DOUBTFUL,
						 BATCH_FAILED, BATCH_RUNNING,	 BATCH_DRAINED,
						 BATCH_WAITING };

static void write_swatch(enum batch_state state, FILE *to)
{
	fprintf(to,
		"<svg viewBox=\"0 0 10 10\" aria-hidden=true><circle class=%s cx=5 cy=5 r=5 "
		"/></svg>",
		batch_state_name(state));
}

static void write_states(const struct batch_counts *counts, FILE *to)
{
	uint64_t total = max_u64(batch_report_total(counts), 1);
	char number[UNITS_TEXT_BYTES];
	double x = 0;

	fputs("<svg class=bar viewBox=\"0 0 1000 10\" preserveAspectRatio=none role=img>"
	      "<title>Mailboxes by state</title><desc>The list below says the same.</desc>\n",
	      to);
	for (size_t i = 0; i < ARRAY_COUNT(states_shown); i++) {
		uint64_t count = counts->mailboxes[states_shown[i]];
		double width = 1000 * (double)count / (double)total;

		if (count)
			fprintf(to, "<rect class=%s x=%.2f y=0 width=%.2f height=10 />\n",
				batch_state_name(states_shown[i]), x, width);
		x += width;
	}
	fputs("</svg>\n<ul class=legend>\n", to);
	for (size_t i = 0; i < ARRAY_COUNT(states_shown); i++) {
		uint64_t count = counts->mailboxes[states_shown[i]];

		if (!count)
			continue;
		fputs("<li>", to);
		write_swatch(states_shown[i], to);
		fprintf(to, "%s %s</li>\n", batch_report_number(number, count),
			batch_state_name(states_shown[i]));
	}
	fputs("</ul>\n", to);
}

static void write_errors(const struct batch_counts *counts, FILE *to)
{
	char number[UNITS_TEXT_BYTES];
	bool any = false;

	for (unsigned e = OK + 1; e < ERR_COUNT; e++) {
		if (!counts->errors[e])
			continue;
		if (!any)
			fputs("<h2>What stopped attempts</h2>\n<div class=scroll><table>\n<thead>"
			      "<tr><th scope=col>Reason</th><th scope=col>Name</th>"
			      "<th scope=col class=n>Times</th></tr></thead>\n<tbody>\n",
			      to);
		any = true;
		fputs("<tr><th scope=row>", to);
		batch_html_text(to, err_text((enum err)e));
		fprintf(to, "</th><td>%s</td><td class=n data-v=%llu>%s</td></tr>\n",
			err_name((enum err)e), (unsigned long long)counts->errors[e],
			batch_report_number(number, counts->errors[e]));
	}
	if (any)
		fputs("</tbody></table></div>\n", to);
}

/* ---- the mailboxes ---- */

/* A long one breaks in front of its host first. */
static void write_source(const char *source, FILE *to)
{
	const char *host = strrchr(source, '@');
	char user[TEXT_SHOWN_BYTES];

	if (host && (size_t)(host - source) < sizeof user) {
		snprintf(user, sizeof user, "%.*s", (int)(host - source), source);
		batch_html_text(to, user);
		fputs("<wbr>", to);
		source = host;
	}
	batch_html_text(to, source);
}

static void write_why(const struct batch_mailbox *mailbox, FILE *to)
{
	char reason[BATCH_REASON_BYTES];
	const char *next = batch_report_next_step(mailbox);

	fputs("<td class=why>", to);
	batch_html_text(to, batch_report_reason(mailbox, reason));
	if (*mailbox->note) {
		fputs("<span>", to);
		batch_html_text(to, mailbox->note);
		fputs("</span>", to);
	}
	if (batch_report_rank(mailbox) <= BATCH_RANK_STUCK && *next) {
		fputs("<span>Next: ", to);
		batch_html_text(to, next);
		fputs(".</span>", to);
	}
	fputs("</td>", to);
}

static void write_row(const struct batch_mailbox *mailbox, FILE *to)
{
	char shown[UNITS_TEXT_BYTES];

	fputs("<tr><td class=s>", to);
	write_swatch(mailbox->state, to);
	fprintf(to, "%s</td><th scope=row>", batch_state_name(mailbox->state));
	write_source(mailbox->source, to);
	fputs("</th>", to);
	write_why(mailbox, to);
	fprintf(to, "<td class=n data-v=%llu>%s</td>",
		(unsigned long long)(mailbox->messages_moved + mailbox->messages_before),
		batch_report_number(shown, mailbox->messages_moved + mailbox->messages_before));
	fprintf(to, "<td class=n data-v=%llu>%s</td>", (unsigned long long)mailbox->bytes_moved,
		units_bytes(shown, mailbox->bytes_moved));
	fprintf(to, "<td class=n data-v=%lld>%s</td>", (long long)mailbox->duration,
		mailbox->duration ? units_duration(shown, mailbox->duration) : "");
	fprintf(to, "<td class=n data-v=%u>%u</td><td class=wave>", mailbox->attempts,
		mailbox->attempts);
	batch_html_text(to, mailbox->wave ? mailbox->wave : "");
	fprintf(to, "</td><td class=n data-v=%u>%u</td></tr>\n", mailbox->line, mailbox->line);
}

static size_t write_rows(const struct batch_report *report, FILE *to)
{
	struct batch_mailbox mailbox;
	size_t shown = 0;

	for (unsigned rank = 0; rank < BATCH_RANKS; rank++)
		for (size_t i = 0; i < report->rows.count && shown < BATCH_HTML_ROWS_MAX; i++)
			if (report->rows.next(report->rows.context, i, &mailbox) &&
			    batch_report_rank(&mailbox) == (enum batch_rank)rank) {
				write_row(&mailbox, to);
				shown++;
			}
	return shown;
}

static void write_table(const struct batch_report *report, FILE *to)
{
	char number[UNITS_TEXT_BYTES];
	size_t shown;

	fputs("<h2>Mailboxes</h2>\n<div class=scroll tabindex=0 role=region aria-label=Mailboxes>"
	      "<table>\n<thead><tr><th scope=col>State</th><th scope=col>Mailbox</th>"
	      "<th scope=col>Reason and next step</th><th scope=col class=n>Messages</th>"
	      "<th scope=col class=n>Data</th><th scope=col class=n>Took</th>"
	      "<th scope=col class=n>Attempts</th><th scope=col>Wave</th>"
	      "<th scope=col class=n>Line</th></tr></thead>\n<tbody>\n",
	      to);
	shown = write_rows(report, to);
	fputs("</tbody></table></div>\n", to);
	if (shown == report->rows.count)
		return;
	fprintf(to, "<p class=soft>And %s more: all rows are in the CSV report",
		batch_report_number(number, report->rows.count - shown));
	if (report->csv_path && *report->csv_path) {
		fputs(", ", to);
		batch_html_text(to, report->csv_path);
	}
	fputs(".</p>\n", to);
}

void batch_html(const struct batch_report *report, FILE *to)
{
	char started[UNITS_TEXT_BYTES];

	write_head(report, to);
	fputs("<main>\n<h1>", to);
	batch_html_text(to, report->name);
	fprintf(to, "</h1>\n<p class=soft>Started %s</p>\n",
		units_wall(started, report->counts->started_wall_s));
	write_verdict(report, to);
	write_cards(report, to);
	write_states(report->counts, to);
	batch_html_plots(report, to);
	write_errors(report->counts, to);
	batch_html_paths(report, to);
	write_table(report, to);
	fprintf(to, "</main>\n<footer><p class=soft>Exit code %d. mailhaul ", report->exit_code);
	batch_html_text(to, program_version);
	fprintf(to, "</p></footer>\n<script>%s</script>\n</body>\n</html>\n", batch_html_script);
}
