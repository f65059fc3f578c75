/* Answers as AWS documents them (Amazon S3 API Reference), as the sources of radosgw have them
 * (NAME-radosgw) and as radosgw 16.2.15 sent them (radosgw16-NAME): tests/vec/s3. */
#include "transport/s3_xml.h"

#include <stdlib.h>

#include "tests/test.h"

/* The structs are static: most have more than a frame of the stack may. */
#define PEER "bucket.s3.eusc-de-east-1.amazonaws.eu"

static struct text load(const char *name)
{
	static char content[8192];
	char path[100];
	FILE *file;
	size_t bytes;

	snprintf(path, sizeof path, "tests/vec/s3/%s.xml", name);
	file = fopen(path, "re");
	must(file);
	bytes = fread(content, 1, sizeof content, file);
	must(bytes < sizeof content);
	fclose(file);
	return (struct text){ content, bytes };
}

static enum err read_sheets(const char *name, struct xml_sheet *sheets, size_t count)
{
	return xml_form_read(PEER, load(name), sheets, count);
}

/* The answer itself and nothing else: it was no error. */
#define READ(name, form, to)                                                                       \
	do {                                                                                       \
		static struct s3_error error_;                                                     \
		struct xml_sheet sheets_[] = {                                                     \
			XML_SHEET(form, to),                                                       \
			XML_SHEET(&s3_xml_error, &error_),                                         \
		};                                                                                 \
		CHECK_OK(read_sheets(name, sheets_, 2));                                           \
		CHECK_EQ(sheets_[0].count, 1);                                                     \
		CHECK_EQ(sheets_[1].count, 0);                                                     \
	} while (0)

static void read_error(const char *name, struct s3_error *error)
{
	static struct s3_upload_completed completed;
	struct xml_sheet sheets[] = {
		XML_SHEET(&s3_xml_upload_completed, &completed),
		XML_SHEET(&s3_xml_error, error),
	};

	CHECK_OK(read_sheets(name, sheets, 2));
	CHECK_EQ(sheets[0].count, 0);
	CHECK_EQ(sheets[1].count, 1);
}

TEST(an_error_says_what_and_where)
{
	static struct s3_error error;

	read_error("error-no-such-key", &error);
	CHECK_TEXT(error.code, "NoSuchKey");
	CHECK_TEXT(error.message, "The resource you requested does not exist");
	CHECK_TEXT(error.key, "myfoto.jpg");
	CHECK_TEXT(error.request_id, "4442587FB7D0A2F9");
	CHECK_TEXT(error.host_id, "TrKKJ8mWvrdU9nBBlLJ1zCFBqLpdGCfpXdNK0xzHh5mS4fQQ");
	read_error("error-region", &error);
	CHECK_TEXT(error.code, "PermanentRedirect");
	CHECK_TEXT(error.region, "eu-central-1");
	CHECK_TEXT(error.endpoint, "awsexamplebucket1.s3.eu-central-1.amazonaws.com");
	CHECK_TEXT(error.bucket, "awsexamplebucket1");
	read_error("error-radosgw", &error);
	CHECK_TEXT(error.code, "AccessDenied");
	CHECK_TEXT(error.message, "");
	CHECK_TEXT(error.bucket, "archive");
}

TEST(an_error_behind_white_space_in_a_200_is_one)
{
	static struct s3_error error;

	read_error("complete-error-in-200", &error);
	CHECK_TEXT(error.code, "InternalError");
	CHECK_TEXT(error.request_id, "656c76696e6727732072657175657374");
}

TEST(uploads_begin_and_are_completed)
{
	static struct s3_upload_begun begun;
	static struct s3_upload_completed completed;

	READ("initiate", &s3_xml_upload_begun, &begun);
	CHECK_TEXT(begun.bucket, "example-bucket");
	CHECK_TEXT(begun.key, "example-object");
	CHECK_TEXT(begun.upload_id, "VXBsb2FkIElEIGZvciA2aWWpbmcncyBteS1tb3ZpZS5tMnRzIHVwbG9hZA");
	READ("complete", &s3_xml_upload_completed, &completed);
	CHECK_TEXT(completed.etag, "\"3858f62230ac3c915f300c664312c11f-9\"");
	CHECK_TEXT(completed.checksums.crc64nvme, "AAAAAAAAAAA=");
	CHECK_TEXT(completed.checksums.crc32, "");
	CHECK_TEXT(completed.checksum_type, "FULL_OBJECT");
	CHECK_TEXT(completed.key, "Example-Object");
	READ("complete-radosgw", &s3_xml_upload_completed, &completed);
	CHECK_TEXT(completed.etag, "3858f62230ac3c915f300c664312c11f-9");
	CHECK_TEXT(completed.bucket, "archive");
}

/* ---- pages ---- */

static enum err keep_object(void *owner, void *to)
{
	struct s3_object **next = owner;

	*(*next)++ = *(struct s3_object *)to;
	return OK;
}

TEST(a_page_of_objects_is_read)
{
	static struct s3_object objects[4], row;
	struct s3_object *next = objects;
	static struct s3_objects page;
	static struct s3_prefix prefix;
	struct xml_sheet sheets[] = {
		XML_SHEET(&s3_xml_objects, &page),
		XML_ROWS(&s3_xml_object, &row, keep_object, &next),
		XML_SHEET(&s3_xml_prefix, &prefix),
	};

	CHECK_OK(read_sheets("list", sheets, 3));
	CHECK_EQ(page.key_count, 3);
	CHECK(page.is_truncated);
	CHECK_TEXT(page.next_continuation_token, "1ueGcxLPRx1Tr/XYExHnhbYLgveDs2J/wm36Hy4vbOwM=");
	CHECK_TEXT(page.encoding_type, "url");
	REQUIRE(next == objects + 2);
	CHECK_TEXT(objects[0].key, "Example%2BOf+a%26b.txt");
	CHECK_EQ(objects[0].size, 857);
	CHECK_TEXT(objects[0].etag, "\"599bab3ed2c697f1d26842727561fd94\"");
	CHECK_EQ(objects[0].last_modified, 1379441273);
	CHECK_TEXT(objects[0].checksum_algorithm, "CRC64NVME,SHA256");
	CHECK_TEXT(objects[0].checksum_type, "FULL_OBJECT");
	CHECK_TEXT(objects[0].storage_class, "REDUCED_REDUNDANCY");
	CHECK_TEXT(objects[1].key, "ExampleObject.txt");
	CHECK_EQ(objects[1].size, 5497558138880);
	CHECK_TEXT(objects[1].checksum_algorithm, "");
	CHECK(s3_xml_url_decode(objects[0].key));
	CHECK_TEXT(objects[0].key, "Example+Of a&b.txt");
	CHECK(s3_xml_url_decode(prefix.prefix));
	CHECK_TEXT(prefix.prefix, "Eph\xC3\xA9m\xC3\xA8re/");
}

TEST(an_empty_page_is_read)
{
	static struct s3_objects page;

	READ("list-empty", &s3_xml_objects, &page);
	CHECK(!page.is_truncated);
	CHECK_EQ(page.key_count, 0);
	CHECK_TEXT(page.next_continuation_token, "");
	CHECK_TEXT(page.encoding_type, "");
}

TEST(what_is_no_encoded_key_is_refused)
{
	static const char *const wrong[] = { "%", "a%4", "%zz", "%00", "a%%41" };

	for (size_t i = 0; i < ARRAY_COUNT(wrong); i++) {
		char text[16];

		snprintf(text, sizeof text, "%s", wrong[i]);
		CHECK(!s3_xml_url_decode(text));
	}
}

static enum err tell_version(void *owner, void *to)
{
	struct s3_version *version = to;

	buffer_addf(owner, "%s@%s%s%s%d ", version->key, version->version_id,
		    version->is_latest ? "*" : "", *version->etag ? "=" : "-", (int)version->size);
	return OK;
}

TEST(versions_and_delete_markers_keep_their_order)
{
	static struct s3_versions page;
	static struct s3_version version, marker;
	struct buffer told = { 0 };
	struct xml_sheet sheets[] = {
		XML_SHEET(&s3_xml_versions, &page),
		XML_ROWS(&s3_xml_version, &version, tell_version, &told),
		XML_ROWS(&s3_xml_delete_marker, &marker, tell_version, &told),
	};

	CHECK_OK(read_sheets("versions", sheets, 3));
	CHECK_TEXT(told.at, "my-image.jpg@3/L4kqtJl40Nr8X8gdRQBpUMLUo*=434234 "
			    "my-second-image.jpg@03jpff543dhffds434rfdsFDN943fdsFkdmqnh892*-0 "
			    "my-second-image.jpg@null=166434 ");
	CHECK(page.is_truncated);
	CHECK_TEXT(page.next_key_marker, "my-second-image.jpg");
	CHECK_TEXT(page.next_version_id_marker, "03jpff543dhffds434rfdsFDN943fdsFkdmqnh892");
	CHECK_EQ(version.last_modified, 1255197030);
	buffer_free(&told);
}

static enum err tell_upload(void *owner, void *to)
{
	struct s3_upload *upload = to;

	buffer_addf(owner, "%s %.8s %lld %s %s\n", upload->key, upload->upload_id,
		    (long long)upload->initiated, upload->storage_class,
		    upload->checksum_algorithm);
	return OK;
}

TEST(uploads_under_way_are_listed)
{
	static struct s3_uploads page;
	static struct s3_upload upload;
	struct buffer told = { 0 };
	struct xml_sheet sheets[] = {
		XML_SHEET(&s3_xml_uploads, &page),
		XML_ROWS(&s3_xml_upload, &upload, tell_upload, &told),
	};

	CHECK_OK(read_sheets("uploads", sheets, 2));
	CHECK_TEXT(told.at, "my-divisor XMgbGlrZ 1289422113 STANDARD \n"
			    "my-movie.m2ts VXBsb2Fk 1289422113 STANDARD CRC64NVME\n");
	CHECK(page.is_truncated);
	CHECK_TEXT(page.next_key_marker, "my-movie.m2ts");
	CHECK_TEXT(page.next_upload_id_marker, "YW55IGlkZWEgd2h5IGVsdmluZydzIHVwbG9hZCBmYWlsZWQ");
	buffer_free(&told);
}

static enum err tell_part(void *owner, void *to)
{
	struct s3_part *part = to;

	buffer_addf(owner, "%d %d %s %s\n", (int)part->part_number, (int)part->size, part->etag,
		    part->checksums.sha256);
	return OK;
}

TEST(parts_are_listed)
{
	static struct s3_parts page;
	static struct s3_part part;
	struct buffer told = { 0 };
	struct xml_sheet sheets[] = {
		XML_SHEET(&s3_xml_parts, &page),
		XML_ROWS(&s3_xml_part, &part, tell_part, &told),
	};

	CHECK_OK(read_sheets("parts", sheets, 2));
	CHECK_TEXT(told.at, "2 10485760 \"7778aef83f66abc1fa1e8477f296d394\" \n"
			    "3 10485760 \"aaaa18db4cc2f85cedef654fccc4a4x8\" "
			    "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=\n");
	CHECK(page.is_truncated);
	CHECK_EQ(page.next_part_number_marker, 3);
	CHECK_TEXT(page.upload_id, "XXBsb2FkIElEIGZvciBlbHZpbmcncyVcdS1tb3ZpZS5tMnRzEEEwbG9hZA");
	buffer_free(&told);
}

static enum err tell_deleted(void *owner, void *to)
{
	struct s3_deleted *deleted = to;

	buffer_addf(owner, "%s %s %d\n", deleted->key, deleted->delete_marker_version_id,
		    deleted->delete_marker);
	return OK;
}

static enum err tell_failed(void *owner, void *to)
{
	struct s3_delete_failed *failed = to;

	buffer_addf(owner, "%s! %s: %s\n", failed->key, failed->code, failed->message);
	return OK;
}

TEST(what_was_deleted_and_what_was_not_is_told)
{
	static struct s3_deleted deleted;
	static struct s3_delete_failed failed;
	struct buffer told = { 0 };
	struct xml_sheet sheets[] = {
		XML_ROWS(&s3_xml_deleted, &deleted, tell_deleted, &told),
		XML_ROWS(&s3_xml_delete_failed, &failed, tell_failed, &told),
	};

	CHECK_OK(read_sheets("deleted", sheets, 2));
	CHECK_TEXT(told.at, "sample1.txt  0\n"
			    "sample2.txt! AccessDenied: Access Denied\n"
			    "SampleDocument.txt NeQt5xeFTfgPJD8B4CGWnkSLtluMr11s 1\n");
	buffer_reset(&told);
	CHECK_OK(read_sheets("radosgw16-deleted", sheets, 2));
	CHECK_TEXT(told.at, "none  0\na/two  0\n");
	CHECK_OK(xml_form_read(PEER, text_of("<DeleteResult/>"), sheets, 2));
	CHECK_EQ(sheets[0].count + sheets[1].count, 0);
	buffer_free(&told);
}

/* ---- what a bucket is ---- */

TEST(a_buckets_region_is_told)
{
	static struct s3_location location;

	READ("location", &s3_xml_location, &location);
	CHECK_TEXT(s3_xml_region(&location), "eusc-de-east-1");
	READ("location-empty", &s3_xml_location, &location);
	CHECK_TEXT(s3_xml_region(&location), "us-east-1");
	READ("location-eu", &s3_xml_location, &location);
	CHECK_TEXT(s3_xml_region(&location), "eu-west-1");
}

TEST(a_buckets_settings_are_read)
{
	static struct s3_versioning versioning;
	static struct s3_object_lock lock;
	static struct s3_encryption encryption;
	static struct s3_public_access_block block;
	static struct s3_policy_status status;

	READ("versioning", &s3_xml_versioning, &versioning);
	CHECK_TEXT(versioning.status, "Enabled");
	CHECK_TEXT(versioning.mfa_delete, "Disabled");
	READ("versioning-never", &s3_xml_versioning, &versioning);
	CHECK_TEXT(versioning.status, "");
	READ("object-lock", &s3_xml_object_lock, &lock);
	CHECK_TEXT(lock.enabled, "Enabled");
	CHECK_TEXT(lock.mode, "COMPLIANCE");
	CHECK_EQ(lock.days, 3650);
	CHECK_EQ(lock.years, 0);
	READ("encryption", &s3_xml_encryption, &encryption);
	CHECK_TEXT(encryption.sse_algorithm, "aws:kms");
	CHECK_TEXT(encryption.kms_master_key_id, "arn:aws:kms:us-east-1:1234/5678example");
	CHECK(encryption.bucket_key_enabled);
	READ("public-access-block", &s3_xml_public_access_block, &block);
	CHECK(block.block_public_acls && !block.ignore_public_acls && !block.block_public_policy &&
	      block.restrict_public_buckets);
	READ("policy-status", &s3_xml_policy_status, &status);
	CHECK(status.is_public);
	READ("radosgw16-policy-status", &s3_xml_policy_status, &status);
	CHECK(!status.is_public);
}

static enum err tell_rule(void *owner, void *to)
{
	struct s3_replication_rule *rule = to;

	buffer_addf(owner, "%s %s %d [%s%s%s] %s %s %s %s%s\n", rule->id, rule->status,
		    (int)rule->priority, rule->prefix, rule->filter_prefix, rule->and_prefix,
		    rule->destination_bucket, rule->destination_account,
		    rule->destination_storage_class, rule->delete_markers, rule->existing_objects);
	return OK;
}

TEST(a_buckets_replication_is_read)
{
	static struct s3_replication replication;
	static struct s3_replication_rule rule;
	struct buffer told = { 0 };
	struct xml_sheet sheets[] = {
		XML_SHEET(&s3_xml_replication, &replication),
		XML_ROWS(&s3_xml_replication_rule, &rule, tell_rule, &told),
	};

	CHECK_OK(read_sheets("replication", sheets, 2));
	CHECK_TEXT(replication.role,
		   "arn:aws:iam::35667example:role/CrossRegionReplicationRoleForS3");
	CHECK_TEXT(told.at, "rule1 Enabled 1 [TaxDocs] arn:aws:s3:::exampletargetbucket "
			    "111122223333  Disabled\n"
			    "old Disabled 0 [] arn:aws:s3:::exampletargetbucket  STANDARD_IA \n");
	buffer_free(&told);
}

/* ---- what is no such answer ---- */

static void check_refused(const char *document, const char *reason)
{
	static struct s3_upload_begun begun;
	static struct s3_error error;
	struct xml_sheet sheets[] = {
		XML_SHEET(&s3_xml_upload_begun, &begun),
		XML_SHEET(&s3_xml_error, &error),
	};

	CHECK_ERR(xml_form_read(PEER, text_of(document), sheets, 2), ERR_XML_SYNTAX);
	if (!strstr(err_note()->text, reason))
		test_failed(__FILE__, __LINE__, "\"%s\" does not say \"%s\"", err_note()->text,
			    reason);
	err_note_clear();
}

TEST(half_an_answer_is_none)
{
	check_refused("<InitiateMultipartUploadResult><Key>k</Key></InitiateMultipartUploadResult>",
		      "UploadId is missing");
	check_refused("<InitiateMultipartUploadResult><UploadId>u</UploadId>", "in the middle");
	check_refused("<Error><Message>m</Message></Error>", "Code is missing");
	check_refused("<html>502</html>", "<html> where <InitiateMultipartUploadResult> belongs");
}

/* A page that does not say whether others follow must not pass for the last. */
TEST(a_page_says_whether_it_is_the_last)
{
	static const struct xml_form *const pages[] = { &s3_xml_objects, &s3_xml_versions,
							&s3_xml_uploads, &s3_xml_parts };

	for (size_t i = 0; i < ARRAY_COUNT(pages); i++) {
		struct xml_sheet sheet = { .form = pages[i], .bytes = pages[i]->bytes };
		char document[100];

		snprintf(document, sizeof document, "<%s></%s>", pages[i]->path, pages[i]->path);
		sheet.to = malloc(sheet.bytes);
		must(sheet.to);
		CHECK_ERR(xml_form_read(PEER, text_of(document), &sheet, 1), ERR_XML_SYNTAX);
		CHECK(strstr(err_note()->text, "IsTruncated is missing"));
		err_note_clear();
		free(sheet.to);
	}
}

TEST(an_error_is_read_however_long_its_texts_are)
{
	static struct s3_error error;
	struct xml_sheet sheet = XML_SHEET(&s3_xml_error, &error);
	struct buffer document = { 0 };

	buffer_add_text(&document, "<Error><Code>SlowDown</Code><Message>");
	for (int i = 0; i < 1000; i++)
		buffer_add_text(&document, "Please reduce your request rate. ");
	buffer_add_text(&document, "</Message></Error>");
	CHECK_OK(xml_form_read(PEER, (struct text){ document.at, document.bytes }, &sheet, 1));
	CHECK_TEXT(error.code, "SlowDown");
	CHECK_EQ(strlen(error.message), sizeof error.message - 1);
	buffer_free(&document);
}

/* ---- radosgw 16.2.15 ---- */

TEST(an_upload_to_radosgw_is_read)
{
	static struct s3_upload_begun begun;
	static struct s3_upload_completed completed;

	READ("radosgw16-initiate", &s3_xml_upload_begun, &begun);
	CHECK_TEXT(begun.key, "a/big <1>");
	CHECK_TEXT(begun.upload_id, "2~FoZw0ruJaWXaLe7uhA6L0KlPZliGMIT");
	READ("radosgw16-complete", &s3_xml_upload_completed, &completed);
	CHECK_TEXT(completed.key, "a/big <1>");
	CHECK_TEXT(completed.location, "localhost/archive/a/big <1>");
	CHECK_TEXT(completed.etag, "");
}

TEST(objects_of_radosgw_are_read)
{
	static struct s3_object objects[4], row;
	struct s3_object *next = objects;
	static struct s3_objects page;
	static struct s3_prefix prefix;
	struct xml_sheet sheets[] = {
		XML_SHEET(&s3_xml_objects, &page),
		XML_ROWS(&s3_xml_object, &row, keep_object, &next),
		XML_SHEET(&s3_xml_prefix, &prefix),
	};

	CHECK_OK(read_sheets("radosgw16-list", sheets, 3));
	CHECK(page.is_truncated);
	CHECK_EQ(page.key_count, 3);
	CHECK_TEXT(page.encoding_type, "url");
	CHECK_TEXT(page.next_continuation_token, "p a+b"); /* which is not */
	REQUIRE(next == objects + 2);
	CHECK_TEXT(objects[0].key, "p%20a%252Bb");
	CHECK_TEXT(objects[1].key, "p%20a%2Bb");
	CHECK_TEXT(objects[1].etag, "\"9dd4e461268c8034f5c8564e155c67a6\"");
	CHECK_EQ(objects[1].size, 1);
	CHECK_EQ(objects[1].last_modified, 1795410950);
	CHECK_TEXT(prefix.prefix, "p%2050%25%2B/");
}

TEST(pages_of_radosgw_are_read)
{
	static struct s3_uploads uploads;
	static struct s3_upload upload;
	static struct s3_parts parts;
	static struct s3_part part;
	static struct s3_versions versions;
	static struct s3_version version, marker;
	struct buffer told = { 0 };
	struct xml_sheet of_uploads[] = {
		XML_SHEET(&s3_xml_uploads, &uploads),
		XML_ROWS(&s3_xml_upload, &upload, tell_upload, &told),
	};
	struct xml_sheet of_parts[] = {
		XML_SHEET(&s3_xml_parts, &parts),
		XML_ROWS(&s3_xml_part, &part, tell_part, &told),
	};
	struct xml_sheet of_versions[] = {
		XML_SHEET(&s3_xml_versions, &versions),
		XML_ROWS(&s3_xml_version, &version, tell_version, &told),
		XML_ROWS(&s3_xml_delete_marker, &marker, tell_version, &told),
	};

	CHECK_OK(read_sheets("radosgw16-uploads", of_uploads, 2));
	CHECK(uploads.is_truncated);
	CHECK_TEXT(uploads.encoding_type, ""); /* though keys are */
	CHECK_TEXT(uploads.next_key_marker, "a/big <1>");
	CHECK_OK(read_sheets("radosgw16-parts", of_parts, 2));
	CHECK(!parts.is_truncated);
	CHECK_EQ(parts.next_part_number_marker, 2);
	CHECK_OK(read_sheets("radosgw16-versions", of_versions, 3));
	CHECK_TEXT(told.at, "a/big%20%3C1%3E 2~FoZw0r 1795410914 STANDARD \n"
			    "1 5242880 \"79b281060d337b9b2b84ccf390adcf74\" \n"
			    "2 1000 \"c73c16de8912c313c06ac38b9961e806\" \n"
			    "k@SiPKNP9EcnpEYqRuzyopnCdRGPBL25-*-0 "
			    "k@xJV2bZUIdNYlZasSQfK3Hp11-KmLEkG=1 "
			    "k@mnd38gTbJ4dx8jMWy1HsS3wLpYTi4JJ=1 ");
	buffer_free(&told);
}

TEST(what_a_bucket_of_radosgw_is_is_read)
{
	static struct s3_location location;
	static struct s3_versioning versioning;
	static struct s3_object_lock lock;
	static struct s3_error error;

	READ("radosgw16-location", &s3_xml_location, &location);
	CHECK_TEXT(s3_xml_region(&location), "default");
	READ("radosgw16-versioning-never", &s3_xml_versioning, &versioning);
	CHECK_TEXT(versioning.status, "");
	READ("radosgw16-versioning", &s3_xml_versioning, &versioning);
	CHECK_TEXT(versioning.status, "Enabled");
	READ("radosgw16-object-lock", &s3_xml_object_lock, &lock);
	CHECK_TEXT(lock.enabled, "Enabled");
	CHECK_TEXT(lock.mode, "GOVERNANCE");
	CHECK_EQ(lock.days, 3);
	read_error("radosgw16-error-object-lock", &error);
	CHECK_TEXT(error.code, "ObjectLockConfigurationNotFoundError");
	read_error("radosgw16-error", &error);
	CHECK_TEXT(error.code, "NoSuchKey");
	CHECK_TEXT(error.key, "");
}

/* ---- CompleteMultipartUpload ---- */

TEST(the_parts_of_an_upload_are_said)
{
	struct buffer body = { 0 };

	s3_xml_complete_begin(&body);
	CHECK(s3_xml_complete_part(&body, 1, text_of("\"a54357aff0632cce46d942af68356b38\""), NULL,
				   (struct text){ NULL, 0 }));
	CHECK(s3_xml_complete_part(&body, 10000, text_of("<&>"), "ChecksumCRC64NVME",
				   text_of("AAAAAAAAAAA=")));
	s3_xml_complete_end(&body);
	CHECK_TEXT(body.at,
		   "<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">"
		   "<Part><PartNumber>1</PartNumber>"
		   "<ETag>&quot;a54357aff0632cce46d942af68356b38&quot;</ETag></Part>"
		   "<Part><PartNumber>10000</PartNumber><ETag>&lt;&amp;&gt;</ETag>"
		   "<ChecksumCRC64NVME>AAAAAAAAAAA=</ChecksumCRC64NVME></Part>"
		   "</CompleteMultipartUpload>");
	CHECK(!s3_xml_complete_part(&body, 2, text_of("a\x01"), NULL, (struct text){ NULL, 0 }));
	CHECK(!s3_xml_complete_part(&body, 2, (struct text){ body.at, S3_ETAG_BYTES_MAX + 1 }, NULL,
				    (struct text){ NULL, 0 }));
	buffer_free(&body);
}

static size_t bytes_of_parts(unsigned parts, const char *checksum_name)
{
	struct buffer body = { 0 };
	size_t bytes;

	s3_xml_complete_begin(&body);
	for (unsigned i = 1; i <= parts; i++)
		CHECK(s3_xml_complete_part(&body, i,
					   text_of("\"a54357aff0632cce46d942af68356b38\""),
					   checksum_name, text_of("AAAAAAAAAAA=")));
	s3_xml_complete_end(&body);
	CHECK(!body.failed);
	bytes = body.bytes;
	buffer_free(&body);
	return bytes;
}

/* radosgw's rgw_max_put_param_size: what s3_xml.h says of it. */
TEST(the_longest_upload_is_said_in_a_mebibyte)
{
	enum { MOST = 1024 * 1024 };

	CHECK(bytes_of_parts(S3_PARTS_MAX, NULL) < MOST);
	CHECK(bytes_of_parts(6900, "ChecksumCRC64NVME") < MOST);
	CHECK(bytes_of_parts(7200, "ChecksumCRC64NVME") > MOST);
}
