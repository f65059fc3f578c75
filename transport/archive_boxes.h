/* The folders of a mailbox being archived, by the ledger's number, each with the spellings that
 * every message of it needs. Names only: ten thousand folders are a few MiB. */
#ifndef MAILHAUL_ARCHIVE_BOXES_H
#define MAILHAUL_ARCHIVE_BOXES_H

#include "transport/pack_index.h"

struct archive_box;
/* Zero-initialised is valid and empty; release with archive_boxes_free(). */
struct archive_boxes {
	struct archive_box **boxes;
	size_t count, room, current;
};
enum err archive_boxes_add(struct archive_boxes *, const struct box *) MUST_CHECK;
/* NULL: never added. Valid until archive_boxes_free(). */
const struct pack_box *archive_boxes_find(struct archive_boxes *, uint64_t box_no);
void archive_boxes_free(struct archive_boxes *);

#endif
