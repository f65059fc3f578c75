#include "engine/filter.h"

#include <stdlib.h>

#include "tests/test.h"

/* As the table of known names would. */
static enum box_use by_name(struct text level)
{
	return text_equal(level, text_of("Spam")) ? BOX_USE_JUNK : BOX_USE_NONE;
}

static struct filter *opened(void)
{
	struct filter *filter;

	CHECK_OK(filter_open(by_name, &filter));
	return filter;
}

/* The same one each time. */
static struct box *folder(const char *name, char separator)
{
	static struct box box;

	memset(&box, 0, sizeof box);
	box.separator = separator;
	snprintf(box.name, sizeof box.name, "%s", name);
	return &box;
}

/* Each name begins with '+' (matches) or '-'. */
static void expect_of(const char *pattern, char separator, const char *const *names)
{
	struct filter *filter = opened();

	CHECK_OK(filter_include_folder(filter, pattern));
	for (; *names; names++)
		if (filter_takes_folder(filter, folder(*names + 1, separator)) != (**names == '+'))
			test_failed(__FILE__, __LINE__, "\"%s\" and folder \"%s\": expected %c",
				    pattern, *names + 1, **names);
	filter_close(&filter);
}
#define EXPECT(pattern, separator, ...)                                                            \
	expect_of(pattern, separator, (const char *const[]){ __VA_ARGS__, NULL })

TEST(a_pattern_matches_whole_names)
{
	EXPECT("Work", '/', "+Work", "-Work/2020", "-Works", "-Wor", "-work", "-A/Work");
	EXPECT("Work/2020", '/', "+Work/2020", "-Work", "-Work/2020/a", "-Work/20200");
	EXPECT("[Gmail]/*", '/', "+[Gmail]/Spam", "-[Gmail]", "-G/Spam", "-[Gmail]/a/b");
	EXPECT("J\xc3\xbcrgen", '/', "+J\xc3\xbcrgen", "-Jurgen");
}

TEST(a_star_stays_within_a_level_and_two_do_not)
{
	EXPECT("*", '/', "+Work", "-Work/2020", "+W");
	EXPECT("Work/*", '/', "+Work/2020", "-Work", "-Work/2020/a", "+Work/a b");
	EXPECT("W*k", '/', "+Work", "+Wk", "-W/k", "+Wkk", "-Wka");
	EXPECT("*a*a*", '/', "+aa", "+banana", "-ba", "-a/a");
	EXPECT("a**b", '/', "+ab", "+a/b", "+a/x/b", "-a/x/c");
	EXPECT("**", '/', "+a", "+a/b", "+INBOX");
	EXPECT("Work/**", '/', "+Work", "+Work/a", "+Work/a/b", "-Works", "-Works/a", "-A/Work");
	EXPECT("**/old", '/', "+old", "+a/old", "+a/b/old", "-aold", "-a/bold", "-old/a");
	EXPECT("a/**/z", '/', "+a/z", "+a/b/z", "+a/b/c/z", "-a", "-az", "-a/bz", "-z");
	EXPECT("**/old/**", '/', "+old", "+a/old", "+old/b", "+a/old/b/c", "-a/bold/c", "-olds");
	EXPECT("**/**", '/', "+a", "+a/b", "+a/b/c");
	EXPECT("a/***", '/', "+a", "+a/b/c", "-ab");
}

TEST(a_question_mark_is_one_character_of_any_length)
{
	EXPECT("?", '/', "+a", "+\xc3\xbc", "+\xf0\x9f\x98\x80", "-ab", "-", "+\xff");
	EXPECT("a?b", '/', "+axb", "-a/b", "-ab",
	       "+a\xe2\x82\xac"
	       "b");
	EXPECT("??", '/', "+\xff\xfe", "+\xc3\x61", "-\xc3\xbc");
}

TEST(a_backslash_takes_the_meaning_from_what_follows)
{
	EXPECT("a\\*", '/', "+a*", "-ab");
	EXPECT("a\\?", '/', "+a?", "-ab");
	EXPECT("\\@sent", '/', "+@sent", "-sent");
	EXPECT("a\\\\b", '/', "+a\\b");
}

TEST(levels_are_separated_as_the_source_does_it)
{
	EXPECT("Work/2020", '.', "+Work.2020", "+Work/2020", "-Work.2021");
	EXPECT("Work/*", '.', "+Work.in/out", "-Work.a.b");
	EXPECT("Work.2020", '.', "+Work.2020");
	EXPECT("Work/**", '.', "+Work", "+Work.a.b");
	EXPECT("*", '\0', "+Work", "+in/out", "+a.b");
	EXPECT("in/out", '\0', "+in/out");
}

TEST(inbox_is_the_same_in_any_case_and_nothing_else_is)
{
	EXPECT("inbox", '/', "+INBOX", "+Inbox", "-INBOXES", "-a/INBOX");
	EXPECT("INBOX/**", '.', "+inbox", "+Inbox.a",
	       "+inbox.a/x", "-inboxes.a");
	EXPECT("Inbox/Kids", '/', "+INBOX/Kids", "-INBOX/kids");
	EXPECT("a/inbox", '/', "+a/inbox", "-a/INBOX");
}

static bool takes(const struct filter *filter, const char *name, enum box_use use)
{
	struct box *box = folder(name, '/');

	box->use = use;
	return filter_takes_folder(filter, box);
}

TEST(a_use_is_declared_or_known_by_name)
{
	struct filter *filter = opened();

	CHECK_OK(filter_exclude_folder(filter, "@junk"));
	CHECK(!takes(filter, "Whatever", BOX_USE_JUNK));
	CHECK(!takes(filter, "Spam", BOX_USE_NONE));
	CHECK(!takes(filter, "INBOX/Spam", BOX_USE_NONE));
	CHECK(takes(filter, "Work/Spam", BOX_USE_NONE));
	CHECK(takes(filter, "INBOX/a/Spam", BOX_USE_NONE));
	CHECK(takes(filter, "Spam", BOX_USE_ARCHIVE));
	CHECK(takes(filter, "INBOX", BOX_USE_INBOX));
	CHECK_OK(filter_exclude_folder(filter, "@inbox"));
	CHECK(!takes(filter, "inbox", BOX_USE_NONE));
	CHECK(takes(filter, "INBOX/a", BOX_USE_NONE));
	filter_close(&filter);
}

TEST(what_is_excluded_is_not_included)
{
	struct filter *filter = opened();

	CHECK(takes(NULL, "a", BOX_USE_NONE));
	CHECK(takes(filter, "a", BOX_USE_NONE));
	CHECK_OK(filter_include_folder(filter, "a/**"));
	CHECK_OK(filter_include_folder(filter, "@sent"));
	CHECK_OK(filter_exclude_folder(filter, "**/tmp"));
	CHECK(takes(filter, "a", BOX_USE_NONE) && takes(filter, "a/b", BOX_USE_NONE));
	CHECK(takes(filter, "x", BOX_USE_SENT));
	CHECK(!takes(filter, "a/tmp", BOX_USE_NONE));
	CHECK(!takes(filter, "b", BOX_USE_NONE));
	filter_close(&filter);
}

TEST(patterns_that_are_none_are_refused)
{
	static const char *const bad[] = { "",	   "/a",  "a/",	   "a//b", "@nobody", "@",
					   "a\nb", "a\\", "a\x7f", "/",	   "@Sent" };
	struct filter *filter = opened();
	char *longer = calloc(1, BOX_NAME_BYTES_MAX + 2);

	for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
		CHECK_ERR(filter_include_folder(filter, bad[i]), ERR_INPUT_USAGE);
		CHECK_ERR(filter_exclude_folder(filter, bad[i]), ERR_INPUT_USAGE);
	}
	memset(longer, 'a', BOX_NAME_BYTES_MAX + 1);
	CHECK_ERR(filter_include_folder(filter, longer), ERR_INPUT_USAGE);
	longer[BOX_NAME_BYTES_MAX] = '\0';
	CHECK_OK(filter_exclude_folder(filter, longer));
	CHECK(!takes(filter, longer, BOX_USE_NONE));
	free(longer);
	filter_close(&filter);
}

TEST(more_patterns_than_are_read_are_refused)
{
	struct filter *filter = opened();

	for (unsigned i = 0; i < FILTER_PATTERNS_MAX; i++)
		CHECK_OK(filter_include_folder(filter, "@sent"));
	CHECK_ERR(filter_include_folder(filter, "@sent"), ERR_INPUT_USAGE);
	filter_close(&filter);
}

/* The hardest there are: as long as a name, and each character may be several tokens' work. */
TEST(no_pattern_takes_long)
{
	char pattern[BOX_NAME_BYTES_MAX + 1], name[BOX_NAME_BYTES_MAX + 1];
	struct filter *filter = opened();

	for (unsigned i = 0; i < BOX_NAME_BYTES_MAX; i++) {
		pattern[i] = i % 2 ? 'a' : '*';
		name[i] = 'a';
	}
	pattern[BOX_NAME_BYTES_MAX] = name[BOX_NAME_BYTES_MAX] = '\0';
	CHECK_OK(filter_include_folder(filter, pattern));
	CHECK(takes(filter, name, BOX_USE_NONE));
	name[BOX_NAME_BYTES_MAX - 1] = 'b';
	CHECK(!takes(filter, name, BOX_USE_NONE));
	filter_close(&filter);
}

/* ---- names ---- */

static const char *renamed(const char *rule, const char *name, char separator)
{
	struct filter *filter = opened();
	struct box *box = folder(name, separator);

	CHECK_OK(filter_rename_folder(filter, rule));
	CHECK_OK(filter_name_folder(filter, box));
	filter_close(&filter);
	return box->name;
}

TEST(a_rule_gives_a_folder_another_name)
{
	CHECK_TEXT(renamed("A=B", "A", '/'), "B");
	CHECK_TEXT(renamed("A=B", "A/x", '/'), "A/x");
	CHECK_TEXT(renamed("A=B", "AB", '/'), "AB");
	CHECK_TEXT(renamed("A=B/C", "A", '.'), "B.C");
	CHECK_TEXT(renamed("A/x=B", "A.x", '.'), "B");
	CHECK_TEXT(renamed("A=B/C", "A", '\0'), "B/C");
	CHECK_TEXT(renamed("A=v1.0", "A", '.'), "v1_0");
	CHECK_TEXT(renamed("inbox=Old mail", "INBOX", '/'), "Old mail");
	CHECK_TEXT(renamed("a\\=b=c=d", "a=b", '/'), "c=d");
	CHECK_TEXT(renamed("a\\*=b", "a*", '/'), "b");
	CHECK_TEXT(renamed("@junk=Rubbish", "Spam", '/'), "Rubbish");
	CHECK_TEXT(renamed("@junk=Rubbish", "Other", '/'), "Other");
}

TEST(a_rule_for_all_below_keeps_what_is_below)
{
	CHECK_TEXT(renamed("A/**=B", "A", '/'), "B");
	CHECK_TEXT(renamed("A/**=B", "A/x/y", '/'), "B/x/y");
	CHECK_TEXT(renamed("A/**=B/C", "A.x.y", '.'), "B.C.x.y");
	CHECK_TEXT(renamed("A/**=B", "AB/x", '/'), "AB/x");
	CHECK_TEXT(renamed("A/B/**=C", "A/x", '/'), "A/x");
	CHECK_TEXT(renamed("**=Old", "A/x", '/'), "Old/A/x");
	CHECK_TEXT(renamed("**=Old/2020", "A", '.'), "Old.2020.A");
	CHECK_TEXT(renamed("Inbox/**=Old", "INBOX.Sent", '.'), "Old.Sent");
}

TEST(the_first_rule_that_fits_counts_and_takes_the_use_away)
{
	struct filter *filter = opened();
	struct box *box = folder("A", '/');

	CHECK_OK(filter_rename_folder(filter, "A/x=X"));
	CHECK_OK(filter_rename_folder(filter, "A/**=B"));
	CHECK_OK(filter_rename_folder(filter, "A/y=Y"));
	box->use = BOX_USE_SENT;
	CHECK_OK(filter_name_folder(filter, box));
	CHECK(strcmp(box->name, "B") == 0 && box->use == BOX_USE_NONE);
	box = folder("A/x", '/');
	CHECK_OK(filter_name_folder(filter, box));
	CHECK_TEXT(box->name, "X");
	box = folder("A/y", '/');
	CHECK_OK(filter_name_folder(filter, box));
	CHECK_TEXT(box->name, "B/y");
	box = folder("C", '/');
	box->use = BOX_USE_SENT;
	CHECK_OK(filter_name_folder(filter, box));
	CHECK(strcmp(box->name, "C") == 0 && box->use == BOX_USE_SENT);
	CHECK_OK(filter_name_folder(NULL, box));
	filter_close(&filter);
}

TEST(a_name_that_gets_too_long_is_refused)
{
	struct filter *filter = opened();
	struct box *box = folder("A/", '/');

	memset(box->name + 2, 'x', BOX_NAME_BYTES_MAX - 2);
	CHECK_OK(filter_rename_folder(filter, "A/**=BB"));
	CHECK_ERR(filter_name_folder(filter, box), ERR_SOURCE_NAME);
	CHECK(box->name[0] == 'A' && strlen(box->name) == BOX_NAME_BYTES_MAX);
	box->name[BOX_NAME_BYTES_MAX - 1] = '\0';
	CHECK_OK(filter_name_folder(filter, box));
	CHECK(box->name[0] == 'B' && strlen(box->name) == BOX_NAME_BYTES_MAX);
	filter_close(&filter);
}

TEST(rules_that_are_none_are_refused)
{
	static const char *const bad[] = { "",	  "A",	  "=B",	    "A=",	 "A=/B",  "A*=B",
					   "?=B", "/A=B", "A=B//C", "@nobody=B", "A/*=B", "A\\=B" };
	struct filter *filter = opened();

	for (size_t i = 0; i < ARRAY_COUNT(bad); i++)
		CHECK_ERR(filter_rename_folder(filter, bad[i]), ERR_INPUT_USAGE);
	filter_close(&filter);
}

TEST(two_rules_cannot_make_one_folder_of_two)
{
	struct filter *filter = opened();

	CHECK_OK(filter_rename_folder(filter, "A=C"));
	CHECK_ERR(filter_rename_folder(filter, "B=C"), ERR_INPUT_USAGE);
	filter_close(&filter);
}

/* ---- messages ---- */

static bool takes_at(const struct filter *filter, const char *date)
{
	struct mail_date at;

	if (!mail_date_from_rfc3339(text_of(date), &at))
		test_failed(__FILE__, __LINE__, "%s is no date", date);
	return filter_takes_message(filter, &at, SIZE_UNKNOWN);
}

TEST(dates_are_compared_as_instants)
{
	struct filter *filter = opened();

	CHECK(!filter_judges_messages(filter) && !filter_judges_messages(NULL));
	CHECK_OK(filter_since(filter, "2024-03-01"));
	CHECK_OK(filter_before(filter, "2024-04-01+02:00"));
	CHECK_OK(filter_check(filter));
	CHECK(filter_wants_dates(filter) && !filter_wants_sizes(filter));
	CHECK(!takes_at(filter, "2024-02-29T23:59:59Z"));
	CHECK(takes_at(filter, "2024-03-01T00:00:00Z"));
	CHECK(takes_at(filter, "2024-02-29T23:00:00-01:00"));
	CHECK(!takes_at(filter, "2024-03-01T00:59:59+01:00"));
	CHECK(takes_at(filter, "2024-03-01T01:00:00+01:00"));
	CHECK(takes_at(filter, "2024-03-31T21:59:59Z"));
	CHECK(!takes_at(filter, "2024-03-31T22:00:00Z"));
	CHECK(!takes_at(filter, "2024-04-01T00:00:00+02:00"));
	CHECK(takes_at(filter, "2024-03-31T23:59:59+02:00"));
	filter_close(&filter);
}

TEST(a_message_of_which_too_little_is_known_is_taken)
{
	struct filter *filter = opened();

	CHECK_OK(filter_since(filter, "2024-03-01T12:00:00-05:00"));
	filter_sizes(filter, 10, 20);
	CHECK(filter_takes_message(filter, &(struct mail_date){ 0 }, SIZE_UNKNOWN));
	CHECK(filter_takes_message(filter, &(struct mail_date){ 0 }, 15));
	CHECK(!filter_takes_message(filter, &(struct mail_date){ 0 }, 21));
	CHECK(!filter_takes_message(filter, &(struct mail_date){ 0, 0, true }, SIZE_UNKNOWN));
	filter_close(&filter);
}

TEST(sizes_are_bounds_that_count_in)
{
	static const struct mail_date unknown;
	struct filter *filter = opened();

	filter_sizes(filter, 10, 20);
	CHECK_OK(filter_check(filter));
	CHECK(!filter_takes_message(filter, &unknown, 9));
	CHECK(filter_takes_message(filter, &unknown, 10));
	CHECK(filter_takes_message(filter, &unknown, 20));
	CHECK(!filter_takes_message(filter, &unknown, 21));
	filter_sizes(filter, 0, 20);
	CHECK(filter_takes_message(filter, &unknown, 0));
	filter_sizes(filter, 10, 0);
	CHECK(filter_takes_message(filter, &unknown, INT64_MAX));
	CHECK(!filter_takes_message(filter, &unknown, 0));
	filter_close(&filter);
}

TEST(what_no_message_passes_is_refused)
{
	struct filter *filter = opened();

	filter_sizes(filter, 20, 10);
	CHECK_ERR(filter_check(filter), ERR_INPUT_USAGE);
	filter_sizes(filter, 0, 0);
	CHECK_OK(filter_since(filter, "2024-03-01"));
	CHECK_OK(filter_before(filter, "2024-03-01T01:00:00+01:00"));
	CHECK_ERR(filter_check(filter), ERR_INPUT_USAGE);
	filter_close(&filter);
}

TEST(dates_that_are_none_are_refused)
{
	static const char *const bad[] = {
		"",
		"yesterday",
		"2024-02-30",
		"2024",
		"2024-03-01T00:00:00",
		"01.03.2024",
		"2024-03-01 00:00:00Z",
		"2024-03-01+1",
		"2024-3-1",
		"2024-03-01T00:00:00Z and something behind it that is longer"
	};
	struct filter *filter = opened();

	for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
		CHECK_ERR(filter_since(filter, bad[i]), ERR_INPUT_USAGE);
		CHECK_ERR(filter_before(filter, bad[i]), ERR_INPUT_USAGE);
	}
	filter_close(&filter);
}

TEST(filters_that_ask_the_same_have_the_same_text)
{
	char one[FILTER_TEXT_BYTES], two[FILTER_TEXT_BYTES];
	struct filter *left = opened(), *right = opened();

	CHECK_TEXT(filter_text(NULL, one), "");
	CHECK_OK(filter_exclude_folder(left, "a"));
	CHECK_TEXT(filter_text(left, one), "");
	CHECK_OK(filter_since(left, "2024-03-01"));
	CHECK_OK(filter_since(right, "2024-03-01T01:00:00+01:00"));
	filter_sizes(left, 0, UINT64_MAX);
	filter_sizes(right, 0, UINT64_MAX);
	CHECK_TEXT(filter_text(left, one), filter_text(right, two));
	CHECK_OK(filter_before(right, "9999-12-31"));
	CHECK_OK(filter_since(right, "0001-01-01"));
	filter_sizes(right, UINT64_MAX - 1, UINT64_MAX);
	CHECK(strcmp(one, filter_text(right, two)) != 0);
	filter_close(&left);
	filter_close(&right);
}
