/* How a sink comes into an archive: whose it is, the mailbox's place in it, and the right to write.
 * docs/FORMAT.md section 1. Not for: what is stored there. */
#ifndef MAILHAUL_ARCHIVE_ENTRY_H
#define MAILHAUL_ARCHIVE_ENTRY_H

#include "engine/sink.h"
#include "transport/archive_mark.h"

/* Zero-initialised is valid and empty. */
struct archive_entry {
	struct store *store; /* NULL: a dry run, and there is nothing */
	char mailbox_name[512], mailbox_key[ARCHIVE_MAILBOX_KEY_BYTES_MAX + 1];
	const struct tap_type *digest;
	bool dry_run;
	bool entered; /* the mailbox has its place in the archive */
};

/* Open the store and look at it: nothing is changed before it is known to be this ledger's, or
 * empty. `others`: a directory of the mailbox that another layout fills, "packs" or "eml".
 * returns     OK | ERR_SINK_LEDGER_LOST | ERR_SINK_FOREIGN | ERR_SINK_DIGEST | ERR_ARCHIVE_FORMAT |
 *             ERR_DISK_* and what else the store says */
enum err archive_entry_open(struct archive_entry *, const struct account *,
			    const struct sink_config *, const char *others, nsec until) MUST_CHECK;
/* Take the right to write; from here on nothing of an earlier run appears late. */
enum err archive_entry_claim(struct archive_entry *, const struct account *,
			     const struct sink_config *) MUST_CHECK;
/* The mailbox gets its place, once. Not before the source was met: a mistyped password leaves no
 * empty mailbox behind. */
enum err archive_entry_enter(struct archive_entry *) MUST_CHECK;
void archive_entry_close(struct archive_entry *);

#endif
