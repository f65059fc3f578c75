/* The scripted server. Blocking sockets on a thread, so that the client under test has its own.
 * Every wait ends by itself: a socket that stays silent for SILENCE_SECONDS ends the script as
 * failed. */
#include "tests/wire/wire.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <zlib.h>

#include "engine/bytes.h"

enum { SILENCE_SECONDS = 20, TAGS_MAX = 160, CLIENT_LINE_MAX = 8192, GATHER_BYTES = 16 * 1024 };

struct wire_server {
	const struct wire_script *script;
	pthread_t thread;
	int listener, fd;
	size_t piece;
	unsigned pause_ms;
	struct {
		char name[16], tag[16];
	} tags[TAGS_MAX];
	unsigned tags_count;
	char problem[400];
	char heard[CLIENT_LINE_MAX]; /* the client's last line */
	bool joined;
	atomic_bool ended;
	/* Once the script says so; zlib itself, not the product's door to it. */
	bool compressed;
	z_stream pack, open;
	uint8_t arrived[512]; /* not opened yet */
};

/* ---- reading scripts ---- */

static void read_into(struct wire_script *script, const char *path, unsigned depth)
{
	FILE *file = fopen(path, "r");
	char line[2048], other[600];
	unsigned number = 0;

	if (!file || depth > 4) {
		snprintf(script->problem, sizeof script->problem, "%s cannot be read", path);
		if (file)
			fclose(file);
		return;
	}
	while (fgets(line, sizeof line, file) && !script->problem[0]) {
		line[strcspn(line, "\n")] = '\0';
		number++;
		if (!line[0] || line[0] == '#')
			continue;
		if (strncmp(line, "include ", 8) == 0) {
			snprintf(other, sizeof other, "%.*s%.200s",
				 (int)(strrchr(path, '/') - path + 1), path, line + 8);
			read_into(script, other, depth + 1);
		} else if (script->count == WIRE_LINES_MAX) {
			snprintf(script->problem, sizeof script->problem, "%s is too long", path);
		} else {
			struct wire_line *to = &script->lines[script->count++];

			snprintf(to->file, sizeof to->file, "%s", strrchr(path, '/') + 1);
			to->number = number;
			to->text = strdup(line);
		}
	}
	fclose(file);
}

void wire_read(struct wire_script *script, const char *path)
{
	script->count = 0;
	script->problem[0] = '\0';
	snprintf(script->path, sizeof script->path, "%s", path);
	read_into(script, path, 0);
}

/* `line` with the words in; NULL where it has no place for them. */
static char *fill_in(const char *line, const char *const words[3])
{
	size_t n = 0, room = strlen(line) + 1;
	char *filled;

	if (!strchr(line, '$'))
		return NULL;
	for (const char *at = line; *at; at++)
		room += at[0] == '$' && at[1] >= '1' && at[1] <= '3' ? strlen(words[at[1] - '1'])
								     : 0;
	must((filled = malloc(room)) != NULL);
	for (const char *at = line; *at; at++)
		if (at[0] == '$' && at[1] >= '1' && at[1] <= '3')
			n += (size_t)snprintf(filled + n, room - n, "%s", words[*++at - '1']);
		else
			filled[n++] = *at;
	filled[n] = '\0';
	return filled;
}

bool wire_vary(struct wire_script *script, unsigned n)
{
	char text[2048] = "", *rest = text, *filled;
	const char *words[3] = { text };
	unsigned count = 0;

	for (unsigned i = 0; i < script->count; i++)
		if (strncmp(script->lines[i].text, "each ", 5) == 0 && count++ == n)
			snprintf(text, sizeof text, "%s", script->lines[i].text + 5);
	for (unsigned i = 0; i < 3; i++)
		words[i] = rest ? strsep(&rest, " ") : "";
	must(!rest); /* a space in a word is \x20 */
	for (unsigned i = 0; i < script->count; i++) {
		filled = count ? fill_in(script->lines[i].text, words) : NULL;
		if (!filled)
			continue;
		free(script->lines[i].text);
		script->lines[i].text = filled;
	}
	return n < (count ? count : 1);
}

void wire_free(struct wire_script *script)
{
	for (unsigned i = 0; i < script->count; i++)
		free(script->lines[i].text);
	script->count = 0;
}

void wire_split(char *text, struct wire_words *words)
{
	words->count = 0;
	while (*text && words->count < WIRE_WORDS_MAX) {
		char *key = text, *value = text + strcspn(text, "= ");
		bool quoted;

		if (*value != '=') {
			text += strcspn(text, " ") + (text[strcspn(text, " ")] != '\0');
			continue;
		}
		*value++ = '\0';
		quoted = *value == '"';
		value += quoted;
		for (text = value; *text && *text != (quoted ? '"' : ' '); text++)
			text += quoted && text[0] == '\\' && text[1];
		words->words[words->count].key = key;
		words->words[words->count++].value = value;
		if (*text)
			*text++ = '\0';
		while (*text == ' ')
			text++;
	}
}

const char *wire_word(const struct wire_words *words, const char *key, const char *otherwise)
{
	for (unsigned i = 0; i < words->count; i++)
		if (strcmp(words->words[i].key, key) == 0)
			return words->words[i].value;
	return otherwise;
}

size_t wire_unescape(char *text)
{
	static const char codes[] = "rntx\\\"";
	char *to = text, hex[3] = "";

	for (const char *at = text; *at; at++) {
		if (at[0] != '\\' || !at[1] || !strchr(codes, at[1])) {
			*to++ = *at;
			continue;
		}
		at++;
		if (*at == 'x' && at[1] && at[2]) {
			hex[0] = *++at;
			hex[1] = *++at;
			*to++ = (char)strtoul(hex, NULL, 16);
		} else {
			*to++ = *at == 'r' ? '\r' : *at == 'n' ? '\n' : *at == 't' ? '\t' : *at;
		}
	}
	*to = '\0';
	return (size_t)(to - text);
}

struct wire_bytes wire_bytes_of(unsigned seed)
{
	return (struct wire_bytes){ seed * 2654435761u + 1 };
}

void wire_bytes_next(struct wire_bytes *bytes, uint8_t *to, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		bytes->state ^= bytes->state << 13;
		bytes->state ^= bytes->state >> 17;
		bytes->state ^= bytes->state << 5;
		to[i] = (uint8_t)(bytes->state >> 24);
	}
}

/* ---- playing ---- */

static bool fail(struct wire_server *, const struct wire_line *, const char *format, ...)
	PRINTF_LIKE(3, 4);
static bool fail(struct wire_server *server, const struct wire_line *line, const char *format, ...)
{
	va_list arguments;
	int n = snprintf(server->problem, sizeof server->problem, "%s:%u: ", line->file,
			 line->number);

	va_start(arguments, format);
	vsnprintf(server->problem + n, sizeof server->problem - (size_t)n, format, arguments);
	va_end(arguments);
	return false;
}

/* As it stands, in pieces. */
static bool send_plain(struct wire_server *server, const struct wire_line *line, const void *from,
		       size_t n)
{
	struct timespec pause = { 0, (long)server->pause_ms * 1000000 };
	size_t piece = server->pause_ms ? 1 : server->piece ? server->piece : n;
	ssize_t sent;

	for (const char *at = from; n; at += sent, n -= (size_t)sent) {
		sent = send(server->fd, at, n < piece ? n : piece, MSG_NOSIGNAL);
		if (sent <= 0)
			return fail(server, line, "the client is gone (%s)", strerror(errno));
		if (server->pause_ms)
			nanosleep(&pause, NULL);
	}
	return true;
}

static bool send_bytes(struct wire_server *server, const struct wire_line *line, const void *from,
		       size_t n)
{
	uint8_t packed[1024];
	bool sent = true;

	if (!server->compressed || n == 0)
		return send_plain(server, line, from, n);
	server->pack.next_in = (Bytef *)(uintptr_t)from; /* it is not written to */
	server->pack.avail_in = (unsigned)n;
	do {
		server->pack.next_out = packed;
		server->pack.avail_out = sizeof packed;
		must(deflate(&server->pack, Z_SYNC_FLUSH) != Z_STREAM_ERROR);
		sent = send_plain(server, line, packed, sizeof packed - server->pack.avail_out);
	} while (sent && server->pack.avail_out == 0);
	return sent;
}

/* recv() of what the client said before it was compressed. */
static ssize_t hear_some(struct wire_server *server, void *to, size_t n)
{
	z_stream *open = &server->open;
	ssize_t got;
	int result;

	if (!server->compressed)
		return recv(server->fd, to, n, 0);
	for (open->next_out = to, open->avail_out = (unsigned)n;;) {
		result = inflate(open, Z_SYNC_FLUSH);
		if (open->avail_out < n)
			return (ssize_t)(n - open->avail_out);
		if (result != Z_OK && result != Z_BUF_ERROR) {
			errno = EBADMSG;
			return -1;
		}
		if ((got = recv(server->fd, server->arrived, sizeof server->arrived, 0)) <= 0)
			return got;
		open->next_in = server->arrived;
		open->avail_in = (unsigned)got;
	}
}

static bool begin_compression(struct wire_server *server)
{
	must(!server->compressed);
	must(deflateInit2(&server->pack, 9, Z_DEFLATED, -15, 9, Z_DEFAULT_STRATEGY) == Z_OK);
	must(inflateInit2(&server->open, -15) == Z_OK);
	server->compressed = true;
	return true;
}

static bool send_uncompressed(struct wire_server *server, const struct wire_line *line,
			      const char *text)
{
	char *bytes = strdup(text);
	bool sent = send_plain(server, line, bytes, wire_unescape(bytes));

	free(bytes);
	return sent;
}

static bool send_uncompressed_forever(struct wire_server *server, const struct wire_line *line,
				      const char *text)
{
	while (send_uncompressed(server, line, text))
		continue;
	server->problem[0] = '\0'; /* that the client goes is what is wanted */
	return true;
}

/* The client's real tag where `*text` begins with a tag's name; moves *text behind it. */
static bool send_tag(struct wire_server *server, const struct wire_line *line, const char **text)
{
	size_t word = strcspn(*text, " ");

	for (unsigned i = server->tags_count; i-- > 0;)
		if (strlen(server->tags[i].name) == word &&
		    strncmp(server->tags[i].name, *text, word) == 0) {
			*text += word;
			return send_bytes(server, line, server->tags[i].tag,
					  strlen(server->tags[i].tag));
		}
	return true;
}

static bool send_line(struct wire_server *server, const struct wire_line *line, const char *text)
{
	return send_tag(server, line, &text) && send_bytes(server, line, text, strlen(text)) &&
	       send_bytes(server, line, "\r\n", 2);
}

/* `text` so many times, each "#" of it the number of the time, gathered into large sends (not where
 * each byte is to be seen on its way). */
static bool send_raw(struct wire_server *server, const struct wire_line *line, const char *text,
		     unsigned long times)
{
	char *bytes = strdup(text), digits[24];
	size_t n = wire_unescape(bytes), gathered = 0;
	static _Thread_local char block[GATHER_BYTES];
	bool sent = true, counts = strncmp(line->text, "S-count", 7) == 0;

	for (unsigned long at = 1; sent && at <= times; at++) {
		int width = snprintf(digits, sizeof digits, "%lu", at);

		for (size_t i = 0; sent && i < n; i++) {
			if (gathered + sizeof digits > sizeof block) {
				sent = send_bytes(server, line, block, gathered);
				gathered = 0;
			}
			if (!counts || bytes[i] != '#')
				block[gathered++] = bytes[i];
			for (int d = 0; counts && bytes[i] == '#' && d < width; d++)
				block[gathered++] = digits[d];
		}
	}
	free(bytes);
	return sent && send_bytes(server, line, block, gathered);
}

/* That the client goes is what is wanted. */
static bool send_forever(struct wire_server *server, const struct wire_line *line, const char *text)
{
	while (send_raw(server, line, text, 100))
		continue;
	server->problem[0] = '\0';
	return true;
}

static bool send_literal(struct wire_server *server, const struct wire_line *line, const char *text)
{
	unsigned long long n;
	unsigned seed;
	struct wire_bytes bytes;
	uint8_t block[2048];

	if (sscanf(text, "%llu seed %u", &n, &seed) != 2)
		return fail(server, line, "S-literal N seed K");
	bytes = wire_bytes_of(seed);
	while (n) {
		size_t now = n < sizeof block ? (size_t)n : sizeof block;

		wire_bytes_next(&bytes, block, now);
		if (!send_bytes(server, line, block, now))
			return false;
		n -= now;
	}
	return true;
}

static bool hear(struct wire_server *server, const struct wire_line *line)
{
	char *heard = server->heard;
	size_t n = 0;

	while (n + 1 < CLIENT_LINE_MAX) {
		ssize_t got = hear_some(server, heard + n, 1);

		if (got < 0 && errno == EINTR)
			continue; /* what stopped the process for a while */
		if (got != 1)
			return fail(server, line, "the client did not say \"%s\" but ended (%s)",
				    line->text, got ? strerror(errno) : "orderly");
		if (heard[n] == '\n')
			break;
		n++;
	}
	heard[n] = '\0';
	if (n && heard[n - 1] == '\r')
		heard[n - 1] = '\0';
	return true;
}

static bool same(const char *heard, const char *wanted)
{
	size_t n = strlen(wanted);

	if (n >= 3 && strcmp(wanted + n - 3, "...") == 0)
		return strncmp(heard, wanted, n - 3) == 0;
	return strcmp(heard, wanted) == 0;
}

static bool expect_raw(struct wire_server *server, const struct wire_line *line, const char *text)
{
	char *heard = server->heard, *wanted = strdup(text);
	bool equal;

	wire_unescape(wanted);
	equal = hear(server, line);
	if (equal && !same(heard, wanted))
		equal = fail(server, line, "the client said \"%.150s\"", heard);
	free(wanted);
	return equal;
}

static bool expect_line(struct wire_server *server, const struct wire_line *line, const char *text)
{
	const char *heard = server->heard;
	size_t word = strcspn(text, " "), tag;

	if (!hear(server, line))
		return false;
	tag = strcspn(heard, " ");
	if (!same(heard + tag, text + word) || tag == 0 || tag >= sizeof server->tags[0].tag)
		return fail(server, line, "the client said \"%.150s\"", heard);
	if (server->tags_count == TAGS_MAX)
		return fail(server, line, "too many commands");
	snprintf(server->tags[server->tags_count].name, 16, "%.*s", (int)word, text);
	snprintf(server->tags[server->tags_count].tag, 16, "%.*s", (int)tag, heard);
	server->tags_count++;
	return true;
}

/* So many bytes of the client, whatever they are. */
static bool hear_bytes(struct wire_server *server, const struct wire_line *line, uint8_t *to,
		       size_t n)
{
	while (n) {
		ssize_t got = hear_some(server, to, n);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return fail(server, line, "the client ended (%s) before \"%s\"",
				    got ? strerror(errno) : "orderly", line->text);
		to += got;
		n -= (size_t)got;
	}
	return true;
}

static bool expect_bytes(struct wire_server *server, const struct wire_line *line, const char *text)
{
	char *wanted = strdup(text);
	size_t n = wire_unescape(wanted);
	uint8_t *heard = malloc(n + 1);
	bool good;

	must(heard);
	good = hear_bytes(server, line, heard, n);
	if (good && memcmp(heard, wanted, n) != 0)
		good = fail(server, line, "the client said \"%.*s\"", (int)n, (char *)heard);
	free(heard);
	free(wanted);
	return good;
}

static bool expect_literal(struct wire_server *server, const struct wire_line *line,
			   const char *text)
{
	uint8_t heard[1024], wanted[sizeof heard];
	struct wire_bytes bytes;
	unsigned long long n;
	unsigned seed;

	if (sscanf(text, "%llu seed %u", &n, &seed) != 2)
		return fail(server, line, "C-literal N seed K");
	bytes = wire_bytes_of(seed);
	while (n) {
		size_t now = n < sizeof heard ? (size_t)n : sizeof heard;

		wire_bytes_next(&bytes, wanted, now);
		if (!hear_bytes(server, line, heard, now))
			return false;
		if (memcmp(heard, wanted, now) != 0)
			return fail(server, line, "other bytes, %llu before the end or later", n);
		n -= now;
	}
	return true;
}

/* The test says when: a client whose bytes nobody reads cannot even say that it has gone. */
static bool wait_deaf(struct wire_server *server, const struct wire_line *line)
{
	struct pollfd stopped = { .fd = server->listener, .events = POLLIN };

	return poll(&stopped, 1, SILENCE_SECONDS * 1000) == 1 ||
	       fail(server, line, "the client waits for ever");
}

static bool wait_for_end(struct wire_server *server, const struct wire_line *line)
{
	char nothing[512];
	ssize_t n;

	while ((n = recv(server->fd, nothing, sizeof nothing, 0)) > 0)
		continue;
	return n == 0 || errno == ECONNRESET || fail(server, line, "the client waits for ever");
}

static bool play_line(struct wire_server *server, const struct wire_line *line, bool *ended)
{
	const char *text = line->text;
	char *behind;
	unsigned long times;

	if (strncmp(text, "S: ", 3) == 0)
		return send_line(server, line, text + 3);
	if (strncmp(text, "S+ ", 3) == 0)
		return send_raw(server, line, text + 3, 1);
	if (strncmp(text, "S* ", 3) == 0) {
		text += 3;
		return send_tag(server, line, &text) && send_raw(server, line, text, 1);
	}
	if (strncmp(text, "S-literal ", 10) == 0)
		return send_literal(server, line, text + 10);
	if (strncmp(text, "S-repeat ", 9) == 0 || strncmp(text, "S-count ", 8) == 0) {
		times = strtoul(strchr(text, ' '), &behind, 10);
		return send_raw(server, line, behind + (*behind == ' '), times);
	}
	if (strncmp(text, "S-forever ", 10) == 0) {
		*ended = true;
		return send_forever(server, line, text + 10);
	}
	if (strncmp(text, "C: ", 3) == 0)
		return expect_line(server, line, text + 3);
	if (strncmp(text, "C+", 2) == 0)
		return expect_raw(server, line, text + 2 + (text[2] == ' '));
	if (strncmp(text, "C-raw ", 6) == 0)
		return expect_bytes(server, line, text + 6);
	if (strncmp(text, "C-literal ", 10) == 0)
		return expect_literal(server, line, text + 10);
	if (strcmp(text, "deaf") == 0) {
		*ended = true;
		return wait_deaf(server, line);
	}
	if (strcmp(text, "compress") == 0)
		return begin_compression(server);
	if (strncmp(text, "uncompressed ", 13) == 0)
		return send_uncompressed(server, line, text + 13);
	if (strncmp(text, "uncompressed-forever ", 21) == 0) {
		*ended = true;
		return send_uncompressed_forever(server, line, text + 21);
	}
	if (strncmp(text, "drip ", 5) == 0)
		server->pause_ms = (unsigned)strtoul(text + 5, NULL, 10);
	*ended = strcmp(text, "close") == 0;
	return strcmp(text, "stall") != 0 || wait_for_end(server, line);
}

static void *play(void *argument)
{
	struct wire_server *server = argument;
	struct timeval silence = { SILENCE_SECONDS, 0 };
	bool ended = false, good = true;
	int on = 1;

	server->fd = accept(server->listener, NULL, NULL);
	if (server->fd < 0) {
		server->ended = true;
		return NULL;
	}
	setsockopt(server->fd, SOL_SOCKET, SO_RCVTIMEO, &silence, sizeof silence);
	setsockopt(server->fd, SOL_SOCKET, SO_SNDTIMEO, &silence, sizeof silence);
	setsockopt(server->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	for (unsigned i = 0; good && !ended && i < server->script->count; i++)
		good = play_line(server, &server->script->lines[i], &ended);
	if (good && !ended) {
		/* The client leaves first: what it had still to read is not cut by our closing. */
		shutdown(server->fd, SHUT_WR);
		good = wait_for_end(server, &server->script->lines[server->script->count - 1]);
	}
	close(server->fd);
	if (server->compressed) {
		(void)deflateEnd(&server->pack);
		(void)inflateEnd(&server->open);
	}
	server->ended = true;
	return NULL;
}

struct wire_server *wire_serve(const struct wire_script *script, size_t piece, uint16_t *port)
{
	struct wire_server *server = calloc(1, sizeof *server);
	struct sockaddr_in address = { .sin_family = AF_INET,
				       .sin_addr = { htonl(INADDR_LOOPBACK) } };
	socklen_t bytes = sizeof address;

	must(server);
	server->script = script;
	server->piece = piece;
	server->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	must(server->listener >= 0);
	must(bind(server->listener, (struct sockaddr *)&address, sizeof address) == 0);
	must(listen(server->listener, 1) == 0);
	must(getsockname(server->listener, (struct sockaddr *)&address, &bytes) == 0);
	*port = ntohs(address.sin_port);
	must(pthread_create(&server->thread, NULL, play, server) == 0);
	return server;
}

void wire_server_stop(struct wire_server *server)
{
	shutdown(server->listener, SHUT_RDWR); /* accept() ends */
}

bool wire_server_ended(const struct wire_server *server)
{
	return server->ended;
}

const char *wire_server_join(struct wire_server *server)
{
	if (!server->joined) {
		wire_server_stop(server);
		pthread_join(server->thread, NULL);
		close(server->listener);
	}
	server->joined = true;
	return server->problem[0] ? server->problem : NULL;
}

void wire_server_close(struct wire_server **server)
{
	if (!*server)
		return;
	(void)wire_server_join(*server);
	free(*server);
	*server = NULL;
}
