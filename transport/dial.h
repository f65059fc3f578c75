/* From a host and a port to a connected socket, whichever of the host's addresses answers. Not for:
 * what is said on it (conn.c). */
#ifndef MAILHAUL_DIAL_H
#define MAILHAUL_DIAL_H

#include "transport/route.h"

/* Tries each address in turn (RFC 8305 order, a share of the time each). `address` tells which one
 * answered. With a route (may be NULL): from its address, to addresses of its family; where it
 * has a proxy, to that, and the host is not looked up. ERR_NET_* with every address that was tried
 * and its reason in the note; ERR_RESIDENCY_ENDPOINT before a name is looked up that the policy of
 * the process does not allow (residency.h), and before anything is sent to a host of which one
 * address is outside. Suspends. */
enum err dial(const struct route *, const char *host, uint16_t port, nsec until, int *fd,
	      char address[RESOLVE_SHOWN_BYTES]) MUST_CHECK;

/* The same for addresses that are known; `shown` names the host in texts. */
enum err dial_list(const char *shown, const struct resolve_list *, nsec until, int *fd,
		   char address[RESOLVE_SHOWN_BYTES]) MUST_CHECK;

/* "imap.example.com:993", "[2001:db8::1]:993"; a very long name is cut. */
void dial_show(const char *host, uint16_t port, char *to, size_t room);

#endif
