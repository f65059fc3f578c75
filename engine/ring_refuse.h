/* Why a ring cannot be had here, in words that help. Used by ring_uring.c only. */
#ifndef MAILHAUL_RING_REFUSE_H
#define MAILHAUL_RING_REFUSE_H

#include "engine/err.h"

/* What io_uring_setup said on this kernel, as ERR_RING_ABSENT | ERR_RING_FORBIDDEN |
 * ERR_RING_FAILED with a note that says what to change. `kernel`: the release, for the text. */
enum err ring_refuse(const char *kernel, int errno_value) MUST_CHECK;

/* The running kernel's release as text, and as hundred times major plus minor: 601 is 6.1. 0 if it
 * does not parse. */
unsigned ring_refuse_kernel_version(char *release, size_t release_bytes);

#endif
