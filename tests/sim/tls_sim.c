/* TLS as a pass-through, linked in place of transport/tls.c: the same calls, and the wire carries
 * the plaintext itself. For tests whose subject is what travels inside TLS, and for replay, which
 * OpenSSL's randomness and signature lengths would break. Not for: TLS itself;
 * tests/unit/tls_test.c and conn_test.c speak to a real OpenSSL.
 *
 * There is no close_notify on this wire, so a peer that closes reads as ERR_TLS_CUT. */
#include "transport/tls.h"

#include <stdio.h>
#include <stdlib.h>

#include "tests/sim/tls_sim.h"

enum { CONTEXT_MAGIC = 0x5c75a1e0, TLS_MAGIC = 0x5715a1e1 };

size_t (*tls_sim_piece)(size_t max);
size_t tls_sim_records;

struct tls_context {
	uint32_t magic;
};

struct tls {
	uint32_t magic;
	struct tls_wire wire;
	bool is_done;
};

enum err tls_prepare(void)
{
	return OK;
}

enum err tls_context_open(const char *ca_file, struct tls_context **out)
{
	struct tls_context *context = calloc(1, sizeof *context);

	(void)ca_file;
	must(context); /* only tests run this */
	context->magic = CONTEXT_MAGIC;
	*out = context;
	return OK;
}

void tls_context_close(struct tls_context **context)
{
	if (!*context)
		return;
	MAGIC_CHECK(*context, CONTEXT_MAGIC);
	free(*context);
	*context = NULL;
}

enum err tls_open(struct tls_context *context, const char *host, const struct tls_wire *wire,
		  struct tls **out)
{
	struct tls *tls = calloc(1, sizeof *tls);

	MAGIC_CHECK(context, CONTEXT_MAGIC);
	must(tls && host[0]);
	tls->magic = TLS_MAGIC;
	tls->wire = *wire;
	*out = tls;
	return OK;
}

void tls_close(struct tls **tls)
{
	if (!*tls)
		return;
	MAGIC_CHECK(*tls, TLS_MAGIC);
	free(*tls);
	*tls = NULL;
}

enum err tls_handshake(struct tls *tls, bool *done)
{
	MAGIC_CHECK(tls, TLS_MAGIC);
	tls->is_done = true;
	*done = true;
	return OK;
}

enum err tls_read(struct tls *tls, void *to, size_t max, size_t *got)
{
	MAGIC_CHECK(tls, TLS_MAGIC);
	must(tls->is_done && max > 0);
	*got = tls->wire.take(tls->wire.owner, to, tls_sim_piece ? tls_sim_piece(max) : max);
	return OK;
}

enum err tls_write(struct tls *tls, const void *from, size_t bytes, bool *sealed)
{
	MAGIC_CHECK(tls, TLS_MAGIC);
	must(tls->is_done);
	tls_sim_records++;
	*sealed = true;
	if (!tls->wire.give(tls->wire.owner, from, bytes))
		return RAISE(ERR_MEMORY_EXHAUSTED, "sending %zu bytes", bytes);
	return OK;
}

void tls_goodbye(struct tls *tls)
{
	MAGIC_CHECK(tls, TLS_MAGIC);
}

void tls_facts(const struct tls *tls, struct peer *peer)
{
	MAGIC_CHECK(tls, TLS_MAGIC);
	snprintf(peer->tls_version, sizeof peer->tls_version, "simulated");
	snprintf(peer->tls_cipher, sizeof peer->tls_cipher, "none");
	snprintf(peer->certificate_sha256, sizeof peer->certificate_sha256, "%064d", 0);
}
