/* The S3 stand-in of tests/sim behind real TLS sockets on loopback, for clients that are processes.
 *
 *	s3_standin CERTIFICATE KEY    listens on a free port of 127.0.0.1 and prints it
 *
 * It is told what it is by lines on its standard input, one answer line each, and ends with it; so
 *no secret stands in its arguments. `help` lists the lines. One process, one poll loop. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "tests/sim/s3_model.h"

enum {
	CONNECTIONS_MAX = 128,
	LINE_BYTES_MAX = 4096,
	WORDS_MAX = 24,
	READ_BYTES = 65536,
	POLL_MS_MAX = 1000,
	KEPT_MAX = 256,
};
#define MODEL_BYTES_MAX ((size_t)8 << 30) /* of addresses; memory is what is used */

struct connection {
	int fd; /* -1: free */
	SSL *ssl;
	struct s3_model_session *session;
	struct s3_model_step step; /* on its way out */
	int64_t wait_until_ms;	   /* 0: not waiting */
	bool wants_out;
};

static struct s3_model *model;
static struct connection connections[CONNECTIONS_MAX];

static int64_t now_ms(void)
{
	struct timespec now;

	must(clock_gettime(CLOCK_MONOTONIC, &now) == 0);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* ---- connections ---- */

static void hang_up(struct connection *c, bool with_reset)
{
	struct linger linger = { .l_onoff = 1 };

	if (with_reset) /* SO_LINGER 0 makes close() send RST, socket(7) */
		must(!setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger));
	else
		SSL_shutdown(c->ssl);
	SSL_free(c->ssl);
	close(c->fd);
	s3_model_hang_up(&c->session);
	*c = (struct connection){ .fd = -1 };
	ERR_clear_error();
}

static void welcome(int listener, SSL_CTX *tls)
{
	int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	struct connection *c = connections;

	if (fd < 0)
		return;
	while (c < connections + CONNECTIONS_MAX && c->fd >= 0)
		c++;
	if (c == connections + CONNECTIONS_MAX) {
		close(fd);
		return;
	}
	*c = (struct connection){ .fd = fd,
				  .ssl = SSL_new(tls),
				  .session = s3_model_accept(model) };
	must(c->ssl && SSL_set_fd(c->ssl, fd));
	SSL_set_accept_state(c->ssl);
}

/* False: the connection is over. */
static bool wants_more(struct connection *c, int result)
{
	int why = SSL_get_error(c->ssl, result);

	ERR_clear_error();
	c->wants_out |= why == SSL_ERROR_WANT_WRITE;
	return why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE;
}

static bool hear(struct connection *c)
{
	static char bytes[READ_BYTES];
	int n;

	while ((n = SSL_read(c->ssl, bytes, sizeof bytes)) > 0)
		s3_model_hear(c->session, time(NULL), bytes, (size_t)n);
	return wants_more(c, n);
}

/* Does what the model says, as far as the socket and the time allow. */
static void act(struct connection *c)
{
	while (c->fd >= 0 && (!c->wait_until_ms || c->wait_until_ms <= now_ms())) {
		c->wait_until_ms = 0;
		if (c->step.act == S3_MODEL_SAY && c->step.length) {
			int n = SSL_write(c->ssl, c->step.bytes,
					  (int)min_u64(c->step.length, 1 << 20));

			if (n <= 0) {
				c->wants_out = true;
				if (!wants_more(c, n))
					hang_up(c, true);
				return;
			}
			c->step.bytes = (const char *)c->step.bytes + n;
			c->step.length -= (size_t)n;
			continue;
		}
		c->step = s3_model_next(c->session);
		if (c->step.act == S3_MODEL_IDLE)
			return;
		if (c->step.act == S3_MODEL_WAIT)
			c->wait_until_ms = now_ms() + c->step.wait_ms;
		else if (c->step.act != S3_MODEL_SAY)
			hang_up(c, c->step.act == S3_MODEL_RESET);
	}
}

/* ---- what it is told ---- */

static const char *const ops[S3_MODEL_OPS] = {
	[S3_MODEL_ANY] = "any",
	[S3_MODEL_PUT] = "put",
	[S3_MODEL_GET] = "get",
	[S3_MODEL_HEAD] = "head",
	[S3_MODEL_DELETE] = "delete",
	[S3_MODEL_CREATE] = "create",
	[S3_MODEL_PART] = "part",
	[S3_MODEL_COMPLETE] = "complete",
	[S3_MODEL_ABORT] = "abort",
	[S3_MODEL_LIST_PARTS] = "list-parts",
	[S3_MODEL_LIST] = "list",
	[S3_MODEL_LIST_VERSIONS] = "list-versions",
	[S3_MODEL_LIST_UPLOADS] = "list-uploads",
	[S3_MODEL_HEAD_BUCKET] = "head-bucket",
	[S3_MODEL_GET_CONFIG] = "get-config",
	[S3_MODEL_GET_LOCK] = "get-lock",
	[S3_MODEL_UNKNOWN] = "unknown",
};

static const char *const accidents[S3_MODEL_ACCIDENTS] = {
	[S3_MODEL_NOTHING] = "nothing",
	[S3_MODEL_ANSWERS] = "answers",
	[S3_MODEL_ANSWERS_APPLIED] = "answers-applied",
	[S3_MODEL_ERROR_IN_200] = "error-in-200",
	[S3_MODEL_RESETS_EARLY] = "resets-early",
	[S3_MODEL_RESETS_IN_BODY] = "resets-in-body",
	[S3_MODEL_RESETS_APPLIED] = "resets-applied",
	[S3_MODEL_RESETS_IN_ANSWER] = "resets-in-answer",
	[S3_MODEL_LATE] = "late",
	[S3_MODEL_STALLS] = "stalls",
	[S3_MODEL_SLOW] = "slow",
	[S3_MODEL_TRUNCATES] = "truncates",
	[S3_MODEL_WRONG_CHECKSUM] = "wrong-checksum",
	[S3_MODEL_DAMAGES] = "damages",
	[S3_MODEL_CHANGES_OBJECT] = "changes-object",
	[S3_MODEL_EXPIRES_TOKEN] = "expires-token",
	[S3_MODEL_JUMPS] = "jumps",
	[S3_MODEL_CONTINUES_LATE] = "continues-late",
	[S3_MODEL_CONTINUES_NEVER] = "continues-never",
	[S3_MODEL_DICE] = "dice",
};

/* "name=value" behind the words that have a place; NULL: not there. */
static const char *option(char *const *words, unsigned count, const char *name)
{
	for (unsigned i = 1; i < count; i++)
		if (strncmp(words[i], name, strlen(name)) == 0 && words[i][strlen(name)] == '=')
			return words[i] + strlen(name) + 1;
	return NULL;
}

static uint64_t number(char *const *words, unsigned count, const char *name, uint64_t otherwise)
{
	const char *text = option(words, count, name);

	return text ? strtoull(text, NULL, 10) : otherwise;
}

/* A copy for the life of the process. */
static const char *kept(const char *text)
{
	static char *texts[KEPT_MAX];
	static unsigned count;

	if (!text)
		return NULL;
	must(count < KEPT_MAX);
	return texts[count++] = strdup(text);
}

static unsigned find_word(const char *const *table, unsigned count, const char *word)
{
	unsigned i = 0;

	while (i < count && (!table[i] || strcmp(table[i], word) != 0))
		i++;
	return i;
}

static bool do_bucket(char *const *words, unsigned count)
{
	struct s3_model_bucket *bucket;
	const char *text;

	if (count < 3)
		return false;
	bucket = s3_model_add_bucket(model, words[1], words[2]);
	if (number(words, count, "versioned", 0) || number(words, count, "lock", 0))
		bucket->versioning = S3_MODEL_VERSIONED;
	bucket->object_lock = number(words, count, "lock", 0);
	if ((text = option(words, count, "mode")))
		snprintf(bucket->lock_mode, sizeof bucket->lock_mode, "%s", text);
	bucket->lock_days = (unsigned)number(words, count, "days", 1);
	if ((text = option(words, count, "encryption")))
		snprintf(bucket->encryption, sizeof bucket->encryption, "%s", text);
	if ((text = option(words, count, "owner")))
		snprintf(bucket->owner, sizeof bucket->owner, "%s", text);
	bucket->public_access_block = kept(option(words, count, "public-access-block"));
	bucket->crowd_prefix = kept(option(words, count, "crowd-prefix"));
	bucket->crowd_count = bucket->crowd_prefix ? number(words, count, "crowd", 0) : 0;
	return true;
}

static bool do_user(char *const *words, unsigned count)
{
	struct s3_model_user *user;
	uint64_t life = number(words, count, "life", 0);

	if (count < 3)
		return false;
	user = s3_model_add_user(model, words[1], words[2], option(words, count, "token"));
	user->expires_s = life ? time(NULL) + (int64_t)life : 0;
	user->denied[0] = kept(option(words, count, "denied"));
	return true;
}

static bool do_fault(char *const *words, unsigned count)
{
	struct s3_model_fault fault = { .count = (unsigned)number(words, count, "count", 1) };
	unsigned op, accident;

	if (count < 3)
		return false;
	op = find_word(ops, S3_MODEL_OPS, words[1]);
	accident = find_word(accidents, S3_MODEL_ACCIDENTS, words[2]);
	if (op == S3_MODEL_OPS || accident == S3_MODEL_ACCIDENTS ||
	    model->faults_count == S3_MODEL_FAULTS_MAX)
		return false;
	fault.op = (enum s3_model_op)op;
	fault.accident = (enum s3_model_accident)accident;
	fault.key = kept(option(words, count, "key"));
	fault.skip = (unsigned)number(words, count, "skip", 0);
	fault.one_in = (unsigned)number(words, count, "one-in", 0);
	fault.status = (unsigned)number(words, count, "status", 503);
	fault.code = kept(option(words, count, "code"));
	fault.code = fault.code ? fault.code : "SlowDown";
	fault.retry_after_s = (unsigned)number(words, count, "retry-after", 0);
	fault.bytes = number(words, count, "bytes", 0);
	fault.wait_ms = (unsigned)number(words, count, "wait-ms", 100);
	fault.requests = (unsigned)number(words, count, "requests", 1);
	fault.seconds = (int64_t)number(words, count, "seconds", 3600);
	fault.loses_upload = number(words, count, "loses-upload", 0);
	s3_model_add_fault(model, &fault);
	return true;
}

static bool do_set(char *const *words, unsigned count)
{
	const char *clock = option(words, count, "clock");

	model->part_bytes_min = number(words, count, "part-bytes-min", model->part_bytes_min);
	model->quota_bytes = number(words, count, "quota-bytes", model->quota_bytes);
	model->read_only = number(words, count, "read-only", model->read_only);
	model->requests_max = (unsigned)number(words, count, "requests-max", model->requests_max);
	model->lacks = (unsigned)number(words, count, "lacks", model->lacks);
	model->seed = number(words, count, "seed", model->seed);
	if (clock)
		model->clock_offset_s = strtoll(clock, NULL, 10);
	if (number(words, count, "no-faults", 0))
		model->faults_count = 0;
	return true;
}

static bool do_endpoint(char *const *words, unsigned count)
{
	for (unsigned i = 0; i < S3_MODEL_ENDPOINTS_MAX && count == 3; i++)
		if (!model->endpoints[i].host[0]) {
			snprintf(model->endpoints[i].host, sizeof model->endpoints[i].host, "%s",
				 words[1]);
			snprintf(model->endpoints[i].region, sizeof model->endpoints[i].region,
				 "%s", words[2]);
			return true;
		}
	return false;
}

/* One line each of what is in a bucket, in order, then "ok". */
static bool do_show(char *const *words, unsigned count)
{
	const struct s3_model_bucket *bucket =
		count == 2 ? s3_model_bucket_of(model, words[1]) : NULL;

	if (!bucket)
		return false;
	for (const struct s3_model_object *o = bucket->objects; o; o = o->next)
		printf("object %s version=%s bytes=%llu etag=%s checksum=%s parts=%u%s%s%s\n",
		       o->key, o->version, (unsigned long long)o->length, o->etag, o->checksum.text,
		       o->parts, o->is_delete_marker ? " deleted" : "",
		       o->traits.lock_mode[0] ? " lock=" : "", o->traits.lock_mode);
	for (const struct s3_model_upload *u = bucket->uploads; u; u = u->next)
		printf("upload %s id=%s\n", u->key, u->id);
	return true;
}

static bool do_counts(char *const *words, unsigned count)
{
	const struct s3_model_counts *c = &model->counts;

	(void)words;
	(void)count;
	printf("refused=%u forbidden=%u faults=%u late=%u unconditional=%u unchecked=%u "
	       "overwritten=%u stored=%llu",
	       c->refused, c->forbidden, c->faults, c->late, c->unconditional, c->unchecked,
	       c->overwritten, (unsigned long long)c->stored_bytes);
	for (unsigned i = 1; i < S3_MODEL_OPS; i++)
		printf(" %s=%u", ops[i], c->requests[i]);
	printf("\n");
	return true;
}

static bool do_settle(char *const *words, unsigned count)
{
	(void)words;
	(void)count;
	s3_model_settle(model, time(NULL));
	return true;
}

static bool do_help(char *const *words, unsigned count);
static const struct {
	const char *word, *usage;
	bool (*act)(char *const *words, unsigned count);
} lines[] = {
	{ "bucket",
	  "NAME REGION [versioned=1] [lock=1 mode=MODE days=N] [encryption=KIND] [owner=ACCOUNT] "
	  "[public-access-block=true] [crowd-prefix=P crowd=N]",
	  do_bucket },
	{ "user", "KEY SECRET [token=T] [life=SECONDS] [denied=s3:ACTION]", do_user },
	{ "endpoint", "HOST REGION", do_endpoint },
	{ "fault",
	  "OP ACCIDENT [count=N] [skip=N] [one-in=N] [key=PREFIX] [status=N code=C] "
	  "[retry-after=S] "
	  "[bytes=N] [wait-ms=N] [requests=N] [seconds=N] [loses-upload=1]",
	  do_fault },
	{ "set",
	  "[part-bytes-min=N] [quota-bytes=N] [read-only=1] [requests-max=N] [lacks=BITS] "
	  "[clock=SECONDS] [seed=N] [no-faults=1]",
	  do_set },
	{ "show", "BUCKET", do_show },
	{ "counts", "", do_counts },
	{ "settle", "what is late is done now", do_settle },
	{ "help", "", do_help },
};

static bool do_help(char *const *words, unsigned count)
{
	(void)words;
	(void)count;
	for (unsigned i = 0; i < ARRAY_COUNT(lines); i++)
		printf("%s %s\n", lines[i].word, lines[i].usage);
	return true;
}

static void obey(char *line)
{
	char *words[WORDS_MAX], *rest = line;
	unsigned count = 0;
	bool done = false;

	while (count < WORDS_MAX && (words[count] = strtok_r(rest, " \t\n", &rest)))
		count++;
	for (unsigned i = 0; i < ARRAY_COUNT(lines) && count; i++)
		if (strcmp(lines[i].word, words[0]) == 0)
			done = lines[i].act(words, count);
	printf(done ? "ok\n" : "no\n");
	fflush(stdout);
}

/* False: the input has ended. */
static bool listen_to_input(void)
{
	static char line[LINE_BYTES_MAX];
	static size_t used;
	ssize_t n = read(STDIN_FILENO, line + used, sizeof line - 1 - used);
	char *end;

	if (n <= 0)
		return false;
	used += (size_t)n;
	line[used] = '\0';
	while ((end = strchr(line, '\n'))) {
		*end = '\0';
		obey(line);
		used -= (size_t)(end + 1 - line);
		bytes_move(line, end + 1, used + 1);
	}
	return used < sizeof line - 1;
}

/* ---- the loop ---- */

static int listen_on_loopback(void)
{
	struct sockaddr_in address = { .sin_family = AF_INET,
				       .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t bytes = sizeof address;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	must(fd >= 0 && bind(fd, (struct sockaddr *)&address, bytes) == 0 && listen(fd, 64) == 0 &&
	     getsockname(fd, (struct sockaddr *)&address, &bytes) == 0);
	printf("%u\n", ntohs(address.sin_port));
	fflush(stdout);
	return fd;
}

static SSL_CTX *load_tls(const char *certificate, const char *key)
{
	SSL_CTX *tls = SSL_CTX_new(TLS_server_method());

	must(tls);
	SSL_CTX_set_mode(tls, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	if (SSL_CTX_use_certificate_chain_file(tls, certificate) != 1 ||
	    SSL_CTX_use_PrivateKey_file(tls, key, SSL_FILETYPE_PEM) != 1) {
		fprintf(stderr, "s3_standin: %s and %s are no certificate and its key\n",
			certificate, key);
		exit(1);
	}
	return tls;
}

static int next_wait(void)
{
	int64_t wait = POLL_MS_MAX;

	for (unsigned i = 0; i < CONNECTIONS_MAX; i++)
		if (connections[i].fd >= 0 && connections[i].wait_until_ms)
			wait = min_nsec(wait, connections[i].wait_until_ms - now_ms());
	return wait < 0 ? 0 : (int)wait;
}

/* Nothing more is heard while bytes of the model are on their way out: hearing may move them. */
static short events_of(const struct connection *c)
{
	return c->step.length ? POLLOUT : (short)(POLLIN | (c->wants_out ? POLLOUT : 0));
}

static void serve(int listener, SSL_CTX *tls)
{
	struct pollfd fds[CONNECTIONS_MAX + 2];

	for (;;) {
		fds[0] = (struct pollfd){ .fd = STDIN_FILENO, .events = POLLIN };
		fds[1] = (struct pollfd){ .fd = listener, .events = POLLIN };
		for (unsigned i = 0; i < CONNECTIONS_MAX; i++)
			fds[i + 2] = (struct pollfd){ .fd = connections[i].fd,
						      .events = events_of(&connections[i]) };
		must(poll(fds, ARRAY_COUNT(fds), next_wait()) >= 0 || errno == EINTR);
		if (fds[0].revents && !listen_to_input())
			return;
		for (unsigned i = 0; i < CONNECTIONS_MAX; i++) {
			struct connection *c = &connections[i];

			if (c->fd < 0)
				continue;
			c->wants_out = false;
			if (fds[i + 2].revents && !c->step.length && !hear(c))
				hang_up(c, false);
			else
				act(c);
		}
		if (fds[1].revents)
			welcome(listener, tls);
	}
}

int main(int count, char **arguments)
{
	SSL_CTX *tls;
	int listener;

	if (count != 3) {
		fprintf(stderr, "usage: s3_standin CERTIFICATE KEY\n");
		return 64;
	}
	signal(SIGPIPE, SIG_IGN);
	for (unsigned i = 0; i < CONNECTIONS_MAX; i++)
		connections[i].fd = -1;
	model = s3_model_open((uint64_t)time(NULL), MODEL_BYTES_MAX);
	tls = load_tls(arguments[1], arguments[2]);
	listener = listen_on_loopback();
	serve(listener, tls);
	for (unsigned i = 0; i < CONNECTIONS_MAX; i++)
		if (connections[i].fd >= 0)
			hang_up(&connections[i], false);
	close(listener);
	SSL_CTX_free(tls);
	s3_model_close(&model);
	return 0;
}
