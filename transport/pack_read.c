/* See pack_read.h. */
#include "transport/pack_read.h"

#include <stdio.h>
#include <stdlib.h>

#include "crypto/zstd_stage.h"
#include "transport/tar.h"

enum {
	TABLE_HEAD_BYTES = 8,
	TABLE_FOOT_BYTES = 9,
	TABLE_ENTRY_BYTES = 8,
	TABLE_PIECE_ENTRIES = 4096, /* of the table in memory: 32 KiB */
	/* Behind the messages: 4 MiB of index lines, and sums of 8192 names (docs/FORMAT.md section
	 * 3). A table that promises terabytes of tar is not followed further. */
	SEARCH_BYTES_MAX = 48 * 1024 * 1024,
	SEARCH_PIECE_BYTES = 256 * 1024,
};

/* Where a frame begins: in the file, in the tar, in the table. */
struct place {
	uint64_t frame, stored, plain;
};

struct pack_read {
	struct store *store;
	char key[STORE_KEY_BYTES_MAX + 1];
	bool compressed;
	uint64_t stored_bytes, table_offset, frames;
	struct place at;      /* of the next frame to look at */
	uint64_t piece_first; /* frame of the first entry in `piece` */
	size_t piece_count;
	uint8_t piece[TABLE_PIECE_ENTRIES * TABLE_ENTRY_BYTES];
	uint64_t plain_frame; /* whose bytes are in `plain`; UINT64_MAX: none */
	size_t plain_bytes;
	uint8_t *stored_room, *plain;
};

static enum err damaged(const struct pack_read *pack, const char *what)
{
	return RAISE(ERR_ARCHIVE_DAMAGED, "%s: %s", pack->key, what);
}

/* Read exactly that. */
static enum err get(struct pack_read *pack, uint64_t offset, void *to, size_t n)
{
	size_t got;
	enum err e;

	if (n > pack->stored_bytes || offset > pack->stored_bytes - n)
		return damaged(pack, "it is cut short");
	if ((e = pack->store->type->get(pack->store, pack->key, offset, to, n, &got)))
		return e;
	return got == n ? OK : damaged(pack, "it is cut short");
}

/* The table's ends: docs/FORMAT.md section 2.3. */
static enum err table_find(struct pack_read *pack)
{
	uint8_t head[TABLE_HEAD_BYTES], foot[TABLE_FOOT_BYTES];
	uint64_t bytes;
	enum err e;

	if (pack->stored_bytes < TABLE_HEAD_BYTES + TABLE_FOOT_BYTES)
		return damaged(pack, "it is too short for a pack");
	if ((e = get(pack, pack->stored_bytes - TABLE_FOOT_BYTES, foot, sizeof foot)))
		return e;
	pack->frames = bytes_get_le32(foot);
	bytes = pack->frames * TABLE_ENTRY_BYTES + TABLE_FOOT_BYTES;
	if (bytes_get_le32(foot + 5) != 0x8F92EAB1 || foot[4] != 0 || pack->frames == 0 ||
	    bytes + TABLE_HEAD_BYTES > pack->stored_bytes)
		return damaged(pack, "no seek table at its end");
	pack->table_offset = pack->stored_bytes - bytes - TABLE_HEAD_BYTES;
	if ((e = get(pack, pack->table_offset, head, sizeof head)))
		return e;
	if (bytes_get_le32(head) != 0x184D2A5E || bytes_get_le32(head + 4) != bytes)
		return damaged(pack, "its seek table does not add up");
	return OK;
}

enum err pack_read_open(struct store *store, const char *key, struct pack_read **out)
{
	struct pack_read *pack = calloc(1, sizeof *pack);
	size_t n = strlen(key);
	enum err e;

	*out = pack;
	if (!pack)
		return RAISE(ERR_MEMORY_EXHAUSTED, "reading %s", key);
	pack->store = store;
	snprintf(pack->key, sizeof pack->key, "%s", key);
	pack->compressed = n > 4 && strcmp(key + n - 4, ".zst") == 0;
	pack->plain_frame = UINT64_MAX;
	pack->plain = malloc(ZSTD_FRAME_BYTES_MAX);
	pack->stored_room =
		pack->compressed ? malloc(zstd_stage_bound(ZSTD_FRAME_BYTES_MAX)) : NULL;
	if (!pack->plain || (pack->compressed && !pack->stored_room))
		e = RAISE(ERR_MEMORY_EXHAUSTED, "reading %s", key);
	else if (!(e = store->type->size(store, key, &pack->stored_bytes)) && pack->compressed)
		e = table_find(pack);
	if (e)
		pack_read_close(out);
	return e;
}

void pack_read_close(struct pack_read **pack)
{
	if (*pack) {
		free((*pack)->stored_room);
		free((*pack)->plain);
	}
	free(*pack);
	*pack = NULL;
}

const char *pack_read_key(const struct pack_read *pack)
{
	return pack->key;
}

uint64_t pack_read_stored_bytes(const struct pack_read *pack)
{
	return pack->stored_bytes;
}

uint64_t pack_read_frames(const struct pack_read *pack)
{
	return pack->frames;
}

/* ---- frames ---- */

/* The table's entry of the frame at pack->at. */
static enum err entry_get(struct pack_read *pack, uint32_t *stored, uint32_t *plain)
{
	uint64_t frame = pack->at.frame;
	const uint8_t *entry;
	enum err e;

	must(frame < pack->frames);
	if (frame < pack->piece_first || frame >= pack->piece_first + pack->piece_count) {
		pack->piece_first = frame;
		pack->piece_count = min_u64(pack->frames - frame, TABLE_PIECE_ENTRIES);
		e = get(pack, pack->table_offset + TABLE_HEAD_BYTES + frame * TABLE_ENTRY_BYTES,
			pack->piece, pack->piece_count * TABLE_ENTRY_BYTES);
		if (e) {
			pack->piece_count = 0;
			return e;
		}
	}
	entry = pack->piece + (frame - pack->piece_first) * TABLE_ENTRY_BYTES;
	*stored = bytes_get_le32(entry);
	*plain = bytes_get_le32(entry + 4);
	if (*stored == 0 || *plain == 0 || *plain > ZSTD_FRAME_BYTES_MAX ||
	    *stored > zstd_stage_bound(ZSTD_FRAME_BYTES_MAX) ||
	    *stored > pack->table_offset - pack->at.stored)
		return damaged(pack, "its seek table names an impossible frame");
	return OK;
}

static void step(struct pack_read *pack, uint32_t stored, uint32_t plain)
{
	pack->at.frame++;
	pack->at.stored += stored;
	pack->at.plain += plain;
}

/* Open the frame at pack->at into `plain`, unless it is there. */
static enum err frame_open(struct pack_read *pack, uint32_t stored, uint32_t plain)
{
	enum err e;

	if (pack->plain_frame == pack->at.frame)
		return OK;
	pack->plain_frame = UINT64_MAX;
	if ((e = get(pack, pack->at.stored, pack->stored_room, stored)))
		return e;
	e = zstd_stage_open_frame(pack->stored_room, stored, pack->plain, plain);
	if (e == ERR_ARCHIVE_DAMAGED) {
		err_note_clear();
		return RAISE(e, "%s: the frame at byte %llu is damaged", pack->key,
			     (unsigned long long)pack->at.stored);
	}
	if (e)
		return e;
	pack->plain_frame = pack->at.frame;
	pack->plain_bytes = plain;
	return OK;
}

/* ---- a span ---- */

/* Go to the frame that holds `offset`: on from where we are, or from the start. */
static enum err seek(struct pack_read *pack, uint64_t offset, uint32_t *stored, uint32_t *plain)
{
	enum err e;

	if (pack->at.plain > offset)
		pack->at = (struct place){ 0 };
	for (;;) {
		if (pack->at.frame == pack->frames)
			return damaged(pack, "a message lies beyond its end");
		if ((e = entry_get(pack, stored, plain)))
			return e;
		if (offset < pack->at.plain + *plain)
			return OK;
		step(pack, *stored, *plain);
	}
}

static enum err span_of_frames(struct pack_read *pack, uint64_t offset, uint64_t length,
			       enum err (*write)(void *, const void *, size_t), void *context)
{
	uint32_t stored, plain;
	size_t from, n;
	enum err e = OK;

	while (length > 0 && !e) {
		if ((e = seek(pack, offset, &stored, &plain)) ||
		    (e = frame_open(pack, stored, plain)))
			return e;
		from = (size_t)(offset - pack->at.plain);
		n = min_u64(plain - from, length);
		e = write(context, pack->plain + from, n);
		offset += n;
		length -= n;
	}
	return e;
}

static enum err span_of_file(struct pack_read *pack, uint64_t offset, uint64_t length,
			     enum err (*write)(void *, const void *, size_t), void *context)
{
	size_t n;
	enum err e = OK;

	while (length > 0 && !e) {
		n = min_u64(length, ZSTD_FRAME_BYTES_MAX);
		if (!(e = get(pack, offset, pack->plain, n)))
			e = write(context, pack->plain, n);
		offset += n;
		length -= n;
	}
	return e;
}

enum err pack_read_span(struct pack_read *pack, uint64_t offset, uint64_t length,
			enum err (*write)(void *, const void *, size_t), void *context)
{
	if (length > UINT64_MAX / 2 || offset > UINT64_MAX / 2)
		return damaged(pack, "a message lies beyond its end");
	return pack->compressed ? span_of_frames(pack, offset, length, write, context)
				: span_of_file(pack, offset, length, write, context);
}

/* ---- a file behind the messages ---- */

static enum err plain_length(struct pack_read *pack, uint64_t *bytes)
{
	uint32_t stored, plain;
	enum err e;

	*bytes = pack->stored_bytes;
	if (!pack->compressed)
		return OK;
	for (pack->at = (struct place){ 0 }; pack->at.frame < pack->frames;
	     step(pack, stored, plain))
		if ((e = entry_get(pack, &stored, &plain)))
			return e;
	*bytes = pack->at.plain;
	return OK;
}

static enum err add_piece(void *context, const void *from, size_t n)
{
	buffer_add(context, from, n);
	return ((struct buffer *)context)->failed ? RAISE(ERR_MEMORY_EXHAUSTED, "reading a pack")
						  : OK;
}

/* Where its bytes begin, if a header of the file is among these blocks, the last one counting. */
static bool header_find(const struct buffer *blocks, const char *name, size_t *behind,
			uint64_t *bytes)
{
	for (*behind = blocks->bytes; *behind >= TAR_BLOCK_BYTES; *behind -= TAR_BLOCK_BYTES)
		if (tar_block_is(blocks->at + *behind - TAR_BLOCK_BYTES, name, bytes))
			return true;
	return false;
}

/* The nearest header to the end is the one meant: neither sums nor index hold a NUL, so none can be
 * in them. Where a frame is damaged, its neighbours are looked at block by block. */
static enum err file_find(struct pack_read *pack, const char *name, struct buffer *piece,
			  uint64_t *begin, uint64_t *bytes)
{
	uint64_t step_bytes = SEARCH_PIECE_BYTES, end, lowest, from;
	size_t behind;
	enum err e = plain_length(pack, &end);

	end -= end % TAR_BLOCK_BYTES;
	lowest = end > SEARCH_BYTES_MAX ? end - SEARCH_BYTES_MAX : 0;
	for (; !e && end > lowest; end = from) {
		from = end - min_u64(step_bytes, end - lowest);
		buffer_reset(piece);
		e = pack_read_span(pack, from, end - from, add_piece, piece);
		if (e == ERR_ARCHIVE_DAMAGED) {
			err_note_clear();
			e = OK;
			from = step_bytes > TAR_BLOCK_BYTES ? end : from; /* once more */
			step_bytes = TAR_BLOCK_BYTES;
		} else if (!e && header_find(piece, name, &behind, bytes)) {
			*begin = from + behind;
			return OK;
		} else if (from % SEARCH_PIECE_BYTES == 0) {
			step_bytes = SEARCH_PIECE_BYTES;
		}
	}
	return e ? e : damaged(pack, "it holds no index that can be read");
}

enum err pack_read_file(struct pack_read *pack, const char *name, size_t bytes_max,
			struct buffer *to)
{
	struct buffer piece = { 0 };
	uint64_t begin = 0, bytes = 0;
	enum err e = file_find(pack, name, &piece, &begin, &bytes);

	buffer_free(&piece);
	buffer_reset(to);
	if (!e && bytes > bytes_max)
		e = damaged(pack, "it holds an index of an impossible length");
	return e ? e : pack_read_span(pack, begin, bytes, add_piece, to);
}

/* ---- all of it ---- */

static enum err next_of_file(struct pack_read *pack, const uint8_t **at, size_t *n)
{
	uint64_t left = pack->stored_bytes - pack->at.stored;
	enum err e;

	*at = pack->plain;
	*n = min_u64(left, ZSTD_FRAME_BYTES_MAX);
	if (left == 0)
		return ERR_PIPE_ENDED;
	e = get(pack, pack->at.stored, pack->plain, *n);
	pack->at.stored += *n;
	return e;
}

enum err pack_read_next(struct pack_read *pack, const uint8_t **at, size_t *n)
{
	uint32_t stored, plain;
	enum err e;

	if (!pack->compressed)
		return next_of_file(pack, at, n);
	if (pack->at.frame == pack->frames)
		return pack->at.stored == pack->table_offset
			       ? ERR_PIPE_ENDED
			       : damaged(pack, "its seek table does not add up");
	if ((e = entry_get(pack, &stored, &plain)) || (e = frame_open(pack, stored, plain)))
		return e;
	step(pack, stored, plain);
	*at = pack->plain;
	*n = plain;
	return OK;
}
