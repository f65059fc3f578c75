/* Signed tokens (JWT, RFC 7519, as a JWS in compact form, RFC 7515) by which a program proves to a
 * token endpoint who it is, without a shared secret: RFC 7523. Made, never read. OpenSSL's EVP
 * behind one door. */
#ifndef MAILHAUL_JWT_H
#define MAILHAUL_JWT_H

#include "engine/bytes.h"
#include "engine/err.h"

/* RFC 7518 section 3.1. Elliptic keys must be of the curve P-256. */
enum jwt_algorithm { JWT_RS256, JWT_PS256, JWT_ES256 };

struct jwt_key;
enum { JWT_RSA_BITS_MIN = 2048 };

/* A private key in PEM, unencrypted, perhaps with its certificate before or behind it. The text is
 * a secret's and is borrowed until return; OpenSSL's copy of the key is in ordinary memory until
 * close, which wipes it. `what` names the key in errors, which never quote it. Computes, for some
 * hundred microseconds. ERR_INPUT_SECRET. */
enum err jwt_key_open(struct text pem, const char *what, struct jwt_key **) MUST_CHECK;
void jwt_key_close(struct jwt_key **);
bool jwt_key_is_rsa(const struct jwt_key *);

/* Thumbprints of the certificate (the hash of its DER) in base64url, as the header fields x5t
 * (SHA-1) and x5t#S256 want them, RFC 7515 sections 4.1.7 and 4.1.8. False: there is no
 * certificate. */
enum { JWT_X5T_BYTES = 28, JWT_X5T_S256_BYTES = 44 }; /* terminated */
bool jwt_key_thumbprints(const struct jwt_key *, char x5t[JWT_X5T_BYTES],
			 char x5t_s256[JWT_X5T_S256_BYTES]);

/* "header.claims.signature" appended to `out`. Both are JSON texts, taken as they are; the header
 * must name the algorithm. What comes out is itself a credential for as long as its claims say:
 * wipe it. Computes for a millisecond or two. ERR_INPUT_SECRET: the key is of the other kind. */
enum err jwt_sign(const struct jwt_key *, enum jwt_algorithm, struct text header,
		  struct text claims, struct buffer *out) MUST_CHECK;

/* RFC 4648 section 5 without padding, RFC 7515 section 2. `to` holds jwt_base64url_bytes(n). */
size_t jwt_base64url_bytes(size_t n); /* terminator included */
void jwt_base64url(char *to, const void *from, size_t n);

#endif
