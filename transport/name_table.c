/* See name_table.h. Open addressing; hashes are kept, so that a walk compares few texts. */
#include "transport/name_table.h"

#include <stdlib.h>

struct name_row {
	uint32_t hash, at, bytes, number;
};

/* FNV-1a; `hash` is that of what stands before. */
static const uint32_t hash_of_nothing = 2166136261u;

static uint32_t hash_add(uint32_t hash, char c)
{
	return (hash ^ (unsigned char)c) * 16777619u;
}

static uint32_t hash_of(struct text text)
{
	uint32_t hash = hash_of_nothing;

	for (size_t i = 0; i < text.bytes; i++)
		hash = hash_add(hash, text.at[i]);
	return hash;
}

static struct text text_of_row(const struct name_table *table, const struct name_row *row)
{
	return (struct text){ table->texts.at + row->at, row->bytes };
}

/* Where the text is, or would go. */
static uint32_t *find_slot(const struct name_table *table, struct text text, uint32_t hash)
{
	uint32_t mask = 2 * table->room - 1;

	must(table->count < 2 * table->room); /* a free slot ends the walk */
	for (uint32_t at = hash;; at++) {
		uint32_t *slot = &table->slots[at & mask];
		const struct name_row *row = *slot ? &table->rows[*slot - 1] : NULL;

		if (!row || (row->hash == hash && text_equal(text_of_row(table, row), text)))
			return slot;
	}
}

static const struct name_row *find_row(const struct name_table *table, struct text text,
				       uint32_t hash)
{
	uint32_t slot = table->room ? *find_slot(table, text, hash) : 0;

	return slot ? &table->rows[slot - 1] : NULL;
}

static enum err grow(struct name_table *table)
{
	uint32_t room = table->room ? 2 * table->room : 64;
	struct name_row *rows = realloc(table->rows, room * sizeof *rows);
	uint32_t *slots;

	if (rows)
		table->rows = rows;
	slots = rows ? calloc(2 * (size_t)room, sizeof *slots) : NULL;
	if (!slots)
		return RAISE(ERR_MEMORY_EXHAUSTED, "keeping %u names", table->count);
	free(table->slots);
	table->slots = slots;
	table->room = room;
	for (uint32_t i = 0; i < table->count; i++)
		*find_slot(table, text_of_row(table, &rows[i]), rows[i].hash) = i + 1;
	return OK;
}

enum err name_table_put(struct name_table *table, struct text text, uint32_t number)
{
	uint32_t hash = hash_of(text), at = (uint32_t)table->texts.bytes, *slot;
	enum err e;

	must(number != NAME_TABLE_NONE);
	if (table->count == table->room && (e = grow(table)))
		return e;
	slot = find_slot(table, text, hash);
	if (*slot) {
		table->rows[*slot - 1].number = number;
		return OK;
	}
	buffer_add(&table->texts, text.at, text.bytes);
	if (table->texts.failed)
		return RAISE(ERR_MEMORY_EXHAUSTED, "keeping %u names", table->count);
	table->rows[table->count] = (struct name_row){ hash, at, (uint32_t)text.bytes, number };
	*slot = ++table->count;
	return OK;
}

uint32_t name_table_find(const struct name_table *table, struct text text)
{
	const struct name_row *row = find_row(table, text, hash_of(text));

	return row ? row->number : NAME_TABLE_NONE;
}

/* One walk over the text: its hash up to each separator is at hand there. */
uint32_t name_table_above(const struct name_table *table, struct text text, char separator,
			  size_t *bytes)
{
	uint32_t hash = hash_of_nothing, number = NAME_TABLE_NONE;

	*bytes = 0;
	for (size_t i = 0; separator && i < text.bytes; i++) {
		const struct name_row *row =
			text.at[i] == separator ? find_row(table, (struct text){ text.at, i }, hash)
						: NULL;

		if (row) {
			number = row->number;
			*bytes = i;
		}
		hash = hash_add(hash, text.at[i]);
	}
	return number;
}

void name_table_free(struct name_table *table)
{
	buffer_free(&table->texts);
	free(table->rows);
	free(table->slots);
	*table = (struct name_table){ 0 };
}

enum err name_table_room(void **rows, uint32_t count, uint32_t *room, size_t size)
{
	uint32_t more = *room ? 2 * *room : 64;
	void *grown;

	if (count < *room)
		return OK;
	if (!(grown = realloc(*rows, more * size)))
		return RAISE(ERR_MEMORY_EXHAUSTED, "keeping %u folders", count);
	*rows = grown;
	*room = more;
	return OK;
}
