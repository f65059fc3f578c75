/* What a run finds at a destination where the one before was cut: copies too many, messages that
 * the server does not hand out, copies of another mailbox. A world is cut at steps of the run's
 *second half, then somebody does something to the destination's INBOX, then the next run recovers.
 *
 *	build/gcc/tests/sim/target_recover_test */
#include <stdio.h>

#include "crypto/digest.h"
#include "engine/clock.h"
#include "engine/shard.h"
#include "tests/sim/sweep.h"
#include "tests/test.h"

extern const struct sink_driver imap_sink;

enum { MESSAGES = 30, CUTS = SANITIZED ? 5 : 20 };

static struct world *open_world(void)
{
	struct world *world = world_open(world_seed(42));
	struct imap_model_box *inbox = imap_model_add_box(&world->imap, "INBOX", "INBOX", "");
	struct buffer mail = { 0 };

	for (unsigned i = 0; i < MESSAGES; i++) {
		buffer_reset(&mail);
		world_make_mail(world, "small", 200 + 10 * i, &mail);
		(void)imap_model_add_message(inbox, "\\Seen", "02-Feb-2022 22:22:22 +0200", mail.at,
					     mail.bytes);
	}
	buffer_free(&mail);
	world_add_target(world);
	world->sink = &imap_sink;
	world->target->store->multiappend = false;
	return world;
}

/* What is done to INBOX; false: it cannot be done there. */
typedef bool deed(struct world *, struct imap_model_box *);

static unsigned count_ours(const struct imap_model_box *inbox)
{
	unsigned ours = 0;

	for (unsigned i = 0; i < inbox->messages_count; i++)
		ours += !inbox->messages[i].foreign;
	return ours;
}

/* Returns how many runs behind a cut ended with `error`; the others must end well. */
static unsigned recover(deed *does, enum err error, bool judged, uint64_t *doubtful)
{
	struct world *world = open_world();
	struct world_mark mark = world_mark(world);
	uint64_t steps;
	unsigned count = 0;

	CHECK(sweep_completes(world, "a run that is not cut"));
	steps = world->result->steps;
	for (unsigned i = 0; i < CUTS; i++) {
		world_back(world, &mark);
		world->cuts_kill = true;
		world_cut_at(world, steps / 2 + i * (steps / 2) / CUTS);
		world_copy(world);
		world->cuts_kill = false;
		if (world->result->end != WORLD_CUT || !does(world, &world->target->boxes[0]))
			continue;
		world_copy(world);
		CHECK(world->result->end == WORLD_FINISHED);
		CHECK(!world->result->error || world->result->error == error);
		CHECK_EQ(world->result->progress.messages_skipped, 0);
		count += world->result->error == error;
		*doubtful += world->result->progress.messages_doubtful;
		CHECK_EQ(count_ours(&world->target->boxes[0]), MESSAGES);
		if (judged)
			CHECK(world_judge(world));
	}
	world_mark_free(&mark);
	world_close(&world);
	return count;
}

/* ---- copies too many ---- */

static bool deliver_last_again(struct world *world, struct imap_model_box *inbox)
{
	struct imap_model_message *last;

	(void)world;
	if (inbox->messages_count == 0)
		return false;
	last = &inbox->messages[inbox->messages_count - 1];
	last[1] = *last;
	last[1].uid = inbox->next_uid++;
	last[1].foreign = true;
	inbox->messages_count++;
	return true;
}

TEST(a_copy_too_many_that_is_there_at_once_is_told)
{
	uint64_t doubtful = 0;

	CHECK(recover(deliver_last_again, ERR_SINK_SURPLUS, false, &doubtful) > 0);
	CHECK_EQ(doubtful, 0);
}

/* ---- messages that cannot be read ---- */

static bool deliver_unreadable(struct world *world, struct imap_model_box *inbox)
{
	imap_store_deliver(world->target, inbox);
	inbox->refused = inbox->next_uid - 1;
	return true;
}

TEST(anothers_message_that_cannot_be_read_stops_nothing)
{
	uint64_t doubtful = 0;

	CHECK(recover(deliver_unreadable, OK, true, &doubtful) > 0);
	CHECK_EQ(doubtful, 0);
}

static bool refuse_last(struct world *world, struct imap_model_box *inbox)
{
	if (inbox->messages_count == 0)
		return false;
	world->excused[0] = "SINK_UNREADABLE";
	inbox->refused = inbox->messages[inbox->messages_count - 1].uid;
	return true;
}

/* Doubtful, or stored where its answer was heard; never sent again. */
TEST(a_message_of_ours_that_cannot_be_read_is_in_doubt)
{
	uint64_t doubtful = 0;

	CHECK(recover(refuse_last, OK, true, &doubtful) > 0);
	CHECK(doubtful > 0);
}

/* ---- copies of another mailbox ---- */

struct entering {
	struct world *world;
	bool guesses; /* it has what is ours in doubt, unread; else what others delivered */
};

static enum err settle_twins(struct ledger *ledger, const struct imap_model_box *inbox,
			     uint64_t box_no, bool guesses)
{
	enum err e = ledger_intend(ledger, box_no, 1, inbox->messages_count);

	for (unsigned i = 0; i < inbox->messages_count && !e; i++) {
		const struct imap_model_message *message = &inbox->messages[i];
		struct ledger_row row = { .box_no = box_no,
					  .no = i + 1,
					  .state = guesses ? LEDGER_DOUBTFUL : LEDGER_MOVED,
					  .reason = guesses ? ERR_SINK_UNREADABLE : OK,
					  .size_bytes = message->length,
					  .target_no = message->uid };

		if (message->foreign == guesses)
			continue;
		if (guesses || !(e = digest_of(digest_type(text_of("blake3")), message->bytes,
					       message->length, &row.digest)))
			e = ledger_settle(ledger, &row);
	}
	if (!e)
		e = ledger_range_done(ledger, box_no, 1, inbox->messages_count);
	return e ? e : ledger_commit(ledger);
}

static enum err enter_twins(void *argument)
{
	static struct box box; /* large */
	const struct entering *entering = argument;
	const struct imap_model_box *inbox = &entering->world->target->boxes[0];
	uint64_t epoch_before, next_no;
	struct ledger_mailbox mailbox;
	struct ledger *ledger;
	enum err e = ledger_open(world_state_path, clock_after(600 * NSEC_SECOND), &ledger);

	if (e)
		return e;
	box = (struct box){ .epoch = 7, .name = "INBOX" };
	if (!(e = ledger_mailbox(ledger, "imaps://carol@127.0.0.3/", world_target_shown, "blake3",
				 &mailbox)) &&
	    !(e = ledger_box(ledger, mailbox.mailbox_no, &box, &epoch_before, &next_no)) &&
	    !(e = ledger_box_target(ledger, box.box_no, inbox->raw, inbox->epoch)))
		e = settle_twins(ledger, inbox, box.box_no, entering->guesses);
	ledger_close(&ledger);
	return e;
}

static enum err enter_body(struct world *world, void *argument)
{
	struct entering entering = { world, argument != NULL };

	return shard_run(&(struct shard_config){ 0 }, enter_twins, &entering);
}

/* Another mailbox of the job, copied to the same target meanwhile, got the same mail. */
static bool copy_twins(struct world *world, struct imap_model_box *inbox)
{
	const struct imap_model_box *source = &world->imap.boxes[0];

	for (unsigned i = 0; i < source->messages_count; i++) {
		const struct imap_model_message *message = &source->messages[i];

		imap_store_deliver_mail(world->target, inbox, message->flags, message->date,
					message->bytes, message->length);
	}
	CHECK_OK(world_process(world, enter_body, NULL)->error);
	return true;
}

/* Each of our own is there besides them, and none twice. */
TEST(a_copy_of_another_mailbox_is_not_taken_for_one_that_was_lost)
{
	uint64_t doubtful = 0;

	CHECK(recover(copy_twins, OK, true, &doubtful) > 0);
	CHECK_EQ(doubtful, 0);
}

/* Another mailbox was cut as well, and took ours, which could not be read then, for its own. */
static bool guess_ours(struct world *world, struct imap_model_box *inbox)
{
	if (inbox->messages_count == 0)
		return false;
	CHECK_OK(world_process(world, enter_body, inbox)->error);
	return true;
}

/* Nor is it sent again. The judge does not like two messages that the ledger calls one copy. */
TEST(a_copy_that_another_mailbox_only_guesses_to_be_its_own_is_ours)
{
	uint64_t doubtful = 0;

	(void)recover(guess_ours, OK, false, &doubtful);
	CHECK_EQ(doubtful, 0);
}
