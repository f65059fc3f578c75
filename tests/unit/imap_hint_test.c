/* What servers of the field say, and what we make of it. */
#include "tests/test.h"

#include "engine/fiber.h"
#include "transport/imap_hint.h"

#define MILLISECONDS(n) ((n)*NSEC_MILLISECOND)

static struct imap_hint hint_of(const char *line, enum err refused)
{
	struct imap_scan scan = imap_scan_of(text_of(line));
	struct imap_status status;

	must(imap_scan_status(&scan, &status));
	return imap_hint(&status, refused);
}

struct said {
	const char *line;
	enum err error;
	enum err_scope scope;
	nsec retry_after;
};

static void check_all(const struct said *said, unsigned count, enum err refused)
{
	for (unsigned i = 0; i < count; i++) {
		struct imap_hint hint = hint_of(said[i].line, refused);

		if (hint.error != said[i].error || hint.scope != said[i].scope ||
		    hint.retry_after != said[i].retry_after)
			test_failed(__FILE__, __LINE__, "\"%s\": %s, scope %d, %lld ns",
				    said[i].line, hint.error ? err_name(hint.error) : "OK",
				    (int)hint.scope, (long long)hint.retry_after);
	}
}

TEST(response_codes_of_a_refused_login)
{
	static const struct said said[] = {
		{ "NO [UNAVAILABLE] later", ERR_IMAP_UNAVAILABLE, ERR_OF_ACCOUNT, 0 },
		{ "NO [unavailable] later", ERR_IMAP_UNAVAILABLE, ERR_OF_ACCOUNT, 0 },
		{ "NO [INUSE] locked", ERR_IMAP_UNAVAILABLE, ERR_OF_ACCOUNT, 0 },
		{ "NO [SERVERBUG] oops", ERR_IMAP_UNAVAILABLE, ERR_OF_ACCOUNT, 0 },
		{ "NO [CONTACTADMIN] oops", ERR_IMAP_UNAVAILABLE, ERR_OF_ACCOUNT, 0 },
		{ "NO [LIMIT] enough", ERR_IMAP_THROTTLED, ERR_OF_ACCOUNT, 0 },
		{ "NO [THROTTLED] slow", ERR_IMAP_THROTTLED, ERR_OF_ACCOUNT, 0 },
		{ "NO [OVERQUOTA] enough", ERR_IMAP_THROTTLED, ERR_OF_ACCOUNT, 0 },
		{ "NO [AUTHENTICATIONFAILED] wrong", ERR_IMAP_LOGIN, ERR_OF_MAILBOX, 0 },
		{ "NO [AUTHORIZATIONFAILED] no proxy", ERR_IMAP_LOGIN, ERR_OF_MAILBOX, 0 },
		{ "NO [EXPIRED] old", ERR_IMAP_LOGIN, ERR_OF_MAILBOX, 0 },
		{ "NO [PRIVACYREQUIRED] TLS", ERR_IMAP_LOGIN, ERR_OF_MAILBOX, 0 },
		{ "NO [NOPERM] no", ERR_IMAP_LOGIN, ERR_OF_MAILBOX, 0 },
		{ "NO [NONEXISTENT] who", ERR_IMAP_LOGIN, ERR_OF_MAILBOX, 0 },
		{ "NO [ALERT] go away", ERR_IMAP_LOGIN, ERR_OF_MAILBOX, 0 },
		{ "NO LOGIN failed.", ERR_IMAP_LOGIN, ERR_OF_MAILBOX, 0 },
		{ "NO", ERR_IMAP_LOGIN, ERR_OF_MAILBOX, 0 },
		{ "BAD what", ERR_IMAP_BAD, ERR_OF_MAILBOX, 0 },
		{ "BYE so long", ERR_IMAP_BYE, ERR_OF_ACCOUNT, 0 },
		{ "BYE [UNAVAILABLE] going down", ERR_IMAP_UNAVAILABLE, ERR_OF_ACCOUNT, 0 },
		{ "OK [THROTTLED] Success", OK, ERR_OF_MAILBOX, 0 },
		{ "PREAUTH [LIMIT] in", OK, ERR_OF_MAILBOX, 0 },
	};

	check_all(said, ARRAY_COUNT(said), ERR_IMAP_LOGIN);
}

TEST(response_codes_of_a_message_that_was_to_be_stored)
{
	static const struct said said[] = {
		{ "NO [TOOBIG] no", ERR_SINK_TOOBIG, ERR_OF_MAILBOX, 0 },
		{ "NO Maximum size of appendable message has been exceeded", ERR_SINK_TOOBIG,
		  ERR_OF_MAILBOX, 0 },
		{ "NO [OVERQUOTA] Quota exceeded (mailbox for user is full)", ERR_SINK_QUOTA,
		  ERR_OF_MAILBOX, 0 },
		{ "NO [ALERT] You exceeded your mail quota.", ERR_SINK_QUOTA, ERR_OF_MAILBOX, 0 },
		{ "NO [OVERQUOTA] Account exceeded command or bandwidth limits.",
		  ERR_IMAP_THROTTLED, ERR_OF_ACCOUNT, 3600 * NSEC_SECOND },
		{ "NO [TRYCREATE] none", ERR_IMAP_BOX_GONE, ERR_OF_MAILBOX, 0 },
		{ "NO [NONEXISTENT] none", ERR_IMAP_BOX_GONE, ERR_OF_MAILBOX, 0 },
		{ "NO [LIMIT] enough", ERR_IMAP_THROTTLED, ERR_OF_ACCOUNT, 0 },
		{ "NO [THROTTLED] slow", ERR_IMAP_THROTTLED, ERR_OF_ACCOUNT, 0 },
		{ "NO [UNAVAILABLE] later", ERR_IMAP_UNAVAILABLE, ERR_OF_ACCOUNT, 0 },
		{ "NO [INUSE] locked", ERR_IMAP_UNAVAILABLE, ERR_OF_ACCOUNT, 0 },
		{ "BAD Request is throttled. Suggested Backoff Time: 2000 milliseconds",
		  ERR_IMAP_THROTTLED, ERR_OF_ACCOUNT, 2 * NSEC_SECOND },
		{ "NO [NOPERM] no", ERR_SINK_REFUSED, ERR_OF_MAILBOX, 0 },
		{ "NO [CANNOT] no", ERR_SINK_REFUSED, ERR_OF_MAILBOX, 0 },
		{ "NO [AUTHORIZATIONFAILED] no", ERR_SINK_REFUSED, ERR_OF_MAILBOX, 0 },
		{ "NO [EXPUNGEISSUED] gone", ERR_SINK_REFUSED, ERR_OF_MAILBOX, 0 },
		{ "NO [UNKNOWN-CTE] what", ERR_SINK_REFUSED, ERR_OF_MAILBOX, 0 },
		{ "NO Message contains NUL characters", ERR_SINK_REFUSED, ERR_OF_MAILBOX, 0 },
		{ "BAD what", ERR_IMAP_BAD, ERR_OF_MAILBOX, 0 },
		{ "OK [APPENDUID 1 2] done", OK, ERR_OF_MAILBOX, 0 },
	};

	check_all(said, ARRAY_COUNT(said), ERR_SINK_REFUSED);
}

TEST(what_is_said_of_storing_means_nothing_where_something_is_read)
{
	static const struct said said[] = {
		{ "NO [TOOBIG] no", ERR_IMAP_REFUSED, ERR_OF_MAILBOX, 0 },
		{ "NO [TRYCREATE] none", ERR_IMAP_REFUSED, ERR_OF_MAILBOX, 0 },
		{ "NO [ALERT] You exceeded your mail quota.", ERR_IMAP_REFUSED, ERR_OF_MAILBOX, 0 },
		{ "NO [OVERQUOTA] enough", ERR_IMAP_THROTTLED, ERR_OF_ACCOUNT, 0 },
	};

	check_all(said, ARRAY_COUNT(said), ERR_IMAP_REFUSED);
}

TEST(response_codes_of_a_refused_folder)
{
	static const struct said said[] = {
		{ "NO [NONEXISTENT] gone", ERR_IMAP_BOX_GONE, ERR_OF_MAILBOX, 0 },
		{ "NO [NOPERM] no", ERR_IMAP_REFUSED, ERR_OF_MAILBOX, 0 },
		{ "NO [INUSE] locked", ERR_IMAP_UNAVAILABLE, ERR_OF_ACCOUNT, 0 },
		{ "NO [EXPUNGEISSUED] gone", ERR_IMAP_REFUSED, ERR_OF_MAILBOX, 0 },
		{ "NO [PRIVACYREQUIRED] no", ERR_IMAP_REFUSED, ERR_OF_MAILBOX, 0 },
		{ "NO anything", ERR_IMAP_REFUSED, ERR_OF_MAILBOX, 0 },
	};

	check_all(said, ARRAY_COUNT(said), ERR_IMAP_REFUSED);
}

TEST(response_codes_of_a_refused_message)
{
	static const struct said said[] = {
		{ "NO [EXPUNGEISSUED] gone", ERR_IMAP_MSG_GONE, ERR_OF_MAILBOX, 0 },
		{ "NO [NONEXISTENT] gone", ERR_IMAP_BOX_GONE, ERR_OF_MAILBOX, 0 },
		{ "NO [AUTHORIZATIONFAILED] no", ERR_IMAP_MSG_REFUSED, ERR_OF_MAILBOX, 0 },
		{ "NO anything", ERR_IMAP_MSG_REFUSED, ERR_OF_MAILBOX, 0 },
	};

	check_all(said, ARRAY_COUNT(said), ERR_IMAP_MSG_REFUSED);
}

TEST(what_a_code_says_of_folders_does_not_end_a_session)
{
	static const struct said said[] = {
		{ "BYE [NONEXISTENT] gone", ERR_IMAP_BYE, ERR_OF_ACCOUNT, 0 },
		{ "BYE [EXPUNGEISSUED] gone", ERR_IMAP_BYE, ERR_OF_ACCOUNT, 0 },
		{ "BYE [EXPIRED] old", ERR_IMAP_LOGIN, ERR_OF_MAILBOX, 0 },
	};

	check_all(said, ARRAY_COUNT(said), ERR_IMAP_BYE);
}

TEST(texts_of_servers_in_the_field)
{
	static const struct said said[] = {
		/* Exchange Online */
		{ "BAD Request is throttled. Suggested Backoff Time: 299609 milliseconds",
		  ERR_IMAP_THROTTLED, ERR_OF_ACCOUNT, MILLISECONDS(299609) },
		{ "NO Server Busy. Suggested Backoff Time: 2000 milliseconds", ERR_IMAP_THROTTLED,
		  ERR_OF_ACCOUNT, MILLISECONDS(2000) },
		{ "BYE Request is throttled.", ERR_IMAP_THROTTLED, ERR_OF_ACCOUNT, 0 },
		{ "BAD User is authenticated but not connected.", ERR_IMAP_UNAVAILABLE,
		  ERR_OF_ACCOUNT, 0 },
		/* Gmail */
		{ "NO [ALERT] Too many simultaneous connections. (Failure)", ERR_IMAP_THROTTLED,
		  ERR_OF_ACCOUNT, 0 },
		{ "BYE [OVERQUOTA] Account exceeded command or bandwidth limits.",
		  ERR_IMAP_THROTTLED, ERR_OF_ACCOUNT, 3600 * NSEC_SECOND },
		{ "NO [ALERT] Account exceeded command or bandwidth limits. (Failure)",
		  ERR_IMAP_THROTTLED, ERR_OF_ACCOUNT, 3600 * NSEC_SECOND },
		{ "NO Temporary System Problem. Try again later. (Failure)", ERR_IMAP_UNAVAILABLE,
		  ERR_OF_ACCOUNT, 0 },
		/* Dovecot */
		{ "NO [UNAVAILABLE] Maximum number of connections from user+IP exceeded "
		  "(mail_max_userip_connections=10)",
		  ERR_IMAP_THROTTLED, ERR_OF_ACCOUNT, 0 },
		{ "BYE Maximum number of connections from user+IP exceeded "
		  "(mail_max_userip_connections=10)",
		  ERR_IMAP_THROTTLED, ERR_OF_ACCOUNT, 0 },
		{ "NO [UNAVAILABLE] Temporary authentication failure. [mx:2026-01-01 00:00:00]",
		  ERR_IMAP_UNAVAILABLE, ERR_OF_ACCOUNT, 0 },
		/* Cyrus */
		{ "NO Too many open connections (20 of 20 from mover.example)", ERR_IMAP_THROTTLED,
		  ERR_OF_HOST, 0 },
		{ "NO Too many open connections (3 of 20 from mover.example, 10 of 10 for ann)",
		  ERR_IMAP_THROTTLED, ERR_OF_ACCOUNT, 0 },
		{ "NO Too many open connections (10 of 10 for ann)", ERR_IMAP_THROTTLED,
		  ERR_OF_ACCOUNT, 0 },
		/* Yahoo, AOL */
		{ "NO [LIMIT] LOGIN Rate limit hit.", ERR_IMAP_THROTTLED, ERR_OF_ACCOUNT,
		  60 * NSEC_SECOND },
		/* others */
		{ "BYE Connection refused: too many connections from your IP", ERR_IMAP_THROTTLED,
		  ERR_OF_HOST, 0 },
		{ "NO too many connections", ERR_IMAP_THROTTLED, ERR_OF_ACCOUNT, 0 },
	};

	check_all(said, ARRAY_COUNT(said), ERR_IMAP_LOGIN);
}

TEST(a_code_that_says_more_than_later_is_not_overruled_by_its_text)
{
	static const struct said said[] = {
		{ "NO [AUTHENTICATIONFAILED] Too many simultaneous connections", ERR_IMAP_LOGIN,
		  ERR_OF_MAILBOX, 0 },
		{ "NO [EXPIRED] Server Busy", ERR_IMAP_LOGIN, ERR_OF_MAILBOX, 0 },
	};

	check_all(said, ARRAY_COUNT(said), ERR_IMAP_LOGIN);
}

TEST(a_suggested_time_that_is_no_number_is_not_taken)
{
	static const struct said said[] = {
		{ "NO Suggested Backoff Time: soon", ERR_IMAP_THROTTLED, ERR_OF_ACCOUNT, 0 },
		{ "NO Suggested Backoff Time:", ERR_IMAP_THROTTLED, ERR_OF_ACCOUNT, 0 },
		{ "NO Suggested Backoff Time: -5 milliseconds", ERR_IMAP_THROTTLED, ERR_OF_ACCOUNT,
		  0 },
		{ "NO Suggested Backoff Time: 99999999999999999999 milliseconds",
		  ERR_IMAP_THROTTLED, ERR_OF_ACCOUNT, 0 },
		{ "NO Suggested Backoff Time:   7", ERR_IMAP_THROTTLED, ERR_OF_ACCOUNT,
		  MILLISECONDS(7) },
		{ "NO Suggested Backoff Time: 4294967295 milliseconds", ERR_IMAP_THROTTLED,
		  ERR_OF_ACCOUNT, MILLISECONDS(4294967295) },
		{ "NO Too many open connections (", ERR_IMAP_THROTTLED, ERR_OF_ACCOUNT, 0 },
		{ "NO Too many open connections (20 of", ERR_IMAP_THROTTLED, ERR_OF_ACCOUNT, 0 },
	};

	check_all(said, ARRAY_COUNT(said), ERR_IMAP_REFUSED);
}

/* ---- as a note ---- */

static enum err raise_line(const char *line)
{
	struct imap_scan scan = imap_scan_of(text_of(line));
	struct imap_status status;

	must(imap_scan_status(&scan, &status));
	return imap_status_raise(&status, ERR_IMAP_LOGIN, "login");
}

TEST(scope_and_time_are_in_the_note_and_go_with_it)
{
	CHECK_ERR(raise_line("NO Server Busy. Suggested Backoff Time: 2000 milliseconds"),
		  ERR_IMAP_THROTTLED);
	CHECK_EQ(err_note()->scope, ERR_OF_ACCOUNT);
	CHECK_EQ(err_note()->retry_after, MILLISECONDS(2000));
	CHECK_TEXT(err_note()->text, "login: the server says NO \"Server Busy. Suggested Backoff "
				     "Time: 2000 milliseconds\"");
	err_note_clear();
	CHECK_EQ(err_note()->scope, ERR_OF_MAILBOX);
	CHECK_EQ(err_note()->retry_after, 0);
}

TEST(an_earlier_note_keeps_its_own_scope_and_time)
{
	CHECK_ERR(RAISE(ERR_NET_CLOSED, "the cause"), ERR_NET_CLOSED);
	CHECK_ERR(raise_line("NO [LIMIT] LOGIN Rate limit hit."), ERR_IMAP_THROTTLED);
	CHECK_EQ(err_note()->error, ERR_NET_CLOSED);
	CHECK_EQ(err_note()->scope, ERR_OF_MAILBOX);
	CHECK_EQ(err_note()->retry_after, 0);
	err_note_clear();
}

TEST(a_note_without_hint_after_one_with_it_has_none)
{
	CHECK_ERR(raise_line("BYE too many connections from your IP"), ERR_IMAP_THROTTLED);
	CHECK_EQ(err_note()->scope, ERR_OF_HOST);
	err_note_clear();
	CHECK_ERR(RAISE(ERR_NET_CLOSED, "another"), ERR_NET_CLOSED);
	CHECK_EQ(err_note()->scope, ERR_OF_MAILBOX);
	err_note_clear();
}

static enum err throttled_member(void *unused)
{
	(void)unused;
	return raise_line("NO [LIMIT] LOGIN Rate limit hit.");
}

TEST_FIBER(a_join_carries_scope_and_time_over)
{
	struct group *group = group_open();

	CHECK_OK(group_spawn(group, "member", FIBER_STACK_SMALL, throttled_member, NULL));
	CHECK_ERR(group_join(&group), ERR_IMAP_THROTTLED);
	CHECK_EQ(err_note()->scope, ERR_OF_ACCOUNT);
	CHECK_EQ(err_note()->retry_after, 60 * NSEC_SECOND);
	err_note_clear();
}
