/* tools/secret_ref.c: what is a reference, and that getting a secret ends in time, wipes nothing
 * that is wanted, and tells nothing that is secret. */
#include "tools/secret_ref.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/test.h"
#include "tools/secret_ref_exec.h"
#include "tools/secret_ref_store.h"

#define MARKER "hunter2-and-more"

static const char *write_file(const char *name, const char *content, mode_t mode)
{
	static char path[200];
	FILE *file;

	snprintf(path, sizeof path, "%s/%s", test_directory(), name);
	file = fopen(path, "w");
	must(file && fputs(content, file) >= 0 && fclose(file) == 0 && chmod(path, mode) == 0);
	return path;
}

/* "KIND:" and the path of a file. */
static const char *reference(const char *kind, const char *path)
{
	static char text[400];

	snprintf(text, sizeof text, "%s%s", kind, path);
	return text;
}

static void check_gives(const char *text, const char *expected)
{
	struct secret_ref ref;
	struct secret *secret = NULL;

	if (!CHECK_OK(secret_ref_parse(text, &ref)) || !CHECK_OK(secret_ref_check(&ref)) ||
	    !CHECK_OK(secret_ref_resolve(&ref, clock_after(20 * NSEC_SECOND), &secret)))
		return;
	CHECK(text_equal(secret_text(secret), text_of(expected)));
	secret_close(&secret);
}

static void check_fails(const char *text, nsec within, const char *why)
{
	struct secret_ref ref;
	struct secret *secret = NULL;

	err_note_clear();
	if (!CHECK_OK(secret_ref_parse(text, &ref)))
		return;
	CHECK_ERR(secret_ref_resolve(&ref, clock_after(within), &secret), ERR_INPUT_SECRET);
	CHECK(secret == NULL);
	CHECK(!strstr(err_note()->text, MARKER));
	if (!strstr(err_note()->text, why))
		test_failed(__FILE__, __LINE__, "\"%s\" does not say \"%s\"", err_note()->text,
			    why);
	err_note_clear();
}

static void check_no_reference(const char *text)
{
	struct secret_ref ref;

	err_note_clear();
	CHECK_ERR(secret_ref_parse(text, &ref), ERR_INPUT_USAGE);
	CHECK(!strstr(err_note()->text, MARKER));
	err_note_clear();
}

TEST(what_is_no_reference_is_refused_and_not_repeated)
{
	static const char *const texts[] = { "",
					     MARKER,
					     "file:",
					     "env:",
					     "env:A=" MARKER,
					     "systemd:",
					     "systemd:..",
					     "systemd:../" MARKER,
					     "exec:",
					     "exec:   ",
					     "exec:pass " MARKER,
					     "exec:/bin/echo \"" MARKER,
					     "exec:/bin/echo '" MARKER,
					     "csv:" MARKER,
					     "File:" MARKER };

	for (size_t i = 0; i < ARRAY_COUNT(texts); i++)
		check_no_reference(texts[i]);
}

TEST(a_file_gives_its_first_line)
{
	check_gives(reference("file:", write_file("pw", "one\ntwo\n", 0600)), "one");
	check_fails(reference("file:", write_file("pw2", MARKER "\n", 0644)), NSEC_SECOND,
		    "open to others");
	check_fails("file:/no/such/file", NSEC_SECOND, "/no/such/file");
}

TEST(a_variable_gives_its_value)
{
	setenv("SECRET_REF_TEST", "a b", 1);
	check_gives("env:SECRET_REF_TEST", "a b");
	unsetenv("SECRET_REF_TEST");
	check_fails("env:SECRET_REF_TEST", NSEC_SECOND, "SECRET_REF_TEST is not set");
}

TEST(a_credential_may_be_readable_by_the_group_that_systemd_gives_it)
{
	setenv("CREDENTIALS_DIRECTORY", test_directory(), 1);
	write_file("imap", "one\r\n", 0440);
	check_gives("systemd:imap", "one");
	write_file("wide", MARKER "\n", 0444);
	check_fails("systemd:wide", NSEC_SECOND, "open to others");
	check_fails("systemd:none", NSEC_SECOND, "none");
	unsetenv("CREDENTIALS_DIRECTORY");
	check_fails("systemd:imap", NSEC_SECOND, "$CREDENTIALS_DIRECTORY is not set");
}

TEST(a_program_gives_its_first_line)
{
	check_gives("exec:/bin/echo one", "one");
	check_gives("exec:/bin/echo  'a  b' \"c'd\" e'f g'h", "a  b c'd ef gh");
	check_gives("exec:/usr/bin/printf '%s' ''x", "x");
	check_gives("exec:/usr/bin/printf 'a\\r\\nb\\n'", "a");
	/* No shell: these are plain words. */
	check_gives("exec:/bin/echo $HOME;x `x` *", "$HOME;x `x` *");
}

TEST(a_program_has_no_input_and_the_environment_as_it_is)
{
	setenv("SECRET_REF_TEST", "seen", 1);
	check_gives("exec:/usr/bin/printenv SECRET_REF_TEST", "seen");
	check_gives("exec:/bin/sh -c 'cat; echo end'", "end");
	check_gives("exec:/bin/sh -c 'echo " MARKER " >&2; echo end'", "end");
}

TEST(a_program_that_fails_is_named_without_its_arguments)
{
	check_fails("exec:/bin/sh -c 'echo " MARKER "; exit 3'", 20 * NSEC_SECOND,
		    "/bin/sh failed with exit code 3");
	check_fails("exec:/bin/sh -c 'echo " MARKER "; kill -9 $$'", 20 * NSEC_SECOND,
		    "ended by signal 9");
	check_fails("exec:/no/such/program " MARKER, 20 * NSEC_SECOND, "/no/such/program");
	check_fails("exec:/bin/true " MARKER, 20 * NSEC_SECOND, "empty first line");
	check_fails("exec:/bin/sh -c 'yes " MARKER "'", 20 * NSEC_SECOND, "more than the 12288");
}

/* The deadline has come before it starts, so nothing here depends on how fast it runs. */
TEST(a_program_is_killed_at_the_deadline)
{
	check_fails("exec:/bin/sleep 1000", -NSEC_SECOND, "/bin/sleep gave no secret before");
	check_fails("exec:/bin/sh -c 'echo x; exec sleep 1000'", NSEC_SECOND / 5, "deadline");
	check_fails("exec:/bin/sh -c 'echo x; exec sleep 1000 >/dev/null'", NSEC_SECOND / 5,
		    "deadline");
}

/* NULL: it refuses. */
static bool helper_gives(const char *command, const char *expected)
{
	struct secret *secret = NULL;
	enum err e = secret_ref_exec(command, clock_after(20 * NSEC_SECOND), false, &secret);
	bool is_right =
		expected ? e == OK && text_equal(secret_text(secret), text_of(expected))
			 : e == ERR_INPUT_SECRET && strstr(err_note()->text, "names no such");

	err_note_clear();
	secret_close(&secret);
	return is_right;
}

/* In a child: what a helper may run is said once. */
TEST(a_helper_runs_what_the_job_named_and_nothing_else)
{
	static const struct helper_call *const calls[] = { &secret_ref_exec_call };
	static const char *named[] = { "/bin/echo one", "/bin/cat /etc/hostname", "/bin/echo 2" };
	pid_t child = fork();
	int status = 1;

	if (child == 0) {
		secret_ref_exec_allow(named, ARRAY_COUNT(named));
		must(helper_start(calls, ARRAY_COUNT(calls)) == OK);
		_exit(!helper_gives("/bin/echo one", "one") || !helper_gives("/bin/echo 2", "2") ||
		      !helper_gives("/bin/echo three", NULL) || !helper_gives("/bin/echo", NULL));
	}
	REQUIRE(child > 0 && waitpid(child, &status, 0) == child);
	CHECK_EQ(status, 0);
}

TEST(none_gives_nothing)
{
	struct secret *secret = NULL;

	CHECK_ERR(secret_ref_resolve(&(struct secret_ref){ .text = "" }, clock_now(), &secret),
		  ERR_INPUT_SECRET);
	CHECK(secret == NULL);
}

TEST_FIBER(in_a_fiber_the_same_is_done_on_a_thread)
{
	check_gives(reference("file:", write_file("pw", "one\n", 0600)), "one");
	check_gives("exec:/bin/echo two", "two");
	check_fails("exec:/bin/sh -c 'echo " MARKER "; exit 3'", 20 * NSEC_SECOND,
		    "failed with exit code 3");
	check_fails("file:/no/such/file", NSEC_SECOND, "/no/such/file");
	check_fails("exec:/bin/sleep 1000", -NSEC_SECOND, "before its deadline");
}

/* ---- writing back ---- */

static enum err store(const char *path, enum secret_ref_kind kind, const char *was, const char *now)
{
	struct secret_ref ref = { .kind = kind, .text = path };

	return secret_ref_store(&ref, text_of(was), text_of(now), clock_after(20 * NSEC_SECOND));
}

static void check_refused(const char *path, const char *words)
{
	CHECK_ERR(store(path, SECRET_REF_FILE, MARKER, "newer-token"), ERR_INPUT_SECRET);
	CHECK(strstr(err_note()->text, words) != NULL);
	CHECK(!strstr(err_note()->text, MARKER) && !strstr(err_note()->text, "newer-token"));
	err_note_clear();
}

TEST_FIBER(a_file_is_given_another_first_line_and_stays_ours_alone)
{
	const char *path = write_file("kept", MARKER "\n# of alice\n", 0600);
	struct stat status;
	char whole[100] = "";
	FILE *file;

	CHECK_OK(store(path, SECRET_REF_FILE, MARKER, "a-longer-one-than-it-was"));
	file = fopen(path, "r");
	CHECK(file && fread(whole, 1, sizeof whole - 1, file) > 0);
	CHECK_TEXT(whole, "a-longer-one-than-it-was\n# of alice\n");
	CHECK(stat(path, &status) == 0 && (status.st_mode & 07777) == 0600);
	if (file)
		fclose(file);
	CHECK_OK(store(path, SECRET_REF_FILE, "a-longer-one-than-it-was", "x"));
	check_gives(reference("file:", path), "x");
}

TEST_FIBER(a_secret_that_is_not_ours_to_replace_is_left)
{
	const char *path = write_file("open", MARKER "\n", 0640);
	char link[300];

	check_refused(path, "open to others");
	check_refused(write_file("else", MARKER "-2\n", 0600), "another secret by now");
	check_refused(write_file("short", "hunter", 0600), "another secret by now");
	path = write_file("real", MARKER "\n", 0600);
	snprintf(link, sizeof link, "%s/link", test_directory());
	REQUIRE(symlink(path, link) == 0);
	CHECK(store(link, SECRET_REF_FILE, MARKER, "newer-token") != OK);
	CHECK(strstr(err_note()->text, "symbolic link") != NULL);
	err_note_clear();
	check_gives(reference("file:", path), MARKER);
	CHECK_ERR(store("/bin/cat", SECRET_REF_EXEC, MARKER, "newer-token"), ERR_INPUT_SECRET);
	err_note_clear();
}
