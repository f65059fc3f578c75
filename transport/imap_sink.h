/* A mailbox on an IMAP server as a destination: `imaps://` and `imap://` (STARTTLS). Messages are
 * gathered into parcels of one folder; a parcel's seal (docs/FORMAT.md section 8) is durable in the
 * ledger before the first byte of its APPEND leaves, so that after a lost answer or a crash each of
 * its messages is found in the folder, or is not there. Nothing is ever deleted, and
 * changed only the flags of messages that were stored before (imap_flag.h). */
#ifndef MAILHAUL_IMAP_SINK_H
#define MAILHAUL_IMAP_SINK_H

#include "engine/sink.h"

extern const struct sink_driver imap_sink;

#endif
