/* A seal of single messages: what the ledger keeps of them from before the first is sent until each
 * is settled. docs/FORMAT.md section 13.3. Pure functions. Not for: looking what became of them
 * (eml_sink_recover.c). */
#ifndef MAILHAUL_EML_SEAL_H
#define MAILHAUL_EML_SEAL_H

#include "engine/bytes.h"
#include "engine/mail.h"
#include "transport/eml_layout.h"

struct eml_record {
	uint64_t box_no, no, epoch, size_bytes;
	uint64_t crc;  /* of all bytes, by the checksum that the bucket has */
	uint64_t mark; /* mail_mark() of what is sent with it */
	struct digest digest;
	enum mail_kind kind;
	char folder[EML_FOLDER_KEY_BYTES_MAX + 1]; /* eml_folder_key() */
};

/* A seal begins with its head; its records follow. */
void eml_seal_begin(struct buffer *);
void eml_seal_add(struct buffer *, const struct eml_record *);
/* False: it is none of ours. */
bool eml_seal_read(struct text blob, size_t *count) MUST_CHECK;
/* The i-th record of a seal that was read; i is below its count. */
void eml_seal_get(struct text blob, size_t i, struct eml_record *);

#endif
