/* A run's counts for Prometheus: text exposition format 0.0.4, served at /metrics on a loopback
 * port or a unix socket. The only door to libmicrohttpd. No label names a mailbox, a host or a
 * person: the number of series is bounded and nothing private is told. */
#ifndef MAILHAUL_TOOLS_METRICS_H
#define MAILHAUL_TOOLS_METRICS_H

#include "engine/batch.h"
#include "engine/bytes.h"

/* Append everything to `out`; it is whole unless out->failed. Pure.
 * now_wall_s  seconds since 1970 UTC, for what is left of the window */
void metrics_text(const struct batch_counts *, int64_t now_wall_s, struct buffer *out);

/* Is this an address to listen on? "127.0.0.1:9469" (any of 127.0.0.0/8), "[::1]:9469",
 * "localhost:9469" (127.0.0.1, no name is looked up) or "unix:/run/mailhaul/metrics.sock". Port 0:
 * any free one. Whatever other machines could reach is refused: the metrics know no password.
 * returns     OK | ERR_INPUT_ADDRESS */
enum err metrics_check(const char *address) MUST_CHECK;

struct metrics;
/* Called on the server's thread, once for each scrape: thread-safe, does not suspend. */
typedef void metrics_fill(void *context, struct batch_counts *out);

/* Listen and answer on a thread of its own, with all signals blocked, until metrics_close(). A unix
 * socket is made with mode 0600; one that is left over is replaced, one that somebody listens on is
 * not. `fill` and `context` are borrowed until close. Blocks for a moment; for start-up.
 * returns     OK | ERR_INPUT_ADDRESS (not loopback, in use) | ERR_MEMORY_EXHAUSTED */
enum err metrics_open(const char *address, metrics_fill *fill, void *context,
		      struct metrics **) MUST_CHECK;
/* Where it listens, for people: "http://127.0.0.1:9469/metrics"; the address itself if it is a unix
 * socket. */
const char *metrics_where(const struct metrics *);
/* Waits for a scrape under way. Removes its unix socket. */
void metrics_close(struct metrics **);

#endif
