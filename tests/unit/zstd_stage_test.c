/* Frames there and back, and what is refused on the way back. */
#include "crypto/zstd_stage.h"

#include "engine/bytes.h"
#include "tests/test.h"
#include "tests/unit/archive_help.h"

static uint8_t plain[ZSTD_FRAME_BYTES_MAX], back[ZSTD_FRAME_BYTES_MAX];
static uint8_t frame[ZSTD_FRAME_BYTES_MAX + 8192];

static size_t frame_of_plain(size_t n, int level)
{
	struct zstd_stage *stage = NULL;
	size_t bytes = 0;

	must(zstd_stage_bound(n) <= sizeof frame);
	if (CHECK_OK(zstd_stage_open(level, &stage)))
		CHECK_OK(zstd_stage_frame(stage, plain, n, frame, sizeof frame, &bytes));
	zstd_stage_close(&stage);
	return bytes;
}

static size_t frame_of(size_t n, int level)
{
	fill(plain, n, n);
	return frame_of_plain(n, level);
}

TEST(frames_open_to_the_same_bytes)
{
	static const size_t sizes[] = { 1, 511, 4096, 100000, ZSTD_FRAME_BYTES_MAX };
	size_t bytes, measured, content;

	for (size_t i = 0; i < ARRAY_COUNT(sizes); i++)
		for (int level = 1; level <= 19; level += 6) {
			bytes = frame_of(sizes[i], level);
			CHECK_OK(zstd_stage_measure(frame, bytes + 7, &measured, &content));
			CHECK_EQ(measured, bytes);
			CHECK_EQ(content, sizes[i]);
			CHECK_OK(zstd_stage_open_frame(frame, bytes, back, sizes[i]));
			CHECK(memcmp(plain, back, sizes[i]) == 0);
		}
}

/* A thread's compressor lies in memory whose size is the library's estimate: it must hold for every
 * level and length, whatever came before. */
TEST(every_level_takes_every_length_in_any_order)
{
	static const size_t sizes[] = {
		ZSTD_FRAME_BYTES_MAX, 0, 1, 255, 16384, 16385, 131072, 131073, 262144, 262145
	};

	memset(plain, 'x', sizeof plain);
	for (int level = 19; level >= 1; level--)
		for (size_t i = 0; i < ARRAY_COUNT(sizes); i++)
			CHECK(frame_of_plain(sizes[i], level) > 0);
	for (int level = 1; level <= 19; level++)
		for (size_t i = ARRAY_COUNT(sizes); i-- > 0;)
			CHECK(frame_of_plain(sizes[i], level) > 0);
}

/* What is planned for the longest frame holds for the shorter ones, too. */
TEST(no_shorter_frame_needs_a_larger_context)
{
	static const size_t frames[] = { 64 * 1024, 256 * 1024, ZSTD_FRAME_BYTES_MAX };

	for (int level = 1; level <= 19; level++)
		for (size_t i = 0; i < ARRAY_COUNT(frames); i++)
			for (size_t n = 1; n < frames[i]; n += 509)
				if (zstd_stage_context_bytes(level, n) >
				    zstd_stage_context_bytes(level, frames[i]))
					test_failed(__FILE__, __LINE__,
						    "level %d, %zu of %zu bytes", level, n,
						    frames[i]);
}

TEST(levels_that_do_not_shrink_mail_are_refused)
{
	struct zstd_stage *stage = NULL;

	CHECK_ERR(zstd_stage_open(0, &stage), ERR_INPUT_USAGE);
	CHECK_ERR(zstd_stage_open(-5, &stage), ERR_INPUT_USAGE);
	CHECK_ERR(zstd_stage_open(20, &stage), ERR_INPUT_USAGE);
	CHECK(stage == NULL);
	zstd_stage_close(&stage);
}

TEST(another_length_than_asked_for_is_damage)
{
	size_t bytes = frame_of(1000, 1);

	CHECK_ERR(zstd_stage_open_frame(frame, bytes, back, 999), ERR_ARCHIVE_DAMAGED);
	CHECK_ERR(zstd_stage_open_frame(frame, bytes, back, 1001), ERR_ARCHIVE_DAMAGED);
	CHECK_ERR(zstd_stage_open_frame(frame, bytes - 1, back, 1000), ERR_ARCHIVE_DAMAGED);
	CHECK_ERR(zstd_stage_open_frame(frame, bytes + 1, back, 1000), ERR_ARCHIVE_DAMAGED);
	CHECK_ERR(zstd_stage_open_frame(frame, 0, back, 0), ERR_ARCHIVE_DAMAGED);
}

/* No flipped bit of a frame gives other bytes without being noticed. */
TEST(every_flipped_bit_is_noticed)
{
	size_t bytes = frame_of(600, 1);

	for (size_t bit = 0; bit < 8 * bytes; bit++) {
		frame[bit / 8] ^= (uint8_t)(1u << bit % 8);
		memset(back, 0, 600);
		if (zstd_stage_open_frame(frame, bytes, back, 600) == OK)
			CHECK(memcmp(plain, back, 600) == 0);
		err_note_clear();
		frame[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	CHECK_OK(zstd_stage_open_frame(frame, bytes, back, 600));
}

/* RFC 8878 section 3.1.1: magic, descriptor (single segment, four bytes of content size), the size,
 * then one last RLE block. A few bytes that would open to 256 MiB. */
TEST(a_frame_larger_than_we_write_is_refused_unopened)
{
	static const uint8_t bomb[] = {
		0x28, 0xB5, 0x2F, 0xFD, 0xA0, 0, 0, 0, 0x10, 0x03, 0, 0, 'x'
	};
	size_t measured, content;

	CHECK_ERR(zstd_stage_measure(bomb, sizeof bomb, &measured, &content), ERR_ARCHIVE_DAMAGED);
	CHECK_ERR(zstd_stage_measure("plain text", 10, &measured, &content), ERR_ARCHIVE_DAMAGED);
}
