/* What the lane is told, by its receipt fiber: seals of what waits for one, receipts of what the
 * service has answered, and which seals are settled. */
#include "engine/log.h"
#include "transport/eml_seal.h"
#include "transport/eml_sink_state.h"

/* The last letter of a seal lets the ledger forget it. */
static void letter_remove(struct eml_sink *sink, struct eml_letter *letter)
{
	struct eml_letter **at = &sink->first, *before = NULL;
	uint64_t seal_no = letter->seal_no;

	for (; *at != letter; at = &(*at)->next)
		before = *at;
	*at = letter->next;
	if (sink->last == letter)
		sink->last = before;
	sink->letters--;
	sink->bytes -= letter->held;
	eml_letter_free(letter);
	wake_all(&sink->changed);
	for (letter = sink->first; letter; letter = letter->next)
		if (letter->seal_no == seal_no)
			return;
	must(sink->settled_count < ARRAY_COUNT(sink->settled));
	if (seal_no)
		sink->settled[sink->settled_count++] = seal_no;
}

static enum err give_receipt(struct eml_sink *sink, struct eml_letter *letter,
			     struct receipt *receipt)
{
	bool is_other = letter->there == STORE_S3_OTHER;
	enum err e;

	if (letter->is_reflagged && (e = eml_sink_record_flags(sink, letter)))
		return e;
	*receipt = (struct receipt){
		.kind = is_other ? RECEIPT_DOUBTFUL : RECEIPT_STORED,
		.why = is_other ? ERR_SINK_ALTERED : OK,
		.box_no = letter->box_no,
		.no = letter->no,
		.size_bytes = letter->size_bytes,
		.digest = letter->digest,
		.mark = letter->mark,
		.mail_kind = letter->kind,
		.was_sealed = letter->was_sealed,
	};
	if (is_other)
		log_event(LOG_WARN, "eml.other_bytes", "!key=\"%s\"", letter->key);
	letter_remove(sink, letter);
	return OK;
}

static void give_settled(struct eml_sink *sink, struct receipt *receipt)
{
	*receipt = (struct receipt){ .kind = RECEIPT_SETTLED,
				     .seal_nos = sink->settled,
				     .seals_count = sink->settled_count };
	sink->settled_given = true;
}

/* Of all that wait: the more, the busier the ledger is. */
static enum err give_seal(struct eml_sink *sink, struct receipt *receipt)
{
	eml_seal_begin(&sink->seal);
	for (struct eml_letter *letter = sink->first; letter; letter = letter->next) {
		struct eml_record record = { .box_no = letter->box_no,
					     .no = letter->no,
					     .epoch = letter->epoch,
					     .size_bytes = letter->size_bytes,
					     .crc = letter->crc,
					     .mark = letter->mark,
					     .digest = letter->digest,
					     .kind = letter->kind };

		if (letter->state != EML_LETTER_FILLED)
			continue;
		memcpy(record.folder, letter->folder, sizeof record.folder);
		eml_seal_add(&sink->seal, &record);
		letter->seal_no = sink->next_seal_no;
		letter->state = EML_LETTER_SHOWN;
	}
	if (sink->seal.failed)
		return eml_sink_breaks(sink, RAISE(ERR_MEMORY_EXHAUSTED, "sealing messages"));
	*receipt = (struct receipt){ .kind = RECEIPT_SEALED,
				     .seal_no = sink->next_seal_no++,
				     .seal = { sink->seal.at, sink->seal.bytes } };
	return OK;
}

/* Nothing of the last receipt is borrowed any more. */
static void receipt_begin(struct eml_sink *sink, struct receipt *receipt)
{
	struct eml_letter *letter;

	*receipt = (struct receipt){ 0 };
	if (sink->settled_given)
		sink->settled_count = 0;
	sink->settled_given = false;
	while ((letter = eml_letter_in(sink, EML_LETTER_DROPPED)))
		letter_remove(sink, letter);
}

enum err eml_sink_receipt(struct sink *base, struct receipt *receipt)
{
	struct eml_sink *sink = eml_sink_of(base);
	struct eml_letter *letter;
	enum err e;

	receipt_begin(sink, receipt);
	if ((e = eml_sink_begin_sending(sink)))
		return eml_sink_breaks(sink, e);
	for (;; receipt_begin(sink, receipt)) {
		/* What is stored is said, also where something else has failed. */
		if (sink->settled_count < EML_LETTERS_MAX &&
		    (letter = eml_letter_in(sink, EML_LETTER_ANSWERED)))
			return give_receipt(sink, letter, receipt);
		if (sink->settled_count) {
			give_settled(sink, receipt);
			return OK;
		}
		if ((e = eml_sink_is_broken(sink)))
			return e;
		if (eml_letter_in(sink, EML_LETTER_FILLED))
			return give_seal(sink, receipt);
		if (sink->draining && !sink->first)
			return ERR_SINK_FINISHED;
		e = eml_sink_wait(sink);
		if (e == ERR_FIBER_TIMEOUT)
			err_note_clear();
		else if (e && !eml_letter_in(sink, EML_LETTER_ANSWERED))
			return e;
	}
}

enum err eml_sink_publish(struct sink *base, uint64_t seal_no)
{
	struct eml_sink *sink = eml_sink_of(base);

	for (struct eml_letter *letter = sink->first; letter; letter = letter->next)
		if (letter->seal_no == seal_no && letter->state == EML_LETTER_SHOWN)
			letter->state = letter->bytes ? EML_LETTER_SEALED : EML_LETTER_SENT;
	wake_all(&sink->changed);
	return OK;
}
