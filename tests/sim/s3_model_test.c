/* The S3 stand-in is strict: signatures are those that AWS publishes, and what AWS documents to be
 * refused is refused: who asks, when, where, and with which body. Objects are
 * s3_model_object_test.c, uploads and accidents s3_model_upload_test.c. */
#include <stdio.h>

#include "tests/sim/s3_model_state.h"
#include "tests/sim/s3_talk.h"
#include "tests/test.h"

#define EMPTY_HASH "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define CREDENTIAL                                                                                 \
	"authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/"   \
	"aws4_request,"

static struct s3_talk talk;

static struct s3_model_bucket *begin(void)
{
	talk = (struct s3_talk){ 0 };
	s3_talk_open(&talk);
	return &talk.model->buckets[0];
}

static void check_says(const char *request, unsigned status, const char *code)
{
	char got[80];

	s3_talk_say(&talk, request, strlen(request));
	(void)s3_talk_element(&talk, "Code", got, sizeof got);
	CHECK_EQ(talk.status, status);
	CHECK_TEXT(got, code);
}

/* ---- the examples of Amazon S3's API Reference, key AKIAIOSFODNN7EXAMPLE ---- */

static void begin_examples(void)
{
	(void)begin();
	(void)s3_model_plant(talk.model,
			     s3_model_add_bucket(talk.model, "examplebucket", "us-east-1"),
			     "test.txt", "0123456789abc", 13, S3_TALK_NOW);
}

#define EXAMPLE_GET(signature)                                                                     \
	"GET /test.txt HTTP/1.1\r\nHost: examplebucket.s3.amazonaws.com\r\nRange: bytes=0-9\r\n"   \
	"x-amz-content-sha256: " EMPTY_HASH "\r\nx-amz-date: 20130524T000000Z\r\n" CREDENTIAL      \
	"SignedHeaders=host;range;x-amz-content-sha256;x-amz-date,Signature=" signature "\r\n\r\n"
#define EXAMPLE_GET_SIGNATURE "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"

TEST(published_get_is_accepted_at_every_split_and_no_other_signature)
{
	static const char request[] = EXAMPLE_GET(EXAMPLE_GET_SIGNATURE);

	begin_examples();
	for (talk.piece = 1; talk.piece < sizeof request; talk.piece++) {
		check_says(request, 206, "");
		CHECK_TEXT(talk.body.at, "0123456789");
	}
	check_says(EXAMPLE_GET("f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb42"),
		   403, "SignatureDoesNotMatch");
	s3_talk_close(&talk);
}

TEST(published_put_lifecycle_and_list_are_accepted)
{
	begin_examples();
	check_says("PUT /test%24file.text HTTP/1.1\r\nHost: examplebucket.s3.amazonaws.com\r\n"
		   "Date: Fri, 24 May 2013 00:00:00 GMT\r\nx-amz-date: 20130524T000000Z\r\n"
		   "x-amz-storage-class: REDUCED_REDUNDANCY\r\nContent-Length: 21\r\n"
		   "x-amz-content-sha256: "
		   "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072\r\n" CREDENTIAL
		   "SignedHeaders=date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class,"
		   "Signature=98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"
		   "\r\n\r\nWelcome to Amazon S3.",
		   200, "");
	CHECK(s3_model_object_of(&talk.model->buckets[1], "test$file.text") != NULL);
	/* Signed right, and not known: so the signature was accepted. */
	check_says("GET /?lifecycle HTTP/1.1\r\nHost: examplebucket.s3.amazonaws.com\r\n"
		   "x-amz-date: 20130524T000000Z\r\nx-amz-content-sha256: " EMPTY_HASH
		   "\r\n" CREDENTIAL "SignedHeaders=host;x-amz-content-sha256;x-amz-date,"
		   "Signature=fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"
		   "\r\n\r\n",
		   501, "NotImplemented");
	check_says("GET /?max-keys=2&prefix=J HTTP/1.1\r\nHost: examplebucket.s3.amazonaws.com\r\n"
		   "x-amz-date: 20130524T000000Z\r\nx-amz-content-sha256: " EMPTY_HASH
		   "\r\n" CREDENTIAL "SignedHeaders=host;x-amz-content-sha256;x-amz-date,"
		   "Signature=34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"
		   "\r\n\r\n",
		   501, "NotImplemented");
	s3_talk_close(&talk);
}

#define PRESIGNED(path)                                                                            \
	"GET " path "?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F"   \
	"20130524%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20130524T000000Z&X-Amz-Expires="      \
	"86400&X-Amz-SignedHeaders=host&X-Amz-Signature="                                          \
	"aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404 HTTP/1.1\r\n"            \
	"Host: examplebucket.s3.amazonaws.com\r\n\r\n"

TEST(published_presigned_get_is_accepted_for_a_day)
{
	begin_examples();
	check_says(PRESIGNED("/test.txt"), 200, "");
	check_says(PRESIGNED("/test2.txt"), 403, "SignatureDoesNotMatch");
	talk.now_s += 86400;
	check_says(PRESIGNED("/test.txt"), 200, "");
	talk.now_s++;
	check_says(PRESIGNED("/test.txt"), 403, "AccessDenied");
	s3_talk_close(&talk);
}

/* 66,560 times 'a' in chunks of 64 KiB, 1 KiB and nothing, as published. */
static void add_chunk(struct buffer *to, const char *head, size_t n)
{
	buffer_add_text(to, head);
	buffer_add_text(to, "\r\n");
	for (size_t i = 0; i < n; i++)
		buffer_add_text(to, "a");
	if (n)
		buffer_add_text(to, "\r\n");
}

static void write_stream(struct buffer *to, bool with_trailer, const char *change)
{
	buffer_addf(to,
		    "PUT /examplebucket/chunkObject.txt HTTP/1.1\r\nHost: s3.amazonaws.com\r\n"
		    "x-amz-date: 20130524T000000Z\r\nx-amz-storage-class: REDUCED_REDUNDANCY\r\n"
		    "Content-Encoding: aws-chunked\r\nx-amz-decoded-content-length: 66560\r\n"
		    "Content-Length: %u\r\nx-amz-content-sha256: "
		    "STREAMING-AWS4-HMAC-SHA256-PAYLOAD%s\r\n",
		    with_trailer ? 66946 : 66824, with_trailer ? "-TRAILER" : "");
	buffer_addf(to,
		    CREDENTIAL "SignedHeaders=content-encoding;%shost;x-amz-content-sha256;"
			       "x-amz-date;x-amz-decoded-content-length;x-amz-storage-class%s,",
		    with_trailer ? "" : "content-length;", with_trailer ? ";x-amz-trailer" : "");
	buffer_add_text(to, with_trailer
				    ? "Signature=106e2a8a18243abcf37539882f36619c00e2dfc72633413"
				      "f02d3b74544bfeb8e\r\nx-amz-trailer: x-amz-checksum-crc32c"
				      "\r\n\r\n"
				    : "Signature=4f232c4386841ef735655705268965c44a0e4690baa4ad"
				      "ea153f7db9fa80a0a9\r\n\r\n");
	add_chunk(to,
		  with_trailer
			  ? "10000;chunk-signature=b474d8862b1487a5145d686f57f013e54db672cee1c9"
			    "53b3010fb58501ef5aa2"
			  : "10000;chunk-signature=ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307"
			    "b0ade35a65485a288648",
		  65536);
	add_chunk(to,
		  with_trailer
			  ? "400;chunk-signature=1c1344b170168f8e65b41376b44b20fe354e373826ccbb"
			    "e2c1d40a8cae51e5c7"
			  : "400;chunk-signature=0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b"
			    "7d234b86a503ef5497",
		  1024);
	add_chunk(to,
		  with_trailer
			  ? "0;chunk-signature=2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e"
			    "65d5c9f85863f992\r\nx-amz-checksum-crc32c:sOO8/Q==\r\n"
			    "x-amz-trailer-signature:d81f82fc3505edab99d459891051a732e8730629a2"
			    "e4a59689829ca17fe2e435\r\n"
			  : "0;chunk-signature=b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ce"
			    "b9323e279d449df9\r\n",
		  0);
	if (change) {
		char *at = memmem(to->at, to->bytes, change, strlen(change));

		must(at);
		at += strlen(change) - 1;
		*at = *at == 'b' ? 'c' : 'b';
	}
}

static void check_stream(bool with_trailer, const char *change, const char *code)
{
	struct buffer request = { 0 };

	write_stream(&request, with_trailer, change);
	check_says(request.at, code[0] ? 403 : 200, code);
	buffer_free(&request);
}

TEST(published_signed_streams_are_accepted_and_every_change_is_seen)
{
	begin_examples();
	check_stream(false, NULL, "");
	CHECK_EQ(s3_model_object_of(&talk.model->buckets[1], "chunkObject.txt")->length, 66560);
	check_stream(true, NULL, "");
	CHECK_TEXT(s3_model_object_of(&talk.model->buckets[1], "chunkObject.txt")->checksum.text,
		   "sOO8/Q==");
	check_stream(false, "\r\naaaa", "SignatureDoesNotMatch");
	check_stream(false, "10000;chunk-signature=a", "SignatureDoesNotMatch");
	check_stream(false, "\r\n0;chunk-signature=b", "SignatureDoesNotMatch");
	check_stream(true, "crc32c:s", "SignatureDoesNotMatch");
	check_stream(true, "trailer-signature:d", "SignatureDoesNotMatch");
	s3_talk_close(&talk);
}

/* ---- checksums as published: CRC catalogue, FIPS 180, RFC 1321 ---- */

TEST(checksums_are_those_of_the_standards)
{
	static const char *const right[S3_MODEL_ALGORITHMS] = {
		[S3_MODEL_CRC64NVME] = "rosUhgp5mIg=",
		[S3_MODEL_CRC32C] = "4waSgw==",
		[S3_MODEL_CRC32] = "y/Q5Jg==",
		[S3_MODEL_SHA1] = "98O8HYCOBHMq32eZZczDTKeuNEE=",
		[S3_MODEL_SHA256] = "FeKw08M4keuw8e9gnsQZQgwg4yDOlMZfvIwzEkSOsiU=",
		[S3_MODEL_MD5] = "JfnnlDI7RTiF9RgfG2JNCw==",
	};
	struct s3_model_checksum checksum;

	for (unsigned i = 1; i < S3_MODEL_ALGORITHMS; i++) {
		if (!right[i])
			continue;
		s3_model_checksum(&checksum, (enum s3_model_algorithm)i, "123456789", 9);
		CHECK_TEXT(checksum.text, right[i]);
	}
}

/* ---- who asks ---- */

TEST(clock_region_key_and_token_are_checked)
{
	struct s3_model_user *user;
	char text[80];

	(void)begin();
	talk.behind_s = 15 * 60;
	S3_TALK(&talk, 200, "", "GET", "/box", .query = "list-type=2");
	talk.behind_s++;
	S3_TALK(&talk, 403, "RequestTimeTooSkewed", "GET", "/box", .query = "list-type=2");
	CHECK(s3_talk_element(&talk, "ServerTime", text, sizeof text));
	CHECK_TEXT(text, "2013-05-24T00:00:00.000Z");
	talk.behind_s = -15 * 60 - 1;
	S3_TALK(&talk, 403, "RequestTimeTooSkewed", "GET", "/box", .query = "list-type=2");
	talk.behind_s = 0;
	talk.region = "eu-west-1";
	S3_TALK(&talk, 400, "AuthorizationHeaderMalformed", "GET", "/box", .query = "list-type=2");
	CHECK(s3_talk_element(&talk, "Region", text, sizeof text));
	CHECK_TEXT(text, "us-east-1");
	talk.region = "us-east-1";
	talk.key = "AKIANOBODY";
	S3_TALK(&talk, 403, "InvalidAccessKeyId", "GET", "/box", .query = "list-type=2");
	user = s3_model_add_user(talk.model, "ASIASESSION", talk.secret, "the-token");
	talk.key = "ASIASESSION";
	S3_TALK(&talk, 403, "InvalidAccessKeyId", "GET", "/box", .query = "list-type=2");
	talk.token = "another";
	S3_TALK(&talk, 400, "InvalidToken", "GET", "/box", .query = "list-type=2");
	talk.token = "the-token";
	S3_TALK(&talk, 200, "", "GET", "/box", .query = "list-type=2");
	user->expires_s = S3_TALK_NOW;
	S3_TALK(&talk, 400, "ExpiredToken", "GET", "/box", .query = "list-type=2");
	user->revoked = true;
	S3_TALK(&talk, 403, "InvalidAccessKeyId", "GET", "/box", .query = "list-type=2");
	CHECK_EQ(talk.model->counts.forbidden, 8);
	s3_talk_close(&talk);
}

TEST(what_is_not_signed_is_refused)
{
	(void)begin();
	S3_TALK(&talk, 403, "AccessDenied", "PUT", "/box/k", .body = "x",
		.unsigned_fields = "x-amz-storage-class: STANDARD\r\n");
	S3_TALK(&talk, 403, "AccessDenied", "PUT", "/box/k", .body = "x",
		.unsigned_fields = "content-type: text/plain\r\n");
	S3_TALK(&talk, 200, "", "PUT", "/box/k", .body = "x",
		.unsigned_fields = "user-agent: x\r\n");
	check_says("GET /box/k HTTP/1.1\r\nHost: s3.amazonaws.com\r\n\r\n", 403, "AccessDenied");
	check_says(
		"GET /box/k HTTP/1.1\r\nHost: s3.amazonaws.com\r\nx-amz-date: 20130524T000000Z\r\n"
		"x-amz-content-sha256: " EMPTY_HASH "\r\n" CREDENTIAL
		"SignedHeaders=x-amz-date;host,Signature=00\r\n\r\n",
		400, "AuthorizationHeaderMalformed");
	check_says(
		"GET /box/k HTTP/1.1\r\nHost: s3.amazonaws.com\r\nx-amz-date: 20130523T235959Z\r\n"
		"x-amz-content-sha256: " EMPTY_HASH "\r\n" CREDENTIAL
		"SignedHeaders=host;x-amz-date,Signature=00\r\n\r\n",
		400, "AuthorizationHeaderMalformed");
	s3_talk_close(&talk);
}

TEST(actions_that_are_denied_name_action_and_resource)
{
	char text[400];

	(void)begin();
	talk.model->users[0].denied[0] = "s3:PutObject";
	S3_TALK(&talk, 403, "AccessDenied", "PUT", "/box/some/key", .body = "x");
	CHECK(s3_talk_element(&talk, "Message", text, sizeof text));
	CHECK(strstr(text, "s3:PutObject on resource: \"arn:aws:s3:::box/some/key\""));
	talk.model->users[0].denied[0] = "s3:ListBucket";
	S3_TALK(&talk, 403, "AccessDenied", "GET", "/box/missing");
	talk.model->users[0].denied[0] = NULL;
	S3_TALK(&talk, 404, "NoSuchKey", "GET", "/box/missing");
	talk.model->read_only = true;
	S3_TALK(&talk, 403, "AccessDenied", "PUT", "/box/k", .body = "x");
	talk.model->read_only = false;
	talk.model->quota_bytes = 2;
	S3_TALK(&talk, 403, "QuotaExceeded", "PUT", "/box/k", .body = "xyz");
	s3_talk_close(&talk);
}

TEST(buckets_of_others_and_elsewhere_are_refused)
{
	char text[80];

	(void)begin();
	(void)s3_model_add_bucket(talk.model, "far", "eu-central-1");
	S3_TALK(&talk, 404, "NoSuchBucket", "GET", "/none", .query = "list-type=2");
	S3_TALK(&talk, 301, "PermanentRedirect", "GET", "/far", .query = "list-type=2");
	CHECK(s3_talk_field(&talk, "x-amz-bucket-region", text, sizeof text));
	CHECK_TEXT(text, "eu-central-1");
	S3_TALK(&talk, 403, "AccessDenied", "PUT", "/box/k",
		.fields = "x-amz-expected-bucket-owner: 999999999999\n");
	S3_TALK(&talk, 200, "", "PUT", "/box/k",
		.fields = "x-amz-expected-bucket-owner: 111122223333\n");
	talk.host = "box.s3.amazonaws.com";
	S3_TALK(&talk, 200, "", "GET", "/k");
	talk.host = "elsewhere.example";
	S3_TALK(&talk, 400, "InvalidRequest", "GET", "/k");
	s3_talk_close(&talk);
}

/* ---- the body ---- */

TEST(hash_length_and_framing_are_checked)
{
	(void)begin();
	S3_TALK(&talk, 400, "XAmzContentSHA256Mismatch", "PUT", "/box/k", .body = "x",
		.payload = EMPTY_HASH);
	S3_TALK(&talk, 200, "", "PUT", "/box/k", .body = "x", .payload = "UNSIGNED-PAYLOAD");
	S3_TALK(&talk, 400, "InvalidArgument", "PUT", "/box/k", .body = "x", .payload = "NONSENSE");
	S3_TALK(&talk, 411, "MissingContentLength", "PUT", "/box/k", .without_length = true);
	CHECK_EQ(talk.ended, S3_MODEL_CLOSE);
	S3_TALK(&talk, 501, "NotImplemented", "PUT", "/box/k", .without_length = true,
		.unsigned_fields = "transfer-encoding: chunked\r\n");
	S3_TALK(&talk, 400, "BadRequest", "PUT", "/box/k",
		.unsigned_fields = "transfer-encoding: chunked\r\n");
	check_says("GET  / HTTP/1.1\r\nHost: s3.amazonaws.com\r\n\r\n", 400, "BadRequest");
	check_says("GET / HTTP/1.1\r\n\r\n", 400, "MissingHost");
	check_says("GET /%zz HTTP/1.1\r\nHost: s3.amazonaws.com\r\n\r\n", 400, "InvalidURI");
	s3_talk_close(&talk);
}

#define TRAILER_FIELDS	"x-amz-decoded-content-length: 9\nx-amz-trailer: x-amz-checksum-crc64nvme\n"
#define UNSIGNED_STREAM "STREAMING-UNSIGNED-PAYLOAD-TRAILER"

TEST(trailers_without_signature_are_checked_at_every_split)
{
	struct s3_talk_request ask = { .method = "PUT",
				       .path = "/box/k",
				       .payload = UNSIGNED_STREAM,
				       .fields = TRAILER_FIELDS,
				       .body = "9\r\n123456789\r\n0\r\n"
					       "x-amz-checksum-crc64nvme:rosUhgp5mIg=\r\n\r\n" };

	(void)begin();
	for (talk.piece = 1; talk.piece < 70; talk.piece++)
		CHECK_EQ(s3_talk_ask(&talk, &ask), 200);
	talk.piece = 0;
	/* The same inside of chunks of HTTP. */
	ask.without_length = true;
	ask.unsigned_fields = "transfer-encoding: chunked\r\n";
	ask.body = "10\r\n9\r\n123456789\r\n0\r\r\n"
		   "2a\r\n\nx-amz-checksum-crc64nvme:rosUhgp5mIg=\r\n\r\n\r\n0\r\n\r\n";
	for (talk.piece = 1; talk.piece < 90; talk.piece++)
		CHECK_EQ(s3_talk_ask(&talk, &ask), 200);
	talk.piece = 0;
	S3_TALK(&talk, 400, "BadDigest", "PUT", "/box/k", .payload = UNSIGNED_STREAM,
		.fields = TRAILER_FIELDS,
		.body = "9\r\n123456780\r\n0\r\nx-amz-checksum-crc64nvme:rosUhgp5mIg=\r\n\r\n");
	S3_TALK(&talk, 400, "MalformedTrailerError", "PUT", "/box/k", .payload = UNSIGNED_STREAM,
		.fields = TRAILER_FIELDS,
		.body = "9\r\n123456789\r\n0\r\nx-amz-checksum-crc32c:4waSgw==\r\n\r\n");
	S3_TALK(&talk, 403, "InvalidChunkSizeError", "PUT", "/box/k", .payload = UNSIGNED_STREAM,
		.fields = TRAILER_FIELDS,
		.body = "4\r\n1234\r\n5\r\n56789\r\n0\r\n"
			"x-amz-checksum-crc64nvme:rosUhgp5mIg=\r\n\r\n");
	S3_TALK(&talk, 400, "IncompleteBody", "PUT", "/box/k", .payload = UNSIGNED_STREAM,
		.fields = TRAILER_FIELDS,
		.body = "8\r\n12345678\r\n0\r\nx-amz-checksum-crc64nvme:rosUhgp5mIg=\r\n\r\n");
	s3_talk_close(&talk);
}

TEST(checksum_headers_are_checked_and_returned)
{
	char text[80];

	(void)begin();
	S3_TALK(&talk, 200, "", "PUT", "/box/k", .body = "123456789",
		.fields = "x-amz-checksum-crc64nvme: rosUhgp5mIg=\n"
			  "x-amz-sdk-checksum-algorithm: CRC64NVME\n");
	CHECK(s3_talk_field(&talk, "x-amz-checksum-crc64nvme", text, sizeof text));
	CHECK_TEXT(text, "rosUhgp5mIg=");
	CHECK(s3_talk_field(&talk, "x-amz-checksum-type", text, sizeof text));
	CHECK_TEXT(text, "FULL_OBJECT");
	S3_TALK(&talk, 200, "", "HEAD", "/box/k");
	CHECK(!s3_talk_field(&talk, "x-amz-checksum-crc64nvme", text, sizeof text));
	S3_TALK(&talk, 200, "", "HEAD", "/box/k", .fields = "x-amz-checksum-mode: ENABLED\n");
	CHECK(s3_talk_field(&talk, "x-amz-checksum-crc64nvme", text, sizeof text));
	S3_TALK(&talk, 400, "BadDigest", "PUT", "/box/k", .body = "123456780",
		.fields = "x-amz-checksum-crc64nvme: rosUhgp5mIg=\n");
	S3_TALK(&talk, 400, "BadDigest", "PUT", "/box/k", .body = "123456789",
		.fields = "x-amz-checksum-crc32c: 4waSgQ==\n");
	S3_TALK(&talk, 400, "InvalidRequest", "PUT", "/box/k", .body = "123456789",
		.fields = "x-amz-checksum-crc32c: rosUhgp5mIg=\n");
	S3_TALK(&talk, 400, "InvalidRequest", "PUT", "/box/k", .body = "x",
		.fields = "x-amz-sdk-checksum-algorithm: CRC64NVME\n");
	S3_TALK(&talk, 400, "InvalidRequest", "PUT", "/box/k", .body = "123456789",
		.fields = "x-amz-checksum-crc32c: 4waSgw==\nx-amz-checksum-crc64nvme: "
			  "rosUhgp5mIg=\n");
	S3_TALK(&talk, 400, "BadDigest", "PUT", "/box/k", .body = "123456789",
		.fields = "x-amz-checksum-crc32c: 4waSgw==\n"
			  "x-amz-sdk-checksum-algorithm: CRC64NVME\n");
	S3_TALK(&talk, 400, "BadDigest", "PUT", "/box/k", .body = "123456780",
		.fields = "content-md5: JfnnlDI7RTiF9RgfG2JNCw==\n");
	S3_TALK(&talk, 400, "InvalidDigest", "PUT", "/box/k", .body = "123456780",
		.fields = "content-md5: no\n");
	talk.model->lacks = S3_MODEL_LACKS_CRC64NVME;
	S3_TALK(&talk, 400, "InvalidRequest", "PUT", "/box/k", .body = "123456789",
		.fields = "x-amz-checksum-crc64nvme: rosUhgp5mIg=\n");
	s3_talk_close(&talk);
}
