/* The folders of a plan: what the source announced, what the ledger knows of them, and what there
 * is to scan for changes. Not for: their ranges (lane_plan.c). */
#include "engine/lane_plan_state.h"

#include <stdlib.h>

/* Wide enough that a range holds about PARCEL_MESSAGES: numbers may have large holes, and those of
 * a source that makes them of hashes lie all over 62 bits. */
static uint64_t first_width(const struct box *box)
{
	uint64_t spread = box->messages ? box->next_no / box->messages : 1;

	return PARCEL_MESSAGES * max_u64(min_u64(spread, UINT64_C(1) << 52), 1);
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

uint64_t plan_box_there(const struct plan_box *box)
{
	return box->settled - min_u64(box->settled, box->vanished);
}

uint64_t plan_left(const struct plan *plan)
{
	uint64_t left = 0;

	for (size_t i = 0; i < plan->boxes_count; i++) {
		const struct plan_box *box = &plan->boxes[i];
		if (!box->left_out && box->announced > plan_box_there(box))
			left += box->announced - plan_box_there(box);
	}
	return left;
}

/* Messages are settled folder by folder, in the order of the folders, with those of several
 * conversations mixed: the next one is looked for on both sides of the last. */
struct plan_box *plan_find_box(struct plan *plan, uint64_t box_no)
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

void plan_take_box(const struct plan_box *from, struct box *box)
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
	must(!plan_find_box(plan, box->box_no));
	entry = &plan->boxes[plan->boxes_count];
	*entry = (struct plan_box){
		.box_no = box->box_no,
		.epoch = box->epoch,
		.next_no = box->next_no,
		.planned_to = max_u64(planned_to, 1),
		.open_before = max_u64(planned_to, 1),
		.after = planned_to <= 1 ? 1 : 0, /* a new folder has nothing open */
		.below = max_u64(planned_to, 1),
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
		plan_take_box(at, box);
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
	struct plan_box *box = plan_find_box(plan, box_no);

	must(box);
	box->scan_from = last + 1;
	box->scan_unclear |= unclear;
	box->settled += came_back;
	box->vanished += vanished;
}

bool plan_scan_is_unclear(struct plan *plan, uint64_t box_no)
{
	const struct plan_box *box = plan_find_box(plan, box_no);

	return box && box->scan_unclear;
}

void plan_scanned(struct plan *plan, uint64_t box_no)
{
	struct plan_box *box = plan_find_box(plan, box_no);

	must(box);
	free(box->before);
	free(box->cursor);
	box->before = box->cursor = NULL;
}

void plan_leave_out(struct plan *plan, uint64_t box_no)
{
	struct plan_box *box = plan_find_box(plan, box_no);

	must(box);
	box->left_out = true;
}

void plan_fill_box(struct plan *plan, uint64_t box_no, struct box *box)
{
	const struct plan_box *from = plan_find_box(plan, box_no);

	must(from);
	plan_take_box(from, box);
}

const char *plan_box_name(struct plan *plan, uint64_t box_no)
{
	const struct plan_box *box = plan_find_box(plan, box_no);

	return box ? box->name : "";
}

bool plan_is_left_out(struct plan *plan, uint64_t box_no)
{
	const struct plan_box *box = plan_find_box(plan, box_no);

	return !box || box->left_out;
}

/* A range of it that was begun is neither answered nor settled yet. */
static bool has_open_range(const struct plan *plan, uint64_t box_no)
{
	for (const struct plan_range *at = plan->ranges; at; at = at->next)
		if (at->box_no == box_no)
			return true;
	return false;
}

uint64_t plan_boxes_done(const struct plan *plan)
{
	uint64_t done = 0;

	for (size_t i = 0; i < plan->boxes_count; i++) {
		const struct plan_box *box = &plan->boxes[i];

		done += box->walked && !box->left_out && !box->again &&
			!has_open_range(plan, box->box_no);
	}
	return done;
}
