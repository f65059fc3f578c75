/* See eml_seal.h. Numbers are little-endian; the head is the magic, a record has the fields of
 * struct eml_record in the order of the offsets below. */
#include "transport/eml_seal.h"

enum {
	HEAD_BYTES = 8,
	AT_DIGEST = 48,
	AT_KIND = AT_DIGEST + DIGEST_BYTES,
	AT_FOLDER = AT_KIND + 4,
	RECORD_BYTES = AT_FOLDER + EML_FOLDER_KEY_BYTES_MAX,
};
static const char magic[HEAD_BYTES] = "MHEMLS01";

void eml_seal_begin(struct buffer *to)
{
	buffer_reset(to);
	buffer_add(to, magic, sizeof magic);
}

void eml_seal_add(struct buffer *to, const struct eml_record *record)
{
	uint8_t bytes[RECORD_BYTES];

	bytes_put_le64(bytes, record->box_no);
	bytes_put_le64(bytes + 8, record->no);
	bytes_put_le64(bytes + 16, record->epoch);
	bytes_put_le64(bytes + 24, record->size_bytes);
	bytes_put_le64(bytes + 32, record->crc);
	bytes_put_le64(bytes + 40, record->mark);
	memcpy(bytes + AT_DIGEST, record->digest.bytes, DIGEST_BYTES);
	bytes_put_le32(bytes + AT_KIND, record->kind);
	memcpy(bytes + AT_FOLDER, record->folder, EML_FOLDER_KEY_BYTES_MAX);
	buffer_add(to, bytes, sizeof bytes);
}

bool eml_seal_read(struct text blob, size_t *count)
{
	if (blob.bytes < HEAD_BYTES || memcmp(blob.at, magic, sizeof magic) != 0)
		return false;
	*count = (blob.bytes - HEAD_BYTES) / RECORD_BYTES;
	return (blob.bytes - HEAD_BYTES) % RECORD_BYTES == 0;
}

void eml_seal_get(struct text blob, size_t i, struct eml_record *out)
{
	const uint8_t *bytes = (const uint8_t *)blob.at + HEAD_BYTES + i * RECORD_BYTES;
	uint32_t kind = bytes_get_le32(bytes + AT_KIND);

	must(HEAD_BYTES + (i + 1) * RECORD_BYTES <= blob.bytes);
	*out = (struct eml_record){ .box_no = bytes_get_le64(bytes),
				    .no = bytes_get_le64(bytes + 8),
				    .epoch = bytes_get_le64(bytes + 16),
				    .size_bytes = bytes_get_le64(bytes + 24),
				    .crc = bytes_get_le64(bytes + 32),
				    .mark = bytes_get_le64(bytes + 40),
				    .kind = kind < MAIL_KIND_COUNT ? (enum mail_kind)kind
								   : MAIL_PLAIN };
	memcpy(out->digest.bytes, bytes + AT_DIGEST, DIGEST_BYTES);
	memcpy(out->folder, bytes + AT_FOLDER, EML_FOLDER_KEY_BYTES_MAX);
}
