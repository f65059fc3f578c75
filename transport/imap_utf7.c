/* Modified UTF-7, RFC 3501 section 5.1.3: printable ASCII stands for itself, "&-" for "&", and
 * everything else is UTF-16BE in base64 with "," for "/", without padding, between "&" and "-". */
#include "transport/imap_utf7.h"

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,";

/* A bounded output: past the end it stays `full`. */
struct out {
	char *at;
	size_t bytes, room;
	bool full;
};

static void put(struct out *out, unsigned byte)
{
	if (out->bytes + 1 >= out->room)
		out->full = true; /* one place stays free for the terminator */
	else
		out->at[out->bytes++] = (char)byte;
}

static bool finish(struct out *out)
{
	if (out->room)
		out->at[out->bytes] = '\0';
	return !out->full && out->room > 0;
}

static void put_utf8(struct out *out, uint32_t code)
{
	must(code <= 0x10ffff);
	if (code < 0x80) {
		put(out, code);
	} else if (code < 0x800) {
		put(out, 0xc0 | code >> 6);
		put(out, 0x80 | (code & 0x3f));
	} else if (code < 0x10000) {
		put(out, 0xe0 | code >> 12);
		put(out, 0x80 | (code >> 6 & 0x3f));
		put(out, 0x80 | (code & 0x3f));
	} else {
		put(out, 0xf0 | code >> 18);
		put(out, 0x80 | (code >> 12 & 0x3f));
		put(out, 0x80 | (code >> 6 & 0x3f));
		put(out, 0x80 | (code & 0x3f));
	}
}

/* Bits on their way between base64 digits and UTF-16 units. */
struct bits {
	uint32_t value;
	unsigned count;
};

/* The next character of valid UTF-8, or -1. Moves *at. */
static int64_t next_utf8(const unsigned char **at, const unsigned char *end)
{
	static const uint32_t smallest[] = { 0, 0x80, 0x800, 0x10000 };
	unsigned first = *(*at)++, more;
	uint32_t code;

	if (first < 0x80)
		return first;
	if (first < 0xc2 || first > 0xf4)
		return -1;
	more = first < 0xe0 ? 1 : first < 0xf0 ? 2 : 3;
	code = first & (0x3fu >> more);
	for (unsigned i = 0; i < more; i++) {
		if (*at == end || (**at & 0xc0) != 0x80)
			return -1;
		code = code << 6 | (*(*at)++ & 0x3f);
	}
	if (code < smallest[more] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000))
		return -1;
	return code;
}

bool imap_utf8_valid(struct text text)
{
	const unsigned char *at = (const unsigned char *)text.at, *end = at + text.bytes;

	while (at < end)
		if (next_utf8(&at, end) < 0)
			return false;
	return true;
}

/* One UTF-16 unit into `out`; *high is a surrogate waiting for its second half. */
static bool put_utf16(struct out *out, uint32_t unit, uint32_t *high)
{
	if (unit >= 0xdc00 && unit < 0xe000) {
		if (!*high)
			return false;
		put_utf8(out, 0x10000 + ((*high - 0xd800) << 10) + (unit - 0xdc00));
		*high = 0;
		return true;
	}
	if (*high || unit == 0)
		return false;
	if (unit >= 0xd800 && unit < 0xdc00)
		*high = unit;
	else
		put_utf8(out, unit);
	return true;
}

/* From behind "&" to behind "-". */
static bool decode_run(const char **at, const char *end, struct out *out)
{
	struct bits bits = { 0, 0 };
	uint32_t high = 0;
	const char *digit;

	for (; *at < end && **at != '-'; (*at)++) {
		if (!**at || !(digit = strchr(digits, **at)))
			return false;
		bits.value = bits.value << 6 | (uint32_t)(digit - digits);
		bits.count += 6;
		if (bits.count < 16)
			continue;
		bits.count -= 16;
		if (!put_utf16(out, bits.value >> bits.count & 0xffff, &high))
			return false;
		bits.value &= (1u << bits.count) - 1;
	}
	if (*at == end || high)
		return false;
	(*at)++;
	return true;
}

static bool decode(struct text raw, struct out *out)
{
	const char *at = raw.at, *end = raw.at + raw.bytes;

	while (at < end) {
		char c = *at++;

		if (c < ' ' || c > '~')
			return false;
		if (c != '&') {
			put(out, (unsigned char)c);
		} else if (at < end && *at == '-') {
			put(out, '&');
			at++;
		} else if (!decode_run(&at, end, out)) {
			return false;
		}
	}
	return finish(out);
}

static void encode_unit(struct out *out, struct bits *bits, uint32_t unit)
{
	bits->value = bits->value << 16 | unit;
	bits->count += 16;
	while (bits->count >= 6) {
		bits->count -= 6;
		put(out, (unsigned char)digits[bits->value >> bits->count & 0x3f]);
	}
	bits->value &= (1u << bits->count) - 1;
}

static void encode_end(struct out *out, struct bits *bits)
{
	if (bits->count)
		put(out, (unsigned char)digits[bits->value << (6 - bits->count) & 0x3f]);
	put(out, '-');
	*bits = (struct bits){ 0, 0 };
}

bool imap_utf7_encode(struct text name, char *to, size_t to_bytes)
{
	const unsigned char *at = (const unsigned char *)name.at, *end = at + name.bytes;
	struct out out = { to, 0, to_bytes, false };
	struct bits bits = { 0, 0 };
	bool inside = false;

	while (at < end) {
		int64_t code = next_utf8(&at, end);
		bool plain = code >= ' ' && code <= '~';

		if (code <= 0)
			return false;
		if (inside && plain)
			encode_end(&out, &bits);
		else if (!inside && !plain)
			put(&out, '&');
		inside = !plain;
		if (plain) {
			put(&out, (unsigned)code);
			if (code == '&')
				put(&out, '-');
		} else if (code < 0x10000) {
			encode_unit(&out, &bits, (uint32_t)code);
		} else {
			encode_unit(&out, &bits, 0xd800 + (uint32_t)((code - 0x10000) >> 10));
			encode_unit(&out, &bits, 0xdc00 + (uint32_t)((code - 0x10000) & 0x3ff));
		}
	}
	if (inside)
		encode_end(&out, &bits);
	return finish(&out);
}

/* True if encoding `name` gives exactly `raw`. Compared piece by piece would need no memory, but
 * names are short: a buffer as long as the longest spelling we carry does. */
static bool spells(struct text raw, struct text name)
{
	char again[2048];

	return imap_utf7_encode(name, again, sizeof again) && text_equal(text_of(again), raw);
}

bool imap_utf7_decode(struct text raw, char *to, size_t to_bytes)
{
	struct out out = { to, 0, to_bytes, false };

	return decode(raw, &out) && spells(raw, (struct text){ to, out.bytes });
}
