/* Groups of fibers: whose error wins, who is called off, whose note is kept. */
#include "tests/test.h"

#include "engine/clock.h"
#include "engine/shard.h"

#define LATER clock_after(600 * NSEC_SECOND)

static enum err sleep_long(void *argument)
{
	(void)argument;
	return fiber_sleep(LATER);
}

static enum err join_a_long_sleep(void *argument)
{
	struct group *group = group_open();

	(void)argument;
	CHECK_OK(group_spawn(group, "inner", FIBER_STACK_SMALL, sleep_long, NULL));
	return group_join(&group);
}

static enum err count_after_a_while(void *argument)
{
	enum err e = OK;

	for (int i = 0; i < 3 && !e; i++)
		e = fiber_yield();
	*(unsigned *)argument += e == OK;
	return e;
}

/* ---- groups ---- */

static enum err fail_now(void *argument)
{
	return RAISE(ERR_DISK_IO, "failing for %s", (const char *)argument);
}

TEST_FIBER(an_error_in_one_member_cancels_the_others)
{
	struct group *group = group_open();
	char why[] = "the test";

	CHECK_OK(group_spawn(group, "waits", FIBER_STACK_SMALL, sleep_long, NULL));
	CHECK_OK(group_spawn(group, "waits too", FIBER_STACK_SMALL, join_a_long_sleep, NULL));
	CHECK_OK(group_spawn(group, "fails", FIBER_STACK_SMALL, fail_now, why));
	CHECK_ERR(group_join(&group), ERR_DISK_IO);
	CHECK_EQ(err_note()->error, ERR_DISK_IO);
	CHECK_TEXT(err_note()->text, "failing for the test");
}

TEST_FIBER(members_go_on_after_an_error_where_the_group_says_so)
{
	unsigned count = 0;
	char why[] = "itself";
	struct group *group = group_open();

	group_cancel_on_error(group, false);
	CHECK_OK(group_spawn(group, "fails", FIBER_STACK_SMALL, fail_now, why));
	CHECK_OK(group_spawn(group, "goes on", FIBER_STACK_SMALL, count_after_a_while, &count));
	CHECK_ERR(group_join(&group), ERR_DISK_IO);
	CHECK_EQ(count, 1u);
}

static enum err cancel_then_fail(void *argument)
{
	CHECK_ERR(fiber_sleep(LATER), ERR_FIBER_CANCELED);
	return RAISE(ERR_NET_RESET, "ending %s", (const char *)argument);
}

TEST_FIBER(a_cause_takes_the_place_of_a_mere_cancel)
{
	struct group *group = group_open();
	char what[] = "badly";

	CHECK_OK(group_spawn(group, "called off", FIBER_STACK_SMALL, sleep_long, NULL));
	CHECK_OK(group_spawn(group, "fails later", FIBER_STACK_SMALL, cancel_then_fail, what));
	CHECK_OK(fiber_yield());
	group_cancel(group);
	CHECK_ERR(group_join(&group), ERR_NET_RESET);
	CHECK_TEXT(err_note()->text, "ending badly");
}

TEST_FIBER(an_empty_group_joins_at_once)
{
	struct group *group = group_open();

	CHECK_OK(group_join(&group));
	CHECK(group == NULL);
}

static enum err end_in_good_order(void *argument)
{
	(void)argument;
	CHECK_ERR(fiber_sleep(LATER), ERR_FIBER_CANCELED);
	fiber_shield();
	for (int i = 0; i < 3; i++)
		CHECK_OK(fiber_yield());
	fiber_unshield();
	return OK;
}

static enum err join_members_that_take_their_time(void *argument)
{
	unsigned *count = argument;
	struct group *group = group_open();

	CHECK_OK(group_spawn(group, "member", FIBER_STACK_SMALL, end_in_good_order, NULL));
	CHECK_OK(fiber_yield());
	CHECK_ERR(group_join(&group), ERR_FIBER_CANCELED);
	(*count)++;
	return OK;
}

TEST_FIBER(a_canceled_joiner_cancels_its_members_and_still_waits_for_them)
{
	unsigned count = 0;
	struct group *group = group_open();

	CHECK_OK(group_spawn(group, "joiner", FIBER_STACK_SMALL, join_members_that_take_their_time,
			     &count));
	for (int i = 0; i < 4; i++)
		CHECK_OK(fiber_yield());
	group_cancel(group);
	CHECK_OK(group_join(&group));
	CHECK_EQ(count, 1u);
}

/* ---- notes ---- */

struct marked {
	int number;
};

static enum err raise_yield_and_look(void *argument)
{
	struct marked *self = argument;
	enum err e = RAISE(ERR_DISK_FULL, "fiber %d", self->number);
	char expected[20];

	CHECK_OK(fiber_yield());
	snprintf(expected, sizeof expected, "fiber %d", self->number);
	CHECK_TEXT(err_note()->text, expected);
	CHECK_ERR(e, ERR_DISK_FULL);
	err_note_clear();
	return OK;
}

TEST_FIBER(every_fiber_has_a_note_of_its_own)
{
	struct marked a = { .number = 1 }, b = { .number = 2 };
	struct group *group = group_open();

	CHECK_OK(group_spawn(group, "a", FIBER_STACK_SMALL, raise_yield_and_look, &a));
	CHECK_OK(group_spawn(group, "b", FIBER_STACK_SMALL, raise_yield_and_look, &b));
	CHECK_OK(fiber_yield());
	CHECK_EQ(err_note()->error, OK);
	CHECK_OK(group_join(&group));
	CHECK_EQ(err_note()->error, OK);
}

TEST_FIBER(the_first_note_wins_across_a_join)
{
	struct group *group = group_open();
	char why[] = "somebody else";

	CHECK_OK(group_spawn(group, "fails", FIBER_STACK_SMALL, fail_now, why));
	CHECK_ERR(RAISE(ERR_NET_CLOSED, "mine came first"), ERR_NET_CLOSED);
	CHECK_ERR(group_join(&group), ERR_DISK_IO);
	CHECK_TEXT(err_note()->text, "mine came first");
}

TEST(the_first_fibers_error_and_note_reach_the_thread)
{
	char why[] = "the thread";

	CHECK_ERR(shard_run(&(struct shard_config){ 0 }, fail_now, why), ERR_DISK_IO);
	CHECK_TEXT(err_note()->text, "failing for the thread");
	CHECK(fiber_self() == NULL && scheduler_ring() == NULL);
}
