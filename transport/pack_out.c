/* See pack_out.h. Compressing costs more than everything else on a message's way, so it is done
 * beside the shard: a frame is filled while offload threads compress those before it, which are
 * stored in their order. Small messages share a frame: against one each, 10,000 messages of 16 kB
 * took a sixth less time and a tenth fewer bytes (zstd 1: code tables and headers told once).
 * Digesting follows behind in long aligned spans, while the bytes are still in the cache: BLAKE3
 * costs twice as much in many small updates. */
#include "transport/pack_out.h"

#include <stdlib.h>

#include "crypto/digest.h"
#include "crypto/zstd_stage.h"
#include "engine/budget.h"
#include "engine/clock.h"
#include "engine/fiber.h"
#include "engine/limits.h"
#include "engine/offload.h"

enum {
	/* Digest behind the writer in steps of this, while it is in the second-level cache. */
	FEED_BYTES = 128 * 1024,
	/* Longest stretch of gathering or storing before others get the core. */
	BREATHE_BYTES = 256 * 1024,
	TABLE_ENTRY_BYTES = 8,
};
_Static_assert((int)FRAME_BYTES <= (int)ZSTD_FRAME_BYTES_MAX, "readers bear our frames");
_Static_assert(FRAMES_OF_MANY > 1, "one is filled while another is compressed");

/* A frame that is being filled, or on its way through the compressor. While a job works on it, it
 * is the job's. */
struct frame {
	struct zstd_stage *zstd;
	struct offload_act *act; /* NULL: no job */
	uint8_t *plain, *packed; /* the budget's frame_bytes, packed_room() */
	size_t held;		 /* of the budget */
	size_t plain_bytes, packed_bytes;
};

struct pack_out {
	struct store *store;
	struct tap *tap, *tap_marked;
	int zstd_level; /* 0: no frames */
	struct store_put *put;
	uint64_t plain_bytes, stored_bytes;
	uint64_t plain_stored; /* of plain_bytes: in frames that were stored */
	size_t unfed;	       /* last bytes in the store's buffer, not digested yet */
	size_t worked;	       /* since the last yield */
	/* A ring: `leaving` frames from `first` on are in jobs, oldest first; the next is filled.
	 * They are made when they are first needed. */
	struct frame *frames[FRAMES_MAX];
	unsigned first, leaving;
	size_t whole_bytes; /* of the filled frame: members that are complete */
	struct buffer table;
	/* The mark: so many frames in jobs lie before it; what it keeps of the store is taken when
	 * the last of them is stored. */
	bool mark_waits;
	unsigned before_mark;
	uint64_t plain_marked, stored_marked;
	size_t table_marked;
};

static void frame_close(struct frame **frame_at)
{
	struct frame *frame = *frame_at;

	*frame_at = NULL;
	if (!frame)
		return;
	zstd_stage_close(&frame->zstd);
	free(frame->plain);
	free(frame->packed);
	budget_hold(BUDGET_FRAMES, &frame->held, 0);
	free(frame);
}

void pack_out_close(struct pack_out **out_at)
{
	struct pack_out *out = *out_at;

	*out_at = NULL;
	if (!out)
		return;
	pack_out_abort(out);
	for (unsigned i = 0; i < FRAMES_MAX; i++)
		frame_close(&out->frames[i]);
	if (out->tap_marked)
		out->tap_marked->type->close(&out->tap_marked);
	buffer_free(&out->table);
	free(out);
}

/* The most that one frame holds. */
static size_t frame_most(void)
{
	return budget()->frame_bytes;
}

static size_t packed_room(void)
{
	return zstd_stage_bound(frame_most());
}

static enum err frame_make(int zstd_level, struct frame **frame_at)
{
	struct frame *frame = calloc(1, sizeof *frame);
	enum err e;

	*frame_at = frame;
	if (frame) {
		frame->plain = malloc(frame_most());
		frame->packed = malloc(packed_room());
		budget_hold(BUDGET_FRAMES, &frame->held,
			    sizeof *frame + frame_most() + packed_room());
	}
	if (frame && frame->plain && frame->packed)
		e = zstd_stage_open(zstd_level, &frame->zstd);
	else
		e = RAISE(ERR_MEMORY_EXHAUSTED, "opening a pack");
	if (e)
		frame_close(frame_at);
	return e;
}

enum err pack_out_open(struct store *store, struct tap *digest_of_store, int zstd_level,
		       struct pack_out **out_at)
{
	struct pack_out *out = calloc(1, sizeof *out);
	enum err e;

	*out_at = out;
	if (!out)
		return RAISE(ERR_MEMORY_EXHAUSTED, "opening a pack");
	out->store = store;
	out->tap = digest_of_store;
	out->zstd_level = zstd_level;
	if ((e = digest_open(out->tap->type, &out->tap_marked)))
		pack_out_close(out_at);
	return e;
}

bool pack_out_is_begun(const struct pack_out *out)
{
	return out->put != NULL;
}

/* The frame `ahead` places behind the oldest in a job. */
static struct frame **frame_at(struct pack_out *out, unsigned ahead)
{
	return &out->frames[(out->first + ahead) % FRAMES_MAX];
}

static struct frame *frame_filling(struct pack_out *out)
{
	return *frame_at(out, out->leaving);
}

/* There is a frame to be filled: one that is free, else a new one. */
static enum err frame_provide(struct pack_out *out)
{
	struct frame **filling = frame_at(out, out->leaving), **free_one;

	must(out->leaving < FRAMES_MAX);
	for (unsigned ahead = out->leaving + 1; !*filling && ahead < FRAMES_MAX; ahead++) {
		free_one = frame_at(out, ahead);
		*filling = *free_one;
		*free_one = NULL;
	}
	return *filling ? OK : frame_make(out->zstd_level, filling);
}

/* Forget what was gathered or compressed and is not stored. */
static void frames_empty(struct pack_out *out)
{
	must(out->leaving == 0);
	out->whole_bytes = 0;
	for (unsigned i = 0; i < FRAMES_MAX; i++)
		if (out->frames[i])
			out->frames[i]->plain_bytes = 0;
}

enum err pack_out_begin(struct pack_out *out, const char *key)
{
	enum err e;

	must(!out->put);
	if (out->zstd_level > 0 && (e = frame_provide(out)))
		return e;
	out->plain_bytes = out->stored_bytes = out->plain_stored = 0;
	out->unfed = 0;
	out->mark_waits = false;
	frames_empty(out);
	buffer_reset(&out->table);
	out->tap->type->begin(out->tap);
	return out->store->type->put_open(out->store, key, &out->put);
}

/* Frames in jobs go with them: threads may be in the middle of them, and this does not suspend. */
void pack_out_abort(struct pack_out *out)
{
	for (; out->leaving > 0; out->leaving--) {
		struct frame **frame = frame_at(out, out->leaving - 1);
		struct offload_act *act = (*frame)->act;

		*frame = NULL;
		offload_abandon(&act);
	}
	out->store->type->put_abort(&out->put);
}

uint64_t pack_out_plain_bytes(const struct pack_out *out)
{
	return out->plain_bytes;
}

/* What is on its way shrinks as what went before did; with nothing to go by, not at all. */
uint64_t pack_out_expected_bytes(const struct pack_out *out)
{
	uint64_t coming = out->zstd_level ? out->plain_bytes - out->plain_stored : 0;
	double shrinks =
		out->plain_stored ? (double)out->stored_bytes / (double)out->plain_stored : 1;

	return out->stored_bytes + (uint64_t)((double)coming * shrinks);
}

enum err pack_out_breathe(struct pack_out *out)
{
	if (out->worked < BREATHE_BYTES)
		return OK;
	out->worked = 0;
	return fiber_yield();
}

/* ---- into the store ---- */

/* n bytes were written at `at`, the store's room of `room` bytes. They are digested before the
 * store takes the buffer away, else when enough came together. */
static enum err stored(struct pack_out *out, const uint8_t *at, size_t n, size_t room)
{
	size_t feed;

	out->stored_bytes += n;
	out->unfed += n;
	feed = n == room ? out->unfed : out->unfed - out->unfed % FEED_BYTES;
	if (feed > 0)
		out->tap->type->update(out->tap, at + n - out->unfed, feed);
	out->unfed -= feed;
	return out->store->type->put_took(out->put, n);
}

static void feed_all(struct pack_out *out)
{
	size_t room;
	const uint8_t *end;

	if (out->unfed == 0)
		return;
	end = out->store->type->put_room(out->put, &room);
	out->tap->type->update(out->tap, end - out->unfed, out->unfed);
	out->unfed = 0;
}

static enum err store_bytes(struct pack_out *out, const void *from, size_t n)
{
	const uint8_t *at = from;
	uint8_t *to;
	size_t room, take;
	enum err e = OK;

	while (n > 0 && !e) {
		to = out->store->type->put_room(out->put, &room);
		take = min_u64(n, room);
		bytes_copy(to, at, take, BYTES_STORE);
		at += take;
		n -= take;
		e = stored(out, to, take, room);
	}
	return e;
}

/* ---- frames ---- */

static void table_add(struct pack_out *out, size_t stored_bytes, size_t plain_bytes)
{
	uint8_t entry[TABLE_ENTRY_BYTES];

	bytes_put_le32(entry, (uint32_t)stored_bytes);
	bytes_put_le32(entry + 4, (uint32_t)plain_bytes);
	buffer_add(&out->table, entry, sizeof entry);
}

/* On an offload thread. */
static enum err frame_compress(void *argument)
{
	struct frame *frame = *(struct frame **)argument;

	return zstd_stage_frame(frame->zstd, frame->plain, frame->plain_bytes, frame->packed,
				packed_room(), &frame->packed_bytes);
}

/* On any thread. */
static void frame_drop(void *argument)
{
	frame_close(argument);
}

/* Have the filled frame compressed; a free one is filled next. */
static enum err frame_start(struct pack_out *out)
{
	struct frame *frame = frame_filling(out);
	const struct offload_job job = { .name = "zstd",
					 .run = frame_compress,
					 .drop = frame_drop,
					 .argument = &frame,
					 .argument_bytes = sizeof frame };
	enum err e;

	must(!frame->act && out->leaving < FRAMES_MAX);
	if ((e = offload_start(&job, &frame->act)) == OK)
		out->leaving++;
	return e;
}

/* Have the oldest frame back that is being compressed. A few milliseconds, so a cancel may wait for
 * it: then no frame is lost to a job. There is no deadline, for a process may be stopped for hours.
 */
static enum err frame_wait(struct pack_out *out, struct frame **frame)
{
	struct frame *back = NULL;
	enum err e;

	*frame = *frame_at(out, 0);
	must(out->leaving > 0 && (*frame)->act);
	fiber_shield();
	e = offload_wait(&(*frame)->act, &back, DEADLINE_NEVER);
	fiber_unshield();
	must(back == *frame);
	out->first = (out->first + 1) % FRAMES_MAX;
	out->leaving--;
	return e;
}

/* All before the mark is stored, and nothing behind it. */
static enum err mark_take(struct pack_out *out)
{
	uint64_t bytes;
	enum err e;

	out->mark_waits = false;
	feed_all(out);
	digest_copy(out->tap_marked, out->tap);
	out->stored_marked = out->stored_bytes;
	out->table_marked = out->table.bytes;
	e = out->store->type->put_mark(out->put, &bytes);
	must(e || bytes == out->stored_bytes);
	return e;
}

static enum err frame_store(struct pack_out *out)
{
	struct frame *frame;
	enum err e;

	if ((e = frame_wait(out, &frame)))
		return e;
	table_add(out, frame->packed_bytes, frame->plain_bytes);
	out->plain_stored += frame->plain_bytes;
	frame->plain_bytes = 0;
	if ((e = store_bytes(out, frame->packed, frame->packed_bytes)))
		return e;
	return out->mark_waits && --out->before_mark == 0 ? mark_take(out) : OK;
}

/* The filled frame ends at `end` and is compressed beside us; what lies behind begins the next.
 * Where as many as are allowed are on their way, the oldest is waited for and stored. */
static enum err frame_end(struct pack_out *out, size_t end)
{
	struct frame *full = frame_filling(out);
	size_t rest = full->plain_bytes - end;
	enum err e;

	must(end > 0 && end <= full->plain_bytes);
	full->plain_bytes = end;
	out->whole_bytes = 0;
	if ((e = frame_start(out)))
		return e;
	while (out->leaving >= budget()->frames)
		if ((e = frame_store(out)))
			return e;
	if ((e = frame_provide(out)))
		return e;
	bytes_copy(frame_filling(out)->plain, full->plain + end, rest, BYTES_FRAME);
	frame_filling(out)->plain_bytes = rest;
	return OK;
}

/* A frame that is full ends where its last whole member does; else it holds a part of one. */
static enum err frame_full(struct pack_out *out)
{
	enum err e = frame_end(out, out->whole_bytes ? out->whole_bytes : frame_most());

	return e ? e : pack_out_breathe(out);
}

enum err pack_out_add(struct pack_out *out, const void *from, size_t n)
{
	const uint8_t *at = from;
	struct frame *frame;
	size_t take;
	enum err e = OK;

	must(out->put != NULL);
	out->plain_bytes += n;
	out->worked += n;
	if (out->zstd_level == 0)
		return store_bytes(out, from, n);
	while (n > 0 && !e) {
		frame = frame_filling(out);
		take = min_u64(n, frame_most() - frame->plain_bytes);
		if (take == 0) {
			e = frame_full(out);
			continue;
		}
		bytes_copy(frame->plain + frame->plain_bytes, at, take, BYTES_FRAME);
		frame->plain_bytes += take;
		at += take;
		n -= take;
	}
	return e;
}

void pack_out_member_end(struct pack_out *out)
{
	if (out->zstd_level > 0)
		out->whole_bytes = frame_filling(out)->plain_bytes;
}

enum err pack_out_cut(struct pack_out *out)
{
	size_t open_bytes = out->zstd_level > 0 ? frame_filling(out)->plain_bytes : 0;

	return open_bytes > 0 ? frame_end(out, open_bytes) : OK;
}

/* ---- taking back ---- */

enum err pack_out_mark(struct pack_out *out)
{
	enum err e = pack_out_cut(out);

	/* An older mark, if it still waits, is of no use any more. */
	out->mark_waits = true;
	out->before_mark = out->leaving;
	out->plain_marked = out->plain_bytes;
	return e || out->leaving > 0 ? e : mark_take(out);
}

enum err pack_out_rewind(struct pack_out *out)
{
	struct frame *frame;
	enum err e = OK;

	while (out->mark_waits && !e)
		e = frame_store(out);
	while (out->leaving > 0 && !e)
		e = frame_wait(out, &frame);
	if (e)
		return e;
	digest_copy(out->tap, out->tap_marked);
	out->plain_bytes = out->plain_stored = out->plain_marked;
	out->stored_bytes = out->stored_marked;
	out->table.bytes = out->table_marked;
	frames_empty(out);
	out->unfed = 0;
	return out->store->type->put_rewind(out->put, out->stored_marked);
}

/* ---- the end ---- */

static enum err write_table(struct pack_out *out)
{
	uint8_t head[8], foot[9];
	uint32_t frames = (uint32_t)(out->table.bytes / TABLE_ENTRY_BYTES);
	enum err e;

	if (out->table.failed)
		return RAISE(ERR_MEMORY_EXHAUSTED, "keeping a seek table of %u frames", frames);
	bytes_put_le32(head, 0x184D2A5E);
	bytes_put_le32(head + 4, (uint32_t)(out->table.bytes + sizeof foot));
	bytes_put_le32(foot, frames);
	foot[4] = 0;
	bytes_put_le32(foot + 5, 0x8F92EAB1);
	if ((e = store_bytes(out, head, sizeof head)) ||
	    (e = store_bytes(out, out->table.at, out->table.bytes)))
		return e;
	return store_bytes(out, foot, sizeof foot);
}

enum err pack_out_end(struct pack_out *out, struct store_put **put, uint64_t *stored_bytes,
		      struct digest *digest)
{
	enum err e;

	must(out->put != NULL);
	e = pack_out_cut(out);
	while (out->leaving > 0 && !e)
		e = frame_store(out);
	if (e || (out->zstd_level > 0 && (e = write_table(out))))
		return e;
	feed_all(out);
	out->tap->type->end(out->tap, digest);
	*stored_bytes = out->stored_bytes;
	*put = out->put;
	out->put = NULL;
	return OK;
}
