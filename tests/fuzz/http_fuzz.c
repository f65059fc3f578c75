/* An answer of HTTP from memory: the head, then the body in whatever pieces it comes, and what a
 * token endpoint would have said with it. The first byte says how long pieces are; further bits,
 * whether it answers a HEAD. */
#include <stdlib.h>

#include "tests/fuzz/fuzz.h"
#include "transport/http_parse.h"
#include "transport/oauth2_ask.h"

struct reading {
	struct buffer content;
	size_t used;
	enum err error;
	enum http_body_at at;
	uint64_t trailers;
};

/* `past_parser`: content as http.c reads it to where it belongs. */
static struct reading read_body(const struct http_head *head, struct text from, size_t piece,
				bool past_parser)
{
	struct reading reading = { 0 };
	struct http_body body;
	struct text content;
	size_t used;

	http_parse_body_begin(&body, head);
	while (!reading.error && reading.used < from.bytes && body.at != HTTP_AT_END) {
		struct text now = { from.at + reading.used,
				    min_u64(piece, from.bytes - reading.used) };
		uint64_t straight = http_parse_body_straight(&body);

		if (past_parser && straight) {
			used = min_u64(straight, now.bytes);
			content = (struct text){ now.at, used };
			http_parse_body_took(&body, used);
		} else {
			reading.error = http_parse_body(&body, now, &used, &content);
		}
		must(reading.error || (used > 0 && used <= now.bytes));
		must(content.bytes <= used && (!content.bytes || content.at >= now.at));
		buffer_add(&reading.content, content.at, content.bytes);
		reading.used += used;
	}
	must(!reading.error || err_note()->error == ERR_HTTP_SYNTAX);
	err_note_clear();
	must(body.line.room <= 2 * HTTP_TRAILER_BYTES_MAX);
	must(reading.error || body.bytes == reading.content.bytes);
	must(body.at == HTTP_AT_END || head->framing == HTTP_TO_END ||
	     http_parse_body_ended(&body) == ERR_STREAM_CUT);
	err_note_clear();
	reading.at = body.at;
	reading.trailers = fuzz_hash(0, body.trailers.at, body.trailers.bytes);
	http_parse_body_free(&body);
	return reading;
}

static void read_answer(unsigned status, struct text body)
{
	static struct oauth2_answer answer;
	enum err e = oauth2_answer_read("the endpoint", status, body, text_of("secret"), &answer);

	must((e == OK) == (err_note()->error == OK));
	must(e || oauth2_token_is_sound(text_of(answer.access_token)));
	must(e == OK || !strstr(err_note()->text, "secret"));
	err_note_clear();
}

FUZZ(http)
{
	unsigned how = fuzz_take_byte(&input);
	size_t bytes = http_parse_head_bytes(input);
	struct http_head head;
	struct text value, rest;
	struct reading whole, pieces;

	must(bytes <= input.bytes);
	read_answer(how % 2 ? 200 : 400, input);
	if (!bytes)
		return;
	if (http_parse_head((struct text){ input.at, bytes }, how & 64, &head)) {
		must(err_note()->error == ERR_HTTP_SYNTAX);
		err_note_clear();
		return;
	}
	must(head.status >= 100 && head.status <= 599);
	must(head.framing == HTTP_LENGTH || head.body_bytes == 0);
	/* Nobody else would see two lengths, or one where we see chunks. */
	must(head.framing != HTTP_CHUNKED ||
	     !http_parse_field(head.fields, "content-length", &value));
	must(head.framing != HTTP_LENGTH ||
	     !http_parse_field(head.fields, "transfer-encoding", &value));
	rest = (struct text){ input.at + bytes, input.bytes - bytes };
	whole = read_body(&head, rest, SIZE_MAX, false);
	pieces = read_body(&head, rest, how % 16 + 1, how & 32);
	must(whole.error == pieces.error && whole.at == pieces.at);
	must(whole.error || whole.used == pieces.used);
	must(whole.trailers == pieces.trailers);
	must(whole.content.bytes == pieces.content.bytes &&
	     fuzz_hash(0, whole.content.at, whole.content.bytes) ==
		     fuzz_hash(0, pieces.content.at, pieces.content.bytes));
	buffer_free(&whole.content);
	buffer_free(&pieces.content);
}
