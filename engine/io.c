/* io.h, files: one kernel operation of ring.h as one suspending call. Sockets are in io_socket.c.
 * Not for: which operation when (callers), how the kernel is asked (ring_uring.c, or
 * tests/sim/ring_sim.c in its place). */
#include "engine/io.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/bytes.h"
#include "engine/clock.h"
#include "engine/io_call.h"

enum {
	/* Direct writes must start and end on a device block; none is larger than this. */
	BLOCK_BYTES = 4096,
	READ_PIECE_BYTES = 64 * 1024,
	NAMELESS_PATH_BYTES = 1200,
};

/* A descriptor as a person knows it; asked of the kernel only when something went wrong. */
static const char *fd_place(int fd, char place[IO_PLACE_BYTES])
{
	char link[64];
	ssize_t bytes;

	snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	bytes = readlink(link, place, IO_PLACE_BYTES - 1);
	if (bytes <= 0)
		bytes = snprintf(place, IO_PLACE_BYTES, "file descriptor %d", fd);
	place[bytes] = '\0';
	return place;
}

/* What a file operation came to. `doing` reads like "opening". */
static enum err file_judge(enum err e, int32_t result, const char *doing, const char *place)
{
	if (e == ERR_FIBER_TIMEOUT)
		return RAISE(ERR_DISK_IO, "%s %s did not finish in time", doing, place);
	if (e)
		return e;
	if (result < 0)
		return RAISE_ERRNO(err_of_file_errno(-result), -result, "%s %s", doing, place);
	return OK;
}

static enum err path_call(struct io_call *call, nsec until, const char *doing)
{
	enum err e = io_call_run(call, until);

	return file_judge(e, call->op.result, doing, call->op.path);
}

static enum err fd_call(struct io_call *call, nsec until, const char *doing)
{
	char place[IO_PLACE_BYTES];
	enum err e = io_call_run(call, until);

	if (e == OK && call->op.result >= 0)
		return OK;
	return file_judge(e, call->op.result, doing, fd_place(call->op.fd, place));
}

enum err io_open(const char *path, int flags, uint32_t mode, nsec until, int *fd)
{
	struct io_call call = { .op = { .verb = RING_OPENAT, .path = path, .mode = mode } };
	enum err e;

	*fd = -1;
	call.op.flags = flags | O_CLOEXEC;
	e = path_call(&call, until, flags & O_CREAT ? "creating" : "opening");
	if (call.op.result >= 0)
		*fd = call.op.result;
	if (e)
		io_close(fd);
	return e;
}

static bool knows_no_nameless(int errno_value)
{
	return errno_value == EOPNOTSUPP || errno_value == EISDIR || errno_value == ENOSYS ||
	       errno_value == EINVAL;
}

/* Made under a name that nobody has, which is taken away at once. */
static enum err open_and_unlink(const char *directory, nsec until, int *fd)
{
	char path[NAMELESS_PATH_BYTES];
	uint64_t random;
	enum err e;

	clock_random(&random, sizeof random);
	if (snprintf(path, sizeof path, "%s/" IO_NAMELESS_PREFIX "%016llx", directory,
		     (unsigned long long)random) >= (int)sizeof path)
		return RAISE(ERR_DISK_IO, "the path %.200s... is too long", directory);
	if ((e = io_open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0600, until, fd)))
		return e;
	if ((e = io_unlink(path, until)))
		io_close(fd);
	return e;
}

enum err io_open_nameless(const char *directory, nsec until, int *fd)
{
	enum err e = io_open(directory, O_TMPFILE | O_RDWR, 0600, until, fd);

	if (!e || !knows_no_nameless(err_note()->errno_value))
		return e;
	err_note_clear();
	return open_and_unlink(directory, until, fd);
}

void io_close(int *fd)
{
	if (*fd >= 0)
		io_detach(RING_CLOSE, *fd, "");
	*fd = -1;
}

/* One read. offset -1: where the file stands, for pipes. */
static enum err read_some(int fd, void *to, size_t length, int64_t offset, nsec until, size_t *got)
{
	struct io_call call = {
		.op = { .verb = RING_READ, .fd = fd, .data = to, .offset = offset }
	};
	enum err e;

	call.op.length = (uint32_t)min_u64(length, IO_TRANSFER_BYTES_MAX);
	e = fd_call(&call, until, "reading");
	*got = e ? 0 : (size_t)call.op.result;
	must(*got <= length);
	return e;
}

enum err io_read(int fd, void *to, size_t length, uint64_t offset, nsec until, size_t *got)
{
	size_t some;
	enum err e;

	for (*got = 0; *got < length; *got += some) {
		e = read_some(fd, (uint8_t *)to + *got, length - *got, (int64_t)(offset + *got),
			      until, &some);
		if (e)
			return e;
		if (some == 0)
			break;
	}
	return OK;
}

enum err io_write(int fd, const void *from, size_t length, uint64_t offset, nsec until)
{
	struct io_write_act act = { 0 };

	io_write_start(&act, fd, from, length, offset);
	return io_write_wait(&act, until);
}

static void write_done(struct ring_op *op)
{
	struct io_write_act *act = op->owner;

	act->finished = true;
	wake_all(&act->waiters);
}

static void write_submit(struct io_write_act *act, int fd)
{
	act->op = (struct ring_op){ .verb = RING_WRITE,
				    .fd = fd,
				    .offset = (int64_t)act->offset,
				    .done = write_done,
				    .owner = act };
	act->op.length = (uint32_t)min_u64(act->left, IO_TRANSFER_BYTES_MAX);
	act->op.data = (void *)(uintptr_t)act->from; /* the kernel reads it only */
	act->finished = false;
	ring_submit(scheduler_ring(), &act->op);
}

void io_write_start(struct io_write_act *act, int fd, const void *from, size_t length,
		    uint64_t offset)
{
	must(!act->pending && scheduler_ring() != NULL);
	act->from = from;
	act->left = length;
	act->offset = offset;
	act->pending = length > 0;
	if (act->pending)
		write_submit(act, fd);
}

/* How far a short write brings us. What began on a block border goes on at one if it can, since the
 * file may be open for direct writing; the bytes behind that border are written once more. */
static size_t write_progress(const struct io_write_act *act, size_t moved)
{
	bool on_border = ((uintptr_t)act->from | act->offset) % BLOCK_BYTES == 0;

	must(moved <= act->left);
	if (moved == act->left || !on_border || moved < BLOCK_BYTES)
		return moved;
	return moved - moved % BLOCK_BYTES;
}

enum err io_write_wait(struct io_write_act *act, nsec until)
{
	int fd = act->op.fd, stalls = 0;
	char place[IO_PLACE_BYTES];
	enum err e = OK;

	while (act->pending && e == OK) {
		size_t progress;

		e = io_wait_finished(&act->op, &act->waiters, &act->finished, until);
		if (e || act->op.result < 0)
			e = file_judge(e, act->op.result, "writing", fd_place(fd, place));
		act->pending = false;
		if (e)
			break;
		progress = write_progress(act, (size_t)act->op.result);
		stalls = progress ? 0 : stalls + 1;
		act->from += progress;
		act->offset += progress;
		act->left -= progress;
		if (stalls > 2)
			e = RAISE(ERR_DISK_IO, "writing %s stopped %zu bytes before the end",
				  fd_place(fd, place), act->left);
		act->pending = e == OK && act->left > 0;
		if (act->pending)
			write_submit(act, fd);
	}
	return e;
}

enum err io_fsync(int fd, bool data_only, nsec until)
{
	struct io_call call = { .op = { .verb = RING_FSYNC, .fd = fd } };

	call.op.flags = data_only ? RING_DATA_ONLY : 0;
	return fd_call(&call, until, "syncing");
}

enum err io_truncate(int fd, uint64_t length, nsec until)
{
	struct io_call call = {
		.op = { .verb = RING_TRUNCATE, .fd = fd, .offset = (int64_t)length }
	};

	return fd_call(&call, until, "setting the length of");
}

enum err io_rename(const char *from, const char *to, bool replace, nsec until)
{
	struct io_call call = { .op = { .verb = RING_RENAME, .path = from, .path2 = to } };
	char doing[IO_PLACE_BYTES + 32];

	call.op.flags = replace ? 0 : RENAME_NOREPLACE;
	snprintf(doing, sizeof doing, "renaming to %.*s", IO_PLACE_BYTES, to);
	return path_call(&call, until, doing);
}

enum err io_unlink(const char *path, nsec until)
{
	struct io_call call = { .op = { .verb = RING_UNLINK, .path = path } };

	return path_call(&call, until, "removing");
}

enum err io_mkdir(const char *path, uint32_t mode, nsec until)
{
	struct io_call call = { .op = { .verb = RING_MKDIR, .path = path, .mode = mode } };

	return path_call(&call, until, "making directory");
}

enum err io_stat(const char *path, nsec until, struct ring_stat *stat)
{
	struct io_call call = { .op = { .verb = RING_STAT, .path = path, .stat = stat } };

	return path_call(&call, until, "looking at");
}

enum err io_lock(int fd, nsec until, bool *held)
{
	struct io_call call = { .op = { .verb = RING_LOCK, .fd = fd } };
	char place[IO_PLACE_BYTES];
	enum err e = io_call_run(&call, until);

	*held = e == OK && call.op.result >= 0;
	if (*held || (e == OK && call.op.result == -EWOULDBLOCK))
		return OK;
	return file_judge(e, call.op.result, "locking", fd_place(fd, place));
}

static int compare_names(const void *left, const void *right)
{
	return strcmp(*(const char *const *)left, *(const char *const *)right);
}

/* NUL-separated names into `sorted`. */
static enum err sort_names(const struct buffer *names, struct buffer *sorted)
{
	size_t count = 0;
	const char **list;

	for (size_t i = 0; i < names->bytes; i++)
		count += names->at[i] == '\0';
	list = calloc(count + 1, sizeof *list);
	if (!list)
		return RAISE(ERR_MEMORY_EXHAUSTED, "sorting %zu names", count);
	for (size_t i = 0, at = 0; i < count; i++, at += strlen(names->at + at) + 1)
		list[i] = names->at + at;
	qsort(list, count, sizeof *list, compare_names);
	for (size_t i = 0; i < count; i++)
		buffer_add(sorted, list[i], strlen(list[i]) + 1);
	free(list);
	return sorted->failed ? RAISE(ERR_MEMORY_EXHAUSTED, "sorting %zu names", count) : OK;
}

enum err io_list(const char *path, nsec until, struct buffer *names)
{
	struct buffer found = { .bytes_max = names->bytes_max };
	struct io_call call = { .op = { .verb = RING_LIST, .path = path, .names = &found } };
	enum err e = io_call_run(&call, until);

	buffer_reset(names);
	if (e == OK && call.op.result == -ENOBUFS)
		e = RAISE(ERR_MEMORY_EXHAUSTED, "listing %s: more names than fit into %zu bytes",
			  path, found.bytes);
	else
		e = file_judge(e, call.op.result, "listing", path);
	if (e == OK)
		e = sort_names(&found, names);
	buffer_free(&found);
	return e;
}

enum err io_sync_directory(const char *path, nsec until)
{
	enum err e;
	int fd;

	if ((e = io_open(path, O_RDONLY | O_DIRECTORY, 0, until, &fd)))
		return e;
	e = io_fsync(fd, false, until);
	io_close(&fd);
	return e;
}

/* ---- whole small files ---- */

/* Reads to the end, or to one byte more than bytes_max. A pipe has no offsets. */
static enum err read_to_end(int fd, bool is_regular, size_t bytes_max, nsec until,
			    struct buffer *to)
{
	size_t piece_bytes = min_u64(bytes_max + 1, READ_PIECE_BYTES), some;
	uint8_t *piece = malloc(piece_bytes);
	enum err e = OK;

	if (!piece)
		return RAISE(ERR_MEMORY_EXHAUSTED, "reading a file");
	while (e == OK && to->bytes <= bytes_max) {
		size_t room = min_u64(piece_bytes, bytes_max + 1 - to->bytes);

		e = read_some(fd, piece, room, is_regular ? (int64_t)to->bytes : -1, until, &some);
		if (e || some == 0)
			break;
		buffer_add(to, piece, some);
		if (to->failed)
			e = RAISE(ERR_MEMORY_EXHAUSTED, "reading a file of more than %zu bytes",
				  to->bytes);
	}
	/* It may have been a password. */
	explicit_bzero(piece, piece_bytes);
	free(piece);
	return e;
}

enum err io_read_file(const char *path, size_t bytes_max, nsec until, struct buffer *to)
{
	struct ring_stat stat;
	enum err e;
	int fd;

	buffer_reset(to);
	if ((e = io_stat(path, until, &stat)) || (e = io_open(path, O_RDONLY, 0, until, &fd)))
		return e;
	e = read_to_end(fd, stat.is_regular, bytes_max, until, to);
	io_close(&fd);
	if (e == OK && to->bytes > bytes_max)
		e = RAISE(ERR_INPUT_FILE, "%s is larger than %zu bytes", path, bytes_max);
	return e;
}

/* The directory part of a path: "." where there is none, "/" for the root. */
static char *directory_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	if (!slash)
		return strdup(".");
	return strndup(path, slash == path ? 1 : (size_t)(slash - path));
}

static enum err write_new_file(const char *path, const void *from, size_t length, uint32_t mode,
			       nsec until)
{
	enum err e;
	int fd;

	if ((e = io_open(path, O_WRONLY | O_CREAT | O_EXCL, mode, until, &fd)))
		return e;
	if ((e = io_write(fd, from, length, 0, until)) == OK)
		e = io_fsync(fd, false, until);
	io_close(&fd);
	return e;
}

enum err io_write_file(const char *path, const void *from, size_t length, uint32_t mode, nsec until)
{
	char *directory = directory_of(path), *temporary = NULL;
	uint32_t random;
	enum err e;

	clock_random(&random, sizeof random);
	if (!directory || asprintf(&temporary, "%s.%08x.tmp", path, random) < 0) {
		free(directory);
		return RAISE(ERR_MEMORY_EXHAUSTED, "writing %s", path);
	}
	if ((e = write_new_file(temporary, from, length, mode, until)) == OK &&
	    (e = io_rename(temporary, path, true, until)) == OK)
		e = io_sync_directory(directory, until);
	else
		io_detach(RING_UNLINK, -1, temporary); /* cleanup does not suspend */
	free(temporary);
	free(directory);
	return e;
}
