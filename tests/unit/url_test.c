#include "tools/url.h"

#include "engine/bytes.h"
#include "tests/test.h"

static struct url url;

static void same(const char *text, const char *shown)
{
	err_note_clear();
	CHECK_OK(url_parse("SOURCE", text, "source-password-file", &url));
	CHECK_TEXT(url.shown, shown);
}

static void refused(const char *text, const char *part)
{
	err_note_clear();
	if (!CHECK_ERR(url_parse("SOURCE", text, "source-password-file", &url), ERR_INPUT_USAGE))
		test_failed(__FILE__, __LINE__, "%s was accepted", text);
	else if (!strstr(err_note()->text, part))
		test_failed(__FILE__, __LINE__, "\"%s\" does not say \"%s\"", err_note()->text,
			    part);
	err_note_clear();
}

TEST(a_mailbox_url_comes_apart)
{
	same("imaps://alice%40example.com@Mail.Example.com:1993/",
	     "imaps://alice%40example.com@mail.example.com:1993/");
	CHECK_TEXT(url.scheme, "imaps");
	CHECK_TEXT(url.user, "alice@example.com");
	CHECK_TEXT(url.host, "mail.example.com");
	CHECK_EQ(url.port, 1993);
	CHECK_TEXT(url.path, "/");
}

TEST(one_mailbox_has_one_spelling)
{
	same("imaps://alice@h", "imaps://alice@h/");
	same("IMAPS://alice@H:993/", "imaps://alice@h/");
	same("imap://alice@h:143/", "imap://alice@h/");
	same("imap://alice@h:993/", "imap://alice@h:993/");
	same("imaps://al%69ce@h/", "imaps://alice@h/");
	same("file:///var//archive/./", "file:///var/archive");
	same("file:///", "file:///");
	same("file:///a%20b/%C3%A9", "file:///a%20b/%C3%A9");
	CHECK_TEXT(url.path, "/a b/\xc3\xa9");
	same("imap://h:144/a%40b", "imap://h:144/a%40b");
	same("imap://h/a:b%40c", "imap://h/a:b%40c");
	CHECK_TEXT(url.path, "/a:b@c");
	same("file:///a%40b:c@d", "file:///a@b:c@d");
}

TEST(a_bucket_and_a_prefix_have_one_spelling_and_nothing_put_right)
{
	same("s3://bucket", "s3://bucket/");
	same("S3://my-bucket.2/a/b/", "s3://my-bucket.2/a/b");
	CHECK_TEXT(url.host, "my-bucket.2");
	CHECK_TEXT(url.path, "/a/b");
	same("s3://Old_Bucket/a", "s3://Old_Bucket/a");
	same("s3://bucket/archive/alice%40mail.example.com",
	     "s3://bucket/archive/alice%40mail.example.com");
	refused("s3://bucket/a//b", "component in its prefix");
	refused("s3://bucket//", "component in its prefix");
	refused("s3://bucket/./a", "component in its prefix");
	refused("s3://bucket/a/..", "component in its prefix");
	refused("s3://key@bucket/a", "without user and port");
	refused("s3://bucket:443/a", "without user and port");
	refused("s3:///a", "without user and port");
	refused("s3://AKIA:secret@bucket/", "password in it");
	same("s3+eml://Bucket/inbound/", "s3+eml://Bucket/inbound");
	refused("s3+eml://key@bucket/a", "without user and port");
}

TEST(no_two_prefixes_have_one_mailboxs_name)
{
	static const struct {
		const char *url, *name;
	} rows[] = {
		{ "imaps://alice@h:994/", "alice@h:994" },
		{ "s3+eml://bucket/", "bucket" },
		{ "s3+eml://bucket/a/inbound/", "a/inbound@bucket" },
		{ "s3+eml://other/a/inbound/", "a/inbound@other" },
	};
	char name[600];

	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		CHECK_OK(url_parse("SOURCE", rows[i].url, "source-password-file", &url));
		url_mailbox_name(&url, name, sizeof name);
		CHECK_TEXT(name, rows[i].name);
	}
}

TEST(an_ipv6_address_stands_in_brackets)
{
	same("imaps://bob@[2001:DB8::1]:994/", "imaps://bob@[2001:db8::1]:994/");
	CHECK_TEXT(url.host, "2001:db8::1");
	CHECK_EQ(url.port, 994);
	same("imaps://bob@[::1]", "imaps://bob@[::1]/");
	refused("imaps://bob@[::1", "closing bracket");
	refused("imaps://bob@[::1]x/", "between the IPv6 address and the port");
	refused("imaps://bob@[mail.example.com]/", "no name or address");
	refused("imaps://bob@[]/", "no name or address");
}

/* The password is refused without being repeated, however it is written. */
TEST(a_password_in_a_url_is_refused_and_never_repeated)
{
	static const char *const texts[] = {
		"imaps://alice:hunter2@mail.example.com/",
		"imaps://alice:hun/hunter2@host/",
		"imaps://alice:hunter2@h:993/",
		"imaps://alice:hunter2?x@h",
		"imaps://:hunter2@h/",
		"alice:hunter2@h",
		"imaps://alice@corp:hunter2@h/",
	};

	for (size_t i = 0; i < ARRAY_COUNT(texts); i++) {
		err_note_clear();
		CHECK_ERR(url_parse("SOURCE", texts[i], "source-password-file", &url),
			  ERR_INPUT_USAGE);
		CHECK(strstr(err_note()->text, "--source-password-file FILE"));
		CHECK(!strstr(err_note()->text, "hunter2"));
		CHECK(!strstr(err_note()->text, "hun/"));
	}
	err_note_clear();
}

TEST(what_is_no_url_is_refused_with_a_reason)
{
	refused("", "no URL");
	refused("/var/archive", "no URL");
	refused("://x", "no URL");
	refused("imaps:///", "names no host");
	refused("imaps://@h/", "user that cannot be decoded");
	refused("imaps://a%zz@h/", "user that cannot be decoded");
	refused("imaps://a%4", "host");
	refused("imaps://a%00b@h/", "user that cannot be decoded");
	refused("imaps://a%0D%0Ab@h/", "user that cannot be decoded");
	refused("imaps://a@h_\xc3\xa9/", "no name or address");
	refused("imaps://a@h h/", "no name or address");
	refused("imaps://a@h:/", "port");
	refused("imaps://a@h:0/", "port");
	refused("imaps://a@h:65536/", "port");
	refused("imaps://a@h:99999999999999/", "port");
	refused("imaps://a@h:12x/", "port");
	refused("imaps://a@h/?x=1", "'?' or '#'");
	refused("file:///a#b", "'?' or '#'");
	refused("file:///a/%2", "path that cannot be decoded");
	refused("file:///a/%00", "path that cannot be decoded");
}

TEST(a_file_url_names_no_host_and_climbs_nowhere)
{
	refused("file://var/archive", "file:///path");
	refused("file://alice@/archive", "file:///path");
	refused("file:///a/../b", "\"..\"");
	refused("file:///..", "\"..\"");
	refused("file:///a/%2e%2e/b", "\"..\"");
	same("file:///a/..b/c..", "file:///a/..b/c..");
}

TEST(a_part_longer_than_its_bound_is_refused)
{
	char text[3000];

	memset(text, 'a', sizeof text);
	bytes_copy(text, "imaps://", 8, BYTES_META);
	text[8 + URL_PART_BYTES_MAX] = '@';
	text[10 + URL_PART_BYTES_MAX] = '\0';
	CHECK_OK(url_parse("SOURCE", text, "source-password-file", &url));
	text[8 + URL_PART_BYTES_MAX] = 'a';
	text[9 + URL_PART_BYTES_MAX] = '@';
	text[10 + URL_PART_BYTES_MAX] = 'h';
	text[11 + URL_PART_BYTES_MAX] = '\0';
	refused(text, "user that cannot be decoded");
	memset(text, 'a', sizeof text);
	bytes_copy(text, "file:///", 8, BYTES_META);
	text[8 + URL_PATH_BYTES_MAX] = '\0';
	refused(text, "path that cannot be decoded");
}

TEST(a_mailbox_is_called_by_user_host_and_unusual_port)
{
	char name[2 * URL_PART_BYTES_MAX + 16];

	same("imaps://alice@mail.example.com:993/", "imaps://alice@mail.example.com/");
	url_mailbox_name(&url, name, sizeof name);
	CHECK_TEXT(name, "alice@mail.example.com");
	same("imaps://alice@[::1]:1143/", "imaps://alice@[::1]:1143/");
	url_mailbox_name(&url, name, sizeof name);
	CHECK_TEXT(name, "alice@[::1]:1143");
}

TEST(an_account_borrows_what_the_url_says)
{
	struct account account;

	same("imaps://alice@h:44/", "imaps://alice@h:44/");
	account = url_account(&url);
	CHECK_TEXT(account.scheme, "imaps");
	CHECK_TEXT(account.user, "alice");
	CHECK_TEXT(account.host, "h");
	CHECK_TEXT(account.path, "/");
	CHECK_TEXT(account.shown, url.shown);
	CHECK_EQ(account.port, 44);
	CHECK(!account.password && !account.met);
}
