/* transport/aws_metadata.c over aws_local.c and aws_keys.c: keys from instance metadata and from
 * container endpoints, and services that refuse, are silent, or say too much. */
#include "tests/unit/aws_server.h"

#include <sys/socket.h>

#include "crypto/secret.h"
#include "engine/io.h"
#include "engine/limits.h"
#include "transport/aws_local.h"
#include "transport/aws_metadata.h"

static struct stand stand;
static struct aws_keys keys;

/* ---- JSON ---- */

static enum err read_keys(enum aws_keys_form form, const char *json)
{
	return aws_keys_read("the service", form, text_of(json), &keys);
}

TEST(keys_are_read_from_json)
{
	REQUIRE(CHECK_OK(read_keys(AWS_KEYS_OF_SERVICE,
				   "{\"Code\":\"Success\",\"LastUpdated\":\"x\",\"AccessKeyId\":"
				   "\"AKIA1\",\"SecretAccessKey\":\"se/c+ret=\",\"Token\":\"to==\","
				   "\"Expiration\":\"2030-01-31T12:00:00Z\",\"more\":[1,{}]}")));
	CHECK_TEXT(keys.key_id, "AKIA1");
	CHECK_TEXT(keys.secret, "se/c+ret=");
	CHECK_TEXT(keys.token, "to==");
	CHECK_EQ(keys.expires_s, 1896091200);
	CHECK(text_equal(aws_keys_credentials(&keys).session_token, text_of("to==")));
	REQUIRE(CHECK_OK(read_keys(AWS_KEYS_OF_PROCESS, "{\"Version\":1,\"AccessKeyId\":\"A\","
							"\"SecretAccessKey\":\"s\"}")));
	CHECK_EQ(keys.expires_s, 0);
	CHECK(!aws_keys_credentials(&keys).session_token.at);
	CHECK_OK(read_keys(AWS_KEYS_OF_PROCESS,
			   "{\"Version\":1,\"AccessKeyId\":\"A\",\"SecretAccessKey\":\"s\","
			   "\"SessionToken\":\"t\",\"Expiration\":\"2030-01-31T13:00:00+01:00\"}"));
	CHECK_EQ(keys.expires_s, 1896091200);
	CHECK_TEXT(keys.token, "t");
}

TEST(json_without_keys_says_why)
{
	static const struct {
		enum aws_keys_form form;
		const char *json;
		enum err e;
		const char *words;
	} rows[] = {
		{ AWS_KEYS_OF_SERVICE, "", ERR_INPUT_SECRET, "no JSON object" },
		{ AWS_KEYS_OF_SERVICE, "<html>hunter2", ERR_INPUT_SECRET, "no JSON object" },
		{ AWS_KEYS_OF_SERVICE, "{\"AccessKeyId\":1}", ERR_INPUT_SECRET, "no JSON object" },
		{ AWS_KEYS_OF_SERVICE,
		  "{\"Code\":\"AssumeRoleUnauthorizedAccess\",\"Message\":\"EC2 cannot\\n\"}",
		  ERR_AWS_REFUSED, "AssumeRoleUnauthorizedAccess: \"EC2 cannot\\x0a\"" },
		{ AWS_KEYS_OF_SERVICE, "{\"AccessKeyId\":\"A\",\"SecretAccessKey\":\"hunter2\"}",
		  ERR_INPUT_SECRET, "without \"Expiration\"" },
		{ AWS_KEYS_OF_SERVICE,
		  "{\"AccessKeyId\":\"A\",\"SecretAccessKey\":\"hunter2\",\"Expiration\":\"soon\"}",
		  ERR_INPUT_SECRET, "a time of expiry" },
		{ AWS_KEYS_OF_PROCESS, "{\"AccessKeyId\":\"A\",\"SecretAccessKey\":\"hunter2\"}",
		  ERR_INPUT_SECRET, "no JSON object with Version" },
		{ AWS_KEYS_OF_PROCESS,
		  "{\"Version\":2,\"AccessKeyId\":\"A\",\"SecretAccessKey\":\"hunter2\"}",
		  ERR_INPUT_SECRET, "\"Version\": 2" },
		{ AWS_KEYS_OF_PROCESS, "{\"Version\":1,\"SecretAccessKey\":\"hunter2\"}",
		  ERR_INPUT_SECRET, "a secret key without its access key id" },
		{ AWS_KEYS_OF_PROCESS, "{\"Version\":1,\"AccessKeyId\":\"A\"}", ERR_INPUT_SECRET,
		  "an access key id without its secret key" },
		{ AWS_KEYS_OF_PROCESS, "{\"Version\":1}", ERR_INPUT_SECRET, "no access key id" },
		{ AWS_KEYS_OF_PROCESS,
		  "{\"Version\":1,\"AccessKeyId\":\"A\",\"SecretAccessKey\":\"hunter2 \"}",
		  ERR_INPUT_SECRET, "cannot be any" },
		{ AWS_KEYS_OF_PROCESS,
		  "{\"Version\":1,\"AccessKeyId\":\"A\\r\\nX: y\",\"SecretAccessKey\":\"s\"}",
		  ERR_INPUT_SECRET, "cannot be any" },
	};

	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		CHECK_ERR(read_keys(rows[i].form, rows[i].json), rows[i].e);
		stand_check_said(rows[i].words);
	}
}

TEST(keys_have_to_fit)
{
	struct buffer json = { 0 };

	for (unsigned more = 0; more < 2; more++) {
		buffer_reset(&json);
		buffer_addf(&json,
			    "{\"Version\":1,\"AccessKeyId\":\"A\",\"SecretAccessKey\":\"s\","
			    "\"SessionToken\":\"%0*d\"}",
			    (int)(AWS_TOKEN_BYTES_MAX + more), 0);
		CHECK_ERR(read_keys(AWS_KEYS_OF_PROCESS, json.at), more ? ERR_INPUT_SECRET : OK);
		err_note_clear();
	}
	buffer_free(&json);
}

/* ---- where plaintext may go ---- */

TEST(plaintext_goes_to_the_link_and_to_this_machine_and_nowhere_else)
{
	static const char *const urls[] = {
		"http://169.254.169.254",     "http://169.254.170.2/v2/x?y=1",
		"http://169.254.170.23:80/x", "http://[fd00:ec2::254]/",
		"http://[fd00:ec2::23]/v1",   "http://127.0.0.1:8080/x",
		"http://127.8.9.10/",	      "http://[::1]:1/",
		"http://localhost:9/x",
	};
	static const char *const others[] = {
		"https://169.254.169.254/",
		"http://169.254.169.253/",
		"http://169.254.1.1/",
		"http://169.254.170.3/",
		"http://10.0.0.1/",
		"http://128.0.0.1/",
		"http://0.0.0.0/",
		"http://[fd00:ec2::255]/",
		"http://[fe80::1]/",
		"http://[::]/",
		"http://[::ffff:10.0.0.1]/",
		"http://[::ffff:169.254.169.254]/",
		"http://example.com/",
		"http://localhost.example/",
		"http://localhost@example.com/",
		"http://169.254.169.254@example.com/",
		"http://169.254.169.254.example.com/",
		"http://2852039166/",
		"http://127.0.0.1:0/",
		"http://127.0.0.1:65536/",
		"http://127.0.0.1:8x/",
		"http://127.0.0.1:/",
		"http://[::1/",
		"http://[::1]x/",
		"http://127.0.0.1/a b",
		"http://127.0.0.1/\r\nX: y",
		"http://127.0.0.1/#x",
		"http://",
		"",
	};
	struct aws_local_place place;

	for (size_t i = 0; i < ARRAY_COUNT(urls); i++)
		if (CHECK_OK(aws_local_parse("the URL", urls[i], &place)))
			CHECK(aws_local_is_allowed(&place.address) && place.target[0] == '/');
	for (size_t i = 0; i < ARRAY_COUNT(others); i++) {
		if (!CHECK_ERR(aws_local_parse("the URL", others[i], &place), ERR_INPUT_USAGE))
			test_failed(__FILE__, __LINE__, "%s", others[i]);
		stand_check_said("the URL");
	}
}

/* ---- instance metadata ---- */

#define KEYS                                                                                       \
	"{\"Code\":\"Success\",\"AccessKeyId\":\"ASIA1\",\"SecretAccessKey\":\"hunter2\","         \
	"\"Token\":"                                                                               \
	"\"tok\",\"Expiration\":\"2030-01-31T12:00:00Z\"}"

static bool begin(void)
{
	stand_clear_environment();
	keys = (struct aws_keys){ .expires_s = 0 };
	if (!stand_open(&stand, false))
		return false;
	stand_into(&stand, "AWS_EC2_METADATA_SERVICE_ENDPOINT", "");
	return true;
}

static void check_metadata(enum err expected, const char *words)
{
	CHECK_ERR(aws_metadata_fetch(clock_after(20 * NSEC_SECOND), &keys), expected);
	stand_check_said(words);
}

static bool was_asked(unsigned i, const char *words)
{
	return i < stand.heard_count && strstr(stand.heard[i], words);
}

TEST_FIBER(metadata_is_asked_with_a_token)
{
	REQUIRE(begin());
	stand.answers[0] = "200 TOKEN==";
	stand.answers[1] = "200 mail-mover\n";
	stand.answers[2] = "200 " KEYS;
	REQUIRE(CHECK_OK(aws_metadata_fetch(clock_after(20 * NSEC_SECOND), &keys)));
	CHECK_TEXT(keys.key_id, "ASIA1");
	CHECK_TEXT(keys.secret, "hunter2");
	CHECK_TEXT(keys.token, "tok");
	CHECK_EQ(stand.heard_count, 3);
	CHECK(was_asked(0, "PUT /latest/api/token HTTP/1.1\r\nHost: 127.0.0.1:"));
	CHECK(was_asked(0, "X-aws-ec2-metadata-token-ttl-seconds: 21600\r\n"));
	CHECK(was_asked(1, "GET /latest/meta-data/iam/security-credentials/ HTTP/1.1\r\n"));
	CHECK(was_asked(1, "X-aws-ec2-metadata-token: TOKEN==\r\n"));
	CHECK(was_asked(2, "GET /latest/meta-data/iam/security-credentials/mail-mover HTTP"));
	CHECK(was_asked(2, "X-aws-ec2-metadata-token: TOKEN==\r\n"));
	stand_close(&stand);
}

/* Looks behind a byte in each buffer that the ring fills, at what was there before. */
static unsigned count_buffers_with(const char *words)
{
	struct io_receiver *receiver;
	struct ring_bytes got;
	unsigned count = 0;
	int ends[2];

	must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
	must(io_receiver_open(ends[0], &receiver) == OK);
	for (unsigned i = 0; i < 2 * RECV_BUFFERS_COUNT; i++) {
		must(write(ends[1], "x", 1) == 1);
		must(io_receive(receiver, clock_after(20 * NSEC_SECOND), &got) == OK);
		count += memmem(got.at + got.length, RECV_BUFFER_BYTES - got.length, words,
				strlen(words)) != NULL;
		io_release(receiver, &got);
	}
	io_receiver_close(&receiver);
	io_close(&ends[0]);
	io_close(&ends[1]);
	return count;
}

/* Over TLS only ciphertext is there. */
TEST_FIBER(no_key_stays_where_the_ring_received_it)
{
	REQUIRE(begin());
	stand.answers[0] = "200 TOKEN==";
	stand.answers[1] = "200 role";
	stand.answers[2] = "200 " KEYS;
	REQUIRE(CHECK_OK(aws_metadata_fetch(clock_after(20 * NSEC_SECOND), &keys)));
	CHECK_EQ(count_buffers_with("TOKEN=="), 0);
	CHECK_EQ(count_buffers_with("hunter2"), 0);
	stand_close(&stand);
}

/* Version 1 would be to ask without the token. */
TEST_FIBER(a_token_that_is_refused_ends_it)
{
	static const char *const refusals[] = { "403 no", "404 no", "405 no", "400 no" };

	for (size_t i = 0; i < ARRAY_COUNT(refusals); i++) {
		REQUIRE(begin());
		stand.answers[0] = refusals[i];
		check_metadata(ERR_AWS_REFUSED, "it is off for this instance");
		CHECK_EQ(stand.heard_count, 1);
		stand_close(&stand);
	}
	REQUIRE(begin());
	stand.answers[0] = "503 later";
	check_metadata(ERR_AWS_UNAVAILABLE, "answers 503 the request for a token");
	stand_close(&stand);
}

/* The answer's hop limit is spent: the request arrives, and nothing comes back. */
TEST_FIBER(a_token_that_does_not_arrive_tells_of_hops)
{
	REQUIRE(begin());
	CHECK_ERR(aws_metadata_fetch(clock_after(50 * NSEC_MILLISECOND), &keys), ERR_NET_TIMEOUT);
	stand_check_said("--http-put-response-hop-limit 2");
	stand_close(&stand);
}

TEST_FIBER(nobody_at_the_address_is_an_error_of_the_network)
{
	REQUIRE(begin());
	stand_close(&stand);
	CHECK_ERR(aws_metadata_fetch(clock_after(20 * NSEC_SECOND), &keys), ERR_NET_REFUSED);
	err_note_clear();
}

static void check_metadata_after(const char *list, const char *answer, enum err expected,
				 const char *words)
{
	if (!begin())
		return;
	stand.answers[0] = "200 T";
	stand.answers[1] = list;
	stand.answers[2] = answer;
	check_metadata(expected, words);
	stand_close(&stand);
}

TEST_FIBER(metadata_without_keys_says_why)
{
	check_metadata_after("404 none", NULL, ERR_AWS_REFUSED, "this instance has no role");
	check_metadata_after("200 ", NULL, ERR_AWS_REFUSED, "this instance has no role");
	check_metadata_after("200 ../../user-data", NULL, ERR_HTTP_SYNTAX, "names a role");
	check_metadata_after("200 a b", NULL, ERR_HTTP_SYNTAX, "names a role");
	check_metadata_after("401 old", NULL, ERR_AWS_UNAVAILABLE, "answers 401");
	check_metadata_after("200 role", "500 x", ERR_AWS_UNAVAILABLE, "answers 500");
	check_metadata_after("200 role", "200 <html>", ERR_INPUT_SECRET, "no JSON object");
	check_metadata_after("200 role", "200 {\"Code\":\"Failed\",\"Message\":\"m\"}",
			     ERR_AWS_REFUSED, "Failed: \"m\"");
	check_metadata_after("HTTP/1.1 200 X\r\nContent-Length: 99\r\n\r\nrole", NULL,
			     ERR_STREAM_CUT, "");
	check_metadata_after("HTTP/1.1 302 X\r\nLocation: http://example.com/\r\n"
			     "Content-Length: 0\r\n\r\n",
			     NULL, ERR_AWS_REFUSED, "answers 302");
}

TEST_FIBER(a_token_that_cannot_be_one_is_not_sent_on)
{
	REQUIRE(begin());
	stand.answers[0] = "200 a\r\nX: y";
	check_metadata(ERR_HTTP_SYNTAX, "a token that cannot be one");
	CHECK_EQ(stand.heard_count, 1);
	stand_close(&stand);
	REQUIRE(begin());
	stand.answers[0] = "200 ";
	check_metadata(ERR_HTTP_SYNTAX, "a token that cannot be one");
	stand_close(&stand);
}

TEST_FIBER(answers_without_end_are_cut_off)
{
	static char body[AWS_LOCAL_BODY_BYTES_MAX + 200], head[AWS_LOCAL_HEAD_BYTES_MAX + 400];
	static char chunks[6 * 8000 + 200];
	size_t n;

	snprintf(body, sizeof body, "200 %0*d", AWS_LOCAL_BODY_BYTES_MAX + 1, 0);
	check_metadata_after("200 role", body, ERR_HTTP_SYNTAX, "more than 24576 bytes");
	snprintf(head, sizeof head, "HTTP/1.1 200 X\r\nX: %0*d\r\nContent-Length: 0\r\n\r\n",
		 AWS_LOCAL_HEAD_BYTES_MAX + 200, 0);
	check_metadata_after("200 role", head, ERR_HTTP_SYNTAX, "a head of more than 8192 bytes");
	n = (size_t)snprintf(chunks, sizeof chunks,
			     "HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n");
	for (unsigned i = 0; i < 8000; i++)
		n += (size_t)snprintf(chunks + n, sizeof chunks - n, "1\r\nx\r\n");
	check_metadata_after("200 role", chunks, ERR_HTTP_SYNTAX, "more than 24576 bytes");
	check_metadata_after("HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nro\r\n"
			     "2\r\nle\r\n0\r\n\r\n",
			     "200 " KEYS, OK, "");
	CHECK_TEXT(keys.key_id, "ASIA1");
}

TEST_FIBER(metadata_elsewhere_is_refused)
{
	REQUIRE(begin());
	setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://192.0.2.1/", 1);
	check_metadata(ERR_INPUT_USAGE, "without TLS only the addresses");
	unsetenv("AWS_EC2_METADATA_SERVICE_ENDPOINT");
	setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE", "both", 1);
	check_metadata(ERR_INPUT_USAGE, "neither IPv4 nor IPv6");
	stand_close(&stand);
}

/* ---- containers ---- */

static const struct account *tls_way(void)
{
	static struct account way;

	way = (struct account){ .scheme = "https",
				.ca_file = stand.server.ca_file,
				.io_timeout = 20 * NSEC_SECOND,
				.connect_timeout = 20 * NSEC_SECOND };
	return &way;
}

static bool begin_container(bool with_tls, const char *path)
{
	stand_clear_environment();
	keys = (struct aws_keys){ .expires_s = 0 };
	CHECK(!aws_container_is_named());
	if (!stand_open(&stand, with_tls))
		return false;
	stand_into(&stand, "AWS_CONTAINER_CREDENTIALS_FULL_URI", path);
	CHECK(aws_container_is_named());
	return true;
}

static void check_container(enum err expected, const char *words)
{
	CHECK_ERR(aws_container_fetch(tls_way(), clock_after(20 * NSEC_SECOND), &keys), expected);
	stand_check_said(words);
}

static void write_token(const char *content)
{
	char path[200];
	FILE *file;

	snprintf(path, sizeof path, "%s/token", test_directory());
	file = fopen(path, "w");
	must(file && fputs(content, file) >= 0 && fclose(file) == 0);
	setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", path, 1);
}

TEST_FIBER(a_container_is_asked_with_its_token_which_is_read_each_time)
{
	REQUIRE(begin_container(false, "/v1/keys?x=1"));
	stand.answers[0] = stand.answers[1] = stand.answers[2] = stand.answers[3] = "200 " KEYS;
	check_container(OK, "");
	CHECK_TEXT(keys.secret, "hunter2");
	CHECK(was_asked(0, "GET /v1/keys?x=1 HTTP/1.1\r\n") && !was_asked(0, "Authorization"));
	setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", "Basic one", 1);
	check_container(OK, "");
	CHECK(was_asked(1, "Authorization: Basic one\r\n"));
	write_token("two\n");
	check_container(OK, "");
	CHECK(was_asked(2, "Authorization: two\r\n"));
	write_token("three");
	check_container(OK, "");
	CHECK(was_asked(3, "Authorization: three\r\n"));
	write_token("four\nX: y");
	check_container(ERR_INPUT_SECRET, "holds no token of one line");
	write_token("\n");
	check_container(ERR_INPUT_SECRET, "holds no token of one line");
	setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "/nowhere/at/all", 1);
	check_container(ERR_DISK_ABSENT, "/nowhere/at/all");
	stand_close(&stand);
}

TEST_FIBER(a_container_endpoint_may_speak_tls)
{
	REQUIRE(begin_container(true, "/keys"));
	setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", "secret-of-mine", 1);
	stand.answers[0] = "200 " KEYS;
	stand.answers[1] = "403 {\"code\":\"No\",\"message\":\"secret-of-mine is bad\"}";
	check_container(OK, "");
	CHECK_TEXT(keys.key_id, "ASIA1");
	CHECK(was_asked(0, "Authorization: secret-of-mine\r\n"));
	stand.answers[2] = "403 {\"code\":\"secret\\u002dof\\u002dmine\"}";
	stand.answers[3] = "403 {\"code\":\"No\",\"message\":\"secret-o\\u0066-mine is bad\"}";
	for (unsigned i = 1; i < 4; i++)
		check_container(ERR_AWS_REFUSED, "status 403: no reason that can be shown");
	CHECK_EQ(stand.heard_count, 4);
	stand_close(&stand);
}

TEST_FIBER(a_container_endpoint_that_refuses_says_why)
{
	REQUIRE(begin_container(false, "/keys"));
	stand.answers[0] = "400 {\"code\":\"InvalidId\",\"message\":\"No such task\"}";
	stand.answers[1] = "500 ";
	stand.answers[2] = "200 {}";
	check_container(ERR_AWS_REFUSED, "status 400: InvalidId: \"No such task\"");
	check_container(ERR_AWS_UNAVAILABLE, "status 500");
	check_container(ERR_INPUT_SECRET, "without \"Expiration\"");
	stand_close(&stand);
}

TEST_FIBER(a_container_endpoint_elsewhere_is_refused_without_tls)
{
	REQUIRE(begin_container(false, "/keys"));
	setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://192.0.2.1/keys", 1);
	check_container(ERR_INPUT_USAGE, "give an https:// URL");
	setenv("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "@example.com/", 1);
	check_container(ERR_INPUT_USAGE, "RELATIVE_URI is no path");
	stand_close(&stand);
}
