/* One connection to a peer, always under TLS: name lookup, several addresses tried, handshake,
 * reading into the caller's own memory, gathered writing. The deadline of every wait is the one the
 * protocol set last with conn_deadline().
 *
 * Two fibers of one thread may share a conn: one that reads (conn_read, conn_read_ready,
 * conn_await) and one that writes (conn_write, conn_flush). Opening, STARTTLS, mute, rest, finish
 * and close need it alone. The deadline is one for both. */
#ifndef MAILHAUL_CONN_H
#define MAILHAUL_CONN_H

#include "engine/source.h"

struct conn;

enum conn_tls {
	CONN_TLS_NOW,	/* implicit TLS (imaps, https) */
	CONN_TLS_LATER, /* STARTTLS: conn_start_tls() must come before anything secret */
};

/* Resolve account->host, try each address in turn (RFC 8305 order, a share of the time each),
 * connect (by account->route), shake hands. `default_port` where account->port is 0. Calls
 * account->met. Errors: ERR_NET_*, ERR_TLS_* with host, address and reason in the note. With
 * CONN_TLS_LATER the account is borrowed until conn_start_tls() returns; its route outlives the
 * connection, and whom `met` and `parted` tell. The deadline is then `until`. Suspends. */
enum err conn_open(const struct account *, uint16_t default_port, enum conn_tls, nsec until,
		   struct conn **) MUST_CHECK;
/* Begin TLS on a plaintext connection. Bytes already received beyond the server's OK are an
 * injection: ERR_TLS_INJECTED (what the caller had read before is the caller's to check). Calls
 * account->met. Suspends. */
enum err conn_start_tls(struct conn *) MUST_CHECK;
bool conn_is_secure(const struct conn *);

/* Absolute deadline for the waits that follow. */
void conn_deadline(struct conn *, nsec until);

/* At least one byte of plaintext into `to`, at most max; sends what is waiting to be sent first
 * when it would have to wait. ERR_NET_CLOSED at an orderly end, ERR_TLS_CUT, ERR_NET_RESET,
 * ERR_NET_TIMEOUT. Suspends. */
enum err conn_read(struct conn *, void *to, size_t max, size_t *got) MUST_CHECK;
/* As conn_read but only what is there: *got may be 0. Never waits for the peer, but lets the ring
 * look once where nothing is at hand, so other fibers may run. */
enum err conn_read_ready(struct conn *, void *to, size_t max, size_t *got) MUST_CHECK;
/* For who looked with conn_read_ready() and found nothing: suspends until there may be something,
 * or the fiber that writes calls conn_stir(). ERR_FIBER_TIMEOUT, without a note: neither came
 * before `until`. */
enum err conn_await(struct conn *, nsec until) MUST_CHECK;
void conn_stir(struct conn *);
/* Where nothing more is at hand, have what came acknowledged now: for who knows that the peer has
 * more to say, which it may hold back until then. */
void conn_acknowledge(struct conn *);
/* Append to what will be sent; goes out at conn_flush(), or by itself past 128 KiB. Before TLS only
 * the few hundred bytes that lead to STARTTLS may be written. May suspend. */
enum err conn_write(struct conn *, const void *from, size_t bytes) MUST_CHECK;
enum err conn_flush(struct conn *) MUST_CHECK;
/* Send nothing more, and drop what waits to be sent: for a peer that has said before it heard all
 * that it wants no more. A record may have been cut, so the connection is of no use but to read
 * what the peer says until it ends. */
void conn_mute(struct conn *);
/* Nothing will be sent for a while: give back the memory in which that gathers, where it is more
 * than a record takes. */
void conn_rest(struct conn *);
/* close_notify, and for a moment wait for the peer's end. Suspends, at most until the deadline. */
enum err conn_finish(struct conn *) MUST_CHECK;
/* Tells account->parted what the connection was like, if TLS was ever begun. */
void conn_close(struct conn **);

/* What moves inside is compressed from now on: for the account's parted(). */
void conn_note_compressed(struct conn *);
const struct peer *conn_peer(const struct conn *);
struct conn_counts {
	uint64_t bytes_received, bytes_sent; /* plaintext, as it was handed over */
};
struct conn_counts conn_counts(const struct conn *);

/* Trust settings are cached per thread; drop them before the thread ends. */
void conn_thread_cleanup(void);

#endif
