/* See unwrap.h. Line by line, but for long lines, which no wrapper has where it matters. */
#include "transport/unwrap.h"

#include <stdlib.h>
#include <strings.h>

#include "crypto/base64.h"
#include "crypto/digest.h"
#include "engine/bytes.h"

static const char field_name[] = "X-Mailhaul-Wrapped:";

static void set_broken(struct unwrap *unwrap, const char *fault)
{
	unwrap->state = UNWRAP_BROKEN;
	unwrap->fault = fault;
}

void unwrap_begin(struct unwrap *unwrap, void (*take)(void *context, const void *, size_t),
		  void *context)
{
	*unwrap = (struct unwrap){ .take = take, .context = context };
}

/* ---- what the header announces ---- */

/* What stands behind `word` up to the next ";" or the end. False: it is not there. */
static bool find_value(struct text field, const char *word, struct text *value)
{
	const char *at = memmem(field.at, field.bytes, word, strlen(word)), *end;
	size_t left;

	if (!at)
		return false;
	at += strlen(word);
	left = (size_t)(field.at + field.bytes - at);
	end = memchr(at, ';', left);
	*value = (struct text){ at, end ? (size_t)(end - at) : left };
	return true;
}

static bool read_size(struct text value, uint64_t *size)
{
	*size = 0;
	for (size_t i = 0; i < value.bytes; i++) {
		if (value.at[i] < '0' || value.at[i] > '9' || i >= 18)
			return false;
		*size = 10 * *size + (uint64_t)(value.at[i] - '0');
	}
	return value.bytes > 0;
}

/* "1; size=N; function=NAME; digest=HEX", without blanks. */
static bool read_announcement(struct unwrap *unwrap)
{
	struct text field = { unwrap->field, unwrap->field_bytes }, size, function, digest;

	if (field.bytes < 2 || memcmp(field.at, "1;", 2) != 0 ||
	    !find_value(field, ";size=", &size) || !find_value(field, ";function=", &function) ||
	    !find_value(field, ";digest=", &digest) || !read_size(size, &unwrap->size_bytes) ||
	    function.bytes == 0 || function.bytes >= sizeof unwrap->function ||
	    !bytes_from_hex(unwrap->digest.bytes, DIGEST_BYTES, digest))
		return false;
	bytes_copy(unwrap->function, function.at, function.bytes, BYTES_META);
	unwrap->function[function.bytes] = '\0';
	bytes_copy(unwrap->boundary, "--mailhaul-", 11, BYTES_META);
	bytes_to_hex(unwrap->boundary + 11, unwrap->digest.bytes, DIGEST_BYTES / 2);
	return true;
}

static void add_to_field(struct unwrap *unwrap, const char *at, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (at[i] != ' ' && at[i] != '\t') {
			if (unwrap->field_bytes == sizeof unwrap->field)
				return; /* longer than ours ever are */
			unwrap->field[unwrap->field_bytes++] = at[i];
		}
}

static void end_header(struct unwrap *unwrap)
{
	if (!unwrap->is_announced)
		unwrap->state = UNWRAP_NOT_WRAPPED;
	else if (!read_announcement(unwrap))
		set_broken(unwrap, "its field X-Mailhaul-Wrapped says nothing that this version "
				   "understands");
	else
		unwrap->state = UNWRAP_BEFORE_TEXT;
}

static void see_header_line(struct unwrap *unwrap)
{
	const char *line = unwrap->line;
	size_t n = sizeof field_name - 1;
	bool folded = unwrap->line_bytes > 0 && (line[0] == ' ' || line[0] == '\t');

	if (unwrap->line_bytes == 0 && !unwrap->line_is_long) {
		end_header(unwrap);
		return;
	}
	if (folded && unwrap->is_field)
		add_to_field(unwrap, line, unwrap->line_bytes);
	if (folded)
		return;
	unwrap->is_field = unwrap->line_bytes >= n && strncasecmp(line, field_name, n) == 0;
	if (unwrap->is_field && unwrap->is_announced) {
		set_broken(unwrap, "it has two fields X-Mailhaul-Wrapped");
	} else if (unwrap->is_field) {
		unwrap->is_announced = true;
		add_to_field(unwrap, line + n, unwrap->line_bytes - n);
	}
}

/* ---- the original ---- */

static void decode(struct unwrap *unwrap)
{
	uint8_t bytes[UNWRAP_CODED_BYTES / 4 * 3];
	size_t n;

	if (unwrap->coded_bytes == 0)
		return;
	if (unwrap->is_padded || unwrap->coded_bytes % 4 != 0 ||
	    !base64_decode(bytes, unwrap->coded, unwrap->coded_bytes, &n)) {
		set_broken(unwrap, "its base64 is damaged");
		return;
	}
	unwrap->is_padded = unwrap->coded[unwrap->coded_bytes - 1] == '=';
	unwrap->coded_bytes = 0;
	unwrap->taken += n;
	if (unwrap->taken > unwrap->size_bytes)
		set_broken(unwrap, "there is more inside than it says");
	else
		unwrap->take(unwrap->context, bytes, n);
}

static void see_coded_line(struct unwrap *unwrap)
{
	if (unwrap->line_is_long) {
		set_broken(unwrap, "a line of its base64 is too long");
		return;
	}
	for (size_t i = 0; i < unwrap->line_bytes && unwrap->state == UNWRAP_IN_ORIGINAL; i++) {
		if (unwrap->line[i] == ' ' || unwrap->line[i] == '\t')
			continue;
		unwrap->coded[unwrap->coded_bytes++] = unwrap->line[i];
		if (unwrap->coded_bytes == sizeof unwrap->coded)
			decode(unwrap);
	}
}

/* ---- lines ---- */

static bool is_boundary(const struct unwrap *unwrap, bool last)
{
	size_t n = strlen(unwrap->boundary), more = last ? 2 : 0;

	return !unwrap->line_is_long && unwrap->line_bytes == n + more &&
	       memcmp(unwrap->line, unwrap->boundary, n) == 0 &&
	       (!last || memcmp(unwrap->line + n, "--", 2) == 0);
}

static void see_original_line(struct unwrap *unwrap)
{
	if (!is_boundary(unwrap, true)) {
		see_coded_line(unwrap);
		return;
	}
	unwrap->state = UNWRAP_BEHIND;
	decode(unwrap);
}

static void see_line(struct unwrap *unwrap)
{
	if (unwrap->line_bytes > 0 && unwrap->line[unwrap->line_bytes - 1] == '\r')
		unwrap->line_bytes--;
	switch (unwrap->state) {
	case UNWRAP_IN_HEADER:
		see_header_line(unwrap);
		break;
	case UNWRAP_BEFORE_TEXT:
	case UNWRAP_IN_TEXT:
		if (is_boundary(unwrap, false))
			unwrap->state = unwrap->state == UNWRAP_BEFORE_TEXT ? UNWRAP_IN_TEXT
									    : UNWRAP_IN_PART_HEADER;
		break;
	case UNWRAP_IN_PART_HEADER:
		if (unwrap->line_bytes == 0 && !unwrap->line_is_long)
			unwrap->state = UNWRAP_IN_ORIGINAL;
		break;
	case UNWRAP_IN_ORIGINAL:
		see_original_line(unwrap);
		break;
	case UNWRAP_BEHIND:
	case UNWRAP_NOT_WRAPPED:
	case UNWRAP_BROKEN:
		break;
	}
	unwrap->line_bytes = 0;
	unwrap->line_is_long = false;
}

static bool is_over(const struct unwrap *unwrap)
{
	return unwrap->state >= UNWRAP_BEHIND;
}

static void add_to_line(struct unwrap *unwrap, const char *at, size_t n)
{
	size_t room = sizeof unwrap->line - unwrap->line_bytes, taken = min_u64(n, room);

	bytes_copy(unwrap->line + unwrap->line_bytes, at, taken, BYTES_META);
	unwrap->line_bytes += taken;
	unwrap->line_is_long |= n > room;
	if (unwrap->state == UNWRAP_IN_HEADER &&
	    (unwrap->header_bytes += n + 1) > UNWRAP_HEADER_BYTES_MAX)
		unwrap->state = UNWRAP_NOT_WRAPPED;
}

void unwrap_feed(struct unwrap *unwrap, const void *from, size_t n)
{
	const char *at = from, *end = at + n, *lf;

	for (; at < end && !is_over(unwrap); at = lf + 1) {
		lf = memchr(at, '\n', (size_t)(end - at));
		add_to_line(unwrap, at, (size_t)((lf ? lf : end) - at));
		if (!lf)
			return;
		if (!is_over(unwrap))
			see_line(unwrap);
	}
}

enum unwrap_state unwrap_end(struct unwrap *unwrap)
{
	if (unwrap->line_bytes > 0 && !is_over(unwrap))
		see_line(unwrap);
	if (unwrap->state == UNWRAP_IN_HEADER)
		end_header(unwrap);
	if (!is_over(unwrap))
		set_broken(unwrap, "it ends too early");
	if (unwrap->state == UNWRAP_BEHIND && unwrap->taken != unwrap->size_bytes)
		set_broken(unwrap, "there is less inside than it says");
	return unwrap->state;
}

/* ---- as a tap ---- */

struct unwrap_tap {
	struct tap base;
	struct tap_type type; /* it has the name of what it digests with */
	struct unwrap unwrap;
	struct tap *inner;
};

static struct unwrap_tap *tap_of(struct tap *tap)
{
	return CONTAINER_OF(tap, struct unwrap_tap, base);
}

static void take_inside(void *context, const void *from, size_t n)
{
	struct unwrap_tap *tap = context;

	tap->inner->type->update(tap->inner, from, n);
}

static void tap_begin(struct tap *base)
{
	struct unwrap_tap *tap = tap_of(base);

	unwrap_begin(&tap->unwrap, take_inside, tap);
	tap->inner->type->begin(tap->inner);
}

static void tap_update(struct tap *base, const void *from, size_t n)
{
	unwrap_feed(&tap_of(base)->unwrap, from, n);
}

static void tap_end(struct tap *base, struct digest *out)
{
	struct unwrap_tap *tap = tap_of(base);
	struct unwrap *unwrap = &tap->unwrap;
	bool sound = unwrap_end(unwrap) == UNWRAP_BEHIND;

	if (sound)
		tap->inner->type->end(tap->inner, out);
	if (sound && strcmp(unwrap->function, tap->inner->type->name) == 0)
		sound = memcmp(out, &unwrap->digest, sizeof *out) == 0;
	if (!sound)
		*out = (struct digest){ { 0 } };
}

static void tap_close(struct tap **base)
{
	struct unwrap_tap *tap;

	if (!*base)
		return;
	tap = tap_of(*base);
	if (tap->inner)
		tap->inner->type->close(&tap->inner);
	free(tap);
	*base = NULL;
}

enum err unwrap_tap_open(const struct tap_type *type, struct tap **out)
{
	struct unwrap_tap *tap = calloc(1, sizeof *tap);
	enum err e;

	*out = NULL;
	if (!tap)
		return RAISE(ERR_MEMORY_EXHAUSTED, "looking into wrapped messages");
	tap->type = (struct tap_type){ .name = type->name,
				       .begin = tap_begin,
				       .update = tap_update,
				       .end = tap_end,
				       .close = tap_close };
	tap->base.type = &tap->type;
	*out = &tap->base;
	if ((e = digest_open(type, &tap->inner)))
		tap_close(out);
	else
		tap_begin(&tap->base);
	return e;
}

bool unwrap_is_inside(const struct digest *digest)
{
	static const struct digest none;

	return memcmp(digest, &none, sizeof none) != 0;
}
