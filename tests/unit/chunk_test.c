/* Chunks come home, reserves keep their promises, slices hold references. */
#include "tests/test.h"

#include "engine/chunk.h"
#include "engine/clock.h"
#include "engine/fiber.h"
#include "engine/stream.h"

#define LATER clock_after(600 * NSEC_SECOND)

TEST_FIBER(every_chunk_of_a_reserve_is_distinct_aligned_and_comes_home)
{
	enum { CHUNKS = 40 };
	struct arena *arena = NULL;
	struct reserve *reserve = NULL;
	struct chunk *chunks[CHUNKS];

	REQUIRE(CHECK_OK(arena_open(CHUNKS, &arena)));
	REQUIRE(CHECK_OK(reserve_open(arena, CHUNKS, LATER, &reserve)));
	for (int i = 0; i < CHUNKS; i++) {
		REQUIRE(CHECK_OK(chunk_wait(reserve, LATER, &chunks[i])));
		CHECK_EQ((uintptr_t)chunks[i]->data % 4096, 0);
		CHECK(chunk_is_sole(chunks[i]) && chunks[i]->filled == 0);
		memset(chunks[i]->data, i, CHUNK_BYTES);
	}
	CHECK_EQ(arena_counts(arena).in_use, CHUNKS);
	for (int i = 0; i < CHUNKS; i++) {
		CHECK(chunks[i]->data[0] == i && chunks[i]->data[CHUNK_BYTES - 1] == i);
		chunk_unref(&chunks[i]);
		CHECK(chunks[i] == NULL);
	}
	CHECK_EQ(arena_counts(arena).in_use, 0);
	CHECK_EQ(arena_counts(arena).in_use_high, CHUNKS);
	reserve_close(&reserve);
	CHECK_EQ(arena_counts(arena).reserved, 0);
	arena_close(&arena);
	arena_close(&arena); /* NULL is accepted */
}

TEST_FIBER(a_chunk_goes_home_with_its_last_reference)
{
	struct reserve *reserve = NULL;
	struct chunk *chunk, *other;

	REQUIRE(CHECK_OK(reserve_open(arena_current(), 1, LATER, &reserve)));
	REQUIRE(CHECK_OK(chunk_wait(reserve, LATER, &chunk)));
	other = chunk_ref(chunk);
	CHECK(!chunk_is_sole(chunk));
	chunk_unref(&chunk);
	CHECK(chunk_is_sole(other));
	CHECK_ERR(chunk_wait(reserve, 0, &chunk), ERR_FIBER_TIMEOUT);
	chunk_unref(&other);
	CHECK_OK(chunk_wait(reserve, 0, &chunk));
	chunk_unref(&chunk);
	reserve_close(&reserve);
}

TEST_FIBER(a_reserve_larger_than_the_arena_is_refused_at_once)
{
	struct reserve *reserve = NULL;

	CHECK_ERR(reserve_open(arena_current(), arena_counts(arena_current()).chunks + 1, LATER,
			       &reserve),
		  ERR_MEMORY_RESERVE);
	CHECK(reserve == NULL);
}

struct lane {
	struct arena *arena;
	struct reserve *reserve;
	unsigned chunks, order;
	nsec until;
	enum err got;
};
static unsigned order;

static enum err open_reserve(void *argument)
{
	struct lane *self = argument;

	self->got = reserve_open(self->arena, self->chunks, self->until, &self->reserve);
	self->order = ++order;
	return OK;
}

static void spawn_lane(struct group *group, struct lane *lane)
{
	CHECK_OK(group_spawn(group, "lane", FIBER_STACK_SMALL, open_reserve, lane));
	CHECK_OK(fiber_yield());
}

TEST_FIBER(reserves_are_granted_in_order_so_a_large_one_is_not_passed_by)
{
	struct arena *arena = NULL;
	struct lane first = { 0 }, large, small, impatient;
	struct group *group = group_open();

	order = 0;
	REQUIRE(CHECK_OK(arena_open(10, &arena)));
	CHECK_OK(reserve_open(arena, 6, LATER, &first.reserve));
	large = (struct lane){ .arena = arena, .chunks = 8, .until = LATER };
	impatient = (struct lane){ .arena = arena,
				   .chunks = 9,
				   .until = clock_after(NSEC_MILLISECOND) };
	small = (struct lane){ .arena = arena, .chunks = 2, .until = LATER };
	spawn_lane(group, &large);
	spawn_lane(group, &impatient);
	spawn_lane(group, &small);
	CHECK_OK(fiber_yield());
	CHECK_EQ(small.order, 0); /* it would fit, but is behind the large one */
	while (impatient.order == 0)
		CHECK_OK(fiber_sleep(clock_after(NSEC_MILLISECOND)));
	CHECK_ERR(impatient.got, ERR_FIBER_TIMEOUT);
	reserve_close(&first.reserve);
	CHECK_OK(group_join(&group));
	CHECK(large.order < small.order);
	CHECK_EQ(arena_counts(arena).reserved, 10);
	reserve_close(&large.reserve);
	reserve_close(&small.reserve);
	arena_close(&arena);
}

TEST_FIBER(one_that_gives_up_lets_those_behind_it_through)
{
	struct arena *arena = NULL;
	struct lane first = { 0 }, large, small;
	struct group *hopeful = group_open(), *group = group_open();

	order = 0;
	REQUIRE(CHECK_OK(arena_open(10, &arena)));
	CHECK_OK(reserve_open(arena, 6, LATER, &first.reserve));
	large = (struct lane){ .arena = arena, .chunks = 8, .until = LATER };
	small = (struct lane){ .arena = arena, .chunks = 2, .until = LATER };
	spawn_lane(hopeful, &large);
	spawn_lane(group, &small);
	group_cancel(hopeful);
	CHECK_OK(group_join(&group));
	CHECK_OK(group_join(&hopeful));
	CHECK_ERR(large.got, ERR_FIBER_CANCELED);
	CHECK_ERR(small.got, OK);
	CHECK_EQ(arena_counts(arena).reserved, 8);
	reserve_close(&first.reserve);
	reserve_close(&small.reserve);
	arena_close(&arena);
}

struct borrower {
	struct reserve *reserve;
	unsigned rounds;
};

static enum err borrow_again_and_again(void *argument)
{
	struct borrower *self = argument;
	struct chunk *chunk;
	enum err e = OK;

	for (unsigned i = 0; i < 100 && !e; i++) {
		if ((e = chunk_wait(self->reserve, LATER, &chunk)))
			return e;
		e = fiber_yield();
		chunk_unref(&chunk);
		self->rounds++;
	}
	return e;
}

TEST_FIBER(many_fibers_share_a_few_chunks_and_all_get_theirs)
{
	struct borrower fibers[10];
	struct reserve *reserve = NULL;
	struct group *group = group_open();

	REQUIRE(CHECK_OK(reserve_open(arena_current(), 3, LATER, &reserve)));
	for (int i = 0; i < 10; i++) {
		fibers[i] = (struct borrower){ .reserve = reserve };
		CHECK_OK(group_spawn(group, "borrower", FIBER_STACK_SMALL, borrow_again_and_again,
				     &fibers[i]));
	}
	CHECK_OK(group_join(&group));
	for (int i = 0; i < 10; i++)
		CHECK_EQ(fibers[i].rounds, 100);
	reserve_close(&reserve);
}

static enum err wait_for_chunk(void *argument)
{
	struct chunk *chunk;

	return chunk_wait(argument, LATER, &chunk);
}

TEST_FIBER(waiting_for_a_chunk_can_be_canceled)
{
	struct reserve *reserve = NULL;
	struct chunk *chunk;
	struct group *group = group_open();

	REQUIRE(CHECK_OK(reserve_open(arena_current(), 1, LATER, &reserve)));
	REQUIRE(CHECK_OK(chunk_wait(reserve, LATER, &chunk)));
	CHECK_OK(group_spawn(group, "waiter", FIBER_STACK_SMALL, wait_for_chunk, reserve));
	CHECK_OK(fiber_yield());
	group_cancel(group);
	CHECK_ERR(group_join(&group), ERR_FIBER_CANCELED);
	chunk_unref(&chunk);
	reserve_close(&reserve);
}

/* ---- slices and the list stream ---- */

TEST_FIBER(a_list_stream_hands_its_list_over_once_and_then_has_ended)
{
	struct reserve *reserve = NULL;
	struct iolist list = { .count = 0 }, out = { .count = 0 };
	struct stream_list holder;
	struct stream *stream;
	struct chunk *chunk;

	REQUIRE(CHECK_OK(reserve_open(arena_current(), 1, LATER, &reserve)));
	REQUIRE(CHECK_OK(chunk_wait(reserve, LATER, &chunk)));
	iolist_add(&list, (struct slice){ chunk_ref(chunk), 10, 20 });
	iolist_add(&list, (struct slice){ chunk, CHUNK_BYTES, 0 });
	CHECK_EQ(iolist_bytes(&list), 20);
	stream = stream_list_open(&holder, &list);
	CHECK_EQ(list.count, 0);
	CHECK_OK(stream_pull(stream, &out));
	CHECK_EQ(out.count, 2);
	CHECK(slice_bytes(&out.slices[0]) == chunk->data + 10);
	iolist_release(&out);
	CHECK_ERR(stream_pull(stream, &out), ERR_STREAM_ENDED);
	CHECK_ERR(stream_pull(stream, &out), ERR_STREAM_ENDED);
	stream_close(&stream);
	stream_close(&stream);
	reserve_close(&reserve); /* fails if a chunk is not home */
}

TEST_FIBER(a_list_stream_closed_early_lets_go_of_its_chunks)
{
	struct reserve *reserve = NULL;
	struct iolist list = { .count = 0 };
	struct stream_list holder;
	struct stream *stream;
	struct chunk *chunk;

	REQUIRE(CHECK_OK(reserve_open(arena_current(), 1, LATER, &reserve)));
	REQUIRE(CHECK_OK(chunk_wait(reserve, LATER, &chunk)));
	iolist_add(&list, (struct slice){ chunk, 0, 1 });
	stream = stream_list_open(&holder, &list);
	stream_close(&stream);
	CHECK_EQ(arena_counts(arena_current()).in_use, 0);
	reserve_close(&reserve);
}

/* ---- loans ---- */

/* A lane whose message needs more chunks than its share. */
struct needy {
	struct arena *arena;
	unsigned wants, got;
	bool may_end;
	struct wait_queue *end;
};

static enum err take_all(void *argument)
{
	struct needy *self = argument;
	struct chunk *chunks[32];
	struct reserve *reserve = NULL;
	enum err e = reserve_open_lending(self->arena, 4, 16, LATER, &reserve);

	while (e == OK && self->got < self->wants)
		if ((e = chunk_wait(reserve, LATER, &chunks[self->got])) == OK)
			self->got++;
	while (e == OK && !self->may_end)
		e = wait_on(self->end, LATER);
	while (self->got > 0)
		chunk_unref(&chunks[--self->got]);
	reserve_close(&reserve);
	return e;
}

TEST_FIBER(a_loan_makes_a_large_message_possible_and_comes_back)
{
	struct arena *arena = NULL;
	struct reserve *reserve = NULL;
	struct chunk *chunks[16];

	REQUIRE(CHECK_OK(arena_open(16, &arena)));
	REQUIRE(CHECK_OK(reserve_open_lending(arena, 4, 16, LATER, &reserve)));
	for (int i = 0; i < 4; i++)
		REQUIRE(CHECK_OK(chunk_wait(reserve, LATER, &chunks[i])));
	CHECK_EQ(arena_counts(arena).reserved, 4); /* its share needs none */
	for (int i = 4; i < 16; i++)
		REQUIRE(CHECK_OK(chunk_wait(reserve, LATER, &chunks[i])));
	CHECK_EQ(arena_counts(arena).reserved, 16);
	for (int i = 15; i >= 5; i--)
		chunk_unref(&chunks[i]);
	CHECK_EQ(arena_counts(arena).reserved, 16); /* one more than its share is in use */
	chunk_unref(&chunks[4]);
	CHECK_EQ(arena_counts(arena).reserved, 4);
	CHECK_EQ(arena_counts(arena).loans, 1);
	for (int i = 0; i < 4; i++)
		chunk_unref(&chunks[i]);
	reserve_close(&reserve);
	arena_close(&arena);
}

/* Each could take half of what is left and wait for the other half for ever. */
TEST_FIBER(lanes_that_need_a_loan_get_a_whole_one_each_in_turn)
{
	enum { LANES = 4 };
	struct arena *arena = NULL;
	struct wait_queue end = { 0 };
	struct needy lanes[LANES];
	struct group *group = group_open();
	unsigned full = 0;

	REQUIRE(CHECK_OK(arena_open(LANES * 4 + 12, &arena)));
	for (int i = 0; i < LANES; i++) {
		lanes[i] = (struct needy){ .arena = arena, .wants = 16, .end = &end };
		CHECK_OK(group_spawn(group, "lane", FIBER_STACK_SMALL, take_all, &lanes[i]));
	}
	for (int i = 0; i < LANES; i++) {
		for (int turns = 0; turns < 10; turns++)
			CHECK_OK(fiber_yield());
		full = 0;
		for (int j = 0; j < LANES; j++)
			full += lanes[j].got == 16;
		CHECK_EQ(full, 1);
		CHECK_EQ(lanes[i].got, 16);
		lanes[i].may_end = true;
		wake_all(&end);
	}
	CHECK_OK(group_join(&group));
	CHECK_EQ(arena_counts(arena).loans, LANES);
	CHECK_EQ(arena_counts(arena).reserved, 0);
	arena_close(&arena);
}

struct returner {
	struct chunk **chunk;
};

static enum err give_back(void *argument)
{
	chunk_unref(((struct returner *)argument)->chunk);
	return OK;
}

TEST_FIBER(a_lane_whose_own_chunk_comes_home_needs_no_loan_and_blocks_none)
{
	struct arena *arena = NULL;
	struct reserve *patient = NULL, *other = NULL, *lender = NULL;
	struct chunk *mine[2], *theirs[4], *next = NULL;
	struct returner returner = { &mine[0] };
	struct group *group = group_open();

	REQUIRE(CHECK_OK(arena_open(6, &arena)));
	REQUIRE(CHECK_OK(reserve_open(arena, 3, LATER, &lender)));
	REQUIRE(CHECK_OK(reserve_open_lending(arena, 2, 4, LATER, &patient)));
	REQUIRE(CHECK_OK(reserve_open_lending(arena, 1, 3, LATER, &other)));
	for (int i = 0; i < 2; i++)
		REQUIRE(CHECK_OK(chunk_wait(patient, LATER, &mine[i])));
	CHECK_OK(group_spawn(group, "home", FIBER_STACK_SMALL, give_back, &returner));
	CHECK_OK(chunk_wait(patient, LATER, &next)); /* it asks for a loan that is not there */
	CHECK_OK(group_join(&group));
	CHECK_EQ(arena_counts(arena).loans, 0);
	reserve_close(&lender);
	for (int i = 0; i < 3; i++)
		CHECK_OK(chunk_wait(other, LATER, &theirs[i]));
	CHECK_EQ(arena_counts(arena).loans, 1);
	for (int i = 0; i < 3; i++)
		chunk_unref(&theirs[i]);
	chunk_unref(&next);
	chunk_unref(&mine[1]);
	reserve_close(&patient);
	reserve_close(&other);
	arena_close(&arena);
}

/* A lane whose sink takes a chunk at a time, and whose source is always faster. */
enum { MESSAGES = 20, MESSAGE_CHUNKS = 8, SHARE = 4, WITH_LOAN = 16 };
struct slow_lane {
	struct arena *arena;
	struct reserve *reserve;
	unsigned readers; /* conversations that are not at their end */
	bool keeps_loan;
	unsigned messages; /* read so far */
	struct chunk *stored[WITH_LOAN];
	unsigned first, count;
	struct wait_queue changed;
};

static enum err read_message(struct slow_lane *lane)
{
	struct chunk *chunks[MESSAGE_CHUNKS];
	unsigned n = 0;
	enum err e = OK;

	if (!lane->keeps_loan && (e = reserve_return_loan(lane->reserve, LATER)))
		return e;
	while (n < MESSAGE_CHUNKS && (e = chunk_wait(lane->reserve, LATER, &chunks[n])) == OK)
		n++;
	for (unsigned i = 0; i < n; i++)
		lane->stored[(lane->first + lane->count++) % WITH_LOAN] = chunks[i];
	wake_all(&lane->changed);
	lane->messages++;
	return e;
}

static enum err read_messages(void *argument)
{
	struct slow_lane *lane = argument;
	enum err e = OK;

	while (e == OK && lane->messages < MESSAGES)
		e = read_message(lane);
	lane->readers--;
	wake_all(&lane->changed);
	return e;
}

static enum err store_slowly(void *argument)
{
	struct slow_lane *lane = argument;
	enum err e = OK;

	while (e == OK && (lane->count || lane->readers)) {
		if (lane->count == 0) {
			e = wait_on(&lane->changed, LATER);
			continue;
		}
		for (unsigned i = 0; i < 10 && e == OK; i++)
			e = fiber_yield();
		chunk_unref(&lane->stored[lane->first]);
		lane->first = (lane->first + 1) % WITH_LOAN;
		lane->count--;
	}
	return e;
}

static void begin_slow_lane(struct slow_lane *lane, struct group *group)
{
	unsigned readers = lane->readers;

	CHECK_OK(reserve_open_lending(lane->arena, SHARE, WITH_LOAN, LATER, &lane->reserve));
	CHECK_OK(group_spawn(group, "store", FIBER_STACK_SMALL, store_slowly, lane));
	for (unsigned i = 0; i < readers; i++)
		CHECK_OK(group_spawn(group, "read", FIBER_STACK_SMALL, read_messages, lane));
}

/* How many messages a slow lane had read when another one had its loan. */
static unsigned read_before_the_other_has_its_loan(unsigned readers, bool keeps_loan)
{
	struct slow_lane slow = { .readers = readers, .keeps_loan = keeps_loan };
	struct wait_queue end = { 0 };
	struct needy other = { .wants = WITH_LOAN, .may_end = true, .end = &end };
	struct group *group = group_open(), *others = group_open();
	unsigned read = 0;

	CHECK_OK(arena_open(2 * SHARE + (WITH_LOAN - SHARE), &slow.arena));
	other.arena = slow.arena;
	begin_slow_lane(&slow, group);
	while (arena_counts(slow.arena).loans == 0)
		CHECK_OK(fiber_yield());
	CHECK_OK(group_spawn(others, "other", FIBER_STACK_SMALL, take_all, &other));
	CHECK_OK(group_join(&others));
	read = slow.messages;
	CHECK_OK(group_join(&group));
	CHECK(slow.messages >= MESSAGES);
	reserve_close(&slow.reserve);
	CHECK_EQ(arena_counts(slow.arena).reserved, 0);
	arena_close(&slow.arena);
	return read;
}

TEST_FIBER(a_lane_with_a_slow_sink_gives_its_loan_back_between_two_messages)
{
	CHECK(read_before_the_other_has_its_loan(1, false) <= MESSAGES / 3);
	CHECK(read_before_the_other_has_its_loan(2, false) <= MESSAGES / 3);
	/* Without asking it has more in use than its share until the last. */
	CHECK(read_before_the_other_has_its_loan(1, true) >= MESSAGES);
}

/* Two slow lanes, and room for one loan: by turns. */
TEST_FIBER(lanes_with_slow_sinks_take_turns_with_a_loan)
{
	struct slow_lane lanes[2];
	struct group *group = group_open();
	struct arena *arena = NULL;

	REQUIRE(CHECK_OK(arena_open(2 * SHARE + (WITH_LOAN - SHARE), &arena)));
	for (int i = 0; i < 2; i++) {
		lanes[i] = (struct slow_lane){ .arena = arena, .readers = 1 + i };
		begin_slow_lane(&lanes[i], group);
	}
	while (lanes[0].messages < MESSAGES / 2)
		CHECK_OK(fiber_yield());
	CHECK(lanes[1].messages > 2 && lanes[1].messages < MESSAGES);
	CHECK_OK(group_join(&group));
	CHECK(arena_counts(arena).loans >= MESSAGES / 2);
	for (int i = 0; i < 2; i++)
		reserve_close(&lanes[i].reserve);
	arena_close(&arena);
}

static enum err return_loan(void *argument)
{
	return reserve_return_loan(argument, LATER);
}

TEST_FIBER(a_loan_that_cannot_be_returned_holds_up_nobody_for_ever)
{
	struct arena *arena = NULL;
	struct reserve *mine = NULL, *theirs = NULL;
	struct chunk *in_use[WITH_LOAN], *others[SHARE];
	struct group *waiting = group_open(), *asking;

	REQUIRE(CHECK_OK(arena_open(2 * SHARE + (WITH_LOAN - SHARE), &arena)));
	CHECK_OK(reserve_open_lending(arena, SHARE, WITH_LOAN, LATER, &mine));
	CHECK_OK(reserve_open_lending(arena, SHARE, WITH_LOAN, LATER, &theirs));
	CHECK_OK(reserve_return_loan(mine, LATER)); /* it has none */
	for (int i = 0; i < WITH_LOAN; i++)
		REQUIRE(CHECK_OK(chunk_wait(mine, LATER, &in_use[i])));
	CHECK_OK(reserve_return_loan(mine, LATER)); /* nobody wants it */
	for (int i = 0; i < SHARE; i++)
		REQUIRE(CHECK_OK(chunk_wait(theirs, LATER, &others[i])));
	asking = group_open();
	CHECK_OK(group_spawn(asking, "asks", FIBER_STACK_SMALL, wait_for_chunk, theirs));
	CHECK_OK(fiber_yield());
	CHECK_OK(reserve_return_loan(mine, clock_after(NSEC_MILLISECOND))); /* its time is up */
	CHECK_OK(group_spawn(waiting, "canceled", FIBER_STACK_SMALL, return_loan, mine));
	CHECK_OK(fiber_yield());
	group_cancel(waiting);
	CHECK_ERR(group_join(&waiting), ERR_FIBER_CANCELED);
	waiting = group_open();
	CHECK_OK(group_spawn(waiting, "returns", FIBER_STACK_SMALL, return_loan, mine));
	CHECK_OK(fiber_yield());
	group_cancel(asking); /* who asked has given up */
	CHECK_ERR(group_join(&asking), ERR_FIBER_CANCELED);
	CHECK_OK(group_join(&waiting));
	CHECK_EQ(arena_counts(arena).loans, 1);
	for (int i = 0; i < WITH_LOAN; i++)
		chunk_unref(&in_use[i]);
	for (int i = 0; i < SHARE; i++)
		chunk_unref(&others[i]);
	reserve_close(&mine);
	reserve_close(&theirs);
	arena_close(&arena);
}
