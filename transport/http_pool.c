/* Kept connections: see http_pool.h.
 *
 * A place has `connections_max` slots. Who has a connection, or is opening one, has a slot, and so
 * has an idle connection. While somebody waits, no slot is free and nothing is idle: whatever is
 * given back goes to the first who waits, and nobody who comes later can be faster. */
#include "transport/http_pool.h"

#include <stdlib.h>

#include "engine/clock.h"
#include "engine/fiber.h"

enum { POOL_MAGIC = 0x4779001 };

struct idle {
	struct http *http;
	nsec until;
};

/* On the stack of a fiber that waits. */
struct waiter {
	struct waiter *next;
	struct wait_queue woken;
	bool has_slot;
	struct http *http; /* that comes with it; NULL: open one */
};

struct place {
	struct place *next;
	struct account account; /* texts are ours */
	unsigned slots;		/* taken */
	struct waiter *first, **last;
	unsigned idle_count;
	struct idle idle[]; /* the one used last comes last */
};

struct http_pool {
	uint32_t magic;
	unsigned connections_max;
	struct place *places;
	struct http_pool_counts counts; /* of what only grows */
};

/* ---- places ---- */

static bool same_text(const char *a, const char *b)
{
	return a == b || (a && b && strcmp(a, b) == 0);
}

static bool is_for(const struct place *place, const struct account *account)
{
	const struct account *mine = &place->account;

	return mine->port == account->port && same_text(mine->host, account->host) &&
	       same_text(mine->ca_file, account->ca_file) && same_text(mine->key, account->key) &&
	       mine->route == account->route && mine->io_timeout == account->io_timeout &&
	       mine->connect_timeout == account->connect_timeout && mine->met == account->met &&
	       mine->met_context == account->met_context && mine->parted == account->parted &&
	       mine->parted_context == account->parted_context && mine->heard == account->heard;
}

static void place_free(struct place *place)
{
	free((char *)(uintptr_t)place->account.host); /* ours, const for everybody else */
	free((char *)(uintptr_t)place->account.ca_file);
	free((char *)(uintptr_t)place->account.key);
	free(place);
}

static enum err place_open(struct http_pool *pool, const struct account *account,
			   struct place **out)
{
	struct place *place =
		calloc(1, sizeof *place + pool->connections_max * sizeof place->idle[0]);

	*out = place;
	if (!place)
		return RAISE(ERR_MEMORY_EXHAUSTED, "connections to %s", account->host);
	place->account = (struct account){
		.scheme = "https",
		.user = "",
		.host = strdup(account->host),
		.port = account->port,
		.ca_file = account->ca_file ? strdup(account->ca_file) : NULL,
		.key = account->key ? strdup(account->key) : NULL,
		.io_timeout = account->io_timeout,
		.connect_timeout = account->connect_timeout,
		.route = account->route,
		.met = account->met,
		.met_context = account->met_context,
		.parted = account->parted,
		.parted_context = account->parted_context,
		.heard = account->heard,
	};
	if (!place->account.host || (account->ca_file && !place->account.ca_file) ||
	    (account->key && !place->account.key)) {
		place_free(place);
		return RAISE(ERR_MEMORY_EXHAUSTED, "connections to %s", account->host);
	}
	place->last = &place->first;
	place->next = pool->places;
	pool->places = place;
	return OK;
}

static enum err place_find(struct http_pool *pool, const struct account *account,
			   struct place **out)
{
	for (*out = pool->places; *out; *out = (*out)->next)
		if (is_for(*out, account))
			return OK;
	return place_open(pool, account, out);
}

/* One that nobody uses is forgotten, so there are never more than connections. */
static void forget_unused(struct http_pool *pool)
{
	struct place **at = &pool->places, *place;

	while ((place = *at)) {
		if (place->slots > 0) {
			at = &place->next;
			continue;
		}
		must(place->idle_count == 0 && !place->first);
		*at = place->next;
		place_free(place);
	}
}

/* ---- slots ---- */

/* How long it may be idle. The server began to count when it sent the answer's end. */
static nsec idle_max(const struct http *http)
{
	nsec keeps_for = http_keeps_for(http);

	return keeps_for ? min_nsec(HTTP_IDLE_MAX, keeps_for / 4 * 3) : HTTP_IDLE_MAX;
}

/* A slot is free, perhaps with a connection: the first who waits has it. Else what can be kept is
 * idle. */
static void pass_on(struct place *place, struct http *http)
{
	struct waiter *waiter = place->first;

	if (waiter) {
		if (!(place->first = waiter->next))
			place->last = &place->first;
		waiter->has_slot = true;
		waiter->http = http;
		wake_one(&waiter->woken);
	} else if (http) {
		http_rest(http);
		place->idle[place->idle_count++] =
			(struct idle){ http, clock_after(idle_max(http)) };
	} else {
		place->slots--;
	}
}

static void stop_waiting(struct place *place, struct waiter *waiter)
{
	struct waiter **at = &place->first;

	while (*at != waiter)
		at = &(*at)->next;
	if (!(*at = waiter->next))
		place->last = at;
}

static enum err await_slot(struct place *place, nsec until, struct http **http)
{
	struct waiter waiter = { .next = NULL };
	enum err e = OK;

	*place->last = &waiter;
	place->last = &waiter.next;
	while (!e && !waiter.has_slot)
		e = wait_on(&waiter.woken, until);
	*http = waiter.http;
	if (waiter.has_slot && e == ERR_FIBER_CANCELED)
		pass_on(place, waiter.http); /* to whom it is of use */
	if (waiter.has_slot)
		return e == ERR_FIBER_TIMEOUT ? OK : e;
	stop_waiting(place, &waiter);
	if (e == ERR_FIBER_TIMEOUT)
		return RAISE(ERR_NET_TIMEOUT,
			     "waiting for one of %u connections to %s: none was free in time",
			     place->slots, place->account.host);
	return e;
}

/* The one used last, so that those too many grow old. */
static struct http *pop_idle(struct place *place)
{
	return place->idle_count ? place->idle[--place->idle_count].http : NULL;
}

/* A slot, perhaps with a connection. */
static enum err take_slot(struct http_pool *pool, struct place *place, nsec until,
			  struct http **http)
{
	if ((*http = pop_idle(place)))
		return OK;
	if (place->slots == pool->connections_max)
		return await_slot(place, until, http);
	place->slots++;
	return OK;
}

/* ---- idle ones ---- */

/* Those that are old at `now`. Servers hear no goodbye, which RFC 9112 section 9.8 wants: it
 * protects what is on its way, and nothing is; and it would have to be waited for. */
static void drop_idle(struct place *place, nsec now)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < place->idle_count; i++) {
		if (place->idle[i].until > now) {
			place->idle[kept++] = place->idle[i];
			continue;
		}
		must(!place->first); /* or it would have been passed on */
		http_close(&place->idle[i].http);
		place->slots--;
	}
	place->idle_count = kept;
}

static void drop_old(struct http_pool *pool)
{
	nsec now = clock_now();

	for (struct place *place = pool->places; place; place = place->next)
		drop_idle(place, now);
}

/* ---- the pool ---- */

enum err http_pool_open(unsigned connections_max, struct http_pool **out)
{
	struct http_pool *pool = calloc(1, sizeof *pool);

	must(connections_max > 0);
	*out = pool;
	if (!pool)
		return RAISE(ERR_MEMORY_EXHAUSTED, "a pool of HTTP connections");
	pool->magic = POOL_MAGIC;
	pool->connections_max = connections_max;
	return OK;
}

/* With a slot. A kept connection that the server has ended makes room for the next. */
static enum err find_or_connect(struct http_pool *pool, struct place *place, nsec until,
				struct http **http)
{
	while (*http && !http_is_live(*http)) {
		http_close(http);
		if ((*http = pop_idle(place)))
			place->slots--;
	}
	if (*http) {
		pool->counts.kept++;
		return OK;
	}
	pool->counts.opened++;
	return http_open(&place->account, until, http);
}

enum err http_pool_take(struct http_pool *pool, const struct account *account, nsec until,
			struct http **out)
{
	struct place *place;
	enum err e;

	MAGIC_CHECK(pool, POOL_MAGIC);
	*out = NULL;
	drop_old(pool);
	forget_unused(pool);
	if ((e = place_find(pool, account, &place)) || (e = take_slot(pool, place, until, out))) {
		*out = NULL;
		return e;
	}
	if ((e = find_or_connect(pool, place, until, out)))
		pass_on(place, NULL);
	return e;
}

void http_pool_give(struct http_pool *pool, struct http **giving)
{
	struct http *http = *giving;
	struct place *place = pool->places;

	MAGIC_CHECK(pool, POOL_MAGIC);
	*giving = NULL;
	if (!http)
		return;
	while (&place->account != http_account(http))
		place = place->next;
	if (http_was_stale(http))
		drop_idle(place, DEADLINE_NEVER); /* all: they are no younger */
	if (!http_is_open(http))
		http_close(&http);
	pass_on(place, http);
	drop_old(pool);
}

void http_pool_finish(struct http_pool *pool, nsec until)
{
	struct http *http;

	MAGIC_CHECK(pool, POOL_MAGIC);
	for (struct place *place = pool->places; place;) {
		if (!(http = pop_idle(place))) {
			place = place->next;
			continue;
		}
		if (http_finish(http, until))
			err_note_clear();
		http_close(&http);
		pass_on(place, NULL);
	}
}

void http_pool_close(struct http_pool **closing)
{
	struct http_pool *pool = *closing;

	if (!pool)
		return;
	MAGIC_CHECK(pool, POOL_MAGIC);
	for (struct place *place = pool->places; place; place = place->next)
		drop_idle(place, DEADLINE_NEVER);
	forget_unused(pool);
	must(!pool->places);
	free(pool);
	*closing = NULL;
}

struct http_pool_counts http_pool_counts(const struct http_pool *pool)
{
	struct http_pool_counts counts = pool->counts;

	MAGIC_CHECK(pool, POOL_MAGIC);
	counts.lent = counts.idle = counts.waiting = counts.places = 0;
	for (const struct place *place = pool->places; place; place = place->next) {
		counts.places++;
		counts.idle += place->idle_count;
		counts.lent += place->slots - place->idle_count;
		for (const struct waiter *waiter = place->first; waiter; waiter = waiter->next)
			counts.waiting++;
	}
	return counts;
}
