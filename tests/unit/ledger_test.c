/* The ledger inside one process: what is kept, which changes are refused, how it is read. Crashes,
 * other processes and bad files are in ledger_crash_test.c. */
#include "tests/unit/ledger_help.h"

#include <stdlib.h>
#include <sys/stat.h>

#include "engine/fiber.h"

TEST_FIBER(what_was_settled_is_there_after_a_restart)
{
	struct world w;
	struct ledger_row row;
	struct ledger_totals totals;
	struct ledger_range gap;
	uint8_t id[LEDGER_ID_BYTES];
	uint64_t box_no;

	REQUIRE(world_open(&w, test_directory()) == OK);
	CHECK_EQ(w.next_no, 1);
	CHECK_EQ(w.next_seal_no, 1);
	box_no = w.box_no;
	memcpy(id, ledger_id(w.ledger), sizeof id);
	CHECK_OK(ledger_intend(w.ledger, w.box_no, 1, 300));
	for (uint64_t no = 1; no <= 200; no++)
		CHECK_OK(ledger_settle(w.ledger, (row = moved(w.box_no, no), &row)));
	CHECK_OK(ledger_settle(w.ledger, (row = skipped(w.box_no, 300, ERR_SINK_REFUSED), &row)));
	CHECK_OK(world_finish(&w));

	REQUIRE(world_open(&w, test_directory()) == OK);
	CHECK_EQ(w.box_no, box_no);
	CHECK_EQ(w.next_no, 301);
	CHECK(memcmp(id, ledger_id(w.ledger), sizeof id) == 0);
	CHECK_OK(ledger_totals(w.ledger, w.mailbox_no, &totals));
	CHECK_EQ(totals.boxes, 1);
	CHECK_EQ(totals.messages[LEDGER_MOVED], 200);
	CHECK_EQ(totals.messages[LEDGER_SKIPPED], 1);
	CHECK_EQ(totals.ranges_open, 1);
	CHECK_OK(ledger_unsettled(w.ledger, w.box_no, 1, 300, &gap));
	CHECK_EQ(gap.first, 201);
	CHECK_EQ(gap.last, 299);
	CHECK_OK(world_finish(&w));
}

TEST_FIBER(finish_leaves_one_file_and_the_lock)
{
	struct world w;
	struct ledger_row row;
	char path[200];
	struct stat status;

	REQUIRE(world_open(&w, test_directory()) == OK);
	CHECK_OK(ledger_intend(w.ledger, w.box_no, 1, 1));
	CHECK_OK(ledger_settle(w.ledger, (row = moved(w.box_no, 1), &row)));
	CHECK_OK(world_finish(&w));
	snprintf(path, sizeof path, "%s/ledger.db-wal", test_directory());
	CHECK(stat(path, &status) != 0);
	snprintf(path, sizeof path, "%s/ledger.lock", test_directory());
	CHECK(stat(path, &status) == 0);
	CHECK_TEXT(ask_file(test_directory(), "PRAGMA integrity_check"), "ok");
}

TEST_FIBER(a_thousand_rows_are_committed_without_being_asked)
{
	struct world w;
	struct ledger_row row;

	REQUIRE(world_open(&w, test_directory()) == OK);
	CHECK_OK(ledger_intend(w.ledger, w.box_no, 1, 5000));
	for (uint64_t no = 1; no <= LEDGER_ROWS_PER_COMMIT + 10; no++)
		CHECK_OK(ledger_settle(w.ledger, (row = moved(w.box_no, no), &row)));
	CHECK_EQ(ledger_queued(w.ledger), LEDGER_ROWS_PER_COMMIT + 10);
	CHECK(ledger_durable(w.ledger) > 0);
	CHECK_OK(ledger_commit(w.ledger));
	CHECK_EQ(ledger_durable(w.ledger), LEDGER_ROWS_PER_COMMIT + 10);
	CHECK_OK(world_finish(&w));
}

TEST_FIBER(closing_without_finish_loses_only_what_was_queued)
{
	struct world w;
	struct ledger_row row;
	struct ledger_range gap;

	REQUIRE(world_open(&w, test_directory()) == OK);
	CHECK_OK(ledger_intend(w.ledger, w.box_no, 1, 10));
	CHECK_OK(ledger_settle(w.ledger, (row = moved(w.box_no, 1), &row)));
	CHECK_OK(ledger_commit(w.ledger));
	CHECK_OK(ledger_settle(w.ledger, (row = moved(w.box_no, 2), &row)));
	ledger_close(&w.ledger);
	ledger_close(&w.ledger); /* NULL inside is accepted */
	REQUIRE(world_open(&w, test_directory()) == OK);
	CHECK_OK(ledger_unsettled(w.ledger, w.box_no, 1, 10, &gap));
	CHECK_EQ(gap.first, 2);
	CHECK_OK(world_finish(&w));
}

/* ---- ranges ---- */

TEST_FIBER(adjacent_done_ranges_become_one)
{
	struct world w;
	struct ledger_range open;

	REQUIRE(world_open(&w, test_directory()) == OK);
	for (uint64_t first = 1; first <= 901; first += 100)
		CHECK_OK(ledger_intend(w.ledger, w.box_no, first, first + 99));
	CHECK_OK(ledger_range_done(w.ledger, w.box_no, 201, 300));
	CHECK_OK(ledger_range_done(w.ledger, w.box_no, 1, 100));
	CHECK_OK(ledger_range_done(w.ledger, w.box_no, 101, 200));
	CHECK_OK(ledger_range_done(w.ledger, w.box_no, 401, 500));
	CHECK_OK(ledger_open_range(w.ledger, w.box_no, 0, &open));
	CHECK_EQ(open.first, 301);
	CHECK_EQ(open.last, 400);
	CHECK_OK(ledger_open_range(w.ledger, w.box_no, open.last, &open));
	CHECK_EQ(open.first, 501);
	for (uint64_t first = 501; first <= 901; first += 100)
		CHECK_OK(ledger_range_done(w.ledger, w.box_no, first, first + 99));
	CHECK_OK(world_finish(&w));
	CHECK_TEXT(ranges_in_file(test_directory()), "1-300 done, 301-400 intended, 401-1000 done");
}

TEST_FIBER(a_part_of_an_intended_range_may_be_done)
{
	struct world w;

	REQUIRE(world_open(&w, test_directory()) == OK);
	CHECK_OK(ledger_intend(w.ledger, w.box_no, 1, 1000));
	CHECK_OK(ledger_range_done(w.ledger, w.box_no, 400, 499));
	CHECK_OK(ledger_range_done(w.ledger, w.box_no, 1, 1));
	CHECK_OK(world_finish(&w));
	CHECK_TEXT(ranges_in_file(test_directory()),
		   "1-1 done, 2-399 intended, 400-499 done, 500-1000 intended");
}

TEST_FIBER(an_overlapping_range_is_refused_and_nothing_else_is_lost)
{
	struct world w;
	struct ledger_row row;

	REQUIRE(world_open(&w, test_directory()) == OK);
	CHECK_OK(ledger_intend(w.ledger, w.box_no, 100, 199));
	CHECK_OK(ledger_settle(w.ledger, (row = moved(w.box_no, 100), &row)));
	CHECK_ERR(ledger_intend(w.ledger, w.box_no, 199, 300), ERR_LEDGER_STATE);
	CHECK_EQ(ledger_durable(w.ledger), 1);
	CHECK_ERR(ledger_intend(w.ledger, w.box_no, 1, 100), ERR_LEDGER_STATE);
	CHECK_ERR(ledger_intend(w.ledger, w.box_no, 150, 150), ERR_LEDGER_STATE);
	CHECK_ERR(ledger_intend(w.ledger, w.box_no, 1, 1000), ERR_LEDGER_STATE);
	CHECK_ERR(ledger_intend(w.ledger, w.box_no + 1, 1, 2), ERR_LEDGER_STATE);
	CHECK_OK(ledger_intend(w.ledger, w.box_no, 200, 300));
	CHECK_OK(ledger_intend(w.ledger, w.box_no, 1, 99));
	err_note_clear();
	CHECK_OK(world_finish(&w));
	CHECK_TEXT(ranges_in_file(test_directory()),
		   "1-99 intended, 100-199 intended, 200-300 intended");
}

static void check_gap(struct world *w, uint64_t from, uint64_t last, uint64_t gap_first,
		      uint64_t gap_last)
{
	struct ledger_range gap;

	if (!gap_first) {
		CHECK_ERR(ledger_unsettled(w->ledger, w->box_no, from, last, &gap), ERR_PIPE_ENDED);
		return;
	}
	CHECK_OK(ledger_unsettled(w->ledger, w->box_no, from, last, &gap));
	CHECK_EQ(gap.first, gap_first);
	CHECK_EQ(gap.last, gap_last);
}

TEST_FIBER(gaps_are_found_wherever_they_are)
{
	struct world w;
	struct ledger_row row;

	REQUIRE(world_open(&w, test_directory()) == OK);
	CHECK_OK(ledger_intend(w.ledger, w.box_no, 1, 100));
	check_gap(&w, 1, 100, 1, 100);
	for (uint64_t no = 10; no <= 90; no++)
		if (no != 50 && no != 51)
			CHECK_OK(ledger_settle(w.ledger, (row = moved(w.box_no, no), &row)));
	check_gap(&w, 1, 100, 1, 9);
	check_gap(&w, 5, 100, 5, 9);
	check_gap(&w, 10, 100, 50, 51);
	check_gap(&w, 51, 100, 51, 51);
	check_gap(&w, 52, 100, 91, 100);
	check_gap(&w, 52, 90, 0, 0);
	check_gap(&w, 50, 50, 50, 50);
	check_gap(&w, 60, 60, 0, 0);
	check_gap(&w, 100, 100, 100, 100);
	CHECK_OK(world_finish(&w));
}

/* The walk goes in steps of 65536 rows. */
TEST_FIBER(a_gap_behind_many_settled_messages_is_found)
{
	enum { MANY = 140000 };
	struct world w;
	struct ledger_row row;
	static const uint64_t gaps[] = { 65536, 65537, 131072, 131073, MANY };

	REQUIRE(world_open(&w, test_directory()) == OK);
	CHECK_OK(ledger_intend(w.ledger, w.box_no, 1, MANY));
	for (uint64_t no = 1, at = 0; no <= MANY; no++) {
		if (no == gaps[at]) {
			at++;
			continue;
		}
		if (ledger_settle(w.ledger, (row = moved(w.box_no, no), &row)))
			break;
	}
	check_gap(&w, 1, MANY, 65536, 65537);
	check_gap(&w, 65538, MANY, 131072, 131073);
	check_gap(&w, 131074, MANY, MANY, MANY);
	for (size_t i = 0; i < ARRAY_COUNT(gaps); i++)
		CHECK_OK(ledger_settle(w.ledger, (row = moved(w.box_no, gaps[i]), &row)));
	check_gap(&w, 1, MANY, 0, 0);
	CHECK_OK(world_finish(&w));
}

/* ---- legal and illegal changes ---- */

/* A fresh run settles `before` (no state: nothing), then `after`: the error, or OK. */
static enum err change(const struct ledger_row *before, const struct ledger_row *after)
{
	struct world w;
	enum err e = world_open(&w, test_directory());

	must(e == OK);
	if (w.next_no == 1)
		CHECK_OK(ledger_intend(w.ledger, w.box_no, 1, 1000));
	if (before->state)
		CHECK_OK(ledger_settle(w.ledger, before));
	CHECK_OK(ledger_commit(w.ledger));
	e = ledger_settle(w.ledger, after);
	if (!e)
		e = ledger_commit(w.ledger);
	if (e) { /* and so says every later call */
		CHECK_ERR(ledger_commit(w.ledger), e);
		CHECK_ERR(ledger_intend(w.ledger, w.box_no, 2000, 2001), e);
		CHECK_ERR(world_finish(&w), e);
	} else {
		CHECK_OK(world_finish(&w));
	}
	err_note_clear();
	return e;
}

TEST_FIBER(the_same_row_again_does_nothing)
{
	struct ledger_row row = moved(1, 5), refused = skipped(1, 6, ERR_SINK_REFUSED);

	CHECK_OK(change(&row, &row));
	CHECK_OK(change(&refused, &refused));
	CHECK_TEXT(ask_file(test_directory(),
			    "SELECT moved || ' ' || skipped || ' ' || (bytes_moved ="
			    " (SELECT size_bytes FROM settled WHERE no = 5)) FROM box"),
		   "1 1 1");
}

TEST_FIBER(a_settled_message_does_not_change)
{
	struct ledger_row nothing = { 0 }, before = moved(1, 5), after;

	after = before, after.digest.bytes[31] ^= 1;
	CHECK_ERR(change(&before, &after), ERR_LEDGER_STATE);
	after = before, after.size_bytes++;
	CHECK_ERR(change(&nothing, &after), ERR_LEDGER_STATE);
	after = before, after.seal_no++; /* a second copy */
	CHECK_ERR(change(&nothing, &after), ERR_LEDGER_STATE);
	after = before, after.state = LEDGER_DOUBTFUL, after.reason = ERR_SINK_DAMAGED;
	CHECK_ERR(change(&nothing, &after), ERR_LEDGER_STATE);
	after = skipped(1, 5, ERR_SOURCE_POISON);
	CHECK_ERR(change(&nothing, &after), ERR_LEDGER_STATE);
	before = skipped(1, 6, ERR_SOURCE_POISON), after = moved(1, 6);
	CHECK_ERR(change(&before, &after), ERR_LEDGER_STATE);
	after = skipped(1, 6, ERR_SOURCE_SIZE);
	CHECK_ERR(change(&nothing, &after), ERR_LEDGER_STATE);
	CHECK_TEXT(ask_file(test_directory(),
			    "SELECT group_concat(no || ' ' || state || ' ' || reason, ', ')"
			    " FROM message"),
		   "5 moved , 6 skipped SOURCE_POISON");
}

TEST_FIBER(only_what_was_stored_can_be_withdrawn)
{
	struct ledger_row nothing = { 0 }, before = moved(1, 5), after = before;

	after.state = LEDGER_WITHDRAWN;
	CHECK_ERR(change(&nothing, &after), ERR_LEDGER_STATE);
	CHECK_OK(change(&before, &after));
	CHECK_OK(change(&nothing, &after));
	CHECK_ERR(change(&nothing, &before), ERR_LEDGER_STATE);
	before = moved(1, 6), before.state = LEDGER_DOUBTFUL, before.reason = ERR_SINK_DAMAGED;
	after = before, after.state = LEDGER_WITHDRAWN, after.reason = OK;
	CHECK_OK(change(&before, &after));
	before = skipped(1, 7, ERR_SOURCE_SIZE);
	after = before, after.state = LEDGER_WITHDRAWN, after.reason = OK;
	CHECK_ERR(change(&before, &after), ERR_LEDGER_STATE);
	CHECK_TEXT(ask_file(test_directory(),
			    "SELECT moved || ' ' || skipped || ' ' || doubtful || ' ' ||"
			    " withdrawn || ' ' || bytes_moved FROM box"),
		   "0 1 0 2 0");
}

/* One run that moves 1, 2 and 3, skips 4, has doubts of 5, and takes back 6. */
static void settle_some(struct world *w)
{
	struct ledger_row row;

	REQUIRE(world_open(w, test_directory()) == OK);
	CHECK_OK(ledger_intend(w->ledger, w->box_no, 1, 10));
	for (uint64_t no = 1; no <= 6; no++) {
		row = moved(w->box_no, no);
		row.target_no = 100 + no;
		row.mark = no == 2 ? 0 : 1000 + no;
		row.dated = no != 2;
		row.date_s = -5 * (int64_t)no;
		if (no == 4)
			row = skipped(w->box_no, no, ERR_SINK_REFUSED);
		if (no == 5)
			row.state = LEDGER_DOUBTFUL, row.reason = ERR_SINK_DAMAGED;
		CHECK_OK(ledger_settle(w->ledger, &row));
	}
	CHECK_OK(ledger_commit(w->ledger));
	row.state = LEDGER_WITHDRAWN;
	CHECK_OK(ledger_settle(w->ledger, &row));
	CHECK_OK(ledger_commit(w->ledger));
}

TEST_FIBER(what_should_be_at_the_target_is_told_in_pages)
{
	struct ledger_stored stored[2];
	struct ledger_row row;
	struct world w;
	size_t count;

	settle_some(&w);
	row = moved(w.box_no, 1);
	CHECK_OK(ledger_stored(w.ledger, w.box_no, 0, stored, 2, &count));
	CHECK_EQ(count, 2);
	CHECK_EQ(stored[0].no, 1);
	CHECK_EQ(stored[0].size_bytes, row.size_bytes);
	CHECK_EQ(stored[0].mark, 1001);
	CHECK_EQ(stored[0].target_no, 101);
	CHECK(stored[0].dated);
	CHECK_EQ(stored[0].date_s, -5);
	CHECK(!stored[1].dated);
	CHECK(!stored[0].doubtful);
	CHECK(memcmp(stored[0].digest.bytes, row.digest.bytes, DIGEST_BYTES) == 0);
	CHECK_EQ(stored[1].no, 2);
	CHECK_EQ(stored[1].mark, 0);
	CHECK_OK(ledger_stored(w.ledger, w.box_no, 2, stored, 2, &count));
	CHECK_EQ(count, 2);
	CHECK_EQ(stored[0].no, 3);
	CHECK_EQ(stored[1].no, 5);
	CHECK(stored[1].doubtful);
	CHECK_OK(ledger_stored(w.ledger, w.box_no, 5, stored, 2, &count));
	CHECK_EQ(count, 0);
	CHECK_OK(ledger_doubt(w.ledger, w.box_no, 1, ERR_SINK_ALTERED));
	CHECK_OK(ledger_doubt(w.ledger, w.box_no, 2, ERR_SINK_MISSING));
	CHECK_OK(ledger_stored(w.ledger, w.box_no, 0, stored, 2, &count));
	CHECK(stored[0].doubtful && stored[0].altered);
	CHECK(stored[1].doubtful && !stored[1].altered);
	CHECK_OK(world_finish(&w));
}

TEST_FIBER(what_was_found_at_the_target_is_told_apart)
{
	struct ledger_stored stored[3];
	struct ledger_totals totals;
	struct ledger_row row;
	struct world w;
	size_t count;

	REQUIRE(world_open(&w, test_directory()) == OK);
	CHECK_OK(ledger_intend(w.ledger, w.box_no, 1, 10));
	for (uint64_t no = 1; no <= 3; no++) {
		row = moved(w.box_no, no);
		row.found = (enum ledger_found)(no - 1);
		row.form = row.found ? MAIL_AS_IT_IS : MAIL_WRAPPED;
		row.target_no = 100 + no;
		row.fingerprint.bytes[5] = 55;
		CHECK_OK(ledger_settle(w.ledger, &row));
	}
	CHECK_OK(ledger_settle(w.ledger, &row)); /* the very same again */
	CHECK_OK(ledger_commit(w.ledger));
	CHECK_OK(ledger_stored(w.ledger, w.box_no, 0, stored, 3, &count));
	CHECK_EQ(count, 3);
	CHECK_EQ(stored[0].found, LEDGER_SENT);
	CHECK_EQ(stored[0].form, MAIL_WRAPPED);
	CHECK_EQ(stored[1].found, LEDGER_FOUND_SAME);
	CHECK_EQ(stored[1].form, MAIL_AS_IT_IS);
	CHECK_EQ(stored[1].fingerprint.bytes[5], 0);
	CHECK_EQ(stored[2].found, LEDGER_FOUND_ALIKE);
	CHECK_EQ(stored[2].fingerprint.bytes[5], 55);
	CHECK_OK(ledger_doubt(w.ledger, w.box_no, 2, ERR_SINK_MISSING));
	CHECK_OK(ledger_commit(w.ledger));
	CHECK_OK(ledger_totals(w.ledger, w.mailbox_no, &totals));
	CHECK_EQ(totals.messages[LEDGER_MOVED], 2);
	CHECK_EQ(totals.messages[LEDGER_DOUBTFUL], 1);
	CHECK_EQ(totals.found, 2);
	CHECK_EQ(totals.wrapped, 1);
	CHECK_OK(world_finish(&w));
	CHECK_TEXT(ask_file(test_directory(),
			    "SELECT group_concat(no || found || state || form, ' ') FROM message"),
		   "1moved1 2digestdoubtful0 3fingerprintmoved0");
}

TEST_FIBER(mailboxes_with_one_target_know_of_each_other)
{
	struct ledger_mailbox other, third;
	uint64_t beside = 0;
	struct world w;

	REQUIRE(world_open(&w, test_directory()) == OK);
	CHECK_OK(ledger_mailbox(w.ledger, "imaps://b@here/", "file:///else", "blake3", &other));
	CHECK_OK(ledger_mailbox(w.ledger, "imaps://c@here/", "file:///there", "blake3", &third));
	CHECK_OK(ledger_mailbox_beside(w.ledger, third.mailbox_no, &beside));
	CHECK_EQ(beside, w.mailbox_no);
	CHECK_OK(ledger_mailbox_beside(w.ledger, third.mailbox_no, &beside));
	CHECK_EQ(beside, third.mailbox_no);
	CHECK_ERR(ledger_mailbox_beside(w.ledger, third.mailbox_no, &beside), ERR_PIPE_ENDED);
	beside = 0;
	CHECK_OK(ledger_mailbox_beside(w.ledger, other.mailbox_no, &beside));
	CHECK_EQ(beside, other.mailbox_no);
	CHECK_OK(world_finish(&w));
}

/* What a doubt of message `no` comes to. */
static enum err doubt(uint64_t no, enum err reason)
{
	struct world w;
	enum err e;

	must(world_open(&w, test_directory()) == OK);
	CHECK_OK(ledger_doubt(w.ledger, w.box_no, no, reason));
	e = ledger_commit(w.ledger);
	if (e)
		CHECK_ERR(world_finish(&w), e);
	else
		CHECK_OK(world_finish(&w));
	err_note_clear();
	return e;
}

TEST_FIBER(only_what_was_moved_becomes_doubtful_by_looking)
{
	struct world w;

	settle_some(&w);
	CHECK_OK(world_finish(&w));
	CHECK_OK(doubt(1, ERR_SINK_MISSING));
	CHECK_OK(doubt(3, ERR_SINK_ALTERED));
	CHECK_OK(doubt(3, ERR_SINK_MISSING)); /* as it is already, for its first reason */
	CHECK_OK(doubt(5, ERR_SINK_MISSING));
	CHECK_ERR(doubt(4, ERR_SINK_MISSING), ERR_LEDGER_STATE);
	CHECK_ERR(doubt(6, ERR_SINK_MISSING), ERR_LEDGER_STATE);
	CHECK_ERR(doubt(7, ERR_SINK_MISSING), ERR_LEDGER_STATE);
	CHECK_TEXT(ask_file(test_directory(), "SELECT group_concat(no || ' ' || state || ' ' ||"
					      " reason, ', ') FROM message"),
		   "1 doubtful SINK_MISSING, 2 moved , 3 doubtful SINK_ALTERED, "
		   "4 skipped SINK_REFUSED, 5 doubtful SINK_DAMAGED, 6 withdrawn ");
	CHECK_TEXT(ask_file(test_directory(),
			    "SELECT moved || ' ' || skipped || ' ' || doubtful || ' ' || withdrawn"
			    " || ' ' || (bytes_moved = (SELECT size_bytes FROM settled WHERE no ="
			    " 2)) FROM box"),
		   "1 1 3 1 1");
}

TEST_FIBER(only_intended_messages_are_settled)
{
	struct ledger_row nothing = { 0 }, row = moved(1, 1001);
	struct world w;

	CHECK_ERR(change(&nothing, &row), ERR_LEDGER_STATE);
	REQUIRE(world_open(&w, test_directory()) == OK);
	CHECK_OK(ledger_settle(w.ledger, (row = moved(1, 3), &row)));
	CHECK_OK(ledger_range_done(w.ledger, w.box_no, 1, 500));
	CHECK_OK(world_finish(&w));
	CHECK_OK(change(&nothing, &row)); /* the same again, after its range was done */
	row = moved(1, 500);
	CHECK_ERR(change(&nothing, &row), ERR_LEDGER_STATE);
	row = moved(1, 501);
	CHECK_OK(change(&nothing, &row));
	row = moved(2, 1);
	CHECK_ERR(change(&nothing, &row), ERR_LEDGER_STATE);
}

TEST_FIBER(only_intended_ranges_can_be_done)
{
	static const struct ledger_range wrong[] = {
		{ 1, 99 }, { 100, 201 }, { 99, 150 }, { 500, 500 }, { 201, 201 }
	};
	struct world w;

	for (size_t i = 0; i < ARRAY_COUNT(wrong); i++) {
		REQUIRE(world_open(&w, test_directory()) == OK);
		if (i == 0)
			CHECK_OK(ledger_intend(w.ledger, w.box_no, 100, 200));
		CHECK_OK(ledger_range_done(w.ledger, w.box_no, wrong[i].first, wrong[i].last));
		CHECK_ERR(ledger_commit(w.ledger), ERR_LEDGER_STATE);
		CHECK_ERR(world_finish(&w), ERR_LEDGER_STATE);
		err_note_clear();
	}
	REQUIRE(world_open(&w, test_directory()) == OK);
	CHECK_OK(ledger_range_done(w.ledger, w.box_no, 100, 200));
	CHECK_OK(ledger_commit(w.ledger));
	CHECK_OK(ledger_range_done(w.ledger, w.box_no, 100, 200));
	CHECK_ERR(world_finish(&w), ERR_LEDGER_STATE);
	err_note_clear();
	CHECK_TEXT(ranges_in_file(test_directory()), "100-200 done");
}

/* ---- mailboxes, folders, seals ---- */

TEST_FIBER(mailboxes_and_folders_keep_their_numbers)
{
	struct ledger_mailbox one, other, again;
	struct ledger_totals totals;
	static struct box box = { .name = "Caf\xc3\xa9", .epoch = 5 },
			  lower = { .name = "caf\xc3\xa9", .epoch = 6 };
	uint64_t epoch, next_no, first_no;
	struct world w;

	REQUIRE(world_open(&w, test_directory()) == OK);
	CHECK_OK(ledger_mailbox(w.ledger, "s1", "t1", "blake3", &one));
	CHECK_OK(ledger_mailbox(w.ledger, "s1", "t2", "sha-256", &other));
	CHECK(one.mailbox_no != other.mailbox_no);
	CHECK_OK(ledger_mailbox(w.ledger, "s1", "t2", "blake3", &again));
	CHECK_EQ(again.mailbox_no, other.mailbox_no);
	CHECK_TEXT(again.digest, "sha-256");
	CHECK_OK(ledger_box(w.ledger, one.mailbox_no, &box, &epoch, &next_no));
	CHECK_OK(ledger_box(w.ledger, one.mailbox_no, &lower, &epoch, &next_no));
	CHECK(box.box_no != lower.box_no);
	first_no = box.box_no, box.epoch = 0, box.box_no = 0; /* refused: nothing is known */
	CHECK_OK(ledger_box(w.ledger, one.mailbox_no, &box, &epoch, &next_no));
	CHECK_EQ(box.box_no, first_no);
	CHECK_EQ(epoch, 5);
	CHECK_OK(ledger_box_fate(w.ledger, box.box_no, ERR_SOURCE_EPOCH, "it was another"));
	CHECK_OK(ledger_totals(w.ledger, one.mailbox_no, &totals));
	CHECK_EQ(totals.boxes, 2);
	CHECK_EQ(totals.boxes_skipped, 1);
	CHECK_TEXT(
		ask_file(test_directory(), "SELECT fate || ': ' || note FROM box WHERE fate <> ''"),
		"SOURCE_EPOCH: it was another");
	CHECK_OK(ledger_box_fate(w.ledger, box.box_no, OK, NULL));
	CHECK_OK(ledger_totals(w.ledger, one.mailbox_no, &totals));
	CHECK_EQ(totals.boxes_skipped, 0);
	CHECK_ERR(ledger_box_fate(w.ledger, 99, OK, NULL), ERR_LEDGER_STATE);
	CHECK_ERR(ledger_box(w.ledger, 99, &box, &epoch, &next_no), ERR_LEDGER_STATE);
	err_note_clear();
	CHECK_OK(world_finish(&w));
}

static bool seal_is(struct world *w, uint64_t after, uint64_t expected_no, struct text expected)
{
	struct buffer seal = { 0 };
	uint64_t no;
	bool same = ledger_seal_next(w->ledger, w->mailbox_no, after, &no, &seal) == OK &&
		    no == expected_no && text_equal((struct text){ seal.at, seal.bytes }, expected);

	buffer_free(&seal);
	return same;
}

TEST_FIBER(seals_are_held_until_done_and_their_numbers_never_return)
{
	struct text small = { "a\0b", 3 }, empty = { NULL, 0 },
		    large = { calloc(1, 500000), 500000 };
	struct buffer buffer = { 0 };
	struct ledger_totals totals;
	uint64_t no;
	struct world w;

	REQUIRE(world_open(&w, test_directory()) == OK);
	CHECK_OK(ledger_seal(w.ledger, w.mailbox_no, 1, small));
	CHECK_OK(ledger_seal(w.ledger, w.mailbox_no, 2, large));
	CHECK_OK(ledger_seal(w.ledger, w.mailbox_no, 5, empty));
	CHECK_ERR(ledger_seal(w.ledger, w.mailbox_no, 5, small), ERR_LEDGER_STATE);
	CHECK_ERR(ledger_seal(w.ledger, w.mailbox_no, 3, small), ERR_LEDGER_STATE);
	CHECK_ERR(ledger_seal(w.ledger, 99, 9, small), ERR_LEDGER_STATE);
	err_note_clear();
	ledger_close(&w.ledger); /* durable on return */

	REQUIRE(world_open(&w, test_directory()) == OK);
	CHECK_EQ(w.next_seal_no, 6);
	CHECK(seal_is(&w, 0, 1, small));
	CHECK(seal_is(&w, 1, 2, large));
	CHECK(seal_is(&w, 2, 5, empty));
	CHECK_OK(ledger_totals(w.ledger, w.mailbox_no, &totals));
	CHECK_EQ(totals.seals_open, 3);
	CHECK_OK(ledger_seal_done(w.ledger, w.mailbox_no, 1));
	CHECK_OK(ledger_seal_drop(w.ledger, w.mailbox_no, 5));
	CHECK_ERR(ledger_seal_drop(w.ledger, w.mailbox_no, 5), ERR_LEDGER_STATE);
	CHECK(seal_is(&w, 0, 2, large));
	CHECK_ERR(ledger_seal_next(w.ledger, w.mailbox_no, 2, &no, &buffer), ERR_PIPE_ENDED);
	err_note_clear();
	CHECK_OK(world_finish(&w));
	REQUIRE(world_open(&w, test_directory()) == OK);
	CHECK_EQ(w.next_seal_no, 6);
	CHECK_OK(ledger_seal(w.ledger, w.mailbox_no, 6, small));
	CHECK_OK(ledger_seals_done(w.ledger, w.mailbox_no, (uint64_t[]){ 2, 6 }, 2));
	CHECK_OK(ledger_commit(w.ledger));
	CHECK_OK(ledger_totals(w.ledger, w.mailbox_no, &totals));
	CHECK_EQ(totals.seals_open, 0);
	CHECK_OK(world_finish(&w));
	buffer_free(&buffer);
	free((char *)(uintptr_t)large.at);
}

/* ---- exceptions ---- */

TEST_FIBER(exceptions_come_in_order_with_their_reasons)
{
	struct ledger_exception at = { 0 };
	struct ledger_row row;
	uint64_t sent;
	struct world w;

	REQUIRE(world_open(&w, test_directory()) == OK);
	REQUIRE(world_box(&w, "Sent", &sent) == OK);
	CHECK_OK(ledger_intend(w.ledger, w.box_no, 1, 100));
	CHECK_OK(ledger_intend(w.ledger, sent, 1, 100));
	for (uint64_t no = 1; no <= 100; no++)
		if (no != 7 && no != 42)
			CHECK_OK(ledger_settle(w.ledger, (row = moved(w.box_no, no), &row)));
	CHECK_OK(ledger_settle(w.ledger, (row = skipped(sent, 9, ERR_IMAP_MSG_REFUSED), &row)));
	CHECK_OK(ledger_settle(w.ledger, (row = skipped(w.box_no, 42, ERR_SINK_REFUSED), &row)));
	row = moved(w.box_no, 7), row.state = LEDGER_DOUBTFUL, row.reason = ERR_SINK_DAMAGED;
	CHECK_OK(ledger_settle(w.ledger, &row));
	CHECK_OK(ledger_exception_next(w.ledger, w.mailbox_no, &at));
	CHECK(at.box_no == w.box_no && at.no == 7 && at.state == LEDGER_DOUBTFUL);
	CHECK_EQ(at.reason, ERR_SINK_DAMAGED);
	CHECK_TEXT(at.box_name, "INBOX");
	CHECK_OK(ledger_exception_next(w.ledger, w.mailbox_no, &at));
	CHECK(at.no == 42 && at.state == LEDGER_SKIPPED && at.reason == ERR_SINK_REFUSED);
	CHECK_OK(ledger_exception_next(w.ledger, w.mailbox_no, &at));
	CHECK(at.box_no == sent && at.no == 9 && at.reason == ERR_IMAP_MSG_REFUSED);
	CHECK_TEXT(at.box_name, "Sent");
	CHECK_ERR(ledger_exception_next(w.ledger, w.mailbox_no, &at), ERR_PIPE_ENDED);
	CHECK_ERR(ledger_exception_next(w.ledger, w.mailbox_no, &at), ERR_PIPE_ENDED);
	at = (struct ledger_exception){ 0 };
	CHECK_ERR(ledger_exception_next(w.ledger, w.mailbox_no + 1, &at), ERR_PIPE_ENDED);
	CHECK_OK(world_finish(&w));
	CHECK_TEXT(ask_file(test_directory(),
			    "SELECT group_concat(box || ' ' || no || ' ' || reason, ', ')"
			    " FROM exception"),
		   "INBOX 7 SINK_DAMAGED, INBOX 42 SINK_REFUSED, Sent 9 IMAP_MSG_REFUSED");
}

TEST_FIBER(what_is_stored_wrapped_is_counted_and_named)
{
	struct ledger_exception at = { 0 };
	struct ledger_stored stored[3];
	struct ledger_totals totals;
	struct ledger_row row;
	uint64_t sent;
	size_t count;
	struct world w;

	REQUIRE(world_open(&w, test_directory()) == OK);
	REQUIRE(world_box(&w, "Sent", &sent) == OK);
	CHECK_OK(ledger_intend(w.ledger, w.box_no, 1, 3));
	CHECK_OK(ledger_intend(w.ledger, sent, 1, 3));
	for (uint64_t no = 1; no <= 3; no++) {
		row = moved(w.box_no, no), row.form = no == 2 ? MAIL_WRAPPED : MAIL_AS_IT_IS;
		CHECK_OK(ledger_settle(w.ledger, &row));
		row = moved(sent, no), row.form = no != 2 ? MAIL_WRAPPED : MAIL_AS_IT_IS;
		CHECK_OK(ledger_settle(w.ledger, &row));
	}
	CHECK_OK(ledger_totals(w.ledger, w.mailbox_no, &totals));
	CHECK_EQ(totals.messages[LEDGER_MOVED], 6);
	CHECK_EQ(totals.wrapped, 3);
	CHECK_OK(ledger_stored(w.ledger, w.box_no, 0, stored, 3, &count));
	CHECK(count == 3 && stored[0].form == MAIL_AS_IT_IS && stored[1].form == MAIL_WRAPPED);
	CHECK_OK(ledger_wrapped_next(w.ledger, w.mailbox_no, &at));
	CHECK(at.box_no == w.box_no && at.no == 2 && at.state == LEDGER_MOVED);
	CHECK_TEXT(at.box_name, "INBOX");
	CHECK_OK(ledger_wrapped_next(w.ledger, w.mailbox_no, &at));
	CHECK(at.box_no == sent && at.no == 1);
	CHECK_OK(ledger_wrapped_next(w.ledger, w.mailbox_no, &at));
	CHECK(at.box_no == sent && at.no == 3);
	CHECK_ERR(ledger_wrapped_next(w.ledger, w.mailbox_no, &at), ERR_PIPE_ENDED);
	/* What was withdrawn is not there any more. */
	row = (struct ledger_row){ .box_no = sent, .no = 3, .state = LEDGER_WITHDRAWN };
	CHECK_OK(ledger_settle(w.ledger, &row));
	CHECK_OK(ledger_totals(w.ledger, w.mailbox_no, &totals));
	CHECK_EQ(totals.wrapped, 2);
	CHECK_OK(world_finish(&w));
	CHECK_TEXT(ask_file(test_directory(),
			    "SELECT group_concat(box || ' ' || no || ' ' || form, ', ')"
			    " FROM message WHERE form <> 0"),
		   "INBOX 2 1, Sent 1 1, Sent 3 1");
}

TEST_FIBER(reasons_are_kept_by_name)
{
	struct ledger_exception at = { 0 };
	struct ledger_row row;
	struct world w;

	REQUIRE(world_open(&w, test_directory()) == OK);
	CHECK_OK(ledger_intend(w.ledger, w.box_no, 1, 3));
	CHECK_OK(ledger_settle(w.ledger, (row = skipped(w.box_no, 1, ERR_SOURCE_SIZE), &row)));
	CHECK_OK(ledger_settle(w.ledger, (row = skipped(w.box_no, 2, ERR_SINK_REFUSED), &row)));
	CHECK_OK(world_finish(&w));
	/* As if written by a version with other names, in another order. */
	CHECK_TEXT(ask_file(test_directory(),
			    "UPDATE reason SET name = 'OLD_NAME' WHERE name = 'SOURCE_SIZE'"),
		   "");
	REQUIRE(world_open(&w, test_directory()) == OK);
	CHECK_OK(ledger_settle(w.ledger, (row = skipped(w.box_no, 3, ERR_SOURCE_SIZE), &row)));
	CHECK_OK(ledger_exception_next(w.ledger, w.mailbox_no, &at));
	CHECK_EQ(at.reason, OK);
	CHECK_TEXT(at.reason_name, "OLD_NAME");
	CHECK_OK(ledger_exception_next(w.ledger, w.mailbox_no, &at));
	CHECK_EQ(at.reason, ERR_SINK_REFUSED);
	CHECK_OK(ledger_exception_next(w.ledger, w.mailbox_no, &at));
	CHECK_EQ(at.reason, ERR_SOURCE_SIZE);
	CHECK_OK(world_finish(&w));
}

/* ---- many fibers ---- */

enum { WRITERS = 8, ROWS_EACH = 3000 };
struct writer {
	struct world *world;
	uint64_t box_no, settled;
};

static enum err write_rows(void *argument)
{
	struct writer *writer = argument;
	struct ledger_row row;
	enum err e = OK;

	for (uint64_t no = 1; !e && no <= ROWS_EACH; no++) {
		e = ledger_settle(writer->world->ledger, (row = moved(writer->box_no, no), &row));
		writer->settled += !e;
		if (!e && no % 256 == 0) /* so that they mix */
			e = fiber_yield();
		if (!e && no % 1000 == 0)
			e = ledger_range_done(writer->world->ledger, writer->box_no, no - 999, no);
	}
	return e;
}

static void start_writers(struct world *w, struct group *group, struct writer *writers)
{
	char name[20];

	for (unsigned i = 0; i < WRITERS; i++) {
		writers[i] = (struct writer){ .world = w };
		snprintf(name, sizeof name, "box %u", i);
		CHECK_OK(world_box(w, name, &writers[i].box_no));
		if (w->next_no == 1)
			CHECK_OK(ledger_intend(w->ledger, writers[i].box_no, 1, ROWS_EACH));
		CHECK_OK(group_spawn(group, "writer", FIBER_STACK_SMALL, write_rows, &writers[i]));
	}
}

TEST_FIBER(many_fibers_share_one_ledger)
{
	struct writer writers[WRITERS];
	struct ledger_totals totals;
	struct group *group;
	struct world w;

	REQUIRE(world_open(&w, test_directory()) == OK);
	group = group_open();
	start_writers(&w, group, writers);
	CHECK_OK(group_join(&group));
	CHECK_OK(ledger_totals(w.ledger, w.mailbox_no, &totals));
	CHECK_EQ(totals.messages[LEDGER_MOVED], WRITERS * ROWS_EACH);
	CHECK_EQ(totals.ranges_open, 0);
	CHECK_EQ(ledger_durable(w.ledger), ledger_queued(w.ledger));
	CHECK_OK(world_finish(&w));
	CHECK_TEXT(ask_file(test_directory(), "SELECT count(*) FROM settled"), "24000");
}

TEST_FIBER(cancelled_fibers_leave_a_whole_ledger)
{
	struct writer writers[WRITERS];
	struct ledger_totals totals;
	struct group *group;
	uint64_t settled = 0;
	struct world w;

	REQUIRE(world_open(&w, test_directory()) == OK);
	group = group_open();
	start_writers(&w, group, writers);
	while (ledger_durable(w.ledger) < 2000)
		if (fiber_yield())
			break;
	group_cancel(group);
	(void)!group_join(&group);
	err_note_clear();
	for (unsigned i = 0; i < WRITERS; i++)
		settled += writers[i].settled;
	CHECK(settled < WRITERS * ROWS_EACH);
	CHECK_OK(ledger_totals(w.ledger, w.mailbox_no, &totals));
	CHECK_EQ(totals.messages[LEDGER_MOVED], settled);
	CHECK_OK(world_finish(&w));
}
