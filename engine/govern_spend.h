/* The daily rations of an account's bytes (engine/govern), as errors: what a lane reads and stores,
 * and what is read back. Nothing suspends. */
#ifndef MAILHAUL_GOVERN_SPEND_H
#define MAILHAUL_GOVERN_SPEND_H

#include "engine/govern.h"
#include "engine/source.h"

/* Take so many bytes of today's ration. ERR_LIMIT_DAY with a rest of the account in the note: they
 * do not fit, and nothing was taken. Without a governor: OK. */
enum err spend_bytes(const struct account *, enum govern_way, uint64_t bytes) MUST_CHECK;
/* Whether anything is left, before a login that would be for nothing and may count as well. */
enum err spend_look(const struct account *, enum govern_way) MUST_CHECK;

#endif
