/* The header is read byte by byte; at its end what was gathered of the three fields goes into
 * BLAKE3, and behind it the body, without its line ends. */
#include "transport/fingerprint.h"

#include <stdlib.h>

#include "crypto/digest.h"
#include "engine/bytes.h"

enum { FINGERPRINT_MAGIC = 0x1a4a9f19, FIELDS = 3, NAME_BYTES_MAX = 12, PIECE_BYTES = 1024 };

static const char head[] = "mailhaul fingerprint 1\n";
static const char *const names[FIELDS] = { "message-id:", "date:", "from:" };

struct field {
	uint8_t bytes[FINGERPRINT_FIELD_BYTES_MAX];
	unsigned count;
	bool is_over, is_too_long; /* the first one counts; it was read */
};

struct fingerprint {
	struct tap base;
	uint32_t magic;
	struct tap *digest;
	struct digest of_head; /* once the header is over */
	bool in_header, at_line_start;
	uint8_t name[NAME_BYTES_MAX]; /* of the present line, its beginning in lower case */
	unsigned name_bytes;
	struct field *field; /* that is being read; NULL: none that counts */
	struct field fields[FIELDS];
};

static struct fingerprint *fingerprint_of(struct tap *tap)
{
	struct fingerprint *fingerprint = CONTAINER_OF(tap, struct fingerprint, base);

	MAGIC_CHECK(fingerprint, FINGERPRINT_MAGIC);
	return fingerprint;
}

static void fingerprint_begin(struct tap *tap)
{
	struct fingerprint *fingerprint = fingerprint_of(tap);

	for (unsigned i = 0; i < FIELDS; i++) {
		fingerprint->fields[i].count = 0;
		fingerprint->fields[i].is_over = fingerprint->fields[i].is_too_long = false;
	}
	fingerprint->field = NULL;
	fingerprint->name_bytes = 0;
	fingerprint->in_header = fingerprint->at_line_start = true;
	fingerprint->digest->type->begin(fingerprint->digest);
}

/* ---- the header ---- */

static void end_header(struct fingerprint *fingerprint)
{
	struct tap *digest = fingerprint->digest;

	fingerprint->in_header = false;
	digest->type->update(digest, head, sizeof head - 1);
	for (unsigned i = 0; i < FIELDS; i++) {
		digest->type->update(digest, fingerprint->fields[i].bytes,
				     fingerprint->fields[i].count);
		digest->type->update(digest, "\n", 1);
	}
	digest->type->end(digest, &fingerprint->of_head); /* and it goes on with the body */
}

static void add_to_field(struct field *field, uint8_t byte)
{
	if (byte == ' ' || byte == '\t')
		return;
	if (field->count == sizeof field->bytes)
		field->is_too_long = true;
	else
		field->bytes[field->count++] = byte;
}

/* A line that begins: it goes on with the field before, or that one is over. */
static void begin_line(struct fingerprint *fingerprint, uint8_t byte)
{
	if (byte == ' ' || byte == '\t')
		return;
	if (fingerprint->field)
		fingerprint->field->is_over = true;
	fingerprint->field = NULL;
	fingerprint->name_bytes = 0;
}

static void find_field(struct fingerprint *fingerprint, uint8_t byte)
{
	if (fingerprint->name_bytes == NAME_BYTES_MAX)
		return;
	fingerprint->name[fingerprint->name_bytes++] =
		byte >= 'A' && byte <= 'Z' ? (uint8_t)(byte + 'a' - 'A') : byte;
	if (byte != ':')
		return;
	for (unsigned i = 0; i < FIELDS; i++)
		if (fingerprint->name_bytes == strlen(names[i]) &&
		    memcmp(fingerprint->name, names[i], fingerprint->name_bytes) == 0 &&
		    !fingerprint->fields[i].is_over)
			fingerprint->field = &fingerprint->fields[i];
	fingerprint->name_bytes = NAME_BYTES_MAX; /* what is behind the colon is no name */
}

static void read_header_byte(struct fingerprint *fingerprint, uint8_t byte)
{
	if (byte == '\n') {
		if (fingerprint->at_line_start)
			end_header(fingerprint);
		fingerprint->at_line_start = true;
		return;
	}
	if (byte == '\r')
		return;
	if (fingerprint->at_line_start)
		begin_line(fingerprint, byte);
	fingerprint->at_line_start = false;
	if (fingerprint->field)
		add_to_field(fingerprint->field, byte);
	else
		find_field(fingerprint, byte);
}

/* ---- the body ---- */

static void read_body(struct fingerprint *fingerprint, const uint8_t *at, const uint8_t *end)
{
	uint8_t piece[PIECE_BYTES];
	size_t n = 0;

	for (; at < end; at++) {
		if (*at != '\r' && *at != '\n')
			piece[n++] = *at ? *at : 0x80;
		if (n == sizeof piece || (n > 0 && at + 1 == end)) {
			fingerprint->digest->type->update(fingerprint->digest, piece, n);
			n = 0;
		}
	}
}

static void fingerprint_update(struct tap *tap, const void *from, size_t bytes)
{
	struct fingerprint *fingerprint = fingerprint_of(tap);
	const uint8_t *at = from, *end = at + bytes;

	while (at < end && fingerprint->in_header)
		read_header_byte(fingerprint, *at++);
	if (at < end)
		read_body(fingerprint, at, end);
}

/* ---- what comes of it ---- */

static bool is_known(const struct fingerprint *fingerprint)
{
	bool known = fingerprint->fields[0].count > 0;

	for (unsigned i = 0; i < FIELDS; i++)
		known &= !fingerprint->fields[i].is_too_long;
	return known;
}

static void fingerprint_end(struct tap *tap, struct digest *out)
{
	struct fingerprint *fingerprint = fingerprint_of(tap);

	if (fingerprint->in_header)
		end_header(fingerprint);
	*out = (struct digest){ 0 };
	if (is_known(fingerprint))
		fingerprint->digest->type->end(fingerprint->digest, out);
}

bool fingerprint_key(struct tap *tap, uint8_t key[FINGERPRINT_KEY_BYTES])
{
	struct fingerprint *fingerprint = fingerprint_of(tap);

	if (fingerprint->in_header)
		end_header(fingerprint);
	if (!is_known(fingerprint))
		return false;
	bytes_copy(key, fingerprint->of_head.bytes, FINGERPRINT_KEY_BYTES, BYTES_META);
	return true;
}

bool fingerprint_is_none(const struct digest *fingerprint)
{
	static const struct digest none;

	return memcmp(fingerprint, &none, sizeof none) == 0;
}

static void fingerprint_close(struct tap **tap)
{
	struct fingerprint *fingerprint;

	if (!*tap)
		return;
	fingerprint = fingerprint_of(*tap);
	if (fingerprint->digest)
		fingerprint->digest->type->close(&fingerprint->digest);
	fingerprint->magic = 0;
	free(fingerprint);
	*tap = NULL;
}

static const struct tap_type fingerprint_type = {
	.name = "fingerprint",
	.begin = fingerprint_begin,
	.update = fingerprint_update,
	.end = fingerprint_end,
	.close = fingerprint_close,
};

enum err fingerprint_open(struct tap **out)
{
	struct fingerprint *fingerprint = calloc(1, sizeof *fingerprint);
	enum err e;

	*out = NULL;
	if (!fingerprint)
		return RAISE(ERR_MEMORY_EXHAUSTED, "a message's fingerprint");
	fingerprint->base.type = &fingerprint_type;
	fingerprint->magic = FINGERPRINT_MAGIC;
	*out = &fingerprint->base;
	if ((e = digest_open(digest_type(text_of("blake3")), &fingerprint->digest)) == OK)
		fingerprint_begin(*out);
	else
		fingerprint_close(out);
	return e;
}
