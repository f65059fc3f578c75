/* What the lane is told of folders and parcels, one receipt at a time. */
#include "transport/imap_sink_state.h"

bool imap_receipt_news(struct imap_sink *sink, struct receipt *receipt)
{
	struct imap_place *place;

	if (!sink->places || !imap_places_next_news(sink->places, &receipt->box_no, &place))
		return false;
	if (place->fate) {
		receipt->kind = RECEIPT_BOX_REFUSED;
		receipt->why = RAISE(place->fate, "%s", place->why);
		return true;
	}
	receipt->kind = RECEIPT_PLACED;
	receipt->target = text_of(place->raw);
	receipt->target_epoch = place->uidvalidity;
	return true;
}

static void receipt_message(const struct imap_message *message, struct receipt *receipt)
{
	static const enum receipt_kind kinds[] = {
		[IMAP_MESSAGE_STORED] = RECEIPT_STORED,
		[IMAP_MESSAGE_ALTERED] = RECEIPT_DOUBTFUL,
		[IMAP_MESSAGE_REFUSED] = RECEIPT_REFUSED,
		[IMAP_MESSAGE_RETURNED] = RECEIPT_RETURNED,
		[IMAP_MESSAGE_FOUND] = RECEIPT_STORED,
	};
	const struct parcel_record *record = &message->record;
	char date[40];

	receipt->kind = kinds[message->fate];
	receipt->box_no = record->box_no;
	receipt->no = record->no;
	receipt->size_bytes = record->size_bytes;
	receipt->digest = record->digest;
	receipt->mark = record->mark;
	receipt->mail_kind = (enum mail_kind)record->kind;
	receipt->why = message->why;
	receipt->target_no = message->uid;
	receipt->form =
		message->wrap && receipt->kind == RECEIPT_STORED ? MAIL_WRAPPED : MAIL_AS_IT_IS;
	receipt->date_s = message->date.seconds;
	receipt->dated = !message->found && *mail_date_imap(date, &message->date) != '\0';
	receipt->found = message->found;
	receipt->fingerprint = message->fingerprint;
}

static void remove_parcel(struct imap_sink *sink, struct imap_parcel *parcel)
{
	struct imap_parcel **at = &sink->queue;

	while (*at != parcel)
		at = &(*at)->next;
	*at = parcel->next;
	imap_parcel_reset(parcel);
	wake_all(&sink->changed);
}

/* The next receipt of a parcel of which something is known; false: there is none. */
static bool tell_fates(struct imap_sink *sink, struct imap_parcel *parcel, struct receipt *receipt)
{
	while (parcel->next_receipt < parcel->count) {
		const struct imap_message *message = &parcel->messages[parcel->next_receipt++];

		if (message->fate == IMAP_MESSAGE_OPEN)
			continue;
		receipt_message(message, receipt);
		receipt->seal_no = message->found ? 0 : parcel->seal_no;
		if (message->fate == IMAP_MESSAGE_RETURNED && parcel->place->fate &&
		    sink->refused_box_no != message->record.box_no) {
			parcel->next_receipt--; /* first why */
			sink->refused_box_no = message->record.box_no;
			receipt->kind = RECEIPT_BOX_REFUSED;
			receipt->why = RAISE(parcel->place->fate, "%s", parcel->place->why);
		}
		return true;
	}
	return false;
}

bool imap_receipt_answered(struct imap_sink *sink, struct receipt *receipt)
{
	struct imap_parcel *next;

	for (struct imap_parcel *parcel = sink->queue; parcel; parcel = next) {
		struct imap_group *group = parcel->place->owner;

		next = parcel->next;
		if (parcel->state != IMAP_PARCEL_ANSWERED || !parcel->is_checked)
			continue;
		if (tell_fates(sink, parcel, receipt))
			return true;
		if (parcel->seal_no)
			group->unsettled--;
		remove_parcel(sink, parcel);
	}
	return false;
}

/* A parcel of a folder that was refused meanwhile is not even sealed, nor is one of which all was
 * found. */
static void give_up(struct imap_parcel *parcel)
{
	imap_parcel_return(parcel, 0, parcel->count);
	parcel->state = IMAP_PARCEL_ANSWERED;
	parcel->is_checked = true; /* nothing of it is there */
}

/* Once for each parcel, before it is sealed; those found in the folder need no sending. */
static enum err find_existing(struct imap_sink *sink, struct imap_parcel *parcel)
{
	struct imap_look *look;
	bool listed = false;
	enum err e;

	if (!sink->existing || parcel->is_matched)
		return OK;
	if ((e = imap_sink_look(sink, &look)) == OK)
		e = imap_existing_match(sink->existing, look, parcel, &listed);
	if (e && err_retry_class(e) == RETRY_SKIP_BOX) {
		imap_sink_refuse(sink, parcel->place, ERR_SINK_BOX, err_note()->text);
		err_note_clear();
		imap_look_close(&sink->look); /* it may have asked for more */
		return OK;
	}
	must(e || !listed || !parcel->place->owner);
	parcel->is_matched = e == OK;
	return e;
}

/* All that is known of its folder before it is sealed; or the folder has a fate. */
static enum err prepare(struct imap_sink *sink, struct imap_parcel *parcel)
{
	struct imap_place *place = parcel->place;
	enum err e = OK;

	if (!place->fate && !place->owner)
		e = imap_group_ask_mark(sink, place);
	if (!e && !place->fate)
		e = find_existing(sink, parcel);
	if (!e && !place->fate && !place->owner)
		e = imap_group_ask_mark(sink, place);
	return e;
}

/* The oldest parcel whose folder takes another one is sealed. */
enum err imap_receipt_sealed(struct imap_sink *sink, struct receipt *receipt, bool *told)
{
	enum err e;

	*told = false;
	for (struct imap_parcel *parcel = sink->queue; parcel; parcel = parcel->next) {
		struct imap_place *place = parcel->place;

		if (parcel->state != IMAP_PARCEL_FILLED || !imap_group_may_join(parcel))
			continue;
		if ((e = prepare(sink, parcel)))
			return e;
		if (!imap_group_may_join(parcel))
			continue;
		*told = true;
		if (!place->fate && parcel->open)
			return imap_group_join(sink, parcel, receipt);
		give_up(parcel);
		must(imap_receipt_answered(sink, receipt));
		return OK;
	}
	return OK;
}

/* ---- the end of a broken one ---- */

/* What no byte left of is returned, so its seal can be forgotten. What was lost is told as far as
 * it is known, and stays sealed with all of its group. */
void imap_receipt_clear_up(struct imap_sink *sink)
{
	for (struct imap_parcel *parcel = sink->queue; parcel; parcel = parcel->next) {
		if (parcel->state < IMAP_PARCEL_SENDING) {
			give_up(parcel);
		} else if (!parcel->is_checked && parcel->state != IMAP_PARCEL_LOST) {
			parcel->state = IMAP_PARCEL_LOST;
			imap_check_undo(sink, parcel);
		}
	}
	imap_group_close_all(sink);
}

bool imap_receipt_lost(struct imap_sink *sink, struct receipt *receipt)
{
	for (struct imap_parcel *parcel = sink->queue; parcel; parcel = parcel->next)
		if (parcel->state == IMAP_PARCEL_LOST && tell_fates(sink, parcel, receipt))
			return true;
	return false;
}
