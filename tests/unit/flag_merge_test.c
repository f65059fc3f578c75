/* What a change of flags at the source makes of a copy that somebody has at the destination. */
#include "tests/test.h"

#include <stdlib.h>

#include "transport/flag_merge.h"

/* Good for seven more. */
static const struct mail_meta *flagged(uint32_t flags, const char *keywords)
{
	static struct mail_meta metas[8];
	static unsigned next;
	struct mail_meta *meta = &metas[next++ % ARRAY_COUNT(metas)];

	*meta = (struct mail_meta){ .flags = flags, .keywords_bytes = (uint16_t)strlen(keywords) };
	bytes_copy(meta->keywords, keywords, strlen(keywords), BYTES_META);
	return meta;
}

struct want {
	const char *add, *remove;
	bool deleted, merged, is_short;
};

static void check_in(const struct flag_room *room, const struct mail_meta *was,
		     const struct mail_meta *now, const struct mail_meta *there, struct want want)
{
	struct flag_merge merge = { 0 };

	flag_merge(was, now, there, room, &merge);
	CHECK(!merge.add.failed && !merge.remove.failed);
	CHECK_TEXT(merge.add.bytes ? merge.add.at : "", want.add);
	CHECK_TEXT(merge.remove.bytes ? merge.remove.at : "", want.remove);
	CHECK_EQ(merge.adds_deleted, want.deleted);
	CHECK_EQ(merge.is_merged, want.merged);
	CHECK_EQ(merge.is_short, want.is_short);
	buffer_free(&merge.add);
	buffer_free(&merge.remove);
}

static void check(const struct mail_meta *was, const struct mail_meta *now,
		  const struct mail_meta *there, struct want want)
{
	static struct flag_room room;

	flag_room_all(&room);
	check_in(&room, was, now, there, want);
}

TEST(what_changed_is_done)
{
	check(flagged(0, ""), flagged(MAIL_SEEN | MAIL_FLAGGED, "$x"), flagged(0, ""),
	      (struct want){ .add = "\\Seen \\Flagged $x", .remove = "" });
	check(flagged(MAIL_SEEN | MAIL_DRAFT, "$x y"), flagged(MAIL_ANSWERED, "y"),
	      flagged(MAIL_SEEN | MAIL_DRAFT, "Y $X"),
	      (struct want){ .add = "\\Answered", .remove = "\\Seen \\Draft $X" });
	check(flagged(0, ""), flagged(MAIL_DELETED, ""), flagged(0, ""),
	      (struct want){ .add = "", .remove = "", .deleted = true });
	check(flagged(MAIL_DELETED, ""), flagged(0, ""), flagged(MAIL_DELETED, ""),
	      (struct want){ .add = "", .remove = "\\Deleted" });
}

TEST(what_is_done_already_is_not_done_again)
{
	check(flagged(0, ""), flagged(MAIL_SEEN, "$x"), flagged(MAIL_SEEN, "$X"),
	      (struct want){ .add = "", .remove = "" });
	check(flagged(MAIL_SEEN, "$x"), flagged(0, ""), flagged(0, ""),
	      (struct want){ .add = "", .remove = "" });
}

TEST(what_changed_at_the_destination_only_stays)
{
	check(flagged(0, ""), flagged(MAIL_SEEN, ""), flagged(MAIL_FLAGGED, ""),
	      (struct want){ .add = "\\Seen", .remove = "", .merged = true });
	check(flagged(MAIL_SEEN, ""), flagged(MAIL_SEEN | MAIL_ANSWERED, ""), flagged(0, ""),
	      (struct want){ .add = "\\Answered", .remove = "", .merged = true });
	check(flagged(0, "$x"), flagged(MAIL_SEEN, "$x"), flagged(0, "$y"),
	      (struct want){ .add = "\\Seen", .remove = "", .merged = true });
}

/* Every flag, at every one of the three: as at the source where it changed there, else as it is. */
TEST(all_that_may_be_is_merged_flag_by_flag)
{
	static struct flag_room room;
	struct flag_merge merge = { 0 };

	flag_room_all(&room);
	for (unsigned bits = 0; bits < 1u << 15; bits++) {
		uint32_t was = bits & 31, now = bits >> 5 & 31, there = bits >> 10, after = there;

		flag_merge(flagged(was, ""), flagged(now, ""), flagged(there, ""), &room, &merge);
		for (unsigned i = 0; i < 5; i++) {
			static const char *const names[] = { "\\Seen", "\\Answered", "\\Flagged",
							     "\\Deleted", "\\Draft" };

			if (merge.add.bytes && strstr(merge.add.at, names[i]))
				after |= 1u << i;
			if (merge.remove.bytes && strstr(merge.remove.at, names[i]))
				after &= ~(1u << i);
		}
		after |= merge.adds_deleted ? MAIL_DELETED : 0;
		REQUIRE(after == (((was ^ now) & now) | (~(was ^ now) & there)));
		REQUIRE(merge.is_merged == (((now ^ after) & 31) != 0));
	}
	buffer_free(&merge.add);
	buffer_free(&merge.remove);
}

TEST(without_the_flags_of_before_nothing_is_removed)
{
	static struct flag_room room;

	flag_room_all(&room);
	check_in(&room, NULL, flagged(MAIL_SEEN, "$x"), flagged(0, ""),
		 (struct want){ .add = "\\Seen $x", .remove = "" });
	check_in(&room, NULL, flagged(MAIL_SEEN, "$x"), flagged(MAIL_FLAGGED, "$y"),
		 (struct want){ .add = "\\Seen $x", .remove = "", .merged = true });
}

static const char *wants_all(const char *argument)
{
	static struct flag_room room;

	flag_room_read(text_of(argument), &room);
	return room.any_keyword ? "any" : "listed";
}

TEST(what_a_folder_does_not_keep_is_left_out)
{
	static struct flag_room room;
	const struct mail_meta *was = flagged(MAIL_DRAFT, "$old"), *none = flagged(0, "");

	flag_room_read(text_of("(\\Seen $Old)"), &room);
	check_in(&room, none, flagged(MAIL_SEEN | MAIL_ANSWERED, "$old $new"), none,
		 (struct want){ .add = "\\Seen $old", .remove = "", .is_short = true });
	check_in(&room, was, none, was,
		 (struct want){ .add = "", .remove = "$old", .is_short = true });
	check_in(&room, none, flagged(MAIL_DELETED, ""), none,
		 (struct want){ .add = "", .remove = "", .is_short = true });
	/* Kept by nobody, and so it was never there. */
	was = flagged(0, "$gone");
	check_in(&room, was, flagged(MAIL_SEEN, "$gone"), none,
		 (struct want){ .add = "\\Seen", .remove = "" });
	CHECK_TEXT(wants_all("(\\Seen \\*)"), "any");
	CHECK_TEXT(wants_all("()"), "listed");
	CHECK_TEXT(wants_all(""), "any");
	CHECK_TEXT(wants_all("(\\Seen"), "any");
}

TEST(a_keyword_that_is_no_atom_is_left_out)
{
	check(flagged(0, ""), flagged(0, "a(b ok"), flagged(0, ""),
	      (struct want){ .add = "ok", .remove = "", .is_short = true });
}
