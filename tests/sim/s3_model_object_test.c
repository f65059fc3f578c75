/* Objects in the S3 stand-in: conditions, ranges, locks, encryption, settings of buckets, lists. */
#include <stdio.h>

#include "tests/sim/s3_talk.h"
#include "tests/test.h"

static struct s3_talk talk;

static struct s3_model_bucket *begin(void)
{
	talk = (struct s3_talk){ 0 };
	s3_talk_open(&talk);
	return &talk.model->buckets[0];
}

TEST(conditions_of_writes_and_reads_hold)
{
	struct s3_model_bucket *box = begin();

	S3_TALK(&talk, 200, "", "PUT", "/box/k", .body = "one", .fields = "if-none-match: *\n");
	S3_TALK(&talk, 412, "PreconditionFailed", "PUT", "/box/k", .body = "two",
		.fields = "if-none-match: *\n");
	S3_TALK(&talk, 501, "NotImplemented", "PUT", "/box/k", .body = "two",
		.fields = "if-none-match: \"x\"\n");
	S3_TALK(&talk, 412, "PreconditionFailed", "PUT", "/box/k", .body = "two",
		.fields = "if-match: \"00000000000000000000000000000000\"\n");
	S3_TALK(&talk, 404, "NoSuchKey", "PUT", "/box/none", .body = "two",
		.fields = "if-match: \"00000000000000000000000000000000\"\n");
	CHECK_EQ(s3_model_object_of(box, "k")->length, 3);
	CHECK_EQ(talk.model->counts.overwritten, 0);
	S3_TALK(&talk, 200, "", "GET", "/box/k",
		.fields = "if-match: \"f97c5d29941bfb1b2fdab0874906ab82\"\n");
	S3_TALK(&talk, 412, "PreconditionFailed", "GET", "/box/k", .fields = "if-match: \"x\"\n");
	S3_TALK(&talk, 304, "", "GET", "/box/k",
		.fields = "if-none-match: \"f97c5d29941bfb1b2fdab0874906ab82\"\n");
	S3_TALK(&talk, 412, "PreconditionFailed", "DELETE", "/box/k",
		.fields = "if-match: \"x\"\n");
	S3_TALK(&talk, 204, "", "DELETE", "/box/k", .fields = "if-match: *\n");
	S3_TALK(&talk, 404, "NoSuchKey", "DELETE", "/box/k", .fields = "if-match: *\n");
	S3_TALK(&talk, 204, "", "DELETE", "/box/k");
	s3_talk_close(&talk);
}

static void check_range(const char *range, unsigned status, const char *body, const char *content)
{
	char fields[80], text[80];

	snprintf(fields, sizeof fields, "range: %s\n", range);
	S3_TALK(&talk, status, status == 416 ? "InvalidRange" : "", "GET", "/box/k",
		.fields = fields);
	if (status != 416)
		CHECK_TEXT(talk.body.at, body);
	CHECK_EQ(s3_talk_field(&talk, "content-range", text, sizeof text), content != NULL);
	if (content)
		CHECK_TEXT(text, content);
}

TEST(ranges_are_cut_or_refused)
{
	struct s3_model_bucket *box = begin();

	(void)s3_model_plant(talk.model, box, "k", "0123456789", 10, S3_TALK_NOW);
	check_range("bytes=0-0", 206, "0", "bytes 0-0/10");
	check_range("bytes=3-", 206, "3456789", "bytes 3-9/10");
	check_range("bytes=-4", 206, "6789", "bytes 6-9/10");
	check_range("bytes=-40", 206, "0123456789", "bytes 0-9/10");
	check_range("bytes=8-99", 206, "89", "bytes 8-9/10");
	check_range("bytes=10-", 416, "", "bytes */10");
	check_range("bytes=-0", 416, "", "bytes */10");
	check_range("bytes=5-4", 200, "0123456789", NULL);
	check_range("bytes=0-1,4-5", 200, "0123456789", NULL);
	s3_talk_close(&talk);
}

#define LOCK                                                                                       \
	"x-amz-object-lock-mode: COMPLIANCE\n"                                                     \
	"x-amz-object-lock-retain-until-date: 2013-05-25T00:00:00Z\n"
#define CRC_OF_9 "x-amz-checksum-crc64nvme: rosUhgp5mIg=\n"

TEST(locks_need_a_checksum_and_a_bucket_with_lock_and_hold)
{
	struct s3_model_bucket *box = begin();
	char version[80], query[120], text[80];

	S3_TALK(&talk, 400, "InvalidRequest", "PUT", "/box/k", .body = "123456789",
		.fields = LOCK CRC_OF_9);
	box->object_lock = true;
	box->versioning = S3_MODEL_VERSIONED;
	S3_TALK(&talk, 400, "InvalidRequest", "PUT", "/box/k", .body = "123456789", .fields = LOCK);
	S3_TALK(&talk, 400, "InvalidArgument", "PUT", "/box/k", .body = "123456789",
		.fields = "x-amz-object-lock-mode: COMPLIANCE\n" CRC_OF_9);
	S3_TALK(&talk, 400, "InvalidArgument", "PUT", "/box/k", .body = "123456789",
		.fields =
			"x-amz-object-lock-mode: COMPLIANCE\nx-amz-object-lock-retain-until-date: "
			"2013-05-23T00:00:00Z\n" CRC_OF_9);
	S3_TALK(&talk, 200, "", "PUT", "/box/k", .body = "123456789", .fields = LOCK CRC_OF_9);
	CHECK(s3_talk_field(&talk, "x-amz-version-id", version, sizeof version));
	S3_TALK(&talk, 200, "", "HEAD", "/box/k");
	CHECK(s3_talk_field(&talk, "x-amz-object-lock-mode", text, sizeof text));
	snprintf(query, sizeof query, "versionId=%s", version);
	S3_TALK(&talk, 403, "AccessDenied", "DELETE", "/box/k", .query = query,
		.fields = "x-amz-bypass-governance-retention: true\n");
	S3_TALK(&talk, 200, "", "GET", "/box/k", .query = "retention=");
	S3_TALK(&talk, 404, "NoSuchObjectLockConfiguration", "GET", "/box/k",
		.query = "legal-hold=");
	S3_TALK(&talk, 204, "", "DELETE", "/box/k");
	CHECK(s3_model_object_of(box, "k") == NULL);
	CHECK_EQ(s3_model_versions(box, "k"), 2);
	talk.now_s += 25 * 3600;
	S3_TALK(&talk, 204, "", "DELETE", "/box/k", .query = query);
	CHECK_EQ(s3_model_versions(box, "k"), 1);
	s3_talk_close(&talk);
}

TEST(governance_gives_way_to_who_may_and_defaults_of_the_bucket_hold)
{
	struct s3_model_bucket *box = begin();
	char version[80], query[120], text[80];

	box->object_lock = true;
	box->versioning = S3_MODEL_VERSIONED;
	snprintf(box->lock_mode, sizeof box->lock_mode, "GOVERNANCE");
	box->lock_days = 2;
	S3_TALK(&talk, 400, "InvalidRequest", "PUT", "/box/k", .body = "123456789");
	S3_TALK(&talk, 200, "", "PUT", "/box/k", .body = "123456789", .fields = CRC_OF_9);
	CHECK(s3_talk_field(&talk, "x-amz-version-id", version, sizeof version));
	S3_TALK(&talk, 200, "", "HEAD", "/box/k");
	CHECK(s3_talk_field(&talk, "x-amz-object-lock-retain-until-date", text, sizeof text));
	CHECK_TEXT(text, "2013-05-26T00:00:00.000Z");
	snprintf(query, sizeof query, "versionId=%s", version);
	S3_TALK(&talk, 403, "AccessDenied", "DELETE", "/box/k", .query = query);
	talk.model->users[0].denied[0] = "s3:BypassGovernanceRetention";
	S3_TALK(&talk, 403, "AccessDenied", "DELETE", "/box/k", .query = query,
		.fields = "x-amz-bypass-governance-retention: true\n");
	talk.model->users[0].denied[0] = NULL;
	S3_TALK(&talk, 204, "", "DELETE", "/box/k", .query = query,
		.fields = "x-amz-bypass-governance-retention: true\n");
	CHECK_EQ(s3_model_versions(box, "k"), 0);
	s3_talk_close(&talk);
}

TEST(versions_are_listed_newest_first_in_pages)
{
	struct s3_model_bucket *box = begin();
	char newest[80], text[80], query[200];

	box->versioning = S3_MODEL_VERSIONED;
	for (unsigned i = 0; i < 2; i++)
		S3_TALK(&talk, 200, "", "PUT", "/box/k", .body = "x");
	CHECK(s3_talk_field(&talk, "x-amz-version-id", newest, sizeof newest));
	S3_TALK(&talk, 204, "", "DELETE", "/box/k");
	S3_TALK(&talk, 200, "", "GET", "/box", .query = "max-keys=2&versions=");
	CHECK(strstr(talk.body.at, "<DeleteMarker>") < strstr(talk.body.at, "<Version>"));
	CHECK(s3_talk_element(&talk, "NextVersionIdMarker", text, sizeof text));
	CHECK_TEXT(text, newest);
	snprintf(query, sizeof query, "key-marker=k&version-id-marker=%s&versions=", newest);
	S3_TALK(&talk, 200, "", "GET", "/box", .query = query);
	CHECK(s3_talk_element(&talk, "IsTruncated", text, sizeof text));
	CHECK_TEXT(text, "false");
	CHECK(strstr(talk.body.at, "<Version>") && !strstr(talk.body.at, newest));
	snprintf(query, sizeof query, "versionId=%s", newest);
	S3_TALK(&talk, 200, "", "GET", "/box/k", .query = query);
	S3_TALK(&talk, 404, "NoSuchVersion", "GET", "/box/k", .query = "versionId=none");
	s3_talk_close(&talk);
}

TEST(what_a_server_lacks_it_ignores)
{
	struct s3_model_bucket *box = begin();
	char text[80];

	talk.model->lacks = S3_MODEL_LACKS_CONDITIONS | S3_MODEL_LACKS_CHECKSUMS;
	for (unsigned i = 0; i < 2; i++)
		S3_TALK(&talk, 200, "", "PUT", "/box/k", .body = "123456780",
			.fields = "if-none-match: *\n" CRC_OF_9);
	CHECK(!s3_talk_field(&talk, "x-amz-checksum-crc64nvme", text, sizeof text));
	CHECK_EQ(talk.model->counts.overwritten, 1);
	CHECK_EQ(s3_model_objects(box, ""), 1);
	s3_talk_close(&talk);
}

TEST(encryption_class_and_metadata_are_kept_and_told)
{
	char text[80];

	(void)begin();
	S3_TALK(&talk, 200, "", "PUT", "/box/k", .body = "x",
		.fields = "x-amz-meta-made-by: us\nx-amz-server-side-encryption: aws:kms\n"
			  "x-amz-server-side-encryption-aws-kms-key-id: key-1\n"
			  "x-amz-server-side-encryption-bucket-key-enabled: true\n"
			  "x-amz-server-side-encryption-context: eyJhIjoiYiJ9\n"
			  "x-amz-storage-class: STANDARD_IA\n");
	S3_TALK(&talk, 200, "", "HEAD", "/box/k");
	CHECK(s3_talk_field(&talk, "x-amz-server-side-encryption-aws-kms-key-id", text,
			    sizeof text));
	CHECK_TEXT(text, "key-1");
	CHECK(s3_talk_field(&talk, "x-amz-storage-class", text, sizeof text));
	CHECK(s3_talk_field(&talk, "x-amz-meta-made-by", text, sizeof text));
	CHECK_TEXT(text, "us");
	S3_TALK(&talk, 400, "InvalidArgument", "PUT", "/box/k", .body = "x",
		.fields = "x-amz-server-side-encryption: aws:kms\n"
			  "x-amz-server-side-encryption-context: bm8=\n");
	S3_TALK(&talk, 400, "InvalidEncryptionAlgorithmError", "PUT", "/box/k", .body = "x",
		.fields = "x-amz-server-side-encryption: DES\n");
	S3_TALK(&talk, 400, "InvalidStorageClass", "PUT", "/box/k", .body = "x",
		.fields = "x-amz-storage-class: CHEAP\n");
	S3_TALK(&talk, 400, "InvalidArgument", "GET", "/box/k",
		.fields = "x-amz-server-side-encryption: AES256\n");
	s3_talk_close(&talk);
}

TEST(settings_that_are_not_there_have_their_own_errors)
{
	struct s3_model_bucket *box = begin();
	char text[80];

	S3_TALK(&talk, 404, "ObjectLockConfigurationNotFoundError", "GET", "/box",
		.query = "object-lock=");
	S3_TALK(&talk, 404, "ReplicationConfigurationNotFoundError", "GET", "/box",
		.query = "replication=");
	S3_TALK(&talk, 404, "NoSuchPublicAccessBlockConfiguration", "GET", "/box",
		.query = "publicAccessBlock=");
	S3_TALK(&talk, 404, "NoSuchBucketPolicy", "GET", "/box", .query = "policyStatus=");
	S3_TALK(&talk, 200, "", "GET", "/box", .query = "encryption=");
	box->encryption[0] = '\0';
	S3_TALK(&talk, 404, "ServerSideEncryptionConfigurationNotFoundError", "GET", "/box",
		.query = "encryption=");
	S3_TALK(&talk, 200, "", "GET", "/box", .query = "versioning=");
	CHECK(!s3_talk_element(&talk, "Status", text, sizeof text));
	box->public_access_block = "true";
	S3_TALK(&talk, 200, "", "GET", "/box", .query = "publicAccessBlock=");
	CHECK(s3_talk_element(&talk, "RestrictPublicBuckets", text, sizeof text));
	box->policy_is_public = "true";
	S3_TALK(&talk, 200, "", "GET", "/box", .query = "policyStatus=");
	CHECK(s3_talk_element(&talk, "IsPublic", text, sizeof text));
	S3_TALK(&talk, 200, "", "HEAD", "/box");
	CHECK(s3_talk_field(&talk, "x-amz-bucket-region", text, sizeof text));
	s3_talk_close(&talk);
}

/* ---- lists ---- */

/* Pages of a list to its end; returns the keys and common prefixes counted. */
static unsigned list_all(bool with_delimiter, const char *rest, unsigned *pages)
{
	static char token[2200], query[2400];
	unsigned count = 0;

	token[0] = '\0';
	*pages = 0;
	do {
		snprintf(query, sizeof query, "%s%s%s%slist-type=2%s%s",
			 token[0] ? "continuation-token=" : "", token, token[0] ? "&" : "",
			 with_delimiter ? "delimiter=%2F&" : "", rest[0] ? "&" : "", rest);
		if (!S3_TALK(&talk, 200, "", "GET", "/box", .query = query))
			return 0;
		for (const char *at = talk.body.at; (at = strstr(at, "<Key>")); at++)
			count++;
		for (const char *at = talk.body.at; (at = strstr(at, "<CommonPrefixes>")); at++)
			count++;
		++*pages;
	} while (s3_talk_element(&talk, "NextContinuationToken", token, sizeof token));
	return count;
}

TEST(lists_page_without_loss_and_a_million_keys_are_quick)
{
	struct s3_model_bucket *box = begin();
	char key[40], text[80];
	unsigned pages;

	for (unsigned i = 0; i < 50; i++) {
		snprintf(key, sizeof key, "%c/%02u", 'a' + i % 5, i);
		(void)s3_model_plant(talk.model, box, key, "x", 1, S3_TALK_NOW);
	}
	CHECK_EQ(list_all(false, "max-keys=7", &pages), 50);
	CHECK_EQ(pages, 8);
	CHECK_EQ(list_all(false, "prefix=b%2F", &pages), 10);
	CHECK_EQ(list_all(true, "max-keys=2", &pages), 5);
	CHECK_EQ(pages, 3);
	CHECK_EQ(list_all(false, "max-keys=9&start-after=d%2F48", &pages), 10);
	(void)s3_model_plant(talk.model, box, "c&<\n", "x", 1, S3_TALK_NOW);
	S3_TALK(&talk, 200, "", "GET", "/box",
		.query = "encoding-type=url&list-type=2&prefix=c%26");
	CHECK(s3_talk_element(&talk, "Key", text, sizeof text));
	CHECK_TEXT(text, "c%26%3C%0A");
	S3_TALK(&talk, 400, "InvalidArgument", "GET", "/box",
		.query = "continuation-token=zz&list-type=2");
	box->crowd_prefix = "c/crowd/";
	box->crowd_count = 1000 * 1000;
	CHECK_EQ(list_all(false, "prefix=d%2F", &pages), 10);
	CHECK_EQ(list_all(true, "", &pages), 6);
	CHECK_EQ(list_all(false, "prefix=c%2Fcrowd%2F001", &pages), 10000);
	CHECK_EQ(pages, 10);
	s3_talk_close(&talk);
}
