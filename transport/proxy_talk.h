/* What is said to a proxy and heard from it until it has connected us, without any I/O: bytes heard
 * go in, bytes to say come out. proxy_socks.c and proxy_http.c are the two ways; proxy.c carries
 * the bytes. Nothing here suspends. */
#ifndef MAILHAUL_PROXY_TALK_H
#define MAILHAUL_PROXY_TALK_H

#include "transport/route.h"

enum {
	/* A CONNECT with a name of 254 bytes twice and 511 bytes of credentials as base64. */
	PROXY_SAY_BYTES_MAX = 1536,
	/* Of a status line that is kept for texts, of which more cannot be shown anyway. */
	PROXY_LINE_BYTES_MAX = 160,
	/* All heads of HTTP together: proxies send some hundred bytes. */
	PROXY_HEAD_BYTES_MAX = 16 * 1024,
};

struct proxy_talk {
	const struct route *route; /* borrowed */
	const char *host;	   /* the target's, borrowed: handed to the proxy as it is */
	uint16_t port;
	char shown[620]; /* for texts: "the proxy socks5://p:1080 towards imap.example.com:993" */
	/* To be sent before anything is heard again; then set `say_bytes` to 0. May hold a secret:
	 * proxy_talk_end() wipes it. */
	uint8_t say[PROXY_SAY_BYTES_MAX];
	size_t say_bytes;
	bool done; /* from the next byte on, the target speaks */

	/* The rest is the parsers' own. */
	unsigned stage;
	uint8_t reply[4 + 1 + 255 + 2]; /* of SOCKS: as much of an answer as came */
	size_t reply_bytes;
	char line[PROXY_LINE_BYTES_MAX]; /* of HTTP: the status line, cut */
	size_t line_bytes, head_bytes;
	bool line_is_empty, interim;
};

/* What to say first. Everything given is borrowed until proxy_talk_end(). ERR_NET_NAME: a host that
 * a proxy cannot be told. */
enum err proxy_talk_begin(struct proxy_talk *, const struct route *, const char *host,
			  uint16_t port) MUST_CHECK;
/* Takes as much of `heard` as belongs to the proxy; *used is less than all of it only when `done`.
 * What there is to say afterwards is in `say`. ERR_PROXY_SYNTAX, ERR_PROXY_LOGIN,
 * ERR_PROXY_REFUSED with proxy, target and what was answered. */
enum err proxy_talk_hear(struct proxy_talk *, struct text heard, size_t *used) MUST_CHECK;
void proxy_talk_end(struct proxy_talk *);

/* The two ways, as above. */
void proxy_socks_begin(struct proxy_talk *);
enum err proxy_socks_hear(struct proxy_talk *, struct text heard, size_t *used) MUST_CHECK;
void proxy_http_begin(struct proxy_talk *);
enum err proxy_http_hear(struct proxy_talk *, struct text heard, size_t *used) MUST_CHECK;

#endif
