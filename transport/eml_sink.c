/* See eml_sink.h. The write fiber gathers messages, the receipt fiber has those that wait sealed
 * together, fibers of its own send them, several at once; what the service has answered is
 * receipted. After a cut each key that a seal names is looked at: what is there is stored, whether
 * the source still has the message or not, and the others are sent again. */
#include "transport/eml_sink.h"

#include <stdio.h>
#include <stdlib.h>

#include "engine/budget.h"
#include "engine/clock.h"
#include "transport/eml_sink_state.h"

/* Waiting for the other fiber has no deadline of its own; this only makes it a bounded one. */
#define WAIT_NS (3600 * NSEC_SECOND)

struct eml_sink *eml_sink_of(struct sink *sink)
{
	must(sink->type == &eml_sink);
	return CONTAINER_OF(sink, struct eml_sink, base);
}

enum err eml_sink_is_broken(const struct eml_sink *sink)
{
	return sink->broken ? RAISE(sink->broken, "%s", sink->broken_why) : OK;
}

enum err eml_sink_breaks(struct eml_sink *sink, enum err e)
{
	if (e && !sink->broken) {
		sink->broken = e;
		snprintf(sink->broken_why, sizeof sink->broken_why, "%s", err_note()->text);
	}
	wake_all(&sink->changed);
	return e;
}

enum err eml_sink_wait(struct eml_sink *sink)
{
	enum err e = wait_on(&sink->changed, clock_after(WAIT_NS));

	return e ? e : eml_sink_is_broken(sink);
}

enum crc_kind eml_sink_checksum(const struct eml_sink *sink)
{
	const char *prefix;

	return s3_opened_as(store_s3_bucket(sink->entry.store, &prefix))->checksum;
}

/* ---- opening ---- */

static void eml_sink_close(struct sink **sink_at)
{
	struct eml_sink *sink;

	if (!*sink_at)
		return;
	sink = eml_sink_of(*sink_at);
	*sink_at = NULL;
	for (struct eml_letter *next; sink->first; sink->first = next) {
		next = sink->first->next;
		eml_letter_free(sink->first);
	}
	buffer_free(&sink->seal);
	archive_boxes_free(&sink->boxes);
	eml_folders_free(&sink->folders);
	changes_close(&sink->changes);
	archive_entry_close(&sink->entry);
	free(sink);
}

static enum err place_open(struct eml_sink *sink, nsec until)
{
	enum err e = archive_entry_open(&sink->entry, &sink->way, &sink->config, "packs", until);

	return e || !sink->entry.store
		       ? e
		       : archive_entry_claim(&sink->entry, &sink->way, &sink->config);
}

static enum err eml_sink_open(struct sink **out, const struct account *account,
			      const struct sink_config *config, nsec until)
{
	struct eml_sink *sink = calloc(1, sizeof *sink);
	enum err e;

	*out = NULL;
	if (!sink)
		return RAISE(ERR_MEMORY_EXHAUSTED, "opening %s", account->shown);
	sink->base.type = &eml_sink;
	sink->config = *config;
	sink->way = *account;
	sink->next_seal_no = config->next_seal_no;
	sink->way.scheme = "s3";
	*out = &sink->base;
	e = account->s3 ? place_open(sink, until)
			: RAISE(ERR_INPUT_USAGE, "%s: single messages are stored in buckets only",
				account->shown);
	if (e)
		eml_sink_close(out);
	return e;
}

static enum err eml_sink_prepare(struct sink *base, const struct box *box)
{
	struct eml_sink *sink = eml_sink_of(base);
	enum err e;

	if ((e = archive_entry_enter(&sink->entry)) || (e = archive_boxes_add(&sink->boxes, box)) ||
	    box->fate || sink->config.dry_run)
		return e;
	return eml_folders_meet(&sink->folders, &sink->entry, box);
}

/* ---- putting ---- */

static uint64_t part_bytes(const struct eml_sink *sink)
{
	return sink->way.s3->part_bytes ? sink->way.s3->part_bytes : budget()->part_bytes;
}

/* Of all that is on its way as much as one part. One message always has room. */
static enum err wait_for_room(struct eml_sink *sink, uint64_t bytes)
{
	enum err e = eml_sink_is_broken(sink);

	while (!e && sink->letters > 0 &&
	       (sink->letters >= EML_LETTERS_MAX || sink->bytes + bytes > part_bytes(sink)))
		e = eml_sink_wait(sink);
	return e;
}

struct gathering {
	struct eml_letter *letter;
	size_t at;
};

static enum err gather(void *context, const uint8_t *from, size_t n)
{
	struct gathering *gathering = context;

	bytes_copy(gathering->letter->bytes + gathering->at, from, n, BYTES_STORE);
	gathering->at += n;
	return OK;
}

/* Pulls the body; what stands beside it is made when its digest is known. */
static enum err letter_fill(struct eml_letter *letter, struct item *item)
{
	struct gathering gathering = { letter, 0 };

	if (!(letter->bytes = malloc((size_t)item->size_bytes + 1)))
		return RAISE(ERR_MEMORY_EXHAUSTED, "gathering a message");
	budget_hold(BUDGET_WRITES, &letter->held, (size_t)item->size_bytes);
	return eml_letter_pull(item, gather, &gathering);
}

static enum err letter_make(struct eml_sink *sink, const struct pack_box *box,
			    const struct item *item, struct eml_letter **out)
{
	char folder[EML_FOLDER_KEY_BYTES_MAX + 1] = { 0 };
	struct eml_letter *letter;
	enum err e;

	if ((e = eml_folder_key(folder, box->name.at)) ||
	    (e = eml_folders_check(&sink->folders, &sink->entry, folder, box->name.at)))
		return e;
	if (!(*out = letter = calloc(1, sizeof *letter)))
		return RAISE(ERR_MEMORY_EXHAUSTED, "gathering a message");
	letter->box_no = box->box_no;
	letter->epoch = box->epoch;
	letter->no = item->no;
	letter->box = box->name;
	letter->meta = item->meta;
	letter->mark = mail_mark(&item->meta);
	letter->size_bytes = (uint64_t)item->size_bytes;
	memcpy(letter->folder, folder, sizeof folder);
	eml_message_key(letter->key, sink->entry.mailbox_key, folder, box->epoch, item->no);
	return OK;
}

static enum err eml_sink_put(struct sink *base, struct item *item)
{
	struct eml_sink *sink = eml_sink_of(base);
	const struct pack_box *box = archive_boxes_find(&sink->boxes, item->box_no);
	struct eml_letter *letter = NULL;
	bool is_large;
	enum err e;

	must(box && item->size_bytes != SIZE_UNKNOWN && !sink->draining && sink->entry.store);
	is_large = (uint64_t)item->size_bytes > part_bytes(sink);
	if ((e = wait_for_room(sink, is_large ? 0 : (uint64_t)item->size_bytes)) ||
	    (e = letter_make(sink, box, item, &letter)))
		return e;
	if (is_large)
		return eml_sink_upload(sink, letter, item);
	if ((e = letter_fill(letter, item))) {
		eml_letter_free(letter);
		return e;
	}
	letter->digest = item->digest;
	letter->kind = item->mail_kind;
	letter->crc = crc_update(eml_sink_checksum(sink), 0, letter->bytes, letter->size_bytes);
	letter->state = EML_LETTER_FILLED;
	eml_letter_say(sink, letter, &item->digest);
	eml_letter_append(sink, letter);
	return OK;
}

static enum err eml_sink_flush(struct sink *base)
{
	return eml_sink_is_broken(eml_sink_of(base)); /* all is on its way */
}

/* ---- changes of what was stored before ---- */

/* Two fibers have some to tell, one at a time. */
static enum err with_changes(struct eml_sink *sink, const struct change *change)
{
	enum err e = eml_sink_is_broken(sink);

	while (!e && sink->changing)
		e = eml_sink_wait(sink);
	if (e)
		return e;
	sink->changing = true;
	if (!sink->changes)
		e = changes_open(sink->entry.store, sink->entry.mailbox_key,
				 sink->entry.mailbox_name, &sink->changes);
	if (!e)
		e = change ? changes_add(sink->changes, change) : changes_flush(sink->changes);
	sink->changing = false;
	return eml_sink_breaks(sink, e);
}

static enum err eml_sink_amend(struct sink *base, const struct change *change)
{
	struct eml_sink *sink = eml_sink_of(base);
	enum err e = sink->config.dry_run ? OK : archive_entry_enter(&sink->entry);

	return e || sink->config.dry_run ? e : with_changes(sink, change);
}

static enum err eml_sink_amend_flush(struct sink *base)
{
	struct eml_sink *sink = eml_sink_of(base);

	return sink->changes ? with_changes(sink, NULL) : eml_sink_is_broken(sink);
}

enum err eml_sink_record_flags(struct eml_sink *sink, const struct eml_letter *letter)
{
	struct box *box = calloc(1, sizeof *box);
	struct change *change = calloc(1, sizeof *change);
	enum err e = box && change ? OK : RAISE(ERR_MEMORY_EXHAUSTED, "recording flags");

	if (!e) {
		snprintf(box->name, sizeof box->name, "%.*s", (int)letter->box.bytes,
			 letter->box.at);
		box->epoch = letter->epoch;
		*change = (struct change){ .kind = CHANGE_REFLAGGED,
					   .box = box,
					   .epoch = letter->epoch,
					   .no = letter->no,
					   .meta = letter->meta };
		e = eml_sink_amend(&sink->base, change);
	}
	free(box);
	free(change);
	return e ? e : eml_sink_amend_flush(&sink->base);
}

/* ---- the end ---- */

static void eml_sink_drain(struct sink *base)
{
	struct eml_sink *sink = eml_sink_of(base);

	sink->draining = true;
	wake_all(&sink->changed);
}

static enum err eml_sink_finish(struct sink *base, nsec until)
{
	struct eml_sink *sink = eml_sink_of(base);
	enum err e = eml_sink_amend_flush(base);

	if (sink->entry.store)
		sink->entry.store->type->finish(sink->entry.store, until);
	return e;
}

const struct sink_driver eml_sink = {
	.scheme = "s3+eml",
	.open = eml_sink_open,
	.prepare = eml_sink_prepare,
	.find = eml_sink_find,
	.put = eml_sink_put,
	.amend = eml_sink_amend,
	.amend_flush = eml_sink_amend_flush,
	.flush = eml_sink_flush,
	.receipt = eml_sink_receipt,
	.end_receipts = eml_sink_end_receipts,
	.publish = eml_sink_publish,
	.drain = eml_sink_drain,
	.finish = eml_sink_finish,
	.close = eml_sink_close,
};
