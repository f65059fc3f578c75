/* Checksums of stored objects, as S3 takes and gives them: CRC64NVME (NVM Express, NVM Command Set
 * Specification, "64b CRC") and CRC32C (RFC 3720 appendix B.4). Both reflected, starting from and
 * ending in all ones. They find damage, not forgery. Not for: digests of messages (digest.h). */
#ifndef MAILHAUL_CRC_H
#define MAILHAUL_CRC_H

#include "engine/base.h"

/* Also the rows of tables, so they count from 0. */
enum crc_kind { CRC64NVME, CRC32C, CRC_KIND_COUNT };

/* What a checksum of nothing, or of all that was fed before, becomes by n more bytes. Of nothing it
 * is 0; of 32 bits the upper half stays 0. Any number of threads. */
uint64_t crc_update(enum crc_kind, uint64_t crc, const void *from, size_t n);
/* The checksum of two pieces, one behind the other, from theirs and the second one's length: of
 * the parts of an upload that were sent side by side. */
uint64_t crc_combine(enum crc_kind, uint64_t first, uint64_t second, uint64_t second_bytes);
/* "crc64nvme", "crc32c": what follows "x-amz-checksum-" in the name of S3's field. */
const char *crc_name(enum crc_kind);
/* The value of that field: base64 of its bytes, the highest first; terminated. */
enum { CRC_BASE64_BYTES = 12 + 1 };
void crc_base64(enum crc_kind, uint64_t crc, char to[CRC_BASE64_BYTES]);

/* ---- for tests and measurements ---- */

/* How bytes are taken: a table's 8 at a time, or by carry-less multiplication in 4 accumulators of
 * 16 bytes (PCLMULQDQ, PMULL) or of 64 (VPCLMULQDQ). */
enum crc_way { CRC_TABLE, CRC_NARROW, CRC_WIDE };
enum crc_way crc_best_way(void); /* the last one that this machine has */
uint64_t crc_update_by(enum crc_way, enum crc_kind, uint64_t crc, const void *from, size_t n);

#endif
