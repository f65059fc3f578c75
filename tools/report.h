/* What a copy did: collected while it goes on, told at its end as text or as one JSON object. */
#ifndef MAILHAUL_TOOLS_REPORT_H
#define MAILHAUL_TOOLS_REPORT_H

#include <stdio.h>

#include "engine/lane.h"
#include "tools/endpoints.h"
#include "tools/paths.h"

enum { REPORT_EXCEPTIONS_SHOWN = 20 };

struct aws_record;   /* tools/aws_record.h */
struct bucket_watch; /* tools/bucket_watch.h */
struct counters;     /* tools/counters.h */

struct report {
	const char *source, *target, *digest; /* as shown; borrowed */
	bool dry_run, drained;
	int64_t started_wall_s;
	nsec duration;
	const struct lane_progress *progress; /* borrowed */
	/* The ledger's view of the mailbox, all runs; valid when `totals_known`. */
	struct ledger_totals totals;
	bool totals_known;
	/* How the mailbox ended: OK, or what stopped it with the note of that. */
	enum err error;
	struct err_note note;
	const struct endpoints *endpoints;   /* NULL: not known; borrowed */
	const struct paths *paths;	     /* NULL: not known; borrowed */
	const struct aws_record *aws_record; /* NULL: AWS is not asked; borrowed */
	const struct bucket_watch *bucket;   /* the target's; NULL: it is in none */
	const struct counters *counters;     /* for the JSON form; NULL: not asked for; borrowed */
};

/* After the wish to drain: whether `e` stands for "stopped as asked". What would have been tried
 * again is not an answer of its own. */
bool report_is_given_up(enum err);

/* By the rule of several causes: 121, then the lone mailbox's own error, then 75, then 111. */
int report_exit_code(const struct report *);

/* One line that says why the exit code is not 0 and what to do next, without program name and line
 * end. Empty for 0. */
char *report_reason(const struct report *, char *to, size_t to_bytes);

/* The line of what became of messages moved before; none if nothing did. */
void report_text_changes(const struct batch_changes *, FILE *);

/* The line of what a filter left out, on purpose, so it is no part of what was not moved; none if
 * it left out nothing. */
void report_text_left_out(uint64_t folders, uint64_t messages, FILE *);

/* Skipped messages and folders come from the ledger, one by one, so memory does not grow with them.
 * The ledger may be NULL when no totals are known. Suspends. */
enum err report_text(const struct report *, struct ledger *, FILE *) MUST_CHECK;
enum err report_json(const struct report *, struct ledger *, FILE *) MUST_CHECK;

#endif
