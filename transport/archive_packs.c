/* See archive_packs.h. */
#include "transport/archive_packs.h"

#include <stdio.h>

#include "transport/pack_index.h"

static bool step(const struct buffer *names, const char **name)
{
	uint64_t number;

	while (store_names_next(names, name))
		if (pack_number(*name, &number))
			return true;
	return false;
}

void archive_packs_rewind(struct archive_packs *packs)
{
	packs->index = packs->pack = NULL;
	packs->indexes_over = !step(&packs->indexes, &packs->index);
	packs->packs_over = !step(&packs->packs, &packs->pack);
}

/* Packs before indexes: a copy that is going on makes them in this order. */
enum err archive_packs_list(struct archive_packs *packs, struct store *store,
			    const char *mailbox_key)
{
	char prefix[STORE_KEY_BYTES_MAX + 1];
	enum err e;

	snprintf(prefix, sizeof prefix, "%.80s/packs", mailbox_key);
	if ((e = store->type->list(store, prefix, &packs->packs)))
		return e;
	snprintf(prefix, sizeof prefix, "%.80s/index", mailbox_key);
	if ((e = store->type->list(store, prefix, &packs->indexes)))
		return e;
	archive_packs_rewind(packs);
	return OK;
}

/* Past all names of this number: somebody may have unpacked one beside it. */
static bool step_past(const struct buffer *names, uint64_t number, const char **name)
{
	uint64_t next;

	while (step(names, name))
		if (!pack_number(*name, &next) || next != number)
			return true;
	return false;
}

bool archive_packs_next(struct archive_packs *packs, uint64_t *number, const char **index)
{
	uint64_t of_index = UINT64_MAX, of_pack = UINT64_MAX;

	if (packs->indexes_over && packs->packs_over)
		return false;
	must(packs->indexes_over || pack_number(packs->index, &of_index));
	must(packs->packs_over || pack_number(packs->pack, &of_pack));
	*number = min_u64(of_index, of_pack);
	*index = of_index == *number ? packs->index : NULL;
	if (of_index == *number)
		packs->indexes_over = !step_past(&packs->indexes, *number, &packs->index);
	if (!packs->packs_over && of_pack == *number)
		packs->packs_over = !step_past(&packs->packs, *number, &packs->pack);
	return true;
}

void archive_packs_free(struct archive_packs *packs)
{
	buffer_free(&packs->indexes);
	buffer_free(&packs->packs);
	*packs = (struct archive_packs){ 0 };
}
