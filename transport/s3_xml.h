/* What S3 answers in XML, as structs: forms for transport/xml_form, and the bodies that S3 wants in
 * XML. Names, bounds and which elements there are: Amazon S3 API Reference (API version 2006-03-01)
 * and botocore's model of it (service-2.json of 1.43); what radosgw does otherwise is said where it
 * matters: of 16.2.15 as it was seen to answer, of others by Ceph's source (rgw_rest_s3.cc), which
 * was not tried. It may add <Tenant> to answers, which nobody asks for here.
 *
 * An answer is read by the form of what was asked for and, beside it, always s3_xml_error:
 *
 *	struct s3_error error;
 *	struct s3_objects page;
 *	struct s3_object object;
 *	struct xml_sheet sheets[] = {
 *		XML_SHEET(&s3_xml_objects, &page),
 *		XML_ROWS(&s3_xml_object, &object, take_object, list),
 *		XML_SHEET(&s3_xml_error, &error),
 *	};
 *
 * and sheets[2].count says whether it was an error. Ask that also where the status is 200: S3
 * begins to answer CompleteMultipartUpload (and CopyObject) before it knows, sends white space
 * while it works, and then <Error> in place of the result. A document of any other root is refused,
 * so what is no error is the answer. Statuses without a body (204, 304, all answers to HEAD) are
 * not for this.
 *
 * The structs have kilobytes, more than a fiber's frame should: allocate them. Members are named
 * after the elements. Text is terminated and "" where the element is absent or empty. An ETag is
 * kept as it was sent: AWS has it in double quotes, and radosgw, too, but not in
 * CompleteMultipartUploadResult. Times are seconds since 1970-01-01 UTC. */
#ifndef MAILHAUL_S3_XML_H
#define MAILHAUL_S3_XML_H

#include "transport/xml_form.h"

enum {
	S3_KEY_BYTES_MAX = 1024,   /* of a key, as UTF-8 */
	S3_BUCKET_BYTES_MAX = 255, /* 63 today; old ones of us-east-1, and radosgw's, have more */
	S3_UPLOAD_ID_BYTES_MAX = 1024, /* AWS's have some 130; no bound is promised */
	S3_TOKEN_BYTES_MAX = 2048,     /* a continuation token; radosgw's is a key */
	S3_ETAG_BYTES_MAX = 127,
	S3_CHECKSUM_BYTES_MAX = 127, /* SHA-512 in base64 has 88, a composite one "-10000" behind */
	S3_WORD_BYTES_MAX = 63,
	S3_REGION_BYTES_MAX = 63,
	S3_VERSION_ID_BYTES_MAX = 1024,
	S3_ARN_BYTES_MAX = 2048,
	S3_KMS_KEY_BYTES_MAX = 255, /* a key's ARN, which has 75 and its region */
	S3_PARTS_MAX = 10000,	    /* of an upload */
	/* An answer: 1,000 keys (no page has more), each byte of which may be "%XX" or "&quot;",
	 * and as much again for what else a row has. */
	S3_ANSWER_BYTES_MAX = 16 * 1024 * 1024,
	/* With encoding-type=url each byte may be three. */
	S3_KEY_SENT_BYTES_MAX = 3 * S3_KEY_BYTES_MAX,
};

/* REST error responses. Of the elements that some codes add, those that say where to go instead
 * (PermanentRedirect, TemporaryRedirect, AuthorizationHeaderMalformed) are kept. */
struct s3_error {
	char code[S3_WORD_BYTES_MAX * 2 + 1]; /* "NoSuchKey", "SlowDown": what to decide by */
	char message[512];		      /* for people; cut */
	char key[S3_KEY_BYTES_MAX + 1];	      /* cut */
	char bucket[S3_BUCKET_BYTES_MAX + 1];
	char region[S3_REGION_BYTES_MAX + 1]; /* the one that would have been right */
	char endpoint[256];
	char request_id[128], host_id[256]; /* AWS's support asks for both */
};
extern const struct xml_form s3_xml_error;

/* CreateMultipartUpload: <InitiateMultipartUploadResult>. */
struct s3_upload_begun {
	char bucket[S3_BUCKET_BYTES_MAX + 1];
	char key[S3_KEY_BYTES_MAX + 1];
	char upload_id[S3_UPLOAD_ID_BYTES_MAX + 1];
};
extern const struct xml_form s3_xml_upload_begun;

/* Members for each checksum that an element may bear; at most one is there in an answer to us, and
 * which one is S3's affair: what was asked for, or CRC64NVME where nothing was. */
struct s3_checksums {
	char crc32[S3_CHECKSUM_BYTES_MAX + 1], crc32c[S3_CHECKSUM_BYTES_MAX + 1];
	char crc64nvme[S3_CHECKSUM_BYTES_MAX + 1];
	char sha1[S3_CHECKSUM_BYTES_MAX + 1], sha256[S3_CHECKSUM_BYTES_MAX + 1];
};

/* CompleteMultipartUpload. radosgw 16.2.15 sends no checksums, and an empty ETag: HEAD tells
 * it, or the same request again, which succeeds, too. */
struct s3_upload_completed {
	char location[2048]; /* cut; the server's idea of the URL, of no use but to show */
	char bucket[S3_BUCKET_BYTES_MAX + 1];
	char key[S3_KEY_BYTES_MAX + 1];
	char etag[S3_ETAG_BYTES_MAX + 1]; /* or "" */
	struct s3_checksums checksums;
	char checksum_type[S3_WORD_BYTES_MAX + 1]; /* FULL_OBJECT, COMPOSITE */
};
extern const struct xml_form s3_xml_upload_completed;

/* encoding-type=url is best not asked for where keys are our own, which XML can say:
 * radosgw 16.2.15 encodes keys, and prefixes but for their slashes, but no markers and tokens, and
 * in ListMultipartUploads it does so without any EncodingType.
 *
 * ListObjectsV2: the page, its objects, and what stands for those below a delimiter. Keys and
 * prefixes are as they were sent: where encoding_type is "url", s3_xml_url_decode() each, which
 * must wait for the end of the page, because MinIO says it behind the keys. */
struct s3_objects {
	uint64_t key_count; /* radosgw and AWS: keys and common prefixes */
	bool is_truncated;
	char next_continuation_token[S3_TOKEN_BYTES_MAX + 1];
	char encoding_type[S3_WORD_BYTES_MAX + 1];
};
extern const struct xml_form s3_xml_objects;
struct s3_object {
	char key[S3_KEY_SENT_BYTES_MAX + 1];
	uint64_t size;
	char etag[S3_ETAG_BYTES_MAX + 1];
	int64_t last_modified;
	char checksum_algorithm[S3_WORD_BYTES_MAX + 1]; /* several with commas */
	char checksum_type[S3_WORD_BYTES_MAX + 1];
	char storage_class[S3_WORD_BYTES_MAX + 1];
};
extern const struct xml_form s3_xml_object;
struct s3_prefix {
	char prefix[S3_KEY_SENT_BYTES_MAX + 1];
};
extern const struct xml_form s3_xml_prefix;

/* ListObjectVersions: the page, its versions and its delete markers. */
struct s3_versions {
	bool is_truncated;
	char next_key_marker[S3_KEY_SENT_BYTES_MAX + 1];
	char next_version_id_marker[S3_VERSION_ID_BYTES_MAX + 1];
	char encoding_type[S3_WORD_BYTES_MAX + 1];
};
extern const struct xml_form s3_xml_versions;
struct s3_version {
	char key[S3_KEY_SENT_BYTES_MAX + 1];
	char version_id[S3_VERSION_ID_BYTES_MAX + 1]; /* "null" while there was no versioning */
	bool is_latest;
	uint64_t size; /* a delete marker has none, and no ETag */
	char etag[S3_ETAG_BYTES_MAX + 1];
	int64_t last_modified;
};
extern const struct xml_form s3_xml_version, s3_xml_delete_marker;

/* ListMultipartUploads. Without a delimiter: radosgw's common prefixes are no such elements. */
struct s3_uploads {
	bool is_truncated;
	char next_key_marker[S3_KEY_SENT_BYTES_MAX + 1];
	char next_upload_id_marker[S3_UPLOAD_ID_BYTES_MAX + 1];
	char encoding_type[S3_WORD_BYTES_MAX + 1];
};
extern const struct xml_form s3_xml_uploads;
struct s3_upload {
	char key[S3_KEY_SENT_BYTES_MAX + 1];
	char upload_id[S3_UPLOAD_ID_BYTES_MAX + 1];
	int64_t initiated;
	char storage_class[S3_WORD_BYTES_MAX + 1];
	char checksum_algorithm[S3_WORD_BYTES_MAX + 1];
	char checksum_type[S3_WORD_BYTES_MAX + 1];
};
extern const struct xml_form s3_xml_upload;

/* ListParts. radosgw gives a next_part_number_marker on the last page, too: is_truncated counts. */
struct s3_parts {
	bool is_truncated;
	uint64_t next_part_number_marker;
	char bucket[S3_BUCKET_BYTES_MAX + 1];
	char key[S3_KEY_BYTES_MAX + 1];
	char upload_id[S3_UPLOAD_ID_BYTES_MAX + 1];
	char storage_class[S3_WORD_BYTES_MAX + 1];
	char checksum_algorithm[S3_WORD_BYTES_MAX + 1];
	char checksum_type[S3_WORD_BYTES_MAX + 1];
};
extern const struct xml_form s3_xml_parts;
struct s3_part {
	uint64_t part_number;
	uint64_t size;
	int64_t last_modified;
	char etag[S3_ETAG_BYTES_MAX + 1];
	struct s3_checksums checksums;
};
extern const struct xml_form s3_xml_part;

/* GetBucketLocation: <LocationConstraint>, empty for us-east-1, "EU" for the oldest of eu-west-1.
 * radosgw says its zone group's name. */
struct s3_location {
	char constraint[S3_REGION_BYTES_MAX + 1];
};
extern const struct xml_form s3_xml_location;
/* The region that it stands for; lives as long as the struct. */
const char *s3_xml_region(const struct s3_location *);

/* GetBucketVersioning: status "Enabled" or "Suspended", "" where there never was any. */
struct s3_versioning {
	char status[S3_WORD_BYTES_MAX + 1];
	char mfa_delete[S3_WORD_BYTES_MAX + 1];
};
extern const struct xml_form s3_xml_versioning;

/* GetObjectLockConfiguration; a bucket without one answers ObjectLockConfigurationNotFoundError. */
struct s3_object_lock {
	char enabled[S3_WORD_BYTES_MAX + 1]; /* "Enabled" */
	char mode[S3_WORD_BYTES_MAX + 1];    /* GOVERNANCE, COMPLIANCE; "": no default retention */
	uint64_t days, years;		     /* one of them */
};
extern const struct xml_form s3_xml_object_lock;

/* GetBucketEncryption: the one rule that a bucket has. radosgw 16.2.15 does not know it and answers
 * with a list of objects, which is refused as any other root. */
struct s3_encryption {
	char sse_algorithm[S3_WORD_BYTES_MAX + 1]; /* AES256, aws:kms, aws:kms:dsse */
	char kms_master_key_id[S3_ARN_BYTES_MAX + 1];
	bool bucket_key_enabled;
};
extern const struct xml_form s3_xml_encryption;

/* GetBucketReplication: its role, and rules one by one. What a rule filters by tags is not kept. */
struct s3_replication {
	char role[S3_ARN_BYTES_MAX + 1];
};
extern const struct xml_form s3_xml_replication;
struct s3_replication_rule {
	char id[256];
	char status[S3_WORD_BYTES_MAX + 1]; /* Enabled, Disabled */
	uint64_t priority;
	char prefix[S3_KEY_BYTES_MAX + 1];	  /* of rules of before 2018 */
	char filter_prefix[S3_KEY_BYTES_MAX + 1]; /* of the others */
	char and_prefix[S3_KEY_BYTES_MAX + 1];	  /* of the others, with tags beside it */
	char destination_bucket[S3_ARN_BYTES_MAX + 1];
	char destination_account[S3_WORD_BYTES_MAX + 1];
	char destination_storage_class[S3_WORD_BYTES_MAX + 1];
	char delete_markers[S3_WORD_BYTES_MAX + 1];   /* Enabled: they are replicated, too */
	char existing_objects[S3_WORD_BYTES_MAX + 1]; /* the same */
};
extern const struct xml_form s3_xml_replication_rule;

/* GetPublicAccessBlock; a bucket without one answers NoSuchPublicAccessBlockConfiguration.
 * radosgw 16.2.15 answers with another root, which is refused. */
struct s3_public_access_block {
	bool block_public_acls, ignore_public_acls, block_public_policy, restrict_public_buckets;
};
extern const struct xml_form s3_xml_public_access_block;

/* GetBucketPolicyStatus: whether the bucket's policy opens it to everybody, as AWS judges ("The
 * meaning of public"); a bucket without a policy answers NoSuchBucketPolicy. */
struct s3_policy_status {
	bool is_public;
};
extern const struct xml_form s3_xml_policy_status;

/* DeleteObjects: what became of each key. Asked to be quiet, S3 tells only those that it did not
 * delete, so an answer may have neither. */
struct s3_deleted {
	char key[S3_KEY_BYTES_MAX + 1];
	char version_id[S3_VERSION_ID_BYTES_MAX + 1];
	bool delete_marker; /* one was made, or one was deleted */
	char delete_marker_version_id[S3_VERSION_ID_BYTES_MAX + 1];
};
extern const struct xml_form s3_xml_deleted;
struct s3_delete_failed {
	char key[S3_KEY_BYTES_MAX + 1];
	char version_id[S3_VERSION_ID_BYTES_MAX + 1];
	char code[S3_WORD_BYTES_MAX * 2 + 1];
	char message[512]; /* cut; radosgw's is the code again */
};
extern const struct xml_form s3_xml_delete_failed;

/* Undo encoding-type=url in place: %XX is that byte, '+' a space (AWS and MinIO write one so;
 * radosgw writes %20, and "%2B" for a plus). False: it is no such text, or one with a NUL; it is
 * half done then. */
bool s3_xml_url_decode(char *text) MUST_CHECK;

/* Body of CompleteMultipartUpload: begin, each part in rising order of numbers, end. Without any
 * white space: radosgw refuses more than 1 MiB (rgw_max_put_param_size). 10,000 parts with an MD5
 * as ETag are just below, with or without quotes; with a checksum of CRC64NVME beside it, 6,900
 * are.
 *
 * number         1 to S3_PARTS_MAX
 * etag           as UploadPart answered, with or without quotes
 * checksum_name  "ChecksumCRC64NVME" and its like, with its base64; NULL: none
 * False: etag or checksum hold what XML cannot say, or are longer than those of ListParts; what is
 * in the buffer is then of no use. Whether there was memory, buffer.failed says. */
void s3_xml_complete_begin(struct buffer *);
bool s3_xml_complete_part(struct buffer *, unsigned number, struct text etag,
			  const char *checksum_name, struct text checksum) MUST_CHECK;
void s3_xml_complete_end(struct buffer *);

#endif
