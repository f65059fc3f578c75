/* Every conversation of tests/wire/flag as a test of its own: the real imap_flag on the real ring,
 * over a loopback socket, TLS passed through. The file says what is to be carried:
 *
 *   do message uid= now= was=     (words of: seen answered flagged deleted draft, keywords; was
 *                                 left out: not known)
 *   do messages uid=FIRST count= now= was=
 *   do carry box= validity=       (all messages since the last one)
 *
 * and what must come of it:
 *
 *   expect carried carried= merged= gone= refused=
 *   expect error name= note=
 *   expect end                    (LOGOUT)
 *
 * Words left out are not compared. account: timeout_ms= piece= whole= tricks= as in
 * imap_source_test.c. Each is played as it stands, read in pieces, read as the dice of SEED say,
 * and with tricks. */
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
#include "transport/imap_flag.h"

enum { EVENTS_MAX = 20, EVENT_BYTES = 1200, MESSAGES_MAX = 2000, KEYWORDS_BYTES = 64 };

struct play {
	struct wire_script script;
	const struct wire_way *way;
	struct wire_words options;
	char *option_text;
	struct account account;
	char (*events)[EVENT_BYTES];
	unsigned count;
	struct imap_flag *flag;
	struct imap_flagged messages[MESSAGES_MAX];
	char keywords[MESSAGES_MAX][KEYWORDS_BYTES];
	size_t messages_count;
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

/* ---- what the client does ---- */

static void read_flags(const char *words, struct mail_meta *meta)
{
	static const char *const names[] = { "seen", "answered", "flagged", "deleted", "draft" };
	char *text = strdup(words), *rest = text, *word;

	must(text);
	*meta = (struct mail_meta){ 0 };
	while ((word = strsep(&rest, " ")) != NULL) {
		unsigned i = 0;

		while (i < ARRAY_COUNT(names) && strcmp(word, names[i]) != 0)
			i++;
		if (i < ARRAY_COUNT(names))
			meta->flags |= 1u << i;
		else if (*word)
			meta->keywords_bytes += (uint16_t)snprintf(
				meta->keywords + meta->keywords_bytes, KEYWORDS_BYTES, "%s%s",
				meta->keywords_bytes ? " " : "", word);
	}
	free(text);
	must(meta->keywords_bytes < KEYWORDS_BYTES);
}

static void add_message(struct play *play, const struct wire_words *words, uint32_t uid)
{
	struct imap_flagged *message = &play->messages[play->messages_count];
	char *keywords = play->keywords[play->messages_count++];
	const char *was = wire_word(words, "was", NULL);
	struct mail_meta meta;

	must(play->messages_count <= MESSAGES_MAX);
	*message = (struct imap_flagged){ .uid = uid };
	if (was) {
		read_flags(was, &meta);
		message->was_mark = mail_mark(&meta);
	}
	read_flags(wire_word(words, "now", ""), &meta);
	message->flags = meta.flags;
	bytes_copy(keywords, meta.keywords, meta.keywords_bytes, BYTES_META);
	message->keywords = keywords;
	message->keywords_bytes = meta.keywords_bytes;
}

static enum err carry(struct play *play, const struct wire_words *words)
{
	uint32_t validity = (uint32_t)strtoul(wire_word(words, "validity", "5"), NULL, 10);
	struct mail_carried carried = { 0 };
	enum err e = imap_flag_carry(play->flag, wire_word(words, "box", "INBOX"), validity,
				     play->messages, play->messages_count, &carried);

	play->messages_count = 0;
	if (!e)
		note_event(play, "carried carried=%llu merged=%llu gone=%llu refused=%llu",
			   (unsigned long long)carried.carried, (unsigned long long)carried.merged,
			   (unsigned long long)carried.gone, (unsigned long long)carried.refused);
	return e;
}

static enum err do_line(struct play *play, const char *what)
{
	char *text = strdup(what);
	struct wire_words words;
	uint32_t uid, count;
	enum err e = OK;

	must(text);
	wire_split(text, &words);
	uid = (uint32_t)strtoul(wire_word(&words, "uid", "1"), NULL, 10);
	count = (uint32_t)strtoul(wire_word(&words, "count", "1"), NULL, 10);
	if (strncmp(what, "carry", 5) == 0)
		e = carry(play, &words);
	else
		for (uint32_t i = 0; i < count; i++)
			add_message(play, &words, uid + i * (count > 1 ? 2 : 1));
	free(text);
	return e;
}

static enum err do_all(struct play *play)
{
	enum err e = OK;

	for (unsigned i = 0; !e && i < play->script.count; i++)
		if (strncmp(play->script.lines[i].text, "do ", 3) == 0)
			e = do_line(play, play->script.lines[i].text + 3);
	return e;
}

static void note_error(struct play *play, enum err e)
{
	char note[600];

	snprintf(note, sizeof note, "%.500s", err_note()->text);
	for (char *at = note; *at; at++)
		if (*at == '"')
			*at = '\'';
	note_event(play, "error name=%s note=\"%s\"", err_name(e), note);
	err_note_clear();
}

static enum err converse(struct play *play)
{
	enum err e = imap_flag_open(&play->account, clock_after(20 * NSEC_SECOND), &play->flag);

	if (!e)
		e = do_all(play);
	if (e)
		note_error(play, e);
	else
		imap_flag_finish(play->flag, clock_after(20 * NSEC_SECOND));
	if (!e)
		note_event(play, "end");
	imap_flag_close(&play->flag);
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
 * and the reason has words. */
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
	conversation_play("tests/wire/flag", play_once);
	conn_thread_cleanup();
}

static unsigned conversations_count;

__attribute__((constructor)) static void add_conversations(void)
{
	conversations_count = conversations_add("tests/wire/flag", run_conversation);
}

/* A wrong working directory must not look like success. */
TEST(there_are_at_least_14_conversations)
{
	CHECK(conversations_count >= 14);
}
