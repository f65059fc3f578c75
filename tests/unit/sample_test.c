/* Samples: how many, of what, and the same again. */
#include "tests/test.h"

#include "engine/sample.h"

enum { MESSAGES = 10000 };

/* Sizes of a folder: many small ones, few large ones, one empty one. */
static uint64_t size_of(unsigned i)
{
	return i == 77 ? 0 : i % 1000 == 500 ? 5000000 : i % 10 == 3 ? 20000 : 700;
}

static unsigned draw(uint64_t seed, uint64_t box_no, uint32_t per_million, bool *taken)
{
	struct sample sample;
	unsigned count = 0;

	sample_begin(&sample, seed, box_no);
	for (unsigned i = 0; i < MESSAGES; i++)
		sample_count(&sample, size_of(i));
	sample_draw(&sample, per_million);
	for (unsigned i = 0; i < MESSAGES; i++)
		count += taken[i] = sample_takes(&sample, size_of(i));
	return count;
}

static unsigned count_of_size(const bool *taken, uint64_t size)
{
	unsigned count = 0;

	for (unsigned i = 0; i < MESSAGES; i++)
		count += taken[i] && size_of(i) == size;
	return count;
}

TEST(a_sample_has_its_part_of_each_size_and_one_at_least)
{
	static bool taken[MESSAGES];

	CHECK_EQ(draw(1, 1, 20000, taken), 180 + 20 + 1 + 1);
	CHECK_EQ(count_of_size(taken, 700), 180); /* 2 % of 8,989, and what is begun counts */
	CHECK_EQ(count_of_size(taken, 20000), 20);
	CHECK_EQ(count_of_size(taken, 5000000), 1);
	CHECK_EQ(count_of_size(taken, 0), 1);
	CHECK_EQ(draw(1, 1, 1, taken), 4);
	CHECK_EQ(draw(1, 1, SAMPLE_ALL, taken), MESSAGES);
}

TEST(the_same_seed_takes_the_same_messages_and_another_takes_others)
{
	static bool first[MESSAGES], again[MESSAGES], other[MESSAGES], elsewhere[MESSAGES];
	unsigned common = 0, common_elsewhere = 0;

	CHECK_EQ(draw(42, 3, 100000, first), draw(42, 3, 100000, again));
	CHECK(memcmp(first, again, sizeof first) == 0);
	(void)draw(43, 3, 100000, other);
	(void)draw(42, 4, 100000, elsewhere);
	for (unsigned i = 0; i < MESSAGES; i++) {
		common += first[i] && other[i];
		common_elsewhere += first[i] && elsewhere[i];
	}
	/* Of 1,002 taken by chance each, some 100 are common. */
	CHECK(common > 50 && common < 200);
	CHECK(common_elsewhere > 50 && common_elsewhere < 200);
}

TEST(every_place_in_a_folder_has_its_chance)
{
	static bool taken[MESSAGES];
	unsigned first_half = 0, all = 0, of_first = 0;

	for (uint64_t seed = 1; seed <= 200; seed++) {
		all += draw(seed, 1, 50000, taken);
		for (unsigned i = 0; i < MESSAGES / 2; i++)
			first_half += taken[i];
		of_first += taken[0];
	}
	CHECK(first_half > all * 48 / 100 && first_half < all * 52 / 100);
	CHECK(of_first > 0 && of_first < 40); /* 5 % of 200 are 10 */
}

TEST(more_than_were_counted_are_not_taken)
{
	struct sample sample;

	sample_begin(&sample, 1, 1);
	sample_count(&sample, 100);
	sample_draw(&sample, SAMPLE_ALL);
	CHECK(sample_takes(&sample, 100));
	CHECK(!sample_takes(&sample, 100));
	CHECK(!sample_takes(&sample, 100000));
	CHECK(!sample_takes(&sample, UINT64_MAX));
}

TEST(parts_are_written_as_percentages)
{
	static const struct {
		const char *text;
		uint32_t per_million;
	} good[] = { { "2%", 20000 },	    { "100%", SAMPLE_ALL }, { "0.5%", 5000 },
		     { "0.0001%", 1 },	    { "12.25%", 122500 },   { "99.9999%", 999999 },
		     { "100.0%", 1000000 }, { "007%", 70000 } };
	static const char *const bad[] = {
		"",	  "%",	    "2",	"0%",	"0.0%", "101%",
		"100.1%", "-1%",    "2%%",	"2 %",	" 2%",	"1.%.",
		".5%",	  "1.2.3%", "0.00001%", "1e2%", "2%x",	"99999999999999999999999%"
	};
	uint32_t per_million;

	for (unsigned i = 0; i < ARRAY_COUNT(good); i++) {
		CHECK(sample_parse(good[i].text, &per_million));
		CHECK_EQ(per_million, good[i].per_million);
	}
	for (unsigned i = 0; i < ARRAY_COUNT(bad); i++)
		CHECK(!sample_parse(bad[i], &per_million));
}
