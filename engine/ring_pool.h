/* The receive buffers of one ring: 16-bit ids of pieces of one mapping, lent to the kernel through
 * a provided-buffer ring, filled, kept by receivers, given back. Used by ring_uring.c only; knows
 * the kernel's structure, not liburing. */
#ifndef MAILHAUL_RING_POOL_H
#define MAILHAUL_RING_POOL_H

#include "engine/budget.h"
#include "engine/limits.h"
#include "engine/ring.h"

enum { RING_POOL_NONE = 0xffff };

struct io_uring_buf_ring;

/* A buffer is with the kernel, with a receiver, or spare. */
struct ring_pool {
	struct io_uring_buf_ring *slots; /* RECV_BUFFERS_COUNT of them, shared with the kernel */
	uint8_t *at, *mapped;
	size_t mapped_bytes;
	uint16_t *next;	  /* which buffer was given to the kernel after this one */
	uint16_t *link;	  /* list of one receiver, or of the spare ones */
	uint16_t *length; /* bytes the kernel put there */
	unsigned with_kernel, used, touched;
	uint16_t last_given, spare, tail;
};

/* Many connections share the buffers: a receive takes one at a time. One that goes on by itself
 * takes 32 before it sees that it should not, which is four times a connection's share. */
static inline bool ring_pool_is_shared(void)
{
	return budget()->recv_held < RECV_BUFFERS_HELD_MAX;
}
/* Receiving pauses with so many held, and goes on with so many. The kernel may deliver some more
 * before it sees the cancel, so it pauses before the bound. */
static inline unsigned ring_pool_pause_at(void)
{
	return budget()->recv_held * 3 / 4;
}
static inline unsigned ring_pool_resume_at(void)
{
	return ring_pool_is_shared() ? ring_pool_pause_at() - 1 : budget()->recv_held / 2;
}

/* Maps the memory; the caller registers `slots` and then calls ring_pool_fill(). */
enum err ring_pool_open(struct ring_pool *) MUST_CHECK;
enum err ring_pool_fill(struct ring_pool *) MUST_CHECK;
/* Zero-initialised is accepted. The kernel must have let go. */
void ring_pool_close(struct ring_pool *);

/* The kernel used `buffer`; returns the one it uses after that. */
unsigned ring_pool_take(struct ring_pool *, unsigned buffer);
void ring_pool_give_back(struct ring_pool *, unsigned buffer);
/* Append a filled buffer to what a receiver has not taken yet; the oldest of that. */
void ring_pool_keep(struct ring_pool *, struct ring_recv *, unsigned buffer, uint32_t length);
struct ring_bytes ring_pool_hand_out(struct ring_pool *, struct ring_recv *);
/* Lend spare buffers to the kernel while it has few. */
void ring_pool_use_spare(struct ring_pool *);
/* Every buffer sits with a receiver whose fiber waits for something else, perhaps for an answer
 * that some starved receiver should hear. More buffers are the only way out; each receiver's
 * holding is bounded, so their number is. */
void ring_pool_grow(struct ring_pool *);

#endif
