/* S3's calls against a script: uploads in parts, reading, lists, and how a bucket is set up.
 *
 *	build/gcc/tests/sim/s3_read_test NAME */
#include "tests/sim/s3_script.h"

#define XML(body) "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n" body

static nsec soon(void)
{
	return clock_after(S3_PATIENCE);
}

/* ---- uploads ---- */

static struct s3_stored stored;
static char upload_id[S3_UPLOAD_ID_BYTES_MAX + 1];

static enum err begin(void *argument)
{
	struct script *script = argument;

	static const struct s3_metadata metadata = { "x-amz-meta-mailhaul-no", "17" };

	return s3_upload_begin(
		script->s3,
		&(struct s3_begin){ .key = "pack", .metadata = &metadata, .metadata_count = 1 },
		soon(), upload_id);
}

#define BEGUN                                                                                      \
	S3_ANSWER("200 OK", "",                                                                    \
		  XML("<InitiateMultipartUploadResult><Bucket>bucket</Bucket><Key>pack</Key>"      \
		      "<UploadId>VXBs+b2Fk/</UploadId></InitiateMultipartUploadResult>"))

TEST(an_upload_is_begun_for_a_checksum_of_the_whole)
{
	struct script script = { .client = begin,
				 .config = { .storage_class = "STANDARD_IA",
					     .encryption = "AES256",
					     .lock_mode = "GOVERNANCE",
					     .retain_until = "2030-01-31T00:00:00Z" },
				 .exchanges = {
					 { .hears = { "POST /bucket/pack?uploads= HTTP/1.1",
						      "x-amz-checksum-algorithm: CRC64NVME\r\n",
						      "x-amz-checksum-type: FULL_OBJECT\r\n",
						      "x-amz-meta-mailhaul-no: 17\r\n",
						      "x-amz-storage-class: STANDARD_IA\r\n",
						      "x-amz-server-side-encryption: AES256",
						      "x-amz-object-lock-mode: GOVERNANCE" },
					   .says = BEGUN } } };

	CHECK_OK(script_run(&script));
	CHECK_TEXT(upload_id, "VXBs+b2Fk/");
}

static uint8_t large[2 * 1024 * 1024];

static enum err send_part(void *argument)
{
	struct script *script = argument;
	const struct text pieces[] = { { (const char *)large, 1000000 },
				       { (const char *)large + 1000000, sizeof large - 1000000 } };
	const struct s3_part_put part = { .key = "pack",
					  .upload_id = "VXBs+b2Fk/",
					  .number = 7,
					  .pieces = pieces,
					  .pieces_count = 2,
					  .crc = crc_update(CRC64NVME, 0, large, sizeof large) };

	return s3_upload_part(script->s3, &part, soon(), &stored);
}

TEST(a_part_is_sent_when_the_service_wants_it)
{
	struct script script = {
		.client = send_part,
		.exchanges = { { .hears = { "PUT "
					    "/bucket/pack?partNumber=7&uploadId=VXBs%2Bb2Fk%2F ",
					    "Expect: 100-continue\r\n",
					    "x-amz-checksum-crc64nvme: ",
					    "X-Amz-Content-Sha256: UNSIGNED-PAYLOAD" },
				 .hears_not = "if-none-match",
				 .says = S3_ERROR("404 Not Found", "NoSuchUpload", "") } }
	};

	CHECK_ERR(script_run(&script), ERR_S3_ABSENT);
	check_script_says("UploadPart of pack in bucket bucket: S3 answers 404 NoSuchUpload");
	CHECK_EQ(script.last.bytes_sent, sizeof large);
}

static enum err complete(void *argument)
{
	static const struct s3_part_sent parts[] = {
		{ .number = 1, .crc = 0xAE8B14860A799888, .etag = "\"e1\"" },
		{ .number = 3, .crc = 0, .etag = "e3" },
	};
	struct script *script = argument;
	const struct s3_complete wanted = { .key = "pack",
					    .upload_id = "U",
					    .parts = parts,
					    .parts_count = 2,
					    .crc = 0x8d29d5c3f6ea8ebe,
					    .bytes = 11,
					    .only_if_absent = true };

	return s3_upload_complete(script->s3, &wanted, soon(), &stored);
}

#define COMPLETED(checksum)                                                                        \
	S3_ANSWER("200 OK", "x-amz-version-id: v2\r\n",                                            \
		  "\n  \n" XML("<CompleteMultipartUploadResult><Location>x</Location>"             \
			       "<ETag>\"abc-2\"</ETag>" checksum                                   \
			       "</CompleteMultipartUploadResult>"))
#define SUM(base64) "<ChecksumCRC64NVME>" base64 "</ChecksumCRC64NVME>"
#define FAILED_LATE(code)                                                                          \
	S3_ANSWER("200 OK", "",                                                                    \
		  "    " XML("<Error><Code>" code "</Code><Message>m</Message></Error>"))

TEST(an_upload_is_completed_under_a_condition_and_proven_by_its_checksum)
{
	struct script script = {
		.client = complete,
		.exchanges = { { .hears = { "POST /bucket/pack?uploadId=U HTTP/1.1\r\n",
					    "if-none-match: *\r\n",
					    "x-amz-checksum-crc64nvme: jSnVw/bqjr4=\r\n",
					    "x-amz-checksum-type: FULL_OBJECT\r\n",
					    "x-amz-mp-object-size: 11\r\n", "<PartNumber>3<",
					    "<ChecksumCRC64NVME>rosUhgp5mIg=<", "e1" },
				 .hears_not = "UNSIGNED-PAYLOAD",
				 .says = COMPLETED(SUM("jSnVw/bqjr4=")) } }
	};

	CHECK_OK(script_run(&script));
	CHECK_EQ(stored.proof, S3_PROOF_CHECKSUM);
	CHECK_TEXT(stored.etag, "\"abc-2\"");
	CHECK_TEXT(stored.version_id, "v2");
}

static void check_completed(const char *says, enum err expected, enum s3_proof proof)
{
	struct script script = { .client = complete, .exchanges = { { .says = says } } };

	CHECK_ERR(script_run(&script), expected);
	CHECK_EQ(stored.proof, proof);
	check_played(&script, 1);
}

TEST(what_a_completed_upload_proves)
{
	check_completed(COMPLETED(""), OK, S3_PROOF_NONE);
	check_completed(COMPLETED(SUM("jSnVw/bqjr4=-2")), OK, S3_PROOF_NONE);
	check_completed(COMPLETED(SUM("AAAAAAAAAAA=")), ERR_S3_CHECKSUM, S3_PROOF_NONE);
	check_completed(FAILED_LATE("InvalidPart"), ERR_S3_UNAVAILABLE, S3_PROOF_NONE);
	check_completed(FAILED_LATE("AccessDenied"), ERR_S3_DENIED, S3_PROOF_NONE);
}

TEST(a_200_that_carries_an_error_is_an_error_and_may_be_repeated)
{
	struct script script = {
		.client = complete,
		.exchanges = { { .says = FAILED_LATE("InternalError") },
			       { .says = COMPLETED(SUM("jSnVw/bqjr4=")), .cuts = 5 },
			       { .says = S3_ERROR("404 Not Found", "NoSuchUpload", "") } }
	};

	CHECK_ERR(script_run(&script), ERR_S3_ABSENT);
	check_played(&script, 3);
	CHECK(stored.maybe_ours);
	CHECK_EQ(script.records, 3);
}

static enum err abort_it(void *argument)
{
	struct script *script = argument;

	return s3_upload_abort(script->s3, "pack", "U", soon());
}

TEST(an_upload_is_aborted)
{
	struct script script = {
		.client = abort_it,
		.exchanges = { { .hears = { "DELETE /bucket/pack?uploadId=U HTTP/1.1",
					    "X-Amz-Content-Sha256: " SIGV4_EMPTY_PAYLOAD "\r\n" },
				 .says = "HTTP/1.1 204 No Content\r\nContent-Length: "
					 "0\r\n\r\n" } }
	};

	CHECK_OK(script_run(&script));
}

static enum err delete_it(void *argument)
{
	struct script *script = argument;

	return s3_delete(script->s3, "key.lock", "\"e\"", soon());
}

TEST(a_deletion_that_was_lost_and_found_done_is_done)
{
	static const char absent[] = S3_ERROR("404 Not Found", "NoSuchKey", "");
	static struct script lost = {
		.client = delete_it,
		.exchanges = { { .hears = { "DELETE /bucket/key.lock ", "if-match: e\r\n" },
				 .hangs_up = true },
			       { .says = absent } }
	};
	static struct script never = { .client = delete_it, .exchanges = { { .says = absent } } };

	CHECK_OK(script_run(&lost));
	check_played(&lost, 2);
	CHECK_ERR(script_run(&never), ERR_S3_ABSENT);
}

/* In a bucket with versions the marker of the first attempt is what the second one meets. */
TEST(a_deletion_that_was_lost_and_meets_its_marker_is_done)
{
	static const char changed[] = S3_ERROR("412 Precondition Failed", "PreconditionFailed", "");
	static struct script lost = {
		.client = delete_it,
		.exchanges = { { .hangs_up = true },
			       { .says = changed },
			       { .hears = { "HEAD /bucket/key.lock " },
				 .says = S3_ANSWER("404 Not Found", "x-amz-delete-marker: true\r\n",
						   "") } }
	};
	static struct script others = {
		.client = delete_it,
		.exchanges = { { .hangs_up = true },
			       { .says = changed },
			       { .says = S3_ANSWER("200 OK", "ETag: \"other\"\r\n", "hello") } }
	};
	static struct script never = { .client = delete_it, .exchanges = { { .says = changed } } };

	CHECK_OK(script_run(&lost));
	check_played(&lost, 3);
	CHECK_ERR(script_run(&others), ERR_S3_CHANGED);
	check_script_says("DeleteObject of key.lock");
	CHECK_ERR(script_run(&never), ERR_S3_CHANGED);
	check_played(&never, 1);
}

/* ---- reading ---- */

static char room[64];
static size_t got;
static const char *wanted_etag;

static enum err get(void *argument)
{
	struct script *script = argument;
	const struct s3_get wanted = {
		.key = "key", .at = 100, .to = room, .bytes = 20, .etag = wanted_etag
	};

	memset(room, 0, sizeof room);
	return s3_get(script->s3, &wanted, soon(), &got);
}

#define RANGE(range, etag, body)                                                                   \
	S3_ANSWER("206 Partial Content", "Content-Range: bytes " range "\r\nETag: " etag "\r\n",   \
		  body)

TEST(a_range_is_read_and_what_breaks_off_is_read_on_of_the_same_object)
{
	struct script script = {
		.client = get,
		.exchanges = { { .hears = { "GET /bucket/key HTTP/1.1",
					    "range: bytes=100-119\r\n" },
				 .hears_not = "if-match",
				 .says = RANGE("100-119/5000", "\"e\"", "abcdefghijklmnopqrst"),
				 .cuts = 14 },
			       { .hears = { "range: bytes=106-119\r\n", "if-match: \"e\"\r\n" },
				 .hears_not = "range: bytes=106-119\r\nrange",
				 .says = S3_ANSWER("503 Slow Down", "", "") },
			       { .hears = { "range: bytes=106-119\r\n", "if-match: \"e\"\r\n" },
				 .says = RANGE("106-119/5000", "\"e\"", "ghijklmnopqrst") } }
	};

	wanted_etag = NULL;
	CHECK_OK(script_run(&script));
	check_played(&script, 3);
	CHECK_EQ(got, 20);
	CHECK_TEXT(room, "abcdefghijklmnopqrst");
}

TEST(an_answer_that_has_less_than_it_says_is_read_on)
{
	struct script script = {
		.client = get,
		.exchanges = { { .says = RANGE("100-119/5000", "\"e\"", "abcde") },
			       { .hears = { "range: bytes=105-119\r\n", "if-match: \"e\"\r\n" },
				 .says = RANGE("105-119/5000", "\"e\"", "fghijklmnopqrst") } }
	};

	wanted_etag = NULL;
	CHECK_OK(script_run(&script));
	check_played(&script, 2);
	CHECK_TEXT(room, "abcdefghijklmnopqrst");
}

static struct buffer fields;

static enum err get_with_fields(void *argument)
{
	struct script *script = argument;
	struct s3_about about;
	enum err e = s3_get(
		script->s3,
		&(struct s3_get){
			.key = "key", .at = 100, .to = room, .bytes = 20, .fields = &fields },
		soon(), &got);

	CHECK(e || strstr(fields.at, "x-amz-meta-who: b\r\n"));
	CHECK(e || !strstr(fields.at, "x-amz-meta-who: a\r\n"));
	return e ? e : s3_head_fields(script->s3, "key", soon(), &about, &fields);
}

TEST(what_a_user_said_of_an_object_is_told_of_the_last_answer)
{
	struct script script = {
		.client = get_with_fields,
		.exchanges = { { .says = RANGE("100-119/5000", "\"e\"\r\nx-amz-meta-who: a",
					       "abcde") },
			       { .says = RANGE("105-119/5000", "\"e\"\r\nx-amz-meta-who: b",
					       "fghijklmnopqrst") },
			       { .hears = { "HEAD /bucket/key HTTP/1.1" },
				 .says = "HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n"
					 "ETag: \"e\"\r\nX-Amz-Meta-Who: c\r\n\r\n" } }
	};
	struct text value = { NULL, 0 };

	CHECK_OK(script_run(&script));
	check_played(&script, 3);
	CHECK(http_parse_field((struct text){ fields.at, fields.bytes }, "x-amz-meta-who",
			       &value) &&
	      text_equal(value, text_of("c")));
	buffer_free(&fields);
}

static void check_get(const char *says, const char *etag, enum err expected, size_t bytes)
{
	struct script script = {
		.client = get,
		.exchanges = { { .says = says, .times = expected == ERR_HTTP_SYNTAX ? 3 : 1 } }
	};

	wanted_etag = etag;
	CHECK_ERR(script_run(&script), expected);
	check_played(&script, expected == ERR_HTTP_SYNTAX ? 3 : 1);
	CHECK_EQ(got, bytes);
}

TEST(less_comes_only_at_the_end_and_nothing_else_than_was_asked_for)
{
	check_get(RANGE("100-104/105", "\"e\"", "abcde"), NULL, OK, 5);
	check_get(S3_ERROR("416 Range", "InvalidRange", ""), NULL, OK, 0);
	check_get(RANGE("100-104/5000", "\"e\"", "abcde"), NULL, ERR_HTTP_SYNTAX, 0);
	check_get(RANGE("0-19/5000", "\"e\"", "abcdefghijklmnopqrst"), NULL, ERR_HTTP_SYNTAX, 0);
	check_get(RANGE("100-120/5000", "\"e\"", "abcdefghijklmnopqrstu"), NULL, ERR_HTTP_SYNTAX,
		  0);
	check_get(S3_ANSWER("200 OK", "", "abcde"), NULL, ERR_HTTP_SYNTAX, 0);
	check_get(S3_ERROR("404 Not Found", "NoSuchKey", ""), "\"e\"", ERR_S3_ABSENT, 0);
}

TEST(an_object_that_changes_under_its_reader_is_an_error)
{
	check_get(S3_ERROR("412 Precondition Failed", "PreconditionFailed", ""), "\"e\"",
		  ERR_S3_CHANGED, 0);
	check_get(RANGE("100-119/5000", "\"other\"", "abcdefghijklmnopqrst"), "\"e\"",
		  ERR_S3_CHANGED, 0);
	check_get(S3_ERROR("403 Forbidden", "InvalidObjectState", ""), NULL, ERR_S3_ARCHIVED, 0);
	check_get(RANGE("100-119/5000", "\"other\"", "abcdefghijklmnopqrst"), "\"e\"",
		  ERR_S3_CHANGED, 0);
	check_script_says(
		"GetObject of key in bucket bucket: its ETag is \"other\", and was \"e\"");
}

static struct s3_about about;

static enum err head(void *argument)
{
	struct script *script = argument;

	return s3_head(script->s3, "key", soon(), &about);
}

#define ABOUT(checksum)                                                                            \
	S3_ANSWER("200 OK",                                                                        \
		  "Content-Length: 5000000000\r\nETag: \"e\"\r\nx-amz-version-id: v\r\n"           \
		  "x-amz-checksum-crc64nvme: " checksum "\r\nx-amz-storage-class: GLACIER_IR\r\n"  \
		  "x-amz-object-lock-mode: COMPLIANCE\r\n"                                         \
		  "x-amz-object-lock-retain-until-date: 2030-01-31T00:00:00Z\r\n"                  \
		  "x-amz-object-lock-legal-hold: ON\r\nx-amz-server-side-encryption: aws:kms\r\n"  \
		  "x-amz-server-side-encryption-aws-kms-key-id: arn:aws:kms:r:1:key/k\r\n"         \
		  "x-amz-server-side-encryption-bucket-key-enabled: true\r\n",                     \
		  "")

TEST(what_an_object_is)
{
	static struct script script = {
		.client = head,
		.exchanges = { { .hears = { "HEAD /bucket/key ", "x-amz-checksum-mode: ENABLED" },
				 .says = ABOUT("jSnVw/bqjr4=") } }
	};
	static struct script parts = { .client = head,
				       .exchanges = { { .says = ABOUT("jSnVw/bqjr4=-3") } } };
	static struct script gone = {
		.client = head, .exchanges = { { .says = S3_ANSWER("404 Not Found", "", "") } }
	};

	CHECK_OK(script_run(&script));
	CHECK_EQ(about.bytes, 5000000000);
	CHECK_TEXT(about.checksum, "jSnVw/bqjr4=");
	CHECK_TEXT(about.storage_class, "GLACIER_IR");
	CHECK_TEXT(about.lock_mode, "COMPLIANCE");
	CHECK_TEXT(about.retain_until, "2030-01-31T00:00:00Z");
	CHECK_TEXT(about.legal_hold, "ON");
	CHECK_TEXT(about.encryption, "aws:kms");
	CHECK_TEXT(about.kms_key, "arn:aws:kms:r:1:key/k");
	CHECK(about.bucket_key);
	CHECK_OK(script_run(&parts));
	CHECK_TEXT(about.checksum, "");
	CHECK_ERR(script_run(&gone), ERR_S3_ABSENT);
}

/* ---- lists ---- */

static char told[512];

static enum err tell(void *context, const struct s3_entry *entry)
{
	size_t used = strlen(told);

	(void)context;
	snprintf(told + used, sizeof told - used, "%s%s,%s,%s,%u,%llu;",
		 entry->is_prefix ? "+" : "", entry->key, entry->id, entry->checksum, entry->number,
		 (unsigned long long)entry->bytes);
	return strcmp(entry->key, "stop") == 0 ? RAISE(ERR_DISK_FULL, "enough") : OK;
}

static enum err list(void *argument)
{
	struct script *script = argument;
	const struct s3_list wanted = {
		.prefix = "a b/", .start_after = "a b/0", .delimiter = "/", .take = tell
	};

	told[0] = '\0';
	return s3_list(script->s3, &wanted, soon());
}

#define OBJECT(key)                                                                                \
	"<Contents><Key>" key "</Key><LastModified>2023-11-14T22:13:20.000Z</LastModified>"        \
	"<ETag>&quot;e&quot;</ETag><Size>5</Size></Contents>"
#define PAGE(more, rows)                                                                           \
	S3_ANSWER("200 OK", "", XML("<ListBucketResult>" more rows "</ListBucketResult>"))
#define MORE(token)                                                                                \
	"<IsTruncated>true</IsTruncated><NextContinuationToken>" token "</NextContinuationToken>"
#define LAST "<IsTruncated>false</IsTruncated>"
#define URL  "<EncodingType>url</EncodingType>"

TEST(a_list_goes_on_over_pages_and_tells_each_entry_once)
{
	struct script script = {
		.client = list,
		.exchanges = { { .hears = { "GET "
					    "/bucket?list-type=2&encoding-type=url&max-keys=1000&"
					    "prefix=a%20b%2F&delimiter=%2F&start-after=a%20b%"
					    "2F0 " },
				 .says = PAGE(MORE("t/1") URL,
					      OBJECT("a+b/1%0A") OBJECT("a+b/2%2B")),
				 .cuts = 30 },
			       { .says = PAGE(MORE("t/1") URL,
					      OBJECT("a+b/1%0A") OBJECT("a+b/2%2B")) },
			       { .hears = { "&continuation-token=t%2F1 " },
				 .hears_not = "start-after",
				 .says = PAGE(LAST, "<CommonPrefixes><Prefix>a+b/c/</Prefix>"
						    "</CommonPrefixes>" URL) } }
	};

	CHECK_OK(script_run(&script));
	check_played(&script, 3);
	CHECK_TEXT(told, "a b/1\n,\"e\",,0,5;a b/2+,\"e\",,0,5;+a b/c/,,,0,0;");
}

static void check_list(const char *first, const char *second, enum err expected, const char *words)
{
	struct script script = { .client = list,
				 .exchanges = { { .says = first }, { .says = second } } };

	CHECK_ERR(script_run(&script), expected);
	check_played(&script, second ? 2 : 1);
	check_script_says(words);
}

TEST(a_list_that_does_not_go_on_or_that_nobody_wants_ends)
{
	check_list(PAGE(MORE("t"), OBJECT("1")), PAGE(MORE("t"), OBJECT("1")), ERR_XML_SYNTAX,
		   "there is more, but not where");
	check_list(PAGE("<IsTruncated>true</IsTruncated>", OBJECT("1")), NULL, ERR_XML_SYNTAX,
		   "there is more, but not where");
	check_list(PAGE(MORE("t"), OBJECT("stop") OBJECT("2")), NULL, ERR_DISK_FULL, "enough");
	CHECK_TEXT(told, "stop,\"e\",,0,5;");
	check_list(S3_ERROR("404 Not Found", "NoSuchBucket", ""), NULL, ERR_S3_BUCKET,
		   "ListObjectsV2 of bucket bucket");
}

static enum err list_uploads(void *argument)
{
	struct script *script = argument;

	told[0] = '\0';
	return s3_list_uploads(script->s3, "p/", tell, NULL, soon());
}

TEST(uploads_under_way_are_listed)
{
	struct script script = {
		.client = list_uploads,
		.exchanges = { { .hears = { "GET "
					    "/bucket?uploads=&encoding-type=url&max-uploads=1000&"
					    "prefix=p%2F " },
				 .says = S3_ANSWER(
					 "200 OK", "",
					 XML("<ListMultipartUploadsResult>" URL
					     "<NextKeyMarker>p/a+b</NextKeyMarker>"
					     "<NextUploadIdMarker>U1</NextUploadIdMarker>"
					     "<IsTruncated>true</IsTruncated><Upload>"
					     "<Key>p/a+b</Key><UploadId>U1</UploadId></Upload>"
					     "</ListMultipartUploadsResult>")) },
			       { .hears = { "&key-marker=p%2Fa%20b&upload-id-marker=U1 " },
				 .says = S3_ANSWER(
					 "200 OK", "",
					 XML("<ListMultipartUploadsResult>" LAST "<Upload>"
					     "<Key>p/c</Key><UploadId>U2</UploadId></Upload>"
					     "</ListMultipartUploadsResult>")) } }
	};

	CHECK_OK(script_run(&script));
	check_played(&script, 2);
	CHECK_TEXT(told, "p/a b,U1,,0,0;p/c,U2,,0,0;");
}

static enum err list_parts(void *argument)
{
	struct script *script = argument;

	told[0] = '\0';
	return s3_list_parts(script->s3, "pack", "U", tell, NULL, soon());
}

TEST(parts_are_listed_with_their_checksums)
{
	struct script script = {
		.client = list_parts,
		.exchanges = { { .hears = { "GET /bucket/pack?uploadId=U&max-parts=1000 " },
				 .says = S3_ANSWER(
					 "200 OK", "",
					 XML("<ListPartsResult><NextPartNumberMarker>4"
					     "</NextPartNumberMarker><IsTruncated>true"
					     "</IsTruncated><Part><PartNumber>4</PartNumber>"
					     "<Size>9</Size><ETag>e</ETag>" SUM(
						     "s") "</Part></ListPartsResult>")) },
			       { .hears = { "&part-number-marker=4 " },
				 .says = S3_ANSWER("200 OK", "",
						   XML("<ListPartsResult><NextPartNumberMarker>4"
						       "</NextPartNumberMarker>" LAST
						       "</ListPartsResult>")) } }
	};

	CHECK_OK(script_run(&script));
	check_played(&script, 2);
	CHECK_TEXT(told, ",e,s,4,9;");
}

/* ---- the bucket ---- */

static unsigned rules;

static void count_rule(void *context, const struct s3_replication_rule *rule)
{
	(void)context;
	rules += strcmp(rule->status, "Enabled") == 0;
}

static enum err ask_all(void *argument)
{
	struct script *script = argument;
	struct s3 *s3 = script->s3;
	char region[S3_REGION_BYTES_MAX + 1];
	struct s3_public_access_block access;
	struct s3_versioning versioning;
	struct s3_object_lock lock;
	struct s3_policy_status status;

	rules = 0;
	CHECK_OK(s3_bucket_region(s3, soon(), region));
	CHECK_TEXT(region, "eu-west-1");
	CHECK_OK(s3_bucket_region(s3, soon(), region));
	CHECK_TEXT(region, "us-east-1");
	CHECK_OK(s3_bucket_versioning(s3, soon(), &versioning));
	CHECK_TEXT(versioning.status, "Enabled");
	CHECK_OK(s3_bucket_object_lock(s3, soon(), &lock));
	CHECK_TEXT(lock.enabled, "");
	CHECK_OK(s3_bucket_replication(s3, soon(), count_rule, NULL));
	CHECK_EQ(rules, 2);
	CHECK_OK(s3_bucket_policy_status(s3, soon(), &status));
	CHECK(status.is_public);
	CHECK_OK(s3_bucket_policy_status(s3, soon(), &status));
	CHECK(!status.is_public);
	CHECK_ERR(s3_bucket_public_access(s3, soon(), &access), ERR_S3_LACKS);
	err_note_clear();
	CHECK_ERR(s3_bucket_versioning(s3, soon(), &versioning), ERR_S3_LACKS);
	CHECK_TEXT(err_note()->text, "GetBucketVersioning of bucket bucket: 127.0.0.1 answers "
				     "something else: it does not know the question");
	err_note_clear();
	return OK;
}

static enum err ask_encryption(void *argument)
{
	struct script *script = argument;
	struct s3_encryption *encryption = calloc(1, sizeof *encryption);
	enum err e;

	must(encryption);
	e = s3_bucket_encryption(script->s3, soon(), encryption);
	CHECK_TEXT(encryption->sse_algorithm, "aws:kms");
	CHECK(encryption->bucket_key_enabled);
	free(encryption);
	return e;
}

#define RULE                                                                                       \
	"<Rule><Status>Enabled</Status><Destination><Bucket>arn:aws:s3:::b</Bucket></Destination>" \
	"</Rule>"

#define RULES                                                                                      \
	S3_ANSWER("200 OK", "",                                                                    \
		  XML("<ReplicationConfiguration><Role>r</Role>" RULE RULE                         \
		      "</ReplicationConfiguration>"))

TEST(how_a_bucket_is_set_up)
{
	struct script script = {
		.client = ask_all,
		.exchanges = { { .hears = { "HEAD /bucket HTTP/1.1" },
				 .says = S3_ANSWER("200 OK", "x-amz-bucket-region: eu-west-1\r\n",
						   "") },
			       { .says = S3_ANSWER("200 OK", "", "") },
			       { .hears = { "GET /bucket?location= " },
				 .says = S3_ANSWER("200 OK", "", XML("<LocationConstraint/>")) },
			       { .hears = { "GET /bucket?versioning= " },
				 .says = S3_ANSWER(
					 "200 OK", "",
					 XML("<VersioningConfiguration><Status>Enabled</Status>"
					     "</VersioningConfiguration>")) },
			       { .hears = { "GET /bucket?object-lock= " },
				 .says = S3_ERROR("404 Not Found",
						  "ObjectLockConfigurationNotFoundError", "") },
			       { .hears = { "GET /bucket?replication= " },
				 .says = RULES,
				 .cuts = 9 },
			       { .says = RULES },
			       { .hears = { "GET /bucket?policyStatus= " },
				 .says = S3_ANSWER("200 OK", "",
						   XML("<PolicyStatus><IsPublic>true</IsPublic>"
						       "</PolicyStatus>")) },
			       { .says = S3_ERROR("404 Not Found", "NoSuchBucketPolicy", "") },
			       { .hears = { "GET /bucket?publicAccessBlock= " },
				 .says = S3_ERROR("501 Not Implemented", "NotImplemented", "") },
			       { .says = PAGE(LAST, "") } }
	};
	static struct script encryption = {
		.client = ask_encryption,
		.exchanges = { { .hears = { "GET /bucket?encryption= " },
				 .says = S3_ANSWER(
					 "200 OK", "",
					 XML("<ServerSideEncryptionConfiguration><Rule>"
					     "<ApplyServerSideEncryptionByDefault><SSEAlgorithm>"
					     "aws:kms</SSEAlgorithm>"
					     "</ApplyServerSideEncryptionByDefault>"
					     "<BucketKeyEnabled>true</BucketKeyEnabled></Rule>"
					     "</ServerSideEncryptionConfiguration>")) } }
	};

	CHECK_OK(script_run(&script));
	check_played(&script, 11);
	CHECK_OK(script_run(&encryption));
}

/* ---- called off ---- */

static enum err upload_all(void *argument)
{
	enum err e;

	if ((e = begin(argument)) || (e = send_part(argument)) || (e = complete(argument)) ||
	    (e = list(argument)))
		return e;
	return get(argument);
}

TEST(who_is_called_off_at_any_step_leaves_nothing_behind)
{
	static const struct exchange exchanges[] = {
		{ .says = BEGUN },
		{ .says = S3_ANSWER("503 Slow Down", "Retry-After: 3\r\n", "") },
		{ .says = S3_ANSWER("200 OK", "ETag: \"e\"\r\n", "") },
		{ .says = COMPLETED("") },
		{ .says = PAGE(LAST, OBJECT("1")) },
		{ .says = RANGE("100-104/105", "\"e\"", "abcde") },
	};
	uint64_t steps = 0, canceled = 0;
	static struct script script;

	wanted_etag = NULL;
	for (uint64_t at = 0; at <= steps; at += SANITIZED ? 7 : 1) {
		script = (struct script){ .client = upload_all, .cancel_at = at };
		memcpy(script.exchanges, exchanges, sizeof exchanges);
		script_run(&script);
		CHECK(script.error == ERR_FIBER_CANCELED || script.error == OK);
		canceled += script.error == ERR_FIBER_CANCELED;
		if (at == 0) {
			CHECK_OK(script.error);
			steps = sim_steps();
		}
	}
	CHECK(canceled > steps / 14);
	printf("  %llu steps\n", (unsigned long long)steps);
}

static enum err ask_region(void *argument)
{
	struct script *script = argument;
	char region[S3_REGION_BYTES_MAX + 1];

	return s3_bucket_region(script->s3, soon(), region);
}

TEST(why_head_of_a_bucket_was_refused_is_asked_with_a_list)
{
	struct script script = {
		.client = ask_region,
		.exchanges = { { .hears = { "HEAD /bucket" },
				 .says = S3_ANSWER("403 Forbidden", "", "") },
			       { .hears = { "GET /bucket", "list-type=2" },
				 .says = S3_ERROR("403 Forbidden", "SignatureDoesNotMatch", "") } }
	};

	CHECK_ERR(script_run(&script), ERR_S3_KEYS);
	check_played(&script, 2);
	check_script_says("SignatureDoesNotMatch");
}
