/* Message digests as taps: the door to the official BLAKE3 C code, to libsodium's BLAKE2b and to
 * OpenSSL's SHA-256. Not for: checksums of stored objects, keys, signatures. */
#include "crypto/digest.h"

#include <openssl/evp.h>
#include <sodium.h>
#include <stdlib.h>

#include "blake3.h"

struct blake3_tap {
	struct tap base;
	blake3_hasher hasher;
};

static void blake3_begin(struct tap *tap)
{
	blake3_hasher_init(&CONTAINER_OF(tap, struct blake3_tap, base)->hasher);
}

static void blake3_update(struct tap *tap, const void *from, size_t n)
{
	blake3_hasher_update(&CONTAINER_OF(tap, struct blake3_tap, base)->hasher, from, n);
}

static void blake3_end(struct tap *tap, struct digest *out)
{
	blake3_hasher_finalize(&CONTAINER_OF(tap, struct blake3_tap, base)->hasher, out->bytes,
			       sizeof out->bytes);
}

static void blake3_close(struct tap **tap)
{
	if (*tap)
		free(CONTAINER_OF(*tap, struct blake3_tap, base));
	*tap = NULL;
}

static const struct tap_type blake3_type = {
	.name = "blake3",
	.begin = blake3_begin,
	.update = blake3_update,
	.end = blake3_end,
	.close = blake3_close,
};

/* BLAKE2b with 32 bytes of output, no key (RFC 7693); libsodium calls it generichash. */
struct blake2b_tap {
	struct tap base;
	crypto_generichash_blake2b_state state;
};

static void blake2b_begin(struct tap *tap)
{
	struct blake2b_tap *blake2b = CONTAINER_OF(tap, struct blake2b_tap, base);

	must(crypto_generichash_blake2b_init(&blake2b->state, NULL, 0, DIGEST_BYTES) == 0);
}

static void blake2b_update(struct tap *tap, const void *from, size_t n)
{
	struct blake2b_tap *blake2b = CONTAINER_OF(tap, struct blake2b_tap, base);

	must(crypto_generichash_blake2b_update(&blake2b->state, from, n) == 0);
}

/* Ending changes libsodium's state, so a copy is ended: a tap can be read in the middle. */
static void blake2b_end(struct tap *tap, struct digest *out)
{
	crypto_generichash_blake2b_state copy = CONTAINER_OF(tap, struct blake2b_tap, base)->state;

	must(crypto_generichash_blake2b_final(&copy, out->bytes, sizeof out->bytes) == 0);
}

static void blake2b_close(struct tap **tap)
{
	if (*tap)
		free(CONTAINER_OF(*tap, struct blake2b_tap, base));
	*tap = NULL;
}

static const struct tap_type blake2b_type = {
	.name = "blake2b-256",
	.begin = blake2b_begin,
	.update = blake2b_update,
	.end = blake2b_end,
	.close = blake2b_close,
};

/* SHA-256 through EVP, which uses SHA-NI where the machine has it. EVP fails only without memory,
 * which is taken at open. */
struct sha256_tap {
	struct tap base;
	EVP_MD_CTX *state, *copy;
};

static void sha256_begin(struct tap *tap)
{
	struct sha256_tap *sha256 = CONTAINER_OF(tap, struct sha256_tap, base);

	must(EVP_DigestInit_ex(sha256->state, EVP_sha256(), NULL) == 1);
}

static void sha256_update(struct tap *tap, const void *from, size_t n)
{
	struct sha256_tap *sha256 = CONTAINER_OF(tap, struct sha256_tap, base);

	must(EVP_DigestUpdate(sha256->state, from, n) == 1);
}

static void sha256_end(struct tap *tap, struct digest *out)
{
	struct sha256_tap *sha256 = CONTAINER_OF(tap, struct sha256_tap, base);

	must(EVP_MD_CTX_copy_ex(sha256->copy, sha256->state) == 1);
	must(EVP_DigestFinal_ex(sha256->copy, out->bytes, NULL) == 1);
}

static void sha256_close(struct tap **tap)
{
	struct sha256_tap *sha256;

	if (*tap) {
		sha256 = CONTAINER_OF(*tap, struct sha256_tap, base);
		EVP_MD_CTX_free(sha256->state);
		EVP_MD_CTX_free(sha256->copy);
		free(sha256);
	}
	*tap = NULL;
}

static const struct tap_type sha256_type = {
	.name = "sha-256",
	.begin = sha256_begin,
	.update = sha256_update,
	.end = sha256_end,
	.close = sha256_close,
};

static const struct tap_type *const types[] = { &blake3_type, &blake2b_type, &sha256_type };

const struct tap_type *digest_type(struct text name)
{
	for (size_t i = 0; i < ARRAY_COUNT(types); i++)
		if (text_equal(name, text_of(types[i]->name)))
			return types[i];
	return NULL;
}

const char *digest_names(void)
{
	return "blake3, blake2b-256, sha-256";
}

/* The states want 64-byte alignment; aligned_alloc wants whole multiples of it. */
static struct tap *tap_new(const struct tap_type *type, size_t bytes)
{
	struct tap *tap = aligned_alloc(64, round_up(bytes, 64));

	if (tap) {
		memset(tap, 0, bytes);
		tap->type = type;
	}
	return tap;
}

static struct tap *sha256_new(void)
{
	struct tap *tap = tap_new(&sha256_type, sizeof(struct sha256_tap));
	struct sha256_tap *sha256;

	if (!tap)
		return NULL;
	sha256 = CONTAINER_OF(tap, struct sha256_tap, base);
	sha256->state = EVP_MD_CTX_new();
	sha256->copy = EVP_MD_CTX_new();
	if (!sha256->state || !sha256->copy)
		sha256_close(&tap);
	return tap;
}

enum err digest_open(const struct tap_type *type, struct tap **out)
{
	must(type != NULL);
	*out = NULL;
	if (type == &blake3_type)
		*out = tap_new(type, sizeof(struct blake3_tap));
	else if (type == &blake2b_type)
		*out = sodium_init() < 0 ? NULL : tap_new(type, sizeof(struct blake2b_tap));
	else
		*out = sha256_new();
	if (!*out)
		return RAISE(ERR_MEMORY_EXHAUSTED, "opening a %s digest", type->name);
	type->begin(*out);
	return OK;
}

void digest_copy(struct tap *to, const struct tap *from)
{
	must(to->type == from->type);
	if (to->type == &blake3_type)
		*(struct blake3_tap *)(void *)to = *(const struct blake3_tap *)(const void *)from;
	else if (to->type == &blake2b_type)
		*(struct blake2b_tap *)(void *)to = *(const struct blake2b_tap *)(const void *)from;
	else
		must(EVP_MD_CTX_copy_ex(((struct sha256_tap *)(void *)to)->state,
					((const struct sha256_tap *)(const void *)from)->state) ==
		     1);
}

enum err digest_of(const struct tap_type *type, const void *from, size_t n, struct digest *out)
{
	struct tap *tap;
	enum err e;

	if ((e = digest_open(type, &tap)))
		return e;
	type->update(tap, from, n);
	type->end(tap, out);
	type->close(&tap);
	return OK;
}
