/* See base64.h. */
#include "crypto/base64.h"

#include <sodium.h>

void base64_encode(char *to, const void *from, size_t n)
{
	sodium_bin2base64(to, base64_length(n) + 1, from, n, sodium_base64_VARIANT_ORIGINAL);
}

bool base64_decode(uint8_t *to, const char *from, size_t n, size_t *bytes)
{
	const char *end;

	must(n % 4 == 0);
	return sodium_base642bin(to, n / 4 * 3, from, n, NULL, bytes, &end,
				 sodium_base64_VARIANT_ORIGINAL) == 0 &&
	       end == from + n;
}
