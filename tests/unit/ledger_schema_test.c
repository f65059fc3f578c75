/* What a ledger keeps beside messages: runs, ends of mailboxes, lessons about servers; and how a
 * ledger of an older version comes to keep them. */
#include "tests/unit/ledger_help.h"

#include <stdlib.h>
#include <sys/stat.h>

static struct ledger_status_mailbox seen;

static void see(void *context, const struct ledger_status_mailbox *mailbox)
{
	*(uint64_t *)context += 1;
	seen = *mailbox;
}

/* ---- older ledgers ---- */

TEST_FIBER(an_older_ledger_is_read_as_it_is)
{
	struct ledger_run run = { 0 };
	uint64_t mailboxes = 0;

	make_ledger_of_version_1(test_directory());
	CHECK_OK(ledger_status(test_directory(), see, &run, &mailboxes));
	CHECK_EQ(mailboxes, 1);
	CHECK_TEXT(seen.source, "imaps://a@here/");
	CHECK_EQ(seen.totals.messages[LEDGER_MOVED], 2);
	CHECK_EQ(seen.ended_wall_s, 0);
	CHECK_TEXT(seen.state, "");
	CHECK_EQ(run.pid, 4711);
	CHECK_EQ(run.exit_code, 111);
	CHECK_EQ(run.mailboxes[BATCH_DONE], 0);
	CHECK_TEXT(run.batch, "");
	CHECK_TEXT(ask_file(test_directory(), "PRAGMA user_version"), "1");
}

static const char *shape(const char *directory)
{
	return ask_file(directory,
			"SELECT group_concat(name || ' ' || column, ', ') FROM (SELECT"
			" m.type || ' ' || m.name AS name, p.name || ' ' || p.type || ' '"
			" || p.\"notnull\" || ' ' || p.pk || ' ' ||"
			" coalesce(p.dflt_value, '') AS column FROM sqlite_schema m"
			" LEFT JOIN pragma_table_info(m.name) p ORDER BY m.name, p.cid)");
}

TEST_FIBER(an_older_ledger_is_upgraded_in_place_and_loses_nothing)
{
	static const uint8_t id[LEDGER_ID_BYTES] = { 0, 1, 2,  3,  4,  5,  6,  7,
						     8, 9, 10, 11, 12, 13, 14, 15 };
	struct ledger_totals totals;
	struct ledger_row row;
	struct world w, fresh;
	static char upgraded[8192];
	char directory[200];

	make_ledger_of_version_1(test_directory());
	REQUIRE(world_open(&w, test_directory()) == OK);
	CHECK(memcmp(ledger_id(w.ledger), id, sizeof id) == 0);
	CHECK(w.mailbox_no == 1 && w.box_no == 1 && w.next_no == 11 && w.next_seal_no == 8);
	CHECK_OK(ledger_settle(w.ledger, (row = skipped(1, 3, ERR_SOURCE_SIZE), &row)));
	CHECK_OK(ledger_settle(w.ledger, (row = moved(1, 4), &row)));
	CHECK_OK(ledger_mailbox_end(w.ledger, 1, "incomplete", ERR_SOURCE_SIZE, NULL, 5));
	CHECK_OK(ledger_totals(w.ledger, 1, &totals));
	CHECK(totals.messages[LEDGER_MOVED] == 3 && totals.messages[LEDGER_SKIPPED] == 1);
	CHECK(totals.ranges_open == 1 && totals.seals_open == 1);
	CHECK_OK(world_finish(&w));
	CHECK_TEXT(ask_file(test_directory(), "PRAGMA user_version"), "6");
	CHECK_TEXT(ask_file(test_directory(), "PRAGMA integrity_check"), "ok");
	CHECK_TEXT(ask_file(test_directory(), "SELECT tbl_name FROM sqlite_schema"
					      " WHERE name = 'mailbox_by_target'"),
		   "mailbox");
	CHECK_TEXT(ask_file(test_directory(), "SELECT count(*) || ' ' || max(pid) FROM run"),
		   "1 4711");

	snprintf(directory, sizeof directory, "%s/fresh", test_directory());
	REQUIRE(world_open(&fresh, directory) == OK);
	CHECK_OK(world_finish(&fresh));
	snprintf(upgraded, sizeof upgraded, "%s", shape(test_directory()));
	CHECK(strstr(upgraded, "table lesson lesson_no"));
	CHECK(strstr(upgraded, "table settled found BLOB"));
	CHECK_TEXT(shape(directory), upgraded);
}

/* ---- the run ---- */

static bool is_same_run(const struct ledger_run *a, const struct ledger_run *b)
{
	bool same = a->started_wall_s == b->started_wall_s &&
		    a->updated_wall_s == b->updated_wall_s && a->ended_wall_s == b->ended_wall_s &&
		    a->pid == b->pid && a->messages == b->messages && a->bytes == b->bytes &&
		    a->exit_code == b->exit_code && a->connections == b->connections &&
		    a->throttled_permille == b->throttled_permille &&
		    a->window_closes_wall_s == b->window_closes_wall_s &&
		    strcmp(a->batch, b->batch) == 0;

	return same && memcmp(a->mailboxes, b->mailboxes, sizeof a->mailboxes) == 0 &&
	       memcmp(a->errors, b->errors, sizeof a->errors) == 0;
}

TEST_FIBER(a_batch_tells_another_process_how_far_it_is)
{
	struct ledger_run note = { .started_wall_s = 11,
				   .updated_wall_s = 12,
				   .pid = 4711,
				   .messages = 5,
				   .bytes = 50,
				   .batch = "night one",
				   .connections = 17,
				   .throttled_permille = 125,
				   .window_closes_wall_s = INT64_MAX },
			  read;
	struct world w;

	for (unsigned state = 0; state < BATCH_STATES; state++)
		note.mailboxes[state] = 100 + state;
	note.errors[ERR_IMAP_LOGIN] = 3;
	note.errors[ERR_COUNT - 1] = UINT32_MAX;
	REQUIRE(world_open(&w, test_directory()) == OK);
	ledger_run_note(w.ledger, &note);
	CHECK_OK(ledger_commit(w.ledger));
	CHECK_OK(ledger_status(test_directory(), NULL, &read, NULL));
	CHECK(is_same_run(&note, &read));
	CHECK_TEXT(ask_file(test_directory(),
			    "SELECT errors ->> '$.IMAP_LOGIN' || ' ' || failed FROM run"),
		   "3 105");

	note.errors[ERR_IMAP_LOGIN] = 0;
	note.ended_wall_s = 99;
	note.window_closes_wall_s = 1700000000;
	ledger_run_note(w.ledger, &note);
	CHECK_OK(world_finish(&w));
	CHECK_OK(ledger_status(test_directory(), NULL, &read, NULL));
	CHECK(is_same_run(&note, &read));
	CHECK_TEXT(ask_file(test_directory(), "SELECT count(*) FROM run"), "1");
}

TEST_FIBER(errors_that_this_version_does_not_know_are_left_out)
{
	struct ledger_run run = { .pid = 1, .started_wall_s = 1 };
	struct world w;

	REQUIRE(world_open(&w, test_directory()) == OK);
	ledger_run_note(w.ledger, &run);
	CHECK_OK(world_finish(&w));
	CHECK_TEXT(ask_file(test_directory(),
			    "UPDATE run SET errors = '{\"NEW_ONE\":7,\"NET_REFUSED\":2}'"),
		   "");
	CHECK_OK(ledger_status(test_directory(), NULL, &run, NULL));
	CHECK_EQ(run.errors[ERR_NET_REFUSED], 2);
	run.errors[ERR_NET_REFUSED] = 0;
	for (unsigned e = 0; e < ERR_COUNT; e++)
		CHECK_EQ(run.errors[e], 0);
}

/* ---- how a mailbox ended ---- */

TEST_FIBER(the_end_of_a_mailbox_is_kept_until_it_ends_again)
{
	struct ledger_mailbox again;
	uint64_t mailboxes = 0;
	struct world w;

	REQUIRE(world_open(&w, test_directory()) == OK);
	CHECK_OK(ledger_mailbox_end(w.ledger, w.mailbox_no, "failed", ERR_IMAP_LOGIN,
				    "logging in to mail.example.com as \"a\"", 1700000000));
	CHECK_OK(ledger_status(test_directory(), see, NULL, &mailboxes));
	CHECK_TEXT(seen.state, "failed");
	CHECK_TEXT(seen.error, "IMAP_LOGIN");
	CHECK_TEXT(seen.note, "logging in to mail.example.com as \"a\"");
	CHECK_EQ(seen.ended_wall_s, 1700000000);
	CHECK_OK(world_finish(&w));

	REQUIRE(world_open(&w, test_directory()) == OK); /* the next night */
	CHECK_OK(ledger_mailbox(w.ledger, "imaps://a@here/", "file:///there", "blake3", &again));
	CHECK_OK(ledger_status(test_directory(), see, NULL, &mailboxes));
	CHECK_TEXT(seen.state, "failed");
	CHECK_OK(ledger_mailbox_end(w.ledger, w.mailbox_no, "done", OK, NULL, 1700086400));
	CHECK_ERR(ledger_mailbox_end(w.ledger, w.mailbox_no + 1, "done", OK, NULL, 1),
		  ERR_LEDGER_STATE);
	err_note_clear();
	CHECK_OK(world_finish(&w));
	CHECK_OK(ledger_status(test_directory(), see, NULL, &mailboxes));
	CHECK_TEXT(seen.state, "done");
	CHECK_TEXT(seen.error, "");
	CHECK_TEXT(seen.note, "");
	CHECK_EQ(seen.ended_wall_s, 1700086400);
}

/* ---- lessons ---- */

static bool next_is(struct world *w, struct ledger_lesson *at, const char *kind, const char *name)
{
	return CHECK_OK(ledger_lesson_next(w->ledger, at)) && CHECK_TEXT(at->kind, kind) &&
	       CHECK_TEXT(at->name, name);
}

TEST_FIBER(what_was_learnt_about_servers_survives_a_restart)
{
	struct ledger_lesson lesson = { .kind = "host",
					.name = "mail.example.com",
					.not_before_wall_s = 1700000600,
					.connections_max = 4,
					.failures = 3,
					.reason = "[THROTTLED] slow down" };
	struct ledger_lesson at = { 0 };
	struct world w;

	REQUIRE(world_open(&w, test_directory()) == OK);
	CHECK_ERR(ledger_lesson_next(w.ledger, &at), ERR_PIPE_ENDED);
	CHECK_OK(ledger_lesson_set(w.ledger, &lesson));
	snprintf(lesson.kind, sizeof lesson.kind, "account"); /* same name, another thing */
	lesson.not_before_wall_s = 0;
	CHECK_OK(ledger_lesson_set(w.ledger, &lesson));
	for (size_t i = 0; i < LEDGER_LESSON_NAME_BYTES_MAX; i++)
		lesson.name[i] = 'x';
	CHECK_OK(ledger_lesson_set(w.ledger, &lesson));
	lesson = (struct ledger_lesson){ .kind = "host", .name = "b.example", .failures = 1 };
	CHECK_OK(ledger_lesson_set(w.ledger, &lesson));
	ledger_close(&w.ledger); /* each was durable at once */

	REQUIRE(world_open(&w, test_directory()) == OK);
	CHECK(next_is(&w, &at, "host", "mail.example.com"));
	CHECK(at.not_before_wall_s == 1700000600 && at.connections_max == 4 && at.failures == 3);
	CHECK_TEXT(at.reason, "[THROTTLED] slow down");
	at.connections_max = 2;
	CHECK_OK(ledger_lesson_set(w.ledger, &at)); /* in its place */
	CHECK(next_is(&w, &at, "account", "mail.example.com"));
	CHECK_EQ(at.not_before_wall_s, 0);
	CHECK_OK(ledger_lesson_next(w.ledger, &at));
	CHECK_EQ(strlen(at.name), LEDGER_LESSON_NAME_BYTES_MAX);
	CHECK(next_is(&w, &at, "host", "b.example"));
	at.failures = 0; /* nothing left to know */
	CHECK_OK(ledger_lesson_set(w.ledger, &at));
	CHECK_ERR(ledger_lesson_next(w.ledger, &at), ERR_PIPE_ENDED);
	CHECK_OK(world_finish(&w));
	CHECK_TEXT(
		ask_file(test_directory(),
			 "SELECT group_concat(kind || ' ' || connections_max, ', ') FROM lesson"),
		"host 2, account 4, account 4");
}
