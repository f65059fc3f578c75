/* ring_pool.h: addresses, slots and the order in which the kernel was given what. */
#include "engine/ring_pool.h"

#include <errno.h>
#include <linux/io_uring.h>
#include <stdlib.h>
#include <sys/mman.h>

enum {
	/* Address space for buffers, of which the budget's recv_buffers are used unless receivers
	 * starve: 256 receivers may each sit on all the buffers they are allowed to hold. */
	POOL_BUFFERS_MAX = 256 * RECV_BUFFERS_HELD_MAX,
	PAGE_BYTES = 4096,
	HUGE_PAGE_BYTES = 2 * 1024 * 1024,
	SLOT_MASK = RECV_BUFFERS_COUNT - 1,
};

_Static_assert((RECV_BUFFERS_COUNT & SLOT_MASK) == 0, "buffer rings are powers of two");
_Static_assert((int)POOL_BUFFERS_MAX < (int)RING_POOL_NONE, "buffer ids are 16 bits");
_Static_assert((int)POOL_BUFFERS_MAX >= (int)RECV_BUFFERS_COUNT, "the first buffers fit");
_Static_assert(RECV_BUFFER_BYTES < 0x10000, "a filled length is kept in 16 bits");

static const uint8_t *bytes_of(const struct ring_pool *pool, unsigned buffer)
{
	must(buffer < pool->used);
	return pool->at + (size_t)buffer * RECV_BUFFER_BYTES;
}

static void give_kernel(struct ring_pool *pool, unsigned buffer)
{
	struct io_uring_buf *slot = &pool->slots->bufs[pool->tail & SLOT_MASK];

	must(pool->with_kernel < RECV_BUFFERS_COUNT);
	if (pool->last_given != RING_POOL_NONE)
		pool->next[pool->last_given] = (uint16_t)buffer;
	pool->last_given = (uint16_t)buffer;
	/* Field by field: the first slot's `resv` is the tail itself. */
	slot->addr = (uintptr_t)bytes_of(pool, buffer);
	slot->len = RECV_BUFFER_BYTES;
	slot->bid = (uint16_t)buffer;
	/* The kernel may read the slot as soon as it sees the new tail. */
	__atomic_store_n(&pool->slots->tail, ++pool->tail, __ATOMIC_RELEASE);
	pool->with_kernel++;
}

unsigned ring_pool_take(struct ring_pool *pool, unsigned buffer)
{
	must(buffer < pool->used && pool->with_kernel > 0);
	if (buffer >= pool->touched) { /* given to the kernel in their order */
		budget_take(BUDGET_RECEIVE,
			    (size_t)(buffer + 1 - pool->touched) * RECV_BUFFER_BYTES);
		pool->touched = buffer + 1;
	}
	pool->with_kernel--;
	return pool->next[buffer];
}

void ring_pool_give_back(struct ring_pool *pool, unsigned buffer)
{
	if (pool->with_kernel < RECV_BUFFERS_COUNT) {
		give_kernel(pool, buffer);
		return;
	}
	pool->link[buffer] = pool->spare;
	pool->spare = (uint16_t)buffer;
}

void ring_pool_keep(struct ring_pool *pool, struct ring_recv *recv, unsigned buffer,
		    uint32_t length)
{
	must(length > 0 && length <= RECV_BUFFER_BYTES);
	pool->length[buffer] = (uint16_t)length;
	if (recv->count++ == 0)
		recv->first = (uint16_t)buffer;
	else
		pool->link[recv->last] = (uint16_t)buffer;
	recv->last = (uint16_t)buffer;
}

struct ring_bytes ring_pool_hand_out(struct ring_pool *pool, struct ring_recv *recv)
{
	uint16_t buffer = recv->first;

	must(recv->count > 0);
	recv->first = pool->link[buffer];
	recv->count--;
	return (struct ring_bytes){ bytes_of(pool, buffer), pool->length[buffer], buffer };
}

void ring_pool_use_spare(struct ring_pool *pool)
{
	while (pool->spare != RING_POOL_NONE && pool->with_kernel < RECV_BUFFERS_COUNT / 2) {
		unsigned buffer = pool->spare;

		pool->spare = pool->link[buffer];
		give_kernel(pool, buffer);
	}
}

static void use_more(struct ring_pool *pool, unsigned count)
{
	uint8_t *end = pool->at + (size_t)pool->used * RECV_BUFFER_BYTES;

	if (pool->used + count > POOL_BUFFERS_MAX ||
	    mprotect(end, (size_t)count * RECV_BUFFER_BYTES, PROT_READ | PROT_WRITE) != 0)
		return;
	pool->used += count;
	for (unsigned i = pool->used - count; i < pool->used; i++)
		give_kernel(pool, i);
}

void ring_pool_grow(struct ring_pool *pool)
{
	use_more(pool, RECV_BUFFERS_GROWTH);
}

enum err ring_pool_open(struct ring_pool *pool)
{
	size_t slots_bytes = round_up(RECV_BUFFERS_COUNT * sizeof(struct io_uring_buf), PAGE_BYTES);
	size_t pool_bytes = (size_t)POOL_BUFFERS_MAX * RECV_BUFFER_BYTES;

	pool->last_given = pool->spare = RING_POOL_NONE;
	pool->next = calloc(3, POOL_BUFFERS_MAX * sizeof *pool->next);
	pool->mapped_bytes = HUGE_PAGE_BYTES + pool_bytes + slots_bytes;
	pool->mapped = mmap(NULL, pool->mapped_bytes, PROT_NONE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (pool->mapped == MAP_FAILED)
		pool->mapped = NULL;
	if (!pool->next || !pool->mapped)
		return RAISE_ERRNO(ERR_MEMORY_EXHAUSTED, errno, "mapping the receive buffers");
	pool->link = pool->next + POOL_BUFFERS_MAX;
	pool->length = pool->link + POOL_BUFFERS_MAX;
	pool->at = pool->mapped + (-(uintptr_t)pool->mapped & (HUGE_PAGE_BYTES - 1));
	pool->slots = (struct io_uring_buf_ring *)(void *)(pool->at + pool_bytes);
	if (mprotect(pool->slots, slots_bytes, PROT_READ | PROT_WRITE) != 0)
		return RAISE_ERRNO(ERR_MEMORY_EXHAUSTED, errno, "mapping the receive buffers");
	return OK;
}

enum err ring_pool_fill(struct ring_pool *pool)
{
	/* A first touch in 4 KiB pages costs more than decrypting (LIMITS.md); advice only. */
	(void)madvise(pool->at, (size_t)budget()->recv_buffers * RECV_BUFFER_BYTES, MADV_HUGEPAGE);
	use_more(pool, budget()->recv_buffers);
	if (pool->used == 0)
		return RAISE_ERRNO(ERR_MEMORY_EXHAUSTED, errno, "mapping the receive buffers");
	return OK;
}

void ring_pool_close(struct ring_pool *pool)
{
	if (pool->mapped)
		munmap(pool->mapped, pool->mapped_bytes);
	budget_give(BUDGET_RECEIVE, (size_t)pool->touched * RECV_BUFFER_BYTES);
	free(pool->next);
	*pool = (struct ring_pool){ 0 };
}
