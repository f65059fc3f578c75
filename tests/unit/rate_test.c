/* Finding what a server bears, under a clock made of numbers. */
#include "tests/test.h"

#include "engine/rate.h"

#define MINUTE (60 * NSEC_SECOND)

/* ---- pacing ---- */

TEST(nothing_is_held_up_before_anybody_complains)
{
	struct rate r;

	rate_init(&r, 0, 0);
	for (nsec now = 0; now < NSEC_SECOND; now += NSEC_MILLISECOND)
		CHECK_EQ(rate_take(&r, 100, now), now);
	CHECK_EQ(rate_milli(&r), 0);
}

/* Sends as fast as it may for so long; returns how many. */
static uint64_t send_for(struct rate *r, nsec *now, nsec length)
{
	nsec end = *now + length;
	uint64_t sent = 0;

	while (*now < end) {
		*now = rate_take(r, 1, *now);
		sent++;
	}
	return sent;
}

TEST(a_bound_that_is_asked_for_is_kept_to_exactly)
{
	struct rate r;
	nsec now = 7 * MINUTE;

	rate_init(&r, 4000, now);
	CHECK_EQ(send_for(&r, &now, 100 * NSEC_SECOND), 400);
	rate_bound(&r, 500);
	CHECK_EQ(send_for(&r, &now, 100 * NSEC_SECOND), 50);
	rate_bound(&r, 0);
	CHECK_EQ(rate_take(&r, 1, now + MINUTE), now + MINUTE);
}

TEST(what_was_not_used_is_not_saved_up)
{
	struct rate r;
	nsec now = 0;

	rate_init(&r, 10000, now);
	CHECK_EQ(rate_take(&r, 1, now), NSEC_SECOND / 10);
	now = 10 * MINUTE;
	CHECK_EQ(rate_take(&r, 5, now), now + NSEC_SECOND / 2);
	CHECK_EQ(rate_take(&r, 1, now), now + NSEC_SECOND / 2 + NSEC_SECOND / 10);
}

TEST(a_clock_that_goes_back_neither_stops_nor_frees_anybody)
{
	struct rate r;
	nsec until;

	rate_init(&r, 1000, MINUTE);
	until = rate_take(&r, 1, MINUTE);
	CHECK_EQ(until, MINUTE + NSEC_SECOND);
	CHECK_EQ(rate_take(&r, 1, 0), until + NSEC_SECOND);
	CHECK(!rate_throttled(&r, 0) || rate_milli(&r) >= RATE_LEAST_MILLI);
}

/* ---- complaints ---- */

/* A fresh one that sends `per_second` for ten seconds. */
static struct rate busy(unsigned per_second, nsec *now)
{
	struct rate r;

	rate_init(&r, 0, 0);
	for (*now = 0; *now < 10 * NSEC_SECOND; *now += NSEC_SECOND / per_second)
		(void)!rate_take(&r, 1, *now);
	return r;
}

TEST(the_first_complaint_halves_what_was_sent)
{
	nsec now;
	struct rate r = busy(40, &now);

	CHECK(rate_throttled(&r, now));
	CHECK(rate_milli(&r) >= 19000 && rate_milli(&r) <= 21000);
}

TEST(complaints_that_come_together_are_one)
{
	nsec now;
	struct rate r = busy(40, &now);
	uint64_t after;

	CHECK(rate_throttled(&r, now));
	after = rate_milli(&r);
	for (unsigned i = 0; i < 50; i++)
		CHECK(!rate_throttled(&r, now + i * NSEC_SECOND / 10));
	CHECK_EQ(rate_milli(&r), after);
	CHECK(rate_throttled(&r, now + RATE_EVENT));
	CHECK(rate_milli(&r) < after);
}

/* A login that is refused says nothing about messages. */
TEST(a_complaint_before_any_message_changes_nothing)
{
	struct rate r;

	rate_init(&r, 0, 0);
	CHECK(!rate_throttled(&r, MINUTE));
	CHECK_EQ(rate_milli(&r), 0);
}

TEST(the_rate_never_falls_to_a_stop)
{
	nsec now;
	struct rate r = busy(2, &now);

	for (unsigned i = 0; i < 100; i++) {
		now = rate_take(&r, 1, now + RATE_EVENT);
		(void)rate_throttled(&r, now);
	}
	CHECK_EQ(rate_milli(&r), RATE_LEAST_MILLI);
}

TEST(a_rate_that_is_not_used_does_not_grow)
{
	nsec now;
	struct rate r = busy(40, &now);
	uint64_t limit;

	CHECK(rate_throttled(&r, now));
	limit = rate_milli(&r);
	for (unsigned i = 0; i < 600; i++) /* one message in ten seconds */
		(void)!rate_take(&r, 1, now += 10 * NSEC_SECOND);
	CHECK_EQ(rate_milli(&r), limit);
}

TEST(one_step_at_a_time_and_not_before_it_was_quiet)
{
	nsec now;
	struct rate r = busy(40, &now);
	uint64_t limit;
	nsec began = now;

	CHECK(rate_throttled(&r, now));
	limit = rate_milli(&r);
	while (rate_milli(&r) == limit)
		now = rate_take(&r, 1, now);
	CHECK(now - began >= RATE_QUIET && now - began < RATE_QUIET + 5 * NSEC_SECOND);
	CHECK_EQ(rate_milli(&r), limit + r.refused_milli / RATE_STEPS);
}

/* ---- convergence ---- */

struct server {
	double bears, tokens; /* messages a second, with a second's worth kept */
	nsec at;
	unsigned refusals;
};

/* Each message that finds no token is refused and costs nothing more than saying so. */
static bool serve(struct server *server, nsec now)
{
	server->tokens += server->bears * (double)(now - server->at) / 1e9;
	server->at = now;
	if (server->tokens > server->bears)
		server->tokens = server->bears;
	if (server->tokens < 1) {
		server->refusals++;
		return false;
	}
	server->tokens -= 1;
	return true;
}

static uint64_t haul(struct rate *r, struct server *server, nsec *now, nsec length, double fastest)
{
	nsec end = *now + length, least = (nsec)(1e9 / fastest);
	uint64_t done = 0;

	while (*now < end) {
		nsec until = rate_take(r, 1, *now);

		if (serve(server, *now))
			done++;
		else
			(void)rate_throttled(r, *now);
		*now = until > *now + least ? until : *now + least;
	}
	return done;
}

static void check_converges(double bears, double fastest)
{
	struct server server = { .bears = bears, .tokens = bears };
	struct rate r;
	nsec now = 0;
	uint64_t done;
	double best;

	rate_init(&r, 0, now);
	(void)haul(&r, &server, &now, 30 * MINUTE, fastest);
	server.refusals = 0;
	done = haul(&r, &server, &now, 60 * MINUTE, fastest);
	best = (bears < fastest ? bears : fastest) * 3600;
	CHECK((double)done >= 0.75 * best);
	CHECK((double)done <= 1.01 * best + bears);
	/* A handful of refused messages for each try, and a try every some minutes. */
	CHECK(server.refusals <= 0.02 * (double)done + 20);
}

TEST(it_settles_just_below_what_a_server_bears)
{
	check_converges(3, 400);
	check_converges(20, 400);
	check_converges(100, 400);
	check_converges(390, 400);
}

TEST(a_server_that_bears_more_than_we_send_is_not_slowed_down_to)
{
	check_converges(1000, 400);
}

TEST(a_server_that_recovers_gets_all_of_it_again)
{
	struct server server = { .bears = 5, .tokens = 5 };
	struct rate r;
	nsec now = 0;

	rate_init(&r, 0, now);
	(void)haul(&r, &server, &now, 10 * MINUTE, 200);
	CHECK(rate_milli(&r) > 0 && rate_milli(&r) < 8000);
	server.bears = 10000;
	(void)haul(&r, &server, &now, 60 * MINUTE, 200);
	CHECK_EQ(rate_milli(&r), 0);
}

/* ---- memory ---- */

TEST(a_restart_goes_on_at_what_was_learnt)
{
	struct server server = { .bears = 20, .tokens = 20 };
	struct rate r, next;
	struct rate_saved saved;
	nsec now = 0;
	unsigned before;

	rate_init(&r, 0, now);
	(void)haul(&r, &server, &now, 30 * MINUTE, 400);
	saved = rate_save(&r);
	rate_init(&next, 0, 5);
	rate_load(&next, &saved, 5);
	CHECK_EQ(rate_milli(&next), rate_milli(&r));
	before = server.refusals;
	(void)haul(&next, &server, &now, MINUTE, 400);
	/* Where it left off trying one step more; a fresh start is refused some hundred times. */
	CHECK(server.refusals - before <= 10);
}

TEST(what_cannot_have_been_learnt_is_not_believed)
{
	struct rate r;

	rate_init(&r, 0, 0);
	rate_load(&r, &(struct rate_saved){ 1, UINT64_MAX }, 0);
	CHECK_EQ(rate_milli(&r), RATE_LEAST_MILLI);
	rate_load(&r, &(struct rate_saved){ UINT64_MAX, 1000 }, 0);
	CHECK_EQ(rate_milli(&r), RATE_FORGET * 1000);
	rate_load(&r, &(struct rate_saved){ 0, 1000 }, 0);
	CHECK_EQ(rate_milli(&r), 0);
	rate_load(&r, &(struct rate_saved){ 1000, 0 }, 0);
	CHECK_EQ(rate_milli(&r), 0);
}
