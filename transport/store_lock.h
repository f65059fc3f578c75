/* The process's table of places it writes to: one writing process each, any number of stores inside
 * it, on any thread. Only the first one of them keeps other processes out, in its store's way (a
 * file that the kernel locks, an object); the others share that and count. Not for: that way. */
#ifndef MAILHAUL_STORE_LOCK_H
#define MAILHAUL_STORE_LOCK_H

#include "engine/err.h"

enum {
	STORE_LOCK_PLACE_BYTES_MAX = 1100,
	STORE_LOCK_TAG_BYTES = 128,
};

struct store_lock;

/* What its first holder has of the lock, and has found out for all; the others only read it. */
union store_lock_held {
	int fd;
	struct {
		char tag[STORE_LOCK_TAG_BYTES];
		unsigned checksum; /* enum crc_kind, that the service knows */
	} object;
};

/* The entry of `place`. *first: nobody here had it, so its lock is still to be taken, into
 * store_lock_held(), and what lies under temporary names is nobody's; after that store_lock_ready()
 * must follow, or store_lock_leave(): until then others of this process wait. ERR_SINK_BUSY:
 * somebody here is at it for too long. Suspends. */
enum err store_lock_enter(const char *place, nsec until, struct store_lock **,
			  bool *first) MUST_CHECK;
union store_lock_held *store_lock_held(struct store_lock *);
void store_lock_ready(struct store_lock *);
/* Whether nobody else holds it: then others wait from here on, until store_lock_leave(), so that
 * the lock can be given back with calls that suspend. */
bool store_lock_end(struct store_lock *);
/* Accepts NULL inside. True: that was the last, and *held is to be given back, if there is
 * anything. */
bool store_lock_leave(struct store_lock **, union store_lock_held *held);

#endif
