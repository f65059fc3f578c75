/* The guard over a bucket in memory: each rule refuses what breaks it and names it, and what cannot
 * be found out is told, and refuses only who wants to know. */
#include "tests/unit/s3_fake.h"

#include "transport/bucket_guard.h"

#define US_KEY "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab"
#define SECOND "eu-west-1"

static const struct aws_partition aws = { .name = "aws",
					  .dns_suffix = "aws.example",
					  .dual_stack_suffix = "aws2.example" };
static const struct account way = { .scheme = "https" };
static struct s3_config config;
static struct bucket_policy policy;
static struct bucket_facts facts;

/* A bucket that nothing is wrong with, as AWS makes them. */
static void begin(void)
{
	fake_reset(0);
	policy = (struct bucket_policy){ .prefix = "mail/2026/" };
	config = (struct s3_config){ .bucket = "bucket",
				     .way = &way,
				     .endpoint = { .host = "bucket.s3.eu-central-1.aws.example",
						   .region = "eu-central-1",
						   .partition = &aws } };
	fake.bucket.region = "eu-central-1";
	fake.bucket.block = (struct s3_public_access_block){ true, true, true, true };
	fake.bucket.encryption = (struct s3_encryption){ .sse_algorithm = "AES256" };
}

static enum err guard(void)
{
	struct s3 *s3;
	enum err e;

	err_note_clear();
	must(s3_open(&config, &s3) == OK);
	e = bucket_guard_check(s3, &policy, clock_after(NSEC_SECOND), &facts);
	s3_close(&s3);
	CHECK_EQ(err_note()->error, e);
	return e;
}

static void check_says(const char *words)
{
	if (!strstr(err_note()->text, words))
		test_failed(__FILE__, __LINE__, "\"%s\" does not say \"%s\"", err_note()->text,
			    words);
}

static void check_found(enum bucket_rule rule, const char *words)
{
	char found[400];

	CHECK_TEXT(bucket_fact_show(&facts, rule, found, sizeof found), words);
}

static struct s3_replication_rule *add_rule(const char *prefix, const char *to)
{
	struct s3_replication_rule *rule = &fake.bucket.rules[fake.bucket.rules_count++];

	snprintf(rule->id, sizeof rule->id, "rule-%u", fake.bucket.rules_count);
	snprintf(rule->status, sizeof rule->status, "Enabled");
	snprintf(rule->filter_prefix, sizeof rule->filter_prefix, "%s", prefix);
	snprintf(rule->destination_bucket, sizeof rule->destination_bucket, "%s", to);
	return rule;
}

TEST_FIBER(a_bucket_as_aws_makes_them_is_let_through)
{
	begin();
	CHECK_OK(guard());
	check_found(BUCKET_REGION, "eu-central-1");
	check_found(BUCKET_REPLICATION, "none");
	check_found(BUCKET_PUBLIC_POLICY, "not public");
	check_found(BUCKET_PUBLIC_BLOCK, "on");
	check_found(BUCKET_VERSIONING, "never enabled");
	check_found(BUCKET_LOCK, "not enabled");
	check_found(BUCKET_ENCRYPTION, "AES256");
	for (unsigned i = 0; i < BUCKET_RULES; i++) {
		CHECK_EQ(facts.sight[i], BUCKET_SEEN);
		CHECK(!facts.broken[i]);
	}
}

TEST_FIBER(another_region_is_a_breach_of_residency)
{
	static const char *const allowed[] = { "eu-central-1", SECOND };
	static const char *const far[] = { "eusc-de-east-1" };

	begin();
	fake.bucket.region = SECOND;
	CHECK_ERR(guard(), ERR_S3_RESIDENCY);
	CHECK_EQ(err_exit_code(ERR_S3_RESIDENCY), EXIT_RESIDENCY);
	check_says("breaks the rule \"region\": eu-west-1, wanted is eu-central-1; choose");
	policy.regions = allowed;
	policy.regions_count = 2;
	CHECK_OK(guard());
	policy.regions = far;
	policy.regions_count = 1;
	CHECK_ERR(guard(), ERR_S3_RESIDENCY);
	policy.demand[BUCKET_REGION] = BUCKET_TOLD;
	CHECK_OK(guard());
}

/* S3's own words about an endpoint that is wrong stay, unless the place is not allowed at all. */
TEST_FIBER(a_wrong_endpoint_and_a_forbidden_region_are_told_apart)
{
	static const char *const allowed[] = { "eu-central-1", SECOND };

	begin();
	fake.bucket.region = SECOND;
	fake.bucket.errors[FAKE_REGION] = ERR_S3_REGION;
	CHECK_ERR(guard(), ERR_S3_REGION);
	policy.regions = allowed;
	policy.regions_count = 2;
	CHECK_ERR(guard(), ERR_S3_REGION);
	policy.regions_count = 1;
	CHECK_ERR(guard(), ERR_S3_RESIDENCY);
	check_says("\"region\": eu-west-1, wanted is eu-central-1");
}

/* radosgw says "default". */
TEST_FIBER(a_server_that_is_not_of_aws_is_held_only_to_a_list)
{
	static const char *const allowed[] = { "eu-central-1" };

	begin();
	fake.bucket.region = "default";
	snprintf(config.endpoint.host, sizeof config.endpoint.host, "s3.example.org");
	CHECK_OK(guard());
	policy.regions = allowed;
	policy.regions_count = 1;
	CHECK_ERR(guard(), ERR_S3_RESIDENCY);
}

TEST_FIBER(a_partition_is_judged_before_anything_is_asked)
{
	begin();
	policy.partition = "aws";
	CHECK_OK(guard());
	policy.partition = "aws-eusc";
	fake.calls = 0;
	CHECK_ERR(guard(), ERR_S3_RESIDENCY);
	check_says("partition aws-eusc");
	policy.partition = "aws";
	snprintf(config.endpoint.host, sizeof config.endpoint.host, "s3.example.org");
	CHECK_ERR(guard(), ERR_S3_RESIDENCY);
	CHECK_EQ(fake.calls, 0);
}

TEST_FIBER(replication_that_takes_mail_away_refuses)
{
	begin();
	add_rule("", "arn:aws:s3:::elsewhere");
	CHECK_ERR(guard(), ERR_S3_RESIDENCY);
	check_says("\"replication\": rule \"rule-1\" copies to arn:aws:s3:::elsewhere; disable");
	CHECK_EQ(facts.replication.active, 1);
	policy.demand[BUCKET_REPLICATION] = BUCKET_TOLD;
	CHECK_OK(guard());
	check_found(BUCKET_REPLICATION, "rule \"rule-1\" copies to arn:aws:s3:::elsewhere");
}

TEST_FIBER(replication_of_others_or_switched_off_is_none_of_ours)
{
	struct s3_replication_rule *rule;

	begin();
	rule = add_rule("logs/", "arn:aws:s3:::elsewhere");
	snprintf(add_rule("mail/", "arn:aws:s3:::off")->status, S3_WORD_BYTES_MAX, "Disabled");
	CHECK_OK(guard());
	CHECK_EQ(facts.replication.rules, 2);
	CHECK_EQ(facts.replication.active, 0);
	check_found(BUCKET_REPLICATION, "none of the archive (2 rules)");
	snprintf(rule->filter_prefix, sizeof rule->filter_prefix, "mail/2026/alice"); /* a part */
	CHECK_ERR(guard(), ERR_S3_RESIDENCY);
	rule->filter_prefix[0] = '\0';
	snprintf(rule->and_prefix, sizeof rule->and_prefix, "mai"); /* with tags, all of it */
	CHECK_ERR(guard(), ERR_S3_RESIDENCY);
	rule->and_prefix[0] = '\0';
	snprintf(rule->prefix, sizeof rule->prefix, "mail/2025"); /* as before 2018 */
	CHECK_OK(guard());
}

TEST_FIBER(replication_is_allowed_to_buckets_that_are_named)
{
	static const char *const replicas[] = { "arn:aws:s3:::mirror", "second" };
	struct s3_replication_rule *rule;

	begin();
	policy.replicas = replicas;
	policy.replicas_count = 2;
	add_rule("", "arn:aws:s3:::mirror");
	rule = add_rule("mail/", "arn:aws:s3:::second");
	CHECK_OK(guard());
	CHECK_EQ(facts.replication.allowed, 2);
	check_found(BUCKET_REPLICATION, "to arn:aws:s3:::mirror, arn:aws:s3:::second");
	snprintf(rule->destination_bucket, 40, "arn:aws-cn:s3:::mirror"); /* not that one */
	CHECK_ERR(guard(), ERR_S3_RESIDENCY);
	check_says("rule-2");
	snprintf(rule->destination_bucket, 40, "arn:aws:s3:::mirror2");
	CHECK_ERR(guard(), ERR_S3_RESIDENCY);
	rule->destination_bucket[0] = '\0';
	CHECK_ERR(guard(), ERR_S3_RESIDENCY);
}

TEST_FIBER(a_bucket_that_is_known_to_be_open_refuses)
{
	begin();
	fake.bucket.policy.is_public = true;
	CHECK_OK(guard());
	check_found(BUCKET_PUBLIC_POLICY, "public, and held back by RestrictPublicBuckets");
	fake.bucket.block.restrict_public_buckets = false;
	CHECK_ERR(guard(), ERR_S3_POLICY);
	CHECK_EQ(err_exit_code(ERR_S3_POLICY), EXIT_TARGET);
	check_says("\"public policy\": the bucket's policy opens it to the public; limit");
}

TEST_FIBER(all_four_of_the_block_are_wanted_where_it_is_demanded)
{
	begin();
	fake.bucket.block.ignore_public_acls = false;
	fake.bucket.block.block_public_policy = false;
	CHECK_OK(guard());
	check_found(BUCKET_PUBLIC_BLOCK, "off: IgnorePublicAcls BlockPublicPolicy");
	policy.demand[BUCKET_PUBLIC_BLOCK] = BUCKET_DEMANDED;
	CHECK_ERR(guard(), ERR_S3_POLICY);
	check_says("\"public access block\": off: IgnorePublicAcls BlockPublicPolicy; switch on");
}

TEST_FIBER(versioning_and_lock_are_wanted_where_they_are_demanded)
{
	begin();
	policy.demand[BUCKET_VERSIONING] = BUCKET_DEMANDED;
	policy.demand[BUCKET_LOCK] = BUCKET_DEMANDED;
	snprintf(fake.bucket.versioning.status, S3_WORD_BYTES_MAX, "Suspended");
	CHECK_ERR(guard(), ERR_S3_POLICY);
	check_says("\"versioning\": Suspended; enable versioning; \"Object Lock\" is broken, too");
	snprintf(fake.bucket.versioning.status, S3_WORD_BYTES_MAX, "Enabled");
	fake.bucket.lock =
		(struct s3_object_lock){ .enabled = "Enabled", .mode = "GOVERNANCE", .days = 30 };
	CHECK_OK(guard());
	check_found(BUCKET_LOCK, "Enabled, by default GOVERNANCE for 30 days");
}

/* S3 would refuse the first object; better before. */
TEST_FIBER(who_stores_with_a_lock_needs_a_bucket_that_has_it)
{
	begin();
	config.lock_mode = "COMPLIANCE";
	CHECK_ERR(guard(), ERR_S3_POLICY);
	check_says("\"Object Lock\": not enabled; enable Object Lock on the bucket");
	config.lock_mode = NULL;
	config.legal_hold = true;
	CHECK_ERR(guard(), ERR_S3_POLICY);
	fake.bucket.lock = (struct s3_object_lock){ .enabled = "Enabled" };
	CHECK_OK(guard());
}

TEST_FIBER(default_encryption_is_what_the_job_demands)
{
	struct s3_encryption *found = &fake.bucket.encryption;

	begin();
	policy.encryption = "aws:kms";
	CHECK_ERR(guard(), ERR_S3_POLICY);
	check_says("\"default encryption\": AES256, wanted is aws:kms; change");
	snprintf(found->sse_algorithm, S3_WORD_BYTES_MAX, "aws:kms");
	CHECK_OK(guard());
	check_found(BUCKET_ENCRYPTION, "aws:kms with AWS's own key aws/s3");
	policy.kms_key = US_KEY;
	CHECK_ERR(guard(), ERR_S3_POLICY);
	check_says("aws:kms with AWS's own key aws/s3, wanted is aws:kms with key " US_KEY);
	snprintf(found->kms_master_key_id, S3_ARN_BYTES_MAX, "1234abcd-12ab"); /* the same by id */
	CHECK_OK(guard());
	policy.bucket_key = true;
	CHECK_ERR(guard(), ERR_S3_POLICY);
	found->bucket_key_enabled = true;
	CHECK_OK(guard());
	check_found(BUCKET_ENCRYPTION, "aws:kms with key 1234abcd-12ab and a bucket key");
	policy.encryption = "aws:kms:dsse";
	CHECK_ERR(guard(), ERR_S3_POLICY);
}

TEST_FIBER(a_key_of_another_region_is_refused_before_anything_is_asked)
{
	begin();
	config.encryption = "aws:kms";
	config.kms_key = "arn:aws:kms:us-east-1:111122223333:key/1";
	CHECK_ERR(guard(), ERR_S3_RESIDENCY);
	check_says("is not in the region of bucket bucket, eu-central-1");
	config.kms_key = "arn:aws-cn:kms:eu-central-1:111122223333:key/1";
	CHECK_ERR(guard(), ERR_S3_RESIDENCY);
	CHECK_EQ(fake.calls, 0);
	config.kms_key = US_KEY;
	CHECK_OK(guard());
}

TEST_FIBER(a_policy_that_contradicts_itself_is_told)
{
	begin();
	policy.kms_key = US_KEY;
	CHECK_ERR(guard(), ERR_INPUT_USAGE);
	policy.encryption = "AES256";
	CHECK_ERR(guard(), ERR_INPUT_USAGE);
	policy.encryption = "aws:kms";
	config.encryption = "AES256";
	CHECK_ERR(guard(), ERR_INPUT_USAGE);
	config.encryption = "aws:kms";
	config.kms_key = "another";
	CHECK_ERR(guard(), ERR_INPUT_USAGE);
	CHECK_EQ(fake.calls, 0);
}

static const enum fake_question question_of[BUCKET_RULES] = {
	[BUCKET_REGION] = FAKE_REGION,	       [BUCKET_REPLICATION] = FAKE_REPLICATION,
	[BUCKET_PUBLIC_POLICY] = FAKE_POLICY,  [BUCKET_PUBLIC_BLOCK] = FAKE_BLOCK,
	[BUCKET_VERSIONING] = FAKE_VERSIONING, [BUCKET_LOCK] = FAKE_LOCK,
	[BUCKET_ENCRYPTION] = FAKE_ENCRYPTION,
};

TEST_FIBER(what_may_not_be_asked_is_told_and_refuses_who_wants_to_know)
{
	char found[200];

	for (unsigned i = BUCKET_REGION + 1; i < BUCKET_RULES; i++) {
		begin();
		policy.encryption = "AES256";
		fake.bucket.errors[question_of[i]] = ERR_S3_DENIED;
		CHECK_OK(guard());
		CHECK_EQ(facts.sight[i], BUCKET_NOT_PERMITTED);
		CHECK(strstr(bucket_fact_show(&facts, i, found, sizeof found), "allow s3:Get"));
		policy.demand[i] = BUCKET_DEMANDED;
		CHECK(guard() != OK && facts.broken[i]);
		check_says(bucket_rule_name(i));
		check_says("not checked: allow s3:Get");
	}
}

/* Each once, and nothing of what was found to be well. */
TEST_FIBER(what_is_not_checked_and_what_is_only_told_is_logged)
{
	char path[300], log[2000] = "";
	FILE *file;

	begin();
	snprintf(path, sizeof path, "%s/log", test_directory());
	REQUIRE((file = fopen(path, "w+")) != NULL);
	log_setup(fileno(file), LOG_WARN, false);
	fake.bucket.errors[FAKE_BLOCK] = ERR_S3_DENIED;
	add_rule("", "arn:aws:s3:::elsewhere");
	policy.demand[BUCKET_REPLICATION] = BUCKET_TOLD;
	CHECK_OK(guard());
	log_setup(2, LOG_ERROR, false);
	rewind(file);
	CHECK(fread(log, 1, sizeof log - 1, file) > 0);
	fclose(file);
	CHECK(strstr(log, "event=bucket.unfit bucket=bucket rule=replication found=\"rule"));
	CHECK(strstr(log, "event=bucket.unchecked bucket=bucket rule=\"public access block\" "
			  "found=\"not checked: allow s3:GetBucketPublicAccessBlock\""));
	CHECK(strchr(strchr(log, '\n') + 1, '\n') == log + strlen(log) - 1); /* two lines */
}

TEST_FIBER(what_the_server_does_not_know_is_told_and_refuses_who_wants_to_know)
{
	static const enum err answers[] = { ERR_S3_LACKS, ERR_S3_REFUSED, ERR_S3_BUCKET };

	for (unsigned i = BUCKET_REGION + 1; i < BUCKET_RULES; i++)
		for (unsigned j = 0; j < ARRAY_COUNT(answers); j++) {
			begin();
			fake.bucket.errors[question_of[i]] = answers[j];
			CHECK_OK(guard());
			CHECK_EQ(facts.sight[i], BUCKET_NOT_KNOWN);
			policy.demand[i] = BUCKET_DEMANDED;
			CHECK(guard() != OK && facts.broken[i]);
		}
	begin(); /* no region at all */
	fake.bucket.region = "";
	CHECK_OK(guard());
	CHECK_EQ(facts.sight[BUCKET_REGION], BUCKET_NOT_KNOWN);
	policy.demand[BUCKET_REGION] = BUCKET_DEMANDED;
	CHECK_ERR(guard(), ERR_S3_RESIDENCY);
}

/* Nobody knows then what is there: that is no fact about the bucket. */
TEST_FIBER(what_goes_wrong_in_asking_ends_the_check)
{
	for (unsigned i = 0; i < BUCKET_RULES; i++) {
		begin();
		fake.bucket.errors[question_of[i]] = ERR_S3_UNAVAILABLE;
		CHECK_ERR(guard(), ERR_S3_UNAVAILABLE);
	}
	begin(); /* of another account, or gone */
	fake.bucket.errors[FAKE_REGION] = ERR_S3_DENIED;
	CHECK_ERR(guard(), ERR_S3_DENIED);
	fake.bucket.errors[FAKE_REGION] = ERR_S3_BUCKET;
	CHECK_ERR(guard(), ERR_S3_BUCKET);
}

TEST_FIBER(residency_comes_first_and_the_rest_is_named)
{
	begin();
	policy.encryption = "aws:kms";
	policy.demand[BUCKET_VERSIONING] = BUCKET_DEMANDED;
	add_rule("", "arn:aws:s3:::elsewhere");
	CHECK_ERR(guard(), ERR_S3_RESIDENCY);
	check_says("; \"versioning\" is broken, too; \"default encryption\" is broken, too");
}

TEST(keys_are_the_same_by_arn_and_id_and_an_alias_is_itself)
{
	CHECK(bucket_key_is(US_KEY, US_KEY));
	CHECK(bucket_key_is(US_KEY, "1234abcd-12ab"));
	CHECK(bucket_key_is("1234abcd-12ab", US_KEY));
	CHECK(bucket_key_is("alias/mail", "alias/mail"));
	CHECK(!bucket_key_is("alias/mail", US_KEY));
	CHECK(!bucket_key_is("arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab", US_KEY));
	CHECK(!bucket_key_is("", US_KEY));
}
