/* The ledger keeps what it said was durable, whenever the power goes: seen from outside, over the
 * simulated disk. What each call does is tests/unit/ledger_test.c's. */
#include <stdlib.h>

#include "engine/clock.h"
#include "engine/ledger.h"
#include "engine/shard.h"
#include "tests/sim/sweep.h"
#include "tests/test.h"

enum { MESSAGES = 8, STAGE_INTENDED = 1, STAGE_SEALED = MESSAGES + 2, STAGE_DONE = MESSAGES + 3 };

struct script {
	struct world *world;
	struct ledger *ledger;
	struct ledger_mailbox mailbox;
	struct box box;
	uint64_t epoch, next_no;
	uint64_t promised; /* the stage that was durable before the cut */
};

static enum err begin(struct script *script)
{
	enum err e;

	script->box = (struct box){ .name = "INBOX",
				    .raw = "INBOX",
				    .separator = '/',
				    .selectable = true,
				    .epoch = 77,
				    .next_no = MESSAGES + 1,
				    .messages = MESSAGES };
	if ((e = ledger_open(world_state_path, clock_after(NSEC_SECOND * 60), &script->ledger)) ||
	    (e = ledger_mailbox(script->ledger, "imaps://a@b/", "file:///c", "blake3",
				&script->mailbox)))
		return e;
	return ledger_box(script->ledger, script->mailbox.mailbox_no, &script->box, &script->epoch,
			  &script->next_no);
}

/* What is promised lies in memory that outlives the process. */
static void reached(struct script *script, uint64_t stage)
{
	script->world->result->progress.messages_moved = stage;
}

static enum err settle(struct script *script, uint64_t no)
{
	struct ledger_row row = { .box_no = script->box.box_no,
				  .no = no,
				  .state = LEDGER_MOVED,
				  .size_bytes = 100 * no,
				  .seal_no = 1 };
	enum err e = ledger_settle(script->ledger, &row);

	if (!e)
		e = ledger_commit(script->ledger);
	if (!e)
		reached(script, STAGE_INTENDED + no);
	return e;
}

static enum err play(struct script *script)
{
	uint64_t box_no, mailbox_no;
	enum err e = begin(script);

	if (e || (e = ledger_intend(script->ledger, box_no = script->box.box_no, 1, MESSAGES)))
		return e;
	mailbox_no = script->mailbox.mailbox_no;
	reached(script, STAGE_INTENDED);
	for (uint64_t no = 1; no <= MESSAGES; no++)
		if ((e = settle(script, no)))
			return e;
	if ((e = ledger_range_done(script->ledger, box_no, 1, MESSAGES)) ||
	    (e = ledger_seal(script->ledger, mailbox_no, 1, text_of("a pack"))))
		return e;
	reached(script, STAGE_SEALED);
	if ((e = ledger_seal_done(script->ledger, mailbox_no, 1)) ||
	    (e = ledger_commit(script->ledger)))
		return e;
	reached(script, STAGE_DONE);
	return ledger_finish(script->ledger, clock_after(60 * NSEC_SECOND));
}

/* One stage may have become durable without having been promised. */
static enum err look(struct script *script)
{
	struct ledger_range range = { .first = MESSAGES + 1 };
	struct buffer seal = { 0 };
	uint64_t no;
	enum err e = begin(script), sealed;

	if (e || script->promised < STAGE_INTENDED)
		return e;
	if (script->next_no != MESSAGES + 1 || script->epoch != 77)
		return RAISE(ERR_LEDGER_DAMAGED, "next is %llu",
			     (unsigned long long)script->next_no);
	e = ledger_unsettled(script->ledger, script->box.box_no, 1, MESSAGES, &range);
	if (e && e != ERR_PIPE_ENDED)
		return e;
	if (range.first < script->promised || range.first > script->promised + 1)
		if (script->promised < STAGE_SEALED || range.first <= MESSAGES)
			return RAISE(ERR_LEDGER_DAMAGED, "settled up to %llu",
				     (unsigned long long)range.first);
	sealed = ledger_seal_next(script->ledger, script->mailbox.mailbox_no, 0, &no, &seal);
	buffer_free(&seal);
	if ((script->promised < STAGE_SEALED - 1 && sealed == OK) ||
	    (script->promised == STAGE_DONE && sealed == OK))
		return RAISE(ERR_LEDGER_DAMAGED, "a seal that should not be there");
	err_note_clear();
	return OK;
}

static enum err play_fiber(void *argument)
{
	struct script *script = argument;
	enum err e = play(script);

	ledger_close(&script->ledger);
	return e;
}

static enum err look_fiber(void *argument)
{
	struct script *script = argument;
	enum err e = look(script);

	ledger_close(&script->ledger);
	return e;
}

static enum err in_shard(struct world *world, void *argument)
{
	struct script script = { .world = world };
	bool plays = !argument;

	if (argument)
		script.promised = *(const uint64_t *)argument;
	return shard_run(&(struct shard_config){ .arena_chunks = 1 },
			 plays ? play_fiber : look_fiber, &script);
}

TEST(the_ledger_keeps_every_promise_at_any_cut)
{
	struct world *world = world_open(world_seed(21));
	struct world_mark start = world_mark(world);
	uint64_t k = 0, promised, again;

	do {
		world_back(world, &start);
		world_cut_at(world, ++k);
		if (world_process(world, in_shard, NULL)->end == WORLD_FINISHED)
			break;
		REQUIRE(world->result->end == WORLD_CUT);
		promised = world->result->progress.messages_moved;
		for (again = 0; again < 2; again++) {
			world_lose_power(world);
			if (!CHECK_OK(world_process(world, in_shard, &promised)->error)) {
				printf("  cut at %llu, stage %llu was promised\n",
				       (unsigned long long)k, (unsigned long long)promised);
				world_show(world, "looking");
				goto out;
			}
		}
	} while (k < 10000);
	CHECK_OK(world->result->error);
	CHECK(k > 100 && k < 10000);
out:
	world_mark_free(&start);
	world_close(&world);
}

/* ---- after a sync that failed ---- */

enum {
	LESSONS = 6,
	SEEDS_TRIED = SANITIZED ? 2 : 5,
	SYNCS_TRIED = 9,
	CUTS_TRIED = 60,
	CUTS_STEP = 12
};

/* Learns one thing after another, each durable on return, and says so. */
static enum err learn_fiber(void *argument)
{
	struct world *world = argument;
	struct ledger *ledger = NULL;
	struct ledger_lesson lesson = { .kind = "host", .failures = 1 };
	enum err e = ledger_open(world_state_path, clock_after(NSEC_SECOND * 60), &ledger);

	for (unsigned i = 0; i < LESSONS && e == OK; i++) {
		snprintf(lesson.name, sizeof lesson.name, "%u of run %u", i, world->process_no);
		if ((e = ledger_lesson_set(ledger, &lesson)) == OK)
			world->result->progress.messages_moved++;
	}
	ledger_close(&ledger);
	return e;
}

static enum err recall_fiber(void *argument)
{
	struct world *world = argument;
	struct ledger *ledger = NULL;
	struct ledger_lesson lesson = { 0 };
	enum err e = ledger_open(world_state_path, clock_after(NSEC_SECOND * 60), &ledger);

	while (e == OK && (e = ledger_lesson_next(ledger, &lesson)) == OK)
		world->result->progress.messages_moved++;
	ledger_close(&ledger);
	return e == ERR_PIPE_ENDED ? OK : e;
}

static enum err one_fiber(struct world *world, void *argument)
{
	return shard_run(&(struct shard_config){ .arena_chunks = 1 },
			 argument ? recall_fiber : learn_fiber, world);
}

/* What was promised and is not there any more. */
static int64_t forgotten(struct world *world, unsigned sync_no, uint64_t cut)
{
	int64_t promised;

	world->faults.sync_no = sync_no;
	world_process(world, one_fiber, NULL);
	promised = (int64_t)world->result->progress.messages_moved;
	world_cut_at(world, cut);
	world_process(world, one_fiber, NULL);
	promised += (int64_t)world->result->progress.messages_moved;
	world_lose_power(world);
	CHECK_OK(world_process(world, one_fiber, world)->error);
	return promised - (int64_t)world->result->progress.messages_moved;
}

/* The kernel takes what a failed sync lost for written, so a second one proves nothing: the next
 * run must not build on it. Which pages are lost is the seed's. */
static void try_failed_syncs(uint64_t seed, bool is_new)
{
	struct world *world = world_open(seed);
	struct world_mark start;
	int64_t before = is_new ? 0 : LESSONS, lost;

	if (!is_new) {
		CHECK_OK(world_process(world, one_fiber, NULL)->error);
		CHECK_EQ(world->result->progress.messages_moved, before);
	}
	start = world_mark(world);
	for (unsigned sync_no = 1; sync_no <= SYNCS_TRIED; sync_no++)
		for (uint64_t cut = CUTS_STEP; cut <= CUTS_TRIED; cut += CUTS_STEP) {
			world_back(world, &start);
			lost = before + forgotten(world, sync_no, cut);
			if (lost > 0)
				test_failed(__FILE__, __LINE__,
					    "seed %llu, sync %u, cut %llu: %lld forgotten",
					    (unsigned long long)seed, sync_no,
					    (unsigned long long)cut, (long long)lost);
		}
	world_mark_free(&start);
	world_close(&world);
}

TEST(what_a_failed_sync_lost_does_not_take_later_promises_with_it)
{
	uint64_t first = world_seed(22);

	for (uint64_t seed = first; seed < first + SEEDS_TRIED; seed++)
		try_failed_syncs(seed, seed % 2);
}
