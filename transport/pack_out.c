/* See pack_out.h. Compressing goes straight into the store's buffer where a whole frame fits;
 * digesting follows behind in long aligned spans, while the bytes are still in the cache: BLAKE3
 * costs twice as much in many small updates. */
#include "transport/pack_out.h"

#include <stdlib.h>

#include "crypto/digest.h"
#include "crypto/zstd_stage.h"
#include "engine/fiber.h"

enum {
	/* Digest behind the writer in steps of this, while it is in the second-level cache. */
	FEED_BYTES = 128 * 1024,
	/* About 2 ms of compressing: longest time we keep the core. */
	BREATHE_BYTES = 256 * 1024,
	TABLE_ENTRY_BYTES = 8,
};

struct pack_out {
	struct store *store;
	struct tap *tap, *tap_marked;
	struct zstd_stage *zstd; /* NULL: off */
	struct store_put *put;
	uint64_t plain_bytes, stored_bytes;
	size_t unfed;	/* last bytes in the store's buffer, not digested yet */
	size_t worked;	/* since the last yield */
	uint8_t *frame; /* the open frame's bytes */
	size_t frame_bytes;
	uint8_t *scratch; /* a frame that does not fit the store's buffer */
	size_t scratch_room;
	struct buffer table;
	uint64_t plain_marked, stored_marked;
	size_t table_marked;
};

void pack_out_close(struct pack_out **out_at)
{
	struct pack_out *out = *out_at;

	*out_at = NULL;
	if (!out)
		return;
	pack_out_abort(out);
	zstd_stage_close(&out->zstd);
	if (out->tap_marked)
		out->tap_marked->type->close(&out->tap_marked);
	buffer_free(&out->table);
	free(out->frame);
	free(out->scratch);
	free(out);
}

static enum err frames_open(struct pack_out *out, int zstd_level)
{
	enum err e;

	if (zstd_level == 0)
		return OK;
	if ((e = zstd_stage_open(zstd_level, &out->zstd)))
		return e;
	out->frame = malloc(ZSTD_FRAME_BYTES_MAX);
	out->scratch_room = zstd_stage_bound(ZSTD_FRAME_BYTES_MAX);
	out->scratch = malloc(out->scratch_room);
	return out->frame && out->scratch ? OK : RAISE(ERR_MEMORY_EXHAUSTED, "opening a pack");
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
	e = digest_open(out->tap->type, &out->tap_marked);
	if (!e)
		e = frames_open(out, zstd_level);
	if (e)
		pack_out_close(out_at);
	return e;
}

bool pack_out_is_begun(const struct pack_out *out)
{
	return out->put != NULL;
}

enum err pack_out_begin(struct pack_out *out, const char *key)
{
	must(!out->put);
	out->plain_bytes = out->stored_bytes = 0;
	out->unfed = out->frame_bytes = 0;
	buffer_reset(&out->table);
	out->tap->type->begin(out->tap);
	return out->store->type->put_open(out->store, key, &out->put);
}

void pack_out_abort(struct pack_out *out)
{
	out->store->type->put_abort(&out->put);
}

uint64_t pack_out_plain_bytes(const struct pack_out *out)
{
	return out->plain_bytes;
}

uint64_t pack_out_stored_bytes(const struct pack_out *out)
{
	return out->stored_bytes;
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

static enum err frame_end(struct pack_out *out)
{
	size_t bound = zstd_stage_bound(out->frame_bytes), room, n;
	uint8_t *to = out->store->type->put_room(out->put, &room);
	bool direct = room >= bound;
	enum err e;

	must(out->frame_bytes > 0);
	e = zstd_stage_frame(out->zstd, out->frame, out->frame_bytes, direct ? to : out->scratch,
			     direct ? room : out->scratch_room, &n);
	if (e)
		return e;
	table_add(out, n, out->frame_bytes);
	out->worked += out->frame_bytes;
	out->frame_bytes = 0;
	return direct ? stored(out, to, n, room) : store_bytes(out, out->scratch, n);
}

enum err pack_out_add(struct pack_out *out, const void *from, size_t n)
{
	const uint8_t *at = from;
	size_t take;
	enum err e = OK;

	must(out->put != NULL);
	out->plain_bytes += n;
	if (!out->zstd) {
		out->worked += n;
		return store_bytes(out, from, n);
	}
	while (n > 0 && !e) {
		if (out->frame_bytes == ZSTD_FRAME_BYTES_MAX && (e = frame_end(out)))
			break;
		if (out->frame_bytes == 0 && (e = pack_out_breathe(out)))
			break;
		take = min_u64(n, ZSTD_FRAME_BYTES_MAX - out->frame_bytes);
		bytes_copy(out->frame + out->frame_bytes, at, take, BYTES_FRAME);
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
	digest_copy(out->tap, out->tap_marked);
	out->plain_bytes = out->plain_marked;
	out->stored_bytes = out->stored_marked;
	out->table.bytes = out->table_marked;
	out->frame_bytes = 0;
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
	if (out->zstd && (e = write_table(out)))
		return e;
	feed_all(out);
	out->tap->type->end(out->tap, digest);
	*stored_bytes = out->stored_bytes;
	*put = out->put;
	out->put = NULL;
	return OK;
}
