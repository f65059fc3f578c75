/* What a trace shows of a conversation with a bucket, and what it does not.
 *
 *	build/gcc/tests/sim/s3_trace_test NAME */
#include "tests/sim/s3_script.h"

#include <fcntl.h>
#include <unistd.h>

#include "engine/log.h"

static char traced[64 * 1024];

static enum err put_once(void *argument)
{
	static const struct text piece = { "hello world", 11 };
	struct script *script = argument;
	struct s3_put put = { .key = "alice@example.com/packs/1",
			      .pieces = &piece,
			      .pieces_count = 1,
			      .crc = crc_update(CRC64NVME, 0, "hello world", 11) };
	struct s3_stored stored;

	return s3_put(script->s3, &put, clock_after(S3_PATIENCE), &stored);
}

/* The log of a run that puts one object. */
static enum err run_traced(struct script *script)
{
	int ends[2];
	ssize_t got;
	enum err e;

	must(pipe2(ends, O_CLOEXEC | O_NONBLOCK) == 0);
	log_setup(ends[1], LOG_WARN, false);
	log_set_trace(true);
	e = script_run(script);
	log_set_trace(false);
	log_setup(STDERR_FILENO, LOG_ERROR, false);
	got = read(ends[0], traced, sizeof traced - 1);
	must(got > 0);
	traced[got] = '\0';
	must(close(ends[0]) == 0 && close(ends[1]) == 0);
	return e;
}

static void shows(const char *part)
{
	if (!strstr(traced, part))
		test_failed(__FILE__, __LINE__, "there is no \"%s\" in: %s", part, traced);
}

static void hides(const char *part)
{
	if (strstr(traced, part))
		test_failed(__FILE__, __LINE__, "there is \"%s\" in: %s", part, traced);
}

TEST(a_bucket_is_traced_without_keys_signatures_and_content)
{
	struct script script = {
		.client = put_once,
		.config = { .encryption = "aws:kms", .kms_context = "eyJhIjoiYiJ9" },
		.exchanges = { { .hears = { "X-Amz-Security-Token: a-token", "Signature=" },
				 .says = S3_ANSWER("400 Bad Request", "Set-Cookie: a-cookie\r\n",
						   "<Error><Code>ExpiredToken</Code><Message>The "
						   "token a-token is bad</Message></Error>") },
			       { .says = S3_ANSWER("200 OK",
						   "ETag: \"0123\"\r\nx-amz-meta-owner: a-name\r\n",
						   "") } }
	};

	CHECK_OK(run_traced(&script));
	hides("a-token");
	hides("a-secret");
	hides("a-cookie");
	hides("a-name");
	hides("KEY-");
	hides("eyJhIjoiYiJ9");
	hides("hello world");
	hides("Signature=0");
	shows("event=http.request exchange=");
	shows("method=PUT target=/bucket/alice%40example.com/packs/1 fields=\"Host: ");
	shows("Content-Length: 11");
	shows("X-Amz-Security-Token: (hidden)");
	shows("Authorization: (hidden)"); /* keys as short as these are not AWS's */
	shows("status=400 fields=\"x-amz-request-id: 4442587FB7D0A2F9; x-amz-id-2: ");
	shows("Set-Cookie: (hidden)");
	shows("x-amz-meta-owner: (hidden)");
	shows("service=s3 operation=PutObject");
	shows("attempt=1 status=400 error=AWS_EXPIRED code=ExpiredToken message=\"words that "
	      "repeat "
	      "the token\" request_id=4442587FB7D0A2F9");
	shows("attempt=2 status=200 error=OK");
}

TEST(a_refusal_that_repeats_the_token_is_told_without_its_words)
{
	static const char says[] = S3_ANSWER("403 Forbidden", "",
					     "<Error><Code>AccessDenied</Code><Message>a-token may "
					     "not</Message></Error>");
	struct script script = { .client = put_once, .exchanges = { { .says = says } } };

	CHECK_ERR(script_run(&script), ERR_S3_DENIED);
	check_script_says("\"words that repeat the token\"");
	CHECK(!strstr(script_note.text, "a-token"));
}
