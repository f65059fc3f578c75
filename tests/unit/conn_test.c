/* transport/conn.c over real sockets: the orderly way, much at once, and ends of all kinds. What is
 * refused when connecting is conn_refuse_test.c's, addresses are dial_test.c's, TLS itself is
 * tls_test.c's. */
#include "tests/unit/tls_server.h"

/* ---- the orderly way ---- */

TEST_FIBER(a_connection_knows_whom_it_met)
{
	struct server server = { .behave = greet_and_wait };
	struct meeting meeting = { 0 };
	struct conn *conn = NULL;
	struct account account;
	char address[32], fingerprint[65];

	REQUIRE(server_start(&server));
	account = account_for(&server, NULL);
	account.met = met;
	account.met_context = &meeting;
	if (CHECK_OK(
		    conn_open(&account, 993, CONN_TLS_NOW, clock_after(20 * NSEC_SECOND), &conn))) {
		CHECK(conn_is_secure(conn));
		CHECK_EQ(meeting.count, 1);
		snprintf(address, sizeof address, "127.0.0.1:%u", server.port);
		identity_fingerprint(&server.identity, fingerprint);
		CHECK_TEXT(meeting.peer.host, "127.0.0.1");
		CHECK_TEXT(meeting.peer.address, address);
		CHECK_TEXT(meeting.peer.tls_version, "TLSv1.3");
		CHECK_TEXT(meeting.peer.certificate_sha256, fingerprint);
		CHECK(meeting.peer.tls_cipher[0]);
		CHECK_TEXT(conn_peer(conn)->address, address);
		check_reads(conn, "* OK ready\r\n");
		CHECK_EQ(conn_counts(conn).bytes_received, 12);
	}
	conn_close(&conn);
	conn_close(&conn);
	server_stop(&server);
}

static enum err connect_and_end(void *argument)
{
	struct conn *conn = NULL;
	enum err e = connect_to(argument, NULL, CONN_TLS_NOW, &conn);

	if (!e)
		e = conn_finish(conn);
	conn_close(&conn);
	return e;
}

/* Verifying a certificate is the deepest that OpenSSL goes for us; past the stack lies a guard
 * page. */
TEST_FIBER(a_handshake_fits_a_small_stack)
{
	struct server server = { .behave = greet_and_wait, .version = TLS1_2_VERSION };
	struct group *group;

	REQUIRE(server_start(&server));
	group = group_open();
	CHECK_OK(group_spawn(group, "small", FIBER_STACK_SMALL, connect_and_end, &server));
	CHECK_OK(group_join(&group));
	server_stop(&server);
}

TEST_FIBER(what_is_written_goes_out_before_reading_waits)
{
	struct server server = { .behave = answer_once };
	struct conn *conn = NULL;
	char heard[8];
	size_t got;

	REQUIRE(server_start(&server));
	if (CHECK_OK(connect_to(&server, NULL, CONN_TLS_NOW, &conn))) {
		CHECK_OK(conn_write(conn, "a1 NO", 5));
		CHECK_OK(conn_write(conn, "OP\r\n", 4));
		CHECK_OK(conn_write(conn, "", 0));
		CHECK_EQ(conn_counts(conn).bytes_sent, 9);
		check_reads(conn, "a1 OK\r\n");
		CHECK_ERR(conn_read(conn, heard, sizeof heard, &got), ERR_NET_CLOSED);
		CHECK_OK(conn_finish(conn));
	}
	conn_close(&conn);
	server_stop(&server);
	CHECK_TEXT(server.heard, "a1 NO");
}

TEST_FIBER(finish_says_goodbye_and_waits_for_the_peers_end)
{
	struct server server = { .behave = greet_and_wait };
	struct conn *conn = NULL;

	REQUIRE(server_start(&server));
	if (CHECK_OK(connect_to(&server, NULL, CONN_TLS_NOW, &conn))) {
		CHECK_OK(conn_finish(conn));
		CHECK_EQ(err_note()->error, OK);
	}
	conn_close(&conn);
	server_stop(&server);
	CHECK(server.heard_close_notify);
}

TEST_FIBER(reading_what_is_ready_does_not_wait)
{
	struct server server = { .behave = answer_once };
	struct conn *conn = NULL;
	char heard[64];
	size_t got = 1;

	REQUIRE(server_start(&server));
	if (CHECK_OK(connect_to(&server, NULL, CONN_TLS_NOW, &conn))) {
		CHECK_OK(conn_read_ready(conn, heard, sizeof heard, &got));
		CHECK_EQ(got, 0);
		CHECK_EQ(err_note()->error, OK);
		CHECK_OK(conn_write(conn, "a1 NOOP\r\n", 9));
		CHECK_OK(conn_read(conn, heard, 1, &got));
		CHECK_OK(conn_read_ready(conn, heard + 1, sizeof heard - 1, &got));
		CHECK_EQ(got, 6);
		CHECK(memcmp(heard, "a1 OK\r\n", 7) == 0);
	}
	conn_close(&conn);
	server_stop(&server);
}

TEST_FIBER(tiny_records_are_read_whole)
{
	struct server server = { .behave = say_byte_by_byte };
	struct conn *conn = NULL;
	char heard[500];

	REQUIRE(server_start(&server));
	if (CHECK_OK(connect_to(&server, NULL, CONN_TLS_NOW, &conn)) &&
	    CHECK_OK(read_all(conn, heard, sizeof heard)))
		for (int i = 0; i < 500; i++)
			CHECK_EQ(heard[i], i % 2 ? 'b' : 'a');
	conn_close(&conn);
	server_stop(&server);
}

TEST_FIBER(trust_is_loaded_once_for_several_connections)
{
	struct server first = { .behave = greet_and_wait }, second = { .behave = greet_and_wait };
	struct conn *one = NULL, *two = NULL;

	REQUIRE(server_start(&first) && server_start(&second));
	if (CHECK_OK(connect_to(&first, NULL, CONN_TLS_NOW, &one))) {
		/* The cached trust is used: the file is not there any more. */
		CHECK_EQ(unlink(first.ca_file), 0);
		snprintf(second.ca_file, sizeof second.ca_file, "%s", first.ca_file);
		CHECK_ERR(connect_to(&second, NULL, CONN_TLS_NOW, &two), ERR_TLS_UNTRUSTED);
	}
	conn_close(&one);
	server_stop(&second);
	server_stop(&first);
}

/* ---- much in both directions at once ---- */

enum { BULK_BYTES = 5 * 1000 * 1000 };

struct traffic {
	struct conn *conn;
	uint8_t *sent, *heard;
};

static enum err send_bulk(void *argument)
{
	struct traffic *traffic = argument;
	size_t piece;
	enum err e;

	for (size_t at = 0; at < BULK_BYTES; at += piece) {
		piece = min_u64(at % 70001 + 1,
				BULK_BYTES - at); /* sizes on both sides of a record */
		if ((e = conn_write(traffic->conn, traffic->sent + at, piece)))
			return e;
	}
	return conn_flush(traffic->conn);
}

static enum err hear_bulk(void *argument)
{
	struct traffic *traffic = argument;

	return read_all(traffic->conn, traffic->heard, BULK_BYTES);
}

static void check_bulk(int version)
{
	struct server server = { .behave = echo, .version = version };
	struct traffic traffic = { 0 };
	struct group *pair;
	uint32_t state = 1;

	REQUIRE(server_start(&server));
	traffic.sent = malloc(BULK_BYTES);
	traffic.heard = calloc(1, BULK_BYTES);
	must(traffic.sent && traffic.heard);
	for (size_t i = 0; i < BULK_BYTES; i++)
		traffic.sent[i] = (uint8_t)((state = state * 1664525 + 1013904223) >> 24);
	if (CHECK_OK(connect_to(&server, NULL, CONN_TLS_NOW, &traffic.conn))) {
		pair = group_open();
		CHECK_OK(group_spawn(pair, "send", FIBER_STACK_SMALL, send_bulk, &traffic));
		CHECK_OK(group_spawn(pair, "hear", FIBER_STACK_SMALL, hear_bulk, &traffic));
		CHECK_OK(group_join(&pair));
		CHECK(memcmp(traffic.sent, traffic.heard, BULK_BYTES) == 0);
		CHECK_EQ(conn_counts(traffic.conn).bytes_sent, BULK_BYTES);
		CHECK_EQ(conn_counts(traffic.conn).bytes_received, BULK_BYTES);
		CHECK_OK(conn_finish(traffic.conn));
	}
	conn_close(&traffic.conn);
	server_stop(&server);
	CHECK(server.heard_close_notify && !server.was_cut_off);
	free(traffic.sent);
	free(traffic.heard);
}

TEST_FIBER(five_megabytes_come_back_byte_exact_over_tls_1_3)
{
	check_bulk(TLS1_3_VERSION);
}

TEST_FIBER(five_megabytes_come_back_byte_exact_over_tls_1_2)
{
	check_bulk(TLS1_2_VERSION);
}

/* ---- ends of all kinds ---- */

TEST_FIBER(an_end_with_close_notify_is_orderly_and_without_is_a_cut)
{
	struct server orderly = { .behave = say_and_end }, cut = { .behave = say_and_cut };
	struct conn *conn = NULL;
	char heard[16];
	size_t got;

	REQUIRE(server_start(&orderly) && server_start(&cut));
	if (CHECK_OK(connect_to(&orderly, NULL, CONN_TLS_NOW, &conn))) {
		check_reads(conn, "all of it");
		CHECK_ERR(conn_read(conn, heard, sizeof heard, &got), ERR_NET_CLOSED);
		CHECK_ERR(conn_read_ready(conn, heard, sizeof heard, &got), ERR_NET_CLOSED);
	}
	conn_close(&conn);
	err_note_clear();
	if (CHECK_OK(connect_to(&cut, NULL, CONN_TLS_NOW, &conn))) {
		check_reads(conn, "some of it");
		CHECK_ERR(conn_read(conn, heard, sizeof heard, &got), ERR_TLS_CUT);
		check_note_says("127.0.0.1:");
		check_note_says("without close_notify");
		CHECK_ERR(conn_read_ready(conn, heard, sizeof heard, &got), ERR_TLS_CUT);
		CHECK_OK(conn_finish(conn));
	}
	conn_close(&conn);
	server_stop(&orderly);
	server_stop(&cut);
}

TEST_FIBER(a_reset_is_a_reset_and_names_the_peer)
{
	struct server server = { .behave = reset };
	struct conn *conn = NULL;
	char heard[16];
	size_t got;

	REQUIRE(server_start(&server));
	if (CHECK_OK(connect_to(&server, NULL, CONN_TLS_NOW, &conn))) {
		CHECK_OK(conn_write(conn, "x", 1));
		CHECK_ERR(conn_read(conn, heard, sizeof heard, &got), ERR_NET_RESET);
		check_note_says("127.0.0.1:");
		CHECK_EQ(err_note()->errno_value, ECONNRESET);
	}
	conn_close(&conn);
	server_stop(&server);
}

TEST_FIBER(silence_ends_at_the_deadline)
{
	struct server server = { .behave = say_nothing };
	struct conn *conn = NULL;
	char heard[16];
	size_t got;

	REQUIRE(server_start(&server));
	if (CHECK_OK(connect_to(&server, NULL, CONN_TLS_NOW, &conn))) {
		conn_deadline(conn, clock_after(20 * NSEC_MILLISECOND));
		CHECK_ERR(conn_read(conn, heard, sizeof heard, &got), ERR_NET_TIMEOUT);
		check_note_says("127.0.0.1:");
		conn_deadline(conn, clock_after(20 * NSEC_SECOND));
		CHECK_OK(conn_finish(conn)); /* the connection is still good */
	}
	conn_close(&conn);
	server_stop(&server);
	CHECK(server.heard_close_notify);
}

static enum err read_one(void *argument)
{
	char heard[16];
	size_t got;

	return conn_read(argument, heard, sizeof heard, &got);
}

TEST_FIBER(a_cancelled_reader_leaves_a_connection_that_can_be_closed)
{
	struct server server = { .behave = say_nothing };
	struct conn *conn = NULL;
	struct group *group;

	REQUIRE(server_start(&server));
	if (CHECK_OK(connect_to(&server, NULL, CONN_TLS_NOW, &conn))) {
		group = group_open();
		CHECK_OK(group_spawn(group, "read", FIBER_STACK_SMALL, read_one, conn));
		CHECK_OK(fiber_yield());
		group_cancel(group);
		CHECK_ERR(group_join(&group), ERR_FIBER_CANCELED);
	}
	conn_close(&conn);
	server_stop(&server);
}

/* Reads nothing until the test lets it go. */
static void stop_listening(struct server *server)
{
	while (!atomic_load(&server->released))
		usleep(1000);
}

TEST_FIBER(a_peer_that_stops_reading_is_a_timeout_and_nothing_more_is_sent)
{
	struct server server = { .behave = stop_listening };
	static uint8_t block[1024 * 1024];
	struct conn *conn = NULL;
	enum err e = OK;

	REQUIRE(server_start(&server));
	if (CHECK_OK(connect_to(&server, NULL, CONN_TLS_NOW, &conn))) {
		conn_deadline(conn, clock_after(100 * NSEC_MILLISECOND));
		for (int i = 0; i < 64 && !e; i++)
			e = conn_write(conn, block, sizeof block);
		CHECK_ERR(e, ERR_NET_TIMEOUT);
		check_note_says("sending to 127.0.0.1:");
		/* A record was cut: whatever followed would be noise. */
		conn_deadline(conn, clock_after(20 * NSEC_SECOND));
		CHECK_ERR(conn_write(conn, block, sizeof block), ERR_NET_TIMEOUT);
		CHECK_ERR(conn_flush(conn), ERR_NET_TIMEOUT);
	}
	atomic_store(&server.released, true);
	conn_close(&conn);
	server_stop(&server);
}

/* "BYE" and gone, although the client still has much to say. */
static void bye_and_reset(struct server *server)
{
	say(server, "* BYE too many\r\n");
	SSL_shutdown(server->ssl);
}

TEST_FIBER(the_last_words_of_a_peer_that_went_are_read)
{
	struct server server = { .behave = bye_and_reset };
	struct conn *conn = NULL;
	enum err e = OK;

	REQUIRE(server_start(&server));
	if (CHECK_OK(connect_to(&server, NULL, CONN_TLS_NOW, &conn))) {
		server_await(&server); /* it has gone */
		for (int i = 0; i < 100 && !e; i++) {
			must(conn_write(conn, "x", 1) == OK);
			e = conn_flush(conn);
		}
		CHECK(e == ERR_NET_CLOSED || e == ERR_NET_RESET);
		err_note_clear();
		check_reads(conn, "* BYE too many\r\n");
		CHECK_EQ(err_note()->error, OK);
	}
	conn_close(&conn);
	server_stop(&server);
}

/* ---- two fibers, and one that says no more ---- */

struct waiting {
	struct conn *conn;
	bool stirs;
};

static enum err write_and_stir(void *argument)
{
	struct waiting *waiting = argument;
	enum err e = conn_write(waiting->conn, "hello", 5);

	if (!e && !waiting->stirs)
		e = conn_flush(waiting->conn);
	if (waiting->stirs)
		conn_stir(waiting->conn);
	return e;
}

/* Who waits for something to read is woken by it, or by the fiber that writes. */
TEST_FIBER(a_reader_that_waits_is_woken_by_bytes_and_by_the_writer)
{
	for (int stirs = 0; stirs < 2; stirs++) {
		/* Which sends no tickets behind the handshake. */
		struct server server = { .behave = answer_once, .version = TLS1_2_VERSION };
		struct waiting waiting = { .stirs = stirs };
		struct group *group;
		char heard[16];
		size_t got = 0;

		REQUIRE(server_start(&server));
		if (CHECK_OK(connect_to(&server, NULL, CONN_TLS_NOW, &waiting.conn))) {
			nsec until = clock_after(20 * NSEC_SECOND);
			enum err e = OK;

			conn_deadline(waiting.conn, until);
			group = group_open();
			CHECK_OK(group_spawn(group, "write", FIBER_STACK_SMALL, write_and_stir,
					     &waiting));
			if (stirs)
				CHECK_OK(conn_await(waiting.conn, until));
			while (!stirs && !e && got == 0)
				if ((e = conn_await(waiting.conn, until)) == OK)
					e = conn_read_ready(waiting.conn, heard, sizeof heard,
							    &got);
			CHECK_OK(e);
			CHECK(stirs || (got == 7 && memcmp(heard, "a1 OK\r\n", 7) == 0));
			CHECK_OK(group_join(&group));
		}
		err_note_clear();
		conn_close(&waiting.conn);
		server_stop(&server);
	}
}

static void say_hear_nothing(struct server *server)
{
	say(server, "no more");
	hear(server);
}

TEST_FIBER(a_mute_connection_sends_nothing_and_is_read_on)
{
	struct server server = { .behave = say_hear_nothing };
	struct conn *conn = NULL;

	REQUIRE(server_start(&server));
	if (CHECK_OK(connect_to(&server, NULL, CONN_TLS_NOW, &conn))) {
		conn_deadline(conn, clock_after(20 * NSEC_SECOND));
		CHECK_OK(conn_write(conn, "hello", 5));
		conn_mute(conn);
		check_reads(conn, "no more");
		CHECK_OK(conn_flush(conn));
		CHECK_OK(conn_finish(conn));
	}
	conn_close(&conn);
	server_stop(&server);
	CHECK_TEXT(server.heard, "");
}
