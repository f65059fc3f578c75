/* What a client of HTTP says: the head, then the body out of memory or as it is pulled. A long body
 * is sent by a fiber of its own while the one that asked listens, because a server may answer
 * before it has heard all (RFC 9112 section 9.5), and perhaps reads no more then. */
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "crypto/secret.h"
#include "engine/budget.h"
#include "engine/clock.h"
#include "engine/fiber.h"
#include "engine/limits.h"
#include "transport/http_state.h"
#include "transport/http_trace.h"

enum {
	REQUEST_HEAD_BYTES_MAX = 64 * 1024,
	RECORD_BYTES = 16 * 1024, /* of TLS, RFC 8446 section 5.1 */
	/* Goes out at once; with what TLS adds to it and a record more it fits 128 KiB. */
	FLIGHT_BYTES = 6 * RECORD_BYTES,
};
_Static_assert(2 * 128 * 1024 == HTTP_SENDING_BYTES, "conn gathers in one while it sends another");

struct sending {
	struct http *http;
	const struct http_request *request;
	uint64_t body_bytes; /* or HTTP_BYTES_UNKNOWN */
	bool joined;	     /* the body is in one record with the head */
	bool ended;	     /* the fiber that sends the body has */
	size_t gathered;     /* bytes that wait to go out */
};

/* ---- the body's length ---- */

static uint64_t body_bytes_of(const struct http_request *request)
{
	uint64_t bytes = request->body.bytes;

	must(!!request->body.bytes + !!request->pieces_count + !!request->feed <= 1);
	for (size_t i = 0; i < request->pieces_count; i++)
		bytes += request->pieces[i].bytes;
	return request->feed ? request->feed->bytes : bytes;
}

/* The whole request in one record: nobody waits for a word between them. */
static bool can_join(const struct sending *sending, size_t head_bytes)
{
	return !sending->request->feed && !sending->request->continue_wait &&
	       head_bytes + sending->body_bytes <= RECORD_BYTES;
}

/* ---- the head ---- */

static bool is_ours(const char *name)
{
	static const char *const ours[] = { "host",	  "content-length",
					    "user-agent", "transfer-encoding",
					    "connection", "expect",
					    "trailer" };

	for (size_t i = 0; i < ARRAY_COUNT(ours); i++)
		if (strcasecmp(name, ours[i]) == 0)
			return true;
	return false;
}

/* A value that could end its line would be a field of somebody else's choice. */
static enum err add_fields(struct buffer *to, const struct http_field *fields, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		must(http_parse_is_token(text_of(fields[i].name)) && !is_ours(fields[i].name));
		if (!http_parse_is_value(fields[i].value))
			return RAISE(ERR_INPUT_USAGE,
				     "the header field %s would hold a control character",
				     fields[i].name);
		buffer_add_text(to, fields[i].name);
		buffer_add_text(to, ": ");
		buffer_add(to, fields[i].value.at, fields[i].value.bytes);
		buffer_add_text(to, "\r\n");
	}
	return OK;
}

/* Methods that are sent content say so even if it is empty, RFC 9110 section 8.6. */
static void add_framing(struct buffer *to, const struct sending *sending)
{
	const struct http_request *request = sending->request;

	if (sending->body_bytes == HTTP_BYTES_UNKNOWN)
		buffer_add_text(to, "Transfer-Encoding: chunked\r\n");
	else if (sending->body_bytes || strcmp(request->method, "POST") == 0 ||
		 strcmp(request->method, "PUT") == 0)
		buffer_addf(to, "Content-Length: %llu\r\n",
			    (unsigned long long)sending->body_bytes);
	for (size_t i = 0; request->feed && i < request->feed->trailers_count; i++)
		buffer_addf(to, "Trailer: %s\r\n", request->feed->trailers[i].name);
	if (request->continue_wait && sending->body_bytes)
		buffer_add_text(to, "Expect: 100-continue\r\n");
}

/* At least what the head needs. */
static size_t head_room(const struct http *http, const struct http_request *request)
{
	size_t bytes = 512 + strlen(http->account->host) + strlen(request->method) +
		       strlen(request->target);

	for (size_t i = 0; i < request->fields_count; i++)
		bytes += strlen(request->fields[i].name) + request->fields[i].value.bytes + 4;
	for (size_t i = 0; request->feed && i < request->feed->trailers_count; i++)
		bytes += strlen(request->feed->trailers[i].name) + 16;
	return bytes;
}

/* As it goes on the wire, RFC 9112 section 3.2.1: whoever asks has encoded the rest. */
static bool is_target(const char *target)
{
	for (const char *at = target; *at; at++)
		if (*at <= ' ' || *at == 0x7f)
			return false;
	return *target == '/';
}

static enum err fill_head(const struct sending *sending, struct buffer *to)
{
	const struct http_request *request = sending->request;
	const struct account *account = sending->http->account;
	bool is_v6 = strchr(account->host, ':') != NULL;
	enum err e;

	must(http_parse_is_token(text_of(request->method)) && is_target(request->target));
	buffer_addf(to, "%s %s HTTP/1.1\r\nHost: %s%s%s", request->method, request->target,
		    is_v6 ? "[" : "", account->host, is_v6 ? "]" : "");
	if (account->port && account->port != HTTPS_PORT)
		buffer_addf(to, ":%u", account->port);
	buffer_add_text(to, "\r\nUser-Agent: mailhaul\r\n");
	if ((e = add_fields(to, request->fields, request->fields_count)))
		return e;
	add_framing(to, sending);
	buffer_add_text(to, "\r\n");
	return OK;
}

static void join_body(struct sending *sending, struct buffer *to)
{
	const struct http_request *request = sending->request;

	sending->joined = true;
	buffer_add(to, request->body.at, request->body.bytes);
	for (size_t i = 0; i < request->pieces_count; i++)
		buffer_add(to, request->pieces[i].at, request->pieces[i].bytes);
}

/* ---- sending ---- */

static enum err flush(struct sending *sending)
{
	sending->gathered = 0;
	return conn_flush(sending->http->conn);
}

/* Record by record, straight from where it lies; the deadline moves on with what moves. */
static enum err send_span(struct sending *sending, struct text span)
{
	struct http *http = sending->http;
	enum err e = OK;

	while (!e && span.bytes > 0) {
		size_t bytes = min_u64(span.bytes, RECORD_BYTES);

		conn_deadline(http->conn,
			      min_nsec(http->until, clock_after(http->account->io_timeout)));
		if ((e = conn_write(http->conn, span.at, bytes)))
			break;
		span = (struct text){ span.at + bytes, span.bytes - bytes };
		sending->gathered += bytes;
		if (sending->gathered >= FLIGHT_BYTES)
			e = flush(sending);
	}
	return e;
}

/* The head may hold what is secret, so it is written to memory that need not grow, which would
 * leave copies, and wiped. */
static enum err send_head(struct sending *sending)
{
	size_t room = head_room(sending->http, sending->request);
	bool joins = can_join(sending, room);
	struct buffer head = { .room = room + (joins ? sending->body_bytes : 0) + 1 };
	enum err e;

	if (room > REQUEST_HEAD_BYTES_MAX)
		return RAISE(ERR_INPUT_USAGE, "the head of a request would have over %d bytes",
			     REQUEST_HEAD_BYTES_MAX);
	if (!(head.at = malloc(head.room)))
		return RAISE(ERR_MEMORY_EXHAUSTED, "the head of an HTTP request");
	head.bytes_max = head.room - 1;
	if ((e = fill_head(sending, &head)) == OK) {
		sending->http->exchange = http_trace_request(sending->http->account->host,
							     (struct text){ head.at, head.bytes },
							     sending->request->hides_target);
		if (joins)
			join_body(sending, &head);
		must(!head.failed);
		e = send_span(sending, (struct text){ head.at, head.bytes });
	}
	secret_wipe(head.at, head.room);
	buffer_free(&head);
	return e;
}

static enum err send_pieces(struct sending *sending)
{
	const struct http_request *request = sending->request;
	enum err e = send_span(sending, request->body);

	for (size_t i = 0; !e && i < request->pieces_count; i++)
		e = send_span(sending, request->pieces[i]);
	return e;
}

/* ---- a body that is pulled ---- */

/* RFC 9112 section 7.1. The end of a chunk's line goes out with the beginning of the next. */
static enum err send_chunk_line(struct sending *sending, uint64_t before, size_t bytes)
{
	char line[32];

	snprintf(line, sizeof line, "%s%zx\r\n", before ? "\r\n" : "", bytes);
	return send_span(sending, text_of(line));
}

/* The last chunk and the fields behind it, whose values are known now. */
static enum err send_trailers(struct sending *sending, uint64_t before)
{
	const struct http_feed *feed = sending->request->feed;
	struct buffer fields = { .bytes_max = REQUEST_HEAD_BYTES_MAX };
	enum err e = send_chunk_line(sending, before, 0);

	if (!e && (e = add_fields(&fields, feed->trailers, feed->trailers_count)) == OK) {
		buffer_add_text(&fields, "\r\n");
		e = fields.failed ? RAISE(ERR_MEMORY_EXHAUSTED, "the trailers of a request")
				  : send_span(sending, (struct text){ fields.at, fields.bytes });
	}
	buffer_free(&fields);
	return e;
}

static enum err other_length(const struct http_feed *feed, uint64_t bytes)
{
	return RAISE(ERR_STREAM_CUT, "a request's body has %s than the %llu bytes that were said",
		     bytes < feed->bytes ? "less" : "more", (unsigned long long)feed->bytes);
}

static enum err send_feed(struct sending *sending)
{
	const struct http_feed *feed = sending->request->feed;
	bool chunked = feed->bytes == HTTP_BYTES_UNKNOWN;
	struct text piece = { NULL, 0 };
	uint64_t bytes = 0;
	enum err e;

	while ((e = feed->next(feed->context, &piece)) == OK) {
		if (piece.bytes > feed->bytes - bytes)
			return other_length(feed, bytes + piece.bytes);
		if (chunked && piece.bytes)
			e = send_chunk_line(sending, bytes, piece.bytes);
		if (e || (e = send_span(sending, piece)))
			return e;
		bytes += piece.bytes;
	}
	if (e != ERR_STREAM_ENDED)
		return e;
	if (chunked)
		return send_trailers(sending, bytes);
	return bytes == feed->bytes ? OK : other_length(feed, bytes);
}

/* ---- sending and listening ---- */

/* The fiber that sends the body. */
static enum err body_main(void *argument)
{
	struct sending *sending = argument;
	struct http *http = sending->http;
	enum err e = sending->request->feed ? send_feed(sending) : send_pieces(sending);

	if (!e)
		e = flush(sending);
	http->sent = e == OK;
	sending->ended = true;
	conn_stir(http->conn);
	return e;
}

/* Until the answer is there, or `*enough`, or somebody's patience has an end. */
static enum err listen_until(struct http *http, const bool *enough, nsec until)
{
	enum err e;

	while ((e = http_hear_ready(http)) == OK && !http->answered && !*enough)
		/* Messages of TLS may come without end, so the clock has to be asked. */
		if ((e = clock_now() > until ? ERR_FIBER_TIMEOUT : conn_await(http->conn, until)))
			break;
	return e;
}

/* What is sent when the server has answered is of no use to it. */
static enum err send_body_listening(struct sending *sending)
{
	struct http *http = sending->http;
	struct group *group = group_open();
	bool had_note = err_note()->error != OK;
	enum err e, of_body;

	e = group_spawn(group, "http body", FIBER_STACK_SMALL, body_main, sending);
	if (!e)
		e = listen_until(http, &sending->ended, http->until);
	if (e == ERR_FIBER_TIMEOUT)
		e = RAISE(ERR_NET_TIMEOUT, "sending to %s: not all of it was sent in time",
			  conn_peer(http->conn)->host);
	if (!sending->ended)
		group_cancel(group);
	of_body = group_join(&group);
	if (!http->sent)
		conn_mute(http->conn);
	if (!http->answered || e)
		return e ? e : of_body;
	if (!had_note)
		err_note_clear();
	return OK;
}

/* "A client that will wait for a 100 response before sending content SHOULD NOT wait indefinitely",
 * because a server may not know the expectation: RFC 9110 section 10.1.1. */
static enum err await_leave(struct http *http, nsec wait)
{
	enum err e = conn_flush(http->conn);

	if (!e)
		e = listen_until(http, &http->continued, min_nsec(http->until, clock_after(wait)));
	return e == ERR_FIBER_TIMEOUT ? OK : e;
}

static enum err send_body(struct sending *sending)
{
	enum err e;

	if (!sending->joined)
		budget_hold(BUDGET_CONNECTIONS, &sending->http->held,
			    HTTP_CONNECTION_BYTES + HTTP_SENDING_BYTES);
	if (sending->body_bytes > FLIGHT_BYTES || sending->request->feed)
		return send_body_listening(sending);
	if (!sending->joined && (e = send_pieces(sending)))
		return e;
	e = flush(sending);
	sending->http->sent = e == OK;
	return e;
}

/* Sending failed. A server that refuses may have said so before it went. */
static enum err hear_last_words(struct http *http, enum err e, bool had_note)
{
	if (e != ERR_NET_CLOSED && e != ERR_NET_RESET && e != ERR_NET_TIMEOUT)
		return e;
	conn_mute(http->conn);
	if (e == ERR_NET_TIMEOUT ? http_hear_ready(http)
				 : http_hear(http, http->account->io_timeout))
		return e;
	if (!http->answered)
		return e;
	if (!had_note)
		err_note_clear();
	return OK;
}

enum err http_send(struct http *http, const struct http_request *request)
{
	struct sending sending = { .http = http,
				   .request = request,
				   .body_bytes = body_bytes_of(request) };
	bool had_note = err_note()->error != OK;
	enum err e;

	e = send_head(&sending);
	if (!e && request->continue_wait && sending.body_bytes)
		e = await_leave(http, request->continue_wait);
	if (!e && !http->answered)
		e = send_body(&sending);
	return e ? hear_last_words(http, e, had_note) : OK;
}
