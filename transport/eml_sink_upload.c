/* A message that is longer than a part: the write fiber sends it by parts, as it comes. */
#include "transport/eml_sink_state.h"

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

/* Somebody else's hand, or a server that lags: nothing is told of what is not there. */
static enum err check_there(const struct eml_letter *letter)
{
	return letter->there != STORE_S3_ABSENT
		       ? OK
		       : RAISE(ERR_S3_UNAVAILABLE,
			       "%s was there, and is not any more: somebody else writes there; see "
			       "who, and run again",
			       letter->key);
}

static enum err upload_end(struct eml_sink *sink, struct uploading *uploading,
			   struct eml_letter *letter)
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
			e = eml_letter_compare_flags(sink, letter);
	}
	return uploading->failed = e;
}

/* All of it was sent, and nothing of it is there before its seal is durable. */
static enum err upload_seal(struct eml_sink *sink, struct uploading *uploading,
			    struct eml_letter *letter, const struct item *item)
{
	enum err e = eml_sink_is_broken(sink);

	letter->digest = item->digest;
	letter->kind = item->mail_kind;
	letter->crc = uploading->crc;
	letter->state = EML_LETTER_FILLED;
	wake_all(&sink->changed);
	while (!e && letter->state != EML_LETTER_SENT)
		e = eml_sink_wait(sink);
	return uploading->failed = e;
}

enum err eml_sink_upload(struct eml_sink *sink, struct eml_letter *letter, struct item *item)
{
	struct uploading uploading = { .store = sink->entry.store,
				       .checksum = eml_sink_checksum(sink) };
	enum err e;

	letter->state = EML_LETTER_FILLING;
	eml_letter_append(sink, letter);
	eml_letter_say(sink, letter, NULL);
	e = uploading.failed =
		store_s3_put_open_with(sink->entry.store, letter->key, letter->saying.metadata,
				       letter->saying.count, &uploading.put);
	if (!e && !(e = eml_letter_pull(item, upload_bytes, &uploading)) &&
	    !(e = upload_seal(sink, &uploading, letter, item)))
		e = upload_end(sink, &uploading, letter);
	sink->entry.store->type->put_abort(&uploading.put);
	if (uploading.failed && err_retry_class(e) != RETRY_SKIP_MSG)
		return eml_sink_breaks(sink, e); /* what became of it is for the next run to see */
	letter->state = e ? EML_LETTER_DROPPED : EML_LETTER_ANSWERED;
	wake_all(&sink->changed);
	return e;
}
