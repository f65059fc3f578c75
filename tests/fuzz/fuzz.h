/* Fuzz targets: each hands bytes that nobody vouches for to one reader of ours, and wants promises
 * kept that hold for any bytes. FUZZ(name) { ... } is a target; FUZZ_FIBER runs inside a fiber of a
 * shard whose ring, clock and network are those of tests/sim, so that time costs nothing and the
 * same bytes always do the same. All of them are one program, which libFuzzer drives and which is
 * called by a target's name (docs/TESTING.md).
 *
 * A broken promise is a must() that fails, a report of a sanitizer, or no end. */
#ifndef MAILHAUL_TESTS_FUZZ_H
#define MAILHAUL_TESTS_FUZZ_H

#include "engine/bytes.h"
#include "engine/err.h"

struct fuzz_target {
	const char *name;
	void (*run)(struct text input);
	bool in_fiber;
	struct fuzz_target *next;
};
void fuzz_add(struct fuzz_target *);

#define FUZZ_ANY(target_name, fiber_needed)                                                        \
	static void fuzz_run_##target_name(struct text);                                           \
	static struct fuzz_target fuzz_row_##target_name = { #target_name, fuzz_run_##target_name, \
							     fiber_needed, NULL };                 \
	__attribute__((constructor)) static void fuzz_add_##target_name(void)                      \
	{                                                                                          \
		fuzz_add(&fuzz_row_##target_name);                                                 \
	}                                                                                          \
	static void fuzz_run_##target_name(struct text input)
#define FUZZ(target_name)	FUZZ_ANY(target_name, false)
#define FUZZ_FIBER(target_name) FUZZ_ANY(target_name, true)

/* Between the parts of an input that has several: what a server says before it waits for the
 * client again, a second file. */
enum { FUZZ_SEPARATOR = 0x1e };
/* Take the first byte, 0 if there is none: the choice of a variant. */
unsigned fuzz_take_byte(struct text *input);
/* Take what stands in front of the next separator, which goes too, or all of it. */
struct text fuzz_take_part(struct text *input);
/* Large messages in small inputs: a copy in which each FUZZ_FILLER and the byte n behind it stand
 * for n times FUZZ_FILLER_BYTES, as far as FUZZ_FILLED_BYTES_MAX goes. free() its `at`. */
enum { FUZZ_FILLER = 0x1d, FUZZ_FILLER_BYTES = 4096, FUZZ_FILLED_BYTES_MAX = 2 << 20 };
struct text fuzz_fill(struct text);
/* A copy of exactly that length, NUL behind it; a byte beyond it is the sanitizer's. free(). */
char *fuzz_string(struct text);
/* FNV-1a, 64 bits: to compare two readings of the same bytes. Start with 0. */
uint64_t fuzz_hash(uint64_t hash, const void *, size_t);

/* The bytes as a file of this process, readable under a path for as long as nothing else is put
 * there; `place` is 0 or 1. */
const char *fuzz_file(unsigned place, struct text);
enum { FUZZ_FILE_FD = 200 }; /* what the path ends in: place 1 is "201" beside place 0 */

#endif
