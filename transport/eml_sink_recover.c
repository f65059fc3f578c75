/* After a restart: what became of the messages that a seal of an earlier run names. */
#include <stdlib.h>

#include "transport/eml_seal.h"
#include "transport/eml_sink_state.h"

/* Of a message that a seal names; NULL: it is settled, or not there. One whose flags are not known
 * for sure is told of again. */
static enum err letter_find(struct eml_sink *sink, const struct eml_record *record,
			    struct eml_letter **out)
{
	enum sink_known known = SINK_KNOWN_OPEN;
	struct eml_letter *letter = calloc(1, sizeof *letter);
	enum err e = letter ? OK : RAISE(ERR_MEMORY_EXHAUSTED, "looking for a message");

	*out = NULL;
	if (e)
		return e;
	*letter = (struct eml_letter){ .state = EML_LETTER_ANSWERED,
				       .was_sealed = true,
				       .box_no = record->box_no,
				       .no = record->no,
				       .epoch = record->epoch,
				       .size_bytes = record->size_bytes,
				       .digest = record->digest,
				       .mark = record->mark,
				       .kind = record->kind };
	eml_message_key(letter->key, sink->entry.mailbox_key, record->folder, record->epoch,
			record->no);
	e = sink->config.ask_known(sink->config.asked, record->box_no, record->no, 1, &known);
	if (!e && known == SINK_KNOWN_OPEN)
		e = store_s3_look(sink->entry.store, letter->key, record->size_bytes, record->crc,
				  &letter->there);
	if (!e && letter->there == STORE_S3_SAME && !(e = eml_letter_compare_flags(sink, letter)) &&
	    letter->is_reflagged) {
		letter->is_reflagged = false;
		letter->mark = 0;
	}
	if (e || letter->there == STORE_S3_ABSENT)
		eml_letter_free(letter);
	else
		*out = letter;
	return e;
}

/* Its letters are handed to the receipt fiber all at once: none is the seal's last before the
 * others are known. */
static enum err seal_find(struct eml_sink *sink, uint64_t seal_no, struct text seal, size_t count,
			  enum seal_fate *fate)
{
	struct eml_letter *found = NULL, *letter;
	struct eml_record record;
	enum err e = OK;

	for (size_t i = 0; i < count && !e; i++) {
		eml_seal_get(seal, i, &record);
		if ((e = letter_find(sink, &record, &letter)) || !letter)
			continue;
		letter->seal_no = seal_no;
		letter->next = found;
		found = letter;
	}
	*fate = found ? SEAL_PRESENT : SEAL_ABSENT;
	while ((letter = found)) {
		found = letter->next;
		letter->next = NULL;
		if (e)
			eml_letter_free(letter);
		else
			eml_letter_append(sink, letter);
	}
	return e;
}

enum err eml_sink_find(struct sink *base, uint64_t seal_no, struct text seal, enum seal_fate *fate)
{
	struct eml_sink *sink = eml_sink_of(base);
	size_t count;

	*fate = SEAL_ABSENT;
	if (!eml_seal_read(seal, &count))
		return RAISE(ERR_SINK_FOREIGN,
			     "%s: an earlier run left pack %llu of this mailbox unsettled; run "
			     "once more with the layout that it had",
			     sink->way.shown, (unsigned long long)seal_no);
	return seal_find(sink, seal_no, seal, count, fate);
}
