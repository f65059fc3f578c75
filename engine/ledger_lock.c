/* The ledger's directory and the lock in it. Not for: what lies beside them. */
#include "engine/ledger_lock.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "engine/clock.h"
#include "engine/fiber.h"
#include "engine/io.h"

enum { LOCK_TEXT_BYTES_MAX = 31, LOOKS = 5 };
#define LOOK_TAKES (10 * NSEC_MILLISECOND)

/* Make one directory, and its name in its parent durable: a ledger that a power cut takes away with
 * its directory would leave a filled target behind. It may be there already. */
static enum err make_directory(char *path, nsec until)
{
	char *slash = strrchr(path, '/');
	enum err e = io_mkdir(path, 0700, until);
	bool existed = e == ERR_DISK_EXISTS;

	if (e && !existed)
		return e;
	err_note_clear();
	if (!slash || slash == path) {
		e = io_sync_directory(slash ? "/" : ".", until);
	} else {
		*slash = '\0';
		e = io_sync_directory(path, until);
		*slash = '/';
	}
	/* One that was there may be the work of a run that was killed before it synced; or of
	 * somebody else, below a directory that we may enter but not read. */
	if (existed && e == ERR_DISK_DENIED) {
		err_note_clear();
		e = OK;
	}
	return e;
}

/* Missing parents too, like mkdir -p. */
static enum err make_directories(char *path, nsec until)
{
	enum err e = OK;
	bool end = false;

	for (char *at = path + 1; !end && !e; at++) {
		end = *at == '\0';
		if ((*at != '/' && !end) || at[-1] == '/')
			continue;
		*at = '\0';
		e = make_directory(path, until);
		if (!end)
			*at = '/';
	}
	return e;
}

static enum err say_busy(const char *directory, int fd, nsec until)
{
	char pid[LOCK_TEXT_BYTES_MAX + 1] = "";
	size_t length = 0;

	if (io_read(fd, pid, LOCK_TEXT_BYTES_MAX, 0, until, &length))
		err_note_clear();
	pid[strspn(pid, "0123456789")] = '\0';
	return RAISE(ERR_LEDGER_BUSY,
		     "another run, process %s, holds the ledger in %s; wait until it has ended,"
		     " or end it (kill %s), and run again",
		     pid[0] ? pid : "unknown", directory, pid[0] ? pid : "PID");
}

/* `mailhaul status` holds it for an instant, to see whether a run does. */
static enum err take(int fd, nsec until, bool *held)
{
	enum err e = io_lock(fd, until, held);

	for (unsigned i = 0; i < LOOKS && !e && !*held; i++)
		if ((e = fiber_sleep(clock_after(LOOK_TAKES))) == OK)
			e = io_lock(fd, until, held);
	return e;
}

enum err ledger_lock(char *directory, const char *path, nsec until, int *fd)
{
	char pid[LOCK_TEXT_BYTES_MAX + 1];
	bool held = false;
	enum err e;

	if ((e = make_directories(directory, until)) ||
	    (e = io_open(path, O_RDWR | O_CREAT, 0600, until, fd)) || (e = take(*fd, until, &held)))
		return e;
	if (!held)
		return say_busy(directory, *fd, until);
	snprintf(pid, sizeof pid, "%ld\n", (long)getpid());
	if ((e = io_truncate(*fd, 0, until)))
		return e;
	return io_write(*fd, pid, strlen(pid), 0, until);
}
