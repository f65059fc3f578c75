/* The live view: what it says, and that it never leaves its rows and columns. */
#include "tools/batch_view.h"

#include <fcntl.h>
#include <pty.h>
#include <stdlib.h>
#include <unistd.h>

#include "engine/fiber.h"
#include "tests/test.h"
#include "tools/series.h"
#include "tools/terminal.h"

static struct batch_view view;
static struct batch_counts counts;
static struct buffer drawn;

#define WALL ((nsec)1767225600 * NSEC_SECOND)

static const char *const names[] = {
	"imaps://alice@old.example/",
	"imaps://\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e@\xe6\x97\xa5\xe6\x9c\xac.example/",
	"imaps://j\xc3\xbcrgen@old.example/",
	"imaps://evil\x1b[2J\nname@old.example/",
	"no-scheme",
};

static bool running(void *context, size_t index, struct batch_mailbox *out)
{
	(void)context;
	if (index >= counts.mailboxes[BATCH_RUNNING])
		return false;
	*out = (struct batch_mailbox){ .source = names[index % ARRAY_COUNT(names)],
				       .messages_known = index % 3 ? 4000 : 0,
				       .messages_moved = 1000,
				       .bytes_moved = 48000000,
				       .duration = 125 * NSEC_SECOND };
	return true;
}

static void begin(void)
{
	static const struct batch_counts zero;
	static const struct batch_view fresh;

	view = fresh;
	view.name = "tenant-a";
	view.running = running;
	counts = zero;
	counts.mailboxes[BATCH_DONE] = 1200;
	counts.mailboxes[BATCH_FAILED] = 30;
	counts.mailboxes[BATCH_RUNNING] = 20;
	counts.mailboxes[BATCH_WAITING] = 750;
	counts.messages_known = 1250000;
	counts.window_closes_wall_s = INT64_MAX;
	counts.connections = 40;
}

/* A steady flow for `seconds`. */
static void flow(unsigned seconds)
{
	for (unsigned i = 0; i < seconds; i++) {
		counts.elapsed += NSEC_SECOND;
		counts.messages_moved += 100;
		counts.bytes_moved += 5000000;
		counts.ran += 3 * NSEC_SECOND;
		counts.throttled += NSEC_SECOND;
		batch_view_feed(&view, &counts);
	}
}

static const char *draw(unsigned rows, unsigned columns)
{
	buffer_reset(&drawn);
	batch_view_draw(&view, WALL, rows, columns, &drawn);
	return drawn.bytes ? drawn.at : "";
}

TEST(a_steady_run_shows_what_was_asked_for)
{
	const char *shown;

	begin();
	counts.errors[ERR_IMAP_LOGIN] = 12;
	counts.errors[ERR_NET_TIMEOUT] = 30;
	counts.errors[ERR_TLS_EXPIRED] = 1;
	counts.errors[ERR_NET_NAME] = 2;
	counts.mailboxes_backing_off = 3;
	counts.window_closes_wall_s = WALL / NSEC_SECOND + 3 * 3600 + 12 * 60 + 5;
	flow(1000);
	shown = draw(24, 80);
	CHECK(strncmp(shown, "tenant-a  16:40 min  closes in 3h12m\n", 37) == 0);
	CHECK(strstr(shown, "  61 %\n"));
	CHECK(strstr(shown, "1,230/2,000 mailboxes, 30 failed, 20 running, 750 left\n"));
	CHECK(strstr(shown, "100,000/1,250,000 messages  100 msg/s  ETA "));
	CHECK(strstr(shown, "5.0 GB  5.0 MB/s\n"));
	CHECK(strstr(shown, "throttled 25 %  40 connections  3 backing off\n"));
	CHECK(strstr(shown, "errors: 30 NET_TIMEOUT  12 IMAP_LOGIN  2 NET_NAME\n"));
	CHECK(strstr(shown,
		     "  25 %      1000 msg   48.0 MB  2:05 min  j\xc3\xbcrgen@old.example/"));
	CHECK(strstr(shown, "\n... and 5 more")); /* 16 rows for 20 mailboxes */
	CHECK(!strstr(shown, "\x1b"));
	buffer_free(&drawn);
}

TEST(the_time_left_counts_mailboxes_that_have_not_begun)
{
	begin();
	flow(1000);
	/* 1,250,000 known of 1,250 mailboxes: 750,000 more are to be expected; 100,000 are moved at
	 * 100 a second: 19,000 s. */
	CHECK(strstr(draw(24, 80), "ETA 5:16 h\n"));
	counts.window_closes_wall_s = WALL / NSEC_SECOND + 3600;
	batch_view_feed(&view, &counts);
	CHECK(strstr(draw(24, 80), "ETA 5:16 h, after the window\n"));
	counts.draining = true;
	batch_view_feed(&view, &counts);
	CHECK(strstr(draw(24, 80), "closes in 1h00m  draining\n"));
	CHECK(!strstr(draw(24, 80), "ETA"));
	buffer_free(&drawn);
}

TEST(before_anything_is_known_nothing_is_guessed)
{
	static const struct batch_counts zero;

	begin();
	view.name = "x";
	counts = zero;
	counts.window_closes_wall_s = WALL / NSEC_SECOND - 5; /* it closed a moment ago */
	batch_view_feed(&view, &counts);
	CHECK(strstr(draw(24, 80), "closes in 0s\n"));
	CHECK(strstr(draw(24, 80), "0/0 mailboxes\n"));
	CHECK(strstr(draw(24, 80), "no errors\n"));
	CHECK(!strstr(draw(24, 80), "ETA"));
	CHECK(!strstr(draw(24, 80), "nan"));
	buffer_free(&drawn);
}

/* Each line is within `columns` exactly when a fit to that width does not change it. */
static bool lines_fit(const char *shown, unsigned rows, unsigned columns)
{
	static char line[4096], fitted[4096];
	unsigned lines = 0;

	while (*shown) {
		size_t bytes = strcspn(shown, "\n");

		must(bytes < sizeof line);
		bytes_copy(line, shown, bytes, BYTES_META);
		line[bytes] = '\0';
		terminal_fit(fitted, sizeof fitted, text_of(line), columns);
		if (strcmp(line, fitted) != 0)
			return false;
		shown += bytes + (shown[bytes] == '\n');
		lines++;
	}
	return lines <= rows;
}

TEST(no_size_of_a_terminal_is_exceeded)
{
	begin();
	view.name = "\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e, a tenant with a very long name indeed";
	counts.errors[ERR_IMAP_LOGIN] = 1;
	counts.mailboxes[BATCH_RUNNING] = 300;
	counts.window_closes_wall_s = WALL / NSEC_SECOND + 90000;
	flow(100);
	for (unsigned rows = 1; rows <= 400; rows += rows < 40 ? 1 : 50)
		for (unsigned columns = 1; columns <= 1000; columns += columns < 100 ? 1 : 75)
			if (!lines_fit(draw(rows, columns), rows, columns))
				test_failed(__FILE__, __LINE__, "%u rows, %u columns: %s", rows,
					    columns, drawn.at);
	CHECK_TEXT(draw(0, 80), "");
	buffer_free(&drawn);
}

static unsigned lines_of(const char *shown)
{
	unsigned lines = *shown != '\0';

	for (; *shown; shown++)
		lines += *shown == '\n';
	return lines;
}

TEST(a_tiny_terminal_keeps_what_matters_most)
{
	begin();
	flow(100);
	CHECK_EQ(lines_of(draw(5, 20)), 5);
	CHECK(strncmp(draw(5, 20), "tenant-a  1:40 min\n", 19) == 0);
	CHECK(strstr(draw(5, 20), "\n1,230/2,000 mailbo\xe2\x80\xa6\n") ||
	      strstr(draw(5, 20), "\n1,230/2,000 mailbox\xe2\x80\xa6\n"));
	CHECK_EQ(lines_of(draw(1, 300)), 1);
	CHECK(strstr(draw(1, 300), "1,230/2,000 mailboxes"));
	buffer_free(&drawn);
}

TEST(a_huge_terminal_shows_every_running_mailbox)
{
	begin();
	flow(10);
	CHECK_EQ(lines_of(draw(200, 300)), 8 + 20);
	CHECK(!strstr(draw(200, 300), "more"));
	CHECK_EQ(lines_of(draw(8 + 20, 80)), 8 + 20); /* just enough */
	CHECK(!strstr(draw(8 + 20, 80), "more"));
	CHECK(strstr(draw(8 + 19, 80), "\n... and 2 more"));
	buffer_free(&drawn);
}

TEST(a_few_running_of_many_thousand_are_seen_in_the_bar)
{
	begin();
	counts.mailboxes[BATCH_WAITING] = 1000000;
	counts.mailboxes[BATCH_DONE] = counts.mailboxes[BATCH_FAILED] = 0;
	counts.mailboxes[BATCH_RUNNING] = 1;
	flow(1);
	CHECK(strstr(draw(24, 80), "\n\xe2\x96\x92\xe2\x96\x91"));
	buffer_free(&drawn);
}

TEST(one_line_tells_it_where_there_is_no_terminal)
{
	begin();
	flow(1000);
	buffer_reset(&drawn);
	batch_view_line(&view, WALL, &drawn);
	CHECK_TEXT(drawn.at,
		   "1,230/2,000 mailboxes, 30 failed, 20 running, 750 left  100,000 messages  "
		   "100 msg/s  5.0 GB  5.0 MB/s  throttled 25 %  ETA 5:16 h  tenant-a");
	buffer_free(&drawn);
}

TEST(a_log_line_is_left_alone_while_no_view_is_up)
{
	CHECK_TEXT(batch_view_prefix(), "");
}

/* ---- on a terminal ---- */

/* What a terminal of these sizes shows, as far as the view asks: text, CR, LF with scrolling, ED,
 * EL, CUU. A character of UTF-8 is one cell. */
enum { SCREEN_ROWS = 12, SCREEN_COLUMNS = 60 };
static struct screen {
	char cells[SCREEN_ROWS][SCREEN_COLUMNS];
	unsigned row, column;
	bool strange; /* something else was asked for */
} screen;
static struct buffer received;

static void screen_line_feed(void)
{
	if (screen.row + 1 < SCREEN_ROWS) {
		screen.row++;
		return;
	}
	memmove(screen.cells[0], screen.cells[1], sizeof screen.cells - sizeof screen.cells[0]);
	memset(screen.cells[SCREEN_ROWS - 1], ' ', SCREEN_COLUMNS);
}

/* 0 when the end of it has not come yet. */
static size_t screen_escape(const char *at)
{
	char *end;
	unsigned long n = at[1] ? strtoul(at + 2, &end, 10) : 0;

	if (!at[1] || !*end)
		return 0;
	if (*end == 'J' || *end == 'K')
		memset(screen.cells[screen.row] + screen.column, ' ',
		       SCREEN_COLUMNS - screen.column);
	if (*end == 'J' && screen.row + 1 < SCREEN_ROWS)
		memset(screen.cells[screen.row + 1], ' ',
		       (SCREEN_ROWS - 1 - screen.row) * SCREEN_COLUMNS);
	else if (*end == 'A' && n <= screen.row)
		screen.row -= (unsigned)n;
	else if (*end != 'J' && *end != 'K')
		screen.strange = true;
	return (size_t)(end - at) + 1;
}

static void screen_show(const char *text)
{
	while (*text) {
		if (*text == '\x1b') {
			size_t bytes = screen_escape(text);

			if (!bytes)
				return;
			text += bytes;
			continue;
		}
		if (*text == '\r')
			screen.column = 0;
		else if (*text == '\n')
			screen_line_feed();
		else if (((uint8_t)*text & 0xc0) != 0x80 && screen.column < SCREEN_COLUMNS)
			screen.cells[screen.row][screen.column++] = *text;
		else if (((uint8_t)*text & 0xc0) != 0x80)
			screen.strange = true; /* written past the last column */
		text++;
	}
}

static bool screen_has(unsigned row, const char *text)
{
	return row < SCREEN_ROWS && strncmp(screen.cells[row], text, strlen(text)) == 0;
}

static bool screen_row_is_blank(unsigned row)
{
	for (unsigned i = 0; i < SCREEN_COLUMNS; i++)
		if (screen.cells[row][i] != ' ')
			return false;
	return true;
}

static void screen_clear(void)
{
	memset(&screen, 0, sizeof screen);
	memset(screen.cells, ' ', sizeof screen.cells);
}

/* Everything that the terminal's other end has got until now, from the beginning: a part of it may
 * end anywhere. */
static void screen_read(int from)
{
	char text[2048];
	ssize_t got;

	while ((got = read(from, text, sizeof text)) > 0)
		buffer_add(&received, text, (size_t)got);
	screen_clear();
	if (received.bytes)
		screen_show(received.at);
}

static void counts_now(void *context, struct batch_counts *out)
{
	(void)context;
	counts.elapsed += NSEC_SECOND;
	*out = counts;
}

/* Stderr becomes a terminal of SCREEN_ROWS by SCREEN_COLUMNS; returns its other end. */
static int terminal_begin(int *stderr_before)
{
	struct winsize size = { .ws_row = SCREEN_ROWS, .ws_col = SCREEN_COLUMNS };
	int master, slave;

	if (openpty(&master, &slave, NULL, NULL, &size))
		return -1;
	must(fcntl(master, F_SETFL, O_NONBLOCK) == 0);
	must((*stderr_before = dup(STDERR_FILENO)) >= 0);
	must(dup2(slave, STDERR_FILENO) >= 0);
	close(slave);
	setenv("TERM", "xterm", 1);
	buffer_reset(&received);
	return master;
}

/* Lets the view draw until it stands whole, from `row` on, with the cursor waiting where it begins.
 * Every step ends, so the whole does. */
static bool view_comes_to(int master, unsigned row, const char *errors)
{
	for (unsigned i = 0; i < 100; i++) {
		if (fiber_sleep(clock_after(50 * NSEC_MILLISECOND)))
			return false;
		screen_read(master);
		if (screen_has(row, "tenant-a  ") && screen_has(row + 10, "... and 18 more") &&
		    screen_has(row + 6, errors) && screen.row == row && screen.column == 0)
			return true;
	}
	return false;
}

TEST_FIBER(a_log_line_stays_whole_above_the_view_and_nothing_stays_of_the_view)
{
	static struct series series;
	int stderr_before, master = terminal_begin(&stderr_before);
	struct group *beside = group_open();
	char line[100];

	REQUIRE(master >= 0);
	begin();
	counts.errors[ERR_IMAP_LOGIN] = 5;
	counts.window_closes_wall_s = clock_wall() / NSEC_SECOND + 36000; /* a longer first line */
	view.counts = counts_now;
	view.series = &series;
	CHECK_OK(group_spawn(beside, "view", FIBER_STACK_SMALL, batch_view_run, &view));
	CHECK(view_comes_to(master, 0, "errors: 5 IMAP_LOGIN   "));
	CHECK(screen_has(2, "1,230/2,000 mailboxes"));
	CHECK(screen_row_is_blank(11)); /* the last row stays free */
	snprintf(line, sizeof line, "%swarn: one line of log\n", batch_view_prefix());
	CHECK_EQ(write(STDERR_FILENO, line, strlen(line)), strlen(line));
	CHECK(view_comes_to(master, 1, "errors: 5 IMAP_LOGIN   "));
	CHECK(screen_has(0, "warn: one line of log   "));
	CHECK(screen_has(3, "1,230/2,000 mailboxes"));
	counts.errors[ERR_IMAP_LOGIN] = 0;
	CHECK(view_comes_to(master, 1, "no errors              ")); /* nothing of the old line */
	group_cancel(beside);
	CHECK_ERR(group_join(&beside), ERR_FIBER_CANCELED);
	screen_read(master);
	dup2(stderr_before, STDERR_FILENO);
	CHECK(screen_has(0, "warn: one line of log   "));
	for (unsigned row = 1; row < SCREEN_ROWS; row++)
		CHECK(screen_row_is_blank(row));
	CHECK(!screen.strange);
	CHECK_TEXT(batch_view_prefix(), "");
	CHECK(series_points(&series) > 0);
	close(master), close(stderr_before);
	buffer_free(&received);
	buffer_free(&drawn);
}
