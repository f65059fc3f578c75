/* transport/aws_chain.c and aws_sts.c: whose keys are taken, in which order, and which roles are
 * assumed with them. STS and instance metadata are stand-ins on loopback. */
#include "tests/unit/aws_server.h"
#include "transport/residency.h"

#include <sys/stat.h>

#include "crypto/secret.h"
#include "engine/shard.h"
#include "tools/secret_ref.h"
#include "transport/aws_credentials.h"

static struct stand sts, metadata;
static struct aws_profiles *profiles;
static struct aws_settings settings;
static struct account way;
static struct aws_chain chain;
static struct aws_keys keys;
static char from[AWS_FROM_BYTES];
static bool is_renewal;

/* ---- a world ---- */

static struct {
	const char *command, *prints;
	unsigned runs;
} program;

static enum err run_program(void *context, const char *command, bool whole, nsec until,
			    struct secret **out)
{
	(void)context, (void)until;
	CHECK_EQ(whole, *program.prints == '{');
	CHECK_TEXT(command, program.command);
	program.runs++;
	return secret_from_bytes(program.prints, strlen(program.prints), out);
}

static bool begin(const char *config, const char *credentials)
{
	stand_clear_environment();
	setenv("AWS_EC2_METADATA_DISABLED", "true", 1);
	setenv("AWS_REGION", "eusc-de-east-1", 1);
	program = (typeof(program)){ .command = "", .prints = "" };
	keys = (struct aws_keys){ .expires_s = 0 };
	is_renewal = false;
	if (!CHECK_OK(aws_profiles_of(text_of(config), text_of(credentials), &profiles)) ||
	    !stand_open(&sts, true) || !stand_open(&metadata, false))
		return false;
	stand_into(&sts, "AWS_ENDPOINT_URL_STS", "/");
	stand_into(&metadata, "AWS_EC2_METADATA_SERVICE_ENDPOINT", "");
	way = (struct account){ .scheme = "https",
				.ca_file = sts.server.ca_file,
				.io_timeout = 20 * NSEC_SECOND,
				.connect_timeout = 20 * NSEC_SECOND };
	chain = (struct aws_chain){
		.profiles = profiles, .settings = &settings, .way = &way, .run = run_program
	};
	return true;
}

static void end(void)
{
	stand_close(&sts);
	stand_close(&metadata);
	aws_profiles_close(&profiles);
}

static enum err fetch(const char *profile)
{
	const struct aws_settings_wish wish = { .profile = profile };

	if (!CHECK_OK(aws_settings_make(profiles, &wish, &settings)))
		return ERR_INPUT_FILE;
	return aws_chain_fetch(&chain, is_renewal, clock_after(20 * NSEC_SECOND), &keys, from);
}

static void check_from(const char *profile, const char *key_id, const char *where)
{
	if (!CHECK_OK(fetch(profile)))
		return;
	CHECK_TEXT(keys.key_id, key_id);
	CHECK_TEXT(from, where);
}

static void check_none(const char *profile, enum err expected, const char *words)
{
	CHECK_ERR(fetch(profile), expected);
	stand_check_said(words);
}

static const char *body_of(unsigned i)
{
	return i < sts.heard_count ? strstr(sts.heard[i], "\r\n\r\n") + 4 : "";
}

static bool says(unsigned i, const char *words)
{
	if (i < sts.heard_count && strstr(sts.heard[i], words))
		return true;
	test_failed(__FILE__, __LINE__, "request %u lacks \"%s\": %.600s", i, words, sts.heard[i]);
	return false;
}

#define ROLE(id)                                                                                   \
	"200 <AssumeRoleResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">"             \
	"<AssumeRoleResult><Credentials><AccessKeyId>" id "</AccessKeyId><SecretAccessKey>sec"     \
	"</SecretAccessKey><SessionToken>tok</SessionToken><Expiration>2030-01-31T12:00:00Z"       \
	"</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>"
#define BY_TOKEN                                                                                   \
	"200 <AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials>"    \
	"<AccessKeyId>ASIAWEB</AccessKeyId><SecretAccessKey>s</SecretAccessKey><SessionToken>t"    \
	"</SessionToken><Expiration>2030-01-31T12:00:00Z</Expiration></Credentials>"               \
	"</AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"
#define ARN "arn:aws-eusc:iam::123456789012:role/mover"
#define REFUSAL                                                                                    \
	"403 <ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>User: x "  \
	"is not authorized</Message></Error><RequestId>1</RequestId></ErrorResponse>"

/* ---- keys that are there ---- */

TEST_FIBER(the_environment_comes_first)
{
	REQUIRE(begin("[profile p]\naws_access_key_id=PROFILE\naws_secret_access_key=x\n", ""));
	setenv("AWS_ACCESS_KEY_ID", "ENVIRONMENT", 1);
	setenv("AWS_SECRET_ACCESS_KEY", "hunter2", 1);
	check_from(NULL, "ENVIRONMENT", "the environment");
	CHECK_TEXT(keys.secret, "hunter2");
	CHECK_TEXT(keys.token, "");
	setenv("AWS_PROFILE", "p", 1);
	setenv("AWS_SESSION_TOKEN", "tok", 1);
	setenv("AWS_CREDENTIAL_EXPIRATION", "2030-01-31T12:00:00Z", 1);
	check_from(NULL, "ENVIRONMENT", "the environment");
	CHECK_TEXT(keys.token, "tok");
	CHECK_EQ(keys.expires_s, 1896091200);
	/* A side of the run that names its profile has that and nothing else. */
	check_from("p", "PROFILE", "profile p");
	unsetenv("AWS_SECRET_ACCESS_KEY");
	check_none(NULL, ERR_INPUT_SECRET, "an access key id without its secret key");
	end();
}

TEST_FIBER(a_profile_has_keys_or_a_program)
{
	REQUIRE(begin("[profile run]\ncredential_process = /bin/keys --of me\n"
		      "[profile half]\naws_secret_access_key = hunter2\n",
		      "[default]\naws_access_key_id=DEFAULT\naws_secret_access_key=x\n"));
	check_from(NULL, "DEFAULT", "profile default");
	CHECK_EQ(keys.expires_s, 0);
	program.command = "/bin/keys --of me";
	program.prints = "{\"Version\":1,\"AccessKeyId\":\"PROCESS\",\"SecretAccessKey\":\"s\"}\n";
	check_from("run", "PROCESS", "profile run");
	program.prints = "{\"Version\":1,\"AccessKeyId\":\"hunter2";
	check_none("run", ERR_INPUT_SECRET, "the credential_process of profile run gives no JSON");
	chain.run = NULL;
	check_none("run", ERR_INPUT_USAGE, "no program is run here");
	check_none("half", ERR_INPUT_SECRET, "profile half gives a secret key without");
	end();
}

static enum err run_for_real(void *context, const char *command, bool whole, nsec until,
			     struct secret **out)
{
	(void)context;
	return secret_ref_resolve(
		&(struct secret_ref){ .kind = SECRET_REF_EXEC, .text = command, .whole = whole },
		until, out);
}

/* As the program's secrets are got: no shell, a deadline, all that is printed. */
TEST_FIBER(a_program_is_run_for_real)
{
	char path[200], config[600];
	FILE *file;

	snprintf(path, sizeof path, "%s/keys", test_directory());
	must((file = fopen(path, "w")) &&
	     fputs("#!/bin/sh\n[ \"$1 $2\" = \"a;b c d\" ] || exit 3\ncat <<'E'\n{\n  \"Version\": "
		   "1,"
		   "\n  \"AccessKeyId\": \"REAL\",\n  \"SecretAccessKey\": \"s\"\n}\nE\n",
		   file) >= 0 &&
	     fclose(file) == 0 && chmod(path, 0700) == 0);
	snprintf(config, sizeof config,
		 "[profile p]\ncredential_process = %s 'a;b' \"c d\"\n"
		 "[profile q]\ncredential_process = %s\n",
		 path, path);
	REQUIRE(begin(config, ""));
	chain.run = run_for_real;
	check_from("p", "REAL", "profile p");
	check_none("q", ERR_INPUT_SECRET, "failed with exit code 3");
	end();
}

TEST_FIBER(a_profile_of_people_says_how_to_use_it)
{
	REQUIRE(begin("[profile me]\nsso_session = corp\n[profile l]\nlogin_session = x\n", ""));
	check_none("me", ERR_INPUT_FILE, "aws configure export-credentials --profile me");
	check_none("l", ERR_INPUT_FILE, "log in with a browser");
	end();
}

static void write_keys(const char *path, const char *profile, const char *id, mode_t mode)
{
	FILE *file = fopen(path, "w");

	must(file &&
	     fprintf(file, "[%s]\naws_access_key_id=%s\naws_secret_access_key=x\n", profile, id) >
		     0 &&
	     fclose(file) == 0 && chmod(path, mode) == 0);
}

/* Whoever logs in with a browser once in a while writes the new keys there. */
TEST_FIBER(a_renewal_reads_the_files_again)
{
	char path[200];

	REQUIRE(begin("", ""));
	snprintf(path, sizeof path, "%s/credentials", test_directory());
	write_keys(path, "k", "ONE", 0600);
	aws_profiles_close(&profiles);
	REQUIRE(CHECK_OK(aws_profiles_open(&(struct aws_profile_file){ "/nowhere/config", false },
					   &(struct aws_profile_file){ path, true },
					   clock_after(20 * NSEC_SECOND), &profiles)));
	chain.profiles = profiles;
	check_from("k", "ONE", "profile k");
	write_keys(path, "k", "TWO", 0600);
	check_from("k", "ONE", "profile k");
	is_renewal = true;
	check_from("k", "TWO", "profile k");
	write_keys(path, "k", "THREE", 0644);
	check_none("k", ERR_INPUT_SECRET, "is open to others");
	must(unlink(path) == 0);
	check_none("k", ERR_DISK_ABSENT, path);
	end();
}

TEST_FIBER(without_keys_it_says_where_it_looked)
{
	REQUIRE(begin("[profile empty]\nregion=eu-west-1\n", ""));
	check_none(NULL, ERR_AWS_ABSENT, "instance metadata is disabled");
	check_none("empty", ERR_AWS_ABSENT, "profile empty has no keys");
	CHECK_EQ(metadata.heard_count, 0);
	end();
}

static void answer_metadata(void)
{
	for (unsigned i = 0; i < 6; i += 3) {
		metadata.answers[i] = "200 T";
		metadata.answers[i + 1] = "200 role";
		metadata.answers[i + 2] =
			"200 {\"AccessKeyId\":\"METADATA\",\"SecretAccessKey\":\"s\","
			"\"Token\":\"t\",\"Expiration\":\"2030-01-31T12:00:00Z\"}";
	}
}

TEST_FIBER(containers_and_metadata_come_last_and_not_where_a_profile_is_named)
{
	REQUIRE(begin("[profile empty]\nregion=eu-west-1\n", ""));
	unsetenv("AWS_EC2_METADATA_DISABLED");
	answer_metadata();
	check_from(NULL, "METADATA", "instance metadata");
	setenv("AWS_PROFILE", "empty", 1);
	check_none(NULL, ERR_AWS_ABSENT, "profile empty has no keys");
	unsetenv("AWS_PROFILE");
	stand_into(&metadata, "AWS_CONTAINER_CREDENTIALS_FULL_URI", "/c");
	metadata.answers[3] = metadata.answers[2];
	check_from(NULL, "METADATA", "the container's endpoint");
	CHECK_EQ(metadata.heard_count, 4);
	end();
}

TEST_FIBER(a_machine_that_is_none_of_aws_is_told_so)
{
	REQUIRE(begin("", ""));
	unsetenv("AWS_EC2_METADATA_DISABLED");
	setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://127.0.0.1:1", 1);
	check_none(NULL, ERR_AWS_ABSENT, "no instance metadata is there");
	/* It was one a while ago: that may pass, and is no reason to end a run. */
	is_renewal = true;
	check_none(NULL, ERR_NET_REFUSED, "127.0.0.1 port 1");
	end();
}

/* ---- roles ---- */

TEST_FIBER(a_role_is_assumed_with_the_keys_of_its_source_profile)
{
	REQUIRE(begin("[profile role]\nrole_arn = " ARN "\nsource_profile = base\n"
		      "external_id = our/id:1\nrole_session_name = night+run\n"
		      "duration_seconds = 7200\n",
		      "[base]\naws_access_key_id=AKIABASE\naws_secret_access_key=hunter2\n"
		      "aws_session_token=base-token\n"));
	sts.answers[0] = ROLE("ASIAROLE");
	check_from("role", "ASIAROLE", "profile base, role " ARN);
	CHECK_TEXT(keys.secret, "sec");
	CHECK_TEXT(keys.token, "tok");
	CHECK_EQ(keys.expires_s, 1896091200);
	CHECK_TEXT(body_of(0),
		   "Action=AssumeRole&Version=2011-06-15&RoleArn=arn%3Aaws-eusc%3Aiam%3A"
		   "%3A123456789012%3Arole%2Fmover&RoleSessionName=night%2Brun&"
		   "DurationSeconds=7200&ExternalId=our%2Fid%3A1");
	says(0, "POST / HTTP/1.1\r\nHost: localhost:");
	says(0, "Content-Type: application/x-www-form-urlencoded\r\n");
	says(0, "AWS4-HMAC-SHA256 Credential=AKIABASE/");
	says(0, "/eusc-de-east-1/sts/aws4_request, SignedHeaders=content-type;host;x-amz-date;"
		"x-amz-security-token, Signature=");
	says(0, "base-token\r\n");
	CHECK(!strstr(sts.heard[0], "hunter2"));
	end();
}

TEST_FIBER(roles_follow_one_another)
{
	REQUIRE(begin("[profile c]\nrole_arn = " ARN "3\nsource_profile = b\n"
		      "[profile b]\nrole_arn = " ARN "2\nsource_profile = a\n"
		      "[profile a]\nrole_arn = " ARN "1\ncredential_source = Environment\n",
		      ""));
	setenv("AWS_ACCESS_KEY_ID", "AKIAENV", 1);
	setenv("AWS_SECRET_ACCESS_KEY", "x", 1);
	sts.answers[0] = ROLE("ASIA1");
	sts.answers[1] = ROLE("ASIA2");
	sts.answers[2] = ROLE("ASIA3");
	check_from("c", "ASIA3", "the environment, role " ARN "1, role " ARN "2, role " ARN "3");
	says(0, "Credential=AKIAENV/");
	says(0, "mover1&");
	says(1, "Credential=ASIA1/");
	says(1, "mover2&");
	says(2, "Credential=ASIA2/");
	says(2, "mover3&RoleSessionName=mailhaul-");
	end();
}

TEST_FIBER(a_profile_may_be_its_own_source_and_give_its_keys_to_others)
{
	REQUIRE(begin("[profile own]\nrole_arn = " ARN "\nsource_profile = own\n"
		      "aws_access_key_id=AKIAOWN\naws_secret_access_key=x\n"
		      "[profile other]\nrole_arn = " ARN "2\nsource_profile = own\n"
		      "[profile none]\nrole_arn = " ARN "\nsource_profile = none\n",
		      ""));
	sts.answers[0] = ROLE("ASIA1");
	sts.answers[1] = ROLE("ASIA2");
	check_from("own", "ASIA1", "profile own, role " ARN);
	says(0, "Credential=AKIAOWN/");
	check_from("other", "ASIA2", "profile own, role " ARN "2");
	says(1, "Credential=AKIAOWN/");
	CHECK_EQ(sts.heard_count, 2);
	check_none("none", ERR_AWS_ABSENT, "profile none, whose keys are to assume a role");
	end();
}

TEST_FIBER(a_role_may_have_its_keys_from_metadata)
{
	REQUIRE(begin("[profile m]\nrole_arn = " ARN "\ncredential_source = Ec2InstanceMetadata\n"
		      "[profile e]\nrole_arn = " ARN "\ncredential_source = EcsContainer\n",
		      ""));
	check_none("m", ERR_AWS_ABSENT, "which $AWS_EC2_METADATA_DISABLED turns off");
	CHECK_EQ(metadata.heard_count, 0);
	unsetenv("AWS_EC2_METADATA_DISABLED");
	answer_metadata();
	sts.answers[0] = ROLE("ASIA1");
	check_from("m", "ASIA1", "instance metadata, role " ARN);
	says(0, "Credential=METADATA/");
	check_none("e", ERR_AWS_ABSENT, "profile e wants keys from EcsContainer");
	end();
}

TEST_FIBER(what_profiles_say_of_roles_must_make_sense)
{
	REQUIRE(begin("[profile a]\nrole_arn = " ARN "\nsource_profile = b\n"
		      "[profile b]\nrole_arn = " ARN "\nsource_profile = a\n"
		      "[profile both]\nrole_arn = " ARN "\nsource_profile = a\n"
		      "credential_source = Environment\n"
		      "[profile neither]\nrole_arn = " ARN "\n"
		      "[profile lost]\nrole_arn = " ARN "\nsource_profile = nowhere\n"
		      "[profile odd]\nrole_arn = " ARN "\ncredential_source = Heaven\n"
		      "[profile 1]\nrole_arn = " ARN "\nsource_profile = 2\n"
		      "[profile 2]\nrole_arn = " ARN "\nsource_profile = 3\n"
		      "[profile 3]\nrole_arn = " ARN "\nsource_profile = 4\n"
		      "[profile 4]\nrole_arn = " ARN "\nsource_profile = 5\n"
		      "[profile 5]\nrole_arn = " ARN "\nsource_profile = 6\n[profile 6]\n"
		      "[profile long]\nrole_arn = " ARN "\nsource_profile = k\n"
		      "duration_seconds = 1h\n"
		      "[profile short]\nrole_arn = " ARN "\nsource_profile = k\n"
		      "duration_seconds = 60\n"
		      "[profile name]\nrole_arn = " ARN "\nsource_profile = k\n"
		      "role_session_name = a b\n"
		      "[profile arn]\nrole_arn = mover\nsource_profile = k\n"
		      "[profile s3]\nrole_arn = arn:aws-eusc:s3:::x\nsource_profile = k\n"
		      "[profile cross]\nrole_arn = arn:aws:iam::123456789012:role/x\n"
		      "source_profile = k\n"
		      "[profile mfa]\nrole_arn = " ARN "\nsource_profile = k\n"
		      "mfa_serial = arn:aws-eusc:iam::123456789012:mfa/me\n",
		      "[k]\naws_access_key_id=K\naws_secret_access_key=x\n"));
	check_none("a", ERR_INPUT_FILE, "name each other as source_profile");
	check_none("both", ERR_INPUT_FILE, "with both source_profile and credential_source");
	check_none("neither", ERR_INPUT_FILE, "with neither source_profile");
	check_none("lost", ERR_INPUT_FILE, "the source_profile nowhere of profile lost");
	check_none("odd", ERR_INPUT_FILE, "credential_source of profile odd is not");
	check_none("1", ERR_INPUT_FILE, "more than 5 profiles in a row");
	check_none("long", ERR_INPUT_FILE, "duration_seconds of profile long is no number");
	check_none("short", ERR_INPUT_USAGE, "900 to 43200 s, not 60");
	check_none("name", ERR_INPUT_USAGE, "the name of a role's session is nothing");
	check_none("arn", ERR_INPUT_USAGE, "the role \"mover\" is no ARN");
	check_none("s3", ERR_INPUT_USAGE, "is not the ARN of a role");
	check_none("cross", ERR_INPUT_USAGE,
		   "is of another partition than the region eusc-de-east-1, which is of aws-eusc");
	check_none("mfa", ERR_INPUT_USAGE, "needs a code of the MFA device");
	CHECK_EQ(sts.heard_count, 0);
	end();
}

TEST_FIBER(a_code_of_the_mfa_device_comes_from_a_program)
{
	REQUIRE(begin("[profile mfa]\nrole_arn = " ARN "\nsource_profile = k\n"
		      "mfa_serial = arn:aws-eusc:iam::123456789012:mfa/me\n",
		      "[k]\naws_access_key_id=K\naws_secret_access_key=x\n"));
	chain.mfa_command = program.command = "/bin/code";
	program.prints = "012345";
	sts.answers[0] = sts.answers[1] = ROLE("ASIA1");
	check_from("mfa", "ASIA1", "profile k, role " ARN);
	says(0, "&SerialNumber=arn%3Aaws-eusc%3Aiam%3A%3A123456789012%3Amfa%2Fme&TokenCode=012345");
	check_from("mfa", "ASIA1", "profile k, role " ARN);
	CHECK_EQ(program.runs, 2);
	program.prints = "12345";
	check_none("mfa", ERR_INPUT_SECRET, "is not six digits");
	program.prints = "12345x";
	check_none("mfa", ERR_INPUT_SECRET, "is not six digits");
	end();
}

/* A secret ends where it ends, here at the edge of a page that nobody may read. */
TEST_FIBER(no_more_of_a_code_is_read_than_there_is)
{
	static const struct aws_role role = { .arn = ARN, .mfa_serial = "GAHT12345678" };
	const struct aws_sts where = { &settings, &way, NULL };
	void *room = secret_room_open(16);

	REQUIRE(room && begin("", ""));
	CHECK_OK(aws_settings_make(profiles, &(struct aws_settings_wish){ 0 }, &settings));
	keys = (struct aws_keys){ .key_id = "K", .secret = "x" };
	memcpy((char *)room + 10, "012345", 6);
	sts.answers[0] = ROLE("ASIA1");
	CHECK_OK(aws_sts_assume(&where, &role, (struct text){ (char *)room + 10, 6 },
				clock_after(20 * NSEC_SECOND), &keys));
	CHECK_TEXT(keys.key_id, "ASIA1");
	secret_room_close(&room);
	end();
}

TEST_FIBER(a_job_has_a_role_of_its_own_with_policy_identity_and_tags)
{
	static const struct aws_tag tags[] = { { "team", "mail & more" }, { "empty", "" } };
	static const struct aws_role role = { .arn = ARN,
					      .external_id = "id-1",
					      .policy = "{\"Version\":\"2012-10-17\"}",
					      .source_identity = "alice@example.com",
					      .tags = tags,
					      .tags_count = 2 };

	REQUIRE(begin("", "[k]\naws_access_key_id=K\naws_secret_access_key=x\n"));
	chain.role = &role;
	sts.answers[0] = ROLE("ASIA1");
	check_from("k", "ASIA1", "profile k, role " ARN);
	says(0, "&Policy=%7B%22Version%22%3A%222012-10-17%22%7D&ExternalId=id-1&SourceIdentity="
		"alice%40example.com&Tags.member.1.Key=team&Tags.member.1.Value=mail%20%26%20more"
		"&Tags.member.2.Key=empty&Tags.member.2.Value=");
	end();
}

TEST_FIBER(what_sts_refuses_is_told)
{
	REQUIRE(begin("[profile r]\nrole_arn = " ARN "\nsource_profile = k\n",
		      "[k]\naws_access_key_id=K\naws_secret_access_key=hunter2\n"));
	sts.answers[0] = REFUSAL;
	sts.answers[1] = "400 <ErrorResponse><Error><Code>Throttling</Code><Message>Rate exceeded"
			 "</Message></Error></ErrorResponse>";
	sts.answers[2] = "503 <html>busy</html>";
	sts.answers[3] = "404 <html>";
	sts.answers[4] = "200 <html></html>";
	sts.answers[5] = "200 <AssumeRoleResponse><AssumeRoleResult></AssumeRoleResult>"
			 "</AssumeRoleResponse>";
	sts.answers[6] = "200 <AssumeRoleResponse><AssumeRoleResult><Credentials><AccessKeyId>A"
			 "</AccessKeyId></Credentials></AssumeRoleResult></AssumeRoleResponse>";
	sts.answers[7] = "302 ";
	check_none("r", ERR_AWS_REFUSED,
		   "STS at localhost refuses the role (status 403): AccessDenied: \"User: x is not "
		   "authorized\"");
	check_none("r", ERR_AWS_UNAVAILABLE, "Throttling: \"Rate exceeded\"");
	check_none("r", ERR_AWS_UNAVAILABLE, "status 503 and no reason");
	check_none("r", ERR_AWS_REFUSED, "status 404 and no reason");
	check_none("r", ERR_XML_SYNTAX, "STS at localhost");
	check_none("r", ERR_INPUT_SECRET, "answers with no Credentials");
	check_none("r", ERR_XML_SYNTAX, "STS at localhost");
	check_none("r", ERR_AWS_REFUSED, "status 302");
	end();
}

/* Instance metadata never leaves the machine, so no policy is asked about it; STS does. */
TEST_FIBER(outside_the_residency_policy_sts_is_not_asked)
{
	struct residency *policy;

	REQUIRE(begin("[profile m]\nrole_arn = " ARN "\ncredential_source = Ec2InstanceMetadata\n"
		      "[profile far]\nrole_arn = " ARN "\nsource_profile = k\n",
		      "[k]\naws_access_key_id=K\naws_secret_access_key=hunter2\n"));
	REQUIRE(residency_open(&policy) == OK);
	CHECK_OK(residency_add(policy, RESIDENCY_HOSTS, ".amazonaws.eu"));
	CHECK_OK(residency_add(policy, RESIDENCY_REGIONS, "eu-central-1"));
	residency_set(policy);
	unsetenv("AWS_EC2_METADATA_DISABLED");
	answer_metadata();
	check_none("m", ERR_RESIDENCY_ENDPOINT,
		   "connecting to localhost: outside of residency.hosts");
	CHECK(metadata.heard_count > 0);
	CHECK_EQ(sts.heard_count, 0);
	unsetenv("AWS_ENDPOINT_URL_STS");
	check_none("far", ERR_RESIDENCY_ENDPOINT,
		   "connecting to sts.eusc-de-east-1.amazonaws.eu in eusc-de-east-1 of aws-eusc: "
		   "outside of residency.regions (eu-central-1)");
	residency_set(NULL);
	residency_close(&policy);
	end();
}

TEST_FIBER(an_answer_of_sts_has_its_bounds)
{
	static char large[AWS_ANSWER_BYTES_MAX + 100];

	REQUIRE(begin("[profile r]\nrole_arn = " ARN "\nsource_profile = k\n",
		      "[k]\naws_access_key_id=K\naws_secret_access_key=x\n"));
	snprintf(large, sizeof large, "200 %*s", AWS_ANSWER_BYTES_MAX, "");
	sts.answers[0] = large;
	check_none("r", ERR_HTTP_SYNTAX, "65536 bytes or more");
	way.ca_file = NULL;
	check_none("r", ERR_TLS_UNTRUSTED, "localhost");
	CHECK_EQ(sts.heard_count, 1);
	end();
}

/* ---- web identity ---- */

static const char *write_token(const char *content)
{
	static char path[200];
	FILE *file;

	snprintf(path, sizeof path, "%s/token", test_directory());
	file = fopen(path, "w");
	must(file && fputs(content, file) >= 0 && fclose(file) == 0);
	return path;
}

TEST_FIBER(a_token_of_a_platform_gets_a_role_without_a_signature)
{
	REQUIRE(begin("", ""));
	setenv("AWS_WEB_IDENTITY_TOKEN_FILE", write_token("ey.one-\n"), 1);
	check_none(NULL, ERR_INPUT_USAGE, "no $AWS_ROLE_ARN");
	setenv("AWS_ROLE_ARN", ARN, 1);
	setenv("AWS_ROLE_SESSION_NAME", "pod", 1);
	sts.answers[0] = sts.answers[1] = BY_TOKEN;
	check_from(NULL, "ASIAWEB", "web identity, role " ARN);
	CHECK_TEXT(body_of(0),
		   "Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleArn=arn%3Aaws-eusc%3A"
		   "iam%3A%3A123456789012%3Arole%2Fmover&RoleSessionName=pod&WebIdentityToken="
		   "ey.one-");
	CHECK(!strstr(sts.heard[0], "Authorization"));
	write_token("ey.two");
	check_from(NULL, "ASIAWEB", "web identity, role " ARN);
	says(1, "WebIdentityToken=ey.two");
	write_token("\n");
	check_none(NULL, ERR_INPUT_SECRET, "holds no token");
	end();
}

TEST_FIBER(a_profile_may_name_the_token_of_a_platform)
{
	char config[600];
	const char *path = write_token("hunter2-token");

	snprintf(config, sizeof config,
		 "[profile w]\nrole_arn = " ARN "\nweb_identity_token_file = %s\n"
		 "[profile up]\nrole_arn = " ARN "2\nsource_profile = w\n"
		 "[profile half]\nweb_identity_token_file = %s\n",
		 path, path);
	REQUIRE(begin(config, ""));
	sts.answers[0] = BY_TOKEN;
	sts.answers[1] = BY_TOKEN;
	sts.answers[2] = ROLE("ASIAUP");
	sts.answers[3] = "400 <ErrorResponse><Error><Code>InvalidIdentityToken</Code><Message>No: "
			 "hunter2-token</Message></Error></ErrorResponse>";
	sts.answers[4] = "400 <ErrorResponse><Error><Code>&#104;unter2-token</Code><Message>No"
			 "</Message></Error></ErrorResponse>";
	check_from("w", "ASIAWEB", "profile w, role " ARN);
	check_from("up", "ASIAUP", "profile w, role " ARN ", role " ARN "2");
	says(2, "Credential=ASIAWEB/");
	check_none("half", ERR_INPUT_FILE, "but no role_arn");
	check_none("w", ERR_AWS_REFUSED, "(status 400) in words that repeat the token");
	check_none("w", ERR_AWS_REFUSED, "(status 400) in words that repeat the token");
	end();
}

/* ---- programs that may be run ---- */

static void note_command(void *to, const char *command)
{
	buffer_addf(to, "%s;", command);
}

static void check_commands(const char *profile, const char *expected)
{
	const struct aws_settings_wish wish = { .profile = profile };
	struct buffer told = { 0 };

	CHECK_OK(aws_settings_make(profiles, &wish, &settings));
	CHECK_OK(aws_chain_commands(&chain, note_command, &told));
	CHECK_TEXT(told.at ? told.at : "", expected);
	buffer_free(&told);
}

TEST_FIBER(the_programs_that_may_be_run_are_known_before)
{
	REQUIRE(begin("[profile p]\ncredential_process = /bin/keys x\n"
		      "[profile r]\nrole_arn = " ARN "\nsource_profile = p\n"
		      "[profile broken]\nrole_arn = " ARN "\n",
		      "[k]\naws_access_key_id=K\n"));
	check_commands("p", "/bin/keys x;");
	check_commands("r", "/bin/keys x;");
	check_commands("k", "");
	check_commands(NULL, "");
	chain.mfa_command = "/bin/code";
	check_commands("r", "/bin/keys x;/bin/code;");
	/* A profile that does not count may be broken. */
	chain.mfa_command = NULL;
	setenv("AWS_PROFILE", "broken", 1);
	CHECK_OK(aws_settings_make(profiles, &(struct aws_settings_wish){ 0 }, &settings));
	CHECK_ERR(aws_chain_commands(&chain, note_command, NULL), ERR_INPUT_FILE);
	err_note_clear();
	setenv("AWS_ACCESS_KEY_ID", "ENVIRONMENT", 1);
	setenv("AWS_SECRET_ACCESS_KEY", "x", 1);
	check_commands(NULL, "");
	check_from(NULL, "ENVIRONMENT", "the environment");
	check_commands("p", "/bin/keys x;");
	end();
}

/* ---- two sides ---- */

/* A source in one partition and a destination in another, at once. */
TEST_FIBER(two_sets_of_keys_do_not_see_each_other)
{
	static struct aws_settings sides[2];
	struct aws_credentials *sets[2];
	struct aws_held *held[2];
	static const char *const names[] = { "home", "sovereign" };

	REQUIRE(begin("[profile home]\nregion = eu-central-1\n"
		      "role_arn = arn:aws:iam::123456789012:role/read\nsource_profile = hk\n"
		      "[profile sovereign]\nregion = eusc-de-east-1\nrole_arn = " ARN "\n"
		      "source_profile = sk\n",
		      "[hk]\naws_access_key_id=AKIAHOME\naws_secret_access_key=x\n"
		      "[sk]\naws_access_key_id=AKIASOV\naws_secret_access_key=x\n"));
	sts.answers[0] = ROLE("ASIAHOME");
	sts.answers[1] = ROLE("ASIASOV");
	for (unsigned i = 0; i < 2; i++) {
		const struct aws_settings_wish wish = { .profile = names[i] };
		struct aws_credentials_config config = { .chain = chain };

		REQUIRE(CHECK_OK(aws_settings_make(profiles, &wish, &sides[i])));
		config.chain.settings = &sides[i];
		REQUIRE(CHECK_OK(aws_credentials_open(&config, &sets[i])));
		REQUIRE(CHECK_OK(
			aws_credentials_get(sets[i], clock_after(20 * NSEC_SECOND), &held[i])));
	}
	CHECK(text_equal(aws_held_credentials(held[0]).access_key_id, text_of("ASIAHOME")));
	CHECK(text_equal(aws_held_credentials(held[1]).access_key_id, text_of("ASIASOV")));
	says(0, "Credential=AKIAHOME/");
	says(0, "/eu-central-1/sts/aws4_request");
	says(1, "Credential=AKIASOV/");
	says(1, "/eusc-de-east-1/sts/aws4_request");
	for (unsigned i = 0; i < 2; i++) {
		aws_held_put(&held[i]);
		aws_credentials_close(&sets[i]);
	}
	end();
}

/* Whoever writes a file makes it empty first, and behind it in the chain are an instance's keys. */
TEST_FIBER(a_run_does_not_go_on_as_somebody_else)
{
	struct aws_credentials_config config;
	struct aws_credentials *set;
	struct aws_held *held;
	char path[200];

	REQUIRE(begin("", ""));
	unsetenv("AWS_EC2_METADATA_DISABLED");
	answer_metadata();
	snprintf(path, sizeof path, "%s/credentials", test_directory());
	write_keys(path, "default", "ONE", 0600);
	aws_profiles_close(&profiles);
	REQUIRE(CHECK_OK(aws_profiles_open(&(struct aws_profile_file){ NULL, false },
					   &(struct aws_profile_file){ path, true },
					   clock_after(20 * NSEC_SECOND), &profiles)));
	chain.profiles = profiles;
	CHECK_OK(aws_settings_make(profiles, &(struct aws_settings_wish){ 0 }, &settings));
	config = (struct aws_credentials_config){ .chain = chain };
	REQUIRE(CHECK_OK(aws_credentials_open(&config, &set)));
	REQUIRE(CHECK_OK(aws_credentials_get(set, clock_after(20 * NSEC_SECOND), &held)));
	must(truncate(path, 0) == 0);
	aws_credentials_drop(set, held);
	aws_held_put(&held);
	CHECK_ERR(aws_credentials_get(set, clock_after(20 * NSEC_SECOND), &held), ERR_AWS_EXPIRED);
	CHECK_EQ(metadata.heard_count, 3);
	CHECK(strstr(
		err_note()->text,
		"were those of profile default, and now there are those of instance metadata"));
	err_note_clear();
	aws_held_put(&held);
	aws_credentials_close(&set);
	end();
}

/* ---- threads ---- */

static atomic_uint given;

static enum err give_slowly(void *context, const char *command, bool whole, nsec until,
			    struct secret **out)
{
	static const char json[] =
		"{\"Version\":1,\"AccessKeyId\":\"SHARED\",\"SecretAccessKey\":\"s\"}";

	(void)context, (void)command, (void)whole, (void)until;
	atomic_fetch_add(&given, 1);
	must(fiber_sleep(clock_after(50 * NSEC_MILLISECOND)) == OK);
	return secret_from_bytes(json, sizeof json - 1, out);
}

static enum err get_shared(void *set)
{
	struct aws_held *held = NULL;
	enum err e = aws_credentials_get(set, clock_after(20 * NSEC_SECOND), &held);

	if (!e && !text_equal(aws_held_credentials(held).access_key_id, text_of("SHARED")))
		e = ERR_AWS_REFUSED;
	aws_held_put(&held);
	return e;
}

static void *run_thread(void *set)
{
	return (void *)(uintptr_t)shard_run(&(struct shard_config){ 0 }, get_shared, set);
}

/* A code of an MFA device is good once: each worker asking for itself would be refused. */
TEST(threads_share_what_one_of_them_asked_for)
{
	static const char config[] = "[profile p]\ncredential_process = /bin/keys\n";
	const struct aws_settings_wish wish = { .profile = "p" };
	struct aws_credentials_config with = {
		.chain = { .settings = &settings, .way = &way, .run = give_slowly }
	};
	struct aws_credentials *set;
	pthread_t threads[3];
	void *result;

	stand_clear_environment();
	REQUIRE(CHECK_OK(aws_profiles_of(text_of(config), text_of(""), &profiles)));
	REQUIRE(CHECK_OK(aws_settings_make(profiles, &wish, &settings)));
	with.chain.profiles = profiles;
	REQUIRE(CHECK_OK(aws_credentials_open(&with, &set)));
	for (size_t i = 0; i < ARRAY_COUNT(threads); i++)
		must(pthread_create(&threads[i], NULL, run_thread, set) == 0);
	for (size_t i = 0; i < ARRAY_COUNT(threads); i++) {
		must(pthread_join(threads[i], &result) == 0);
		CHECK_EQ((uintptr_t)result, OK);
	}
	CHECK_EQ(given, 1);
	aws_credentials_close(&set);
	aws_profiles_close(&profiles);
}
