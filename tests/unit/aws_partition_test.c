/* transport/aws_partition.c: which partition a region is of, and what its services are called
 * there; endpoints of other servers; names of resources. */
#include "transport/aws_partition.h"

#include <stdlib.h>

#include "tests/test.h"

#define VECTORS "tests/vec/aws/endpoints.txt"

static void check_said(const char *words)
{
	if (!strstr(err_note()->text, words))
		test_failed(__FILE__, __LINE__, "\"%s\" does not say \"%s\"", err_note()->text,
			    words);
	err_note_clear();
}

/* ---- regions ---- */

TEST(what_lies_in_another_region_is_followed_within_its_partition_and_at_aws_alone)
{
	const struct {
		const char *region, *url, *other;
		bool may;
	} cases[] = {
		{ "us-east-1", NULL, "eu-central-1", true },
		{ "eusc-de-east-1", NULL, "eu-central-1", false },
		{ "eu-central-1", NULL, "eusc-de-east-1", false },
		{ "eu-central-1", NULL, "cn-north-1", false },
		{ "eu-central-1", NULL, "", false },
		{ "eu-central-1", NULL, "somewhere", false },
		{ "us-east-1", "https://s3.example.com", "eu-central-1", false },
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		const struct aws_endpoint_wish wish = { .service = AWS_S3,
							.region = cases[i].region,
							.url = cases[i].url,
							.bucket = "bucket" };
		struct aws_endpoint endpoint;

		if (CHECK_OK(aws_endpoint_make(&wish, &endpoint)))
			CHECK_EQ(aws_endpoint_may_move(&endpoint, cases[i].other), cases[i].may);
		CHECK(!err_note()->error);
	}
}

TEST(a_region_is_of_one_partition_by_the_form_of_its_name)
{
	static const struct {
		const char *region, *partition;
	} rows[] = {
		{ "us-east-1", "aws" },
		{ "eu-central-1", "aws" },
		{ "il-central-1", "aws" },
		{ "mx-central-1", "aws" },
		{ "eu-nowhere-17", "aws" },
		{ "cn-north-1", "aws-cn" },
		{ "us-gov-west-1", "aws-us-gov" },
		{ "us-iso-east-1", "aws-iso" },
		{ "us-isob-east-1", "aws-iso-b" },
		{ "eu-isoe-west-1", "aws-iso-e" },
		{ "us-isof-south-1", "aws-iso-f" },
		{ "eusc-de-east-1", "aws-eusc" },
		{ "eusc-de-west-2", "aws-eusc" },
	};
	const struct aws_partition *partition;

	for (size_t i = 0; i < ARRAY_COUNT(rows); i++)
		if (CHECK_OK(aws_partition_of_region(rows[i].region, &partition)))
			CHECK_TEXT(partition->name, rows[i].partition);
}

TEST(what_is_no_region_is_refused_and_not_guessed)
{
	static const char *const regions[] = {
		"",
		"eu",
		"eu-central",
		"eu-central-",
		"eu-central-1a",
		"EU-CENTRAL-1",
		"eu--1",
		"xx-north-1",
		"eusc-fr-east-1",
		"eusc-east-1",
		"aws-global",
		"us-gov-west",
		"eu-central-1 ",
		"eu-central-1.evil.example",
		"eu-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-1",
	};
	const struct aws_partition *partition;

	for (size_t i = 0; i < ARRAY_COUNT(regions); i++) {
		CHECK_ERR(aws_partition_of_region(regions[i], &partition), ERR_INPUT_USAGE);
		CHECK(!partition);
		check_said("is no region of AWS");
	}
}

TEST(a_region_that_only_has_the_form_is_new)
{
	CHECK(!aws_region_is_new("eusc-de-east-1"));
	CHECK(!aws_region_is_new("us-west-2"));
	CHECK(aws_region_is_new("us-west-3"));
	CHECK(!aws_region_is_new("us-west"));
	CHECK(!aws_region_is_new(""));
}

/* Every region that is known is of the partition in whose row it stands. */
TEST(each_known_region_is_of_the_row_it_stands_in)
{
	static const char *const names[] = { "aws",	"aws-cn",    "aws-eusc",  "aws-us-gov",
					     "aws-iso", "aws-iso-b", "aws-iso-e", "aws-iso-f" };
	const struct aws_partition *partition, *found;
	char region[64];
	unsigned count = 0;

	for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
		REQUIRE((partition = aws_partition_named(text_of(names[i]))));
		for (const char *at = partition->regions; *at;
		     at += strcspn(at, " "), at += strspn(at, " "), count++) {
			snprintf(region, sizeof region, "%.*s", (int)strcspn(at, " "), at);
			CHECK_OK(aws_partition_of_region(region, &found));
			CHECK(found == partition);
		}
	}
	CHECK_EQ(count, 46);
	CHECK(!aws_partition_named(text_of("aws-")));
	CHECK(!aws_partition_named(text_of("")));
}

TEST(a_host_says_where_it_is_in_front_of_what_is_awss_own)
{
	static const struct {
		const char *host, *region, *partition; /* NULL: it does not say */
	} rows[] = {
		{ "s3.eu-central-1.amazonaws.com", "eu-central-1", "aws" },
		{ "B.S3.EU-Central-1.AmazonAWS.com.", "eu-central-1", "aws" },
		{ "kms.eusc-de-east-1.api.amazonwebservices.eu", "eusc-de-east-1", "aws-eusc" },
		{ "imap.mail.eu-west-1.awsapps.com", "eu-west-1", "aws" },
		{ "x.s3.us-gov-west-1.vpce.amazonaws.com", "us-gov-west-1", "aws-us-gov" },
		{ "eu-west-1.s3.amazonaws.com", NULL, NULL },
		{ "sts.amazonaws.com.", NULL, NULL },
		{ "awsapps.com", NULL, NULL },
		{ ".amazonaws.com", NULL, NULL },
		{ "elb.amazonaws.com", NULL, NULL },
	};
	struct aws_host place;

	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		CHECK(aws_host_place(rows[i].host, &place));
		CHECK_EQ(place.partition == NULL, rows[i].partition == NULL);
		CHECK_TEXT(place.region, rows[i].region ? rows[i].region : "");
		if (place.partition && rows[i].partition)
			CHECK_TEXT(place.partition->name, rows[i].partition);
	}
	CHECK(!aws_host_place("eu-central-1.example.com", &place));
	CHECK(!aws_host_place("myamazonaws.com", &place));
	CHECK(!aws_host_place("", &place));
}

/* ---- AWS's own endpoints ---- */

static enum aws_service service_of(const char *name)
{
	for (enum aws_service service = 0; service < AWS_SERVICES; service++)
		if (strcmp(aws_service_name(service), name) == 0)
			return service;
	must(false);
}

static void check_vector(const char *line)
{
	char region[64], service[8], fips[8], dual[8], host[200];
	struct aws_endpoint endpoint;
	struct aws_endpoint_wish wish = { .region = region };
	enum err e;

	REQUIRE(sscanf(line, "%63s %7s %7s %7s %199s", region, service, fips, dual, host) == 5);
	wish.service = service_of(service);
	wish.fips = *fips == 'f';
	wish.dual_stack = *dual == 'd';
	wish.bucket = wish.service == AWS_S3 ? "my-bucket" : NULL;
	e = aws_endpoint_make(&wish, &endpoint);
	if (strcmp(host, "none") == 0) {
		CHECK_ERR(e, ERR_INPUT_USAGE);
		check_said("FIPS");
		return;
	}
	if (!CHECK_OK(e))
		return;
	CHECK_TEXT(endpoint.host, host);
	CHECK_TEXT(endpoint.path, "");
	CHECK_TEXT(endpoint.region, region);
	CHECK_EQ(endpoint.port, 443);
}

TEST(hosts_are_those_of_the_rules_that_the_sdks_share)
{
	FILE *file = fopen(VECTORS, "r");
	char line[400];
	unsigned count = 0;

	REQUIRE(file);
	while (fgets(line, sizeof line, file))
		if (*line != '#') {
			check_vector(line);
			count++;
		}
	fclose(file);
	CHECK_EQ(count, 144);
}

static void check_bucket(const char *bucket, const char *host, const char *path)
{
	struct aws_endpoint_wish wish = { .region = "eusc-de-east-1", .bucket = bucket };
	struct aws_endpoint endpoint;

	if (!CHECK_OK(aws_endpoint_make(&wish, &endpoint)))
		return;
	CHECK_TEXT(endpoint.host, host);
	CHECK_TEXT(endpoint.path, path);
}

TEST(a_bucket_that_no_certificate_covers_goes_into_the_path)
{
	static const char *const bad[] = {
		"",    "ab",	"a/b",	"../x",
		".ab", "a b c", "a%2f", "arn:aws:s3:eu-west-1:123456789012:accesspoint/x"
	};
	struct aws_endpoint endpoint;

	check_bucket("mail", "mail.s3.eusc-de-east-1.amazonaws.eu", "");
	check_bucket("my.mail", "s3.eusc-de-east-1.amazonaws.eu", "/my.mail");
	check_bucket("mail.box", "s3.eusc-de-east-1.amazonaws.eu", "/mail.box");
	check_bucket("My_Mail", "s3.eusc-de-east-1.amazonaws.eu", "/My_Mail");
	check_bucket("mail-", "s3.eusc-de-east-1.amazonaws.eu", "/mail-");
	for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
		struct aws_endpoint_wish wish = { .region = "eu-west-1", .bucket = bad[i] };

		CHECK_ERR(aws_endpoint_make(&wish, &endpoint), ERR_INPUT_USAGE);
		check_said("is no name of a bucket");
	}
}

/* ---- other endpoints ---- */

static void check_own(const struct aws_endpoint_wish *wish, const char *host, unsigned port,
		      const char *path)
{
	struct aws_endpoint endpoint;

	if (!CHECK_OK(aws_endpoint_make(wish, &endpoint)))
		return;
	CHECK_TEXT(endpoint.host, host);
	CHECK_EQ(endpoint.port, port);
	CHECK_TEXT(endpoint.path, path);
	CHECK_TEXT(endpoint.region, wish->region);
}

TEST(other_servers_get_the_bucket_in_the_path_unless_said_otherwise)
{
	struct aws_endpoint_wish wish = { .region = "us-east-1",
					  .url = "https://s3.example:9000",
					  .bucket = "mail" };

	check_own(&wish, "s3.example", 9000, "/mail");
	wish.url = "https://gate.example/storage/";
	check_own(&wish, "gate.example", 443, "/storage/mail");
	wish.style = AWS_STYLE_VIRTUAL;
	check_own(&wish, "mail.gate.example", 443, "/storage");
	wish.bucket = "my.mail";
	check_own(&wish, "gate.example", 443, "/storage/my.mail");
	wish.bucket = "mail";
	wish.url = "https://127.0.0.1:9000/";
	check_own(&wish, "127.0.0.1", 9000, "/mail");
	wish.url = "https://[::1]:9000/";
	check_own(&wish, "::1", 9000, "/mail");
	wish.region = "default"; /* Ceph's */
	wish.bucket = NULL;
	check_own(&wish, "::1", 9000, "");
}

TEST(a_private_link_of_the_region_is_an_aws_endpoint)
{
	struct aws_endpoint_wish wish = {
		.region = "eu-west-1",
		.url = "https://bucket.vpce-1.s3.eu-west-1.vpce.amazonaws.com",
		.bucket = "mail"
	};

	check_own(&wish, "mail.bucket.vpce-1.s3.eu-west-1.vpce.amazonaws.com", 443, "");
	wish.style = AWS_STYLE_PATH;
	check_own(&wish, "bucket.vpce-1.s3.eu-west-1.vpce.amazonaws.com", 443, "/mail");
}

static void check_refused(const char *region, const char *url, const char *words)
{
	struct aws_endpoint_wish wish = { .service = AWS_KMS, .region = region, .url = url };
	struct aws_endpoint endpoint;

	CHECK_ERR(aws_endpoint_make(&wish, &endpoint), ERR_INPUT_USAGE);
	check_said(words);
}

TEST(an_endpoint_in_another_partition_is_refused)
{
	check_refused("eusc-de-east-1", "https://kms.eu-central-1.amazonaws.com",
		      "in another partition than the region eusc-de-east-1");
	check_refused("eusc-de-east-1", "https://KMS.eu-central-1.AMAZONAWS.COM", "partition");
	check_refused("eu-central-1", "https://kms.eusc-de-east-1.amazonaws.eu", "partition");
	check_refused("eu-central-1", "https://kms.cn-north-1.amazonaws.com.cn", "partition");
	check_refused("us-gov-west-1", "https://kms.eusc-de-east-1.api.amazonwebservices.eu",
		      "partition");
	check_refused("default", "https://kms.eu-central-1.amazonaws.com", "partition");
	check_refused("eusc-de-east-1", "https://kms.eu-central-1.amazonaws.com./", "partition");
	/* These two share a suffix. */
	check_refused("us-gov-west-1", "https://kms.us-east-1.amazonaws.com", "partition");
	check_refused("us-east-1", "https://KMS.US-GOV-WEST-1.amazonaws.com", "partition");
	check_refused("us-east-1", "https://x.kms.us-gov-west-1.vpce.amazonaws.com", "partition");
}

TEST(an_endpoint_that_is_none_is_refused)
{
	check_refused("eu-central-1", "http://kms.example/", "https://");
	check_refused("eu-central-1", "https://kms.example/?x=1", "holds a query");
	check_refused("eu-central-1", "https://user@kms.example/", "names a user");
	check_refused("", "https://kms.example/", "the region to sign for");
	check_refused("a b", "https://kms.example/", "the region to sign for");
	check_refused("mars", NULL, "is no region of AWS");
}

TEST(the_longest_names_fit_and_longer_ones_are_refused)
{
	char url[1024], bucket[AWS_BUCKET_BYTES_MAX + 2];
	struct aws_endpoint_wish wish = { .region = "eu-west-1", .url = url, .bucket = bucket };
	struct aws_endpoint endpoint;

	memset(bucket, 'B', sizeof bucket);
	bucket[AWS_BUCKET_BYTES_MAX] = '\0';
	snprintf(url, sizeof url, "https://x.example/%0*d", 255, 0);
	if (CHECK_OK(aws_endpoint_make(&wish, &endpoint)))
		CHECK_EQ(strlen(endpoint.path), 512);
	snprintf(url, sizeof url, "https://x.example/%0*d", 256, 0);
	CHECK_ERR(aws_endpoint_make(&wish, &endpoint), ERR_INPUT_USAGE);
	check_said("is too long");
	snprintf(url, sizeof url, "https://%0*d/", 900, 0);
	CHECK_ERR(aws_endpoint_make(&wish, &endpoint), ERR_INPUT_USAGE);
	check_said("is too long");
	snprintf(url, sizeof url, "https://x.example/");
	bucket[AWS_BUCKET_BYTES_MAX] = 'B';
	bucket[AWS_BUCKET_BYTES_MAX + 1] = '\0';
	CHECK_ERR(aws_endpoint_make(&wish, &endpoint), ERR_INPUT_USAGE);
	check_said("is no name of a bucket");
}

/* ---- resource names ---- */

TEST(a_resource_name_is_taken_apart)
{
	struct aws_arn arn;

	REQUIRE(CHECK_OK(
		aws_arn_parse("role_arn", "arn:aws-eusc:iam::123456789012:role/a:b/c", &arn)));
	CHECK(text_equal(arn.partition, text_of("aws-eusc")));
	CHECK(text_equal(arn.service, text_of("iam")));
	CHECK_EQ(arn.region.bytes, 0);
	CHECK(text_equal(arn.account, text_of("123456789012")));
	CHECK(text_equal(arn.resource, text_of("role/a:b/c")));
	CHECK_OK(aws_arn_parse("key", "arn:aws:kms:eu-west-1:123456789012:key/1", &arn));
	CHECK_OK(aws_arn_parse("bucket", "arn:aws:s3:::bucket", &arn));
}

TEST(what_is_no_resource_name_is_refused)
{
	static const char *const arns[] = {
		"",
		"arn:aws:iam::123456789012",
		"arn:aws:iam::123456789012:",
		"arn:aws::::x",
		"urn:aws:iam::123456789012:role/x",
		"arn:aws:iam::12345678901:role/x",
		"arn:aws:iam::12345678901a:role/x",
		"arn:aws:iam::123456789012:role/a b",
		"arn:aws:iam::123456789012:role/\x01",
		"arn:aws:iam::123456789012:role/\xc3\xbc",
	};
	static char longest[AWS_ARN_BYTES_MAX + 2];
	struct aws_arn arn;

	for (size_t i = 0; i < ARRAY_COUNT(arns); i++) {
		CHECK_ERR(aws_arn_parse("role_arn", arns[i], &arn), ERR_INPUT_USAGE);
		check_said("role_arn");
	}
	CHECK_ERR(aws_arn_parse("role_arn", "arn:aws-mars:iam::123456789012:role/x", &arn),
		  ERR_INPUT_USAGE);
	check_said("the partition \"aws-mars\", which is not known");
	snprintf(longest, sizeof longest, "arn:aws:iam::123456789012:%0*d", AWS_ARN_BYTES_MAX - 26,
		 0);
	CHECK_EQ(strlen(longest), AWS_ARN_BYTES_MAX);
	CHECK_OK(aws_arn_parse("role_arn", longest, &arn));
	snprintf(longest, sizeof longest, "arn:aws:iam::123456789012:%0*d", AWS_ARN_BYTES_MAX - 25,
		 0);
	CHECK_ERR(aws_arn_parse("role_arn", longest, &arn), ERR_INPUT_USAGE);
	err_note_clear();
}
