/* The seal: what the ledger keeps of a pack between "complete under a temporary name" and
 * "settled". docs/FORMAT.md section 5.1. Pure functions. */
#ifndef MAILHAUL_SEAL_H
#define MAILHAUL_SEAL_H

#include "engine/bytes.h"
#include "engine/mail.h"

/* Of a record today, and of the first version of the seal, which had no mark. */
enum { SEAL_RECORD_BYTES = 68, SEAL_RECORD_BYTES_1 = 60 };

struct seal_record {
	uint64_t box_no, no, size_bytes;
	struct digest digest;
	uint32_t kind; /* enum mail_kind */
	uint64_t mark; /* mail_mark(); 0: not known */
};
struct seal {
	uint64_t stored_bytes;
	struct digest digest; /* of the pack as stored */
	struct text key;
	struct text records; /* record_bytes each */
	size_t record_bytes; /* set by seal_read(); written are SEAL_RECORD_BYTES */
	struct text index;   /* the index file */
};

void seal_record_add(struct buffer *, const struct seal_record *);
/* The i-th of records of so many bytes; i is below records.bytes / record_bytes. */
void seal_record_get(struct text records, size_t record_bytes, size_t i, struct seal_record *);

void seal_write(struct buffer *, const struct seal *);
/* Borrows from `blob`. False: it is none of ours. */
bool seal_read(struct text blob, struct seal *) MUST_CHECK;

#endif
