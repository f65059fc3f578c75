/* Kernel operations as calls: each suspends the fiber until done, cancelled or `until`. An
 * operation whose deadline comes is cancelled in the kernel and waited for, so nothing it points at
 * is still in use on return. Errors are raised with the path or what `what` names.
 *
 * Sockets: ERR_NET_*; files: ERR_DISK_* (err_of_file_errno). All: ERR_FIBER_CANCELED. A file
 * operation past its deadline is ERR_DISK_IO ("did not finish in time"), one of a socket
 * is ERR_NET_TIMEOUT. */
#ifndef MAILHAUL_IO_H
#define MAILHAUL_IO_H

#include "engine/fiber.h"
#include "engine/ring.h"

/* Files. `flags` as open(2); O_CLOEXEC is added. */
enum err io_open(const char *path, int flags, uint32_t mode, nsec until, int *fd) MUST_CHECK;
/* An empty file in `directory` to write and read (0600), without a name: gone when it is closed or
 * we die. Where the file system knows none (NFS, some of FUSE) it has a name of its own for a
 * moment, and a process that is killed then leaves an empty one behind: IO_NAMELESS_PREFIX and 16
 * digits. Errors name `directory`. */
#define IO_NAMELESS_PREFIX ".spool-"
enum err io_open_nameless(const char *directory, nsec until, int *fd) MUST_CHECK;
/* Does not suspend, cannot fail: the kernel closes later. Takes *fd, leaves -1; accepts -1. */
void io_close(int *fd);
/* Reads up to `length`; *got is less only at the end of the file. */
enum err io_read(int fd, void *to, size_t length, uint64_t offset, nsec until,
		 size_t *got) MUST_CHECK;
/* Writes all of it. */
enum err io_write(int fd, const void *from, size_t length, uint64_t offset, nsec until) MUST_CHECK;
enum err io_fsync(int fd, bool data_only, nsec until) MUST_CHECK;
enum err io_truncate(int fd, uint64_t length, nsec until) MUST_CHECK;
enum err io_rename(const char *from, const char *to, bool replace, nsec until) MUST_CHECK;
enum err io_unlink(const char *path, nsec until) MUST_CHECK;
/* Where one exists: ERR_DISK_EXISTS. */
enum err io_mkdir(const char *path, uint32_t mode, nsec until) MUST_CHECK;
enum err io_stat(const char *path, nsec until, struct ring_stat *) MUST_CHECK;
/* NUL-separated names, sorted bytewise; the caller frees `names`. */
enum err io_list(const char *path, nsec until, struct buffer *names) MUST_CHECK;
/* Make a directory's entries durable (open, fsync, close). */
enum err io_sync_directory(const char *path, nsec until) MUST_CHECK;
/* False in *held: someone has it. ERR_LEDGER_BUSY or ERR_SINK_BUSY is the caller's word. */
enum err io_lock(int fd, nsec until, bool *held) MUST_CHECK;
/* Whole small file: read at most bytes_max (more is ERR_INPUT_FILE); write durably under a
 * temporary name in the same directory, rename over `path`, sync the directory. */
enum err io_read_file(const char *path, size_t bytes_max, nsec until, struct buffer *) MUST_CHECK;
enum err io_write_file(const char *path, const void *, size_t, uint32_t mode,
		       nsec until) MUST_CHECK;

/* Several writes in flight: start, then wait for each. The act and the bytes are borrowed until
 * io_write_wait. Zero-initialised is valid: nothing is pending. */
struct io_write_act {
	struct ring_op op;
	struct wait_queue waiters;
	const uint8_t *from;
	size_t left;
	uint64_t offset;
	bool pending, finished;
};
void io_write_start(struct io_write_act *, int fd, const void *from, size_t length,
		    uint64_t offset);
/* OK at once if nothing is pending. Finishes short writes. Whatever it returns, nothing is pending
 * any more: a cancelled fiber can call it to get its bytes back. Suspends. */
enum err io_write_wait(struct io_write_act *, nsec until) MUST_CHECK;

/* Sockets. */
enum err io_connect(const struct sockaddr *, socklen_t, nsec until, int *fd) MUST_CHECK;
/* The same from an address of this machine (its port 0), which must be of the same family.
 * ERR_NET_LOCAL: this machine does not have it. */
enum err io_connect_from(const struct sockaddr *from, const struct sockaddr *, socklen_t,
			 nsec until, int *fd) MUST_CHECK;
/* Sends all of it. */
enum err io_send(int fd, const void *from, size_t length, nsec until) MUST_CHECK;

/* Receiving: an object per socket. It and its buffers belong to this fiber's thread. */
struct io_receiver;
enum err io_receiver_open(int fd, struct io_receiver **) MUST_CHECK;
/* Suspends until bytes are there. End of stream: OK with length 0. Release what was taken. */
enum err io_receive(struct io_receiver *, nsec until, struct ring_bytes *) MUST_CHECK;
void io_release(struct io_receiver *, const struct ring_bytes *);
/* Suspends until io_receive() would not have to wait, or another fiber calls io_stir(): OK, and the
 * caller looks for itself. ERR_FIBER_TIMEOUT: neither came before `until`. Raises no note. */
enum err io_await(struct io_receiver *, nsec until) MUST_CHECK;
bool io_is_ready(const struct io_receiver *); /* io_receive() would not have to wait */
void io_stir(struct io_receiver *);
/* Does not suspend; what the kernel still holds is let go later (io_drain). What was taken must
 * have been released. Close the receiver before its fd. */
void io_receiver_close(struct io_receiver **);

/* The end of a thread's ring, outside fibers: turn it until what was closed is closed and nothing
 * is in flight. False if that did not happen until `until`. */
bool io_drain(struct ring *, nsec until);

#endif
