#include "tools/text_store.h"

#include <stdlib.h>

#include "engine/bytes.h"

enum { BLOCK_BYTES = 64 * 1024 };

struct text_block {
	struct text_block *next;
	size_t used, room;
	char at[];
};

static bool add_block(struct text_store *store, size_t room)
{
	struct text_block *block = malloc(sizeof *block + room);

	if (!block)
		return false;
	*block = (struct text_block){ .next = store->blocks, .room = room };
	store->blocks = block;
	return true;
}

const char *text_store_add(struct text_store *store, struct text text)
{
	struct text_block *block = store->blocks;
	char *to;

	if (text.bytes == 0)
		return "";
	if (!block || block->room - block->used <= text.bytes) {
		if (!add_block(store, max_u64(BLOCK_BYTES, text.bytes + 1)))
			return NULL;
		block = store->blocks;
	}
	to = block->at + block->used;
	bytes_copy(to, text.at, text.bytes, BYTES_META);
	to[text.bytes] = '\0';
	block->used += text.bytes + 1;
	return to;
}

void text_store_free(struct text_store *store)
{
	while (store->blocks) {
		struct text_block *next = store->blocks->next;

		free(store->blocks);
		store->blocks = next;
	}
}
