/* What a peer that slows us down makes of us, under a clock made of numbers. */
#include "tests/test.h"

#include <limits.h>
#include <stdlib.h>

#include "engine/backoff.h"
#include "engine/clock.h"

#define MINUTE (60 * NSEC_SECOND)

/* Random enough, and the same in each run (Knuth's MMIX constants). */
static uint64_t next_random(uint64_t *state)
{
	*state = *state * 6364136223846793005u + 1442695040888963407u;
	return *state >> 11;
}

static struct backoff fresh(unsigned limit_max)
{
	struct backoff b;

	backoff_init(&b, limit_max);
	return b;
}

/* ---- the rest ---- */

TEST(what_was_never_throttled_may_start_up_to_its_limit)
{
	struct backoff b = fresh(3);
	nsec when;

	CHECK(backoff_may_start(&b, 0, 0, &when));
	CHECK(backoff_may_start(&b, 0, 2, &when));
	CHECK(!backoff_may_start(&b, 0, 3, &when));
	CHECK(when == DEADLINE_NEVER);
	backoff_started(&b, 0);
	CHECK(backoff_may_start(&b, 0, 1, &when));
}

/* Longest rest after event number `failures` over many throws. */
static nsec longest_rest(unsigned failures)
{
	uint64_t random = 1;
	nsec longest = 0;

	for (int round = 0; round < 300; round++) {
		struct backoff b = fresh(10);

		b.failures = failures - 1;
		CHECK(backoff_throttled(&b, 5, 6, 1, 0, next_random(&random)));
		CHECK(b.not_before >= 6);
		longest = b.not_before - 6 > longest ? b.not_before - 6 : longest;
	}
	return longest;
}

TEST(rests_double_from_one_second_to_a_quarter_of_an_hour_with_full_jitter)
{
	nsec bound = NSEC_SECOND;

	for (unsigned failures = 1; failures <= 14; failures++) {
		nsec longest = longest_rest(failures);

		CHECK(longest <= bound);
		CHECK(longest > bound / 10 * 9);
		bound = min_nsec(2 * bound, 15 * MINUTE);
	}
	CHECK(longest_rest(1000000) <= 15 * MINUTE);
}

TEST(a_suggested_time_is_a_floor_with_a_tenth_of_jitter)
{
	nsec suggested = 300 * NSEC_SECOND, latest = 0, when;
	uint64_t random = 7;

	for (int round = 0; round < 300; round++) {
		struct backoff b = fresh(10);

		backoff_throttled(&b, 0, 10, 4, suggested, next_random(&random));
		CHECK(b.not_before >= 10 + suggested);
		CHECK(b.not_before <= 10 + suggested / 10 * 11);
		CHECK(!backoff_may_start(&b, 9 + suggested, 0, &when));
		CHECK(when == b.not_before);
		CHECK(backoff_may_start(&b, when, 0, &when));
		latest = b.not_before > latest ? b.not_before : latest;
	}
	CHECK(latest > 10 + suggested / 100 * 109);
}

TEST(no_peer_sends_us_away_for_more_than_a_day)
{
	struct backoff b = fresh(10);

	backoff_throttled(&b, 0, 0, 1, INT64_MAX, UINT64_MAX);
	CHECK(b.not_before <= BACKOFF_SUGGESTED_MAX / 10 * 11);
}

/* ---- events ---- */

TEST(a_burst_of_refusals_is_one_event)
{
	struct backoff b = fresh(100);
	nsec rest;

	CHECK(backoff_throttled(&b, 100, 200, 80, 0, 12345));
	CHECK_EQ(b.limit, 40);
	rest = b.not_before;
	for (nsec began = 101; began < 150; began++)
		CHECK(!backoff_throttled(&b, began, 200 + began, 70, 0, 12345));
	CHECK_EQ(b.failures, 1);
	CHECK_EQ(b.limit, 40);
	CHECK_EQ(b.not_before, rest);
}

TEST(a_later_suggestion_of_the_same_burst_is_heard)
{
	struct backoff b = fresh(100);

	backoff_throttled(&b, 1, 10, 50, 0, 0);
	CHECK(!backoff_throttled(&b, 2, 11, 49, MINUTE, 0));
	CHECK_EQ(b.not_before, 11 + MINUTE);
	CHECK(!backoff_throttled(&b, 3, 12, 48, NSEC_SECOND, 0));
	CHECK_EQ(b.not_before, 11 + MINUTE);
	CHECK_EQ(b.failures, 1);
}

TEST(the_first_throttling_of_all_counts_at_the_clocks_zero)
{
	struct backoff b = fresh(8);

	CHECK(backoff_throttled(&b, 0, 0, 8, 0, 0));
	CHECK_EQ(b.limit, 4);
}

TEST(what_worked_before_the_throttling_says_nothing_of_it)
{
	struct backoff b = fresh(8);

	backoff_throttled(&b, 5, 10, 8, 0, 0);
	backoff_worked(&b, 4, 20);
	backoff_worked(&b, 10, 20); /* began while it was refused */
	CHECK_EQ(b.failures, 1);
	backoff_worked(&b, 11, 20);
	CHECK_EQ(b.failures, 0);
}

/* ---- the limit ---- */

TEST(half_of_what_was_in_use_and_one_alone_was_not_too_many)
{
	struct backoff b = fresh(UINT_MAX);

	backoff_throttled(&b, 1, 2, 50, 0, 0);
	CHECK_EQ(b.limit, 25);
	backoff_throttled(&b, 3, 4, 200, 0, 0); /* more than allowed are open still */
	CHECK_EQ(b.limit, 12);
	backoff_throttled(&b, 5, 6, 1, 0, 0);
	backoff_throttled(&b, 7, 8, 0, 0, 0);
	CHECK_EQ(b.limit, 12);
	for (nsec t = 9; t < 30; t += 2)
		backoff_throttled(&b, t, t + 1, 12, 0, 0);
	CHECK_EQ(b.limit, 1);
}

TEST(each_quiet_period_of_work_adds_one_up_to_the_configured)
{
	struct backoff b = fresh(6);
	nsec now = 2;

	backoff_throttled(&b, 1, now, 6, 0, 0);
	CHECK_EQ(b.limit, 3);
	backoff_worked(&b, 3, now + BACKOFF_QUIET - 1);
	CHECK_EQ(b.limit, 3);
	for (int i = 0; i < 100; i++) /* all the work of one period is one */
		backoff_worked(&b, 3, now + BACKOFF_QUIET);
	CHECK_EQ(b.limit, 4);
	for (int i = 2; i < 10; i++)
		backoff_worked(&b, 3, now + i * BACKOFF_HOLD);
	CHECK_EQ(b.limit, 6);
}

TEST(the_number_refused_last_is_tried_again_seldom_and_passed_quickly)
{
	struct backoff b = fresh(100);
	nsec now = 2;

	backoff_throttled(&b, 1, now, 10, 0, 0);
	for (unsigned limit = 6; limit <= 9; limit++) {
		backoff_worked(&b, 3, now += BACKOFF_QUIET);
		CHECK_EQ(b.limit, limit);
	}
	for (unsigned limit = 10; limit <= 11; limit++) {
		backoff_worked(&b, 3, now + BACKOFF_HOLD - 1);
		CHECK_EQ(b.limit, limit - 1);
		backoff_worked(&b, 3, now += BACKOFF_HOLD);
		CHECK_EQ(b.limit, limit);
	}
	backoff_worked(&b, 3, now += BACKOFF_QUIET);
	CHECK_EQ(b.limit, 12);
}

TEST(work_that_goes_on_during_a_rest_adds_nothing)
{
	struct backoff b = fresh(10);

	backoff_throttled(&b, 1, 2, 10, 10 * MINUTE, 0);
	backoff_worked(&b, 0, 5 * MINUTE);
	CHECK_EQ(b.limit, 5);
}

TEST(after_a_rest_one_a_second_asks_until_one_works)
{
	struct backoff b = fresh(100);
	nsec when, now;

	backoff_throttled(&b, 1, 2, 100, 0, 12345);
	now = b.not_before;
	CHECK(backoff_may_start(&b, now, 0, &when));
	backoff_started(&b, now);
	CHECK(!backoff_may_start(&b, now, 1, &when));
	CHECK_EQ(when, now + NSEC_SECOND);
	CHECK(backoff_may_start(&b, when, 1, &when));
	backoff_worked(&b, now, now + NSEC_SECOND);
	backoff_started(&b, now + NSEC_SECOND);
	CHECK(backoff_may_start(&b, now + NSEC_SECOND, 2, &when));
}

/* ---- over restarts ---- */

TEST(rest_and_limit_survive_a_restart)
{
	struct backoff before = fresh(100), after = fresh(50);
	nsec wall = 1700000000 * NSEC_SECOND + 999, when;
	struct backoff_saved saved;

	backoff_throttled(&before, 1, 2, 40, 10 * MINUTE, 0);
	saved = backoff_save(&before, 3 * MINUTE, wall);
	CHECK(saved.not_before_wall_s >= 1700000000 + 7 * 60);
	CHECK(saved.not_before_wall_s <= 1700000000 + 7 * 60 + 1);
	CHECK_EQ(saved.limit, 20);
	CHECK_EQ(saved.failures, 1);

	/* Two minutes later, another boot of the machine. */
	backoff_load(&after, &saved, 77, wall + 2 * MINUTE);
	CHECK_EQ(after.limit, 20);
	CHECK_EQ(after.failures, 1);
	CHECK(!backoff_may_start(&after, 77 + 4 * MINUTE, 0, &when));
	CHECK(when >= 77 + 5 * MINUTE - NSEC_SECOND);
	CHECK(when <= 77 + 5 * MINUTE + NSEC_SECOND);
}

TEST(a_rest_that_is_over_and_a_limit_that_is_none_load_as_nothing)
{
	struct backoff before = fresh(30), after = fresh(10);
	nsec wall = 1700000000 * NSEC_SECOND, when;
	struct backoff_saved saved = backoff_save(&before, 5, wall);

	CHECK_EQ(saved.not_before_wall_s, 0);
	CHECK_EQ(saved.limit, 0);
	backoff_load(&after, &saved, 5, wall);
	CHECK(backoff_may_start(&after, 5, 9, &when));
	saved = (struct backoff_saved){ .not_before_wall_s = 1699999999, .limit = 25 };
	backoff_load(&after, &saved, 5, wall);
	CHECK_EQ(after.limit, 10); /* less was configured since */
	CHECK(backoff_may_start(&after, 5, 9, &when));
}

TEST(nonsense_from_a_ledger_is_cut_to_what_can_be)
{
	struct backoff_saved saved = { INT64_MAX, UINT_MAX, UINT_MAX };
	struct backoff b = fresh(10);

	backoff_load(&b, &saved, 1000, 1700000000 * NSEC_SECOND);
	CHECK(b.not_before <= 1000 + BACKOFF_SUGGESTED_MAX / 10 * 11);
	CHECK_EQ(b.limit, 10);
	backoff_throttled(&b, 2000, 3000, 5, 0, UINT64_MAX);
	CHECK(b.not_before <= 3000 + BACKOFF_SUGGESTED_MAX / 10 * 11);
	saved = (struct backoff_saved){ INT64_MIN, 0, 0 };
	b = fresh(10);
	backoff_load(&b, &saved, 1000, 1700000000 * NSEC_SECOND);
	CHECK_EQ(b.not_before, 0);
}

/* ---- long runs ---- */

enum { CLIENTS = 200, HOST_BEARS = 20 };

enum client_state { WAITING, CONNECTING, WORKING, ENDED };

/* Mailboxes against a host that bears so many connections, in steps of 50 ms. */
struct world {
	struct backoff backoff;
	struct {
		enum client_state state;
		nsec began, until;
	} client[CLIENTS];
	unsigned in_use, borne, host_bears, ended;
	uint64_t random;
	nsec now, work;
	bool again; /* an ended mailbox is followed by another */
	uint64_t attempts, refused, worked, work_done;
	unsigned refused_in_minute, refused_in_minute_max; /* after the first */
};

static struct world *world_open(unsigned host_bears, nsec work, bool again)
{
	struct world *world = calloc(1, sizeof *world);

	must(world);
	backoff_init(&world->backoff, CLIENTS);
	world->host_bears = host_bears;
	world->work = work;
	world->again = again;
	world->random = 42;
	return world;
}

static void world_start(struct world *world)
{
	nsec when;

	for (unsigned i = 0; i < CLIENTS; i++) {
		if (world->client[i].state != WAITING)
			continue;
		if (!backoff_may_start(&world->backoff, world->now, world->in_use, &when)) {
			CHECK(when > world->now);
			return;
		}
		backoff_started(&world->backoff, world->now);
		world->client[i].state = CONNECTING;
		world->client[i].began = world->now;
		world->client[i].until =
			world->now + 100 * NSEC_MILLISECOND +
			(nsec)(next_random(&world->random) % 400) * NSEC_MILLISECOND;
		world->in_use++;
		world->attempts++;
	}
}

static void world_answer(struct world *world, unsigned i)
{
	if (world->borne < world->host_bears) {
		world->borne++;
		world->worked++;
		world->client[i].state = WORKING;
		world->client[i].until =
			world->now + world->work / 2 +
			(nsec)(next_random(&world->random) % (uint64_t)world->work);
		backoff_worked(&world->backoff, world->client[i].began, world->now);
		return;
	}
	backoff_throttled(&world->backoff, world->client[i].began, world->now, world->in_use, 0,
			  next_random(&world->random));
	world->in_use--;
	world->refused++;
	world->refused_in_minute++;
	world->client[i].state = WAITING;
}

static void world_end(struct world *world, unsigned i)
{
	backoff_worked(&world->backoff, world->client[i].began, world->now);
	world->client[i].state = world->again ? WAITING : ENDED;
	world->ended += !world->again;
	world->in_use--;
	if (world->borne)
		world->borne--;
}

static void world_step(struct world *world)
{
	world->now += 50 * NSEC_MILLISECOND;
	if (world->now % MINUTE == 0) {
		if (world->now > MINUTE && world->refused_in_minute > world->refused_in_minute_max)
			world->refused_in_minute_max = world->refused_in_minute;
		world->refused_in_minute = 0;
	}
	for (unsigned i = 0; i < CLIENTS; i++) {
		if (world->client[i].until > world->now)
			continue;
		if (world->client[i].state == CONNECTING)
			world_answer(world, i);
		else if (world->client[i].state == WORKING)
			world_end(world, i);
	}
	world->work_done += world->borne;
	world_start(world);
}

static void world_run(struct world *world, nsec duration)
{
	nsec until = world->now + duration;

	while (world->now < until)
		world_step(world);
}

TEST(two_hundred_clients_of_a_host_for_twenty_settle_near_twenty)
{
	struct world *world = world_open(HOST_BEARS, 2 * MINUTE, true);
	uint64_t steps = 8 * 60 * 60 * 20; /* of 50 ms in eight hours */

	world_run(world, 10 * MINUTE);
	CHECK(world->refused <= CLIENTS + 10); /* the first wave, and then single ones */
	world->work_done = 0;
	world_run(world, 480 * MINUTE);
	printf("# borne on average %.1f of %d, %llu attempts, %llu refused, %u in a minute\n",
	       (double)world->work_done / (double)steps, HOST_BEARS,
	       (unsigned long long)world->attempts, (unsigned long long)world->refused,
	       world->refused_in_minute_max);
	CHECK(world->work_done > steps * HOST_BEARS * 85 / 100);
	CHECK(world->refused_in_minute_max <= 3);
	CHECK(world->refused < CLIENTS + world->worked / 10);
	free(world);
}

TEST(a_host_that_bears_all_is_used_in_full)
{
	struct world *world = world_open(CLIENTS, MINUTE, false);

	world_run(world, 3 * MINUTE);
	CHECK_EQ(world->ended, CLIENTS);
	CHECK_EQ(world->attempts, CLIENTS);
	free(world);
}

TEST(a_host_that_is_down_all_night_hears_from_us_every_few_minutes)
{
	struct world *world = world_open(0, MINUTE, true);

	world_run(world, 480 * MINUTE);
	printf("# %llu attempts in eight hours\n", (unsigned long long)world->attempts);
	/* The wave, the few on the way to a quarter of an hour, then on average one in 7.5 min. */
	CHECK(world->attempts > CLIENTS + 480 / 15);
	CHECK(world->attempts < CLIENTS + 2 * 480 / 7);
	CHECK(world->refused_in_minute_max <= 6);
	free(world);
}

TEST(a_host_that_comes_back_is_found_within_the_longest_rest)
{
	struct world *world = world_open(0, MINUTE, true);

	world_run(world, 240 * MINUTE);
	world->host_bears = CLIENTS;
	world_run(world, 16 * MINUTE);
	CHECK(world->worked > 0);
	CHECK_EQ(world->backoff.failures, 0);
	world_run(world, 240 * MINUTE);
	CHECK_EQ(world->backoff.limit, CLIENTS); /* far less than 199 quiet periods */
	free(world);
}

/* ---- told without being refused ---- */

TEST(a_refused_further_connection_sets_the_limit_and_rests_nobody)
{
	struct backoff b = fresh(8);
	nsec when;

	backoff_granted(&b, 3, MINUTE);
	CHECK_EQ(b.limit, 3);
	CHECK_EQ(b.failures, 0);
	CHECK(backoff_may_start(&b, MINUTE, 2, &when));
	CHECK(!backoff_may_start(&b, MINUTE, 3, &when));
	backoff_granted(&b, 5, MINUTE); /* nothing new: it is lower already */
	CHECK_EQ(b.limit, 3);
	backoff_granted(&b, 0, MINUTE);
	CHECK_EQ(b.limit, 1);
}

TEST(what_it_refused_is_tried_again_seldom)
{
	struct backoff b = fresh(8);

	backoff_granted(&b, 3, 0);
	backoff_worked(&b, 0, BACKOFF_HOLD - 1);
	CHECK_EQ(b.limit, 3);
	backoff_worked(&b, 0, BACKOFF_HOLD);
	CHECK_EQ(b.limit, 4);
}

TEST(a_rest_without_a_complaint_leaves_the_limit)
{
	struct backoff b = fresh(8);
	nsec when;

	backoff_rest(&b, 5 * MINUTE);
	backoff_rest(&b, 3 * MINUTE); /* never sooner */
	CHECK(!backoff_may_start(&b, 5 * MINUTE - 1, 0, &when));
	CHECK_EQ(when, 5 * MINUTE);
	CHECK(backoff_may_start(&b, 5 * MINUTE, 7, &when));
}
