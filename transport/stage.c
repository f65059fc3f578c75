/* See stage.h. */
#include "transport/stage.h"

#include "engine/clock.h"

enum { BODY_ALIGN = 64 };
/* As in imap_body.c: chunks come home when the sink has stored what is in them; a loan is given
 * back between two messages. */
#define CHUNK_PATIENCE (3600 * NSEC_SECOND)
#define LOAN_PATIENCE  (60 * NSEC_SECOND)

enum err stage_next(struct stage *stage)
{
	return reserve_return_loan(stage->reserve, clock_after(LOAN_PATIENCE));
}

/* Room for the next bytes of a body: behind the last one if all `want` fit there, else a fresh
 * chunk. */
static enum err find_room(struct stage *stage, uint64_t want, uint32_t *offset, uint32_t *room)
{
	enum err e;

	if (stage->chunk) {
		*offset = (uint32_t)round_up(stage->chunk->filled, BODY_ALIGN);
		*room = *offset < CHUNK_BYTES ? CHUNK_BYTES - *offset : 0;
		if (*room >= want)
			return OK;
		chunk_unref(&stage->chunk);
	}
	if ((e = chunk_wait(stage->reserve, clock_after(CHUNK_PATIENCE), &stage->chunk)))
		return e;
	stage->chunk->filled = 0;
	*offset = 0;
	*room = CHUNK_BYTES;
	return OK;
}

/* The list's last slice if it ends where the chunk is filled to: the body goes on there. */
static struct slice *open_slice(const struct stage *stage, struct iolist *list)
{
	struct slice *last = list->count ? &list->slices[list->count - 1] : NULL;

	return last && last->chunk == stage->chunk && stage->chunk->filled < CHUNK_BYTES &&
			       last->offset + last->length == stage->chunk->filled
		       ? last
		       : NULL;
}

enum err stage_add(struct stage *stage, struct iolist *list, uint64_t left, const void *bytes,
		   size_t n)
{
	const uint8_t *from = bytes;

	while (n > 0) {
		struct slice *slice = open_slice(stage, list);
		uint32_t offset, room, length;
		enum err e;

		if (slice) {
			offset = stage->chunk->filled;
			room = CHUNK_BYTES - offset;
		} else if ((e = find_room(stage, left, &offset, &room))) {
			return e;
		}
		length = (uint32_t)min_u64(room, n);
		bytes_copy(stage->chunk->data + offset, from, length, BYTES_EXTRACT);
		stage->chunk->filled = offset + length;
		if (slice)
			slice->length += length;
		else
			iolist_add(list, (struct slice){ chunk_ref(stage->chunk), offset, length });
		from += length;
		n -= length;
		left -= length;
	}
	return OK;
}

void stage_free(struct stage *stage)
{
	if (stage->chunk)
		chunk_unref(&stage->chunk);
}
