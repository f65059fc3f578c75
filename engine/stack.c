/* Stacks for fibers. See stack.h. */
#include "engine/stack.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "engine/budget.h"

#if UNDER_ASAN
#include <sanitizer/asan_interface.h>
#endif
#if UNDER_TSAN
#include <sanitizer/tsan_interface.h>
#endif
#if __has_include(<valgrind/memcheck.h>)
#include <valgrind/memcheck.h>
#else
#define VALGRIND_STACK_REGISTER(low, high)     0u
#define VALGRIND_STACK_DEREGISTER(id)	       ((void)(id))
#define VALGRIND_MAKE_MEM_UNDEFINED(at, bytes) ((void)(at))
#define VALGRIND_MAKE_MEM_DEFINED(at, bytes)   ((void)(at))
#endif

/* <sys/mman.h> of glibc 2.36 does not know it; the number is the kernel's for good. */
#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#endif

enum {
	/* The compilers of the libraries we call do not probe their frames, so a frame larger than
	 * the guard could step over it: the largest one met is 65 KiB (libetpan), and it runs on
	 * large stacks. Guards are address space only. */
	GUARD_BYTES = 64 * 1024,
	GUARD_BYTES_LARGE = 128 * 1024,
	SLAB_STACKS = 32, /* mapped at a time */
};
/* Pages are 4 KiB to 64 KiB (aarch64). */
_Static_assert(FIBER_STACK_BYTES % (64 * 1024) == 0, "stacks are whole pages everywhere");
_Static_assert(FIBER_STACK_BYTES_LARGE % (64 * 1024) == 0, "stacks are whole pages everywhere");

struct stack_slab {
	struct stack_slab *next;
	uint8_t *map;
	size_t map_bytes;
	struct stack stacks[SLAB_STACKS];
	unsigned valgrind_ids[SLAB_STACKS];
};

static size_t stack_bytes(enum fiber_stack kind)
{
	/* Instrumented frames are several times as large. */
	if (SANITIZED)
		return 2 * (size_t)FIBER_STACK_BYTES_LARGE;
	return kind == FIBER_STACK_LARGE ? FIBER_STACK_BYTES_LARGE : FIBER_STACK_BYTES;
}

static size_t guard_bytes(enum fiber_stack kind)
{
	return kind == FIBER_STACK_LARGE ? GUARD_BYTES_LARGE : GUARD_BYTES;
}

/* Forbid [at, at + bytes). A guard of MADV_GUARD_INSTALL leaves the mapping in one piece; one of
 * mprotect splits it, and vm.max_map_count then ends at about 32,000 fibers (LIMITS A.3). */
static bool guard(struct stacks *stacks, uint8_t *at, size_t bytes)
{
	if (!stacks->guards_by_protection) {
		if (madvise(at, bytes, MADV_GUARD_INSTALL) == 0)
			return true;
		stacks->guards_by_protection = true;
	}
	return mprotect(at, bytes, PROT_NONE) == 0;
}

static bool slab_map(struct stacks *stacks, struct stack_slab *slab, enum fiber_stack kind)
{
	size_t step = guard_bytes(kind) + stack_bytes(kind);
	struct stack *stack;

	slab->map_bytes = step * SLAB_STACKS;
	slab->map = mmap(NULL, slab->map_bytes, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
	if (slab->map == MAP_FAILED)
		return false;
	/* A huge page below a stack of which two pages are used would be waste, and would blind the
	 * measure of how deep it was used. Kernels without huge pages refuse, which is as good. */
	(void)madvise(slab->map, slab->map_bytes, MADV_NOHUGEPAGE);
	for (unsigned i = 0; i < SLAB_STACKS; i++) {
		stack = &slab->stacks[i];
		stack->low = slab->map + i * step + guard_bytes(kind);
		stack->bytes = stack_bytes(kind);
		stack->kind = kind;
		if (!guard(stacks, slab->map + i * step, guard_bytes(kind))) {
			munmap(slab->map, slab->map_bytes);
			return false;
		}
	}
	return true;
}

static bool slab_open(struct stacks *stacks, enum fiber_stack kind)
{
	struct stack_slab *slab = calloc(1, sizeof *slab);
	struct stack *stack;

	if (!slab)
		return false;
	if (!slab_map(stacks, slab, kind)) {
		free(slab);
		return false;
	}
	for (unsigned i = SLAB_STACKS; i-- > 0;) {
		stack = &slab->stacks[i];
		slab->valgrind_ids[i] =
			VALGRIND_STACK_REGISTER(stack->low, stack->low + stack->bytes);
		stack->next_free = stacks->free[kind];
		stacks->free[kind] = stack;
	}
	slab->next = stacks->slabs;
	stacks->slabs = slab;
	return true;
}

struct stack *stack_take(struct stacks *stacks, enum fiber_stack kind)
{
	struct stack *stack;

	must(kind == FIBER_STACK_SMALL || kind == FIBER_STACK_LARGE);
	if (!stacks->free[kind] && !slab_open(stacks, kind))
		return NULL;
	stack = stacks->free[kind];
	stacks->free[kind] = stack->next_free;
	stack->next_free = NULL;
	/* The last fiber here never returned from its first frames, so they are still poisoned, and
	 * what it left below them is no stack any more as far as valgrind knows. */
#if UNDER_ASAN
	__asan_unpoison_memory_region(stack->low, stack->bytes);
#endif
	(void)VALGRIND_MAKE_MEM_UNDEFINED(stack->low, stack->bytes);
#if UNDER_TSAN
	stack->tsan = __tsan_create_fiber(0);
#endif
	return stack;
}

/* The lowest page of [low, low + bytes) that was ever touched. One system call for a whole stack,
 * and nothing is touched by looking, as reading the untouched part would. A page of a reused stack
 * stays, so the answer is the deepest use since the stack was mapped, which is what is wanted. */
static uint8_t *lowest_touched(uint8_t *low, size_t bytes, size_t page_bytes)
{
	unsigned char resident[2 * FIBER_STACK_BYTES_LARGE / 4096] = { 0 };
	size_t pages = bytes / page_bytes;

	must(pages <= sizeof resident);
	if (mincore(low, bytes, resident) != 0)
		return low + bytes;
	for (size_t i = 0; i < pages; i++)
		if (resident[i] & 1)
			return low + i * page_bytes;
	return low + bytes;
}

/* Only what is below this stack's mark so far is asked for, and only a page that goes beyond the
 * deepest of all is read through for its first byte in use (fresh pages are zero). */
#if UNDER_ASAN
__attribute__((no_sanitize("address")))
#endif
static void
measure(struct stacks *stacks, struct stack *stack)
{
	size_t page_bytes = (size_t)sysconf(_SC_PAGESIZE);
	const uint8_t *end = stack->low + stack->bytes, *page;
	const uint64_t *at;

	page = lowest_touched(stack->low, stack->bytes - stack->touched, page_bytes);
	budget_hold(BUDGET_STACKS, &stack->touched, (size_t)(end - page));
	if (page == end || stack->touched <= stacks->bytes_high / page_bytes * page_bytes)
		return;
	/* Below every frame, valgrind thinks that it is not. */
	(void)VALGRIND_MAKE_MEM_DEFINED(page, page_bytes);
	at = (const uint64_t *)(const void *)page;
	for (size_t left = page_bytes / sizeof *at; left > 0 && *at == 0; left--)
		at++;
	stacks->bytes_high = max_u64(stacks->bytes_high, (uint64_t)(end - (const uint8_t *)at));
}

void stack_give(struct stacks *stacks, struct stack *stack)
{
	must(stack->next_free == NULL);
	measure(stacks, stack);
#if UNDER_TSAN
	__tsan_destroy_fiber(stack->tsan);
	stack->tsan = NULL;
#endif
	stack->next_free = stacks->free[stack->kind];
	stacks->free[stack->kind] = stack;
}

static unsigned free_count(const struct stacks *stacks)
{
	unsigned count = 0;

	for (unsigned kind = 0; kind < ARRAY_COUNT(stacks->free); kind++)
		for (struct stack *stack = stacks->free[kind]; stack; stack = stack->next_free)
			count++;
	return count;
}

void stacks_close(struct stacks *stacks)
{
	struct stack_slab *slab;
	unsigned all = 0, home = free_count(stacks);

	while ((slab = stacks->slabs)) {
		stacks->slabs = slab->next;
		for (unsigned i = 0; i < SLAB_STACKS; i++) {
			VALGRIND_STACK_DEREGISTER(slab->valgrind_ids[i]);
			budget_hold(BUDGET_STACKS, &slab->stacks[i].touched, 0);
		}
		munmap(slab->map, slab->map_bytes);
		free(slab);
		all += SLAB_STACKS;
	}
	must(home == all);
	stacks->free[FIBER_STACK_SMALL] = stacks->free[FIBER_STACK_LARGE] = NULL;
}
