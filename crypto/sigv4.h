/* AWS Signature Version 4 (AWS, "Signature Version 4 for API requests" and, for S3, "Authenticating
 * Requests"): what is added to a request so that the service believes who sent it. Pure: the time
 * is given, nothing is sent or read. OpenSSL's EVP behind one door. Not for: getting credentials,
 * sending, version 4a.
 *
 * A request is signed in the form in which it is sent: its target is made by sigv4_add_path() and
 * sigv4_add_parameter(), and the same text is handed to sigv4_sign() and to whoever sends it. */
#ifndef MAILHAUL_SIGV4_H
#define MAILHAUL_SIGV4_H

#include "engine/bytes.h"
#include "engine/err.h"

enum {
	SIGV4_SHA256_BYTES = 32,
	SIGV4_HEX_BYTES = 2 * SIGV4_SHA256_BYTES + 1, /* a hash or a signature; terminated */
	SIGV4_DATE_BYTES = 16 + 1,		      /* "20130524T000000Z", terminated */
	SIGV4_NAME_BYTES_MAX = 63,		      /* of a region, a service */
	SIGV4_SCOPE_BYTES =
		8 + 2 * (1 + SIGV4_NAME_BYTES_MAX) + 13 + 1, /* DAY/region/service/aws4_request */
	SIGV4_KEY_ID_BYTES_MAX = 128,			     /* IAM, accessKeyIdType */
	SIGV4_SECRET_BYTES_MAX = 256,	  /* AWS has 40; other stores let their users choose */
	SIGV4_TOKEN_BYTES_MAX = 8 * 1024, /* AWS names no limit; some KiB are seen */
	/* In one request, those that signing adds among them. S3's PutObject with everything we
	 * may say has about twenty; lists have ten parameters, presigning adds six. */
	SIGV4_FIELDS_MAX = 32,
	SIGV4_PARAMETERS_MAX = 32,
	SIGV4_NAMES_BYTES_MAX = 1024, /* of all signed fields, ";" between them */
	SIGV4_AUTHORIZATION_BYTES =
		SIGV4_NAMES_BYTES_MAX + SIGV4_KEY_ID_BYTES_MAX + SIGV4_SCOPE_BYTES + 160,
	SIGV4_CANONICAL_BYTES_MAX = 32 * 1024 - 1, /* what is signed of a request: target, fields */
	SIGV4_EXPIRES_S_MAX = 7 * 24 * 3600,	   /* AWS's own limit */
};

/* Whoever these texts are borrowed from owns, renews and wipes them (a provider of credentials,
 * with struct secret for the last two); they must stay until the call they are given to returns,
 * and signing does not suspend: take them afresh for each request, keep no copy. Who must copy
 * wipes the copy with secret_wipe(). */
struct sigv4_credentials {
	struct text access_key_id; /* no secret: it is in every request and in logs */
	struct text secret;
	struct text session_token; /* {NULL, 0}: none; is sent, so it is a credential of sorts */
};

/* How a service wants its canonical request. */
enum sigv4_rules {
	SIGV4_ENCODE_AGAIN = 1, /* the path as sent is encoded once more for signing */
	SIGV4_NORMALISE = 2,	/* before that "//", "/./" and "/x/../" are taken out of it */
	SIGV4_HASH_FIELD = 4,	/* x-amz-content-sha256 is sent and signed */

	SIGV4_S3 = SIGV4_HASH_FIELD,
	SIGV4_OTHERS = SIGV4_ENCODE_AGAIN | SIGV4_NORMALISE,
};

/* Signs for one region and service. Holds the key of a day, which is derived anew when the day or
 * the credentials change (four HMACs more); a request costs one hash of its canonical form and two
 * short ones. For one thread. */
struct sigv4;
/* Region and service as in the scope, "us-east-1" and "s3"; copied. Letters, digits, "-", "." and
 * "_": stores of other makers have regions of their own names.
 * returns     OK | ERR_INPUT_USAGE: other characters, none, too many | ERR_MEMORY_EXHAUSTED */
enum err sigv4_open(const char *region, const char *service, unsigned rules,
		    struct sigv4 **) MUST_CHECK;
void sigv4_close(struct sigv4 **); /* wipes the key */

/* ---- the target of a request ---- */

/* Encode as the service does for its own signature: all but A-Z a-z 0-9 - . _ ~ as %XX with capital
 * digits (RFC 3986 section 2.1), of UTF-8 each byte; "/" too unless it is kept. */
enum sigv4_slash { SIGV4_SLASH_ENCODED, SIGV4_SLASH_KEPT };
void sigv4_add_encoded(struct buffer *to, struct text, enum sigv4_slash);
/* A path, "/" between its segments, or a segment's part of one: a key of a bucket is added behind
 * "/", as it is. Nothing is normalised. */
void sigv4_add_path(struct buffer *to, struct text path);
/* "?name=value" to a target without a query yet, else "&name=value". In any order. */
void sigv4_add_parameter(struct buffer *to, const char *name, struct text value);

/* ---- payload hashes ---- */

#define SIGV4_UNSIGNED_PAYLOAD "UNSIGNED-PAYLOAD" /* S3, over TLS only */
#define SIGV4_EMPTY_PAYLOAD    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
/* SHA-256 of bytes that are all there, as hexadecimal digits. */
void sigv4_hash(const void *, size_t, char to[SIGV4_HEX_BYTES]);

/* ---- requests ---- */

/* Shaped like a field of transport/http.h. */
struct sigv4_field {
	const char *name;
	struct text value;
};

/* Borrowed until return. */
struct sigv4_request {
	const char *method;
	struct text host;   /* the value of Host as it is sent, with ":port" where it has one */
	struct text target; /* as it is sent */
	/* Further fields to be sent that are signed: every x-amz-*, Content-Type, Content-MD5,
	 * Range. Not those that somebody on the way may change or that signing adds. */
	const struct sigv4_field *fields;
	size_t fields_count;
	struct text payload_hash; /* sigv4_hash(), or one of the words for it */
	int64_t time_s;		  /* wall clock, since 1970, corrected by sigv4_clock_offset() */
};

enum { SIGV4_FIELDS_ADDED_MAX = 4 };

/* What is to be added to the request. The values lie in here, in the request and in the
 * credentials: not to be copied. */
struct sigv4_signed {
	struct sigv4_field fields[SIGV4_FIELDS_ADDED_MAX];
	size_t fields_count;
	char date[SIGV4_DATE_BYTES];
	char signature[SIGV4_HEX_BYTES];
	char authorization[SIGV4_AUTHORIZATION_BYTES];
	uint64_t key_number; /* private */
};

/* Host, the request's fields and those added but Authorization are signed: X-Amz-Date,
 * X-Amz-Content-Sha256 (SIGV4_HASH_FIELD), X-Amz-Security-Token (where there is one).
 * returns     OK | ERR_INPUT_SECRET: these cannot be credentials (empty, too long, with characters
 *             that a field cannot hold) | ERR_INPUT_USAGE: more parameters, fields, names or
 *             bytes than SIGV4_*_MAX, a time beyond the year 9999 */
enum err sigv4_sign(struct sigv4 *, const struct sigv4_request *, const struct sigv4_credentials *,
		    struct sigv4_signed *) MUST_CHECK;

/* A target that is a credential by itself: the request's with X-Amz-Algorithm, -Credential, -Date,
 * -Expires (1 to SIGV4_EXPIRES_S_MAX), -Security-Token, -SignedHeaders and -Signature behind it,
 * in place of what `out` held. The payload hash is SIGV4_UNSIGNED_PAYLOAD for S3, else that of what
 * will be sent; Host and the request's fields must be sent as signed. Never put it into a log.
 * returns     as sigv4_sign() | ERR_MEMORY_EXHAUSTED: it does not fit into `out` */
enum err sigv4_presign(struct sigv4 *, const struct sigv4_request *,
		       const struct sigv4_credentials *, uint32_t expires_s,
		       struct buffer *out) MUST_CHECK;

/* ---- bodies in chunks (S3: PutObject, UploadPart) ---- */

/* Such a request says Content-Encoding: aws-chunked, X-Amz-Decoded-Content-Length and, with a
 * trailer, X-Amz-Trailer with the trailer's name; its payload hash is sigv4_streaming_hash(). */
enum sigv4_streaming {
	SIGV4_CHUNKS_SIGNED,
	SIGV4_CHUNKS_SIGNED_TRAILER,
	SIGV4_CHUNKS_UNSIGNED_TRAILER, /* over TLS: one pass, no SHA-256 */
};
enum {
	SIGV4_CHUNK_BYTES_MIN = 8 * 1024, /* but of the last one */
	/* 16 digits, ";chunk-signature=", 64 digits, CRLF */
	SIGV4_CHUNK_HEAD_BYTES = 16 + 17 + 64 + 2 + 1,
	SIGV4_TRAILER_BYTES_MAX = 160, /* name and value together */
	SIGV4_CHUNKS_END_BYTES = SIGV4_CHUNK_HEAD_BYTES + SIGV4_TRAILER_BYTES_MAX + 96,
};
const char *sigv4_streaming_hash(enum sigv4_streaming);
/* The length of the body as sent, for Content-Length: all chunks of chunk_bytes but the last, which
 * has the rest. `trailer` as in sigv4_chunks_end(). */
uint64_t sigv4_streamed_bytes(enum sigv4_streaming, uint64_t payload_bytes, uint64_t chunk_bytes,
			      const struct sigv4_field *trailer);

/* The signatures of a body, each over the one before. Has a key of its own, so that other requests
 * may be signed meanwhile. */
struct sigv4_chunks {
	enum sigv4_streaming streaming;
	uint8_t key[SIGV4_SHA256_BYTES];
	char date[SIGV4_DATE_BYTES], scope[SIGV4_SCOPE_BYTES];
	char signature[SIGV4_HEX_BYTES]; /* the last one */
};
/* With what sigv4_sign() made just before. */
void sigv4_chunks_begin(const struct sigv4 *, const struct sigv4_signed *, enum sigv4_streaming,
			struct sigv4_chunks *);
/* What is sent before a chunk of `bytes` bytes (not 0), behind which "\r\n" follows; terminated.
 * `sha256` is the chunk's, NULL where chunks are not signed. Returns how long it is. */
size_t sigv4_chunk_head(struct sigv4_chunks *, uint64_t bytes,
			const uint8_t sha256[SIGV4_SHA256_BYTES], char to[SIGV4_CHUNK_HEAD_BYTES]);
/* What is sent behind the last chunk and its "\r\n": the empty chunk, the trailer (of modes with
 * one, else NULL; name in lower case, "x-amz-checksum-crc64nvme", value without spaces around it),
 * its signature. */
size_t sigv4_chunks_end(struct sigv4_chunks *, const struct sigv4_field *trailer,
			char to[SIGV4_CHUNKS_END_BYTES]);
void sigv4_chunks_wipe(struct sigv4_chunks *);

/* ---- the clock ---- */

/* What must be added to the local clock to have the server's, by the Date field of its answer
 * (RFC 9110 section 5.6.7, IMF-fixdate), which arrived at now_s: for the next signature after
 * RequestTimeTooSkewed. As exact as a second and the way of the answer. False: not such a date. */
bool sigv4_clock_offset(struct text date, int64_t now_s, int64_t *offset_s);

#endif
