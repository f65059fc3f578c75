/* One message body on its way out of a literal into chunks, pulled as a stream. Small messages
 * share a chunk, at 64-byte borders; of larger ones every span but the last is a whole chunk, so
 * digests see 64 KiB at message offsets that are multiples of it. Part of imap_fetch. */
#ifndef MAILHAUL_IMAP_BODY_H
#define MAILHAUL_IMAP_BODY_H

#include "engine/stream.h"
#include "transport/imap_wire.h"

struct imap_body {
	struct stream stream;
	uint32_t magic;
	struct imap_wire *wire;
	struct reserve *reserve;
	struct chunk *chunk;  /* being shared by bodies one after another; NULL: none */
	uint64_t left;	      /* of the literal */
	struct iolist staged; /* read already, handed over by the first pull */
	bool is_fresh;	      /* nothing of the body was read */
	bool is_open;	      /* between open and close */
	enum err failed;      /* what ended it early; said again and again */
	/* Called when the last byte was read; its error is the stream's end. */
	enum err (*ended)(void *owner);
	void *owner;
};

void imap_body_init(struct imap_body *, struct imap_wire *, struct reserve *);
/* Gives back what it holds. */
void imap_body_release(struct imap_body *);

/* Begin the body of a literal of `bytes`: nothing is read yet. */
void imap_body_begin(struct imap_body *, uint64_t bytes);
/* Read all of it into chunks (at most STAGE_BYTES_MAX). Suspends. */
enum err imap_body_stage(struct imap_body *) MUST_CHECK;
/* A body out of memory: a quoted string, its escapes resolved on the way. Suspends. */
enum err imap_body_from_quoted(struct imap_body *, struct text inside, uint64_t *bytes) MUST_CHECK;
/* Forget what is left of the literal, and what is staged. Suspends. */
enum err imap_body_drain(struct imap_body *) MUST_CHECK;
/* The stream over it; one at a time. */
struct stream *imap_body_open(struct imap_body *);

#endif
