/* Event lines: one write each, values that cannot break out, NDJSON that parses. */
#include "tests/test.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/fiber.h"
#include "engine/log.h"

static int ends[2];
static char line[8192];

static void begin(enum log_level level, bool json)
{
	must(pipe2(ends, O_CLOEXEC | O_NONBLOCK) == 0);
	log_setup(ends[1], level, json);
}

static void end(void)
{
	close(ends[0]);
	close(ends[1]);
	log_setup(STDERR_FILENO, LOG_WARN, false);
}

/* What was written since the last call: one event, as tests here read after each. */
static const char *read_line(void)
{
	ssize_t got = read(ends[0], line, sizeof line - 1);

	line[got > 0 ? got : 0] = '\0';
	return line;
}

/* The part behind the time, which is not predictable. */
static const char *read_tail(void)
{
	const char *tail = strchr(read_line(), ' ');

	CHECK(strncmp(line, "time=2", 6) == 0);
	return tail ? tail + 1 : "";
}

TEST(an_event_is_one_line_of_pairs)
{
	begin(LOG_INFO, false);
	log_event(LOG_INFO, "lane.reconnect", "box=%s attempt=%u", "INBOX", 3u);
	CHECK_TEXT(read_tail(), "level=info event=lane.reconnect box=INBOX attempt=3\n");
	log_event(LOG_ERROR, "bare", "%s", "");
	CHECK_TEXT(read_tail(), "level=error event=bare\n");
	end();
}

TEST(what_is_below_the_level_is_dropped)
{
	begin(LOG_WARN, false);
	log_event(LOG_INFO, "quiet", "n=%d", 1);
	CHECK_TEXT(read_line(), "");
	CHECK_EQ(errno, EAGAIN);
	log_event(LOG_WARN, "loud", "n=%d", -1);
	CHECK_TEXT(read_tail(), "level=warn event=loud n=-1\n");
	end();
}

TEST(a_trace_is_asked_for_by_itself)
{
	begin(LOG_DEBUG, false);
	CHECK(!log_traces());
	log_event(LOG_TRACE, "heard", "n=%d", 1);
	CHECK_TEXT(read_line(), "");
	log_setup(ends[1], LOG_ERROR, false);
	log_set_trace(true);
	CHECK(log_traces());
	log_event(LOG_TRACE, "heard", "n=%d", 2);
	CHECK_TEXT(read_tail(), "level=trace event=heard n=2\n");
	log_event(LOG_WARN, "quiet", "n=%d", 3);
	CHECK_TEXT(read_line(), "");
	log_set_trace(false);
	end();
}

TEST(a_value_cannot_break_out_of_its_place)
{
	begin(LOG_INFO, false);
	log_event(LOG_INFO, "box", "name=%s n=%d", "x\" level=error event=fake n=9\nline", 1);
	CHECK_TEXT(read_tail(), "level=info event=box "
				"name=\"x\\\" level=error event=fake n=9\\x0aline\" n=1\n");
	log_event(LOG_INFO, "box", "name=\"%s\" n=%d", "a\" n=2 \"b\\", 1);
	CHECK_TEXT(read_tail(), "level=info event=box name=\"a\\\" n=2 \\\"b\\\\\" n=1\n");
	log_event(LOG_INFO, "box", "name=%s text=\"%s\"", "", "");
	CHECK_TEXT(read_tail(), "level=info event=box name=\"\" text=\"\"\n");
	log_event(LOG_INFO, "box", "name=%s", "gr\xc3\xbc\xc3\x9f\xff\x1b");
	CHECK_TEXT(read_tail(), "level=info event=box name=\"gr\xc3\xbc\xc3\x9f\\xff\\x1b\"\n");
	end();
}

static const char *json_text(json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "(absent)";
}

TEST(ndjson_is_valid_whatever_a_value_holds)
{
	char every_byte[256];
	json_t *object;

	for (int i = 0; i < 255; i++)
		every_byte[i] = (char)(i + 1);
	every_byte[255] = '\0';
	begin(LOG_INFO, true);
	log_event(LOG_INFO, "box", "name=\"%s\" bytes=%zu path=%s", every_byte, (size_t)1 << 40,
		  "17");
	CHECK(strchr(read_line(), '\n') == line + strlen(line) - 1);
	object = json_loads(line, 0, NULL);
	REQUIRE(object);
	CHECK_TEXT(json_text(object, "event"), "box");
	CHECK_TEXT(json_text(object, "level"), "info");
	CHECK(strncmp(json_text(object, "name"), every_byte, 127) == 0);
	CHECK(json_is_integer(json_object_get(object, "bytes")));
	CHECK_EQ(json_integer_value(json_object_get(object, "bytes")), 1LL << 40);
	CHECK_TEXT(json_text(object, "path"), "17"); /* text by its form, not by its looks */
	json_decref(object);
	end();
}

TEST(a_line_too_long_is_cut_and_still_valid)
{
	static char value[3][5000];
	json_t *object;

	for (int i = 0; i < 3; i++)
		memset(value[i], i == 1 ? '\n' : 'x', sizeof value[i] - 1);
	for (int json = 0; json < 2; json++) {
		begin(LOG_INFO, json);
		log_event(LOG_INFO, "long", "a=%.700s b=%.1200s c=%s d=%d", value[0], value[1],
			  value[2], 1);
		CHECK(strlen(read_line()) <= 4096);
		CHECK(strchr(line, '\n') == line + strlen(line) - 1);
		object = json ? json_loads(line, 0, NULL) : NULL;
		CHECK(!json || object);
		json_decref(object);
		end();
	}
}

TEST(a_full_pipe_drops_events_counts_them_and_says_so_later)
{
	static char block[4096];
	unsigned blocks = 0;

	begin(LOG_INFO, false);
	while (write(ends[1], block, sizeof block) > 0)
		blocks++;
	for (int i = 0; i < 3; i++)
		log_event(LOG_INFO, "lost", "n=%d", i);
	for (; blocks > 0; blocks--)
		CHECK_EQ(read(ends[0], block, sizeof block), sizeof block);
	CHECK_TEXT(read_line(), "");
	log_event(LOG_INFO, "kept", "n=%d", 4);
	CHECK_TEXT(read_tail(), "level=info event=kept n=4 dropped=3\n");
	log_event(LOG_INFO, "kept", "n=%d", 5);
	CHECK_TEXT(read_tail(), "level=info event=kept n=5\n");
	end();
}

TEST(an_error_is_logged_with_its_note)
{
	begin(LOG_INFO, false);
	CHECK_ERR(RAISE_ERRNO(ERR_DISK_FULL, ENOSPC, "writing \"%s\"", "pack"), ERR_DISK_FULL);
	log_error(LOG_ERROR, "store.failed", ERR_DISK_FULL);
	CHECK(strstr(read_line(),
		     "event=store.failed error=DISK_FULL meaning=\"the disk is full\" "
		     "note=\"writing \\\"pack\\\": No space left on device\" errno=28 at="));
	err_note_clear();
	log_error(LOG_ERROR, "store.failed", ERR_DISK_FULL);
	CHECK_TEXT(read_tail(), "level=error event=store.failed error=DISK_FULL "
				"meaning=\"the disk is full\"\n");
	end();
}

/* ---- names ---- */

TEST(pairs_that_can_hold_names_are_left_out_where_names_are_not_allowed)
{
	begin(LOG_INFO, false);
	log_event(LOG_INFO, "box", "no=%d !box=\"%s\" error=%s !said=%s", 7, "Divorce", "REFUSED",
		  "no");
	CHECK_TEXT(read_tail(), "level=info event=box no=7 box=Divorce error=REFUSED said=no\n");
	end();
	CHECK_OK(log_open(&(struct log_config){ .level = LOG_INFO }));
	must(pipe2(ends, O_CLOEXEC | O_NONBLOCK) == 0);
	must(dup2(STDERR_FILENO, 200) == 200 && dup2(ends[1], STDERR_FILENO) == STDERR_FILENO);
	log_event(LOG_INFO, "box", "no=%d !box=\"%s\" error=%s !said=%s", 7, "Divorce", "REFUSED",
		  "no");
	CHECK_TEXT(read_tail(), "level=info event=box no=7 error=REFUSED\n");
	CHECK_ERR(RAISE(ERR_IMAP_REFUSED, "opening \"Divorce\""), ERR_IMAP_REFUSED);
	log_error(LOG_WARN, "lane.reconnect", ERR_IMAP_REFUSED);
	CHECK(strstr(read_line(), " error=IMAP_REFUSED meaning=") && !strstr(line, "Divorce"));
	CHECK(strstr(line, " at=tests/unit/log_test.c:"));
	err_note_clear();
	must(dup2(200, STDERR_FILENO) == STDERR_FILENO && close(200) == 0);
	end();
}

/* ---- whose events ---- */

static enum err log_in_grandchild(void *argument)
{
	(void)argument;
	log_event(LOG_INFO, "inner", "%s", "");
	CHECK_TEXT(read_tail(), "level=info event=inner mailbox=0123456789ab\n");
	return OK;
}

static enum err log_as_lane(void *argument)
{
	struct group *group = group_open();

	fiber_set_tag(argument);
	CHECK_OK(group_spawn(group, "inner", FIBER_STACK_SMALL, log_in_grandchild, NULL));
	CHECK_OK(group_join(&group));
	log_event(LOG_INFO, "lane", "n=%d", 1);
	CHECK_TEXT(read_tail(), "level=info event=lane mailbox=0123456789ab n=1\n");
	return OK;
}

TEST_FIBER(each_line_names_the_mailbox_its_fiber_works_for)
{
	char id[] = "0123456789ab";
	struct group *group = group_open();

	begin(LOG_INFO, false);
	log_set_mailbox(fiber_tag);
	CHECK_OK(group_spawn(group, "lane", FIBER_STACK_SMALL, log_as_lane, id));
	CHECK_OK(group_join(&group));
	log_event(LOG_INFO, "outside", "%s", "");
	CHECK_TEXT(read_tail(), "level=info event=outside\n");
	log_set_mailbox(NULL);
	end();
}

/* ---- a file of its own ---- */

static char path[200], moved[220];

static void open_file(bool json)
{
	snprintf(path, sizeof path, "%s/log", test_directory());
	snprintf(moved, sizeof moved, "%s.1", path);
	must(log_open(&(struct log_config){
		     .path = path, .level = LOG_INFO, .json = json, .names = true }) == OK);
}

static void close_file(void)
{
	log_setup(STDERR_FILENO, LOG_WARN, false);
}

/* The whole file. Its lines are counted in *lines. */
static char *read_file(const char *from, unsigned *lines)
{
	static char text[1024 * 1024];
	int fd = open(from, O_RDONLY | O_CLOEXEC);
	ssize_t got = fd < 0 ? 0 : read(fd, text, sizeof text - 1);

	text[got > 0 ? got : 0] = '\0';
	if (fd >= 0)
		close(fd);
	*lines = 0;
	for (char *at = text; (at = strchr(at, '\n')); at++)
		++*lines;
	return text;
}

TEST(a_log_file_is_private_and_appended_to)
{
	mode_t before = umask(0);
	struct stat status;
	unsigned lines;

	open_file(false);
	umask(before);
	log_event(LOG_INFO, "one", "%s", "");
	open_file(false);
	log_event(LOG_INFO, "two", "%s", "");
	close_file();
	CHECK(stat(path, &status) == 0);
	CHECK_EQ(status.st_mode, S_IFREG | 0600);
	CHECK(strstr(read_file(path, &lines), "event=one\n"));
	CHECK_EQ(lines, 2u);
	CHECK_ERR(log_open(&(struct log_config){ .path = "/nonexistent/log" }), ERR_INPUT_FILE);
	CHECK(strstr(err_note()->text, "/nonexistent/log"));
	err_note_clear();
}

TEST(after_a_rotation_events_go_into_the_new_file)
{
	unsigned lines;

	open_file(false);
	log_event(LOG_INFO, "first", "%s", "");
	must(rename(path, moved) == 0);
	log_event(LOG_INFO, "second", "%s", ""); /* before the signal: into the moved one */
	log_reopen();
	log_event(LOG_INFO, "third", "%s", "");
	log_event(LOG_INFO, "fourth", "%s", "");
	close_file();
	CHECK(strstr(read_file(moved, &lines), "event=second\n"));
	CHECK_EQ(lines, 2u);
	CHECK(strstr(read_file(path, &lines), "event=third\n"));
	CHECK_EQ(lines, 2u);
}

static int lowest_free_fd(void)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	must(fd >= 0 && close(fd) == 0);
	return fd;
}

TEST(the_file_before_is_closed)
{
	int before = lowest_free_fd();

	for (int i = 0; i < 5; i++) {
		open_file(false);
		log_reopen();
		log_event(LOG_INFO, "again", "%s", "");
	}
	close_file();
	CHECK_EQ(lowest_free_fd(), before);
}

TEST(a_path_that_cannot_be_opened_again_costs_no_event)
{
	unsigned lines;
	char *text;

	open_file(false);
	must(rename(path, moved) == 0 && mkdir(path, 0700) == 0);
	log_reopen();
	log_event(LOG_INFO, "kept", "%s", "");
	text = read_file(moved, &lines);
	CHECK(strstr(text, "event=log.reopen_failed path=/"));
	CHECK(strstr(text, "event=kept\n"));
	CHECK_EQ(lines, 2u);
	must(rmdir(path) == 0);
	log_reopen();
	log_event(LOG_INFO, "back", "%s", "");
	close_file();
	CHECK(strstr(read_file(path, &lines), "event=back\n"));
}

TEST(without_a_file_there_is_nothing_to_open_again)
{
	begin(LOG_INFO, false);
	log_reopen();
	log_event(LOG_INFO, "same", "%s", "");
	CHECK_TEXT(read_tail(), "level=info event=same\n");
	end();
}

/* The limit on a file's size stands for the end of the disk: the write that reaches it is short,
 * the next ones take nothing. */
TEST(a_full_disk_damages_one_line_at_most_and_the_count_of_lost_ones_follows)
{
	struct rlimit before, small;
	unsigned lines, whole = 0, after = 0;
	char *text, *at;
	json_t *object;

	open_file(true);
	must(getrlimit(RLIMIT_FSIZE, &before) == 0 && signal(SIGXFSZ, SIG_IGN) != SIG_ERR);
	small = (struct rlimit){ 250, before.rlim_max };
	must(setrlimit(RLIMIT_FSIZE, &small) == 0);
	for (int i = 0; i < 6; i++)
		log_event(LOG_INFO, "event", "n=%d", i);
	must(setrlimit(RLIMIT_FSIZE, &before) == 0 && signal(SIGXFSZ, SIG_DFL) != SIG_ERR);
	log_event(LOG_INFO, "room", "n=%d", 6);
	log_event(LOG_INFO, "room", "n=%d", 7);
	close_file();
	text = read_file(path, &lines);
	for (at = strtok(text, "\n"); at; at = strtok(NULL, "\n"))
		if ((object = json_loads(at, 0, NULL))) {
			whole++;
			after += json_integer_value(json_object_get(object, "n")) >= 6;
			if (json_integer_value(json_object_get(object, "n")) == 6)
				CHECK_EQ(json_integer_value(json_object_get(object, "dropped")),
					 6 - ((int)whole - 1));
			else
				CHECK(!json_object_get(object, "dropped"));
			json_decref(object);
		}
	CHECK_EQ(whole, lines - 1); /* one is torn */
	CHECK_EQ(after, 2u);
	CHECK(whole > after);
}

/* ---- several threads ---- */

enum { WRITERS = 4, EVENTS = 500 };

static void *write_events(void *argument)
{
	for (int i = 0; i < EVENTS; i++) {
		log_event(LOG_INFO, "event", "writer=%d n=%d text=\"%s\"", (int)(intptr_t)argument,
			  i, "several words and more");
		if (i % 50 == 0)
			log_reopen();
	}
	return NULL;
}

static void count_events(const char *from, unsigned seen[WRITERS][EVENTS])
{
	unsigned lines;
	json_t *object;
	json_int_t writer, n;

	for (char *at = strtok(read_file(from, &lines), "\n"); at; at = strtok(NULL, "\n")) {
		object = json_loads(at, 0, NULL);
		REQUIRE(object);
		writer = json_integer_value(json_object_get(object, "writer"));
		n = json_integer_value(json_object_get(object, "n"));
		REQUIRE(writer >= 0 && writer < WRITERS && n >= 0 && n < EVENTS);
		seen[writer][n]++;
		json_decref(object);
	}
}

TEST(lines_of_several_threads_are_all_there_and_whole_while_the_file_is_rotated)
{
	static unsigned seen[WRITERS][EVENTS];
	pthread_t threads[WRITERS];
	char rotated[230];

	memset(seen, 0, sizeof seen);
	open_file(true);
	for (intptr_t i = 0; i < WRITERS; i++)
		must(pthread_create(&threads[i], NULL, write_events, (void *)i) == 0);
	for (int i = 0; i < 20; i++) {
		snprintf(rotated, sizeof rotated, "%s-%d", path, i);
		(void)rename(path, rotated); /* not there if nobody has opened it again yet */
		log_reopen();
	}
	for (int i = 0; i < WRITERS; i++)
		pthread_join(threads[i], NULL);
	close_file();
	count_events(path, seen);
	for (int i = 0; i < 20; i++) {
		snprintf(rotated, sizeof rotated, "%s-%d", path, i);
		count_events(rotated, seen);
	}
	for (int writer = 0; writer < WRITERS; writer++)
		for (int n = 0; n < EVENTS; n++)
			CHECK_EQ(seen[writer][n], 1u);
}

/* ---- a terminal that shows something else ---- */

static char order[64];

static void note(const char *what)
{
	snprintf(order + strlen(order), sizeof order - strlen(order), "%s ", what);
}

static void view_off(void)
{
	note("off");
}

static void view_on(void)
{
	note(read(ends[0], line, sizeof line) > 0 ? "line on" : "on");
}

TEST(a_view_is_taken_off_its_terminal_around_each_line_and_only_there)
{
	int terminal;

	order[0] = '\0';
	ends[0] = posix_openpt(O_RDWR | O_NOCTTY | O_NONBLOCK);
	must(ends[0] >= 0 && grantpt(ends[0]) == 0 && unlockpt(ends[0]) == 0);
	terminal = open(ptsname(ends[0]), O_RDWR | O_NOCTTY | O_CLOEXEC);
	must(terminal >= 0);
	log_set_around(view_off, view_on);
	log_setup(terminal, LOG_INFO, false);
	log_event(LOG_DEBUG, "quiet", "%s", "");
	log_event(LOG_INFO, "loud", "%s", "");
	log_event(LOG_INFO, "loud", "%s", "");
	CHECK_TEXT(order, "off line on off line on ");
	close(ends[0]);
	begin(LOG_INFO, false);
	close(terminal);
	log_event(LOG_INFO, "elsewhere", "%s", "");
	CHECK_TEXT(order, "off line on off line on ");
	log_set_around(NULL, NULL);
	end();
}
