/* The bounded hand-over between a lane's read fibers (the producers: pipe_put, pipe_body_*,
 * pipe_end) and its write fiber (the consumer: pipe_next and the bodies). */
#include "engine/pipe.h"

#include <stdlib.h>

#include "engine/clock.h"
#include "engine/fiber.h"

enum {
	PIPE_MAGIC = 0x50495045,
	/* Slices of a large body between the two fibers; half of LANE_CHUNKS_RESERVED, so the
	 * producer always finds a chunk to go on with and the consumer one to work in. */
	PASSAGE_SLICES_MAX = 32,
};
_Static_assert(PASSAGE_SLICES_MAX <= LANE_CHUNKS_RESERVED / 2,
	       "a passage leaves chunks for both ends");

/* A body on its way: the producer feeds, the consumer pulls; free again when both are done. */
struct passage {
	struct stream base;
	struct slice slices[PASSAGE_SLICES_MAX]; /* a ring buffer */
	unsigned first, count;
	bool feeding, pulling;
	enum err ended_with; /* OK while feeding; then ERR_STREAM_ENDED or the producer's error */
	struct err_note note;
	struct wait_queue feeder, puller;
};

struct slot {
	struct item item;
	struct stream_list list;
};

struct pipe {
	uint32_t magic;
	struct slot slots[PIPE_ITEMS_MAX]; /* a ring buffer */
	unsigned first, count;		   /* the held one included */
	bool held;			   /* the consumer has slots[first] */
	enum err ended_with;		   /* OK: more may come */
	struct err_note note;
	struct passage passage;
	enum err body_failure; /* what the held item's body told the consumer in place of its end */
	uint64_t moves;
	struct wait_queue producer, consumer;
};

enum err pipe_open(struct pipe **out)
{
	struct pipe *pipe = calloc(1, sizeof *pipe);

	if (!pipe)
		return RAISE(ERR_MEMORY_EXHAUSTED, "opening a pipe of %d items", PIPE_ITEMS_MAX);
	pipe->magic = PIPE_MAGIC;
	*out = pipe;
	return OK;
}

unsigned pipe_items(const struct pipe *pipe)
{
	return pipe->count - pipe->held;
}

uint64_t pipe_moves(const struct pipe *pipe)
{
	return pipe->moves;
}

/* ---- the passage ---- */

static void passage_drop(struct passage *passage)
{
	for (; passage->count > 0; passage->count--) {
		chunk_unref(&passage->slices[passage->first].chunk);
		passage->first = (passage->first + 1) % PASSAGE_SLICES_MAX;
	}
}

/* Waits without a deadline of its own: the producer feeds or ends the passage before its own
 * deadline towards the source. */
static enum err passage_pull(struct stream *stream, struct iolist *out)
{
	struct passage *passage = CONTAINER_OF(stream, struct passage, base);
	struct pipe *pipe = CONTAINER_OF(passage, struct pipe, passage);
	enum err e;

	must(passage->pulling && out->count == 0);
	while (passage->count == 0) {
		if (passage->ended_with) {
			if (passage->ended_with != ERR_STREAM_ENDED)
				pipe->body_failure = passage->ended_with;
			err_note_inherit(&passage->note);
			return passage->ended_with;
		}
		if ((e = wait_on(&passage->puller, DEADLINE_NEVER)))
			return e;
	}
	while (passage->count > 0 && out->count < IOLIST_SLICES_MAX) {
		iolist_add(out, passage->slices[passage->first]);
		passage->first = (passage->first + 1) % PASSAGE_SLICES_MAX;
		passage->count--;
	}
	wake_one(&passage->feeder);
	return OK;
}

/* What is still fed after this is dropped, so the producer gets through to the message's end. */
static void passage_close(struct stream *stream)
{
	struct passage *passage = CONTAINER_OF(stream, struct passage, base);
	struct pipe *pipe = CONTAINER_OF(passage, struct pipe, passage);

	must(passage->pulling);
	passage->pulling = false;
	passage_drop(passage);
	wake_one(&passage->feeder);
	wake_all(&pipe->producer);
}

static const struct stream_type passage_type = { .pull = passage_pull, .close = passage_close };

static struct stream *passage_open(struct passage *passage)
{
	must(!passage->feeding && !passage->pulling && passage->count == 0);
	passage->base.type = &passage_type;
	passage->feeding = passage->pulling = true;
	passage->ended_with = OK;
	passage->note.error = OK;
	return &passage->base;
}

enum err pipe_body_feed(struct pipe *pipe, struct slice slice, nsec until)
{
	struct passage *passage = &pipe->passage;
	unsigned last;
	enum err e = OK;

	MAGIC_CHECK(pipe, PIPE_MAGIC);
	must(passage->feeding && slice.chunk && slice.length > 0);
	while (passage->pulling && passage->count == PASSAGE_SLICES_MAX && !e)
		e = wait_on(&passage->feeder, until);
	if (e)
		return e;
	pipe->moves++;
	if (!passage->pulling) {
		chunk_unref(&slice.chunk);
		return OK;
	}
	last = (passage->first + passage->count++) % PASSAGE_SLICES_MAX;
	passage->slices[last] = slice;
	wake_one(&passage->puller);
	return OK;
}

void pipe_body_end(struct pipe *pipe, enum err e)
{
	struct passage *passage = &pipe->passage;

	MAGIC_CHECK(pipe, PIPE_MAGIC);
	must(passage->feeding);
	must(e != ERR_STREAM_ENDED); /* the way to say that is OK */
	passage->feeding = false;
	passage->ended_with = e ? e : ERR_STREAM_ENDED;
	if (e)
		passage->note = *err_note();
	wake_one(&passage->puller);
	wake_all(&pipe->producer);
}

/* ---- items ---- */

static bool wants_passage(const struct item *item, const struct iolist *staged)
{
	return item->kind == ITEM_MESSAGE && item->fate == OK && !staged && !item->body;
}

/* While one producer feeds a body, the others stay outside: what they put behind it would hold the
 * chunks that it needs to come to its end. */
static bool has_room(const struct pipe *pipe, bool passage)
{
	return pipe->count < PIPE_ITEMS_MAX && !pipe->passage.feeding &&
	       !(passage && pipe->passage.pulling);
}

enum err pipe_put(struct pipe *pipe, struct item *item, struct iolist *staged, nsec until)
{
	bool passage = wants_passage(item, staged);
	struct slot *slot;
	enum err e = OK;

	MAGIC_CHECK(pipe, PIPE_MAGIC);
	must(!pipe->ended_with);
	must(!(staged && item->body) && (item->fate == OK || (!staged && !item->body)));
	while (!has_room(pipe, passage) && !e)
		e = wait_on(&pipe->producer, until);
	if (e)
		return e;
	slot = &pipe->slots[(pipe->first + pipe->count++) % PIPE_ITEMS_MAX];
	slot->item = *item;
	if (staged)
		slot->item.body = stream_list_open(&slot->list, staged);
	else if (passage)
		slot->item.body = passage_open(&pipe->passage);
	item->body = NULL;
	wake_one(&pipe->consumer);
	return OK;
}

void pipe_end(struct pipe *pipe, enum err e)
{
	MAGIC_CHECK(pipe, PIPE_MAGIC);
	must(e != OK && !pipe->ended_with);
	must(e != ERR_PIPE_ENDED || !pipe->passage.feeding); /* half a message is no good end */
	if (pipe->passage.feeding)
		pipe_body_end(pipe, e);
	pipe->ended_with = e;
	if (e != ERR_PIPE_ENDED)
		pipe->note = *err_note();
	wake_one(&pipe->consumer);
}

/* Let go of the oldest item, held or not. */
static void pop(struct pipe *pipe)
{
	must(pipe->count > 0);
	stream_close(&pipe->slots[pipe->first].item.body);
	pipe->first = (pipe->first + 1) % PIPE_ITEMS_MAX;
	pipe->count--;
	pipe->moves++;
	pipe->held = false;
	wake_all(&pipe->producer); /* one of them may wait for the passage, not for a slot */
}

enum err pipe_next(struct pipe *pipe, struct item **out, nsec until)
{
	enum err e;

	MAGIC_CHECK(pipe, PIPE_MAGIC);
	if (pipe->held)
		pop(pipe);
	while (pipe->count == 0) {
		if (pipe->ended_with) {
			err_note_inherit(&pipe->note);
			return pipe->ended_with;
		}
		if ((e = wait_on(&pipe->consumer, until)))
			return e;
	}
	pipe->held = true;
	pipe->body_failure = OK;
	*out = &pipe->slots[pipe->first].item;
	return OK;
}

enum err pipe_body_failure(const struct pipe *pipe)
{
	return pipe->body_failure;
}

void pipe_close(struct pipe **pipe_at)
{
	struct pipe *pipe = *pipe_at;

	if (!pipe)
		return;
	MAGIC_CHECK(pipe, PIPE_MAGIC);
	must(!pipe->producer.first && !pipe->consumer.first);
	must(!pipe->passage.feeder.first && !pipe->passage.puller.first);
	while (pipe->count > 0)
		pop(pipe);
	must(pipe->passage.count == 0);
	pipe->magic = 0;
	free(pipe);
	*pipe_at = NULL;
}
