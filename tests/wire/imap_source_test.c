/* Every conversation of tests/wire as a test of its own: the real imap_source on the real ring,
 * over a loopback socket, TLS passed through. What the client makes of a conversation is written
 * down as events, and the file says which events it wants:
 *
 *   expect box name= raw= separator= use= subscribed= selectable= epoch= next= messages= bytes=
 *              fate=
 *   expect message box= uid= size= flags= keywords= dropped= date= fate= broken= | seed= | text=
 *   expect done box= first= last= fate= scope= retry_ms=
 *   expect peer software=
 *   expect found kind= uid= last= flags= keywords=   (of the file's `scan` lines, see wire.h)
 *   expect scanned box= fate=
 *   expect error name= scope= retry_ms= note=   (a part of the note, with quotes written as ')
 *   expect end                 (all asked for was answered, and LOGOUT)
 *
 * Words left out are not compared; boxes, done and peer are compared only where the file has one.
 * account: scheme= user= password= timeout_ms= early= (UID whose body is closed after one pull).
 * Each is played twice: as the script sends it, and in pieces of piece= bytes (1), but for
 * whole=yes. */
#include "tests/test.h"
#include "tests/wire/wire.h"

#include <dirent.h>
#include <stdarg.h>
#include <stdlib.h>

#include "crypto/secret.h"
#include "engine/bytes.h"
#include "engine/clock.h"
#include "engine/fiber.h"
#include "transport/conn.h"
#include "transport/imap_source.h"

enum { EVENTS_MAX = 300, EVENT_BYTES = 2400, BOXES_MAX = 64, CONVERSATIONS_MAX = 128 };

struct play {
	struct wire_script script;
	struct wire_words options;
	char *option_text;
	struct account account;
	char (*events)[EVENT_BYTES];
	unsigned count;
	struct box *boxes;
	unsigned boxes_count, step;
	struct source *source;
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

/* ---- the client ---- */

/* FNV-1a, 64 bits: equal for equal bytes, and bytes here are not made to collide. */
static uint64_t hash_more(uint64_t hash, const uint8_t *at, size_t n)
{
	for (size_t i = 0; i < n; i++)
		hash = (hash ^ at[i]) * 1099511628211u;
	return hash;
}

static enum err read_body(struct play *play, struct item *item, uint64_t *bytes, uint64_t *hash)
{
	uint64_t early = strtoull(wire_word(&play->options, "early", "0"), NULL, 10);
	struct iolist list = { .count = 0 };
	enum err e;

	*bytes = 0;
	*hash = 14695981039346656037u;
	while ((e = stream_pull(item->body, &list)) == OK) {
		CHECK(list.count > 0);
		for (unsigned i = 0; i < list.count; i++)
			*hash = hash_more(*hash, slice_bytes(&list.slices[i]),
					  list.slices[i].length);
		*bytes += iolist_bytes(&list);
		iolist_release(&list);
		if (item->no == early)
			break;
	}
	CHECK(e == OK || stream_pull(item->body, &list) == e);
	stream_close(&item->body);
	return e == ERR_STREAM_ENDED ? OK : e;
}

static const char *box_name(const struct play *play, uint64_t box_no)
{
	return play->boxes[box_no].raw;
}

static const char *flag_names(uint32_t flags, char to[80])
{
	snprintf(to, 80, "%s%s%s%s%s", flags & MAIL_SEEN ? "\\Seen" : "",
		 flags & MAIL_ANSWERED ? "\\Answered" : "", flags & MAIL_FLAGGED ? "\\Flagged" : "",
		 flags & MAIL_DELETED ? "\\Deleted" : "", flags & MAIL_DRAFT ? "\\Draft" : "");
	return to;
}

static void note_message(struct play *play, struct item *item)
{
	const struct mail_meta *meta = &item->meta;
	uint64_t bytes = 0, hash = 0;
	char flags[80], date[40] = "none";
	enum err e = item->body ? read_body(play, item, &bytes, &hash) : OK;

	if (meta->date.known)
		mail_date_rfc3339(date, &meta->date);
	if (item->fate == OK && e == OK &&
	    item->no != strtoull(wire_word(&play->options, "early", "0"), NULL, 10))
		CHECK_EQ(bytes, item->size_bytes);
	note_event(play,
		   "message box=\"%s\" uid=%llu size=%lld flags=%s keywords=\"%.*s\" dropped=%u "
		   "date=%s fate=%s broken=%s hash=%016llx",
		   box_name(play, item->box_no), (unsigned long long)item->no,
		   (long long)item->size_bytes, flag_names(meta->flags, flags),
		   meta->keywords_bytes, meta->keywords, meta->keywords_dropped, date,
		   item->fate ? err_name(item->fate) : "OK", e ? err_name(e) : "OK",
		   (unsigned long long)hash);
}

/* Whom the running fiber's note concerns, and for how long. */
static const char *hint_words(char to[60])
{
	static const char *const scopes[] = { "mailbox", "account", "host" };

	snprintf(to, 60, "scope=%s retry_ms=%lld", scopes[err_note()->scope],
		 (long long)(err_note()->retry_after / NSEC_MILLISECOND));
	return to;
}

static void note_done(struct play *play, const struct item *item)
{
	char hint[60];

	note_event(play, "done box=\"%s\" first=%llu last=%llu fate=%s %s",
		   box_name(play, item->box_no), (unsigned long long)item->range_first,
		   (unsigned long long)item->range_last, item->fate ? err_name(item->fate) : "OK",
		   hint_words(hint));
	if (item->fate)
		err_note_clear();
}

static void note_box(struct play *play, const struct box *box)
{
	const char *fate = box->fate ? err_name(box->fate) : "OK";

	note_event(play,
		   "box name=\"%s\" raw=\"%s\" separator=%c use=%s subscribed=%s selectable=%s "
		   "epoch=%llu next=%llu messages=%llu bytes=%llu fate=%s",
		   box->name, box->raw, box->separator ? box->separator : '0',
		   box_use_name(box->use),
		   box->subscribed ? "yes" : "no", box->selectable ? "yes" : "no",
		   (unsigned long long)box->epoch, (unsigned long long)box->next_no,
		   (unsigned long long)box->messages, (unsigned long long)box->bytes, fate);
}

static enum err list_boxes(struct play *play)
{
	struct box_page *page = calloc(1, sizeof *page);
	enum err e = OK;

	must(page);
	while (e == OK && !page->last) {
		e = play->source->type->list(play->source, page, clock_after(20 * NSEC_SECOND));
		for (unsigned i = 0; e == OK && i < page->count; i++) {
			note_box(play, &page->boxes[i]);
			must(play->boxes_count < BOXES_MAX);
			page->boxes[i].box_no = play->boxes_count;
			play->boxes[play->boxes_count++] = page->boxes[i];
		}
	}
	free(page);
	return e;
}

/* The next range to ask for: the file's `ask` lines, or else every folder that has messages. */
static bool next_range(struct play *play, const struct box **box, uint64_t *first, uint64_t *last)
{
	bool has_asks = false;

	for (unsigned i = 0, n = 0; i < play->script.count; i++) {
		const char *text = play->script.lines[i].text;
		char name[200];

		if (sscanf(text, "ask %199s %lu:%lu", name, first, last) != 3)
			continue;
		has_asks = true;
		if (n++ < play->step)
			continue;
		for (*box = play->boxes; *box < play->boxes + play->boxes_count; ++*box)
			if (strcmp((*box)->raw, name) == 0)
				return play->step++, true;
	}
	for (; !has_asks && play->step < play->boxes_count; play->step++) {
		*box = &play->boxes[play->step];
		if ((*box)->fate || !(*box)->selectable || (*box)->next_no < 2)
			continue;
		*first = 1;
		*last = (*box)->next_no - 1;
		return play->step++, true;
	}
	return false;
}

static enum err ask_more(struct play *play, unsigned *asked)
{
	const struct box *box = NULL;
	uint64_t first, last;
	enum err e = OK;

	while (e == OK && *asked < play->source->type->asks_max &&
	       next_range(play, &box, &first, &last)) {
		e = play->source->type->ask(play->source, box, first, last);
		++*asked;
	}
	return e;
}

static enum err read_all(struct play *play)
{
	struct item *item = calloc(1, sizeof *item);
	unsigned asked = 0;
	enum err e;

	must(item);
	while ((e = ask_more(play, &asked)) == OK && asked) {
		if ((e = play->source->type->next(play->source, item)))
			break;
		asked -= item->kind == ITEM_RANGE_DONE;
		if (item->kind == ITEM_RANGE_DONE)
			note_done(play, item);
		else
			note_message(play, item);
	}
	if (e == OK)
		CHECK_EQ(play->source->type->next(play->source, item), ERR_PIPE_ENDED);
	free(item);
	return e;
}

static void met(void *context, const struct peer *peer)
{
	note_event(context, "peer software=\"%s\"", peer->software);
}

static void note_end(struct play *play, enum err e)
{
	char note[ERR_NOTE_BYTES_MAX], hint[60];

	snprintf(note, sizeof note, "%s", err_note()->text);
	for (char *at = note; (at = strchr(at, '"')) != NULL;)
		*at = '\'';
	if (e)
		note_event(play, "error name=%s %s note=\"%s\"", err_name(e), hint_words(hint),
			   note);
	else
		note_event(play, "end");
}

/* ---- what changed ---- */

static void note_finding(struct play *play, const struct finding *finding)
{
	static const char *const kinds[] = { [FINDING_FLAGS] = "flags",
					     [FINDING_THERE] = "there",
					     [FINDING_GONE] = "gone",
					     [FINDING_REST_GONE] = "rest-gone" };
	const struct mail_meta *meta = finding->kind == FINDING_FLAGS ? finding->meta : NULL;
	char flags[80];

	note_event(play, "found kind=%s uid=%llu last=%llu flags=%s keywords=\"%.*s\"",
		   kinds[finding->kind], (unsigned long long)finding->no,
		   (unsigned long long)finding->last, flag_names(meta ? meta->flags : 0, flags),
		   meta ? meta->keywords_bytes : 0, meta ? meta->keywords : "");
}

static enum err scan_box(struct play *play, struct box *box, uint64_t first, uint64_t last,
			 bool flags)
{
	struct source *source = play->source;
	struct finding finding;
	enum err e = source->type->scan(source, box, first, last, flags);

	while (e == OK && (e = source->type->found(source, &finding)) == OK)
		note_finding(play, &finding);
	e = e == ERR_PIPE_ENDED ? OK : e;
	note_event(play, "scanned box=\"%s\" fate=%s", box->raw, e ? err_name(e) : "OK");
	if (e == OK || err_retry_class(e) != RETRY_SKIP_BOX)
		return e;
	err_note_clear();
	return OK;
}

/* The file's `scan` lines, in order. */
static enum err scan_all(struct play *play)
{
	enum err e = OK;

	for (unsigned i = 0; i < play->script.count && e == OK; i++) {
		char name[200], before[CURSOR_BYTES_MAX + 1] = "", flags[20] = "yes";
		const char *text = play->script.lines[i].text;
		unsigned long first, last;

		if (sscanf(text, "scan %199s %lu:%lu flags=%19s before=%95[^\n]", name, &first,
			   &last, flags, before) < 4)
			continue;
		for (unsigned n = 0; n < play->boxes_count && e == OK; n++) {
			struct box *box = &play->boxes[n];

			if (strcmp(box->raw, name) != 0)
				continue;
			snprintf(box->before.at, sizeof box->before.at, "%s", before);
			e = scan_box(play, box, first, last, strcmp(flags, "yes") == 0);
		}
	}
	return e;
}

static enum err converse(struct play *play, struct reserve *reserve)
{
	enum err e = imap_source.open(&play->source, &play->account, reserve,
				      clock_after(20 * NSEC_SECOND));

	if (e == OK)
		e = list_boxes(play);
	if (e == OK)
		e = scan_all(play);
	if (e == OK)
		e = read_all(play);
	if (e == OK)
		e = imap_source.finish(play->source, clock_after(20 * NSEC_SECOND));
	imap_source.close(&play->source);
	note_end(play, e);
	return e;
}

/* ---- the judge ---- */

static void wanted_hash(const struct wire_words *wanted, char to[20])
{
	const char *seed = wire_word(wanted, "seed", NULL);
	struct wire_bytes bytes = wire_bytes_of(seed ? (unsigned)strtoul(seed, NULL, 10) : 0);
	unsigned long long size = strtoull(wire_word(wanted, "size", "0"), NULL, 10);
	char *text = strdup(wire_word(wanted, "text", ""));
	uint64_t hash = 14695981039346656037u;
	uint8_t block[1024];

	if (!seed)
		hash = hash_more(hash, (uint8_t *)text, wire_unescape(text));
	for (size_t n; seed && size; size -= n) {
		n = size < sizeof block ? (size_t)size : sizeof block;
		wire_bytes_next(&bytes, block, n);
		hash = hash_more(hash, block, n);
	}
	snprintf(to, 20, "%016llx", (unsigned long long)hash);
	free(text);
}

static bool word_fits(const struct wire_words *wanted, const struct wire_words *got, unsigned i)
{
	const char *key = wanted->words[i].key, *value = wanted->words[i].value;
	char hash[20];

	if (strcmp(key, "note") == 0)
		return strstr(wire_word(got, key, ""), value);
	if (strcmp(key, "seed") != 0 && strcmp(key, "text") != 0)
		return strcmp(wire_word(got, key, "(absent)"), value) == 0;
	wanted_hash(wanted, hash);
	return strcmp(wire_word(got, "hash", ""), hash) == 0;
}

static bool fits(const char *event, const char *expected)
{
	char *event_text = strdup(event), *expected_text = strdup(expected);
	struct wire_words wanted, got;
	size_t kind = strcspn(event, " ");
	bool good = strcspn(expected, " ") == kind && strncmp(event, expected, kind) == 0;

	wire_split(event_text, &got);
	wire_split(expected_text, &wanted);
	for (unsigned i = 0; good && i < wanted.count; i++)
		good = word_fits(&wanted, &got, i);
	free(event_text);
	free(expected_text);
	return good;
}

/* Optional kinds are compared only where the file expects one of them. */
static bool is_compared(const struct play *play, const char *event)
{
	static const char *const optional[] = { "box ", "done ", "peer " };
	char wanted[20];

	for (unsigned i = 0; i < ARRAY_COUNT(optional); i++) {
		if (strncmp(event, optional[i], strlen(optional[i])) != 0)
			continue;
		snprintf(wanted, sizeof wanted, "expect %s", optional[i]);
		for (unsigned n = 0; n < play->script.count; n++)
			if (strncmp(play->script.lines[n].text, wanted, strlen(wanted)) == 0)
				return true;
		return false;
	}
	return true;
}

static const struct wire_line *next_expected(const struct play *play, unsigned *at)
{
	while (*at < play->script.count) {
		const struct wire_line *line = &play->script.lines[(*at)++];

		if (strncmp(line->text, "expect ", 7) == 0)
			return line;
	}
	return NULL;
}

static void judge(const struct play *play)
{
	const struct wire_line *line;
	unsigned at = 0;

	for (unsigned i = 0; i < play->count; i++) {
		if (!is_compared(play, play->events[i]))
			continue;
		line = next_expected(play, &at);
		if (!line || !fits(play->events[i], line->text + 7)) {
			test_failed(line ? line->file : play->script.path,
				    line ? (int)line->number : 0, "got %s", play->events[i]);
			return;
		}
	}
	line = next_expected(play, &at);
	if (line)
		test_failed(line->file, (int)line->number, "did not come");
}

/* ---- one conversation, twice: in pieces of any size, and byte by byte ---- */

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
	account->scheme = wire_word(&play->options, "scheme", "imaps");
	account->user = wire_word(&play->options, "user", "alice");
	account->host = "127.0.0.1";
	account->path = "/";
	account->shown = "imaps://alice@mail.example.org/";
	account->io_timeout = strtol(wire_word(&play->options, "timeout_ms", "15000"), NULL, 10) *
			      NSEC_MILLISECOND;
	account->connect_timeout = 10 * NSEC_SECOND;
	account->met = met;
	account->met_context = play;
}

static void play_with(struct play *play, struct reserve *reserve, size_t piece)
{
	struct wire_server *server = wire_serve(&play->script, piece, &play->account.port);
	enum err e = converse(play, reserve);
	const char *problem;

	wire_server_stop(server);
	while (!wire_server_ended(server))
		CHECK_OK(fiber_sleep(clock_after(NSEC_MILLISECOND)));
	problem = wire_server_join(server);

	if (problem && e == OK)
		test_failed(play->script.path, 0, "%s", problem);
	judge(play);
	/* An unexpected end of the client is often the script's: show what the server thinks. */
	if (problem && e && getenv("WIRE_VERBOSE"))
		printf("  (server: %s)\n", problem);
	wire_server_close(&server);
}

static void play_once(const char *path, bool in_pieces)
{
	size_t piece = 0;
	struct play *play = calloc(1, sizeof *play);
	struct reserve *reserve = NULL;
	struct secret *secret = NULL;
	const char *password;

	must(play);
	play->events = calloc(EVENTS_MAX, EVENT_BYTES);
	play->boxes = calloc(BOXES_MAX, sizeof *play->boxes);
	must(play->events && play->boxes);
	wire_read(&play->script, path);
	if (play->script.problem[0])
		test_failed(path, 0, "%s", play->script.problem);
	read_options(play);
	password = wire_word(&play->options, "password", "secret");
	CHECK_OK(secret_from_bytes(password, strlen(password), &secret));
	CHECK_OK(reserve_open(arena_current(), LANE_CHUNKS_RESERVED, clock_after(NSEC_SECOND),
			      &reserve));
	play->account.password = secret;
	if (in_pieces)
		piece = strtoul(wire_word(&play->options, "piece", "1"), NULL, 10);
	if (!in_pieces || !wire_word(&play->options, "whole", NULL))
		play_with(play, reserve, piece);
	CHECK(!strstr(err_note()->text, password));
	err_note_clear();
	reserve_close(&reserve);
	secret_close(&secret);
	wire_free(&play->script);
	free(play->option_text);
	free(play->events);
	free(play->boxes);
	free(play);
}

static char paths[CONVERSATIONS_MAX][300], names[CONVERSATIONS_MAX][200];
static unsigned conversations_count;

static void run_conversation(unsigned i)
{
	play_once(paths[i], false);
	play_once(paths[i], true);
	conn_thread_cleanup();
}

#define ROW(n)                          \
	static void run_##n(void)       \
	{                               \
		run_conversation(0##n); \
	}
#define ROWS(n) \
	ROW(n##0) ROW(n##1) ROW(n##2) ROW(n##3) ROW(n##4) ROW(n##5) ROW(n##6) ROW(n##7)
/* Octal: sixteen groups of eight are the first 128 conversations. */
ROWS(0) ROWS(1) ROWS(2) ROWS(3) ROWS(4) ROWS(5) ROWS(6) ROWS(7)
ROWS(10) ROWS(11) ROWS(12) ROWS(13) ROWS(14) ROWS(15) ROWS(16) ROWS(17)
#define NAMES(n)                                                                            \
	run_##n##0, run_##n##1, run_##n##2, run_##n##3, run_##n##4, run_##n##5, run_##n##6, \
		run_##n##7
static void (*const runs[])(void) = { NAMES(0), NAMES(1), NAMES(2), NAMES(3),
				      NAMES(4), NAMES(5), NAMES(6), NAMES(7),
				      NAMES(10), NAMES(11), NAMES(12), NAMES(13),
				      NAMES(14), NAMES(15), NAMES(16), NAMES(17) };

static int is_conversation(const struct dirent *entry)
{
	size_t n = strlen(entry->d_name);

	return n > 5 && strcmp(entry->d_name + n - 5, ".wire") == 0;
}

/* One test per file, in the order of their names. */
__attribute__((constructor)) static void add_conversations(void)
{
	static struct test rows[ARRAY_COUNT(runs)];
	struct dirent **entries = NULL;
	int count = scandir("tests/wire", &entries, is_conversation, alphasort);

	for (int i = 0; i < count; i++) {
		unsigned n = conversations_count;

		must(n < ARRAY_COUNT(runs));
		snprintf(paths[n], sizeof paths[n], "tests/wire/%.250s", entries[i]->d_name);
		snprintf(names[n], sizeof names[n], "%.*s", (int)strlen(entries[i]->d_name) - 5,
			 entries[i]->d_name);
		rows[n] = (struct test){ .name = names[n], .run = runs[n], .in_fiber = true };
		test_add(&rows[n]);
		conversations_count++;
		free(entries[i]);
	}
	free(entries);
}

/* A wrong working directory must not look like success. */
TEST(there_are_at_least_24_conversations)
{
	CHECK(conversations_count >= 24);
}
