/* Keys to sign with, as AWS hands them out, and the JSON in which that is done. For guarded memory
 * only: secret_room_open(sizeof(struct aws_keys)). Not for: where they come from (aws_chain.h). */
#ifndef MAILHAUL_AWS_KEYS_H
#define MAILHAUL_AWS_KEYS_H

#include "crypto/sigv4.h"

enum {
	AWS_KEY_ID_BYTES_MAX = 128,	/* accessKeyIdType of IAM */
	AWS_SECRET_BYTES_MAX = 256,	/* AWS's have 40; other servers let people choose */
	AWS_TOKEN_BYTES_MAX = 8 * 1024, /* AWS promises no limit; S3 takes heads of 8 KiB */
};

struct aws_keys {
	char key_id[AWS_KEY_ID_BYTES_MAX + 1];
	char secret[AWS_SECRET_BYTES_MAX + 1];
	char token[AWS_TOKEN_BYTES_MAX + 1]; /* "": none */
	int64_t expires_s;		     /* wall clock; 0: never */
};
/* What is said of keys in one place: any of the texts may be {NULL, 0}. */
struct aws_keys_said {
	struct text key_id, secret, token, expiration; /* the last as in RFC 3339 */
};

/* `what` names the place in errors, which never quote a key.
 * returns     OK | ERR_INPUT_SECRET: something is missing, too long, or cannot be such a text */
enum err aws_keys_take(const char *what, const struct aws_keys_said *,
		       struct aws_keys *) MUST_CHECK;
/* They lie in `keys`. */
struct sigv4_credentials aws_keys_credentials(const struct aws_keys *keys);
bool aws_keys_equal(const struct aws_keys *, const struct aws_keys *);

enum aws_keys_form {
	/* Of the container endpoint and of instance metadata: Token, and Code where there is one.
	 */
	AWS_KEYS_OF_SERVICE,
	/* Of a credential_process ("Process credential provider"): SessionToken, Version 1. */
	AWS_KEYS_OF_PROCESS,
};
/* ERR_AWS_REFUSED: it says a Code other than Success. ERR_INPUT_SECRET: it is not such an object.
 */
enum err aws_keys_read(const char *what, enum aws_keys_form, struct text json,
		       struct aws_keys *) MUST_CHECK;

#endif
