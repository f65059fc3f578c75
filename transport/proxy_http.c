/* CONNECT of HTTP/1.1 as its client: RFC 9110 section 9.3.6, RFC 9112; Basic credentials, RFC 7617.
 * Of the answer nothing counts but the status; where its head ends, the tunnel begins. */
#include <stdio.h>

#include "crypto/secret.h"
#include "engine/bytes.h"
#include "transport/dial.h"
#include "transport/proxy_talk.h"

static void say(struct proxy_talk *talk, struct text text)
{
	must(talk->say_bytes + text.bytes <= sizeof talk->say);
	bytes_copy(talk->say + talk->say_bytes, text.at, text.bytes, BYTES_META);
	talk->say_bytes += text.bytes;
}

static void say_credentials(struct proxy_talk *talk)
{
	char plain[ROUTE_USER_BYTES_MAX + 1 + ROUTE_PASSWORD_BYTES_MAX];
	char coded[(sizeof plain + 2) / 3 * 4 + 1];
	struct text user = text_of(talk->route->user);
	struct text password = secret_text(talk->route->password);

	must(user.bytes + 1 + password.bytes <= sizeof plain);
	bytes_copy(plain, user.at, user.bytes, BYTES_META);
	plain[user.bytes] = ':';
	bytes_copy(plain + user.bytes + 1, password.at, password.bytes, BYTES_META);
	bytes_to_base64(coded, (const uint8_t *)plain, user.bytes + 1 + password.bytes);
	say(talk, text_of("Proxy-Authorization: Basic "));
	say(talk, text_of(coded));
	say(talk, text_of("\r\n"));
	secret_wipe(plain, sizeof plain);
	secret_wipe(coded, sizeof coded);
}

void proxy_http_begin(struct proxy_talk *talk)
{
	char target[RESOLVE_HOST_BYTES_MAX + 16], head[2 * sizeof target + 64];

	snprintf(target, sizeof target, strchr(talk->host, ':') ? "[%s]:%u" : "%s:%u", talk->host,
		 talk->port);
	snprintf(head, sizeof head, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n", target, target);
	say(talk, text_of(head));
	if (*talk->route->user)
		say_credentials(talk);
	say(talk, text_of("\r\n"));
}

/* status-line = "HTTP/1." DIGIT SP 3DIGIT [SP reason], RFC 9112 section 4. 0: it is none. */
static unsigned status_of(const char *line)
{
	unsigned status = 0;

	if (strncmp(line, "HTTP/1.", 7) != 0 || line[7] < '0' || line[7] > '9' || line[8] != ' ')
		return 0;
	for (int i = 9; i < 12; i++) {
		if (line[i] < '0' || line[i] > '9')
			return 0;
		status = status * 10 + (unsigned)(line[i] - '0');
	}
	return line[12] == '\0' || line[12] == ' ' ? status : 0;
}

/* What it answers, from byte `from` of its status line on, at most `bytes` of it. One that was told
 * a password might repeat it, so of its words nothing but the number of the status is shown then.
 */
static const char *answer_shown(const struct proxy_talk *talk, size_t from, size_t bytes,
				char to[2 * PROXY_LINE_BYTES_MAX])
{
	struct text line = { talk->line + from, min_u64(talk->line_bytes - from, bytes) };

	if (*talk->route->user && bytes > 3)
		return "words that may be our password";
	return err_quote(to, 2 * PROXY_LINE_BYTES_MAX, line);
}

static enum err judge_status(struct proxy_talk *talk)
{
	char shown[2 * PROXY_LINE_BYTES_MAX];
	unsigned status = status_of(talk->line);
	size_t words_bytes = *talk->route->user ? 3 : sizeof talk->line;

	if (status < 100 || status > 599)
		return RAISE(ERR_PROXY_SYNTAX, "%s: it answers \"%s\", which is no HTTP",
			     talk->shown, answer_shown(talk, 0, sizeof talk->line, shown));
	/* 101 is for who asked to change the protocol. */
	talk->interim = status < 200 && status != 101;
	if (talk->interim || (status >= 200 && status < 300))
		return OK;
	/* "403 Forbidden" */
	return RAISE(status == 407 ? ERR_PROXY_LOGIN : ERR_PROXY_REFUSED, "%s: it answers \"%s\"%s",
		     talk->shown, answer_shown(talk, 9, words_bytes, shown),
		     status != 407	  ? ""
		     : *talk->route->user ? " to our user and password"
					  : " to nobody's login");
}

/* A line of a head has ended. The first is the status line; an empty one ends the head, and behind
 * that of an interim answer (RFC 9110 section 15.2) there is another. */
static enum err line_ended(struct proxy_talk *talk)
{
	bool is_first = talk->stage == 0, is_empty = talk->line_is_empty;

	talk->line_is_empty = true;
	if (is_first) {
		while (talk->line_bytes && talk->line[talk->line_bytes - 1] == '\r')
			talk->line_bytes--;
		talk->line[talk->line_bytes] = '\0';
		talk->stage = 1;
		return judge_status(talk);
	}
	if (!is_empty)
		return OK;
	talk->done = !talk->interim;
	talk->stage = 0;
	talk->line_bytes = 0;
	return OK;
}

enum err proxy_http_hear(struct proxy_talk *talk, struct text heard, size_t *used)
{
	enum err e = OK;

	if (talk->head_bytes == 0)
		talk->line_is_empty = true;
	while (e == OK && !talk->done && *used < heard.bytes) {
		char c = heard.at[(*used)++];

		if (++talk->head_bytes > PROXY_HEAD_BYTES_MAX)
			return RAISE(ERR_PROXY_SYNTAX, "%s: its answer has more than %d bytes",
				     talk->shown, PROXY_HEAD_BYTES_MAX);
		if (c == '\n') {
			e = line_ended(talk);
			continue;
		}
		talk->line_is_empty &= c == '\r';
		if (talk->stage == 0 && talk->line_bytes < sizeof talk->line - 1)
			talk->line[talk->line_bytes++] = c;
		/* What is no HTTP may have no lines either. */
		if (talk->stage == 0 && talk->line_bytes <= 5 &&
		    strncmp(talk->line, "HTTP/", talk->line_bytes) != 0)
			e = RAISE(ERR_PROXY_SYNTAX,
				  "%s: it answers with byte 0x%02x, not in HTTP%s", talk->shown,
				  (unsigned char)talk->line[0],
				  talk->line[0] == 5 ? ", like one for socks5://" : "");
	}
	return e;
}
