#include "engine/opt.h"

#include <stdlib.h>

#include "tests/test.h"

struct sample {
	const char *file, *choice;
	uint64_t number, level, size;
	nsec wait;
	bool loud;
	struct opt_list list;
};

static const char *const choices[] = { "red", "green", NULL };
static const struct opt rows[] = {
	{ .name = "password-file",
	  OPT_STORES_FILE(struct sample, file),
	  .value = "FILE",
	  .help = "The file - of \\ secrets." },
	{ .name = "colour",
	  OPT_STORES_CHOICE(struct sample, choice),
	  .choices = choices,
	  .initial = "green",
	  .help = "Which colour." },
	{ .name = "number",
	  OPT_STORES_NUMBER(struct sample, number),
	  .value = "N",
	  .min = 2,
	  .max = 9,
	  .help = "How many." },
	{ .name = "level",
	  OPT_STORES_NUMBER(struct sample, level),
	  .value = "N",
	  .initial = "3",
	  .min = 1,
	  .max = 19,
	  .zero_word = "off",
	  .help = "How hard, and this is a sentence that is long enough to need a second line." },
	{ .name = "size", OPT_STORES_SIZE(struct sample, size), .value = "SIZE", .help = "Big." },
	{ .name = "wait",
	  OPT_STORES_DURATION(struct sample, wait),
	  .value = "TIME",
	  .initial = "30s",
	  .min = NSEC_SECOND,
	  .help = "Long." },
	{ .name = "each", OPT_STORES_LIST(struct sample, list), .value = "X", .help = "All." },
	{ .name = "loud", OPT_STORES_FLAG(struct sample, loud), .help = "Loud." },
};
static const struct opt_section sections[] = {
	{ "More", "Filled\ntext.\n\n  kept  as is\n.dot\n" },
};
static const struct opt_command command = {
	.name = "sample",
	.arguments = "FROM [TO]",
	.words_min = 1,
	.words_max = 2,
	.summary = "try things",
	.about = "About it.\n",
	.options = rows,
	.options_count = ARRAY_COUNT(rows),
	.sections = sections,
	.sections_count = ARRAY_COUNT(sections),
	.examples = "  mailhaul sample x\n",
};

#define PARSE(sample, words, ...)                                                                  \
	opt_parse(&command, (int)ARRAY_COUNT(((char *[]){ __VA_ARGS__ })),                         \
		  (char *[]){ __VA_ARGS__ }, (sample), (words))

TEST(defaults_are_stored_and_words_kept_in_order)
{
	struct sample sample = { 0 };
	struct opt_words words;
	char from[] = "from", to[] = "to", loud[] = "--loud";

	CHECK_OK(PARSE(&sample, &words, from, loud, to));
	CHECK_TEXT(sample.choice, "green");
	CHECK_EQ(sample.level, 3);
	CHECK_EQ(sample.wait, 30 * NSEC_SECOND);
	CHECK(sample.loud && !sample.file && !sample.number);
	REQUIRE(words.count == 2);
	CHECK_TEXT(words.at[0], "from");
	CHECK_TEXT(words.at[1], "to");
}

TEST(values_come_after_a_space_or_an_equals_sign)
{
	struct sample sample = { 0 };
	struct opt_words words;
	char a[] = "--size=64MiB", b[] = "--wait", c[] = "250ms", d[] = "--password-file=a=b",
	     e[] = "--level=off", f[] = "--wait=5m", x[] = "x";

	CHECK_ERR(PARSE(&sample, &words, x, b, c), ERR_INPUT_USAGE); /* below the minimum */
	err_note_clear();
	CHECK_OK(PARSE(&sample, &words, a, d, e, f, x));
	CHECK_EQ(sample.size, 64 * 1024 * 1024);
	CHECK_TEXT(sample.file, "a=b");
	CHECK_EQ(sample.level, 0);
	CHECK_EQ(sample.wait, 300 * NSEC_SECOND);
}

TEST(a_list_takes_each_value_in_order)
{
	static struct sample sample;
	static char *many[2 * OPT_LIST_MAX + 1];
	struct opt_words words;
	char a[] = "--each=1", b[] = "--each", c[] = "two", d[] = "--each=", x[] = "x";

	CHECK_OK(PARSE(&sample, &words, a, x, b, c));
	REQUIRE(sample.list.count == 2);
	CHECK_TEXT(sample.list.at[0], "1");
	CHECK_TEXT(sample.list.at[1], "two");
	CHECK_ERR(PARSE(&sample, &words, x, d), ERR_INPUT_USAGE);
	err_note_clear();
	for (unsigned i = 0; i < OPT_LIST_MAX; i++) {
		many[2 * i] = b;
		many[2 * i + 1] = c;
	}
	many[2 * OPT_LIST_MAX] = x;
	sample.list.count = 0;
	CHECK_OK(opt_parse(&command, 2 * OPT_LIST_MAX + 1, many, &sample, &words));
	sample.list.count = 1;
	CHECK_ERR(opt_parse(&command, 2 * OPT_LIST_MAX + 1, many, &sample, &words),
		  ERR_INPUT_USAGE);
}

TEST(two_dashes_end_the_options)
{
	struct sample sample = { 0 };
	struct opt_words words;
	char dashes[] = "--", loud[] = "--loud", dash[] = "-";

	CHECK_OK(PARSE(&sample, &words, dash, dashes, loud));
	CHECK(!sample.loud);
	REQUIRE(words.count == 2);
	CHECK_TEXT(words.at[0], "-");
	CHECK_TEXT(words.at[1], "--loud");
}

TEST(help_is_seen_before_anything_later_is_judged)
{
	struct sample sample = { 0 };
	struct opt_words words;
	char help[] = "--help", wrong[] = "--wrong", brief[] = "-h";

	CHECK_OK(PARSE(&sample, &words, help, wrong));
	CHECK(words.help);
	CHECK_OK(PARSE(&sample, &words, brief));
	CHECK(words.help);
}

static void refused(const char *word, const char *value, const char *part)
{
	struct sample sample = { 0 };
	struct opt_words words;
	char option[64], given[64], x[] = "x";

	snprintf(option, sizeof option, "%s", word);
	snprintf(given, sizeof given, "%s", value ? value : "x");
	err_note_clear();
	CHECK_ERR(PARSE(&sample, &words, x, option, given), ERR_INPUT_USAGE);
	if (!strstr(err_note()->text, part))
		test_failed(__FILE__, __LINE__, "\"%s\" does not say \"%s\"", err_note()->text,
			    part);
	err_note_clear();
}

TEST(a_mistyped_option_is_answered_with_the_nearest_name)
{
	refused("--lout", NULL, "--loud is meant");
	refused("--color", "red", "--colour is meant");
	refused("--password", "hunter2", "--password-file is meant");
	refused("--quite-another", NULL, "there is no option --quite-another");
}

TEST(a_value_given_to_an_unknown_option_is_not_repeated)
{
	refused("--password=hunter2", NULL, "--password-file is meant");
	refused("--password=hunter2", NULL, "there is no option --password;");
}

TEST(wrong_values_are_refused_with_what_is_expected)
{
	refused("--number", "ten", "--number takes a number, not \"ten\"");
	refused("--number", "10", "from 2 to 9");
	refused("--number", "1", "from 2 to 9");
	refused("--number", "99999999999999999999999", "a number");
	refused("--number", "-3", "a number");
	refused("--level", "0", "1 to 19 or off");
	refused("--size", "64 MiB", "a size such as 64MiB");
	refused("--size", "20000000TiB", "a size such as 64MiB");
	refused("--wait", "soon", "a time such as 30s");
	refused("--colour", "blue", "one of red, green");
	refused("--loud=yes", NULL, "takes no value");
	refused("--password-file", "", "empty FILE");
	refused("-l", NULL, "two dashes");
}

TEST(an_option_without_its_value_and_a_wrong_number_of_words_are_refused)
{
	struct sample sample = { 0 };
	struct opt_words words;
	char a[] = "a", size[] = "--size", loud[] = "--loud";

	CHECK_ERR(PARSE(&sample, &words, a, size), ERR_INPUT_USAGE);
	CHECK(strstr(err_note()->text, "--size needs a value"));
	err_note_clear();
	CHECK_ERR(PARSE(&sample, &words, loud), ERR_INPUT_USAGE);
	CHECK(strstr(err_note()->text, "mailhaul sample FROM [TO]"));
	err_note_clear();
	CHECK_ERR(PARSE(&sample, &words, a, a, a), ERR_INPUT_USAGE);
	CHECK(strstr(err_note()->text, "1 too many"));
	err_note_clear();
	CHECK_ERR(PARSE(&sample, &words, a, a, a, a, a, a, a, a, a), ERR_INPUT_USAGE);
	err_note_clear();
}

TEST(sizes_and_times_are_read_exactly_or_not_at_all)
{
	uint64_t size = 0;
	nsec wait = 0;

	CHECK(opt_size("0", &size) && size == 0);
	CHECK(opt_size("500kB", &size) && size == 500000);
	CHECK(opt_size("2G", &size) && size == (uint64_t)2 << 30);
	CHECK(opt_size("18446744073709551615", &size) && size == UINT64_MAX);
	CHECK(!opt_size("18446744073709551616", &size));
	CHECK(!opt_size("16777216TiB", &size));
	CHECK(!opt_size("", &size) && !opt_size("MiB", &size) && !opt_size("1mib", &size));
	CHECK(opt_duration("7", &wait) && wait == 7 * NSEC_SECOND);
	CHECK(opt_duration("1h", &wait) && wait == 3600 * NSEC_SECOND);
	CHECK(!opt_duration("9999999999999h", &wait) && !opt_duration("1s ", &wait));
	CHECK(!opt_duration("4611686019s", &wait)); /* would leave no room to add to a clock */
}

static char *printed(void (*print)(FILE *))
{
	char *text = NULL;
	size_t bytes;
	FILE *file = open_memstream(&text, &bytes);

	must(file != NULL);
	print(file);
	fclose(file);
	return text;
}

static void print_help(FILE *to)
{
	opt_help(&command, "mailhaul", to);
}

static void print_man(FILE *to)
{
	opt_man(&command, "mailhaul", "1.0", to);
}

TEST(help_shows_every_row_within_80_columns)
{
	char *text = printed(print_help);

	for (size_t i = 0; i < ARRAY_COUNT(rows); i++)
		CHECK(strstr(text, rows[i].name));
	CHECK(strstr(text, "Usage: mailhaul sample [OPTIONS] FROM [TO]\n"));
	CHECK(strstr(text, "  --level N|off\n"));
	CHECK(strstr(text, "  --colour red|green\n"));
	CHECK(strstr(text, "Default: 30s."));
	CHECK(strstr(text, "Filled text.\n"));
	CHECK(strstr(text, "  kept  as is\n"));
	CHECK(strstr(text, "Examples:\n  mailhaul sample x\n"));
	for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"))
		CHECK(strlen(line) <= 80);
	free(text);
}

TEST(the_man_page_escapes_what_roff_would_take_for_itself)
{
	char *text = printed(print_man);

	CHECK(strstr(text, ".TH MAILHAUL-SAMPLE 1 \"\" \"mailhaul 1.0\"\n"));
	CHECK(strstr(text, "\\fB\\-\\-password\\-file\\fR \\fIFILE\\fR\n"));
	CHECK(strstr(text, "The file \\- of \\e secrets.\n"));
	CHECK(strstr(text, "\n\\&.dot\n"));
	CHECK(!strstr(text, "\n.dot"));
	free(text);
}
