/* What a plan is made of, for the files that make it up: lane_plan.c (ranges, what to ask next,
 * what became of it) and lane_plan_box.c (folders). Not for anybody else. */
#ifndef MAILHAUL_LANE_PLAN_STATE_H
#define MAILHAUL_LANE_PLAN_STATE_H

#include "engine/lane_plan.h"
#include "engine/suspect.h"

/* A range of the ledger that is being worked on. */
struct plan_range {
	uint64_t box_no, first, last;
	uint64_t delivered;    /* messages that came */
	uint64_t outstanding;  /* of these, not settled yet */
	unsigned asks_pending; /* asked and not answered */
	bool all_asked;
	bool failed; /* part of it was not answered well: stays open for the next attempt */
	bool left;   /* part of it is left for the next run: stays open until then */
	struct plan_range *next;
};

struct plan_box {
	uint64_t box_no, epoch, next_no;
	uint64_t planned_to;  /* first number not covered by a range yet */
	uint64_t open_before; /* ranges below this were open when the attempt began */
	uint64_t after;	      /* of these, taken up to here, */
	uint64_t open_to;     /* in a range that ends here, */
	uint64_t below;	      /* or with the newest first: those from here on were taken up */
	uint64_t width;	      /* of the next new range */
	uint64_t announced;   /* messages in it, says the source */
	uint64_t settled;     /* of them, in all runs */
	uint64_t left_first;  /* the first one that is left for the next run; 0: none */
	uint64_t vanished;    /* of the settled ones, as this run found */
	bool walked, left_out;
	bool rests; /* the source wants it asked later: not in this attempt */
	bool again; /* something in it failed: walk it again in the next attempt */
	bool renamed;
	uint64_t scan_to;   /* what was planned before this run; 0: nothing to scan, or scanned */
	uint64_t scan_from; /* of that, what no attempt has scanned yet */
	bool scan_unclear;
	char *name, *raw;
	uint64_t name_hash;
	struct cursor *before, *cursor; /* while there is something to scan */
};

/* An asking not answered yet, oldest first. */
struct plan_ask {
	struct plan_range *range;
	uint64_t first, last;
	unsigned reader;
};
enum { PLAN_ASKS_MAX = 64 };

struct plan {
	struct ledger *ledger;
	bool newest_first;
	struct plan_box *boxes;
	size_t boxes_count, boxes_room;
	size_t at;    /* box being walked */
	size_t found; /* where one was looked up last */
	uint64_t box_no_highest;
	struct plan_range *ranges;
	unsigned ranges_count;
	struct plan_range *current; /* being asked for */
	uint64_t from;		    /* next key of it to look at */
	bool current_is_new;	    /* nothing in it can be settled */
	struct plan_ask asks[PLAN_ASKS_MAX];
	unsigned asks_count;
	struct suspects suspects;
	uint64_t skipped;
	bool advanced;		/* a hopeless message was skipped or left in this attempt */
	unsigned left_in_a_row; /* and nothing was settled since */
	bool paused;
	unsigned pieces; /* a range is handed out in so many; 0 and 1: whole */
};

/* NULL: not a folder of this plan. */
struct plan_box *plan_find_box(struct plan *, uint64_t box_no);
/* Its numbers and names. */
void plan_take_box(const struct plan_box *, struct box *);
/* Settled messages that are in the source. */
uint64_t plan_box_there(const struct plan_box *);

#endif
