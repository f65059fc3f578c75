/* See existing.h. */
#include "transport/existing.h"

#include <stdlib.h>

#include "engine/bytes.h"

enum { ROOM_BYTES_MIN = 64 * 1024 };

static struct existing_row *rows_of(const struct existing *existing)
{
	return (void *)existing->rows.at;
}

static struct digest *sent_of(const struct existing *existing)
{
	return (void *)existing->sent.at;
}

void existing_close(struct existing *existing)
{
	scratch_close(&existing->rows);
	scratch_close(&existing->sent);
	*existing = (struct existing){ 0 };
}

static enum err make_room(struct scratch *scratch, size_t bytes)
{
	size_t room = max_u64(scratch->bytes, ROOM_BYTES_MIN);

	while (room < bytes)
		room *= 2;
	return scratch_grow(scratch, room);
}

/* ---- filling ---- */

void existing_begin(const struct existing *existing, struct existing_box *box)
{
	*box = (struct existing_box){ .first = existing->rows_count,
				      .sent_first = existing->sent_count };
}

enum err existing_add(struct existing *existing, struct existing_box *box, uint32_t uid,
		      const uint8_t key[EXISTING_KEY_BYTES], bool taken)
{
	enum err e = make_room(&existing->rows,
			       (existing->rows_count + 1) * sizeof(struct existing_row));
	struct existing_row *row;

	if (e)
		return e;
	must(box->first + box->count == existing->rows_count);
	row = &rows_of(existing)[existing->rows_count++];
	box->count++;
	*row = (struct existing_row){ .uid = uid,
				      .state = taken ? EXISTING_TAKEN : EXISTING_UNREAD };
	bytes_copy(row->key, key, sizeof row->key, BYTES_META);
	return OK;
}

struct existing_row *existing_rows(const struct existing *existing, const struct existing_box *box)
{
	return rows_of(existing) + box->first;
}

static int by_uid(const void *left, const void *right)
{
	const struct existing_row *a = left, *b = right;

	return (a->uid > b->uid) - (a->uid < b->uid);
}

static int by_key(const void *left, const void *right)
{
	const struct existing_row *a = left, *b = right;
	int order = memcmp(a->key, b->key, sizeof a->key);

	return order ? order : by_uid(left, right);
}

static int by_digest(const void *left, const void *right)
{
	return memcmp(left, right, sizeof(struct digest));
}

/* Servers list by UID, so there is nothing to do but to see that. */
static void sort(const struct existing *existing, const struct existing_box *box,
		 int (*compare)(const void *, const void *))
{
	struct existing_row *rows = rows_of(existing) + box->first;

	for (size_t i = 1; i < box->count; i++)
		if (compare(&rows[i - 1], &rows[i]) > 0) {
			qsort(rows, box->count, sizeof *rows, compare);
			return;
		}
}

static void cut(struct existing *existing, struct existing_box *box, size_t kept)
{
	existing->rows_count -= box->count - kept;
	box->count = kept;
}

void existing_by_uid(struct existing *existing, struct existing_box *box)
{
	struct existing_row *rows = rows_of(existing) + box->first;
	size_t kept = 0;

	sort(existing, box, by_uid);
	for (size_t i = 0; i < box->count; i++)
		if (kept == 0 || rows[kept - 1].uid != rows[i].uid)
			rows[kept++] = rows[i];
	cut(existing, box, kept);
}

struct existing_row *existing_of_uid(const struct existing *existing,
				     const struct existing_box *box, uint32_t uid)
{
	const struct existing_row wanted = { .uid = uid };

	return box->count ? bsearch(&wanted, rows_of(existing) + box->first, box->count,
				    sizeof wanted, by_uid)
			  : NULL;
}

enum err existing_was_sent(struct existing *existing, struct existing_box *box,
			   const struct digest *digest)
{
	enum err e = make_room(&existing->sent, (existing->sent_count + 1) * sizeof(struct digest));

	if (e)
		return e;
	sent_of(existing)[existing->sent_count++] = *digest;
	if (box)
		box->sent_count++;
	else
		existing->sent_of_all++;
	return OK;
}

void existing_sent_ends(struct existing *existing, struct existing_box *box)
{
	size_t first = box ? box->sent_first : 0;
	size_t count = box ? box->sent_count : existing->sent_of_all;

	must(first + count == existing->sent_count);
	if (count > 1)
		qsort(sent_of(existing) + first, count, sizeof(struct digest), by_digest);
}

void existing_by_key(struct existing *existing, struct existing_box *box)
{
	struct existing_row *rows = rows_of(existing) + box->first;
	size_t kept = 0;

	for (size_t i = 0; i < box->count; i++)
		if (rows[i].state != EXISTING_TAKEN)
			rows[kept++] = rows[i];
	cut(existing, box, kept);
	sort(existing, box, by_key);
}

/* ---- asking ---- */

size_t existing_find(const struct existing *existing, const struct existing_box *box,
		     const uint8_t key[EXISTING_KEY_BYTES], struct existing_row **first)
{
	struct existing_row *rows = rows_of(existing) + box->first;
	size_t low = 0, high = box->count, end;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (memcmp(rows[middle].key, key, EXISTING_KEY_BYTES) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	*first = rows + low;
	for (end = low; end < box->count; end++)
		if (memcmp(rows[end].key, key, EXISTING_KEY_BYTES) != 0)
			break;
	return end - low;
}

static bool holds(const struct existing *existing, size_t first, size_t count,
		  const struct digest *digest)
{
	return count &&
	       bsearch(digest, sent_of(existing) + first, count, sizeof *digest, by_digest) != NULL;
}

bool existing_may_be_ours(const struct existing *existing, const struct existing_box *box,
			  const struct digest *digest)
{
	return holds(existing, 0, existing->sent_of_all, digest) ||
	       holds(existing, box->sent_first, box->sent_count, digest);
}
