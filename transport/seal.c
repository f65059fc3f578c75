/* See seal.h. */
#include "transport/seal.h"

enum { HEAD_BYTES = 60 };
static const char magic_1[8] = "MHSEAL01", magic[8] = "MHSEAL02";

void seal_record_add(struct buffer *to, const struct seal_record *record)
{
	uint8_t bytes[SEAL_RECORD_BYTES];

	bytes_put_le64(bytes, record->box_no);
	bytes_put_le64(bytes + 8, record->no);
	bytes_put_le64(bytes + 16, record->size_bytes);
	memcpy(bytes + 24, record->digest.bytes, DIGEST_BYTES);
	bytes_put_le32(bytes + 56, record->kind);
	bytes_put_le64(bytes + 60, record->mark);
	buffer_add(to, bytes, sizeof bytes);
}

void seal_record_get(struct text records, size_t record_bytes, size_t i, struct seal_record *out)
{
	const uint8_t *bytes = (const uint8_t *)records.at + i * record_bytes;

	must((i + 1) * record_bytes <= records.bytes);
	out->box_no = bytes_get_le64(bytes);
	out->no = bytes_get_le64(bytes + 8);
	out->size_bytes = bytes_get_le64(bytes + 16);
	memcpy(out->digest.bytes, bytes + 24, DIGEST_BYTES);
	out->kind = bytes_get_le32(bytes + 56);
	out->mark = record_bytes == SEAL_RECORD_BYTES ? bytes_get_le64(bytes + 60) : 0;
}

void seal_write(struct buffer *to, const struct seal *seal)
{
	uint8_t head[HEAD_BYTES] = { 0 };

	must(seal->records.bytes % SEAL_RECORD_BYTES == 0);
	must(seal->index.bytes <= UINT32_MAX && seal->records.bytes <= UINT32_MAX);
	memcpy(head, magic, sizeof magic);
	bytes_put_le64(head + 8, seal->stored_bytes);
	memcpy(head + 16, seal->digest.bytes, DIGEST_BYTES);
	bytes_put_le32(head + 48, (uint32_t)seal->key.bytes);
	bytes_put_le32(head + 52, (uint32_t)(seal->records.bytes / SEAL_RECORD_BYTES));
	bytes_put_le32(head + 56, (uint32_t)seal->index.bytes);
	buffer_add(to, head, sizeof head);
	buffer_add(to, seal->key.at, seal->key.bytes);
	buffer_add(to, seal->records.at, seal->records.bytes);
	buffer_add(to, seal->index.at, seal->index.bytes);
}

bool seal_read(struct text blob, struct seal *out)
{
	const uint8_t *head = (const uint8_t *)blob.at;
	uint64_t key, records, index;

	if (blob.bytes < HEAD_BYTES)
		return false;
	if (memcmp(head, magic, sizeof magic) == 0)
		out->record_bytes = SEAL_RECORD_BYTES;
	else if (memcmp(head, magic_1, sizeof magic_1) == 0)
		out->record_bytes = SEAL_RECORD_BYTES_1;
	else
		return false;
	out->stored_bytes = bytes_get_le64(head + 8);
	memcpy(out->digest.bytes, head + 16, DIGEST_BYTES);
	key = bytes_get_le32(head + 48);
	records = (uint64_t)bytes_get_le32(head + 52) * out->record_bytes;
	index = bytes_get_le32(head + 56);
	if (blob.bytes != HEAD_BYTES + key + records + index)
		return false;
	out->key = (struct text){ blob.at + HEAD_BYTES, key };
	out->records = (struct text){ out->key.at + key, records };
	out->index = (struct text){ out->records.at + records, index };
	return true;
}
