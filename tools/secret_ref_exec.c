#include "tools/secret_ref_exec.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/bytes.h"
#include "engine/clock.h"

enum {
	WORDS_MAX = 64,
	/* A secret with its CR LF, and one byte more shows that there was too much. */
	OUTPUT_BYTES_MAX = SECRET_BYTES_MAX + 3,
};

/* ---- the command ---- */

/* Cut `text` into words in place; NULL ends them. False: too many, or a quote is not closed. */
static bool split(char *text, char *words[static WORDS_MAX + 1])
{
	unsigned count = 0;
	char *to = text;

	while (*(text += strspn(text, " \t"))) {
		if (count == WORDS_MAX)
			return false;
		to = text;
		words[count++] = to;
		while (*text && *text != ' ' && *text != '\t') {
			char quote = *text == '"' || *text == '\'' ? *text++ : '\0';

			while (*text && (quote ? *text != quote : !strchr(" \t'\"", *text)))
				*to++ = *text++;
			if (quote && *text++ != quote)
				return false;
		}
		text += *text != '\0';
		*to = '\0';
	}
	words[count] = NULL;
	return count > 0;
}

enum err secret_ref_exec_parse(const char *command)
{
	char *copy = strdup(command), *words[WORDS_MAX + 1];
	bool fits = copy && split(copy, words) && words[0][0] == '/';

	free(copy);
	return fits ? OK
		    : RAISE(ERR_INPUT_USAGE,
			    "exec: is not followed by the full path of a program and up to %d "
			    "arguments with their quotes closed",
			    WORDS_MAX - 1);
}

enum err secret_ref_exec_check(const char *command)
{
	char *copy = strdup(command), *words[WORDS_MAX + 1];
	enum err e = OK;

	if (!copy)
		return RAISE(ERR_MEMORY_EXHAUSTED, "looking at a program");
	must(split(copy, words));
	if (access(words[0], X_OK))
		e = RAISE_ERRNO(ERR_INPUT_SECRET, errno, "the program %s cannot be run", words[0]);
	free(copy);
	return e;
}

/* ---- reading ---- */

/* Waits until `fd` has something; false at the deadline. */
static bool wait_readable(int fd, nsec until)
{
	struct pollfd polled = { .fd = fd, .events = POLLIN };
	int ready;

	do {
		nsec left = until == DEADLINE_NEVER ? NSEC_SECOND : until - clock_now();

		if (left <= 0)
			return false;
		ready = poll(&polled, 1, (int)min_nsec(left / NSEC_MILLISECOND + 1, 1000));
	} while (ready == 0 || (ready < 0 && errno == EINTR));
	return ready > 0;
}

static enum err read_all(int fd, nsec until, const char *what, char *to, size_t *got)
{
	ssize_t n;

	*got = 0;
	for (;;) {
		if (!wait_readable(fd, until))
			return RAISE(ERR_INPUT_SECRET, "%s gave no secret before its deadline",
				     what);
		n = read(fd, to + *got, OUTPUT_BYTES_MAX - *got);
		if (n == 0)
			return OK;
		if (n < 0 && errno != EINTR && errno != EAGAIN)
			return RAISE_ERRNO(ERR_INPUT_SECRET, errno, "reading from %s", what);
		*got += n > 0 ? (size_t)n : 0;
		if (*got == OUTPUT_BYTES_MAX)
			return RAISE(ERR_INPUT_SECRET,
				     "%s holds more than the %d bytes of a secret", what,
				     SECRET_BYTES_MAX);
	}
}

static enum err take_line(const char *at, size_t bytes, const char *what, bool whole,
			  struct secret **out)
{
	const char *end = whole ? NULL : memchr(at, '\n', bytes);

	if (end)
		bytes = (size_t)(end - at) - (end > at && end[-1] == '\r');
	return bytes ? secret_from_bytes(at, bytes, out)
		     : RAISE(ERR_INPUT_SECRET,
			     "%s gave an empty first line: that line must be the secret", what);
}

enum err secret_ref_exec_read(int fd, nsec until, const char *what, bool whole, struct secret **out)
{
	void *room = secret_room_open(OUTPUT_BYTES_MAX);
	size_t bytes;
	enum err e;

	if (!room)
		return RAISE(ERR_MEMORY_EXHAUSTED, "reading from %s", what);
	if ((e = read_all(fd, until, what, room, &bytes)) == OK)
		e = take_line(room, bytes, what, whole, out);
	secret_room_close(&room);
	return e;
}

/* ---- running ---- */

/* In a process group of its own, with no signal blocked or ignored: what a worker does about
 * signals is not for the program to inherit. */
static int spawn(char **words, int out_fd, pid_t *pid)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	sigset_t none, all;
	int failed;

	sigemptyset(&none);
	sigfillset(&all);
	if ((failed = posix_spawn_file_actions_init(&actions)))
		return failed;
	if ((failed = posix_spawnattr_init(&attributes)))
		goto out;
	if (!(failed = posix_spawn_file_actions_adddup2(&actions, out_fd, STDOUT_FILENO)) &&
	    !(failed = posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null",
							O_RDONLY, 0)) &&
	    !(failed = posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null",
							O_WRONLY, 0)) &&
	    !(failed = posix_spawnattr_setsigmask(&attributes, &none)) &&
	    !(failed = posix_spawnattr_setsigdefault(&attributes, &all)) &&
	    !(failed = posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK |
								     POSIX_SPAWN_SETSIGDEF |
								     POSIX_SPAWN_SETPGROUP)))
		failed = posix_spawn(pid, words[0], &actions, &attributes, words, environ);
	posix_spawnattr_destroy(&attributes);
out:
	posix_spawn_file_actions_destroy(&actions);
	return failed;
}

/* Wait for the child's end. */
static enum err reap(pid_t pid, nsec until, const char *program)
{
	int fd = pidfd_open(pid, 0), status = 0;
	bool ended = fd >= 0 && wait_readable(fd, until);

	if (fd >= 0)
		close(fd);
	if (!ended)
		kill(-pid, SIGKILL);
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return RAISE_ERRNO(ERR_INPUT_SECRET, errno, "waiting for %s", program);
	if (!ended)
		return RAISE(ERR_INPUT_SECRET, "%s did not end before its deadline", program);
	if (WIFSIGNALED(status))
		return RAISE(ERR_INPUT_SECRET, "%s was ended by signal %d", program,
			     WTERMSIG(status));
	if (WEXITSTATUS(status))
		return RAISE(ERR_INPUT_SECRET, "%s failed with exit code %d; try it by hand",
			     program, WEXITSTATUS(status));
	return OK;
}

/* How a program ended counts before what it printed: one that fails mostly prints nothing, and half
 * a secret is none. With a failed read its time is over, and reap() kills it. */
static enum err run(char **words, nsec until, bool whole, char *at, struct secret **out)
{
	int ends[2], failed;
	size_t bytes = 0;
	enum err e, reaped;
	pid_t pid;

	if (pipe2(ends, O_CLOEXEC))
		return RAISE_ERRNO(ERR_INPUT_SECRET, errno, "making a pipe for %s", words[0]);
	failed = spawn(words, ends[1], &pid);
	close(ends[1]);
	if (failed) {
		close(ends[0]);
		return RAISE_ERRNO(ERR_INPUT_SECRET, failed, "starting %s", words[0]);
	}
	e = read_all(ends[0], until, words[0], at, &bytes);
	close(ends[0]);
	reaped = reap(pid, e ? 0 : until, words[0]);
	if (e || reaped)
		return e ? e : reaped;
	return take_line(at, bytes, words[0], whole, out);
}

/* ---- in the helper ---- */

/* What may be run: with no list, anything (there is no helper to be talked into it then). */
static struct {
	const char **commands; /* sorted */
	size_t count;
	bool is_list;
} allowed;

static int compare_commands(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

void secret_ref_exec_allow(const char **commands, size_t count)
{
	allowed.commands = commands;
	allowed.count = count;
	allowed.is_list = true;
	if (count > 0)
		qsort(commands, count, sizeof *commands, compare_commands);
}

static bool is_allowed(const char *command)
{
	return !allowed.is_list ||
	       (allowed.count > 0 && bsearch(&command, allowed.commands, allowed.count,
					     sizeof *allowed.commands, compare_commands));
}

static enum err run_for(struct text request, nsec until, bool whole, void *answer,
			size_t *answer_bytes)
{
	char *copy = strdup(request.at), *words[WORDS_MAX + 1];
	void *room = secret_room_open(OUTPUT_BYTES_MAX);
	struct secret *secret = NULL;
	enum err e;

	if (!copy || !room)
		e = RAISE(ERR_MEMORY_EXHAUSTED, "running a program for a secret");
	else if (!is_allowed(copy) || !split(copy, words))
		e = RAISE(ERR_INPUT_SECRET, "the job names no such program");
	else if ((e = run(words, until, whole, room, &secret)) == OK) {
		struct text text = secret_text(secret);

		must(text.bytes <= *answer_bytes);
		*answer_bytes = text.bytes;
		bytes_copy(answer, text.at, text.bytes, BYTES_META);
	}
	secret_close(&secret);
	secret_room_close(&room);
	free(copy);
	return e;
}

static enum err run_call(struct text request, nsec until, void *answer, size_t *answer_bytes)
{
	return run_for(request, until, false, answer, answer_bytes);
}

static enum err run_whole_call(struct text request, nsec until, void *answer, size_t *answer_bytes)
{
	return run_for(request, until, true, answer, answer_bytes);
}

const struct helper_call secret_ref_exec_call = { "running a program for a secret", run_call };
const struct helper_call secret_ref_exec_whole_call = { "running a program for a key",
							run_whole_call };

enum err secret_ref_exec(const char *command, nsec until, bool whole, struct secret **out)
{
	const struct helper_call *call =
		whole ? &secret_ref_exec_whole_call : &secret_ref_exec_call;
	void *room = secret_room_open(SECRET_BYTES_MAX);
	size_t bytes = SECRET_BYTES_MAX;
	enum err e;

	if (!room)
		return RAISE(ERR_MEMORY_EXHAUSTED, "running a program for a secret");
	if ((e = helper_ask(call, text_of(command), until, room, &bytes)) == OK)
		e = secret_from_bytes(room, bytes, out);
	secret_room_close(&room);
	return e;
}
