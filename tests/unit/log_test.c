/* Event lines: one write each, values that cannot break out, NDJSON that parses. */
#include "tests/test.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <unistd.h>

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
