/* A batch while it runs, on stderr: a view of many lines redrawn on a terminal, one plain line
 * every ten seconds elsewhere. Knows no scheduler: it is handed what it asks. */
#ifndef MAILHAUL_TOOLS_BATCH_VIEW_H
#define MAILHAUL_TOOLS_BATCH_VIEW_H

#include "engine/batch.h"
#include "engine/bytes.h"

struct series; /* tools/series.h */

struct batch_view {
	const char *name; /* of the batch; borrowed, as all that follows */
	void *context;
	void (*counts)(void *context, struct batch_counts *out);
	/* The mailboxes running now, by index from 0; false: there are no more. A mailbox that ends
	 * meanwhile may shift the rest. `duration` is how long it has been running. */
	bool (*running)(void *context, size_t index, struct batch_mailbox *out);
	struct series *series; /* fed with the counts that the view sees; may be NULL */
	bool silent;	       /* feed the series and draw nothing */
	/* own */
	struct batch_counts now;
	nsec fed_at;
	uint64_t fed_messages, fed_bytes;
	nsec fed_throttled, fed_ran;
	double messages_per_second, bytes_per_second; /* smoothed over some seconds */
	double throttled_per_second, ran_per_second;
};

/* The main function of a fiber: shows a struct batch_view until cancelled, then removes what it
 * drew. Never waits for a terminal that takes nothing. Suspends. */
enum err batch_view_run(void *view);

/* Take over what is known now; the smoothed speeds follow from one time to the next. */
void batch_view_feed(struct batch_view *, const struct batch_counts *);
/* What is shown of the counts fed last, at wall time `now`: at most `rows` lines of at most
 * `columns` columns, each but the last followed by a line feed, without control characters. */
void batch_view_draw(const struct batch_view *, nsec now, unsigned rows, unsigned columns,
		     struct buffer *out);
/* The same in one line, without program name. */
void batch_view_line(const struct batch_view *, nsec now, struct buffer *out);

/* What to write in front of a line of log on stderr, in the same write(2), so that the view gives
 * way: it is erased and drawn again below the line. "" while no view is up. Any thread. */
const char *batch_view_prefix(void);

#endif
