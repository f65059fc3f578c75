/* The verbs of a ring that are done at once by a system call; ring_uring.c delivers their
 * completion with the next turn. ftruncate has an opcode from kernel 6.9 on only; flock and
 * getdents have none; a socket is made without waiting for anybody, needs its options set by system
 * calls anyway, and this way a seccomp filter sees of which kind it is. */
#ifndef MAILHAUL_RING_DIRECT_H
#define MAILHAUL_RING_DIRECT_H

#include "engine/ring.h"

/* Is `verb` one of them? */
bool ring_direct_has(enum ring_verb verb);
/* Does it. The result as in ring_op: >= 0, or -errno. */
int ring_direct_do(struct ring_op *);
/* RING_OPENAT, and the first half of RING_LIST, of a ring that may not open files itself. */
int ring_direct_open(const struct ring_op *);
/* The second half of RING_LIST: read the directory that the ring opened, and close it. */
int ring_direct_list(struct ring_op *, int fd);
/* ring_acknowledge() */
void ring_direct_acknowledge(int fd);

#endif
