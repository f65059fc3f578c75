/* Narrowing: how a range that fails is asked for again. */
#include "engine/suspect.h"
#include "tests/test.h"

/* Ask for [first, last] as a lane does, piece by piece, of a source that fails in every piece that
 * holds `bad`. Returns how many pieces were asked; *hopeless is set when `bad` is to be skipped. */
static unsigned attempt(struct suspects *suspects, uint64_t first, uint64_t last, uint64_t bad,
			enum err fate, bool *hopeless)
{
	unsigned asked = 0;

	*hopeless = false;
	for (uint64_t from = first, to; from <= last; from = to + 1) {
		const struct suspect *s = suspects_cut(suspects, 1, from, (to = last, &to));

		if (s && suspect_is_hopeless(s)) {
			CHECK_EQ(from, bad);
			*hopeless = true;
			continue;
		}
		asked++;
		if (from <= bad && bad <= to) {
			suspects_add(suspects, 1, from, to, fate);
			if (fate == ERR_SOURCE_POISON)
				break; /* the conversation ended */
		}
	}
	return asked;
}

/* Attempts until the one bad message of 1..256 is found; what was settled before is not asked
 * again. */
static unsigned attempts_until_found(enum err fate)
{
	struct suspects suspects = { .count = 0 };
	uint64_t first = 1, last = 256;
	bool hopeless = false;
	unsigned attempts = 0;

	while (!hopeless && attempts < 50) {
		attempt(&suspects, first, last, 100, fate, &hopeless);
		suspects_next_attempt(&suspects);
		attempts++;
	}
	CHECK(hopeless);
	return attempts;
}

TEST(one_refused_message_of_a_range_is_found_in_a_few_attempts)
{
	/* 256, 16, 1, then twice more alone before it is believed, and one that skips it. */
	CHECK_EQ(attempts_until_found(ERR_IMAP_MSG_REFUSED), 6);
}

TEST(one_message_that_kills_the_conversation_is_found_in_a_few_attempts)
{
	CHECK_EQ(attempts_until_found(ERR_SOURCE_POISON), 6);
}

TEST(a_message_that_is_gone_is_believed_at_once)
{
	CHECK_EQ(attempts_until_found(ERR_IMAP_MSG_GONE), 4);
}

TEST(keys_beside_a_suspect_are_not_mixed_with_it)
{
	struct suspects suspects = { .count = 0 };
	uint64_t last = 1000;

	suspects_add(&suspects, 1, 101, 116, ERR_IMAP_MSG_REFUSED);
	CHECK(!suspects_cut(&suspects, 1, 1, &last));
	CHECK_EQ(last, 100);
	last = 1000;
	CHECK(suspects_cut(&suspects, 1, 101, &last));
	CHECK_EQ(last, 101);
	last = 1000;
	CHECK(!suspects_cut(&suspects, 2, 101, &last));
	CHECK_EQ(last, 1000);
}

TEST(suspicion_that_is_not_renewed_is_cleared)
{
	struct suspects suspects = { .count = 0 };
	uint64_t last = 1000;

	suspects_add(&suspects, 1, 1, 256, ERR_SOURCE_POISON);
	suspects_next_attempt(&suspects);
	CHECK(suspects_cut(&suspects, 1, 1, &last));
	suspects_next_attempt(&suspects);
	last = 1000;
	CHECK(!suspects_cut(&suspects, 1, 1, &last));
}

TEST(what_was_left_alone_stays_left_and_gives_its_place_to_nobody)
{
	struct suspects suspects = { .count = 0 };
	const struct suspect *s;
	uint64_t last = 1000;

	suspects_add(&suspects, 1, 100, 100, ERR_SOURCE_POISON);
	s = suspects_cut(&suspects, 1, 100, &last);
	REQUIRE(s && last == 100);
	CHECK(suspects_leave(&suspects, s));
	CHECK(!suspects_leave(&suspects, s));
	for (unsigned attempt = 0; attempt < 3; attempt++) {
		suspects_next_attempt(&suspects);
		for (uint64_t i = 0; i < PLAN_SUSPECTS_MAX + 10; i++)
			suspects_add(&suspects, 2, i + 1, i + 1, ERR_IMAP_MSG_REFUSED);
	}
	last = 1000;
	s = suspects_cut(&suspects, 1, 100, &last);
	CHECK(s && s->left && last == 100);
	last = 1000;
	CHECK(!suspects_cut(&suspects, 1, 1, &last));
	CHECK_EQ(last, 99);
}

TEST(a_full_table_still_narrows)
{
	struct suspects suspects = { .count = 0 };

	for (uint64_t i = 0; i < PLAN_SUSPECTS_MAX + 10; i++)
		suspects_add(&suspects, 1, i * 256 + 1, i * 256 + 256, ERR_IMAP_MSG_REFUSED);
	CHECK_EQ(suspects.count, PLAN_SUSPECTS_MAX);
	suspects_next_attempt(&suspects);
	CHECK(!suspects.narrowed);
	suspects_add(&suspects, 1, 1, 16, ERR_IMAP_MSG_REFUSED);
	CHECK(suspects.narrowed);
	suspects_next_attempt(&suspects);
	uint64_t last = 256;

	CHECK(suspects_cut(&suspects, 1, 1, &last));
	CHECK_EQ(last, 1);
}
