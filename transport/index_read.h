/* The index of one pack read line by line: the object beside the pack and, from where that is
 * damaged on, the copy inside the pack, whose message lines are the same (docs/FORMAT.md section
 * 2.2). Not for: whether the two agree (archive_verify.c). Everything suspends but close and what
 * says otherwise. */
#ifndef MAILHAUL_INDEX_READ_H
#define MAILHAUL_INDEX_READ_H

#include "transport/pack_index.h"

struct index_read;

/* index_name  in the mailbox's `index`; NULL: there is none
 * returns     OK | ERR_MEMORY_EXHAUSTED; what is wrong with the index is said by the next calls */
enum err index_read_open(struct store *, const char *mailbox_key, uint64_t number,
			 const char *index_name, struct index_read **) MUST_CHECK;
/* The header line, of the copy if need be: then the next calls read the copy, too. */
enum err index_read_head(struct index_read *, struct pack_head *) MUST_CHECK;
/* The next message's line. ERR_PIPE_ENDED; or an error of the object that index_read_key() names:
 * the next call goes on with the copy, if it was not that one already. */
enum err index_read_next(struct index_read *, struct pack_line *) MUST_CHECK;
/* Whether the pack is there and as long as its index says, if the line before came from beside it.
 */
enum err index_read_check_pack(struct index_read *) MUST_CHECK;
/* Do not suspend. */
const char *index_read_key(const struct index_read *);
const char *index_read_pack(const struct index_read *); /* the pack's key; from the first line on */
void index_read_close(struct index_read **);

#endif
