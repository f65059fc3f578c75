/* Who may write to an archive in a bucket: the lock object, and uploads that others left. */
#include <stdio.h>
#include <stdlib.h>

#include "engine/clock.h"
#include "engine/log.h"
#include "engine/mail.h"
#include "transport/json.h"
#include "transport/store_s3_put.h"

enum {
	LOCK_VERSION = 1,
	LOCK_BYTES_MAX = 2048,
	/* To read and to write: more often only where others write it all the time. */
	LOCK_TRIES = 4,
	WRITER_BYTES = 8,
	/* Uploads that come while those that are there are ended are of somebody who ignores the
	 * lock. */
	END_ROUNDS = 8,
	/* After an abort, parts that are on their way may still arrive; S3 has none after the
	 * first. */
	END_TRIES = 10,
};
#define END_AGAIN_NS (100 * NSEC_MILLISECOND)

static const char lock_key[] = ".lock";
_Static_assert((int)STORE_LOCK_TAG_BYTES > (int)S3_ETAG_BYTES_MAX, "an ETag fits");

struct lock_file {
	char format[32];
	uint64_t version;
	uint8_t ledger[STORE_S3_LEDGER_BYTES], writer[WRITER_BYTES];
	char host[256], since[40];
};

static const struct json_field lock_fields[] = {
	JSON_FIELD("format", JSON_TEXT, struct lock_file, format),
	JSON_FIELD("version", JSON_NUMBER, struct lock_file, version),
	JSON_FIELD("ledger", JSON_HEX, struct lock_file, ledger),
	JSON_FIELD("writer", JSON_HEX, struct lock_file, writer),
	JSON_FIELD("host", JSON_TEXT, struct lock_file, host),
	JSON_FIELD("since", JSON_TEXT, struct lock_file, since),
};

/* ---- the lock object ---- */

/* One look at it: more than a fiber's frame should hold. */
struct lock_look {
	struct s3_about about;
	struct lock_file file;
	char text[LOCK_BYTES_MAX];
};

/* ERR_S3_ABSENT, ERR_S3_CHANGED: it was given back, or taken over, in between. */
static enum err lock_read(struct store_s3_place *place, struct lock_look *look)
{
	char full[S3_KEY_BYTES_MAX + 1];
	struct s3_get get = { .key = store_s3_key(full, place, lock_key),
			      .to = look->text,
			      .etag = look->about.etag };
	struct lock_file *file = &look->file;
	size_t got = 0;
	enum err e = s3_head(place->s3, full, store_s3_patience(), &look->about);

	if (e)
		return e;
	get.bytes = min_u64(look->about.bytes, sizeof look->text);
	if (get.bytes > 0 && (e = s3_get(place->s3, &get, store_s3_patience(), &got)))
		return e;
	*file = (struct lock_file){ 0 };
	if (look->about.bytes > got ||
	    !json_read((struct text){ look->text, got }, lock_fields, ARRAY_COUNT(lock_fields),
		       file) ||
	    strcmp(file->format, "mailhaul-lock") != 0 || file->version != LOCK_VERSION)
		return RAISE(ERR_SINK_FOREIGN,
			     "%s%s is no lock that this version can read; see who wrote it",
			     place->name, lock_key);
	return OK;
}

static enum err lock_write(struct store_s3_place *place, const uint8_t writer[WRITER_BYTES],
			   const char *if_match, struct s3_stored *stored)
{
	const struct mail_date now = { .seconds = clock_wall() / NSEC_SECOND, .known = true };
	char full[S3_KEY_BYTES_MAX + 1], date[40];
	struct buffer file = { 0 };
	struct text piece;
	enum err e;

	json_begin(&file);
	json_add_text(&file, "format", text_of("mailhaul-lock"));
	json_add_number(&file, "version", LOCK_VERSION);
	json_add_hex(&file, "ledger", place->config->ledger_id, STORE_S3_LEDGER_BYTES);
	json_add_hex(&file, "writer", writer, WRITER_BYTES);
	json_add_text(&file, "host", text_of(place->config->machine));
	json_add_text(&file, "since", text_of(mail_date_rfc3339(date, &now)));
	json_end(&file);
	piece = (struct text){ file.at, file.bytes };
	e = file.failed ? RAISE(ERR_MEMORY_EXHAUSTED, "locking %s", place->name)
			: s3_put(place->s3,
				 &(struct s3_put){
					 .key = store_s3_key(full, place, lock_key),
					 .pieces = &piece,
					 .pieces_count = 1,
					 .crc = crc_update(place->checksum, 0, file.at, file.bytes),
					 .only_if_absent = !if_match,
					 .if_match = if_match,
					 .is_transient = true,
				 },
				 store_s3_patience(), stored);
	buffer_free(&file);
	return e;
}

static enum err busy(const struct store_s3_place *place, const struct lock_file *file)
{
	char host[80], since[60];

	return RAISE(ERR_SINK_BUSY,
		     "a mailhaul on %s writes to %s since %s; let it end first, or if it is dead, "
		     "delete %s%s",
		     err_quote(host, sizeof host, text_of(file->host)), place->name,
		     err_quote(since, sizeof since, text_of(file->since)), place->prefix, lock_key);
}

/* The ledger's own lock says that no other run of it is alive on this machine. */
static bool is_of_a_dead_one(const struct store_s3_place *place, const struct lock_file *file)
{
	return memcmp(file->ledger, place->config->ledger_id, sizeof file->ledger) == 0 &&
	       strcmp(file->host, place->config->machine) == 0;
}

/* Another had it first, gave it back or took it over, or an earlier attempt of ours did: look
 * again.
 */
static bool has_moved(enum err e)
{
	return e == ERR_S3_EXISTS || e == ERR_S3_CHANGED || e == ERR_S3_ABSENT;
}

/* One look, and one write if it may be: `tag` is the ETag when it is known to be ours. */
static enum err lock_try(struct store_s3_place *place, struct lock_look *look,
			 const uint8_t writer[WRITER_BYTES], char tag[STORE_LOCK_TAG_BYTES])
{
	struct s3_stored stored;
	enum err e = lock_read(place, look);
	bool found = e == OK;

	if (found && memcmp(look->file.writer, writer, WRITER_BYTES) == 0) {
		snprintf(tag, STORE_LOCK_TAG_BYTES, "%s", look->about.etag);
		return OK;
	}
	if (found && !is_of_a_dead_one(place, &look->file))
		return busy(place, &look->file);
	if (e == ERR_S3_ABSENT)
		err_note_clear();
	else if (e)
		return e;
	if ((e = lock_write(place, writer, found ? look->about.etag : NULL, &stored)))
		return e;
	/* A server that ignores conditions may have let another write at the same time. */
	if (!place->is_careful && stored.proof != S3_PROOF_NONE)
		snprintf(tag, STORE_LOCK_TAG_BYTES, "%s", stored.etag);
	return OK;
}

static enum err lock_take(struct store_s3_place *place, char tag[STORE_LOCK_TAG_BYTES])
{
	struct lock_look *look = malloc(sizeof *look);
	uint8_t writer[WRITER_BYTES];
	enum err e = OK;

	if (!look)
		return RAISE(ERR_MEMORY_EXHAUSTED, "locking %s", place->name);
	clock_random(writer, sizeof writer);
	for (int i = 0; i < LOCK_TRIES && !tag[0] && !e; i++)
		if (has_moved(e = lock_try(place, look, writer, tag))) {
			err_note_clear();
			e = OK;
		}
	free(look);
	if (e || tag[0])
		return e;
	return RAISE(ERR_SINK_BUSY, "others write %s%s at the same time; run again when they ended",
		     place->name, lock_key);
}

enum err store_s3_lock(struct store_s3_place *place)
{
	union store_lock_held *held;
	bool first;
	enum err e;

	if (place->lock)
		return OK;
	must(place->config->ledger_id && place->config->machine);
	if ((e = store_lock_enter(place->name, store_s3_patience(), &place->lock, &first)))
		return e;
	if (first && place->is_careful)
		log_event(LOG_WARN, "store.unconditional",
			  "!place=\"%s\" what=\"this server may ignore If-None-Match: let nobody "
			  "else write there\"",
			  place->name);
	held = store_lock_held(place->lock);
	if (first &&
	    ((e = store_s3_checksum_choose(place)) || (e = lock_take(place, held->object.tag)) ||
	     (e = store_s3_uploads_end(place, "", store_s3_patience())))) {
		store_s3_unlock(place, store_s3_patience());
		return e;
	}
	if (first)
		held->object.checksum = place->checksum;
	else
		store_s3_checksum_use(place, (enum crc_kind)held->object.checksum);
	store_lock_ready(place->lock);
	return OK;
}

/* The next run gets over it. */
static void left(const char *event, enum err e)
{
	if (e && e != ERR_S3_ABSENT)
		log_error(LOG_WARN, event, e);
	err_note_clear();
}

void store_s3_unlock(struct store_s3_place *place, nsec until)
{
	const struct err_note before =
		*err_note(); /* why the run failed, not what goes wrong now */
	char full[S3_KEY_BYTES_MAX + 1];
	union store_lock_held held;
	const char *tag;

	if (!place->lock)
		return;
	err_note_clear();
	left("store.upload_left", store_s3_put_end_given_up(place, until));
	tag = store_lock_held(place->lock)->object.tag;
	if (store_lock_end(place->lock) && tag[0]) {
		/* A CreateMultipartUpload may have been carried out later than the uploads were
		 * ended that were there at the beginning. */
		left("store.upload_left", store_s3_uploads_end(place, "", until));
		left("store.lock_left",
		     s3_delete(place->s3, store_s3_key(full, place, lock_key), tag, until));
	}
	(void)store_lock_leave(&place->lock, &held);
	*err_note() = before;
}

/* ---- uploads ---- */

/* What is written by parts. */
static bool is_ours(const struct store_s3_place *place, const char *full)
{
	size_t prefix_bytes = strlen(place->prefix);

	return strncmp(full, place->prefix, prefix_bytes) == 0 &&
	       (store_key_is_numbered(text_of(full + prefix_bytes)) ||
		store_key_is_single(text_of(full + prefix_bytes)));
}

struct uploads {
	struct store_s3_place *place;
	uint64_t count;
	nsec until;
};

static enum err take_to_count(void *context, const struct s3_entry *entry)
{
	struct uploads *uploads = context;

	uploads->count += is_ours(uploads->place, entry->key);
	return OK;
}

static enum err take_to_end(void *context, const struct s3_entry *entry)
{
	struct uploads *uploads = context;

	if (!is_ours(uploads->place, entry->key))
		return OK;
	uploads->count++;
	return store_s3_upload_end(uploads->place, entry->key, entry->id, uploads->until);
}

static enum err take_nothing(void *context, const struct s3_entry *entry)
{
	(void)context, (void)entry;
	return OK;
}

enum err store_s3_upload_end(struct store_s3_place *place, const char *key, const char *upload_id,
			     nsec until)
{
	nsec pause = END_AGAIN_NS;
	enum err e = OK;

	for (int i = 0; i < END_TRIES && !e; i++, pause *= 2) {
		if (i > 0 && (e = fiber_sleep(clock_after(pause))))
			return e;
		e = s3_upload_abort(place->s3, key, upload_id, until);
		if (!e)
			e = s3_list_parts(place->s3, key, upload_id, take_nothing, NULL, until);
	}
	if (e == ERR_S3_ABSENT) {
		err_note_clear();
		return OK;
	}
	return e ? e
		 : RAISE(ERR_S3_UNAVAILABLE,
			 "the upload of %s in %s was aborted and is still there; run again later",
			 key, place->name);
}

enum err store_s3_uploads_end(struct store_s3_place *place, const char *below, nsec until)
{
	char full[S3_KEY_BYTES_MAX + 1];
	struct uploads uploads = { .place = place, .until = until };
	enum err e;

	store_s3_key(full, place, below);
	for (int round = 0; round < END_ROUNDS; round++) {
		uploads.count = 0;
		e = s3_list_uploads(place->s3, full, take_to_end, &uploads, uploads.until);
		if (e || uploads.count == 0)
			return e;
	}
	return RAISE(ERR_SINK_BUSY,
		     "there are new uploads below %s each time that we look: somebody else writes "
		     "there",
		     place->name);
}

enum err store_s3_uploads_count(struct store_s3_place *place, uint64_t *count)
{
	struct uploads uploads = { .place = place };
	enum err e = s3_list_uploads(place->s3, place->prefix, take_to_count, &uploads,
				     store_s3_patience());

	*count = uploads.count;
	return e;
}
