#include "tools/signals.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/err.h"
#include "tests/test.h"

/* How a child ends that does this after signals_setup(), and what it says. */
static int end_of(void (*act)(void), char said[static 512])
{
	int status = 0, line[2];
	ssize_t n, bytes = 0;
	pid_t child;

	said[0] = '\0';
	if (pipe(line) != 0 || (child = fork()) < 0)
		return -1;
	if (child == 0) {
		dup2(line[1], STDERR_FILENO);
		signals_setup();
		act();
		_exit(1);
	}
	close(line[1]);
	while ((n = read(line[0], said + bytes, (size_t)(511 - bytes))) > 0)
		bytes += n;
	said[bytes] = '\0';
	close(line[0]);
	return waitpid(child, &status, 0) == child ? status : -1;
}

/* What a full disk does to a mapped page: there is no block behind it. */
static void write_behind_the_end(void)
{
	int fd = memfd_create("test", MFD_CLOEXEC);
	volatile char *at = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (at != MAP_FAILED)
		at[4096] = 1;
}

TEST(a_mapped_file_without_room_ends_with_a_word_about_the_disk)
{
	char said[512];
	int status = end_of(write_behind_the_end, said);

	CHECK_EQ(WIFEXITED(status), true);
	CHECK_EQ(WEXITSTATUS(status), EXIT_IO);
	CHECK_EQ(strstr(said, "its disk is full") != NULL, true);
	CHECK_EQ(strstr(said, "Make room") != NULL, true);
}

static void raise_bus_error(void)
{
	raise(SIGBUS);
}

TEST(another_bus_error_is_a_crash)
{
	char said[512];
	int status = end_of(raise_bus_error, said);

	CHECK_EQ(WIFSIGNALED(status), true);
	CHECK_EQ(WTERMSIG(status), SIGBUS);
	CHECK_TEXT(said, "");
}
