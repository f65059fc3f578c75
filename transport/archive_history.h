/* What each run brought to a mailbox of an archive: the generations of its manifest one after the
 * other, and the changes that each of them lists. Not for: how a message is now (archive.h).
 * Everything suspends but close. */
#ifndef MAILHAUL_ARCHIVE_HISTORY_H
#define MAILHAUL_ARCHIVE_HISTORY_H

#include "transport/archive.h"
#include "transport/changes.h"

struct archive_history;

struct archive_generation {
	uint64_t generation;
	char created[40];
	/* What came with it. */
	uint64_t packs, messages, bytes, reflagged, vanished, renumbered;
};

/* Of the mailbox as archive_mailbox_next() returned it, up to its generation. */
enum err archive_history_open(struct archive *, const struct archive_mailbox *,
			      struct archive_history **) MUST_CHECK;
/* ERR_PIPE_ENDED behind the newest. A manifest or an object of changes that is damaged is told
 * (archive_on_damage()), and the others are read; with nobody to tell, ERR_ARCHIVE_DAMAGED, and the
 * next call goes on. */
enum err archive_history_next(struct archive_history *, struct archive_generation *) MUST_CHECK;
/* The next change that the generation last returned lists; the same. */
enum err archive_history_change(struct archive_history *, struct change_line *) MUST_CHECK;
void archive_history_close(struct archive_history **);

#endif
