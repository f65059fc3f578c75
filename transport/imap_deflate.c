/* See imap_deflate.h. */
#include "transport/imap_deflate.h"

#include <stdlib.h>

#include "engine/budget.h"
#include "engine/clock.h"
#include "engine/fiber.h"
#include "engine/limits.h"
#include "transport/conn.h"
#include "transport/deflate.h"

enum { IMAP_DEFLATE_MAGIC = 0x1a4a9d00 };
_Static_assert(DEFLATE_BYTES + 2 * IMAP_DEFLATE_PIECE_BYTES + 1024 <= COMPRESSED_CONVERSATION_BYTES,
	       "a piece for each direction");

struct imap_deflate {
	uint32_t magic;
	struct imap_port below;
	struct conn *conn;
	struct deflate *deflate;

	struct deflate_span arrived; /* of `in`: not opened yet */
	bool more_inside;	     /* something came out last time, so more may, or why not */
	size_t opened;		     /* since the last wait */

	bool writing, failed;
	size_t packed; /* since the last wait */
	uint8_t in[IMAP_DEFLATE_PIECE_BYTES], out[IMAP_DEFLATE_PIECE_BYTES];
};

enum err imap_deflate_open(const struct imap_port *below, struct conn *conn, const void *early,
			   size_t early_bytes, struct imap_deflate **out)
{
	struct imap_deflate *it = malloc(sizeof *it);

	*out = it;
	if (!it)
		return RAISE(ERR_MEMORY_EXHAUSTED, "a compressed conversation");
	memset(it, 0, offsetof(struct imap_deflate, in));
	it->magic = IMAP_DEFLATE_MAGIC;
	it->below = *below;
	it->conn = conn;
	budget_take(BUDGET_CONNECTIONS, COMPRESSED_CONVERSATION_BYTES);
	must(early_bytes <= sizeof it->in);
	bytes_copy(it->in, early, early_bytes, BYTES_META);
	it->arrived = (struct deflate_span){ it->in, early_bytes };
	if (deflate_open(&it->deflate) == OK)
		return OK;
	imap_deflate_close(out);
	return ERR_MEMORY_EXHAUSTED;
}

void imap_deflate_close(struct imap_deflate **it)
{
	if (!*it)
		return;
	MAGIC_CHECK(*it, IMAP_DEFLATE_MAGIC);
	deflate_close(&(*it)->deflate);
	budget_give(BUDGET_CONNECTIONS, COMPRESSED_CONVERSATION_BYTES);
	(*it)->magic = 0;
	free(*it);
	*it = NULL;
}

/* ---- reading ---- */

/* More of the wire. Asked of the clock too: what brings nothing may come without end, and what is
 * there already is read without a wait. */
static enum err receive(struct imap_deflate *it, nsec until)
{
	size_t got;
	enum err e;

	if (clock_now() > until)
		return RAISE(ERR_NET_TIMEOUT,
			     "reading what is compressed: nothing comes out of it");
	it->opened = 0;
	if ((e = it->below.read(it->below.owner, it->in, sizeof it->in, until, &got)))
		return e;
	must(got > 0 && got <= sizeof it->in);
	it->arrived = (struct deflate_span){ it->in, got };
	return OK;
}

static enum err take_turn(size_t *since, size_t more, size_t turn)
{
	*since += more;
	if (*since < turn)
		return OK;
	*since = 0;
	return fiber_yield();
}

static enum err read_opened(void *owner, void *to, size_t max, nsec until, size_t *got)
{
	struct imap_deflate *it = owner;
	enum err e;

	MAGIC_CHECK(it, IMAP_DEFLATE_MAGIC);
	for (;;) {
		if (it->arrived.bytes || it->more_inside) {
			if ((e = deflate_unpack(it->deflate, &it->arrived, to, max, got)))
				return e;
			it->more_inside = *got > 0;
			if (*got)
				return take_turn(&it->opened, *got, IMAP_DEFLATE_OPEN_BYTES_TURN);
		}
		if (it->arrived.bytes == 0 && (e = receive(it, until)))
			return e;
	}
}

struct imap_port imap_deflate_port(struct imap_deflate *it)
{
	return (struct imap_port){ read_opened, it };
}

/* ---- writing ---- */

static enum err send_out(struct imap_deflate *it, size_t bytes)
{
	return bytes ? conn_write(it->conn, it->out, bytes) : OK;
}

static enum err pack(struct imap_deflate *it, struct deflate_span from)
{
	enum err e = OK;

	while (!e && from.bytes) {
		struct deflate_span part = { from.at,
					     min_u64(from.bytes, IMAP_DEFLATE_PACK_BYTES_TURN) };
		size_t most = part.bytes, put;

		put = deflate_pack(it->deflate, &part, it->out, sizeof it->out);
		from.at += most - part.bytes;
		from.bytes -= most - part.bytes;
		if ((e = send_out(it, put)) == OK)
			e = take_turn(&it->packed, most - part.bytes, IMAP_DEFLATE_PACK_BYTES_TURN);
	}
	return e;
}

static enum err pack_rest(struct imap_deflate *it)
{
	bool done = false;
	enum err e = OK;

	while (!e && !done)
		e = send_out(it, deflate_flush(it->deflate, it->out, sizeof it->out, &done));
	return e;
}

/* One fiber at a time, and never behind a gap. */
static enum err begin_writing(struct imap_deflate *it)
{
	MAGIC_CHECK(it, IMAP_DEFLATE_MAGIC);
	must(!it->writing);
	if (it->failed)
		return RAISE(ERR_NET_RESET, "sending what is compressed: an earlier send was cut "
					    "short");
	it->writing = true;
	return OK;
}

static enum err end_writing(struct imap_deflate *it, enum err e)
{
	it->writing = false;
	it->failed |= e != OK;
	return e;
}

enum err imap_deflate_write(struct imap_deflate *it, const void *from, size_t bytes)
{
	enum err e = begin_writing(it);

	return e ? e : end_writing(it, pack(it, (struct deflate_span){ from, bytes }));
}

enum err imap_deflate_flush(struct imap_deflate *it)
{
	enum err e = begin_writing(it);

	if (!e)
		e = end_writing(it, pack_rest(it));
	return e ? e : conn_flush(it->conn);
}
