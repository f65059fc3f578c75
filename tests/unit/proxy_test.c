/* Connections through proxies, over real sockets: what the proxy is told, TLS with the target
 * inside, and every way in which a proxy does not connect us. */
#include "transport/proxy.h"

#include "crypto/secret.h"
#include "tests/unit/proxy_server.h"

static struct secret *secret(const char *text)
{
	struct secret *made = NULL;

	must(secret_from_bytes(text, strlen(text), &made) == OK);
	return made;
}

static enum err connect_by(const struct route *route, const struct server *server, nsec patience,
			   enum conn_tls when, struct conn **conn)
{
	struct account account = account_for(server, "localhost");

	if (!*server->ca_file)
		account.ca_file = NULL;
	account.route = route;
	return conn_open(&account, 993, when, clock_after(patience), conn);
}

/* ---- what works ---- */

static void check_tunnel(struct proxy_server *proxy, const char *user, const char *password)
{
	struct server server = { .behave = greet_and_wait };
	struct secret *held = password ? secret(password) : NULL;
	struct conn *conn = NULL;
	struct route route;

	REQUIRE(server_start(&server));
	proxy->target_port = server.port;
	proxy_start(proxy);
	route = proxy_route(proxy, user, held);
	if (CHECK_OK(connect_by(&route, &server, 20 * NSEC_SECOND, CONN_TLS_NOW, &conn))) {
		check_reads(conn, "* OK ready\r\n");
		CHECK_TEXT(conn_peer(conn)->host, "localhost");
		CHECK_TEXT(conn_peer(conn)->through, route.shown);
		CHECK_OK(conn_finish(conn));
	}
	conn_close(&conn);
	server_stop(&server);
	proxy_stop(proxy);
	/* The name, not what it stands for here: the proxy looks it up. */
	CHECK(proxy->host_is_name);
	CHECK_TEXT(proxy->host, "localhost");
	CHECK_EQ(proxy->port, server.port);
	secret_close(&held);
}

TEST_FIBER(socks_is_told_the_name_and_tls_is_the_targets)
{
	struct proxy_server proxy = { .is_http = false };

	check_tunnel(&proxy, "", NULL);
	CHECK_TEXT(proxy.login, "");
}

TEST_FIBER(socks_logs_in_where_the_proxy_wants_it)
{
	struct proxy_server proxy = { .wants_login = true };

	check_tunnel(&proxy, "ann", "open sesame");
	CHECK_TEXT(proxy.login, "ann:open sesame");
}

TEST_FIBER(a_login_is_not_told_to_a_socks_proxy_that_wants_none)
{
	struct proxy_server proxy = { .wants_login = false };

	check_tunnel(&proxy, "ann", "open sesame");
	CHECK_TEXT(proxy.login, "");
}

TEST_FIBER(http_connect_is_told_the_name_and_tls_is_the_targets)
{
	struct proxy_server proxy = { .is_http = true };

	check_tunnel(&proxy, "", NULL);
	CHECK_TEXT(proxy.login, "");
}

/* RFC 7617 section 2 has these credentials as its example. */
TEST_FIBER(http_connect_logs_in_with_basic_credentials)
{
	struct proxy_server proxy = { .is_http = true };

	check_tunnel(&proxy, "Aladdin", "open sesame");
	CHECK_TEXT(proxy.login, "Proxy-Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
}

TEST_FIBER(a_host_of_aws_is_met_with_its_region_and_the_key_it_is_for)
{
	static const char host[] = "kms.eu-central-1.amazonaws.com";
	static const char key[] = "arn:aws:kms:eu-central-1:123456789012:key/a";
	struct server server = { .behave = greet_and_wait,
				 .spec.names = "DNS:kms.eu-central-1.amazonaws.com" };
	static struct proxy_server proxy; /* too large for a frame */
	struct conn *conn = NULL;
	struct account account;
	struct route route;

	REQUIRE(server_start(&server));
	proxy.target_port = server.port;
	proxy_start(&proxy);
	route = proxy_route(&proxy, "", NULL);
	account = account_for(&server, host);
	account.route = &route;
	account.key = key;
	if (CHECK_OK(
		    conn_open(&account, 443, CONN_TLS_NOW, clock_after(20 * NSEC_SECOND), &conn))) {
		CHECK_TEXT(conn_peer(conn)->region, "eu-central-1");
		CHECK_TEXT(conn_peer(conn)->key, key);
	}
	conn_close(&conn);
	server_stop(&server);
	proxy_stop(&proxy);
}

TEST_FIBER(answers_may_come_byte_by_byte)
{
	struct proxy_server socks = { .drips = true, .wants_login = true };
	struct proxy_server http = { .drips = true, .is_http = true };

	check_tunnel(&socks, "ann", "open sesame");
	check_tunnel(&http, "", NULL);
}

TEST_FIBER(the_targets_certificate_is_verified_through_a_proxy_too)
{
	static struct server server = { .behave = greet_and_wait,
					.spec = { .names = "DNS:elsewhere.example" } };
	struct proxy_server proxy = { .is_http = true };
	struct conn *conn = NULL;
	struct route route;

	REQUIRE(server_start(&server));
	proxy.target_port = server.port;
	proxy_start(&proxy);
	route = proxy_route(&proxy, "", NULL);
	CHECK_ERR(connect_by(&route, &server, 20 * NSEC_SECOND, CONN_TLS_NOW, &conn),
		  ERR_TLS_HOSTNAME);
	CHECK(conn == NULL);
	check_note_says(route.shown);
	server_stop(&server);
	proxy_stop(&proxy);
}

/* A server of STARTTLS greets before we speak, and its greeting may come with the proxy's answer.
 */
TEST_FIBER(a_greeting_behind_the_proxys_answer_is_not_lost)
{
	struct server nobody = { .port = 143 };

	for (int is_http = 0; is_http < 2; is_http++) {
		struct proxy_server proxy = { .is_http = is_http, .early = "* OK ready\r\n" };
		struct conn *conn = NULL;
		struct route route;

		proxy_start(&proxy);
		route = proxy_route(&proxy, "", NULL);
		if (CHECK_OK(connect_by(&route, &nobody, 20 * NSEC_SECOND, CONN_TLS_LATER, &conn)))
			check_reads(conn, "* OK ready\r\n");
		conn_close(&conn);
		proxy_stop(&proxy);
		conn_thread_cleanup();
	}
}

/* ---- what does not ---- */

/* The note names proxy and target, and has what the proxy said. */
static void check_refusal(struct proxy_server *proxy, nsec patience, enum err expected,
			  const char *says)
{
	struct identity authority = identity_make(&(struct identity_spec){ .subject = "nobody" });
	struct server nobody = { .port = 993 };
	struct secret *held = proxy->wants_login ? secret("sesame") : NULL;
	struct conn *conn = NULL;
	struct route route;

	/* Read sooner than the system's many. */
	snprintf(nobody.ca_file, sizeof nobody.ca_file, "%s", identity_file(&authority));
	identity_free(&authority);
	proxy_start(proxy);
	route = proxy_route(proxy, held ? "ann" : "", held);
	err_note_clear();
	CHECK_ERR(connect_by(&route, &nobody, patience, CONN_TLS_NOW, &conn), expected);
	CHECK(conn == NULL);
	check_note_says(route.shown);
	check_note_says("localhost:993");
	check_note_says(says);
	CHECK(!strstr(err_note()->text, "sesame"));
	proxy_stop(proxy);
	secret_close(&held);
	conn_thread_cleanup();
	err_note_clear();
}

TEST_FIBER(what_a_socks_proxy_refuses_is_told_in_its_words)
{
	static const struct {
		const char *answer;
		size_t bytes;
		enum err error;
		const char *says;
	} rows[] = {
		{ "\5\0\5\2\0\1", 6, ERR_PROXY_SYNTAX, "bytes more" },
		{ "\5\xff", 2, ERR_PROXY_LOGIN, "it wants a login" },
		{ "\5\2", 2, ERR_PROXY_SYNTAX, "method 2" },
		{ "\4\0", 2, ERR_PROXY_SYNTAX, "version 4 instead of 5" },
		{ "HTTP/1.1 400 Bad Request\r\n\r\n", 28, ERR_PROXY_SYNTAX, "like one for http" },
	};
	struct proxy_server proxy;

	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		proxy = (struct proxy_server){ .answer = rows[i].answer,
					       .answer_bytes = rows[i].bytes };
		check_refusal(&proxy, 20 * NSEC_SECOND, rows[i].error, rows[i].says);
	}
}

TEST_FIBER(each_reply_of_socks_has_its_words)
{
	static const struct {
		const char *answer;
		size_t bytes;
		enum err error;
		const char *says;
	} rows[] = {
		{ "\5\1", 2, ERR_PROXY_REFUSED, "general failure (reply 1)" },
		{ "\5\2\0\1\0\0\0\0\0\0", 10, ERR_PROXY_REFUSED, "not allowed by its rules" },
		{ "\5\3", 2, ERR_PROXY_REFUSED, "network unreachable" },
		{ "\5\4", 2, ERR_PROXY_REFUSED, "host unreachable" },
		{ "\5\5", 2, ERR_PROXY_REFUSED, "connection refused" },
		{ "\5\6", 2, ERR_PROXY_REFUSED, "TTL expired" },
		{ "\5\7", 2, ERR_PROXY_REFUSED, "command not supported" },
		{ "\5\10", 2, ERR_PROXY_REFUSED, "address type not supported" },
		{ "\5\x63", 2, ERR_PROXY_REFUSED, "without a name (reply 99)" },
		{ "\5\0\0\2\0", 5, ERR_PROXY_SYNTAX, "address of type 2" },
	};
	struct proxy_server proxy;

	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		proxy = (struct proxy_server){ .agrees = true,
					       .answer = rows[i].answer,
					       .answer_bytes = rows[i].bytes };
		check_refusal(&proxy, 20 * NSEC_SECOND, rows[i].error, rows[i].says);
	}
}

TEST_FIBER(a_wrong_password_is_told_without_it)
{
	struct proxy_server proxy = { .wants_login = true };

	check_refusal(&proxy, 20 * NSEC_SECOND, ERR_PROXY_LOGIN, "refuses user and password");
	CHECK_TEXT(proxy.login, "ann:sesame");
}

TEST_FIBER(what_an_http_proxy_refuses_is_told_with_its_status)
{
	static const struct {
		const char *answer;
		enum err error;
		const char *says;
	} rows[] = {
		{ "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\n\r\n",
		  ERR_PROXY_LOGIN, "407 Proxy Authentication Required" },
		{ "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno", ERR_PROXY_REFUSED,
		  "403 Forbidden" },
		{ "HTTP/1.0 502 Bad Gateway\n\n", ERR_PROXY_REFUSED, "502 Bad Gateway" },
		{ "HTTP/1.1 301 Moved\r\n", ERR_PROXY_REFUSED, "301 Moved" },
		{ "\5\0", ERR_PROXY_SYNTAX, "like one for socks5" },
		{ "* OK ready\r\n", ERR_PROXY_SYNTAX, "not in HTTP" },
		{ "HTTP/2 200\r\n\r\n", ERR_PROXY_SYNTAX, "no HTTP" },
	};
	struct proxy_server proxy;

	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		proxy = (struct proxy_server){ .is_http = true,
					       .answer = rows[i].answer,
					       .answer_bytes = strlen(rows[i].answer) };
		check_refusal(&proxy, 20 * NSEC_SECOND, rows[i].error, rows[i].says);
	}
}

TEST_FIBER(what_a_proxy_says_after_a_login_is_not_repeated)
{
	static const struct {
		const char *answer;
		enum err error;
		const char *says;
	} rows[] = {
		{ "HTTP/1.1 407 not ann:sesame\r\n\r\n", ERR_PROXY_LOGIN, "\"407\" to our user" },
		{ "HTTP/1.1 503 sesame\r\n\r\n", ERR_PROXY_REFUSED, "\"503\"" },
		{ "HTTP/1.1sesame\r\n\r\n", ERR_PROXY_SYNTAX, "no HTTP" },
	};
	struct proxy_server proxy;

	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		proxy = (struct proxy_server){ .is_http = true,
					       .wants_login = true,
					       .answer = rows[i].answer,
					       .answer_bytes = strlen(rows[i].answer) };
		check_refusal(&proxy, 20 * NSEC_SECOND, rows[i].error, rows[i].says);
	}
}

TEST_FIBER(a_head_without_end_ends_at_its_bound)
{
	static char head[64 * 1024];
	struct proxy_server proxy = { .is_http = true,
				      .answer = head,
				      .answer_bytes = sizeof head };

	memset(head, 'x', sizeof head);
	memcpy(head, "HTTP/1.1 200 OK\r\nX: ", 20);
	check_refusal(&proxy, 20 * NSEC_SECOND, ERR_PROXY_SYNTAX, "more than 16384 bytes");
}

/* Under TLS from the first byte nobody speaks before we do. */
TEST_FIBER(bytes_before_tls_are_not_taken_for_it)
{
	struct proxy_server proxy = { .is_http = true, .early = "* OK ready\r\n" };

	check_refusal(&proxy, 20 * NSEC_SECOND, ERR_PROXY_SYNTAX, "before TLS was begun");
}

TEST_FIBER(a_proxy_that_hangs_meets_the_deadline)
{
	struct proxy_server silent = { .answer = "" }, half = { .answer = "\5", .answer_bytes = 1 };
	struct proxy_server http = { .is_http = true, .answer = "HTTP/1.1 200 OK\r\n" };

	http.answer_bytes = strlen(http.answer);
	check_refusal(&silent, NSEC_SECOND / 2, ERR_NET_TIMEOUT, "towards localhost:993");
	check_refusal(&half, NSEC_SECOND / 2, ERR_NET_TIMEOUT, "towards localhost:993");
	check_refusal(&http, NSEC_SECOND / 2, ERR_NET_TIMEOUT, "towards localhost:993");
}

TEST_FIBER(a_proxy_that_ends_in_the_middle_is_named)
{
	struct proxy_server closes = { .answer = "\5", .answer_bytes = 1, .closes = true };
	struct proxy_server resets = { .answer = "\5", .answer_bytes = 1, .resets = true };

	check_refusal(&closes, 20 * NSEC_SECOND, ERR_NET_CLOSED, "closed the connection");
	check_refusal(&resets, 20 * NSEC_SECOND, ERR_NET_RESET, "towards");
}

TEST_FIBER(a_proxy_that_is_not_there_is_named_with_the_target)
{
	struct server nobody = { .port = 993 };
	struct route route = { 0 };
	struct conn *conn = NULL;
	uint16_t port = 0;
	int fd = listen_on(false, &port);

	must(fd >= 0);
	close(fd);
	must(route_set_proxy(&route, "--proxy", "socks5", "", "127.0.0.1", port) == OK);
	CHECK_ERR(connect_by(&route, &nobody, 20 * NSEC_SECOND, CONN_TLS_NOW, &conn),
		  ERR_NET_REFUSED);
	check_note_says(route.shown);
	check_note_says("towards localhost:993");
	err_note_clear();
	must(route_set_proxy(&route, "--proxy", "socks5", "", "nobody.invalid", 1080) == OK);
	CHECK_ERR(connect_by(&route, &nobody, 60 * NSEC_SECOND, CONN_TLS_NOW, &conn), ERR_NET_NAME);
	check_note_says("nobody.invalid");
	check_note_says("towards localhost:993");
	conn_thread_cleanup();
}

/* ---- from an address ---- */

/* Who called, as the server's socket sees it. */
static void say_who_calls(struct server *server)
{
	struct sockaddr_in from;
	socklen_t bytes = sizeof from;

	must(getpeername(server->fd, (struct sockaddr *)(void *)&from, &bytes) == 0);
	inet_ntop(AF_INET, &from.sin_addr, server->heard, sizeof server->heard);
	greet_and_wait(server);
}

TEST_FIBER(connections_come_from_the_address_that_was_asked_for)
{
	struct server server = { .behave = say_who_calls };
	struct conn *conn = NULL;
	struct route route = { 0 };

	REQUIRE(server_start(&server));
	must(route_set_from(&route, "--bind-address", "127.0.0.9") == OK);
	CHECK_OK(route_check_from(&route));
	/* "localhost" may have ::1 as its first address, which is left out. */
	if (CHECK_OK(connect_by(&route, &server, 20 * NSEC_SECOND, CONN_TLS_NOW, &conn)))
		check_reads(conn, "* OK ready\r\n");
	conn_close(&conn);
	server_stop(&server);
	CHECK_TEXT(server.heard, "127.0.0.9");
}

/* 192.0.2.0/24 is for documentation (RFC 5737): nobody has it. */
TEST_FIBER(an_address_that_is_not_this_machines_is_told)
{
	struct server nobody = { .port = 1 };
	struct conn *conn = NULL;
	struct route route = { 0 };

	must(route_set_from(&route, "--bind-address", "192.0.2.7") == OK);
	CHECK_ERR(route_check_from(&route), ERR_NET_LOCAL);
	check_note_says("192.0.2.7");
	err_note_clear();
	CHECK_ERR(connect_by(&route, &nobody, 20 * NSEC_SECOND, CONN_TLS_NOW, &conn),
		  ERR_NET_LOCAL);
	check_note_says("connecting from 192.0.2.7");
	conn_thread_cleanup();
}

TEST_FIBER(a_peer_without_an_address_of_that_family_is_told)
{
	struct account account = { .host = "127.0.0.1", .port = 993 };
	struct conn *conn = NULL;
	struct route route = { 0 };

	must(route_set_from(&route, "--bind-address", "[::1]") == OK);
	account.route = &route;
	CHECK_ERR(conn_open(&account, 993, CONN_TLS_NOW, clock_after(NSEC_SECOND), &conn),
		  ERR_NET_UNREACHABLE);
	check_note_says("127.0.0.1:993 from ::1: it has no IPv6 address");
	conn_thread_cleanup();
}

/* ---- what the way was like ---- */

struct told {
	unsigned count;
	struct path path;
	char host[64];
};

static void take_path(void *context, const struct path *path)
{
	struct told *told = context;

	told->count++;
	told->path = *path;
	snprintf(told->host, sizeof told->host, "%s", path->host);
}

TEST_FIBER(a_connection_tells_at_its_end_what_it_was_like)
{
	struct server server = { .behave = greet_and_wait };
	struct account account;
	struct told told = { 0 };
	struct conn *conn = NULL;

	REQUIRE(server_start(&server));
	account = account_for(&server, NULL);
	account.parted = take_path;
	account.parted_context = &told;
	if (CHECK_OK(conn_open(&account, 993, CONN_TLS_NOW, clock_after(20 * NSEC_SECOND), &conn)))
		check_reads(conn, "* OK ready\r\n");
	CHECK_EQ(told.count, 0);
	conn_close(&conn);
	CHECK_EQ(told.count, 1);
	CHECK_TEXT(told.host, "127.0.0.1");
	CHECK(told.path.through == NULL);
	CHECK_EQ(told.path.port, server.port);
	CHECK(told.path.round_trip > 0 && told.path.round_trip < 10 * NSEC_SECOND);
	CHECK(told.path.round_trip_min > 0);
	CHECK(told.path.round_trip_min <= 10 * NSEC_SECOND);
	CHECK(told.path.mtu_bytes >= 576);
	CHECK_EQ(told.path.bytes_received, strlen("* OK ready\r\n"));
	CHECK_EQ(told.path.bytes_sent, 0);
	CHECK(told.path.active > 0);
	server_stop(&server);
}

TEST_FIBER(a_connection_that_never_stood_tells_nothing)
{
	struct server server = { .behave = greet_and_wait,
				 .spec = { .names = "DNS:elsewhere.example" } };
	struct account account;
	struct told told = { 0 };
	struct conn *conn = NULL;

	REQUIRE(server_start(&server));
	account = account_for(&server, NULL);
	account.parted = take_path;
	account.parted_context = &told;
	CHECK_ERR(conn_open(&account, 993, CONN_TLS_NOW, clock_after(20 * NSEC_SECOND), &conn),
		  ERR_TLS_HOSTNAME);
	CHECK_EQ(told.count, 0);
	server_stop(&server);
}
