/* How a batch ends: its exit code, its reports, and the one line that says why. */
#include <stdio.h>

#include "tools/batch_html.h"
#include "tools/batch_report.h"
#include "tools/commands.h"
#include "tools/hints.h"
#include "tools/run.h"

static bool report_row(void *context, size_t index, struct batch_mailbox *out)
{
	return batch_row(((struct run *)context)->batch, index, out);
}

static const struct bucket_watch *bucket(void *context, size_t index)
{
	const struct run_hold *hold = ((const struct run *)context)->holds;

	while (hold && (!hold->watch || index-- > 0))
		hold = hold->next;
	return hold ? hold->watch : NULL;
}

/* A lone mailbox has its own code; of several causes the gravest counts. */
int run_exit_code(const struct run *run, const struct batch_counts *counts)
{
	struct batch_mailbox lone;

	if (run->stopped && counts->mailboxes[BATCH_DOUBTFUL] == 0)
		return err_exit_code(run->stopped);
	if (counts->mailboxes[BATCH_DOUBTFUL])
		return EXIT_MISMATCH;
	if (batch_size(run->batch) == 1 && batch_row(run->batch, 0, &lone) &&
	    lone.state != BATCH_WAITING)
		return lone.exit_code;
	if (counts->mailboxes[BATCH_DRAINED] || counts->mailboxes[BATCH_WAITING])
		return EXIT_LATER;
	if (counts->mailboxes[BATCH_FAILED] || counts->mailboxes[BATCH_INCOMPLETE])
		return EXIT_INCOMPLETE;
	return EXIT_ALL_MOVED;
}

static enum err save_reports(const struct run *run, const struct batch_report *report)
{
	const struct job_outputs *outputs = &run->job->outputs;
	const struct {
		const char *path;
		batch_report_writer *writer;
	} files[] = { { outputs->text, batch_report_text },
		      { outputs->json, batch_report_json },
		      { outputs->csv, batch_report_csv },
		      { outputs->html, batch_html } };
	enum err e = OK, saved;

	for (size_t i = 0; i < ARRAY_COUNT(files); i++) {
		if (!*files[i].path)
			continue;
		saved = batch_report_save(report, files[i].path, files[i].writer);
		if (saved)
			hint_fail("run", saved);
		e = e ? e : saved;
	}
	return e;
}

static void say_why(const struct run *run, const struct batch_counts *counts, int exit_code)
{
	char sentence[ERR_NOTE_BYTES_MAX * 4], opens[WINDOW_TEXT_BYTES];
	/* It may still be open: draining begins before its end. */
	int64_t closed_at =
		run->window.open ? run->window.changes_at_s : clock_wall() / NSEC_SECOND;
	uint64_t left = counts->mailboxes[BATCH_WAITING] + counts->mailboxes[BATCH_DRAINED];

	if (run->stopped)
		fprintf(stderr, "mailhaul: run: %s.\n",
			hint_sentence(run->stopped, &run->stopped_note, sentence, sizeof sentence));
	else if (exit_code == EXIT_LATER && run->window_is_closing)
		fprintf(stderr,
			"mailhaul: run: the window is over, %llu mailboxes are left; the run %s. "
			"Run the same command then: it goes on where it stopped.\n",
			(unsigned long long)left,
			window_describe(run->job->window, closed_at, opens));
	else if (exit_code == EXIT_LATER)
		fprintf(stderr,
			"mailhaul: run: %s, with everything in flight finished; %llu mailboxes are "
			"left. Run the same command again: it goes on where it stopped.\n",
			bucket_stop_words(), (unsigned long long)left);
	else if (exit_code)
		fprintf(stderr,
			"mailhaul: run: %llu mailboxes failed, %llu are incomplete, %llu doubtful. "
			"The report names each, why, and what to do.\n",
			(unsigned long long)counts->mailboxes[BATCH_FAILED],
			(unsigned long long)counts->mailboxes[BATCH_INCOMPLETE],
			(unsigned long long)counts->mailboxes[BATCH_DOUBTFUL]);
}

int run_conclude(struct run *run)
{
	struct batch_counts counts;
	struct batch_report report = {
		.name = run->job->name,
		.csv_path = run->job->outputs.csv,
		.counts = &counts,
		.dry_run = run->options.dry_run,
		.series = &run->series,
		.endpoints = &run->endpoints,
		.paths = &run->paths,
		.aws_record = run->record,
		.bucket = bucket,
		.bucket_context = run,
		.rows = { report_row, run, batch_size(run->batch) },
	};

	run_counts(run, &counts);
	run->counters.payload_bytes = counts.bytes_moved;
	report.counters = run->options.stats ? &run->counters : NULL;
	report.exit_code = run_exit_code(run, &counts);
	if (run->options.json)
		batch_report_json(&report, stdout);
	else
		batch_report_text(&report, stdout);
	if (run->options.stats && !run->options.json)
		counters_text(&run->counters, stderr);
	if (save_reports(run, &report) && report.exit_code == EXIT_ALL_MOVED)
		report.exit_code = EXIT_IO;
	say_why(run, &counts, report.exit_code);
	return command_finish_output("run", report.exit_code);
}
