/* Every endpoint that was met: who answered where, under which certificate, and for AWS in which
 * region and for which key. Gathered by each connection, shown in the reports with the verdict of
 * the residency policy (transport/residency.h). Bounded: of more endpoints than ENDPOINTS_MAX, only
 * the connections are counted. */
#ifndef MAILHAUL_TOOLS_ENDPOINTS_H
#define MAILHAUL_TOOLS_ENDPOINTS_H

#include <stdio.h>

#include "engine/source.h"

struct json_out;

enum { ENDPOINTS_MAX = 64 };

/* Zero-initialised is empty. One thread's; what peers name in `through` outlives it. */
struct endpoints {
	/* Each name, address, certificate and key once. */
	struct endpoint {
		struct peer peer;
		uint64_t connections;
	} at[ENDPOINTS_MAX];
	unsigned count;
	uint64_t connections_left_out;
};

/* For account->met; `context` is the endpoints. */
void endpoints_met(void *endpoints, const struct peer *);
/* What another thread gathered. */
void endpoints_merge(struct endpoints *, const struct endpoints *);

/* A line for each, then one of the policy, if there is any. */
void endpoints_text(const struct endpoints *, FILE *);
/* "endpoints": [{host, address, through (or null), tls_version, tls_cipher, certificate_sha256,
 * software, region, key (null where there is none), connections}], then
 * "endpoint_connections_left_out", and "residency": null without a policy, or {partitions, regions,
 * keys, hosts, addresses (arrays; those that are given), refused (how often)}. */
void endpoints_json(const struct endpoints *, struct json_out *);

#endif
