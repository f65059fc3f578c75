/* The ring by itself, no fibers: refusals, verbs, cancel, wake; receiving loses nothing. */
#include "engine/ring.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "engine/bytes.h"
#include "engine/clock.h"
#include "engine/limits.h"
#include "tests/test.h"
#include "tests/unit/loopback.h"

/* Far enough never to be what ends a turn, near enough that a broken test ends. */
static nsec later(void)
{
	return clock_after(60 * NSEC_SECOND);
}

/* ---- refusals ---- */

struct refusal {
	enum err error;
	char text[ERR_NOTE_BYTES_MAX];
};

/* Let io_uring_setup fail with `errno_value`, as a container's seccomp profile does. */
static void forbid_io_uring(int errno_value)
{
	struct sock_filter rules[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_io_uring_setup, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)errno_value),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { ARRAY_COUNT(rules), rules };

	must(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
	must(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
}

static void pretend_old_kernel(int unused)
{
	(void)unused;
	must(personality(PER_LINUX | UNAME26) >= 0);
}

/* What ring_open() says in a process of its own, where `spoil` made the system worse. */
static struct refusal refusal_after(void (*spoil)(int), int argument)
{
	struct refusal refusal = { 0 };
	int ends[2], status;
	pid_t child;

	must(pipe2(ends, O_CLOEXEC) == 0);
	child = fork();
	must(child >= 0);
	if (child == 0) {
		struct ring *ring = NULL;

		spoil(argument);
		refusal.error = ring_open(&ring);
		snprintf(refusal.text, sizeof refusal.text, "%s", err_note()->text);
		_exit(write(ends[1], &refusal, sizeof refusal) != sizeof refusal || ring != NULL);
	}
	close(ends[1]);
	CHECK_EQ(read(ends[0], &refusal, sizeof refusal), sizeof refusal);
	close(ends[0]);
	CHECK_EQ(waitpid(child, &status, 0), child);
	CHECK_EQ(status, 0);
	return refusal;
}

TEST(a_seccomp_profile_that_forbids_io_uring_is_named)
{
	struct refusal refusal = refusal_after(forbid_io_uring, EPERM);

	CHECK_EQ(refusal.error, ERR_RING_FORBIDDEN);
	CHECK(strstr(refusal.text, "io_uring_disabled"));
	if (access("/proc/sys/kernel/io_uring_disabled", R_OK) != 0)
		CHECK(strstr(refusal.text, "not readable"));
	CHECK(strstr(refusal.text, "seccomp") || strstr(refusal.text, "sysctl"));
	CHECK_EQ(refusal_after(forbid_io_uring, EACCES).error, ERR_RING_FORBIDDEN);
}

TEST(a_kernel_without_io_uring_is_told_apart_from_a_forbidding_one)
{
	struct refusal refusal = refusal_after(forbid_io_uring, ENOSYS);

	CHECK_EQ(refusal.error, ERR_RING_ABSENT);
	CHECK(strstr(refusal.text, "CONFIG_IO_URING"));
}

TEST(lack_of_locked_memory_says_which_limit_to_raise)
{
	struct refusal refusal = refusal_after(forbid_io_uring, ENOMEM);

	CHECK_EQ(refusal.error, ERR_RING_FAILED);
	CHECK(strstr(refusal.text, "ulimit -l"));
}

TEST(an_old_kernel_is_refused_by_its_version)
{
	struct refusal refusal = refusal_after(pretend_old_kernel, 0);

	CHECK_EQ(refusal.error, ERR_RING_TOO_OLD);
	CHECK(strstr(refusal.text, "kernel 2.6."));
}

static void use_up_descriptors(int unused)
{
	struct rlimit none = { 3, 3 };

	(void)unused;
	must(setrlimit(RLIMIT_NOFILE, &none) == 0);
}

TEST(lack_of_descriptors_is_an_error_and_not_a_crash)
{
	CHECK_EQ(refusal_after(use_up_descriptors, 0).error, ERR_RING_FAILED);
}

/* ---- verbs ---- */

static void count_done(struct ring_op *op)
{
	++*(unsigned *)op->owner;
}

TEST(more_operations_than_the_queue_holds_are_all_done)
{
	enum { OPERATIONS = 3 * RING_ENTRIES };
	struct ring_op *ops = calloc(OPERATIONS, sizeof *ops);
	struct ring_stat stat;
	struct ring *ring;
	unsigned done = 0;

	REQUIRE(ops && CHECK_OK(ring_open(&ring)));
	for (int i = 0; i < OPERATIONS; i++) {
		ops[i] = (struct ring_op){ .verb = RING_STAT, .path = "/", .stat = &stat };
		ops[i].done = count_done;
		ops[i].owner = &done;
		ring_submit(ring, &ops[i]);
	}
	CHECK_EQ(done, 0); /* never inside ring_submit() */
	CHECK_EQ(ring_in_flight(ring), OPERATIONS);
	for (nsec until = later(); done < OPERATIONS && clock_now() < until;)
		ring_turn(ring, until);
	CHECK_EQ(done, OPERATIONS);
	for (int i = 0; i < OPERATIONS; i++)
		CHECK_EQ(ops[i].result, 0);
	CHECK(stat.is_directory && !stat.is_regular);
	CHECK_EQ(ring_in_flight(ring), 0);
	CHECK_EQ(ring_counts(ring)->operations, OPERATIONS);
	ring_close(&ring);
	CHECK(ring == NULL);
	free(ops);
}

/* Do one operation to its end; its result. */
static int do_one(struct ring *ring, struct ring_op *op)
{
	unsigned done = 0;

	op->done = count_done;
	op->owner = &done;
	ring_submit(ring, op);
	CHECK_EQ(done, 0);
	for (nsec until = later(); !done && clock_now() < until;)
		ring_turn(ring, until);
	must(done == 1);
	return op->result;
}

/* The same for verbs that need little. */
static int do_fd(struct ring *ring, enum ring_verb verb, int fd)
{
	return do_one(ring, &(struct ring_op){ .verb = verb, .fd = fd });
}

static int do_list(struct ring *ring, const char *path, struct buffer *names)
{
	return do_one(ring, &(struct ring_op){ .verb = RING_LIST, .path = path, .names = names });
}

TEST(a_directory_is_listed_by_the_next_turn)
{
	struct buffer names = { 0 };
	struct ring *ring;
	char path[100];
	int fd;

	REQUIRE(CHECK_OK(ring_open(&ring)));
	snprintf(path, sizeof path, "%s/file", test_directory());
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	CHECK_EQ(do_list(ring, test_directory(), &names), 0);
	CHECK_EQ(names.bytes, sizeof "file");
	CHECK_EQ(do_list(ring, path, &names), -ENOTDIR);
	names.bytes_max = 3;
	buffer_reset(&names);
	CHECK_EQ(do_list(ring, test_directory(), &names), -ENOBUFS);
	buffer_free(&names);
	close(fd);
	ring_close(&ring);
}

TEST(a_lock_excludes_until_its_file_is_closed)
{
	struct ring_op open_it = { .verb = RING_OPENAT, .flags = O_RDWR | O_CREAT | O_CLOEXEC };
	struct stat status;
	struct ring *ring;
	char path[100];
	int fd, again;

	REQUIRE(CHECK_OK(ring_open(&ring)));
	snprintf(path, sizeof path, "%s/file", test_directory());
	open_it.path = path;
	open_it.mode = 0600;
	fd = do_one(ring, &open_it);
	again = do_one(ring, &open_it);
	REQUIRE(fd >= 0 && again >= 0);
	CHECK_EQ(do_one(ring, &(struct ring_op){ .verb = RING_TRUNCATE, .fd = fd, .offset = 777 }),
		 0);
	CHECK_EQ(fstat(fd, &status), 0);
	CHECK_EQ(status.st_size, 777);
	CHECK_EQ(do_fd(ring, RING_LOCK, fd), 0);
	CHECK_EQ(do_fd(ring, RING_LOCK, again), -EWOULDBLOCK);
	CHECK_EQ(do_fd(ring, RING_CLOSE, fd), 0);
	CHECK_EQ(do_fd(ring, RING_LOCK, again), 0);
	CHECK_EQ(do_fd(ring, RING_CLOSE, again), 0);
	CHECK_EQ(do_fd(ring, RING_CLOSE, again), -EBADF);
	ring_close(&ring);
}

TEST(space_is_allocated_ahead_of_writing)
{
	struct stat status;
	struct ring *ring;
	char path[100];
	int fd, result;

	REQUIRE(CHECK_OK(ring_open(&ring)));
	snprintf(path, sizeof path, "%s/file", test_directory());
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	REQUIRE(fd >= 0);
	result = do_one(ring,
			&(struct ring_op){ .verb = RING_ALLOCATE, .fd = fd, .length = 1 << 20 });
	CHECK(result == 0 || result == -EOPNOTSUPP);
	CHECK_EQ(fstat(fd, &status), 0);
	CHECK_EQ(status.st_size, result == 0 ? 1 << 20 : 0);
	close(fd);
	ring_close(&ring);
}

TEST(a_canceled_operation_ends_and_says_so)
{
	unsigned done = 0;
	uint64_t value;
	struct ring_op op = { .verb = RING_READ, .data = &value, .length = sizeof value };
	struct ring *ring;

	REQUIRE(CHECK_OK(ring_open(&ring)));
	op.fd = eventfd(0, EFD_CLOEXEC);
	op.offset = -1;
	op.done = count_done;
	op.owner = &done;
	ring_submit(ring, &op);
	ring_turn(ring, 0);
	CHECK_EQ(done, 0);
	ring_cancel(ring, &op);
	for (nsec until = later(); !done && clock_now() < until;)
		ring_turn(ring, until);
	CHECK_EQ(done, 1);
	CHECK_EQ(op.result, -ECANCELED);
	CHECK_EQ(ring_in_flight(ring), 0);
	close(op.fd);
	ring_close(&ring);
}

/* ---- turning and waking ---- */

TEST(a_turn_with_nothing_to_do_lasts_until_its_deadline)
{
	struct ring *ring;
	nsec until;

	REQUIRE(CHECK_OK(ring_open(&ring)));
	until = clock_after(20 * NSEC_MILLISECOND);
	while (clock_now() < until)
		CHECK_EQ(ring_turn(ring, until), 0);
	CHECK_EQ(ring_turn(ring, 0), 0);
	CHECK(ring_counts(ring)->enters < 10); /* it slept, it did not spin */
	ring_close(&ring);
}

static void *wake_it(void *ring)
{
	ring_wake(ring);
	return NULL;
}

static void count_wake(void *count)
{
	++*(unsigned *)count;
}

TEST(another_thread_wakes_a_waiting_turn_again_and_again)
{
	struct ring *ring;
	unsigned woken = 0;

	REQUIRE(CHECK_OK(ring_open(&ring)));
	ring_on_wake(ring, count_wake, &woken);
	for (unsigned round = 1; round <= 20; round++) {
		nsec until = later();
		pthread_t thread;

		REQUIRE(pthread_create(&thread, NULL, wake_it, ring) == 0);
		while (woken < round && clock_now() < until)
			ring_turn(ring, until);
		pthread_join(thread, NULL);
		CHECK_EQ(woken, round);
	}
	ring_close(&ring);
}

TEST(many_wakes_before_a_turn_are_one)
{
	struct ring *ring;
	unsigned woken = 0;

	REQUIRE(CHECK_OK(ring_open(&ring)));
	ring_on_wake(ring, count_wake, &woken);
	for (int i = 0; i < 1000; i++)
		ring_wake(ring);
	for (nsec until = later(); !woken && clock_now() < until;)
		ring_turn(ring, until);
	CHECK_EQ(woken, 1);
	CHECK_EQ(ring_turn(ring, 0), 0);
	CHECK_EQ(woken, 1);
	ring_close(&ring);
}

/* ---- receiving ---- */

/* One connection: we send at ends[1], the ring receives at ends[0]. */
struct stream {
	unsigned number;
	int ends[2];
	struct ring_recv recv;
	uint64_t to_send, sent, got;
	struct ring_bytes held[RECV_BUFFERS_COUNT];
	unsigned held_count, hold; /* keep this many before giving any back */
	bool damaged, ended;
};

static void ignore_arrival(struct ring_recv *recv)
{
	must(recv->count > 0 || recv->ended);
}

static void stream_open(struct ring *ring, struct stream *stream, unsigned number, uint64_t to_send)
{
	*stream = (struct stream){ .number = number, .to_send = to_send };
	loopback_pair(stream->ends);
	stream->recv.fd = stream->ends[0];
	stream->recv.arrived = ignore_arrival;
	ring_recv_start(ring, &stream->recv);
}

static void stream_release(struct stream *stream)
{
	for (unsigned i = 0; i < stream->held_count; i++)
		ring_recv_release(&stream->recv, &stream->held[i]);
	stream->held_count = 0;
}

/* Take all there is, check it, give it back once `hold` buffers are there. */
static void stream_take(struct stream *stream)
{
	struct ring_bytes bytes;
	int taken;

	while ((taken = ring_recv_take(&stream->recv, &bytes)) == 1) {
		stream->damaged |=
			!pattern_holds(bytes.at, bytes.length, stream->number, stream->got);
		stream->got += bytes.length;
		stream->held[stream->held_count++] = bytes;
		if (stream->held_count > stream->hold)
			stream_release(stream);
	}
	stream->ended = taken < 0;
	if (stream->ended)
		stream_release(stream);
}

static void stream_send(struct stream *stream)
{
	if (stream->ends[1] < 0)
		return;
	stream->sent += pattern_send(stream->ends[1], stream->to_send - stream->sent,
				     stream->number, stream->sent);
	if (stream->sent == stream->to_send) {
		close(stream->ends[1]);
		stream->ends[1] = -1;
	}
}

static void stream_close(struct ring *ring, struct stream *stream)
{
	nsec until = later();

	stream_release(stream);
	ring_recv_stop(&stream->recv);
	while (!ring_recv_stopped(&stream->recv) && clock_now() < until)
		ring_turn(ring, 0);
	CHECK(ring_recv_stopped(&stream->recv));
	close(stream->ends[0]);
	if (stream->ends[1] >= 0)
		close(stream->ends[1]);
}

/* Send and take on all streams until every one came to its end. */
static void streams_run(struct ring *ring, struct stream *streams, unsigned count)
{
	unsigned ended = 0;

	for (nsec until = later(); ended < count && clock_now() < until;) {
		ended = 0;
		for (unsigned i = 0; i < count; i++)
			stream_send(&streams[i]);
		ring_turn(ring, clock_after(NSEC_MILLISECOND));
		for (unsigned i = 0; i < count; i++) {
			stream_take(&streams[i]);
			ended += streams[i].ended;
		}
	}
	CHECK_EQ(ended, count);
}

static void streams_check_and_close(struct ring *ring, struct stream *streams, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		CHECK(!streams[i].damaged);
		CHECK_EQ(streams[i].got, streams[i].to_send);
		CHECK_EQ(streams[i].recv.ended, 1);
		stream_close(ring, &streams[i]);
	}
}

TEST(one_stream_arrives_byte_for_byte)
{
	struct stream *stream = calloc(1, sizeof *stream);
	struct ring *ring;

	REQUIRE(stream && CHECK_OK(ring_open(&ring)));
	stream_open(ring, stream, 1, 20 * 1000 * 1000 + 7);
	streams_run(ring, stream, 1);
	CHECK_EQ(ring_counts(ring)->recv_bytes, stream->to_send);
	streams_check_and_close(ring, stream, 1);
	ring_close(&ring);
	free(stream);
}

TEST(an_empty_stream_ends_at_once)
{
	struct stream *stream = calloc(1, sizeof *stream);
	struct ring *ring;

	REQUIRE(stream && CHECK_OK(ring_open(&ring)));
	stream_open(ring, stream, 1, 0);
	streams_run(ring, stream, 1);
	streams_check_and_close(ring, stream, 1);
	ring_close(&ring);
	free(stream);
}

/* 200 connections hold 2 buffers each of the pool's 256 before they give any back, so the kernel
 * runs out of buffers all the time. */
TEST(two_hundred_starving_receivers_lose_no_byte)
{
	enum { STREAMS = 200 };
	struct stream *streams = calloc(STREAMS, sizeof *streams);
	struct ring *ring;

	REQUIRE(streams && CHECK_OK(ring_open(&ring)));
	for (unsigned i = 0; i < STREAMS; i++) {
		stream_open(ring, &streams[i], i, 150 * 1000 + 1000 * i);
		streams[i].hold = 2;
	}
	streams_run(ring, streams, STREAMS);
	CHECK(ring_counts(ring)->recv_starved > 0);
	streams_check_and_close(ring, streams, STREAMS);
	ring_close(&ring);
	free(streams);
}

/* Push into a stream that nobody takes from until nothing more goes in, twice in a row. */
static void stream_clog(struct ring *ring, struct stream *stream)
{
	unsigned idle_rounds = 0;

	for (nsec until = later(); idle_rounds < 20 && clock_now() < until;) {
		uint64_t before = stream->sent;

		stream_send(stream);
		idle_rounds = ring_turn(ring, clock_after(NSEC_MILLISECOND)) == 0 &&
					      stream->sent == before
				      ? idle_rounds + 1
				      : 0;
	}
}

TEST(a_receiver_that_stops_taking_pauses_and_goes_on_without_a_gap)
{
	struct stream *stream = calloc(1, sizeof *stream);
	struct ring *ring;

	REQUIRE(stream && CHECK_OK(ring_open(&ring)));
	stream_open(ring, stream, 3, 64 * 1000 * 1000);
	stream_clog(ring, stream);
	CHECK(stream->sent < stream->to_send); /* TCP slowed us */
	CHECK(!stream->recv.armed);	       /* because the ring had paused */
	/* What the kernel had filled before it was told, which on a busy machine is every buffer it
	 * had; those made up for meanwhile come on top. */
	CHECK(stream->recv.count < 2 * RECV_BUFFERS_COUNT);
	CHECK(stream->recv.count >= RECV_BUFFERS_HELD_MAX / 2);
	streams_run(ring, stream, 1);
	streams_check_and_close(ring, stream, 1);
	ring_close(&ring);
	free(stream);
}

TEST(receivers_that_sit_on_all_buffers_do_not_starve_the_others)
{
	enum { SITTING = 8 };
	struct stream *streams = calloc(SITTING + 1, sizeof *streams);
	struct stream *live = &streams[SITTING];
	struct ring *ring;
	unsigned sat_on = 0;

	REQUIRE(streams && CHECK_OK(ring_open(&ring)));
	for (unsigned i = 0; i < SITTING; i++) {
		stream_open(ring, &streams[i], i, 16 * 1000 * 1000);
		stream_clog(ring, &streams[i]);
		sat_on += streams[i].recv.count;
	}
	CHECK(sat_on >= RECV_BUFFERS_COUNT); /* more than there were at first */
	stream_open(ring, live, SITTING, 1000 * 1000);
	for (nsec until = later(); !live->ended && clock_now() < until;) {
		stream_send(live);
		ring_turn(ring, clock_after(NSEC_MILLISECOND));
		stream_take(live);
	}
	CHECK(live->ended);
	CHECK_EQ(live->got, live->to_send);
	streams_run(ring, streams, SITTING); /* and they can go on as well */
	streams_check_and_close(ring, streams, SITTING + 1);
	ring_close(&ring);
	free(streams);
}

/* Were a buffer lost with each, the last ones would have none left. */
TEST(stopping_while_data_arrives_gives_every_buffer_back)
{
	struct stream *stream = calloc(1, sizeof *stream);
	struct ring *ring;

	REQUIRE(stream && CHECK_OK(ring_open(&ring)));
	for (unsigned round = 0; round < 2 * RECV_BUFFERS_COUNT; round++) {
		stream_open(ring, stream, round, 1000 * 1000);
		stream_send(stream);
		ring_turn(ring, round % 3 ? later() : 0);
		if (round % 2)
			stream_send(stream); /* arrives between stop and the kernel letting go */
		stream_close(ring, stream);
	}
	CHECK_EQ(ring_in_flight(ring), 0);
	CHECK_EQ(ring_counts(ring)->recv_starved, 0);
	stream_open(ring, stream, 1, 8 * 1000 * 1000);
	streams_run(ring, stream, 1);
	streams_check_and_close(ring, stream, 1);
	ring_close(&ring);
	free(stream);
}

static void stop_at_once(struct ring_recv *recv)
{
	ring_recv_stop(recv); /* more completions of it may lie behind this one */
}

TEST(stopping_between_two_completions_gives_their_buffers_back)
{
	struct stream *stream = calloc(1, sizeof *stream);
	struct ring *ring;

	REQUIRE(stream && CHECK_OK(ring_open(&ring)));
	for (unsigned round = 0; round < 2 * RECV_BUFFERS_COUNT; round++) {
		nsec until = later();

		stream_open(ring, stream, round, 1000 * 1000);
		stream->recv.arrived = stop_at_once;
		stream_send(stream);
		while (!ring_recv_stopped(&stream->recv) && clock_now() < until)
			ring_turn(ring, until);
		CHECK(ring_recv_stopped(&stream->recv));
		close(stream->ends[0]);
		close(stream->ends[1]);
	}
	CHECK_EQ(ring_counts(ring)->recv_starved, 0);
	ring_close(&ring);
	free(stream);
}

TEST(a_reset_ends_the_stream_with_its_errno)
{
	struct stream *stream = calloc(1, sizeof *stream);
	struct ring *ring;

	REQUIRE(stream && CHECK_OK(ring_open(&ring)));
	stream_open(ring, stream, 1, 1000);
	ring_turn(ring, 0);
	loopback_reset(stream->ends[1]);
	stream->ends[1] = -1;
	for (nsec until = later(); !stream->ended && clock_now() < until;) {
		ring_turn(ring, until);
		stream_take(stream);
	}
	CHECK_EQ(stream->recv.ended, -ECONNRESET);
	stream_close(ring, stream);
	ring_close(&ring);
	free(stream);
}

TEST(facts_name_the_kernel)
{
	struct ring *ring;

	REQUIRE(CHECK_OK(ring_open(&ring)));
	CHECK(ring_facts(ring)->kernel[0] >= '1' && ring_facts(ring)->kernel[0] <= '9');
	CHECK(ring_facts(ring)->defer_taskrun); /* 6.1 and newer have it */
	ring_close(&ring);
}
