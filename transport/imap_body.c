/* Bytes of a literal go from the connection straight into the chunk they stay in; copied is only
 * what had been read together with the line before the literal. */
#include "transport/imap_body.h"

#include "engine/clock.h"

enum {
	BODY_MAGIC = 0x1a4a9003,
	/* Bodies begin at a cache line's border, so that no two share one. */
	BODY_ALIGN = 64,
};
/* Chunks come home when the sink has stored what is in them. That may take a while; a sink that
 * needs longer than this for a few messages has deadlines of its own long before. */
#define CHUNK_PATIENCE (3600 * NSEC_SECOND)
/* For a loan to be given back others may have to come to the end of a large body; with one that
 * takes longer the rest goes on meanwhile. */
#define LOAN_PATIENCE (60 * NSEC_SECOND)

static enum err body_pull(struct stream *, struct iolist *);
static void body_close(struct stream *);
static const struct stream_type body_type = { .pull = body_pull, .close = body_close };

void imap_body_init(struct imap_body *body, struct imap_wire *wire, struct reserve *reserve)
{
	*body = (struct imap_body){
		.stream = { &body_type }, .magic = BODY_MAGIC, .wire = wire, .reserve = reserve
	};
}

void imap_body_release(struct imap_body *body)
{
	iolist_release(&body->staged);
	if (body->chunk)
		chunk_unref(&body->chunk);
	body->is_open = false;
}

void imap_body_begin(struct imap_body *body, uint64_t bytes)
{
	MAGIC_CHECK(body, BODY_MAGIC);
	must(body->left == 0 && body->staged.count == 0); /* the one before was drained */
	body->left = bytes;
	body->is_fresh = true;
	body->failed = OK;
}

/* Room for the next `want` bytes of a body: behind the last body in the present chunk if all of it
 * fits there, else a fresh chunk. */
static enum err find_room(struct imap_body *body, uint64_t want, uint32_t *offset, uint32_t *room)
{
	enum err e;

	if (body->chunk) {
		*offset = (uint32_t)round_up(body->chunk->filled, BODY_ALIGN);
		*room = *offset < CHUNK_BYTES ? CHUNK_BYTES - *offset : 0;
		if (*room >= want)
			return OK;
		chunk_unref(&body->chunk);
	}
	if ((e = chunk_wait(body->reserve, clock_after(CHUNK_PATIENCE), &body->chunk)))
		return e;
	body->chunk->filled = 0;
	*offset = 0;
	*room = CHUNK_BYTES;
	return OK;
}

static void hand_out(struct imap_body *body, uint32_t offset, uint32_t length, struct iolist *out)
{
	must(offset + length <= CHUNK_BYTES && offset >= body->chunk->filled);
	body->chunk->filled = offset + length;
	iolist_add(out, (struct slice){ chunk_ref(body->chunk), offset, length });
}

/* The next span: a whole chunk, or what is left. */
static enum err read_span(struct imap_body *body, struct iolist *out)
{
	uint32_t offset, room, filled = 0, length;
	size_t got;
	enum err e;

	/* Between two messages a lane can go back to its own chunks: what is read is on its way to
	 * the sink, and other conversations finish what they began with the loan. In the middle of
	 * one it could not, or two conversations might wait for each other's chunks. */
	if (body->is_fresh && (e = reserve_return_loan(body->reserve, clock_after(LOAN_PATIENCE))))
		return e;
	body->is_fresh = false;
	if ((e = find_room(body, body->left, &offset, &room)))
		return e;
	length = (uint32_t)min_u64(room, body->left);
	imap_wire_pace(body->wire);
	for (; filled < length; filled += (uint32_t)got)
		if ((e = imap_wire_bytes(body->wire, body->chunk->data + offset + filled,
					 length - filled, &got)))
			return e; /* what was read is the start of a message that will not come */
	body->left -= length;
	hand_out(body, offset, length, out);
	return OK;
}

enum err imap_body_stage(struct imap_body *body)
{
	enum err e;

	must(body->left <= STAGE_BYTES_MAX);
	while (body->left)
		if ((e = read_span(body, &body->staged)))
			return e;
	return OK;
}

enum err imap_body_from_quoted(struct imap_body *body, struct text inside, uint64_t *bytes)
{
	uint32_t offset, room, n = 0;
	enum err e;

	must(inside.bytes <= CHUNK_BYTES); /* a line is no longer than that */
	*bytes = 0;
	if (inside.bytes == 0)
		return OK;
	if ((e = find_room(body, inside.bytes, &offset, &room)))
		return e;
	for (size_t i = 0; i < inside.bytes; n++, i++) {
		if (inside.at[i] == '\\' && i + 1 < inside.bytes)
			i++;
		bytes_copy(body->chunk->data + offset + n, inside.at + i, 1, BYTES_LINE_TAIL);
	}
	*bytes = n;
	hand_out(body, offset, n, &body->staged);
	return OK;
}

enum err imap_body_drain(struct imap_body *body)
{
	uint64_t left = body->left;

	body->left = 0;
	iolist_release(&body->staged);
	body->is_open = false;
	if (body->failed && body->failed != ERR_STREAM_ENDED)
		return body->failed;
	return imap_wire_skip(body->wire, left, true);
}

struct stream *imap_body_open(struct imap_body *body)
{
	must(!body->is_open);
	body->is_open = true;
	return &body->stream;
}

static enum err next_span(struct imap_body *body, struct iolist *out)
{
	enum err e;

	if (body->staged.count) {
		*out = body->staged; /* the references move */
		body->staged.count = 0;
		return OK;
	}
	if (body->left)
		return read_span(body, out);
	e = body->ended(body->owner);
	return e ? e : ERR_STREAM_ENDED;
}

static enum err body_pull(struct stream *stream, struct iolist *out)
{
	struct imap_body *body = (struct imap_body *)stream;
	enum err e;

	MAGIC_CHECK(body, BODY_MAGIC);
	must(body->is_open && out->count == 0);
	if (body->failed)
		return body->failed;
	if ((e = next_span(body, out)))
		body->failed = e; /* the end, too, is said again and again */
	return e;
}

/* The rest of the literal is drained by the next imap_fetch_next(): closing must not suspend. */
static void body_close(struct stream *stream)
{
	struct imap_body *body = (struct imap_body *)stream;

	MAGIC_CHECK(body, BODY_MAGIC);
	body->is_open = false;
}
