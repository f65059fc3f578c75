/* How a run went over time, for plots: a fixed number of samples for a run of any length. When they
 * are full every second one is dropped and the interval doubles. Each sample holds sums since the
 * beginning, so dropping one merges it into the next and nothing is lost. */
#ifndef MAILHAUL_TOOLS_SERIES_H
#define MAILHAUL_TOOLS_SERIES_H

#include "engine/batch.h"

enum { SERIES_SAMPLES_MAX = 600 };

struct series_sample {
	nsec at; /* since the run began */
	uint64_t messages, bytes;
	nsec throttled, ran;
	double running; /* mailboxes running, times seconds */
};

/* Zero-initialised is valid and empty. */
struct series {
	struct series_sample samples[SERIES_SAMPLES_MAX], latest;
	unsigned count;
	nsec interval; /* between samples; 0: SERIES_INTERVAL */
};
#define SERIES_INTERVAL NSEC_SECOND

/* Look at the counts: at any time, as often as one likes, at least once a second. */
void series_feed(struct series *, const struct batch_counts *);

/* What held on average between a sample and the one before. */
struct series_point {
	double at, seconds; /* the end of the span, since the run began; its length */
	double messages_per_second, bytes_per_second;
	double running, throttled_share;
};
/* index < series_points(). The last one is what was fed last, so it may cover a shorter span. */
unsigned series_points(const struct series *);
struct series_point series_point(const struct series *, unsigned index);

#endif
