/* Amazon S3 and servers that speak like it: one call for each operation (Amazon S3 API Reference,
 * API version 2006-03-01). Each signs, sends, judges the answer and repeats what may be repeated.
 * Over TLS only. Knows nothing of archives (store_s3.h), of regions and hosts (aws_partition.h) or
 * of where keys come from (aws_chain.h).
 *
 * All calls suspend, until `until` at most, on a fiber with FIBER_STACK_LARGE, and beside what each
 * says return
 *
 *	ERR_S3_DENIED     with the action and the ARN that it is to be allowed on
 *	ERR_S3_KEYS, ERR_AWS_EXPIRED, ERR_S3_BUCKET
 *	ERR_S3_REGION     with the right region; nothing follows a redirection
 *	ERR_S3_THROTTLED, ERR_S3_UNAVAILABLE, ERR_NET_*, ERR_TLS_CUT, ERR_HTTP_SYNTAX,
 *	ERR_XML_SYNTAX    after S3_ATTEMPTS_MAX attempts (3 as long as nobody ever answered), or
 *			  when it would be too late for another
 *	ERR_S3_LACKS, ERR_S3_REFUSED, ERR_TLS_*, ERR_PROXY_*, ERR_INPUT_*, ERR_FIBER_CANCELED
 *
 * What is repeated, in "Retry behavior" of the AWS SDKs and Tools Reference Guide's way: broken
 * connections, 500 502 503 504 and what botocore's _retry.json lists, after anything from nothing
 * to 1 s, 2 s, 4 s ... 20 s (full jitter) or what Retry-After asks for, as long as the client's
 * quota lasts, from which repetitions take and to which what works gives back. At once and without
 * counting: on another connection when a kept one turned out to be closed; once with other keys
 * when those were refused as expired; once with the server's time when ours is off. Everything here
 * can be repeated: writes are of the same bytes to the same place, or under a condition, and a
 * second CreateMultipartUpload leaves an upload without parts, which the next run finds.
 *
 * Memory: some 20 KiB a call beside its connection; bodies are sent from and read to where the
 * caller has them. Lists keep a page (S3_PAGE_BYTES_MAX). */
#ifndef MAILHAUL_S3_H
#define MAILHAUL_S3_H

#include "crypto/crc.h"
#include "crypto/sigv4.h"
#include "transport/aws_partition.h"
#include "transport/aws_request.h"
#include "transport/http_pool.h"
#include "transport/s3_xml.h"

enum {
	S3_ATTEMPTS_MAX = 10,
	S3_PAGE_BYTES_MAX = 4 * 1024 * 1024, /* 1,000 rows, each with a key of 1,024 bytes */
	S3_PART_BYTES_MIN = 5 * 1024 * 1024, /* but of the last one; "multipart upload limits" */
	S3_METADATA_MAX = 8,
};

/* ---- a bucket ---- */

/* Who has the keys to sign with. */
struct s3_key_loan {
	struct sigv4_credentials credentials; /* must stay until give() */
	void *held;			      /* the lender's */
};
struct s3_keys {
	/* ERR_AWS_*: there are none. Suspends. */
	enum err (*take)(void *context, nsec until, struct s3_key_loan *) MUST_CHECK;
	/* refused: the service says that these have expired or are none; the next take() is to lend
	 * others if there are others. Does not suspend. */
	void (*give)(void *context, struct s3_key_loan *, bool refused);
	void *context;
};

/* All is borrowed until s3_close(); texts may be NULL where nothing is said of NULL. */
struct s3_config {
	const char *bucket;	      /* not NULL */
	struct aws_endpoint endpoint; /* of the bucket: aws_endpoint_make() with it */
	/* Timeouts, CA file, route, and who is told; not user, host and port. Not NULL. */
	const struct account *way;
	struct http_pool *pool;	    /* not NULL */
	const struct s3_keys *keys; /* not NULL */
	const char *owner;	    /* the account the bucket must belong to, 12 digits */
	enum crc_kind checksum;
	/* Of what is stored; NULL: what the bucket does by itself. */
	const char *storage_class; /* "STANDARD_IA" */
	const char *encryption;	   /* "AES256", "aws:kms", "aws:kms:dsse" */
	const char *kms_key;	   /* of the latter two: id or ARN */
	const char *kms_context;   /* of the latter two: base64 of JSON */
	bool bucket_key;	   /* of aws:kms */
	const char *lock_mode;	   /* "GOVERNANCE", "COMPLIANCE" */
	const char *retain_until;  /* with it: "2030-01-31T00:00:00Z" */
	bool legal_hold;
	const struct aws_listener *listener; /* is told of each attempt */
};

/* What of it does not fit together, before anything is opened: of who speaks with the bucket
 * nothing has to be there but its name. ERR_INPUT_USAGE. */
enum err s3_check(const struct s3_config *) MUST_CHECK;

/* One bucket, for the fibers of one thread. */
struct s3;
/* Does not connect. ERR_INPUT_USAGE: s3_check(); ERR_RESIDENCY_KEY: a key that the residency policy
 * does not allow. */
enum err s3_open(const struct s3_config *, struct s3 **) MUST_CHECK;
/* As it was opened, with the checksum of s3_checksum_use(); what it points to is borrowed from who
 * opened it. */
const struct s3_config *s3_opened_as(const struct s3 *);
void s3_close(struct s3 **); /* no call may be under way */
/* Another checksum than the config's from here on. No call may be under way, and no upload that was
 * begun with the one before be gone on with. */
void s3_checksum_use(struct s3 *, enum crc_kind);

/* ---- storing ---- */

/* How sure it is that the service has the bytes that were meant. */
enum s3_proof {
	S3_PROOF_NONE, /* it said nothing of use: read it back */
	S3_PROOF_ETAG, /* their MD5 */
	S3_PROOF_CHECKSUM,
};
struct s3_stored {
	char etag[S3_ETAG_BYTES_MAX + 1];	      /* as sent, with its quotes */
	char version_id[S3_VERSION_ID_BYTES_MAX + 1]; /* "": the bucket has no versions */
	enum s3_proof proof;
	/* Also of an error: an earlier attempt of this call may have stored it, for its answer was
	 * lost or said that the service failed, or that another request is under way.
	 * ERR_S3_EXISTS, or ERR_S3_ABSENT of an upload that was to be completed, may then be our
	 * own success: s3_head() tells. */
	bool maybe_ours;
};

/* What a user says of an object; S3 takes 2 KB of it: names behind "x-amz-meta-", and values. */
struct s3_metadata {
	const char *name;  /* "x-amz-meta-mailhaul-no", in small letters */
	const char *value; /* printable ASCII; NULL: not said */
};

struct s3_put {
	const char *key;
	const struct text *pieces; /* the body, borrowed until return */
	size_t pieces_count;
	uint64_t crc;	     /* crc_update() of all, as the config has it */
	bool only_if_absent; /* If-None-Match: * */
	/* Only in place of the object with this ETag, which may lie in `out`; NULL: not asked. */
	const char *if_match;
	/* To be deleted soon: without Object Lock, and in the bucket's usual storage class. */
	bool is_transient;
	const struct s3_metadata *metadata; /* at most S3_METADATA_MAX */
	size_t metadata_count;
};
/* PutObject. `out` is always filled.
 * returns     OK | ERR_S3_EXISTS: only_if_absent | ERR_S3_CHANGED: if_match |
 *             ERR_S3_ABSENT: if_match, and there is none | ERR_S3_CHECKSUM | ERR_S3_FULL */
enum err s3_put(struct s3 *, const struct s3_put *, nsec until, struct s3_stored *out) MUST_CHECK;

struct s3_begin {
	const char *key;
	const struct s3_metadata *metadata; /* as in struct s3_put */
	size_t metadata_count;
};
/* CreateMultipartUpload, for checksums of the whole object (FULL_OBJECT). upload_id is terminated.
 */
enum err s3_upload_begin(struct s3 *, const struct s3_begin *, nsec until,
			 char upload_id[S3_UPLOAD_ID_BYTES_MAX + 1]) MUST_CHECK;

struct s3_part_put {
	const char *key, *upload_id;
	unsigned number; /* 1 to S3_PARTS_MAX */
	const struct text *pieces;
	size_t pieces_count;
	uint64_t crc;
};
/* UploadPart. ERR_S3_ABSENT: there is no such upload (any more). Else as s3_put(). */
enum err s3_upload_part(struct s3 *, const struct s3_part_put *, nsec until,
			struct s3_stored *out) MUST_CHECK;

struct s3_part_sent {
	unsigned number;
	uint64_t crc;
	char etag[S3_ETAG_BYTES_MAX + 1];
	bool etag_is_md5; /* S3_PROOF_ETAG of the part */
};
struct s3_complete {
	const char *key, *upload_id;
	const struct s3_part_sent *parts; /* in rising order of numbers, of which some may miss */
	size_t parts_count;
	uint64_t crc, bytes; /* of the object: crc_combine() of the parts' */
	bool only_if_absent;
};
/* CompleteMultipartUpload. The proof is CHECKSUM or NONE. As s3_put() | ERR_S3_ABSENT: the upload
 * is not there, see maybe_ours | ERR_S3_UNAVAILABLE, also at once: a part is not the one that was
 * sent (InvalidPart); begin anew. */
enum err s3_upload_complete(struct s3 *, const struct s3_complete *, nsec until,
			    struct s3_stored *out) MUST_CHECK;
/* AbortMultipartUpload. A part that is on its way may still arrive: s3_list_parts() until it says
 * ERR_S3_ABSENT ("Aborting a multipart upload"). ERR_S3_ABSENT: it was completed or aborted. */
enum err s3_upload_abort(struct s3 *, const char *key, const char *upload_id,
			 nsec until) MUST_CHECK;

/* DeleteObject: in a bucket with versions what was there stays below a marker. if_match: only the
 * object with this ETag (NULL: any); ERR_S3_CHANGED, ERR_S3_ABSENT. */
enum err s3_delete(struct s3 *, const char *key, const char *if_match, nsec until) MUST_CHECK;

/* ---- reading ---- */

struct s3_about {
	uint64_t bytes;
	char etag[S3_ETAG_BYTES_MAX + 1];
	char version_id[S3_VERSION_ID_BYTES_MAX + 1];
	/* crc_base64() of the object, as the config has it; "": it has none of its whole */
	char checksum[S3_CHECKSUM_BYTES_MAX + 1];
	char storage_class[S3_WORD_BYTES_MAX + 1]; /* "": STANDARD */
	char encryption[S3_WORD_BYTES_MAX + 1];
	char kms_key[S3_KMS_KEY_BYTES_MAX + 1]; /* an ARN, also where it was stored with an alias */
	bool bucket_key;
	char lock_mode[S3_WORD_BYTES_MAX + 1], retain_until[S3_WORD_BYTES_MAX + 1];
	char legal_hold[S3_WORD_BYTES_MAX + 1]; /* "ON" */
};
/* HeadObject. ERR_S3_ABSENT: no such object, or no such bucket; without s3:ListBucket S3 says
 * ERR_S3_DENIED of both. */
enum err s3_head(struct s3 *, const char *key, nsec until, struct s3_about *) MUST_CHECK;
/* And with the fields of the answer, which have the object's metadata: http_parse_field() finds
 * them. */
enum err s3_head_fields(struct s3 *, const char *key, nsec until, struct s3_about *,
			struct buffer *fields) MUST_CHECK;

struct s3_get {
	const char *key;
	uint64_t at;
	void *to; /* written while it suspends */
	size_t bytes;
	const char *etag; /* If-Match; NULL: whatever is there */
	/* Filled with the fields of the last answer, as by s3_head_fields(); NULL: not wanted. */
	struct buffer *fields;
};
/* GetObject of a range. What breaks off is asked for from there on, of the same object. *got is
 * less than asked for only at the object's end, 0 at or behind it.
 * returns     OK | ERR_S3_ABSENT | ERR_S3_CHANGED: there is another object under the key by now |
 *             ERR_S3_ARCHIVED: it is in a storage class that it must be restored from first */
enum err s3_get(struct s3 *, const struct s3_get *, nsec until, size_t *got) MUST_CHECK;

/* ---- lists ---- */

/* What a list has; texts are terminated, decoded, borrowed until return, and "" where nothing was
 * said. */
struct s3_entry {
	bool is_prefix;	      /* stands for all keys that begin so, up to the delimiter */
	const char *key;      /* or prefix; of a part "" */
	const char *id;	      /* ETag; of an upload its id */
	const char *checksum; /* of a part, as the config has it */
	unsigned number;      /* of a part */
	uint64_t bytes;	      /* not of an upload */
	int64_t time_s;	      /* last modified; of an upload, when it was begun */
};
/* May suspend. Its error ends the list, and is the list's. */
typedef enum err s3_take(void *context, const struct s3_entry *);

struct s3_list {
	const char *prefix; /* NULL: none; as are the others */
	const char *start_after;
	const char *delimiter;
	s3_take *take;
	void *context;
};
/* ListObjectsV2, page after page, each entry once. `until` is for all. */
enum err s3_list(struct s3 *, const struct s3_list *, nsec until) MUST_CHECK;
/* ListMultipartUploads: those that are under way below a prefix, whoever began them. */
enum err s3_list_uploads(struct s3 *, const char *prefix, s3_take *, void *context,
			 nsec until) MUST_CHECK;
/* ListParts. ERR_S3_ABSENT: there is no such upload (any more). */
enum err s3_list_parts(struct s3 *, const char *key, const char *upload_id, s3_take *,
		       void *context, nsec until) MUST_CHECK;

/* ---- how the bucket is set up ---- */

/* By HeadBucket, or GetBucketLocation where that does not say. ERR_S3_REGION: `region` has it, too.
 */
enum err s3_bucket_region(struct s3 *, nsec until, char region[S3_REGION_BYTES_MAX + 1]) MUST_CHECK;
/* Each is all "" and 0 where nothing was ever set. ERR_S3_LACKS: the server knows no such thing. */
enum err s3_bucket_versioning(struct s3 *, nsec until, struct s3_versioning *) MUST_CHECK;
enum err s3_bucket_object_lock(struct s3 *, nsec until, struct s3_object_lock *) MUST_CHECK;
enum err s3_bucket_encryption(struct s3 *, nsec until, struct s3_encryption *) MUST_CHECK;
enum err s3_bucket_public_access(struct s3 *, nsec until,
				 struct s3_public_access_block *) MUST_CHECK;
enum err s3_bucket_policy_status(struct s3 *, nsec until, struct s3_policy_status *) MUST_CHECK;
/* take: each rule, borrowed until return; does not suspend. */
enum err s3_bucket_replication(struct s3 *, nsec until,
			       void (*take)(void *context, const struct s3_replication_rule *),
			       void *context) MUST_CHECK;

#endif
