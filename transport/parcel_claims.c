/* See parcel_claims.h. */
#include "transport/parcel_claims.h"

#include <stdlib.h>

#include "engine/scratch.h"

enum { ROOM_BYTES_MIN = 64 * 1024 };

/* A message of a record. */
struct key {
	uint64_t box_no, no;
	size_t record;
};
struct claim {
	uint32_t uid;
	uint32_t key; /* the first of the message; NO_KEY: of another mailbox */
	struct digest digest;
	bool is_unlike, is_guess;
};
#define NO_KEY UINT32_MAX

struct parcel_claims {
	struct text records; /* borrowed */
	struct key *keys; /* sorted; a message that was given back has one for each of its seals */
	size_t keys_count;
	uint32_t mark;
	struct scratch claims;
	size_t count;
};

static struct claim *claims_of(const struct parcel_claims *claims)
{
	return (void *)claims->claims.at;
}

/* ---- messages of the records ---- */

static int by_message(const void *left, const void *right)
{
	const struct key *a = left, *b = right;

	if (a->box_no != b->box_no)
		return a->box_no < b->box_no ? -1 : 1;
	return (a->no > b->no) - (a->no < b->no);
}

enum err parcel_claims_open(struct text records, uint32_t mark, struct parcel_claims **out)
{
	struct parcel_claims *claims = calloc(1, sizeof *claims);
	size_t count = records.bytes / PARCEL_RECORD_BYTES;
	struct parcel_record record;

	*out = claims;
	if (!claims || !(claims->keys = calloc(count + 1, sizeof *claims->keys))) {
		parcel_claims_close(out);
		return RAISE(ERR_MEMORY_EXHAUSTED, "what an earlier run sent");
	}
	claims->records = records;
	claims->mark = mark;
	claims->keys_count = count;
	for (size_t i = 0; i < count; i++) {
		parcel_record_get(records, i, &record);
		claims->keys[i] = (struct key){ record.box_no, record.no, i };
	}
	qsort(claims->keys, count, sizeof *claims->keys, by_message);
	return OK;
}

void parcel_claims_close(struct parcel_claims **claims)
{
	if (!*claims)
		return;
	free((*claims)->keys);
	scratch_close(&(*claims)->claims);
	free(*claims);
	*claims = NULL;
}

static uint32_t find_key(const struct parcel_claims *claims, const struct sink_copy *copy)
{
	const struct key wanted = { .box_no = copy->box_no, .no = copy->no };
	size_t low = 0, high = claims->keys_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (by_message(&claims->keys[middle], &wanted) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low < claims->keys_count && by_message(&claims->keys[low], &wanted) == 0
		       ? (uint32_t)low
		       : NO_KEY;
}

/* ---- filling ---- */

static enum err make_room(struct parcel_claims *claims)
{
	size_t bytes = (claims->count + 1) * sizeof(struct claim),
	       room = max_u64(claims->claims.bytes, ROOM_BYTES_MIN);

	return scratch_grow(&claims->claims, room < bytes ? 2 * room : room);
}

enum err parcel_claims_add(void *context, const struct sink_copy *copy)
{
	struct parcel_claims *claims = context;
	uint32_t key = copy->is_own ? find_key(claims, copy) : NO_KEY;
	enum err e;

	if (copy->target_no < claims->mark || copy->target_no > UINT32_MAX ||
	    (copy->is_own && key == NO_KEY))
		return OK;
	if ((e = make_room(claims)))
		return e;
	claims_of(claims)[claims->count++] = (struct claim){ .uid = (uint32_t)copy->target_no,
							     .key = key,
							     .digest = copy->digest,
							     .is_unlike = copy->is_unlike,
							     .is_guess = copy->is_guess };
	return OK;
}

/* Where two claim the same, ours comes first. */
static int by_uid(const void *left, const void *right)
{
	const struct claim *a = left, *b = right;

	if (a->uid != b->uid)
		return a->uid < b->uid ? -1 : 1;
	return (a->key > b->key) - (a->key < b->key);
}

void parcel_claims_sort(struct parcel_claims *claims)
{
	if (claims->count > 0)
		qsort(claims_of(claims), claims->count, sizeof(struct claim), by_uid);
}

/* ---- asking ---- */

/* The first with this UID or a higher one; the count, where there is none. */
static size_t first_of(const struct parcel_claims *claims, uint32_t uid)
{
	size_t low = 0, high = claims->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (claims_of(claims)[middle].uid < uid)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* What became doubtful because it could not be read may be another's, as its bytes say later; that
 * one would be sent twice. */
static bool is_likely(const struct parcel_claims *claims, const struct claim *claim,
		      const struct parcel_found *found)
{
	static const uint8_t none[LIKENESS_ID_BYTES];
	struct parcel_record record;

	if (memcmp(&claim->digest, &found->digest, DIGEST_BYTES) == 0 ||
	    (found->wrapped && memcmp(&claim->digest, &found->inside, DIGEST_BYTES) == 0))
		return true;
	if (!claim->is_unlike || claim->is_guess)
		return false;
	if (claim->key == NO_KEY)
		return true;
	parcel_record_get(claims->records, claims->keys[claim->key].record, &record);
	return memcmp(&record.normal, &found->normal, DIGEST_BYTES) == 0 ||
	       (memcmp(record.id, found->id, sizeof none) == 0 &&
		memcmp(record.id, none, sizeof none) != 0);
}

/* `found` NULL: its bytes are not known, and what another mailbox took for its own without them may
 * as well be ours. NULL: there is none. */
static const struct claim *find(const struct parcel_claims *claims, uint32_t uid,
				const struct parcel_found *found)
{
	const struct claim *all = claims_of(claims);

	for (size_t i = first_of(claims, uid); i < claims->count && all[i].uid == uid; i++)
		if (found ? is_likely(claims, &all[i], found)
			  : !all[i].is_guess || all[i].key != NO_KEY)
			return &all[i];
	return NULL;
}

enum parcel_claim parcel_claims_find(const struct parcel_claims *claims,
				     const struct parcel_found *found)
{
	const struct claim *claim = find(claims, found->uid, found);

	return !claim ? PARCEL_NOBODYS : claim->key == NO_KEY ? PARCEL_OTHERS : PARCEL_OURS;
}

/* All records of the message. */
static size_t settle(const struct parcel_claims *claims, const struct claim *claim,
		     enum sink_known *known)
{
	size_t at = claim->key, settled = 0;

	for (; at < claims->keys_count &&
	       by_message(&claims->keys[at], &claims->keys[claim->key]) == 0;
	     at++) {
		known[claims->keys[at].record] = SINK_KNOWN_NOT_STORED;
		settled++;
	}
	return settled;
}

size_t parcel_claims_settle(const struct parcel_claims *claims, const struct parcel_found *found,
			    size_t found_count, struct parcel_unread *unread, size_t *unread_count,
			    enum sink_known *known)
{
	size_t settled = 0, left = 0;
	const struct claim *claim;

	for (size_t i = 0; i < found_count; i++)
		if (found[i].settled)
			settled += settle(claims, find(claims, found[i].uid, &found[i]), known);
	for (size_t i = 0; i < *unread_count; i++) {
		if (!(claim = find(claims, unread[i].uid, NULL)))
			unread[left++] = unread[i];
		else if (claim->key != NO_KEY)
			settled += settle(claims, claim, known);
	}
	*unread_count = left;
	return settled;
}
