/* The HTTP client, its body-sending fiber and its pool against a server that says anything, over
 * the simulated ring and network. The first byte chooses the requests; then the server says one
 * part of the input (fuzz.h) whenever the client has spoken, and hangs up behind the last. */
#include <stdlib.h>

#include "engine/clock.h"
#include "tests/fuzz/fuzz.h"
#include "tests/sim/net_sim.h"
#include "transport/http_pool.h"

enum { PORT = 443, PIECE_BYTES = 60000, PIECES = 4, REQUESTS = 3, ROOM_BYTES = 700 };
#define PATIENCE   (600 * NSEC_SECOND)
#define IO_TIMEOUT (15 * NSEC_SECOND)

struct talk {
	struct text input; /* what is left of it */
	uint64_t said;
};

/* ---- the server ---- */

static void say_more(struct talk *talk, struct net_conn *conn)
{
	struct text part = fuzz_take_part(&talk->input);

	talk->said += part.bytes;
	net_say(conn, part.at, part.bytes);
	if (!talk->input.bytes)
		net_hang_up(conn);
}

static void *accepted(void *owner, struct net_conn *conn)
{
	(void)conn;
	return owner;
}

static void received(void *session, struct net_conn *conn, const void *from, size_t n)
{
	(void)from, (void)n;
	say_more(session, conn);
}

/* ---- the client ---- */

struct feeding {
	unsigned left;
};

static char piece_of_body[PIECE_BYTES];

static enum err feed_next(void *context, struct text *piece)
{
	struct feeding *feeding = context;

	if (!feeding->left)
		return ERR_STREAM_ENDED;
	feeding->left--;
	*piece = (struct text){ piece_of_body, sizeof piece_of_body };
	return OK;
}

/* Whatever it says, only that of the answer's body may come out. */
static enum err read_answer(struct talk *talk, struct http *http, size_t piece)
{
	char room[ROOM_BYTES];
	uint64_t bytes = 0;
	size_t got = 0;
	enum err e;

	while ((e = http_read(http, room, piece, &got)) == OK) {
		must(got > 0 && got <= piece);
		bytes += got;
	}
	must(bytes <= talk->said);
	if (e == ERR_STREAM_ENDED) {
		must(http_read(http, room, piece, &got) == ERR_STREAM_ENDED);
		return OK;
	}
	must(!http_is_open(http));
	return e;
}

static enum err ask(struct talk *talk, struct http *http, unsigned how)
{
	const struct text pieces[PIECES] = { { piece_of_body, PIECE_BYTES },
					     { piece_of_body, 1 },
					     { piece_of_body, 0 },
					     { piece_of_body, PIECE_BYTES } };
	struct feeding feeding = { .left = 3 };
	const struct http_field trailers[] = { { "x-sum", text_of("1") } };
	const struct http_feed feed = { .next = feed_next,
					.context = &feeding,
					.bytes = HTTP_BYTES_UNKNOWN,
					.trailers = trailers,
					.trailers_count = 1 };
	struct http_request request = { .method = how % 4 == 3	 ? "HEAD"
						  : how % 4 == 2 ? "GET"
								 : "PUT",
					.target = "/",
					.first_byte = IO_TIMEOUT };
	struct http_head head = { 0 };
	enum err e;

	if (how % 4 == 0) {
		request.pieces = pieces;
		request.pieces_count = PIECES;
	} else if (how % 4 == 1) {
		request.feed = &feed;
	}
	request.continue_wait = how & 4 ? NSEC_SECOND : 0;
	if ((e = http_ask(http, &request, clock_after(PATIENCE), &head)))
		return e;
	must(head.status >= 200 && head.status <= 599);
	must(!http_was_stale(http));
	must(how % 4 != 3 || head.framing == HTTP_NO_BODY);
	return read_answer(talk, http, how & 8 ? 1 : ROOM_BYTES);
}

FUZZ_FIBER(http_talk)
{
	unsigned how = fuzz_take_byte(&input);
	struct account account = { .scheme = "https",
				   .user = "",
				   .host = "127.0.0.1",
				   .port = PORT,
				   .io_timeout = IO_TIMEOUT,
				   .connect_timeout = IO_TIMEOUT };
	struct talk talk = { .input = input };
	struct http_pool *pool = NULL;
	struct http *http = NULL;
	nsec begun = clock_now();
	enum err e = OK;

	net_forget();
	net_listen(&(struct net_server){
		.port = PORT, .accepted = accepted, .received = received, .owner = &talk });
	must(http_pool_open(1, &pool) == OK);
	for (unsigned i = 0; i < REQUESTS; i++, how = how << 2 | how >> 6) {
		must(err_note()->error == OK);
		e = http_pool_take(pool, &account, clock_after(PATIENCE), &http);
		if (!e)
			e = ask(&talk, http, how);
		/* However it ended, it is known why. */
		must((e == OK) == (err_note()->error == OK));
		err_note_clear();
		http_pool_give(pool, &http);
		must(http_pool_counts(pool).lent == 0);
	}
	must(clock_now() - begun <= REQUESTS * (PATIENCE + IO_TIMEOUT));
	http_pool_close(&pool);
}
