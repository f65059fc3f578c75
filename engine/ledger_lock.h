/* The ledger's directory and the lock in it, for ledger.c. */
#ifndef MAILHAUL_LEDGER_LOCK_H
#define MAILHAUL_LEDGER_LOCK_H

#include "engine/err.h"

/* Make `directory` where it is missing, its parents too, and lock the file `path` in it: 0600, our
 * pid inside. The file stays when the lock goes; only the lock counts, and it goes with *fd, which
 * may be open after an error too. `directory` is changed for a while. Suspends.
 * returns     OK | ERR_LEDGER_BUSY, with the holder's pid in the note | ERR_DISK_* */
enum err ledger_lock(char *directory, const char *path, nsec until, int *fd) MUST_CHECK;

#endif
