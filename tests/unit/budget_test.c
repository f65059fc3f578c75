/* What the parts may take is no more than what is promised, and what is taken is counted. */
#include "tests/test.h"

#include "crypto/zstd_stage.h"
#include "engine/budget.h"
#include "engine/limits.h"
#include "engine/lane.h"

/* Sizes of compressors' contexts, which take a while to estimate. */
static size_t compressor_bytes(int level, size_t frame_bytes)
{
	static size_t known[20][2];
	size_t *at = &known[level][frame_bytes == FRAME_BYTES];

	if (!*at)
		*at = zstd_stage_context_bytes(level, frame_bytes);
	return *at;
}

static unsigned compressed; /* conversations of a pair */

static void set_shape(unsigned workers, unsigned lanes, unsigned connections, unsigned pairs,
		      uint64_t waiting, int level)
{
	budget_set(&(struct budget_shape){
		.workers = workers,
		.lanes = lanes,
		.connections = connections,
		.pairs = pairs,
		.waiting = waiting,
		.offload_threads = OFFLOAD_THREADS + (lanes > 1 ? workers : 0),
		.compressor_bytes = compressor_bytes(level, FRAME_BYTES),
		.compressor_bytes_of_many = compressor_bytes(level, FRAME_BYTES_OF_MANY),
		.compressed = compressed,
	});
}

static void set(unsigned workers, unsigned lanes, unsigned connections, uint64_t waiting)
{
	set_shape(workers, lanes, connections, lanes * connections, waiting, 1);
}

static void check_kept(void)
{
	const struct budget_shape *shape = &budget()->shape;

	if (!budget_is_kept())
		test_failed(__FILE__, __LINE__,
			    "%u workers, %u mailboxes, %u connections, %u in all, compressors of "
			    "%zu KiB: %llu KiB of %llu",
			    shape->workers, shape->lanes, shape->connections, shape->pairs,
			    shape->compressor_bytes / 1024,
			    (unsigned long long)budget_bound_sum() / 1024,
			    (unsigned long long)budget_promise() / 1024);
}

/* A worker begins no further mailbox when it has its share of the connections. What its lanes then
 * have of the arena at most, where all but the last were granted `usual`. */
static unsigned chunks_taken(unsigned usual)
{
	const struct budget_shape *shape = &budget()->shape;
	unsigned share = budget_worker_connections(), open = 0, chunks = 0,
		 lanes = (shape->lanes + shape->workers - 1) / shape->workers;

	for (unsigned i = 0; i < lanes && open < share; i++) {
		bool last = i == lanes - 1 || open + usual >= share;
		unsigned granted =
			(unsigned)min_u64(last ? shape->connections : usual, shape->pairs - open);

		open += granted;
		chunks += budget_lane_chunks(granted);
	}
	return chunks;
}

static void check_room(void)
{
	const struct budget_shape *shape = &budget()->shape;
	unsigned most = shape->connections,
		 loan = budget_lane_chunks_most(most) - budget_lane_chunks(most);

	CHECK(budget_worker_connections() * shape->workers >= shape->pairs);
	CHECK(budget_arena_chunks() >= chunks_taken(1) + loan);
	CHECK(budget_arena_chunks() >= chunks_taken(most) + loan);
	for (unsigned granted = 1; granted <= most; granted++) {
		/* Each conversation sits on a chunk, and fills a message of its own. */
		CHECK(budget_lane_chunks(granted) > granted);
		CHECK(budget_lane_chunks_most(granted) > granted * IOLIST_SLICES_MAX);
	}
}

/* The most workers, up to so many, with which the promise is kept: as `run` chooses them. */
static unsigned fit_workers(unsigned workers, unsigned lanes, unsigned connections, unsigned pairs,
			    int level)
{
	workers = (unsigned)min_u64(workers, lanes);
	set_shape(workers, lanes, connections, pairs, 1000, level);
	while (!budget_is_kept() && workers > 1)
		set_shape(--workers, lanes, connections, pairs, 1000, level);
	check_kept();
	check_room();
	return workers;
}

TEST(one_mailbox_keeps_the_promise_with_any_number_of_connections_and_any_compression)
{
	for (int level = 1; level <= 19; level++)
		for (unsigned connections = 1; connections <= LANE_READERS_MAX; connections++) {
			set_shape(1, 1, connections, connections, 0, level);
			check_kept();
		}
}

/* Every number of workers; of mailboxes and of connections in all those near the borders and some
 * between. */
static void sweep(int level)
{
	for (unsigned workers = 1; workers <= 64; workers++)
		for (unsigned lanes = 1; lanes <= 1000; lanes += 1 + lanes / 8)
			for (unsigned connections = 1; connections <= LANE_READERS_MAX;
			     connections++) {
				unsigned further = lanes * (connections - 1);

				for (unsigned i = 0; i <= 4; i++)
					if (connections <= lanes + further * i / 4)
						fit_workers(workers, lanes, connections,
							    lanes + further * i / 4, level);
			}
}

TEST(every_shape_keeps_the_promise_when_compression_is_light)
{
	sweep(1);
}

TEST(compressed_conversations_are_promised_beside_the_rest)
{
	uint64_t promise, connections;

	set_shape(2, 10, 2, 20, 0, 1);
	promise = budget_promise();
	connections = budget_bound(BUDGET_CONNECTIONS);
	compressed = 2;
	set_shape(2, 10, 2, 20, 0, 1);
	CHECK_EQ(budget_promise() - promise, 2 * 20 * COMPRESSED_CONVERSATION_BYTES);
	CHECK_EQ(budget_bound(BUDGET_CONNECTIONS) - connections,
		 2 * 20 * COMPRESSED_CONVERSATION_BYTES);
	check_kept();
	compressed = 0;
}

TEST(every_shape_keeps_the_promise_when_compression_is_hard)
{
	sweep(19);
}

TEST(the_largest_that_a_job_may_ask_for_keeps_the_promise)
{
	CHECK_EQ(fit_workers(256, 100000, 1, 100000, 1), 256);
	fit_workers(256, 12500, 8, 100000, 1);
	fit_workers(256, 100000, 8, 100000, 19);
}

/* A worker less is the last resort. */
TEST(workers_are_given_up_only_where_there_are_few_mailboxes_for_each)
{
	CHECK_EQ(fit_workers(4, 4, 1, 4, 1), 4);
	CHECK_EQ(fit_workers(4, 64, 1, 64, 1), 4);
	CHECK_EQ(fit_workers(2, 64, LANE_READERS_MAX, 64, 1), 2);
	CHECK_EQ(fit_workers(4, 64, LANE_READERS_MAX, 64, 1), 4);
	CHECK_EQ(fit_workers(8, 64, 1, 64, 1), 8);
	CHECK_EQ(fit_workers(16, 256, 1, 256, 1), 16);
	CHECK_EQ(fit_workers(64, 1000, 1, 1000, 1), 64);
	CHECK(fit_workers(64, 64, 1, 64, 1) >= 12);
}

TEST(one_and_two_mailboxes_have_what_was_measured_to_be_best)
{
	set(1, 1, 1, 0);
	CHECK_EQ(budget()->frames, FRAMES_MAX);
	CHECK_EQ(budget()->recv_buffers, RECV_BUFFERS_COUNT);
	CHECK_EQ(budget()->lines_bytes, PACK_LINES_BYTES_MAX);
	CHECK_EQ(budget()->put_bytes, WRITE_BYTES_ALONE);
	CHECK_EQ(budget_lane_chunks(1), LANE_CHUNKS_RESERVED);
	CHECK_EQ(budget_arena_chunks(), LANE_CHUNKS_RESERVED);
	set(2, 2, 1, 0);
	CHECK_EQ(budget()->frames, 11);
	CHECK_EQ(budget()->put_bytes, WRITE_BYTES);
	CHECK_EQ(budget()->frame_bytes, FRAME_BYTES);
	CHECK_EQ(budget_arena_chunks(), 32);
}

/* Another lane of a mailbox with fewer connections than most has may take what that one leaves. */
TEST(connections_that_are_not_there_need_no_chunks)
{
	unsigned all;

	set_shape(2, 64, LANE_READERS_MAX, 64 * LANE_READERS_MAX, 0, 1);
	all = budget_arena_chunks();
	set_shape(2, 64, LANE_READERS_MAX, 64, 0, 1);
	CHECK(budget_arena_chunks() < all / 2);
	CHECK(budget_lane_chunks(1) < budget_lane_chunks(LANE_READERS_MAX));
	CHECK(budget_lane_chunks_most(1) < budget_lane_chunks_most(LANE_READERS_MAX));
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
	CHECK(budget_is_kept());
	set(1, 2, 1, 0);
	CHECK(budget()->lines_bytes >= 8 * PACK_LINES_BYTES_OF_MANY);
	CHECK(budget_is_kept());
	/* Where nothing is left, the least stays. */
	set(4, 64, 1, 0);
	CHECK_EQ(budget()->lines_bytes, PACK_LINES_BYTES_OF_MANY);
}

TEST(few_mailboxes_have_wide_buffers_and_no_need_of_loans)
{
	set(2, 2, 1, 0);
	CHECK(budget()->frames >= FRAMES_OF_FEW);
	CHECK_EQ(budget()->frame_bytes, FRAME_BYTES);
	CHECK_EQ(budget_lane_chunks(1), budget_lane_chunks_most(1));
	CHECK(budget_is_kept());
	set(2, 64, 1, 0);
	CHECK_EQ(budget()->frame_bytes, FRAME_BYTES_OF_MANY);
	CHECK(budget_lane_chunks(1) < budget_lane_chunks_most(1));
}

TEST(a_million_waiting_mailboxes_cost_no_more_than_their_rows)
{
	uint64_t few;

	set(2, 64, 1, 0);
	few = budget_bound_sum();
	set(2, 64, 1, 1000000);
	CHECK_EQ(budget_bound_sum() - few, UINT64_C(1000000) * WAITING_BYTES);
	CHECK(budget_is_kept());
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

/* Five MiB a part is S3's rule: what was asked for, as it says. */
TEST(archives_in_buckets_have_their_parts_on_top_of_the_promise)
{
	struct budget_shape shape;
	uint64_t bound, promise, parts;

	for (unsigned lanes = 1; lanes <= 1000; lanes += 1 + lanes / 2)
		for (unsigned workers = 1; workers <= lanes && workers <= 64; workers *= 4) {
			set(workers, lanes, 1, 0);
			shape = budget()->shape;
			bound = budget_bound_sum();
			promise = budget_promise();
			CHECK_EQ(budget_bucket_connections(), 0);
			shape.to_buckets = true;
			budget_set(&shape);
			CHECK_EQ(budget()->part_bytes,
				 lanes == 1 ? UPLOAD_PART_BYTES : UPLOAD_PART_BYTES_LEAST);
			CHECK_EQ(budget_bound_sum() - bound, budget_promise() - promise);
			parts = (uint64_t)lanes * UPLOAD_PARTS_OWN +
				(uint64_t)workers * budget()->parts_shared;
			CHECK(budget_bound(BUDGET_WRITES) >= parts * budget()->part_bytes);
			CHECK(budget_bucket_connections() * workers >=
			      min_u64((uint64_t)lanes * (budget()->uploads + 1),
				      (uint64_t)workers * UPLOADS_OF_WORKER));
		}
}

/* Several parts of a mailbox alone; of many one each, and so many that the line is never idle. */
TEST(few_mailboxes_send_several_parts_at_once_and_many_one_each)
{
	uint64_t before;

	set(1, 1, 1, 0);
	CHECK_EQ(budget()->uploads, UPLOADS_MAX);
	CHECK_EQ(budget()->ahead_bytes, READ_AHEAD_BYTES);
	CHECK(budget()->parts_shared + UPLOAD_PARTS_OWN > UPLOADS_MAX);
	set(2, 8, 1, 0);
	CHECK_EQ(budget()->uploads, UPLOADS_MAX);
	set(2, 16, 1, 0);
	CHECK_EQ(budget()->uploads, 2);
	set(2, 64, 1, 0);
	CHECK_EQ(budget()->uploads, 1);
	CHECK_EQ(budget()->parts_shared, UPLOADS_OF_WORKER);
	before = budget_promise();
	budget_set(&(struct budget_shape){ .workers = 2,
					   .lanes = 64,
					   .connections = 1,
					   .pairs = 64,
					   .offload_threads = OFFLOAD_THREADS,
					   .to_buckets = true });
	CHECK(budget_promise() - before <= UINT64_C(960) * 1024 * 1024);
}
