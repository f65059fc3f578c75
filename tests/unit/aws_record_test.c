/* The record of requests to AWS, told to by several threads at once and on a real disk; the rest is
 * tests/sim/aws_record_test.c's. */
#include "tools/aws_record.h"

#include <dirent.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "engine/clock.h"
#include "engine/fiber.h"
#include "tests/test.h"
#include "transport/json.h"

/* What all tell in a round finds room in memory. */
enum { THREADS = 4, OF_A_THREAD = 200, ROUNDS = 5 };

static struct aws_record *record;

static void *tell_some(void *argument)
{
	const char *const *operation = argument;
	const struct aws_listener *listener = aws_record_listener(record);
	struct aws_request request = { .service = "s3",
				       .operation = *operation,
				       .host = "h",
				       .region = "r",
				       .bucket = "b",
				       .key = "",
				       .code = "",
				       .message = "",
				       .request_id = "",
				       .host_id = "",
				       .status = 200,
				       .duration = NSEC_MILLISECOND };

	for (unsigned i = 0; i < OF_A_THREAD; i++) {
		request.attempt = i + 1;
		listener->tell(listener->context, &request);
	}
	return NULL;
}

/* "<the test's directory>/<the only file in it>" */
static const char *find_file(void)
{
	static char path[600];
	DIR *directory = opendir(test_directory());
	struct dirent *entry;

	must(directory);
	*path = '\0';
	while ((entry = readdir(directory)))
		if (entry->d_name[0] != '.')
			snprintf(path, sizeof path, "%s/%s", test_directory(), entry->d_name);
	closedir(directory);
	return path;
}

struct line {
	char operation[40], bucket[4];
	uint64_t version, attempt;
};
static const struct json_field fields[] = {
	JSON_FIELD("version", JSON_NUMBER, struct line, version),
	JSON_FIELD("operation", JSON_TEXT, struct line, operation),
	JSON_FIELD("bucket", JSON_TEXT, struct line, bucket),
	JSON_FIELD("attempt", JSON_NUMBER, struct line, attempt),
};

/* So far; 0: there is no file yet. */
static unsigned count_lines(void)
{
	FILE *file = fopen(find_file(), "r");
	unsigned count = 0;
	char text[2000];

	while (file && fgets(text, sizeof text, file))
		count += strchr(text, '\n') != NULL;
	must(!file || fclose(file) == 0);
	return count;
}

/* Whole lines, each thread's in its order. */
static void check_lines(const char *const operations[THREADS])
{
	FILE *file = fopen(find_file(), "r");
	uint64_t told[THREADS] = { 0 };
	char text[2000];

	must(file);
	while (fgets(text, sizeof text, file)) {
		struct line line = { .version = 0 };
		unsigned of = 0;

		CHECK(json_read(text_of(text), fields, ARRAY_COUNT(fields), &line));
		CHECK_EQ(line.version, 1);
		while (of < THREADS - 1 && strcmp(operations[of], line.operation) != 0)
			of++;
		CHECK_TEXT(line.operation, operations[of]);
		CHECK_EQ(line.attempt, told[of] % OF_A_THREAD + 1);
		told[of]++;
	}
	for (unsigned i = 0; i < THREADS; i++)
		CHECK_EQ(told[i], ROUNDS * OF_A_THREAD);
	must(fclose(file) == 0);
}

static void play_round(const char *const operations[THREADS])
{
	pthread_t threads[THREADS];

	for (unsigned i = 0; i < THREADS; i++)
		must(pthread_create(&threads[i], NULL, tell_some,
				    (void *)(uintptr_t)&operations[i]) == 0);
	for (unsigned i = 0; i < THREADS; i++)
		must(pthread_join(threads[i], NULL) == 0);
}

TEST_FIBER(lines_of_several_threads_are_whole)
{
	static const char *const operations[THREADS] = { "GetObject", "PutObject", "HeadObject",
							 "UploadPart" };
	struct group *group = group_open();
	struct stat stat_of;
	char *text = NULL;
	size_t bytes;
	FILE *to;

	REQUIRE(CHECK_OK(aws_record_open(
		&(struct aws_record_config){ .directory = test_directory() }, &record)));
	CHECK_OK(group_spawn(group, "record", FIBER_STACK_SMALL, aws_record_keep, record));
	for (unsigned i = 1; i < ROUNDS; i++) {
		play_round(operations);
		while (count_lines() < i * THREADS * OF_A_THREAD)
			CHECK_OK(fiber_sleep(clock_after(10 * NSEC_MILLISECOND)));
	}
	group_cancel(group);
	CHECK_ERR(group_join(&group), ERR_FIBER_CANCELED);
	play_round(operations);
	aws_record_finish(record, clock_after(20 * NSEC_SECOND));
	must((to = open_memstream(&text, &bytes)) != NULL);
	aws_record_text(record, to);
	must(fclose(to) == 0);
	CHECK(strncmp(text, "AWS requests 4000, 0 failed, ", 29) == 0);
	CHECK(!strstr(text, "not complete"));
	free(text);
	aws_record_close(&record);
	CHECK(stat(find_file(), &stat_of) == 0 && (stat_of.st_mode & 0777) == 0600);
	check_lines(operations);
}
