/* See eml_sink.h. The write fiber gathers messages, the receipt fiber has those that wait sealed
 * together, fibers of its own send them, several at once; what the service has answered is
 * receipted. After a cut each key that a seal names is looked at: what is there is stored, whether
 * the source still has the message or not, and the others are sent again. */
#include "transport/eml_sink.h"

#include <stdio.h>
#include <stdlib.h>

#include "engine/budget.h"
#include "engine/clock.h"
#include "engine/fiber.h"
#include "engine/log.h"
#include "transport/archive_boxes.h"
#include "transport/changes.h"
#include "transport/eml_folders.h"
#include "transport/eml_seal.h"
#include "transport/mime_said.h"
#include "transport/store_s3.h"

enum {
	SENDERS_MAX = 16,
	SENDERS_OF_MANY = 4, /* where there are several mailboxes to be sent at once */
	LETTERS_MAX = 64,    /* gathered, on their way, or waiting for their receipt */
};
/* Waiting for the other fiber has no deadline of its own; this only makes it a bounded one. */
#define WAIT_NS (3600 * NSEC_SECOND)

/* A message on its way to being receipted. */
struct letter {
	enum letter_state {
		LETTER_FILLING, /* a large one, as it comes */
		LETTER_FILLED,
		LETTER_SHOWN,  /* its seal was given to the lane, */
		LETTER_SEALED, /* and is durable: it may be sent */
		LETTER_SENT,   /* one of the fibers has it */
		LETTER_ANSWERED,
		LETTER_DROPPED, /* it is not there, and will not be */
	} state;
	uint64_t seal_no; /* 0: none yet */
	bool was_sealed;  /* by an earlier run */
	uint64_t box_no, no, epoch, size_bytes;
	char folder[EML_FOLDER_KEY_BYTES_MAX + 1], key[STORE_KEY_BYTES_MAX + 1];
	struct text box; /* its name; lives as long as the sink */
	uint8_t *bytes;	 /* NULL: a large one, or of an earlier run */
	size_t held;	 /* of the budget */
	struct digest digest;
	uint64_t crc;
	struct mail_meta meta;
	uint64_t mark; /* mail_mark() of it */
	enum mail_kind kind;
	struct mime_saying saying;
	enum store_s3_there there; /* what was there before; of SAME, with other flags: */
	bool is_reflagged;
	struct letter *next;
};

struct eml_sink {
	struct sink base;
	struct sink_config config;
	struct account way;
	struct archive_entry entry;
	struct archive_boxes boxes;
	struct eml_folders folders;
	struct letter *first, *last;
	unsigned letters;
	uint64_t bytes; /* of letters */
	uint64_t next_seal_no;
	struct buffer seal;		   /* the one that was given last */
	uint64_t settled[LETTERS_MAX + 1]; /* seals that no letter has any more */
	size_t settled_count;
	bool settled_given; /* with the last receipt */
	struct group *sending;
	struct changes *changes; /* from the first one on */
	bool changing;		 /* somebody is writing into them */
	struct wait_queue changed;
	enum err broken;
	char broken_why[ERR_NOTE_BYTES_MAX];
	bool draining;
};

static struct eml_sink *sink_of(struct sink *sink)
{
	must(sink->type == &eml_sink);
	return CONTAINER_OF(sink, struct eml_sink, base);
}

/* What failed in one fiber fails in the others, with the same words. */
static enum err is_broken(struct eml_sink *sink)
{
	return sink->broken ? RAISE(sink->broken, "%s", sink->broken_why) : OK;
}

static enum err breaks(struct eml_sink *sink, enum err e)
{
	if (e && !sink->broken) {
		sink->broken = e;
		snprintf(sink->broken_why, sizeof sink->broken_why, "%s", err_note()->text);
	}
	wake_all(&sink->changed);
	return e;
}

static enum err wait_for_change(struct eml_sink *sink)
{
	enum err e = wait_on(&sink->changed, clock_after(WAIT_NS));

	return e ? e : is_broken(sink);
}

/* ---- opening ---- */

static void letter_free(struct letter *letter)
{
	budget_hold(BUDGET_WRITES, &letter->held, 0);
	free(letter->bytes);
	free(letter);
}

static void eml_sink_close(struct sink **sink_at)
{
	struct eml_sink *sink;

	if (!*sink_at)
		return;
	sink = sink_of(*sink_at);
	*sink_at = NULL;
	for (struct letter *next; sink->first; sink->first = next) {
		next = sink->first->next;
		letter_free(sink->first);
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
	struct eml_sink *sink = sink_of(base);
	enum err e;

	if ((e = archive_entry_enter(&sink->entry)) || (e = archive_boxes_add(&sink->boxes, box)) ||
	    box->fate || sink->config.dry_run)
		return e;
	return eml_folders_meet(&sink->folders, &sink->entry, box);
}

/* ---- gathering ---- */

static void letter_append(struct eml_sink *sink, struct letter *letter)
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

static enum crc_kind checksum_of(const struct eml_sink *sink)
{
	const char *prefix;

	return s3_opened_as(store_s3_bucket(sink->entry.store, &prefix))->checksum;
}

static uint64_t part_bytes(const struct eml_sink *sink)
{
	return sink->way.s3->part_bytes ? sink->way.s3->part_bytes : budget()->part_bytes;
}

/* Of all that is on its way as much as one part. One message always has room. */
static enum err wait_for_room(struct eml_sink *sink, uint64_t bytes)
{
	enum err e = is_broken(sink);

	while (!e && sink->letters > 0 &&
	       (sink->letters >= LETTERS_MAX || sink->bytes + bytes > part_bytes(sink)))
		e = wait_for_change(sink);
	return e;
}

typedef enum err take_bytes(void *context, const uint8_t *, size_t);

/* All of the body, which must be as long as was said. */
static enum err pull(struct item *item, take_bytes *take, void *context)
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

struct gathering {
	struct letter *letter;
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
static enum err letter_fill(struct letter *letter, struct item *item)
{
	struct gathering gathering = { letter, 0 };

	if (!(letter->bytes = malloc((size_t)item->size_bytes + 1)))
		return RAISE(ERR_MEMORY_EXHAUSTED, "gathering a message");
	budget_hold(BUDGET_WRITES, &letter->held, (size_t)item->size_bytes);
	return pull(item, gather, &gathering);
}

static void letter_say(struct eml_sink *sink, struct letter *letter, const struct digest *digest)
{
	unsigned dropped = mime_saying_make(&letter->saying, letter->epoch, letter->no,
					    &letter->meta, sink->config.digest->name, digest);

	if (dropped > letter->meta.keywords_dropped)
		log_event(LOG_WARN, "eml.keywords_left_out", "box=%llu no=%llu keywords=%u",
			  (unsigned long long)letter->box_no, (unsigned long long)letter->no,
			  dropped - letter->meta.keywords_dropped);
}

/* ---- large ones ---- */

struct uploading {
	struct store *store;
	struct store_put *put;
	enum crc_kind checksum;
	uint64_t crc;
	enum err failed; /* the store, not the source */
};

static enum err upload_bytes(void *context, const uint8_t *from, size_t n)
{
	struct uploading *uploading = context;

	uploading->crc = crc_update(uploading->checksum, uploading->crc, from, n);
	return uploading->failed = uploading->store->type->put_write(uploading->put, from, n);
}

/* An earlier run stored it: whether with other flags than it has now. */
static enum err compare_flags(struct eml_sink *sink, struct letter *letter)
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

/* Somebody else's hand, or a server that lags: nothing is told of what is not there. */
static enum err check_there(const struct letter *letter)
{
	return letter->there != STORE_S3_ABSENT
		       ? OK
		       : RAISE(ERR_S3_UNAVAILABLE,
			       "%s was there, and is not any more: somebody else writes there; see "
			       "who, and run again",
			       letter->key);
}

static enum err upload_end(struct eml_sink *sink, struct uploading *uploading,
			   struct letter *letter)
{
	struct store *store = uploading->store;
	enum err e;

	if (!(e = store->type->put_seal(uploading->put)))
		e = store->type->put_publish(&uploading->put);
	if (e == ERR_DISK_EXISTS) {
		err_note_clear();
		e = store_s3_look(store, letter->key, letter->size_bytes, uploading->crc,
				  &letter->there);
		if (!e)
			e = check_there(letter);
		if (!e && letter->there == STORE_S3_SAME)
			e = compare_flags(sink, letter);
	}
	return uploading->failed = e;
}

/* All of it was sent, and nothing of it is there before its seal is durable. */
static enum err upload_seal(struct eml_sink *sink, struct uploading *uploading,
			    struct letter *letter, const struct item *item)
{
	enum err e = is_broken(sink);

	letter->digest = item->digest;
	letter->kind = item->mail_kind;
	letter->crc = uploading->crc;
	letter->state = LETTER_FILLED;
	wake_all(&sink->changed);
	while (!e && letter->state != LETTER_SENT)
		e = wait_for_change(sink);
	return uploading->failed = e;
}

/* By parts, as it comes: it is there before put() returns, or nothing of it is. The receipt fiber
 * lets go of the letter. */
static enum err letter_upload(struct eml_sink *sink, struct letter *letter, struct item *item)
{
	struct uploading uploading = { .store = sink->entry.store, .checksum = checksum_of(sink) };
	enum err e;

	letter->state = LETTER_FILLING;
	letter_append(sink, letter);
	letter_say(sink, letter, NULL);
	e = uploading.failed =
		store_s3_put_open_with(sink->entry.store, letter->key, letter->saying.metadata,
				       letter->saying.count, &uploading.put);
	if (!e && !(e = pull(item, upload_bytes, &uploading)) &&
	    !(e = upload_seal(sink, &uploading, letter, item)))
		e = upload_end(sink, &uploading, letter);
	sink->entry.store->type->put_abort(&uploading.put);
	if (uploading.failed && err_retry_class(e) != RETRY_SKIP_MSG)
		return breaks(sink, e); /* and what became of it is for the next run to see */
	letter->state = e ? LETTER_DROPPED : LETTER_ANSWERED;
	wake_all(&sink->changed);
	return e;
}

/* ---- putting ---- */

static enum err letter_make(struct eml_sink *sink, const struct pack_box *box,
			    const struct item *item, struct letter **out)
{
	char folder[EML_FOLDER_KEY_BYTES_MAX + 1] = { 0 };
	struct letter *letter;
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
	struct eml_sink *sink = sink_of(base);
	const struct pack_box *box = archive_boxes_find(&sink->boxes, item->box_no);
	struct letter *letter = NULL;
	bool is_large;
	enum err e;

	must(box && item->size_bytes != SIZE_UNKNOWN && !sink->draining && sink->entry.store);
	is_large = (uint64_t)item->size_bytes > part_bytes(sink);
	if ((e = wait_for_room(sink, is_large ? 0 : (uint64_t)item->size_bytes)) ||
	    (e = letter_make(sink, box, item, &letter)))
		return e;
	if (is_large)
		return letter_upload(sink, letter, item);
	if ((e = letter_fill(letter, item))) {
		letter_free(letter);
		return e;
	}
	letter->digest = item->digest;
	letter->kind = item->mail_kind;
	letter->crc = crc_update(checksum_of(sink), 0, letter->bytes, letter->size_bytes);
	letter->state = LETTER_FILLED;
	letter_say(sink, letter, &item->digest);
	letter_append(sink, letter);
	return OK;
}

static enum err eml_sink_flush(struct sink *base)
{
	return is_broken(sink_of(base)); /* all is on its way */
}

/* ---- sending ---- */

static struct letter *letter_in(const struct eml_sink *sink, enum letter_state state)
{
	struct letter *letter = sink->first;

	while (letter && letter->state != state)
		letter = letter->next;
	return letter;
}

static enum err letter_send(struct eml_sink *sink, struct letter *letter)
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
		e = compare_flags(sink, letter);
	return e;
}

/* One of the fibers that send. */
static enum err send_letters(void *argument)
{
	struct eml_sink *sink = argument;
	struct letter *letter;
	enum err e = OK;

	while (!e) {
		if (!(letter = letter_in(sink, LETTER_SEALED))) {
			e = wait_for_change(sink);
			if (e == ERR_FIBER_TIMEOUT) {
				err_note_clear();
				e = OK;
			}
			continue;
		}
		letter->state = LETTER_SENT;
		if (!(e = letter_send(sink, letter)))
			letter->state = LETTER_ANSWERED;
		(void)breaks(sink, e);
	}
	return e;
}

/* By the fiber that asks for receipts, because it outlives the one that puts. */
static enum err begin_sending(struct eml_sink *sink)
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

static void eml_sink_end_receipts(struct sink *base)
{
	struct eml_sink *sink = sink_of(base);

	if (!sink->sending)
		return;
	group_cancel(sink->sending);
	if (group_join(&sink->sending))
		err_note_clear(); /* it was called off, or is said by receipt() */
}

/* ---- changes of what was stored before ---- */

/* Two fibers have some to tell, one at a time. */
static enum err with_changes(struct eml_sink *sink, const struct change *change)
{
	enum err e = is_broken(sink);

	while (!e && sink->changing)
		e = wait_for_change(sink);
	if (e)
		return e;
	sink->changing = true;
	if (!sink->changes)
		e = changes_open(sink->entry.store, sink->entry.mailbox_key,
				 sink->entry.mailbox_name, &sink->changes);
	if (!e)
		e = change ? changes_add(sink->changes, change) : changes_flush(sink->changes);
	sink->changing = false;
	return breaks(sink, e);
}

static enum err eml_sink_amend(struct sink *base, const struct change *change)
{
	struct eml_sink *sink = sink_of(base);
	enum err e = sink->config.dry_run ? OK : archive_entry_enter(&sink->entry);

	return e || sink->config.dry_run ? e : with_changes(sink, change);
}

static enum err eml_sink_amend_flush(struct sink *base)
{
	struct eml_sink *sink = sink_of(base);

	return sink->changes ? with_changes(sink, NULL) : is_broken(sink);
}

/* What is stored says other flags than the ledger is about to know. */
static enum err record_flags(struct eml_sink *sink, const struct letter *letter)
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

/* ---- receipts ---- */

/* The last letter of a seal lets the ledger forget it. */
static void letter_remove(struct eml_sink *sink, struct letter *letter)
{
	struct letter **at = &sink->first, *before = NULL;
	uint64_t seal_no = letter->seal_no;

	for (; *at != letter; at = &(*at)->next)
		before = *at;
	*at = letter->next;
	if (sink->last == letter)
		sink->last = before;
	sink->letters--;
	sink->bytes -= letter->held;
	letter_free(letter);
	wake_all(&sink->changed);
	for (letter = sink->first; letter; letter = letter->next)
		if (letter->seal_no == seal_no)
			return;
	must(sink->settled_count < ARRAY_COUNT(sink->settled));
	if (seal_no)
		sink->settled[sink->settled_count++] = seal_no;
}

static enum err give_receipt(struct eml_sink *sink, struct letter *letter, struct receipt *receipt)
{
	bool is_other = letter->there == STORE_S3_OTHER;
	enum err e;

	if (letter->is_reflagged && (e = record_flags(sink, letter)))
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
	for (struct letter *letter = sink->first; letter; letter = letter->next) {
		struct eml_record record = { .box_no = letter->box_no,
					     .no = letter->no,
					     .epoch = letter->epoch,
					     .size_bytes = letter->size_bytes,
					     .crc = letter->crc,
					     .mark = letter->mark,
					     .digest = letter->digest,
					     .kind = letter->kind };

		if (letter->state != LETTER_FILLED)
			continue;
		memcpy(record.folder, letter->folder, sizeof record.folder);
		eml_seal_add(&sink->seal, &record);
		letter->seal_no = sink->next_seal_no;
		letter->state = LETTER_SHOWN;
	}
	if (sink->seal.failed)
		return breaks(sink, RAISE(ERR_MEMORY_EXHAUSTED, "sealing messages"));
	*receipt = (struct receipt){ .kind = RECEIPT_SEALED,
				     .seal_no = sink->next_seal_no++,
				     .seal = { sink->seal.at, sink->seal.bytes } };
	return OK;
}

/* Nothing of the last receipt is borrowed any more. */
static void receipt_begin(struct eml_sink *sink, struct receipt *receipt)
{
	struct letter *letter;

	*receipt = (struct receipt){ 0 };
	if (sink->settled_given)
		sink->settled_count = 0;
	sink->settled_given = false;
	while ((letter = letter_in(sink, LETTER_DROPPED)))
		letter_remove(sink, letter);
}

static enum err eml_sink_receipt(struct sink *base, struct receipt *receipt)
{
	struct eml_sink *sink = sink_of(base);
	struct letter *letter;
	enum err e;

	receipt_begin(sink, receipt);
	if ((e = begin_sending(sink)))
		return breaks(sink, e);
	for (;; receipt_begin(sink, receipt)) {
		/* What is stored is said, also where something else has failed. */
		if (sink->settled_count < LETTERS_MAX &&
		    (letter = letter_in(sink, LETTER_ANSWERED)))
			return give_receipt(sink, letter, receipt);
		if (sink->settled_count) {
			give_settled(sink, receipt);
			return OK;
		}
		if ((e = is_broken(sink)))
			return e;
		if (letter_in(sink, LETTER_FILLED))
			return give_seal(sink, receipt);
		if (sink->draining && !sink->first)
			return ERR_SINK_FINISHED;
		e = wait_for_change(sink);
		if (e == ERR_FIBER_TIMEOUT)
			err_note_clear();
		else if (e && !letter_in(sink, LETTER_ANSWERED))
			return e;
	}
}

static enum err eml_sink_publish(struct sink *base, uint64_t seal_no)
{
	struct eml_sink *sink = sink_of(base);

	for (struct letter *letter = sink->first; letter; letter = letter->next)
		if (letter->seal_no == seal_no && letter->state == LETTER_SHOWN)
			letter->state = letter->bytes ? LETTER_SEALED : LETTER_SENT;
	wake_all(&sink->changed);
	return OK;
}

/* ---- after a restart ---- */

/* Of a message that a seal names; NULL: it is settled, or not there. One whose flags are not known
 * for sure is told of again. */
static enum err letter_find(struct eml_sink *sink, const struct eml_record *record,
			    struct letter **out)
{
	enum sink_known known = SINK_KNOWN_OPEN;
	struct letter *letter = calloc(1, sizeof *letter);
	enum err e = letter ? OK : RAISE(ERR_MEMORY_EXHAUSTED, "looking for a message");

	*out = NULL;
	if (e)
		return e;
	*letter = (struct letter){ .state = LETTER_ANSWERED,
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
	if (!e && letter->there == STORE_S3_SAME && !(e = compare_flags(sink, letter)) &&
	    letter->is_reflagged) {
		letter->is_reflagged = false;
		letter->mark = 0;
	}
	if (e || letter->there == STORE_S3_ABSENT)
		letter_free(letter);
	else
		*out = letter;
	return e;
}

/* Its letters are handed to the receipt fiber all at once: none is the seal's last before the
 * others are known. */
static enum err seal_find(struct eml_sink *sink, uint64_t seal_no, struct text seal, size_t count,
			  enum seal_fate *fate)
{
	struct letter *found = NULL, *letter;
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
			letter_free(letter);
		else
			letter_append(sink, letter);
	}
	return e;
}

static enum err eml_sink_find(struct sink *base, uint64_t seal_no, struct text seal,
			      enum seal_fate *fate)
{
	struct eml_sink *sink = sink_of(base);
	size_t count;

	*fate = SEAL_ABSENT;
	if (!eml_seal_read(seal, &count))
		return RAISE(ERR_SINK_FOREIGN,
			     "%s: an earlier run left pack %llu of this mailbox unsettled; run "
			     "once more with the layout that it had",
			     sink->way.shown, (unsigned long long)seal_no);
	return seal_find(sink, seal_no, seal, count, fate);
}

static void eml_sink_drain(struct sink *base)
{
	struct eml_sink *sink = sink_of(base);

	sink->draining = true;
	wake_all(&sink->changed);
}

static enum err eml_sink_finish(struct sink *base, nsec until)
{
	struct eml_sink *sink = sink_of(base);
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
