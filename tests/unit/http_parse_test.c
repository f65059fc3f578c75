/* Heads and bodies of HTTP/1.1 from memory: what is understood, and what is refused although some
 * would understand it. */
#include "tests/test.h"

#include <stdlib.h>

#include "transport/http_parse.h"

static enum err parse(const char *head, struct http_head *out)
{
	struct text text = text_of(head);

	must(http_parse_head_bytes(text) == text.bytes);
	return http_parse_head(text, false, out);
}

static void check_refused(const char *head)
{
	struct http_head out;
	enum err e = parse(head, &out);

	if (e != ERR_HTTP_SYNTAX)
		test_failed(__FILE__, __LINE__, "taken: %s", head);
	err_note_clear();
}

TEST(a_head_says_how_its_body_ends)
{
	struct http_head head;
	struct text value;

	CHECK_OK(parse("HTTP/1.1 200 OK\r\nContent-Type: a/b \r\nContent-Length:5\r\n\r\n", &head));
	CHECK_EQ(head.status, 200);
	CHECK_EQ(head.framing, HTTP_LENGTH);
	CHECK_EQ(head.body_bytes, 5);
	CHECK(head.keeps_alive);
	CHECK(http_parse_field(head.fields, "CONTENT-type", &value));
	CHECK(text_equal(value, text_of("a/b")));
	CHECK(!http_parse_field(head.fields, "content", &value));
	CHECK_OK(parse("HTTP/1.1 200\r\nTransfer-Encoding: Chunked\r\n\r\n", &head));
	CHECK_EQ(head.framing, HTTP_CHUNKED);
	CHECK_OK(parse("HTTP/1.1 200 \r\n\r\n", &head));
	CHECK_EQ(head.framing, HTTP_TO_END);
	CHECK(!head.keeps_alive);
	CHECK_OK(parse("HTTP/1.1 204 No\r\nContent-Length: 0\r\n\r\n", &head));
	CHECK_EQ(head.framing, HTTP_NO_BODY);
	CHECK_OK(parse("HTTP/1.1 304 Same\r\nContent-Length: 17\r\n\r\n", &head));
	CHECK_EQ(head.framing, HTTP_NO_BODY);
	CHECK_OK(http_parse_head(text_of("HTTP/1.1 200 OK\r\nContent-Length: 17\r\n\r\n"), true,
				 &head));
	CHECK_EQ(head.framing, HTTP_NO_BODY);
}

TEST(who_keeps_the_connection_says_so)
{
	struct http_head head;

	CHECK_OK(parse("HTTP/1.1 200 OK\r\nConnection: x, Close\r\nContent-Length: 1\r\n\r\n",
		       &head));
	CHECK(!head.keeps_alive);
	CHECK_OK(parse("HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\n", &head));
	CHECK(!head.keeps_alive);
	CHECK_OK(parse("HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 1\r\n\r\n",
		       &head));
	CHECK(head.keeps_alive);
}

TEST(how_long_a_connection_is_kept_is_a_hint)
{
	static const struct {
		const char *value;
		nsec keeps_for;
	} rows[] = {
		{ "timeout=5", 5 * NSEC_SECOND },
		{ "max=100, Timeout=15 ", 15 * NSEC_SECOND },
		{ "timeout=0", 0 },
		{ "timeout=", 0 },
		{ "timeout", 0 },
		{ "timeout=-5", 0 },
		{ "timeout=99999999999999999999", 0 },
		{ ", ,", 0 },
		{ "", 0 },
	};
	struct http_head head;
	char text[100];

	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		snprintf(text, sizeof text,
			 "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nKeep-Alive: %s\r\n\r\n",
			 rows[i].value);
		CHECK_OK(parse(text, &head));
		CHECK_EQ(head.keeps_for, rows[i].keeps_for);
	}
}

TEST(what_could_be_read_in_two_ways_is_refused)
{
	static const char *const heads[] = {
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 0x5\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: \013chunked\r\n\r\n",
		"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
		"HTTP/1.1 204 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
		"HTTP/1.1 204 OK\r\nContent-Length: 5\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length : 5\r\n\r\n",
		"HTTP/1.1 200 OK\r\n Content-Length: 5\r\n\r\n",
		"HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n",
		"HTTP/1.1 200 OK\r\nA: b\rContent-Length: 5\r\n\r\n",
		"HTTP/1.1 200 OK\r\nA: b\nContent-Length: 5\r\n\r\n",
		"HTTP/1.1 200 OK\r\n: b\r\n\r\n",
		"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
		"HTTP/1.1 200 OK\r\nA\x01: b\r\n\r\n",
	};

	for (size_t i = 0; i < ARRAY_COUNT(heads); i++)
		check_refused(heads[i]);
}

TEST(what_is_no_answer_of_http_is_refused)
{
	static const char *const heads[] = {
		"* OK IMAP4rev1 ready\r\n\r\n",
		"HTTP/2 200 OK\r\n\r\n",
		"HTTP/1.1  200 OK\r\n\r\n",
		"HTTP/1.1 20 OK\r\n\r\n",
		"HTTP/1.1 2000 OK\r\n\r\n",
		"HTTP/1.1 099 OK\r\n\r\n",
		"HTTP/1.1 600 OK\r\n\r\n",
		"HTTP/1.1 2x0 OK\r\n\r\n",
		"http/1.1 200 OK\r\n\r\n",
		"HTTP/1.1 200 O\rK\r\n\r\n",
		" HTTP/1.1 200 OK\r\n\r\n",
		"\r\n\r\n",
		"HTTP/1.1 200 OK\r\n\xff: x\r\n\r\n",
	};

	for (size_t i = 0; i < ARRAY_COUNT(heads); i++)
		check_refused(heads[i]);
}

TEST(more_fields_than_anybody_sends_are_refused)
{
	struct buffer head = { 0 };
	struct http_head out;

	buffer_add_text(&head, "HTTP/1.1 200 OK\r\n");
	for (unsigned i = 0; i < HTTP_FIELDS_MAX; i++)
		buffer_add_text(&head, "A: b\r\n");
	buffer_add_text(&head, "\r\n");
	CHECK_OK(parse(head.at, &out));
	head.bytes -= 2;
	buffer_add_text(&head, "A: b\r\n\r\n");
	check_refused(head.at);
	buffer_free(&head);
}

TEST(a_head_is_whole_only_with_its_empty_line)
{
	CHECK_EQ(http_parse_head_bytes(text_of("")), 0);
	CHECK_EQ(http_parse_head_bytes(text_of("HTTP/1.1 200 OK\r\nA: b\r\n\r")), 0);
	CHECK_EQ(http_parse_head_bytes(text_of("HTTP/1.1 200 OK\n\n")), 0);
	CHECK_EQ(http_parse_head_bytes(text_of("HTTP/1.1 200 OK\r\n\r\nrest")), 19);
}

/* ---- bodies ---- */

/* The content of a chunked body, read in pieces; NULL if it is refused. `rest`: bytes behind it. */
static char *read_chunked(const char *coded, size_t piece, size_t *rest, char trailers[64])
{
	struct http_head head = { .framing = HTTP_CHUNKED };
	struct text left = text_of(coded), content;
	struct buffer found = { 0 };
	struct http_body body;
	size_t used;
	enum err e = OK;

	http_parse_body_begin(&body, &head);
	while (!e && left.bytes && body.at != HTTP_AT_END) {
		struct text now = { left.at, min_u64(left.bytes, piece) };

		e = http_parse_body(&body, now, &used, &content);
		CHECK(used > 0 || e);
		buffer_add(&found, content.at, content.bytes);
		left = (struct text){ left.at + used, left.bytes - used };
	}
	*rest = left.bytes;
	snprintf(trailers, 64, "%s", body.trailers.at ? body.trailers.at : "");
	if (!e && http_parse_body_ended(&body))
		e = ERR_STREAM_CUT;
	CHECK(e == OK || e == ERR_HTTP_SYNTAX || e == ERR_STREAM_CUT);
	err_note_clear();
	http_parse_body_free(&body);
	if (e) {
		buffer_free(&found);
		return NULL;
	}
	buffer_add_text(&found, "");
	return found.at ? found.at : strdup("");
}

static void check_chunked(const char *coded, const char *wanted, size_t wanted_rest)
{
	char trailers[64], *content;
	size_t rest;

	for (size_t piece = 1; piece < 40; piece++) {
		content = read_chunked(coded, piece, &rest, trailers);
		if (!content != !wanted)
			test_failed(__FILE__, __LINE__, "%s: %s", coded,
				    content ? "taken" : "refused");
		if (content && wanted) {
			CHECK_TEXT(content, wanted);
			CHECK_EQ(rest, wanted_rest);
		}
		free(content);
	}
}

TEST(chunks_are_put_together_in_whatever_pieces_they_come)
{
	check_chunked("5\r\nhello\r\n6;x=\"y\"\r\n world\r\n0\r\n\r\nnext", "hello world", 4);
	check_chunked("00000005\r\nhello\r\n000\r\n\r\n", "hello", 0);
	check_chunked("a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n", "01234567890123456789", 0);
	check_chunked("0\r\n\r\n", "", 0);
}

TEST(trailers_are_kept_for_who_asks)
{
	char trailers[64], *content;
	struct text value;
	size_t rest;

	content = read_chunked("1\r\na\r\n0\r\nX-Sum: 12 \r\nB: c\r\n\r\n", 3, &rest, trailers);
	CHECK_TEXT(content, "a");
	CHECK_TEXT(trailers, "X-Sum: 12 \r\nB: c\r\n");
	CHECK(http_parse_field(text_of(trailers), "x-sum", &value));
	CHECK(text_equal(value, text_of("12")));
	free(content);
}

TEST(chunks_that_are_none_are_refused)
{
	static const char *const bodies[] = {
		"\r\nhello\r\n0\r\n\r\n",
		"g\r\n",
		"5 \r\nhello\r\n0\r\n\r\n",
		" 5\r\nhello\r\n0\r\n\r\n",
		"0x5\r\nhello\r\n0\r\n\r\n",
		"+5\r\nhello\r\n0\r\n\r\n",
		"5\nhello\r\n0\r\n\r\n",
		"5\r\nhello!\r\n0\r\n\r\n",
		"5\r\nhello\n0\r\n\r\n",
		"5\r\nhello\r\n0\r\nno field\r\n\r\n",
		"5\r\nhello\r\n0\r\nA : b\r\n\r\n",
		"ffffffffffffffffff\r\n",
		"20000000000001\r\n",
		"5;\x01\r\nhello\r\n0\r\n\r\n",
		"5\r\nhello\r\n",
		"5\r\nhel",
		"5",
		"5\r\nhello\r\n0\r\n",
		"5\r\nhello\r\n0\r\nA: b\r\n",
	};

	for (size_t i = 0; i < ARRAY_COUNT(bodies); i++)
		check_chunked(bodies[i], NULL, 0);
}

TEST(lines_without_end_are_refused_in_bounded_memory)
{
	struct http_head head = { .framing = HTTP_CHUNKED };
	struct http_body body;
	struct text content;
	static char line[HTTP_TRAILER_BYTES_MAX];
	size_t used;

	for (size_t i = 0; i < sizeof line; i++)
		line[i] = i ? ';' : '1';
	http_parse_body_begin(&body, &head);
	CHECK_ERR(http_parse_body(&body, (struct text){ line, sizeof line }, &used, &content),
		  ERR_HTTP_SYNTAX);
	CHECK(body.line.room <= 4 * HTTP_CHUNK_LINE_BYTES_MAX);
	http_parse_body_free(&body);
	err_note_clear();
	http_parse_body_begin(&body, &head);
	CHECK_OK(http_parse_body(&body, text_of("0\r\n"), &used, &content));
	for (unsigned i = 0; i < HTTP_FIELDS_MAX; i++)
		CHECK_OK(http_parse_body(&body, text_of("A: b\r\n"), &used, &content));
	CHECK_ERR(http_parse_body(&body, text_of("A: b\r\n"), &used, &content), ERR_HTTP_SYNTAX);
	http_parse_body_free(&body);
}

TEST(a_body_that_is_not_whole_is_known)
{
	struct http_head head = { .framing = HTTP_LENGTH, .body_bytes = 3 };
	struct http_body body;
	struct text content;
	size_t used;

	http_parse_body_begin(&body, &head);
	CHECK_OK(http_parse_body(&body, text_of("ab"), &used, &content));
	CHECK_EQ(content.bytes, 2);
	CHECK_ERR(http_parse_body_ended(&body), ERR_STREAM_CUT);
	err_note_clear();
	CHECK_OK(http_parse_body(&body, text_of("cd"), &used, &content));
	CHECK_EQ(used, 1);
	CHECK_OK(http_parse_body_ended(&body));
	http_parse_body_free(&body);
	head.framing = HTTP_TO_END;
	http_parse_body_begin(&body, &head);
	CHECK_OK(http_parse_body(&body, text_of("ab"), &used, &content));
	CHECK_OK(http_parse_body_ended(&body));
	http_parse_body_free(&body);
}

TEST(content_may_be_taken_past_the_parser_where_nothing_else_can_come)
{
	struct http_head head = { .framing = HTTP_CHUNKED };
	struct http_body body;
	struct text content;
	size_t used;

	http_parse_body_begin(&body, &head);
	CHECK_EQ(http_parse_body_straight(&body), 0);
	CHECK_OK(http_parse_body(&body, text_of("5\r\n"), &used, &content));
	CHECK_EQ(http_parse_body_straight(&body), 5);
	http_parse_body_took(&body, 3);
	CHECK_EQ(http_parse_body_straight(&body), 2);
	http_parse_body_took(&body, 2);
	CHECK_EQ(http_parse_body_straight(&body), 0);
	CHECK_EQ(body.bytes, 5);
	CHECK_OK(http_parse_body(&body, text_of("\r\n0\r\n\r\n"), &used, &content));
	CHECK_OK(http_parse_body_ended(&body));
	http_parse_body_free(&body);
	head.framing = HTTP_NO_BODY;
	http_parse_body_begin(&body, &head);
	CHECK_EQ(http_parse_body_straight(&body), 0);
	http_parse_body_free(&body);
	head = (struct http_head){ .framing = HTTP_LENGTH, .body_bytes = 2 };
	http_parse_body_begin(&body, &head);
	CHECK_EQ(http_parse_body_straight(&body), 2);
	http_parse_body_took(&body, 2);
	CHECK_OK(http_parse_body_ended(&body));
	http_parse_body_free(&body);
	head = (struct http_head){ .framing = HTTP_TO_END };
	http_parse_body_begin(&body, &head);
	http_parse_body_took(&body, 1000);
	CHECK(http_parse_body_straight(&body) > 1000);
	http_parse_body_free(&body);
}
