/* govern.h: hosts and accounts by name, behind one lock. */
#include "engine/govern.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/rate.h"

#define ADD_UP_EVERY (100 * NSEC_MILLISECOND)

enum { SHELVES_FIRST = 64 };

/* A host or an account. Lives as long as the governor: what was learnt outlives a lane. */
struct peer_known {
	char *name;
	struct peer_known *next;	     /* on its shelf */
	struct peer_known *next_changed;     /* to be told to the ledger */
	struct ration *rations[GOVERN_WAYS]; /* NULL: nothing was spent, and there is no ration */
	struct rate rate;
	atomic_bool is_bounded; /* a rate or a ration holds: the lock has to be taken */
	bool of_account, is_queued;
	bool changed[1 + GOVERN_WAYS]; /* the rate; the rations */
};

struct governor {
	pthread_mutex_t lock;
	struct peer_known **shelves;
	size_t shelves_count, known_count;
	struct peer_known *changed;
};

struct govern {
	struct governor *governor;
	struct peer_known *host, *account;
	unsigned counted; /* messages, not added up yet */
	nsec added_at;
};

enum lesson_no { LESSON_RATE, LESSON_DOWN, LESSON_UP };
static const char *const ration_kinds[GOVERN_WAYS] = { "bytes-down", "bytes-up" };

static void lock(struct governor *g)
{
	must(pthread_mutex_lock(&g->lock) == 0);
}

static void unlock(struct governor *g)
{
	must(pthread_mutex_unlock(&g->lock) == 0);
}

/* ---- names ---- */

/* FNV-1a; hosts and accounts of one name are two. */
static uint64_t hash_of(const char *name, bool of_account)
{
	uint64_t hash = UINT64_C(14695981039346656037) + of_account;

	for (; *name; name++)
		hash = (hash ^ (unsigned char)*name) * UINT64_C(1099511628211);
	return hash;
}

static enum err add_shelves(struct governor *g)
{
	size_t count = g->shelves_count ? 2 * g->shelves_count : SHELVES_FIRST;
	struct peer_known **shelves = calloc(count, sizeof(struct peer_known *)), *next;

	if (!shelves)
		return RAISE(ERR_MEMORY_EXHAUSTED, "remembering %zu accounts", count);
	for (size_t i = 0; i < g->shelves_count; i++)
		for (struct peer_known *at = g->shelves[i]; at; at = next) {
			struct peer_known **to =
				&shelves[hash_of(at->name, at->of_account) % count];

			next = at->next;
			at->next = *to;
			*to = at;
		}
	free(g->shelves);
	g->shelves = shelves;
	g->shelves_count = count;
	return OK;
}

static enum err know(struct governor *g, const char *name, bool of_account, nsec now,
		     struct peer_known **out)
{
	size_t bytes = strnlen(name, GOVERN_NAME_BYTES_MAX);
	struct peer_known *made, **shelf;
	enum err e;

	shelf = &g->shelves[hash_of(name, of_account) % g->shelves_count];
	for (*out = *shelf; *out; *out = (*out)->next)
		if ((*out)->of_account == of_account &&
		    strncmp((*out)->name, name, GOVERN_NAME_BYTES_MAX) == 0)
			return OK;
	if (g->known_count >= g->shelves_count && (e = add_shelves(g)))
		return e;
	made = calloc(1, sizeof *made);
	if (!made || !(made->name = strndup(name, bytes))) {
		free(made);
		return RAISE(ERR_MEMORY_EXHAUSTED, "remembering an account");
	}
	made->of_account = of_account;
	rate_init(&made->rate, 0, now);
	shelf = &g->shelves[hash_of(name, of_account) % g->shelves_count];
	made->next = *shelf;
	*shelf = *out = made;
	g->known_count++;
	return OK;
}

static void changed(struct governor *g, struct peer_known *peer, enum lesson_no what)
{
	peer->changed[what] = true;
	if (peer->is_queued)
		return;
	peer->is_queued = true;
	peer->next_changed = g->changed;
	g->changed = peer;
}

/* The lock need not be taken as long as nothing holds. */
static void look_if_bounded(struct peer_known *peer)
{
	bool bounded = rate_milli(&peer->rate) != 0;

	for (unsigned way = 0; way < GOVERN_WAYS; way++)
		bounded |= peer->rations[way] != NULL;
	atomic_store(&peer->is_bounded, bounded);
}

/* ---- open and close ---- */

enum err governor_open(struct governor **out)
{
	struct governor *g = calloc(1, sizeof *g);
	enum err e;

	*out = g;
	if (!g)
		return RAISE(ERR_MEMORY_EXHAUSTED, "setting up the governor");
	must(pthread_mutex_init(&g->lock, NULL) == 0);
	if ((e = add_shelves(g)))
		governor_close(out);
	return e;
}

void governor_close(struct governor **governor)
{
	struct governor *g = *governor;
	struct peer_known *next;

	*governor = NULL;
	if (!g)
		return;
	for (size_t i = 0; i < g->shelves_count; i++)
		for (struct peer_known *at = g->shelves[i]; at; at = next) {
			next = at->next;
			for (unsigned way = 0; way < GOVERN_WAYS; way++)
				free(at->rations[way]);
			free(at->name);
			free(at);
		}
	must(pthread_mutex_destroy(&g->lock) == 0);
	free(g->shelves);
	free(g);
}

static enum err need_ration(struct peer_known *peer, enum govern_way way)
{
	if (peer->rations[way])
		return OK;
	peer->rations[way] = calloc(1, sizeof *peer->rations[way]);
	return peer->rations[way] ? OK : RAISE(ERR_MEMORY_EXHAUSTED, "remembering a ration");
}

static enum err set_limits(struct peer_known *account, const struct govern_limits *limits)
{
	enum err e;

	rate_bound(&account->rate, limits->messages_milli);
	for (enum govern_way way = 0; way < GOVERN_WAYS; way++) {
		if (limits->bytes_a_day[way] && (e = need_ration(account, way)))
			return e;
		if (account->rations[way])
			account->rations[way]->bytes_a_day = limits->bytes_a_day[way];
	}
	look_if_bounded(account);
	return OK;
}

enum err govern_open(struct governor *g, const char *host, const char *account,
		     const struct govern_limits *limits, nsec now, struct govern **out)
{
	struct govern *made = calloc(1, sizeof *made);
	enum err e;

	*out = made;
	if (!made)
		return RAISE(ERR_MEMORY_EXHAUSTED, "governing an account");
	*made = (struct govern){ .governor = g, .added_at = now };
	lock(g);
	if ((e = know(g, host, false, now, &made->host)) == OK &&
	    (e = know(g, account, true, now, &made->account)) == OK)
		e = set_limits(made->account, limits);
	unlock(g);
	if (e) {
		free(made);
		*out = NULL;
	}
	return e;
}

void govern_close(struct govern **govern)
{
	free(*govern);
	*govern = NULL;
}

/* ---- messages ---- */

static bool is_bounded(const struct govern *govern)
{
	return atomic_load_explicit(&govern->account->is_bounded, memory_order_relaxed) ||
	       atomic_load_explicit(&govern->host->is_bounded, memory_order_relaxed);
}

/* A rate that grew, or was forgotten, is a change worth telling. */
static nsec take(struct governor *g, struct peer_known *peer, unsigned messages, nsec now)
{
	uint64_t before = peer->rate.limit_milli;
	nsec until = rate_take(&peer->rate, messages, now);

	if (peer->rate.limit_milli != before) {
		changed(g, peer, LESSON_RATE);
		look_if_bounded(peer);
	}
	return until;
}

nsec govern_message(struct govern *govern, nsec now)
{
	nsec by_host, by_account;

	govern->counted++;
	if (!is_bounded(govern) && now - govern->added_at < ADD_UP_EVERY)
		return now;
	lock(govern->governor);
	by_host = take(govern->governor, govern->host, govern->counted, now);
	by_account = take(govern->governor, govern->account, govern->counted, now);
	unlock(govern->governor);
	govern->counted = 0;
	govern->added_at = now;
	return by_host > by_account ? by_host : by_account;
}

uint64_t govern_milli(const struct govern *govern)
{
	uint64_t by_host, by_account;

	if (!is_bounded(govern))
		return 0;
	lock(govern->governor);
	by_host = rate_milli(&govern->host->rate);
	by_account = rate_milli(&govern->account->rate);
	unlock(govern->governor);
	return by_host && by_account ? min_u64(by_host, by_account) : by_host + by_account;
}

void govern_throttled(struct govern *govern, enum err_scope scope, nsec now)
{
	struct peer_known *peer = scope == ERR_OF_HOST ? govern->host : govern->account;

	lock(govern->governor);
	/* Those that were not added up yet were what it complains of. */
	(void)!take(govern->governor, govern->host, govern->counted, now);
	(void)!take(govern->governor, govern->account, govern->counted, now);
	govern->counted = 0;
	govern->added_at = now;
	if (rate_throttled(&peer->rate, now)) {
		changed(govern->governor, peer, LESSON_RATE);
		look_if_bounded(peer);
	}
	unlock(govern->governor);
}

/* ---- bytes ---- */

bool govern_has_room(struct govern *govern, enum govern_way way, uint64_t bytes, int64_t wall_s,
		     int64_t *free_s)
{
	bool has_room;

	*free_s = wall_s;
	if (!is_bounded(govern))
		return true;
	lock(govern->governor);
	has_room = !govern->account->rations[way] ||
		   ration_has_room(govern->account->rations[way], bytes, wall_s, free_s);
	unlock(govern->governor);
	return has_room;
}

void govern_spend(struct govern *govern, enum govern_way way, uint64_t bytes, int64_t wall_s)
{
	if (!is_bounded(govern) || !bytes)
		return;
	lock(govern->governor);
	if (govern->account->rations[way]) {
		ration_spend(govern->account->rations[way], bytes, wall_s);
		changed(govern->governor, govern->account, LESSON_DOWN + way);
	}
	unlock(govern->governor);
}

/* ---- the ledger's memory ---- */

static void tell_rate(const struct peer_known *peer, struct govern_lesson *lesson)
{
	struct rate_saved saved = rate_save(&peer->rate);

	snprintf(lesson->kind, sizeof lesson->kind, "%s",
		 peer->of_account ? "pace-account" : "pace-host");
	if (saved.limit_milli)
		snprintf(lesson->text, sizeof lesson->text, "milli=%llu refused=%llu",
			 (unsigned long long)saved.limit_milli,
			 (unsigned long long)saved.refused_milli);
}

/* One thing of a peer; a peer that has more to tell stays first in the queue. */
static bool tell(struct peer_known *peer, int64_t wall_s, struct govern_lesson *lesson)
{
	*lesson = (struct govern_lesson){ 0 };
	snprintf(lesson->name, sizeof lesson->name, "%s", peer->name);
	if (peer->changed[LESSON_RATE]) {
		peer->changed[LESSON_RATE] = false;
		tell_rate(peer, lesson);
		return true;
	}
	for (enum govern_way way = 0; way < GOVERN_WAYS; way++) {
		if (!peer->changed[LESSON_DOWN + way])
			continue;
		peer->changed[LESSON_DOWN + way] = false;
		snprintf(lesson->kind, sizeof lesson->kind, "%s", ration_kinds[way]);
		ration_save(peer->rations[way], wall_s, lesson->text);
		return true;
	}
	return false;
}

bool governor_changed(struct governor *g, int64_t wall_s, struct govern_lesson *lesson)
{
	bool told = false;

	lock(g);
	while (g->changed && !(told = tell(g->changed, wall_s, lesson))) {
		struct peer_known *done = g->changed;

		g->changed = done->next_changed;
		done->is_queued = false;
	}
	unlock(g);
	return told;
}

static bool parse_rate(const char *text, struct rate_saved *saved)
{
	unsigned long long milli, refused;
	int end = 0;

	if (sscanf(text, "milli=%19llu refused=%19llu%n", &milli, &refused, &end) != 2 ||
	    text[end] || !milli || !refused)
		return false;
	*saved = (struct rate_saved){ milli, refused };
	return true;
}

static enum err learn_ration(struct peer_known *peer, enum govern_way way, const char *text,
			     int64_t wall_s)
{
	enum err e = need_ration(peer, way);

	/* A text that is none: nothing is known, which is what the ration says by now. */
	if (e == OK)
		(void)ration_load(peer->rations[way], text, wall_s);
	look_if_bounded(peer);
	return e;
}

enum err governor_learn(struct governor *g, const char *kind, const char *name, const char *text,
			nsec now, int64_t wall_s)
{
	bool of_host = strcmp(kind, "pace-host") == 0;
	struct rate_saved saved;
	struct peer_known *peer;
	enum err e = OK;

	lock(g);
	if (of_host || strcmp(kind, "pace-account") == 0) {
		if (parse_rate(text, &saved) && (e = know(g, name, !of_host, now, &peer)) == OK) {
			rate_load(&peer->rate, &saved, now);
			look_if_bounded(peer);
		}
	}
	for (enum govern_way way = 0; way < GOVERN_WAYS && e == OK; way++)
		if (strcmp(kind, ration_kinds[way]) == 0 &&
		    (e = know(g, name, true, now, &peer)) == OK)
			e = learn_ration(peer, way, text, wall_s);
	unlock(g);
	return e;
}

bool govern_explain(const char *kind, const char *text, int64_t wall_s, char *to, size_t to_bytes)
{
	struct rate_saved saved;
	struct ration ration;

	*to = '\0';
	if (strcmp(kind, "pace-host") == 0 || strcmp(kind, "pace-account") == 0) {
		if (!parse_rate(text, &saved))
			return false;
		snprintf(to, to_bytes, "at most %.1f messages a second (it refused %.1f)",
			 (double)saved.limit_milli / 1000, (double)saved.refused_milli / 1000);
		return true;
	}
	for (enum govern_way way = 0; way < GOVERN_WAYS; way++) {
		if (strcmp(kind, ration_kinds[way]) != 0)
			continue;
		ration_init(&ration, 0);
		if (!ration_load(&ration, text, wall_s) || !ration_spent(&ration, wall_s))
			return false;
		snprintf(to, to_bytes, "%.1f MB %s in the last 24 hours",
			 (double)ration_spent(&ration, wall_s) / 1e6,
			 way == GOVERN_DOWN ? "read" : "stored");
		return true;
	}
	return false;
}
