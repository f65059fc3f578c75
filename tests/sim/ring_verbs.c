/* The simulated ring's operations on the simulated disk and network. Reads, writes and sends may do
 * less than they were asked to, as the kernel's may. */
#include "tests/sim/ring_verbs.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <stdio.h>

#include "tests/sim/disk_sim.h"
#include "tests/sim/sim.h"

enum {
	FD_FIRST = 100000, /* no number of a real file: it would end in a real system call */
	FDS_MAX = 256,
	SHORT_ONE_IN = 8,
};

struct file {
	int node; /* > 0: a file or directory */
	struct net_conn *conn;
	int flags;
	bool locked;
	char path[200];
};

static struct file files[FDS_MAX];

static bool is_open(const struct file *file)
{
	return file->node || file->conn;
}

static struct file *file_of(int fd)
{
	struct file *file =
		fd >= FD_FIRST && fd < FD_FIRST + FDS_MAX ? &files[fd - FD_FIRST] : NULL;

	return file && is_open(file) ? file : NULL;
}

static int fd_new(const struct file *set)
{
	for (int i = 0; i < FDS_MAX; i++)
		if (!is_open(&files[i])) {
			files[i] = *set;
			return FD_FIRST + i;
		}
	return -EMFILE;
}

struct net_conn *ring_verb_conn(int fd)
{
	struct file *file = file_of(fd);

	if (!file || !file->conn)
		return NULL;
	net_ref(file->conn);
	return file->conn;
}

unsigned ring_verb_open_files(bool aloud)
{
	unsigned count = 0;

	for (int i = 0; i < FDS_MAX; i++) {
		if (!is_open(&files[i]))
			continue;
		count++;
		if (aloud)
			printf("  still open: %s\n", files[i].conn ? "a socket" : files[i].path);
	}
	return count;
}

/* As much as a kernel may do at once: all of it or, by the dice, less. O_DIRECT keeps to blocks. */
static size_t at_once(const struct ring_op *op, const struct file *file, enum sim_dice dice)
{
	size_t n = op->length;

	if (n < 2 || !sim_one_in(dice, SHORT_ONE_IN))
		return n;
	n = 1 + sim_below(dice, n - 1);
	if (file->flags & O_DIRECT)
		n = n / DISK_PAGE_BYTES * DISK_PAGE_BYTES;
	return n ? n : op->length;
}

/* open(2), "O_DIRECT": address, length and offset must be multiples of the block size. */
static bool is_aligned(const struct ring_op *op, const struct file *file)
{
	return !(file->flags & O_DIRECT) ||
	       ((uintptr_t)op->data % 512 == 0 && op->length % 512 == 0 && op->offset % 512 == 0);
}

static int32_t do_open(const struct ring_op *op)
{
	struct disk *disk = disk_current();
	struct file file = { .flags = op->flags };
	bool is_nameless = (op->flags & O_TMPFILE) == O_TMPFILE; /* it holds O_DIRECTORY's bit */

	file.node = disk_find(disk, op->path);
	if (file.node > 0 && (op->flags & O_CREAT) && (op->flags & O_EXCL))
		return -EEXIST;
	if (is_nameless && file.node >= 0 && !disk_fact(disk, file.node).is_directory)
		return -ENOTDIR;
	if (is_nameless && file.node >= 0)
		file.node = disk_create_nameless(disk, op->mode);
	if (file.node == -ENOENT && (op->flags & O_CREAT))
		file.node = disk_create(disk, op->path, false, op->mode);
	if (file.node < 0)
		return file.node;
	if (disk_fact(disk, file.node).is_directory) {
		if ((op->flags & O_ACCMODE) != O_RDONLY)
			return -EISDIR;
	} else if ((op->flags & O_DIRECTORY) && !is_nameless) {
		return -ENOTDIR;
	}
	if ((op->flags & O_TRUNC) && disk_truncate(disk, file.node, 0))
		return -ENOSPC;
	disk_hold(disk, file.node);
	snprintf(file.path, sizeof file.path, "%s", op->path);
	return fd_new(&file);
}

static int32_t do_close(struct file *file)
{
	if (file->conn)
		net_unref(&file->conn);
	else
		disk_let_go(disk_current(), file->node);
	*file = (struct file){ 0 };
	return 0;
}

static int32_t do_read(const struct ring_op *op, const struct file *file)
{
	if (!file->node || (file->flags & O_ACCMODE) == O_WRONLY)
		return -EBADF;
	if (op->offset < 0 || !is_aligned(op, file))
		return -EINVAL;
	return (int32_t)disk_read(disk_current(), file->node, op->data, at_once(op, file, SIM_DISK),
				  (uint64_t)op->offset);
}

static int32_t do_write(const struct ring_op *op, const struct file *file)
{
	if (!file->node || (file->flags & O_ACCMODE) == O_RDONLY)
		return -EBADF;
	if (op->offset < 0 || !is_aligned(op, file))
		return -EINVAL;
	return (int32_t)disk_write(disk_current(), file->node, op->data,
				   at_once(op, file, SIM_DISK), (uint64_t)op->offset);
}

/* fallocate(2). The space is not set aside here: a full disk shows at the write. */
static int32_t do_allocate(const struct ring_op *op, const struct file *file)
{
	uint64_t end = (uint64_t)op->offset + op->length;

	if (!file->node || (file->flags & O_ACCMODE) == O_RDONLY)
		return -EBADF;
	if (op->flags & ~FALLOC_FL_KEEP_SIZE)
		return -EOPNOTSUPP;
	if ((op->flags & FALLOC_FL_KEEP_SIZE) || end <= disk_fact(disk_current(), file->node).bytes)
		return 0;
	return disk_truncate(disk_current(), file->node, end);
}

static int32_t do_stat(const struct ring_op *op)
{
	int node = disk_find(disk_current(), op->path);
	struct disk_fact fact;

	if (node < 0)
		return node;
	fact = disk_fact(disk_current(), node);
	*op->stat = (struct ring_stat){ .size_bytes = fact.bytes,
					.is_directory = fact.is_directory,
					.is_regular = !fact.is_directory,
					.mode = fact.mode & 07777 };
	return 0;
}

static int32_t do_list(const struct ring_op *op)
{
	int node = disk_find(disk_current(), op->path);

	return node < 0 ? node : disk_list(disk_current(), node, op->names);
}

/* flock(2): held by the open file, not by the process. */
static int32_t do_lock(struct file *file)
{
	for (int i = 0; i < FDS_MAX; i++)
		if (&files[i] != file && files[i].locked && files[i].node == file->node)
			return -EWOULDBLOCK;
	file->locked = true;
	return 0;
}

static int32_t do_mkdir(const struct ring_op *op)
{
	int node = disk_create(disk_current(), op->path, true, op->mode);

	return node < 0 ? node : 0;
}

static int32_t do_socket(const struct ring_op *op)
{
	struct file file = { .conn = net_open() };

	(void)op;
	return fd_new(&file);
}

static int32_t do_to_path(const struct ring_op *op)
{
	struct disk *disk = disk_current();

	switch (op->verb) {
	case RING_OPENAT:
		return do_open(op);
	case RING_RENAME:
		return disk_rename(disk, op->path, op->path2, !(op->flags & RENAME_NOREPLACE));
	case RING_UNLINK:
		return disk_remove(disk, op->path, (op->flags & AT_REMOVEDIR) != 0);
	case RING_MKDIR:
		return do_mkdir(op);
	case RING_STAT:
		return do_stat(op);
	case RING_LIST:
		return do_list(op);
	case RING_SOCKET:
		return do_socket(op);
	default:
		return -EINVAL;
	}
}

static int32_t do_to_file(const struct ring_op *op, struct file *file)
{
	struct disk *disk = disk_current();

	switch (op->verb) {
	case RING_READ:
		return do_read(op, file);
	case RING_WRITE:
		return do_write(op, file);
	case RING_FSYNC:
		return disk_sync(disk, file->node);
	case RING_TRUNCATE:
		return disk_truncate(disk, file->node, (uint64_t)op->offset);
	case RING_ALLOCATE:
		return do_allocate(op, file);
	case RING_LOCK:
		return do_lock(file);
	default:
		return -EINVAL;
	}
}

static int32_t do_to_socket(const struct ring_op *op, struct file *file)
{
	switch (op->verb) {
	case RING_CONNECT:
		return net_connect(file->conn, op->address, op->address_bytes);
	case RING_SEND:
		return (int32_t)net_send(file->conn, op->data, at_once(op, file, SIM_NET));
	case RING_SHUTDOWN:
		return net_shutdown(file->conn);
	default:
		return -EINVAL;
	}
}

int32_t ring_verb_do(const struct ring_op *op)
{
	struct file *file = file_of(op->fd);

	must(op->length <= INT_MAX);
	switch (op->verb) {
	case RING_OPENAT:
	case RING_RENAME:
	case RING_UNLINK:
	case RING_MKDIR:
	case RING_STAT:
	case RING_LIST:
	case RING_SOCKET:
		return do_to_path(op);
	default:
		if (!file)
			return -EBADF;
		if (op->verb == RING_CLOSE)
			return do_close(file);
		return file->conn ? do_to_socket(op, file) : do_to_file(op, file);
	}
}

bool ring_verb_is_stalled(const struct ring_op *op)
{
	const struct file *file = op->verb == RING_SEND ? file_of(op->fd) : NULL;

	return file && file->conn && net_is_stalled(file->conn);
}

const char *ring_verb_name(enum ring_verb verb)
{
	static const char *const names[RING_VERB_COUNT] = {
		[RING_OPENAT] = "open",	      [RING_CLOSE] = "close",
		[RING_READ] = "read",	      [RING_WRITE] = "write",
		[RING_FSYNC] = "fsync",	      [RING_TRUNCATE] = "truncate",
		[RING_ALLOCATE] = "allocate", [RING_RENAME] = "rename",
		[RING_UNLINK] = "unlink",     [RING_MKDIR] = "mkdir",
		[RING_STAT] = "stat",	      [RING_LIST] = "list",
		[RING_LOCK] = "lock",	      [RING_SOCKET] = "socket",
		[RING_CONNECT] = "connect",   [RING_SEND] = "send",
		[RING_SHUTDOWN] = "shutdown",
	};

	must(verb < RING_VERB_COUNT);
	return names[verb];
}
