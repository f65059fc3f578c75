/* By what mail is known again that two servers got: the vectors of docs/FORMAT.md section 10. */
#include "tests/test.h"

#include "engine/bytes.h"
#include "transport/fingerprint.h"

static void print_of(const void *bytes, size_t n, size_t piece, char hex[2 * DIGEST_BYTES + 1],
		     uint8_t key[FINGERPRINT_KEY_BYTES])
{
	struct digest digest;
	struct tap *tap;

	CHECK_OK(fingerprint_open(&tap));
	tap->type->update(tap, "From: left behind\r\n\r\n", 21);
	tap->type->begin(tap);
	for (size_t at = 0; at < n; at += piece)
		tap->type->update(tap, (const char *)bytes + at, min_u64(piece, n - at));
	tap->type->end(tap, &digest);
	CHECK_EQ(fingerprint_key(tap, key), !fingerprint_is_none(&digest));
	bytes_to_hex(hex, digest.bytes, sizeof digest.bytes);
	if (fingerprint_is_none(&digest))
		hex[0] = '\0';
	tap->type->close(&tap);
	CHECK(!tap);
}

/* The same in whatever pieces. */
static const char *print(const void *bytes, size_t n)
{
	static char whole[2 * DIGEST_BYTES + 1];
	char cut[2 * DIGEST_BYTES + 1];
	uint8_t key[FINGERPRINT_KEY_BYTES] = { 0 }, key_of_cut[FINGERPRINT_KEY_BYTES] = { 0 };

	print_of(bytes, n, n + 1, whole, key);
	for (size_t piece = 1; piece <= n && piece < 80; piece += 3) {
		print_of(bytes, n, piece, cut, key_of_cut);
		CHECK_TEXT(cut, whole);
		CHECK(memcmp(key, key_of_cut, sizeof key) == 0);
	}
	return whole;
}
#define PRINT(literal) print(literal, sizeof(literal) - 1)

static const char one[] = "c49ac889e8f355c19ca7a0a1306767940d8311499f198b9b34c3fe8397de4161";

TEST(trace_headers_and_folding_do_not_count)
{
	CHECK_TEXT(PRINT("Message-ID: <1@a.example>\r\n"
			 "Date: Mon, 2 Nov 2026 10:00:00 +0100\r\n"
			 "From: Alice <alice@a.example>\r\n"
			 "\r\n"
			 "Hello,Bob.\r\n"),
		   one);
	CHECK_TEXT(PRINT("Received: from here\r\n"
			 "\tby there; Mon, 2 Nov 2026 10:00:01 +0100\r\n"
			 "X-Spam: no\r\n"
			 "FROM:Alice\r\n <alice@a.example>\r\n"
			 "date:  Mon,  2 Nov 2026 10:00:00 +0100\r\n"
			 "message-id:\r\n\t<1@a.example>\r\n"
			 "Authentication-Results: there; none\r\n"
			 "\r\n"
			 "Hello,Bob.\r\n"),
		   one);
}

TEST(line_ends_do_not_count)
{
	CHECK_TEXT(PRINT("Message-ID: <1@a.example>\n"
			 "Date: Mon, 2 Nov 2026 10:00:00 +0100\n"
			 "From: Alice <alice@a.example>\n"
			 "\n"
			 "Hello,\rBob.\n\n"),
		   one);
	CHECK_TEXT(PRINT("Message-ID: <1@a.example>\r\n"
			 "Date: Mon, 2 Nov 2026 10:00:00 +0100\r\n"
			 "From: Alice <alice@a.example>\r\n"
			 "\r\n"
			 "Hello, Bob.\r\n\r\nHow are you?\r\n"),
		   "35554b0c8c29fae08f2fa6b3784cfff28d9c056a959286d46e84e23877681e35");
}

TEST(fields_may_be_missing_and_the_first_counts)
{
	CHECK_TEXT(PRINT("Message-ID: <2@a.example>\r\nMessage-ID: <9@a.example>\r\n\r\n"),
		   "6a817d386db9d086e579d153826b85362b28bdbe9de815fe9f09fcaea2f3d7be");
	CHECK_TEXT(PRINT("Message-ID: <2@a.example>\r\n"),
		   "6a817d386db9d086e579d153826b85362b28bdbe9de815fe9f09fcaea2f3d7be");
	CHECK_TEXT(PRINT("Message-ID: <3@a.example>\r\nFrom: b\xc3\xbc@a.example\r\n\r\na\0b\r\n"),
		   "139dde5ea75d8b29c8e422b5f8e6520fd85909edefb6e5707ab1d10dfd7e6e80");
}

TEST(what_differs_in_what_counts_has_another)
{
	CHECK(strcmp(PRINT("Message-ID: <1@a.example>\r\n"
			   "Date: Mon, 2 Nov 2026 10:00:01 +0100\r\n"
			   "From: Alice <alice@a.example>\r\n\r\nHello,Bob.\r\n"),
		     one) != 0);
	CHECK(strcmp(PRINT("Message-ID: <1@a.example>\r\n"
			   "Date: Mon, 2 Nov 2026 10:00:00 +0100\r\n"
			   "From: Alice <alice@a.example>\r\n\r\nHello, Bob.\r\n"),
		     one) != 0);
	CHECK(strcmp(PRINT("Message-ID: <1@A.example>\r\n"
			   "Date: Mon, 2 Nov 2026 10:00:00 +0100\r\n"
			   "From: Alice <alice@a.example>\r\n\r\nHello,Bob.\r\n"),
		     one) != 0);
}

TEST(without_a_message_id_there_is_none)
{
	struct buffer mail = { 0 };

	CHECK_TEXT(PRINT(""), "");
	CHECK_TEXT(PRINT("\r\nMessage-ID: <1@a.example>\r\n"), "");
	CHECK_TEXT(PRINT("Message-ID: \r\nMessage-ID: <1@a.example>\r\n\r\n"), "");
	CHECK_TEXT(PRINT("X-Message-ID: <1@a.example>\r\nMessage-IDs: <1@a.example>\r\n\r\n"), "");
	buffer_add_text(&mail, "Message-ID: <1@a.example>\r\nFrom: ");
	for (unsigned i = 0; i <= FINGERPRINT_FIELD_BYTES_MAX; i++)
		buffer_add_text(&mail, "x ");
	CHECK_TEXT(print(mail.at, mail.bytes), "");
	buffer_free(&mail);
}
