/* The fibers that send what is sealed. */
#include "engine/budget.h"
#include "transport/eml_sink_state.h"

enum {
	SENDERS_MAX = 16,
	SENDERS_OF_MANY = 4, /* where there are several mailboxes to be sent at once */
};

static enum err letter_send(struct eml_sink *sink, struct eml_letter *letter)
{
	const struct text piece = { (const char *)letter->bytes, letter->size_bytes };
	const struct store_s3_object object = {
		.key = letter->key,
		.pieces = &piece,
		.pieces_count = 1,
		.metadata = letter->saying.metadata,
		.metadata_count = letter->saying.count,
	};
	enum err e = store_s3_put_object(sink->entry.store, &object, &letter->there);

	if (!e && letter->there == STORE_S3_SAME)
		e = eml_letter_compare_flags(sink, letter);
	return e;
}

/* One of the fibers that send. */
static enum err send_letters(void *argument)
{
	struct eml_sink *sink = argument;
	struct eml_letter *letter;
	enum err e = OK;

	while (!e) {
		if (!(letter = eml_letter_in(sink, EML_LETTER_SEALED))) {
			e = eml_sink_wait(sink);
			if (e == ERR_FIBER_TIMEOUT) {
				err_note_clear();
				e = OK;
			}
			continue;
		}
		letter->state = EML_LETTER_SENT;
		if (!(e = letter_send(sink, letter)))
			letter->state = EML_LETTER_ANSWERED;
		(void)eml_sink_breaks(sink, e);
	}
	return e;
}

enum err eml_sink_begin_sending(struct eml_sink *sink)
{
	unsigned count = budget()->shape.lanes > 1 ? SENDERS_OF_MANY : SENDERS_MAX;
	enum err e = OK;

	if (sink->sending || !sink->entry.store)
		return OK;
	sink->sending = group_open();
	group_cancel_on_error(sink->sending, false); /* who has sent is to hear of it */
	for (unsigned i = 0; i < count && !e; i++)
		e = group_spawn(sink->sending, "send", FIBER_STACK_LARGE, send_letters, sink);
	return e;
}

void eml_sink_end_receipts(struct sink *base)
{
	struct eml_sink *sink = eml_sink_of(base);

	if (!sink->sending)
		return;
	group_cancel(sink->sending);
	if (group_join(&sink->sending))
		err_note_clear(); /* it was called off, or is said by receipt() */
}
