/* A batch made up for tests of its reports: a thousand ways to end, names that mean harm. */
#ifndef MAILHAUL_TESTS_BATCH_ROWS_H
#define MAILHAUL_TESTS_BATCH_ROWS_H

#include <stdlib.h>

#include "tools/batch_report.h"

#define HOSTILE "imaps://<script>alert(1)</script>\"'&@old.example/"

/* Rows by index, without a table: every 97th fails, and so on. */
static inline bool made_up_row(void *context, size_t index, struct batch_mailbox *out)
{
	static char names[8][80];
	char *name = names[index % 8];

	(void)context;
	*out = (struct batch_mailbox){ .target = "file:///var/archive", .wave = "pilot" };
	snprintf(name, sizeof names[0], "imaps://user%05zu@mail.old.example/", index);
	out->source = index == 3 ? HOSTILE : name;
	out->line = (uint32_t)index + 2;
	out->attempts = 1;
	out->state = BATCH_DONE;
	out->duration = (nsec)(index * index % 7919 + 20) * NSEC_SECOND / 4;
	out->messages_known = out->messages_moved = 50 + index * 31 % 4000;
	out->bytes_known = out->bytes_moved = out->messages_moved * (20000 + index % 90000);
	if (index % 97 == 3) {
		out->state = BATCH_FAILED;
		out->error = index % 2 ? ERR_IMAP_LOGIN : ERR_NET_TIMEOUT;
		out->exit_code = err_exit_code(out->error);
		out->messages_moved = out->bytes_moved = 0;
		snprintf(out->note, sizeof out->note, "logging in to mail.old.example as user %zu",
			 index);
	} else if (index % 131 == 7) {
		out->state = BATCH_INCOMPLETE;
		out->exit_code = EXIT_INCOMPLETE;
		out->messages_skipped = 2;
		out->folders_skipped = 1;
	} else if (index % 1009 == 11) {
		out->state = BATCH_DOUBTFUL;
		out->exit_code = EXIT_MISMATCH;
		out->messages_doubtful = 1;
	} else if (index % 53 == 5) {
		out->state = BATCH_WAITING;
		out->attempts = 0;
		out->duration = 0;
		out->messages_known = out->messages_moved = out->bytes_known = out->bytes_moved = 0;
	}
	return true;
}

static inline void made_up_counts(size_t count, struct batch_counts *counts)
{
	static const struct batch_counts zero;
	struct batch_mailbox mailbox;

	*counts = zero;
	for (size_t i = 0; i < count; i++) {
		(void)made_up_row(NULL, i, &mailbox);
		counts->mailboxes[mailbox.state]++;
		counts->messages_known += mailbox.messages_known;
		counts->messages_moved += mailbox.messages_moved;
		counts->messages_skipped += mailbox.messages_skipped;
		counts->messages_doubtful += mailbox.messages_doubtful;
		counts->bytes_known += mailbox.bytes_known;
		counts->bytes_moved += mailbox.bytes_moved;
		counts->errors[mailbox.error] += mailbox.error != OK;
		counts->ran += mailbox.duration;
	}
	counts->throttled = counts->ran / 9;
	counts->started_wall_s = 1767225600;
	counts->elapsed = (nsec)count * NSEC_SECOND * 2 + NSEC_SECOND;
	counts->window_closes_wall_s = INT64_MAX;
	counts->reconnects = 12;
}

static inline struct batch_report made_up_report(size_t count, struct batch_counts *counts)
{
	made_up_counts(count, counts);
	return (struct batch_report){ .name = "office-a <b>nights</b>",
				      .csv_path = "/var/lib/mailhaul/office-a.csv",
				      .exit_code = EXIT_INCOMPLETE,
				      .counts = counts,
				      .rows = { made_up_row, NULL, count } };
}

/* What a form writes, in memory; the caller frees it. */
static inline char *written(const struct batch_report *report, batch_report_writer *form)
{
	static char *text; /* open_memstream keeps the address of it */
	static size_t bytes;
	FILE *to = open_memstream(&text, &bytes);

	must(to);
	form(report, to);
	must(fclose(to) == 0);
	return text;
}

static inline size_t times(const char *in, const char *what)
{
	size_t count = 0;

	for (const char *at = in; (at = strstr(at, what)); at += strlen(what))
		count++;
	return count;
}

#endif
