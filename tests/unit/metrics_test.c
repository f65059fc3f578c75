/* Metrics: the text, where the server listens and where not, what it leaves behind. With
 * METRICS_SERVE=ADDRESS in the environment this program serves counts of its own until its standard
 * input ends: tests/cli/metrics_test reads them with other people's parsers. */
#include "tests/test.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "tools/metrics.h"

static struct batch_counts sample(void)
{
	struct batch_counts counts = {
		.mailboxes = { [BATCH_WAITING] = 1900,
			       [BATCH_RUNNING] = 16,
			       [BATCH_DONE] = 80,
			       [BATCH_FAILED] = 3,
			       [BATCH_DRAINED] = 1 },
		.mailboxes_backing_off = 7,
		.messages_known = 5000,
		.bytes_known = UINT64_MAX,
		.messages_moved = 4000,
		.bytes_moved = (UINT64_C(1) << 53) + 1,
		.messages_before = 11,
		.messages_skipped = 2,
		.messages_doubtful = 1,
		.connections = 32,
		.reconnects = 5,
		.throttled = 12 * NSEC_SECOND + 5,
		.ran = 1234567 * NSEC_MILLISECOND,
		.started_wall_s = 1700000000,
		.window_closes_wall_s = INT64_MAX,
	};

	counts.errors[ERR_IMAP_LOGIN] = 3;
	return counts;
}

static void fill_sample(void *context, struct batch_counts *out)
{
	*out = sample();
	if (context)
		__atomic_add_fetch((unsigned *)context, 1, __ATOMIC_SEQ_CST);
}

/* ---- for tests/cli/metrics_test ---- */

__attribute__((constructor)) static void serve_instead(void)
{
	const char *address = getenv("METRICS_SERVE");
	struct metrics *metrics;
	char byte;

	if (!address)
		return;
	if (metrics_open(address, fill_sample, NULL, &metrics)) {
		fprintf(stderr, "%s\n", err_note()->text);
		exit(1);
	}
	printf("%s\n", metrics_where(metrics));
	fflush(stdout);
	while (read(STDIN_FILENO, &byte, 1) > 0)
		;
	metrics_close(&metrics);
	exit(0);
}

/* ---- the text ---- */

static struct buffer text_now(const struct batch_counts *counts, int64_t now_s)
{
	struct buffer text = { 0 };

	metrics_text(counts, now_s, &text);
	must(!text.failed);
	return text;
}

#define CHECK_HAS(buffer, part)	    CHECK(strstr((buffer).at, part) != NULL)
#define CHECK_HAS_NOT(buffer, part) CHECK(strstr((buffer).at, part) == NULL)

TEST(every_count_is_told_whole)
{
	struct batch_counts counts = sample();
	struct buffer text = text_now(&counts, 0);

	CHECK_HAS(text, "\nmailhaul_mailboxes{state=\"waiting\"} 1900\n");
	CHECK_HAS(text, "\nmailhaul_mailboxes{state=\"incomplete\"} 0\n");
	CHECK_HAS(text, "\nmailhaul_mailboxes{state=\"drained\"} 1\n");
	CHECK_HAS(text, "\nmailhaul_mailboxes_backing_off 7\n");
	CHECK_HAS(text, "\nmailhaul_messages_total{side=\"destination\",result=\"moved\"} 4000\n");
	CHECK_HAS(text, "\nmailhaul_messages_total{side=\"source\",result=\"skipped\"} 2\n");
	CHECK_HAS(text, "\nmailhaul_messages_total{side=\"destination\",result=\"doubtful\"} 1\n");
	CHECK_HAS(text, "\nmailhaul_bytes_total{side=\"destination\",direction=\"out\"} "
			"9007199254740993\n");
	CHECK_HAS(text, "\nmailhaul_messages_known 5000\n");
	CHECK_HAS(text, "\nmailhaul_known_bytes 18446744073709551615\n");
	CHECK_HAS(text, "\nmailhaul_messages_before 11\n");
	CHECK_HAS(text, "\nmailhaul_connections 32\n");
	CHECK_HAS(text, "\nmailhaul_reconnects_total 5\n");
	CHECK_HAS(text, "\nmailhaul_errors_total{code=\"IMAP_LOGIN\"} 3\n");
	CHECK_HAS(text, "\nmailhaul_errors_total{code=\"IMAP_THROTTLED\"} 0\n");
	CHECK_HAS(text, "\nmailhaul_throttle_wait_seconds_total 12.000000005\n");
	CHECK_HAS(text, "\nmailhaul_run_seconds_total 1234.567000000\n");
	CHECK_HAS(text, "\nprocess_start_time_seconds 1700000000\n");
	CHECK_HAS(text, "\nmailhaul_build_info{version=\"");
	CHECK_HAS(text, "\nmailhaul_draining 0\n");
	buffer_free(&text);
}

TEST(what_does_not_stop_a_mailbox_has_no_series_until_it_is_counted)
{
	struct batch_counts counts = sample();
	struct buffer text = text_now(&counts, 0);

	CHECK_HAS_NOT(text, "code=\"OK\"");
	CHECK_HAS_NOT(text, "code=\"FIBER_CANCELED\"");
	buffer_free(&text);
	counts.errors[ERR_FIBER_CANCELED] = 1;
	text = text_now(&counts, 0);
	CHECK_HAS(text, "\nmailhaul_errors_total{code=\"FIBER_CANCELED\"} 1\n");
	buffer_free(&text);
}

TEST(the_rest_of_the_window_is_told_where_there_is_one_and_is_never_negative)
{
	struct batch_counts counts = sample();
	struct buffer text = text_now(&counts, 100);

	CHECK_HAS_NOT(text, "mailhaul_window_remaining_seconds");
	buffer_free(&text);
	counts.window_closes_wall_s = 3700;
	text = text_now(&counts, 100);
	CHECK_HAS(text, "\nmailhaul_window_remaining_seconds 3600\n");
	buffer_free(&text);
	counts.draining = true;
	text = text_now(&counts, 3800);
	CHECK_HAS(text, "\nmailhaul_window_remaining_seconds 0\n");
	CHECK_HAS(text, "\nmailhaul_draining 1\n");
	buffer_free(&text);
}

TEST(text_that_finds_no_room_is_known_to_be_cut)
{
	struct batch_counts counts = sample();
	struct buffer text = { .bytes_max = 1000 };

	metrics_text(&counts, 0, &text);
	CHECK(text.failed);
	buffer_free(&text);
}

/* ---- addresses ---- */

/* 108 bytes, one more than a unix socket's address has room for besides its end. */
#define TEN	  "/23456789a"
#define LONG_PATH "unix:" TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN "/2345678"

TEST(only_addresses_of_this_machine_alone_are_taken)
{
	static const char *const good[] = { "127.0.0.1:9469", "127.9.8.7:0", "localhost:65535",
					    "[::1]:9469", "unix:/run/m.sock" };
	static const char *const bad[] = {
		"",
		":9469",
		"9469",
		"0.0.0.0:9469",
		"*:9469",
		"[::]:9469",
		"::1:9469",
		"10.0.0.1:9469",
		"host:9469",
		"128.0.0.1:1",
		"127.1:9469",
		"127.0.0.1",
		"127.0.0.1:",
		"127.0.0.1:-1",
		"127.0.0.1:65536",
		"127.0.0.1:1x",
		"127.0.0.1: 1",
		"unix:",
		"unix:relative",
		"unix:@abstract",
		"[::ffff:127.0.0.1]:9469",
		"127.0.0.1.evil.example:9469",
		"localhost.example:1",
		"127.0.0.1:123456789012345678901",
		LONG_PATH,
	};

	for (size_t i = 0; i < ARRAY_COUNT(good); i++)
		if (metrics_check(good[i]))
			test_failed(__FILE__, __LINE__, "%s: %s", good[i], err_note()->text);
	for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
		if (metrics_check(bad[i]) != ERR_INPUT_ADDRESS)
			test_failed(__FILE__, __LINE__, "\"%s\" is taken", bad[i]);
		err_note_clear();
	}
}

TEST(a_refused_address_opens_nothing)
{
	struct metrics *metrics;

	CHECK_ERR(metrics_open("0.0.0.0:0", fill_sample, NULL, &metrics), ERR_INPUT_ADDRESS);
	CHECK(metrics == NULL);
	CHECK(strstr(err_note()->text, "loopback"));
	metrics_close(&metrics);
}

/* ---- the server ---- */

static char socket_path[100], socket_address[120];

static int connect_tcp(const struct metrics *metrics)
{
	const struct timeval patience = { .tv_sec = 60 };
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	in.sin_port = htons((uint16_t)atoi(strrchr(metrics_where(metrics), ':') + 1));
	must(fd >= 0 && connect(fd, (struct sockaddr *)&in, sizeof in) == 0);
	must(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) == 0);
	return fd;
}

static int connect_unix(void)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(un.sun_path, sizeof un.sun_path, "%s", socket_path);
	if (connect(fd, (struct sockaddr *)&un, sizeof un) == 0)
		return fd;
	close(fd);
	return -1;
}

/* Ask, read until the server closes; closes. */
static const char *ask(int fd)
{
	static const char request[] =
		"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
	static char answer[32 * 1024];
	size_t bytes = 0;
	ssize_t got = -1;

	if (fd >= 0 && write(fd, request, sizeof request - 1) == sizeof request - 1)
		while ((got = read(fd, answer + bytes, sizeof answer - 1 - bytes)) > 0)
			bytes += (size_t)got;
	close(fd);
	answer[got == 0 ? bytes : 0] = '\0';
	return answer;
}

static bool is_answered(int fd)
{
	const char *answer = ask(fd);

	return strncmp(answer, "HTTP/1.1 200 ", 13) == 0 &&
	       strstr(answer, "\nmailhaul_mailboxes{state=\"waiting\"} 1900\n");
}

TEST(each_scrape_asks_for_the_counts_of_that_moment)
{
	struct metrics *metrics;
	unsigned filled = 0;

	CHECK_OK(metrics_open("localhost:0", fill_sample, &filled, &metrics));
	REQUIRE(metrics);
	CHECK(strncmp(metrics_where(metrics), "http://127.0.0.1:", 17) == 0);
	CHECK(is_answered(connect_tcp(metrics)));
	CHECK(is_answered(connect_tcp(metrics)));
	metrics_close(&metrics);
	CHECK(metrics == NULL);
	CHECK_EQ(filled, 2u);
}

TEST(a_port_in_use_is_refused_and_the_one_who_has_it_goes_on)
{
	struct metrics *first, *second;
	char address[40];

	CHECK_OK(metrics_open("127.0.0.1:0", fill_sample, NULL, &first));
	REQUIRE(first);
	snprintf(address, sizeof address, "127.0.0.1:%d",
		 atoi(strrchr(metrics_where(first), ':') + 1));
	CHECK_ERR(metrics_open(address, fill_sample, NULL, &second), ERR_INPUT_ADDRESS);
	CHECK(strstr(err_note()->text, "in use"));
	CHECK(strstr(err_note()->text, address));
	err_note_clear();
	CHECK(is_answered(connect_tcp(first)));
	metrics_close(&first);
	CHECK_OK(metrics_open(address, fill_sample, NULL, &second)); /* free again, at once */
	REQUIRE(second);
	CHECK(is_answered(connect_tcp(second)));
	metrics_close(&second);
}

static unsigned sockets_open(void)
{
	unsigned count = 0;
	char path[40], shown[40];

	for (int fd = 0; fd < 256; fd++) {
		snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
		count +=
			readlink(path, shown, sizeof shown) > 7 && memcmp(shown, "socket:", 7) == 0;
	}
	return count;
}

/* The looks cannot fail where the bound holds, however slow the machine is. */
TEST(connections_are_bounded_and_who_waits_is_answered_when_one_ends)
{
	enum { CONNECTIONS = 8, WAITING = 5, LOOKS = 60 * 1000 };
	int idle[CONNECTIONS], waiting[WAITING];
	unsigned before, looks = 0;
	struct metrics *metrics;

	CHECK_OK(metrics_open("127.0.0.1:0", fill_sample, NULL, &metrics));
	REQUIRE(metrics);
	before = sockets_open() + CONNECTIONS + WAITING;
	for (int i = 0; i < CONNECTIONS; i++)
		idle[i] = connect_tcp(metrics);
	for (int i = 0; i < WAITING; i++)
		waiting[i] = connect_tcp(metrics);
	for (; sockets_open() < before + CONNECTIONS && looks < LOOKS; looks++)
		usleep(1000);
	CHECK(looks < LOOKS);
	for (int i = 0; i < 100; i++, usleep(1000))
		CHECK_EQ(sockets_open(), before + CONNECTIONS);
	for (int i = 0; i < CONNECTIONS; i++)
		close(idle[i]);
	for (int i = 0; i < WAITING; i++)
		CHECK(is_answered(waiting[i]));
	metrics_close(&metrics);
}

/* A line of /proc/self/task/TID/status, in hexadecimal. */
static uint64_t blocked_signals(const char *task)
{
	char path[300], line[200];
	uint64_t blocked = 0;
	FILE *file;

	snprintf(path, sizeof path, "/proc/self/task/%s/status", task);
	file = fopen(path, "re");
	while (file && fgets(line, sizeof line, file))
		if (strncmp(line, "SigBlk:", 7) == 0)
			blocked = strtoull(line + 7, NULL, 16);
	if (file)
		fclose(file);
	return blocked;
}

TEST(the_servers_thread_takes_no_signal_and_ours_takes_what_it_took)
{
	static const int signals[] = { SIGTERM, SIGINT, SIGHUP, SIGPIPE, SIGWINCH, SIGUSR1 };
	struct metrics *metrics;
	struct dirent *entry;
	char self[20];
	unsigned others = 0;
	DIR *tasks;

	snprintf(self, sizeof self, "%d", getpid());
	CHECK_EQ(blocked_signals(self), 0);
	CHECK_OK(metrics_open("127.0.0.1:0", fill_sample, NULL, &metrics));
	REQUIRE(metrics);
	CHECK(is_answered(connect_tcp(metrics))); /* the thread is there */
	CHECK_EQ(blocked_signals(self), 0);
	tasks = opendir("/proc/self/task");
	must(tasks);
	while ((entry = readdir(tasks)))
		if (entry->d_name[0] != '.' && strcmp(entry->d_name, self) != 0) {
			others++;
			for (size_t i = 0; i < ARRAY_COUNT(signals); i++)
				CHECK(blocked_signals(entry->d_name) >> (signals[i] - 1) & 1);
		}
	closedir(tasks);
	CHECK(others >= 1);
	metrics_close(&metrics);
}

/* ---- the unix socket ---- */

static void set_path(void)
{
	snprintf(socket_path, sizeof socket_path, "%s/metrics.sock", test_directory());
	snprintf(socket_address, sizeof socket_address, "unix:%s", socket_path);
}

TEST(a_unix_socket_is_its_owners_alone_and_goes_with_the_server)
{
	mode_t before = umask(0);
	struct metrics *metrics;
	struct stat status;

	set_path();
	CHECK_OK(metrics_open(socket_address, fill_sample, NULL, &metrics));
	umask(before);
	REQUIRE(metrics);
	CHECK_TEXT(metrics_where(metrics), socket_address);
	CHECK(lstat(socket_path, &status) == 0);
	CHECK_EQ(status.st_mode, S_IFSOCK | 0600);
	CHECK(is_answered(connect_unix()));
	metrics_close(&metrics);
	CHECK(access(socket_path, F_OK) != 0);
}

/* As a killed process leaves it: bound, and nobody listens any more. */
static void leave_socket(void)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(un.sun_path, sizeof un.sun_path, "%s", socket_path);
	must(bind(fd, (struct sockaddr *)&un, sizeof un) == 0 && listen(fd, 1) == 0);
	close(fd);
}

TEST(a_socket_left_over_is_replaced_and_a_live_one_is_not)
{
	struct metrics *metrics, *second;

	set_path();
	leave_socket();
	CHECK_OK(metrics_open(socket_address, fill_sample, NULL, &metrics));
	REQUIRE(metrics);
	CHECK_ERR(metrics_open(socket_address, fill_sample, NULL, &second), ERR_INPUT_ADDRESS);
	CHECK(strstr(err_note()->text, "in use"));
	err_note_clear();
	CHECK(is_answered(connect_unix()));
	metrics_close(&metrics);
}

TEST(a_file_that_is_no_socket_and_another_ones_socket_stay)
{
	struct metrics *metrics;
	struct stat status;

	set_path();
	close(open(socket_path, O_WRONLY | O_CREAT, 0600));
	CHECK_ERR(metrics_open(socket_address, fill_sample, NULL, &metrics), ERR_INPUT_ADDRESS);
	err_note_clear();
	CHECK(lstat(socket_path, &status) == 0 && S_ISREG(status.st_mode));
	must(unlink(socket_path) == 0);
	CHECK_OK(metrics_open(socket_address, fill_sample, NULL, &metrics));
	REQUIRE(metrics);
	must(unlink(socket_path) == 0);
	close(open(socket_path, O_WRONLY | O_CREAT, 0600)); /* another inode while ours is held */
	metrics_close(&metrics);
	CHECK(access(socket_path, F_OK) == 0);
}

TEST(a_directory_that_is_not_there_is_named)
{
	struct metrics *metrics;

	CHECK_ERR(metrics_open("unix:/nonexistent/m.sock", fill_sample, NULL, &metrics),
		  ERR_INPUT_ADDRESS);
	CHECK(strstr(err_note()->text, "/nonexistent/m.sock: No such file"));
	err_note_clear();
}
