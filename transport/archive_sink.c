/* The sink that fills an archive. The write fiber fills packs; the receipt fiber forces them to
 * disk, hands out their seals, makes them visible and receipts their messages, while the next pack
 * fills. docs/FORMAT.md section 6 has the order. Not for: what a pack looks like (pack.c), where
 * files lie (store.h). */
#include <stdio.h>
#include <stdlib.h>

#include "engine/budget.h"
#include "engine/clock.h"
#include "engine/fiber.h"
#include "engine/sink.h"
#include "transport/archive_boxes.h"
#include "transport/archive_entry.h"
#include "transport/changes.h"
#include "transport/manifest.h"
#include "transport/pack.h"

extern const struct sink_driver archive_sink;

/* Long enough for packs of useful size from a slow source, short enough that a cut costs little. */
#define PACK_OPEN_NS (60 * NSEC_SECOND)
/* Waiting for the other fiber has no deadline of its own; this only makes it a bounded one. */
#define WAIT_NS (3600 * NSEC_SECOND)

/* A pack that is complete, on its way to being receipted. */
struct sealed {
	enum sealed_state {
		SEALED_FILLED,	  /* its writes are under way */
		SEALED_SHOWN,	  /* its seal was given to the lane */
		SEALED_PUBLISHED, /* visible: receipts follow */
	} state;
	uint64_t seal_no;
	struct pack_done done;
	struct buffer seal;
	struct text records;
	size_t record_bytes, next_record;
	size_t held; /* of the budget */
	struct sealed *next;
};

struct archive_sink {
	struct sink base;
	struct sink_config config;
	struct archive_entry entry;
	struct group *serving; /* of who serves the store, while receipts are asked for */
	struct pack *pack;
	uint64_t seal_no; /* of the pack being filled, or the next one */
	nsec pack_opened;
	struct archive_boxes boxes;
	struct manifest_boxes manifest;
	struct changes *changes;     /* from the first one on */
	struct sealed *first, *last; /* oldest first */
	struct sealed *answered;     /* its receipt is borrowed until the next one */
	unsigned filled;
	struct wait_queue changed;
	enum err broken;
	char broken_why[ERR_NOTE_BYTES_MAX];
	bool draining;
};

static struct archive_sink *sink_of(struct sink *sink)
{
	must(sink->type == &archive_sink);
	return CONTAINER_OF(sink, struct archive_sink, base);
}

/* What failed in one fiber fails in the other, with the same words. */
static enum err is_broken(struct archive_sink *sink)
{
	return sink->broken ? RAISE(sink->broken, "%s", sink->broken_why) : OK;
}

static enum err breaks(struct archive_sink *sink, enum err e)
{
	if (e && !sink->broken) {
		sink->broken = e;
		snprintf(sink->broken_why, sizeof sink->broken_why, "%s", err_note()->text);
	}
	wake_all(&sink->changed);
	return e;
}

/* Waits for a change made by the other fiber. */
static enum err wait_for_change(struct archive_sink *sink)
{
	enum err e = wait_on(&sink->changed, clock_after(WAIT_NS));

	return e ? e : is_broken(sink);
}

/* ---- opening ---- */

static void sealed_free(struct archive_sink *sink, struct sealed **sealed)
{
	if (*sealed) {
		budget_hold(BUDGET_PACKS, &(*sealed)->held, 0);
		pack_done_free(sink->entry.store, &(*sealed)->done);
		buffer_free(&(*sealed)->seal);
	}
	free(*sealed);
	*sealed = NULL;
}

static void hold(struct sealed *sealed)
{
	budget_hold(BUDGET_PACKS, &sealed->held,
		    sealed->done.records.room + sealed->done.index.room + sealed->seal.room);
}

static void archive_sink_close(struct sink **sink_at)
{
	struct archive_sink *sink;

	if (!*sink_at)
		return;
	sink = sink_of(*sink_at);
	*sink_at = NULL;
	for (struct sealed *next; sink->first; sink->first = next) {
		next = sink->first->next;
		sealed_free(sink, &sink->first);
	}
	sealed_free(sink, &sink->answered);
	archive_boxes_free(&sink->boxes);
	manifest_boxes_free(&sink->manifest);
	pack_close(&sink->pack);
	changes_close(&sink->changes);
	archive_entry_close(&sink->entry);
	free(sink);
}

/* Sealed packs have numbers below next_seal_no, and only those become visible. */
static enum err check_packs(struct archive_sink *sink, const char *shown)
{
	char prefix[STORE_KEY_BYTES_MAX + 1];
	struct buffer names = { 0 };
	const char *name = NULL;
	uint64_t number;
	enum err e;

	snprintf(prefix, sizeof prefix, "%s/packs", sink->entry.mailbox_key);
	e = sink->entry.store->type->list(sink->entry.store, prefix, &names);
	while (!e && store_names_next(&names, &name))
		if (pack_number(name, &number) && number >= sink->config.next_seal_no)
			e = RAISE(
				ERR_SINK_LEDGER_LOST,
				"%s holds pack %s of this mailbox, which the ledger does not know: "
				"is it an old copy of the ledger, or was the mailbox filled from "
				"another source?",
				shown, name);
	buffer_free(&names);
	return e;
}

static enum err place_open(struct archive_sink *sink, const struct account *account, nsec until)
{
	enum err e = archive_entry_open(&sink->entry, account, &sink->config, "eml", until);

	if (e || !sink->entry.store || (e = check_packs(sink, account->shown)))
		return e;
	return archive_entry_claim(&sink->entry, account, &sink->config);
}

static enum err packs_open(struct archive_sink *sink)
{
	const struct pack_config config = {
		.store = sink->entry.store,
		.digest = sink->config.digest,
		.digest_of_store = sink->config.digest_of_store,
		.zstd_level = sink->config.zstd_level,
		.pack_bytes = sink->config.pack_bytes,
		.mailbox_name = sink->entry.mailbox_name,
	};

	return sink->config.dry_run ? OK : pack_open(&config, &sink->pack);
}

static enum err archive_sink_open(struct sink **out, const struct account *account,
				  const struct sink_config *config, nsec until)
{
	struct archive_sink *sink = calloc(1, sizeof *sink);
	enum err e;

	*out = NULL;
	if (!sink)
		return RAISE(ERR_MEMORY_EXHAUSTED, "opening %s", account->shown);
	sink->base.type = &archive_sink;
	sink->config = *config;
	sink->seal_no = config->next_seal_no;
	*out = &sink->base;
	if ((e = place_open(sink, account, until)) || (e = packs_open(sink)))
		archive_sink_close(out);
	return e;
}

static enum err archive_sink_prepare(struct sink *base, const struct box *box)
{
	struct archive_sink *sink = sink_of(base);
	enum err e = archive_entry_enter(&sink->entry);

	if (!e)
		e = archive_boxes_add(&sink->boxes, box);
	return e ? e : manifest_boxes_add(&sink->manifest, box);
}

/* ---- filling packs ---- */

static void sealed_append(struct archive_sink *sink, struct sealed *sealed)
{
	if (sink->last)
		sink->last->next = sealed;
	else
		sink->first = sealed;
	sink->last = sealed;
	wake_all(&sink->changed);
}

/* The pack being filled is complete: over to the receipt fiber. */
static enum err pack_finish(struct archive_sink *sink)
{
	struct sealed *sealed;
	enum err e;

	while (sink->filled >= budget()->filled)
		if ((e = wait_for_change(sink)))
			return e;
	if (!(sealed = calloc(1, sizeof *sealed)))
		return breaks(sink, RAISE(ERR_MEMORY_EXHAUSTED, "sealing a pack"));
	if ((e = pack_end(sink->pack, &sealed->done))) {
		free(sealed);
		return breaks(sink, e);
	}
	hold(sealed);
	sealed->state = SEALED_FILLED;
	sealed->seal_no = sink->seal_no++;
	sink->filled++;
	sealed_append(sink, sealed);
	return OK;
}

static enum err pack_start(struct archive_sink *sink)
{
	char key[STORE_KEY_BYTES_MAX + 1];
	nsec wall = clock_wall();

	if (pack_is_begun(sink->pack))
		return OK;
	pack_key(key, sink->entry.mailbox_key, sink->seal_no, sink->config.zstd_level > 0);
	sink->pack_opened = clock_now();
	return breaks(sink, pack_begin(sink->pack, key, wall > 0 ? wall / NSEC_SECOND : 0));
}

static enum err archive_sink_put(struct sink *base, struct item *item)
{
	struct archive_sink *sink = sink_of(base);
	const struct pack_box *box = archive_boxes_find(&sink->boxes, item->box_no);
	bool pack_broken;
	enum err e;

	must(box && item->size_bytes != SIZE_UNKNOWN && !sink->draining && sink->pack);
	if ((e = is_broken(sink)))
		return e;
	if (pack_is_begun(sink->pack) && clock_now() - sink->pack_opened > PACK_OPEN_NS &&
	    (e = pack_finish(sink)))
		return e;
	if ((e = pack_start(sink)))
		return e;
	if ((e = pack_add(sink->pack, box, item, &pack_broken)))
		return pack_broken ? breaks(sink, e) : e;
	return pack_is_full(sink->pack) ? pack_finish(sink) : OK;
}

static enum err archive_sink_flush(struct sink *base)
{
	struct archive_sink *sink = sink_of(base);
	enum err e = is_broken(sink);

	return e || !sink->pack || !pack_is_begun(sink->pack) ? e : pack_finish(sink);
}

/* ---- changes of what was stored before ---- */

static enum err archive_sink_amend(struct sink *base, const struct change *change)
{
	struct archive_sink *sink = sink_of(base);
	enum err e = is_broken(sink);

	if (e || sink->config.dry_run || (e = archive_entry_enter(&sink->entry)))
		return e;
	if (!sink->changes && (e = changes_open(sink->entry.store, sink->entry.mailbox_key,
						sink->entry.mailbox_name, &sink->changes)))
		return breaks(sink, e);
	return breaks(sink, changes_add(sink->changes, change));
}

static enum err archive_sink_amend_flush(struct sink *base)
{
	struct archive_sink *sink = sink_of(base);
	enum err e = is_broken(sink);

	return !e && sink->changes ? breaks(sink, changes_flush(sink->changes)) : e;
}

static void archive_sink_drain(struct sink *base)
{
	struct archive_sink *sink = sink_of(base);

	sink->draining = true;
	wake_all(&sink->changed);
}

/* ---- receipts ---- */

static enum err seal_make(struct archive_sink *sink, struct sealed *sealed)
{
	const struct pack_done *done = &sealed->done;
	struct seal seal = {
		.stored_bytes = done->stored_bytes,
		.digest = done->digest,
		.key = text_of(done->key),
		.records = { done->records.at, done->records.bytes },
		.index = { done->index.at, done->index.bytes },
	};
	enum err e;

	if ((e = sink->entry.store->type->put_seal(done->put)))
		return e;
	seal_write(&sealed->seal, &seal);
	hold(sealed);
	if (sealed->seal.failed)
		return RAISE(ERR_MEMORY_EXHAUSTED, "sealing %s", done->key);
	sealed->records = seal.records;
	sealed->record_bytes = SEAL_RECORD_BYTES;
	return OK;
}

/* The seal of the oldest pack. */
static enum err give_seal(struct archive_sink *sink, struct sealed *sealed, struct receipt *receipt)
{
	enum err e = seal_make(sink, sealed);

	sink->filled--;
	sealed->state = SEALED_SHOWN;
	if (breaks(sink, e))
		return e;
	receipt->kind = RECEIPT_SEALED;
	receipt->seal_no = sealed->seal_no;
	receipt->seal = (struct text){ sealed->seal.at, sealed->seal.bytes };
	return OK;
}

/* The next message of the oldest pack; behind the last one the pack itself. */
static void give_receipt(struct archive_sink *sink, struct sealed *sealed, struct receipt *receipt)
{
	struct seal_record record;

	receipt->seal_no = sealed->seal_no;
	if (sealed->next_record == sealed->records.bytes / sealed->record_bytes) {
		receipt->kind = RECEIPT_SETTLED;
		sink->first = sealed->next;
		if (!sink->first)
			sink->last = NULL;
		sink->answered = sealed;
		return;
	}
	seal_record_get(sealed->records, sealed->record_bytes, sealed->next_record++, &record);
	receipt->kind = RECEIPT_STORED;
	receipt->box_no = record.box_no;
	receipt->no = record.no;
	receipt->size_bytes = record.size_bytes;
	receipt->digest = record.digest;
	receipt->mark = record.mark;
	receipt->mail_kind =
		record.kind < MAIL_KIND_COUNT ? (enum mail_kind)record.kind : MAIL_PLAIN;
}

static enum err serve(void *argument)
{
	struct store *store = argument;

	return store->type->serve(store);
}

/* By the fiber that asks for receipts, because it outlives the one that fills packs. */
static enum err begin_serving(struct archive_sink *sink)
{
	if (sink->serving || !sink->entry.store || !sink->entry.store->type->serve)
		return OK;
	sink->serving = group_open();
	return group_spawn(sink->serving, "store", FIBER_STACK_LARGE, serve, sink->entry.store);
}

static void archive_sink_end_receipts(struct sink *base)
{
	struct archive_sink *sink = sink_of(base);

	if (!sink->serving)
		return;
	group_cancel(sink->serving);
	if (group_join(&sink->serving))
		err_note_clear(); /* it was called off */
}

static enum err archive_sink_receipt(struct sink *base, struct receipt *receipt)
{
	struct archive_sink *sink = sink_of(base);
	enum err e;

	sealed_free(sink, &sink->answered);
	*receipt = (struct receipt){ 0 };
	if ((e = begin_serving(sink)))
		return breaks(sink, e);
	for (;;) {
		if ((e = is_broken(sink)))
			return e;
		if (sink->first && sink->first->state == SEALED_FILLED)
			return give_seal(sink, sink->first, receipt);
		if (sink->first) {
			must(sink->first->state == SEALED_PUBLISHED); /* publish() comes first */
			give_receipt(sink, sink->first, receipt);
			return OK;
		}
		if (sink->draining && (!sink->pack || !pack_is_begun(sink->pack)))
			return ERR_SINK_FINISHED;
		e = sink->draining ? pack_finish(sink) : wait_for_change(sink);
		if (e == ERR_FIBER_TIMEOUT)
			err_note_clear();
		else if (e)
			return e;
	}
}

static enum err write_index(struct archive_sink *sink, const char *key, struct text index)
{
	char index_key[STORE_KEY_BYTES_MAX + 1];

	pack_index_key(index_key, key);
	return store_put_whole(sink->entry.store, index_key, index.at, index.bytes);
}

static enum err archive_sink_publish(struct sink *base, uint64_t seal_no)
{
	struct archive_sink *sink = sink_of(base);
	struct sealed *sealed = sink->first;
	struct pack_done *done;
	enum err e;

	must(sealed && sealed->seal_no == seal_no && sealed->state == SEALED_SHOWN);
	if ((e = is_broken(sink)))
		return e;
	done = &sealed->done;
	e = sink->entry.store->type->put_publish(&done->put);
	if (e == ERR_DISK_EXISTS) {
		err_note_clear();
		e = RAISE(ERR_SINK_DAMAGED, "%s is there already; we never wrote it", done->key);
	}
	if (!e)
		e = write_index(sink, done->key,
				(struct text){ done->index.at, done->index.bytes });
	if (!e) { /* the ledger has the seal, and the store the index */
		buffer_free(&done->index);
		buffer_free(&sealed->seal);
		hold(sealed);
		sealed->state = SEALED_PUBLISHED;
	}
	return breaks(sink, e);
}

/* ---- after a restart ---- */

static enum err compare_stored(struct archive_sink *sink, const char *key, const struct seal *seal)
{
	struct digest digest;
	uint64_t bytes;
	enum err e =
		store_digest(sink->entry.store, key, sink->config.digest_of_store, &digest, &bytes);

	if (e)
		return e;
	if (bytes != seal->stored_bytes || memcmp(&digest, &seal->digest, sizeof digest) != 0)
		return RAISE(ERR_SINK_DAMAGED,
			     "%s is not what was sealed (%llu bytes, sealed with %llu); "
			     "nothing was changed",
			     key, (unsigned long long)bytes,
			     (unsigned long long)seal->stored_bytes);
	return OK;
}

static enum err index_complete(struct archive_sink *sink, const char *key, const struct seal *seal)
{
	char index_key[STORE_KEY_BYTES_MAX + 1];
	uint64_t bytes;
	enum err e;

	pack_index_key(index_key, key);
	e = sink->entry.store->type->size(sink->entry.store, index_key, &bytes);
	if (e != ERR_DISK_ABSENT)
		return e;
	err_note_clear();
	return write_index(sink, key, seal->index);
}

static enum err sealed_again(struct archive_sink *sink, uint64_t seal_no, struct text blob)
{
	struct sealed *sealed = calloc(1, sizeof *sealed);
	struct seal seal;

	if (sealed)
		buffer_add(&sealed->seal, blob.at, blob.bytes);
	if (!sealed || sealed->seal.failed) {
		sealed_free(sink, &sealed);
		return RAISE(ERR_MEMORY_EXHAUSTED, "reading a seal");
	}
	must(seal_read((struct text){ sealed->seal.at, sealed->seal.bytes }, &seal));
	sealed->seal_no = seal_no;
	sealed->records = seal.records;
	sealed->record_bytes = seal.record_bytes;
	sealed->state = SEALED_PUBLISHED;
	sealed_append(sink, sealed);
	return OK;
}

static bool is_our_pack(const struct archive_sink *sink, struct text key)
{
	size_t n = strlen(sink->entry.mailbox_key);

	return store_key_is_valid(key) && key.bytes > n + 7 &&
	       memcmp(key.at, sink->entry.mailbox_key, n) == 0 &&
	       memcmp(key.at + n, "/packs/", 7) == 0;
}

static enum err archive_sink_find(struct sink *base, uint64_t seal_no, struct text blob,
				  enum seal_fate *fate)
{
	struct archive_sink *sink = sink_of(base);
	char key[STORE_KEY_BYTES_MAX + 1];
	struct seal seal;
	uint64_t bytes;
	enum err e;

	must(sink->pack && !pack_is_begun(sink->pack));
	*fate = SEAL_ABSENT;
	if (!seal_read(blob, &seal) || !is_our_pack(sink, seal.key))
		return RAISE(ERR_LEDGER_DAMAGED, "seal %llu does not parse",
			     (unsigned long long)seal_no);
	snprintf(key, sizeof key, "%.*s", (int)seal.key.bytes, seal.key.at);
	e = sink->entry.store->type->size(sink->entry.store, key, &bytes);
	if (e == ERR_DISK_ABSENT) {
		err_note_clear();
		return OK;
	}
	if (e || (e = compare_stored(sink, key, &seal)) || (e = index_complete(sink, key, &seal)))
		return e;
	*fate = SEAL_PRESENT;
	return sealed_again(sink, seal_no, blob);
}

/* ---- the end ---- */

static enum err archive_sink_finish(struct sink *base, nsec until)
{
	struct archive_sink *sink = sink_of(base);
	const struct manifest_next next = {
		.mailbox_key = sink->entry.mailbox_key,
		.mailbox_name = sink->entry.mailbox_name,
		.digest = sink->config.digest,
		.boxes = &sink->manifest,
	};
	enum err e = archive_sink_amend_flush(base);

	/* After a run that failed something may be unanswered; what is visible counts. */
	if (!e && !sink->config.dry_run && sink->entry.entered)
		e = manifest_write(sink->entry.store, &next);
	if (sink->entry.store && sink->entry.store->type->finish)
		sink->entry.store->type->finish(sink->entry.store, until);
	return e;
}

const struct sink_driver archive_sink = {
	.scheme = "file",
	.open = archive_sink_open,
	.prepare = archive_sink_prepare,
	.find = archive_sink_find,
	.put = archive_sink_put,
	.amend = archive_sink_amend,
	.amend_flush = archive_sink_amend_flush,
	.flush = archive_sink_flush,
	.receipt = archive_sink_receipt,
	.end_receipts = archive_sink_end_receipts,
	.publish = archive_sink_publish,
	.drain = archive_sink_drain,
	.finish = archive_sink_finish,
	.close = archive_sink_close,
};
