/* The smallest test harness: TEST(name) { CHECK...; }. Names are claims. A test may run itself
 * inside a shard with TEST_FIBER. A failed CHECK is printed and the test goes on; REQUIRE ends it.
 * SKIP says aloud why. Each file is a program of its own; tests/run counts what they print. */
#ifndef MAILHAUL_TEST_H
#define MAILHAUL_TEST_H

#include <stdio.h>

#include "engine/err.h"

struct test {
	const char *name;
	void (*run)(void);
	bool in_fiber;
	struct test *next;
};
void test_add(struct test *);
void test_failed(const char *file, int line, const char *format, ...) PRINTF_LIKE(3, 4);
void test_skipped(const char *format, ...) PRINTF_LIKE(1, 2);
/* Of the test that runs: what several that share their code go by. */
const char *test_name(void);
/* A fresh directory for this test, removed at its end. Not suspending. */
const char *test_directory(void);

#define TEST_ANY(test_name, fiber_needed)                                                          \
	static void test_run_##test_name(void);                                                    \
	static struct test test_row_##test_name = { #test_name, test_run_##test_name,              \
						    fiber_needed, NULL };                          \
	__attribute__((constructor)) static void test_add_##test_name(void)                        \
	{                                                                                          \
		test_add(&test_row_##test_name);                                                   \
	}                                                                                          \
	static void test_run_##test_name(void)
#define TEST(test_name)	      TEST_ANY(test_name, false)
#define TEST_FIBER(test_name) TEST_ANY(test_name, true)

#define CHECK(condition) ((condition) ? (void)0 : test_failed(__FILE__, __LINE__, "%s", #condition))
#define REQUIRE(condition)                                                                         \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			test_failed(__FILE__, __LINE__, "%s", #condition);                         \
			return;                                                                    \
		}                                                                                  \
	} while (0)
#define CHECK_EQ(left, right)                                                                      \
	do {                                                                                       \
		long long left_ = (long long)(left), right_ = (long long)(right);                  \
		if (left_ != right_)                                                               \
			test_failed(__FILE__, __LINE__, "%s is %lld, %s is %lld", #left, left_,    \
				    #right, right_);                                               \
	} while (0)
#define CHECK_OK(expression) test_check_err(__FILE__, __LINE__, #expression, (expression), OK)
#define CHECK_ERR(expression, expected)                                                            \
	test_check_err(__FILE__, __LINE__, #expression, (expression), (expected))
#define CHECK_TEXT(left, right) test_check_text(__FILE__, __LINE__, #left, (left), (right))
bool test_check_err(const char *file, int line, const char *what, enum err got, enum err expected);
bool test_check_text(const char *file, int line, const char *what, const char *got,
		     const char *expected);
#define SKIP(...)                                                                                  \
	do {                                                                                       \
		test_skipped(__VA_ARGS__);                                                         \
		return;                                                                            \
	} while (0)

#endif
