/* What the filter left out is asked for again when the filter is another one, and only then. */
#include "tests/unit/ledger_help.h"

/* 1 to 6 are done: 1 is moved, 2 was refused, the others were left out; 7 to 9 are intended, and of
 * them 8 was left out. */
static void fill(struct world *w)
{
	struct ledger_row row = moved(w->box_no, 1);

	CHECK_OK(ledger_intend(w->ledger, w->box_no, 1, 6));
	CHECK_OK(ledger_settle(w->ledger, &row));
	row = skipped(w->box_no, 2, ERR_IMAP_MSG_REFUSED);
	CHECK_OK(ledger_settle(w->ledger, &row));
	for (uint64_t no = 3; no <= 8; no++) {
		if (no == 7)
			CHECK_OK(ledger_intend(w->ledger, w->box_no, 7, 9));
		row = skipped(w->box_no, no, ERR_SOURCE_FILTERED);
		if (no != 7)
			CHECK_OK(ledger_settle(w->ledger, &row));
	}
	CHECK_OK(ledger_range_done(w->ledger, w->box_no, 1, 6));
	CHECK_OK(ledger_commit(w->ledger));
}

static uint64_t filter(struct world *w, const char *text)
{
	uint64_t count = 99;

	CHECK_OK(ledger_filter(w->ledger, w->mailbox_no, text, &count));
	return count;
}

static const char *rows(void)
{
	return ask_file(test_directory(),
			"SELECT group_concat(no || substr(state, 1, 1) || reason, ' ') FROM"
			" (SELECT * FROM message ORDER BY no)");
}

TEST_FIBER(the_same_filter_changes_nothing)
{
	struct world w;

	REQUIRE(world_open(&w, test_directory()) == OK);
	CHECK_EQ(filter(&w, "since=5 "), 0);
	fill(&w);
	CHECK_EQ(filter(&w, "since=5 "), 0);
	CHECK_OK(world_finish(&w));
	REQUIRE(world_open(&w, test_directory()) == OK);
	CHECK_EQ(filter(&w, "since=5 "), 0);
	CHECK_TEXT(ranges_in_file(test_directory()), "1-6 done, 7-9 intended");
	CHECK_OK(world_finish(&w));
}

TEST_FIBER(another_filter_judges_again_what_was_left_out_and_nothing_else)
{
	struct ledger_range range;
	struct world w;

	REQUIRE(world_open(&w, test_directory()) == OK);
	CHECK_EQ(filter(&w, "since=5 "), 0);
	fill(&w);
	CHECK_EQ(filter(&w, "since=4 "), 5);
	CHECK_TEXT(rows(), "1m 2sIMAP_MSG_REFUSED");
	CHECK_OK(ledger_open_range(w.ledger, w.box_no, 0, &range));
	CHECK(range.first == 3 && range.last == 6);
	CHECK_EQ(filter(&w, "since=4 "), 0);
	CHECK_OK(world_finish(&w));
}

TEST_FIBER(without_a_filter_what_was_left_out_is_wanted)
{
	struct world w;

	REQUIRE(world_open(&w, test_directory()) == OK);
	CHECK_EQ(filter(&w, "max=9 "), 0);
	fill(&w);
	CHECK_EQ(filter(&w, ""), 5);
	CHECK_TEXT(ask_file(test_directory(), "SELECT count(*) FROM meta WHERE key LIKE 'f%'"),
		   "0");
	CHECK_EQ(filter(&w, ""), 0);
	CHECK_OK(world_finish(&w));
}

TEST_FIBER(what_was_left_out_is_counted_apart_and_no_exception)
{
	struct ledger_exception exception = { 0 };
	struct ledger_totals totals;
	struct world w;

	REQUIRE(world_open(&w, test_directory()) == OK);
	CHECK_EQ(filter(&w, "max=9 "), 0);
	fill(&w);
	CHECK_OK(ledger_totals(w.ledger, w.mailbox_no, &totals));
	CHECK_EQ(totals.filtered, 5);
	CHECK_EQ(totals.messages[LEDGER_SKIPPED], 1);
	CHECK_TEXT(totals.skipped_for[0].name, "IMAP_MSG_REFUSED");
	CHECK_EQ(totals.skipped_for[0].messages, 1);
	CHECK_EQ(totals.skipped_for[1].messages, 0);
	CHECK_OK(ledger_exception_next(w.ledger, w.mailbox_no, &exception));
	CHECK_EQ(exception.no, 2);
	CHECK_ERR(ledger_exception_next(w.ledger, w.mailbox_no, &exception), ERR_PIPE_ENDED);
	CHECK_OK(world_finish(&w));
}

TEST_FIBER(who_wants_everything_tried_again_does_not_mean_what_was_left_out)
{
	struct world w;
	uint64_t count;

	REQUIRE(world_open(&w, test_directory()) == OK);
	CHECK_EQ(filter(&w, "max=9 "), 0);
	fill(&w);
	CHECK_OK(ledger_forget_skipped(w.ledger, w.mailbox_no, LEDGER_ANY_REASON, &count));
	CHECK_EQ(count, 1);
	CHECK_OK(ledger_forget_skipped(w.ledger, w.mailbox_no, "SOURCE_FILTERED", &count));
	CHECK_EQ(count, 5);
	CHECK_TEXT(rows(), "1m");
	CHECK_OK(world_finish(&w));
}

TEST_FIBER(a_folder_that_is_gone_and_comes_back_is_judged_by_the_new_filter)
{
	struct world w;

	REQUIRE(world_open(&w, test_directory()) == OK);
	CHECK_EQ(filter(&w, "max=9 "), 0);
	fill(&w);
	CHECK_OK(ledger_box_former(w.ledger, w.box_no, LEDGER_OVER));
	CHECK_EQ(filter(&w, "max=99 "), 5);
	CHECK_OK(world_finish(&w));
	REQUIRE(world_open(&w, test_directory()) == OK);
	CHECK_TEXT(rows(), "1m 2sIMAP_MSG_REFUSED");
	CHECK_OK(world_finish(&w));
}

TEST_FIBER(open_ranges_are_found_from_above_too)
{
	struct ledger_range range;
	struct world w;

	REQUIRE(world_open(&w, test_directory()) == OK);
	CHECK_OK(ledger_intend(w.ledger, w.box_no, 1, 100));
	CHECK_OK(ledger_range_done(w.ledger, w.box_no, 41, 60));
	CHECK_OK(ledger_open_range_below(w.ledger, w.box_no, 101, &range));
	CHECK(range.first == 61 && range.last == 100);
	CHECK_OK(ledger_open_range_below(w.ledger, w.box_no, 81, &range));
	CHECK(range.first == 61 && range.last == 80);
	CHECK_OK(ledger_open_range_below(w.ledger, w.box_no, 61, &range));
	CHECK(range.first == 1 && range.last == 40);
	CHECK_OK(ledger_open_range_below(w.ledger, w.box_no, 2, &range));
	CHECK(range.first == 1 && range.last == 1);
	CHECK_ERR(ledger_open_range_below(w.ledger, w.box_no, 1, &range), ERR_PIPE_ENDED);
	CHECK_OK(world_finish(&w));
}
