/* A client of transport/tls.c and an OpenSSL server in one thread, with two buffers for a wire, so
 * that every byte's arrival is the test's choice. */
#ifndef MAILHAUL_TEST_TLS_PAIR_H
#define MAILHAUL_TEST_TLS_PAIR_H

#include "engine/bytes.h"
#include "tests/unit/identity.h"
#include "transport/tls.h"

static const struct identity_spec own_spec = { .subject = "self", .names = "DNS:mail.example.com" };

/* A client of ours and a server of OpenSSL's with a wire between them. */
struct pair {
	struct buffer to_client, to_server;
	size_t taken;	 /* of to_client */
	size_t take_max; /* one take() gives at most this; 0: no bound */
	bool give_fails;
	struct tls_context *trust;
	struct tls *client;
	SSL_CTX *server_context;
	SSL *server;
};

static inline size_t pair_take(void *owner, void *to, size_t max)
{
	struct pair *pair = owner;
	size_t bytes = min_u64(max, pair->to_client.bytes - pair->taken);

	if (pair->take_max)
		bytes = min_u64(bytes, pair->take_max);
	if (bytes)
		bytes_copy(to, pair->to_client.at + pair->taken, bytes, BYTES_META);
	pair->taken += bytes;
	return bytes;
}

static inline bool pair_give(void *owner, const void *from, size_t bytes)
{
	struct pair *pair = owner;

	if (!pair->give_fails)
		buffer_add(&pair->to_server, from, bytes);
	return !pair->give_fails && !pair->to_server.failed;
}

/* Bring what each side has said to the other's door. */
static inline void pair_carry(struct pair *pair)
{
	BIO *out = SSL_get_wbio(pair->server), *in = SSL_get_rbio(pair->server);
	char *at;
	long bytes = BIO_get_mem_data(out, &at);

	buffer_add(&pair->to_client, at, (size_t)bytes);
	must(BIO_reset(out) == 1);
	if (pair->to_server.bytes)
		must(BIO_write(in, pair->to_server.at, (int)pair->to_server.bytes) ==
		     (int)pair->to_server.bytes);
	buffer_reset(&pair->to_server);
}

static inline enum err pair_open(struct pair *pair, SSL_CTX *server_context, const char *ca_file,
				 const char *host)
{
	const struct tls_wire wire = {
		.take = pair_take, .give = pair_give, .owner = pair, .peer = "test.example:993"
	};
	enum err e;

	*pair = (struct pair){ .server_context = server_context };
	pair->server = SSL_new(server_context);
	must(pair->server);
	SSL_set_bio(pair->server, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
	BIO_set_mem_eof_return(SSL_get_rbio(pair->server), -1);
	SSL_set_accept_state(pair->server);
	if ((e = tls_context_open(ca_file, &pair->trust)))
		return e;
	return tls_open(pair->trust, host, &wire, &pair->client);
}

static inline void pair_close(struct pair *pair)
{
	tls_close(&pair->client);
	tls_context_close(&pair->trust);
	SSL_free(pair->server);
	SSL_CTX_free(pair->server_context);
	buffer_free(&pair->to_client);
	buffer_free(&pair->to_server);
	ERR_clear_error();
}

static inline enum err pair_shake(struct pair *pair)
{
	bool done = false, served = false;
	enum err e = OK;

	for (int turn = 0; turn < 10 && !e && !(done && served); turn++) {
		if (!done)
			e = tls_handshake(pair->client, &done);
		pair_carry(pair);
		if (!served)
			served = SSL_do_handshake(pair->server) == 1;
		pair_carry(pair);
	}
	must(e || (done && served));
	return e;
}

#endif
