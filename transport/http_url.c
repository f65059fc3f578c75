/* URLs of HTTP: see http.h. */
#include <stdio.h>

#include "transport/http_state.h"

static enum err bad_url(const char *what, const char *why)
{
	return RAISE(ERR_INPUT_USAGE, "%s %s; https://HOST/PATH is expected", what, why);
}

static bool is_host_char(char c, bool bracketed)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	       c == '.' || c == '-' || (bracketed ? c == ':' : c == '_');
}

/* host or [v6], then maybe :port. */
static enum err parse_authority(const char *what, struct text from, struct http_url *url)
{
	bool bracketed = from.bytes > 0 && *from.at == '[';
	size_t n = 0, at = bracketed;
	unsigned long port = 0;

	for (; at < from.bytes && is_host_char(from.at[at], bracketed); at++, n++) {
		if (n == HTTP_HOST_BYTES_MAX)
			return bad_url(what, "has too long a host name");
		url->host[n] = from.at[at];
	}
	url->host[n] = '\0';
	if (n == 0)
		return bad_url(what, "names no host");
	if (bracketed && (at >= from.bytes || from.at[at++] != ']'))
		return bad_url(what, "has a bracket that is not closed");
	url->port = HTTPS_PORT;
	if (at == from.bytes)
		return OK;
	if (from.at[at++] != ':' || at == from.bytes)
		return bad_url(what, "holds something between host and path that is no port");
	for (; at < from.bytes; at++) {
		if (from.at[at] < '0' || from.at[at] > '9' ||
		    (port = port * 10 + (unsigned long)(from.at[at] - '0')) > UINT16_MAX)
			return bad_url(what, "has a port that is none");
	}
	url->port = (uint16_t)port;
	return port ? OK : bad_url(what, "has a port that is none");
}

enum err http_url_parse(const char *what, const char *text, struct http_url *url)
{
	static const char scheme[] = "https://";
	const char *rest = text + sizeof scheme - 1, *path;
	size_t n;

	*url = (struct http_url){ 0 };
	if (strncmp(text, scheme, sizeof scheme - 1) != 0)
		return bad_url(what, "does not begin with https://");
	path = rest + strcspn(rest, "/?#");
	if (memchr(rest, '@', (size_t)(path - rest)))
		return bad_url(what, "names a user");
	n = strlen(path);
	for (size_t i = 0; i < n; i++)
		if (path[i] <= ' ' || path[i] == 0x7f || path[i] == '#')
			return bad_url(what, "holds a space, a # or what is not ASCII");
	if (n + 1 > HTTP_TARGET_BYTES_MAX)
		return bad_url(what, "is too long");
	snprintf(url->target, sizeof url->target, "%s%s", *path == '/' ? "" : "/", path);
	return parse_authority(what, (struct text){ rest, (size_t)(path - rest) }, url);
}
