/* See likeness.h. */
#include "transport/likeness.h"

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

/* Of a body nothing is asked for but its line ends and NULs, so whole lines are passed over. */
static const uint8_t *skip_lines(struct likeness_reader *reader, const uint8_t *at,
				 const uint8_t *end)
{
	const uint8_t *cr, *lf;

	while (reader->at_line_start && !reader->after_cr && at < end) {
		if (!(lf = memchr(at, '\n', (size_t)(end - at))) || lf == at || lf[-1] != '\r')
			break;
		cr = memchr(at, '\r', (size_t)(lf - at));
		if (cr != lf - 1)
			break;
		at = lf + 1;
	}
	return at;
}

void likeness_feed(struct likeness_reader *reader, const void *from, size_t bytes)
{
	const uint8_t *at = from, *end = at + bytes;
	uint8_t normal[512];
	size_t n = 0;

	reader->bytes += bytes;
	if (!reader->tap && memchr(from, '\0', bytes))
		reader->seen.oddities |= LIKENESS_NUL;
	while (at < end) {
		if (!reader->tap && !reader->in_header && (at = skip_lines(reader, at, end)) == end)
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
