/* Requests and answers over one connection: see http.h. What is said is http_send.c's, how the
 * answer's head is heard http_hear.c's. */
#include "transport/http.h"

#include <stdlib.h>

#include "crypto/secret.h"
#include "engine/budget.h"
#include "engine/clock.h"
#include "engine/limits.h"
#include "transport/http_state.h"

enum { DRAIN_BYTES_MAX = 64 * 1024 /* cheaper than another handshake */ };

/* ---- connection ---- */

enum err http_open(const struct account *account, nsec until, struct http **out)
{
	struct http *http = calloc(1, sizeof *http);
	enum err e;

	*out = NULL;
	if (!http)
		return RAISE(ERR_MEMORY_EXHAUSTED, "an HTTP connection");
	budget_hold(BUDGET_CONNECTIONS, &http->held, HTTP_CONNECTION_BYTES);
	http->magic = HTTP_MAGIC;
	http->account = account;
	http->head.bytes_max = HTTP_HEAD_BYTES_MAX;
	if ((e = conn_open(account, HTTPS_PORT, CONN_TLS_NOW, until, &http->conn)))
		http_close(&http);
	*out = http;
	return e;
}

/* An answer may hold a secret too: a token. */
static void forget_answer(struct http *http)
{
	if (http->head.at)
		secret_wipe(http->head.at, http->head.room);
	buffer_free(&http->head);
	http_parse_body_free(&http->body);
	secret_wipe(http->read, sizeof http->read);
	http->rest = (struct text){ NULL, 0 };
}

void http_close(struct http **closing)
{
	struct http *http = *closing;

	if (!http)
		return;
	MAGIC_CHECK(http, HTTP_MAGIC);
	conn_close(&http->conn);
	forget_answer(http);
	budget_hold(BUDGET_CONNECTIONS, &http->held, 0);
	free(http);
	*closing = NULL;
}

enum err http_finish(struct http *http, nsec until)
{
	MAGIC_CHECK(http, HTTP_MAGIC);
	http->keeps_alive = false;
	conn_deadline(http->conn, until);
	return conn_finish(http->conn);
}

bool http_is_open(const struct http *http)
{
	MAGIC_CHECK(http, HTTP_MAGIC);
	return !http->broken && !http->peer_ended && http->keeps_alive &&
	       http->body.at == HTTP_AT_END && http->rest.bytes == 0;
}

bool http_is_live(struct http *http)
{
	bool had_note = err_note()->error != OK;
	size_t got = 0;
	enum err e;

	if (!http_is_open(http))
		return false;
	e = conn_read_ready(http->conn, http->read, sizeof http->read, &got);
	if (e && !had_note)
		err_note_clear();
	http->broken = e || got > 0; /* nothing was asked, so nothing is an answer */
	http->was_live = !http->broken;
	return http->was_live;
}

void http_rest(struct http *http)
{
	must(http_is_open(http));
	forget_answer(http);
	conn_rest(http->conn);
	budget_hold(BUDGET_CONNECTIONS, &http->held, HTTP_CONNECTION_BYTES);
}

bool http_was_stale(const struct http *http)
{
	MAGIC_CHECK(http, HTTP_MAGIC);
	return http->was_stale;
}

nsec http_keeps_for(const struct http *http)
{
	MAGIC_CHECK(http, HTTP_MAGIC);
	return http->keeps_for;
}

const struct account *http_account(const struct http *http)
{
	MAGIC_CHECK(http, HTTP_MAGIC);
	return http->account;
}

/* ---- asking ---- */

/* What nobody read of the answer before; and whether the connection can be asked again. */
static enum err drain(struct http *http)
{
	char waste[1024];
	size_t got, bytes = 0;
	enum err e = OK;

	while (http->body.at != HTTP_AT_END && bytes < DRAIN_BYTES_MAX &&
	       (e = http_read(http, waste, sizeof waste, &got)) == OK)
		bytes += got;
	secret_wipe(waste, sizeof waste);
	if (e == ERR_FIBER_CANCELED)
		return e;
	err_note_clear();
	if (http->was_live || http_is_live(http))
		return OK;
	http->was_stale = true;
	return RAISE(ERR_NET_CLOSED, "the connection to %s is not kept for another request",
		     conn_peer(http->conn)->host);
}

static void begin(struct http *http, const struct http_request *request, struct http_head *head)
{
	http->answer = head;
	http->to_head = strcmp(request->method, "HEAD") == 0;
	http->was_live = http->heard = http->continued = http->answered = http->sent = false;
	http->acknowledged = false;
	http->interims = 0;
	http->asked = true;
	http->broken = true; /* until the answer's head is there */
	buffer_reset(&http->head);
	http_parse_body_free(&http->body);
}

static bool is_gone(enum err e)
{
	return e == ERR_NET_CLOSED || e == ERR_NET_RESET || e == ERR_TLS_CUT;
}

enum err http_ask(struct http *http, const struct http_request *request, nsec until,
		  struct http_head *head)
{
	bool was_kept;
	enum err e;

	MAGIC_CHECK(http, HTTP_MAGIC);
	must(request->first_byte > 0);
	http->until = until;
	http->was_stale = false;
	was_kept = http->asked;
	if (was_kept && (e = drain(http)))
		return e;
	begin(http, request, head);
	e = http_send(http, request);
	if (!e && !http->answered)
		e = http_hear(http, request->first_byte);
	http->was_stale = was_kept && !http->heard && is_gone(e);
	if (e)
		return e;
	http->broken = false;
	/* What of the request the server did not get, it would take for the next one. */
	http->keeps_alive = head->keeps_alive && http->sent;
	http->keeps_for = head->keeps_for;
	http_parse_body_begin(&http->body, head);
	return OK;
}

/* ---- the answer's body ---- */

/* The connection has ended, or failed. */
static enum err body_ended(struct http *http, enum err e, bool ended)
{
	if (!ended)
		return e;
	err_note_clear();
	if ((e = http_parse_body_ended(&http->body)) == OK)
		http->body.at = HTTP_AT_END;
	return e;
}

/* Of what came together with the head or with lines of a chunked body. */
static enum err take_rest(struct http *http, void *to, size_t max, size_t *got)
{
	struct text content;
	size_t used = 0;
	enum err e;

	e = http_parse_body(&http->body,
			    (struct text){ http->rest.at, min_u64(http->rest.bytes, max) }, &used,
			    &content);
	http->broken |= e != OK;
	if (e)
		return e;
	bytes_copy(to, content.at, content.bytes, BYTES_LINE_TAIL);
	http_consume(http, used);
	*got = content.bytes;
	return OK;
}

/* Where nothing but content can come next, it is opened to where it shall be. */
static enum err read_straight(struct http *http, void *to, size_t max, size_t *got, bool *ended)
{
	uint64_t straight = http_parse_body_straight(&http->body);
	enum err e;

	/* Servers that send head and body one by one gather (radosgw). */
	if (!http->acknowledged)
		conn_acknowledge(http->conn);
	http->acknowledged = true;
	if (straight > 0) {
		e = http_receive(http, to, min_u64(max, straight), http->account->io_timeout, got,
				 ended);
		if (!e)
			http_parse_body_took(&http->body, *got);
		return e;
	}
	e = http_receive(http, http->read, sizeof http->read, http->account->io_timeout, got,
			 ended);
	http->rest = (struct text){ http->read, e ? 0 : *got };
	*got = 0;
	return e;
}

enum err http_read(struct http *http, void *to, size_t max, size_t *got)
{
	bool ended = false;
	enum err e;

	MAGIC_CHECK(http, HTTP_MAGIC);
	must(max > 0);
	*got = 0;
	while (http->body.at != HTTP_AT_END) {
		if (http->rest.bytes > 0)
			e = take_rest(http, to, max, got);
		else if ((e = read_straight(http, to, max, got, &ended)))
			e = body_ended(http, e, ended);
		if (e || *got > 0)
			return e;
	}
	return ERR_STREAM_ENDED;
}

struct text http_trailers(const struct http *http)
{
	MAGIC_CHECK(http, HTTP_MAGIC);
	return (struct text){ http->body.trailers.at, http->body.trailers.bytes };
}
