/* Multipart uploads of the S3 stand-in: CreateMultipartUpload, UploadPart, CompleteMultipartUpload,
 * AbortMultipartUpload, ListParts of the Amazon S3 API Reference. */
#include "tests/sim/s3_model_state.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

enum { LISTED_MAX = 1000 };

static const char type_field[] = "x-amz-checksum-type";

/* ---- CreateMultipartUpload ---- */

/* CRC64NVME is of the full object only, SHA of the parts only, the other CRCs are what is asked for
 * (User Guide, "Checking object integrity": full object and composite checksum types). */
static bool read_algorithm(struct s3_model_request *r, enum s3_model_algorithm *algorithm,
			   bool *composite)
{
	char name[24], type[24];
	bool typed = s3_model_header_text(r, type_field, type, sizeof type), of_full, of_parts;

	if (!s3_model_header_text(r, "x-amz-checksum-algorithm", name, sizeof name)) {
		*composite = false;
		return !typed ||
		       s3_model_refuse(r, 400, "InvalidRequest",
				       "The x-amz-checksum-type header can only be used with "
				       "the x-amz-checksum-algorithm header.");
	}
	*algorithm = s3_model_algorithm_of(name);
	if (*algorithm == S3_MODEL_NO_CHECKSUM ||
	    (*algorithm == S3_MODEL_CRC64NVME && r->model->lacks & S3_MODEL_LACKS_CRC64NVME))
		return s3_model_refuse(
			r, 400, "InvalidRequest",
			"Checksum algorithm provided is unsupported. Please try again "
			"with any of the valid types: [CRC32, CRC32C, SHA1, SHA256]");
	if (typed && strcmp(type, "FULL_OBJECT") != 0 && strcmp(type, "COMPOSITE") != 0)
		return s3_model_refuse(r, 400, "InvalidRequest",
				       "Value for x-amz-checksum-type header is invalid.");
	of_full = *algorithm == S3_MODEL_CRC64NVME;
	of_parts = *algorithm != S3_MODEL_CRC64NVME && *algorithm != S3_MODEL_CRC32C &&
		   *algorithm != S3_MODEL_CRC32;
	*composite = typed ? strcmp(type, "COMPOSITE") == 0 : !of_full;
	if ((of_full && *composite) || (of_parts && !*composite))
		return s3_model_refuse(r, 400, "InvalidRequest",
				       "The %s checksum type cannot be used with the %s checksum "
				       "algorithm.",
				       type, s3_model_algorithm_name(*algorithm));
	return true;
}

static void say_algorithm(struct s3_model_request *r, const struct s3_model_upload *upload)
{
	if (upload->algorithm == S3_MODEL_NO_CHECKSUM)
		return;
	s3_model_field(r, "x-amz-checksum-algorithm", "%s",
		       s3_model_algorithm_name(upload->algorithm));
	s3_model_field(r, type_field, upload->composite ? "COMPOSITE" : "FULL_OBJECT");
}

static void do_create(struct s3_model_request *r)
{
	enum s3_model_algorithm algorithm = S3_MODEL_NO_CHECKSUM;
	struct s3_model_traits traits = { 0 };
	struct s3_model_upload *upload;
	bool composite = false;

	if (!s3_model_may(r, "s3:PutObject") || !read_algorithm(r, &algorithm, &composite) ||
	    !s3_model_read_traits(r, &traits))
		return;
	upload = s3_model_plant_upload(r->model, r->bucket, r->key, r->now_s);
	upload->algorithm = algorithm;
	upload->composite = composite;
	upload->traits = traits;
	say_algorithm(r, upload);
	s3_model_say_traits(r, &traits, false);
	buffer_add_text(&r->xml, "<InitiateMultipartUploadResult "
				 "xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">");
	s3_model_xml(&r->xml, "Bucket", "%s", r->bucket->name);
	s3_model_xml(&r->xml, "Key", "%s", r->key);
	s3_model_xml(&r->xml, "UploadId", "%s", upload->id);
	buffer_add_text(&r->xml, "</InitiateMultipartUploadResult>");
}

static struct s3_model_upload *find_upload(struct s3_model_request *r)
{
	const char *id = s3_model_query(r, "uploadId");
	struct s3_model_upload *upload = s3_model_upload_of(r->bucket, r->key, id ? id : "");

	if (!upload)
		s3_model_refuse(
			r, 404, "NoSuchUpload",
			"The specified upload does not exist. The upload ID may be invalid, "
			"or the upload may have been aborted or completed.");
	return upload;
}

/* ---- UploadPart ---- */

static bool part_may_come(struct s3_model_request *r, const struct s3_model_upload *upload,
			  uint64_t number)
{
	const struct s3_model_traits *t = &upload->traits;

	if (number < 1 || number > r->model->part_count_max)
		return s3_model_refuse(r, 400, "InvalidArgument",
				       "Part number must be an integer between 1 and %u, inclusive",
				       r->model->part_count_max);
	if (s3_model_header(r, "x-amz-server-side-encryption"))
		return s3_model_refuse(r, 400, "InvalidArgument",
				       "x-amz-server-side-encryption header is not supported for "
				       "this operation.");
	if (r->sent.algorithm != S3_MODEL_NO_CHECKSUM &&
	    upload->algorithm != S3_MODEL_NO_CHECKSUM && r->sent.algorithm != upload->algorithm)
		return s3_model_refuse(
			r, 400, "InvalidRequest",
			"Checksum Type mismatch occurred, expected checksum Type: %s, "
			"actual checksum Type: %s",
			s3_model_algorithm_name(upload->algorithm),
			s3_model_algorithm_name(r->sent.algorithm));
	if ((t->lock_mode[0] || t->legal_hold[0]) && r->sent.algorithm == S3_MODEL_NO_CHECKSUM &&
	    !s3_model_header(r, "content-md5"))
		return s3_model_refuse(r, 400, "InvalidRequest",
				       "Content-MD5 OR x-amz-checksum- HTTP header is required for "
				       "Upload Part requests with Object Lock parameters");
	if (r->model->quota_bytes &&
	    r->model->counts.stored_bytes + r->length > r->model->quota_bytes)
		return s3_model_refuse(r, 403, "QuotaExceeded", "The bucket's quota is used up.");
	return true;
}

/* The part of that number: a new one, or the one that is sent again and takes its place. */
static struct s3_model_part *place_part(struct s3_model *model, struct s3_model_upload *upload,
					unsigned number)
{
	struct s3_model_part **at = &upload->parts, *part;

	while (*at && (*at)->number < number)
		at = &(*at)->next;
	if (*at && (*at)->number == number) {
		model->counts.stored_bytes -= (*at)->length;
		s3_model_release(model, (*at)->bytes, (*at)->length + 1);
		return *at;
	}
	part = s3_model_allocate(model, sizeof *part);
	part->next = *at;
	part->number = number;
	*at = part;
	return part;
}

static void do_part(struct s3_model_request *r)
{
	const char *number_text = s3_model_query(r, "partNumber");
	struct s3_model_upload *upload;
	struct s3_model_part *part;
	uint64_t number = 0;
	uint8_t md5[64];

	(void)s3_model_number(number_text, &number);
	if (!s3_model_may(r, "s3:PutObject") || !(upload = find_upload(r)) ||
	    !part_may_come(r, upload, number))
		return;
	r->model->counts.unchecked +=
		r->sent.algorithm == S3_MODEL_NO_CHECKSUM && !s3_model_header(r, "content-md5");
	part = place_part(r->model, upload, (unsigned)number);
	part->bytes = s3_model_copy_bytes(r->model, r->body, r->length);
	part->length = r->length;
	part->modified_s = r->now_s;
	r->model->counts.stored_bytes += r->length;
	bytes_to_hex(part->etag, md5, s3_model_digest(S3_MODEL_MD5, r->body, r->length, md5));
	part->checksum = r->sent;
	if (r->sent.algorithm == S3_MODEL_NO_CHECKSUM)
		s3_model_checksum(&part->checksum,
				  upload->algorithm ? upload->algorithm : S3_MODEL_CRC64NVME,
				  r->body, r->length);
	s3_model_field(r, "ETag", "\"%s\"", part->etag);
	if (upload->algorithm != S3_MODEL_NO_CHECKSUM || r->sent.algorithm != S3_MODEL_NO_CHECKSUM)
		s3_model_say_checksum(r, &part->checksum);
	s3_model_say_traits(r, &upload->traits, false);
	r->empty = true;
}

/* ---- CompleteMultipartUpload ---- */

/* The parts that the client lists, in order. */
struct chosen {
	unsigned count;
	uint64_t length;
	struct s3_model_part **parts;
};

static bool invalid_part(struct s3_model_request *r, unsigned number)
{
	s3_model_xml(&r->more, "PartNumber", "%u", number);
	return s3_model_refuse(
		r, 400, "InvalidPart",
		"One or more of the specified parts could not be found. The part may "
		"not have been uploaded, or the specified entity tag may not match "
		"the part's entity tag.");
}

static bool element_text(struct text in, const char *tag, char *to, size_t max)
{
	struct text inside;

	if (!s3_model_element(&in, tag, &inside) || inside.bytes >= max)
		return false;
	snprintf(to, max, "%.*s", (int)inside.bytes, inside.at);
	return true;
}

/* "abc", &quot;abc&quot; and abc are one entity tag. */
static void bare_etag(char *etag)
{
	struct buffer bare = { 0 };

	for (const char *at = etag; *at; at++) {
		if (strncmp(at, "&quot;", 6) == 0 || strncmp(at, "&#34;", 5) == 0)
			at += at[1] == 'q' ? 5 : 4;
		else if (*at != '"')
			buffer_add(&bare, at, 1);
	}
	snprintf(etag, 80, "%s", bare.bytes ? bare.at : "");
	buffer_free(&bare);
}

static bool checksum_fits(struct s3_model_request *r, const struct s3_model_upload *upload,
			  const struct s3_model_part *part, struct text inside)
{
	char tag[40], text[100];

	snprintf(tag, sizeof tag, "Checksum%s", s3_model_algorithm_name(part->checksum.algorithm));
	if (element_text(inside, tag, text, sizeof text))
		return strcmp(text, part->checksum.text) == 0 || invalid_part(r, part->number);
	if (memmem(inside.at, inside.bytes, "<Checksum", 9))
		return invalid_part(r, part->number); /* of another algorithm */
	return !upload->composite || upload->algorithm == S3_MODEL_NO_CHECKSUM ||
	       s3_model_refuse(r, 400, "InvalidRequest",
			       "The upload was created using a %s checksum. The complete request "
			       "must include the checksum for each part. It was missing for part "
			       "%u in the request.",
			       s3_model_algorithm_name(upload->algorithm), part->number);
}

static bool choose_part(struct s3_model_request *r, const struct s3_model_upload *upload,
			struct chosen *chosen, struct text inside)
{
	struct s3_model_part *part = upload->parts,
			     *last = chosen->count ? chosen->parts[chosen->count - 1] : NULL;
	char number_text[16], etag[80];
	uint64_t number;

	if (!element_text(inside, "PartNumber", number_text, sizeof number_text) ||
	    !s3_model_number(number_text, &number) ||
	    !element_text(inside, "ETag", etag, sizeof etag) ||
	    chosen->count == r->model->part_count_max)
		return s3_model_refuse(
			r, 400, "MalformedXML",
			"The XML you provided was not well-formed or did not validate "
			"against our published schema");
	if (last && number <= last->number)
		return s3_model_refuse(
			r, 400, "InvalidPartOrder",
			"The list of parts was not in ascending order. Parts must be "
			"ordered by part number.");
	bare_etag(etag);
	while (part && part->number != number)
		part = part->next;
	if (!part || strcmp(part->etag, etag) != 0)
		return invalid_part(r, (unsigned)number);
	if (last && last->length < r->model->part_bytes_min) {
		s3_model_xml(&r->more, "ProposedSize", "%llu", (unsigned long long)last->length);
		s3_model_xml(&r->more, "MinSizeAllowed", "%llu",
			     (unsigned long long)r->model->part_bytes_min);
		s3_model_xml(&r->more, "PartNumber", "%u", last->number);
		return s3_model_refuse(
			r, 400, "EntityTooSmall",
			"Your proposed upload is smaller than the minimum allowed size");
	}
	chosen->parts[chosen->count++] = part;
	chosen->length += part->length;
	return checksum_fits(r, upload, part, inside);
}

static bool choose_parts(struct s3_model_request *r, const struct s3_model_upload *upload,
			 struct chosen *chosen)
{
	struct text all, body = { (const char *)r->body, r->length }, inside;

	if (!s3_model_element(&body, "CompleteMultipartUpload", &all)) {
		/* The element with a namespace. */
		all = (struct text){ (const char *)r->body, r->length };
		if (!memmem(all.at, all.bytes, "<CompleteMultipartUpload xmlns=", 31) ||
		    !memmem(all.at, all.bytes, "</CompleteMultipartUpload>", 26))
			return s3_model_refuse(
				r, 400, "MalformedXML",
				"The XML you provided was not well-formed or did not "
				"validate against our published schema");
	}
	while (s3_model_element(&all, "Part", &inside))
		if (!choose_part(r, upload, chosen, inside))
			return false;
	return chosen->count ||
	       s3_model_refuse(r, 400, "MalformedXML", "You must specify at least one part");
}

/* The object of all the parts: bytes, ETag of their MD5s, checksum of the bytes or of the parts'.
 */
static void assemble(struct s3_model *model, const struct s3_model_upload *upload,
		     const struct chosen *chosen, struct s3_model_object *object)
{
	uint8_t *bytes = s3_model_allocate(model, chosen->length + 1), digest[64];
	enum s3_model_algorithm algorithm =
		upload->algorithm ? upload->algorithm : S3_MODEL_CRC64NVME;
	struct buffer md5s = { 0 }, digests = { 0 };
	uint64_t at = 0;
	size_t n, used;

	for (unsigned i = 0; i < chosen->count; i++) {
		const struct s3_model_part *part = chosen->parts[i];

		if (part->length)
			bytes_copy(bytes + at, part->bytes, part->length, BYTES_META);
		at += part->length;
		must(bytes_from_hex(digest, 16, text_of(part->etag)));
		buffer_add(&md5s, digest, 16);
		must(s3_model_from_base64(part->checksum.text, digest, sizeof digest, &n));
		buffer_add(&digests, digest, n);
	}
	object->bytes = bytes;
	object->length = chosen->length;
	object->parts = chosen->count;
	n = s3_model_digest(S3_MODEL_MD5, md5s.at, md5s.bytes, digest);
	bytes_to_hex(object->etag, digest, n);
	snprintf(object->etag + 2 * n, sizeof object->etag - 2 * n, "-%u", chosen->count);
	if (upload->composite)
		s3_model_checksum(&object->checksum, algorithm, digests.at, digests.bytes);
	else
		s3_model_checksum(&object->checksum, algorithm, bytes, chosen->length);
	object->checksum.composite = upload->composite;
	used = strlen(object->checksum.text);
	if (upload->composite)
		snprintf(object->checksum.text + used, sizeof object->checksum.text - used, "-%u",
			 chosen->count);
	buffer_free(&md5s);
	buffer_free(&digests);
}

static bool whole_is_right(struct s3_model_request *r, const struct s3_model_upload *upload,
			   const struct s3_model_object *object)
{
	char text[24];
	uint64_t size;
	size_t n = strlen(r->sent.text);

	if (s3_model_header_text(r, "x-amz-mp-object-size", text, sizeof text) &&
	    (!s3_model_number(text, &size) || size != object->length))
		return s3_model_refuse(
			r, 400, "InvalidRequest",
			"The provided 'x-amz-mp-object-size' header value %s does not "
			"match what was computed: %llu",
			text, (unsigned long long)object->length);
	if (r->sent.algorithm == S3_MODEL_NO_CHECKSUM)
		return true;
	if (r->sent.algorithm != object->checksum.algorithm)
		return s3_model_refuse(r, 400, "BadDigest",
				       "The upload was created using another checksum algorithm.");
	/* Of a composite one the "-N" may be left out. */
	if (strncmp(r->sent.text, object->checksum.text, n) == 0 &&
	    (object->checksum.text[n] == '\0' ||
	     (upload->composite && object->checksum.text[n] == '-')))
		return true;
	return s3_model_refuse(r, 400, "BadDigest",
			       "The %s you specified did not match the calculated checksum.",
			       s3_model_algorithm_name(r->sent.algorithm));
}

/* "If the checksum type doesn't match the checksum type that was specified for the object during
 * the CreateMultipartUpload request, it'll result in a BadDigest error." */
static bool type_is_right(struct s3_model_request *r, const struct s3_model_upload *upload)
{
	char type[24];

	return !s3_model_header_text(r, type_field, type, sizeof type) ||
	       strcmp(type, upload->composite ? "COMPOSITE" : "FULL_OBJECT") == 0 ||
	       s3_model_refuse(r, 400, "BadDigest",
			       "The upload was created using the %s checksum mode. The complete "
			       "request must use the same checksum mode.",
			       upload->composite ? "COMPOSITE" : "FULL_OBJECT");
}

static void say_completed(struct s3_model_request *r, const struct s3_model_object *object)
{
	char etag[48];

	snprintf(etag, sizeof etag, "\"%s\"", object->etag);
	s3_model_say_version(r, object);
	s3_model_say_traits(r, &object->traits, false);
	buffer_add_text(&r->xml, "<CompleteMultipartUploadResult "
				 "xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">");
	s3_model_xml(&r->xml, "Location", "https://%s/%s/%s", r->model->endpoints[0].host,
		     r->bucket->name, r->key);
	s3_model_xml(&r->xml, "Bucket", "%s", r->bucket->name);
	s3_model_xml(&r->xml, "Key", "%s", r->key);
	s3_model_xml(&r->xml, "ETag", "%s", etag);
	if (s3_model_tells(r->model, object->checksum.algorithm)) {
		s3_model_xml_checksum(&r->xml, &object->checksum);
		s3_model_xml(&r->xml, "ChecksumType",
			     object->checksum.composite ? "COMPOSITE" : "FULL_OBJECT");
	}
	buffer_add_text(&r->xml, "</CompleteMultipartUploadResult>");
}

static void complete(struct s3_model_request *r, struct s3_model_upload *upload,
		     struct chosen *chosen)
{
	struct s3_model_object object = { .modified_s = r->now_s, .traits = upload->traits };

	if (!choose_parts(r, upload, chosen) || !type_is_right(r, upload))
		return;
	assemble(r->model, upload, chosen, &object);
	if (!whole_is_right(r, upload, &object)) {
		s3_model_release(r->model, object.bytes, object.length + 1);
		return;
	}
	object.key = s3_model_copy_text(r->model, r->key);
	say_completed(r, s3_model_store(r->model, r->bucket, &object));
	s3_model_drop_upload(r->model, r->bucket, upload, true);
}

static void do_complete(struct s3_model_request *r)
{
	struct s3_model_upload *upload;
	struct chosen chosen = { 0 };

	if (!s3_model_may(r, "s3:PutObject") || !(upload = find_upload(r)) ||
	    !s3_model_condition(r))
		return;
	chosen.parts = calloc(r->model->part_count_max, sizeof(struct s3_model_part *));
	must(chosen.parts);
	complete(r, upload, &chosen);
	free(chosen.parts);
}

/* ---- AbortMultipartUpload, ListParts ---- */

static void do_abort(struct s3_model_request *r)
{
	struct s3_model_upload *upload;

	if (!s3_model_may(r, "s3:AbortMultipartUpload") || !(upload = find_upload(r)))
		return;
	s3_model_drop_upload(r->model, r->bucket, upload, true);
	r->status = 204;
	r->empty = true;
}

static void list_part(struct buffer *to, const struct s3_model_part *part)
{
	char date[32], etag[40];

	s3_model_iso_time(date, part->modified_s);
	snprintf(etag, sizeof etag, "\"%s\"", part->etag);
	buffer_add_text(to, "<Part>");
	s3_model_xml(to, "PartNumber", "%u", part->number);
	s3_model_xml(to, "LastModified", "%s", date);
	s3_model_xml(to, "ETag", "%s", etag);
	s3_model_xml(to, "Size", "%llu", (unsigned long long)part->length);
	s3_model_xml_checksum(to, &part->checksum);
	buffer_add_text(to, "</Part>");
}

static void do_list_parts(struct s3_model_request *r)
{
	const char *marker = s3_model_query(r, "part-number-marker"),
		   *most = s3_model_query(r, "max-parts");
	uint64_t after = 0, max = LISTED_MAX, last = 0, count = 0;
	const struct s3_model_upload *upload;
	const struct s3_model_part *part;

	if (!s3_model_may(r, "s3:ListMultipartUploadParts") || !(upload = find_upload(r)))
		return;
	if ((marker && !s3_model_number(marker, &after)) ||
	    (most && !s3_model_number(most, &max))) {
		s3_model_refuse(r, 400, "InvalidArgument", "A number is malformed.");
		return;
	}
	buffer_add_text(&r->xml,
			"<ListPartsResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">");
	s3_model_xml(&r->xml, "Bucket", "%s", r->bucket->name);
	s3_model_xml(&r->xml, "Key", "%s", r->key);
	s3_model_xml(&r->xml, "UploadId", "%s", upload->id);
	for (part = upload->parts; part && part->number <= after;)
		part = part->next;
	for (; part && count < min_u64(max, LISTED_MAX); part = part->next, count++) {
		list_part(&r->xml, part);
		last = part->number;
	}
	s3_model_xml(&r->xml, "PartNumberMarker", "%llu", (unsigned long long)after);
	if (count)
		s3_model_xml(&r->xml, "NextPartNumberMarker", "%llu", (unsigned long long)last);
	s3_model_xml(&r->xml, "IsTruncated", part ? "true" : "false");
	if (upload->algorithm != S3_MODEL_NO_CHECKSUM) {
		s3_model_xml(&r->xml, "ChecksumAlgorithm", "%s",
			     s3_model_algorithm_name(upload->algorithm));
		s3_model_xml(&r->xml, "ChecksumType",
			     upload->composite ? "COMPOSITE" : "FULL_OBJECT");
	}
	buffer_add_text(&r->xml, "</ListPartsResult>");
}

void s3_model_do_upload(struct s3_model_request *r)
{
	if (r->op == S3_MODEL_CREATE)
		do_create(r);
	else if (r->op == S3_MODEL_PART)
		do_part(r);
	else if (r->op == S3_MODEL_COMPLETE)
		do_complete(r);
	else if (r->op == S3_MODEL_ABORT)
		do_abort(r);
	else
		do_list_parts(r);
}
