#include "transport/aws_credentials.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "crypto/secret.h"
#include "engine/clock.h"
#include "engine/fiber.h"
#include "engine/log.h"

#define ADVISORY     (15 * 60 * NSEC_SECOND) /* before their end, as AWS's own tools do it */
#define MANDATORY    (10 * 60 * NSEC_SECOND)
#define LATE	     (4 * 60 * NSEC_SECOND) /* metadata has new ones five minutes before it */
#define MARGIN	     (5 * NSEC_SECOND)	    /* a request takes time to arrive */
#define REFUSED_FOR  (60 * NSEC_SECOND)
#define FAILED_FOR   (10 * NSEC_SECOND)
#define REQUEST_TIME (60 * NSEC_SECOND)	  /* of a renewal: several requests, a program */
#define LIFE_S_MAX   ((int64_t)36 * 3600) /* AWS gives none for longer */
#define LOOK	     (20 * NSEC_MILLISECOND)

struct aws_held {
	atomic_uint refs;
	void *room; /* guarded: struct aws_keys */
};

struct aws_credentials {
	struct aws_credentials_config config;
	pthread_mutex_t lock; /* of what follows; never held while anybody waits */
	struct aws_held *held;
	/* The ones that a service says are expired; reading them again is no renewal. */
	struct aws_held *dropped;
	nsec renew_at, must_at, late_at, ends_at; /* of `held` */
	char from[AWS_FROM_BYTES];		  /* "": there never were any */
	bool busy;				  /* somebody renews */
	bool refused;				  /* and the run was told */
	enum err failed; /* of the last renewal, until then; OK: it did not fail */
	nsec failed_until;
	char why[ERR_NOTE_BYTES_MAX];
};

/* ---- keys that are held ---- */

static const struct aws_keys *keys_of(const struct aws_held *held)
{
	return held->room;
}

struct sigv4_credentials aws_held_credentials(const struct aws_held *held)
{
	return aws_keys_credentials(keys_of(held));
}

static struct aws_held *held_ref(struct aws_held *held)
{
	atomic_fetch_add(&held->refs, 1);
	return held;
}

void aws_held_put(struct aws_held **taken)
{
	struct aws_held *held = *taken;

	*taken = NULL;
	if (!held || atomic_fetch_sub(&held->refs, 1) > 1)
		return;
	secret_room_close(&held->room);
	free(held);
}

/* NULL: no memory. */
static struct aws_held *held_new(void)
{
	struct aws_held *held = calloc(1, sizeof *held);

	if (held && !(held->room = secret_room_open(sizeof(struct aws_keys)))) {
		free(held);
		held = NULL;
	}
	if (held)
		atomic_init(&held->refs, 1);
	return held;
}

/* ---- the set ---- */

static void lock(struct aws_credentials *set)
{
	must(pthread_mutex_lock(&set->lock) == 0);
}

static void unlock(struct aws_credentials *set)
{
	must(pthread_mutex_unlock(&set->lock) == 0);
}

enum err aws_credentials_open(const struct aws_credentials_config *config,
			      struct aws_credentials **out)
{
	struct aws_credentials *set = calloc(1, sizeof *set);

	*out = set;
	if (!set)
		return RAISE(ERR_MEMORY_EXHAUSTED, "keeping AWS credentials");
	set->config = *config;
	must(pthread_mutex_init(&set->lock, NULL) == 0);
	return OK;
}

void aws_credentials_close(struct aws_credentials **closing)
{
	struct aws_credentials *set = *closing;

	*closing = NULL;
	if (!set)
		return;
	must(!set->busy);
	aws_held_put(&set->held);
	aws_held_put(&set->dropped);
	must(pthread_mutex_destroy(&set->lock) == 0);
	free(set);
}

void aws_credentials_drop(struct aws_credentials *set, const struct aws_held *held)
{
	lock(set);
	if (set->held == held) {
		aws_held_put(&set->dropped);
		set->dropped = set->held;
		set->held = NULL;
		set->failed = OK;
	}
	unlock(set);
}

/* ---- renewing ---- */

static bool may_pass(enum err e)
{
	return err_retry_class(e) == RETRY_BACKOFF || err_retry_class(e) == RETRY_RECONNECT;
}

/* How long they are good for, from now on. */
static enum err life_of(const struct aws_keys *keys, const char *from, nsec *life)
{
	int64_t seconds;

	*life = DEADLINE_NEVER;
	if (keys->expires_s == 0)
		return OK;
	seconds = keys->expires_s - clock_wall() / NSEC_SECOND;
	*life = (seconds < LIFE_S_MAX ? seconds : LIFE_S_MAX) * NSEC_SECOND;
	if (seconds > 0)
		return OK;
	return RAISE(ERR_AWS_EXPIRED,
		     "the AWS credentials of %.250s expired %lld s ago, if this machine's clock is "
		     "right",
		     from, (long long)-seconds);
}

static void keep(struct aws_credentials *set, struct aws_held *held, nsec life)
{
	aws_held_put(&set->held);
	aws_held_put(&set->dropped);
	set->held = held;
	set->failed = OK;
	set->renew_at = set->must_at = set->late_at = set->ends_at = DEADLINE_NEVER;
	if (life == DEADLINE_NEVER)
		return;
	set->ends_at = clock_after(life);
	set->renew_at = set->ends_at - min_nsec(ADVISORY, life / 3);
	set->must_at = set->ends_at - min_nsec(MANDATORY, life / 6);
	set->late_at = set->ends_at - min_nsec(LATE, life / 6);
	set->ends_at -= min_nsec(MARGIN, life / 12);
}

/* The environment never has others; metadata and programs have the same for a while. */
static bool are_no_newer(const struct aws_credentials *set, const struct aws_keys *keys, nsec life)
{
	return set->held && aws_keys_equal(keys, keys_of(set->held)) &&
	       life <= set->ends_at - clock_now() + 2 * MARGIN;
}

/* When to ask again: not behind the moment in which it is decided whether the run is told. Keys
 * that live for minutes have it sooner than the usual pause is over. */
static nsec ask_at(nsec pause, nsec decided_at)
{
	nsec at = clock_after(pause);

	return clock_now() < decided_at ? min_nsec(at, decided_at) : at;
}

static enum err ask_again_later(struct aws_credentials *set, const char *from, nsec life)
{
	if (clock_now() >= set->late_at)
		return RAISE(
			ERR_AWS_EXPIRED,
			"the AWS credentials of %.250s end in %lld s, and there are no newer ones",
			from, (long long)(life / NSEC_SECOND));
	set->renew_at = ask_at(REFUSED_FOR, set->late_at);
	return OK;
}

/* A file that is just being written may seem empty, and the chain goes on to somebody else's keys.
 */
static enum err check_from(const struct aws_credentials *set, const char *from)
{
	if (!*set->from || strcmp(set->from, from) == 0)
		return OK;
	return RAISE(
		ERR_AWS_REFUSED,
		"the AWS credentials of this run were those of %.140s, and now there are those of "
		"%.140s; if that is meant, start it again",
		set->from, from);
}

/* Under the lock. */
static enum err take_new(struct aws_credentials *set, struct aws_held **held, const char *from)
{
	nsec life;
	enum err e;

	if ((e = check_from(set, from)))
		return e;
	if (set->dropped && aws_keys_equal(keys_of(*held), keys_of(set->dropped)))
		return RAISE(ERR_AWS_EXPIRED,
			     "AWS says that the credentials of %.250s have expired, and there are "
			     "no others",
			     from);
	if ((e = life_of(keys_of(*held), from, &life)))
		return e;
	if (are_no_newer(set, keys_of(*held), life))
		return ask_again_later(set, from, life);
	keep(set, *held, life);
	snprintf(set->from, sizeof set->from, "%s", from);
	*held = NULL;
	log_event(LOG_INFO, "aws.credentials", "!from=\"%s\" seconds=%lld", from,
		  life == DEADLINE_NEVER ? -1LL : (long long)(life / NSEC_SECOND));
	return OK;
}

/* Under the lock. Whether the run is to be told: not before the keys' end is near, because a
 * program that fails and a service that refuses may do better in a minute. */
static bool take_failure(struct aws_credentials *set, enum err e)
{
	bool had_some = set->held || set->dropped;
	bool is_near = !set->held || clock_now() >= set->must_at, tell;

	set->failed = had_some && !may_pass(e) ? ERR_AWS_EXPIRED : e;
	set->failed_until =
		ask_at(may_pass(e) ? FAILED_FOR : REFUSED_FOR, set->held ? set->must_at : 0);
	snprintf(set->why, sizeof set->why, "%s", err_note()->text);
	log_error(LOG_WARN, "aws.credentials", e);
	err_note_clear();
	tell = set->failed == ERR_AWS_EXPIRED && had_some && is_near && !set->refused;
	set->refused |= tell;
	return tell;
}

static bool is_usable(const struct aws_credentials *set)
{
	return set->held && clock_now() < set->ends_at;
}

/* What fails at a caller's own deadline says nothing of who gives the keys. */
static enum err blame_deadline(enum err e, nsec until)
{
	char said[ERR_NOTE_BYTES_MAX];

	if (!e || e == ERR_FIBER_CANCELED || clock_now() < until)
		return e;
	snprintf(said, sizeof said, "%s", err_note()->text);
	err_note_clear();
	return RAISE(ERR_NET_TIMEOUT, "%.300s (there was no more time for AWS credentials)", said);
}

static enum err renew(struct aws_credentials *set, bool renewal, nsec until)
{
	struct aws_held *held = held_new();
	char from[AWS_FROM_BYTES] = "";
	bool tell = false, is_over;
	enum err e;

	if (held)
		e = aws_chain_fetch(&set->config.chain, renewal,
				    min_nsec(until, clock_after(REQUEST_TIME)), held->room, from);
	else
		e = RAISE(ERR_MEMORY_EXHAUSTED, "keeping AWS credentials");
	e = blame_deadline(e, until);
	lock(set);
	if (!e)
		e = take_new(set, &held, from);
	/* Others may have more time, and need not hear of it. */
	is_over = e == ERR_FIBER_CANCELED || (e && clock_now() >= until && !is_usable(set));
	if (e && !is_over)
		tell = take_failure(set, e);
	set->busy = false;
	unlock(set);
	aws_held_put(&held);
	if (tell && set->config.refused)
		set->config.refused(set->config.context);
	return is_over ? e : OK;
}

/* ---- getting them ---- */

enum move { MOVE_TAKE, MOVE_RENEW, MOVE_WAIT, MOVE_FAIL };

/* Under the lock. */
static enum move choose(const struct aws_credentials *set, nsec now)
{
	bool usable = is_usable(set);
	bool rests = set->failed && now < set->failed_until;

	if (usable && (now < set->renew_at || rests))
		return MOVE_TAKE;
	if (set->busy)
		return usable && now < set->must_at ? MOVE_TAKE : MOVE_WAIT;
	return rests ? MOVE_FAIL : MOVE_RENEW;
}

static enum err wait_a_moment(nsec until)
{
	if (clock_now() >= until)
		return RAISE(ERR_NET_TIMEOUT, "waiting for AWS credentials that are asked for");
	return fiber_sleep(min_nsec(until, clock_after(LOOK)));
}

/* One look at the set; *again: it has to be looked at once more. */
static enum err step(struct aws_credentials *set, nsec until, struct aws_held **out, bool *again)
{
	enum move move;
	bool renewal;
	enum err e = OK;

	lock(set);
	renewal = set->held || set->dropped;
	move = choose(set, clock_now());
	*again = move == MOVE_RENEW || move == MOVE_WAIT;
	if (move == MOVE_TAKE)
		*out = held_ref(set->held);
	else if (move == MOVE_FAIL)
		e = RAISE(set->failed, "%s", set->why);
	else if (move == MOVE_RENEW)
		set->busy = true;
	unlock(set);
	if (move == MOVE_RENEW)
		e = renew(set, renewal, until);
	else if (move == MOVE_WAIT)
		e = wait_a_moment(until);
	return e;
}

enum err aws_credentials_get(struct aws_credentials *set, nsec until, struct aws_held **out)
{
	bool again = true;
	enum err e = OK;

	*out = NULL;
	while (!e && again)
		e = step(set, until, out, &again);
	return e;
}
