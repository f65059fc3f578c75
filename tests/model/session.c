/* The model server's conversation: as much IMAP4rev1 as a client needs to read a mailbox
 * (RFC 9051, RFC 5258, RFC 5819), and the ways in which its users' mailboxes fail. */
#include "tests/model/session.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <unistd.h>

enum { WORD_BYTES = 512 };

static void say(struct session *session, const char *text)
{
	buffer_add_text(&session->out, text);
}

/* The tagged end of the command. */
static void done(struct session *session, const char *text)
{
	buffer_addf(&session->out, "%s %s\r\n", session->tag, text);
}

/* The next word: an atom, a quoted string, or a list in parentheses as it stands. */
static bool word(char **rest, char to[WORD_BYTES])
{
	size_t n = 0;
	int depth = 0;
	char *at = *rest + strspn(*rest, " ");

	*to = '\0';
	if (!*at)
		return false;
	if (*at == '"') {
		for (at++; *at && *at != '"' && n + 1 < WORD_BYTES; to[n++] = *at++)
			at += *at == '\\' && at[1];
		at += *at == '"';
	} else {
		for (; *at && (depth > 0 || *at != ' ') && n + 1 < WORD_BYTES; to[n++] = *at++)
			depth += (*at == '(') - (*at == ')');
	}
	to[n] = '\0';
	*rest = at;
	return true;
}

/* ---- login ---- */

static void refuse(struct session *session, struct account_state *account, const char *text)
{
	account->refusals++;
	account->last_refusal = clock_now();
	session->service->counts.logins_refused++;
	done(session, text);
}

static void say_bye(struct session *session)
{
	say(session, "* BYE [ALERT] Too many connections\r\n");
	session->ending = true;
}

/* Refused for so many logins, or for so long after the first of them. */
static bool is_refusing(const struct service *service, struct account_state *account)
{
	nsec now = clock_now();

	if (!account->first_try)
		account->first_try = now;
	return account->refusals < service->refusals ||
	       now < account->first_try + service->refuse_for;
}

/* NULL: not in these words, or not now. */
static const char *refusal_of(struct session *session, struct account_state *account, char *text,
			      size_t room)
{
	struct service *service = session->service;

	switch (model_fault_of(&service->model, session->user)) {
	case MODEL_wrong:
		return "NO [AUTHENTICATIONFAILED] Authentication failed.";
	case MODEL_shut:
		return "NO [UNAVAILABLE] Closed until further notice";
	case MODEL_throttled:
		return is_refusing(service, account) ? "NO [THROTTLED] Slow down" : NULL;
	case MODEL_limit:
		return is_refusing(service, account) ? "NO [LIMIT] Too many logins" : NULL;
	case MODEL_unavailable:
		return is_refusing(service, account) ? "NO [UNAVAILABLE] Try again later" : NULL;
	case MODEL_backoff: /* as Exchange Online says it */
		snprintf(text, room,
			 "NO Request is throttled. Suggested Backoff Time: %lld milliseconds",
			 (long long)(service->backoff / NSEC_MILLISECOND));
		if (account->refusals && clock_now() < account->last_refusal + service->backoff)
			service->counts.logins_too_early++;
		return is_refusing(service, account) ? text : NULL;
	default:
		return NULL;
	}
}

/* True: this login came to its end here. */
static bool refused(struct session *session, struct account_state *account)
{
	char text[120];
	const char *refusal = refusal_of(session, account, text, sizeof text);

	if (refusal) {
		refuse(session, account, refusal);
	} else if (model_fault_of(&session->service->model, session->user) == MODEL_bye &&
		   is_refusing(session->service, account)) {
		account->refusals++;
		session->service->counts.logins_refused++;
		say_bye(session);
	}
	return refusal || session->ending;
}

static void log_in(struct session *session, const char *user, const char *password)
{
	struct service *service = session->service;
	struct account_state *account;
	char wanted[MODEL_NAME_BYTES];

	if (!model_find_user(&service->model, user, &session->user)) {
		service->counts.logins_refused++;
		done(session, "NO [AUTHENTICATIONFAILED] Authentication failed.");
		return;
	}
	account = &service->accounts[session->user];
	model_password(&service->model, session->user, wanted);
	if (refused(session, account))
		return;
	if (strcmp(wanted, password) != 0) {
		refuse(session, account, "NO [AUTHENTICATIONFAILED] Authentication failed.");
		return;
	}
	if (service->connections_per_user && account->now >= service->connections_per_user) {
		service->counts.over_limit++;
		say_bye(session);
		return;
	}
	service->counts.logins_too_early += clock_now() < account->rest_until;
	account->now++;
	account->most = (uint32_t)max_u64(account->most, account->now);
	service->counts.user_most = max_u64(service->counts.user_most, account->now);
	service->counts.logins++;
	session->logged_in = true;
	session->is_slow = model_fault_of(&service->model, session->user) == MODEL_slow;
	done(session, "OK Logged in");
}

/* RFC 4616: authzid NUL authcid NUL password, in base64. */
static void log_in_plain(struct session *session, const char *response)
{
	char plain[WORD_BYTES + 1] = "";
	size_t length = strlen(response);
	const char *user, *password;
	int n = length % 4
			? -1
			: EVP_DecodeBlock((uint8_t *)plain, (const uint8_t *)response, (int)length);

	if (n < 0) {
		done(session, "BAD Not base64");
		return;
	}
	plain[n] = '\0';
	user = plain + strlen(plain) + 1;
	password = user < plain + n ? user + strlen(user) + 1 : "";
	log_in(session, user < plain + n ? user : "", password < plain + n ? password : "");
}

static void do_authenticate(struct session *session, char *rest)
{
	char mechanism[WORD_BYTES], response[WORD_BYTES];

	if (!word(&rest, mechanism) || strcasecmp(mechanism, "PLAIN") != 0) {
		done(session, "NO Unsupported mechanism");
	} else if (word(&rest, response)) {
		log_in_plain(session, response);
	} else {
		session->wants_response = true;
		say(session, "+ \r\n");
	}
}

static void do_login(struct session *session, char *rest)
{
	char user[WORD_BYTES], password[WORD_BYTES];

	if (word(&rest, user) && word(&rest, password))
		log_in(session, user, password);
	else
		done(session, "BAD Missing arguments");
}

/* ---- folders ---- */

static bool find_folder(struct session *session, const char *raw, uint64_t *at,
			struct model_folder *folder)
{
	const struct model *model = &session->service->model;

	if (!model_find_folder(model, strcasecmp(raw, "INBOX") == 0 ? "INBOX" : raw, at))
		return false;
	model_folder(model, session->user, *at, folder);
	return true;
}

static void say_status(struct session *session, uint64_t at, const struct model_folder *folder,
		       const char *items)
{
	const struct model *model = &session->service->model;
	uint64_t bytes = 0;

	buffer_addf(&session->out, "* STATUS \"%s\" (MESSAGES %llu UIDNEXT %u UIDVALIDITY %u",
		    folder->raw, (unsigned long long)folder->messages, folder->next_uid,
		    folder->epoch);
	if (strcasestr(items, " SIZE")) {
		for (uint64_t i = 0; i < folder->messages; i++)
			bytes += model_bytes(model, session->user, at, i);
		buffer_addf(&session->out, " SIZE %llu", (unsigned long long)bytes);
	}
	say(session, ")\r\n");
}

/* LIST [(selection)] reference pattern [RETURN (options)]. */
static void do_list(struct session *session, char *rest, const char *verb)
{
	char reference[WORD_BYTES], pattern[WORD_BYTES], options[WORD_BYTES];
	struct model_folder folder;
	const char *subscribed;

	(void)word(&rest, reference);
	if (reference[0] == '(')
		(void)word(&rest, reference);
	(void)word(&rest, pattern);
	if (word(&rest, options))
		(void)word(&rest, options);
	subscribed = strcasestr(options, "SUBSCRIBED") ? "\\Subscribed" : "";
	if (!pattern[0])
		say(session, "* LIST (\\Noselect) \"/\" \"\"\r\n");
	for (uint64_t i = 0; pattern[0] && i < session->service->model.folders; i++) {
		model_folder(&session->service->model, session->user, i, &folder);
		if (!strpbrk(pattern, "*%") && strcmp(pattern, folder.raw) != 0)
			continue;
		buffer_addf(&session->out, "* %s (%s%s%s) \"/\" \"%s\"\r\n", verb,
			    folder.attributes, folder.attributes[0] && subscribed[0] ? " " : "",
			    subscribed, folder.raw);
		if (strcasestr(options, "STATUS"))
			say_status(session, i, &folder, options);
	}
	done(session, "OK Listed");
}

static void do_status(struct session *session, char *rest)
{
	char name[WORD_BYTES], items[WORD_BYTES];
	struct model_folder folder;
	uint64_t at;

	if (!word(&rest, name) || !word(&rest, items)) {
		done(session, "BAD Missing arguments");
	} else if (!find_folder(session, name, &at, &folder)) {
		done(session, "NO [NONEXISTENT] No such mailbox");
	} else {
		say_status(session, at, &folder, items);
		done(session, "OK Status completed");
	}
}

static void do_examine(struct session *session, char *rest)
{
	char name[WORD_BYTES];
	struct model_folder folder;

	session->service->counts.examines++;
	session->examined = false;
	(void)word(&rest, name);
	if (!find_folder(session, name, &session->folder, &folder)) {
		done(session, "NO [NONEXISTENT] No such mailbox");
	} else if (folder.refused) {
		done(session, "NO [NOPERM] Permission denied");
	} else {
		session->examined = true;
		say(session, "* FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft)\r\n");
		buffer_addf(&session->out,
			    "* %llu EXISTS\r\n* 0 RECENT\r\n"
			    "* OK [UIDVALIDITY %u] UIDs valid\r\n* OK [UIDNEXT %u] Next UID\r\n",
			    (unsigned long long)folder.messages, folder.epoch, folder.next_uid);
		done(session, "OK [READ-ONLY] Examined");
	}
}

/* ---- FETCH ---- */

/* One number or range, "*" the highest: what our client and imaplib ask for. */
static bool read_range(const char *set, uint64_t highest, uint64_t *first, uint64_t *last)
{
	char *end;

	*first = *set == '*' ? highest : strtoull(set, NULL, 10);
	end = strchr(set, ':');
	*last = !end ? *first : end[1] == '*' ? highest : strtoull(end + 1, NULL, 10);
	return !strchr(set, ',') && strspn(set, "0123456789*:") == strlen(set) && *first;
}

/* A message that cannot be read on the server for the time being. */
static bool holds_refused(const struct session *session, uint64_t first, uint64_t last)
{
	const struct service *service = session->service;
	uint64_t uid = service->refuse_uid;

	return uid && session->folder == 0 && uid >= min_u64(first, last) &&
	       uid <= max_u64(first, last) &&
	       (!service->refuse_while || access(service->refuse_while, F_OK) == 0);
}

/* A user who got more than its rate allows is told to come back when it has paid for that. */
static bool is_too_fast(struct session *session)
{
	struct service *service = session->service;
	struct account_state *account = &service->accounts[session->user];
	nsec now = clock_now(), wait;

	if (!service->rate || account->spent_until <= now + NSEC_SECOND)
		return false;
	wait = account->spent_until - now;
	wait = wait > service->backoff ? wait : service->backoff;
	account->rest_until = now + wait;
	service->counts.fetches_throttled++;
	buffer_addf(&session->out,
		    "%s NO Request is throttled. Suggested Backoff Time: %lld milliseconds\r\n",
		    session->tag, (long long)(wait / NSEC_MILLISECOND));
	return true;
}

static void spend_one(struct session *session)
{
	const struct service *service = session->service;
	struct account_state *account = &service->accounts[session->user];
	nsec now = clock_now();

	if (!service->rate)
		return;
	if (account->spent_until < now)
		account->spent_until = now;
	account->spent_until += NSEC_SECOND / (nsec)service->rate;
}

static void do_fetch(struct session *session, char *rest)
{
	char set[WORD_BYTES], items[WORD_BYTES];
	struct model_folder folder;
	uint64_t first, last;

	if (!session->examined || !word(&rest, set) || !word(&rest, items)) {
		done(session, "BAD No mailbox is open, or missing arguments");
		return;
	}
	model_folder(&session->service->model, session->user, session->folder, &folder);
	if (!read_range(set, folder.next_uid - 1, &first, &last)) {
		done(session, "BAD One number or range, please");
		return;
	}
	session->service->counts.fetches++;
	if (strcasestr(items, "BODY.PEEK[]") && holds_refused(session, first, last)) {
		done(session, "NO [SERVERBUG] A message in it cannot be read");
		return;
	}
	if (strcasestr(items, "BODY.PEEK[]") && is_too_fast(session))
		return;
	session->service->counts.changes += strcasestr(items, "BODY[") != NULL; /* sets \Seen */
	session->index = model_index_from(&session->service->model, min_u64(first, last));
	session->end = min_u64(model_index_from(&session->service->model, max_u64(first, last) + 1),
			       folder.messages);
	session->at = 0;
	session->in_message = false;
	session->wants_flags = strcasestr(items, "FLAGS");
	session->wants_date = strcasestr(items, "INTERNALDATE");
	session->wants_size = strcasestr(items, "RFC822.SIZE");
	session->wants_body = strcasestr(items, "BODY.PEEK[]");
	if (session->index >= session->end) {
		done(session, "OK Nothing there");
		return;
	}
	session->message = malloc(sizeof *session->message);
	must(session->message);
}

bool session_is_busy(const struct session *session)
{
	return session->message;
}

static void begin_message(struct session *session)
{
	struct model_message *message = session->message;

	model_message(&session->service->model, session->user, session->folder, session->index,
		      message);
	session->in_message = true;
	session->at = 0;
	buffer_addf(&session->out, "* %llu FETCH (UID %u", (unsigned long long)session->index + 1,
		    message->uid);
	if (session->wants_flags)
		buffer_addf(&session->out, " FLAGS (%s)", message->flags);
	if (session->wants_date)
		buffer_addf(&session->out, " INTERNALDATE \"%s\"", message->date);
	if (session->wants_size)
		buffer_addf(&session->out, " RFC822.SIZE %llu", (unsigned long long)message->bytes);
	if (session->wants_body)
		buffer_addf(&session->out, " BODY[] {%llu}\r\n",
			    (unsigned long long)message->bytes);
	else
		session->at = message->bytes;
}

/* Up to n bytes of the body. The user who is cut off gets half of one literal, once. */
static void say_body(struct session *session, uint64_t n)
{
	struct service *service = session->service;
	struct account_state *account = &service->accounts[session->user];
	bool cut = !account->was_cut && model_fault_of(&service->model, session->user) == MODEL_cut;
	uint64_t end = cut ? session->message->bytes / 2 : session->message->bytes;
	char piece[2048];

	n = min_u64(min_u64(n, sizeof piece), end - session->at);
	model_read(&service->model, session->message, session->at, piece, n);
	buffer_add(&session->out, piece, n);
	session->at += n;
	service->counts.bytes += n;
	if (cut && session->at == end) {
		account->was_cut = session->cutting = session->ending = true;
		service->counts.cuts++;
	}
}

void session_fill(struct session *session)
{
	must(session_is_busy(session));
	while (session->out.bytes < SESSION_FILL_BYTES && session->index < session->end &&
	       !session->cutting) {
		if (!session->in_message)
			begin_message(session);
		if (session->at < session->message->bytes) {
			say_body(session, SESSION_FILL_BYTES - session->out.bytes);
			continue;
		}
		say(session, ")\r\n");
		session->in_message = false;
		session->index++;
		session->service->counts.messages += session->wants_body;
		if (session->wants_body)
			spend_one(session);
	}
	if (session->index < session->end && !session->cutting)
		return;
	free(session->message);
	session->message = NULL;
	if (!session->cutting)
		done(session, "OK Fetched");
}

/* ---- lines ---- */

static void do_unknown(struct session *session, const char *verb, const char *rest)
{
	static const char *const changing[] = {
		"SELECT", "STORE",  "APPEND", "EXPUNGE", "CREATE",
		"DELETE", "RENAME", "COPY",   "MOVE",	 "SUBSCRIBE"
	};
	struct service_counts *counts = &session->service->counts;

	for (unsigned i = 0; i < ARRAY_COUNT(changing); i++)
		counts->changes += strcasecmp(verb, changing[i]) == 0 ||
				   (strcasecmp(verb, "UID") == 0 && strcasestr(rest, changing[i]));
	counts->unknown++;
	snprintf(counts->unknown_line, sizeof counts->unknown_line, "%.20s%.50s", verb, rest);
	done(session, "BAD Unknown command");
}

static bool do_anytime(struct session *session, const char *verb, char *rest)
{
	if (strcasecmp(verb, "CAPABILITY") == 0) {
		buffer_addf(&session->out, "* CAPABILITY %s\r\n", session->service->capabilities);
		done(session, "OK Capability completed");
	} else if (strcasecmp(verb, "NOOP") == 0) {
		done(session, "OK Noop completed");
	} else if (strcasecmp(verb, "LOGOUT") == 0) {
		say(session, "* BYE Logging out\r\n");
		done(session, "OK Logged out");
		session->ending = true;
	} else if (strcasecmp(verb, "ID") == 0) {
		say(session, "* ID (\"name\" \"Model\" \"version\" \"1\")\r\n");
		done(session, "OK ID completed");
	} else if (!session->logged_in && strcasecmp(verb, "AUTHENTICATE") == 0) {
		do_authenticate(session, rest);
	} else if (!session->logged_in && strcasecmp(verb, "LOGIN") == 0) {
		do_login(session, rest);
	} else if (!session->logged_in) {
		done(session, "BAD Log in first");
	} else {
		return false;
	}
	return true;
}

static void do_logged_in(struct session *session, const char *verb, char *rest)
{
	if (strcasecmp(verb, "NAMESPACE") == 0) {
		say(session, "* NAMESPACE ((\"\" \"/\")) NIL NIL\r\n");
		done(session, "OK Namespace completed");
	} else if (strcasecmp(verb, "LIST") == 0) {
		do_list(session, rest, "LIST");
	} else if (strcasecmp(verb, "LSUB") == 0) {
		do_list(session, rest, "LSUB");
	} else if (strcasecmp(verb, "STATUS") == 0) {
		do_status(session, rest);
	} else if (strcasecmp(verb, "EXAMINE") == 0) {
		do_examine(session, rest);
	} else if (strcasecmp(verb, "UNSELECT") == 0 || strcasecmp(verb, "CLOSE") == 0) {
		session->examined = false; /* CLOSE expunges nothing after EXAMINE */
		done(session, "OK Closed");
	} else if (strcasecmp(verb, "UID") == 0 && strncasecmp(rest, " FETCH ", 7) == 0) {
		do_fetch(session, rest + 7);
	} else {
		do_unknown(session, verb, rest);
	}
}

void session_line(struct session *session, char *line)
{
	char verb[WORD_BYTES];

	must(!session_is_busy(session) && !session->ending);
	if (session->wants_response) {
		session->wants_response = false;
		log_in_plain(session, line);
		return;
	}
	snprintf(session->tag, sizeof session->tag, "*");
	if (!word(&line, verb) || strlen(verb) >= sizeof session->tag) {
		done(session, "BAD Tag?");
		return;
	}
	bytes_copy(session->tag, verb, strlen(verb) + 1, BYTES_META);
	(void)word(&line, verb);
	if (!do_anytime(session, verb, line))
		do_logged_in(session, verb, line);
}

void session_greet(struct session *session, struct service *service, bool has_room)
{
	session->service = service;
	if (has_room) {
		say(session, "* OK Model ready\r\n");
	} else {
		service->counts.over_limit++;
		say_bye(session);
	}
}

void session_end(struct session *session)
{
	if (session->logged_in)
		session->service->accounts[session->user].now--;
	free(session->message);
	session->message = NULL;
	buffer_free(&session->out);
}
