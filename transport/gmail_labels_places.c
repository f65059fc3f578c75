/* Which message is where, once all is noted, and whoever asks it. Rows lie in the order of their
 * UIDs, and a folder's places are row numbers, folder by folder. */
#include <stdio.h>
#include <stdlib.h>

#include "engine/fiber.h"
#include "transport/gmail_labels_state.h"

enum {
	/* Messages looked at before other fibers have a turn. */
	TURN_PLACES = 8192,
};
/* Added to All Mail's UIDVALIDITY, so that no folder of the server's own is taken for one of ours:
 * its UIDs mean other messages. */
#define EPOCH_OF_LABELS ((uint64_t)1 << 32)

/* ---- dealing them out ---- */

static int compare_rows(const void *left, const void *right)
{
	const struct gmail_row *a = left, *b = right;

	return (a->uid > b->uid) - (a->uid < b->uid);
}

/* By UID, each once: a server may say something twice. */
static void sort_rows(struct labels *labels)
{
	struct gmail_row *rows = gmail_rows(labels);
	size_t kept = 0;
	bool sorted = true;

	for (size_t i = 1; i < labels->rows_count; i++)
		sorted &= rows[i - 1].uid < rows[i].uid;
	if (sorted)
		return;
	qsort(rows, labels->rows_count, sizeof rows[0], compare_rows);
	for (size_t i = 0; i < labels->rows_count; i++) {
		if (i + 1 < labels->rows_count && rows[i + 1].uid == rows[i].uid)
			continue;
		rows[kept++] = rows[i];
	}
	labels->rows_count = kept;
}

/* The folders of a row: *at is borrowed. */
static unsigned folders_of(const struct labels *labels, const struct gmail_row *row,
			   const uint32_t **at)
{
	const struct gmail_set *set = &gmail_sets(labels)[row->set];

	if (row->stays != GMAIL_FOLDER_NONE) {
		*at = &row->stays;
		return 1;
	}
	*at = gmail_numbers(labels) + set->folders_at;
	return set->folders_count;
}

static enum err deal_places(struct labels *labels)
{
	const uint32_t *folders;
	size_t place = 0;
	enum err e;

	for (size_t i = 0; i < labels->rows_count; i++)
		for (unsigned n = folders_of(labels, &gmail_rows(labels)[i], &folders); n > 0; n--)
			labels->folders[folders[n - 1]].end++;
	for (size_t i = 0; i < labels->folders_count; i++) {
		struct gmail_folder *folder = &labels->folders[i];

		folder->first = place;
		place += folder->end;
		folder->end = folder->first;
	}
	if ((e = gmail_room(&labels->places, max_u64(place, 1) * sizeof(uint32_t))))
		return e;
	labels->places_count = place;
	for (size_t i = 0; i < labels->rows_count; i++)
		for (unsigned n = folders_of(labels, &gmail_rows(labels)[i], &folders); n > 0; n--)
			gmail_places(labels)[labels->folders[folders[n - 1]].end++] = (uint32_t)i;
	return OK;
}

static uint64_t mix(uint64_t hash, uint64_t with)
{
	hash = (hash ^ with) * 0x9e3779b97f4a7c15u;
	return hash ^ hash >> 29;
}

static enum err mark_folder(struct labels *labels, size_t index)
{
	struct gmail_folder *folder = &labels->folders[index];
	struct mail_meta meta;
	enum err e;

	for (size_t place = folder->first; place < folder->end; place++) {
		uint64_t uid = gmail_labels_uid(labels, place), mark;

		gmail_labels_meta(labels, index, place, &meta);
		mark = mail_mark(&meta);
		folder->mark[0] = mix(mix(folder->mark[0], uid), mark);
		folder->mark[1] = mix(mix(folder->mark[1] + 1, mark), uid);
		if (place % TURN_PLACES == TURN_PLACES - 1 && (e = fiber_yield()))
			return e;
	}
	return OK;
}

static void add_up(struct labels *labels)
{
	labels->sums.messages = labels->rows_count;
	labels->sums.places = labels->places_count;
	for (size_t i = 0; i < labels->rows_count; i++)
		labels->sums.stayed += gmail_rows(labels)[i].stays != GMAIL_FOLDER_NONE;
}

enum err gmail_labels_end(struct labels *labels)
{
	enum err e;

	sort_rows(labels);
	if ((e = gmail_choose_folders(labels)) || (e = deal_places(labels)))
		return e;
	for (size_t i = 0; i < labels->folders_count && e == OK; i++)
		e = mark_folder(labels, i);
	add_up(labels);
	gmail_labels_forget(labels); /* it is in the rows */
	return e;
}

struct gmail_sums gmail_labels_sums(const struct labels *labels)
{
	return labels->sums;
}

/* ---- asking ---- */

const struct box *gmail_labels_all(const struct labels *labels)
{
	return &labels->all;
}

uint64_t gmail_labels_epoch(const struct labels *labels)
{
	return labels->all.epoch + EPOCH_OF_LABELS;
}

size_t gmail_labels_folders(const struct labels *labels)
{
	return labels->folders_count;
}

/* What the server announced and All Mail did not have is announced, so that it is missed: a folder
 * that lacks messages is never passed over in silence. */
bool gmail_labels_box(const struct labels *labels, size_t index, struct box *box)
{
	const struct gmail_folder *folder = &labels->folders[index];
	uint64_t count = folder->end - folder->first;

	if (!count && !folder->listed)
		return false;
	*box = (struct box){ .separator = folder->separator,
			     .use = folder->use,
			     .subscribed = folder->subscribed,
			     .selectable = true,
			     .childless = folder->childless,
			     .epoch = gmail_labels_epoch(labels),
			     .next_no = labels->all.next_no,
			     .messages = count };
	if (folder->announced > folder->labelled)
		box->messages += folder->announced - folder->labelled;
	snprintf(box->name, sizeof box->name, "%s", folder->name);
	snprintf(box->raw, sizeof box->raw, "%s", folder->raw);
	snprintf(box->id, sizeof box->id, "%s", folder->id);
	snprintf(box->prefix, sizeof box->prefix, "%s", labels->all.prefix);
	box->cursor.exact = true;
	snprintf(box->cursor.at, sizeof box->cursor.at, "labels:%llu:%016llx%016llx",
		 (unsigned long long)count, (unsigned long long)folder->mark[0],
		 (unsigned long long)folder->mark[1]);
	return true;
}

size_t gmail_labels_find(const struct labels *labels, const struct box *box)
{
	uint32_t index = name_table_find(&labels->raws, text_of(box->raw));

	return index == NAME_TABLE_NONE || box->epoch != gmail_labels_epoch(labels) ? SIZE_MAX
										    : index;
}

size_t gmail_labels_seek(const struct labels *labels, size_t index, uint64_t no)
{
	size_t low = labels->folders[index].first, high = labels->folders[index].end;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (gmail_labels_uid(labels, middle) < no)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static const struct gmail_row *row_at(const struct labels *labels, size_t place)
{
	must(place < labels->places_count);
	return &gmail_rows(labels)[gmail_places(labels)[place]];
}

uint32_t gmail_labels_uid(const struct labels *labels, size_t place)
{
	return row_at(labels, place)->uid;
}

bool gmail_labels_is_wanted(const struct labels *labels, size_t place)
{
	return row_at(labels, place)->wanted;
}

bool gmail_labels_run(const struct labels *labels, size_t *place, size_t end, uint32_t *first,
		      uint32_t *last)
{
	const uint32_t *places = gmail_places(labels);
	size_t at = *place;

	while (at < end && !gmail_labels_is_wanted(labels, at))
		at++;
	*place = at;
	if (at == end)
		return false;
	*first = gmail_labels_uid(labels, at);
	while (at + 1 < end && places[at + 1] == places[at] + 1 &&
	       gmail_labels_is_wanted(labels, at + 1))
		at++;
	*last = gmail_labels_uid(labels, at);
	*place = at + 1;
	return true;
}

/* SIZE_MAX: it is not in the folder. */
static size_t place_of(const struct labels *labels, size_t folder, uint32_t uid)
{
	size_t place = gmail_labels_seek(labels, folder, uid);

	return place < labels->folders[folder].end && gmail_labels_uid(labels, place) == uid
		       ? place
		       : SIZE_MAX;
}

bool gmail_labels_holds(const struct labels *labels, size_t folder, uint32_t uid)
{
	size_t place = place_of(labels, folder, uid);

	return place != SIZE_MAX && gmail_labels_is_wanted(labels, place);
}

/* ---- keywords ---- */

static bool has_keyword(const struct mail_meta *meta, struct text keyword)
{
	struct text have = { meta->keywords, meta->keywords_bytes };

	while (have.bytes) {
		const char *space = memchr(have.at, ' ', have.bytes);
		size_t n = space ? (size_t)(space - have.at) : have.bytes;

		if (text_equal((struct text){ have.at, n }, keyword))
			return true;
		n = min_u64(n + 1, have.bytes);
		have = (struct text){ have.at + n, have.bytes - n };
	}
	return false;
}

static void add_keyword(struct mail_meta *meta, struct text keyword)
{
	size_t at = meta->keywords_bytes, gap = at ? 1 : 0;

	if (has_keyword(meta, keyword))
		return;
	if (keyword.bytes + gap > KEYWORDS_BYTES_MAX - at) {
		if (meta->keywords_dropped < UINT16_MAX)
			meta->keywords_dropped++;
		return;
	}
	if (gap)
		meta->keywords[at] = ' ';
	bytes_copy(meta->keywords + at + gap, keyword.at, keyword.bytes, BYTES_META);
	meta->keywords_bytes = (uint16_t)(at + gap + keyword.bytes);
}

static void add_label(struct mail_meta *meta, const struct gmail_label *label)
{
	char keyword[KEYWORDS_BYTES_MAX + 1];
	size_t n = 0;

	if (label->kind == GMAIL_LABEL_MARK && strcasecmp(label->raw, "\\Important") == 0) {
		add_keyword(meta, text_of("$Important"));
		return;
	}
	for (const char *at = label->raw + (label->kind == GMAIL_LABEL_MARK); *at; at++) {
		bool fits = *at > ' ' && *at <= '~' && !strchr("(){%*\"\\]", *at);

		if (n < sizeof keyword)
			keyword[n++] = fits ? *at : '_';
	}
	if (n)
		add_keyword(meta, (struct text){ keyword, n });
}

static void add_labels(const struct labels *labels, size_t folder, const struct gmail_row *row,
		       struct mail_meta *meta)
{
	const struct gmail_set *set = &gmail_sets(labels)[row->set];
	const uint32_t *folders;
	unsigned count = folders_of(labels, row, &folders);

	for (uint32_t i = 0; i < set->labels_count && labels->keywords_wanted; i++) {
		const struct gmail_label *label =
			&labels->labels[gmail_numbers(labels)[set->labels_at + i]];
		bool used = label->folder == folder;

		for (unsigned n = 0; n < count; n++)
			used |= label->folder == folders[n];
		if (label->kind == GMAIL_LABEL_MARK || (label->kind == GMAIL_LABEL_USERS && !used))
			add_label(meta, label);
	}
}

void gmail_labels_add_keywords(const struct labels *labels, size_t folder, uint32_t uid,
			       struct mail_meta *meta)
{
	size_t place = labels->keywords_wanted ? place_of(labels, folder, uid) : SIZE_MAX;

	if (place != SIZE_MAX)
		add_labels(labels, folder, row_at(labels, place), meta);
}

void gmail_labels_meta(const struct labels *labels, size_t folder, size_t place,
		       struct mail_meta *meta)
{
	const struct gmail_row *row = row_at(labels, place);
	const char *keywords = row->keywords ? labels->keywords.at + row->keywords : "";

	meta->flags = row->flags;
	meta->date = (struct mail_date){ .known = false };
	meta->keywords_dropped = 0;
	meta->keywords_bytes = (uint16_t)strlen(keywords);
	bytes_copy(meta->keywords, keywords, meta->keywords_bytes, BYTES_META);
	add_labels(labels, folder, row, meta);
}
