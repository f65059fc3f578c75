#include "transport/proxy_talk.h"

#include <stdio.h>

#include "crypto/secret.h"
#include "transport/dial.h"

enum err proxy_talk_begin(struct proxy_talk *talk, const struct route *route, const char *host,
			  uint16_t port)
{
	char target[RESOLVE_HOST_BYTES_MAX];

	must(route->kind != ROUTE_STRAIGHT && port);
	*talk = (struct proxy_talk){ .route = route, .host = host, .port = port };
	dial_show(host, port, target, sizeof target);
	snprintf(talk->shown, sizeof talk->shown, "the proxy %s towards %s", route->shown, target);
	/* A name with an end of line in it could add to what we say. */
	if (!*host || strlen(host) > RESOLVE_HOST_BYTES_MAX || host[strcspn(host, " \t\r\n")])
		return RAISE(ERR_NET_NAME, "%s: a host name that is none", talk->shown);
	if (route->kind == ROUTE_SOCKS5)
		proxy_socks_begin(talk);
	else
		proxy_http_begin(talk);
	must(talk->say_bytes > 0);
	return OK;
}

enum err proxy_talk_hear(struct proxy_talk *talk, struct text heard, size_t *used)
{
	enum err e;

	*used = 0;
	must(!talk->done && talk->say_bytes == 0);
	e = talk->route->kind == ROUTE_SOCKS5 ? proxy_socks_hear(talk, heard, used)
					      : proxy_http_hear(talk, heard, used);
	must(*used <= heard.bytes && talk->say_bytes <= sizeof talk->say);
	must(e || talk->done || *used == heard.bytes || talk->say_bytes);
	return e;
}

void proxy_talk_end(struct proxy_talk *talk)
{
	secret_wipe(talk->say, sizeof talk->say);
	talk->say_bytes = 0;
}
