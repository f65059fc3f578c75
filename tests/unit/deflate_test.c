/* Compressed streams there and back, and what is refused on the way back. */
#include "transport/deflate.h"

#include <stdlib.h>

#include "engine/bytes.h"
#include "engine/limits.h"
#include "tests/test.h"

enum { TEXT_BYTES = 300 * 1000, PACKED_BYTES = TEXT_BYTES + 4096 };
static uint8_t plain[TEXT_BYTES], packed[PACKED_BYTES], back[TEXT_BYTES + 1];

/* Half of it mail-like, half of it without any order. */
static void fill_plain(void)
{
	static const char line[] = "Received: from mail.example.org by mx.example.com; \r\n";
	uint32_t state = 12345;

	for (size_t i = 0; i < sizeof plain; i++) {
		state = state * 1664525 + 1013904223;
		plain[i] = i < sizeof plain / 2 ? (uint8_t)line[i % (sizeof line - 1)]
						: (uint8_t)(state >> 24);
	}
}

/* All of `from` in pieces, a flush behind each, `room` bytes out at once. */
static size_t pack_all(struct deflate *it, size_t piece, size_t room)
{
	size_t n = 0;

	for (size_t at = 0; at < sizeof plain; at += piece) {
		struct deflate_span from = { plain + at, min_u64(piece, sizeof plain - at) };
		bool done = false;

		while (from.bytes)
			n += deflate_pack(it, &from, packed + n, min_u64(room, sizeof packed - n));
		while (!done)
			n += deflate_flush(it, packed + n, min_u64(room, sizeof packed - n), &done);
		must(n + DEFLATE_FLUSH_ROOM_BYTES < sizeof packed);
	}
	return n;
}

/* `n` packed bytes, given in pieces, out `room` at once; how much came out. */
static size_t open_all(struct deflate *it, size_t n, size_t piece, size_t room, enum err *e)
{
	size_t opened = 0, got;

	*e = OK;
	for (size_t at = 0; !*e && at < n; at += piece) {
		struct deflate_span from = { packed + at, min_u64(piece, n - at) };

		do {
			*e = deflate_unpack(it, &from, back + opened,
					    min_u64(room, sizeof back - opened), &got);
			opened += got;
		} while (!*e && (from.bytes || got));
	}
	return opened;
}

TEST(what_is_packed_in_any_pieces_opens_in_any_pieces)
{
	static const size_t pieces[] = { 7000, 65536, TEXT_BYTES };
	static const size_t rooms[] = { DEFLATE_FLUSH_ROOM_BYTES, 1000, 65536 };
	enum err e;

	fill_plain();
	for (size_t i = 0; i < ARRAY_COUNT(pieces); i++)
		for (size_t j = 0; j < ARRAY_COUNT(rooms); j++) {
			struct deflate *it = NULL;
			size_t n;

			REQUIRE(CHECK_OK(deflate_open(&it)));
			n = pack_all(it, pieces[i], rooms[j]);
			CHECK(n < sizeof plain * 6 / 10);
			memset(back, 0, sizeof back);
			CHECK_EQ(open_all(it, n, rooms[j], pieces[i], &e), sizeof plain);
			CHECK_OK(e);
			CHECK(memcmp(plain, back, sizeof plain) == 0);
			CHECK(deflate_held_bytes(it) <= DEFLATE_BYTES);
			deflate_close(&it);
			CHECK(!it);
		}
}

TEST(one_byte_at_a_time_opens_too)
{
	struct deflate *it = NULL;
	enum err e;
	size_t n;

	fill_plain();
	REQUIRE(CHECK_OK(deflate_open(&it)));
	n = pack_all(it, sizeof plain, sizeof packed);
	CHECK_EQ(open_all(it, n, 1, 1, &e), sizeof plain);
	CHECK_OK(e);
	CHECK(memcmp(plain, back, sizeof plain) == 0);
	deflate_close(&it);
}

TEST(what_was_flushed_can_be_opened_before_anything_follows)
{
	struct deflate_span from = { (const uint8_t *)"a1 NOOP\r\n", 9 }, arrived;
	struct deflate *it = NULL;
	bool done;
	size_t n, got;

	REQUIRE(CHECK_OK(deflate_open(&it)));
	CHECK_EQ(deflate_flush(it, packed, sizeof packed, &done), 0); /* there is nothing to say */
	CHECK(done);
	n = deflate_pack(it, &from, packed, sizeof packed);
	CHECK_EQ(from.bytes, 0);
	n += deflate_flush(it, packed + n, sizeof packed - n, &done);
	CHECK(done && n > 9);
	CHECK_EQ(deflate_flush(it, packed + n, sizeof packed - n, &done), 0);
	arrived = (struct deflate_span){ packed, n };
	CHECK_OK(deflate_unpack(it, &arrived, back, sizeof back, &got));
	CHECK_EQ(got, 9);
	CHECK_EQ(arrived.bytes, 0);
	CHECK(memcmp(back, "a1 NOOP\r\n", 9) == 0);
	CHECK_OK(deflate_unpack(it, &arrived, back, sizeof back, &got));
	CHECK_EQ(got, 0); /* more must come */
	deflate_close(&it);
}

TEST(a_stream_that_is_cut_gives_what_came_and_no_more)
{
	struct deflate *it = NULL;
	enum err e;
	size_t n, opened;

	fill_plain();
	REQUIRE(CHECK_OK(deflate_open(&it)));
	n = pack_all(it, sizeof plain, sizeof packed);
	opened = open_all(it, n / 2, 4096, 4096, &e);
	CHECK_OK(e);
	CHECK(opened > 0 && opened < sizeof plain);
	CHECK(memcmp(plain, back, opened) == 0);
	deflate_close(&it);
}

TEST(damage_is_told_behind_what_came_before_it_and_stays)
{
	static const uint8_t damage[] = { 0x07, 0xff, 0xff, 0xff };
	struct deflate_span from = { (const uint8_t *)"* BYE\r\n", 7 }, arrived;
	struct deflate *it = NULL;
	bool done;
	size_t n, got;

	REQUIRE(CHECK_OK(deflate_open(&it)));
	n = deflate_pack(it, &from, packed, sizeof packed);
	n += deflate_flush(it, packed + n, sizeof packed - n, &done);
	memcpy(packed + n, damage, sizeof damage);
	arrived = (struct deflate_span){ packed, n + sizeof damage };
	CHECK_OK(deflate_unpack(it, &arrived, back, sizeof back, &got));
	CHECK_EQ(got, 7);
	for (int i = 0; i < 2; i++) {
		CHECK_ERR(deflate_unpack(it, &arrived, back, sizeof back, &got), ERR_IMAP_DEFLATE);
		CHECK_EQ(got, 0);
	}
	deflate_close(&it);
}

/* No byte of a stream can be turned without its being noticed or coming out as other bytes: raw
 * deflate has no checksum, TLS has. But nothing may be read or written beyond its bounds. */
TEST(any_damage_ends_in_an_error_or_in_other_bytes)
{
	struct deflate *it = NULL;
	size_t n, refused = 0;
	enum err e;

	fill_plain();
	REQUIRE(CHECK_OK(deflate_open(&it)));
	n = min_u64(pack_all(it, sizeof plain, sizeof packed), 4000);
	deflate_close(&it);
	for (size_t turned = 1; turned < 400; turned += 3) {
		uint8_t was = packed[turned];

		REQUIRE(CHECK_OK(deflate_open(&it)));
		packed[turned] ^= (uint8_t)(1 + turned % 255);
		CHECK(open_all(it, n, 100, 777, &e) <= sizeof back);
		CHECK(e == OK || e == ERR_IMAP_DEFLATE);
		refused += e == ERR_IMAP_DEFLATE;
		CHECK(deflate_held_bytes(it) <= DEFLATE_BYTES);
		packed[turned] = was;
		deflate_close(&it);
	}
	CHECK(refused > 10);
}

TEST(what_stands_behind_the_end_of_a_stream_is_refused)
{
	/* A last block of one stored byte, RFC 1951 section 3.2.4. */
	static const uint8_t last[] = { 0x01, 0x01, 0x00, 0xfe, 0xff, 'x', 'y' };
	struct deflate_span arrived = { last, sizeof last - 1 };
	struct deflate *it = NULL;
	size_t got;

	REQUIRE(CHECK_OK(deflate_open(&it)));
	CHECK_OK(deflate_unpack(it, &arrived, back, sizeof back, &got));
	CHECK(got == 1 && back[0] == 'x' && arrived.bytes == 0);
	CHECK_OK(deflate_unpack(it, &arrived, back, sizeof back, &got)); /* the peer ends */
	CHECK_EQ(got, 0);
	arrived.bytes = 1;
	CHECK_ERR(deflate_unpack(it, &arrived, back, sizeof back, &got), ERR_IMAP_DEFLATE);
	deflate_close(&it);
}

/* A thousand times as many bytes as came: they wait inside the few that came. */
TEST(a_bomb_comes_out_as_it_is_asked_for_in_bounded_memory)
{
	enum { PIECES = 400 };
	struct deflate_span arrived;
	struct deflate *it = NULL;
	uint64_t opened = 0;
	size_t n = 0, got, most = 0;
	bool done = false;

	memset(plain, 'x', sizeof plain);
	REQUIRE(CHECK_OK(deflate_open(&it)));
	for (unsigned i = 0; i < PIECES; i++) {
		struct deflate_span from = { plain, sizeof plain };

		while (from.bytes)
			n += deflate_pack(it, &from, packed + n, sizeof packed - n);
	}
	while (!done)
		n += deflate_flush(it, packed + n, sizeof packed - n, &done);
	CHECK(n < PIECES * sizeof plain / 900);
	arrived = (struct deflate_span){ packed, n };
	do {
		CHECK_OK(deflate_unpack(it, &arrived, back, 8192, &got));
		opened += got;
		most = max_u64(most, deflate_held_bytes(it));
	} while (got);
	CHECK_EQ(opened, (uint64_t)PIECES * sizeof plain);
	CHECK_EQ(arrived.bytes, 0);
	CHECK(most <= DEFLATE_BYTES);
	deflate_close(&it);
}
