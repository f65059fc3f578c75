/* Slots of two hours. Arithmetic only. */
#include "engine/ration.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Twelve digits: thirteen of them and the slot's number fit into RATION_TEXT_BYTES. */
static const uint64_t SLOT_BYTES_MAX = UINT64_C(999999999999);

void ration_init(struct ration *r, uint64_t bytes_a_day)
{
	*r = (struct ration){ .bytes_a_day = bytes_a_day };
}

static int64_t min_i64(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

static int64_t slot_of(int64_t wall_s)
{
	return wall_s < 0 ? 0 : wall_s / RATION_SLOT_S;
}

/* How many slots lie between the newest and now; a newest one in the future is now. */
static int64_t age(const struct ration *r, int64_t wall_s)
{
	int64_t now = slot_of(wall_s);

	return now > r->slot ? now - r->slot : 0;
}

static void roll(struct ration *r, int64_t wall_s)
{
	int64_t by = age(r, wall_s);

	for (int64_t i = RATION_SLOTS - 1; by && i >= 0; i--)
		r->spent[i] = i >= by ? r->spent[i - by] : 0;
	r->slot = slot_of(wall_s);
}

void ration_spend(struct ration *r, uint64_t bytes, int64_t wall_s)
{
	roll(r, wall_s);
	r->spent[0] = min_u64(SLOT_BYTES_MAX, r->spent[0] + min_u64(bytes, SLOT_BYTES_MAX));
}

/* Of the slots that are not older than `slots_from` on. */
static uint64_t spent_in(const struct ration *r, int64_t count)
{
	uint64_t sum = 0;

	for (int64_t i = 0; i < count; i++)
		sum += r->spent[i];
	return sum;
}

uint64_t ration_spent(const struct ration *r, int64_t wall_s)
{
	int64_t by = age(r, wall_s);

	return by >= RATION_SLOTS ? 0 : spent_in(r, RATION_SLOTS - by);
}

static bool fits(const struct ration *r, uint64_t spent, uint64_t bytes)
{
	return !spent || (spent <= r->bytes_a_day && bytes <= r->bytes_a_day - spent);
}

bool ration_has_room(const struct ration *r, uint64_t bytes, int64_t wall_s, int64_t *free_s)
{
	int64_t by = age(r, wall_s);

	*free_s = wall_s;
	if (!r->bytes_a_day || fits(r, ration_spent(r, wall_s), bytes))
		return true;
	do /* one more slot is forgotten at a time; with none left all fits */
		by++;
	while (by < RATION_SLOTS && !fits(r, spent_in(r, RATION_SLOTS - by), bytes));
	/* A clock that was put back: as if the newest slot were that of now. */
	*free_s = (min_i64(r->slot, slot_of(wall_s)) + by) * RATION_SLOT_S;
	return false;
}

void ration_save(const struct ration *r, int64_t wall_s, char to[RATION_TEXT_BYTES])
{
	size_t used;

	*to = '\0';
	if (!ration_spent(r, wall_s))
		return;
	used = (size_t)snprintf(to, RATION_TEXT_BYTES, "slot=%lld spent=", (long long)r->slot);
	for (int i = 0; i < RATION_SLOTS; i++)
		used += (size_t)snprintf(to + used, RATION_TEXT_BYTES - used, "%s%llu",
					 i ? "," : "", (unsigned long long)r->spent[i]);
	must(used < RATION_TEXT_BYTES);
}

static bool take(const char **at, const char *word, uint64_t *number)
{
	size_t bytes = strlen(word);
	char *end;

	if (strncmp(*at, word, bytes) != 0 || (*at)[bytes] < '0' || (*at)[bytes] > '9')
		return false;
	*number = strtoull(*at + bytes, &end, 10);
	*at = end;
	return true;
}

bool ration_load(struct ration *r, const char *text, int64_t wall_s)
{
	struct ration got = { .bytes_a_day = r->bytes_a_day };
	uint64_t slot, spent;

	memset(r->spent, 0, sizeof r->spent);
	r->slot = slot_of(wall_s);
	if (!take(&text, "slot=", &slot) || slot > (uint64_t)INT64_MAX / RATION_SLOT_S)
		return false;
	got.slot = (int64_t)slot;
	for (int i = 0; i < RATION_SLOTS; i++) {
		if (!take(&text, i ? "," : " spent=", &spent))
			return false;
		got.spent[i] = min_u64(spent, SLOT_BYTES_MAX);
	}
	if (*text)
		return false;
	*r = got;
	roll(r, wall_s);
	return true;
}
