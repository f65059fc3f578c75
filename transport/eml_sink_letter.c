/* The messages on their way, in the order in which they came, and what putting them and finding
 * them again have in common. */
#include <stdlib.h>

#include "engine/budget.h"
#include "engine/log.h"
#include "transport/eml_sink_state.h"

void eml_letter_free(struct eml_letter *letter)
{
	budget_hold(BUDGET_WRITES, &letter->held, 0);
	free(letter->bytes);
	free(letter);
}

void eml_letter_append(struct eml_sink *sink, struct eml_letter *letter)
{
	if (sink->last)
		sink->last->next = letter;
	else
		sink->first = letter;
	sink->last = letter;
	sink->letters++;
	sink->bytes += letter->held;
	wake_all(&sink->changed);
}

struct eml_letter *eml_letter_in(const struct eml_sink *sink, enum eml_letter_state state)
{
	struct eml_letter *letter = sink->first;

	while (letter && letter->state != state)
		letter = letter->next;
	return letter;
}

enum err eml_letter_pull(struct item *item, eml_take_bytes *take, void *context)
{
	uint64_t left = (uint64_t)item->size_bytes;
	struct iolist list = { 0 };
	enum err e;

	while (!(e = stream_pull(item->body, &list))) {
		for (unsigned i = 0; i < list.count && !e; i++) {
			e = list.slices[i].length <= left
				    ? take(context, slice_bytes(&list.slices[i]),
					   list.slices[i].length)
				    : RAISE(ERR_STREAM_CUT, "a message is longer than was said");
			left -= min_u64(left, list.slices[i].length);
		}
		iolist_release(&list);
		if (e)
			return e;
	}
	if (e == ERR_STREAM_ENDED)
		e = left ? RAISE(ERR_STREAM_CUT, "a message is shorter than was said") : OK;
	return e;
}

void eml_letter_say(const struct eml_sink *sink, struct eml_letter *letter,
		    const struct digest *digest)
{
	unsigned dropped = mime_saying_make(&letter->saying, letter->epoch, letter->no,
					    &letter->meta, sink->config.digest->name, digest);

	if (dropped > letter->meta.keywords_dropped)
		log_event(LOG_WARN, "eml.keywords_left_out", "box=%llu no=%llu keywords=%u",
			  (unsigned long long)letter->box_no, (unsigned long long)letter->no,
			  dropped - letter->meta.keywords_dropped);
}

enum err eml_letter_compare_flags(const struct eml_sink *sink, struct eml_letter *letter)
{
	struct mime_said *said = calloc(1, sizeof *said);
	struct buffer fields = { 0 };
	enum err e = said ? store_s3_fields(sink->entry.store, letter->key, &fields)
			  : RAISE(ERR_MEMORY_EXHAUSTED, "looking at a message");

	if (!e)
		letter->is_reflagged =
			!mime_said_read((struct text){ fields.at, fields.bytes }, said) ||
			mail_mark(&said->meta) != letter->mark;
	buffer_free(&fields);
	free(said);
	return e;
}
