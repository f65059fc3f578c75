/* The text itself: https://prometheus.io/docs/instrumenting/exposition_formats/. Label values are
 * ours (names of states and errors) but for the version, so nothing else needs escaping. Numbers
 * are written without floating point: a count beyond 2^53 is whole here, whatever the reader makes
 * of it. */
#include "tools/metrics.h"

#include <inttypes.h>

#include "tools/commands.h"

static void family(struct buffer *out, const char *name, const char *type, const char *help)
{
	buffer_addf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void one(struct buffer *out, const char *name, const char *type, uint64_t value,
		const char *help)
{
	family(out, name, type, help);
	buffer_addf(out, "%s %" PRIu64 "\n", name, value);
}

static void one_duration(struct buffer *out, const char *name, nsec value, const char *help)
{
	family(out, name, "counter", help);
	buffer_addf(out, "%s %" PRId64 ".%09" PRId64 "\n", name, value / NSEC_SECOND,
		    value % NSEC_SECOND);
}

/* Three bytes of a label value have a form of their own. */
static void add_escaped(struct buffer *out, const char *value)
{
	for (; *value; value++)
		if (*value == '\n')
			buffer_add_text(out, "\\n");
		else
			buffer_addf(out, "%s%c", *value == '"' || *value == '\\' ? "\\" : "",
				    *value);
}

static void program(const struct batch_counts *counts, struct buffer *out)
{
	family(out, "mailhaul_build_info", "gauge", "The program that runs; always 1.");
	buffer_add_text(out, "mailhaul_build_info{version=\"");
	add_escaped(out, program_version);
	buffer_add_text(out, "\"} 1\n");
	one(out, "process_start_time_seconds", "gauge",
	    counts->started_wall_s > 0 ? (uint64_t)counts->started_wall_s : 0,
	    "When this run began, since 1970-01-01 UTC; counters count from then.");
}

static void mailboxes(const struct batch_counts *counts, struct buffer *out)
{
	family(out, "mailhaul_mailboxes", "gauge", "Mailboxes of this run by state.");
	for (unsigned i = 0; i < BATCH_STATES; i++)
		buffer_addf(out, "mailhaul_mailboxes{state=\"%s\"} %" PRIu64 "\n",
			    batch_state_name((enum batch_state)i), counts->mailboxes[i]);
	one(out, "mailhaul_mailboxes_backing_off", "gauge", counts->mailboxes_backing_off,
	    "Waiting mailboxes whose host or account rests before the next attempt.");
}

/* A side is where the result was found out: the source skips, the destination stores. */
static void messages(const struct batch_counts *counts, struct buffer *out)
{
	family(out, "mailhaul_messages_total", "counter", "Messages settled in this run.");
	buffer_addf(out,
		    "mailhaul_messages_total{side=\"destination\",result=\"moved\"} %" PRIu64 "\n"
		    "mailhaul_messages_total{side=\"source\",result=\"skipped\"} %" PRIu64 "\n"
		    "mailhaul_messages_total{side=\"destination\",result=\"doubtful\"} %" PRIu64
		    "\n",
		    counts->messages_moved, counts->messages_skipped, counts->messages_doubtful);
	family(out, "mailhaul_bytes_total", "counter", "Bytes of the messages moved in this run.");
	buffer_addf(out,
		    "mailhaul_bytes_total{side=\"destination\",direction=\"out\"} %" PRIu64 "\n",
		    counts->bytes_moved);
	one(out, "mailhaul_messages_known", "gauge", counts->messages_known,
	    "Messages announced by the mailboxes begun so far.");
	one(out, "mailhaul_known_bytes", "gauge", counts->bytes_known,
	    "Bytes of messages announced by the mailboxes begun so far.");
	one(out, "mailhaul_messages_before", "gauge", counts->messages_before,
	    "Messages that earlier runs had settled.");
}

/* Every code that can stop an attempt is there from the first scrape on: a series that appears with
 * its first count has no increase that could be alerted on. */
static void errors(const struct batch_counts *counts, struct buffer *out)
{
	family(out, "mailhaul_errors_total", "counter",
	       "Attempts of mailboxes that an error stopped, by code.");
	for (unsigned i = OK + 1; i < ERR_COUNT; i++)
		if (counts->errors[i] > 0 || err_retry_class((enum err)i) != RETRY_NONE)
			buffer_addf(out, "mailhaul_errors_total{code=\"%s\"} %" PRIu64 "\n",
				    err_name((enum err)i), counts->errors[i]);
}

static void window(const struct batch_counts *counts, int64_t now_wall_s, struct buffer *out)
{
	if (counts->window_closes_wall_s != INT64_MAX)
		one(out, "mailhaul_window_remaining_seconds", "gauge",
		    now_wall_s < counts->window_closes_wall_s
			    ? (uint64_t)(counts->window_closes_wall_s - now_wall_s)
			    : 0,
		    "Until the window closes; absent where it never does.");
	one(out, "mailhaul_draining", "gauge", counts->draining,
	    "1 while the run finishes what is in flight and begins nothing new.");
}

void metrics_text(const struct batch_counts *counts, int64_t now_wall_s, struct buffer *out)
{
	program(counts, out);
	mailboxes(counts, out);
	messages(counts, out);
	one(out, "mailhaul_connections", "gauge", counts->connections,
	    "Conversations with servers open now.");
	one(out, "mailhaul_reconnects_total", "counter", counts->reconnects,
	    "Conversations begun again after one broke.");
	errors(counts, out);
	one_duration(out, "mailhaul_throttle_wait_seconds_total", counts->throttled,
		     "Time mailboxes waited because a host asked for it, summed over mailboxes.");
	one_duration(out, "mailhaul_run_seconds_total", counts->ran,
		     "Time mailboxes ran, summed over mailboxes.");
	window(counts, now_wall_s, out);
}
