/* Whoever hands out keys is asked with secrets and answers with some: what traces and the record of
 * these requests say, and that none of it is one ("hunter2" stands for each). */
#include "tests/unit/aws_server.h"

#include "crypto/secret.h"
#include "engine/log.h"
#include "transport/aws_metadata.h"
#include "transport/aws_sts.h"

#define ARN "arn:aws-eusc:iam::123456789012:role/mover"
#define HEAD(status, length)                                                                       \
	"HTTP/1.1 " status "\r\nContent-Length: " length "\r\nx-amzn-RequestId: 0f1e-2d3c\r\n"     \
	"Set-Cookie: hunter2\r\nServer: stand-in\r\n\r\n"
#define KEYS                                                                                       \
	"{\"Code\":\"Success\",\"AccessKeyId\":\"ASIA1\",\"SecretAccessKey\":\"hunter2\","         \
	"\"Token\":\"hunter2\",\"Expiration\":\"2030-01-31T12:00:00Z\"}"
#define ROLE                                                                                       \
	"<AssumeRoleResponse><AssumeRoleResult><Credentials><AccessKeyId>A</AccessKeyId>"          \
	"<SecretAccessKey>hunter2</SecretAccessKey><SessionToken>hunter2</SessionToken>"           \
	"<Expiration>2030-01-31T12:00:00Z</Expiration></Credentials></AssumeRoleResult>"           \
	"</AssumeRoleResponse>"
#define REFUSAL                                                                                    \
	"<ErrorResponse><Error><Code>AccessDenied</Code><Message>User: x is not authorized"        \
	"</Message></Error></ErrorResponse>"
#define REPEATING                                                                                  \
	"<ErrorResponse><Error><Code>InvalidIdentityToken</Code><Message>No: hunter2</Message>"    \
	"</Error></ErrorResponse>"

static struct stand stand;
static struct account way;
static struct aws_keys keys;
static char log_path[200], traced[64 * 1024];

/* ---- the record ---- */

static struct {
	unsigned count;
	struct aws_request last; /* numbers and literals only */
	char code[100], message[300], request_id[AWS_REQUEST_ID_BYTES];
} told;

static void tell(void *context, const struct aws_request *request)
{
	must(context == &told);
	told.count++;
	told.last = *request;
	CHECK_TEXT(request->region, "eusc-de-east-1");
	CHECK(strncmp(request->host, "localhost:", 10) == 0);
	CHECK_TEXT(request->bucket, "");
	CHECK_TEXT(request->key, "");
	CHECK_TEXT(request->host_id, "");
	snprintf(told.code, sizeof told.code, "%s", request->code);
	snprintf(told.message, sizeof told.message, "%s", request->message);
	snprintf(told.request_id, sizeof told.request_id, "%s", request->request_id);
}

static const struct aws_listener listener = { tell, &told };

/* ---- traces ---- */

static bool begin(bool with_tls)
{
	stand_clear_environment();
	told = (typeof(told)){ .count = 0 };
	if (!stand_open(&stand, with_tls))
		return false;
	way = (struct account){ .scheme = "https",
				.ca_file = stand.server.ca_file,
				.io_timeout = 20 * NSEC_SECOND,
				.connect_timeout = 20 * NSEC_SECOND };
	snprintf(log_path, sizeof log_path, "%s/log", test_directory());
	CHECK_OK(log_open(
		&(struct log_config){ .path = log_path, .level = LOG_DEBUG, .names = true }));
	log_set_trace(true);
	return true;
}

/* And no secret is in what was logged. */
static void end(void)
{
	FILE *file = fopen(log_path, "r");

	log_set_trace(false);
	log_setup(STDERR_FILENO, LOG_WARN, false);
	stand_close(&stand);
	must(file);
	traced[fread(traced, 1, sizeof traced - 1, file)] = '\0';
	must(fclose(file) == 0);
	if (strstr(traced, "hunter2"))
		test_failed(__FILE__, __LINE__, "a secret is shown: %s", traced);
}

static void shows(const char *part)
{
	if (!strstr(traced, part))
		test_failed(__FILE__, __LINE__, "there is no \"%s\" in: %s", part, traced);
}

/* ---- STS ---- */

static struct aws_settings settings;
static const struct aws_role role = { .arn = ARN };

static struct aws_sts sts_here(void)
{
	settings = (struct aws_settings){ .region = "eusc-de-east-1" };
	snprintf(settings.endpoint_url[AWS_STS], sizeof settings.endpoint_url[AWS_STS],
		 "https://localhost:%u/", stand.server.port);
	keys = (struct aws_keys){ .key_id = "AKIAIOSFODNN7EXAMPLE",
				  .secret = "hunter2",
				  .token = "hunter2" };
	return (struct aws_sts){ &settings, &way, &listener };
}

static enum err assume(const struct aws_role *wanted, struct text code)
{
	struct aws_sts sts = sts_here();
	enum err e = aws_sts_assume(&sts, wanted, code, clock_after(20 * NSEC_SECOND), &keys);

	err_note_clear();
	return e;
}

TEST_FIBER(a_role_is_traced_and_recorded_without_its_keys)
{
	const struct aws_role with_code = { .arn = ARN, .mfa_serial = "GAHT12345678" };

	REQUIRE(begin(true));
	stand.answers[0] = HEAD("200 OK", "256") ROLE;
	stand.answers[1] = HEAD("403 Forbidden", "115") REFUSAL;
	stand.answers[2] = "503 ";
	CHECK_EQ(strlen(ROLE), 256);
	CHECK_EQ(strlen(REFUSAL), 115);
	CHECK_OK(assume(&with_code, text_of("918273")));
	CHECK_EQ(told.count, 1);
	CHECK_TEXT(told.last.service, "sts");
	CHECK_TEXT(told.last.operation, "AssumeRole");
	CHECK_TEXT(told.request_id, "0f1e-2d3c");
	CHECK_TEXT(told.code, "");
	CHECK_EQ(told.last.status, 200);
	CHECK_EQ(told.last.attempt, 0);
	CHECK_EQ(told.last.error, OK);
	CHECK_EQ(told.last.bytes_received, strlen(ROLE));
	CHECK(told.last.bytes_sent > 100 && told.last.duration > 0);

	CHECK_ERR(assume(&role, (struct text){ NULL, 0 }), ERR_AWS_REFUSED);
	CHECK_TEXT(told.code, "AccessDenied");
	CHECK_TEXT(told.message, "User: x is not authorized");
	CHECK_EQ(told.last.status, 403);
	CHECK_EQ(told.last.error, ERR_AWS_REFUSED);
	CHECK_ERR(assume(&role, (struct text){ NULL, 0 }), ERR_AWS_UNAVAILABLE);
	CHECK_TEXT(told.code, "");
	CHECK_TEXT(told.request_id, "");
	CHECK_EQ(told.last.status, 503);
	way.ca_file = NULL;
	CHECK_ERR(assume(&role, (struct text){ NULL, 0 }), ERR_TLS_UNTRUSTED);
	CHECK_EQ(told.count, 4);
	CHECK_EQ(told.last.status, 0);
	CHECK_EQ(told.last.bytes_sent, 0);
	end();
	shows("event=http.request exchange=");
	shows(" method=POST target=/ fields=\"Host: localhost:");
	shows("Authorization: AWS4-HMAC-SHA256 Credential=...MPLE/");
	shows("; X-Amz-Security-Token: (hidden)");
	shows("x-amzn-RequestId: 0f1e-2d3c; Set-Cookie: (hidden); Server: stand-in");
	shows("event=aws.request service=sts operation=AssumeRole");
	shows("code=AccessDenied message=\"User: x is not authorized\" request_id=0f1e-2d3c");
	CHECK(!strstr(traced, "918273") && !strstr(traced, "mover") && !strstr(traced, "AKIA"));
}

TEST_FIBER(a_refusal_that_repeats_the_token_is_recorded_without_its_words)
{
	REQUIRE(begin(true));
	struct aws_sts sts = sts_here();

	stand.answers[0] = "400 " REPEATING;
	CHECK_ERR(aws_sts_assume_by_token(&sts, &role, text_of("hunter2"),
					  clock_after(20 * NSEC_SECOND), &keys),
		  ERR_AWS_REFUSED);
	CHECK(strstr(stand.heard[0], "WebIdentityToken=hunter2") != NULL);
	CHECK_TEXT(told.last.operation, "AssumeRoleWithWebIdentity");
	CHECK_TEXT(told.message, "");
	CHECK_EQ(told.last.status, 400);
	end();
	shows("operation=AssumeRoleWithWebIdentity");
}

/* ---- beside the machine ---- */

TEST_FIBER(instance_metadata_is_traced_without_its_token)
{
	REQUIRE(begin(false));
	stand_into(&stand, "AWS_EC2_METADATA_SERVICE_ENDPOINT", "");
	stand.answers[0] = "200 hunter2";
	stand.answers[1] = "200 mail-mover";
	stand.answers[2] = "200 " KEYS;
	CHECK_OK(aws_metadata_fetch(clock_after(20 * NSEC_SECOND), &keys));
	CHECK(strstr(stand.heard[2], "X-aws-ec2-metadata-token: hunter2") != NULL);
	end();
	shows("method=PUT target=/latest/api/token");
	shows("X-aws-ec2-metadata-token-ttl-seconds: 21600");
	shows("iam/security-credentials/mail-mover fields=");
	shows("X-aws-ec2-metadata-token: (hidden)");
	shows("event=http.answer exchange=");
}

TEST_FIBER(a_container_is_traced_without_the_path_that_is_its_secret)
{
	for (unsigned with_tls = 0; with_tls < 2; with_tls++) {
		REQUIRE(begin(with_tls));
		stand_into(&stand, "AWS_CONTAINER_CREDENTIALS_FULL_URI", "/v2/hunter2?x=hunter2");
		setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", "hunter2", 1);
		stand.answers[0] = "200 " KEYS;
		CHECK_OK(aws_container_fetch(&way, clock_after(20 * NSEC_SECOND), &keys));
		CHECK(strstr(stand.heard[0], "Authorization: hunter2") != NULL);
		end();
		shows("method=GET target=(hidden) fields=\"");
		shows("Authorization: (hidden)");
		CHECK(unlink(log_path) == 0);
	}
}
