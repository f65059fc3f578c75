/* Texts that are looked up again: a hash table from text to number, which keeps the texts. Memory
 * is the texts, and 32 bytes for each. Not for: numbers that are looked up by number. */
#ifndef MAILHAUL_NAME_TABLE_H
#define MAILHAUL_NAME_TABLE_H

#include "engine/bytes.h"
#include "engine/err.h"

struct name_row;
/* Zero-initialised is valid and empty; release with name_table_free(). */
struct name_table {
	struct buffer texts;
	struct name_row *rows;
	uint32_t *slots; /* of rows + 1; 0: free. Twice as many as there is room for rows */
	uint32_t count, room;
};
enum { NAME_TABLE_NONE = UINT32_MAX };

/* The text has this number from now on; a number it had before is replaced. ERR_MEMORY_EXHAUSTED:
 * also where the texts pass BUFFER_BYTES_MAX in all. */
enum err name_table_put(struct name_table *, struct text, uint32_t number) MUST_CHECK;
/* NAME_TABLE_NONE: it was never put. */
uint32_t name_table_find(const struct name_table *, struct text);
/* The number of the longest text that was put and stands in `text` before a separator, and how long
 * it is; NAME_TABLE_NONE: there is none, or `separator` is '\0'. */
uint32_t name_table_above(const struct name_table *, struct text, char separator, size_t *bytes);
void name_table_free(struct name_table *);

/* A number as a text to look up; borrows it. */
static inline struct text name_table_key(const uint64_t *number)
{
	return (struct text){ (const char *)number, sizeof *number };
}
/* The table that the numbers lead into: room for one more of its `count` rows of `size` bytes, by
 * realloc(). ERR_MEMORY_EXHAUSTED. */
enum err name_table_room(void **rows, uint32_t count, uint32_t *room, size_t size) MUST_CHECK;

#endif
