/* The run's record of its requests to AWS, on the simulated disk: each line as it is specified, and
 * a disk that is full for a while or for good.
 *
 *	build/gcc/tests/sim/aws_record_test NAME */
#include "tools/aws_record.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "engine/clock.h"
#include "engine/io.h"
#include "engine/log.h"
#include "engine/shard.h"
#include "tests/sim/disk_sim.h"
#include "tests/sim/ring_verbs.h"
#include "tests/sim/sim.h"
#include "tests/test.h"
#include "tools/json_out.h"
#include "transport/json.h"

#define VECTOR "tests/vec/aws/requests.ndjson"
#define STATE  "/state"

enum { MANY = 20000 /* past what memory holds, on any machine */ };

static struct aws_record *record;
static bool names; /* may be written */

static const struct aws_request put = {
	.service = "s3",
	.operation = "PutObject",
	.host = "mail.s3.eu-central-1.amazonaws.com",
	.region = "eu-central-1",
	.bucket = "mail",
	.key = "archive/alice@example.com/index/000000000001.idx",
	.code = "",
	.message = "not for the record",
	.request_id = "4442587FB7D0A2F9",
	.host_id = "vlR7PnpV2Ce81l0PRw6jlUpck7Jo5Zs=",
	.status = 200,
	.attempt = 1,
	.duration = 12345678,
	.bytes_sent = 5242880,
};

static void tell(const struct aws_request *request)
{
	const struct aws_listener *listener = aws_record_listener(record);

	listener->tell(listener->context, request);
}

static void tell_many(unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		tell(&put);
}

static nsec soon(void)
{
	return clock_after(60 * NSEC_SECOND);
}

/* ---- a run ---- */

static enum err with_record(void *argument)
{
	fiber_main *const *run = argument;
	enum err e;

	CHECK_OK(io_mkdir(STATE, 0700, soon()));
	CHECK_OK(aws_record_open(&(struct aws_record_config){ .directory = STATE, .names = names },
				 &record));
	e = (*run)(NULL);
	aws_record_close(&record);
	return e;
}

static void run(fiber_main *what)
{
	static struct disk *disk;

	if (!disk)
		disk = disk_open(32 * 1024 * 1024);
	disk_format(disk);
	disk_limit(disk, 0);
	sim_begin(&(struct sim_config){ .seed = 7 });
	CHECK_OK(shard_run(&(struct shard_config){ .arena_chunks = 16 }, with_record, &what));
	CHECK_EQ(ring_verb_open_files(true), 0);
}

/* Beside the fiber that writes. */
static void keep_for(nsec duration)
{
	struct group *group = group_open();

	CHECK_OK(group_spawn(group, "record", FIBER_STACK_SMALL, aws_record_keep, record));
	CHECK_OK(fiber_sleep(clock_after(duration)));
	group_cancel(group);
	CHECK_ERR(group_join(&group), ERR_FIBER_CANCELED);
}

/* The only file, terminated; "" where there is none. */
static char *read_file(void)
{
	struct buffer files = { 0 }, content = { 0 };
	char path[300];

	CHECK_OK(io_list(STATE, soon(), &files));
	if (files.bytes) {
		CHECK_EQ(strlen(files.at) + 1, files.bytes);
		CHECK(strncmp(files.at, "aws-requests-20", 15) == 0);
		snprintf(path, sizeof path, STATE "/%s", files.at);
		CHECK_EQ(disk_fact(disk_current(), disk_find(disk_current(), path)).mode & 0777,
			 0600);
		CHECK_OK(io_read_file(path, 32 * 1024 * 1024, soon(), &content));
	}
	buffer_add_text(&content, "");
	must(!content.failed && content.at);
	buffer_free(&files);
	return content.at;
}

/* All of it are whole lines; returns how many, and what they say is missing. */
static unsigned count_lines(uint64_t *missing)
{
	static const struct json_field fields[] = { { .key = "missing",
						      .kind = JSON_NUMBER,
						      .optional = true,
						      .room = sizeof(uint64_t) } };
	char *content = read_file(), *at = content, *end;
	unsigned lines = 0;

	*missing = 0;
	for (; (end = strchr(at, '\n')); at = end + 1, lines++) {
		uint64_t here = 0;

		CHECK(json_read((struct text){ at, (size_t)(end - at) }, fields, 1, &here));
		*missing += here;
	}
	CHECK_TEXT(at, "");
	free(content);
	return lines;
}

static char *told_text(void)
{
	char *text = NULL;
	size_t bytes;
	FILE *to = open_memstream(&text, &bytes);

	must(to);
	aws_record_text(record, to);
	must(fclose(to) == 0);
	return text;
}

static char *told_json(void)
{
	char *text = NULL;
	size_t bytes;
	FILE *to = open_memstream(&text, &bytes);
	struct json_out json = { .file = to };

	must(to);
	json_object_begin(&json, NULL);
	aws_record_json(record, &json);
	json_object_end(&json);
	must(fclose(to) == 0);
	return text;
}

static void shows(const char *text, const char *part)
{
	if (!strstr(text, part))
		test_failed(__FILE__, __LINE__, "there is no \"%s\" in:\n%s", part, text);
}

/* A number of the report, the first of its name. */
static int64_t told_number(const char *name)
{
	char *text = told_json(), key[40], *at;
	int64_t number;

	snprintf(key, sizeof key, "\"%s\":", name);
	at = strstr(text, key);
	number = at ? strtoll(at + strlen(key), NULL, 10) : -1;
	free(text);
	return number;
}

/* ---- lines ---- */

static char *read_vector(void)
{
	static char content[16 * 1024];
	FILE *file = fopen(VECTOR, "r");

	must(file);
	content[fread(content, 1, sizeof content - 1, file)] = '\0';
	must(fclose(file) == 0);
	return content;
}

static enum err write_vector(void *unused)
{
	struct aws_request denied = put, silent = put, role = put;
	char *content;

	(void)unused;
	CHECK_OK(fiber_sleep(clock_after(NSEC_SECOND)));
	tell(&put);
	denied.attempt = 2;
	denied.status = 403;
	denied.error = ERR_S3_DENIED;
	denied.code = "Access\"Denied\n";
	denied.bytes_sent = 0;
	denied.bytes_received = 243;
	fiber_set_tag("77179dc895f5");
	tell(&denied);
	fiber_set_tag(NULL);
	silent.status = 0;
	silent.error = ERR_NET_TIMEOUT;
	silent.duration = 60 * NSEC_SECOND;
	silent.request_id = silent.host_id = "";
	silent.bytes_sent = 0;
	tell(&silent);
	role.service = "sts";
	role.operation = "AssumeRole";
	role.host = "sts.eu-central-1.amazonaws.com";
	role.bucket = role.key = role.host_id = "";
	role.request_id = "c6104cbe-af31-11e0-8154-cbc7ccf896c7";
	role.attempt = 0;
	role.bytes_sent = 210;
	role.bytes_received = 1337;
	tell(&role);
	aws_record_finish(record, soon());
	content = read_file();
	CHECK_TEXT(content, read_vector());
	if (getenv("MAILHAUL_WRITE_VECTORS")) {
		FILE *file = fopen(VECTOR, "w");

		must(file && fputs(content, file) >= 0 && fclose(file) == 0);
	}
	free(content);
	return OK;
}

TEST(lines_are_as_specified)
{
	names = false;
	run(write_vector);
}

static enum err write_names(void *unused)
{
	struct aws_request odd = put;
	char key[3000], *content;

	(void)unused;
	memset(key, '\x01', sizeof key - 1);
	key[sizeof key - 1] = '\0';
	odd.key = key;
	odd.host_id = odd.bucket = odd.host = key;
	tell(&odd);
	tell(&put);
	aws_record_finish(record, soon());
	content = read_file();
	shows(content, "\"key\":\"archive/alice@example.com/index/000000000001.idx\"");
	free(content);
	CHECK_EQ(count_lines(&(uint64_t){ 0 }), 2);
	return OK;
}

TEST(keys_are_written_where_names_are_allowed_and_long_texts_are_cut)
{
	names = true;
	run(write_names);
	names = false;
}

/* ---- when it is written ---- */

static enum err nothing_asked(void *unused)
{
	char *text = told_text(), *json = told_json();

	(void)unused;
	keep_for(NSEC_SECOND);
	aws_record_finish(record, soon());
	CHECK_EQ(count_lines(&(uint64_t){ 0 }), 0);
	CHECK_TEXT(text, "");
	CHECK_TEXT(json, "{}");
	free(text);
	free(json);
	return OK;
}

TEST(a_run_that_asks_nothing_leaves_no_file_and_no_word)
{
	run(nothing_asked);
}

static enum err written_soon(void *unused)
{
	uint64_t missing;

	(void)unused;
	tell_many(3);
	CHECK_EQ(count_lines(&missing), 0);
	keep_for(NSEC_SECOND);
	CHECK_EQ(count_lines(&missing), 3);
	tell_many(2);
	CHECK_EQ(count_lines(&missing), 3);
	aws_record_finish(record, soon());
	CHECK_EQ(count_lines(&missing), 5);
	CHECK_EQ(missing, 0);
	CHECK_EQ(told_number("missing"), 0);
	return OK;
}

TEST(lines_are_on_the_disk_within_a_second_and_all_are_at_the_end)
{
	run(written_soon);
}

static enum err all_at_once(void *unused)
{
	uint64_t missing;
	unsigned there;

	(void)unused;
	tell_many(MANY);
	keep_for(NSEC_SECOND);
	tell_many(2);
	aws_record_finish(record, soon());
	there = count_lines(&missing);
	CHECK(there > 500 && there < MANY);
	CHECK_EQ(there + missing, MANY + 2);
	CHECK_EQ(told_number("missing"), (int64_t)missing);
	CHECK_EQ(told_number("requests"), MANY + 2);
	return OK;
}

TEST(what_finds_no_room_in_memory_is_counted_and_the_next_line_says_so)
{
	run(all_at_once);
}

/* ---- a full disk ---- */

static enum err full_for_a_while(void *unused)
{
	char *text, said[2000];
	ssize_t got;
	int ends[2];

	(void)unused;
	must(pipe2(ends, O_CLOEXEC | O_NONBLOCK) == 0);
	log_setup(ends[1], LOG_WARN, false);
	tell_many(10);
	keep_for(NSEC_SECOND);
	disk_limit(disk_current(), DISK_PAGE_BYTES);
	tell_many(100);
	keep_for(20 * NSEC_SECOND);
	disk_limit(disk_current(), 0);
	tell_many(10);
	keep_for(20 * NSEC_SECOND);
	CHECK_EQ(count_lines(&(uint64_t){ 0 }), 120);
	aws_record_finish(record, soon());
	CHECK_EQ(told_number("missing"), 0);
	text = told_text();
	CHECK(!strstr(text, "not complete"));
	free(text);
	log_setup(STDERR_FILENO, LOG_ERROR, false);
	got = read(ends[0], said, sizeof said - 1);
	said[got > 0 ? got : 0] = '\0';
	shows(said, "level=warn event=aws_record.failed path=/state/aws-requests-20");
	shows(said, " error=DISK_FULL ");
	CHECK(strchr(said, '\n') == said + got - 1);
	must(close(ends[0]) == 0 && close(ends[1]) == 0);
	return OK;
}

TEST(a_disk_that_was_full_is_told_of_once_and_gets_all_lines_when_there_is_room)
{
	run(full_for_a_while);
}

static enum err full_for_good(void *unused)
{
	char words[80], *text, *json;
	int64_t missing;
	unsigned there;

	(void)unused;
	disk_limit(disk_current(), 16 * DISK_PAGE_BYTES);
	tell_many(10);
	keep_for(NSEC_SECOND);
	tell_many(1000);
	keep_for(20 * NSEC_SECOND);
	tell_many(MANY);
	aws_record_finish(record, soon());
	there = count_lines(&(uint64_t){ 0 });
	missing = told_number("missing");
	CHECK(there >= 10 && missing > 0);
	CHECK_EQ(there + missing, 10 + 1000 + MANY);
	json = told_json();
	shows(json, ",\"error\":\"DISK_FULL\",");
	free(json);
	text = told_text();
	snprintf(words, sizeof words,
		 "AWS record   not complete: %lld requests are missing: ", (long long)missing);
	shows(text, words);
	shows(text, err_text(ERR_DISK_FULL));
	free(text);
	CHECK_EQ(err_note()->error, OK);
	return OK;
}

TEST(a_disk_that_stays_full_stops_nothing_and_the_file_ends_with_a_whole_line)
{
	run(full_for_good);
}

static enum err after_another_error(void *unused)
{
	(void)unused;
	disk_limit(disk_current(), DISK_PAGE_BYTES);
	tell_many(100);
	(void)!RAISE(ERR_S3_DENIED, "the cause");
	aws_record_finish(record, soon());
	CHECK_TEXT(err_note()->text, "the cause");
	err_note_clear();
	CHECK_EQ(told_number("missing"), 100);
	return OK;
}

TEST(what_the_record_could_not_do_does_not_cover_the_cause)
{
	run(after_another_error);
}

/* ---- totals ---- */

static enum err totals(void *unused)
{
	struct aws_request slow = put, failed = put;
	char *text, *json;

	(void)unused;
	tell_many(98);
	slow.duration = NSEC_SECOND;
	slow.attempt = 2;
	tell(&slow);
	tell(&slow);
	failed.status = 503;
	failed.error = ERR_S3_THROTTLED;
	tell(&failed);
	failed.status = 0;
	tell(&failed);
	failed.status = 404;
	failed.error = ERR_S3_ABSENT;
	tell(&failed);
	aws_record_finish(record, soon());
	text = told_text();
	shows(text, "AWS requests 103, 2 failed, 2 repeated; record: /state/aws-requests-20");
	shows(text, "AWS request  s3 PutObject at mail.s3.eu-central-1.amazonaws.com, status 200: "
		    "100 times, half of them in 13.31 ms, 99 % in 1048.58 ms\n");
	shows(text, ", status 503: 1 time, half");
	shows(text, ", no answer: 1 time, half");
	CHECK(!strstr(text, "status 404"));
	CHECK(!strstr(text, "not complete") && !strstr(text, "other kinds"));
	free(text);
	json = told_json();
	shows(json, "{\"aws_requests\":{\"file\":\"/state/aws-requests-20");
	shows(json, ",\"requests\":103,\"failed\":2,\"repeated\":2,\"missing\":0,\"error\":null,"
		    "\"kinds\":[{\"service\":\"s3\",\"operation\":\"PutObject\",\"host\":"
		    "\"mail.s3.eu-central-1.amazonaws.com\",\"status\":200,\"requests\":100,"
		    "\"failed\":0,\"repeated\":2,\"bytes_sent\":524288000,\"bytes_received\":0,"
		    "\"p50_ms\":13.311,\"p99_ms\":1048.575},{");
	shows(json, "}],\"of_other_kinds\":0}}");
	free(json);
	return OK;
}

TEST(reports_tell_of_each_kind_how_many_and_how_long)
{
	run(totals);
}

static enum err many_kinds(void *unused)
{
	struct aws_request request = put;
	char *text;

	(void)unused;
	for (unsigned i = 0; i < 200; i++) {
		request.status = 200 + i;
		tell(&request);
	}
	aws_record_finish(record, soon());
	CHECK_EQ(told_number("requests"), 200);
	CHECK(told_number("of_other_kinds") > 0);
	text = told_text();
	shows(text, " of other kinds\n");
	free(text);
	return OK;
}

TEST(kinds_have_an_end_and_requests_do_not)
{
	run(many_kinds);
}
