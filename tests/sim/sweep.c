/* Sweeps over the steps of a run. */
#include "tests/sim/sweep.h"

#include <stdlib.h>

#include "tests/sim/world_bucket.h"
#include "tests/test.h"

/* With SIM_ALL=1. */
enum { FIRSTS_MORE = 8, SECOND_CUTS_STEP = 7 };

/* Of each scenario of a table. */
enum {
	CUTS_USUAL = SANITIZED ? 3 : 7,
	FIRST_CUTS_NESTED = SANITIZED ? 1 : 2,
	SECOND_CUTS_USUAL = SANITIZED ? 1 : 2,
};

uint64_t sweep_asked(const char *variable)
{
	const char *value = getenv(variable);

	return value && *value ? strtoull(value, NULL, 10) : 0;
}

bool sweep_another_is_asked(const char *mine)
{
	static const char *const choices[] = {
		"CUT",	"KILL",	   "END",    "SHUT",  "DRAIN", "ROOM",	 "SHARED",  "SCENARIO",
		"RUNS", "CARRIER", "TARGET", "CARRY", "GMAIL", "BUCKET", "ACCIDENT"
	};

	for (unsigned i = 0; i < ARRAY_COUNT(choices); i++) {
		const char *value = getenv(choices[i]);

		if (value && *value && strcmp(choices[i], mine) != 0)
			return true;
	}
	return false;
}

uint64_t sweep_every(uint64_t count, uint64_t wanted)
{
	return count <= wanted ? 1 : (count + wanted - 1) / wanted;
}

uint64_t sweep_before(uint64_t k)
{
	return 1 + (k * 2654435761u >> 7) % k;
}

/* ---- what must hold ---- */

bool sweep_is_harmless(const struct world *world)
{
	const struct imap_model_counts *imap = &world->result->imap,
				       *target = &world->result->target;
	const struct imap_store_counts *store = &world->result->store;

	if (target->changes || target->unknown || store->broken) {
		printf("  the destination got %u commands that it should not, %u unknown ones "
		       "(\"%s\"), %u against its rules (\"%s\")\n",
		       target->changes, target->unknown, target->unknown_line, store->broken,
		       store->broken_what);
		return false;
	}
	if (world->bucket && !world_bucket_is_harmless(world->bucket))
		return false;
	if (imap->changes == 0 && imap->unknown == 0 && world->result->open_files == 0)
		return true;
	printf("  the server got %u commands that change it, %u unknown ones (\"%s\"); %u files "
	       "left open\n",
	       imap->changes, imap->unknown, imap->unknown_line, world->result->open_files);
	return false;
}

bool sweep_completes(struct world *world, const char *what)
{
	const struct world_result *result = world_copy(world);

	if (result->end == WORLD_FINISHED && result->error == OK && sweep_is_harmless(world))
		return true;
	world_show(world, what);
	return false;
}

/* A folder that was refused may be asked for again: that it still is is not known before. */
static bool asks_nothing(const struct world *world)
{
	const struct imap_store_counts *store = &world->result->store;
	bool may_ask = world->excused[0] && strcmp(world->excused[0], "SINK_BOX") == 0;
	unsigned fetches = world->result->imap.fetches;

	if (!store->appends && (may_ask || (!fetches && !store->creates && !store->subscribes)))
		return true;
	printf("  with nothing to do, %u FETCH commands were sent to the source, and %u APPEND, %u "
	       "CREATE, %u SUBSCRIBE to the destination\n",
	       fetches, store->appends, store->creates, store->subscribes);
	return false;
}

static uint64_t fingerprint(const struct world *world)
{
	return world->bucket && !world->bucket->is_source
		       ? world_bucket_fingerprint(world->bucket)
		       : disk_fingerprint(world->disk, world_archive_path);
}

bool sweep_has_nothing_to_do(struct world *world)
{
	uint64_t before = fingerprint(world);

	if (!sweep_completes(world, "the run with nothing to do") || !asks_nothing(world))
		return false;
	if (fingerprint(world) == before)
		return true;
	printf("  with nothing to do, the archive was changed\n");
	return false;
}

bool sweep_ends_well(struct world *world)
{
	if (!sweep_completes(world, "the next run"))
		return false;
	if (world->bucket && world_bucket_settle(world->bucket) &&
	    !sweep_completes(world, "the run after what came late"))
		return false;
	world_lose_power(world);
	return world_judge(world) && sweep_has_nothing_to_do(world);
}

/* Named one by one: whatever else a trouble ends in is a misunderstanding of ours. */
bool sweep_is_excused(enum err e)
{
	static const enum err excused[] = { OK,
					    ERR_DISK_FULL,
					    ERR_DISK_IO,
					    ERR_NET_REFUSED,
					    ERR_NET_TIMEOUT,
					    ERR_NET_CLOSED,
					    ERR_NET_RESET,
					    ERR_TLS_CUT,
					    ERR_S3_UNAVAILABLE,
					    ERR_S3_THROTTLED,
					    ERR_S3_FULL,
					    ERR_AWS_EXPIRED,
					    ERR_FIBER_TIMEOUT,
					    ERR_FIBER_CANCELED,
					    ERR_IMAP_UNAVAILABLE,
					    ERR_IMAP_THROTTLED,
					    ERR_SINK_QUOTA,
					    ERR_IMAP_BYE };

	for (unsigned i = 0; i < ARRAY_COUNT(excused); i++)
		if (e == excused[i])
			return true;
	return false;
}

/* ---- cuts ---- */

void sweep_open(struct sweep *sweep, const struct scenario *scenario, struct world *world,
		const char *variable)
{
	*sweep = (struct sweep){ .scenario = scenario,
				 .variable = variable,
				 .world = world,
				 .only = sweep_asked(variable),
				 .only_second = sweep_asked("CUT2") };
	sweep->start = world_mark(world);
	CHECK(sweep_completes(world, "a run that is not cut"));
	sweep->steps = world->result->steps;
	world_back(world, &sweep->start);
}

void sweep_close(struct sweep *sweep)
{
	world_mark_free(&sweep->start);
	world_close(&sweep->world);
}

static void tell_failure(struct sweep *sweep, uint64_t first, uint64_t second)
{
	const char *name = sweep->scenario->name;

	sweep->failures++;
	printf("  repeat: make sim SEED=%llu", (unsigned long long)sweep->world->seed);
	if (name)
		printf(" SCENARIO=%s", name);
	printf(" %s=%llu", sweep->variable, (unsigned long long)first);
	if (second)
		printf(" CUT2=%llu", (unsigned long long)second);
	printf("\n");
}

/* Cut the next process before step k. False: it went wrong in another way. */
static bool cut(struct world *world, uint64_t k, bool may_fail)
{
	world_cut_at(world, k);
	world_copy(world);
	if (world->result->end == WORLD_CUT ||
	    (world->result->end == WORLD_FINISHED &&
	     (world->result->error == OK || (may_fail && sweep_is_excused(world->result->error)))))
		return true;
	world_show(world, "the run to be cut");
	return false;
}

/* The first run, cut at k, and what happens until the next one. */
static bool cut_first(struct sweep *sweep, uint64_t k)
{
	const struct scenario *scenario = sweep->scenario;
	struct world *world = sweep->world;

	world_back(world, &sweep->start);
	if (scenario->trouble)
		scenario->trouble(world, k);
	if (scenario->meanwhile) {
		world->happens = scenario->meanwhile;
		world->happens_at = sweep_before(k);
	}
	if (!cut(world, scenario->is_uncut ? 0 : k, scenario->trouble != NULL))
		return false;
	if (scenario->between)
		scenario->between(world);
	return true;
}

static void cut_once(struct sweep *sweep, uint64_t k)
{
	sweep->made++;
	if (!cut_first(sweep, k) || !sweep_ends_well(sweep->world))
		tell_failure(sweep, k, 0);
}

void sweep_cuts(struct sweep *sweep, uint64_t usual)
{
	uint64_t step = sweep_asked("SIM_ALL") ? 1 : sweep_every(sweep->steps, usual);

	for (uint64_t k = 1 + sweep->world->seed % step; k <= sweep->steps; k += step)
		if (!sweep->only && sweep->failures < FAILURES_MAX)
			cut_once(sweep, k);
	if (sweep->only && !sweep->only_second)
		cut_once(sweep, sweep->only);
	CHECK_EQ(sweep->failures, 0);
	CHECK(sweep->made > 0 || sweep->only_second);
}

static void cut_twice(struct sweep *sweep, const struct world_mark *after_first, uint64_t first,
		      uint64_t second)
{
	world_back(sweep->world, after_first);
	sweep->made++;
	if (!cut(sweep->world, second, false) || !sweep_ends_well(sweep->world))
		tell_failure(sweep, first, second);
}

/* Cut at `first`, see how long the recovery is, and cut that in many places. */
static void cut_in_recovery(struct sweep *sweep, uint64_t first, uint64_t seconds)
{
	struct world *world = sweep->world;
	struct world_mark mark;
	uint64_t steps, step;

	if (!cut_first(sweep, first)) {
		tell_failure(sweep, first, 0);
		return;
	}
	mark = world_mark(world);
	if (sweep->only_second) {
		cut_twice(sweep, &mark, first, sweep->only_second);
	} else if (sweep_completes(world, "the run after the cut")) {
		steps = world->result->steps;
		step = sweep_asked("SIM_ALL") ? SECOND_CUTS_STEP : sweep_every(steps, seconds);
		for (uint64_t j = 1 + first % step; j <= steps; j += step)
			if (sweep->failures < FAILURES_MAX)
				cut_twice(sweep, &mark, first, j);
	} else {
		tell_failure(sweep, first, 0);
	}
	world_mark_free(&mark);
}

void sweep_second_cuts(struct sweep *sweep, uint64_t firsts, uint64_t seconds)
{
	uint64_t step =
		sweep_every(sweep->steps, sweep_asked("SIM_ALL") ? FIRSTS_MORE * firsts : firsts);

	for (uint64_t k = 1 + sweep->world->seed % step; k <= sweep->steps; k += step)
		if (!sweep->only && sweep->failures < FAILURES_MAX)
			cut_in_recovery(sweep, k, seconds);
	if (sweep->only && sweep->only_second)
		cut_in_recovery(sweep, sweep->only, seconds);
	CHECK_EQ(sweep->failures, 0);
}

/* ---- tables of scenarios ---- */

static bool is_asked(const char *name)
{
	const char *asked = getenv("SCENARIO");

	return asked && strcmp(asked, name) == 0;
}

void sweep_scenario(const struct scenario *scenario)
{
	struct world *world;
	struct sweep sweep;
	uint64_t cuts;

	if (!is_asked(scenario->name) && sweep_another_is_asked(""))
		SKIP("another accident is to be repeated");
	world = world_open(world_seed(SEED_USUAL));
	scenario->fill(world);
	sweep_open(&sweep, scenario, world, "CUT");
	sweep_cuts(&sweep, CUTS_USUAL);
	cuts = sweep.made;
	sweep_second_cuts(&sweep, FIRST_CUTS_NESTED, SECOND_CUTS_USUAL);
	printf("  %s: %llu of %llu cuts made, %llu second ones; SIM_ALL=1 makes all\n",
	       scenario->name, (unsigned long long)cuts, (unsigned long long)sweep.steps,
	       (unsigned long long)(sweep.made - cuts));
	sweep_close(&sweep);
}
