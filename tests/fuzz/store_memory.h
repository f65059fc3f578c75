/* A store for reading whose objects are spans of memory. */
#ifndef MAILHAUL_TESTS_STORE_MEMORY_H
#define MAILHAUL_TESTS_STORE_MEMORY_H

#include "transport/store.h"

enum { STORE_MEMORY_OBJECTS_MAX = 16 };

struct store_memory {
	struct store base;
	struct {
		const char *key;
		struct text content;
	} objects[STORE_MEMORY_OBJECTS_MAX]; /* sorted by key */
	unsigned count;
};
/* Put an object there, or another in its place; both are borrowed. */
void store_memory_put(struct store_memory *, const char *key, struct text content);
/* open() hands out the one made last; close() leaves it to its owner. */
void store_memory_init(struct store_memory *);
extern const struct store_driver store_memory;

#endif
