/* The session around the messages: replies read, checked and handed on one at a time, and the
 * set-up in its order. Nothing secret is sent before conn_is_secure(). */
#include "transport/imap_session.h"

#include <stdlib.h>

#include "engine/clock.h"
#include "engine/log.h"
#include "transport/auth.h"
#include "transport/conn.h"
#include "transport/provider.h"

enum {
	SESSION_MAGIC = 0x1a4a9002,
	IMAP_PORT_TLS = 993,
	IMAP_PORT_STARTTLS = 143,
	/* Literals of the cold path are folder names and ID values. */
	COLD_LITERAL_BYTES_MAX = 64 * 1024,
	/* Two names as literals, and their line. */
	COLD_REPLY_BYTES_MAX = 256 * 1024,
	/* All replies to one command: 100,000 folders with long names are 30 MiB. */
	COLD_ANSWER_BYTES_MAX = 64 * 1024 * 1024,
};

struct imap_session {
	uint32_t magic;
	const struct account *account;
	struct account quiet; /* the account without `met`, which is called once, here */
	struct conn *conn;
	struct imap_wire *wire;
	struct peer peer;
	unsigned capabilities;
	uint64_t append_limit;
	const struct provider *provider;
	char greeting[80];
	struct buffer reply;
	uint64_t heard; /* bytes of replies since the last command */
	unsigned heard_tag;
	bool leaving; /* BYE is what we asked for */
	struct imap_grammar *grammar;
};

struct imap_wire *imap_session_wire(struct imap_session *imap)
{
	return imap->wire;
}

unsigned imap_session_capabilities(const struct imap_session *imap)
{
	return imap->capabilities;
}

uint64_t imap_session_append_limit(const struct imap_session *imap)
{
	return imap->append_limit;
}

const struct provider *imap_session_provider(const struct imap_session *imap)
{
	return imap->provider;
}

const struct account *imap_session_account(const struct imap_session *imap)
{
	return imap->account;
}

static uint16_t default_port(const struct account *account)
{
	return strcmp(account->scheme, "imap") == 0 ? IMAP_PORT_STARTTLS : IMAP_PORT_TLS;
}

uint16_t imap_session_port(const struct imap_session *imap)
{
	return imap->account->port ? imap->account->port : default_port(imap->account);
}

struct imap_grammar *imap_session_grammar(struct imap_session *imap)
{
	return imap->grammar;
}

/* ---- replies ---- */

/* Lists nested too deep would be libetpan's stack. Strings do not cross parts. */
static bool is_shallow(struct text part, unsigned *depth)
{
	struct imap_scan scan = imap_scan_of(part);
	struct text string;

	while (!imap_scan_at_end(&scan)) {
		if (imap_scan_quoted(&scan, &string))
			continue;
		if (*scan.at == '(' && ++*depth > IMAP_NESTING_MAX)
			return false;
		if (*scan.at == ')' && *depth)
			--*depth;
		scan.at++;
	}
	return true;
}

static enum err add_literal(struct imap_session *imap, int64_t bytes)
{
	size_t got;
	enum err e;
	char piece[1024];

	if (bytes > COLD_LITERAL_BYTES_MAX)
		return RAISE(ERR_IMAP_SYNTAX, "a literal of %lld bytes where none belongs",
			     (long long)bytes);
	buffer_addf(&imap->reply, "{%lld}\r\n", (long long)bytes);
	for (uint64_t left = (uint64_t)bytes; left; left -= got) {
		if ((e = imap_wire_bytes(imap->wire, piece, min_u64(left, sizeof piece), &got)))
			return e;
		if (memchr(piece, '\0', got))
			return RAISE(ERR_IMAP_SYNTAX, "a NUL byte in a name");
		buffer_add(&imap->reply, piece, got);
	}
	return OK;
}

/* All parts of one reply into imap->reply, literals inline. */
static enum err assemble(struct imap_session *imap)
{
	int64_t literal = IMAP_NO_LITERAL;
	unsigned depth = 0;
	struct text part;
	enum err e;

	buffer_reset(&imap->reply);
	imap->reply.bytes_max = COLD_REPLY_BYTES_MAX;
	do {
		if ((e = imap_wire_part(imap->wire, literal == IMAP_NO_LITERAL, &part, &literal)))
			return e;
		if (!imap->wire->resp_text && !is_shallow(part, &depth))
			return RAISE(ERR_IMAP_SYNTAX, "lists nested deeper than %d",
				     IMAP_NESTING_MAX);
		buffer_add(&imap->reply, part.at, part.bytes);
		if (literal != IMAP_NO_LITERAL && (e = add_literal(imap, literal)))
			return e;
	} while (literal != IMAP_NO_LITERAL && !imap->reply.failed);
	if (imap->reply.failed)
		return RAISE(ERR_IMAP_SYNTAX, "a reply of more than %d bytes",
			     COLD_REPLY_BYTES_MAX);
	return OK;
}

static enum err count_heard(struct imap_session *imap)
{
	if (imap->heard_tag != imap->wire->tag)
		imap->heard = 0;
	imap->heard_tag = imap->wire->tag;
	imap->heard += imap->reply.bytes + 2;
	if (imap->heard > COLD_ANSWER_BYTES_MAX)
		return RAISE(ERR_IMAP_SYNTAX, "more than %d bytes in answer to one command",
			     COLD_ANSWER_BYTES_MAX);
	return OK;
}

enum err imap_session_reply(struct imap_session *imap, struct imap_reply *reply)
{
	struct imap_scan scan;
	char shown[100];
	enum err e;

	if ((e = assemble(imap)) || (e = count_heard(imap)))
		return e;
	*reply = (struct imap_reply){ .kind = IMAP_UNTAGGED };
	scan = imap_scan_of((struct text){ imap->reply.at, imap->reply.bytes });
	if (imap_scan_char(&scan, '+'))
		reply->kind = IMAP_CONTINUE;
	else if (imap_wire_tag(&scan, &reply->tag))
		reply->kind = IMAP_TAGGED;
	else if (!imap_scan_char(&scan, '*') || !imap_scan_char(&scan, ' '))
		return RAISE(ERR_IMAP_SYNTAX, "\"%s\" is no reply of an IMAP server",
			     err_quote(shown, sizeof shown, imap_scan_rest(&scan)));
	reply->text = imap_scan_rest(&scan);
	reply->is_status = imap_scan_status(&scan, &reply->status);
	if (reply->kind == IMAP_TAGGED && !reply->is_status)
		return RAISE(ERR_IMAP_SYNTAX, "a tagged answer that is neither OK nor NO nor BAD");
	if (reply->is_status && reply->status.state == IMAP_BYE && !imap->leaving)
		return imap_status_raise(&reply->status, ERR_IMAP_BYE, imap->account->shown);
	return OK;
}

enum err imap_session_answer(struct imap_session *imap, unsigned tag, imap_each *each,
			     void *context, struct imap_status *status)
{
	struct imap_reply reply;
	enum err e;

	while ((e = imap_session_reply(imap, &reply)) == OK) {
		if (reply.kind == IMAP_CONTINUE || (reply.kind == IMAP_TAGGED && reply.tag != tag))
			return RAISE(ERR_IMAP_SYNTAX, "an answer to nothing we asked");
		if (reply.kind == IMAP_TAGGED) {
			*status = reply.status;
			return OK;
		}
		if (each && !reply.is_status && (e = each(imap, &reply, context)))
			return e;
	}
	return e;
}

/* ---- set-up ---- */

/* One command without arguments that must be granted. */
static enum err simple(struct imap_session *imap, const char *verb, imap_each *each,
		       enum err refused)
{
	struct imap_status status;
	unsigned tag = imap_wire_begin(imap->wire);
	enum err e;

	buffer_add_text(&imap->wire->command, verb);
	if ((e = imap_wire_send(imap->wire)) || (e = imap_wire_flush(imap->wire)))
		return e;
	if ((e = imap_session_answer(imap, tag, each, NULL, &status)))
		return e;
	return imap_status_raise(&status, refused, verb);
}

static enum err on_capability(struct imap_session *imap, const struct imap_reply *reply,
			      void *context)
{
	struct imap_scan scan = imap_scan_of(reply->text);
	uint64_t limit;

	(void)context;
	if (!imap_scan_word(&scan, "CAPABILITY"))
		return OK;
	imap->capabilities |= imap_parse_capability(imap_scan_rest(&scan));
	if (imap_parse_append_limit(imap_scan_rest(&scan), &limit))
		imap->append_limit = min_u64(imap->append_limit, limit);
	return OK;
}

/* Asked anew after TLS and after login: what was said before is worth nothing any more (RFC 9051
 * sections 6.2.1 and 7.2.2), and some servers announce the new list only on asking. */
static enum err ask_capabilities(struct imap_session *imap)
{
	enum err e;

	imap->capabilities = 0;
	imap->append_limit = IMAP_APPEND_LIMIT_UNKNOWN;
	if ((e = simple(imap, "CAPABILITY", on_capability, ERR_SOURCE_FOREIGN)))
		return e;
	if (!(imap->capabilities & (IMAP_REV1 | IMAP_REV2)))
		return RAISE(ERR_SOURCE_FOREIGN, "%s speaks neither IMAP4rev1 nor IMAP4rev2",
			     imap->account->shown);
	return OK;
}

static enum err greet(struct imap_session *imap, bool *is_in)
{
	struct imap_reply reply;
	enum err e;

	if ((e = imap_session_reply(imap, &reply)))
		return e;
	if (reply.kind != IMAP_UNTAGGED || !reply.is_status || reply.status.state == IMAP_BAD ||
	    reply.status.state == IMAP_NO)
		return RAISE(ERR_IMAP_SYNTAX, "%s does not greet like an IMAP server",
			     imap->account->shown);
	*is_in = reply.status.state == IMAP_PREAUTH;
	err_quote(imap->greeting, sizeof imap->greeting, reply.status.text);
	return imap_grammar_open(&imap->grammar);
}

/* STARTTLS, RFC 9051 section 6.2.1; what a man in the middle can do there, RFC 8314 and
 * CVE-2020-15953. */
static enum err secure(struct imap_session *imap, bool is_in)
{
	enum err e;

	if (is_in)
		return RAISE(ERR_TLS_STRIPPED, "%s says PREAUTH before TLS", imap->account->shown);
	if ((e = ask_capabilities(imap)))
		return e;
	if (!(imap->capabilities & IMAP_HAS_STARTTLS))
		return RAISE(ERR_TLS_STRIPPED, "%s does not offer STARTTLS (try imaps://)",
			     imap->account->shown);
	if ((e = simple(imap, "STARTTLS", NULL, ERR_TLS_STRIPPED)))
		return e;
	if (imap_wire_left(imap->wire))
		return RAISE(ERR_TLS_INJECTED,
			     "%s: %zu bytes in plaintext behind the answer to STARTTLS",
			     imap->account->shown, imap_wire_left(imap->wire));
	imap->capabilities = 0;
	return conn_start_tls(imap->conn);
}

static enum err on_id(struct imap_session *imap, const struct imap_reply *reply, void *context)
{
	struct imap_scan scan = imap_scan_of(reply->text);

	(void)context;
	if (imap_scan_word(&scan, "ID"))
		imap_parse_id(imap->grammar, reply->text, imap->peer.software,
			      sizeof imap->peer.software);
	return OK;
}

/* Good manners, and some providers want it before they show folders. A refusal changes nothing. */
static enum err identify(struct imap_session *imap)
{
	struct imap_status status;
	unsigned tag;
	enum err e;

	if (!(imap->capabilities & IMAP_HAS_ID))
		return OK;
	tag = imap_wire_begin(imap->wire);
	buffer_add_text(&imap->wire->command,
			"ID (\"name\" \"mailhaul\" \"version\" \"" MAILHAUL_VERSION "\")");
	if ((e = imap_wire_send(imap->wire)) || (e = imap_wire_flush(imap->wire)))
		return e;
	return imap_session_answer(imap, tag, on_id, NULL, &status);
}

/* Turned away before it knows who we are, it is the host that wants to be left alone: a port that
 * refuses, a BYE instead of a greeting, or nothing at all (couriertcpd closes the connection
 * without a word when one address has too many). */
static enum err blame_host(enum err e)
{
	struct err_note *note = err_note();
	enum err_retry retry_class = err_retry_class(e);

	if (note->error == e && (retry_class == RETRY_BACKOFF || retry_class == RETRY_RECONNECT))
		note->scope = ERR_OF_HOST;
	return e;
}

/* By ID where there is one, for a greeting is often a line of the administrator's. */
static void recognize(struct imap_session *imap)
{
	const char *says = *imap->peer.software ? imap->peer.software : imap->greeting;

	imap->provider = provider_find(imap->account->host, says, imap->capabilities);
	log_event(LOG_DEBUG, "imap.provider", "provider=\"%s\"", imap->provider->name);
}

/* RFC 4978, where it is wanted. A server that does it in TLS already says NO (section 3). */
static enum err compress(struct imap_session *imap)
{
	struct imap_status status;
	char shown[100];
	unsigned tag;
	enum err e;

	if (!(imap->capabilities & IMAP_HAS_COMPRESS_DEFLATE)) {
		log_event(LOG_INFO, "imap.not_compressed", "why=\"it is not offered\"");
		return OK;
	}
	tag = imap_wire_begin(imap->wire);
	buffer_add_text(&imap->wire->command, "COMPRESS DEFLATE");
	if ((e = imap_wire_send(imap->wire)) || (e = imap_wire_flush(imap->wire)) ||
	    (e = imap_session_answer(imap, tag, NULL, NULL, &status)))
		return e;
	if (status.state == IMAP_OK) {
		conn_note_compressed(imap->conn);
		return imap_wire_compress(imap->wire);
	}
	log_event(LOG_WARN, "imap.not_compressed", "!why=\"%s\"",
		  err_quote(shown, sizeof shown, status.text));
	return OK;
}

static enum err set_up(struct imap_session *imap, bool secure_first, nsec until)
{
	bool is_in = false;
	enum err e;

	if ((e = greet(imap, &is_in)))
		return blame_host(e);
	if (secure_first && (e = secure(imap, is_in)))
		return e;
	must(conn_is_secure(imap->conn)); /* nothing secret before this line */
	if ((e = ask_capabilities(imap)))
		return e;
	if (!is_in && ((e = auth_login(imap, until)) || (e = ask_capabilities(imap))))
		return e;
	if ((e = identify(imap)))
		return e;
	recognize(imap);
	return imap->account->compress ? compress(imap) : OK;
}

static enum err connect_and_set_up(struct imap_session *imap, nsec until, enum imap_wire_may may)
{
	bool secure_first = strcmp(imap->account->scheme, "imap") == 0;
	struct imap_port port;
	enum err e;

	if ((e = auth_prepare(imap->account, until)))
		return e;
	e = conn_open(&imap->quiet, default_port(imap->account),
		      secure_first ? CONN_TLS_LATER : CONN_TLS_NOW, until, &imap->conn);
	if (e)
		return blame_host(e);
	port = imap_wire_conn_port(imap->conn);
	if ((e = imap_wire_open(&port, imap->conn, imap->account->io_timeout, &imap->wire)))
		return e;
	imap->wire->until = until;
	e = set_up(imap, secure_first, until);
	imap->wire->until = DEADLINE_NEVER;
	if (!e && may == IMAP_WIRE_REMOVE)
		imap_wire_allow_removal(imap->wire);
	if (!e && may == IMAP_WIRE_FLAG)
		imap_wire_allow_flags(imap->wire);
	return e || may != IMAP_WIRE_CHANGE ? e : imap_wire_allow_changes(imap->wire);
}

/* Whom we met, whether or not it went well: TLS facts and what the server says it is. */
static void meet(struct imap_session *imap)
{
	struct peer peer;

	if (!imap->conn || !imap->account->met)
		return;
	peer = *conn_peer(imap->conn);
	bytes_copy(peer.software, imap->peer.software, sizeof peer.software, BYTES_META);
	imap->account->met(imap->account->met_context, &peer);
}

static enum err open_session(const struct account *account, nsec until, enum imap_wire_may may,
			     struct imap_session **out)
{
	struct imap_session *imap = calloc(1, sizeof *imap);
	enum err e;

	if (!imap)
		return RAISE(ERR_MEMORY_EXHAUSTED, "an IMAP session");
	imap->magic = SESSION_MAGIC;
	imap->account = account;
	imap->quiet = *account;
	imap->quiet.met = NULL;
	e = connect_and_set_up(imap, until, may);
	meet(imap);
	if (e)
		imap_session_close(&imap);
	*out = imap;
	return e;
}

enum err imap_session_open(const struct account *account, nsec until, struct imap_session **out)
{
	return open_session(account, until, IMAP_WIRE_READ, out);
}

enum err imap_session_open_to_change(const struct account *account, nsec until,
				     struct imap_session **out)
{
	return open_session(account, until, IMAP_WIRE_CHANGE, out);
}

enum err imap_session_open_to_remove(const struct account *account, nsec until,
				     struct imap_session **out)
{
	return open_session(account, until, IMAP_WIRE_REMOVE, out);
}

enum err imap_session_open_to_flag(const struct account *account, nsec until,
				   struct imap_session **out)
{
	return open_session(account, until, IMAP_WIRE_FLAG, out);
}

void imap_session_close(struct imap_session **imap)
{
	if (!*imap)
		return;
	MAGIC_CHECK(*imap, SESSION_MAGIC);
	imap_grammar_close(&(*imap)->grammar);
	imap_wire_close(&(*imap)->wire);
	conn_close(&(*imap)->conn);
	buffer_free(&(*imap)->reply);
	(*imap)->magic = 0;
	free(*imap);
	*imap = NULL;
}

static enum err log_out(struct imap_session *imap, nsec until)
{
	struct imap_status status;
	unsigned tag = imap_wire_begin(imap->wire);
	enum err e;

	buffer_add_text(&imap->wire->command, "LOGOUT");
	if ((e = imap_wire_send(imap->wire)) || (e = imap_wire_flush(imap->wire)) ||
	    (e = imap_session_answer(imap, tag, NULL, NULL, &status)))
		return e;
	conn_deadline(imap->conn, until);
	return conn_finish(imap->conn);
}

enum err imap_session_finish(struct imap_session *imap, nsec until)
{
	bool is_clean = err_note()->error == OK;
	enum err e;

	imap->wire->until = until;
	imap->leaving = true;
	e = log_out(imap, until);
	if (e != ERR_NET_CLOSED && e != ERR_NET_RESET && e != ERR_TLS_CUT)
		return e;
	if (is_clean)
		err_note_clear();
	return OK;
}
