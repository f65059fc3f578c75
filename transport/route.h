/* How connections to a peer are made: from which address of this machine, and through which proxy.
 * What a user wrote becomes a struct route here; dial.h and proxy.h go by it. */
#ifndef MAILHAUL_ROUTE_H
#define MAILHAUL_ROUTE_H

#include "engine/source.h"
#include "transport/resolve.h"

enum route_kind {
	ROUTE_STRAIGHT,
	ROUTE_SOCKS5, /* RFC 1928 */
	ROUTE_HTTP,   /* the CONNECT of RFC 9110 section 9.3.6 */
};

/* Zero-initialised: straight, from whatever address the kernel takes. */
struct route {
	bool has_from;
	union resolve_address from; /* its port is 0 */
	char from_shown[RESOLVE_SHOWN_BYTES];
	enum route_kind kind;
	/* Of the proxy; `user` is "" where it wants no login. */
	char host[RESOLVE_HOST_BYTES_MAX + 2];
	uint16_t port;
	char user[256];
	char shown[320];	       /* "socks5://proxy.example:1080" */
	const struct secret *password; /* borrowed; NULL: none */
};

enum {
	ROUTE_SOCKS5_PORT = 1080, /* RFC 1928 section 3 */
	/* RFC 1929 section 2 counts them in one byte; more would not fit a head's line either. */
	ROUTE_USER_BYTES_MAX = 255,
	ROUTE_PASSWORD_BYTES_MAX = 255,
};

/* The address to connect from: an IPv4 or IPv6 literal, the latter with or without brackets.
 * `what` is how the user knows it. ERR_INPUT_USAGE. */
enum err route_set_from(struct route *, const char *what, const char *text) MUST_CHECK;
/* The proxy, from the parts of its URL (borrowed until return; `user` decoded, port 0: not said).
 * "none" as scheme is not a proxy but the word for having none, and the caller's to know.
 * ERR_INPUT_USAGE. */
enum err route_set_proxy(struct route *, const char *what, const char *scheme, const char *user,
			 const char *host, uint16_t port) MUST_CHECK;
/* Its password (borrowed for the route's life; may be NULL), which must be there exactly where a
 * user is. ERR_INPUT_USAGE, ERR_INPUT_SECRET. */
enum err route_set_password(struct route *, const char *what, const struct secret *) MUST_CHECK;

/* Whether this machine has the address to connect from: made and bound once, at start, outside of
 * fibers. ERR_NET_LOCAL. */
enum err route_check_from(const struct route *) MUST_CHECK;

#endif
