/* Skipped messages are forgotten when a person wants them tried again, and nothing else is. */
#include "tests/unit/ledger_help.h"

/* Message `no` of the folder is skipped; its range is intended. */
static void skip(struct world *w, uint64_t no, enum err reason)
{
	struct ledger_row row = skipped(w->box_no, no, reason);

	CHECK_OK(ledger_settle(w->ledger, &row));
}

static void move(struct world *w, uint64_t no)
{
	struct ledger_row row = moved(w->box_no, no);

	CHECK_OK(ledger_settle(w->ledger, &row));
}

/* 1 to 10 are done: 2, 3 and 7 were refused by the source, 5 by the sink, 4 is doubtful for the
 * same reason as 2, 9 was withdrawn, 10 is gone; the others are moved. */
static void fill(struct world *w)
{
	struct ledger_row row;

	CHECK_OK(ledger_intend(w->ledger, w->box_no, 1, 10));
	skip(w, 2, ERR_IMAP_MSG_REFUSED);
	skip(w, 3, ERR_IMAP_MSG_REFUSED);
	row = moved(w->box_no, 4);
	row.state = LEDGER_DOUBTFUL;
	row.reason = ERR_IMAP_MSG_REFUSED;
	CHECK_OK(ledger_settle(w->ledger, &row));
	skip(w, 5, ERR_SINK_REFUSED);
	skip(w, 7, ERR_IMAP_MSG_REFUSED);
	move(w, 1);
	move(w, 6);
	move(w, 8);
	move(w, 9);
	CHECK_OK(ledger_commit(w->ledger));
	row = moved(w->box_no, 9);
	row.state = LEDGER_WITHDRAWN;
	CHECK_OK(ledger_settle(w->ledger, &row));
	CHECK_OK(ledger_range_done(w->ledger, w->box_no, 1, 10));
	CHECK_OK(ledger_cursor(w->ledger, w->box_no, &(struct cursor){ .at = "as it was" }));
}

static const char *rows(void)
{
	return ask_file(test_directory(),
			"SELECT group_concat(no || substr(state, 1, 1) || reason, ' ') FROM"
			" (SELECT * FROM message ORDER BY box_no, no)");
}

static const char *sums(void)
{
	return ask_file(test_directory(),
			"SELECT group_concat(moved || ' ' || skipped || ' ' || doubtful || ' ' ||"
			" withdrawn || ' \"' || cursor || '\"', ', ') FROM (SELECT * FROM box ORDER"
			" BY box_no)");
}

static uint64_t forget(struct world *w, const char *reason)
{
	uint64_t count = 99;

	CHECK_OK(ledger_forget_skipped(w->ledger, w->mailbox_no, reason, &count));
	return count;
}

TEST_FIBER(messages_skipped_for_the_reason_are_to_be_asked_for_again_and_no_others)
{
	struct ledger_range range;
	struct world w;

	REQUIRE(world_open(&w, test_directory()) == OK);
	fill(&w);
	CHECK_TEXT(sums(), "3 4 1 1 \"as it was\"");
	CHECK_EQ(forget(&w, "IMAP_MSG_REFUSED"), 3);
	CHECK_TEXT(rows(), "1m 4dIMAP_MSG_REFUSED 5sSINK_REFUSED 6m 8m 9w");
	CHECK_TEXT(sums(), "3 1 1 1 \"\"");
	CHECK_TEXT(ranges_in_file(test_directory()), "1-1 done, 2-7 intended, 8-10 done");
	CHECK_OK(ledger_unsettled(w.ledger, w.box_no, 2, 7, &range));
	CHECK(range.first == 2 && range.last == 3);
	CHECK_OK(ledger_unsettled(w.ledger, w.box_no, 4, 7, &range));
	CHECK(range.first == 7 && range.last == 7);
	CHECK_EQ(forget(&w, "IMAP_MSG_REFUSED"), 0); /* again: there is nothing left */
	CHECK_OK(world_finish(&w));
}

TEST_FIBER(every_reason_is_meant_by_all)
{
	struct world w;

	REQUIRE(world_open(&w, test_directory()) == OK);
	fill(&w);
	CHECK_EQ(forget(&w, LEDGER_ANY_REASON), 4);
	CHECK_TEXT(rows(), "1m 4dIMAP_MSG_REFUSED 6m 8m 9w");
	CHECK_TEXT(sums(), "3 0 1 1 \"\"");
	CHECK_OK(world_finish(&w));
}

TEST_FIBER(a_reason_nothing_was_skipped_for_changes_nothing)
{
	struct world w;

	REQUIRE(world_open(&w, test_directory()) == OK);
	fill(&w);
	CHECK_EQ(forget(&w, "SOURCE_SIZE"), 0);
	CHECK_EQ(forget(&w, "NO_SUCH_REASON"), 0);
	CHECK_TEXT(sums(), "3 4 1 1 \"as it was\"");
	CHECK_TEXT(ranges_in_file(test_directory()), "1-10 done");
	CHECK_OK(world_finish(&w));
}

/* Written by another version: its name is all that is known of it. */
TEST_FIBER(a_reason_this_version_does_not_know_is_taken_by_its_name)
{
	struct world w;

	REQUIRE(world_open(&w, test_directory()) == OK);
	fill(&w);
	CHECK_TEXT(ask_file(test_directory(), "UPDATE reason SET name = 'FROM_THE_FUTURE' WHERE"
					      " name = 'SINK_REFUSED'"),
		   "");
	CHECK_EQ(forget(&w, "FROM_THE_FUTURE"), 1);
	CHECK_OK(world_finish(&w));
}

TEST_FIBER(a_forgotten_message_may_be_moved_or_skipped_again)
{
	struct world w;

	REQUIRE(world_open(&w, test_directory()) == OK);
	fill(&w);
	CHECK_EQ(forget(&w, "IMAP_MSG_REFUSED"), 3);
	move(&w, 2);
	skip(&w, 7, ERR_SOURCE_SIZE);
	CHECK_OK(ledger_range_done(w.ledger, w.box_no, 2, 7)); /* and 3 is gone meanwhile */
	CHECK_OK(ledger_commit(w.ledger));
	CHECK_TEXT(rows(), "1m 2m 4dIMAP_MSG_REFUSED 5sSINK_REFUSED 6m 7sSOURCE_SIZE 8m 9w");
	CHECK_TEXT(sums(), "4 2 1 1 \"\"");
	CHECK_TEXT(ranges_in_file(test_directory()), "1-10 done");
	CHECK_OK(world_finish(&w));
}

/* The only way from skipped to another state is the one that a person asks for. */
TEST_FIBER(a_skipped_message_that_was_not_forgotten_stays_skipped)
{
	struct world w;

	for (unsigned i = 0; i < 2; i++) { /* its range is done, or intended for another's sake */
		char directory[200];

		snprintf(directory, sizeof directory, "%s/%u", test_directory(), i);
		REQUIRE(world_open(&w, directory) == OK);
		fill(&w);
		if (i)
			CHECK_OK(ledger_range_again(w.ledger, w.box_no, 1, 10));
		CHECK_EQ(forget(&w, "SINK_REFUSED"), 1);
		move(&w, 7);
		CHECK_ERR(ledger_commit(w.ledger), ERR_LEDGER_STATE);
		err_note_clear();
		ledger_close(&w.ledger);
	}
}

TEST_FIBER(ranges_that_are_open_stay_as_they_are)
{
	struct world w;

	REQUIRE(world_open(&w, test_directory()) == OK);
	CHECK_OK(ledger_intend(w.ledger, w.box_no, 1, 4));
	CHECK_OK(ledger_intend(w.ledger, w.box_no, 5, 9));
	for (uint64_t no = 3; no <= 7; no++)
		skip(&w, no, ERR_IMAP_MSG_REFUSED);
	CHECK_OK(ledger_range_done(w.ledger, w.box_no, 5, 6));
	CHECK_EQ(forget(&w, LEDGER_ANY_REASON), 5);
	CHECK_TEXT(ranges_in_file(test_directory()), "1-4 intended, 5-6 intended, 7-9 intended");
	CHECK_OK(world_finish(&w));
}

TEST_FIBER(what_lies_between_two_that_are_far_apart_stays_done)
{
	struct world w;

	REQUIRE(world_open(&w, test_directory()) == OK);
	CHECK_OK(ledger_intend(w.ledger, w.box_no, 1, 1000000));
	skip(&w, 1, ERR_IMAP_MSG_REFUSED);
	skip(&w, 5000, ERR_IMAP_MSG_REFUSED);
	skip(&w, 1000000, ERR_IMAP_MSG_REFUSED);
	CHECK_OK(ledger_range_done(w.ledger, w.box_no, 1, 1000000));
	CHECK_EQ(forget(&w, LEDGER_ANY_REASON), 3);
	CHECK_TEXT(ranges_in_file(test_directory()),
		   "1-1 intended, 2-4999 done, 5000-5000 intended, 5001-999999 done,"
		   " 1000000-1000000 intended");
	CHECK_OK(world_finish(&w));
}

/* More than are looked at at once, in runs that lie across the pages' ends and in single numbers.
 */
TEST_FIBER(thousands_are_forgotten_at_once)
{
	enum { LAST = 3000 };
	uint64_t expected = 0;
	struct world w;

	REQUIRE(world_open(&w, test_directory()) == OK);
	CHECK_OK(ledger_intend(w.ledger, w.box_no, 1, LAST));
	for (uint64_t no = 1; no <= LAST; no++)
		if (no % 7 == 0 || (no > 2000 && no % 2)) {
			move(&w, no);
		} else {
			skip(&w, no, no % 11 ? ERR_IMAP_MSG_REFUSED : ERR_SINK_REFUSED);
			expected += no % 11 != 0;
		}
	CHECK_OK(ledger_range_done(w.ledger, w.box_no, 1, LAST));
	CHECK_EQ(forget(&w, "IMAP_MSG_REFUSED"), expected);
	CHECK_TEXT(ask_file(test_directory(), "SELECT count(*) FROM exception WHERE reason <>"
					      " 'SINK_REFUSED'"),
		   "0");
	CHECK_TEXT(
		ask_file(test_directory(),
			 "SELECT count(*) FROM box WHERE moved <> (SELECT count(*) FROM settled"
			 " WHERE fate = 1) OR skipped <> (SELECT count(*) FROM settled WHERE fate"
			 " & 7 = 2)"),
		"0");
	/* What has no row is intended, and every number still lies in one range. */
	CHECK_TEXT(
		ask_file(test_directory(),
			 "WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i"
			 " < 3000) SELECT count(*) FROM c WHERE i NOT IN (SELECT no FROM settled)"
			 " AND NOT EXISTS (SELECT 1 FROM range WHERE i BETWEEN first AND last AND"
			 " state = 'intended')"),
		"0");
	CHECK_TEXT(ask_file(test_directory(), "SELECT sum(last - first + 1) FROM range"), "3000");
	CHECK_OK(world_finish(&w));
}

static uint64_t enter_inbox(struct world *w, uint64_t mailbox_no, uint64_t epoch)
{
	static struct box box; /* large */
	uint64_t epoch_before, next_no;

	box.epoch = epoch;
	snprintf(box.name, sizeof box.name, "INBOX");
	CHECK_OK(ledger_box(w->ledger, mailbox_no, &box, &epoch_before, &next_no));
	return box.box_no;
}

TEST_FIBER(other_mailboxes_and_former_folders_are_left_alone)
{
	struct ledger_mailbox other;
	struct world w;

	REQUIRE(world_open(&w, test_directory()) == OK);
	CHECK_OK(ledger_mailbox(w.ledger, "imaps://b@here/", "file:///there", "blake3", &other));
	fill(&w);
	CHECK_OK(ledger_box_former(w.ledger, w.box_no, LEDGER_SOUGHT));
	w.box_no = enter_inbox(&w, w.mailbox_no, 8);
	fill(&w);
	w.box_no = enter_inbox(&w, other.mailbox_no, 1);
	fill(&w);
	CHECK_EQ(forget(&w, LEDGER_ANY_REASON), 4);
	CHECK_TEXT(sums(), "3 4 1 1 \"as it was\", 3 0 1 1 \"\", 3 4 1 1 \"as it was\"");
	CHECK_OK(world_finish(&w));
}

/* Somebody wrote in the file: nothing of the call is done, and the ledger goes on. */
TEST_FIBER(a_skipped_message_outside_every_range_is_refused_and_nothing_is_forgotten)
{
	uint64_t count;
	struct world w;

	REQUIRE(world_open(&w, test_directory()) == OK);
	fill(&w);
	CHECK_TEXT(ask_file(test_directory(), "UPDATE range SET last = 6"), "");
	CHECK_ERR(ledger_forget_skipped(w.ledger, w.mailbox_no, LEDGER_ANY_REASON, &count),
		  ERR_LEDGER_STATE);
	err_note_clear();
	CHECK_EQ(count, 0);
	CHECK_TEXT(sums(), "3 4 1 1 \"as it was\"");
	CHECK_TEXT(ranges_in_file(test_directory()), "1-6 done");
	CHECK_EQ(forget(&w, "SINK_REFUSED"), 1);
	CHECK_OK(world_finish(&w));
}

TEST_FIBER(what_was_forgotten_is_asked_for_by_the_next_run_after_a_crash)
{
	struct ledger_range range;
	struct world w;

	REQUIRE(world_open(&w, test_directory()) == OK);
	fill(&w);
	CHECK_EQ(forget(&w, "IMAP_MSG_REFUSED"), 3);
	ledger_close(&w.ledger); /* as a kill would leave it */
	REQUIRE(world_open(&w, test_directory()) == OK);
	CHECK_OK(ledger_open_range(w.ledger, w.box_no, 0, &range));
	CHECK(range.first == 2 && range.last == 7);
	CHECK_OK(world_finish(&w));
}

static void take_totals(void *context, const struct ledger_status_mailbox *mailbox)
{
	*(struct ledger_totals *)context = mailbox->totals;
}

TEST_FIBER(skipped_messages_are_counted_by_reason)
{
	struct ledger_totals totals;
	struct world w;

	REQUIRE(world_open(&w, test_directory()) == OK);
	CHECK_OK(ledger_totals(w.ledger, w.mailbox_no, &totals));
	CHECK_EQ(totals.skipped_for[0].messages, 0);
	fill(&w);
	CHECK_OK(ledger_totals(w.ledger, w.mailbox_no, &totals));
	CHECK_TEXT(totals.skipped_for[0].name, "IMAP_MSG_REFUSED");
	CHECK_EQ(totals.skipped_for[0].messages, 3);
	CHECK_TEXT(totals.skipped_for[1].name, "SINK_REFUSED");
	CHECK_EQ(totals.skipped_for[1].messages, 1);
	CHECK_EQ(totals.skipped_for[2].messages, 0);
	CHECK_OK(world_finish(&w));
	totals = (struct ledger_totals){ 0 };
	CHECK_OK(ledger_status(test_directory(), take_totals, NULL, &totals));
	CHECK_EQ(totals.skipped_for[0].messages, 3);
}

TEST(reasons_are_counted_in_a_ledger_of_an_older_version)
{
	struct ledger_totals totals = { 0 };

	make_ledger_of_version_1(test_directory());
	CHECK_OK(ledger_status(test_directory(), take_totals, NULL, &totals));
	CHECK_TEXT(totals.skipped_for[0].name, "SOURCE_SIZE");
	CHECK_EQ(totals.skipped_for[0].messages, 1);
}
