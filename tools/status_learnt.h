/* What `mailhaul status` says of what hosts and accounts taught us: rests, connections, messages a
 * second, bytes of the last 24 hours. Reading the ledger is status.c's. */
#ifndef MAILHAUL_TOOLS_STATUS_LEARNT_H
#define MAILHAUL_TOOLS_STATUS_LEARNT_H

#include <stdio.h>

#include "engine/ledger.h"
#include "tools/json_out.h"

/* So many are shown unless all are asked for. */
enum { STATUS_LEARNT_SHOWN = 10 };

/* Zero-initialised is valid and empty. */
struct status_learnt {
	FILE *to; /* of text; NULL: JSON */
	struct json_out *json;
	bool all;
	int64_t now_wall_s;
	uint64_t shown, more;
};

/* One row of the ledger's lessons; those that say nothing any more are passed over. */
void status_learnt_add(struct status_learnt *, const struct ledger_lesson *);
/* After the last one. */
void status_learnt_end(struct status_learnt *);

#endif
