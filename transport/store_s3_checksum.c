/* Which checksum the service of a bucket knows, and by what each object was proved. AWS knows
 * CRC64NVME; others may refuse it, or ignore it and say none of what they store. So it is tried,
 * once, with an upload of a few bytes that is never completed: nothing of it is ever there. */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "crypto/md5.h"
#include "engine/log.h"
#include "transport/store_s3_state.h"

/* What a service makes of a checksum, the better the higher. */
enum answer { REFUSED, IGNORED, CONFIRMED };

/* Ours by its form, so that the next run ends what this one leaves. */
static const char trial_key[] = "mailhaul/checksum/000000000000.trial", trial_text[] = "mailhaul\n";

void store_s3_checksum_use(struct store_s3_place *place, enum crc_kind kind)
{
	place->checksum = kind;
	s3_checksum_use(place->s3, kind);
}

/* Others below the prefix who end our uploads see to it that there is no answer. */
static enum err try_part(struct store_s3_place *place, const char *full, const char *upload_id,
			 enum answer *answer)
{
	const struct text piece = text_of(trial_text);
	const struct s3_part_put part = {
		.key = full,
		.upload_id = upload_id,
		.number = 1,
		.pieces = &piece,
		.pieces_count = 1,
		.crc = crc_update(place->checksum, 0, piece.at, piece.bytes),
	};
	struct s3_stored *stored = malloc(sizeof *stored);
	enum err e =
		stored ? s3_upload_part(place->s3, &part, store_s3_patience(), stored)
		       : RAISE(ERR_MEMORY_EXHAUSTED, "trying the checksums of %s", place->name);

	*answer = stored && stored->proof == S3_PROOF_CHECKSUM ? CONFIRMED : IGNORED;
	free(stored);
	return e;
}

static enum err try_upload(struct store_s3_place *place, enum answer *answer)
{
	char full[S3_KEY_BYTES_MAX + 1], upload_id[S3_UPLOAD_ID_BYTES_MAX + 1];
	const struct s3_begin begin = { .key = store_s3_key(full, place, trial_key) };
	struct err_note why;
	enum err e, end;

	if ((e = s3_upload_begin(place->s3, &begin, store_s3_patience(), upload_id)))
		return e;
	e = try_part(place, full, upload_id, answer);
	why = *err_note();
	err_note_clear();
	end = store_s3_upload_end(place, full, upload_id, store_s3_patience());
	if (e)
		*err_note() = why;
	return e ? e : end;
}

static void say_choice(const struct store_s3_place *place, enum answer answer)
{
	if (answer != CONFIRMED)
		log_event(
			LOG_WARN, "store.checksum",
			"!place=\"%s\" checksum=none what=\"this server says no checksum of what "
			"it stores: MD5s are compared, and what is stored in parts is read back\"",
			place->name);
	else if (place->checksum == CRC32C)
		log_event(LOG_WARN, "store.checksum",
			  "!place=\"%s\" checksum=CRC32C what=\"this server does not know "
			  "CRC64NVME\"",
			  place->name);
}

/* Where both are refused the first refusal says why; where none is confirmed, ours is the longer
 * one, with which what is read back is compared. */
enum err store_s3_checksum_choose(struct store_s3_place *place)
{
	static const enum crc_kind kinds[] = { CRC64NVME, CRC32C };
	enum answer best = REFUSED, answer;
	enum crc_kind chosen = CRC64NVME;
	struct err_note refusal = { .error = OK };
	enum err e;

	if (!place->is_careful || place->checksum != CRC64NVME)
		return OK;
	for (size_t i = 0; i < ARRAY_COUNT(kinds) && best != CONFIRMED; i++) {
		store_s3_checksum_use(place, kinds[i]);
		answer = REFUSED;
		e = try_upload(place, &answer);
		if (e && e != ERR_S3_REFUSED && e != ERR_S3_LACKS)
			return e;
		if (e && !refusal.error)
			refusal = *err_note();
		if (e)
			err_note_clear();
		else if (answer > best) {
			best = answer;
			chosen = kinds[i];
		}
	}
	store_s3_checksum_use(place, chosen);
	if (best == REFUSED) {
		*err_note() = refusal;
		return refusal.error;
	}
	say_choice(place, best);
	return OK;
}

/* ---- proofs ---- */

void store_s3_proved(const struct store_s3_place *place, enum store_s3_proof proof)
{
	struct store_s3_proofs *proofs = place->config->proofs;

	if (proofs)
		atomic_fetch_add_explicit(&proofs->objects[proof], 1, memory_order_relaxed);
}

enum store_s3_proof store_s3_proof_of(const struct store_s3_place *place, enum s3_proof proof)
{
	must(proof != S3_PROOF_NONE);
	if (proof == S3_PROOF_ETAG)
		return STORE_S3_BY_ETAG;
	return place->checksum == CRC32C ? STORE_S3_BY_CRC32C : STORE_S3_BY_CRC64NVME;
}

bool store_s3_etag_is_of_parts(const struct s3_complete *complete, const char *etag)
{
	char hex[MD5_HEX_BYTES], said[MD5_HEX_BYTES + 12];
	struct md5 *md5 = md5_open();
	uint8_t digest[MD5_HEX_BYTES / 2];
	bool all = md5 != NULL;

	for (size_t i = 0; i < complete->parts_count && all; i++) {
		const struct s3_part_sent *part = &complete->parts[i];
		struct text digits = { part->etag + (part->etag[0] == '"'), MD5_HEX_BYTES - 1 };

		all = part->etag_is_md5 && bytes_from_hex(digest, sizeof digest, digits);
		if (all)
			md5_feed(md5, digest, sizeof digest);
	}
	if (all) {
		md5_end(md5, hex);
		snprintf(said, sizeof said, "%s-%zu", hex, complete->parts_count);
		etag += *etag == '"';
		all = strncmp(etag, said, strlen(said)) == 0 &&
		      (!etag[strlen(said)] || strcmp(etag + strlen(said), "\"") == 0);
	}
	md5_close(&md5);
	return all;
}
