/* What `mailhaul status` says of a ledger: whether the run lives, what needs attention and why, how
 * fast it goes. */
#include "tools/status_view.h"

#include <stdlib.h>
#include <unistd.h>

#include "engine/clock.h"
#include "tests/test.h"

static struct status_view view;

#define NOW_S 1700000000

static struct ledger_run batch_run(void)
{
	return (struct ledger_run){
		.batch = "tenant",
		.pid = getpid(),
		.started_wall_s = NOW_S - 100,
		.updated_wall_s = NOW_S - 1,
		.messages = 9900,
		.bytes = 99000000,
		.mailboxes = { [BATCH_RUNNING] = 2, [BATCH_DONE] = 5, [BATCH_FAILED] = 1 },
		.connections = 3,
		.throttled_permille = 125,
		.window_closes_wall_s = INT64_MAX,
		.errors = { [ERR_IMAP_LOGIN] = 1 },
	};
}

/* Valid until the next. */
static struct ledger_status_mailbox *mailbox(const char *state, enum err e, const char *note)
{
	static struct ledger_status_mailbox made;

	made = (struct ledger_status_mailbox){ .source = "imaps://a@old.example/",
					       .target = "file:///t",
					       .ended_wall_s = NOW_S - 10,
					       .totals.messages[LEDGER_MOVED] = 7,
					       .totals.bytes_moved = 700 };

	snprintf(made.state, sizeof made.state, "%s", state);
	snprintf(made.error, sizeof made.error, "%s", e ? err_name(e) : "");
	snprintf(made.note, sizeof made.note, "%s", note);
	return &made;
}

static void begin(const struct ledger_run *run)
{
	status_view_close(&view);
	view = (struct status_view){ .all = view.all };
	status_view_begin(&view, run, NSEC_SECOND, NOW_S);
}

static void add(const struct ledger_status_mailbox *made)
{
	status_view_add(&view, made);
}

/* The caller frees it. */
static char *text(void)
{
	char *at = NULL;
	size_t bytes;
	FILE *to = open_memstream(&at, &bytes);

	must(to);
	status_view_text(&view, to);
	must(fclose(to) == 0);
	return at;
}

static bool says(const char *what)
{
	char *all = text();
	bool found = strstr(all, what);

	free(all);
	return found;
}

static unsigned times(const char *what)
{
	char *all = text();
	unsigned count = 0;

	for (const char *at = all; (at = strstr(at, what)); at++)
		count++;
	free(all);
	return count;
}

/* ---- whether it lives ---- */

/* No process has it: the kernel's largest number is 2^22. */
enum { PID_OF_NOBODY = (1 << 22) + 1 };

TEST(a_batch_lives_while_it_gives_signs_of_life)
{
	struct ledger_run run = batch_run();

	begin(&run);
	CHECK_EQ(view.life, STATUS_RUNNING);
	CHECK(says("running, pid "));
	run.pid = PID_OF_NOBODY; /* in a container, say */
	begin(&run);
	CHECK_EQ(view.life, STATUS_RUNNING);
	run.updated_wall_s = NOW_S - 30;
	begin(&run);
	CHECK_EQ(view.life, STATUS_INTERRUPTED);
	CHECK(says("no sign of life since 2023-11-14T22:12:50Z"));
	CHECK(says("Run the same command again: it goes on where it stopped"));
}

TEST(a_silent_batch_is_not_taken_for_a_process_that_got_its_number)
{
	struct ledger_run run = batch_run();

	run.updated_wall_s = NOW_S - 30;
	begin(&run);
	CHECK_EQ(view.life, STATUS_RUNNING);
	run.updated_wall_s = NOW_S - 61;
	begin(&run);
	CHECK_EQ(view.life, STATUS_INTERRUPTED);
}

TEST(a_run_whose_ledger_nobody_holds_is_interrupted_whatever_it_noted)
{
	struct ledger_run run = batch_run();

	status_view_close(&view);
	view = (struct status_view){ .is_free = true };
	status_view_begin(&view, &run, NSEC_SECOND, NOW_S);
	CHECK_EQ(view.life, STATUS_INTERRUPTED);
	run.ended_wall_s = run.updated_wall_s;
	status_view_begin(&view, &run, NSEC_SECOND, NOW_S);
	CHECK_EQ(view.life, STATUS_ENDED);
}

TEST(a_copy_is_interrupted_as_soon_as_its_process_is_gone)
{
	struct ledger_run run = { .pid = PID_OF_NOBODY,
				  .started_wall_s = NOW_S - 5,
				  .updated_wall_s = NOW_S };

	begin(&run);
	CHECK_EQ(view.life, STATUS_INTERRUPTED);
	run.pid = getpid();
	begin(&run);
	CHECK_EQ(view.life, STATUS_RUNNING);
	CHECK(says("Last run: running, pid "));
}

TEST(a_run_that_ended_says_how)
{
	struct ledger_run run = batch_run();

	run.ended_wall_s = run.updated_wall_s;
	run.exit_code = 111;
	begin(&run);
	CHECK_EQ(view.life, STATUS_ENDED);
	CHECK(says("with exit code 111"));
	CHECK(!says("Connections"));
	CHECK(!says("Not all mailboxes are done"));
	run.mailboxes[BATCH_DRAINED] = 4;
	begin(&run);
	CHECK(says("Not all mailboxes are done"));
}

/* ---- figures ---- */

TEST(the_speed_is_the_whole_run_s_at_first_and_then_that_between_looks)
{
	struct ledger_run run = batch_run();

	begin(&run);
	CHECK(says("9,900 moved in this run (99.0 MB), 100 msg/s, 1.0 MB/s"));
	run.messages += 1000;
	run.bytes += 50000000;
	status_view_begin(&view, &run, 2 * NSEC_SECOND, NOW_S + 1);
	CHECK(says("100 msg/s")); /* too short a time to tell */
	status_view_begin(&view, &run, 11 * NSEC_SECOND, NOW_S + 10);
	CHECK(says("100 msg/s, 5.0 MB/s"));
	status_view_begin(&view, &run, 21 * NSEC_SECOND, NOW_S + 20);
	CHECK(!says("msg/s"));
	run = batch_run();
	run.started_wall_s = NOW_S + 20; /* another run: nothing is compared with the one before */
	run.updated_wall_s = NOW_S + 30;
	status_view_begin(&view, &run, 31 * NSEC_SECOND, NOW_S + 30);
	CHECK(says("990 msg/s"));
}

TEST(states_errors_throttling_and_the_window_are_told)
{
	struct ledger_run run = batch_run();

	run.window_closes_wall_s = NOW_S + 7200;
	begin(&run);
	CHECK(says("Mailboxes    8: 2 running, 5 done, 1 failed\n"));
	CHECK(says("Errors       1 IMAP_LOGIN\n"));
	CHECK(says("Throttled    12.5 %"));
	CHECK(says("in 2:00 h"));
	run.window_closes_wall_s = INT64_MAX;
	begin(&run);
	CHECK(!says("Window"));
}

/* ---- attention ---- */

TEST(what_needs_attention_is_told_by_reason_with_the_next_step_once)
{
	struct ledger_run run = batch_run();

	begin(&run);
	for (unsigned i = 0; i < 30; i++)
		add(mailbox("failed", ERR_IMAP_LOGIN, "login as \"a\""));
	add(mailbox("done", OK, ""));
	add(mailbox("", OK, ""));
	add(mailbox("doubtful", OK, ""));
	CHECK(says("Needs attention: 31 mailboxes"));
	CHECK_EQ(times("Next: Check the user and the password"), 1);
	CHECK_EQ(times("imaps://a@old.example/: login as"), STATUS_VIEW_KIND_SHOWN);
	CHECK(says("... and 25 more"));
	CHECK(says("Next: Run mailhaul verify on the target."));
	CHECK(says("mailhaul status --all"));
}

TEST(an_error_of_a_running_batch_that_is_tried_again_needs_nobody)
{
	struct ledger_run run = batch_run();

	begin(&run);
	add(mailbox("failed", ERR_NET_REFUSED, ""));
	CHECK(says("Next: Nothing yet: the run tries again by itself."));
	run.ended_wall_s = NOW_S;
	begin(&run);
	add(mailbox("failed", ERR_NET_REFUSED, ""));
	CHECK(!says("Nothing yet"));
	CHECK(says("Next: Check host and port"));
}

TEST(what_an_earlier_run_left_is_no_news_until_this_one_has_ended)
{
	struct ledger_run run = batch_run();
	struct ledger_status_mailbox *old = mailbox("failed", ERR_IMAP_LOGIN, "");

	old->ended_wall_s = run.started_wall_s - 1;
	begin(&run);
	add(old);
	CHECK_EQ(view.need_attention, 0);
	run.ended_wall_s = NOW_S;
	begin(&run);
	add(old);
	CHECK_EQ(view.need_attention, 1);
}

TEST(the_text_does_not_grow_with_the_mailboxes_unless_asked)
{
	struct ledger_run run = batch_run();
	char *all;

	begin(&run);
	for (unsigned i = 0; i < 20000; i++)
		add(mailbox(i % 2 ? "failed" : "done", i % 2 ? ERR_IMAP_LOGIN : OK, ""));
	all = text();
	CHECK(strlen(all) < 4096);
	CHECK_EQ(view.rows_count, STATUS_VIEW_KIND_SHOWN);
	free(all);
	view.all = true;
	begin(&run);
	for (unsigned i = 0; i < 100; i++)
		add(mailbox(i % 2 ? "failed" : "", OK, ""));
	CHECK_EQ(times("\n  begun "), 50);
	CHECK_EQ(times("\n  failed "), 50);
	view.all = false;
}

TEST(names_that_would_deceive_a_terminal_are_made_harmless)
{
	struct ledger_run run = batch_run();
	struct ledger_status_mailbox *bad = mailbox("failed", ERR_IMAP_LOGIN, "said \x1b[2J");

	snprintf(run.batch, sizeof run.batch, "a\x1b]0;b");
	snprintf(bad->source, sizeof bad->source, "imaps://\x1b[31m@x/");
	begin(&run);
	add(bad);
	CHECK(!says("\x1b"));
}

TEST(ids_are_those_of_the_log_and_none_is_made_of_a_name_that_was_cut)
{
	struct log_ids ids = { .salt = { 1, 2, 3 } };
	struct ledger_run run = batch_run();
	struct ledger_status_mailbox *cut = mailbox("failed", ERR_IMAP_LOGIN, "");
	char id[SALTED_ID_TEXT_BYTES];

	log_ids_of(&ids, cut->source, id);
	begin(&run);
	view.ids = &ids;
	add(cut);
	CHECK(says(id));
	memset(cut->source, 'x', sizeof cut->source - 1);
	begin(&run);
	view.ids = &ids;
	add(cut);
	CHECK(says("\n    xxx"));
	view.ids = NULL;
}

/* ---- JSON ---- */

/* The caller frees it. */
static char *json_of(const struct ledger_status_mailbox *made)
{
	char *at = NULL;
	size_t bytes;
	FILE *to = open_memstream(&at, &bytes);
	struct json_out json = { .file = to };

	must(to);
	if (made)
		status_view_json_mailbox(&view, made, &json);
	else
		status_view_json_run(&view, &json);
	must(fclose(to) == 0);
	return at;
}

TEST(skipped_messages_are_told_by_reason)
{
	struct ledger_status_mailbox *incomplete = mailbox("incomplete", OK, "");
	struct ledger_run run = batch_run();
	char *json;

	incomplete->totals.messages[LEDGER_SKIPPED] = 3;
	incomplete->totals.skipped_for[0] = (struct ledger_reason){ "IMAP_MSG_REFUSED", 2 };
	incomplete->totals.skipped_for[1] = (struct ledger_reason){ "SINK_REFUSED", 1 };
	begin(&run);
	CHECK(!says("kipped for"));
	add(incomplete);
	add(incomplete);
	CHECK(says("\nSkipped for  4 IMAP_MSG_REFUSED, 2 SINK_REFUSED; --retry-skipped REASON asks "
		   "for them again\n"));
	json = json_of(incomplete);
	CHECK(strstr(json, "\"skipped_reasons\":{\"IMAP_MSG_REFUSED\":2,\"SINK_REFUSED\":1},"));
	free(json);
	run = (struct ledger_run){ 0 }; /* of a copy: each mailbox its own */
	begin(&run);
	add(incomplete);
	CHECK(says(
		"\n  skipped for 2 IMAP_MSG_REFUSED, 1 SINK_REFUSED; --retry-skipped REASON asks "
		"for them again\n"));
}

TEST(json_has_the_batch)
{
	struct ledger_run run = batch_run();
	char *json;

	begin(&run);
	json = json_of(NULL);
	CHECK(strstr(json, "\"state\":\"running\""));
	CHECK(strstr(json, "\"batch\":\"tenant\",\"mailboxes\":{\"waiting\":0,\"running\":2,"
			   "\"done\":5,"));
	CHECK(strstr(json, "\"throttled_share\":0.125,\"window_closes\":null,"
			   "\"messages_per_second\":100.000,"));
	CHECK(strstr(json, "\"errors\":{\"IMAP_LOGIN\":1}"));
	CHECK(!strstr(json, "\"ended\""));
	free(json);
}

TEST(json_has_the_end_of_a_mailbox_that_ended)
{
	struct ledger_status_mailbox *failed = mailbox("failed", ERR_IMAP_LOGIN, "\"quoted\"");
	struct ledger_run run = batch_run();
	char *json;

	begin(&run);
	json = json_of(failed);
	CHECK(strstr(json, "\"id\":null"));
	CHECK(strstr(json, "\"state\":\"failed\",\"error\":\"IMAP_LOGIN\","
			   "\"note\":\"\\\"quoted\\\"\",\"ended\":\"2023-11-14T22:13:10Z\","
			   "\"needs_attention\":true,\"next_step\":\"Check the user"));
	free(json);
	failed->state[0] = '\0';
	json = json_of(failed);
	CHECK(!strstr(json, "needs_attention"));
	free(json);
}
