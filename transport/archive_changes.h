/* What became of each message, for readers: all changes of a mailbox, the last one about a message
 * found at once. Costs 32 bytes of a table for each message that has one and the lines themselves,
 * all of it in scratch memory that the kernel may put aside. docs/FORMAT.md section 5 has the rule.
 * Everything suspends but what says otherwise. */
#ifndef MAILHAUL_ARCHIVE_CHANGES_H
#define MAILHAUL_ARCHIVE_CHANGES_H

#include "transport/archive_faults.h"
#include "transport/changes.h"

struct archive_changes;

/* Load the objects with numbers up to `last`; those up to `listed` must be there. Each that is
 * damaged or missing is told, and the rest loaded all the same; where there is nobody to tell, the
 * first damage is returned beside an object that can be used. */
enum err archive_changes_open(struct store *, const char *mailbox_key, uint64_t last,
			      uint64_t listed, struct archive_faults *,
			      struct archive_changes **) MUST_CHECK;
void archive_changes_close(struct archive_changes **);

/* Tell of each folder that a message had before it was renumbered into another. */
void archive_changes_on_left(struct archive_changes *, void (*tell)(void *context, const char *box),
			     void *context);
/* Make a message as stored one as it is now. Does not suspend. */
void archive_changes_apply(struct archive_changes *, struct archive_message *);
/* The next change that no apply() has met; start with *at 0. False: none is left. Does not
 * suspend. */
bool archive_changes_unmet(struct archive_changes *, size_t *at, struct change_line *);

#endif
