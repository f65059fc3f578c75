/* The model IMAP server's conversation: lines in, replies out. One session per connection; it runs
 * inside the callbacks of net_sim.c and never waits. */
#include "tests/sim/imap_model.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "tests/sim/imap_model_reply.h"
#include "tests/sim/imap_model_store.h"

const char imap_model_capabilities_plain[] = "IMAP4rev1 AUTH=PLAIN";
const char imap_model_capabilities_extended[] =
	"IMAP4rev1 SASL-IR LOGIN-REFERRALS ID ENABLE IDLE LITERAL+ AUTH=PLAIN NAMESPACE UNSELECT "
	"CHILDREN "
	"UIDPLUS LIST-EXTENDED LIST-STATUS STATUS=SIZE SPECIAL-USE";
const char imap_model_capabilities_condstore[] =
	"IMAP4rev1 SASL-IR ID ENABLE LITERAL+ AUTH=PLAIN NAMESPACE LIST-EXTENDED LIST-STATUS "
	"CONDSTORE";
const char imap_model_capabilities_qresync[] =
	"IMAP4rev1 SASL-IR ID ENABLE LITERAL+ AUTH=PLAIN NAMESPACE LIST-EXTENDED LIST-STATUS "
	"STATUS=SIZE SPECIAL-USE CONDSTORE QRESYNC";
const char imap_model_capabilities_objectid[] =
	"IMAP4rev1 SASL-IR ID ENABLE LITERAL+ AUTH=PLAIN NAMESPACE LIST-EXTENDED LIST-STATUS "
	"STATUS=SIZE SPECIAL-USE CONDSTORE QRESYNC OBJECTID";

const char imap_model_capabilities_gmail[] =
	"IMAP4rev1 SASL-IR ID ENABLE AUTH=PLAIN NAMESPACE LIST-EXTENDED LIST-STATUS SPECIAL-USE "
	"CONDSTORE X-GM-EXT-1";

/* ---- words of a command: atoms, quoted strings, literals, lists in parentheses as they stand ----
 */

static bool word_quoted(struct text *rest, char *to, size_t *n)
{
	size_t i = 1;

	for (; i < rest->bytes && rest->at[i] != '"' && *n + 1 < IMAP_MODEL_WORD_BYTES_MAX; i++) {
		i += rest->at[i] == '\\' && i + 1 < rest->bytes;
		to[(*n)++] = rest->at[i];
	}
	*rest = (struct text){ rest->at + min_u64(i + 1, rest->bytes),
			       rest->bytes - min_u64(i + 1, rest->bytes) };
	return true;
}

static bool word_literal(struct text *rest, char *to, size_t *n)
{
	size_t bytes = strtoul(rest->at + 1, NULL, 10);
	const char *start = memchr(rest->at, '\n', rest->bytes);
	size_t head = start ? (size_t)(start + 1 - rest->at) : rest->bytes;

	if (head + bytes > rest->bytes || bytes >= IMAP_MODEL_WORD_BYTES_MAX)
		return false;
	bytes_copy(to, rest->at + head, bytes, BYTES_META);
	*n = bytes;
	*rest = (struct text){ rest->at + head + bytes, rest->bytes - head - bytes };
	return true;
}

static bool word_plain(struct text *rest, char *to, size_t *n)
{
	size_t i = 0;
	int depth = 0;

	for (; i < rest->bytes && (depth > 0 || rest->at[i] != ' ') &&
	       i + 1 < IMAP_MODEL_WORD_BYTES_MAX;
	     i++) {
		depth += (rest->at[i] == '(') - (rest->at[i] == ')');
		to[i] = rest->at[i];
	}
	*n = i;
	*rest = (struct text){ rest->at + i, rest->bytes - i };
	return i > 0;
}

bool imap_model_word(struct text *rest, char to[IMAP_MODEL_WORD_BYTES_MAX])
{
	size_t n = 0;
	bool got;

	while (rest->bytes && *rest->at == ' ')
		*rest = (struct text){ rest->at + 1, rest->bytes - 1 };
	if (rest->bytes == 0)
		return false;
	if (*rest->at == '"')
		got = word_quoted(rest, to, &n);
	else if (*rest->at == '{')
		got = word_literal(rest, to, &n);
	else
		got = word_plain(rest, to, &n);
	to[n] = '\0';
	return got;
}

/* ---- commands ---- */

static const char *password_of(const struct imap_model *model)
{
	return model->password_wanted ? model->password_wanted : model->password;
}

/* RFC 4616: authzid NUL authcid NUL password; the authzid may be left out. */
static bool plain_is_right(const struct imap_model *model, const char *response)
{
	char both[256], encoded[400];
	size_t user = strlen(model->user), password = strlen(password_of(model));

	for (unsigned with_authzid = 0; with_authzid < 2; with_authzid++) {
		size_t n = 0;

		must(2 * user + password + 2 < sizeof both);
		if (with_authzid)
			bytes_copy(both, model->user, n = user, BYTES_META);
		both[n++] = '\0';
		bytes_copy(both + n, model->user, user, BYTES_META);
		both[n += user] = '\0';
		bytes_copy(both + n + 1, password_of(model), password, BYTES_META);
		imap_model_base64(encoded, sizeof encoded, both, n + 1 + password);
		if (strcmp(encoded, response) == 0)
			return true;
	}
	return false;
}

static void log_in(struct imap_session *session, bool right)
{
	if (right) {
		session->model->counts->logins++;
		session->logged_in = true;
		imap_model_done(session, "OK [CAPABILITY %s] Logged in",
				session->model->capabilities);
	} else {
		imap_model_done(session, "NO [AUTHENTICATIONFAILED] Authentication failed.");
	}
}

static void do_authenticate(struct imap_session *session, struct text rest)
{
	char mechanism[IMAP_MODEL_WORD_BYTES_MAX], response[IMAP_MODEL_WORD_BYTES_MAX];

	if (!imap_model_word(&rest, mechanism) || strcasecmp(mechanism, "PLAIN") != 0) {
		imap_model_done(session, "NO Unsupported authentication mechanism");
	} else if (imap_model_word(&rest, response)) {
		log_in(session, plain_is_right(session->model, response));
	} else {
		session->wants_response = true;
		imap_model_say(session, "+ \r\n");
	}
}

static void do_login(struct imap_session *session, struct text rest)
{
	char user[IMAP_MODEL_WORD_BYTES_MAX], password[IMAP_MODEL_WORD_BYTES_MAX];

	log_in(session, imap_model_word(&rest, user) && imap_model_word(&rest, password) &&
				strcmp(user, session->model->user) == 0 &&
				strcmp(password, password_of(session->model)) == 0);
}

/* LIST [(selection)] reference pattern [RETURN (options)], RFC 5258. */
static void do_list(struct imap_session *session, struct text rest, const char *verb)
{
	char reference[IMAP_MODEL_WORD_BYTES_MAX] = "", pattern[IMAP_MODEL_WORD_BYTES_MAX] = "",
	     options[IMAP_MODEL_WORD_BYTES_MAX] = "";

	(void)imap_model_word(&rest, reference);
	if (reference[0] == '(')
		(void)imap_model_word(&rest, reference);
	(void)imap_model_word(&rest, pattern);
	if (imap_model_word(&rest, options))
		(void)imap_model_word(&rest, options);
	imap_model_list(session, verb, pattern, options);
	imap_model_done(session, "OK %s completed", verb);
}

static void do_status(struct imap_session *session, struct text rest)
{
	char name[IMAP_MODEL_WORD_BYTES_MAX], items[IMAP_MODEL_WORD_BYTES_MAX];
	struct imap_model_box *box;

	if (!imap_model_word(&rest, name) || !imap_model_word(&rest, items)) {
		imap_model_done(session, "BAD Missing arguments");
	} else if (!(box = imap_model_find(session->model, name))) {
		imap_model_done(session, "NO [NONEXISTENT] Mailbox doesn't exist");
	} else {
		imap_model_status(session, box, items);
		imap_model_done(session, "OK Status completed");
	}
}

void imap_model_open_box(struct imap_session *session, struct text rest, bool to_change)
{
	bool keeps_keywords = session->model->store && !session->model->store->drops_keywords;

	char name[IMAP_MODEL_WORD_BYTES_MAX] = "";
	uint32_t next_uid;

	if (++session->model->counts->examines == session->model->replace_at_examine)
		imap_model_renew(&session->model->boxes[0], 70);
	session->box = imap_model_word(&rest, name) ? imap_model_find(session->model, name) : NULL;
	if (!session->box || strstr(session->box->attributes, "\\Noselect")) {
		session->box = NULL;
		imap_model_done(session, "NO [NONEXISTENT] Mailbox doesn't exist: %s", name);
		return;
	}
	imap_model_say(session, "* FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft%s)\r\n",
		       session->model->store ? session->model->store->keywords : "");
	if (to_change)
		imap_model_say(session,
			       "* OK [PERMANENTFLAGS (\\Answered \\Flagged \\Deleted \\Seen "
			       "\\Draft%s)] Kept.\r\n",
			       keeps_keywords ? " \\*" : "");
	else
		imap_model_say(session, "* OK [PERMANENTFLAGS ()] Read-only mailbox.\r\n");
	imap_model_say(session, "* %u EXISTS\r\n* 0 RECENT\r\n",
		       imap_model_messages(session->box, &next_uid));
	imap_model_say(session, "* OK [UIDVALIDITY %u] UIDs valid\r\n", session->box->epoch);
	imap_model_say(session, "* OK [UIDNEXT %u] Predicted next UID\r\n", next_uid);
	session->is_to_change = to_change;
	if (to_change && strstr(session->model->capabilities, "CONDSTORE"))
		imap_model_say(session, "* OK [HIGHESTMODSEQ %llu] Highest\r\n",
			       (unsigned long long)session->box->modseq);
	imap_model_done(session, to_change ? "OK [READ-WRITE] Select completed"
					   : "OK [READ-ONLY] Examine completed");
}

static void do_uid(struct imap_session *session, struct text rest)
{
	char verb[IMAP_MODEL_WORD_BYTES_MAX] = "", set[IMAP_MODEL_WORD_BYTES_MAX] = "",
	     items[IMAP_MODEL_WORD_BYTES_MAX] = "", modifiers[IMAP_MODEL_WORD_BYTES_MAX] = "";
	struct imap_model *model = session->model;

	if (imap_model_word(&rest, verb) && model->store && strcasecmp(verb, "STORE") == 0) {
		imap_store_flags(session, rest);
	} else if (strcasecmp(verb, "FETCH") != 0) {
		model->counts->changes++; /* UID STORE, UID EXPUNGE, UID MOVE */
		imap_model_done(session, "BAD Not here");
	} else if (!session->box || !imap_model_word(&rest, set) ||
		   !imap_model_word(&rest, items)) {
		imap_model_done(session, "BAD No mailbox selected");
	} else if (model->refuse_fetches) {
		model->refuse_fetches--;
		imap_model_done(session, "NO [UNAVAILABLE] Try again later");
	} else if (strcasestr(items, "BODY") && imap_model_holds_refused(session->box, set)) {
		imap_model_done(session, "NO [SERVERBUG] A message in it cannot be read");
	} else {
		*(strcasestr(items, "BODY") ? &model->counts->fetches : &model->counts->looks) += 1;
		(void)imap_model_word(&rest, modifiers);
		imap_model_fetch(session, set, items, modifiers);
		imap_model_done(session, "OK Fetch completed");
		if (model->store && !strcasestr(items, "BODY"))
			imap_store_looked_at(session, set);
	}
}

static void do_logout(struct imap_session *session)
{
	imap_model_say(session, "* BYE Logging out\r\n");
	imap_model_done(session, "OK Logout completed.");
	imap_model_flush(session);
	net_hang_up(session->conn);
}

static void do_unknown(struct imap_session *session, const char *verb, struct text line)
{
	static const char *const changing[] = { "SELECT", "STORE",     "APPEND",      "EXPUNGE",
						"CREATE", "DELETE",    "RENAME",      "COPY",
						"MOVE",	  "SUBSCRIBE", "UNSUBSCRIBE", "SETACL",
						"CLOSE",  "CHECK" };
	struct imap_model_counts *counts = session->model->counts;

	for (unsigned i = 0; i < ARRAY_COUNT(changing); i++)
		counts->changes += strcasecmp(verb, changing[i]) == 0;
	counts->unknown++;
	snprintf(counts->unknown_line, sizeof counts->unknown_line, "%.*s",
		 (int)min_u64(line.bytes, 79), line.at);
	imap_model_done(session, "BAD Unknown command");
}

static bool do_before_login(struct imap_session *session, const char *verb, struct text rest)
{
	if (strcasecmp(verb, "CAPABILITY") == 0) {
		imap_model_say(session, "* CAPABILITY %s\r\n", session->model->capabilities);
		imap_model_done(session, "OK Capability completed");
	} else if (strcasecmp(verb, "NOOP") == 0) {
		imap_model_done(session, "OK Noop completed");
	} else if (strcasecmp(verb, "LOGOUT") == 0) {
		do_logout(session);
	} else if (strcasecmp(verb, "ID") == 0) {
		imap_model_say(session, "* ID (\"name\" \"Model\" \"version\" \"1\")\r\n");
		imap_model_done(session, "OK ID completed");
	} else if (strcasecmp(verb, "AUTHENTICATE") == 0) {
		do_authenticate(session, rest);
	} else if (strcasecmp(verb, "LOGIN") == 0) {
		do_login(session, rest);
	} else {
		return false;
	}
	return true;
}

static void do_after_login(struct imap_session *session, const char *verb, struct text rest)
{
	if (!session->logged_in) {
		imap_model_done(session, "BAD Log in first");
	} else if (strcasecmp(verb, "NAMESPACE") == 0) {
		imap_model_say(session, "* NAMESPACE ((\"\" \"/\")) NIL NIL\r\n");
		imap_model_done(session, "OK Namespace completed");
	} else if (strcasecmp(verb, "ENABLE") == 0) {
		session->qresync = strstr(session->model->capabilities, "QRESYNC") && !session->box;
		imap_model_say(session, "* ENABLED%s\r\n", session->qresync ? " QRESYNC" : "");
		imap_model_done(session, "OK Enabled");
	} else if (strcasecmp(verb, "LIST") == 0 || strcasecmp(verb, "LSUB") == 0) {
		do_list(session, rest, strcasecmp(verb, "LSUB") == 0 ? "LSUB" : "LIST");
	} else if (strcasecmp(verb, "STATUS") == 0) {
		do_status(session, rest);
	} else if (strcasecmp(verb, "EXAMINE") == 0) {
		imap_model_open_box(session, rest, false);
	} else if (strcasecmp(verb, "UNSELECT") == 0) {
		session->box = NULL;
		imap_model_done(session, "OK Unselect completed");
	} else if (strcasecmp(verb, "UID") == 0) {
		do_uid(session, rest);
	} else if (!session->model->store || !imap_store_command(session, verb, rest)) {
		do_unknown(session, verb, rest);
	}
}

static void do_line(struct imap_session *session, struct text line)
{
	char verb[IMAP_MODEL_WORD_BYTES_MAX];

	if (session->wants_response) {
		char response[IMAP_MODEL_WORD_BYTES_MAX] = "";

		session->wants_response = false;
		(void)imap_model_word(&line, response);
		log_in(session, plain_is_right(session->model, response));
		return;
	}
	if (session->model->store)
		imap_store_time_passes(session->model);
	snprintf(session->tag, sizeof session->tag, "*");
	if (!imap_model_word(&line, verb) || strlen(verb) >= sizeof session->tag) {
		imap_model_done(session, "BAD Tag?");
		return;
	}
	bytes_copy(session->tag, verb, strlen(verb) + 1, BYTES_META);
	if (!imap_model_word(&line, verb))
		imap_model_done(session, "BAD Command?");
	else if (!do_before_login(session, verb, line))
		do_after_login(session, verb, line);
}

/* ---- bytes to commands ---- */

/* The command is over before all of it is here. */
static void forget_command(struct imap_session *session, size_t bytes)
{
	session->in.bytes -= bytes;
	bytes_move(session->in.at, session->in.at + bytes, session->in.bytes);
	session->asked_for = 0;
}

/* A literal that begins at `at` of the input: its client waits for "+", or does not. */
static bool is_refused(struct imap_session *session, size_t at, uint64_t bytes, bool waits)
{
	if (session->asked_for >= at)
		return false;
	session->asked_for = at;
	if (session->model->store &&
	    imap_store_refuses(session, (struct text){ session->in.at, at - 2 }, bytes, waits)) {
		forget_command(session, at);
		return true;
	}
	if (waits)
		imap_model_say(session, "+ OK\r\n");
	return false;
}

/* Bytes of the first whole command, CRLF included; 0: not all of it is here. A line that ends in
 * "{n}" or "{n+}" goes on after n bytes, RFC 7888. */
static size_t command_bytes(struct imap_session *session)
{
	const struct buffer *in = &session->in;
	size_t at = 0, literal;

	for (;;) {
		const char *end = memmem(in->at + at, in->bytes - at, "\r\n", 2);
		const char *brace;
		size_t line_end = end ? (size_t)(end - in->at) : 0;

		if (!end)
			return 0;
		brace = line_end > at && in->at[line_end - 1] == '}'
				? memrchr(in->at + at, '{', line_end - at)
				: NULL;
		if (!brace)
			return line_end + 2;
		literal = strtoul(brace + 1, NULL, 10);
		if (is_refused(session, line_end + 2, literal, in->at[line_end - 2] != '+'))
			return 0;
		at = line_end + 2 + literal;
		if (at > in->bytes)
			return 0;
	}
}

void imap_model_go_on(struct imap_session *session)
{
	size_t bytes;

	while (!session->waits && !session->deaf && (bytes = command_bytes(session)) > 0) {
		do_line(session, (struct text){ session->in.at, bytes - 2 });
		forget_command(session, bytes);
	}
	imap_model_flush(session);
}

static void accident(struct imap_session *session)
{
	session->deaf = true;
	imap_model_flush(session);
	if (session->model->end_how == NET_RESETS)
		net_reset(session->conn);
	else if (session->model->end_how == NET_STALLS)
		net_accident_after(session->conn, NET_STALLS, 0, 0);
	else
		net_hang_up(session->conn);
	if (session->model->store)
		imap_store_session_ended(session);
}

static void received(void *pointer, struct net_conn *conn, const void *from, size_t n)
{
	struct imap_session *session = pointer;
	bool ends = session->ends_at && session->heard + n >= session->ends_at;

	must(session->conn == conn);
	if (session->deaf)
		return;
	if (ends)
		n = (size_t)(session->ends_at - session->heard);
	session->heard += n;
	buffer_add(&session->in, from, n);
	must(!session->in.failed);
	imap_model_go_on(session);
	if (ends)
		accident(session);
}

static void *accepted(void *owner, struct net_conn *conn)
{
	struct imap_model *model = owner;
	struct imap_session *session = calloc(1, sizeof *session);

	must(session);
	session->model = model;
	session->conn = conn;
	if (model->counts->connections++ < model->end_count) {
		session->ends_at = model->end_after_heard;
		if (!session->ends_at)
			net_accident_after(conn, model->end_how, model->end_after, 0);
	}
	net_throttle(conn, model->bytes_per_second);
	imap_model_say(session, "* OK [CAPABILITY %s] Model ready.\r\n", model->capabilities);
	imap_model_flush(session);
	return session;
}

static void closed(void *pointer)
{
	struct imap_session *session = pointer;

	if (session->model->store)
		imap_store_session_ended(session);
	buffer_free(&session->in);
	buffer_free(&session->out);
	free(session);
}

void imap_model_listen(struct imap_model *model, uint16_t port)
{
	must(model->counts && model->user && model->password);
	if (model->store)
		imap_store_process_begins(model);
	must(model->capabilities);
	net_listen(&(struct net_server){ .port = port,
					 .accepted = accepted,
					 .received = received,
					 .closed = closed,
					 .owner = model });
}
