/* transport/aws_credentials.c in a run of many hours: time is the simulation's, and a program that
 * is never run gives the keys. Whether several threads share them is tests/unit's. */
#include "transport/aws_credentials.h"

#include <stdio.h>
#include <stdlib.h>

#include "crypto/secret.h"
#include "engine/clock.h"
#include "engine/fiber.h"
#include "tests/test.h"

#define MINUTE (60 * NSEC_SECOND)
#define HOUR   (60 * MINUTE)

/* ---- a credential_process and what it does ---- */

static struct {
	int64_t life_s;	  /* of each set of keys; 0: without end */
	int64_t ends_s;	  /* of all of them, by the wall clock; 0: by life_s */
	nsec takes;	  /* so long does it run */
	enum err fails;	  /* instead */
	bool same;	  /* the same keys again and again */
	unsigned runs;	  /* so often was it run */
	unsigned refused; /* so often was the run told to drain */
} giver;

static void write_time(char to[40], int64_t wall_s)
{
	struct mail_date date = { .known = true, .seconds = wall_s };

	mail_date_rfc3339(to, &date);
}

static enum err give(void *context, const char *command, bool whole, nsec until,
		     struct secret **out)
{
	char json[400], expiration[40] = "";
	unsigned no = giver.same ? 1 : giver.runs + 1;
	enum err e;

	(void)context;
	CHECK_TEXT(command, "/bin/keys");
	CHECK(whole);
	giver.runs++;
	if (giver.takes && (e = fiber_sleep(min_nsec(until, clock_after(giver.takes)))))
		return e;
	if (clock_now() >= until)
		return RAISE(ERR_INPUT_SECRET, "the giver was ended");
	if (giver.fails)
		return RAISE(giver.fails, "the giver gives nothing");
	write_time(expiration,
		   giver.ends_s ? giver.ends_s : clock_wall() / NSEC_SECOND + giver.life_s);
	snprintf(json, sizeof json,
		 "{\"Version\":1,\"AccessKeyId\":\"KEY%u\",\"SecretAccessKey\":\"s\"%s%s%s}", no,
		 giver.life_s ? ",\"Expiration\":\"" : "", giver.life_s ? expiration : "",
		 giver.life_s ? "\"" : "");
	return secret_from_bytes(json, strlen(json), out);
}

static void note_refusal(void *context)
{
	(void)context;
	giver.refused++;
}

/* ---- a set of keys ---- */

static struct aws_profiles *profiles;
static struct aws_settings settings;
static struct account way;
static struct aws_credentials *set;

static bool begin(int64_t life_s)
{
	static const char config[] = "[profile p]\ncredential_process = /bin/keys\n";
	const struct aws_settings_wish wish = { .profile = "p" };
	struct aws_credentials_config with = {
		.chain = { .settings = &settings, .way = &way, .run = give },
		.refused = note_refusal
	};

	giver = (typeof(giver)){ .life_s = life_s };
	if (!CHECK_OK(aws_profiles_of(text_of(config), text_of(""), &profiles)) ||
	    !CHECK_OK(aws_settings_make(profiles, &wish, &settings)))
		return false;
	with.chain.profiles = profiles;
	return CHECK_OK(aws_credentials_open(&with, &set));
}

static void end(void)
{
	err_note_clear();
	aws_credentials_close(&set);
	aws_profiles_close(&profiles);
}

/* Which keys one gets: 1 for "KEY1". 0: an error, which is left in the note. */
static unsigned get(enum err expected)
{
	struct aws_held *held = NULL;
	unsigned no = 0;

	if (CHECK_ERR(aws_credentials_get(set, clock_after(MINUTE), &held), expected) && held) {
		struct text id = aws_held_credentials(held).access_key_id;

		no = (unsigned)strtoul(id.at + 3, NULL, 10);
	}
	aws_held_put(&held);
	return no;
}

static void check_fails(enum err expected, const char *words)
{
	CHECK_EQ(get(expected), 0);
	if (!strstr(err_note()->text, words))
		test_failed(__FILE__, __LINE__, "\"%s\" does not say \"%s\"", err_note()->text,
			    words);
	err_note_clear();
}

static void pass(nsec duration)
{
	CHECK_OK(fiber_sleep(clock_after(duration)));
}

/* ---- what is promised ---- */

TEST_FIBER(keys_without_an_end_are_asked_for_once)
{
	REQUIRE(begin(0));
	for (unsigned i = 0; i < 50; i++) {
		CHECK_EQ(get(OK), 1);
		pass(100 * HOUR);
	}
	CHECK_EQ(giver.runs, 1);
	end();
}

TEST_FIBER(keys_of_an_hour_last_a_night_and_are_never_used_to_their_end)
{
	REQUIRE(begin(3600));
	for (unsigned minute = 0; minute < 12 * 60; minute++) {
		CHECK_EQ(get(OK), 1 + minute / 45);
		pass(MINUTE);
	}
	CHECK_EQ(giver.runs, 16);
	CHECK_EQ(giver.refused, 0);
	end();
}

TEST_FIBER(keys_of_a_quarter_of_an_hour_are_renewed_for_the_last_third)
{
	REQUIRE(begin(900));
	CHECK_EQ(get(OK), 1);
	pass(9 * MINUTE + 50 * NSEC_SECOND);
	CHECK_EQ(get(OK), 1);
	pass(20 * NSEC_SECOND);
	CHECK_EQ(get(OK), 2);
	end();
}

struct asker {
	unsigned got;
	nsec waited;
};

static enum err ask(void *argument)
{
	struct asker *asker = argument;
	nsec begun = clock_now();

	asker->got = get(OK);
	asker->waited = clock_now() - begun;
	return OK;
}

static void ask_together(struct asker askers[4])
{
	struct group *group = group_open();

	for (unsigned i = 0; i < 4; i++)
		CHECK_OK(group_spawn(group, "ask", FIBER_STACK_LARGE, ask, &askers[i]));
	CHECK_OK(group_join(&group));
}

TEST_FIBER(all_wait_for_the_first_keys_and_one_asks)
{
	struct asker askers[4] = { 0 };

	REQUIRE(begin(3600));
	giver.takes = 5 * NSEC_SECOND;
	ask_together(askers);
	for (unsigned i = 0; i < 4; i++)
		CHECK(askers[i].got == 1 && askers[i].waited >= 5 * NSEC_SECOND);
	CHECK_EQ(giver.runs, 1);
	end();
}

TEST_FIBER(early_enough_one_renews_and_the_others_go_on)
{
	struct asker askers[4] = { 0 };
	unsigned waited = 0;

	REQUIRE(begin(3600));
	CHECK_EQ(get(OK), 1);
	giver.takes = 5 * NSEC_SECOND;
	pass(46 * MINUTE);
	ask_together(askers);
	for (unsigned i = 0; i < 4; i++) {
		CHECK_EQ(askers[i].got, askers[i].waited ? 2 : 1);
		waited += askers[i].waited > 0;
	}
	CHECK_EQ(waited, 1);
	CHECK_EQ(giver.runs, 2);
	end();
}

TEST_FIBER(near_the_end_all_wait_for_the_renewal)
{
	struct asker askers[4] = { 0 };

	REQUIRE(begin(3600));
	CHECK_EQ(get(OK), 1);
	giver.takes = 5 * NSEC_SECOND;
	pass(51 * MINUTE);
	ask_together(askers);
	for (unsigned i = 0; i < 4; i++)
		CHECK(askers[i].got == 2 && askers[i].waited >= 5 * NSEC_SECOND);
	CHECK_EQ(giver.runs, 2);
	end();
}

TEST_FIBER(a_giver_that_is_away_for_a_while_does_no_harm)
{
	REQUIRE(begin(3600));
	CHECK_EQ(get(OK), 1);
	pass(46 * MINUTE);
	giver.fails = ERR_AWS_UNAVAILABLE;
	for (unsigned i = 0; i < 80; i++) {
		CHECK_EQ(get(OK), 1);
		pass(10 * NSEC_SECOND);
	}
	CHECK(giver.runs > 70 && giver.runs < 90);
	giver.fails = OK;
	pass(10 * NSEC_SECOND);
	CHECK_EQ(get(OK), 1 + giver.runs - 1);
	CHECK_EQ(giver.refused, 0);
	end();
}

TEST_FIBER(a_giver_that_stays_away_is_an_error_that_may_pass)
{
	REQUIRE(begin(3600));
	CHECK_EQ(get(OK), 1);
	giver.fails = ERR_AWS_UNAVAILABLE;
	pass(2 * HOUR);
	check_fails(ERR_AWS_UNAVAILABLE, "the giver gives nothing");
	CHECK_EQ(giver.refused, 0);
	giver.fails = OK;
	pass(MINUTE);
	CHECK(get(OK) > 1);
	end();
}

/* A program that cannot do it now and can in a minute. */
TEST_FIBER(a_refusal_that_passes_in_time_is_nobodys_business)
{
	REQUIRE(begin(3600));
	CHECK_EQ(get(OK), 1);
	giver.fails = ERR_INPUT_SECRET;
	pass(46 * MINUTE);
	CHECK_EQ(get(OK), 1);
	giver.fails = OK;
	pass(2 * MINUTE);
	CHECK_EQ(get(OK), 3);
	CHECK_EQ(giver.refused, 0);
	end();
}

/* The run drains with the keys that it has, and ends with 75. */
TEST_FIBER(a_renewal_that_is_refused_has_the_run_drained)
{
	REQUIRE(begin(3600));
	CHECK_EQ(get(OK), 1);
	giver.fails = ERR_AWS_REFUSED;
	pass(46 * MINUTE);
	for (unsigned minute = 46; minute < 60; minute++) {
		CHECK_EQ(get(OK), 1);
		CHECK_EQ(giver.refused, minute >= 50);
		pass(MINUTE - (minute == 59 ? 10 * NSEC_SECOND : 0));
	}
	CHECK_EQ(giver.runs, 15);
	pass(MINUTE);
	check_fails(ERR_AWS_EXPIRED, "the giver gives nothing");
	CHECK_EQ(giver.refused, 1);
	CHECK_EQ(err_exit_code(ERR_AWS_EXPIRED), EXIT_LATER);
	CHECK_EQ(err_retry_class(ERR_AWS_EXPIRED), RETRY_STOP_JOB);
	end();
}

/* The usual pause between two attempts is a minute, and theirs are over by then. */
TEST_FIBER(a_run_with_keys_of_two_minutes_is_drained_in_time_too)
{
	REQUIRE(begin(120));
	CHECK_EQ(get(OK), 1);
	giver.fails = ERR_AWS_REFUSED;
	pass(90 * NSEC_SECOND);
	CHECK_EQ(get(OK), 1);
	CHECK_EQ(giver.refused, 0);
	pass(11 * NSEC_SECOND);
	CHECK_EQ(get(OK), 1);
	CHECK_EQ(giver.refused, 1);
	end();
}

TEST_FIBER(a_run_with_the_same_keys_of_two_minutes_again_is_drained_in_time_too)
{
	REQUIRE(begin(120));
	giver.same = true;
	giver.ends_s = clock_wall() / NSEC_SECOND + 120;
	CHECK_EQ(get(OK), 1);
	pass(90 * NSEC_SECOND);
	CHECK_EQ(get(OK), 1);
	CHECK_EQ(giver.refused, 0);
	pass(11 * NSEC_SECOND);
	CHECK_EQ(get(OK), 1);
	CHECK_EQ(giver.refused, 1);
	end();
}

TEST_FIBER(the_first_refusal_is_one_of_the_login_and_is_not_repeated)
{
	REQUIRE(begin(3600));
	giver.fails = ERR_AWS_REFUSED;
	for (unsigned i = 0; i < 5; i++) {
		check_fails(ERR_AWS_REFUSED, "the giver gives nothing");
		pass(10 * NSEC_SECOND);
	}
	CHECK_EQ(giver.runs, 1);
	CHECK_EQ(giver.refused, 0);
	CHECK_EQ(err_exit_code(ERR_AWS_REFUSED), EXIT_LOGIN);
	giver.fails = OK;
	pass(20 * NSEC_SECOND);
	CHECK_EQ(get(OK), 2);
	end();
}

TEST_FIBER(keys_that_a_service_says_are_expired_are_replaced)
{
	struct aws_held *held = NULL;

	REQUIRE(begin(3600));
	REQUIRE(CHECK_OK(aws_credentials_get(set, clock_after(MINUTE), &held)));
	aws_credentials_drop(set, held);
	CHECK(text_equal(aws_held_credentials(held).access_key_id, text_of("KEY1")));
	CHECK_EQ(get(OK), 2);
	aws_credentials_drop(set, held); /* an old one: nothing happens */
	CHECK_EQ(get(OK), 2);
	aws_held_put(&held);
	CHECK_EQ(giver.runs, 2);
	end();
}

TEST_FIBER(the_same_keys_again_are_no_renewal)
{
	struct aws_held *held = NULL;

	REQUIRE(begin(0));
	giver.same = true;
	REQUIRE(CHECK_OK(aws_credentials_get(set, clock_after(MINUTE), &held)));
	aws_credentials_drop(set, held);
	aws_held_put(&held);
	check_fails(ERR_AWS_EXPIRED, "have expired, and there are no others");
	CHECK_EQ(giver.refused, 1);
	/* Somebody put others there. */
	giver.same = false;
	pass(2 * MINUTE);
	CHECK(get(OK) > 1);
	end();
}

static bool begin_with_the_same(void)
{
	if (!begin(3600))
		return false;
	giver.same = true;
	giver.ends_s = clock_wall() / NSEC_SECOND + 3600;
	return true;
}

/* Those of the environment: there is no time left to finish anything when they are over. */
TEST_FIBER(keys_that_stay_the_same_have_the_run_drained_before_their_end)
{
	REQUIRE(begin_with_the_same());
	for (unsigned minute = 0; minute < 59; minute++) {
		CHECK_EQ(get(OK), 1);
		if (minute != 56)
			CHECK_EQ(giver.refused, minute > 56);
		pass(MINUTE);
	}
	CHECK(giver.runs > 10 && giver.runs < 20);
	pass(2 * MINUTE);
	check_fails(ERR_AWS_EXPIRED, "of profile p");
	CHECK_EQ(giver.refused, 1);
	end();
}

/* "New credentials are available at least five minutes before the expiration of the old ones." */
TEST_FIBER(keys_that_are_there_five_minutes_before_are_early_enough)
{
	REQUIRE(begin_with_the_same());
	CHECK_EQ(get(OK), 1);
	for (unsigned minute = 45; minute < 56; minute++) {
		pass(minute == 45 ? 45 * MINUTE : MINUTE);
		CHECK_EQ(get(OK), 1);
	}
	giver.same = false;
	giver.ends_s = 0;
	pass(MINUTE);
	CHECK(get(OK) > 1);
	CHECK_EQ(giver.refused, 0);
	end();
}

TEST_FIBER(keys_that_are_over_already_are_refused)
{
	REQUIRE(begin(-30));
	check_fails(ERR_AWS_EXPIRED, "of profile p expired 30 s ago, if this machine's clock");
	end();
}

static enum err ask_and_be_canceled(void *argument)
{
	struct aws_held *held = NULL;

	(void)argument;
	CHECK_ERR(aws_credentials_get(set, clock_after(MINUTE), &held), ERR_FIBER_CANCELED);
	CHECK(!held);
	return OK;
}

TEST_FIBER(who_renews_may_be_called_off_and_another_does_it)
{
	struct group *group = group_open();

	REQUIRE(begin(3600));
	giver.takes = 5 * NSEC_SECOND;
	CHECK_OK(group_spawn(group, "ask", FIBER_STACK_LARGE, ask_and_be_canceled, NULL));
	pass(NSEC_SECOND);
	group_cancel(group);
	CHECK_OK(group_join(&group));
	CHECK_EQ(get(OK), 2);
	end();
}

TEST_FIBER(who_waits_for_another_has_a_deadline)
{
	struct asker asker = { 0 };
	struct aws_held *held = NULL;
	struct group *group = group_open();

	REQUIRE(begin(3600));
	giver.takes = 30 * NSEC_SECOND;
	CHECK_OK(group_spawn(group, "ask", FIBER_STACK_LARGE, ask, &asker));
	pass(NSEC_SECOND);
	CHECK_ERR(aws_credentials_get(set, clock_after(NSEC_SECOND), &held), ERR_NET_TIMEOUT);
	err_note_clear();
	CHECK_OK(group_join(&group));
	CHECK_EQ(asker.got, 1);
	end();
}

TEST_FIBER(who_has_little_time_does_no_harm_to_others)
{
	struct asker asker = { 0 };
	struct aws_held *held = NULL;
	struct group *group = group_open();

	REQUIRE(begin(3600));
	giver.takes = 5 * NSEC_SECOND;
	CHECK_OK(group_spawn(group, "ask", FIBER_STACK_LARGE, ask, &asker));
	CHECK_ERR(aws_credentials_get(set, clock_after(NSEC_SECOND), &held), ERR_NET_TIMEOUT);
	CHECK(strstr(err_note()->text, "the giver was ended (there was no more time"));
	err_note_clear();
	CHECK_OK(group_join(&group));
	CHECK_EQ(asker.got, 2);
	/* With keys that are still good it gets those. */
	pass(51 * MINUTE);
	CHECK_OK(aws_credentials_get(set, clock_after(NSEC_SECOND), &held));
	aws_held_put(&held);
	CHECK_EQ(giver.runs, 3);
	CHECK_EQ(giver.refused, 0);
	pass(MINUTE);
	CHECK_EQ(get(OK), 4);
	end();
}

TEST_FIBER(an_end_in_the_far_future_is_taken_for_a_day_or_two)
{
	REQUIRE(begin((int64_t)200 * 365 * 24 * 3600));
	CHECK_EQ(get(OK), 1);
	pass(35 * HOUR);
	CHECK_EQ(get(OK), 1);
	pass(HOUR);
	CHECK_EQ(get(OK), 2);
	end();
}
