/* Calls that suspend: files, sockets, deadlines, cancel; nothing is lost or left behind. */
#include "engine/io.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "engine/bytes.h"
#include "engine/clock.h"
#include "engine/limits.h"
#include "tests/test.h"
#include "tests/unit/loopback.h"

static nsec later(void)
{
	return clock_after(20 * NSEC_SECOND);
}

static nsec soon(void)
{
	return clock_after(20 * NSEC_MILLISECOND);
}

/* "<the test's directory>/<name>", good until four more were asked for. */
static const char *path_to(const char *name)
{
	static char paths[4][300];
	static unsigned next;
	char *path = paths[next++ % ARRAY_COUNT(paths)];

	snprintf(path, sizeof paths[0], "%s/%s", test_directory(), name);
	return path;
}

/* ---- files ---- */

TEST_FIBER(what_is_written_is_read_back_and_a_short_file_reads_short)
{
	enum { BYTES = 300 * 1000 };
	uint8_t *bytes = malloc(2 * BYTES);
	size_t got;
	int fd;

	REQUIRE(bytes);
	pattern_fill(bytes, BYTES, 1, 0);
	REQUIRE(CHECK_OK(io_open(path_to("a"), O_RDWR | O_CREAT, 0600, later(), &fd)));
	CHECK(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	CHECK_OK(io_write(fd, bytes, BYTES, 5, later()));
	CHECK_OK(io_fsync(fd, true, later()));
	memset(bytes, 0, 2 * BYTES);
	CHECK_OK(io_read(fd, bytes, 2 * BYTES, 5, later(), &got));
	CHECK_EQ(got, BYTES);
	CHECK(pattern_holds(bytes, BYTES, 1, 0));
	CHECK_OK(io_read(fd, bytes, 10, 1000 * 1000, later(), &got));
	CHECK_EQ(got, 0);
	CHECK_OK(io_truncate(fd, 15, later()));
	CHECK_OK(io_read(fd, bytes, BYTES, 5, later(), &got));
	CHECK_EQ(got, 10);
	io_close(&fd);
	CHECK_EQ(fd, -1);
	io_close(&fd); /* -1 is accepted */
	free(bytes);
}

TEST_FIBER(an_empty_write_and_an_empty_read_are_fine)
{
	size_t got = 1;
	int fd;

	REQUIRE(CHECK_OK(io_open(path_to("a"), O_RDWR | O_CREAT, 0600, later(), &fd)));
	CHECK_OK(io_write(fd, "", 0, 0, later()));
	CHECK_OK(io_read(fd, &(char){ 0 }, 0, 0, later(), &got));
	CHECK_EQ(got, 0);
	io_close(&fd);
}

TEST_FIBER(a_full_disk_is_called_full_and_the_file_is_named)
{
	int fd;

	REQUIRE(CHECK_OK(io_open("/dev/full", O_WRONLY, 0, later(), &fd)));
	CHECK_ERR(io_write(fd, "x", 1, 0, later()), ERR_DISK_FULL);
	CHECK(strstr(err_note()->text, "/dev/full"));
	CHECK_EQ(err_note()->errno_value, ENOSPC);
	io_close(&fd);
}

/* A limit on the file's size makes the kernel write short first and refuse then, as a disk that
 * becomes full in the middle of a write does. */
TEST_FIBER(a_write_that_is_cut_short_goes_on_and_reports_why_it_cannot)
{
	struct rlimit before, limit;
	uint8_t *bytes = aligned_alloc(4096, 64 * 1024);
	struct ring_stat stat;
	int fd;

	REQUIRE(bytes && getrlimit(RLIMIT_FSIZE, &before) == 0);
	memset(bytes, 'x', 64 * 1024);
	signal(SIGXFSZ, SIG_IGN);
	limit = (struct rlimit){ 10 * 1000, before.rlim_max };
	REQUIRE(CHECK_OK(io_open(path_to("a"), O_WRONLY | O_CREAT, 0600, later(), &fd)));
	REQUIRE(setrlimit(RLIMIT_FSIZE, &limit) == 0);
	CHECK_ERR(io_write(fd, bytes, 64 * 1024, 0, later()), ERR_DISK_IO);
	CHECK(setrlimit(RLIMIT_FSIZE, &before) == 0);
	CHECK(strstr(err_note()->text, path_to("a")));
	CHECK_EQ(err_note()->errno_value, EFBIG);
	CHECK_OK(io_stat(path_to("a"), later(), &stat));
	CHECK_EQ(stat.size_bytes, 10 * 1000);
	signal(SIGXFSZ, SIG_DFL);
	io_close(&fd);
	free(bytes);
}

TEST_FIBER(what_is_not_there_or_there_already_has_its_own_error)
{
	struct ring_stat stat;
	int fd;

	CHECK_ERR(io_open(path_to("no"), O_RDONLY, 0, later(), &fd), ERR_DISK_ABSENT);
	CHECK_EQ(fd, -1);
	CHECK(strstr(err_note()->text, path_to("no")));
	CHECK_ERR(io_stat(path_to("no"), later(), &stat), ERR_DISK_ABSENT);
	CHECK_ERR(io_unlink(path_to("no"), later()), ERR_DISK_ABSENT);
	CHECK_OK(io_mkdir(path_to("d"), 0700, later()));
	CHECK_ERR(io_mkdir(path_to("d"), 0700, later()), ERR_DISK_EXISTS);
	CHECK_OK(io_stat(path_to("d"), later(), &stat));
	CHECK(stat.is_directory && !stat.is_regular);
	CHECK_EQ(stat.mode, 0700);
}

TEST_FIBER(rename_replaces_only_where_allowed)
{
	struct ring_stat stat;

	CHECK_OK(io_write_file(path_to("a"), "first", 5, 0600, later()));
	CHECK_OK(io_write_file(path_to("b"), "second!", 7, 0600, later()));
	CHECK_ERR(io_rename(path_to("a"), path_to("b"), false, later()), ERR_DISK_EXISTS);
	CHECK_OK(io_rename(path_to("a"), path_to("b"), true, later()));
	CHECK_OK(io_stat(path_to("b"), later(), &stat));
	CHECK_EQ(stat.size_bytes, 5);
	err_note_clear();
	CHECK_ERR(io_stat(path_to("a"), later(), &stat), ERR_DISK_ABSENT);
	CHECK_OK(io_unlink(path_to("b"), later()));
	CHECK_OK(io_sync_directory(test_directory(), later()));
}

TEST_FIBER(a_file_without_a_name_is_only_ours_and_leaves_nothing)
{
	struct stat status;
	uint8_t bytes[3];
	size_t got;
	int fd;

	REQUIRE(CHECK_OK(io_open_nameless(test_directory(), later(), &fd)));
	CHECK_OK(io_write(fd, "abc", 3, 0, later()));
	CHECK_OK(io_read(fd, bytes, sizeof bytes, 0, later(), &got));
	CHECK(got == 3 && memcmp(bytes, "abc", 3) == 0);
	CHECK(fstat(fd, &status) == 0 && (status.st_mode & 07777) == 0600 && status.st_nlink == 0);
	io_close(&fd);
	CHECK_ERR(io_open_nameless(path_to("absent"), later(), &fd), ERR_DISK_ABSENT);
	CHECK(strstr(err_note()->text, "absent"));
	err_note_clear();
	CHECK_ERR(io_open_nameless("/proc/self/fd", later(), &fd),
		  ERR_DISK_ABSENT); /* knows none */
	CHECK(strstr(err_note()->text, "/proc/self/fd/" IO_NAMELESS_PREFIX));
	err_note_clear();
}

TEST_FIBER(names_are_listed_in_byte_order)
{
	static const char expected[] = "10\0009\0B\0a\0\303\244";
	struct buffer names = { 0 };

	CHECK_OK(io_list(test_directory(), later(), &names));
	CHECK_EQ(names.bytes, 0);
	CHECK_OK(io_write_file(path_to("a"), "", 0, 0600, later()));
	CHECK_OK(io_write_file(path_to("\303\244"), "", 0, 0600, later()));
	CHECK_OK(io_write_file(path_to("B"), "", 0, 0600, later()));
	CHECK_OK(io_write_file(path_to("9"), "", 0, 0600, later()));
	CHECK_OK(io_write_file(path_to("10"), "", 0, 0600, later()));
	CHECK_OK(io_list(test_directory(), later(), &names));
	REQUIRE(names.bytes == sizeof expected); /* no temporary file was left */
	CHECK(memcmp(names.at, expected, sizeof expected) == 0);
	names.bytes_max = 5;
	CHECK_ERR(io_list(test_directory(), later(), &names), ERR_MEMORY_EXHAUSTED);
	buffer_free(&names);
}

TEST_FIBER(a_small_file_is_replaced_whole_and_read_whole)
{
	struct buffer text = { 0 };
	struct ring_stat stat;

	CHECK_OK(io_write_file(path_to("f"), "one", 3, 0600, later()));
	CHECK_OK(io_write_file(path_to("f"), "three", 5, 0640, later()));
	CHECK_OK(io_read_file(path_to("f"), 5, later(), &text));
	CHECK_EQ(text.bytes, 5);
	CHECK(memcmp(text.at, "three", 5) == 0);
	CHECK_OK(io_stat(path_to("f"), later(), &stat));
	CHECK_EQ(stat.mode, 0640);
	CHECK_ERR(io_read_file(path_to("f"), 4, later(), &text), ERR_INPUT_FILE);
	err_note_clear();
	CHECK_ERR(io_read_file(path_to("g"), 4, later(), &text), ERR_DISK_ABSENT);
	CHECK_ERR(io_write_file(path_to("no/f"), "x", 1, 0600, later()), ERR_DISK_ABSENT);
	buffer_free(&text);
}

/* What `--source-password-file <(command)` and /dev/stdin are. */
TEST_FIBER(a_pipe_is_read_to_its_end_like_a_file)
{
	struct buffer text = { 0 };
	char path[32];
	int ends[2];

	REQUIRE(pipe2(ends, O_CLOEXEC) == 0);
	CHECK_EQ(write(ends[1], "secret", 6), 6);
	close(ends[1]);
	snprintf(path, sizeof path, "/dev/fd/%d", ends[0]);
	CHECK_OK(io_read_file(path, 100, later(), &text));
	CHECK_EQ(text.bytes, 6);
	close(ends[0]);
	buffer_free(&text);
}

TEST_FIBER(only_one_holds_a_lock)
{
	int first, second;
	bool held;

	REQUIRE(CHECK_OK(io_open(path_to("l"), O_RDWR | O_CREAT, 0600, later(), &first)));
	REQUIRE(CHECK_OK(io_open(path_to("l"), O_RDWR, 0600, later(), &second)));
	CHECK_OK(io_lock(first, later(), &held));
	CHECK(held);
	CHECK_OK(io_lock(second, later(), &held));
	CHECK(!held);
	io_close(&first);
	do
		CHECK_OK(io_lock(second, later(), &held)); /* the close is done by a later turn */
	while (!held);
	io_close(&second);
	CHECK_ERR(io_lock(12345, later(), &held), ERR_DISK_IO);
}

TEST_FIBER(several_writes_in_flight_all_arrive_also_directly)
{
	enum { ACTS = 4, PIECE = 256 * 1024 };
	struct io_write_act acts[ACTS] = { 0 };
	uint8_t *bytes = aligned_alloc(4096, (size_t)ACTS * PIECE);
	size_t got;
	int fd;

	REQUIRE(bytes);
	pattern_fill(bytes, (size_t)ACTS * PIECE, 7, 0);
	if (io_open(path_to("a"), O_RDWR | O_CREAT | O_DIRECT, 0600, later(), &fd)) {
		err_note_clear(); /* a tmpfs before 6.6 has no direct I/O */
		REQUIRE(CHECK_OK(io_open(path_to("a"), O_RDWR | O_CREAT, 0600, later(), &fd)));
	}
	CHECK_OK(io_write_wait(&acts[0], 0)); /* nothing pending */
	for (unsigned i = 0; i < ACTS; i++)
		io_write_start(&acts[i], fd, bytes + (size_t)i * PIECE, PIECE, (uint64_t)i * PIECE);
	for (unsigned i = 0; i < ACTS; i++) {
		CHECK_OK(io_write_wait(&acts[i], later()));
		CHECK(!acts[i].pending);
	}
	memset(bytes, 0, (size_t)ACTS * PIECE);
	CHECK_OK(io_read(fd, bytes, (size_t)ACTS * PIECE, 0, later(), &got));
	CHECK_EQ(got, ACTS * PIECE);
	CHECK(pattern_holds(bytes, got, 7, 0));
	io_close(&fd);
	free(bytes);
}

/* ---- cancel and deadlines ---- */

struct reading {
	int fd;
	enum err result;
	bool ended;
};

static enum err read_silence(void *argument)
{
	struct reading *reading = argument;
	struct buffer to = { 0 };
	char path[32];

	snprintf(path, sizeof path, "/dev/fd/%d", reading->fd);
	reading->result = io_read_file(path, 10, later(), &to);
	reading->ended = true;
	buffer_free(&to);
	return reading->result;
}

TEST_FIBER(cancel_ends_a_call_and_lets_go_of_its_memory)
{
	struct reading reading = { 0 };
	struct group *group = group_open();
	int ends[2];

	REQUIRE(pipe2(ends, O_CLOEXEC) == 0);
	reading.fd = ends[0];
	REQUIRE(CHECK_OK(group_spawn(group, "read", FIBER_STACK_SMALL, read_silence, &reading)));
	CHECK_OK(fiber_sleep(soon()));
	CHECK(!reading.ended);
	group_cancel(group);
	(void)!group_join(&group);
	CHECK_EQ(reading.result, ERR_FIBER_CANCELED);
	close(ends[0]);
	close(ends[1]);
}

static enum err try_everything(void *argument)
{
	struct ring_stat stat;
	int fd;

	(void)argument;
	CHECK_ERR(fiber_sleep(later()), ERR_FIBER_CANCELED);
	CHECK_ERR(io_open(path_to("never"), O_CREAT | O_RDWR, 0600, later(), &fd),
		  ERR_FIBER_CANCELED);
	CHECK_EQ(fd, -1);
	CHECK_ERR(io_stat("/", later(), &stat), ERR_FIBER_CANCELED);
	fiber_shield();
	CHECK_OK(io_stat("/", later(), &stat)); /* an orderly end may go on */
	fiber_unshield();
	return ERR_FIBER_CANCELED;
}

TEST_FIBER(a_canceled_fiber_begins_nothing_more_but_in_its_shield)
{
	struct group *group = group_open();
	struct ring_stat stat;

	REQUIRE(CHECK_OK(group_spawn(group, "try", FIBER_STACK_SMALL, try_everything, NULL)));
	CHECK_OK(fiber_sleep(soon()));
	group_cancel(group);
	(void)!group_join(&group);
	err_note_clear();
	CHECK_ERR(io_stat(path_to("never"), later(), &stat), ERR_DISK_ABSENT);
}

struct clogging {
	struct io_write_act act;
	int fd;
	uint8_t bytes[1024 * 1024];
	enum err result;
};

static enum err write_to_nobody(void *argument)
{
	struct clogging *clogging = argument;

	io_write_start(&clogging->act, clogging->fd, clogging->bytes, sizeof clogging->bytes, 0);
	if ((clogging->result = fiber_sleep(later())) == ERR_FIBER_CANCELED)
		clogging->result = io_write_wait(&clogging->act, later());
	return clogging->result;
}

/* The way a store takes back its buffers when its fiber was called off. */
TEST_FIBER(a_canceled_fiber_gets_the_bytes_of_its_writes_back)
{
	struct clogging *clogging = calloc(1, sizeof *clogging);
	struct group *group = group_open();
	int ends[2];

	REQUIRE(clogging && pipe2(ends, O_CLOEXEC) == 0);
	clogging->fd = ends[1];
	REQUIRE(CHECK_OK(group_spawn(group, "clog", FIBER_STACK_SMALL, write_to_nobody, clogging)));
	CHECK_OK(fiber_sleep(soon()));
	CHECK(clogging->act.pending);
	group_cancel(group);
	(void)!group_join(&group);
	CHECK_EQ(clogging->result, ERR_FIBER_CANCELED);
	CHECK(!clogging->act.pending);
	CHECK_EQ(ring_in_flight(scheduler_ring()), 0); /* so it may be freed */
	free(clogging);
	close(ends[0]);
	close(ends[1]);
}

static void nothing_done(struct ring_op *op)
{
	(void)op;
}

TEST(drain_tells_what_does_not_end_from_what_ended)
{
	uint64_t value;
	struct ring_op op = { .verb = RING_READ, .data = &value, .length = 8, .offset = -1 };
	struct ring *ring;
	int ends[2];

	REQUIRE(CHECK_OK(ring_open(&ring)) && pipe2(ends, O_CLOEXEC) == 0);
	CHECK(io_drain(ring, 0));
	op.fd = ends[0];
	op.done = nothing_done;
	ring_submit(ring, &op);
	CHECK(!io_drain(ring, soon()));
	ring_cancel(ring, &op);
	CHECK(io_drain(ring, later()));
	ring_close(&ring);
	close(ends[0]);
	close(ends[1]);
}

struct trickle {
	int fd;
	enum err result;
	bool ended;
};

static enum err send_much(void *argument)
{
	enum { BYTES = 256 * 1000 * 1000 };
	struct trickle *trickle = argument;
	uint8_t *bytes = calloc(1, BYTES);

	must(bytes != NULL);
	trickle->result = io_send(trickle->fd, bytes, BYTES, soon());
	trickle->ended = true;
	free(bytes);
	return OK;
}

TEST_FIBER(a_peer_that_reads_too_slowly_meets_the_deadline_as_well)
{
	struct group *group = group_open();
	struct trickle trickle = { 0 };
	static char sink[4096];
	int ends[2];

	loopback_pair(ends);
	trickle.fd = ends[0];
	REQUIRE(CHECK_OK(group_spawn(group, "send", FIBER_STACK_SMALL, send_much, &trickle)));
	for (nsec until = later(); !trickle.ended && clock_now() < until;) {
		(void)!recv(ends[1], sink, sizeof sink, MSG_DONTWAIT);
		CHECK_OK(fiber_sleep(clock_after(100 * NSEC_MICROSECOND)));
	}
	CHECK_EQ(trickle.result, ERR_NET_TIMEOUT);
	CHECK_OK(group_join(&group));
	close(ends[0]);
	close(ends[1]);
}

TEST_FIBER(a_silent_peer_meets_the_deadline)
{
	struct io_receiver *receiver;
	struct ring_bytes bytes;
	int ends[2];

	loopback_pair(ends);
	REQUIRE(CHECK_OK(io_receiver_open(ends[0], &receiver)));
	CHECK_ERR(io_receive(receiver, soon(), &bytes), ERR_NET_TIMEOUT);
	CHECK(strstr(err_note()->text, "127.0.0.1"));
	CHECK_EQ(send(ends[1], "late", 4, MSG_NOSIGNAL), 4);
	CHECK_OK(io_receive(receiver, later(), &bytes)); /* the receiver itself is unharmed */
	CHECK_EQ(bytes.length, 4);
	io_release(receiver, &bytes);
	io_receiver_close(&receiver);
	CHECK(receiver == NULL);
	io_receiver_close(&receiver);
	close(ends[0]);
	close(ends[1]);
}

TEST_FIBER(a_peer_that_does_not_read_meets_the_deadline_of_send)
{
	enum { BYTES = 64 * 1000 * 1000 };
	uint8_t *bytes = calloc(1, BYTES);
	int ends[2];

	REQUIRE(bytes);
	loopback_pair(ends);
	CHECK_ERR(io_send(ends[0], bytes, BYTES, soon()), ERR_NET_TIMEOUT);
	close(ends[0]);
	close(ends[1]);
	free(bytes);
}

/* ---- sockets ---- */

static const struct sockaddr *plain(const struct sockaddr_in *address)
{
	return (const struct sockaddr *)(const void *)address;
}

TEST_FIBER(a_port_without_listener_refuses_and_is_named)
{
	struct sockaddr_in address;
	char port[16];
	int fd, bound = loopback_listen(-1, &address);

	CHECK_ERR(io_connect(plain(&address), sizeof address, later(), &fd), ERR_NET_REFUSED);
	CHECK_EQ(fd, -1);
	snprintf(port, sizeof port, "%u", ntohs(address.sin_port));
	CHECK(strstr(err_note()->text, "127.0.0.1"));
	CHECK(strstr(err_note()->text, port));
	close(bound);
}

TEST_FIBER(an_ipv6_address_is_named_too)
{
	struct sockaddr_in6 address = { .sin6_family = AF_INET6,
					.sin6_addr = IN6ADDR_LOOPBACK_INIT };
	int fd;
	enum err e;

	address.sin6_port = htons(1);
	e = io_connect((const struct sockaddr *)(const void *)&address, sizeof address, later(),
		       &fd);
	CHECK(e == ERR_NET_REFUSED || e == ERR_NET_UNREACHABLE); /* the latter where IPv6 is off */
	CHECK(strstr(err_note()->text, "::1 port 1"));
}

/* A listener whose queue is full drops SYNs, like a host that does not answer. */
TEST_FIBER(a_host_that_does_not_answer_meets_the_deadline_of_connect)
{
	struct sockaddr_in address;
	int listener = loopback_listen(0, &address), fds[8];
	enum err e = OK;

	for (unsigned i = 0; i < ARRAY_COUNT(fds); i++)
		fds[i] = -1;
	for (unsigned i = 0; i < ARRAY_COUNT(fds) && e == OK; i++)
		e = io_connect(plain(&address), sizeof address, clock_after(50 * NSEC_MILLISECOND),
			       &fds[i]);
	CHECK_EQ(e, ERR_NET_TIMEOUT);
	for (unsigned i = 0; i < ARRAY_COUNT(fds); i++)
		io_close(&fds[i]);
	close(listener);
}

struct sending {
	int fd;
	size_t bytes;
};

static enum err send_pattern(void *argument)
{
	const struct sending *sending = argument;
	uint8_t *bytes = malloc(sending->bytes);
	enum err e;

	must(bytes != NULL);
	pattern_fill(bytes, sending->bytes, 9, 0);
	e = io_send(sending->fd, bytes, sending->bytes, later());
	free(bytes);
	shutdown(sending->fd, SHUT_WR);
	return e;
}

TEST_FIBER(what_one_fiber_sends_another_receives_to_the_end)
{
	struct group *group = group_open();
	struct io_receiver *receiver;
	struct ring_bytes bytes;
	struct sending sending = { .bytes = 30 * 1000 * 1000 };
	uint64_t got = 0;
	bool damaged = false;
	int ends[2];

	loopback_pair(ends);
	sending.fd = ends[1];
	REQUIRE(CHECK_OK(io_receiver_open(ends[0], &receiver)));
	REQUIRE(CHECK_OK(group_spawn(group, "send", FIBER_STACK_SMALL, send_pattern, &sending)));
	while (CHECK_OK(io_receive(receiver, later(), &bytes)) && bytes.length > 0) {
		damaged |= !pattern_holds(bytes.at, bytes.length, 9, got);
		got += bytes.length;
		io_release(receiver, &bytes);
		if (got % 7 == 0)
			CHECK_OK(fiber_sleep(clock_after(NSEC_MILLISECOND))); /* fall behind */
	}
	CHECK(!damaged);
	CHECK_EQ(got, sending.bytes);
	CHECK_OK(io_receive(receiver, later(), &bytes)); /* the end stays the end */
	CHECK_EQ(bytes.length, 0);
	CHECK_OK(group_join(&group));
	io_receiver_close(&receiver);
	close(ends[0]);
	close(ends[1]);
}

TEST_FIBER(bytes_before_a_reset_are_not_lost_and_the_reset_is_named)
{
	struct io_receiver *receiver;
	struct ring_bytes bytes;
	int ends[2];

	loopback_pair(ends);
	REQUIRE(CHECK_OK(io_receiver_open(ends[0], &receiver)));
	CHECK_EQ(send(ends[1], "before", 6, MSG_NOSIGNAL), 6);
	CHECK_OK(fiber_sleep(soon()));
	loopback_reset(ends[1]);
	CHECK_OK(io_receive(receiver, later(), &bytes));
	CHECK_EQ(bytes.length, 6);
	io_release(receiver, &bytes);
	CHECK_ERR(io_receive(receiver, later(), &bytes), ERR_NET_RESET);
	CHECK_ERR(io_receive(receiver, later(), &bytes), ERR_NET_RESET);
	io_receiver_close(&receiver);
	close(ends[0]);
}

TEST_FIBER(sending_to_a_peer_that_has_gone_is_an_error_and_no_signal)
{
	enum err e = OK;
	int ends[2];

	loopback_pair(ends);
	close(ends[1]);
	for (int i = 0; i < 100 && e == OK; i++) {
		e = io_send(ends[0], "x", 1, later());
		CHECK(e || fiber_sleep(clock_after(NSEC_MILLISECOND)) == OK);
	}
	CHECK(e == ERR_NET_RESET || e == ERR_NET_CLOSED);
	close(ends[0]);
}

TEST_FIBER(closing_a_receiver_while_data_arrives_leaves_nothing_behind)
{
	for (unsigned round = 0; round < 50; round++) {
		struct io_receiver *receiver;
		struct ring_bytes bytes;
		int ends[2];

		loopback_pair(ends);
		REQUIRE(CHECK_OK(io_receiver_open(ends[0], &receiver)));
		(void)pattern_send(ends[1], 1000 * 1000, round, 0);
		if (round % 2) {
			CHECK_OK(io_receive(receiver, later(), &bytes));
			io_release(receiver, &bytes);
		}
		io_receiver_close(&receiver);
		io_close(&ends[0]);
		if (round % 3 == 0)
			CHECK_OK(fiber_sleep(clock_after(NSEC_MILLISECOND)));
		close(ends[1]);
	}
}
