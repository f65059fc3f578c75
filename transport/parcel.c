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
	memcpy(bytes + 56, record->normal.bytes, DIGEST_BYTES);
	bytes_put_le32(bytes + 88, record->kind);
	bytes_put_le64(bytes + 92, record->mark);
	bytes_put_le64(bytes + 100, (uint64_t)record->date_s);
	memcpy(bytes + 108, record->id, LIKENESS_ID_BYTES);
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
	memcpy(out->normal.bytes, bytes + 56, DIGEST_BYTES);
	out->kind = bytes_get_le32(bytes + 88);
	out->mark = bytes_get_le64(bytes + 92);
	out->date_s = (int64_t)bytes_get_le64(bytes + 100);
	memcpy(out->id, bytes + 108, LIKENESS_ID_BYTES);
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

static bool is_equal(const struct digest *a, const struct digest *b)
{
	return memcmp(a, b, sizeof *a) == 0;
}

static bool may_take(const struct parcel_found *found, const struct parcel_record *record,
		     bool as_sent)
{
	return !found->taken &&
	       (!as_sent || (found->mark == record->mark && found->date_s == record->date_s));
}

/* One of these bytes that no record has yet, and with `as_sent` of these flags and this date. */
static struct parcel_found *find_equal(struct parcel_found *found, size_t count,
				       const struct parcel_record *record, bool as_sent)
{
	for (size_t at = first_of(found, count, &record->digest);
	     at < count && is_equal(&found[at].digest, &record->digest); at++)
		if (may_take(&found[at], record, as_sent))
			return &found[at];
	return NULL;
}

/* The same with these bytes inside. */
static struct parcel_found *find_wrapped(struct parcel_found *found, size_t count,
					 const struct parcel_record *record, bool as_sent)
{
	for (size_t at = 0; at < count; at++)
		if (found[at].wrapped && is_equal(&found[at].inside, &record->digest) &&
		    may_take(&found[at], record, as_sent))
			return &found[at];
	return NULL;
}

static bool has_id(const uint8_t *id)
{
	static const uint8_t none[LIKENESS_ID_BYTES];

	return memcmp(id, none, sizeof none) != 0;
}

static bool is_alike(const struct parcel_found *found, const struct parcel_record *record,
		     bool by_id)
{
	if (by_id)
		return has_id(record->id) && memcmp(found->id, record->id, sizeof found->id) == 0;
	return !is_equal(&record->normal, &record->digest) &&
	       is_equal(&found->normal, &record->normal);
}

/* One that is alike: the one with the lowest UID, because servers store in the order of sending. */
static struct parcel_found *find_alike(struct parcel_found *found, size_t count,
				       const struct parcel_record *record, bool by_id)
{
	struct parcel_found *best = NULL;

	for (size_t i = 0; i < count; i++)
		if (!found[i].taken && is_alike(&found[i], record, by_id) &&
		    (!best || found[i].uid < best->uid))
			best = &found[i];
	return best;
}

/* Of each kind that a record took, what is left. */
static size_t surplus(const struct parcel_found *found, size_t count)
{
	size_t copies = 0;

	for (size_t first = 0, end; first < count; first = end) {
		size_t taken = 0;

		for (end = first; end < count && is_equal(&found[end].digest, &found[first].digest);
		     end++)
			taken += found[end].taken;
		copies += taken > 0 ? end - first - taken : 0;
	}
	return copies;
}

/* In their order. */
enum way {
	WAY_EQUAL_AS_SENT,
	WAY_EQUAL,
	WAY_WRAPPED_AS_SENT,
	WAY_WRAPPED,
	WAY_ALIKE,
	WAY_SAME_ID,
	WAYS
};

static struct parcel_found *find(struct parcel_found *found, size_t count,
				 const struct parcel_record *record, enum way way)
{
	if (way <= WAY_EQUAL)
		return find_equal(found, count, record, way == WAY_EQUAL_AS_SENT);
	if (way <= WAY_WRAPPED)
		return find_wrapped(found, count, record, way == WAY_WRAPPED_AS_SENT);
	return find_alike(found, count, record, way == WAY_SAME_ID);
}

/* Each record of which this is known and that has nothing yet. */
static void match_known(struct text records, const enum sink_known *known, enum sink_known wanted,
			enum way way, struct parcel_found *found, size_t found_count,
			struct parcel_outcome *outcomes)
{
	size_t count = records.bytes / PARCEL_RECORD_BYTES;
	struct parcel_record record;
	struct parcel_found *one;

	for (size_t i = 0; i < count; i++) {
		if (outcomes[i].fate != PARCEL_ABSENT ||
		    (known ? known[i] : SINK_KNOWN_OPEN) != wanted)
			continue;
		parcel_record_get(records, i, &record);
		if (!(one = find(found, found_count, &record, way)))
			continue;
		one->taken = true;
		outcomes[i].uid = one->uid;
		outcomes[i].fate = way <= WAY_WRAPPED ? PARCEL_STORED : PARCEL_ALTERED;
		outcomes[i].wrapped = way == WAY_WRAPPED_AS_SENT || way == WAY_WRAPPED;
	}
}

/* Each way for all records before the next: what is there unaltered must not be taken for the
 * altered form of another, nor a wrapper that was copied as it is for its original. What is known
 * to be there has its copy before an open one takes it: of an original and its wrapper, too. */
size_t parcel_match(struct text records, const enum sink_known *known, struct parcel_found *found,
		    size_t found_count, struct parcel_outcome *outcomes)
{
	static const enum sink_known wanted[] = { SINK_KNOWN_STORED, SINK_KNOWN_OPEN };
	size_t count = records.bytes / PARCEL_RECORD_BYTES;

	for (size_t i = 0; i < found_count; i++)
		found[i].taken = false;
	if (found_count > 0)
		qsort(found, found_count, sizeof *found, by_digest_and_uid);
	for (size_t i = 0; i < count; i++)
		outcomes[i] = (struct parcel_outcome){ .fate = PARCEL_ABSENT };
	for (unsigned i = 0; i < ARRAY_COUNT(wanted); i++)
		for (enum way way = 0; way < WAY_ALIKE; way++)
			match_known(records, known, wanted[i], way, found, found_count, outcomes);
	for (unsigned i = 0; i < ARRAY_COUNT(wanted); i++)
		for (enum way way = WAY_ALIKE; way < WAYS; way++)
			match_known(records, known, wanted[i], way, found, found_count, outcomes);
	return surplus(found, found_count);
}
