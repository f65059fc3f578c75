/* See parcel.h. */
#include "transport/parcel.h"

#include <stdlib.h>

enum { HEAD_BYTES = 24 };
static const char magic[8] = "MHPARC01";

/* ---- the seal ---- */

void parcel_record_add(struct buffer *to, const struct parcel_record *record)
{
	uint8_t bytes[PARCEL_RECORD_BYTES];

	bytes_put_le64(bytes, record->box_no);
	bytes_put_le64(bytes + 8, record->no);
	bytes_put_le64(bytes + 16, record->size_bytes);
	memcpy(bytes + 24, record->digest.bytes, DIGEST_BYTES);
	memcpy(bytes + 56, record->altered.bytes, DIGEST_BYTES);
	bytes_put_le32(bytes + 88, record->kind);
	bytes_put_le64(bytes + 92, record->mark);
	buffer_add(to, bytes, sizeof bytes);
}

void parcel_record_get(struct text records, size_t i, struct parcel_record *out)
{
	const uint8_t *bytes = (const uint8_t *)records.at + i * PARCEL_RECORD_BYTES;

	must((i + 1) * PARCEL_RECORD_BYTES <= records.bytes);
	out->box_no = bytes_get_le64(bytes);
	out->no = bytes_get_le64(bytes + 8);
	out->size_bytes = bytes_get_le64(bytes + 16);
	memcpy(out->digest.bytes, bytes + 24, DIGEST_BYTES);
	memcpy(out->altered.bytes, bytes + 56, DIGEST_BYTES);
	out->kind = bytes_get_le32(bytes + 88);
	out->mark = bytes_get_le64(bytes + 92);
}

void parcel_seal_write(struct buffer *to, const struct parcel_seal *seal)
{
	uint8_t head[HEAD_BYTES];

	must(seal->records.bytes % PARCEL_RECORD_BYTES == 0 && seal->records.bytes <= UINT32_MAX);
	must(seal->raw.bytes <= BOX_NAME_BYTES_MAX);
	memcpy(head, magic, sizeof magic);
	bytes_put_le32(head + 8, seal->uidvalidity);
	bytes_put_le32(head + 12, seal->uidnext);
	bytes_put_le32(head + 16, (uint32_t)seal->raw.bytes);
	bytes_put_le32(head + 20, (uint32_t)(seal->records.bytes / PARCEL_RECORD_BYTES));
	buffer_add(to, head, sizeof head);
	buffer_add(to, seal->raw.at, seal->raw.bytes);
	buffer_add(to, seal->records.at, seal->records.bytes);
}

bool parcel_seal_read(struct text blob, struct parcel_seal *out)
{
	const uint8_t *head = (const uint8_t *)blob.at;
	uint64_t raw, records;

	if (blob.bytes < HEAD_BYTES || memcmp(head, magic, sizeof magic) != 0)
		return false;
	out->uidvalidity = bytes_get_le32(head + 8);
	out->uidnext = bytes_get_le32(head + 12);
	raw = bytes_get_le32(head + 16);
	records = (uint64_t)bytes_get_le32(head + 20) * PARCEL_RECORD_BYTES;
	if (raw > BOX_NAME_BYTES_MAX || blob.bytes != HEAD_BYTES + raw + records)
		return false;
	out->raw = (struct text){ blob.at + HEAD_BYTES, raw };
	out->records = (struct text){ out->raw.at + raw, records };
	return true;
}

/* ---- what became of it ---- */

static int by_digest_and_uid(const void *a, const void *b)
{
	const struct parcel_found *one = a, *other = b;
	int order = memcmp(&one->digest, &other->digest, sizeof one->digest);

	return order ? order : (one->uid > other->uid) - (one->uid < other->uid);
}

/* The first of those with this digest; `count` where there is none. */
static size_t first_of(const struct parcel_found *found, size_t count, const struct digest *digest)
{
	size_t low = 0, high = count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (memcmp(&found[middle].digest, digest, sizeof *digest) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low < count && memcmp(&found[low].digest, digest, sizeof *digest) == 0 ? low : count;
}

/* One that no record has yet; the first of its kind counts how many were taken. */
static bool take(struct parcel_found *found, size_t count, const struct digest *digest,
		 uint32_t *uid)
{
	size_t first = first_of(found, count, digest), at;

	if (first == count)
		return false;
	at = first + found[first].taken;
	if (at >= count || memcmp(&found[at].digest, digest, sizeof *digest) != 0)
		return false;
	found[first].taken++;
	*uid = found[at].uid;
	return true;
}

/* Of each kind that a record took, what is left. */
static size_t surplus(const struct parcel_found *found, size_t count)
{
	size_t copies = 0;

	for (size_t first = 0, end; first < count; first = end) {
		for (end = first + 1;
		     end < count &&
		     memcmp(&found[end].digest, &found[first].digest, sizeof found->digest) == 0;)
			end++;
		if (found[first].taken > 0)
			copies += end - first - found[first].taken;
	}
	return copies;
}

/* Exact copies first, of all records: one that is there unaltered must not be taken for the altered
 * form of another. */
size_t parcel_match(struct text records, struct parcel_found *found, size_t found_count,
		    struct parcel_outcome *outcomes)
{
	size_t count = records.bytes / PARCEL_RECORD_BYTES;
	struct parcel_record record;

	for (size_t i = 0; i < found_count; i++)
		found[i].taken = 0;
	if (found_count > 0)
		qsort(found, found_count, sizeof *found, by_digest_and_uid);
	for (size_t i = 0; i < count; i++) {
		parcel_record_get(records, i, &record);
		outcomes[i] = (struct parcel_outcome){ .fate = PARCEL_ABSENT };
		if (take(found, found_count, &record.digest, &outcomes[i].uid))
			outcomes[i].fate = PARCEL_STORED;
	}
	for (size_t i = 0; i < count; i++) {
		parcel_record_get(records, i, &record);
		if (outcomes[i].fate == PARCEL_ABSENT &&
		    memcmp(&record.altered, &record.digest, sizeof record.digest) != 0 &&
		    take(found, found_count, &record.altered, &outcomes[i].uid))
			outcomes[i].fate = PARCEL_ALTERED;
	}
	return surplus(found, found_count);
}
