/* Requests and answers over one connection: see http.h. */
#include "transport/http.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "crypto/secret.h"
#include "engine/clock.h"
#include "transport/conn.h"

enum {
	HTTP_MAGIC = 0x477b9112,
	HTTPS_PORT = 443,
	READ_BYTES = 16 * 1024,	     /* a TLS record; the rest of a head may be body */
	INTERIM_MAX = 16,	     /* 1xx before an answer */
	DRAIN_BYTES_MAX = 64 * 1024, /* cheaper than another handshake */
	REQUEST_HEAD_BYTES_MAX = 64 * 1024,
	HEAD_ROOM_BYTES = HTTP_HEAD_BYTES_MAX + READ_BYTES + 64,
};

struct http {
	uint32_t magic;
	const struct account *account;
	struct conn *conn;
	nsec until;
	struct buffer request; /* wiped after sending */
	struct buffer head;    /* of the answer; what was read past it is in `rest` */
	struct text rest;      /* within `read` */
	struct http_body body;
	char read[READ_BYTES];
	bool asked, keeps_alive, broken, peer_ended;
};

/* ---- URLs ---- */

static enum err bad_url(const char *what, const char *why)
{
	return RAISE(ERR_INPUT_USAGE, "%s %s; https://HOST/PATH is expected", what, why);
}

static bool is_host_char(char c, bool bracketed)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	       c == '.' || c == '-' || (bracketed ? c == ':' : c == '_');
}

/* host or [v6], then maybe :port. */
static enum err parse_authority(const char *what, struct text from, struct http_url *url)
{
	bool bracketed = from.bytes > 0 && *from.at == '[';
	size_t n = 0, at = bracketed;
	unsigned long port = 0;

	for (; at < from.bytes && is_host_char(from.at[at], bracketed); at++, n++) {
		if (n == HTTP_HOST_BYTES_MAX)
			return bad_url(what, "has too long a host name");
		url->host[n] = from.at[at];
	}
	url->host[n] = '\0';
	if (n == 0)
		return bad_url(what, "names no host");
	if (bracketed && (at >= from.bytes || from.at[at++] != ']'))
		return bad_url(what, "has a bracket that is not closed");
	url->port = HTTPS_PORT;
	if (at == from.bytes)
		return OK;
	if (from.at[at++] != ':' || at == from.bytes)
		return bad_url(what, "holds something between host and path that is no port");
	for (; at < from.bytes; at++) {
		if (from.at[at] < '0' || from.at[at] > '9' ||
		    (port = port * 10 + (unsigned long)(from.at[at] - '0')) > UINT16_MAX)
			return bad_url(what, "has a port that is none");
	}
	url->port = (uint16_t)port;
	return port ? OK : bad_url(what, "has a port that is none");
}

enum err http_url_parse(const char *what, const char *text, struct http_url *url)
{
	static const char scheme[] = "https://";
	const char *rest = text + sizeof scheme - 1, *path;
	size_t n;

	*url = (struct http_url){ 0 };
	if (strncmp(text, scheme, sizeof scheme - 1) != 0)
		return bad_url(what, "does not begin with https://");
	path = rest + strcspn(rest, "/?#");
	if (memchr(rest, '@', (size_t)(path - rest)))
		return bad_url(what, "names a user");
	n = strlen(path);
	for (size_t i = 0; i < n; i++)
		if (path[i] <= ' ' || path[i] == 0x7f || path[i] == '#')
			return bad_url(what, "holds a space, a # or what is not ASCII");
	if (n + 1 > HTTP_TARGET_BYTES_MAX)
		return bad_url(what, "is too long");
	snprintf(url->target, sizeof url->target, "%s%s", *path == '/' ? "" : "/", path);
	return parse_authority(what, (struct text){ rest, (size_t)(path - rest) }, url);
}

/* ---- connection ---- */

enum err http_open(const struct account *account, nsec until, struct http **out)
{
	struct http *http = calloc(1, sizeof *http);
	enum err e;

	*out = NULL;
	if (!http)
		return RAISE(ERR_MEMORY_EXHAUSTED, "an HTTP connection");
	http->magic = HTTP_MAGIC;
	http->account = account;
	http->head.bytes_max = http->head.room = HEAD_ROOM_BYTES;
	/* At once: growing would leave copies of what may be a secret in freed memory. */
	if (!(http->head.at = malloc(http->head.room)))
		e = RAISE(ERR_MEMORY_EXHAUSTED, "an HTTP connection");
	else
		e = conn_open(account, HTTPS_PORT, CONN_TLS_NOW, until, &http->conn);
	http->request.bytes_max = REQUEST_HEAD_BYTES_MAX;
	if (e)
		http_close(&http);
	*out = http;
	return e;
}

static void wipe(struct buffer *buffer)
{
	if (buffer->at)
		secret_wipe(buffer->at, buffer->room);
	buffer_free(buffer);
}

/* An answer may hold a secret too: a token. */
void http_close(struct http **closing)
{
	struct http *http = *closing;

	if (!http)
		return;
	MAGIC_CHECK(http, HTTP_MAGIC);
	conn_close(&http->conn);
	wipe(&http->request);
	wipe(&http->head);
	http_parse_body_free(&http->body);
	secret_wipe(http->read, sizeof http->read);
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

/* What comes next into `rest`, which is empty. *ended: nothing does, in an orderly way. */
static enum err read_more(struct http *http, nsec silence, bool *ended)
{
	size_t got = 0;
	enum err e;

	must(http->rest.bytes == 0);
	conn_deadline(http->conn, min_nsec(http->until, clock_after(silence)));
	e = conn_read(http->conn, http->read, sizeof http->read, &got);
	http->rest = (struct text){ http->read, e ? 0 : got };
	*ended = e == ERR_NET_CLOSED && conn_is_secure(http->conn);
	http->broken |= e != OK;
	http->peer_ended |= *ended;
	return e;
}

static void consume(struct http *http, size_t bytes)
{
	http->rest.at += bytes;
	http->rest.bytes -= bytes;
}

/* ---- asking ---- */

static bool is_ours(const char *name)
{
	static const char *const ours[] = { "host", "content-length", "user-agent",
					    "transfer-encoding", "connection" };

	for (size_t i = 0; i < ARRAY_COUNT(ours); i++)
		if (strcasecmp(name, ours[i]) == 0)
			return true;
	return false;
}

/* A value that could end its line would be a field of somebody else's choice. */
static enum err add_fields(struct buffer *to, const struct http_request *request)
{
	for (size_t i = 0; i < request->fields_count; i++) {
		const struct http_field *field = &request->fields[i];

		must(http_parse_is_token(text_of(field->name)) && !is_ours(field->name));
		if (!http_parse_is_value(field->value))
			return RAISE(ERR_INPUT_USAGE,
				     "the header field %s would hold a control character",
				     field->name);
		buffer_addf(to, "%s: ", field->name);
		buffer_add(to, field->value.at, field->value.bytes);
		buffer_add_text(to, "\r\n");
	}
	return OK;
}

static enum err write_head(struct http *http, const struct http_request *request)
{
	const char *host = http->account->host;
	bool is_v6 = strchr(host, ':') != NULL;
	struct buffer *to = &http->request;
	enum err e;

	must(http_parse_is_token(text_of(request->method)) && request->target[0] == '/');
	buffer_addf(to, "%s %s HTTP/1.1\r\nHost: %s%s%s", request->method, request->target,
		    is_v6 ? "[" : "", host, is_v6 ? "]" : "");
	if (http->account->port && http->account->port != HTTPS_PORT)
		buffer_addf(to, ":%u", http->account->port);
	buffer_add_text(to, "\r\nUser-Agent: mailhaul\r\n");
	if ((e = add_fields(to, request)))
		return e;
	/* Methods that are sent content say so even if it is empty, RFC 9110 section 8.6. */
	if (request->body.bytes || strcmp(request->method, "POST") == 0 ||
	    strcmp(request->method, "PUT") == 0)
		buffer_addf(to, "Content-Length: %zu\r\n", request->body.bytes);
	buffer_add_text(to, "\r\n");
	return to->failed ? RAISE(ERR_MEMORY_EXHAUSTED, "the head of an HTTP request") : OK;
}

static enum err send_request(struct http *http, const struct http_request *request)
{
	enum err e;

	buffer_reset(&http->request);
	if ((e = write_head(http, request)) == OK) {
		conn_deadline(http->conn,
			      min_nsec(http->until, clock_after(http->account->io_timeout)));
		e = conn_write(http->conn, http->request.at, http->request.bytes);
	}
	if (e == OK && request->body.bytes)
		e = conn_write(http->conn, request->body.at, request->body.bytes);
	if (e == OK)
		e = conn_flush(http->conn);
	wipe(&http->request);
	return e;
}

/* One head, which may come in any pieces; what follows it stays in `rest`. */
static enum err read_head(struct http *http, nsec first_byte, bool to_head, struct http_head *head)
{
	size_t before, bytes = 0, used;
	bool ended;
	enum err e;

	buffer_reset(&http->head);
	while (bytes == 0) {
		if (http->rest.bytes == 0 &&
		    (e = read_more(http, http->head.bytes ? http->account->io_timeout : first_byte,
				   &ended)))
			return e;
		before = http->head.bytes;
		buffer_add(&http->head, http->rest.at, http->rest.bytes);
		bytes = http_parse_head_bytes((struct text){ http->head.at, http->head.bytes });
		if (http->head.failed || (bytes ? bytes : http->head.bytes) > HTTP_HEAD_BYTES_MAX)
			return RAISE(ERR_HTTP_SYNTAX,
				     "%s answers with a head of more than %d bytes",
				     conn_peer(http->conn)->host, HTTP_HEAD_BYTES_MAX);
		must(bytes == 0 || bytes > before);
		used = bytes ? bytes - before : http->rest.bytes;
		consume(http, used);
	}
	http->head.bytes = bytes;
	return http_parse_head((struct text){ http->head.at, bytes }, to_head, head);
}

/* The answer itself, behind those that only say that it will come (RFC 9110 section 15.2). 101
 * would be another protocol, which was not asked for. */
static enum err read_answer(struct http *http, const struct http_request *request,
			    struct http_head *head)
{
	bool to_head = strcmp(request->method, "HEAD") == 0;
	enum err e;

	for (unsigned i = 0; i <= INTERIM_MAX; i++) {
		if ((e = read_head(http, request->first_byte, to_head, head)))
			return e;
		if (head->status == 101)
			return RAISE(ERR_HTTP_SYNTAX, "%s changes the protocol unasked",
				     conn_peer(http->conn)->host);
		if (head->status >= 200)
			return OK;
	}
	return RAISE(ERR_HTTP_SYNTAX, "%s says over and over that it will answer",
		     conn_peer(http->conn)->host);
}

/* What nobody read of the answer before. */
static enum err drain(struct http *http)
{
	char waste[1024];
	size_t got, bytes = 0;
	enum err e = OK;

	while (http->body.at != HTTP_AT_END && bytes < DRAIN_BYTES_MAX &&
	       (e = http_read(http, waste, sizeof waste, &got)) == OK)
		bytes += got;
	secret_wipe(waste, sizeof waste);
	if (e == ERR_STREAM_ENDED)
		err_note_clear();
	if (http_is_open(http))
		return OK;
	err_note_clear();
	return RAISE(ERR_NET_CLOSED, "the connection to %s is not kept for another request",
		     conn_peer(http->conn)->host);
}

enum err http_ask(struct http *http, const struct http_request *request, nsec until,
		  struct http_head *head)
{
	enum err e;

	MAGIC_CHECK(http, HTTP_MAGIC);
	must(request->first_byte > 0);
	http->until = until;
	if (http->asked && (e = drain(http)))
		return e;
	http->asked = true;
	http->broken = true; /* until the answer's head is there */
	http_parse_body_free(&http->body);
	if ((e = send_request(http, request)) || (e = read_answer(http, request, head)))
		return e;
	http->broken = false;
	http->keeps_alive = head->keeps_alive;
	http_parse_body_begin(&http->body, head);
	return OK;
}

/* ---- the answer's body ---- */

enum err http_read(struct http *http, void *to, size_t max, size_t *got)
{
	struct text content;
	size_t used;
	bool ended;
	enum err e;

	MAGIC_CHECK(http, HTTP_MAGIC);
	must(max > 0);
	for (*got = 0; http->body.at != HTTP_AT_END; consume(http, used)) {
		used = 0;
		if (http->rest.bytes == 0 &&
		    (e = read_more(http, http->account->io_timeout, &ended))) {
			if (!ended)
				return e;
			err_note_clear();
			if ((e = http_parse_body_ended(&http->body)) == OK)
				http->body.at = HTTP_AT_END;
			else
				return e;
			continue;
		}
		e = http_parse_body(&http->body,
				    (struct text){ http->rest.at, min_u64(http->rest.bytes, max) },
				    &used, &content);
		if (e) {
			http->broken = true;
			return e;
		}
		if (content.bytes == 0)
			continue;
		bytes_copy(to, content.at, content.bytes, BYTES_META);
		*got = content.bytes;
		consume(http, used);
		return OK;
	}
	return ERR_STREAM_ENDED;
}

struct text http_trailers(const struct http *http)
{
	MAGIC_CHECK(http, HTTP_MAGIC);
	return (struct text){ http->body.trailers.at, http->body.trailers.bytes };
}
