/* The parcels of a folder that have the same mark, from the first that is sealed until all of them
 * are settled and were told. */
#include <stdlib.h>

#include "engine/log.h"
#include "transport/imap_sink_state.h"

void imap_group_close_all(struct imap_sink *sink)
{
	for (struct imap_group *group = sink->groups; group; group = group->next)
		group->is_closed = true;
	wake_all(&sink->changed);
}

void imap_group_close(struct imap_sink *sink)
{
	for (struct imap_group *next, *group = sink->groups; group; group = next) {
		next = group->next;
		free(group->seal_nos);
		free(group);
	}
	sink->groups = NULL;
}

/* What is open is read back after a crash, and lies in the ledger until then. */
static void close_eldest(struct imap_sink *sink)
{
	struct imap_group *eldest = NULL;
	unsigned open = 0;

	for (struct imap_group *group = sink->groups; group; group = group->next)
		if (!group->is_closed) {
			eldest = group;
			open++;
		}
	if (open >= IMAP_GROUPS_OPEN_MAX)
		eldest->is_closed = true;
}

static enum err new_group(struct imap_sink *sink, struct imap_place *place)
{
	struct imap_group *group = calloc(1, sizeof *group);

	if (group)
		group->seal_nos = calloc(IMAP_GROUP_PARCELS_MAX, sizeof *group->seal_nos);
	if (!group || !group->seal_nos) {
		free(group);
		return RAISE(ERR_MEMORY_EXHAUSTED, "sealing a parcel");
	}
	close_eldest(sink);
	group->place = place;
	group->is_closed = sink->is_draining; /* or it would never end */
	group->knows_uids = true;
	group->next = sink->groups;
	sink->groups = group;
	place->owner = group;
	return OK;
}

uint32_t imap_group_uid_floor(const struct imap_group *group)
{
	uint32_t mark = group->place->uidnext;

	return group->uid_top >= mark ? group->uid_top : mark - 1;
}

static bool was_told(const struct imap_group *group, uint32_t first, uint32_t last)
{
	for (unsigned i = 0; i < group->told_count && i < IMAP_APPENDS_MAX; i++)
		if (first <= group->told[i].last && last >= group->told[i].first)
			return true;
	return false;
}

bool imap_group_note_uids(struct imap_group *group, uint32_t floor, uint32_t first, uint32_t last,
			  unsigned count)
{
	bool is_likely = first > floor && last >= first && !was_told(group, first, last);

	group->stored += count;
	group->knows_uids &= is_likely;
	if (first && !is_likely)
		log_event(LOG_WARN, "imap.impossible_uids", "first=%u last=%u above=%u", first,
			  last, floor);
	if (!is_likely)
		return false;
	group->told[group->told_count++ % IMAP_APPENDS_MAX] = (struct imap_told){ first, last };
	if (last > group->uid_top)
		group->uid_top = last;
	return true;
}

/* All that came behind the mark is ours, so nothing but what was told is needed. A UID that is too
 * high would hide from the next group's mark what is stored below it. */
static bool is_without_gap(const struct imap_group *group)
{
	return group->knows_uids && group->stored &&
	       group->uid_top == group->place->uidnext + group->stored - 1 &&
	       group->uid_top < UINT32_MAX;
}

/* All of it is settled and was told: where the next one begins follows from the UIDs, or is asked
 * for. */
static void end_group(struct imap_sink *sink, struct imap_group *group)
{
	struct imap_group **at = &sink->groups;

	while (*at != group)
		at = &(*at)->next;
	*at = group->next;
	group->place->uidnext = is_without_gap(group) ? group->uid_top + 1 : 0;
	group->place->owner = NULL;
	free(group->seal_nos);
	free(group);
}

/* The folder's numbers, where a group begins and they are not known. */
enum err imap_group_ask_mark(struct imap_sink *sink, struct imap_place *place)
{
	struct imap_session *session;
	enum err e;

	if (place->uidvalidity && place->uidnext)
		return OK;
	if ((e = imap_sink_borrow(sink, &session)))
		return e;
	e = imap_place_status(session, place);
	if (!e && place->uidnext <= place->seen_top)
		place->uidnext = place->seen_top + 1;
	imap_sink_give_back(sink);
	if (e && err_retry_class(e) == RETRY_SKIP_BOX) {
		imap_sink_refuse(sink, place, ERR_SINK_BOX, err_note()->text);
		err_note_clear();
		return OK;
	}
	return e;
}

bool imap_group_may_join(const struct imap_parcel *parcel)
{
	const struct imap_group *group = parcel->place->owner;

	return !group || (!group->is_closed && group->count < IMAP_GROUP_PARCELS_MAX);
}

enum err imap_group_join(struct imap_sink *sink, struct imap_parcel *parcel,
			 struct receipt *receipt)
{
	struct imap_group *group;
	enum err e;

	if (!parcel->place->owner && (e = new_group(sink, parcel->place)))
		return e;
	group = parcel->place->owner;
	if ((e = imap_parcel_seal(parcel, parcel->place->uidvalidity, parcel->place->uidnext)))
		return e;
	parcel->seal_no = sink->seal_no++;
	parcel->state = IMAP_PARCEL_SHOWN;
	group->seal_nos[group->count++] = parcel->seal_no;
	group->unsettled++;
	receipt->kind = RECEIPT_SEALED;
	receipt->seal_no = parcel->seal_no;
	receipt->seal = (struct text){ parcel->seal.at, parcel->seal.bytes };
	return OK;
}

bool imap_group_tell_settled(struct imap_sink *sink, struct receipt *receipt)
{
	struct imap_group *next;

	for (struct imap_group *group = sink->groups; group; group = next) {
		next = group->next;
		if (group->unsettled)
			continue;
		if (!group->is_closed && group->count < IMAP_GROUP_PARCELS_MAX)
			continue;
		group->is_closed = true;
		if (!group->is_told) {
			group->is_told = true;
			receipt->kind = RECEIPT_SETTLED;
			receipt->seal_nos = group->seal_nos;
			receipt->seals_count = group->count;
			return true;
		}
		end_group(sink, group);
		wake_all(&sink->changed);
	}
	return false;
}
