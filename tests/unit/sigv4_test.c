/* Request signing against published signatures (tests/vec/sigv4), bodies in chunks as AWS documents
 * them, and what is refused. */
#include "crypto/sigv4.h"

#include <stdlib.h>

#include "crypto/digest.h"
#include "engine/mail.h"
#include "tests/test.h"

static struct text t(const char *string)
{
	return text_of(string);
}

/* ---- the files of vectors: tests/vec/sigv4/README.md ---- */

enum { LINES_MAX = 16 };

/* Texts lie in the file. Those a file says before its first case hold for all of them. */
struct vector {
	const char *name, *rules, *region, *service, *method, *path, *sent, *time, *id, *secret;
	const char *token, *hash, *body, *expires, *header, *query;
	struct sigv4_field fields[LINES_MAX];
	struct {
		const char *name;
		struct text value;
	} parameters[LINES_MAX];
	size_t fields_count, parameters_count;
	struct text host;
};

static void split(char *line, char mark, const char **name, struct text *value)
{
	char *end = strchr(line, mark);

	must(end);
	*end = '\0';
	*name = line;
	*value = t(end + 1);
}

static void take_line(struct vector *vector, char *line)
{
	const struct {
		const char *key, **value;
	} keys[] = {
		{ "case", &vector->name },     { "rules", &vector->rules },
		{ "region", &vector->region }, { "service", &vector->service },
		{ "method", &vector->method }, { "path", &vector->path },
		{ "sent", &vector->sent },     { "time", &vector->time },
		{ "id", &vector->id },	       { "secret", &vector->secret },
		{ "token", &vector->token },   { "hash", &vector->hash },
		{ "body", &vector->body },     { "expires", &vector->expires },
		{ "header", &vector->header }, { "query", &vector->query },
	};
	char *value = strchr(line, ' ');
	struct sigv4_field field;

	must(value);
	*value++ = '\0';
	for (size_t i = 0; i < ARRAY_COUNT(keys); i++)
		if (strcmp(line, keys[i].key) == 0) {
			*keys[i].value = value;
			return;
		}
	if (strcmp(line, "parameter") == 0) {
		must(vector->parameters_count < LINES_MAX);
		split(value, '=', &vector->parameters[vector->parameters_count].name,
		      &vector->parameters[vector->parameters_count].value);
		vector->parameters_count++;
		return;
	}
	must(strcmp(line, "field") == 0 && vector->fields_count < LINES_MAX);
	split(value, ':', &field.name, &field.value);
	if (strcmp(field.name, "Host") == 0)
		vector->host = field.value;
	else
		vector->fields[vector->fields_count++] = field;
}

static unsigned rules_of(const struct vector *vector)
{
	unsigned rules = strncmp(vector->rules, "s3", 2) == 0	    ? SIGV4_S3
			 : strncmp(vector->rules, "others", 6) == 0 ? SIGV4_OTHERS
								    : SIGV4_ENCODE_AGAIN;

	return rules | (strstr(vector->rules, " hash") ? SIGV4_HASH_FIELD : 0);
}

static void make_target(const struct vector *vector, struct buffer *target)
{
	if (vector->sent)
		buffer_add_text(target, vector->sent);
	else
		sigv4_add_path(target, t(vector->path));
	for (size_t i = 0; i < vector->parameters_count; i++)
		sigv4_add_parameter(target, vector->parameters[i].name,
				    vector->parameters[i].value);
}

static void check_signature(const struct vector *vector, const char *how, const char *got,
			    const char *expected)
{
	if (strcmp(got, expected) != 0)
		test_failed(__FILE__, __LINE__, "%s, %s: %s is not %s", vector->name, how, got,
			    expected);
}

static void check_presigned(struct sigv4 *sigv4, const struct vector *vector,
			    const struct sigv4_request *request,
			    const struct sigv4_credentials *credentials)
{
	struct buffer presigned = { 0 };
	const char *signature;

	CHECK_OK(sigv4_presign(sigv4, request, credentials,
			       (uint32_t)strtoul(vector->expires, NULL, 10), &presigned));
	REQUIRE(presigned.at && (signature = strstr(presigned.at, "&X-Amz-Signature=")));
	check_signature(vector, "in the query", signature + 17, vector->query);
	buffer_free(&presigned);
}

static void check_header(struct sigv4 *sigv4, const struct vector *vector,
			 const struct sigv4_request *request,
			 const struct sigv4_credentials *credentials)
{
	struct sigv4_signed signed_request;
	const char *end;

	CHECK_OK(sigv4_sign(sigv4, request, credentials, &signed_request));
	check_signature(vector, "in the header", signed_request.signature, vector->header);
	end = strstr(signed_request.authorization, ", Signature=");
	CHECK(end && strcmp(end + 12, vector->header) == 0);
}

static void check_vector(const struct vector *vector)
{
	struct buffer target = { 0 };
	char hash[SIGV4_HEX_BYTES];
	struct mail_date date;
	struct sigv4 *sigv4;
	struct sigv4_credentials credentials = { t(vector->id), t(vector->secret),
						 t(vector->token ? vector->token : "") };
	struct sigv4_request request = { .method = vector->method,
					 .host = vector->host,
					 .fields = vector->fields,
					 .fields_count = vector->fields_count };

	make_target(vector, &target);
	sigv4_hash(vector->body ? vector->body : "", vector->body ? strlen(vector->body) : 0, hash);
	must(mail_date_from_rfc3339(t(vector->time), &date));
	request.target = (struct text){ target.at, target.bytes };
	request.payload_hash = t(vector->hash ? vector->hash : hash);
	request.time_s = date.seconds;
	REQUIRE(CHECK_OK(sigv4_open(vector->region, vector->service, rules_of(vector), &sigv4)));
	if (vector->header)
		check_header(sigv4, vector, &request, &credentials);
	if (vector->query)
		check_presigned(sigv4, vector, &request, &credentials);
	sigv4_close(&sigv4);
	CHECK(sigv4 == NULL);
	buffer_free(&target);
}

static void read_file(const char *name, char *to, size_t room)
{
	char path[200];
	FILE *file;
	size_t bytes;

	snprintf(path, sizeof path, "tests/vec/sigv4/%s", name);
	must((file = fopen(path, "r")) != NULL);
	bytes = fread(to, 1, room - 1, file);
	must(bytes < room - 1);
	to[bytes] = '\0';
	fclose(file);
}

/* Blocks of lines with an empty one between them; the first has what holds for all. */
static void check_file(const char *name, unsigned expected_count)
{
	static char text[32 * 1024];
	struct vector common = { 0 }, vector;
	unsigned count = 0;
	char *line, *end;

	read_file(name, text, sizeof text);
	vector = common;
	for (line = text; *line; line = end + 1) {
		must((end = strchr(line, '\n')) != NULL);
		*end = '\0';
		if (end > line)
			take_line(&vector, line);
		if (end > line && end[1] != '\0')
			continue;
		if (vector.name) {
			check_vector(&vector);
			count++;
		} else {
			common = vector;
		}
		vector = common;
	}
	CHECK_EQ(count, expected_count);
}

TEST(the_suite_that_aws_publishes_is_signed_alike)
{
	check_file("suite.txt", 38);
}

TEST(the_examples_of_s3_are_signed_alike)
{
	check_file("s3.txt", 7);
}

TEST(what_botocore_signs_is_signed_alike)
{
	check_file("botocore.txt", 5);
}

/* ---- one request, varied ---- */

enum { MAY_2013 = 1369353600 };
static const struct sigv4_credentials example = {
	{ "AKIAIOSFODNN7EXAMPLE", 20 }, { "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", 40 }, { 0 }
};

static struct sigv4_request get_range(void)
{
	static const struct sigv4_field range = { "Range", { "bytes=0-9", 9 } };

	return (struct sigv4_request){ .method = "GET",
				       .host = t("examplebucket.s3.amazonaws.com"),
				       .target = t("/test.txt"),
				       .fields = &range,
				       .fields_count = 1,
				       .payload_hash = t(SIGV4_EMPTY_PAYLOAD),
				       .time_s = MAY_2013 };
}
static const char range_signature[] =
	"f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41";

static struct sigv4 *open_s3(void)
{
	struct sigv4 *sigv4;

	must(sigv4_open("us-east-1", "s3", SIGV4_S3, &sigv4) == OK);
	return sigv4;
}

TEST(the_fields_to_add_come_ready_to_be_sent)
{
	struct sigv4_request request = get_range();
	struct sigv4_credentials credentials = example;
	struct sigv4_signed out;
	struct sigv4 *sigv4 = open_s3();

	credentials.session_token = t("token/+==");
	CHECK_OK(sigv4_sign(sigv4, &request, &credentials, &out));
	CHECK_EQ(out.fields_count, 4);
	CHECK_TEXT(out.fields[0].name, "X-Amz-Date");
	CHECK(text_equal(out.fields[0].value, t("20130524T000000Z")));
	CHECK_TEXT(out.fields[1].name, "X-Amz-Content-Sha256");
	CHECK(text_equal(out.fields[1].value, t(SIGV4_EMPTY_PAYLOAD)));
	CHECK_TEXT(out.fields[2].name, "X-Amz-Security-Token");
	CHECK(text_equal(out.fields[2].value, t("token/+==")));
	CHECK_TEXT(out.fields[3].name, "Authorization");
	CHECK_OK(sigv4_sign(sigv4, &request, &example, &out));
	CHECK_EQ(out.fields_count, 3);
	CHECK(text_equal(
		out.fields[2].value,
		t("AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/"
		  "aws4_request, SignedHeaders=host;range;x-amz-content-sha256;x-amz-date, "
		  "Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb"
		  "41")));
	sigv4_close(&sigv4);
}

/* The key that is kept is that of one day and one secret. */
TEST(another_day_or_secret_has_another_key_and_the_first_comes_back)
{
	struct sigv4_request request = get_range();
	struct sigv4_credentials other = example;
	struct sigv4_signed out;
	struct sigv4 *sigv4 = open_s3(), *fresh = open_s3();
	char late[SIGV4_HEX_BYTES];

	other.secret = t("another");
	CHECK_OK(sigv4_sign(sigv4, &request, &example, &out));
	CHECK_TEXT(out.signature, range_signature);
	CHECK_OK(sigv4_sign(sigv4, &request, &other, &out));
	CHECK(strcmp(out.signature, range_signature) != 0);
	request.time_s += 24 * 3600;
	CHECK_OK(sigv4_sign(sigv4, &request, &example, &out));
	CHECK_OK(sigv4_sign(fresh, &request, &example, &out));
	snprintf(late, sizeof late, "%s", out.signature);
	CHECK_OK(sigv4_sign(sigv4, &request, &example, &out));
	CHECK_TEXT(out.signature, late);
	request.time_s -= 24 * 3600;
	CHECK_OK(sigv4_sign(sigv4, &request, &example, &out));
	CHECK_TEXT(out.signature, range_signature);
	sigv4_close(&fresh);
	sigv4_close(&sigv4);
}

/* "AWS4" and the secret are HMAC's key: of 64 bytes and of 65, which RFC 2104 hashes first. The
 * signatures are Python's hmac's. */
TEST(a_secret_may_be_longer_than_a_block)
{
	static const char many[] = "kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk";
	struct sigv4_request request = get_range();
	struct sigv4_credentials credentials = example;
	struct sigv4_signed out;
	struct sigv4 *sigv4 = open_s3();

	credentials.secret = (struct text){ many, 60 };
	CHECK_OK(sigv4_sign(sigv4, &request, &credentials, &out));
	CHECK_TEXT(out.signature,
		   "039741649a1a1443e772c8cba4caea62c726d9e329fe491a950ea31370fd6548");
	credentials.secret = (struct text){ many, 61 };
	CHECK_OK(sigv4_sign(sigv4, &request, &credentials, &out));
	CHECK_TEXT(out.signature,
		   "9fc5387fc01806c3aae611cb054e1108fd7eeb2b0bbff4a21ae8f7f998db00a7");
	sigv4_close(&sigv4);
}

TEST(a_presigned_target_is_whole)
{
	struct sigv4_request request = get_range();
	struct buffer out = { 0 }, small = { .bytes_max = 200 };
	struct sigv4 *sigv4 = open_s3();

	request.fields_count = 0;
	request.payload_hash = t(SIGV4_UNSIGNED_PAYLOAD);
	CHECK_OK(sigv4_presign(sigv4, &request, &example, 86400, &out));
	CHECK_TEXT(out.at, "/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential="
			   "AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request&"
			   "X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders="
			   "host&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d"
			   "157751f604d404");
	CHECK_ERR(sigv4_presign(sigv4, &request, &example, 86400, &small), ERR_MEMORY_EXHAUSTED);
	buffer_free(&small);
	buffer_free(&out);
	sigv4_close(&sigv4);
}

/* ---- what is refused ---- */

TEST(what_cannot_be_a_region_or_a_service_is_refused)
{
	static const char *const names[] = { "", "us east", "us/east", "\xc3\xbc", "a\n" };
	char long_name[SIGV4_NAME_BYTES_MAX + 2];
	struct sigv4 *sigv4;

	for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
		CHECK_ERR(sigv4_open(names[i], "s3", SIGV4_S3, &sigv4), ERR_INPUT_USAGE);
		CHECK_ERR(sigv4_open("us-east-1", names[i], SIGV4_S3, &sigv4), ERR_INPUT_USAGE);
		CHECK(sigv4 == NULL);
	}
	memset(long_name, 'a', sizeof long_name - 1);
	long_name[sizeof long_name - 1] = '\0';
	CHECK_ERR(sigv4_open(long_name, "s3", SIGV4_S3, &sigv4), ERR_INPUT_USAGE);
	long_name[sizeof long_name - 2] = '\0';
	CHECK_OK(sigv4_open(long_name, long_name, SIGV4_S3, &sigv4));
	sigv4_close(&sigv4);
	CHECK_OK(sigv4_open("My.own_region-1", "s3", SIGV4_S3, &sigv4));
	sigv4_close(&sigv4);
}

TEST(what_cannot_be_credentials_is_refused_and_not_shown)
{
	static char long_text[SIGV4_TOKEN_BYTES_MAX + 1];
	struct sigv4_request request = get_range();
	struct sigv4_signed out;
	struct sigv4 *sigv4 = open_s3();
	const struct sigv4_credentials bad[] = {
		{ t(""), example.secret, t("") },
		{ t("AK/IA"), example.secret, t("") },
		{ t("AKIA,x"), example.secret, t("") },
		{ example.access_key_id, t(""), t("") },
		{ example.access_key_id, t("hush hush"), t("") },
		{ example.access_key_id, t("hush\n"), t("") },
		{ example.access_key_id, example.secret, t("hush\r\nX: y") },
		{ { long_text, SIGV4_KEY_ID_BYTES_MAX + 1 }, example.secret, t("") },
		{ example.access_key_id, { long_text, SIGV4_SECRET_BYTES_MAX + 1 }, t("") },
		{ example.access_key_id, example.secret, { long_text, SIGV4_TOKEN_BYTES_MAX + 1 } },
	};
	const struct sigv4_credentials longest = { { long_text, SIGV4_KEY_ID_BYTES_MAX },
						   { long_text, SIGV4_SECRET_BYTES_MAX },
						   { long_text, SIGV4_TOKEN_BYTES_MAX } };

	memset(long_text, 'h', sizeof long_text);
	for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
		err_note_clear();
		CHECK_ERR(sigv4_sign(sigv4, &request, &bad[i], &out), ERR_INPUT_SECRET);
		CHECK(!strstr(err_note()->text, "hush") && !strstr(err_note()->text, "AK"));
	}
	CHECK_OK(sigv4_sign(sigv4, &request, &longest, &out));
	sigv4_close(&sigv4);
}

TEST(requests_beyond_the_bounds_are_refused_and_those_at_them_signed)
{
	static char name[SIGV4_NAMES_BYTES_MAX], value[SIGV4_CANONICAL_BYTES_MAX];
	struct sigv4_field fields[SIGV4_FIELDS_MAX];
	struct sigv4_request request = get_range();
	struct buffer target = { 0 };
	struct sigv4_signed out;
	struct sigv4 *sigv4 = open_s3();

	for (size_t i = 0; i < SIGV4_FIELDS_MAX; i++)
		fields[i] = (struct sigv4_field){ "x-amz-meta-a", t("b") };
	request.fields = fields;
	request.fields_count = SIGV4_FIELDS_MAX - 3; /* host, date, hash */
	CHECK_OK(sigv4_sign(sigv4, &request, &example, &out));
	request.fields_count++;
	CHECK_ERR(sigv4_sign(sigv4, &request, &example, &out), ERR_INPUT_USAGE);
	memset(name, 'x', sizeof name - 1);
	fields[0].name = name;
	request.fields_count = 1;
	CHECK_ERR(sigv4_sign(sigv4, &request, &example, &out), ERR_INPUT_USAGE);
	memset(value, 'x', sizeof value);
	fields[0] = (struct sigv4_field){ "x-amz-meta-a", { value, sizeof value } };
	CHECK_ERR(sigv4_sign(sigv4, &request, &example, &out), ERR_INPUT_USAGE);
	request.fields_count = 0;
	buffer_add_text(&target, "/");
	for (size_t i = 0; i <= SIGV4_PARAMETERS_MAX; i++) {
		request.target = (struct text){ target.at, target.bytes };
		CHECK_OK(sigv4_sign(sigv4, &request, &example, &out));
		sigv4_add_parameter(&target, "a", t("b"));
	}
	request.target = (struct text){ target.at, target.bytes };
	CHECK_ERR(sigv4_sign(sigv4, &request, &example, &out), ERR_INPUT_USAGE);
	request = get_range();
	request.time_s = 253402300799;
	CHECK_OK(sigv4_sign(sigv4, &request, &example, &out));
	CHECK_TEXT(out.date, "99991231T235959Z");
	request.time_s++;
	CHECK_ERR(sigv4_sign(sigv4, &request, &example, &out), ERR_INPUT_USAGE);
	buffer_free(&target);
	sigv4_close(&sigv4);
}

/* ---- targets ---- */

TEST(all_bytes_but_the_unreserved_are_encoded)
{
	struct buffer to = { 0 };

	sigv4_add_encoded(&to, (struct text){ "aZ09-._~/ +%\0\x7f\xc3\xbc=", 17 },
			  SIGV4_SLASH_ENCODED);
	CHECK_TEXT(to.at, "aZ09-._~%2F%20%2B%25%00%7F%C3%BC%3D");
	buffer_reset(&to);
	sigv4_add_path(&to, t("/a b/../?#"));
	CHECK_TEXT(to.at, "/a%20b/../%3F%23");
	sigv4_add_parameter(&to, "list-type", t("2"));
	sigv4_add_parameter(&to, "prefix", t("a/&=?"));
	sigv4_add_parameter(&to, "acl", (struct text){ 0 });
	CHECK_TEXT(to.at, "/a%20b/../%3F%23?list-type=2&prefix=a%2F%26%3D%3F&acl=");
	buffer_free(&to);
}

/* ---- bodies in chunks ---- */

static const struct sigv4_field checksum = { "x-amz-checksum-crc32c", { "sOO8/Q==", 8 } };
enum { BODY_BYTES = 66560, PIECE_BYTES = 65536 };

/* Signs what the example of AWS's documents starts with. */
static void begin_example(enum sigv4_streaming streaming, struct sigv4 **sigv4,
			  struct sigv4_chunks *chunks)
{
	struct sigv4_field fields[] = {
		{ "x-amz-storage-class", t("REDUCED_REDUNDANCY") },
		{ "Content-Encoding", t("aws-chunked") },
		{ "x-amz-decoded-content-length", t("66560") },
		{ "Content-Length", t("66824") },
	};
	struct sigv4_request request = { .method = "PUT",
					 .host = t("s3.amazonaws.com"),
					 .target = t("/examplebucket/chunkObject.txt"),
					 .fields = fields,
					 .fields_count = ARRAY_COUNT(fields),
					 .payload_hash = t(sigv4_streaming_hash(streaming)),
					 .time_s = MAY_2013 };
	struct sigv4_signed seed;

	if (streaming != SIGV4_CHUNKS_SIGNED)
		fields[3] = (struct sigv4_field){ "x-amz-trailer", t(checksum.name) };
	*sigv4 = open_s3();
	must(sigv4_sign(*sigv4, &request, &example, &seed) == OK);
	sigv4_chunks_begin(*sigv4, &seed, streaming, chunks);
	/* Others are signed meanwhile. */
	request.time_s += 24 * 3600;
	must(sigv4_sign(*sigv4, &request, &example, &seed) == OK);
}

/* Everything that is sent around the body; what it is together with it. */
static uint64_t send_example(struct sigv4_chunks *chunks, bool is_signed,
			     const struct sigv4_field *trailer, char *to, size_t room)
{
	static char body[BODY_BYTES];
	char head[SIGV4_CHUNK_HEAD_BYTES], end[SIGV4_CHUNKS_END_BYTES];
	uint64_t sent = 0;
	size_t at = 0;

	memset(body, 'a', sizeof body);
	for (size_t done = 0, bytes; done < BODY_BYTES; done += bytes) {
		struct digest digest;
		size_t head_bytes;

		bytes = min_u64(PIECE_BYTES, BODY_BYTES - done);
		must(digest_of(digest_type(t("sha-256")), body + done, bytes, &digest) == OK);
		head_bytes = sigv4_chunk_head(chunks, bytes, is_signed ? digest.bytes : NULL, head);
		CHECK_EQ(strlen(head), head_bytes);
		sent += head_bytes + bytes + 2;
		at += (size_t)snprintf(to + at, room - at, "%s", head);
	}
	sent += sigv4_chunks_end(chunks, trailer, end);
	snprintf(to + at, room - at, "%s", end);
	return sent;
}

TEST(chunks_are_signed_as_documented)
{
	struct sigv4_chunks chunks;
	struct sigv4 *sigv4;
	char sent[1000];

	begin_example(SIGV4_CHUNKS_SIGNED, &sigv4, &chunks);
	CHECK_EQ(send_example(&chunks, true, NULL, sent, sizeof sent), 66824);
	CHECK_EQ(sigv4_streamed_bytes(SIGV4_CHUNKS_SIGNED, BODY_BYTES, PIECE_BYTES, NULL), 66824);
	CHECK_TEXT(sent, "10000;chunk-signature="
			 "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648\r\n"
			 "400;chunk-signature="
			 "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497\r\n"
			 "0;chunk-signature="
			 "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9\r\n"
			 "\r\n");
	sigv4_chunks_wipe(&chunks);
	sigv4_close(&sigv4);
}

TEST(chunks_with_a_trailer_are_signed_as_documented)
{
	struct sigv4_chunks chunks;
	struct sigv4 *sigv4;
	char sent[1000];

	begin_example(SIGV4_CHUNKS_SIGNED_TRAILER, &sigv4, &chunks);
	CHECK_EQ(send_example(&chunks, true, &checksum, sent, sizeof sent),
		 sigv4_streamed_bytes(SIGV4_CHUNKS_SIGNED_TRAILER, BODY_BYTES, PIECE_BYTES,
				      &checksum));
	CHECK_TEXT(sent, "10000;chunk-signature="
			 "b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2\r\n"
			 "400;chunk-signature="
			 "1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7\r\n"
			 "0;chunk-signature="
			 "2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992\r\n"
			 "x-amz-checksum-crc32c:sOO8/Q==\r\n"
			 "x-amz-trailer-signature:"
			 "d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435\r\n"
			 "\r\n");
	sigv4_chunks_wipe(&chunks);
	sigv4_close(&sigv4);
}

TEST(chunks_that_are_not_signed_have_a_trailer_too)
{
	struct sigv4_chunks chunks;
	struct sigv4 *sigv4;
	char sent[1000];

	begin_example(SIGV4_CHUNKS_UNSIGNED_TRAILER, &sigv4, &chunks);
	CHECK_EQ(send_example(&chunks, false, &checksum, sent, sizeof sent),
		 sigv4_streamed_bytes(SIGV4_CHUNKS_UNSIGNED_TRAILER, BODY_BYTES, PIECE_BYTES,
				      &checksum));
	CHECK_TEXT(sent, "10000\r\n400\r\n0\r\nx-amz-checksum-crc32c:sOO8/Q==\r\n\r\n");
	sigv4_chunks_wipe(&chunks);
	sigv4_close(&sigv4);
}

TEST(the_longest_trailer_fits)
{
	char name[SIGV4_TRAILER_BYTES_MAX], end[SIGV4_CHUNKS_END_BYTES];
	struct sigv4_field trailer = { name, t("x") };
	struct sigv4_chunks chunks;
	struct sigv4 *sigv4;

	memset(name, 'n', sizeof name - 1);
	name[sizeof name - 1] = '\0';
	begin_example(SIGV4_CHUNKS_SIGNED_TRAILER, &sigv4, &chunks);
	CHECK_EQ(sigv4_chunks_end(&chunks, &trailer, end), strlen(end));
	CHECK_EQ(strlen(end),
		 sigv4_streamed_bytes(SIGV4_CHUNKS_SIGNED_TRAILER, 0, PIECE_BYTES, &trailer));
	sigv4_close(&sigv4);
}

/* ---- the clock ---- */

TEST(the_servers_date_gives_the_offset_of_the_clock)
{
	int64_t offset = 7;

	CHECK(sigv4_clock_offset(t("Sun, 06 Nov 1994 08:49:37 GMT"), 784111777, &offset));
	CHECK_EQ(offset, 0);
	CHECK(sigv4_clock_offset(t("Sun, 06 Nov 1994 08:49:37 GMT"), 784111000, &offset));
	CHECK_EQ(offset, 777);
	CHECK(sigv4_clock_offset(t("Tue, 29 Feb 2028 23:59:60 GMT"), 1835481601, &offset));
	CHECK_EQ(offset, -1);
}

TEST(what_is_no_date_gives_no_offset)
{
	static const char *const dates[] = {
		"",
		"Sunday, 06-Nov-94 08:49:37 GMT",
		"Sun Nov  6 08:49:37 1994",
		"Sun, 06 Nov 1994 08:49:37 +00",
		"Sun, 06 Nov 1994 08:49:37 GMT ",
		" Sun, 06 Nov 1994 08:49:37 GM",
		"Sun, 31 Nov 1994 08:49:37 GMT",
		"Sun, 29 Feb 2100 08:49:37 GMT",
		"Sun, 06 Nov 0000 08:49:37 GMT",
		"Sun, 06 Nov 1994 24:00:00 GMT",
		"Sun, 06-Nov-1994 08:49:37 GMT",
		"Sun, 06 Now 1994 08:49:37 GMT",
		"Sun, -6 Nov 1994 08:49:37 GMT",
	};
	int64_t offset = 7;

	for (size_t i = 0; i < ARRAY_COUNT(dates); i++)
		if (sigv4_clock_offset(t(dates[i]), 0, &offset))
			test_failed(__FILE__, __LINE__, "\"%s\" is taken for a date", dates[i]);
	CHECK(!sigv4_clock_offset((struct text){ "Sun, 06 Nov 1994 08:49:3\0 GMT", 29 }, 0,
				  &offset));
	CHECK(!sigv4_clock_offset(t("Sun, 06 Nov 1994 08:49:37 GMT"), INT64_MIN, &offset));
	CHECK_EQ(offset, 7);
}
