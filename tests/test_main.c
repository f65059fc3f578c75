/* Runs the tests of one program: all, or those whose names are given. Prints PASS, FAIL or SKIP and
 * the name of each; exit code 1 if one failed. */
#include "tests/test.h"

#include <ftw.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

#include "engine/shard.h"

static struct test *first;
static const struct test *running;
static bool failed, skipped;
static char directory[64], skip_reason[200];

void test_add(struct test *test)
{
	struct test **at = &first;

	while (*at)
		at = &(*at)->next;
	*at = test;
}

void test_failed(const char *file, int line, const char *format, ...)
{
	va_list arguments;

	failed = true;
	printf("  %s:%d: ", file, line);
	va_start(arguments, format);
	vprintf(format, arguments);
	va_end(arguments);
	printf("\n");
}

void test_skipped(const char *format, ...)
{
	va_list arguments;

	skipped = true;
	va_start(arguments, format);
	vsnprintf(skip_reason, sizeof skip_reason, format, arguments);
	va_end(arguments);
}

bool test_check_err(const char *file, int line, const char *what, enum err got, enum err expected)
{
	if (got == expected)
		return true;
	test_failed(file, line, "%s gives %s, not %s (%s)", what, err_name(got), err_name(expected),
		    err_note()->text);
	return false;
}

bool test_check_text(const char *file, int line, const char *what, const char *got,
		     const char *expected)
{
	if (strcmp(got, expected) == 0)
		return true;
	test_failed(file, line, "%s is \"%s\", not \"%s\"", what, got, expected);
	return false;
}

const char *test_name(void)
{
	return running->name;
}

const char *test_directory(void)
{
	if (!directory[0]) {
		snprintf(directory, sizeof directory, "/tmp/mailhaul-test-XXXXXX");
		must(mkdtemp(directory));
	}
	return directory;
}

static int remove_entry(const char *path, const struct stat *status, int kind, struct FTW *walk)
{
	(void)status, (void)kind, (void)walk;
	return remove(path);
}

static enum err run_in_fiber(void *argument)
{
	((struct test *)argument)->run();
	return OK;
}

static void run(struct test *test)
{
	enum err e;

	running = test;
	failed = skipped = false;
	err_note_clear();
	if (!test->in_fiber)
		test->run();
	else if ((e = shard_run(&(struct shard_config){ 0 }, run_in_fiber, test)))
		test_failed(__FILE__, __LINE__, "shard_run: %s (%s)", err_name(e),
			    err_note()->text);
	if (directory[0])
		nftw(directory, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
	directory[0] = '\0';
	if (failed)
		printf("FAIL %s\n", test->name);
	else if (skipped)
		printf("SKIP %s: %s\n", test->name, skip_reason);
	else
		printf("PASS %s\n", test->name);
	fflush(stdout);
}

static bool is_asked_for(const struct test *test, int count, char **names)
{
	bool found = count == 1;

	for (int i = 1; i < count; i++)
		found |= strcmp(names[i], test->name) == 0;
	return found;
}

int main(int count, char **names)
{
	bool any_failed = false;

	for (struct test *test = first; test; test = test->next)
		if (is_asked_for(test, count, names)) {
			run(test);
			any_failed |= failed;
		}
	return any_failed;
}
