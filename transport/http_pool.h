/* Connections to HTTP servers that are kept between requests, for the fibers of one thread. Each
 * *place* (host, port, trust, key, route, timeouts, and whom met() and parted() tell) has at most
 * so many connections. One is lent to one fiber at a time; who finds none free waits in order.
 *
 * A connection that is idle for HTTP_IDLE_MAX, or for as long as its server said that it keeps it,
 * is not lent any more. Before one is lent it is looked at whether the server has ended it. Between
 * that look and the request's arrival it still may: http_was_stale(), upon which http_pool_give()
 * drops the place's idle ones, so that the next http_pool_take() connects anew. Whether to repeat
 * is decided above.
 *
 * Several addresses of a host are tried in the resolver's order (dial.h); a name is looked up for
 * each connection, and services that are many machines answer with others each time.
 *
 * An idle connection takes some 70 KiB (bench/idle_bench: 64 KiB of TLS), and 32 KiB more when it
 * has sent a body, to send the next one from. Counted are
 * CONNECTION_BYTES and HTTP_CONNECTION_BYTES, and HTTP_SENDING_BYTES while one that sends bodies is
 * lent.
 */
#ifndef MAILHAUL_HTTP_POOL_H
#define MAILHAUL_HTTP_POOL_H

#include "transport/http.h"

/* S3 was seen to end idle connections after 5 s (JuliaCloud/AWSCore.jl issue 35, 2018) and after
 * 20 s (vectordotdev/vector pull request 9703, 2021); many servers of others do after 5 s
 * (Node.js) to 75 s (nginx). Longer than this is a gamble, and shorter costs a handshake, of which
 * a resumed one takes two round trips. */
#define HTTP_IDLE_MAX (10 * NSEC_SECOND)

struct http_pool;

/* `connections_max` of each place, at least 1. */
enum err http_pool_open(unsigned connections_max, struct http_pool **) MUST_CHECK;
/* Borrow a connection that can be asked: a kept one, or a new one (http_open). The account is
 * borrowed until return, but what it points to of route, met, parted and heard for the pool's life.
 * Waits until `until` for one to be given back: ERR_NET_TIMEOUT. ERR_NET_*, ERR_TLS_*, ERR_PROXY_*.
 * Suspends. */
enum err http_pool_take(struct http_pool *, const struct account *, nsec until,
			struct http **) MUST_CHECK;
/* Give it back, in whatever state; what cannot be asked again is closed. Takes *http, accepts NULL.
 * Read the last answer to its end first, or the connection is lost with it. Does not suspend. */
void http_pool_give(struct http_pool *, struct http **);
/* Say goodbye to the servers of idle connections. Suspends, at most until the deadline. */
void http_pool_finish(struct http_pool *, nsec until);
/* None may be lent, and nobody wait. */
void http_pool_close(struct http_pool **);

struct http_pool_counts {
	uint64_t opened; /* so far, or tried */
	uint64_t kept;	 /* lent again */
	unsigned lent, idle, waiting, places;
};
struct http_pool_counts http_pool_counts(const struct http_pool *);

#endif
