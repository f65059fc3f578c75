/* What is said and read where messages are taken back; the whole of it is in
 * tests/real/verify_test.
 */
#include "tests/test.h"

#include <stdlib.h>

#include "transport/imap_remove.h"

static const char *set_of(const uint32_t *uids, size_t count)
{
	static char text[200];
	struct buffer buffer = { 0 };

	imap_remove_add_set(&buffer, uids, count);
	must(!buffer.failed && buffer.bytes < sizeof text);
	bytes_copy(text, buffer.at, buffer.bytes, BYTES_META);
	text[buffer.bytes] = '\0';
	buffer_free(&buffer);
	return text;
}

TEST(a_set_names_the_numbers_given_and_no_others)
{
	static const uint32_t one[] = { 7 }, run[] = { 7, 8, 9 }, apart[] = { 1, 3, 5 },
			      all[] = { 1, 2, 4, 6, 7, 8, 10, 4294967294u, 4294967295u };

	CHECK_TEXT(set_of(one, 1), "7");
	CHECK_TEXT(set_of(run, 3), "7:9");
	CHECK_TEXT(set_of(apart, 3), "1,3,5");
	CHECK_TEXT(set_of(all, 9), "1:2,4,6:8,10,4294967294:4294967295");
}

static uint32_t uid_of(const char *reply)
{
	uint32_t uid = 0;

	return imap_remove_read_uid(text_of(reply), &uid) ? uid : 0;
}

TEST(the_uid_of_a_fetch_reply_is_found_wherever_it_stands)
{
	CHECK_EQ(uid_of("3 FETCH (UID 17)"), 17);
	CHECK_EQ(uid_of("3 fetch (uid 4294967295)"), 4294967295u);
	CHECK_EQ(uid_of("3 FETCH (FLAGS (\\Deleted \\Seen) UID 17)"), 17);
	CHECK_EQ(uid_of("3 FETCH (FLAGS () MODSEQ (12) UID 17 X y)"), 17);
	CHECK_EQ(uid_of("3 FETCH (X {3}\r\na)( UID 17)"), 17);
}

TEST(what_is_no_such_reply_names_no_message)
{
	static const char *const replies[] = { "",
					       "3 EXPUNGE",
					       "3 FETCH",
					       "3 FETCH (",
					       "3 FETCH (FLAGS (\\Deleted))",
					       "3 FETCH (UID)",
					       "3 FETCH (UID 0)",
					       "3 FETCH (UID 4294967296)",
					       "3 FETCH (UID x)",
					       "x FETCH (UID 3)",
					       "FETCH (UID 3)",
					       "3 FETCHED (UID 3)",
					       "VANISHED 3",
					       "3 FETCH (FLAGS (UID 3)" };

	for (unsigned i = 0; i < ARRAY_COUNT(replies); i++)
		CHECK_EQ(uid_of(replies[i]), 0);
}
