/* The process's table of directories it writes to. Stores on any thread look here first; only the
 * first one talks to the kernel. Not for: what the lock protects (store_dir.c). */
#include "transport/store_lock.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/clock.h"
#include "engine/fiber.h"
#include "engine/io.h"

enum {
	ROOT_BYTES_MAX = 1100,
	/* A store that was just closed lets the kernel close its file a moment later. */
	TRIES = 4,
};
#define TRY_AGAIN_NS   (20 * NSEC_MILLISECOND)
#define TAKING_POLL_NS (5 * NSEC_MILLISECOND)

struct store_lock {
	char root[ROOT_BYTES_MAX];
	int fd;
	unsigned holders;
	bool ready; /* false: its first holder is still at it */
	struct store_lock *next;
};

static pthread_mutex_t table_mutex = PTHREAD_MUTEX_INITIALIZER;
static struct store_lock *table;

/* The entry of `root`: a new one (*first), one that is ready (counted), or NULL: look again later.
 */
static struct store_lock *table_enter(const char *root, bool *first)
{
	struct store_lock *lock;

	*first = false;
	pthread_mutex_lock(&table_mutex);
	for (lock = table; lock && strcmp(lock->root, root) != 0; lock = lock->next)
		;
	if (!lock && (lock = calloc(1, sizeof *lock))) {
		snprintf(lock->root, sizeof lock->root, "%s", root);
		lock->fd = -1;
		lock->holders = 1;
		lock->next = table;
		table = lock;
		*first = true;
	} else if (lock && lock->ready) {
		lock->holders++;
	} else {
		lock = NULL;
	}
	pthread_mutex_unlock(&table_mutex);
	return lock;
}

void store_lock_ready(struct store_lock *lock)
{
	pthread_mutex_lock(&table_mutex);
	lock->ready = true;
	pthread_mutex_unlock(&table_mutex);
}

void store_lock_release(struct store_lock **lock_at)
{
	struct store_lock *lock = *lock_at, **at = &table;

	*lock_at = NULL;
	if (!lock)
		return;
	pthread_mutex_lock(&table_mutex);
	must(lock->holders > 0);
	if (--lock->holders > 0)
		lock = NULL;
	while (lock && *at != lock)
		at = &(*at)->next;
	if (lock)
		*at = lock->next;
	pthread_mutex_unlock(&table_mutex);
	if (lock)
		io_close(&lock->fd);
	free(lock);
}

static enum err take_from_kernel(struct store_lock *lock, nsec until)
{
	char path[ROOT_BYTES_MAX + 8];
	bool held = false;
	enum err e;

	snprintf(path, sizeof path, "%s/.lock", lock->root);
	if ((e = io_open(path, O_RDWR | O_CREAT, 0600, until, &lock->fd)))
		return e;
	for (int i = 0; i < TRIES && !held; i++) {
		if (i > 0 && (e = fiber_sleep(clock_after(TRY_AGAIN_NS))))
			return e;
		if ((e = io_lock(lock->fd, until, &held)))
			return e;
	}
	return held ? OK
		    : RAISE(ERR_SINK_BUSY, "another process is writing to %s; let it end first",
			    lock->root);
}

enum err store_lock_take(const char *root, nsec until, struct store_lock **out, bool *first)
{
	enum err e;

	must(strlen(root) < ROOT_BYTES_MAX);
	while (!(*out = table_enter(root, first))) {
		if (clock_now() >= until)
			return RAISE(ERR_SINK_BUSY, "waiting for the lock of %s", root);
		if ((e = fiber_sleep(clock_after(TAKING_POLL_NS))))
			return e;
	}
	if (*first && (e = take_from_kernel(*out, until))) {
		store_lock_release(out);
		return e;
	}
	return OK;
}
