/* Messages on their way into parcels: the write fiber's calls. A parcel takes messages of one
 * folder until it is full or another folder's turn comes; then it waits for its seal. */
#include "engine/budget.h"
#include "transport/imap_sink_state.h"

enum {
	/* Of the budget's pieces: 2 MiB where a mailbox is alone. A parcel costs a seal, which is a
	 * sync of the ledger, and an answer; a longer message goes through a file. */
	PARCEL_ROOMS = PARCELS_WRITES / IMAP_PARCELS_MAX,
};

/* All folders there are get their places together: what goes where depends on all. */
enum err imap_fill_settle_places(struct imap_sink *sink)
{
	struct imap_session *session;
	enum err e;

	if (!imap_places_are_open(sink->places))
		return OK;
	if ((e = imap_sink_borrow(sink, &session)))
		return e;
	if ((e = imap_places_settle(sink->places, session)))
		imap_sink_breaks(sink, e);
	imap_sink_give_back(sink);
	return imap_sink_is_broken(sink);
}

static void queue_parcel(struct imap_sink *sink, struct imap_parcel *parcel)
{
	struct imap_parcel **at = &sink->queue;

	while (*at)
		at = &(*at)->next;
	parcel->next = NULL;
	*at = parcel;
}

void imap_fill_end(struct imap_sink *sink)
{
	struct imap_parcel *parcel = sink->filling;

	if (!parcel)
		return;
	sink->filling = NULL;
	parcel->state = IMAP_PARCEL_FILLED;
	queue_parcel(sink, parcel);
	wake_all(&sink->changed);
}

static struct imap_parcel *free_parcel(struct imap_sink *sink)
{
	for (unsigned i = 0; i < sink->parcels_count; i++)
		if (sink->parcels[i]->state == IMAP_PARCEL_FREE)
			return sink->parcels[i];
	return NULL;
}

static enum err add_parcel(struct imap_sink *sink)
{
	enum err e = imap_parcel_open(PARCEL_ROOMS * budget()->put_bytes,
				      &sink->parcels[sink->parcels_count]);

	sink->parcels_count += e == OK;
	return e;
}

/* A parcel that takes the message: the one being filled, or another. */
static enum err fill_begins(struct imap_sink *sink, struct imap_place *place, uint64_t bytes)
{
	struct imap_parcel *parcel = NULL;
	enum err e = imap_sink_is_broken(sink);

	if (e || (sink->filling && imap_parcel_takes(sink->filling, place, bytes)))
		return e;
	imap_fill_end(sink);
	while (!e && !(parcel = free_parcel(sink)))
		e = sink->parcels_count < IMAP_PARCELS_MAX ? add_parcel(sink)
							   : imap_sink_wait(sink);
	if (e)
		return e;
	parcel->state = IMAP_PARCEL_FILLING;
	parcel->place = place;
	sink->filling = parcel;
	return OK;
}

enum err imap_fill_put(struct imap_sink *sink, struct item *item)
{
	struct imap_place *place;
	enum err e;

	must(!sink->is_draining && item->size_bytes != SIZE_UNKNOWN);
	if ((e = imap_sink_is_broken(sink)) || (e = imap_fill_settle_places(sink)))
		return e;
	place = imap_places_find(sink->places, item->box_no);
	must(place);
	if (place->fate)
		return RAISE(ERR_SINK_BOX, "%s", place->why); /* the receipt says why */
	if ((uint64_t)item->size_bytes > sink->append_limit)
		return RAISE(ERR_SINK_TOOBIG, "a message of %lld bytes: the destination takes %llu",
			     (long long)item->size_bytes, (unsigned long long)sink->append_limit);
	if ((e = fill_begins(sink, place, (uint64_t)item->size_bytes)))
		return e;
	e = imap_parcel_add(sink->filling, item, sink->tap, sink->config.spool);
	if (sink->filling->count == 0) {
		imap_parcel_reset(sink->filling);
		sink->filling = NULL;
	}
	return e;
}
