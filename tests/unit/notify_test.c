#include "engine/notify.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/test.h"

/* The service manager's end. */
struct manager {
	int fd;
	char name[100];
};

/* Listen at manager->name. */
static bool manager_open(struct manager *manager)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	size_t bytes = strlen(manager->name);

	snprintf(address.sun_path, sizeof address.sun_path, "%s", manager->name);
	if (*manager->name == '@')
		address.sun_path[0] = '\0';
	manager->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	return manager->fd >= 0 &&
	       bind(manager->fd, (struct sockaddr *)(void *)&address,
		    (socklen_t)(offsetof(struct sockaddr_un, sun_path) + bytes)) == 0;
}

/* The next datagram, "" if there is none. */
static const char *heard(const struct manager *manager)
{
	static char text[1024];
	ssize_t bytes = recv(manager->fd, text, sizeof text - 1, 0);

	if (bytes < 0)
		CHECK_EQ(errno, EAGAIN);
	text[bytes > 0 ? bytes : 0] = '\0';
	return text;
}

static struct notify *opened(const struct manager *manager)
{
	struct notify *notify;

	setenv("NOTIFY_SOCKET", manager->name, 1);
	CHECK_OK(notify_open(&notify));
	CHECK(notify != NULL);
	return notify;
}

static bool open_both(struct manager *manager, struct notify **notify)
{
	snprintf(manager->name, sizeof manager->name, "%s/notify", test_directory());
	if (!manager_open(manager))
		return false;
	*notify = opened(manager);
	return *notify != NULL;
}

static void close_both(struct manager *manager, struct notify **notify)
{
	close(manager->fd);
	notify_close(notify);
	CHECK(*notify == NULL);
	notify_close(notify);
}

TEST(without_a_service_manager_every_call_does_nothing)
{
	struct notify *notify = (void *)&errno;

	unsetenv("NOTIFY_SOCKET");
	CHECK_OK(notify_open(&notify));
	CHECK(notify == NULL);
	notify_ready(notify);
	notify_stopping(notify);
	notify_status(notify, "%d", 1);
	notify_watchdog(notify);
	CHECK_EQ(notify_watchdog_every(notify), 0);
	notify_close(&notify);
}

TEST(a_service_manager_hears_what_is_said)
{
	struct manager manager;
	struct notify *notify;

	REQUIRE(open_both(&manager, &notify));
	notify_ready(notify);
	CHECK_TEXT(heard(&manager), "READY=1\n");
	notify_status(notify, "%u of %u mailboxes", 12, 2000);
	CHECK_TEXT(heard(&manager), "STATUS=12 of 2000 mailboxes");
	notify_stopping(notify);
	CHECK_TEXT(heard(&manager), "STOPPING=1\n");
	CHECK_TEXT(heard(&manager), "");
	close_both(&manager, &notify);
}

TEST(the_abstract_socket_is_found_too)
{
	struct manager manager;
	struct notify *notify;
	snprintf(manager.name, sizeof manager.name, "@mailhaul-notify-test-%d", (int)getpid());
	REQUIRE(manager_open(&manager));
	notify = opened(&manager);
	REQUIRE(notify != NULL);
	notify_ready(notify);
	CHECK_TEXT(heard(&manager), "READY=1\n");
	close_both(&manager, &notify);
}

TEST(a_status_is_one_line_and_cut)
{
	struct manager manager;
	struct notify *notify;
	char text[1000];

	REQUIRE(open_both(&manager, &notify));
	notify_status(notify, "one\nSTOPPING=1\r\n%s", "\x1b[1m");
	CHECK_TEXT(heard(&manager), "STATUS=one STOPPING=1   [1m");
	memset(text, 'x', sizeof text - 1);
	text[sizeof text - 1] = '\0';
	notify_status(notify, "%s", text);
	CHECK_EQ(strlen(heard(&manager)), 399);
	close_both(&manager, &notify);
}

TEST(a_full_queue_neither_blocks_nor_loses_ready)
{
	struct manager manager;
	struct notify *notify;
	unsigned told = 0;

	REQUIRE(open_both(&manager, &notify));
	for (unsigned i = 0; i < 100000; i++) /* far more than any queue takes */
		notify_status(notify, "%u", i);
	notify_ready(notify);
	notify_stopping(notify);
	while (*heard(&manager))
		told++;
	CHECK(told > 0 && told < 100000);
	notify_status(notify, "after");
	CHECK_TEXT(heard(&manager), "READY=1\nSTOPPING=1\nSTATUS=after");
	notify_status(notify, "later");
	CHECK_TEXT(heard(&manager), "STATUS=later");
	close_both(&manager, &notify);
}

TEST(a_manager_that_went_away_is_no_failure)
{
	struct manager manager;
	struct notify *notify;

	REQUIRE(open_both(&manager, &notify));
	close(manager.fd);
	unlink(manager.name);
	notify_ready(notify);
	REQUIRE(manager_open(&manager));
	CHECK_TEXT(heard(&manager), "");
	notify_status(notify, "back");
	CHECK_TEXT(heard(&manager), "READY=1\nSTATUS=back");
	close_both(&manager, &notify);
}

TEST(the_watchdog_is_fed_when_the_manager_asks)
{
	struct manager manager;
	struct notify *notify;
	char pid[32];

	snprintf(pid, sizeof pid, "%d", (int)getpid());
	setenv("WATCHDOG_USEC", "30000000", 1);
	setenv("WATCHDOG_PID", pid, 1);
	REQUIRE(open_both(&manager, &notify));
	CHECK_EQ(notify_watchdog_every(notify), 15 * NSEC_SECOND);
	notify_watchdog(notify);
	CHECK_TEXT(heard(&manager), "WATCHDOG=1");
	close_both(&manager, &notify);
}

TEST(another_process_s_watchdog_is_left_alone)
{
	struct manager manager;
	struct notify *notify;

	setenv("WATCHDOG_USEC", "30000000", 1);
	setenv("WATCHDOG_PID", "1", 1);
	REQUIRE(open_both(&manager, &notify));
	CHECK_EQ(notify_watchdog_every(notify), 0);
	notify_watchdog(notify);
	CHECK_TEXT(heard(&manager), "");
	close_both(&manager, &notify);
}

TEST(nothing_stays_in_the_environment_for_children)
{
	static const char *const names[] = { "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID" };
	struct notify *notify;

	setenv("NOTIFY_SOCKET", "@somewhere", 1);
	setenv("WATCHDOG_USEC", "1000", 1);
	setenv("WATCHDOG_PID", "1", 1);
	CHECK_OK(notify_open(&notify));
	for (size_t i = 0; i < ARRAY_COUNT(names); i++)
		CHECK(getenv(names[i]) == NULL);
	notify_close(&notify);
}

static void refused(const char *socket_name, const char *usec, const char *pid, const char *part)
{
	struct notify *notify = (void *)&errno;

	setenv("NOTIFY_SOCKET", socket_name, 1);
	if (usec)
		setenv("WATCHDOG_USEC", usec, 1);
	if (pid)
		setenv("WATCHDOG_PID", pid, 1);
	err_note_clear();
	CHECK_ERR(notify_open(&notify), ERR_INPUT_USAGE);
	CHECK(notify == NULL && strstr(err_note()->text, part));
	CHECK(!getenv("NOTIFY_SOCKET") && !getenv("WATCHDOG_USEC") && !getenv("WATCHDOG_PID"));
	err_note_clear();
}

TEST(an_environment_that_makes_no_sense_is_refused_and_cleared)
{
	char name[200];

	refused("", NULL, NULL, "$NOTIFY_SOCKET");
	refused("run/notify", NULL, NULL, "$NOTIFY_SOCKET");
	refused("@", NULL, NULL, "$NOTIFY_SOCKET");
	refused("vsock:2:1234", NULL, NULL, "$NOTIFY_SOCKET");
	memset(name, '/', sizeof name - 1);
	name[sizeof name - 1] = '\0';
	refused(name, NULL, NULL, "$NOTIFY_SOCKET");
	refused("@x", "soon", NULL, "$WATCHDOG_USEC");
	refused("@x", "0", NULL, "$WATCHDOG_USEC");
	refused("@x", "18446744073709551615", NULL, "$WATCHDOG_USEC");
	refused("@x", "1000", "me", "$WATCHDOG_PID");
}
