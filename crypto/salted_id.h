/* Short names for what must not be named: the first 12 hexadecimal digits of BLAKE2b-256 (RFC 7693)
 * of a name, keyed with a salt. Who lacks the salt cannot test guesses; who has it can. Not for:
 * digests of messages (digest.h), secrets. */
#ifndef MAILHAUL_SALTED_ID_H
#define MAILHAUL_SALTED_ID_H

#include "engine/err.h"

enum {
	SALT_BYTES = 32,
	/* 48 bits: among 20,000 mailboxes two get the same id once in a million salts. */
	SALTED_ID_TEXT_BYTES = 12 + 1,
};

/* A salt nobody has yet.
 * returns     OK | ERR_MEMORY_EXHAUSTED, where libsodium cannot be set up */
enum err salt_make(uint8_t salt[SALT_BYTES]) MUST_CHECK;
void salted_id(const uint8_t salt[SALT_BYTES], struct text name, char to[SALTED_ID_TEXT_BYTES]);

#endif
