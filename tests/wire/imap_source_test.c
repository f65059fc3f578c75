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
#include "tests/wire/play.h"

#include <stdlib.h>

#include "crypto/secret.h"
#include "engine/bytes.h"
#include "engine/clock.h"
#include "engine/filter.h"
#include "engine/stack.h"
#include "transport/gmail_labels.h"
#include "transport/imap_source.h"
#include "transport/oauth2.h"

enum { BOXES_MAX = 64 };

struct client {
	struct filter *filter;
	struct box boxes[BOXES_MAX];
	unsigned boxes_count, step;
	struct reserve *reserve;
	struct source *source;
	struct oauth2_source tokens;
	unsigned tokens_given;
};

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
	return play->client->boxes[box_no].raw;
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
	play_event(play,
		   "message box=\"%s\" uid=%llu size=%lld flags=%s keywords=\"%.*s\" dropped=%u "
		   "date=%s fate=%s broken=%s hash=%016llx",
		   box_name(play, item->box_no), (unsigned long long)item->no,
		   (long long)item->size_bytes, flag_names(meta->flags, flags),
		   meta->keywords_bytes, meta->keywords, meta->keywords_dropped, date,
		   item->fate ? err_name(item->fate) : "OK", e ? err_name(e) : "OK",
		   (unsigned long long)hash);
}

static void note_done(struct play *play, const struct item *item)
{
	char hint[PLAY_HINT_BYTES];

	play_event(play, "done box=\"%s\" first=%llu last=%llu fate=%s %s",
		   box_name(play, item->box_no), (unsigned long long)item->range_first,
		   (unsigned long long)item->range_last, item->fate ? err_name(item->fate) : "OK",
		   play_hint_words(hint));
	if (item->fate)
		err_note_clear();
}

static void note_box(struct play *play, const struct box *box)
{
	const char *fate = box->fate ? err_name(box->fate) : "OK";

	play_event(play,
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
	struct source *source = play->client->source;

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
	struct client *client = play->client;
	struct box_page *page = calloc(1, sizeof *page);
	unsigned boxes = 0;
	enum err e = OK;

	must(page);
	while (e == OK && !page->last) {
		e = client->source->type->list(client->source, page, clock_after(20 * NSEC_SECOND));
		boxes += e ? 0 : page->count;
		for (unsigned i = 0; e == OK && i < page->count; i++) {
			if (client->boxes_count == BOXES_MAX)
				break;
			note_box(play, &page->boxes[i]);
			page->boxes[i].box_no = client->boxes_count;
			client->boxes[client->boxes_count++] = page->boxes[i];
		}
	}
	if (e == OK)
		play_event(play, "boxes count=%u", boxes);
	free(page);
	return e;
}

/* The next range to ask for: the file's `ask` lines, or else every folder that has messages. */
static bool next_range(struct play *play, const struct box **box, uint64_t *first, uint64_t *last)
{
	struct client *client = play->client;
	bool has_asks = false;

	for (unsigned i = 0, n = 0; i < play->script.count; i++) {
		const char *text = play->script.lines[i].text;
		char name[200];

		if (sscanf(text, "ask %199s %lu:%lu", name, first, last) != 3)
			continue;
		has_asks = true;
		if (n++ < client->step)
			continue;
		for (*box = client->boxes; *box < client->boxes + client->boxes_count; ++*box)
			if (strcmp((*box)->raw, name) == 0)
				return client->step++, true;
	}
	for (; !has_asks && client->step < client->boxes_count; client->step++) {
		*box = &client->boxes[client->step];
		if ((*box)->fate || !(*box)->selectable || (*box)->next_no < 2)
			continue;
		*first = 1;
		*last = (*box)->next_no - 1;
		return client->step++, true;
	}
	return false;
}

static enum err ask_more(struct play *play, unsigned *asked)
{
	struct source *source = play->client->source;
	const struct box *box = NULL;
	uint64_t first, last;
	enum err e = OK;

	while (e == OK && *asked < source->type->asks_max &&
	       next_range(play, &box, &first, &last)) {
		e = source->type->ask(source, box, first, last);
		++*asked;
	}
	return e;
}

static enum err read_all(struct play *play)
{
	struct source *source = play->client->source;
	struct item *item = calloc(1, sizeof *item);
	unsigned asked = 0;
	enum err e;

	must(item);
	while ((e = ask_more(play, &asked)) == OK && asked) {
		if ((e = source->type->next(source, item)))
			break;
		asked -= item->kind == ITEM_RANGE_DONE;
		if (item->kind == ITEM_RANGE_DONE)
			note_done(play, item);
		else
			note_message(play, item);
	}
	if (e == OK)
		CHECK_EQ(source->type->next(source, item), ERR_PIPE_ENDED);
	free(item);
	return e;
}

static void met(void *context, const struct peer *peer)
{
	play_event(context, "peer software=\"%s\"", peer->software);
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

	play_event(play, "found kind=%s uid=%llu last=%llu flags=%s keywords=\"%.*s\"",
		   kinds[finding->kind], (unsigned long long)finding->no,
		   (unsigned long long)finding->last, flag_names(meta ? meta->flags : 0, flags),
		   meta ? meta->keywords_bytes : 0, meta ? meta->keywords : "");
}

static enum err scan_box(struct play *play, struct box *box, uint64_t first, uint64_t last,
			 bool flags)
{
	struct source *source = play->client->source;
	struct finding finding;
	enum err e = source->type->scan(source, box, first, last, flags);

	while (e == OK && (e = source->type->found(source, &finding)) == OK)
		note_finding(play, &finding);
	e = e == ERR_PIPE_ENDED ? OK : e;
	play_event(play, "scanned box=\"%s\" fate=%s", box->raw, e ? err_name(e) : "OK");
	if (e == OK || err_retry_class(e) != RETRY_SKIP_BOX)
		return e;
	err_note_clear();
	return OK;
}

/* The file's `scan` lines, in order. */
static enum err scan_all(struct play *play)
{
	struct client *client = play->client;
	enum err e = OK;

	for (unsigned i = 0; i < play->script.count && e == OK; i++) {
		char name[200], before[CURSOR_BYTES_MAX + 1] = "", flags[20] = "yes";
		const char *text = play->script.lines[i].text;
		unsigned long first, last;

		if (sscanf(text, "scan %199s %lu:%lu flags=%19s before=%95[^\n]", name, &first,
			   &last, flags, before) < 4)
			continue;
		for (unsigned n = 0; n < client->boxes_count && e == OK; n++) {
			struct box *box = &client->boxes[n];

			if (strcmp(box->raw, name) != 0)
				continue;
			snprintf(box->before.at, sizeof box->before.at, "%s", before);
			e = scan_box(play, box, first, last, strcmp(flags, "yes") == 0);
		}
	}
	return e;
}

static enum err converse(struct play *play)
{
	struct client *client = play->client;
	enum err e = imap_source.open(&client->source, &play->account, client->reserve,
				      clock_after(20 * NSEC_SECOND));
	char raised[PLAY_RAISED_BYTES];

	if (e == OK)
		recall_all(play);
	if (e == OK)
		e = list_boxes(play);
	if (e == OK)
		e = scan_all(play);
	if (e == OK)
		e = read_all(play);
	if (e == OK)
		e = imap_source.finish(client->source, clock_after(20 * NSEC_SECOND));
	imap_source.close(&client->source);
	if (e)
		play_event(play, "error name=%s %s", err_name(e), play_raised_words(raised));
	else
		play_event(play, "end");
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

/* Before TLS an end is orderly, and with something unread the kernel makes it a reset. */
static bool is_same_end(const char *name, const char *wanted)
{
	return strcmp(name, wanted) == 0 ||
	       (strcmp(wanted, "TLS_CUT") == 0 &&
		(strcmp(name, "NET_CLOSED") == 0 || strcmp(name, "NET_RESET") == 0));
}

/* No message is told whole that is not in the script. */
static void judge_tricked(const struct play *play)
{
	play_judge_end(play, is_same_end);
	play_judge_claims(play, "message ", " fate=OK broken=OK");
}

/* ---- what it takes, and gives back ---- */

static void read_filter(struct play *play)
{
	struct client *client = play->client;
	const char *since = wire_word(&play->options, "since", NULL);
	const char *before = wire_word(&play->options, "before", NULL);

	CHECK_OK(filter_open(NULL, &client->filter));
	if (since)
		CHECK_OK(filter_since(client->filter, since));
	if (before)
		CHECK_OK(filter_before(client->filter, before));
	filter_sizes(client->filter, strtoul(wire_word(&play->options, "min", "0"), NULL, 10),
		     strtoul(wire_word(&play->options, "max", "0"), NULL, 10));
	CHECK_OK(filter_check(client->filter));
	play->account.filter = client->filter;
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

/* The first token, and the second for whoever asks again. */
static enum err next_token(const struct oauth2_source *source, enum oauth2_credential which,
			   nsec until, struct secret **out)
{
	struct play *play = (struct play *)(uintptr_t)source->context;
	const char *token = wire_word(&play->options, "token", "");

	(void)until;
	CHECK_EQ(which, OAUTH2_CREDENTIAL);
	if (play->client->tokens_given++)
		token = wire_word(&play->options, "token2", token);
	return secret_from_bytes(token, strlen(token), out);
}

static void use_tokens(struct play *play)
{
	struct oauth2_source *tokens = &play->client->tokens;
	struct oauth2_token *token = NULL;

	*tokens = (struct oauth2_source){ .grant = OAUTH2_TOKEN,
					  .name = "the token of the test",
					  .io_timeout = NSEC_SECOND,
					  .connect_timeout = NSEC_SECOND,
					  .credential = next_token,
					  .context = play };
	play->account.oauth2 = tokens;
	if (!wire_word(&play->options, "used", NULL))
		return;
	CHECK_OK(oauth2_token_get(tokens, clock_after(NSEC_SECOND), &token));
	CHECK(!oauth2_token_was_used(token));
	oauth2_token_put(&token);
}

static void prepare(struct play *play)
{
	CHECK_OK(reserve_open(arena_current(), LANE_CHUNKS_RESERVED, clock_after(NSEC_SECOND),
			      &play->client->reserve));
	play->account.met = met;
	play->account.met_context = play;
	read_filter(play);
	read_labels(play);
	if (wire_word(&play->options, "token", NULL))
		use_tokens(play);
}

/* Everything that was taken is given back, and never more was taken than had been promised. */
static void check_home(void)
{
	struct arena_counts counts = arena_counts(arena_current());

	CHECK_EQ(counts.in_use, 0);
	CHECK(counts.in_use_high <= LANE_CHUNKS_RESERVED);
}

static void clean(struct play *play)
{
	oauth2_thread_cleanup();
	CHECK(!strstr(err_note()->text, wire_word(&play->options, "password", "secret")));
	filter_close(&play->client->filter);
	gmail_labels_close(&play->account.labels);
	reserve_close(&play->client->reserve);
	check_home();
}

static const struct play_kind reading = {
	.folder = "tests/wire",
	.client_bytes = sizeof(struct client),
	.prepare = prepare,
	.converse = converse,
	.clean = clean,
	.is_compared = is_compared,
	.judge_tricked = judge_tricked,
};

CONVERSATIONS(reading)

/* A wrong working directory must not look like success. */
TEST(there_are_at_least_24_conversations)
{
	CHECK(conversations_count() >= 24);
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
