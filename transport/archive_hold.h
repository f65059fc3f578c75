/* An archive held for the length of a batch: its mailboxes come and go, the lock stays. Not for: a
 * single mailbox, whose sink takes the lock itself. */
#ifndef MAILHAUL_ARCHIVE_HOLD_H
#define MAILHAUL_ARCHIVE_HOLD_H

#include "engine/source.h"

struct archive_hold;

/* Make the place at account->path this ledger's archive, if it is empty or absent, and lock it for
 * this process until archive_release(). Sinks on any thread share the lock and need not take it.
 * ledger_id  16 bytes, as in struct sink_config; borrowed until return
 * returns    as the sink's open(): OK | ERR_SINK_BUSY | ERR_SINK_FOREIGN | ERR_SINK_LEDGER_LOST |
 *            ERR_DISK_* | ERR_FIBER_CANCELED
 * suspends   */
enum err archive_hold(const struct account *, const uint8_t *ledger_id, nsec until,
		      struct archive_hold **) MUST_CHECK;
/* In a fiber, of any thread. Where sinks are still open, the last one of them frees the lock.
 * Suspends, for a minute at most and cancelled or not, where the store's finish() does. */
void archive_release(struct archive_hold **);

#endif
