/* io.h, sockets: connect, send, receivers that end after their owner has gone. Files: io.c. */
#include "engine/io.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/clock.h"
#include "engine/io_call.h"

enum { RECEIVER_MAGIC = 0x494f5243 };

/* "192.0.2.1 port 993", as a person may look for it. */
static const char *address_place(const struct sockaddr *address, char place[IO_PLACE_BYTES])
{
	char text[INET6_ADDRSTRLEN] = "?";
	const struct sockaddr_in *v4 = (const void *)address;
	const struct sockaddr_in6 *v6 = (const void *)address;

	if (address->sa_family == AF_INET)
		snprintf(place, IO_PLACE_BYTES, "%s port %u",
			 inet_ntop(AF_INET, &v4->sin_addr, text, sizeof text), ntohs(v4->sin_port));
	else if (address->sa_family == AF_INET6)
		snprintf(place, IO_PLACE_BYTES, "%s port %u",
			 inet_ntop(AF_INET6, &v6->sin6_addr, text, sizeof text),
			 ntohs(v6->sin6_port));
	else
		snprintf(place, IO_PLACE_BYTES, "an address of family %d", address->sa_family);
	return place;
}

static const char *peer_place(int fd, char place[IO_PLACE_BYTES])
{
	struct sockaddr_storage address;
	socklen_t address_bytes = sizeof address;

	if (getpeername(fd, (struct sockaddr *)(void *)&address, &address_bytes) != 0)
		snprintf(place, IO_PLACE_BYTES, "the peer");
	else
		(void)address_place((struct sockaddr *)(void *)&address, place);
	return place;
}

static enum err err_of_socket_errno(int errno_value)
{
	switch (errno_value) {
	case ECONNREFUSED:
		return ERR_NET_REFUSED;
	case ETIMEDOUT:
		return ERR_NET_TIMEOUT;
	case EPIPE:
		return ERR_NET_CLOSED;
	case ENETUNREACH:
	case EHOSTUNREACH:
	case ENETDOWN:
	case EHOSTDOWN:
	case EADDRNOTAVAIL:
	case EAFNOSUPPORT:
	case EACCES: /* a local firewall rule */
	case EPERM:
		return ERR_NET_UNREACHABLE;
	default:
		return ERR_NET_RESET;
	}
}

static enum err socket_judge(enum err e, int32_t result, const char *doing, const char *place)
{
	if (e == ERR_FIBER_TIMEOUT)
		return RAISE(ERR_NET_TIMEOUT, "%s %s: no answer in time", doing, place);
	if (e)
		return e;
	if (result < 0)
		return RAISE_ERRNO(err_of_socket_errno(-result), -result, "%s %s", doing, place);
	return OK;
}

/* Where the socket could not be made because of the address it shall connect from. */
static enum err judge_from(const struct sockaddr *from, int32_t result)
{
	char place[IO_PLACE_BYTES];

	if (!from || (result != -EADDRNOTAVAIL && result != -EINVAL && result != -ENODEV))
		return OK;
	return RAISE_ERRNO(ERR_NET_LOCAL, -result, "connecting from %s",
			   address_place(from, place));
}

enum err io_connect(const struct sockaddr *address, socklen_t address_bytes, nsec until, int *fd)
{
	return io_connect_from(NULL, address, address_bytes, until, fd);
}

enum err io_connect_from(const struct sockaddr *from, const struct sockaddr *address,
			 socklen_t address_bytes, nsec until, int *fd)
{
	struct io_call make = { .op = { .verb = RING_SOCKET,
					.flags = address->sa_family,
					.address = from,
					.address_bytes = from ? address_bytes : 0 } };
	struct io_call call = { .op = { .verb = RING_CONNECT, .address = address } };
	char place[IO_PLACE_BYTES];
	enum err e;

	*fd = -1;
	must(!from || from->sa_family == address->sa_family);
	(void)address_place(address, place);
	e = io_call_run(&make, until);
	if (make.op.result >= 0)
		*fd = make.op.result;
	else if (!e && (e = judge_from(from, make.op.result)))
		goto out;
	if ((e = socket_judge(e, make.op.result, "opening a socket for", place)))
		goto out;
	call.op.fd = *fd;
	call.op.address_bytes = address_bytes;
	e = io_call_run(&call, until);
	e = socket_judge(e, call.op.result, "connecting to", place);
out:
	if (e)
		io_close(fd);
	return e;
}

enum err io_send(int fd, const void *from, size_t length, nsec until)
{
	char place[IO_PLACE_BYTES];
	size_t sent = 0;

	while (sent < length) {
		struct io_call call = { .op = { .verb = RING_SEND, .fd = fd } };
		enum err e;

		call.op.data = (uint8_t *)(uintptr_t)from + sent; /* the kernel reads it only */
		call.op.length = (uint32_t)min_u64(length - sent, IO_TRANSFER_BYTES_MAX);
		e = io_call_run(&call, until);
		if (e == OK && call.op.result >= 0) {
			must((size_t)call.op.result <= length - sent);
			sent += (size_t)call.op.result;
			/* A send called off may have moved some bytes: no reason to go on. */
			if (sent < length && clock_now() >= until)
				e = ERR_FIBER_TIMEOUT;
		}
		if (e || call.op.result < 0)
			return socket_judge(e, call.op.result, "sending to", peer_place(fd, place));
	}
	return OK;
}

/* ---- receiving ---- */

struct io_receiver {
	uint32_t magic;
	struct ring_recv recv;
	struct wait_queue waiters;
	struct io_receiver *next_closing;
};

/* Receivers of this thread that the kernel may still write about. */
static _Thread_local struct io_receiver *closing;

static void sweep_closing(void)
{
	struct io_receiver **at = &closing, *receiver;

	while ((receiver = *at)) {
		if (!ring_recv_stopped(&receiver->recv)) {
			at = &receiver->next_closing;
			continue;
		}
		*at = receiver->next_closing;
		receiver->magic = 0;
		free(receiver);
	}
}

static void receiver_arrived(struct ring_recv *recv)
{
	struct io_receiver *receiver = recv->owner;

	MAGIC_CHECK(receiver, RECEIVER_MAGIC);
	wake_all(&receiver->waiters);
}

enum err io_receiver_open(int fd, struct io_receiver **out)
{
	struct io_receiver *receiver = calloc(1, sizeof *receiver);

	*out = NULL;
	must(fd >= 0 && scheduler_ring() != NULL);
	sweep_closing();
	if (!receiver)
		return RAISE(ERR_MEMORY_EXHAUSTED, "receiving on a socket");
	receiver->magic = RECEIVER_MAGIC;
	receiver->recv.fd = fd;
	receiver->recv.arrived = receiver_arrived;
	receiver->recv.owner = receiver;
	ring_recv_start(scheduler_ring(), &receiver->recv);
	*out = receiver;
	return OK;
}

enum err io_receive(struct io_receiver *receiver, nsec until, struct ring_bytes *bytes)
{
	struct ring_recv *recv = &receiver->recv;
	char place[IO_PLACE_BYTES];
	enum err e = OK;
	int taken;

	MAGIC_CHECK(receiver, RECEIVER_MAGIC);
	*bytes = (struct ring_bytes){ 0 };
	while ((taken = ring_recv_take(recv, bytes)) == 0 && e == OK)
		if ((e = wait_on(&receiver->waiters, until)) == ERR_FIBER_CANCELED)
			return e;
	if (taken > 0 || (taken < 0 && recv->ended == 1))
		return OK;
	return socket_judge(e, taken < 0 ? recv->ended : 0, "receiving from",
			    peer_place(recv->fd, place));
}

bool io_is_ready(const struct io_receiver *receiver)
{
	MAGIC_CHECK(receiver, RECEIVER_MAGIC);
	return receiver->recv.count > 0 || receiver->recv.ended;
}

enum err io_await(struct io_receiver *receiver, nsec until)
{
	return io_is_ready(receiver) ? OK : wait_on(&receiver->waiters, until);
}

void io_stir(struct io_receiver *receiver)
{
	MAGIC_CHECK(receiver, RECEIVER_MAGIC);
	wake_all(&receiver->waiters);
}

void io_release(struct io_receiver *receiver, const struct ring_bytes *bytes)
{
	MAGIC_CHECK(receiver, RECEIVER_MAGIC);
	if (bytes->length > 0)
		ring_recv_release(&receiver->recv, bytes);
}

void io_receiver_close(struct io_receiver **out)
{
	struct io_receiver *receiver = *out;

	*out = NULL;
	if (!receiver)
		return;
	MAGIC_CHECK(receiver, RECEIVER_MAGIC);
	must(receiver->waiters.first == NULL); /* nobody receives any more */
	ring_recv_stop(&receiver->recv);
	receiver->next_closing = closing;
	closing = receiver;
	sweep_closing();
}

bool io_drain(struct ring *ring, nsec until)
{
	sweep_closing();
	while ((closing || ring_in_flight(ring) > 0) && clock_now() < until) {
		(void)ring_turn(ring, ring_in_flight(ring) > 0 ? until : 0);
		sweep_closing();
	}
	return !closing && ring_in_flight(ring) == 0;
}
