/* A mailbox of an archive as the source of a run: found, and called as the ledger knows it. */
#ifndef MAILHAUL_TOOLS_ARCHIVED_H
#define MAILHAUL_TOOLS_ARCHIVED_H

#include "tools/url.h"

enum { ARCHIVED_NAME_BYTES = 512 };

/* One mailbox of an archive has one name for the ledger, however it was written, and goes by its
 * own name in the target: `url`, whose path the source's account borrows, gets the first, `name`
 * the second.
 * target   where it goes
 * returns  OK | ERR_SOURCE_FOREIGN | ERR_INPUT_USAGE: both are the same archive | what the store's
 *          calls return. Suspends. */
enum err archived_find(const struct account *source, const struct account *target, struct url *url,
		       char name[ARCHIVED_NAME_BYTES]) MUST_CHECK;

/* A source of which all that lies below a prefix is mail (s3+eml) would take what the run stores
 * for more of it: ERR_INPUT_USAGE where the target lies below the source, or the source below the
 * target. Both accounts have their `s3`. */
enum err archived_check_apart(const struct account *source,
			      const struct account *target) MUST_CHECK;

#endif
