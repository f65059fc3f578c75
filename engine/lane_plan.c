/* What a lane has still to ask for. A folder is walked in two steps: first the ranges an earlier
 * run or attempt left open, without what is settled in them, then new ranges up to the source's
 * next number.
 *
 * A range that fails is a *suspect*: the next attempt asks for it in PLAN_NARROW pieces, and so on
 * down to single messages. One that is still refused alone is skipped with a reason. One in which
 * the conversation ends again and again is left for the next run, for it may be the line that is
 * bad and not the message: it stays open in the ledger, and the folder is reported. So one message
 * that breaks a server's FETCH costs a few round trips and never the folder. */
#include "engine/lane_plan.h"

#include <stdlib.h>

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
	uint64_t after;	      /* of these, the last one taken up */
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
};

enum err plan_open(struct ledger *ledger, struct plan **out)
{
	struct plan *plan = calloc(1, sizeof *plan);

	if (!plan)
		return RAISE(ERR_MEMORY_EXHAUSTED, "planning a mailbox");
	plan->ledger = ledger;
	*out = plan;
	return OK;
}

void plan_close(struct plan **plan)
{
	struct plan *p = *plan;

	if (!p)
		return;
	for (size_t i = 0; i < p->boxes_count; i++) {
		free(p->boxes[i].name);
		free(p->boxes[i].raw);
		free(p->boxes[i].before);
		free(p->boxes[i].cursor);
	}
	for (struct plan_range *range = p->ranges, *next; range; range = next) {
		next = range->next;
		free(range);
	}
	free(p->boxes);
	free(p);
	*plan = NULL;
}

/* ---- folders ---- */

/* Wide enough that a range holds about PARCEL_MESSAGES: numbers may have large holes. */
static uint64_t first_width(const struct box *box)
{
	uint64_t spread = box->messages ? box->next_no / box->messages : 1;

	return PARCEL_MESSAGES * max_u64(min_u64(spread, UINT64_C(1) << 20), 1);
}

static enum err boxes_grow(struct plan *plan)
{
	size_t room = plan->boxes_room ? plan->boxes_room * 2 : 64;
	struct plan_box *boxes;

	if (plan->boxes_count < plan->boxes_room)
		return OK;
	boxes = realloc(plan->boxes, room * sizeof *boxes);
	if (!boxes)
		return RAISE(ERR_MEMORY_EXHAUSTED, "planning %zu folders", room);
	plan->boxes = boxes;
	plan->boxes_room = room;
	return OK;
}

/* Settled messages that are in the source. */
static uint64_t there(const struct plan_box *box)
{
	return box->settled - min_u64(box->settled, box->vanished);
}

uint64_t plan_left(const struct plan *plan)
{
	uint64_t left = 0;

	for (size_t i = 0; i < plan->boxes_count; i++) {
		const struct plan_box *box = &plan->boxes[i];
		if (!box->left_out && box->announced > there(box))
			left += box->announced - there(box);
	}
	return left;
}

/* Messages are settled folder by folder, in the order of the folders, with those of several
 * conversations mixed: the next one is looked for on both sides of the last. */
static struct plan_box *find_box(struct plan *plan, uint64_t box_no)
{
	struct plan_box *boxes = plan->boxes;
	size_t from = plan->found;

	for (size_t i = 0; i < plan->boxes_count && box_no <= plan->box_no_highest; i++) {
		if (from + i < plan->boxes_count && boxes[from + i].box_no == box_no)
			return &boxes[plan->found = from + i];
		if (i <= from && boxes[from - i].box_no == box_no)
			return &boxes[plan->found = from - i];
	}
	return NULL;
}

static void fill_box(const struct plan_box *from, struct box *box)
{
	box->box_no = from->box_no;
	box->epoch = from->epoch;
	box->next_no = from->next_no;
	bytes_copy(box->name, from->name, strlen(from->name) + 1, BYTES_META);
	bytes_copy(box->raw, from->raw, strlen(from->raw) + 1, BYTES_META);
}

/* Nothing can have changed in it that we would hear of. */
static bool is_unchanged(const struct box *box, bool flags)
{
	return !box->renamed && strcmp(box->before.at, box->cursor.at) == 0 && box->cursor.at[0] &&
	       (box->cursor.exact || !flags);
}

static struct cursor *cursor_dup(const struct cursor *cursor)
{
	struct cursor *copy = malloc(sizeof *copy);

	if (copy)
		*copy = *cursor;
	return copy;
}

static enum err remember_scan(struct plan_box *entry, const struct box *box)
{
	entry->scan_to = entry->planned_to - 1;
	entry->scan_from = 1;
	entry->renamed = box->renamed;
	entry->before = cursor_dup(&box->before);
	entry->cursor = cursor_dup(&box->cursor);
	return entry->before && entry->cursor
		       ? OK
		       : RAISE(ERR_MEMORY_EXHAUSTED, "planning folder \"%.200s\"", box->name);
}

static uint64_t hash_name(const char *name)
{
	uint64_t hash = 14695981039346656037u; /* FNV-1a */

	for (; *name; name++)
		hash = (hash ^ (unsigned char)*name) * 1099511628211u;
	return hash;
}

static const struct plan_box *find_name(const struct plan *plan, const char *name)
{
	uint64_t hash = hash_name(name);

	for (size_t i = 0; i < plan->boxes_count; i++)
		if (plan->boxes[i].name_hash == hash && strcmp(plan->boxes[i].name, name) == 0)
			return &plan->boxes[i];
	return NULL;
}

/* Before the ledger hears of it: it would take one for the successor of the other. */
static enum err check_twin(const struct plan *plan, struct box *box)
{
	const struct plan_box *twin = find_name(plan, box->name);

	if (!twin)
		return OK;
	box->box_no = twin->box_no;
	return RAISE(ERR_SOURCE_TWINS, "folder \"%.200s\", as the server spells it \"%.200s\"",
		     box->name, box->raw);
}

enum err plan_add_box(struct plan *plan, uint64_t mailbox_no, struct box *box, bool flags)
{
	uint64_t epoch_before = 0, planned_to = 0;
	struct plan_box *entry;
	enum err e = check_twin(plan, box);

	if (e || (e = ledger_box(plan->ledger, mailbox_no, box, &epoch_before, &planned_to)) ||
	    (e = boxes_grow(plan)))
		return e;
	must(epoch_before == box->epoch);
	must(!find_box(plan, box->box_no));
	entry = &plan->boxes[plan->boxes_count];
	*entry = (struct plan_box){
		.box_no = box->box_no,
		.epoch = box->epoch,
		.next_no = box->next_no,
		.planned_to = max_u64(planned_to, 1),
		.open_before = max_u64(planned_to, 1),
		.after = planned_to <= 1 ? 1 : 0, /* a new folder has nothing open */
		.width = first_width(box),
		.announced = box->messages,
		.settled = box->settled,
		.name = strdup(box->name),
		.raw = strdup(box->raw),
		.name_hash = hash_name(box->name),
	};
	if (!entry->name || !entry->raw)
		e = RAISE(ERR_MEMORY_EXHAUSTED, "planning folder \"%.200s\"", box->name);
	plan->boxes_count++;
	plan->box_no_highest = max_u64(plan->box_no_highest, box->box_no);
	if (!e && (entry->planned_to > 1 || box->renamed) && !is_unchanged(box, flags))
		e = remember_scan(entry, box);
	return e;
}

bool plan_next_scan(const struct plan *plan, size_t *index, struct box *box, uint64_t *first,
		    uint64_t *last)
{
	for (; *index < plan->boxes_count; ++*index) {
		const struct plan_box *at = &plan->boxes[*index];

		if (!at->cursor || at->left_out)
			continue;
		fill_box(at, box);
		box->before = *at->before;
		box->cursor = *at->cursor;
		box->renamed = at->renamed;
		*first = at->scan_from;
		*last = at->scan_to;
		++*index;
		return true;
	}
	return false;
}

void plan_scanned_to(struct plan *plan, uint64_t box_no, uint64_t last, uint64_t came_back,
		     uint64_t vanished, bool unclear)
{
	struct plan_box *box = find_box(plan, box_no);

	must(box);
	box->scan_from = last + 1;
	box->scan_unclear |= unclear;
	box->settled += came_back;
	box->vanished += vanished;
}

bool plan_scan_is_unclear(struct plan *plan, uint64_t box_no)
{
	const struct plan_box *box = find_box(plan, box_no);

	return box && box->scan_unclear;
}

void plan_scanned(struct plan *plan, uint64_t box_no)
{
	struct plan_box *box = find_box(plan, box_no);

	must(box);
	free(box->before);
	free(box->cursor);
	box->before = box->cursor = NULL;
}

void plan_leave_out(struct plan *plan, uint64_t box_no)
{
	struct plan_box *box = find_box(plan, box_no);

	must(box);
	box->left_out = true;
}

/* The folder of a range: it is there. */
static struct plan_box *range_box(struct plan *plan, const struct plan_range *range)
{
	struct plan_box *box = find_box(plan, range->box_no);

	must(box);
	return box;
}

void plan_fill_box(struct plan *plan, uint64_t box_no, struct box *box)
{
	const struct plan_box *from = find_box(plan, box_no);

	must(from);
	fill_box(from, box);
}

const char *plan_box_name(struct plan *plan, uint64_t box_no)
{
	const struct plan_box *box = find_box(plan, box_no);

	return box ? box->name : "";
}

bool plan_is_left_out(struct plan *plan, uint64_t box_no)
{
	const struct plan_box *box = find_box(plan, box_no);

	return !box || box->left_out;
}

uint64_t plan_boxes_done(const struct plan *plan)
{
	uint64_t done = 0;

	for (size_t i = 0; i < plan->boxes_count; i++)
		done += plan->boxes[i].walked && !plan->boxes[i].left_out;
	return done;
}

/* ---- ranges ---- */

static enum err range_open(struct plan *plan, const struct plan_box *box, uint64_t first,
			   uint64_t last, bool is_new)
{
	struct plan_range *range = calloc(1, sizeof *range);

	must(!plan->current && first <= last);
	if (!range)
		return RAISE(ERR_MEMORY_EXHAUSTED, "planning a range");
	range->box_no = box->box_no;
	range->first = first;
	range->last = last;
	range->next = plan->ranges;
	plan->ranges = range;
	plan->ranges_count++;
	plan->current = range;
	plan->current_is_new = is_new;
	plan->from = first;
	return OK;
}

static void range_forget(struct plan *plan, struct plan_range *range)
{
	struct plan_range **at = &plan->ranges;

	must(range != plan->current);
	while (*at != range)
		at = &(*at)->next;
	*at = range->next;
	plan->ranges_count--;
	free(range);
}

/* Done when all of it was asked, answered and settled. One with a failed or left part stays open in
 * the ledger: the next attempt, or the next run, takes it up again. */
static enum err range_judge(struct plan *plan, struct plan_range *range)
{
	enum err e = OK;

	if (!range->all_asked || range->asks_pending || range->outstanding)
		return OK;
	if (range->failed)
		range_box(plan, range)->again = true;
	else if (!range->left)
		e = ledger_range_done(plan->ledger, range->box_no, range->first, range->last);
	range_forget(plan, range);
	return e;
}

static struct plan_range *find_range(const struct plan *plan, uint64_t box_no, uint64_t no)
{
	for (struct plan_range *range = plan->ranges; range; range = range->next)
		if (range->box_no == box_no && range->first <= no && no <= range->last)
			return range;
	return NULL;
}

/* ---- what to ask next ---- */

static void leave(struct plan *plan, const struct suspect *s)
{
	struct plan_box *box = &plan->boxes[plan->at];

	plan->current->left = true;
	if (!suspects_leave(&plan->suspects, s))
		return;
	plan->advanced = true;
	plan->left_in_a_row++;
	if (!box->left_first || s->first < box->left_first)
		box->left_first = s->first;
}

static enum err give_up(struct plan *plan, const struct suspect *s)
{
	struct ledger_row row = {
		.box_no = s->box_no, .no = s->first, .state = LEDGER_SKIPPED, .reason = s->fate
	};

	if (s->fate == ERR_SOURCE_POISON) {
		leave(plan, s);
		return OK;
	}
	plan->skipped++;
	plan->advanced = true;
	plan->boxes[plan->at].settled++;
	return ledger_settle(plan->ledger, &row);
}

static enum err ask(struct plan *plan, unsigned reader, const struct plan_box *from_box,
		    uint64_t first, uint64_t last, struct box *box)
{
	struct plan_range *range = plan->current;

	must(plan->asks_count < PLAN_ASKS_MAX);
	plan->asks[plan->asks_count++] = (struct plan_ask){ range, first, last, reader };
	range->asks_pending++;
	plan->from = last + 1;
	if (plan->from > range->last) {
		range->all_asked = true;
		plan->current = NULL;
	}
	fill_box(from_box, box);
	return OK;
}

/* Take the next piece of the current range. ERR_PIPE_ENDED: there is none, it is all asked. */
static enum err next_piece(struct plan *plan, uint64_t *first, uint64_t *last)
{
	struct plan_range *range = plan->current;
	const struct suspect *s;
	struct ledger_range gap = { plan->from, range->last };
	enum err e;

	for (; plan->from <= range->last; plan->from = gap.first + 1) {
		gap = (struct ledger_range){ plan->from, range->last };
		if (!plan->current_is_new && (e = ledger_unsettled(plan->ledger, range->box_no,
								   plan->from, range->last, &gap)))
			break;
		*first = gap.first;
		/* What is open again may be as wide as the folder. */
		*last = min_u64(gap.last, *first + plan->boxes[plan->at].width - 1);
		s = suspects_cut(&plan->suspects, range->box_no, *first, last);
		if (!s || !suspect_is_hopeless(s))
			return OK;
		if ((e = give_up(plan, s)))
			return e;
	}
	if (plan->from > range->last)
		e = ERR_PIPE_ENDED;
	if (e != ERR_PIPE_ENDED)
		return e;
	range->all_asked = true;
	plan->current = NULL;
	if ((e = range_judge(plan, range)))
		return e;
	return ERR_PIPE_ENDED;
}

/* Open the next range of a box: one left open before, else a new one. ERR_PIPE_ENDED: none is left.
 */
static enum err next_range(struct plan *plan, struct plan_box *box)
{
	struct ledger_range open;
	uint64_t first = box->planned_to, last;
	enum err e;

	if (box->after < box->open_before) {
		e = ledger_open_range(plan->ledger, box->box_no, box->after, &open);
		if (e == OK && open.first < box->open_before) {
			box->after = open.last;
			return range_open(plan, box, open.first, open.last, false);
		}
		if (e && e != ERR_PIPE_ENDED)
			return e;
		box->after = box->open_before;
	}
	if (first >= box->next_no)
		return ERR_PIPE_ENDED;
	last = min_u64(box->next_no - 1, first + box->width - 1);
	if ((e = ledger_intend(plan->ledger, box->box_no, first, last)))
		return e;
	box->planned_to = last + 1;
	return range_open(plan, box, first, last, true);
}

/* The folder was given up while a range of it was being asked for. */
static enum err abandon_current(struct plan *plan)
{
	struct plan_range *range = plan->current;

	plan->current = NULL;
	range->failed = range->all_asked = true;
	return range_judge(plan, range);
}

/* Nothing of this folder is left to ask for in this attempt. */
static bool is_walked(const struct plan *plan, const struct plan_box *box)
{
	if (plan->current)
		return false;
	return box->left_out || box->rests ||
	       (box->planned_to >= box->next_no && box->after >= box->open_before);
}

enum err plan_next(struct plan *plan, unsigned reader, struct box *box, uint64_t *first,
		   uint64_t *last)
{
	enum err e = OK;

	while (plan->at < plan->boxes_count) {
		struct plan_box *at = &plan->boxes[plan->at];

		if (at->walked) {
			plan->at++;
			continue;
		}
		bool passed = at->left_out || at->rests;

		if (passed && plan->current) {
			e = abandon_current(plan);
		} else if (plan->current) {
			if ((e = next_piece(plan, first, last)) == OK)
				return ask(plan, reader, at, *first, *last, box);
		} else if (passed) {
			e = ERR_PIPE_ENDED;
		} else if (plan->ranges_count >= PLAN_RANGES_MAX) {
			plan->paused = true;
			return ERR_PIPE_ENDED;
		} else {
			e = next_range(plan, at);
		}
		if (e && e != ERR_PIPE_ENDED)
			return e;
		at->walked = is_walked(plan, at);
	}
	return ERR_PIPE_ENDED;
}

bool plan_finished(const struct plan *plan)
{
	for (size_t i = 0; i < plan->boxes_count; i++)
		if (plan->boxes[i].again && !plan->boxes[i].left_out)
			return false;
	return plan->at == plan->boxes_count && !plan->paused && plan->ranges_count == 0;
}

/* ---- what became of it ---- */

void plan_taken(struct plan *plan, uint64_t box_no, uint64_t no)
{
	struct plan_range *range = find_range(plan, box_no, no);

	must(range);
	range->delivered++;
	range->outstanding++;
}

enum err plan_settled(struct plan *plan, uint64_t box_no, uint64_t no)
{
	struct plan_range *range = find_range(plan, box_no, no);

	if (!range)
		return OK; /* an earlier run's: its range is looked at when it is taken up */
	must(range->outstanding > 0);
	range->outstanding--;
	plan->left_in_a_row = 0;
	range_box(plan, range)->settled++;
	return range_judge(plan, range);
}

void plan_given_back(struct plan *plan, uint64_t box_no, uint64_t no)
{
	struct plan_range *range = find_range(plan, box_no, no);

	must(range && range->outstanding > 0);
	range->outstanding--;
	range->failed = true;
}

bool plan_short_box(const struct plan *plan, size_t *index, uint64_t *box_no, uint64_t *announced,
		    uint64_t *settled, uint64_t *left)
{
	for (; *index < plan->boxes_count; ++*index) {
		const struct plan_box *box = &plan->boxes[*index];

		if (box->left_out || (!box->left_first && there(box) >= box->announced))
			continue;
		*box_no = box->box_no;
		*announced = box->announced;
		*settled = there(box);
		*left = box->left_first;
		++*index;
		return true;
	}
	return false;
}

/* Numbers with holes: too few came, ask wider; very many, narrower. */
static void adapt_width(struct plan_box *box, const struct plan_range *range)
{
	if (range->last - range->first + 1 < box->width)
		return;
	if (range->delivered < PARCEL_MESSAGES / 4 && box->width < UINT64_C(1) << 28)
		box->width *= 4;
	else if (range->delivered > PARCEL_MESSAGES * 2 && box->width > PARCEL_MESSAGES)
		box->width /= 2;
}

/* The oldest unanswered asking of a reader; asks_count if it has none. */
static unsigned oldest_ask(const struct plan *plan, unsigned reader)
{
	unsigned i = 0;

	while (i < plan->asks_count && plan->asks[i].reader != reader)
		i++;
	return i;
}

enum err plan_answered(struct plan *plan, unsigned reader, uint64_t box_no, uint64_t first,
		       uint64_t last, enum err fate)
{
	struct plan_box *box = find_box(plan, box_no);
	unsigned at = oldest_ask(plan, reader);
	struct plan_ask oldest;

	must(at < plan->asks_count && box);
	oldest = plan->asks[at];
	must(oldest.first == first && oldest.last == last && oldest.range->box_no == box_no);
	plan->asks_count--;
	bytes_move(plan->asks + at, plan->asks + at + 1,
		   (plan->asks_count - at) * sizeof plan->asks[0]);
	must(oldest.range->asks_pending > 0);
	oldest.range->asks_pending--;
	if (fate == OK) {
		adapt_width(box, oldest.range);
	} else {
		oldest.range->failed = true;
		if (err_retry_class(fate) == RETRY_SKIP_MSG)
			suspects_add(&plan->suspects, box_no, first, last, fate);
		else if (err_retry_class(fate) == RETRY_BACKOFF)
			box->rests = true;
		else
			box->left_out = true;
	}
	return range_judge(plan, oldest.range);
}

void plan_failed(struct plan *plan, unsigned reader, bool progress)
{
	unsigned at = oldest_ask(plan, reader);
	const struct plan_ask *oldest = &plan->asks[at];

	if (!progress && at < plan->asks_count)
		suspects_add(&plan->suspects, oldest->range->box_no, oldest->first, oldest->last,
			     ERR_SOURCE_POISON);
}

bool plan_advanced(const struct plan *plan)
{
	return (plan->advanced || plan->suspects.narrowed) &&
	       plan->left_in_a_row <= PLAN_POISON_IN_A_ROW_MAX;
}

uint64_t plan_skipped(const struct plan *plan)
{
	return plan->skipped;
}

void plan_restart(struct plan *plan)
{
	plan->current = NULL;
	plan->asks_count = 0;
	plan->paused = plan->advanced = false;
	plan->at = 0;
	while (plan->ranges) {
		must(plan->ranges->outstanding == 0);
		range_box(plan, plan->ranges)->again = true;
		range_forget(plan, plan->ranges);
	}
	for (size_t i = 0; i < plan->boxes_count; i++) {
		struct plan_box *box = &plan->boxes[i];

		if (box->again)
			box->walked = box->left_out;
		box->rests = false;
		box->again = false;
		box->after = box->walked ? box->after : 0;
		box->open_before = box->planned_to;
	}
	suspects_next_attempt(&plan->suspects);
}
