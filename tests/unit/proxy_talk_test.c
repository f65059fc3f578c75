/* What is said to proxies, byte for byte. What they answer: proxy_test.c, and the fuzz target. */
#include "transport/proxy_talk.h"

#include "crypto/secret.h"
#include "tests/test.h"

static struct proxy_talk talk;

static struct route route_to(const char *scheme, const char *user)
{
	struct route route = { 0 };

	must(route_set_proxy(&route, "--proxy", scheme, user, "proxy.example", 3128) == OK);
	return route;
}

/* What is to be said now is exactly this; then it was said. */
static void check_says(const void *expected, size_t bytes)
{
	CHECK_EQ(talk.say_bytes, bytes);
	CHECK(talk.say_bytes == bytes && memcmp(talk.say, expected, bytes) == 0);
	proxy_talk_end(&talk);
}

static void hear(const char *bytes, size_t count)
{
	size_t used;

	CHECK_OK(proxy_talk_hear(&talk, (struct text){ bytes, count }, &used));
	CHECK_EQ(used, count);
}

static void check_socks_asks_for(const char *host, const void *request, size_t bytes)
{
	struct route route = route_to("socks5", "");

	CHECK_OK(proxy_talk_begin(&talk, &route, host, 993));
	check_says("\5\1\0", 3);
	hear("\5\0", 2);
	check_says(request, bytes);
}

TEST(socks_is_asked_for_names_as_names_and_for_addresses_as_addresses)
{
	check_socks_asks_for("mail.example", "\5\1\0\3\14mail.example\3\xe1", 19);
	check_socks_asks_for("192.0.2.1", "\5\1\0\1\300\0\2\1\3\xe1", 10);
	check_socks_asks_for("2001:db8::1",
			     "\5\1\0\4\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1\3\xe1", 22);
	proxy_talk_end(&talk);
}

TEST(socks_login_is_counted_bytes_and_wiped_once_said)
{
	struct route route = route_to("socks5", "ann");
	struct secret *password = NULL;

	must(secret_from_bytes("open sesame", 11, &password) == OK);
	must(route_set_password(&route, "--proxy", password) == OK);
	CHECK_OK(proxy_talk_begin(&talk, &route, "mail.example", 993));
	check_says("\5\2\0\2", 4);
	hear("\5\2", 2);
	check_says("\1\3ann\13open sesame", 17);
	for (size_t i = 0; i < sizeof talk.say; i++)
		if (talk.say[i])
			test_failed(__FILE__, __LINE__, "byte %zu of what was said is left", i);
	hear("\1\0", 2);
	CHECK_EQ(talk.say[3], 3);
	proxy_talk_end(&talk);
	secret_close(&password);
}

static void check_http_asks(const char *host, const char *request)
{
	struct route route = route_to("http", "");

	CHECK_OK(proxy_talk_begin(&talk, &route, host, 993));
	check_says(request, strlen(request));
}

TEST(http_is_asked_for_host_and_port)
{
	check_http_asks("mail.example",
			"CONNECT mail.example:993 HTTP/1.1\r\nHost: mail.example:993\r\n\r\n");
	check_http_asks("2001:db8::1",
			"CONNECT [2001:db8::1]:993 HTTP/1.1\r\nHost: [2001:db8::1]:993\r\n\r\n");
}

TEST(everything_there_is_room_for_fits_and_no_name_adds_to_what_is_said)
{
	static const char *const none[] = { "", "a b", "a\r\nX: y", "a\n" };
	char host[RESOLVE_HOST_BYTES_MAX + 2], user[ROUTE_USER_BYTES_MAX + 1];
	struct secret *password = NULL;
	struct route route;

	memset(host, 'h', sizeof host);
	host[RESOLVE_HOST_BYTES_MAX] = '\0';
	memset(user, 'u', sizeof user);
	user[ROUTE_USER_BYTES_MAX] = '\0';
	must(secret_from_bytes(user, ROUTE_PASSWORD_BYTES_MAX, &password) == OK);
	for (int is_http = 0; is_http < 2; is_http++) {
		route = route_to(is_http ? "http" : "socks5", user);
		must(route_set_password(&route, "--proxy", password) == OK);
		CHECK_OK(proxy_talk_begin(&talk, &route, host, 65535));
		CHECK(talk.say_bytes > 0);
		if (!is_http) {
			proxy_talk_end(&talk);
			hear("\5\2", 2);
			CHECK_EQ(talk.say_bytes, 3 + 255 + 255);
			proxy_talk_end(&talk);
			hear("\1\0", 2);
			CHECK_EQ(talk.say_bytes, 5 + RESOLVE_HOST_BYTES_MAX + 2);
		}
		proxy_talk_end(&talk);
		for (size_t i = 0; i < ARRAY_COUNT(none); i++) {
			CHECK_ERR(proxy_talk_begin(&talk, &route, none[i], 993), ERR_NET_NAME);
			CHECK_EQ(talk.say_bytes, 0);
			err_note_clear();
		}
	}
	secret_close(&password);
}

TEST(behind_its_answer_the_target_speaks)
{
	static const char socks[] = "\5\0\0\1\177\0\0\1\3\xe1* OK",
			  http[] = "HTTP/1.1 299 fine\r\nContent-Length: 100\r\n\r\n* OK";
	struct route route = route_to("socks5", "");
	size_t used;

	CHECK_OK(proxy_talk_begin(&talk, &route, "mail.example", 993));
	proxy_talk_end(&talk);
	hear("\5\0", 2);
	proxy_talk_end(&talk);
	CHECK_OK(proxy_talk_hear(&talk, (struct text){ socks, sizeof socks - 1 }, &used));
	CHECK(talk.done);
	CHECK_EQ(used, sizeof socks - 1 - 4);
	route = route_to("http", "");
	CHECK_OK(proxy_talk_begin(&talk, &route, "mail.example", 993));
	proxy_talk_end(&talk);
	CHECK_OK(proxy_talk_hear(&talk, (struct text){ http, sizeof http - 1 }, &used));
	CHECK(talk.done);
	CHECK_EQ(used, sizeof http - 1 - 4);
}
