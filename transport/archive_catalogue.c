/* See archive_catalogue.h. Rows lie in the order in which the archive is walked, which is that of
 * the packs; keys point to them and are sorted by folder and number. */
#include "transport/archive_catalogue.h"

#include <stdio.h>
#include <stdlib.h>

#include "engine/fiber.h"
#include "engine/log.h"
#include "transport/archive_catalogue_state.h"
#include "transport/pack_index.h"

enum {
	ROOM_BYTES_MIN = 64 * 1024,
	/* Lines read, or keys looked at, before other fibers have a turn. */
	TURN_LINES = 256,
	TURN_KEYS = 8192,
};

void archive_catalogue_close(struct archive_catalogue **catalogue_at)
{
	struct archive_catalogue *catalogue = *catalogue_at;

	*catalogue_at = NULL;
	if (!catalogue)
		return;
	for (size_t i = 0; i < catalogue->folders_count; i++) {
		free(catalogue->folders[i].name);
		free(catalogue->folders[i].raw);
	}
	free(catalogue->folders);
	free(catalogue->work);
	free(catalogue->editions);
	free(catalogue->losses);
	name_table_free(&catalogue->names);
	name_table_free(&catalogue->raws);
	scratch_close(&catalogue->rows);
	scratch_close(&catalogue->keys);
	scratch_close(&catalogue->texts);
	free(catalogue);
}

/* Room for `bytes` bytes, doubled as often as need be. */
static enum err room_grow(struct scratch *scratch, size_t bytes)
{
	size_t room = max_u64(scratch->bytes, ROOM_BYTES_MIN);

	while (room < bytes)
		room *= 2;
	return scratch_grow(scratch, room);
}

/* ---- what is lost ---- */

/* An index that is lost is read from the copy in its pack, and where that is lost, too, the pack is
 * told of; a mailbox's name stands in each index. Anything else takes something with it. */
static bool is_loss(const char *key)
{
	return !strstr(key, "/index/") && !strstr(key, "/mailbox.json");
}

static void note_damage(void *context, const char *key, const char *what)
{
	struct archive_catalogue *catalogue = context;
	struct archive_loss *loss;

	log_event(LOG_WARN, "archive.damaged", "!key=\"%s\" !what=\"%s\"", key, what);
	if (!is_loss(key))
		return;
	for (size_t i = 0; i < min_u64(catalogue->losses_count, ARCHIVE_LOSSES_MAX); i++)
		if (strcmp(catalogue->losses[i].key, key) == 0)
			return;
	if (catalogue->losses_count++ >= ARCHIVE_LOSSES_MAX)
		return;
	loss = &catalogue->losses[catalogue->losses_count - 1];
	snprintf(loss->key, sizeof loss->key, "%s", key);
	snprintf(loss->what, sizeof loss->what, "%s", what);
}

/* ---- messages ---- */

static enum err take_boxes(struct archive_catalogue *catalogue, struct archive *archive)
{
	struct box *box = calloc(1, sizeof *box);
	enum err e = box ? OK : catalogue_no_memory();

	while (!e && !(e = archive_box_next(archive, box)))
		if (name_table_find(&catalogue->names, text_of(box->name)) == NAME_TABLE_NONE)
			e = catalogue_folder_add(catalogue, box, true);
	free(box);
	return e == ERR_PIPE_ENDED ? OK : e;
}

/* Few messages have keywords, and those mostly the same as the one before. */
static enum err keep_keywords(struct archive_catalogue *catalogue, const struct mail_meta *meta,
			      struct row *row)
{
	size_t bytes = meta->keywords_bytes;
	const uint8_t *last = catalogue->texts.at;
	enum err e;

	row->keywords_bytes = meta->keywords_bytes;
	row->keywords_dropped = meta->keywords_dropped;
	if (bytes == 0)
		return OK;
	if (bytes != catalogue->keywords_bytes ||
	    memcmp(last + catalogue->keywords_at, meta->keywords, bytes) != 0) {
		if ((e = room_grow(&catalogue->texts, catalogue->texts_bytes + bytes)))
			return e;
		bytes_copy(catalogue->texts.at + catalogue->texts_bytes, meta->keywords, bytes,
			   BYTES_META);
		catalogue->keywords_at = catalogue->texts_bytes;
		catalogue->keywords_bytes = meta->keywords_bytes;
		catalogue->texts_bytes += bytes;
	}
	row->keywords_at = catalogue->keywords_at;
	return OK;
}

static void take_keywords(const struct archive_catalogue *catalogue, const struct row *row,
			  struct mail_meta *meta)
{
	meta->keywords_bytes = row->keywords_bytes;
	meta->keywords_dropped = row->keywords_dropped;
	if (row->keywords_bytes)
		bytes_copy(meta->keywords, catalogue->texts.at + row->keywords_at,
			   row->keywords_bytes, BYTES_META);
}

static enum err keep_message(struct archive_catalogue *catalogue,
			     const struct archive_message *message, uint32_t edition)
{
	const char *slash = strrchr(message->pack, '/');
	size_t n = strlen(message->pack);
	struct row *row;
	uint64_t pack;
	enum err e;

	must(slash && pack_number(slash + 1, &pack) && n > 4);
	if (catalogue->rows_count == UINT32_MAX)
		return catalogue_no_memory();
	if ((e = room_grow(&catalogue->rows, (catalogue->rows_count + 1) * sizeof *row)))
		return e;
	row = &catalogue_rows(catalogue)[catalogue->rows_count];
	*row = (struct row){
		.no = message->no,
		.size_bytes = message->size_bytes,
		.body_offset = message->body_offset,
		.pack = 2 * pack + (strcmp(message->pack + n - 4, ".zst") != 0),
		.date_seconds = message->meta.date.seconds,
		.zone_minutes = message->meta.date.zone_minutes,
		.date_known = message->meta.date.known,
		.edition = edition,
		.digest = message->digest,
		.flags = (uint8_t)message->meta.flags,
		.vanished = message->vanished,
	};
	catalogue->rows_count++;
	return keep_keywords(catalogue, &message->meta, row);
}

static enum err take_message(struct archive_catalogue *catalogue,
			     const struct archive_message *message)
{
	bool present = !message->vanished || catalogue->with_vanished;
	struct archive_folder *folder;
	uint32_t index, edition;
	enum err e;

	if ((e = catalogue_folder_of(catalogue, message, &index)) ||
	    (e = catalogue_edition_of(catalogue, index, message->epoch, &edition)))
		return e;
	folder = &catalogue->folders[index];
	if (present) {
		folder->messages++;
		folder->bytes += message->size_bytes;
		folder->selectable = true;
	}
	if (edition == EDITION_NONE || message->no == 0 || message->no > NO_MAX)
		return OK;
	catalogue->work[index].last_edition = edition;
	catalogue->editions[edition].no_max =
		max_u64(catalogue->editions[edition].no_max, message->no);
	catalogue->editions[edition].kept |= present;
	return present ? keep_message(catalogue, message, edition) : OK;
}

static enum err take_messages(struct archive_catalogue *catalogue, struct archive *archive)
{
	struct archive_message *message = calloc(1, sizeof *message);
	enum err e = message ? OK : catalogue_no_memory();

	for (size_t i = 1; !e && !(e = archive_message_next(archive, message)); i++)
		if ((e = take_message(catalogue, message)) == OK && i % TURN_LINES == 0)
			e = fiber_yield();
	free(message);
	return e == ERR_PIPE_ENDED ? OK : e;
}

/* ---- the order of keys ---- */

static int compare_keys(const void *left, const void *right)
{
	const struct archive_key *a = left, *b = right;

	if (a->no != b->no)
		return a->no < b->no ? -1 : 1;
	return (a->row > b->row) - (a->row < b->row);
}

/* Each folder's keys behind those of the one before, in the order of the rows. */
static enum err deal_keys(struct archive_catalogue *catalogue)
{
	struct edition *editions = catalogue->editions;
	size_t place = 0;
	enum err e = room_grow(&catalogue->keys,
			       max_u64(catalogue->rows_count, 1) * sizeof(struct archive_key));

	if (e)
		return e;
	for (size_t i = 0; i < catalogue->rows_count; i++)
		catalogue->folders[editions[catalogue_rows(catalogue)[i].edition].folder].end++;
	for (size_t i = 0; i < catalogue->folders_count; i++) {
		struct archive_folder *folder = &catalogue->folders[i];

		folder->first = place;
		place += folder->end;
		folder->end = folder->first;
		catalogue_rank(catalogue, i);
	}
	for (size_t i = 0; i < catalogue->rows_count; i++) {
		const struct edition *edition = &editions[catalogue_rows(catalogue)[i].edition];
		struct archive_folder *folder = &catalogue->folders[edition->folder];

		catalogue_keys(catalogue)[folder->end++] =
			(struct archive_key){ .no = catalogue_rows(catalogue)[i].no,
					      .folder = edition->folder,
					      .row = (uint32_t)i };
	}
	return OK;
}

static uint64_t mix(uint64_t hash, uint64_t with)
{
	hash = (hash ^ with) * 0x9e3779b97f4a7c15u;
	return hash ^ hash >> 29;
}

static void mark_key(const struct archive_catalogue *catalogue, struct archive_folder *folder,
		     const struct archive_key *key)
{
	const struct row *row = &catalogue_rows(catalogue)[key->row];
	struct mail_meta meta = { .flags = row->flags };
	uint64_t mark;

	take_keywords(catalogue, row, &meta);
	mark = mail_mark(&meta);
	folder->mark[0] = mix(mix(folder->mark[0], key->no), mark);
	folder->mark[1] = mix(mix(folder->mark[1] + 1, mark), key->no);
}

static void sort_folder(struct archive_catalogue *catalogue, size_t index)
{
	const struct archive_folder *folder = &catalogue->folders[index];
	struct archive_key *key = catalogue_keys(catalogue) + folder->first;
	size_t count = folder->end - folder->first;
	unsigned shift = catalogue_set_next_no(catalogue, index);
	bool sorted = true;

	for (size_t i = 0; i < count; i++) {
		uint32_t edition = catalogue_rows(catalogue)[key[i].row].edition;

		key[i].no += catalogue_rank_base(&catalogue->editions[edition], shift);
		sorted &= i == 0 || key[i - 1].no < key[i].no;
	}
	if (!sorted)
		qsort(key, count, sizeof *key, compare_keys);
}

/* Of two messages with the same key, which no run of ours stores, the first is taken, and the other
 * stays announced. */
static enum err mark_folder(struct archive_catalogue *catalogue, size_t index)
{
	struct archive_folder *folder = &catalogue->folders[index];
	struct archive_key *key = catalogue_keys(catalogue) + folder->first, *last = key;
	size_t count = folder->end - folder->first;
	enum err e = OK;

	for (size_t i = 0; i < count && !e; i++) {
		if (i > 0 && key[i].no == (last - 1)->no)
			continue;
		*last++ = key[i];
		mark_key(catalogue, folder, last - 1);
		if (i % TURN_KEYS == TURN_KEYS - 1)
			e = fiber_yield();
	}
	folder->end = folder->first + (size_t)(last - key);
	return e;
}

/* ---- the whole ---- */

static void note_left(void *context, const char *box)
{
	struct archive_catalogue *catalogue = context;
	uint32_t index = name_table_find(&catalogue->names, text_of(box));

	if (index != NAME_TABLE_NONE)
		catalogue->work[index].left = true;
}

static enum err fill(struct archive_catalogue *catalogue, struct archive *archive)
{
	enum err e;

	if ((e = take_boxes(catalogue, archive)) || (e = take_messages(catalogue, archive)) ||
	    (e = deal_keys(catalogue)))
		return e;
	for (size_t i = 0; i < catalogue->folders_count && !e; i++) {
		struct archive_folder *folder = &catalogue->folders[i];

		sort_folder(catalogue, i);
		e = mark_folder(catalogue, i);
		/* Where something is lost, it may have been a message of it. */
		folder->gone = folder->messages == 0 && !catalogue->losses_count &&
			       (catalogue->work[i].left || !catalogue->work[i].listed);
	}
	return e;
}

enum err archive_catalogue_open(struct archive *archive, bool vanished,
				struct archive_catalogue **out)
{
	struct archive_catalogue *catalogue = calloc(1, sizeof *catalogue);
	struct archive_mailbox mailbox;
	enum err e;

	*out = catalogue;
	if (!catalogue)
		return catalogue_no_memory();
	catalogue->with_vanished = vanished;
	catalogue->losses = calloc(ARCHIVE_LOSSES_MAX, sizeof *catalogue->losses);
	if (!catalogue->losses) {
		e = catalogue_no_memory();
	} else {
		archive_on_damage(archive, note_damage, catalogue);
		archive_on_left(archive, note_left, catalogue);
		e = archive_mailbox_next(archive, &mailbox);
	}
	if (!e) {
		snprintf(catalogue->mailbox_key, sizeof catalogue->mailbox_key, "%s", mailbox.key);
		e = fill(catalogue, archive);
	}
	if (e)
		archive_catalogue_close(out);
	return e;
}

/* ---- asking ---- */

size_t archive_catalogue_folders(const struct archive_catalogue *catalogue)
{
	return catalogue->folders_count;
}

const char *archive_catalogue_prefix(const struct archive_catalogue *catalogue)
{
	return catalogue->prefix;
}

const struct archive_folder *archive_catalogue_folder(const struct archive_catalogue *catalogue,
						      size_t index)
{
	must(index < catalogue->folders_count);
	return &catalogue->folders[index];
}

size_t archive_catalogue_find(const struct archive_catalogue *catalogue, const char *raw)
{
	uint32_t index = name_table_find(&catalogue->raws, text_of(raw));

	return index == NAME_TABLE_NONE ? SIZE_MAX : index;
}

size_t archive_catalogue_seek(const struct archive_catalogue *catalogue, size_t index, uint64_t no)
{
	const struct archive_folder *folder = archive_catalogue_folder(catalogue, index);
	size_t low = folder->first, high = folder->end;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (catalogue_keys(catalogue)[middle].no < no)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

const struct archive_key *archive_catalogue_key(const struct archive_catalogue *catalogue,
						size_t place)
{
	must(place < catalogue->rows_count);
	return &catalogue_keys(catalogue)[place];
}

void archive_catalogue_message(const struct archive_catalogue *catalogue,
			       const struct archive_key *key, struct archive_message *out)
{
	const struct archive_folder *folder = archive_catalogue_folder(catalogue, key->folder);
	const struct row *row = &catalogue_rows(catalogue)[key->row];

	memset(out, 0, sizeof *out);
	snprintf(out->box, sizeof out->box, "%s", folder->name);
	pack_key(out->pack, catalogue->mailbox_key, row->pack / 2, row->pack % 2 == 0);
	out->separator = folder->separator;
	out->no = key->no;
	out->epoch = catalogue->editions[row->edition].epoch;
	out->size_bytes = row->size_bytes;
	out->digest = row->digest;
	out->body_offset = row->body_offset;
	out->vanished = row->vanished;
	out->meta.flags = row->flags;
	out->meta.date =
		(struct mail_date){ row->date_seconds, row->zone_minutes, row->date_known };
	take_keywords(catalogue, row, &out->meta);
}

size_t archive_catalogue_losses(const struct archive_catalogue *catalogue)
{
	return catalogue->losses_count;
}

const struct archive_loss *archive_catalogue_loss(const struct archive_catalogue *catalogue,
						  size_t index)
{
	must(index < min_u64(catalogue->losses_count, ARCHIVE_LOSSES_MAX));
	return &catalogue->losses[index];
}
