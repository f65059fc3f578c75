/* A server of HTTP for tests that follows a script: a conversation as text, over real TLS. */
#ifndef MAILHAUL_TEST_HTTP_SERVER_H
#define MAILHAUL_TEST_HTTP_SERVER_H

#include <netinet/tcp.h>

#include "tests/unit/tls_server.h"
#include "transport/http.h"

/* What a server does, step by step. */
enum http_server_does {
	SERVER_ENDS,   /* orderly, after the client did */
	SERVER_HEARS,  /* so many bytes; 0: a head, up to its empty line */
	SERVER_SAYS,   /* text */
	SERVER_SAYS_X, /* so many bytes: x */
	SERVER_WAITS,  /* reads nothing until the client releases it */
	SERVER_CLOSES, /* with close_notify, at once */
	SERVER_RESETS,
	SERVER_FLOODS, /* with messages of TLS and nothing else, until the client goes */
};
struct http_step {
	enum http_server_does does;
	size_t bytes;
	const char *text;
};
#define STEP(does)                                                                                 \
	{                                                                                          \
		does, 0, NULL                                                                      \
	}
#define HEARS_HEAD STEP(SERVER_HEARS)
#define HEARS(count)                                                                               \
	{                                                                                          \
		SERVER_HEARS, count, NULL                                                          \
	}
#define SAYS(words)                                                                                \
	{                                                                                          \
		SERVER_SAYS, 0, words                                                              \
	}
enum { HTTP_STEPS_MAX = 12, HTTP_HEARD_BYTES_MAX = 4 * 1024 * 1024 };

struct http_server {
	struct server server; /* first: behave() is given this */
	struct http_step steps[HTTP_STEPS_MAX];
	struct buffer heard; /* all of it */
	bool was_released;   /* and not left waiting */
	size_t first_record_bytes;
};

static inline bool http_server_hears(struct http_server *http, size_t bytes)
{
	static char record[16384];
	size_t wanted = http->heard.bytes + bytes, from = http->heard.bytes;
	int got;

	while (bytes ? http->heard.bytes < wanted
		     : !memmem(http->heard.at + from, http->heard.bytes - from, "\r\n\r\n", 4)) {
		size_t room = bytes ? min_u64(sizeof record, wanted - http->heard.bytes)
			      : http->first_record_bytes ? 1
							 : sizeof record;

		if ((got = SSL_read(http->server.ssl, record, (int)room)) <= 0)
			return false;
		if (!http->first_record_bytes)
			http->first_record_bytes = (size_t)got;
		buffer_add(&http->heard, record, (size_t)got);
		must(!http->heard.failed);
	}
	return true;
}

static inline void http_server_says_x(struct server *server, size_t bytes)
{
	static char xs[16384];

	memset(xs, 'x', sizeof xs);
	for (size_t n; bytes > 0; bytes -= n) {
		n = min_u64(bytes, sizeof xs);
		if (SSL_write(server->ssl, xs, (int)n) != (int)n)
			return;
	}
}

/* False: the conversation is at its end. */
static inline bool http_server_step(struct http_server *http, const struct http_step *step)
{
	struct server *server = &http->server;
	struct linger linger = { .l_onoff = 1 };

	switch (step->does) {
	case SERVER_HEARS:
		return http_server_hears(http, step->bytes);
	case SERVER_SAYS:
		say(server, step->text);
		return true;
	case SERVER_SAYS_X:
		http_server_says_x(server, step->bytes);
		return true;
	case SERVER_WAITS:
		for (unsigned ms = 0; ms < 1000 * SERVER_PATIENCE_SECONDS; ms++) {
			if ((http->was_released = atomic_load(&server->released)))
				return true;
			usleep(1000);
		}
		return false;
	case SERVER_CLOSES:
		SSL_shutdown(server->ssl);
		return false;
	case SERVER_RESETS:
		must(!setsockopt(server->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger));
		close(server->fd);
		server->fd = -1;
		return false;
	case SERVER_FLOODS:
		while (SSL_key_update(server->ssl, SSL_KEY_UPDATE_NOT_REQUESTED) == 1 &&
		       SSL_do_handshake(server->ssl) == 1)
			continue;
		return false;
	case SERVER_ENDS:
		hear_end(server);
		return false;
	}
	return false;
}

static inline void http_server_behave(struct server *server)
{
	struct http_server *http = CONTAINER_OF(server, struct http_server, server);

	/* A reset discards what waits for others to be acknowledged (RFC 9293 section 3.7.4). */
	must(!setsockopt(server->fd, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int)));
	http->heard.bytes_max = HTTP_HEARD_BYTES_MAX;
	buffer_add_text(&http->heard, "");
	for (unsigned i = 0; i < HTTP_STEPS_MAX; i++)
		if (!http_server_step(http, &http->steps[i]))
			return;
}

/* Starts it and connects; the account is borrowed until http_close(). */
static inline enum err http_server_meet(struct http_server *server, struct account *account,
					struct http **http)
{
	server->server.behave = http_server_behave;
	if (!server_start(&server->server))
		return RAISE(ERR_NET_LOCAL, "no loopback");
	*account = account_for(&server->server, NULL);
	account->io_timeout = 20 * NSEC_SECOND;
	return http_open(account, clock_after(20 * NSEC_SECOND), http);
}

/* What was heard stays until http_server_forget(). */
static inline void http_server_stop(struct http_server *server, struct http **http)
{
	atomic_store(&server->server.released, true);
	http_close(http);
	server_stop(&server->server);
}

static inline void http_server_forget(struct http_server *server)
{
	buffer_free(&server->heard);
}

static inline enum err http_ask_soon(struct http *http, struct http_request *request,
				     struct http_head *head)
{
	request->method = request->method ? request->method : "PUT";
	request->target = request->target ? request->target : "/bucket/key";
	request->first_byte = request->first_byte ? request->first_byte : 20 * NSEC_SECOND;
	return http_ask(http, request, clock_after(40 * NSEC_SECOND), head);
}

/* The body into `to`, terminated. */
static inline enum err http_read_all(struct http *http, char *to, size_t room)
{
	size_t used = 0, got;
	enum err e;

	while (used < room - 1 && (e = http_read(http, to + used, room - 1 - used, &got)) == OK)
		used += got;
	to[used] = '\0';
	return used == room - 1 ? http_read(http, &(char){ 0 }, 1, &got) : e;
}

#endif
