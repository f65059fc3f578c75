/* Tokens, who has them and when others are asked for: see oauth2.h. */
#include "transport/oauth2.h"

#include <stdio.h>
#include <stdlib.h>

#include "crypto/secret.h"
#include "engine/bytes.h"
#include "engine/clock.h"
#include "engine/fiber.h"
#include "engine/log.h"
#include "transport/oauth2_ask.h"

enum {
	ENTRIES_MAX = 256, /* tokens kept; each is a page of locked memory */
	ASKING_MAX = 4,	   /* requests of a thread at once, of some 200 KiB each */
};
#define AHEAD_MAX	 (300 * NSEC_SECOND) /* so long before it expires a token is renewed */
#define TOKEN_READ_AGAIN (300 * NSEC_SECOND)
#define REQUEST_TIME_MAX (60 * NSEC_SECOND)
#define REFUSED_FOR	 (60 * NSEC_SECOND)
#define FAILED_FOR	 (5 * NSEC_SECOND)
#define OLD_ONE_FOR	 (30 * NSEC_SECOND)

/* ---- tokens ---- */

struct oauth2_token {
	unsigned refs;
	bool used;
	struct secret *secret;
};

struct text oauth2_token_text(const struct oauth2_token *token)
{
	return secret_text(token->secret);
}

void oauth2_token_put(struct oauth2_token **taken)
{
	struct oauth2_token *token = *taken;

	*taken = NULL;
	if (!token || --token->refs > 0)
		return;
	secret_close(&token->secret);
	free(token);
}

bool oauth2_token_was_used(struct oauth2_token *token)
{
	bool used = token->used;

	token->used = true;
	return used;
}

bool oauth2_token_is_sound(struct text text)
{
	for (size_t i = 0; i < text.bytes; i++)
		if (text.at[i] <= ' ' || text.at[i] >= 0x7f)
			return false;
	return text.bytes > 0;
}

static enum err token_new(struct text text, struct oauth2_token **out)
{
	struct oauth2_token *token = calloc(1, sizeof *token);
	enum err e;

	if (!token)
		return RAISE(ERR_MEMORY_EXHAUSTED, "keeping an access token");
	token->refs = 1;
	if ((e = secret_from_bytes(text.at, text.bytes, &token->secret)))
		free(token);
	else
		*out = token;
	return e;
}

/* ---- what a thread keeps ---- */

struct entry {
	struct entry *next;
	char *key;
	struct oauth2_token *token; /* NULL: none */
	nsec refresh_at, expires_at, used_at;
	struct secret *refresh_token; /* of the last answer that had one, if it was not kept */
	unsigned users;		      /* fibers between whose waits it must stay */
	bool busy;		      /* one of them is asking */
	struct wait_queue changed;
	enum err failed; /* the last one's, until then */
	nsec failed_until;
	char why[ERR_NOTE_BYTES_MAX];
};
static _Thread_local struct entry *entries;

static void entry_free(struct entry **at)
{
	struct entry *entry = *at;

	*at = entry->next;
	must(entry->users == 0);
	oauth2_token_put(&entry->token);
	secret_close(&entry->refresh_token);
	free(entry->key);
	free(entry);
}

/* Too many: the one that nobody has asked for longest goes. */
static void make_room(void)
{
	struct entry **oldest = NULL;
	unsigned count = 0;

	for (struct entry **at = &entries; *at; at = &(*at)->next, count++)
		if ((*at)->users == 0 && (!oldest || (*at)->used_at < (*oldest)->used_at))
			oldest = at;
	if (count >= ENTRIES_MAX && oldest)
		entry_free(oldest);
}

static void write_key(const struct oauth2_source *source, struct buffer *key)
{
	const char *const texts[] = { source->token_url, source->client_id, source->scope,
				      source->subject,	 source->name,	    source->place,
				      source->ca_file };

	buffer_addf(key, "%d", (int)source->grant);
	for (size_t i = 0; i < ARRAY_COUNT(texts); i++)
		buffer_addf(key, "\n%s", texts[i] ? texts[i] : "");
}

/* The entry for such a source; with `add` it is made. NULL: there is none, or no memory. */
static struct entry *entry_of(const struct oauth2_source *source, bool add)
{
	struct buffer key = { 0 };
	struct entry *entry = NULL;

	write_key(source, &key);
	if (key.failed)
		goto out;
	for (entry = entries; entry; entry = entry->next)
		if (strcmp(entry->key, key.at) == 0)
			goto out;
	if (!add || !(entry = calloc(1, sizeof *entry)))
		goto out;
	make_room();
	entry->key = key.at;
	key = (struct buffer){ 0 };
	entry->next = entries;
	entries = entry;
out:
	buffer_free(&key);
	return entry;
}

static void entry_set(struct entry *entry, struct oauth2_token *token, nsec life)
{
	nsec ahead = min_nsec(AHEAD_MAX, life / 10);

	oauth2_token_put(&entry->token);
	entry->token = token;
	entry->expires_at = clock_after(life);
	entry->refresh_at = entry->expires_at - ahead;
	entry->failed = OK;
}

/* ---- getting one ---- */

struct attempt {
	const struct oauth2_source *source;
	nsec until;
	struct secret *credential; /* as the source gives it */
	struct text sent;	   /* it, or a newer refresh token */
};

static enum err take_given(struct entry *entry, const struct oauth2_source *source,
			   const struct secret *given)
{
	struct oauth2_token *token = NULL;
	enum err e;

	if (!oauth2_token_is_sound(secret_text(given)))
		return RAISE(ERR_INPUT_SECRET,
			     "%s is no access token: it holds a space or what is not ASCII",
			     source->name);
	/* The one we have, read again, stays the one that was used. */
	if (entry->token && text_equal(oauth2_token_text(entry->token), secret_text(given))) {
		entry->token->refs++;
		token = entry->token;
	} else if ((e = token_new(secret_text(given), &token))) {
		return e;
	}
	entry_set(entry, token, TOKEN_READ_AGAIN);
	return OK;
}

/* The next one reads it where it was kept, as do other threads and programs. What cannot be kept is
 * good as long as this thread lives, and said. */
static enum err keep_refresh_token(struct entry *entry, const struct attempt *attempt,
				   struct text fresh)
{
	const struct oauth2_source *source = attempt->source;
	enum err e = OK;

	if (!fresh.bytes || text_equal(fresh, attempt->sent))
		return OK;
	fiber_shield();
	if (source->keep)
		e = source->keep(source, secret_text(attempt->credential), fresh);
	fiber_unshield();
	if (e)
		log_error(LOG_WARN, "oauth2.rotated", e);
	err_note_clear();
	secret_close(&entry->refresh_token);
	return !e && source->keep ? OK
				  : secret_from_bytes(fresh.at, fresh.bytes, &entry->refresh_token);
}

static enum err keep_answer(struct entry *entry, const struct attempt *attempt,
			    const struct oauth2_answer *answer)
{
	struct oauth2_token *token = NULL;
	enum err e = token_new(text_of(answer->access_token), &token);

	if (e)
		return e;
	entry_set(entry, token, (nsec)answer->expires_in_s * NSEC_SECOND);
	return attempt->source->grant == OAUTH2_REFRESH_TOKEN
		       ? keep_refresh_token(entry, attempt, text_of(answer->refresh_token))
		       : OK;
}

/* Whoever reads "invalid_grant" has to know what to do about it. */
static enum err explain_refusal(const struct oauth2_source *source)
{
	char said[ERR_NOTE_BYTES_MAX];

	snprintf(said, sizeof said, "%s", err_note()->text);
	if (!strstr(said, "invalid_grant"))
		return ERR_OAUTH2_REFUSED;
	err_note_clear();
	return RAISE(ERR_OAUTH2_REFUSED,
		     "%.150s; the refresh token of %.120s is expired, revoked or replaced: log in "
		     "anew, put the new one there, and let the file be written",
		     said, source->name);
}

/* There is another refresh token than the one that was sent: another thread or program had it
 * replaced, or a person gave a new one. */
static bool was_replaced(const struct attempt *attempt, enum err e)
{
	const struct oauth2_source *source = attempt->source;
	struct secret *now = NULL;
	bool is_other;

	if (e != ERR_OAUTH2_REFUSED || source->grant != OAUTH2_REFRESH_TOKEN ||
	    source->credential(source, OAUTH2_CREDENTIAL, attempt->until, &now))
		return false;
	is_other = !text_equal(secret_text(now), attempt->sent);
	secret_close(&now);
	return is_other;
}

static enum err ask_once(struct entry *entry, struct attempt *attempt)
{
	const struct oauth2_source *source = attempt->source;
	void *room = NULL;
	enum err e;

	secret_close(&attempt->credential);
	if ((e = source->credential(source, OAUTH2_CREDENTIAL, attempt->until,
				    &attempt->credential)))
		return e;
	if (source->grant == OAUTH2_TOKEN)
		return take_given(entry, source, attempt->credential);
	if (!(room = secret_room_open(sizeof(struct oauth2_answer))))
		return RAISE(ERR_MEMORY_EXHAUSTED, "asking for a token");
	attempt->sent =
		secret_text(entry->refresh_token ? entry->refresh_token : attempt->credential);
	if ((e = oauth2_ask(source, attempt->sent, attempt->until, room)) == OK)
		e = keep_answer(entry, attempt, room);
	secret_room_close(&room);
	return e;
}

static enum err ask(struct entry *entry, const struct oauth2_source *source, nsec until)
{
	struct attempt attempt = { .source = source, .until = until };
	enum err e = ask_once(entry, &attempt);

	if (was_replaced(&attempt, e)) {
		err_note_clear();
		secret_close(&entry->refresh_token);
		e = ask_once(entry, &attempt);
	}
	if (e == ERR_OAUTH2_REFUSED && source->grant == OAUTH2_REFRESH_TOKEN)
		e = explain_refusal(source);
	secret_close(&attempt.credential);
	return e;
}

static bool may_pass(enum err e)
{
	return err_retry_class(e) == RETRY_BACKOFF || err_retry_class(e) == RETRY_RECONNECT;
}

/* Of a failure: the old token, if it is still good, or the same words for whoever asks next. */
static enum err take_failure(struct entry *entry, enum err e)
{
	if (e == ERR_FIBER_CANCELED)
		return e;
	if (entry->token && may_pass(e) && clock_after(OLD_ONE_FOR) < entry->expires_at) {
		entry->refresh_at = clock_after(OLD_ONE_FOR);
		err_note_clear();
		return OK;
	}
	entry->failed = e;
	entry->failed_until = clock_after(may_pass(e) ? FAILED_FOR : REFUSED_FOR);
	snprintf(entry->why, sizeof entry->why, "%s", err_note()->text);
	return e;
}

/* Where each mailbox has a token of its own, a run begins with many at once. */
static _Thread_local unsigned asking_count;
static _Thread_local struct wait_queue asking_fewer;

static enum err ask_in_turn(struct entry *entry, const struct oauth2_source *source, nsec until)
{
	enum err e = OK;

	while (asking_count == ASKING_MAX && !e)
		e = wait_on(&asking_fewer, until);
	if (e)
		return e == ERR_FIBER_TIMEOUT
			       ? RAISE(ERR_NET_TIMEOUT, "waiting for other access tokens")
			       : e;
	asking_count++;
	e = ask(entry, source, min_nsec(until, clock_after(REQUEST_TIME_MAX)));
	asking_count--;
	wake_all(&asking_fewer);
	return e;
}

static enum err refresh(struct entry *entry, const struct oauth2_source *source, nsec until)
{
	enum err e;

	entry->busy = true;
	e = ask_in_turn(entry, source, until);
	entry->busy = false;
	wake_all(&entry->changed);
	return e ? take_failure(entry, e) : OK;
}

static enum err wait_for_other(struct entry *entry, nsec until)
{
	enum err e = wait_on(&entry->changed, until);

	return e == ERR_FIBER_TIMEOUT
		       ? RAISE(ERR_NET_TIMEOUT, "waiting for an access token that is asked for")
		       : e;
}

static enum err get(struct entry *entry, const struct oauth2_source *source, nsec until)
{
	enum err e;

	while (entry->busy)
		if ((e = wait_for_other(entry, until)))
			return e;
	if (entry->token && clock_now() < entry->refresh_at)
		return OK;
	if (entry->failed && clock_now() < entry->failed_until)
		return RAISE(entry->failed, "%s", entry->why);
	return refresh(entry, source, until);
}

enum err oauth2_token_get(const struct oauth2_source *source, nsec until, struct oauth2_token **out)
{
	struct entry *entry = entry_of(source, true);
	enum err e;

	must(source->name && source->credential);
	if (!entry)
		return RAISE(ERR_MEMORY_EXHAUSTED, "keeping access tokens");
	entry->users++;
	entry->used_at = clock_now();
	if ((e = get(entry, source, until)) == OK) {
		entry->token->refs++;
		*out = entry->token;
	}
	entry->users--;
	return e;
}

void oauth2_token_drop(const struct oauth2_source *source, const struct oauth2_token *token)
{
	struct entry *entry = entry_of(source, false);

	if (entry && entry->token == token)
		entry->refresh_at = entry->expires_at = 0;
}

void oauth2_thread_cleanup(void)
{
	while (entries)
		entry_free(&entries);
}
