/* A bandwidth limit that all workers share: how many bytes were received, and until when whoever
 * received them has to wait so that the rate holds. Knows no clock and never blocks; the caller
 * sleeps. Thread-safe: one small lock, not taken while there is no limit. */
#ifndef MAILHAUL_PACE_H
#define MAILHAUL_PACE_H

#include "engine/err.h"

struct pace;

/* Unbounded at first. */
enum err pace_open(struct pace **) MUST_CHECK;
void pace_close(struct pace **);

/* From now on this many bytes per second; 0: unbounded. What was taken beyond the old rate stays
 * owed, and is paid off at the new one. */
void pace_set(struct pace *, uint64_t bytes_per_second, nsec now);

/* Account for bytes that were received, and say until when to wait before the next; `now`: go
 * on at once. Bytes are taken first and paid for afterwards, so a message of any size
 * passes and its excess delays those that follow; up to a tenth of a second that nobody used is
 * given later, so that rounding of sleeps costs no bandwidth. A sleeper that should notice a new
 * rate sleeps in parts and asks again with 0 bytes. Far beyond any run: DEADLINE_NEVER. */
nsec pace_take(struct pace *, uint64_t bytes, nsec now) MUST_CHECK;

#endif
