/* Hosts and accounts that share limits, and what is told to the ledger. */
#include "tests/test.h"

#include <pthread.h>
#include <stdlib.h>

#include "engine/clock.h"
#include "engine/govern.h"

#define WALL INT64_C(1795305600)

static struct governor *governor(void)
{
	struct governor *g;

	CHECK_OK(governor_open(&g));
	return g;
}

static struct govern *lane(struct governor *g, const char *account,
			   const struct govern_limits *limits)
{
	static const struct govern_limits none;
	struct govern *made;

	CHECK_OK(govern_open(g, "mail.example", account, limits ? limits : &none, 0, &made));
	return made;
}

/* So many a second for ten seconds from `now` on. */
static nsec send_some(struct govern *govern, unsigned per_second, nsec now)
{
	for (nsec end = now + 10 * NSEC_SECOND; now < end; now += NSEC_SECOND / per_second)
		(void)!govern_message(govern, now);
	return now;
}

TEST(an_account_is_slowed_down_and_its_neighbours_are_not)
{
	struct governor *g = governor();
	struct govern *alice = lane(g, "imaps://alice@mail.example/", NULL);
	struct govern *bob = lane(g, "imaps://bob@mail.example/", NULL);
	nsec now = send_some(alice, 100, 0);

	CHECK_EQ(govern_milli(alice), 0);
	govern_throttled(alice, ERR_OF_ACCOUNT, now);
	CHECK(govern_milli(alice) >= 40000 && govern_milli(alice) <= 60000);
	CHECK_EQ(govern_milli(bob), 0);
	CHECK(govern_message(alice, now) > now);
	CHECK_EQ(govern_message(bob, now), now);
	govern_close(&alice);
	govern_close(&bob);
	governor_close(&g);
}

TEST(a_host_is_slowed_down_for_all_its_accounts_together)
{
	struct governor *g = governor();
	struct govern *alice = lane(g, "alice", NULL), *bob = lane(g, "bob", NULL);
	nsec now = send_some(alice, 100, 0), until;

	govern_throttled(bob, ERR_OF_HOST, now);
	CHECK(govern_milli(alice) >= 40000 && govern_milli(alice) <= 60000);
	CHECK_EQ(govern_milli(bob), govern_milli(alice));
	now += 20 * NSEC_SECOND;
	until = govern_message(alice, now);
	CHECK(until > now);
	CHECK(govern_message(bob, now) > until); /* it stands behind alice */
	govern_close(&alice);
	govern_close(&bob);
	governor_close(&g);
}

TEST(a_mailbox_that_is_refused_concerns_its_account)
{
	struct governor *g = governor();
	struct govern *alice = lane(g, "alice", NULL), *bob = lane(g, "bob", NULL);
	nsec now = send_some(alice, 100, 0);

	govern_throttled(alice, ERR_OF_MAILBOX, now);
	CHECK(govern_milli(alice) > 0);
	CHECK_EQ(govern_milli(bob), 0);
	govern_close(&alice);
	govern_close(&bob);
	governor_close(&g);
}

TEST(a_rate_that_is_asked_for_holds_from_the_first_message)
{
	struct governor *g = governor();
	struct govern *alice = lane(g, "alice", &(struct govern_limits){ .messages_milli = 2000 });

	CHECK_EQ(govern_message(alice, 0), NSEC_SECOND / 2);
	CHECK_EQ(govern_message(alice, 0), NSEC_SECOND);
	govern_close(&alice);
	governor_close(&g);
}

/* ---- rations ---- */

TEST(each_way_has_a_ration_of_its_own_and_lanes_of_an_account_share_it)
{
	struct govern_limits limits = { .bytes_a_day = { 1000, 10 } };
	struct governor *g = governor();
	struct govern *one = lane(g, "alice", &limits), *two = lane(g, "alice", &limits);
	int64_t free_s;

	govern_spend(one, GOVERN_DOWN, 1000, WALL);
	CHECK(!govern_has_room(two, GOVERN_DOWN, 1, WALL, &free_s));
	CHECK(free_s > WALL + 86400 - 1);
	CHECK(govern_has_room(two, GOVERN_UP, 10, WALL, &free_s));
	CHECK(govern_has_room(two, GOVERN_DOWN, 1, free_s + 86400 * 2, &free_s));
	govern_close(&one);
	govern_close(&two);
	governor_close(&g);
}

TEST(without_a_ration_there_is_room_and_nothing_to_remember)
{
	struct governor *g = governor();
	struct govern *alice = lane(g, "alice", NULL);
	struct govern_lesson lesson;
	int64_t free_s;

	govern_spend(alice, GOVERN_DOWN, 1000, WALL);
	CHECK(govern_has_room(alice, GOVERN_DOWN, UINT64_MAX, WALL, &free_s));
	CHECK(!governor_changed(g, WALL, &lesson));
	govern_close(&alice);
	governor_close(&g);
}

/* ---- memory ---- */

/* From one governor into the next, as the ledger does it. Returns how many lessons there were. */
static unsigned pass_on(struct governor *from, struct governor *to)
{
	struct govern_lesson lesson;
	unsigned count = 0;

	for (; governor_changed(from, WALL, &lesson); count++)
		CHECK_OK(governor_learn(to, lesson.kind, lesson.name, lesson.text, 0, WALL));
	return count;
}

TEST(what_was_learnt_is_told_once_and_holds_in_the_next_run)
{
	struct govern_limits limits = { .bytes_a_day = { 1000, 1000 } };
	struct governor *g = governor(), *next = governor();
	struct govern *alice = lane(g, "alice", &limits), *again;
	nsec now = send_some(alice, 100, 0);
	uint64_t milli;
	int64_t free_s;

	govern_throttled(alice, ERR_OF_ACCOUNT, now);
	govern_throttled(alice, ERR_OF_HOST, now);
	govern_spend(alice, GOVERN_UP, 900, WALL);
	milli = govern_milli(alice);
	CHECK_EQ(pass_on(g, next), 3);
	CHECK_EQ(pass_on(g, next), 0);
	again = lane(next, "alice", &limits);
	CHECK_EQ(govern_milli(again), milli);
	CHECK(!govern_has_room(again, GOVERN_UP, 101, WALL, &free_s));
	CHECK(govern_has_room(again, GOVERN_UP, 100, WALL, &free_s));
	CHECK(govern_has_room(again, GOVERN_DOWN, 1000, WALL, &free_s));
	govern_close(&alice);
	govern_close(&again);
	governor_close(&g);
	governor_close(&next);
}

TEST(a_change_after_it_was_told_is_told_again)
{
	struct govern_limits limits = { .bytes_a_day = { 1000, 0 } };
	struct governor *g = governor();
	struct govern *alice = lane(g, "alice", &limits);
	struct govern_lesson lesson;

	for (unsigned i = 0; i < 3; i++) {
		govern_spend(alice, GOVERN_DOWN, 1, WALL);
		CHECK(governor_changed(g, WALL, &lesson));
		CHECK_TEXT(lesson.kind, "bytes-down");
		CHECK_TEXT(lesson.name, "alice");
		CHECK(!governor_changed(g, WALL, &lesson));
	}
	govern_close(&alice);
	governor_close(&g);
}

TEST(lessons_of_others_and_damaged_ones_are_passed_over)
{
	struct governor *g = governor();
	struct govern *alice;

	CHECK_OK(governor_learn(g, "host", "mail.example", "throttled", 0, WALL));
	CHECK_OK(governor_learn(g, "pace-host", "mail.example", "milli=1", 0, WALL));
	CHECK_OK(governor_learn(g, "pace-host", "mail.example", "milli=0 refused=0", 0, WALL));
	CHECK_OK(governor_learn(g, "pace-host", "mail.example", "milli=9 refused=9x", 0, WALL));
	CHECK_OK(governor_learn(g, "pace-elsewhere", "mail.example", "milli=9 refused=9", 0, WALL));
	CHECK_OK(governor_learn(g, "bytes-down", "alice", "a lot", 0, WALL));
	alice = lane(g, "alice", NULL);
	CHECK_EQ(govern_milli(alice), 0);
	govern_close(&alice);
	governor_close(&g);
}

TEST(lessons_are_put_into_words)
{
	char text[200], line[RATION_TEXT_BYTES];

	CHECK(govern_explain("pace-host", "milli=12500 refused=25000", WALL, text, sizeof text));
	CHECK_TEXT(text, "at most 12.5 messages a second (it refused 25.0)");
	CHECK(!govern_explain("host", "throttled", WALL, text, sizeof text));
	CHECK(!govern_explain("pace-host", "", WALL, text, sizeof text));
	snprintf(line, sizeof line, "slot=%lld spent=2500000,0,0,0,0,0,0,0,0,0,0,0,0",
		 (long long)(WALL / 7200));
	CHECK(govern_explain("bytes-down", line, WALL, text, sizeof text));
	CHECK_TEXT(text, "2.5 MB read in the last 24 hours");
}

TEST(many_accounts_are_told_apart)
{
	struct govern_limits limits = { .bytes_a_day = { 100, 0 } };
	struct governor *g = governor();
	struct govern *handle;
	char name[40];
	int64_t free_s;

	for (unsigned i = 0; i < 5000; i++) {
		snprintf(name, sizeof name, "imaps://user%u@mail.example/", i);
		handle = lane(g, name, &limits);
		govern_spend(handle, GOVERN_DOWN, i % 101, WALL);
		govern_close(&handle);
	}
	for (unsigned i = 0; i < 5000; i++) {
		snprintf(name, sizeof name, "imaps://user%u@mail.example/", i);
		handle = lane(g, name, &limits);
		CHECK(govern_has_room(handle, GOVERN_DOWN, 100 - i % 101, WALL, &free_s));
		CHECK(i % 101 == 0 ||
		      !govern_has_room(handle, GOVERN_DOWN, 101 - i % 101, WALL, &free_s));
		govern_close(&handle);
	}
	governor_close(&g);
}

/* ---- threads ---- */

enum { THREADS = 4, MESSAGES = 20000 };

static void *sender(void *g)
{
	static const struct govern_limits limits = { .bytes_a_day = { UINT64_C(1) << 40, 0 } };
	struct govern *handle;

	CHECK_OK(govern_open(g, "mail.example", "alice", &limits, 0, &handle));
	for (unsigned i = 0; i < MESSAGES; i++) {
		(void)!govern_message(handle, (nsec)i * NSEC_MILLISECOND);
		govern_spend(handle, GOVERN_DOWN, 3, WALL);
	}
	govern_close(&handle);
	return NULL;
}

TEST(threads_lose_nothing_of_each_other)
{
	struct governor *g = governor();
	pthread_t threads[THREADS];
	struct govern_lesson lesson;

	for (unsigned i = 0; i < THREADS; i++)
		CHECK_EQ(pthread_create(&threads[i], NULL, sender, g), 0);
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	CHECK(governor_changed(g, WALL, &lesson));
	CHECK(strstr(lesson.text, "spent=240000,0"));
	governor_close(&g);
}
