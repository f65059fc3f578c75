/* See index_read.h. */
#include "transport/index_read.h"

#include <stdio.h>
#include <stdlib.h>

#include "transport/archive_faults.h"
#include "transport/pack_read.h"

enum {
	/* A writer stops at 4 MiB of lines (docs/FORMAT.md section 3), one line and the head on
	 * top.
	 */
	INSIDE_BYTES_MAX = 8 * 1024 * 1024,
};

/* Where the lines come from: first beside the pack, then from inside it. */
enum place { BESIDE, INSIDE, OVER };

struct index_read {
	struct store *store;
	enum place place;
	char key[STORE_KEY_BYTES_MAX + 1], pack[STORE_KEY_BYTES_MAX + 1];
	char pack_plain[STORE_KEY_BYTES_MAX + 1]; /* what it is called without compression */
	const char *damaged;
	struct pack_head head; /* of the place at hand, if it was begun */
	bool begun;
	uint64_t lines; /* handed out */
	struct ndjson *beside;
	struct buffer inside;
	size_t inside_at;
};

enum err index_read_open(struct store *store, const char *mailbox_key, uint64_t number,
			 const char *index_name, struct index_read **out)
{
	struct index_read *index = calloc(1, sizeof *index);

	*out = index;
	if (!index)
		return RAISE(ERR_MEMORY_EXHAUSTED, "reading an index");
	index->store = store;
	index->place = index_name ? BESIDE : INSIDE;
	pack_key(index->pack, mailbox_key, number, true);
	pack_key(index->pack_plain, mailbox_key, number, false);
	if (index_name)
		snprintf(index->key, sizeof index->key, "%.80s/index/%.40s", mailbox_key,
			 index_name);
	index->damaged = index->key;
	return OK;
}

void index_read_close(struct index_read **index)
{
	if (*index) {
		ndjson_close(&(*index)->beside);
		buffer_free(&(*index)->inside);
	}
	free(*index);
	*index = NULL;
}

const char *index_read_key(const struct index_read *index)
{
	return index->damaged;
}

const char *index_read_pack(const struct index_read *index)
{
	return index->pack;
}

/* ---- beside the pack ---- */

static enum err beside_begin(struct index_read *index)
{
	struct text line;
	enum err e;

	if (!store_key_is_valid(text_of(index->key)))
		return RAISE(ERR_ARCHIVE_DAMAGED, "%s does not belong there", index->key);
	if ((e = ndjson_open(index->store, index->key, &index->beside)))
		return e;
	e = ndjson_next(index->beside, &line);
	if (e == ERR_PIPE_ENDED || (!e && !pack_head_read(line, &index->head)))
		return RAISE(ERR_ARCHIVE_DAMAGED, "%s: its first line does not parse", index->key);
	if (e)
		return e;
	if (strcmp(index->head.pack, index->pack_plain) == 0)
		snprintf(index->pack, sizeof index->pack, "%s", index->pack_plain);
	if (strcmp(index->head.pack, index->pack) != 0)
		return RAISE(ERR_ARCHIVE_DAMAGED, "%s is the index of another pack", index->key);
	return OK;
}

/* The frame of the header line may be all that is left. */
static enum err beside_end(const struct index_read *index)
{
	return index->lines == index->head.messages
		       ? ERR_PIPE_ENDED
		       : RAISE(ERR_ARCHIVE_DAMAGED,
			       "%s: it has %llu lines, its first one says %llu", index->key,
			       (unsigned long long)index->lines,
			       (unsigned long long)index->head.messages);
}

static enum err beside_next(struct index_read *index, struct pack_line *out)
{
	struct text line;
	enum err e = ndjson_next(index->beside, &line);

	if (e == ERR_PIPE_ENDED)
		return beside_end(index);
	if (!e && !pack_line_read(line, out))
		e = RAISE(ERR_ARCHIVE_DAMAGED, "%s: line %llu does not parse", index->key,
			  (unsigned long long)ndjson_lines(index->beside));
	return e;
}

/* ---- inside it ---- */

static enum err cannot_parse(const struct index_read *index)
{
	return RAISE(ERR_ARCHIVE_DAMAGED, "%s: the index inside it does not parse", index->pack);
}

static bool inside_line(struct index_read *index, struct text *line)
{
	const char *at = index->inside.at + index->inside_at;
	const char *end = index->inside_at < index->inside.bytes
				  ? memchr(at, '\n', index->inside.bytes - index->inside_at)
				  : NULL;

	if (!end)
		return false;
	*line = (struct text){ at, (size_t)(end - at) };
	index->inside_at += line->bytes + 1;
	return true;
}

static enum err inside_read(struct index_read *index)
{
	struct pack_read *pack = NULL;
	uint64_t bytes;
	enum err e = index->store->type->size(index->store, index->pack, &bytes);

	if (e == ERR_DISK_ABSENT) {
		err_note_clear();
		e = index->store->type->size(index->store, index->pack_plain, &bytes);
		if (!e)
			snprintf(index->pack, sizeof index->pack, "%s", index->pack_plain);
	}
	if (!e && !(e = pack_read_open(index->store, index->pack, &pack)))
		e = pack_read_file(pack, ".mailhaul/index.ndjson", INSIDE_BYTES_MAX,
				   &index->inside);
	pack_read_close(&pack);
	return e;
}

/* Its own head, and the lines that the other one had handed out. */
static enum err inside_begin(struct index_read *index)
{
	struct text line;
	enum err e = inside_read(index);

	if (e)
		return e;
	if (!inside_line(index, &line) || !pack_head_read(line, &index->head) ||
	    strcmp(index->head.pack, index->pack) != 0)
		return cannot_parse(index);
	for (uint64_t i = 0; i < index->lines; i++)
		if (!inside_line(index, &line))
			return cannot_parse(index);
	return OK;
}

static enum err inside_next(struct index_read *index, struct pack_line *out)
{
	struct text line;

	if (index->inside_at == index->inside.bytes && index->lines == index->head.messages)
		return ERR_PIPE_ENDED;
	return inside_line(index, &line) && pack_line_read(line, out) ? OK : cannot_parse(index);
}

/* ---- one after the other ---- */

static enum err begin(struct index_read *index)
{
	enum err e = index->begun	      ? OK
		     : index->place == BESIDE ? beside_begin(index)
					      : inside_begin(index);

	index->begun = !e;
	return e;
}

enum err index_read_head(struct index_read *index, struct pack_head *head)
{
	enum err e = begin(index);

	if (archive_is_damage(e) && index->place == BESIDE) {
		err_note_clear();
		index->place = INSIDE;
		e = begin(index);
	}
	if (!e)
		*head = index->head;
	return e;
}

enum err index_read_check_pack(struct index_read *index)
{
	uint64_t bytes;
	enum err e;

	if (index->place != BESIDE || !index->begun)
		return OK;
	e = index->store->type->size(index->store, index->pack, &bytes);
	return e || bytes == index->head.pack_bytes
		       ? e
		       : RAISE(ERR_ARCHIVE_DAMAGED,
			       "%s: it is %llu bytes long, it was stored with %llu", index->pack,
			       (unsigned long long)bytes,
			       (unsigned long long)index->head.pack_bytes);
}

/* There is no third place. */
static enum err messages_lost(const struct index_read *index)
{
	char what[ERR_NOTE_BYTES_MAX];

	snprintf(what, sizeof what, "%s", err_note()->text);
	err_note_clear();
	return RAISE(ERR_ARCHIVE_DAMAGED,
		     "%s: no index of it can be read, so its %smessages are not found: %s",
		     index->pack, index->lines ? "further " : "", what);
}

enum err index_read_next(struct index_read *index, struct pack_line *out)
{
	enum err e = index->place == OVER ? ERR_PIPE_ENDED : begin(index);

	if (!e)
		e = index->place == BESIDE ? beside_next(index, out) : inside_next(index, out);
	if (!e) {
		index->lines++;
		return OK;
	}
	if (archive_is_damage(e) && index->place == INSIDE)
		e = messages_lost(index);
	index->damaged = index->place == BESIDE ? index->key : index->pack;
	index->place = e == ERR_PIPE_ENDED || index->place == INSIDE ? OVER : INSIDE;
	index->begun = false;
	return e;
}
