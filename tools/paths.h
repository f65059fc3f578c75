/* What the ways to hosts were like: measured by each connection, gathered by host, shown in the
 * reports. Bounded: of more hosts than PATHS_HOSTS_MAX, only the connections are counted. */
#ifndef MAILHAUL_TOOLS_PATHS_H
#define MAILHAUL_TOOLS_PATHS_H

#include <stdio.h>

#include "engine/source.h"

struct json_out;

enum { PATHS_HOSTS_MAX = 32 };

/* One host and port, by one proxy or by none. Sums, but for what says otherwise. */
struct paths_host {
	char host[256];
	uint16_t port;
	const char *through;		  /* the route's; NULL: straight */
	uint64_t connections, compressed; /* of them, so many */
	/* Of those whose round trip is known. */
	uint64_t measured;
	nsec round_trip, round_trip_least;
	uint32_t mtu_least; /* 0: not known */
	uint64_t segments_resent, bytes_received, bytes_sent;
	nsec active;
};

/* Zero-initialised is empty. One thread's; the routes outlive it. */
struct paths {
	struct paths_host hosts[PATHS_HOSTS_MAX];
	unsigned count;
	uint64_t connections_left_out;
};

/* For account->parted; `context` is the paths. */
void paths_add(void *paths, const struct path *);
/* What another thread gathered. */
void paths_merge(struct paths *, const struct paths *);

/* The mean of the connections'; 0: not known. */
nsec paths_round_trip(const struct paths_host *);
/* A line for each host; none where there was none. */
void paths_text(const struct paths *, FILE *);
/* "paths": [{host, port, through (or null), connections, compressed, round_trip_ms,
 * round_trip_min_ms, path_mtu (each null where the kernel did not tell), segments_resent,
 * bytes_received, bytes_sent, active_s, received_per_second, sent_per_second}]. The speeds are
 * those of one connection, on the average. */
void paths_json(const struct paths *, struct json_out *);

#endif
