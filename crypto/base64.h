/* Base64 of RFC 4648 section 4, by libsodium: strict, and in time that depends on lengths only. Not
 * for: its folding into lines of MIME (transport/wrap), short texts of ours (bytes_to_base64()). */
#ifndef MAILHAUL_BASE64_H
#define MAILHAUL_BASE64_H

#include "engine/base.h"

/* Characters of n bytes, padding included, terminator not. */
static inline uint64_t base64_length(uint64_t n)
{
	return (n + 2) / 3 * 4;
}
/* `to` holds base64_length(n) + 1 and is terminated. */
void base64_encode(char *to, const void *from, size_t n);
/* `n` characters, a multiple of four, which may end with padding; `to` holds n / 4 * 3. False:
 * something else is among them, or bits are set that stand for nothing. */
bool base64_decode(uint8_t *to, const char *from, size_t n, size_t *bytes);

#endif
