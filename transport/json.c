/* See json.h. RFC 8259 is the grammar; what we write is a subset without white space. */
#include "transport/json.h"

/* ---- UTF-8 ---- */

static bool is_continuation(const char *at, size_t n)
{
	for (size_t i = 1; i < n; i++)
		if (((uint8_t)at[i] & 0xC0) != 0x80)
			return false;
	return true;
}

size_t json_utf8_bytes(const char *at, size_t n)
{
	uint8_t a = n > 0 ? (uint8_t)at[0] : 0xFF, b = n > 1 ? (uint8_t)at[1] : 0;
	size_t bytes = a < 0x80 ? 1 : a < 0xC2 ? 0 : a < 0xE0 ? 2 : a < 0xF0 ? 3 : a < 0xF5 ? 4 : 0;

	if (bytes == 0 || bytes > n || !is_continuation(at, bytes))
		return 0;
	/* RFC 3629 section 4: no overlong forms, no surrogates, nothing past U+10FFFF. */
	if ((a == 0xE0 && b < 0xA0) || (a == 0xED && b > 0x9F) || (a == 0xF0 && b < 0x90) ||
	    (a == 0xF4 && b > 0x8F))
		return 0;
	return bytes;
}

/* ---- writing ---- */

struct text json_digits(char digits[JSON_DIGITS_MAX], uint64_t value)
{
	size_t at = JSON_DIGITS_MAX;

	do
		digits[--at] = (char)('0' + value % 10);
	while (value /= 10);
	return (struct text){ digits + at, JSON_DIGITS_MAX - at };
}

/* How many bytes from here on stand for themselves. */
static size_t plain_run(struct text value, size_t i)
{
	size_t start = i;

	while (i < value.bytes && (uint8_t)value.at[i] >= 0x20 && (uint8_t)value.at[i] < 0x7F &&
	       value.at[i] != '"' && value.at[i] != '\\')
		i++;
	return i - start;
}

static size_t escape_one(struct buffer *to, struct text value, size_t i)
{
	uint8_t byte = (uint8_t)value.at[i];
	size_t n = json_utf8_bytes(value.at + i, value.bytes - i);

	if (n == 0)
		buffer_add(to, "?", 1); /* keeps the length: what fits, fits when read */
	else if (byte == '"' || byte == '\\')
		buffer_addf(to, "\\%c", byte);
	else if (byte < 0x20 || byte == 0x7F)
		buffer_addf(to, "\\u%04x", byte);
	else
		buffer_add(to, value.at + i, n);
	return n ? n : 1;
}

void json_escape(struct buffer *to, struct text value)
{
	for (size_t i = 0, n; i < value.bytes; i += n)
		if ((n = plain_run(value, i)) > 0)
			buffer_add(to, value.at + i, n);
		else
			n = escape_one(to, value, i);
}

void json_begin(struct buffer *to)
{
	buffer_add(to, "{", 1);
}

static void add_key(struct buffer *to, const char *key)
{
	if (to->bytes > 0 && to->at[to->bytes - 1] != '{')
		buffer_add(to, ",", 1);
	buffer_add(to, "\"", 1);
	buffer_add_text(to, key);
	buffer_add(to, "\":", 2);
}

void json_add_escaped(struct buffer *to, const char *key, struct text escaped)
{
	add_key(to, key);
	buffer_add(to, "\"", 1);
	buffer_add(to, escaped.at, escaped.bytes);
	buffer_add(to, "\"", 1);
}

void json_add_text(struct buffer *to, const char *key, struct text value)
{
	add_key(to, key);
	buffer_add(to, "\"", 1);
	json_escape(to, value);
	buffer_add(to, "\"", 1);
}

void json_add_number(struct buffer *to, const char *key, uint64_t value)
{
	char digits[JSON_DIGITS_MAX];
	struct text decimal = json_digits(digits, value);

	add_key(to, key);
	buffer_add(to, decimal.at, decimal.bytes);
}

void json_add_bool(struct buffer *to, const char *key, bool value)
{
	add_key(to, key);
	buffer_add_text(to, value ? "true" : "false");
}

void json_add_hex(struct buffer *to, const char *key, const uint8_t *from, size_t n)
{
	char hex[2 * 64 + 1];

	must(n <= 64);
	bytes_to_hex(hex, from, n);
	json_add_escaped(to, key, (struct text){ hex, 2 * n });
}

void json_end(struct buffer *to)
{
	buffer_add(to, "}\n", 2);
}

/* ---- reading ---- */

struct cursor {
	const char *at, *end;
};

static bool is_at(struct cursor *c, char byte)
{
	return c->at < c->end && *c->at == byte;
}

static bool take(struct cursor *c, char byte)
{
	if (!is_at(c, byte))
		return false;
	c->at++;
	return true;
}

static void skip_space(struct cursor *c)
{
	while (is_at(c, ' ') || is_at(c, '\t') || is_at(c, '\n') || is_at(c, '\r'))
		c->at++;
}

static bool take_word(struct cursor *c, const char *word)
{
	size_t n = strlen(word);

	if ((size_t)(c->end - c->at) < n || memcmp(c->at, word, n) != 0)
		return false;
	c->at += n;
	return true;
}

static bool take_hex4(struct cursor *c, uint32_t *value)
{
	uint8_t bytes[2];

	if (c->end - c->at < 4 || !bytes_from_hex(bytes, 2, (struct text){ c->at, 4 }))
		return false;
	*value = (uint32_t)bytes[0] << 8 | bytes[1];
	c->at += 4;
	return true;
}

static size_t utf8_encode(char to[4], uint32_t code)
{
	if (code < 0x80) {
		to[0] = (char)code;
		return 1;
	}
	if (code < 0x800) {
		to[0] = (char)(0xC0 | code >> 6);
		to[1] = (char)(0x80 | (code & 0x3F));
		return 2;
	}
	if (code < 0x10000) {
		to[0] = (char)(0xE0 | code >> 12);
		to[1] = (char)(0x80 | (code >> 6 & 0x3F));
		to[2] = (char)(0x80 | (code & 0x3F));
		return 3;
	}
	to[0] = (char)(0xF0 | code >> 18);
	to[1] = (char)(0x80 | (code >> 12 & 0x3F));
	to[2] = (char)(0x80 | (code >> 6 & 0x3F));
	to[3] = (char)(0x80 | (code & 0x3F));
	return 4;
}

/* After "\u": one code point, two escapes where it is past the basic plane (RFC 8259 section 7). */
static size_t take_unicode(struct cursor *c, char to[4])
{
	uint32_t high, low;

	if (!take_hex4(c, &high) || high == 0 || (high >= 0xDC00 && high <= 0xDFFF))
		return 0;
	if (high < 0xD800 || high > 0xDFFF)
		return utf8_encode(to, high);
	if (!take_word(c, "\\u") || !take_hex4(c, &low) || low < 0xDC00 || low > 0xDFFF)
		return 0;
	return utf8_encode(to, 0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00));
}

static size_t take_escape(struct cursor *c, char to[4])
{
	static const char from[] = "\"\\/bfnrt", into[] = "\"\\/\b\f\n\r\t";
	const char *found;

	if (take(c, 'u'))
		return take_unicode(c, to);
	if (c->at == c->end || *c->at == '\0' || !(found = strchr(from, *c->at)))
		return 0;
	c->at++;
	to[0] = into[found - from];
	return 1;
}

/* One character of a string, decoded; 0: it does not belong there. */
static size_t take_character(struct cursor *c, char to[4])
{
	size_t n;

	if (take(c, '\\'))
		return take_escape(c, to);
	n = json_utf8_bytes(c->at, (size_t)(c->end - c->at));
	if (n == 0 || (uint8_t)*c->at < 0x20)
		return 0;
	for (size_t i = 0; i < n; i++)
		to[i] = c->at[i];
	c->at += n;
	return n;
}

/* A string into `to` (terminated; NULL: thrown away). *bytes: its length. */
static bool take_string(struct cursor *c, char *to, size_t room, size_t *bytes)
{
	char character[4];
	size_t n;

	*bytes = 0;
	if (!take(c, '"'))
		return false;
	while (c->at < c->end && !is_at(c, '"')) {
		if ((n = take_character(c, character)) == 0)
			return false;
		if (to && *bytes + n >= room)
			return false;
		for (size_t i = 0; to && i < n; i++)
			to[*bytes + i] = character[i];
		*bytes += n;
	}
	if (to)
		to[*bytes] = '\0';
	return take(c, '"');
}

static bool take_number(struct cursor *c, uint64_t *value)
{
	const char *start = c->at;

	*value = 0;
	while (c->at < c->end && *c->at >= '0' && *c->at <= '9') {
		uint64_t digit = (uint64_t)(*c->at++ - '0');

		if (*value > (UINT64_MAX - digit) / 10)
			return false;
		*value = *value * 10 + digit;
	}
	return c->at > start && (*start != '0' || c->at == start + 1);
}

static bool skip_scalar(struct cursor *c)
{
	const char *start = c->at;
	size_t bytes;

	if (is_at(c, '"'))
		return take_string(c, NULL, 0, &bytes);
	if (take_word(c, "true") || take_word(c, "false") || take_word(c, "null"))
		return true;
	while (c->at < c->end && *c->at && strchr("+-.0123456789eE", *c->at))
		c->at++;
	return c->at > start;
}

/* A value nobody asked for. Inside arrays and objects only strings, brackets and depth are looked
 * at. */
static bool skip_value(struct cursor *c)
{
	char closers[JSON_DEPTH_MAX];
	unsigned depth = 0;

	do {
		skip_space(c);
		if (is_at(c, '[') || is_at(c, '{')) {
			if (depth == JSON_DEPTH_MAX)
				return false;
			closers[depth++] = *c->at++ == '[' ? ']' : '}';
		} else if (depth > 0 && is_at(c, closers[depth - 1])) {
			c->at++;
			depth--;
		} else if (depth > 0 && (is_at(c, ',') || is_at(c, ':'))) {
			c->at++;
		} else if (!skip_scalar(c)) {
			return false;
		}
	} while (depth > 0);
	return true;
}

static bool take_hex(struct cursor *c, const struct json_field *field, uint8_t *to)
{
	char hex[2 * 64 + 1];
	size_t bytes;

	must(field->room <= 64);
	if (!take_string(c, hex, sizeof hex, &bytes))
		return false;
	return (bytes == 0 && field->optional) ||
	       bytes_from_hex(to, field->room, (struct text){ hex, bytes });
}

static bool take_value(struct cursor *c, const struct json_field *field, char *to)
{
	size_t bytes;

	switch (field->kind) {
	case JSON_TEXT:
		return take_string(c, to, field->room, &bytes);
	case JSON_NUMBER:
		must(field->room == sizeof(uint64_t));
		return take_number(c, (uint64_t *)(void *)to);
	case JSON_BOOL:
		*(bool *)(void *)to = take_word(c, "true");
		return *(bool *)(void *)to || take_word(c, "false");
	case JSON_HEX:
		return take_hex(c, field, (uint8_t *)to);
	}
	return false;
}

static bool take_member(struct cursor *c, const struct json_field *fields, size_t count, char *to,
			uint32_t *seen)
{
	char key[64];
	size_t bytes;

	if (!take_string(c, key, sizeof key, &bytes))
		return false;
	skip_space(c);
	if (!take(c, ':'))
		return false;
	skip_space(c);
	for (size_t i = 0; i < count; i++)
		if (strcmp(fields[i].key, key) == 0) {
			if (*seen & 1u << i)
				return false;
			*seen |= 1u << i;
			return take_value(c, &fields[i], to + fields[i].offset);
		}
	return skip_value(c);
}

bool json_read(struct text object, const struct json_field *fields, size_t fields_count, void *to)
{
	struct cursor c = { object.at, object.at + object.bytes };
	uint32_t seen = 0;
	bool more = true;

	must(fields_count <= JSON_FIELDS_MAX);
	skip_space(&c);
	if (!take(&c, '{'))
		return false;
	skip_space(&c);
	if (take(&c, '}'))
		more = false;
	while (more) {
		skip_space(&c);
		if (!take_member(&c, fields, fields_count, to, &seen))
			return false;
		skip_space(&c);
		more = take(&c, ',');
		if (!more && !take(&c, '}'))
			return false;
	}
	skip_space(&c);
	for (size_t i = 0; i < fields_count; i++)
		if (!fields[i].optional && !(seen & 1u << i))
			return false;
	return c.at == c.end;
}
