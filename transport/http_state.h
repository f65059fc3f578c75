/* What one HTTP connection is made of, for http.c (whole conversations), http_hear.c (what the
 * server says) and http_send.c (what we say). Nobody else's. */
#ifndef MAILHAUL_HTTP_STATE_H
#define MAILHAUL_HTTP_STATE_H

#include "transport/conn.h"
#include "transport/http.h"

enum {
	HTTP_MAGIC = 0x477b9112,
	HTTPS_PORT = 443,
	/* Heads, and the lines of a chunked body; of its content only what comes right behind them,
	 * for the rest is read to where it belongs. */
	HTTP_READ_BYTES = 4 * 1024,
};

struct http {
	uint32_t magic;
	const struct account *account;
	struct conn *conn;
	struct buffer head; /* of the answer, up to its empty line and not a byte more */
	struct text rest;   /* behind it, within `read` */
	struct http_body body;
	nsec keeps_for;
	size_t held; /* of the budget */
	bool asked, keeps_alive, broken, peer_ended, was_stale;
	bool was_live; /* when it was looked at, since the last request */
	/* of the present request */
	nsec until;
	struct http_head *answer; /* the caller's */
	bool to_head;		  /* the answer will have no body */
	bool heard;		  /* a byte came */
	bool continued;		  /* 100 did */
	bool answered;		  /* *answer is filled */
	bool sent;		  /* all of the request was */
	uint64_t exchange;	  /* in traces */
	bool acknowledged;	  /* the answer's head was, where the body did not come with it */
	unsigned interims;
	char read[HTTP_READ_BYTES];
};

/* ---- http_hear.c ---- */

/* Wait for the answer's head; interim ones are passed over. Suspends. */
enum err http_hear(struct http *, nsec first_byte) MUST_CHECK;
/* The same as far as it is there already: see `answered` and `continued`. Does not wait. */
enum err http_hear_ready(struct http *) MUST_CHECK;
/* Bytes of the connection to `to`, but no longer than `silence`. *ended: there are no more, in an
 * orderly way. Suspends. */
enum err http_receive(struct http *, void *to, size_t max, nsec silence, size_t *got,
		      bool *ended) MUST_CHECK;
/* So much of `rest` is used. */
void http_consume(struct http *, size_t bytes);

/* ---- http_send.c ---- */

/* Send it, and listen meanwhile: OK with `sent`, or `answered` before all of it was. Suspends. */
enum err http_send(struct http *, const struct http_request *) MUST_CHECK;

#endif
