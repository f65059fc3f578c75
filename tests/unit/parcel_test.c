/* The seal of a parcel, and what a look into the folder says of it. */
#include "tests/test.h"

#include <stdlib.h>

#include "transport/parcel_wanted.h"

enum { MOST = 20 };

/* Digests of two letters are told apart by them. */
static struct digest named(char kind)
{
	struct digest digest = { { (uint8_t)kind } };

	return digest;
}

struct parcel {
	struct buffer records;
	struct parcel_found found[MOST];
	size_t found_count;
	struct parcel_outcome outcomes[MOST];
	size_t surplus;
};

/* A record a letter: "a" is one that no server alters, "A" one that some store as "a". Found: a
 * letter each, with UIDs from 10 on; "1" is the wrapper of "a", "2" of "b". */
static void match_known(struct parcel *parcel, const char *records, const char *found,
			const enum sink_known *known)
{
	*parcel = (struct parcel){ 0 };
	for (size_t i = 0; records[i]; i++) {
		bool alters = records[i] < 'a';
		struct parcel_record record = {
			.box_no = 1,
			.no = i + 1,
			.digest = named(records[i]),
			.normal = named(alters ? (char)(records[i] - 'A' + 'a') : records[i]),
		};

		parcel_record_add(&parcel->records, &record);
	}
	for (; found[parcel->found_count]; parcel->found_count++)
		parcel->found[parcel->found_count] =
			(struct parcel_found){ .uid = (uint32_t)(10 + parcel->found_count),
					       .digest = named(found[parcel->found_count]),
					       .normal = named(found[parcel->found_count]) };
	for (size_t i = 0; i < parcel->found_count; i++)
		if (found[i] >= '1' && found[i] <= '9') {
			parcel->found[i].wrapped = true;
			parcel->found[i].inside = named((char)(found[i] - '1' + 'a'));
		}
	parcel->surplus = parcel_match((struct text){ parcel->records.at, parcel->records.bytes },
				       known, parcel->found, parcel->found_count, parcel->outcomes);
	buffer_free(&parcel->records);
}

static void match(struct parcel *parcel, const char *records, const char *found)
{
	match_known(parcel, records, found, NULL);
}

/* `fates`: "." absent, "=" stored, "~" altered; UIDs as they are, 0 for none. */
static void check(const char *records, const char *found, const char *fates, const uint32_t *uids,
		  size_t surplus)
{
	static const char signs[] = { '.', '=', '~' };
	struct parcel parcel;

	match(&parcel, records, found);
	for (size_t i = 0; fates[i]; i++) {
		CHECK_EQ(signs[parcel.outcomes[i].fate], fates[i]);
		CHECK_EQ(parcel.outcomes[i].uid, uids[i]);
	}
	CHECK_EQ(parcel.surplus, surplus);
}

TEST(a_parcel_that_never_arrived_is_absent)
{
	check("abc", "", "...", (uint32_t[]){ 0, 0, 0 }, 0);
	check("", "", "", NULL, 0);
}

TEST(what_arrived_is_stored_whatever_the_order)
{
	check("abc", "abc", "===", (uint32_t[]){ 10, 11, 12 }, 0);
	check("abc", "cab", "===", (uint32_t[]){ 11, 12, 10 }, 0);
	check("abc", "b", ".=.", (uint32_t[]){ 0, 10, 0 }, 0);
}

TEST(mail_that_others_delivered_matches_nothing_and_is_no_surplus)
{
	check("ab", "xaybz", "==", (uint32_t[]){ 11, 13 }, 0);
	check("ab", "xxxx", "..", (uint32_t[]){ 0, 0 }, 0);
}

TEST(identical_twins_stay_twins)
{
	check("aaa", "aaa", "===", (uint32_t[]){ 10, 11, 12 }, 0);
	check("aaa", "aa", "==.", (uint32_t[]){ 10, 11, 0 }, 0);
	check("aba", "aab", "===", (uint32_t[]){ 10, 12, 11 }, 0);
}

TEST(one_copy_too_many_is_counted)
{
	check("a", "aa", "=", (uint32_t[]){ 10 }, 1);
	check("aab", "aaaabb", "===", (uint32_t[]){ 10, 11, 14 }, 3);
}

/* Like what is there as it is, but behind it. */
TEST(what_is_there_wrapped_is_stored)
{
	struct parcel parcel;

	check("ab", "21", "==", (uint32_t[]){ 11, 10 }, 0);
	check("ab", "1", "=.", (uint32_t[]){ 10, 0 }, 0);
	check("aaa", "11", "==.", (uint32_t[]){ 10, 11, 0 }, 0);
	check("a", "1a", "=", (uint32_t[]){ 11 }, 0);
	check("a", "11", "=", (uint32_t[]){ 10 }, 1);
	match(&parcel, "ab", "1b");
	CHECK(parcel.outcomes[0].wrapped && !parcel.outcomes[1].wrapped);
}

/* "1" was a message of the source itself. */
TEST(a_wrapper_that_was_copied_is_not_its_original)
{
	static const enum sink_known first[] = { SINK_KNOWN_STORED, SINK_KNOWN_OPEN },
				     second[] = { SINK_KNOWN_OPEN, SINK_KNOWN_STORED };
	struct parcel parcel;

	check("a1", "1", ".=", (uint32_t[]){ 0, 10 }, 0);
	check("a1", "11", "==", (uint32_t[]){ 11, 10 }, 0);
	check("a1", "111", "==", (uint32_t[]){ 11, 10 }, 1);
	match(&parcel, "a1", "11");
	CHECK(parcel.outcomes[0].wrapped && !parcel.outcomes[1].wrapped);
	/* The copy is its that is known to be there: the other one is sent again. */
	match_known(&parcel, "a1", "1", first);
	CHECK(parcel.outcomes[0].fate == PARCEL_STORED && parcel.outcomes[0].wrapped);
	CHECK_EQ(parcel.outcomes[1].fate, PARCEL_ABSENT);
	match_known(&parcel, "a1", "1", second);
	CHECK_EQ(parcel.outcomes[0].fate, PARCEL_ABSENT);
	CHECK(parcel.outcomes[1].fate == PARCEL_STORED && !parcel.outcomes[1].wrapped);
}

TEST(what_a_server_altered_is_there_and_doubtful)
{
	check("A", "a", "~", (uint32_t[]){ 10 }, 0);
	check("A", "A", "=", (uint32_t[]){ 10 }, 0);
	check("A", "Aa", "=", (uint32_t[]){ 10 }, 0);
	check("AA", "aA", "=~", (uint32_t[]){ 11, 10 }, 0);
}

TEST(an_exact_copy_is_not_taken_for_the_altered_form_of_another)
{
	check("Aa", "a", ".=", (uint32_t[]){ 0, 10 }, 0);
	check("Aa", "aa", "~=", (uint32_t[]){ 11, 10 }, 0);
}

/* No line end in it: its normal form is all of it. Courier gives it one. */
TEST(a_message_that_is_its_own_normal_form_is_known_with_the_line_end_it_got)
{
	struct parcel_record record = { .no = 1, .digest = named('l'), .normal = named('l') };
	struct parcel_found found = { .uid = 10, .digest = named('e'), .normal = named('l') };
	struct parcel_outcome outcome;
	struct buffer records = { 0 };

	parcel_record_add(&records, &record);
	CHECK_EQ(
		parcel_match((struct text){ records.at, records.bytes }, NULL, &found, 1, &outcome),
		0);
	CHECK_EQ(outcome.fate, PARCEL_ALTERED);
	CHECK_EQ(outcome.uid, 10);
	buffer_free(&records);
}

TEST(twins_are_told_apart_by_their_flags_and_dates)
{
	struct parcel_found found[] = { { .uid = 7, .mark = 1, .date_s = 10 },
					{ .uid = 8, .mark = 2, .date_s = 10 },
					{ .uid = 9, .mark = 1, .date_s = 20 } };
	struct parcel_record records[] = { { .mark = 1, .date_s = 20 },
					   { .mark = 3, .date_s = 3 },
					   { .mark = 2, .date_s = 10 } };
	struct parcel_outcome outcomes[3];
	struct buffer blob = { 0 };

	for (size_t i = 0; i < 3; i++)
		parcel_record_add(&blob, &records[i]);
	CHECK_EQ(parcel_match((struct text){ blob.at, blob.bytes }, NULL, found, 3, outcomes), 0);
	CHECK(outcomes[0].fate == PARCEL_STORED && outcomes[0].uid == 9);
	CHECK(outcomes[1].fate == PARCEL_STORED && outcomes[1].uid == 7);
	CHECK(outcomes[2].fate == PARCEL_STORED && outcomes[2].uid == 8);
	buffer_free(&blob);
}

static const struct parcel_record two_twins[] = {
	{ .no = 1, .digest = { { 'A' } }, .normal = { { 'a' } }, .mark = 1, .id = { 3 } },
	{ .no = 2, .digest = { { 'A' } }, .normal = { { 'a' } }, .date_s = 7, .id = { 3 } },
};

/* What is there of two twins belongs to that one. */
static void check_twin(struct parcel_found found, unsigned twin, enum parcel_fate fate)
{
	struct parcel_outcome outcomes[2];
	struct buffer records = { 0 };

	found.uid = 10;
	parcel_record_add(&records, &two_twins[0]);
	parcel_record_add(&records, &two_twins[1]);
	CHECK_EQ(
		parcel_match((struct text){ records.at, records.bytes }, NULL, &found, 1, outcomes),
		0);
	CHECK_EQ(outcomes[!twin].fate, PARCEL_ABSENT);
	CHECK_EQ(outcomes[twin].fate, fate);
	CHECK_EQ(outcomes[twin].uid, 10);
	buffer_free(&records);
}

TEST(an_altered_twin_is_told_from_the_one_that_is_not_there_by_its_flags_and_date)
{
	check_twin((struct parcel_found){ .digest = named('x'), .normal = named('a'), .date_s = 7 },
		   1, PARCEL_ALTERED);
	check_twin((struct parcel_found){ .digest = named('x'), .id = { 3 }, .date_s = 7 }, 1,
		   PARCEL_ALTERED);
}

TEST(a_twin_whose_date_or_flags_the_server_changed_is_told_by_what_it_kept)
{
	check_twin((struct parcel_found){ .digest = named('A'), .date_s = 99 }, 1, PARCEL_STORED);
	check_twin((struct parcel_found){ .digest = named('A'), .mark = 5, .date_s = 7 }, 1,
		   PARCEL_STORED);
	check_twin((struct parcel_found){ .digest = named('A'), .mark = 1, .date_s = 99 }, 0,
		   PARCEL_STORED);
	check_twin((struct parcel_found){ .digest = named('A') }, 0, PARCEL_STORED);
}

TEST(what_has_its_message_id_alone_is_doubtful)
{
	struct parcel_found found[] = { { .uid = 7, .digest = named('x'), .id = { 5 } },
					{ .uid = 8, .digest = named('y') } };
	struct parcel_record records[] = {
		{ .digest = named('a'), .normal = named('a') },
		{ .digest = named('b'), .normal = named('b'), .id = { 5 } },
		{ .digest = named('c'), .normal = named('c'), .id = { 5 } }
	};
	struct parcel_outcome outcomes[3];
	struct buffer blob = { 0 };

	for (size_t i = 0; i < 3; i++)
		parcel_record_add(&blob, &records[i]);
	CHECK_EQ(parcel_match((struct text){ blob.at, blob.bytes }, NULL, found, 2, outcomes), 0);
	CHECK_EQ(outcomes[0].fate, PARCEL_ABSENT);
	CHECK(outcomes[1].fate == PARCEL_ALTERED && outcomes[1].uid == 7);
	CHECK_EQ(outcomes[2].fate, PARCEL_ABSENT);
	buffer_free(&blob);
}

static void add_records(struct buffer *to, const char *records)
{
	for (size_t i = 0; records[i]; i++)
		parcel_record_add(to, &(struct parcel_record){ .box_no = 1,
							       .no = i + 1,
							       .size_bytes = 100 + i,
							       .digest = named(records[i]),
							       .normal = named(records[i]) });
}

/* Twins in seals of two folders of one name, and one copy. */
TEST(a_copy_in_a_folder_that_was_replaced_twice_is_of_one_seal)
{
	const struct parcel_found there[] = { { .uid = 3, .digest = named('a') },
					      { .uid = 9, .digest = named('b') } };
	struct parcel_found found[] = { there[0], there[1] };
	struct parcel_outcome outcomes[4];
	struct buffer blob = { 0 };
	struct text records;

	add_records(&blob, "abab");
	records = (struct text){ blob.at, blob.bytes };
	CHECK_EQ(parcel_match_folder(records, 2, 5, NULL, found, 2, outcomes), 0);
	CHECK_EQ(outcomes[0].fate, PARCEL_ABSENT); /* its copy would have UID 5 or more */
	CHECK(outcomes[1].fate == PARCEL_STORED && outcomes[1].uid == 9);
	CHECK(outcomes[2].fate == PARCEL_STORED && outcomes[2].uid == 3);
	CHECK_EQ(outcomes[3].fate, PARCEL_ABSENT);
	found[0] = there[0];
	found[1] = there[1];
	CHECK_EQ(parcel_match_folder(records, 0, UINT32_MAX, NULL, found, 2, outcomes), 0);
	CHECK_EQ(outcomes[0].fate + outcomes[2].fate, PARCEL_STORED);
	CHECK_EQ(outcomes[1].fate + outcomes[3].fate, PARCEL_STORED);
	buffer_free(&blob);
}

TEST(a_message_that_cannot_be_read_is_in_doubt_where_its_size_is_a_records)
{
	struct parcel_unread unread[] = { { .uid = 7, .size_bytes = 101 },
					  { .uid = 8, .size_bytes = 5000 } };
	enum sink_known known[] = { SINK_KNOWN_NOT_STORED, SINK_KNOWN_OPEN, SINK_KNOWN_OPEN };
	struct parcel_outcome outcomes[3] = { { 0 } };
	struct buffer blob = { 0 };

	add_records(&blob, "abc");
	parcel_match_unread((struct text){ blob.at, blob.bytes }, known, unread, 2, outcomes);
	CHECK_EQ(outcomes[0].fate, PARCEL_ABSENT);
	CHECK(outcomes[1].fate == PARCEL_UNREAD && outcomes[1].uid == 7);
	CHECK_EQ(outcomes[2].fate, PARCEL_ABSENT);
	unread[1].size_bytes = UINT64_MAX;
	parcel_match_unread((struct text){ blob.at, blob.bytes }, known, unread, 2, outcomes);
	CHECK(outcomes[2].fate == PARCEL_UNREAD && outcomes[2].uid == 8);
	buffer_free(&blob);
}

/* ---- what is kept of a look ---- */

TEST(of_what_others_deliver_nothing_is_kept)
{
	struct parcel_found found = { 0 };
	struct parcel_wanted *wanted;
	struct buffer blob = { 0 };
	size_t kept = 0;

	add_records(&blob, "aab");
	CHECK_OK(parcel_wanted_open((struct text){ blob.at, blob.bytes }, NULL, &wanted));
	for (unsigned i = 0; i < 300 * 1000; i++) {
		bytes_put_le32(found.digest.bytes + 4, i + 1);
		found.normal = found.digest;
		kept += parcel_wanted_keeps(wanted, &found);
	}
	CHECK_EQ(kept, 0);
	CHECK_EQ(parcel_wanted_over(wanted), 0);
	parcel_wanted_close(&wanted);
	buffer_free(&blob);
}

TEST(of_copies_one_too_many_is_kept_and_the_rest_is_counted)
{
	struct parcel_found found = { .digest = named('a') };
	struct parcel_wanted *wanted;
	struct buffer blob = { 0 };
	size_t kept = 0;

	add_records(&blob, "aab");
	CHECK_OK(parcel_wanted_open((struct text){ blob.at, blob.bytes }, NULL, &wanted));
	for (unsigned i = 0; i < 10; i++)
		kept += parcel_wanted_keeps(wanted, &found);
	CHECK_EQ(kept, 3);
	CHECK_EQ(parcel_wanted_over(wanted), 7);
	parcel_wanted_anew(wanted, &found, 1, 0);
	CHECK_EQ(parcel_wanted_over(wanted), 0);
	CHECK(parcel_wanted_keeps(wanted, &found));
	CHECK(parcel_wanted_keeps(wanted, &found));
	CHECK(!parcel_wanted_keeps(wanted, &found));
	found.digest = named('b');
	CHECK(parcel_wanted_keeps(wanted, &found));
	parcel_wanted_close(&wanted);
	buffer_free(&blob);
}

/* Courier ends the last line: of an empty message it makes the bytes of one that is CR LF. */
TEST(what_a_server_makes_of_one_message_may_be_another)
{
	struct parcel_record line = { .digest = named('l'), .normal = named('l'), .mark = 1 },
			     empty = { .digest = named('e'), .normal = named('n'), .mark = 2 };
	struct parcel_found found[2] = {
		{ .uid = 5, .digest = named('l'), .normal = named('n'), .mark = 2 },
		{ .uid = 6, .digest = named('l'), .normal = named('n'), .mark = 1 },
	};
	struct parcel_outcome outcomes[2];
	struct parcel_wanted *wanted;
	struct buffer blob = { 0 };
	struct text records;

	parcel_record_add(&blob, &line);
	parcel_record_add(&blob, &empty);
	records = (struct text){ blob.at, blob.bytes };
	CHECK_OK(parcel_wanted_open(records, NULL, &wanted));
	CHECK(parcel_wanted_keeps(wanted, &found[0]));
	CHECK(parcel_wanted_keeps(wanted, &found[1]));
	CHECK(parcel_wanted_keeps(wanted, &found[1]));
	CHECK(!parcel_wanted_keeps(wanted, &found[1]));
	CHECK_EQ(parcel_wanted_over(wanted), 1);
	CHECK_EQ(parcel_match(records, NULL, found, 2, outcomes), 0);
	CHECK(outcomes[0].fate == PARCEL_STORED && outcomes[0].uid == 6);
	CHECK(outcomes[1].fate == PARCEL_ALTERED && outcomes[1].uid == 5);
	CHECK_EQ(parcel_match(records, NULL, found, 1, outcomes), 0);
	CHECK(outcomes[found[0].mark == 1 ? 1 : 0].fate == PARCEL_ABSENT);
	parcel_wanted_close(&wanted);
	buffer_free(&blob);
}

/* As many as a group has, all alike: each takes the next without looking at all before it. */
TEST(a_group_of_twins_is_matched_in_order)
{
	enum { GROUP = 64 * 128 };
	struct parcel_record record = { .digest = named('a'), .normal = named('n') };
	struct parcel_found *found = calloc(GROUP, sizeof *found);
	struct parcel_outcome *outcomes = calloc(GROUP, sizeof *outcomes);
	struct buffer blob = { 0 };
	size_t wrong = 0;

	CHECK(found && outcomes);
	for (unsigned i = 0; i < GROUP; i++) {
		parcel_record_add(&blob, &record);
		found[i] = (struct parcel_found){ .uid = GROUP - i,
						  .digest = named(i % 2 ? 'x' : 'a'),
						  .normal = named('n') };
	}
	CHECK_EQ(parcel_match((struct text){ blob.at, blob.bytes }, NULL, found, GROUP, outcomes),
		 0);
	for (unsigned i = 0; i < GROUP; i++)
		wrong += i < GROUP / 2
				 ? outcomes[i].fate != PARCEL_STORED || outcomes[i].uid != 2 * i + 2
				 : outcomes[i].fate != PARCEL_ALTERED ||
					   outcomes[i].uid != 2 * (i - GROUP / 2) + 1;
	CHECK_EQ(wrong, 0);
	free(found);
	free(outcomes);
	buffer_free(&blob);
}

/* Whatever was stored of whatever was sent, amid whatever mail of others: each letter is accounted
 * for as often as it is there, and never more. */
TEST(as_many_are_accounted_for_as_there_are)
{
	static const char letters[] = "abcde";
	uint64_t dice = 1;

	for (int round = 0; round < 20000; round++) {
		unsigned sent[5] = { 0 }, there[5] = { 0 }, stored[5] = { 0 };
		char records[MOST] = "", found[MOST] = "";
		struct parcel parcel;
		size_t n, m;

		dice = dice * 6364136223846793005u + 1442695040888963407u;
		n = dice >> 33 & 15;
		m = dice >> 40 & 15;
		for (size_t i = 0; i < n; i++)
			records[i] = letters[(dice >> (i * 3) & 7) % 5];
		for (size_t i = 0; i < m; i++)
			found[i] = letters[(dice >> (60 - i * 3) & 7) % 5];
		match(&parcel, records, found);
		for (size_t i = 0; i < n; i++) {
			sent[records[i] - 'a']++;
			stored[records[i] - 'a'] += parcel.outcomes[i].fate == PARCEL_STORED;
			CHECK(parcel.outcomes[i].fate != PARCEL_STORED ||
			      found[parcel.outcomes[i].uid - 10] == records[i]);
		}
		for (size_t i = 0; i < m; i++)
			there[found[i] - 'a']++;
		for (size_t i = 0, copies = 0; i < 5; i++) {
			CHECK_EQ(stored[i], min_u64(sent[i], there[i]));
			if (sent[i] > 0 && there[i] > sent[i])
				copies += there[i] - sent[i];
			if (i == 4)
				CHECK_EQ(parcel.surplus, copies);
		}
	}
}

/* docs/FORMAT.md section 8.1. */
TEST(a_seal_is_the_bytes_that_are_specified)
{
	static const char expected_head[] =
		"4d48504152433031 07000000 2a000000 05000000 01000000 494e424f58";
	struct buffer records = { 0 }, blob = { 0 };
	struct parcel_record record = { 3, 17, 119, { { 1 } }, { { 2 } }, 4, 99, -5, { 8 } }, back;
	struct parcel_seal seal = { text_of("INBOX"), 7, 42, { 0 } }, read;
	char hex[2 * 29 + 1], packed[sizeof expected_head];
	size_t n = 0;

	parcel_record_add(&records, &record);
	seal.records = (struct text){ records.at, records.bytes };
	parcel_seal_write(&blob, &seal);
	CHECK_EQ(blob.bytes, 24 + 5 + PARCEL_RECORD_BYTES);
	bytes_to_hex(hex, (const uint8_t *)blob.at, 29);
	for (const char *at = expected_head; *at; at++)
		if (*at != ' ')
			packed[n++] = *at;
	packed[n] = '\0';
	CHECK_TEXT(hex, packed);
	REQUIRE(parcel_seal_read((struct text){ blob.at, blob.bytes }, &read));
	CHECK_EQ(read.uidvalidity, 7);
	CHECK_EQ(read.uidnext, 42);
	CHECK(text_equal(read.raw, text_of("INBOX")));
	parcel_record_get(read.records, 0, &back);
	CHECK(back.box_no == 3 && back.no == 17 && back.size_bytes == 119 && back.kind == 4 &&
	      back.mark == 99 && back.date_s == -5 && back.id[0] == 8);
	CHECK(back.digest.bytes[0] == 1 && back.normal.bytes[0] == 2);
	buffer_free(&blob);
	buffer_free(&records);
}

TEST(a_seal_that_is_cut_or_longer_is_none)
{
	struct buffer records = { 0 }, blob = { 0 };
	struct parcel_record record = { .no = 1 };
	struct parcel_seal seal = { .raw = text_of("a"), .uidvalidity = 1, .uidnext = 1 }, read;

	parcel_record_add(&records, &record);
	seal.records = (struct text){ records.at, records.bytes };
	parcel_seal_write(&blob, &seal);
	for (size_t n = 0; n < blob.bytes; n++)
		CHECK(!parcel_seal_read((struct text){ blob.at, n }, &read));
	buffer_add(&blob, "x", 1);
	CHECK(!parcel_seal_read((struct text){ blob.at, blob.bytes }, &read));
	blob.bytes--;
	blob.at[0] ^= 1;
	CHECK(!parcel_seal_read((struct text){ blob.at, blob.bytes }, &read));
	buffer_free(&blob);
	buffer_free(&records);
}

/* Of two twins the one that is known to be there has the copy, wherever it stands. */
TEST(a_copy_belongs_to_the_twin_that_is_known_to_be_there)
{
	const enum sink_known known[] = { SINK_KNOWN_OPEN, SINK_KNOWN_NOT_STORED,
					  SINK_KNOWN_STORED };
	struct parcel parcel;

	match(&parcel, "aaa", "a");
	CHECK_EQ(parcel.outcomes[0].fate, PARCEL_STORED);
	match_known(&parcel, "aaa", "a", known);
	CHECK_EQ(parcel.surplus, 0);
	CHECK_EQ(parcel.outcomes[0].fate, PARCEL_ABSENT);
	CHECK_EQ(parcel.outcomes[1].fate, PARCEL_ABSENT);
	CHECK_EQ(parcel.outcomes[2].fate, PARCEL_STORED);
	CHECK_EQ(parcel.outcomes[2].uid, 10);
}
