/* What s3.h is made of: one call, from the request to the verdict. Nobody else's. */
#ifndef MAILHAUL_S3_STATE_H
#define MAILHAUL_S3_STATE_H

#include "transport/s3.h"

enum {
	S3_MAGIC = 0x53332006,
	S3_FIELDS_MAX = 28,
	S3_READ_BYTES = 8 * 1024,
	S3_TARGET_BYTES_MAX = 16 * 1024, /* a key, a prefix and two markers, each byte as %XX */
	S3_HOST_BYTES = AWS_HOST_BYTES_MAX + sizeof "[]:65535",
};

struct s3 {
	uint32_t magic;
	struct s3_config config;
	struct account way;
	char host[S3_HOST_BYTES]; /* as in the field Host */
	struct sigv4 *signer;
	int64_t clock_offset_s;
	unsigned quota; /* for repetitions */
	bool was_answered;
	bool was_let_in; /* the service has taken keys of ours before */
};

/* Whether and when a request is sent again. */
enum s3_again {
	S3_NOT_AGAIN,
	S3_AT_ONCE, /* on another connection */
	S3_LATER,
	S3_WITH_NEW_KEYS,
	S3_WITH_NEW_TIME,
};

struct s3_operation {
	const char *name, *method;
	const char *action; /* what IAM calls the permission */
	bool on_object;	    /* it is asked on, else on the bucket */
	bool stores;	    /* and so needs what SSE-KMS and Object Lock want, too */
};

struct s3_call {
	struct s3 *s3;
	const struct s3_operation *operation;
	const char *key;      /* NULL: the bucket's */
	struct buffer target; /* s3_call_open() has begun it */
	struct sigv4_field fields[S3_FIELDS_MAX];
	size_t fields_count;
	struct text body; /* {NULL, 0}: the pieces */
	const struct text *pieces;
	size_t pieces_count;
	nsec first_byte; /* 0: the way's io_timeout */
	/* Before each attempt; NULL: nothing to do. */
	void (*begin)(struct s3_call *);
	/* The answer, whose status is 2xx; NULL: nothing in it is of interest. */
	enum err (*take)(struct s3_call *, struct http *, const struct http_head *);
	void *owner;

	/* of this attempt, and when all is over of the last one */
	unsigned attempt;
	unsigned status;
	enum s3_again again;
	nsec retry_after; /* 0: not said */
	int64_t signed_s; /* the time in the signature */
	int64_t server_s; /* the time by the server; 0: not said */
	bool is_judged;	  /* by s3_judge(), which has said `again` */
	bool was_refused; /* its keys were */
	uint64_t bytes_sent, bytes_received;
	/* what its head says; "" */
	char request_id[128], host_id[256], region[S3_REGION_BYTES_MAX + 1];
	struct s3_error error;	    /* what its body says; "" */
	struct text token;	    /* of the session, while its keys are lent; else empty */
	char hash[SIGV4_HEX_BYTES]; /* of the body */
	struct sigv4_signed signature;
	char read[S3_READ_BYTES];
	/* of all */
	bool is_unsure; /* an attempt may have done what it was to do */
	bool had_note, had_new_keys, had_new_time;
	unsigned paid; /* of the quota */
};

/* ---- s3.c ---- */

/* On the heap; NULL and ERR_MEMORY_EXHAUSTED. The target is the bucket's or the object's path. */
enum err s3_call_open(struct s3 *, const struct s3_operation *, const char *key,
		      struct s3_call **) MUST_CHECK;
void s3_call_close(struct s3_call **);
/* Values are borrowed until the call's end. NULL: no such field. */
void s3_call_field(struct s3_call *, const char *name, const char *value);
void s3_call_number(struct s3_call *, const char *parameter, uint64_t value);
/* How S3 calls the config's checksum: "CRC64NVME"; "x-amz-checksum-crc64nvme"; and that one of
 * several. */
const char *s3_checksum_algorithm(const struct s3 *);
const char *s3_checksum_field(const struct s3 *);
const char *s3_checksum_element(const struct s3 *); /* "ChecksumCRC64NVME" */
const char *s3_checksum_of(const struct s3 *, const struct s3_checksums *);

/* ---- s3_ask.c ---- */

/* Do it, with all repetitions. Suspends. */
enum err s3_ask(struct s3_call *, nsec until) MUST_CHECK;
/* The same of a HEAD, whose refusals have no body: a wrong secret, a missing permission and a token
 * that has expired look alike. `with_words` asks something that needs the same permission, and that
 * error is returned; if it is allowed, the first answer counts. */
typedef enum err s3_with_words(struct s3 *, const char *key, nsec until);
enum err s3_ask_head(struct s3_call *, s3_with_words *, nsec until) MUST_CHECK;
/* For take(): the body by these sheets, of which there is room for one more behind. An <Error> in
 * it is in call->error, and is an error. */
enum err s3_take_xml(struct s3_call *, struct http *, struct xml_sheet *,
		     size_t sheets_count) MUST_CHECK;
/* For take(): to the end of a body that is of no interest. */
enum err s3_take_nothing(struct s3_call *, struct http *) MUST_CHECK;

/* ---- s3_judge.c ---- */

/* What an answer that says no means: by call->status and call->error, with `again`. Like all errors
 * of an attempt without what was being done, which s3_ask() puts in front. */
enum err s3_judge(struct s3_call *) MUST_CHECK;
enum { S3_NAME_BYTES = 200 };
/* The call's operation, object and bucket, for texts of errors. */
const char *s3_name_of(const struct s3_call *, char *to, size_t room);

/* ---- s3_put.c ---- */

/* What is said of the object that is to be stored: encryption and, unless it is transient, its
 * class and Object Lock. */
void s3_call_storage(struct s3_call *, bool is_transient);
void s3_call_metadata(struct s3_call *, const struct s3_metadata *, size_t count);
/* The fields of one whole body: algorithm and checksum, of which `base64` keeps the value. */
void s3_call_checksum(struct s3_call *, uint64_t crc, char base64[CRC_BASE64_BYTES]);
/* What the service says that it has, against what was sent. ERR_S3_CHECKSUM. */
enum err s3_compare(const char *said, const char *sent, enum s3_proof *) MUST_CHECK;

#endif
