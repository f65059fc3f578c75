/* See jwt.h. */
#include "crypto/jwt.h"

#include <openssl/bio.h>
#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <stdlib.h>

enum {
	JWT_MAGIC = 0x17377515,
	P256_BYTES = 32,
	SIGNATURE_BYTES_MAX = 1024, /* RSA of 8192 bits */
	RSA_BITS_MAX = 8192,
	PIECE_BYTES = 96, /* a multiple of three */
};

struct jwt_key {
	uint32_t magic;
	EVP_PKEY *key;
	X509 *certificate; /* NULL: none was there */
	bool is_rsa;
	char what[160];
};

/* ---- base64url ---- */

size_t jwt_base64url_bytes(size_t n)
{
	return (n * 4 + 2) / 3 + 1;
}

void jwt_base64url(char *to, const void *from, size_t n)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
	const uint8_t *at = from;
	char *start = to;

	for (size_t i = 0; i < n; i += 3) {
		uint32_t group = (uint32_t)at[i] << 16 |
				 (i + 1 < n ? (uint32_t)at[i + 1] << 8 : 0) |
				 (i + 2 < n ? at[i + 2] : 0);

		*to++ = digits[group >> 18];
		*to++ = digits[group >> 12 & 63];
		if (i + 1 < n)
			*to++ = digits[group >> 6 & 63];
		if (i + 2 < n)
			*to++ = digits[group & 63];
	}
	*to++ = '\0';
	must((size_t)(to - start) == jwt_base64url_bytes(n));
}

static void add_base64url(struct buffer *to, const void *from, size_t n)
{
	const uint8_t *at = from;
	char piece[PIECE_BYTES / 3 * 4 + 1];

	for (size_t i = 0; i < n; i += PIECE_BYTES) {
		size_t bytes = min_u64(n - i, PIECE_BYTES);

		jwt_base64url(piece, at + i, bytes);
		buffer_add_text(to, piece);
	}
	OPENSSL_cleanse(piece, sizeof piece);
}

/* ---- keys ---- */

/* Without it OpenSSL would ask the terminal. */
static int no_passphrase(char *to, int bytes, int writing, void *context)
{
	(void)to;
	(void)bytes;
	(void)writing;
	(void)context;
	return -1;
}

/* The certificate that belongs to the key; others in the text (a chain) are passed over. */
static void find_certificate(struct jwt_key *key, struct text pem)
{
	BIO *from = BIO_new_mem_buf(pem.at, (int)pem.bytes);
	X509 *found;

	while (from && !key->certificate &&
	       (found = PEM_read_bio_X509(from, NULL, no_passphrase, NULL))) {
		if (X509_check_private_key(found, key->key) == 1)
			key->certificate = found;
		else
			X509_free(found);
	}
	BIO_free(from);
	ERR_clear_error();
}

static enum err check_kind(struct jwt_key *key)
{
	char curve[64];
	size_t bytes;
	int bits = EVP_PKEY_get_bits(key->key);

	key->is_rsa = EVP_PKEY_is_a(key->key, "RSA");
	if (key->is_rsa && bits >= JWT_RSA_BITS_MIN && bits <= RSA_BITS_MAX)
		return OK;
	if (key->is_rsa)
		return RAISE(ERR_INPUT_SECRET, "%s is an RSA key of %d bits; %d to %d are usable",
			     key->what, bits, JWT_RSA_BITS_MIN, RSA_BITS_MAX);
	if (EVP_PKEY_is_a(key->key, "EC") &&
	    EVP_PKEY_get_group_name(key->key, curve, sizeof curve, &bytes) == 1 &&
	    (strcmp(curve, "prime256v1") == 0 || strcmp(curve, "P-256") == 0))
		return OK;
	return RAISE(ERR_INPUT_SECRET, "%s is neither an RSA key nor one of the curve P-256",
		     key->what);
}

enum err jwt_key_open(struct text pem, const char *what, struct jwt_key **out)
{
	struct jwt_key *key = calloc(1, sizeof *key);
	BIO *from = pem.bytes <= INT32_MAX ? BIO_new_mem_buf(pem.at, (int)pem.bytes) : NULL;
	enum err e;

	if (!key || !from) {
		BIO_free(from);
		free(key);
		return RAISE(ERR_MEMORY_EXHAUSTED, "reading %s", what);
	}
	key->magic = JWT_MAGIC;
	snprintf(key->what, sizeof key->what, "%s", what);
	key->key = PEM_read_bio_PrivateKey(from, NULL, no_passphrase, NULL);
	BIO_free(from);
	ERR_clear_error();
	if (!key->key)
		e = RAISE(
			ERR_INPUT_SECRET,
			"%s holds no private key in PEM (\"-----BEGIN PRIVATE KEY-----\") that can "
			"be read without a passphrase",
			what);
	else if ((e = check_kind(key)) == OK)
		find_certificate(key, pem);
	if (e)
		jwt_key_close(&key);
	*out = key;
	return e;
}

void jwt_key_close(struct jwt_key **closing)
{
	struct jwt_key *key = *closing;

	if (!key)
		return;
	MAGIC_CHECK(key, JWT_MAGIC);
	EVP_PKEY_free(key->key); /* clears what is private */
	X509_free(key->certificate);
	free(key);
	*closing = NULL;
}

bool jwt_key_is_rsa(const struct jwt_key *key)
{
	MAGIC_CHECK(key, JWT_MAGIC);
	return key->is_rsa;
}

bool jwt_key_thumbprints(const struct jwt_key *key, char x5t[JWT_X5T_BYTES],
			 char x5t_s256[JWT_X5T_S256_BYTES])
{
	uint8_t hash[EVP_MAX_MD_SIZE];
	unsigned bytes;

	MAGIC_CHECK(key, JWT_MAGIC);
	if (!key->certificate)
		return false;
	must(X509_digest(key->certificate, EVP_sha1(), hash, &bytes) == 1);
	must(jwt_base64url_bytes(bytes) == JWT_X5T_BYTES);
	jwt_base64url(x5t, hash, bytes);
	must(X509_digest(key->certificate, EVP_sha256(), hash, &bytes) == 1);
	must(jwt_base64url_bytes(bytes) == JWT_X5T_S256_BYTES);
	jwt_base64url(x5t_s256, hash, bytes);
	return true;
}

/* ---- signing ---- */

static bool digest_sign(const struct jwt_key *key, enum jwt_algorithm algorithm,
			struct text message, uint8_t *signature, size_t *bytes)
{
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	EVP_PKEY_CTX *settings = NULL;
	bool done;

	done = context &&
	       EVP_DigestSignInit(context, &settings, EVP_sha256(), NULL, key->key) == 1 &&
	       (algorithm != JWT_PS256 ||
		(EVP_PKEY_CTX_set_rsa_padding(settings, RSA_PKCS1_PSS_PADDING) == 1 &&
		 EVP_PKEY_CTX_set_rsa_pss_saltlen(settings, RSA_PSS_SALTLEN_DIGEST) == 1)) &&
	       EVP_DigestSign(context, signature, bytes, (const unsigned char *)message.at,
			      message.bytes) == 1;
	EVP_MD_CTX_free(context);
	ERR_clear_error();
	return done;
}

/* R and S as two numbers of 32 bytes beside each other, RFC 7518 section 3.4; OpenSSL has them in
 * DER. */
static bool flatten_ecdsa(uint8_t *signature, size_t *bytes)
{
	const unsigned char *at = signature;
	ECDSA_SIG *parsed = d2i_ECDSA_SIG(NULL, &at, (long)*bytes);
	bool done = parsed &&
		    BN_bn2binpad(ECDSA_SIG_get0_r(parsed), signature, P256_BYTES) == P256_BYTES &&
		    BN_bn2binpad(ECDSA_SIG_get0_s(parsed), signature + P256_BYTES, P256_BYTES) ==
			    P256_BYTES;

	ECDSA_SIG_free(parsed);
	*bytes = 2 * P256_BYTES;
	return done;
}

enum err jwt_sign(const struct jwt_key *key, enum jwt_algorithm algorithm, struct text header,
		  struct text claims, struct buffer *out)
{
	uint8_t signature[SIGNATURE_BYTES_MAX];
	size_t bytes = sizeof signature, begin = out->bytes;

	MAGIC_CHECK(key, JWT_MAGIC);
	if (key->is_rsa != (algorithm != JWT_ES256))
		return RAISE(ERR_INPUT_SECRET, "%s is %s key, and %s is wanted", key->what,
			     key->is_rsa ? "an RSA" : "an elliptic",
			     key->is_rsa ? "an elliptic one" : "an RSA key");
	add_base64url(out, header.at, header.bytes);
	buffer_add_text(out, ".");
	add_base64url(out, claims.at, claims.bytes);
	if (out->failed)
		return RAISE(ERR_MEMORY_EXHAUSTED, "signing a token");
	if (!digest_sign(key, algorithm, (struct text){ out->at + begin, out->bytes - begin },
			 signature, &bytes) ||
	    (algorithm == JWT_ES256 && !flatten_ecdsa(signature, &bytes)))
		return RAISE(ERR_INPUT_SECRET, "signing a token with %s failed", key->what);
	buffer_add_text(out, ".");
	add_base64url(out, signature, bytes);
	return out->failed ? RAISE(ERR_MEMORY_EXHAUSTED, "signing a token") : OK;
}
