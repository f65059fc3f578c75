/* zlib behind a door: one stream packs, another opens, both raw (window bits -15: no head and no
 * checksum, RFC 4978 section 4), both with the widest window, because the peer chooses how far back
 * its stream looks. */
#define ZLIB_CONST /* what is read is not written to */
#include "transport/deflate.h"

#include <stdlib.h>
#include <zlib.h>

#include "engine/limits.h"

enum {
	DEFLATE_MAGIC = 0x0defa7e0,
	WINDOW_BITS = -15,
	/* Of 6 MB of text 4 leaves 38 % at 34 MB/s of a core, 6 leaves 36 % at 14, 1 leaves 43 % at
	 * 63; of base64 each leaves 76 to 78 % at 25 MB/s. */
	LEVEL = 4,
	MEMORY_LEVEL = 8, /* with the window 256 KiB */
};

struct deflate {
	uint32_t magic;
	z_stream pack, open;
	bool is_packing, is_opening; /* their memory is there */
	bool unflushed;		     /* something was packed since the last flush */
	bool ended;		     /* the peer's stream came to its end */
	size_t held;
};

/* zlib asks for a few pieces when a stream begins, and for the window when it is needed. Each
 * remembers its size, so that what is held can be told. */
union piece {
	size_t bytes;
	max_align_t aligned;
};

static void *take_memory(void *owner, unsigned count, unsigned size)
{
	struct deflate *it = owner;
	size_t bytes = sizeof(union piece) + (size_t)count * size;
	union piece *piece = calloc(1, bytes);

	MAGIC_CHECK(it, DEFLATE_MAGIC);
	if (!piece)
		return NULL;
	piece->bytes = bytes;
	it->held += bytes;
	return piece + 1;
}

static void give_memory(void *owner, void *at)
{
	struct deflate *it = owner;
	union piece *piece = (union piece *)at - 1;

	MAGIC_CHECK(it, DEFLATE_MAGIC);
	it->held -= piece->bytes;
	free(piece);
}

enum err deflate_open(struct deflate **out)
{
	struct deflate *it = calloc(1, sizeof *it);

	*out = it;
	if (!it)
		return RAISE(ERR_MEMORY_EXHAUSTED, "a compressed conversation");
	it->magic = DEFLATE_MAGIC;
	it->pack.zalloc = it->open.zalloc = take_memory;
	it->pack.zfree = it->open.zfree = give_memory;
	it->pack.opaque = it->open.opaque = it;
	it->is_packing = deflateInit2(&it->pack, LEVEL, Z_DEFLATED, WINDOW_BITS, MEMORY_LEVEL,
				      Z_DEFAULT_STRATEGY) == Z_OK;
	it->is_opening = inflateInit2(&it->open, WINDOW_BITS) == Z_OK;
	if (it->is_packing && it->is_opening)
		return OK;
	deflate_close(out);
	return RAISE(ERR_MEMORY_EXHAUSTED, "a compressed conversation");
}

void deflate_close(struct deflate **closing)
{
	struct deflate *it = *closing;

	if (!it)
		return;
	MAGIC_CHECK(it, DEFLATE_MAGIC);
	if (it->is_packing)
		(void)deflateEnd(&it->pack); /* what is inside is not wanted any more */
	if (it->is_opening)
		(void)inflateEnd(&it->open);
	must(it->held == 0);
	it->magic = 0;
	free(it);
	*closing = NULL;
}

size_t deflate_held_bytes(const struct deflate *it)
{
	MAGIC_CHECK(it, DEFLATE_MAGIC);
	return sizeof *it + it->held;
}

/* zlib counts in unsigned int. */
static unsigned part_of(size_t bytes)
{
	return (unsigned)min_u64(bytes, UINT32_MAX / 2);
}

static void set_span(z_stream *stream, const struct deflate_span *from, void *to, size_t room)
{
	stream->next_in = from->at;
	stream->avail_in = part_of(from->bytes);
	stream->next_out = to;
	stream->avail_out = part_of(room);
}

static void move_over(struct deflate_span *from, const z_stream *stream)
{
	size_t taken = (size_t)(stream->next_in - from->at);

	from->at += taken;
	from->bytes -= taken;
}

static size_t pack_step(struct deflate *it, struct deflate_span *from, void *to, size_t room,
			int flush)
{
	z_stream *stream = &it->pack;
	int result;

	set_span(stream, from, to, room);
	result = deflate(stream, flush);
	/* Z_BUF_ERROR: there was nothing to do. It fails in no other way, but by our own fault. */
	must(result == Z_OK || result == Z_BUF_ERROR);
	move_over(from, stream);
	return (size_t)(stream->next_out - (uint8_t *)to);
}

size_t deflate_pack(struct deflate *it, struct deflate_span *from, void *to, size_t room)
{
	MAGIC_CHECK(it, DEFLATE_MAGIC);
	must(room > 0);
	it->unflushed |= from->bytes > 0;
	return pack_step(it, from, to, room, Z_NO_FLUSH);
}

size_t deflate_flush(struct deflate *it, void *to, size_t room, bool *done)
{
	struct deflate_span nothing = { .at = NULL };
	size_t put = 0;

	MAGIC_CHECK(it, DEFLATE_MAGIC);
	must(room >= DEFLATE_FLUSH_ROOM_BYTES);
	if (it->unflushed)
		put = pack_step(it, &nothing, to, room, Z_SYNC_FLUSH);
	/* zlib.h: it is complete when there was room left. */
	*done = put < room;
	it->unflushed &= !*done;
	return put;
}

enum err deflate_unpack(struct deflate *it, struct deflate_span *from, void *to, size_t max,
			size_t *got)
{
	z_stream *stream = &it->open;
	int result;

	MAGIC_CHECK(it, DEFLATE_MAGIC);
	must(max > 0);
	*got = 0;
	if (it->ended && from->bytes)
		return RAISE(ERR_IMAP_DEFLATE,
			     "%zu bytes came behind the end of what is compressed", from->bytes);
	if (it->ended)
		return OK;
	set_span(stream, from, to, max);
	result = inflate(stream, Z_SYNC_FLUSH);
	move_over(from, stream);
	*got = (size_t)(stream->next_out - (uint8_t *)to);
	it->ended = result == Z_STREAM_END;
	/* What came before the damage counts: the server may have said why. It is met again. */
	if (*got || result == Z_OK || result == Z_BUF_ERROR || result == Z_STREAM_END)
		return OK;
	if (result == Z_MEM_ERROR)
		return RAISE(ERR_MEMORY_EXHAUSTED, "opening what came compressed");
	return RAISE(ERR_IMAP_DEFLATE, "opening what came compressed: %s",
		     stream->msg ? stream->msg : "it is no deflate");
}
