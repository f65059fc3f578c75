/* --bind-address, --proxy and their like: what is taken, what is refused and how. */
#include "tools/routes.h"

#include <stdlib.h>
#include <unistd.h>

#include "tests/test.h"

static struct routes routes; /* too large for a frame */

static void check_refused(const struct route_options *options, enum err expected, const char *says)
{
	err_note_clear();
	CHECK_ERR(routes_open(options, &routes), expected);
	if (!strstr(err_note()->text, says))
		test_failed(__FILE__, __LINE__, "\"%s\" does not say \"%s\"", err_note()->text,
			    says);
	CHECK(!strstr(err_note()->text, "hush"));
	routes_close(&routes);
	err_note_clear();
}

TEST(without_options_the_ways_are_straight)
{
	CHECK_OK(routes_open(&(struct route_options){ 0 }, &routes));
	CHECK_EQ(routes.source.kind, ROUTE_STRAIGHT);
	CHECK_EQ(routes.destination.kind, ROUTE_STRAIGHT);
	CHECK(!routes.source.has_from && !routes.destination.has_from);
	routes_close(&routes);
}

TEST(a_proxy_is_for_both_sides_unless_one_has_its_own)
{
	struct route_options options = { .proxy = "socks5://Proxy.Example",
					 .source_proxy = "http://[2001:db8::1]:3128/" };

	CHECK_OK(routes_open(&options, &routes));
	CHECK_EQ(routes.source.kind, ROUTE_HTTP);
	CHECK_TEXT(routes.source.host, "2001:db8::1");
	CHECK_EQ(routes.source.port, 3128);
	CHECK_TEXT(routes.source.shown, "http://[2001:db8::1]:3128");
	CHECK_EQ(routes.destination.kind, ROUTE_SOCKS5);
	CHECK_TEXT(routes.destination.shown, "socks5://proxy.example:1080");
	routes_close(&routes);
	options.source_proxy = "none";
	CHECK_OK(routes_open(&options, &routes));
	CHECK_EQ(routes.source.kind, ROUTE_STRAIGHT);
	routes_close(&routes);
}

TEST(an_address_to_connect_from_is_for_both_sides_unless_one_has_its_own)
{
	struct route_options options = { .bind_address = "127.0.0.1",
					 .destination_bind_address = "127.0.0.9" };

	CHECK_OK(routes_open(&options, &routes));
	CHECK_TEXT(routes.source.from_shown, "127.0.0.1");
	CHECK_TEXT(routes.destination.from_shown, "127.0.0.9");
	CHECK_EQ(routes.destination.from.any.sa_family, AF_INET);
	routes_close(&routes);
}

TEST(an_address_that_is_none_or_not_here_is_refused_by_name)
{
	check_refused(&(struct route_options){ .bind_address = "eth0" }, ERR_INPUT_USAGE,
		      "--bind-address is no IPv4");
	check_refused(&(struct route_options){ .source_bind_address = "127.0.0.1:80" },
		      ERR_INPUT_USAGE, "--source-bind-address is no IPv4");
	check_refused(&(struct route_options){ .bind_address = "[" }, ERR_INPUT_USAGE, "no IPv4");
	check_refused(&(struct route_options){ .bind_address = "192.0.2.7" }, ERR_NET_LOCAL,
		      "192.0.2.7");
	check_refused(&(struct route_options){ .destination_bind_address = "2001:db8::7" },
		      ERR_NET_LOCAL, "2001:db8::7");
}

TEST(proxies_that_are_none_are_refused)
{
	static const char *const rows[][2] = {
		{ "proxy.example:1080", "no URL" },
		{ "https://proxy.example:443", "only socks5:// and http://" },
		{ "socks4://proxy.example:1080", "only socks5:// and http://" },
		{ "http://proxy.example", "names no port" },
		{ "http://proxy.example:3128/path", "behind the port" },
		{ "socks5://proxy.example:0", "port" },
		{ "socks5:///", "names no host" },
		{ "socks5://ann:hush@proxy.example:1080", "--proxy-password-file" },
		{ "socks5://ann@proxy.example:1080", "no password" },
		{ "http://a%3Ab@proxy.example:3128", "colon" },
	};

	for (size_t i = 0; i < ARRAY_COUNT(rows); i++)
		check_refused(&(struct route_options){ .proxy = rows[i][0] }, ERR_INPUT_USAGE,
			      rows[i][1]);
}

static const char *password_file(const char *text)
{
	static char path[] = "/tmp/mailhaul-routes-XXXXXX";
	int fd;

	snprintf(path, sizeof path, "/tmp/mailhaul-routes-XXXXXX");
	fd = mkstemp(path);
	must(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	close(fd);
	return path;
}

TEST(the_password_comes_from_a_file_and_only_for_who_has_a_user)
{
	struct route_options options = { .proxy = "socks5://ann%40example.com@proxy.example" };
	char long_password[400];

	options.proxy_password_file = password_file("hush hush\n");
	CHECK_OK(routes_open(&options, &routes));
	CHECK_TEXT(routes.source.user, "ann@example.com");
	CHECK_TEXT(routes.source.shown, "socks5://proxy.example:1080");
	CHECK(text_equal(secret_text(routes.source.password), text_of("hush hush")));
	CHECK(routes.destination.password == routes.source.password);
	routes_close(&routes);
	options.source_proxy = "none";
	CHECK_OK(routes_open(&options, &routes));
	CHECK(routes.source.password == NULL);
	CHECK(text_equal(secret_text(routes.destination.password), text_of("hush hush")));
	routes_close(&routes);
	options.destination_proxy = "none";
	check_refused(&options, ERR_INPUT_USAGE, "of no use");
	unlink(options.proxy_password_file);
	memset(long_password, 'x', sizeof long_password - 1);
	long_password[sizeof long_password - 1] = '\0';
	options = (struct route_options){ .proxy = "socks5://ann@proxy.example",
					  .proxy_password_file = password_file(long_password) };
	check_refused(&options, ERR_INPUT_SECRET, "more than 255");
	unlink(options.proxy_password_file);
}
