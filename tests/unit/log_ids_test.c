/* Salted ids of the log: equal here, meaningless elsewhere, the salt made once and kept private. */
#include "tests/test.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tools/log_ids.h"

static const char *salt_path(void)
{
	static char path[200];

	snprintf(path, sizeof path, "%s/log.salt", test_directory());
	return path;
}

static void put_salt(const void *from, size_t n, mode_t mode)
{
	int fd = open(salt_path(), O_WRONLY | O_CREAT | O_TRUNC, 0600);

	must(fd >= 0 && write(fd, from, n) == (ssize_t)n && fchmod(fd, mode) == 0);
	close(fd);
}

/* hashlib.blake2b(NAME, key=bytes(range(32)), digest_size=32).hexdigest()[:12] of Python 3.11, as
 * the header tells administrators. */
TEST(an_id_is_what_the_documented_command_prints)
{
	uint8_t salt[SALT_BYTES];
	char id[SALTED_ID_TEXT_BYTES];
	struct log_ids ids;

	for (int i = 0; i < SALT_BYTES; i++)
		salt[i] = (uint8_t)i;
	put_salt(salt, sizeof salt, 0600);
	CHECK_OK(log_ids_open(&ids, test_directory(), false));
	CHECK_TEXT(log_ids_of(&ids, "imaps://alice@old.example/", id), "77179dc895f5");
	CHECK_TEXT(log_ids_of(&ids, "", id), "4e51e7a913fc");
	CHECK_TEXT(log_ids_of(&ids, "imaps://gr\xc3\xbc\xc3\x9f@old.example/", id), "0888804fae52");
}

/* The kernel kills the child inside its first write, behind the making of the file. */
TEST(a_process_killed_while_it_makes_the_salt_leaves_no_file)
{
	static const struct rlimit none = { 0, 0 };
	DIR *directory = opendir(test_directory());
	struct log_ids ids;
	struct dirent *entry;
	int status, files = 0;
	pid_t child;

	REQUIRE(directory && (child = fork()) >= 0);
	if (child == 0) {
		must(setrlimit(RLIMIT_CORE, &none) == 0 && setrlimit(RLIMIT_FSIZE, &none) == 0);
		_exit(log_ids_open(&ids, test_directory(), false) != OK);
	}
	REQUIRE(waitpid(child, &status, 0) == child);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGXFSZ);
	while ((entry = readdir(directory)))
		files += entry->d_name[0] != '.';
	closedir(directory);
	CHECK_EQ(files, 0);
}

TEST(the_salt_is_made_once_for_a_state_directory_and_only_its_owner_reads_it)
{
	char first[SALTED_ID_TEXT_BYTES], again[SALTED_ID_TEXT_BYTES], other[SALTED_ID_TEXT_BYTES];
	mode_t before = umask(0);
	struct stat status;
	struct log_ids ids;

	CHECK_OK(log_ids_open(&ids, test_directory(), false));
	umask(before);
	REQUIRE(lstat(salt_path(), &status) == 0);
	CHECK_EQ(status.st_mode, S_IFREG | 0600);
	CHECK_EQ(status.st_size, SALT_BYTES);
	CHECK_EQ(status.st_nlink, 1); /* nothing is left under the other name */
	log_ids_of(&ids, "imaps://alice@old.example/", first);
	CHECK_OK(log_ids_open(&ids, test_directory(), false));
	CHECK_TEXT(log_ids_of(&ids, "imaps://alice@old.example/", again), first);
	CHECK(strcmp(log_ids_of(&ids, "imaps://bob@old.example/", other), first) != 0);
	CHECK(unlink(salt_path()) == 0);
	CHECK_OK(log_ids_open(&ids, test_directory(), false));
	CHECK(strcmp(log_ids_of(&ids, "imaps://alice@old.example/", other), first) != 0);
}

TEST(names_are_logged_where_they_are_allowed_and_no_salt_is_made)
{
	char id[SALTED_ID_TEXT_BYTES];
	struct log_ids ids;

	CHECK_OK(log_ids_open(&ids, test_directory(), true));
	CHECK_TEXT(log_ids_of(&ids, "imaps://alice@old.example/", id),
		   "imaps://alice@old.example/");
	CHECK(access(salt_path(), F_OK) != 0);
}

TEST(a_salt_that_is_open_to_others_or_damaged_is_refused)
{
	uint8_t bytes[SALT_BYTES + 1] = { 0 };
	struct log_ids ids;

	put_salt(bytes, SALT_BYTES, 0640);
	CHECK_ERR(log_ids_open(&ids, test_directory(), false), ERR_INPUT_SECRET);
	CHECK(strstr(err_note()->text, "chmod 600"));
	for (size_t n = 0; n <= sizeof bytes; n += n ? 2 : SALT_BYTES - 1) {
		err_note_clear();
		put_salt(bytes, n, 0600);
		CHECK_ERR(log_ids_open(&ids, test_directory(), false), ERR_INPUT_SECRET);
		CHECK(strstr(err_note()->text, "remove it"));
	}
	err_note_clear();
	must(unlink(salt_path()) == 0 && mkdir(salt_path(), 0700) == 0);
	CHECK_ERR(log_ids_open(&ids, test_directory(), false), ERR_INPUT_SECRET);
	err_note_clear();
	CHECK_ERR(log_ids_open(&ids, "/nonexistent", false), ERR_DISK_ABSENT);
	err_note_clear();
}

/* Processes, as two runs would be: threads of one share its number. */
TEST(runs_that_start_together_agree_on_one_salt)
{
	enum { RUNS = 8 };
	char ids[RUNS][SALTED_ID_TEXT_BYTES];
	int ends[RUNS][2], gate[2];
	struct log_ids salt;

	test_directory(); /* one for all of them */
	must(pipe(gate) == 0);
	for (int i = 0; i < RUNS; i++) {
		must(pipe(ends[i]) == 0);
		fflush(stdout);
		if (fork() == 0) {
			close(gate[1]);
			if (read(gate[0], ids[0], 1) == 0 && /* the gate opens for all at once */
			    !log_ids_open(&salt, test_directory(), false))
				(void)!write(ends[i][1], log_ids_of(&salt, "a", ids[0]),
					     SALTED_ID_TEXT_BYTES);
			_exit(0);
		}
		close(ends[i][1]);
	}
	close(gate[0]);
	close(gate[1]);
	for (int i = 0; i < RUNS; i++) {
		CHECK_EQ(read(ends[i][0], ids[i], sizeof ids[i]), SALTED_ID_TEXT_BYTES);
		CHECK_TEXT(ids[i], ids[0]);
		close(ends[i][0]);
		CHECK(wait(NULL) > 0);
	}
}
