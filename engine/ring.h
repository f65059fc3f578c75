/* The kernel's only door for files and sockets: submit an operation, be told when it is done.
 * ring_uring.c does it with io_uring; tests/sim/ring_sim.c is linked in its place and does it with
 * a simulated disk and network. Nothing here knows fibers: engine/io.h is what other code calls.
 *
 * One ring belongs to one thread. Not for: name lookup (offload), time (clock.h). */
#ifndef MAILHAUL_RING_H
#define MAILHAUL_RING_H

#include <sys/socket.h>
#include <sys/types.h>

#include "engine/err.h"

struct ring;

enum ring_verb {
	RING_OPENAT, /* path, flags, mode          -> fd */
	RING_CLOSE,  /* fd */
	RING_READ,   /* fd, data, length, offset   -> bytes; offset -1: a stream (eventfd, pipe) */
	RING_WRITE,  /* fd, data, length, offset   -> bytes */
	RING_FSYNC,  /* fd, flags (RING_DATA_ONLY) */
	RING_TRUNCATE, /* fd, offset = new length */
	RING_ALLOCATE, /* fd, offset, length; flags as fallocate(2) */
	RING_RENAME,   /* path -> path2, flags (RENAME_NOREPLACE) */
	RING_UNLINK,   /* path, flags (AT_REMOVEDIR) */
	RING_MKDIR,    /* path, mode */
	RING_STAT,     /* path                       -> stat (size, is_dir) */
	RING_LIST,     /* path -> `names`, NUL-separated, no '.' and '..'; -ENOBUFS: too many */
	RING_LOCK,     /* fd: exclusive, at once or -EWOULDBLOCK; gone when the fd closes */
	RING_SOCKET,   /* flags = family             -> fd (stream, close-on-exec, TCP_NODELAY);
			  bound to address where there is one */
	RING_CONNECT,  /* fd, address, address_bytes */
	RING_SEND,     /* fd, data, length           -> bytes */
	RING_SHUTDOWN, /* fd: both ways */
	RING_VERB_COUNT
};

enum { RING_DATA_ONLY = 1 };

struct ring_stat {
	uint64_t size_bytes;
	bool is_directory;
	bool is_regular;
	uint32_t mode; /* permission bits */
};

struct buffer;

/* One operation. The submitter owns it and everything it points at, and keeps all of it alive until
 * `done` was called; an operation cannot be forgotten, only cancelled. */
struct ring_op {
	uint32_t magic; /* set by ring_submit */
	enum ring_verb verb;
	int fd;
	int flags;
	uint32_t mode;
	const char *path, *path2;
	void *data;
	uint32_t length;
	int64_t offset;
	const struct sockaddr *address;
	socklen_t address_bytes;
	struct ring_stat *stat;
	struct buffer *names;
	int32_t result; /* >= 0, or -errno */
	void (*done)(struct ring_op *);
	void *owner;
	uint64_t scratch[40]; /* the ring's own (struct statx) */
};

/* What the program runs on; printed by `mailhaul version` and noted in reports. */
struct ring_facts {
	bool bundles; /* receive bundles: several buffers per completion */
	bool defer_taskrun;
	char kernel[64];
};

/* Opens this thread's ring. Refuses with ERR_RING_ABSENT | ERR_RING_FORBIDDEN | ERR_RING_TOO_OLD |
 * ERR_RING_FAILED and a note that says what to change (the kernel, kernel.io_uring_disabled, the
 * container's seccomp profile, the limit of locked memory). */
enum err ring_open(struct ring **) MUST_CHECK;
/* The same, restricted to what is needed to read files; or to write some, too; or to read some and
 * speak with servers. A ring to read or to fetch opens them by system calls, whose flags a seccomp
 * filter sees, and so may block. */
enum ring_use { RING_TO_COPY, RING_TO_EXTRACT, RING_TO_READ, RING_TO_FETCH };
enum err ring_open_for(enum ring_use, struct ring **) MUST_CHECK;
/* No operation may be in flight, every receiver must have stopped. */
void ring_close(struct ring **);
const struct ring_facts *ring_facts(const struct ring *);

/* Takes `op` until done() is called, which happens inside ring_turn() only. Never fails: a full
 * queue is flushed, an operation the kernel refuses completes with -errno. */
void ring_submit(struct ring *, struct ring_op *);
/* Ask for an early end; done() is still called, with -ECANCELED or the result that won. */
void ring_cancel(struct ring *, struct ring_op *);
/* Operations not done yet and receivers the kernel has not let go of. */
unsigned ring_in_flight(const struct ring *);

/* Submit what is queued, wait for something to happen but not past `until` (a clock_now() value;
 * one in the past only looks), call done() of what completed. Returns how many completed. */
unsigned ring_turn(struct ring *, nsec until);
/* From any thread or signal handler: let a waiting ring_turn() return soon. */
void ring_wake(struct ring *);
/* `woken(context)` is called inside ring_turn() after each wake (several may become one call). One
 * per ring: offload.c collects finished jobs with it. In tests/sim it has no user. */
void ring_on_wake(struct ring *, void (*woken)(void *context), void *context);

/* What the kernel knows of the way a connected socket takes. */
struct ring_path {
	nsec round_trip, round_trip_min; /* smoothed, and the least of late */
	uint64_t segments_resent;
	uint32_t mtu_bytes; /* of the path, as far as it is known */
};
/* At once, without an operation. False: it does not tell. */
bool ring_path_of(int fd, struct ring_path *);
/* Have a connected socket acknowledge what came. By itself the kernel waits up to 40 ms for
 * something to send with it, and a peer that gathers what it says (RFC 9293 section 3.7.4) says no
 * more until then. At once, without an operation. */
void ring_acknowledge(struct ring *, int fd);
/* Whether sockets could be bound to the address: 0, or -errno (-EADDRNOTAVAIL: it is none of this
 * machine). At once, and without a ring. */
int ring_address_check(const struct sockaddr *, socklen_t);

/* ---- receiving: one multishot receive per socket, into buffers the ring provides ---- */

/* Bytes that arrived. Borrowed from the ring's pool until ring_recv_release(). */
struct ring_bytes {
	const uint8_t *at;
	uint32_t length;
	uint16_t buffer; /* the ring's */
};

struct ring_recv {
	uint32_t magic; /* set by ring_recv_start */
	int fd;
	/* Something may be taken now: bytes, the end or an error. */
	void (*arrived)(struct ring_recv *);
	void *owner;
	/* The ring's own. Buffers that were not taken yet are a list in the ring's tables, so that
	 * no completion can find the queue full. */
	struct ring *ring;
	uint16_t first, last;  /* of the buffers that wait to be taken */
	unsigned count, taken; /* buffers that wait; buffers taken and not released */
	int32_t ended;	       /* 0 going on; 1 end of stream; -errno */
	bool armed, paused, stopping, waiting;
	struct ring_recv *next_waiting;
};

/* Start receiving on a connected socket. `arrived` is called inside ring_turn() only. With
 * RECV_BUFFERS_HELD_MAX buffers not released receiving pauses (TCP then slows the peer) and goes on
 * at half of that. What the kernel delivers before the pause takes hold is kept as well. */
void ring_recv_start(struct ring *, struct ring_recv *);
/* Take the oldest bytes. 1: *out is filled, release it later; 0: nothing yet; -1: see `ended`. */
int ring_recv_take(struct ring_recv *, struct ring_bytes *out);
void ring_recv_release(struct ring_recv *, const struct ring_bytes *);
/* Stop, give everything back that was not taken; what was taken must have been released. The struct
 * may be freed when ring_recv_stopped(); the kernel may need a ring_turn() or two to let go. */
void ring_recv_stop(struct ring_recv *);
bool ring_recv_stopped(const struct ring_recv *);

/* System calls and other costs, for the bench. */
struct ring_counts {
	uint64_t enters, operations, completions, recv_starved, recv_bytes, send_bytes,
		acknowledged;
};
const struct ring_counts *ring_counts(const struct ring *);

#endif
