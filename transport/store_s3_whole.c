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

/* There is something under the key; if it has the same bytes, it is what was to be written: by an
 * earlier attempt, or an earlier run. */
static enum err is_there(struct store_s3_place *place, const char *key, size_t n, uint64_t crc)
{
	enum store_s3_there there;
	enum err e = store_s3_compare(place, key, n, crc, &there);

	if (e || there == STORE_S3_SAME)
		return e;
	return RAISE(ERR_DISK_EXISTS, "%s%s is there already, with other bytes", place->name, key);
}

static enum err put_whole(struct store_s3_place *place, const char *key, const struct s3_put *put,
			  size_t n)
{
	enum store_s3_there there = STORE_S3_ABSENT;
	struct s3_stored stored;
	enum err e = OK;

	if (place->is_careful)
		e = store_s3_compare(place, key, n, put->crc, &there);
	if (e || there == STORE_S3_SAME)
		return e;
	if (there == STORE_S3_OTHER)
		return is_there(place, key, n, put->crc);
	e = s3_put(place->s3, put, store_s3_patience(), &stored);
	if (e == ERR_S3_EXISTS) {
		err_note_clear();
		return is_there(place, key, n, put->crc);
	}
	if (!e && stored.proof == S3_PROOF_NONE)
		return store_s3_prove(place, key, n, put->crc);
	if (!e)
		store_s3_proved(place, store_s3_proof_of(place, stored.proof));
	return e;
}

enum err store_s3_put_whole(struct store_s3_place *place, const char *key, const void *from,
			    size_t n)
{
	char full[S3_KEY_BYTES_MAX + 1];
	const struct text piece = { from, n };
	const struct s3_put put = {
		.key = store_s3_key(full, place, key),
		.pieces = &piece,
		.pieces_count = 1,
		.crc = crc_update(place->checksum, 0, from, n),
		.only_if_absent = true,
	};
	enum err e;

	must(place->lock != NULL && store_key_is_valid(text_of(key)));
	if ((e = put_whole(place, key, &put, n)) == OK)
		store_s3_was_stored(place, key, n, put.crc);
	return e;
}
