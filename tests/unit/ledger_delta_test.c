/* What the ledger keeps for a second run: flags, vanished messages, where folders stood, folders
 * that were replaced, renamed or deleted, and messages that have another number now. */
#include "tests/unit/ledger_help.h"

#include <stdlib.h>
#include <sys/stat.h>

static struct box box; /* large */

/* The folder as the source has it now; sets w->box_no. */
static enum err enter(struct world *w, const char *name, uint64_t epoch, const char *id)
{
	uint64_t epoch_before;
	enum err e;

	box = (struct box){ .epoch = epoch };
	snprintf(box.name, sizeof box.name, "%s", name);
	snprintf(box.id, sizeof box.id, "%s", id);
	snprintf(box.cursor.at, sizeof box.cursor.at, "as listed");
	e = ledger_box(w->ledger, w->mailbox_no, &box, &epoch_before, &w->next_no);
	CHECK(e || epoch == 0 || epoch_before == epoch);
	w->box_no = box.box_no;
	return e;
}

/* Messages first to last of the folder are moved; `twin`: with the digest of that number. */
static void fill(struct world *w, uint64_t first, uint64_t last, uint64_t twin)
{
	CHECK_OK(ledger_intend(w->ledger, w->box_no, first, last));
	for (uint64_t no = first; no <= last; no++) {
		struct ledger_row row = moved(w->box_no, no);

		if (twin)
			row.digest = moved(0, twin).digest;
		row.mark = 100 + no;
		CHECK_OK(ledger_settle(w->ledger, &row));
	}
	CHECK_OK(ledger_range_done(w->ledger, w->box_no, first, last));
	CHECK_OK(ledger_commit(w->ledger));
}

static const char *seen_text(struct world *w)
{
	static struct ledger_seen seen[20];
	static char text[400];
	size_t count, used = 0;

	text[0] = '\0';
	if (ledger_seen(w->ledger, w->box_no, 1, 1000, seen, ARRAY_COUNT(seen), &count))
		return "error";
	for (size_t i = 0; i < count; i++)
		used += (size_t)snprintf(text + used, sizeof text - used, "%s%d:%d%s", i ? " " : "",
					 (int)seen[i].no, (int)seen[i].mark,
					 !seen[i].stored    ? " not stored"
					 : seen[i].vanished ? " gone"
							    : "");
	return text;
}

static uint64_t vanished(struct world *w)
{
	struct ledger_totals totals;

	CHECK_OK(ledger_totals(w->ledger, w->mailbox_no, &totals));
	return totals.vanished;
}

TEST_FIBER(flags_and_vanished_messages_are_kept_beside_the_state)
{
	struct ledger_row row;
	struct world w;

	REQUIRE(world_open(&w, test_directory()) == OK);
	fill(&w, 1, 3, 0);
	CHECK_OK(ledger_intend(w.ledger, w.box_no, 4, 4));
	CHECK_OK(ledger_settle(w.ledger, (row = skipped(w.box_no, 4, ERR_SOURCE_SIZE), &row)));
	CHECK_OK(ledger_mark(w.ledger, w.box_no, 2, 7));
	CHECK_OK(ledger_vanished(w.ledger, w.box_no, 3));
	CHECK_OK(ledger_vanished(w.ledger, w.box_no, 3)); /* said again */
	CHECK_TEXT(seen_text(&w), "1:101 2:7 3:103 gone 4:0 not stored");
	CHECK_EQ(vanished(&w), 1);
	CHECK_OK(enter(&w, "INBOX", 7, ""));
	CHECK_EQ(box.settled, 3);			 /* what vanished is not there */
	CHECK_OK(ledger_mark(w.ledger, w.box_no, 3, 9)); /* there again */
	CHECK_TEXT(seen_text(&w), "1:101 2:7 3:9 4:0 not stored");
	CHECK_EQ(vanished(&w), 0);
	CHECK_TEXT(ask_file(test_directory(),
			    "SELECT group_concat(state || vanished_s, ' ') FROM message"),
		   "moved0 moved0 moved0 skipped0");
	CHECK_OK(world_finish(&w));
}

TEST_FIBER(only_what_was_stored_can_change)
{
	struct ledger_row row;
	struct world w;

	REQUIRE(world_open(&w, test_directory()) == OK);
	CHECK_OK(ledger_intend(w.ledger, w.box_no, 1, 9));
	CHECK_OK(ledger_settle(w.ledger, (row = skipped(w.box_no, 1, ERR_SOURCE_SIZE), &row)));
	CHECK_OK(ledger_mark(w.ledger, w.box_no, 1, 5));
	CHECK_ERR(ledger_commit(w.ledger), ERR_LEDGER_STATE);
	err_note_clear();
	ledger_close(&w.ledger);

	REQUIRE(world_open(&w, test_directory()) == OK);
	CHECK_OK(ledger_vanished(w.ledger, w.box_no, 2));
	CHECK_ERR(ledger_commit(w.ledger), ERR_LEDGER_STATE);
	err_note_clear();
	ledger_close(&w.ledger);
}

TEST_FIBER(a_cursor_is_kept_with_its_folder)
{
	struct cursor cursor = { .at = "4 5 6" };
	struct world w;

	REQUIRE(world_open(&w, test_directory()) == OK);
	CHECK_OK(enter(&w, "new", 1, ""));
	CHECK_TEXT(box.before.at, "as listed"); /* a new folder has nothing that could change */
	CHECK_OK(ledger_cursor(w.ledger, w.box_no, &cursor));
	CHECK_OK(world_finish(&w));
	REQUIRE(world_open(&w, test_directory()) == OK);
	CHECK_OK(enter(&w, "new", 1, ""));
	CHECK_TEXT(box.before.at, "4 5 6");
	CHECK_OK(world_finish(&w));
}

static const char *boxes_text(void)
{
	return ask_file(test_directory(), "SELECT group_concat(name || epoch || id || former, ' ')"
					  " FROM (SELECT * FROM box ORDER BY box_no)");
}

TEST_FIBER(another_epoch_is_another_folder_and_an_old_one_may_come_back)
{
	uint64_t first, second;
	struct world w;

	REQUIRE(world_open(&w, test_directory()) == OK); /* INBOX, epoch 7 */
	first = w.box_no;
	fill(&w, 1, 2, 0);
	CHECK_OK(enter(&w, "INBOX", 8, ""));
	second = w.box_no;
	CHECK(second != first && w.next_no == 1 && box.settled == 0);
	CHECK_TEXT(boxes_text(), "INBOX71 INBOX80");
	CHECK_OK(enter(&w, "INBOX", 0, "")); /* refused: nothing is known, the present one it is */
	CHECK_EQ(w.box_no, second);
	CHECK_OK(enter(&w, "INBOX", 7, "")); /* put back from a copy */
	CHECK_EQ(w.box_no, first);
	CHECK(w.next_no == 3 && box.settled == 2);
	CHECK_TEXT(box.before.at, "");
	CHECK_OK(world_finish(&w));
}

TEST_FIBER(a_folder_with_an_id_is_followed_through_its_names)
{
	struct ledger_known_box known = { 0 };
	uint64_t one, two;
	struct world w;

	REQUIRE(world_open(&w, test_directory()) == OK);
	CHECK_OK(enter(&w, "A", 5, "id1"));
	one = w.box_no;
	fill(&w, 1, 2, 0);
	CHECK_OK(enter(&w, "B", 6, "id2"));
	two = w.box_no;
	CHECK(!box.renamed);
	CHECK_OK(enter(&w, "A", 6, "id2")); /* they swapped their names */
	CHECK(box.renamed && w.box_no == two);
	CHECK_OK(ledger_box_rename(w.ledger, w.mailbox_no, &box));
	CHECK_OK(enter(&w, "B", 5, "id1"));
	CHECK(box.renamed && w.box_no == one && w.next_no == 3);
	CHECK_OK(ledger_box_rename(w.ledger, w.mailbox_no, &box));
	CHECK_TEXT(boxes_text(), "INBOX70 B5id10 A6id20");
	CHECK_OK(enter(&w, "A", 5, "id3")); /* a new folder in the place of another */
	CHECK(!box.renamed && w.box_no != two);
	known.box_no = two - 1;
	CHECK_OK(ledger_box_next(w.ledger, w.mailbox_no, &known));
	CHECK(known.box_no == two && known.former == LEDGER_SOUGHT);
	CHECK_TEXT(known.name, "A");
	CHECK_OK(world_finish(&w));
}

/* ---- messages under another number ---- */

static void seek(struct world *w)
{
	uint64_t box_no = 0, no = 0;

	do {
		CHECK_OK(ledger_seek(w->ledger, w->mailbox_no, &box_no, &no));
	} while (box_no);
}

/* Look for a message's digest; 0: it is not there. */
static uint64_t find(struct world *w, const struct ledger_row *row, uint64_t no,
		     struct ledger_renumber *taken, size_t *taken_count)
{
	static char name[BOX_NAME_BYTES_MAX + 1];
	struct ledger_renumber r = { .box_no = w->box_no, .no = no, .mark = 55 };

	CHECK_OK(ledger_sought(w->ledger, w->mailbox_no, &row->digest, taken, *taken_count, &r,
			       name));
	if (!r.was_no)
		return 0;
	CHECK_TEXT(name, "INBOX");
	CHECK_EQ(r.was_epoch, 7);
	taken[(*taken_count)++] = r;
	return r.was_no;
}

TEST_FIBER(equal_messages_are_matched_one_to_one)
{
	struct ledger_renumber taken[4];
	struct ledger_row twin = { .digest = moved(0, 42).digest }, other;
	struct ledger_totals totals;
	size_t count = 0;
	uint64_t was;
	struct world w;

	REQUIRE(world_open(&w, test_directory()) == OK);
	was = w.box_no;
	fill(&w, 1, 2, 42);
	fill(&w, 3, 3, 0);
	other = moved(was, 3);
	CHECK_OK(ledger_vanished(w.ledger, was, 3)); /* thought to be gone: it may be back */
	CHECK_OK(enter(&w, "INBOX", 8, ""));
	CHECK_OK(ledger_intend(w.ledger, w.box_no, 1, 9));
	seek(&w);
	CHECK_EQ(find(&w, &twin, 4, taken, &count), 1);
	CHECK_EQ(find(&w, &twin, 5, taken, &count), 2);
	CHECK_EQ(find(&w, &twin, 6, taken, &count), 0);
	CHECK_EQ(find(&w, &other, 7, taken, &count), 3);
	for (size_t i = 0; i < count; i++)
		CHECK_OK(ledger_renumber(w.ledger, &taken[i]));
	CHECK_OK(ledger_range_done(w.ledger, w.box_no, 1, 9));
	CHECK_OK(ledger_commit(w.ledger));
	count = 0;
	CHECK_EQ(find(&w, &twin, 8, taken, &count), 0);
	CHECK_TEXT(seen_text(&w), "4:55 5:55 7:55");
	CHECK_OK(ledger_totals(w.ledger, w.mailbox_no, &totals));
	CHECK(totals.messages[LEDGER_MOVED] == 3 && totals.vanished == 0 && totals.boxes == 1);
	CHECK_OK(ledger_box_former(w.ledger, was, LEDGER_OVER));
	CHECK_OK(ledger_seek_end(w.ledger, w.mailbox_no));
	CHECK_OK(world_finish(&w));
	CHECK_TEXT(ask_file(test_directory(),
			    "SELECT group_concat(seal_no || ' ' || size_bytes) FROM settled"),
		   "1 9919,1 17838,1 25757"); /* the same stored messages */
	CHECK_TEXT(ask_file(test_directory(), "SELECT count(*) FROM sought"), "0");
	CHECK_TEXT(ask_file(test_directory(),
			    "SELECT group_concat(moved || ' ' || vanished || ' ' || (bytes_moved"
			    " > 0), ', ') FROM (SELECT * FROM box ORDER BY box_no)"),
		   "0 0 0, 3 0 1");
}

/* A run that was cut, or could not read all folders, leaves what it sought behind: a folder that is
 * there again by the next run keeps its messages, whoever has the same ones. */
TEST_FIBER(what_a_folder_has_is_not_sought_once_it_is_back)
{
	struct ledger_renumber taken[1];
	struct ledger_row row;
	size_t count = 0;
	struct world w;

	REQUIRE(world_open(&w, test_directory()) == OK);
	fill(&w, 1, 3, 0);
	row = moved(w.box_no, 2);
	CHECK_OK(ledger_box_former(w.ledger, w.box_no, LEDGER_SOUGHT));
	seek(&w);
	CHECK_EQ(find(&w, &row, 9, taken, &count), 2);
	count = 0;
	CHECK_OK(enter(&w, "INBOX", 7, ""));
	CHECK_OK(enter(&w, "copies", 1, ""));
	CHECK_EQ(find(&w, &row, 1, taken, &count), 0);
	CHECK_OK(world_finish(&w));
}

static const char *ranges_text(void)
{
	return ask_file(test_directory(), "SELECT group_concat(first || '-' || last || state, ' ')"
					  " FROM (SELECT * FROM range ORDER BY first)");
}

TEST_FIBER(what_is_done_may_be_open_again)
{
	struct ledger_range gap;
	struct world w;

	REQUIRE(world_open(&w, test_directory()) == OK);
	fill(&w, 5, 9, 0);
	fill(&w, 20, 20, 0);
	CHECK_OK(ledger_intend(w.ledger, w.box_no, 10, 12));
	CHECK_OK(ledger_intend(w.ledger, w.box_no, 13, 15));
	CHECK_OK(ledger_range_done(w.ledger, w.box_no, 13, 15));
	CHECK_OK(ledger_range_again(w.ledger, w.box_no, 7, 14));
	CHECK_OK(ledger_range_again(w.ledger, w.box_no, 1, 4));
	CHECK_OK(ledger_commit(w.ledger));
	CHECK_TEXT(ranges_text(),
		   "5-6done 7-9intended 10-12intended 13-14intended 15-15done 20-20done");
	CHECK_ERR(ledger_unsettled(w.ledger, w.box_no, 7, 9, &gap), ERR_PIPE_ENDED);
	CHECK_OK(ledger_range_done(w.ledger, w.box_no, 7, 9));
	CHECK_OK(ledger_range_again(w.ledger, w.box_no, 1, 30));
	CHECK_OK(ledger_commit(w.ledger));
	CHECK_TEXT(ranges_text(),
		   "5-9intended 10-12intended 13-14intended 15-15intended 20-20intended");
	CHECK_OK(world_finish(&w));
}

TEST_FIBER(a_new_number_must_be_intended_and_free)
{
	struct ledger_renumber r;
	struct world w;
	uint64_t was;

	for (unsigned i = 0; i < 3; i++) {
		char directory[200];

		snprintf(directory, sizeof directory, "%s/%u", test_directory(), i);
		REQUIRE(world_open(&w, directory) == OK);
		was = w.box_no;
		fill(&w, 1, 2, 0);
		CHECK_OK(enter(&w, "INBOX", 8, ""));
		fill(&w, 1, 1, 0);
		CHECK_OK(ledger_intend(w.ledger, w.box_no, 2, 3));
		r = (struct ledger_renumber){ .box_no = w.box_no, .was_box_no = was };
		r.no = i == 0 ? 1 : i == 1 ? 9 : 2; /* done; not intended; fine */
		r.was_no = i == 2 ? 7 : 1;	    /* not there */
		CHECK_OK(ledger_renumber(w.ledger, &r));
		CHECK_ERR(ledger_commit(w.ledger), ERR_LEDGER_STATE);
		err_note_clear();
		ledger_close(&w.ledger);
	}
}

/* What a former folder left open, or skipped, is nothing to be done or told any more. */
TEST_FIBER(former_folders_have_nothing_left_to_do)
{
	struct ledger_exception exception = { 0 };
	struct ledger_totals totals;
	struct ledger_row row;
	struct world w;

	REQUIRE(world_open(&w, test_directory()) == OK);
	CHECK_OK(ledger_intend(w.ledger, w.box_no, 1, 9));
	CHECK_OK(ledger_settle(w.ledger, (row = skipped(w.box_no, 1, ERR_SOURCE_SIZE), &row)));
	CHECK_OK(ledger_box_fate(w.ledger, w.box_no, ERR_IMAP_REFUSED, "no"));
	CHECK_OK(enter(&w, "INBOX", 8, ""));
	CHECK_OK(ledger_totals(w.ledger, w.mailbox_no, &totals));
	CHECK(totals.boxes == 1 && totals.boxes_skipped == 0 && totals.ranges_open == 0 &&
	      totals.messages[LEDGER_SKIPPED] == 0);
	CHECK_ERR(ledger_exception_next(w.ledger, w.mailbox_no, &exception), ERR_PIPE_ENDED);
	CHECK_OK(world_finish(&w));
}

TEST_FIBER(what_is_done_with_a_snapshot_changes_nothing)
{
	struct world w, copy;
	char directory[200];

	snprintf(directory, sizeof directory, "%s/copy", test_directory());
	CHECK_ERR(ledger_snapshot(test_directory(), directory), ERR_LEDGER_ABSENT);
	err_note_clear();
	REQUIRE(world_open(&w, test_directory()) == OK);
	fill(&w, 1, 3, 0);
	must(mkdir(directory, 0700) == 0);
	CHECK_OK(ledger_snapshot(test_directory(), directory)); /* beside the writer */
	REQUIRE(world_open(&copy, directory) == OK);
	CHECK_OK(ledger_vanished(copy.ledger, copy.box_no, 2));
	CHECK_OK(ledger_commit(copy.ledger));
	CHECK_TEXT(seen_text(&copy), "1:101 2:102 gone 3:103");
	CHECK_TEXT(seen_text(&w), "1:101 2:102 3:103");
	CHECK_OK(world_finish(&copy));
	CHECK_OK(world_finish(&w));
}

/* The number at the target of message 1. */
static uint64_t number_there(struct world *w)
{
	struct ledger_seen seen = { 0 };
	size_t count;

	CHECK_OK(ledger_seen(w->ledger, w->box_no, 1, 1, &seen, 1, &count));
	CHECK_EQ(count, 1);
	return seen.target_no;
}

/* What a message that was at the target gets as its number there when it is found again in the
 * folder of this name. */
static uint64_t number_found_in(const char *name)
{
	struct ledger_renumber taken = { 0 };
	struct ledger_row row;
	struct world w;
	size_t count = 0;
	uint64_t was, there;

	must(world_open(&w, test_directory()) == OK);
	CHECK_OK(enter(&w, "INBOX", 7, ""));
	was = w.box_no;
	CHECK_OK(ledger_intend(w.ledger, was, 1, 9));
	CHECK_OK(ledger_box_target(w.ledger, was, "Inbox", 500));
	row = moved(was, 1);
	row.target_no = 44;
	CHECK_OK(ledger_settle(w.ledger, &row));
	CHECK_OK(ledger_range_done(w.ledger, was, 1, 9));
	CHECK_OK(enter(&w, name, 8, ""));
	CHECK_OK(ledger_box_former(w.ledger, was, LEDGER_SOUGHT));
	CHECK_OK(ledger_intend(w.ledger, w.box_no, 1, 9));
	seek(&w);
	CHECK_EQ(find(&w, &row, 1, &taken, &count), 1);
	CHECK_OK(ledger_renumber(w.ledger, &taken));
	CHECK_OK(ledger_commit(w.ledger));
	there = number_there(&w);
	CHECK_OK(ledger_box_target(w.ledger, w.box_no, "Inbox", 500));
	CHECK_EQ(number_there(&w), there);
	CHECK_OK(world_finish(&w));
	return there;
}

TEST_FIBER(a_number_at_the_target_goes_along_in_a_folder_of_the_same_name)
{
	CHECK_EQ(number_found_in("INBOX"), 44);
}

TEST_FIBER(a_number_at_the_target_is_forgotten_in_another_folder)
{
	CHECK_EQ(number_found_in("Other"), 0);
}

TEST_FIBER(numbers_of_another_folder_of_the_target_are_forgotten)
{
	struct ledger_row row;
	struct world w;

	REQUIRE(world_open(&w, test_directory()) == OK);
	CHECK_OK(enter(&w, "INBOX", 7, ""));
	CHECK_OK(ledger_intend(w.ledger, w.box_no, 1, 9));
	CHECK_OK(ledger_box_target(w.ledger, w.box_no, "Inbox", 500));
	row = moved(w.box_no, 1);
	row.target_no = 44;
	CHECK_OK(ledger_settle(w.ledger, &row));
	CHECK_OK(ledger_commit(w.ledger));
	CHECK_EQ(number_there(&w), 44);
	CHECK_OK(ledger_box_target(w.ledger, w.box_no, "Inbox", 500));
	CHECK_EQ(number_there(&w), 44);
	CHECK_OK(ledger_box_target(w.ledger, w.box_no, "Inbox", 501));
	CHECK_EQ(number_there(&w), 0);
	row = moved(w.box_no, 2);
	row.target_no = 1;
	CHECK_OK(ledger_settle(w.ledger, &row));
	CHECK_OK(ledger_commit(w.ledger));
	CHECK_OK(ledger_box_target(w.ledger, w.box_no, "Elsewhere", 501));
	CHECK_EQ(number_there(&w), 0);
	CHECK_OK(world_finish(&w));
}
