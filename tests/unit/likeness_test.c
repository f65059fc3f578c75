/* What of a message stays the same when a server alters it. */
#include "tests/test.h"

#include "crypto/digest.h"
#include "transport/likeness.h"

static struct likeness look_in_pieces(const void *bytes, size_t n, size_t piece, bool normal)
{
	struct likeness_reader reader;
	struct likeness likeness = { 0 };
	struct tap *tap = NULL;

	CHECK(digest_open(digest_type(text_of("blake3")), &tap) == OK);
	likeness_begin(&reader, normal ? tap : NULL);
	for (size_t at = 0; at < n; at += piece)
		likeness_feed(&reader, (const char *)bytes + at, min_u64(piece, n - at));
	CHECK_OK(likeness_end(&reader, &likeness));
	tap->type->close(&tap);
	return likeness;
}

/* The same in whatever pieces, with and without a normal form. */
static struct likeness look(const void *bytes, size_t n)
{
	struct likeness whole = look_in_pieces(bytes, n, n + 1, true);

	for (size_t piece = 1; piece <= n + 1; piece += 3) {
		struct likeness cut = look_in_pieces(bytes, n, piece, true);
		struct likeness fast = look_in_pieces(bytes, n, piece, false);

		CHECK(memcmp(&cut.normal, &whole.normal, sizeof cut.normal) == 0);
		CHECK(memcmp(cut.id, whole.id, sizeof cut.id) == 0);
		CHECK(memcmp(fast.id, whole.id, sizeof fast.id) == 0);
		CHECK_EQ(cut.oddities, whole.oddities);
		CHECK_EQ(fast.oddities, whole.oddities);
	}
	return whole;
}

#define LOOK(literal) look(literal, sizeof(literal) - 1)

static bool same_normal(struct likeness a, struct likeness b)
{
	return memcmp(&a.normal, &b.normal, sizeof a.normal) == 0;
}

static bool same_id(struct likeness a, struct likeness b)
{
	return memcmp(a.id, b.id, sizeof a.id) == 0;
}

TEST(a_plain_message_has_no_oddity)
{
	CHECK_EQ(LOOK("Subject: x\r\n\r\nline\r\n\r\nlast\r\n").oddities, 0);
	CHECK_EQ(LOOK("Subject: x\r\n\r\n8-bit \xc3\xbc in the body\r\n").oddities, 0);
	CHECK_EQ(LOOK("\r\nno header \xfc\r\n").oddities, 0);
	CHECK_EQ(LOOK("\r\n").oddities, 0);
}

TEST(each_oddity_is_seen)
{
	CHECK_EQ(LOOK("Subject: \xfc\r\n\r\nx\r\n").oddities, LIKENESS_8BIT_HEADER);
	CHECK_EQ(LOOK("a: b\r\n\r\nx\ny\r\n").oddities, LIKENESS_LINE_END);
	CHECK_EQ(LOOK("a: b\n\nx\n").oddities, LIKENESS_LINE_END);
	CHECK_EQ(LOOK("a: b\r\n\r\nx\ry\r\n").oddities, LIKENESS_LINE_END);
	CHECK_EQ(LOOK("a: b\r\n\r\nx\r\r\n").oddities, LIKENESS_LINE_END);
	CHECK_EQ(LOOK("a: b\r\n\r\nx\r\n\r").oddities & LIKENESS_LINE_END, LIKENESS_LINE_END);
	CHECK_EQ(LOOK("a: b\r\n\r\nx").oddities, LIKENESS_NO_LAST_END);
	CHECK_EQ(LOOK("").oddities, LIKENESS_NO_LAST_END);
	CHECK_EQ(LOOK("a: b\r\n\r\nx\0y\r\n").oddities, LIKENESS_NUL);
}

/* As they were seen to store them (tests/real/rig.py, stored()). */
TEST(what_servers_make_of_a_message_has_its_normal_form)
{
	CHECK(same_normal(LOOK("S: gr\xfc\xdf\r\n\r\n\xff\r\n"), LOOK("S: grXX\r\n\r\n\xff\r\n")));
	CHECK(same_normal(LOOK("S: x\n\na\nb\n"), LOOK("S: x\r\n\r\na\r\nb\r\n")));
	CHECK(same_normal(LOOK("S: x\r\n\r\na\rb\r\n"), LOOK("S: x\r\n\r\nab\r\n")));
	CHECK(same_normal(LOOK("S: x\r\n\r\na\r\r\nb"), LOOK("S: x\r\n\r\na\r\nb\r\n")));
	CHECK(same_normal(LOOK("S: x\r\n\r\na\0b\r\n"), LOOK("S: x\r\n\r\na\x80"
							     "b\r\n")));
	CHECK(same_normal(LOOK(""), LOOK("\r\n")));
	CHECK(same_normal(LOOK("S: x"), LOOK("S: x\r\n")));
	CHECK(!same_normal(LOOK("S: x\r\n\r\n\xfc\r\n"), LOOK("S: x\r\n\r\n\xf6\r\n")));
	CHECK(!same_normal(LOOK("S: x\r\n\r\na\r\n"), LOOK("S: x\r\n\r\nb\r\n")));
}

TEST(the_message_id_is_the_field_and_nothing_else)
{
	struct likeness plain = LOOK("Message-ID: <a@b>\r\n\r\nx\r\n"), none = { .id = { 0 } };

	CHECK(!same_id(plain, none));
	CHECK(same_id(plain, LOOK("From: x\r\nmessage-id:<a@b>\r\nTo: y\r\n\r\nother\r\n")));
	CHECK(same_id(plain, LOOK("MESSAGE-ID:\r\n <a@b>\r\n\r\n")));
	CHECK(same_id(plain, LOOK("Message-Id: <a@b>\n\nx\n")));
	CHECK(same_id(plain, LOOK("Message-ID: <a@b>\r\nMessage-ID: <c@d>\r\n\r\n")));
	CHECK(!same_id(plain, LOOK("Message-ID: <a@c>\r\n\r\n")));
	CHECK(same_id(none, LOOK("X-Message-ID: <a@b>\r\n\r\nMessage-ID: <a@b>\r\n")));
	CHECK(same_id(none, LOOK("Message-ID : <a@b>\r\n\r\n")));
	CHECK(same_id(none, LOOK("Message-ID:\r\n\r\n")));
}

/* Where many bytes are judged at once it is the same as byte by byte. */
TEST(messages_of_all_shapes_are_judged_alike)
{
	static const char *const pieces[] = { "\r\n",
					      "\r\n",
					      "\r\n\r\n",
					      "Message-ID: <a@b>\r\n",
					      "m: of many words and more than a block of them\r\n",
					      "Subject: of many words and more than a block\r\n",
					      "\tfolded\r\n",
					      "x",
					      "words in a line that is longer than one block is",
					      "\r",
					      "\n",
					      "\xfc" };
	char message[1024];
	uint64_t seed = 7;

	for (unsigned round = 0; round < 400; round++) {
		size_t n = 0;

		for (unsigned count = round % 24; count > 0; count--) {
			seed = seed * 6364136223846793005 + 1442695040888963407;
			n += (size_t)snprintf(
				message + n, sizeof message - n, "%s",
				pieces[(seed >> 33) % (sizeof pieces / sizeof *pieces)]);
			if (seed >> 60 == 0)
				message[n++] = '\0';
		}
		look(message, n);
	}
}
