/* Copies counted, integers, hexadecimal, UTF-8, growing buffers. */
#include "tests/test.h"

#include <stdlib.h>

#include "engine/bytes.h"

TEST(copies_are_counted_by_reason)
{
	uint64_t meta = bytes_copied(BYTES_META), frame = bytes_copied(BYTES_FRAME);
	char from[] = "0123456789", to[sizeof from] = "";

	bytes_copy(to, from, sizeof from, BYTES_FRAME);
	CHECK_TEXT(to, from);
	bytes_copy(NULL, NULL, 0, BYTES_FRAME);
	bytes_move(to + 1, to, 4);
	CHECK_TEXT(to, "0012356789");
	CHECK_EQ(bytes_copied(BYTES_FRAME) - frame, sizeof from);
	CHECK_EQ(bytes_copied(BYTES_META) - meta, 4);
	for (unsigned why = 0; why < BYTES_WHY_COUNT; why++)
		CHECK(strlen(bytes_why_name((enum bytes_why)why)) > 0);
}

TEST(little_endian_integers_survive_and_are_little_endian)
{
	uint8_t at[8];

	bytes_put_le32(at, 0xf1020304u);
	CHECK(at[0] == 4 && at[1] == 3 && at[2] == 2 && at[3] == 0xf1);
	CHECK_EQ(bytes_get_le32(at), 0xf1020304u);
	bytes_put_le64(at, 0xf102030405060708u);
	CHECK(at[0] == 8 && at[7] == 0xf1);
	CHECK(bytes_get_le64(at) == 0xf102030405060708u);
}

TEST(hexadecimal_goes_both_ways_and_refuses_everything_else)
{
	const uint8_t bytes[] = { 0x00, 0x9f, 0xab, 0xff };
	uint8_t back[4];
	char hex[9];

	bytes_to_hex(hex, bytes, 4);
	CHECK_TEXT(hex, "009fabff");
	CHECK(bytes_from_hex(back, 4, text_of(hex)) && memcmp(back, bytes, 4) == 0);
	CHECK(bytes_from_hex(back, 4, text_of("009FABFF")) && memcmp(back, bytes, 4) == 0);
	CHECK(!bytes_from_hex(back, 4, text_of("009fabf")));
	CHECK(!bytes_from_hex(back, 4, text_of("009fabff0")));
	CHECK(!bytes_from_hex(back, 4, text_of("009fabfg")));
	CHECK(!bytes_from_hex(back, 4, text_of("009fab f")));
	CHECK(bytes_from_hex(back, 0, text_of("")));
}

TEST(base64_is_as_its_rfc_has_it)
{
	/* RFC 4648 section 10. */
	static const char *const rows[][2] = { { "", "" },
					       { "f", "Zg==" },
					       { "fo", "Zm8=" },
					       { "foo", "Zm9v" },
					       { "foob", "Zm9vYg==" },
					       { "fooba", "Zm9vYmE=" },
					       { "foobar", "Zm9vYmFy" } };
	static const uint8_t ends[] = { 0xff, 0xff, 0xfe, 0xfb };
	char to[16];

	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		bytes_to_base64(to, (const uint8_t *)rows[i][0], strlen(rows[i][0]));
		CHECK_TEXT(to, rows[i][1]);
		CHECK_EQ(strlen(to) + 1, bytes_base64_room(strlen(rows[i][0])));
	}
	bytes_to_base64(to, ends, sizeof ends);
	CHECK_TEXT(to, "///++w==");
}

TEST(utf8_is_told_from_what_only_looks_like_it)
{
	static const struct {
		const char *bytes;
		size_t length;
	} rows[] = {
		{ "a", 1 },
		{ "\xc2\x80", 2 },
		{ "\xdf\xbf", 2 },
		{ "\xe0\xa0\x80", 3 },
		{ "\xef\xbf\xbf", 3 },
		{ "\xf0\x90\x80\x80", 4 },
		{ "\xf4\x8f\xbf\xbf", 4 },
		{ "\x80", 0 },		   /* a continuation without a start */
		{ "\xc1\xbf", 0 },	   /* overlong */
		{ "\xe0\x9f\xbf", 0 },	   /* overlong */
		{ "\xf0\x8f\xbf\xbf", 0 }, /* overlong */
		{ "\xed\xa0\x80", 0 },	   /* a surrogate */
		{ "\xf4\x90\x80\x80", 0 }, /* beyond the last */
		{ "\xf5\x80\x80\x80", 0 },
		{ "\xe2\x82", 0 }, /* cut */
		{ "\xe2(\x82", 0 },
	};

	for (unsigned i = 0; i < ARRAY_COUNT(rows); i++)
		CHECK_EQ(bytes_utf8_length(rows[i].bytes, strlen(rows[i].bytes)), rows[i].length);
	CHECK_EQ(bytes_utf8_length("", 0), 0);
}

TEST(a_buffer_grows_and_is_always_terminated)
{
	struct buffer buffer = { 0 };
	size_t expected = 0;

	for (int i = 0; i < 1000; i++) {
		buffer_addf(&buffer, "%d,", i);
		expected += i < 10 ? 2 : i < 100 ? 3 : 4;
	}
	REQUIRE(!buffer.failed && buffer.bytes == expected);
	CHECK_TEXT(buffer.at + buffer.bytes - 8, "998,999,");
	buffer_add(&buffer, "a\0b", 3);
	CHECK_EQ(buffer.bytes, expected + 3);
	buffer_reset(&buffer);
	CHECK(buffer.bytes == 0 && buffer.at[0] == '\0' && buffer.room > expected);
	buffer_add_text(&buffer, "again");
	CHECK_TEXT(buffer.at, "again");
	buffer_free(&buffer);
	CHECK(!buffer.at && buffer.bytes == 0);
	buffer_free(&buffer);
}

TEST(a_buffer_keeps_its_bound_and_remembers_that_it_failed)
{
	struct buffer buffer = { .bytes_max = 10 };

	buffer_add_text(&buffer, "0123456789");
	CHECK(!buffer.failed);
	buffer_add_text(&buffer, "x");
	CHECK(buffer.failed);
	CHECK_TEXT(buffer.at, "0123456789");
	buffer_add_text(&buffer, "");
	buffer_addf(&buffer, "%d", 1);
	CHECK(buffer.failed && buffer.bytes == 10);
	buffer_reset(&buffer);
	buffer_addf(&buffer, "%s", "0123456789A");
	CHECK(buffer.failed && buffer.bytes == 0);
	buffer_reset(&buffer);
	buffer_addf(&buffer, "%s", "012345678");
	CHECK_TEXT(buffer.at, "012345678");
	buffer_free(&buffer);
}
