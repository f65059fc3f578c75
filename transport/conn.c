/* One connection under TLS: see conn.h. Ciphertext arrives in the ring's buffers, and OpenSSL's
 * reading of them (wire_take) is its only copy; plaintext is opened straight into the caller's
 * memory. What is sealed gathers in one of two buffers, so that one can be on its way while the
 * other fills. Not for: what a peer says, and whether to try again. */
#include "transport/conn.h"

#include <stdio.h>
#include <stdlib.h>

#include "engine/bytes.h"
#include "engine/budget.h"
#include "engine/clock.h"
#include "engine/fiber.h"
#include "engine/io.h"
#include "transport/conn_path.h"
#include "transport/aws_partition.h"
#include "transport/dial.h"
#include "transport/proxy.h"
#include "transport/tls.h"

enum {
	CONN_MAGIC = 0x0c022000,
	SEND_BYTES_MAX = 256 * 1024,   /* of one gathering buffer */
	SEND_BYTES_FLUSH = 128 * 1024, /* goes out by itself past this */
	RECORD_BYTES_MAX = 16 * 1024,  /* RFC 8446 section 5.1 */
	REST_BYTES_MAX = 32 * 1024,    /* kept: a record and a small one; CONNECTION_BYTES has it */
	PLAIN_BYTES_MAX = 512,	       /* all that may ever be sent before TLS */
	READY_LOOKS_MAX = 16,
	GOODBYE_BYTES_MAX = 256 * 1024, /* read and dropped while waiting for the peer's end */
};
#define ALERT_WAIT_MAX	 NSEC_SECOND
#define GOODBYE_WAIT_MAX (2 * NSEC_SECOND)

struct conn {
	uint32_t magic;
	int fd;
	const struct account *account; /* only until TLS stands */
	struct tls_context *trust;
	struct tls *tls;
	nsec until;
	char shown[220]; /* for texts: "imap.example.com:993 (192.0.2.1:993)" */
	struct peer peer;
	struct conn_counts counts;
	struct conn_path path;
	uint64_t *heard; /* the account's */

	struct io_receiver *receiver;
	struct ring_bytes arrived; /* being used up, while `holding` */
	uint32_t arrived_used;
	bool holding, ended;
	bool receiving; /* a fiber waits in the ring; others wait for it */
	struct wait_queue received;

	struct buffer send[2];
	unsigned filling; /* of send */
	bool sending;	  /* the other one is on its way */
	bool is_mute;
	enum err send_failed;
	struct wait_queue sent;
};

/* ---- texts ---- */

/* The ring's errors do not know whom they are about. Say it, unless an older note is being kept. */
static enum err name_peer(const struct conn *conn, enum err e, bool had_note, const char *doing)
{
	const char *during = conn->tls && !conn_is_secure(conn) ? "TLS handshake: " : "";
	int errno_value = err_note()->errno_value;

	if (e == ERR_FIBER_CANCELED || had_note)
		return e;
	err_note_clear();
	if (e == ERR_FIBER_TIMEOUT || e == ERR_NET_TIMEOUT)
		return RAISE(ERR_NET_TIMEOUT, "%s%s %s: nothing moved in time", during, doing,
			     conn->shown);
	return errno_value ? RAISE_ERRNO(e, errno_value, "%s%s %s", during, doing, conn->shown)
			   : RAISE(e, "%s%s %s", during, doing, conn->shown);
}

static bool has_note(void)
{
	return err_note()->error != OK;
}

/* ---- the wire ---- */

/* Wait for bytes of the wire, or its end (`ended`). May return without either when another fiber
 * got them first, so callers look again. */
static enum err receive(struct conn *conn, nsec until)
{
	bool had_note = has_note();
	enum err e;

	if (conn->holding || conn->ended)
		return OK;
	if (conn->receiving) {
		e = wait_on(&conn->received, until);
		return e ? name_peer(conn, e, had_note, "waiting for") : OK;
	}
	conn->receiving = true;
	e = io_receive(conn->receiver, until, &conn->arrived);
	conn->receiving = false;
	wake_all(&conn->received);
	if (e)
		return name_peer(conn, e, had_note, "waiting for");
	conn_path_moved(&conn->path);
	conn->ended = conn->arrived.length == 0;
	conn->holding = !conn->ended;
	conn->arrived_used = 0;
	return OK;
}

/* Behind bytes that brought nothing: a peer may send tickets or new keys without end, and what is
 * there already is received without a wait, so the clock has to be asked. */
static enum err receive_more(struct conn *conn)
{
	if (clock_now() > conn->until)
		return RAISE(ERR_NET_TIMEOUT,
			     "waiting for %s: it sends messages of TLS and nothing else",
			     conn->shown);
	return receive(conn, conn->until);
}

/* As receive(), but for what is there already: most often nothing, which is no error. */
static enum err receive_ready(struct conn *conn)
{
	enum err e;

	if (conn->holding || conn->ended || conn->receiving)
		return OK;
	e = io_await(conn->receiver, 0); /* long past: it only looks */
	if (e && e != ERR_FIBER_TIMEOUT)
		return e;
	return !conn->receiving && io_is_ready(conn->receiver) ? receive(conn, conn->until) : OK;
}

static size_t wire_take(void *owner, void *to, size_t max)
{
	struct conn *conn = owner;
	size_t bytes;

	MAGIC_CHECK(conn, CONN_MAGIC);
	if (!conn->holding)
		return 0;
	bytes = min_u64(max, conn->arrived.length - conn->arrived_used);
	bytes_copy(to, conn->arrived.at + conn->arrived_used, bytes, BYTES_META);
	conn->arrived_used += (uint32_t)bytes;
	if (conn->arrived_used == conn->arrived.length) {
		io_release(conn->receiver, &conn->arrived);
		conn->holding = false;
	}
	return bytes;
}

static bool wire_give(void *owner, const void *from, size_t bytes)
{
	struct conn *conn = owner;
	struct buffer *buffer;

	MAGIC_CHECK(conn, CONN_MAGIC);
	if (conn->is_mute)
		return true;
	buffer = &conn->send[conn->filling];
	buffer_add(buffer, from, bytes);
	return !buffer->failed;
}

static void drop_gathered(struct conn *conn)
{
	buffer_free(&conn->send[0]);
	buffer_free(&conn->send[1]);
}

/* Send one gathered buffer. A send that ends early has cut a record, so it is the last one. */
static enum err send_gathered(struct conn *conn)
{
	struct buffer *going = &conn->send[conn->filling];
	bool had_note = has_note();
	enum err e;

	must(!conn->sending && going->bytes > 0);
	conn->filling ^= 1;
	conn->sending = true;
	e = io_send(conn->fd, going->at, going->bytes, conn->until);
	conn->sending = false;
	conn_path_moved(&conn->path);
	buffer_reset(going);
	if (conn->send[conn->filling].bytes == 0)
		conn->filling ^= 1; /* the same memory again: it is there, and in the cache */
	wake_all(&conn->sent);
	if (!e)
		return OK;
	conn->send_failed = e == ERR_FIBER_CANCELED ? ERR_NET_RESET : e;
	return name_peer(conn, e, had_note, "sending to");
}

/* Send what has gathered. Where another fiber is sending already, its loop takes ours along: the
 * reader leaves it to it, lest it wait for a peer that waits for us to read. */
static enum err flush(struct conn *conn, bool wait_for_other)
{
	bool had_note = has_note();
	enum err e;

	if (conn->is_mute)
		return OK;
	while (conn->sending) {
		if (!wait_for_other)
			return OK;
		if ((e = wait_on(&conn->sent, conn->until)))
			return name_peer(conn, e, had_note, "sending to");
	}
	if (conn->send_failed)
		return RAISE(conn->send_failed, "sending to %s: an earlier send was cut short",
			     conn->shown);
	while (conn->send[conn->filling].bytes > 0)
		if ((e = send_gathered(conn)))
			return e;
	return OK;
}

/* ---- TLS ---- */

struct trust {
	struct trust *next;
	struct tls_context *context;
	char ca_file[]; /* "": the system's */
};
static _Thread_local struct trust *trusts;

static enum err trust_find(const char *ca_file, struct tls_context **out)
{
	size_t bytes = ca_file ? strlen(ca_file) : 0;
	struct trust *trust;
	enum err e;

	for (trust = trusts; trust; trust = trust->next)
		if (text_equal(text_of(trust->ca_file), (struct text){ ca_file, bytes })) {
			*out = trust->context;
			return OK;
		}
	if (!(trust = calloc(1, sizeof *trust + bytes + 1)))
		return RAISE(ERR_MEMORY_EXHAUSTED, "TLS settings");
	if ((e = tls_context_open(ca_file, &trust->context))) {
		free(trust);
		return e;
	}
	bytes_copy(trust->ca_file, ca_file, bytes, BYTES_META);
	trust->next = trusts;
	trusts = trust;
	*out = trust->context;
	return OK;
}

void conn_thread_cleanup(void)
{
	struct trust *trust;

	while ((trust = trusts)) {
		trusts = trust->next;
		tls_context_close(&trust->context);
		free(trust);
	}
}

/* Tell the peer why (the alert is waiting to be sent), but do not let that take long. The error
 * that ended the handshake stays the one reported. */
static void send_alert(struct conn *conn)
{
	nsec until = conn->until;

	conn->until = min_nsec(until, clock_after(ALERT_WAIT_MAX));
	if (flush(conn, true))
		conn->ended = true; /* it does not even take that */
	conn->until = until;
}

static enum err shake_hands(struct conn *conn)
{
	bool done = false;
	enum err e;

	while (!done) {
		if ((e = tls_handshake(conn->tls, &done))) {
			send_alert(conn);
			return e;
		}
		if ((e = flush(conn, true)))
			return e;
		if (!done && (e = receive_more(conn)))
			return e;
		if (!done && conn->ended)
			return RAISE(ERR_NET_CLOSED,
				     "TLS handshake: waiting for %s: it closed the connection",
				     conn->shown);
	}
	tls_facts(conn->tls, &conn->peer);
	return OK;
}

static enum err secure(struct conn *conn)
{
	const struct tls_wire wire = {
		.take = wire_take, .give = wire_give, .owner = conn, .peer = conn->shown
	};
	const struct account *account = conn->account;
	enum err e;

	must(!conn->tls && account);
	conn->account = NULL;
	if ((e = tls_open(conn->trust, account->host, &wire, &conn->tls)) ||
	    (e = shake_hands(conn)))
		return e;
	if (account->met)
		account->met(account->met_context, &conn->peer);
	return OK;
}

enum err conn_start_tls(struct conn *conn)
{
	enum err e;

	MAGIC_CHECK(conn, CONN_MAGIC);
	if ((e = flush(conn, true)) || (e = receive_ready(conn)))
		return e;
	/* Whoever put these here wants them to be taken for something said under TLS
	 * (CVE-2011-0411, CVE-2020-15953). */
	if (conn->holding)
		return RAISE(ERR_TLS_INJECTED,
			     "STARTTLS with %s: %u bytes came in plaintext behind its OK",
			     conn->shown, conn->arrived.length - conn->arrived_used);
	return secure(conn);
}

bool conn_is_secure(const struct conn *conn)
{
	MAGIC_CHECK(conn, CONN_MAGIC);
	return conn->peer.tls_version[0] != '\0'; /* set when the handshake is done */
}

/* ---- connecting ---- */

static enum err connect_host(struct conn *conn, uint16_t port)
{
	const char *through = conn->peer.through;
	size_t used;
	enum err e;

	dial_show(conn->account->host, port, conn->shown, sizeof conn->shown);
	e = dial(conn->account->route, conn->account->host, port, conn->until, &conn->fd,
		 conn->peer.address);
	if (e || strcmp(conn->shown, conn->peer.address) == 0)
		return e;
	used = strlen(conn->shown);
	snprintf(conn->shown + used, sizeof conn->shown - used, " (%s%s)",
		 through ? "through " : "", through ? through : conn->peer.address);
	return OK;
}

/* The proxy's word ends where the target's begins, which may have come with it. */
static enum err connect_through(struct conn *conn, uint16_t port, enum conn_tls when)
{
	const struct account *account = conn->account;
	enum err e;

	e = proxy_connect(account->route, account->host, port, conn->fd, conn->receiver,
			  conn->until, &conn->arrived, &conn->arrived_used);
	conn->holding = conn->arrived.length > 0;
	if (e || !conn->holding || when == CONN_TLS_LATER)
		return e;
	return RAISE(ERR_PROXY_SYNTAX,
		     "connecting to %s: %u bytes came before TLS was begun, in which nobody speaks "
		     "before we do",
		     conn->shown, conn->arrived.length - conn->arrived_used);
}

static bool is_proxied(const struct account *account)
{
	return account->route && account->route->kind != ROUTE_STRAIGHT;
}

/* What is known of it before it is met. */
static void introduce(const struct account *account, struct peer *peer)
{
	struct aws_host place;

	snprintf(peer->host, sizeof peer->host, "%s", account->host);
	if (aws_host_place(account->host, &place))
		snprintf(peer->region, sizeof peer->region, "%s", place.region);
	if (account->key)
		snprintf(peer->key, sizeof peer->key, "%s", account->key);
	if (is_proxied(account))
		peer->through = account->route->shown;
}

static enum err conn_prepare(const struct account *account, struct conn **out)
{
	struct conn *conn = calloc(1, sizeof *conn);

	*out = conn;
	if (!conn)
		return RAISE(ERR_MEMORY_EXHAUSTED, "a connection to %s", account->host);
	budget_take(BUDGET_CONNECTIONS, CONNECTION_BYTES); /* most of it libraries' */
	conn->magic = CONN_MAGIC;
	conn->fd = -1;
	conn->account = account;
	conn->heard = account->heard;
	conn->send[0].bytes_max = conn->send[1].bytes_max = SEND_BYTES_MAX;
	introduce(account, &conn->peer);
	return trust_find(account->ca_file, &conn->trust);
}

enum err conn_open(const struct account *account, uint16_t default_port, enum conn_tls when,
		   nsec until, struct conn **out)
{
	uint16_t port = account->port ? account->port : default_port;
	struct conn *conn;
	enum err e;

	must(port && until > 0);
	if ((e = conn_prepare(account, &conn)))
		goto out;
	conn->until = until;
	if (account->connect_timeout > 0)
		conn->until = min_nsec(until, clock_after(account->connect_timeout));
	if ((e = connect_host(conn, port)) || (e = io_receiver_open(conn->fd, &conn->receiver)) ||
	    (is_proxied(account) && (e = connect_through(conn, port, when))))
		goto out;
	conn_path_begin(&conn->path, account, port);
	if (when == CONN_TLS_NOW)
		e = secure(conn);
	conn->until = until;
out:
	if (e)
		conn_close(&conn);
	*out = conn;
	return e;
}

void conn_close(struct conn **closing)
{
	struct conn *conn = *closing;

	if (!conn)
		return;
	MAGIC_CHECK(conn, CONN_MAGIC);
	must(!conn->receiving && !conn->sending);
	if (conn_is_secure(conn))
		conn_path_end(&conn->path, conn->fd, &conn->peer, conn->counts.bytes_received,
			      conn->counts.bytes_sent);
	tls_close(&conn->tls);
	if (conn->holding)
		io_release(conn->receiver, &conn->arrived);
	io_receiver_close(&conn->receiver);
	io_close(&conn->fd);
	drop_gathered(conn);
	budget_give(BUDGET_CONNECTIONS, CONNECTION_BYTES);
	free(conn);
	*closing = NULL;
}

/* ---- reading and writing ---- */

void conn_deadline(struct conn *conn, nsec until)
{
	MAGIC_CHECK(conn, CONN_MAGIC);
	conn->until = until;
}

/* Plaintext from what has arrived; *got 0: more must come. */
static enum err open_arrived(struct conn *conn, void *to, size_t max, size_t *got)
{
	enum err e = OK;

	MAGIC_CHECK(conn, CONN_MAGIC);
	must(max > 0);
	if (conn->tls)
		e = tls_read(conn->tls, to, max, got);
	else
		*got = wire_take(conn, to, max);
	if (!e && *got > 0) {
		conn->counts.bytes_received += *got;
		if (conn->heard)
			(*conn->heard)++;
		return OK;
	}
	if (e || conn->holding || !conn->ended)
		return e;
	if (conn->tls)
		return RAISE(ERR_TLS_CUT,
			     "reading from %s: it closed the connection without close_notify, so "
			     "what it sent may be incomplete",
			     conn->shown);
	return RAISE(ERR_NET_CLOSED, "reading from %s: it closed the connection", conn->shown);
}

/* Sending failed because the peer has gone. What it said before it went tells more ("* BYE too many
 * connections"), so that is read first; the next wait will meet the failure again. */
static bool has_last_words(struct conn *conn, enum err e, bool had_note)
{
	if ((e != ERR_NET_CLOSED && e != ERR_NET_RESET) || receive_ready(conn) || !conn->holding)
		return false;
	if (!had_note)
		err_note_clear();
	return true;
}

enum err conn_read(struct conn *conn, void *to, size_t max, size_t *got)
{
	bool had_note = has_note(), again = false;
	enum err e;

	for (;; again = true) {
		if ((e = open_arrived(conn, to, max, got)) || *got > 0)
			return e;
		if ((e = flush(conn, false)) && !has_last_words(conn, e, had_note))
			return e;
		e = again ? receive_more(conn) : receive(conn, conn->until);
		if (e)
			return e;
	}
}

/* A peer may send messages of TLS without end, so that there is always more at hand. */
enum err conn_read_ready(struct conn *conn, void *to, size_t max, size_t *got)
{
	unsigned looks = 0;
	enum err e;

	while ((e = open_arrived(conn, to, max, got)) == OK && *got == 0) {
		if (looks++ == READY_LOOKS_MAX)
			return OK;
		if ((e = receive_ready(conn)))
			return e;
		if (!conn->holding && !conn->ended)
			return OK;
	}
	return e;
}

enum err conn_await(struct conn *conn, nsec until)
{
	MAGIC_CHECK(conn, CONN_MAGIC);
	return conn->holding || conn->ended ? OK : io_await(conn->receiver, until);
}

void conn_stir(struct conn *conn)
{
	MAGIC_CHECK(conn, CONN_MAGIC);
	io_stir(conn->receiver);
}

void conn_acknowledge(struct conn *conn)
{
	MAGIC_CHECK(conn, CONN_MAGIC);
	if (!conn->holding && !conn->ended && !io_is_ready(conn->receiver))
		ring_acknowledge(scheduler_ring(), conn->fd);
}

/* Seal one record. Where TLS has a message of its own half read, the rest of it must come first. */
static enum err seal(struct conn *conn, const void *from, size_t bytes)
{
	bool sealed = false;
	enum err e = OK;

	while (!(e = tls_write(conn->tls, from, bytes, &sealed)) && !sealed) {
		if ((e = flush(conn, true)) || (e = receive_more(conn)))
			return e;
		if (conn->ended)
			return RAISE(ERR_TLS_CUT,
				     "sending to %s: it closed the connection without close_notify",
				     conn->shown);
	}
	return e;
}

static enum err write_plain(struct conn *conn, const void *from, size_t bytes)
{
	/* Only what leads to STARTTLS: a caller that would say more has forgotten to start TLS. */
	must(conn->counts.bytes_sent + bytes <= PLAIN_BYTES_MAX);
	conn->counts.bytes_sent += bytes;
	if (!wire_give(conn, from, bytes))
		return RAISE(ERR_MEMORY_EXHAUSTED, "sending to %s", conn->shown);
	return OK;
}

enum err conn_write(struct conn *conn, const void *from, size_t bytes)
{
	const uint8_t *at = from;
	size_t piece;
	enum err e;

	MAGIC_CHECK(conn, CONN_MAGIC);
	must(!conn->is_mute);
	if (!conn->tls)
		return write_plain(conn, from, bytes);
	for (; bytes > 0; at += piece, bytes -= piece) {
		piece = min_u64(bytes, RECORD_BYTES_MAX);
		if ((e = seal(conn, at, piece)))
			return e;
		conn->counts.bytes_sent += piece;
		if (conn->send[conn->filling].bytes > SEND_BYTES_FLUSH && (e = flush(conn, true)))
			return e;
	}
	return OK;
}

enum err conn_flush(struct conn *conn)
{
	MAGIC_CHECK(conn, CONN_MAGIC);
	return flush(conn, true);
}

void conn_rest(struct conn *conn)
{
	MAGIC_CHECK(conn, CONN_MAGIC);
	must(!conn->sending);
	if (conn->send[conn->filling].bytes > 0) /* TLS has an answer to what it read */
		return;
	for (unsigned i = 0; i < ARRAY_COUNT(conn->send); i++)
		if (conn->send[i].room > REST_BYTES_MAX)
			buffer_free(&conn->send[i]);
}

void conn_mute(struct conn *conn)
{
	MAGIC_CHECK(conn, CONN_MAGIC);
	must(!conn->sending);
	conn->is_mute = true;
	drop_gathered(conn);
}

/* Our close_notify is on its way. Read on until the peer ends too, so that closing does not make
 * the kernel reset the connection and drop what it has not sent yet (RFC 9293 section 3.6.1). A
 * peer that never ends must not hold us: what it would say is of no interest any more. */
static enum err await_end(struct conn *conn)
{
	nsec until = min_nsec(conn->until, clock_after(GOODBYE_WAIT_MAX));
	uint64_t dropped = 0;
	uint8_t waste[1024];
	size_t got;
	enum err e = OK;

	while (!e && dropped < GOODBYE_BYTES_MAX && !(e = receive(conn, until)))
		while (!(e = open_arrived(conn, waste, sizeof waste, &got)) && got > 0)
			dropped += got;
	return e == ERR_FIBER_CANCELED ? e : OK;
}

enum err conn_finish(struct conn *conn)
{
	bool had_note = has_note();
	enum err e;

	MAGIC_CHECK(conn, CONN_MAGIC);
	must(!conn->receiving && !conn->sending);
	if (conn->is_mute)
		return OK;
	if (conn->tls)
		tls_goodbye(conn->tls);
	if (conn->ended) /* it was first to go */
		return OK;
	e = flush(conn, true);
	if (e == ERR_NET_RESET || e == ERR_NET_CLOSED)
		e = OK; /* it went meanwhile */
	else if (!e)
		e = await_end(conn);
	if (!e && !had_note)
		err_note_clear();
	return e;
}

const struct peer *conn_peer(const struct conn *conn)
{
	MAGIC_CHECK(conn, CONN_MAGIC);
	return &conn->peer;
}

void conn_note_compressed(struct conn *conn)
{
	conn->path.compressed = true;
}

struct conn_counts conn_counts(const struct conn *conn)
{
	MAGIC_CHECK(conn, CONN_MAGIC);
	return conn->counts;
}
