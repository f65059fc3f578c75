/* See pack.h. */
#include "transport/pack.h"

#include <stdio.h>
#include <stdlib.h>

#include "crypto/digest.h"
#include "crypto/zstd_stage.h"
#include "engine/budget.h"
#include "engine/limits.h"
#include "transport/json.h"
#include "transport/pack_out.h"

struct pack {
	struct pack_config config;
	struct pack_out *out;
	struct zstd_stage *zstd; /* for the index file, which is always compressed */
	struct tap *tap;	 /* of the index */
	struct pack_head head;
	int64_t created_s;
	struct buffer member, records, header; /* of the message being added */
	struct buffer lines, sums, seals;      /* of the messages so far */
	size_t held;			       /* of the budget, for these */
};

enum err pack_open(const struct pack_config *config, struct pack **out)
{
	struct pack *pack = calloc(1, sizeof *pack);
	enum err e;

	*out = pack;
	if (!pack)
		return RAISE(ERR_MEMORY_EXHAUSTED, "opening a pack");
	pack->config = *config;
	e = pack_out_open(config->store, config->digest_of_store, config->zstd_level, &pack->out);
	if (!e)
		e = zstd_stage_open(config->zstd_level > 0 ? config->zstd_level : 1, &pack->zstd);
	if (!e)
		e = digest_open(config->digest, &pack->tap);
	if (e)
		pack_close(out);
	return e;
}

void pack_close(struct pack **pack_at)
{
	struct pack *pack = *pack_at;

	*pack_at = NULL;
	if (!pack)
		return;
	pack_out_close(&pack->out);
	zstd_stage_close(&pack->zstd);
	if (pack->tap)
		pack->tap->type->close(&pack->tap);
	buffer_free(&pack->member);
	buffer_free(&pack->records);
	buffer_free(&pack->header);
	buffer_free(&pack->lines);
	buffer_free(&pack->sums);
	buffer_free(&pack->seals);
	budget_hold(BUDGET_PACKS, &pack->held, 0);
	free(pack);
}

bool pack_is_begun(const struct pack *pack)
{
	return pack_out_is_begun(pack->out);
}

enum err pack_begin(struct pack *pack, const char *key, int64_t created_s)
{
	const struct mail_date created = { .seconds = created_s, .known = true };
	struct pack_head *head = &pack->head;

	must(created_s >= 0);
	*head = (struct pack_head){ 0 };
	snprintf(head->mailbox, sizeof head->mailbox, "%s", pack->config.mailbox_name);
	snprintf(head->pack, sizeof head->pack, "%s", key);
	snprintf(head->digest_name, sizeof head->digest_name, "%s", pack->config.digest->name);
	mail_date_rfc3339(head->created, &created);
	pack->created_s = created_s;
	buffer_reset(&pack->lines);
	buffer_reset(&pack->sums);
	buffer_reset(&pack->seals);
	return pack_out_begin(pack->out, key);
}

void pack_abort(struct pack *pack)
{
	pack_out_abort(pack->out);
}

bool pack_is_full(const struct pack *pack)
{
	return pack_out_expected_bytes(pack->out) >= pack->config.pack_bytes ||
	       pack->head.messages >= PACK_MESSAGES_MAX ||
	       pack->lines.bytes >= budget()->lines_bytes ||
	       pack->sums.bytes >= budget()->lines_bytes / 2;
}

/* ---- a message's head ---- */

static void add_number_record(struct buffer *to, const char *key, uint64_t number)
{
	char digits[JSON_DIGITS_MAX];

	tar_record_add(to, key, json_digits(digits, number));
}

#define KEY(name) "SCHILY.xattr.user.mailhaul." name

static void add_records(struct buffer *to, const struct pack_box *box, const struct item *item)
{
	const struct mail_meta *meta = &item->meta;
	struct buffer flags = { 0 };
	char date[40];

	tar_record_add(to, KEY("box"), box->name);
	tar_record_add(to, KEY("sep"), (struct text){ &box->separator, box->separator != '\0' });
	add_number_record(to, KEY("epoch"), box->epoch);
	add_number_record(to, KEY("no"), item->no);
	if (meta->date.known)
		tar_record_add(to, KEY("internaldate"),
			       text_of(mail_date_rfc3339(date, &meta->date)));
	pack_flags_add(&flags, meta->flags);
	tar_record_add(to, KEY("flags"), (struct text){ flags.at, flags.bytes });
	if (meta->keywords_bytes > 0)
		tar_record_add(to, KEY("keywords"),
			       (struct text){ meta->keywords, meta->keywords_bytes });
	to->failed |= flags.failed;
	buffer_free(&flags);
}

/* Stock tar warns about dates before 1970 and after now. */
static uint64_t mtime_of(const struct pack *pack, const struct mail_date *date)
{
	if (!date->known || date->seconds < 0)
		return 0;
	return min_u64((uint64_t)date->seconds, (uint64_t)pack->created_s);
}

static enum err make_head(struct pack *pack, const struct pack_box *box, const struct item *item)
{
	struct tar_entry entry = { .size_bytes = (uint64_t)item->size_bytes,
				   .mtime = mtime_of(pack, &item->meta.date) };

	buffer_reset(&pack->member);
	buffer_reset(&pack->records);
	buffer_reset(&pack->header);
	buffer_add(&pack->member, box->path.at, box->path.bytes);
	buffer_addf(&pack->member, "/%llu-%010llu.eml", (unsigned long long)box->epoch,
		    (unsigned long long)item->no);
	add_records(&pack->records, box, item);
	entry.name = (struct text){ pack->member.at, pack->member.bytes };
	tar_head_add(&pack->header, &entry, &pack->records);
	if (pack->member.failed || pack->records.failed || pack->header.failed)
		return RAISE(ERR_MEMORY_EXHAUSTED, "naming a message");
	return OK;
}

/* ---- a message's bytes ---- */

/* The body as it is pulled. What fails here fails in the source, not in the pack. */
struct body {
	struct stream *stream;
	struct iolist list;
	uint64_t left; /* announced and not pulled yet */
};

static enum err body_pull(struct body *body)
{
	uint64_t bytes;
	enum err e;

	must(body->list.count == 0);
	if ((e = stream_pull(body->stream, &body->list)))
		return e;
	bytes = iolist_bytes(&body->list);
	if (bytes > body->left)
		return RAISE(ERR_STREAM_CUT, "a message is longer than announced");
	body->left -= bytes;
	return OK;
}

/* After the last byte: nothing may follow. */
static enum err body_end(struct body *body)
{
	enum err e;

	if (body->left > 0)
		return RAISE(ERR_STREAM_CUT,
			     "a message ended %llu bytes before its announced length",
			     (unsigned long long)body->left);
	e = stream_pull(body->stream, &body->list);
	if (e == OK && iolist_bytes(&body->list) == 0)
		e = ERR_STREAM_ENDED;
	iolist_release(&body->list);
	if (e == OK)
		return RAISE(ERR_STREAM_CUT, "a message is longer than announced");
	return e == ERR_STREAM_ENDED ? OK : e;
}

static enum err add_list(struct pack *pack, struct iolist *list)
{
	enum err e = OK;

	for (unsigned i = 0; i < list->count && !e; i++) {
		const struct slice *slice = &list->slices[i];

		e = pack_out_add(pack->out, slice_bytes(slice), slice->length);
	}
	iolist_release(list);
	return e;
}

static enum err add_end(struct pack *pack, uint64_t size_bytes)
{
	static const uint8_t zeros[TAR_BLOCK_BYTES];
	enum err e = pack_out_add(pack->out, zeros, tar_padding(size_bytes));

	if (!e)
		pack_out_member_end(pack->out);
	return e;
}

/* A message whose bytes are all in `body->list`: nothing can fail any more but the store. */
static enum err add_staged(struct pack *pack, struct body *body, uint64_t size_bytes)
{
	enum err e;

	must(body->left == 0);
	e = pack_out_add(pack->out, pack->header.at, pack->header.bytes);
	if (!e)
		e = add_list(pack, &body->list);
	iolist_release(&body->list);
	return e ? e : add_end(pack, size_bytes);
}

/* A message that is still arriving. *body_failed: take it back, the pack is as good as before. */
static enum err add_streamed(struct pack *pack, struct body *body, uint64_t size_bytes,
			     bool *body_failed)
{
	enum err e;

	*body_failed = false;
	if ((e = pack_out_mark(pack->out)) ||
	    (e = pack_out_add(pack->out, pack->header.at, pack->header.bytes)))
		return e;
	do {
		if ((e = add_list(pack, &body->list)) || (e = pack_out_breathe(pack->out)))
			return e;
	} while (body->left > 0 && (e = body_pull(body)) == OK);
	if (e == OK || e == ERR_STREAM_ENDED)
		e = body_end(body);
	*body_failed = e != OK;
	return e ? e : add_end(pack, size_bytes);
}

/* The first pull tells: a staged message hands over all it has at once, and then its end is seen
 * before the pack gets the first byte of it. */
static enum err body_first(struct body *body, bool *staged)
{
	struct iolist first;
	enum err e = body->left > 0 ? body_pull(body) : OK;

	*staged = body->left == 0;
	if (e == ERR_STREAM_ENDED || (!e && *staged)) {
		first = body->list;
		body->list = (struct iolist){ 0 };
		e = body_end(body);
		body->list = first;
	}
	return e;
}

/* The message failed with `why`. Where the pack fails over it, that is what counts: as an error of
 * the source it would be forgiven, and the disk that is full never be told. */
static enum err take_back(struct pack *pack, enum err why, bool *pack_broken)
{
	struct err_note note = *err_note();
	enum err e;

	err_note_clear();
	e = pack_out_rewind(pack->out);
	*pack_broken = e != OK;
	if (e)
		return e;
	*err_note() = note;
	return why;
}

static enum err add_body(struct pack *pack, struct item *item, bool *pack_broken)
{
	struct body body = { .stream = item->body, .left = (uint64_t)item->size_bytes };
	bool staged, body_failed = false;
	enum err e;

	if (!(e = body_first(&body, &staged))) {
		*pack_broken = true; /* whatever fails now, but for a body that can be taken back */
		e = staged ? add_staged(pack, &body, (uint64_t)item->size_bytes)
			   : add_streamed(pack, &body, (uint64_t)item->size_bytes, &body_failed);
	}
	if (body_failed)
		e = take_back(pack, e, pack_broken);
	iolist_release(&body.list);
	*pack_broken &= e != OK;
	return e;
}

/* ---- a message ---- */

/* Beside pack_bytes, what is kept of a pack bounds it: some 600 bytes a message. */
static void hold(struct pack *pack)
{
	budget_hold(BUDGET_PACKS, &pack->held,
		    pack->lines.room + pack->sums.room + pack->seals.room);
}

static enum err note_message(struct pack *pack, const struct pack_box *box, const struct item *item,
			     uint64_t offset)
{
	const struct pack_place place = { { pack->member.at, pack->member.bytes },
					  offset,
					  offset + pack->header.bytes };
	const struct seal_record record = {
		box->box_no,  item->no,	       (uint64_t)item->size_bytes,
		item->digest, item->mail_kind, mail_mark(&item->meta)
	};
	char hex[2 * DIGEST_BYTES + 1];

	pack_line_add(&pack->lines, box, item, &place);
	bytes_to_hex(hex, item->digest.bytes, DIGEST_BYTES);
	buffer_add(&pack->sums, hex, 2 * DIGEST_BYTES);
	buffer_add(&pack->sums, "  ", 2);
	buffer_add(&pack->sums, pack->member.at, pack->member.bytes);
	buffer_add(&pack->sums, "\n", 1);
	seal_record_add(&pack->seals, &record);
	pack->head.messages++;
	pack->head.bytes += (uint64_t)item->size_bytes;
	hold(pack);
	if (pack->lines.failed || pack->sums.failed || pack->seals.failed)
		return RAISE(ERR_MEMORY_EXHAUSTED, "keeping the index of a pack");
	return OK;
}

enum err pack_add(struct pack *pack, const struct pack_box *box, struct item *item,
		  bool *pack_broken)
{
	uint64_t offset = pack_out_plain_bytes(pack->out);
	enum err e;

	must(pack_is_begun(pack) && item->body && item->size_bytes >= 0);
	*pack_broken = false;
	if ((e = make_head(pack, box, item)) || (e = pack_out_breathe(pack->out)))
		return e;
	if ((e = add_body(pack, item, pack_broken)))
		return e;
	e = note_message(pack, box, item, offset);
	*pack_broken = e != OK;
	return e;
}

/* ---- the end of a pack ---- */

static const char *sums_name(const struct tap_type *type)
{
	if (strcmp(type->name, "sha-256") == 0)
		return ".mailhaul/SHA256SUMS";
	return strcmp(type->name, "blake3") == 0 ? ".mailhaul/B3SUMS" : ".mailhaul/B2SUMS";
}

/* In frames of its own, so that it is found from the end. */
static enum err add_own_member(struct pack *pack, const char *name, struct text first,
			       struct text rest)
{
	struct tar_entry entry = { text_of(name), first.bytes + rest.bytes, 0 };
	enum err e;

	buffer_reset(&pack->records);
	buffer_reset(&pack->header);
	tar_head_add(&pack->header, &entry, &pack->records);
	if (pack->header.failed)
		return RAISE(ERR_MEMORY_EXHAUSTED, "ending a pack");
	if ((e = pack_out_cut(pack->out)) ||
	    (e = pack_out_add(pack->out, pack->header.at, pack->header.bytes)) ||
	    (e = pack_out_add(pack->out, first.at, first.bytes)) ||
	    (e = pack_out_add(pack->out, rest.at, rest.bytes)) ||
	    (e = add_end(pack, entry.size_bytes)))
		return e;
	return pack_out_cut(pack->out);
}

static enum err add_index_and_sums(struct pack *pack)
{
	static const char index_name[] = ".mailhaul/index.ndjson";
	struct buffer head = { 0 };
	struct text lines = { pack->lines.at, pack->lines.bytes };
	struct digest digest;
	char hex[2 * DIGEST_BYTES + 1];
	enum err e;

	pack_head_add(&head, &pack->head, false);
	e = head.failed
		    ? RAISE(ERR_MEMORY_EXHAUSTED, "ending a pack")
		    : add_own_member(pack, index_name, (struct text){ head.at, head.bytes }, lines);
	pack->tap->type->begin(pack->tap);
	pack->tap->type->update(pack->tap, head.at, head.bytes);
	pack->tap->type->update(pack->tap, lines.at, lines.bytes);
	pack->tap->type->end(pack->tap, &digest);
	buffer_free(&head);
	bytes_to_hex(hex, digest.bytes, DIGEST_BYTES);
	buffer_addf(&pack->sums, "%s  %s\n", hex, index_name);
	if (!e && pack->sums.failed)
		e = RAISE(ERR_MEMORY_EXHAUSTED, "ending a pack");
	return e ? e
		 : add_own_member(pack, sums_name(pack->config.digest),
				  (struct text){ pack->sums.at, pack->sums.bytes },
				  (struct text){ NULL, 0 });
}

static enum err make_index_file(struct pack *pack, struct buffer *to)
{
	struct buffer head = { 0 };
	enum err e;

	pack_head_add(&head, &pack->head, true);
	e = head.failed ? RAISE(ERR_MEMORY_EXHAUSTED, "ending a pack")
			: ndjson_compress(pack->zstd, (struct text){ head.at, head.bytes }, to);
	buffer_free(&head);
	return e ? e
		 : ndjson_compress(pack->zstd, (struct text){ pack->lines.at, pack->lines.bytes },
				   to);
}

enum err pack_end(struct pack *pack, struct pack_done *done)
{
	static const uint8_t zeros[TAR_END_BYTES];
	enum err e;

	must(pack_is_begun(pack));
	*done = (struct pack_done){ 0 };
	snprintf(done->key, sizeof done->key, "%s", pack->head.pack);
	if ((e = add_index_and_sums(pack)) || (e = pack_out_add(pack->out, zeros, sizeof zeros)))
		return e;
	pack->head.plain_bytes = pack_out_plain_bytes(pack->out);
	if ((e = pack_out_end(pack->out, &done->put, &done->stored_bytes, &done->digest)))
		return e;
	pack->head.pack_bytes = done->stored_bytes;
	memcpy(pack->head.pack_digest, done->digest.bytes, DIGEST_BYTES);
	if ((e = make_index_file(pack, &done->index))) {
		pack_done_free(pack->config.store, done);
		return e;
	}
	done->records = pack->seals;
	pack->seals = (struct buffer){ 0 };
	hold(pack);
	return OK;
}

void pack_done_free(struct store *store, struct pack_done *done)
{
	store->type->put_abort(&done->put);
	buffer_free(&done->records);
	buffer_free(&done->index);
}
