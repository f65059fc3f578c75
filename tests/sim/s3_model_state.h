/* What the files of the S3 stand-in share: a request with its answer, and the parts of the work.
 * Not for tests: those use s3_model.h. */
#ifndef MAILHAUL_S3_MODEL_STATE_H
#define MAILHAUL_S3_MODEL_STATE_H

#include "tests/sim/s3_model.h"

enum { S3_MODEL_HEADERS_MAX = 64, S3_MODEL_QUERIES_MAX = 24, S3_MODEL_QUERY_BYTES_MAX = 2200 };

struct s3_model_header {
	char name[64];	   /* in lower case */
	struct text value; /* without white space around it; in the session's bytes */
	bool is_signed;
};

struct s3_model_query {
	char name[40];
	char value[S3_MODEL_QUERY_BYTES_MAX]; /* decoded */
	bool has_value;
};

/* One request. Too big for a stack: it lies in the session. */
struct s3_model_request {
	struct s3_model *model;
	int64_t now_s; /* by the server's clock */
	char method[8];
	struct text target; /* as it was sent */
	unsigned headers_count, queries_count;
	struct s3_model_header headers[S3_MODEL_HEADERS_MAX];
	struct s3_model_query queries[S3_MODEL_QUERIES_MAX];
	enum s3_model_op op;
	const char *endpoint_region;
	char path[3 * S3_MODEL_KEY_BYTES_MAX +
		  70]; /* decoded, with the bucket if it stands there */
	size_t path_bytes;
	char bucket_name[64];
	const char *key;
	struct s3_model_bucket *bucket;
	struct s3_model_user *user;
	/* What the signature covered, for the chunks of a signed stream. */
	char scope[128], date[20];
	char signature[65];
	uint8_t signing_key[32];
	/* The body, decoded. */
	const uint8_t *body;
	size_t length;
	struct buffer decoded;
	struct s3_model_checksum sent; /* as the client says: header or trailer */
	/* The answer. */
	unsigned status;
	const char *code;	     /* of an error */
	struct buffer message, more; /* of an error; more: elements of its own */
	struct buffer fields;	     /* lines of the answer's head */
	struct buffer xml;
	const uint8_t *bytes; /* an object's bytes instead of XML */
	size_t bytes_length;
	bool empty;	  /* no body */
	bool is_forgiven; /* its clock is not judged: it is done late */
};

/* By the server's clock at that time of the world; closing accepts NULL inside. */
struct s3_model_request *s3_model_request_open(struct s3_model *, int64_t now_s);
void s3_model_request_close(struct s3_model_request **);
/* Does what is asked, with the body as it came; who asks was judged. */
void s3_model_work(struct s3_model_request *, const void *raw, size_t);

/* ---- requests done late (s3_model_late.c) ---- */

/* Takes a copy: it is done when so many requests more have been heard, */
struct s3_model_late *s3_model_put_off(struct s3_model *, struct text head, struct text raw,
				       unsigned requests);
/* but not as long as its connection lives, which may take it back, or let it go: then it is done
 * late, or never. */
void s3_model_hold(struct s3_model_late *);
void s3_model_take_back(struct s3_model *, struct s3_model_late **);
void s3_model_let_go(struct s3_model *, struct s3_model_late *);
/* One more request is heard. */
void s3_model_do_late(struct s3_model *, int64_t now_s);

/* ---- the request's words (s3_model_words.c) ---- */

const struct s3_model_header *s3_model_header(const struct s3_model_request *, const char *name);
/* The value as a string in `to`; false: there is no such header, or it is too long. */
bool s3_model_header_text(const struct s3_model_request *, const char *name, char *to, size_t max);
bool s3_model_header_is(const struct s3_model_request *, const char *name, const char *value);
const char *s3_model_query(const struct s3_model_request *, const char *name); /* NULL: none */
bool s3_model_number(const char *text, uint64_t *number);
/* Percent-encoded, RFC 3986 unreserved characters apart; '/' stays where `path`. */
void s3_model_encode(struct buffer *to, const char *, size_t, bool path);
/* Decodes; false: a broken escape, or too long. '+' is a space where `query`. */
bool s3_model_decode(struct text from, bool query, char *to, size_t max, size_t *bytes);
/* Splits head and target into the request; false: it is not HTTP, or refused (status is set). */
bool s3_model_read_head(struct s3_model_request *, struct text head);
/* What stands between <tag> and </tag> behind *at, which goes on; false: no more. */
bool s3_model_element(struct text *at, const char *tag, struct text *inside);
void s3_model_iso_time(char to[32], int64_t seconds);
/* "20130524T000000Z" or "2013-05-24T00:00:00Z", with fractions; false: neither. */
bool s3_model_parse_time(const char *, int64_t *seconds);
void s3_model_http_time(char to[32], int64_t seconds);

/* ---- answers (s3_model_reply.c) ---- */

/* An error; always false, so that a check can end with it. The first one stays. */
bool s3_model_refuse(struct s3_model_request *, unsigned status, const char *code,
		     const char *format, ...) PRINTF_LIKE(4, 5);
void s3_model_field(struct s3_model_request *, const char *name, const char *format, ...)
	PRINTF_LIKE(3, 4);
/* <tag>text</tag>, escaped; to buffers of XML. */
void s3_model_xml(struct buffer *, const char *tag, const char *format, ...) PRINTF_LIKE(3, 4);
void s3_model_xml_checksum(struct buffer *, const struct s3_model_checksum *);
/* The answer as bytes behind what `to` holds. body_at: where its body begins. */
void s3_model_answer(struct s3_model_request *, bool closes, struct buffer *to, size_t *body_at);

/* ---- signatures and checksums (s3_model_sign.c, s3_model_body.c, s3_model_digest.c) ---- */

/* Who asks, by AWS Signature Version 4; false: refused. Sets user, scope, signing key. */
bool s3_model_verify(struct s3_model_request *);
/* HMAC-SHA256 with the request's signing key, lower-case hexadecimal. */
void s3_model_sign(const uint8_t key[32], struct text what, char to[65]);
void s3_model_sha256_hex(const void *, size_t, char to[65]);
/* The body without its chunks, its hash, its signatures, its trailer; false: refused. */
bool s3_model_read_body(struct s3_model_request *, const uint8_t *raw, size_t);
/* Checksum headers, trailer and Content-MD5 against the body; false: refused. */
bool s3_model_check_body(struct s3_model_request *);
/* The checksum header of the request, if there is one; false: refused. */
bool s3_model_read_checksum(struct s3_model_request *);
const char *s3_model_algorithm_name(enum s3_model_algorithm);	 /* "CRC64NVME" */
enum s3_model_algorithm s3_model_algorithm_of(const char *name); /* any case; NONE: unknown */
size_t s3_model_digest(enum s3_model_algorithm, const void *, size_t, uint8_t to[64]);
void s3_model_checksum(struct s3_model_checksum *, enum s3_model_algorithm, const void *, size_t);
bool s3_model_from_base64(const char *text, uint8_t *to, size_t max, size_t *bytes);

/* ---- what is done ---- */

/* Finds endpoint, bucket, key and op; false: refused. */
bool s3_model_route(struct s3_model_request *);
/* Who asks, and whether the bucket is where and of whom it is said to be; false: refused. */
bool s3_model_judge(struct s3_model_request *);
void s3_model_do(struct s3_model_request *); /* by its op; the body is checked */
void s3_model_put(struct s3_model_request *);
void s3_model_get(struct s3_model_request *); /* HEAD, too */
void s3_model_delete(struct s3_model_request *);
void s3_model_get_lock(struct s3_model_request *);
void s3_model_do_upload(struct s3_model_request *); /* CREATE, PART, COMPLETE, ABORT, LIST_PARTS */
void s3_model_do_list(struct s3_model_request *);   /* LIST, LIST_VERSIONS, LIST_UPLOADS */
void s3_model_do_config(struct s3_model_request *);
/* Lock, encryption, storage class, metadata of a PUT or of an upload's beginning; false: refused.
 */
bool s3_model_read_traits(struct s3_model_request *, struct s3_model_traits *);
void s3_model_say_traits(struct s3_model_request *, const struct s3_model_traits *, bool is_read);
/* Whether the server says such a checksum of what it stores. */
bool s3_model_tells(const struct s3_model *, enum s3_model_algorithm);
void s3_model_say_checksum(struct s3_model_request *, const struct s3_model_checksum *);
void s3_model_say_version(struct s3_model_request *, const struct s3_model_object *);
/* If-None-Match and If-Match of a write; false: refused. */
bool s3_model_condition(struct s3_model_request *);
/* The user may do this ("s3:PutObject"); false: refused. */
bool s3_model_may(struct s3_model_request *, const char *action);

/* ---- the store (s3_model_store.c) ---- */

void *s3_model_allocate(struct s3_model *, size_t); /* zeroed */
void s3_model_release(struct s3_model *, const void *, size_t);
char *s3_model_copy_text(struct s3_model *, const char *);
const uint8_t *s3_model_copy_bytes(struct s3_model *, const void *, size_t);
uint64_t s3_model_throw(struct s3_model *);
void s3_model_id(struct s3_model *, char *to, size_t digits);
/* A new current version; key and bytes are taken over, the rest is copied. */
struct s3_model_object *s3_model_store(struct s3_model *, struct s3_model_bucket *,
				       const struct s3_model_object *);
void s3_model_remove(struct s3_model *, struct s3_model_bucket *, struct s3_model_object *);
/* That version, or the current one where NULL; it may be a delete marker. */
struct s3_model_object *s3_model_version_of(const struct s3_model_bucket *, const char *key,
					    const char *version);
struct s3_model_upload *s3_model_upload_of(const struct s3_model_bucket *, const char *key,
					   const char *id);
void s3_model_drop_upload(struct s3_model *, struct s3_model_bucket *, struct s3_model_upload *,
			  bool bytes_too);

#endif
