/* A store in a local directory: its root, its lock, reading. Writing is store_dir_put.c. All system
 * calls go through engine/io.h, so the simulated disk sees every one. */
#include "transport/store.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/clock.h"
#include "engine/fiber.h"
#include "engine/io.h"
#include "transport/store_dir_put.h"
#include "transport/store_lock.h"

enum {
	READERS_COUNT = 2, /* a pack and its index in turn */
	/* A store that was just closed lets the kernel close its file a moment later. */
	LOCK_TRIES = 4,
};
#define LOCK_AGAIN_NS (20 * NSEC_MILLISECOND)

struct reader {
	char key[STORE_KEY_BYTES_MAX + 1];
	int fd;
	unsigned users; /* fibers reading now: not closed meanwhile */
	uint64_t used_last;
};

struct store_dir {
	struct store base;
	struct store_dir_place place;
	struct store_lock *lock;
	struct reader readers[READERS_COUNT];
	uint64_t reads;
};

static struct store_dir *dir_of(struct store *store)
{
	must(store->type == &store_dir);
	return CONTAINER_OF(store, struct store_dir, base);
}

/* ---- opening, the lock ---- */

/* The root's own name lasts. */
static enum err root_sync(struct store_dir *dir, nsec until)
{
	char parent[STORE_DIR_ROOT_BYTES_MAX];
	char *slash;

	snprintf(parent, sizeof parent, "%s", dir->place.root);
	slash = strrchr(parent, '/');
	if (slash == parent)
		slash++;
	if (slash)
		*slash = '\0';
	return io_sync_directory(slash ? parent : ".", until);
}

static enum err root_make(struct store_dir *dir, nsec until)
{
	enum err e;

	/* Another lane may have made it meanwhile. */
	if ((e = store_dir_unless(io_mkdir(dir->place.root, 0700, until), ERR_DISK_EXISTS)))
		return e == ERR_DISK_ABSENT
			       ? store_dir_named(e,
						 "the directory above is not there; make it first:",
						 dir->place.root)
			       : e;
	return root_sync(dir, until);
}

static enum err root_check(struct store_dir *dir, bool create, nsec until)
{
	struct ring_stat stat;
	enum err e = io_stat(dir->place.root, until, &stat);

	if (e == ERR_DISK_ABSENT && create) {
		err_note_clear();
		return root_make(dir, until);
	}
	if (!e && !stat.is_directory)
		e = RAISE(ERR_SINK_FOREIGN, "%s is not a directory; choose another place",
			  dir->place.root);
	return e;
}

/* A store in the same process shares it, and the kernel's lock belongs to the process. */
static void lock_release(struct store_dir *dir)
{
	union store_lock_held held;

	if (store_lock_leave(&dir->lock, &held))
		io_close(&held.fd);
}

static void dir_close(struct store **store_at)
{
	struct store_dir *dir;

	if (!*store_at)
		return;
	dir = dir_of(*store_at);
	for (unsigned i = 0; i < READERS_COUNT; i++)
		io_close(&dir->readers[i].fd);
	lock_release(dir);
	store_dir_buffers_close(&dir->place.spare);
	free(dir);
	*store_at = NULL;
}

static enum err dir_open(struct store **out, const struct account *account, bool create, nsec until)
{
	struct store_dir *dir;
	size_t bytes = strlen(account->path);
	enum err e;

	*out = NULL;
	while (bytes > 1 && account->path[bytes - 1] == '/')
		bytes--;
	if (bytes == 0 || bytes >= STORE_DIR_ROOT_BYTES_MAX)
		return RAISE(ERR_INPUT_USAGE, "a path of 1 to %d bytes is needed",
			     STORE_DIR_ROOT_BYTES_MAX - 1);
	if (!(dir = calloc(1, sizeof *dir)))
		return RAISE(ERR_MEMORY_EXHAUSTED, "opening %s", account->path);
	dir->base.type = &store_dir;
	snprintf(dir->place.root, sizeof dir->place.root, "%.*s", (int)bytes, account->path);
	for (unsigned i = 0; i < READERS_COUNT; i++)
		dir->readers[i].fd = -1;
	*out = &dir->base;
	if ((e = root_check(dir, create, until)))
		dir_close(out);
	return e;
}

static enum err temporary_list(struct store_dir *dir, struct buffer *names)
{
	char path[STORE_DIR_PATH_BYTES_MAX];

	return store_dir_unless(
		io_list(store_dir_path(path, &dir->place, ".tmp"), store_dir_patience(), names),
		ERR_DISK_ABSENT);
}

static enum err temporary_clear(struct store_dir *dir)
{
	char path[STORE_DIR_PATH_BYTES_MAX], entry[STORE_DIR_PATH_BYTES_MAX];
	struct buffer names = { 0 };
	const char *name = NULL;
	enum err e;

	e = store_dir_unless(
		io_mkdir(store_dir_path(path, &dir->place, ".tmp"), 0700, store_dir_patience()),
		ERR_DISK_EXISTS);
	if (!e)
		e = temporary_list(dir, &names);
	while (!e && store_names_next(&names, &name)) {
		if (strlen(name) >= STORE_KEY_BYTES_MAX)
			continue; /* not one of ours */
		snprintf(entry, sizeof entry, "%s/.tmp/%s", dir->place.root, name);
		e = store_dir_unless(io_unlink(entry, store_dir_patience()), ERR_DISK_ABSENT);
	}
	buffer_free(&names);
	return e;
}

/* The directories directly below a prefix: objects of what is settled lie no deeper. */
static enum err below_sync(struct store_dir *dir, const char *prefix)
{
	char path[STORE_DIR_PATH_BYTES_MAX], below[STORE_DIR_PATH_BYTES_MAX];
	struct buffer names = { 0 };
	struct ring_stat stat = { 0 };
	const char *name = NULL;
	enum err e =
		io_list(store_dir_path(path, &dir->place, prefix), store_dir_patience(), &names);

	while (!e && store_names_next(&names, &name)) {
		if (snprintf(below, sizeof below, "%s/%s", path, name) >= (int)sizeof below)
			continue; /* not one of ours */
		e = store_dir_unless(io_stat(below, store_dir_patience(), &stat), ERR_DISK_ABSENT);
		if (!e && stat.is_directory)
			e = io_sync_directory(below, store_dir_patience());
	}
	buffer_free(&names);
	return e;
}

/* A run that was killed, or a lane of this one that failed between making a name visible and
 * syncing its directory, may have left names that are seen now and gone after a power cut. */
static enum err dir_settle(struct store *store, const char *prefix)
{
	struct store_dir *dir = dir_of(store);
	char path[STORE_DIR_PATH_BYTES_MAX];
	enum err e;

	must(dir->lock != NULL && store_key_is_valid(text_of(prefix)));
	e = io_sync_directory(store_dir_path(path, &dir->place, prefix), store_dir_patience());
	if (e == ERR_DISK_ABSENT)
		return store_dir_unless(e, ERR_DISK_ABSENT);
	if (e || (e = io_sync_directory(dir->place.root, store_dir_patience())))
		return e;
	return below_sync(dir, prefix);
}

/* The root's name and those in it. The directory above may be one that we may enter but not read.
 */
static enum err root_make_durable(struct store_dir *dir)
{
	enum err e = store_dir_unless(root_sync(dir, store_dir_patience()), ERR_DISK_DENIED);

	return e ? e : io_sync_directory(dir->place.root, store_dir_patience());
}

/* Against other processes. */
static enum err lock_take(struct store_dir *dir, int *fd)
{
	char path[STORE_DIR_PATH_BYTES_MAX];
	nsec until = store_dir_patience();
	bool held = false;
	enum err e;

	*fd = -1;
	if ((e = io_open(store_dir_path(path, &dir->place, ".lock"), O_RDWR | O_CREAT, 0600, until,
			 fd)))
		return e;
	for (int i = 0; i < LOCK_TRIES && !held; i++) {
		if (i > 0 && (e = fiber_sleep(clock_after(LOCK_AGAIN_NS))))
			return e;
		if ((e = io_lock(*fd, until, &held)))
			return e;
	}
	return held ? OK
		    : RAISE(ERR_SINK_BUSY, "another process is writing to %s; let it end first",
			    dir->place.root);
}

static enum err dir_lock(struct store *store)
{
	struct store_dir *dir = dir_of(store);
	bool first;
	enum err e;

	if (dir->lock)
		return OK;
	if ((e = store_lock_enter(dir->place.root, store_dir_patience(), &dir->lock, &first)))
		return e;
	if (first && ((e = lock_take(dir, &store_lock_held(dir->lock)->fd)) ||
		      (e = temporary_clear(dir)) || (e = root_make_durable(dir)))) {
		lock_release(dir);
		return e;
	}
	store_lock_ready(dir->lock);
	return OK;
}

static enum err dir_leftovers(struct store *store, uint64_t *count)
{
	struct buffer names = { 0 };
	const char *name = NULL;
	enum err e = temporary_list(dir_of(store), &names);

	*count = 0;
	while (!e && store_names_next(&names, &name))
		++*count;
	buffer_free(&names);
	return e;
}

static enum err dir_put_open(struct store *store, const char *key, struct store_put **out)
{
	struct store_dir *dir = dir_of(store);

	must(dir->lock != NULL);
	return store_dir_put_open(&dir->place, key, out);
}

/* ---- reading ---- */

static enum err dir_size(struct store *store, const char *key, uint64_t *bytes)
{
	char path[STORE_DIR_PATH_BYTES_MAX];
	struct ring_stat stat;
	enum err e;

	must(store_key_is_valid(text_of(key)));
	if ((e = io_stat(store_dir_path(path, &dir_of(store)->place, key), store_dir_patience(),
			 &stat)))
		return e;
	if (!stat.is_regular)
		return RAISE(ERR_ARCHIVE_DAMAGED, "%s is not a regular file", path);
	*bytes = stat.size_bytes;
	return OK;
}

/* Opening a pipe that somebody put there would wait for a writer. */
static enum err regular_open(struct store_dir *dir, const char *key, int *fd)
{
	char path[STORE_DIR_PATH_BYTES_MAX];
	uint64_t bytes;
	enum err e = dir_size(&dir->base, key, &bytes);

	return e ? e
		 : io_open(store_dir_path(path, &dir->place, key), O_RDONLY, 0,
			   store_dir_patience(), fd);
}

/* An open file for the key; objects never change, so it is kept for the next read. NULL in *out:
 * every place is in use, and *fd is the caller's to close. */
static enum err reader_open(struct store_dir *dir, const char *key, struct reader **out, int *fd)
{
	struct reader *oldest = NULL;
	enum err e;

	*out = NULL;
	for (struct reader *at = dir->readers; at < dir->readers + READERS_COUNT; at++) {
		if (at->fd >= 0 && strcmp(at->key, key) == 0) {
			*out = at;
			*fd = at->fd;
			return OK;
		}
		if (at->users == 0 && (!oldest || at->used_last < oldest->used_last))
			oldest = at;
	}
	if (oldest)
		oldest->users++; /* kept while we suspend */
	e = regular_open(dir, key, fd);
	if (oldest)
		oldest->users--;
	if (e || !oldest)
		return e;
	io_close(&oldest->fd);
	oldest->fd = *fd;
	snprintf(oldest->key, sizeof oldest->key, "%s", key);
	*out = oldest;
	return OK;
}

static enum err dir_get(struct store *store, const char *key, uint64_t offset, void *to,
			size_t length, size_t *got)
{
	struct store_dir *dir = dir_of(store);
	struct reader *reader;
	int fd = -1;
	enum err e;

	must(store_key_is_valid(text_of(key)));
	*got = 0;
	if ((e = reader_open(dir, key, &reader, &fd)))
		return e;
	if (reader) {
		reader->users++;
		reader->used_last = ++dir->reads;
	}
	e = store_dir_named(io_read(fd, to, length, offset, store_dir_patience(), got), "reading",
			    key);
	if (reader)
		reader->users--;
	else
		io_close(&fd);
	return e;
}

static bool is_own_name(const char *prefix, const char *name)
{
	return !prefix[0] && (strcmp(name, ".tmp") == 0 || strcmp(name, ".lock") == 0);
}

static enum err dir_list(struct store *store, const char *prefix, struct buffer *names)
{
	char path[STORE_DIR_PATH_BYTES_MAX];
	struct buffer all = { 0 };
	const char *name = NULL;
	enum err e;

	must(!prefix[0] || store_key_is_valid(text_of(prefix)));
	buffer_reset(names);
	e = store_dir_unless(io_list(store_dir_path(path, &dir_of(store)->place, prefix),
				     store_dir_patience(), &all),
			     ERR_DISK_ABSENT);
	while (!e && store_names_next(&all, &name))
		if (!is_own_name(prefix, name))
			buffer_add(names, name, strlen(name) + 1);
	if (all.failed || names->failed)
		e = RAISE(ERR_MEMORY_EXHAUSTED, "listing %s", path);
	buffer_free(&all);
	return e;
}

const struct store_driver store_dir = {
	.scheme = "file",
	.open = dir_open,
	.put_open = dir_put_open,
	.put_write = store_dir_put_write,
	.put_room = store_dir_put_room,
	.put_took = store_dir_put_took,
	.put_mark = store_dir_put_mark,
	.put_rewind = store_dir_put_rewind,
	.put_seal = store_dir_put_seal,
	.put_publish = store_dir_put_publish,
	.put_abort = store_dir_put_abort,
	.get = dir_get,
	.size = dir_size,
	.list = dir_list,
	.lock = dir_lock,
	.settle = dir_settle,
	.leftovers = dir_leftovers,
	.close = dir_close,
};
