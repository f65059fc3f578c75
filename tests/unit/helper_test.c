/* The helper: what it answers, what it survives, with whom it dies. This test has its code inside,
 * to put garbage on its socket. */
#include "engine/helper.c"

#include <dirent.h>
#include <pthread.h>

#include "tests/test.h"

static nsec soon(void)
{
	return clock_after(20 * NSEC_SECOND);
}

/* ---- calls ---- */

static enum err echo(struct text request, nsec until, void *answer, size_t *answer_bytes)
{
	(void)until;
	if (request.bytes > *answer_bytes)
		return RAISE(ERR_NET_NAME, "an echo of %zu bytes does not fit", request.bytes);
	must(request.at[request.bytes] == '\0');
	bytes_copy(answer, request.at, request.bytes, BYTES_META);
	*answer_bytes = request.bytes;
	return OK;
}

/* "crash", "hang", "files", "pid" */
static enum err do_it(struct text request, nsec until, void *answer, size_t *answer_bytes)
{
	int number = 0;

	(void)until;
	if (text_equal(request, text_of("crash")))
		raise(SIGKILL);
	while (text_equal(request, text_of("hang")))
		(void)poll(NULL, 0, 1000);
	if (text_equal(request, text_of("pid")))
		number = getppid();
	for (int fd = 0; text_equal(request, text_of("files")) && fd < 1000; fd++)
		number += fcntl(fd, F_GETFD) >= 0;
	*answer_bytes = sizeof number;
	bytes_copy(answer, &number, sizeof number, BYTES_META);
	return OK;
}

static const struct helper_call echo_call = { "an echo", echo };
static const struct helper_call do_call = { "a deed", do_it };
static const struct helper_call *const calls[] = { &echo_call, &do_call };

static enum err ask_number(const char *what, nsec until, int *number)
{
	size_t bytes = sizeof *number;
	enum err e = helper_ask(&do_call, text_of(what), until, number, &bytes);

	must(e || bytes == sizeof *number);
	return e;
}

static void check_it_answers(void)
{
	char to[16];
	size_t bytes = sizeof to;

	if (CHECK_OK(helper_ask(&echo_call, text_of("hello"), soon(), to, &bytes)))
		CHECK(text_equal((struct text){ to, bytes }, text_of("hello")));
	err_note_clear();
}

/* ---- answers ---- */

enum { ASKERS = 4, QUESTIONS = 100 };

static void *ask_much(void *argument)
{
	static _Thread_local char to[HELPER_ANSWER_BYTES_MAX], from[sizeof to];
	uintptr_t wrong = 0;

	for (unsigned i = 0; i < QUESTIONS; i++) {
		size_t bytes = sizeof to, asked = i * 97 % sizeof from;

		memset(from, (char)((uintptr_t)argument + i), sizeof from);
		wrong += helper_ask(&echo_call, (struct text){ from, asked }, soon(), to, &bytes) ||
			 bytes != asked || memcmp(from, to, asked) != 0;
	}
	return (void *)wrong;
}

TEST(each_of_many_askers_gets_its_own_answers)
{
	pthread_t threads[ASKERS];
	void *wrong;

	REQUIRE(CHECK_OK(helper_start(calls, ARRAY_COUNT(calls))));
	for (uintptr_t i = 0; i < ASKERS; i++)
		must(pthread_create(&threads[i], NULL, ask_much, (void *)i) == 0);
	for (unsigned i = 0; i < ASKERS; i++) {
		must(pthread_join(threads[i], &wrong) == 0);
		CHECK_EQ((uintptr_t)wrong, 0);
	}
	helper_stop();
	CHECK_EQ(helper_pid(), 0);
}

TEST(an_error_comes_over_with_its_text)
{
	static char big[HELPER_REQUEST_BYTES_MAX + 1];
	char to[4];
	size_t bytes = sizeof to;

	REQUIRE(CHECK_OK(helper_start(calls, ARRAY_COUNT(calls))));
	CHECK_ERR(helper_ask(&echo_call, text_of("hello"), soon(), to, &bytes), ERR_NET_NAME);
	CHECK(strstr(err_note()->text, "5 bytes does not fit"));
	err_note_clear();
	CHECK_ERR(helper_ask(&echo_call, (struct text){ big, sizeof big }, soon(), to, &bytes),
		  ERR_HELPER_FAILED);
	err_note_clear();
	check_it_answers();
	helper_stop();
}

TEST(without_a_helper_the_call_runs_here)
{
	int number = 0;

	check_it_answers();
	CHECK_OK(ask_number("pid", soon(), &number));
	CHECK_EQ(number, getppid());
}

TEST(a_call_runs_elsewhere_and_sees_none_of_our_files)
{
	int number = 0, before = open("/dev/null", O_RDONLY); /* not close-on-exec, on purpose */

	REQUIRE(before >= 0 && CHECK_OK(helper_start(calls, ARRAY_COUNT(calls))));
	CHECK_OK(ask_number("pid", soon(), &number));
	CHECK_EQ(number, helper_pid());
	CHECK_OK(ask_number("files", soon(), &number));
	CHECK_EQ(number, 4); /* the first three, and the one for the answer */
	helper_stop();
	close(before);
}

/* ---- what it survives ---- */

TEST(a_call_that_dies_or_hangs_costs_its_own_answer_only)
{
	int number;

	REQUIRE(CHECK_OK(helper_start(calls, ARRAY_COUNT(calls))));
	CHECK_ERR(ask_number("crash", soon(), &number), ERR_HELPER_FAILED);
	CHECK(strstr(err_note()->text, "a deed: it ended without an answer"));
	err_note_clear();
	CHECK_ERR(ask_number("hang", clock_now(), &number), ERR_HELPER_FAILED);
	err_note_clear();
	check_it_answers();
	helper_stop();
}

static void send_garbage(const void *at, size_t bytes, int fd)
{
	struct iovec part = { (void *)(uintptr_t)at, bytes };
	struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1 };
	union control control;

	if (fd >= 0)
		control_put(&message, &control, fd);
	must(sendmsg(helper.fd, &message, MSG_NOSIGNAL) == (ssize_t)bytes);
}

TEST(garbage_is_dropped_and_the_next_question_answered)
{
	static char big[HELPER_REQUEST_BYTES_MAX + sizeof(struct ask) + 100];
	struct ask ask = { .magic = ASK_MAGIC, .until = soon() };
	int ends[2];
	char byte;

	REQUIRE(CHECK_OK(helper_start(calls, ARRAY_COUNT(calls))));
	for (unsigned with_fd = 0; with_fd < 2; with_fd++) {
		must(pipe2(ends, O_CLOEXEC) == 0);
		for (unsigned i = 0; i < 50; i++) {
			int fd = with_fd ? ends[1] : -1;

			memset(big, (int)(i * 37), sizeof big);
			send_garbage(big, i, fd);
			send_garbage(big, sizeof big, fd);
			ask = (struct ask){ ASK_MAGIC, 0, soon(), i + 1, 8 }; /* no bytes follow */
			send_garbage(&ask, sizeof ask, fd);
			ask = (struct ask){ ASK_MAGIC, 2 + i, soon(), 0, 8 }; /* no such call */
			send_garbage(&ask, sizeof ask, fd);
			ask = (struct ask){ ASK_MAGIC + 1 + i, 0, soon(), 0, 8 };
			send_garbage(&ask, sizeof ask, fd);
			ask = (struct ask){ ASK_MAGIC, 0, soon(), 0, 8 }; /* answer to a pipe */
			send_garbage(&ask, sizeof ask, fd);
			ask = (struct ask){ ASK_MAGIC, 0, soon(), 0, HELPER_ANSWER_BYTES_MAX + 1 };
			send_garbage(&ask, sizeof ask, fd);
		}
		check_it_answers();
		close(ends[1]);
		CHECK_EQ(read(ends[0], &byte, 1), 0); /* no descriptor was kept */
		close(ends[0]);
	}
	helper_stop();
}

TEST(the_signals_of_a_terminal_and_of_a_drain_do_not_end_it)
{
	REQUIRE(CHECK_OK(helper_start(calls, ARRAY_COUNT(calls))));
	check_it_answers(); /* it has begun */
	for (int i = 0; i < 3; i++) {
		static const int signals[] = { SIGINT, SIGTERM, SIGHUP };

		must(kill(helper_pid(), signals[i]) == 0);
		check_it_answers();
	}
	helper_stop();
}

/* ---- with whom it dies ---- */

TEST(a_dead_helper_is_told_as_such)
{
	int number, status;

	REQUIRE(CHECK_OK(helper_start(calls, ARRAY_COUNT(calls))));
	check_it_answers();
	must(kill(helper_pid(), SIGKILL) == 0);
	must(waitpid(helper_pid(), &status, 0) == helper_pid());
	CHECK_ERR(ask_number("pid", soon(), &number), ERR_HELPER_DIED);
	CHECK(strstr(err_note()->text, "is gone"));
	err_note_clear();
	helper_stop();
}

/* The helper's pid, from a process of its own that started it and was killed then. */
static pid_t helper_of_killed(void)
{
	pid_t child, found = 0;
	int ends[2], status;

	must(pipe2(ends, O_CLOEXEC) == 0);
	if ((child = fork()) == 0) {
		int number;

		if (helper_start(calls, ARRAY_COUNT(calls)) || ask_number("pid", soon(), &number) ||
		    write(ends[1], &number, sizeof number) != sizeof number)
			_exit(1);
		(void)ask_number("hang", soon(), &number); /* its child has to die as well */
		_exit(1);
	}
	close(ends[1]);
	must(read(ends[0], &found, sizeof found) == sizeof found);
	close(ends[0]);
	must(kill(child, SIGKILL) == 0 && waitpid(child, &status, 0) == child);
	return found;
}

TEST(it_dies_with_its_parent_and_its_children_with_it)
{
	int left = 0;

	/* Orphans become our children, so that their end is ours to see. */
	must(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0);
	CHECK(helper_of_killed() > 0);
	for (nsec until = soon(); (left = waitpid(-1, NULL, WNOHANG)) >= 0 && clock_now() < until;)
		(void)poll(NULL, 0, 10);
	CHECK(left < 0 && errno == ECHILD); /* nobody is left */
	must(prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0) == 0);
}
