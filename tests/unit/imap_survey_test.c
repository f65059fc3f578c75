#include "transport/imap_survey.h"

#include <stdlib.h>

#include "tests/test.h"

/* The next set; "" for none. The same memory each time. */
static const char *next_set(struct imap_survey *survey)
{
	static struct buffer set;

	buffer_reset(&set);
	buffer_add_text(&set, "");
	return imap_survey_set(survey, 1, 1000, &set) ? set.at : "";
}

/* "+1 -2 +3": wanted or not, as they are told. */
static struct imap_survey *surveyed(const char *told)
{
	static struct imap_survey survey;
	char *end;

	imap_survey_begin(&survey);
	for (; *told; told = *end ? end + 1 : end)
		imap_survey_note(&survey, (uint32_t)strtoul(told + 1, &end, 10), *told == '+');
	imap_survey_end(&survey);
	return &survey;
}

TEST(where_nothing_is_there_or_wanted_nothing_is_asked)
{
	CHECK_TEXT(next_set(surveyed("")), "");
	CHECK_TEXT(next_set(surveyed("-1 -5")), "");
}

TEST(where_all_is_wanted_the_range_is_asked_once)
{
	struct imap_survey *survey = surveyed("+3 +7 +900");

	CHECK_TEXT(next_set(survey), "1:1000");
	CHECK_TEXT(next_set(survey), "");
}

TEST(runs_go_up_to_what_is_not_wanted)
{
	struct imap_survey *survey = surveyed("+1 +2 -3 +4 +9 -10 -11 +12");

	CHECK_TEXT(next_set(survey), "1:2,4:9,12");
	CHECK_TEXT(next_set(survey), "");
	CHECK_TEXT(next_set(surveyed("-1 +2")), "2");
}

TEST(messages_may_be_told_in_any_order_and_twice)
{
	CHECK_TEXT(next_set(surveyed("+9 -3 +1 +2 +4 +9 +1")), "1:2,4:9");
	CHECK_TEXT(next_set(surveyed("+1 +2 +3 -2")), "1,3");
	CHECK_TEXT(next_set(surveyed("+1 -2 +3 +2")), "1,3");
	CHECK_TEXT(next_set(surveyed("+4294967295 -4294967294")), "4294967295");
}

TEST(sets_are_short_and_miss_nothing)
{
	static struct imap_survey survey;
	unsigned sets = 0, asked = 0;
	const char *set;

	imap_survey_begin(&survey);
	for (unsigned i = 0; i < IMAP_SURVEY_MAX; i++)
		imap_survey_note(&survey, 4000000000u + i, i % 2 == 0);
	CHECK(!survey.full);
	imap_survey_note(&survey, 4000000000u, true);
	CHECK(!survey.full);
	imap_survey_note(&survey, 5, true);
	CHECK(survey.full);
	imap_survey_end(&survey);
	while (*(set = next_set(&survey))) {
		CHECK(strlen(set) <= IMAP_SURVEY_SET_BYTES_MAX);
		CHECK(!strchr(set, ':'));
		for (asked++; *set; set++)
			asked += *set == ',';
		sets++;
	}
	CHECK_EQ(asked, IMAP_SURVEY_MAX / 2);
	CHECK(sets >= 11 && sets <= 14);
}
