/* crypto/secret.c: which files are refused, and that what is read is exactly what is there. */
#include "crypto/secret.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/test.h"

static const char *file_with(const void *bytes, size_t n, mode_t mode)
{
	static char path[128];
	int fd;

	snprintf(path, sizeof path, "%s/secret", test_directory());
	unlink(path);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
	must(fd >= 0 && write(fd, bytes, n) == (ssize_t)n);
	must(fchmod(fd, mode) == 0 && close(fd) == 0);
	return path;
}

static void check_reads(const char *content, const char *expected)
{
	struct secret *secret = NULL;

	if (!CHECK_OK(secret_from_file(file_with(content, strlen(content), 0600), &secret)))
		return;
	CHECK(text_equal(secret_text(secret), text_of(expected)));
	secret_close(&secret);
	CHECK(secret == NULL);
}

static void check_refused(const void *content, size_t bytes, mode_t mode, const char *why)
{
	struct secret *secret = NULL;

	err_note_clear();
	CHECK_ERR(secret_from_file(file_with(content, bytes, mode), &secret), ERR_INPUT_SECRET);
	CHECK(secret == NULL);
	if (!strstr(err_note()->text, why))
		test_failed(__FILE__, __LINE__, "\"%s\" does not say \"%s\"", err_note()->text,
			    why);
}

TEST(a_secret_is_the_first_line_without_its_end)
{
	check_reads("hunter2\n", "hunter2");
	check_reads("hunter2\r\n", "hunter2");
	check_reads("hunter2", "hunter2");
	check_reads("hunter2\nsecond line\n", "hunter2");
	check_reads(" with spaces \n", " with spaces ");
	check_reads("p\xc3\xa4ss\n", "p\xc3\xa4ss");
	check_reads("cr\rinside\n", "cr\rinside");
	check_reads("cr at the end of the file\r", "cr at the end of the file\r");
}

TEST(a_secret_file_that_others_can_read_is_refused_with_the_remedy)
{
	static const mode_t modes[] = { 0640, 0604, 0644, 0620, 0602, 0610, 0601, 0660 };

	for (size_t i = 0; i < ARRAY_COUNT(modes); i++)
		check_refused("hunter2\n", 8, modes[i], "chmod 600 ");
	CHECK(strstr(err_note()->text, "/secret"));
}

TEST(a_secret_file_may_be_read_only)
{
	struct secret *secret = NULL;

	if (CHECK_OK(secret_from_file(file_with("x", 1, 0400), &secret)))
		CHECK_EQ(secret_text(secret).bytes, 1);
	secret_close(&secret);
}

TEST(an_empty_secret_is_refused)
{
	check_refused("", 0, 0600, "is empty");
	check_refused("\n", 1, 0600, "empty line");
	check_refused("\r\nhunter2\n", 10, 0600, "empty line");
}

TEST(a_secret_with_nul_is_refused)
{
	check_refused("ab\0cd\n", 6, 0600, "NUL");
	check_refused("\0", 1, 0600, "NUL");
}

TEST(nul_behind_the_first_line_is_nobodys_business)
{
	struct secret *secret = NULL;

	if (CHECK_OK(secret_from_file(file_with("ab\n\0\n", 5, 0600), &secret)))
		CHECK(text_equal(secret_text(secret), text_of("ab")));
	secret_close(&secret);
}

TEST(the_longest_secret_is_read_and_one_byte_more_is_refused)
{
	static char line[SECRET_BYTES_MAX + 3];
	struct secret *secret = NULL;

	memset(line, 'x', sizeof line);
	line[SECRET_BYTES_MAX] = '\r';
	line[SECRET_BYTES_MAX + 1] = '\n';
	if (CHECK_OK(secret_from_file(file_with(line, SECRET_BYTES_MAX + 2, 0600), &secret)))
		CHECK_EQ(secret_text(secret).bytes, SECRET_BYTES_MAX);
	secret_close(&secret);
	line[SECRET_BYTES_MAX] = 'x';
	check_refused(line, SECRET_BYTES_MAX + 2, 0600, "longer than");
	check_refused(line, SECRET_BYTES_MAX + 1, 0600, "longer than");
	memset(line, 'x', sizeof line);
	check_refused(line, sizeof line, 0600, "longer than");
}

TEST(a_secret_file_must_be_a_regular_file_and_a_fifo_does_not_block)
{
	struct secret *secret = NULL;
	char path[128];

	CHECK_ERR(secret_from_file(test_directory(), &secret), ERR_INPUT_SECRET);
	CHECK(strstr(err_note()->text, "not a regular file"));
	err_note_clear();
	snprintf(path, sizeof path, "%s/fifo", test_directory());
	REQUIRE(mkfifo(path, 0600) == 0);
	CHECK_ERR(secret_from_file(path, &secret), ERR_INPUT_SECRET);
	CHECK(strstr(err_note()->text, "not a regular file"));
}

TEST(an_absent_secret_file_is_named)
{
	struct secret *secret = NULL;

	CHECK_ERR(secret_from_file("/nonexistent/password", &secret), ERR_INPUT_SECRET);
	CHECK(strstr(err_note()->text, "/nonexistent/password"));
	CHECK(strstr(err_note()->text, "No such file"));
}

TEST(a_refused_secret_is_not_in_the_error)
{
	check_refused("hunter2\n", 8, 0644, "chmod");
	CHECK(!strstr(err_note()->text, "hunter2"));
	check_refused("hunter2\0\n", 9, 0600, "NUL");
	CHECK(!strstr(err_note()->text, "hunter2"));
}

TEST(secret_bytes_are_copied_and_bounded)
{
	static char big[SECRET_BYTES_MAX + 1];
	char bytes[] = "token";
	struct secret *secret = NULL;

	if (CHECK_OK(secret_from_bytes(bytes, 5, &secret))) {
		secret_wipe(bytes, 5);
		CHECK_EQ(bytes[0], 0);
		CHECK_EQ(bytes[4], 0);
		CHECK(text_equal(secret_text(secret), text_of("token")));
	}
	secret_close(&secret);
	secret_close(&secret);
	memset(big, 'x', sizeof big);
	CHECK_ERR(secret_from_bytes(big, sizeof big, &secret), ERR_INPUT_SECRET);
	CHECK_ERR(secret_from_bytes("", 0, &secret), ERR_INPUT_SECRET);
	CHECK_ERR(secret_from_bytes("a\0b", 3, &secret), ERR_INPUT_SECRET);
}

/* In a child without the right to lock more than nothing. */
TEST(a_secret_that_cannot_be_locked_is_told)
{
	struct secret *secret = NULL;
	int status = 1;
	pid_t child;

	if (SANITIZED)
		SKIP("AddressSanitizer's mlock(2) locks nothing and says that it did");
	child = fork();
	if (child == 0) {
		bool before = secret_from_bytes("a", 1, &secret) == OK && secret_all_locked();

		secret_close(&secret);
		if (setrlimit(RLIMIT_MEMLOCK, &(struct rlimit){ 0, 0 }) ||
		    (getuid() == 0 && setresuid(65534, 65534, 65534)))
			_exit(1);
		_exit(!before || secret_from_bytes("a", 1, &secret) != OK || secret_all_locked());
	}
	REQUIRE(child > 0 && waitpid(child, &status, 0) == child);
	CHECK_EQ(status, 0);
}

/* In a child: the settings would outlast the test. */
TEST(the_process_leaves_no_core_and_is_not_dumpable)
{
	struct rlimit limit;
	pid_t child = fork();
	int status = 0;

	if (child == 0)
		_exit(secret_process_setup() != OK || prctl(PR_GET_DUMPABLE) != 0 ||
		      getrlimit(RLIMIT_CORE, &limit) || limit.rlim_max != 0);
	REQUIRE(child > 0);
	REQUIRE(waitpid(child, &status, 0) == child);
	CHECK(WIFEXITED(status));
	CHECK_EQ(WEXITSTATUS(status), 0);
}
