/* SASL messages and the short conversation around them. Every copy of a secret made here is
 * wiped. */
#include "transport/auth.h"

#include <stdio.h>
#include <stdlib.h>

#include "crypto/secret.h"
#include "transport/imap_session.h"
#include "transport/json.h"
#include "transport/oauth2.h"

/* RFC 9051 section 2.2.1 has servers take lines of 8192 bytes; longer tokens go in a line of their
 * own, which is SASL's and not the command's. */
enum { INITIAL_BYTES_MAX = 8000 };

static const char *const method_names[] = { "none", "PLAIN", "XOAUTH2", "LOGIN", "OAUTHBEARER" };

enum auth_method auth_choose(unsigned capabilities, bool with_token)
{
	if (with_token)
		return capabilities & IMAP_HAS_AUTH_OAUTHBEARER ? AUTH_OAUTHBEARER
		       : capabilities & IMAP_HAS_AUTH_XOAUTH2	? AUTH_XOAUTH2
								: AUTH_NONE;
	if (capabilities & IMAP_HAS_AUTH_PLAIN)
		return AUTH_PLAIN;
	return capabilities & IMAP_HAS_LOGINDISABLED ? AUTH_NONE : AUTH_LOGIN;
}

static bool takes_token(enum auth_method method)
{
	return method == AUTH_XOAUTH2 || method == AUTH_OAUTHBEARER;
}

/* The message's parts in order. PLAIN: [authzid] NUL authcid NUL password. XOAUTH2 (Google and
 * Microsoft document the same): "user=" user ^A "auth=Bearer " token ^A ^A. OAUTHBEARER (RFC 7628
 * section 3.1): "n,a=" user "," ^A "host=" host ^A "port=" port ^A "auth=Bearer " token ^A ^A. */
enum { PARTS = 9 };
struct message {
	struct text parts[PARTS];
	char user[3 * 256 + 1], port[8];
};

/* A saslname, RFC 5801 section 4: "," and "=" are escaped. */
static struct text gs2_name(struct text name, char *to, size_t room)
{
	size_t n = 0;

	for (size_t i = 0; i < name.bytes && n + 4 < room; i++) {
		char c = name.at[i];

		if (c == ',' || c == '=')
			n += (size_t)snprintf(to + n, room - n, "=%s", c == ',' ? "2C" : "3D");
		else
			to[n++] = c;
	}
	return (struct text){ to, n };
}

static void bearer_parts(const struct auth_identity *who, struct text mailbox,
			 struct message *message)
{
	struct text *parts = message->parts;

	snprintf(message->port, sizeof message->port, "%u", who->port);
	parts[0] = text_of("n,a=");
	parts[1] = gs2_name(mailbox, message->user, sizeof message->user);
	parts[2] = text_of(",\001host=");
	parts[3] = who->host;
	parts[4] = text_of("\001port=");
	parts[5] = text_of(message->port);
	parts[6] = text_of("\001auth=Bearer ");
	parts[7] = who->password;
	parts[8] = text_of("\001\001");
}

static void message_parts(enum auth_method method, const struct auth_identity *who,
			  struct message *message)
{
	struct text mailbox = who->on_behalf.bytes ? who->on_behalf : who->user;
	struct text *parts = message->parts;

	must(method == AUTH_PLAIN || takes_token(method));
	*message = (struct message){ 0 };
	if (method == AUTH_OAUTHBEARER) {
		bearer_parts(who, mailbox, message);
	} else if (method == AUTH_XOAUTH2) {
		parts[0] = text_of("user=");
		parts[1] = mailbox;
		parts[2] = text_of("\001auth=Bearer ");
		parts[3] = who->password;
		parts[4] = text_of("\001\001");
	} else {
		parts[0] = who->on_behalf;
		parts[1] = parts[3] = (struct text){ message->user, 1 }; /* NUL */
		parts[2] = who->user;
		parts[4] = who->password;
	}
}

static size_t raw_bytes(enum auth_method method, const struct auth_identity *who)
{
	struct message message;
	size_t n = 0;

	message_parts(method, who, &message);
	for (unsigned i = 0; i < PARTS; i++)
		n += message.parts[i].bytes;
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
	struct message message;

	if (!raw)
		return RAISE(ERR_MEMORY_EXHAUSTED, "a SASL message");
	message_parts(method, who, &message);
	for (unsigned i = 0; i < PARTS; i++) {
		bytes_copy(raw + at, message.parts[i].at, message.parts[i].bytes, BYTES_META);
		at += message.parts[i].bytes;
	}
	must(at == bytes);
	bytes_to_base64(to, raw, bytes);
	secret_room_close(&room);
	return OK;
}

/* ---- why a token is refused ---- */

static int digit_of(char c)
{
	return c >= 'A' && c <= 'Z'   ? c - 'A'
	       : c >= 'a' && c <= 'z' ? c - 'a' + 26
	       : c >= '0' && c <= '9' ? c - '0' + 52
	       : c == '+'	      ? 62
	       : c == '/'	      ? 63
				      : -1;
}

/* As far as it goes, and as far as there is room. */
static struct text unbase64(struct text from, char *to, size_t room)
{
	uint32_t bits = 0;
	unsigned have = 0;
	size_t n = 0;

	for (size_t i = 0; i < from.bytes && n < room && digit_of(from.at[i]) >= 0; i++) {
		bits = bits << 6 | (uint32_t)digit_of(from.at[i]);
		if ((have += 6) >= 8)
			to[n++] = (char)(bits >> (have -= 8));
	}
	return (struct text){ to, n };
}

struct challenge {
	char status[64], scope[256];
};
static const struct json_field challenge_fields[] = {
	JSON_FIELD("status", JSON_TEXT, struct challenge, status),
	JSON_FIELD_OPTIONAL("scope", JSON_TEXT, struct challenge, scope),
};

char *auth_challenge_show(struct text challenge, char to[AUTH_CHALLENGE_BYTES])
{
	struct challenge said = { 0 };
	char decoded[1024];
	struct text text = unbase64(challenge, decoded, sizeof decoded);

	if (json_read(text, challenge_fields, ARRAY_COUNT(challenge_fields), &said))
		text = text_of(said.status);
	return err_quote(to, AUTH_CHALLENGE_BYTES, text);
}

/* ---- the conversation ---- */

/* One attempt. */
struct attempt {
	enum auth_method method;
	struct text password; /* or token: what must not be repeated */
	const char *message;  /* base64 */
	char challenge[AUTH_CHALLENGE_BYTES];
};

/* A server that repeats the password in its refusal does not get it into our log. */
static bool repeats(struct text text, struct text password)
{
	return password.bytes && memmem(text.at, text.bytes, password.at, password.bytes);
}

static enum err judge(struct imap_session *imap, const struct imap_reply *reply, unsigned tag,
		      const struct attempt *attempt)
{
	const struct account *account = imap_session_account(imap);
	bool with_token = takes_token(attempt->method);
	struct imap_status status = reply->status;
	char what[280];

	if (reply->tag != tag || !reply->is_status)
		return RAISE(ERR_IMAP_SYNTAX, "login: an answer to another command");
	if (repeats(status.text, attempt->password))
		status.text = text_of("(a text that repeats the password)");
	snprintf(what, sizeof what, "login as \"%.80s\" with %s (%s)%s%s", account->user,
		 method_names[attempt->method],
		 with_token ? "the access token is refused: check what it may be used for"
			    : "check user name and password",
		 *attempt->challenge ? ": " : "", attempt->challenge);
	return imap_status_raise(&status, ERR_IMAP_LOGIN, what);
}

/* The reason of a refusal is what a "+" carries behind a token. What gets us the NO is an empty
 * line for XOAUTH2 and ^A for OAUTHBEARER (RFC 7628 section 3.2.3: "AQ=="). */
static void take_challenge(struct attempt *attempt, struct text said, struct buffer *command)
{
	while (said.bytes && *said.at == ' ') {
		said.at++;
		said.bytes--;
	}
	auth_challenge_show(said, attempt->challenge);
	if (repeats(text_of(attempt->challenge), attempt->password))
		attempt->challenge[0] = '\0';
	if (attempt->method == AUTH_OAUTHBEARER)
		buffer_add_text(command, "AQ==");
}

/* What the server asks for with "+": first the message, unless it went with the command; then, for
 * tokens, see above; then we give up with "*". */
static enum err answer_challenge(struct imap_session *imap, struct attempt *attempt, unsigned step,
				 struct text said)
{
	struct imap_wire *wire = imap_session_wire(imap);
	enum err e;

	if (step > 2)
		return RAISE(ERR_IMAP_SYNTAX, "login: the server asks and asks");
	if (step == 0)
		buffer_add_text(&wire->command, attempt->message);
	else if (step == 1 && takes_token(attempt->method))
		take_challenge(attempt, said, &wire->command);
	else
		buffer_add_text(&wire->command, "*");
	if ((e = imap_wire_send_more(wire)))
		return e;
	return imap_wire_flush(wire);
}

static enum err converse(struct imap_session *imap, struct attempt *attempt, unsigned step)
{
	unsigned tag = imap_session_wire(imap)->tag;
	struct imap_reply reply;
	enum err e;

	while ((e = imap_session_reply(imap, &reply)) == OK) {
		if (reply.kind == IMAP_TAGGED)
			return judge(imap, &reply, tag, attempt);
		if (reply.kind == IMAP_CONTINUE &&
		    (e = answer_challenge(imap, attempt, step++, reply.text)))
			return e;
	}
	return e;
}

static enum err authenticate(struct imap_session *imap, enum auth_method method,
			     const struct auth_identity *who)
{
	struct imap_wire *wire = imap_session_wire(imap);
	size_t bytes = auth_message_bytes(method, who);
	bool at_once =
		imap_session_capabilities(imap) & IMAP_HAS_SASL_IR && bytes <= INITIAL_BYTES_MAX;
	void *room = secret_room_open(bytes);
	char *message = room;
	struct attempt attempt = { method, who->password, message, "" };
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
	e = converse(imap, &attempt, at_once ? 1 : 0);
out:
	secret_room_close(&room);
	return e;
}

static enum err login(struct imap_session *imap, const struct auth_identity *who)
{
	struct imap_wire *wire = imap_session_wire(imap);
	bool literals = imap_session_capabilities(imap) & IMAP_HAS_LITERAL_PLUS;
	struct attempt attempt = { AUTH_LOGIN, who->password, "*", "" };
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
	return converse(imap, &attempt, 0);
}

static enum err login_with_password(struct imap_session *imap, struct auth_identity *who)
{
	const struct account *account = imap_session_account(imap);
	unsigned capabilities = imap_session_capabilities(imap);
	enum auth_method method = auth_choose(capabilities, false);
	bool tokens_only = auth_choose(capabilities, true) != AUTH_NONE;

	if (!account->password)
		return RAISE(ERR_IMAP_LOGIN, "login as \"%.80s\": no password was given",
			     account->user);
	who->password = secret_text(account->password);
	if (method == AUTH_NONE)
		return RAISE(ERR_IMAP_NO_AUTH,
			     "login: the server offers neither AUTH=PLAIN nor the LOGIN command%s",
			     tokens_only ? ", only logins with an OAuth2 access token; name a "
					   "token file or command (in a job: oauth2)"
					 : "");
	return method == AUTH_LOGIN ? login(imap, who) : authenticate(imap, method, who);
}

/* ---- with a token ---- */

enum err auth_prepare(const struct account *account, nsec until)
{
	struct oauth2_token *token = NULL;
	enum err e = account->oauth2 ? oauth2_token_get(account->oauth2, until, &token) : OK;

	oauth2_token_put(&token);
	return e;
}

/* A token that has logged somebody in may have expired, or been withdrawn, before its time. One
 * that nobody used yet, and the same one read again, would be refused again, and each refusal
 * counts with the server. */
static bool is_worth_another(const struct account *account, struct oauth2_token **token, nsec until)
{
	struct oauth2_token *other = NULL;
	struct err_note note = *err_note();
	bool differs;

	err_note_clear();
	oauth2_token_drop(account->oauth2, *token);
	differs = oauth2_token_get(account->oauth2, until, &other) == OK &&
		  !text_equal(oauth2_token_text(other), oauth2_token_text(*token));
	if (differs) {
		oauth2_token_put(token);
		*token = other;
	} else {
		oauth2_token_put(&other);
		*err_note() = note; /* why the login failed says more */
	}
	return differs;
}

static enum err login_with_token(struct imap_session *imap, struct auth_identity *who, nsec until)
{
	const struct account *account = imap_session_account(imap);
	enum auth_method method = auth_choose(imap_session_capabilities(imap), true);
	struct oauth2_token *token = NULL;
	bool was_used;
	enum err e;

	if (method == AUTH_NONE)
		return RAISE(ERR_IMAP_NO_AUTH,
			     "login: the server takes no OAuth2 access tokens: it "
			     "offers neither AUTH=OAUTHBEARER nor AUTH=XOAUTH2");
	if ((e = oauth2_token_get(account->oauth2, until, &token)))
		return e;
	was_used = oauth2_token_was_used(token);
	who->password = oauth2_token_text(token);
	e = authenticate(imap, method, who);
	if (e == ERR_IMAP_LOGIN && was_used && is_worth_another(account, &token, until)) {
		(void)oauth2_token_was_used(token);
		who->password = oauth2_token_text(token);
		e = authenticate(imap, method, who);
	}
	oauth2_token_put(&token);
	return e;
}

enum err auth_login(struct imap_session *imap, nsec until)
{
	const struct account *account = imap_session_account(imap);
	struct auth_identity who = { .user = text_of(account->user),
				     .on_behalf = text_of(""),
				     .host = text_of(account->host),
				     .port = imap_session_port(imap) };

	return account->oauth2 ? login_with_token(imap, &who, until)
			       : login_with_password(imap, &who);
}
