/* What the filter does to a lane: folders that are left out are neither planned nor missed, the
 * others may get other names, and messages that are left out are settled as such. Not for: what a
 * filter wants (filter.c). */
#include <stdlib.h>

#include "engine/filter.h"
#include "engine/lane_state.h"
#include "engine/log.h"

static const struct filter *filter_of(const struct lane *lane)
{
	return lane->config->source_account->filter;
}

enum err lane_filter_begin(struct lane *lane)
{
	char text[FILTER_TEXT_BYTES];
	uint64_t again;
	enum err e = ledger_filter(lane->config->ledger, lane->mailbox.mailbox_no,
				   filter_text(filter_of(lane), text), &again);

	if (e == OK && again)
		log_event(LOG_INFO, "lane.another_filter", "messages=%llu",
			  (unsigned long long)again);
	return e;
}

/* ---- folders ---- */

static enum err remember(struct lane_listed *listed, const struct box *box)
{
	size_t room = listed->left_out_room ? 2 * listed->left_out_room : 64;
	struct lane_left_out *all;

	if (listed->left_out_count == listed->left_out_room) {
		all = realloc(listed->left_out, room * sizeof *all);
		if (!all)
			return RAISE(ERR_MEMORY_EXHAUSTED, "listing %zu folders", room);
		listed->left_out = all;
		listed->left_out_room = room;
	}
	all = &listed->left_out[listed->left_out_count];
	all->epoch = box->epoch;
	all->name = strdup(box->name);
	all->id = strdup(box->id);
	if (!all->name || !all->id) {
		free(all->name);
		free(all->id);
		return RAISE(ERR_MEMORY_EXHAUSTED, "listing %zu folders", room);
	}
	listed->left_out_count++;
	return OK;
}

/* By the name it has at the source, and by the one that it had or would have here. */
static enum err leave_out(struct lane *lane, struct lane_listed *listed, struct box *box)
{
	enum err e = remember(listed, box);

	lane->progress->boxes_left_out += box->selectable || box->fate;
	listed->any |= box->selectable;
	if (e)
		return e;
	if (filter_name_folder(filter_of(lane), box)) {
		err_note_clear();
		return OK;
	}
	return remember(listed, box);
}

enum err lane_filter_box(struct lane *lane, struct lane_listed *listed, struct box *box,
			 bool *left_out)
{
	enum err e;

	*left_out = false;
	if (box->fate == ERR_SOURCE_LOST) /* no folder, and nothing that a name could choose */
		return OK;
	*left_out = !filter_takes_folder(filter_of(lane), box);
	if (*left_out)
		return leave_out(lane, listed, box);
	if ((e = filter_name_folder(filter_of(lane), box)) && !box->fate)
		box->fate = e;
	if (e && !lane->config->ledger)
		err_note_clear();
	return OK;
}

/* Most likely a pattern that was mistyped, and the exit code would not tell. */
void lane_filter_listed(const struct lane *lane)
{
	const struct lane_progress *progress = lane->progress;

	if (progress->boxes_left_out && !progress->boxes_known)
		log_event(LOG_WARN, "lane.nothing_wanted", "folders_left_out=%llu",
			  (unsigned long long)progress->boxes_left_out);
}

/* Where the source gave it another name, its id or its epoch is what is left of it. Folders with
 * ids may all have one epoch (Gmail's labels). */
static bool is_the_same(const struct lane_left_out *out, const struct ledger_known_box *known)
{
	if (strcmp(out->name, known->name) == 0)
		return true;
	if (*out->id && *known->id)
		return strcmp(out->id, known->id) == 0;
	return known->epoch && out->epoch == known->epoch;
}

/* A folder that is taken for another is not sought in this run, and that is all. */
bool lane_is_left_out(const struct lane_listed *listed, const struct ledger_known_box *known)
{
	for (size_t i = 0; i < listed->left_out_count; i++)
		if (is_the_same(&listed->left_out[i], known))
			return true;
	return false;
}

void lane_listed_free(struct lane_listed *listed)
{
	for (size_t i = 0; i < listed->left_out_count; i++) {
		free(listed->left_out[i].name);
		free(listed->left_out[i].id);
	}
	free(listed->left_out);
	free(listed->box_nos);
	*listed = (struct lane_listed){ 0 };
}

/* ---- messages ---- */

void lane_filter_item(struct lane *lane, struct item *item)
{
	if (item->fate || filter_takes_message(filter_of(lane), &item->meta.date, item->size_bytes))
		return;
	stream_close(&item->body);
	item->fate = ERR_SOURCE_FILTERED;
}

bool lane_filter_may_hide(const struct lane *lane)
{
	return lane->progress->boxes_left_out || filter_judges_messages(filter_of(lane));
}
