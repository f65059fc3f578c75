/* The three digests against published values and against the stock tools that users check with. */
#include "crypto/digest.h"

#include <stdlib.h>

#include "engine/bytes.h"
#include "tests/test.h"
#include "tests/unit/archive_help.h"

static const char *hex_of(const char *name, const void *from, size_t n)
{
	static char hex[2 * DIGEST_BYTES + 1];
	struct digest digest = { 0 };

	CHECK_OK(digest_of(digest_type(text_of(name)), from, n, &digest));
	bytes_to_hex(hex, digest.bytes, DIGEST_BYTES);
	return hex;
}

TEST(published_values_come_out)
{
	CHECK_TEXT(hex_of("blake3", "", 0),
		   "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262");
	CHECK_TEXT(hex_of("blake2b-256", "abc", 3),
		   "bddd813c634239723171ef3fee98579b94964e3bb1cb3e427262c8c068d52319");
	CHECK_TEXT(hex_of("sha-256", "abc", 3),
		   "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST(unknown_names_have_no_type)
{
	CHECK(digest_type(text_of("md5")) == NULL);
	CHECK(digest_type(text_of("")) == NULL);
	CHECK(digest_type(text_of("blake3 ")) == NULL);
	CHECK(strstr(digest_names(), "blake2b-256") != NULL);
}

/* Sizes on both sides of every border of BLAKE3's tree and of the other two's blocks. */
static const size_t sizes[] = { 0,    1,    63,	  64,	65,    127,   128,   129,
				1023, 1024, 1025, 2048, 16384, 16385, 65535, 100000 };

static void check_tool(const char *name, const char *tool)
{
	static uint8_t bytes[100000];
	char path[200], command[300], output[200];
	FILE *file;

	fill(bytes, sizeof bytes, 3);
	for (size_t i = 0; i < ARRAY_COUNT(sizes); i++) {
		snprintf(path, sizeof path, "%s/bytes", test_directory());
		REQUIRE((file = fopen(path, "wb")) != NULL);
		REQUIRE(fwrite(bytes, 1, sizes[i], file) == sizes[i]);
		fclose(file);
		snprintf(command, sizeof command, "%s < %s | cut -c1-64 | tr -d '\\n'", tool, path);
		CHECK_EQ(shell(command, output, sizeof output), 0);
		CHECK_TEXT(hex_of(name, bytes, sizes[i]), output);
	}
}

TEST(stock_tools_agree)
{
	if (!have_program("b3sum") || !have_program("b2sum") || !have_program("sha256sum"))
		SKIP("b3sum, b2sum or sha256sum is not installed");
	check_tool("blake3", "b3sum");
	check_tool("blake2b-256", "b2sum -l 256");
	check_tool("sha-256", "sha256sum");
}

static void check_pieces(const char *name)
{
	static uint8_t bytes[100000];
	struct tap *tap = NULL, *copy = NULL;
	struct digest digest = { 0 }, whole = { 0 };

	fill(bytes, sizeof bytes, 5);
	REQUIRE(CHECK_OK(digest_open(digest_type(text_of(name)), &tap)));
	REQUIRE(CHECK_OK(digest_open(digest_type(text_of(name)), &copy)));
	CHECK_OK(digest_of(tap->type, bytes, sizeof bytes, &whole));
	tap->type->update(tap, bytes, 777);
	digest_copy(copy, tap);
	tap->type->update(tap, "what is taken back", 18);
	tap->type->end(tap, &digest);
	CHECK(memcmp(&digest, &whole, sizeof whole) != 0);
	digest_copy(tap, copy);
	for (size_t at = 777, n; at < sizeof bytes; at += n) {
		n = min_u64(sizeof bytes - at, 1 + at % 4000);
		tap->type->update(tap, bytes + at, n);
		tap->type->end(tap, &digest); /* looking does not disturb */
	}
	CHECK(memcmp(&digest, &whole, sizeof whole) == 0);
	tap->type->begin(tap);
	tap->type->end(tap, &digest);
	CHECK_OK(digest_of(tap->type, "", 0, &whole));
	CHECK(memcmp(&digest, &whole, sizeof whole) == 0);
	tap->type->close(&tap);
	copy->type->close(&copy);
	CHECK(tap == NULL && copy == NULL);
}

TEST(pieces_copies_and_new_beginnings_give_the_same)
{
	check_pieces("blake3");
	check_pieces("blake2b-256");
	check_pieces("sha-256");
}
