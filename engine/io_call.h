/* What io.c and io_socket.c share, and nobody else: one ring operation and the fiber that waits. */
#ifndef MAILHAUL_IO_CALL_H
#define MAILHAUL_IO_CALL_H

#include "engine/fiber.h"
#include "engine/ring.h"

enum {
	/* What an error text says an operation was done to. */
	IO_PLACE_BYTES = 200,
	/* One operation's length is 32 bits, and the kernel cuts at 2 GiB. */
	IO_TRANSFER_BYTES_MAX = 1 << 30,
};

/* On the waiting fiber's stack. `op` is filled in but for done and owner. */
struct io_call {
	struct ring_op op;
	struct wait_queue waiters;
	bool finished;
};

/* Do it. On cancel or deadline the operation is called off in the kernel and waited for: nothing
 * points into the caller's memory on return. OK: op.result counts, also where the operation won the
 * race against its deadline. Otherwise op.result may still be a descriptor that is to be closed.
 * returns OK | ERR_FIBER_TIMEOUT | ERR_FIBER_CANCELED, no note raised. Suspends. */
enum err io_call_run(struct io_call *, nsec until) MUST_CHECK;
/* The same for an operation that was submitted before and sets *finished. */
enum err io_wait_finished(struct ring_op *, struct wait_queue *, const bool *finished,
			  nsec until) MUST_CHECK;

/* An operation nobody waits for: RING_CLOSE of fd, RING_UNLINK of path (copied). No suspension. */
void io_detach(enum ring_verb, int fd, const char *path);

#endif
