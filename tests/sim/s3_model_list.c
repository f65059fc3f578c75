/* Lists and settings of buckets of the S3 stand-in: ListObjectsV2, ListObjectVersions,
 * ListMultipartUploads, GetBucketLocation and its kin of the Amazon S3 API Reference. */
#include "tests/sim/s3_model_state.h"

#include <stdio.h>
#include <stdlib.h>

enum { LISTED_MAX = 1000, CROWD_KEY_BYTES = S3_MODEL_KEY_BYTES_MAX + 24 };

static const char empty_md5[] = "d41d8cd98f00b204e9800998ecf8427e";
static const char namespace_of_s3[] = "xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"";

/* What every list is asked. */
struct asked {
	const char *prefix, *delimiter;
	uint64_t max;
	bool encoded;
};

static bool bad(struct s3_model_request *r, const char *name, const char *why)
{
	s3_model_xml(&r->more, "ArgumentName", "%s", name);
	return s3_model_refuse(r, 400, "InvalidArgument", "%s", why);
}

static bool read_asked(struct s3_model_request *r, const char *max_name, struct asked *asked)
{
	const char *encoding = s3_model_query(r, "encoding-type"),
		   *max = s3_model_query(r, max_name);

	asked->prefix = s3_model_query(r, "prefix");
	asked->prefix = asked->prefix ? asked->prefix : "";
	asked->delimiter = s3_model_query(r, "delimiter");
	asked->delimiter = asked->delimiter ? asked->delimiter : "";
	asked->encoded = encoding;
	asked->max = LISTED_MAX;
	if (encoding && strcmp(encoding, "url") != 0)
		return bad(r, "encoding-type", "Invalid Encoding Method specified in Request");
	if (max && !s3_model_number(max, &asked->max))
		return bad(r, max_name, "Provided value not an integer or within integer range");
	asked->max = min_u64(asked->max, LISTED_MAX);
	return true;
}

static void say_key(struct s3_model_request *r, const struct asked *asked, const char *tag,
		    const char *key)
{
	struct buffer encoded = { 0 };

	if (asked->encoded) {
		s3_model_encode(&encoded, key, strlen(key), true);
		key = encoded.bytes ? encoded.at : "";
	}
	s3_model_xml(&r->xml, tag, "%s", key);
	buffer_free(&encoded);
}

static bool starts_with(const char *text, const char *with)
{
	return strncmp(text, with, strlen(with)) == 0;
}

/* ---- the walk over keys: objects, and the crowd of others between them ---- */

struct walk {
	const struct s3_model_bucket *bucket;
	const struct s3_model_object *object; /* the next one; NULL: no more */
	uint64_t crowd;			      /* number of the next one */
	char crowd_key[CROWD_KEY_BYTES], before[CROWD_KEY_BYTES];
	const char *key;		  /* where it stands; NULL: at the end */
	const struct s3_model_object *at; /* NULL: one of the crowd */
};

static void crowd_key(const struct walk *walk, uint64_t number, char to[CROWD_KEY_BYTES])
{
	snprintf(to, CROWD_KEY_BYTES, "%s%07llu", walk->bucket->crowd_prefix,
		 (unsigned long long)number + 1);
}

/* The first of the crowd whose key is not below this one, or is behind it. */
static uint64_t crowd_from(struct walk *walk, const char *key, bool behind)
{
	uint64_t low = 0, high = walk->bucket->crowd_count;

	while (low < high) {
		uint64_t middle = low + (high - low) / 2;

		crowd_key(walk, middle, walk->crowd_key);
		if (strcmp(walk->crowd_key, key) >= (behind ? 1 : 0))
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

/* To the next key there is, past those that are deleted. */
static void walk_on(struct walk *walk)
{
	const struct s3_model_object *object = walk->object;

	if (walk->key)
		snprintf(walk->before, sizeof walk->before, "%s", walk->key);
	while (object && (object->is_delete_marker || strcmp(object->key, walk->before) == 0)) {
		const char *key = object->key;

		while (object && strcmp(object->key, key) == 0)
			object = object->next;
	}
	walk->object = walk->at = object;
	walk->key = object ? object->key : NULL;
	if (walk->crowd == walk->bucket->crowd_count)
		return;
	crowd_key(walk, walk->crowd, walk->crowd_key);
	if (walk->key && strcmp(walk->key, walk->crowd_key) < 0)
		return;
	walk->crowd++;
	walk->key = walk->crowd_key;
	walk->at = NULL;
}

/* Stands at the first key behind `after` ("": of all) that is not below `prefix`. */
static void walk_from(struct walk *walk, const struct s3_model_bucket *bucket, const char *after,
		      const char *prefix)
{
	walk->bucket = bucket;
	walk->object = bucket->objects;
	while (walk->object && ((after[0] && strcmp(walk->object->key, after) <= 0) ||
				strcmp(walk->object->key, prefix) < 0))
		walk->object = walk->object->next;
	walk->crowd = max_u64(crowd_from(walk, after, true), crowd_from(walk, prefix, false));
	snprintf(walk->before, sizeof walk->before, "%s", after);
	walk_on(walk);
}

/* Past every key that begins like this. */
static void walk_past(struct walk *walk, const char *prefix)
{
	if (walk->bucket->crowd_prefix && starts_with(walk->bucket->crowd_prefix, prefix))
		walk->crowd = walk->bucket->crowd_count;
	while (walk->key && starts_with(walk->key, prefix))
		walk_on(walk);
}

/* ---- ListObjectsV2 ---- */

/* A token is "K" or "P" and the key or common prefix before, in hexadecimal. */
static bool read_token(struct s3_model_request *r, const struct asked *asked, struct walk *walk)
{
	const char *token = s3_model_query(r, "continuation-token"),
		   *after = s3_model_query(r, "start-after");
	char key[S3_MODEL_KEY_BYTES_MAX + 2] = "";
	size_t n = token ? strlen(token) / 2 : 0;

	if (token && (n < 2 || n >= sizeof key || strlen(token) % 2 ||
		      !bytes_from_hex((uint8_t *)key, n, text_of(token)) ||
		      (key[0] != 'K' && key[0] != 'P')))
		return bad(r, "continuation-token", "The continuation token provided is incorrect");
	walk_from(walk, r->bucket, token ? key + 1 : after ? after : "", asked->prefix);
	if (token && key[0] == 'P')
		walk_past(walk, key + 1);
	return true;
}

static void say_object(struct s3_model_request *r, const struct asked *asked,
		       const struct walk *walk)
{
	const struct s3_model_object *object = walk->at;
	char date[32], etag[48];

	s3_model_iso_time(date, object ? object->modified_s : 1400000000);
	snprintf(etag, sizeof etag, "\"%s\"", object ? object->etag : empty_md5);
	buffer_add_text(&r->xml, "<Contents>");
	say_key(r, asked, "Key", walk->key);
	s3_model_xml(&r->xml, "LastModified", "%s", date);
	s3_model_xml(&r->xml, "ETag", "%s", etag);
	if (object && object->checksum.algorithm != S3_MODEL_NO_CHECKSUM) {
		s3_model_xml(&r->xml, "ChecksumAlgorithm", "%s",
			     s3_model_algorithm_name(object->checksum.algorithm));
		s3_model_xml(&r->xml, "ChecksumType",
			     object->checksum.composite ? "COMPOSITE" : "FULL_OBJECT");
	}
	s3_model_xml(&r->xml, "Size", "%llu", object ? (unsigned long long)object->length : 0);
	s3_model_xml(&r->xml, "StorageClass", "%s",
		     object && object->traits.storage_class[0] ? object->traits.storage_class
							       : "STANDARD");
	buffer_add_text(&r->xml, "</Contents>");
}

static void say_token(struct s3_model_request *r, char kind, const char *last)
{
	struct buffer token = { 0 };

	buffer_addf(&token, "%02x", kind);
	for (; *last; last++)
		buffer_addf(&token, "%02x", (unsigned char)*last);
	s3_model_xml(&r->xml, "NextContinuationToken", "%s", token.at);
	buffer_free(&token);
}

/* The key up to and with the delimiter behind the prefix; false: none. */
static bool common_prefix(const struct asked *asked, const char *key, char to[CROWD_KEY_BYTES])
{
	const char *behind = key + strlen(asked->prefix), *found;

	if (!asked->delimiter[0] || !(found = strstr(behind, asked->delimiter)))
		return false;
	snprintf(to, CROWD_KEY_BYTES, "%.*s", (int)(found - key) + (int)strlen(asked->delimiter),
		 key);
	return true;
}

static void list_keys(struct s3_model_request *r, const struct asked *asked, struct walk *walk)
{
	char last[CROWD_KEY_BYTES] = "", common[CROWD_KEY_BYTES], kind = 'K';
	uint64_t count = 0;

	for (; walk->key && starts_with(walk->key, asked->prefix) && count < asked->max; count++) {
		if (common_prefix(asked, walk->key, common)) {
			buffer_add_text(&r->xml, "<CommonPrefixes>");
			say_key(r, asked, "Prefix", common);
			buffer_add_text(&r->xml, "</CommonPrefixes>");
			snprintf(last, sizeof last, "%s", common);
			kind = 'P';
			walk_past(walk, common);
		} else {
			say_object(r, asked, walk);
			snprintf(last, sizeof last, "%s", walk->key);
			kind = 'K';
			walk_on(walk);
		}
	}
	s3_model_xml(&r->xml, "KeyCount", "%llu", (unsigned long long)count);
	if (count && walk->key && starts_with(walk->key, asked->prefix)) {
		s3_model_xml(&r->xml, "IsTruncated", "true");
		say_token(r, kind, last);
	} else {
		s3_model_xml(&r->xml, "IsTruncated", "false");
	}
}

static void do_list(struct s3_model_request *r)
{
	const char *token = s3_model_query(r, "continuation-token");
	struct walk *walk = calloc(1, sizeof *walk);
	struct asked asked;

	must(walk);
	if (s3_model_may(r, "s3:ListBucket") && read_asked(r, "max-keys", &asked) &&
	    read_token(r, &asked, walk)) {
		buffer_addf(&r->xml, "<ListBucketResult %s>", namespace_of_s3);
		s3_model_xml(&r->xml, "Name", "%s", r->bucket->name);
		say_key(r, &asked, "Prefix", asked.prefix);
		if (asked.delimiter[0])
			say_key(r, &asked, "Delimiter", asked.delimiter);
		if (asked.encoded)
			s3_model_xml(&r->xml, "EncodingType", "url");
		if (token)
			s3_model_xml(&r->xml, "ContinuationToken", "%s", token);
		s3_model_xml(&r->xml, "MaxKeys", "%llu", (unsigned long long)asked.max);
		list_keys(r, &asked, walk);
		buffer_add_text(&r->xml, "</ListBucketResult>");
	}
	free(walk);
}

/* ---- ListObjectVersions ---- */

static void say_version_row(struct s3_model_request *r, const struct asked *asked,
			    const struct s3_model_object *object)
{
	const char *row = object->is_delete_marker ? "DeleteMarker" : "Version";
	char date[32], etag[48];

	s3_model_iso_time(date, object->modified_s);
	snprintf(etag, sizeof etag, "\"%s\"", object->etag);
	buffer_addf(&r->xml, "<%s>", row);
	say_key(r, asked, "Key", object->key);
	s3_model_xml(&r->xml, "VersionId", "%s", object->version);
	s3_model_xml(&r->xml, "IsLatest",
		     s3_model_version_of(r->bucket, object->key, NULL) == object ? "true"
										 : "false");
	s3_model_xml(&r->xml, "LastModified", "%s", date);
	if (!object->is_delete_marker) {
		s3_model_xml(&r->xml, "ETag", "%s", etag);
		s3_model_xml(&r->xml, "Size", "%llu", (unsigned long long)object->length);
		s3_model_xml(&r->xml, "StorageClass", "STANDARD");
	}
	buffer_addf(&r->xml, "</%s>", row);
}

/* The first row behind the markers. */
static const struct s3_model_object *first_version(const struct s3_model_request *r,
						   const struct asked *asked)
{
	const char *key = s3_model_query(r, "key-marker"),
		   *version = s3_model_query(r, "version-id-marker");
	const struct s3_model_object *object = r->bucket->objects, *marked;

	if (key && version && (marked = s3_model_version_of(r->bucket, key, version)))
		object = marked->next;
	else
		while (object && key && strcmp(object->key, key) <= 0)
			object = object->next;
	while (object && strcmp(object->key, asked->prefix) < 0)
		object = object->next;
	return object;
}

static void do_list_versions(struct s3_model_request *r)
{
	const struct s3_model_object *object, *last = NULL;
	uint64_t count = 0;
	struct asked asked;

	if (!s3_model_may(r, "s3:ListBucketVersions") || !read_asked(r, "max-keys", &asked))
		return;
	if (asked.delimiter[0]) {
		s3_model_refuse(r, 501, "NotImplemented", "The stand-in lists versions flat.");
		return;
	}
	buffer_addf(&r->xml, "<ListVersionsResult %s>", namespace_of_s3);
	s3_model_xml(&r->xml, "Name", "%s", r->bucket->name);
	say_key(r, &asked, "Prefix", asked.prefix);
	s3_model_xml(&r->xml, "MaxKeys", "%llu", (unsigned long long)asked.max);
	object = first_version(r, &asked);
	for (; object && starts_with(object->key, asked.prefix) && count < asked.max; count++) {
		say_version_row(r, &asked, object);
		last = object;
		object = object->next;
	}
	if (last && object && starts_with(object->key, asked.prefix)) {
		s3_model_xml(&r->xml, "IsTruncated", "true");
		say_key(r, &asked, "NextKeyMarker", last->key);
		s3_model_xml(&r->xml, "NextVersionIdMarker", "%s", last->version);
	} else {
		s3_model_xml(&r->xml, "IsTruncated", "false");
	}
	buffer_add_text(&r->xml, "</ListVersionsResult>");
}

/* ---- ListMultipartUploads ---- */

static void say_upload(struct s3_model_request *r, const struct asked *asked,
		       const struct s3_model_upload *upload)
{
	char date[32];

	s3_model_iso_time(date, upload->began_s);
	buffer_add_text(&r->xml, "<Upload>");
	say_key(r, asked, "Key", upload->key);
	s3_model_xml(&r->xml, "UploadId", "%s", upload->id);
	s3_model_xml(&r->xml, "StorageClass", "STANDARD");
	s3_model_xml(&r->xml, "Initiated", "%s", date);
	if (upload->algorithm != S3_MODEL_NO_CHECKSUM) {
		s3_model_xml(&r->xml, "ChecksumAlgorithm", "%s",
			     s3_model_algorithm_name(upload->algorithm));
		s3_model_xml(&r->xml, "ChecksumType",
			     upload->composite ? "COMPOSITE" : "FULL_OBJECT");
	}
	buffer_add_text(&r->xml, "</Upload>");
}

static const struct s3_model_upload *first_upload(const struct s3_model_request *r,
						  const struct asked *asked)
{
	const char *key = s3_model_query(r, "key-marker"),
		   *id = s3_model_query(r, "upload-id-marker");
	const struct s3_model_upload *upload = r->bucket->uploads, *marked;

	if (key && id && (marked = s3_model_upload_of(r->bucket, key, id)))
		upload = marked->next;
	else
		while (upload && key && strcmp(upload->key, key) <= 0)
			upload = upload->next;
	while (upload && strcmp(upload->key, asked->prefix) < 0)
		upload = upload->next;
	return upload;
}

static void do_list_uploads(struct s3_model_request *r)
{
	const struct s3_model_upload *upload, *last = NULL;
	uint64_t count = 0;
	struct asked asked;

	if (!s3_model_may(r, "s3:ListBucketMultipartUploads") ||
	    !read_asked(r, "max-uploads", &asked))
		return;
	if (asked.delimiter[0]) {
		s3_model_refuse(r, 501, "NotImplemented", "The stand-in lists uploads flat.");
		return;
	}
	buffer_addf(&r->xml, "<ListMultipartUploadsResult %s>", namespace_of_s3);
	s3_model_xml(&r->xml, "Bucket", "%s", r->bucket->name);
	say_key(r, &asked, "Prefix", asked.prefix);
	s3_model_xml(&r->xml, "MaxUploads", "%llu", (unsigned long long)asked.max);
	if (asked.encoded)
		s3_model_xml(&r->xml, "EncodingType", "url");
	upload = first_upload(r, &asked);
	for (; upload && starts_with(upload->key, asked.prefix) && count < asked.max; count++) {
		say_upload(r, &asked, upload);
		last = upload;
		upload = upload->next;
	}
	if (last && upload && starts_with(upload->key, asked.prefix)) {
		s3_model_xml(&r->xml, "IsTruncated", "true");
		say_key(r, &asked, "NextKeyMarker", last->key);
		s3_model_xml(&r->xml, "NextUploadIdMarker", "%s", last->id);
	} else {
		s3_model_xml(&r->xml, "IsTruncated", "false");
	}
	buffer_add_text(&r->xml, "</ListMultipartUploadsResult>");
}

void s3_model_do_list(struct s3_model_request *r)
{
	if (r->op == S3_MODEL_LIST)
		do_list(r);
	else if (r->op == S3_MODEL_LIST_VERSIONS)
		do_list_versions(r);
	else
		do_list_uploads(r);
}

/* ---- settings of a bucket ---- */

static void get_location(struct s3_model_request *r)
{
	bool is_first = strcmp(r->bucket->region, "us-east-1") == 0; /* which has no name here */

	buffer_addf(&r->xml, "<LocationConstraint %s>%s</LocationConstraint>", namespace_of_s3,
		    is_first ? "" : r->bucket->region);
}

static void get_versioning(struct s3_model_request *r)
{
	buffer_addf(&r->xml, "<VersioningConfiguration %s>", namespace_of_s3);
	if (r->bucket->versioning != S3_MODEL_NEVER_VERSIONED)
		s3_model_xml(&r->xml, "Status", "%s",
			     r->bucket->versioning == S3_MODEL_VERSIONED ? "Enabled" : "Suspended");
	buffer_add_text(&r->xml, "</VersioningConfiguration>");
}

static void get_object_lock(struct s3_model_request *r)
{
	if (!r->bucket->object_lock) {
		s3_model_refuse(r, 404, "ObjectLockConfigurationNotFoundError",
				"Object Lock configuration does not exist for this bucket");
		return;
	}
	buffer_addf(&r->xml, "<ObjectLockConfiguration %s>", namespace_of_s3);
	s3_model_xml(&r->xml, "ObjectLockEnabled", "Enabled");
	if (r->bucket->lock_mode[0]) {
		buffer_add_text(&r->xml, "<Rule><DefaultRetention>");
		s3_model_xml(&r->xml, "Mode", "%s", r->bucket->lock_mode);
		s3_model_xml(&r->xml, "Days", "%u", r->bucket->lock_days);
		buffer_add_text(&r->xml, "</DefaultRetention></Rule>");
	}
	buffer_add_text(&r->xml, "</ObjectLockConfiguration>");
}

static void get_encryption(struct s3_model_request *r)
{
	if (!r->bucket->encryption[0]) {
		s3_model_refuse(r, 404, "ServerSideEncryptionConfigurationNotFoundError",
				"The server side encryption configuration was not found");
		return;
	}
	buffer_addf(&r->xml, "<ServerSideEncryptionConfiguration %s><Rule>", namespace_of_s3);
	buffer_add_text(&r->xml, "<ApplyServerSideEncryptionByDefault>");
	s3_model_xml(&r->xml, "SSEAlgorithm", "%s", r->bucket->encryption);
	if (r->bucket->kms_key[0])
		s3_model_xml(&r->xml, "KMSMasterKeyID", "%s", r->bucket->kms_key);
	buffer_add_text(&r->xml, "</ApplyServerSideEncryptionByDefault>");
	s3_model_xml(&r->xml, "BucketKeyEnabled", "%s", r->bucket->bucket_key ? "true" : "false");
	buffer_add_text(&r->xml, "</Rule></ServerSideEncryptionConfiguration>");
}

static void get_replication(struct s3_model_request *r)
{
	if (r->bucket->replication)
		buffer_add_text(&r->xml, r->bucket->replication);
	else
		s3_model_refuse(r, 404, "ReplicationConfigurationNotFoundError",
				"The replication configuration was not found");
}

static void get_public_access_block(struct s3_model_request *r)
{
	static const char *const names[] = { "BlockPublicAcls", "IgnorePublicAcls",
					     "BlockPublicPolicy", "RestrictPublicBuckets" };

	if (!r->bucket->public_access_block) {
		s3_model_refuse(r, 404, "NoSuchPublicAccessBlockConfiguration",
				"The public access block configuration was not found");
		return;
	}
	buffer_addf(&r->xml, "<PublicAccessBlockConfiguration %s>", namespace_of_s3);
	for (unsigned i = 0; i < ARRAY_COUNT(names); i++)
		s3_model_xml(&r->xml, names[i], "%s", r->bucket->public_access_block);
	buffer_add_text(&r->xml, "</PublicAccessBlockConfiguration>");
}

static void get_policy_status(struct s3_model_request *r)
{
	if (!r->bucket->policy_is_public) {
		s3_model_refuse(r, 404, "NoSuchBucketPolicy", "The bucket policy does not exist");
		return;
	}
	buffer_addf(&r->xml, "<PolicyStatus %s>", namespace_of_s3);
	s3_model_xml(&r->xml, "IsPublic", "%s", r->bucket->policy_is_public);
	buffer_add_text(&r->xml, "</PolicyStatus>");
}

void s3_model_do_config(struct s3_model_request *r)
{
	static const struct {
		const char *name, *action;
		void (*get)(struct s3_model_request *);
	} rows[] = {
		{ "location", "s3:GetBucketLocation", get_location },
		{ "versioning", "s3:GetBucketVersioning", get_versioning },
		{ "object-lock", "s3:GetBucketObjectLockConfiguration", get_object_lock },
		{ "encryption", "s3:GetEncryptionConfiguration", get_encryption },
		{ "replication", "s3:GetReplicationConfiguration", get_replication },
		{ "publicAccessBlock", "s3:GetBucketPublicAccessBlock", get_public_access_block },
		{ "policyStatus", "s3:GetBucketPolicyStatus", get_policy_status },
	};

	if (r->op == S3_MODEL_HEAD_BUCKET) {
		s3_model_field(r, "x-amz-bucket-region", "%s", r->bucket->region);
		r->empty = true;
		(void)s3_model_may(r, "s3:ListBucket");
		return;
	}
	for (unsigned i = 0; i < ARRAY_COUNT(rows); i++)
		if (s3_model_query(r, rows[i].name)) {
			if (s3_model_may(r, rows[i].action))
				rows[i].get(r);
			return;
		}
}
