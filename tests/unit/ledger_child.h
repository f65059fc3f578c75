/* Another process on a ledger, for the tests that kill it. A test that forks stands first in its
 * file: before it the process had no threads. */
#ifndef MAILHAUL_LEDGER_CHILD_H
#define MAILHAUL_LEDGER_CHILD_H

#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/shard.h"
#include "tests/test.h"

/* What a child is told and tells. */
struct child {
	fiber_main *main;
	const char *directory;
	int to_parent[2], to_child[2];
	pid_t pid;
	char note[ERR_NOTE_BYTES_MAX]; /* in memory shared by both */
	uint64_t values[32];
};

static inline struct child *child_open(const char *directory, fiber_main *main)
{
	struct child *child = mmap(NULL, sizeof *child, PROT_READ | PROT_WRITE,
				   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t pid;

	must(child != MAP_FAILED);
	*child = (struct child){ .main = main, .directory = directory };
	must(pipe(child->to_parent) == 0 && pipe(child->to_child) == 0);
	fflush(stdout);
	pid = fork();
	must(pid >= 0);
	if (pid == 0) {
		enum err e;

		must(close(child->to_parent[0]) == 0 && close(child->to_child[1]) == 0);
		e = shard_run(&(struct shard_config){ 0 }, main, child);
		snprintf(child->note, sizeof child->note, "%s", err_note()->text);
		_exit((int)e);
	}
	child->pid = pid; /* by the parent: the memory is shared */
	must(close(child->to_parent[1]) == 0 && close(child->to_child[0]) == 0);
	return child;
}

/* What its main returned; -1: it was killed. */
static inline int child_end(struct child *child)
{
	int status = 0;

	close(child->to_child[1]);
	must(waitpid(child->pid, &status, 0) == child->pid);
	close(child->to_parent[0]);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static inline void child_free(struct child *child)
{
	must(munmap(child, sizeof *child) == 0);
}

/* Kill it once it has told of `enough` durable messages; the last number it told. */
static inline uint64_t kill_after(struct child *child, uint64_t enough)
{
	uint64_t told = 0, last = 0;
	bool killed = false;

	while (read(child->to_parent[0], &told, sizeof told) == sizeof told) {
		last = told;
		if (!killed && told >= enough)
			killed = kill(child->pid, SIGKILL) == 0;
	}
	CHECK(killed);
	return last;
}

#endif
