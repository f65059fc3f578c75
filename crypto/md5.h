/* MD5 (RFC 1321), for one thing only: S3's ETag of an object that was stored with one request is
 * its MD5, and where a server returns no better checksum that shows damage on the way. Not for
 * anything that somebody may want to forge. */
#ifndef MAILHAUL_MD5_H
#define MAILHAUL_MD5_H

#include "engine/base.h"

enum { MD5_HEX_BYTES = 2 * 16 + 1 };

struct md5;
/* NULL: no memory, or this machine's OpenSSL has no MD5 (FIPS). */
struct md5 *md5_open(void) MUST_CHECK;
void md5_feed(struct md5 *, const void *, size_t);
/* Lower-case digits, terminated; of the md5 only md5_close() is left then. */
void md5_end(struct md5 *, char to[MD5_HEX_BYTES]);
void md5_close(struct md5 **);

#endif
