/* Which mailbox of which archive a path means: `/var/archive` where it holds one mailbox, else
 * `/var/archive/alice@mail.example.com` or the mailbox's directory. */
#ifndef MAILHAUL_ARCHIVE_PLACE_H
#define MAILHAUL_ARCHIVE_PLACE_H

#include "transport/store.h"

struct archive_place {
	char root[2048];   /* of the archive */
	char mailbox[512]; /* its name, or its key where its name cannot be read */
	char key[128];	   /* its directory below the root */
};
/* account  scheme, path and shown are used
 * returns  OK | ERR_SOURCE_FOREIGN: no archive, no such mailbox, or several and none chosen |
 *          ERR_DISK_IO | ERR_MEMORY_EXHAUSTED. Suspends. */
enum err archive_place_find(const struct account *, nsec until, struct archive_place *) MUST_CHECK;

/* Whether there is an archive there at all, or above it: its root. Errors of the store. Suspends.
 */
enum err archive_place_root(const struct account *, nsec until, struct archive_place *,
			    bool *found) MUST_CHECK;

/* What is wrong with an archive that is a source is wrong with this source and nobody else's:
 * ERR_SOURCE_FOREIGN, with the note's words, for ERR_ARCHIVE_* and what the file system refuses. */
enum err archive_place_error(enum err, const char *shown);

#endif
