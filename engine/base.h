/* The words every other file uses: units, checks, text that is borrowed. No state, no functions
 * that can fail. */
#ifndef MAILHAUL_BASE_H
#define MAILHAUL_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Nanoseconds, monotonic unless the name says wall. Deadlines are absolute, of clock_now(). */
typedef int64_t nsec;

#define NSEC_SECOND	 ((nsec)1000000000)
#define NSEC_MILLISECOND ((nsec)1000000)
#define NSEC_MICROSECOND ((nsec)1000)

#define MUST_CHECK __attribute__((warn_unused_result))
#define PRINTF_LIKE(format_index, first_index)                                                     \
	__attribute__((format(printf, format_index, first_index)))
#define NO_RETURN	   __attribute__((noreturn))
#define ARRAY_COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define CONTAINER_OF(pointer, type, member)                                                        \
	((type *)(void *)((char *)(pointer)-offsetof(type, member)))

/* A promise of our own. Stays on in release: a broken promise must not reach somebody's mail. What
 * a peer, a file or a person sends is checked and returned as an error instead. */
#define must(condition)                                                                            \
	((condition) ? (void)0 : must_failed(#condition, __FILE__, __LINE__, __func__))
NO_RETURN void must_failed(const char *condition, const char *file, int line, const char *function);

/* Any pointer that leaves the type system (user_data, void *) is checked by its first word when it
 * comes back. */
#define MAGIC_CHECK(pointer, word) must((pointer) != NULL && (pointer)->magic == (word))

/* Whether a sanitizer watches this build; 0 or 1, for #if and for expressions. */
#ifdef __has_feature /* clang */
#define UNDER_ASAN __has_feature(address_sanitizer)
#define UNDER_TSAN __has_feature(thread_sanitizer)
#else
#ifdef __SANITIZE_ADDRESS__
#define UNDER_ASAN 1
#else
#define UNDER_ASAN 0
#endif
#ifdef __SANITIZE_THREAD__
#define UNDER_TSAN 1
#else
#define UNDER_TSAN 0
#endif
#endif
#define SANITIZED (UNDER_ASAN || UNDER_TSAN)

/* Borrowed bytes that are text by intent; not terminated. */
struct text {
	const char *at;
	size_t bytes;
};

static inline struct text text_of(const char *string)
{
	return (struct text){ string, strlen(string) };
}

static inline bool text_equal(struct text a, struct text b)
{
	return a.bytes == b.bytes && (a.bytes == 0 || memcmp(a.at, b.at, a.bytes) == 0);
}

static inline uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static inline uint64_t max_u64(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static inline nsec min_nsec(nsec a, nsec b)
{
	return a < b ? a : b;
}

static inline size_t round_up(size_t value, size_t step)
{
	return (value + step - 1) / step * step;
}

#endif
