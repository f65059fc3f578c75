/* ring.h over io_uring: the only file that knows liburing. Every function of ring.h lives here, and
 * nothing else does, because tests/sim/ring_sim.c is linked in place of the whole file. Its parts
 * that need no liburing: ring_pool (receive buffers), ring_direct (verbs without an opcode),
 * ring_refuse (what to say when there is no ring).
 *
 * liburing 2.3 headers, kernel 6.1 or newer. What newer kernels offer is probed. */
#include "engine/ring.h"

#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "engine/clock.h"
#include "engine/limits.h"
#include "engine/ring_direct.h"
#include "engine/ring_pool.h"
#include "engine/ring_refuse.h"

/* Values that liburing 2.3 has no name for yet (uapi/linux/io_uring.h of 6.10). */
#define FEATURE_BUNDLES (1u << 14) /* IORING_FEAT_RECVSEND_BUNDLE */
#define RECEIVE_BUNDLE	(1u << 4)  /* IORING_RECVSEND_BUNDLE, in sqe->ioprio */

enum {
	RING_MAGIC = 0x52494e47,
	OP_MAGIC = 0x4f505f31,
	RECV_MAGIC = 0x52435631,

	/* The low bits of user_data say what a completion is for; the rest is the pointer. */
	TAG_OP = 0,
	TAG_RECV = 1,
	TAG_WAKE = 2,
	TAG_CANCEL = 3,
	TAG_MASK = 3,

	BUFFER_GROUP = 0,

	KERNEL_MINIMUM = 601, /* 6.1: Debian 12's; SINGLE_ISSUER and DEFER_TASKRUN */
	/* Kernels 6.14.x and 6.15.x could leave a gap in a bundle after a short transfer; repaired
	 * in 6.16 ("io_uring/net: only retry recv bundle for a full transfer"; liburing issue
	 * 1409). The feature bit does not tell, and older kernels gain little from bundles. */
	KERNEL_SOUND_BUNDLES = 616,
};

/* What ring_op.scratch holds; only this file and the kernel look at it. */
struct __attribute__((may_alias)) op_scratch {
	struct statx statx;
};
_Static_assert(sizeof(struct op_scratch) <= sizeof(((struct ring_op *)0)->scratch),
	       "scratch holds what the ring needs");

struct ring {
	uint32_t magic;
	struct io_uring uring;
	bool uring_open, closing;
	enum ring_use use;
	struct ring_facts facts;
	struct ring_counts counts;
	unsigned operations, receivers;			/* in flight */
	struct ring_recv *waiting_first, *waiting_last; /* to be armed or paused at the next turn */
	struct ring_pool pool;
	int wake_fd;
	bool wake_armed;
	uint64_t wake_value;
	atomic_bool wake_sent;
	void (*woken)(void *);
	void *woken_context;
};

static struct op_scratch *scratch_of(struct ring_op *op)
{
	return (struct op_scratch *)(void *)op->scratch;
}

/* ---- opening and closing ---- */

/* What this ring may ever be asked for: the opcodes that this file prepares, with the one flag that
 * it sets, and of io_uring_register(2) what io_uring_queue_exit() calls. A seccomp filter sees
 * io_uring_enter(2) and not what is in the queue, so a thread that is confined could do through its
 * ring what it may not do itself; therefore rings start disabled, are restricted
 * (io_uring_register, IORING_REGISTER_RESTRICTIONS; Linux 5.10), and are enabled by the thread they
 * belong to. What is refused completes with -EACCES. */
enum {
	COPIES = 1 << RING_TO_COPY,
	EXTRACTS = 1 << RING_TO_EXTRACT,
	READS = 1 << RING_TO_READ,
	FETCHES = 1 << RING_TO_FETCH,
	ALL = COPIES | EXTRACTS | READS | FETCHES,
};
static const struct {
	uint8_t operation, uses;
} allowed_operations[] = {
	{ IORING_OP_NOP, ALL },
	{ IORING_OP_CLOSE, ALL },
	{ IORING_OP_READ, ALL },
	{ IORING_OP_STATX, ALL },
	{ IORING_OP_ASYNC_CANCEL, ALL },
	{ IORING_OP_OPENAT, COPIES | EXTRACTS },
	{ IORING_OP_WRITE, COPIES | EXTRACTS },
	{ IORING_OP_FSYNC, COPIES | EXTRACTS },
	{ IORING_OP_RENAMEAT, COPIES | EXTRACTS },
	{ IORING_OP_UNLINKAT, COPIES | EXTRACTS },
	{ IORING_OP_MKDIRAT, COPIES | EXTRACTS },
	{ IORING_OP_FALLOCATE, COPIES },
	{ IORING_OP_CONNECT, COPIES | FETCHES },
	{ IORING_OP_SEND, COPIES | FETCHES },
	{ IORING_OP_SHUTDOWN, COPIES | FETCHES },
	{ IORING_OP_RECV, COPIES | FETCHES },
};

static enum err uring_restrict(struct ring *ring)
{
	struct io_uring_restriction rows[ARRAY_COUNT(allowed_operations) + 2] = {
		{ .opcode = IORING_RESTRICTION_SQE_FLAGS_ALLOWED,
		  .sqe_flags = IOSQE_BUFFER_SELECT },
		{ .opcode = IORING_RESTRICTION_REGISTER_OP,
		  .register_op = IORING_UNREGISTER_RING_FDS },
	};
	unsigned count = 2;
	int result;

	for (size_t i = 0; i < ARRAY_COUNT(allowed_operations); i++)
		if (allowed_operations[i].uses & 1 << ring->use)
			rows[count++] = (struct io_uring_restriction){
				.opcode = IORING_RESTRICTION_SQE_OP,
				.sqe_op = allowed_operations[i].operation,
			};
	/* liburing 2.3 declares calls for these two, and forgets to export them. */
	result = io_uring_register((unsigned)ring->uring.ring_fd, IORING_REGISTER_RESTRICTIONS,
				   rows, count);
	if (result == 0)
		result = io_uring_register((unsigned)ring->uring.ring_fd,
					   IORING_REGISTER_ENABLE_RINGS, NULL, 0);
	return result ? RAISE_ERRNO(ERR_RING_FAILED, -result,
				    "restricting io_uring to what is used")
		      : OK;
}

/* liburing maps and unmaps without libc, so ThreadSanitizer does not see that the memory of a
 * thread's ring is another one's later. */
#if UNDER_TSAN
void AnnotateNewMemory(const char *file, int line, const volatile void *at, size_t bytes);

static void forget_former_ring(const struct ring *ring)
{
	AnnotateNewMemory(__FILE__, __LINE__, ring->uring.sq.sqes,
			  RING_ENTRIES * sizeof *ring->uring.sq.sqes);
	AnnotateNewMemory(__FILE__, __LINE__, ring->uring.sq.ring_ptr, ring->uring.sq.ring_sz);
}
#else
static void forget_former_ring(const struct ring *ring)
{
	(void)ring;
}
#endif

static enum err uring_open(struct ring *ring)
{
	unsigned base = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_SUBMIT_ALL | IORING_SETUP_CQSIZE |
			IORING_SETUP_R_DISABLED;
	unsigned best = base | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG;
	unsigned version =
		ring_refuse_kernel_version(ring->facts.kernel, sizeof ring->facts.kernel);
	struct io_uring_params params = { .flags = best, .cq_entries = RING_COMPLETIONS };
	int result;

	if (version < KERNEL_MINIMUM)
		return RAISE(ERR_RING_TOO_OLD,
			     "this is kernel %s: boot 6.1 or newer (Debian 12 has it)",
			     ring->facts.kernel);
	result = io_uring_queue_init_params(RING_ENTRIES, &ring->uring, &params);
	if (result == -EINVAL) {
		params = (struct io_uring_params){ .flags = base, .cq_entries = RING_COMPLETIONS };
		result = io_uring_queue_init_params(RING_ENTRIES, &ring->uring, &params);
	}
	if (result < 0)
		return ring_refuse(ring->facts.kernel, -result);
	ring->uring_open = true;
	forget_former_ring(ring);
	ring->facts.defer_taskrun = params.flags & IORING_SETUP_DEFER_TASKRUN;
	ring->facts.bundles =
		(params.features & FEATURE_BUNDLES) && version >= KERNEL_SOUND_BUNDLES;
	/* Saves a file look-up per system call; without it the ring works as well. */
	(void)io_uring_register_ring_fd(&ring->uring);
	return OK;
}

static enum err buffers_open(struct ring *ring)
{
	struct io_uring_buf_reg reg = { .ring_entries = RECV_BUFFERS_COUNT, .bgid = BUFFER_GROUP };
	enum err e;
	int result;

	if ((e = ring_pool_open(&ring->pool)))
		return e;
	reg.ring_addr = (uintptr_t)ring->pool.slots;
	if ((result = io_uring_register_buf_ring(&ring->uring, &reg, 0)) < 0)
		return RAISE_ERRNO(ERR_RING_FAILED, -result, "registering the receive buffers");
	return ring_pool_fill(&ring->pool);
}

static uint64_t tagged(const void *pointer, unsigned tag)
{
	must(((uintptr_t)pointer & TAG_MASK) == 0);
	return (uintptr_t)pointer | tag;
}

/* A place in the submission queue. The kernel takes everything each time (SUBMIT_ALL), unless it
 * has no memory for a moment. */
static struct io_uring_sqe *next_sqe(struct ring *ring)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&ring->uring);

	for (int attempts = 0; !sqe && attempts < 1000; attempts++) {
		(void)io_uring_submit(&ring->uring);
		ring->counts.enters++;
		sqe = io_uring_get_sqe(&ring->uring);
	}
	must(sqe != NULL);
	return sqe;
}

static void cancel_tagged(struct ring *ring, uint64_t user_data)
{
	struct io_uring_sqe *sqe = next_sqe(ring);

	io_uring_prep_cancel64(sqe, user_data, 0);
	io_uring_sqe_set_data64(sqe, TAG_CANCEL);
}

static void wake_arm(struct ring *ring)
{
	struct io_uring_sqe *sqe = next_sqe(ring);

	io_uring_prep_read(sqe, ring->wake_fd, &ring->wake_value, sizeof ring->wake_value, 0);
	io_uring_sqe_set_data64(sqe, tagged(ring, TAG_WAKE));
	ring->wake_armed = true;
}

enum err ring_open(struct ring **out)
{
	return ring_open_for(RING_TO_COPY, out);
}

enum err ring_open_for(enum ring_use use, struct ring **out)
{
	struct ring *ring = calloc(1, sizeof *ring);
	enum err e;

	*out = NULL;
	if (!ring)
		return RAISE(ERR_MEMORY_EXHAUSTED, "opening io_uring");
	ring->magic = RING_MAGIC;
	ring->use = use;
	ring->wake_fd = -1;
	if ((e = uring_open(ring)) || (e = buffers_open(ring)) || (e = uring_restrict(ring)))
		goto out;
	/* Blocking on purpose: a read of an O_NONBLOCK file would not wait but end with -EAGAIN. */
	ring->wake_fd = eventfd(0, EFD_CLOEXEC);
	if (ring->wake_fd < 0) {
		e = RAISE_ERRNO(ERR_RING_FAILED, errno, "opening an eventfd to wake the ring with");
		goto out;
	}
	wake_arm(ring);
	*out = ring;
	return OK;
out:
	ring_close(&ring);
	return e;
}

void ring_close(struct ring **out)
{
	struct ring *ring = *out;

	*out = NULL;
	if (!ring)
		return;
	MAGIC_CHECK(ring, RING_MAGIC);
	must(ring_in_flight(ring) == 0 && !ring->waiting_first);
	ring->closing = true;
	/* The kernel still points at wake_value: make it let go before that is freed. */
	if (ring->wake_armed)
		cancel_tagged(ring, tagged(ring, TAG_WAKE));
	for (int turns = 0; ring->wake_armed && turns < 100; turns++)
		(void)ring_turn(ring, clock_after(100 * NSEC_MILLISECOND));
	must(!ring->wake_armed);
	if (ring->uring_open)
		io_uring_queue_exit(&ring->uring);
	if (ring->wake_fd >= 0)
		close(ring->wake_fd);
	ring_pool_close(&ring->pool);
	ring->magic = 0;
	free(ring);
}

/* ---- operations ---- */

/* Longer than our functions are, but one line a verb: the whole translation on one page. */
static void prepare(struct io_uring_sqe *sqe, struct ring_op *op)
{
	const unsigned stat_mask = STATX_TYPE | STATX_MODE | STATX_SIZE;
	const bool data_only = op->flags & RING_DATA_ONLY;

	switch (op->verb) {
	case RING_OPENAT:
		io_uring_prep_openat(sqe, AT_FDCWD, op->path, op->flags, op->mode);
		break;
	case RING_LIST: /* read when it is open: ring_direct_list() */
		io_uring_prep_openat(sqe, AT_FDCWD, op->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC,
				     0);
		break;
	case RING_CLOSE:
		io_uring_prep_close(sqe, op->fd);
		break;
	case RING_READ:
		io_uring_prep_read(sqe, op->fd, op->data, op->length, (uint64_t)op->offset);
		break;
	case RING_WRITE:
		io_uring_prep_write(sqe, op->fd, op->data, op->length, (uint64_t)op->offset);
		break;
	case RING_FSYNC:
		io_uring_prep_fsync(sqe, op->fd, data_only ? IORING_FSYNC_DATASYNC : 0);
		break;
	case RING_ALLOCATE:
		io_uring_prep_fallocate(sqe, op->fd, op->flags, op->offset, op->length);
		break;
	case RING_RENAME:
		io_uring_prep_renameat(sqe, AT_FDCWD, op->path, AT_FDCWD, op->path2,
				       (unsigned)op->flags);
		break;
	case RING_UNLINK:
		io_uring_prep_unlinkat(sqe, AT_FDCWD, op->path, op->flags);
		break;
	case RING_MKDIR:
		io_uring_prep_mkdirat(sqe, AT_FDCWD, op->path, op->mode);
		break;
	case RING_STAT:
		io_uring_prep_statx(sqe, AT_FDCWD, op->path, op->flags, stat_mask,
				    &scratch_of(op)->statx);
		break;
	case RING_CONNECT:
		io_uring_prep_connect(sqe, op->fd, op->address, op->address_bytes);
		break;
	case RING_SEND: /* MSG_WAITALL: the kernel goes on after a short send by itself */
		io_uring_prep_send(sqe, op->fd, op->data, op->length, MSG_NOSIGNAL | MSG_WAITALL);
		break;
	case RING_SHUTDOWN:
		io_uring_prep_shutdown(sqe, op->fd, SHUT_RDWR);
		break;
	default:
		must(false); /* ring_direct has all the others */
	}
}

static bool opens_directly(const struct ring *ring, const struct ring_op *op)
{
	return (ring->use == RING_TO_READ || ring->use == RING_TO_FETCH) &&
	       (op->verb == RING_OPENAT || op->verb == RING_LIST);
}

void ring_submit(struct ring *ring, struct ring_op *op)
{
	struct io_uring_sqe *sqe;

	MAGIC_CHECK(ring, RING_MAGIC);
	must((unsigned)op->verb < RING_VERB_COUNT && op->done != NULL);
	must(op->magic != OP_MAGIC); /* it is not in flight already */
	op->magic = OP_MAGIC;
	ring->operations++;
	ring->counts.operations++;
	sqe = next_sqe(ring);
	if (ring_direct_has(op->verb) || opens_directly(ring, op)) {
		op->result = ring_direct_has(op->verb) ? ring_direct_do(op) : ring_direct_open(op);
		io_uring_prep_nop(sqe); /* its completion brings the result to the next turn */
	} else {
		prepare(sqe, op);
	}
	io_uring_sqe_set_data64(sqe, tagged(op, TAG_OP));
}

void ring_cancel(struct ring *ring, struct ring_op *op)
{
	MAGIC_CHECK(op, OP_MAGIC);
	if (!ring_direct_has(op->verb)) /* the others are done already */
		cancel_tagged(ring, tagged(op, TAG_OP));
}

void ring_acknowledge(struct ring *ring, int fd)
{
	MAGIC_CHECK(ring, RING_MAGIC);
	ring->counts.acknowledged++;
	ring_direct_acknowledge(fd);
}

/* ---- receiving ---- */

static unsigned recv_held(const struct ring_recv *recv)
{
	return recv->count + recv->taken;
}

/* Have the next turn arm or pause this receiver, if it wants that. Not at once: until the next turn
 * fibers may give back so many buffers that no pause is needed. */
static void recv_attend_later(struct ring_recv *recv)
{
	struct ring *ring = recv->ring;
	bool wanted = recv->armed ? !recv->paused && recv_held(recv) >= ring_pool_pause_at()
				  : recv_held(recv) <= ring_pool_resume_at();

	if (!wanted || recv->waiting || recv->ended || recv->stopping)
		return;
	recv->waiting = true;
	recv->next_waiting = NULL;
	if (ring->waiting_last)
		ring->waiting_last->next_waiting = recv;
	else
		ring->waiting_first = recv;
	ring->waiting_last = recv;
}

static void recv_arm(struct ring *ring, struct ring_recv *recv)
{
	struct io_uring_sqe *sqe = next_sqe(ring);

	if (ring_pool_is_shared())
		io_uring_prep_recv(sqe, recv->fd, NULL, 0, 0);
	else
		io_uring_prep_recv_multishot(sqe, recv->fd, NULL, 0, 0);
	sqe->flags |= IOSQE_BUFFER_SELECT;
	sqe->buf_group = BUFFER_GROUP;
	if (ring->facts.bundles && !ring_pool_is_shared())
		sqe->ioprio |= RECEIVE_BUNDLE;
	io_uring_sqe_set_data64(sqe, tagged(recv, TAG_RECV));
	recv->armed = true;
	ring->receivers++;
}

static void recv_attend(struct ring *ring, struct ring_recv *recv)
{
	if (recv->stopping || recv->ended)
		return;
	if (!recv->armed && ring->pool.with_kernel > 0) {
		recv_arm(ring, recv);
	} else if (recv->armed && !recv->paused && recv_held(recv) >= ring_pool_pause_at()) {
		recv->paused = true;
		cancel_tagged(ring, tagged(recv, TAG_RECV));
	} else {
		recv_attend_later(recv); /* no buffer yet */
	}
}

/* All that wait, in their order, so that none is starved by the others. will_wait: every fiber
 * waits, so no buffer comes back before something arrives. */
static void attend_all(struct ring *ring, bool will_wait)
{
	struct ring_recv *recv = ring->waiting_first, *next;

	ring_pool_use_spare(&ring->pool);
	if (recv && will_wait && ring->pool.with_kernel == 0)
		ring_pool_grow(&ring->pool);
	ring->waiting_first = ring->waiting_last = NULL;
	for (; recv; recv = next) {
		next = recv->next_waiting;
		recv->waiting = false;
		recv_attend(ring, recv);
	}
}

/* One completion covers consecutive buffers, full but for the last, in the order in which the
 * kernel was given them (IORING_RECVSEND_BUNDLE); without bundles it is always one. */
static void recv_keep(struct ring *ring, struct ring_recv *recv, unsigned buffer, uint32_t bytes)
{
	struct ring_pool *pool = &ring->pool;

	ring->counts.recv_bytes += bytes;
	do {
		uint32_t length = (uint32_t)min_u64(bytes, RECV_BUFFER_BYTES);
		unsigned next = ring_pool_take(pool, buffer);

		bytes -= length;
		if (length == 0 || recv->stopping) {
			ring_pool_give_back(pool, buffer);
		} else {
			ring_pool_keep(pool, recv, buffer, length);
		}
		buffer = next;
	} while (bytes > 0);
}

static void recv_completed(struct ring *ring, struct ring_recv *recv, int32_t result,
			   uint32_t flags)
{
	MAGIC_CHECK(recv, RECV_MAGIC);
	must(recv->armed);
	if (flags & IORING_CQE_F_BUFFER)
		recv_keep(ring, recv, flags >> IORING_CQE_BUFFER_SHIFT,
			  result > 0 ? (uint32_t)result : 0);
	if (!(flags & IORING_CQE_F_MORE)) {
		recv->armed = recv->paused = false;
		ring->receivers--;
	}
	if (result == 0)
		recv->ended = 1;
	else if (result == -ENOBUFS)
		ring->counts.recv_starved++;
	else if (result < 0 && result != -ECANCELED && result != -EINTR && result != -EAGAIN)
		recv->ended = result;
	recv_attend_later(recv);
	if (!recv->stopping && (recv->count > 0 || recv->ended))
		recv->arrived(recv);
}

void ring_recv_start(struct ring *ring, struct ring_recv *recv)
{
	must(recv->arrived != NULL && recv->magic != RECV_MAGIC);
	recv->magic = RECV_MAGIC;
	recv->ring = ring;
	recv->count = recv->taken = 0;
	recv->ended = 0;
	recv->armed = recv->paused = recv->stopping = recv->waiting = false;
	recv_attend_later(recv);
}

int ring_recv_take(struct ring_recv *recv, struct ring_bytes *out)
{
	MAGIC_CHECK(recv, RECV_MAGIC);
	must(!recv->stopping);
	if (recv->count == 0)
		return recv->ended ? -1 : 0;
	*out = ring_pool_hand_out(&recv->ring->pool, recv);
	recv->taken++;
	return 1;
}

void ring_recv_release(struct ring_recv *recv, const struct ring_bytes *bytes)
{
	MAGIC_CHECK(recv, RECV_MAGIC);
	must(recv->taken > 0 && bytes->length > 0);
	recv->taken--;
	ring_pool_give_back(&recv->ring->pool, bytes->buffer);
	recv_attend_later(recv);
}

void ring_recv_stop(struct ring_recv *recv)
{
	struct ring *ring = recv->ring;

	MAGIC_CHECK(recv, RECV_MAGIC);
	must(!recv->stopping && recv->taken == 0);
	recv->stopping = true;
	while (recv->count > 0)
		ring_pool_give_back(&ring->pool, ring_pool_hand_out(&ring->pool, recv).buffer);
	if (recv->armed && !recv->paused)
		cancel_tagged(ring, tagged(recv, TAG_RECV));
}

bool ring_recv_stopped(const struct ring_recv *recv)
{
	MAGIC_CHECK(recv, RECV_MAGIC);
	return recv->stopping && !recv->armed && !recv->waiting;
}

/* ---- one turn ---- */

static void op_completed(struct ring *ring, struct ring_op *op, int32_t result)
{
	const struct statx *statx = &scratch_of(op)->statx;

	MAGIC_CHECK(op, OP_MAGIC);
	must(ring->operations > 0);
	if (!ring_direct_has(op->verb) && !opens_directly(ring, op))
		op->result = result;
	if (op->verb == RING_LIST && op->result >= 0)
		op->result = ring_direct_list(op, op->result);
	if (op->verb == RING_STAT && op->result >= 0)
		*op->stat = (struct ring_stat){
			.size_bytes = statx->stx_size,
			.is_directory = S_ISDIR(statx->stx_mode),
			.is_regular = S_ISREG(statx->stx_mode),
			.mode = statx->stx_mode & 07777,
		};
	if (op->verb == RING_SEND && op->result > 0)
		ring->counts.send_bytes += (uint32_t)op->result;
	ring->operations--;
	op->magic = 0;
	op->done(op);
}

static void wake_completed(struct ring *ring)
{
	ring->wake_armed = false;
	/* Before looking at what the wakers left for us: a wake from here on is a new one. */
	atomic_store(&ring->wake_sent, false);
	if (ring->closing)
		return;
	wake_arm(ring);
	if (ring->woken)
		ring->woken(ring->woken_context);
}

static void completed(struct ring *ring, uint64_t user_data, int32_t result, uint32_t flags)
{
	void *pointer = (void *)(uintptr_t)(user_data & ~(uint64_t)TAG_MASK);

	switch (user_data & TAG_MASK) {
	case TAG_OP:
		op_completed(ring, pointer, result);
		break;
	case TAG_RECV:
		recv_completed(ring, pointer, result, flags);
		break;
	case TAG_WAKE:
		must(pointer == ring);
		wake_completed(ring);
		break;
	default: /* what a cancel achieved shows in the cancelled operation's own completion */
		break;
	}
}

static bool kernel_has_work(const struct io_uring *uring)
{
	unsigned flags = IO_URING_READ_ONCE(*uring->sq.kflags);

	return flags & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW);
}

/* With DEFER_TASKRUN the kernel finishes work only while we ask for events. */
static void enter(struct ring *ring, nsec wait)
{
	struct __kernel_timespec limit = { wait / NSEC_SECOND, wait % NSEC_SECOND };
	struct io_uring_cqe *cqe;
	int result;

	if (io_uring_sq_ready(&ring->uring) == 0 && !kernel_has_work(&ring->uring) &&
	    (wait <= 0 || io_uring_cq_ready(&ring->uring) > 0))
		return;
	ring->counts.enters++;
	if (wait <= 0)
		result = io_uring_submit_and_get_events(&ring->uring);
	else
		result = io_uring_submit_and_wait_timeout(&ring->uring, &cqe, 1, &limit, NULL);
	must(result >= 0 || result == -ETIME || result == -EINTR || result == -EAGAIN ||
	     result == -EBUSY || result == -ENOMEM);
}

unsigned ring_turn(struct ring *ring, nsec until)
{
	nsec wait = until - clock_now();
	struct io_uring_cqe *cqe;
	unsigned count = 0;

	MAGIC_CHECK(ring, RING_MAGIC);
	attend_all(ring, wait > 0);
	enter(ring, wait);
	for (unsigned left = io_uring_cq_ready(&ring->uring); left > 0; left--, count++) {
		uint64_t user_data;
		uint32_t flags;
		int32_t result;

		must(io_uring_peek_cqe(&ring->uring, &cqe) == 0);
		user_data = cqe->user_data;
		result = cqe->res;
		flags = cqe->flags;
		io_uring_cqe_seen(&ring->uring, cqe);
		ring->counts.completions++;
		completed(ring, user_data, result, flags);
	}
	return count;
}

/* write(2) is async-signal-safe, and so is a lock-free atomic. Several wakes may become one. */
void ring_wake(struct ring *ring)
{
	static const uint64_t one = 1;
	int errno_before = errno;

	if (!atomic_exchange(&ring->wake_sent, true))
		(void)!write(ring->wake_fd, &one, sizeof one);
	errno = errno_before;
}

void ring_on_wake(struct ring *ring, void (*woken)(void *context), void *context)
{
	ring->woken = woken;
	ring->woken_context = context;
}

unsigned ring_in_flight(const struct ring *ring)
{
	return ring->operations + ring->receivers;
}

const struct ring_facts *ring_facts(const struct ring *ring)
{
	return &ring->facts;
}

const struct ring_counts *ring_counts(const struct ring *ring)
{
	return &ring->counts;
}
