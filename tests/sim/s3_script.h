/* S3 as a script, in the simulated world: requests are heard one after the other, over whatever
 * connections, and each is answered as the script says. Waits take no time, and keys, records and
 * the clock are looked at. */
#ifndef MAILHAUL_TEST_S3_SCRIPT_H
#define MAILHAUL_TEST_S3_SCRIPT_H

#include <stdlib.h>

#include "engine/clock.h"
#include "engine/fiber.h"
#include "engine/shard.h"
#include "tests/sim/disk_sim.h"
#include "tests/sim/net_sim.h"
#include "tests/sim/ring_verbs.h"
#include "tests/sim/sim.h"
#include "tests/test.h"
#include "transport/conn.h"
#include "transport/s3.h"

enum { S3_HEARS_MAX = 8, S3_EXCHANGES_MAX = 14 };
#define S3_PATIENCE (3600 * NSEC_SECOND)

struct exchange {
	/* What must stand in the request, its body too, and what must not. */
	const char *hears[S3_HEARS_MAX];
	const char *hears_not;
	const char *says; /* NULL: hangs up without a word */
	bool hangs_up;	  /* behind that, */
	size_t cuts;	  /* or so many bytes before its end */
	unsigned times;	  /* 0: once */
};

struct script {
	struct s3_config config; /* the test's; what it leaves out is filled in */
	struct exchange exchanges[S3_EXCHANGES_MAX];
	fiber_main *client;
	uint64_t cancel_at;
	bool repeats; /* from the beginning, when it is at its end */
	/* what became of it */
	struct s3 *s3;
	struct http_pool *pool;
	struct group *group;
	unsigned at, again, requests, connections, open;
	struct buffer heard; /* the last request */
	enum err error;
	nsec took;
	unsigned keys, lent, refused; /* which keys, and how many were refused */
	unsigned records;
	struct aws_listener listener;
	struct aws_request last;
	char last_request_id[64], last_code[64];
};

/* Of the last run. */
enum { S3_ASKED_MAX = 256 };
static nsec script_asked_at[S3_ASKED_MAX];
static struct err_note script_note;

/* ---- the server ---- */

struct s3_session {
	struct script *script;
	struct net_conn *conn;
	struct buffer heard;
	bool told_to_go_on, gone;
};

static inline void script_hears(struct script *script, const struct exchange *exchange,
				struct text request)
{
	for (unsigned i = 0; i < S3_HEARS_MAX && exchange->hears[i]; i++)
		if (!memmem(request.at, request.bytes, exchange->hears[i],
			    strlen(exchange->hears[i])))
			test_failed(__FILE__, __LINE__, "request %u has no \"%s\":\n%.*s",
				    script->requests, exchange->hears[i],
				    (int)min_u64(request.bytes, 2000), request.at);
	if (exchange->hears_not &&
	    memmem(request.at, request.bytes, exchange->hears_not, strlen(exchange->hears_not)))
		test_failed(__FILE__, __LINE__, "request %u has \"%s\":\n%.*s", script->requests,
			    exchange->hears_not, (int)min_u64(request.bytes, 2000), request.at);
}

static inline void script_says(struct s3_session *session, const struct exchange *exchange,
			       bool to_head)
{
	size_t head = http_parse_head_bytes(text_of(exchange->says)) - 2;
	struct buffer answer = { 0 };

	buffer_add(&answer, exchange->says, head);
	if (!strstr(exchange->says, "Content-Length"))
		buffer_addf(&answer, "Content-Length: %zu\r\n", strlen(exchange->says) - head - 2);
	if (to_head)
		buffer_add_text(&answer, "\r\n");
	else
		buffer_add_text(&answer, exchange->says + head);
	must(!answer.failed && exchange->cuts < answer.bytes);
	net_say(session->conn, answer.at, answer.bytes - exchange->cuts);
	buffer_free(&answer);
}

static inline void script_answers(struct s3_session *session, struct text request)
{
	struct script *script = session->script;
	const struct exchange *exchange = &script->exchanges[script->at];
	unsigned times = exchange->times ? exchange->times : 1;

	if (script->requests < S3_ASKED_MAX)
		script_asked_at[script->requests] = clock_now();
	script->requests++;
	buffer_reset(&script->heard);
	buffer_add(&script->heard, request.at, request.bytes);
	if (script->at == S3_EXCHANGES_MAX || (!exchange->says && !exchange->hangs_up)) {
		test_failed(__FILE__, __LINE__, "request %u is not in the script:\n%.*s",
			    script->requests, (int)min_u64(request.bytes, 300), request.at);
		session->gone = true;
		net_hang_up(session->conn);
		return;
	}
	script_hears(script, exchange, request);
	if (exchange->says)
		script_says(session, exchange, memcmp(request.at, "HEAD", 4) == 0);
	if (exchange->hangs_up || exchange->cuts) {
		session->gone = true;
		net_hang_up(session->conn);
	}
	if (++script->again == times) {
		script->again = 0;
		script->at++;
		if (script->repeats && !script->exchanges[script->at].says)
			script->at = 0;
	}
}

/* How many bytes of what was heard are a whole request; 0: it is not there yet. */
static inline size_t s3_request_bytes(struct s3_session *session)
{
	struct text heard = { session->heard.at, session->heard.bytes };
	size_t head = http_parse_head_bytes(heard);
	const char *length = head ? memmem(heard.at, head, "Content-Length: ", 16) : NULL;
	size_t bytes = head + (length ? strtoul(length + 16, NULL, 10) : 0);

	if (!head)
		return 0;
	if (memmem(heard.at, head, "Expect: 100", 11) && !session->told_to_go_on) {
		session->told_to_go_on = true;
		net_say(session->conn, "HTTP/1.1 100 Continue\r\n\r\n", 25);
	}
	return heard.bytes < bytes ? 0 : bytes;
}

static inline void s3_received(void *owner, struct net_conn *conn, const void *from, size_t n)
{
	struct s3_session *session = owner;
	size_t done;

	(void)conn;
	buffer_add(&session->heard, from, n);
	must(!session->heard.failed);
	while (!session->gone && session->heard.bytes && (done = s3_request_bytes(session)) > 0) {
		session->told_to_go_on = false;
		script_answers(session, (struct text){ session->heard.at, done });
		session->heard.bytes -= done;
		bytes_move(session->heard.at, session->heard.at + done, session->heard.bytes + 1);
	}
}

static inline void *s3_accepted(void *owner, struct net_conn *conn)
{
	struct s3_session *session = calloc(1, sizeof *session);

	must(session);
	session->script = owner;
	session->conn = conn;
	session->script->connections++;
	session->script->open++;
	return session;
}

static inline void s3_closed(void *owner)
{
	struct s3_session *session = owner;

	session->script->open--;
	buffer_free(&session->heard);
	free(session);
}

/* ---- keys and records ---- */

static inline enum err script_lends(void *context, nsec until, struct s3_key_loan *loan)
{
	static const char *const ids[] = { "KEY-0", "KEY-1", "KEY-2", "KEY-3" };
	struct script *script = context;

	(void)until;
	script->lent++;
	loan->held = script;
	loan->credentials = (struct sigv4_credentials){
		.access_key_id = text_of(ids[script->keys % ARRAY_COUNT(ids)]),
		.secret = text_of("a-secret-that-must-not-be-seen"),
		.session_token = text_of("a-token"),
	};
	return OK;
}

static inline void script_takes_back(void *context, struct s3_key_loan *loan, bool refused)
{
	struct script *script = context;

	must(loan->held == script);
	script->lent--;
	script->refused += refused;
	script->keys += refused;
}

static inline void script_records(void *context, const struct aws_request *row)
{
	struct script *script = context;

	script->records++;
	script->last = *row;
	snprintf(script->last_request_id, sizeof script->last_request_id, "%s", row->request_id);
	snprintf(script->last_code, sizeof script->last_code, "%s", row->code);
}

/* ---- the run ---- */

static const struct account s3_test_way = { .scheme = "https",
					    .user = "",
					    .io_timeout = 30 * NSEC_SECOND,
					    .connect_timeout = 30 * NSEC_SECOND };
static const struct aws_partition s3_test_partition = { .name = "aws-eusc" };

static inline struct s3_config script_config(struct script *script, const struct s3_keys *keys)
{
	struct s3_config config = script->config;

	config.bucket = "bucket";
	config.endpoint = (struct aws_endpoint){ .host = "127.0.0.1",
						 .port = 443,
						 .path = "/bucket",
						 .region = "eusc-de-east-1",
						 .partition = &s3_test_partition };
	config.way = &s3_test_way;
	config.pool = script->pool;
	config.keys = keys;
	config.listener = &script->listener;
	return config;
}

static inline enum err script_main(void *argument)
{
	struct script *script = argument;
	const struct s3_keys keys = { script_lends, script_takes_back, script };
	struct s3_config config;
	nsec begun;
	enum err e;

	must(http_pool_open(2, &script->pool) == OK);
	script->listener = (struct aws_listener){ script_records, script };
	config = script_config(script, &keys);
	if ((e = s3_open(&config, &script->s3)) == OK) {
		script->group = group_open();
		begun = clock_now();
		must(group_spawn(script->group, "client", FIBER_STACK_LARGE, script->client,
				 script) == OK);
		e = group_join(&script->group);
		script->took = clock_now() - begun;
		s3_close(&script->s3);
	}
	script_note = *err_note();
	err_note_clear();
	CHECK_EQ(script->lent, 0);
	CHECK_EQ(http_pool_counts(script->pool).lent, 0);
	http_pool_finish(script->pool, clock_after(NSEC_SECOND));
	http_pool_close(&script->pool);
	return e;
}

static inline void script_passed(void *owner)
{
	struct script *script = owner;

	if (script->cancel_at && sim_steps() == script->cancel_at && script->group)
		group_cancel(script->group);
}

static inline void script_stuck(void *owner, const char *why)
{
	const struct script *script = owner;

	printf("stuck: %s; after %u requests, cancelled at %llu\n", why, script->requests,
	       (unsigned long long)script->cancel_at);
}

/* What the client returned is also in script->error. */
static inline enum err script_run(struct script *script)
{
	static struct disk *disk; /* empty: trust settings look for files */

	if (!disk)
		disk = disk_open(1024 * 1024);
	sim_begin(&(struct sim_config){
		.seed = 7, .passed = script_passed, .stuck = script_stuck, .owner = script });
	net_forget();
	net_listen(&(struct net_server){ .port = 443,
					 .accepted = s3_accepted,
					 .received = s3_received,
					 .closed = s3_closed,
					 .owner = script });
	script->error =
		shard_run(&(struct shard_config){ .arena_chunks = 16 }, script_main, script);
	err_note_clear();
	conn_thread_cleanup();
	CHECK_EQ(ring_verb_open_files(true), 0);
	CHECK_EQ(script->open, 0);
	buffer_free(&script->heard);
	return script->error;
}

/* All of it was played. */
static inline void check_played(const struct script *script, unsigned requests)
{
	CHECK_EQ(script->requests, requests);
	CHECK(!script->exchanges[script->at].says && !script->exchanges[script->at].hangs_up);
}

static inline void check_script_says(const char *words)
{
	if (!strstr(script_note.text, words))
		test_failed(__FILE__, __LINE__, "\"%s\" does not say \"%s\"", script_note.text,
			    words);
}

/* Answers, to which the server adds Content-Length. XML of errors as AWS writes it. */
#define S3_IDS                                                                                     \
	"x-amz-request-id: 4442587FB7D0A2F9\r\nx-amz-id-2: vlR7PnpV2Ce81l0PRw6jlUpck7Jo5Zs=\r\n"
#define S3_ANSWER(status, fields, body) "HTTP/1.1 " status "\r\n" S3_IDS fields "\r\n" body
#define S3_ERROR(status, code, more)                                                               \
	S3_ANSWER(status, "",                                                                      \
		  "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>" code                 \
		  "</Code><Message>words of the service</Message>" more                            \
		  "<RequestId>4442587FB7D0A2F9</RequestId></Error>")

#endif
