/* Objects of the S3 stand-in: PutObject, GetObject, HeadObject, DeleteObject, GetObjectRetention
 * and GetObjectLegalHold of the Amazon S3 API Reference. */
#include "tests/sim/s3_model_state.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* ---- what may be done ---- */

static bool is_denied(const struct s3_model_request *r, const char *action)
{
	for (unsigned i = 0; i < S3_MODEL_DENIED_MAX; i++)
		if (r->user->denied[i] && strcmp(r->user->denied[i], action) == 0)
			return true;
	return false;
}

bool s3_model_may(struct s3_model_request *r, const char *action)
{
	bool is_write =
		strstr(action, "Put") || strstr(action, "Delete") || strstr(action, "Abort");

	if (is_denied(r, action))
		return s3_model_refuse(r, 403, "AccessDenied",
				       "User: %s is not authorized to perform: %s on "
				       "resource: \"arn:aws:s3:::%s%s%s\" because no "
				       "identity-based policy allows the %s action",
				       r->user->arn, action, r->bucket_name, r->key[0] ? "/" : "",
				       r->key, action);
	if (is_write && r->model->read_only)
		return s3_model_refuse(r, 403, "AccessDenied",
				       "User: %s is not authorized to perform: %s on resource: "
				       "\"arn:aws:s3:::%s/%s\" with an explicit deny in a "
				       "resource-based policy",
				       r->user->arn, action, r->bucket_name, r->key);
	return true;
}

static bool precondition(struct s3_model_request *r, const char *name)
{
	s3_model_xml(&r->more, "Condition", "%s", name);
	return s3_model_refuse(r, 412, "PreconditionFailed",
			       "At least one of the pre-conditions you specified did not hold");
}

static bool etag_is(const struct s3_model_object *object, const char *value)
{
	size_t n = strlen(value);

	if (n >= 2 && value[0] == '"' && value[n - 1] == '"') {
		value++;
		n -= 2;
	}
	return strlen(object->etag) == n && strncmp(object->etag, value, n) == 0;
}

bool s3_model_condition(struct s3_model_request *r)
{
	const struct s3_model_object *object = s3_model_object_of(r->bucket, r->key);
	char value[80];

	r->model->counts.unconditional +=
		!s3_model_header(r, "if-none-match") && !s3_model_header(r, "if-match");
	if (r->model->lacks & S3_MODEL_LACKS_CONDITIONS)
		return true;
	if (s3_model_header_text(r, "if-none-match", value, sizeof value)) {
		if (strcmp(value, "*") != 0 || s3_model_header(r, "if-match"))
			return s3_model_refuse(
				r, 501, "NotImplemented",
				"A header you provided implies functionality that is "
				"not implemented");
		if (object)
			return precondition(r, "If-None-Match");
	}
	if (s3_model_header_text(r, "if-match", value, sizeof value)) {
		if (!object)
			return s3_model_refuse(r, 404, "NoSuchKey",
					       "The specified key does not exist.");
		if (!etag_is(object, value))
			return precondition(r, "If-Match");
	}
	return true;
}

/* ---- what stands with an object ---- */

static bool is_one_of(const char *value, const char *const *allowed)
{
	while (*allowed && strcmp(*allowed, value) != 0)
		allowed++;
	return *allowed;
}

static bool argument(struct s3_model_request *r, const char *name, const char *value,
		     const char *why)
{
	s3_model_xml(&r->more, "ArgumentName", "%s", name);
	s3_model_xml(&r->more, "ArgumentValue", "%s", value);
	return s3_model_refuse(r, 400, "InvalidArgument", "%s", why);
}

static bool context_is_json(const char *base64)
{
	uint8_t bytes[512];
	size_t n;

	return s3_model_from_base64(base64, bytes, sizeof bytes, &n) && n >= 2 && bytes[0] == '{' &&
	       bytes[n - 1] == '}';
}

static bool read_encryption(struct s3_model_request *r, struct s3_model_traits *t)
{
	static const char *const kinds[] = { "AES256", "aws:kms", "aws:kms:dsse", NULL };
	static const char sse[] = "x-amz-server-side-encryption";
	bool given = s3_model_header_text(r, sse, t->sse, sizeof t->sse);
	bool with_key = s3_model_header_text(r, "x-amz-server-side-encryption-aws-kms-key-id",
					     t->kms_key, sizeof t->kms_key);
	bool with_context = s3_model_header_text(r, "x-amz-server-side-encryption-context",
						 t->kms_context, sizeof t->kms_context);
	bool of_kms = strncmp(t->sse, "aws:kms", 7) == 0;

	t->bucket_key =
		s3_model_header_is(r, "x-amz-server-side-encryption-bucket-key-enabled", "true");
	if (given && !is_one_of(t->sse, kinds))
		return s3_model_refuse(
			r, 400, "InvalidEncryptionAlgorithmError",
			"The encryption request you specified is not valid. The valid "
			"value is AES256.");
	if ((with_key || with_context) && !of_kms)
		return argument(r, sse, t->sse,
				"Server Side Encryption with AWS KMS managed key requires HTTP "
				"header x-amz-server-side-encryption : aws:kms");
	if (with_context && !context_is_json(t->kms_context))
		return argument(r, "x-amz-server-side-encryption-context", t->kms_context,
				"The header 'x-amz-server-side-encryption-context' shall be "
				"Base64-encoded UTF-8 string holding JSON which represents a "
				"string-string map");
	if (!given) {
		snprintf(t->sse, sizeof t->sse, "%s", r->bucket->encryption);
		snprintf(t->kms_key, sizeof t->kms_key, "%s", r->bucket->kms_key);
		t->bucket_key |= r->bucket->bucket_key;
	} else if (of_kms && !with_key) {
		snprintf(t->kms_key, sizeof t->kms_key, "arn:aws:kms:%s:%s:key/of-aws-s3",
			 r->bucket->region, r->bucket->owner);
	}
	return true;
}

static void take_default_lock(const struct s3_model_request *r, struct s3_model_traits *t)
{
	if (t->lock_mode[0] || !r->bucket->object_lock || !r->bucket->lock_mode[0])
		return;
	snprintf(t->lock_mode, sizeof t->lock_mode, "%s", r->bucket->lock_mode);
	t->retain_until_s = r->now_s + (int64_t)r->bucket->lock_days * 24 * 3600;
	s3_model_iso_time(t->retain_until, t->retain_until_s);
}

static bool read_lock(struct s3_model_request *r, struct s3_model_traits *t)
{
	static const char *const modes[] = { "GOVERNANCE", "COMPLIANCE", NULL };
	static const char *const holds[] = { "ON", "OFF", NULL };
	bool with_mode = s3_model_header_text(r, "x-amz-object-lock-mode", t->lock_mode,
					      sizeof t->lock_mode);
	bool with_date = s3_model_header_text(r, "x-amz-object-lock-retain-until-date",
					      t->retain_until, sizeof t->retain_until);
	bool with_hold = s3_model_header_text(r, "x-amz-object-lock-legal-hold", t->legal_hold,
					      sizeof t->legal_hold);

	if ((with_mode || with_date || with_hold) && !r->bucket->object_lock)
		return s3_model_refuse(r, 400, "InvalidRequest",
				       "Bucket is missing Object Lock Configuration");
	if (with_mode != with_date)
		return argument(
			r, "x-amz-object-lock-mode", t->lock_mode,
			"x-amz-object-lock-retain-until-date and x-amz-object-lock-mode must "
			"both be supplied");
	if (with_mode && !is_one_of(t->lock_mode, modes))
		return argument(r, "x-amz-object-lock-mode", t->lock_mode,
				"Unknown wormMode directive.");
	if (with_hold && !is_one_of(t->legal_hold, holds))
		return argument(r, "x-amz-object-lock-legal-hold", t->legal_hold,
				"Legal Hold must be either of 'ON' or 'OFF'");
	if (with_date && !s3_model_parse_time(t->retain_until, &t->retain_until_s))
		return argument(r, "x-amz-object-lock-retain-until-date", t->retain_until,
				"The retain until date must be provided in ISO 8601 format");
	if (with_date && t->retain_until_s <= r->now_s)
		return argument(r, "x-amz-object-lock-retain-until-date", t->retain_until,
				"The retain until date must be in the future!");
	if ((with_mode && !s3_model_may(r, "s3:PutObjectRetention")) ||
	    (with_hold && !s3_model_may(r, "s3:PutObjectLegalHold")))
		return false;
	take_default_lock(r, t);
	return true;
}

static bool read_metadata(struct s3_model_request *r, struct s3_model_traits *t)
{
	size_t used = 0;

	for (unsigned i = 0; i < r->headers_count; i++) {
		const struct s3_model_header *header = &r->headers[i];
		int n;

		if (strncmp(header->name, "x-amz-meta-", 11) != 0)
			continue;
		n = snprintf(t->metadata + used, sizeof t->metadata - used, "%s: %.*s\r\n",
			     header->name, (int)header->value.bytes, header->value.at);
		if ((size_t)n >= sizeof t->metadata - used)
			return s3_model_refuse(r, 400, "MetadataTooLarge",
					       "Your metadata headers exceed the maximum allowed "
					       "metadata size");
		used += (size_t)n;
	}
	return true;
}

bool s3_model_read_traits(struct s3_model_request *r, struct s3_model_traits *t)
{
	static const char *const classes[] = {
		"STANDARD",   "STANDARD_IA",  "ONEZONE_IA",	    "GLACIER",
		"GLACIER_IR", "DEEP_ARCHIVE", "REDUCED_REDUNDANCY", "INTELLIGENT_TIERING",
		NULL
	};

	if (!s3_model_header_text(r, "content-type", t->content_type, sizeof t->content_type))
		snprintf(t->content_type, sizeof t->content_type, "binary/octet-stream");
	if (s3_model_header_text(r, "x-amz-storage-class", t->storage_class,
				 sizeof t->storage_class) &&
	    !is_one_of(t->storage_class, classes))
		return s3_model_refuse(r, 400, "InvalidStorageClass",
				       "The storage class you specified is not valid");
	return read_encryption(r, t) && read_lock(r, t) && read_metadata(r, t);
}

bool s3_model_tells(const struct s3_model *model, enum s3_model_algorithm algorithm)
{
	if (algorithm == S3_MODEL_CRC64NVME && model->lacks & S3_MODEL_HIDES_CRC64NVME)
		return false;
	return algorithm != S3_MODEL_NO_CHECKSUM && !(model->lacks & S3_MODEL_LACKS_CHECKSUMS);
}

void s3_model_say_checksum(struct s3_model_request *r, const struct s3_model_checksum *checksum)
{
	char name[40];

	if (!s3_model_tells(r->model, checksum->algorithm))
		return;
	snprintf(name, sizeof name, "x-amz-checksum-%s",
		 s3_model_algorithm_name(checksum->algorithm));
	for (char *c = name; *c; c++)
		*c |= *c >= 'A' && *c <= 'Z' ? 0x20 : 0;
	s3_model_field(r, name, "%s", checksum->text);
	s3_model_field(r, "x-amz-checksum-type", checksum->composite ? "COMPOSITE" : "FULL_OBJECT");
}

void s3_model_say_traits(struct s3_model_request *r, const struct s3_model_traits *t, bool is_read)
{
	if (t->sse[0])
		s3_model_field(r, "x-amz-server-side-encryption", "%s", t->sse);
	if (t->kms_key[0])
		s3_model_field(r, "x-amz-server-side-encryption-aws-kms-key-id", "%s", t->kms_key);
	if (t->bucket_key)
		s3_model_field(r, "x-amz-server-side-encryption-bucket-key-enabled", "true");
	if (t->kms_context[0] && !is_read)
		s3_model_field(r, "x-amz-server-side-encryption-context", "%s", t->kms_context);
	if (!is_read)
		return;
	if (t->storage_class[0] && strcmp(t->storage_class, "STANDARD") != 0)
		s3_model_field(r, "x-amz-storage-class", "%s", t->storage_class);
	if (t->lock_mode[0] && !is_denied(r, "s3:GetObjectRetention")) {
		s3_model_field(r, "x-amz-object-lock-mode", "%s", t->lock_mode);
		s3_model_field(r, "x-amz-object-lock-retain-until-date", "%s", t->retain_until);
	}
	if (t->legal_hold[0] && !is_denied(r, "s3:GetObjectLegalHold"))
		s3_model_field(r, "x-amz-object-lock-legal-hold", "%s", t->legal_hold);
	buffer_add_text(&r->fields, t->metadata);
	s3_model_field(r, "Content-Type", "%s", t->content_type);
}

/* ---- PutObject ---- */

static bool lock_is_checked(struct s3_model_request *r, const struct s3_model_traits *t)
{
	return !(t->lock_mode[0] || t->legal_hold[0]) || s3_model_header(r, "content-md5") ||
	       r->sent.algorithm != S3_MODEL_NO_CHECKSUM ||
	       s3_model_refuse(r, 400, "InvalidRequest",
			       "Content-MD5 OR x-amz-checksum- HTTP header is required for Put "
			       "Object requests with Object Lock parameters");
}

void s3_model_say_version(struct s3_model_request *r, const struct s3_model_object *object)
{
	if (r->bucket->versioning != S3_MODEL_NEVER_VERSIONED)
		s3_model_field(r, "x-amz-version-id", "%s", object->version);
}

void s3_model_put(struct s3_model_request *r)
{
	struct s3_model_object object = { .length = r->length, .modified_s = r->now_s };
	uint8_t md5[64];

	if (!s3_model_may(r, "s3:PutObject") || !s3_model_read_traits(r, &object.traits) ||
	    !lock_is_checked(r, &object.traits) || !s3_model_condition(r))
		return;
	r->model->counts.unchecked +=
		r->sent.algorithm == S3_MODEL_NO_CHECKSUM && !s3_model_header(r, "content-md5");
	if (r->model->quota_bytes &&
	    r->model->counts.stored_bytes + r->length > r->model->quota_bytes) {
		s3_model_refuse(r, 403, "QuotaExceeded", "The bucket's quota is used up.");
		return;
	}
	object.key = s3_model_copy_text(r->model, r->key);
	object.bytes = s3_model_copy_bytes(r->model, r->body, r->length);
	bytes_to_hex(object.etag, md5, s3_model_digest(S3_MODEL_MD5, r->body, r->length, md5));
	object.checksum = r->sent;
	if (r->sent.algorithm == S3_MODEL_NO_CHECKSUM)
		s3_model_checksum(&object.checksum, S3_MODEL_CRC64NVME, r->body, r->length);
	s3_model_say_version(r, s3_model_store(r->model, r->bucket, &object));
	s3_model_field(r, "ETag", "\"%s\"", object.etag);
	s3_model_say_checksum(r, &object.checksum);
	s3_model_say_traits(r, &object.traits, false);
}

/* ---- GetObject, HeadObject ---- */

/* bytes=FIRST-LAST, FIRST-, -LAST; several ranges are answered with the whole, as S3 does.
 * RFC 9110 section 14.1.2. */
static bool take_range(struct s3_model_request *r, uint64_t length, uint64_t *first, uint64_t *last)
{
	unsigned long long from = 0, to = 0;
	char range[80];
	int n = 0;

	*first = 0;
	*last = length - 1;
	if (!s3_model_header_text(r, "range", range, sizeof range) || strchr(range, ','))
		return true;
	if (sscanf(range, "bytes=-%llu%n", &to, &n) == 1 && range[n] == '\0') {
		*first = length - min_u64(length, to);
		from = to ? *first : length;
	} else if (sscanf(range, "bytes=%llu-%llu%n", &from, &to, &n) == 2 && range[n] == '\0') {
		if (to < from)
			return true; /* not valid: ignored */
		*first = from;
		*last = min_u64(to, length - 1);
	} else if (sscanf(range, "bytes=%llu%n", &from, &n) == 1 && strcmp(range + n, "-") == 0) {
		*first = from;
	} else {
		return true;
	}
	r->status = 206;
	if (from < length)
		return true;
	s3_model_xml(&r->more, "RangeRequested", "%s", range);
	s3_model_xml(&r->more, "ActualObjectSize", "%llu", (unsigned long long)length);
	s3_model_field(r, "Content-Range", "bytes */%llu", (unsigned long long)length);
	return s3_model_refuse(r, 416, "InvalidRange", "The requested range is not satisfiable");
}

static bool read_condition(struct s3_model_request *r, const struct s3_model_object *object)
{
	char value[80];

	if (s3_model_header(r, "if-modified-since") || s3_model_header(r, "if-unmodified-since") ||
	    s3_model_query(r, "partNumber"))
		return s3_model_refuse(r, 501, "NotImplemented",
				       "The stand-in does not know this condition.");
	if (s3_model_header(r, "x-amz-server-side-encryption"))
		return argument(r, "x-amz-server-side-encryption", "",
				"x-amz-server-side-encryption header is not supported for this "
				"operation.");
	if (s3_model_header_text(r, "if-match", value, sizeof value) && strcmp(value, "*") != 0 &&
	    !etag_is(object, value))
		return precondition(r, "If-Match");
	if (s3_model_header_text(r, "if-none-match", value, sizeof value) &&
	    (strcmp(value, "*") == 0 || etag_is(object, value))) {
		r->status = 304;
		s3_model_field(r, "ETag", "\"%s\"", object->etag);
		return false;
	}
	return true;
}

/* Without s3:ListBucket nobody is told that a key is not there. */
static void not_there(struct s3_model_request *r, const struct s3_model_object *marker)
{
	const char *key = r->key;

	r->key = "";
	if (s3_model_may(r, "s3:ListBucket")) {
		r->key = key;
		if (marker) {
			s3_model_field(r, "x-amz-delete-marker", "true");
			s3_model_field(r, "x-amz-version-id", "%s", marker->version);
		}
		s3_model_refuse(r, 404, "NoSuchKey", "The specified key does not exist.");
	}
	r->key = key;
}

void s3_model_get(struct s3_model_request *r)
{
	const char *version = s3_model_query(r, "versionId");
	const struct s3_model_object *object;
	uint64_t first, last;
	char date[32];

	if (!s3_model_may(r, version ? "s3:GetObjectVersion" : "s3:GetObject"))
		return;
	object = s3_model_version_of(r->bucket, r->key, version);
	if (!object && version) {
		s3_model_refuse(r, 404, "NoSuchVersion", "The specified version does not exist.");
		return;
	}
	if (!object || object->is_delete_marker) {
		not_there(r, object);
		return;
	}
	r->empty = true;
	if (!read_condition(r, object) || !take_range(r, object->length, &first, &last))
		return;
	if (r->status == 206)
		s3_model_field(r, "Content-Range", "bytes %llu-%llu/%llu",
			       (unsigned long long)first, (unsigned long long)last,
			       (unsigned long long)object->length);
	r->bytes = object->bytes + first;
	r->bytes_length = object->length ? last - first + 1 : 0;
	s3_model_http_time(date, object->modified_s);
	s3_model_field(r, "Last-Modified", "%s", date);
	s3_model_field(r, "ETag", "\"%s\"", object->etag);
	s3_model_field(r, "Accept-Ranges", "bytes");
	s3_model_say_version(r, object);
	if (s3_model_header_is(r, "x-amz-checksum-mode", "ENABLED") && r->status != 206)
		s3_model_say_checksum(r, &object->checksum);
	s3_model_say_traits(r, &object->traits, true);
}

/* ---- DeleteObject ---- */

static bool lock_lets_go(struct s3_model_request *r, const struct s3_model_object *object)
{
	const struct s3_model_traits *t = &object->traits;
	bool bypassed = strcmp(t->lock_mode, "GOVERNANCE") == 0 &&
			s3_model_header_is(r, "x-amz-bypass-governance-retention", "true");

	if (bypassed && !s3_model_may(r, "s3:BypassGovernanceRetention"))
		return false;
	if (strcmp(t->legal_hold, "ON") == 0 ||
	    (t->lock_mode[0] && t->retain_until_s > r->now_s && !bypassed))
		return s3_model_refuse(r, 403, "AccessDenied",
				       "Access Denied because object protected by object lock.");
	return true;
}

/* If-Match of a DELETE is of the current version alone, and takes s3:GetObject, too (User Guide,
 * "Conditional deletes"). */
static bool delete_condition(struct s3_model_request *r, const struct s3_model_object *object)
{
	char value[80];

	if (!s3_model_header_text(r, "if-match", value, sizeof value) ||
	    r->model->lacks & S3_MODEL_LACKS_CONDITIONS)
		return true;
	if (!object)
		return s3_model_refuse(r, 404, "NoSuchKey", "The specified key does not exist.");
	return (!object->is_delete_marker && (strcmp(value, "*") == 0 || etag_is(object, value))) ||
	       precondition(r, "If-Match");
}

void s3_model_delete(struct s3_model_request *r)
{
	const char *version = s3_model_query(r, "versionId");
	struct s3_model_object marker = { .is_delete_marker = true, .modified_s = r->now_s };
	struct s3_model_object *object = s3_model_version_of(r->bucket, r->key, version);

	r->status = 204;
	r->empty = true;
	if (!s3_model_may(r, version ? "s3:DeleteObjectVersion" : "s3:DeleteObject") ||
	    (s3_model_header(r, "if-match") && !s3_model_may(r, "s3:GetObject")) ||
	    !delete_condition(r, object))
		return;
	if (version) {
		if (!object || !lock_lets_go(r, object))
			return;
		s3_model_say_version(r, object);
		s3_model_remove(r->model, r->bucket, object);
	} else if (r->bucket->versioning == S3_MODEL_NEVER_VERSIONED) {
		if (object)
			s3_model_remove(r->model, r->bucket, object);
	} else {
		marker.key = s3_model_copy_text(r->model, r->key);
		marker.bytes = s3_model_copy_bytes(r->model, "", 0);
		s3_model_field(r, "x-amz-delete-marker", "true");
		s3_model_say_version(r, s3_model_store(r->model, r->bucket, &marker));
	}
}

/* ---- GetObjectRetention, GetObjectLegalHold ---- */

void s3_model_get_lock(struct s3_model_request *r)
{
	const struct s3_model_object *object =
		s3_model_version_of(r->bucket, r->key, s3_model_query(r, "versionId"));
	bool of_hold = s3_model_query(r, "legal-hold");

	if (!s3_model_may(r, of_hold ? "s3:GetObjectLegalHold" : "s3:GetObjectRetention"))
		return;
	if (!object || object->is_delete_marker) {
		not_there(r, object);
	} else if (!r->bucket->object_lock) {
		s3_model_refuse(r, 400, "InvalidRequest",
				"Bucket is missing Object Lock Configuration");
	} else if (!(of_hold ? object->traits.legal_hold : object->traits.lock_mode)[0]) {
		s3_model_refuse(r, 404, "NoSuchObjectLockConfiguration",
				"The specified object does not have a ObjectLock configuration");
	} else if (of_hold) {
		buffer_add_text(&r->xml, "<LegalHold>");
		s3_model_xml(&r->xml, "Status", "%s", object->traits.legal_hold);
		buffer_add_text(&r->xml, "</LegalHold>");
	} else {
		buffer_add_text(&r->xml, "<Retention>");
		s3_model_xml(&r->xml, "Mode", "%s", object->traits.lock_mode);
		s3_model_xml(&r->xml, "RetainUntilDate", "%s", object->traits.retain_until);
		buffer_add_text(&r->xml, "</Retention>");
	}
}
