/* A mailbox in an archive as a source of mail, `file:///var/archive/alice@mail.example.com`:
 * restoring, moving on, going back to an earlier day. The archive is only read and needs no lock,
 * so a run may be writing into it. */
#ifndef MAILHAUL_ARCHIVE_SOURCE_H
#define MAILHAUL_ARCHIVE_SOURCE_H

#include "engine/source.h"

extern const struct source_driver archive_source;

#endif
