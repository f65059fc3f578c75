/* What the parts of sigv4 share. Private to crypto/sigv4*.c. */
#ifndef MAILHAUL_SIGV4_STATE_H
#define MAILHAUL_SIGV4_STATE_H

#include "crypto/sigv4.h"
#include "crypto/secret.h"

struct sigv4 {
	uint32_t magic;
	unsigned rules; /* enum sigv4_rules */
	char region[SIGV4_NAME_BYTES_MAX + 1], service[SIGV4_NAME_BYTES_MAX + 1];
	/* The key and what it was derived from: a day, and a secret that is known again by its
	 * keyed hash. */
	uint8_t key[SIGV4_SHA256_BYTES];
	char key_day[8 + 1];
	char scope[SIGV4_SCOPE_BYTES]; /* "20130524/us-east-1/s3/aws4_request" */
	uint8_t check_key[SECRET_CHECK_KEY_BYTES];
	uint64_t check, key_number;
	/* Of the request before, and that time written. */
	int64_t date_s;
	char date[SIGV4_DATE_BYTES]; /* "": there was none */
	/* Of the request that is being signed: its canonical form, which holds the session token,
	 * and the names of its signed fields. Neither grows beyond its room here. */
	struct buffer canonical, names;
	char canonical_room[SIGV4_CANONICAL_BYTES_MAX + 1], names_room[SIGV4_NAMES_BYTES_MAX + 1];
};
enum { SIGV4_MAGIC = 0x51674004 };

/* HMAC-SHA256 of the text, as hexadecimal digits. */
void sigv4_sign_text(const uint8_t key[SIGV4_SHA256_BYTES], struct text, char to[SIGV4_HEX_BYTES]);

/* The second and third line of the canonical request. ERR_INPUT_USAGE. */
enum err sigv4_add_target(struct buffer *to, struct text target, unsigned rules) MUST_CHECK;

#endif
