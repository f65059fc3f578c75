/* SASL messages and the short conversation around them. Every copy of a secret made here is
 * wiped. */
#include "transport/auth.h"

#include <stdio.h>
#include <stdlib.h>

#include "crypto/secret.h"
#include "transport/imap_session.h"

static const char *const method_names[] = { "none", "PLAIN", "XOAUTH2", "LOGIN" };

enum auth_method auth_choose(unsigned capabilities)
{
	if (capabilities & IMAP_HAS_AUTH_PLAIN)
		return AUTH_PLAIN;
	if (!(capabilities & IMAP_HAS_LOGINDISABLED) && !(capabilities & IMAP_HAS_AUTH_XOAUTH2))
		return AUTH_LOGIN;
	return capabilities & IMAP_HAS_AUTH_XOAUTH2 ? AUTH_XOAUTH2 : AUTH_NONE;
}

/* RFC 4648 section 4, with padding; terminated. */
static void base64(char *to, const unsigned char *from, size_t n)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

	for (size_t i = 0; i < n; i += 3) {
		uint32_t group = (uint32_t)from[i] << 16;

		if (i + 1 < n)
			group |= (uint32_t)from[i + 1] << 8;
		if (i + 2 < n)
			group |= from[i + 2];
		*to++ = digits[group >> 18];
		*to++ = digits[group >> 12 & 63];
		*to++ = i + 1 < n ? digits[group >> 6 & 63] : '=';
		*to++ = i + 2 < n ? digits[group & 63] : '=';
	}
	*to = '\0';
}

/* The message's parts in order. PLAIN: [authzid] NUL authcid NUL password. XOAUTH2 (Google and
 * Microsoft document the same): "user=" user ^A "auth=Bearer " token ^A ^A. */
enum { PARTS = 5 };
static void message_parts(enum auth_method method, const struct auth_identity *who,
			  struct text parts[PARTS])
{
	static const char nul[] = "";

	must(method == AUTH_PLAIN || method == AUTH_XOAUTH2);
	if (method == AUTH_PLAIN) {
		parts[0] = who->on_behalf;
		parts[1] = (struct text){ nul, 1 };
		parts[2] = who->user;
		parts[3] = (struct text){ nul, 1 };
		parts[4] = who->password;
	} else {
		parts[0] = text_of("user=");
		parts[1] = who->on_behalf.bytes ? who->on_behalf : who->user;
		parts[2] = text_of("\001auth=Bearer ");
		parts[3] = who->password;
		parts[4] = text_of("\001\001");
	}
}

static size_t raw_bytes(enum auth_method method, const struct auth_identity *who)
{
	struct text parts[PARTS];
	size_t n = 0;

	message_parts(method, who, parts);
	for (unsigned i = 0; i < PARTS; i++)
		n += parts[i].bytes;
	return n;
}

size_t auth_message_bytes(enum auth_method method, const struct auth_identity *who)
{
	return (raw_bytes(method, who) + 2) / 3 * 4 + 1;
}

enum err auth_message(enum auth_method method, const struct auth_identity *who, char *to)
{
	size_t bytes = raw_bytes(method, who), at = 0;
	void *room = secret_room_open(bytes);
	unsigned char *raw = room;
	struct text parts[PARTS];

	if (!raw)
		return RAISE(ERR_MEMORY_EXHAUSTED, "a SASL message");
	message_parts(method, who, parts);
	for (unsigned i = 0; i < PARTS; i++) {
		bytes_copy(raw + at, parts[i].at, parts[i].bytes, BYTES_META);
		at += parts[i].bytes;
	}
	must(at == bytes);
	base64(to, raw, bytes);
	secret_room_close(&room);
	return OK;
}

/* A server that repeats the password in its refusal does not get it into our log. */
static void hide_password(struct imap_status *status, struct text password)
{
	if (password.bytes &&
	    memmem(status->text.at, status->text.bytes, password.at, password.bytes))
		status->text = text_of("(a text that repeats the password)");
}

static enum err judge(struct imap_session *imap, const struct imap_reply *reply, unsigned tag,
		      enum auth_method method, struct text password)
{
	const struct account *account = imap_session_account(imap);
	struct imap_status status = reply->status;
	char what[200];

	if (reply->tag != tag || !reply->is_status)
		return RAISE(ERR_IMAP_SYNTAX, "login: an answer to another command");
	hide_password(&status, password);
	snprintf(what, sizeof what, "login as \"%.80s\" with %s (check user name and password)",
		 account->user, method_names[method]);
	return imap_status_raise(&status, ERR_IMAP_LOGIN, what);
}

/* What the server asks for with "+": first the message, unless it went with the command; then, for
 * XOAUTH2, nothing (its "+" carries the reason of a refusal, and an empty line gets us the NO);
 * then we give up with "*". */
static enum err answer_challenge(struct imap_session *imap, enum auth_method method,
				 const char *message, unsigned step)
{
	struct imap_wire *wire = imap_session_wire(imap);
	enum err e;

	if (step > 2)
		return RAISE(ERR_IMAP_SYNTAX, "login: the server asks and asks");
	if (step == 0)
		buffer_add_text(&wire->command, message);
	else if (step == 2 || method != AUTH_XOAUTH2)
		buffer_add_text(&wire->command, "*");
	if ((e = imap_wire_send_more(wire)))
		return e;
	return imap_wire_flush(wire);
}

static enum err converse(struct imap_session *imap, enum auth_method method, const char *message,
			 unsigned step, struct text password)
{
	unsigned tag = imap_session_wire(imap)->tag;
	struct imap_reply reply;
	enum err e;

	while ((e = imap_session_reply(imap, &reply)) == OK) {
		if (reply.kind == IMAP_TAGGED)
			return judge(imap, &reply, tag, method, password);
		if (reply.kind == IMAP_CONTINUE &&
		    (e = answer_challenge(imap, method, message, step++)))
			return e;
	}
	return e;
}

static enum err authenticate(struct imap_session *imap, enum auth_method method,
			     const struct auth_identity *who)
{
	struct imap_wire *wire = imap_session_wire(imap);
	bool at_once = imap_session_capabilities(imap) & IMAP_HAS_SASL_IR;
	size_t bytes = auth_message_bytes(method, who);
	void *room = secret_room_open(bytes);
	char *message = room;
	enum err e;

	if (!message)
		return RAISE(ERR_MEMORY_EXHAUSTED, "a SASL message");
	if ((e = auth_message(method, who, message)))
		goto out;
	imap_wire_begin(wire);
	buffer_addf(&wire->command, "AUTHENTICATE %s", method_names[method]);
	if (at_once) {
		buffer_add_text(&wire->command, " ");
		buffer_add_text(&wire->command, message);
	}
	if ((e = imap_wire_send(wire)) || (e = imap_wire_flush(wire)))
		goto out;
	e = converse(imap, method, message, at_once ? 1 : 0, who->password);
out:
	secret_room_close(&room);
	return e;
}

static enum err login(struct imap_session *imap, const struct auth_identity *who)
{
	struct imap_wire *wire = imap_session_wire(imap);
	bool literals = imap_session_capabilities(imap) & IMAP_HAS_LITERAL_PLUS;
	bool can;
	enum err e;

	imap_wire_begin(wire);
	buffer_add_text(&wire->command, "LOGIN ");
	can = imap_wire_add_string(wire, who->user, literals);
	buffer_add_text(&wire->command, " ");
	can = can && imap_wire_add_string(wire, who->password, literals);
	if (!can) {
		secret_wipe(wire->command.at, wire->command.room);
		buffer_reset(&wire->command);
		return RAISE(ERR_IMAP_NO_AUTH,
			     "login: user name or password is not plain ASCII, and "
			     "the server has only the LOGIN command without LITERAL+");
	}
	if ((e = imap_wire_send(wire)) || (e = imap_wire_flush(wire)))
		return e;
	return converse(imap, AUTH_LOGIN, "*", 0, who->password);
}

enum err auth_login(struct imap_session *imap)
{
	const struct account *account = imap_session_account(imap);
	enum auth_method method = auth_choose(imap_session_capabilities(imap));
	struct auth_identity who = { .user = text_of(account->user), .on_behalf = text_of("") };

	if (!account->password)
		return RAISE(ERR_IMAP_LOGIN, "login as \"%.80s\": no password was given",
			     account->user);
	who.password = secret_text(account->password);
	if (method == AUTH_NONE)
		return RAISE(ERR_IMAP_NO_AUTH, "login: the server offers neither AUTH=PLAIN, nor "
					       "AUTH=XOAUTH2, nor the LOGIN command");
	return method == AUTH_LOGIN ? login(imap, &who) : authenticate(imap, method, &who);
}
