/* Heads and bodies of HTTP/1.1: see http_parse.h. Lines end with CR LF and nothing else. */
#include "transport/http_parse.h"

#include <strings.h>

/* 2^53: what every program in between can count to. */
#define BODY_BYTES_MAX ((uint64_t)1 << 53)
enum { KEEPS_FOR_S_MAX = 24 * 3600 };

/* ---- small things ---- */

static bool is_token_char(char c)
{
	return (c >= 'a' && c <= 'z') || c == '-' || (c >= 'A' && c <= 'Z') ||
	       (c >= '0' && c <= '9') || (c && strchr("!#$%&'*+.^_`|~", c));
}

bool http_parse_is_token(struct text text)
{
	for (size_t i = 0; i < text.bytes; i++)
		if (!is_token_char(text.at[i]))
			return false;
	return text.bytes > 0;
}

bool http_parse_is_value(struct text text)
{
	for (size_t i = 0; i < text.bytes; i++)
		if (((unsigned char)text.at[i] < 0x20 && text.at[i] != '\t') || text.at[i] == 0x7f)
			return false;
	return true;
}

bool http_parse_number(struct text text, uint64_t max, uint64_t *out)
{
	*out = 0;
	for (size_t i = 0; i < text.bytes; i++) {
		if (text.at[i] < '0' || text.at[i] > '9')
			return false;
		*out = *out * 10 + (uint64_t)(text.at[i] - '0');
		if (*out > max)
			return false;
	}
	return text.bytes > 0;
}

static bool same_word(struct text text, const char *word)
{
	return text.bytes == strlen(word) && strncasecmp(text.at, word, text.bytes) == 0;
}

/* OWS of RFC 9110 section 5.6.3. */
static struct text trimmed(struct text text)
{
	while (text.bytes > 0 && (text.at[0] == ' ' || text.at[0] == '\t')) {
		text.at++;
		text.bytes--;
	}
	while (text.bytes > 0 &&
	       (text.at[text.bytes - 1] == ' ' || text.at[text.bytes - 1] == '\t'))
		text.bytes--;
	return text;
}

/* The next line of `from` without its CR LF, which goes too; false: there is no whole line. */
static bool take_line(struct text *from, struct text *line)
{
	size_t bytes = 0;
	const char *lf;

	do {
		lf = bytes < from->bytes ? memchr(from->at + bytes, '\n', from->bytes - bytes)
					 : NULL;
		if (!lf)
			return false;
		bytes = (size_t)(lf - from->at) + 1;
	} while (bytes < 2 || lf[-1] != '\r');
	*line = (struct text){ from->at, bytes - 2 };
	*from = (struct text){ from->at + bytes, from->bytes - bytes };
	return true;
}

static bool take_item(struct text *list, struct text *item)
{
	const char *comma;

	if (!list->at)
		return false;
	comma = list->bytes ? memchr(list->at, ',', list->bytes) : NULL;
	*item = trimmed(
		(struct text){ list->at, comma ? (size_t)(comma - list->at) : list->bytes });
	if (comma)
		*list = (struct text){ comma + 1, list->bytes - (size_t)(comma + 1 - list->at) };
	else
		*list = (struct text){ NULL, 0 };
	return true;
}

/* ---- fields ---- */

/* field-line = field-name ":" OWS field-value OWS. Space in front of the colon and lines that go on
 * in the next (obs-fold) are refused (RFC 9112 sections 5.1 and 5.2). */
static bool split_field(struct text line, struct text *name, struct text *value)
{
	const char *colon = line.bytes ? memchr(line.at, ':', line.bytes) : NULL;

	if (!colon)
		return false;
	*name = (struct text){ line.at, (size_t)(colon - line.at) };
	*value = trimmed((struct text){ colon + 1, line.bytes - name->bytes - 1 });
	return http_parse_is_token(*name) && http_parse_is_value(*value);
}

/* Before it is looked at closely, for most are not. */
static bool may_have_name(struct text line, const char *name)
{
	size_t bytes = strlen(name);

	return line.bytes > bytes && line.at[bytes] == ':' &&
	       strncasecmp(line.at, name, bytes) == 0;
}

bool http_parse_field(struct text fields, const char *name, struct text *value)
{
	struct text line, found;

	while (take_line(&fields, &line))
		if (may_have_name(line, name) && split_field(line, &found, value))
			return true;
	*value = (struct text){ NULL, 0 };
	return false;
}

void http_parse_copy_field(struct text fields, const char *name, char *to, size_t room)
{
	struct text value;

	if (http_parse_field(fields, name, &value))
		value.bytes = min_u64(value.bytes, room - 1);
	bytes_copy(to, value.at, value.bytes, BYTES_META);
	to[value.bytes] = '\0';
}

/* What of the fields says where the body ends, and whether the connection goes on. */
struct framing_fields {
	unsigned lengths, codings;
	struct text length, coding;
	bool closes, keeps;
	nsec keeps_for;
};

static void note_connection(struct framing_fields *noted, struct text value)
{
	struct text word;

	while (take_item(&value, &word)) {
		noted->closes |= same_word(word, "close");
		noted->keeps |= same_word(word, "keep-alive");
	}
}

/* "timeout=5, max=100". What is no number of seconds is passed over: it is only a hint. */
static void note_keep_alive(struct framing_fields *noted, struct text value)
{
	static const char name[] = "timeout=";
	struct text item;
	uint64_t seconds;

	while (take_item(&value, &item)) {
		if (item.bytes < sizeof name || strncasecmp(item.at, name, sizeof name - 1) != 0)
			continue;
		item = (struct text){ item.at + sizeof name - 1, item.bytes - sizeof name + 1 };
		if (http_parse_number(item, KEEPS_FOR_S_MAX, &seconds))
			noted->keeps_for = (nsec)seconds * NSEC_SECOND;
	}
}

static enum err read_fields(struct text fields, struct framing_fields *noted)
{
	struct text line, name, value;
	unsigned count = 0;
	char shown[60];

	while (take_line(&fields, &line)) {
		if (++count > HTTP_FIELDS_MAX)
			return RAISE(ERR_HTTP_SYNTAX, "an answer with more than %d header fields",
				     HTTP_FIELDS_MAX);
		if (!split_field(line, &name, &value))
			return RAISE(ERR_HTTP_SYNTAX, "\"%s\" is no header field",
				     err_quote(shown, sizeof shown, line));
		if (same_word(name, "content-length")) {
			noted->lengths++;
			noted->length = value;
		} else if (same_word(name, "transfer-encoding")) {
			noted->codings++;
			noted->coding = value;
		} else if (same_word(name, "connection")) {
			note_connection(noted, value);
		} else if (same_word(name, "keep-alive")) {
			note_keep_alive(noted, value);
		}
	}
	return OK;
}

/* ---- the head ---- */

size_t http_parse_head_bytes(struct text from)
{
	const char *end = from.bytes ? memmem(from.at, from.bytes, "\r\n\r\n", 4) : NULL;

	return end ? (size_t)(end - from.at) + 4 : 0;
}

/* status-line = HTTP-version SP status-code SP [ reason-phrase ], RFC 9112 section 4. That the last
 * space is often left out with the reason is tolerated, because nothing hangs on it. */
static enum err read_status_line(struct text line, struct http_head *head, bool *is_1_1)
{
	enum { VERSION_BYTES = 9, CODE_END = 12 };
	bool is_1_0 = line.bytes >= CODE_END && memcmp(line.at, "HTTP/1.0 ", VERSION_BYTES) == 0;
	uint64_t status;
	char shown[60];

	*is_1_1 = line.bytes >= CODE_END && memcmp(line.at, "HTTP/1.1 ", VERSION_BYTES) == 0;
	if ((!is_1_0 && !*is_1_1) ||
	    !http_parse_number((struct text){ line.at + VERSION_BYTES, 3 }, 599, &status) ||
	    status < 100 || (line.bytes > CODE_END && line.at[CODE_END] != ' ') ||
	    !http_parse_is_value(line))
		return RAISE(ERR_HTTP_SYNTAX, "\"%s\" is not how an HTTP server answers",
			     err_quote(shown, sizeof shown, line));
	head->status = (unsigned)status;
	return OK;
}

/* RFC 9112 section 6.3, of which the doubtful cases are refused: a length beside a coding, several
 * lengths even if they are equal, a coding other than chunked, a coding from HTTP/1.0. */
static enum err find_framing(struct http_head *head, const struct framing_fields *noted,
			     bool is_1_1, bool to_head)
{
	bool is_bare = head->status < 200 || head->status == 204;
	uint64_t length = 0;

	if (noted->lengths > 1 || noted->codings > 1 || (noted->lengths && noted->codings))
		return RAISE(ERR_HTTP_SYNTAX,
			     "the answer says more than once how long its body is");
	if (noted->codings && (!is_1_1 || is_bare || !same_word(noted->coding, "chunked")))
		return RAISE(ERR_HTTP_SYNTAX, "a transfer coding that cannot be had here");
	if (noted->lengths &&
	    (!http_parse_number(noted->length, BODY_BYTES_MAX, &length) || (is_bare && length > 0)))
		return RAISE(ERR_HTTP_SYNTAX, "a length of the body that cannot be");
	head->body_bytes = 0;
	if (is_bare || head->status == 304 || to_head) {
		head->framing = HTTP_NO_BODY;
	} else if (noted->codings) {
		head->framing = HTTP_CHUNKED;
	} else if (noted->lengths) {
		head->framing = length ? HTTP_LENGTH : HTTP_NO_BODY;
		head->body_bytes = length;
	} else {
		head->framing = HTTP_TO_END;
	}
	head->keeps_alive =
		!noted->closes && (is_1_1 || noted->keeps) && head->framing != HTTP_TO_END;
	head->keeps_for = noted->keeps_for;
	return OK;
}

enum err http_parse_head(struct text head, bool to_head, struct http_head *out)
{
	struct framing_fields noted = { 0 };
	struct text line;
	bool is_1_1;
	enum err e;

	must(http_parse_head_bytes(head) == head.bytes);
	*out = (struct http_head){ 0 };
	must(take_line(&head, &line));
	if ((e = read_status_line(line, out, &is_1_1)))
		return e;
	out->fields = (struct text){ head.at, head.bytes - 2 };
	if ((e = read_fields(out->fields, &noted)))
		return e;
	return find_framing(out, &noted, is_1_1, to_head);
}

/* ---- the body ---- */

void http_parse_body_begin(struct http_body *body, const struct http_head *head)
{
	*body = (struct http_body){ .framing = head->framing, .left = head->body_bytes };
	body->line.bytes_max = HTTP_CHUNK_LINE_BYTES_MAX + 2;
	body->trailers.bytes_max = HTTP_TRAILER_BYTES_MAX;
	if (head->framing == HTTP_NO_BODY)
		body->at = HTTP_AT_END;
	else if (head->framing == HTTP_CHUNKED)
		body->at = HTTP_AT_CHUNK_SIZE;
	else
		body->at = HTTP_AT_DATA;
	if (head->framing == HTTP_TO_END)
		body->left = UINT64_MAX;
}

void http_parse_body_free(struct http_body *body)
{
	buffer_free(&body->line);
	buffer_free(&body->trailers);
}

/* Gather `from` into `line` up to CR LF; *done: all of it is there, without its end. */
static enum err gather_line(struct buffer *line, struct text from, size_t *used, bool *done)
{
	const char *lf = memchr(from.at, '\n', from.bytes);

	*used = lf ? (size_t)(lf - from.at) + 1 : from.bytes;
	buffer_add(line, from.at, *used);
	if (line->failed)
		return RAISE(ERR_HTTP_SYNTAX, "a line of a chunked body is too long");
	*done = lf != NULL;
	if (!lf)
		return OK;
	if (line->bytes < 2 || line->at[line->bytes - 2] != '\r')
		return RAISE(ERR_HTTP_SYNTAX, "a line of a chunked body does not end with CR LF");
	line->bytes -= 2;
	line->at[line->bytes] = '\0';
	if (!http_parse_is_value((struct text){ line->at, line->bytes }))
		return RAISE(ERR_HTTP_SYNTAX, "a control character in a line of a chunked body");
	return OK;
}

/* chunk-size [ chunk-ext ]: hexadecimal digits, and an extension behind ";", which is passed over.
 */
static enum err take_chunk_size(struct http_body *body)
{
	struct text line = { body->line.at, body->line.bytes };
	uint64_t size = 0;
	size_t i = 0;
	char shown[40];

	for (; i < line.bytes; i++) {
		char c = line.at[i];
		unsigned digit = c >= '0' && c <= '9'	? (unsigned)(c - '0')
				 : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a') + 10
				 : c >= 'A' && c <= 'F' ? (unsigned)(c - 'A') + 10
							: 16;

		if (digit == 16)
			break;
		size = size * 16 + digit;
		if (size > BODY_BYTES_MAX || i >= 16)
			break;
	}
	if (i == 0 || size > BODY_BYTES_MAX || body->bytes + size > BODY_BYTES_MAX ||
	    (i < line.bytes && line.at[i] != ';'))
		return RAISE(ERR_HTTP_SYNTAX, "\"%s\" is no size of a chunk",
			     err_quote(shown, sizeof shown, line));
	body->left = size;
	body->at = size ? HTTP_AT_DATA : HTTP_AT_TRAILERS;
	return OK;
}

static enum err take_trailer(struct http_body *body)
{
	struct text line = { body->line.at, body->line.bytes }, name, value;

	if (line.bytes == 0) {
		body->at = HTTP_AT_END;
		return OK;
	}
	if (!split_field(line, &name, &value) || ++body->trailers_count > HTTP_FIELDS_MAX)
		return RAISE(ERR_HTTP_SYNTAX, "what follows a chunked body is no header field");
	buffer_add(&body->trailers, line.at, line.bytes);
	buffer_add_text(&body->trailers, "\r\n");
	return body->trailers.failed
		       ? RAISE(ERR_HTTP_SYNTAX, "more than %d bytes follow a chunked body",
			       HTTP_TRAILER_BYTES_MAX)
		       : OK;
}

static enum err take_framing_line(struct http_body *body, struct text from, size_t *used)
{
	bool done = false;
	enum err e;

	body->line.bytes_max = body->at == HTTP_AT_TRAILERS ? HTTP_TRAILER_BYTES_MAX
							    : HTTP_CHUNK_LINE_BYTES_MAX + 2;
	if ((e = gather_line(&body->line, from, used, &done)) || !done)
		return e;
	if (body->at == HTTP_AT_CHUNK_SIZE)
		e = take_chunk_size(body);
	else if (body->at == HTTP_AT_TRAILERS)
		e = take_trailer(body);
	else if (body->line.bytes == 0)
		body->at = HTTP_AT_CHUNK_SIZE;
	else
		e = RAISE(ERR_HTTP_SYNTAX, "a chunk is longer than was said");
	buffer_reset(&body->line);
	return e;
}

uint64_t http_parse_body_straight(const struct http_body *body)
{
	return body->at == HTTP_AT_DATA ? body->left : 0;
}

void http_parse_body_took(struct http_body *body, uint64_t bytes)
{
	must(body->at == HTTP_AT_DATA && bytes <= body->left);
	body->bytes += bytes;
	if (body->framing == HTTP_TO_END)
		return;
	body->left -= bytes;
	if (body->left == 0)
		body->at = body->framing == HTTP_CHUNKED ? HTTP_AT_CHUNK_END : HTTP_AT_END;
}

static void take_content(struct http_body *body, struct text from, size_t *used,
			 struct text *content)
{
	*used = min_u64(body->left, from.bytes);
	*content = (struct text){ from.at, *used };
	http_parse_body_took(body, *used);
}

enum err http_parse_body(struct http_body *body, struct text from, size_t *used,
			 struct text *content)
{
	size_t taken;
	enum err e = OK;

	*used = 0;
	*content = (struct text){ from.at, 0 };
	while (!e && *used < from.bytes && body->at != HTTP_AT_END && content->bytes == 0) {
		struct text rest = { from.at + *used, from.bytes - *used };

		taken = 0;
		if (body->at == HTTP_AT_DATA)
			take_content(body, rest, &taken, content);
		else
			e = take_framing_line(body, rest, &taken);
		*used += taken;
	}
	return e;
}

enum err http_parse_body_ended(const struct http_body *body)
{
	if (body->at == HTTP_AT_END || body->framing == HTTP_TO_END)
		return OK;
	return RAISE(ERR_STREAM_CUT, "the answer ended before its body did");
}
