/* SOCKS version 5 as its client: RFC 1928, and RFC 1929 for user and password. The target's name is
 * the proxy's to look up; a literal is sent as one. */
#include <arpa/inet.h>

#include "crypto/secret.h"
#include "engine/bytes.h"
#include "transport/proxy_talk.h"

enum {
	SOCKS_VERSION = 5,
	LOGIN_VERSION = 1, /* RFC 1929 */
	METHOD_NONE = 0,
	METHOD_PASSWORD = 2,
	METHOD_REFUSED = 0xff,
	COMMAND_CONNECT = 1,
	ADDRESS_V4 = 1,
	ADDRESS_NAME = 3,
	ADDRESS_V6 = 4,
};

enum stage { HEARS_METHOD, HEARS_LOGIN, HEARS_CONNECTED };

static void say(struct proxy_talk *talk, const void *bytes, size_t count)
{
	must(talk->say_bytes + count <= sizeof talk->say);
	bytes_copy(talk->say + talk->say_bytes, bytes, count, BYTES_META);
	talk->say_bytes += count;
}

static void say_byte(struct proxy_talk *talk, unsigned byte)
{
	say(talk, &(uint8_t){ (uint8_t)byte }, 1);
}

/* Its length in one byte, then the text. */
static void say_counted(struct proxy_talk *talk, struct text text)
{
	must(text.bytes <= 255);
	say_byte(talk, (unsigned)text.bytes);
	say(talk, text.at, text.bytes);
}

/* RFC 1928 section 3. Without a user nothing but METHOD_NONE is of use. */
void proxy_socks_begin(struct proxy_talk *talk)
{
	bool has_login = *talk->route->user;

	talk->stage = HEARS_METHOD;
	say_byte(talk, SOCKS_VERSION);
	say_byte(talk, has_login ? 2 : 1);
	say_byte(talk, METHOD_NONE);
	if (has_login)
		say_byte(talk, METHOD_PASSWORD);
}

static void say_login(struct proxy_talk *talk)
{
	talk->stage = HEARS_LOGIN;
	say_byte(talk, LOGIN_VERSION);
	say_counted(talk, text_of(talk->route->user));
	say_counted(talk, secret_text(talk->route->password));
}

/* RFC 1928 section 4. */
static void say_connect(struct proxy_talk *talk)
{
	union resolve_address literal;
	uint16_t port = htons(talk->port);

	talk->stage = HEARS_CONNECTED;
	say_byte(talk, SOCKS_VERSION);
	say_byte(talk, COMMAND_CONNECT);
	say_byte(talk, 0);
	if (!resolve_literal(talk->host, 0, &literal)) {
		say_byte(talk, ADDRESS_NAME);
		say_counted(talk, text_of(talk->host));
	} else if (literal.any.sa_family == AF_INET) {
		say_byte(talk, ADDRESS_V4);
		say(talk, &literal.v4.sin_addr, sizeof literal.v4.sin_addr);
	} else {
		say_byte(talk, ADDRESS_V6);
		say(talk, &literal.v6.sin6_addr, sizeof literal.v6.sin6_addr);
	}
	say(talk, &port, sizeof port);
}

static enum err hear_method(struct proxy_talk *talk)
{
	unsigned method = talk->reply[1];

	if (method == METHOD_REFUSED && *talk->route->user)
		return RAISE(ERR_PROXY_LOGIN,
			     "%s: it takes neither a user with a password nor nobody (method 255)",
			     talk->shown);
	if (method == METHOD_REFUSED)
		return RAISE(ERR_PROXY_LOGIN, "%s: it wants a login (method 255)", talk->shown);
	if (method == METHOD_PASSWORD && *talk->route->user)
		say_login(talk);
	else if (method == METHOD_NONE)
		say_connect(talk);
	else
		return RAISE(ERR_PROXY_SYNTAX,
			     "%s: it chose login method %u, which was not offered", talk->shown,
			     method);
	return OK;
}

static enum err hear_login(struct proxy_talk *talk)
{
	if (talk->reply[1])
		return RAISE(ERR_PROXY_LOGIN, "%s: it refuses user and password (status %u)",
			     talk->shown, talk->reply[1]);
	say_connect(talk);
	return OK;
}

/* RFC 1928 section 6. */
static const char *reply_words(unsigned reply)
{
	static const char *const words[] = {
		[1] = "general failure",       [2] = "not allowed by its rules",
		[3] = "network unreachable",   [4] = "host unreachable",
		[5] = "connection refused",    [6] = "TTL expired",
		[7] = "command not supported", [8] = "address type not supported",
	};

	return reply < ARRAY_COUNT(words) && words[reply] ? words[reply] : "a reply without a name";
}

/* How long the reply is in all, as far as the bytes so far tell. 0: it is none. */
static size_t connected_bytes(const struct proxy_talk *talk)
{
	if (talk->reply_bytes < 5)
		return 5;
	switch (talk->reply[3]) {
	case ADDRESS_V4:
		return 4 + 4 + 2;
	case ADDRESS_V6:
		return 4 + 16 + 2;
	case ADDRESS_NAME:
		return 4 + 1 + talk->reply[4] + 2;
	default:
		return 0;
	}
}

/* Where it connects from is of no interest, but behind it the target speaks. */
static enum err hear_connected(struct proxy_talk *talk)
{
	if (talk->reply[1])
		return RAISE(ERR_PROXY_REFUSED, "%s: %s (reply %u)", talk->shown,
			     reply_words(talk->reply[1]), talk->reply[1]);
	if (connected_bytes(talk) == 0)
		return RAISE(ERR_PROXY_SYNTAX, "%s: an address of type %u in its reply",
			     talk->shown, talk->reply[3]);
	talk->done = talk->reply_bytes == connected_bytes(talk);
	return OK;
}

static enum err hear_whole(struct proxy_talk *talk)
{
	enum err e;

	if (talk->stage == HEARS_CONNECTED)
		return hear_connected(talk);
	e = talk->stage == HEARS_METHOD ? hear_method(talk) : hear_login(talk);
	talk->reply_bytes = 0;
	return e;
}

/* A reply can be judged at two bytes; that of CONNECT, where it is no refusal, has more. */
static bool is_whole(const struct proxy_talk *talk)
{
	if (talk->reply_bytes < 2)
		return false;
	if (talk->stage != HEARS_CONNECTED || talk->reply[1])
		return true;
	return talk->reply_bytes >= 5 && talk->reply_bytes >= connected_bytes(talk);
}

enum err proxy_socks_hear(struct proxy_talk *talk, struct text heard, size_t *used)
{
	unsigned version = talk->stage == HEARS_LOGIN ? LOGIN_VERSION : SOCKS_VERSION;
	enum err e = OK;

	while (e == OK && !talk->done && !talk->say_bytes && *used < heard.bytes) {
		must(talk->reply_bytes < sizeof talk->reply);
		talk->reply[talk->reply_bytes++] = (uint8_t)heard.at[(*used)++];
		if (talk->reply[0] != version)
			e = RAISE(ERR_PROXY_SYNTAX,
				  "%s: it answers with version %u instead of %u%s", talk->shown,
				  talk->reply[0], version,
				  talk->reply[0] == 'H' ? ", like one for http://" : "");
		else if (is_whole(talk))
			e = hear_whole(talk);
	}
	/* It must not speak again before we have. */
	if (e == OK && talk->say_bytes && *used < heard.bytes)
		e = RAISE(ERR_PROXY_SYNTAX, "%s: %zu bytes more than its answer has", talk->shown,
			  heard.bytes - *used);
	return e;
}
