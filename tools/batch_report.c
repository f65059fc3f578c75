#include "tools/batch_report.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/aws_record.h"
#include "tools/bucket_watch.h"
#include "tools/commands.h"
#include "tools/confinement.h"
#include "tools/counters.h"
#include "tools/endpoints.h"
#include "tools/hints.h"
#include "tools/json_out.h"
#include "tools/paths.h"
#include "tools/terminal.h"

/* ---- what the forms share ---- */

enum batch_rank batch_report_rank(const struct batch_mailbox *mailbox)
{
	switch (mailbox->state) {
	case BATCH_DOUBTFUL:
		return BATCH_RANK_DOUBTFUL;
	case BATCH_FAILED:
		return BATCH_RANK_FAILED;
	case BATCH_INCOMPLETE:
		return BATCH_RANK_INCOMPLETE;
	case BATCH_DRAINED:
		return mailbox->error ? BATCH_RANK_STUCK : BATCH_RANK_DRAINED;
	case BATCH_WAITING:
		return mailbox->error ? BATCH_RANK_STUCK : BATCH_RANK_WAITING;
	case BATCH_RUNNING:
		return BATCH_RANK_RUNNING;
	case BATCH_DONE:
	case BATCH_STATES:
		break;
	}
	return BATCH_RANK_DONE;
}

char *batch_report_reason(const struct batch_mailbox *mailbox, char to[BATCH_REASON_BYTES])
{
	to[0] = '\0';
	if (mailbox->state == BATCH_DOUBTFUL)
		snprintf(to, BATCH_REASON_BYTES, "%llu message%s stored but not as sent",
			 (unsigned long long)mailbox->messages_doubtful,
			 mailbox->messages_doubtful == 1 ? " is" : "s are");
	else if (mailbox->error)
		snprintf(to, BATCH_REASON_BYTES, "%s", err_text(mailbox->error));
	else if (mailbox->state == BATCH_INCOMPLETE)
		snprintf(to, BATCH_REASON_BYTES, "%llu message%s and %llu folder%s were not moved",
			 (unsigned long long)mailbox->messages_skipped,
			 units_plural(mailbox->messages_skipped),
			 (unsigned long long)mailbox->folders_skipped,
			 units_plural(mailbox->folders_skipped));
	else if (mailbox->state == BATCH_DRAINED)
		snprintf(to, BATCH_REASON_BYTES, "stopped as asked before its end");
	return to;
}

const char *batch_report_next_step(const struct batch_mailbox *mailbox)
{
	switch (batch_report_rank(mailbox)) {
	case BATCH_RANK_DOUBTFUL:
		return "Run mailhaul verify on the target";
	case BATCH_RANK_INCOMPLETE:
		return "Copy this mailbox alone with the same target and --state: its report names "
		       "each message and folder; everything else is moved";
	case BATCH_RANK_FAILED:
	case BATCH_RANK_STUCK:
		if (mailbox->error)
			return hint_for(mailbox->error);
		/* fall through */
	case BATCH_RANK_DRAINED:
	case BATCH_RANK_WAITING:
		return "Run the same command again: it goes on where it stopped";
	case BATCH_RANK_RUNNING:
	case BATCH_RANK_DONE:
	case BATCH_RANKS:
		break;
	}
	return "";
}

uint64_t batch_report_total(const struct batch_counts *counts)
{
	uint64_t total = 0;

	for (unsigned state = 0; state < BATCH_STATES; state++)
		total += counts->mailboxes[state];
	return total;
}

char *batch_report_found(const struct batch_counts *counts, char to[BATCH_FOUND_BYTES])
{
	uint64_t mailboxes = batch_report_total(counts);
	char messages[UNITS_TEXT_BYTES], boxes[UNITS_TEXT_BYTES], bytes[UNITS_TEXT_BYTES];

	/* Servers without STATUS=SIZE (RFC 8438) do not say how large a folder is. */
	snprintf(to, BATCH_FOUND_BYTES, "%s message%s in %s mailbox%s, %s; nothing was written",
		 batch_report_number(messages, counts->messages_known),
		 units_plural(counts->messages_known), batch_report_number(boxes, mailboxes),
		 mailboxes == 1 ? "" : "es",
		 counts->bytes_known || !counts->messages_known
			 ? units_bytes(bytes, counts->bytes_known)
			 : "sizes not known before they are moved");
	return to;
}

double batch_report_throttled(const struct batch_counts *counts)
{
	double both = (double)counts->throttled + (double)counts->ran;

	return both > 0 ? (double)counts->throttled / both : 0;
}

char *batch_report_number(char to[UNITS_TEXT_BYTES], uint64_t number)
{
	char digits[24];
	int count = snprintf(digits, sizeof digits, "%llu", (unsigned long long)number);
	size_t used = 0;

	for (int i = 0; i < count; i++) {
		if (i && (count - i) % 3 == 0)
			to[used++] = ',';
		to[used++] = digits[i];
	}
	must(used < UNITS_TEXT_BYTES);
	to[used] = '\0';
	return to;
}

static const char *error_name(const struct batch_mailbox *mailbox)
{
	return mailbox->error ? err_name(mailbox->error) : "";
}

static double seconds(nsec duration)
{
	return (double)duration / (double)NSEC_SECOND;
}

/* ---- JSON ---- */

static void json_messages(struct json_out *json, uint64_t known, uint64_t moved, uint64_t before,
			  uint64_t skipped, uint64_t doubtful, uint64_t left_out, uint64_t found,
			  uint64_t wrapped, const struct batch_changes *changes)
{
	json_object_begin(json, "messages");
	json_number(json, "known", known);
	json_number(json, "moved", moved);
	json_number(json, "found", found);
	json_number(json, "before", before);
	json_number(json, "skipped", skipped);
	json_number(json, "doubtful", doubtful);
	json_number(json, "left_out", left_out);
	json_number(json, "wrapped", wrapped);
	json_number(json, "reflagged", changes->reflagged);
	json_number(json, "vanished", changes->vanished);
	json_number(json, "renumbered", changes->renumbered);
	json_number(json, "flags_carried", changes->flags.carried);
	json_number(json, "flags_changed_on_both_sides", changes->flags.merged);
	json_number(json, "flags_of_messages_gone", changes->flags.gone);
	json_number(json, "flags_not_carried", changes->flags.refused);
	json_object_end(json);
}

static void json_bytes(struct json_out *json, uint64_t known, uint64_t moved)
{
	json_object_begin(json, "bytes");
	json_number(json, "known", known);
	json_number(json, "moved", moved);
	json_object_end(json);
}

static void json_totals(struct json_out *json, const struct batch_counts *counts)
{
	json_object_begin(json, "totals");
	json_object_begin(json, "mailboxes");
	json_number(json, "total", batch_report_total(counts));
	for (unsigned state = 0; state < BATCH_STATES; state++)
		json_number(json, batch_state_name((enum batch_state)state),
			    counts->mailboxes[state]);
	json_object_end(json);
	json_messages(json, counts->messages_known, counts->messages_moved, counts->messages_before,
		      counts->messages_skipped, counts->messages_doubtful,
		      counts->messages_left_out, counts->messages_found, counts->messages_wrapped,
		      &counts->changes);
	json_number(json, "folders_left_out", counts->folders_left_out);
	json_bytes(json, counts->bytes_known, counts->bytes_moved);
	json_number_decimal(json, "messages_per_second",
			    units_rate(counts->messages_moved, counts->elapsed));
	json_number_decimal(json, "bytes_per_second",
			    units_rate(counts->bytes_moved, counts->elapsed));
	json_number_decimal(json, "throttled_share", batch_report_throttled(counts));
	json_number(json, "reconnects", counts->reconnects);
	json_object_begin(json, "errors");
	for (unsigned e = OK + 1; e < ERR_COUNT; e++)
		if (counts->errors[e])
			json_number(json, err_name((enum err)e), counts->errors[e]);
	json_object_end(json);
	json_object_end(json);
}

static void json_mailbox(struct json_out *json, const struct batch_mailbox *mailbox)
{
	char reason[BATCH_REASON_BYTES];

	json_object_begin(json, NULL);
	json_text(json, "source", mailbox->source);
	json_text(json, "target", mailbox->target);
	json_text(json, "wave", mailbox->wave ? mailbox->wave : "");
	json_number(json, "line", mailbox->line);
	json_text(json, "state", batch_state_name(mailbox->state));
	json_signed(json, "exit_code", mailbox->exit_code);
	if (mailbox->error)
		json_text(json, "error", err_name(mailbox->error));
	else
		json_null(json, "error");
	json_text(json, "reason", batch_report_reason(mailbox, reason));
	json_text(json, "note", mailbox->note);
	json_text(json, "next_step", batch_report_next_step(mailbox));
	json_number(json, "attempts", mailbox->attempts);
	json_number_decimal(json, "duration_s", seconds(mailbox->duration));
	json_messages(json, mailbox->messages_known, mailbox->messages_moved,
		      mailbox->messages_before, mailbox->messages_skipped,
		      mailbox->messages_doubtful, mailbox->messages_left_out,
		      mailbox->messages_found, mailbox->messages_wrapped, &mailbox->changes);
	json_bytes(json, mailbox->bytes_known, mailbox->bytes_moved);
	json_number(json, "folders_skipped", mailbox->folders_skipped);
	json_number(json, "folders_left_out", mailbox->folders_left_out);
	json_object_end(json);
}

void batch_report_json(const struct batch_report *report, FILE *to)
{
	const struct batch_counts *counts = report->counts;
	struct json_out json = { .file = to };
	struct batch_mailbox mailbox;
	char started[UNITS_TEXT_BYTES];

	json_object_begin(&json, NULL);
	json_text(&json, "batch", report->name);
	json_text(&json, "version", program_version);
	json_text(&json, "started", units_wall(started, counts->started_wall_s));
	json_number_decimal(&json, "elapsed_s", seconds(counts->elapsed));
	json_signed(&json, "exit_code", report->exit_code);
	json_bool(&json, "drained", counts->draining);
	json_bool(&json, "dry_run", report->dry_run);
	confinement_json(&json);
	json_totals(&json, counts);
	if (report->endpoints)
		endpoints_json(report->endpoints, &json);
	if (report->paths)
		paths_json(report->paths, &json);
	if (report->aws_record)
		aws_record_json(report->aws_record, &json);
	if (report->bucket && report->bucket(report->bucket_context, 0)) {
		json_array_begin(&json, "buckets");
		for (size_t i = 0; report->bucket(report->bucket_context, i); i++)
			bucket_watch_json(report->bucket(report->bucket_context, i), &json);
		json_array_end(&json);
	}
	json_array_begin(&json, "mailboxes");
	for (size_t i = 0; i < report->rows.count; i++)
		if (report->rows.next(report->rows.context, i, &mailbox))
			json_mailbox(&json, &mailbox);
	json_array_end(&json);
	if (report->counters)
		counters_json(report->counters, &json);
	json_object_end(&json);
	json_line_end(&json);
}

/* ---- CSV ---- */

/* Every text stands in quotes, so no separator that a spreadsheet guesses (";", tab) cuts it. What
 * begins like a formula gets an apostrophe in front (OWASP, "CSV Injection"). */
static void csv_text(FILE *to, const char *value)
{
	struct text left = text_of(value ? value : "");
	uint32_t code;

	fputs(left.bytes && strchr("=+-@\t\r", *left.at) ? "\"'" : "\"", to);
	while (left.bytes) {
		size_t bytes = utf8_take(left, &code);

		if (*left.at == '"')
			fputc('"', to);
		if (bytes)
			fwrite(left.at, 1, bytes, to);
		else
			fputs("\xef\xbf\xbd", to); /* U+FFFD: the file stays UTF-8 */
		left.at += bytes ? bytes : 1;
		left.bytes -= bytes ? bytes : 1;
	}
	fputs("\",", to);
}

static void csv_row(FILE *to, const struct batch_mailbox *mailbox)
{
	char reason[BATCH_REASON_BYTES];
	const uint64_t numbers[] = {
		mailbox->messages_known,   mailbox->messages_moved,    mailbox->messages_before,
		mailbox->messages_skipped, mailbox->messages_doubtful, mailbox->folders_skipped,
		mailbox->bytes_known,	   mailbox->bytes_moved,       mailbox->messages_found,
		mailbox->messages_wrapped, mailbox->messages_left_out, mailbox->folders_left_out,
	};

	fprintf(to, "%u,", mailbox->line);
	csv_text(to, mailbox->source);
	csv_text(to, mailbox->target);
	csv_text(to, mailbox->wave);
	csv_text(to, batch_state_name(mailbox->state));
	fprintf(to, "%d,", mailbox->exit_code);
	csv_text(to, error_name(mailbox));
	csv_text(to, batch_report_reason(mailbox, reason));
	csv_text(to, mailbox->note);
	csv_text(to, batch_report_next_step(mailbox));
	fprintf(to, "%u,%.3f", mailbox->attempts, seconds(mailbox->duration));
	for (size_t i = 0; i < ARRAY_COUNT(numbers); i++)
		fprintf(to, ",%llu", (unsigned long long)numbers[i]);
	fputs("\r\n", to);
}

void batch_report_csv(const struct batch_report *report, FILE *to)
{
	struct batch_mailbox mailbox;

	fputs("line,source,target,wave,state,exit_code,error,reason,note,next_step,attempts,"
	      "duration_s,messages_known,messages_moved,messages_before,messages_skipped,"
	      "messages_doubtful,folders_skipped,bytes_known,bytes_moved,messages_found,"
	      "messages_wrapped,messages_left_out,folders_left_out\r\n",
	      to);
	for (size_t i = 0; i < report->rows.count; i++)
		if (report->rows.next(report->rows.context, i, &mailbox))
			csv_row(to, &mailbox);
}

/* ---- files ---- */

/* Whatever was lost on the way to the disk is told here: by the last write, the sync or the close.
 */
static enum err finish(FILE **file, bool durable, const char *path)
{
	bool failed = ferror(*file);
	int errno_value = fflush(*file) ? errno : failed ? EIO : 0;

	if (!errno_value && durable && fsync(fileno(*file)))
		errno_value = errno;
	if (fclose(*file) && !errno_value)
		errno_value = errno;
	*file = NULL;
	return errno_value ? RAISE_ERRNO(err_of_file_errno(errno_value), errno_value,
					 "writing the report %s", path)
			   : OK;
}

/* The new name must be as durable as the bytes. A file system that cannot sync a directory (EINVAL)
 * gives what it can, and a directory may be writable and not readable. */
static enum err sync_directory_of(const char *path)
{
	const char *slash = strrchr(path, '/');
	char *directory = slash ? strndup(path, (size_t)(slash - path) + 1) : strdup(".");
	int fd = directory ? open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	int errno_value = fd >= 0 && fsync(fd) && errno != EINVAL ? errno : 0;

	if (fd >= 0)
		close(fd);
	free(directory);
	return errno_value ? RAISE_ERRNO(err_of_file_errno(errno_value), errno_value,
					 "making the report %s durable", path)
			   : OK;
}

static enum err save_in_place(const struct batch_report *report, const char *path,
			      batch_report_writer *write_form)
{
	FILE *file = fopen(path, "we");

	if (!file)
		return RAISE_ERRNO(err_of_file_errno(errno), errno, "opening the report %s", path);
	write_form(report, file);
	return finish(&file, false, path);
}

/* `beside` becomes the temporary file's name. */
static enum err save_beside(const struct batch_report *report, char *beside, const char *path,
			    batch_report_writer *write_form)
{
	int fd = mkostemp(beside, O_CLOEXEC); /* mode 0600 */
	FILE *file = fd >= 0 ? fdopen(fd, "w") : NULL;
	enum err e;

	if (fd < 0)
		return RAISE_ERRNO(err_of_file_errno(errno), errno, "creating the report %s", path);
	if (!file) {
		e = RAISE(ERR_MEMORY_EXHAUSTED, "opening the report %s", path);
		close(fd);
		goto out;
	}
	write_form(report, file);
	if ((e = finish(&file, true, path)))
		goto out;
	if (rename(beside, path) == 0)
		return sync_directory_of(path);
	e = RAISE_ERRNO(err_of_file_errno(errno), errno, "putting the report %s in its place",
			path);
out:
	unlink(beside);
	return e;
}

enum err batch_report_save(const struct batch_report *report, const char *path,
			   batch_report_writer *write_form)
{
	char *followed, *beside = NULL;
	struct stat status;
	enum err e;

	if (stat(path, &status) == 0 && !S_ISREG(status.st_mode))
		return save_in_place(report, path, write_form);
	/* A symbolic link stays: what it names is replaced. NULL: there is no file yet. */
	followed = realpath(path, NULL);
	if (asprintf(&beside, "%s.XXXXXX", followed ? followed : path) < 0)
		e = RAISE(ERR_MEMORY_EXHAUSTED, "creating the report %s", path);
	else
		e = save_beside(report, beside, followed ? followed : path, write_form);
	free(beside);
	free(followed);
	return e;
}
