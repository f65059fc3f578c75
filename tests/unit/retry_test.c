/* Which errors are tried again, how often, how late. */
#include "tests/test.h"

#include "engine/clock.h"
#include "engine/retry.h"

enum { ROUNDS = 200 };

/* The longest wait met before attempt `failures` + 1 over many rounds, in ns. */
static nsec longest_wait(enum err e, unsigned failures)
{
	nsec longest = 0, at = 0, now, wait;

	for (int round = 0; round < ROUNDS; round++) {
		struct retry retry = { .failures = failures - 1 };

		now = clock_now();
		CHECK(retry_again(&retry, e, &at));
		CHECK(at >= now);
		CHECK_EQ(retry.failures, failures);
		wait = at - clock_now(); /* at most the jitter that was thrown */
		longest = wait > longest ? wait : longest;
	}
	return longest;
}

TEST(backoff_doubles_from_half_a_second_with_full_jitter)
{
	nsec bound = NSEC_SECOND / 2, longest;

	for (unsigned failures = 1; failures < 8; failures++, bound *= 2) {
		longest = longest_wait(ERR_IMAP_THROTTLED, failures);
		CHECK(longest <= min_nsec(bound, 60 * NSEC_SECOND));
		/* 200 throws all in the lower nine tenths: once in 10^9 runs. */
		CHECK(longest > min_nsec(bound, 60 * NSEC_SECOND) * 9 / 10);
	}
}

TEST(a_reconnect_waits_a_tenth_of_that)
{
	nsec longest = longest_wait(ERR_NET_CLOSED, 4);

	CHECK(longest <= 4 * NSEC_SECOND / 10);
	CHECK(longest > 4 * NSEC_SECOND / 10 * 9 / 10);
}

TEST(eight_failures_without_progress_are_the_end)
{
	struct retry retry = { 0 };
	nsec at;

	for (int i = 1; i < 8; i++)
		CHECK(retry_again(&retry, ERR_NET_RESET, &at));
	CHECK(!retry_again(&retry, ERR_NET_RESET, &at));
	CHECK(!retry_again(&retry, ERR_NET_RESET, &at));
	retry_progress(&retry);
	CHECK(retry_again(&retry, ERR_NET_RESET, &at));
	CHECK_EQ(retry.failures, 1u);
}

TEST(only_the_classes_that_say_so_are_tried_again)
{
	nsec at;

	for (unsigned i = 0; i < ERR_COUNT; i++) {
		struct retry retry = { 0 };
		enum err_retry its_class = err_retry_class((enum err)i);
		bool expected = its_class == RETRY_NOW || its_class == RETRY_RECONNECT ||
				its_class == RETRY_BACKOFF;

		CHECK(retry_again(&retry, (enum err)i, &at) == expected);
		CHECK_EQ(retry.failures, expected);
	}
}

TEST(backoff_is_not_tried_again_where_somebody_else_knows_when_to_come_back)
{
	struct retry retry = { .backoff_is_elsewhere = true };
	nsec at;

	CHECK(!retry_again(&retry, ERR_IMAP_THROTTLED, &at));
	CHECK(!retry_again(&retry, ERR_NET_REFUSED, &at));
	CHECK_EQ(retry.failures, 0u);
	CHECK(retry_again(&retry, ERR_NET_RESET, &at));
	CHECK_EQ(retry.failures, 1u);
	retry_progress(&retry);
	CHECK(retry.backoff_is_elsewhere);
}
