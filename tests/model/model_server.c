/* A program that serves thousands of generated mailboxes over TLS on loopback, and says beforehand
 * how each of them must end. One thread, edge-triggered epoll; an idle connection costs an SSL and
 * this file's struct. It ends with its standard input, on SIGTERM, or after its --life, and then
 * prints what it saw of its clients as one JSON line. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine/opt.h"
#include "tests/model/list.h"
#include "tests/model/session.h"
#include "tests/unit/identity.h"

enum {
	EVENTS_MAX = 256,
	LINE_BYTES_MAX = 16 * 1024, /* a client that sends more without a line's end is cut off */
	FILLS_PER_TURN = 16,	    /* then the others' turn */
	CERTIFICATE_HOURS = 24 * 30,
};

struct choice {
	struct model model;
	uint64_t port, hosts, connections, connections_per_user, refusals, rate;
	nsec refuse_for, backoff, delay, life;
	const char *certificate, *key, *ca, *list_messages, *refuse_while;
	uint64_t refuse_uid;
	bool plain, list;
};

/* A port that plays a host of its own, with its own limit. */
struct host {
	int listener;
	uint64_t now, most;
};

struct connection {
	struct connection *next, **link; /* of all; `link` points here */
	struct connection *next_waking;
	bool is_waking; /* in the list: to be stepped at `wake`, whatever epoll says */
	bool held;	/* the line at the head of `in` waits until `wake` */
	bool accepted;
	nsec wake;
	int fd;
	SSL *ssl;
	struct host *host;
	struct buffer in;
	struct session session;
};

struct server {
	const struct choice *choice;
	struct service service;
	SSL_CTX *context;
	int epoll, signals;
	struct host *hosts;
	struct connection *all, *waking;
	bool ending;
};

/* ---- options ---- */

#define NUMBER(field_name, option, default_value, min_value, text)                                 \
	{                                                                                          \
		.name = option, .value = "N", .initial = default_value, .help = text,              \
		.min = min_value, OPT_STORES_NUMBER(struct choice, field_name)                     \
	}
#define TEXT(field_name, option, value_name, text)                                                 \
	{                                                                                          \
		.name = option, .value = value_name, .help = text,                                 \
		OPT_STORES_TEXT(struct choice, field_name)                                         \
	}
#define DURATION(field_name, option, default_value, text)                                          \
	{                                                                                          \
		.name = option, .value = "TIME", .initial = default_value, .help = text,           \
		OPT_STORES_DURATION(struct choice, field_name)                                     \
	}
#define FLAG(field_name, option, text)                                                             \
	{                                                                                          \
		.name = option, .help = text, OPT_STORES_FLAG(struct choice, field_name)           \
	}

static const struct opt options[] = {
	NUMBER(model.mailboxes, "mailboxes", "20", 1, "Users user0000, user0001 and so on."),
	NUMBER(model.folders, "folders", "3", 1, "Of each; of three or more the last is empty."),
	NUMBER(model.messages, "messages", "10", 0, "Of each user, in all folders."),
	NUMBER(model.seed, "seed", "1", 0,
	       "Another seed, other bytes and other users with faults."),
	NUMBER(model.uid_step, "uid-step", "1", 1, "Between the numbers of two messages."),
	NUMBER(port, "port", "0", 0, "The first host's port; 0 takes free ones. All are printed."),
	NUMBER(hosts, "hosts", "1", 1, "So many ports; a user's is its number modulo this."),
	NUMBER(connections, "connections", "0", 0, "At once on a host before it says BYE; 0: any."),
	NUMBER(connections_per_user, "connections-per-user", "0", 0, "The same for one user."),
	NUMBER(refusals, "refusals", "2", 0, "Logins that a throttling user's server refuses."),
	NUMBER(rate, "rate", "0", 0, "Messages a second of one user before FETCH says NO; 0: any."),
	{ .name = "bytes",
	  .value = "SIZE",
	  .initial = "4096",
	  .help = "Of a message: between half and one and a half of this.",
	  OPT_STORES_SIZE(struct choice, model.bytes) },
	FLAG(model.same_size, "same-size", "Of each message exactly --bytes."),
	FLAG(model.no_body, "no-body", "Of each message the header goes on to its end."),
	TEXT(model.faults, "faults", "LIST", "For example wrong=10,cut=5: per cent of the users."),
	TEXT(model.password, "password", "WORD", "Of all; else user0001 has pw-user0001."),
	TEXT(certificate, "certificate", "FILE", "PEM; with --key."),
	TEXT(key, "key", "FILE", "PEM."),
	TEXT(ca, "ca", "FILE", "Make a certificate and write it here, for the client to trust."),
	TEXT(list_messages, "list-messages", "USER",
	     "Print what can be read of its messages (\"all\": everyone's)."),
	NUMBER(refuse_uid, "refuse-uid", "0", 0, "A message of everyone's INBOX that is refused."),
	TEXT(refuse_while, "refuse-while", "FILE", "Refuse it as long as FILE is there."),
	DURATION(refuse_for, "refuse-for", "0s", "Refuse for so long, too, from the first login."),
	DURATION(backoff, "backoff", "2s", "What a refusal suggests to wait."),
	DURATION(delay, "delay", "100ms", "Before each answer to a slow user."),
	DURATION(life, "life", "1h", "The longest time to serve."),
	FLAG(plain, "plain", "IMAP4rev1 without extensions."),
	FLAG(list, "list", "Print how each user's mailbox must end, and serve nothing."),
};

static const struct opt_command command = {
	.name = "",
	.arguments = "",
	.summary = "serve generated mailboxes over TLS on loopback",
	.about = "",
	.options = options,
	.options_count = ARRAY_COUNT(options),
};

/* ---- lists ---- */

static bool print_lists(const struct choice *choice)
{
	uint64_t user;

	for (user = 0; choice->list && user < choice->model.mailboxes; user++)
		list_user(&choice->model, choice->hosts, user);
	if (!choice->list_messages)
		return true;
	if (strcmp(choice->list_messages, "all") == 0)
		for (user = 0; user < choice->model.mailboxes; user++)
			list_messages(&choice->model, user);
	else if (model_find_user(&choice->model, choice->list_messages, &user))
		list_messages(&choice->model, user);
	else
		return false;
	return true;
}

/* ---- connections ---- */

static void wake_at(struct server *server, struct connection *connection, nsec when)
{
	connection->wake = when;
	if (connection->is_waking)
		return;
	connection->is_waking = true;
	connection->next_waking = server->waking;
	server->waking = connection;
}

static void wake_not(struct server *server, struct connection *connection)
{
	struct connection **at = &server->waking;

	if (!connection->is_waking)
		return;
	while (*at != connection)
		at = &(*at)->next_waking;
	*at = connection->next_waking;
	connection->is_waking = false;
}

static void connection_close(struct server *server, struct connection **connection)
{
	wake_not(server, *connection);
	*(*connection)->link = (*connection)->next;
	if ((*connection)->next)
		(*connection)->next->link = (*connection)->link;
	if ((*connection)->accepted && !(*connection)->session.cutting)
		(void)SSL_shutdown((*connection)->ssl); /* close_notify; nobody waits for his */
	session_end(&(*connection)->session);
	SSL_free((*connection)->ssl);
	ERR_clear_error();
	close((*connection)->fd);
	(*connection)->host->now--;
	server->service.counts.connections_now--;
	buffer_free(&(*connection)->in);
	free(*connection);
	*connection = NULL;
}

static void greet(struct server *server, struct connection *connection)
{
	uint64_t limit = server->choice->connections;

	connection->accepted = true;
	session_greet(&connection->session, &server->service,
		      !limit || connection->host->now <= limit);
}

enum progress { PROGRESS, BLOCKED, OVER };

static enum progress progress_of(const struct connection *connection, int result)
{
	int error;

	if (result > 0)
		return PROGRESS;
	error = SSL_get_error(connection->ssl, result);
	ERR_clear_error();
	return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE ? BLOCKED : OVER;
}

static enum progress send_some(struct connection *connection)
{
	struct buffer *out = &connection->session.out;
	enum progress progress;
	int n = SSL_write(connection->ssl, out->at, (int)out->bytes);

	if ((progress = progress_of(connection, n)) == PROGRESS) {
		must((size_t)n == out->bytes); /* no SSL_MODE_ENABLE_PARTIAL_WRITE */
		buffer_free(out);
	}
	return progress;
}

static enum progress receive_some(struct connection *connection)
{
	enum progress progress;
	char piece[2048];
	int n = SSL_read(connection->ssl, piece, sizeof piece);

	if ((progress = progress_of(connection, n)) == PROGRESS) {
		buffer_add(&connection->in, piece, (size_t)n);
		if (connection->in.bytes > LINE_BYTES_MAX && !strchr(connection->in.at, '\n'))
			return OVER;
	}
	return progress;
}

/* One line of `in` to the session, a slow user's after its delay. */
static enum progress hear_line(struct server *server, struct connection *connection, char *end)
{
	struct buffer *in = &connection->in;
	size_t used = (size_t)(end + 1 - in->at);

	if (connection->session.is_slow && !connection->held) {
		connection->held = true;
		wake_at(server, connection, clock_after(server->choice->delay));
	}
	if (connection->held && clock_now() < connection->wake)
		return BLOCKED;
	connection->held = false;
	end[end > in->at && end[-1] == '\r' ? -1 : 0] = '\0';
	session_line(&connection->session, in->at);
	in->bytes -= used;
	bytes_move(in->at, in->at + used, in->bytes + 1);
	if (in->bytes == 0)
		buffer_free(in);
	return PROGRESS;
}

/* The next thing there is to do. */
static enum progress move_on(struct server *server, struct connection *connection)
{
	struct session *session = &connection->session;
	char *end;

	if (!connection->accepted) {
		enum progress progress = progress_of(connection, SSL_accept(connection->ssl));

		if (progress == PROGRESS)
			greet(server, connection);
		return progress;
	}
	if (session->out.bytes)
		return send_some(connection);
	if (session->ending)
		return OVER;
	if (session_is_busy(session)) {
		session_fill(session);
		return PROGRESS;
	}
	end = connection->in.bytes ? memchr(connection->in.at, '\n', connection->in.bytes) : NULL;
	return end ? hear_line(server, connection, end) : receive_some(connection);
}

/* Go on until nothing more can be done now, or others should have their turn. */
static void step(struct server *server, struct connection *connection)
{
	enum progress progress = PROGRESS;

	for (unsigned i = 0; i < 3 * FILLS_PER_TURN && progress == PROGRESS; i++)
		progress = move_on(server, connection);
	if (progress == OVER)
		connection_close(server, &connection);
	else if (progress == PROGRESS)
		wake_at(server, connection, 0);
}

static void step_waking(struct server *server)
{
	struct connection *due = server->waking, *next;
	nsec now = clock_now();

	server->waking = NULL;
	for (; due; due = next) {
		next = due->next_waking;
		due->is_waking = false;
		if (due->wake <= now)
			step(server, due);
		else
			wake_at(server, due, due->wake);
	}
}

static int milliseconds_to_wait(const struct server *server)
{
	nsec first = INT64_MAX, now = clock_now();

	for (const struct connection *at = server->waking; at; at = at->next_waking)
		first = min_nsec(first, at->wake);
	return first == INT64_MAX ? -1
	       : first <= now	  ? 0
				  : (int)((first - now) / NSEC_MILLISECOND) + 1;
}

/* ---- listening ---- */

static void watch(const struct server *server, int fd, void *pointer, uint32_t events)
{
	struct epoll_event event = { .events = events, .data.ptr = pointer };

	must(epoll_ctl(server->epoll, EPOLL_CTL_ADD, fd, &event) == 0);
}

static void open_connection(struct server *server, struct host *host, int fd)
{
	struct connection *connection = calloc(1, sizeof *connection);
	struct service_counts *counts = &server->service.counts;
	int on = 1;

	must(connection && (connection->ssl = SSL_new(server->context)));
	must(SSL_set_fd(connection->ssl, fd) == 1);
	must(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) == 0);
	connection->fd = fd;
	connection->host = host;
	connection->session.service = &server->service;
	connection->next = server->all;
	connection->link = &server->all;
	if (server->all)
		server->all->link = &connection->next;
	server->all = connection;
	host->most = max_u64(host->most, ++host->now);
	counts->connections++;
	counts->connections_most = max_u64(counts->connections_most, ++counts->connections_now);
	watch(server, fd, connection, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET);
}

static void accept_all(struct server *server, struct host *host)
{
	int fd;

	while ((fd = accept4(host->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0)
		open_connection(server, host, fd);
}

static uint16_t listen_on(struct host *host, uint16_t port)
{
	struct sockaddr_in address = { .sin_family = AF_INET,
				       .sin_port = htons(port),
				       .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t bytes = sizeof address;
	int on = 1;

	host->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	must(host->listener >= 0);
	must(setsockopt(host->listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0);
	if (bind(host->listener, (struct sockaddr *)&address, bytes) ||
	    listen(host->listener, SOMAXCONN)) {
		fprintf(stderr, "model_server: port %u: %s\n", port, strerror(errno));
		exit(EXIT_CONNECT);
	}
	must(getsockname(host->listener, (struct sockaddr *)&address, &bytes) == 0);
	return ntohs(address.sin_port);
}

static void listen_all(struct server *server)
{
	const struct choice *choice = server->choice;

	for (uint64_t i = 0; i < choice->hosts; i++) {
		uint64_t wanted = choice->port ? choice->port + i : 0;

		printf("%s%u", i ? " " : "", listen_on(&server->hosts[i], (uint16_t)wanted));
		watch(server, server->hosts[i].listener, &server->hosts[i], EPOLLIN);
	}
	printf("\n");
	fflush(stdout);
}

/* SIGTERM, the end of its life, and the end of standard input: a test that dies takes its server
 * along. A standard input that cannot be waited for (a file, /dev/null) counts for nothing. */
static void watch_for_end(struct server *server)
{
	struct epoll_event event = { .events = EPOLLIN | EPOLLRDHUP, .data.ptr = &server->epoll };
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGALRM);
	must(sigprocmask(SIG_BLOCK, &set, NULL) == 0);
	must(signal(SIGPIPE, SIG_IGN) != SIG_ERR);
	must((server->signals = signalfd(-1, &set, SFD_CLOEXEC)) >= 0);
	watch(server, server->signals, &server->signals, EPOLLIN);
	(void)epoll_ctl(server->epoll, EPOLL_CTL_ADD, STDIN_FILENO, &event);
	alarm((unsigned)(server->choice->life / NSEC_SECOND) + 1);
}

static bool is_host(const struct server *server, const void *pointer)
{
	const struct host *host = pointer;

	return host >= server->hosts && host < server->hosts + server->choice->hosts;
}

static void serve(struct server *server)
{
	static struct epoll_event events[EVENTS_MAX];
	char waste[512];

	while (!server->ending) {
		int n = epoll_wait(server->epoll, events, EVENTS_MAX, milliseconds_to_wait(server));

		for (int i = 0; i < n; i++) {
			void *pointer = events[i].data.ptr;

			if (pointer == &server->signals)
				server->ending = true;
			else if (pointer == &server->epoll)
				server->ending = read(STDIN_FILENO, waste, sizeof waste) <= 0;
			else if (is_host(server, pointer))
				accept_all(server, pointer);
			else
				step(server, pointer);
		}
		step_waking(server);
	}
}

static void print_counts(const struct server *server)
{
	uint64_t host_most = 0;

	for (uint64_t i = 0; i < server->choice->hosts; i++)
		host_most = max_u64(host_most, server->hosts[i].most);
	list_counts(&server->service.counts, host_most);
}

/* ---- start ---- */

/* A certificate of our own that signs itself, and is written where the client looks for it. */
static void make_identity(struct server *server, const char *ca)
{
	struct identity identity =
		identity_make(&(struct identity_spec){ .subject = "model server",
						       .names = "DNS:localhost,IP:127.0.0.1",
						       .from_hours = -1,
						       .until_hours = CERTIFICATE_HOURS });
	FILE *file = fopen(ca, "w");

	if (!file || !PEM_write_X509(file, identity.certificate) || fclose(file)) {
		fprintf(stderr, "model_server: %s: %s\n", ca, strerror(errno));
		exit(EXIT_IO);
	}
	server->context = identity_server(&identity, TLS1_2_VERSION);
	identity_free(&identity);
}

static void load_identity(struct server *server, const char *certificate, const char *key)
{
	server->context = SSL_CTX_new(TLS_server_method());
	must(server->context);
	if (SSL_CTX_use_certificate_chain_file(server->context, certificate) != 1 ||
	    SSL_CTX_use_PrivateKey_file(server->context, key, SSL_FILETYPE_PEM) != 1) {
		fprintf(stderr, "model_server: no certificate in %s, or no key of it in %s\n",
			certificate, key);
		exit(EXIT_BAD_INPUT);
	}
}

static void set_up(struct server *server)
{
	const struct choice *choice = server->choice;

	if (choice->ca)
		make_identity(server, choice->ca);
	else
		load_identity(server, choice->certificate, choice->key);
	must(SSL_CTX_set_max_proto_version(server->context, 0));
	SSL_CTX_set_session_cache_mode(server->context, SSL_SESS_CACHE_OFF);
	/* A moving buffer: `out` may grow between a blocked SSL_write and its repetition. */
	SSL_CTX_set_mode(server->context,
			 SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	server->service = (struct service){
		.model = choice->model,
		.capabilities = choice->plain
					? "IMAP4rev1 AUTH=PLAIN"
					: "IMAP4rev1 SASL-IR LITERAL+ ID AUTH=PLAIN NAMESPACE "
					  "UNSELECT LIST-EXTENDED LIST-STATUS STATUS=SIZE "
					  "SPECIAL-USE",
		.connections_per_user = choice->connections_per_user,
		.refusals = choice->refusals,
		.rate = choice->rate,
		.refuse_for = choice->refuse_for,
		.backoff = choice->backoff,
		.delay = choice->delay,
		.refuse_uid = choice->refuse_uid,
		.refuse_while = choice->refuse_while,
		.accounts = calloc(choice->model.mailboxes, sizeof(struct account_state)),
	};
	server->hosts = calloc(choice->hosts, sizeof *server->hosts);
	must(server->service.accounts && server->hosts);
	must((server->epoll = epoll_create1(EPOLL_CLOEXEC)) >= 0);
}

static void tear_down(struct server *server)
{
	for (struct connection *next, *at = server->all; at; at = next) {
		next = at->next;
		connection_close(server, &at);
	}
	for (uint64_t i = 0; i < server->choice->hosts; i++)
		close(server->hosts[i].listener);
	close(server->epoll);
	close(server->signals);
	free(server->hosts);
	free(server->service.accounts);
	SSL_CTX_free(server->context);
}

static void allow_many_descriptors(void)
{
	struct rlimit limit;

	must(getrlimit(RLIMIT_NOFILE, &limit) == 0);
	limit.rlim_cur = limit.rlim_max;
	must(setrlimit(RLIMIT_NOFILE, &limit) == 0);
}

static int usage(void)
{
	fprintf(stderr, "model_server: %s (see --help)\n", err_note()->text);
	return EXIT_USAGE;
}

int main(int count, char **arguments)
{
	static struct choice choice = { .model.faults = "" };
	static struct server server;
	struct opt_words words;

	if (opt_parse(&command, count - 1, arguments + 1, &choice, &words) ||
	    (!words.help && model_open(&choice.model)))
		return usage();
	if (words.help) {
		opt_help(&command, "model_server", stdout);
		return 0;
	}
	if (choice.list || choice.list_messages) {
		bool printed = print_lists(&choice);

		model_close(&choice.model);
		return printed ? 0 : EXIT_USAGE;
	}
	if (!choice.ca && !(choice.certificate && choice.key)) {
		fprintf(stderr, "model_server: say --ca FILE, or --certificate and --key\n");
		return EXIT_USAGE;
	}
	allow_many_descriptors();
	server.choice = &choice;
	set_up(&server);
	watch_for_end(&server);
	listen_all(&server);
	serve(&server);
	print_counts(&server);
	tear_down(&server);
	model_close(&choice.model);
	return 0;
}
