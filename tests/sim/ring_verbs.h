/* What the simulated ring's operations do, and the file numbers they do it to. Not for: when they
 * are done (ring_sim.c). */
#ifndef MAILHAUL_RING_VERBS_H
#define MAILHAUL_RING_VERBS_H

#include "engine/ring.h"
#include "tests/sim/net_sim.h"

/* Carry out `op` now; the result is as the kernel's. */
int32_t ring_verb_do(const struct ring_op *);
const char *ring_verb_name(enum ring_verb);
/* It never ends by itself: it must be called off. */
bool ring_verb_is_stalled(const struct ring_op *);
/* The connection behind a file number, with a reference of its own; NULL if it is none. */
struct net_conn *ring_verb_conn(int fd);
/* Files and sockets not closed yet; each is printed when `aloud`. */
unsigned ring_verb_open_files(bool aloud);

#endif
