/* A strict stand-in for Amazon S3: buckets, objects with versions, multipart uploads, keys and what
 * they may do. It is fed the bytes of an HTTP/1.1 connection as they come and says what to send,
 * when to wait and where to break off. It computes signatures (SigV4), checksums and conditions
 * anew, with no code of the product, and refuses what AWS documents to be refused (Amazon S3 API
 * Reference).
 *
 * No I/O and no clock of its own: time is given with the bytes, accidents come from a table and a
 * seed. Everything that must outlive a process lies in one mapping shared with processes forked
 * later. Nothing here waits or fails: what cannot be is a broken promise. s3_model_net.c connects
 * it to the simulated network, tests/real/s3_standin.c to real sockets. Not for: what other servers
 * do differently (`lacks` apart). */
#ifndef MAILHAUL_S3_MODEL_H
#define MAILHAUL_S3_MODEL_H

#include "engine/bytes.h"

enum {
	S3_MODEL_KEY_BYTES_MAX = 1024,
	S3_MODEL_BUCKETS_MAX = 4,
	S3_MODEL_USERS_MAX = 64,
	S3_MODEL_ENDPOINTS_MAX = 4,
	S3_MODEL_FAULTS_MAX = 16,
	S3_MODEL_DENIED_MAX = 4,
	S3_MODEL_LATE_MAX = 8,
	S3_MODEL_PART_BYTES_MIN = 5 * 1024 * 1024,
	S3_MODEL_PARTS_MAX = 10000,
};

enum s3_model_algorithm {
	S3_MODEL_NO_CHECKSUM,
	S3_MODEL_CRC64NVME,
	S3_MODEL_CRC32C,
	S3_MODEL_CRC32,
	S3_MODEL_SHA1,
	S3_MODEL_SHA256,
	S3_MODEL_SHA512,
	S3_MODEL_MD5,
	S3_MODEL_ALGORITHMS
};

enum s3_model_op {
	S3_MODEL_ANY,
	S3_MODEL_PUT,
	S3_MODEL_GET,
	S3_MODEL_HEAD,
	S3_MODEL_DELETE,
	S3_MODEL_CREATE, /* a multipart upload */
	S3_MODEL_PART,
	S3_MODEL_COMPLETE,
	S3_MODEL_ABORT,
	S3_MODEL_LIST_PARTS,
	S3_MODEL_LIST,
	S3_MODEL_LIST_VERSIONS,
	S3_MODEL_LIST_UPLOADS,
	S3_MODEL_HEAD_BUCKET,
	S3_MODEL_GET_CONFIG, /* of a bucket: location, versioning, object-lock ... */
	S3_MODEL_GET_LOCK,   /* of an object: retention, legal-hold */
	S3_MODEL_UNKNOWN,
	S3_MODEL_OPS
};

/* What stands with an object besides its bytes. "": not given. */
struct s3_model_traits {
	char content_type[128], storage_class[24];
	char sse[16], kms_key[160], kms_context[512]; /* the context as it was sent: base64 */
	bool bucket_key;
	char lock_mode[12], retain_until[32], legal_hold[4];
	int64_t retain_until_s;
	char metadata[1024]; /* lines "x-amz-meta-name: value\r\n" */
};

struct s3_model_checksum {
	enum s3_model_algorithm algorithm;
	bool composite;
	char text[100]; /* base64, of a composite one with "-N" */
};

struct s3_model_object {
	struct s3_model_object *next; /* by key, then newest first */
	const char *key;
	char version[33]; /* "null" in a bucket that never had versions */
	bool is_delete_marker;
	const uint8_t *bytes;
	uint64_t length;
	char etag[44]; /* without the quotes; of a multipart upload with "-N" */
	struct s3_model_checksum checksum;
	unsigned parts; /* 0: a single PUT */
	int64_t modified_s;
	struct s3_model_traits traits;
};

struct s3_model_part {
	struct s3_model_part *next; /* by number */
	unsigned number;
	const uint8_t *bytes;
	uint64_t length;
	char etag[33];
	struct s3_model_checksum checksum;
	int64_t modified_s;
};

struct s3_model_upload {
	struct s3_model_upload *next; /* by key, then by time */
	const char *key;
	char id[65];
	enum s3_model_algorithm algorithm; /* as asked for at its beginning */
	bool composite;
	struct s3_model_part *parts;
	int64_t began_s;
	struct s3_model_traits traits;
};

struct s3_model_bucket {
	char name[64], region[32], owner[13];
	enum { S3_MODEL_NEVER_VERSIONED, S3_MODEL_VERSIONED, S3_MODEL_SUSPENDED } versioning;
	bool object_lock;
	char lock_mode[12];		 /* default retention, "": none, */
	unsigned lock_days;		 /* of so many days */
	char encryption[16];		 /* "AES256", "aws:kms"; "": not configured */
	char kms_key[160];		 /* of the default encryption */
	bool bucket_key;		 /* the same */
	const char *policy_is_public;	 /* "true", "false"; NULL: there is no policy */
	const char *replication;	 /* the answer's XML; NULL: not configured */
	const char *public_access_block; /* "true", "false" of all four; NULL: not configured */
	/* So many objects of others, named PREFIX0000001 and on, that lists tell of. */
	const char *crowd_prefix;
	uint64_t crowd_count;
	struct s3_model_object *objects;
	struct s3_model_upload *uploads;
};

struct s3_model_user {
	char key[32], secret[64], token[64]; /* token "": long-term credentials */
	char arn[96], account[13];
	int64_t expires_s; /* of the token; 0: never */
	bool revoked;
	/* Actions denied, "s3:PutObject"; others are allowed. */
	const char *denied[S3_MODEL_DENIED_MAX];
};

/* What a row of the table makes of a request. Late and applied ones change the bucket. */
enum s3_model_accident {
	S3_MODEL_NOTHING,
	S3_MODEL_ANSWERS,	   /* status and code instead of doing it */
	S3_MODEL_ANSWERS_APPLIED,  /* the same, and it is done nevertheless */
	S3_MODEL_ERROR_IN_200,	   /* 200, white space, then the error; not done */
	S3_MODEL_RESETS_EARLY,	   /* when the head has come */
	S3_MODEL_RESETS_IN_BODY,   /* when `bytes` of the body have come */
	S3_MODEL_RESETS_APPLIED,   /* done, no answer */
	S3_MODEL_RESETS_IN_ANSWER, /* done, after `bytes` of the answer */
	S3_MODEL_LATE,		   /* reset; done when `requests` more have been heard */
	S3_MODEL_STALLS,	   /* not done, no answer, no end */
	S3_MODEL_SLOW,		   /* the answer in pieces of `bytes`, `wait_ms` apart */
	S3_MODEL_TRUNCATES,	   /* the answer ends in an orderly way after `bytes` of its body */
	S3_MODEL_WRONG_CHECKSUM,   /* done, and the answer names another checksum */
	S3_MODEL_DAMAGES,	   /* a byte of the answer's body is another one */
	S3_MODEL_CHANGES_OBJECT,   /* somebody else writes other bytes under this key first */
	S3_MODEL_EXPIRES_TOKEN,	   /* of the user who asks, from now on */
	S3_MODEL_JUMPS,		   /* the server's clock goes forward by `seconds` from now on */
	S3_MODEL_CONTINUES_LATE,   /* 100 after wait_ms */
	S3_MODEL_CONTINUES_NEVER,
	S3_MODEL_DICE, /* one of these that an honest client must survive */
	S3_MODEL_ACCIDENTS
};

struct s3_model_fault {
	enum s3_model_op op;
	enum s3_model_accident accident;
	const char *key;	/* of objects whose key begins like this; NULL: any */
	unsigned skip;		/* so many requests of this kind pass before, */
	unsigned count;		/* and so many meet it */
	unsigned one_in;	/* of those only so many, as the dice want; 0: each */
	unsigned status;	/* of ANSWERS: 503, */
	const char *code;	/* "SlowDown" */
	unsigned retry_after_s; /* 0: no Retry-After */
	uint64_t bytes;
	unsigned wait_ms, requests;
	int64_t seconds;
	bool loses_upload; /* the upload is gone, too: AWS advises to begin anew after a 409 */
	unsigned met;	   /* how often so far */
};

/* What has been asked; lies in the shared mapping. */
struct s3_model_counts {
	unsigned requests[S3_MODEL_OPS];
	unsigned refused;	/* answers of 400 and above */
	unsigned forbidden;	/* of those: signature, keys, tokens, clock */
	unsigned faults, late;	/* accidents met; requests done late */
	unsigned never;		/* or never */
	unsigned all;		/* requests, late ones too, */
	unsigned late_at;	/* and how many it were when the last one was done late */
	unsigned unconditional; /* PUT and Complete without a condition */
	unsigned unchecked;	/* PUT and UploadPart without checksum or MD5 */
	unsigned overwritten;	/* objects that another one took the place of */
	uint64_t stored_bytes;
};

/* What a server of another make does without. */
enum {
	S3_MODEL_LACKS_CRC64NVME = 1 << 0,  /* refuses it: InvalidRequest */
	S3_MODEL_LACKS_CHECKSUMS = 1 << 1,  /* ignores them, returns none */
	S3_MODEL_LACKS_CONDITIONS = 1 << 2, /* ignores If-None-Match and If-Match of writes */
	S3_MODEL_HIDES_CRC64NVME = 1 << 3,  /* says none of what it stores; others it does */
};

struct s3_model_late;
struct s3_model_arena;
struct s3_model {
	struct s3_model_arena *arena;
	uint64_t seed;
	unsigned lacks;
	/* Host names without port, and their regions: "s3.eu-central-1.example". A bucket may stand
	 * before it: "bucket.s3.eu-central-1.example", or begin the path. */
	struct {
		char host[64], region[32];
	} endpoints[S3_MODEL_ENDPOINTS_MAX];
	uint64_t part_bytes_min; /* S3_MODEL_PART_BYTES_MIN unless changed */
	unsigned part_count_max;
	uint64_t quota_bytes;	/* PUT and parts beyond get 403 QuotaExceeded; 0: none */
	bool read_only;		/* writes get 403 AccessDenied of a bucket policy */
	unsigned requests_max;	/* of one connection, then it ends; 0: no limit */
	int64_t clock_offset_s; /* of the server's clock against the time given */
	/* So long at most a request that changes something is worked on before it is done; 0: no
	 * time. One whose connection ends meanwhile is done when up to so many more have been
	 * heard, or, of so many one, never; 0: all are done. */
	unsigned works_ms_max, late_requests_max, never_one_in;
	unsigned buckets_count, users_count, faults_count;
	struct s3_model_bucket buckets[S3_MODEL_BUCKETS_MAX];
	struct s3_model_user users[S3_MODEL_USERS_MAX];
	struct s3_model_fault faults[S3_MODEL_FAULTS_MAX];
	struct s3_model_late *late;
	uint64_t serial; /* of ids; also the state of the dice */
	struct s3_model_counts counts;
};

/* ---- setting it up ---- */

/* A model in a shared mapping that may grow to `bytes_max`; its endpoint is "localhost", region
 * "us-east-1", until the caller changes the table. Close with s3_model_close(). */
struct s3_model *s3_model_open(uint64_t seed, size_t bytes_max);
void s3_model_close(struct s3_model **);
/* Encrypted with AES256 by default, never versioned, no lock, of account 111122223333. */
struct s3_model_bucket *s3_model_add_bucket(struct s3_model *, const char *name,
					    const char *region);
/* token NULL: long-term credentials. */
struct s3_model_user *s3_model_add_user(struct s3_model *, const char *key, const char *secret,
					const char *token);
void s3_model_add_fault(struct s3_model *, const struct s3_model_fault *);
/* Somebody else stores an object; takes a copy of the bytes. */
struct s3_model_object *s3_model_plant(struct s3_model *, struct s3_model_bucket *, const char *key,
				       const void *, size_t, int64_t now_s);
/* Somebody else begins a multipart upload. */
struct s3_model_upload *s3_model_plant_upload(struct s3_model *, struct s3_model_bucket *,
					      const char *key, int64_t now_s);

/* ---- a connection ---- */

enum s3_model_act { S3_MODEL_IDLE, S3_MODEL_SAY, S3_MODEL_WAIT, S3_MODEL_CLOSE, S3_MODEL_RESET };
struct s3_model_step {
	enum s3_model_act act;
	const void *bytes; /* to say; good until the next call */
	size_t length;
	unsigned wait_ms;
};

struct s3_model_session;
struct s3_model_session *s3_model_accept(struct s3_model *);
void s3_model_hang_up(struct s3_model_session **); /* a request in the making is forgotten */
/* Bytes of the client, in any pieces. now_s is what the world's clock says, Unix time. */
void s3_model_hear(struct s3_model_session *, int64_t now_s, const void *, size_t);
/* What to do next, in order; IDLE: nothing until more is heard. After CLOSE or RESET nothing comes.
 */
struct s3_model_step s3_model_next(struct s3_model_session *);

/* ---- what a judge asks ---- */

struct s3_model_bucket *s3_model_bucket_of(struct s3_model *, const char *name);
/* The current version; NULL: there is none, or it is deleted. */
const struct s3_model_object *s3_model_object_of(const struct s3_model_bucket *, const char *key);
/* Objects that a list would show under the prefix, the crowd not counted. */
unsigned s3_model_objects(const struct s3_model_bucket *, const char *prefix);
unsigned s3_model_versions(const struct s3_model_bucket *, const char *key);
unsigned s3_model_uploads(const struct s3_model_bucket *, const char *prefix);
/* Requests that will be done late are done now: another process begins, or the run is judged. */
void s3_model_settle(struct s3_model *, int64_t now_s);
/* The process has ended, and with it all connections: what is worked on is done late, or never. */
void s3_model_process_ended(struct s3_model *);
/* All of it, to come back to; pointers into it stay good. The caller frees it. */
struct s3_model_image;
struct s3_model_image *s3_model_save(const struct s3_model *);
void s3_model_restore(struct s3_model *, const struct s3_model_image *);
/* Of everything that was stored, but under this key: keys, versions, bytes. */
uint64_t s3_model_fingerprint(const struct s3_model_bucket *, const char *but_key);

#endif
