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
	uint64_t plain_frame;	    /* whose bytes are in `plain`; UINT64_MAX: none */
	enum err plain_fate;	    /* not OK: it cannot be read, */
	struct err_note plain_note; /* and this is why */
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

static bool is_unreadable(enum err e)
{
	return e == ERR_ARCHIVE_DAMAGED || e == ERR_DISK_IO;
}

static enum err frame_read(struct pack_read *pack, uint32_t stored, uint32_t plain)
{
	enum err e = get(pack, pack->at.stored, pack->stored_room, stored);

	if (e)
		return e;
	e = zstd_stage_open_frame(pack->stored_room, stored, pack->plain, plain);
	if (e != ERR_ARCHIVE_DAMAGED)
		return e;
	err_note_clear();
	return RAISE(e, "%s: the frame at byte %llu is damaged", pack->key,
		     (unsigned long long)pack->at.stored);
}

/* Open the frame at pack->at into `plain`, unless it was the last one. Many messages share a frame,
 * and a disk may try for many seconds to read a bad sector: a frame that cannot be read is not
 * tried again for each of them. */
static enum err frame_open(struct pack_read *pack, uint32_t stored, uint32_t plain)
{
	enum err e;

	if (pack->plain_frame == pack->at.frame) {
		if (pack->plain_fate)
			*err_note() = pack->plain_note;
		return pack->plain_fate;
	}
	pack->plain_frame = UINT64_MAX;
	if ((e = frame_read(pack, stored, plain)) && !is_unreadable(e))
		return e;
	pack->plain_frame = pack->at.frame;
	pack->plain_fate = e;
	pack->plain_note = *err_note();
	return e;
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

/* A file in a pack: where its bytes begin, and how many there are. */
struct inner {
	const char *name;
	bool found;
	uint64_t begin, bytes;
};

static void header_look(struct inner *file, const void *block, uint64_t at)
{
	uint64_t bytes;

	if (tar_block_is(block, file->name, &bytes))
		*file = (struct inner){ file->name, true, at + TAR_BLOCK_BYTES, bytes };
}

/* The last members begin where a frame does (docs/FORMAT.md section 2.3), and each is opened once:
 * a pack of a few kilobytes may say that it has thousands, all of them damaged. */
static enum err find_in_frames(struct pack_read *pack, uint64_t from, struct inner *file)
{
	uint32_t stored, plain;
	enum err e = seek(pack, from, &stored, &plain);

	while (!e && pack->at.frame < pack->frames && !(e = entry_get(pack, &stored, &plain))) {
		if (plain < TAR_BLOCK_BYTES) {
			; /* no member is in it */
		} else if (!(e = frame_open(pack, stored, plain))) {
			header_look(file, pack->plain, pack->at.plain);
		} else if (is_unreadable(e)) {
			err_note_clear();
			e = OK;
		}
		step(pack, stored, plain);
	}
	return e;
}

static enum err find_in_blocks(struct pack_read *pack, uint64_t from, uint64_t end,
			       struct inner *file)
{
	size_t n;
	enum err e = OK;

	for (; !e && from < end; from += n) {
		n = min_u64(SEARCH_PIECE_BYTES, end - from);
		if (!(e = get(pack, from, pack->plain, n)))
			for (size_t at = 0; at < n; at += TAR_BLOCK_BYTES)
				header_look(file, pack->plain + at, from + at);
		else if (is_unreadable(e)) {
			err_note_clear();
			e = OK;
		}
	}
	return e;
}

/* The header nearest to the end is the one meant: neither sums nor index hold a NUL, so none can be
 * in them. What is damaged is passed over. */
static enum err file_find(struct pack_read *pack, struct inner *file)
{
	uint64_t end, from;
	enum err e = plain_length(pack, &end);

	if (e)
		return e;
	end -= end % TAR_BLOCK_BYTES;
	from = end > SEARCH_BYTES_MAX ? end - SEARCH_BYTES_MAX : 0;
	e = pack->compressed ? find_in_frames(pack, from, file)
			     : find_in_blocks(pack, from, end, file);
	return e || file->found ? e : damaged(pack, "it holds no index that can be read");
}

enum err pack_read_file(struct pack_read *pack, const char *name, size_t bytes_max,
			struct buffer *to)
{
	struct inner file = { .name = name };
	enum err e = file_find(pack, &file);

	buffer_reset(to);
	if (!e && file.bytes > bytes_max)
		e = damaged(pack, "it holds an index of an impossible length");
	return e ? e : pack_read_span(pack, file.begin, file.bytes, add_piece, to);
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
