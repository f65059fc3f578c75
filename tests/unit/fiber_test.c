/* Fibers: order, deadlines, waking, cancel, what a switch keeps. */
#include "tests/test.h"

#include "engine/clock.h"
#include "engine/ring.h"
#include "engine/fiber.h"
#include "engine/stack.h"

#define SOON  clock_after(NSEC_MILLISECOND)
#define LATER clock_after(600 * NSEC_SECOND)

/* ---- many ---- */

static enum err yield_thrice(void *argument)
{
	unsigned *count = argument;

	for (int i = 0; i < 3; i++)
		if (fiber_yield())
			return ERR_FIBER_CANCELED;
	(*count)++;
	return OK;
}

TEST_FIBER(ten_thousand_fibers_run_and_are_joined)
{
	/* ThreadSanitizer of gcc 12 knows at most 8,128 threads, and counts fibers as such. */
	unsigned wanted = UNDER_TSAN ? 4000 : 10000, count = 0;
	uint64_t spawned = fiber_counts().spawned;
	struct group *group = group_open();

	for (unsigned i = 0; i < wanted; i++)
		CHECK_OK(
			group_spawn(group, "one of many", FIBER_STACK_SMALL, yield_thrice, &count));
	CHECK_EQ(count, 0u);
	CHECK_OK(group_join(&group));
	CHECK(group == NULL);
	CHECK_EQ(count, wanted);
	CHECK_EQ(fiber_counts().spawned - spawned, wanted);
}

static struct {
	unsigned count;
	int numbers[64];
} trace;

static void trace_add(int number)
{
	REQUIRE(trace.count < ARRAY_COUNT(trace.numbers));
	trace.numbers[trace.count++] = number;
}

struct numbered {
	int number;
	nsec until, began;
	struct wait_queue *queue;
	enum err got;
};

static enum err note_number_twice(void *argument)
{
	trace_add(((struct numbered *)argument)->number);
	fiber_yield();
	trace_add(((struct numbered *)argument)->number + 10);
	return OK;
}

TEST_FIBER(ready_fibers_take_turns_in_order)
{
	struct numbered fibers[4];
	struct group *group = group_open();

	trace.count = 0;
	for (int i = 0; i < 4; i++) {
		fibers[i] = (struct numbered){ .number = i };
		CHECK_OK(group_spawn(group, "turn", FIBER_STACK_SMALL, note_number_twice,
				     &fibers[i]));
	}
	CHECK_OK(group_join(&group));
	REQUIRE(trace.count == 8);
	for (int i = 0; i < 8; i++)
		CHECK_EQ(trace.numbers[i], i < 4 ? i : i + 6);
}

/* ---- time ---- */

static enum err sleep_and_trace(void *argument)
{
	struct numbered *self = argument;

	self->began = clock_now();
	self->got = fiber_sleep(self->until);
	trace_add(self->number);
	return OK;
}

enum { SLEEPERS = 60, SLEEPER_DEADLINES = 20 };

/* Whether all of them slept before the first deadline came; a loaded machine may be too slow. */
static bool sleep_together(struct numbered *fibers, nsec base)
{
	struct group *group = group_open();

	trace.count = 0;
	for (int i = 0; i < SLEEPERS; i++) {
		/* 7 is coprime to 20: every deadline three times, in a shuffled order. */
		nsec until = base + i * 7 % SLEEPER_DEADLINES * NSEC_MICROSECOND;

		fibers[i] = (struct numbered){ .number = i, .until = until };
		CHECK_OK(group_spawn(group, "sleeper", FIBER_STACK_SMALL, sleep_and_trace,
				     &fibers[i]));
	}
	CHECK_OK(group_join(&group));
	CHECK(clock_now() >= base);
	return fibers[SLEEPERS - 1].began < base;
}

TEST_FIBER(deadlines_come_in_their_order_and_equal_ones_in_order_of_waiting)
{
	struct numbered fibers[SLEEPERS];
	nsec lead = 2 * NSEC_MILLISECOND;

	while (!sleep_together(fibers, clock_after(lead)) && lead < 60 * NSEC_SECOND)
		lead *= 4;
	REQUIRE(trace.count == SLEEPERS);
	for (int i = 1; i < SLEEPERS; i++) {
		struct numbered *a = &fibers[trace.numbers[i - 1]], *b = &fibers[trace.numbers[i]];

		CHECK(a->until < b->until || (a->until == b->until && a->number < b->number));
		CHECK_ERR(b->got, OK);
	}
}

TEST_FIBER(a_sleep_until_the_past_lets_others_run_and_is_ok)
{
	struct numbered other = { .number = 7 };
	struct group *group = group_open();

	trace.count = 0;
	CHECK_OK(group_spawn(group, "other", FIBER_STACK_SMALL, note_number_twice, &other));
	CHECK_OK(fiber_sleep(0));
	CHECK(trace.count >= 1);
	CHECK_OK(group_join(&group));
}

TEST_FIBER(waiting_for_what_never_comes_ends_at_the_deadline)
{
	struct wait_queue queue = { 0 };
	nsec until = SOON;

	CHECK_ERR(wait_on(&queue, until), ERR_FIBER_TIMEOUT);
	CHECK(clock_now() >= until);
	CHECK(!queue.first && !queue.last);
	CHECK_EQ(err_note()->error, OK);
}

/* ---- waking ---- */

static enum err wait_and_trace(void *argument)
{
	struct numbered *self = argument;

	self->got = wait_on(self->queue, self->until);
	trace_add(self->number);
	return OK;
}

TEST_FIBER(wake_one_wakes_the_oldest_and_wake_all_the_rest)
{
	struct wait_queue queue = { 0 };
	struct numbered fibers[5];
	struct group *group = group_open();

	trace.count = 0;
	wake_one(&queue); /* nobody there: nothing happens, and nothing is remembered */
	for (int i = 0; i < 5; i++) {
		fibers[i] = (struct numbered){ .number = i, .queue = &queue, .until = LATER };
		CHECK_OK(group_spawn(group, "waiter", FIBER_STACK_SMALL, wait_and_trace,
				     &fibers[i]));
	}
	CHECK_OK(fiber_yield());
	CHECK_EQ(trace.count, 0);
	wake_one(&queue);
	CHECK_OK(fiber_yield());
	REQUIRE(trace.count == 1);
	CHECK_EQ(trace.numbers[0], 0);
	wake_all(&queue);
	CHECK_OK(group_join(&group));
	CHECK_EQ(trace.count, 5);
	for (int i = 0; i < 5; i++) {
		CHECK_EQ(trace.numbers[i], i);
		CHECK_ERR(fibers[i].got, OK);
	}
}

TEST_FIBER(one_that_gives_up_leaves_the_middle_of_the_queue_intact)
{
	struct wait_queue queue = { 0 };
	struct numbered fibers[3];
	struct group *group = group_open();

	trace.count = 0;
	for (int i = 0; i < 3; i++) {
		fibers[i] = (struct numbered){ .number = i,
					       .queue = &queue,
					       .until = i == 1 ? SOON : LATER };
		CHECK_OK(group_spawn(group, "waiter", FIBER_STACK_SMALL, wait_and_trace,
				     &fibers[i]));
	}
	while (trace.count == 0)
		CHECK_OK(fiber_sleep(SOON));
	wake_all(&queue);
	CHECK_OK(group_join(&group));
	CHECK_ERR(fibers[1].got, ERR_FIBER_TIMEOUT);
	CHECK_EQ(trace.numbers[0], 1);
	CHECK_EQ(trace.numbers[1], 0);
	CHECK_EQ(trace.numbers[2], 2);
}

struct watched {
	struct ring_op op;
	struct wait_queue queue;
	bool done;
};

static void wake_watcher(struct ring_op *op)
{
	struct watched *self = op->owner;

	self->done = true;
	wake_one(&self->queue);
}

static enum err wait_for_ring(void *argument)
{
	struct watched *self = argument;
	enum err e = OK;

	ring_submit(scheduler_ring(), &self->op);
	while (!self->done && !e)
		e = wait_on(&self->queue, LATER);
	return e;
}

/* Both directions: a completion wakes from the scheduler's own stack, and it is looked for although
 * somebody is always ready to run. */
TEST_FIBER(a_completion_wakes_its_fiber_while_another_never_stops_yielding)
{
	struct ring_stat stat;
	struct watched watched = { .op = { .verb = RING_STAT,
					   .path = "/",
					   .stat = &stat,
					   .done = wake_watcher,
					   .owner = &watched } };
	struct group *group = group_open();

	CHECK_OK(group_spawn(group, "watcher", FIBER_STACK_SMALL, wait_for_ring, &watched));
	for (unsigned i = 0; i < 100 * 1000 * 1000 && !watched.done; i++)
		CHECK_OK(fiber_yield());
	CHECK(watched.done);
	CHECK_OK(group_join(&group));
	CHECK_EQ(watched.op.result, 0);
	CHECK(stat.is_directory);
}

/* ---- cancel ---- */

static enum err cancel_in_sleep(void *argument)
{
	(void)argument;
	return fiber_sleep(LATER);
}

static enum err cancel_in_wait(void *argument)
{
	struct wait_queue queue = { 0 };

	(void)argument;
	return wait_on(&queue, LATER);
}

static enum err cancel_in_wait_without_deadline(void *argument)
{
	struct wait_queue queue = { 0 };

	(void)argument;
	return wait_on(&queue, INT64_MAX);
}

static enum err cancel_in_yield(void *argument)
{
	enum err e = OK;

	(void)argument;
	for (unsigned i = 0; i < 100 * 1000 * 1000 && !e; i++)
		e = fiber_yield();
	return e;
}

static enum err cancel_in_join(void *argument)
{
	struct group *group = group_open();

	(void)argument;
	CHECK_OK(group_spawn(group, "inner", FIBER_STACK_SMALL, cancel_in_sleep, NULL));
	return group_join(&group);
}

TEST_FIBER(cancel_ends_every_kind_of_wait)
{
	static fiber_main *const waits[] = { cancel_in_sleep, cancel_in_wait, cancel_in_yield,
					     cancel_in_wait_without_deadline, cancel_in_join };
	struct group *group;

	for (unsigned early = 0; early < 2; early++)
		for (unsigned i = 0; i < ARRAY_COUNT(waits); i++) {
			group = group_open();
			CHECK_OK(group_spawn(group, "called off", FIBER_STACK_SMALL, waits[i],
					     NULL));
			if (!early) /* otherwise it is cancelled before it first ran */
				CHECK_OK(fiber_yield());
			group_cancel(group);
			CHECK_ERR(group_join(&group), ERR_FIBER_CANCELED);
		}
	CHECK(!fiber_canceled());
}

static enum err cancel_again_and_again(void *argument)
{
	struct wait_queue queue = { 0 };

	(void)argument;
	CHECK_ERR(fiber_sleep(LATER), ERR_FIBER_CANCELED);
	CHECK(fiber_canceled());
	CHECK_ERR(fiber_sleep(LATER), ERR_FIBER_CANCELED);
	CHECK_ERR(wait_on(&queue, LATER), ERR_FIBER_CANCELED);
	CHECK_ERR(fiber_yield(), ERR_FIBER_CANCELED);
	return OK;
}

TEST_FIBER(a_canceled_fiber_stays_canceled)
{
	struct group *group = group_open();

	CHECK_OK(group_spawn(group, "called off", FIBER_STACK_SMALL, cancel_again_and_again, NULL));
	CHECK_OK(fiber_yield());
	group_cancel(group);
	CHECK_OK(group_join(&group));
}

TEST_FIBER(a_member_of_a_canceled_group_starts_canceled)
{
	struct group *group = group_open();

	group_cancel(group);
	CHECK_OK(group_spawn(group, "late", FIBER_STACK_SMALL, cancel_in_sleep, NULL));
	CHECK_ERR(group_join(&group), ERR_FIBER_CANCELED);
}

static enum err shielded_wait(void *argument)
{
	struct numbered *self = argument;

	fiber_shield();
	fiber_shield();
	self->got = wait_on(self->queue, LATER);
	CHECK(!fiber_canceled());
	fiber_unshield();
	CHECK_OK(fiber_yield()); /* still shielded: they nest */
	fiber_unshield();
	CHECK(fiber_canceled());
	return fiber_sleep(LATER);
}

TEST_FIBER(a_shielded_fiber_hears_of_cancel_after_the_shield)
{
	struct wait_queue queue = { 0 };
	struct numbered shielded = { .queue = &queue, .got = ERR_COUNT };
	struct group *group = group_open();

	CHECK_OK(group_spawn(group, "shielded", FIBER_STACK_SMALL, shielded_wait, &shielded));
	CHECK_OK(fiber_yield());
	group_cancel(group);
	CHECK_OK(fiber_yield());
	CHECK(queue.first != NULL); /* it still waits */
	wake_one(&queue);
	CHECK_ERR(group_join(&group), ERR_FIBER_CANCELED);
	CHECK_ERR(shielded.got, OK);
}

static enum err shielded_join(void *argument)
{
	struct numbered *self = argument;
	struct group *group = group_open();

	CHECK_OK(group_spawn(group, "inner", FIBER_STACK_SMALL, wait_and_trace, self));
	fiber_shield();
	CHECK_OK(group_join(&group));
	fiber_unshield();
	CHECK(fiber_canceled());
	return OK;
}

TEST_FIBER(a_shielded_join_does_not_cancel_its_members)
{
	struct wait_queue queue = { 0 };
	struct numbered inner = { .queue = &queue, .until = LATER, .got = ERR_COUNT };
	struct group *group = group_open();

	trace.count = 0;
	CHECK_OK(group_spawn(group, "joiner", FIBER_STACK_SMALL, shielded_join, &inner));
	CHECK_OK(fiber_yield());
	CHECK_OK(fiber_yield());
	group_cancel(group);
	CHECK_OK(fiber_yield());
	wake_one(&queue);
	CHECK_OK(group_join(&group));
	CHECK_ERR(inner.got, OK);
}

static enum err woken_then_canceled(void *argument)
{
	struct numbered *self = argument;

	self->got = wait_on(self->queue, LATER);
	return fiber_sleep(LATER);
}

TEST_FIBER(a_wake_is_not_lost_to_a_cancel_that_comes_after_it)
{
	struct wait_queue queue = { 0 };
	struct numbered self = { .queue = &queue, .got = ERR_COUNT };
	struct group *group = group_open();

	CHECK_OK(group_spawn(group, "woken", FIBER_STACK_SMALL, woken_then_canceled, &self));
	CHECK_OK(fiber_yield());
	wake_one(&queue);
	group_cancel(group);
	CHECK_ERR(group_join(&group), ERR_FIBER_CANCELED);
	CHECK_ERR(self.got, OK);
}

/* ---- what a switch must keep ---- */

/* The rounding mode, set the machine's way: <fenv.h> would need the mathematics library. */
#if defined(__x86_64__)
static unsigned float_control(void)
{
	uint16_t x87;

	__asm__ volatile("fnstcw %0" : "=m"(x87));
	return (__builtin_ia32_stmxcsr() & 0x6000) | (x87 & 0x0c00u);
}

static void round_upwards(void)
{
	uint16_t x87 = 0x0b7f;

	__asm__ volatile("fldcw %0" : : "m"(x87));
	__builtin_ia32_ldmxcsr(0x5f80);
}
#else
static unsigned float_control(void)
{
	uint64_t fpcr;

	__asm__ volatile("mrs %0, fpcr" : "=r"(fpcr));
	return (unsigned)(fpcr & 0xc00000);
}

static void round_upwards(void)
{
	uint64_t fpcr = 0x400000;

	__asm__ volatile("msr fpcr, %0" : : "r"(fpcr));
}
#endif

static enum err calculate_upwards(void *argument)
{
	unsigned *count = argument, upwards;

	CHECK_EQ(float_control(), 0);
	round_upwards();
	upwards = float_control();
	CHECK(upwards != 0);
	CHECK_OK(fiber_yield());
	CHECK_EQ(float_control(), upwards);
	(*count)++;
	return OK;
}

TEST_FIBER(floating_point_control_belongs_to_the_fiber)
{
	unsigned count = 0;
	struct group *group = group_open();

	CHECK_OK(group_spawn(group, "a", FIBER_STACK_SMALL, calculate_upwards, &count));
	CHECK_OK(group_spawn(group, "b", FIBER_STACK_SMALL, calculate_upwards, &count));
	CHECK_OK(fiber_yield());
	CHECK_EQ(float_control(), 0);
	CHECK_OK(group_join(&group));
	CHECK_EQ(count, 2u);
	CHECK_EQ(float_control(), 0);
}

static enum err hold_the_core(void *argument)
{
	nsec until = clock_now() + *(const nsec *)argument;

	while (clock_now() < until)
		;
	return OK;
}

TEST_FIBER(the_fiber_that_held_the_core_longest_is_known_by_name)
{
	struct group *group = group_open();
	nsec hold = fiber_counts().longest_run + 5 * NSEC_MILLISECOND;

	CHECK_OK(fiber_yield()); /* this test's own time is counted now, before the other's */
	CHECK_OK(group_spawn(group, "hog", FIBER_STACK_SMALL, hold_the_core, &hold));
	CHECK_OK(group_join(&group));
	CHECK(fiber_counts().longest_run >= hold);
	CHECK_TEXT(fiber_counts().longest_name, "hog");
}

/* ---- tags ---- */

static enum err tell_tag(void *argument)
{
	*(const char **)argument = fiber_tag();
	return OK;
}

static enum err set_tag_and_spawn(void *argument)
{
	const char **told = argument;
	struct group *group = group_open();

	fiber_set_tag("lane");
	CHECK_OK(group_spawn(group, "child", FIBER_STACK_SMALL, tell_tag, told));
	CHECK_OK(fiber_yield());
	CHECK_TEXT(fiber_tag(), "lane"); /* kept over a switch */
	CHECK_OK(group_join(&group));
	fiber_set_tag(NULL);
	group = group_open();
	CHECK_OK(group_spawn(group, "child", FIBER_STACK_SMALL, tell_tag, told + 1));
	return group_join(&group);
}

TEST_FIBER(a_tag_is_inherited_by_what_is_spawned_and_nobody_else_has_it)
{
	const char *told[3] = { "", "", "" };
	struct group *group = group_open();

	CHECK_OK(group_spawn(group, "lane", FIBER_STACK_SMALL, set_tag_and_spawn, told));
	CHECK_OK(group_spawn(group, "brother", FIBER_STACK_SMALL, tell_tag, told + 2));
	CHECK_OK(group_join(&group));
	CHECK(told[0] && strcmp(told[0], "lane") == 0);
	CHECK(told[1] == NULL && told[2] == NULL && fiber_tag() == NULL);
}

TEST(outside_fibers_there_is_no_tag)
{
	CHECK(fiber_tag() == NULL);
}
