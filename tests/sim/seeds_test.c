/* Whole worlds from a seed: a mailbox of any shape, runs that are cut or meet any mix of accidents,
 * people who go on using the mailbox; then one run without trouble, and everything must be well.
 *
 *	make sim RUNS=1000 SEED=1     so many worlds, from this seed on
 *	make sim RUNS=1 SEED=123      that world alone, with what happens in it */
#include <stdlib.h>

#include "tests/sim/sweep.h"
#include "tests/sim/world_bucket.h"
#include "tests/test.h"

enum {
	RUNS_USUAL = SANITIZED ? 20 : 150,
	BUCKETS_USUAL = SANITIZED ? 10 : 60,
	TROUBLED_MAX = 6, /* runs before the one that must end well */
	NAMES_COUNT = 6,
	MESSAGES_MAX = 28, /* of a folder; it may be replaced once */
	WALL_JUMP_S_MAX = 2 * 365 * 86400,
};

struct tally {
	uint64_t worlds, runs, cut, failed, steps;
};

/* The seed's own dice, apart from those of the processes: splitmix64, as sim.c. */
struct dice {
	uint64_t state;
};

static uint64_t below(struct dice *dice, uint64_t bound)
{
	uint64_t value = dice->state += 0x9e3779b97f4a7c15u;

	value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9u;
	value = (value ^ (value >> 27)) * 0x94d049bb133111ebu;
	return (value ^ (value >> 31)) % bound;
}

static bool one_in(struct dice *dice, unsigned chance)
{
	return below(dice, chance) == 0;
}

/* Small numbers as likely as large ones: as many between 10 and 100 as between 100 and 1000. */
static uint64_t up_to(struct dice *dice, uint64_t most)
{
	unsigned bits = 0;

	while (most >> bits)
		bits++;
	return min_u64(below(dice, UINT64_C(1) << below(dice, bits + 1)), most);
}

/* ---- the mailbox ---- */

static void add_mail(struct world *world, struct dice *dice, struct imap_model_box *box)
{
	static const char *const flags[] = { "", "\\Seen", "\\Seen \\Answered", "\\Draft",
					     "\\Flagged $Forwarded" };
	static const char *const dates[] = { "17-Jul-1996 02:44:25 -0700",
					     " 9-Feb-2020 23:59:59 +0530",
					     "31-Dec-1999 23:59:59 -1200",
					     "01-Jan-1970 00:00:00 +0000",
					     "19-Jan-2038 03:14:08 +0000" };
	struct buffer mail = { 0 };
	unsigned copies = one_in(dice, 8) ? 3 : 1;
	uint64_t most = one_in(dice, 24) ? STAGE_BYTES_MAX + 300000 : 30000;

	if (!one_in(dice, 20))
		world_make_mail(world, "any", up_to(dice, most), &mail);
	for (unsigned i = 0; i < copies && box->messages_count < MESSAGES_MAX; i++)
		(void)imap_model_add_message(box, flags[below(dice, ARRAY_COUNT(flags))],
					     dates[below(dice, ARRAY_COUNT(dates))], mail.at,
					     mail.bytes);
	buffer_free(&mail);
	if (one_in(dice, 6)) /* some were deleted long ago */
		box->next_uid += (uint32_t)up_to(dice, 100000);
}

static void fill(struct world *world, struct dice *dice)
{
	static const char *const names[NAMES_COUNT] = {
		"INBOX", "A", "A/B", "Sent", "Trash", "Old"
	};
	unsigned boxes = 1 + (unsigned)below(dice, NAMES_COUNT);
	bool busy = one_in(dice, 4); /* so much that several conversations share it */

	world->connections = 1 + (unsigned)below(dice, 3);
	world->pack_bytes = UINT64_C(16384) << below(dice, 5);
	if (one_in(dice, 4))
		world->imap.capabilities = imap_model_capabilities_plain;
	if (one_in(dice, 6))
		world->imap.bytes_per_second = 5000 + below(dice, 100000);
	for (unsigned b = 0; b < boxes; b++) {
		struct imap_model_box *box =
			imap_model_add_box(&world->imap, names[b], names[b], "");
		uint64_t messages = busy ? 10 + below(dice, 15) : up_to(dice, 15);

		if (one_in(dice, 16)) /* numbers that need all of 32 bits */
			box->next_uid = 4000000000;
		for (; messages; messages--)
			add_mail(world, dice, box);
	}
}

/* An archive in a bucket of a service that takes its time, and goes on with what it heard when who
 * asked is gone. */
static void add_bucket(struct world *world, struct dice *dice)
{
	struct s3_model *model;

	world_add_bucket(world);
	world->bucket->part_bytes = UINT64_C(2048) << below(dice, 5);
	model = world->bucket->model;
	model->works_ms_max = (unsigned)up_to(dice, 3000);
	model->late_requests_max = (unsigned)up_to(dice, 200);
	model->never_one_in = (unsigned)below(dice, 6);
	model->requests_max = one_in(dice, 3) ? 1 + (unsigned)up_to(dice, 50) : 0;
}

/* ---- what happens ---- */

static struct imap_model_box *any_box(struct world *world, struct dice *dice)
{
	return &world->imap.boxes[below(dice, world->imap.boxes_count)];
}

/* Some of it is announced later: by then, not behind it, comes what came later. */
static void deliver(struct world *world, struct dice *dice, struct imap_model_box *box)
{
	unsigned before = box->messages_count;

	add_mail(world, dice, box);
	if (one_in(dice, 3))
		box->late = box->messages_count - before;
}

/* Of the world and its moment alone: it is done by the process, and again for those after it. */
static void people(struct world *world)
{
	struct dice dice = { world->seed * 1000 + world->process_no };
	struct imap_model_box *box = any_box(world, &dice);
	unsigned what = (unsigned)below(&dice, 8);

	if (box->gone)
		return;
	if (sweep_asked("RUNS") == 1)
		printf("  people do %u to \"%s\"\n", what, box->name);
	if (what == 0 && box->messages_count <= MESSAGES_MAX)
		imap_model_replace(box);
	else if (what == 1 && world->imap.boxes_count < IMAP_MODEL_BOXES_MAX &&
		 strcmp(box->name, "Old") == 0)
		(void)imap_model_rename(&world->imap, box, "New");
	else if (what <= 3 && box->messages_count)
		box->messages[below(&dice, box->messages_count)].gone = true;
	else if (what == 4)
		box->late = 0;
	else
		deliver(world, &dice, box);
}

static void add_faults(struct world *world, struct dice *dice)
{
	struct world_faults *faults = &world->faults;

	if (one_in(dice, 3)) {
		/* Three in a row could look as if one message was to blame, and it be skipped. */
		faults->bad_connections = 1 + (unsigned)below(dice, 2);
		faults->bad_bytes = 1 + up_to(dice, 1000000);
	}
	if (one_in(dice, 6))
		faults->room_bytes = 4096 * (1 + up_to(dice, 300));
	if (!one_in(dice, 4))
		faults->from_step = 1 + below(dice, 250);
	if (one_in(dice, 5))
		faults->sync_no = 1 + (unsigned)up_to(dice, 20);
	if (one_in(dice, 6))
		faults->write_no = 1 + (unsigned)up_to(dice, 40);
	if (one_in(dice, 8))
		faults->read_no = 1 + (unsigned)up_to(dice, 20);
	faults->slow = one_in(dice, 5);
	if (one_in(dice, 4)) {
		faults->wall_jumps_at = 1 + up_to(dice, 500);
		faults->wall_jump_s = (int64_t)below(dice, 2 * WALL_JUMP_S_MAX) - WALL_JUMP_S_MAX;
	}
	world->imap.refuse_fetches = one_in(dice, 8) ? 1 + (unsigned)below(dice, 2) : 0;
}

/* Full, or in trouble: a refusal that breaks off before it says why is taken for what its status
 * says, and that is no error of a run in trouble. */
static void add_bucket_faults(struct world *world, struct dice *dice)
{
	struct s3_model *model = world->bucket->model;
	bool is_full = one_in(dice, 8);

	if (is_full)
		model->quota_bytes = 1 + model->counts.stored_bytes + up_to(dice, 100000);
	else if (!one_in(dice, 3))
		s3_model_add_fault(
			model, &(struct s3_model_fault){ .accident = S3_MODEL_DICE,
							 .one_in = 2 + (unsigned)up_to(dice, 100),
							 .count = 1 + (unsigned)up_to(dice, 100) });
	if (one_in(dice, 4))
		s3_model_add_fault(model,
				   &(struct s3_model_fault){ .accident = S3_MODEL_EXPIRES_TOKEN,
							     .skip = (unsigned)up_to(dice, 200),
							     .count = 1 });
	world->bucket->keys_end = one_in(dice, 3);
}

static void end_bucket_faults(struct world *world)
{
	world->bucket->keys_end = false;
	world->bucket->model->quota_bytes = 0;
	world_bucket_crowd(world);
}

static void tell(const struct world *world, const struct world_faults *faults)
{
	if (sweep_asked("RUNS") != 1)
		return;
	printf("  bad connections %u within %llu bytes, room %llu, sync %u, write %u, read %u from "
	       "step "
	       "%llu, slow %d, clock %lld s at %llu, cut at %llu, people at %llu\n",
	       faults->bad_connections, (unsigned long long)faults->bad_bytes,
	       (unsigned long long)faults->room_bytes, faults->sync_no, faults->write_no,
	       faults->read_no, (unsigned long long)faults->from_step, faults->slow,
	       (long long)faults->wall_jump_s, (unsigned long long)faults->wall_jumps_at,
	       (unsigned long long)world->cut_at, (unsigned long long)world->happens_at);
}

/* A run that anything may happen to; it may end in any way but a wrong one. */
static bool troubled_run(struct world *world, struct dice *dice, struct tally *tally)
{
	const struct world_result *result = world->result;

	add_faults(world, dice);
	if (world->bucket)
		add_bucket_faults(world, dice);
	if (one_in(dice, 3)) {
		world->happens = people;
		world->happens_at = 1 + up_to(dice, 400);
	}
	if (!one_in(dice, 3))
		world_cut_at(world, 1 + up_to(dice, 1000));
	if (one_in(dice, 8))
		world->drain_after = 1 + (unsigned)up_to(dice, 400);
	tell(world, &world->faults);
	world_copy(world);
	world->drain_after = 0;
	world->imap.refuse_fetches = 0;
	if (world->bucket)
		end_bucket_faults(world);
	tally->runs++;
	tally->cut += result->end == WORLD_CUT;
	tally->failed += result->end == WORLD_FINISHED && result->error;
	tally->steps += result->steps;
	if (sweep_asked("RUNS") == 1)
		world_show(world, "the run");
	if (result->end == WORLD_CUT ||
	    (result->end == WORLD_FINISHED && sweep_is_excused(result->error) &&
	     sweep_is_harmless(world)))
		return true;
	world_show(world, "a run in trouble");
	return false;
}

/* What was announced late is there in the end. */
static void come_to_rest(struct world *world)
{
	for (unsigned b = 0; b < world->imap.boxes_count; b++)
		world->imap.boxes[b].late = 0;
	world->imap.bytes_per_second = 0;
}

static bool world_of(uint64_t seed, bool in_bucket, struct tally *tally)
{
	struct world *world = world_open(seed);
	struct dice dice = { seed };
	bool good = true;

	fill(world, &dice);
	if (in_bucket)
		add_bucket(world, &dice);
	world->cuts_kill = one_in(&dice, 4);
	for (uint64_t runs = 1 + below(&dice, TROUBLED_MAX); good && runs; runs--) {
		good = troubled_run(world, &dice, tally);
		if (one_in(&dice, 3))
			people(world);
		if (one_in(&dice, 8))
			world_lose_power(world);
		if (one_in(&dice, 8))
			world->wall_s -= (int64_t)below(&dice, WALL_JUMP_S_MAX);
	}
	come_to_rest(world);
	good = good && sweep_ends_well(world);
	tally->worlds++;
	if (!good)
		printf("  repeat: make sim RUNS=1 SEED=%llu\n", (unsigned long long)seed);
	world_close(&world);
	return good;
}

static void worlds(bool in_bucket, uint64_t usual)
{
	uint64_t runs = sweep_asked("RUNS"), first = world_seed(SEED_USUAL);
	struct tally tally = { 0 };
	unsigned failures = 0;

	if (!runs && sweep_another_is_asked(""))
		SKIP("another accident is to be repeated");
	runs = runs ? runs : usual;
	for (uint64_t i = 0; i < runs && failures < FAILURES_MAX; i++)
		failures += !world_of(first + i, in_bucket, &tally);
	CHECK_EQ(failures, 0);
	printf("  seeds %llu to %llu: %llu worlds, %llu runs, %llu of them cut, %llu failed; %llu "
	       "steps\n",
	       (unsigned long long)first, (unsigned long long)(first + tally.worlds - 1),
	       (unsigned long long)tally.worlds, (unsigned long long)tally.runs,
	       (unsigned long long)tally.cut, (unsigned long long)tally.failed,
	       (unsigned long long)tally.steps);
}

TEST(a_world_of_any_seed_ends_well_after_enough_runs)
{
	worlds(false, RUNS_USUAL);
}

TEST(so_does_one_whose_archive_is_in_a_bucket)
{
	worlds(true, BUCKETS_USUAL);
}
