/* Stacks for fibers: pools of two sizes, each stack with a guard below it, given back for reuse,
 * and the deepest use measured. Everything sanitizers and valgrind must know about a stack is said
 * here. Only engine/fiber.c includes this. */
#ifndef MAILHAUL_STACK_H
#define MAILHAUL_STACK_H

#include "engine/limits.h"
#include "engine/fiber.h"

/* One stack: usable bytes [low, low + bytes), the guard is below. */
struct stack {
	uint8_t *low;
	size_t bytes;
	enum fiber_stack kind;
	size_t touched; /* its deepest use so far, whole pages: they stay */
	void *tsan;	/* ThreadSanitizer's idea of the fiber that runs on it */
	struct stack *next_free;
};

struct stack_slab;
struct stacks {
	struct stack
		*free[2]; /* by enum fiber_stack; last in, first out: the warmest stack first */
	struct stack_slab *slabs;
	size_t bytes_high;	   /* deepest use of any stack that was given back */
	bool guards_by_protection; /* this kernel has no MADV_GUARD_INSTALL (before 6.13) */
};

/* Zero-initialised is valid. NULL: no memory. */
struct stack *stack_take(struct stacks *, enum fiber_stack);
void stack_give(struct stacks *, struct stack *);
/* Unmaps everything; every stack must have been given back. */
void stacks_close(struct stacks *);

#endif
