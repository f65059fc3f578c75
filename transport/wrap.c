/* See wrap.h. Fields are copied so that people find the message, not to be exact: what they were is
 * inside. */
#include "transport/wrap.h"

#include <strings.h>

#include "crypto/base64.h"

enum {
	LINE_MAX_CHARACTERS = 76,
	/* RFC 5322 section 2.1.1: a line has 998 at most; what cannot be folded is left out. */
	WORD_BYTES_MAX = 900,
	/* Of an encoded word, so that its line is short (RFC 2047 section 2). */
	ENCODED_BYTES = 33,
};

/* ---- the original's fields ---- */

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

/* The line at `at`, without its end; *next: behind it. False: more of it may follow. */
static bool find_line(struct text header, size_t at, struct text *line, size_t *next)
{
	const char *begin = header.at + at, *end = memchr(begin, '\n', header.bytes - at);
	size_t bytes = end ? (size_t)(end - begin) : header.bytes - at;

	*next = at + bytes + (end != NULL);
	while (bytes > 0 && begin[bytes - 1] == '\r')
		bytes--;
	*line = (struct text){ begin, bytes };
	return end != NULL || header.bytes < WRAP_HEADER_BYTES_MAX;
}

static bool has_name(struct text line, const char *name)
{
	size_t n = strlen(name);

	return line.bytes > n && strncasecmp(line.at, name, n) == 0 && line.at[n] == ':';
}

/* All that a field says, with all its lines, as it stands there; empty: there is none, or its end
 * is not to be seen. */
static struct text find_field(struct text header, const char *name)
{
	struct text line, field = { header.at, 0 };
	size_t next;
	bool found = false, whole = true;

	for (size_t at = 0; at < header.bytes && whole; at = next) {
		whole = find_line(header, at, &line, &next);
		if (line.bytes == 0)
			break;
		if (found && !is_blank(line.at[0]))
			return field;
		if (!found && has_name(line, name)) {
			found = true;
			field.at = line.at + strlen(name) + 1;
		}
		if (found)
			field.bytes = (size_t)(line.at + line.bytes - field.at);
	}
	return whole && found ? field : (struct text){ header.at, 0 };
}

/* Blanks and what is no character become one blank; none at the ends. */
static void clean(struct text field, struct buffer *to)
{
	for (size_t i = 0; i < field.bytes; i++) {
		uint8_t byte = (uint8_t)field.at[i];
		bool blank = byte <= ' ' || byte == 0x7f;

		if (!blank)
			buffer_add(to, field.at + i, 1);
		else if (to->bytes > 0 && to->at[to->bytes - 1] != ' ')
			buffer_add(to, " ", 1);
	}
	if (to->bytes > 0 && to->at[to->bytes - 1] == ' ')
		to->at[--to->bytes] = '\0';
}

/* How many bytes are one character, or none of UTF-8. */
static size_t character_at(const struct buffer *value, size_t at)
{
	size_t n = bytes_utf8_length(value->at + at, value->bytes - at);

	return n ? n : 1;
}

/* In what is no free text, "?" stands for each character that is not ASCII. */
static void make_ascii(struct buffer *value)
{
	size_t to = 0;

	for (size_t at = 0, n; at < value->bytes; at += n) {
		n = character_at(value, at);
		value->at[to++] = (uint8_t)value->at[at] < 0x80 ? value->at[at] : '?';
	}
	value->bytes = to;
}

/* ---- the wrapper's fields ---- */

static size_t word_length(struct text value, size_t at)
{
	const char *space = memchr(value.at + at, ' ', value.bytes - at);

	return (space ? (size_t)(space - value.at) : value.bytes) - at;
}

static size_t longest_word(struct text value)
{
	size_t longest = 0, n;

	for (size_t at = 0; at < value.bytes; at += n + 1)
		if ((n = word_length(value, at)) > longest)
			longest = n;
	return longest;
}

/* Lines break at blanks (RFC 5322 section 2.2.3). */
static void add_folded(struct buffer *head, const char *name, struct text value)
{
	size_t used = strlen(name) + 1, n;

	buffer_addf(head, "%s:", name);
	for (size_t at = 0; at < value.bytes; at += n + 1) {
		n = word_length(value, at);
		if (at > 0 && used + 1 + n > LINE_MAX_CHARACTERS) {
			buffer_add_text(head, "\r\n");
			used = 0;
		}
		buffer_add_text(head, " ");
		buffer_add(head, value.at + at, n);
		used += 1 + n;
	}
	buffer_add_text(head, "\r\n");
}

static bool is_utf8(const struct buffer *value)
{
	for (size_t at = 0, n; at < value->bytes; at += n)
		if (!(n = bytes_utf8_length(value->at + at, value->bytes - at)))
			return false;
	return true;
}

/* RFC 2047: what is not UTF-8 is called ISO 8859-1, in which all bytes mean something. */
static void add_encoded(struct buffer *head, const char *name, const struct buffer *value)
{
	const char *charset = is_utf8(value) ? "utf-8" : "iso-8859-1";
	char coded[(ENCODED_BYTES + 2) / 3 * 4 + 1];

	buffer_addf(head, "%s:", name);
	for (size_t at = 0, n, end; at < value->bytes; at = end) {
		for (end = at; end < value->bytes; end += n)
			if (end + (n = character_at(value, end)) - at > ENCODED_BYTES)
				break;
		base64_encode(coded, value->at + at, end - at);
		buffer_addf(head, " =?%s?B?%s?=\r\n", charset, coded);
	}
}

static bool is_ascii(const struct buffer *value)
{
	for (size_t i = 0; i < value->bytes; i++)
		if ((uint8_t)value->at[i] >= 0x80)
			return false;
	return true;
}

/* `otherwise`: what stands there where the original says nothing; NULL: the field is left out. */
static void copy_field(struct buffer *head, struct text header, const char *name, bool free_text,
		       const char *otherwise)
{
	struct buffer value = { 0 };

	clean(find_field(header, name), &value);
	head->failed |= value.failed;
	if (!free_text)
		make_ascii(&value);
	if (value.bytes > 0 && free_text &&
	    (!is_ascii(&value) ||
	     longest_word((struct text){ value.at, value.bytes }) > WORD_BYTES_MAX))
		add_encoded(head, name, &value);
	else if (value.bytes > 0 &&
		 longest_word((struct text){ value.at, value.bytes }) <= WORD_BYTES_MAX)
		add_folded(head, name, (struct text){ value.at, value.bytes });
	else if (otherwise)
		add_folded(head, name, text_of(otherwise));
	buffer_free(&value);
}

static void write_head(struct buffer *head, struct text header, uint64_t original_bytes,
		       const char *digest, const char *function)
{
	copy_field(head, header, "From", false, "\"unknown sender\" <unknown@invalid>");
	copy_field(head, header, "To", false, NULL);
	copy_field(head, header, "Date", false, "Thu, 1 Jan 1970 00:00:00 +0000");
	copy_field(head, header, "Subject", true, NULL);
	copy_field(head, header, "Message-ID", false, NULL);
	buffer_addf(
		head,
		"MIME-Version: 1.0\r\n"
		"X-Mailhaul-Wrapped: 1; size=%llu; function=%s;\r\n"
		" digest=%s\r\n"
		"Content-Type: multipart/mixed;\r\n"
		" boundary=\"mailhaul-%.32s\"\r\n"
		"\r\n"
		"--mailhaul-%.32s\r\n"
		"Content-Type: text/plain; charset=us-ascii\r\n"
		"\r\n"
		"The mail server does not take this message as it is, or would have altered\r\n"
		"it. The attachment original.eml is the original, byte for byte: save it with\r\n"
		"a mail program, or save all of this message and give it to\r\n"
		"\"mailhaul unwrap FILE\", which checks it, too.\r\n"
		"--mailhaul-%.32s\r\n"
		"Content-Type: application/octet-stream; name=\"original.eml\"\r\n"
		"Content-Disposition: attachment; filename=\"original.eml\"\r\n"
		"Content-Transfer-Encoding: base64\r\n"
		"\r\n",
		(unsigned long long)original_bytes, function, digest, digest, digest, digest);
}

/* ---- all of it ---- */

static uint64_t encoded_bytes(uint64_t n)
{
	uint64_t rest = n % WRAP_LINE_BYTES;

	return n / WRAP_LINE_BYTES * WRAP_LINE_CHARACTERS + (rest ? base64_length(rest) + 2 : 0);
}

enum err wrap_open(struct wrap *wrap, struct text header, uint64_t original_bytes,
		   const struct digest *digest, const char *function)
{
	char hex[2 * DIGEST_BYTES + 1];

	*wrap = (struct wrap){ 0 };
	bytes_to_hex(hex, digest->bytes, DIGEST_BYTES);
	write_head(&wrap->head, header, original_bytes, hex, function);
	buffer_addf(&wrap->tail, "\r\n--mailhaul-%.32s--\r\n", hex);
	if (wrap->head.failed || wrap->tail.failed) {
		wrap_close(wrap);
		return RAISE(ERR_MEMORY_EXHAUSTED, "wrapping a message");
	}
	wrap->size_bytes = wrap->head.bytes + encoded_bytes(original_bytes) + wrap->tail.bytes;
	return OK;
}

void wrap_close(struct wrap *wrap)
{
	buffer_free(&wrap->head);
	buffer_free(&wrap->tail);
}

size_t wrap_encode(char *to, const uint8_t *from, size_t n)
{
	char *start = to;

	must(n <= WRAP_PIECE_BYTES);
	for (size_t at = 0; at < n; at += WRAP_LINE_BYTES) {
		size_t bytes = min_u64(n - at, WRAP_LINE_BYTES);

		base64_encode(to, from + at, bytes);
		to += base64_length(bytes);
		*to++ = '\r';
		*to++ = '\n';
	}
	return (size_t)(to - start);
}
