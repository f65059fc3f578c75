/* See archive_hold.h. A hold is a store that is locked and not written to. */
#include "transport/archive_hold.h"

#include <stdlib.h>

#include "engine/clock.h"
#include "engine/fiber.h"
#include "transport/archive_mark.h"

#define RELEASE_NS (60 * NSEC_SECOND)

struct archive_hold {
	struct store *store;
};

enum err archive_hold(const struct account *account, const uint8_t *ledger_id, nsec until,
		      struct archive_hold **out)
{
	struct archive_hold *hold = calloc(1, sizeof *hold);
	bool found;
	enum err e;

	*out = hold;
	if (!hold)
		return RAISE(ERR_MEMORY_EXHAUSTED, "opening %s", account->shown);
	if ((e = store_open(&hold->store, account, true, until)) ||
	    (e = archive_mark_check(hold->store, account->shown, ledger_id, &found)) ||
	    (e = archive_mark_claim(hold->store, account->shown, ledger_id)))
		archive_release(out);
	return e;
}

void archive_release(struct archive_hold **hold_at)
{
	struct archive_hold *hold = *hold_at;

	*hold_at = NULL;
	if (!hold)
		return;
	if (hold->store && hold->store->type->finish) {
		fiber_shield();
		hold->store->type->finish(hold->store, clock_after(RELEASE_NS));
		fiber_unshield();
	}
	if (hold->store)
		hold->store->type->close(&hold->store);
	free(hold);
}
