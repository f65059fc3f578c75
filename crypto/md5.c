/* MD5 by OpenSSL's EVP. */
#include "crypto/md5.h"

#include <openssl/err.h>
#include <openssl/evp.h>

#include "engine/bytes.h"

/* Which is nothing but OpenSSL's context. */
static EVP_MD_CTX *context_of(struct md5 *md5)
{
	return (EVP_MD_CTX *)(void *)md5;
}

struct md5 *md5_open(void)
{
	EVP_MD_CTX *context = EVP_MD_CTX_new();

	if (context && EVP_DigestInit_ex(context, EVP_md5(), NULL) != 1) {
		EVP_MD_CTX_free(context);
		context = NULL;
	}
	ERR_clear_error();
	return (struct md5 *)(void *)context;
}

void md5_feed(struct md5 *md5, const void *from, size_t n)
{
	must(EVP_DigestUpdate(context_of(md5), from, n) == 1);
}

void md5_end(struct md5 *md5, char to[MD5_HEX_BYTES])
{
	uint8_t digest[16];

	must(EVP_DigestFinal_ex(context_of(md5), digest, NULL) == 1);
	bytes_to_hex(to, digest, sizeof digest);
}

void md5_close(struct md5 **closing)
{
	EVP_MD_CTX_free(context_of(*closing));
	*closing = NULL;
}
