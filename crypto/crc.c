/* The tables, and what needs no instruction of its own. See crc.h. */
#include "crypto/crc.h"

#include <pthread.h>

#include "crypto/base64.h"
#include "crypto/crc_fold.h"
#include "engine/bytes.h"

/* All numbers are reflected: x^0 is the highest bit, and to multiply by x is to shift right. */
static const struct {
	const char *name;
	uint64_t polynomial;
	unsigned bits;
} kinds[CRC_KIND_COUNT] = {
	[CRC64NVME] = { "crc64nvme", 0x9a6c9329ac4bc9b5, 64 },
	[CRC32C] = { "crc32c", 0x82f63b78, 32 },
};

enum { BYTES_AT_ONCE = 8, POWERS = 64 };

/* Made at the first use. */
static struct tables {
	/* [k][b]: what is left of a byte b when k zero bytes have come behind it. */
	uint64_t after[BYTES_AT_ONCE][256];
	uint64_t power[POWERS]; /* x^(8 * 2^k) mod P: what 2^k bytes multiply by */
	struct crc_folding folding;
} tables[CRC_KIND_COUNT];

/* ---- polynomials modulo that of the kind ---- */

static uint64_t times_x(enum crc_kind kind, uint64_t value)
{
	return value >> 1 ^ (value & 1 ? kinds[kind].polynomial : 0);
}

static uint64_t one(enum crc_kind kind)
{
	return UINT64_C(1) << (kinds[kind].bits - 1);
}

static uint64_t power_of_x(enum crc_kind kind, unsigned exponent)
{
	uint64_t value = one(kind);

	while (exponent--)
		value = times_x(kind, value);
	return value;
}

static uint64_t multiply(enum crc_kind kind, uint64_t a, uint64_t b)
{
	uint64_t product = 0;

	for (uint64_t bit = one(kind); bit; bit >>= 1, b = times_x(kind, b))
		if (a & bit)
			product ^= b;
	return product;
}

/* ---- tables ---- */

static void make_folding(enum crc_kind kind, unsigned distance, uint64_t to[2])
{
	unsigned unused = 64 - kinds[kind].bits;

	to[0] = power_of_x(kind, distance + 63) << unused;
	to[1] = power_of_x(kind, distance - 1) << unused;
}

static void make_tables(enum crc_kind kind)
{
	struct tables *table = &tables[kind];

	for (unsigned byte = 0; byte < 256; byte++) {
		uint64_t value = byte;

		for (unsigned k = 0; k < BYTES_AT_ONCE; k++) {
			for (unsigned bit = 0; bit < 8; bit++)
				value = times_x(kind, value);
			table->after[k][byte] = value;
		}
	}
	table->power[0] = power_of_x(kind, 8);
	for (unsigned k = 1; k < POWERS; k++)
		table->power[k] = multiply(kind, table->power[k - 1], table->power[k - 1]);
	make_folding(kind, 128, table->folding.by_128);
	make_folding(kind, 512, table->folding.by_512);
	make_folding(kind, 2048, table->folding.by_2048);
}

static void make_all_tables(void)
{
	for (enum crc_kind kind = 0; kind < CRC_KIND_COUNT; kind++)
		make_tables(kind);
}

static const struct tables *tables_of(enum crc_kind kind)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	must((unsigned)kind < CRC_KIND_COUNT);
	pthread_once(&once, make_all_tables);
	return &tables[kind];
}

const struct crc_folding *crc_folding_of(enum crc_kind kind)
{
	return &tables_of(kind)->folding;
}

/* ---- update ---- */

/* Slicing by 8 (Kounavis and Berry, "Novel Table Lookup-Based Algorithms for High-Performance CRC
 * Generation", 2008). Written out: a loop takes twice as long. */
static uint64_t take_word(const uint64_t after[BYTES_AT_ONCE][256], uint64_t word)
{
	return after[7][word & 255] ^ after[6][word >> 8 & 255] ^ after[5][word >> 16 & 255] ^
	       after[4][word >> 24 & 255] ^ after[3][word >> 32 & 255] ^
	       after[2][word >> 40 & 255] ^ after[1][word >> 48 & 255] ^ after[0][word >> 56];
}

static uint64_t update_by_table(const struct tables *table, uint64_t state, const uint8_t *from,
				size_t n)
{
	for (; n >= BYTES_AT_ONCE; from += BYTES_AT_ONCE, n -= BYTES_AT_ONCE)
		state = take_word(table->after, state ^ bytes_get_le64(from));
	for (; n > 0; from++, n--)
		state = table->after[0][(state ^ *from) & 255] ^ state >> 8;
	return state;
}

uint64_t crc_update_by(enum crc_way way, enum crc_kind kind, uint64_t crc, const void *from,
		       size_t n)
{
	const struct tables *table = tables_of(kind);
	uint64_t all_ones = UINT64_MAX >> (64 - kinds[kind].bits), state = crc ^ all_ones;
	uint8_t rest[CRC_REST_BYTES];
	const uint8_t *at = from;
	size_t folded;

	if (way == CRC_WIDE && n < CRC_WIDE_BYTES_MIN)
		way = CRC_NARROW;
	if (way != CRC_TABLE && n >= CRC_NARROW_BYTES_MIN) {
		folded = crc_fold(way, &table->folding, state, at, n, rest);
		state = update_by_table(table, 0, rest, sizeof rest);
		at += folded;
		n -= folded;
	}
	return update_by_table(table, state, at, n) ^ all_ones;
}

uint64_t crc_update(enum crc_kind kind, uint64_t crc, const void *from, size_t n)
{
	return crc_update_by(crc_best_way(), kind, crc, from, n);
}

/* What the ones do that both begin and end with falls out of the sum. */
uint64_t crc_combine(enum crc_kind kind, uint64_t first, uint64_t second, uint64_t second_bytes)
{
	const struct tables *table = tables_of(kind);

	for (unsigned k = 0; second_bytes; k++, second_bytes >>= 1)
		if (second_bytes & 1)
			first = multiply(kind, first, table->power[k]);
	return first ^ second;
}

/* ---- names ---- */

const char *crc_name(enum crc_kind kind)
{
	must((unsigned)kind < CRC_KIND_COUNT);
	return kinds[kind].name;
}

void crc_base64(enum crc_kind kind, uint64_t crc, char to[CRC_BASE64_BYTES])
{
	unsigned bytes = kinds[kind].bits / 8;
	uint8_t highest_first[8];

	for (unsigned i = 0; i < bytes; i++)
		highest_first[i] = (uint8_t)(crc >> 8 * (bytes - 1 - i));
	base64_encode(to, highest_first, bytes);
}
