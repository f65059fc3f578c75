/* Stacks: measured, guarded, reused; and the promises whose breaking ends the process. */
#include "tests/test.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/shard.h"
#include "engine/stack.h"

/* ---- stacks ---- */

enum { STEP_BYTES = 1024 };

/* Every step keeps 1 KiB alive across the deeper ones. */
static __attribute__((noinline)) unsigned dig(unsigned steps)
{
	char room[STEP_BYTES];
	unsigned below;

	memset(room, (int)steps, sizeof room);
	__asm__ volatile("" : : "r"(room) : "memory"); /* somebody might read it: it must exist */
	below = steps > 0 ? dig(steps - 1) : 0;
	__asm__ volatile("" : : "r"(room) : "memory");
	return below + (room[STEP_BYTES - 1] == (char)steps);
}

static enum err dig_deep(void *argument)
{
	unsigned steps = *(const unsigned *)argument;

	CHECK_EQ(dig(steps), steps + 1);
	return OK;
}

static void dig_in_fiber(enum fiber_stack kind, unsigned steps)
{
	struct group *group = group_open();

	CHECK_OK(group_spawn(group, "digger", kind, dig_deep, &steps));
	CHECK_OK(group_join(&group));
}

TEST_FIBER(the_deepest_use_of_a_stack_is_measured)
{
	size_t before, high;

	dig_in_fiber(FIBER_STACK_SMALL, 8);
	before = fiber_counts().stack_bytes_high;
	CHECK(before >= 8 * STEP_BYTES);
	dig_in_fiber(FIBER_STACK_SMALL, 40);
	high = fiber_counts().stack_bytes_high;
	CHECK(high >= 40 * STEP_BYTES);
	CHECK(SANITIZED || high < FIBER_STACK_BYTES);
	dig_in_fiber(FIBER_STACK_LARGE, 200);
	high = fiber_counts().stack_bytes_high;
	CHECK(high >= 200 * STEP_BYTES);
	CHECK(SANITIZED || high < FIBER_STACK_BYTES_LARGE);
	dig_in_fiber(FIBER_STACK_SMALL, 8);
	CHECK_EQ(fiber_counts().stack_bytes_high, high);
}

TEST(a_stack_given_back_is_the_next_one_taken)
{
	struct stacks stacks = { 0 };
	struct stack *a = stack_take(&stacks, FIBER_STACK_SMALL), *b, *large;

	REQUIRE(a);
	b = stack_take(&stacks, FIBER_STACK_SMALL);
	large = stack_take(&stacks, FIBER_STACK_LARGE);
	REQUIRE(b && large);
	CHECK(a != b && large->bytes >= FIBER_STACK_BYTES_LARGE);
	stack_give(&stacks, a);
	CHECK(stack_take(&stacks, FIBER_STACK_SMALL) == a);
	stack_give(&stacks, a);
	stack_give(&stacks, b);
	stack_give(&stacks, large);
	stacks_close(&stacks);
}

/* How a child that runs `body` ends: its wait status. */
static int status_of_child(void (*body)(void))
{
	struct rlimit none = { 0, 0 };
	int status = 0;
	pid_t child;

	fflush(stdout);
	child = fork();
	if (child == 0) {
		(void)setrlimit(RLIMIT_CORE, &none);
		must(freopen("/dev/null", "w", stderr));
		body();
		_exit(0);
	}
	CHECK(child > 0 && waitpid(child, &status, 0) == child);
	return status;
}

static enum err dig_in_fiber_of(void *argument)
{
	enum fiber_stack kind = *(const enum fiber_stack *)argument;

	dig_in_fiber(kind, 10 * 1000);
	return OK;
}

static void dig_through_small(void)
{
	enum fiber_stack kind = FIBER_STACK_SMALL;

	(void)!shard_run(&(struct shard_config){ 0 }, dig_in_fiber_of, &kind);
}

static void dig_through_large(void)
{
	enum fiber_stack kind = FIBER_STACK_LARGE;

	(void)!shard_run(&(struct shard_config){ 0 }, dig_in_fiber_of, &kind);
}

static void write_below(bool by_protection)
{
	struct stacks stacks = { .guards_by_protection = by_protection };
	struct stack *first = stack_take(&stacks, FIBER_STACK_SMALL);
	struct stack *second = stack_take(&stacks, FIBER_STACK_SMALL);
	struct stack *upper = first->low > second->low ? first : second;

	*(volatile uint8_t *)upper->low = 1;
	*(volatile uint8_t *)(upper->low - 1) = 1;
}

static void write_below_guard(void)
{
	write_below(false);
}

static void write_below_protection(void)
{
	write_below(true);
}

TEST(a_fiber_that_leaves_its_stack_is_killed)
{
	static void (*const bodies[])(void) = { dig_through_small, dig_through_large,
						write_below_guard, write_below_protection };

	if (SANITIZED)
		SKIP("the sanitizer catches the signal and reports in its own way");
	for (unsigned i = 0; i < ARRAY_COUNT(bodies); i++) {
		int status = status_of_child(bodies[i]);

		CHECK(WIFSIGNALED(status));
		CHECK_EQ(WTERMSIG(status), SIGSEGV);
	}
}

/* ---- broken promises ---- */

static enum err leave_an_orphan(void *argument)
{
	(void)argument;
	(void)group_open();
	return OK;
}

static void run_leave_an_orphan(void)
{
	(void)!shard_run(&(struct shard_config){ 0 }, leave_an_orphan, NULL);
}

static enum err unshield_too_often(void *argument)
{
	(void)argument;
	fiber_unshield();
	return OK;
}

static void run_unshield_too_often(void)
{
	(void)!shard_run(&(struct shard_config){ 0 }, unshield_too_often, NULL);
}

static void suspend_outside(void)
{
	(void)!fiber_sleep(0);
}

TEST(broken_promises_about_fibers_abort)
{
	static void (*const bodies[])(void) = { run_leave_an_orphan, run_unshield_too_often,
						suspend_outside };

	if (UNDER_TSAN)
		SKIP("ThreadSanitizer does not survive a fork");
	for (unsigned i = 0; i < ARRAY_COUNT(bodies); i++) {
		int status = status_of_child(bodies[i]);

		CHECK(WIFSIGNALED(status));
		CHECK_EQ(WTERMSIG(status), SIGABRT);
	}
}
