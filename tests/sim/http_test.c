/* The HTTP client and its pool in the simulated world: a model server that hangs up, resets or
 *falls silent at any byte of what it hears or says, a client that is called off at any step, and
 *kept connections over hours that take no time. However it goes, nothing hangs, nothing is left
 *open, and whoever repeats what failed comes to the end with the right bytes.
 *
 *	SEED=7 build/gcc/tests/sim/http_test NAME */
#include <stdlib.h>

#include "engine/budget.h"
#include "engine/clock.h"
#include "engine/fiber.h"
#include "engine/limits.h"
#include "engine/shard.h"
#include "tests/sim/disk_sim.h"
#include "tests/sim/net_sim.h"
#include "tests/sim/ring_verbs.h"
#include "tests/sim/sim.h"
#include "tests/sim/world.h"
#include "tests/test.h"
#include "transport/conn.h"
#include "transport/http_pool.h"

enum {
	PORT = 443,
	LARGE_BYTES = 300 * 1024, /* past what goes out in one flight */
	SMALL_BYTES = 500,
	GET_BYTES = 6000, /* past what is read together with a head */
	ATTEMPTS_MAX = 4,
	CLIENTS = 5,
	/* Of what is heard most is bodies. */
	STRIDE_HEARD = SANITIZED ? 9001 : 997,
	STRIDE_HEARD_HEADS = SANITIZED ? 101 : 3,
	STRIDE_SAID = SANITIZED ? 101 : 5,
	STRIDE_CANCEL = SANITIZED ? 7 : 1,
};
#define IO_TIMEOUT (30 * NSEC_SECOND)
#define PATIENCE   (300 * NSEC_SECOND)

/* ---- the server ---- */

enum job { PUT_SMALL, PUT_LARGE, PUT_ASKED, PUT_FED, PUT_EARLY, GET, GET_CHUNKS, HEAD, JOBS };
enum trouble { NO_TROUBLE, HANGS_UP, RESETS, STALLS, TROUBLES };

struct model {
	/* what goes wrong, once: when so many bytes were heard in all, or said */
	enum trouble trouble;
	bool of_said;
	uint64_t at;
	/* of every connection */
	unsigned answers_max; /* then it closes without a word; 0: never */
	bool says_close;      /* with each answer */
	bool is_mute;	      /* hears and never answers */
	bool drops_kept;      /* hangs up when it is asked again */
	const char *extra;    /* fields of each answer */
	/* what it saw */
	uint64_t heard, said;
	unsigned connections, open, open_most, puts, early;
	bool put_was_wrong;
	uint64_t begun[2 * JOBS]; /* where in what was heard requests begin */
	unsigned begun_count;
};

struct session {
	struct model *model;
	struct net_conn *conn;
	struct buffer heard;
	unsigned answers;
	bool gone, told_to_go_on;
};

static uint8_t content[LARGE_BYTES];

static void make_content(void)
{
	uint32_t value = 7;

	for (size_t i = 0; i < sizeof content; i++)
		content[i] = (uint8_t)((value = value * 1664525 + 1013904223) >> 24);
}

static void leave(struct session *session, enum trouble how)
{
	session->gone = true;
	if (how == HANGS_UP)
		net_hang_up(session->conn);
	else if (how == RESETS)
		net_reset(session->conn);
	else
		net_accident_after(session->conn, NET_STALLS, 0, 0);
	if (how == STALLS)
		net_say(session->conn, "x", 1); /* which does not come through */
}

static void speak(struct session *session, const void *from, size_t bytes)
{
	struct model *model = session->model;
	bool is_last = model->trouble && model->of_said && model->said + bytes > model->at;

	if (session->gone)
		return;
	if (is_last)
		bytes = model->at - model->said;
	model->said += bytes;
	net_say(session->conn, from, bytes);
	if (is_last) {
		leave(session, model->trouble);
		model->trouble = NO_TROUBLE;
	}
}

static void speak_text(struct session *session, const char *text)
{
	speak(session, text, strlen(text));
}

static void answer(struct session *session, const char *status, size_t bytes)
{
	struct model *model = session->model;
	char head[300];

	snprintf(head, sizeof head, "HTTP/1.1 %s\r\nContent-Length: %zu\r\n%s%s\r\n", status, bytes,
		 model->says_close ? "Connection: close\r\n" : "",
		 model->extra ? model->extra : "");
	speak_text(session, head);
	speak(session, content, bytes);
	session->answers++;
	if (model->says_close || session->answers == model->answers_max)
		leave(session, HANGS_UP);
}

static void answer_in_chunks(struct session *session)
{
	char line[20];

	speak_text(session, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
	for (size_t at = 0, bytes; at < GET_BYTES; at += bytes) {
		bytes = min_u64(GET_BYTES - at, 1500);
		snprintf(line, sizeof line, "%zx\r\n", bytes);
		speak_text(session, line);
		speak(session, content + at, bytes);
		speak_text(session, "\r\n");
	}
	speak_text(session, "0\r\nX-Sum: 1\r\n\r\n");
	session->answers++;
}

/* A body in chunks as it was before, or NULL: not all of it is there. `used`: its coded bytes. */
static char *decode(struct text coded, size_t *bytes, size_t *used)
{
	struct http_head head = { .framing = HTTP_CHUNKED };
	struct buffer body = { 0 };
	struct http_body parsing;
	struct text piece;
	size_t some;

	*used = 0;
	http_parse_body_begin(&parsing, &head);
	while (parsing.at != HTTP_AT_END && *used < coded.bytes) {
		must(http_parse_body(&parsing,
				     (struct text){ coded.at + *used, coded.bytes - *used }, &some,
				     &piece) == OK);
		buffer_add(&body, piece.at, piece.bytes);
		*used += some;
	}
	*bytes = body.bytes;
	if (parsing.at != HTTP_AT_END)
		buffer_free(&body);
	http_parse_body_free(&parsing);
	return body.at;
}

static void take_put(struct session *session, const void *body, size_t bytes)
{
	struct model *model = session->model;

	model->puts++;
	model->put_was_wrong |=
		(bytes != LARGE_BYTES && bytes != SMALL_BYTES) || memcmp(body, content, bytes) != 0;
	answer(session, "200 OK", 0);
}

/* What of one request is there; how many bytes of it are done with. */
static size_t take_request(struct session *session)
{
	struct text heard = { session->heard.at, session->heard.bytes };
	size_t head = http_parse_head_bytes(heard), bytes = 0, used = 0;
	const char *length = head ? memmem(heard.at, head, "Content-Length: ", 16) : NULL;
	char *decoded = NULL;

	if (!head || session->model->is_mute)
		return 0;
	if (session->model->drops_kept && session->answers) {
		leave(session, HANGS_UP);
		return heard.bytes;
	}
	if (memmem(heard.at, head, "Expect: 100", 11) && !session->told_to_go_on) {
		session->told_to_go_on = true;
		speak_text(session, "HTTP/1.1 100 Continue\r\n\r\n");
	}
	if (memmem(heard.at, head, "/early", 6) && heard.bytes > head + 100000) {
		session->model->early++;
		answer(session, "413 Too Large", 10);
		leave(session, sim_one_in(SIM_NET, 2) ? HANGS_UP : RESETS);
		return heard.bytes;
	}
	if (memmem(heard.at, head, "chunked", 7)) {
		decoded =
			decode((struct text){ heard.at + head, heard.bytes - head }, &bytes, &used);
		if (!decoded)
			return 0;
		take_put(session, decoded, bytes);
		free(decoded);
		return head + used;
	}
	bytes = length ? strtoul(length + 16, NULL, 10) : 0;
	if (heard.bytes < head + bytes)
		return 0;
	if (memcmp(heard.at, "PUT", 3) == 0)
		take_put(session, heard.at + head, bytes);
	else if (memmem(heard.at, head, "/chunks", 7))
		answer_in_chunks(session);
	else
		answer(session, "200 OK", memcmp(heard.at, "HEAD", 4) ? GET_BYTES : 0);
	session->told_to_go_on = false;
	return head + bytes;
}

static void received(void *owner, struct net_conn *conn, const void *from, size_t n)
{
	struct session *session = owner;
	struct model *model = session->model;
	size_t done;

	(void)conn;
	if (session->heard.bytes == 0 && model->begun_count < ARRAY_COUNT(model->begun))
		model->begun[model->begun_count++] = model->heard;
	model->heard += n;
	if (model->trouble && !model->of_said && model->heard > model->at) {
		leave(session, model->trouble);
		model->trouble = NO_TROUBLE;
	}
	if (session->gone)
		return;
	buffer_add(&session->heard, from, n);
	must(!session->heard.failed);
	while (!session->gone && session->heard.bytes && (done = take_request(session)) > 0) {
		session->heard.bytes -= done;
		bytes_move(session->heard.at, session->heard.at + done, session->heard.bytes + 1);
	}
}

static void *accepted(void *owner, struct net_conn *conn)
{
	struct session *session = calloc(1, sizeof *session);
	struct model *model = owner;

	must(session);
	session->model = model;
	session->conn = conn;
	model->connections++;
	model->open++;
	model->open_most = (unsigned)max_u64(model->open_most, model->open);
	return session;
}

static void closed(void *owner)
{
	struct session *session = owner;

	session->model->open--;
	buffer_free(&session->heard);
	free(session);
}

/* ---- the client ---- */

static const struct account account = { .scheme = "https",
					.user = "",
					.host = "127.0.0.1",
					.port = PORT,
					.io_timeout = IO_TIMEOUT,
					.connect_timeout = IO_TIMEOUT };

struct world_of_http {
	struct model model;
	struct http_pool *pool;
	fiber_main *client;
	unsigned connections; /* of the pool; 0: 2 */
	/* cancel the client at this step; 0: never */
	uint64_t cancel_at;
	struct group *group;
	enum err error;
	char note[ERR_NOTE_BYTES_MAX];
	nsec took;
	unsigned stale;
};

static enum err feed_next(void *context, struct text *piece)
{
	size_t *at = context;

	if (*at == LARGE_BYTES)
		return ERR_STREAM_ENDED;
	*piece = (struct text){ (const char *)content + *at, min_u64(LARGE_BYTES - *at, 40000) };
	*at += piece->bytes;
	return OK;
}

static enum err check_content(struct http *http, const struct http_head *head, size_t wanted)
{
	uint8_t *body = malloc(wanted + 1);
	size_t used = 0, got;
	enum err e = OK;

	must(body);
	while (!e && (e = http_read(http, body + used, wanted + 1 - used, &got)) == OK)
		used += got;
	if (e == ERR_STREAM_ENDED) {
		e = OK;
		CHECK_EQ(used, wanted);
		CHECK(memcmp(body, content, used) == 0);
	}
	if (!e && head->framing == HTTP_CHUNKED)
		CHECK(text_equal(http_trailers(http), text_of("X-Sum: 1\r\n")));
	free(body);
	return e;
}

static enum err ask(struct http *http, enum job job, struct http_head *head)
{
	static const char *const targets[JOBS] = {
		[PUT_EARLY] = "/early", [GET_CHUNKS] = "/chunks"
	};
	const char *at = (const char *)content;
	const struct text pieces[] = { { at, 100001 }, { at + 100001, LARGE_BYTES - 100001 } };
	size_t fed = 0;
	const struct http_feed feed = { .next = feed_next,
					.context = &fed,
					.bytes = HTTP_BYTES_UNKNOWN };
	struct http_request request = { .method = job >= HEAD  ? "HEAD"
						  : job >= GET ? "GET"
							       : "PUT",
					.target = targets[job] ? targets[job] : "/key",
					.first_byte = IO_TIMEOUT };

	if (job == PUT_SMALL)
		request.body = (struct text){ at, SMALL_BYTES };
	else if (job == PUT_FED)
		request.feed = &feed;
	else if (job < GET) {
		request.pieces = pieces;
		request.pieces_count = 2;
	}
	request.continue_wait = job == PUT_ASKED ? 2 * NSEC_SECOND : 0;
	return http_ask(http, &request, clock_after(PATIENCE), head);
}

/* One request and its answer. */
static enum err try_job(struct world_of_http *world, enum job job)
{
	struct http *http = NULL;
	struct http_head head;
	enum err e;

	if ((e = http_pool_take(world->pool, &account, clock_after(PATIENCE), &http)))
		return e;
	if ((e = ask(http, job, &head)) == OK) {
		CHECK_EQ(head.status, job == PUT_EARLY ? 413 : 200);
		e = check_content(http, &head,
				  job == GET || job == GET_CHUNKS ? GET_BYTES
				  : job == PUT_EARLY		  ? 10
								  : 0);
	}
	world->stale += e && http_was_stale(http);
	http_pool_give(world->pool, &http);
	return e;
}

/* As the layer above would: what breaks is repeated. An answer in the middle of a body may be lost
 * with the connection that is reset behind it. */
static enum err do_job(struct world_of_http *world, enum job job)
{
	enum err e = OK;

	for (unsigned attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
		err_note_clear();
		if ((e = try_job(world, job)) == OK || e == ERR_FIBER_CANCELED)
			return e;
		CHECK_EQ(err_note()->error, e);
		CHECK_EQ(err_retry_class(e), RETRY_RECONNECT);
	}
	return job == PUT_EARLY ? OK : e;
}

static enum err do_all(void *argument)
{
	enum err e = OK;

	for (int job = 0; !e && job < JOBS; job++)
		e = do_job(argument, (enum job)job);
	return e;
}

static enum err world_main(void *argument)
{
	struct world_of_http *world = argument;
	nsec begun = clock_now();
	enum err e;

	must(http_pool_open(world->connections ? world->connections : 2, &world->pool) == OK);
	world->group = group_open();
	must(group_spawn(world->group, "client", FIBER_STACK_LARGE, world->client, world) == OK);
	e = group_join(&world->group);
	world->took = clock_now() - begun;
	CHECK_EQ(http_pool_counts(world->pool).lent, 0);
	CHECK_EQ(http_pool_counts(world->pool).waiting, 0);
	err_note_clear();
	http_pool_finish(world->pool, clock_after(NSEC_SECOND));
	http_pool_close(&world->pool);
	return e;
}

static void passed(void *owner)
{
	struct world_of_http *world = owner;

	if (world->cancel_at && sim_steps() == world->cancel_at && world->group)
		group_cancel(world->group);
}

static void stuck(void *owner, const char *why)
{
	const struct world_of_http *world = owner;

	printf("stuck: %s; trouble %d at %llu of what is %s, cancelled at %llu\n", why,
	       world->model.trouble, (unsigned long long)world->model.at,
	       world->model.of_said ? "said" : "heard", (unsigned long long)world->cancel_at);
}

static void run(struct world_of_http *world)
{
	static struct disk *disk; /* empty: trust settings look for files */

	if (!disk) {
		disk = disk_open(1024 * 1024);
		make_content();
	}
	sim_begin(&(struct sim_config){
		.seed = world_seed(7), .passed = passed, .stuck = stuck, .owner = world });
	net_forget();
	net_listen(&(struct net_server){ .port = PORT,
					 .accepted = accepted,
					 .received = received,
					 .closed = closed,
					 .owner = &world->model });
	world->error = shard_run(&(struct shard_config){ .arena_chunks = 16 }, world_main, world);
	snprintf(world->note, sizeof world->note, "%s", err_note()->text);
	err_note_clear();
	conn_thread_cleanup();
	CHECK_EQ(ring_verb_open_files(true), 0);
	CHECK_EQ(world->model.open, 0);
	CHECK(!world->model.put_was_wrong);
}

/* ---- answers that come in pieces ---- */

enum { ASKED = 30 };

static enum err get_and_put(void *argument)
{
	const uint64_t *acknowledged = &ring_counts(scheduler_ring())->acknowledged;
	enum err e = OK;

	for (unsigned i = 0; !e && i < ASKED; i++)
		e = do_job(argument, PUT_SMALL);
	CHECK_EQ(*acknowledged, 0); /* the answer has no body */
	for (unsigned i = 0; !e && i < ASKED; i++)
		e = do_job(argument, GET);
	CHECK(*acknowledged > 0 && *acknowledged <= ASKED);
	return e;
}

TEST(a_head_that_comes_without_its_body_is_acknowledged_at_once)
{
	struct world_of_http world = { .client = get_and_put };

	run(&world);
	CHECK_OK(world.error);
}

/* ---- trouble at every byte ---- */

TEST(all_requests_go_over_one_connection_where_nothing_is_wrong)
{
	struct world_of_http world = { .client = do_all };

	run(&world);
	CHECK_OK(world.error);
	/* One is lost with the early answer, as often as that does not come through. */
	CHECK(world.model.early > 0);
	CHECK_EQ(world.model.connections, 1 + world.model.early);
	CHECK_EQ(world.model.puts, 4);
}

/* Heads are tried closely, what is heard of bodies here and there. */
static uint64_t next_place(uint64_t at, bool of_said, const struct model *calm)
{
	if (of_said)
		return at + STRIDE_SAID;
	for (unsigned i = 0; i < calm->begun_count; i++)
		if (at >= calm->begun[i] && at < calm->begun[i] + 300)
			return at + STRIDE_HEARD_HEADS;
		else if (at < calm->begun[i])
			return min_u64(at + STRIDE_HEARD, calm->begun[i]);
	return at + STRIDE_HEARD;
}

static void check_trouble(enum trouble trouble, bool of_said)
{
	struct world_of_http calm = { .client = do_all };
	unsigned tried = 0, stale = 0;
	uint64_t all;

	run(&calm);
	all = of_said ? calm.model.said : calm.model.heard;
	for (uint64_t at = 0; at < all; at = next_place(at, of_said, &calm.model), tried++) {
		struct world_of_http world = {
			.client = do_all,
			.model = { .trouble = trouble, .of_said = of_said, .at = at }
		};

		run(&world);
		stale += world.stale;
		if (world.error || world.model.puts < 4 || world.took > PATIENCE)
			test_failed(__FILE__, __LINE__,
				    "trouble %d at byte %llu of what is %s: %s, %u puts, %lld s",
				    trouble, (unsigned long long)at, of_said ? "said" : "heard",
				    err_name(world.error), world.model.puts,
				    (long long)(world.took / NSEC_SECOND));
	}
	printf("  %u places, %u times stale\n", tried, stale);
}

TEST(a_server_may_hang_up_at_any_byte_it_hears)
{
	check_trouble(HANGS_UP, false);
}

TEST(a_server_may_reset_at_any_byte_it_hears)
{
	check_trouble(RESETS, false);
}

TEST(a_server_may_fall_silent_at_any_byte_it_hears)
{
	check_trouble(STALLS, false);
}

TEST(a_server_may_hang_up_at_any_byte_it_says)
{
	check_trouble(HANGS_UP, true);
}

TEST(a_server_may_reset_at_any_byte_it_says)
{
	check_trouble(RESETS, true);
}

TEST(a_server_may_fall_silent_at_any_byte_it_says)
{
	check_trouble(STALLS, true);
}

/* ---- called off at every step ---- */

TEST(who_is_called_off_at_any_step_leaves_nothing_behind)
{
	struct world_of_http calm = { .client = do_all };
	uint64_t steps, canceled = 0;

	run(&calm);
	steps = sim_steps();
	for (uint64_t at = 1; at < steps; at += STRIDE_CANCEL) {
		struct world_of_http world = { .client = do_all, .cancel_at = at };

		run(&world);
		CHECK(world.error == ERR_FIBER_CANCELED || world.error == OK);
		canceled += world.error == ERR_FIBER_CANCELED;
	}
	CHECK(canceled > steps / 2 / STRIDE_CANCEL);
	printf("  %llu steps\n", (unsigned long long)steps);
}

/* ---- the pool ---- */

static enum err get_then_wait(struct world_of_http *world, nsec wait)
{
	enum err e = do_job(world, GET);

	return e ? e : fiber_sleep(clock_after(wait));
}

static enum err twice_within_the_idle_time(void *argument)
{
	enum err e = get_then_wait(argument, HTTP_IDLE_MAX - NSEC_SECOND);

	return e ? e : do_job(argument, GET);
}

static enum err twice_with_a_long_pause(void *argument)
{
	enum err e = get_then_wait(argument, HTTP_IDLE_MAX + NSEC_SECOND);

	return e ? e : do_job(argument, GET);
}

static void check_connections(fiber_main *client, struct model model, unsigned expected)
{
	struct world_of_http world = { .client = client, .model = model };

	run(&world);
	CHECK_OK(world.error);
	CHECK_EQ(world.model.connections, expected);
	CHECK_EQ(world.stale, 0); /* it is not asked at all */
}

TEST(a_connection_is_kept_for_a_while_and_not_longer)
{
	check_connections(twice_within_the_idle_time, (struct model){ 0 }, 1);
	check_connections(twice_with_a_long_pause, (struct model){ 0 }, 2);
}

TEST(a_connection_is_not_kept_longer_than_its_server_does)
{
	check_connections(twice_within_the_idle_time,
			  (struct model){ .extra = "Keep-Alive: timeout=9\r\n" }, 2);
	check_connections(twice_within_the_idle_time, (struct model){ .says_close = true }, 2);
}

/* The server's end has come before the second request: seen by looking, without asking. */
TEST(a_kept_connection_that_its_server_ended_is_not_lent)
{
	check_connections(twice_within_the_idle_time, (struct model){ .answers_max = 1 }, 2);
}

static enum err twice_over_one_that_was_lent_again(void *argument)
{
	struct world_of_http *world = argument;
	struct http *http = NULL;
	struct http_head head;
	enum err e;

	if ((e = do_job(world, GET)) ||
	    (e = http_pool_take(world->pool, &account, clock_after(PATIENCE), &http)))
		return e;
	if ((e = ask(http, GET, &head)) == OK && (e = check_content(http, &head, GET_BYTES)) == OK)
		e = fiber_sleep(clock_after(NSEC_SECOND));
	if (!e && CHECK_ERR(ask(http, GET, &head), ERR_NET_CLOSED))
		CHECK(strstr(err_note()->text, "is not kept for another request"));
	err_note_clear();
	http_pool_give(world->pool, &http);
	return e;
}

/* The pool has looked at it, which is nothing to rely on when it has been asked once. */
TEST(a_look_at_a_connection_is_good_for_one_request)
{
	struct world_of_http world = { .client = twice_over_one_that_was_lent_again,
				       .model = { .answers_max = 2 } };

	run(&world);
	CHECK_OK(world.error);
	CHECK_EQ(world.model.connections, 1);
}

struct queue {
	struct world_of_http *world;
	unsigned number, *order, *order_count;
};

static enum err stand_in_line(void *argument)
{
	struct queue *queue = argument;
	struct http *http = NULL;
	struct http_head head;
	enum err e;

	e = http_pool_take(queue->world->pool, &account, clock_after(PATIENCE), &http);
	if (!e) {
		queue->order[(*queue->order_count)++] = queue->number;
		CHECK(http_pool_counts(queue->world->pool).lent <= 2);
		e = ask(http, GET, &head);
	}
	if (!e)
		e = check_content(http, &head, GET_BYTES);
	http_pool_give(queue->world->pool, &http);
	return e;
}

static enum err many_at_once(void *argument)
{
	struct world_of_http *world = argument;
	unsigned order[4 * CLIENTS], count = 0;
	struct queue queues[CLIENTS];
	struct group *group = group_open();
	enum err e;

	for (unsigned i = 0; i < CLIENTS; i++) {
		queues[i] = (struct queue){ world, i, order, &count };
		must(group_spawn(group, "queue", FIBER_STACK_SMALL, stand_in_line, &queues[i]) ==
		     OK);
	}
	if ((e = group_join(&group)))
		return e;
	CHECK_EQ(count, CLIENTS);
	for (unsigned i = 0; world->connections == 1 && i < count; i++)
		CHECK_EQ(order[i], i);
	return e;
}

TEST(connections_are_bounded)
{
	struct world_of_http world = { .client = many_at_once };

	run(&world);
	CHECK_OK(world.error);
	CHECK_EQ(world.model.open_most, 2);
	CHECK_EQ(world.model.connections, 2);
}

TEST(connections_are_lent_in_the_order_in_which_they_are_asked_for)
{
	for (int closes = 0; closes < 2; closes++) {
		struct world_of_http world = { .client = many_at_once,
					       .connections = 1,
					       .model = { .says_close = closes } };

		run(&world);
		CHECK_OK(world.error);
		CHECK_EQ(world.model.connections, closes ? CLIENTS : 1);
	}
}

static enum err two_and_then_one(void *argument)
{
	struct world_of_http *world = argument;
	struct http *http[2] = { NULL, NULL };
	struct http_head head;
	enum err e = OK;

	for (unsigned i = 0; !e && i < 2; i++)
		e = http_pool_take(world->pool, &account, clock_after(PATIENCE), &http[i]);
	for (unsigned i = 0; i < 2; i++) {
		if (!e && (e = ask(http[i], GET, &head)) == OK)
			e = check_content(http[i], &head, GET_BYTES);
		http_pool_give(world->pool, &http[i]);
	}
	CHECK_EQ(http_pool_counts(world->pool).idle, 2);
	return e ? e : do_job(world, GET);
}

/* A look shows nothing yet, so one request is lost; the other idle one is no better, so it is not
 * tried. */
TEST(where_one_connection_is_stale_the_next_request_has_a_new_one)
{
	struct world_of_http world = { .client = two_and_then_one,
				       .model = { .drops_kept = true } };

	run(&world);
	CHECK_OK(world.error);
	CHECK_EQ(world.stale, 1);
	CHECK_EQ(world.model.connections, 3);
}

/* What is given back to one who is called off himself goes on to the next. */
TEST(who_is_called_off_while_he_waits_keeps_nothing)
{
	struct world_of_http calm = { .client = many_at_once };
	uint64_t steps;

	run(&calm);
	steps = sim_steps();
	for (uint64_t at = 1; at < steps; at++) {
		struct world_of_http world = { .client = many_at_once, .cancel_at = at };

		run(&world);
		CHECK(world.error == ERR_FIBER_CANCELED || world.error == OK);
	}
}

static enum err wait_in_vain(void *argument)
{
	struct world_of_http *world = argument;
	struct http *http[2] = { NULL, NULL }, *third = NULL;
	nsec until = clock_after(PATIENCE);

	CHECK_OK(http_pool_take(world->pool, &account, until, &http[0]));
	CHECK_OK(http_pool_take(world->pool, &account, until, &http[1]));
	CHECK_ERR(http_pool_take(world->pool, &account, clock_after(NSEC_SECOND), &third),
		  ERR_NET_TIMEOUT);
	CHECK(strstr(err_note()->text, "waiting for one of 2 connections to 127.0.0.1") != NULL);
	err_note_clear();
	CHECK_EQ(http_pool_counts(world->pool).waiting, 0);
	http_pool_give(world->pool, &http[0]);
	CHECK_OK(http_pool_take(world->pool, &account, until, &third));
	http_pool_give(world->pool, &third);
	http_pool_give(world->pool, &http[1]);
	return OK;
}

TEST(who_waits_for_a_connection_waits_until_his_deadline)
{
	struct world_of_http world = { .client = wait_in_vain };

	run(&world);
	CHECK_OK(world.error);
}

static enum err ask_other_places(void *argument)
{
	struct world_of_http *world = argument;
	struct account others[4] = { account, account, account, account };
	struct http *http = NULL;
	struct http_head head;
	enum err e = OK;

	others[1].host = "127.0.0.2";
	others[2].io_timeout++;
	others[3].key = "arn:aws:kms:eu-central-1:123456789012:key/a";
	for (unsigned i = 0; !e && i < 2 * ARRAY_COUNT(others); i++) {
		e = http_pool_take(world->pool, &others[i % ARRAY_COUNT(others)],
				   clock_after(PATIENCE), &http);
		if (!e && (e = ask(http, GET, &head)) == OK)
			e = check_content(http, &head, GET_BYTES);
		http_pool_give(world->pool, &http);
	}
	CHECK_EQ(http_pool_counts(world->pool).places, 4);
	CHECK_EQ(http_pool_counts(world->pool).kept, 4);
	CHECK_OK(fiber_sleep(clock_after(HTTP_IDLE_MAX + NSEC_SECOND)));
	e = e ? e : do_job(world, GET);
	CHECK_EQ(http_pool_counts(world->pool).places, 1);
	return e;
}

TEST(places_share_no_connections_and_are_forgotten_with_them)
{
	struct world_of_http world = { .client = ask_other_places };

	run(&world);
	CHECK_OK(world.error);
	CHECK_EQ(world.model.connections, 5);
}

/* ---- silence ---- */

static enum err ask_once(void *argument)
{
	return try_job(argument, PUT_LARGE);
}

TEST(a_server_that_never_answers_is_left_at_the_first_bytes_deadline)
{
	struct world_of_http world = { .client = ask_once, .model = { .is_mute = true } };

	run(&world);
	CHECK_ERR(world.error, ERR_NET_TIMEOUT);
	CHECK(world.took >= IO_TIMEOUT && world.took < IO_TIMEOUT + 2 * NSEC_SECOND);
	CHECK_EQ(world.stale, 0);
}
