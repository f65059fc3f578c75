/* Simulated sockets to model servers of the same process. The server's side is called back with
 * what arrives; what it says reaches the client in pieces, as the dice want. Not for: what is said
 * (imap_model.h), the ring (ring_sim.c). */
#ifndef MAILHAUL_NET_SIM_H
#define MAILHAUL_NET_SIM_H

#include <sys/socket.h>

#include "engine/bytes.h"

struct net_conn;

struct net_server {
	uint16_t port; /* at every address of this machine */
	/* A client is connected; returns the session that the other two are given. */
	void *(*accepted)(void *owner, struct net_conn *);
	void (*received)(void *session, struct net_conn *, const void *, size_t);
	void (*closed)(void *session); /* nothing more will come; frees it */
	void *owner;
};
enum { NET_SERVERS_MAX = 4 };

/* Forget every server; the process has no connections. */
void net_forget(void);
void net_listen(const struct net_server *);

/* ---- the server's side ---- */
void net_say(struct net_conn *, const void *, size_t);
/* Close after what was said; or at once, losing what was not delivered yet. */
void net_hang_up(struct net_conn *);
void net_reset(struct net_conn *);
/* An accident to come, after `bytes` more said by the server: it closes, the connection is reset,
 * nothing comes through any more in either direction, or nothing for `pause`. */
enum net_accident { NET_NONE, NET_CLOSES, NET_RESETS, NET_STALLS, NET_PAUSES };
void net_accident_after(struct net_conn *, enum net_accident, uint64_t bytes, nsec pause);
/* The next `count` connections meet accidents that the dice choose, also while they are made, and
 * then within their first `bytes` bytes; pauses last up to `pause`. */
void net_weather(unsigned count, uint64_t bytes, nsec pause);
/* Call back at that time, once. */
typedef void net_alarm(void *owner);
void net_at(nsec, net_alarm *, void *owner);
/* Bytes a second the server's side delivers; 0: no limit. */
void net_throttle(struct net_conn *, uint64_t bytes_per_second);

/* ---- the client's side: for the ring ---- */
struct net_conn *net_open(void);
/* When a server has asked to be called back first; INT64_MAX: not. */
nsec net_alarm_at(void);
/* Call those back whose time it is. */
void net_alarms(void);
int net_connect(struct net_conn *, const struct sockaddr *, socklen_t);
int64_t net_send(struct net_conn *, const void *, size_t);
/* Nothing goes out any more: a send waits until it is called off. */
bool net_is_stalled(const struct net_conn *);
int net_shutdown(struct net_conn *);
/* When something can be taken: a time, or INT64_MAX for not as things stand. */
nsec net_ready_at(const struct net_conn *);
/* Bytes taken; 0: the orderly end; -ECONNRESET. Only when it is ready. */
int64_t net_take(struct net_conn *, void *to, size_t max);
void net_ref(struct net_conn *);
void net_unref(struct net_conn **);

#endif
