/* Shortening a message without changing its CRC, by carry-less multiplication (Gopal and others,
 * "Fast CRC Computation for Generic Polynomials Using PCLMULQDQ Instruction", Intel 2009). Private
 * to crypto/crc*.c.
 *
 * 16 bytes are a polynomial of 128 coefficients, reflected: the lowest bit of the first byte is
 * that of x^127. Moving it d bits ahead means to multiply by x^d, and modulo the CRC's polynomial
 * P that is the same as multiplying its halves by x^(d+64) mod P and x^d mod P, which gives 128
 * coefficients again; the sum with the 16 bytes that stand there takes their place. What is left
 * in the end has the CRC of all, begun with 0. */
#ifndef MAILHAUL_CRC_FOLD_H
#define MAILHAUL_CRC_FOLD_H

#include "crypto/crc.h"

/* Reflected, x^0 in the highest bit: [0] for the half that comes first, x^(d+63) mod P, [1] for the
 * other, x^(d-1) mod P. One less each, because the product of two reflected numbers of 64 bits has
 * 127, and in 128 it stands one too low. */
struct crc_folding {
	uint64_t by_128[2], by_512[2], by_2048[2];
};
/* In crc.c, which has the polynomials. */
const struct crc_folding *crc_folding_of(enum crc_kind);
enum { CRC_REST_BYTES = 16, CRC_NARROW_BYTES_MIN = 64, CRC_WIDE_BYTES_MIN = 256 };

/* `state` is added to the first bytes. At least as many bytes as CRC_*_BYTES_MIN says; returns how
 * many went into `rest`, all but 15 at most. */
size_t crc_fold(enum crc_way, const struct crc_folding *, uint64_t state, const uint8_t *from,
		size_t n, uint8_t rest[CRC_REST_BYTES]);

#endif
