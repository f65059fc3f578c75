/* See ndjson.h; docs/FORMAT.md section 3 has the rules for frames and lines. */
#include "transport/ndjson.h"

#include <stdio.h>
#include <stdlib.h>

#include "crypto/zstd_stage.h"
#include "engine/budget.h"
#include "engine/fiber.h"

enum { PLAIN_PIECE_BYTES = 2 * NDJSON_LINE_BYTES_MAX };

struct ndjson {
	struct store *store;
	char key[STORE_KEY_BYTES_MAX + 1];
	bool compressed;
	uint64_t offset; /* in the object, of what was not read yet */
	bool at_end;	 /* of the object */
	char *stored;	 /* compressed: the window that holds the next frame */
	size_t stored_bytes, stored_room;
	char *plain;
	size_t plain_room, plain_at, plain_bytes;
	uint64_t lines;
};

static bool ends_with(const char *key, const char *end)
{
	size_t a = strlen(key), b = strlen(end);

	return a >= b && strcmp(key + a - b, end) == 0;
}

enum err ndjson_open(struct store *store, const char *key, struct ndjson **out)
{
	struct ndjson *reader = calloc(1, sizeof *reader);

	*out = reader;
	if (!reader)
		return RAISE(ERR_MEMORY_EXHAUSTED, "reading %s", key);
	reader->store = store;
	snprintf(reader->key, sizeof reader->key, "%s", key);
	reader->compressed = ends_with(key, ".zst");
	reader->plain_room = reader->compressed ? ZSTD_FRAME_BYTES_MAX : PLAIN_PIECE_BYTES;
	reader->stored_room = reader->compressed ? zstd_stage_bound(ZSTD_FRAME_BYTES_MAX) : 0;
	reader->plain = malloc(reader->plain_room);
	if (reader->compressed)
		reader->stored = malloc(reader->stored_room);
	if (!reader->plain || (reader->compressed && !reader->stored)) {
		ndjson_close(out);
		return RAISE(ERR_MEMORY_EXHAUSTED, "reading %s", key);
	}
	return OK;
}

void ndjson_close(struct ndjson **reader)
{
	if (*reader) {
		free((*reader)->stored);
		free((*reader)->plain);
	}
	free(*reader);
	*reader = NULL;
}

uint64_t ndjson_lines(const struct ndjson *reader)
{
	return reader->lines;
}

const char *ndjson_key(const struct ndjson *reader)
{
	return reader->key;
}

static enum err damaged(const struct ndjson *reader, const char *what)
{
	return RAISE(ERR_ARCHIVE_DAMAGED, "%s: %s after line %llu", reader->key, what,
		     (unsigned long long)reader->lines);
}

/* Read on behind what is in `to`. */
static enum err read_behind(struct ndjson *reader, char *to, size_t room, size_t *bytes)
{
	size_t got = 0;
	enum err e;

	if (reader->at_end || *bytes == room)
		return OK;
	e = reader->store->type->get(reader->store, reader->key, reader->offset, to + *bytes,
				     room - *bytes, &got);
	reader->at_end = got < room - *bytes;
	reader->offset += got;
	*bytes += got;
	return e;
}

static enum err fill_from_frame(struct ndjson *reader)
{
	size_t frame, plain;
	enum err e;

	if ((e = read_behind(reader, reader->stored, reader->stored_room, &reader->stored_bytes)))
		return e;
	if (reader->stored_bytes == 0)
		return ERR_PIPE_ENDED;
	if ((e = zstd_stage_measure(reader->stored, reader->stored_bytes, &frame, &plain)) ||
	    (e = zstd_stage_open_frame(reader->stored, frame, reader->plain, plain))) {
		if (e != ERR_ARCHIVE_DAMAGED)
			return e;
		err_note_clear(); /* it does not say which object */
		return damaged(reader, "a frame that cannot be opened");
	}
	reader->stored_bytes -= frame;
	bytes_move(reader->stored, reader->stored + frame, reader->stored_bytes);
	reader->plain_at = 0;
	reader->plain_bytes = plain;
	if (plain == 0 || reader->plain[plain - 1] != '\n')
		return damaged(reader, "a frame that does not end with a line");
	return OK;
}

static enum err fill_plain(struct ndjson *reader)
{
	enum err e;

	reader->plain_bytes -= reader->plain_at;
	bytes_move(reader->plain, reader->plain + reader->plain_at, reader->plain_bytes);
	reader->plain_at = 0;
	e = read_behind(reader, reader->plain, reader->plain_room, &reader->plain_bytes);
	return e ? e : reader->plain_bytes == 0 ? ERR_PIPE_ENDED : OK;
}

static char *line_end(const struct ndjson *reader)
{
	return memchr(reader->plain + reader->plain_at, '\n',
		      reader->plain_bytes - reader->plain_at);
}

enum err ndjson_next(struct ndjson *reader, struct text *line)
{
	char *end = line_end(reader);
	enum err e;

	if (!end) {
		must(!reader->compressed || reader->plain_at == reader->plain_bytes);
		if ((e = reader->compressed ? fill_from_frame(reader) : fill_plain(reader)))
			return e;
		end = line_end(reader);
	}
	line->at = reader->plain + reader->plain_at;
	if (!end || end - line->at > NDJSON_LINE_BYTES_MAX)
		return damaged(reader, end ? "a line too long" : "a line that does not end");
	line->bytes = (size_t)(end - line->at);
	reader->plain_at += line->bytes + 1;
	reader->lines++;
	return OK;
}

/* ---- writing ---- */

/* As many whole lines as fit a frame: none longer than those of messages, or the compressor's
 * context would be. */
static size_t frame_of_lines(struct text lines)
{
	const char *end;

	if (lines.bytes <= budget()->frame_bytes)
		return lines.bytes;
	end = memrchr(lines.at, '\n', budget()->frame_bytes);
	must(end != NULL);
	return (size_t)(end - lines.at) + 1;
}

enum err ndjson_compress(struct zstd_stage *zstd, struct text lines, struct buffer *to)
{
	size_t room = zstd_stage_bound(min_u64(lines.bytes, budget()->frame_bytes)), take, frame;
	char *piece = malloc(room);
	enum err e = piece ? OK : RAISE(ERR_MEMORY_EXHAUSTED, "compressing an index");

	while (!e && lines.bytes > 0) {
		take = frame_of_lines(lines);
		if ((e = zstd_stage_frame(zstd, lines.at, take, piece, room, &frame)))
			break;
		buffer_add(to, piece, frame);
		lines.at += take;
		lines.bytes -= take;
		e = lines.bytes > 0 ? fiber_yield() : OK;
	}
	free(piece);
	if (!e && to->failed)
		e = RAISE(ERR_MEMORY_EXHAUSTED, "compressing an index");
	return e;
}
