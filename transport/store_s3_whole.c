/* Small objects as one request each, and what lies under a key already. */
#include <stdio.h>
#include <stdlib.h>

#include "transport/store_s3_state.h"

enum { READ_BYTES = 1024 * 1024 };

/* The checksum of what is stored, by reading all of it. */
static enum err read_back(struct store_s3_place *place, const char *full,
			  const struct s3_about *about, uint64_t *crc)
{
	enum crc_kind kind = place->checksum;
	uint8_t *piece = malloc(READ_BYTES);
	struct s3_get get = { .key = full, .to = piece, .bytes = READ_BYTES, .etag = about->etag };
	size_t got = 0;
	enum err e = OK;

	*crc = 0;
	if (!piece)
		return RAISE(ERR_MEMORY_EXHAUSTED, "reading %s back", full);
	for (; get.at < about->bytes && !e; get.at += got) {
		e = s3_get(place->s3, &get, store_s3_patience(), &got);
		if (!e && got == 0)
			e = RAISE(ERR_SINK_DAMAGED, "%s%s ends too early", place->name, full);
		if (!e)
			*crc = crc_update(kind, *crc, piece, got);
	}
	free(piece);
	return e;
}

enum err store_s3_compare(struct store_s3_place *place, const char *key, uint64_t bytes,
			  uint64_t crc, enum store_s3_there *there)
{
	char full[S3_KEY_BYTES_MAX + 1], base64[CRC_BASE64_BYTES];
	struct s3_about about;
	uint64_t stored;
	enum err e =
		s3_head(place->s3, store_s3_key(full, place, key), store_s3_patience(), &about);

	*there = STORE_S3_ABSENT;
	if (e == ERR_S3_ABSENT) {
		err_note_clear();
		return OK;
	}
	if (e)
		return e;
	*there = STORE_S3_OTHER;
	if (about.bytes != bytes)
		return OK;
	if (!about.checksum[0]) {
		if (!(e = read_back(place, full, &about, &stored)) && stored == crc) {
			*there = STORE_S3_SAME;
			store_s3_proved(place, STORE_S3_BY_READ_BACK);
		}
		return e;
	}
	crc_base64(place->checksum, crc, base64);
	if (strcmp(about.checksum, base64) == 0) {
		*there = STORE_S3_SAME;
		store_s3_proved(place, store_s3_proof_of(place, S3_PROOF_CHECKSUM));
	}
	return OK;
}

enum err store_s3_prove(struct store_s3_place *place, const char *key, uint64_t bytes, uint64_t crc)
{
	enum store_s3_there there;
	enum err e = store_s3_compare(place, key, bytes, crc, &there);

	if (e || there == STORE_S3_SAME)
		return e;
	return RAISE(ERR_SINK_DAMAGED,
		     "%s%s is %s what was stored just now; do not trust this bucket before it is "
		     "known why",
		     place->name, key, there == STORE_S3_OTHER ? "not" : "absent, not");
}

static uint64_t object_crc(const struct store_s3_place *place, const struct store_s3_object *object,
			   uint64_t *bytes)
{
	uint64_t crc = 0;

	*bytes = 0;
	for (size_t i = 0; i < object->pieces_count; i++) {
		crc = crc_update(place->checksum, crc, object->pieces[i].at,
				 object->pieces[i].bytes);
		*bytes += object->pieces[i].bytes;
	}
	return crc;
}

/* What is there is what was to be written, if it has the same bytes: by an earlier attempt, or an
 * earlier run. */
static enum err put_object(struct store_s3_place *place, const struct store_s3_object *object,
			   uint64_t bytes, uint64_t crc, enum store_s3_there *there)
{
	char full[S3_KEY_BYTES_MAX + 1];
	const struct s3_put put = {
		.key = store_s3_key(full, place, object->key),
		.pieces = object->pieces,
		.pieces_count = object->pieces_count,
		.crc = crc,
		.only_if_absent = true,
		.metadata = object->metadata,
		.metadata_count = object->metadata_count,
	};
	struct s3_stored stored;
	enum err e = OK;

	if (place->is_careful)
		e = store_s3_compare(place, object->key, bytes, crc, there);
	if (e || *there != STORE_S3_ABSENT)
		return e;
	e = s3_put(place->s3, &put, store_s3_patience(), &stored);
	if (e == ERR_S3_EXISTS) {
		err_note_clear();
		e = store_s3_compare(place, object->key, bytes, crc, there);
		if (!e && *there == STORE_S3_ABSENT)
			e = RAISE(ERR_S3_UNAVAILABLE,
				  "%s%s was there, and is not any more: somebody else writes "
				  "there; see who, and run again",
				  place->name, object->key);
		return e;
	}
	if (!e && stored.proof == S3_PROOF_NONE)
		return store_s3_prove(place, object->key, bytes, crc);
	if (!e)
		store_s3_proved(place, store_s3_proof_of(place, stored.proof));
	return e;
}

enum err store_s3_whole_put(struct store_s3_place *place, const struct store_s3_object *object,
			    enum store_s3_there *there)
{
	uint64_t bytes, crc = object_crc(place, object, &bytes);
	enum err e;

	must(place->lock != NULL && store_key_is_valid(text_of(object->key)));
	*there = STORE_S3_ABSENT;
	e = put_object(place, object, bytes, crc, there);
	if (!e && *there != STORE_S3_OTHER)
		store_s3_was_stored(place, object->key, bytes, crc);
	return e;
}

enum err store_s3_put_whole(struct store_s3_place *place, const char *key, const void *from,
			    size_t n)
{
	const struct text piece = { from, n };
	const struct store_s3_object object = { .key = key, .pieces = &piece, .pieces_count = 1 };
	enum store_s3_there there;
	enum err e = store_s3_whole_put(place, &object, &there);

	if (e || there != STORE_S3_OTHER)
		return e;
	return RAISE(ERR_DISK_EXISTS, "%s%s is there already, with other bytes", place->name, key);
}
