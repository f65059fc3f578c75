/* Lines of an index and of a manifest, plain or compressed by the first byte, as their readers take
 * them; what a line says of a message or a folder is in bounds. */
#include <stdlib.h>

#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/store_memory.h"
#include "transport/manifest.h"
#include "transport/pack_index.h"

static void read_lines(const char *key, struct text content, void (*each)(struct text line))
{
	struct ndjson *lines = NULL;
	struct store_memory store;
	struct text line;
	uint64_t count = 0;
	enum err e;

	store_memory_init(&store);
	store_memory_put(&store, key, content);
	must(ndjson_open(&store.base, key, &lines) == OK);
	while ((e = ndjson_next(lines, &line)) == OK) {
		must(line.bytes < NDJSON_LINE_BYTES_MAX && !memchr(line.at, '\n', line.bytes));
		must(ndjson_lines(lines) == ++count);
		each(line);
	}
	must(e == ERR_PIPE_ENDED || e == ERR_ARCHIVE_DAMAGED);
	ndjson_close(&lines);
}

static void index_line(struct text text)
{
	struct pack_line *line = calloc(1, sizeof *line);
	struct pack_head *head = calloc(1, sizeof *head);
	struct mail_meta meta;

	must(line && head);
	(void)pack_head_read(text, head);
	if (pack_line_read(text, line)) {
		pack_line_meta(line, &meta);
		must(meta.keywords_bytes <= sizeof meta.keywords);
	}
	free(head);
	free(line);
}

static void manifest_line(struct text text)
{
	struct manifest_line *line = calloc(1, sizeof *line);
	struct manifest_head *head = calloc(1, sizeof *head);
	struct box *box = calloc(1, sizeof *box);

	must(line && head && box);
	(void)manifest_head_read(text, head);
	if (manifest_line_read(text, line) && strcmp(line->line, "box") == 0) {
		manifest_line_box(line, box);
		must(memchr(box->raw, '\0', sizeof box->raw));
	}
	free(box);
	free(head);
	free(line);
}

FUZZ_FIBER(index)
{
	bool compressed = fuzz_take_byte(&input) & 1;

	read_lines(compressed ? "m/index/1.ndjson.zst" : "m/index/1.ndjson", input, index_line);
}

FUZZ_FIBER(manifest)
{
	read_lines("m/manifest/1.ndjson", input, manifest_line);
}
