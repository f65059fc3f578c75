/* What a trace shows of requests and answers, and that no secret planted in any place comes with it
 * ("hunter2" stands for each). */
#include "transport/http_trace.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/log.h"
#include "tests/test.h"

#define SECRET "hunter2"
#define SIGNED                                                                                     \
	"AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20261123/eusc-de-east-1/s3/"             \
	"aws4_request, SignedHeaders=host;x-amz-date, Signature=hunter2hunter2"

static int ends[2];
static char said[16 * 1024];

static void begin(void)
{
	must(pipe2(ends, O_CLOEXEC | O_NONBLOCK) == 0);
	log_setup(ends[1], LOG_ERROR, false);
	log_set_trace(true);
}

/* All that was said since; no secret is among it. */
static const char *read_all(void)
{
	ssize_t got = read(ends[0], said, sizeof said - 1);

	said[got > 0 ? got : 0] = '\0';
	if (strcasestr(said, SECRET))
		test_failed(__FILE__, __LINE__, "a secret is shown: %s", said);
	return said;
}

static void end(void)
{
	log_set_trace(false);
	log_setup(STDERR_FILENO, LOG_WARN, false);
	close(ends[0]);
	close(ends[1]);
}

static void shows(const char *part)
{
	if (!strstr(said, part))
		test_failed(__FILE__, __LINE__, "there is no \"%s\" in: %s", part, said);
}

static void asks(const char *head)
{
	CHECK(http_trace_request("b.s3.example", text_of(head), false) > 0);
	read_all();
}

TEST(a_request_is_shown_with_its_key_but_without_its_signature)
{
	begin();
	asks("PUT /bucket/a%20key?partNumber=2&uploadId=U1 HTTP/1.1\r\nHost: b.s3.example\r\n"
	     "Content-Length: 11\r\nAuthorization: " SIGNED "\r\nX-Amz-Date: "
	     "20261123T060000Z\r\n\r\n");
	shows("level=trace event=http.request exchange=");
	shows(" host=b.s3.example method=PUT target=\"/bucket/a%20key?partNumber=2&uploadId=U1\" "
	      "fields=\"Host: b.s3.example; Content-Length: 11; Authorization: AWS4-HMAC-SHA256 "
	      "Credential=...MPLE/20261123/eusc-de-east-1/s3/aws4_request, "
	      "SignedHeaders=host;x-amz-date, Signature=(hidden); X-Amz-Date: "
	      "20261123T060000Z\"\n");
	CHECK(!strstr(said, "AKIA") && !strstr(said, "IOSFODNN"));
	end();
}

TEST(an_answer_is_shown_under_the_number_of_its_request)
{
	uint64_t first, second;
	char number[40];

	begin();
	first = http_trace_request("h", text_of("GET / HTTP/1.1\r\n\r\n"), false);
	second = http_trace_request("h", text_of("GET / HTTP/1.1\r\n\r\n"), false);
	CHECK(first != second);
	read_all();
	http_trace_answer("h", second, 503,
			  text_of("HTTP/1.1 503 Slow Down\r\nx-amz-request-id: 4442587FB7D0A2F9\r\n"
				  "Retry-After:  5\r\nx-amz-id-2:vlR7=\r\n\r\n"));
	read_all();
	snprintf(number, sizeof number, "exchange=%llu host=h", (unsigned long long)second);
	shows(number);
	shows(" status=503 fields=\"x-amz-request-id: 4442587FB7D0A2F9; Retry-After: 5; "
	      "x-amz-id-2: vlR7=\"\n");
	end();
}

/* Values of fields: all that we send, all that stores and proxies know, and one that nobody does.
 */
TEST(no_field_shows_a_secret)
{
	static const char *const fields[] = {
		"Authorization: " SIGNED,
		"authorization: Bearer hunter2",
		"AUTHORIZATION: Basic hunter2",
		"Authorization: hunter2",
		"Authorization: AWS4-HMAC-SHA256 Credential=hunter2",
		"Authorization: AWS4-HMAC-SHA256 Credential=hunter2/hunter2, SignedHeaders=x",
		"Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE, SignedHeaders=x, "
		"Signature=hunter2",
		/* not AWS's, and too short to show a part of */
		"Authorization: AWS4-HMAC-SHA256 Credential=hunter2/20261123/r/s3/aws4_request, "
		"SignedHeaders=x, Signature=hunter2",
		"Authorization: AWS4-HMAC-SHA256  Credential=hunter2/, SignedHeaders=, Signature=",
		"Authorization: AWS hunter2:hunter2",
		"Proxy-Authorization: Basic hunter2",
		"X-Amz-Security-Token: hunter2",
		"x-amz-meta-subject: hunter2",
		"x-amz-server-side-encryption-customer-key: hunter2",
		"x-amz-server-side-encryption-customer-key-MD5: hunter2",
		"x-amz-copy-source-server-side-encryption-customer-key: hunter2",
		"x-amz-server-side-encryption-context: hunter2",
		"x-amz-tagging: hunter2",
		"x-amz-mfa: hunter2",
		"X-aws-ec2-metadata-token: hunter2",
		"Cookie: hunter2",
		"Set-Cookie: hunter2",
		"Location: https://b.s3.example/?X-Amz-Signature=hunter2",
		"WWW-Authenticate: hunter2",
		"X-Api-Key: hunter2",
		"Date-Of-Birth: hunter2",
		"Dat: hunter2",
	};
	char head[400];

	begin();
	for (unsigned i = 0; i < ARRAY_COUNT(fields); i++) {
		snprintf(head, sizeof head, "GET / HTTP/1.1\r\n%s\r\nAccept: */*\r\n\r\n",
			 fields[i]);
		asks(head);
		shows("(hidden)");
		shows("; Accept: */*");
		snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\nDate: now\r\n%s\r\n\r\n",
			 fields[i]);
		http_trace_answer("h", 1, 200, text_of(head));
		read_all();
		shows("Date: now; ");
		shows("(hidden)");
	}
	end();
}

TEST(no_parameter_of_a_target_shows_a_secret)
{
	begin();
	asks("GET /b/key?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=hunter2%2F20261123&"
	     "X-Amz-Signature=hunter2&X-Amz-Security-Token=hunter2&access_token=hunter2&code="
	     "hunter2"
	     "&sig=hunter2&prefixes=hunter2&uploads&prefix=a%2F&max-keys=2 HTTP/1.1\r\n\r\n");
	shows("target=\"/b/key?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=(hidden)&"
	      "X-Amz-Signature=(hidden)&X-Amz-Security-Token=(hidden)&access_token=(hidden)&"
	      "code=(hidden)&sig=(hidden)&prefixes=(hidden)&uploads&prefix=a%2F&max-keys=2\"");
	CHECK(http_trace_request("h",
				 text_of("GET /v2/credentials/hunter2?a=hunter2 HTTP/1.1\r\n"
					 "\r\n"),
				 true) > 0);
	read_all();
	shows("target=(hidden)");
	end();
}

TEST(what_does_not_fit_is_cut_and_says_so)
{
	char head[4000];
	int used;

	begin();
	used = snprintf(head, sizeof head, "GET /%0*d HTTP/1.1\r\nAuthorization: " SIGNED "\r\n",
			700, 0);
	for (int i = 0; i < 40; i++)
		used += snprintf(head + used, sizeof head - (size_t)used,
				 "ETag: 0123456789012345678901234567890123456789\r\n");
	snprintf(head + used, sizeof head - (size_t)used, "X-Amz-Security-Token: hunter2\r\n\r\n");
	asks(head);
	shows("00000... fields=\"");
	shows("...\"\n");
	end();
}

TEST(nobody_who_did_not_ask_gets_a_trace_and_names_only_where_they_are_allowed)
{
	static const char head[] = "GET /alice%40example.com HTTP/1.1\r\nHost: h\r\n\r\n";
	char path[200];

	begin();
	log_set_trace(false);
	log_setup(ends[1], LOG_DEBUG, false);
	CHECK_EQ(http_trace_request("h", text_of(head), false), 0);
	http_trace_answer("h", 0, 200, text_of("HTTP/1.1 200 OK\r\n\r\n"));
	CHECK_TEXT(read_all(), "");

	snprintf(path, sizeof path, "%s/log", test_directory());
	REQUIRE(mkfifo(path, 0600) == 0 && (ends[0] = open(path, O_RDONLY | O_NONBLOCK)) >= 0);
	CHECK_OK(log_open(&(struct log_config){ .path = path, .level = LOG_ERROR }));
	log_set_trace(true);
	CHECK(http_trace_request("h", text_of(head), false) > 0);
	read_all();
	shows("host=h method=GET fields=\"Host: h\"\n");
	CHECK(!strstr(said, "alice"));
	end();
}
