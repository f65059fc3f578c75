/* A TLS server on loopback for tests: one connection, served by a thread that behaves, or
 * misbehaves, as the test asks; and the client's side of talking to it through conn.h. */
#ifndef MAILHAUL_TEST_TLS_SERVER_H
#define MAILHAUL_TEST_TLS_SERVER_H

#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/time.h>
#include <unistd.h>

#include "engine/clock.h"
#include "engine/fiber.h"
#include "tests/unit/identity.h"
#include "transport/conn.h"
#include "transport/dial.h"

enum { SERVER_PATIENCE_SECONDS = 30 };

/* ---- a server of one connection ---- */

struct server {
	/* the test's choice */
	int version; /* TLS1_3_VERSION unless set */
	bool on_v6;
	bool without_tls; /* behave() gets no SSL */
	void (*behave)(struct server *);
	struct identity_spec spec; /* of its certificate; names default to all loopback ones */
	/* what it found */
	bool heard_close_notify;
	bool was_cut_off;
	char heard[64];
	/* its own */
	struct identity identity;
	char ca_file[128];
	int listener, fd;
	uint16_t port;
	SSL *ssl;
	pthread_t thread;
	atomic_bool ended, released;
};

static inline union resolve_address loopback(bool on_v6, uint16_t port)
{
	union resolve_address address = { 0 };

	if (on_v6)
		address.v6 = (struct sockaddr_in6){ .sin6_family = AF_INET6,
						    .sin6_port = htons(port),
						    .sin6_addr = in6addr_loopback };
	else
		address.v4 = (struct sockaddr_in){ .sin_family = AF_INET,
						   .sin_port = htons(port),
						   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	return address;
}

/* A listening socket on a free port; -1 where the family is not there. */
static inline int listen_on(bool on_v6, uint16_t *port)
{
	union resolve_address address = loopback(on_v6, 0);
	socklen_t bytes = resolve_address_bytes(&address);
	int fd = socket(address.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -1;
	if (bind(fd, &address.any, bytes) || listen(fd, 8)) {
		close(fd);
		return -1;
	}
	must(getsockname(fd, &address.any, &bytes) == 0);
	*port = ntohs(on_v6 ? address.v6.sin6_port : address.v4.sin_port);
	return fd;
}

static inline void server_tls(struct server *server)
{
	SSL_CTX *context = identity_server(&server->identity, server->version);

	server->ssl = SSL_new(context);
	must(server->ssl && SSL_set_fd(server->ssl, server->fd));
	SSL_CTX_free(context);
	if (SSL_accept(server->ssl) == 1)
		return;
	SSL_free(server->ssl);
	server->ssl = NULL;
}

static inline void serve(struct server *server)
{
	struct timeval patience = { .tv_sec = SERVER_PATIENCE_SECONDS };

	must(!setsockopt(server->listener, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience));
	server->fd = accept(server->listener, NULL, NULL);
	if (server->fd < 0)
		return;
	must(!setsockopt(server->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience));
	must(!setsockopt(server->fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience));
	if (!server->without_tls)
		server_tls(server);
	if (server->ssl || server->without_tls)
		server->behave(server);
	SSL_free(server->ssl);
	server->ssl = NULL;
	ERR_clear_error();
	if (server->fd >= 0)
		close(server->fd);
}

static inline void *server_main(void *argument)
{
	struct server *server = argument;
	sigset_t broken_pipe;

	/* For this thread alone: sending of ours must not need it. */
	sigemptyset(&broken_pipe);
	sigaddset(&broken_pipe, SIGPIPE);
	must(pthread_sigmask(SIG_BLOCK, &broken_pipe, NULL) == 0);
	serve(server);
	atomic_store(&server->ended, true);
	return NULL;
}

static inline bool server_start(struct server *server)
{
	if (!server->version)
		server->version = TLS1_3_VERSION;
	if (!server->spec.subject)
		server->spec.subject = "test server";
	if (!server->spec.names)
		server->spec.names = "DNS:localhost,IP:127.0.0.1,IP:::1";
	server->identity = identity_make(&server->spec);
	snprintf(server->ca_file, sizeof server->ca_file, "%s", identity_file(&server->identity));
	server->listener = listen_on(server->on_v6, &server->port);
	if (server->listener < 0)
		return false;
	must(pthread_create(&server->thread, NULL, server_main, server) == 0);
	return true;
}

/* Wait for the server's end, so what it found may be read. This thread's ring must go on meanwhile:
 * it is what closes our side. */
static inline void server_await(struct server *server)
{
	while (!atomic_load(&server->ended))
		must(fiber_sleep(clock_after(NSEC_MILLISECOND)) == OK);
}

static inline void server_stop(struct server *server)
{
	shutdown(server->listener, SHUT_RDWR); /* one that nobody called stops waiting */
	server_await(server);
	must(pthread_join(server->thread, NULL) == 0);
	close(server->listener);
	identity_free(&server->identity);
	conn_thread_cleanup();
}

/* ---- how servers behave ---- */

/* The client may have gone already; what it should have heard is checked there. */
static inline void say(struct server *server, const char *words)
{
	size_t bytes = strlen(words);
	long said = server->ssl ? SSL_write(server->ssl, words, (int)bytes)
				: write(server->fd, words, bytes);

	server->was_cut_off |= said != (long)bytes;
}

/* Wait for something from the client and remember its beginning. */
static inline void hear(struct server *server)
{
	char bytes[1024];
	long got = server->ssl ? SSL_read(server->ssl, bytes, sizeof bytes)
			       : read(server->fd, bytes, sizeof bytes);

	snprintf(server->heard, sizeof server->heard, "%.*s", got > 0 ? (int)got : 0, bytes);
}

/* Wait until the client ends, orderly or not. */
static inline void hear_end(struct server *server)
{
	char waste[1024];

	if (!server->ssl) {
		while (read(server->fd, waste, sizeof waste) > 0)
			continue;
		return;
	}
	while (SSL_read(server->ssl, waste, sizeof waste) > 0)
		continue;
	server->heard_close_notify = SSL_get_shutdown(server->ssl) & SSL_RECEIVED_SHUTDOWN;
}

static inline void greet_and_wait(struct server *server)
{
	say(server, "* OK ready\r\n");
	hear_end(server);
}

static inline void answer_once(struct server *server)
{
	hear(server);
	say(server, "a1 OK\r\n");
	SSL_shutdown(server->ssl);
	hear_end(server);
}

static inline void say_and_end(struct server *server)
{
	say(server, "all of it");
	SSL_shutdown(server->ssl);
}

static inline void say_and_cut(struct server *server)
{
	say(server, "some of it");
}

static inline void say_nothing(struct server *server)
{
	hear_end(server);
}

static inline void say_byte_by_byte(struct server *server)
{
	for (int i = 0; i < 500; i++)
		say(server, i % 2 ? "b" : "a");
	hear_end(server);
}

/* Sends back what comes until the client ends. */
static inline void echo(struct server *server)
{
	static uint8_t bytes[16384];
	int got;

	while ((got = SSL_read(server->ssl, bytes, sizeof bytes)) > 0)
		server->was_cut_off |= SSL_write(server->ssl, bytes, got) != got;
	server->heard_close_notify = SSL_get_shutdown(server->ssl) & SSL_RECEIVED_SHUTDOWN;
}

/* The reset overtakes nothing: SO_LINGER 0 makes close() send RST (socket(7)). */
static inline void reset(struct server *server)
{
	struct linger linger = { .l_onoff = 1 };

	hear(server);
	must(!setsockopt(server->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger));
	close(server->fd);
	server->fd = -1;
}

/* ---- clients ---- */

static inline struct account account_for(const struct server *server, const char *host)
{
	return (struct account){ .scheme = "imaps",
				 .user = "",
				 .host = host		 ? host
					 : server->on_v6 ? "::1"
							 : "127.0.0.1",
				 .port = server->port,
				 .ca_file = server->ca_file,
				 .connect_timeout = 20 * NSEC_SECOND };
}

static inline enum err connect_to(const struct server *server, const char *host, enum conn_tls when,
				  struct conn **conn)
{
	struct account account = account_for(server, host);

	return conn_open(&account, 993, when, clock_after(20 * NSEC_SECOND), conn);
}

/* Read exactly n bytes. */
static inline enum err read_all(struct conn *conn, void *to, size_t n)
{
	size_t got;
	enum err e;

	for (size_t used = 0; used < n; used += got)
		if ((e = conn_read(conn, (uint8_t *)to + used, n - used, &got)))
			return e;
	return OK;
}

static inline void check_reads(struct conn *conn, const char *expected)
{
	char heard[64] = "";

	if (CHECK_OK(read_all(conn, heard, strlen(expected))))
		CHECK_TEXT(heard, expected);
}

static inline void check_note_says(const char *words)
{
	if (!strstr(err_note()->text, words))
		test_failed(__FILE__, __LINE__, "\"%s\" does not say \"%s\"", err_note()->text,
			    words);
}

/* Connecting to this server must fail like this; the note names host and port. */
static inline void check_fails(struct server *server, enum err expected, const char *says)
{
	struct conn *conn = NULL;
	char place[32];

	REQUIRE(server_start(server));
	err_note_clear();
	CHECK_ERR(connect_to(server, NULL, CONN_TLS_NOW, &conn), expected);
	CHECK(conn == NULL);
	snprintf(place, sizeof place, "127.0.0.1:%u", server->port);
	check_note_says(place);
	check_note_says(says);
	conn_close(&conn);
	server_stop(server);
}

struct meeting {
	unsigned count;
	struct peer peer;
};

static inline void met(void *context, const struct peer *peer)
{
	struct meeting *meeting = context;

	meeting->count++;
	meeting->peer = *peer;
}

#endif
