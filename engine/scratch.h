/* Zeroed memory that the kernel may put aside: a mapping of an unlinked file, so a table of any
 * size needs no more memory than there is. For readers' tables that live as long as one command.
 * It is not part of the simulated world: what lies here is worth nothing to anybody else. */
#ifndef MAILHAUL_SCRATCH_H
#define MAILHAUL_SCRATCH_H

#include "engine/err.h"

/* Zero-initialised is valid: nothing there. */
struct scratch {
	uint8_t *at;
	size_t bytes;
	int fd_plus_one;
};

/* At least `bytes` bytes; the old ones are kept, the new ones are 0, `at` may change. The file lies
 * in $TMPDIR, else in /var/tmp (/tmp is memory on many machines), else in memory. Its room is
 * reserved now, so that a full disk is an error here and no signal later. Blocks.
 * returns     OK | ERR_DISK_FULL | ERR_DISK_IO | ERR_MEMORY_EXHAUSTED */
enum err scratch_grow(struct scratch *, size_t bytes) MUST_CHECK;
void scratch_close(struct scratch *);

#endif
