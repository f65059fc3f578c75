/* Have a proxy connect us: what proxy_talk.h says and hears, carried over a socket that dial.h
 * connected to it. */
#ifndef MAILHAUL_PROXY_H
#define MAILHAUL_PROXY_H

#include "engine/io.h"
#include "transport/route.h"

/* `host` is handed to the proxy as it is: nothing is looked up here. What the target said already
 * stays in *arrived from *arrived_used on, the caller's to release where `length` is not 0. One
 * deadline for all of it. ERR_PROXY_*, ERR_NET_* with proxy and target in the note. Suspends. */
enum err proxy_connect(const struct route *, const char *host, uint16_t port, int fd,
		       struct io_receiver *, nsec until, struct ring_bytes *arrived,
		       uint32_t *arrived_used) MUST_CHECK;

#endif
