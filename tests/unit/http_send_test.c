/* Requests with bodies over real TLS: out of several pieces of memory, pulled, asked for first, and
 * answered before they were heard. */
#include "tests/unit/http_server.h"

#define ANSWER_OK "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

static uint8_t memory[1024 * 1024];

/* No two pieces of it look alike. */
static void fill_memory(void)
{
	uint32_t value = 1;

	for (size_t i = 0; i < sizeof memory; i++)
		memory[i] = (uint8_t)((value = value * 1664525 + 1013904223) >> 24);
}

static struct text span(size_t from, size_t bytes)
{
	return (struct text){ (const char *)memory + from, bytes };
}

/* What the server heard behind its first head. */
static struct text heard_body(const struct http_server *server)
{
	const char *end = memmem(server->heard.at, server->heard.bytes, "\r\n\r\n", 4);

	must(end);
	return (struct text){ end + 4, (size_t)(server->heard.at + server->heard.bytes - end - 4) };
}

static bool heard_says(const struct http_server *server, const char *words)
{
	return memmem(server->heard.at, server->heard.bytes, words, strlen(words)) != NULL;
}

/* ---- out of memory ---- */

TEST_FIBER(a_body_in_several_pieces_arrives_as_one_and_can_be_sent_again)
{
	const struct text pieces[] = { span(0, 70001), span(70001, 0), span(70001, 1),
				       span(70002, 300000), span(370002, 400000) };
	const size_t bytes = 770002;
	struct http_request request = { .pieces = pieces, .pieces_count = ARRAY_COUNT(pieces) };
	struct http_server server = { .steps = { HEARS_HEAD, HEARS(bytes), SAYS(ANSWER_OK),
						 HEARS_HEAD, HEARS(bytes), SAYS(ANSWER_OK) } };
	struct account account;
	struct http *http = NULL;
	struct http_head head;
	struct text found;

	fill_memory();
	if (CHECK_OK(http_server_meet(&server, &account, &http)))
		for (unsigned i = 0; i < 2; i++) {
			if (!CHECK_OK(http_ask_soon(http, &request, &head)))
				break;
			CHECK_EQ(head.status, 200);
		}
	http_server_stop(&server, &http);
	CHECK(heard_says(&server, "\r\nContent-Length: 770002\r\n"));
	found = heard_body(&server);
	REQUIRE(found.bytes > 2 * bytes);
	CHECK(memcmp(found.at, memory, bytes) == 0);
	CHECK(memcmp(found.at + found.bytes - bytes, memory, bytes) == 0);
	http_server_forget(&server);
}

/* Head and body in one TLS record, so in one segment where it fits one. */
TEST_FIBER(a_small_request_is_one_record)
{
	const struct text pieces[] = { text_of("hello"), text_of(", "), text_of("world") };
	struct http_request request = { .pieces = pieces, .pieces_count = ARRAY_COUNT(pieces) };
	struct http_server server = { .steps = { HEARS_HEAD, SAYS(ANSWER_OK) } };
	struct account account;
	struct http *http = NULL;
	struct http_head head;

	if (CHECK_OK(http_server_meet(&server, &account, &http)))
		CHECK_OK(http_ask_soon(http, &request, &head));
	http_server_stop(&server, &http);
	CHECK_EQ(server.first_record_bytes, server.heard.bytes);
	CHECK(text_equal(heard_body(&server), text_of("hello, world")));
	http_server_forget(&server);
}

/* ---- pulled ---- */

struct feeding {
	const struct text *pieces;
	size_t count, at;
	enum err end; /* instead of the last piece's end */
	struct http_field trailers[2];
};

static enum err feed_next(void *context, struct text *piece)
{
	struct feeding *feeding = context;

	if (feeding->at == feeding->count) {
		feeding->trailers[0].value = text_of("known now");
		feeding->trailers[1].value = text_of("12");
		return feeding->end ? RAISE(feeding->end, "the feed") : ERR_STREAM_ENDED;
	}
	*piece = feeding->pieces[feeding->at++];
	return OK;
}

TEST_FIBER(a_body_that_is_pulled_goes_out_in_chunks_with_its_trailers_behind)
{
	const struct text pieces[] = { text_of("hello"), text_of(""), text_of("sixteen bytes...") };
	struct feeding feeding = { .pieces = pieces,
				   .count = 3,
				   .trailers = { { .name = "x-sum" }, { .name = "X-Count" } } };
	const struct http_feed feed = { .next = feed_next,
					.context = &feeding,
					.bytes = HTTP_BYTES_UNKNOWN,
					.trailers = feeding.trailers,
					.trailers_count = 2 };
	struct http_request request = { .feed = &feed };
	static const char coded[] = "5\r\nhello\r\n10\r\nsixteen bytes...\r\n0\r\n"
				    "x-sum: known now\r\nX-Count: 12\r\n\r\n";
	struct http_server server = { .steps = { HEARS_HEAD, HEARS(sizeof coded - 1),
						 SAYS(ANSWER_OK) } };
	struct account account;
	struct http *http = NULL;
	struct http_head head;

	if (CHECK_OK(http_server_meet(&server, &account, &http)))
		CHECK_OK(http_ask_soon(http, &request, &head));
	http_server_stop(&server, &http);
	CHECK(text_equal(heard_body(&server), text_of(coded)));
	CHECK(heard_says(&server, "\r\nTransfer-Encoding: chunked\r\n"));
	CHECK(heard_says(&server, "\r\nTrailer: x-sum\r\nTrailer: X-Count\r\n"));
	CHECK(!heard_says(&server, "Content-Length"));
	http_server_forget(&server);
}

/* A body of which `bytes` were said, pulled from two pieces; what the server heard of it. */
static void check_feed(uint64_t bytes, enum err end, enum err expected)
{
	const struct text pieces[] = { span(0, 200000), span(200000, 100000) };
	struct feeding feeding = { .pieces = pieces, .count = 2, .end = end };
	const struct http_feed feed = { .next = feed_next, .context = &feeding, .bytes = bytes };
	struct http_request request = { .feed = &feed };
	struct http_server server = { .steps = { HEARS_HEAD, HEARS(300000), SAYS(ANSWER_OK) } };
	struct account account;
	struct http *http = NULL;
	struct http_head head;

	if (CHECK_OK(http_server_meet(&server, &account, &http))) {
		CHECK_ERR(http_ask_soon(http, &request, &head), expected);
		CHECK(!http_is_open(http));
	}
	http_server_stop(&server, &http);
	if (expected == OK)
		CHECK(text_equal(heard_body(&server), span(0, 300000)));
	else
		CHECK(heard_body(&server).bytes <=
		      min_u64(bytes, 300100)); /* with sizes of chunks */
	http_server_forget(&server);
	err_note_clear();
}

TEST_FIBER(a_body_that_is_pulled_has_the_length_that_was_said_or_the_request_fails)
{
	fill_memory();
	check_feed(300000, OK, OK);
	check_feed(300001, OK, ERR_STREAM_CUT);
	check_feed(200001, OK, ERR_STREAM_CUT);
	check_feed(300000, ERR_DISK_IO, ERR_DISK_IO);
	check_feed(HTTP_BYTES_UNKNOWN, ERR_DISK_IO, ERR_DISK_IO);
}

/* ---- asked for first ---- */

/* A PUT of 200,000 bytes that asks first. */
static enum err ask_first(struct http_server *server, nsec wait, unsigned *status, bool *is_open)
{
	const struct text body = span(0, 200000);
	struct http_request request = { .body = body, .continue_wait = wait };
	struct account account;
	struct http *http = NULL;
	struct http_head head = { 0 };
	char answer[64];
	enum err e;

	fill_memory();
	if ((e = http_server_meet(server, &account, &http)) == OK &&
	    (e = http_ask_soon(http, &request, &head)) == OK)
		e = http_read_all(http, answer, sizeof answer);
	if (e == ERR_STREAM_ENDED)
		e = OK;
	*status = head.status;
	*is_open = http && http_is_open(http);
	http_server_stop(server, &http);
	return e;
}

TEST_FIBER(a_body_that_is_wanted_is_sent)
{
	struct http_server server = {
		.steps = { HEARS_HEAD, SAYS("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"),
			   SAYS("HTTP/1.1 100 Continue\r\n\r\n"), HEARS(200000), SAYS(ANSWER_OK) }
	};
	unsigned status;
	bool is_open;

	CHECK_OK(ask_first(&server, 20 * NSEC_SECOND, &status, &is_open));
	CHECK_EQ(status, 200);
	CHECK(is_open);
	CHECK(heard_says(&server, "\r\nExpect: 100-continue\r\n"));
	CHECK(text_equal(heard_body(&server), span(0, 200000)));
	http_server_forget(&server);
}

/* Nor may the connection be used again: the server would take the next request for the body. */
TEST_FIBER(a_body_that_is_not_wanted_is_not_sent)
{
	struct http_server server = {
		.steps = { HEARS_HEAD, SAYS("HTTP/1.1 403 No\r\nContent-Length: 3\r\n\r\nno!"),
			   HEARS(1) }
	};
	unsigned status;
	bool is_open;

	CHECK_OK(ask_first(&server, 20 * NSEC_SECOND, &status, &is_open));
	CHECK_EQ(status, 403);
	CHECK(!is_open);
	CHECK_EQ(heard_body(&server).bytes, 0);
	http_server_forget(&server);
}

TEST_FIBER(a_server_that_does_not_know_the_expectation_gets_the_body_after_a_while)
{
	struct http_server server = { .steps = { HEARS_HEAD, HEARS(200000), SAYS(ANSWER_OK) } };
	unsigned status;
	bool is_open;

	CHECK_OK(ask_first(&server, 30 * NSEC_MILLISECOND, &status, &is_open));
	CHECK_EQ(status, 200);
	CHECK(is_open);
	http_server_forget(&server);
}

TEST_FIBER(a_leave_that_comes_while_the_body_is_sent_already_is_passed_over)
{
	struct http_server server = { .steps = { HEARS_HEAD, HEARS(1),
						 SAYS("HTTP/1.1 100 Continue\r\n\r\n"),
						 HEARS(199999), SAYS(ANSWER_OK) } };
	unsigned status;
	bool is_open;

	CHECK_OK(ask_first(&server, NSEC_MILLISECOND, &status, &is_open));
	CHECK_EQ(status, 200);
	CHECK(is_open);
	http_server_forget(&server);
}

TEST_FIBER(a_server_that_goes_instead_of_giving_leave_is_known)
{
	struct http_server server = { .steps = { HEARS_HEAD, STEP(SERVER_CLOSES) } };
	unsigned status;
	bool is_open;

	CHECK_ERR(ask_first(&server, 20 * NSEC_SECOND, &status, &is_open), ERR_NET_CLOSED);
	http_server_forget(&server);
	err_note_clear();
}

/* ---- answered before it was heard ---- */

#define TOO_MUCH                                                                                   \
	"HTTP/1.1 413 Content Too Large\r\nContent-Length: 9\r\nX-Why: because\r\n\r\ntoo large"

/* A body that no socket's buffers can hold, towards a server that answers after 100 kB of it. */
static void check_early_answer(enum http_server_does then, bool feeds)
{
	struct text pieces[64];
	struct feeding feeding = { .pieces = pieces, .count = ARRAY_COUNT(pieces) };
	const struct http_feed feed = { .next = feed_next,
					.context = &feeding,
					.bytes = HTTP_BYTES_UNKNOWN };
	struct http_request request = { .pieces = feeds ? NULL : pieces,
					.pieces_count = feeds ? 0 : ARRAY_COUNT(pieces),
					.feed = feeds ? &feed : NULL };
	struct http_server server = { .steps = { HEARS_HEAD,
						 HEARS(100000),
						 SAYS(TOO_MUCH),
						 { then, 300000, NULL },
						 STEP(SERVER_RESETS) } };
	struct account account;
	struct http *http = NULL;
	struct http_head head;
	struct text why;
	char answer[64];

	for (size_t i = 0; i < ARRAY_COUNT(pieces); i++)
		pieces[i] = span(0, sizeof memory);
	if (CHECK_OK(http_server_meet(&server, &account, &http)) &&
	    CHECK_OK(http_ask_soon(http, &request, &head))) {
		CHECK_EQ(head.status, 413);
		CHECK(http_parse_field(head.fields, "x-why", &why));
		CHECK_ERR(http_read_all(http, answer, sizeof answer), ERR_STREAM_ENDED);
		CHECK_TEXT(answer, "too large");
		CHECK(!http_is_open(http));
		CHECK(!http_was_stale(http));
		CHECK_EQ(err_note()->error, OK);
		CHECK_OK(http_finish(http, clock_after(20 * NSEC_SECOND)));
	}
	http_server_stop(&server, &http);
	CHECK(then != SERVER_WAITS || server.was_released);
	http_server_forget(&server);
	err_note_clear();
}

/* The answer must be heard while nothing of the body moves: waiting until sending fails would take
 * the server's patience. */
TEST_FIBER(an_answer_in_the_middle_of_a_body_is_heard_although_the_server_reads_no_more)
{
	check_early_answer(SERVER_WAITS, false);
	check_early_answer(SERVER_WAITS, true);
}

TEST_FIBER(an_answer_in_the_middle_of_a_body_is_heard_although_the_server_goes)
{
	check_early_answer(SERVER_RESETS, false);
	check_early_answer(SERVER_CLOSES, false);
}

TEST_FIBER(an_answer_in_the_middle_of_a_body_is_heard_while_the_server_reads_on)
{
	check_early_answer(SERVER_HEARS, false);
}

/* Sending was broken off, in the middle of a record most likely; reading goes on. */
TEST_FIBER(the_rest_of_an_answer_in_the_middle_of_a_body_is_read_as_it_comes)
{
	struct text pieces[64];
	struct http_request request = { .pieces = pieces, .pieces_count = ARRAY_COUNT(pieces) };
	struct http_server server = {
		.steps = { HEARS_HEAD, HEARS(100000),
			   SAYS("HTTP/1.1 503 Slow Down\r\nContent-Length: 9\r\n\r\nslow "),
			   STEP(SERVER_WAITS), SAYS("down"), STEP(SERVER_RESETS) }
	};
	struct account account;
	struct http *http = NULL;
	struct http_head head;
	char answer[64];

	for (size_t i = 0; i < ARRAY_COUNT(pieces); i++)
		pieces[i] = span(0, sizeof memory);
	if (CHECK_OK(http_server_meet(&server, &account, &http)) &&
	    CHECK_OK(http_ask_soon(http, &request, &head))) {
		CHECK_EQ(head.status, 503);
		CHECK_OK(http_read(http, answer, 5, &(size_t){ 0 }));
		atomic_store(&server.server.released, true);
		CHECK_ERR(http_read_all(http, answer + 5, sizeof answer - 5), ERR_STREAM_ENDED);
		CHECK_TEXT(answer, "slow down");
	}
	http_server_stop(&server, &http);
	http_server_forget(&server);
	err_note_clear();
}

TEST_FIBER(a_server_that_goes_in_the_middle_of_a_body_without_a_word_is_known)
{
	struct text pieces[64];
	struct http_request request = { .pieces = pieces, .pieces_count = ARRAY_COUNT(pieces) };
	struct http_server server = { .steps = { HEARS_HEAD, HEARS(100000), STEP(SERVER_RESETS) } };
	struct account account;
	struct http *http = NULL;
	struct http_head head;

	for (size_t i = 0; i < ARRAY_COUNT(pieces); i++)
		pieces[i] = span(0, sizeof memory);
	if (CHECK_OK(http_server_meet(&server, &account, &http))) {
		enum err e = http_ask_soon(http, &request, &head);

		CHECK(e == ERR_NET_RESET || e == ERR_NET_CLOSED || e == ERR_TLS_CUT);
		CHECK_EQ(err_note()->error, e);
		CHECK(!http_was_stale(http)); /* it was new */
	}
	http_server_stop(&server, &http);
	http_server_forget(&server);
	err_note_clear();
}

/* ---- deadlines ---- */

TEST_FIBER(a_server_that_takes_no_more_of_a_body_is_a_timeout)
{
	struct text pieces[64];
	struct http_request request = { .pieces = pieces, .pieces_count = ARRAY_COUNT(pieces) };
	struct http_server server = { .steps = { HEARS_HEAD, STEP(SERVER_WAITS) } };
	struct account account;
	struct http *http = NULL;
	struct http_head head;

	for (size_t i = 0; i < ARRAY_COUNT(pieces); i++)
		pieces[i] = span(0, sizeof memory);
	if (CHECK_OK(http_server_meet(&server, &account, &http))) {
		account.io_timeout = 50 * NSEC_MILLISECOND;
		CHECK_ERR(http_ask_soon(http, &request, &head), ERR_NET_TIMEOUT);
		CHECK(!http_was_stale(http));
	}
	http_server_stop(&server, &http);
	CHECK(server.was_released);
	http_server_forget(&server);
	err_note_clear();
}

/* Which must not keep who listens from seeing that nothing is sent any more. */
TEST_FIBER(a_server_that_floods_instead_of_reading_a_body_is_a_timeout)
{
	for (int asks_first = 0; asks_first < 2; asks_first++) {
		struct text pieces[64];
		struct http_request request = { .pieces = pieces,
						.pieces_count = ARRAY_COUNT(pieces),
						.continue_wait = asks_first * NSEC_MILLISECOND };
		struct http_server server = { .steps = { HEARS_HEAD, STEP(SERVER_FLOODS) } };
		struct account account;
		struct http *http = NULL;
		struct http_head head;

		for (size_t i = 0; i < ARRAY_COUNT(pieces); i++)
			pieces[i] = span(0, sizeof memory);
		if (CHECK_OK(http_server_meet(&server, &account, &http))) {
			account.io_timeout = 50 * NSEC_MILLISECOND;
			CHECK_ERR(http_ask_soon(http, &request, &head), ERR_NET_TIMEOUT);
		}
		http_server_stop(&server, &http);
		http_server_forget(&server);
		err_note_clear();
	}
}

static enum err ask_in_fiber(void *argument)
{
	struct text pieces[64];
	struct http_request request = { .pieces = pieces, .pieces_count = ARRAY_COUNT(pieces) };
	struct http_head head;

	for (size_t i = 0; i < ARRAY_COUNT(pieces); i++)
		pieces[i] = span(0, sizeof memory);
	return http_ask_soon(argument, &request, &head);
}

TEST_FIBER(who_is_called_off_while_a_body_is_sent_leaves_a_connection_that_can_be_closed)
{
	struct http_server server = { .steps = { HEARS_HEAD, STEP(SERVER_WAITS) } };
	struct account account;
	struct http *http = NULL;
	struct group *group;

	if (CHECK_OK(http_server_meet(&server, &account, &http))) {
		group = group_open();
		CHECK_OK(group_spawn(group, "ask", FIBER_STACK_SMALL, ask_in_fiber, http));
		CHECK_OK(fiber_sleep(clock_after(20 * NSEC_MILLISECOND)));
		group_cancel(group);
		CHECK_ERR(group_join(&group), ERR_FIBER_CANCELED);
		CHECK(!http_is_open(http));
	}
	http_server_stop(&server, &http);
	http_server_forget(&server);
	err_note_clear();
}
