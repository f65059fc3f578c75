/* Each role in a process of its own: what it may do goes, what it may not is refused. */
#include "engine/confine.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/bytes.h"
#include "engine/clock.h"
#include "engine/io.h"
#include "engine/log.h"
#include "engine/offload.h"
#include "engine/shard.h"
#include "tests/test.h"

/* Exit codes of the children; a signal is told as its negative number. */
enum { DONE = 0, FAILED = 1, NOT_CONFINED = 2 };
/* In place of a mode: the child does it by itself. */
#define CHILD_CONFINES ((enum confine_mode)(CONFINE_OFF + 1))

static int in_child(int (*body)(int), enum confine_mode mode, int argument)
{
	pid_t child = fork();
	int status;

	must(child >= 0);
	if (child == 0) {
		struct confine_facts facts;

		if (mode != CHILD_CONFINES)
			confine_process(mode);
		confine_facts(&facts);
		_exit(!facts.filtered && mode < CONFINE_OFF ? NOT_CONFINED : body(argument));
	}
	must(waitpid(child, &status, 0) == child);
	return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

/* Containers without seccomp, and sanitizers. */
static bool can_confine(void)
{
	struct confine_facts facts;
	int status;
	pid_t child = fork();

	must(child >= 0);
	if (child == 0) {
		confine_process(CONFINE_ON);
		confine_facts(&facts);
		_exit(facts.filtered ? DONE : NOT_CONFINED);
	}
	must(waitpid(child, &status, 0) == child);
	return status == 0;
}

#define NEED_FILTERS()                                                                             \
	if (!can_confine())                                                                        \
	SKIP("no seccomp filters here (a sanitized build, or a container that forbids them)")

static bool is_refused(long result)
{
	return result < 0 && errno == EPERM;
}

static long any_connect(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX, .sun_path = "/nobody" };

	return connect(0, (struct sockaddr *)&address, sizeof address);
}

/* What any socket can be asked for. */
static long any_option(void)
{
	int kind;
	socklen_t bytes = sizeof kind;

	return getsockopt(0, SOL_SOCKET, SO_TYPE, &kind, &bytes);
}

/* ---- what a worker may not ---- */

static int worker_is_refused(int unused)
{
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	(void)unused;
	if (fd < 0)
		return FAILED; /* the main thread may */
	confine_thread(CONFINE_WORKER);
	return is_refused(open("/dev/null", O_WRONLY | O_CLOEXEC)) &&
			       is_refused(open("/tmp/x", O_RDONLY | O_CREAT | O_CLOEXEC, 0600)) &&
			       is_refused(unlink("/tmp/x")) && is_refused(rename("/tmp/x", "/x")) &&
			       is_refused(any_connect()) &&
			       is_refused(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) &&
			       is_refused(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)) &&
			       is_refused(socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_ICMP)) &&
			       is_refused(socket(AF_NETLINK, SOCK_STREAM | SOCK_CLOEXEC, 0)) &&
			       is_refused(syscall(SYS_io_uring_setup, 8, NULL)) &&
			       is_refused(sendto(0, "", 1, 0, NULL, 0)) &&
			       is_refused(listen(0, 1)) && is_refused(any_option()) &&
			       is_refused(kill(getppid(), 0)) && is_refused(fork()) &&
			       is_refused((long)mprotect((void *)&worker_is_refused, 1,
							 PROT_EXEC | PROT_READ)) &&
			       mmap(NULL, 1, PROT_EXEC | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
				    -1, 0) == MAP_FAILED
		       ? DONE
		       : FAILED;
}

TEST(a_worker_cannot_make_files_connect_fork_or_map_code)
{
	NEED_FILTERS();
	CHECK_EQ(in_child(worker_is_refused, CONFINE_ON, 0), DONE);
}

static int worker_makes_a_table(int unused)
{
	int fd;

	(void)unused;
	confine_thread(CONFINE_WORKER);
	fd = open("/var/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	return fd >= 0 && posix_fallocate(fd, 0, 4096) == 0 ? DONE : FAILED;
}

TEST(a_worker_that_reads_an_archive_can_make_a_file_without_a_name)
{
	NEED_FILTERS();
	CHECK_EQ(in_child(worker_makes_a_table, CONFINE_ON, 0), DONE);
}

/* ---- what a reader of archives may not, nor an extractor by itself ---- */

/* On /dev/null, so that a filter with a hole in it does no harm. */
static bool writes_are_refused(void)
{
	return is_refused(open("/dev/null", O_WRONLY | O_CLOEXEC)) &&
	       is_refused(open("/dev/null", O_RDWR | O_CLOEXEC)) &&
	       is_refused(open("/dev/null", O_RDONLY | O_TRUNC | O_CLOEXEC)) &&
	       is_refused(open("/dev/null", O_RDONLY | O_CREAT | O_CLOEXEC, 0600)) &&
	       is_refused(unlink("/nowhere/x")) && is_refused(mkdir("/nowhere/x", 0700)) &&
	       is_refused(rename("/nowhere/x", "/nowhere/y")) &&
	       is_refused(link("/nowhere/x", "/nowhere/y")) &&
	       is_refused(symlink("/nowhere/x", "/nowhere/y")) &&
	       is_refused(chmod("/nowhere/x", 0600)) && is_refused(truncate("/nowhere/x", 0));
}

static bool others_are_refused(void)
{
	return is_refused(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) &&
	       is_refused(socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0)) &&
	       is_refused(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) &&
	       is_refused(any_connect()) && is_refused(sendto(0, "", 1, 0, NULL, 0)) &&
	       is_refused(syscall(SYS_io_uring_setup, 8, NULL)) && is_refused(fork()) &&
	       is_refused(kill(getppid(), 0)) &&
	       mmap(NULL, 1, PROT_EXEC | PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) ==
		       MAP_FAILED;
}

static int offline_is_refused(int role)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC), fd;
	const struct timespec now[2] = { { .tv_nsec = UTIME_NOW }, { .tv_nsec = UTIME_NOW } };

	if (null < 0)
		return FAILED;
	confine_thread((enum confine_role)role);
	if (!writes_are_refused() || !others_are_refused() || !is_refused(write(null, "", 1)) ||
	    is_refused(futimens(null, now)) != (role == CONFINE_READER) ||
	    is_refused(syncfs(-1)) != (role == CONFINE_READER))
		return FAILED;
	fd = open("/var/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	return fd >= 0 && posix_fallocate(fd, 0, 4096) == 0 && write(STDOUT_FILENO, "", 0) == 0 &&
			       open("/dev/null", O_RDONLY | O_CLOEXEC) >= 0
		       ? DONE
		       : FAILED;
}

TEST(who_reads_archives_cannot_write_files_connect_or_start_anything)
{
	NEED_FILTERS();
	CHECK_EQ(in_child(offline_is_refused, CONFINE_ON, CONFINE_READER), DONE);
	CHECK_EQ(in_child(offline_is_refused, CONFINE_ON, CONFINE_EXTRACTOR), DONE);
}

static nsec soon(void)
{
	return clock_after(20 * NSEC_SECOND);
}

static enum err write_a_file(const char *path)
{
	int fd = -1;
	enum err e = io_open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600, soon(), &fd);

	if (!e)
		e = io_write(fd, "x", 1, 0, soon());
	io_close(&fd);
	return e;
}

/* Through the ring, which seccomp does not see. */
static enum err read_in_role(void *argument)
{
	const enum confine_role role = *(const enum confine_role *)argument;
	const bool writes = role == CONFINE_EXTRACTOR || role == CONFINE_FETCHER;
	char path[200];
	struct buffer names = { 0 };
	int fd = -1;
	size_t got = 0;
	uint8_t byte;
	enum err e;

	confine_thread(role);
	if ((e = io_list("/proc/self/fd", soon(), &names)) ||
	    (e = io_open("/proc/self/stat", O_RDONLY, 0, soon(), &fd)) ||
	    (e = io_read(fd, &byte, 1, 0, soon(), &got)))
		return e;
	io_close(&fd);
	buffer_free(&names);
	snprintf(path, sizeof path, "%s/file-of-%d", test_directory(), (int)role);
	if ((write_a_file(path) == OK) != writes || (io_unlink(path, soon()) == OK) != writes ||
	    (io_mkdir(path, 0700, soon()) == OK) != writes)
		return ERR_RING_FAILED;
	err_note_clear();
	return got == 1 ? OK : ERR_RING_FAILED;
}

static int offline_shard(int which)
{
	enum confine_role role = (enum confine_role)which;
	const bool online = role == CONFINE_WORKER || role == CONFINE_FETCHER;
	const struct shard_config config = {
		.ring_use = role == CONFINE_READER	? RING_TO_READ
			    : role == CONFINE_EXTRACTOR ? RING_TO_EXTRACT
			    : role == CONFINE_WORKER	? RING_TO_FETCH
							: RING_TO_COPY,
	};

	if (online && offload_prestart()) /* none can be started later */
		return FAILED;
	return shard_run(&config, read_in_role, &role) == OK ? DONE : FAILED;
}

/* Of an archive in a bucket: connections, dates of files, and all of one file system to the disk.
 */
static int fetcher_is_able(int unused)
{
	const struct timespec now[2] = { { .tv_nsec = UTIME_NOW }, { .tv_nsec = UTIME_NOW } };
	int fd;

	(void)unused;
	confine_thread(CONFINE_FETCHER);
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	return fd >= 0 && !is_refused(futimens(-1, now)) && !is_refused(syncfs(-1)) &&
			       is_refused(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) &&
			       is_refused(fork()) && writes_are_refused()
		       ? DONE
		       : FAILED;
}

TEST(who_extracts_from_a_bucket_connects_and_does_no_more_than_both_parts_need)
{
	NEED_FILTERS();
	CHECK_EQ(in_child(fetcher_is_able, CONFINE_ON, 0), DONE);
}

TEST(a_reader_reads_through_its_ring_and_only_an_extractor_writes)
{
	must(test_directory()); /* made by the parent, which removes it */
	NEED_FILTERS();
	CHECK_EQ(in_child(offline_shard, CONFINE_ON, CONFINE_READER), DONE);
	CHECK_EQ(in_child(offline_shard, CONFINE_ON, CONFINE_EXTRACTOR), DONE);
	CHECK_EQ(in_child(offline_shard, CONFINE_ON, CONFINE_WORKER), DONE);
	CHECK_EQ(in_child(offline_shard, CONFINE_ON, CONFINE_FETCHER), DONE);
}

/* ---- what ends the process, in every role ---- */

enum deadly { EXEC, TRACE, MOUNT, BECOME, MODULE, PROGRAM, NAMESPACE, DEADLY_COUNT };

static int do_deadly(int which)
{
	static char path[] = "/bin/true", *words[] = { path, NULL };
	const enum deadly what = (enum deadly)(which % DEADLY_COUNT);

	confine_thread((enum confine_role)(which / DEADLY_COUNT));
	switch (what) {
	case EXEC:
		return execv(path, words);
	case TRACE:
		return (int)ptrace(PTRACE_TRACEME, 0, NULL, NULL) + FAILED;
	case MOUNT:
		return (int)syscall(SYS_mount, "none", "/", "tmpfs", 0, NULL) + FAILED;
	case BECOME:
		return setuid(getuid()) + FAILED;
	case MODULE:
		return (int)syscall(SYS_init_module, NULL, 0, "") + FAILED;
	case PROGRAM:
		return (int)syscall(SYS_bpf, 0, NULL, 0) + FAILED;
	default:
		return (int)syscall(SYS_unshare, 0) + FAILED;
	}
}

TEST(programs_tracing_mounts_identities_modules_and_namespaces_end_the_process)
{
	NEED_FILTERS();
	for (int which = 0; which < DEADLY_COUNT * CONFINE_ROLES; which++)
		CHECK_EQ(in_child(do_deadly, CONFINE_ON, which), -SIGSYS);
}

/* ---- what each can still do ---- */

static enum err count_up(void *argument)
{
	++*(int *)argument;
	return OK;
}

static enum err work_in_fiber(void *unused)
{
	int counted = 0;
	struct offload_job job = { .name = "count",
				   .run = count_up,
				   .argument = &counted,
				   .argument_bytes = sizeof counted };
	enum err e;

	(void)unused;
	if ((e = offload_prestart()))
		return e;
	confine_thread(CONFINE_WORKER);
	for (int i = 0; i < 100 && e == OK; i++)
		e = offload_run(&job, clock_after(20 * NSEC_SECOND));
	return e == OK && counted != 100 ? ERR_RING_FAILED : e;
}

static int shard_works(int unused)
{
	(void)unused;
	return shard_run(&(struct shard_config){ 0 }, work_in_fiber, NULL) == OK ? DONE : FAILED;
}

TEST(a_confined_worker_opens_turns_and_closes_a_ring_and_offloads)
{
	struct confine_facts facts;

	CHECK_EQ(in_child(shard_works, CONFINE_OFF, 0), DONE);
	NEED_FILTERS();
	CHECK_EQ(in_child(shard_works, CONFINE_ON, 0), DONE);
	CHECK_EQ(in_child(shard_works, CONFINE_LOG, 0), DONE);
	confine_facts(&facts); /* the parent's */
	CHECK(!facts.filtered && facts.threads == 0);
}

static int abort_now(int role)
{
	confine_thread((enum confine_role)role);
	abort();
}

TEST(a_broken_promise_ends_with_abort_in_every_role)
{
	NEED_FILTERS();
	for (int role = 0; role < CONFINE_ROLES; role++)
		CHECK_EQ(in_child(abort_now, CONFINE_ON, role), -SIGABRT);
}

/* ---- modes and facts ---- */

static int log_allows(int unused)
{
	(void)unused;
	confine_thread(CONFINE_WORKER);
	return open("/dev/null", O_WRONLY | O_CLOEXEC) >= 0 && setuid(getuid()) == 0 &&
			       prctl(PR_GET_SECCOMP) == 2 &&
			       prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1
		       ? DONE
		       : FAILED;
}

static int facts_are_right(int mode)
{
	struct confine_facts facts;

	confine_thread(CONFINE_OFFLOAD);
	confine_facts(&facts);
	return facts.mode == (enum confine_mode)mode && facts.filtered == (mode != CONFINE_OFF) &&
			       facts.threads == (mode == CONFINE_OFF ? 0 : 2) &&
			       (*facts.why != '\0') == (mode == CONFINE_OFF) &&
			       facts.no_new_privs == (mode != CONFINE_OFF)
		       ? DONE
		       : FAILED;
}

TEST(log_mode_allows_and_off_leaves_everything_as_it_is)
{
	CHECK_EQ(in_child(facts_are_right, CONFINE_OFF, CONFINE_OFF), DONE);
	NEED_FILTERS();
	CHECK_EQ(in_child(log_allows, CONFINE_LOG, 0), DONE);
	CHECK_EQ(in_child(facts_are_right, CONFINE_LOG, CONFINE_LOG), DONE);
	CHECK_EQ(in_child(facts_are_right, CONFINE_ON, CONFINE_ON), DONE);
}

/* As a container's profile does that lacks seccomp(2). */
static void forbid_seccomp(void)
{
	struct sock_filter rules[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_seccomp, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { ARRAY_COUNT(rules), rules };

	must(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
	must(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
}

static int forbidden_is_told(int unused)
{
	struct confine_facts facts;

	(void)unused;
	log_setup(open("/dev/null", O_WRONLY | O_CLOEXEC), LOG_WARN, false);
	forbid_seccomp();
	confine_process(CONFINE_ON);
	confine_thread(CONFINE_WORKER);
	confine_facts(&facts);
	return !facts.filtered && facts.threads == 0 && *facts.why &&
			       open("/dev/null", O_WRONLY | O_CLOEXEC) >= 0
		       ? DONE
		       : FAILED;
}

TEST(a_container_without_seccomp_is_told_and_not_the_end)
{
	CHECK_EQ(in_child(forbidden_is_told, CHILD_CONFINES, 0), DONE);
}

TEST(names_of_modes_are_read_back)
{
	enum confine_mode mode;

	for (unsigned i = CONFINE_ON; i <= CONFINE_OFF; i++) {
		REQUIRE(confine_mode_from_name(confine_mode_name((enum confine_mode)i), &mode));
		CHECK_EQ(mode, i);
	}
	CHECK(!confine_mode_from_name("perhaps", &mode));
}
