/* See suspect.h. */
#include "engine/suspect.h"

#include "engine/log.h"

/* The same range, else the first one that overlaps. */
static struct suspect *find(struct suspects *suspects, uint64_t box_no, uint64_t first,
			    uint64_t last)
{
	struct suspect *found = NULL;

	for (unsigned i = 0; i < suspects->count; i++) {
		struct suspect *s = &suspects->items[i];

		if (s->left || s->box_no != box_no || s->first > last || first > s->last)
			continue;
		if (s->first == first && s->last == last)
			return s;
		if (!found || s->first < found->first)
			found = s;
	}
	return found;
}

/* A place for a new one. When all are taken: that of one of an earlier attempt, `wider` before
 * others, since what was wrong in it is being found anew. NULL: all are of this attempt. */
static struct suspect *place(struct suspects *suspects, struct suspect *wider)
{
	if (suspects->count < PLAN_SUSPECTS_MAX)
		return &suspects->items[suspects->count++];
	if (wider && wider->attempt != suspects->attempt)
		return wider;
	for (unsigned i = 0; i < PLAN_SUSPECTS_MAX; i++)
		if (suspects->items[i].attempt != suspects->attempt && !suspects->items[i].left)
			return &suspects->items[i];
	return NULL;
}

void suspects_add(struct suspects *suspects, uint64_t box_no, uint64_t first, uint64_t last,
		  enum err fate)
{
	struct suspect *s = find(suspects, box_no, first, last);
	bool same = s && s->first == first && s->last == last;
	unsigned failures = same ? s->failures + 1 : 1;

	must(first <= last);
	if (!s || (!same && fate != ERR_SOURCE_POISON))
		s = place(suspects, s);
	if (!s)
		return; /* found again when the others are settled */
	*s = (struct suspect){ box_no, first, last, failures, fate, suspects->attempt, false };
	log_event(LOG_INFO, "lane.suspect", "box=%llu first=%llu last=%llu failures=%u reason=%s",
		  (unsigned long long)box_no, (unsigned long long)first, (unsigned long long)last,
		  failures, err_name(fate));
	suspects->narrowed |= !same;
}

const struct suspect *suspects_cut(const struct suspects *suspects, uint64_t box_no, uint64_t first,
				   uint64_t *last)
{
	const struct suspect *inside = NULL;

	must(first <= *last);
	for (unsigned i = 0; i < suspects->count; i++) {
		const struct suspect *s = &suspects->items[i];

		if (s->box_no != box_no || s->last < first || s->first > *last)
			continue;
		if (s->first > first)
			*last = s->first - 1;
		else if (!inside || s->last - s->first < inside->last - inside->first)
			inside = s;
	}
	if (inside) {
		uint64_t piece = (inside->last - inside->first + PLAN_NARROW) / PLAN_NARROW;

		*last = min_u64(min_u64(*last, inside->last), first + piece - 1);
	}
	return inside;
}

bool suspect_is_hopeless(const struct suspect *s)
{
	if (s->first != s->last)
		return false;
	return s->fate == ERR_IMAP_MSG_GONE || s->failures >= PLAN_POISON_FAILURES;
}

bool suspects_leave(struct suspects *suspects, const struct suspect *suspect)
{
	struct suspect *s = &suspects->items[suspect - suspects->items];

	must(s < suspects->items + suspects->count && s->first == s->last);
	if (s->left)
		return false;
	log_event(LOG_WARN, "lane.left", "box=%llu no=%llu reason=%s",
		  (unsigned long long)s->box_no, (unsigned long long)s->first, err_name(s->fate));
	return s->left = true;
}

void suspects_next_attempt(struct suspects *suspects)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < suspects->count; i++)
		if (suspects->items[i].attempt == suspects->attempt || suspects->items[i].left)
			suspects->items[kept++] = suspects->items[i];
	suspects->count = kept;
	suspects->attempt++;
	suspects->narrowed = false;
}
