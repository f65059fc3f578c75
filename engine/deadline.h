/* Deadlines of what waits, the earliest first: a binary heap of entries that live inside whatever
 * waits. Only engine/fiber.c uses it. */
#ifndef MAILHAUL_DEADLINE_H
#define MAILHAUL_DEADLINE_H

#include "engine/clock.h"

struct deadline {
	nsec until;
	uint64_t number; /* orders equal deadlines: first come, first served */
	size_t index;	 /* its place in the heap, plus one; 0: not in it */
};

/* Zero-initialised is valid and empty. */
struct deadlines {
	struct deadline **heap;
	size_t count, room;
	uint64_t numbers;
};

/* Room for so many, so that adding never needs memory. False: there is none. */
bool deadlines_reserve(struct deadlines *, size_t count) MUST_CHECK;
/* DEADLINE_NEVER is not kept at all. */
void deadlines_add(struct deadlines *, struct deadline *, nsec until);
/* Accepts one that is not in it. */
void deadlines_remove(struct deadlines *, struct deadline *);
/* NULL: none. */
struct deadline *deadlines_first(const struct deadlines *);
/* Must be empty. */
void deadlines_close(struct deadlines *);

#endif
