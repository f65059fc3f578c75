/* transport/dial.c and resolve.c: names, literals, several addresses, and what is said when none
 * answers. */
#include "transport/dial.h"

#include <poll.h>

#include "engine/io.h"
#include "tests/unit/tls_server.h"
#include "transport/residency.h"

/* ---- addresses and names ---- */

TEST_FIBER(an_ipv6_literal_connects_and_is_shown_in_brackets)
{
	struct server server = { .behave = greet_and_wait, .on_v6 = true };
	struct conn *conn = NULL;
	char shown[32];

	if (!server_start(&server))
		SKIP("this machine has no IPv6 loopback");
	if (CHECK_OK(connect_to(&server, "::1", CONN_TLS_NOW, &conn))) {
		snprintf(shown, sizeof shown, "[::1]:%u", server.port);
		CHECK_TEXT(conn_peer(conn)->address, shown);
		check_reads(conn, "* OK ready\r\n");
	}
	conn_close(&conn);
	server_stop(&server);
}

TEST_FIBER(localhost_connects_wherever_the_server_listens)
{
	struct server server = { .behave = greet_and_wait };
	struct conn *conn = NULL;

	REQUIRE(server_start(&server));
	if (CHECK_OK(connect_to(&server, "localhost", CONN_TLS_NOW, &conn))) {
		CHECK_TEXT(conn_peer(conn)->host, "localhost");
		CHECK(strncmp(conn_peer(conn)->address, "127.0.0.1:", 10) == 0);
		check_reads(conn, "* OK ready\r\n");
	}
	conn_close(&conn);
	server_stop(&server);
}

/* A port on which nobody listens: it was free a moment ago. */
static uint16_t dead_port(bool on_v6)
{
	uint16_t port = 0;
	int fd = listen_on(on_v6, &port);

	if (fd >= 0)
		close(fd);
	return port;
}

TEST_FIBER(a_dead_first_address_does_not_hide_a_living_second)
{
	struct resolve_list list = { .count = 2 };
	char address[RESOLVE_SHOWN_BYTES], expected[32];
	uint16_t port;
	int listener = listen_on(false, &port), fd = -1;

	REQUIRE(listener >= 0);
	list.addresses[0] = loopback(true, dead_port(true)); /* refused, or without IPv6 no route */
	if (!list.addresses[0].v6.sin6_port)
		list.addresses[0].v6.sin6_port = htons(1);
	list.addresses[1] = loopback(false, port);
	if (CHECK_OK(dial_list("mail.example", &list, clock_after(20 * NSEC_SECOND), &fd,
			       address))) {
		snprintf(expected, sizeof expected, "127.0.0.1:%u", port);
		CHECK_TEXT(address, expected);
		CHECK_EQ(err_note()->error, OK);
	}
	io_close(&fd);
	close(listener);
}

TEST_FIBER(every_address_that_was_tried_is_named_with_its_reason)
{
	struct resolve_list list = { .count = 2 };
	char address[RESOLVE_SHOWN_BYTES], both[96];
	uint16_t first = dead_port(false), second = dead_port(false);
	int fd = -1;

	list.addresses[0] = loopback(false, first);
	list.addresses[1] = loopback(false, second);
	CHECK_ERR(dial_list("mail.example:993", &list, clock_after(20 * NSEC_SECOND), &fd, address),
		  ERR_NET_REFUSED);
	CHECK_EQ(fd, -1);
	snprintf(both, sizeof both,
		 "127.0.0.1:%u: Connection refused; 127.0.0.1:%u: Connection refused", first,
		 second);
	check_note_says("connecting to mail.example:993: ");
	check_note_says(both);
}

TEST_FIBER(no_time_left_is_a_timeout_without_an_attempt)
{
	struct resolve_list list = { .count = 1, .addresses = { loopback(false, 1) } };
	char address[RESOLVE_SHOWN_BYTES];
	int fd = -1;

	CHECK_ERR(dial_list("mail.example:993", &list, clock_now() - 1, &fd, address),
		  ERR_NET_TIMEOUT);
	check_note_says("no time was left");
}

TEST_FIBER(a_refused_connection_names_the_port_it_tried)
{
	struct account account = { .host = "127.0.0.1", .connect_timeout = 20 * NSEC_SECOND };
	struct conn *conn = NULL;
	char place[32];

	account.port = dead_port(false);
	CHECK_ERR(conn_open(&account, 993, CONN_TLS_NOW, clock_after(20 * NSEC_SECOND), &conn),
		  ERR_NET_REFUSED);
	snprintf(place, sizeof place, "127.0.0.1:%u", account.port);
	check_note_says(place);
	conn_thread_cleanup();
}

/* RFC 6761 section 6.4: .invalid never resolves. Without any network the resolver says so another
 * way, and the error is the same. */
TEST_FIBER(a_name_that_does_not_exist_fails_by_name)
{
	struct account account = { .host = "nobody.invalid", .port = 993 };
	struct conn *conn = NULL;

	CHECK_ERR(conn_open(&account, 993, CONN_TLS_NOW, clock_after(60 * NSEC_SECOND), &conn),
		  ERR_NET_NAME);
	check_note_says("nobody.invalid");
	conn_thread_cleanup();
}

TEST_FIBER(a_name_that_cannot_exist_is_not_looked_up)
{
	struct resolve_list list;
	char name[400];

	CHECK_ERR(resolve("", 993, clock_after(NSEC_SECOND), &list), ERR_NET_NAME);
	err_note_clear();
	memset(name, 'a', sizeof name);
	name[sizeof name - 1] = '\0';
	CHECK_ERR(resolve(name, 993, clock_after(NSEC_SECOND), &list), ERR_NET_NAME);
}

TEST_FIBER(literals_need_no_lookup)
{
	static const struct {
		const char *host, *shown;
	} rows[] = { { "192.0.2.1", "192.0.2.1:993" },
		     { "2001:db8::1", "[2001:db8::1]:993" },
		     { "::ffff:192.0.2.1", "[::ffff:192.0.2.1]:993" },
		     { "fe80::1%7", "[fe80::1%7]:993" } };
	char shown[RESOLVE_SHOWN_BYTES];
	struct resolve_list list;

	for (size_t i = 0; i < ARRAY_COUNT(rows); i++)
		if (CHECK_OK(resolve(rows[i].host, 993, 0, &list))) {
			CHECK_EQ(list.count, 1);
			CHECK_TEXT(resolve_show(&list.addresses[0], shown), rows[i].shown);
		}
}

static void add_literal(struct resolve_list *list, const char *literal)
{
	struct resolve_list one;

	must(resolve(literal, 993, 0, &one) == OK);
	list->addresses[list->count++] = one.addresses[0];
}

TEST_FIBER(families_alternate_and_no_address_is_tried_twice)
{
	static const char *const given[] = { "2001:db8::1", "2001:db8::2", "2001:db8::1",
					     "2001:db8::3", "192.0.2.1",   "192.0.2.1",
					     "192.0.2.2" };
	static const char *const expected[] = { "[2001:db8::1]:993", "192.0.2.1:993",
						"[2001:db8::2]:993", "192.0.2.2:993",
						"[2001:db8::3]:993" };
	char shown[RESOLVE_SHOWN_BYTES];
	struct resolve_list list = { 0 };

	for (size_t i = 0; i < ARRAY_COUNT(given); i++)
		add_literal(&list, given[i]);
	resolve_order(&list);
	CHECK_EQ(list.count, ARRAY_COUNT(expected));
	for (size_t i = 0; i < ARRAY_COUNT(expected) && i < list.count; i++)
		CHECK_TEXT(resolve_show(&list.addresses[i], shown), expected[i]);
}

/* ---- what the residency policy refuses ---- */

static struct residency *policy_of(enum residency_kind kind, const char *text)
{
	struct residency *policy;

	must(residency_open(&policy) == OK && residency_add(policy, kind, text) == OK);
	residency_set(policy);
	return policy;
}

static void policy_end(struct residency **policy)
{
	residency_set(NULL);
	residency_close(policy);
	err_note_clear();
}

/* A connection on loopback is in the listener's queue when connect(2) returns. */
static bool was_connected_to(int listener)
{
	struct pollfd asked = { .fd = listener, .events = POLLIN };

	return poll(&asked, 1, 0) != 0;
}

TEST_FIBER(an_address_outside_the_policy_is_never_connected_to)
{
	struct residency *policy = policy_of(RESIDENCY_ADDRESSES, "127.0.0.2");
	char address[RESOLVE_SHOWN_BYTES];
	uint16_t port = 0;
	int listener = listen_on(false, &port), fd = -1;

	REQUIRE(listener >= 0);
	CHECK_ERR(dial(NULL, "127.0.0.1", port, clock_after(20 * NSEC_SECOND), &fd, address),
		  ERR_RESIDENCY_ENDPOINT);
	CHECK_EQ(fd, -1);
	check_note_says("connecting to 127.0.0.1: outside of residency.addresses (127.0.0.2)");
	CHECK(!was_connected_to(listener));
	CHECK_EQ(residency_refused(), 1);
	policy_end(&policy);
	CHECK_OK(dial(NULL, "127.0.0.1", port, clock_after(20 * NSEC_SECOND), &fd, address));
	CHECK(was_connected_to(listener)); /* it would have been seen */
	io_close(&fd);
	close(listener);
}

TEST_FIBER(one_address_outside_keeps_us_from_those_inside_too)
{
	struct residency *policy = policy_of(RESIDENCY_ADDRESSES, "127.0.0.1");
	struct resolve_list list = { .count = 2 };
	char address[RESOLVE_SHOWN_BYTES];
	uint16_t port = 0;
	int listener = listen_on(false, &port), fd = -1;

	REQUIRE(listener >= 0);
	list.addresses[0] = list.addresses[1] = loopback(false, port);
	list.addresses[1].v4.sin_addr.s_addr = htonl(0x7f000002);
	CHECK_ERR(dial_list("mail.example:993", &list, clock_after(20 * NSEC_SECOND), &fd, address),
		  ERR_RESIDENCY_ENDPOINT);
	check_note_says("connecting to mail.example:993 at 127.0.0.2:");
	CHECK(!was_connected_to(listener));
	policy_end(&policy);
	close(listener);
}

TEST_FIBER(what_a_name_resolves_to_is_judged_and_not_what_it_is_called)
{
	struct residency *policy = policy_of(RESIDENCY_ADDRESSES, "192.0.2.0/24");
	char address[RESOLVE_SHOWN_BYTES];
	uint16_t port = 0;
	int listener = listen_on(false, &port), fd = -1;

	REQUIRE(listener >= 0);
	CHECK_OK(residency_add(policy, RESIDENCY_HOSTS, "localhost"));
	CHECK_ERR(dial(NULL, "localhost", port, clock_after(20 * NSEC_SECOND), &fd, address),
		  ERR_RESIDENCY_ENDPOINT);
	check_note_says("connecting to localhost:");
	CHECK(!was_connected_to(listener));
	policy_end(&policy);
	close(listener);
}

TEST_FIBER(a_name_outside_the_policy_is_not_even_looked_up)
{
	struct residency *policy = policy_of(RESIDENCY_HOSTS, ".example.eu");
	char address[RESOLVE_SHOWN_BYTES];
	int fd = -1;

	/* Looked up, it would not resolve. */
	CHECK_ERR(dial(NULL, "nobody.invalid", 993, clock_after(20 * NSEC_SECOND), &fd, address),
		  ERR_RESIDENCY_ENDPOINT);
	check_note_says("connecting to nobody.invalid: outside of residency.hosts (.example.eu)");
	policy_end(&policy);
}

/* A proxy on loopback, and what became of a way through it. */
static enum err dial_through(const char *proxy_host, const char *host, bool *connected)
{
	struct route route = { .kind = ROUTE_SOCKS5 };
	char address[RESOLVE_SHOWN_BYTES];
	int listener = listen_on(false, &route.port), fd = -1;
	enum err e;

	must(listener >= 0);
	snprintf(route.host, sizeof route.host, "%s", proxy_host);
	snprintf(route.shown, sizeof route.shown, "socks5://%s", proxy_host);
	e = dial(&route, host, 993, clock_after(20 * NSEC_SECOND), &fd, address);
	*connected = was_connected_to(listener);
	io_close(&fd);
	close(listener);
	return e;
}

TEST_FIBER(a_proxy_and_the_host_behind_it_must_both_be_allowed)
{
	struct residency *policy = policy_of(RESIDENCY_HOSTS, ".example.eu");
	bool connected;

	CHECK_ERR(dial_through("localhost", "mail.example.eu", &connected), ERR_RESIDENCY_ENDPOINT);
	check_note_says("mail.example.eu:993: connecting to localhost: outside");
	CHECK(!connected);
	err_note_clear();
	CHECK_OK(residency_add(policy, RESIDENCY_HOSTS, "localhost"));
	CHECK_ERR(dial_through("localhost", "mail.example.com", &connected),
		  ERR_RESIDENCY_ENDPOINT);
	check_note_says("connecting to mail.example.com: outside");
	CHECK(!connected);
	err_note_clear();
	CHECK_OK(dial_through("localhost", "mail.example.eu", &connected));
	CHECK(connected);
	CHECK_OK(residency_add(policy, RESIDENCY_ADDRESSES, "192.0.2.0/24"));
	CHECK_ERR(dial_through("localhost", "mail.example.eu", &connected), ERR_RESIDENCY_ENDPOINT);
	check_note_says("outside of residency.addresses");
	CHECK(!connected);
	policy_end(&policy);
	policy = policy_of(RESIDENCY_ADDRESSES, "127.0.0.0/8"); /* the proxy's, and nobody else's */
	CHECK_ERR(dial_through("localhost", "mail.example.eu", &connected), ERR_RESIDENCY_ENDPOINT);
	check_note_says("cannot be kept");
	CHECK(!connected);
	policy_end(&policy);
}

TEST_FIBER(inside_the_policy_a_connection_is_made_as_ever)
{
	struct residency *policy = policy_of(RESIDENCY_ADDRESSES, "127.0.0.0/8");
	struct server server = { .behave = greet_and_wait };
	struct conn *conn = NULL;

	REQUIRE(server_start(&server));
	if (CHECK_OK(connect_to(&server, "localhost", CONN_TLS_NOW, &conn)))
		check_reads(conn, "* OK ready\r\n");
	CHECK_EQ(residency_refused(), 0);
	conn_close(&conn);
	server_stop(&server);
	policy_end(&policy);
}
