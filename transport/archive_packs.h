/* Which packs a mailbox has: by its indexes and by the packs themselves, in the order of their
 * numbers, so that neither a lost index nor a lost pack hides the other. */
#ifndef MAILHAUL_ARCHIVE_PACKS_H
#define MAILHAUL_ARCHIVE_PACKS_H

#include "transport/store.h"

/* Zero-initialised is valid and empty; release with archive_packs_free(). */
struct archive_packs {
	struct buffer indexes, packs; /* names */
	const char *index, *pack;     /* the next ones; NULL: at the start */
	bool indexes_over, packs_over;
};

/* List them, and start. Suspends. */
enum err archive_packs_list(struct archive_packs *, struct store *,
			    const char *mailbox_key) MUST_CHECK;
/* From the start again. */
void archive_packs_rewind(struct archive_packs *);
/* The next number, and the name of its index; NULL: there is none. False at the end. Names that are
 * no numbers are passed over, and so are further ones of a number. */
bool archive_packs_next(struct archive_packs *, uint64_t *number, const char **index);
void archive_packs_free(struct archive_packs *);

#endif
