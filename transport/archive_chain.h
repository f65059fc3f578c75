/* Checking what a mailbox's manifests say: each generation against the one before and against the
 * objects that it lists; and its changes, each against the messages that there are. Not for: what
 * is inside packs (archive_verify.c). */
#ifndef MAILHAUL_ARCHIVE_CHAIN_H
#define MAILHAUL_ARCHIVE_CHAIN_H

#include "transport/archive_faults.h"
#include "transport/manifest.h"

/* newest         what manifest_newest() said before the packs were read
 * indexes_sound  a change of a message that none of them has is a fault
 * suspends       */
enum err archive_chain_check(struct archive_faults *, struct store *, const char *mailbox_key,
			     const struct tap_type *digest, const struct manifest_head *newest,
			     bool indexes_sound) MUST_CHECK;

#endif
