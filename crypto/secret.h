/* A secret: locked in memory, kept out of core dumps, wiped at close, never printed (libsodium). */
#ifndef MAILHAUL_SECRET_H
#define MAILHAUL_SECRET_H

#include "engine/err.h"

struct secret;
/* An access token, a private key with its certificates, a service account's file. */
enum { SECRET_BYTES_MAX = 12 * 1024 };

/* Reads the first line of a file (its end of line removed). Refused (ERR_INPUT_SECRET): not a
 * regular file, owned by somebody else than us or root, readable by group or others, empty, longer
 * than SECRET_BYTES_MAX, holding NUL. Blocks for one small read; for start-up. */
enum err secret_from_file(const char *path, struct secret **) MUST_CHECK;
/* The same with all lines of the file: for keys, which have several. */
enum err secret_from_file_whole(const char *path, struct secret **) MUST_CHECK;
/* The rules for such a file, as stat(2) or fstat(2) sees it. OK | ERR_INPUT_SECRET. */
struct stat;
enum err secret_file_check(const char *path, const struct stat *) MUST_CHECK;
enum err secret_from_bytes(const void *, size_t, struct secret **) MUST_CHECK;
/* Borrowed; valid until close. Never pass it to a log or an error. */
struct text secret_text(const struct secret *);
void secret_close(struct secret **); /* wipes */
/* Whether every secret so far could be locked: RLIMIT_MEMLOCK may be too small. Those that could
 * not are out of core dumps and wiped all the same, but may be swapped out. */
bool secret_all_locked(void);
/* Room of the same kind for what is on its way to or from a secret: locked, not in core dumps,
 * between guard pages. NULL: no memory. Closing wipes it. */
void *secret_room_open(size_t bytes) MUST_CHECK;
void secret_room_close(void **);
/* Wipe a temporary copy (a command line being built). */
void secret_wipe(void *, size_t);
/* A keyed hash (SipHash-2-4) that tells whether a secret read again is the one read before, for
 * where thousands of them cannot be kept locked. Says nothing without the key, which does not
 * outlive the process. */
enum { SECRET_CHECK_KEY_BYTES = 16 };
enum err secret_check_key(uint8_t key[SECRET_CHECK_KEY_BYTES]) MUST_CHECK;
uint64_t secret_check(const uint8_t key[SECRET_CHECK_KEY_BYTES], const void *, size_t);
/* Once at start: no core dumps, no ptrace by others (PR_SET_DUMPABLE), libsodium ready. */
enum err secret_process_setup(void) MUST_CHECK;

#endif
