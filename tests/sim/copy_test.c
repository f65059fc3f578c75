/* The main job in the simulated world: whatever happens to it and whenever, after the next run
 * every message is in the archive once and whole, and a third run finds nothing to do.
 *
 *	make sim                          the usual seed, every so many-th cut (it says how many)
 *	SIM_ALL=1 make sim                every cut, and every seventh of the second cuts
 *	make sim SEED=7 CUT=123           that cut alone
 *	make sim SEED=7 CUT=123 CUT2=45   and a second one while the next run recovers from it
 *	make sim SEED=7 KILL=123          the process alone is cut, the power after the next run
 *	make sim SEED=7 SHARED=123        the cut of a run with two conversations
 *	make sim SEED=7 END=5000          the first connection ends after that many bytes
 *	make sim SEED=7 SHUT=5000         the same, and the way back is outside of the policy
 *	make sim SEED=7 DRAIN=99          an orderly end is asked for at that step
 *	make sim SEED=7 ROOM=400          so many KiB of disk
 *	SIM_LOG=1 ...                     with the log of the processes */
#include <stdlib.h>

#include "tests/sim/sweep.h"
#include "tests/test.h"
#include "transport/residency.h"

enum {
	CUTS_USUAL = SANITIZED ? 50 : 120,	/* about; SIM_ALL=1 makes all */
	FIRST_CUTS_NESTED = SANITIZED ? 8 : 24, /* first cuts that are followed by second ones, */
	SECOND_CUTS_USUAL = 10,			/* by about so many each, */
	CUTS_SHARED = SANITIZED ? 40 : 120,	/* where two conversations share a mailbox */
	ENDS_USUAL = 40,
	DRAINS_USUAL = 40,
	ROOM_KIB_MAX = 700, /* enough for the whole archive */
};

static struct world *filled_world(void)
{
	struct world *world = world_open(world_seed(SEED_USUAL));

	world_fill(world);
	return world;
}

/* So much in so many folders that two conversations share it. */
static struct world *busy_world(void)
{
	static const char *const names[] = { "A", "B", "C", "D", "E", "F", "G", "H", "I" };
	struct world *world = world_open(world_seed(SEED_USUAL));
	struct buffer mail = { 0 };

	world->connections = 2;
	for (unsigned i = 0; i < ARRAY_COUNT(names); i++) {
		struct imap_model_box *box =
			imap_model_add_box(&world->imap, names[i], names[i], "");

		for (unsigned k = 0; k < 16; k++) {
			world_make_mail(world, names[i], k == 7 ? 70000 : 300 + k, &mail);
			(void)imap_model_add_message(box, "", "02-Feb-2022 22:22:22 +0200", mail.at,
						     mail.bytes);
			buffer_reset(&mail);
		}
	}
	buffer_free(&mail);
	return world;
}

/* ---- without accidents ---- */

TEST(a_copy_moves_every_message_once_and_a_second_one_does_nothing)
{
	ONLY_FOR("");
	for (uint64_t seed = 1; seed <= 10; seed++) {
		struct world *world = world_open(seed);

		world_fill(world);
		CHECK(sweep_ends_well(world));
		world_close(&world);
	}
}

TEST(a_server_with_few_capabilities_is_copied_as_well)
{
	struct world *world;

	ONLY_FOR("");
	world = filled_world();
	world->imap.capabilities = imap_model_capabilities_plain;
	CHECK(sweep_ends_well(world));
	world_close(&world);
}

TEST(new_mail_is_added_to_what_is_there)
{
	struct world *world;
	struct buffer mail = { 0 };

	ONLY_FOR("");
	world = filled_world();
	CHECK(sweep_ends_well(world));
	world_make_mail(world, "new", 2000, &mail);
	(void)imap_model_add_message(&world->imap.boxes[1], "\\Seen", "02-Feb-2022 22:22:22 +0200",
				     mail.at, mail.bytes);
	buffer_free(&mail);
	CHECK(sweep_completes(world, "the run after the new mail"));
	CHECK_EQ(world->result->imap.messages_sent, 1);
	CHECK(world_judge(world));
	CHECK(sweep_has_nothing_to_do(world));
	world_close(&world);
}

/* ---- the power is cut ---- */

static void tell_made(const struct sweep *sweep, const char *what)
{
	printf("  %u of %llu %s made; SIM_ALL=1 makes all\n", sweep->made,
	       (unsigned long long)sweep->steps, what);
}

static const struct scenario no_scenario;

TEST(a_power_cut_at_any_step_loses_nothing_and_doubles_nothing)
{
	struct sweep sweep;

	ONLY_FOR("CUT");
	if (sweep_asked("CUT2"))
		SKIP("CUT2 asks for the other sweep");
	sweep_open(&sweep, &no_scenario, filled_world(), "CUT");
	sweep_cuts(&sweep, CUTS_USUAL);
	tell_made(&sweep, "cuts");
	sweep_close(&sweep);
}

TEST(two_conversations_with_one_mailbox_cut_at_any_step_lose_nothing_and_double_nothing)
{
	struct sweep sweep;

	ONLY_FOR("SHARED");
	sweep_open(&sweep, &no_scenario, busy_world(), "SHARED");
	CHECK_EQ(sweep.world->result->imap.connections, 2);
	sweep_cuts(&sweep, CUTS_SHARED);
	tell_made(&sweep, "cuts of two conversations");
	sweep_close(&sweep);
}

/* What the killed run left unsynced, and the next one found in its place, must be made durable by
 * that one before it relies on it. */
TEST(a_killed_run_and_a_power_cut_after_the_next_one_lose_nothing)
{
	struct sweep sweep;

	ONLY_FOR("KILL");
	sweep_open(&sweep, &no_scenario, filled_world(), "KILL");
	sweep.world->cuts_kill = true;
	sweep_cuts(&sweep, CUTS_USUAL);
	tell_made(&sweep, "kills");
	sweep_close(&sweep);
}

TEST(a_second_power_cut_during_recovery_loses_nothing_and_doubles_nothing)
{
	struct sweep sweep;

	ONLY_FOR("CUT");
	if (sweep_asked("CUT") && !sweep_asked("CUT2"))
		SKIP("CUT without CUT2 asks for the other sweep");
	sweep_open(&sweep, &no_scenario, filled_world(), "CUT");
	sweep_second_cuts(&sweep, FIRST_CUTS_NESTED, SECOND_CUTS_USUAL);
	CHECK(sweep.made > 0);
	printf("  %u second cuts made; SIM_ALL=1 makes more\n", sweep.made);
	sweep_close(&sweep);
}

/* ---- other accidents ---- */

/* One accident of a scenario, chosen by a number: what happens, in the world as it was at the
 * start. */
typedef bool accident(struct world *, uint64_t value);

static void try_accident(struct world *world, const struct world_mark *start, accident *happens,
			 const char *name, uint64_t value)
{
	world_back(world, start);
	if (happens(world, value))
		return;
	test_failed(__FILE__, __LINE__, "repeat: make sim SEED=%llu %s=%llu",
		    (unsigned long long)world->seed, name, (unsigned long long)value);
}

/* The one that is asked for, or `count` of them, given by `value_of`. */
static void try_accidents(struct world *world, accident *happens, const char *name, unsigned count,
			  uint64_t (*value_of)(const struct world *, unsigned index))
{
	struct world_mark start = world_mark(world);

	if (sweep_asked(name))
		try_accident(world, &start, happens, name, sweep_asked(name));
	for (unsigned i = 0; i < count && !sweep_asked(name); i++)
		try_accident(world, &start, happens, name, value_of(world, i));
	world_mark_free(&start);
}

static void end_first_connection(struct world *world, uint64_t after)
{
	world->imap.end_count = 1;
	world->imap.end_after = after;
	world->imap.end_how = after % 2 ? NET_RESETS : NET_CLOSES;
}

static bool connection_ends(struct world *world, uint64_t after)
{
	bool good;

	end_first_connection(world, after);
	good = sweep_completes(world, "the run with the lost connection") && world_judge(world);
	world->imap.end_count = 0;
	return good && sweep_has_nothing_to_do(world);
}

/* Close by one another in the dialogue at the beginning, then spread over the messages. */
static uint64_t end_at(const struct world *world, unsigned index)
{
	uint64_t all = 0;

	for (unsigned b = 0; b < world->imap.boxes_count; b++)
		for (unsigned m = 0; m < world->imap.boxes[b].messages_count; m++)
			all += world->imap.boxes[b].messages[m].length;
	return index < ENDS_USUAL / 2 ? 1 + index * 101
				      : 3000 + all * index / ENDS_USUAL + index % 2;
}

TEST(a_connection_that_ends_at_any_byte_costs_a_reconnect_and_nothing_else)
{
	struct world *world;

	ONLY_FOR("END");
	world = filled_world();
	try_accidents(world, connection_ends, "END", ENDS_USUAL, end_at);
	world_close(&world);
}

/* The residency policy, which a process has from its start, comes over it: whoever connects anew
 * finds the way shut, as if the host's name led elsewhere by then. */
static struct residency *policy;

static void way_is_shut(struct world *world)
{
	(void)world;
	must(residency_open(&policy) == OK);
	must(residency_add(policy, RESIDENCY_ADDRESSES, "192.0.2.0/24") == OK);
	residency_set(policy);
}

static unsigned ways_shut, ways_shut_midway;

static bool way_leads_outside(struct world *world, uint64_t after)
{
	enum err e;

	end_first_connection(world, after);
	world->happens = way_is_shut;
	world->happens_at = 1 + after % 457; /* of some 460 steps */
	world_copy(world);
	residency_set(NULL); /* what happened to that process is carried over to us */
	residency_close(&policy);
	world->imap.end_count = 0;
	e = world->result->error;
	ways_shut += e == ERR_RESIDENCY_ENDPOINT;
	ways_shut_midway += e && world->result->imap.messages_sent > 0;
	if (world->result->end != WORLD_FINISHED || (e && e != ERR_RESIDENCY_ENDPOINT)) {
		printf("  it ended with %s: %s\n", e ? err_name(e) : "?", world->result->note);
		return false;
	}
	return sweep_completes(world, "the run behind it") && world_judge(world) &&
	       sweep_has_nothing_to_do(world);
}

TEST(a_way_that_leads_outside_the_residency_policy_ends_the_run_and_loses_nothing)
{
	struct world *world;

	ONLY_FOR("SHUT");
	world = filled_world();
	try_accidents(world, way_leads_outside, "SHUT", ENDS_USUAL, end_at);
	CHECK(ways_shut_midway > 0 || sweep_asked("SHUT"));
	printf("  %u runs ended so, %u in the middle\n", ways_shut, ways_shut_midway);
	world_close(&world);
}

TEST(a_server_that_refuses_for_a_while_is_asked_again)
{
	struct world *world;

	ONLY_FOR("");
	world = filled_world();
	world->imap.refuse_fetches = 1; /* in each process */
	CHECK(sweep_completes(world, "the run with a refused FETCH"));
	world->imap.refuse_fetches = 0;
	CHECK(world_judge(world));
	CHECK(sweep_has_nothing_to_do(world));
	world_close(&world);
}

TEST(a_wrong_password_changes_nothing_anywhere)
{
	struct world *world;

	ONLY_FOR("");
	world = filled_world();
	world->imap.password_wanted = "another";
	world_copy(world);
	CHECK_EQ(world->result->end, WORLD_FINISHED);
	CHECK_EQ(world->result->error, ERR_IMAP_LOGIN);
	CHECK_EQ(world->result->imap.logins, 0);
	CHECK(sweep_is_harmless(world));
	world->imap.password_wanted = NULL;
	CHECK(sweep_ends_well(world));
	world_close(&world);
}

static bool drains(struct world *world, uint64_t step)
{
	world->drain_after = (unsigned)step;
	world_copy(world);
	world->drain_after = 0;
	if (world->result->end == WORLD_FINISHED && sweep_is_harmless(world) &&
	    (world->result->error == OK || world->result->error == ERR_FIBER_CANCELED))
		return sweep_ends_well(world);
	world_show(world, "the drained run");
	return false;
}

static uint64_t drain_at(const struct world *world, unsigned index)
{
	(void)world;
	return 1 + index * 11;
}

TEST(a_drain_at_any_step_ends_orderly_and_the_next_run_goes_on)
{
	struct world *world;

	ONLY_FOR("DRAIN");
	world = filled_world();
	try_accidents(world, drains, "DRAIN", DRAINS_USUAL, drain_at);
	world_close(&world);
}

static bool disk_is_full(struct world *world, uint64_t kilobytes)
{
	disk_limit(world->disk, kilobytes * 1024);
	world_copy(world);
	disk_limit(world->disk, 0);
	if (world->result->end != WORLD_FINISHED || !sweep_is_harmless(world) ||
	    (world->result->error != ERR_DISK_FULL && kilobytes < ROOM_KIB_MAX / 4) ||
	    (world->result->error != ERR_DISK_FULL && world->result->error != OK)) {
		world_show(world, "the run on a full disk");
		return false;
	}
	return sweep_ends_well(world);
}

static uint64_t room(const struct world *world, unsigned index)
{
	(void)world;
	return index < 10 ? 4 + index * 12 : 100 + (index - 9) * 60;
}

TEST(a_full_disk_ends_the_run_and_freed_space_lets_the_next_one_complete)
{
	struct world *world;

	ONLY_FOR("ROOM");
	world = filled_world();
	try_accidents(world, disk_is_full, "ROOM", 20, room);
	world_close(&world);
}
