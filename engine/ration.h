/* A daily ration of bytes: how many passed in the last 24 hours, and when there is room again. A
 * value with pure functions; the clock is the wall's, in seconds, because a ration outlives the
 * process.
 *
 * The 24 hours roll: providers do not say when their day begins, and whoever stays within a ration
 * in every 24 hours stays within it in every day, wherever it begins. Time is cut into slots of two
 * hours, a slot is forgotten when the whole of it lies more than a day back; so a byte may count
 * for up to 26 hours, never for less than 24. A clock that was put back does not give anything
 * back: what lies in its future counts as of now. */
#ifndef MAILHAUL_RATION_H
#define MAILHAUL_RATION_H

#include "engine/base.h"

enum { RATION_SLOT_S = 7200, RATION_DAY_S = 86400, RATION_SLOTS = 13, RATION_TEXT_BYTES = 200 };

struct ration {
	uint64_t bytes_a_day;	      /* 0: unbounded */
	int64_t slot;		      /* the newest: its number since 1970 */
	uint64_t spent[RATION_SLOTS]; /* the newest first */
};

void ration_init(struct ration *, uint64_t bytes_a_day);
/* Bytes pass; counted also where it is unbounded. */
void ration_spend(struct ration *, uint64_t bytes, int64_t wall_s);
/* In the last 24 hours, rounded up to slots. */
uint64_t ration_spent(const struct ration *, int64_t wall_s);
/* Is there room for so many more? If not, *free_s says from when on there is. What is larger than a
 * whole ration passes when nothing else did, or it never would. */
bool ration_has_room(const struct ration *, uint64_t bytes, int64_t wall_s, int64_t *free_s);

/* As a line for the ledger: "slot=N spent=a,b,c". "" where nothing is spent. */
void ration_save(const struct ration *, int64_t wall_s, char to[RATION_TEXT_BYTES]);
/* Into an initialised one. False, and nothing is known, where the text is none. */
bool ration_load(struct ration *, const char *text, int64_t wall_s);

#endif
