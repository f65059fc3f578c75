/* Uploads in parts: their beginning and their two ends. Parts themselves are s3_put.c's. */
#include <stdio.h>
#include <stdlib.h>

#include "transport/s3_state.h"

enum {
	/* With a checksum beside each ETag the body of more would have over 1 MiB, which radosgw
	 * refuses (s3_xml.h). Then the ETags alone say which parts are meant. */
	PARTS_WITH_CHECKSUMS_MAX = 6900,
};
/* "Processing of a Complete Multipart Upload request could take several minutes"; S3 sends white
 * space meanwhile, others are silent. One that is never answered is to be asked again before the
 * lane gives its destination up (LANE_STALL, ten minutes). */
#define COMPLETE_FIRST_BYTE (4 * 60 * NSEC_SECOND)

static const struct s3_operation create_upload = { .name = "CreateMultipartUpload",
						   .method = "POST",
						   .action = "s3:PutObject",
						   .on_object = true,
						   .stores = true };
static const struct s3_operation complete_upload = { .name = "CompleteMultipartUpload",
						     .method = "POST",
						     .action = "s3:PutObject",
						     .on_object = true,
						     .stores = true };
static const struct s3_operation abort_upload = { .name = "AbortMultipartUpload",
						  .method = "DELETE",
						  .action = "s3:AbortMultipartUpload",
						  .on_object = true };

/* ---- CreateMultipartUpload ---- */

static enum err take_begun(struct s3_call *call, struct http *http, const struct http_head *head)
{
	struct xml_sheet sheets[2] = { { .form = &s3_xml_upload_begun,
					 .to = call->owner,
					 .bytes = sizeof(struct s3_upload_begun) } };

	(void)head;
	return s3_take_xml(call, http, sheets, 1);
}

static enum err begin_upload(struct s3_call *call, nsec until, char *upload_id)
{
	struct s3_upload_begun *begun = calloc(1, sizeof *begun);
	enum err e;

	if (!begun)
		return RAISE(ERR_MEMORY_EXHAUSTED, "an upload to bucket %s",
			     call->s3->config.bucket);
	call->take = take_begun;
	call->owner = begun;
	e = s3_ask(call, until);
	bytes_copy(upload_id, begun->upload_id, sizeof begun->upload_id, BYTES_META);
	free(begun);
	return e;
}

enum err s3_upload_begin(struct s3 *s3, const struct s3_begin *begin, nsec until,
			 char upload_id[S3_UPLOAD_ID_BYTES_MAX + 1])
{
	struct s3_call *call;
	enum err e;

	upload_id[0] = '\0';
	if ((e = s3_call_open(s3, &create_upload, begin->key, &call)))
		return e;
	buffer_add_text(&call->target, "?uploads=");
	s3_call_field(call, "x-amz-checksum-algorithm", s3_checksum_algorithm(s3));
	s3_call_field(call, "x-amz-checksum-type", "FULL_OBJECT");
	s3_call_storage(call, false);
	s3_call_metadata(call, begin->metadata, begin->metadata_count);
	e = begin_upload(call, until, upload_id);
	s3_call_close(&call);
	return e;
}

/* ---- CompleteMultipartUpload ---- */

static enum err list_parts(const struct s3 *s3, const struct s3_complete *complete,
			   struct buffer *to)
{
	bool with_checksums = complete->parts_count <= PARTS_WITH_CHECKSUMS_MAX;
	char base64[CRC_BASE64_BYTES];

	s3_xml_complete_begin(to);
	for (size_t i = 0; i < complete->parts_count; i++) {
		const struct s3_part_sent *part = &complete->parts[i];

		must(i == 0 || part->number > complete->parts[i - 1].number);
		crc_base64(s3->config.checksum, part->crc, base64);
		if (!s3_xml_complete_part(to, part->number, text_of(part->etag),
					  with_checksums ? s3_checksum_element(s3) : NULL,
					  text_of(base64)))
			return RAISE(ERR_XML_SYNTAX,
				     "completing an upload of %.100s in bucket %s: S3 gave part %u "
				     "an ETag that cannot be said in XML",
				     complete->key, s3->config.bucket, part->number);
	}
	s3_xml_complete_end(to);
	if (to->failed)
		return RAISE(ERR_MEMORY_EXHAUSTED, "completing an upload to bucket %s",
			     s3->config.bucket);
	return OK;
}

struct completing {
	char base64[CRC_BASE64_BYTES];
	char bytes[21];
	struct buffer body;
	struct s3_stored *out;
	struct s3_upload_completed completed;
};

static enum err take_completed(struct s3_call *call, struct http *http,
			       const struct http_head *head)
{
	struct completing *completing = call->owner;
	struct s3_upload_completed *completed = &completing->completed;
	struct xml_sheet sheets[2] = { XML_SHEET(&s3_xml_upload_completed, completed) };
	struct s3_stored *out = completing->out;
	enum err e;

	http_parse_copy_field(head->fields, "x-amz-version-id", out->version_id,
			      sizeof out->version_id);
	if ((e = s3_take_xml(call, http, sheets, 1)))
		return e;
	snprintf(out->etag, sizeof out->etag, "%s", completed->etag);
	/* A checksum of the parts' checksums ("-3" behind it) says nothing of the whole. */
	if (strchr(s3_checksum_of(call->s3, &completed->checksums), '-'))
		return OK;
	return s3_compare(s3_checksum_of(call->s3, &completed->checksums), completing->base64,
			  &out->proof);
}

static enum err complete_with(struct s3_call *call, const struct s3_complete *complete, nsec until,
			      struct completing *completing)
{
	enum err e;

	if ((e = list_parts(call->s3, complete, &completing->body)))
		return e;
	sigv4_add_parameter(&call->target, "uploadId", text_of(complete->upload_id));
	s3_call_field(call, "if-none-match", complete->only_if_absent ? "*" : NULL);
	crc_base64(call->s3->config.checksum, complete->crc, completing->base64);
	s3_call_field(call, s3_checksum_field(call->s3), completing->base64);
	s3_call_field(call, "x-amz-checksum-type", "FULL_OBJECT");
	snprintf(completing->bytes, sizeof completing->bytes, "%llu",
		 (unsigned long long)complete->bytes);
	s3_call_field(call, "x-amz-mp-object-size", completing->bytes);
	call->body = (struct text){ completing->body.at, completing->body.bytes };
	call->first_byte = COMPLETE_FIRST_BYTE;
	call->take = take_completed;
	call->owner = completing;
	e = s3_ask(call, until);
	completing->out->maybe_ours = call->is_unsure;
	return e;
}

enum err s3_upload_complete(struct s3 *s3, const struct s3_complete *complete, nsec until,
			    struct s3_stored *out)
{
	struct completing *completing = calloc(1, sizeof *completing);
	struct s3_call *call = NULL;
	enum err e;

	*out = (struct s3_stored){ .proof = S3_PROOF_NONE };
	if (!completing)
		return RAISE(ERR_MEMORY_EXHAUSTED, "completing an upload to bucket %s",
			     s3->config.bucket);
	completing->out = out;
	if ((e = s3_call_open(s3, &complete_upload, complete->key, &call)) == OK)
		e = complete_with(call, complete, until, completing);
	s3_call_close(&call);
	buffer_free(&completing->body);
	free(completing);
	return e;
}

/* ---- AbortMultipartUpload ---- */

enum err s3_upload_abort(struct s3 *s3, const char *key, const char *upload_id, nsec until)
{
	struct s3_call *call;
	enum err e;

	if ((e = s3_call_open(s3, &abort_upload, key, &call)))
		return e;
	sigv4_add_parameter(&call->target, "uploadId", text_of(upload_id));
	e = s3_ask(call, until);
	s3_call_close(&call);
	return e;
}
