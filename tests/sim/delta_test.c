/* A second run in the simulated world, after somebody changed the mailbox: what the ledger knows
 *and what the sink was told together are the mailbox as it is now, wherever the run was cut, and
 *nothing is stored twice.
 *
 *	make sim SEED=7 DELTA=123 T=name      the second run of scenario `name` is cut before step
 *123 SIM_ALL=1 make sim                    every cut of every scenario */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "engine/clock.h"
#include "engine/shard.h"
#include "tests/sim/record_sink.h"
#include "tests/sim/world.h"
#include "tests/test.h"
#include "transport/archive.h"

enum {
	SEED_USUAL = 7,
	CUTS_USUAL = SANITIZED ? 4 : 14,
	FAILURES_MAX = 3,
	CUT_AGAIN_BELOW = 200,
	KNOWN_MAX = 400
};

/* A message as somebody knows it. */
struct known {
	char box[RECORD_NAME_BYTES];
	uint64_t epoch, no, mark, length;
	bool gone;
};
struct view {
	unsigned count;
	struct known known[KNOWN_MAX];
};

/* What is shared with the processes. */
struct shared {
	struct records records;
	struct view ledger;
	uint64_t stored; /* messages in the archive's packs */
	unsigned open_ranges;
};

struct scenario {
	struct world *world;
	struct shared *shared;
	struct records *records_before;
	struct world_mark start;
	struct view first; /* as the first run left it */
	unsigned new_ones; /* stored by the second run */
	unsigned failures, made;
};

/* ---- what there is ---- */

static void add_known(struct view *view, const char *box, uint64_t epoch, uint64_t no,
		      uint64_t mark, uint64_t length)
{
	struct known *known = &view->known[view->count++];

	must(view->count <= KNOWN_MAX);
	*known = (struct known){ .epoch = epoch, .no = no, .mark = mark, .length = length };
	snprintf(known->box, sizeof known->box, "%.127s", box);
}

static struct known *find_known(struct view *view, const char *box, uint64_t epoch, uint64_t no)
{
	for (unsigned i = 0; i < view->count; i++)
		if (view->known[i].epoch == epoch && view->known[i].no == no &&
		    strcmp(view->known[i].box, box) == 0)
			return &view->known[i];
	return NULL;
}

/* What a server's flags mean; keywords begin with "$" in these scenarios. */
static uint64_t mark_of(const char *flags)
{
	static const char *const names[] = { "\\Seen", "\\Answered", "\\Flagged", "\\Deleted",
					     "\\Draft" };
	static struct mail_meta meta;
	const char *keywords = strchr(flags, '$');

	meta = (struct mail_meta){ 0 };
	for (unsigned i = 0; i < ARRAY_COUNT(names); i++)
		meta.flags |= strstr(flags, names[i]) ? 1u << i : 0;
	if (keywords) {
		meta.keywords_bytes = (uint16_t)strlen(keywords);
		bytes_copy(meta.keywords, keywords, strlen(keywords), BYTES_META);
	}
	return mail_mark(&meta);
}

static void view_server(const struct imap_model *model, struct view *view)
{
	view->count = 0;
	for (unsigned b = 0; b < model->boxes_count; b++)
		for (unsigned m = 0; m < model->boxes[b].messages_count; m++) {
			const struct imap_model_box *box = &model->boxes[b];
			const struct imap_model_message *message = &box->messages[m];

			add_known(view, box->name, box->epoch, message->uid,
				  mark_of(message->flags), message->length);
		}
}

static enum err view_box(struct ledger *ledger, const struct ledger_known_box *box,
			 struct view *view)
{
	static struct ledger_seen seen[SCAN_MESSAGES];
	size_t count;
	enum err e =
		ledger_seen(ledger, box->box_no, 1, INT64_MAX - 1, seen, SCAN_MESSAGES, &count);

	for (size_t i = 0; i < count && e == OK; i++) {
		add_known(view, box->name, box->epoch, seen[i].no, seen[i].mark, 0);
		view->known[view->count - 1].gone = seen[i].vanished;
		must(seen[i].stored);
	}
	return e;
}

static enum err view_ledger(struct shared *shared)
{
	static struct ledger_known_box box;
	struct ledger_mailbox mailbox;
	struct ledger_totals totals;
	struct ledger *ledger;
	enum err e = ledger_open(world_state_path, clock_after(600 * NSEC_SECOND), &ledger);

	if (e)
		return e;
	e = ledger_mailbox(ledger, world_source_shown, world_archive_account().shown, "blake3",
			   &mailbox);
	if (!e && !(e = ledger_totals(ledger, mailbox.mailbox_no, &totals)))
		shared->open_ranges = (unsigned)(totals.ranges_open + totals.seals_open);
	box = (struct ledger_known_box){ 0 };
	while (!e && (e = ledger_box_next(ledger, mailbox.mailbox_no, &box)) == OK)
		e = view_box(ledger, &box, &shared->ledger);
	ledger_close(&ledger);
	return e == ERR_PIPE_ENDED ? OK : e;
}

static void verify_fault(void *context, const char *key, const char *what)
{
	(void)context;
	printf("  verify says of %s: %s\n", key, what);
	fflush(stdout);
}

static enum err look_fiber(void *argument)
{
	struct shared *shared = argument;
	struct account account = world_archive_account();
	struct archive_check check = { 0 };
	struct archive *archive;
	enum err e = archive_open(&store_dir, &account, clock_after(account.io_timeout), &archive);

	if (e)
		return e;
	e = archive_verify(archive, verify_fault, NULL, &check);
	archive_close(&archive);
	shared->stored = check.messages;
	if (!e && check.faults)
		e = RAISE(ERR_ARCHIVE_DAMAGED, "%llu faults", (unsigned long long)check.faults);
	return e ? e : view_ledger(shared);
}

static enum err look_body(struct world *world, void *argument)
{
	(void)world;
	return shard_run(&(struct shard_config){ 0 }, look_fiber, argument);
}

/* ---- what must hold ---- */

static bool fail(const char *what, const struct known *known)
{
	printf("  message %llu of \"%s\" (epoch %llu): %s\n", (unsigned long long)known->no,
	       known->box, (unsigned long long)known->epoch, what);
	return false;
}

/* The first run's messages, and what the sink was told since. */
static bool apply_records(struct scenario *s, struct view *view)
{
	*view = s->first;
	for (unsigned i = 0; i < s->shared->records.flushed; i++) {
		const struct record *record = &s->shared->records.records[i];
		bool renumbered = record->kind == CHANGE_RENUMBERED;
		struct known *known =
			renumbered ? find_known(view, record->was_box, record->was_epoch,
						record->was_no)
				   : find_known(view, record->box, record->epoch, record->no);

		if (renumbered && !known) /* told before, by a run that was cut */
			known = find_known(view, record->box, record->epoch, record->no);
		if (!known &&
		    find_known(&s->shared->ledger, record->box, record->epoch, record->no))
			continue; /* stored by the second run, and told of at once */
		if (!known) {
			printf("  the sink was told of message %llu of \"%s\" (epoch %llu), which "
			       "it does not have\n",
			       (unsigned long long)record->no, record->box,
			       (unsigned long long)record->epoch);
			return false;
		}
		known->gone = record->kind == CHANGE_VANISHED;
		known->mark = known->gone ? known->mark : record->mark;
		if (renumbered) {
			known->no = record->no;
			known->epoch = record->epoch;
			snprintf(known->box, sizeof known->box, "%s", record->box);
		}
	}
	return true;
}

/* Everything of the server is in both views with its flags; the ledger has no more than that. */
static bool judge_server(struct scenario *s, struct view *told)
{
	static struct view server;
	unsigned new_ones = 0;

	view_server(&s->world->imap, &server);
	for (unsigned i = 0; i < server.count; i++) {
		const struct known *is = &server.known[i];
		const struct known *row =
			find_known(&s->shared->ledger, is->box, is->epoch, is->no);
		const struct known *sink = find_known(told, is->box, is->epoch, is->no);

		if (!row || row->gone)
			return fail(row ? "the ledger thinks it vanished" : "not in the ledger",
				    is);
		if (row->mark != is->mark)
			return fail("the ledger knows other flags", is);
		if (!sink)
			new_ones++;
		else if (sink->gone || sink->length != is->length || sink->mark != is->mark)
			return fail(sink->gone		     ? "the sink thinks it vanished"
				    : sink->mark != is->mark ? "the sink knows other flags"
							     : "the sink has another there",
				    is);
	}
	if (new_ones == s->new_ones || !s->first.count)
		return true;
	printf("  %u messages are new to the sink, not %u\n", new_ones, s->new_ones);
	return false;
}

static bool judge_gone(struct scenario *s, struct view *view, const char *whose)
{
	static struct view server;

	view_server(&s->world->imap, &server);
	for (unsigned i = 0; i < view->count; i++) {
		const struct known *known = &view->known[i];

		if (!known->gone && !find_known(&server, known->box, known->epoch, known->no)) {
			printf("  %s: ", whose);
			return fail("it is not there any more", known);
		}
	}
	return true;
}

static bool judge(struct scenario *s)
{
	static struct view told;
	struct world_mark before = world_mark(s->world);
	const struct world_result *result;
	bool good;

	s->shared->ledger.count = 0;
	result = world_process(s->world, look_body, s->shared);
	world_back(s->world, &before);
	world_mark_free(&before);
	if (result->end != WORLD_FINISHED || result->error) {
		world_show(s->world, "the judge");
		return false;
	}
	good = apply_records(s, &told) && judge_server(s, &told) &&
	       judge_gone(s, &told, "the sink") && judge_gone(s, &s->shared->ledger, "the ledger");
	if (s->shared->stored != s->shared->ledger.count) {
		printf("  %llu messages are stored, the ledger knows %u\n",
		       (unsigned long long)s->shared->stored, s->shared->ledger.count);
		good = false;
	}
	if (s->shared->open_ranges) {
		printf("  %u ranges or seals are open\n", s->shared->open_ranges);
		good = false;
	}
	return good;
}

static bool completes(struct scenario *s, const char *what)
{
	const struct world_result *result = world_copy(s->world);

	if (result->end == WORLD_FINISHED && result->error == OK && result->imap.changes == 0 &&
	    result->imap.unknown == 0 && result->open_files == 0)
		return true;
	world_show(s->world, what);
	if (result->imap.unknown_line[0])
		printf("  the server does not know \"%s\"\n", result->imap.unknown_line);
	return false;
}

/* A third run stores nothing and tells nothing; where the server can say so it does not even look.
 */
static bool has_nothing_to_do(struct scenario *s)
{
	unsigned told = s->shared->records.count;

	if (!completes(s, "the run with nothing to do"))
		return false;
	if (s->world->result->imap.fetches || s->shared->records.count != told ||
	    (strstr(s->world->imap.capabilities, "CONDSTORE") && s->world->result->imap.looks)) {
		printf("  with nothing to do: %u FETCHes of bodies, %u of flags, %u changes told\n",
		       s->world->result->imap.fetches, s->world->result->imap.looks,
		       s->shared->records.count - told);
		return false;
	}
	return true;
}

/* ---- cuts ---- */

static void scenario_back(struct scenario *);

static bool cut_and_recover(struct scenario *s, uint64_t step)
{
	scenario_back(s);
	world_cut_at(s->world, step);
	world_copy(s->world);
	if (s->world->result->end != WORLD_CUT &&
	    (s->world->result->end != WORLD_FINISHED || s->world->result->error)) {
		world_show(s->world, "the run to be cut");
		return false;
	}
	if (step % 2) { /* every other recovery is cut, too */
		world_cut_at(s->world, 1 + step * 7919 % CUT_AGAIN_BELOW);
		world_copy(s->world);
	}
	if (!completes(s, "the run after the cut"))
		return false;
	world_lose_power(s->world);
	return judge(s) && has_nothing_to_do(s);
}

static uint64_t from_environment(const char *name)
{
	const char *value = getenv(name);

	return value && *value ? strtoull(value, NULL, 10) : 0;
}

static void sweep(struct scenario *s, const char *name)
{
	uint64_t steps = s->world->result->steps, only = from_environment("DELTA");
	uint64_t every = from_environment("SIM_ALL") ? 1 : (steps + CUTS_USUAL - 1) / CUTS_USUAL;

	for (uint64_t k = only ? only : 1 + s->world->seed % every;
	     k <= (only ? only : steps) && s->failures < FAILURES_MAX; k += every) {
		s->made++;
		if (cut_and_recover(s, k))
			continue;
		s->failures++;
		printf("  repeat: SEED=%llu DELTA=%llu build/gcc/tests/sim/delta_test %s\n",
		       (unsigned long long)s->world->seed, (unsigned long long)k, name);
	}
	CHECK_EQ(s->failures, 0);
	CHECK(s->made > 0);
	printf("  %u of %llu cuts made\n", s->made, (unsigned long long)steps);
}

typedef void mutation(struct scenario *);

static struct scenario *scenario_open(const char *capabilities)
{
	struct scenario *s = calloc(1, sizeof *s);

	must(s);
	s->world = world_open(world_seed(SEED_USUAL));
	s->world->imap.capabilities = capabilities;
	s->world->sink = &record_sink;
	s->shared = mmap(NULL, sizeof *s->shared, PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	s->records_before = calloc(1, sizeof *s->records_before);
	must(s->shared != MAP_FAILED && s->records_before);
	record_into(&s->shared->records);
	world_fill(s->world);
	return s;
}

static void scenario_mark(struct scenario *s)
{
	*s->records_before = s->shared->records;
	s->start = world_mark(s->world);
}

static void scenario_back(struct scenario *s)
{
	world_back(s->world, &s->start);
	s->shared->records = *s->records_before;
}

static void scenario_close(struct scenario **s)
{
	world_mark_free(&(*s)->start);
	world_close(&(*s)->world);
	must(munmap((*s)->shared, sizeof *(*s)->shared) == 0);
	free((*s)->records_before);
	free(*s);
	*s = NULL;
}

/* Copy, change, copy again: cut nowhere, then everywhere. */
static void play(const char *capabilities, mutation *change, const char *name)
{
	struct scenario *s = scenario_open(capabilities);

	CHECK(completes(s, "the first run"));
	CHECK_EQ(s->shared->records.count, 0);
	view_server(&s->world->imap, &s->first);
	CHECK(judge(s));
	CHECK(has_nothing_to_do(s));
	change(s);
	scenario_mark(s);
	CHECK(completes(s, "the second run"));
	CHECK(judge(s));
	scenario_back(s);
	CHECK(completes(s, "the second run"));
	sweep(s, name);
	scenario_close(&s);
}

/* ---- what happens to the mailbox ---- */

static void add_mail(struct scenario *s, struct imap_model_box *box, const char *subject)
{
	struct buffer mail = { 0 };

	world_make_mail(s->world, subject, 2000, &mail);
	(void)imap_model_add_message(box, "\\Seen", "02-Feb-2022 22:22:22 +0200", mail.at,
				     mail.bytes);
	buffer_free(&mail);
	s->new_ones++;
}

/* Flags and keywords come and go, a twin and the empty message are expunged, one is new. */
static void change_things(struct scenario *s)
{
	struct imap_model_box *inbox = &s->world->imap.boxes[0];

	imap_model_flag(inbox, 0, "\\Seen \\Flagged $Junk");
	imap_model_flag(inbox, 4, "$Forwarded");
	imap_model_flag(&s->world->imap.boxes[2], 0, "");
	imap_model_expunge(inbox, 3);
	imap_model_expunge(inbox, 1);
	add_mail(s, inbox, "new");
}

/* INBOX is made anew with the same mail but one; another twin is new, and so is another message. */
static void replace_inbox(struct scenario *s)
{
	struct imap_model_box *inbox = &s->world->imap.boxes[0];

	imap_model_expunge(inbox, 0);
	imap_model_flag(inbox, 1, "\\Deleted");
	imap_model_renew(inbox, 40);
	(void)imap_model_add_message(inbox, "\\Seen", "01-Jan-2014 00:00:00 +0000",
				     inbox->messages[0].bytes, inbox->messages[0].length);
	s->new_ones++;
	add_mail(s, inbox, "new");
}

/* The third folder has another name, changed flags, and lost nothing; INBOX has new mail. */
static void rename_folder(struct scenario *s)
{
	struct imap_model_box *box = &s->world->imap.boxes[2];

	imap_model_flag(box, 0, "\\Answered");
	imap_model_call(box, "Archive/2021", "Archive/2021");
	add_mail(s, &s->world->imap.boxes[0], "new");
	add_mail(s, box, "new too");
}

/* Two folders change their names with each other. */
static void swap_names(struct scenario *s)
{
	struct imap_model_box *box = s->world->imap.boxes;

	imap_model_call(&box[0], "Empty", "Empty");
	imap_model_call(&box[1], "INBOX", "INBOX");
}

/* A folder is deleted, one of its messages was moved to INBOX before; the empty folder, too. */
static void delete_folders(struct scenario *s)
{
	struct imap_model *model = &s->world->imap;
	const struct imap_model_message *last = &model->boxes[2].messages[0];

	(void)imap_model_add_message(&model->boxes[0], "\\Draft", last->date, last->bytes,
				     last->length);
	imap_model_remove_box(model, 2);
	imap_model_remove_box(model, 1);
	imap_model_expunge(&model->boxes[0], 0);
}

/* Every message of a folder is gone, and the folder with them. */
static void delete_folder_with_all(struct scenario *s)
{
	imap_model_remove_box(&s->world->imap, 2);
}

#define SCENARIO(name, capabilities, change)                                                       \
	TEST(name)                                                                                 \
	{                                                                                          \
		play(imap_model_capabilities_##capabilities, change, #name);                       \
	}

SCENARIO(changes_are_found_by_listing_flags, plain, change_things)
SCENARIO(changes_are_found_with_condstore, condstore, change_things)
SCENARIO(changes_are_found_with_qresync, qresync, change_things)
SCENARIO(a_replaced_folder_is_matched_by_digest, qresync, replace_inbox)
SCENARIO(a_replaced_folder_is_matched_by_digest_on_a_plain_server, plain, replace_inbox)
SCENARIO(a_renamed_folder_is_matched_by_digest, qresync, rename_folder)
SCENARIO(a_renamed_folder_is_known_by_its_id, objectid, rename_folder)
SCENARIO(folders_that_swap_names_are_known_by_their_ids, objectid, swap_names)
SCENARIO(a_message_moved_out_of_a_deleted_folder_is_not_stored_again, extended, delete_folders)
SCENARIO(messages_of_a_deleted_folder_are_gone, qresync, delete_folder_with_all)

/* ---- replaced at other moments ---- */

/* The first run is cut anywhere, and before the next one INBOX is made anew. */
static bool cut_then_replaced(struct scenario *s, uint64_t step)
{
	scenario_back(s);
	world_cut_at(s->world, step);
	world_copy(s->world);
	imap_model_renew(&s->world->imap.boxes[0], 70);
	return completes(s, "the run after the cut") && judge(s) && has_nothing_to_do(s);
}

TEST(a_folder_replaced_between_cut_and_restart_is_there_once)
{
	struct scenario *s = scenario_open(imap_model_capabilities_qresync);
	uint64_t steps, every;

	scenario_mark(s);
	CHECK(completes(s, "a run that is not cut"));
	steps = s->world->result->steps;
	every = from_environment("SIM_ALL") ? 1 : (steps + CUTS_USUAL - 1) / CUTS_USUAL;
	for (uint64_t k = 1 + s->world->seed % every; k <= steps && s->failures < FAILURES_MAX;
	     k += every) {
		s->made++;
		if (cut_then_replaced(s, k))
			continue;
		s->failures++;
		printf("  it was cut before step %llu of seed %llu\n", (unsigned long long)k,
		       (unsigned long long)s->world->seed);
	}
	CHECK_EQ(s->failures, 0);
	printf("  %u of %llu cuts made\n", s->made, (unsigned long long)steps);
	scenario_close(&s);
}

/* While it is read: before the first EXAMINE, and before one that a lost connection makes needed.
 */
TEST(a_folder_replaced_while_it_is_read_is_listed_again)
{
	for (unsigned nth = 1; nth <= 3; nth++) {
		struct scenario *s = scenario_open(imap_model_capabilities_qresync);

		scenario_mark(s);
		s->world->imap.replace_at_examine = nth;
		s->world->imap.end_count = nth == 3;
		s->world->imap.end_how = NET_CLOSES;
		s->world->imap.end_after = 60000;
		CHECK(completes(s, "a run while the folder is replaced"));
		CHECK(s->world->result->imap.examines >= nth);
		s->world->imap.replace_at_examine = s->world->imap.end_count = 0;
		imap_model_renew(&s->world->imap.boxes[0], 70); /* as the process saw it */
		if (nth > 1) /* behind what was read already: the next run sees it */
			CHECK(completes(s, "the next run"));
		CHECK(judge(s));
		CHECK(has_nothing_to_do(s));
		scenario_close(&s);
	}
}

/* ---- back again ---- */

/* A folder that is not listed for once, and then is: gone and there again, and never stored anew.
 */
TEST(a_folder_that_was_hidden_for_a_while_is_back_as_it_was)
{
	struct scenario *s = scenario_open(imap_model_capabilities_qresync);
	struct imap_model *model = &s->world->imap;
	struct imap_model_box *hidden = malloc(sizeof *hidden);

	must(hidden);
	CHECK(completes(s, "the first run"));
	view_server(model, &s->first);
	*hidden = model->boxes[0];
	model->boxes_count--;
	bytes_move(model->boxes, model->boxes + 1, model->boxes_count * sizeof *hidden);
	CHECK(completes(s, "the run without the folder"));
	CHECK(judge(s));
	CHECK(has_nothing_to_do(s));
	imap_model_flag(hidden, 0, "\\Flagged");
	model->boxes[model->boxes_count++] = *hidden;
	CHECK(completes(s, "the run with the folder again"));
	CHECK_EQ(s->world->result->imap.messages_sent, 0);
	CHECK(judge(s));
	CHECK(has_nothing_to_do(s));
	free(hidden);
	scenario_close(&s);
}

/* Renamed and renamed back: what was found under the other name meanwhile is found again under the
 * old one, and the folder is looked at as before. */
TEST(a_folder_renamed_and_renamed_back_is_known_under_its_old_name)
{
	struct scenario *s = scenario_open(imap_model_capabilities_qresync);
	struct imap_model_box *box = &s->world->imap.boxes[2];
	char raw[IMAP_MODEL_NAME_BYTES_MAX + 1];
	const char *name = box->name;

	snprintf(raw, sizeof raw, "%.*s", IMAP_MODEL_NAME_BYTES_MAX, box->raw);
	CHECK(completes(s, "the first run"));
	view_server(&s->world->imap, &s->first);
	imap_model_call(box, "Elsewhere", "Elsewhere");
	CHECK(completes(s, "the run with the other name"));
	CHECK(judge(s));
	imap_model_call(box, raw, name);
	CHECK(completes(s, "the run with the old name"));
	CHECK(judge(s));
	CHECK_EQ(s->shared->stored, s->first.count);
	imap_model_flag(box, 0, "\\Flagged");
	CHECK(completes(s, "the run after it"));
	CHECK(judge(s));
	CHECK(has_nothing_to_do(s));
	scenario_close(&s);
}

/* The same, but another folder has the name by then, with one of the messages in it. */
TEST(a_deleted_folder_made_anew_later_finds_its_old_messages)
{
	struct scenario *s = scenario_open(imap_model_capabilities_plain);
	struct imap_model *model = &s->world->imap;
	struct imap_model_box *deleted = malloc(sizeof *deleted);

	must(deleted);
	CHECK(completes(s, "the first run"));
	view_server(model, &s->first);
	*deleted = model->boxes[0];
	model->boxes_count--;
	bytes_move(model->boxes, model->boxes + 1, model->boxes_count * sizeof *deleted);
	CHECK(completes(s, "the run without the folder"));
	CHECK(judge(s));
	imap_model_expunge(deleted, 2);
	imap_model_renew(deleted, 5);
	model->boxes[model->boxes_count++] = *deleted;
	CHECK(completes(s, "the run with the new folder"));
	CHECK(judge(s));
	CHECK_EQ(s->shared->stored, s->first.count);
	CHECK(has_nothing_to_do(s));
	free(deleted);
	scenario_close(&s);
}

/* Where no id tells that it is the same folder, its messages go to the new name, and back. */
TEST(a_folder_that_gets_its_old_name_back_is_as_it_was)
{
	struct scenario *s = scenario_open(imap_model_capabilities_qresync);
	struct imap_model_box *box = &s->world->imap.boxes[2];

	CHECK(completes(s, "the first run"));
	view_server(&s->world->imap, &s->first);
	imap_model_call(box, "Archive/2021", "Archive/2021");
	CHECK(completes(s, "the run with the new name"));
	CHECK(judge(s));
	imap_model_call(box, "Sent/Entw&APw-rfe", "Sent/Entw\xc3\xbcrfe");
	CHECK(completes(s, "the run with the old name"));
	CHECK_EQ(s->world->result->progress.boxes_failed, 0);
	CHECK(judge(s));
	CHECK_EQ(s->shared->stored, s->first.count);
	CHECK(has_nothing_to_do(s));
	scenario_close(&s);
}

/* A replica with UIDs of its own answers for a day. */
TEST(a_folder_that_gets_its_old_epoch_back_is_as_it_was)
{
	struct scenario *s = scenario_open(imap_model_capabilities_qresync);
	struct imap_model_box *inbox = &s->world->imap.boxes[0], *before = malloc(sizeof *before);

	must(before);
	CHECK(completes(s, "the first run"));
	view_server(&s->world->imap, &s->first);
	*before = *inbox;
	imap_model_renew(inbox, 40);
	CHECK(completes(s, "the run with another epoch"));
	CHECK(judge(s));
	*inbox = *before;
	CHECK(completes(s, "the run with the old epoch"));
	CHECK_EQ(s->world->result->progress.boxes_failed, 0);
	CHECK(judge(s));
	CHECK_EQ(s->shared->stored, s->first.count);
	CHECK(has_nothing_to_do(s));
	free(before);
	scenario_close(&s);
}

/* ---- flags that change back ---- */

/* The sink may have been told of the flags when the run was cut, and the ledger not. */
static bool cut_then_changed_back(struct scenario *s, uint64_t step)
{
	struct imap_model_box *inbox = &s->world->imap.boxes[0];

	scenario_back(s);
	imap_model_flag(inbox, 0, "\\Flagged");
	world_cut_at(s->world, step);
	world_copy(s->world);
	imap_model_flag(inbox, 0, "\\Seen");
	return completes(s, "the run after the cut") && judge(s) && has_nothing_to_do(s);
}

TEST(flags_that_change_back_after_a_cut_are_told_again)
{
	struct scenario *s = scenario_open(imap_model_capabilities_qresync);
	uint64_t steps;

	CHECK(completes(s, "the first run"));
	view_server(&s->world->imap, &s->first);
	scenario_mark(s);
	imap_model_flag(&s->world->imap.boxes[0], 0, "\\Flagged");
	CHECK(completes(s, "a run that is not cut"));
	steps = s->world->result->steps;
	for (uint64_t k = 1; k <= steps && s->failures < FAILURES_MAX; k++) {
		if (cut_then_changed_back(s, k))
			continue;
		s->failures++;
		printf("  it was cut before step %llu of seed %llu\n", (unsigned long long)k,
		       (unsigned long long)s->world->seed);
	}
	CHECK_EQ(s->failures, 0);
	scenario_close(&s);
}

/* ---- announced, and not handed out ---- */

/* A replica that lags: counted, and in no listing and no FETCH until the next day. */
static void withhold(const char *capabilities, unsigned index)
{
	struct scenario *s = scenario_open(capabilities);
	struct imap_model_box *inbox = &s->world->imap.boxes[0];

	inbox->withheld = inbox->messages[index].uid;
	CHECK(completes(s, "the run with a message withheld"));
	CHECK_EQ(s->world->result->progress.boxes_failed, 1);
	inbox->withheld = 0;
	CHECK(completes(s, "the run with the message there"));
	CHECK_EQ(s->world->result->progress.boxes_failed, 0);
	CHECK(judge(s));
	CHECK(has_nothing_to_do(s));
	scenario_close(&s);
}

TEST(a_message_handed_out_late_is_found)
{
	withhold(imap_model_capabilities_plain, 1);
	withhold(imap_model_capabilities_condstore, 0);
	withhold(imap_model_capabilities_qresync, 5);
}

TEST(the_only_message_of_a_folder_handed_out_late_is_found)
{
	struct scenario *s = scenario_open(imap_model_capabilities_qresync);
	struct imap_model_box *box = &s->world->imap.boxes[2];

	box->withheld = box->messages[0].uid;
	CHECK(completes(s, "the run with a message withheld"));
	CHECK_EQ(s->world->result->progress.boxes_failed, 1);
	box->withheld = 0;
	CHECK(completes(s, "the run with the message there"));
	CHECK(judge(s));
	CHECK(has_nothing_to_do(s));
	scenario_close(&s);
}

/* ---- refused, and handed out later ---- */

static bool retries(struct scenario *s, unsigned retried, unsigned moved, unsigned skipped)
{
	const struct lane_progress *progress = &s->world->result->progress;

	s->world->retry_skipped = "IMAP_MSG_REFUSED";
	if (!completes(s, "the run that tries again"))
		return false;
	CHECK_EQ(progress->messages_retried, retried);
	CHECK_EQ(progress->messages_moved, moved);
	CHECK_EQ(progress->messages_skipped, skipped);
	CHECK_EQ(s->world->result->imap.messages_sent, moved);
	return true;
}

/* The folder has not changed since: only the wish of a person has it asked for again. */
static void refuse(const char *capabilities)
{
	struct scenario *s = scenario_open(capabilities);
	struct imap_model_box *inbox = &s->world->imap.boxes[0];

	inbox->refused = inbox->messages[2].uid;
	CHECK(completes(s, "the run with a message refused"));
	CHECK_EQ(s->world->result->progress.messages_skipped, 1);
	CHECK(has_nothing_to_do(s));
	CHECK(retries(s, 1, 0, 1)); /* refused as before */
	inbox->refused = 0;
	s->world->retry_skipped = NULL;
	CHECK(has_nothing_to_do(s));
	CHECK(retries(s, 1, 1, 0));
	CHECK(judge(s));
	CHECK(has_nothing_to_do(s)); /* asked for again as it is: nothing is skipped any more */
	scenario_close(&s);
}

TEST(a_message_refused_by_a_plain_server_is_moved_when_a_person_asks_for_it)
{
	refuse(imap_model_capabilities_plain);
}

TEST(a_message_refused_by_a_server_with_condstore_is_moved_when_a_person_asks_for_it)
{
	refuse(imap_model_capabilities_condstore);
	refuse(imap_model_capabilities_qresync);
}

/* ---- many at once ---- */

/* A mailbox brought to another server, as it were: every folder has another epoch, and two
 * conversations read it. Cut anywhere, nothing is stored twice. */
static bool cut_in_the_move(struct scenario *s, uint64_t step)
{
	scenario_back(s);
	world_cut_at(s->world, step);
	world_copy(s->world);
	return completes(s, "the run after the cut") && judge(s);
}

TEST(a_mailbox_whose_every_folder_is_replaced_is_matched_by_two_conversations)
{
	static const char *const names[] = { "A", "B", "C", "D", "E", "F", "G", "H", "I" };
	struct scenario *s = scenario_open(imap_model_capabilities_qresync);
	struct imap_model *model = &s->world->imap;
	struct buffer mail = { 0 };
	uint64_t steps;

	s->world->connections = 2;
	for (unsigned i = 0; i < ARRAY_COUNT(names); i++) {
		struct imap_model_box *box = imap_model_add_box(model, names[i], names[i], "");

		for (unsigned k = 0; k < 16; k++) { /* twins within folders and between them */
			world_make_mail(s->world, "moved", k == 7 ? 70000 : 300 + 50 * (k % 10),
					&mail);
			(void)imap_model_add_message(box, "", "02-Feb-2022 22:22:22 +0200", mail.at,
						     mail.bytes);
			buffer_reset(&mail);
		}
	}
	buffer_free(&mail);
	CHECK(completes(s, "the first run"));
	view_server(model, &s->first);
	for (unsigned i = 0; i < model->boxes_count; i++)
		imap_model_renew(&model->boxes[i], 100);
	scenario_mark(s);
	CHECK(completes(s, "the second run"));
	CHECK_EQ(s->world->result->imap.connections, 2);
	steps = s->world->result->steps;
	CHECK(judge(s));
	CHECK_EQ(s->shared->stored, s->first.count);
	CHECK(has_nothing_to_do(s));
	for (uint64_t k = 7; k < steps; k += 1 + steps / 12)
		CHECK(cut_in_the_move(s, k));
	scenario_close(&s);
}
