/* Bytes of messages that a source has read into memory of its own, put into chunks for the lane:
 * small messages behind one another in one chunk. Not for: what comes from a connection straight
 * into chunks (imap_body.h). */
#ifndef MAILHAUL_STAGE_H
#define MAILHAUL_STAGE_H

#include "engine/bytes.h"
#include "engine/chunk.h"

/* Zero-initialised but for the reserve, which is borrowed. */
struct stage {
	struct reserve *reserve;
	struct chunk *chunk;
};

/* Between two messages: a loan that is too large is given back. Suspends. */
enum err stage_next(struct stage *) MUST_CHECK;
/* Append to `list`, which is the body's that is being read; `left` bytes of it are to come, with
 * these. Copies (BYTES_EXTRACT). Suspends while there is no chunk.
 * returns     OK | ERR_FIBER_TIMEOUT | ERR_FIBER_CANCELED */
enum err stage_add(struct stage *, struct iolist *list, uint64_t left, const void *from,
		   size_t n) MUST_CHECK;
void stage_free(struct stage *);

#endif
