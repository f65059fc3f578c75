#include "engine/notify.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "engine/bytes.h"
#include "engine/opt.h"

enum { STATUS_BYTES_MAX = 400 };

struct notify {
	int fd;
	struct sockaddr_un address;
	socklen_t address_bytes;
	nsec watchdog_every;
	bool owes_ready, owes_stopping; /* asked for and not delivered yet */
};

/* "/run/systemd/notify", or "@name" for the abstract socket of that name (unix(7)). */
static bool read_address(const char *from, struct notify *notify)
{
	size_t bytes = strlen(from);

	if ((*from != '/' && *from != '@') || bytes < 2 || bytes >= sizeof notify->address.sun_path)
		return false;
	notify->address.sun_family = AF_UNIX;
	bytes_copy(notify->address.sun_path, from, bytes, BYTES_META);
	notify->address_bytes =
		(socklen_t)(offsetof(struct sockaddr_un, sun_path) + bytes + (*from == '/'));
	if (*from == '@')
		notify->address.sun_path[0] = '\0';
	return true;
}

/* sd_watchdog_enabled(3): microseconds in $WATCHDOG_USEC, meant for us if $WATCHDOG_PID is ours or
 * absent. */
static enum err read_watchdog(const char *usec, const char *pid, struct notify *notify)
{
	uint64_t number;

	if (!usec)
		return OK;
	if (pid && !opt_number(pid, &number))
		return RAISE(ERR_INPUT_USAGE, "$WATCHDOG_PID is not a process number");
	if (pid && number != (uint64_t)getpid())
		return OK;
	if (!opt_number(usec, &number) || !number || number > INT64_MAX / NSEC_MICROSECOND)
		return RAISE(ERR_INPUT_USAGE, "$WATCHDOG_USEC is not a number of microseconds");
	notify->watchdog_every = (nsec)number * NSEC_MICROSECOND / 2;
	return OK;
}

static enum err notify_setup(struct notify *notify, const char *path)
{
	enum err e;

	if (!read_address(path, notify))
		return RAISE(ERR_INPUT_USAGE,
			     "$NOTIFY_SOCKET names no socket: expected a path that begins with / "
			     "or @, as systemd sets it; unset it to run without");
	if ((e = read_watchdog(getenv("WATCHDOG_USEC"), getenv("WATCHDOG_PID"), notify)))
		return e;
	notify->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (notify->fd < 0)
		return RAISE_ERRNO(ERR_DISK_IO, errno, "opening a socket to the service manager");
	return OK;
}

enum err notify_open(struct notify **out)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct notify *notify = NULL;
	enum err e = OK;

	if (path) {
		if (!(notify = calloc(1, sizeof *notify)))
			return RAISE(ERR_MEMORY_EXHAUSTED, "reaching the service manager");
		notify->fd = -1;
		if ((e = notify_setup(notify, path)))
			notify_close(&notify);
	}
	*out = notify;
	must(unsetenv("NOTIFY_SOCKET") == 0);
	must(unsetenv("WATCHDOG_USEC") == 0);
	must(unsetenv("WATCHDOG_PID") == 0);
	return e;
}

void notify_close(struct notify **notify)
{
	if (*notify && (*notify)->fd >= 0)
		close((*notify)->fd);
	free(*notify);
	*notify = NULL;
}

/* One datagram holds assignments, one on each line: what is owed, and `line`. The manager being
 * absent or slow is no reason to stop moving mail, so a failure is not told. */
static void say(struct notify *notify, const char *line)
{
	char text[STATUS_BYTES_MAX + 64];
	int bytes = snprintf(text, sizeof text, "%s%s%s", notify->owes_ready ? "READY=1\n" : "",
			     notify->owes_stopping ? "STOPPING=1\n" : "", line);

	must(bytes > 0 && (size_t)bytes < sizeof text);
	if (sendto(notify->fd, text, (size_t)bytes, MSG_DONTWAIT | MSG_NOSIGNAL,
		   (struct sockaddr *)(void *)&notify->address, notify->address_bytes) == bytes)
		notify->owes_ready = notify->owes_stopping = false;
}

void notify_ready(struct notify *notify)
{
	if (!notify)
		return;
	notify->owes_ready = true;
	say(notify, "");
}

void notify_stopping(struct notify *notify)
{
	if (!notify)
		return;
	notify->owes_stopping = true;
	say(notify, "");
}

void notify_status(struct notify *notify, const char *format, ...)
{
	char line[STATUS_BYTES_MAX] = "STATUS=";
	size_t head = strlen(line);
	va_list arguments;

	if (!notify)
		return;
	va_start(arguments, format);
	vsnprintf(line + head, sizeof line - head, format, arguments);
	va_end(arguments);
	for (char *at = line; *at; at++)
		if ((unsigned char)*at < ' ') /* a line break would begin another assignment */
			*at = ' ';
	say(notify, line);
}

void notify_watchdog(struct notify *notify)
{
	if (notify && notify->watchdog_every)
		say(notify, "WATCHDOG=1");
}

nsec notify_watchdog_every(const struct notify *notify)
{
	return notify ? notify->watchdog_every : 0;
}
