/* Every conversation of tests/wire as a test of its own: the real imap_source on the real ring,
 * over a loopback socket, TLS passed through. What the client makes of a conversation is written
 * down as events, and the file says which events it wants:
 *
 *   expect box name= raw= separator= use= subscribed= selectable= epoch= next= messages= bytes=
 *              fate=          (of the first 64)
 *   expect boxes count=
 *   expect message box= uid= size= flags= keywords= dropped= date= fate= broken= | seed= | text=
 *   expect done box= first= last= fate= scope= retry_ms=
 *   expect peer software=
 *   expect found kind= uid= last= flags= keywords=   (of the file's `scan` lines, see wire.h)
 *   expect scanned box= fate=
 *   expect error name= scope= retry_ms= note=   (a part of the note, with quotes written as ')
 *   expect end                 (all asked for was answered, and LOGOUT)
 *
 * Words left out are not compared; box, boxes, done and peer are compared only where the file has
 * one. account: scheme= compress=yes user= password= token= token2= used=
 * (instead of a password: the access token, the next one, and whether the first has logged in
 * before) timeout_ms= early= (UID whose body is closed after one pull) since= before= min= max= (a
 * filter) labels= (a rule of transport/gmail_labels.h) label_keywords=yes. Before the folders are
 * listed, `recall ID EPOCH UID` lines say what an earlier run settled. Each is played three times:
 * as the script sends it, read in pieces of piece= bytes (1), and in pieces that the dice of SEED
 * choose, but for whole=yes. Where tricks=yes, then with every trick of trick.c at every reply. */
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
#include "engine/filter.h"
#include "engine/stack.h"
#include "transport/conn.h"
#include "transport/gmail_labels.h"
#include "transport/imap_source.h"
#include "transport/oauth2.h"

enum { EVENTS_MAX = 300, EVENT_BYTES = 2400, BOXES_MAX = 64 };

struct play {
	struct wire_script script;
	const struct wire_way *way;
	struct wire_words options;
	char *option_text;
	struct account account;
	struct filter *filter;
	char (*events)[EVENT_BYTES];
	unsigned count;
	struct box *boxes;
	unsigned boxes_count, step;
	struct source *source;
	struct oauth2_source tokens;
	unsigned tokens_given;
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

static enum err read_body(struct play *play, struct item *item, uint64_t *bytes, uint64_t *hash)
{
	uint64_t early = strtoull(wire_word(&play->options, "early", "0"), NULL, 10);
	struct iolist list = { .count = 0 };
	enum err e;

	*bytes = 0;
	*hash = WIRE_HASH_BEGIN;
	while ((e = stream_pull(item->body, &list)) == OK) {
		CHECK(list.count > 0);
		for (unsigned i = 0; i < list.count; i++)
			*hash = wire_hash_more(*hash, slice_bytes(&list.slices[i]),
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
		   box_use_name(box->use), box->subscribed ? "yes" : "no",
		   box->selectable ? "yes" : "no", (unsigned long long)box->epoch,
		   (unsigned long long)box->next_no, (unsigned long long)box->messages,
		   (unsigned long long)box->bytes, fate);
}

/* The file's `recall` lines: what an earlier run settled, in a folder that has this id. */
static void recall_all(struct play *play)
{
	struct source *source = play->source;

	if (!source->type->recalls(source))
		return;
	for (unsigned i = 0; i < play->script.count; i++) {
		char id[200];
		unsigned long epoch, no;

		if (sscanf(play->script.lines[i].text, "recall %199s %lu %lu", id, &epoch, &no) ==
		    3)
			CHECK_OK(source->type->recall(source,
						      &(struct settled_before){ .box_id = id,
										.epoch = epoch,
										.no = no,
										.stored = true,
										.there = true }));
	}
}

static enum err list_boxes(struct play *play)
{
	struct box_page *page = calloc(1, sizeof *page);
	unsigned boxes = 0;
	enum err e = OK;

	must(page);
	while (e == OK && !page->last) {
		e = play->source->type->list(play->source, page, clock_after(20 * NSEC_SECOND));
		boxes += e ? 0 : page->count;
		for (unsigned i = 0; e == OK && i < page->count; i++) {
			if (play->boxes_count == BOXES_MAX)
				break;
			note_box(play, &page->boxes[i]);
			page->boxes[i].box_no = play->boxes_count;
			play->boxes[play->boxes_count++] = page->boxes[i];
		}
	}
	if (e == OK)
		note_event(play, "boxes count=%u", boxes);
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
		recall_all(play);
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

/* Optional kinds are compared only where the file expects one of them. */
static bool is_compared(const struct play *play, const char *event)
{
	static const char *const optional[] = { "box ", "boxes ", "done ", "peer " };
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

static void judge(const struct play *play)
{
	const struct wire_line *line;
	unsigned at = 0;
	char how[300];

	for (unsigned i = 0; i < play->count; i++) {
		if (!is_compared(play, play->events[i]))
			continue;
		line = wire_next_expected(&play->script, &at);
		if (!line || !wire_event_fits(play->events[i], line->text + 7)) {
			test_failed(line ? line->file : play->script.path,
				    line ? (int)line->number : 0, "got %s (%s)", play->events[i],
				    wire_way_words(play->way, &play->script, how));
			return;
		}
	}
	line = wire_next_expected(&play->script, &at);
	if (line)
		test_failed(line->file, (int)line->number, "did not come (%s)",
			    wire_way_words(play->way, &play->script, how));
}

/* A conversation with a trick in it ends as the trick says, or well, where LOGOUT was sent already;
 * the reason has words; and no message is told whole that is not in the script. */
static void judge_tricked(const struct play *play)
{
	const char *end = play->events[play->count - 1], *error = play->way->trick->error;
	char name[40] = "", how[300];
	bool good = strcmp(end, "end") == 0 || !strstr(end, "note=\"\"");

	sscanf(end, "error name=%39s", name);
	/* Before TLS an end is orderly, and with something unread the kernel makes it a reset. */
	if (error[0] && name[0] && strcmp(name, error) != 0)
		good &= strcmp(error, "TLS_CUT") == 0 &&
			(strcmp(name, "NET_CLOSED") == 0 || strcmp(name, "NET_RESET") == 0);
	if (!good)
		test_failed(play->script.path, 0, "ends in %s (%s)", end,
			    wire_way_words(play->way, &play->script, how));
	for (unsigned i = 0; i < play->count; i++)
		if (strncmp(play->events[i], "message ", 8) == 0 &&
		    strstr(play->events[i], " fate=OK broken=OK") &&
		    !wire_is_expected(&play->script, play->events[i]))
			test_failed(play->script.path, 0, "got %s (%s)", play->events[i],
				    wire_way_words(play->way, &play->script, how));
}

/* ---- one conversation, in one of its ways ---- */

static void read_filter(struct play *play)
{
	const char *since = wire_word(&play->options, "since", NULL);
	const char *before = wire_word(&play->options, "before", NULL);

	CHECK_OK(filter_open(NULL, &play->filter));
	if (since)
		CHECK_OK(filter_since(play->filter, since));
	if (before)
		CHECK_OK(filter_before(play->filter, before));
	filter_sizes(play->filter, strtoul(wire_word(&play->options, "min", "0"), NULL, 10),
		     strtoul(wire_word(&play->options, "max", "0"), NULL, 10));
	CHECK_OK(filter_check(play->filter));
	play->account.filter = play->filter;
}

static void read_labels(struct play *play)
{
	const char *rule = wire_word(&play->options, "labels", NULL);
	enum gmail_rule read;

	if (!rule)
		return;
	CHECK(gmail_rule_from_name(text_of(rule), &read));
	CHECK_OK(gmail_labels_open(read, wire_word(&play->options, "label_keywords", NULL) != NULL,
				   &play->account.labels));
}

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
	account->compress = wire_word(&play->options, "compress", NULL) != NULL;
	account->met = met;
	account->met_context = play;
	read_filter(play);
	read_labels(play);
}

static void play_with(struct play *play, struct reserve *reserve)
{
	const struct wire_way *way = play->way;
	struct wire_server *server;
	const char *problem;
	char how[300];
	enum err e;

	wire_cut_like(way);
	/* Before TLS the pieces are the server's. */
	server = wire_serve(&play->script, strcmp(play->account.scheme, "imap") ? 0 : way->piece,
			    &play->account.port);
	e = converse(play, reserve);
	wire_server_stop(server);
	while (!wire_server_ended(server))
		CHECK_OK(fiber_sleep(clock_after(NSEC_MILLISECOND)));
	problem = wire_server_join(server);
	if (problem && e == OK && !(way->trick && way->trick->error))
		test_failed(play->script.path, 0, "%s (%s)", problem,
			    wire_way_words(way, &play->script, how));
	if (way->trick && way->trick->error)
		judge_tricked(play);
	else
		judge(play);
	/* An unexpected end of the client is often the script's: show what the server thinks. */
	if (problem && e && getenv("WIRE_VERBOSE"))
		printf("  (server: %s)\n", problem);
	wire_server_close(&server);
}

/* Everything that was taken is given back, and never more was taken than had been promised. */
static void check_home(void)
{
	struct arena_counts counts = arena_counts(arena_current());

	CHECK_EQ(counts.in_use, 0);
	CHECK(counts.in_use_high <= LANE_CHUNKS_RESERVED);
}

/* The first token, and the second for whoever asks again. */
static enum err next_token(const struct oauth2_source *source, enum oauth2_credential which,
			   nsec until, struct secret **out)
{
	struct play *play = (struct play *)(uintptr_t)source->context;
	const char *token = wire_word(&play->options, "token", "");

	(void)until;
	CHECK_EQ(which, OAUTH2_CREDENTIAL);
	if (play->tokens_given++)
		token = wire_word(&play->options, "token2", token);
	return secret_from_bytes(token, strlen(token), out);
}

static void use_tokens(struct play *play)
{
	struct oauth2_token *token = NULL;

	play->tokens = (struct oauth2_source){ .grant = OAUTH2_TOKEN,
					       .name = "the token of the test",
					       .io_timeout = NSEC_SECOND,
					       .connect_timeout = NSEC_SECOND,
					       .credential = next_token,
					       .context = play };
	play->account.oauth2 = &play->tokens;
	if (!wire_word(&play->options, "used", NULL))
		return;
	CHECK_OK(oauth2_token_get(&play->tokens, clock_after(NSEC_SECOND), &token));
	CHECK(!oauth2_token_was_used(token));
	oauth2_token_put(&token);
}

static void converse_once(struct play *play)
{
	const char *password = wire_word(&play->options, "password", "secret");
	struct reserve *reserve = NULL;
	struct secret *secret = NULL;

	CHECK_OK(secret_from_bytes(password, strlen(password), &secret));
	CHECK_OK(reserve_open(arena_current(), LANE_CHUNKS_RESERVED, clock_after(NSEC_SECOND),
			      &reserve));
	play->account.password = secret;
	if (wire_word(&play->options, "token", NULL))
		use_tokens(play);
	play_with(play, reserve);
	oauth2_thread_cleanup();
	CHECK(!strstr(err_note()->text, password));
	err_note_clear();
	reserve_close(&reserve);
	secret_close(&secret);
	check_home();
}

/* False: the trick does not fit there, or the file has no such `each`. */
static bool play_once(const char *path, struct wire_way *way)
{
	struct play *play = calloc(1, sizeof *play);
	bool fits_there;

	must(play);
	play->way = way;
	play->events = calloc(EVENTS_MAX, EVENT_BYTES);
	play->boxes = calloc(BOXES_MAX, sizeof *play->boxes);
	must(play->events && play->boxes);
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
	if (way->trick && way->trick->timeout_ms)
		play->account.io_timeout = way->trick->timeout_ms * NSEC_MILLISECOND;
	if (fits_there && (!(way->piece || way->seed) || !wire_word(&play->options, "whole", NULL)))
		converse_once(play);
	wire_free(&play->script);
	filter_close(&play->filter);
	gmail_labels_close(&play->account.labels);
	free(play->option_text);
	free(play->events);
	free(play->boxes);
	free(play);
	return fits_there;
}

static void run_conversation(void)
{
	conversation_play("tests/wire", play_once);
	conn_thread_cleanup();
}

static unsigned conversations_count;

__attribute__((constructor)) static void add_conversations(void)
{
	conversations_count = conversations_add("tests/wire", run_conversation);
}

/* A wrong working directory must not look like success. */
TEST(there_are_at_least_24_conversations)
{
	CHECK(conversations_count >= 24);
}

/* All conversations before this one, servers, scripts and events included: 22 MiB in 2026, of which
 * the 100,000 folders of one are 6. A server that can make us remember without bound shows here. */
TEST(no_conversation_takes_more_than_48_mib)
{
	FILE *status = fopen("/proc/self/status", "r");
	unsigned kib = 0;
	char line[200];

	REQUIRE(status);
	while (!kib && fgets(line, sizeof line, status))
		sscanf(line, "VmHWM: %u kB", &kib);
	fclose(status);
	CHECK(kib > 0);
	if (SANITIZED)
		SKIP("a sanitizer's memory is not ours");
	CHECK(kib < 48 * 1024);
}
