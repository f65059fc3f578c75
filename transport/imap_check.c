/* What a server made of what it stored: messages that some servers alter are read back. */
#include <stdlib.h>

#include "transport/imap_sink_state.h"

static bool is_questionable(const struct imap_sink *sink, const struct imap_message *message)
{
	bool doubts = false;

	for (unsigned i = 0; i < LIKENESS_ODDITIES; i++)
		doubts |=
			(message->oddities & 1U << i) && sink->unaltered[i] < IMAP_UNALTERED_ENOUGH;
	return doubts && message->fate == IMAP_MESSAGE_STORED && !message->wrap;
}

static void take_look(struct imap_sink *sink, struct imap_message *message, bool is_same)
{
	if (!is_same) {
		message->fate = IMAP_MESSAGE_ALTERED;
		message->why = ERR_SINK_ALTERED;
		sink->altered |= message->oddities;
		return;
	}
	for (unsigned i = 0; i < LIKENESS_ODDITIES; i++)
		sink->unaltered[i] += message->oddities >> i & 1;
}

static bool is_same(const struct parcel_found *found, const struct imap_message *message)
{
	return memcmp(&found->digest, &message->record.digest, DIGEST_BYTES) == 0;
}

static enum err check_message(struct imap_sink *sink, const struct imap_place *place,
			      struct imap_message *message)
{
	struct imap_looked there;
	struct imap_look *look;
	enum err e = imap_sink_look(sink, &look);

	if (!e)
		e = imap_look_into(look, place->raw, place->uidvalidity, message->uid, message->uid,
				   NULL, &there);
	if (e && err_retry_class(e) == RETRY_SKIP_BOX) {
		err_note_clear(); /* the folder is gone already: its owner took it */
		return OK;
	}
	if (e)
		return e;
	/* Where it is gone already, its owner took it. */
	if (there.found_count == 1)
		take_look(sink, message, is_same(&there.found[0], message));
	imap_looked_free(&there);
	return OK;
}

/* ---- without UIDPLUS ---- */

/* The messages that are to be read back and whose UIDs are not known. */
static unsigned list_unknown(const struct imap_sink *sink, const struct imap_parcel *parcel,
			     unsigned *listed, struct buffer *records)
{
	unsigned count = 0;

	for (unsigned i = 0; i < parcel->count; i++) {
		const struct imap_message *message = &parcel->messages[i];

		if (message->uid || !is_questionable(sink, message))
			continue;
		parcel_record_add(records, &message->record);
		listed[count++] = i;
	}
	return count;
}

static enum err look_for(struct imap_sink *sink, const struct imap_parcel *parcel,
			 struct text records, struct imap_looked *there)
{
	const struct imap_place *place = parcel->place;
	struct parcel_wanted *wanted = NULL;
	struct imap_look *look;
	enum err e = imap_sink_look(sink, &look);

	*there = (struct imap_looked){ 0 };
	if (!e && (e = parcel_wanted_open(records, NULL, &wanted)) == OK)
		e = imap_look_into(look, place->raw, place->uidvalidity, parcel->uid_from,
				   UINT32_MAX, wanted, there);
	parcel_wanted_close(&wanted);
	if (e && err_retry_class(e) == RETRY_SKIP_BOX) {
		err_note_clear();
		return OK;
	}
	return e;
}

/* What is sent from now on has higher UIDs. */
static void note_seen(struct imap_group *group, const struct imap_looked *there)
{
	for (size_t i = 0; i < there->found_count; i++)
		if (there->found[i].uid > group->uid_top)
			group->uid_top = there->found[i].uid;
}

/* Known by their bytes, or else by what stays of them when they are altered. */
static enum err check_unknown(struct imap_sink *sink, struct imap_parcel *parcel)
{
	struct parcel_outcome outcomes[IMAP_PARCEL_MESSAGES_MAX];
	unsigned listed[IMAP_PARCEL_MESSAGES_MAX];
	struct buffer records = { 0 };
	unsigned count = list_unknown(sink, parcel, listed, &records);
	struct text text = { records.at, records.bytes };
	struct imap_looked there;
	enum err e = OK;

	if (records.failed)
		e = RAISE(ERR_MEMORY_EXHAUSTED, "reading back what was stored");
	if (!e && count && (e = look_for(sink, parcel, text, &there)) == OK) {
		(void)parcel_match(text, NULL, there.found, there.found_count, outcomes);
		for (unsigned i = 0; i < count; i++)
			if (outcomes[i].fate != PARCEL_ABSENT)
				take_look(sink, &parcel->messages[listed[i]],
					  outcomes[i].fate == PARCEL_STORED);
		note_seen(parcel->place->owner, &there);
		imap_looked_free(&there);
	}
	buffer_free(&records);
	return e;
}

enum err imap_check_parcel(struct imap_sink *sink, struct imap_parcel *parcel)
{
	enum err e = OK;

	for (unsigned i = 0; i < parcel->count && !e; i++)
		if (parcel->messages[i].uid && is_questionable(sink, &parcel->messages[i]))
			e = check_message(sink, parcel->place, &parcel->messages[i]);
	if (!e)
		e = check_unknown(sink, parcel);
	parcel->is_checked = e == OK;
	return e;
}

void imap_check_undo(const struct imap_sink *sink, struct imap_parcel *parcel)
{
	for (unsigned i = 0; i < parcel->count; i++)
		if (is_questionable(sink, &parcel->messages[i]))
			parcel->messages[i].fate = IMAP_MESSAGE_OPEN;
}
