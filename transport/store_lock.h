/* One writing process per directory, any number of stores inside it: the kernel's lock belongs to
 * the process, so the stores of one process share it and count. */
#ifndef MAILHAUL_STORE_LOCK_H
#define MAILHAUL_STORE_LOCK_H

#include "engine/err.h"

struct store_lock;

/* Take the lock `root`/.lock, or share the one this process holds. *first: nobody here held it, so
 * what lies under temporary names is nobody's. After that store_lock_ready() must follow: until
 * then others of this process wait. ERR_SINK_BUSY, ERR_DISK_*. Suspends. */
enum err store_lock_take(const char *root, nsec until, struct store_lock **,
			 bool *first) MUST_CHECK;
void store_lock_ready(struct store_lock *);
void store_lock_release(struct store_lock **);

#endif
