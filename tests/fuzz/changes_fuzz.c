/* Objects of changes as readers take them: one as it is stored, or several given as plain lines
 * that are compressed here, because no mutation of a compressed byte makes a sensible line. What
 * they come to is compared with docs/FORMAT.md section 5 done the slow way. The first byte says
 * which: 0 an object as stored, else bits that choose whose messages are in the archive; plain
 * objects are parted by FUZZ_SEPARATOR. */
#include <stdio.h>
#include <stdlib.h>

#include "crypto/zstd_stage.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/store_memory.h"
#include "transport/archive_changes.h"

enum { OBJECTS_MAX = 4, LINES_MAX = 120 };

/* What section 5 speaks of, without the texts that no rule asks for. */
struct told {
	enum change_kind kind;
	struct name {
		char box[BOX_NAME_BYTES_MAX + 1];
		uint64_t epoch, no;
	} names, gives; /* gives: of a renumbered one */
	bool stored;	/* a pack has the message that it names */
	bool met;
};

static struct told told[LINES_MAX];
static size_t told_count;

static struct name name_of(const char *box, uint64_t epoch, uint64_t no)
{
	struct name name = { .epoch = epoch, .no = no };

	snprintf(name.box, sizeof name.box, "%s", box);
	return name;
}

static bool name_equal(const struct name *a, const struct name *b)
{
	return a->no == b->no && a->epoch == b->epoch && strcmp(a->box, b->box) == 0;
}

/* ---- reading ---- */

static void line_check(const struct change_line *line, struct text text)
{
	must(memchr(line->box, '\0', sizeof line->box));
	must(memchr(line->was_box, '\0', sizeof line->was_box));
	must(memchr(line->flags, '\0', sizeof line->flags));
	must(memchr(line->keywords, '\0', sizeof line->keywords));
	must(strcmp(line->change, change_kind_name(line->kind)) == 0 && line->no > 0);
	must(line->kind != CHANGE_RENUMBERED || line->was_no > 0);
	must(text.bytes < NDJSON_LINE_BYTES_MAX && !memchr(text.at, '\n', text.bytes));
}

static void keep(const struct change_line *line)
{
	struct told *to = &told[told_count];
	bool moved = line->kind == CHANGE_RENUMBERED;

	if (told_count++ >= LINES_MAX)
		return;
	*to = (struct told){ .kind = line->kind };
	to->gives = name_of(line->box, line->epoch, line->no);
	to->names = moved ? name_of(line->was_box, line->was_epoch, line->was_no) : to->gives;
}

static void read_object(struct store *store, const char *key)
{
	struct change_line *line = calloc(1, sizeof *line);
	struct changes_read *read = NULL;
	struct text text;
	enum err e = changes_read_open(store, key, &read);

	must(line && !read == (e != OK));
	while (!e && !(e = changes_read_next(read, line, &text))) {
		line_check(line, text);
		keep(line);
	}
	must(e == ERR_PIPE_ENDED || e == ERR_ARCHIVE_DAMAGED);
	err_note_clear();
	changes_read_close(&read);
	free(line);
}

/* ---- what they come to, the slow way ---- */

static void meet(const struct name *name)
{
	for (size_t i = 0; i < told_count; i++)
		told[i].met |= name_equal(&told[i].names, name);
}

/* The change that holds for the message that has this name behind so many lines; NULL: none. */
static const struct told *last_of(const struct name *name, size_t behind)
{
	const struct told *last = NULL;

	for (size_t i = 0; i < told_count; i++) {
		if (name_equal(&told[i].names, name))
			last = &told[i];
		if (!last || told[i].kind != CHANGE_RENUMBERED || !name_equal(&told[i].gives, name))
			continue;
		if (i >= behind)
			break; /* the name is given once more */
		last = NULL;
	}
	return last && (size_t)(last - told) >= behind ? last : NULL;
}

static struct name name_now(struct name name, bool *vanished)
{
	const struct told *last = last_of(&name, 0);

	for (*vanished = false; last; last = last_of(&name, (size_t)(last - told) + 1)) {
		meet(&name);
		*vanished = last->kind == CHANGE_VANISHED;
		if (last->kind != CHANGE_RENUMBERED)
			break;
		name = last->gives;
	}
	return name;
}

/* Names that no message had on its way. */
static size_t names_unmet(void)
{
	size_t unmet = 0;

	for (size_t i = 0; i < told_count; i++)
		if (!told[i].met) {
			unmet++;
			meet(&told[i].names); /* counted once, however often it is named */
		}
	return unmet;
}

static void apply(struct archive_changes *changes, struct archive_message *message,
		  const struct name *name)
{
	*message = (struct archive_message){ .epoch = name->epoch, .no = name->no };
	snprintf(message->box, sizeof message->box, "%s", name->box);
	archive_changes_apply(changes, message);
}

static void compare(struct archive_changes *changes)
{
	struct archive_message *message = calloc(1, sizeof *message);
	struct change_line *line = calloc(1, sizeof *line);
	size_t at = 0, unmet = 0;

	must(message && line);
	for (size_t i = 0; i < told_count; i++) {
		bool vanished;
		struct name now;

		if (!told[i].stored)
			continue;
		now = name_now(told[i].names, &vanished);
		apply(changes, message, &told[i].names);
		must(strcmp(message->box, now.box) == 0 && message->epoch == now.epoch &&
		     message->no == now.no && message->vanished == vanished);
		must(message->meta.keywords_bytes <= sizeof message->meta.keywords);
	}
	while (archive_changes_unmet(changes, &at, line))
		unmet++;
	must(unmet == names_unmet());
	free(line);
	free(message);
}

/* ---- the two ways in ---- */

static void put_compressed(struct store_memory *store, const char *key, struct text lines,
			   struct buffer *to)
{
	static struct zstd_stage *zstd; /* one for all inputs: opening it costs more than most do */

	must((zstd || zstd_stage_open(1, &zstd) == OK) && ndjson_compress(zstd, lines, to) == OK);
	store_memory_put(store, key, (struct text){ to->at ? to->at : "", to->bytes });
}

static void choose_stored(unsigned chosen)
{
	for (size_t i = 0; i < told_count; i++)
		for (size_t k = 0; k <= i; k++) /* the same name, the same answer */
			if (name_equal(&told[k].names, &told[i].names)) {
				told[i].stored = chosen >> k % 7 & 2;
				break;
			}
}

FUZZ_FIBER(changes)
{
	static char keys[OBJECTS_MAX][STORE_KEY_BYTES_MAX + 1];
	struct buffer frames[OBJECTS_MAX] = { 0 };
	unsigned chosen = fuzz_take_byte(&input), count = 0;
	struct archive_changes *changes = NULL;
	struct store_memory store;
	enum err e;

	store_memory_init(&store);
	told_count = 0;
	do {
		changes_key(keys[count], "m", count + 1);
		if (chosen)
			put_compressed(&store, keys[count], fuzz_take_part(&input), &frames[count]);
		else
			store_memory_put(&store, keys[count], input);
		count++;
	} while (chosen && input.bytes && count < OBJECTS_MAX);
	for (unsigned i = 0; i < count; i++)
		read_object(&store.base, keys[i]);
	choose_stored(chosen);
	e = archive_changes_open(&store.base, "m", UINT64_MAX, 0, &(struct archive_faults){ 0 },
				 &changes);
	must(changes && (e == OK || e == ERR_ARCHIVE_DAMAGED));
	err_note_clear();
	if (told_count <= LINES_MAX)
		compare(changes);
	archive_changes_close(&changes);
	for (unsigned i = 0; i < count; i++)
		buffer_free(&frames[i]);
}
