/* See store_s3_read.h. */
#include "transport/store_s3_read.h"

#include <stdio.h>
#include <stdlib.h>

#include "engine/budget.h"

enum {
	STEP_LEAST = 256 * 1024,
	/* The seek table of 8,000 frames. */
	TAIL_BYTES = 64 * 1024,
};
_Static_assert((int)STEP_LEAST <= (int)READ_AHEAD_BYTES_OF_MANY, "a step fits");
_Static_assert((int)TAIL_BYTES <= (int)READ_AHEAD_BYTES_OF_MANY, "a tail fits");

void store_s3_read_close(struct store_s3_reader *reader)
{
	for (unsigned i = 0; i < READ_AHEADS; i++) {
		if (reader->ahead[i].memory)
			budget_give(BUDGET_CONNECTIONS, budget()->ahead_bytes);
		free(reader->ahead[i].memory);
	}
	*reader = (struct store_s3_reader){ .reads = 0 };
}

/* ---- what was seen ---- */

static struct store_s3_seen *seen_find(struct store_s3_reader *reader, const char *key)
{
	for (unsigned i = 0; i < STORE_S3_SEEN; i++)
		if (strcmp(reader->seen[i].key, key) == 0)
			return &reader->seen[i];
	return NULL;
}

static struct store_s3_seen *seen_oldest(struct store_s3_reader *reader)
{
	struct store_s3_seen *oldest = reader->seen;

	for (unsigned i = 1; i < STORE_S3_SEEN; i++)
		if (reader->seen[i].used_last < oldest->used_last)
			oldest = &reader->seen[i];
	return oldest;
}

/* Ask for the object, which must be the one that was seen before. */
static enum err look(const struct store_s3_place *place, struct store_s3_reader *reader,
		     const char *key, struct store_s3_seen **out)
{
	char full[S3_KEY_BYTES_MAX + 1];
	struct s3_about about;
	struct store_s3_seen *seen;
	enum err e =
		s3_head(place->s3, store_s3_key(full, place, key), store_s3_patience(), &about);

	if (e)
		return store_s3_error(e);
	if (!(seen = seen_find(reader, key))) {
		seen = seen_oldest(reader);
		snprintf(seen->key, sizeof seen->key, "%s", key);
		snprintf(seen->etag, sizeof seen->etag, "%s", about.etag);
		seen->bytes = about.bytes;
	}
	if (strcmp(seen->etag, about.etag) != 0 || seen->bytes != about.bytes)
		return RAISE(ERR_S3_CHANGED,
			     "%s%s was replaced while it was read; find out who writes there",
			     place->name, key);
	seen->used_last = ++reader->reads;
	*out = seen;
	return OK;
}

enum err store_s3_read_size(const struct store_s3_place *place, struct store_s3_reader *reader,
			    const char *key, uint64_t *bytes)
{
	struct store_s3_seen *seen;
	enum err e = look(place, reader, key, &seen);

	if (!e)
		*bytes = seen->bytes;
	return e;
}

/* ---- reading ---- */

static enum err get_exactly(const struct store_s3_place *place, const struct store_s3_seen *seen,
			    uint64_t offset, void *to, size_t length)
{
	char full[S3_KEY_BYTES_MAX + 1];
	size_t got;
	enum err e = s3_get(place->s3,
			    &(struct s3_get){ .key = store_s3_key(full, place, seen->key),
					      .at = offset,
					      .to = to,
					      .bytes = length,
					      .etag = seen->etag },
			    store_s3_patience(), &got);

	if (!e && got < length)
		return RAISE(ERR_S3_CHANGED, "%s%s ends before its end; find out who writes there",
			     place->name, seen->key);
	return store_s3_error(e);
}

static bool is_of(const struct store_s3_ahead *ahead, const struct store_s3_seen *seen)
{
	return strcmp(ahead->key, seen->key) == 0 && strcmp(ahead->etag, seen->etag) == 0;
}

/* The object's own, or the one that was used least lately. NULL: another fiber reads into it. */
static struct store_s3_ahead *ahead_of(struct store_s3_reader *reader,
				       const struct store_s3_seen *seen)
{
	struct store_s3_ahead *ahead = NULL, *row;

	for (unsigned i = 0; i < READ_AHEADS; i++) {
		row = &reader->ahead[i];
		if (is_of(row, seen))
			return row->is_busy ? NULL : row;
		if (!row->is_busy && (!ahead || row->used_last < ahead->used_last))
			ahead = row;
	}
	if (!ahead)
		return NULL;
	snprintf(ahead->key, sizeof ahead->key, "%s", seen->key);
	snprintf(ahead->etag, sizeof ahead->etag, "%s", seen->etag);
	ahead->bytes = 0;
	ahead->next = 0;
	ahead->step = STEP_LEAST;
	return ahead;
}

/* How much of what was read ahead begins at the offset. */
static size_t held_at(const struct store_s3_ahead *ahead, uint64_t offset)
{
	return offset >= ahead->at && offset - ahead->at < ahead->bytes
		       ? ahead->bytes - (size_t)(offset - ahead->at)
		       : 0;
}

static enum err ahead_fill(const struct store_s3_place *place, struct store_s3_ahead *ahead,
			   const struct store_s3_seen *seen, uint64_t at, size_t bytes)
{
	enum err e;

	ahead->bytes = 0;
	if (!ahead->memory) {
		if (!(ahead->memory = malloc(budget()->ahead_bytes)))
			return RAISE(ERR_MEMORY_EXHAUSTED, "reading %s", seen->key);
		budget_take(BUDGET_CONNECTIONS, budget()->ahead_bytes);
	}
	ahead->is_busy = true;
	e = get_exactly(place, seen, at, ahead->memory, bytes);
	ahead->is_busy = false;
	ahead->at = at;
	ahead->bytes = e ? 0 : bytes;
	return e;
}

/* How much to read ahead at the offset, of which `length` bytes are asked for; 0: nothing beyond
 * these. */
static size_t step_at(struct store_s3_ahead *ahead, uint64_t offset, size_t length)
{
	size_t step = ahead->step;

	if (offset != 0 && offset != ahead->next) {
		ahead->step = STEP_LEAST;
		return 0;
	}
	ahead->step = (size_t)min_u64(2 * step, budget()->ahead_bytes);
	return length < step ? step : 0;
}

/* What is not there of a piece, and more of the object if that will be of use. */
static enum err get_more(const struct store_s3_place *place, struct store_s3_ahead *ahead,
			 const struct store_s3_seen *seen, uint64_t offset, void *to, size_t length)
{
	uint64_t tail = seen->bytes - min_u64(seen->bytes, TAIL_BYTES);
	size_t step = step_at(ahead, offset, length);
	enum err e;

	if (step == 0 && offset >= tail && seen->bytes > TAIL_BYTES)
		e = ahead_fill(place, ahead, seen, tail, TAIL_BYTES);
	else if (step == 0)
		return get_exactly(place, seen, offset, to, length);
	else
		e = ahead_fill(place, ahead, seen, offset, min_u64(step, seen->bytes - offset));
	if (!e)
		bytes_copy(to, ahead->memory + (offset - ahead->at), length, BYTES_EXTRACT);
	return e;
}

/* A piece that lies within the object. */
static enum err get_piece(const struct store_s3_place *place, struct store_s3_reader *reader,
			  const struct store_s3_seen *seen, uint64_t offset, uint8_t *to,
			  size_t length)
{
	struct store_s3_ahead *ahead = ahead_of(reader, seen);
	size_t held;
	enum err e = OK;

	if (!ahead)
		return get_exactly(place, seen, offset, to, length);
	ahead->used_last = ++reader->reads;
	held = min_u64(held_at(ahead, offset), length);
	if (held > 0) {
		bytes_copy(to, ahead->memory + (offset - ahead->at), held, BYTES_EXTRACT);
		ahead->next = offset + held;
	}
	if (held < length)
		e = get_more(place, ahead, seen, offset + held, to + held, length - held);
	ahead->next = offset + length;
	return e;
}

enum err store_s3_read_get(const struct store_s3_place *place, struct store_s3_reader *reader,
			   const char *key, uint64_t offset, void *to, size_t length, size_t *got)
{
	struct store_s3_seen *seen = seen_find(reader, key), copy;
	enum err e;

	*got = 0;
	if (!seen && (e = look(place, reader, key, &seen)))
		return e;
	seen->used_last = ++reader->reads;
	copy = *seen; /* others may need the row while we wait */
	if (offset >= copy.bytes || length == 0)
		return OK;
	length = min_u64(length, copy.bytes - offset);
	if ((e = get_piece(place, reader, &copy, offset, to, length)))
		return e;
	*got = length;
	return OK;
}
