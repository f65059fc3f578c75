/* A store in a local directory. Objects are written under a temporary name with O_DIRECT, two buffers
 * in flight, and renamed when they are whole; docs/FORMAT.md section 5 has the order. All system calls
 * go through engine/io.h, so the simulated disk sees every one. */
#include "transport/store.h"

#include <fcntl.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/clock.h"
#include "engine/io.h"
#include "transport/store_lock.h"

enum {
	/* Half a second of a slow disk, and past the knee of fast ones (design figures: O_DIRECT, 1 MiB,
	 * two to four in flight). */
	BUFFER_BYTES = 1024 * 1024,
	BUFFERS_COUNT = 2,
	/* What O_DIRECT wants addresses, offsets and lengths to be multiples of, on any disk we met. */
	BLOCK_BYTES = 4096,
	ROOT_BYTES_MAX = 1024,
	PATH_BYTES_MAX = ROOT_BYTES_MAX + STORE_KEY_BYTES_MAX + 64,
	READERS_COUNT = 2, /* a pack and its index in turn */
};
/* A disk that answers nothing for so long is broken; a full cache's fsync takes long on a slow one. */
#define PATIENCE_NS (300 * NSEC_SECOND)

struct reader {
	char key[STORE_KEY_BYTES_MAX + 1];
	int fd;
	unsigned users; /* fibers reading now: not closed meanwhile */
	uint64_t used_last;
};

struct store_dir {
	struct store base;
	char root[ROOT_BYTES_MAX];
	struct store_lock *lock;
	uint8_t *spare; /* buffers of the last finished put */
	struct reader readers[READERS_COUNT];
	uint64_t reads;
};

struct store_put {
	struct store_dir *dir;
	char key[STORE_KEY_BYTES_MAX + 1];
	char temporary[PATH_BYTES_MAX];
	int fd, fd_refused; /* the second: opened with O_DIRECT, which the file system then refused */
	uint8_t *buffers;
	struct io_write_act acts[BUFFERS_COUNT];
	uint64_t offsets[BUFFERS_COUNT];
	size_t lengths[BUFFERS_COUNT];
	unsigned active;    /* the buffer being filled */
	uint64_t base;      /* its place in the file: a multiple of BLOCK_BYTES */
	size_t fill;
	uint64_t high;      /* end of what was ever written */
	bool sealed;
	uint64_t mark;
	uint8_t mark_tail[BLOCK_BYTES]; /* from the block's start to the mark */
	unsigned orphans;   /* writes in flight of a put that was given up */
};

static struct store_dir *dir_of(struct store *store)
{
	must(store->type == &store_dir);
	return CONTAINER_OF(store, struct store_dir, base);
}

static nsec patience(void)
{
	return clock_after(PATIENCE_NS);
}

static char *path_of(char to[PATH_BYTES_MAX], const struct store_dir *dir, const char *key)
{
	int bytes = snprintf(to, PATH_BYTES_MAX, key[0] ? "%s/%s" : "%s", dir->root, key);

	must(bytes > 0 && bytes < PATH_BYTES_MAX);
	return to;
}

/* An operation on a descriptor does not know its path: say the same with it. */
static enum err named(enum err e, const char *doing, const char *path)
{
	int errno_value = err_note()->errno_value;

	if (e == OK || e == ERR_FIBER_CANCELED)
		return e;
	err_note_clear();
	if (e == ERR_DISK_FULL)
		return RAISE_ERRNO(e, errno_value, "%s %s: make room there and run again", doing, path);
	return RAISE_ERRNO(e, errno_value, "%s %s", doing, path);
}

/* An error that is an answer. */
static enum err unless(enum err e, enum err expected)
{
	if (e != expected)
		return e;
	err_note_clear();
	return OK;
}

/* ---- opening, the lock ---- */

static enum err root_make(struct store_dir *dir, nsec until)
{
	char parent[ROOT_BYTES_MAX];
	char *slash;
	enum err e;

	if ((e = io_mkdir(dir->root, 0700, until)))
		return e == ERR_DISK_ABSENT ?
			       named(e, "the directory above is not there; make it first:", dir->root) : e;
	snprintf(parent, sizeof parent, "%s", dir->root);
	slash = strrchr(parent, '/');
	if (slash == parent)
		slash++;
	if (slash)
		*slash = '\0';
	return io_sync_directory(slash ? parent : ".", until);
}

static enum err root_check(struct store_dir *dir, bool create, nsec until)
{
	struct ring_stat stat;
	enum err e = io_stat(dir->root, until, &stat);

	if (e == ERR_DISK_ABSENT && create) {
		err_note_clear();
		return root_make(dir, until);
	}
	if (!e && !stat.is_directory)
		e = RAISE(ERR_SINK_FOREIGN, "%s is not a directory; choose another place", dir->root);
	return e;
}

static void dir_close(struct store **store_at)
{
	struct store_dir *dir;

	if (!*store_at)
		return;
	dir = dir_of(*store_at);
	for (unsigned i = 0; i < READERS_COUNT; i++)
		io_close(&dir->readers[i].fd);
	store_lock_release(&dir->lock);
	free(dir->spare);
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
	if (bytes == 0 || bytes >= ROOT_BYTES_MAX)
		return RAISE(ERR_INPUT_USAGE, "a path of 1 to %d bytes is needed", ROOT_BYTES_MAX - 1);
	if (!(dir = calloc(1, sizeof *dir)))
		return RAISE(ERR_MEMORY_EXHAUSTED, "opening %s", account->path);
	dir->base.type = &store_dir;
	snprintf(dir->root, sizeof dir->root, "%.*s", (int)bytes, account->path);
	for (unsigned i = 0; i < READERS_COUNT; i++)
		dir->readers[i].fd = -1;
	*out = &dir->base;
	if ((e = root_check(dir, create, until)))
		dir_close(out);
	return e;
}

static enum err temporary_list(struct store_dir *dir, struct buffer *names)
{
	char path[PATH_BYTES_MAX];

	return unless(io_list(path_of(path, dir, ".tmp"), patience(), names), ERR_DISK_ABSENT);
}

static enum err temporary_clear(struct store_dir *dir)
{
	char path[PATH_BYTES_MAX], entry[PATH_BYTES_MAX];
	struct buffer names = { 0 };
	const char *name = NULL;
	enum err e;

	e = unless(io_mkdir(path_of(path, dir, ".tmp"), 0700, patience()), ERR_DISK_EXISTS);
	if (!e)
		e = temporary_list(dir, &names);
	while (!e && store_names_next(&names, &name)) {
		if (strlen(name) >= STORE_KEY_BYTES_MAX)
			continue; /* not one of ours */
		snprintf(entry, sizeof entry, "%s/.tmp/%s", dir->root, name);
		e = unless(io_unlink(entry, patience()), ERR_DISK_ABSENT);
	}
	buffer_free(&names);
	return e;
}

static enum err dir_lock(struct store *store)
{
	struct store_dir *dir = dir_of(store);
	bool first;
	enum err e;

	if (dir->lock)
		return OK;
	if ((e = store_lock_take(dir->root, patience(), &dir->lock, &first)))
		return e;
	if (first && (e = temporary_clear(dir))) {
		store_lock_release(&dir->lock);
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

/* ---- writing ---- */

/* The directories above a key, each durable before something is put into it. */
static enum err directories_make(struct store_dir *dir, const char *key)
{
	char path[PATH_BYTES_MAX], above[PATH_BYTES_MAX];
	size_t bytes = strlen(dir->root);
	enum err e;

	path_of(path, dir, key);
	snprintf(above, sizeof above, "%s", dir->root);
	for (char *slash = path + bytes + 1; (slash = strchr(slash, '/')); slash++) {
		*slash = '\0';
		e = io_mkdir(path, 0700, patience());
		if (!e)
			e = io_sync_directory(above, patience());
		else
			e = unless(e, ERR_DISK_EXISTS);
		if (e)
			return e;
		snprintf(above, sizeof above, "%s", path);
		*slash = '/';
	}
	return OK;
}

/* Some file systems refuse O_DIRECT, with EINVAL, at open or at the first write. */
static bool was_refused(enum err e)
{
	return e == ERR_DISK_IO && err_note()->errno_value == EINVAL;
}

static enum err temporary_open(struct store_put *put)
{
	static _Atomic uint64_t number;
	const char *slash = strrchr(put->key, '/');
	enum err e;

	snprintf(put->temporary, sizeof put->temporary, "%s/.tmp/%llu-%s", put->dir->root,
		 (unsigned long long)atomic_fetch_add(&number, 1), slash ? slash + 1 : put->key);
	e = io_open(put->temporary, O_WRONLY | O_CREAT | O_EXCL | O_DIRECT, 0600, patience(), &put->fd);
	if (!was_refused(e))
		return e;
	err_note_clear();
	return io_open(put->temporary, O_WRONLY | O_CREAT, 0600, patience(), &put->fd);
}

static void put_free(struct store_put *put)
{
	free(put->buffers);
	free(put);
}

/* A write of a put that was given up has ended: the last one takes the memory with it. */
static void orphan_done(struct ring_op *op)
{
	struct store_put *put = op->owner;

	must(put->orphans > 0);
	if (--put->orphans == 0)
		put_free(put);
}

static void dir_put_abort(struct store_put **put_at)
{
	struct store_put *put = *put_at;

	*put_at = NULL;
	if (!put)
		return;
	for (unsigned i = 0; i < BUFFERS_COUNT; i++)
		if (put->acts[i].pending && !put->acts[i].finished) {
			put->acts[i].op.owner = put;
			put->acts[i].op.done = orphan_done;
			put->orphans++;
		}
	io_close(&put->fd);
	io_close(&put->fd_refused);
	if (put->orphans == 0)
		put_free(put);
}

static enum err dir_put_open(struct store *store, const char *key, struct store_put **out)
{
	struct store_dir *dir = dir_of(store);
	struct store_put *put = calloc(1, sizeof *put);
	enum err e;

	must(dir->lock && store_key_is_valid(text_of(key)));
	*out = put;
	if (!put)
		return RAISE(ERR_MEMORY_EXHAUSTED, "writing %s", key);
	put->dir = dir;
	put->fd = put->fd_refused = -1;
	snprintf(put->key, sizeof put->key, "%s", key);
	put->buffers = dir->spare ? dir->spare : aligned_alloc(BLOCK_BYTES, BUFFERS_COUNT * BUFFER_BYTES);
	dir->spare = NULL;
	if (!put->buffers)
		e = RAISE(ERR_MEMORY_EXHAUSTED, "writing %s", key);
	else if (!(e = directories_make(dir, key)))
		e = temporary_open(put);
	if (e)
		dir_put_abort(out);
	return e;
}

static uint8_t *buffer_of(struct store_put *put, unsigned i)
{
	return put->buffers + (size_t)i * BUFFER_BYTES;
}

/* Wait for the write of buffer i; where O_DIRECT is refused, do it again without. */
static enum err put_wait(struct store_put *put, unsigned i)
{
	enum err e = io_write_wait(&put->acts[i], patience());

	if (!was_refused(e))
		return named(e, "writing", put->temporary);
	err_note_clear();
	if (put->fd_refused < 0) {
		put->fd_refused = put->fd;
		put->fd = -1;
		if ((e = io_open(put->temporary, O_WRONLY, 0600, patience(), &put->fd)))
			return e;
	}
	e = io_write(put->fd, buffer_of(put, i), put->lengths[i], put->offsets[i], patience());
	return named(e, "writing", put->temporary);
}

static enum err put_wait_all(struct store_put *put)
{
	enum err e = OK, one;

	for (unsigned i = 0; i < BUFFERS_COUNT; i++)
		if ((one = put_wait(put, i)) && !e)
			e = one;
	return e;
}

/* Send the active buffer on its way, filled up to whole blocks. */
static void put_start(struct store_put *put)
{
	unsigned i = put->active;
	size_t length = round_up(put->fill, BLOCK_BYTES);

	memset(buffer_of(put, i) + put->fill, 0, length - put->fill);
	put->offsets[i] = put->base;
	put->lengths[i] = length;
	put->high = max_u64(put->high, put->base + length);
	io_write_start(&put->acts[i], put->fd, buffer_of(put, i), length, put->base);
}

static void *dir_put_room(struct store_put *put, size_t *bytes)
{
	must(!put->sealed && put->fill < BUFFER_BYTES);
	*bytes = BUFFER_BYTES - put->fill;
	return buffer_of(put, put->active) + put->fill;
}

/* An error here leaves no write in flight, so the put can be given up at once. */
static enum err dir_put_took(struct store_put *put, size_t n)
{
	enum err e;

	must(!put->sealed && n <= BUFFER_BYTES - put->fill);
	put->fill += n;
	if (put->fill < BUFFER_BYTES)
		return OK;
	put_start(put);
	put->base += BUFFER_BYTES;
	put->fill = 0;
	put->active = (put->active + 1) % BUFFERS_COUNT;
	if ((e = put_wait(put, put->active)))
		(void)!put_wait_all(put);
	return e;
}

static enum err dir_put_write(struct store_put *put, const void *from, size_t n)
{
	const uint8_t *at = from;
	size_t room, take;
	void *to;
	enum err e = OK;

	while (n > 0 && !e) {
		to = dir_put_room(put, &room);
		take = min_u64(n, room);
		bytes_copy(to, at, take, BYTES_STORE);
		at += take;
		n -= take;
		e = dir_put_took(put, take);
	}
	return e;
}

static enum err dir_put_mark(struct store_put *put, uint64_t *bytes)
{
	size_t tail = put->fill % BLOCK_BYTES;

	must(!put->sealed);
	put->mark = put->base + put->fill;
	bytes_copy(put->mark_tail, buffer_of(put, put->active) + put->fill - tail, tail, BYTES_META);
	*bytes = put->mark;
	return OK;
}

static enum err dir_put_rewind(struct store_put *put, uint64_t bytes)
{
	size_t tail = bytes % BLOCK_BYTES;
	enum err e;

	must(!put->sealed && bytes == put->mark && bytes <= put->base + put->fill);
	if (bytes >= put->base) {
		put->fill = bytes - put->base;
		return OK;
	}
	if ((e = put_wait_all(put)))
		return e;
	put->base = bytes - tail;
	put->fill = tail;
	bytes_copy(buffer_of(put, put->active), put->mark_tail, tail, BYTES_META);
	return OK;
}

static enum err dir_put_seal(struct store_put *put)
{
	uint64_t length = put->base + put->fill;
	enum err e;

	must(!put->sealed);
	if (put->fill > 0)
		put_start(put);
	e = put_wait_all(put);
	if (!e && put->high != length)
		e = named(io_truncate(put->fd, length, patience()), "cutting", put->temporary);
	if (!e)
		e = named(io_fsync(put->fd, true, patience()), "forcing to disk", put->temporary);
	if (e)
		return e;
	put->sealed = true;
	io_close(&put->fd);
	io_close(&put->fd_refused);
	if (!put->dir->spare) {
		put->dir->spare = put->buffers;
		put->buffers = NULL;
	}
	return OK;
}

static enum err dir_put_publish(struct store_put **put_at)
{
	struct store_put *put = *put_at;
	char path[PATH_BYTES_MAX];
	enum err e;

	must(put->sealed);
	path_of(path, put->dir, put->key);
	if ((e = io_rename(put->temporary, path, false, patience())))
		return e;
	*strrchr(path, '/') = '\0';
	if ((e = io_sync_directory(path, patience())))
		return e;
	if ((e = io_sync_directory(path_of(path, put->dir, ".tmp"), patience())))
		return e;
	dir_put_abort(put_at);
	return OK;
}

/* ---- reading ---- */

static enum err dir_size(struct store *store, const char *key, uint64_t *bytes)
{
	char path[PATH_BYTES_MAX];
	struct ring_stat stat;
	enum err e;

	must(store_key_is_valid(text_of(key)));
	if ((e = io_stat(path_of(path, dir_of(store), key), patience(), &stat)))
		return e;
	if (!stat.is_regular)
		return RAISE(ERR_ARCHIVE_DAMAGED, "%s is not a regular file", path);
	*bytes = stat.size_bytes;
	return OK;
}

/* Opening a pipe that somebody put there would wait for a writer. */
static enum err regular_open(struct store_dir *dir, const char *key, int *fd)
{
	char path[PATH_BYTES_MAX];
	uint64_t bytes;
	enum err e = dir_size(&dir->base, key, &bytes);

	return e ? e : io_open(path_of(path, dir, key), O_RDONLY, 0, patience(), fd);
}

/* An open file for the key; objects never change, so it is kept for the next read. NULL in *out: every
 * place is in use, and *fd is the caller's to close. */
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
	e = named(io_read(fd, to, length, offset, patience(), got), "reading", key);
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
	char path[PATH_BYTES_MAX];
	struct buffer all = { 0 };
	const char *name = NULL;
	enum err e;

	must(!prefix[0] || store_key_is_valid(text_of(prefix)));
	buffer_reset(names);
	e = unless(io_list(path_of(path, dir_of(store), prefix), patience(), &all), ERR_DISK_ABSENT);
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
	.put_write = dir_put_write,
	.put_room = dir_put_room,
	.put_took = dir_put_took,
	.put_mark = dir_put_mark,
	.put_rewind = dir_put_rewind,
	.put_seal = dir_put_seal,
	.put_publish = dir_put_publish,
	.put_abort = dir_put_abort,
	.get = dir_get,
	.size = dir_size,
	.list = dir_list,
	.lock = dir_lock,
	.leftovers = dir_leftovers,
	.close = dir_close,
};
