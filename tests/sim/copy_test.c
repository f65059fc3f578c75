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
 *	make sim SEED=7 DRAIN=99          an orderly end is asked for at that step
 *	make sim SEED=7 ROOM=400          so many KiB of disk
 *	SIM_LOG=1 ...                     with the log of the processes */
#include <stdlib.h>

#include "tests/sim/world.h"
#include "tests/test.h"

/* Processes of a sanitized build live four times as long. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#define SANITIZED (__has_feature(address_sanitizer) || __has_feature(thread_sanitizer))
#else
#define SANITIZED 0
#endif

enum {
	SEED_USUAL = 7,
	FAILURES_MAX = 3,			/* told in full; then the test ends */
	CUTS_USUAL = SANITIZED ? 150 : 700,	/* about; SIM_ALL=1 makes all */
	FIRST_CUTS_NESTED = SANITIZED ? 8 : 24, /* first cuts that are followed by second ones, */
	SECOND_CUTS_USUAL = 10,			/* by about so many each, */
	SECOND_CUTS_STEP = 7,			/* with SIM_ALL=1 every seventh */
	CUTS_SHARED = SANITIZED ? 40 : 200,	/* where two conversations share a mailbox */
	ENDS_USUAL = 40,
	DRAINS_USUAL = 40,
	ROOM_KIB_MAX = 700, /* enough for the whole archive */
};

static uint64_t from_environment(const char *name)
{
	const char *value = getenv(name);

	return value && *value ? strtoull(value, NULL, 10) : 0;
}

/* Somebody repeats one accident: another one than `mine`, so this test is not meant. */
static bool another_is_chosen(const char *mine)
{
	static const char *const choices[] = { "CUT", "KILL", "END", "DRAIN", "ROOM", "SHARED" };

	for (unsigned i = 0; i < ARRAY_COUNT(choices); i++)
		if (from_environment(choices[i]) && strcmp(choices[i], mine) != 0)
			return true;
	return false;
}
#define ONLY_FOR(mine)                                                                             \
	do {                                                                                       \
		if (another_is_chosen(mine))                                                       \
			SKIP("another accident is to be repeated");                                \
	} while (0)

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

/* ---- what must hold ---- */

static bool is_harmless(const struct world *world)
{
	const struct imap_model_counts *imap = &world->result->imap;

	if (imap->changes == 0 && imap->unknown == 0 && world->result->open_files == 0)
		return true;
	printf("  the server got %u commands that change it, %u unknown ones (\"%s\"); %u files "
	       "left open\n",
	       imap->changes, imap->unknown, imap->unknown_line, world->result->open_files);
	return false;
}

/* A run that must go to its end and have moved everything by then. */
static bool completes(struct world *world, const char *what)
{
	const struct world_result *result = world_copy(world);

	if (result->end == WORLD_FINISHED && result->error == OK && is_harmless(world))
		return true;
	world_show(world, what);
	return false;
}

/* One more run: nothing is asked for, nothing is written to the archive. */
static bool has_nothing_to_do(struct world *world)
{
	uint64_t before = disk_fingerprint(world->disk, world_archive_path);

	if (!completes(world, "the run with nothing to do"))
		return false;
	if (world->result->imap.fetches == 0 &&
	    disk_fingerprint(world->disk, world_archive_path) == before)
		return true;
	printf("  with nothing to do, %u FETCH commands were sent and the archive %s\n",
	       world->result->imap.fetches,
	       disk_fingerprint(world->disk, world_archive_path) == before ? "is the same"
									   : "changed");
	return false;
}

/* What a run that ended well has told must outlive a power cut right after it. */
static bool ends_well(struct world *world)
{
	if (!completes(world, "the next run"))
		return false;
	world_lose_power(world);
	return world_judge(world) && has_nothing_to_do(world);
}

/* ---- without accidents ---- */

TEST(a_copy_moves_every_message_once_and_a_second_one_does_nothing)
{
	ONLY_FOR("");
	for (uint64_t seed = 1; seed <= 10; seed++) {
		struct world *world = world_open(seed);

		world_fill(world);
		CHECK(ends_well(world));
		world_close(&world);
	}
}

TEST(a_server_with_few_capabilities_is_copied_as_well)
{
	struct world *world;

	ONLY_FOR("");
	world = filled_world();
	world->imap.capabilities = imap_model_capabilities_plain;
	CHECK(ends_well(world));
	world_close(&world);
}

TEST(new_mail_is_added_to_what_is_there)
{
	struct world *world;
	struct buffer mail = { 0 };

	ONLY_FOR("");
	world = filled_world();
	CHECK(ends_well(world));
	world_make_mail(world, "new", 2000, &mail);
	(void)imap_model_add_message(&world->imap.boxes[1], "\\Seen", "02-Feb-2022 22:22:22 +0200",
				     mail.at, mail.bytes);
	buffer_free(&mail);
	CHECK(completes(world, "the run after the new mail"));
	CHECK_EQ(world->result->imap.messages_sent, 1);
	CHECK(world_judge(world));
	CHECK(has_nothing_to_do(world));
	world_close(&world);
}

/* ---- the power is cut ---- */

struct sweep {
	struct world *world;
	struct world_mark start;
	uint64_t steps;		    /* of a run that is not cut */
	uint64_t only, only_second; /* CUT, CUT2 */
	unsigned failures, made;
};

/* Takes the world. */
static void sweep_open(struct sweep *sweep, struct world *world)
{
	*sweep = (struct sweep){ .world = world,
				 .only = from_environment("CUT"),
				 .only_second = from_environment("CUT2") };
	sweep->start = world_mark(sweep->world);
	CHECK(completes(sweep->world, "a run that is not cut"));
	sweep->steps = sweep->world->result->steps;
	world_back(sweep->world, &sweep->start);
}

static void sweep_close(struct sweep *sweep)
{
	world_mark_free(&sweep->start);
	world_close(&sweep->world);
}

/* Every how many-th of `count`, so that about `wanted` are taken. */
static uint64_t every(uint64_t count, uint64_t wanted)
{
	return count <= wanted ? 1 : (count + wanted - 1) / wanted;
}

static void tell_failure(struct sweep *sweep, const char *name, uint64_t first, uint64_t second)
{
	sweep->failures++;
	printf("  repeat: make sim SEED=%llu %s=%llu", (unsigned long long)sweep->world->seed, name,
	       (unsigned long long)first);
	if (second)
		printf(" CUT2=%llu", (unsigned long long)second);
	printf("\n");
}

/* Cut the next process before step k. False: it went wrong in another way. */
static bool cut(struct world *world, uint64_t k)
{
	world_cut_at(world, k);
	world_copy(world);
	if (world->result->end == WORLD_CUT ||
	    (world->result->end == WORLD_FINISHED && world->result->error == OK))
		return true;
	world_show(world, "the run to be cut");
	return false;
}

static void cut_once(struct sweep *sweep, const char *name, uint64_t k)
{
	world_back(sweep->world, &sweep->start);
	sweep->made++;
	if (!cut(sweep->world, k) || !ends_well(sweep->world))
		tell_failure(sweep, name, k, 0);
}

/* One run for each step that is to be cut; `name` is the variable that repeats one of them. */
static void sweep_run(struct sweep *sweep, const char *name, uint64_t usual, const char *what)
{
	uint64_t step = from_environment("SIM_ALL") ? 1 : every(sweep->steps, usual);

	for (uint64_t k = 1 + sweep->world->seed % step; k <= sweep->steps; k += step)
		if (!sweep->only && sweep->failures < FAILURES_MAX)
			cut_once(sweep, name, k);
	if (sweep->only)
		cut_once(sweep, name, sweep->only);
	CHECK_EQ(sweep->failures, 0);
	CHECK(sweep->made > 0);
	printf("  %u of %llu %s made; SIM_ALL=1 makes all\n", sweep->made,
	       (unsigned long long)sweep->steps, what);
}

TEST(a_power_cut_at_any_step_loses_nothing_and_doubles_nothing)
{
	struct sweep sweep;

	ONLY_FOR("CUT");
	if (from_environment("CUT2"))
		SKIP("CUT2 asks for the other sweep");
	sweep_open(&sweep, filled_world());
	sweep_run(&sweep, "CUT", CUTS_USUAL, "cuts");
	sweep_close(&sweep);
}

TEST(two_conversations_with_one_mailbox_cut_at_any_step_lose_nothing_and_double_nothing)
{
	struct sweep sweep;

	ONLY_FOR("SHARED");
	sweep_open(&sweep, busy_world());
	CHECK_EQ(sweep.world->result->imap.connections, 2);
	sweep.only = from_environment("SHARED");
	sweep_run(&sweep, "SHARED", CUTS_SHARED, "cuts of two conversations");
	sweep_close(&sweep);
}

/* What the killed run left unsynced, and the next one found in its place, must be made durable by
 * that one before it relies on it. */
TEST(a_killed_run_and_a_power_cut_after_the_next_one_lose_nothing)
{
	struct sweep sweep;

	ONLY_FOR("KILL");
	sweep_open(&sweep, filled_world());
	sweep.world->cuts_kill = true;
	sweep.only = from_environment("KILL");
	sweep_run(&sweep, "KILL", CUTS_USUAL, "kills");
	sweep_close(&sweep);
}

static void cut_twice(struct sweep *sweep, const struct world_mark *after_first, uint64_t first,
		      uint64_t second)
{
	world_back(sweep->world, after_first);
	sweep->made++;
	if (!cut(sweep->world, second) || !ends_well(sweep->world))
		tell_failure(sweep, "CUT", first, second);
}

/* Cut at `first`, see how long the recovery is, and cut that in many places. */
static void cut_in_recovery(struct sweep *sweep, uint64_t first)
{
	struct world *world = sweep->world;
	struct world_mark mark;
	uint64_t steps, step;

	world_back(world, &sweep->start);
	if (!cut(world, first)) {
		tell_failure(sweep, "CUT", first, 0);
		return;
	}
	mark = world_mark(world);
	if (sweep->only_second) {
		cut_twice(sweep, &mark, first, sweep->only_second);
	} else if (completes(world, "the run after the cut")) {
		steps = world->result->steps;
		step = from_environment("SIM_ALL") ? SECOND_CUTS_STEP
						   : every(steps, SECOND_CUTS_USUAL);
		for (uint64_t j = 1 + first % step; j <= steps; j += step)
			if (sweep->failures < FAILURES_MAX)
				cut_twice(sweep, &mark, first, j);
	} else {
		tell_failure(sweep, "CUT", first, 0);
	}
	world_mark_free(&mark);
}

TEST(a_second_power_cut_during_recovery_loses_nothing_and_doubles_nothing)
{
	struct sweep sweep;
	uint64_t step;

	ONLY_FOR("CUT");
	if (from_environment("CUT") && !from_environment("CUT2"))
		SKIP("CUT without CUT2 asks for the other sweep");
	sweep_open(&sweep, filled_world());
	step = every(sweep.steps, FIRST_CUTS_NESTED);
	for (uint64_t k = 1 + sweep.world->seed % step; k <= sweep.steps; k += step)
		if (!sweep.only && sweep.failures < FAILURES_MAX)
			cut_in_recovery(&sweep, k);
	if (sweep.only)
		cut_in_recovery(&sweep, sweep.only);
	CHECK_EQ(sweep.failures, 0);
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

	if (from_environment(name))
		try_accident(world, &start, happens, name, from_environment(name));
	for (unsigned i = 0; i < count && !from_environment(name); i++)
		try_accident(world, &start, happens, name, value_of(world, i));
	world_mark_free(&start);
}

static bool connection_ends(struct world *world, uint64_t after)
{
	bool good;

	world->imap.end_count = 1;
	world->imap.end_after = after;
	world->imap.end_is_reset = after % 2;
	good = completes(world, "the run with the lost connection") && world_judge(world);
	world->imap.end_count = 0;
	return good && has_nothing_to_do(world);
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

TEST(a_server_that_refuses_for_a_while_is_asked_again)
{
	struct world *world;

	ONLY_FOR("");
	world = filled_world();
	world->imap.refuse_fetches = 1; /* in each process */
	CHECK(completes(world, "the run with a refused FETCH"));
	world->imap.refuse_fetches = 0;
	CHECK(world_judge(world));
	CHECK(has_nothing_to_do(world));
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
	CHECK(is_harmless(world));
	world->imap.password_wanted = NULL;
	CHECK(ends_well(world));
	world_close(&world);
}

static bool drains(struct world *world, uint64_t step)
{
	world->drain_after = (unsigned)step;
	world_copy(world);
	world->drain_after = 0;
	if (world->result->end == WORLD_FINISHED && is_harmless(world) &&
	    (world->result->error == OK || world->result->error == ERR_FIBER_CANCELED))
		return ends_well(world);
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
	if (world->result->end != WORLD_FINISHED || !is_harmless(world) ||
	    (world->result->error != ERR_DISK_FULL && kilobytes < ROOM_KIB_MAX / 4) ||
	    (world->result->error != ERR_DISK_FULL && world->result->error != OK)) {
		world_show(world, "the run on a full disk");
		return false;
	}
	return ends_well(world);
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
