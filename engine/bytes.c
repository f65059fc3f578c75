/* The one place that moves bytes of variable length. Not for: payload that can travel as a slice
 * instead (engine/chunk.h), which is nearly all of it. */
#include "engine/bytes.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static _Thread_local uint64_t copied[BYTES_WHY_COUNT];

void bytes_copy(void *to, const void *from, size_t n, enum bytes_why why)
{
	must((unsigned)why < BYTES_WHY_COUNT);
	copied[why] += n;
	if (n > 0)
		memcpy(to, from, n);
}

void bytes_move(void *to, const void *from, size_t n)
{
	copied[BYTES_META] += n;
	if (n > 0)
		memmove(to, from, n);
}

uint64_t bytes_copied(enum bytes_why why)
{
	must((unsigned)why < BYTES_WHY_COUNT);
	return copied[why];
}

const char *bytes_why_name(enum bytes_why why)
{
	static const char *const names[BYTES_WHY_COUNT] = {
		[BYTES_META] = "meta",	     [BYTES_LINE_TAIL] = "line-tail",
		[BYTES_FRAME] = "frame",     [BYTES_STORE] = "store",
		[BYTES_EXTRACT] = "extract", [BYTES_PARCEL] = "parcel",
		[BYTES_RECORD] = "record",
	};

	must((unsigned)why < BYTES_WHY_COUNT);
	return names[why];
}

void bytes_put_le32(uint8_t to[4], uint32_t value)
{
	for (int i = 0; i < 4; i++)
		to[i] = (uint8_t)(value >> (8 * i));
}

void bytes_put_le64(uint8_t to[8], uint64_t value)
{
	for (int i = 0; i < 8; i++)
		to[i] = (uint8_t)(value >> (8 * i));
}

uint32_t bytes_get_le32(const uint8_t from[4])
{
	uint32_t value = 0;

	for (int i = 0; i < 4; i++)
		value |= (uint32_t)from[i] << (8 * i);
	return value;
}

uint64_t bytes_get_le64(const uint8_t from[8])
{
	uint64_t value = 0;

	for (int i = 0; i < 8; i++)
		value |= (uint64_t)from[i] << (8 * i);
	return value;
}

void bytes_to_hex(char *to, const uint8_t *from, size_t n)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < n; i++) {
		to[2 * i] = digits[from[i] >> 4];
		to[2 * i + 1] = digits[from[i] & 15];
	}
	to[2 * n] = '\0';
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

bool bytes_from_hex(uint8_t *to, size_t n, struct text from)
{
	int high, low;

	if (from.bytes != 2 * n)
		return false;
	for (size_t i = 0; i < n; i++) {
		high = hex_value(from.at[2 * i]);
		low = hex_value(from.at[2 * i + 1]);
		if (high < 0 || low < 0)
			return false;
		to[i] = (uint8_t)(high << 4 | low);
	}
	return true;
}

/* The smallest code point that needs so many bytes; a smaller one in as many is "overlong" and
 * refused, as are the surrogates (RFC 3629 section 3). */
size_t bytes_utf8_length(const void *from, size_t n)
{
	static const uint32_t smallest[5] = { 0, 0, 0x80, 0x800, 0x10000 };
	const uint8_t *at = from;
	uint32_t code;
	size_t length;

	if (n == 0)
		return 0;
	if (at[0] < 0x80)
		return 1;
	length = at[0] >= 0xf0 ? 4 : at[0] >= 0xe0 ? 3 : 2;
	if (at[0] < 0xc2 || at[0] > 0xf4 || length > n)
		return 0;
	code = at[0] & (0x7fu >> length);
	for (size_t i = 1; i < length; i++) {
		if ((at[i] & 0xc0) != 0x80)
			return 0;
		code = code << 6 | (at[i] & 0x3f);
	}
	if (code < smallest[length] || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff))
		return 0;
	return length;
}

/* Room for n more bytes and the terminator, or `failed`. */
static bool buffer_grow(struct buffer *buffer, size_t n)
{
	size_t bound = buffer->bytes_max ? buffer->bytes_max : BUFFER_BYTES_MAX;
	size_t room = max_u64(buffer->room, 256);
	char *grown;

	must(buffer->bytes <= bound);
	if (buffer->failed)
		return false;
	if (n > bound - buffer->bytes)
		goto out;
	while (room < buffer->bytes + n + 1)
		room *= 2;
	if (room == buffer->room)
		return true;
	grown = realloc(buffer->at, room);
	if (!grown)
		goto out;
	buffer->at = grown;
	buffer->room = room;
	return true;
out:
	buffer->failed = true;
	return false;
}

void buffer_add(struct buffer *buffer, const void *from, size_t n)
{
	if (!buffer_grow(buffer, n))
		return;
	bytes_copy(buffer->at + buffer->bytes, from, n, BYTES_META);
	buffer->bytes += n;
	buffer->at[buffer->bytes] = '\0';
}

void buffer_add_text(struct buffer *buffer, const char *string)
{
	buffer_add(buffer, string, strlen(string));
}

void buffer_addf(struct buffer *buffer, const char *format, ...)
{
	size_t room = buffer->room - buffer->bytes;
	va_list arguments;
	int length;

	if (buffer->failed)
		return;
	va_start(arguments, format);
	length = vsnprintf(room ? buffer->at + buffer->bytes : NULL, room, format, arguments);
	va_end(arguments);
	must(length >= 0);
	if (!buffer_grow(buffer, (size_t)length)) {
		if (room)
			buffer->at[buffer->bytes] = '\0';
		return;
	}
	if ((size_t)length >= room) {
		va_start(arguments, format);
		vsnprintf(buffer->at + buffer->bytes, (size_t)length + 1, format, arguments);
		va_end(arguments);
	}
	buffer->bytes += (size_t)length;
}

void buffer_reset(struct buffer *buffer)
{
	buffer->bytes = 0;
	buffer->failed = false;
	if (buffer->at)
		buffer->at[0] = '\0';
}

void buffer_free(struct buffer *buffer)
{
	free(buffer->at);
	*buffer = (struct buffer){ .bytes_max = buffer->bytes_max };
}
