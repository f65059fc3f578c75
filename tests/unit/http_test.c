/* transport/http.c over real TLS sockets: requests as they go out, answers as they come, and
 * servers that misbehave. What a head or body may look like is http_parse_test.c's. */
#include "tests/unit/tls_server.h"

#include "transport/http.h"

/* ---- URLs ---- */

static void check_url(const char *text, const char *host, unsigned port, const char *target)
{
	struct http_url url;

	if (!CHECK_OK(http_url_parse("the URL", text, &url)))
		return;
	CHECK_TEXT(url.host, host);
	CHECK_EQ(url.port, port);
	CHECK_TEXT(url.target, target);
}

TEST(a_url_is_taken_apart)
{
	check_url("https://a.example", "a.example", 443, "/");
	check_url("https://a.example:8443/x/y?z=1&q", "a.example", 8443, "/x/y?z=1&q");
	check_url("https://[2001:db8::1]:44/", "2001:db8::1", 44, "/");
	check_url("https://a.example?q", "a.example", 443, "/?q");
}

TEST(a_url_that_could_mean_something_else_is_refused)
{
	static const char *const urls[] = {
		"http://a.example/",
		"HTTPS://a.example/",
		"https:///x",
		"https://u@a.example/",
		"https://u:p@a.example/x",
		"https://a.example/#f",
		"https://a.example/a b",
		"https://a.example/\r\nX:",
		"https://a.example:0/",
		"https://a.example:/",
		"https://a.example:65536/",
		"https://a.example:1x/",
		"https://[::1/",
		"https://a example/",
		"https://a.example/\xc3\xbc",
		"",
	};
	struct http_url url;

	for (size_t i = 0; i < ARRAY_COUNT(urls); i++) {
		CHECK_ERR(http_url_parse("the URL", urls[i], &url), ERR_INPUT_USAGE);
		CHECK(strncmp(err_note()->text, "the URL ", 8) == 0);
		err_note_clear();
	}
}

/* ---- a server that hears whole requests ---- */

static const char *script[8]; /* one answer a request */
static char requests[8][2048];
static _Atomic unsigned requests_count;

static bool hear_request(struct server *server, char *to, size_t room)
{
	size_t used = 0, body = 0;
	char *end, *length;
	int got;

	for (;;) {
		got = SSL_read(server->ssl, to + used, (int)(room - 1 - used));
		if (got <= 0)
			return false;
		used += (size_t)got;
		to[used] = '\0';
		if (!(end = strstr(to, "\r\n\r\n")))
			continue;
		length = strstr(to, "Content-Length: ");
		body = length && length < end ? strtoul(length + 16, NULL, 10) : 0;
		if (used >= (size_t)(end + 4 - to) + body)
			return true;
	}
}

static void answer_by_script(struct server *server)
{
	while (hear_request(server, requests[requests_count], sizeof requests[0])) {
		const char *answer = script[requests_count++];

		if (answer)
			say(server, answer);
		if (!answer || !script[requests_count])
			break;
	}
	SSL_shutdown(server->ssl);
	hear_end(server);
}

static struct server http_server(void)
{
	requests_count = 0;
	for (size_t i = 0; i < ARRAY_COUNT(script); i++)
		script[i] = NULL;
	return (struct server){ .behave = answer_by_script };
}

static enum err open_http(struct server *server, struct account *account, struct http **http)
{
	*account = account_for(server, NULL);
	account->io_timeout = 20 * NSEC_SECOND;
	return http_open(account, clock_after(20 * NSEC_SECOND), http);
}

static enum err ask(struct http *http, const char *method, const char *body, struct http_head *head)
{
	const struct http_field fields[] = { { "Accept", text_of("*/*") } };
	struct http_request request = { .method = method,
					.target = "/token?x=1",
					.fields = fields,
					.fields_count = 1,
					.body = body ? text_of(body) : (struct text){ NULL, 0 },
					.first_byte = 20 * NSEC_SECOND };

	return http_ask(http, &request, clock_after(20 * NSEC_SECOND), head);
}

static enum err read_to_end(struct http *http, char *to, size_t room)
{
	size_t used = 0, got;
	enum err e;

	while ((e = http_read(http, to + used, min_u64(3, room - 1 - used), &got)) == OK)
		used += got;
	to[used] = '\0';
	return e == ERR_STREAM_ENDED ? OK : e;
}

TEST_FIBER(two_requests_go_over_one_connection)
{
	struct server server = http_server();
	struct http *http = NULL;
	struct account account;
	struct http_head head;
	char body[64], host[80];

	script[0] = "HTTP/1.1 100 Continue\r\n\r\n"
		    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
		    "5\r\nhello\r\n0\r\nSum: 1\r\n\r\n";
	script[1] = "HTTP/1.1 404 No\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno";
	REQUIRE(server_start(&server));
	if (CHECK_OK(open_http(&server, &account, &http)) &&
	    CHECK_OK(ask(http, "POST", "a=b", &head))) {
		CHECK_EQ(head.status, 200);
		CHECK(!http_is_open(http));
		CHECK_OK(read_to_end(http, body, sizeof body));
		CHECK_TEXT(body, "hello");
		CHECK(text_equal(http_trailers(http), text_of("Sum: 1\r\n")));
		CHECK(http_is_open(http));
		CHECK_OK(ask(http, "GET", NULL, &head));
		CHECK_EQ(head.status, 404);
		CHECK_OK(read_to_end(http, body, sizeof body));
		CHECK_TEXT(body, "no");
		CHECK(!http_is_open(http));
		CHECK_ERR(ask(http, "GET", NULL, &head), ERR_NET_CLOSED);
		err_note_clear();
		CHECK_OK(http_finish(http, clock_after(20 * NSEC_SECOND)));
	}
	http_close(&http);
	server_stop(&server);
	snprintf(host, sizeof host, "POST /token?x=1 HTTP/1.1\r\nHost: 127.0.0.1:%u\r\n",
		 server.port);
	CHECK(strncmp(requests[0], host, strlen(host)) == 0);
	CHECK(strstr(requests[0], "\r\nContent-Length: 3\r\n") != NULL);
	CHECK(strstr(requests[0], "\r\n\r\na=b") != NULL);
	CHECK(strstr(requests[1], "Content-Length") == NULL);
}

TEST_FIBER(what_nobody_read_is_dropped_before_the_next_request)
{
	struct server server = http_server();
	struct http *http = NULL;
	struct account account;
	struct http_head head;
	char body[64];

	script[0] = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123456789";
	script[1] = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx";
	REQUIRE(server_start(&server));
	if (CHECK_OK(open_http(&server, &account, &http)) &&
	    CHECK_OK(ask(http, "GET", NULL, &head)) && CHECK_OK(ask(http, "GET", NULL, &head))) {
		CHECK_OK(read_to_end(http, body, sizeof body));
		CHECK_TEXT(body, "x");
	}
	http_close(&http);
	server_stop(&server);
}

/* What one answer, and the end of the connection behind it, lead to. */
static void check_answer(const char *answer, enum err of_head, enum err of_body)
{
	struct server server = http_server();
	struct http *http = NULL;
	struct account account;
	struct http_head head;
	char body[256];

	script[0] = answer;
	REQUIRE(server_start(&server));
	if (CHECK_OK(open_http(&server, &account, &http)) &&
	    CHECK_ERR(ask(http, "POST", "", &head), of_head) && of_head == OK)
		CHECK_ERR(read_to_end(http, body, sizeof body), of_body);
	CHECK(!http_is_open(http));
	err_note_clear();
	http_close(&http);
	server_stop(&server);
}

TEST_FIBER(answers_that_are_cut_are_known)
{
	check_answer("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n012", OK, ERR_STREAM_CUT);
	check_answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n012\r\n", OK,
		     ERR_STREAM_CUT);
	check_answer("HTTP/1.1 200 OK\r\nConte", ERR_NET_CLOSED, OK);
	check_answer("", ERR_NET_CLOSED, OK);
	check_answer("HTTP/1.1 200 OK\r\n\r\nto the end", OK, OK);
}

TEST_FIBER(answers_that_are_none_are_refused)
{
	check_answer("* OK IMAP ready\r\n\r\n", ERR_HTTP_SYNTAX, OK);
	check_answer("HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n", ERR_HTTP_SYNTAX, OK);
	check_answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", OK,
		     ERR_HTTP_SYNTAX);
}

TEST_FIBER(a_server_that_says_over_and_over_that_it_will_answer_is_left)
{
	struct buffer answer = { 0 };

	for (unsigned i = 0; i < 30; i++)
		buffer_add_text(&answer, "HTTP/1.1 103 Early Hints\r\n\r\n");
	check_answer(answer.at, ERR_HTTP_SYNTAX, OK);
	buffer_free(&answer);
}

static void answer_without_end(struct server *server)
{
	char line[1024];

	hear(server);
	say(server, "HTTP/1.1 200 OK\r\n");
	memset(line, 'a', sizeof line);
	memcpy(line, "X: ", 3);
	memcpy(line + sizeof line - 3, "\r\n", 3);
	for (unsigned i = 0; i < 80 && !server->was_cut_off; i++)
		say(server, line);
	hear_end(server);
}

TEST_FIBER(a_head_without_end_is_left_in_bounded_memory)
{
	struct server server = { .behave = answer_without_end };
	struct http *http = NULL;
	struct account account;
	struct http_head head;

	REQUIRE(server_start(&server));
	if (CHECK_OK(open_http(&server, &account, &http)))
		CHECK_ERR(ask(http, "POST", "", &head), ERR_HTTP_SYNTAX);
	CHECK(strstr(err_note()->text, "head of more than") != NULL);
	http_close(&http);
	server_stop(&server);
}

/* ---- silence ---- */

static void never_answer(struct server *server)
{
	hear(server);
	hear_end(server);
}

static void stall_in_the_body(struct server *server)
{
	hear(server);
	say(server, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n012");
	hear_end(server);
}

TEST_FIBER(silence_ends_at_its_deadline)
{
	static void (*const behave[])(struct server *) = { never_answer, stall_in_the_body };

	for (size_t i = 0; i < ARRAY_COUNT(behave); i++) {
		struct server server = { .behave = behave[i] };
		struct http_request request = { .method = "GET",
						.target = "/",
						.first_byte = i ? 20 * NSEC_SECOND
								: 50 * NSEC_MILLISECOND };
		struct http *http = NULL;
		struct account account;
		struct http_head head;
		char body[64];
		enum err e;

		REQUIRE(server_start(&server));
		if (CHECK_OK(open_http(&server, &account, &http))) {
			account.io_timeout = 50 * NSEC_MILLISECOND;
			e = http_ask(http, &request, clock_after(60 * NSEC_SECOND), &head);
			e = e ? e : read_to_end(http, body, sizeof body);
			CHECK_ERR(e, ERR_NET_TIMEOUT);
		}
		err_note_clear();
		http_close(&http);
		server_stop(&server);
	}
}

TEST_FIBER(a_field_that_would_be_two_is_refused)
{
	const struct http_field fields[] = { { "X-A", text_of("b\r\nX-C: d") } };
	struct http_request request = { .method = "GET",
					.target = "/",
					.fields = fields,
					.fields_count = 1,
					.first_byte = NSEC_SECOND };
	struct server server = { .behave = hear_end };
	struct http *http = NULL;
	struct account account;
	struct http_head head;

	REQUIRE(server_start(&server));
	if (CHECK_OK(open_http(&server, &account, &http)))
		CHECK_ERR(http_ask(http, &request, clock_after(NSEC_SECOND), &head),
			  ERR_INPUT_USAGE);
	http_close(&http);
	server_stop(&server);
}
