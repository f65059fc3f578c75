/* Storing: objects with one request, parts, and the lock object's end. What it takes for an upload
 * is s3_upload.c's. */
#include "crypto/md5.h"
#include "engine/fiber.h"
#include "transport/s3_state.h"

enum { MD5_BYTES_AT_ONCE = 256 * 1024 /* between which others may run */ };

static const struct s3_operation put_object = { .name = "PutObject",
						.method = "PUT",
						.action = "s3:PutObject",
						.on_object = true,
						.stores = true };
static const struct s3_operation upload_part = {
	.name = "UploadPart", .method = "PUT", .action = "s3:PutObject", .on_object = true
};
static const struct s3_operation delete_object = {
	.name = "DeleteObject", .method = "DELETE", .action = "s3:DeleteObject", .on_object = true
};

/* ---- fields ---- */

void s3_call_storage(struct s3_call *call, bool is_transient)
{
	const struct s3_config *config = &call->s3->config;

	s3_call_field(call, "x-amz-server-side-encryption", config->encryption);
	s3_call_field(call, "x-amz-server-side-encryption-aws-kms-key-id", config->kms_key);
	s3_call_field(call, "x-amz-server-side-encryption-context", config->kms_context);
	s3_call_field(call, "x-amz-server-side-encryption-bucket-key-enabled",
		      config->bucket_key ? "true" : NULL);
	if (is_transient)
		return;
	s3_call_field(call, "x-amz-storage-class", config->storage_class);
	s3_call_field(call, "x-amz-object-lock-mode", config->lock_mode);
	s3_call_field(call, "x-amz-object-lock-retain-until-date", config->retain_until);
	s3_call_field(call, "x-amz-object-lock-legal-hold", config->legal_hold ? "ON" : NULL);
}

void s3_call_metadata(struct s3_call *call, const struct s3_metadata *metadata, size_t count)
{
	must(count <= S3_METADATA_MAX);
	for (size_t i = 0; i < count; i++)
		s3_call_field(call, metadata[i].name, metadata[i].value);
}

/* Without its quotes, against RFC 9110: AWS compares what is within them (versity/versitygw pull
 * request 1715), and radosgw's writes know no ETag with quotes. */
static const char *bare_etag(const char *etag, char to[S3_ETAG_BYTES_MAX + 1])
{
	size_t bytes;

	if (!etag)
		return NULL;
	etag += *etag == '"';
	bytes = min_u64(strcspn(etag, "\""), S3_ETAG_BYTES_MAX);
	bytes_copy(to, etag, bytes, BYTES_META);
	to[bytes] = '\0';
	return to;
}

void s3_call_checksum(struct s3_call *call, uint64_t crc, char base64[CRC_BASE64_BYTES])
{
	crc_base64(call->s3->config.checksum, crc, base64);
	s3_call_field(call, "x-amz-sdk-checksum-algorithm", s3_checksum_algorithm(call->s3));
	s3_call_field(call, s3_checksum_field(call->s3), base64);
}

/* ---- proof ---- */

enum err s3_compare(const char *said, const char *sent, enum s3_proof *proof)
{
	if (!*said)
		return OK;
	if (strcmp(said, sent) != 0)
		return RAISE(ERR_S3_CHECKSUM,
			     "S3 answers that it has stored bytes with the checksum %.24s, and %s "
			     "were sent: do not trust this object, and look for what alters bytes",
			     said, sent);
	*proof = S3_PROOF_CHECKSUM;
	return OK;
}

static enum err feed_md5(struct md5 *md5, struct text piece)
{
	enum err e = OK;

	while (!e && piece.bytes > 0) {
		size_t bytes = min_u64(piece.bytes, MD5_BYTES_AT_ONCE);

		md5_feed(md5, piece.at, bytes);
		piece = (struct text){ piece.at + bytes, piece.bytes - bytes };
		e = fiber_yield();
	}
	return e;
}

/* An ETag may be something else than an MD5 (of SSE-KMS, of other servers), so one that differs
 * proves nothing either way. */
static enum err compare_etag(const struct s3_call *call, const char *etag, enum s3_proof *proof)
{
	char hex[MD5_HEX_BYTES];
	struct md5 *md5 = md5_open();
	enum err e = OK;

	if (!md5)
		return OK;
	for (size_t i = 0; !e && i < call->pieces_count; i++)
		e = feed_md5(md5, call->pieces[i]);
	if (!e) {
		etag += *etag == '"';
		md5_end(md5, hex);
		if (strncmp(etag, hex, sizeof hex - 1) == 0 && strlen(etag) <= sizeof hex)
			*proof = S3_PROOF_ETAG;
	}
	md5_close(&md5);
	return e;
}

/* ---- one body ---- */

struct storing {
	char base64[CRC_BASE64_BYTES];
	struct s3_stored *out;
};

static enum err take_stored(struct s3_call *call, struct http *http, const struct http_head *head)
{
	const struct storing *storing = call->owner;
	struct s3_stored *out = storing->out;
	char said[S3_CHECKSUM_BYTES_MAX + 1];
	enum err e;

	http_parse_copy_field(head->fields, "ETag", out->etag, sizeof out->etag);
	http_parse_copy_field(head->fields, "x-amz-version-id", out->version_id,
			      sizeof out->version_id);
	http_parse_copy_field(head->fields, s3_checksum_field(call->s3), said, sizeof said);
	if ((e = s3_take_nothing(call, http)))
		return e;
	if (!*out->etag)
		return RAISE(ERR_HTTP_SYNTAX,
			     "the answer has no ETag: it may not be S3 that "
			     "answers at %s",
			     call->s3->host);
	return s3_compare(said, storing->base64, &out->proof);
}

static enum err store(struct s3_call *call, uint64_t crc, nsec until, struct s3_stored *out)
{
	struct storing storing = { .out = out };
	enum err e;

	s3_call_checksum(call, crc, storing.base64);
	call->take = take_stored;
	call->owner = &storing;
	e = s3_ask(call, until);
	if (!e && out->proof == S3_PROOF_NONE)
		e = compare_etag(call, out->etag, &out->proof);
	out->maybe_ours = call->is_unsure;
	return e;
}

enum err s3_put(struct s3 *s3, const struct s3_put *put, nsec until, struct s3_stored *out)
{
	char bare[S3_ETAG_BYTES_MAX + 1];
	const char *if_match = bare_etag(put->if_match, bare); /* may lie in `out` */
	struct s3_call *call;
	enum err e;

	*out = (struct s3_stored){ .proof = S3_PROOF_NONE };
	must(!put->only_if_absent || !if_match);
	if ((e = s3_call_open(s3, &put_object, put->key, &call)))
		return e;
	s3_call_field(call, "if-none-match", put->only_if_absent ? "*" : NULL);
	s3_call_field(call, "if-match", if_match);
	s3_call_storage(call, put->is_transient);
	s3_call_metadata(call, put->metadata, put->metadata_count);
	call->pieces = put->pieces;
	call->pieces_count = put->pieces_count;
	e = store(call, put->crc, until, out);
	s3_call_close(&call);
	return e;
}

enum err s3_upload_part(struct s3 *s3, const struct s3_part_put *part, nsec until,
			struct s3_stored *out)
{
	struct s3_call *call;
	enum err e;

	*out = (struct s3_stored){ .proof = S3_PROOF_NONE };
	must(part->number > 0 && part->number <= S3_PARTS_MAX);
	if ((e = s3_call_open(s3, &upload_part, part->key, &call)))
		return e;
	s3_call_number(call, "partNumber", part->number);
	sigv4_add_parameter(&call->target, "uploadId", text_of(part->upload_id));
	call->pieces = part->pieces;
	call->pieces_count = part->pieces_count;
	e = store(call, part->crc, until, out);
	s3_call_close(&call);
	return e;
}

/* An earlier attempt may have done it: then there is nothing, or, in a bucket with versions, a
 * marker that no ETag is that of (412, as of an object of somebody else's). */
static enum err was_deleted(struct s3_call *call, nsec until, enum err e)
{
	struct s3_about about;
	struct err_note said;

	if (!call->is_unsure || (e != ERR_S3_ABSENT && e != ERR_S3_CHANGED))
		return e;
	said = *err_note();
	if (!call->had_note)
		err_note_clear();
	if (e == ERR_S3_CHANGED && s3_head(call->s3, call->key, until, &about) != ERR_S3_ABSENT) {
		*err_note() = said;
		return e;
	}
	if (!call->had_note)
		err_note_clear();
	return OK;
}

enum err s3_delete(struct s3 *s3, const char *key, const char *if_match, nsec until)
{
	char bare[S3_ETAG_BYTES_MAX + 1];
	struct s3_call *call;
	enum err e;

	if ((e = s3_call_open(s3, &delete_object, key, &call)))
		return e;
	s3_call_field(call, "if-match", bare_etag(if_match, bare));
	e = was_deleted(call, until, s3_ask(call, until));
	s3_call_close(&call);
	return e;
}
