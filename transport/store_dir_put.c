/* Objects are written under a temporary name with O_DIRECT, two buffers in flight, and renamed when
 * they are whole; docs/FORMAT.md section 5 has the order. */
#include "transport/store_dir_put.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/budget.h"
#include "engine/clock.h"
#include "engine/io.h"
#include "engine/io_call.h"
#include "engine/limits.h"

enum {
	/* The budget's put_bytes each, touched only as far as the object is long. */
	BUFFERS_COUNT = WRITE_BUFFERS,
	/* What O_DIRECT wants addresses, offsets and lengths to be multiples of, on any disk we
	   met. */
	BLOCK_BYTES = 4096,
};
/* A disk that answers nothing for so long is broken; a full cache's fsync takes long on a slow one.
 */
#define PATIENCE_NS (300 * NSEC_SECOND)

struct store_put {
	struct store_dir_place *place;
	char key[STORE_KEY_BYTES_MAX + 1];
	char temporary[STORE_DIR_PATH_BYTES_MAX];
	bool created;	    /* something lies under the temporary name */
	int fd, fd_refused; /* the second: opened with O_DIRECT, which the file system then refused
			     */
	uint8_t *buffers;
	struct io_write_act acts[BUFFERS_COUNT];
	uint64_t offsets[BUFFERS_COUNT];
	size_t lengths[BUFFERS_COUNT];
	unsigned active; /* the buffer being filled */
	uint64_t base;	 /* its place in the file: a multiple of BLOCK_BYTES */
	size_t fill;
	uint64_t high; /* end of what was ever written */
	bool sealed;
	uint64_t mark;
	uint8_t mark_tail[BLOCK_BYTES]; /* from the block's start to the mark */
	unsigned orphans;		/* writes in flight of a put that was given up */
};

nsec store_dir_patience(void)
{
	return clock_after(PATIENCE_NS);
}

char *store_dir_path(char to[STORE_DIR_PATH_BYTES_MAX], const struct store_dir_place *place,
		     const char *key)
{
	int bytes =
		snprintf(to, STORE_DIR_PATH_BYTES_MAX, key[0] ? "%s/%s" : "%s", place->root, key);

	must(bytes > 0 && bytes < STORE_DIR_PATH_BYTES_MAX);
	return to;
}

enum err store_dir_named(enum err e, const char *doing, const char *path)
{
	int errno_value = err_note()->errno_value;

	if (e == OK || e == ERR_FIBER_CANCELED)
		return e;
	err_note_clear();
	if (e == ERR_DISK_FULL)
		return RAISE_ERRNO(e, errno_value, "%s %s: make room there and run again", doing,
				   path);
	return RAISE_ERRNO(e, errno_value, "%s %s", doing, path);
}

enum err store_dir_unless(enum err e, enum err expected)
{
	if (e != expected)
		return e;
	err_note_clear();
	return OK;
}

/* ---- beginning and giving up ---- */

/* The directories above a key, each durable before something is put into it. */
static enum err directories_make(struct store_dir_place *place, const char *key)
{
	char path[STORE_DIR_PATH_BYTES_MAX], above[STORE_DIR_PATH_BYTES_MAX];
	size_t bytes = strlen(place->root);
	enum err e;

	store_dir_path(path, place, key);
	snprintf(above, sizeof above, "%s", place->root);
	for (char *slash = path + bytes + 1; (slash = strchr(slash, '/')); slash++) {
		*slash = '\0';
		e = io_mkdir(path, 0700, store_dir_patience());
		if (!e)
			e = io_sync_directory(above, store_dir_patience());
		else
			e = store_dir_unless(e, ERR_DISK_EXISTS);
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

/* The names of two processes never meet: the last unlink of one may come when the next one has the
 * lock already. */
static enum err temporary_open(struct store_put *put)
{
	const char *slash = strrchr(put->key, '/');
	uint64_t number;
	enum err e;

	clock_random(&number, sizeof number);
	snprintf(put->temporary, sizeof put->temporary, "%s/.tmp/%016llx-%s", put->place->root,
		 (unsigned long long)number, slash ? slash + 1 : put->key);
	put->created = true;
	e = io_open(put->temporary, O_WRONLY | O_CREAT | O_EXCL | O_DIRECT, 0600,
		    store_dir_patience(), &put->fd);
	if (!was_refused(e))
		return e;
	err_note_clear();
	return io_open(put->temporary, O_WRONLY | O_CREAT, 0600, store_dir_patience(), &put->fd);
}

uint8_t *store_dir_buffers_open(void)
{
	uint8_t *buffers = aligned_alloc(BLOCK_BYTES, BUFFERS_COUNT * budget()->put_bytes);

	if (buffers)
		budget_take(BUDGET_WRITES, BUFFERS_COUNT * budget()->put_bytes);
	return buffers;
}

void store_dir_buffers_close(uint8_t **buffers)
{
	if (*buffers)
		budget_give(BUDGET_WRITES, BUFFERS_COUNT * budget()->put_bytes);
	free(*buffers);
	*buffers = NULL;
}

static void put_free(struct store_put *put)
{
	store_dir_buffers_close(&put->buffers);
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

void store_dir_put_abort(struct store_put **put_at)
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
	/* A long night of failing mailboxes must not fill the disk. */
	if (put->created)
		io_detach(RING_UNLINK, -1, put->temporary);
	if (put->orphans == 0)
		put_free(put);
}

enum err store_dir_put_open(struct store_dir_place *place, const char *key, struct store_put **out)
{
	struct store_put *put = calloc(1, sizeof *put);
	enum err e;

	must(store_key_is_valid(text_of(key)));
	*out = put;
	if (!put)
		return RAISE(ERR_MEMORY_EXHAUSTED, "writing %s", key);
	put->place = place;
	put->fd = put->fd_refused = -1;
	snprintf(put->key, sizeof put->key, "%s", key);
	put->buffers = place->spare ? place->spare : store_dir_buffers_open();
	place->spare = NULL;
	if (!put->buffers)
		e = RAISE(ERR_MEMORY_EXHAUSTED, "writing %s", key);
	else if (!(e = directories_make(place, key)))
		e = temporary_open(put);
	if (e)
		store_dir_put_abort(out);
	return e;
}

static uint8_t *buffer_of(struct store_put *put, unsigned i)
{
	return put->buffers + i * budget()->put_bytes;
}

/* Wait for the write of buffer i; where O_DIRECT is refused, do it again without. */
static enum err put_wait(struct store_put *put, unsigned i)
{
	enum err e = io_write_wait(&put->acts[i], store_dir_patience());

	if (!was_refused(e))
		return store_dir_named(e, "writing", put->temporary);
	err_note_clear();
	if (put->fd_refused < 0) {
		put->fd_refused = put->fd;
		put->fd = -1;
		if ((e = io_open(put->temporary, O_WRONLY, 0600, store_dir_patience(), &put->fd)))
			return e;
	}
	e = io_write(put->fd, buffer_of(put, i), put->lengths[i], put->offsets[i],
		     store_dir_patience());
	return store_dir_named(e, "writing", put->temporary);
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

void *store_dir_put_room(struct store_put *put, size_t *bytes)
{
	must(!put->sealed && put->fill < budget()->put_bytes);
	*bytes = budget()->put_bytes - put->fill;
	return buffer_of(put, put->active) + put->fill;
}

/* An error here leaves no write in flight, so the put can be given up at once. */
enum err store_dir_put_took(struct store_put *put, size_t n)
{
	enum err e;

	must(!put->sealed && n <= budget()->put_bytes - put->fill);
	put->fill += n;
	if (put->fill < budget()->put_bytes)
		return OK;
	put_start(put);
	put->base += put->fill;
	put->fill = 0;
	put->active = (put->active + 1) % BUFFERS_COUNT;
	if ((e = put_wait(put, put->active)))
		(void)!put_wait_all(put);
	return e;
}

enum err store_dir_put_write(struct store_put *put, const void *from, size_t n)
{
	const uint8_t *at = from;
	size_t room, take;
	void *to;
	enum err e = OK;

	while (n > 0 && !e) {
		to = store_dir_put_room(put, &room);
		take = min_u64(n, room);
		bytes_copy(to, at, take, BYTES_STORE);
		at += take;
		n -= take;
		e = store_dir_put_took(put, take);
	}
	return e;
}

enum err store_dir_put_mark(struct store_put *put, uint64_t *bytes)
{
	size_t tail = put->fill % BLOCK_BYTES;

	must(!put->sealed);
	put->mark = put->base + put->fill;
	bytes_copy(put->mark_tail, buffer_of(put, put->active) + put->fill - tail, tail,
		   BYTES_META);
	*bytes = put->mark;
	return OK;
}

enum err store_dir_put_rewind(struct store_put *put, uint64_t bytes)
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

enum err store_dir_put_seal(struct store_put *put)
{
	uint64_t length = put->base + put->fill;
	enum err e;

	must(!put->sealed);
	if (put->fill > 0)
		put_start(put);
	e = put_wait_all(put);
	if (!e && put->high != length)
		e = store_dir_named(io_truncate(put->fd, length, store_dir_patience()), "cutting",
				    put->temporary);
	if (!e)
		e = store_dir_named(io_fsync(put->fd, true, store_dir_patience()),
				    "forcing to disk", put->temporary);
	if (e)
		return e;
	put->sealed = true;
	io_close(&put->fd);
	io_close(&put->fd_refused);
	if (put->place->spare) {
		store_dir_buffers_close(&put->buffers);
	} else {
		put->place->spare = put->buffers;
		put->buffers = NULL;
	}
	return OK;
}

enum err store_dir_put_publish(struct store_put **put_at)
{
	struct store_put *put = *put_at;
	char path[STORE_DIR_PATH_BYTES_MAX];
	enum err e;

	must(put->sealed);
	store_dir_path(path, put->place, put->key);
	if ((e = io_rename(put->temporary, path, false, store_dir_patience())))
		return e;
	put->created = false;
	*strrchr(path, '/') = '\0';
	if ((e = io_sync_directory(path, store_dir_patience())))
		return e;
	if ((e = io_sync_directory(store_dir_path(path, put->place, ".tmp"), store_dir_patience())))
		return e;
	store_dir_put_abort(put_at);
	return OK;
}
