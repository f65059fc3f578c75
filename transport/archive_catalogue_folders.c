/* The folders of a catalogue, and the epochs under which they had messages. */
#include <stdio.h>
#include <stdlib.h>

#include "transport/archive_catalogue_state.h"

static enum err folders_grow(struct archive_catalogue *catalogue)
{
	size_t room = catalogue->folders_room ? 2 * catalogue->folders_room : 64;
	struct archive_folder *folders;
	struct folder_work *work;

	if (catalogue->folders_count < catalogue->folders_room)
		return OK;
	if (!(folders = reallocarray(catalogue->folders, room, sizeof *folders)))
		return catalogue_no_memory();
	catalogue->folders = folders;
	if (!(work = reallocarray(catalogue->work, room, sizeof *work)))
		return catalogue_no_memory();
	catalogue->work = work;
	catalogue->folders_room = room;
	return OK;
}

/* A second folder that the source spelt the same is asked for by its name. */
enum err catalogue_folder_add(struct archive_catalogue *catalogue, const struct box *box,
			      bool listed)
{
	uint32_t index = (uint32_t)catalogue->folders_count;
	const char *raw = box->raw;
	struct archive_folder *folder;
	enum err e;

	if ((e = folders_grow(catalogue)))
		return e;
	if (name_table_find(&catalogue->raws, text_of(raw)) != NAME_TABLE_NONE)
		raw = box->name;
	folder = &catalogue->folders[index];
	*folder = (struct archive_folder){
		.name = strdup(box->name),
		.raw = strdup(raw),
		.separator = box->separator,
		.use = box->use,
		.subscribed = box->subscribed,
		.selectable = box->selectable,
		.epoch = box->epoch,
	};
	catalogue->work[index] = (struct folder_work){ .editions = EDITION_NONE,
						       .last_edition = EDITION_NONE,
						       .listed = listed };
	catalogue->folders_count++;
	if (box->prefix[0])
		snprintf(catalogue->prefix, sizeof catalogue->prefix, "%s", box->prefix);
	if (!folder->name || !folder->raw)
		return catalogue_no_memory();
	if ((e = name_table_put(&catalogue->names, text_of(folder->name), index)))
		return e;
	return name_table_put(&catalogue->raws, text_of(folder->raw), index);
}

/* One that no manifest lists: the run that met it was cut. */
enum err catalogue_folder_of(struct archive_catalogue *catalogue,
			     const struct archive_message *message, uint32_t *index)
{
	struct box *box;
	enum err e;

	*index = name_table_find(&catalogue->names, text_of(message->box));
	if (*index != NAME_TABLE_NONE)
		return OK;
	if (!(box = calloc(1, sizeof *box)))
		return catalogue_no_memory();
	*index = (uint32_t)catalogue->folders_count;
	snprintf(box->name, sizeof box->name, "%s", message->box);
	snprintf(box->raw, sizeof box->raw, "%s", message->box);
	box->separator = message->separator;
	box->use = strcmp(message->box, "INBOX") == 0 ? BOX_USE_INBOX : BOX_USE_NONE;
	box->subscribed = box->selectable = true;
	e = catalogue_folder_add(catalogue, box, false);
	free(box);
	return e;
}

static enum err editions_grow(struct archive_catalogue *catalogue)
{
	size_t room = catalogue->editions_room ? 2 * catalogue->editions_room : 64;
	struct edition *editions;

	if (catalogue->editions_count < catalogue->editions_room)
		return OK;
	if (!(editions = reallocarray(catalogue->editions, room, sizeof *editions)))
		return catalogue_no_memory();
	catalogue->editions = editions;
	catalogue->editions_room = room;
	return OK;
}

/* EDITION_NONE: the folder has had too many. */
enum err catalogue_edition_of(struct archive_catalogue *catalogue, uint32_t folder, uint64_t epoch,
			      uint32_t *index)
{
	struct folder_work *work = &catalogue->work[folder];
	enum err e;

	*index = work->last_edition;
	if (*index != EDITION_NONE && catalogue->editions[*index].epoch == epoch)
		return OK;
	for (*index = work->editions; *index != EDITION_NONE;
	     *index = catalogue->editions[*index].next)
		if (catalogue->editions[*index].epoch == epoch)
			return OK;
	if (work->editions_count > EDITIONS_MAX)
		return OK;
	if ((e = editions_grow(catalogue)))
		return e;
	*index = (uint32_t)catalogue->editions_count++;
	catalogue->editions[*index] =
		(struct edition){ .epoch = epoch, .folder = folder, .next = work->editions };
	work->editions = *index;
	work->editions_count++;
	return OK;
}

/* The folder's own epoch is what its newest manifest says, or that of the message stored last. The
 * others are ranked by value: they grow at the source, so ranks last. */
void catalogue_rank(struct archive_catalogue *catalogue, size_t folder_index)
{
	struct archive_folder *folder = &catalogue->folders[folder_index];
	const struct folder_work *work = &catalogue->work[folder_index];
	struct edition *editions = catalogue->editions;

	if (!work->listed && work->last_edition != EDITION_NONE)
		folder->epoch = editions[work->last_edition].epoch;
	for (uint32_t i = work->editions; i != EDITION_NONE; i = editions[i].next) {
		editions[i].rank = editions[i].epoch != folder->epoch;
		for (uint32_t j = work->editions; j != EDITION_NONE; j = editions[j].next)
			editions[i].rank += editions[i].rank &&
					    editions[j].epoch != folder->epoch &&
					    editions[j].epoch < editions[i].epoch;
	}
}

/* How far the epoch's rank is shifted in the folder's keys. */
static unsigned rank_shift(const struct archive_catalogue *catalogue, size_t folder_index)
{
	const struct edition *editions = catalogue->editions;
	uint64_t no_max = 0;

	for (uint32_t i = catalogue->work[folder_index].editions; i != EDITION_NONE;
	     i = editions[i].next)
		no_max = max_u64(no_max, editions[i].no_max);
	if (no_max >> NO_BITS_WIDE)
		return NO_BITS_WIDEST;
	return no_max >> NO_BITS ? NO_BITS_WIDE : NO_BITS;
}

uint64_t catalogue_rank_base(const struct edition *edition, unsigned shift)
{
	/* There is room for one. Messages of several with the same number stay announced. */
	return (shift == NO_BITS_WIDEST ? min_u64(edition->rank, 1) : edition->rank) << shift;
}

/* Where numbers of former epochs begin, and where all of them end. */
unsigned catalogue_set_next_no(struct archive_catalogue *catalogue, size_t index)
{
	struct archive_folder *folder = &catalogue->folders[index];
	unsigned shift = rank_shift(catalogue, index);

	for (uint32_t i = catalogue->work[index].editions; i != EDITION_NONE;
	     i = catalogue->editions[i].next) {
		const struct edition *edition = &catalogue->editions[i];

		if (edition->kept || edition->rank == 0)
			folder->next_no =
				max_u64(folder->next_no,
					catalogue_rank_base(edition, shift) + edition->no_max + 1);
	}
	return shift;
}
