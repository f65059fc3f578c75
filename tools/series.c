#include "tools/series.h"

/* The last of each pair stays: it holds the sums of both. */
static void halve(struct series *series)
{
	for (unsigned i = 0; i < series->count / 2; i++)
		series->samples[i] = series->samples[2 * i + 1];
	series->count /= 2;
	series->interval *= 2;
}

void series_feed(struct series *series, const struct batch_counts *counts)
{
	struct series_sample *latest = &series->latest;
	nsec passed = counts->elapsed - latest->at;
	nsec last = series->count ? series->samples[series->count - 1].at : 0;

	if (!series->interval)
		series->interval = SERIES_INTERVAL;
	if (passed <= 0)
		return;
	*latest = (struct series_sample){
		.at = counts->elapsed,
		.messages = max_u64(latest->messages, counts->messages_moved),
		.bytes = max_u64(latest->bytes, counts->bytes_moved),
		.throttled = counts->throttled,
		.ran = counts->ran,
		.running = latest->running + (double)counts->mailboxes[BATCH_RUNNING] *
						     (double)passed / (double)NSEC_SECOND,
	};
	if (latest->at - last < series->interval)
		return;
	if (series->count == SERIES_SAMPLES_MAX)
		halve(series);
	series->samples[series->count++] = *latest;
}

static bool has_tail(const struct series *series)
{
	return series->latest.at > (series->count ? series->samples[series->count - 1].at : 0);
}

unsigned series_points(const struct series *series)
{
	return series->count + has_tail(series);
}

/* Of the time that passed for mailboxes, how much was spent waiting because a host asked for it. */
static double share(nsec throttled, nsec ran)
{
	return throttled > 0 ? (double)throttled / (double)(throttled + (ran > 0 ? ran : 0)) : 0;
}

struct series_point series_point(const struct series *series, unsigned index)
{
	static const struct series_sample none;
	const struct series_sample *to, *from;
	double seconds;

	must(index < series_points(series));
	to = index < series->count ? &series->samples[index] : &series->latest;
	from = index ? &series->samples[index - 1] : &none;
	seconds = (double)(to->at - from->at) / (double)NSEC_SECOND;
	must(seconds > 0);
	return (struct series_point){
		.at = (double)to->at / (double)NSEC_SECOND,
		.seconds = seconds,
		.messages_per_second = (double)(to->messages - from->messages) / seconds,
		.bytes_per_second = (double)(to->bytes - from->bytes) / seconds,
		.running = (to->running - from->running) / seconds,
		.throttled_share = share(to->throttled - from->throttled, to->ran - from->ran),
	};
}
