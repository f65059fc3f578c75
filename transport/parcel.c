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

/* Ways to recognise a record, in their order: the same bytes; they lie inside of a wrapper; the
 * same normal form, of what some server alters; the same Message-ID. */
enum way { SAME_BYTES, SAME_INSIDE, SAME_NORMAL, SAME_ID };

/* How much of the rest is as it was sent. A date that a server made up is no twin's, but flags that
 * it left out may leave those of one: the date counts for more. All of it comes first: else a twin
 * that is there would be taken for one that is not, which were never sent again. */
enum rest { SAME_REST, SAME_DATE, SAME_FLAGS, ANY_REST };

static const uint8_t *key_of(const struct parcel_found *found, enum way way, size_t *bytes)
{
	*bytes = way == SAME_ID ? sizeof found->id : sizeof found->digest;
	return way == SAME_ID	    ? found->id
	       : way == SAME_NORMAL ? found->normal.bytes
	       : way == SAME_INSIDE ? found->inside.bytes
				    : found->digest.bytes;
}

static int by_key_and_uid(const void *a, const void *b, void *context)
{
	const struct parcel_found *one = a, *other = b;
	enum way way = *(const enum way *)context;
	size_t bytes;
	const uint8_t *key = key_of(one, way, &bytes);
	int order = memcmp(key, key_of(other, way, &bytes), bytes);

	return order ? order : (one->uid > other->uid) - (one->uid < other->uid);
}

static void sort_for(enum way way, struct parcel_found *found, size_t count)
{
	if (count > 0)
		qsort_r(found, count, sizeof *found, by_key_and_uid, &way);
	for (size_t i = 0; i < count; i++)
		found[i].skip = 0;
}

static int compare(const struct parcel_found *found, enum way way, const uint8_t *key)
{
	size_t bytes;
	const uint8_t *its = key_of(found, way, &bytes);

	return memcmp(its, key, bytes);
}

/* The first of those with this key; `count` where there is none. */
static size_t first_of(const struct parcel_found *found, size_t count, enum way way,
		       const uint8_t *key)
{
	size_t low = 0, high = count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (compare(&found[middle], way, key) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low < count && compare(&found[low], way, key) == 0 ? low : count;
}

static bool is_equal(const struct digest *a, const struct digest *b)
{
	return memcmp(a, b, sizeof *a) == 0;
}

/* NULL: it is not recognised in this way. */
static const uint8_t *key_of_record(const struct parcel_record *record, enum way way)
{
	static const uint8_t none[LIKENESS_ID_BYTES];

	if (way == SAME_ID)
		return memcmp(record->id, none, sizeof none) != 0 ? record->id : NULL;
	/* Where nobody alters a message, `normal` is of bytes with line ends: no normal form. */
	return way == SAME_NORMAL ? record->normal.bytes : record->digest.bytes;
}

static bool is_as_sent(const struct parcel_found *found, const struct parcel_record *record,
		       enum rest rest)
{
	bool flags = found->mark == record->mark, date = found->date_s == record->date_s;

	return (flags || rest == SAME_DATE || rest == ANY_REST) &&
	       (date || rest == SAME_FLAGS || rest == ANY_REST);
}

/* The one with the lowest UID that no record has yet, because servers store in the order of
 * sending. Of many that are alike, those that are taken in front are passed over once. */
static bool take(struct parcel_found *found, size_t count, const struct parcel_record *record,
		 enum way way, enum rest rest, uint32_t *uid)
{
	const uint8_t *key = key_of_record(record, way);
	size_t first = key ? first_of(found, count, way, key) : count;
	struct parcel_found *at = found + first, *end = found + count;

	if (first == count)
		return false;
	for (at += found[first].skip; at < end && at->taken && compare(at, way, key) == 0; at++)
		found[first].skip++;
	for (; at < end && compare(at, way, key) == 0; at++) {
		if (at->taken || !is_as_sent(at, record, rest))
			continue;
		at->taken = true;
		*uid = at->uid;
		return true;
	}
	return false;
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

/* Each record of which this is known and that has nothing yet. */
static void match_known(struct text records, const enum sink_known *known, enum sink_known wanted,
			enum way way, enum rest rest, struct parcel_found *found,
			size_t found_count, struct parcel_outcome *outcomes)
{
	size_t count = records.bytes / PARCEL_RECORD_BYTES;
	struct parcel_record record;

	for (size_t i = 0; i < count; i++) {
		if (outcomes[i].fate != PARCEL_ABSENT ||
		    (known ? known[i] : SINK_KNOWN_OPEN) != wanted)
			continue;
		parcel_record_get(records, i, &record);
		if (!take(found, found_count, &record, way, rest, &outcomes[i].uid))
			continue;
		outcomes[i].fate = way <= SAME_INSIDE ? PARCEL_STORED : PARCEL_ALTERED;
		outcomes[i].wrapped = way == SAME_INSIDE;
	}
}

struct ways {
	enum way from, to;
	enum rest best, least;
};

/* Those that are known to be there first, then the open ones. */
static void match_ways(struct text records, const enum sink_known *known, struct ways ways,
		       struct parcel_found *found, size_t found_count,
		       struct parcel_outcome *outcomes)
{
	static const enum sink_known turns[] = { SINK_KNOWN_STORED, SINK_KNOWN_OPEN };

	for (unsigned turn = 0; turn < ARRAY_COUNT(turns); turn++)
		for (enum way way = ways.from; way <= ways.to; way++) {
			sort_for(way, found, found_count);
			for (enum rest rest = ways.best; rest <= ways.least; rest++)
				match_known(records, known, turns[turn], way, rest, found,
					    found_count, outcomes);
		}
}

/* Each way for all records before the next: what is there unaltered must not be taken for the
 * altered form of another. */
size_t parcel_match(struct text records, const enum sink_known *known, struct parcel_found *found,
		    size_t found_count, struct parcel_outcome *outcomes)
{
	/* A server may make the bytes of one message from those of another (Courier ends the last
	 * line): flags and date tell them apart, where they are as they were sent. */
	static const struct ways steps[] = {
		{ SAME_BYTES, SAME_ID, SAME_REST, SAME_REST },
		{ SAME_BYTES, SAME_INSIDE, SAME_DATE, ANY_REST },
		{ SAME_NORMAL, SAME_ID, SAME_DATE, ANY_REST },
	};
	size_t count = records.bytes / PARCEL_RECORD_BYTES;

	for (size_t i = 0; i < found_count; i++)
		found[i].taken = found[i].settled;
	for (size_t i = 0; i < count; i++)
		outcomes[i] = (struct parcel_outcome){ .fate = PARCEL_ABSENT };
	for (unsigned i = 0; i < ARRAY_COUNT(steps); i++)
		match_ways(records, known, steps[i], found, found_count, outcomes);
	sort_for(SAME_BYTES, found, found_count);
	return surplus(found, found_count);
}

/* Those from this UID on come first. Returns how many. */
static size_t put_first(struct parcel_found *found, size_t count, uint32_t mark)
{
	struct parcel_found other;
	size_t first = 0;

	for (size_t i = 0; i < count; i++) {
		if (found[i].uid < mark)
			continue;
		other = found[first];
		found[first++] = found[i];
		found[i] = other;
	}
	return first;
}

/* Without those of the first `judged` that a record took. Returns how many are left. */
static size_t drop_taken(struct parcel_found *found, size_t count, size_t judged)
{
	size_t left = 0;

	for (size_t i = 0; i < count; i++)
		if (i >= judged || !found[i].taken)
			found[left++] = found[i];
	return left;
}

size_t parcel_match_folder(struct text records, size_t present, uint32_t mark,
			   const enum sink_known *known, struct parcel_found *found,
			   size_t found_count, struct parcel_outcome *outcomes)
{
	size_t bytes = present * PARCEL_RECORD_BYTES, here, left, copies;
	struct text now = { records.at, bytes },
		    before = { records.at + bytes, records.bytes - bytes };

	must(bytes <= records.bytes);
	here = put_first(found, found_count, mark);
	copies = parcel_match(now, known, found, here, outcomes);
	if (before.bytes == 0)
		return copies;
	left = drop_taken(found, found_count, here);
	(void)parcel_match(before, known ? known + present : NULL, found, left, outcomes + present);
	return 0;
}

static struct parcel_unread *find_unread(struct parcel_unread *unread, size_t count,
					 const struct parcel_record *record)
{
	bool alters = !is_equal(&record->normal, &record->digest);

	for (size_t i = 0; i < count; i++)
		if (!unread[i].taken && (alters || unread[i].size_bytes == UINT64_MAX ||
					 unread[i].size_bytes == record->size_bytes))
			return &unread[i];
	return NULL;
}

void parcel_match_unread(struct text records, const enum sink_known *known,
			 struct parcel_unread *unread, size_t unread_count,
			 struct parcel_outcome *outcomes)
{
	size_t count = unread_count ? records.bytes / PARCEL_RECORD_BYTES : 0;
	struct parcel_record record;
	struct parcel_unread *one;

	for (size_t i = 0; i < unread_count; i++)
		unread[i].taken = false;
	for (enum sink_known turn = SINK_KNOWN_STORED + 1; turn-- > SINK_KNOWN_OPEN;)
		for (size_t i = 0; i < count; i++) {
			if (outcomes[i].fate != PARCEL_ABSENT ||
			    (known ? known[i] : SINK_KNOWN_OPEN) != turn)
				continue;
			parcel_record_get(records, i, &record);
			if (!(one = find_unread(unread, unread_count, &record)))
				continue;
			one->taken = true;
			outcomes[i] =
				(struct parcel_outcome){ .fate = PARCEL_UNREAD, .uid = one->uid };
		}
}
