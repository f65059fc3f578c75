#include "transport/route.h"

#include <stdio.h>

#include "crypto/secret.h"
#include "engine/ring.h"

enum err route_set_from(struct route *route, const char *what, const char *text)
{
	char *literal = route->from_shown;
	size_t bytes = strlen(text);
	bool bracketed = *text == '[' && text[bytes - 1] == ']';

	snprintf(literal, sizeof route->from_shown, "%.*s", (int)(bracketed ? bytes - 2 : bytes),
		 text + bracketed);
	if (bytes >= sizeof route->from_shown || !resolve_literal(literal, 0, &route->from))
		return RAISE(ERR_INPUT_USAGE,
			     "%s is no IPv4 or IPv6 address (as ip address shows them, without a "
			     "name or a port)",
			     what);
	route->has_from = true;
	return OK;
}

enum err route_set_proxy(struct route *route, const char *what, const char *scheme,
			 const char *user, const char *host, uint16_t port)
{
	bool is_socks = strcmp(scheme, "socks5") == 0 || strcmp(scheme, "socks5h") == 0;
	bool is_v6 = strchr(host, ':') != NULL;

	if (!is_socks && strcmp(scheme, "http") != 0)
		return RAISE(ERR_INPUT_USAGE,
			     "%s is %s://, and only socks5:// and http:// are known", what, scheme);
	if (!is_socks && !port)
		return RAISE(ERR_INPUT_USAGE, "%s names no port: http://%s:3128, for example", what,
			     host);
	if (!*host || strlen(host) > RESOLVE_HOST_BYTES_MAX || strlen(user) > ROUTE_USER_BYTES_MAX)
		return RAISE(ERR_INPUT_USAGE, "%s has a host or user that is too long", what);
	/* Basic credentials end the user at the first colon (RFC 7617 section 2). */
	if (!is_socks && strchr(user, ':'))
		return RAISE(ERR_INPUT_USAGE,
			     "%s has a user with a colon in it, which HTTP "
			     "cannot say",
			     what);
	route->kind = is_socks ? ROUTE_SOCKS5 : ROUTE_HTTP;
	route->port = port ? port : ROUTE_SOCKS5_PORT;
	snprintf(route->host, sizeof route->host, "%s", host);
	snprintf(route->user, sizeof route->user, "%s", user);
	snprintf(route->shown, sizeof route->shown, "%s://%s%s%s:%u", is_socks ? "socks5" : "http",
		 is_v6 ? "[" : "", host, is_v6 ? "]" : "", route->port);
	return OK;
}

enum err route_set_password(struct route *route, const char *what, const struct secret *password)
{
	if (*route->user && !password)
		return RAISE(ERR_INPUT_USAGE,
			     "%s names a user and no password: it comes from a file of mode 0600, "
			     "--proxy-password-file FILE (in a job: proxy_password)",
			     what);
	if (!*route->user)
		return OK;
	if (secret_text(password).bytes > ROUTE_PASSWORD_BYTES_MAX)
		return RAISE(ERR_INPUT_SECRET, "the password for %s has %zu bytes, more than %d",
			     what, secret_text(password).bytes, ROUTE_PASSWORD_BYTES_MAX);
	route->password = password;
	return OK;
}

enum err route_check_from(const struct route *route)
{
	int result;

	if (!route->has_from)
		return OK;
	result = ring_address_check(&route->from.any, resolve_address_bytes(&route->from));
	return result ? RAISE_ERRNO(ERR_NET_LOCAL, -result, "connecting from %s", route->from_shown)
		      : OK;
}
