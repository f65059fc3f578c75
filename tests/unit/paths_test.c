/* What is told of the ways to hosts: gathered, merged, bounded, shown. */
#include "tools/paths.h"

#include <jansson.h>
#include <stdlib.h>

#include "tests/test.h"
#include "tools/batch_html.h"

static struct paths paths, others; /* too large for a frame */

static void begin(void)
{
	static const struct paths none;

	paths = others = none;
}

static const struct path first = { .host = "mail.example.com",
				   .port = 993,
				   .round_trip = 12 * NSEC_MILLISECOND,
				   .round_trip_min = 10 * NSEC_MILLISECOND,
				   .mtu_bytes = 1500,
				   .segments_resent = 2,
				   .bytes_received = 3000000,
				   .bytes_sent = 1000,
				   .active = NSEC_SECOND };

static char *told_text(const struct paths *told)
{
	char *text = NULL;
	size_t bytes;
	FILE *to = open_memstream(&text, &bytes);

	must(to);
	paths_text(told, to);
	must(fclose(to) == 0);
	return text;
}

/* As a part of a batch's report. */
static json_t *told_json(const struct paths *told)
{
	static struct batch_counts counts;
	struct batch_report report = { .name = "night", .counts = &counts, .paths = told };
	char *text = NULL;
	size_t bytes;
	FILE *to = open_memstream(&text, &bytes);
	json_t *object;

	must(to);
	batch_report_json(&report, to);
	must(fclose(to) == 0);
	object = json_loads(text, 0, NULL);
	free(text);
	must(object);
	return object;
}

TEST(connections_to_one_host_are_one_path)
{
	struct path second = first;

	begin();
	second.round_trip = 20 * NSEC_MILLISECOND;
	second.round_trip_min = 8 * NSEC_MILLISECOND;
	second.mtu_bytes = 1280;
	second.active = 2 * NSEC_SECOND;
	paths_add(&paths, &first);
	paths_add(&paths, &second);
	CHECK_EQ(paths.count, 1);
	CHECK_EQ(paths.hosts[0].connections, 2);
	CHECK_EQ(paths.hosts[0].round_trip, 32 * NSEC_MILLISECOND);
	CHECK_EQ(paths.hosts[0].round_trip_least, 8 * NSEC_MILLISECOND);
	CHECK_EQ(paths.hosts[0].mtu_least, 1280);
	CHECK_EQ(paths.hosts[0].segments_resent, 4);
	CHECK_EQ(paths.hosts[0].bytes_received, 6000000);
	CHECK_EQ(paths.hosts[0].active, 3 * NSEC_SECOND);
}

TEST(another_port_and_another_proxy_are_other_paths)
{
	struct path other = first;

	begin();
	paths_add(&paths, &first);
	other.port = 143;
	paths_add(&paths, &other);
	other.port = 993;
	other.through = "socks5://a:1080";
	paths_add(&paths, &other);
	other.through = "socks5://b:1080";
	paths_add(&paths, &other);
	other.host = "other.example.com";
	paths_add(&paths, &other);
	CHECK_EQ(paths.count, 5);
}

TEST(what_was_not_measured_spoils_nothing)
{
	struct path unknown = { .host = first.host, .port = first.port, .bytes_received = 5 };
	char *text;
	json_t *json;

	begin();
	paths_add(&paths, &unknown);
	text = told_text(&paths);
	CHECK(!strstr(text, "round trip") && !strstr(text, "MTU") && !strstr(text, "segment"));
	free(text);
	json = told_json(&paths);
	CHECK(json_is_null(json_object_get(json_array_get(json_object_get(json, "paths"), 0),
					   "round_trip_ms")));
	json_decref(json);
	paths_add(&paths, &first);
	CHECK_EQ(paths.hosts[0].measured, 1);
	CHECK_EQ(paths.hosts[0].round_trip_least, first.round_trip_min);
	CHECK_EQ(paths.hosts[0].mtu_least, 1500);
}

TEST(the_text_has_a_line_for_each)
{
	char *text;

	begin();
	text = told_text(&paths);
	CHECK_TEXT(text, "");
	free(text);
	paths_add(&paths, &first);
	text = told_text(&paths);
	CHECK_TEXT(text, "Path         mail.example.com:993, round trip 12.00 ms (least 10.00 ms), "
			 "path MTU 1500, 2 segments sent again, received 3.0 MB (3.0 MB/s), sent "
			 "1.0 kB (1.0 kB/s)\n");
	free(text);
	paths_add(&others, &(struct path){ .host = "2001:db8::1",
					   .port = 993,
					   .through = "http://proxy.example:3128" });
	text = told_text(&others);
	CHECK(strstr(text, "[2001:db8::1]:993 through http://proxy.example:3128, received") !=
	      NULL);
	free(text);
}

TEST(json_has_numbers_in_units_of_their_names)
{
	json_t *json, *path;

	begin();
	paths_add(&paths, &first);
	json = told_json(&paths);
	path = json_array_get(json_object_get(json, "paths"), 0);
	CHECK_TEXT(json_string_value(json_object_get(path, "host")), "mail.example.com");
	CHECK_EQ(json_integer_value(json_object_get(path, "port")), 993);
	CHECK(json_is_null(json_object_get(path, "through")));
	CHECK_EQ(json_integer_value(json_object_get(path, "connections")), 1);
	CHECK(json_number_value(json_object_get(path, "round_trip_ms")) == 12.0);
	CHECK(json_number_value(json_object_get(path, "round_trip_min_ms")) == 10.0);
	CHECK_EQ(json_integer_value(json_object_get(path, "path_mtu")), 1500);
	CHECK_EQ(json_integer_value(json_object_get(path, "segments_resent")), 2);
	CHECK_EQ(json_integer_value(json_object_get(path, "bytes_received")), 3000000);
	CHECK_EQ(json_integer_value(json_object_get(path, "bytes_sent")), 1000);
	CHECK(json_number_value(json_object_get(path, "active_s")) == 1.0);
	CHECK(json_number_value(json_object_get(path, "received_per_second")) == 3000000.0);
	CHECK(json_number_value(json_object_get(path, "sent_per_second")) == 1000.0);
	json_decref(json);
}

TEST(the_page_has_a_table_of_them_with_every_text_escaped)
{
	static struct batch_counts counts;
	struct batch_report report = { .name = "night", .counts = &counts, .paths = &paths };
	char *text = NULL;
	size_t bytes;
	FILE *to = open_memstream(&text, &bytes);

	begin();
	must(to);
	paths_add(&paths, &first);
	paths_add(&paths, &(struct path){ .host = "<b>", .through = "socks5://\"x:1080" });
	batch_html_paths(&report, to);
	must(fclose(to) == 0);
	CHECK(strstr(text, "mail.example.com:993</th>") != NULL);
	CHECK(strstr(text, ">12.00 ms</td>") != NULL && strstr(text, ">1500</td>") != NULL);
	CHECK(strstr(text, ">3.0 MB (3.0 MB/s)</td>") != NULL);
	CHECK(!strstr(text, "<b>") && strstr(text, "&lt;b&gt;:0") != NULL);
	free(text);
}

TEST(there_are_no_more_than_the_table_holds_and_workers_are_one)
{
	struct path path = first;
	char host[32], *text;

	begin();
	path.host = host;
	for (unsigned i = 0; i < PATHS_HOSTS_MAX + 3; i++) {
		snprintf(host, sizeof host, "h%u.example", i);
		paths_add(&paths, &path);
		paths_add(&others, &path);
	}
	CHECK_EQ(paths.count, PATHS_HOSTS_MAX);
	CHECK_EQ(paths.connections_left_out, 3);
	paths_merge(&paths, &others);
	CHECK_EQ(paths.count, PATHS_HOSTS_MAX);
	CHECK_EQ(paths.connections_left_out, 6);
	CHECK_EQ(paths.hosts[0].connections, 2);
	text = told_text(&paths);
	CHECK(strstr(text, "6 connections to other hosts\n") != NULL);
	free(text);
}
