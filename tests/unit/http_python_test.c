/* The HTTP client and its pool against a server of another make: Python's http.server, which has
 * its own idea of chunks, ranges, 100-continue and kept connections. */
#include "tests/unit/tls_server.h"

#include "crypto/digest.h"
#include "transport/http_pool.h"

enum { BODY_BYTES = 5 * 1024 * 1024, GET_BYTES = 200000, FIBERS = 6, ROUNDS = 3 };

/* ---- the server ---- */

struct python {
	struct identity identity;
	struct account account;
	char ca_file[128];
	FILE *pipe;
	int pid;
	struct http_pool *pool;
};

static bool python_start(struct python *python)
{
	char command[512], key[160];
	unsigned port = 0;
	FILE *file;

	python->identity = identity_make(
		&(struct identity_spec){ .subject = "test server", .names = "IP:127.0.0.1" });
	snprintf(python->ca_file, sizeof python->ca_file, "%s", identity_file(&python->identity));
	snprintf(key, sizeof key, "%s.key", python->ca_file);
	must((file = fopen(key, "w")) != NULL);
	must(PEM_write_PrivateKey(file, python->identity.key, NULL, NULL, 0, NULL, NULL));
	must(fclose(file) == 0);
	snprintf(command, sizeof command, "exec python3 tests/unit/http_server.py %s %s",
		 python->ca_file, key);
	if (!(python->pipe = popen(command, "r")) ||
	    fscanf(python->pipe, "%u %d", &port, &python->pid) != 2)
		return false;
	python->account = (struct account){ .scheme = "https",
					    .user = "",
					    .host = "127.0.0.1",
					    .port = (uint16_t)port,
					    .ca_file = python->ca_file,
					    .io_timeout = 60 * NSEC_SECOND,
					    .connect_timeout = 60 * NSEC_SECOND };
	return http_pool_open(3, &python->pool) == OK;
}

static void python_stop(struct python *python)
{
	if (python->pool)
		http_pool_finish(python->pool, clock_after(NSEC_SECOND));
	http_pool_close(&python->pool);
	if (python->pid)
		kill(python->pid, SIGKILL);
	if (python->pipe)
		pclose(python->pipe);
	identity_free(&python->identity);
	conn_thread_cleanup();
}

/* ---- the client ---- */

static uint8_t content(size_t at)
{
	return (uint8_t)(at * 31 % 251);
}

struct answer {
	struct http_head head;
	char fields[1000]; /* the head's */
	char trailers[100];
	uint8_t body[GET_BYTES + 1];
	size_t bytes;
};

static enum err ask_once(struct python *python, struct http_request *request, struct answer *answer,
			 bool *was_stale)
{
	struct http *http = NULL;
	size_t got;
	enum err e;

	request->first_byte = 60 * NSEC_SECOND;
	if ((e = http_pool_take(python->pool, &python->account, clock_after(60 * NSEC_SECOND),
				&http)))
		return e;
	answer->bytes = 0;
	e = http_ask(http, request, clock_after(60 * NSEC_SECOND), &answer->head);
	*was_stale = e && http_was_stale(http);
	if (!e)
		snprintf(answer->fields, sizeof answer->fields, "%.*s",
			 (int)answer->head.fields.bytes, answer->head.fields.at);
	while (!e && (e = http_read(http, answer->body + answer->bytes,
				    sizeof answer->body - answer->bytes, &got)) == OK)
		answer->bytes += got;
	if (e == ERR_STREAM_ENDED) {
		snprintf(answer->trailers, sizeof answer->trailers, "%.*s",
			 (int)http_trailers(http).bytes, http_trailers(http).at);
		e = OK;
	}
	http_pool_give(python->pool, &http);
	return e;
}

/* Everything that is asked here may be repeated. */
static enum err ask(struct python *python, struct http_request *request, struct answer *answer)
{
	bool was_stale;
	enum err e = ask_once(python, request, answer, &was_stale);

	if (!was_stale)
		return e;
	err_note_clear();
	return ask_once(python, request, answer, &was_stale);
}

struct feeding {
	const uint8_t *from;
	size_t left;
};

static enum err feed_next(void *context, struct text *piece)
{
	struct feeding *feeding = context;

	if (!feeding->left)
		return ERR_STREAM_ENDED;
	*piece = (struct text){ (const char *)feeding->from, min_u64(feeding->left, 99999) };
	feeding->from += piece->bytes;
	feeding->left -= piece->bytes;
	return OK;
}

static void check_digest(const struct answer *answer, const uint8_t *body, size_t bytes)
{
	struct digest digest;
	char hex[65];

	CHECK_EQ(answer->head.status, 200);
	must(digest_of(digest_type(text_of("sha-256")), body, bytes, &digest) == OK);
	bytes_to_hex(hex, digest.bytes, 32);
	CHECK(text_equal(text_of(hex), (struct text){ (const char *)answer->body, answer->bytes }));
}

static void check_puts(struct python *python, const uint8_t *body, struct answer *answer)
{
	const char *at = (const char *)body;
	const struct text pieces[] = { { at, 1 },
				       { at + 1, 999999 },
				       { at + 1000000, BODY_BYTES - 1000000 } };
	struct feeding feeding = { body, BODY_BYTES };
	const struct http_field trailers[] = { { "x-sum", text_of("known at last") } };
	struct http_feed feed = { .next = feed_next,
				  .context = &feeding,
				  .bytes = HTTP_BYTES_UNKNOWN,
				  .trailers = trailers,
				  .trailers_count = 1 };
	struct http_request request = {
		.method = "PUT", .target = "/", .pieces = pieces, .pieces_count = 3
	};

	for (unsigned i = 0; i < 2; i++, request.continue_wait = 30 * NSEC_SECOND)
		if (CHECK_OK(ask(python, &request, answer)))
			check_digest(answer, body, BODY_BYTES);
	request = (struct http_request){ .method = "PUT", .target = "/close", .feed = &feed };
	if (CHECK_OK(ask(python, &request, answer)))
		check_digest(answer, body, BODY_BYTES);
	CHECK(strstr(answer->fields, "x-sum: known at last;") != NULL);
	request = (struct http_request){ .method = "PUT", .target = "/", .body = { at, 10 } };
	if (CHECK_OK(ask(python, &request, answer)))
		check_digest(answer, body, 10);
}

/* It answers 403 and closes with most of the body unread, so what it said may be lost on the way:
 * asked for first, it cannot be. */
static void check_refusal(struct python *python, const uint8_t *body, struct answer *answer)
{
	struct http_request request = { .method = "PUT",
					.target = "/refuse",
					.body = { (const char *)body, BODY_BYTES },
					.continue_wait = 30 * NSEC_SECOND };

	if (CHECK_OK(ask(python, &request, answer)))
		CHECK_EQ(answer->head.status, 403);
}

static void check_get(struct python *python, const char *target, const char *range, size_t first,
		      size_t bytes, struct answer *answer)
{
	const struct http_field fields[] = { { "Range", text_of(range) } };
	struct http_request request = {
		.method = "GET", .target = target, .fields = fields, .fields_count = *range != '\0'
	};
	size_t same = 0;

	if (!CHECK_OK(ask(python, &request, answer)))
		return;
	CHECK_EQ(answer->head.status, *range ? 206 : 200);
	CHECK_EQ(answer->bytes, bytes);
	while (same < answer->bytes && answer->body[same] == content(first + same))
		same++;
	CHECK_EQ(same, bytes);
}

struct client {
	struct python *python;
	const uint8_t *body;
};

static enum err client_main(void *argument)
{
	struct client *client = argument;
	struct answer *answer = calloc(1, sizeof *answer);

	must(answer);
	for (unsigned i = 0; i < ROUNDS; i++) {
		check_puts(client->python, client->body, answer);
		check_get(client->python, "/200000", "", 0, GET_BYTES, answer);
		check_get(client->python, "/200000", "bytes=1000-150999", 1000, 150000, answer);
		check_get(client->python, "/chunks/100000", "", 0, 100000, answer);
		CHECK_TEXT(answer->trailers, "X-Count: 100000\r\n");
		check_refusal(client->python, client->body, answer);
	}
	free(answer);
	return OK;
}

TEST_FIBER(many_fibers_ask_a_server_of_another_make)
{
	struct python python = { 0 };
	uint8_t *body = malloc(BODY_BYTES);
	struct client client = { &python, body };
	struct group *group;

	must(body);
	for (size_t i = 0; i < BODY_BYTES; i++)
		body[i] = (uint8_t)(i * 7 + i / 1000);
	if (CHECK(python_start(&python)), python.pool) {
		group = group_open();
		for (unsigned i = 0; i < FIBERS; i++)
			CHECK_OK(group_spawn(group, "client", FIBER_STACK_LARGE, client_main,
					     &client));
		CHECK_OK(group_join(&group));
		CHECK_EQ(http_pool_counts(python.pool).lent, 0);
		CHECK(http_pool_counts(python.pool).kept > FIBERS * ROUNDS);
	}
	python_stop(&python);
	free(body);
}
