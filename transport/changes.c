/* See changes.h. */
#include "transport/changes.h"

#include <stdio.h>
#include <stdlib.h>

#include "crypto/zstd_stage.h"
#include "engine/clock.h"
#include "engine/fiber.h"
#include "transport/json.h"
#include "transport/manifest.h"
#include "transport/pack_index.h"

enum {
	CHANGES_VERSION = 1,
	/* Changes of one object: some ten MiB of lines, read back in a tenth of a second. */
	OBJECT_CHANGES_MAX = AMENDS_QUEUED_MIN + 1,
	YIELD_LINES = 1024, /* read in some milliseconds */
};

static const char *const kind_names[] = { [CHANGE_REFLAGGED] = "reflagged",
					  [CHANGE_VANISHED] = "vanished",
					  [CHANGE_RENUMBERED] = "renumbered" };

const char *change_kind_name(enum change_kind kind)
{
	must(kind < ARRAY_COUNT(kind_names));
	return kind_names[kind];
}

void changes_key(char to[STORE_KEY_BYTES_MAX + 1], const char *mailbox_key, uint64_t number)
{
	int n = snprintf(to, STORE_KEY_BYTES_MAX + 1, "%s/changes/%012llu.ndjson.zst", mailbox_key,
			 (unsigned long long)number);

	must(n > 0 && n <= STORE_KEY_BYTES_MAX);
}

/* ---- lines ---- */

static char *time_now(char to[40])
{
	const struct mail_date now = { .seconds = clock_wall() / NSEC_SECOND, .known = true };

	return mail_date_rfc3339(to, &now);
}

static void meta_add(struct buffer *to, const struct mail_meta *meta)
{
	struct buffer flags = { 0 };

	pack_flags_add(&flags, meta->flags);
	json_add_text(to, "flags", (struct text){ flags.at, flags.bytes });
	json_add_text(to, "keywords", (struct text){ meta->keywords, meta->keywords_bytes });
	to->failed |= flags.failed;
	buffer_free(&flags);
}

static void renumbered_add(struct buffer *to, const struct change *change)
{
	const char *separator = &change->box->separator;
	char date[40] = "";

	if (change->meta.date.known)
		mail_date_rfc3339(date, &change->meta.date);
	json_add_text(to, "sep", (struct text){ separator, *separator != '\0' });
	json_add_text(to, "was_box", text_of(change->was_box));
	json_add_number(to, "was_epoch", change->was_epoch);
	json_add_number(to, "was_no", change->was_no);
	json_add_text(to, "date", text_of(date));
}

static void line_add(struct buffer *to, const struct change *change)
{
	char seen[40];

	json_begin(to);
	json_add_text(to, "change", text_of(change_kind_name(change->kind)));
	json_add_text(to, "seen", text_of(time_now(seen)));
	json_add_text(to, "box", text_of(change->box->name));
	json_add_number(to, "epoch", change->epoch);
	json_add_number(to, "no", change->no);
	if (change->kind == CHANGE_RENUMBERED)
		renumbered_add(to, change);
	if (change->kind != CHANGE_VANISHED)
		meta_add(to, &change->meta);
	json_end(to);
}

static bool is_kind(struct change_line *line)
{
	for (size_t i = 0; i < ARRAY_COUNT(kind_names); i++)
		if (strcmp(line->change, kind_names[i]) == 0) {
			line->kind = (enum change_kind)i;
			return true;
		}
	return strcmp(line->change, "end") == 0;
}

bool change_line_read(struct text text, struct change_line *out)
{
	static const struct json_field fields[] = {
		JSON_FIELD("change", JSON_TEXT, struct change_line, change),
		JSON_FIELD_OPTIONAL("seen", JSON_TEXT, struct change_line, seen),
		JSON_FIELD_OPTIONAL("box", JSON_TEXT, struct change_line, box),
		JSON_FIELD_OPTIONAL("epoch", JSON_NUMBER, struct change_line, epoch),
		JSON_FIELD_OPTIONAL("no", JSON_NUMBER, struct change_line, no),
		JSON_FIELD_OPTIONAL("sep", JSON_TEXT, struct change_line, separator),
		JSON_FIELD_OPTIONAL("was_box", JSON_TEXT, struct change_line, was_box),
		JSON_FIELD_OPTIONAL("was_epoch", JSON_NUMBER, struct change_line, was_epoch),
		JSON_FIELD_OPTIONAL("was_no", JSON_NUMBER, struct change_line, was_no),
		JSON_FIELD_OPTIONAL("date", JSON_TEXT, struct change_line, date),
		JSON_FIELD_OPTIONAL("flags", JSON_TEXT, struct change_line, flags),
		JSON_FIELD_OPTIONAL("keywords", JSON_TEXT, struct change_line, keywords),
		JSON_FIELD_OPTIONAL("changes", JSON_NUMBER, struct change_line, changes),
	};

	memset(out, 0, sizeof *out);
	if (!json_read(text, fields, ARRAY_COUNT(fields), out) || !is_kind(out))
		return false;
	return strcmp(out->change, "end") == 0 ||
	       (out->no > 0 && (out->kind != CHANGE_RENUMBERED || out->was_no > 0));
}

/* ---- writing ---- */

struct changes {
	struct store *store;
	const char *mailbox_key, *mailbox_name;
	struct zstd_stage *zstd;
	struct store_put *put; /* the object being written, or NULL */
	bool is_begun;	       /* there are lines that belong to one */
	struct buffer lines, frames;
	uint64_t number; /* of the next object; 0: not looked for yet */
	uint64_t count;	 /* changes in the object being written */
};

enum err changes_open(struct store *store, const char *mailbox_key, const char *mailbox_name,
		      struct changes **out)
{
	struct changes *changes = calloc(1, sizeof *changes);
	enum err e;

	*out = changes;
	if (!changes)
		return RAISE(ERR_MEMORY_EXHAUSTED, "recording changes of %s", mailbox_key);
	changes->store = store;
	changes->mailbox_key = mailbox_key;
	changes->mailbox_name = mailbox_name;
	if ((e = zstd_stage_open(1, &changes->zstd)))
		changes_close(out);
	return e;
}

void changes_close(struct changes **changes_at)
{
	struct changes *changes = *changes_at;

	*changes_at = NULL;
	if (!changes)
		return;
	changes->store->type->put_abort(&changes->put);
	zstd_stage_close(&changes->zstd);
	buffer_free(&changes->lines);
	buffer_free(&changes->frames);
	free(changes);
}

/* Above every object that is there and every one that was ever listed. */
static enum err number_find(struct changes *changes)
{
	char prefix[STORE_KEY_BYTES_MAX + 1];
	struct buffer names = { 0 };
	struct manifest_head head;
	const char *name = NULL;
	uint64_t number, newest;
	enum err e;

	if ((e = manifest_newest(changes->store, changes->mailbox_key, &head)))
		return e;
	newest = head.last_changes;
	snprintf(prefix, sizeof prefix, "%s/changes", changes->mailbox_key);
	e = changes->store->type->list(changes->store, prefix, &names);
	while (!e && store_names_next(&names, &name))
		if (pack_number(name, &number))
			newest = max_u64(newest, number);
	buffer_free(&names);
	changes->number = newest + 1;
	return e;
}

/* Not before there is something to write: an object that is begun takes memory of its store's, and
 * few changes wait for more of them for as long as the source likes. */
static enum err object_open(struct changes *changes)
{
	char key[STORE_KEY_BYTES_MAX + 1];
	enum err e;

	if (changes->put)
		return OK;
	if (changes->number == 0 && (e = number_find(changes)))
		return e;
	changes_key(key, changes->mailbox_key, changes->number);
	return changes->store->type->put_open(changes->store, key, &changes->put);
}

/* The lines collected so far go into the object as frames of their own. */
static enum err lines_write(struct changes *changes)
{
	struct buffer *lines = &changes->lines;
	enum err e;

	if (lines->failed)
		return RAISE(ERR_MEMORY_EXHAUSTED, "recording changes of %s", changes->mailbox_key);
	if ((e = object_open(changes)))
		return e;
	buffer_reset(&changes->frames);
	e = ndjson_compress(changes->zstd, (struct text){ lines->at, lines->bytes },
			    &changes->frames);
	if (!e)
		e = changes->store->type->put_write(changes->put, changes->frames.at,
						    changes->frames.bytes);
	buffer_reset(lines);
	return e;
}

static void object_begin(struct changes *changes)
{
	char created[40];
	struct buffer *lines = &changes->lines;

	if (changes->is_begun)
		return;
	changes->is_begun = true;
	changes->count = 0;
	json_begin(lines);
	json_add_text(lines, "format", text_of("mailhaul-changes"));
	json_add_number(lines, "version", CHANGES_VERSION);
	json_add_text(lines, "mailbox", text_of(changes->mailbox_name));
	json_add_text(lines, "created", text_of(time_now(created)));
	json_end(lines);
}

enum err changes_flush(struct changes *changes)
{
	struct buffer *lines = &changes->lines;
	enum err e;

	if (!changes->is_begun)
		return OK;
	changes->is_begun = false;
	json_begin(lines);
	json_add_text(lines, "change", text_of("end"));
	json_add_number(lines, "changes", changes->count);
	json_end(lines);
	if ((e = lines_write(changes)) || (e = changes->store->type->put_seal(changes->put)))
		return e;
	e = changes->store->type->put_publish(&changes->put);
	changes->number++;
	return e;
}

enum err changes_add(struct changes *changes, const struct change *change)
{
	enum err e;

	object_begin(changes);
	line_add(&changes->lines, change);
	changes->count++;
	if (changes->count == OBJECT_CHANGES_MAX)
		return changes_flush(changes);
	if (changes->lines.bytes < FRAME_BYTES) /* enough to compress well */
		return OK;
	e = lines_write(changes);
	return e ? e : fiber_yield(); /* a millisecond of compressing */
}

/* ---- reading ---- */

struct changes_read {
	struct ndjson *lines;
	uint64_t count;
};

static bool head_is_ours(struct text line)
{
	struct head {
		char format[32];
		uint64_t version;
	} head;
	static const struct json_field fields[] = {
		JSON_FIELD("format", JSON_TEXT, struct head, format),
		JSON_FIELD("version", JSON_NUMBER, struct head, version),
	};

	return json_read(line, fields, ARRAY_COUNT(fields), &head) &&
	       strcmp(head.format, "mailhaul-changes") == 0 && head.version == CHANGES_VERSION;
}

enum err changes_read_open(struct store *store, const char *key, struct changes_read **out)
{
	struct changes_read *read = calloc(1, sizeof *read);
	struct text line;
	enum err e;

	*out = read;
	if (!read)
		return RAISE(ERR_MEMORY_EXHAUSTED, "reading %s", key);
	if (!(e = ndjson_open(store, key, &read->lines)))
		e = ndjson_next(read->lines, &line);
	if (e == ERR_PIPE_ENDED || (!e && !head_is_ours(line)))
		e = RAISE(ERR_ARCHIVE_DAMAGED, "%s: its first line does not parse", key);
	if (e)
		changes_read_close(out);
	return e;
}

void changes_read_close(struct changes_read **read)
{
	if (*read)
		ndjson_close(&(*read)->lines);
	free(*read);
	*read = NULL;
}

static enum err end_check(struct changes_read *read, const struct change_line *end)
{
	struct text line;
	enum err e = end->changes == read->count ? ndjson_next(read->lines, &line) : OK;

	return e ? e
		 : RAISE(ERR_ARCHIVE_DAMAGED, "%s: its last line says %llu changes, it has %llu",
			 ndjson_key(read->lines), (unsigned long long)end->changes,
			 (unsigned long long)read->count);
}

enum err changes_read_next(struct changes_read *read, struct change_line *out, struct text *line)
{
	enum err e = ndjson_next(read->lines, line);

	if (e == ERR_PIPE_ENDED)
		return RAISE(ERR_ARCHIVE_DAMAGED, "%s: it is cut short", ndjson_key(read->lines));
	if (!e && !change_line_read(*line, out))
		return RAISE(ERR_ARCHIVE_DAMAGED, "%s: line %llu does not parse",
			     ndjson_key(read->lines),
			     (unsigned long long)ndjson_lines(read->lines));
	if (!e && strcmp(out->change, "end") == 0)
		return end_check(read, out);
	if (e)
		return e;
	return ++read->count % YIELD_LINES ? OK : fiber_yield();
}
