/* Ranges of keys that a source failed in. The next attempt asks for a suspect in PLAN_NARROW
 * pieces, and so on down to single messages; one that still fails alone is hopeless. Pure: no
 * ledger, no source. */
#ifndef MAILHAUL_SUSPECT_H
#define MAILHAUL_SUSPECT_H

#include "engine/err.h"
#include "engine/limits.h"

struct suspect {
	uint64_t box_no, first, last;
	unsigned failures;
	enum err fate;
	unsigned attempt; /* in which it was seen last */
	bool left;	  /* not asked for again in this run */
};

/* Zero-initialised is valid and empty. */
struct suspects {
	struct suspect items[PLAN_SUSPECTS_MAX];
	unsigned count;
	unsigned attempt;
	bool narrowed; /* in this attempt a suspicion is new or narrower than before */
};

/* [first, last] failed as asked. `fate` of class SKIP_MSG: it was refused, which is certain, so it
 * stands for itself. ERR_SOURCE_POISON: the conversation ended in it; it replaces the wider
 * suspicion. */
void suspects_add(struct suspects *, uint64_t box_no, uint64_t first, uint64_t last, enum err fate);
/* Cut [first, *last] so that it does not mix suspect and unsuspected keys, and takes only a piece
 * of a suspect. The narrowest suspicion over `first` decides; it is returned, NULL for none,
 * borrowed until the next call. */
const struct suspect *suspects_cut(const struct suspects *, uint64_t box_no, uint64_t first,
				   uint64_t *last);
/* A single message that is gone, or that failed PLAN_POISON_FAILURES times: a server in trouble may
 * refuse now what it hands out in a minute. */
bool suspect_is_hopeless(const struct suspect *);
/* Leave it alone from now on: it stays in the table. True: it was not left yet. */
bool suspects_leave(struct suspects *, const struct suspect *);
/* Suspicion that the attempt which ends did not renew is cleared, but for what was left. */
void suspects_next_attempt(struct suspects *);

#endif
