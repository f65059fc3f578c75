/* One pack: all of it from the start, then spans of it, which must hold the same bytes. The first
 * byte says whether it is compressed and where the span begins. */
#include "transport/pack_read.h"

#include <stdlib.h>

#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/store_memory.h"

enum { PLAIN_BYTES_MAX = 4 << 20 }; /* of what an input may open to and is compared */

static enum err keep(void *context, const void *at, size_t n)
{
	buffer_add(context, at, n);
	return OK;
}

static enum err read_whole(struct pack_read *pack, struct buffer *plain)
{
	const uint8_t *at;
	size_t n;
	enum err e;

	while ((e = pack_read_next(pack, &at, &n)) == OK && !plain->failed)
		buffer_add(plain, at, n);
	return e;
}

static void read_span(struct store *store, const char *key, uint64_t offset, uint64_t length,
		      const struct buffer *plain)
{
	struct buffer span = { .bytes_max = PLAIN_BYTES_MAX };
	struct pack_read *pack = NULL;

	must(pack_read_open(store, key, &pack) == OK);
	must(pack_read_span(pack, offset, length, keep, &span) == OK);
	must(span.bytes == length && memcmp(span.at, plain->at + offset, length) == 0);
	buffer_free(&span);
	pack_read_close(&pack);
}

/* Spans nobody vouches for: refused, or cut, but never read beyond. */
static void read_any(struct store *store, const char *key, uint64_t offset)
{
	struct buffer span = { .bytes_max = PLAIN_BYTES_MAX };
	struct pack_read *pack = NULL;

	if (pack_read_open(store, key, &pack) == OK) {
		(void)pack_read_span(pack, offset, 4096, keep, &span);
		(void)pack_read_span(pack, offset / 2, 1, keep, &span);
		(void)pack_read_span(pack, UINT64_MAX - offset, offset, keep, &span);
	}
	buffer_free(&span);
	pack_read_close(&pack);
}

FUZZ_FIBER(pack)
{
	unsigned how = fuzz_take_byte(&input);
	const char *key = how & 1 ? "m/packs/000000000001.tar.zst" : "m/packs/000000000001.tar";
	struct buffer plain = { .bytes_max = PLAIN_BYTES_MAX };
	struct pack_read *pack = NULL;
	struct store_memory store;
	enum err e;

	store_memory_init(&store);
	store_memory_put(&store, key, input);
	e = pack_read_open(&store.base, key, &pack);
	if (!e)
		e = read_whole(pack, &plain);
	pack_read_close(&pack);
	if (e == ERR_PIPE_ENDED && plain.bytes && !plain.failed) {
		uint64_t offset = plain.bytes * how / 256;

		read_span(&store.base, key, offset, plain.bytes - offset, &plain);
	}
	err_note_clear();
	read_any(&store.base, key, (uint64_t)how * 512);
	buffer_free(&plain);
}
