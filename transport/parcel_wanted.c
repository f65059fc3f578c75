/* See parcel_wanted.h. */
#include "transport/parcel_wanted.h"

#include <stdlib.h>

/* What messages may have in common with a record, in this order. What lies inside of a wrapper is
 * looked for among the digests. */
enum { BY_DIGEST, BY_NORMAL, BY_ID, WAYS };

struct want {
	uint8_t key[DIGEST_BYTES];
	uint32_t records, kept;
};

struct parcel_wanted {
	const struct parcel_claims *claims; /* borrowed; NULL: there are none */
	struct want *wants[WAYS];	    /* sorted, each key once */
	size_t counts[WAYS];
	size_t over;
};

static int by_key(const void *a, const void *b)
{
	return memcmp(((const struct want *)a)->key, ((const struct want *)b)->key, DIGEST_BYTES);
}

/* False: nothing is alike in this way. */
static bool key_of(const struct digest *digest, const struct digest *normal, const uint8_t *id,
		   int way, uint8_t key[DIGEST_BYTES])
{
	static const uint8_t none[LIKENESS_ID_BYTES];

	memset(key, 0, DIGEST_BYTES);
	if (way == BY_ID)
		memcpy(key, id, LIKENESS_ID_BYTES);
	else
		memcpy(key, way == BY_DIGEST ? digest->bytes : normal->bytes, DIGEST_BYTES);
	return way != BY_ID || memcmp(id, none, sizeof none) != 0;
}

static void add(struct parcel_wanted *wanted, const struct parcel_record *record, int way)
{
	struct want *want = &wanted->wants[way][wanted->counts[way]];

	if (!key_of(&record->digest, &record->normal, record->id, way, want->key))
		return;
	want->records = 1;
	wanted->counts[way]++;
}

static void sort(struct want *wants, size_t *count)
{
	size_t kept = 0;

	if (*count > 0)
		qsort(wants, *count, sizeof *wants, by_key);
	for (size_t i = 0; i < *count; i++) {
		if (kept > 0 && by_key(&wants[kept - 1], &wants[i]) == 0)
			wants[kept - 1].records++;
		else
			wants[kept++] = wants[i];
	}
	*count = kept;
}

enum err parcel_wanted_open(struct text records, const struct parcel_claims *claims,
			    struct parcel_wanted **out)
{
	struct parcel_wanted *wanted = calloc(1, sizeof *wanted);
	size_t count = records.bytes / PARCEL_RECORD_BYTES;
	struct parcel_record record;

	*out = wanted;
	for (int way = 0; wanted && way < WAYS; way++) {
		if (!(wanted->wants[way] = calloc(count + 1, sizeof **wanted->wants)))
			parcel_wanted_close(&wanted);
		for (size_t i = 0; wanted && i < count; i++) {
			parcel_record_get(records, i, &record);
			add(wanted, &record, way);
		}
		if (wanted)
			sort(wanted->wants[way], &wanted->counts[way]);
	}
	if (wanted) {
		wanted->claims = claims;
		return OK;
	}
	*out = NULL;
	return RAISE(ERR_MEMORY_EXHAUSTED, "what an earlier run sent");
}

void parcel_wanted_close(struct parcel_wanted **wanted)
{
	if (!*wanted)
		return;
	for (int way = 0; way < WAYS; way++)
		free((*wanted)->wants[way]);
	free(*wanted);
	*wanted = NULL;
}

static struct want *find_key(const struct parcel_wanted *wanted, const struct want *key, int way)
{
	if (wanted->counts[way] == 0)
		return NULL;
	return bsearch(key, wanted->wants[way], wanted->counts[way], sizeof *key, by_key);
}

/* Of what lies inside of a wrapper. */
static struct want *find_inside(const struct parcel_wanted *wanted,
				const struct parcel_found *found)
{
	struct want key;

	if (!found->wrapped || !key_of(&found->inside, NULL, NULL, BY_DIGEST, key.key))
		return NULL;
	return find_key(wanted, &key, BY_DIGEST);
}

static bool has_room(const struct want *want)
{
	return want && want->kept < want->records;
}

/* The first way in which a record is alike that has nothing yet: one copy may be that of a message,
 * or of another that the server altered into it. */
static struct want *find(const struct parcel_wanted *wanted, const struct parcel_found *found,
			 struct want *same_bytes, struct want *inside)
{
	struct want key, *want = same_bytes;

	if (!has_room(want) && has_room(inside))
		return inside;
	for (int way = BY_NORMAL; way < WAYS && !has_room(want); way++)
		if (key_of(&found->digest, &found->normal, found->id, way, key.key))
			want = find_key(wanted, &key, way);
	return has_room(want) ? want : NULL;
}

static bool keeps_unclaimed(struct parcel_wanted *wanted, const struct parcel_found *found)
{
	struct want key, *same_bytes, *inside = find_inside(wanted, found), *want;

	key_of(&found->digest, NULL, NULL, BY_DIGEST, key.key);
	same_bytes = find_key(wanted, &key, BY_DIGEST);
	if ((want = find(wanted, found, same_bytes, inside)) != NULL) {
		want->kept++;
		return true;
	}
	if (!same_bytes)
		same_bytes = inside;
	if (!same_bytes)
		return false;
	/* One too many is looked at as well, and more are counted. */
	if (same_bytes->kept > same_bytes->records) {
		wanted->over++;
		return false;
	}
	same_bytes->kept++;
	return true;
}

bool parcel_wanted_keeps(struct parcel_wanted *wanted, struct parcel_found *found)
{
	enum parcel_claim claim =
		wanted->claims ? parcel_claims_find(wanted->claims, found) : PARCEL_NOBODYS;

	found->settled = claim == PARCEL_OURS;
	return claim == PARCEL_NOBODYS ? keeps_unclaimed(wanted, found) : found->settled;
}

void parcel_wanted_anew(struct parcel_wanted *wanted, struct parcel_found *found, size_t count,
			size_t over)
{
	for (int way = 0; way < WAYS; way++)
		for (size_t i = 0; i < wanted->counts[way]; i++)
			wanted->wants[way][i].kept = 0;
	for (size_t i = 0; i < count; i++)
		(void)parcel_wanted_keeps(wanted, &found[i]);
	wanted->over = over;
}

size_t parcel_wanted_over(const struct parcel_wanted *wanted)
{
	return wanted->over;
}
