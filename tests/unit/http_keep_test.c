/* One connection and several requests: what is left of an answer, a connection that the server
 * ended meanwhile, and bodies that are read to where they belong. */
#include "tests/unit/http_server.h"
#include "tests/unit/proxy_server.h"

static enum err get(struct http *http, struct http_head *head)
{
	return http_ask_soon(http, &(struct http_request){ .method = "GET" }, head);
}

/* ---- stale ---- */

/* What a second request over the connection comes to, when the server does `then` with it. */
static void check_second(const char *first, enum http_server_does then, const char *text,
			 enum err expected, bool expected_stale)
{
	struct http_server server = { .steps = { HEARS_HEAD,
						 SAYS(first),
						 HEARS_HEAD,
						 { then, 0, text },
						 STEP(SERVER_CLOSES) } };
	struct account account;
	struct http *http = NULL;
	struct http_head head;

	if (CHECK_OK(http_server_meet(&server, &account, &http)) && CHECK_OK(get(http, &head))) {
		CHECK(!http_was_stale(http));
		CHECK_ERR(get(http, &head), expected);
		CHECK_EQ(http_was_stale(http), expected_stale);
		CHECK(!http_is_open(http));
	}
	err_note_clear();
	http_server_stop(&server, &http);
	http_server_forget(&server);
}

#define EMPTY "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"

TEST_FIBER(a_kept_connection_that_ends_before_a_byte_of_an_answer_is_stale)
{
	check_second(EMPTY, SERVER_CLOSES, NULL, ERR_NET_CLOSED, true);
}

TEST_FIBER(a_kept_connection_that_ends_within_an_answer_is_not_stale)
{
	check_second(EMPTY, SERVER_SAYS, "H", ERR_NET_CLOSED, false);
	check_second(EMPTY, SERVER_SAYS, "HTTP/1.1 100 Continue\r\n\r\n", ERR_NET_CLOSED, false);
}

TEST_FIBER(a_new_connection_is_never_stale)
{
	struct http_server server = { .steps = { HEARS_HEAD, STEP(SERVER_CLOSES) } };
	struct account account;
	struct http *http = NULL;
	struct http_head head;

	if (CHECK_OK(http_server_meet(&server, &account, &http))) {
		CHECK_ERR(get(http, &head), ERR_NET_CLOSED);
		CHECK(!http_was_stale(http));
	}
	err_note_clear();
	http_server_stop(&server, &http);
	http_server_forget(&server);
}

/* What a look at the idle connection shows when the server did this behind its answer. */
static void check_look(enum http_server_does then, const char *text, bool expected)
{
	struct http_server server = {
		.steps = { HEARS_HEAD, SAYS(EMPTY), { then, 0, text }, STEP(SERVER_WAITS) }
	};
	struct account account;
	struct http *http = NULL;
	struct http_head head;

	if (CHECK_OK(http_server_meet(&server, &account, &http)) && CHECK_OK(get(http, &head))) {
		http_rest(http);
		/* It comes when it comes; until then all is well. */
		for (unsigned i = 0; http_is_live(http) && (!expected || i < 5); i++)
			must(fiber_sleep(clock_after(NSEC_MILLISECOND)) == OK);
		CHECK_EQ(http_is_live(http), expected);
		CHECK_EQ(err_note()->error, OK);
		if (!expected) {
			CHECK_ERR(get(http, &head), ERR_NET_CLOSED);
			CHECK(http_was_stale(http));
		}
	}
	err_note_clear();
	http_server_stop(&server, &http);
	/* It was not the server's patience that ended it. */
	CHECK(then == SERVER_CLOSES || then == SERVER_RESETS || server.was_released);
	http_server_forget(&server);
}

/* An answer that comes before the question is somebody else's, or "408": both end it. */
TEST_FIBER(a_look_at_an_idle_connection_shows_what_became_of_it)
{
	check_look(SERVER_WAITS, NULL, true);
	check_look(SERVER_CLOSES, NULL, false);
	check_look(SERVER_RESETS, NULL, false);
	check_look(SERVER_SAYS, EMPTY, false);
}

/* ---- answers without a body ---- */

TEST_FIBER(answers_without_a_body_leave_the_connection_for_the_next_request)
{
	static const char *const answers[] = {
		"HTTP/1.1 200 OK\r\nContent-Length: 17\r\nETag: \"x\"\r\n\r\n", /* to HEAD */
		"HTTP/1.1 204 No Content\r\nConnection: keep-alive\r\n\r\n",
		"HTTP/1.1 304 Not Modified\r\nContent-Length: 17\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nKeep-Alive: timeout=7, max=9\r\n\r\n",
	};
	struct http_server server = { 0 };
	struct account account;
	struct http *http = NULL;
	struct http_head head;
	char body[8];

	for (unsigned i = 0; i < ARRAY_COUNT(answers); i++) {
		server.steps[2 * i].does = SERVER_HEARS;
		server.steps[2 * i + 1].does = SERVER_SAYS;
		server.steps[2 * i + 1].text = answers[i];
	}
	if (CHECK_OK(http_server_meet(&server, &account, &http)))
		for (unsigned i = 0; i < ARRAY_COUNT(answers); i++) {
			struct http_request request = { .method = i ? "GET" : "HEAD" };

			CHECK_OK(http_ask_soon(http, &request, &head));
			CHECK_ERR(http_read_all(http, body, sizeof body), ERR_STREAM_ENDED);
			CHECK_TEXT(body, "");
			CHECK(http_is_open(http));
		}
	CHECK_EQ(http_keeps_for(http), 7 * NSEC_SECOND);
	http_server_stop(&server, &http);
	http_server_forget(&server);
}

/* ---- to where it belongs ---- */

/* A body of a MiB: how many of its bytes were copied on their way. */
static void check_copies(const char *head_text, const char *end_text, size_t copied_max)
{
	enum { BYTES = 1024 * 1024 };
	struct http_server server = { .steps = { HEARS_HEAD,
						 SAYS(head_text),
						 { SERVER_SAYS_X, BYTES, NULL },
						 SAYS(end_text),
						 STEP(SERVER_CLOSES) } };
	uint64_t copied = bytes_copied(BYTES_LINE_TAIL);
	char *body = malloc(BYTES + 2);
	struct account account;
	struct http *http = NULL;
	struct http_head head;

	must(body);
	if (CHECK_OK(http_server_meet(&server, &account, &http)) && CHECK_OK(get(http, &head))) {
		CHECK_ERR(http_read_all(http, body, BYTES + 2), ERR_STREAM_ENDED);
		CHECK_EQ(strlen(body), BYTES);
		CHECK_EQ(strspn(body, "x"), BYTES);
		copied = bytes_copied(BYTES_LINE_TAIL) - copied;
		if (copied > copied_max)
			test_failed(__FILE__, __LINE__, "%llu bytes were copied",
				    (unsigned long long)copied);
	}
	free(body);
	http_server_stop(&server, &http);
	http_server_forget(&server);
}

TEST_FIBER(a_body_is_read_straight_to_where_it_belongs)
{
	check_copies("HTTP/1.1 206 Partial\r\nContent-Length: 1048576\r\n\r\n", "", 4096);
	check_copies("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n100000\r\n",
		     "\r\n0\r\n\r\n", 4096);
	check_copies("HTTP/1.1 200 OK\r\n\r\n", "", 4096);
}

/* ---- by way of a proxy ---- */

TEST_FIBER(a_proxy_of_either_kind_leads_to_the_server)
{
	for (int is_http = 0; is_http < 2; is_http++) {
		struct http_server server = { .server.behave = http_server_behave,
					      .steps = { HEARS_HEAD, SAYS(EMPTY) } };
		struct proxy_server proxy = { .is_http = is_http };
		struct account account;
		struct http *http = NULL;
		struct http_head head;
		struct route route;

		REQUIRE(server_start(&server.server));
		proxy.target_port = server.server.port;
		proxy_start(&proxy);
		route = proxy_route(&proxy, "", NULL);
		account = account_for(&server.server, "localhost");
		account.io_timeout = 20 * NSEC_SECOND;
		account.route = &route;
		if (CHECK_OK(http_open(&account, clock_after(20 * NSEC_SECOND), &http)) &&
		    CHECK_OK(get(http, &head)))
			CHECK_EQ(head.status, 200);
		http_server_stop(&server, &http);
		proxy_stop(&proxy);
		CHECK_TEXT(proxy.host, "localhost");
		/* Who is asked is the server. */
		CHECK(memmem(server.heard.at, server.heard.bytes, "\r\nHost: localhost:", 18) !=
		      NULL);
		http_server_forget(&server);
	}
}
