/* Deadlines come out sorted, whatever was taken out of the middle before. */
#include "tests/test.h"

#include "engine/deadline.h"

enum { ENTRIES = 500 };
static struct deadline entries[ENTRIES]; /* every test leaves them outside the heap */

/* A small generator of our own: the same sequence in every run. */
static uint32_t next_random(uint32_t *state)
{
	*state = *state * 1664525u + 1013904223u;
	return *state >> 8;
}

static unsigned drain_in_order(struct deadlines *all)
{
	struct deadline *first, before = { .until = -1 };
	unsigned count = 0;

	while ((first = deadlines_first(all))) {
		CHECK(before.until < first->until ||
		      (before.until == first->until && before.number < first->number));
		before = *first;
		deadlines_remove(all, first);
		CHECK_EQ(first->index, 0);
		count++;
	}
	return count;
}

TEST(deadlines_come_out_earliest_first_and_equal_ones_in_order_of_adding)
{
	struct deadlines all = { 0 };
	uint32_t state = 1;

	REQUIRE(deadlines_reserve(&all, ENTRIES));
	for (int i = 0; i < ENTRIES; i++)
		deadlines_add(&all, &entries[i], next_random(&state) % 100);
	CHECK_EQ(drain_in_order(&all), ENTRIES);
	deadlines_close(&all);
}

TEST(taking_out_of_the_middle_keeps_the_order_of_the_rest)
{
	struct deadlines all = { 0 };
	uint32_t state = 2;
	unsigned left = 0;

	REQUIRE(deadlines_reserve(&all, ENTRIES));
	for (int i = 0; i < ENTRIES; i++)
		deadlines_add(&all, &entries[i], next_random(&state) % 1000);
	for (int round = 0; round < 20 * ENTRIES; round++) {
		struct deadline *entry = &entries[next_random(&state) % ENTRIES];

		if (entry->index > 0)
			deadlines_remove(&all, entry);
		else
			deadlines_add(&all, entry, next_random(&state) % 1000);
	}
	for (int i = 0; i < ENTRIES; i++)
		left += entries[i].index > 0;
	CHECK(left > 0 && left < ENTRIES);
	CHECK_EQ(drain_in_order(&all), left);
	deadlines_close(&all);
}

TEST(never_is_not_kept)
{
	struct deadlines all = { 0 };
	struct deadline entry = { 0 };

	deadlines_add(&all, &entry, DEADLINE_NEVER);
	CHECK(deadlines_first(&all) == NULL);
	deadlines_remove(&all, &entry);
	deadlines_close(&all);
}
