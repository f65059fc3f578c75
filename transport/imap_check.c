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

static enum err check_message(struct imap_sink *sink, const struct imap_place *place,
			      struct imap_message *message)
{
	struct parcel_found *there;
	struct imap_look *look;
	size_t count;
	enum err e = imap_sink_look(sink, &look);

	if (!e)
		e = imap_look_into(look, place->raw, place->uidvalidity, message->uid, message->uid,
				   &there, &count);
	if (e && err_retry_class(e) == RETRY_SKIP_BOX) {
		err_note_clear(); /* the folder is gone already: its owner took it */
		return OK;
	}
	if (e)
		return e;
	/* Where it is gone already, its owner took it. */
	if (count == 1 && memcmp(&there->digest, &message->record.digest, DIGEST_BYTES) != 0) {
		message->fate = IMAP_MESSAGE_ALTERED;
		message->why = ERR_SINK_ALTERED;
		sink->altered |= message->oddities;
	} else if (count == 1) {
		for (unsigned i = 0; i < LIKENESS_ODDITIES; i++)
			sink->unaltered[i] += message->oddities >> i & 1;
	}
	free(there);
	return OK;
}

enum err imap_check_parcel(struct imap_sink *sink, struct imap_parcel *parcel)
{
	enum err e = OK;

	for (unsigned i = 0; i < parcel->count && !e; i++)
		if (parcel->messages[i].uid && is_questionable(sink, &parcel->messages[i]))
			e = check_message(sink, parcel->place, &parcel->messages[i]);
	parcel->is_checked = e == OK;
	return e;
}

void imap_check_undo(const struct imap_sink *sink, struct imap_parcel *parcel)
{
	for (unsigned i = 0; i < parcel->count; i++)
		if (is_questionable(sink, &parcel->messages[i]))
			parcel->messages[i].fate = IMAP_MESSAGE_OPEN;
}
