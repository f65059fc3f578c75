/* Simulated connections: one byte stream each way. What the client sends reaches the server at
 * once; what the server says waits here until the dice let the client have it. */
#include "tests/sim/net_sim.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>

#include "tests/sim/sim.h"

enum {
	CONN_MAGIC = 0x2e7c022,
	LATENCY_NSEC_MAX = 400000,
	/* Of the connections in bad weather so many are refused, or never made. */
	REFUSED_ONE_IN = 8,
	ALARMS_MAX = 64,
};

struct net_conn {
	uint32_t magic;
	unsigned references;
	const struct net_server *server; /* NULL: not connected */
	void *session;			 /* NULL: the server has let go */
	struct buffer said;
	size_t taken; /* of said */
	nsec ready_at;
	enum net_accident accident; /* to come, */
	uint64_t accident_after;    /* after so many bytes more */
	nsec pause;
	uint64_t throttle;
	bool ended, reset; /* by the server */
	bool stalled;
	bool shut; /* by the client */
};

static struct net_server servers[NET_SERVERS_MAX];
static unsigned servers_count;
static struct {
	unsigned count;
	uint64_t bytes;
	nsec pause;
} weather;

static struct alarm {
	nsec at;
	net_alarm *call;
	void *owner;
} alarms[ALARMS_MAX];
static unsigned alarms_count;

void net_forget(void)
{
	servers_count = 0;
	weather.count = 0;
	alarms_count = 0;
}

void net_weather(unsigned count, uint64_t bytes, nsec pause)
{
	weather.count = count;
	weather.bytes = bytes;
	weather.pause = pause;
}

void net_listen(const struct net_server *server)
{
	must(servers_count < NET_SERVERS_MAX && server->received);
	servers[servers_count++] = *server;
}

static nsec soon(const struct net_conn *conn, size_t bytes)
{
	nsec at = sim_now() + 1 + (nsec)sim_below(SIM_NET, LATENCY_NSEC_MAX);

	if (conn->throttle)
		at += (nsec)(bytes * (uint64_t)NSEC_SECOND / conn->throttle);
	return at;
}

static void server_lets_go(struct net_conn *conn)
{
	void *session = conn->session;

	conn->session = NULL;
	if (session && conn->server->closed)
		conn->server->closed(session);
}

/* ---- the server's side ---- */

void net_at(nsec at, net_alarm *call, void *owner)
{
	must(alarms_count < ALARMS_MAX);
	alarms[alarms_count++] = (struct alarm){ at, call, owner };
}

nsec net_alarm_at(void)
{
	nsec first = INT64_MAX;

	for (unsigned i = 0; i < alarms_count; i++)
		first = min_nsec(first, alarms[i].at);
	return first;
}

void net_alarms(void)
{
	for (unsigned i = 0; i < alarms_count;) {
		struct alarm due = alarms[i];

		if (due.at > sim_now()) {
			i++;
			continue;
		}
		alarms[i] = alarms[--alarms_count];
		due.call(due.owner);
		i = 0; /* it may have asked again */
	}
}

/* How much of the n bytes that are being said still comes through. */
static size_t accident_happens(struct net_conn *conn, size_t n)
{
	enum net_accident accident = conn->accident;

	conn->accident = NET_NONE;
	if (accident == NET_PAUSES) {
		conn->ready_at =
			(nsec)max_u64((uint64_t)conn->ready_at, (uint64_t)sim_now()) + conn->pause;
		return n;
	}
	conn->stalled = accident == NET_STALLS;
	conn->ended = accident != NET_STALLS;
	conn->reset = accident == NET_RESETS;
	return (size_t)conn->accident_after;
}

void net_say(struct net_conn *conn, const void *from, size_t n)
{
	MAGIC_CHECK(conn, CONN_MAGIC);
	if (conn->ended || conn->stalled)
		return;
	if (conn->said.bytes == conn->taken)
		conn->ready_at = soon(conn, n);
	if (conn->accident && n >= conn->accident_after)
		n = accident_happens(conn, n);
	else
		conn->accident_after -= conn->accident ? n : 0;
	buffer_add(&conn->said, from, n);
	must(!conn->said.failed);
}

void net_hang_up(struct net_conn *conn)
{
	MAGIC_CHECK(conn, CONN_MAGIC);
	if (!conn->ended && conn->said.bytes == conn->taken)
		conn->ready_at = soon(conn, 0);
	conn->ended = true;
}

void net_reset(struct net_conn *conn)
{
	net_hang_up(conn);
	conn->reset = true;
	conn->taken = conn->said.bytes;
}

void net_accident_after(struct net_conn *conn, enum net_accident accident, uint64_t bytes,
			nsec pause)
{
	MAGIC_CHECK(conn, CONN_MAGIC);
	conn->accident = accident;
	conn->accident_after = bytes;
	conn->pause = pause;
}

void net_throttle(struct net_conn *conn, uint64_t bytes_per_second)
{
	conn->throttle = bytes_per_second;
}

/* ---- the client's side ---- */

struct net_conn *net_open(void)
{
	struct net_conn *conn = calloc(1, sizeof *conn);

	must(conn);
	conn->magic = CONN_MAGIC;
	conn->references = 1;
	return conn;
}

static unsigned port_of(const struct sockaddr *address)
{
	if (address->sa_family == AF_INET)
		return ntohs(((const struct sockaddr_in *)(const void *)address)->sin_port);
	if (address->sa_family == AF_INET6)
		return ntohs(((const struct sockaddr_in6 *)(const void *)address)->sin6_port);
	return 0;
}

/* Half of the accidents fall into the first bytes: the greeting, the login, the listing. */
static int meets_weather(struct net_conn *conn)
{
	uint64_t bytes = sim_one_in(SIM_NET, 2) ? weather.bytes : min_u64(weather.bytes, 4000);

	weather.count--;
	if (sim_one_in(SIM_NET, REFUSED_ONE_IN))
		return -ECONNREFUSED;
	net_accident_after(conn, NET_CLOSES + (enum net_accident)sim_below(SIM_NET, NET_PAUSES),
			   sim_below(SIM_NET, bytes + 1),
			   (nsec)sim_below(SIM_NET, (uint64_t)weather.pause + 1));
	return 0;
}

int net_connect(struct net_conn *conn, const struct sockaddr *address, socklen_t bytes)
{
	MAGIC_CHECK(conn, CONN_MAGIC);
	(void)bytes;
	if (conn->server)
		return -EISCONN;
	for (unsigned i = 0; i < servers_count; i++)
		if (servers[i].port == port_of(address))
			conn->server = &servers[i];
	if (!conn->server)
		return -ECONNREFUSED;
	if (weather.count && meets_weather(conn) == -ECONNREFUSED) {
		conn->server = NULL;
		return -ECONNREFUSED;
	}
	conn->session = conn->server->accepted(conn->server->owner, conn);
	must(conn->session);
	return 0;
}

int64_t net_send(struct net_conn *conn, const void *from, size_t n)
{
	MAGIC_CHECK(conn, CONN_MAGIC);
	if (!conn->server)
		return -ENOTCONN;
	if (conn->shut || (conn->ended && conn->reset))
		return conn->shut ? -EPIPE : -ECONNRESET;
	if (conn->session && !conn->ended && !conn->stalled)
		conn->server->received(conn->session, conn, from, n);
	return (int64_t)n;
}

bool net_is_stalled(const struct net_conn *conn)
{
	MAGIC_CHECK(conn, CONN_MAGIC);
	return conn->stalled && !conn->shut;
}

int net_shutdown(struct net_conn *conn)
{
	MAGIC_CHECK(conn, CONN_MAGIC);
	if (!conn->server)
		return -ENOTCONN;
	conn->shut = true;
	net_hang_up(conn); /* the model servers close when their client does */
	server_lets_go(conn);
	return 0;
}

nsec net_ready_at(const struct net_conn *conn)
{
	MAGIC_CHECK(conn, CONN_MAGIC);
	return conn->said.bytes > conn->taken || conn->ended ? conn->ready_at : INT64_MAX;
}

int64_t net_take(struct net_conn *conn, void *to, size_t max)
{
	size_t n = (size_t)min_u64(max, conn->said.bytes - conn->taken);

	MAGIC_CHECK(conn, CONN_MAGIC);
	must(net_ready_at(conn) <= sim_now());
	if (n == 0)
		return conn->reset ? -ECONNRESET : 0;
	bytes_copy(to, conn->said.at + conn->taken, n, BYTES_META);
	conn->taken += n;
	if (conn->taken == conn->said.bytes) {
		conn->taken = 0;
		buffer_reset(&conn->said);
	}
	conn->ready_at = soon(conn, n);
	return (int64_t)n;
}

void net_ref(struct net_conn *conn)
{
	MAGIC_CHECK(conn, CONN_MAGIC);
	conn->references++;
}

void net_unref(struct net_conn **conn)
{
	MAGIC_CHECK(*conn, CONN_MAGIC);
	if (--(*conn)->references == 0) {
		server_lets_go(*conn);
		buffer_free(&(*conn)->said);
		(*conn)->magic = 0;
		free(*conn);
	}
	*conn = NULL;
}
