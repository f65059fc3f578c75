/* See play.h. */
#include "tests/wire/play.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/secret.h"
#include "engine/clock.h"
#include "engine/fiber.h"
#include "tests/test.h"
#include "tests/wire/event.h"

/* ---- events ---- */

void play_event(struct play *play, const char *format, ...)
{
	va_list arguments;

	must(play->events_count < PLAY_EVENTS_MAX);
	va_start(arguments, format);
	vsnprintf(play->events[play->events_count++], PLAY_EVENT_BYTES, format, arguments);
	va_end(arguments);
}

const char *play_hint_words(char to[PLAY_HINT_BYTES])
{
	static const char *const scopes[] = { "mailbox", "account", "host" };

	snprintf(to, PLAY_HINT_BYTES, "scope=%s retry_ms=%lld", scopes[err_note()->scope],
		 (long long)(err_note()->retry_after / NSEC_MILLISECOND));
	return to;
}

const char *play_raised_words(char to[PLAY_RAISED_BYTES])
{
	char hint[PLAY_HINT_BYTES], text[ERR_NOTE_BYTES_MAX];

	snprintf(text, sizeof text, "%s", err_note()->text);
	for (char *at = text; (at = strchr(at, '"')) != NULL;)
		*at = '\'';
	snprintf(to, PLAY_RAISED_BYTES, "%s note=\"%s\"", play_hint_words(hint), text);
	return to;
}

/* ---- the judge ---- */

static void judge(const struct play *play)
{
	const struct wire_line *line;
	unsigned at = 0;
	char how[300];

	for (unsigned i = 0; i < play->events_count; i++) {
		if (play->kind->is_compared && !play->kind->is_compared(play, play->events[i]))
			continue;
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

static bool is_equal(const char *name, const char *wanted)
{
	return strcmp(name, wanted) == 0;
}

void play_judge_end(const struct play *play, bool (*is_same)(const char *name, const char *wanted))
{
	const char *last = play->events[play->events_count - 1];
	const char *wanted = play->way->trick->error;
	bool good = strcmp(last, "end") == 0 || !strstr(last, "note=\"\"");
	char name[40] = "", how[300];

	sscanf(last, "error name=%39s", name);
	if (wanted[0] && name[0])
		good &= (is_same ? is_same : is_equal)(name, wanted);
	if (!good)
		test_failed(play->script.path, 0, "ends in %s (%s)", last,
			    wire_way_words(play->way, &play->script, how));
}

void play_judge_claims(const struct play *play, const char *kind, const char *words)
{
	char how[300];

	for (unsigned i = 0; i < play->events_count; i++)
		if (strncmp(play->events[i], kind, strlen(kind)) == 0 &&
		    strstr(play->events[i], words) &&
		    !wire_is_expected(&play->script, play->events[i]))
			test_failed(play->script.path, 0, "got %s (%s)", play->events[i],
				    wire_way_words(play->way, &play->script, how));
}

/* ---- one play ---- */

static void read_options(struct play *play)
{
	struct wire_words *options = &play->options;
	const struct wire_trick *trick = play->way->trick;
	const char *text = "";

	for (unsigned i = 0; i < play->script.count; i++)
		if (strncmp(play->script.lines[i].text, "account ", 8) == 0)
			text = play->script.lines[i].text + 8;
	play->option_text = strdup(text);
	must(play->option_text);
	wire_split(play->option_text, options);
	play->account = (struct account){
		.scheme = wire_word(options, "scheme", "imaps"),
		.user = wire_word(options, "user", "alice"),
		.host = "127.0.0.1",
		.path = "/",
		.shown = "imaps://alice@mail.example.org/",
		.io_timeout = strtol(wire_word(options, "timeout_ms", "15000"), NULL, 10) *
			      NSEC_MILLISECOND,
		.connect_timeout = 10 * NSEC_SECOND,
		.compress = wire_word(options, "compress", NULL) != NULL,
	};
	if (trick && trick->timeout_ms)
		play->account.io_timeout = trick->timeout_ms * NSEC_MILLISECOND;
}

static void serve_and_judge(struct play *play)
{
	const struct wire_way *way = play->way;
	bool must_end_well = !way->trick || !way->trick->error;
	struct wire_server *server;
	const char *problem;
	char how[300];
	enum err e;

	wire_cut_like(way);
	/* Before TLS the pieces are the server's. */
	server = wire_serve(&play->script, strcmp(play->account.scheme, "imap") ? 0 : way->piece,
			    &play->account.port);
	e = play->kind->converse(play);
	wire_server_stop(server);
	while (!wire_server_ended(server))
		CHECK_OK(fiber_sleep(clock_after(NSEC_MILLISECOND)));
	problem = wire_server_join(server);
	if (problem && !e && must_end_well)
		test_failed(play->script.path, 0, "%s (%s)", problem,
			    wire_way_words(way, &play->script, how));
	if (must_end_well)
		judge(play);
	else
		play->kind->judge_tricked(play);
	/* An unexpected end of the client is often the script's: show what the server thinks. */
	if (problem && e && getenv("WIRE_VERBOSE"))
		printf("  (server: %s)\n", problem);
	wire_server_close(&server);
}

static void play_secretly(struct play *play)
{
	const char *password = wire_word(&play->options, "password", "secret");
	struct secret *secret = NULL;

	CHECK_OK(secret_from_bytes(password, strlen(password), &secret));
	play->account.password = secret;
	if (play->kind->prepare)
		play->kind->prepare(play);
	serve_and_judge(play);
	if (play->kind->clean)
		play->kind->clean(play);
	err_note_clear();
	secret_close(&secret);
}

bool play_once(const struct play_kind *kind, const char *path, struct wire_way *way)
{
	struct play *play = calloc(1, sizeof *play);
	bool fits_there;

	must(play);
	play->kind = kind;
	play->way = way;
	play->events = calloc(PLAY_EVENTS_MAX, PLAY_EVENT_BYTES);
	play->client = calloc(1, kind->client_bytes);
	must(play->events && play->client);
	wire_read(&play->script, path);
	if (play->script.problem[0])
		test_failed(path, 0, "%s", play->script.problem);
	fits_there = wire_vary(&play->script, way->each);
	read_options(play);
	if (way->piece)
		way->piece = strtoul(wire_word(&play->options, "piece", "1"), NULL, 10);
	if (way->trick)
		fits_there = way->at < play->script.count &&
			     wire_trick_apply(way->trick, &play->script, way->at);
	if (fits_there && (!(way->piece || way->seed) || !wire_word(&play->options, "whole", NULL)))
		play_secretly(play);
	wire_free(&play->script);
	free(play->option_text);
	free(play->events);
	free(play->client);
	free(play);
	return fits_there;
}
