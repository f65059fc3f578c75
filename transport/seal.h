/* The seal: what the ledger keeps of a pack between "complete under a temporary name" and
 * "settled". docs/FORMAT.md section 5.1. Pure functions. */
#ifndef MAILHAUL_SEAL_H
#define MAILHAUL_SEAL_H

#include "engine/bytes.h"
#include "engine/mail.h"

enum { SEAL_RECORD_BYTES = 60 };

struct seal_record {
	uint64_t box_no, no, size_bytes;
	struct digest digest;
	uint32_t kind; /* enum mail_kind */
};
struct seal {
	uint64_t stored_bytes;
	struct digest digest; /* of the pack as stored */
	struct text key;
	struct text records; /* SEAL_RECORD_BYTES each */
	struct text index;   /* the index file */
};

void seal_record_add(struct buffer *, const struct seal_record *);
/* The i-th of records; i is below records.bytes / SEAL_RECORD_BYTES. */
void seal_record_get(struct text records, size_t i, struct seal_record *);

void seal_write(struct buffer *, const struct seal *);
/* Borrows from `blob`. False: it is none of ours. */
bool seal_read(struct text blob, struct seal *) MUST_CHECK;

#endif
