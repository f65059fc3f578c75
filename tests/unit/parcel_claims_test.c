/* Copies that are some message's already, in what a look into the folder says of a parcel. */
#include "tests/test.h"

#include "transport/parcel_wanted.h"

enum { MARK = 10, MOST = 20 };

static struct digest named(char kind)
{
	return (struct digest){ { (uint8_t)kind } };
}

/* A folder from MARK on: records are letters with the keys 1, 2, ... of folder 1; what is found are
 * letters with UIDs from MARK on. "W" is "w", the wrapper of "o". */
struct look {
	struct buffer blob;
	struct text records;
	struct parcel_claims *claims;
	enum sink_known known[MOST];
	struct parcel_found found[MOST];
	size_t found_count;
	struct parcel_outcome outcomes[MOST];
	size_t settled, surplus;
};

static void look_open(struct look *look, const char *records)
{
	*look = (struct look){ 0 };
	for (size_t i = 0; records[i]; i++)
		parcel_record_add(&look->blob,
				  &(struct parcel_record){ .box_no = 1,
							   .no = i + 1,
							   .digest = named(records[i]),
							   .normal = named(records[i]),
							   .id = { (uint8_t)records[i] } });
	look->records = (struct text){ look->blob.at, look->blob.bytes };
	CHECK_OK(parcel_claims_open(look->records, MARK, &look->claims));
}

static void look_close(struct look *look)
{
	parcel_claims_close(&look->claims);
	buffer_free(&look->blob);
}

/* Nobody read it. `no` 0: of another mailbox. */
static void guess(struct look *look, uint64_t no, uint64_t uid, char kind)
{
	const struct sink_copy copy = { .target_no = uid,
					.digest = named(kind),
					.is_unlike = true,
					.is_guess = true,
					.is_own = no > 0,
					.box_no = no ? 1 : 2,
					.no = no ? no : 1 };

	CHECK_OK(parcel_claims_add(look->claims, &copy));
	if (no)
		look->known[no - 1] = SINK_KNOWN_STORED;
}

/* `no` 0: of another mailbox. */
static void claim(struct look *look, uint64_t no, uint64_t uid, char kind, bool is_unlike)
{
	const struct sink_copy copy = { .target_no = uid,
					.digest = named(kind),
					.is_unlike = is_unlike,
					.is_own = no > 0,
					.box_no = no ? 1 : 2,
					.no = no ? no : 1 };

	CHECK_OK(parcel_claims_add(look->claims, &copy));
	if (no && no <= MOST)
		look->known[no - 1] = SINK_KNOWN_STORED;
}

static void match(struct look *look, const char *found)
{
	struct parcel_wanted *wanted;
	size_t unread = 0;

	parcel_claims_sort(look->claims);
	CHECK_OK(parcel_wanted_open(look->records, look->claims, &wanted));
	for (unsigned i = 0; found[i]; i++) {
		bool wrapped = found[i] == 'W';
		char kind = wrapped ? 'w' : found[i];
		struct parcel_found one = { .uid = MARK + i,
					    .digest = named(kind),
					    .normal = named(kind),
					    .wrapped = wrapped,
					    .inside = named(wrapped ? 'o' : 0),
					    .id = { (uint8_t)kind } };

		if (parcel_wanted_keeps(wanted, &one))
			look->found[look->found_count++] = one;
	}
	look->settled = parcel_claims_settle(look->claims, look->found, look->found_count, NULL,
					     &unread, look->known);
	look->surplus = parcel_match(look->records, look->known, look->found, look->found_count,
				     look->outcomes) +
			parcel_wanted_over(wanted);
	parcel_wanted_close(&wanted);
}

TEST(a_copy_of_another_mailbox_is_not_ours)
{
	const struct parcel_found below = { .uid = MARK - 1, .digest = named('b') };
	struct look look;

	look_open(&look, "ab");
	claim(&look, 0, 10, 'a', false);
	claim(&look, 0, MARK - 1, 'b', false);
	match(&look, "ab");
	CHECK_EQ(parcel_claims_find(look.claims, &below), PARCEL_NOBODYS);
	CHECK_EQ(look.outcomes[0].fate, PARCEL_ABSENT);
	CHECK_EQ(look.outcomes[1].uid, 11);
	CHECK_EQ(look.surplus, 0);
	look_close(&look);
}

/* However many they are, they do not crowd out what is ours. */
TEST(twins_of_another_mailbox_leave_room_for_ours)
{
	struct look look;

	look_open(&look, "a");
	for (unsigned i = 0; i < 9; i++)
		claim(&look, 0, 18 - i, 'a', false);
	match(&look, "aaaaaaaaaa");
	CHECK(look.outcomes[0].fate == PARCEL_STORED && look.outcomes[0].uid == 19);
	CHECK_EQ(look.surplus, 0);
	look_close(&look);
}

/* The third is open, and its copy is none of those that the others have. */
TEST(a_settled_message_leaves_with_its_own_copy)
{
	struct look look;

	look_open(&look, "aaa");
	claim(&look, 1, 12, 'a', false);
	claim(&look, 2, 10, 'a', false);
	match(&look, "aaa");
	CHECK_EQ(look.settled, 2);
	CHECK_EQ(look.outcomes[0].fate, PARCEL_ABSENT);
	CHECK_EQ(look.outcomes[1].fate, PARCEL_ABSENT);
	CHECK(look.outcomes[2].fate == PARCEL_STORED && look.outcomes[2].uid == 11);
	CHECK_EQ(look.surplus, 0);
	look_close(&look);

	look_open(&look, "a");
	claim(&look, 1, 11, 'a', false);
	match(&look, "aaa");
	CHECK_EQ(look.outcomes[0].fate, PARCEL_ABSENT);
	CHECK_EQ(look.surplus, 2);
	look_close(&look);

	look_open(&look, "aa"); /* it comes behind more than are kept */
	claim(&look, 1, 19, 'a', false);
	match(&look, "aaaaaaaaaa");
	CHECK_EQ(look.settled, 1);
	CHECK_EQ(look.outcomes[1].uid, 10);
	CHECK_EQ(look.surplus, 8);
	look_close(&look);
}

/* Both are messages of the source. One is settled, and the copy of the other comes first. */
TEST(a_wrapper_and_its_original_do_not_change_places)
{
	static const char order[] = "wo";
	struct look look;

	for (unsigned settled = 0; settled < 2; settled++) {
		look_open(&look, order);
		claim(&look, settled + 1, 11, order[settled], false);
		match(&look, "WW");
		CHECK_EQ(look.outcomes[settled].fate, PARCEL_ABSENT);
		CHECK(look.outcomes[!settled].fate == PARCEL_STORED &&
		      look.outcomes[!settled].uid == 10);
		CHECK_EQ(look.outcomes[!settled].wrapped, !settled);
		look_close(&look);
	}
}

/* It was given back, and sent in a later parcel: two records, one copy. */
TEST(all_records_of_a_settled_message_leave)
{
	struct look look;

	look_open(&look, "aa");
	parcel_claims_close(&look.claims);
	parcel_record_add(&look.blob, &(struct parcel_record){ .box_no = 1,
							       .no = 1,
							       .digest = named('a'),
							       .normal = named('a') });
	look.records = (struct text){ look.blob.at, look.blob.bytes };
	CHECK_OK(parcel_claims_open(look.records, MARK, &look.claims));
	claim(&look, 1, 10, 'a', false);
	look.known[2] = SINK_KNOWN_STORED;
	match(&look, "aa");
	CHECK_EQ(look.settled, 2);
	CHECK(look.outcomes[1].fate == PARCEL_STORED && look.outcomes[1].uid == 11);
	CHECK_EQ(look.outcomes[2].fate, PARCEL_ABSENT);
	look_close(&look);
}

/* Then the record has some copy all the same, and the twin that is not there is sent again. */
TEST(a_uid_that_is_not_true_claims_nothing)
{
	static const uint64_t lies[] = { 11, 5000, UINT64_C(1) << 32 | 10 };
	struct look look;

	for (unsigned i = 0; i < ARRAY_COUNT(lies); i++) {
		look_open(&look, "aab");
		claim(&look, 1, lies[i], 'a', false);
		match(&look, "ab");
		CHECK_EQ(look.settled, 0);
		CHECK(look.outcomes[0].fate == PARCEL_STORED && look.outcomes[0].uid == 10);
		CHECK_EQ(look.outcomes[1].fate, PARCEL_ABSENT);
		CHECK_EQ(look.outcomes[2].uid, 11);
		look_close(&look);
	}
}

/* Altered by the server, or found with other headers. Of a record it is known how it may be. */
TEST(a_copy_with_other_bytes_is_claimed_where_they_may_be_other)
{
	struct look look;

	look_open(&look, "ab");
	claim(&look, 0, 10, 'x', true);
	match(&look, "ab");
	CHECK_EQ(look.outcomes[0].fate, PARCEL_ABSENT);
	CHECK_EQ(look.outcomes[1].uid, 11);
	look_close(&look);

	look_open(&look, "ab");
	claim(&look, 1, 10, 'a', true); /* it could not be read then, and is the other */
	match(&look, "b");
	CHECK_EQ(look.settled, 0);
	CHECK(look.outcomes[1].fate == PARCEL_STORED && look.outcomes[1].uid == 10);
	look_close(&look);
}

TEST(what_this_mailbox_sent_later_is_counted_as_before)
{
	struct look look;

	look_open(&look, "a");
	claim(&look, MOST + 1, 10, 'a', false);
	match(&look, "aa");
	CHECK(look.outcomes[0].fate == PARCEL_STORED && look.outcomes[0].uid == 10);
	CHECK_EQ(look.surplus, 1);
	look_close(&look);
}

/* Else what is there would be sent again. */
TEST(a_guess_claims_only_the_bytes_it_has)
{
	struct parcel_unread unread[] = { { .uid = 10 } };
	size_t unread_count = ARRAY_COUNT(unread);
	struct look look;

	look_open(&look, "ab");
	guess(&look, 0, 10, 'x');
	guess(&look, 0, 11, 'b');
	match(&look, "ab");
	CHECK(look.outcomes[0].fate == PARCEL_STORED && look.outcomes[0].uid == 10);
	CHECK_EQ(look.outcomes[1].fate, PARCEL_ABSENT);
	CHECK_EQ(parcel_claims_settle(look.claims, NULL, 0, unread, &unread_count, look.known), 0);
	CHECK_EQ(unread_count, 1);
	look_close(&look);

	look_open(&look, "a");
	guess(&look, 1, 10, 'x'); /* as if "a" had the Message-ID of other bytes */
	match(&look, "a");
	CHECK_EQ(look.settled, 0);
	CHECK_EQ(parcel_claims_settle(look.claims, NULL, 0, unread, &unread_count, look.known), 1);
	look_close(&look);
}

TEST(a_claimed_message_that_cannot_be_read_is_in_nobodys_doubt)
{
	struct parcel_unread unread[] = { { .uid = 10 }, { .uid = 11 }, { .uid = 12 } };
	size_t unread_count = ARRAY_COUNT(unread);
	struct look look;

	look_open(&look, "ab");
	claim(&look, 0, 10, 'a', false);
	claim(&look, 2, 12, 'b', false);
	parcel_claims_sort(look.claims);
	CHECK_EQ(parcel_claims_settle(look.claims, NULL, 0, unread, &unread_count, look.known), 1);
	CHECK_EQ(unread_count, 1);
	CHECK_EQ(unread[0].uid, 11);
	CHECK_EQ(look.known[0], SINK_KNOWN_OPEN);
	CHECK_EQ(look.known[1], SINK_KNOWN_NOT_STORED);
	look_close(&look);
}
