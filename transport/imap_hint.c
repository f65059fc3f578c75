/* Two tables: response codes, and texts of servers that have no code for it. A pair more for what
 * is said of storing a message. */
#include "transport/imap_hint.h"

struct code_row {
	const char *code;
	enum err error;
};

/* RFC 5530, RFC 9051 section 7.1, and THROTTLED and OVERQUOTA as Gmail uses them on reading. NOPERM
 * and what is not here mean what NO means for the command. */
static const struct code_row codes[] = {
	{ "NONEXISTENT", ERR_IMAP_BOX_GONE },	   { "UNAVAILABLE", ERR_IMAP_UNAVAILABLE },
	{ "INUSE", ERR_IMAP_UNAVAILABLE },	   { "SERVERBUG", ERR_IMAP_UNAVAILABLE },
	{ "CONTACTADMIN", ERR_IMAP_UNAVAILABLE },  { "LIMIT", ERR_IMAP_THROTTLED },
	{ "THROTTLED", ERR_IMAP_THROTTLED },	   { "OVERQUOTA", ERR_IMAP_THROTTLED },
	{ "EXPUNGEISSUED", ERR_IMAP_MSG_GONE },	   { "AUTHENTICATIONFAILED", ERR_IMAP_LOGIN },
	{ "AUTHORIZATIONFAILED", ERR_IMAP_LOGIN }, { "EXPIRED", ERR_IMAP_LOGIN },
	{ "PRIVACYREQUIRED", ERR_IMAP_LOGIN },
};

/* Of APPEND, RFC 9051 section 6.3.12 and RFC 7889 section 4. */
static const struct code_row codes_of_storing[] = {
	{ "TOOBIG", ERR_SINK_TOOBIG },
	{ "OVERQUOTA", ERR_SINK_QUOTA },
	{ "TRYCREATE", ERR_IMAP_BOX_GONE },
	{ "NONEXISTENT", ERR_IMAP_BOX_GONE },
};

struct text_row {
	const char *part;
	struct imap_hint hint;
};

/* The first that the text holds counts, whether it comes with NO, BAD or BYE. */
static const struct text_row texts[] = {
	/* Gmail: "[OVERQUOTA] Account exceeded command or bandwidth limits." Ends after some hours,
	 * at most a day (imapsync FAQ.Gmail); asking once an hour is our own choice. */
	{ "command or bandwidth limits",
	  { ERR_IMAP_THROTTLED, ERR_OF_ACCOUNT, 3600 * NSEC_SECOND } },
	/* Yahoo and AOL: "[LIMIT] LOGIN Rate limit hit." Each attempt meanwhile counts against us;
	 * the minute is our own choice, nobody publishes theirs. */
	{ "Rate limit hit", { ERR_IMAP_THROTTLED, ERR_OF_ACCOUNT, 60 * NSEC_SECOND } },
	/* Exchange Online: "Request is throttled. Suggested Backoff Time: 299609 milliseconds"
	 * (imapsync issues 198 and 272); "Server Busy" as EWS calls the same. */
	{ "Suggested Backoff Time", { ERR_IMAP_THROTTLED, ERR_OF_ACCOUNT, 0 } },
	{ "is throttled", { ERR_IMAP_THROTTLED, ERR_OF_ACCOUNT, 0 } },
	{ "Server Busy", { ERR_IMAP_THROTTLED, ERR_OF_ACCOUNT, 0 } },
	/* The same server when it has too many sessions of one user. */
	{ "User is authenticated but not connected", { ERR_IMAP_UNAVAILABLE, ERR_OF_ACCOUNT, 0 } },
	/* Gmail: "[ALERT] Too many simultaneous connections. (Failure)", 15 of one account. */
	{ "Too many simultaneous connections", { ERR_IMAP_THROTTLED, ERR_OF_ACCOUNT, 0 } },
	/* Dovecot: login-common/sasl-server.c; "[UNAVAILABLE]" stands before it. */
	{ "Maximum number of connections from user+IP", { ERR_IMAP_THROTTLED, ERR_OF_ACCOUNT, 0 } },
	/* Cyrus: imap/imapd.c, checklimits(); host_is_full() reads whose limit it is. */
	{ "Too many open connections (", { ERR_IMAP_THROTTLED, ERR_OF_ACCOUNT, 0 } },
	{ "too many connections from", { ERR_IMAP_THROTTLED, ERR_OF_HOST, 0 } },
	{ "too many connections", { ERR_IMAP_THROTTLED, ERR_OF_ACCOUNT, 0 } },
	/* Refusals of a login that are none: Gmail, and Dovecot when its user database is down. */
	{ "Temporary System Problem", { ERR_IMAP_UNAVAILABLE, ERR_OF_ACCOUNT, 0 } },
	{ "Temporary authentication failure", { ERR_IMAP_UNAVAILABLE, ERR_OF_ACCOUNT, 0 } },
};

static const struct text_row texts_of_storing[] = {
	/* Exchange Online has no code for it. */
	{ "Maximum size of appendable message", { ERR_SINK_TOOBIG, ERR_OF_MAILBOX, 0 } },
	/* Courier: imap/imapd.c, "[ALERT] You exceeded your mail quota." */
	{ "You exceeded your mail quota", { ERR_SINK_QUOTA, ERR_OF_MAILBOX, 0 } },
	/* Cyrus 3.6, without a code: tests/real/quota_test. */
	{ "Over quota", { ERR_SINK_QUOTA, ERR_OF_MAILBOX, 0 } },
};

/* The text behind `part`, spaces skipped; false where it does not stand. */
static bool behind(struct text text, const char *part, struct imap_scan *scan)
{
	size_t bytes = strlen(part);

	for (size_t i = 0; i + bytes <= text.bytes; i++) {
		if (!imap_text_is((struct text){ text.at + i, bytes }, part))
			continue;
		*scan = imap_scan_of((struct text){ text.at + i + bytes, text.bytes - i - bytes });
		while (imap_scan_char(scan, ' '))
			continue;
		return true;
	}
	return false;
}

/* "Suggested Backoff Time: 2000 milliseconds". What is no number there is no suggestion; how much
 * of a large one to believe is engine/backoff's. */
static nsec suggested(struct text text)
{
	struct imap_scan scan;
	uint64_t milliseconds;

	if (!behind(text, "Suggested Backoff Time:", &scan) ||
	    !imap_scan_number(&scan, UINT32_MAX, &milliseconds))
		return 0;
	return (nsec)milliseconds * NSEC_MILLISECOND;
}

/* Cyrus: "Too many open connections (20 of 20 from host, 3 of 10 for user)", each part only where
 * such a limit is set. */
static bool host_is_full(struct text text)
{
	struct imap_scan scan;
	uint64_t count, limit;

	return behind(text, "Too many open connections (", &scan) &&
	       imap_scan_number(&scan, UINT32_MAX, &count) && imap_scan_char(&scan, ' ') &&
	       imap_scan_word(&scan, "of") && imap_scan_char(&scan, ' ') &&
	       imap_scan_number(&scan, UINT32_MAX, &limit) && imap_scan_char(&scan, ' ') &&
	       imap_scan_word(&scan, "from") && count >= limit;
}

static const struct text_row *find_text(const struct text_row *rows, unsigned count,
					struct text text)
{
	for (unsigned i = 0; i < count; i++)
		if (imap_text_holds(text, rows[i].part))
			return &rows[i];
	return NULL;
}

static bool hint_of_text(struct text text, enum err refused, struct imap_hint *hint)
{
	const struct text_row *row = find_text(texts, ARRAY_COUNT(texts), text);

	if (!row && refused == ERR_SINK_REFUSED)
		row = find_text(texts_of_storing, ARRAY_COUNT(texts_of_storing), text);
	if (!row)
		return false;
	*hint = row->hint;
	if (host_is_full(text))
		hint->scope = ERR_OF_HOST;
	if (suggested(text))
		hint->retry_after = suggested(text);
	return true;
}

/* Whether a code may mean this where `refused` is what a refusal means: of a folder only where one
 * was asked for, of a message only in a FETCH, and of the login not where a folder or message is
 * at hand (PRIVACYREQUIRED may be said of a folder). */
static bool is_meant(enum err said, enum err refused)
{
	bool of_message = refused == ERR_IMAP_MSG_REFUSED;
	bool of_folder = refused == ERR_IMAP_REFUSED || of_message;

	return said == ERR_IMAP_MSG_GONE ? of_message
	       : said == ERR_IMAP_BOX_GONE
		       ? of_folder
		       : said != ERR_IMAP_LOGIN || (!of_folder && refused != ERR_SINK_REFUSED);
}

static enum err find_code(const struct code_row *rows, unsigned count, struct text code)
{
	for (unsigned i = 0; i < count; i++)
		if (imap_text_is(code, rows[i].code))
			return rows[i].error;
	return OK;
}

/* Of the code; OK: it says nothing, and the refusal is one like any other. */
static enum err error_of_code(struct text code, enum err refused)
{
	enum err e = OK;

	if (refused == ERR_SINK_REFUSED)
		e = find_code(codes_of_storing, ARRAY_COUNT(codes_of_storing), code);
	if (e)
		return e;
	e = find_code(codes, ARRAY_COUNT(codes), code);
	return is_meant(e, refused) ? e : OK;
}

/* Folder and message codes concern what was asked for; everything else the account that asked. */
static struct imap_hint plain(enum err e)
{
	bool is_wide = e && err_retry_class(e) == RETRY_BACKOFF;

	return (struct imap_hint){ .error = e, .scope = is_wide ? ERR_OF_ACCOUNT : ERR_OF_MAILBOX };
}

struct imap_hint imap_hint(const struct imap_status *status, enum err refused)
{
	enum err e = error_of_code(status->code, refused);
	struct imap_hint hint;

	if (status->state == IMAP_OK || status->state == IMAP_PREAUTH)
		return plain(OK);
	/* A code that says more than "not now" is final. For the others the text knows better:
	 * Dovecot says UNAVAILABLE and Gmail ALERT for too many connections, and Gmail OVERQUOTA
	 * for too many bytes a day. */
	if (e && err_retry_class(e) != RETRY_BACKOFF && e != ERR_SINK_QUOTA)
		return plain(e);
	if (hint_of_text(status->text, refused, &hint))
		return hint;
	if (e)
		return plain(e);
	return plain(status->state == IMAP_NO	 ? refused
		     : status->state == IMAP_BAD ? ERR_IMAP_BAD
						 : ERR_IMAP_BYE);
}

enum err imap_status_raise(const struct imap_status *status, enum err refused, const char *what)
{
	static const char *const words[] = { "OK", "NO", "BAD", "BYE", "PREAUTH" };
	struct imap_hint hint = imap_hint(status, refused);
	char code[60], text[200];

	if (hint.error == OK)
		return OK;
	err_quote(code, sizeof code, status->code);
	err_quote(text, sizeof text, status->text);
	err_retry_after(hint.retry_after, hint.scope);
	return RAISE(hint.error, "%s: the server says %s%s%s%s \"%s\"", what, words[status->state],
		     code[0] ? " [" : "", code, code[0] ? "]" : "", text);
}
