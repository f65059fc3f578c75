/* A mailbox of labels in the simulated world: whatever the rule, the target and the place of the
 * cut, every message is stored, and never twice in a folder; where each is to be in one folder,
 * never twice at all, also when its labels change between two runs, and while one goes on.
 *
 *	make sim SEED=7 GMAIL=123 T=name      the first run of test `name` is cut before step 123
 *	SIM_ALL=1 make sim                    every cut */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "engine/clock.h"
#include "engine/shard.h"
#include "tests/sim/sweep.h"
#include "tests/test.h"
#include "transport/archive.h"

extern const struct sink_driver imap_sink;

enum { CUTS_USUAL = SANITIZED ? 5 : 16, CUT_AGAIN_BELOW = 300, COPIES_MAX = 400, PLACES_MAX = 8 };

/* Messages are known by their lengths: each has one of its own. */
struct copies {
	unsigned count;
	struct copy {
		char box[128];
		size_t length;
	} copies[COPIES_MAX];
};

struct mailbox {
	struct world *world;
	struct copies *copies; /* shared with the processes */
	const char *rule;
	void (*change)(struct world *); /* what people do between the cut run and the next */
	struct world_mark start;
};

static const char all_mail[] = "[Gmail]/All Mail";

/* ---- the mailbox ---- */

static void add(struct world *world, struct imap_model_box *box, const char *labels, size_t bytes)
{
	struct imap_model_message *message;
	struct buffer mail = { 0 };

	world_make_mail(world, "labelled", bytes, &mail);
	for (unsigned i = 0; i < box->messages_count; i++)
		must(box->messages[i].length != mail.bytes);
	message = imap_model_add_message(box, "\\Seen", "02-Feb-2022 22:22:22 +0200", mail.at,
					 mail.bytes);
	snprintf(message->labels, sizeof message->labels, "%s", labels);
	buffer_free(&mail);
}

/* Folders of labels are empty in the model: nobody asks them for anything. */
static void fill(struct world *world)
{
	static const char *const sets[] = {
		"\\Inbox",
		"\\Inbox \"\\\\Important\" Work",
		"Work",
		"Work \"Work/a b\"",
		"",
		"\\Sent",
		"\\Sent \\Inbox Play",
		"\\Draft",
		"Play Work \"Work/a b\"",
	};
	struct imap_model_box *box;

	world->imap.capabilities = imap_model_capabilities_gmail;
	(void)imap_model_add_box(&world->imap, "INBOX", "INBOX", "");
	(void)imap_model_add_box(&world->imap, "Play", "Play", "");
	(void)imap_model_add_box(&world->imap, "Work", "Work", "");
	(void)imap_model_add_box(&world->imap, "Work/a b", "Work/a b", "");
	(void)imap_model_add_box(&world->imap, "[Gmail]", "[Gmail]", "\\Noselect");
	box = imap_model_add_box(&world->imap, all_mail, all_mail, "\\All");
	for (unsigned i = 0; i < 3 * ARRAY_COUNT(sets); i++) {
		if (i % 5 == 4)
			box->next_uid += 3; /* some were deleted */
		add(world, box, sets[i % ARRAY_COUNT(sets)], 700 + 200 * i);
	}
	(void)imap_model_add_box(&world->imap, "[Gmail]/Sent Mail", "[Gmail]/Sent Mail", "\\Sent");
	(void)imap_model_add_box(&world->imap, "[Gmail]/Drafts", "[Gmail]/Drafts", "\\Drafts");
	(void)imap_model_add_box(&world->imap, "[Gmail]/Starred", "[Gmail]/Starred", "\\Flagged");
	box = imap_model_add_box(&world->imap, "[Gmail]/Trash", "[Gmail]/Trash", "\\Trash");
	add(world, box, "", 30001);
}

static struct imap_model_box *box_of(struct world *world, const char *name)
{
	for (unsigned i = 0; i < world->imap.boxes_count; i++)
		if (strcmp(world->imap.boxes[i].raw, name) == 0)
			return &world->imap.boxes[i];
	must(false);
	return NULL;
}

/* Archived, labelled, unlabelled, sent to the inbox again; and a new message. */
static void change_labels(struct world *world)
{
	static const char *const now[] = { "Work", "", "\\Inbox", "Play \"Work/a b\"" };
	struct imap_model_box *all = box_of(world, all_mail);

	for (unsigned i = 0; i < all->messages_count; i += 2) {
		snprintf(all->messages[i].labels, sizeof all->messages[i].labels, "%s",
			 now[i / 2 % ARRAY_COUNT(now)]);
		all->messages[i].modseq = ++all->modseq;
	}
	add(world, all, "\\Inbox Work", 21000);
}

/* Work is Jobs from now on: a folder is gone, another one has its messages. */
static void rename_label(struct world *world)
{
	struct imap_model_box *all = box_of(world, all_mail);

	imap_model_call(box_of(world, "Work"), "Jobs", "Jobs");
	for (unsigned i = 0; i < all->messages_count; i++)
		if (strcmp(all->messages[i].labels, "Work") == 0)
			snprintf(all->messages[i].labels, sizeof all->messages[i].labels, "Jobs");
}

/* All Mail has other UIDs, the same messages. */
static void renew_all_mail(struct world *world)
{
	imap_model_renew(box_of(world, all_mail), 500);
}

/* ---- where a message is to be, said once more and in another way ---- */

static unsigned places_of(const char *labels, const char *rule, const char *places[PLACES_MAX])
{
	static const struct {
		const char *label, *place;
	} known[] = { { "\\Inbox", "INBOX" },
		      { "\\Sent", "[Gmail]/Sent Mail" },
		      { "\\Draft", "[Gmail]/Drafts" },
		      { "\"Work/a b\"", "Work/a b" },
		      { "Jobs", "Jobs" },
		      { "Play", "Play" },
		      { "Work", "Work" } };
	char rest[80];
	unsigned count = 0;

	snprintf(rest, sizeof rest, "%s ", labels);
	for (unsigned i = 0; i < ARRAY_COUNT(known); i++) {
		char word[40], *at;

		snprintf(word, sizeof word, "%s ", known[i].label);
		at = strstr(rest, word);
		if (!at || (at > rest && at[-1] != ' '))
			continue;
		places[count++] = known[i].place;
	}
	if (!count)
		places[count++] = all_mail;
	return strcmp(rule, "first") == 0 ? 1 : count;
}

/* ---- what is stored ---- */

static enum err read_archive(void *argument)
{
	struct account account = world_archive_account();
	struct copies *copies = argument;
	struct archive_mailbox *mailbox = calloc(1, sizeof *mailbox);
	struct archive_message *message = calloc(1, sizeof *message);
	struct archive *archive = NULL;
	enum err e;

	must(mailbox && message);
	e = archive_open(&store_dir, &account, clock_after(account.io_timeout), &archive);
	if (!e)
		e = archive_mailbox_next(archive, mailbox);
	while (!e && (e = archive_message_next(archive, message)) == OK) {
		struct copy *copy = &copies->copies[copies->count++];

		must(copies->count <= COPIES_MAX);
		snprintf(copy->box, sizeof copy->box, "%.127s", message->box);
		copy->length = message->size_bytes;
	}
	archive_close(&archive);
	free(mailbox);
	free(message);
	return e == ERR_PIPE_ENDED ? OK : e;
}

static enum err read_body(struct world *world, void *copies)
{
	(void)world;
	return shard_run(&(struct shard_config){ 0 }, read_archive, copies);
}

static void read_target(struct world *world, struct copies *copies)
{
	imap_store_settle(world->target);
	for (unsigned b = 0; b < world->target->boxes_count; b++)
		for (unsigned i = 0; i < world->target->boxes[b].messages_count; i++) {
			struct copy *copy = &copies->copies[copies->count++];

			must(copies->count <= COPIES_MAX);
			snprintf(copy->box, sizeof copy->box, "%.127s",
				 world->target->boxes[b].raw);
			copy->length = world->target->boxes[b].messages[i].length;
		}
}

static bool read_copies(struct mailbox *mailbox)
{
	struct world *world = mailbox->world;
	struct world_mark before;
	bool good;

	mailbox->copies->count = 0;
	if (world->target) {
		read_target(world, mailbox->copies);
		return true;
	}
	before = world_mark(world);
	world_process(world, read_body, mailbox->copies);
	good = world->result->end == WORLD_FINISHED && !world->result->error;
	if (!good)
		world_show(world, "reading the archive");
	world_back(world, &before);
	world_mark_free(&before);
	return good;
}

static unsigned count_copies(const struct copies *copies, size_t length, const char *box)
{
	unsigned count = 0;

	for (unsigned i = 0; i < copies->count; i++)
		count += copies->copies[i].length == length &&
			 (!box || strcmp(copies->copies[i].box, box) == 0);
	return count;
}

/* ---- what must hold ---- */

/* `before`: the labels it had when the first run began. */
static bool judge_message(const struct mailbox *mailbox, const struct imap_model_message *message,
			  const char *before)
{
	const struct copies *copies = mailbox->copies;
	const char *now[PLACES_MAX], *was[PLACES_MAX];
	unsigned now_count = places_of(message->labels, mailbox->rule, now);
	unsigned was_count = before ? places_of(before, mailbox->rule, was) : 0;
	unsigned all = count_copies(copies, message->length, NULL), known = 0, missing = 0;
	bool good = true;

	for (unsigned i = 0; i < now_count; i++) {
		unsigned there = count_copies(copies, message->length, now[i]);

		good &= there <= 1;
		missing += there == 0;
		known += there;
	}
	for (unsigned i = 0; i < was_count; i++) {
		bool again = false;

		for (unsigned n = 0; n < now_count; n++)
			again |= strcmp(now[n], was[i]) == 0;
		if (!again) {
			unsigned there = count_copies(copies, message->length, was[i]);

			good &= there <= 1;
			known += there;
		}
	}
	if (strcmp(mailbox->rule, "first") == 0)
		good &= all == 1;
	else
		good &= missing == 0;
	if (good && known == all)
		return true;
	printf("  judge: a message of %zu bytes, labels (%s), before (%s), has %u copies, %u of "
	       "them where it may be, and misses %u\n",
	       message->length, message->labels, before ? before : "none", all, known, missing);
	return false;
}

static bool judge(struct mailbox *mailbox)
{
	struct world *world = mailbox->world;
	const struct imap_model_box *all = box_of(world, all_mail), *was = NULL;
	bool good = read_copies(mailbox);

	for (unsigned i = 0; i < mailbox->start.imap->boxes_count; i++)
		if (strcmp(mailbox->start.imap->boxes[i].raw, all_mail) == 0)
			was = &mailbox->start.imap->boxes[i];
	for (unsigned i = 0; i < all->messages_count && good; i++)
		good = judge_message(mailbox, &all->messages[i],
				     i < was->messages_count ? was->messages[i].labels : NULL);
	if (good &&
	    count_copies(mailbox->copies, box_of(world, "[Gmail]/Trash")->messages[0].length,
			 "[Gmail]/Trash") != 1) {
		printf("  judge: what is in the trash is not there once\n");
		return false;
	}
	return good;
}

static bool ends_well(struct mailbox *mailbox)
{
	struct world *world = mailbox->world;

	if (mailbox->change)
		mailbox->change(world);
	if (!sweep_completes(world, "the next run"))
		return false;
	world_lose_power(world);
	return judge(mailbox) && sweep_has_nothing_to_do(world);
}

static bool cut_and_recover(struct mailbox *mailbox, uint64_t step)
{
	struct world *world = mailbox->world;

	world_back(world, &mailbox->start);
	world_cut_at(world, step);
	world_copy(world);
	if (world->result->end != WORLD_CUT && world->result->end != WORLD_FINISHED) {
		world_show(world, "the run to be cut");
		return false;
	}
	if (mailbox->change && step % 2) { /* changed already when the next one is cut */
		mailbox->change(world);
		world_cut_at(world, 1 + step * 7919 % CUT_AGAIN_BELOW);
		world_copy(world);
		if (!sweep_completes(world, "the run after two cuts"))
			return false;
		return judge(mailbox) && sweep_has_nothing_to_do(world);
	}
	return ends_well(mailbox);
}

static uint64_t from_environment(const char *name)
{
	const char *value = getenv(name);

	return value && *value ? strtoull(value, NULL, 10) : 0;
}

static void sweep(struct mailbox *mailbox, uint64_t steps, const char *name)
{
	uint64_t only = from_environment("GMAIL");
	uint64_t every = from_environment("SIM_ALL") ? 1 : (steps + CUTS_USUAL - 1) / CUTS_USUAL;
	unsigned failures = 0, made = 0;

	for (uint64_t k = only ? only : 1 + mailbox->world->seed % every;
	     k <= (only ? only : steps) && failures < FAILURES_MAX; k += every) {
		made++;
		if (cut_and_recover(mailbox, k))
			continue;
		failures++;
		printf("  repeat: SEED=%llu GMAIL=%llu build/gcc/tests/sim/gmail_test %s\n",
		       (unsigned long long)mailbox->world->seed, (unsigned long long)k, name);
	}
	CHECK_EQ(failures, 0);
	CHECK(made > 0);
	printf("  %u of %llu cuts made\n", made, (unsigned long long)steps);
}

/* Not cut, then cut everywhere, with `change` in between. */
static void play(const char *rule, void (*change)(struct world *), bool to_server,
		 unsigned connections, const char *name)
{
	struct mailbox mailbox = { .world = world_open(world_seed(SEED_USUAL)),
				   .rule = rule,
				   .change = change };
	uint64_t steps;
	bool good;

	mailbox.copies = mmap(NULL, sizeof *mailbox.copies, PROT_READ | PROT_WRITE,
			      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	must(mailbox.copies != MAP_FAILED);
	mailbox.world->labels = rule;
	mailbox.world->connections = connections;
	fill(mailbox.world);
	if (to_server) {
		world_add_target(mailbox.world);
		mailbox.world->sink = &imap_sink;
	}
	mailbox.start = world_mark(mailbox.world);
	good = sweep_completes(mailbox.world, "the first run");
	steps = mailbox.world->result->steps;
	if (strcmp(rule, "first") == 0) /* and the one in the trash */
		CHECK_EQ(mailbox.world->result->imap.messages_sent,
			 box_of(mailbox.world, all_mail)->messages_count + 1);
	good = good && judge(&mailbox);
	CHECK(good);
	if (good) {
		CHECK(ends_well(&mailbox));
		sweep(&mailbox, steps, name);
	}
	world_mark_free(&mailbox.start);
	world_close(&mailbox.world);
	must(munmap(mailbox.copies, sizeof *mailbox.copies) == 0);
}

#define PLAY(test_name, rule, change, to_server, connections)                                      \
	TEST(test_name)                                                                            \
	{                                                                                          \
		ONLY_FOR("GMAIL");                                                                 \
		play(rule, change, to_server, connections, #test_name);                            \
	}

PLAY(each_message_once_in_an_archive, "first", NULL, false, 1)
PLAY(each_message_once_at_a_server, "first", NULL, true, 2)
PLAY(labels_that_change_double_no_message, "first", change_labels, false, 2)
PLAY(labels_that_change_double_no_message_at_a_server, "first", change_labels, true, 1)
PLAY(a_label_with_another_name_doubles_no_message, "first", rename_label, true, 1)
PLAY(another_uidvalidity_of_all_mail_doubles_no_message, "first", renew_all_mail, true, 1)
PLAY(each_message_once_for_each_label_in_an_archive, "every", NULL, false, 2)
PLAY(each_message_once_for_each_label_at_a_server, "every", NULL, true, 1)
PLAY(a_new_label_adds_a_copy, "every", change_labels, false, 1)
PLAY(a_new_label_adds_a_copy_at_a_server, "every", change_labels, true, 2)
