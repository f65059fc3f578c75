/* A mailbox on an IMAP server as a source of mail: `imaps://` and `imap://` (STARTTLS). Read-only
 * by construction: EXAMINE and BODY.PEEK, and a table of harmless commands in imap_wire.c. */
#ifndef MAILHAUL_IMAP_SOURCE_H
#define MAILHAUL_IMAP_SOURCE_H

#include "engine/source.h"

extern const struct source_driver imap_source;

#endif
