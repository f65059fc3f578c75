/* What a lane does of what the governor (engine/govern) says of its source and its sink, and, where
 * it runs alone, of what the source's own back-off says (engine/backoff). Not for: bandwidth
 * (lane_read's keep_pace), many mailboxes (engine/batch). */
#include "engine/backoff.h"
#include "engine/govern.h"
#include "engine/lane_state.h"
#include "engine/log.h"
#include "engine/govern_spend.h"

/* A rest that a server asks for and that is over sooner is waited for; for a longer one the run
 * ends, and the ledger remembers until when. Exchange Online asks for up to five minutes. */
#define REST_WAITED_FOR (10 * 60 * NSEC_SECOND)

static enum govern_way way_of(const struct lane *lane, const struct account *account)
{
	return account == lane->config->sink_account ? GOVERN_UP : GOVERN_DOWN;
}

/* ---- daily budgets ---- */

enum err lane_spend(struct lane *lane, const struct account *account, int64_t bytes)
{
	return spend_bytes(account, way_of(lane, account), bytes > 0 ? (uint64_t)bytes : 0);
}

/* ---- messages a second ---- */

enum err lane_take_turn(struct lane *lane, const struct account *account)
{
	nsec until;
	enum err e = OK;

	(void)lane;
	if (!account->govern)
		return OK;
	until = govern_message(account->govern, clock_now());
	while (e == OK && until > clock_now() && !lane_is_drained())
		e = fiber_sleep(min_nsec(until, clock_after(LANE_LOOK)));
	return e;
}

unsigned lane_pieces(const struct lane *lane)
{
	const struct account *account = lane->config->source_account;
	uint64_t a_second = account->govern ? govern_milli(account->govern) / 1000 : 0;

	if (!account->govern || !govern_milli(account->govern))
		return 1;
	return a_second >= PARCEL_MESSAGES ? 1 : PARCEL_MESSAGES / (unsigned)max_u64(a_second, 1);
}

/* ---- complaints and rests ---- */

/* So many conversations it had with us at once, and refused one more. They are opened side by side,
 * so only the end of the attempt knows how many those were. */
static void take_granted(struct lane *lane)
{
	unsigned granted = (unsigned)lane->connections_most, *refused;

	refused = &lane->progress->connections_refused;
	if (!lane->was_refused_a_further || !granted)
		return;
	if (!*refused || granted + 1 < *refused)
		*refused = granted + 1;
	if (lane->config->rest)
		backoff_granted(lane->config->rest, granted, clock_now());
}

void lane_tell_governor(struct lane *lane, enum err e)
{
	const struct account *account =
		lane->sink_failed ? lane->config->sink_account : lane->config->source_account;

	take_granted(lane);
	if (e == ERR_IMAP_THROTTLED && account->govern)
		govern_throttled(account->govern, err_note()->scope, clock_now());
}

static bool is_complaint(enum err e)
{
	return e == ERR_IMAP_THROTTLED || e == ERR_IMAP_UNAVAILABLE || e == ERR_IMAP_BYE;
}

/* As many conversations as it bears by now. */
static void fit_readers(struct lane *lane)
{
	unsigned most = lane->config->connections;

	lane->readers_max = (unsigned)min_u64(most, lane->config->rest->limit);
}

bool lane_may_go_on(struct lane *lane, enum err e, nsec *at)
{
	struct backoff *rest = lane->config->rest;
	unsigned in_use = (unsigned)max_u64(1, lane->progress->connections);
	nsec now = clock_now();
	nsec suggested = min_nsec(err_note()->retry_after, BACKOFF_SUGGESTED_MAX);
	uint64_t random;

	if (lane->sink_failed ||
	    !lane->receiving) { /* the sink's time, and nothing of the source */
		if (now + suggested > *at)
			*at = now + suggested;
		return lane->config->backoff_is_elsewhere || *at - now <= REST_WAITED_FOR;
	}
	if (!rest)
		return true;
	if (is_complaint(e)) {
		clock_random(&random, sizeof random);
		(void)backoff_throttled(rest, lane->began, now, in_use, err_note()->retry_after,
					random);
		if (rest->not_before > *at)
			*at = rest->not_before;
	}
	fit_readers(lane);
	return *at - now <= REST_WAITED_FOR;
}

void lane_worked(struct lane *lane)
{
	if (lane->config->rest)
		backoff_worked(lane->config->rest, lane->began, clock_now());
}

/* What an earlier run was told. */
static enum err wait_for_rest(struct lane *lane)
{
	struct backoff *rest = lane->config->rest;
	nsec now = clock_now();
	enum err e = OK;

	if (!rest)
		return OK;
	fit_readers(lane);
	if (rest->not_before - now > REST_WAITED_FOR) {
		err_retry_after(rest->not_before - now, ERR_OF_ACCOUNT);
		return RAISE(ERR_IMAP_THROTTLED,
			     "%s asked an earlier run to stay away; it may be asked again in %lld "
			     "minutes",
			     lane->config->source_account->shown,
			     (long long)((rest->not_before - now) / (60 * NSEC_SECOND) + 1));
	}
	if (rest->not_before > now)
		log_event(LOG_INFO, "lane.rest", "seconds=%lld",
			  (long long)((rest->not_before - now) / NSEC_SECOND + 1));
	while (e == OK && rest->not_before > clock_now() && !lane_is_drained())
		e = fiber_sleep(min_nsec(rest->not_before, clock_after(LANE_LOOK)));
	return e;
}

enum err lane_may_begin(struct lane *lane)
{
	enum err e;

	if ((e = spend_look(lane->config->source_account, GOVERN_DOWN)) ||
	    (e = spend_look(lane->config->sink_account, GOVERN_UP)))
		return e;
	return wait_for_rest(lane);
}
