/* The throttle governor: what each host and each account bears in messages a second (engine/rate),
 * and what is left of an account's daily rations (engine/ration), shared by all lanes of a process
 * and kept from run to run. Connections and rests are engine/backoff's, bandwidth is engine/pace's.
 *
 * Thread-safe. While nothing is limited a lane's messages are counted in its own handle and added
 * up ten times a second; the lock is on the data path only where somebody has to wait anyhow.
 * Nothing suspends: callers sleep. */
#ifndef MAILHAUL_GOVERN_H
#define MAILHAUL_GOVERN_H

#include "engine/err.h"
#include "engine/ration.h"

struct governor; /* one a process */
struct govern;	 /* one account at one host, as one lane sees it; used on that lane's thread */

enum govern_way { GOVERN_DOWN, GOVERN_UP, GOVERN_WAYS };

/* As asked for; 0: unbounded, and only what is learnt holds. */
struct govern_limits {
	uint64_t messages_milli; /* of the account, in thousandths of a message a second */
	uint64_t bytes_a_day[GOVERN_WAYS];
};

enum { GOVERN_NAME_BYTES_MAX = 767 };

enum err governor_open(struct governor **) MUST_CHECK;
/* All handles are closed. */
void governor_close(struct governor **);

/* host     "mail.example", or with ":port"; account: the URL without secrets. Names longer than
 *          GOVERN_NAME_BYTES_MAX are cut
 * returns  OK | ERR_MEMORY_EXHAUSTED */
enum err govern_open(struct governor *, const char *host, const char *account,
		     const struct govern_limits *, nsec now, struct govern **) MUST_CHECK;
void govern_close(struct govern **);

/* One message is asked for or put. Until when to wait before the next: `now` where nothing says
 * otherwise. */
nsec govern_message(struct govern *, nsec now) MUST_CHECK;
/* What holds now, in thousandths of a message a second; 0: nothing does. */
uint64_t govern_milli(const struct govern *);
/* The server asked for less: the account, or all of the host, goes more slowly from now on. */
void govern_throttled(struct govern *, enum err_scope, nsec now);

/* Do so many bytes fit into what is left of today's ration? If not: from when on. */
bool govern_has_room(struct govern *, enum govern_way, uint64_t bytes, int64_t wall_s,
		     int64_t *free_s);
void govern_spend(struct govern *, enum govern_way, uint64_t bytes, int64_t wall_s);

/* ---- the ledger's memory ---- */

/* What is known of one thing, as rows of the table `lesson` have it: kind "pace-host",
 * "pace-account", "bytes-down" or "bytes-up", `text` as its reason. "": forget it. */
struct govern_lesson {
	char kind[16], name[GOVERN_NAME_BYTES_MAX + 1], text[RATION_TEXT_BYTES];
};
/* The next that changed since it was told last; false: none. Any thread. */
bool governor_changed(struct governor *, int64_t wall_s, struct govern_lesson *);
/* What an earlier run knew. Kinds that are not of here and texts that do not parse are passed over.
 */
enum err governor_learn(struct governor *, const char *kind, const char *name, const char *text,
			nsec now, int64_t wall_s) MUST_CHECK;
/* The same as people read it: "12.5 messages a second at most (refused at 25.0)", "1200000000 bytes
 * down in the last 24 hours". False: it is none of ours, or says nothing any more. */
bool govern_explain(const char *kind, const char *text, int64_t wall_s, char *to, size_t to_bytes);

#endif
