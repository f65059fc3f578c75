/* A client of HTTP/1.1 (RFC 9110, 9112) over one connection, always under TLS: a request whose head
 * and body are in memory, then the answer's head, then its body as it comes. Keeps the connection
 * for further requests where the server does. Follows no redirection and repeats nothing by itself:
 * both are decisions of whoever asks. One fiber at a time. Not for: pools of connections. */
#ifndef MAILHAUL_HTTP_H
#define MAILHAUL_HTTP_H

#include "engine/source.h"
#include "transport/http_parse.h"

enum { HTTP_HOST_BYTES_MAX = 255, HTTP_TARGET_BYTES_MAX = 2048 };

/* "https://host[:port]/path?query" and nothing else: no other scheme, no user, no fragment. */
struct http_url {
	char host[HTTP_HOST_BYTES_MAX + 1];	/* without brackets */
	uint16_t port;				/* 443 unless it says another */
	char target[HTTP_TARGET_BYTES_MAX + 1]; /* path and query, at least "/" */
};
/* ERR_INPUT_USAGE says what is wrong; `what` names the URL in it. */
enum err http_url_parse(const char *what, const char *text, struct http_url *) MUST_CHECK;

struct http_field {
	const char *name;
	struct text value;
};
struct http_request {
	const char *method, *target;
	const struct http_field *fields; /* Host, Content-Length and User-Agent are added */
	size_t fields_count;
	struct text body; /* {NULL, 0}: none */
	nsec first_byte;  /* how long the server may think before its answer begins */
};

struct http;

/* Connect to account->host and port (443 unless given) and shake hands. Of the account, which is
 * borrowed until the end, count host, port, ca_file, both timeouts, the route, `met` and
 * `parted`. ERR_NET_*, ERR_TLS_*.
 * Suspends. */
enum err http_open(const struct account *, nsec until, struct http **) MUST_CHECK;
/* Send a request, which is borrowed until return, and read the head of its answer, which is valid
 * until the next request; interim answers (1xx) are passed over. What is left of the answer before
 * is read and dropped first where that is little, else ERR_NET_CLOSED: open another. A silence
 * longer than account->io_timeout within the answer is ERR_NET_TIMEOUT, and so is `until`.
 * ERR_NET_*, ERR_TLS_*, ERR_HTTP_SYNTAX. What was sent is wiped from our buffers. Suspends. */
enum err http_ask(struct http *, const struct http_request *, nsec until,
		  struct http_head *) MUST_CHECK;
/* At least one byte of the answer's body into `to`, at most max. ERR_STREAM_ENDED: that was all;
 * ERR_STREAM_CUT: it is not whole. Suspends. */
enum err http_read(struct http *, void *to, size_t max, size_t *got) MUST_CHECK;
/* The fields behind a chunked body, when it has ended; empty where there are none. */
struct text http_trailers(const struct http *);
/* Whether another request may follow: the last answer was read to its end and the server keeps the
 * connection. */
bool http_is_open(const struct http *);
/* Say goodbye to the server. Suspends, at most until the deadline. */
enum err http_finish(struct http *, nsec until) MUST_CHECK;
void http_close(struct http **);

#endif
