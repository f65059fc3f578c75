/* COMPRESS=DEFLATE, RFC 4978: what stands between the lines of a conversation (imap_wire) and its
 * connection once both sides compress. TLS hides what is said but not how long it is, and whoever
 * sends mail chooses a part of it; but no secret is compressed beside it that a length could give
 * away: password or token went before (RFC 4978 section 6).
 *
 * As with a conn two fibers may share one: one that reads and one that writes. Not for: whether to
 * compress (imap_session). */
#ifndef MAILHAUL_IMAP_DEFLATE_H
#define MAILHAUL_IMAP_DEFLATE_H

#include "transport/imap_wire.h"

struct imap_deflate;

enum {
	/* What comes and what goes, each gathered in so much: a TLS record. */
	IMAP_DEFLATE_PIECE_BYTES = 16 * 1024,
	/* Others get their turn after so much was compressed or opened without a wait: some 2 ms,
	 * and a few bytes may open to a thousand times as many. */
	IMAP_DEFLATE_PACK_BYTES_TURN = 64 * 1024,
	IMAP_DEFLATE_OPEN_BYTES_TURN = 512 * 1024,
};

/* From now on all that `below` reads is compressed, `early` bytes of it having been read already
 * (copied; at most IMAP_DEFLATE_PIECE_BYTES), and all that is sent through it goes to `conn`
 * (borrowed; NULL where nothing is sent). ERR_MEMORY_EXHAUSTED. */
enum err imap_deflate_open(const struct imap_port *below, struct conn *, const void *early,
			   size_t early_bytes, struct imap_deflate **) MUST_CHECK;
void imap_deflate_close(struct imap_deflate **);

/* Reads what has been opened, straight into the caller's memory. What fails: what `below` does, and
 * ERR_IMAP_DEFLATE. A peer that sends compressed nothing is ERR_NET_TIMEOUT. Suspends. */
struct imap_port imap_deflate_port(struct imap_deflate *);
/* As conn_write() and conn_flush(); the deadline is the conn's. Once one has failed, so do all
 * later ones (ERR_NET_RESET), because a compressed stream cannot go on behind a gap. Suspend. */
enum err imap_deflate_write(struct imap_deflate *, const void *from, size_t bytes) MUST_CHECK;
enum err imap_deflate_flush(struct imap_deflate *) MUST_CHECK;

#endif
