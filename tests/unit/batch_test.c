/* The batch under a clock made of numbers: who comes next, who has to wait, and what is counted. */
#include "engine/batch.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "engine/bytes.h"
#include "engine/clock.h"
#include "tests/test.h"

enum { ROWS_MAX = 10000 };

/* What a test asks for, row by row; "" and 0 stand for the same in all. */
struct row {
	const char *host;
	uint32_t wave;
	int32_t priority;
	unsigned connections;
	const char *target_account;
};

static void entry_of(void *context, size_t no, struct batch_entry *entry)
{
	const struct row *row = &((const struct row *)context)[no];

	*entry = (struct batch_entry){
		.source = no == 0 ? "imaps://a@localhost/" : "imaps://b@localhost/",
		.target = "file:///archive",
		.wave = row->wave ? "staff" : "pilot",
		.host = row->host ? row->host : "one:993",
		.target_account = row->target_account,
		.line = (uint32_t)no + 2,
		.wave_no = row->wave,
		.priority = row->priority,
		.connections = row->connections ? row->connections : 1,
	};
}

static struct batch *opened(struct row *rows, size_t count, unsigned mailboxes,
			    unsigned connections, unsigned per_host)
{
	struct batch_limits limits = { mailboxes, connections, per_host };
	struct batch *batch = NULL;

	CHECK_OK(batch_open(count, entry_of, rows, &limits, &batch));
	must(batch);
	return batch;
}

/* The number of the next one, -1 if none may begin. */
static int taken(struct batch *batch, nsec now)
{
	unsigned connections;
	nsec again;
	size_t no;

	return batch_take(batch, now, &no, &connections, &again) ? (int)no : -1;
}

static bool ended(struct batch *batch, int no, enum batch_state state, enum err e, nsec now)
{
	struct batch_outcome outcome = { .state = state,
					 .error = e,
					 .note = e ? "because" : "",
					 .exit_code = e ? err_exit_code(e) : 0,
					 .met = e != ERR_NET_REFUSED,
					 .scope = ERR_OF_ACCOUNT };

	return batch_end(batch, (size_t)no, &outcome, now);
}

static struct batch_mailbox row_of(struct batch *batch, size_t no)
{
	struct batch_mailbox mailbox = { 0 };

	CHECK(batch_row(batch, no, &mailbox));
	return mailbox;
}

/* Ends all that may begin, one after the other, asking again as told; the time it took. */
static nsec ended_all(struct batch *batch, enum batch_state state, enum err e, nsec now)
{
	unsigned connections;
	nsec again;
	size_t no;

	for (int i = 0; i < 100000 && !batch_is_over(batch); i++) {
		if (batch_take(batch, now, &no, &connections, &again))
			(void)ended(batch, (int)no, state, e, now += NSEC_MILLISECOND);
		else if (again == DEADLINE_NEVER)
			break;
		else
			now = again;
	}
	CHECK(batch_is_over(batch));
	return now;
}

/* ---- the order ---- */

TEST(waves_come_first_then_priority_then_the_order_of_the_list)
{
	struct row rows[] = { { .wave = 1, .priority = 9 }, { .wave = 0 },
			      { .wave = 0, .priority = 5 }, { .wave = 1 },
			      { .wave = 0, .priority = 5 }, { .wave = 0, .priority = -1 },
			      { .wave = 2, .priority = 99 } };
	const int expected[] = { 2, 4, 1, 5, 0, 3, 6 };
	struct batch *batch = opened(rows, ARRAY_COUNT(rows), 100, 100, 100);

	for (size_t i = 0; i < ARRAY_COUNT(expected); i++)
		CHECK_EQ(taken(batch, 1), expected[i]);
	CHECK_EQ(taken(batch, 1), -1);
	batch_close(&batch);
	CHECK(batch == NULL);
	batch_close(&batch);
}

TEST(order_holds_over_hosts_and_a_full_host_lets_others_pass)
{
	struct row rows[] = { { .host = "b:993" },
			      { .host = "b:993" },
			      { .host = "a:993" },
			      { .host = "b:993" },
			      { .host = "a:993", .priority = 1 } };
	struct batch *batch = opened(rows, ARRAY_COUNT(rows), 100, 100, 2);

	CHECK_EQ(taken(batch, 1), 4);
	CHECK_EQ(taken(batch, 1), 0);
	CHECK_EQ(taken(batch, 1), 1);
	CHECK_EQ(taken(batch, 1), 2); /* b is full */
	CHECK_EQ(taken(batch, 1), -1);
	CHECK(ended(batch, 1, BATCH_DONE, OK, 2));
	CHECK_EQ(taken(batch, 2), 3);
	batch_close(&batch);
}

TEST(none_of_a_later_wave_begins_before_all_of_the_one_before)
{
	struct row rows[] = { { .host = "a:993" },
			      { .host = "a:993" },
			      { .host = "b:993", .wave = 1 } };
	struct batch *batch = opened(rows, ARRAY_COUNT(rows), 100, 100, 1);

	CHECK_EQ(taken(batch, 1), 0);
	CHECK_EQ(taken(batch, 1), -1); /* though b has room */
	CHECK(ended(batch, 0, BATCH_DONE, OK, 2));
	CHECK_EQ(taken(batch, 2), 1);
	CHECK_EQ(taken(batch, 2), 2); /* begun, not ended: that is enough */
	batch_close(&batch);
}

TEST(one_to_be_tried_again_does_not_hold_up_the_next_wave)
{
	struct row rows[] = { { .host = "a:993" }, { .host = "b:993", .wave = 1 } };
	struct batch *batch = opened(rows, ARRAY_COUNT(rows), 100, 100, 100);

	CHECK_EQ(taken(batch, 1), 0);
	CHECK(!ended(batch, 0, BATCH_FAILED, ERR_IMAP_THROTTLED, 2));
	CHECK_EQ(taken(batch, 3), 1);
	CHECK(ended(batch, 1, BATCH_DONE, OK, 4));
	(void)ended_all(batch, BATCH_DONE, OK, 5);
	CHECK_EQ(row_of(batch, 0).attempts, 2);
	batch_close(&batch);
}

/* ---- limits ---- */

TEST(connections_are_granted_as_far_as_there_is_room)
{
	struct row rows[] = { { .connections = 4 },
			      { .connections = 4 },
			      { .connections = 4 },
			      { .host = "two:993", .connections = 4 } };
	struct batch *batch = opened(rows, ARRAY_COUNT(rows), 100, 8, 6);
	const unsigned expected[] = { 4, 2, 2 };
	const size_t numbers[] = { 0, 1, 3 };
	unsigned connections;
	nsec again;
	size_t no;

	for (int i = 0; i < 3; i++) {
		REQUIRE(batch_take(batch, 1, &no, &connections, &again));
		CHECK_EQ(no, numbers[i]);
		CHECK_EQ(connections, expected[i]);
	}
	CHECK(!batch_take(batch, 1, &no, &connections, &again));
	CHECK_EQ(again, DEADLINE_NEVER); /* when one has ended */
	CHECK(ended(batch, 0, BATCH_DONE, OK, 2));
	REQUIRE(batch_take(batch, 2, &no, &connections, &again));
	CHECK_EQ(no, 2);
	CHECK_EQ(connections, 4);
	batch_close(&batch);
}

TEST(no_more_mailboxes_at_once_than_allowed)
{
	struct row rows[5] = { 0 };
	struct batch *batch = opened(rows, 5, 2, 100, 100);

	CHECK_EQ(taken(batch, 1), 0);
	CHECK_EQ(taken(batch, 1), 1);
	CHECK_EQ(taken(batch, 1), -1);
	CHECK(ended(batch, 0, BATCH_DONE, OK, 2));
	CHECK_EQ(taken(batch, 2), 2);
	CHECK_EQ(taken(batch, 2), -1);
	batch_close(&batch);
}

TEST(an_empty_batch_is_over_at_once)
{
	struct row rows[1] = { 0 };
	struct batch *batch = opened(rows, 0, 1, 1, 1);
	struct batch_mailbox mailbox;

	CHECK(batch_is_over(batch));
	CHECK_EQ(taken(batch, 1), -1);
	CHECK_EQ(batch_size(batch), 0);
	CHECK(!batch_row(batch, 0, &mailbox));
	CHECK(!batch_running(batch, 0, &mailbox));
	batch_close(&batch);
}

/* ---- one account at the destination ---- */

static int until_begun(struct batch *batch, nsec *now)
{
	unsigned connections;
	nsec again;
	size_t no;

	for (int i = 0; i < 10; i++) {
		if (batch_take(batch, *now, &no, &connections, &again))
			return (int)no;
		if (again == DEADLINE_NEVER)
			break;
		*now = again;
	}
	return -1;
}

TEST(mailboxes_of_one_account_go_one_after_the_other_and_others_pass)
{
	struct row rows[] = { { .target_account = "a%40x@new/" },
			      { .target_account = "A%40X@New/" },
			      { .target_account = "a%40y@new/" },
			      { .host = "two:993", .target_account = "a%40x@new/" },
			      { .host = "two:993", .target_account = "a%40x@new:1993/" },
			      { .target_account = "a%40x@newer/" },
			      { .target_account = NULL },
			      { .target_account = NULL } };
	const int at_once[] = { 0, 2, 4, 5, 6, 7 };
	struct batch *batch = opened(rows, ARRAY_COUNT(rows), 9, 9, 9);
	unsigned connections;
	nsec again;
	size_t no;

	for (size_t i = 0; i < ARRAY_COUNT(at_once); i++)
		CHECK_EQ(taken(batch, 1), at_once[i]);
	CHECK(!batch_take(batch, 1, &no, &connections, &again));
	CHECK_EQ(again, DEADLINE_NEVER); /* when one has ended */
	for (size_t i = 1; i < ARRAY_COUNT(at_once); i++)
		CHECK(ended(batch, at_once[i], BATCH_DONE, OK, 2));
	CHECK_EQ(taken(batch, 3), -1);
	CHECK(ended(batch, 0, BATCH_DONE, OK, 4));
	CHECK_EQ(taken(batch, 4), 1);
	CHECK_EQ(taken(batch, 4), -1);
	CHECK(ended(batch, 1, BATCH_INCOMPLETE, OK, 5));
	CHECK_EQ(taken(batch, 5), 3);
	CHECK(ended(batch, 3, BATCH_DONE, OK, 6));
	CHECK(batch_is_over(batch));
	batch_close(&batch);
}

/* What it sent may be in doubt, and is looked for in the folders that the other would fill. */
TEST(none_begins_while_another_of_its_account_waits_for_another_attempt)
{
	struct row rows[] = { { .target_account = "a@new/", .wave = 1 },
			      { .host = "two:993", .target_account = "a@new/", .wave = 2 },
			      { .target_account = "b@new/", .wave = 2 } };
	struct batch *batch = opened(rows, ARRAY_COUNT(rows), 9, 9, 9);
	struct batch_outcome throttled = { .state = BATCH_FAILED,
					   .error = ERR_IMAP_THROTTLED,
					   .met = true,
					   .retry_after = 100 * NSEC_SECOND,
					   .scope = ERR_OF_ACCOUNT };
	nsec now = NSEC_SECOND;

	CHECK_EQ(taken(batch, 1), 0);
	CHECK(!batch_end(batch, 0, &throttled, now));
	CHECK_EQ(taken(batch, now), 2);
	CHECK(ended(batch, 2, BATCH_DONE, OK, now));
	CHECK_EQ(taken(batch, 100 * NSEC_SECOND), -1);
	CHECK_EQ(until_begun(batch, &now), 0);
	CHECK(now >= 101 * NSEC_SECOND);
	CHECK(!ended(batch, 0, BATCH_FAILED, ERR_NET_RESET, ++now));
	CHECK_EQ(until_begun(batch, &now), 0);
	CHECK(ended(batch, 0, BATCH_DONE, OK, ++now));
	CHECK_EQ(taken(batch, now), 1);
	CHECK(ended(batch, 1, BATCH_DONE, OK, ++now));
	CHECK(batch_is_over(batch));
	batch_close(&batch);
}

TEST(one_that_has_failed_for_good_lets_the_next_of_its_account_begin)
{
	struct row rows[] = { { .target_account = "a@new/" },
			      { .target_account = "a@new/" },
			      { .target_account = "a@new/" },
			      { .target_account = "a@new/" } };
	struct batch *batch = opened(rows, ARRAY_COUNT(rows), 9, 9, 9);
	unsigned attempts = 1;
	nsec now = 2;

	CHECK_EQ(taken(batch, 1), 0);
	CHECK(ended(batch, 0, BATCH_FAILED, ERR_IMAP_LOGIN, 2));
	CHECK_EQ(taken(batch, 2), 1);
	for (; attempts < 100 && !ended(batch, 1, BATCH_FAILED, ERR_IMAP_BYE, ++now); attempts++)
		CHECK_EQ(until_begun(batch, &now), 1);
	CHECK_EQ(attempts, BATCH_ATTEMPTS_MAX);
	CHECK_EQ(until_begun(batch, &now), 2);
	CHECK(ended(batch, 2, BATCH_DRAINED, OK, ++now));
	CHECK_EQ(taken(batch, now), 3);
	CHECK(ended(batch, 3, BATCH_DOUBTFUL, ERR_SINK_SURPLUS, ++now));
	CHECK(batch_is_over(batch));
	batch_close(&batch);
}

TEST(a_host_that_is_given_up_frees_the_accounts_its_mailboxes_held)
{
	struct row rows[] = { { .host = "dead:993", .target_account = "a@new/" },
			      { .host = "dead:993", .target_account = "a@new/" },
			      { .host = "two:993", .target_account = "a@new/" } };
	struct batch *batch = opened(rows, ARRAY_COUNT(rows), 9, 9, 9);
	unsigned attempts = 0;
	nsec now = 1;
	int no;

	while (attempts < 100 && (no = until_begun(batch, &now)) == 0) {
		attempts++;
		(void)ended(batch, 0, BATCH_FAILED, ERR_NET_REFUSED, ++now);
	}
	CHECK_EQ(attempts, BATCH_HOST_FAILURES_MAX);
	CHECK_EQ(no, 2);
	CHECK_EQ(row_of(batch, 1).state, BATCH_FAILED);
	CHECK(ended(batch, 2, BATCH_DONE, OK, ++now));
	CHECK(batch_is_over(batch));
	batch_close(&batch);
}

/* A job may go to one account as a whole: looking past its mailboxes is bounded. */
TEST(many_of_one_account_keep_their_order_and_hold_up_the_others_only_so_long)
{
	enum { MANY = 1000 };
	struct row *rows = calloc(MANY + 1, sizeof *rows);
	struct batch *batch;
	bool other_begun = false;
	int no;

	REQUIRE(rows);
	for (unsigned i = 0; i < MANY; i++)
		rows[i].target_account = "a@new/";
	rows[MANY].target_account = "b@new/";
	batch = opened(rows, MANY + 1, 9, 9, 9);
	for (int i = 0; i < MANY; i++) {
		CHECK_EQ(taken(batch, i + 1), i);
		if ((no = taken(batch, i + 1)) >= 0) {
			CHECK(!other_begun && no == MANY && i > MANY / 2 && i < MANY - 1);
			other_begun = true;
		}
		CHECK(ended(batch, i, BATCH_DONE, OK, i + 1));
	}
	CHECK(other_begun);
	CHECK(ended(batch, MANY, BATCH_DONE, OK, MANY + 1));
	CHECK(batch_is_over(batch));
	batch_close(&batch);
	free(rows);
}

/* ---- failures ---- */

TEST(an_error_that_will_not_pass_is_final_at_once)
{
	struct row rows[2] = { 0 };
	struct batch *batch = opened(rows, 2, 9, 9, 9);
	struct batch_mailbox mailbox;

	CHECK_EQ(taken(batch, 1), 0);
	CHECK(ended(batch, 0, BATCH_FAILED, ERR_IMAP_LOGIN, 2));
	mailbox = row_of(batch, 0);
	CHECK_EQ(mailbox.state, BATCH_FAILED);
	CHECK_EQ(mailbox.error, ERR_IMAP_LOGIN);
	CHECK_EQ(mailbox.exit_code, EXIT_LOGIN);
	CHECK_TEXT(mailbox.note, "because");
	CHECK_EQ(taken(batch, 3), 1); /* the other is not touched by it */
	CHECK(ended(batch, 1, BATCH_DONE, OK, 4));
	CHECK(batch_is_over(batch));
	batch_close(&batch);
}

TEST(a_throttled_account_rests_as_long_as_it_asks_and_others_do_not)
{
	struct row rows[2] = { 0 };
	struct batch *batch = opened(rows, 2, 9, 9, 9);
	struct batch_outcome outcome = { .state = BATCH_FAILED,
					 .error = ERR_IMAP_THROTTLED,
					 .met = true,
					 .retry_after = 100 * NSEC_SECOND,
					 .scope = ERR_OF_ACCOUNT };
	struct batch_counts counts;
	unsigned connections;
	nsec again;
	size_t no;

	CHECK_EQ(taken(batch, 1), 0);
	CHECK(!batch_end(batch, 0, &outcome, NSEC_SECOND));
	batch_counts(batch, NSEC_SECOND, &counts);
	CHECK_EQ(counts.mailboxes_backing_off, 1);
	CHECK_EQ(taken(batch, NSEC_SECOND), 1);
	CHECK(ended(batch, 1, BATCH_DONE, OK, 2 * NSEC_SECOND));
	CHECK(!batch_take(batch, 101 * NSEC_SECOND - 1, &no, &connections, &again));
	CHECK(again >= 101 * NSEC_SECOND && again <= 112 * NSEC_SECOND);
	CHECK(!batch_is_over(batch));
	CHECK_EQ(taken(batch, again), 0);
	CHECK(ended(batch, 0, BATCH_DONE, OK, again + 1));
	batch_counts(batch, again + 1, &counts);
	CHECK_EQ(counts.mailboxes_backing_off, 0);
	CHECK_EQ(counts.errors[ERR_IMAP_THROTTLED], 1);
	CHECK_EQ(counts.throttled, again - NSEC_SECOND);
	/* The first from 1 to 1 s, the other for a second, the first again for 1. */
	CHECK_EQ(counts.ran, NSEC_SECOND - 1 + NSEC_SECOND + 1);
	batch_close(&batch);
}

TEST(a_throttled_host_rests_with_all_its_mailboxes_and_no_other_host_does)
{
	struct row rows[] = { { .host = "a:993" }, { .host = "a:993" }, { .host = "b:993" } };
	struct batch *batch = opened(rows, 3, 9, 9, 9);
	struct batch_outcome outcome = { .state = BATCH_FAILED,
					 .error = ERR_IMAP_UNAVAILABLE,
					 .met = true,
					 .retry_after = 60 * NSEC_SECOND,
					 .scope = ERR_OF_HOST };

	CHECK_EQ(taken(batch, 1), 0);
	CHECK(!batch_end(batch, 0, &outcome, 2));
	CHECK_EQ(taken(batch, 3), 2);
	CHECK_EQ(taken(batch, 59 * NSEC_SECOND), -1);
	CHECK(ended(batch, 2, BATCH_DONE, OK, 59 * NSEC_SECOND));
	(void)ended_all(batch, BATCH_DONE, OK, 59 * NSEC_SECOND);
	CHECK_EQ(row_of(batch, 1).attempts, 1);
	batch_close(&batch);
}

/* A host's rest is the destination's where its conversation failed: others from the same source go
 * on, those to the same destination wait, wherever they come from. */
TEST(a_destination_that_throttles_rests_and_the_source_does_not)
{
	struct row rows[] = { { .host = "a:993", .target_account = "new:993/" },
			      { .host = "a:993", .target_account = "new:993/" },
			      { .host = "a:993", .target_account = "other:993/" },
			      { .host = "b:993", .target_account = "new:993/inbox" },
			      { .host = "a:993" } };
	struct batch *batch = opened(rows, ARRAY_COUNT(rows), 9, 9, 9);
	struct batch_outcome outcome = { .state = BATCH_FAILED,
					 .error = ERR_IMAP_THROTTLED,
					 .met = true,
					 .retry_after = 60 * NSEC_SECOND,
					 .scope = ERR_OF_HOST,
					 .of_target = true };
	unsigned connections;
	nsec again;
	size_t no;

	CHECK_EQ(taken(batch, 1), 0);
	CHECK(!batch_end(batch, 0, &outcome, 2));
	CHECK_EQ(taken(batch, 3), 2);
	CHECK_EQ(taken(batch, 3), 4);
	CHECK(!batch_take(batch, 3, &no, &connections, &again));
	CHECK(again >= 60 * NSEC_SECOND && again <= 72 * NSEC_SECOND);
	CHECK_EQ(taken(batch, 59 * NSEC_SECOND), -1);
	CHECK(ended(batch, 2, BATCH_DONE, OK, 59 * NSEC_SECOND));
	CHECK(ended(batch, 4, BATCH_DONE, OK, 59 * NSEC_SECOND));
	(void)ended_all(batch, BATCH_DONE, OK, 59 * NSEC_SECOND);
	CHECK_EQ(row_of(batch, 0).attempts, 2);
	CHECK_EQ(row_of(batch, 1).attempts, 1);
	CHECK_EQ(row_of(batch, 3).attempts, 1);
	batch_close(&batch);
}

TEST(what_a_destination_says_of_one_mailbox_lets_the_others_go_on)
{
	struct row rows[] = { { .target_account = "new:993/" }, { .target_account = "new:993/" } };
	struct batch *batch = opened(rows, 2, 9, 9, 9);
	struct batch_outcome outcome = { .state = BATCH_FAILED,
					 .error = ERR_IMAP_THROTTLED,
					 .met = true,
					 .scope = ERR_OF_ACCOUNT,
					 .of_target = true };

	CHECK_EQ(taken(batch, 1), 0);
	CHECK(!batch_end(batch, 0, &outcome, 2));
	CHECK_EQ(taken(batch, 2), 1);
	CHECK(ended(batch, 1, BATCH_DONE, OK, 3));
	(void)ended_all(batch, BATCH_DONE, OK, 3);
	batch_close(&batch);
}

TEST(a_destination_that_nobody_reaches_is_given_up_and_the_source_is_not)
{
	struct row rows[12] = { [11] = { .target_account = "there:993/" } };
	struct batch_outcome unreached = { .state = BATCH_FAILED,
					   .error = ERR_NET_REFUSED,
					   .note = "connecting to gone",
					   .exit_code = EXIT_CONNECT,
					   .of_target = true };
	struct batch *batch;
	unsigned connections, attempts = 0;
	nsec now = 1, again;
	size_t no;

	for (unsigned i = 0; i < 11; i++)
		rows[i].target_account = "gone:993/";
	batch = opened(rows, ARRAY_COUNT(rows), 1, 1, 1);
	for (unsigned i = 0; i < 1000 && !batch_is_over(batch); i++) {
		if (!batch_take(batch, now, &no, &connections, &again)) {
			now = again == DEADLINE_NEVER ? now + 1 : again;
			continue;
		}
		now += NSEC_MILLISECOND;
		attempts += no != 11;
		if (no == 11)
			CHECK(ended(batch, 11, BATCH_DONE, OK, now));
		else
			(void)batch_end(batch, no, &unreached, now);
	}
	CHECK(batch_is_over(batch));
	CHECK_EQ(attempts, BATCH_HOST_FAILURES_MAX);
	CHECK_EQ(row_of(batch, 11).state, BATCH_DONE);
	for (unsigned i = 0; i < 11; i++) {
		CHECK_EQ(row_of(batch, i).state, BATCH_FAILED);
		CHECK_TEXT(row_of(batch, i).note, "connecting to gone");
	}
	batch_close(&batch);
}

TEST(what_was_learnt_about_a_destination_holds_in_the_next_run)
{
	struct row rows[] = { { .target_account = "new:993/" },
			      { .target_account = "other:993/" } };
	struct batch *batch = opened(rows, 2, 9, 9, 9), *next = opened(rows, 2, 9, 9, 9);
	struct batch_outcome outcome = { .state = BATCH_FAILED,
					 .error = ERR_IMAP_UNAVAILABLE,
					 .met = true,
					 .retry_after = 300 * NSEC_SECOND,
					 .scope = ERR_OF_HOST,
					 .of_target = true };
	struct batch_lesson lesson;
	bool known;

	CHECK_EQ(taken(batch, 1), 0);
	CHECK(!batch_end(batch, 0, &outcome, 2));
	CHECK_EQ(batch_hosts(batch), 3);
	for (size_t i = 0; batch_lesson(batch, i, 3, &lesson, &known); i++)
		if (known)
			batch_learn(next, &lesson, 3);
	CHECK_EQ(taken(next, 4), 1);
	CHECK_EQ(taken(next, 295 * NSEC_SECOND), -1);
	CHECK_EQ(taken(next, 400 * NSEC_SECOND), 0);
	batch_close(&batch);
	batch_close(&next);
}

TEST(what_was_left_out_is_counted_as_the_last_attempt_saw_it)
{
	struct row rows[2] = { 0 };
	struct batch *batch = opened(rows, 2, 9, 9, 9);
	struct batch_outcome outcome = { .state = BATCH_DONE,
					 .met = true,
					 .figures = { .messages_left_out = 7,
						      .folders_left_out = 2 } };
	struct batch_figures halfway = { .messages_left_out = 3 };
	struct batch_counts counts;

	for (int i = 0; i < 2; i++) {
		CHECK_EQ(taken(batch, 1), i);
		batch_progress(batch, (size_t)i, &halfway, 2);
		CHECK(batch_end(batch, (size_t)i, &outcome, 3));
	}
	batch_counts(batch, 4, &counts);
	CHECK_EQ(counts.messages_left_out, 14);
	CHECK_EQ(counts.folders_left_out, 4);
	CHECK_EQ(row_of(batch, 1).messages_left_out, 7);
	CHECK_EQ(row_of(batch, 1).folders_left_out, 2);
	batch_close(&batch);
}

/* Whoever waits for a destination does not cost a look at everybody each time. */
TEST(mailboxes_of_a_destination_that_rests_stay_in_their_order)
{
	enum { MANY = 2000 };
	struct row *rows = calloc(MANY, sizeof *rows);
	struct batch_outcome outcome = { .state = BATCH_FAILED,
					 .error = ERR_IMAP_UNAVAILABLE,
					 .met = true,
					 .scope = ERR_OF_HOST,
					 .of_target = true };
	struct batch *batch;

	REQUIRE(rows);
	for (unsigned i = 0; i < MANY; i++)
		rows[i].target_account = "new:993/";
	batch = opened(rows, MANY, 9, 9, 9);
	CHECK_EQ(taken(batch, 1), 0);
	CHECK(!batch_end(batch, 0, &outcome, 2));
	(void)ended_all(batch, BATCH_DONE, OK, 3);
	CHECK_EQ(row_of(batch, 0).attempts, 2);
	for (unsigned i = 1; i < MANY; i++)
		CHECK(row_of(batch, i).attempts == 1 && row_of(batch, i).state == BATCH_DONE);
	batch_close(&batch);
	free(rows);
}

TEST(after_fruitless_attempts_a_mailbox_fails_and_the_others_go_on)
{
	struct row rows[2] = { 0 };
	struct batch *batch = opened(rows, 2, 9, 9, 9);
	nsec now = 1, again;
	unsigned connections;
	size_t no;
	int attempts = 0;

	CHECK_EQ(taken(batch, now), 0);
	CHECK_EQ(taken(batch, now), 1);
	CHECK(ended(batch, 1, BATCH_DONE, OK, now));
	while (attempts++ < 100 && !ended(batch, 0, BATCH_FAILED, ERR_IMAP_BYE, ++now)) {
		if (!batch_take(batch, now, &no, &connections, &again)) {
			now = again;
			REQUIRE(batch_take(batch, now, &no, &connections, &again));
		}
	}
	CHECK_EQ(attempts, BATCH_ATTEMPTS_MAX);
	CHECK_EQ(row_of(batch, 0).attempts, BATCH_ATTEMPTS_MAX);
	CHECK_EQ(row_of(batch, 0).error, ERR_IMAP_BYE);
	CHECK(batch_is_over(batch));
	batch_close(&batch);
}

TEST(a_host_that_nobody_reaches_is_given_up_with_all_its_mailboxes)
{
	static struct row rows[1000];
	struct batch *batch;
	struct batch_counts counts;
	unsigned attempts = 0;
	nsec now;

	for (size_t i = 0; i < 1000; i++)
		rows[i] = (struct row){ .host = i % 2 ? "dead:993" : "dead:143" };
	batch = opened(rows, 1000, 100, 100, 100);
	now = ended_all(batch, BATCH_FAILED, ERR_NET_REFUSED, 1);
	batch_counts(batch, now, &counts);
	CHECK_EQ(counts.mailboxes[BATCH_FAILED], 1000);
	for (size_t i = 0; i < 1000; i++) {
		struct batch_mailbox mailbox = row_of(batch, i);

		attempts += mailbox.attempts;
		CHECK_EQ(mailbox.error, ERR_NET_REFUSED);
		CHECK_EQ(mailbox.exit_code, EXIT_CONNECT);
		CHECK_TEXT(mailbox.note, "because");
	}
	CHECK_EQ(attempts, 2 * BATCH_HOST_FAILURES_MAX);
	CHECK_EQ(counts.errors[ERR_NET_REFUSED], attempts);
	batch_close(&batch);
}

TEST(a_host_is_not_given_up_for_failures_of_one_moment)
{
	struct row rows[50] = { 0 };
	struct batch *batch = opened(rows, 50, 50, 50, 50);
	struct batch_counts counts;

	for (int i = 0; i < 50; i++)
		CHECK_EQ(taken(batch, 1), i);
	for (int i = 0; i < 50; i++)
		CHECK(!ended(batch, i, BATCH_FAILED, ERR_NET_REFUSED, 2));
	(void)ended_all(batch, BATCH_DONE, OK, 3); /* it is back */
	batch_counts(batch, 3, &counts);
	CHECK_EQ(counts.mailboxes[BATCH_DONE], 50);
	batch_close(&batch);
}

TEST(a_host_that_was_reached_once_is_never_given_up_as_a_whole)
{
	struct row rows[40] = { 0 };
	struct batch *batch = opened(rows, 40, 1, 1, 1);
	struct batch_counts counts;
	nsec now = 1;

	CHECK_EQ(taken(batch, now), 0);
	CHECK(ended(batch, 0, BATCH_DONE, OK, now));
	now = ended_all(batch, BATCH_FAILED, ERR_NET_REFUSED, now);
	batch_counts(batch, now, &counts);
	CHECK_EQ(counts.mailboxes[BATCH_FAILED], 39);
	CHECK_EQ(counts.errors[ERR_NET_REFUSED], 39 * BATCH_ATTEMPTS_MAX);
	batch_close(&batch);
}

/* ---- the end ---- */

TEST(a_drain_begins_nothing_and_what_would_be_retried_goes_on_next_time)
{
	struct row rows[4] = { 0 };
	struct batch *batch = opened(rows, 4, 3, 9, 9);
	struct batch_counts counts;

	CHECK_EQ(taken(batch, 1), 0);
	CHECK_EQ(taken(batch, 1), 1);
	CHECK_EQ(taken(batch, 1), 2);
	batch_drain(batch);
	CHECK_EQ(taken(batch, 2), -1);
	CHECK(!batch_is_over(batch));
	CHECK(ended(batch, 0, BATCH_DONE, OK, 3));
	CHECK(ended(batch, 1, BATCH_DRAINED, OK, 3));
	CHECK(ended(batch, 2, BATCH_FAILED, ERR_NET_RESET, 3));
	CHECK(batch_is_over(batch));
	CHECK_EQ(row_of(batch, 2).state, BATCH_DRAINED);
	CHECK_EQ(row_of(batch, 2).exit_code, EXIT_LATER);
	CHECK_EQ(row_of(batch, 3).state, BATCH_WAITING);
	batch_counts(batch, 4, &counts);
	CHECK(counts.draining);
	CHECK_EQ(counts.mailboxes[BATCH_DONE], 1);
	CHECK_EQ(counts.mailboxes[BATCH_DRAINED], 2);
	CHECK_EQ(counts.mailboxes[BATCH_WAITING], 1);
	CHECK_EQ(taken(batch, DEADLINE_NEVER - 1), -1);
	batch_close(&batch);
}

/* ---- figures ---- */

TEST(figures_add_up_over_attempts)
{
	struct row rows[2] = { 0 };
	struct batch *batch = opened(rows, 2, 9, 9, 9);
	struct batch_figures part = { .messages_known = 10,
				      .bytes_known = 1000,
				      .messages_moved = 3,
				      .bytes_moved = 300,
				      .messages_before = 1,
				      .connections = 1,
				      .reconnects = 2 };
	struct batch_outcome outcome = { .state = BATCH_FAILED,
					 .error = ERR_NET_RESET,
					 .met = true,
					 .scope = ERR_OF_ACCOUNT,
					 .figures = part };
	struct batch_mailbox mailbox;
	struct batch_counts counts;
	unsigned connections;
	nsec again;
	size_t no;

	CHECK_EQ(taken(batch, 1), 0);
	CHECK_EQ(taken(batch, 1), 1);
	batch_progress(batch, 0, &part, 2);
	batch_progress(batch, 0, &part, 2); /* the same told twice is not more */
	batch_counts(batch, 2, &counts);
	CHECK_EQ(counts.messages_moved, 3);
	CHECK_EQ(counts.connections, 1);
	CHECK(!batch_end(batch, 0, &outcome, NSEC_SECOND));
	CHECK(!batch_take(batch, NSEC_SECOND, &no, &connections, &again) || no == 0);
	if (row_of(batch, 0).state == BATCH_WAITING)
		CHECK_EQ(taken(batch, again), 0);
	/* The ledger, from which the second attempt goes on, knows of 1 + 3 settled messages. */
	outcome = (struct batch_outcome){ .state = BATCH_DONE, .met = true, .figures = part };
	outcome.figures.messages_moved = 6;
	outcome.figures.bytes_moved = 600;
	outcome.figures.messages_before = 4;
	CHECK(batch_end(batch, 0, &outcome, 100 * NSEC_SECOND));
	mailbox = row_of(batch, 0);
	CHECK_EQ(mailbox.attempts, 2);
	CHECK_EQ(mailbox.messages_known, 10);
	CHECK_EQ(mailbox.messages_moved, 9);
	CHECK_EQ(mailbox.bytes_moved, 900);
	CHECK_EQ(mailbox.messages_before, 1);
	CHECK_EQ(mailbox.error, OK);
	batch_counts(batch, 100 * NSEC_SECOND, &counts);
	CHECK_EQ(counts.messages_moved, 9);
	CHECK_EQ(counts.messages_before, 1);
	CHECK_EQ(counts.messages_known, 10);
	CHECK_EQ(counts.reconnects, 4);
	CHECK_EQ(counts.connections, 0);
	batch_close(&batch);
}

TEST(those_that_run_can_be_looked_at)
{
	struct row rows[3] = { 0 };
	struct batch *batch = opened(rows, 3, 9, 9, 9);
	struct batch_mailbox mailbox;
	uint32_t lines = 0;

	for (int i = 0; i < 3; i++)
		CHECK_EQ(taken(batch, 1), i);
	CHECK(ended(batch, 1, BATCH_DONE, OK, 2));
	for (size_t i = 0; i < 2; i++) {
		REQUIRE(batch_running(batch, i, &mailbox));
		CHECK_EQ(mailbox.state, BATCH_RUNNING);
		lines += mailbox.line;
	}
	CHECK_EQ(lines, 2 + 4);
	CHECK(!batch_running(batch, 2, &mailbox));
	batch_close(&batch);
}

TEST(what_was_learnt_about_a_host_holds_in_the_next_run)
{
	struct row rows[] = { { .host = "a:993" }, { .host = "b:993" } };
	struct batch *batch = opened(rows, 2, 9, 9, 9), *next = opened(rows, 2, 9, 9, 9);
	struct batch_outcome outcome = { .state = BATCH_FAILED,
					 .error = ERR_IMAP_THROTTLED,
					 .met = true,
					 .retry_after = 300 * NSEC_SECOND,
					 .scope = ERR_OF_HOST };
	struct batch_lesson lesson;
	size_t lessons = 0, hosts = 0;
	bool known;

	CHECK_EQ(taken(batch, 1), 0);
	CHECK(!batch_end(batch, 0, &outcome, 2));
	for (; batch_lesson(batch, lessons, 3, &lesson, &known); lessons++)
		if (known) {
			CHECK(!lesson.of_account);
			hosts++;
			batch_learn(next, &lesson, 3);
		}
	CHECK_EQ(hosts, batch_hosts(batch));
	CHECK_EQ(lessons, 4); /* two hosts, two accounts that nobody complained of */
	snprintf(lesson.name, sizeof lesson.name, "elsewhere:993");
	lesson.of_account = false;
	batch_learn(next, &lesson, 3); /* of no concern here */
	CHECK_EQ(taken(next, 4), 1);
	CHECK_EQ(taken(next, 4), -1);
	CHECK_EQ(taken(next, 295 * NSEC_SECOND), -1);
	CHECK_EQ(taken(next, 400 * NSEC_SECOND), 0);
	batch_close(&batch);
	batch_close(&next);
}

TEST(what_was_learnt_about_an_account_holds_in_the_next_run_for_it_alone)
{
	struct row rows[] = { { .host = "a:993" }, { .host = "a:993" } };
	struct batch *batch = opened(rows, 2, 9, 9, 9), *next = opened(rows, 2, 9, 9, 9);
	struct batch_outcome outcome = { .state = BATCH_FAILED,
					 .error = ERR_IMAP_THROTTLED,
					 .met = true,
					 .retry_after = 300 * NSEC_SECOND,
					 .scope = ERR_OF_ACCOUNT };
	struct batch_lesson lesson;
	bool known;

	CHECK_EQ(taken(batch, 1), 0);
	CHECK(!batch_end(batch, 0, &outcome, 2));
	for (size_t i = 0; batch_lesson(batch, i, 3, &lesson, &known); i++)
		if (known)
			batch_learn(next, &lesson, 3);
	CHECK_EQ(taken(next, 4), 1);
	CHECK_EQ(taken(next, 4), -1);
	batch_close(&batch);
	batch_close(&next);
}

/* ---- threads ---- */

enum { THREADS = 4, CONNECTIONS = 7, PER_HOST = 3, ACCOUNTS = 499 };

struct crowd {
	struct batch *batch;
	const struct row *rows;
	atomic_uint begun[ROWS_MAX], connections, of_host[5], of_account[ACCOUNTS];
	atomic_uint too_many, together, idle;
};

static void work_on(struct crowd *crowd, size_t no, unsigned connections)
{
	atomic_uint *host = &crowd->of_host[no % 5];
	struct batch_figures part = { .messages_known = 3, .messages_moved = 1, .connections = 1 };
	struct batch_outcome outcome = { .state = BATCH_DONE, .met = true, .figures = part };

	if (atomic_fetch_add(&crowd->connections, connections) + connections > CONNECTIONS ||
	    atomic_fetch_add(host, connections) + connections > PER_HOST)
		atomic_fetch_add(&crowd->too_many, 1);
	if (atomic_fetch_add(&crowd->of_account[no % ACCOUNTS], 1) > 0)
		atomic_fetch_add(&crowd->together, 1);
	atomic_fetch_add(&crowd->begun[no], 1);
	batch_progress(crowd->batch, no, &part, clock_now());
	outcome.figures.messages_moved = 3;
	atomic_fetch_sub(&crowd->of_account[no % ACCOUNTS], 1);
	atomic_fetch_sub(host, connections);
	atomic_fetch_sub(&crowd->connections, connections);
	if (!batch_end(crowd->batch, no, &outcome, clock_now()))
		atomic_fetch_add(&crowd->too_many, 1);
}

static void *worker(void *argument)
{
	struct crowd *crowd = argument;
	struct batch_counts counts;
	unsigned connections;
	nsec again;
	size_t no;

	while (!batch_is_over(crowd->batch)) {
		if (batch_take(crowd->batch, clock_now(), &no, &connections, &again)) {
			work_on(crowd, no, connections);
			continue;
		}
		atomic_fetch_add(&crowd->idle, 1);
		batch_counts(crowd->batch, clock_now(), &counts);
	}
	return NULL;
}

TEST(four_threads_begin_each_of_ten_thousand_mailboxes_once_within_all_limits)
{
	static const char *const hosts[] = { "a:1", "b:1", "c:1", "d:1", "e:1" };
	static struct row rows[ROWS_MAX];
	static char accounts[ACCOUNTS][16];
	static struct crowd crowd;
	struct batch_counts counts;
	pthread_t threads[THREADS];

	for (unsigned i = 0; i < ACCOUNTS; i++)
		snprintf(accounts[i], sizeof accounts[i], "u%u@new/", i);
	for (size_t i = 0; i < ROWS_MAX; i++)
		rows[i] = (struct row){ .host = hosts[i % 5],
					.target_account = accounts[i % ACCOUNTS],
					.wave = (uint32_t)(i % 7),
					.priority = (int32_t)(i % 3),
					.connections = 2 };
	crowd.batch = opened(rows, ROWS_MAX, THREADS, CONNECTIONS, PER_HOST);
	for (int i = 0; i < THREADS; i++)
		REQUIRE(pthread_create(&threads[i], NULL, worker, &crowd) == 0);
	for (int i = 0; i < THREADS; i++)
		REQUIRE(pthread_join(threads[i], NULL) == 0);
	for (size_t i = 0; i < ROWS_MAX; i++)
		CHECK_EQ(crowd.begun[i], 1);
	CHECK_EQ(crowd.too_many, 0);
	CHECK_EQ(crowd.together, 0);
	batch_counts(crowd.batch, clock_now(), &counts);
	CHECK_EQ(counts.mailboxes[BATCH_DONE], ROWS_MAX);
	CHECK_EQ(counts.messages_moved, 3 * ROWS_MAX);
	CHECK_EQ(counts.messages_known, 3 * ROWS_MAX);
	CHECK_EQ(counts.connections, 0);
	batch_close(&crowd.batch);
}
