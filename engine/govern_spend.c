/* Daily rations: see govern_spend.h. */
#include "engine/govern_spend.h"

#include <stdio.h>
#include <time.h>

#include "engine/clock.h"

static const char *const way_words[GOVERN_WAYS] = { "reading from", "storing at" };

static int64_t wall_s(void)
{
	return clock_wall() / NSEC_SECOND;
}

static enum err raise_used_up(const struct account *account, enum govern_way way, int64_t free_s)
{
	time_t at = (time_t)free_s;
	char when[32] = "";
	struct tm utc;

	if (gmtime_r(&at, &utc))
		(void)!strftime(when, sizeof when, "%Y-%m-%d %H:%M", &utc);
	err_retry_after((free_s - wall_s() + 1) * NSEC_SECOND, ERR_OF_ACCOUNT);
	return RAISE(ERR_LIMIT_DAY, "%s %s may go on at %s UTC", way_words[way], account->shown,
		     when);
}

enum err spend_bytes(const struct account *account, enum govern_way way, uint64_t bytes)
{
	int64_t free_s;

	if (!account->govern)
		return OK;
	if (!govern_has_room(account->govern, way, bytes, wall_s(), &free_s))
		return raise_used_up(account, way, free_s);
	govern_spend(account->govern, way, bytes, wall_s());
	return OK;
}

enum err spend_look(const struct account *account, enum govern_way way)
{
	int64_t free_s;

	if (!account->govern || govern_has_room(account->govern, way, 1, wall_s(), &free_s))
		return OK;
	return raise_used_up(account, way, free_s);
}
