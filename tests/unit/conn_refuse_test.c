/* transport/conn.c: what is refused when connecting, and STARTTLS with its injections. */
#include "tests/unit/tls_server.h"

/* ---- what is refused ---- */

TEST_FIBER(a_plaintext_server_is_refused_with_a_hint)
{
	check_fails(&(struct server){ .behave = greet_and_wait, .without_tls = true },
		    ERR_TLS_HANDSHAKE, "is this a TLS port?");
}

static void cut_handshake(struct server *server)
{
	hear(server);
	say(server, "\x16\x03\x03\x00\x7a\x02"); /* the beginning of a ServerHello */
}

TEST_FIBER(a_server_that_closes_inside_the_handshake_is_closed_not_untrusted)
{
	check_fails(&(struct server){ .behave = cut_handshake, .without_tls = true },
		    ERR_NET_CLOSED, "TLS handshake: ");
}

TEST_FIBER(a_reset_inside_the_handshake_says_where_it_happened)
{
	check_fails(&(struct server){ .behave = reset, .without_tls = true }, ERR_NET_RESET,
		    "TLS handshake: ");
}

TEST_FIBER(certificates_are_verified_on_connections_too)
{
	check_fails(&(struct server){ .behave = hear_end,
				      .spec = { .from_hours = -48, .until_hours = -24 } },
		    ERR_TLS_EXPIRED, "has expired");
	check_fails(&(struct server){ .behave = hear_end, .spec = { .names = "DNS:localhost" } },
		    ERR_TLS_HOSTNAME, "but for localhost");
	check_fails(&(struct server){ .behave = hear_end,
				      .spec = { .from_hours = 24, .until_hours = 48 } },
		    ERR_TLS_EXPIRED, "not yet valid");
}

TEST_FIBER(a_silent_server_ends_the_handshake_at_the_connect_timeout)
{
	struct server server = { .behave = say_nothing, .without_tls = true };
	struct conn *conn = NULL;
	struct account account;

	REQUIRE(server_start(&server));
	account = account_for(&server, NULL);
	account.connect_timeout = 50 * NSEC_MILLISECOND;
	CHECK_ERR(conn_open(&account, 993, CONN_TLS_NOW, clock_after(3600 * NSEC_SECOND), &conn),
		  ERR_NET_TIMEOUT);
	CHECK(conn == NULL);
	check_note_says("127.0.0.1:");
	server_stop(&server);
}

TEST_FIBER(a_bad_ca_file_is_reported_before_anything_is_sent)
{
	struct account account = { .host = "127.0.0.1", .port = 1, .ca_file = "/nonexistent/ca" };
	struct conn *conn = NULL;

	CHECK_ERR(conn_open(&account, 993, CONN_TLS_NOW, clock_after(NSEC_SECOND), &conn),
		  ERR_TLS_SETUP);
	check_note_says("/nonexistent/ca");
	CHECK(conn == NULL);
	conn_thread_cleanup();
}

/* ---- STARTTLS ---- */

static void offer_starttls(struct server *server)
{
	say(server, "* OK ready\r\n");
	hear(server);
	say(server, "a1 OK begin\r\n");
	server_tls(server);
	if (server->ssl)
		greet_and_wait(server);
}

static void inject_behind_starttls(struct server *server)
{
	say(server, "* OK ready\r\n");
	hear(server);
	say(server, "a1 OK begin\r\n* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\n");
	hear_end(server);
}

TEST_FIBER(starttls_leads_from_plaintext_to_tls)
{
	struct server server = { .behave = offer_starttls, .without_tls = true };
	struct meeting meeting = { 0 };
	struct conn *conn = NULL;
	struct account account;

	REQUIRE(server_start(&server));
	account = account_for(&server, NULL);
	account.met = met;
	account.met_context = &meeting;
	if (CHECK_OK(conn_open(&account, 143, CONN_TLS_LATER, clock_after(20 * NSEC_SECOND),
			       &conn))) {
		CHECK(!conn_is_secure(conn));
		check_reads(conn, "* OK ready\r\n");
		CHECK_OK(conn_write(conn, "a1 STARTTLS\r\n", 13));
		check_reads(conn, "a1 OK begin\r\n");
		CHECK_EQ(meeting.count, 0);
		CHECK_OK(conn_start_tls(conn));
		CHECK(conn_is_secure(conn));
		CHECK_EQ(meeting.count, 1);
		check_reads(conn, "* OK ready\r\n");
		CHECK_OK(conn_finish(conn));
	}
	conn_close(&conn);
	server_stop(&server);
	CHECK_TEXT(server.heard, "a1 STARTTLS\r\n");
	CHECK(server.heard_close_notify);
}

TEST_FIBER(bytes_injected_behind_starttls_are_refused)
{
	struct server server = { .behave = inject_behind_starttls, .without_tls = true };
	struct conn *conn = NULL;

	REQUIRE(server_start(&server));
	if (CHECK_OK(connect_to(&server, NULL, CONN_TLS_LATER, &conn))) {
		check_reads(conn, "* OK ready\r\n");
		CHECK_OK(conn_write(conn, "a1 STARTTLS\r\n", 13));
		check_reads(conn, "a1 OK begin\r\n");
		CHECK_ERR(conn_start_tls(conn), ERR_TLS_INJECTED);
		check_note_says("127.0.0.1:");
		CHECK(!conn_is_secure(conn));
	}
	conn_close(&conn);
	server_stop(&server);
}

TEST_FIBER(a_plaintext_end_is_a_close)
{
	struct server server = { .behave = say_and_cut, .without_tls = true };
	struct conn *conn = NULL;
	char heard[16];
	size_t got;

	REQUIRE(server_start(&server));
	if (CHECK_OK(connect_to(&server, NULL, CONN_TLS_LATER, &conn))) {
		check_reads(conn, "some of it");
		CHECK_ERR(conn_read(conn, heard, sizeof heard, &got), ERR_NET_CLOSED);
		check_note_says("127.0.0.1:");
	}
	conn_close(&conn);
	server_stop(&server);
}
