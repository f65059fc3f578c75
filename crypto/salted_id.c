#include "crypto/salted_id.h"

#include <sodium.h>

#include "engine/bytes.h"

enum { HASH_BYTES = 32 };

enum err salt_make(uint8_t salt[SALT_BYTES])
{
	if (sodium_init() < 0)
		return RAISE(ERR_MEMORY_EXHAUSTED, "setting up libsodium for a salt");
	randombytes_buf(salt, SALT_BYTES);
	return OK;
}

void salted_id(const uint8_t salt[SALT_BYTES], struct text name, char to[SALTED_ID_TEXT_BYTES])
{
	uint8_t hash[HASH_BYTES];

	must(crypto_generichash_blake2b(hash, sizeof hash, (const uint8_t *)name.at, name.bytes,
					salt, SALT_BYTES) == 0);
	bytes_to_hex(to, hash, (SALTED_ID_TEXT_BYTES - 1) / 2);
}
