/* Wrapped messages: anything read as one, the same in whatever pieces; and anything wrapped, which
 * any server would take, and which comes out again. */
#include "transport/unwrap.h"

#include <stdlib.h>

#include "crypto/digest.h"
#include "tests/fuzz/fuzz.h"
#include "transport/wrap.h"

static void take(void *context, const void *from, size_t n)
{
	buffer_add(context, from, n);
}

static enum unwrap_state unwrap(struct text from, size_t piece, struct buffer *inside)
{
	struct unwrap *unwrap = malloc(sizeof *unwrap);
	enum unwrap_state state;

	must(unwrap && piece > 0);
	buffer_reset(inside);
	unwrap_begin(unwrap, take, inside);
	for (size_t at = 0; at < from.bytes; at += piece)
		unwrap_feed(unwrap, from.at + at, min_u64(piece, from.bytes - at));
	state = unwrap_end(unwrap);
	must((unwrap->fault != NULL) == (state == UNWRAP_BROKEN));
	must(state != UNWRAP_BEHIND || inside->bytes == unwrap->size_bytes);
	free(unwrap);
	return state;
}

static void read_it(struct text input)
{
	struct buffer whole = { 0 }, cut = { 0 };
	enum unwrap_state state = unwrap(input, input.bytes + 1, &whole);

	must(unwrap(input, 7, &cut) == state);
	must(state != UNWRAP_BEHIND || (cut.bytes == whole.bytes &&
					(cut.bytes == 0 || !memcmp(cut.at, whole.at, cut.bytes))));
	buffer_free(&whole);
	buffer_free(&cut);
}

static void must_be_clean(struct text all)
{
	size_t line = 0;

	for (size_t i = 0; i < all.bytes; i++) {
		char c = all.at[i];

		must((c >= ' ' && c <= '~') || (c == '\r' && all.at[i + 1] == '\n') ||
		     (c == '\n' && all.at[i - 1] == '\r'));
		line = c == '\n' ? 0 : line + 1;
		must(line <= 998 + 1);
	}
}

static void wrap_it(struct text original)
{
	char *coded = malloc(WRAP_PIECE_CHARACTERS + 1);
	struct buffer all = { 0 }, inside = { 0 };
	struct digest digest;
	struct wrap wrap;

	must(coded);
	must(!digest_of(digest_type(text_of("blake3")), original.at, original.bytes, &digest));
	must(!wrap_open(
		&wrap, (struct text){ original.at, min_u64(original.bytes, WRAP_HEADER_BYTES_MAX) },
		original.bytes, &digest, "blake3"));
	buffer_add(&all, wrap.head.at, wrap.head.bytes);
	for (size_t at = 0; at < original.bytes; at += WRAP_PIECE_BYTES)
		buffer_add(&all, coded,
			   wrap_encode(coded, (const uint8_t *)original.at + at,
				       min_u64(WRAP_PIECE_BYTES, original.bytes - at)));
	buffer_add(&all, wrap.tail.at, wrap.tail.bytes);
	must(!all.failed && all.bytes == wrap.size_bytes);
	must_be_clean((struct text){ all.at, all.bytes });
	must(unwrap((struct text){ all.at, all.bytes }, 1000, &inside) == UNWRAP_BEHIND);
	must(inside.bytes == original.bytes &&
	     (inside.bytes == 0 || !memcmp(inside.at, original.at, inside.bytes)));
	wrap_close(&wrap);
	buffer_free(&all);
	buffer_free(&inside);
	free(coded);
}

FUZZ(unwrap)
{
	bool wraps = fuzz_take_byte(&input) & 1;
	char *text = fuzz_string(input); /* of exactly this length: reading on is seen */

	if (wraps)
		wrap_it((struct text){ text, input.bytes });
	else
		read_it((struct text){ text, input.bytes });
	free(text);
}
