/* The server: libmicrohttpd on one thread of its own, over a socket that is opened here, because
 * where it may listen is the point. metrics_text.c writes what it answers. */
#include "tools/metrics.h"

#include <arpa/inet.h>
#include <errno.h>
#include <microhttpd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum {
	METRICS_MAGIC = 0x4d455452,
	/* A scraper, its spare and a person with curl; more wait in the kernel's queue. */
	CONNECTIONS_MAX = 8,
	IDLE_SECONDS_MAX = 10,
	/* Of one connection: the request's head and ours. */
	CONNECTION_BYTES_MAX = 16 * 1024,
	TEXT_BYTES_MAX = 256 * 1024,
};

struct place {
	union {
		struct sockaddr any;
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
		struct sockaddr_un un;
	} address;
	socklen_t bytes;
};

struct metrics {
	uint32_t magic;
	struct MHD_Daemon *daemon;
	metrics_fill *fill;
	void *context;
	struct buffer text; /* the server's thread's */
	struct place place;
	dev_t device; /* of the unix socket's file, so that only our own is removed */
	ino_t inode;
	char where[160];
};

/* ---- the address ---- */

static bool is_unix(const struct place *place)
{
	return place->address.any.sa_family == AF_UNIX;
}

static enum err parse_path(const char *path, struct place *place)
{
	struct sockaddr_un *un = &place->address.un;
	size_t n = strlen(path);

	if (path[0] != '/' || n >= sizeof un->sun_path)
		return RAISE(
			ERR_INPUT_ADDRESS,
			"the metrics socket \"%.120s\" is no absolute path of at most %zu bytes",
			path, sizeof un->sun_path - 1);
	un->sun_family = AF_UNIX;
	bytes_copy(un->sun_path, path, n + 1, BYTES_META);
	place->bytes = sizeof *un;
	return OK;
}

static bool parse_port(const char *text, in_port_t *port)
{
	size_t digits = strspn(text, "0123456789");
	unsigned long value = strtoul(text, NULL, 10);

	if (digits == 0 || digits > 5 || text[digits] != '\0' || value > UINT16_MAX)
		return false;
	*port = htons((uint16_t)value);
	return true;
}

/* The part before the last colon, which is there; brackets belong to IPv6. */
static bool parse_loopback(struct text host, struct place *place)
{
	char name[INET6_ADDRSTRLEN];
	struct sockaddr_in *in = &place->address.in;

	if (text_equal(host, text_of("localhost")))
		host = text_of("127.0.0.1");
	if (text_equal(host, text_of("[::1]"))) {
		place->address.in6.sin6_family = AF_INET6;
		place->address.in6.sin6_addr = in6addr_loopback;
		place->bytes = sizeof place->address.in6;
		return true;
	}
	snprintf(name, sizeof name, "%.*s", (int)min_u64(host.bytes, sizeof name), host.at);
	in->sin_family = AF_INET;
	place->bytes = sizeof *in;
	return inet_pton(AF_INET, name, &in->sin_addr) == 1 &&
	       ntohl(in->sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
}

static enum err parse(const char *address, struct place *place)
{
	static const char unix_prefix[] = "unix:";
	const char *colon = strrchr(address, ':');
	char shown[80];
	in_port_t port;

	*place = (struct place){ 0 };
	if (strncmp(address, unix_prefix, sizeof unix_prefix - 1) == 0)
		return parse_path(address + sizeof unix_prefix - 1, place);
	err_quote(shown, sizeof shown, text_of(address));
	if (!colon || !parse_port(colon + 1, &port))
		return RAISE(ERR_INPUT_ADDRESS,
			     "the metrics address \"%s\" has no port; expected is 127.0.0.1:9469, "
			     "[::1]:9469 or unix:/path",
			     shown);
	if (!parse_loopback((struct text){ address, (size_t)(colon - address) }, place))
		return RAISE(ERR_INPUT_ADDRESS,
			     "the metrics address \"%s\" is not this machine's loopback; metrics "
			     "have no password, so only 127.0.0.1, [::1], localhost or unix:/path "
			     "are served: let a proxy with one stand before them",
			     shown);
	if (place->address.any.sa_family == AF_INET6)
		place->address.in6.sin6_port = port;
	else
		place->address.in.sin_port = port;
	return OK;
}

enum err metrics_check(const char *address)
{
	struct place place;

	return parse(address, &place);
}

/* ---- the socket ---- */

/* A socket's file on which nobody listens: its owner was killed. */
static bool is_left_over(const struct place *place)
{
	struct stat status;
	bool refused;
	int fd;

	if (lstat(place->address.un.sun_path, &status) || !S_ISSOCK(status.st_mode))
		return false;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	refused =
		fd >= 0 && connect(fd, &place->address.any, place->bytes) && errno == ECONNREFUSED;
	if (fd >= 0)
		close(fd);
	return refused;
}

/* A unix socket's file gets the mode of its socket less the umask (Linux, unix_bind), so it is
 * never there with another one, and the umask, which all threads share, is left alone. */
static int bind_unix(int fd, const struct place *place)
{
	if (fchmod(fd, S_IRUSR | S_IWUSR))
		return -1;
	if (bind(fd, &place->address.any, place->bytes) == 0)
		return 0;
	if (errno != EADDRINUSE)
		return -1;
	if (!is_left_over(place) || unlink(place->address.un.sun_path)) {
		errno = EADDRINUSE;
		return -1;
	}
	return bind(fd, &place->address.any, place->bytes);
}

/* SO_REUSEADDR: a run that follows another at once is not kept off by its closed connections. It
 * does not let two listen. */
static int bind_port(int fd, const struct place *place)
{
	int on = 1;

	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on))
		return -1;
	return bind(fd, &place->address.any, place->bytes);
}

static enum err listen_at(const char *address, const struct place *place, int *out)
{
	int fd = socket(place->address.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int failed = fd < 0;

	if (!failed)
		failed = is_unix(place) ? bind_unix(fd, place) : bind_port(fd, place);
	if (!failed && !(failed = listen(fd, CONNECTIONS_MAX))) {
		*out = fd;
		return OK;
	}
	failed = errno;
	if (fd >= 0)
		close(fd);
	if (failed == EADDRINUSE)
		return RAISE(ERR_INPUT_ADDRESS,
			     "the metrics address %s is in use by another program (perhaps another "
			     "run); choose another one or end that program",
			     address);
	return RAISE_ERRNO(ERR_INPUT_ADDRESS, failed, "listening for metrics at %s", address);
}

/* What was bound: the port chosen by the kernel, the file made. */
static void look_at(struct metrics *metrics, int fd, const char *address)
{
	struct place *place = &metrics->place;
	struct stat status;
	char host[INET6_ADDRSTRLEN];

	snprintf(metrics->where, sizeof metrics->where, "%s", address);
	if (is_unix(place)) {
		if (lstat(place->address.un.sun_path, &status) == 0) {
			metrics->device = status.st_dev;
			metrics->inode = status.st_ino;
		}
		return;
	}
	must(getsockname(fd, &place->address.any, &place->bytes) == 0);
	if (place->address.any.sa_family == AF_INET6)
		snprintf(metrics->where, sizeof metrics->where, "http://[::1]:%u/metrics",
			 ntohs(place->address.in6.sin6_port));
	else
		snprintf(metrics->where, sizeof metrics->where, "http://%s:%u/metrics",
			 inet_ntop(AF_INET, &place->address.in.sin_addr, host, sizeof host),
			 ntohs(place->address.in.sin_port));
}

/* ---- answers, on the server's thread ---- */

static enum MHD_Result answer(struct MHD_Connection *connection, unsigned status, const char *type,
			      struct text text)
{
	/* The buffer is read only: MHD_RESPMEM_MUST_COPY. */
	struct MHD_Response *response = MHD_create_response_from_buffer(
		text.bytes, (void *)(uintptr_t)text.at, MHD_RESPMEM_MUST_COPY);
	enum MHD_Result done;

	if (!response)
		return MHD_NO;
	done = MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
	if (done == MHD_YES && status == MHD_HTTP_METHOD_NOT_ALLOWED)
		done = MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
	if (done == MHD_YES)
		done = MHD_queue_response(connection, status, response);
	MHD_destroy_response(response);
	return done;
}

static enum MHD_Result answer_line(struct MHD_Connection *connection, unsigned status,
				   const char *line)
{
	return answer(connection, status, "text/plain; charset=utf-8", text_of(line));
}

static enum MHD_Result answer_metrics(struct metrics *metrics, struct MHD_Connection *connection)
{
	struct batch_counts counts = { 0 };

	metrics->fill(metrics->context, &counts);
	buffer_reset(&metrics->text);
	metrics_text(&counts, clock_wall() / NSEC_SECOND, &metrics->text);
	if (metrics->text.failed)
		return answer_line(connection, MHD_HTTP_INTERNAL_SERVER_ERROR,
				   "no memory for the metrics\n");
	return answer(connection, MHD_HTTP_OK, "text/plain; version=0.0.4; charset=utf-8",
		      (struct text){ metrics->text.at, metrics->text.bytes });
}

/* Called with the request's head alone. libmicrohttpd ends a connection that is answered then,
 * which is meant: a body is never read, and idle connections do not take the few places there are.
 */
static enum MHD_Result on_request(void *context, struct MHD_Connection *connection, const char *url,
				  const char *method, const char *version, const char *body,
				  size_t *body_bytes, void **request)
{
	struct metrics *metrics = context;

	(void)version, (void)body, (void)body_bytes, (void)request;
	MAGIC_CHECK(metrics, METRICS_MAGIC);
	if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0)
		return answer_line(connection, MHD_HTTP_METHOD_NOT_ALLOWED,
				   "only GET and HEAD are answered here\n");
	if (strcmp(url, "/metrics") == 0)
		return answer_metrics(metrics, connection);
	if (strcmp(url, "/") == 0)
		return answer_line(connection, MHD_HTTP_OK,
				   "mailhaul: metrics for Prometheus are at /metrics\n");
	return answer_line(connection, MHD_HTTP_NOT_FOUND, "there is only /metrics here\n");
}

/* ---- open and close ---- */

/* Signals are for the threads that know them: the server's begins with all of them blocked. */
static struct MHD_Daemon *start(struct metrics *metrics, int fd)
{
	struct MHD_Daemon *daemon;
	sigset_t all, before;

	sigfillset(&all);
	must(pthread_sigmask(SIG_SETMASK, &all, &before) == 0);
	daemon = MHD_start_daemon(MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_POLL | MHD_USE_ITC, 0,
				  NULL, NULL, on_request, metrics, MHD_OPTION_LISTEN_SOCKET, fd,
				  MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS_MAX,
				  MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)IDLE_SECONDS_MAX,
				  MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_BYTES_MAX,
				  MHD_OPTION_END);
	must(pthread_sigmask(SIG_SETMASK, &before, NULL) == 0);
	return daemon;
}

enum err metrics_open(const char *address, metrics_fill *fill, void *context, struct metrics **out)
{
	struct metrics *metrics = calloc(1, sizeof *metrics);
	enum err e;
	int fd = -1;

	must(fill);
	*out = metrics;
	if (!metrics)
		return RAISE(ERR_MEMORY_EXHAUSTED, "the metrics server");
	metrics->magic = METRICS_MAGIC;
	metrics->fill = fill;
	metrics->context = context;
	metrics->text.bytes_max = TEXT_BYTES_MAX;
	if ((e = parse(address, &metrics->place)) || (e = listen_at(address, &metrics->place, &fd)))
		goto out;
	look_at(metrics, fd, address);
	/* The socket is libmicrohttpd's from here on, also if it fails: closing it twice could hit
	 * another thread's. */
	if ((metrics->daemon = start(metrics, fd)))
		return OK;
	e = RAISE(ERR_MEMORY_EXHAUSTED, "starting the metrics server at %s", address);
out:
	metrics_close(out);
	return e;
}

const char *metrics_where(const struct metrics *metrics)
{
	return metrics->where;
}

static void remove_socket(const struct metrics *metrics)
{
	const char *path = metrics->place.address.un.sun_path;
	struct stat status;

	if (metrics->inode && lstat(path, &status) == 0 && status.st_dev == metrics->device &&
	    status.st_ino == metrics->inode)
		unlink(path);
}

void metrics_close(struct metrics **metrics_at)
{
	struct metrics *metrics = *metrics_at;

	if (!metrics)
		return;
	MAGIC_CHECK(metrics, METRICS_MAGIC);
	if (metrics->daemon)
		MHD_stop_daemon(metrics->daemon);
	remove_socket(metrics);
	buffer_free(&metrics->text);
	metrics->magic = 0;
	free(metrics);
	*metrics_at = NULL;
}
