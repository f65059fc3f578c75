/* The S3 stand-in in the simulated network: what is said arrives, at its time, to its end; what one
 * process stored is there for the next. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/clock.h"
#include "engine/shard.h"
#include "tests/sim/disk_sim.h"
#include "tests/sim/s3_model_net.h"
#include "tests/sim/s3_talk.h"
#include "tests/sim/sim.h"
#include "tests/test.h"
#include "transport/conn.h"

enum { PORT = 443, SAID_MAX = 1200, WORLD_BEGINS_S = 1700001000 };
#define PATIENCE (60 * NSEC_SECOND)

struct visit {
	struct s3_talk *talk;
	struct s3_talk_request ask;
	char said[SAID_MAX]; /* the answer to its end */
	size_t bytes;
	nsec took;
	enum err ended;
};

static const struct account account = { .scheme = "https",
					.user = "",
					.host = "127.0.0.1",
					.port = PORT,
					.connect_timeout = PATIENCE };

/* Asks once over a connection of its own and reads until its end. */
static enum err visit_main(void *argument)
{
	struct visit *visit = argument;
	struct buffer request = { 0 };
	struct conn *conn = NULL;
	nsec begun = clock_now();
	size_t got;
	enum err e;

	visit->talk->now_s = s3_model_world_time();
	visit->ask.unsigned_fields = "connection: close\r\n";
	s3_talk_write(visit->talk, &visit->ask, &request);
	if ((e = conn_open(&account, PORT, CONN_TLS_NOW, begun + PATIENCE, &conn)) ||
	    (e = conn_write(conn, request.at, request.bytes)) || (e = conn_flush(conn)))
		goto out;
	while ((e = conn_read(conn, visit->said + visit->bytes, SAID_MAX - 1 - visit->bytes,
			      &got)) == OK)
		visit->bytes += got;
	visit->took = clock_now() - begun;
	visit->ended = e;
	e = OK;
out:
	conn_close(&conn);
	buffer_free(&request);
	return e;
}

static void run(struct visit *visit, unsigned process_no, int64_t wall_s)
{
	static struct disk *disk; /* empty: trust settings look for files */

	if (!disk)
		disk = disk_open(1024 * 1024);
	sim_begin(&(struct sim_config){ .seed = 7, .process_no = process_no, .wall_s = wall_s });
	net_forget();
	s3_model_listen(visit->talk->model, PORT);
	CHECK_OK(shard_run(&(struct shard_config){ .arena_chunks = 16 }, visit_main, visit));
	err_note_clear();
	conn_thread_cleanup();
}

static struct visit put(struct s3_talk *talk)
{
	return (struct visit){ .talk = talk,
			       .ask = { .method = "PUT", .path = "/box/k", .body = "one" } };
}

TEST(a_request_is_answered_whatever_the_wall_clock_of_the_process_says)
{
	struct s3_talk talk = { 0 };
	struct visit visit;

	s3_talk_open(&talk);
	visit = put(&talk);
	run(&visit, 0, 7200);
	CHECK(s3_model_world_time() < WORLD_BEGINS_S + 60); /* and not two hours later */
	CHECK(strncmp(visit.said, "HTTP/1.1 200 OK\r\n", 17) == 0);
	CHECK_EQ(s3_model_objects(&talk.model->buckets[0], ""), 1);
	s3_talk_close(&talk);
}

TEST(slow_answers_take_their_time_and_resets_end_them)
{
	struct s3_talk talk = { 0 };
	struct visit visit;

	s3_talk_open(&talk);
	s3_model_add_fault(talk.model, &(struct s3_model_fault){ .accident = S3_MODEL_SLOW,
								 .bytes = 100,
								 .wait_ms = 3000,
								 .count = 1 });
	visit = put(&talk);
	run(&visit, 0, 0);
	CHECK(strncmp(visit.said, "HTTP/1.1 200 OK\r\n", 17) == 0);
	CHECK(visit.took >= 9 * NSEC_SECOND);
	s3_model_add_fault(talk.model,
			   &(struct s3_model_fault){ .accident = S3_MODEL_RESETS_IN_ANSWER,
						     .bytes = 30,
						     .count = 1 });
	visit = put(&talk);
	run(&visit, 0, 0);
	CHECK_EQ(visit.ended, ERR_NET_RESET);
	CHECK_EQ(visit.bytes, 30);
	s3_model_add_fault(talk.model,
			   &(struct s3_model_fault){ .accident = S3_MODEL_STALLS, .count = 1 });
	visit = put(&talk);
	run(&visit, 0, 0);
	CHECK_EQ(visit.ended, ERR_NET_TIMEOUT);
	s3_talk_close(&talk);
}

TEST(what_a_process_that_ended_stored_is_there)
{
	struct s3_talk talk = { 0 };
	struct visit visit;
	int status;

	s3_talk_open(&talk);
	fflush(stdout);
	if (fork() == 0) {
		visit = put(&talk);
		run(&visit, 0, 0);
		_exit(visit.bytes > 0 ? 0 : 1);
	}
	REQUIRE(wait(&status) > 0);
	CHECK_EQ(status, 0);
	visit = put(&talk);
	visit.ask.fields = "if-none-match: *\n";
	run(&visit, 1, 0);
	CHECK(strncmp(visit.said, "HTTP/1.1 412", 12) == 0);
	s3_talk_close(&talk);
}

/* Who says a request and does not wait for its answer. */
static struct s3_model_session *say_only(struct s3_talk *talk)
{
	struct s3_model_session *session = s3_model_accept(talk->model);
	struct s3_talk_request ask = { .method = "PUT", .path = "/box/k", .body = "one" };
	struct buffer request = { 0 };

	s3_talk_write(talk, &ask, &request);
	s3_model_hear(session, talk->now_s, request.at, request.bytes);
	buffer_free(&request);
	return session;
}

TEST(what_nobody_waits_for_is_done_late_or_never)
{
	struct s3_talk talk = { 0 };
	struct s3_model_bucket *box;
	struct s3_model_session *session;
	struct s3_model_image *before;
	struct visit visit;

	s3_talk_open(&talk);
	box = &talk.model->buckets[0];
	talk.model->works_ms_max = 20000;
	before = s3_model_save(talk.model);
	session = say_only(&talk);
	s3_model_settle(talk.model, talk.now_s); /* its client may still wait */
	CHECK_EQ(s3_model_objects(box, ""), 0);
	s3_model_hang_up(&session);
	s3_model_settle(talk.model, talk.now_s);
	CHECK_EQ(s3_model_objects(box, ""), 1);
	s3_model_restore(talk.model, before);
	CHECK_EQ(s3_model_objects(box, ""), 0);
	talk.model->never_one_in = 1;
	session = say_only(&talk);
	s3_model_hang_up(&session);
	s3_model_settle(talk.model, talk.now_s);
	CHECK_EQ(s3_model_objects(box, ""), 0);
	CHECK_EQ(talk.model->counts.never, 1);
	free(before);
	visit = put(&talk); /* and who waits is answered */
	run(&visit, 0, 0);
	CHECK(strncmp(visit.said, "HTTP/1.1 200 OK\r\n", 17) == 0);
	CHECK_EQ(s3_model_objects(box, ""), 1);
	s3_talk_close(&talk);
}
