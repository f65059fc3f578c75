/* S3's calls against a script: what is stored with which fields, how sure that is, what an answer
 * means, and what is repeated. Lists and reading are s3_read_test.c's.
 *
 *	build/gcc/tests/sim/s3_test NAME */
#include "tests/sim/s3_script.h"
#include "transport/residency.h"

#define EXISTS	       S3_ERROR("412 Precondition Failed", "PreconditionFailed", "")
#define OK_PUT(fields) S3_ANSWER("200 OK", "ETag: \"0123\"\r\n" fields, "")
#define HELLO_CRC      "jSnVw/bqjr4=" /* CRC64NVME of "hello world" */
#define HELLO_MD5      "5eb63bbbe01eeed093cb22bb8f5acdc3"

static struct s3_stored stored;

static enum err put_hello_as(struct script *script, struct s3_put put, nsec until)
{
	static const struct text pieces[] = { { "hello", 5 }, { " ", 1 }, { "world", 5 } };

	put.key = put.key ? put.key : "a prefix/pack\xc3\xa9.000";
	put.pieces = pieces;
	put.pieces_count = ARRAY_COUNT(pieces);
	put.crc = crc_update(script->config.checksum, 0, "hello world", 11);
	return s3_put(script->s3, &put, until, &stored);
}

static enum err put_hello(void *argument)
{
	return put_hello_as(argument, (struct s3_put){ .only_if_absent = true },
			    clock_after(S3_PATIENCE));
}

static enum err put_transient(void *argument)
{
	return put_hello_as(argument, (struct s3_put){ .is_transient = true, .if_match = "\"e\"" },
			    clock_after(S3_PATIENCE));
}

static enum err head(void *argument)
{
	struct script *script = argument;
	struct s3_about about;

	return s3_head(script->s3, "key", clock_after(S3_PATIENCE), &about);
}

/* ---- what is sent ---- */

TEST(an_object_is_put_under_a_condition_and_with_its_checksum)
{
	struct script script = {
		.client = put_hello,
		.exchanges = { { .hears = { "PUT /bucket/a%20prefix/pack%C3%A9.000 HTTP/1.1\r\n",
					    "\r\nif-none-match: *\r\n",
					    "\r\nx-amz-sdk-checksum-algorithm: CRC64NVME\r\n",
					    "\r\nx-amz-checksum-crc64nvme: " HELLO_CRC "\r\n",
					    "/eusc-de-east-1/s3/aws4_request",
					    "Content-Length: 11\r\n", "\r\n\r\nhello world",
					    "SignedHeaders=host;if-none-match;"
					    "x-amz-checksum-crc64nvme;x-amz-content-sha256;"
					    "x-amz-date;x-amz-sdk-checksum-algorithm;"
					    "x-amz-security-token" },
				 .hears_not = "a-secret",
				 .says = OK_PUT("x-amz-version-id: v1\r\n"
						"x-amz-checksum-crc64nvme: " HELLO_CRC
						"\r\n") } }
	};

	CHECK_OK(script_run(&script));
	check_played(&script, 1);
	CHECK_EQ(stored.proof, S3_PROOF_CHECKSUM);
	CHECK_TEXT(stored.etag, "\"0123\"");
	CHECK_TEXT(stored.version_id, "v1");
	CHECK(!stored.maybe_ours);
	CHECK_EQ(script.records, 1);
	CHECK_TEXT(script.last.operation, "PutObject");
	CHECK_TEXT(script.last_request_id, "4442587FB7D0A2F9");
	CHECK_EQ(script.last.status, 200);
	CHECK_EQ(script.last.bytes_sent, 11);
}

static enum err put_with_metadata(void *argument)
{
	static const struct s3_metadata metadata[] = {
		{ "x-amz-meta-mailhaul-no", "17" },
		{ "x-amz-meta-mailhaul-date", NULL },
		{ "x-amz-meta-mailhaul-flags", "seen flagged" },
	};

	return put_hello_as(argument, (struct s3_put){ .metadata = metadata, .metadata_count = 3 },
			    clock_after(S3_PATIENCE));
}

TEST(what_is_said_of_an_object_is_signed_and_sent)
{
	struct script script = {
		.client = put_with_metadata,
		.exchanges = { { .hears = { "\r\nx-amz-meta-mailhaul-no: 17\r\n",
					    "\r\nx-amz-meta-mailhaul-flags: seen flagged\r\n",
					    ";x-amz-meta-mailhaul-flags;x-amz-meta-mailhaul-no;" },
				 .hears_not = "mailhaul-date",
				 .says = OK_PUT("") } }
	};

	CHECK_OK(script_run(&script));
	check_played(&script, 1);
}

static const struct s3_config everything = { .owner = "123456789012",
					     .checksum = CRC32C,
					     .storage_class = "STANDARD_IA",
					     .encryption = "aws:kms",
					     .kms_key = "arn:aws-eusc:kms:r:1:key/k",
					     .kms_context = "eyJhIjoiYiJ9",
					     .bucket_key = true,
					     .lock_mode = "COMPLIANCE",
					     .retain_until = "2030-01-31T00:00:00Z",
					     .legal_hold = true };

TEST(an_object_is_put_with_everything_that_was_said_of_it)
{
	struct script script = {
		.client = put_hello,
		.config = everything,
		.exchanges = { { .hears = { "x-amz-expected-bucket-owner: 123456789012\r\n",
					    "x-amz-checksum-crc32c: yZRlqg==\r\n",
					    "x-amz-storage-class: STANDARD_IA\r\n",
					    "x-amz-server-side-encryption: aws:kms\r\n"
					    "x-amz-server-side-encryption-aws-kms-key-id: "
					    "arn:aws-eusc:kms:r:1:key/k\r\n"
					    "x-amz-server-side-encryption-context: eyJhIjoiYiJ9\r\n"
					    "x-amz-server-side-encryption-bucket-key-enabled: "
					    "true\r\n",
					    "x-amz-object-lock-mode: COMPLIANCE\r\n",
					    "x-amz-object-lock-retain-until-date: "
					    "2030-01-31T00:00:00Z\r\n",
					    "x-amz-object-lock-legal-hold: ON\r\n" },
				 .says = OK_PUT("x-amz-checksum-crc32c: yZRlqg==\r\n") } }
	};

	CHECK_OK(script_run(&script));
	CHECK_EQ(stored.proof, S3_PROOF_CHECKSUM);
}

TEST(what_is_to_be_deleted_soon_is_neither_locked_nor_in_another_class)
{
	struct script script = {
		.client = put_transient,
		.config = everything,
		.exchanges = { { .hears = { "if-match: e\r\n", "x-amz-server-side-encryption: "
							       "aws:kms\r\n" },
				 .hears_not = "object-lock",
				 .says = OK_PUT("") },
			       { .hears_not = "storage-class", .says = OK_PUT("") } }
	};

	CHECK_OK(script_run(&script));
	script.exchanges[0] = script.exchanges[1];
	script.at = 0;
	CHECK_OK(script_run(&script));
}

/* ---- how sure it is ---- */

static void check_proof(const char *answer, enum err expected, enum s3_proof proof)
{
	struct script script = { .client = put_hello, .exchanges = { { .says = answer } } };

	CHECK_ERR(script_run(&script), expected);
	CHECK_EQ(stored.proof, proof);
	check_played(&script, 1);
	if (expected)
		check_script_says("PutObject of a prefix/");
}

TEST(a_checksum_that_comes_back_is_proof_and_else_the_md5_or_nothing)
{
	check_proof(OK_PUT("x-amz-checksum-crc64nvme: " HELLO_CRC "\r\n"), OK, S3_PROOF_CHECKSUM);
	check_proof(OK_PUT("x-amz-checksum-crc64nvme: AAAAAAAAAAA=\r\n"), ERR_S3_CHECKSUM,
		    S3_PROOF_NONE);
	check_proof(S3_ANSWER("200 OK", "ETag: \"" HELLO_MD5 "\"\r\n", ""), OK, S3_PROOF_ETAG);
	check_proof(S3_ANSWER("200 OK", "ETag: " HELLO_MD5 "\r\n", ""), OK, S3_PROOF_ETAG);
	check_proof(S3_ANSWER("200 OK", "ETag: \"" HELLO_MD5 "-1\"\r\n", ""), OK, S3_PROOF_NONE);
	check_proof(OK_PUT(""), OK, S3_PROOF_NONE);
}

TEST(an_answer_without_an_etag_is_not_of_s3)
{
	struct script script = { .client = put_hello,
				 .exchanges = {
					 { .says = S3_ANSWER("200 OK", "", ""), .times = 3 } } };

	CHECK_ERR(script_run(&script), ERR_HTTP_SYNTAX);
	check_played(&script, 3);
	check_script_says("it may not be S3 that answers at 127.0.0.1");
}

/* ---- refusals ---- */

static const struct refusal {
	const char *says;
	enum err error;
	unsigned requests;
	const char *words[4];
} refusals[] = {
	{ S3_ERROR("403 Forbidden", "AccessDenied", ""),
	  ERR_S3_DENIED,
	  1,
	  { "PutObject of a prefix/pack", "allow s3:PutObject on arn:aws-eusc:s3:::bucket/a prefix",
	    "\"words of the service\"",
	    "request id 4442587FB7D0A2F9, host id vlR7PnpV2Ce81l0PRw6jlUpck7Jo5Zs=" } },
	{ S3_ERROR("404 Not Found", "NoSuchBucket", ""), ERR_S3_BUCKET, 1, { "create it" } },
	{ EXISTS, ERR_S3_EXISTS, 1, { "" } },
	{ S3_ERROR("301 Moved Permanently", "PermanentRedirect",
		   "<Endpoint>bucket.s3.eu-west-1.amazonaws.com</Endpoint>"),
	  ERR_S3_REGION,
	  1,
	  { "but at bucket.s3.eu-west-1.amazonaws.com" } },
	{ S3_ANSWER("307 Temporary Redirect",
		    "Location: https://elsewhere/\r\nx-amz-bucket-region: eu-west-3\r\n", ""),
	  ERR_S3_REGION,
	  1,
	  { "in region eu-west-3, not in eusc-de-east-1" } },
	{ S3_ERROR("400 Bad Request", "AuthorizationHeaderMalformed", "<Region>eu-west-1</Region>"),
	  ERR_S3_REGION,
	  1,
	  { "in region eu-west-1, not in eusc-de-east-1: say that region" } },
	{ S3_ERROR("400 Bad Request", "AuthorizationHeaderMalformed", ""),
	  ERR_S3_REFUSED,
	  1,
	  { "AuthorizationHeaderMalformed" } },
	{ S3_ERROR("403 Forbidden", "SignatureDoesNotMatch", ""), ERR_S3_KEYS, 1, { "secret" } },
	{ S3_ERROR("403 Forbidden", "InvalidAccessKeyId", ""), ERR_S3_KEYS, 1, { "active" } },
	{ S3_ERROR("403 Forbidden", "QuotaExceeded", ""), ERR_S3_FULL, 1, { "raise the quota" } },
	{ S3_ERROR("501 Not Implemented", "NotImplemented", ""), ERR_S3_LACKS, 1, { "AWS can" } },
	{ S3_ERROR("403 Forbidden", "InvalidObjectState", ""),
	  ERR_S3_ARCHIVED,
	  1,
	  { "archive storage class" } },
	{ S3_ERROR("400 Bad Request", "KMS.DisabledException", ""),
	  ERR_S3_REFUSED,
	  1,
	  { "KMS.DisabledException, \"words of the service\"", "see to the KMS key" } },
	{ S3_ERROR("400 Bad Request", "InvalidRequest", ""),
	  ERR_S3_REFUSED,
	  1,
	  { "400 InvalidRequest, \"words of the service\"" } },
	{ "HTTP/1.1 403 Forbidden\r\nContent-Type: text/html\r\n\r\n<html><p>Blocked by the proxy",
	  ERR_S3_DENIED,
	  1,
	  { "answers 403 (no request id: it may not be S3 that answers at 127.0.0.1)" } },
	{ S3_ERROR("400 Bad Request", "InvalidPart", ""), ERR_S3_UNAVAILABLE, 1, { "run again" } },
	{ S3_ERROR("400 Bad Request", "BadDigest", ""), ERR_S3_CHECKSUM, 10, { "altered" } },
	{ S3_ERROR("503 Slow Down", "SlowDown", ""), ERR_S3_THROTTLED, 10, { "(attempt 10)" } },
	{ S3_ERROR("400 Bad Request", "KMS.ThrottlingException", ""),
	  ERR_S3_THROTTLED,
	  10,
	  { "" } },
	{ S3_ERROR("409 Conflict", "ConditionalRequestConflict", ""),
	  ERR_S3_UNAVAILABLE,
	  10,
	  { "" } },
	{ "HTTP/1.1 502 Bad Gateway\r\n\r\n<html>", ERR_S3_UNAVAILABLE, 10, { "no request id" } },
};

TEST(each_refusal_is_one_error_that_says_what_to_do)
{
	for (unsigned i = 0; i < ARRAY_COUNT(refusals); i++) {
		const struct refusal *refusal = &refusals[i];
		struct script script = { .client = put_hello,
					 .exchanges = { { .says = refusal->says,
							  .times = refusal->requests } } };

		CHECK_ERR(script_run(&script), refusal->error);
		check_played(&script, refusal->requests);
		CHECK_EQ(script.records, refusal->requests);
		CHECK_EQ(script.last.error, refusal->error);
		for (unsigned w = 0; w < ARRAY_COUNT(refusal->words) && refusal->words[w]; w++)
			check_script_says(refusal->words[w]);
		CHECK(!strstr(script_note.text, "a-secret"));
	}
}

TEST(a_denial_names_all_that_is_needed)
{
	struct script script = { .client = put_hello,
				 .config = everything,
				 .exchanges = { { .says = refusals[0].says } } };

	CHECK_ERR(script_run(&script), ERR_S3_DENIED);
	check_script_says("allow s3:PutObject, s3:PutObjectRetention, "
			  "s3:PutObjectLegalHold on arn:aws-eusc:s3:::bucket/");
	check_script_says("kms:GenerateDataKey and kms:Decrypt");
	check_script_says("not account 123456789012's");
}

/* ---- repetitions ---- */

#define BUSY S3_ANSWER("503 Slow Down", "", "")

TEST(a_busy_service_is_asked_again_later)
{
	struct script script = { .client = put_hello,
				 .exchanges = { { .says = BUSY, .times = 9 },
						{ .says = OK_PUT("") } } };

	CHECK_OK(script_run(&script));
	check_played(&script, 10);
	CHECK(script.took > 10 * NSEC_SECOND && script.took < 135 * NSEC_SECOND);
	for (unsigned i = 1; i < 10; i++)
		CHECK(script_asked_at[i] - script_asked_at[i - 1] < 21 * NSEC_SECOND);
	CHECK(stored.maybe_ours);
}

TEST(it_is_not_asked_sooner_than_it_says)
{
	static const char later[] = S3_ANSWER("503 Slow Down", "Retry-After: 77\r\n", "");
	struct script script = { .client = put_hello,
				 .exchanges = { { .says = later }, { .says = OK_PUT("") } } };

	CHECK_OK(script_run(&script));
	CHECK(script.took >= 77 * NSEC_SECOND && script.took < 79 * NSEC_SECOND);
}

static enum err put_in_a_minute(void *argument)
{
	return put_hello_as(argument, (struct s3_put){ .only_if_absent = true },
			    clock_after(60 * NSEC_SECOND));
}

TEST(nobody_waits_for_what_would_come_too_late)
{
	static const char later[] = S3_ANSWER("503 Slow Down", "Retry-After: 77\r\n", "");
	struct script script = { .client = put_in_a_minute, .exchanges = { { .says = later } } };

	CHECK_ERR(script_run(&script), ERR_S3_UNAVAILABLE);
	CHECK(script.took < NSEC_SECOND);
	CHECK_EQ(script_note.retry_after, 77 * NSEC_SECOND);
	CHECK_EQ(script_note.scope, ERR_OF_HOST);
}

static enum err put_some(void *argument, unsigned count)
{
	enum err e = OK;

	for (unsigned i = 0; i < count && (!e || e == ERR_S3_UNAVAILABLE); i++) {
		err_note_clear();
		e = put_hello(argument);
	}
	return e;
}

static enum err put_20(void *argument)
{
	return put_some(argument, 20);
}

static enum err put_12(void *argument)
{
	return put_some(argument, 12);
}

/* 500, of which each repetition takes 5: 100 of them, and 20 first attempts. */
TEST(a_service_that_fails_always_is_not_hammered)
{
	struct script script = { .client = put_20,
				 .exchanges = { { .says = BUSY, .times = 120 } } };

	CHECK_ERR(script_run(&script), ERR_S3_UNAVAILABLE);
	check_played(&script, 120);
}

/* 12 times 9 repetitions would take 540. */
TEST(what_works_in_the_end_gives_back_to_the_quota)
{
	struct script script = { .client = put_12,
				 .repeats = true,
				 .exchanges = { { .says = BUSY, .times = 9 },
						{ .says = OK_PUT("") } } };

	CHECK_OK(script_run(&script));
	CHECK_EQ(script.requests, 120);
}

static enum err put_twice(void *argument)
{
	enum err e = put_hello(argument);

	return e ? e : put_hello(argument);
}

/* Where somebody answered once, the same silence is borne until it ends. */
TEST(a_service_that_never_answered_is_soon_given_up)
{
	static struct script never, later;

	never = (struct script){ .client = put_hello,
				 .exchanges = { { .hangs_up = true, .times = 9 } } };
	later = (struct script){ .client = put_twice,
				 .exchanges = { { .says = OK_PUT("") },
						{ .hangs_up = true, .times = 7 },
						{ .says = OK_PUT("") } } };
	CHECK_ERR(script_run(&never), ERR_TLS_CUT);
	CHECK_EQ(never.requests, 3);
	CHECK_OK(script_run(&later));
	check_played(&later, 9);
}

TEST(a_connection_that_turns_out_to_be_closed_is_replaced_at_once)
{
	struct script script = { .client = put_twice,
				 .exchanges = { { .says = OK_PUT("") },
						{ .hangs_up = true },
						{ .says = OK_PUT("") } } };

	CHECK_OK(script_run(&script));
	check_played(&script, 3);
	CHECK_EQ(script.connections, 2);
	CHECK(script.took < 20 * NSEC_MILLISECOND);
	CHECK(stored.maybe_ours);
}

TEST(an_object_that_exists_may_be_our_own_only_if_an_attempt_was_lost)
{
	static struct script lost = { .client = put_hello,
				      .exchanges = { { .hangs_up = true }, { .says = EXISTS } } };
	static struct script other = { .client = put_hello, .exchanges = { { .says = EXISTS } } };

	CHECK_ERR(script_run(&lost), ERR_S3_EXISTS);
	check_played(&lost, 2);
	CHECK(stored.maybe_ours);
	CHECK_ERR(script_run(&other), ERR_S3_EXISTS);
	CHECK(!stored.maybe_ours);
}

static enum err put_after_an_error(void *argument)
{
	enum err e = RAISE(ERR_DISK_FULL, "the cause");

	CHECK_ERR(put_hello(argument), ERR_S3_EXISTS);
	return e;
}

TEST(an_earlier_error_of_the_fiber_stays_the_cause)
{
	struct script script = { .client = put_after_an_error,
				 .exchanges = { { .hangs_up = true }, { .says = EXISTS } } };

	CHECK_ERR(script_run(&script), ERR_DISK_FULL);
	CHECK_TEXT(script_note.text, "the cause");
	check_played(&script, 2);
}

/* ---- keys that expire ---- */

TEST(keys_that_were_good_and_are_not_any_more_are_replaced_once)
{
	struct script script = {
		.client = put_twice,
		.exchanges = { { .says = OK_PUT("") },
			       { .hears = { "Credential=KEY-0/" },
				 .says = S3_ERROR("403 Forbidden", "InvalidAccessKeyId", "") },
			       { .hears = { "Credential=KEY-1/" }, .says = OK_PUT("") } }
	};

	CHECK_OK(script_run(&script));
	CHECK_EQ(script.refused, 1);
}

TEST(keys_that_expired_are_replaced_once)
{
	static const char expired[] = S3_ERROR("400 Bad Request", "ExpiredToken", "");
	struct script script = {
		.client = put_hello,
		.exchanges = { { .hears = { "Credential=KEY-0/" }, .says = expired },
			       { .hears = { "Credential=KEY-1/" }, .says = OK_PUT("") } }
	};
	static struct script always = { .client = put_hello,
					.exchanges = { { .says = expired, .times = 2 } } };

	CHECK_OK(script_run(&script));
	CHECK_EQ(script.refused, 1);
	CHECK(!stored.maybe_ours);
	CHECK(script.took < NSEC_SECOND);
	CHECK_ERR(script_run(&always), ERR_AWS_EXPIRED);
	check_played(&always, 2);
	check_script_says("log in anew");
}

TEST(an_answer_to_head_that_says_nothing_may_mean_that_keys_expired)
{
	struct script script = { .client = head,
				 .exchanges = { { .says = S3_ANSWER("400 Bad Request", "", "") },
						{ .hears = { "Credential=KEY-1/" },
						  .says = S3_ANSWER("200 OK", "", "hello") } } };

	CHECK_OK(script_run(&script));
	check_played(&script, 2);
}

/* ---- a clock that is off ---- */

/* The simulated day begins at 2023-11-14T22:30:00Z; the server's clock is an hour ahead of ours. */
#define SERVER_DATE "Date: Tue, 14 Nov 2023 23:30:00 GMT\r\n"

TEST(a_clock_that_is_off_is_corrected_by_the_servers)
{
	static const char skewed[] = S3_ANSWER("403 Forbidden", SERVER_DATE,
					       "<Error><Code>RequestTimeTooSkewed</Code></Error>");
	struct script script = { .client = put_twice,
				 .exchanges = {
					 { .hears = { "20231114T2230" }, .says = skewed },
					 { .hears = { "20231114T2330" }, .says = OK_PUT("") },
					 { .hears = { "20231114T2330" }, .says = OK_PUT("") } } };
	static struct script always = { .client = put_hello,
					.exchanges = { { .says = skewed, .times = 2 } } };

	CHECK_OK(script_run(&script));
	check_played(&script, 3);
	CHECK_EQ(script.refused, 0);
	CHECK_ERR(script_run(&always), ERR_S3_REFUSED);
	check_played(&always, 2);
	check_script_says("set this machine's clock");
}

TEST(a_server_that_does_not_say_its_time_cannot_correct_ours)
{
	struct script script = {
		.client = put_hello,
		.exchanges = { { .says = S3_ERROR("403 Forbidden", "RequestTimeTooSkewed", "") } }
	};

	CHECK_ERR(script_run(&script), ERR_S3_REFUSED);
	check_played(&script, 1);
}

TEST(an_answer_to_head_shows_a_clock_that_is_off_by_its_date)
{
	struct script script = {
		.client = head,
		.exchanges = { { .says = S3_ANSWER("403 Forbidden", SERVER_DATE, "") },
			       { .hears = { "20231114T2330" },
				 .says = S3_ANSWER("403 Forbidden", SERVER_DATE, "") },
			       { .hears = { "GET /" },
				 .says = S3_ERROR("403 Forbidden", "AccessDenied", "") } }
	};

	CHECK_ERR(script_run(&script), ERR_S3_DENIED);
	check_played(&script, 3);
	check_script_says("s3:ListBucket, without which S3 says this of what is not there");
}

TEST(why_head_was_refused_is_asked_with_get)
{
	struct script script = {
		.client = head,
		.exchanges = { { .says = S3_ANSWER("403 Forbidden", "", "") },
			       { .hears = { "GET /", "bytes=0-0" },
				 .says = S3_ERROR("403 Forbidden", "SignatureDoesNotMatch", "") } }
	};

	CHECK_ERR(script_run(&script), ERR_S3_KEYS);
	check_played(&script, 2);
	check_script_says("SignatureDoesNotMatch");
}

TEST(a_refusal_of_head_that_get_does_not_explain_stays_one)
{
	struct script script = { .client = head,
				 .exchanges = {
					 { .says = S3_ANSWER("403 Forbidden", "", "") },
					 { .says = S3_ERROR("404 Not Found", "NoSuchKey", "") } } };

	CHECK_ERR(script_run(&script), ERR_S3_DENIED);
	check_played(&script, 2);
	check_script_says("HeadObject");
}

/* ---- what cannot be ---- */

TEST(what_does_not_fit_together_is_refused_before_anything_is_asked)
{
	static const struct {
		struct s3_config config;
		const char *words;
	} wrong[] = {
		{ { .owner = "me" }, "12 digits" },
		{ { .encryption = "none" }, "aws:kms:dsse" },
		{ { .encryption = "AES256", .kms_key = "k" }, "aws:kms" },
		{ { .encryption = "aws:kms:dsse", .bucket_key = true }, "bucket key" },
		{ { .lock_mode = "GOVERNANCE" }, "the date is missing" },
		{ { .lock_mode = "FOREVER", .retain_until = "2030-01-31T00:00:00Z" },
		  "COMPLIANCE" },
		{ { .lock_mode = "COMPLIANCE", .retain_until = "never" }, "2030-01-31T00:00:00Z" },
	};

	for (unsigned i = 0; i < ARRAY_COUNT(wrong); i++) {
		struct script script = { .client = put_hello, .config = wrong[i].config };

		CHECK_ERR(script_run(&script), ERR_INPUT_USAGE);
		check_script_says(wrong[i].words);
		CHECK_EQ(script.connections, 0);
	}
}

TEST(a_key_outside_of_the_residency_policy_is_not_asked_for)
{
	static const struct s3_config outside[] = {
		{ .encryption = "aws:kms", .kms_key = "arn:aws:kms:us-east-1:123456789012:key/k" },
		{ .encryption = "aws:kms:dsse", .kms_key = "alias/mail" },
		{ .encryption = "aws:kms" }, /* whatever key S3 takes */
	};
	struct residency *policy;

	REQUIRE(residency_open(&policy) == OK);
	CHECK_OK(residency_add(policy, RESIDENCY_KEYS, "arn:aws:kms:eu-central-1:*:key/*"));
	residency_set(policy);
	for (unsigned i = 0; i < ARRAY_COUNT(outside); i++) {
		struct script script = { .client = put_hello, .config = outside[i] };

		CHECK_ERR(script_run(&script), ERR_RESIDENCY_KEY);
		check_script_says("using ");
		CHECK_EQ(script.connections, 0);
	}
	CHECK_EQ(residency_refused(), ARRAY_COUNT(outside));
	residency_set(NULL);
	residency_close(&policy);
}
