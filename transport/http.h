/* A client of HTTP/1.1 (RFC 9110, 9112) over one connection, always under TLS: a request, then the
 * answer's head, then its body as it comes. Keeps the connection for further requests where the
 * server does. Follows no redirection and repeats nothing by itself: both are decisions of whoever
 * asks. One fiber at a time. Not for: many connections (http_pool.h). */
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

/* A body that is made while it is sent, by a fiber of its own with a small stack. */
struct http_feed {
	/* The next piece, borrowed until the next call or the request's end; ERR_STREAM_ENDED: that
	 * was all. Any other error ends the request with it. Pieces of 16 KiB and more cost least.
	 * May suspend, for no longer than a deadline of its own. */
	enum err (*next)(void *context, struct text *piece);
	void *context;
	/* Of all pieces: ERR_STREAM_CUT if they have not exactly so many. HTTP_BYTES_UNKNOWN: they
	 * go out as chunks (RFC 9112 section 7.1). */
	uint64_t bytes;
	/* Behind chunks. Names are announced in the head, values are read when next() has said that
	 * it was all. */
	const struct http_field *trailers;
	size_t trailers_count;
};
#define HTTP_BYTES_UNKNOWN UINT64_MAX

struct http_request {
	const char *method, *target; /* "/path?query", percent-encoded */
	/* Besides Host, User-Agent and those that say how the body goes. */
	const struct http_field *fields;
	size_t fields_count;
	/* The body: one of these, or none. Sent from where it lies, in whole TLS records as far as
	 * pieces reach; what fits one record with the head travels in it. */
	struct text body; /* {NULL, 0}: not this one */
	const struct text *pieces;
	size_t pieces_count;
	const struct http_feed *feed;
	/* How long the server may think before its answer begins, when it has the request. */
	nsec first_byte;
	/* Ask before the body is sent whether it shall be (Expect: 100-continue, RFC 9110 section
	 * 10.1.1), and send it after so long a silence all the same. 0: do not ask. */
	nsec continue_wait;
	bool hides_target; /* it is a secret itself: not to be shown in traces */
};

struct http;

/* Connect to account->host and port (443 unless given) and shake hands. Of the account, which is
 * borrowed until the end, count host, port, ca_file, both timeouts, the route, `met`, `parted` and
 * `heard`. ERR_NET_*, ERR_TLS_*, ERR_PROXY_*. A connection takes HTTP_CONNECTION_BYTES beside
 * those of conn.h, and from a body on that is more than a record HTTP_SENDING_BYTES, until
 * http_rest().
 * Suspends. */
enum err http_open(const struct account *, nsec until, struct http **) MUST_CHECK;
/* Send a request, which is borrowed until return, and read the head of its answer, which is valid
 * until the next request; interim answers (1xx) are passed over. What is left of the answer before
 * is read and dropped first where that is little, else ERR_NET_CLOSED: open another.
 *
 * A server may answer before it has heard all of a body (413, 503), or because it was asked whether
 * it wants it (417, 403). It is heard while the body is sent and is an answer like any other; the
 * rest is not sent and the connection not kept, because the server would take what it still gets
 * for the next request (RFC 9112 section 9.3).
 *
 * A silence longer than account->io_timeout within the answer is ERR_NET_TIMEOUT, and so is a
 * flight of up to 112 KiB of the body that the server does not take for so long, and `until`, which
 * holds for http_read() of this answer, too. ERR_NET_*, ERR_TLS_*, ERR_HTTP_SYNTAX,
 * ERR_INPUT_USAGE. Our buffers are wiped of what was sent. Suspends. */
enum err http_ask(struct http *, const struct http_request *, nsec until,
		  struct http_head *) MUST_CHECK;
/* The last http_ask() failed because a connection that had been used before was ended by the
 * server, and not a byte of an answer came. Most likely it closed it before it saw the request, but
 * nobody knows: on another connection what is idempotent may be repeated at once, without counting
 * it as a failure (RFC 9110 section 9.2.2, RFC 9112 section 9.3.1). */
bool http_was_stale(const struct http *);
/* At least one byte of the answer's body into `to`, at most max; opened there without a copy but
 * for what came in one read with the head (below 4 KiB) or a line of a chunked body.
 * ERR_STREAM_ENDED: that was all; ERR_STREAM_CUT: it is not whole. Suspends. */
enum err http_read(struct http *, void *to, size_t max, size_t *got) MUST_CHECK;
/* The fields behind a chunked body, when it has ended; empty where there are none. */
struct text http_trailers(const struct http *);
/* Whether another request may follow: the last answer was read to its end and the server keeps the
 * connection. */
bool http_is_open(const struct http *);
/* The same for one that was idle, with a look at whether the server has ended it meanwhile, or said
 * what nobody asked for. Does not wait, but other fibers may run. */
bool http_is_live(struct http *);
/* Nothing will be asked for a while: what is left of the last answer, its head too, is wiped and
 * its memory given back. Of one that is open. */
void http_rest(struct http *);
/* How long the server said that it keeps the connection ("Keep-Alive: timeout=5"); 0: it did not.
 */
nsec http_keeps_for(const struct http *);
const struct account *http_account(const struct http *);
/* Say goodbye to the server. Suspends, at most until the deadline. */
enum err http_finish(struct http *, nsec until) MUST_CHECK;
void http_close(struct http **);

#endif
