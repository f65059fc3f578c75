/* The hand-over between two fibers: order, backpressure, large bodies, every way to end. */
#include "tests/test.h"

#include "engine/bytes.h"
#include "engine/clock.h"
#include "engine/fiber.h"
#include "engine/pipe.h"

#define LATER clock_after(600 * NSEC_SECOND)

/* What both ends share. */
struct scene {
	struct pipe *pipe;
	struct reserve *reserve;
	unsigned items;	    /* to send */
	unsigned slices;    /* of a large body, each full of its number */
	unsigned sent, fed; /* so far */
	unsigned received;
	unsigned stop_after; /* slices the consumer pulls before it closes the body; 0: all */
	enum err body_error; /* the producer ends the body with it */
	enum err end_error;  /* and the pipe with this */
	unsigned most_ahead; /* items sent and not received, at most */
	enum err produced, consumed;
};

static bool scene_open(struct scene *scene)
{
	return CHECK_OK(pipe_open(&scene->pipe)) &&
	       CHECK_OK(
		       reserve_open(arena_current(), LANE_CHUNKS_RESERVED, LATER, &scene->reserve));
}

static void scene_close(struct scene *scene)
{
	pipe_close(&scene->pipe);
	CHECK_EQ(arena_counts(arena_current()).in_use, 0);
	reserve_close(&scene->reserve);
}

static void scene_play(struct scene *scene, fiber_main *producer, fiber_main *consumer)
{
	struct group *group = group_open();

	CHECK_OK(group_spawn(group, "producer", FIBER_STACK_SMALL, producer, scene));
	CHECK_OK(group_spawn(group, "consumer", FIBER_STACK_SMALL, consumer, scene));
	CHECK_OK(group_join(&group));
}

static enum err filled_slice(struct scene *scene, unsigned number, struct slice *out)
{
	struct chunk *chunk;
	enum err e = chunk_wait(scene->reserve, LATER, &chunk);

	if (e)
		return e;
	bytes_put_le32(chunk->data, number);
	*out = (struct slice){ chunk, 0, 4 };
	return OK;
}

static void check_slice(const struct slice *slice, unsigned number)
{
	CHECK_EQ(slice->length, 4);
	CHECK_EQ(bytes_get_le32(slice_bytes(slice)), number);
}

/* ---- small items ---- */

/* Every third is without a body, every third empty. */
static enum err put_one(struct scene *scene, unsigned number)
{
	struct item item = { .kind = ITEM_MESSAGE, .no = number, .size_bytes = 4 };
	struct iolist staged = { .count = 0 };
	struct slice slice;
	enum err e = OK;

	if (number % 3 == 0)
		item.fate = ERR_IMAP_MSG_GONE;
	else if (number % 3 == 1 && !(e = filled_slice(scene, number, &slice)))
		iolist_add(&staged, slice);
	if (!e)
		e = pipe_put(scene->pipe, &item, item.fate ? NULL : &staged, LATER);
	iolist_release(&staged);
	return e;
}

static enum err produce_items(void *argument)
{
	struct scene *scene = argument;
	enum err e = OK;

	for (; scene->sent < scene->items && !e; scene->sent += e == OK) {
		e = put_one(scene, scene->sent);
		if (scene->sent - scene->received > scene->most_ahead)
			scene->most_ahead = scene->sent - scene->received;
	}
	pipe_end(scene->pipe, e ? e : scene->end_error ? scene->end_error : ERR_PIPE_ENDED);
	scene->produced = e;
	return OK;
}

static void check_item(struct item *item, unsigned number)
{
	struct iolist list = { .count = 0 };

	CHECK_EQ(item->no, number);
	if (number % 3 == 0) {
		CHECK(item->body == NULL && item->fate == ERR_IMAP_MSG_GONE);
		return;
	}
	REQUIRE(item->body != NULL);
	if (number % 3 == 1 && CHECK_OK(stream_pull(item->body, &list))) {
		CHECK_EQ(list.count, 1);
		check_slice(&list.slices[0], number);
		iolist_release(&list);
	}
	CHECK_ERR(stream_pull(item->body, &list), ERR_STREAM_ENDED);
}

static enum err consume_items(void *argument)
{
	struct scene *scene = argument;
	struct item *item;

	while (!(scene->consumed = pipe_next(scene->pipe, &item, LATER)))
		check_item(item, scene->received++);
	return OK;
}

TEST_FIBER(items_arrive_in_order_with_their_bodies)
{
	struct scene scene = { .items = 1000 };

	REQUIRE(scene_open(&scene));
	scene_play(&scene, produce_items, consume_items);
	CHECK_EQ(scene.received, 1000);
	CHECK_ERR(scene.consumed, ERR_PIPE_ENDED);
	CHECK_OK(scene.produced);
	scene_close(&scene);
}

TEST_FIBER(a_full_pipe_makes_the_producer_wait_not_fail)
{
	struct scene scene = { .items = 3 * PIPE_ITEMS_MAX };
	struct group *group = group_open();

	REQUIRE(scene_open(&scene));
	CHECK_OK(group_spawn(group, "producer", FIBER_STACK_SMALL, produce_items, &scene));
	for (int i = 0; i < 10; i++)
		CHECK_OK(fiber_yield());
	CHECK_EQ(scene.sent, PIPE_ITEMS_MAX);
	CHECK_EQ(pipe_items(scene.pipe), PIPE_ITEMS_MAX);
	CHECK_OK(group_spawn(group, "consumer", FIBER_STACK_SMALL, consume_items, &scene));
	CHECK_OK(group_join(&group));
	CHECK_EQ(scene.received, scene.items);
	CHECK(scene.most_ahead <= PIPE_ITEMS_MAX);
	CHECK_EQ(pipe_items(scene.pipe), 0);
	scene_close(&scene);
}

TEST_FIBER(a_full_pipe_times_out_and_leaves_the_item_with_its_owner)
{
	struct scene scene = { .items = PIPE_ITEMS_MAX };
	struct item item = { .kind = ITEM_MESSAGE, .no = 1 };
	struct iolist staged = { .count = 0 };
	struct slice slice;

	REQUIRE(scene_open(&scene));
	CHECK_OK(filled_slice(&scene, 1, &slice));
	iolist_add(&staged, slice);
	for (unsigned i = 0; i < PIPE_ITEMS_MAX; i++)
		CHECK_OK(put_one(&scene, i));
	CHECK_ERR(pipe_put(scene.pipe, &item, &staged, 0), ERR_FIBER_TIMEOUT);
	CHECK_EQ(staged.count, 1);
	iolist_release(&staged);
	scene_close(&scene); /* what is inside goes home */
}

TEST_FIBER(an_empty_pipe_times_out_and_can_be_asked_again)
{
	struct scene scene = { .items = 0 };
	struct item *item = NULL;

	REQUIRE(scene_open(&scene));
	CHECK_ERR(pipe_next(scene.pipe, &item, 0), ERR_FIBER_TIMEOUT);
	CHECK_OK(put_one(&scene, 0));
	CHECK_OK(pipe_next(scene.pipe, &item, 0));
	check_item(item, 0);
	CHECK_EQ(pipe_items(scene.pipe), 0);
	CHECK_ERR(pipe_next(scene.pipe, &item, 0), ERR_FIBER_TIMEOUT);
	scene_close(&scene);
}

TEST_FIBER(an_error_comes_after_the_items_before_it_with_its_note)
{
	struct scene scene = { .items = 5, .end_error = ERR_NET_RESET };

	REQUIRE(scene_open(&scene));
	scene_play(&scene, produce_items, consume_items);
	CHECK_EQ(scene.received, 5);
	CHECK_ERR(scene.consumed, ERR_NET_RESET);
	scene_close(&scene);
}

static enum err produce_failure(void *argument)
{
	struct scene *scene = argument;

	pipe_end(scene->pipe, RAISE(ERR_NET_RESET, "reading item %u", scene->sent));
	err_note_clear();
	return OK;
}

static enum err consume_failure(void *argument)
{
	struct scene *scene = argument;
	struct item *item;

	CHECK_ERR(pipe_next(scene->pipe, &item, LATER), ERR_NET_RESET);
	CHECK_TEXT(err_note()->text, "reading item 0");
	return OK;
}

TEST_FIBER(the_producers_note_reaches_the_consumer)
{
	struct scene scene = { .items = 0 };

	REQUIRE(scene_open(&scene));
	scene_play(&scene, produce_failure, consume_failure);
	scene_close(&scene);
}

/* ---- large bodies ---- */

static enum err feed_body(struct scene *scene)
{
	struct slice slice;
	enum err e = OK;

	for (unsigned i = 0; i < scene->slices && !e; i++) {
		if ((e = filled_slice(scene, i, &slice)))
			break;
		if ((e = pipe_body_feed(scene->pipe, slice, LATER)))
			chunk_unref(&slice.chunk);
		scene->fed += e == OK;
	}
	return e;
}

static enum err produce_large(void *argument)
{
	struct scene *scene = argument;
	struct item item;
	enum err e = OK;

	for (; scene->sent < scene->items && !e; scene->sent++) {
		item = (struct item){ .kind = ITEM_MESSAGE, .no = scene->sent };
		if ((e = pipe_put(scene->pipe, &item, NULL, LATER)))
			break;
		e = feed_body(scene);
		if (!e && scene->body_error)
			e = RAISE(scene->body_error, "inside body %u", scene->sent);
		pipe_body_end(scene->pipe, e);
		err_note_clear();
		e = e == scene->body_error ? OK : e; /* a source may go on after a bad message */
	}
	pipe_end(scene->pipe, e ? e : ERR_PIPE_ENDED);
	scene->produced = e;
	return OK;
}

static unsigned pull_slices(struct scene *scene, struct stream *body, enum err *ended_with)
{
	struct iolist list = { .count = 0 };
	unsigned pulled = 0;

	*ended_with = OK;
	while (!(scene->stop_after && pulled >= scene->stop_after) &&
	       !(*ended_with = stream_pull(body, &list))) {
		CHECK(list.count > 0);
		for (unsigned i = 0; i < list.count; i++)
			check_slice(&list.slices[i], pulled++);
		iolist_release(&list);
	}
	return pulled;
}

static void consume_body(struct scene *scene, struct item *item)
{
	enum err e, expected = scene->body_error ? scene->body_error : ERR_STREAM_ENDED;
	struct iolist list = { .count = 0 };
	unsigned pulled = pull_slices(scene, item->body, &e);

	if (scene->stop_after && pulled >= scene->stop_after) {
		CHECK_OK(e);
		stream_close(&item->body);
		return;
	}
	CHECK_EQ(pulled, scene->slices);
	CHECK_ERR(e, expected);
	if (scene->body_error)
		CHECK(strncmp(err_note()->text, "inside body ", 12) == 0);
	CHECK_ERR(stream_pull(item->body, &list), expected); /* again and again */
	err_note_clear();
}

static enum err consume_large(void *argument)
{
	struct scene *scene = argument;
	struct item *item;

	while (!(scene->consumed = pipe_next(scene->pipe, &item, LATER))) {
		CHECK_EQ(item->no, scene->received++);
		consume_body(scene, item);
	}
	return OK;
}

static void play_large(struct scene scene)
{
	REQUIRE(scene_open(&scene));
	scene_play(&scene, produce_large, consume_large);
	CHECK_EQ(scene.received, scene.items);
	CHECK_EQ(scene.fed, scene.items * scene.slices);
	CHECK_OK(scene.produced);
	CHECK_ERR(scene.consumed, ERR_PIPE_ENDED);
	scene_close(&scene);
}

TEST_FIBER(large_bodies_pass_through_whole_and_in_order)
{
	play_large((struct scene){ .items = 3, .slices = 1000 });
	play_large((struct scene){ .items = 5, .slices = 1 });
	play_large((struct scene){ .items = 2, .slices = 0 });
}

/* ---- several producers ---- */

struct crowd {
	struct scene scene;
	unsigned fed, met; /* slices fed, and what the other's item found of them */
	bool other_put;
};

static enum err feed_slowly(void *argument)
{
	struct crowd *crowd = argument;
	struct item item = { .kind = ITEM_MESSAGE, .no = 1, .size_bytes = 40 };
	struct slice slice;

	CHECK_OK(pipe_put(crowd->scene.pipe, &item, NULL, LATER));
	for (; crowd->fed < 10; crowd->fed++) {
		CHECK_OK(fiber_yield());
		CHECK(!crowd->other_put);
		if (CHECK_OK(filled_slice(&crowd->scene, crowd->fed, &slice)))
			CHECK_OK(pipe_body_feed(crowd->scene.pipe, slice, LATER));
	}
	pipe_body_end(crowd->scene.pipe, OK);
	return OK;
}

static enum err put_beside(void *argument)
{
	struct crowd *crowd = argument;
	struct item item = { .kind = ITEM_MESSAGE, .no = 2, .fate = ERR_IMAP_MSG_GONE };

	CHECK_OK(pipe_put(crowd->scene.pipe, &item, NULL, LATER));
	crowd->other_put = true;
	crowd->met = crowd->fed;
	pipe_end(crowd->scene.pipe, ERR_PIPE_ENDED);
	return OK;
}

static enum err consume_crowd(void *argument)
{
	struct crowd *crowd = argument;
	struct item *item;

	for (; pipe_next(crowd->scene.pipe, &item, LATER) == OK; crowd->scene.received++)
		CHECK_EQ(item->no, crowd->scene.received + 1);
	return OK;
}

/* Two producers and the consumer, each in a fiber, to their ends. */
static void play_crowd(struct crowd *crowd, fiber_main *first, fiber_main *second,
		       fiber_main *consumer)
{
	struct group *group = group_open();

	CHECK_OK(group_spawn(group, "first", FIBER_STACK_SMALL, first, crowd));
	CHECK_OK(group_spawn(group, "second", FIBER_STACK_SMALL, second, crowd));
	CHECK_OK(group_spawn(group, "consumer", FIBER_STACK_SMALL, consumer, crowd));
	CHECK_OK(group_join(&group));
}

/* What came in behind a body would hold the chunks that the body needs to come to its end. */
TEST_FIBER(another_producer_stays_outside_while_a_body_is_fed)
{
	struct crowd crowd = { .met = 0 };

	REQUIRE(scene_open(&crowd.scene));
	play_crowd(&crowd, feed_slowly, put_beside, consume_crowd);
	CHECK_EQ(crowd.met, 10);
	CHECK_EQ(crowd.scene.received, 2);
	scene_close(&crowd.scene);
}

static enum err end_badly(void *argument)
{
	struct crowd *crowd = argument;
	struct item item = { .kind = ITEM_MESSAGE, .no = 1, .size_bytes = 40 };

	CHECK_OK(pipe_put(crowd->scene.pipe, &item, NULL, LATER));
	pipe_body_end(crowd->scene.pipe, ERR_TLS_CUT);
	return OK;
}

/* Waits for the passage while the other body is in it, and goes on at once when that has ended. */
static enum err begin_behind(void *argument)
{
	struct crowd *crowd = argument;
	struct item item = { .kind = ITEM_MESSAGE, .no = 2, .size_bytes = 40 };

	CHECK_OK(pipe_put(crowd->scene.pipe, &item, NULL, LATER));
	pipe_body_end(crowd->scene.pipe, OK);
	pipe_end(crowd->scene.pipe, ERR_PIPE_ENDED);
	return OK;
}

static enum err tell_failures(void *argument)
{
	struct crowd *crowd = argument;
	struct iolist list = { .count = 0 };
	struct item *item;

	CHECK_OK(pipe_next(crowd->scene.pipe, &item, LATER));
	CHECK_OK(pipe_body_failure(crowd->scene.pipe));
	for (unsigned i = 0; i < 3; i++) /* the other has its turn, and waits */
		CHECK_OK(fiber_yield());
	CHECK_ERR(stream_pull(item->body, &list), ERR_TLS_CUT);
	CHECK_ERR(pipe_body_failure(crowd->scene.pipe), ERR_TLS_CUT);
	stream_close(&item->body); /* the passage is free */
	for (unsigned i = 0; i < 3; i++)
		CHECK_OK(fiber_yield());
	CHECK_ERR(pipe_body_failure(crowd->scene.pipe), ERR_TLS_CUT);
	CHECK_OK(pipe_next(crowd->scene.pipe, &item, LATER));
	CHECK_OK(pipe_body_failure(crowd->scene.pipe));
	CHECK_ERR(stream_pull(item->body, &list), ERR_STREAM_ENDED);
	CHECK_OK(pipe_body_failure(crowd->scene.pipe));
	return OK;
}

/* Else a run would take the source's lost connection for a failed destination. */
TEST_FIBER(why_a_body_ended_is_told_whatever_another_producer_does_meanwhile)
{
	struct crowd crowd = { .met = 0 };

	REQUIRE(scene_open(&crowd.scene));
	play_crowd(&crowd, end_badly, begin_behind, tell_failures);
	scene_close(&crowd.scene);
}

TEST_FIBER(a_body_on_its_way_is_told_from_a_pipe_that_stands_still)
{
	struct item large = { .kind = ITEM_MESSAGE, .no = 1, .size_bytes = 40 };
	struct item other = { .kind = ITEM_MESSAGE, .no = 2, .fate = ERR_IMAP_MSG_GONE };
	struct scene scene = { .items = 2 };
	struct slice slice;
	uint64_t moves;

	REQUIRE(scene_open(&scene));
	CHECK_OK(pipe_put(scene.pipe, &large, NULL, LATER));
	moves = pipe_moves(scene.pipe);
	CHECK_ERR(pipe_put(scene.pipe, &other, NULL, 0), ERR_FIBER_TIMEOUT);
	CHECK_EQ(pipe_moves(scene.pipe), moves);
	if (CHECK_OK(filled_slice(&scene, 1, &slice)))
		CHECK_OK(pipe_body_feed(scene.pipe, slice, LATER));
	CHECK_ERR(pipe_put(scene.pipe, &other, NULL, 0), ERR_FIBER_TIMEOUT);
	CHECK(pipe_moves(scene.pipe) != moves);
	pipe_body_end(scene.pipe, OK);
	CHECK_OK(pipe_put(scene.pipe, &other, NULL, 0));
	scene_close(&scene);
}

TEST_FIBER(an_error_inside_a_body_reaches_the_consumer_after_its_slices)
{
	play_large((struct scene){ .items = 2, .slices = 100, .body_error = ERR_STREAM_CUT });
	play_large((struct scene){ .items = 2, .slices = 0, .body_error = ERR_NET_RESET });
}

TEST_FIBER(a_body_closed_early_does_not_hold_up_the_producer)
{
	play_large((struct scene){ .items = 3, .slices = 500, .stop_after = 1 });
	play_large((struct scene){ .items = 3, .slices = 500, .stop_after = 100 });
}

static enum err consume_without_looking(void *argument)
{
	struct scene *scene = argument;
	struct item *item;

	while (!(scene->consumed = pipe_next(scene->pipe, &item, LATER)))
		CHECK_EQ(item->no, scene->received++);
	return OK;
}

TEST_FIBER(a_body_never_looked_at_is_dropped_with_its_item)
{
	struct scene scene = { .items = 4, .slices = 200 };

	REQUIRE(scene_open(&scene));
	scene_play(&scene, produce_large, consume_without_looking);
	CHECK_EQ(scene.received, 4);
	CHECK_EQ(scene.fed, 800);
	scene_close(&scene);
}

TEST_FIBER(a_large_body_holds_a_bounded_number_of_chunks)
{
	struct scene scene = { .items = 1, .slices = 500 };
	struct group *group = group_open();

	REQUIRE(scene_open(&scene));
	CHECK_OK(group_spawn(group, "producer", FIBER_STACK_SMALL, produce_large, &scene));
	for (int i = 0; i < 10; i++)
		CHECK_OK(fiber_yield());
	CHECK(scene.fed > 0 && scene.fed <= LANE_CHUNKS_RESERVED / 2);
	CHECK(arena_counts(arena_current()).in_use <= LANE_CHUNKS_RESERVED / 2 + 1);
	CHECK_OK(group_spawn(group, "consumer", FIBER_STACK_SMALL, consume_large, &scene));
	CHECK_OK(group_join(&group));
	CHECK_EQ(scene.received, 1);
	scene_close(&scene);
}

/* ---- called off ---- */

TEST_FIBER(every_wait_of_a_pipe_can_be_canceled)
{
	static const struct {
		fiber_main *end;
		bool consumer;
		unsigned items, slices;
	} rows[] = {
		{ produce_items, false, 2 * PIPE_ITEMS_MAX, 0 }, /* in pipe_put, the pipe full */
		{ produce_large, false, 2, 10 },  /* in pipe_put, the passage taken */
		{ produce_large, false, 1, 200 }, /* in pipe_body_feed */
		{ consume_items, true, 0, 0 },	  /* in pipe_next */
	};

	for (unsigned i = 0; i < ARRAY_COUNT(rows); i++) {
		struct scene scene = { .items = rows[i].items, .slices = rows[i].slices };
		struct group *group = group_open();

		REQUIRE(scene_open(&scene));
		CHECK_OK(group_spawn(group, "end", FIBER_STACK_SMALL, rows[i].end, &scene));
		for (int turn = 0; turn < 10; turn++)
			CHECK_OK(fiber_yield());
		group_cancel(group);
		CHECK_OK(group_join(&group));
		CHECK_ERR(rows[i].consumer ? scene.consumed : scene.produced, ERR_FIBER_CANCELED);
		scene_close(&scene);
	}
}

static enum err pull_one_body(void *argument)
{
	struct scene *scene = argument;
	struct iolist list = { .count = 0 };
	struct item *item;

	CHECK_OK(pipe_next(scene->pipe, &item, LATER));
	scene->consumed = stream_pull(item->body, &list);
	return OK;
}

TEST_FIBER(a_pull_that_waits_for_the_producer_can_be_canceled)
{
	struct scene scene = { .items = 1 };
	struct item item = { .kind = ITEM_MESSAGE };
	struct group *group = group_open();

	REQUIRE(scene_open(&scene));
	CHECK_OK(pipe_put(scene.pipe, &item, NULL, LATER));
	CHECK_OK(group_spawn(group, "consumer", FIBER_STACK_SMALL, pull_one_body, &scene));
	CHECK_OK(fiber_yield());
	group_cancel(group);
	CHECK_OK(group_join(&group));
	CHECK_ERR(scene.consumed, ERR_FIBER_CANCELED);
	pipe_body_end(scene.pipe, ERR_FIBER_CANCELED);
	pipe_end(scene.pipe, ERR_FIBER_CANCELED);
	scene_close(&scene);
}
