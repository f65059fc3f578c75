/* What a server says that it can do, above all as a destination. Lists of real servers are in
 * tests/wire. */
#include "tests/test.h"

#include "transport/imap.h"

static unsigned bits_of(const char *list)
{
	return imap_parse_capability(text_of(list));
}

TEST(literal_plus_is_of_any_length_and_literal_minus_of_short_ones)
{
	CHECK_EQ(bits_of(" LITERAL+"), IMAP_HAS_LITERAL_PLUS | IMAP_HAS_LITERAL_PLUS_LARGE);
	CHECK_EQ(bits_of(" LITERAL-"), IMAP_HAS_LITERAL_PLUS);
	CHECK_EQ(bits_of(" IMAP4rev1 literal- LITERAL+"),
		 IMAP_REV1 | IMAP_HAS_LITERAL_PLUS | IMAP_HAS_LITERAL_PLUS_LARGE);
	CHECK_EQ(bits_of(" LITERAL LITERAL* LITERAL+X XLITERAL+"), 0);
}

TEST(the_second_revision_brings_short_literals_and_told_uids_but_no_binary_append)
{
	unsigned bits = bits_of(" IMAP4rev2");

	CHECK((bits & IMAP_HAS_LITERAL_PLUS) && (bits & IMAP_HAS_UIDPLUS));
	CHECK(!(bits & (IMAP_HAS_LITERAL_PLUS_LARGE | IMAP_HAS_BINARY | IMAP_HAS_MULTIAPPEND |
			IMAP_HAS_APPENDLIMIT | IMAP_HAS_CREATE_SPECIAL_USE)));
}

TEST(what_a_destination_offers_is_told_apart)
{
	CHECK_EQ(bits_of(" MULTIAPPEND"), IMAP_HAS_MULTIAPPEND);
	CHECK_EQ(bits_of(" UIDPLUS"), IMAP_HAS_UIDPLUS);
	CHECK_EQ(bits_of(" BINARY"), IMAP_HAS_BINARY);
	CHECK_EQ(bits_of(" CREATE-SPECIAL-USE"), IMAP_HAS_CREATE_SPECIAL_USE);
	CHECK_EQ(bits_of(" create-special-use SPECIAL-USE multiappend"),
		 IMAP_HAS_CREATE_SPECIAL_USE | IMAP_HAS_SPECIAL_USE | IMAP_HAS_MULTIAPPEND);
	CHECK_EQ(bits_of(""), 0);
	CHECK_EQ(bits_of("   "), 0);
}

TEST(only_one_way_to_compress_is_known)
{
	CHECK_EQ(bits_of(" COMPRESS=DEFLATE"), IMAP_HAS_COMPRESS_DEFLATE);
	CHECK_EQ(bits_of(" compress=deflate"), IMAP_HAS_COMPRESS_DEFLATE);
	CHECK_EQ(bits_of(" COMPRESS COMPRESS= COMPRESS=ZSTD XCOMPRESS=DEFLATE DEFLATE"), 0);
}

static void check_limit(const char *list, bool told, uint64_t limit)
{
	uint64_t got = 0;

	CHECK_EQ(imap_parse_append_limit(text_of(list), &got), told);
	CHECK(!told || got == limit);
	CHECK_EQ((bits_of(list) & IMAP_HAS_APPENDLIMIT) != 0, told);
}

TEST(the_largest_message_is_read_where_the_server_has_one_limit)
{
	uint64_t got = 7;

	check_limit(" IMAP4rev1 APPENDLIMIT=35651584 UIDPLUS", true, 35651584);
	check_limit(" appendlimit=0", true, 0);
	check_limit(" X APPENDLIMIT=18446744073709551615", true, UINT64_MAX);
	check_limit(" APPENDLIMIT=18446744073709551616", false, 0);
	check_limit(" APPENDLIMIT=", false, 0);
	check_limit(" APPENDLIMIT=12k", false, 0);
	check_limit(" APPENDLIMIT=-1", false, 0);
	check_limit(" XAPPENDLIMIT=12", false, 0);
	check_limit(" APPENDLIMITS=12", false, 0);
	CHECK(!imap_parse_append_limit(text_of(" APPENDLIMIT"), &got));
	CHECK_EQ(bits_of(" APPENDLIMIT"), IMAP_HAS_APPENDLIMIT);
	CHECK_EQ(got, 7);
}
