/* The plan of a mailbox with tens of millions of messages: made, cut, and taken up again, in memory
 * that does not grow with it. SIM_ALL=1 makes it a dense folder of 40 million; otherwise the dense
 * one has a tenth of that, and the one of 40 million is sparse. */
#include <malloc.h>

#include "engine/clock.h"
#include "engine/lane_plan.h"
#include "engine/shard.h"
#include "tests/sim/sweep.h"
#include "tests/test.h"

enum {
	UIDS = 40 * 1000 * 1000,
	UIDS_USUAL = SANITIZED ? 400 * 1000 : 4 * 1000 * 1000,
	/* SQLite's cache and what its statements need; the plan itself is a few hundred bytes. */
	MEMORY_BYTES_MAX = 8 * 1024 * 1024,
};

struct folder {
	struct world *world;
	uint64_t uids, messages; /* the last number, and how many there are */
	bool newest_first;
	struct ledger *ledger;
	struct plan *plan;
	struct box box;
};

static enum err begin(struct folder *folder)
{
	struct ledger_mailbox mailbox;
	enum err e;

	folder->box = (struct box){ .name = "INBOX",
				    .raw = "INBOX",
				    .separator = '/',
				    .selectable = true,
				    .epoch = 1,
				    .next_no = folder->uids + 1,
				    .messages = folder->messages };
	if ((e = ledger_open(world_state_path, clock_after(600 * NSEC_SECOND), &folder->ledger)) ||
	    (e = ledger_mailbox(folder->ledger, "imaps://a@b/", "file:///c", "blake3", &mailbox)) ||
	    (e = plan_open(folder->ledger, &folder->plan)))
		return e;
	if (folder->newest_first)
		plan_newest_first(folder->plan);
	return plan_add_box(folder->plan, mailbox.mailbox_no, &folder->box, false);
}

/* The source hands out every `spread`-th number of the range, the sink stores it. */
static enum err answer(struct folder *folder, uint64_t first, uint64_t last)
{
	uint64_t box_no = folder->box.box_no, spread = folder->uids / folder->messages;
	enum err e;

	for (uint64_t no = round_up(first, spread); no <= last; no += spread)
		plan_taken(folder->plan, box_no, no);
	if ((e = plan_answered(folder->plan, 0, box_no, first, last, OK)))
		return e;
	for (uint64_t no = round_up(first, spread); no <= last && e == OK; no += spread)
		e = plan_settled(folder->plan, box_no, no);
	return e;
}

/* Each range is answered when the next one is asked for: the last one after all is asked for, when
 * the folder is not done for that. */
static enum err plan_all(struct folder *folder)
{
	static struct box box;
	struct lane_progress *progress = &folder->world->result->progress;
	size_t before = mallinfo2().uordblks;
	uint64_t first, last, above = folder->uids + 1, first_before = 0, last_before = 0;
	enum err e, answered;

	while ((e = plan_next(folder->plan, 0, &box, &first, &last)) == OK) {
		must(!folder->newest_first || last < above);
		above = first;
		progress->messages_known += last - first + 1; /* asked for */
		progress->boxes_known++;		      /* ranges */
		if (last_before && (e = answer(folder, first_before, last_before)))
			return e;
		first_before = first;
		last_before = last;
	}
	must(!last_before || plan_boxes_done(folder->plan) == 0);
	if (e == ERR_PIPE_ENDED && last_before &&
	    (answered = answer(folder, first_before, last_before)))
		return answered;
	if (e != ERR_PIPE_ENDED || !plan_finished(folder->plan))
		return e;
	must(plan_boxes_done(folder->plan) == 1);
	progress->bytes_known = mallinfo2().uordblks - before;
	return ledger_finish(folder->ledger, clock_after(600 * NSEC_SECOND));
}

static enum err plan_fiber(void *argument)
{
	struct folder *folder = argument;
	enum err e = begin(folder);

	if (!e)
		e = plan_all(folder);
	plan_close(&folder->plan);
	ledger_close(&folder->ledger);
	return e;
}

static enum err plan_body(struct world *world, void *argument)
{
	struct folder *folder = argument;

	folder->world = world;
	return shard_run(&(struct shard_config){ .arena_chunks = 1 }, plan_fiber, folder);
}

/* Cut in the middle of it, taken up again, and looked at once more. */
static void plan_and_resume(uint64_t uids, uint64_t messages, uint64_t cut_at, bool newest_first,
			    bool resumed_newest_first)
{
	struct folder folder = { .uids = uids, .messages = messages, .newest_first = newest_first };
	struct world *world = world_open(world_seed(SEED_USUAL));
	const struct lane_progress *progress = &world->result->progress;
	uint64_t asked, ranges;

	world_cut_at(world, cut_at);
	CHECK_EQ(world_process(world, plan_body, &folder)->end, WORLD_CUT);
	folder.newest_first = resumed_newest_first;
	asked = progress->messages_known;
	ranges = progress->boxes_known;
	CHECK(asked > 0 && asked < uids);
	if (!CHECK_OK(world_process(world, plan_body, &folder)->error) ||
	    world->result->end != WORLD_FINISHED)
		world_show(world, "taking up the plan");
	CHECK_EQ(world->result->end, WORLD_FINISHED);
	/* What was on its way is asked for again: no more than what one commit may hold. */
	CHECK(asked + progress->messages_known >= uids);
	CHECK(asked + progress->messages_known <= uids + uids / 4);
	CHECK(progress->bytes_known <= MEMORY_BYTES_MAX);
	printf("  %llu numbers: %llu asked for before the cut, %llu after it, in %llu ranges; "
	       "memory grew by %llu KiB\n",
	       (unsigned long long)uids, (unsigned long long)asked,
	       (unsigned long long)progress->messages_known,
	       (unsigned long long)(ranges + progress->boxes_known),
	       (unsigned long long)progress->bytes_known / 1024);
	CHECK_OK(world_process(world, plan_body, &folder)->error);
	CHECK_EQ(progress->messages_known, 0);
	world_close(&world);
}

TEST(a_dense_folder_of_millions_is_planned_and_taken_up_again_in_bounded_memory)
{
	uint64_t uids = sweep_asked("SIM_ALL") ? UIDS : UIDS_USUAL;

	ONLY_FOR("");
	plan_and_resume(uids, uids, uids / 256, false, false);
}

TEST(a_sparse_folder_of_forty_million_numbers_is_planned_and_taken_up_again)
{
	ONLY_FOR("");
	plan_and_resume(UIDS, UIDS / 1000, 400, false, false);
}

TEST(a_folder_is_planned_from_its_newest_message_down_and_taken_up_again)
{
	ONLY_FOR("");
	plan_and_resume(UIDS_USUAL / 4, UIDS_USUAL / 4, UIDS_USUAL / 4 / 256, true, true);
	plan_and_resume(UIDS, UIDS / 1000, 400, true, true);
}

TEST(a_folder_begun_at_one_end_is_taken_up_at_the_other)
{
	ONLY_FOR("");
	plan_and_resume(UIDS_USUAL / 4, UIDS_USUAL / 4, UIDS_USUAL / 4 / 256, true, false);
	plan_and_resume(UIDS, UIDS / 1000, 400, true, false);
	plan_and_resume(UIDS, UIDS / 1000, 400, false, true);
}
