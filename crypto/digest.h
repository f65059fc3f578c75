/* Message digests as taps: BLAKE3 (the official C and assembly), BLAKE2b-256 (libsodium), SHA-256
 * (OpenSSL). Not for: checksums of stored objects (crc), keys. */
#ifndef MAILHAUL_DIGEST_H
#define MAILHAUL_DIGEST_H

#include "engine/mail.h"

/* "blake3", "blake2b-256", "sha-256"; NULL for any other name. */
const struct tap_type *digest_type(struct text name);
/* Names for usage texts, separated by ", ". */
const char *digest_names(void);
/* The tap is begun and can be ended at any time without disturbing it. */
enum err digest_open(const struct tap_type *, struct tap **) MUST_CHECK;
/* A copy of the present state, for taking back what was fed since; same type. */
void digest_copy(struct tap *to, const struct tap *from);
/* Of bytes that are all there. */
enum err digest_of(const struct tap_type *, const void *from, size_t n,
		   struct digest *out) MUST_CHECK;

#endif
