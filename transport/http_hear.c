/* The head of an answer, whenever and in whatever pieces it comes: see http_state.h. */
#include "engine/clock.h"
#include "transport/http_state.h"
#include "transport/http_trace.h"

enum { INTERIM_MAX = 16 /* 1xx before an answer */ };

void http_consume(struct http *http, size_t bytes)
{
	must(bytes <= http->rest.bytes);
	http->rest.at += bytes;
	http->rest.bytes -= bytes;
}

/* What a read of the connection came to. */
static enum err note_read(struct http *http, enum err e, size_t got, bool *ended)
{
	*ended = e == ERR_NET_CLOSED && conn_is_secure(http->conn);
	http->broken |= e != OK;
	http->peer_ended |= *ended;
	http->heard |= e == OK && got > 0;
	return e;
}

enum err http_receive(struct http *http, void *to, size_t max, nsec silence, size_t *got,
		      bool *ended)
{
	enum err e;

	must(http->rest.bytes == 0);
	conn_deadline(http->conn, min_nsec(http->until, clock_after(silence)));
	e = conn_read(http->conn, to, max, got);
	return note_read(http, e, *got, ended);
}

/* ---- heads ---- */

/* Move lines of `rest` into the head until it is whole. */
static enum err gather_head(struct http *http, bool *whole)
{
	struct buffer *head = &http->head;
	const char *lf;
	size_t bytes;

	while (!*whole && http->rest.bytes > 0) {
		lf = memchr(http->rest.at, '\n', http->rest.bytes);
		bytes = lf ? (size_t)(lf - http->rest.at) + 1 : http->rest.bytes;
		if (head->bytes + bytes > HTTP_HEAD_BYTES_MAX)
			return RAISE(ERR_HTTP_SYNTAX,
				     "%s answers with a head of more than %d bytes",
				     conn_peer(http->conn)->host, HTTP_HEAD_BYTES_MAX);
		buffer_add(head, http->rest.at, bytes);
		http_consume(http, bytes);
		if (head->failed)
			return RAISE(ERR_MEMORY_EXHAUSTED, "the head of an answer of %s",
				     conn_peer(http->conn)->host);
		*whole = head->bytes >= 4 && memcmp(head->at + head->bytes - 4, "\r\n\r\n", 4) == 0;
	}
	return OK;
}

/* A head is whole: the answer, or one that only says that it will come (RFC 9110 section 15.2). 101
 * would be another protocol, which was not asked for. */
static enum err judge_head(struct http *http)
{
	struct text text = { http->head.at, http->head.bytes };
	struct http_head *answer = http->answer;
	enum err e;

	if ((e = http_parse_head(text, http->to_head, answer)))
		return e;
	http_trace_answer(http->account->host, http->exchange, answer->status, text);
	http->answered = answer->status >= 200;
	http->continued |= answer->status == 100;
	if (http->answered)
		return OK;
	if (answer->status == 101)
		return RAISE(ERR_HTTP_SYNTAX, "%s changes the protocol unasked",
			     conn_peer(http->conn)->host);
	if (++http->interims > INTERIM_MAX)
		return RAISE(ERR_HTTP_SYNTAX, "%s says over and over that it will answer",
			     conn_peer(http->conn)->host);
	buffer_reset(&http->head);
	return OK;
}

/* What of heads there is in `rest`. */
static enum err take_heads(struct http *http)
{
	enum err e = OK;

	while (!e && !http->answered && http->rest.bytes > 0) {
		bool whole = false;

		e = gather_head(http, &whole);
		if (!e && whole)
			e = judge_head(http);
	}
	return e;
}

enum err http_hear(struct http *http, nsec first_byte)
{
	size_t got;
	bool ended;
	enum err e = take_heads(http);

	while (!e && !http->answered) {
		e = http_receive(http, http->read, sizeof http->read,
				 http->head.bytes ? http->account->io_timeout : first_byte, &got,
				 &ended);
		if (e)
			return e;
		http->rest = (struct text){ http->read, got };
		e = take_heads(http);
	}
	return e;
}

enum err http_hear_ready(struct http *http)
{
	size_t got = 0;
	bool ended;
	enum err e = take_heads(http);

	while (!e && !http->answered) {
		e = conn_read_ready(http->conn, http->read, sizeof http->read, &got);
		if ((e = note_read(http, e, got, &ended)) || got == 0)
			return e;
		http->rest = (struct text){ http->read, got };
		e = take_heads(http);
	}
	return e;
}
