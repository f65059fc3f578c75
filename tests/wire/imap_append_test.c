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
#include "tests/wire/event.h"
#include "tests/wire/trick.h"
#include "tests/wire/wire.h"

#include <stdarg.h>
#include <stdlib.h>

#include "crypto/secret.h"
#include "engine/bytes.h"
#include "engine/clock.h"
#include "engine/fiber.h"
#include "transport/conn.h"
#include "transport/imap_append.h"

enum { EVENTS_MAX = 100, EVENT_BYTES = 1200, ACTS_MAX = 40 };

struct act {
	char name[12];
	struct imap_append_act *act; /* NULL: answered, or not begun yet */
	bool ended, was_off;
};

struct play {
	struct wire_script script;
	const struct wire_way *way;
	struct wire_words options;
	char *option_text;
	struct account account;
	char (*events)[EVENT_BYTES];
	unsigned count;
	struct imap_session *session;
	struct imap_append *append;
	struct act acts[ACTS_MAX];
	unsigned acts_count;
	struct act *writing;
	struct wait_queue moved; /* an act was ended; for the fiber that takes answers */
};

static void note_event(struct play *play, const char *format, ...) PRINTF_LIKE(2, 3);
static void note_event(struct play *play, const char *format, ...)
{
	va_list arguments;

	must(play->count < EVENTS_MAX);
	va_start(arguments, format);
	vsnprintf(play->events[play->count++], EVENT_BYTES, format, arguments);
	va_end(arguments);
}

/* What was raised, as words of an event, and forgotten. */
static const char *raised_words(char to[700])
{
	static const char *const scopes[] = { "mailbox", "account", "host" };
	int n = snprintf(to, 700, "scope=%s retry_ms=%lld note=\"", scopes[err_note()->scope],
			 (long long)(err_note()->retry_after / NSEC_MILLISECOND));

	snprintf(to + n, 700 - (size_t)n, "%.600s\"", err_note()->text);
	for (char *at = to + n; at[1]; at++)
		if (*at == '"')
			*at = '\'';
	err_note_clear();
	return to;
}

/* ---- what the client does ---- */

static struct act *find_act(struct play *play, const char *name)
{
	for (unsigned i = 0; i < play->acts_count; i++)
		if (strcmp(play->acts[i].name, name) == 0)
			return &play->acts[i];
	return NULL;
}

static enum err begin(struct play *play, const struct wire_words *words)
{
	struct act *act = &play->acts[play->acts_count];
	char *box = strdup(wire_word(words, "box", "INBOX"));
	enum err e;

	must(play->acts_count < ACTS_MAX && box);
	CHECK(imap_append_has_room(play->append));
	snprintf(act->name, sizeof act->name, "%s", wire_word(words, "name", "a"));
	box[wire_unescape(box)] = '\0';
	e = imap_append_begin(play->append, box, &act->act);
	free(box);
	if (e != ERR_IMAP_REFUSED) {
		play->acts_count++;
		play->writing = act;
		if (!imap_append_has_room(play->append))
			note_event(play, "full");
		return e;
	}
	CHECK(!act->act);
	note_event(play, "begin name=%s error=%s", act->name, err_name(e));
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
	struct act *act = play->writing;

	if (!act->was_off && imap_append_is_off(act->act))
		note_event(play, "off name=%s", act->name);
	act->was_off = imap_append_is_off(act->act);
}

static enum err send_body(struct play *play, const struct wire_words *words, char *text,
			  uint64_t size)
{
	struct wire_bytes bytes =
		wire_bytes_of((unsigned)strtoul(wire_word(words, "seed", "0"), NULL, 10));
	size_t slice = strtoul(wire_word(&play->options, "slice", "65536"), NULL, 10);
	uint8_t *block = malloc(slice);
	enum err e = OK;

	must(block && slice);
	for (size_t n; !e && size && !imap_append_is_off(play->writing->act); size -= n) {
		n = min_u64(size, slice);
		if (wire_word(words, "seed", NULL))
			wire_bytes_next(&bytes, block, n);
		else
			bytes_copy(block, text, n, BYTES_META);
		text += wire_word(words, "seed", NULL) ? 0 : n;
		e = imap_append_bytes(play->writing->act, block, n);
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
	e = imap_append_message(play->writing->act, &meta, size, wire_word(words, "binary", NULL),
				&left);
	if (!e && (left.keywords || left.date))
		note_event(play, "left keywords=%u date=%s", left.keywords,
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
	enum err e = imap_append_end(play->writing->act);

	if (!e)
		note_off(play);
	play->writing->ended = true;
	play->writing = NULL;
	wake_all(&play->moved);
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
	struct act *act = find_act(play, wire_word(words, "name", "a"));
	struct imap_appended appended;
	char uids[200], raised[700];
	enum err e;

	must(act);
	if ((e = imap_append_answer(act->act, &appended)))
		return e;
	act->act = NULL;
	CHECK_EQ(appended.granted, appended.hint.error == OK);
	e = appended.granted ? OK : imap_appended_raise(&appended, act->name);
	CHECK_EQ(e, appended.hint.error);
	note_event(play,
		   "answer name=%s granted=%s error=%s code=\"%s\" words=\"%s\" validity=%u "
		   "uids=\"%s\" %s",
		   act->name, appended.granted ? "yes" : "no", e ? err_name(e) : "OK",
		   appended.code, appended.text, appended.uidvalidity, uids_of(&appended, uids),
		   raised_words(raised));
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
	enum err e = OK;

	for (unsigned i = 0, n = 0; !e && i < play->script.count; i++) {
		if (strncmp(play->script.lines[i].text, "do answer", 9) != 0)
			continue;
		while (!e && (n >= play->acts_count || !play->acts[n].ended))
			e = wait_on(&play->moved, clock_after(20 * NSEC_SECOND));
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
	char raised[700], acts[400] = "";
	size_t n = 0;

	for (unsigned i = 0; i < play->acts_count; i++)
		if (play->acts[i].act)
			n += (size_t)snprintf(acts + n, sizeof acts - n, "%s%s:%s", n ? " " : "",
					      play->acts[i].name,
					      imap_append_may_be_stored(play->acts[i].act) ? "yes"
											   : "no");
	note_event(play, "error name=%s acts=\"%s\" %s", err_name(e), acts, raised_words(raised));
}

static enum err append_all(struct play *play)
{
	uint64_t limit = imap_session_append_limit(play->session);
	size_t records = tls_sim_records;
	enum err e;

	if (limit != IMAP_APPEND_LIMIT_UNKNOWN)
		note_event(play, "offers limit=%llu", (unsigned long long)limit);
	if ((e = imap_append_open(play->session, &play->append)))
		return e;
	e = wire_word(&play->options, "reader", NULL) ? run_both(play) : run_writer(play);
	if (!e && wire_word(&play->options, "records", NULL))
		note_event(play, "records count=%zu", tls_sim_records - records);
	return e;
}

static enum err converse(struct play *play)
{
	enum err e = imap_session_open_to_change(&play->account, clock_after(20 * NSEC_SECOND),
						 &play->session);

	if (!e)
		e = append_all(play);
	if (!e)
		e = imap_session_finish(play->session, clock_after(20 * NSEC_SECOND));
	if (e)
		note_error(play, e);
	else
		note_event(play, "end");
	imap_append_close(&play->append);
	imap_session_close(&play->session);
	return e;
}

/* ---- the judge ---- */

static void judge(const struct play *play)
{
	const struct wire_line *line;
	unsigned at = 0;
	char how[300];

	for (unsigned i = 0; i < play->count; i++) {
		line = wire_next_expected(&play->script, &at);
		if (line && wire_event_fits(play->events[i], line->text + 7))
			continue;
		test_failed(line ? line->file : play->script.path, line ? (int)line->number : 0,
			    "got %s (%s)", play->events[i],
			    wire_way_words(play->way, &play->script, how));
		return;
	}
	if ((line = wire_next_expected(&play->script, &at)) != NULL)
		test_failed(line->file, (int)line->number, "did not come (%s)",
			    wire_way_words(play->way, &play->script, how));
}

/* A conversation with a trick in it ends as the trick says, or well where LOGOUT was sent already;
 * the reason has words; and nothing is stored that the script's server did not store. */
static void judge_tricked(const struct play *play)
{
	const char *last = play->events[play->count - 1], *error = play->way->trick->error;
	char name[40] = "", how[300];
	bool good = strcmp(last, "end") == 0 || !strstr(last, "note=\"\"");

	sscanf(last, "error name=%39s", name);
	if (error[0] && name[0])
		good &= strcmp(name, error) == 0;
	if (!good)
		test_failed(play->script.path, 0, "ends in %s (%s)", last,
			    wire_way_words(play->way, &play->script, how));
	for (unsigned i = 0; i < play->count; i++)
		if (strncmp(play->events[i], "answer ", 7) == 0 &&
		    strstr(play->events[i], " granted=yes") &&
		    !wire_is_expected(&play->script, play->events[i]))
			test_failed(play->script.path, 0, "got %s (%s)", play->events[i],
				    wire_way_words(play->way, &play->script, how));
}

/* ---- one conversation, in one of its ways ---- */

static void read_options(struct play *play)
{
	struct account *account = &play->account;

	play->option_text = strdup("");
	for (unsigned i = 0; i < play->script.count; i++)
		if (strncmp(play->script.lines[i].text, "account ", 8) == 0) {
			free(play->option_text);
			play->option_text = strdup(play->script.lines[i].text + 8);
		}
	wire_split(play->option_text, &play->options);
	*account = (struct account){ .scheme = "imaps",
				     .user = "alice",
				     .host = "127.0.0.1",
				     .path = "/",
				     .shown = "imaps://alice@mail.example.org/",
				     .connect_timeout = 10 * NSEC_SECOND };
	account->compress = wire_word(&play->options, "compress", NULL) != NULL;
	account->io_timeout = strtol(wire_word(&play->options, "timeout_ms", "15000"), NULL, 10) *
			      NSEC_MILLISECOND;
	if (play->way->trick && play->way->trick->timeout_ms)
		account->io_timeout = play->way->trick->timeout_ms * NSEC_MILLISECOND;
}

static void play_with(struct play *play)
{
	bool must_end_well = !play->way->trick || !play->way->trick->error;
	struct wire_server *server;
	const char *problem;
	enum err e;

	wire_cut_like(play->way);
	server = wire_serve(&play->script, 0, &play->account.port);
	e = converse(play);
	wire_server_stop(server);
	while (!wire_server_ended(server))
		CHECK_OK(fiber_sleep(clock_after(NSEC_MILLISECOND)));
	problem = wire_server_join(server);
	if (problem && !e && must_end_well)
		test_failed(play->script.path, 0, "%s", problem);
	if (must_end_well)
		judge(play);
	else
		judge_tricked(play);
	if (problem && e && getenv("WIRE_VERBOSE"))
		printf("  (server: %s)\n", problem);
	wire_server_close(&server);
}

static void play_secretly(struct play *play)
{
	struct secret *secret = NULL;

	CHECK_OK(secret_from_bytes("secret", 6, &secret));
	play->account.password = secret;
	play_with(play);
	err_note_clear();
	secret_close(&secret);
}

/* False: the trick does not fit there, or the file has no such `each`. */
static bool play_once(const char *path, struct wire_way *way)
{
	struct play *play = calloc(1, sizeof *play);
	bool fits_there;

	must(play);
	play->way = way;
	play->events = calloc(EVENTS_MAX, EVENT_BYTES);
	must(play->events);
	wire_read(&play->script, path);
	if (play->script.problem[0])
		test_failed(path, 0, "%s", play->script.problem);
	fits_there = wire_vary(&play->script, way->each);
	if (way->trick)
		fits_there = way->at < play->script.count &&
			     wire_trick_apply(way->trick, &play->script, way->at);
	read_options(play);
	if (fits_there && (!(way->piece || way->seed) || !wire_word(&play->options, "whole", NULL)))
		play_secretly(play);
	wire_free(&play->script);
	free(play->option_text);
	free(play->events);
	free(play);
	return fits_there;
}

static void run_conversation(void)
{
	conversation_play("tests/wire/append", play_once);
	conn_thread_cleanup();
}

static unsigned conversations_count;

__attribute__((constructor)) static void add_conversations(void)
{
	conversations_count = conversations_add("tests/wire/append", run_conversation);
}

/* A wrong working directory must not look like success. */
TEST(there_are_at_least_25_conversations)
{
	CHECK(conversations_count >= 25);
}
