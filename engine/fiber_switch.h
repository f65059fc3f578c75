/* The switch between stacks, fiber_switch.S, and what it leaves on a stack. Only engine/fiber.c
 * includes this. */
#ifndef MAILHAUL_FIBER_SWITCH_H
#define MAILHAUL_FIBER_SWITCH_H

#include "engine/base.h"

/* Leave this stack, its pointer in *leave, and go on with `enter`. Returns when somebody enters
 * what was left. */
void fiber_switch(void **leave, void *enter);
/* Where a new stack's first frame jumps to. Not callable from C. */
void fiber_entry(void);

/* What fiber_switch keeps, in the order of fiber_switch.S; and the first one of a stack, from which
 * fiber_entry calls `function` with its argument. */
#if defined(__x86_64__)
struct fiber_frame {
	uint32_t mxcsr, x87_control;
	uint64_t r15, r14, r13, r12, rbx, rbp;
	void (*jump_to)(void);
};
#define FIBER_FRAME_FIRST(function, its_argument)                                                  \
	{                                                                                          \
		.mxcsr = 0x1f80, .x87_control = 0x037f, .jump_to = fiber_entry,                    \
		.r13 = (uint64_t)(uintptr_t)(function), .r12 = (uint64_t)(uintptr_t)(its_argument) \
	}
#elif defined(__aarch64__)
struct fiber_frame {
	uint64_t x19, x20, x21_to_x29[9];
	void (*jump_to)(void); /* x30 */
	uint64_t d8_to_d15[8], fpcr, unused;
};
#define FIBER_FRAME_FIRST(function, its_argument)                                                  \
	{                                                                                          \
		.x20 = (uint64_t)(uintptr_t)(function), .jump_to = fiber_entry,                    \
		.x19 = (uint64_t)(uintptr_t)(its_argument)                                         \
	}
#else
#error "fiber_switch.S knows x86-64 and aarch64 only: add this machine there and its frame here"
#endif
_Static_assert(sizeof(struct fiber_frame) % 16 == 0, "a stack pointer is 16-aligned at entry");

#endif
