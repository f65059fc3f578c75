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

#include "engine/lane_plan_state.h"

enum err plan_open(struct ledger *ledger, struct plan **out)
{
	struct plan *plan = calloc(1, sizeof *plan);

	if (!plan)
		return RAISE(ERR_MEMORY_EXHAUSTED, "planning a mailbox");
	plan->ledger = ledger;
	*out = plan;
	return OK;
}

void plan_newest_first(struct plan *plan)
{
	must(plan->boxes_count == 0);
	plan->newest_first = true;
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

/* ---- ranges ---- */

/* The folder of a range: it is there. */
static struct plan_box *range_box(struct plan *plan, const struct plan_range *range)
{
	struct plan_box *box = plan_find_box(plan, range->box_no);

	must(box);
	return box;
}

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
	plan_take_box(from_box, box);
	return OK;
}

/* The width goes with how densely a folder's numbers are used, and so do pieces of it. */
static uint64_t piece_width(const struct plan *plan)
{
	uint64_t width = plan->boxes[plan->at].width;

	return plan->pieces > 1 ? max_u64(1, width / plan->pieces) : width;
}

void plan_cut(struct plan *plan, unsigned pieces)
{
	plan->pieces = pieces;
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
		*last = min_u64(gap.last, *first + piece_width(plan) - 1);
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

/* Of a range that was left open, which may be as wide as the folder. */
static enum err next_open_piece(struct plan *plan, struct plan_box *box, uint64_t first)
{
	box->after = min_u64(box->open_to, first + box->width - 1);
	return range_open(plan, box, first, box->after, false);
}

/* From above: what is new is intended as one range, and taken up with what was left open, a piece
 * at a time. A piece is judged as a range of its own; what of it is done the ledger cuts off. */
static enum err next_range_down(struct plan *plan, struct plan_box *box)
{
	struct ledger_range open;
	uint64_t first;
	enum err e;

	if (box->planned_to < box->next_no) {
		e = ledger_intend(plan->ledger, box->box_no, box->planned_to, box->next_no - 1);
		if (e)
			return e;
		box->planned_to = box->below = box->next_no;
	}
	e = ledger_open_range_below(plan->ledger, box->box_no, box->below, &open);
	if (e) {
		box->below = e == ERR_PIPE_ENDED ? 0 : box->below;
		return e;
	}
	first = open.last - open.first < box->width ? open.first : open.last - box->width + 1;
	box->below = first;
	return range_open(plan, box, first, open.last, false);
}

/* Open the next range of a box: one left open before, else a new one. ERR_PIPE_ENDED: none is left.
 */
static enum err next_range(struct plan *plan, struct plan_box *box)
{
	struct ledger_range open;
	uint64_t first = box->planned_to, last;
	enum err e;

	if (plan->newest_first)
		return next_range_down(plan, box);
	if (box->after < box->open_to)
		return next_open_piece(plan, box, box->after + 1);
	if (box->after < box->open_before) {
		e = ledger_open_range(plan->ledger, box->box_no, box->after, &open);
		if (e == OK && open.first < box->open_before) {
			box->open_to = open.last;
			return next_open_piece(plan, box, open.first);
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
	if (box->left_out || box->rests)
		return true;
	if (plan->newest_first)
		return box->planned_to >= box->next_no && box->below <= 1;
	return box->planned_to >= box->next_no && box->after >= box->open_before;
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

		if (box->left_out || (!box->left_first && plan_box_there(box) >= box->announced))
			continue;
		*box_no = box->box_no;
		*announced = box->announced;
		*settled = plan_box_there(box);
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
	struct plan_box *box = plan_find_box(plan, box_no);
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
		box->open_to = 0;
		box->open_before = box->planned_to;
		box->below = box->walked ? box->below : box->planned_to;
	}
	suspects_next_attempt(&plan->suspects);
}
