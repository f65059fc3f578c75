/* Loopback sockets and bytes that say where they belong, for ring_test and io_test. Plain system
 * calls: what is tested is at the other end. */
#ifndef MAILHAUL_TESTS_LOOPBACK_H
#define MAILHAUL_TESTS_LOOPBACK_H

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine/base.h"

/* A listener on a free port of 127.0.0.1. */
static inline int loopback_listen(int backlog, struct sockaddr_in *address)
{
	socklen_t bytes = sizeof *address;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	*address = (struct sockaddr_in){ .sin_family = AF_INET };
	address->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	must(fd >= 0);
	must(bind(fd, (const struct sockaddr *)(const void *)address, bytes) == 0);
	must(getsockname(fd, (struct sockaddr *)(void *)address, &bytes) == 0);
	must(backlog < 0 || listen(fd, backlog) == 0);
	return fd;
}

/* Two ends of one TCP connection. */
static inline void loopback_pair(int ends[2])
{
	struct sockaddr_in address;
	int listener = loopback_listen(1, &address);

	ends[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	must(ends[0] >= 0);
	must(connect(ends[0], (const struct sockaddr *)(const void *)&address, sizeof address) ==
	     0);
	ends[1] = accept(listener, NULL, NULL);
	must(ends[1] >= 0);
	close(listener);
}

/* Close so that the other end sees a reset. */
static inline void loopback_reset(int fd)
{
	struct linger now = { .l_onoff = 1, .l_linger = 0 };

	must(setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now) == 0);
	close(fd);
}

/* Byte `offset` of stream `stream`: any lost, doubled or swapped byte shows. */
static inline uint8_t pattern_byte(unsigned stream, uint64_t offset)
{
	uint64_t mixed = (offset + 1) * 0x9e3779b97f4a7c15u + stream * 0xc2b2ae3d27d4eb4fu;

	return (uint8_t)(mixed >> 56);
}

static inline void pattern_fill(uint8_t *to, size_t bytes, unsigned stream, uint64_t offset)
{
	for (size_t i = 0; i < bytes; i++)
		to[i] = pattern_byte(stream, offset + i);
}

static inline bool pattern_holds(const uint8_t *at, size_t bytes, unsigned stream, uint64_t offset)
{
	for (size_t i = 0; i < bytes; i++)
		if (at[i] != pattern_byte(stream, offset + i))
			return false;
	return true;
}

/* Send what fits without waiting, up to `bytes` of the stream from `offset`. Returns how much. */
static inline size_t pattern_send(int fd, size_t bytes, unsigned stream, uint64_t offset)
{
	uint8_t piece[2048];
	size_t sent = 0;

	while (sent < bytes) {
		size_t want = min_u64(sizeof piece, bytes - sent);
		ssize_t got;

		pattern_fill(piece, want, stream, offset + sent);
		got = send(fd, piece, want, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (got < 0) {
			must(errno == EAGAIN);
			break;
		}
		sent += (size_t)got;
	}
	return sent;
}

#endif
