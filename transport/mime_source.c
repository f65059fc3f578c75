/* See mime_source.h. A message that can be staged is read whole before it is handed out; of a
 * larger one the first piece, so that what is no mail is known before anything was sent of it. Each
 * piece is asked for under the ETag that was listed. */
#include "transport/mime_source.h"

#include <stdio.h>
#include <stdlib.h>

#include "crypto/digest.h"
#include "engine/clock.h"
#include "engine/log.h"
#include "transport/archive_place.h"
#include "transport/http_parse.h"
#include "transport/mime_catalogue.h"
#include "transport/mime_said.h"
#include "transport/stage.h"
#include "transport/store_s3.h"

enum {
	ASKS_MAX = 4,
	/* What is asked for at once: most messages are shorter. */
	PIECE_BYTES = 512 * 1024,
	FATES_MAX = 8, /* kinds of */
};
/* Of one request with its repetitions, as for a store's (store_s3.c). */
#define PATIENCE (900 * NSEC_SECOND)

struct ask {
	uint64_t box_no, first, last;
	size_t folder; /* SIZE_MAX: it is not there, or another one by now */
	size_t place;  /* of the next message */
};

struct large_body {
	struct stream stream;
	bool is_open;
	uint64_t at; /* handed out */
	enum err failed;
};

struct mime_source {
	struct source base;
	struct account way;
	struct s3 *s3;
	const struct store_s3_config *owner;
	char prefix[S3_KEY_BYTES_MAX + 1];
	struct archive_place *ours;	  /* the mailbox of ours that it is; NULL: it is none */
	struct mime_catalogue *catalogue; /* NULL: not listed yet */
	size_t listed;
	struct ask asks[ASKS_MAX];
	unsigned asks_head, asks_count;
	struct scan {
		bool open, flags;
		size_t folder, place;
		uint64_t first, last;
	} scan;
	struct mime_message message; /* the last one handed out */
	struct buffer fields;	     /* of the last answer */
	struct mime_said said;
	struct mail_meta meta; /* of the last finding */
	/* Of the message, from byte piece_at. */
	uint8_t *piece;
	uint64_t piece_at;
	size_t piece_bytes;
	struct stage stage;
	struct iolist staged;
	struct stream_list list;
	struct large_body large;
	enum err told[FATES_MAX]; /* fates of which one was logged */
};

static struct mime_source *source_of(struct source *base)
{
	must(base->type == &mime_source);
	return CONTAINER_OF(base, struct mime_source, base);
}

/* ---- opening ---- */

static void source_close(struct source **base)
{
	struct mime_source *source;

	if (!*base)
		return;
	source = source_of(*base);
	*base = NULL;
	iolist_release(&source->staged);
	if (source->list.base.type)
		iolist_release(&source->list.list);
	stage_free(&source->stage);
	mime_catalogue_give(&source->catalogue);
	buffer_free(&source->fields);
	s3_close(&source->s3);
	free(source->piece);
	free(source->ours);
	free(source);
}

/* What is below it is below a '/', also where it is said without. */
static enum err set_prefix(struct mime_source *source, const char *path, const char *more)
{
	size_t bytes;
	int used;

	path += strspn(path, "/");
	for (bytes = strlen(path); bytes > 0 && path[bytes - 1] == '/';)
		bytes--;
	used = snprintf(source->prefix, sizeof source->prefix, "%.*s%s%s", (int)bytes, path,
			bytes > 0 ? "/" : "", more);
	return used >= 0 && (size_t)used < sizeof source->prefix
		       ? OK
		       : RAISE(ERR_SOURCE_FOREIGN,
			       "the prefix in %s is too long: keys have at most %d bytes",
			       source->way.shown, S3_KEY_BYTES_MAX);
}

/* An archive of ours has its messages deeper; who may not ask for its marker has no archive. */
static enum err find_place(struct mime_source *source, nsec until)
{
	const struct account *way = &source->way;
	char below[sizeof source->ours->key + sizeof "/eml/"];
	bool found = false;
	enum err e;

	if (!(source->ours = calloc(1, sizeof *source->ours)))
		return RAISE(ERR_MEMORY_EXHAUSTED, "opening %s", way->shown);
	e = archive_place_root(way, until, source->ours, &found);
	if (e == ERR_S3_DENIED) {
		err_note_clear();
		e = OK;
	}
	if (!e && found && !(e = archive_place_find(way, until, source->ours))) {
		snprintf(below, sizeof below, "%s/eml/", source->ours->key);
		return set_prefix(source, source->ours->root, below);
	}
	free(source->ours);
	source->ours = NULL;
	return e ? e : set_prefix(source, way->path, "");
}

static enum err bucket_open(struct mime_source *source, nsec until)
{
	struct s3_config config = source->owner->s3;
	enum err e;

	config.bucket = source->way.host;
	config.way = &source->way;
	if (!(source->piece = malloc(PIECE_BYTES)))
		return RAISE(ERR_MEMORY_EXHAUSTED, "opening %s", source->way.shown);
	if ((e = s3_open(&config, &source->s3)))
		return e;
	return find_place(source, until);
}

static enum err check_account(const struct account *account)
{
	if (!account->s3)
		return RAISE(ERR_INPUT_USAGE, "%s: single messages are read of buckets only",
			     account->shown);
	if (account->as_of)
		return RAISE(ERR_INPUT_USAGE,
			     "%s: of single messages there is no record of what was there when; "
			     "leave --as-of away",
			     account->shown);
	return OK;
}

static enum err source_open(struct source **out, const struct account *account,
			    struct reserve *reserve, nsec until)
{
	struct mime_source *source;
	enum err e;

	*out = NULL;
	if ((e = check_account(account)))
		return e;
	if (!(source = calloc(1, sizeof *source)))
		return RAISE(ERR_MEMORY_EXHAUSTED, "opening %s", account->shown);
	source->base.type = &mime_source;
	source->way = *account;
	source->way.scheme = "s3"; /* to whoever looks for an archive */
	source->owner = account->s3;
	source->stage.reserve = reserve;
	*out = &source->base;
	if ((e = bucket_open(source, until)))
		source_close(out);
	return e;
}

/* To read changes by. */
static enum err store_take(const struct mime_source *source, struct store **store)
{
	struct account at = source->way;

	*store = NULL;
	if (!source->ours)
		return OK;
	at.path = source->ours->root;
	return store_open(store, &at, false, clock_after(PATIENCE));
}

static enum err catalogue_take(struct mime_source *source, bool anew)
{
	struct mime_place place = { .s3 = source->s3,
				    .bucket = source->way.host,
				    .owner = source->owner,
				    .prefix = source->prefix,
				    .mailbox_key = source->ours ? source->ours->key : NULL,
				    .vanished = source->way.vanished };
	struct mime_catalogue *catalogue = NULL;
	enum err e = store_take(source, &place.store);

	if (!e)
		e = mime_catalogue_take(&place, anew, &catalogue);
	if (place.store)
		place.store->type->close(&place.store);
	if (e)
		return e;
	mime_catalogue_give(&source->catalogue);
	source->catalogue = catalogue;
	return OK;
}

/* ---- folders ---- */

static void box_of(const struct mime_folder *folder, struct box *box)
{
	*box = (struct box){ .separator = folder->separator,
			     .use = folder->use,
			     .subscribed = folder->subscribed,
			     .selectable = folder->selectable,
			     .epoch = MIME_EPOCH,
			     .next_no = folder->next_no,
			     .messages = folder->messages,
			     .bytes = folder->bytes,
			     .cursor.exact = true };
	snprintf(box->name, sizeof box->name, "%s", folder->name);
	snprintf(box->raw, sizeof box->raw, "%s", folder->name);
	snprintf(box->cursor.at, sizeof box->cursor.at, "mime:%llu:%s",
		 (unsigned long long)folder->messages, folder->tag);
}

static enum err source_list(struct source *base, struct box_page *page, nsec until)
{
	struct mime_source *source = source_of(base);
	size_t count;
	enum err e;

	(void)until; /* a long list has more time than a page of folders has elsewhere */
	page->count = 0;
	if (source->listed == 0 && (e = catalogue_take(source, true)))
		return e;
	count = mime_catalogue_folders(source->catalogue);
	for (; source->listed < count && page->count < ARRAY_COUNT(page->boxes); source->listed++) {
		const struct mime_folder *folder =
			mime_catalogue_folder(source->catalogue, source->listed);

		if (!folder->gone)
			box_of(folder, &page->boxes[page->count++]);
	}
	page->last = source->listed == count;
	if (page->last)
		source->listed = 0; /* it may be listed again */
	return OK;
}

/* SIZE_MAX: it is not there under this epoch. */
static size_t find_folder(const struct mime_source *source, const struct box *box)
{
	return box->epoch == MIME_EPOCH ? mime_catalogue_find(source->catalogue, box->raw)
					: SIZE_MAX;
}

/* ---- what changed ---- */

/* Flags do where changes tell of them. An object that was replaced is another message, and the old
 * one is gone. */
static enum err source_scan(struct source *base, const struct box *box, uint64_t first,
			    uint64_t last, bool flags)
{
	struct mime_source *source = source_of(base);
	size_t folder;
	enum err e;

	must(source->asks_count == 0 && first <= last);
	if (!source->catalogue && (e = catalogue_take(source, false)))
		return e;
	folder = find_folder(source, box);
	if (folder == SIZE_MAX)
		return RAISE(ERR_SOURCE_EPOCH, "folder \"%.200s\"", box->name);
	source->scan = (struct scan){
		.open = true,
		.flags = flags,
		.folder = folder,
		.place = mime_catalogue_seek(source->catalogue, folder, first),
		.first = first,
		.last = last,
	};
	return OK;
}

static bool has_place(const struct mime_source *source, size_t folder, size_t place, uint64_t last)
{
	return place < mime_catalogue_folder(source->catalogue, folder)->end &&
	       mime_catalogue_no(source->catalogue, place) <= last;
}

static enum err source_found(struct source *base, struct finding *finding)
{
	struct mime_source *source = source_of(base);
	struct scan *scan = &source->scan;

	if (!scan->open)
		return ERR_PIPE_ENDED;
	if (has_place(source, scan->folder, scan->place, scan->last)) {
		*finding =
			(struct finding){ .kind = FINDING_THERE,
					  .no = mime_catalogue_no(source->catalogue, scan->place) };
		source->meta = (struct mail_meta){ .flags = 0 };
		if (scan->flags &&
		    mime_catalogue_meta(source->catalogue, scan->place, &source->meta)) {
			finding->kind = FINDING_FLAGS;
			finding->meta = &source->meta;
		}
		scan->place++;
		return OK;
	}
	scan->open = false;
	*finding = (struct finding){ .kind = FINDING_REST_GONE,
				     .no = scan->first,
				     .last = scan->last };
	return OK;
}

/* ---- bytes ---- */

/* What an object that is not to be had means for its message. */
static enum err fate_of(enum err e)
{
	switch (e) {
	case ERR_S3_ABSENT:
	case ERR_S3_CHANGED:
		return ERR_SOURCE_CHANGED;
	case ERR_S3_ARCHIVED:
		return ERR_SOURCE_ARCHIVED;
	default:
		return e;
	}
}

/* The error with the words of the one that is noted. */
static enum err instead(enum err e)
{
	char words[ERR_NOTE_BYTES_MAX];

	snprintf(words, sizeof words, "%s", err_note()->text);
	err_note_clear();
	return RAISE(e, "%s", words);
}

static enum err read_piece(struct mime_source *source, uint64_t at)
{
	const struct mime_message *message = &source->message;
	struct s3_get get = { .key = message->key,
			      .at = at,
			      .to = source->piece,
			      .bytes = min_u64(PIECE_BYTES, message->size_bytes - at),
			      .etag = message->etag[0] ? message->etag : NULL,
			      .fields = &source->fields };
	enum err e = s3_get(source->s3, &get, clock_after(PATIENCE), &source->piece_bytes);

	source->piece_at = at;
	if (e)
		return fate_of(e) == e ? e : instead(fate_of(e));
	return source->piece_bytes == get.bytes
		       ? OK
		       : RAISE(ERR_SOURCE_CHANGED, "%s is shorter than it was listed",
			       message->key);
}

/* The first piece, and what stands with the object. An empty one has no range that could be asked
 * for. */
static enum err read_first(struct mime_source *source)
{
	struct s3_about about;
	enum err e;

	if (source->message.size_bytes > 0)
		return read_piece(source, 0);
	source->piece_at = source->piece_bytes = 0;
	e = s3_head_fields(source->s3, source->message.key, clock_after(PATIENCE), &about,
			   &source->fields);
	return fate_of(e) == e ? e : instead(fate_of(e));
}

/* Append the next bytes of the message, at most `most`; `left` of it are to come, with these. */
static enum err add_bytes(struct mime_source *source, struct iolist *list, uint64_t at, size_t most,
			  uint64_t left)
{
	size_t offset, bytes;
	enum err e;

	if (at == source->piece_at + source->piece_bytes && (e = read_piece(source, at)))
		return e;
	offset = at - source->piece_at;
	bytes = min_u64(most, source->piece_bytes - offset);
	return stage_add(&source->stage, list, left, source->piece + offset, bytes);
}

static enum err stage_all(struct mime_source *source)
{
	uint64_t bytes = source->message.size_bytes, at = 0;
	enum err e = OK;

	for (; at < bytes && !e; at = iolist_bytes(&source->staged))
		e = add_bytes(source, &source->staged, at, PIECE_BYTES, bytes - at);
	if (e)
		iolist_release(&source->staged);
	return e;
}

/* Of what we stored it is known what it was. */
static enum err compare_staged(const struct mime_source *source)
{
	const struct iolist *staged = &source->staged;
	struct digest digest;
	struct tap *tap;
	enum err e;

	if (!source->said.digest_type)
		return OK;
	if ((e = digest_open(source->said.digest_type, &tap)))
		return e;
	for (unsigned i = 0; i < staged->count; i++)
		tap->type->update(tap, slice_bytes(&staged->slices[i]), staged->slices[i].length);
	tap->type->end(tap, &digest);
	tap->type->close(&tap);
	return memcmp(&digest, &source->said.digest, sizeof digest) == 0
		       ? OK
		       : RAISE(ERR_SOURCE_DAMAGED, "%s has not the bytes that were stored",
			       source->message.key);
}

static enum err large_next(struct mime_source *source, struct iolist *out)
{
	struct large_body *large = &source->large;
	uint64_t left = source->message.size_bytes - large->at;
	enum err e;

	if (left == 0)
		return ERR_STREAM_ENDED;
	e = add_bytes(source, out, large->at, CHUNK_BYTES, min_u64(left, CHUNK_BYTES));
	large->at += iolist_bytes(out);
	if (e)
		iolist_release(out);
	/* What the message is then, the next attempt says. */
	return e == ERR_SOURCE_CHANGED || e == ERR_SOURCE_ARCHIVED ? instead(ERR_STREAM_CUT) : e;
}

static enum err large_pull(struct stream *stream, struct iolist *out)
{
	struct large_body *large = CONTAINER_OF(stream, struct large_body, stream);
	struct mime_source *source = CONTAINER_OF(large, struct mime_source, large);
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

/* ---- what an object is ---- */

/* A header field's name and its colon, RFC 5322 section 2.2; that of mail begins with a letter or a
 * digit, and that of JSON does not. */
static bool begins_with_field(struct text head)
{
	size_t at = 0;

	while (at < head.bytes && (unsigned char)head.at[at] > ' ' &&
	       (unsigned char)head.at[at] < 0x7F && head.at[at] != ':')
		at++;
	if (at == 0 ||
	    !((head.at[0] >= 'A' && head.at[0] <= 'Z') ||
	      (head.at[0] >= 'a' && head.at[0] <= 'z') || (head.at[0] >= '0' && head.at[0] <= '9')))
		return false;
	while (at < head.bytes && (head.at[at] == ' ' || head.at[at] == '\t'))
		at++;
	return at < head.bytes && head.at[at] == ':';
}

/* As mail, or as mail behind what some programs put in front of it: a byte order mark, or the line
 * of an mbox. */
static bool begins_as_mail(struct text head)
{
	const char *end;

	if (head.bytes >= 3 && memcmp(head.at, "\xEF\xBB\xBF", 3) == 0)
		head = (struct text){ head.at + 3, head.bytes - 3 };
	if (head.bytes >= 5 && memcmp(head.at, "From ", 5) == 0 &&
	    (end = memchr(head.at, '\n', head.bytes)))
		head = (struct text){ end + 1, (size_t)(head.at + head.bytes - end - 1) };
	return begins_with_field(head);
}

/* Into source->said what it says of itself, or what there is to be said of anybody's. */
static enum err judge(struct mime_source *source)
{
	const struct mime_message *message = &source->message;
	const struct text fields = { source->fields.at, source->fields.bytes };
	struct text head = { (const char *)source->piece, source->piece_bytes };

	if (mime_said_encrypted(fields) || message->has_instructions)
		return RAISE(
			ERR_SOURCE_ENCRYPTED,
			"%s was encrypted by the S3 Encryption Client before it was stored (SES "
			"does so where its rule names a KMS key): decrypt it with that client, "
			"or take the key out of the rule for what comes",
			message->key);
	if (mime_said_read(fields, &source->said))
		return OK;
	source->said =
		(struct mime_said){ .meta.date = { .seconds = message->time_s, .known = true } };
	if (message->size_bytes == 0)
		return RAISE(ERR_SOURCE_NOT_MAIL, "%s is empty", message->key);
	if (!begins_as_mail(head))
		return RAISE(ERR_SOURCE_NOT_MAIL, "%s does not begin with a header field",
			     message->key);
	return OK;
}

/* ---- messages ---- */

static enum err source_ask(struct source *base, const struct box *box, uint64_t first,
			   uint64_t last)
{
	struct mime_source *source = source_of(base);
	struct ask *ask;
	enum err e;

	must(source->asks_count < ASKS_MAX && first <= last);
	if (!source->catalogue && (e = catalogue_take(source, false)))
		return e;
	ask = &source->asks[(source->asks_head + source->asks_count++) % ASKS_MAX];
	*ask = (struct ask){ .box_no = box->box_no,
			     .first = first,
			     .last = last,
			     .folder = find_folder(source, box) };
	if (ask->folder != SIZE_MAX)
		ask->place = mime_catalogue_seek(source->catalogue, ask->folder, first);
	return OK;
}

static void range_done(struct mime_source *source, const struct ask *ask, struct item *item)
{
	item->kind = ITEM_RANGE_DONE;
	if (ask->folder == SIZE_MAX)
		item->fate = RAISE(ERR_SOURCE_EPOCH, "the folder is not there any more");
	source->asks_head = (source->asks_head + 1) % ASKS_MAX;
	source->asks_count--;
}

static bool was_told(struct mime_source *source, enum err e)
{
	unsigned i = 0;

	while (i < FATES_MAX && source->told[i] && source->told[i] != e)
		i++;
	if (i == FATES_MAX || source->told[i])
		return true;
	source->told[i] = e;
	return false;
}

/* The first of each kind is told; how many there are is in the report. */
static enum err refuse(struct mime_source *source, struct item *item, enum err e)
{
	log_error(was_told(source, e) ? LOG_DEBUG : LOG_WARN, "mime.message_refused", e);
	err_note_clear();
	item->fate = e;
	return OK;
}

static enum err open_body(struct mime_source *source, struct item *item)
{
	enum err e;

	source->large.stream.type = &large_type;
	if (source->message.size_bytes <= STAGE_BYTES_MAX) {
		if ((e = stage_all(source)))
			return e;
		if ((e = compare_staged(source))) {
			iolist_release(&source->staged);
			return e;
		}
		item->body = stream_list_open(&source->list, &source->staged);
	} else {
		source->large.at = 0;
		source->large.failed = OK;
		source->large.is_open = true;
		item->body = &source->large.stream;
	}
	item->size_bytes = (int64_t)source->message.size_bytes;
	return OK;
}

static enum err message_next(struct mime_source *source, struct ask *ask, struct item *item)
{
	enum err e = stage_next(&source->stage);

	if (e)
		return e;
	mime_catalogue_message(source->catalogue, ask->place, &source->message);
	item->kind = ITEM_MESSAGE;
	item->no = source->message.no;
	if (!(e = read_first(source)) && !(e = judge(source))) {
		item->meta = source->said.meta;
		(void)mime_catalogue_meta(source->catalogue, ask->place, &item->meta);
		e = open_body(source, item);
	}
	if (e && err_retry_class(e) != RETRY_SKIP_MSG)
		return e;
	ask->place++;
	return e ? refuse(source, item, e) : OK;
}

static enum err source_next(struct source *base, struct item *item)
{
	struct mime_source *source = source_of(base);
	struct ask *ask = &source->asks[source->asks_head];

	must(!source->large.is_open);
	if (source->asks_count == 0)
		return ERR_PIPE_ENDED;
	*item = (struct item){ .box_no = ask->box_no,
			       .range_first = ask->first,
			       .range_last = ask->last,
			       .size_bytes = SIZE_UNKNOWN };
	if (ask->folder != SIZE_MAX && has_place(source, ask->folder, ask->place, ask->last))
		return message_next(source, ask, item);
	range_done(source, ask, item);
	return OK;
}

static enum err source_finish(struct source *base, nsec until)
{
	(void)base, (void)until;
	return OK;
}

const struct source_driver mime_source = {
	.scheme = "s3+eml",
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
