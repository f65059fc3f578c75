/* See store_lock.h. */
#include "transport/store_lock.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/clock.h"
#include "engine/fiber.h"

#define TAKING_POLL_NS (5 * NSEC_MILLISECOND)

struct store_lock {
	char place[STORE_LOCK_PLACE_BYTES_MAX];
	union store_lock_held held;
	unsigned holders;
	bool ready; /* false: its first holder is still at it, or its last one */
	struct store_lock *next;
};

static pthread_mutex_t table_mutex = PTHREAD_MUTEX_INITIALIZER;
static struct store_lock *table;

/* The entry of `place`: a new one (*first), one that is ready (counted), or NULL: look again later.
 */
static struct store_lock *table_enter(const char *place, bool *first)
{
	struct store_lock *lock;

	*first = false;
	pthread_mutex_lock(&table_mutex);
	for (lock = table; lock && strcmp(lock->place, place) != 0; lock = lock->next)
		;
	if (!lock && (lock = calloc(1, sizeof *lock))) {
		snprintf(lock->place, sizeof lock->place, "%s", place);
		lock->holders = 1;
		lock->next = table;
		table = lock;
		*first = true;
	} else if (lock && lock->ready) {
		lock->holders++;
	} else {
		lock = NULL;
	}
	pthread_mutex_unlock(&table_mutex);
	return lock;
}

enum err store_lock_enter(const char *place, nsec until, struct store_lock **out, bool *first)
{
	enum err e;

	must(strlen(place) < STORE_LOCK_PLACE_BYTES_MAX);
	while (!(*out = table_enter(place, first))) {
		if (clock_now() >= until)
			return RAISE(ERR_SINK_BUSY, "waiting for the lock of %s", place);
		if ((e = fiber_sleep(clock_after(TAKING_POLL_NS))))
			return e;
	}
	return OK;
}

union store_lock_held *store_lock_held(struct store_lock *lock)
{
	return &lock->held;
}

void store_lock_ready(struct store_lock *lock)
{
	pthread_mutex_lock(&table_mutex);
	lock->ready = true;
	pthread_mutex_unlock(&table_mutex);
}

bool store_lock_end(struct store_lock *lock)
{
	bool alone;

	pthread_mutex_lock(&table_mutex);
	alone = lock->holders == 1;
	if (alone)
		lock->ready = false;
	pthread_mutex_unlock(&table_mutex);
	return alone;
}

bool store_lock_leave(struct store_lock **lock_at, union store_lock_held *held)
{
	struct store_lock *lock = *lock_at, **at = &table;

	*lock_at = NULL;
	if (!lock)
		return false;
	pthread_mutex_lock(&table_mutex);
	must(lock->holders > 0);
	if (--lock->holders > 0)
		lock = NULL;
	while (lock && *at != lock)
		at = &(*at)->next;
	if (lock)
		*at = lock->next;
	pthread_mutex_unlock(&table_mutex);
	if (!lock)
		return false;
	*held = lock->held;
	free(lock);
	return true;
}
