/* An archive keeps what amend_flush() said was recorded, whenever the power goes, the disk fills or
 * a sync fails: seen from outside, over the simulated disk. What changes mean is
 * tests/unit/archive_changes_test.c's.
 *
 *	make sim SEED=31 AMEND=17    the run that tells the changes is cut before that step */
#include <stdlib.h>

#include "crypto/digest.h"
#include "engine/clock.h"
#include "engine/shard.h"
#include "engine/sink.h"
#include "tests/sim/world.h"
#include "tests/test.h"
#include "transport/archive.h"
#include "transport/archive_mark.h"

extern const struct sink_driver archive_sink;

/* Each of the rounds tells new flags of every message of INBOX: the round's number, as bits that
 * none of them has. */
enum {
	ROUNDS = 3,
	ROUND_FLAG = MAIL_DELETED,
	STAGE_LISTED = ROUNDS + 1,
	SEED_USUAL = 31,
	CUTS_STEP = SANITIZED ? 5 : 1,
	ROOM_KIB_MIN = 300, /* what there is already counts, too */
	ROOM_KIB_STEP = SANITIZED ? 8 : 4,
	ROOM_KIB_MAX = 4000,
};

struct script {
	struct world *world;
	struct sink *sink;
	struct box box;
	struct tap *store_tap;
	uint8_t ledger_id[ARCHIVE_LEDGER_ID_BYTES];
	uint64_t promised; /* the stage that was durable before the cut */
	bool is_last;	   /* a run went to its end before this look */
	uint64_t messages, faults;
};

/* What is promised lies in memory that outlives the process. */
static void reached(struct script *script, uint64_t stage)
{
	script->world->result->progress.messages_moved = stage;
}

/* ---- telling ---- */

static enum err read_mark(struct script *script)
{
	struct account account = world_archive_account();
	nsec until = clock_after(account.io_timeout);
	struct store *store;
	bool found;
	enum err e = store_dir.open(&store, &account, false, until);

	if (!e)
		e = archive_mark_read(store, account.shown, &found, script->ledger_id);
	if (store)
		store_dir.close(&store);
	return e;
}

static enum err sink_open(struct script *script)
{
	struct account account = world_archive_account();
	const struct tap_type *blake3 = digest_type(text_of("blake3"));
	struct sink_config config = { .mailbox_no = 1,
				      .mailbox_name = "alice@127.0.0.1",
				      .ledger_id = script->ledger_id,
				      .next_seal_no = 1000,
				      .digest = blake3,
				      .digest_of_store = script->store_tap,
				      .zstd_level = 1,
				      .pack_bytes = 1 << 20 };
	enum err e = archive_sink.open(&script->sink, &account, &config,
				       clock_after(account.io_timeout));

	return e ? e : archive_sink.prepare(script->sink, &script->box);
}

static enum err tell_round(struct script *script, uint32_t round)
{
	const struct imap_model_box *model = &script->world->imap.boxes[0];
	struct change *change = calloc(1, sizeof *change);
	enum err e = OK;

	must(change);
	for (unsigned i = 0; i < model->messages_count && !e; i++) {
		*change = (struct change){ .kind = CHANGE_REFLAGGED,
					   .box = &script->box,
					   .epoch = script->box.epoch,
					   .no = model->messages[i].uid,
					   .meta.flags = round * ROUND_FLAG };
		e = archive_sink.amend(script->sink, change);
	}
	free(change);
	return e ? e : archive_sink.amend_flush(script->sink);
}

static enum err tell(struct script *script)
{
	enum err e = read_mark(script);

	if (e || (e = sink_open(script)))
		return e;
	for (uint32_t round = 1; round <= ROUNDS; round++) {
		if ((e = tell_round(script, round)))
			return e;
		reached(script, round);
	}
	archive_sink.drain(script->sink);
	if ((e = archive_sink.finish(script->sink, clock_after(60 * NSEC_SECOND))))
		return e;
	reached(script, STAGE_LISTED);
	return OK;
}

static enum err tell_fiber(void *argument)
{
	struct script *script = argument;
	const struct imap_model_box *model = &script->world->imap.boxes[0];
	enum err e = digest_open(digest_type(text_of("blake3")), &script->store_tap);

	script->box = (struct box){
		.separator = '/', .selectable = true, .epoch = model->epoch, .box_no = 1
	};
	snprintf(script->box.name, sizeof script->box.name, "%s", model->name);
	snprintf(script->box.raw, sizeof script->box.raw, "%s", model->raw);
	if (!e)
		e = tell(script);
	archive_sink.close(&script->sink);
	if (script->store_tap)
		script->store_tap->type->close(&script->store_tap);
	return e;
}

/* ---- looking ---- */

static void fault_seen(void *context, const char *key, const char *what)
{
	((struct script *)context)->faults++;
	printf("  verify says of %s: %s\n", key, what);
}

/* All messages of a round, or none; what was promised, or the round after it. */
static enum err look_at_messages(struct script *script, struct archive *archive)
{
	struct archive_message *message = calloc(1, sizeof *message);
	uint64_t least = min_u64(script->promised, ROUNDS), first = UINT64_MAX;
	enum err e;

	must(message);
	while ((e = archive_message_next(archive, message)) == OK) {
		uint64_t round = message->meta.flags / ROUND_FLAG % 4;

		if (strcmp(message->box, "INBOX") != 0)
			continue;
		script->messages++;
		if (round * ROUND_FLAG != message->meta.flags)
			round = 0; /* as stored */
		first = first == UINT64_MAX ? round : first;
		if (round != first || round < least || round > least + 1)
			script->faults++;
	}
	if (script->faults)
		printf("  %llu messages are of another round than %llu\n",
		       (unsigned long long)script->faults, (unsigned long long)least);
	free(message);
	return e == ERR_PIPE_ENDED ? OK : e;
}

static enum err look(struct script *script, struct archive *archive)
{
	struct archive_mailbox *mailbox = calloc(1, sizeof *mailbox);
	struct archive_check check;
	enum err e;

	must(mailbox);
	if (!(e = archive_mailbox_next(archive, mailbox)) &&
	    !(e = look_at_messages(script, archive)))
		e = archive_verify(archive, fault_seen, script, &check);
	free(mailbox);
	if (e)
		return e;
	if (script->promised == STAGE_LISTED && check.changes_unlisted)
		script->faults++;
	if (script->is_last && check.leftovers)
		script->faults++;
	return script->faults || script->messages != script->world->imap.boxes[0].messages_count
		       ? RAISE(ERR_ARCHIVE_DAMAGED, "%llu faults, %llu messages",
			       (unsigned long long)script->faults,
			       (unsigned long long)script->messages)
		       : OK;
}

static enum err look_fiber(void *argument)
{
	struct account account = world_archive_account();
	struct archive *archive = NULL;
	enum err e = archive_open(&store_dir, &account, clock_after(account.io_timeout), &archive);

	if (!e)
		e = look(argument, archive);
	archive_close(&archive);
	return e;
}

/* ---- processes ---- */

static enum err tell_body(struct world *world, void *argument)
{
	struct script script = { .world = world };

	(void)argument;
	return shard_run(&(struct shard_config){ .arena_chunks = 1 }, tell_fiber, &script);
}

static enum err look_body(struct world *world, void *argument)
{
	struct script script = *(const struct script *)argument;

	script.world = world;
	return shard_run(&(struct shard_config){ .arena_chunks = 1 }, look_fiber, &script);
}

/* After a power cut, so what is seen will stay. */
static bool promises_hold(struct world *world, uint64_t promised, bool is_last)
{
	struct script script = { .promised = promised, .is_last = is_last };

	world_lose_power(world);
	return CHECK_OK(world_process(world, look_body, &script)->error);
}

static bool next_run_completes(struct world *world)
{
	const struct world_result *result = world_process(world, tell_body, NULL);

	if (result->end != WORLD_FINISHED || result->error) {
		world_show(world, "the next run");
		return false;
	}
	return promises_hold(world, STAGE_LISTED, true);
}

/* An archive of the standard mailbox. */
static struct world *copied_world(void)
{
	struct world *world = world_open(world_seed(SEED_USUAL));

	world_fill(world);
	must(world_copy(world)->end == WORLD_FINISHED && world->result->error == OK);
	return world;
}

static uint64_t steps_of_a_run(struct world *world)
{
	must(world_process(world, tell_body, NULL)->end == WORLD_FINISHED);
	must(world->result->error == OK);
	return world->result->steps;
}

static bool survives(struct world *world, const struct world_mark *start, uint64_t k, uint64_t k2)
{
	uint64_t promised, again;

	world_back(world, start);
	world_cut_at(world, k);
	if (world_process(world, tell_body, NULL)->end != WORLD_CUT)
		return CHECK(world->result->end == WORLD_FINISHED), true;
	promised = world->result->progress.messages_moved;
	if (!promises_hold(world, promised, false))
		return false;
	/* The next run tells all rounds again, from the first one on, and is cut as well. */
	if (k2) {
		world_cut_at(world, k2);
		again = world_process(world, tell_body, NULL)->progress.messages_moved;
		/* Until it has told a round the one before it counts. */
		if (again && !promises_hold(world, again, false))
			return false;
	}
	return next_run_completes(world);
}

TEST(changes_that_were_flushed_outlive_a_cut_at_any_step)
{
	const char *only = getenv("AMEND");
	struct world *world = copied_world();
	struct world_mark start = world_mark(world);
	uint64_t steps = steps_of_a_run(world), k = only ? strtoull(only, NULL, 10) : 1;
	unsigned cuts = 0;

	CHECK(steps > 40);
	for (; k <= (only ? k : steps); k += CUTS_STEP) {
		cuts++;
		if (!survives(world, &start, k, k * 7919 % steps + 1)) {
			printf("  make sim SEED=%llu AMEND=%llu\n", (unsigned long long)world->seed,
			       (unsigned long long)k);
			break;
		}
		if (only)
			break;
	}
	printf("  %u cuts, each with another one in the next run\n", cuts);
	world_mark_free(&start);
	world_close(&world);
}

TEST(a_disk_that_fills_while_changes_are_told_loses_none_that_was_flushed)
{
	struct world *world = copied_world();
	struct world_mark start = world_mark(world);
	unsigned full = 0, had_room = 0, stages = 0;

	for (uint64_t kib = ROOM_KIB_MIN; !had_room && kib < ROOM_KIB_MAX; kib += ROOM_KIB_STEP) {
		uint64_t promised;

		world_back(world, &start);
		disk_limit(world->disk, kib * 1024);
		REQUIRE(world_process(world, tell_body, NULL)->end == WORLD_FINISHED);
		full += world->result->error == ERR_DISK_FULL;
		had_room += world->result->error == OK;
		REQUIRE(world->result->error == OK || world->result->error == ERR_DISK_FULL);
		promised = world->result->progress.messages_moved;
		stages |= 1u << promised;
		disk_limit(world->disk, 0);
		if (!promises_hold(world, promised, false) || !next_run_completes(world))
			break;
	}
	printf("  %u runs on a full disk, stages %x\n", full, stages);
	CHECK(full > 0 && had_room > 0);
	CHECK(stages & 0xE); /* some of them had flushed a round before */
	world_mark_free(&start);
	world_close(&world);
}

TEST(a_sync_that_fails_ends_the_run_and_promises_nothing)
{
	struct world *world = copied_world();
	struct world_mark start = world_mark(world);
	unsigned failed = 0;

	for (unsigned n = 1; n < 60; n++) {
		uint64_t promised;

		world_back(world, &start);
		world->faults.sync_no = n;
		REQUIRE(world_process(world, tell_body, NULL)->end == WORLD_FINISHED);
		world->faults.sync_no = 0;
		if (world->result->error == OK)
			break;
		failed++;
		CHECK_ERR(world->result->error, ERR_DISK_IO);
		promised = world->result->progress.messages_moved;
		if (!promises_hold(world, promised, false) || !next_run_completes(world))
			break;
	}
	printf("  %u failed syncs\n", failed);
	CHECK(failed > 8);
	world_mark_free(&start);
	world_close(&world);
}
