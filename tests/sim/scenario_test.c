/* Named scenarios, each cut at every step (a sample of them in `make check`, all with SIM_ALL=1),
 * and cut again while the next run recovers. A new scenario is one row at the foot.
 *
 *	make sim SCENARIO=triplets SEED=7                   that scenario, the usual sample
 *	make sim SCENARIO=triplets SEED=7 CUT=123           that cut alone
 *	make sim SCENARIO=triplets SEED=7 CUT=123 CUT2=45   and a second one during recovery */
#include <stdlib.h>

#include "tests/sim/sweep.h"
#include "tests/test.h"

enum { DAY_S = 86400 };

/* ---- mailboxes ---- */

static void add(struct world *world, struct imap_model_box *box, const char *subject, size_t bytes)
{
	struct buffer mail = { 0 };

	world_make_mail(world, subject, bytes, &mail);
	(void)imap_model_add_message(box, "\\Seen", "02-Feb-2022 22:22:22 +0200", mail.at,
				     mail.bytes);
	buffer_free(&mail);
}

static struct imap_model_box *add_box(struct world *world, const char *name)
{
	return imap_model_add_box(&world->imap, name, name, "");
}

static void fill_small(struct world *world)
{
	struct imap_model_box *inbox = add_box(world, "INBOX");

	for (unsigned i = 0; i < 30; i++)
		add(world, inbox, "small", 200 + i);
}

/* Larger than what is staged, and than a pack; small ones between them. */
static void fill_large(struct world *world)
{
	struct imap_model_box *inbox = add_box(world, "INBOX");

	for (unsigned i = 0; i < 3; i++) {
		add(world, inbox, "large", STAGE_BYTES_MAX + 10000 * (i + 1));
		add(world, inbox, "small between", 300 + i);
	}
}

static void fill_folders(struct world *world)
{
	static const char *const names[] = { "INBOX", "Empty", "A",    "A/B",  "A/B/C",
					     "D",     "Other", "Sent", "Trash" };

	for (unsigned i = 0; i < ARRAY_COUNT(names); i++) {
		struct imap_model_box *box = add_box(world, names[i]);

		for (unsigned k = 0; k < i % 4; k++)
			add(world, box, names[i], 400 + 1000 * k);
	}
}

/* So much in so many folders that two conversations share it. */
static void fill_shared(struct world *world)
{
	static const char *const names[] = { "A", "B", "C", "D", "E", "F" };

	world->connections = 2;
	for (unsigned i = 0; i < ARRAY_COUNT(names); i++) {
		struct imap_model_box *box = add_box(world, names[i]);

		for (unsigned k = 0; k < 24; k++)
			add(world, box, names[i], k == 7 ? 70000 : 300 + k);
	}
}

/* Identical in bytes, flags and date; packs so small that a cut falls between them. */
static void fill_triplets(struct world *world)
{
	struct imap_model_box *inbox = add_box(world, "INBOX"), *other = add_box(world, "Other");

	world->pack_bytes = 16 * 1024;
	for (unsigned i = 0; i < 12; i++)
		add(world, i < 9 ? inbox : other, "triplet", 15000);
}

static void fill_throttled(struct world *world)
{
	world_fill(world);
	world->imap.bytes_per_second = 20000;
	world->imap.refuse_fetches = 2; /* in each process */
}

/* Four of its messages are not announced yet. */
static void fill_late(struct world *world)
{
	fill_small(world);
	world->imap.boxes[0].late = 4;
}

/* A message, and the only one of another folder, were refused in an earlier run, and a person asks
 * for them. */
static void fill_skipped(struct world *world)
{
	struct imap_model_box *boxes = world->imap.boxes;

	world_fill(world);
	boxes[0].refused = boxes[0].messages[2].uid;
	boxes[2].refused = boxes[2].messages[0].uid;
	must(sweep_completes(world, "the run with messages refused"));
	must(world->result->progress.messages_skipped == 2);
	boxes[0].refused = boxes[2].refused = 0;
	world->retry_skipped = "IMAP_MSG_REFUSED";
}

/* ---- what people do ---- */

static void expunge(struct world *world)
{
	struct imap_model_box *box = &world->imap.boxes[0];

	for (unsigned i = 1; i < box->messages_count; i += 3)
		box->messages[i].gone = true;
}

static void deliver(struct world *world)
{
	add(world, &world->imap.boxes[0], "new", 2000);
	add(world, &world->imap.boxes[0], "new", 2000);
}

static void replace(struct world *world)
{
	imap_model_replace(&world->imap.boxes[3]);
}

static void rename_folder(struct world *world)
{
	(void)imap_model_rename(&world->imap, &world->imap.boxes[3], "Renamed");
}

static void announce(struct world *world)
{
	world->imap.boxes[0].late = 0;
}

static void set_clock_back(struct world *world)
{
	world->wall_s -= 40 * DAY_S;
}

/* Once they are forgotten the next run tries them without being told. */
static void ask_no_more(struct world *world)
{
	if (world->result->progress.retry_begun)
		world->retry_skipped = NULL;
}

/* ---- what else goes wrong in the run that is cut ---- */

static void trouble_full_disk(struct world *world, uint64_t k)
{
	world->faults.room_bytes = 4096 * (1 + k * 13 % 120);
}

static void lose_connection(struct world *world, enum net_accident how, uint64_t after)
{
	world->imap.end_count = 1;
	world->imap.end_how = how;
	world->imap.end_after = after;
}

static void trouble_lost_connection(struct world *world, uint64_t k)
{
	lose_connection(world, k % 2 ? NET_RESETS : NET_CLOSES, 1 + k * 997);
}

static void trouble_stall(struct world *world, uint64_t k)
{
	lose_connection(world, NET_STALLS, 1 + k * 997);
}

/* The first sync, write or read from step k on. */
static void trouble_sync(struct world *world, uint64_t k)
{
	world->faults.from_step = k;
	world->faults.sync_no = 1;
}

static void trouble_sync_before(struct world *world, uint64_t k)
{
	trouble_sync(world, sweep_before(k));
}

static void trouble_write(struct world *world, uint64_t k)
{
	world->faults.from_step = k;
	world->faults.write_no = 1;
}

static void trouble_read(struct world *world, uint64_t k)
{
	world->faults.from_step = k;
	world->faults.read_no = 1;
}

static void trouble_slow(struct world *world, uint64_t k)
{
	(void)k;
	world->faults.slow = true;
}

static void trouble_clock(struct world *world, uint64_t k)
{
	world->faults.wall_jumps_at = 1 + k / 2;
	world->faults.wall_jump_s = k % 2 ? -400 * DAY_S : 400 * DAY_S;
}

/* What a run met that was not the mailbox's own ends with it. */
static void back_to_normal(struct world *world)
{
	world->imap.end_count = 0;
}

/* ---- the table ---- */

SCENARIO(small_messages, .fill = fill_small)
SCENARIO(large_messages, .fill = fill_large)
SCENARIO(several_folders, .fill = fill_folders)
SCENARIO(triplets, .fill = fill_triplets)
SCENARIO(two_conversations, .fill = fill_shared)
SCENARIO(throttled_server, .fill = fill_throttled)
SCENARIO(expunged_meanwhile, .fill = world_fill, .meanwhile = expunge)
SCENARIO(expunged_between, .fill = fill_small, .between = expunge)
SCENARIO(new_mail_meanwhile, .fill = world_fill, .meanwhile = deliver)
SCENARIO(announced_late, .fill = fill_late, .meanwhile = announce, .between = announce)
SCENARIO(skipped_tried_again, .fill = fill_skipped, .between = ask_no_more)
SCENARIO(folder_replaced, .fill = fill_folders, .between = replace)
SCENARIO(folder_renamed, .fill = fill_folders, .between = rename_folder)
SCENARIO(clock_set_back, .fill = world_fill, .trouble = trouble_clock, .between = set_clock_back)
SCENARIO(full_disk, .fill = world_fill, .trouble = trouble_full_disk)
SCENARIO(lost_connection, .fill = world_fill, .trouble = trouble_lost_connection,
	 .between = back_to_normal)
SCENARIO(stalled_connection, .fill = world_fill, .trouble = trouble_stall,
	 .between = back_to_normal)
SCENARIO(slow_machine, .fill = world_fill, .trouble = trouble_slow)
SCENARIO(failed_fsync, .fill = world_fill, .trouble = trouble_sync, .is_uncut = true)
SCENARIO(failed_fsync_and_a_cut, .fill = world_fill, .trouble = trouble_sync_before)
SCENARIO(failed_write, .fill = world_fill, .trouble = trouble_write, .is_uncut = true)
SCENARIO(failed_read, .fill = fill_small, .trouble = trouble_read, .is_uncut = true)
