/* What a ring refuses. This test has the ring's own code inside, because nothing in ring.h can ask
 * for what is not allowed. */
#include "engine/ring_uring.c"

#include "tests/test.h"

/* What comes back for one submission that is not the ring's own. */
static int32_t answer_to(struct ring *ring, struct io_uring_sqe given)
{
	struct io_uring_sqe *sqe = next_sqe(ring);
	struct io_uring_cqe *cqe;
	int32_t result = 0;

	*sqe = given;
	io_uring_sqe_set_data64(sqe, TAG_CANCEL);
	must(io_uring_submit_and_wait(&ring->uring, 1) >= 0);
	must(io_uring_wait_cqe(&ring->uring, &cqe) == 0 && cqe->user_data == TAG_CANCEL);
	result = cqe->res;
	io_uring_cqe_seen(&ring->uring, cqe);
	return result;
}

static bool is_allowed(enum ring_use use, unsigned operation)
{
	for (size_t i = 0; i < ARRAY_COUNT(allowed_operations); i++)
		if (allowed_operations[i].operation == operation)
			return allowed_operations[i].uses & 1 << use;
	return false;
}

TEST(a_ring_refuses_every_operation_that_it_does_not_use)
{
	static const unsigned allowed[] = {
		[RING_TO_COPY] = 16, [RING_TO_EXTRACT] = 11, [RING_TO_READ] = 5, [RING_TO_FETCH] = 9
	};
	struct ring *ring;

	for (enum ring_use use = RING_TO_COPY; use <= RING_TO_FETCH; use++) {
		unsigned refused = 0;

		REQUIRE(CHECK_OK(ring_open_for(use, &ring)));
		for (unsigned operation = 0; operation < IORING_OP_LAST; operation++)
			if (!is_allowed(use, operation))
				refused += answer_to(ring, (struct io_uring_sqe){
								   .opcode = (uint8_t)operation,
								   .fd = -1 }) == -EACCES;
		CHECK_EQ(refused, IORING_OP_LAST - allowed[use]);
		CHECK_EQ(answer_to(ring, (struct io_uring_sqe){ .opcode = IORING_OP_NOP }), 0);
		ring_close(&ring);
	}
}

/* By number, so that a row moved to the wrong use does not go unnoticed. */
TEST(a_ring_to_read_or_fetch_opens_no_file_by_itself_and_writes_none)
{
	static const uint8_t refused[] = { IORING_OP_OPENAT,   IORING_OP_OPENAT2,
					   IORING_OP_WRITE,    IORING_OP_WRITEV,
					   IORING_OP_UNLINKAT, IORING_OP_RENAMEAT,
					   IORING_OP_MKDIRAT,  IORING_OP_LINKAT,
					   IORING_OP_CONNECT,  IORING_OP_SOCKET };
	struct ring *ring;

	REQUIRE(CHECK_OK(ring_open_for(RING_TO_READ, &ring)));
	for (size_t i = 0; i < ARRAY_COUNT(refused); i++)
		CHECK_EQ(answer_to(ring, (struct io_uring_sqe){ .opcode = refused[i], .fd = -1 }),
			 -EACCES);
	ring_close(&ring);
	REQUIRE(CHECK_OK(ring_open_for(RING_TO_FETCH, &ring)));
	for (size_t i = 0; i < ARRAY_COUNT(refused); i++)
		CHECK_EQ(answer_to(ring, (struct io_uring_sqe){ .opcode = refused[i], .fd = -1 }) ==
				 -EACCES,
			 refused[i] != IORING_OP_CONNECT);
	ring_close(&ring);
}

/* Without IOSQE_IO_DRAIN, with which the kernel (6.18) begins to drain before it refuses. */
TEST(a_ring_refuses_every_flag_that_it_does_not_use)
{
	static const uint8_t flags[] = { IOSQE_FIXED_FILE, IOSQE_IO_LINK, IOSQE_IO_HARDLINK,
					 IOSQE_ASYNC, IOSQE_CQE_SKIP_SUCCESS };
	struct ring *ring;

	REQUIRE(CHECK_OK(ring_open(&ring)));
	for (size_t i = 0; i < ARRAY_COUNT(flags); i++)
		CHECK_EQ(answer_to(ring, (struct io_uring_sqe){ .opcode = IORING_OP_NOP,
								.flags = flags[i] }),
			 -EACCES);
	ring_close(&ring);
}

TEST(a_ring_cannot_be_given_files_or_buffers_or_be_freed_of_its_restrictions)
{
	struct io_uring_restriction more = { .opcode = IORING_RESTRICTION_SQE_OP,
					     .sqe_op = IORING_OP_SOCKET };
	struct iovec memory = { &more, sizeof more };
	int file = STDIN_FILENO;
	struct ring *ring;

	REQUIRE(CHECK_OK(ring_open(&ring)));
	CHECK_EQ(io_uring_register_files(&ring->uring, &file, 1), -EACCES);
	CHECK_EQ(io_uring_register_buffers(&ring->uring, &memory, 1), -EACCES);
	CHECK(io_uring_register((unsigned)ring->uring.ring_fd, IORING_REGISTER_RESTRICTIONS, &more,
				1) < 0);
	ring_close(&ring);
}
