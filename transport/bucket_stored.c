/* See bucket_stored.h. Rows lie one behind the other; the order is a table of their places. */
#include "transport/bucket_stored.h"

#include <pthread.h>
#include <stdlib.h>

#include "engine/bytes.h"
#include "engine/log.h"
#include "engine/scratch.h"

enum { ROOM_BYTES = 1024 * 1024, ALIGNMENT = 8 };

struct row {
	uint64_t bytes, crc, key_bytes; /* behind it the key, terminated */
};

struct bucket_stored {
	pthread_mutex_t mutex; /* of all that stores of other threads change */
	struct scratch rows, order;
	size_t used, count, sorted;
	uint64_t lost;
};

static size_t row_bytes(size_t key_bytes)
{
	return (sizeof(struct row) + key_bytes + 1 + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

static const struct row *row_at(const struct bucket_stored *stored, uint64_t place)
{
	const void *at = stored->rows.at + place;

	return at;
}

static const char *key_of(const struct row *row)
{
	return (const char *)(row + 1);
}

enum err bucket_stored_open(struct bucket_stored **out)
{
	struct bucket_stored *stored = calloc(1, sizeof *stored);
	enum err e;

	*out = stored;
	if (!stored)
		return RAISE(ERR_MEMORY_EXHAUSTED, "keeping what is stored");
	pthread_mutex_init(&stored->mutex, NULL);
	if ((e = scratch_grow(&stored->rows, ROOM_BYTES)) ||
	    (e = scratch_grow(&stored->order, ROOM_BYTES)))
		bucket_stored_close(out);
	return e;
}

void bucket_stored_close(struct bucket_stored **closing)
{
	struct bucket_stored *stored = *closing;

	if (!stored)
		return;
	scratch_close(&stored->rows);
	scratch_close(&stored->order);
	pthread_mutex_destroy(&stored->mutex);
	free(stored);
	*closing = NULL;
}

/* The caller's note stays as it is: the object is stored. */
static bool make_room(struct bucket_stored *stored, size_t bytes)
{
	const struct err_note before = *err_note();
	size_t wanted = stored->rows.bytes;
	enum err e;

	while (wanted - stored->used < bytes)
		wanted *= 2;
	if (wanted == stored->rows.bytes)
		return true;
	err_note_clear();
	if ((e = scratch_grow(&stored->rows, wanted)) && stored->lost == 0)
		log_error(LOG_WARN, "bucket.not_kept", e);
	*err_note() = before;
	return e == OK;
}

void bucket_stored_add(struct bucket_stored *stored, const char *key, uint64_t bytes, uint64_t crc)
{
	size_t key_bytes = strlen(key), needed = row_bytes(key_bytes);
	struct row row = { bytes, crc, key_bytes };

	pthread_mutex_lock(&stored->mutex);
	if (make_room(stored, needed)) {
		uint8_t *to = stored->rows.at + stored->used;

		memcpy(to, &row, sizeof row);
		bytes_copy(to + sizeof row, key, key_bytes + 1, BYTES_META);
		stored->used += needed;
		stored->count++;
	} else {
		stored->lost++;
	}
	pthread_mutex_unlock(&stored->mutex);
}

static int compare_places(const void *a, const void *b, void *context)
{
	const uint64_t *one = a, *other = b;
	int order = strcmp(key_of(row_at(context, *one)), key_of(row_at(context, *other)));

	return order ? order : (*one > *other) - (*one < *other);
}

enum err bucket_stored_sort(struct bucket_stored *stored)
{
	enum err e = scratch_grow(&stored->order, stored->count * sizeof(uint64_t));
	void *table = stored->order.at;
	uint64_t *order = table, place = 0;
	size_t kept = 0;

	if (e)
		return e;
	for (size_t i = 0; i < stored->count; i++) {
		order[i] = place;
		place += row_bytes(row_at(stored, place)->key_bytes);
	}
	qsort_r(order, stored->count, sizeof *order, compare_places, stored);
	for (size_t i = 0; i < stored->count; i++) {
		if (kept > 0 && strcmp(key_of(row_at(stored, order[kept - 1])),
				       key_of(row_at(stored, order[i]))) == 0)
			kept--;
		order[kept++] = order[i];
	}
	stored->sorted = kept;
	return OK;
}

bool bucket_stored_row(const struct bucket_stored *stored, size_t index,
		       struct bucket_stored_row *out)
{
	const void *table = stored->order.at;
	const uint64_t *order = table;
	const struct row *row;

	if (index >= stored->sorted)
		return false;
	row = row_at(stored, order[index]);
	*out = (struct bucket_stored_row){ key_of(row), row->bytes, row->crc };
	return true;
}

uint64_t bucket_stored_lost(const struct bucket_stored *stored)
{
	return stored->lost;
}
