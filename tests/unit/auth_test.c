/* SASL messages and the choice among methods. The conversations around them: tests/wire. */
#include "tests/test.h"

#include <stdlib.h>

#include "transport/auth.h"

static struct auth_identity who(const char *user, const char *on_behalf, const char *password)
{
	return (struct auth_identity){ .user = text_of(user),
				       .on_behalf = text_of(on_behalf),
				       .password = text_of(password) };
}

static void check_message(enum auth_method method, struct auth_identity identity,
			  const char *wanted)
{
	size_t bytes = auth_message_bytes(method, &identity);
	char *to = malloc(bytes);

	CHECK_EQ(bytes, strlen(wanted) + 1);
	CHECK_OK(auth_message(method, &identity, to));
	CHECK_TEXT(to, wanted);
	free(to);
}

TEST(plain_is_as_rfc_4616_has_it)
{
	/* Section 4: C: a001 ... NUL tim NUL tanstaaftanstaaf; and Ursel for Kurt. */
	check_message(AUTH_PLAIN, who("tim", "", "tanstaaftanstaaf"),
		      "AHRpbQB0YW5zdGFhZnRhbnN0YWFm");
	check_message(AUTH_PLAIN, who("Kurt", "Ursel", "xipj3plmq"),
		      "VXJzZWwAS3VydAB4aXBqM3BsbXE=");
	check_message(AUTH_PLAIN, who("a", "", "bc"), "AGEAYmM=");
	check_message(AUTH_PLAIN, who("\xc3\xbc", "", "\xf0\x9f\x98\x80"), "AMO8APCfmIA=");
}

TEST(xoauth2_is_as_its_makers_document_it)
{
	/* developers.google.com, "SASL XOAUTH2 Mechanism". */
	check_message(
		AUTH_XOAUTH2,
		who("someuser@example.com", "", "ya29.vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg"),
		"dXNlcj1zb21ldXNlckBleGFtcGxlLmNvbQFhdXRoPUJlYXJlciB5YTI5LnZGOWRmdDRxbVRjMk52YjNSbG"
		"NrQmhk"
		"SFJoZG1semRHRXVZMjl0Q2cBAQ==");
}

TEST(oauthbearer_is_as_rfc_7628_has_it)
{
	struct auth_identity identity = who("user@example.com", "",
					    "vF9dft4qmTc2Nvb3RlckBhbHRhdml"
					    "zdGEuY29tCg==");

	identity.host = text_of("server.example.com");
	identity.port = 143;
	/* Section 4.1. */
	check_message(AUTH_OAUTHBEARER, identity,
		      "bixhPXVzZXJAZXhhbXBsZS5jb20sAWhvc3Q9c2VydmVyLmV4YW1wbGUuY29tAXBvcnQ9MTQzAWF1"
		      "dGg9QmVhcmVyIHZGOWRmdDRxbVRjMk52YjNSbGNrQmhiSFJoZG1semRHRXVZMjl0Q2c9PQEB");
	/* A name must not end the header it stands in: n,a=a=2Cb=3Dc, */
	identity = who("a,b=c", "", "t");
	identity.host = text_of("h");
	identity.port = 993;
	check_message(AUTH_OAUTHBEARER, identity,
		      "bixhPWE9MkNiPTNEYywBaG9zdD1oAXBvcnQ9OTkzAWF1dGg9QmVhcmVyIHQBAQ==");
}

TEST(the_best_method_offered_is_chosen)
{
	CHECK_EQ(auth_choose(IMAP_HAS_AUTH_PLAIN | IMAP_HAS_AUTH_XOAUTH2, false), AUTH_PLAIN);
	CHECK_EQ(auth_choose(IMAP_HAS_AUTH_PLAIN | IMAP_HAS_LOGINDISABLED, false), AUTH_PLAIN);
	CHECK_EQ(auth_choose(0, false), AUTH_LOGIN);
	CHECK_EQ(auth_choose(IMAP_HAS_LOGINDISABLED, false), AUTH_NONE);
}

TEST(a_password_never_goes_where_a_token_belongs_nor_a_token_where_a_password_does)
{
	const unsigned tokens = IMAP_HAS_AUTH_XOAUTH2 | IMAP_HAS_AUTH_OAUTHBEARER;

	CHECK_EQ(auth_choose(tokens | IMAP_HAS_LOGINDISABLED, false), AUTH_NONE);
	CHECK_EQ(auth_choose(tokens, false), AUTH_LOGIN);
	CHECK_EQ(auth_choose(IMAP_HAS_AUTH_PLAIN, true), AUTH_NONE);
	CHECK_EQ(auth_choose(0, true), AUTH_NONE);
	CHECK_EQ(auth_choose(IMAP_HAS_AUTH_PLAIN | tokens, true), AUTH_OAUTHBEARER);
	CHECK_EQ(auth_choose(IMAP_HAS_AUTH_PLAIN | IMAP_HAS_AUTH_XOAUTH2, true), AUTH_XOAUTH2);
}

static void check_challenge(const char *challenge, const char *wanted)
{
	char shown[AUTH_CHALLENGE_BYTES];

	CHECK_TEXT(auth_challenge_show(text_of(challenge), shown), wanted);
}

TEST(a_challenge_is_told_in_words_for_people)
{
	/* RFC 7628 section 4.3 and Google's. */
	check_challenge("eyJzdGF0dXMiOiJpbnZhbGlkX3Rva2VuIiwic2NvcGUiOiJleGFtcGxlX3Njb3BlIn0=",
			"invalid_token");
	check_challenge("eyJzdGF0dXMiOiI0MDEiLCJzY2hlbWVzIjoiYmVhcmVyIn0=", "401");
	check_challenge("bm90IEpTT04=", "not JSON");
	check_challenge("", "");
	check_challenge("!!", "");
	check_challenge("Ig0KIg==", "\\x22\\x0d\\x0a\\x22");
}
