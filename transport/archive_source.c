/* See archive_source.h. A message that can be staged is read and compared with its digest before it
 * is handed out, so that a damaged one is a message that does not come, and nothing was sent of it.
 * A larger one is read twice for that: once to compare, once to hand out. */
#include "transport/archive_source.h"

#include <stdio.h>
#include <stdlib.h>

#include "crypto/digest.h"
#include "engine/log.h"
#include "transport/archive_catalogue.h"
#include "transport/archive_place.h"
#include "transport/stage.h"

enum {
	ASKS_MAX = 4,
	/* Keys of a range that are read in the order of the packs. */
	WINDOW_KEYS = 256,
};

struct ask {
	uint64_t box_no, first, last;
	size_t folder; /* SIZE_MAX: it is another one by now */
	size_t place;  /* of the next key */
};

struct large_body {
	struct stream stream;
	bool is_open;
	uint64_t at;
	enum err failed;
};

struct archive_source {
	struct source base;
	struct archive *archive;
	struct archive_catalogue *catalogue;
	size_t listed, losses_listed;
	struct ask asks[ASKS_MAX];
	unsigned asks_head, asks_count;
	struct archive_key window[WINDOW_KEYS];
	unsigned window_at, window_count;
	struct archive_message message;				    /* the last one handed out */
	char damaged[sizeof((struct archive_message *)NULL)->pack]; /* the last pack told of */
	struct mail_meta meta;					    /* of the last finding */
	struct scan {
		bool open, flags;
		size_t folder, place;
		uint64_t first, last;
	} scan;
	struct stage stage;
	struct iolist staged;
	struct stream_list list;
	struct large_body large;
	struct tap *tap; /* of large bodies */
};

static struct archive_source *source_of(struct source *base)
{
	must(base->type == &archive_source);
	return CONTAINER_OF(base, struct archive_source, base);
}

/* ---- opening ---- */

static void source_close(struct source **base)
{
	struct archive_source *source;

	if (!*base)
		return;
	source = source_of(*base);
	iolist_release(&source->staged);
	if (source->list.base.type)
		iolist_release(&source->list.list);
	stage_free(&source->stage);
	if (source->tap)
		source->tap->type->close(&source->tap);
	archive_catalogue_close(&source->catalogue);
	archive_close(&source->archive);
	free(source);
	*base = NULL;
}

static enum err open_mailbox(struct archive_source *source, const struct account *account,
			     nsec until)
{
	struct archive_place *place = calloc(1, sizeof *place);
	struct account at = *account;
	struct archive_moment moment;
	enum err e = place ? archive_place_find(account, until, place)
			   : RAISE(ERR_MEMORY_EXHAUSTED, "opening %s", account->shown);

	if (!e) {
		at.path = place->root;
		e = archive_open(store_driver_of(at.scheme), &at, until, &source->archive);
	}
	if (!e && account->as_of) {
		must(archive_moment_read(account->as_of, &moment));
		archive_as_of(source->archive, &moment);
	}
	if (!e) {
		archive_only_key(source->archive, place->key);
		e = archive_catalogue_open(source->archive, account->vanished, &source->catalogue);
	}
	if (e == ERR_PIPE_ENDED)
		e = account->as_of
			    ? RAISE(ERR_SOURCE_FOREIGN,
				    "%s: nothing had been archived by then (--as-of %s)",
				    account->shown, account->as_of)
			    : RAISE(ERR_SOURCE_FOREIGN,
				    "%s: it cannot be read whose mailbox this is", account->shown);
	free(place);
	return archive_place_error(e, account->shown);
}

static enum err source_open(struct source **out, const struct account *account,
			    struct reserve *reserve, nsec until)
{
	struct archive_source *source = calloc(1, sizeof *source);
	enum err e;

	*out = NULL;
	if (!source)
		return RAISE(ERR_MEMORY_EXHAUSTED, "opening %s", account->shown);
	source->base.type = &archive_source;
	source->stage.reserve = reserve;
	*out = &source->base;
	if ((e = open_mailbox(source, account, until)))
		source_close(out);
	return e;
}

/* ---- folders ---- */

/* What the folder holds, as a number: as long as that is the same nothing has changed in it. */
static void cursor_of(const struct archive_source *source, const struct archive_folder *folder,
		      struct cursor *cursor)
{
	*cursor = (struct cursor){ 0 };
	if (archive_catalogue_losses(source->catalogue))
		return;
	cursor->exact = true;
	snprintf(cursor->at, sizeof cursor->at, "archive:%llu:%016llx%016llx",
		 (unsigned long long)folder->messages, (unsigned long long)folder->mark[0],
		 (unsigned long long)folder->mark[1]);
}

static void box_of(const struct archive_source *source, const struct archive_folder *folder,
		   struct box *box)
{
	*box = (struct box){ .separator = folder->separator,
			     .use = folder->use,
			     .subscribed = folder->subscribed,
			     .selectable = folder->selectable,
			     .epoch = folder->epoch,
			     .next_no = max_u64(folder->next_no, 1),
			     .messages = folder->messages,
			     .bytes = folder->bytes };
	snprintf(box->name, sizeof box->name, "%s", folder->name);
	snprintf(box->raw, sizeof box->raw, "%s", folder->raw);
	snprintf(box->prefix, sizeof box->prefix, "%s",
		 archive_catalogue_prefix(source->catalogue));
	cursor_of(source, folder, &box->cursor);
}

/* What is lost stands in the report as a folder that cannot be had, named as the damaged file, on a
 * page of its own with its note. */
static void list_loss(struct archive_source *source, struct box_page *page)
{
	const struct archive_loss *loss =
		archive_catalogue_loss(source->catalogue, source->losses_listed++);
	struct box *box = &page->boxes[page->count++];

	*box = (struct box){ .fate = ERR_SOURCE_LOST };
	snprintf(box->name, sizeof box->name, "%s", loss->key);
	snprintf(box->raw, sizeof box->raw, "%s", loss->key);
	err_note_clear();
	(void)RAISE(ERR_SOURCE_LOST, "%s: %s", loss->key, loss->what);
}

static enum err source_list(struct source *base, struct box_page *page, nsec until)
{
	struct archive_source *source = source_of(base);
	size_t count = archive_catalogue_folders(source->catalogue);
	size_t losses = min_u64(archive_catalogue_losses(source->catalogue), ARCHIVE_LOSSES_MAX);

	(void)until;
	page->count = 0;
	for (; source->listed < count && page->count < ARRAY_COUNT(page->boxes); source->listed++) {
		const struct archive_folder *folder =
			archive_catalogue_folder(source->catalogue, source->listed);

		if (!folder->gone)
			box_of(source, folder, &page->boxes[page->count++]);
	}
	if (source->listed == count && page->count == 0 && source->losses_listed < losses)
		list_loss(source, page);
	page->last = source->listed == count && source->losses_listed == losses;
	if (page->last)
		source->listed = source->losses_listed = 0; /* it may be listed again */
	return OK;
}

/* SIZE_MAX: it is not there under this epoch. */
static size_t find_folder(const struct archive_source *source, const struct box *box)
{
	size_t index = archive_catalogue_find(source->catalogue, box->raw);

	if (index != SIZE_MAX &&
	    archive_catalogue_folder(source->catalogue, index)->epoch != box->epoch)
		index = SIZE_MAX;
	return index;
}

/* ---- what changed ---- */

/* All there is to know of the range is told: it costs no reading. */
static enum err source_scan(struct source *base, const struct box *box, uint64_t first,
			    uint64_t last, bool flags)
{
	struct archive_source *source = source_of(base);
	size_t folder = find_folder(source, box);

	must(source->asks_count == 0 && first <= last);
	if (folder == SIZE_MAX)
		return RAISE(ERR_SOURCE_EPOCH, "folder \"%.200s\"", box->name);
	source->scan = (struct scan){
		.open = true,
		.flags = flags,
		.folder = folder,
		.place = archive_catalogue_seek(source->catalogue, folder, first),
		.first = first,
		.last = last,
	};
	return OK;
}

static enum err source_found(struct source *base, struct finding *finding)
{
	struct archive_source *source = source_of(base);
	struct scan *scan = &source->scan;
	const struct archive_key *key;

	if (!scan->open)
		return ERR_PIPE_ENDED;
	*finding = (struct finding){ .kind = FINDING_THERE };
	if (scan->place < archive_catalogue_folder(source->catalogue, scan->folder)->end &&
	    (key = archive_catalogue_key(source->catalogue, scan->place))->no <= scan->last) {
		scan->place++;
		finding->no = key->no;
		if (scan->flags) {
			archive_catalogue_message(source->catalogue, key, &source->message);
			source->meta = source->message.meta;
			source->meta.date.known = false;
			finding->kind = FINDING_FLAGS;
			finding->meta = &source->meta;
		}
		return OK;
	}
	scan->open = false;
	/* What cannot be read is not gone. */
	if (archive_catalogue_losses(source->catalogue))
		return ERR_PIPE_ENDED;
	finding->kind = FINDING_REST_GONE;
	finding->no = scan->first;
	finding->last = scan->last;
	return OK;
}

/* ---- bytes ---- */

struct staging {
	struct archive_source *source;
	struct iolist *list;
	uint64_t left;
};

static enum err stage_write(void *context, const void *from, size_t n)
{
	struct staging *staging = context;
	enum err e = stage_add(&staging->source->stage, staging->list, staging->left, from, n);

	staging->left -= n;
	return e;
}

static enum err pass_over(void *context, const void *from, size_t n)
{
	(void)context, (void)from, (void)n;
	return OK;
}

static enum err large_begin(struct archive_source *source)
{
	struct large_body *large = &source->large;
	enum err e;

	if (!source->tap && (e = digest_open(archive_digest(source->archive), &source->tap)))
		return e;
	source->tap->type->begin(source->tap);
	large->at = 0;
	large->failed = OK;
	large->is_open = true;
	return OK;
}

/* It was read and compared a moment ago. */
static enum err large_end(struct archive_source *source)
{
	struct digest digest;

	source->tap->type->end(source->tap, &digest);
	return memcmp(&digest, &source->message.digest, sizeof digest) == 0
		       ? ERR_STREAM_ENDED
		       : RAISE(ERR_STREAM_CUT, "%s changed while it was read",
			       source->message.pack);
}

static enum err large_next(struct archive_source *source, struct iolist *out)
{
	struct large_body *large = &source->large;
	uint64_t left = source->message.size_bytes - large->at;
	struct staging staging = { source, out, min_u64(left, CHUNK_BYTES) };
	enum err e;

	if (left == 0)
		return large_end(source);
	e = archive_message_part(source->archive, &source->message, large->at, staging.left,
				 stage_write, &staging);
	if (e == ERR_ARCHIVE_DAMAGED) {
		char text[ERR_NOTE_BYTES_MAX];

		snprintf(text, sizeof text, "%s", err_note()->text);
		err_note_clear();
		e = RAISE(ERR_STREAM_CUT, "%s", text);
	}
	for (unsigned i = 0; !e && i < out->count; i++) {
		large->at += out->slices[i].length;
		source->tap->type->update(source->tap, slice_bytes(&out->slices[i]),
					  out->slices[i].length);
	}
	if (e)
		iolist_release(out);
	return e;
}

static enum err large_pull(struct stream *stream, struct iolist *out)
{
	struct large_body *large = CONTAINER_OF(stream, struct large_body, stream);
	struct archive_source *source = CONTAINER_OF(large, struct archive_source, large);
	enum err e;

	must(large->is_open && out->count == 0);
	if (!large->failed && (e = large_next(source, out)))
		large->failed = e; /* the end, too, is said again and again */
	return large->failed;
}

static void large_close(struct stream *stream)
{
	CONTAINER_OF(stream, struct large_body, stream)->is_open = false;
}

static const struct stream_type large_type = { .pull = large_pull, .close = large_close };

/* Read the message and compare it; what can be staged is, then. */
static enum err read_body(struct archive_source *source, struct stream **body)
{
	struct archive_message *message = &source->message;
	struct staging staging = { source, &source->staged, message->size_bytes };
	bool large = message->size_bytes > STAGE_BYTES_MAX;
	enum err e = stage_next(&source->stage);

	must(source->staged.count == 0);
	if (!e)
		e = archive_message_read(source->archive, message, large ? pass_over : stage_write,
					 &staging);
	if (!e && large)
		e = large_begin(source);
	if (e) {
		iolist_release(&source->staged);
		return e;
	}
	source->large.stream.type = &large_type;
	*body = large ? &source->large.stream : stream_list_open(&source->list, &source->staged);
	return OK;
}

/* ---- messages ---- */

static enum err source_ask(struct source *base, const struct box *box, uint64_t first,
			   uint64_t last)
{
	struct archive_source *source = source_of(base);
	struct ask *ask;

	must(source->asks_count < ASKS_MAX && first <= last);
	ask = &source->asks[(source->asks_head + source->asks_count++) % ASKS_MAX];
	*ask = (struct ask){ .box_no = box->box_no,
			     .first = first,
			     .last = last,
			     .folder = find_folder(source, box) };
	if (ask->folder != SIZE_MAX)
		ask->place = archive_catalogue_seek(source->catalogue, ask->folder, first);
	return OK;
}

static int compare_rows(const void *left, const void *right)
{
	const struct archive_key *a = left, *b = right;

	return (a->row > b->row) - (a->row < b->row);
}

/* The next keys of a range, in the order of the packs: messages of a folder may lie in many, and
 * each is opened once for all that it has of them. */
static void fill_window(struct archive_source *source, struct ask *ask)
{
	const struct archive_folder *folder;

	source->window_at = source->window_count = 0;
	if (ask->folder == SIZE_MAX)
		return;
	folder = archive_catalogue_folder(source->catalogue, ask->folder);
	for (; ask->place < folder->end && source->window_count < WINDOW_KEYS; ask->place++) {
		const struct archive_key *key =
			archive_catalogue_key(source->catalogue, ask->place);

		if (key->no > ask->last)
			break;
		source->window[source->window_count++] = *key;
	}
	qsort(source->window, source->window_count, sizeof source->window[0], compare_rows);
}

static void range_done(struct archive_source *source, const struct ask *ask, struct item *item)
{
	item->kind = ITEM_RANGE_DONE;
	if (ask->folder == SIZE_MAX)
		item->fate = RAISE(ERR_SOURCE_EPOCH, "the archive was written to meanwhile");
	source->asks_head = (source->asks_head + 1) % ASKS_MAX;
	source->asks_count--;
}

/* A pack that is lost is told of once, and not for each of its messages; the report has those. */
static void log_damage(struct archive_source *source, enum err e)
{
	bool told = strcmp(source->damaged, source->message.pack) == 0;

	log_error(told ? LOG_DEBUG : LOG_WARN, "archive.message_damaged", e);
	err_note_clear();
	bytes_copy(source->damaged, source->message.pack, sizeof source->damaged, BYTES_META);
}

/* A message that is damaged, or whose pack is, does not come; the others do. */
static enum err message_next(struct archive_source *source, struct item *item)
{
	const struct archive_key *key = &source->window[source->window_at++];
	struct archive_message *message = &source->message;
	enum err e;

	archive_catalogue_message(source->catalogue, key, message);
	item->kind = ITEM_MESSAGE;
	item->no = key->no;
	item->meta = message->meta;
	if (message->size_bytes > INT64_MAX)
		e = RAISE(ERR_ARCHIVE_DAMAGED, "%s: a message has an impossible length",
			  message->pack);
	else
		e = read_body(source, &item->body);
	if (!e) {
		item->size_bytes = (int64_t)message->size_bytes;
		return OK;
	}
	if (e != ERR_ARCHIVE_DAMAGED)
		return archive_place_error(e, message->pack);
	log_damage(source, e);
	item->fate = ERR_SOURCE_DAMAGED;
	return OK;
}

static enum err source_next(struct source *base, struct item *item)
{
	struct archive_source *source = source_of(base);
	struct ask *ask = &source->asks[source->asks_head];

	must(!source->large.is_open);
	if (source->asks_count == 0)
		return ERR_PIPE_ENDED;
	*item = (struct item){ .box_no = ask->box_no,
			       .range_first = ask->first,
			       .range_last = ask->last,
			       .size_bytes = SIZE_UNKNOWN };
	if (source->window_at == source->window_count)
		fill_window(source, ask);
	if (source->window_at < source->window_count)
		return message_next(source, item);
	range_done(source, ask, item);
	return OK;
}

static enum err source_finish(struct source *base, nsec until)
{
	(void)base, (void)until;
	return OK;
}

const struct source_driver archive_source = {
	.scheme = "file",
	.open = source_open,
	.list = source_list,
	.scan = source_scan,
	.found = source_found,
	.ask = source_ask,
	.next = source_next,
	.finish = source_finish,
	.close = source_close,
	.asks_max = ASKS_MAX,
};
