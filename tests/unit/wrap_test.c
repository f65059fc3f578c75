/* Messages that are wrapped, and taken out again; wrappers that lie. docs/FORMAT.md section 9. */
#include <stdio.h>
#include <stdlib.h>

#include "crypto/base64.h"
#include "crypto/digest.h"
#include "tests/test.h"
#include "transport/unwrap.h"
#include "transport/wrap.h"

static struct digest digest_by(const char *function, const void *from, size_t n)
{
	struct digest digest = { { 0 } };

	CHECK_OK(digest_of(digest_type(text_of(function)), from, n, &digest));
	return digest;
}

/* The caller frees. */
static struct buffer wrapped_by(const char *function, const void *original, size_t n)
{
	struct digest digest = digest_by(function, original, n);
	struct buffer all = { 0 };
	char *coded = malloc(WRAP_PIECE_CHARACTERS + 1);
	struct wrap wrap;

	CHECK(coded != NULL);
	CHECK_OK(wrap_open(&wrap, (struct text){ original, min_u64(n, WRAP_HEADER_BYTES_MAX) }, n,
			   &digest, function));
	buffer_add(&all, wrap.head.at, wrap.head.bytes);
	for (size_t at = 0; at < n; at += WRAP_PIECE_BYTES)
		buffer_add(&all, coded,
			   wrap_encode(coded, (const uint8_t *)original + at,
				       min_u64(n - at, WRAP_PIECE_BYTES)));
	buffer_add(&all, wrap.tail.at, wrap.tail.bytes);
	CHECK(!all.failed);
	CHECK_EQ(all.bytes, wrap.size_bytes);
	wrap_close(&wrap);
	free(coded);
	return all;
}

static void take(void *context, const void *from, size_t n)
{
	buffer_add(context, from, n);
}

static enum unwrap_state unwrap(const void *from, size_t n, size_t piece, struct buffer *inside,
				const char **fault)
{
	struct unwrap *unwrap = malloc(sizeof *unwrap);
	enum unwrap_state state;

	CHECK(unwrap != NULL);
	buffer_reset(inside);
	unwrap_begin(unwrap, take, inside);
	for (size_t at = 0; at < n; at += piece)
		unwrap_feed(unwrap, (const char *)from + at, min_u64(piece, n - at));
	state = unwrap_end(unwrap);
	*fault = unwrap->fault;
	free(unwrap);
	return state;
}

static struct digest tapped(const char *function, const void *from, size_t n, size_t piece)
{
	struct digest digest = { { 0 } };
	struct tap *tap;

	CHECK_OK(unwrap_tap_open(digest_type(text_of(function)), &tap));
	tap->type->begin(tap);
	for (size_t at = 0; at < n; at += piece)
		tap->type->update(tap, (const char *)from + at, min_u64(piece, n - at));
	tap->type->end(tap, &digest);
	tap->type->close(&tap);
	CHECK(tap == NULL);
	return digest;
}

static bool same(struct digest a, struct digest b)
{
	return memcmp(&a, &b, sizeof a) == 0;
}

/* Any server takes it: 7 bits, no NUL, CRLF and nothing else, lines as short as they can be. */
static void check_clean(struct buffer all, size_t line_max)
{
	size_t line = 0;

	CHECK(all.bytes > 2 && memcmp(all.at + all.bytes - 2, "\r\n", 2) == 0);
	for (size_t i = 0; i < all.bytes; i++) {
		char c = all.at[i];

		CHECK(c == '\r' || c == '\n' || (c >= ' ' && c <= '~'));
		CHECK((c == '\r') == (i + 1 < all.bytes && all.at[i + 1] == '\n'));
		CHECK((c == '\n') == (i > 0 && all.at[i - 1] == '\r'));
		line = c == '\n' ? 0 : line + (c != '\r');
		CHECK(line <= line_max);
	}
}

/* There and back, in pieces of several sizes. */
static struct buffer check_round(const void *original, size_t n, size_t line_max)
{
	struct buffer all = wrapped_by("blake3", original, n), inside = { 0 };
	struct digest digest = digest_by("blake3", original, n);
	const char *fault;

	check_clean(all, line_max);
	for (size_t piece = n > 1000000 ? 20000000 : 1; piece <= all.bytes; piece = piece * 3 + 1) {
		CHECK_EQ(unwrap(all.at, all.bytes, piece, &inside, &fault), UNWRAP_BEHIND);
		CHECK(inside.bytes == n && (n == 0 || memcmp(inside.at, original, n) == 0));
		CHECK(same(tapped("blake3", all.at, all.bytes, piece), digest));
	}
	buffer_free(&inside);
	return all;
}

#define ROUND(literal) check_round(literal, sizeof(literal) - 1, 76)

static void check_holds(const struct buffer *all, const char *part)
{
	if (!memmem(all->at, all->bytes, part, strlen(part)))
		test_failed(__FILE__, __LINE__, "\"%s\" is not in \"%.600s\"", part, all->at);
}

/* ---- what it looks like ---- */

TEST(the_vector_of_the_specification)
{
	static const char original[] = "From: Ada <ada@example.org>\r\n"
				       "Date: Tue, 1 Mar 2022 08:00:00 +0100\r\n"
				       "Subject: Gr\xc3\xbc\xc3\x9f"
				       "e\r\n"
				       "Message-ID: <1@example.org>\r\n"
				       "\r\n"
				       "NUL \0 and LF\n";
	static const char expected[] =
		"From: Ada <ada@example.org>\r\n"
		"Date: Tue, 1 Mar 2022 08:00:00 +0100\r\n"
		"Subject: =?utf-8?B?R3LDvMOfZQ==?=\r\n"
		"Message-ID: <1@example.org>\r\n"
		"MIME-Version: 1.0\r\n"
		"X-Mailhaul-Wrapped: 1; size=129; function=blake3;\r\n"
		" digest=5b3d780310c35c85e7af5aef54e3927466917fe4e6afe809d16b5073642e6e81\r\n"
		"Content-Type: multipart/mixed;\r\n"
		" boundary=\"mailhaul-5b3d780310c35c85e7af5aef54e39274\"\r\n"
		"\r\n"
		"--mailhaul-5b3d780310c35c85e7af5aef54e39274\r\n"
		"Content-Type: text/plain; charset=us-ascii\r\n"
		"\r\n"
		"The mail server does not take this message as it is, or would have altered\r\n"
		"it. The attachment original.eml is the original, byte for byte: save it with\r\n"
		"a mail program, or save all of this message and give it to\r\n"
		"\"mailhaul unwrap FILE\", which checks it, too.\r\n"
		"--mailhaul-5b3d780310c35c85e7af5aef54e39274\r\n"
		"Content-Type: application/octet-stream; name=\"original.eml\"\r\n"
		"Content-Disposition: attachment; filename=\"original.eml\"\r\n"
		"Content-Transfer-Encoding: base64\r\n"
		"\r\n"
		"RnJvbTogQWRhIDxhZGFAZXhhbXBsZS5vcmc+DQpEYXRlOiBUdWUsIDEgTWFyIDIwMjIgMDg6MDA6\r\n"
		"MDAgKzAxMDANClN1YmplY3Q6IEdyw7zDn2UNCk1lc3NhZ2UtSUQ6IDwxQGV4YW1wbGUub3JnPg0K\r\n"
		"DQpOVUwgACBhbmQgTEYK\r\n"
		"\r\n"
		"--mailhaul-5b3d780310c35c85e7af5aef54e39274--\r\n";
	struct buffer all = ROUND(original);

	if (all.bytes != sizeof expected - 1 || memcmp(all.at, expected, all.bytes) != 0)
		test_failed(__FILE__, __LINE__, "it is:\n%s", all.at);
	buffer_free(&all);
}

TEST(what_no_server_takes_comes_back)
{
	static const char *const words[] = { "\"unknown sender\" <unknown@invalid>",
					     "Date: Thu, 1 Jan 1970 00:00:00 +0000\r\n" };
	struct buffer all = ROUND("");

	check_holds(&all, words[0]);
	check_holds(&all, words[1]);
	check_holds(&all, "size=0;");
	buffer_free(&all);
	all = ROUND("Subject: bare\nTo: b@example.org\nFrom: a@example.org\n\nLF\n");
	check_holds(&all, "From: a@example.org\r\nTo: b@example.org\r\nDate: ");
	check_holds(&all, "Subject: bare\r\n");
	buffer_free(&all);
	all = ROUND("Subject: bare CR\rand\r\r\nmore\r\r\n\r\n\r");
	check_holds(&all, "Subject: bare CR and\r\n");
	buffer_free(&all);
	all = ROUND("Subject: N\0U\0L\r\n\r\n\0\0\0");
	check_holds(&all, "Subject: N U L\r\n");
	buffer_free(&all);
	all = ROUND("no header at all");
	buffer_free(&all);
	all = ROUND("\r\nno header");
	buffer_free(&all);
}

TEST(fields_are_copied_in_a_form_that_is_clean)
{
	struct buffer all = ROUND("from:  J\xfcrgen \t <j@example.org>\r\n"
				  "FROM: second@example.org\r\n"
				  "To: \xe6\x97\xa5\xe6\x9c\xac <t@example.org>,\r\n"
				  "\t\"Doe, John\" <d@example.org>\r\n"
				  "Subject: Gr\xfc\xdf"
				  "e\r\n"
				  "Message-Id: <a\xff@b>\r\n"
				  "Date:\r\n"
				  "\r\n"
				  "To: body@example.org\r\n");

	check_holds(&all, "From: J?rgen <j@example.org>\r\n");
	check_holds(&all, "To: ?? <t@example.org>, \"Doe, John\" <d@example.org>\r\n");
	check_holds(&all, "Subject: =?iso-8859-1?B?R3L832U=?=\r\n");
	check_holds(&all, "Message-ID: <a?@b>\r\n");
	check_holds(&all, "Date: Thu, 1 Jan 1970 00:00:00 +0000\r\n");
	CHECK(!memmem(all.at, all.bytes, "second@", 7));
	buffer_free(&all);
}

/* A character is never cut in two, and every line is short. */
TEST(long_fields_are_folded)
{
	struct buffer mail = { 0 }, all;

	buffer_add_text(&mail, "Subject:");
	for (int i = 0; i < 300; i++)
		buffer_add_text(&mail, " \xe6\x97\xa5\xe6\x9c\xac");
	buffer_add_text(&mail, "\r\nTo: a@example.org");
	for (int i = 0; i < 500; i++)
		buffer_addf(&mail, ", receiver %d <r%d@example.org>", i, i);
	buffer_add_text(&mail, "\r\n\r\n");
	all = check_round(mail.at, mail.bytes, 76);
	check_holds(&all, "<r499@example.org>\r\n");
	check_holds(&all, "Subject: =?utf-8?B?5pel5pysIOaXpeacrCDml6XmnKwg5pel5pysIOaXpQ==?=\r\n");
	buffer_free(&all);
	buffer_free(&mail);
}

/* What cannot be folded is as long as it is, or not there. */
TEST(words_without_end)
{
	struct buffer mail = { 0 }, all;

	buffer_addf(&mail, "Message-ID: <%0500d@x>\r\nTo: %01000d@x\r\nSubject: %01000d\r\n\r\n", 1,
		    2, 3);
	all = check_round(mail.at, mail.bytes, 998);
	check_holds(&all, "000001@x>\r\n");
	CHECK(!memmem(all.at, all.bytes, "\nTo:", 4));
	check_holds(&all, "Subject: =?utf-8?B?MDAwMDAw");
	buffer_free(&all);
	buffer_free(&mail);
}

TEST(a_header_without_end)
{
	struct buffer mail = { 0 }, all;

	buffer_add_text(&mail, "Subject: seen\r\n");
	while (mail.bytes < 2 * WRAP_HEADER_BYTES_MAX)
		buffer_addf(&mail, "X-Much: %0100zu\r\n", mail.bytes);
	buffer_add_text(&mail, "From: late@example.org\r\n\r\n\0");
	all = check_round(mail.at, mail.bytes, 76);
	check_holds(&all, "Subject: seen\r\n");
	check_holds(&all, "From: \"unknown sender\"");
	buffer_free(&all);
	buffer_reset(&mail);
	buffer_add_text(&mail, "Subject: cut");
	while (mail.bytes < 2 * WRAP_HEADER_BYTES_MAX)
		buffer_add_text(&mail, "\r\n folded");
	all = check_round(mail.at, mail.bytes, 76);
	CHECK(!memmem(all.at, all.bytes, "Subject: cut", 12));
	buffer_free(&all);
	buffer_free(&mail);
}

TEST(a_large_message)
{
	enum { BYTES = 20 * 1000 * 1000 + 1 };
	uint8_t *mail = malloc(BYTES);
	uint32_t dice = 1;
	struct buffer all;

	CHECK(mail != NULL);
	for (size_t i = 0; i < BYTES; i++)
		mail[i] = (uint8_t)((dice = dice * 1664525 + 1013904223) >> 24);
	all = check_round(mail, BYTES, 76);
	buffer_free(&all);
	free(mail);
}

TEST(the_same_original_has_the_same_wrapper)
{
	struct buffer one = wrapped_by("blake3", "Subject: x\n\n\0", 13),
		      other = wrapped_by("blake3", "Subject: x\n\n\0", 13);

	CHECK(one.bytes == other.bytes && memcmp(one.at, other.at, one.bytes) == 0);
	buffer_free(&one);
	buffer_free(&other);
}

/* ---- what is inside ---- */

/* One layer at a time. */
TEST(a_wrapper_in_a_wrapper)
{
	struct buffer one = wrapped_by("blake3", "\0", 1), two, inside = { 0 };
	const char *fault;

	two = check_round(one.at, one.bytes, 76);
	CHECK_EQ(unwrap(two.at, two.bytes, 100, &inside, &fault), UNWRAP_BEHIND);
	CHECK(inside.bytes == one.bytes && memcmp(inside.at, one.at, one.bytes) == 0);
	buffer_free(&one);
	buffer_free(&two);
	buffer_free(&inside);
}

/* Saved with other line ends, or with fields before it. */
TEST(a_wrapper_that_was_saved_elsewhere)
{
	static const char original[] = "Subject: \xfc\n\n\0 twenty thousand leagues under the sea, "
				       "and more than a line of it";
	struct buffer all = wrapped_by("blake3", original, sizeof original - 1), saved = { 0 },
		      inside = { 0 };
	const char *fault;

	buffer_add_text(&saved, "Return-Path: <x@example.org>\nReceived: from here\n\tto there\n");
	for (size_t i = 0; i < all.bytes; i++)
		if (all.at[i] != '\r')
			buffer_add(&saved, all.at + i, 1);
	buffer_add_text(&saved, "\n\n");
	CHECK_EQ(unwrap(saved.at, saved.bytes, 7, &inside, &fault), UNWRAP_BEHIND);
	CHECK(inside.bytes == sizeof original - 1 &&
	      memcmp(inside.at, original, inside.bytes) == 0);
	buffer_free(&all);
	buffer_free(&saved);
	buffer_free(&inside);
}

TEST(the_tap_digests_with_its_own_function)
{
	struct buffer all = wrapped_by("sha-256", "\0x", 2), plain = { 0 };

	CHECK(same(tapped("blake3", all.at, all.bytes, 10), digest_by("blake3", "\0x", 2)));
	CHECK(same(tapped("sha-256", all.at, all.bytes, 10), digest_by("sha-256", "\0x", 2)));
	CHECK(unwrap_is_inside(&(struct digest){ { 0, 1 } }));
	buffer_add_text(&plain, "Subject: x\r\n\r\nX-Mailhaul-Wrapped: 1;\r\n");
	CHECK(!unwrap_is_inside(
		&(struct digest[]){ tapped("blake3", plain.at, plain.bytes, 10) }[0]));
	buffer_free(&all);
	buffer_free(&plain);
}

/* ---- what lies ---- */

/* The wrapper with one thing put in the place of another. */
static void check_fault(const char *was, const char *is, enum unwrap_state state, const char *what)
{
	static const char original[] =
		"Subject: lies\r\n\r\n\0 a body that is longer than one line "
		"of base64, so that there are two";
	struct buffer all = wrapped_by("blake3", original, sizeof original - 1), lie = { 0 },
		      inside = { 0 };
	const char *at = memmem(all.at, all.bytes, was, strlen(was)), *fault;
	size_t before = at ? (size_t)(at - all.at) : 0;

	CHECK(at != NULL);
	buffer_add(&lie, all.at, before);
	buffer_add_text(&lie, is);
	buffer_add(&lie, at + strlen(was), all.bytes - before - strlen(was));
	for (size_t piece = 1; piece < 2 * lie.bytes; piece = 4 * piece + 1) {
		CHECK_EQ(unwrap(lie.at, lie.bytes, piece, &inside, &fault), state);
		CHECK((fault != NULL) == (what != NULL));
		if (fault && what)
			CHECK_TEXT(fault, what);
		CHECK(!unwrap_is_inside(
			&(struct digest[]){ tapped("blake3", lie.at, lie.bytes, piece) }[0]));
	}
	buffer_free(&all);
	buffer_free(&lie);
	buffer_free(&inside);
}

TEST(wrappers_that_lie)
{
	static const char unknown[] =
		"its field X-Mailhaul-Wrapped says nothing that this version understands";

	check_fault("X-Mailhaul-Wrapped:", "X-Other:", UNWRAP_NOT_WRAPPED, NULL);
	check_fault("X-Mailhaul-Wrapped: 1", "X-Mailhaul-Wrapped: 2", UNWRAP_BROKEN, unknown);
	check_fault(" digest=", " digest=0", UNWRAP_BROKEN, unknown);
	check_fault(" digest=", " other=", UNWRAP_BROKEN, unknown);
	check_fault("size=", "size=-", UNWRAP_BROKEN, unknown);
	check_fault("size=", "size=9999999999999999999", UNWRAP_BROKEN, unknown);
	check_fault("function=blake3", "function=blake3blake3blake3blake3", UNWRAP_BROKEN, unknown);
	check_fault("MIME-", "X-Mailhaul-Wrapped: 1\r\nMIME-", UNWRAP_BROKEN,
		    "it has two fields X-Mailhaul-Wrapped");
	check_fault("size=", "size=1", UNWRAP_BROKEN, "there is less inside than it says");
	check_fault("size=", "size=1; was=", UNWRAP_BROKEN, "there is more inside than it says");
	check_fault("U3ViamVjd", "U3Viam", UNWRAP_BROKEN, "its base64 is damaged");
	check_fault("U3ViamVjd", "U3V=amVjd", UNWRAP_BROKEN, "its base64 is damaged");
	check_fault("U3ViamVjd", "U3V-amVjd", UNWRAP_BROKEN, "its base64 is damaged");
	check_fault("--\r\n", "\r\n", UNWRAP_BROKEN, "it ends too early");
	check_fault("\r\n\r\n--", "\r\n", UNWRAP_BROKEN, "it ends too early");
}

/* Every byte of the original's base64 counts; the digest tells. */
TEST(another_original_inside)
{
	struct buffer all = wrapped_by("blake3", "Subject: x\r\n\r\n\0\0\0", 17);
	char *at = memmem(all.at, all.bytes, "U3Vi", 4);

	CHECK(at != NULL);
	*at = 'V';
	CHECK(!unwrap_is_inside(&(struct digest[]){ tapped("blake3", all.at, all.bytes, 10) }[0]));
	CHECK(unwrap_is_inside(&(struct digest[]){ tapped("sha-256", all.at, all.bytes, 10) }[0]));
	buffer_free(&all);
}

TEST(cut_anywhere_it_is_no_wrapper)
{
	struct buffer all = wrapped_by("blake3", "Subject: x\r\n\r\n\0\0\0", 17), inside = { 0 };
	const char *fault;

	for (size_t n = 0; n + 2 < all.bytes; n++)
		CHECK(unwrap(all.at, n, n + 1, &inside, &fault) != UNWRAP_BEHIND);
	buffer_free(&all);
	buffer_free(&inside);
}

/* ---- base64 ---- */

TEST(base64_is_strict)
{
	uint8_t to[12];
	char text[9];
	size_t n;

	base64_encode(text, "Man", 3);
	CHECK_TEXT(text, "TWFu");
	base64_encode(text, "Ma", 2);
	CHECK_TEXT(text, "TWE=");
	CHECK(base64_decode(to, "TWE=", 4, &n) && n == 2 && memcmp(to, "Ma", 2) == 0);
	CHECK(base64_decode(to, "", 0, &n) && n == 0);
	CHECK(!base64_decode(to, "TWF=", 4, &n)); /* bits that stand for nothing */
	CHECK(!base64_decode(to, "TW=E", 4, &n));
	CHECK(!base64_decode(to, "T===", 4, &n));
	CHECK(!base64_decode(to, "====", 4, &n));
	CHECK(!base64_decode(to, "TWE=TWE=", 8, &n));
	CHECK(!base64_decode(to, "TW u", 4, &n));
	CHECK(!base64_decode(to, "TW\nu", 4, &n));
	CHECK(!base64_decode(to, "TW_u", 4, &n));
}
