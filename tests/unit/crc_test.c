/* Checksums against published values, and each way of computing them against a bit at a time. */
#include "crypto/crc.h"

#include <stdlib.h>

#include "crypto/crc_fold.h"
#include "tests/test.h"
#include "tests/unit/archive_help.h"

/* The definition: one bit after the other, with the polynomial as it is printed. */
static uint64_t reverse(uint64_t value, unsigned bits)
{
	uint64_t reversed = 0;

	for (unsigned i = 0; i < bits; i++)
		reversed |= (value >> i & 1) << (bits - 1 - i);
	return reversed;
}

static unsigned bits_of(enum crc_kind kind)
{
	return kind == CRC64NVME ? 64 : 32;
}

static uint64_t printed_polynomial(enum crc_kind kind)
{
	return kind == CRC64NVME ? 0xad93d23594c93659 : 0x1edc6f41;
}

/* The highest bit is x^63 or x^31, as on paper. */
static uint64_t times_x(enum crc_kind kind, uint64_t value)
{
	unsigned bits = bits_of(kind);
	uint64_t carry = value >> (bits - 1) & 1, all_ones = UINT64_MAX >> (64 - bits);

	return (value << 1 & all_ones) ^ (carry ? printed_polynomial(kind) : 0);
}

static uint64_t bit_by_bit(enum crc_kind kind, const uint8_t *from, size_t n)
{
	unsigned bits = bits_of(kind);
	uint64_t all_ones = UINT64_MAX >> (64 - bits), state = all_ones;

	for (size_t i = 0; i < n; i++)
		for (unsigned bit = 0; bit < 8; bit++) {
			state ^= (uint64_t)(from[i] >> bit & 1) << (bits - 1);
			state = times_x(kind, state);
		}
	return reverse(state, bits) ^ all_ones;
}

static void check_value(enum crc_kind kind, const char *text, uint64_t value, const char *base64)
{
	char shown[CRC_BASE64_BYTES];
	uint64_t got = crc_update(kind, 0, text, strlen(text));

	CHECK(got == value);
	CHECK(bit_by_bit(kind, (const uint8_t *)text, strlen(text)) == value);
	crc_base64(kind, got, shown);
	CHECK_TEXT(shown, base64);
}

TEST(published_checksums_come_out)
{
	check_value(CRC64NVME, "123456789", 0xae8b14860a799888, "rosUhgp5mIg=");
	check_value(CRC64NVME, "", 0, "AAAAAAAAAAA=");
	check_value(CRC64NVME, "hello world", 0x8d29d5c3f6ea8ebe, "jSnVw/bqjr4=");
	check_value(CRC32C, "123456789", 0xe3069283, "4waSgw==");
	check_value(CRC32C, "", 0, "AAAAAA==");
	CHECK_TEXT(crc_name(CRC64NVME), "crc64nvme");
	CHECK_TEXT(crc_name(CRC32C), "crc32c");
}

/* RFC 3720 appendix B.4, and AWS's example of a trailer; the first of CRC64NVME by the NVM Command
 * Set Specification, revision 1.0d. */
TEST(published_checksums_of_longer_pieces_come_out)
{
	static uint8_t bytes[66560];
	char shown[CRC_BASE64_BYTES];

	CHECK(crc_update(CRC32C, 0, bytes, 32) == 0x8a9136aa);
	CHECK(crc_update(CRC64NVME, 0, bytes, 4096) == 0x6482d367eb22b64e);
	memset(bytes, 0xff, sizeof bytes);
	CHECK(crc_update(CRC32C, 0, bytes, 32) == 0x62a8ab43);
	CHECK(crc_update(CRC64NVME, 0, bytes, 4096) == 0xc0ddba7302eca3ac);
	for (unsigned i = 0; i < 32; i++)
		bytes[i] = (uint8_t)i;
	CHECK(crc_update(CRC32C, 0, bytes, 32) == 0x46dd794e);
	memset(bytes, 'a', sizeof bytes);
	crc_base64(CRC32C, crc_update(CRC32C, 0, bytes, sizeof bytes), shown);
	CHECK_TEXT(shown, "sOO8/Q==");
}

/* Every length over all borders of the loops, at every alignment of a register's 64 bytes. */
TEST(each_way_of_this_machine_gives_the_same_at_any_length_and_place)
{
	enum { LENGTHS = 1200 };
	static uint8_t bytes[LENGTHS + 64];

	fill(bytes, sizeof bytes, 11);
	for (enum crc_kind kind = 0; kind < CRC_KIND_COUNT; kind++)
		for (size_t n = 0; n < LENGTHS; n++) {
			const uint8_t *at = bytes + n % 64;
			uint64_t expected = bit_by_bit(kind, at, n);

			for (enum crc_way way = CRC_TABLE; way <= crc_best_way(); way++)
				if (crc_update_by(way, kind, 0, at, n) != expected)
					test_failed(__FILE__, __LINE__, "%s, way %d, %zu bytes",
						    crc_name(kind), way, n);
		}
	if (crc_best_way() < CRC_WIDE)
		SKIP("this machine has only the ways up to %d of %d", crc_best_way(), CRC_WIDE);
}

static size_t random_below(size_t n)
{
	return (size_t)random() % n;
}

TEST(pieces_give_what_the_whole_gives_fed_or_combined)
{
	enum { BYTES = 100000 };
	static uint8_t bytes[BYTES];

	srandom(7);
	fill(bytes, sizeof bytes, 12);
	for (unsigned round = 0; round < 2000; round++) {
		enum crc_kind kind = round % CRC_KIND_COUNT;
		enum crc_way way = (enum crc_way)random_below((size_t)crc_best_way() + 1);
		size_t begin = random_below(BYTES), n = random_below(BYTES - begin + 1);
		size_t cut = random_below(n + 1);
		const uint8_t *at = bytes + begin;
		uint64_t whole = crc_update_by(CRC_TABLE, kind, 0, at, n);
		uint64_t first = crc_update_by(way, kind, 0, at, cut);
		uint64_t second = crc_update(kind, 0, at + cut, n - cut);

		CHECK(crc_update_by(way, kind, first, at + cut, n - cut) == whole);
		CHECK(crc_combine(kind, first, second, n - cut) == whole);
	}
}

/* Of lengths that nobody can feed: zeros behind zeros, doubled and doubled again. */
TEST(combining_reaches_the_largest_objects)
{
	for (enum crc_kind kind = 0; kind < CRC_KIND_COUNT; kind++) {
		uint64_t crc = crc_update(kind, 0, "", 1), bytes = 1, first;

		for (; bytes < UINT64_C(1) << 50; bytes *= 2)
			crc = crc_combine(kind, crc, crc, bytes);
		first = crc_update(kind, 0, "x", 1);
		CHECK(crc_combine(kind, crc_combine(kind, first, crc, bytes), crc, bytes) ==
		      crc_combine(kind, first, crc_combine(kind, crc, crc, bytes), 2 * bytes));
	}
	CHECK(crc_combine(CRC64NVME, 5, 0, 0) == 5);
}

/* By the book: not reflected, then turned round. */
static uint64_t reflected_power(enum crc_kind kind, unsigned exponent)
{
	uint64_t value = 1;

	while (exponent--)
		value = times_x(kind, value);
	return reverse(value, 64);
}

static void check_constants(enum crc_kind kind, unsigned distance, const uint64_t constants[2])
{
	CHECK(constants[0] == reflected_power(kind, distance + 63));
	CHECK(constants[1] == reflected_power(kind, distance - 1));
}

TEST(the_constants_of_folding_are_powers_of_x)
{
	for (enum crc_kind kind = 0; kind < CRC_KIND_COUNT; kind++) {
		const struct crc_folding *folding = crc_folding_of(kind);

		check_constants(kind, 128, folding->by_128);
		check_constants(kind, 512, folding->by_512);
		check_constants(kind, 2048, folding->by_2048);
	}
	/* As Linux has them (lib/crc/x86/crc-pclmul-consts.h). */
	CHECK(crc_folding_of(CRC64NVME)->by_128[0] == 0xeadc41fd2ba3d420);
	CHECK(crc_folding_of(CRC64NVME)->by_128[1] == 0x21e9761e252621ac);
}
