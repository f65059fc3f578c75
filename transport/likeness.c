/* See likeness.h. */
#include "transport/likeness.h"

#include <string.h>

#include "crypto/digest.h"
#include "engine/bytes.h"

static const char id_field[] = "message-id:";

void likeness_begin(struct likeness_reader *reader, struct tap *tap)
{
	*reader = (struct likeness_reader){ .tap = tap, .in_header = true, .at_line_start = true };
	if (tap)
		tap->type->begin(tap);
}

/* ---- the Message-ID ---- */

/* Blanks and what the field is folded with do not count: servers fold anew. */
static void add_to_id(struct likeness_reader *reader, uint8_t byte)
{
	if (byte != ' ' && byte != '\t' && reader->id_bytes < sizeof reader->id)
		reader->id[reader->id_bytes++] = byte;
}

static void read_header_byte(struct likeness_reader *reader, uint8_t byte)
{
	if (reader->at_line_start && reader->is_id_line && byte != ' ' && byte != '\t') {
		reader->is_id_line = false;
		reader->id_is_over = true;
	}
	if (reader->is_id_line) {
		add_to_id(reader, byte);
		return;
	}
	if (reader->id_is_over || reader->line_bytes >= sizeof id_field - 1)
		return;
	reader->line[reader->line_bytes++] =
		byte >= 'A' && byte <= 'Z' ? (uint8_t)(byte + 'a' - 'A') : byte;
	reader->is_id_line = reader->line_bytes == sizeof id_field - 1 &&
			     memcmp(reader->line, id_field, sizeof id_field - 1) == 0;
}

/* ---- bytes ---- */

static void feed_normal(struct likeness_reader *reader, uint8_t *normal, size_t *n, uint8_t byte)
{
	if (!reader->tap)
		return;
	if (byte == '\0')
		byte = 0x80;
	if (reader->in_header && byte >= 0x80)
		byte = 'X';
	normal[(*n)++] = byte;
}

static void see_line_end(struct likeness_reader *reader)
{
	if (!reader->after_cr)
		reader->seen.oddities |= LIKENESS_LINE_END;
	reader->after_cr = false;
	if (reader->at_line_start)
		reader->in_header = false; /* an empty line */
	reader->at_line_start = true;
	reader->line_bytes = 0;
}

static void see(struct likeness_reader *reader, uint8_t byte, uint8_t *normal, size_t *n)
{
	if (byte == '\n') {
		see_line_end(reader);
		return;
	}
	if (reader->after_cr) /* by something else than LF */
		reader->seen.oddities |= LIKENESS_LINE_END;
	reader->after_cr = byte == '\r';
	if (byte == '\r')
		return;
	if (byte == '\0')
		reader->seen.oddities |= LIKENESS_NUL;
	if (reader->in_header) {
		if (byte >= 0x80)
			reader->seen.oddities |= LIKENESS_8BIT_HEADER;
		read_header_byte(reader, byte);
	}
	reader->at_line_start = false;
	feed_normal(reader, normal, n, byte);
}

/* ---- many bytes at once ---- */

/* What each of our machines has registers for: of longer ones the compiler makes single bytes. */
enum { BLOCK_BYTES = 16 };
typedef uint8_t block_t __attribute__((vector_size(BLOCK_BYTES)));

static bool is_any(block_t block)
{
	uint64_t words[2];

	memcpy(words, &block, sizeof words);
	return words[0] | words[1];
}

/* What is odd in [at, end), whose first byte has one before it: half the time of a memchr() for
 * each kind of byte, as lines are short. */
static unsigned scan(const uint8_t *at, const uint8_t *end)
{
	block_t bytes, before, ends = { 0 }, nuls = { 0 }, high = { 0 };
	uint8_t end_now = 0, nul_now = 0, high_now = 0;

	for (; end - at >= BLOCK_BYTES; at += BLOCK_BYTES) {
		memcpy(&bytes, at, BLOCK_BYTES);
		memcpy(&before, at - 1, BLOCK_BYTES);
		ends |= (block_t)((bytes == '\n') ^ (before == '\r'));
		nuls |= (block_t)(bytes == '\0');
		high |= bytes;
	}
	for (; at < end; at++) {
		end_now |= (at[0] == '\n') != (at[-1] == '\r');
		nul_now |= at[0] == '\0';
		high_now |= at[0];
	}
	return (is_any(ends) || end_now ? LIKENESS_LINE_END : 0) |
	       (is_any(nuls) || nul_now ? LIKENESS_NUL : 0) |
	       (is_any(high & (uint8_t)0x80) || high_now >= 0x80 ? LIKENESS_8BIT_HEADER : 0);
}

/* A whole line of the header that is not, and does not belong to, the field of the Message-ID, and
 * is not the empty one. */
static bool is_plain_line(const struct likeness_reader *reader, const uint8_t *at,
			  const uint8_t *lf)
{
	bool begins_id = (*at == 'M' || *at == 'm') && !reader->id_is_over;

	return lf && lf - at >= 2 && lf[-1] == '\r' && *at != '\r' && !begins_id;
}

/* Of one byte, wherever it stands. */
static unsigned judge(uint8_t byte)
{
	return (byte == '\0' ? LIKENESS_NUL : 0) | (byte >= 0x80 ? LIKENESS_8BIT_HEADER : 0);
}

static const uint8_t *pass_header_lines(struct likeness_reader *reader, const uint8_t *at,
					const uint8_t *end)
{
	const uint8_t *lf;

	if (!reader->at_line_start || reader->after_cr || reader->is_id_line)
		return at;
	while (at < end && is_plain_line(reader, at, lf = memchr(at, '\n', (size_t)(end - at)))) {
		reader->seen.oddities |= judge(*at) | scan(at + 1, lf + 1);
		at = lf + 1;
	}
	return at;
}

/* Of a body nothing is asked for but its line ends and NULs. Bytes that the next piece may judge
 * are left. */
static const uint8_t *pass_body(struct likeness_reader *reader, const uint8_t *at,
				const uint8_t *end)
{
	while (end > at && end[-1] == '\r')
		end--;
	if (end - at < 2 || reader->after_cr || *at == '\n')
		return at;
	reader->seen.oddities |= (judge(*at) | scan(at + 1, end)) & ~(unsigned)LIKENESS_8BIT_HEADER;
	reader->at_line_start = end[-1] == '\n';
	return end;
}

void likeness_feed(struct likeness_reader *reader, const void *from, size_t bytes)
{
	const uint8_t *at = from, *end = at + bytes;
	uint8_t normal[512];
	size_t n = 0;

	reader->bytes += bytes;
	while (at < end) {
		if (!reader->tap)
			at = reader->in_header ? pass_header_lines(reader, at, end)
					       : pass_body(reader, at, end);
		if (at == end)
			break;
		see(reader, *at++, normal, &n);
		if (n == sizeof normal || (n > 0 && at == end)) {
			reader->tap->type->update(reader->tap, normal, n);
			n = 0;
		}
	}
}

enum err likeness_end(struct likeness_reader *reader, struct likeness *out)
{
	struct digest id;
	enum err e = OK;

	if (reader->after_cr)
		reader->seen.oddities |= LIKENESS_LINE_END;
	if (!reader->at_line_start || reader->bytes == 0)
		reader->seen.oddities |= LIKENESS_NO_LAST_END;
	*out = reader->seen;
	if (reader->tap)
		reader->tap->type->end(reader->tap, &out->normal);
	if (reader->id_bytes > 0) {
		e = digest_of(digest_type(text_of("blake3")), reader->id, reader->id_bytes, &id);
		bytes_copy(out->id, id.bytes, sizeof out->id, BYTES_META);
	}
	return e;
}
