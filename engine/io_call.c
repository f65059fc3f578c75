/* io_call.h: submit, suspend, and never come back before the kernel has let go. */
#include "engine/io_call.h"

#include <errno.h>
#include <stdlib.h>

#include "engine/bytes.h"
#include "engine/clock.h"

static void call_done(struct ring_op *op)
{
	struct io_call *call = op->owner;

	call->finished = true;
	wake_all(&call->waiters);
}

enum err io_wait_finished(struct ring_op *op, struct wait_queue *waiters, const bool *finished,
			  nsec until)
{
	enum err e = OK, ignored = OK;

	while (!*finished && e == OK)
		e = wait_on(waiters, until);
	if (!*finished) {
		ring_cancel(scheduler_ring(), op);
		fiber_shield();
		while (!*finished)
			ignored = wait_on(waiters, DEADLINE_NEVER);
		fiber_unshield();
		must(ignored == OK);
	}
	if (e == ERR_FIBER_TIMEOUT && op->result != -ECANCELED && op->result != -EINTR)
		return OK;
	return e;
}

enum err io_call_run(struct io_call *call, nsec until)
{
	must(scheduler_ring() != NULL);
	call->op.done = call_done;
	call->op.owner = call;
	call->op.result = -ECANCELED;
	if (fiber_canceled())
		return ERR_FIBER_CANCELED; /* not even begun */
	ring_submit(scheduler_ring(), &call->op);
	return io_wait_finished(&call->op, &call->waiters, &call->finished, until);
}

/* The memory of one, freed by its completion. */
struct detached {
	struct ring_op op;
	char path[];
};

static void detached_done(struct ring_op *op)
{
	free(op->owner);
}

void io_detach(enum ring_verb verb, int fd, const char *path)
{
	size_t path_bytes = strlen(path) + 1;
	struct detached *detached = calloc(1, sizeof *detached + path_bytes);

	must(detached != NULL && scheduler_ring() != NULL);
	bytes_copy(detached->path, path, path_bytes, BYTES_META);
	detached->op = (struct ring_op){
		.verb = verb,
		.fd = fd,
		.path = detached->path,
		.done = detached_done,
		.owner = detached,
	};
	ring_submit(scheduler_ring(), &detached->op);
}
