/* SASL messages and the choice among methods. The conversations around them: tests/wire. */
#include "tests/test.h"

#include <stdlib.h>

#include "transport/auth.h"

static struct auth_identity who(const char *user, const char *on_behalf, const char *password)
{
	return (struct auth_identity){ text_of(user), text_of(on_behalf), text_of(password) };
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

TEST(the_best_method_offered_is_chosen)
{
	CHECK_EQ(auth_choose(IMAP_HAS_AUTH_PLAIN | IMAP_HAS_AUTH_XOAUTH2), AUTH_PLAIN);
	CHECK_EQ(auth_choose(IMAP_HAS_AUTH_PLAIN | IMAP_HAS_LOGINDISABLED), AUTH_PLAIN);
	CHECK_EQ(auth_choose(IMAP_HAS_AUTH_XOAUTH2), AUTH_XOAUTH2);
	CHECK_EQ(auth_choose(0), AUTH_LOGIN);
	CHECK_EQ(auth_choose(IMAP_HAS_LOGINDISABLED), AUTH_NONE);
	CHECK_EQ(auth_choose(IMAP_HAS_LOGINDISABLED | IMAP_HAS_AUTH_XOAUTH2), AUTH_XOAUTH2);
}
