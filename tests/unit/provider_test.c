/* Who is known by what, and what is said of hosts at which there is nothing. */
#include "tests/test.h"

#include "transport/imap.h"
#include "transport/provider.h"

static const char *found(const char *host, const char *software, unsigned capabilities)
{
	return provider_find(host, software, capabilities)->name;
}

TEST(hosts_are_known_in_any_case_of_letters)
{
	CHECK_TEXT(found("imap.mail.us-east-1.awsapps.com", NULL, 0), "Amazon WorkMail");
	CHECK_TEXT(found("IMAP.mail.EU-west-1.awsapps.com", "", 0), "Amazon WorkMail");
	CHECK_TEXT(found("imap.mail.us-west-2.awsapps.com", NULL, 0), "Amazon WorkMail");
	CHECK_TEXT(found("imap.gmail.com", NULL, 0), "Gmail");
	CHECK_TEXT(found("outlook.office365.com", NULL, 0), "Exchange Online");
	CHECK_TEXT(found("imappro.zoho.eu", NULL, 0), "Zoho Mail");
	CHECK_TEXT(found("imap.zoho.com.au", NULL, 0), "Zoho Mail");
}

TEST(hosts_that_only_look_alike_are_not)
{
	CHECK_TEXT(found("imap.mail.us-east-1.awsapps.com.example.net", NULL, 0), "unknown");
	CHECK_TEXT(found("imap.mail.us-east-9.awsapps.com", NULL, 0), "unknown");
	CHECK_TEXT(found("xmap.gmail.com", NULL, 0), "unknown");
	CHECK_TEXT(found("", NULL, 0), "unknown");
	CHECK_TEXT(found(NULL, NULL, 0), "unknown");
	CHECK(!provider_is_known(provider_find(NULL, NULL, 0)));
}

TEST(servers_are_known_by_what_they_say)
{
	CHECK_TEXT(found("mail.example", "Dovecot", 0), "Dovecot");
	CHECK_TEXT(found("mail.example", "Cyrus IMAP 3.6.1-4+deb12u3", 0), "Cyrus");
	CHECK_TEXT(found(NULL, "Courier-IMAP ready. Copyright 1998-2022", 0), "Courier");
	CHECK_TEXT(found(NULL, "mail.example Zimbra IMAP4rev1 server ready", 0), "Zimbra");
	CHECK_TEXT(found(NULL, "The Kopano IMAP Gateway", 0), "Kopano");
	CHECK_TEXT(found("10.0.0.1", NULL, IMAP_REV1 | IMAP_HAS_GMAIL), "Gmail");
	CHECK_TEXT(found("10.0.0.1", NULL, IMAP_REV1), "unknown");
}

/* A proxy in front of Gmail is still Gmail; a host that is known is not what its ID says. */
TEST(the_host_counts_before_the_software_and_that_before_capabilities)
{
	CHECK_TEXT(found("imap.gmail.com", "Dovecot", 0), "Gmail");
	CHECK_TEXT(found("mail.example", "Dovecot", IMAP_HAS_GMAIL), "Dovecot");
}

TEST(limits_are_those_the_providers_publish)
{
	const struct provider *workmail = provider_find("imap.mail.us-east-1.awsapps.com", NULL, 0);
	const struct provider *gmail = provider_find("imap.gmail.com", NULL, 0);

	CHECK_EQ(workmail->message_bytes_max, 40u * 1024 * 1024);
	CHECK_EQ(workmail->quota_bytes, UINT64_C(50) << 30);
	CHECK_EQ(workmail->impersonation, PROVIDER_NOBODY_FOR_OTHERS);
	CHECK_EQ(gmail->down_bytes_a_day, 2500000000u);
	CHECK_EQ(gmail->up_bytes_a_day, 500000000u);
	CHECK(gmail->quirks & PROVIDER_LABELS);
	CHECK(provider_find("outlook.office365.com", NULL, 0)->quirks & PROVIDER_NO_CONDSTORE);
	CHECK(provider_find(NULL, "Cyrus", 0)->quirks & PROVIDER_ALTERS_8BIT_HEADERS);
}

TEST(connections_are_cut_to_what_a_provider_allows_and_never_to_none)
{
	CHECK_EQ(provider_connections(provider_find("imap.gmail.com", NULL, 0), 40), 15);
	CHECK_EQ(provider_connections(provider_find("imap.gmail.com", NULL, 0), 3), 3);
	CHECK_EQ(provider_connections(provider_find(NULL, "Dovecot", 0), 12), 10);
	CHECK_EQ(provider_connections(provider_find(NULL, NULL, 0), 12), 12);
	for (size_t i = 0; provider_row(i); i++)
		CHECK_EQ(provider_connections(provider_row(i), 1), 1);
}

/* ---- no WorkMail there ---- */

static bool refused(const char *host, const char *says)
{
	bool ok = provider_check_host(host) == ERR_INPUT_USAGE &&
		  strstr(err_note()->text, says) != NULL;

	err_note_clear();
	return ok;
}

TEST(the_sovereign_cloud_lists_no_workmail_and_that_is_said)
{
	CHECK(refused("imap.mail.eusc-de-east-1.awsapps.com", "European Sovereign Cloud"));
	CHECK(refused("workmail.eusc-de-east-1.amazonaws.eu", "lists no WorkMail"));
	CHECK(refused("imap.EUSC-de-east-1.amazonaws.EU", "lists no WorkMail"));
	CHECK(refused("mail.eusc-de-east-1.api.amazonwebservices.eu", "lists no WorkMail"));
	/* A server of somebody's own is none of WorkMail's. */
	CHECK_OK(provider_check_host("ec2-192-0-2-1.eusc-de-east-1.compute.amazonaws.eu"));
	CHECK_OK(provider_check_host("mail-1.elb.eusc-de-east-1.amazonaws.eu"));
}

TEST(a_region_without_workmail_is_refused_with_those_that_have_it)
{
	CHECK(refused("imap.mail.eu-central-1.awsapps.com", "us-west-2 or eu-west-1"));
	CHECK(refused("ews.mail.us-east-1.awsapps.com", "IMAP hosts"));
	CHECK_OK(provider_check_host("imap.mail.us-east-1.awsapps.com"));
	CHECK_OK(provider_check_host("mail.example.eu"));
	CHECK_OK(provider_check_host(""));
}

/* ---- how long it lives ---- */

#define DAY INT64_C(86400)
/* 2027-03-31 00:00:00 UTC */
#define LAST_DAY INT64_C(1806451200)

static int days_left(int64_t wall_s)
{
	const struct provider *row = provider_find("imap.mail.us-east-1.awsapps.com", NULL, 0);
	int days;

	return provider_days_left(row, wall_s, &days) ? days : -9999;
}

TEST(days_are_counted_to_the_day)
{
	CHECK_EQ(days_left(LAST_DAY), 0);
	CHECK_EQ(days_left(LAST_DAY + DAY - 1), 0);
	CHECK_EQ(days_left(LAST_DAY - 1), 1);
	CHECK_EQ(days_left(LAST_DAY + DAY), -1);
	CHECK_EQ(days_left(1795305600), 129); /* 2026-11-22 */
	CHECK_EQ(days_left(0), 20908);
}

TEST(the_end_is_said_in_words)
{
	const struct provider *row = provider_find("imap.mail.us-east-1.awsapps.com", NULL, 0);
	char text[200];

	CHECK(provider_end_text(row, LAST_DAY - 129 * DAY, text, sizeof text));
	CHECK_TEXT(text, "Amazon WorkMail ends on 2027-03-31: 129 days are left");
	CHECK(provider_end_text(row, LAST_DAY - DAY, text, sizeof text));
	CHECK_TEXT(text, "Amazon WorkMail ends on 2027-03-31: 1 day is left");
	CHECK(provider_end_text(row, LAST_DAY, text, sizeof text));
	CHECK(strstr(text, "0 days are left"));
	CHECK(provider_end_text(row, LAST_DAY + 2 * DAY, text, sizeof text));
	CHECK(strstr(text, "ended on 2027-03-31, 2 days ago"));
	CHECK(!provider_end_text(provider_find("imap.gmail.com", NULL, 0), LAST_DAY, text,
				 sizeof text));
	CHECK_TEXT(text, "");
}

TEST(every_quirk_and_kind_of_impersonation_has_a_word)
{
	for (unsigned bit = 1; bit & PROVIDER_QUIRKS_ALL; bit <<= 1)
		CHECK(*provider_quirk_name((enum provider_quirk)bit));
	for (size_t i = 0; provider_row(i); i++) {
		CHECK(*provider_impersonation_name(provider_row(i)->impersonation));
		CHECK(*provider_row(i)->name);
	}
	CHECK(provider_row(1000) == NULL);
}
