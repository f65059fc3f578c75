/* transport/residency.c: what a policy may say, and what it allows: names that look alike,
 * addresses at the edge of a range, AWS's hosts by what their names say, keys by their ARNs. That
 * nothing is sent where it refuses is dial_test.c's. */
#include "transport/residency.h"

#include "tests/test.h"

/* Entries by kind, until NULL. */
struct rule {
	enum residency_kind kind;
	const char *text;
};

static struct residency *policy_of(const struct rule *rules)
{
	struct residency *policy;

	must(residency_open(&policy) == OK);
	for (; rules->text; rules++)
		if (residency_add(policy, rules->kind, rules->text))
			test_failed(__FILE__, __LINE__, "%s: %s", rules->text, err_note()->text);
	return policy;
}

#define POLICY(...) policy_of((const struct rule[]){ __VA_ARGS__, { RESIDENCY_HOSTS, NULL } })

static void check_said(const char *words)
{
	if (!strstr(err_note()->text, words))
		test_failed(__FILE__, __LINE__, "\"%s\" does not say \"%s\"", err_note()->text,
			    words);
	err_note_clear();
}

/* ---- what may be written ---- */

static void refuses_entry(enum residency_kind kind, const char *text, const char *words)
{
	struct residency *policy;

	REQUIRE(residency_open(&policy) == OK);
	if (!CHECK_ERR(residency_add(policy, kind, text), ERR_INPUT_USAGE))
		test_failed(__FILE__, __LINE__, "this was taken: \"%s\"", text);
	check_said(words);
	CHECK_EQ(residency_count(policy, kind), 0);
	residency_close(&policy);
}

TEST(entries_that_could_mean_something_else_are_refused)
{
	static const struct {
		enum residency_kind kind;
		const char *text, *words;
	} rows[] = {
		{ RESIDENCY_PARTITIONS, "", "partition" },
		{ RESIDENCY_PARTITIONS, "aws-eu", "partition" },
		{ RESIDENCY_REGIONS, "", "region" },
		{ RESIDENCY_REGIONS, "eu", "region" },
		{ RESIDENCY_REGIONS, "eu-*", "region" },
		{ RESIDENCY_REGIONS, "EU-CENTRAL-1", "region" },
		{ RESIDENCY_HOSTS, "", "no host name" },
		{ RESIDENCY_HOSTS, ".", "no host name" },
		{ RESIDENCY_HOSTS, "..example.eu", "no host name" },
		{ RESIDENCY_HOSTS, "a..example.eu", "no host name" },
		{ RESIDENCY_HOSTS, "https://example.eu", "no host name" },
		{ RESIDENCY_HOSTS, "example.eu:993", "no host name" },
		{ RESIDENCY_HOSTS, "example .eu", "no host name" },
		{ RESIDENCY_HOSTS, "*", "no host name" },
		{ RESIDENCY_HOSTS, "*.example.eu", ".example.eu" },
		{ RESIDENCY_HOSTS, "192.0.2.1", "residency.addresses" },
		{ RESIDENCY_HOSTS, "2001:db8::1", "residency.addresses" },
		{ RESIDENCY_HOSTS, "127.1", "residency.addresses" },
		{ RESIDENCY_HOSTS, "mail.0x7f", "residency.addresses" },
		{ RESIDENCY_ADDRESSES, "", "no range" },
		{ RESIDENCY_ADDRESSES, "mail.example.eu", "no range" },
		{ RESIDENCY_ADDRESSES, "192.0.2.0/33", "from 0 to 32" },
		{ RESIDENCY_ADDRESSES, "192.0.2.0/", "from 0 to 32" },
		{ RESIDENCY_ADDRESSES, "192.0.2.0/-1", "from 0 to 32" },
		{ RESIDENCY_ADDRESSES, "192.0.2.0/24 ", "from 0 to 32" },
		{ RESIDENCY_ADDRESSES, "192.0.2.0/255.255.255.0", "from 0 to 32" },
		{ RESIDENCY_ADDRESSES, "192.0.2.0/4294967320", "from 0 to 32" },
		{ RESIDENCY_ADDRESSES, "192.0.2.1/24", "behind its prefix" },
		{ RESIDENCY_ADDRESSES, "192.0.2.128/24", "behind its prefix" },
		{ RESIDENCY_ADDRESSES, "192.0.2.1/0", "behind its prefix" },
		{ RESIDENCY_ADDRESSES, "2001:db8::1/32", "behind its prefix" },
		{ RESIDENCY_ADDRESSES, "2001:db8::/129", "from 0 to 128" },
		{ RESIDENCY_ADDRESSES, "::ffff:192.0.2.0/120", "IPv4 in IPv6" },
		{ RESIDENCY_ADDRESSES, "fe80::1%2", "no range" },
		{ RESIDENCY_KEYS, "", "no ARN" },
		{ RESIDENCY_KEYS, "*", "no ARN" },
		{ RESIDENCY_KEYS, "alias/mail", "no ARN" },
		{ RESIDENCY_KEYS, "arn:*:kms:*:*:*", "no ARN" },
		{ RESIDENCY_KEYS, "arn:aws:s3:eu-central-1:123456789012:key/a", "no ARN" },
		{ RESIDENCY_KEYS, "arn:aws:kms:eu-central-1:123456789012:", "no ARN" },
		{ RESIDENCY_KEYS, "arn:aws:kms::123456789012:key/a", "no ARN" },
		{ RESIDENCY_KEYS, "arn:aws:kms:*-1:123456789012:key/a", "no ARN" },
		{ RESIDENCY_KEYS, "arn:aws:kms:eu-central-1:123456789012:role/a", "no ARN" },
	};

	for (size_t i = 0; i < ARRAY_COUNT(rows); i++)
		refuses_entry(rows[i].kind, rows[i].text, rows[i].words);
}

TEST(a_list_has_a_bound_and_says_so)
{
	struct residency *policy;

	REQUIRE(residency_open(&policy) == OK);
	for (unsigned i = 0; i < RESIDENCY_ENTRIES_MAX; i++)
		CHECK_OK(residency_add(policy, RESIDENCY_REGIONS, "eu-central-1"));
	CHECK_ERR(residency_add(policy, RESIDENCY_REGIONS, "eu-west-1"), ERR_INPUT_USAGE);
	check_said("more than 64");
	residency_close(&policy);
}

TEST(a_policy_can_be_shown_whatever_its_length)
{
	struct residency *policy =
		POLICY({ RESIDENCY_REGIONS, "eu-central-1" }, { RESIDENCY_HOSTS, ".Example.EU." },
		       { RESIDENCY_HOSTS, "mail.example.org" });
	char shown[RESIDENCY_TEXT_BYTES];

	CHECK_TEXT(residency_show(policy, shown),
		   "regions eu-central-1; hosts .example.eu, mail.example.org");
	for (unsigned i = 0; i < 40; i++)
		CHECK_OK(residency_add(policy, RESIDENCY_HOSTS, "a.rather.long.name.of.a.host.eu"));
	CHECK(strstr(residency_show(policy, shown), "...") != NULL);
	residency_close(&policy);
}

/* ---- names ---- */

static void judge_host(const struct residency *policy, const char *host, bool allowed)
{
	enum err e = residency_check_host(policy, host, false);

	if (e != (allowed ? OK : ERR_RESIDENCY_ENDPOINT))
		test_failed(__FILE__, __LINE__, "%s: %s %s", host, e ? err_name(e) : "allowed",
			    err_note()->text);
	err_note_clear();
}

TEST(a_name_is_allowed_as_a_whole_or_below_a_dot_and_never_by_likeness)
{
	struct residency *policy =
		POLICY({ RESIDENCY_HOSTS, ".example.eu" }, { RESIDENCY_HOSTS, "Mail.Example.ORG" });

	judge_host(policy, "mail.example.eu", true);
	judge_host(policy, "a.b.example.eu", true);
	judge_host(policy, "MAIL.EXAMPLE.EU", true);
	judge_host(policy, "mail.example.eu.", true);
	judge_host(policy, "mail.example.org", true);
	judge_host(policy, "mail.example.org.", true);
	judge_host(policy, "example.eu", false); /* not below itself */
	judge_host(policy, ".example.eu", false);
	judge_host(policy, "evil-example.eu", false);
	judge_host(policy, "evilexample.eu", false);
	judge_host(policy, "mail.example.eu.evil.com", false);
	judge_host(policy, "mail.example.eu..", false);
	judge_host(policy, "mail.example.eux", false);
	judge_host(policy, "x.mail.example.org", false);
	judge_host(policy, "example.org", false);
	judge_host(policy, "", false);
	residency_close(&policy);
}

TEST(what_is_refused_names_host_and_list)
{
	struct residency *policy = POLICY({ RESIDENCY_HOSTS, ".example.eu" });

	CHECK_ERR(residency_check_host(policy, "imap.example.com", false), ERR_RESIDENCY_ENDPOINT);
	check_said("connecting to imap.example.com: outside of residency.hosts (.example.eu)");
	CHECK_EQ(err_exit_code(ERR_RESIDENCY_ENDPOINT), 120);
	CHECK_EQ(err_exit_code(ERR_RESIDENCY_KEY), 120);
	CHECK_EQ(err_retry_class(ERR_RESIDENCY_ENDPOINT), RETRY_STOP_JOB);
	residency_close(&policy);
}

TEST(no_policy_and_an_absent_list_restrict_nothing)
{
	struct residency *policy = POLICY({ RESIDENCY_KEYS, "arn:aws:kms:*:*:*" });

	judge_host(NULL, "imap.example.com", true);
	judge_host(policy, "imap.example.com", true);
	judge_host(policy, "192.0.2.1", true);
	judge_host(policy, "s3.us-east-1.amazonaws.com", true);
	CHECK_OK(residency_check_key(NULL, "alias/mail"));
	residency_close(&policy);
}

/* ---- addresses ---- */

static bool allows_address(const struct residency *policy, const char *literal)
{
	struct resolve_list list = { .count = 1 };
	enum err e;

	must(resolve_literal(literal, 993, &list.addresses[0]));
	e = residency_check_addresses(policy, "mail.example:993", &list);
	must(e == OK || e == ERR_RESIDENCY_ENDPOINT);
	/* A literal in a URL is judged alike. */
	CHECK_EQ(residency_check_host(policy, literal, false), e);
	CHECK_EQ(residency_check_host(policy, literal, true), e);
	err_note_clear();
	return e == OK;
}

TEST(a_range_ends_at_its_last_bit)
{
	static const struct {
		const char *range, *first, *last, *before, *after;
	} rows[] = {
		{ "192.0.2.0/24", "192.0.2.0", "192.0.2.255", "192.0.1.255", "192.0.3.0" },
		{ "192.0.2.128/25", "192.0.2.128", "192.0.2.255", "192.0.2.127", "192.0.3.0" },
		{ "192.0.2.4/31", "192.0.2.4", "192.0.2.5", "192.0.2.3", "192.0.2.6" },
		{ "192.0.2.7", "192.0.2.7", "192.0.2.7", "192.0.2.6", "192.0.2.8" },
		{ "128.0.0.0/1", "128.0.0.0", "255.255.255.255", "127.255.255.255", "0.0.0.0" },
		{ "0.0.0.0/0", "0.0.0.0", "255.255.255.255", "::", "::1" },
		{ "2001:db8::/33",
		  "2001:db8::", "2001:db8:7fff:ffff::", "2001:db7:ffff::", "2001:db8:8000::" },
		{ "2001:db8::1", "2001:db8::1", "2001:db8::1", "2001:db8::", "2001:db8::2" },
		{ "::/0", "::", "ffff::", "0.0.0.0", "192.0.2.1" },
	};

	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		struct residency *policy = POLICY({ RESIDENCY_ADDRESSES, rows[i].range });

		if (!allows_address(policy, rows[i].first) ||
		    !allows_address(policy, rows[i].last) ||
		    allows_address(policy, rows[i].before) || allows_address(policy, rows[i].after))
			test_failed(__FILE__, __LINE__, "%s ends elsewhere", rows[i].range);
		residency_close(&policy);
	}
}

TEST(ipv4_in_ipv6_is_judged_as_ipv4)
{
	struct residency *policy = POLICY({ RESIDENCY_ADDRESSES, "192.0.2.0/24" });

	CHECK(allows_address(policy, "::ffff:192.0.2.9"));
	CHECK(!allows_address(policy, "::ffff:192.0.3.9"));
	CHECK(!allows_address(policy, "64:ff9b::192.0.2.9")); /* a translator's, somewhere else */
	residency_close(&policy);
	policy = POLICY({ RESIDENCY_ADDRESSES, "::/0" });
	CHECK(!allows_address(policy, "::ffff:192.0.2.9"));
	residency_close(&policy);
}

TEST(one_address_outside_refuses_the_host)
{
	struct residency *policy = POLICY({ RESIDENCY_ADDRESSES, "192.0.2.0/24" },
					  { RESIDENCY_ADDRESSES, "2001:db8::/32" });
	struct resolve_list list = { .count = 3 };

	must(resolve_literal("192.0.2.1", 993, &list.addresses[0]) &&
	     resolve_literal("2001:db8::1", 993, &list.addresses[1]) &&
	     resolve_literal("198.51.100.7", 993, &list.addresses[2]));
	CHECK_ERR(residency_check_addresses(policy, "mail.example:993", &list),
		  ERR_RESIDENCY_ENDPOINT);
	check_said("connecting to mail.example:993 at 198.51.100.7:993: outside of "
		   "residency.addresses (192.0.2.0/24, 2001:db8::/32)");
	list.count = 2;
	CHECK_OK(residency_check_addresses(policy, "mail.example:993", &list));
	residency_close(&policy);
}

TEST(an_address_in_a_url_has_no_name_that_hosts_could_allow)
{
	struct residency *policy = POLICY({ RESIDENCY_HOSTS, ".example.eu" });

	judge_host(policy, "192.0.2.1", false);
	judge_host(policy, "2001:db8::1", false);
	CHECK_OK(residency_add(policy, RESIDENCY_ADDRESSES, "192.0.2.0/24"));
	judge_host(policy, "192.0.2.1", true);
	judge_host(policy, "192.0.3.1", false);
	judge_host(policy, "3221225985", false); /* 192.0.2.1 to a resolver, no literal to us */
	residency_close(&policy);
}

TEST(behind_a_proxy_addresses_alone_allow_no_name)
{
	struct residency *policy = POLICY({ RESIDENCY_ADDRESSES, "192.0.2.0/24" });

	CHECK_OK(residency_check_host(policy, "mail.example.eu", false)); /* its addresses tell */
	CHECK_ERR(residency_check_host(policy, "mail.example.eu", true), ERR_RESIDENCY_ENDPOINT);
	check_said("allow the name in residency.hosts");
	CHECK_OK(residency_add(policy, RESIDENCY_HOSTS, ".example.eu"));
	CHECK_OK(residency_check_host(policy, "mail.example.eu", true));
	residency_close(&policy);
}

/* ---- AWS ---- */

TEST(a_host_of_aws_must_say_that_it_is_in_an_allowed_region)
{
	struct residency *policy =
		POLICY({ RESIDENCY_REGIONS, "eu-central-1" }, { RESIDENCY_REGIONS, "cn-north-1" });
	static const struct {
		const char *host;
		bool allowed;
	} rows[] = {
		{ "s3.eu-central-1.amazonaws.com", true },
		{ "bucket.s3.eu-central-1.amazonaws.com", true },
		{ "bucket.s3.dualstack.eu-central-1.amazonaws.com.", true },
		{ "KMS-FIPS.EU-CENTRAL-1.AMAZONAWS.COM", true },
		{ "kms.eu-central-1.api.aws", true },
		{ "vpce-1a.s3.eu-central-1.vpce.amazonaws.com", true },
		{ "imap.mail.eu-central-1.awsapps.com", true },
		{ "s3.cn-north-1.amazonaws.com.cn", true },
		{ "imap.example.com", true }, /* none of AWS: the other lists are for it */
		{ "notamazonaws.com", true },
		{ "s3.eu-west-1.amazonaws.com", false },
		{ "imap.mail.us-east-1.awsapps.com", false },
		/* A customer's word in front of another region, or of none. */
		{ "eu-central-1.s3.us-east-1.amazonaws.com", false },
		{ "eu-central-1.s3.amazonaws.com", false },
		{ "s3.amazonaws.com", false },
		{ "s3-eu-central-1.amazonaws.com", false },
		{ "sts.amazonaws.com", false },
		{ "amazonaws.com", false },
		{ "eu-central-1.s3.eu-west-1.vpce.amazonaws.com", false },
		/* A region under another partition's names. */
		{ "s3.cn-north-1.amazonaws.com", false },
		{ "s3.eu-central-1.amazonaws.com.cn", false },
		{ "s3.eu-central-1.amazonaws.eu", false },
	};

	for (size_t i = 0; i < ARRAY_COUNT(rows); i++)
		judge_host(policy, rows[i].host, rows[i].allowed);
	residency_close(&policy);
}

TEST(partitions_that_share_a_name_are_told_apart_by_the_region)
{
	struct residency *policy = POLICY({ RESIDENCY_PARTITIONS, "aws" });

	judge_host(policy, "s3.eu-central-1.amazonaws.com", true);
	judge_host(policy, "s3.us-gov-west-1.amazonaws.com", false);
	judge_host(policy, "s3.eusc-de-east-1.amazonaws.eu", false);
	judge_host(policy, "sts.amazonaws.com", false); /* whose it is cannot be seen */
	residency_close(&policy);
	policy = POLICY({ RESIDENCY_PARTITIONS, "aws-eusc" });
	judge_host(policy, "s3.eusc-de-east-1.amazonaws.eu", true);
	judge_host(policy, "s3.eu-central-1.amazonaws.com", false);
	residency_close(&policy);
}

TEST(every_list_must_allow_a_host)
{
	struct residency *policy = POLICY({ RESIDENCY_HOSTS, ".amazonaws.com" },
					  { RESIDENCY_REGIONS, "eu-central-1" });

	judge_host(policy, "s3.eu-central-1.amazonaws.com", true);
	judge_host(policy, "s3.eu-west-1.amazonaws.com", false);
	judge_host(policy, "imap.example.com", false);
	residency_close(&policy);
}

/* ---- keys ---- */

static bool allows_key(const struct residency *policy, const char *arn)
{
	enum err e = residency_check_key(policy, arn);

	must(e == OK || e == ERR_RESIDENCY_KEY);
	err_note_clear();
	return e == OK;
}

#define ARN(region, account, id) "arn:aws:kms:" region ":" account ":" id

TEST(a_key_is_allowed_by_its_arn_and_nothing_less)
{
	struct residency *policy =
		POLICY({ RESIDENCY_KEYS, ARN("eu-central-1", "123456789012", "key/*") },
		       { RESIDENCY_KEYS, ARN("eu-west-*", "*", "alias/mail-*") });

	CHECK(allows_key(policy, ARN("eu-central-1", "123456789012", "key/1234abcd")));
	CHECK(!allows_key(policy, ARN("eu-central-1", "123456789013", "key/1234abcd")));
	CHECK(!allows_key(policy, ARN("eu-central-2", "123456789012", "key/1234abcd")));
	CHECK(!allows_key(policy, ARN("eu-central-1", "123456789012", "alias/mail-1")));
	CHECK(allows_key(policy, ARN("eu-west-3", "210987654321", "alias/mail-2026")));
	CHECK(!allows_key(policy, ARN("eu-west-3", "210987654321", "alias/mai")));
	CHECK(!allows_key(policy, "arn:aws-cn:kms:eu-central-1:123456789012:key/1234abcd"));
	CHECK(!allows_key(policy, "arn:aws:s3:eu-central-1:123456789012:key/1234abcd"));
	CHECK(!allows_key(policy, "1234abcd")); /* which key that is depends on who asks */
	CHECK(!allows_key(policy, "alias/mail-1"));
	CHECK(!allows_key(policy, ""));
	CHECK_ERR(residency_check_key(policy, ARN("us-east-1", "123456789012", "key/a")),
		  ERR_RESIDENCY_KEY);
	check_said("using the key arn:aws:kms:us-east-1:123456789012:key/a: outside of "
		   "residency.keys");
	residency_close(&policy);
}

TEST(a_key_that_does_not_say_where_it_is_is_refused_where_that_matters)
{
	struct residency *policy = POLICY({ RESIDENCY_HOSTS, ".example.eu" });

	CHECK(allows_key(policy, "alias/mail")); /* nothing is said of keys */
	CHECK(allows_key(policy, NULL));
	CHECK_OK(residency_add(policy, RESIDENCY_REGIONS, "eu-central-1"));
	CHECK(!allows_key(policy, "alias/mail"));
	CHECK(allows_key(policy, NULL)); /* the service's own, where its host is */
	CHECK_OK(residency_add(policy, RESIDENCY_KEYS, ARN("eu-central-1", "*", "*")));
	CHECK(!allows_key(policy, NULL));
	residency_close(&policy);
}

TEST(a_key_must_be_in_an_allowed_region_and_partition_too)
{
	struct residency *policy =
		POLICY({ RESIDENCY_REGIONS, "eu-central-1" }, { RESIDENCY_PARTITIONS, "aws" });

	CHECK(allows_key(policy, ARN("eu-central-1", "123456789012", "key/a")));
	CHECK(!allows_key(policy, ARN("us-east-1", "123456789012", "key/a")));
	CHECK(!allows_key(policy, "arn:aws-us-gov:kms:eu-central-1:123456789012:key/a"));
	CHECK(!allows_key(policy, "alias/mail"));
	residency_close(&policy);
}

/* ---- the process's policy ---- */

TEST(what_is_set_guards_everybody_and_counts_what_it_refuses)
{
	struct residency *policy = POLICY({ RESIDENCY_HOSTS, ".example.eu" },
					  { RESIDENCY_KEYS, ARN("eu-central-1", "*", "*") });

	CHECK_OK(residency_guard_host("imap.example.com", false));
	CHECK_EQ(residency_refused(), 0);
	residency_set(policy);
	CHECK(residency_current() == policy);
	CHECK_ERR(residency_guard_host("imap.example.com", false), ERR_RESIDENCY_ENDPOINT);
	err_note_clear();
	CHECK_ERR(residency_guard_key(ARN("us-east-1", "123456789012", "key/a")),
		  ERR_RESIDENCY_KEY);
	err_note_clear();
	CHECK_OK(residency_guard_host("mail.example.eu", false));
	CHECK_EQ(residency_refused(), 2);
	residency_set(NULL);
	CHECK_EQ(residency_refused(), 0);
	CHECK_OK(residency_guard_host("imap.example.com", false));
	residency_close(&policy);
}
