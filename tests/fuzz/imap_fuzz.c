/* A whole mailbox read from a server that says anything: the real imap_source over the simulated
 * ring and network, with libetpan behind its door. The first byte chooses how far the conversation
 * has come when the input begins; then the server says one part of it (fuzz.h) whenever the client
 * has spoken, and hangs up behind the last. */
#include <stdlib.h>

#include "crypto/secret.h"
#include "engine/clock.h"
#include "tests/fuzz/fuzz.h"
#include "tests/sim/net_sim.h"
#include "transport/conn.h"
#include "transport/imap_source.h"

enum { PORT = 993, BOXES_MAX = 8 };
#define PATIENCE   (600 * NSEC_SECOND)
#define IO_TIMEOUT (15 * NSEC_SECOND)
#define SEPARATOR  "\x1e"

/* What the server has said before the input begins. Tags are counted by imap_wire_begin(). */
#define BEFORE_FOLDERS                                                                             \
	"* PREAUTH ready\r\n" SEPARATOR                                                            \
	"* CAPABILITY IMAP4rev1 NAMESPACE LIST-EXTENDED LIST-STATUS SPECIAL-USE STATUS=SIZE "      \
	"LITERAL+\r\na1 OK done\r\n" SEPARATOR
#define BEFORE_MESSAGES                                                                            \
	BEFORE_FOLDERS "a2 OK done\r\n* LIST () \"/\" INBOX\r\n* LIST () \"/\" Sent\r\n"           \
		       "* STATUS INBOX (MESSAGES 3 UIDNEXT 10 UIDVALIDITY 77 SIZE 300)\r\n"        \
		       "* STATUS Sent (MESSAGES 1 UIDNEXT 2 UIDVALIDITY 78 SIZE 30)\r\n"           \
		       "a3 OK done\r\n" SEPARATOR
static const struct beginning {
	const char *scheme, *said;
} beginnings[] = {
	{ "imaps", "" },
	{ "imap", "" }, /* STARTTLS */
	{ "imaps", BEFORE_FOLDERS },
	{ "imaps", BEFORE_MESSAGES },
};

struct play {
	struct text said, input; /* what is left of either */
	struct box *boxes;
	unsigned boxes_count, box_at, asked;
	struct source *source;
	bool secured;
};

/* ---- the server ---- */

static void say_more(struct play *play, struct net_conn *conn)
{
	struct text *from = play->said.bytes ? &play->said : &play->input;
	struct text part = fuzz_take_part(from);

	net_say(conn, part.at, part.bytes);
	if (!play->said.bytes && !play->input.bytes)
		net_hang_up(conn);
}

static void *accepted(void *owner, struct net_conn *conn)
{
	say_more(owner, conn);
	return owner;
}

/* Whatever the server says, nobody logs in before TLS begins. */
static void received(void *session, struct net_conn *conn, const void *from, size_t n)
{
	struct play *play = session;

	play->secured |= memmem(from, n, " STARTTLS", 9) != NULL;
	must(play->secured || (!memmem(from, n, " LOGIN ", 7) && !memmem(from, n, " AUTH", 5)));
	say_more(play, conn);
}

/* ---- the client ---- */

static enum err list_boxes(struct play *play)
{
	struct box_page *page = calloc(1, sizeof *page);
	enum err e = OK;

	must(page);
	while (e == OK && !page->last) {
		e = play->source->type->list(play->source, page, clock_after(PATIENCE));
		for (unsigned i = 0; e == OK && i < page->count; i++) {
			must(strlen(page->boxes[i].name) <= BOX_NAME_BYTES_MAX);
			if (play->boxes_count < BOXES_MAX && !page->boxes[i].fate &&
			    page->boxes[i].selectable && page->boxes[i].next_no > 1)
				play->boxes[play->boxes_count++] = page->boxes[i];
		}
	}
	free(page);
	return e;
}

/* Two ranges of each folder, as the lane does: several are on their way at once. */
static enum err ask_more(struct play *play)
{
	enum err e = OK;

	while (e == OK && play->asked < play->source->type->asks_max &&
	       play->box_at < 2 * play->boxes_count) {
		unsigned at = play->box_at++;
		struct box *box = &play->boxes[at / 2];
		uint64_t last = box->next_no - 1, middle = (last + 1) / 2;

		box->box_no = at / 2;
		if (at % 2 && middle == last)
			continue;
		e = play->source->type->ask(play->source, box, at % 2 ? middle + 1 : 1,
					    at % 2 ? last : middle);
		play->asked += e == OK;
	}
	return e;
}

static enum err read_body(struct item *item)
{
	struct iolist list = { .count = 0 };
	uint64_t bytes = 0;
	enum err e;

	while ((e = stream_pull(item->body, &list)) == OK) {
		bytes += iolist_bytes(&list);
		iolist_release(&list);
	}
	stream_close(&item->body);
	must(e != ERR_STREAM_ENDED || item->size_bytes == (int64_t)bytes);
	return e == ERR_STREAM_ENDED ? OK : e;
}

static void take(struct play *play, struct item *item)
{
	must(item->box_no < play->boxes_count);
	play->asked -= item->kind == ITEM_RANGE_DONE;
	if (item->kind == ITEM_RANGE_DONE && item->fate)
		err_note_clear();
	if (item->kind == ITEM_RANGE_DONE)
		return;
	must(item->no >= item->range_first && item->no <= item->range_last);
	must((item->fate == OK) == (item->body != NULL));
	if (item->body)
		(void)read_body(item); /* next() says the same again */
}

static enum err read_all(struct play *play)
{
	struct item *item = calloc(1, sizeof *item);
	enum err e;

	must(item);
	while ((e = ask_more(play)) == OK && play->asked) {
		if ((e = play->source->type->next(play->source, item)))
			break;
		take(play, item);
	}
	free(item);
	return e;
}

static void met(void *context, const struct peer *peer)
{
	(void)context;
	must(memchr(peer->software, '\0', sizeof peer->software));
}

static void converse(struct play *play, const struct account *account, struct reserve *reserve)
{
	enum err e = imap_source.open(&play->source, account, reserve, clock_after(PATIENCE));

	must((e == OK) == (play->source != NULL));
	if (e == OK)
		e = list_boxes(play);
	if (e == OK)
		e = read_all(play);
	if (e == OK)
		e = imap_source.finish(play->source, clock_after(PATIENCE));
	imap_source.close(&play->source);
	/* However it ended, it is known why. */
	must(e == OK || err_note()->error != OK);
}

FUZZ_FIBER(imap)
{
	unsigned how = fuzz_take_byte(&input);
	const struct beginning *beginning = &beginnings[how % ARRAY_COUNT(beginnings)];
	static struct secret *password; /* locked memory is dear: one for all inputs */
	struct account account = { .scheme = beginning->scheme,
				   .user = "alice",
				   .host = "127.0.0.1",
				   .port = PORT,
				   .path = "/",
				   .shown = "imaps://alice@127.0.0.1/",
				   .io_timeout = IO_TIMEOUT,
				   .connect_timeout = IO_TIMEOUT,
				   .met = met };
	struct text filled = fuzz_fill(input);
	struct play play = { .said = text_of(beginning->said),
			     .input = filled,
			     .secured = strcmp(beginning->scheme, "imaps") == 0 };
	struct reserve *reserve = NULL;

	if (!password)
		must(secret_from_bytes("secret", 6, &password) == OK);
	account.password = password;
	play.boxes = calloc(BOXES_MAX, sizeof *play.boxes);
	must(play.boxes);
	must(reserve_open(arena_current(), LANE_CHUNKS_RESERVED, clock_after(NSEC_SECOND),
			  &reserve) == OK);
	net_forget();
	net_listen(&(struct net_server){
		.port = PORT, .accepted = accepted, .received = received, .owner = &play });
	converse(&play, &account, reserve);
	reserve_close(&reserve);
	free(play.boxes);
	free((char *)(uintptr_t)filled.at);
}
