/* The bounded hand-over between a lane's read fibers and its write fiber. Full: a reader sleeps, so
 * we stop reading, so TCP slows the server. */
#ifndef MAILHAUL_PIPE_H
#define MAILHAUL_PIPE_H

#include "engine/mail.h"

struct pipe;
enum err pipe_open(struct pipe **) MUST_CHECK;
void pipe_close(struct pipe **); /* releases what is still inside */

/* Hand an item over; takes it, body included, on OK. A body is staged by the caller (stream_list)
 * or passed through pipe_body_*. Suspends while full. */
enum err pipe_put(struct pipe *, struct item *, struct iolist *staged, nsec until) MUST_CHECK;
/* A body too large to stage: pipe_put with `staged` NULL and item->body NULL opens a passage; feed
 * it slice by slice (takes them on OK; suspends while full), then end it with the error the source
 * ended with (OK: complete). One passage at a time: other items wait until it has ended, the next
 * passage until the consumer has let go of this one. What is fed to a body that the consumer closed
 * is dropped. */
enum err pipe_body_feed(struct pipe *, struct slice, nsec until) MUST_CHECK;
void pipe_body_end(struct pipe *, enum err);
/* No more items; `e` is what pipe_next() returns after the last (ERR_PIPE_ENDED: all is well). A
 * passage that is still open ends with the same error. */
void pipe_end(struct pipe *, enum err e);

/* The next item; its body must be pulled to the end or closed before the next call, and the item is
 * valid until then. Suspends. */
enum err pipe_next(struct pipe *, struct item **, nsec until) MUST_CHECK;
/* The error with which the producer ended the body of the item that pipe_next() gave last, once a
 * pull has returned it; OK: none. The consumer tells by it a failed source from a failed sink. */
enum err pipe_body_failure(const struct pipe *);
unsigned pipe_items(const struct pipe *);
/* Changes whenever an item leaves or bytes of a large body go through: who waited in vain tells by
 * it whether the pipe stands still. */
uint64_t pipe_moves(const struct pipe *);

#endif
