/* transport/aws_settings.c: what of environment, profile and wish counts, and that two sides of a
 * run do not see each other's. */
#include "transport/aws_settings.h"

#include <stdlib.h>
#include <sys/stat.h>

#include "tests/test.h"
#include "tests/unit/aws_server.h"

static struct aws_profiles *profiles;
static struct aws_settings settings;

static const char config[] =
	"[default]\nregion = eu-central-1\n"
	"[profile home]\nregion = us-east-1\nca_bundle = /etc/home.pem\nuse_fips_endpoint = TRUE\n"
	"[profile sovereign]\nregion = eusc-de-east-1\nservices = local\n"
	"endpoint_url = https://all.example/\ns3 =\n  addressing_style = path\n"
	"[profile quiet]\nregion = eu-west-1\nendpoint_url = https://all.example/\n"
	"ignore_configured_endpoint_urls = true\n"
	"[profile lost]\nservices = nowhere\n"
	"[profile odd]\nuse_fips_endpoint = maybe\n"
	"[profile odder]\ns3 =\n  addressing_style = sideways\n"
	"[bare]\nregion = x\n"
	"[services local]\ns3 =\n  endpoint_url = https://s3.example:9000\n";

static bool begin(void)
{
	stand_clear_environment();
	return CHECK_OK(aws_profiles_of(text_of(config), text_of(""), &profiles));
}

static bool make(const struct aws_settings_wish *wish)
{
	return CHECK_OK(aws_settings_make(profiles, wish, &settings));
}

static void check_refused(const struct aws_settings_wish *wish, enum err expected,
			  const char *words)
{
	CHECK_ERR(aws_settings_make(profiles, wish, &settings), expected);
	if (!strstr(err_note()->text, words))
		test_failed(__FILE__, __LINE__, "\"%s\" does not say \"%s\"", err_note()->text,
			    words);
	err_note_clear();
}

TEST(without_a_word_the_default_profile_counts)
{
	REQUIRE(begin());
	REQUIRE(make(&(struct aws_settings_wish){ 0 }));
	CHECK_TEXT(settings.profile, "default");
	CHECK(!settings.profile_is_named && !settings.profile_is_wished);
	CHECK_TEXT(settings.region, "eu-central-1");
	CHECK_TEXT(settings.endpoint_url[AWS_S3], "");
	CHECK_TEXT(settings.ca_file, "");
	CHECK(!settings.fips && !settings.dual_stack && settings.style == AWS_STYLE_AUTO);
	aws_profiles_close(&profiles);
	REQUIRE(CHECK_OK(aws_profiles_of(text_of(""), text_of(""), &profiles)));
	REQUIRE(make(&(struct aws_settings_wish){ 0 }));
	CHECK_TEXT(settings.region, "");
	aws_profiles_close(&profiles);
}

TEST(the_environment_counts_before_the_profile_that_it_names)
{
	REQUIRE(begin());
	setenv("AWS_PROFILE", "home", 1);
	REQUIRE(make(&(struct aws_settings_wish){ 0 }));
	CHECK(settings.profile_is_named && !settings.profile_is_wished);
	CHECK_TEXT(settings.region, "us-east-1");
	CHECK_TEXT(settings.ca_file, "/etc/home.pem");
	CHECK(settings.fips);
	setenv("AWS_DEFAULT_REGION", "us-west-1", 1);
	setenv("AWS_CA_BUNDLE", "/etc/other.pem", 1);
	setenv("AWS_USE_FIPS_ENDPOINT", "false", 1);
	setenv("AWS_USE_DUALSTACK_ENDPOINT", "true", 1);
	REQUIRE(make(&(struct aws_settings_wish){ 0 }));
	CHECK_TEXT(settings.region, "us-west-1");
	CHECK_TEXT(settings.ca_file, "/etc/other.pem");
	CHECK(!settings.fips && settings.dual_stack);
	setenv("AWS_REGION", "us-west-2", 1);
	REQUIRE(make(&(struct aws_settings_wish){ 0 }));
	CHECK_TEXT(settings.region, "us-west-2");
	aws_profiles_close(&profiles);
}

/* A run from one partition into another: the environment is one, the sides are two. */
TEST(a_profile_of_one_side_counts_before_the_environment_of_both)
{
	REQUIRE(begin());
	setenv("AWS_PROFILE", "home", 1);
	setenv("AWS_REGION", "us-west-2", 1);
	setenv("AWS_ENDPOINT_URL", "https://environment.example/", 1);
	REQUIRE(make(&(struct aws_settings_wish){ .profile = "sovereign" }));
	CHECK(settings.profile_is_wished);
	CHECK_TEXT(settings.region, "eusc-de-east-1");
	CHECK_TEXT(settings.ca_file, "");
	CHECK_TEXT(settings.endpoint_url[AWS_S3], "https://s3.example:9000");
	CHECK_TEXT(settings.endpoint_url[AWS_KMS], "https://all.example/");
	CHECK_EQ(settings.style, AWS_STYLE_PATH);
	REQUIRE(make(
		&(struct aws_settings_wish){ .profile = "odder", .style = AWS_STYLE_VIRTUAL }));
	CHECK_TEXT(settings.region, "us-west-2");
	CHECK_TEXT(settings.endpoint_url[AWS_KMS], "https://environment.example/");
	CHECK_EQ(settings.style, AWS_STYLE_VIRTUAL);
	aws_profiles_close(&profiles);
}

TEST(what_the_user_says_counts_before_all_else)
{
	REQUIRE(begin());
	setenv("AWS_REGION", "us-west-2", 1);
	setenv("AWS_ENDPOINT_URL_S3", "https://environment.example/", 1);
	REQUIRE(make(&(struct aws_settings_wish){
		.profile = "sovereign",
		.region = "eu-north-1",
		.ca_file = "/my.pem",
		.endpoint_url = { [AWS_S3] = "https://mine.example/" } }));
	CHECK_TEXT(settings.region, "eu-north-1");
	CHECK_TEXT(settings.ca_file, "/my.pem");
	CHECK_TEXT(settings.endpoint_url[AWS_S3], "https://mine.example/");
	aws_profiles_close(&profiles);
}

TEST(endpoints_of_a_service_count_before_those_of_all)
{
	REQUIRE(begin());
	setenv("AWS_ENDPOINT_URL", "https://every.example/", 1);
	setenv("AWS_ENDPOINT_URL_STS", "https://sts.example/", 1);
	REQUIRE(make(&(struct aws_settings_wish){ 0 }));
	CHECK_TEXT(settings.endpoint_url[AWS_S3], "https://every.example/");
	CHECK_TEXT(settings.endpoint_url[AWS_STS], "https://sts.example/");
	setenv("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true", 1);
	REQUIRE(make(&(struct aws_settings_wish){
		.endpoint_url = { [AWS_KMS] = "https://mine.example/" } }));
	CHECK_TEXT(settings.endpoint_url[AWS_STS], "");
	CHECK_TEXT(settings.endpoint_url[AWS_KMS], "https://mine.example/");
	stand_clear_environment();
	REQUIRE(make(&(struct aws_settings_wish){ .profile = "quiet" }));
	CHECK_TEXT(settings.endpoint_url[AWS_S3], "");
	aws_profiles_close(&profiles);
}

TEST(a_profile_that_is_not_there_is_refused)
{
	REQUIRE(begin());
	check_refused(&(struct aws_settings_wish){ .profile = "typo" }, ERR_INPUT_FILE,
		      "there is no profile \"typo\"");
	check_refused(&(struct aws_settings_wish){ .profile = "bare" }, ERR_INPUT_FILE,
		      "it must be called [profile bare]");
	check_refused(&(struct aws_settings_wish){ .profile = "lost" }, ERR_INPUT_FILE,
		      "[services nowhere]");
	setenv("AWS_PROFILE", "typo", 1);
	check_refused(&(struct aws_settings_wish){ 0 }, ERR_INPUT_FILE, "no profile \"typo\"");
	CHECK_OK(aws_settings_make(profiles, &(struct aws_settings_wish){ .profile = "home" },
				   &settings));
	aws_profiles_close(&profiles);
}

TEST(words_that_make_no_sense_are_refused)
{
	char long_region[AWS_REGION_BYTES_MAX + 2];

	REQUIRE(begin());
	check_refused(&(struct aws_settings_wish){ .profile = "odd" }, ERR_INPUT_USAGE,
		      "use_fips_endpoint of profile odd");
	check_refused(&(struct aws_settings_wish){ .profile = "odder" }, ERR_INPUT_FILE,
		      "addressing_style of profile odder");
	memset(long_region, 'a', sizeof long_region);
	long_region[sizeof long_region - 1] = '\0';
	check_refused(&(struct aws_settings_wish){ .region = long_region }, ERR_INPUT_USAGE,
		      "the AWS region is longer than 63 bytes");
	setenv("AWS_REGION", long_region, 1);
	check_refused(&(struct aws_settings_wish){ 0 }, ERR_INPUT_USAGE,
		      "$AWS_REGION is longer than 63 bytes");
	aws_profiles_close(&profiles);
}

TEST(endpoints_follow_the_settings)
{
	struct aws_endpoint endpoint;

	REQUIRE(begin());
	REQUIRE(make(&(struct aws_settings_wish){ .profile = "sovereign" }));
	REQUIRE(CHECK_OK(aws_settings_endpoint(&settings, AWS_S3, "mail", &endpoint)));
	CHECK_TEXT(endpoint.host, "s3.example");
	CHECK_EQ(endpoint.port, 9000);
	CHECK_TEXT(endpoint.path, "/mail");
	CHECK_TEXT(endpoint.region, "eusc-de-east-1");
	REQUIRE(make(&(struct aws_settings_wish){ .profile = "home" }));
	REQUIRE(CHECK_OK(aws_settings_endpoint(&settings, AWS_STS, NULL, &endpoint)));
	CHECK_TEXT(endpoint.host, "sts-fips.us-east-1.amazonaws.com");
	REQUIRE(make(&(struct aws_settings_wish){ .profile = "odder", .style = AWS_STYLE_PATH }));
	CHECK_ERR(aws_settings_endpoint(&settings, AWS_S3, "mail", &endpoint), ERR_INPUT_USAGE);
	CHECK(strstr(err_note()->text, "no AWS region is said") != NULL);
	err_note_clear();
	aws_profiles_close(&profiles);
}

static void write_file(const char *path, const char *content)
{
	FILE *file = fopen(path, "w");

	must(file && fputs(content, file) >= 0 && fclose(file) == 0);
}

TEST_FIBER(the_files_are_those_of_the_home_or_of_the_environment)
{
	char path[200];

	stand_clear_environment();
	setenv("HOME", test_directory(), 1);
	snprintf(path, sizeof path, "%s/.aws", test_directory());
	must(mkdir(path, 0700) == 0);
	snprintf(path, sizeof path, "%s/.aws/config", test_directory());
	write_file(path, "[default]\nregion = eu-west-1\n");
	REQUIRE(CHECK_OK(aws_settings_open_profiles(clock_after(20 * NSEC_SECOND), &profiles)));
	REQUIRE(make(&(struct aws_settings_wish){ 0 }));
	CHECK_TEXT(settings.region, "eu-west-1");
	aws_profiles_close(&profiles);
	snprintf(path, sizeof path, "%s/other", test_directory());
	write_file(path, "[default]\nregion = eu-west-2\n");
	setenv("AWS_CONFIG_FILE", "~/other", 1);
	REQUIRE(CHECK_OK(aws_settings_open_profiles(clock_after(20 * NSEC_SECOND), &profiles)));
	REQUIRE(make(&(struct aws_settings_wish){ 0 }));
	CHECK_TEXT(settings.region, "eu-west-2");
	aws_profiles_close(&profiles);
	setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere/at/all", 1);
	CHECK_ERR(aws_settings_open_profiles(clock_after(20 * NSEC_SECOND), &profiles),
		  ERR_DISK_ABSENT);
	err_note_clear();
	unsetenv("HOME");
	CHECK_ERR(aws_settings_open_profiles(clock_after(20 * NSEC_SECOND), &profiles),
		  ERR_INPUT_USAGE);
	err_note_clear();
	stand_clear_environment();
	CHECK_OK(aws_settings_open_profiles(clock_after(20 * NSEC_SECOND), &profiles));
	aws_profiles_close(&profiles);
}
