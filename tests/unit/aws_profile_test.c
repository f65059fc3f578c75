/* transport/aws_profile.c: the dialect of AWS's config and credentials files, case by case as the
 * SDKs' shared parser tests have them, and files as they lie on a disk. */
#include "transport/aws_profile.h"

#include <stdio.h>
#include <sys/stat.h>

#include "tests/test.h"

static struct aws_profiles *profiles;

static bool read_both(const char *config, const char *credentials)
{
	return CHECK_OK(aws_profiles_of(text_of(config), text_of(credentials), &profiles));
}

/* NULL: it is not said. */
static void check_value(enum aws_section section, const char *name, const char *within,
			const char *key, const char *wanted)
{
	struct aws_value value;

	if (!CHECK_OK(aws_profiles_get(profiles, section, name, within, key, &value)))
		return;
	if (!wanted && value.text.at)
		test_failed(__FILE__, __LINE__, "%s of %s is \"%.*s\"", key, name,
			    (int)value.text.bytes, value.text.at);
	if (wanted && (!value.text.at || !text_equal(value.text, text_of(wanted))))
		test_failed(__FILE__, __LINE__, "%s of %s is \"%.*s\", not \"%s\"", key, name,
			    (int)value.text.bytes, value.text.at ? value.text.at : "", wanted);
}

/* One case: of the profile "foo", this value of `name`. */
static void check_case(const char *config, const char *wanted)
{
	if (!read_both(config, ""))
		return;
	check_value(AWS_PROFILE, "foo", NULL, "name", wanted);
	aws_profiles_close(&profiles);
}

static void check_wrong(const char *config, const char *words)
{
	CHECK_ERR(aws_profiles_of(text_of(config), text_of(""), &profiles), ERR_INPUT_FILE);
	CHECK(!profiles);
	if (strcmp(err_note()->text, words) != 0)
		test_failed(__FILE__, __LINE__, "\"%s\" is not \"%s\"", err_note()->text, words);
	err_note_clear();
}

TEST(a_value_is_read_as_the_sdks_read_it)
{
	check_case("[profile foo]\nname = value", "value");
	check_case("[profile foo]\r\nname = value\r\n", "value");
	check_case("[profile foo]\nname = val=ue", "val=ue");
	check_case("[profile foo]\nname \t=  \tvalue \t", "value");
	check_case("[profile foo]\nname =", "");
	check_case("[profile foo]\nNAME = value", "value");
	check_case("\t \n[profile foo]\n\t\n \nname = value\n\t \n[profile bar]\n \t", "value");
	check_case("[profile foo]\nname = \xf0\x9f\x98\x82", "\xf0\x9f\x98\x82");
	check_case("", NULL);
	check_case("[profile bar]\nname = value", NULL);
	check_case("[profile foo]\nname2 = value", NULL);
}

TEST(comments_need_a_space_in_front_of_them_unless_the_line_begins_so)
{
	check_case("# Comment\n[profile foo] # Comment\nname = value # Comment # more", "value");
	check_case("; Comment\n[profile foo] ; Comment\nname = value ; Comment", "value");
	check_case(";\n[profile foo];\nname = value ;\n", "value");
	check_case("[profile foo]; adjacent\nname = value", "value");
	check_case("[profile foo]\nname = value; adjacent", "value; adjacent");
	check_case("[profile foo]\nname = value# adjacent", "value# adjacent");
	check_case("[profile foo]\n # indented\nname = value\n ; more", "value");
}

TEST(sections_are_named_as_in_their_file)
{
	check_case("[profile\tfoo]\nname = value", "value");
	check_case("[profile \tfoo \t]\nname = value", "value");
	check_case("[  profile foo  ]\nname = value", "value");
	check_case("[foo]\nname = value", NULL);
	check_case("[profilefoo]\nname = value", NULL);
	check_case("[profile foo bar]\nname = value", NULL);
	check_case("[profile foo]\nname = value\n[profile in valid]\nname = 2", "value");
	check_case("[profile foo]\nname = value\n[sso-session foo]\nname = 2", "value");
	check_case("[profile foo]\nname = value\n[preview]\nname = 2", "value");
	REQUIRE(read_both("[profile a-b:c/d_e%f.g@h+]\nx=1",
			  "[foo]\nname=v\n[profile foo]\nname=w"));
	check_value(AWS_PROFILE, "a-b:c/d_e%f.g@h+", NULL, "x", "1");
	check_value(AWS_PROFILE, "foo", NULL, "name", "v");
	CHECK(aws_profiles_have(profiles, AWS_PROFILE, "foo"));
	CHECK(!aws_profiles_have(profiles, AWS_PROFILE, "fo"));
	CHECK(!aws_profiles_have(profiles, AWS_SERVICES_OF, "foo"));
	aws_profiles_close(&profiles);
}

TEST(the_last_one_counts_and_the_credentials_file_before_the_config_file)
{
	check_case("[profile foo]\nname = value\nname = value2", "value2");
	check_case("[profile foo]\nName = value\n[profile foo]\nname = value2", "value2");
	check_case("[profile foo]\nname = value\n[profile foo]\nother = 2", "value");
	REQUIRE(read_both("[profile foo]\nname=1\nmore=2\n[default]\nname=9", "[foo]\nname=3"));
	check_value(AWS_PROFILE, "foo", NULL, "name", "3");
	check_value(AWS_PROFILE, "foo", NULL, "more", "2");
	check_value(AWS_PROFILE, "default", NULL, "name", "9");
	check_value(AWS_PROFILE, "default", NULL, "more", NULL);
	aws_profiles_close(&profiles);
}

TEST(profile_default_counts_before_default)
{
	static const char *const configs[] = {
		"[profile default]\nname = value\n[default]\nname = 2\nname2 = value2\n",
		"[default]\nname = 2\nname2 = value2\n[profile default]\nname = value\n",
	};

	for (size_t i = 0; i < ARRAY_COUNT(configs); i++) {
		REQUIRE(read_both(configs[i], "[default]\nsecret=foo"));
		check_value(AWS_PROFILE, "default", NULL, "name", "value");
		check_value(AWS_PROFILE, "default", NULL, "name2", NULL);
		check_value(AWS_PROFILE, "default", NULL, "secret", "foo");
		aws_profiles_close(&profiles);
	}
}

TEST(a_block_holds_values_of_its_own)
{
	REQUIRE(read_both(
		"[profile foo]\ns3 =\n  name = in # it\n\t \n # comment\n\tname2 =\n"
		"name = out\n[services foo]\ns3 =\n  endpoint_url = https://x/\nkms = # none\n"
		"  endpoint_url = https://y/\n",
		""));
	check_value(AWS_PROFILE, "foo", "s3", "name", "in # it");
	check_value(AWS_PROFILE, "foo", "S3", "NAME2", "");
	check_value(AWS_PROFILE, "foo", "s3", "name3", NULL);
	check_value(AWS_PROFILE, "foo", "kms", "name", NULL);
	check_value(AWS_PROFILE, "foo", NULL, "name", "out");
	check_value(AWS_SERVICES_OF, "foo", "s3", "endpoint_url", "https://x/");
	check_value(AWS_SERVICES_OF, "foo", "kms", "endpoint_url", "https://y/");
	check_value(AWS_SERVICES_OF, "foo", NULL, "endpoint_url", NULL);
	aws_profiles_close(&profiles);
}

/* Somebody indented the next setting by mistake: better said than half a value used. */
TEST(a_value_that_goes_on_in_the_next_line_is_refused_when_it_is_asked_for)
{
	struct aws_value value;

	REQUIRE(read_both("[profile foo]\nregion = eu-west-1\n  output = json\nname = value\n",
			  ""));
	CHECK_ERR(aws_profiles_get(profiles, AWS_PROFILE, "foo", NULL, "region", &value),
		  ERR_INPUT_FILE);
	CHECK_TEXT(err_note()->text, "config:2: the value of region goes on in an indented line");
	err_note_clear();
	check_value(AWS_PROFILE, "foo", NULL, "name", "value");
	check_value(AWS_PROFILE, "foo", NULL, "output", NULL);
	aws_profiles_close(&profiles);
	/* Said again later, in one line. */
	check_case("[profile foo]\nname = a\n b\nname = c\n", "c");
}

TEST(what_is_wrong_is_told_with_its_line_and_without_its_content)
{
	check_wrong("[profile foo", "config:1: the section has no \"]\"");
	check_wrong("\n[profile foo] bar", "config:2: something follows the section's \"]\"");
	check_wrong("hunter2 = value", "config:1: a value stands before the first [section]");
	check_wrong("[profile foo]\n= hunter2", "config:2: there is no name in front of the \"=\"");
	check_wrong("[profile foo]\nhunter2 : value",
		    "config:2: there is no \"=\" between a name and its value");
	check_wrong(" -continued",
		    "config:1: the line is indented, but there is nothing that it could continue");
	check_wrong("[profile foo]\n\n# x\n -continued",
		    "config:4: the line is indented, but there is nothing that it could continue");
	check_wrong("[profile foo]\nname = value\n[profile foo]\n -continued",
		    "config:4: the line is indented, but there is nothing that it could continue");
	check_wrong("[profile foo]\ns3 =\n hunter2",
		    "config:3: there is no \"=\" in this line of a block");
	check_wrong("[profile foo]\ns3 =\n = hunter2",
		    "config:3: there is no name in front of the \"=\" in this line of a block");
	CHECK_ERR(aws_profiles_of((struct text){ "[a]\nb=\0", 7 }, text_of(""), &profiles),
		  ERR_INPUT_FILE);
	CHECK_TEXT(err_note()->text, "config:2: it holds a NUL byte: is it text?");
	err_note_clear();
	CHECK_ERR(aws_profiles_of(text_of("[default]"), text_of("x"), &profiles), ERR_INPUT_FILE);
	CHECK_TEXT(err_note()->text, "credentials:1: a value stands before the first [section]");
	err_note_clear();
}

TEST(a_section_without_its_prefix_can_be_told)
{
	REQUIRE(read_both("[foo]\nregion = x\n[profile bar]\n", ""));
	CHECK(aws_profiles_lack_prefix(profiles, "foo"));
	CHECK(!aws_profiles_lack_prefix(profiles, "bar"));
	CHECK(!aws_profiles_lack_prefix(profiles, "baz"));
	aws_profiles_close(&profiles);
}

TEST(a_value_has_to_fit_where_it_is_copied)
{
	char to[4];

	REQUIRE(read_both("[default]\nshort = abc\nlong = abcd\n", ""));
	CHECK_OK(aws_profiles_copy(profiles, AWS_PROFILE, "default", NULL, "short", to, sizeof to));
	CHECK_TEXT(to, "abc");
	CHECK_OK(aws_profiles_copy(profiles, AWS_PROFILE, "default", NULL, "none", to, sizeof to));
	CHECK_TEXT(to, "");
	CHECK_ERR(aws_profiles_copy(profiles, AWS_PROFILE, "default", NULL, "long", to, sizeof to),
		  ERR_INPUT_FILE);
	CHECK_TEXT(to, "");
	CHECK_TEXT(err_note()->text, "config:3: the value of long is longer than 3 bytes");
	err_note_clear();
	aws_profiles_close(&profiles);
}

/* ---- files ---- */

static const char *write_file(const char *name, const char *content, mode_t mode)
{
	static char paths[2][200];
	static unsigned turn;
	char *path = paths[turn++ % 2];
	FILE *file;

	snprintf(path, sizeof paths[0], "%s/%s", test_directory(), name);
	file = fopen(path, "w");
	must(file && fputs(content, file) >= 0 && fclose(file) == 0 && chmod(path, mode) == 0);
	return path;
}

static enum err open_files(const char *config, bool required, const char *credentials)
{
	return aws_profiles_open(&(struct aws_profile_file){ config, required },
				 &(struct aws_profile_file){ credentials, false },
				 clock_after(20 * NSEC_SECOND), &profiles);
}

static void check_not_opened(enum err got, enum err expected, const char *words)
{
	CHECK_ERR(got, expected);
	CHECK(!profiles);
	if (!strstr(err_note()->text, words))
		test_failed(__FILE__, __LINE__, "\"%s\" does not say \"%s\"", err_note()->text,
			    words);
	err_note_clear();
}

TEST_FIBER(files_are_read_from_the_disk)
{
	REQUIRE(CHECK_OK(open_files(
		write_file("config", "[default]\nregion = eusc-de-east-1\n", 0644), true,
		write_file("credentials", "[default]\naws_secret_access_key = hunter2\n", 0600))));
	check_value(AWS_PROFILE, "default", NULL, "region", "eusc-de-east-1");
	check_value(AWS_PROFILE, "default", NULL, "aws_secret_access_key", "hunter2");
	aws_profiles_close(&profiles);
	REQUIRE(CHECK_OK(open_files("/dev/null", true, NULL)));
	CHECK(!aws_profiles_have(profiles, AWS_PROFILE, "default"));
	aws_profiles_close(&profiles);
}

TEST_FIBER(a_file_may_be_missing_unless_somebody_named_it)
{
	char path[200];

	snprintf(path, sizeof path, "%s/none", test_directory());
	CHECK_OK(open_files(path, false, path));
	CHECK(!aws_profiles_have(profiles, AWS_PROFILE, "default"));
	aws_profiles_close(&profiles);
	check_not_opened(open_files(path, true, NULL), ERR_DISK_ABSENT, path);
}

TEST_FIBER(a_file_with_a_secret_key_must_be_closed_to_others)
{
	check_not_opened(
		open_files(NULL, false,
			   write_file("credentials", "[a]\naws_secret_access_key = x\n", 0640)),
		ERR_INPUT_SECRET, "is open to others (mode 0640): chmod 600 ");
	check_not_opened(
		open_files(write_file("config", "[profile a]\nAWS_SESSION_TOKEN = x\n", 0604), true,
			   NULL),
		ERR_INPUT_SECRET, "is open to others (mode 0604)");
}

TEST_FIBER(a_file_too_large_or_no_file_is_refused)
{
	const char *path = write_file("config", "[default]\n", 0600);
	FILE *file = fopen(path, "w");

	must(file);
	for (unsigned i = 0; i < AWS_FILE_BYTES_MAX / 16; i++)
		must(fputs("# fifteen chars\n", file) >= 0);
	must(fclose(file) == 0);
	CHECK_OK(open_files(path, true, NULL));
	aws_profiles_close(&profiles);
	must((file = fopen(path, "a")) && fputs("\n", file) >= 0 && fclose(file) == 0);
	check_not_opened(open_files(path, true, NULL), ERR_INPUT_FILE,
			 "is larger than 1048576 bytes");
	check_not_opened(open_files(test_directory(), true, NULL), ERR_DISK_IO, test_directory());
}
