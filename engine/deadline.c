/* Deadlines of what waits. See deadline.h. */
#include "engine/deadline.h"

#include <stdlib.h>

static bool is_earlier(const struct deadline *a, const struct deadline *b)
{
	return a->until != b->until ? a->until < b->until : a->number < b->number;
}

static void put_at(struct deadlines *all, size_t at, struct deadline *entry)
{
	all->heap[at] = entry;
	entry->index = at + 1;
}

static void rise(struct deadlines *all, struct deadline *entry, size_t at)
{
	for (size_t above; at > 0; at = above) {
		above = (at - 1) / 2;
		if (!is_earlier(entry, all->heap[above]))
			break;
		put_at(all, at, all->heap[above]);
	}
	put_at(all, at, entry);
}

static void sink(struct deadlines *all, struct deadline *entry, size_t at)
{
	for (size_t below; (below = 2 * at + 1) < all->count; at = below) {
		if (below + 1 < all->count && is_earlier(all->heap[below + 1], all->heap[below]))
			below++;
		if (!is_earlier(all->heap[below], entry))
			break;
		put_at(all, at, all->heap[below]);
	}
	put_at(all, at, entry);
}

bool deadlines_reserve(struct deadlines *all, size_t count)
{
	size_t room = max_u64(all->room, 64);
	struct deadline **grown;

	while (room < count)
		room *= 2;
	if (room == all->room)
		return true;
	grown = realloc(all->heap, room * sizeof *grown);
	if (!grown)
		return false;
	all->heap = grown;
	all->room = room;
	return true;
}

void deadlines_add(struct deadlines *all, struct deadline *entry, nsec until)
{
	must(entry->index == 0);
	entry->until = until;
	entry->number = all->numbers++;
	if (until == DEADLINE_NEVER)
		return;
	must(all->count < all->room);
	rise(all, entry, all->count++);
}

void deadlines_remove(struct deadlines *all, struct deadline *entry)
{
	size_t at = entry->index - 1;
	struct deadline *last;

	if (entry->index == 0)
		return;
	must(at < all->count && all->heap[at] == entry);
	entry->index = 0;
	last = all->heap[--all->count];
	if (last == entry)
		return;
	/* The last takes the free place; it may belong further up or further down. */
	if (at > 0 && is_earlier(last, all->heap[(at - 1) / 2]))
		rise(all, last, at);
	else
		sink(all, last, at);
}

struct deadline *deadlines_first(const struct deadlines *all)
{
	return all->count > 0 ? all->heap[0] : NULL;
}

void deadlines_close(struct deadlines *all)
{
	must(all->count == 0);
	free(all->heap);
	*all = (struct deadlines){ 0 };
}
