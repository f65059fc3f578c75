/* What a batch did, told at its end: for people (text), for machines (JSON), for spreadsheets
 * (CSV); batch_html.h tells it as a page. Rows are asked for one by one, so nothing here grows with
 * the number of mailboxes. The reports name mailboxes: files are made with mode 0600. */
#ifndef MAILHAUL_TOOLS_BATCH_REPORT_H
#define MAILHAUL_TOOLS_BATCH_REPORT_H

#include <stdio.h>

#include "engine/batch.h"
#include "tools/units.h"

/* The mailboxes of a batch, by index below `count`, in any order and more than once. `next` gives a
 * copy; false: there is none any more. */
struct batch_rows {
	bool (*next)(void *context, size_t index, struct batch_mailbox *out);
	void *context;
	size_t count;
};

struct counters;     /* tools/counters.h */
struct endpoints;    /* tools/endpoints.h */
struct series;	     /* tools/series.h */
struct paths;	     /* tools/paths.h */
struct aws_record;   /* tools/aws_record.h */
struct bucket_watch; /* tools/bucket_watch.h */

struct batch_report {
	const char *name; /* of the batch */
	const char
		*csv_path; /* where all rows are, told where some are left out; "" or NULL: none */
	int exit_code;	   /* of the run */
	bool dry_run;	   /* it only looked: told is what would be moved */
	const struct batch_counts *counts;   /* all borrowed */
	const struct series *series;	     /* for the page's plots; may be NULL */
	const struct endpoints *endpoints;   /* it met; may be NULL */
	const struct paths *paths;	     /* of its connections; may be NULL */
	const struct aws_record *aws_record; /* NULL: AWS is not asked */
	const struct counters *counters;     /* for the JSON form; NULL: not asked for */
	/* Of targets in buckets, by index; NULL behind the last. The function may be NULL. */
	const struct bucket_watch *(*bucket)(void *context, size_t index);
	void *bucket_context;
	struct batch_rows rows;
};

enum { BATCH_REPORT_WORST_SHOWN = 50, BATCH_REPORT_SLOWEST_SHOWN = 10 };

/* One of the forms of the report. Faults of the file stay in it (ferror). */
typedef void batch_report_writer(const struct batch_report *, FILE *);

/* Totals, what needs attention with its reason and what to do next (the first
 * BATCH_REPORT_WORST_SHOWN), the slowest, rates. Its length is bounded. */
batch_report_writer batch_report_text;

/* One object. Keys stay; later versions may add some:
 *   batch, version, started (UTC), elapsed_s, exit_code, drained (stopped before all were done),
 *   dry_run (nothing was written)
 *   totals: {mailboxes: {total, and one per state}, messages: {known, moved, before, skipped,
 *     doubtful, left_out (by the filter), found, wrapped}, folders_left_out, bytes: {known, moved},
 *     messages_per_second, bytes_per_second, throttled_share (0..1), reconnects,
 *     errors: {NAME: how often it stopped an attempt}}
 *   mailboxes: [{source, target, wave, line, state, exit_code, error (NAME or null), reason, note,
 *     next_step, attempts, duration_s, messages: {known, moved, before, skipped, doubtful,
 *     left_out, found, wrapped}, bytes: {known, moved}, folders_skipped, folders_left_out}]
 *   endpoints, endpoint_connections_left_out, residency: as endpoints_json() (tools/endpoints.h)
 *     writes them
 *   paths: as paths_json() (tools/paths.h) writes it
 *   aws_requests: as aws_record_json() (tools/aws_record.h) writes it; only where AWS was asked
 *   buckets: an array of what bucket_watch_json() (tools/bucket_watch.h) writes; as aws_requests
 *   stats: with --stats only: counters; memory: {per part: {high, bound}, high, bound, promised} */
batch_report_writer batch_report_json;

/* RFC 4180, UTF-8, a header and one row per mailbox. A text that a spreadsheet would take for a
 * formula begins with an apostrophe. */
batch_report_writer batch_report_csv;

/* Write to `path`: under a temporary name beside it, made durable, then renamed over it, so that a
 * reader finds a whole report or the one before. What is no regular file (/dev/stdout, a pipe) is
 * written to as it is. Blocks.
 * returns     OK | ERR_DISK_*; the note names the file */
enum err batch_report_save(const struct batch_report *, const char *path,
			   batch_report_writer *) MUST_CHECK;

/* ---- what the forms share ---- */

/* How urgently somebody should look: most urgent first. Up to BATCH_RANK_STUCK a mailbox needs
 * attention; the rest goes on by itself or is well. */
enum batch_rank {
	BATCH_RANK_DOUBTFUL,
	BATCH_RANK_FAILED,
	BATCH_RANK_INCOMPLETE,
	BATCH_RANK_STUCK, /* drained or waiting after an error */
	BATCH_RANK_DRAINED,
	BATCH_RANK_RUNNING,
	BATCH_RANK_WAITING,
	BATCH_RANK_DONE,
	BATCH_RANKS
};
enum batch_rank batch_report_rank(const struct batch_mailbox *);

/* Why it did not end well, without the note; "" of a mailbox that did. Valid as long as `to`. */
enum { BATCH_REASON_BYTES = 256 };
char *batch_report_reason(const struct batch_mailbox *, char to[BATCH_REASON_BYTES]);
/* A sentence without its full stop; "" where nothing is to be done. */
const char *batch_report_next_step(const struct batch_mailbox *);
uint64_t batch_report_total(const struct batch_counts *);
/* Of a dry run: "40 messages in 3 mailboxes, 1.2 MB; nothing was written". Returns `to`. */
enum { BATCH_FOUND_BYTES = 3 * UNITS_TEXT_BYTES + 80 };
char *batch_report_found(const struct batch_counts *, char to[BATCH_FOUND_BYTES]);
/* 0..1 of the time that mailboxes ran or waited. */
double batch_report_throttled(const struct batch_counts *);
/* "1,203,442". */
char *batch_report_number(char to[UNITS_TEXT_BYTES], uint64_t);

#endif
