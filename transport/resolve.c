/* Name lookup: see resolve.h. */
#include "transport/resolve.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/bytes.h"
#include "engine/offload.h"

/* A job works on its own copy, so nothing here points anywhere. */
struct lookup {
	char host[RESOLVE_HOST_BYTES_MAX + 1];
	uint16_t port;
	nsec until;
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

/* "fe80::1%2" (RFC 4007 section 11) as well as a bare address. A zone by its name is for the
 * helper to look up, which may ask the kernel for interfaces. */
static bool parse_v6(const char *host, struct in6_addr *to, uint32_t *zone)
{
	size_t bytes = strcspn(host, "%");
	char literal[INET6_ADDRSTRLEN], *end = NULL;

	if (bytes >= sizeof literal)
		return false;
	bytes_copy(literal, host, bytes, BYTES_META);
	literal[bytes] = '\0';
	*zone = host[bytes] ? (uint32_t)strtoul(host + bytes + 1, &end, 10) : 0;
	return inet_pton(AF_INET6, literal, to) == 1 &&
	       (!end || (*end == '\0' && end > host + bytes + 1));
}

bool resolve_literal(const char *host, uint16_t port, union resolve_address *to)
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

static void collect(struct resolve_list *list, const struct addrinfo *found)
{
	for (; found && list->count < RESOLVE_ADDRESSES_MAX; found = found->ai_next) {
		union resolve_address *address = &list->addresses[list->count];

		if (found->ai_family == AF_INET && found->ai_addrlen == sizeof address->v4)
			address->v4 = *(const struct sockaddr_in *)(const void *)found->ai_addr;
		else if (found->ai_family == AF_INET6 && found->ai_addrlen == sizeof address->v6)
			address->v6 = *(const struct sockaddr_in6 *)(const void *)found->ai_addr;
		else
			continue;
		list->count++;
	}
}

static void set_port(union resolve_address *address, uint16_t port)
{
	if (address->any.sa_family == AF_INET6)
		address->v6.sin6_port = htons(port);
	else
		address->v4.sin_port = htons(port);
}

/* In the helper: the name service loads what nsswitch.conf names. AI_ADDRCONFIG is left out: it
 * hides loopback addresses on machines without a network, and an address without a route fails at
 * once anyway. */
static enum err look_up(struct text request, nsec until, void *answer, size_t *answer_bytes)
{
	const struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
	const char *host = request.at;
	struct addrinfo *found = NULL;
	struct resolve_list list = { 0 };
	int result = getaddrinfo(host, NULL, &hints, &found);

	(void)until; /* the helper keeps it */
	must(*answer_bytes >= sizeof list);
	if (result == EAI_SYSTEM)
		return RAISE_ERRNO(ERR_NET_NAME, errno, "looking up %s", host);
	if (result)
		return RAISE(ERR_NET_NAME, "looking up %s: %s; %s", host, gai_strerror(result),
			     result == EAI_AGAIN ? "the name server does not answer"
						 : "is the name spelt right?");
	collect(&list, found);
	freeaddrinfo(found);
	if (list.count == 0)
		return RAISE(ERR_NET_NAME, "looking up %s: it has no address", host);
	*answer_bytes = sizeof list;
	bytes_copy(answer, &list, sizeof list, BYTES_META);
	return OK;
}

const struct helper_call resolve_call = { "looking up a name", look_up };

/* What the helper hands over is looked at like everything that another process sent. */
static bool is_sound(const struct resolve_list *list)
{
	if (list->count == 0 || list->count > RESOLVE_ADDRESSES_MAX)
		return false;
	for (unsigned i = 0; i < list->count; i++)
		if (list->addresses[i].any.sa_family != AF_INET &&
		    list->addresses[i].any.sa_family != AF_INET6)
			return false;
	return true;
}

/* On an offload thread. */
static enum err ask(void *argument)
{
	struct lookup *lookup = argument;
	struct resolve_list *list = &lookup->list;
	size_t bytes = sizeof *list;
	enum err e = helper_ask(&resolve_call, text_of(lookup->host), lookup->until, list, &bytes);

	if (e)
		return e;
	if (bytes != sizeof *list || !is_sound(list))
		return RAISE(ERR_HELPER_FAILED, "looking up %s: an answer that is none",
			     lookup->host);
	for (unsigned i = 0; i < list->count; i++)
		set_port(&list->addresses[i], lookup->port);
	return OK;
}

enum err resolve(const char *host, uint16_t port, nsec until, struct resolve_list *out)
{
	struct lookup lookup = { .port = port, .until = until };
	struct offload_job job = {
		.name = "lookup", .run = ask, .argument = &lookup, .argument_bytes = sizeof lookup
	};
	enum err e;

	*out = (struct resolve_list){ .count = 1 };
	if (resolve_literal(host, port, &out->addresses[0]))
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
