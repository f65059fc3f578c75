/* What the parts may take is no more than what is promised, and what is taken is counted. */
#include "tests/test.h"

#include "crypto/zstd_stage.h"
#include "engine/budget.h"
#include "engine/limits.h"
#include "engine/lane.h"

static void set(unsigned workers, unsigned lanes, unsigned connections, uint64_t waiting)
{
	budget_set(&(struct budget_shape){
		.workers = workers,
		.lanes = lanes,
		.connections = connections,
		.pairs = lanes * connections,
		.waiting = waiting,
		.offload_threads = OFFLOAD_THREADS + (lanes > 1 ? workers : 0),
		.compressor_bytes = zstd_stage_context_bytes(1, FRAME_BYTES),
	});
}

static void check(unsigned workers, unsigned lanes, unsigned connections)
{
	set(workers, lanes, connections, 1000);
	if (budget_bound_sum() > budget_promise())
		test_failed(__FILE__, __LINE__,
			    "%u workers, %u mailboxes, %u connections: %llu KiB of %llu", workers,
			    lanes, connections, (unsigned long long)budget_bound_sum() / 1024,
			    (unsigned long long)budget_promise() / 1024);
}

TEST(one_mailbox_keeps_the_promise_with_any_number_of_connections)
{
	for (unsigned connections = 1; connections <= LANE_READERS_MAX; connections++)
		check(1, 1, connections);
}

TEST(many_mailboxes_keep_the_promise)
{
	static const unsigned lanes[] = { 2, 3, 8, 20, 64, 100, 256 };

	for (unsigned workers = 1; workers <= 4; workers++)
		for (unsigned i = 0; i < ARRAY_COUNT(lanes); i++)
			for (unsigned connections = 1; connections <= 4; connections *= 2)
				if (lanes[i] >= workers && lanes[i] / workers <= 64)
					check(workers, lanes[i], connections);
}

/* A pack is two objects and some ten syncs, whatever is in it. */
TEST(what_is_promised_and_not_planned_for_makes_packs_longer)
{
	size_t one;

	set(2, 64, 1, 1000);
	one = budget()->lines_bytes;
	CHECK_EQ(one, 2 * PACK_LINES_BYTES_OF_MANY);
	set(2, 64, 2, 1000);
	CHECK_EQ(budget()->lines_bytes, 2 * one);
	set(2, 64, LANE_READERS_MAX, 1000);
	CHECK(budget()->lines_bytes <= PACK_LINES_BYTES_MAX);
	CHECK(budget_bound_sum() <= budget_promise());
	set(1, 2, 1, 0);
	CHECK(budget()->lines_bytes >= 8 * PACK_LINES_BYTES_OF_MANY);
	CHECK(budget_bound_sum() <= budget_promise());
	/* Where nothing is left, the least stays. */
	set(4, 64, 1, 0);
	CHECK_EQ(budget()->lines_bytes, PACK_LINES_BYTES_OF_MANY);
}

TEST(few_mailboxes_have_wide_buffers_and_no_need_of_loans)
{
	set(2, 2, 1, 0);
	CHECK(budget()->batches >= BATCHES_OF_FEW);
	CHECK_EQ(budget()->frame_bytes, FRAME_BYTES);
	CHECK_EQ(budget()->chunks, budget()->chunks_most);
	CHECK(budget_bound_sum() <= budget_promise());
	set(2, 64, 1, 0);
	CHECK_EQ(budget()->frame_bytes, FRAME_BYTES_OF_MANY);
	CHECK(budget()->chunks < budget()->chunks_most);
}

TEST(a_million_waiting_mailboxes_cost_no_more_than_their_rows)
{
	uint64_t few;

	set(2, 64, 1, 0);
	few = budget_bound_sum();
	set(2, 64, 1, 1000000);
	CHECK_EQ(budget_bound_sum() - few, UINT64_C(1000000) * WAITING_BYTES);
	CHECK(budget_bound_sum() <= budget_promise());
}

/* What a lane needs for its largest message, with a loan, fits in its worker's arena. */
TEST(an_arena_has_room_for_every_lane_and_a_loan)
{
	for (unsigned lanes = 1; lanes <= 64; lanes++)
		for (unsigned connections = 1; connections <= LANE_READERS_MAX; connections++) {
			const struct budget *plan = budget();

			set(1, lanes, connections, 0);
			CHECK(plan->arena_chunks >= (lanes - 1) * plan->chunks + plan->chunks_most);
			/* Each conversation sits on a chunk, and fills a message of its own. */
			CHECK(plan->chunks > connections);
			CHECK(plan->chunks_most > connections * IOLIST_SLICES_MAX);
		}
}

TEST(the_highest_mark_stays_when_bytes_are_given_back)
{
	uint64_t before = budget_high(BUDGET_WRITES);
	size_t held = 0;

	budget_take(BUDGET_WRITES, 1000);
	budget_hold(BUDGET_WRITES, &held, 500);
	budget_hold(BUDGET_WRITES, &held, 200);
	budget_give(BUDGET_WRITES, 1000);
	budget_hold(BUDGET_WRITES, &held, 0);
	budget_take(BUDGET_WRITES, 1);
	CHECK_EQ(budget_high(BUDGET_WRITES) - before, 1500);
	budget_give(BUDGET_WRITES, 1);
}

TEST(every_part_has_a_name_and_a_bound)
{
	set(2, 64, 2, 10);
	for (unsigned part = 0; part < BUDGET_PARTS; part++) {
		CHECK(*budget_part_name(part) && *budget_part_text(part));
		CHECK(budget_bound(part) > 0);
	}
}
