/* See pack_out.h. Compressing costs more than everything else on a message's way, so it is done
 * beside the shard: frames are gathered into one batch while offload threads compress those before
 * it, which are stored in their order. Digesting follows behind in long aligned spans, while the
 * bytes are still in the cache: BLAKE3 costs twice as much in many small updates. */
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

/* Frames on their way through the compressor, one after another in both buffers. While a job works
 * on a batch it is the job's. */
struct batch {
	struct zstd_stage *zstd;
	struct offload_act *act; /* NULL: no job */
	uint8_t *plain, *packed; /* the budget's frame_bytes, batch_room() */
	size_t held;		 /* of the budget */
	uint32_t plain_bytes[BATCH_FRAMES_MAX], packed_bytes[BATCH_FRAMES_MAX];
	unsigned count;
	size_t closed_bytes; /* of `plain`: whole frames */
};

struct pack_out {
	struct store *store;
	struct tap *tap, *tap_marked;
	int zstd_level; /* 0: neither frames nor batches */
	struct store_put *put;
	uint64_t plain_bytes, stored_bytes;
	uint64_t plain_stored; /* of plain_bytes: in frames that were stored */
	size_t unfed;	       /* last bytes in the store's buffer, not digested yet */
	size_t worked;	       /* since the last yield */
	/* A ring: `leaving` batches from `first` on are in jobs, oldest first; the next is filled.
	 * They are made when they are first needed. */
	struct batch *batches[BATCHES_MAX];
	unsigned first, leaving;
	size_t frame_bytes; /* of the filled batch's `plain` behind the closed ones: open frame */
	struct buffer table;
	uint64_t plain_marked, stored_marked;
	size_t table_marked;
};

static void batch_close(struct batch **batch_at)
{
	struct batch *batch = *batch_at;

	*batch_at = NULL;
	if (!batch)
		return;
	zstd_stage_close(&batch->zstd);
	free(batch->plain);
	free(batch->packed);
	budget_hold(BUDGET_BATCHES, &batch->held, 0);
	free(batch);
}

void pack_out_close(struct pack_out **out_at)
{
	struct pack_out *out = *out_at;

	*out_at = NULL;
	if (!out)
		return;
	pack_out_abort(out);
	for (unsigned i = 0; i < BATCHES_MAX; i++)
		batch_close(&out->batches[i]);
	if (out->tap_marked)
		out->tap_marked->type->close(&out->tap_marked);
	buffer_free(&out->table);
	free(out);
}

/* Longest stretch of one frame, and what a batch holds. */
static size_t frame_most(void)
{
	return budget()->frame_bytes;
}

static size_t batch_room(void)
{
	return zstd_stage_bound(frame_most()) + (size_t)BATCH_FRAMES_MAX * FRAME_OVERHEAD_BYTES;
}

/* A batch goes out when this much is gathered: some 1 ms of compressing, beside which the hand-over
 * to the other thread costs little, and few enough bytes to stay in its cache. A quarter of the
 * room is left: then most messages still fit whole. */
static size_t batch_enough(void)
{
	return frame_most() / 4 * 3;
}

static enum err batch_open(int zstd_level, struct batch **batch_at)
{
	struct batch *batch = calloc(1, sizeof *batch);
	enum err e;

	*batch_at = batch;
	if (batch) {
		batch->plain = malloc(frame_most());
		batch->packed = malloc(batch_room());
		budget_hold(BUDGET_BATCHES, &batch->held,
			    sizeof *batch + frame_most() + batch_room());
	}
	if (batch && batch->plain && batch->packed)
		e = zstd_stage_open(zstd_level, &batch->zstd);
	else
		e = RAISE(ERR_MEMORY_EXHAUSTED, "opening a pack");
	if (e)
		batch_close(batch_at);
	return e;
}

static void batch_empty(struct batch *batch)
{
	batch->count = 0;
	batch->closed_bytes = 0;
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

/* The batch `ahead` places behind the oldest in a job. */
static struct batch **batch_at(struct pack_out *out, unsigned ahead)
{
	return &out->batches[(out->first + ahead) % BATCHES_MAX];
}

static struct batch *batch_filling(struct pack_out *out)
{
	return *batch_at(out, out->leaving);
}

/* There is a batch to be filled: one that is free, else a new one. */
static enum err batch_provide(struct pack_out *out)
{
	struct batch **filling = batch_at(out, out->leaving), **free_one;

	must(out->leaving < BATCHES_MAX);
	for (unsigned ahead = out->leaving + 1; !*filling && ahead < BATCHES_MAX; ahead++) {
		free_one = batch_at(out, ahead);
		*filling = *free_one;
		*free_one = NULL;
	}
	return *filling ? OK : batch_open(out->zstd_level, filling);
}

/* Forget what was gathered or compressed and is not stored. */
static void frames_empty(struct pack_out *out)
{
	must(out->leaving == 0);
	out->frame_bytes = 0;
	for (unsigned i = 0; i < BATCHES_MAX; i++)
		if (out->batches[i])
			batch_empty(out->batches[i]);
}

enum err pack_out_begin(struct pack_out *out, const char *key)
{
	enum err e;

	must(!out->put);
	if (out->zstd_level > 0 && (e = batch_provide(out)))
		return e;
	out->plain_bytes = out->stored_bytes = out->plain_stored = 0;
	out->unfed = 0;
	frames_empty(out);
	buffer_reset(&out->table);
	out->tap->type->begin(out->tap);
	return out->store->type->put_open(out->store, key, &out->put);
}

/* Batches in jobs go with them: threads may be in the middle of them, and this does not suspend. */
void pack_out_abort(struct pack_out *out)
{
	for (; out->leaving > 0; out->leaving--) {
		struct batch **batch = batch_at(out, out->leaving - 1);
		struct offload_act *act = (*batch)->act;

		*batch = NULL;
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
static enum err batch_compress(void *argument)
{
	struct batch *batch = *(struct batch **)argument;
	size_t from = 0, to = 0, n = 0;
	enum err e = OK;

	for (unsigned i = 0; i < batch->count && !e; i++) {
		e = zstd_stage_frame(batch->zstd, batch->plain + from, batch->plain_bytes[i],
				     batch->packed + to, batch_room() - to, &n);
		from += batch->plain_bytes[i];
		to += n;
		batch->packed_bytes[i] = (uint32_t)n;
	}
	return e;
}

/* On any thread. */
static void batch_drop(void *argument)
{
	batch_close(argument);
}

/* Have the closed frames compressed; a free batch is filled next. */
static enum err batch_start(struct pack_out *out)
{
	struct batch *batch = batch_filling(out);
	const struct offload_job job = { .name = "zstd",
					 .run = batch_compress,
					 .drop = batch_drop,
					 .argument = &batch,
					 .argument_bytes = sizeof batch };
	enum err e;

	must(!batch->act && out->leaving < BATCHES_MAX);
	if ((e = offload_start(&job, &batch->act)) == OK)
		out->leaving++;
	return e;
}

/* Have the oldest batch back that is being compressed. A few milliseconds, so a cancel may wait for
 * it: then no batch is lost to a job. There is no deadline, for a process may be stopped for hours.
 */
static enum err batch_wait(struct pack_out *out, struct batch **batch)
{
	struct batch *back = NULL;
	enum err e;

	*batch = *batch_at(out, 0);
	must(out->leaving > 0 && (*batch)->act);
	fiber_shield();
	e = offload_wait(&(*batch)->act, &back, DEADLINE_NEVER);
	fiber_unshield();
	must(back == *batch);
	out->first = (out->first + 1) % BATCHES_MAX;
	out->leaving--;
	return e;
}

static enum err batch_store(struct pack_out *out)
{
	struct batch *batch;
	size_t packed = 0;
	enum err e;

	if ((e = batch_wait(out, &batch)))
		return e;
	for (unsigned i = 0; i < batch->count; i++) {
		table_add(out, batch->packed_bytes[i], batch->plain_bytes[i]);
		packed += batch->packed_bytes[i];
		out->plain_stored += batch->plain_bytes[i];
	}
	batch_empty(batch);
	return store_bytes(out, batch->packed, packed);
}

/* The closed frames are compressed beside us, and another batch is filled; the open frame moves
 * there. Where none is free, the oldest is waited for and stored. */
static enum err batch_flush(struct pack_out *out)
{
	struct batch *full = batch_filling(out);
	unsigned allowed = budget()->batches;
	enum err e;

	if (full->count == 0)
		return OK;
	if ((e = batch_start(out)))
		return e;
	while (out->leaving >= allowed)
		if ((e = batch_store(out)))
			return e;
	if ((e = batch_provide(out)))
		return e;
	bytes_move(batch_filling(out)->plain, full->plain + full->closed_bytes, out->frame_bytes);
	return OK;
}

/* Every closed frame is stored on return. */
static enum err batch_drain(struct pack_out *out)
{
	enum err e;

	if (out->zstd_level == 0)
		return OK;
	must(out->frame_bytes == 0);
	e = batch_flush(out);
	while (out->leaving > 0 && !e)
		e = batch_store(out);
	return e;
}

static enum err frame_end(struct pack_out *out)
{
	struct batch *batch = batch_filling(out);

	must(out->frame_bytes > 0 && batch->count < BATCH_FRAMES_MAX);
	batch->plain_bytes[batch->count++] = (uint32_t)out->frame_bytes;
	batch->closed_bytes += out->frame_bytes;
	out->frame_bytes = 0;
	if (batch->closed_bytes >= batch_enough() || batch->count == BATCH_FRAMES_MAX)
		return batch_flush(out);
	return OK;
}

/* Where the open frame goes on. */
static uint8_t *frame_room(struct pack_out *out, size_t *room)
{
	struct batch *batch = batch_filling(out);
	size_t used = batch->closed_bytes + out->frame_bytes;

	must(used <= frame_most());
	*room = frame_most() - used;
	return batch->plain + used;
}

enum err pack_out_add(struct pack_out *out, const void *from, size_t n)
{
	const uint8_t *at = from;
	size_t room, take;
	uint8_t *to;
	enum err e = OK;

	must(out->put != NULL);
	out->plain_bytes += n;
	out->worked += n;
	if (out->zstd_level == 0)
		return store_bytes(out, from, n);
	while (n > 0 && !e) {
		if (out->frame_bytes == frame_most() && (e = frame_end(out)))
			break;
		if (out->frame_bytes == 0 && (e = pack_out_breathe(out)))
			break;
		to = frame_room(out, &room);
		if (room == 0) {
			e = batch_flush(out);
			continue;
		}
		take = min_u64(n, room);
		bytes_copy(to, at, take, BYTES_FRAME);
		out->frame_bytes += take;
		at += take;
		n -= take;
	}
	return e;
}

enum err pack_out_cut(struct pack_out *out)
{
	return out->frame_bytes > 0 ? frame_end(out) : OK;
}

/* ---- taking back ---- */

enum err pack_out_mark(struct pack_out *out)
{
	uint64_t bytes;
	enum err e;

	must(out->frame_bytes == 0);
	if ((e = batch_drain(out)))
		return e;
	feed_all(out);
	digest_copy(out->tap_marked, out->tap);
	out->plain_marked = out->plain_bytes;
	out->stored_marked = out->stored_bytes;
	out->table_marked = out->table.bytes;
	e = out->store->type->put_mark(out->put, &bytes);
	must(e || bytes == out->stored_bytes);
	return e;
}

enum err pack_out_rewind(struct pack_out *out)
{
	struct batch *batch;
	enum err e = OK;

	while (out->leaving > 0)
		if ((e = batch_wait(out, &batch)))
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

	must(out->put && out->frame_bytes == 0);
	if (out->zstd_level && ((e = batch_drain(out)) || (e = write_table(out))))
		return e;
	feed_all(out);
	out->tap->type->end(out->tap, digest);
	*stored_bytes = out->stored_bytes;
	*put = out->put;
	out->put = NULL;
	return OK;
}
