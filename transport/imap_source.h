/* A mailbox on an IMAP server as a source of mail: `imaps://` and `imap://` (STARTTLS). Read-only
 * by construction: EXAMINE and BODY.PEEK, and a table of harmless commands in imap_wire.c. */
#ifndef MAILHAUL_IMAP_SOURCE_H
#define MAILHAUL_IMAP_SOURCE_H

#include "engine/source.h"

struct imap_session;

extern const struct source_driver imap_source;

/* The next ask() opens its folder anew, and sees what came since the last one did. Nothing may be
 * asked for that is not answered yet. */
void imap_source_look_anew(struct source *);
/* Its conversation, for asking something else while nothing is asked for; then look anew. */
struct imap_session *imap_source_session(struct source *);

#endif
