/* Name lookup: see resolve.h. */
#include "transport/resolve.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/bytes.h"
#include "engine/offload.h"

/* A job works on its own copy, so nothing here points anywhere. */
struct lookup {
	char host[RESOLVE_HOST_BYTES_MAX + 1];
	uint16_t port;
	struct resolve_list list;
};
_Static_assert(sizeof(struct lookup) <= OFFLOAD_ARGUMENT_BYTES_MAX, "a lookup fits an offload job");

socklen_t resolve_address_bytes(const union resolve_address *address)
{
	return address->any.sa_family == AF_INET6 ? sizeof address->v6 : sizeof address->v4;
}

const char *resolve_show(const union resolve_address *address, char to[RESOLVE_SHOWN_BYTES])
{
	char literal[INET6_ADDRSTRLEN] = "", zone[16] = "";

	if (address->any.sa_family == AF_INET) {
		inet_ntop(AF_INET, &address->v4.sin_addr, literal, sizeof literal);
		snprintf(to, RESOLVE_SHOWN_BYTES, "%s:%u", literal, ntohs(address->v4.sin_port));
		return to;
	}
	inet_ntop(AF_INET6, &address->v6.sin6_addr, literal, sizeof literal);
	if (address->v6.sin6_scope_id)
		snprintf(zone, sizeof zone, "%%%u", address->v6.sin6_scope_id);
	snprintf(to, RESOLVE_SHOWN_BYTES, "[%s%s]:%u", literal, zone, ntohs(address->v6.sin6_port));
	return to;
}

/* "fe80::1%eth0" or "fe80::1%2" (RFC 4007 section 11) as well as a bare address. */
static bool parse_v6(const char *host, struct in6_addr *to, uint32_t *zone)
{
	size_t bytes = strcspn(host, "%");
	char literal[INET6_ADDRSTRLEN];

	if (bytes >= sizeof literal)
		return false;
	bytes_copy(literal, host, bytes, BYTES_META);
	literal[bytes] = '\0';
	*zone = 0;
	if (host[bytes] == '%' && !(*zone = if_nametoindex(host + bytes + 1)))
		*zone = (uint32_t)strtoul(host + bytes + 1, NULL, 10);
	return inet_pton(AF_INET6, literal, to) == 1;
}

static bool parse_literal(const char *host, uint16_t port, union resolve_address *to)
{
	struct in6_addr v6;
	struct in_addr v4;
	uint32_t zone;

	if (inet_pton(AF_INET, host, &v4) == 1) {
		to->v4 = (struct sockaddr_in){ .sin_family = AF_INET,
					       .sin_port = htons(port),
					       .sin_addr = v4 };
		return true;
	}
	if (!parse_v6(host, &v6, &zone))
		return false;
	to->v6 = (struct sockaddr_in6){ .sin6_family = AF_INET6,
					.sin6_port = htons(port),
					.sin6_addr = v6,
					.sin6_scope_id = zone };
	return true;
}

static bool same_address(const union resolve_address *a, const union resolve_address *b)
{
	if (a->any.sa_family != b->any.sa_family)
		return false;
	if (a->any.sa_family == AF_INET)
		return a->v4.sin_addr.s_addr == b->v4.sin_addr.s_addr;
	return IN6_ARE_ADDR_EQUAL(&a->v6.sin6_addr, &b->v6.sin6_addr) &&
	       a->v6.sin6_scope_id == b->v6.sin6_scope_id;
}

static bool holds(const struct resolve_list *list, const union resolve_address *address)
{
	for (unsigned i = 0; i < list->count; i++)
		if (same_address(&list->addresses[i], address))
			return true;
	return false;
}

/* Move the next address of the family (or of the other one) from `from` to `to`; the entries that
 * were moved are marked AF_UNSPEC. False: that side is used up. */
static bool move_next(struct resolve_list *from, struct resolve_list *to, bool of_family,
		      int family)
{
	for (unsigned i = 0; i < from->count; i++) {
		union resolve_address *address = &from->addresses[i];

		if (address->any.sa_family == AF_UNSPEC ||
		    (address->any.sa_family == family) != of_family)
			continue;
		if (!holds(to, address))
			to->addresses[to->count++] = *address;
		address->any.sa_family = AF_UNSPEC;
		return true;
	}
	return false;
}

void resolve_order(struct resolve_list *list)
{
	struct resolve_list ordered = { 0 };
	int first = list->addresses[0].any.sa_family;
	bool moved = true;

	must(list->count <= RESOLVE_ADDRESSES_MAX);
	while (moved) {
		moved = move_next(list, &ordered, true, first);
		moved |= move_next(list, &ordered, false, first);
	}
	*list = ordered;
}

static void collect(struct lookup *lookup, const struct addrinfo *found)
{
	struct resolve_list *list = &lookup->list;

	for (; found && list->count < RESOLVE_ADDRESSES_MAX; found = found->ai_next) {
		union resolve_address *address = &list->addresses[list->count];

		if (found->ai_family == AF_INET && found->ai_addrlen == sizeof address->v4) {
			address->v4 = *(const struct sockaddr_in *)(const void *)found->ai_addr;
			address->v4.sin_port = htons(lookup->port);
		} else if (found->ai_family == AF_INET6 &&
			   found->ai_addrlen == sizeof address->v6) {
			address->v6 = *(const struct sockaddr_in6 *)(const void *)found->ai_addr;
			address->v6.sin6_port = htons(lookup->port);
		} else {
			continue;
		}
		list->count++;
	}
}

/* On an offload thread. AI_ADDRCONFIG is left out: it hides loopback addresses on machines without
 * a network, and an address without a route fails at once anyway. */
static enum err look_up(void *argument)
{
	struct lookup *lookup = argument;
	const struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
	struct addrinfo *found = NULL;
	int result = getaddrinfo(lookup->host, NULL, &hints, &found);

	if (result == EAI_SYSTEM)
		return RAISE_ERRNO(ERR_NET_NAME, errno, "looking up %s", lookup->host);
	if (result)
		return RAISE(ERR_NET_NAME, "looking up %s: %s; %s", lookup->host,
			     gai_strerror(result),
			     result == EAI_AGAIN ? "the name server does not answer"
						 : "is the name spelt right?");
	collect(lookup, found);
	freeaddrinfo(found);
	if (lookup->list.count == 0)
		return RAISE(ERR_NET_NAME, "looking up %s: it has no address", lookup->host);
	return OK;
}

enum err resolve(const char *host, uint16_t port, nsec until, struct resolve_list *out)
{
	struct lookup lookup = { .port = port };
	struct offload_job job = { .name = "lookup",
				   .run = look_up,
				   .argument = &lookup,
				   .argument_bytes = sizeof lookup };
	enum err e;

	*out = (struct resolve_list){ .count = 1 };
	if (parse_literal(host, port, &out->addresses[0]))
		return OK;
	if (!host[0] || strlen(host) > RESOLVE_HOST_BYTES_MAX)
		return RAISE(ERR_NET_NAME, "a host name of %zu bytes cannot be looked up",
			     strlen(host));
	bytes_copy(lookup.host, host, strlen(host), BYTES_META);
	e = offload_run(&job, until);
	if (e == ERR_FIBER_TIMEOUT)
		return RAISE(ERR_NET_TIMEOUT, "looking up %s: the resolver did not answer in time",
			     host);
	if (e)
		return e;
	*out = lookup.list;
	resolve_order(out);
	must(out->count > 0);
	return OK;
}
