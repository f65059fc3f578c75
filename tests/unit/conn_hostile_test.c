/* transport/conn.c against peers that break TLS itself: floods of what TLS allows at any time,
 * records that are none, handshakes without end. Each ends by its deadline, with a name, and with
 * what it has sent read at most once. */
#include "tests/unit/tls_server.h"

#define PATIENCE (150 * NSEC_MILLISECOND)

/* ---- behind the handshake ---- */

/* Until the client goes: it must not be the flood's end that ends the test. */
static void flood_key_updates(struct server *server)
{
	say(server, "* OK ready\r\n");
	while (SSL_key_update(server->ssl, SSL_KEY_UPDATE_NOT_REQUESTED) == 1 &&
	       SSL_do_handshake(server->ssl) == 1)
		continue;
}

/* Each wants an answer, and none is read. */
static void flood_key_update_requests(struct server *server)
{
	say(server, "* OK ready\r\n");
	while (SSL_key_update(server->ssl, SSL_KEY_UPDATE_REQUESTED) == 1 &&
	       SSL_do_handshake(server->ssl) == 1)
		continue;
}

/* Made beforehand, so that there is always more to read than has been read, and then a line. */
static void say_late(struct server *server)
{
	BIO *memory = BIO_new(BIO_s_mem());
	char *at = NULL;
	long bytes, sent;

	SSL_set0_wbio(server->ssl, memory);
	say(server, "* OK ready\r\n");
	for (int i = 0; i < 20000; i++)
		must(SSL_key_update(server->ssl, SSL_KEY_UPDATE_NOT_REQUESTED) == 1 &&
		     SSL_do_handshake(server->ssl) == 1);
	say(server, "late\r\n");
	for (bytes = BIO_get_mem_data(memory, &at); bytes > 0; at += sent, bytes -= sent)
		if ((sent = write(server->fd, at, (size_t)bytes)) <= 0)
			break;
}

static void check_flood_ends(void (*behave)(struct server *), enum err expected)
{
	struct server server = { .behave = behave };
	struct conn *conn = NULL;
	char heard[16];
	size_t got = 0;
	nsec until;

	REQUIRE(server_start(&server));
	err_note_clear();
	if (CHECK_OK(connect_to(&server, NULL, CONN_TLS_NOW, &conn))) {
		until = clock_after(PATIENCE);
		conn_deadline(conn, until);
		check_reads(conn, "* OK ready\r\n");
		CHECK_ERR(conn_read(conn, heard, sizeof heard, &got), expected);
		CHECK_EQ(got, 0);
		CHECK(expected != ERR_NET_TIMEOUT || clock_now() >= until);
		check_note_says("127.0.0.1:");
	}
	conn_close(&conn);
	server_stop(&server);
}

TEST_FIBER(key_updates_without_end_end_at_the_deadline)
{
	check_flood_ends(flood_key_updates, ERR_NET_TIMEOUT);
}

TEST_FIBER(key_updates_that_want_answers_end_at_the_deadline)
{
	check_flood_ends(flood_key_update_requests, ERR_NET_TIMEOUT);
}

TEST_FIBER(what_is_there_already_is_not_read_for_ever)
{
	struct server server = { .behave = say_late };
	struct conn *conn = NULL;
	char heard[16];
	size_t got = 0;

	REQUIRE(server_start(&server));
	err_note_clear();
	if (CHECK_OK(connect_to(&server, NULL, CONN_TLS_NOW, &conn))) {
		conn_deadline(conn, clock_after(20 * NSEC_SECOND));
		check_reads(conn, "* OK ready\r\n");
		conn_deadline(conn, clock_after(NSEC_MILLISECOND));
		CHECK_ERR(conn_read(conn, heard, sizeof heard, &got), ERR_NET_TIMEOUT);
		check_note_says("127.0.0.1:");
	}
	conn_close(&conn);
	server_stop(&server);
}

/* Nor is it looked through to its end by who only wants to see what is ready. */
TEST_FIBER(looking_at_what_is_ready_ends_although_there_is_more)
{
	struct server server = { .behave = say_late };
	struct conn *conn = NULL;
	char heard[16];
	size_t got = 0;

	REQUIRE(server_start(&server));
	if (CHECK_OK(connect_to(&server, NULL, CONN_TLS_NOW, &conn))) {
		conn_deadline(conn, clock_after(20 * NSEC_SECOND));
		check_reads(conn, "* OK ready\r\n");
		server_await(&server); /* all of it is here */
		CHECK_OK(conn_read_ready(conn, heard, sizeof heard, &got));
		CHECK_EQ(got, 0);
		check_reads(conn, "late\r\n");
	}
	conn_close(&conn);
	server_stop(&server);
}

/* Bytes of the wire itself, in one record's place. */
static void say_raw(struct server *server, const void *from, size_t bytes)
{
	server->was_cut_off |= write(server->fd, from, bytes) != (long)bytes;
}

static void say_garbage(struct server *server)
{
	say(server, "* OK ready\r\n");
	say_raw(server, "* BYE in plaintext\r\n", 20);
	hear_end(server);
}

static void say_oversize_record(struct server *server)
{
	static const uint8_t record[5 + 20000] = { 23, 3, 3, 0xff, 0xff };

	say(server, "* OK ready\r\n");
	say_raw(server, record, sizeof record);
	hear_end(server);
}

static void say_plain_alert(struct server *server)
{
	static const uint8_t record[] = { 21, 3, 3, 0, 2, 2, 80 }; /* fatal, internal_error */

	say(server, "* OK ready\r\n");
	say_raw(server, record, sizeof record);
	hear_end(server);
}

static void say_empty_records(struct server *server)
{
	static const uint8_t record[] = { 23, 3, 3, 0, 0 };

	say(server, "* OK ready\r\n");
	while (!server->was_cut_off)
		say_raw(server, record, sizeof record);
}

static void say_forged_record(struct server *server)
{
	static const uint8_t record[5 + 40] = { 23, 3, 3, 0, 40, 1, 2, 3 };

	say(server, "* OK ready\r\n");
	say_raw(server, record, sizeof record);
	hear_end(server);
}

TEST_FIBER(what_is_no_record_of_this_session_is_damage)
{
	check_flood_ends(say_garbage, ERR_TLS_RECORD);
	check_flood_ends(say_oversize_record, ERR_TLS_RECORD);
	check_flood_ends(say_plain_alert, ERR_TLS_RECORD);
	check_flood_ends(say_empty_records, ERR_TLS_RECORD);
	check_flood_ends(say_forged_record, ERR_TLS_RECORD);
}

/* ---- in place of a handshake ---- */

static void drip(struct server *server)
{
	static const uint8_t hello[] = { 22, 3, 3, 0, 122, 2, 0, 0, 118, 3, 3 };
	struct timespec pause = { .tv_nsec = NSEC_MILLISECOND * 5 };

	hear(server);
	say_raw(server, hello, sizeof hello);
	while (!server->was_cut_off) {
		say_raw(server, "", 1);
		nanosleep(&pause, NULL);
	}
}

/* A client of TLS 1.3 passes over these (RFC 8446 section 5). */
static void flood_cipher_changes(struct server *server)
{
	static const uint8_t record[] = { 20, 3, 3, 0, 1, 1 };

	hear(server);
	while (!server->was_cut_off)
		say_raw(server, record, sizeof record);
}

/* Records that hold one byte of a ServerHello each, which says it is as long as can be. */
static void flood_hello(struct server *server)
{
	static const uint8_t header[] = { 22, 3, 3, 0, 4, 2, 0xff, 0xff, 0xff };
	static const uint8_t more[] = { 22, 3, 3, 0, 1, 0 };

	hear(server);
	say_raw(server, header, sizeof header);
	while (!server->was_cut_off)
		say_raw(server, more, sizeof more);
}

static void refuse_with_alert(struct server *server)
{
	static const uint8_t record[] = { 21, 3, 3, 0, 2, 2, 40 }; /* fatal, handshake_failure */

	hear(server);
	say_raw(server, record, sizeof record);
	hear_end(server);
}

static void flood_warnings(struct server *server)
{
	static const uint8_t record[] = { 21, 3, 3, 0, 2, 1, 90 }; /* user_canceled */

	hear(server);
	while (!server->was_cut_off)
		say_raw(server, record, sizeof record);
}

static void check_shake(void (*behave)(struct server *), enum err one, enum err other)
{
	struct server server = { .behave = behave, .without_tls = true };
	struct conn *conn = NULL;
	struct account account;
	enum err e;

	REQUIRE(server_start(&server));
	err_note_clear();
	account = account_for(&server, NULL);
	account.connect_timeout = PATIENCE;
	e = conn_open(&account, 993, CONN_TLS_NOW, clock_after(3600 * NSEC_SECOND), &conn);
	if (e != one && e != other)
		test_failed(__FILE__, __LINE__, "it ends in %s (%s)", e ? err_name(e) : "OK",
			    err_note()->text);
	CHECK(conn == NULL);
	check_note_says("127.0.0.1:");
	conn_close(&conn);
	server_stop(&server);
}

TEST_FIBER(a_handshake_without_end_ends_at_the_connect_timeout)
{
	check_shake(drip, ERR_NET_TIMEOUT, ERR_NET_TIMEOUT);
}

/* OpenSSL ends some of these by limits of its own, and may end others in versions to come. */
TEST_FIBER(a_flood_in_place_of_a_handshake_ends)
{
	check_shake(flood_cipher_changes, ERR_NET_TIMEOUT, ERR_TLS_HANDSHAKE);
	check_shake(flood_hello, ERR_TLS_HANDSHAKE, ERR_NET_TIMEOUT);
	check_shake(flood_warnings, ERR_TLS_HANDSHAKE, ERR_NET_TIMEOUT);
}

TEST_FIBER(an_alert_in_the_handshake_is_told)
{
	check_shake(refuse_with_alert, ERR_TLS_HANDSHAKE, ERR_TLS_HANDSHAKE);
}
