/* One play of a conversation: the file's script served on a loopback port, the client of a test
 * talking to it, and its events compared with what the file expects. What clients have in common is
 * here; what they do and keep is the test's. Not for: which ways there are to play a file
 * (conversations.h), nor what the server does (wire.h). */
#ifndef MAILHAUL_TESTS_PLAY_H
#define MAILHAUL_TESTS_PLAY_H

#include "engine/err.h"
#include "engine/source.h"
#include "tests/wire/trick.h"
#include "tests/wire/wire.h"

enum { PLAY_EVENTS_MAX = 300, PLAY_EVENT_BYTES = 2400, PLAY_HINT_BYTES = 60 };
enum { PLAY_RAISED_BYTES = PLAY_HINT_BYTES + ERR_NOTE_BYTES_MAX + 10 };

struct client; /* what a test keeps during one play; each test declares its own */
struct play {
	const struct play_kind *kind;
	const struct wire_way *way;
	struct wire_script script;
	char *option_text;
	struct wire_words options; /* words of the file's last `account` line */
	struct account account;	   /* where the script is served, and the password */
	char (*events)[PLAY_EVENT_BYTES];
	unsigned events_count;
	struct client *client; /* zeroed before each play */
};

struct play_kind {
	const char *folder; /* of the .wire files */
	size_t client_bytes;
	/* Before the script is served, the account being read; NULL: nothing more to be done. */
	void (*prepare)(struct play *);
	/* The whole conversation, in the test's fiber. The last of its events is "end", or "error
	 * name= note=" of the error that it returns. */
	enum err (*converse)(struct play *);
	/* After the script's end and the comparison, the fiber's note being what converse() left
	 * there; NULL: nothing to be done. */
	void (*clean)(struct play *);
	/* Whether the file has to expect this event if it comes; NULL: each of them. */
	bool (*is_compared)(const struct play *, const char *event);
	/* In place of comparing all events, where the way's trick says how it has to end. */
	void (*judge_tricked)(const struct play *);
};

/* Play the file in this way, where piece != 0 becomes the file's piece=; suspends until the server
 * is done with its script. False: the way's trick does not fit there, or the file has no such
 * `each`. Read here of the `account` line: scheme= user= password= compress=yes timeout_ms= piece=
 * whole=yes; the rest is the test's. */
bool play_once(const struct play_kind *, const char *path, struct wire_way *);

/* Something came of it. */
void play_event(struct play *, const char *format, ...) PRINTF_LIKE(2, 3);
/* Words for an event: whom the running fiber's note concerns and for how long (scope= retry_ms=);
 * and the same with its text (note=), quotes written as '. */
const char *play_hint_words(char to[PLAY_HINT_BYTES]);
const char *play_raised_words(char to[PLAY_RAISED_BYTES]);

/* For judge_tricked(). It ends as the trick says, or well where LOGOUT was sent already, and the
 * reason has words. `is_same`: whether an end with this name is the wanted one; NULL: where they
 * are equal. */
void play_judge_end(const struct play *, bool (*is_same)(const char *name, const char *wanted));
/* No event of this kind ("answer ") with these words in it came that the file does not expect. */
void play_judge_claims(const struct play *, const char *kind, const char *words);

#endif
