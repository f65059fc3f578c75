/* Every conversation of tests/wire/append as a test of its own: the real imap_append on the real
 * ring, over a loopback socket, TLS passed through. The file says what the client does, one line
 * after the other, beside what the server says:
 *
 *   do begin name= box=        do end      do answer name=
 *   do message text= | size= seed=    flags= (number)  keywords=  date= | seconds= zone= binary=yes
 *
 * and which events it wants:
 *
 *   expect offers limit=                  (where the server told a largest message)
 *   expect begin name= error=             (where it was refused)
 *   expect full                           (no further act before an answer is taken)
 *   expect left keywords= date=           (of a message, where something was left out)
 *   expect off name=                      (the server takes no more of this act)
 *   expect answer name= granted= error= scope= retry_ms= code= words= note= validity= uids=
 *                                         (uids: each of them, "7 8 9")
 *   expect error name= scope= retry_ms= note= acts=
 *                                         (acts: those not answered, "a:yes b:no": may be stored)
 *   expect records count=                 (of TLS, that all acts took; with account records=yes)
 *   expect end                            (LOGOUT)
 *
 * Words left out are not compared. account: compress=yes timeout_ms= piece= whole= tricks= as in
 * imap_source_test.c; slice= (bytes handed over at once, 65536), reader=yes (a second fiber takes
 * the answers). Each is played as it stands, read in pieces, read as the dice of SEED say, and with
 * tricks. */
#include "tests/sim/tls_sim.h"
#include "tests/test.h"
#include "tests/wire/conversations.h"
#include "tests/wire/play.h"

#include <stdlib.h>

#include "engine/bytes.h"
#include "engine/clock.h"
#include "engine/fiber.h"
#include "transport/imap_append.h"

enum { ACTS_MAX = 40 };

struct act {
	char name[12];
	struct imap_append_act *act; /* NULL: answered, or not begun yet */
	bool ended, was_off;
};

struct client {
	struct imap_session *session;
	struct imap_append *append;
	struct act acts[ACTS_MAX];
	unsigned acts_count;
	struct act *writing;
	struct wait_queue moved; /* an act was ended; for the fiber that takes answers */
};

/* ---- what the client does ---- */

static struct act *find_act(struct client *client, const char *name)
{
	for (unsigned i = 0; i < client->acts_count; i++)
		if (strcmp(client->acts[i].name, name) == 0)
			return &client->acts[i];
	return NULL;
}

static enum err begin(struct play *play, const struct wire_words *words)
{
	struct client *client = play->client;
	struct act *act = &client->acts[client->acts_count];
	char *box = strdup(wire_word(words, "box", "INBOX"));
	enum err e;

	must(client->acts_count < ACTS_MAX && box);
	CHECK(imap_append_has_room(client->append));
	snprintf(act->name, sizeof act->name, "%s", wire_word(words, "name", "a"));
	box[wire_unescape(box)] = '\0';
	e = imap_append_begin(client->append, box, &act->act);
	free(box);
	if (e != ERR_IMAP_REFUSED) {
		client->acts_count++;
		client->writing = act;
		if (!imap_append_has_room(client->append))
			play_event(play, "full");
		return e;
	}
	CHECK(!act->act);
	play_event(play, "begin name=%s error=%s", act->name, err_name(e));
	err_note_clear();
	return OK;
}

static struct mail_meta meta_of(const struct wire_words *words)
{
	struct mail_meta meta = { 0 };
	const char *keywords = wire_word(words, "keywords", ""), *date;

	meta.flags = (uint32_t)strtoul(wire_word(words, "flags", "0"), NULL, 10);
	meta.keywords_bytes =
		(uint16_t)snprintf(meta.keywords, sizeof meta.keywords, "%s", keywords);
	must(meta.keywords_bytes < sizeof meta.keywords);
	if ((date = wire_word(words, "date", NULL)) != NULL)
		must(mail_date_parse(text_of(date), &meta.date));
	if ((date = wire_word(words, "seconds", NULL)) != NULL)
		meta.date = (struct mail_date){
			.seconds = strtoll(date, NULL, 10),
			.zone_minutes = (int)strtol(wire_word(words, "zone", "0"), NULL, 10),
			.known = true,
		};
	return meta;
}

static void note_off(struct play *play)
{
	struct act *act = play->client->writing;

	if (!act->was_off && imap_append_is_off(act->act))
		play_event(play, "off name=%s", act->name);
	act->was_off = imap_append_is_off(act->act);
}

static enum err send_body(struct play *play, const struct wire_words *words, char *text,
			  uint64_t size)
{
	struct wire_bytes bytes =
		wire_bytes_of((unsigned)strtoul(wire_word(words, "seed", "0"), NULL, 10));
	size_t slice = strtoul(wire_word(&play->options, "slice", "65536"), NULL, 10);
	struct imap_append_act *act = play->client->writing->act;
	uint8_t *block = malloc(slice);
	enum err e = OK;

	must(block && slice);
	for (size_t n; !e && size && !imap_append_is_off(act); size -= n) {
		n = min_u64(size, slice);
		if (wire_word(words, "seed", NULL))
			wire_bytes_next(&bytes, block, n);
		else
			bytes_copy(block, text, n, BYTES_META);
		text += wire_word(words, "seed", NULL) ? 0 : n;
		e = imap_append_bytes(act, block, n);
	}
	free(block);
	return e;
}

static enum err message(struct play *play, const struct wire_words *words)
{
	struct mail_meta meta = meta_of(words);
	struct imap_append_left_out left;
	char *text = strdup(wire_word(words, "text", ""));
	uint64_t size = wire_unescape(text);
	enum err e;

	if (wire_word(words, "seed", NULL))
		size = strtoull(wire_word(words, "size", "0"), NULL, 10);
	e = imap_append_message(play->client->writing->act, &meta, size,
				wire_word(words, "binary", NULL), &left);
	if (!e && (left.keywords || left.date))
		play_event(play, "left keywords=%u date=%s", left.keywords,
			   left.date ? "yes" : "no");
	if (!e)
		e = send_body(play, words, text, size);
	if (!e)
		note_off(play);
	free(text);
	return e;
}

static enum err end(struct play *play)
{
	struct client *client = play->client;
	enum err e = imap_append_end(client->writing->act);

	if (!e)
		note_off(play);
	client->writing->ended = true;
	client->writing = NULL;
	wake_all(&client->moved);
	return e;
}

static const char *uids_of(const struct imap_appended *appended, char to[200])
{
	size_t n = 0;

	to[0] = '\0';
	for (unsigned i = 0; appended->uidvalidity && i < appended->messages && n < 180; i++)
		n += (size_t)snprintf(to + n, 200 - n, "%s%u", i ? " " : "",
				      imap_appended_uid(appended, i));
	CHECK(appended->uidvalidity || !appended->messages || !imap_appended_uid(appended, 0));
	return to;
}

static enum err take_answer(struct play *play, const struct wire_words *words)
{
	struct act *act = find_act(play->client, wire_word(words, "name", "a"));
	struct imap_appended appended;
	char uids[200], raised[PLAY_RAISED_BYTES];
	enum err e;

	must(act);
	if ((e = imap_append_answer(act->act, &appended)))
		return e;
	act->act = NULL;
	CHECK_EQ(appended.granted, appended.hint.error == OK);
	e = appended.granted ? OK : imap_appended_raise(&appended, act->name);
	CHECK_EQ(e, appended.hint.error);
	play_event(play,
		   "answer name=%s granted=%s error=%s code=\"%s\" words=\"%s\" validity=%u "
		   "uids=\"%s\" %s",
		   act->name, appended.granted ? "yes" : "no", e ? err_name(e) : "OK",
		   appended.code, appended.text, appended.uidvalidity, uids_of(&appended, uids),
		   play_raised_words(raised));
	err_note_clear();
	return OK;
}

static enum err do_line(struct play *play, const char *what, bool is_reader)
{
	bool has_reader = wire_word(&play->options, "reader", NULL);
	char *text = strdup(what);
	struct wire_words words;
	enum err e = OK;

	wire_split(text, &words);
	if (strncmp(what, "answer", 6) == 0)
		e = has_reader == is_reader ? take_answer(play, &words) : OK;
	else if (!is_reader)
		e = strncmp(what, "begin", 5) == 0     ? begin(play, &words)
		    : strncmp(what, "message", 7) == 0 ? message(play, &words)
						       : end(play);
	free(text);
	return e;
}

static enum err do_all(struct play *play, bool is_reader)
{
	enum err e = OK;

	for (unsigned i = 0; !e && i < play->script.count; i++)
		if (strncmp(play->script.lines[i].text, "do ", 3) == 0)
			e = do_line(play, play->script.lines[i].text + 3, is_reader);
	return e;
}

static enum err run_writer(void *argument)
{
	return do_all(argument, false);
}

/* The answers in their order, each as soon as its act is written. */
static enum err run_reader(void *argument)
{
	struct play *play = argument;
	struct client *client = play->client;
	enum err e = OK;

	for (unsigned i = 0, n = 0; !e && i < play->script.count; i++) {
		if (strncmp(play->script.lines[i].text, "do answer", 9) != 0)
			continue;
		while (!e && (n >= client->acts_count || !client->acts[n].ended))
			e = wait_on(&client->moved, clock_after(20 * NSEC_SECOND));
		n++;
		if (!e)
			e = do_line(play, play->script.lines[i].text + 3, true);
	}
	return e;
}

static enum err run_both(struct play *play)
{
	struct group *group = group_open();
	enum err e = group_spawn(group, "write", FIBER_STACK_LARGE, run_writer, play), joined;

	if (!e)
		e = group_spawn(group, "read", FIBER_STACK_LARGE, run_reader, play);
	joined = group_join(&group);
	return e ? e : joined;
}

static void note_error(struct play *play, enum err e)
{
	const struct client *client = play->client;
	char raised[PLAY_RAISED_BYTES], acts[400] = "";
	size_t n = 0;

	for (const struct act *act = client->acts; act < client->acts + client->acts_count; act++)
		if (act->act)
			n += (size_t)snprintf(acts + n, sizeof acts - n, "%s%s:%s", n ? " " : "",
					      act->name,
					      imap_append_may_be_stored(act->act) ? "yes" : "no");
	play_event(play, "error name=%s acts=\"%s\" %s", err_name(e), acts,
		   play_raised_words(raised));
}

static enum err append_all(struct play *play)
{
	struct client *client = play->client;
	uint64_t limit = imap_session_append_limit(client->session);
	size_t records = tls_sim_records;
	enum err e;

	if (limit != IMAP_APPEND_LIMIT_UNKNOWN)
		play_event(play, "offers limit=%llu", (unsigned long long)limit);
	if ((e = imap_append_open(client->session, &client->append)))
		return e;
	e = wire_word(&play->options, "reader", NULL) ? run_both(play) : run_writer(play);
	if (!e && wire_word(&play->options, "records", NULL))
		play_event(play, "records count=%zu", tls_sim_records - records);
	return e;
}

static enum err converse(struct play *play)
{
	struct client *client = play->client;
	enum err e = imap_session_open_to_change(&play->account, clock_after(20 * NSEC_SECOND),
						 &client->session);

	if (!e)
		e = append_all(play);
	if (!e)
		e = imap_session_finish(client->session, clock_after(20 * NSEC_SECOND));
	if (e)
		note_error(play, e);
	else
		play_event(play, "end");
	imap_append_close(&client->append);
	imap_session_close(&client->session);
	return e;
}

/* Nothing is stored that the script's server did not store. */
static void judge_tricked(const struct play *play)
{
	play_judge_end(play, NULL);
	play_judge_claims(play, "answer ", " granted=yes");
}

static const struct play_kind appending = {
	.folder = "tests/wire/append",
	.client_bytes = sizeof(struct client),
	.converse = converse,
	.judge_tricked = judge_tricked,
};

CONVERSATIONS(appending)

/* A wrong working directory must not look like success. */
TEST(there_are_at_least_25_conversations)
{
	CHECK(conversations_count() >= 25);
}
