/* What a lane has still to ask its source for: the open ranges of every folder, cut where messages
 * are settled already, and narrowed where the source failed before. The ledger knows the truth;
 * this is the walk over it. Not for: talking to source or sink. */
#ifndef MAILHAUL_LANE_PLAN_H
#define MAILHAUL_LANE_PLAN_H

#include "engine/ledger.h"

struct plan;

/* `ledger` is borrowed until close. */
enum err plan_open(struct ledger *, struct plan **) MUST_CHECK;
void plan_close(struct plan **);
/* Before any folder: new ranges are asked for from the highest number down. The whole of a folder
 * is intended at once then, so the ledger's first number never planned is true whenever it ends. */
void plan_newest_first(struct plan *);

/* A folder to copy (selectable, fate OK): enters it in the ledger and sets box->box_no. One with
 * another epoch than before is a new folder. `flags`: see source.h's scan(). Suspends. */
enum err plan_add_box(struct plan *, uint64_t mailbox_no, struct box *, bool flags) MUST_CHECK;

/* The next folder, from *index on, in which something may have changed since it was copied, in
 * messages [first, last]; false: none is left. Fills what scan() wants of a box, and renamed. */
bool plan_next_scan(const struct plan *, size_t *index, struct box *, uint64_t *first,
		    uint64_t *last);
/* That is done up to message `last`, whatever becomes of the attempt; so many messages are there
 * again that were thought to be gone, and so many gone. `unclear` is kept for the folder's end. */
void plan_scanned_to(struct plan *, uint64_t box_no, uint64_t last, uint64_t came_back,
		     uint64_t vanished, bool unclear);
bool plan_scan_is_unclear(struct plan *, uint64_t box_no);
/* All of the folder is. */
void plan_scanned(struct plan *, uint64_t box_no);
/* The folder is given up in this run. */
void plan_leave_out(struct plan *, uint64_t box_no);

/* Announced by the source and not settled yet, as far as is known. */
uint64_t plan_left(const struct plan *);

/* The next keys to ask for, by reader `reader` (below LANE_READERS_MAX); one caller at a time.
 * `box` gets raw, epoch, box_no and name of the folder. Intends new ranges on the way.
 * ERR_PIPE_ENDED: nothing more in this attempt, see plan_finished(). Suspends.
 */
enum err plan_next(struct plan *, unsigned reader, struct box *, uint64_t *first,
		   uint64_t *last) MUST_CHECK;
/* Everything of every folder was asked for and answered. False after plan_next() ended: the number
 * of ranges in flight reached its bound; settle, plan_restart(), go on. */
bool plan_finished(const struct plan *);
/* From now on ranges are handed out in so many pieces each; 1: whole. */
void plan_cut(struct plan *, unsigned pieces);

/* The source handed over message `no`: it is on its way to the sink. */
void plan_taken(struct plan *, uint64_t box_no, uint64_t no);
/* It was settled (queued in the ledger). May mark its range done. Suspends only where
 * ledger_range_done() does. Messages of earlier runs are accepted and ignored. */
enum err plan_settled(struct plan *, uint64_t box_no, uint64_t no) MUST_CHECK;
/* It did not get past us: the next attempt asks for it again. */
void plan_given_back(struct plan *, uint64_t box_no, uint64_t no);
/* What the reader asked first, [first, last], has been answered. A fate of class SKIP_MSG makes it
 * a suspect. Of class SKIP_BOX: the folder is left out from now on; of class BACKOFF, for this
 * attempt. Suspends as plan_settled. */
enum err plan_answered(struct plan *, unsigned reader, uint64_t box_no, uint64_t first,
		       uint64_t last, enum err fate) MUST_CHECK;

/* The reader's conversation ended in the middle: its oldest unanswered asking may be what kills it.
 * With `progress` (something was settled in this attempt) it is taken for bad luck. */
void plan_failed(struct plan *, unsigned reader, bool progress);
/* Since the last plan_restart() a suspicion was narrowed or a hopeless message skipped or left for
 * the next run: progress of a kind, which must not count as a failed attempt, within bounds. */
bool plan_advanced(const struct plan *);
/* Hopeless messages settled as skipped so far. */
uint64_t plan_skipped(const struct plan *);
/* Begin another attempt: nothing may be in flight (all that was taken is settled). */
void plan_restart(struct plan *);

/* After plan_finished(): the next folder, from *index on, of which fewer messages are settled than
 * the source announced. Deleted meanwhile, most likely; but it might be a server that loses mail,
 * so it is never passed over in silence. Or one of which messages are left for the next run: *left
 * is the first of them, else 0. */
bool plan_short_box(const struct plan *, size_t *index, uint64_t *box_no, uint64_t *announced,
		    uint64_t *settled, uint64_t *left);

/* What a sink wants to know of a folder. */
void plan_fill_box(struct plan *, uint64_t box_no, struct box *);
/* The folder's name as the report shows it; "" if unknown. */
const char *plan_box_name(struct plan *, uint64_t box_no);
/* The folder was given up in this run. */
bool plan_is_left_out(struct plan *, uint64_t box_no);
/* Folders of which nothing is left to ask for, or to be settled. */
uint64_t plan_boxes_done(const struct plan *);

#endif
