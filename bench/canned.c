/* The canned server: blocking, one connection at a time, just enough IMAP for one client. */
#include "bench/canned.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { NOISE_BYTES = 8 * 1024 * 1024, OUT_BYTES = 256 * 1024, LINE_BYTES = 4096 };

static uint64_t state = 88172645463325252u;

static uint64_t next_random(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}

/* Log-uniform between the bounds of a class chosen by weight. */
static uint32_t draw_size(enum corpus_kind kind)
{
	static const struct {
		unsigned per_mille[2];
		uint32_t low, high;
	} classes[] = {
		{ { 500, 400 }, 1200, 6000 },	  { { 380, 330 }, 6000, 30000 },
		{ { 120, 200 }, 30000, 100000 },  { { 0, 60 }, 100000, 900000 },
		{ { 0, 10 }, 1000000, 10000000 },
	};
	unsigned roll = (unsigned)(next_random() % 1000), i = 0;

	while (roll >= classes[i].per_mille[kind]) {
		roll -= classes[i].per_mille[kind];
		i++;
	}
	return classes[i].low + (uint32_t)(next_random() % (classes[i].high - classes[i].low));
}

void corpus_make(struct corpus *corpus, enum corpus_kind kind, uint64_t bytes_total)
{
	static const char head[] =
		"Received: from a by b\r\nSubject: bench\r\nMessage-ID: <1@example.org>\r\n\r\n";
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	size_t room = 1024;

	*corpus = (struct corpus){ .sizes = malloc(room * sizeof(uint32_t)),
				   .text_bytes = NOISE_BYTES };
	corpus->text = malloc(NOISE_BYTES + 16 * 1024 * 1024);
	must(corpus->sizes && corpus->text);
	for (size_t i = 0; i < NOISE_BYTES + 16 * 1024 * 1024; i++)
		corpus->text[i] = i % 78 == 76	 ? '\r'
				  : i % 78 == 77 ? '\n'
						 : (uint8_t)digits[next_random() % 64];
	memcpy(corpus->text, head, sizeof head - 1);
	while (corpus->bytes < bytes_total) {
		if (corpus->count == room)
			must((corpus->sizes =
				      realloc(corpus->sizes, (room *= 2) * sizeof(uint32_t))));
		corpus->sizes[corpus->count] = draw_size(kind);
		corpus->bytes += corpus->sizes[corpus->count++];
	}
}

void corpus_free(struct corpus *corpus)
{
	free(corpus->sizes);
	free(corpus->text);
}

const uint8_t *corpus_body(const struct corpus *corpus, size_t index)
{
	return corpus->text + index * 7919 * 64 % corpus->text_bytes;
}

/* ---- the server ---- */

struct session {
	SSL *ssl;
	const struct corpus *corpus;
	uint8_t out[OUT_BYTES];
	size_t out_bytes;
};

static bool flush(struct session *session)
{
	bool fine = session->out_bytes == 0 ||
		    SSL_write(session->ssl, session->out, (int)session->out_bytes) > 0;

	session->out_bytes = 0;
	return fine;
}

static bool put(struct session *session, const void *from, size_t bytes)
{
	const uint8_t *at = from;

	while (bytes > 0) {
		size_t n = min_u64(bytes, OUT_BYTES - session->out_bytes);

		memcpy(session->out + session->out_bytes, at, n);
		session->out_bytes += n;
		at += n;
		bytes -= n;
		if (session->out_bytes == OUT_BYTES && !flush(session))
			return false;
	}
	return true;
}

static bool put_text(struct session *session, const char *text)
{
	return put(session, text, strlen(text));
}

static bool send_range(struct session *session, unsigned long first, unsigned long last)
{
	char line[160];

	for (unsigned long uid = first; uid <= last && uid <= session->corpus->count; uid++) {
		int n = snprintf(line, sizeof line,
				 "* %lu FETCH (UID %lu FLAGS (\\Seen) INTERNALDATE \"17-Jul-2016 "
				 "02:44:25 -0700\" "
				 "BODY[] {%u}\r\n",
				 uid, uid, session->corpus->sizes[uid - 1]);

		if (!put(session, line, (size_t)n) ||
		    !put(session, corpus_body(session->corpus, uid - 1),
			 session->corpus->sizes[uid - 1]) ||
		    !put_text(session, ")\r\n"))
			return false;
	}
	return true;
}

/* One command line; false ends the session. */
static bool answer(struct session *session, char *line)
{
	char *tag = strtok(line, " \r\n"), *verb = strtok(NULL, " \r\n"),
	     *rest = strtok(NULL, "\r\n");
	char text[400];
	unsigned long first = 0, last = 0;
	bool fine = true;

	if (!tag || !verb)
		return false;
	if (strcmp(verb, "CAPABILITY") == 0)
		fine = put_text(session, "* CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN LITERAL+\r\n");
	else if (strcmp(verb, "LIST") == 0)
		fine = put_text(session, "* LIST () \"/\" INBOX\r\n");
	else if (strcmp(verb, "STATUS") == 0) {
		snprintf(text, sizeof text,
			 "* STATUS INBOX (MESSAGES %zu UIDNEXT %zu UIDVALIDITY 1)\r\n",
			 session->corpus->count, session->corpus->count + 1);
		fine = put_text(session, text);
	} else if (strcmp(verb, "EXAMINE") == 0) {
		snprintf(text, sizeof text,
			 "* %zu EXISTS\r\n* OK [UIDVALIDITY 1] fine\r\n* OK [UIDNEXT %zu] fine\r\n",
			 session->corpus->count, session->corpus->count + 1);
		fine = put_text(session, text);
	} else if (strcmp(verb, "UID") == 0 && rest &&
		   sscanf(rest, "FETCH %lu:%lu", &first, &last) == 2)
		fine = send_range(session, first, last);
	snprintf(text, sizeof text, "%s OK done\r\n", tag);
	return fine && put_text(session, text) && flush(session) && strcmp(verb, "LOGOUT") != 0;
}

static void serve_imap(SSL_CTX *context, const struct corpus *corpus, int fd)
{
	static struct session session;
	static char line[LINE_BYTES + 1];
	size_t have = 0;
	int n;

	session = (struct session){ .ssl = SSL_new(context), .corpus = corpus };
	SSL_set_fd(session.ssl, fd);
	if (SSL_accept(session.ssl) == 1 && put_text(&session, "* OK canned\r\n") &&
	    flush(&session))
		while (have < LINE_BYTES &&
		       (n = SSL_read(session.ssl, line + have, (int)(LINE_BYTES - have))) > 0) {
			char *end;

			line[have += (size_t)n] = '\0';
			while ((end = strchr(line, '\n')) != NULL) {
				size_t used = (size_t)(end + 1 - line);

				*end = '\0';
				if (!answer(&session, line))
					goto out;
				memmove(line, line + used, have - used + 1);
				have -= used;
			}
		}
out:
	SSL_free(session.ssl);
}

static void serve_noise(const struct corpus *corpus, int fd)
{
	uint64_t left = corpus->bytes;
	ssize_t n = 1;

	for (; left > 0 && n > 0; left -= (uint64_t)n)
		n = send(fd, corpus->text, min_u64(left, OUT_BYTES), MSG_NOSIGNAL);
}

static int listen_on(uint16_t *port)
{
	struct sockaddr_in address = { .sin_family = AF_INET,
				       .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t bytes = sizeof address;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	must(fd >= 0 && bind(fd, (struct sockaddr *)&address, bytes) == 0 && listen(fd, 16) == 0);
	must(getsockname(fd, (struct sockaddr *)&address, &bytes) == 0);
	*port = ntohs(address.sin_port);
	return fd;
}

bool pin_to_core(int core)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(core, &set);
	return sched_setaffinity(0, sizeof set, &set) == 0;
}

static NO_RETURN void serve(const struct corpus *corpus, SSL_CTX *context, int imaps, int noise)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	signal(SIGPIPE, SIG_IGN);
	for (;;) {
		fd_set ready;
		int on = 1, listener, fd;

		FD_ZERO(&ready);
		FD_SET(imaps, &ready);
		FD_SET(noise, &ready);
		if (select((imaps > noise ? imaps : noise) + 1, &ready, NULL, NULL, NULL) < 0)
			_exit(1);
		listener = FD_ISSET(imaps, &ready) ? imaps : noise;
		if ((fd = accept(listener, NULL, NULL)) < 0)
			continue;
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
		if (listener == imaps)
			serve_imap(context, corpus, fd);
		else
			serve_noise(corpus, fd);
		close(fd);
	}
}

void canned_start(struct canned *canned, const struct corpus *corpus, const char *certificate,
		  const char *key, int core)
{
	SSL_CTX *context = SSL_CTX_new(TLS_server_method());
	int imaps = listen_on(&canned->imaps_port), noise = listen_on(&canned->plain_port);

	must(context && SSL_CTX_use_certificate_file(context, certificate, SSL_FILETYPE_PEM) == 1 &&
	     SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM) == 1);
	canned->pid = fork();
	must(canned->pid >= 0);
	if (canned->pid == 0) {
		(void)pin_to_core(core);
		serve(corpus, context, imaps, noise);
	}
	SSL_CTX_free(context);
	close(imaps);
	close(noise);
}

void canned_stop(struct canned *canned)
{
	kill(canned->pid, SIGKILL);
	waitpid(canned->pid, NULL, 0);
}
