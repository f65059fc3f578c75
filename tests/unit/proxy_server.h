/* A proxy on loopback for tests: one connection, served by a thread that answers as the test asks
 * and then, if it is to, carries bytes between the client and a target on loopback. */
#ifndef MAILHAUL_TEST_PROXY_SERVER_H
#define MAILHAUL_TEST_PROXY_SERVER_H

#include <poll.h>

#include "tests/unit/tls_server.h"
#include "transport/route.h"

struct proxy_server {
	/* the test's choice */
	bool is_http, wants_login;
	const char *answer; /* instead of what is right; the connection stays open */
	size_t answer_bytes;
	const char *early; /* said behind the right answer, as if by the target */
	bool agrees;	   /* of SOCKS: `answer` is that to CONNECT */
	bool drips;	   /* each byte of its answers for itself */
	bool closes, resets;
	uint16_t target_port;
	/* what it found */
	char host[300]; /* that it was asked for */
	uint16_t port;
	bool host_is_name;
	char login[600]; /* "user:password", or the line of HTTP */
	/* its own */
	uint16_t own_port;
	int listener, fd;
	pthread_t thread;
	atomic_bool ended;
};

static inline void proxy_says(struct proxy_server *proxy, const void *bytes, size_t count)
{
	const char *at = bytes;

	for (size_t i = 0; i < count; i += proxy->drips ? 1 : count) {
		if (send(proxy->fd, at + i, proxy->drips ? 1 : count, MSG_NOSIGNAL) < 0)
			return;
		if (proxy->drips)
			usleep(200);
	}
}

/* With what the target says already, all at once. */
static inline void proxy_agrees(struct proxy_server *proxy, const char *answer, size_t bytes)
{
	char all[512];
	size_t early = proxy->early ? strlen(proxy->early) : 0;

	must(bytes + early <= sizeof all);
	for (size_t i = 0; i < bytes + early; i++)
		all[i] = i < bytes ? answer[i] : proxy->early[i - bytes];
	proxy_says(proxy, all, bytes + early);
}

/* The next `count` bytes; zeros where the client has gone. */
static inline void proxy_hears(struct proxy_server *proxy, void *to, size_t count)
{
	memset(to, 0, count);
	if (count && recv(proxy->fd, to, count, MSG_WAITALL) != (long)count)
		shutdown(proxy->fd, SHUT_RDWR);
}

static inline void proxy_counted(struct proxy_server *proxy, char *to)
{
	uint8_t count;

	proxy_hears(proxy, &count, 1);
	proxy_hears(proxy, to, count);
	to[count] = '\0';
}

static inline bool proxy_socks_login(struct proxy_server *proxy)
{
	char version, user[256], password[256];

	proxy_says(proxy, "\5\2", 2);
	proxy_hears(proxy, &version, 1);
	proxy_counted(proxy, user);
	proxy_counted(proxy, password);
	snprintf(proxy->login, sizeof proxy->login, "%s:%s", user, password);
	if (strcmp(proxy->login, "ann:open sesame") == 0) {
		proxy_says(proxy, "\1\0", 2);
		return true;
	}
	proxy_says(proxy, "\1\1", 2);
	return false;
}

static inline bool proxy_socks(struct proxy_server *proxy)
{
	uint8_t head[4], methods[255], v4[4], v6[16], port[2];

	proxy_hears(proxy, head, 2);
	proxy_hears(proxy, methods, head[1]);
	if (proxy->answer && !proxy->wants_login && !proxy->agrees) {
		proxy_says(proxy, proxy->answer, proxy->answer_bytes);
		return false;
	}
	if (proxy->wants_login && !proxy_socks_login(proxy))
		return false;
	if (!proxy->wants_login)
		proxy_says(proxy, "\5\0", 2);
	proxy_hears(proxy, head, 4);
	proxy->host_is_name = head[3] == 3;
	if (head[3] == 3)
		proxy_counted(proxy, proxy->host);
	else if (head[3] == 1)
		proxy_hears(proxy, v4, sizeof v4);
	else
		proxy_hears(proxy, v6, sizeof v6);
	if (head[3] != 3)
		inet_ntop(head[3] == 1 ? AF_INET : AF_INET6, head[3] == 1 ? v4 : v6, proxy->host,
			  sizeof proxy->host);
	proxy_hears(proxy, port, 2);
	proxy->port = (uint16_t)(port[0] << 8 | port[1]);
	if (proxy->answer) {
		proxy_says(proxy, proxy->answer, proxy->answer_bytes);
		return false;
	}
	proxy_agrees(proxy, "\5\0\0\3\7example\0\1", 14);
	return true;
}

static inline bool proxy_http(struct proxy_server *proxy)
{
	static const char right[] = "HTTP/1.1 103 Early Hints\r\n\r\n"
				    "HTTP/1.1 200 Connection established\r\n"
				    "Content-Length: 7\r\n\r\n";
	char head[2048];
	size_t bytes = 0;
	const char *line;

	while (bytes < sizeof head - 1 && recv(proxy->fd, head + bytes, 1, 0) == 1) {
		head[++bytes] = '\0';
		if (bytes > 3 && strcmp(head + bytes - 4, "\r\n\r\n") == 0)
			break;
	}
	head[bytes] = '\0';
	if (sscanf(head, "CONNECT %299[^: ]:%hu HTTP/1.1\r\n", proxy->host, &proxy->port) == 2)
		proxy->host_is_name = true;
	if ((line = strstr(head, "Proxy-Authorization: ")))
		snprintf(proxy->login, sizeof proxy->login, "%.*s", (int)strcspn(line, "\r"), line);
	if (proxy->answer) {
		proxy_says(proxy, proxy->answer, proxy->answer_bytes);
		return false;
	}
	proxy_agrees(proxy, right, strlen(right));
	return true;
}

static inline bool proxy_carry(int from, int to)
{
	char bytes[2048];
	ssize_t got = recv(from, bytes, sizeof bytes, 0);

	return got > 0 && send(to, bytes, (size_t)got, MSG_NOSIGNAL) == got;
}

static inline void proxy_tunnel(struct proxy_server *proxy)
{
	union resolve_address address = loopback(false, proxy->target_port);
	struct pollfd ends[2] = { { .fd = proxy->fd, .events = POLLIN },
				  { .fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0),
				    .events = POLLIN } };

	if (connect(ends[1].fd, &address.any, sizeof address.v4) == 0)
		while (poll(ends, 2, SERVER_PATIENCE_SECONDS * 1000) > 0) {
			if (ends[0].revents && !proxy_carry(ends[0].fd, ends[1].fd))
				break;
			if (ends[1].revents && !proxy_carry(ends[1].fd, ends[0].fd))
				break;
		}
	close(ends[1].fd);
}

static inline void proxy_waits(struct proxy_server *proxy)
{
	char waste[256];

	while (!proxy->closes && !proxy->resets && recv(proxy->fd, waste, sizeof waste, 0) > 0)
		continue;
}

static inline void *proxy_main(void *argument)
{
	struct proxy_server *proxy = argument;
	struct timeval patience = { .tv_sec = SERVER_PATIENCE_SECONDS };
	struct linger now = { .l_onoff = 1 };

	must(!setsockopt(proxy->listener, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience));
	proxy->fd = accept(proxy->listener, NULL, NULL);
	if (proxy->fd >= 0) {
		must(!setsockopt(proxy->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience));
		if (proxy->is_http ? proxy_http(proxy) : proxy_socks(proxy)) {
			if (proxy->target_port)
				proxy_tunnel(proxy);
			else
				proxy_waits(proxy);
		} else {
			proxy_waits(proxy);
		}
		if (proxy->resets)
			must(!setsockopt(proxy->fd, SOL_SOCKET, SO_LINGER, &now, sizeof now));
		close(proxy->fd);
	}
	atomic_store(&proxy->ended, true);
	return NULL;
}

static inline void proxy_start(struct proxy_server *proxy)
{
	proxy->listener = listen_on(false, &proxy->own_port);
	must(proxy->listener >= 0);
	must(pthread_create(&proxy->thread, NULL, proxy_main, proxy) == 0);
}

static inline void proxy_stop(struct proxy_server *proxy)
{
	shutdown(proxy->listener, SHUT_RDWR);
	while (!atomic_load(&proxy->ended))
		must(fiber_sleep(clock_after(NSEC_MILLISECOND)) == OK);
	must(pthread_join(proxy->thread, NULL) == 0);
	close(proxy->listener);
}

static inline struct route proxy_route(const struct proxy_server *proxy, const char *user,
				       const struct secret *password)
{
	struct route route = { 0 };

	must(route_set_proxy(&route, "--proxy", proxy->is_http ? "http" : "socks5", user,
			     "127.0.0.1", proxy->own_port) == OK);
	must(route_set_password(&route, "--proxy", password) == OK);
	return route;
}

#endif
