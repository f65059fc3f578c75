/* What lay in a destination's folder before: the table, and what a server says of it. */
#include "tests/test.h"

#include "engine/bytes.h"
#include "transport/existing.h"
#include "transport/imap_existing.h"

static void add(struct existing *existing, struct existing_box *box, uint32_t uid, uint64_t key)
{
	uint8_t bytes[EXISTING_KEY_BYTES] = { 0 };

	bytes_put_le64(bytes, key);
	CHECK_OK(existing_add(existing, box, uid, bytes, uid % 10 == 9));
}

static size_t find(const struct existing *existing, const struct existing_box *box, uint64_t key,
		   struct existing_row **first)
{
	uint8_t bytes[EXISTING_KEY_BYTES] = { 0 };

	bytes_put_le64(bytes, key);
	return existing_find(existing, box, bytes, first);
}

TEST(rows_are_found_by_uid_and_then_by_key_in_the_order_of_uids)
{
	static const uint32_t uids[] = { 5, 3, 77, 3, 40, 19, 8, 77 };
	struct existing existing = { 0 };
	struct existing_box one, other;
	struct existing_row *row;

	existing_begin(&existing, &one);
	existing_begin(&existing, &other);
	CHECK(!existing_of_uid(&existing, &one, 5));
	CHECK_EQ(find(&existing, &one, 0, &row), 0);
	for (unsigned i = 0; i < ARRAY_COUNT(uids); i++)
		add(&existing, &one, uids[i], uids[i] % 5);
	existing_by_uid(&existing, &one);
	CHECK_EQ(one.count, 6);
	CHECK_EQ(existing_of_uid(&existing, &one, 40)->uid, 40);
	CHECK(!existing_of_uid(&existing, &one, 41));
	existing_of_uid(&existing, &one, 40)->state = EXISTING_TAKEN;
	existing_by_key(&existing, &one);
	CHECK_EQ(one.count, 4); /* 19 was taken from the beginning */

	existing_begin(&existing, &other);
	for (uint32_t uid = 100000; uid > 0; uid--)
		add(&existing, &other, uid, 3);
	existing_by_uid(&existing, &other);
	existing_by_key(&existing, &other);
	CHECK_EQ(other.count, 90000);
	CHECK_EQ(find(&existing, &other, 3, &row), 90000);
	CHECK(row[0].uid == 1 && row[9].uid == 11);
	CHECK_EQ(find(&existing, &other, 2, &row), 0);
	CHECK_EQ(find(&existing, &one, 3, &row), 2);
	CHECK(row[0].uid == 3 && row[1].uid == 8);
	CHECK_EQ(find(&existing, &one, 0, &row), 1);
	CHECK_EQ(find(&existing, &one, 4, &row), 0);
	existing_close(&existing);
}

TEST(what_was_sent_nobody_knows_where_is_known_by_its_digest)
{
	struct digest everywhere = { { 9 } }, here = { { 1 } }, there = { { 2 } };
	struct existing existing = { 0 };
	struct existing_box one, other;

	CHECK_OK(existing_was_sent(&existing, NULL, &everywhere));
	CHECK_OK(existing_was_sent(&existing, NULL, &(struct digest){ { 7 } }));
	existing_sent_ends(&existing, NULL);
	existing_begin(&existing, &one);
	CHECK_OK(existing_was_sent(&existing, &one, &here));
	existing_sent_ends(&existing, &one);
	existing_begin(&existing, &other);
	CHECK_OK(existing_was_sent(&existing, &other, &there));
	existing_sent_ends(&existing, &other);
	CHECK(existing_may_be_ours(&existing, &one, &everywhere));
	CHECK(existing_may_be_ours(&existing, &one, &here));
	CHECK(!existing_may_be_ours(&existing, &one, &there));
	CHECK(existing_may_be_ours(&existing, &other, &there));
	CHECK(!existing_may_be_ours(&existing, &other, &here));
	existing_close(&existing);
}

static char room[IMAP_EXISTING_HEADER_BYTES_MAX];

static struct imap_existing_facts read_reply(const char *reply)
{
	struct imap_existing_facts facts;

	CHECK(imap_existing_read(text_of(reply), room, &facts));
	return facts;
}

TEST(replies_are_read_in_any_order_and_spelling)
{
	struct imap_existing_facts facts =
		read_reply("3 FETCH (FLAGS (\\Seen \\DELETED) X-NEW (a \"b)\" {1}\r\n)) "
			   "RFC822.SIZE 4294967296 UID 7)");

	CHECK(facts.uid == 7 && facts.has_flags && facts.is_deleted && facts.has_size);
	CHECK(facts.size_bytes == 4294967296 && !facts.header.at);
	facts = read_reply("3 FETCH (UID 4294967295 FLAGS ())");
	CHECK(facts.uid == UINT32_MAX && facts.has_flags && !facts.is_deleted && !facts.has_size);
	facts = read_reply("3 FETCH (BODY[HEADER.FIELDS (\"Message-ID\" DATE FROM)]<0> "
			   "{12}\r\nFrom: a)\r\n\r\n UID 5)");
	CHECK(facts.uid == 5 && text_equal(facts.header, text_of("From: a)\r\n\r\n")));
	facts = read_reply("3 FETCH (UID 5 BODY[HEADER.FIELDS (FROM)] \"From: \\\"a\\\"\")");
	CHECK(text_equal(facts.header, text_of("From: \"a\"")));
	facts = read_reply("3 FETCH (UID 5 BODY[HEADER] \"From: a\")");
	CHECK(!facts.header.at);
}

TEST(what_is_no_fetch_reply_says_nothing)
{
	static const char *const replies[] = {
		"3 EXISTS",
		"FETCH (UID 1)",
		"3 FETCH",
		"3 FETCH (UID 1",
		"3 FETCH (UID x)",
		"3 FETCH (UID)",
		"3 FETCH (BODY[ UID)",
		"3 FETCH (UID 1 FLAGS",
		"3 FETCH (RFC822.SIZE -1)",
	};
	struct imap_existing_facts facts;

	for (unsigned i = 0; i < ARRAY_COUNT(replies); i++)
		CHECK(!imap_existing_read(text_of(replies[i]), room, &facts));
}
