/* What `mailhaul status` says of one look at a ledger, for people and for programs. It is handed
 * what was read; reading, waiting and the terminal are status.c's. */
#ifndef MAILHAUL_TOOLS_STATUS_VIEW_H
#define MAILHAUL_TOOLS_STATUS_VIEW_H

#include <stdio.h>

#include "engine/ledger.h"
#include "tools/batch_report.h"
#include "tools/json_out.h"
#include "tools/log_ids.h"

enum status_life {
	STATUS_NO_RUN,
	STATUS_RUNNING,
	STATUS_ENDED,
	STATUS_INTERRUPTED, /* it was killed, or its machine was */
};

/* So many mailboxes are named of those that need attention for the same reason. */
enum { STATUS_VIEW_KIND_SHOWN = 5 };

struct status_row;

struct status_view {
	bool all;		   /* every mailbox, not only those that need attention */
	const struct log_ids *ids; /* borrowed; NULL: there are none */
	bool is_free;		   /* nobody holds the ledger: a run in it was interrupted */
	/* own */
	struct ledger_run run;
	enum status_life life;
	int64_t now_wall_s;
	double messages_per_second, bytes_per_second; /* now, or of the whole run */
	int64_t sample_started_wall_s;		      /* an earlier look at the same run */
	nsec sample_at;
	uint64_t sample_messages, sample_bytes;
	struct ledger_totals totals; /* of all mailboxes, all runs */
	uint64_t mailboxes, need_attention;
	uint32_t kinds[BATCH_RANK_STUCK + 1][ERR_COUNT];
	struct status_row *rows;
	size_t rows_count, rows_room;
	bool failed; /* no memory for a row */
};

/* A new look, at monotonic time `now`: what the one before found is forgotten, but for the speed. A
 * run without a start is none. */
void status_view_begin(struct status_view *, const struct ledger_run *, nsec now,
		       int64_t now_wall_s);
void status_view_add(struct status_view *, const struct ledger_status_mailbox *);
void status_view_text(const struct status_view *, FILE *);
void status_view_json_mailbox(const struct status_view *, const struct ledger_status_mailbox *,
			      struct json_out *);
void status_view_json_run(const struct status_view *, struct json_out *);
void status_view_close(struct status_view *);

/* The keys of both objects, for the help text. */
extern const char status_view_json_keys[];

#endif
