#include "tools/batch_view.h"

#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "engine/fiber.h"
#include "engine/io.h"
#include "tools/batch_report.h"
#include "tools/series.h"
#include "tools/terminal.h"
#include "tools/units.h"

#define REDRAW_EVERY (200 * NSEC_MILLISECOND)
#define LOOK_EVERY   NSEC_SECOND
#define LINE_EVERY   (10 * NSEC_SECOND)
/* Speeds shown lean on about this much of the past. */
#define SMOOTHED_OVER ((double)(5 * NSEC_SECOND))
/* The terminal has this long for one drawing; what it does not take is dropped. */
#define DRAW_TIMEOUT (2 * NSEC_SECOND)

enum {
	LINE_BYTES = 2048,
	COLUMNS_MAX = 400, /* so wide a line of four-byte characters fits LINE_BYTES */
	BAR_COLUMNS_MAX = 60,
	ERRORS_SHOWN = 3,
	RUNNING_BEGINS = 8, /* lines above the mailboxes */
};

/* From the first drawing until the view is removed. */
static atomic_bool is_up;

/* ---- what is known ---- */

static void smooth(double *speed, double now, double weight)
{
	*speed += weight * (now - *speed);
}

void batch_view_feed(struct batch_view *view, const struct batch_counts *counts)
{
	nsec since = counts->elapsed - view->fed_at;
	double weight = (double)since / ((double)since + SMOOTHED_OVER);

	view->now = *counts;
	if (since <= 0)
		return;
	if (!view->fed_at)
		weight = 1; /* there is no past to lean on */
	smooth(&view->messages_per_second,
	       units_rate(counts->messages_moved - view->fed_messages, since), weight);
	smooth(&view->bytes_per_second, units_rate(counts->bytes_moved - view->fed_bytes, since),
	       weight);
	smooth(&view->throttled_per_second,
	       (double)(counts->throttled - view->fed_throttled) / (double)since, weight);
	smooth(&view->ran_per_second, (double)(counts->ran - view->fed_ran) / (double)since,
	       weight);
	view->fed_at = counts->elapsed;
	view->fed_messages = counts->messages_moved;
	view->fed_bytes = counts->bytes_moved;
	view->fed_throttled = counts->throttled;
	view->fed_ran = counts->ran;
}

static uint64_t ended(const struct batch_counts *counts)
{
	return counts->mailboxes[BATCH_DONE] + counts->mailboxes[BATCH_INCOMPLETE] +
	       counts->mailboxes[BATCH_DOUBTFUL] + counts->mailboxes[BATCH_FAILED];
}

static double throttled_share(const struct batch_view *view)
{
	double both = view->throttled_per_second + view->ran_per_second;

	return view->throttled_per_second > 0 && both > 0 ? view->throttled_per_second / both : 0;
}

/* Over the whole run, as progress.c does, and as if the mailboxes that have not said how much they
 * hold held as much as the others on average. Negative: nobody knows. */
static double seconds_left(const struct batch_counts *counts)
{
	uint64_t waiting = counts->mailboxes[BATCH_WAITING];
	double begun = (double)(batch_report_total(counts) - waiting);
	double known = (double)counts->messages_known;
	double gone = (double)(counts->messages_moved + counts->messages_before +
			       counts->messages_skipped);
	double rate = units_rate(counts->messages_moved, counts->elapsed), left;

	if (begun < 1 || rate <= 0 || counts->draining)
		return -1;
	left = known * (1 + (double)waiting / begun) - gone;
	return left > 0 && left / rate < 1e7 ? left / rate : -1;
}

/* ---- lines ---- */

/* "3h12m", "12m", "45s". */
static char *countdown(char to[UNITS_TEXT_BYTES], int64_t seconds)
{
	long long left = seconds > 0 ? seconds : 0;

	if (left >= 86400)
		snprintf(to, UNITS_TEXT_BYTES, "%lldd%02lldh", left / 86400, left / 3600 % 24);
	else if (left >= 3600)
		snprintf(to, UNITS_TEXT_BYTES, "%lldh%02lldm", left / 3600, left / 60 % 60);
	else if (left >= 60)
		snprintf(to, UNITS_TEXT_BYTES, "%lldm", left / 60);
	else
		snprintf(to, UNITS_TEXT_BYTES, "%llds", left);
	return to;
}

static void add_window(const struct batch_counts *counts, nsec now, struct buffer *line)
{
	char left[UNITS_TEXT_BYTES];

	if (counts->window_closes_wall_s != INT64_MAX)
		buffer_addf(line, "  closes in %s",
			    countdown(left, counts->window_closes_wall_s - now / NSEC_SECOND));
	if (counts->draining)
		buffer_add_text(line, "  draining");
}

static void add_eta(const struct batch_counts *counts, nsec now, struct buffer *line)
{
	double left = seconds_left(counts);
	char time[UNITS_TEXT_BYTES];
	bool late;

	if (left < 0)
		return;
	late = counts->window_closes_wall_s != INT64_MAX &&
	       (double)(now / NSEC_SECOND) + left > (double)counts->window_closes_wall_s;
	buffer_addf(line, "  ETA %s%s", units_duration(time, (nsec)(left * (double)NSEC_SECOND)),
		    late ? ", after the window" : "");
}

static void head_line(const struct batch_view *view, nsec now, unsigned columns,
		      struct buffer *line)
{
	char name[LINE_BYTES], took[UNITS_TEXT_BYTES];

	/* A long name leaves two thirds to the rest. */
	buffer_addf(line, "%s  %s",
		    terminal_fit(name, sizeof name, text_of(view->name),
				 (unsigned)max_u64(columns / 3, 8)),
		    units_duration(took, view->now.elapsed));
	add_window(&view->now, now, line);
}

/* Ended, running and left as three grounds: told apart without colour. */
static void bar_line(const struct batch_view *view, unsigned columns, struct buffer *line)
{
	static const char *const grounds[] = { "\xe2\x96\x88", "\xe2\x96\x92", "\xe2\x96\x91" };
	uint64_t total = batch_report_total(&view->now), done = ended(&view->now);
	uint64_t running = view->now.mailboxes[BATCH_RUNNING];
	unsigned wide = columns > 8 ? (unsigned)min_u64(columns - 8, BAR_COLUMNS_MAX) : columns;
	uint64_t to_done, to_running;

	total = max_u64(total, 1);
	to_done = wide * done / total;
	to_running = wide * (done + running) / total;
	if (running && to_running == to_done && to_running < wide)
		to_running++; /* a few of many thousand can still be seen */
	for (unsigned i = 0; i < wide; i++)
		buffer_add_text(line, grounds[i < to_done ? 0 : i < to_running ? 1 : 2]);
	buffer_addf(line, "  %llu %%", (unsigned long long)(100 * done / total));
}

static void add_count(struct buffer *line, uint64_t count, const char *what)
{
	char number[UNITS_TEXT_BYTES];

	if (count)
		buffer_addf(line, "%s%s %s", line->bytes ? ", " : "",
			    batch_report_number(number, count), what);
}

static void mailboxes_line(const struct batch_counts *counts, struct buffer *line)
{
	char done[UNITS_TEXT_BYTES], total[UNITS_TEXT_BYTES];

	buffer_addf(line, "%s/%s mailboxes", batch_report_number(done, ended(counts)),
		    batch_report_number(total, batch_report_total(counts)));
	add_count(line, counts->mailboxes[BATCH_FAILED], "failed");
	add_count(line, counts->mailboxes[BATCH_DOUBTFUL], "doubtful");
	add_count(line, counts->mailboxes[BATCH_INCOMPLETE], "incomplete");
	add_count(line, counts->mailboxes[BATCH_RUNNING], "running");
	add_count(line, counts->mailboxes[BATCH_WAITING] + counts->mailboxes[BATCH_DRAINED],
		  "left");
}

static void messages_line(const struct batch_view *view, nsec now, struct buffer *line)
{
	char moved[UNITS_TEXT_BYTES], known[UNITS_TEXT_BYTES];

	buffer_addf(
		line, "%s/%s messages  %.0f msg/s",
		batch_report_number(moved, view->now.messages_moved + view->now.messages_before),
		batch_report_number(known, view->now.messages_known), view->messages_per_second);
	add_eta(&view->now, now, line);
}

static void bytes_line(const struct batch_view *view, struct buffer *line)
{
	char moved[UNITS_TEXT_BYTES], known[UNITS_TEXT_BYTES];

	buffer_addf(line, "%s", units_bytes(moved, view->now.bytes_moved));
	if (view->now.bytes_known)
		buffer_addf(line, " of %s", units_bytes(known, view->now.bytes_known));
	/* The word is MB/s; a unit that changes would hide a change of speed. */
	buffer_addf(line, "  %.1f MB/s", view->bytes_per_second / 1e6);
}

static void hosts_line(const struct batch_view *view, struct buffer *line)
{
	buffer_addf(line, "throttled %.0f %%  %llu connection%s", throttled_share(view) * 100,
		    (unsigned long long)view->now.connections, units_plural(view->now.connections));
	if (view->now.mailboxes_backing_off)
		buffer_addf(line, "  %llu backing off",
			    (unsigned long long)view->now.mailboxes_backing_off);
	if (view->now.reconnects)
		buffer_addf(line, "  %llu reconnect%s", (unsigned long long)view->now.reconnects,
			    units_plural(view->now.reconnects));
}

/* The most frequent errors, most frequent first. */
static void errors_line(const struct batch_counts *counts, struct buffer *line)
{
	unsigned shown[ERRORS_SHOWN] = { 0 };

	for (unsigned i = 0; i < ERRORS_SHOWN; i++) {
		for (unsigned e = OK + 1; e < ERR_COUNT; e++)
			if (e != shown[0] && e != shown[1] &&
			    counts->errors[e] > (shown[i] ? counts->errors[shown[i]] : 0))
				shown[i] = e;
		if (!shown[i])
			break;
		buffer_addf(line, "%s%llu %s",
			    i ? "  " : "errors: ", (unsigned long long)counts->errors[shown[i]],
			    err_name((enum err)shown[i]));
	}
	if (!shown[0])
		buffer_add_text(line, "no errors");
}

/* The name stands last, so whatever its characters' width, the columns before it stay in line. */
static void running_line(const struct batch_mailbox *mailbox, struct buffer *line)
{
	uint64_t gone = mailbox->messages_moved + mailbox->messages_before;
	const char *host = strstr(mailbox->source, "://");
	char bytes[UNITS_TEXT_BYTES], took[UNITS_TEXT_BYTES];

	if (mailbox->messages_known)
		buffer_addf(line, "%4llu %%",
			    (unsigned long long)min_u64(100 * gone / mailbox->messages_known, 100));
	else
		buffer_add_text(line, "      ");
	buffer_addf(line, " %9llu msg %9s %9s  %s", (unsigned long long)gone,
		    units_bytes(bytes, mailbox->bytes_moved),
		    units_duration(took, mailbox->duration), host ? host + 3 : mailbox->source);
}

/* ---- the whole ---- */

/* A line that ended: cut to columns and added to what is shown. */
static void put_line(struct buffer *line, unsigned columns, struct buffer *out)
{
	struct text text = { line->at ? line->at : "", line->bytes };
	char fitted[LINE_BYTES];

	if (out->bytes)
		buffer_add_text(out, "\n");
	buffer_add_text(out, terminal_fit(fitted, sizeof fitted, text, columns));
	buffer_reset(line);
}

static void draw_running(const struct batch_view *view, unsigned rows, unsigned columns,
			 struct buffer *line, struct buffer *out)
{
	uint64_t count = view->now.mailboxes[BATCH_RUNNING];
	struct batch_mailbox mailbox;

	for (unsigned i = 0; i < rows; i++) {
		if (i == rows - 1 && count > rows) {
			buffer_addf(line, "... and %llu more", (unsigned long long)(count - i));
		} else {
			if (!view->running || !view->running(view->context, i, &mailbox))
				break;
			running_line(&mailbox, line);
		}
		put_line(line, columns, out);
	}
}

void batch_view_line(const struct batch_view *view, nsec now, struct buffer *out)
{
	char name[LINE_BYTES], moved[UNITS_TEXT_BYTES];

	mailboxes_line(&view->now, out);
	buffer_addf(
		out, "  %s messages  %.0f msg/s",
		batch_report_number(moved, view->now.messages_moved + view->now.messages_before),
		view->messages_per_second);
	buffer_add_text(out, "  ");
	bytes_line(view, out);
	buffer_addf(out, "  throttled %.0f %%", throttled_share(view) * 100);
	add_eta(&view->now, now, out);
	add_window(&view->now, now, out);
	buffer_addf(out, "  %s", terminal_text(name, sizeof name, view->name));
}

void batch_view_draw(const struct batch_view *view, nsec now, unsigned rows, unsigned columns,
		     struct buffer *out)
{
	struct buffer line = { 0 };

	columns = (unsigned)min_u64(columns, COLUMNS_MAX);
	if (rows == 1)
		batch_view_line(view, now, &line);
	for (unsigned row = 0; rows > 1 && row < rows && row < RUNNING_BEGINS; row++) {
		/* In the order of what is missed first when there is no room for it. */
		if (row == 0)
			head_line(view, now, columns, &line);
		else if (row == 1)
			bar_line(view, columns, &line);
		else if (row == 2)
			mailboxes_line(&view->now, &line);
		else if (row == 3)
			messages_line(view, now, &line);
		else if (row == 4)
			bytes_line(view, &line);
		else if (row == 5)
			hosts_line(view, &line);
		else if (row == 6)
			errors_line(&view->now, &line);
		put_line(&line, columns, out);
	}
	if (rows == 1)
		put_line(&line, columns, out);
	if (rows > RUNNING_BEGINS)
		draw_running(view, rows - RUNNING_BEGINS, columns, &line, out);
	buffer_free(&line);
}

/* ---- the terminal ---- */

const char *batch_view_prefix(void)
{
	return atomic_load(&is_up) ? "\r\x1b[J" : "";
}

static bool takes_output(void)
{
	struct pollfd poller = { .fd = STDERR_FILENO, .events = POLLOUT };

	return poll(&poller, 1, 0) == 1 && (poller.revents & POLLOUT);
}

static void terminal_size(unsigned *rows, unsigned *columns)
{
	struct winsize size;

	*rows = 24;
	*columns = 80;
	if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col && size.ws_row) {
		*rows = size.ws_row;
		*columns = size.ws_col;
	}
}

/* The cursor waits where the view begins, so that a line written there pushes it down and a new
 * size of the window does not move it. Each line erases its own rest and the last all below, so
 * nothing flickers. */
static void frame(const struct buffer *drawn, struct buffer *out)
{
	unsigned lines = 0;

	buffer_add_text(out, "\r");
	for (size_t i = 0; i < drawn->bytes; i++) {
		if (drawn->at[i] == '\n') {
			buffer_add_text(out, "\x1b[K\r\n");
			lines++;
		} else {
			buffer_add(out, drawn->at + i, 1);
		}
	}
	buffer_add_text(out, "\x1b[J\r");
	if (lines)
		buffer_addf(out, "\x1b[%uA", lines);
}

/* Through the ring: a terminal that stops taking output in the middle holds up this fiber only. The
 * last row and column stay free: some terminals wrap or scroll when they are written. */
static enum err redraw(const struct batch_view *view)
{
	struct buffer drawn = { 0 }, out = { 0 };
	unsigned rows, columns;
	enum err e = OK;

	if (!takes_output())
		return OK; /* Ctrl-S */
	terminal_size(&rows, &columns);
	batch_view_draw(view, clock_wall(), rows > 1 ? rows - 1 : 1, columns > 1 ? columns - 1 : 1,
			&drawn);
	frame(&drawn, &out);
	atomic_store(&is_up, true);
	if (!drawn.failed && !out.failed)
		e = io_write(STDERR_FILENO, out.at, out.bytes, 0, clock_after(DRAW_TIMEOUT));
	if (e == OK && drawn.at) {
		/* The first line again, where it stands: lets terminal_restore() know that there is
		 * something to remove. */
		drawn.at[strcspn(drawn.at, "\n")] = '\0';
		terminal_redraw(drawn.at);
	}
	buffer_free(&drawn);
	buffer_free(&out);
	if (e == ERR_FIBER_CANCELED)
		return e;
	if (e)
		err_note_clear(); /* a lost drawing is not worth a word */
	return OK;
}

static void say_line(const struct batch_view *view)
{
	struct buffer line = { 0 };

	buffer_add_text(&line, "mailhaul: ");
	batch_view_line(view, clock_wall(), &line);
	if (line.at && !line.failed)
		terminal_say(line.at);
	buffer_free(&line);
}

static void look(struct batch_view *view)
{
	struct batch_counts counts;

	view->counts(view->context, &counts);
	batch_view_feed(view, &counts);
	if (view->series)
		series_feed(view->series, &counts);
}

/* Where lines cannot be redrawn they would pile up. */
static bool can_redraw(void)
{
	const char *kind = getenv("TERM");

	return terminal_is(STDERR_FILENO) && kind && *kind && strcmp(kind, "dumb") != 0;
}

enum err batch_view_run(void *argument)
{
	struct batch_view *view = argument;
	bool redraws = !view->silent && can_redraw();
	nsec line_at = clock_after(LINE_EVERY);
	enum err e;

	while ((e = fiber_sleep(clock_after(redraws ? REDRAW_EVERY : LOOK_EVERY))) == OK) {
		look(view);
		if (redraws) {
			if ((e = redraw(view)))
				break;
		} else if (!view->silent && clock_now() >= line_at) {
			say_line(view);
			line_at = clock_after(LINE_EVERY);
		}
	}
	look(view); /* the series ends with the run */
	if (atomic_exchange(&is_up, false) && takes_output())
		dprintf(STDERR_FILENO, "\r\x1b[J");
	terminal_restore();
	return e;
}
