/* What a mailbox is called in the log: a salted id, or its name where the job allows names
 * (--log-names). The salt is made once per state directory and kept in its file log.salt (mode
 * 0600), so ids stay the same from night to night and mean nothing elsewhere. An administrator maps
 * an id back with `mailhaul status`, which shows both, or computes it:
 *
 *   python3 -c 'import hashlib, sys; print(hashlib.blake2b(sys.argv[2].encode(),
 *     key=open(sys.argv[1], "rb").read(), digest_size=32).hexdigest()[:12])' STATE/log.salt NAME
 *
 * Removing log.salt makes what was logged before anonymous for good. */
#ifndef MAILHAUL_TOOLS_LOG_IDS_H
#define MAILHAUL_TOOLS_LOG_IDS_H

#include "crypto/salted_id.h"

struct log_ids {
	bool names;
	uint8_t salt[SALT_BYTES];
};

/* Reads the salt of this state directory, which exists; makes it on first use, also when several
 * runs do so at once. With `names` nothing is read. Blocks for one small file; for start-up.
 * returns     OK | ERR_INPUT_SECRET (others can read it, not 32 bytes) | ERR_DISK_* */
enum err log_ids_open(struct log_ids *, const char *state_directory, bool names) MUST_CHECK;
/* The id, written to `to`, or `name` itself: what log_set_mailbox() and fiber_set_tag() take. */
const char *log_ids_of(const struct log_ids *, const char *name, char to[SALTED_ID_TEXT_BYTES]);

#endif
