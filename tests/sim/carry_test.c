/* A later run from one server to another, after people went on reading: what changed of flags at
 * the source is done at the destination, what changed there stays, wherever the run is cut, and
 * however the destination's connection ends. One list of messages, with what each side makes of
 * each; destinations that can and cannot do this and that.
 *
 *	make sim SEED=7 CARRY=123      the later run is cut before that step
 *	SIM_ALL=1 make sim             before every step */
#include <stdio.h>
#include <stdlib.h>

#include "tests/sim/imap_model_reply.h"
#include "tests/sim/sweep.h"
#include "tests/test.h"

extern const struct sink_driver imap_sink;

enum { CUTS_USUAL = SANITIZED ? 6 : 30, SECOND_CUT_BELOW = 150 };

/* NULL at the destination: nobody touches it. */
static const struct {
	const char *was, *now, *there, *want;
} mails[] = {
	{ "", "\\Seen", NULL, "\\Seen" },
	{ "", "\\Seen", NULL, "\\Seen" },
	{ "\\Seen", "", NULL, "" },
	{ "\\Seen $a", "\\Seen \\Flagged $b", NULL, "\\Seen \\Flagged $b" },
	{ "$a", "\\Deleted $a", NULL, "\\Deleted $a" },
	{ "\\Deleted", "\\Answered", NULL, "\\Answered" },
	{ "\\Draft $a $b", "$b", NULL, "$b" },
	{ "\\Seen", "\\Seen", NULL, "\\Seen" },
	/* Both sides. */
	{ "", "\\Answered", "\\Flagged", "\\Answered \\Flagged" },
	{ "\\Seen \\Flagged", "\\Seen", "\\Flagged", "" },
	{ "", "\\Seen", "\\Seen", "\\Seen" },
	{ "\\Seen", "\\Seen", "", "" },
	{ "\\Seen $a", "\\Seen", "\\Answered $a $mine", "\\Answered $mine" },
	{ "", "\\Seen $a", "\\Draft $mine", "\\Seen \\Draft $mine $a" },
};
enum { MAILS = ARRAY_COUNT(mails) };

struct carry {
	struct world *world;
	struct world_mark start;
	unsigned removed; /* the message that was removed there; MAILS: none */
	bool is_replaced; /* another UIDVALIDITY, so nothing can be done */
	unsigned failures, made;
};

/* ---- the two sides ---- */

static void fill(struct world *world)
{
	static const char *const names[] = { "INBOX", "Other" };

	for (unsigned b = 0; b < ARRAY_COUNT(names); b++) {
		struct imap_model_box *box =
			imap_model_add_box(&world->imap, names[b], names[b], "");

		for (unsigned i = 0; i < MAILS; i++) {
			struct buffer mail = { 0 };
			char subject[32];

			snprintf(subject, sizeof subject, "%s %u", names[b], i);
			world_make_mail(world, subject, 300 + 7 * i, &mail);
			(void)imap_model_add_message(box, mails[i].was,
						     "02-Feb-2022 22:22:22 +0200", mail.at,
						     mail.bytes);
			buffer_free(&mail);
		}
	}
}

static unsigned find_copy(const struct world *world, unsigned b, unsigned i)
{
	const struct imap_model_message *message = &world->imap.boxes[b].messages[i];
	const struct imap_model_box *box = &world->target->boxes[b];

	for (unsigned t = 0; t < box->messages_count; t++)
		if (box->messages[t].length == message->length &&
		    memcmp(box->messages[t].bytes, message->bytes, message->length) == 0)
			return t;
	return IMAP_MODEL_MESSAGES_MAX;
}

static void people_work(struct carry *carry)
{
	struct world *world = carry->world;

	for (unsigned b = 0; b < world->imap.boxes_count; b++)
		for (unsigned i = 0; i < MAILS; i++) {
			unsigned t = find_copy(world, b, i);

			must(t < IMAP_MODEL_MESSAGES_MAX);
			if (strcmp(mails[i].was, mails[i].now) != 0)
				imap_model_flag(&world->imap.boxes[b], i, mails[i].now);
			if (mails[i].there)
				imap_model_flag(&world->target->boxes[b], t, mails[i].there);
		}
	if (carry->removed < MAILS)
		imap_model_expunge(&world->target->boxes[1], find_copy(world, 1, carry->removed));
	if (carry->is_replaced)
		imap_model_renew(&world->target->boxes[1], 100);
}

/* ---- what must hold ---- */

static uint64_t mark_of(const char *flags, bool without_touch)
{
	static struct mail_meta meta;
	char text[80], *touch;

	snprintf(text, sizeof text, "%s", flags);
	if (without_touch && (touch = strstr(text, "$touched")) != NULL) {
		char *rest = touch + strlen("$touched");

		if (*rest == ' ')
			rest++;
		else if (touch > text)
			touch--;
		bytes_move(touch, rest, strlen(rest) + 1);
	}
	meta = (struct mail_meta){ 0 };
	world_flags(text, &meta);
	return mail_mark(&meta);
}

/* Where its folder is another one now: as people left it. */
static const char *wanted(const struct carry *carry, unsigned b, unsigned i)
{
	if (b == 1 && carry->is_replaced)
		return mails[i].there ? mails[i].there : mails[i].was;
	return mails[i].want;
}

static bool judge(const struct carry *carry)
{
	const struct world *world = carry->world;
	unsigned touched = 0;
	bool good = true;

	for (unsigned b = 0; b < world->imap.boxes_count; b++)
		for (unsigned i = 0; i < MAILS; i++) {
			unsigned t = find_copy(world, b, i);
			const char *flags;

			if (t == IMAP_MODEL_MESSAGES_MAX && b == 1 && i == carry->removed)
				continue;
			must(t < IMAP_MODEL_MESSAGES_MAX);
			flags = world->target->boxes[b].messages[t].flags;
			touched += strstr(flags, "$touched") != NULL;
			if (mark_of(flags, true) == mark_of(wanted(carry, b, i), false))
				continue;
			printf("  judge: message %u of %s has (%s) and should have (%s)\n", i,
			       world->imap.boxes[b].raw, flags, wanted(carry, b, i));
			good = false;
		}
	if (touched != world->target->store->touched) {
		printf("  judge: of %u messages that were touched, %u are\n",
		       world->target->store->touched, touched);
		good = false;
	}
	return good;
}

/* No copy is one too many, either: those are counted. */
static bool ends_well(struct carry *carry)
{
	struct world *world = carry->world;

	if (!sweep_completes(world, "the later run"))
		return false;
	world_lose_power(world);
	if (!judge(carry) || !sweep_has_nothing_to_do(world))
		return false;
	if (world->result->store.stores) {
		printf("  with nothing to do, flags were stored\n");
		return false;
	}
	for (unsigned b = 0; b < world->imap.boxes_count; b++)
		if (world->target->boxes[b].messages_count !=
		    MAILS - (unsigned)(b == 1 && carry->removed < MAILS))
			return false;
	return judge(carry);
}

/* ---- cuts ---- */

static void lose_connection(struct world *world, uint64_t k)
{
	world->target->end_count = k % 3 == 0 ? 2 : 0;
	world->target->end_how = k % 2 ? NET_RESETS : NET_CLOSES;
	world->target->end_after_heard = k % 6 == 0 ? 1 + k * 13 : 0;
	world->target->end_after = 1 + k * 29;
}

static bool cut_and_recover(struct carry *carry, uint64_t k)
{
	struct world *world = carry->world;

	world_back(world, &carry->start);
	lose_connection(world, k);
	world_cut_at(world, k);
	world_copy(world);
	world->target->end_count = 0;
	if (world->result->end != WORLD_CUT &&
	    (world->result->end != WORLD_FINISHED || !sweep_is_excused(world->result->error))) {
		world_show(world, "the run to be cut");
		return false;
	}
	if (k % 2) {
		world_cut_at(world, 1 + k * 7919 % SECOND_CUT_BELOW);
		world_copy(world);
	}
	return ends_well(carry);
}

static void sweep(struct carry *carry)
{
	uint64_t steps = carry->world->result->steps, only = sweep_asked("CARRY");
	uint64_t every = sweep_asked("SIM_ALL") ? 1 : sweep_every(steps, CUTS_USUAL);

	for (uint64_t k = only ? only : 1 + carry->world->seed % every;
	     k <= (only ? only : steps) && carry->failures < FAILURES_MAX; k += every) {
		carry->made++;
		if (cut_and_recover(carry, k))
			continue;
		carry->failures++;
		printf("  repeat: SEED=%llu CARRY=%llu build/gcc/tests/sim/carry_test %s\n",
		       (unsigned long long)carry->world->seed, (unsigned long long)k, test_name());
	}
	CHECK_EQ(carry->failures, 0);
	CHECK(carry->made > 0);
	printf("  %u of %llu cuts made\n", carry->made, (unsigned long long)steps);
}

/* ---- destinations ---- */

static void open_carry(struct carry *carry)
{
	*carry = (struct carry){ .world = world_open(world_seed(SEED_USUAL)), .removed = MAILS };
	fill(carry->world);
	world_add_target(carry->world);
	carry->world->sink = &imap_sink;
	carry->world->imap.capabilities = imap_model_capabilities_qresync;
}

/* Copied, changed, copied again: cut nowhere, then everywhere. */
static void play(struct carry *carry, struct mail_carried want)
{
	struct world *world = carry->world;
	const struct mail_carried *got = &world->result->progress.changes.flags;

	REQUIRE(sweep_completes(world, "the first run"));
	CHECK_EQ(world->result->store.stores, 0);
	people_work(carry);
	carry->start = world_mark(world);
	CHECK(sweep_completes(world, "the later run"));
	CHECK_EQ(got->carried, want.carried);
	CHECK_EQ(got->merged, want.merged);
	CHECK_EQ(got->gone, want.gone);
	CHECK_EQ(got->refused, want.refused);
	CHECK(judge(carry));
	sweep(carry);
	world_mark_free(&carry->start);
	world_close(&carry->world);
}

/* Of each folder's 14, two did not change at the source. */
enum { CHANGED = 12, BOTH = 4 };

TEST(flags_are_carried_on_condition)
{
	struct carry carry;

	ONLY_FOR("CARRY");
	open_carry(&carry);
	carry.world->target->store->condstore = true;
	play(&carry, (struct mail_carried){ .carried = 2 * CHANGED, .merged = 2 * BOTH });
}

TEST(flags_are_carried_without_condstore_at_either_side)
{
	struct carry carry;

	ONLY_FOR("CARRY");
	open_carry(&carry);
	carry.world->imap.capabilities = imap_model_capabilities_plain;
	carry.world->target->store->few = true;
	play(&carry, (struct mail_carried){ .carried = 2 * CHANGED, .merged = 2 * BOTH });
}

/* Messages that change between FETCH and STORE are read again. */
TEST(what_changes_under_our_hands_stays)
{
	struct carry carry;

	ONLY_FOR("CARRY");
	open_carry(&carry);
	carry.world->target->store->condstore = true;
	REQUIRE(sweep_completes(carry.world, "the first run"));
	people_work(&carry);
	carry.world->target->store->touches_left = 10;
	carry.start = world_mark(carry.world);
	CHECK(sweep_completes(carry.world, "the later run"));
	CHECK(carry.world->result->store.modified > 0);
	CHECK_EQ(carry.world->target->store->touched, 10);
	CHECK_EQ(carry.world->result->progress.changes.flags.carried, 2 * CHANGED);
	CHECK(judge(&carry));
	sweep(&carry);
	world_mark_free(&carry.start);
	world_close(&carry.world);
}

TEST(a_message_that_was_removed_there_is_counted)
{
	struct carry carry;

	ONLY_FOR("CARRY");
	open_carry(&carry);
	carry.removed = 3;
	play(&carry,
	     (struct mail_carried){ .carried = 2 * CHANGED - 1, .merged = 2 * BOTH, .gone = 1 });
}

TEST(a_folder_that_is_another_one_now_is_left_alone)
{
	struct carry carry;

	ONLY_FOR("CARRY");
	open_carry(&carry);
	carry.is_replaced = true;
	play(&carry,
	     (struct mail_carried){ .carried = CHANGED, .merged = BOTH, .refused = CHANGED });
}

/* No number is known, so nothing is done, and that is said. */
TEST(without_uidplus_nothing_can_be_carried)
{
	struct carry carry;
	struct world *world;

	ONLY_FOR("");
	open_carry(&carry);
	world = carry.world;
	world->target->store->uidplus = false;
	REQUIRE(sweep_completes(world, "the first run"));
	people_work(&carry);
	CHECK(sweep_completes(world, "the later run"));
	CHECK_EQ(world->result->store.stores, 0);
	CHECK_EQ(world->result->progress.changes.flags.refused, 2 * CHANGED);
	CHECK_EQ(world->result->progress.changes.flags.carried, 0);
	world_close(&carry.world);
}

TEST(flags_are_left_alone_where_asked)
{
	struct carry carry;
	struct world *world;

	ONLY_FOR("");
	open_carry(&carry);
	world = carry.world;
	world->flags_keep = true;
	REQUIRE(sweep_completes(world, "the first run"));
	people_work(&carry);
	CHECK(sweep_completes(world, "the later run"));
	CHECK_EQ(world->result->store.stores, 0);
	CHECK_EQ(world->result->progress.changes.reflagged, 2 * CHANGED);
	CHECK_EQ(world->result->progress.changes.flags.refused, 0);
	CHECK_EQ(world->result->progress.changes.flags.carried, 0);
	world_close(&carry.world);
}

/* The folder at the source is made anew: found again, with the flags they have now. */
TEST(flags_of_messages_with_new_numbers_are_carried)
{
	struct carry carry;
	struct world *world;

	ONLY_FOR("");
	open_carry(&carry);
	world = carry.world;
	REQUIRE(sweep_completes(world, "the first run"));
	people_work(&carry);
	imap_model_renew(&world->imap.boxes[0], 70);
	CHECK(sweep_completes(world, "the later run"));
	CHECK_EQ(world->result->store.appends, 0);
	CHECK_EQ(world->result->progress.changes.renumbered, MAILS);
	CHECK_EQ(world->result->progress.changes.flags.carried, 2 * CHANGED);
	CHECK(judge(&carry));
	/* And where they lie is known still. */
	imap_model_flag(&world->imap.boxes[0], 0, "");
	CHECK(sweep_completes(world, "one more run"));
	CHECK_EQ(world->result->progress.changes.flags.carried, 1);
	CHECK_TEXT(world->target->boxes[0].messages[find_copy(world, 0, 0)].flags, "");
	world_close(&carry.world);
}
