/* Dates of all zones, names, and the look of sealed mail. */
#include "tests/test.h"

#include <stdlib.h>

#include "engine/mail.h"

/* ---- dates ---- */

static void check_date(const char *imap, int64_t seconds, int zone_minutes, const char *rfc3339)
{
	struct mail_date date = { 0 }, back = { 0 };
	char text[40];

	if (!mail_date_parse(text_of(imap), &date)) {
		test_failed(__FILE__, __LINE__, "\"%s\" does not parse", imap);
		return;
	}
	CHECK(date.known);
	CHECK_EQ(date.seconds, seconds);
	CHECK_EQ(date.zone_minutes, zone_minutes);
	CHECK_TEXT(mail_date_rfc3339(text, &date), rfc3339);
	CHECK(mail_date_from_rfc3339(text_of(text), &back));
	CHECK(back.known && back.seconds == seconds && back.zone_minutes == zone_minutes);
}

TEST(imap_dates_keep_their_instant_and_their_zone)
{
	check_date("17-Jul-1996 02:44:25 -0700", 837596665, -420, "1996-07-17T02:44:25-07:00");
	check_date(" 1-Mar-2014 08:00:00 +0100", 1393657200, 60, "2014-03-01T08:00:00+01:00");
	check_date("1-Mar-2014 08:00:00 +0100", 1393657200, 60, "2014-03-01T08:00:00+01:00");
	check_date("01-Jan-1970 00:00:00 +0000", 0, 0, "1970-01-01T00:00:00+00:00");
	check_date("31-Dec-1969 23:59:59 +0000", -1, 0, "1969-12-31T23:59:59+00:00");
	check_date("01-jan-1970 05:45:00 +0545", 0, 345, "1970-01-01T05:45:00+05:45");
	check_date("29-Feb-2000 12:00:00 +0000", 951825600, 0, "2000-02-29T12:00:00+00:00");
	check_date("29-Feb-2024 23:59:59 -1200", 1709294399, -720, "2024-02-29T23:59:59-12:00");
	check_date("19-Jan-2038 03:14:08 +0000", 2147483648, 0, "2038-01-19T03:14:08+00:00");
	check_date("01-Jan-0001 00:00:00 +1400", -62135647200, 840, "0001-01-01T00:00:00+14:00");
	check_date("31-Dec-9999 23:59:59 -1200", 253402343999, -720, "9999-12-31T23:59:59-12:00");
	check_date("01-Mar-1900 00:00:00 +0000", -2203891200, 0, "1900-03-01T00:00:00+00:00");
}

TEST(what_is_no_imap_date_is_refused)
{
	static const char *const bad[] = {
		"",
		"17-Jul-1996 02:44:25",
		"17-Jul-1996 02:44:25 PST",
		"17-Jul-1996 02:44:25 -700",
		"17-Jul-1996 02:44:25 -0700 ",
		"17-Jul-1996 02:44:25 -0760",
		"17-Jul-1996 02:44:25 +2400",
		"17-Jul-1996 24:00:00 +0000",
		"17-Jul-1996 02:60:25 +0000",
		"17-Jul-1996 02:44:61 +0000",
		"17-Jux-1996 02:44:25 +0000",
		"32-Jul-1996 02:44:25 +0000",
		"0-Jul-1996 02:44:25 +0000",
		"31-Apr-1996 02:44:25 +0000",
		"29-Feb-1900 02:44:25 +0000",
		"29-Feb-2023 02:44:25 +0000",
		"17-Jul-96 02:44:25 +0000",
		"17-Jul-0000 02:44:25 +0000",
		"17-Jul-19960 02:44:25 +0000",
		"  1-Jul-1996 02:44:25 +0000",
		"17 Jul 1996 02:44:25 +0000",
	};
	struct mail_date date;

	for (unsigned i = 0; i < ARRAY_COUNT(bad); i++)
		if (mail_date_parse(text_of(bad[i]), &date))
			test_failed(__FILE__, __LINE__, "\"%s\" is taken for a date", bad[i]);
}

/* Every prefix of a valid date is none, and reading one stays inside it (the sanitizers watch). */
TEST(a_date_cut_anywhere_is_refused)
{
	const char whole[] = "17-Jul-1996 02:44:25 -0700", written[] = "1996-07-17T02:44:25-07:00";
	struct mail_date date;

	for (size_t i = 0; i < sizeof whole - 1; i++)
		CHECK(!mail_date_parse((struct text){ whole, i }, &date));
	for (size_t i = 0; i < sizeof written - 1; i++)
		CHECK(!mail_date_from_rfc3339((struct text){ written, i }, &date));
}

/* 400 years are the calendar's whole period; the next day must follow each day, and each must come
 * back as itself. Counted by hand here, not with the formula under test. */
TEST(every_day_of_four_centuries_follows_the_one_before_and_comes_back)
{
	static const int days[12] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
	int64_t expected = (int64_t)-370 * 365 - 90; /* 1600-01-01: 370 years with 90 leap days */
	struct mail_date date;
	char text[48], back[40];

	for (int year = 1600; year < 2000; year++)
		for (int month = 1; month <= 12; month++) {
			int leap = month == 2 && year % 4 == 0 && (year % 100 != 0 || year == 1600);

			for (int day = 1; day <= days[month - 1] + leap; day++, expected++) {
				snprintf(text, sizeof text, "%04d-%02d-%02dT00:00:00+00:00", year,
					 month, day);
				REQUIRE(mail_date_from_rfc3339(text_of(text), &date));
				REQUIRE(date.seconds == expected * 86400);
				REQUIRE(strcmp(mail_date_rfc3339(back, &date), text) == 0);
			}
		}
	CHECK_EQ(expected, 10957); /* 2000-01-01 */
}

TEST(every_zone_goes_both_ways)
{
	struct mail_date date = { .seconds = 1393657201, .known = true }, back;
	char text[40];

	for (int zone = -23 * 60 - 59; zone <= 23 * 60 + 59; zone++) {
		date.zone_minutes = zone;
		CHECK(mail_date_from_rfc3339(text_of(mail_date_rfc3339(text, &date)), &back));
		CHECK(back.seconds == date.seconds && back.zone_minutes == zone);
	}
}

TEST(rfc3339_is_read_in_all_its_forms_and_nothing_else)
{
	static const char *const same[] = {
		"2014-03-01T07:00:00Z",	     "2014-03-01t07:00:00z",
		"2014-03-01T07:00:00.5Z",    "2014-03-01T07:00:00.123456789+00:00",
		"2014-03-01T08:00:00+01:00", "2014-02-28T23:30:00-07:30"
	};
	static const char *const bad[] = { "",
					   "2014-03-01",
					   "2014-03-01T07:00:00",
					   "2014-03-01T07:00Z",
					   "2014-03-01 07:00:00Z",
					   "2014-3-01T07:00:00Z",
					   "2014-02-29T07:00:00Z",
					   "2014-13-01T07:00:00Z",
					   "2014-00-01T07:00:00Z",
					   "2014-03-00T07:00:00Z",
					   "0000-03-01T07:00:00Z",
					   "2014-03-01T07:00:00.Z",
					   "2014-03-01T07:00:00+0100",
					   "2014-03-01T07:00:00Zx" };
	struct mail_date date;

	for (unsigned i = 0; i < ARRAY_COUNT(same); i++) {
		CHECK(mail_date_from_rfc3339(text_of(same[i]), &date));
		CHECK_EQ(date.seconds, 1393657200);
	}
	for (unsigned i = 0; i < ARRAY_COUNT(bad); i++)
		if (mail_date_from_rfc3339(text_of(bad[i]), &date))
			test_failed(__FILE__, __LINE__, "\"%s\" is taken for a date", bad[i]);
}

TEST(a_date_that_is_not_known_or_beyond_all_years_is_written_as_nothing)
{
	char text[40];

	CHECK_TEXT(mail_date_rfc3339(text, &(struct mail_date){ 0 }), "");
	CHECK_TEXT(mail_date_rfc3339(text, &(struct mail_date){ INT64_MAX, 60, true }), "");
	CHECK_TEXT(mail_date_rfc3339(text, &(struct mail_date){ INT64_MIN, 0, true }), "");
	CHECK_TEXT(mail_date_rfc3339(text, &(struct mail_date){ 0, 24 * 60, true }), "");
	CHECK_TEXT(mail_date_rfc3339(text, &(struct mail_date){ 253402300800, 0, true }), "");
}

static void check_imap(int64_t seconds, int zone_minutes, const char *imap)
{
	struct mail_date date = { seconds, zone_minutes, true }, back = { 0 };
	char text[40];

	CHECK_TEXT(mail_date_imap(text, &date), imap);
	CHECK(mail_date_parse(text_of(text), &back));
	CHECK(back.known && back.seconds == seconds && back.zone_minutes == zone_minutes);
}

TEST(a_date_written_for_imap_is_read_as_the_same)
{
	check_imap(0, 0, " 1-Jan-1970 00:00:00 +0000");
	check_imap(0, 345, " 1-Jan-1970 05:45:00 +0545");
	check_imap(0, -570, "31-Dec-1969 14:30:00 -0930");
	check_imap(0, 840, " 1-Jan-1970 14:00:00 +1400");
	check_imap(-1, 0, "31-Dec-1969 23:59:59 +0000");
	check_imap(-86401, -1, "30-Dec-1969 23:58:59 -0001");
	check_imap(2208988800, 0, " 1-Jan-2040 00:00:00 +0000");
	check_imap(2208988799, -840, "31-Dec-2039 09:59:59 -1400");
	check_imap(1393657200, 60, " 1-Mar-2014 08:00:00 +0100");
	check_imap(837596665, -420, "17-Jul-1996 02:44:25 -0700");
	check_imap(951825600, 0, "29-Feb-2000 12:00:00 +0000");
	check_imap(-62135647200, 840, " 1-Jan-0001 00:00:00 +1400");
	check_imap(253402300799, 0, "31-Dec-9999 23:59:59 +0000");
}

TEST(every_day_of_a_year_is_written_for_imap_in_every_zone_that_is_in_use)
{
	struct mail_date date = { .known = true }, back;
	char text[40];

	for (int zone = -14 * 60; zone <= 14 * 60; zone += 15)
		for (int day = 0; day < 366; day++) {
			date.seconds = 1704067200 + (int64_t)day * 86400 + zone;
			date.zone_minutes = zone;
			REQUIRE(strlen(mail_date_imap(text, &date)) == 26);
			REQUIRE(mail_date_parse(text_of(text), &back));
			REQUIRE(back.seconds == date.seconds && back.zone_minutes == zone);
		}
}

TEST(a_zone_that_servers_refuse_is_said_as_the_same_instant_without_it)
{
	static const int32_t zones[] = { 841, -841, 1439, INT32_MAX, INT32_MIN };
	struct mail_date read;
	char text[40];

	for (size_t i = 0; i < ARRAY_COUNT(zones); i++) {
		struct mail_date date = { 1393657200, zones[i], true };

		CHECK_TEXT(mail_date_imap(text, &date), " 1-Mar-2014 07:00:00 +0000");
	}
	REQUIRE(mail_date_parse(text_of("01-Mar-2014 08:00:00 +1530"), &read));
	CHECK_TEXT(mail_date_imap(text, &read), "28-Feb-2014 16:30:00 +0000");
}

TEST(a_date_that_imap_cannot_say_is_written_as_nothing)
{
	char text[40];

	CHECK_TEXT(mail_date_imap(text, &(struct mail_date){ 0 }), "");
	CHECK_TEXT(mail_date_imap(text, &(struct mail_date){ INT64_MAX, 60, true }), "");
	CHECK_TEXT(mail_date_imap(text, &(struct mail_date){ INT64_MIN, -60, true }), "");
	CHECK_TEXT(mail_date_imap(text, &(struct mail_date){ 253402300800, 0, true }), "");
	CHECK_TEXT(mail_date_imap(text, &(struct mail_date){ 253402300799, 1, true }), "");
	CHECK_TEXT(mail_date_imap(text, &(struct mail_date){ -62135596801, 0, true }), "");
}

/* ---- names ---- */

TEST(uses_have_names_that_lead_back)
{
	enum box_use use;

	for (unsigned i = BOX_USE_NONE; i <= BOX_USE_IMPORTANT; i++)
		CHECK(box_use_from_name(text_of(box_use_name((enum box_use)i)), &use) && use == i);
	CHECK_TEXT(box_use_name(BOX_USE_SENT), "sent");
	CHECK_TEXT(box_use_name(BOX_USE_NONE), "");
	CHECK(!box_use_from_name(text_of("Sent"), &use));
	for (unsigned i = 0; i < MAIL_KIND_COUNT; i++)
		CHECK(strlen(mail_kind_name((enum mail_kind)i)) > 0);
}

/* ---- sealed mail ---- */

static void check_sniff(int line, enum mail_kind expected, const char *head)
{
	enum mail_kind got = mail_sniff((const uint8_t *)head, strlen(head));

	if (got != expected)
		test_failed(__FILE__, line, "%s, not %s: %s", mail_kind_name(got),
			    mail_kind_name(expected), head);
}
#define SNIFF(expected, head) check_sniff(__LINE__, expected, head)

TEST(signed_and_encrypted_mail_is_known_by_its_content_type)
{
	SNIFF(MAIL_SMIME_SIGNED, "Subject: x\r\nContent-Type: multipart/signed; micalg=sha-256;\r\n"
				 "\tprotocol=\"application/pkcs7-signature\"; boundary=b\r\n\r\n");
	SNIFF(MAIL_SMIME_SIGNED,
	      "Content-Type: multipart/signed;protocol=application/x-pkcs7-signature\n\n");
	SNIFF(MAIL_PGP_SIGNED,
	      "content-type:MULTIPART/Signed; PROTOCOL=\"Application/PGP-Signature\"\r\n\r\n");
	SNIFF(MAIL_PGP_ENCRYPTED,
	      "Content-Type: multipart/encrypted;\r\n"
	      " protocol=\"application/pgp-encrypted\";\r\n boundary=x\r\n\r\n");
	SNIFF(MAIL_SMIME_ENCRYPTED,
	      "Content-Type: application/pkcs7-mime; smime-type=enveloped-data;\r\n"
	      " name=smime.p7m\r\n\r\n");
	SNIFF(MAIL_SMIME_ENCRYPTED,
	      "Content-Type: application/x-pkcs7-mime; name=\"smime.p7m\"\r\n\r\n");
	SNIFF(MAIL_SMIME_ENCRYPTED,
	      "Content-Type: application/pkcs7-mime; smime-type=authEnveloped-data\r\n\r\n");
	SNIFF(MAIL_SMIME_SIGNED,
	      "Content-Type: application/pkcs7-mime; smime-type=signed-data\r\n\r\n");
	SNIFF(MAIL_SMIME_SIGNED, "Content-Type: application/pkcs7-mime;\r\n name=\"a;b\";"
				 " smime-type=\"Signed-Data\"\r\n\r\n");
	SNIFF(MAIL_PLAIN,
	      "Content-Type: application/pkcs7-mime; smime-type=compressed-data\r\n\r\n");
}

TEST(other_mail_is_plain)
{
	SNIFF(MAIL_PLAIN, "");
	SNIFF(MAIL_PLAIN, "\r\n");
	SNIFF(MAIL_PLAIN, "no colon at all");
	SNIFF(MAIL_PLAIN, "Content-Type");
	SNIFF(MAIL_PLAIN, "Content-Type:");
	SNIFF(MAIL_PLAIN, "Content-Type: ;;;==\"\r\n\r\n");
	SNIFF(MAIL_PLAIN, "Content-Type: text/plain\r\n\r\n");
	SNIFF(MAIL_PLAIN, "Content-Type: multipart/signed; boundary=x\r\n\r\n");
	SNIFF(MAIL_PLAIN,
	      "Content-Type: multipart/mixed; protocol=\"application/pgp-signature\"\r\n\r\n");
	SNIFF(MAIL_PLAIN,
	      "Content-Type: multipart/encrypted; protocol=\"application/pgp-signature\"\r\n\r\n");
	SNIFF(MAIL_PLAIN,
	      "X-Content-Type: multipart/signed; protocol=\"application/pgp-signature\"\r\n\r\n");
}

TEST(only_the_top_header_and_its_first_content_type_count)
{
	SNIFF(MAIL_PLAIN, "Subject: x\r\n\r\nContent-Type: multipart/signed;"
			  " protocol=\"application/pgp-signature\"\r\n\r\n");
	SNIFF(MAIL_PLAIN, "Subject: x\r\n Content-Type: multipart/signed;"
			  " protocol=\"application/pgp-signature\"\r\n\r\n");
	SNIFF(MAIL_PLAIN, "Content-Type: text/plain\r\nContent-Type: multipart/signed;"
			  " protocol=\"application/pgp-signature\"\r\n\r\n");
	SNIFF(MAIL_PGP_SIGNED,
	      "From here\r\nContent-Type : multipart/signed (see RFC 3156 (section 5));"
	      " (odd) protocol (is) = \"application/pgp-signature\"\r\n\r\n");
}

TEST(a_header_cut_anywhere_is_read_within_its_bounds)
{
	const char head[] =
		"Subject: x\r\nContent-Type: multipart/signed (c\\)c); micalg=\"a\\\"\";\r\n"
		"\tprotocol=\"application/pkcs7-signature\"; boundary=b\r\n\r\n";
	unsigned kinds[MAIL_KIND_COUNT] = { 0 };

	for (size_t i = 0; i <= sizeof head - 1; i++) {
		char *exact = strndup(head, i); /* its end is where the sanitizer watches */

		must(exact);
		kinds[mail_sniff((const uint8_t *)exact, i)]++;
		free(exact);
	}
	CHECK(kinds[MAIL_SMIME_SIGNED] > 0 && kinds[MAIL_PLAIN] > 0);
	CHECK_EQ(kinds[MAIL_SMIME_SIGNED] + kinds[MAIL_PLAIN], sizeof head);
}

/* ---- flags as a number, and back ---- */

static struct mail_meta flagged(uint32_t flags, const char *keywords, uint16_t dropped)
{
	struct mail_meta meta = { .flags = flags,
				  .keywords_bytes = (uint16_t)strlen(keywords),
				  .keywords_dropped = dropped };

	must(strlen(keywords) <= sizeof meta.keywords);
	for (size_t i = 0; keywords[i]; i++)
		meta.keywords[i] = keywords[i];
	return meta;
}

/* Whether the flags of before are found by their mark. */
static bool is_found(const char *was_keywords, const char *now_keywords, const char *there_keywords)
{
	static struct mail_meta now, there, others, was, found;

	now = flagged(MAIL_SEEN, now_keywords, 0);
	there = flagged(MAIL_DRAFT, there_keywords, 0);
	others = flagged(0, "O1 O2 O3 O4 O5 O6 O7 O8 O9", 0);
	for (uint32_t flags = 0; flags < 2 * MAIL_DRAFT; flags++) {
		was = flagged(flags, was_keywords, 0);
		if (!mail_meta_of_mark(mail_mark(&was), &now, &there, &others, &found))
			return false;
		CHECK_EQ(found.flags, flags);
		CHECK(mail_mark(&found) == mail_mark(&was));
	}
	return true;
}

TEST(flags_of_before_are_found_where_somebody_has_the_keywords)
{
	CHECK(is_found("", "", ""));
	CHECK(is_found("$a", "$a", ""));
	CHECK(is_found("", "$a $b", ""));
	CHECK(is_found("$a $b", "$b", "$a"));
	CHECK(is_found("$a $B", "$b $c", "$A $d"));
	CHECK(is_found("j i h", "a b c d e", "f g h i j"));
	CHECK(is_found("a b c d e f g h i j k l", "a b c d e f g h i j k l m n", "x"));
	CHECK(is_found("o1", "", ""));
	CHECK(is_found("o1 a", "a o2", ""));
	CHECK(!is_found("o1 o2 o3", "", ""));
	CHECK(!is_found("$a", "", ""));
	CHECK(!is_found("$a $b", "$b", "$c"));
	CHECK(!is_found("a b c d e f g h i", "a b c d e f g h i j k l", "x"));
}

TEST(flags_of_before_are_not_found_where_nothing_is_known)
{
	static struct mail_meta now, was, found;

	now = flagged(MAIL_SEEN, "$a", 0);
	was = flagged(0, "$a", 3);
	CHECK(!mail_meta_of_mark(0, &now, &now, &now, &found));
	CHECK(!mail_meta_of_mark(1, &now, &now, &now, &found));
	CHECK(!mail_meta_of_mark(mail_mark(&was), &now, &now, &now,
				 &found)); /* more than are told */
	now.keywords_dropped = 3;
	CHECK(mail_meta_of_mark(mail_mark(&was), &now, &now, &now, &found));
	CHECK_EQ(found.flags, 0);
	CHECK_EQ(found.keywords_dropped, 3);
}
