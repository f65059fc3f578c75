/* The S3 stand-in is strict about multipart uploads, and its accidents do what they say: not done,
 * done and not told, done late. */
#include <stdio.h>

#include "tests/sim/s3_talk.h"
#include "tests/test.h"

enum { SMALL_PART = 4 };

static struct s3_talk talk;
static char upload[80];

static struct s3_model_bucket *begin(void)
{
	talk = (struct s3_talk){ 0 };
	s3_talk_open(&talk);
	talk.model->part_bytes_min = SMALL_PART;
	return &talk.model->buckets[0];
}

static void create(const char *fields)
{
	S3_TALK(&talk, 200, "", "POST", "/box/k", .query = "uploads=", .fields = fields);
	CHECK(s3_talk_element(&talk, "UploadId", upload, sizeof upload));
}

static bool send_part(unsigned number, const char *body, const char *fields, unsigned status,
		      const char *code)
{
	char query[120];

	snprintf(query, sizeof query, "partNumber=%u&uploadId=%s", number, upload);
	return S3_TALK(&talk, status, code, "PUT", "/box/k", .query = query, .body = body,
		       .fields = fields);
}

static bool complete_with(const char *xml, const char *fields, unsigned status, const char *code)
{
	char query[100];

	snprintf(query, sizeof query, "uploadId=%s", upload);
	return S3_TALK(&talk, status, code, "POST", "/box/k", .query = query, .body = xml,
		       .fields = fields);
}

static void abort_upload(void)
{
	char query[100];

	snprintf(query, sizeof query, "uploadId=%s", upload);
	S3_TALK(&talk, 204, "", "DELETE", "/box/k", .query = query);
}

/* MD5 of "12345" and of "6789". */
#define PART_1                                                                                     \
	"<Part><PartNumber>1</PartNumber><ETag>\"827ccb0eea8a706c4c34a16891f84e7b\"</ETag>%s</"    \
	"Part>"
#define PART_2                                                                                     \
	"<Part><PartNumber>2</PartNumber><ETag>46d045ff5190f6ea93739da6c0aa19bc</ETag>%s</Part>"

static const char *list_of(const char *first, const char *first_more, const char *second,
			   const char *second_more)
{
	static char one[300], two[300], xml[800];

	snprintf(one, sizeof one, "%.*s%s%s", (int)(strlen(first) - strlen("%s</Part>")), first,
		 first_more, "</Part>");
	snprintf(two, sizeof two, "%.*s%s%s", (int)(strlen(second) - strlen("%s</Part>")), second,
		 second_more, "</Part>");
	snprintf(xml, sizeof xml, "<CompleteMultipartUpload>%s%s</CompleteMultipartUpload>", one,
		 two);
	return xml;
}

#define BOTH list_of(PART_1, "", PART_2, "")

static void create_with_parts(void)
{
	create("x-amz-checksum-algorithm: CRC64NVME\nx-amz-checksum-type: FULL_OBJECT\n");
	send_part(1, "12345", NULL, 200, "");
	send_part(2, "6789", NULL, 200, "");
}

TEST(full_object_checksum_size_and_order_are_checked)
{
	struct s3_model_bucket *box = begin();
	const struct s3_model_object *object;
	char text[80];

	create_with_parts();
	complete_with(list_of(PART_2, "", PART_1, ""), NULL, 400, "InvalidPartOrder");
	complete_with(list_of(PART_1, "", PART_1, ""), NULL, 400, "InvalidPartOrder");
	complete_with("<CompleteMultipartUpload></CompleteMultipartUpload>", NULL, 400,
		      "MalformedXML");
	complete_with("<Nonsense/>", NULL, 400, "MalformedXML");
	complete_with(BOTH, "x-amz-mp-object-size: 8\n", 400, "InvalidRequest");
	complete_with(BOTH, "x-amz-checksum-crc64nvme: rosUhgp5mIk=\n", 400, "BadDigest");
	complete_with(BOTH, "x-amz-checksum-type: COMPOSITE\n", 400, "BadDigest");
	complete_with(
		list_of(PART_1, "<ChecksumCRC64NVME>AAAAAAAAAAA=</ChecksumCRC64NVME>", PART_2, ""),
		NULL, 400, "InvalidPart");
	CHECK_EQ(s3_model_objects(box, ""), 0);
	CHECK_EQ(s3_model_uploads(box, ""), 1);
	complete_with(BOTH,
		      "if-none-match: *\nx-amz-checksum-crc64nvme: rosUhgp5mIg=\n"
		      "x-amz-checksum-type: FULL_OBJECT\nx-amz-mp-object-size: 9\n",
		      200, "");
	CHECK(s3_talk_element(&talk, "ChecksumCRC64NVME", text, sizeof text));
	CHECK_TEXT(text, "rosUhgp5mIg=");
	object = s3_model_object_of(box, "k");
	REQUIRE(object != NULL);
	CHECK(object->length == 9 && memcmp(object->bytes, "123456789", 9) == 0);
	CHECK_EQ(object->parts, 2);
	CHECK_EQ(s3_model_uploads(box, ""), 0);
	complete_with(BOTH, NULL, 404, "NoSuchUpload");
	s3_talk_close(&talk);
}

TEST(composite_checksums_need_each_part)
{
	struct s3_model_bucket *box = begin();

	create("x-amz-checksum-algorithm: CRC32C\n");
	send_part(1, "12345", "x-amz-checksum-crc32c: MKlTuA==\n", 400, "BadDigest");
	send_part(1, "123456789", "x-amz-checksum-crc32c: 4waSgw==\n", 200, "");
	send_part(1, "123456789", "x-amz-checksum-crc64nvme: rosUhgp5mIg=\n", 400,
		  "InvalidRequest");
	complete_with("<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>"
		      "25f9e794323b453885f5181f1b624d0b</ETag></Part></CompleteMultipartUpload>",
		      NULL, 400, "InvalidRequest");
	complete_with("<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>"
		      "&quot;25f9e794323b453885f5181f1b624d0b&quot;</ETag><ChecksumCRC32C>4waSgw=="
		      "</ChecksumCRC32C></Part></CompleteMultipartUpload>",
		      NULL, 200, "");
	/* CRC-32C of the four bytes e3 06 92 83. */
	CHECK_TEXT(s3_model_object_of(box, "k")->checksum.text, "pzJFoA==-1");
	s3_talk_close(&talk);
}

TEST(kinds_of_checksums_that_do_not_fit_are_refused)
{
	static const char *const wrong[] = {
		"x-amz-checksum-algorithm: CRC64NVME\nx-amz-checksum-type: COMPOSITE\n",
		"x-amz-checksum-algorithm: SHA256\nx-amz-checksum-type: FULL_OBJECT\n",
		"x-amz-checksum-algorithm: ADLER\n", "x-amz-checksum-type: FULL_OBJECT\n"
	};

	(void)begin();
	for (unsigned i = 0; i < ARRAY_COUNT(wrong); i++)
		S3_TALK(&talk, 400, "InvalidRequest", "POST", "/box/k",
			.query = "uploads=", .fields = wrong[i]);
	s3_talk_close(&talk);
}

TEST(parts_are_numbered_big_enough_and_of_an_upload)
{
	struct s3_model_bucket *box = begin();

	create_with_parts();
	send_part(0, "x", NULL, 400, "InvalidArgument");
	send_part(10001, "x", NULL, 400, "InvalidArgument");
	send_part(2, "67890", "x-amz-server-side-encryption: AES256\n", 400, "InvalidArgument");
	send_part(2, "other", NULL, 200, "");
	complete_with(BOTH, NULL, 400, "InvalidPart"); /* it was sent anew */
	send_part(2, "6789", NULL, 200, "");
	talk.model->part_bytes_min = 6;
	complete_with(BOTH, NULL, 400, "EntityTooSmall");
	talk.model->part_bytes_min = 5;
	(void)s3_model_plant(talk.model, box, "k", "other", 5, S3_TALK_NOW);
	complete_with(BOTH, "if-none-match: *\n", 412, "PreconditionFailed");
	CHECK_EQ(s3_model_uploads(box, "k"), 1);
	CHECK_EQ(s3_model_object_of(box, "k")->length, 5);
	complete_with(BOTH, NULL, 200, ""); /* the first part is as long as it must be */
	create_with_parts();
	snprintf(upload + 3, sizeof upload - 3, "nonsense");
	send_part(1, "12345", NULL, 404, "NoSuchUpload");
	complete_with(BOTH, NULL, 404, "NoSuchUpload");
	s3_talk_close(&talk);
}

TEST(uploads_and_parts_are_listed_in_pages_and_aborted)
{
	struct s3_model_bucket *box = begin();
	char query[200], id[80], text[80];

	create_with_parts();
	(void)s3_model_plant_upload(talk.model, box, "others/one", S3_TALK_NOW);
	(void)s3_model_plant_upload(talk.model, box, "others/two", S3_TALK_NOW);
	snprintf(query, sizeof query, "max-parts=1&uploadId=%s", upload);
	S3_TALK(&talk, 200, "", "GET", "/box/k", .query = query);
	CHECK(s3_talk_element(&talk, "IsTruncated", text, sizeof text));
	CHECK_TEXT(text, "true");
	snprintf(query, sizeof query, "part-number-marker=1&uploadId=%s", upload);
	S3_TALK(&talk, 200, "", "GET", "/box/k", .query = query);
	CHECK(s3_talk_element(&talk, "PartNumber", text, sizeof text));
	CHECK_TEXT(text, "2");
	S3_TALK(&talk, 200, "", "GET", "/box", .query = "max-uploads=1&prefix=others%2F&uploads=");
	CHECK(s3_talk_element(&talk, "NextUploadIdMarker", id, sizeof id));
	snprintf(query, sizeof query,
		 "key-marker=others%%2Fone&prefix=others%%2F&upload-id-marker=%s&uploads=", id);
	S3_TALK(&talk, 200, "", "GET", "/box", .query = query);
	CHECK(s3_talk_element(&talk, "Key", text, sizeof text));
	CHECK_TEXT(text, "others/two");
	abort_upload();
	snprintf(query, sizeof query, "uploadId=%s", upload);
	S3_TALK(&talk, 404, "NoSuchUpload", "DELETE", "/box/k", .query = query);
	CHECK_EQ(s3_model_uploads(box, ""), 2);
	CHECK_EQ(talk.model->counts.stored_bytes, 0);
	s3_talk_close(&talk);
}

TEST(parts_of_a_locked_upload_need_a_checksum)
{
	struct s3_model_bucket *box = begin();

	box->object_lock = true;
	box->versioning = S3_MODEL_VERSIONED;
	create("x-amz-object-lock-legal-hold: ON\n");
	send_part(1, "123456789", NULL, 400, "InvalidRequest");
	send_part(1, "123456789", "x-amz-checksum-crc64nvme: rosUhgp5mIg=\n", 200, "");
	s3_talk_close(&talk);
}

/* ---- accidents ---- */

static void add_fault(const struct s3_model_fault *fault)
{
	talk.model->faults_count = 0;
	s3_model_add_fault(talk.model, fault);
}

#define FAULT(...) add_fault(&(struct s3_model_fault){ .count = 1, __VA_ARGS__ })
#define PUT_ONE	   .method = "PUT", .path = "/box/k", .body = "one", .fields = "if-none-match: *\n"

static unsigned put_one(void)
{
	return s3_talk_ask(&talk, &(struct s3_talk_request){ PUT_ONE });
}

TEST(errors_are_answered_and_not_done_or_done)
{
	struct s3_model_bucket *box = begin();
	char text[80];

	FAULT(.op = S3_MODEL_PUT, .accident = S3_MODEL_ANSWERS, .status = 503, .code = "SlowDown",
	      .retry_after_s = 2, .skip = 1, .key = "k");
	S3_TALK(&talk, 404, "NoSuchKey", "GET", "/box/k"); /* another operation */
	S3_TALK(&talk, 200, "", "PUT", "/box/other", .body = "x");
	S3_TALK(&talk, 200, "", "PUT", "/box/k1", .body = "x"); /* skipped */
	S3_TALK(&talk, 503, "SlowDown", "PUT", "/box/k", .body = "x");
	CHECK(s3_talk_field(&talk, "retry-after", text, sizeof text));
	CHECK_TEXT(text, "2");
	CHECK(s3_model_object_of(box, "k") == NULL);
	FAULT(.accident = S3_MODEL_ANSWERS_APPLIED, .status = 500, .code = "InternalError");
	CHECK_EQ(put_one(), 500);
	CHECK(s3_model_object_of(box, "k") != NULL);
	CHECK_EQ(put_one(), 412);
	FAULT(.accident = S3_MODEL_ANSWERS, .status = 409, .code = "ConditionalRequestConflict");
	CHECK_EQ(put_one(), 409);
	s3_talk_close(&talk);
}

TEST(resets_come_where_they_should)
{
	struct s3_model_bucket *box = begin();

	FAULT(.accident = S3_MODEL_RESETS_EARLY);
	CHECK_EQ(put_one(), 0);
	CHECK_EQ(talk.ended, S3_MODEL_RESET);
	FAULT(.accident = S3_MODEL_RESETS_IN_BODY, .bytes = 2);
	CHECK_EQ(put_one(), 0);
	CHECK_EQ(s3_model_objects(box, ""), 0);
	FAULT(.accident = S3_MODEL_RESETS_IN_ANSWER, .bytes = 20);
	CHECK_EQ(put_one(), 0);
	CHECK_EQ(talk.said.bytes, 20);
	CHECK_EQ(talk.ended, S3_MODEL_RESET);
	CHECK_EQ(s3_model_objects(box, ""), 1);
	FAULT(.accident = S3_MODEL_RESETS_APPLIED);
	S3_TALK(&talk, 0, "", "DELETE", "/box/k");
	CHECK_EQ(s3_model_objects(box, ""), 0);
	FAULT(.accident = S3_MODEL_STALLS);
	CHECK_EQ(put_one(), 0);
	CHECK_EQ(talk.ended, S3_MODEL_IDLE);
	s3_model_hang_up(&talk.session);
	CHECK_EQ(put_one(), 200);
	s3_talk_close(&talk);
}

TEST(a_late_complete_comes_after_what_was_asked_since)
{
	struct s3_model_bucket *box = begin();

	create_with_parts();
	FAULT(.op = S3_MODEL_COMPLETE, .accident = S3_MODEL_LATE, .requests = 2);
	complete_with(BOTH, "if-none-match: *\n", 0, "");
	S3_TALK(&talk, 404, "NoSuchKey", "GET", "/box/k");
	S3_TALK(&talk, 404, "NoSuchKey", "GET", "/box/k");
	S3_TALK(&talk, 200, "", "GET", "/box/k");
	CHECK_EQ(talk.model->counts.late, 1);
	CHECK_EQ(s3_model_uploads(box, ""), 0);
	/* An abort in between wins. */
	S3_TALK(&talk, 204, "", "DELETE", "/box/k");
	create_with_parts();
	FAULT(.op = S3_MODEL_COMPLETE, .accident = S3_MODEL_LATE, .requests = 5);
	complete_with(BOTH, "if-none-match: *\n", 0, "");
	abort_upload();
	s3_model_settle(talk.model, talk.now_s);
	CHECK_EQ(s3_model_objects(box, ""), 0);
	/* Its signature counts from when it was sent. */
	create_with_parts();
	FAULT(.op = S3_MODEL_COMPLETE, .accident = S3_MODEL_LATE, .requests = 5);
	complete_with(BOTH, "if-none-match: *\n", 0, "");
	s3_model_settle(talk.model, talk.now_s + 24 * 3600);
	CHECK_EQ(talk.model->counts.late, 3);
	CHECK_EQ(s3_model_objects(box, ""), 1);
	s3_talk_close(&talk);
}

TEST(an_error_inside_of_200_is_not_done)
{
	struct s3_model_bucket *box = begin();

	create_with_parts();
	FAULT(.op = S3_MODEL_COMPLETE, .accident = S3_MODEL_ERROR_IN_200);
	complete_with(BOTH, NULL, 200, "InternalError");
	CHECK(strstr(talk.body.at, "\n   \n") != NULL);
	CHECK_EQ(s3_model_objects(box, ""), 0);
	FAULT(.op = S3_MODEL_COMPLETE, .accident = S3_MODEL_ANSWERS, .status = 409,
	      .code = "ConditionalRequestConflict", .loses_upload = true);
	complete_with(BOTH, NULL, 409, "ConditionalRequestConflict");
	complete_with(BOTH, NULL, 404, "NoSuchUpload");
	s3_talk_close(&talk);
}

TEST(answers_are_slow_cut_or_wrong)
{
	struct s3_model_bucket *box = begin();
	char text[80];

	(void)s3_model_plant(talk.model, box, "k", "0123456789", 10, S3_TALK_NOW);
	FAULT(.accident = S3_MODEL_SLOW, .bytes = 50, .wait_ms = 100);
	S3_TALK(&talk, 200, "", "GET", "/box/k");
	CHECK_TEXT(talk.body.at, "0123456789");
	CHECK(talk.waited_ms >= 500);
	FAULT(.accident = S3_MODEL_SLOW, .bytes = 1, .wait_ms = 1);
	S3_TALK(&talk, 200, "", "GET", "/box/k");
	CHECK_TEXT(talk.body.at, "0123456789");
	FAULT(.accident = S3_MODEL_TRUNCATES, .bytes = 4);
	S3_TALK(&talk, 200, "", "GET", "/box/k");
	CHECK_TEXT(talk.body.at, "0123");
	CHECK_EQ(talk.ended, S3_MODEL_CLOSE);
	FAULT(.accident = S3_MODEL_DAMAGES, .bytes = 3);
	S3_TALK(&talk, 200, "", "GET", "/box/k");
	CHECK_TEXT(talk.body.at, "012A456789");
	FAULT(.accident = S3_MODEL_WRONG_CHECKSUM);
	S3_TALK(&talk, 200, "", "PUT", "/box/sum", .body = "123456789");
	CHECK(s3_talk_field(&talk, "x-amz-checksum-crc64nvme", text, sizeof text));
	CHECK_TEXT(text, "AosUhgp5mIg=");
	FAULT(.accident = S3_MODEL_CHANGES_OBJECT);
	S3_TALK(&talk, 412, "PreconditionFailed", "GET", "/box/k",
		.fields = "if-match: \"781e5e245d69b566979b86e28d23f2c7\"\n");
	s3_talk_close(&talk);
}

TEST(tokens_expire_and_clocks_jump_between_two_requests)
{
	(void)begin();
	(void)s3_model_add_user(talk.model, "ASIAONE", talk.secret, "token-1");
	(void)s3_model_add_user(talk.model, "ASIATWO", talk.secret, "token-2");
	talk.key = "ASIAONE";
	talk.token = "token-1";
	create_with_parts();
	FAULT(.op = S3_MODEL_PART, .accident = S3_MODEL_EXPIRES_TOKEN);
	send_part(2, "6789", NULL, 400, "ExpiredToken");
	complete_with(BOTH, NULL, 400, "ExpiredToken");
	talk.key = "ASIATWO";
	talk.token = "token-2";
	complete_with(BOTH, NULL, 200, "");
	FAULT(.accident = S3_MODEL_JUMPS, .seconds = 3600);
	S3_TALK(&talk, 403, "RequestTimeTooSkewed", "GET", "/box/k");
	S3_TALK(&talk, 403, "RequestTimeTooSkewed", "GET", "/box/k");
	talk.behind_s = -3600;
	S3_TALK(&talk, 200, "", "GET", "/box/k");
	s3_talk_close(&talk);
}

#define EXPECT .unsigned_fields = "expect: 100-continue\r\n"

TEST(expect_is_answered_at_once_late_or_never)
{
	static const char hundred[] = "HTTP/1.1 100 Continue\r\n\r\n";

	(void)begin();
	S3_TALK(&talk, 200, "", "PUT", "/box/k", .body = "x", EXPECT);
	CHECK(strncmp(talk.said.at, hundred, strlen(hundred)) == 0);
	CHECK_EQ(talk.waited_ms, 0);
	FAULT(.accident = S3_MODEL_CONTINUES_LATE, .wait_ms = 1500);
	S3_TALK(&talk, 200, "", "PUT", "/box/k", .body = "x", EXPECT);
	CHECK_EQ(talk.waited_ms, 1500);
	FAULT(.accident = S3_MODEL_CONTINUES_NEVER);
	S3_TALK(&talk, 200, "", "PUT", "/box/k", .body = "x", EXPECT);
	CHECK(strstr(talk.said.at, "100 Continue") == NULL);
	/* Who may not is told before the body, and the connection ends. */
	talk.token = "none";
	S3_TALK(&talk, 400, "InvalidToken", "PUT", "/box/k", .body = "x", EXPECT);
	CHECK(strstr(talk.said.at, "100 Continue") == NULL);
	CHECK_EQ(talk.ended, S3_MODEL_CLOSE);
	s3_talk_close(&talk);
}

TEST(connections_are_kept_until_they_are_full)
{
	(void)begin();
	talk.model->requests_max = 3;
	for (unsigned i = 1; i <= 6; i++) {
		CHECK_EQ(put_one(), i == 1 ? 200 : 412);
		CHECK_EQ(talk.ended, i % 3 ? S3_MODEL_IDLE : S3_MODEL_CLOSE);
	}
	s3_talk_close(&talk);
}

TEST(the_same_seed_gives_the_same_accidents)
{
	char story[2][200];

	for (unsigned run = 0; run < 2; run++) {
		(void)begin();
		s3_model_add_fault(talk.model, &(struct s3_model_fault){ .accident = S3_MODEL_DICE,
									 .count = 1000,
									 .one_in = 2 });
		for (unsigned i = 0, n = 0; i < 40; i++) {
			(void)s3_talk_ask(&talk, &(struct s3_talk_request){ .method = "PUT",
									    .path = "/box/k",
									    .body = "x" });
			n += (unsigned)snprintf(story[run] + n, sizeof story[run] - n, "%u,",
						talk.status);
		}
		CHECK(talk.model->counts.faults > 10 && talk.model->counts.faults < 30);
		s3_talk_close(&talk);
	}
	CHECK_TEXT(story[0], story[1]);
}
