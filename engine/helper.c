/* The helper's two sides. Between them is one SOCK_SEQPACKET socket on which questions go, each
 * with a descriptor on which its one answer comes: so many threads ask at once without a lock, an
 * answer cannot reach the wrong one, and a child that ended without an answer shows as an end of
 * file. */
#include "engine/helper.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/bytes.h"
#include "engine/clock.h"

enum {
	ASK_MAGIC = 0x41534b31,
	ANSWER_MAGIC = 0x414e5331,
	HELPER_FD = 3, /* the helper's only descriptor besides the first three */
	STOP_LOOKS = 2000,
	STOP_LOOK_MS = 1, /* it needs less */
};
/* A call that keeps its deadline answers by then, and that answer is better than ours. */
#define GRACE NSEC_SECOND

struct ask {
	uint32_t magic, call;
	nsec until;
	uint64_t request_bytes, answer_bytes_max;
};

struct answer {
	uint32_t magic;
	int32_t error, errno_value;
	uint64_t answer_bytes;
	char note[ERR_NOTE_BYTES_MAX];
};

static struct {
	const struct helper_call *const *calls;
	unsigned calls_count;
	pid_t pid; /* 0: there is no helper */
	int fd;
} helper = { .fd = -1 };

/* ---- one descriptor beside a message (unix(7), SCM_RIGHTS) ---- */

union control {
	struct cmsghdr header;
	char room[CMSG_SPACE(sizeof(int))];
};

static void control_put(struct msghdr *message, union control *control, int fd)
{
	struct cmsghdr *header = &control->header;

	*control = (union control){ .header = { .cmsg_len = CMSG_LEN(sizeof fd),
						.cmsg_level = SOL_SOCKET,
						.cmsg_type = SCM_RIGHTS } };
	*(int *)(void *)CMSG_DATA(header) = fd;
	message->msg_control = control;
	message->msg_controllen = sizeof *control;
}

static int control_take(struct msghdr *message)
{
	struct cmsghdr *header = CMSG_FIRSTHDR(message);

	if (!header || header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS ||
	    header->cmsg_len != CMSG_LEN(sizeof(int)))
		return -1;
	return *(int *)(void *)CMSG_DATA(header);
}

/* The other side is gone; an empty message looks the same to recvmsg(2). */
static bool is_hung_up(int fd)
{
	struct pollfd polled = { .fd = fd };

	return poll(&polled, 1, 0) == 1 && polled.revents & (POLLHUP | POLLERR);
}

/* ---- a child of the helper: one question ---- */

/* The timer is for calls that keep no deadline of their own, as the name service's. */
static void child_begin(pid_t parent, nsec until)
{
	nsec now = clock_now(), left = until > now ? until - now + GRACE : GRACE;
	const struct itimerval timer = {
		.it_value = { left / NSEC_SECOND, left % NSEC_SECOND / 1000 },
	};

	close(HELPER_FD);
	signal(SIGCHLD, SIG_DFL); /* it may wait for a program of its own */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) || getppid() != parent ||
	    (until != DEADLINE_NEVER && setitimer(ITIMER_REAL, &timer, NULL)))
		_exit(1);
}

_Noreturn static void child_main(int fd, const struct ask *ask, const char *request, pid_t parent)
{
	/* Secrets may be in it: not swapped out, and gone with this process. */
	struct answer *answer = mmap(NULL, sizeof *answer + HELPER_ANSWER_BYTES_MAX,
				     PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	size_t bytes = ask->answer_bytes_max;

	if (answer == MAP_FAILED)
		_exit(1);
	(void)mlock(answer,
		    sizeof *answer + HELPER_ANSWER_BYTES_MAX); /* as far as RLIMIT_MEMLOCK allows */
	child_begin(parent, ask->until);
	err_note_clear();
	answer->magic = ANSWER_MAGIC;
	answer->error = (int32_t)helper.calls[ask->call]->run(
		(struct text){ request, ask->request_bytes }, ask->until, answer + 1, &bytes);
	must(bytes <= ask->answer_bytes_max);
	answer->answer_bytes = answer->error ? 0 : bytes;
	answer->errno_value = err_note()->errno_value;
	snprintf(answer->note, sizeof answer->note, "%s", err_note()->text);
	_exit(send(fd, answer, sizeof *answer + answer->answer_bytes, MSG_NOSIGNAL) < 0);
}

/* ---- the helper ---- */

/* The parent's signals are the parent's business: Ctrl-C reaches all processes of a terminal, and a
 * run that drains still looks names up. Its files are as well, or a log that was rotated away would
 * stay on the disk. */
static void helper_begin(int fd, pid_t parent)
{
	static const int ignored[] = { SIGINT, SIGTERM, SIGQUIT, SIGHUP, SIGPIPE, SIGCHLD };
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	for (size_t i = 0; i < ARRAY_COUNT(ignored); i++)
		signal(ignored[i], SIG_IGN); /* SIGCHLD: children leave no zombies */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) || getppid() != parent || null < 0 ||
	    dup2(null, STDIN_FILENO) < 0 || dup2(null, STDOUT_FILENO) < 0)
		_exit(1);
	if (fd != HELPER_FD && dup3(fd, HELPER_FD, O_CLOEXEC) < 0)
		_exit(1);
	if (close_range(HELPER_FD + 1, ~0u, 0))
		_exit(1);
	(void)prctl(PR_SET_NAME, "mailhaul-helper");
}

static bool is_sound(const struct ask *ask, ssize_t bytes)
{
	return bytes >= (ssize_t)sizeof *ask && ask->magic == ASK_MAGIC &&
	       ask->call < helper.calls_count && ask->answer_bytes_max <= HELPER_ANSWER_BYTES_MAX &&
	       ask->request_bytes == (size_t)bytes - sizeof *ask;
}

/* What is no question is dropped, with its descriptor: whoever sent it sees the end of file. */
static void answer_next(char *room)
{
	union control control;
	struct ask *ask = (struct ask *)(void *)room;
	struct iovec part = { room, sizeof *ask + HELPER_REQUEST_BYTES_MAX };
	struct msghdr message = { .msg_iov = &part,
				  .msg_iovlen = 1,
				  .msg_control = &control,
				  .msg_controllen = sizeof control };
	ssize_t bytes = recvmsg(HELPER_FD, &message, MSG_CMSG_CLOEXEC);
	pid_t self = getpid();
	int fd;

	if (bytes < 0 ? errno != EINTR : bytes == 0 && is_hung_up(HELPER_FD))
		_exit(bytes < 0);
	room[bytes > 0 ? bytes : 0] = '\0';
	fd = bytes >= 0 ? control_take(&message) : -1;
	if (fd >= 0 && !(message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) && is_sound(ask, bytes) &&
	    fork() == 0)
		child_main(fd, ask, (const char *)(ask + 1), self);
	if (fd >= 0)
		close(fd);
}

_Noreturn static void helper_main(int fd, pid_t parent)
{
	char *room = malloc(sizeof(struct ask) + HELPER_REQUEST_BYTES_MAX + 1);

	helper_begin(fd, parent);
	while (room)
		answer_next(room);
	_exit(1);
}

enum err helper_start(const struct helper_call *const *calls, unsigned calls_count)
{
	pid_t self = getpid(), pid;
	int ends[2];

	must(!helper.pid && calls_count > 0 && calls_count <= HELPER_CALLS_MAX);
	helper.calls = calls;
	helper.calls_count = calls_count;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends))
		return RAISE_ERRNO(ERR_HELPER_DIED, errno, "making the helper's socket");
	if ((pid = fork()) == 0)
		helper_main(ends[1], self);
	close(ends[1]);
	if (pid < 0) {
		close(ends[0]);
		return RAISE_ERRNO(ERR_HELPER_DIED, errno, "forking the helper");
	}
	helper.pid = pid;
	helper.fd = ends[0];
	return OK;
}

pid_t helper_pid(void)
{
	return helper.pid;
}

/* It ends when it reads the end of file. One that does not is the kernel's to kill, when we end. */
void helper_stop(void)
{
	if (!helper.pid)
		return;
	close(helper.fd);
	for (int looks = 0; looks < STOP_LOOKS && waitpid(helper.pid, NULL, WNOHANG) == 0; looks++)
		(void)poll(NULL, 0, STOP_LOOK_MS);
	helper.pid = 0;
	helper.fd = -1;
}

/* ---- asking ---- */

static enum err no_answer(const struct helper_call *call, const char *why)
{
	if (is_hung_up(helper.fd))
		return RAISE(ERR_HELPER_DIED,
			     "%s: the helper process %d is gone (killed, or out of memory); run "
			     "again",
			     call->name, (int)helper.pid);
	return RAISE(ERR_HELPER_FAILED, "%s: %s", call->name, why);
}

static enum err put_question(const struct helper_call *call, struct text request, nsec until,
			     size_t answer_bytes_max, int answer_fd)
{
	struct ask ask = { .magic = ASK_MAGIC,
			   .until = until,
			   .request_bytes = request.bytes,
			   .answer_bytes_max = answer_bytes_max };
	struct iovec parts[] = { { &ask, sizeof ask },
				 { (void *)(uintptr_t)request.at, request.bytes } };
	struct msghdr message = { .msg_iov = parts, .msg_iovlen = ARRAY_COUNT(parts) };
	union control control;

	while (ask.call < helper.calls_count && helper.calls[ask.call] != call)
		ask.call++;
	must(ask.call < helper.calls_count);
	if (request.bytes > HELPER_REQUEST_BYTES_MAX)
		return RAISE(ERR_HELPER_FAILED, "%s: a question of %zu bytes; %d are allowed",
			     call->name, request.bytes, HELPER_REQUEST_BYTES_MAX);
	control_put(&message, &control, answer_fd);
	while (sendmsg(helper.fd, &message, MSG_NOSIGNAL) < 0)
		if (errno != EINTR)
			return no_answer(call, strerror(errno));
	return OK;
}

static bool wait_answer(int fd, nsec until)
{
	struct pollfd polled = { .fd = fd, .events = POLLIN };
	int ready;

	do {
		nsec left = until == DEADLINE_NEVER ? NSEC_SECOND : until + GRACE - clock_now();

		if (left <= 0)
			return false;
		ready = poll(&polled, 1, (int)min_nsec(left / NSEC_MILLISECOND + 1, 1000));
	} while (ready == 0 || (ready < 0 && errno == EINTR));
	return ready > 0;
}

static enum err take_answer(const struct helper_call *call, int fd, void *to, size_t *to_bytes)
{
	struct answer answer;
	struct iovec parts[] = { { &answer, sizeof answer }, { to, *to_bytes } };
	struct msghdr message = { .msg_iov = parts, .msg_iovlen = ARRAY_COUNT(parts) };
	ssize_t bytes;

	while ((bytes = recvmsg(fd, &message, MSG_CMSG_CLOEXEC)) < 0)
		if (errno != EINTR)
			return no_answer(call, strerror(errno));
	if (bytes == 0)
		return no_answer(call, "it ended without an answer");
	if (bytes < (ssize_t)sizeof answer || message.msg_flags & MSG_TRUNC ||
	    answer.magic != ANSWER_MAGIC || answer.error < 0 || answer.error >= ERR_COUNT ||
	    answer.answer_bytes != (size_t)bytes - sizeof answer)
		return RAISE(ERR_HELPER_FAILED, "%s: an answer that does not fit", call->name);
	*to_bytes = answer.answer_bytes;
	if (!answer.error)
		return OK;
	answer.note[sizeof answer.note - 1] = '\0';
	RAISE((enum err)answer.error, "%s", answer.note);
	err_note()->errno_value = answer.errno_value;
	return (enum err)answer.error;
}

enum err helper_ask(const struct helper_call *call, struct text request, nsec until, void *answer,
		    size_t *answer_bytes)
{
	int ends[2];
	enum err e;

	must(*answer_bytes <= HELPER_ANSWER_BYTES_MAX);
	if (!helper.pid)
		return call->run(request, until, answer, answer_bytes);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends))
		return RAISE_ERRNO(ERR_HELPER_FAILED, errno, "%s: making a socket for the answer",
				   call->name);
	e = put_question(call, request, until, *answer_bytes, ends[1]);
	close(ends[1]); /* the child's is the last, so its end shows */
	if (e == OK && !wait_answer(ends[0], until))
		e = no_answer(call, "there was no answer in time");
	else if (e == OK)
		e = take_answer(call, ends[0], answer, answer_bytes);
	close(ends[0]);
	return e;
}
