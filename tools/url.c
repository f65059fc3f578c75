#include "tools/url.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/bytes.h"

/* A port that is the scheme's own is not kept, so that imaps://h/ and imaps://h:993/ are one
 * mailbox to the ledger. */
static const struct {
	const char *scheme;
	uint16_t port;
} own_ports[] = { { "imaps", 993 }, { "imap", 143 } };

static bool is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

/* The parts of a URL as they stand in the text. */
struct parts {
	struct text scheme, user, host, port, path;
	bool user_given, port_given, bracketed;
};

static struct text text_between(const char *from, const char *to)
{
	return (struct text){ from, (size_t)(to - from) };
}

/* scheme "://" [user "@"] (host | "[" address "]") [":" port] [path]. False with `why` otherwise.
 */
static bool split(const char *text, struct parts *parts, const char **why)
{
	const char *colon = strstr(text, "://"), *authority, *end, *at, *host, *mark;

	*why = "is no URL such as imaps://user@host/ or file:///path";
	if (!colon || colon == text || colon - text > URL_SCHEME_BYTES_MAX)
		return false;
	parts->scheme = text_between(text, colon);
	authority = colon + 3;
	end = authority + strcspn(authority, "/?#");
	at = memrchr(authority, '@', (size_t)(end - authority));
	host = at ? at + 1 : authority;
	parts->user_given = at != NULL;
	parts->user = text_between(authority, at ? at : authority);
	parts->bracketed = *host == '[';
	if (parts->bracketed) {
		mark = memchr(host, ']', (size_t)(end - host));
		*why = "has an IPv6 address without its closing bracket";
		if (!mark)
			return false;
		parts->host = text_between(host + 1, mark);
		mark++;
		*why = "has something between the IPv6 address and the port";
		if (mark != end && *mark != ':')
			return false;
	} else {
		mark = memchr(host, ':', (size_t)(end - host));
		mark = mark ? mark : end;
		parts->host = text_between(host, mark);
	}
	parts->port_given = mark != end;
	parts->port = parts->port_given ? text_between(mark + 1, end) : text_between(end, end);
	parts->path = text_of(end);
	return true;
}

static int hex_digit(char c)
{
	return is_digit(c)			    ? c - '0'
	       : lower(c) >= 'a' && lower(c) <= 'f' ? lower(c) - 'a' + 10
						    : -1;
}

/* Percent-decoding, RFC 3986 section 2.1; NUL, control bytes and a lone '%' are refused. */
static bool decode(struct text from, char *to, size_t to_bytes)
{
	size_t used = 0;

	for (size_t i = 0; i < from.bytes; i++) {
		int c = (unsigned char)from.at[i];

		if (c == '%') {
			int high = from.bytes - i > 2 ? hex_digit(from.at[i + 1]) : -1;
			int low = from.bytes - i > 2 ? hex_digit(from.at[i + 2]) : -1;

			if (high < 0 || low < 0)
				return false;
			c = high * 16 + low;
			i += 2;
		}
		if (c < 0x20 || c == 0x7f || used + 1 >= to_bytes)
			return false;
		to[used++] = (char)c;
	}
	to[used] = '\0';
	return true;
}

/* Everything but RFC 3986's unreserved characters and those of `also` as %XX. */
static void encode(struct buffer *to, const char *from, const char *also)
{
	for (; *from; from++)
		if (is_letter(*from) || is_digit(*from) || strchr("-._~", *from) ||
		    strchr(also, *from))
			buffer_add(to, from, 1);
		else
			buffer_addf(to, "%%%02X", (unsigned char)*from);
}

static bool host_is_valid(const char *host, bool bracketed)
{
	struct in6_addr address;

	if (bracketed)
		return inet_pton(AF_INET6, host, &address) == 1;
	for (; *host; host++)
		if (!is_letter(*host) && !is_digit(*host) && !strchr("-._", *host))
			return false;
	return true;
}

static bool parse_port(struct text digits, uint16_t *out)
{
	unsigned value = 0;

	for (size_t i = 0; i < digits.bytes; i++) {
		if (!is_digit(digits.at[i]))
			return false;
		value = value * 10 + (unsigned)(digits.at[i] - '0');
		if (value > UINT16_MAX)
			return false;
	}
	*out = (uint16_t)value;
	return value > 0;
}

/* "/a//./b/" becomes "/a/b", so that one directory has one name in the ledger. False if ".." is
 * there: what it means depends on links, and the name must not. */
static bool normalise_path(char *path)
{
	char *to = path;

	for (const char *from = path; *from;) {
		size_t bytes = strcspn(from, "/");

		if (bytes == 2 && from[0] == '.' && from[1] == '.')
			return false;
		if (bytes && !(bytes == 1 && from[0] == '.')) {
			*to++ = '/';
			bytes_move(to, from, bytes);
			to += bytes;
		}
		from += bytes + (from[bytes] == '/');
	}
	if (to == path)
		*to++ = '/';
	*to = '\0';
	return true;
}

static void drop_own_port(struct url *url)
{
	for (size_t i = 0; i < ARRAY_COUNT(own_ports); i++)
		if (url->port == own_ports[i].port && strcmp(url->scheme, own_ports[i].scheme) == 0)
			url->port = 0;
}

static enum err write_shown(struct url *url)
{
	struct buffer shown = { .bytes_max = sizeof url->shown };
	bool bracketed = strchr(url->host, ':') != NULL;

	buffer_addf(&shown, "%s://", url->scheme);
	encode(&shown, url->user, "+!$&'()*,;=");
	buffer_addf(&shown, "%s%s%s%s", *url->user ? "@" : "", bracketed ? "[" : "", url->host,
		    bracketed ? "]" : "");
	if (url->port)
		buffer_addf(&shown, ":%u", url->port);
	/* Behind a host '@' stays encoded: with a colon before it, it would read as a password. */
	encode(&shown, url->path, *url->host ? "/+!$&'()*,;=:" : "/+!$&'()*,;=:@");
	buffer_add(&shown, "", 1);
	if (!shown.failed)
		bytes_copy(url->shown, shown.at, shown.bytes, BYTES_META);
	buffer_free(&shown);
	return shown.failed ? RAISE(ERR_MEMORY_EXHAUSTED, "writing a URL") : OK;
}

/* A colon before an '@', anywhere behind the scheme, is taken for a password: one with a '/' in it
 * would otherwise end up in an error text as a part of the path. */
static bool has_password(const char *text)
{
	const char *scheme_end = strstr(text, "://"), *from = scheme_end ? scheme_end + 3 : text;
	const char *at = strrchr(from, '@');
	const char *colon = strchr(from, ':');

	if (*from == '[' || *from == '/')
		return false;
	return at && colon && colon < at;
}

/* With an archive in it, or with each message as an object of its own. */
static bool is_bucket(const struct url *url)
{
	return strcmp(url->scheme, "s3") == 0 || strcmp(url->scheme, "s3+eml") == 0;
}

static enum err take_parts(const char *what, const struct parts *parts, struct url *out)
{
	for (size_t i = 0; i < parts->scheme.bytes; i++)
		out->scheme[i] = lower(parts->scheme.at[i]);
	if (!decode(parts->user, out->user, sizeof out->user) || (parts->user_given && !*out->user))
		return RAISE(ERR_INPUT_USAGE,
			     "%s has a user that cannot be decoded (%%40 stands for @)", what);
	if (!decode(parts->host, out->host, sizeof out->host) ||
	    !host_is_valid(out->host, parts->bracketed))
		return RAISE(ERR_INPUT_USAGE,
			     "%s has a host that is no name or address (IPv6 is written in "
			     "brackets, international names in their xn-- form)",
			     what);
	/* Old buckets, and those of other servers than AWS's, may have capitals in their names. */
	for (char *c = out->host; *c && !is_bucket(out); c++)
		*c = lower(*c);
	if (parts->port_given && !parse_port(parts->port, &out->port))
		return RAISE(ERR_INPUT_USAGE, "%s has a port that is no number from 1 to 65535",
			     what);
	if (memchr(parts->path.at, '?', parts->path.bytes) ||
	    memchr(parts->path.at, '#', parts->path.bytes))
		return RAISE(ERR_INPUT_USAGE, "%s has a '?' or '#' in it (%%3F, %%23 in a path)",
			     what);
	if (!decode(parts->path, out->path, sizeof out->path))
		return RAISE(ERR_INPUT_USAGE, "%s has a path that cannot be decoded", what);
	if (!*out->path)
		out->path[0] = '/';
	return OK;
}

static enum err check_file(const char *what, struct url *url)
{
	if (*url->host || *url->user)
		return RAISE(ERR_INPUT_USAGE,
			     "%s names a host; a local path has three slashes: file:///path", what);
	if (!normalise_path(url->path))
		return RAISE(ERR_INPUT_USAGE,
			     "%s has \"..\" in its path; write the path without it", what);
	return OK;
}

static bool is_plain(struct text component)
{
	return component.bytes > 0 && !text_equal(component, text_of(".")) &&
	       !text_equal(component, text_of(".."));
}

/* A key's components are not a path's: "a//b" is another place than "a/b", so nothing is put right
 * but the '/' at the end, which a prefix may have or not. */
static enum err check_bucket(const char *what, struct url *url)
{
	size_t bytes = strlen(url->path), n;

	if (*url->user || url->port || !*url->host)
		return RAISE(
			ERR_INPUT_USAGE,
			"%s is s3://BUCKET/PREFIX/ without user and port; who asks, and where, "
			"is said by options (docs/AWS.md)",
			what);
	if (strcmp(url->scheme, "s3+eml") == 0 && bytes > URL_EML_PATH_BYTES_MAX)
		return RAISE(ERR_INPUT_USAGE, "%s has a prefix of more than %d bytes", what,
			     URL_EML_PATH_BYTES_MAX);
	if (bytes > 1 && url->path[bytes - 1] == '/' && url->path[bytes - 2] != '/')
		url->path[--bytes] = '\0';
	for (const char *at = url->path + 1; bytes > 1 && at <= url->path + bytes; at += n + 1) {
		n = strcspn(at, "/");
		if (!is_plain((struct text){ at, n }))
			return RAISE(ERR_INPUT_USAGE,
				     "%s has a component in its prefix that is empty, \".\" or "
				     "\"..\"",
				     what);
	}
	return OK;
}

enum err url_parse(const char *what, const char *text, const char *password_option, struct url *out)
{
	struct parts parts;
	const char *why;
	enum err e;

	*out = (struct url){ 0 };
	if (has_password(text))
		return RAISE(ERR_INPUT_USAGE,
			     "%s has a password in it, which everybody on this machine could read; "
			     "put it into a file (mode 0600) and give --%s FILE",
			     what, password_option);
	if (!split(text, &parts, &why))
		return RAISE(ERR_INPUT_USAGE, "%s %s", what, why);
	if ((e = take_parts(what, &parts, out)))
		return e;
	if (strcmp(out->scheme, "file") == 0) {
		if ((e = check_file(what, out)))
			return e;
	} else if (is_bucket(out)) {
		if ((e = check_bucket(what, out)))
			return e;
	} else if (!*out->host) {
		return RAISE(ERR_INPUT_USAGE, "%s names no host", what);
	}
	drop_own_port(out);
	return write_shown(out);
}

enum err url_set_archive(struct url *url, const char *root, const char *mailbox)
{
	const char *slash = strcmp(root, "/") == 0 ? "" : "/";
	int n = snprintf(url->path, sizeof url->path, "%s%s%s", root, slash, mailbox);

	return n > 0 && (size_t)n < sizeof url->path
		       ? write_shown(url)
		       : RAISE(ERR_INPUT_USAGE, "the path of SOURCE is too long");
}

enum err url_add_mailbox(struct url *url, const char *mailbox)
{
	size_t used = strcmp(url->path, "/") == 0 ? 0 : strlen(url->path);
	int n = snprintf(url->path + used, sizeof url->path - used, "/%s", mailbox);

	return n > 0 && used + (size_t)n < sizeof url->path
		       ? write_shown(url)
		       : RAISE(ERR_INPUT_USAGE, "the path of a mailbox in %s is too long",
			       url->shown);
}

void url_archived_account(const struct url *url, struct buffer *to)
{
	const char *archive_end = strrchr(url->shown, '/');

	buffer_reset(to);
	buffer_addf(to, "%s@%.*s", strrchr(url->path, '/') + 1, (int)(archive_end - url->shown),
		    url->shown);
}

void url_mailbox_name(const struct url *url, char *to, size_t to_bytes)
{
	bool bracketed = strchr(url->host, ':') != NULL;
	int used;

	if (is_bucket(url)) {
		snprintf(to, to_bytes, "%s%s%s", url->path + 1, url->path[1] ? "@" : "", url->host);
		return;
	}
	used = snprintf(to, to_bytes, "%s%s%s%s%s", url->user, *url->user ? "@" : "",
			bracketed ? "[" : "", url->host, bracketed ? "]" : "");
	must(used >= 0 && (size_t)used + 8 < to_bytes);
	if (url->port)
		snprintf(to + used, to_bytes - (size_t)used, ":%u", url->port);
}

struct account url_account(const struct url *url)
{
	return (struct account){
		.scheme = url->scheme,
		.user = url->user,
		.host = url->host,
		.port = url->port,
		.path = url->path,
		.shown = url->shown,
	};
}
