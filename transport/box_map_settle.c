/* The decisions of box_map.h: each source folder is given a spot, in the order that rule 6 says. A
 * table from folded name to spot says who has which. */
#include <stdio.h>
#include <stdlib.h>

#include "transport/box_map_state.h"

/* ---- the name a folder would like ---- */

enum { BASE_BYTES_MAX = BOX_NAME_BYTES_MAX + 8 };

static char joint_of(const struct box_map *map)
{
	return map->rules.separator ? map->rules.separator : '_';
}

static bool is_at_inbox(const struct box_map *map, uint32_t source)
{
	const struct map_source *above = source == NONE ? NULL : &map->sources[source];

	return above && above->spot != NONE &&
	       box_map_is_inbox(box_map_text(map, map->spots[above->spot].name));
}

/* "INBOX." */
static bool is_inbox_prefix(const struct buffer *prefix)
{
	return prefix->bytes == sizeof INBOX_NAME &&
	       box_map_is_inbox((struct text){ prefix->at, prefix->bytes - 1 });
}

/* INBOX's children are below it; where it can have none, beside it; and below a prefix that is not
 * INBOX itself, INBOX is a level like any other. */
static void base_of_inbox(const struct box_map *map, char base[BASE_BYTES_MAX])
{
	const char *prefix = map->prefix.bytes ? map->prefix.at : "";

	if (map->target.inbox_is_leaf)
		snprintf(base, BASE_BYTES_MAX, "%s", prefix);
	else
		snprintf(base, BASE_BYTES_MAX, "%s%s%c",
			 is_inbox_prefix(&map->prefix) ? "" : prefix, INBOX_NAME, joint_of(map));
}

/* What the levels in *path go behind; they become those that are left. */
static void base_of(const struct box_map *map, const struct map_source *source, struct text *path,
		    char base[BASE_BYTES_MAX])
{
	const struct map_source *above =
		source->above == NONE ? NULL : &map->sources[source->above];
	size_t taken = above ? above->path.bytes : 0;
	struct text first = box_map_first_level(*path, source->separator);

	if (is_at_inbox(map, source->above)) {
		base_of_inbox(map, base);
	} else if (above && above->spot != NONE) {
		snprintf(base, BASE_BYTES_MAX, "%s%c",
			 box_map_text(map, map->spots[above->spot].name).at, joint_of(map));
	} else if (source->depth > 1 && box_map_is_inbox(first)) {
		base_of_inbox(map, base);
		taken = first.bytes;
	} else {
		snprintf(base, BASE_BYTES_MAX, "%s", map->prefix.bytes ? map->prefix.at : "");
		taken = 0;
	}
	if (taken > 0)
		*path = (struct text){ path->at + taken + 1, path->bytes - taken - 1 };
}

/* Into map->wish. */
static struct text make_wish(struct box_map *map, const struct map_source *source,
			     const char *suffix)
{
	struct text path = box_map_text(map, source->path);
	char base[BASE_BYTES_MAX];

	base_of(map, source, &path, base);
	box_name_begin(&map->wish, text_of(base));
	box_name_add(&map->wish, &map->rules, path, source->separator, source->mark);
	box_name_end(&map->wish, &map->rules, suffix, source->mark);
	return (struct text){ map->wish.at, map->wish.bytes };
}

static bool is_second_inbox(const struct box_map *map, const struct map_source *source)
{
	uint32_t self = (uint32_t)(source - map->sources);

	return self != map->inbox && box_map_is_inbox(box_map_text(map, source->path));
}

/* What keeps the folder from being this spot (NONE: a new one), by the name `wish`. */
static enum box_why obstacle(const struct box_map *map, const struct map_source *source,
			     uint32_t index, struct text wish)
{
	const struct map_spot *spot = index == NONE ? NULL : &map->spots[index];

	if (!spot)
		return BOX_WHY_NONE;
	if (spot->owner != NONE || spot->reserved)
		return text_equal(box_map_text(map, spot->name), wish) ? BOX_WHY_CLASH
								       : BOX_WHY_CASE;
	return spot->exists && spot->use != BOX_USE_NONE && spot->use != source->use
		       ? BOX_WHY_USE_TAKEN
		       : BOX_WHY_NONE;
}

/* ---- giving ---- */

static void add_why(struct map_source *source, enum box_why why)
{
	source->why = (enum box_why)max_u64(source->why, why);
}

/* Names that are the same have no reason to differ. */
static bool keeps_name(const struct box_map *map, const struct map_source *source)
{
	return text_equal(box_map_text(map, source->name),
			  box_map_text(map, map->spots[source->spot].name)) &&
	       (source->depth == 1 || source->separator == map->rules.separator);
}

static void give(struct box_map *map, struct map_source *source, uint32_t index, enum box_why why)
{
	struct map_spot *spot = &map->spots[index];
	uint32_t self = (uint32_t)(source - map->sources);

	must(source->spot == NONE);
	source->spot = index;
	if (spot->owner == NONE)
		spot->owner = self;
	else
		source->merged = map->sources[spot->owner].merged = true;
	if (source->depth > 1 && source->separator != map->rules.separator)
		add_why(source, BOX_WHY_SEPARATOR);
	add_why(source, why);
	if (self == map->inbox || (keeps_name(map, source) && !source->merged))
		source->why = BOX_WHY_NONE;
}

/* Whether a child of INBOX is not called so any more, or has come to be. */
static bool changes_inbox(const struct box_map *map, const struct map_source *source)
{
	struct text first = box_map_first_level(box_map_text(map, source->path), source->separator);
	bool was_in_inbox = source->depth > 1 && box_map_is_inbox(first);

	return is_at_inbox(map, source->above) ? map->target.inbox_is_leaf || !was_in_inbox
					       : was_in_inbox && map->target.inbox_is_leaf;
}

/* By the name in map->wish. */
static enum err give_wish(struct box_map *map, struct map_source *source, uint32_t index,
			  enum box_why why)
{
	struct text wish = { map->wish.at, map->wish.bytes };
	enum err e;

	if (index == NONE && (e = box_map_new_spot(map, wish, &index)))
		return e;
	if (map->prefix.bytes > 0 || changes_inbox(map, source))
		add_why(source, BOX_WHY_PREFIX);
	if (map->wish.replaced)
		add_why(source, BOX_WHY_REPLACED);
	if (map->wish.cut)
		add_why(source, BOX_WHY_TOO_LONG);
	if (source->above != NONE && map->sources[source->above].why >= BOX_WHY_PARENT)
		add_why(source, BOX_WHY_PARENT);
	if (!text_equal(wish, box_map_text(map, map->spots[index].name)))
		add_why(source, BOX_WHY_CASE);
	give(map, source, index, why);
	return OK;
}

/* The name itself, if nothing stands in the way, or with `merge` if that is another folder. Of
 * `exact` ones, only if the destination has the folder by exactly this name. */
static enum err try_wish(struct box_map *map, struct map_source *source, bool exact)
{
	struct text wish = make_wish(map, source, "");
	bool second = is_second_inbox(map, source);
	uint32_t index = box_map_find_spot(map, second ? text_of(INBOX_NAME) : wish);
	enum box_why why = second ? BOX_WHY_INBOX : obstacle(map, source, index, wish);

	if (exact && (index == NONE || !map->spots[index].exists ||
		      !text_equal(wish, box_map_text(map, map->spots[index].name))))
		return OK;
	if (why != BOX_WHY_NONE && (!map->target.merge || why == BOX_WHY_USE_TAKEN))
		return OK;
	return give_wish(map, source, index, why);
}

/* The next free number; where the last search for one behind this name ended, the next begins. */
static enum err give_number(struct box_map *map, struct map_source *source)
{
	struct text wish = make_wish(map, source, "");
	enum box_why why = is_second_inbox(map, source)
				   ? BOX_WHY_INBOX
				   : obstacle(map, source, box_map_find_spot(map, wish), wish);
	char stem[BOX_NAME_BYTES_MAX + 1], suffix[16];
	struct text key = box_map_key(map, wish, stem);
	uint32_t number = name_table_find(&map->numbers, key), index;
	enum err e;

	for (number = number == NONE ? 2 : number;; number++) {
		snprintf(suffix, sizeof suffix, " (%u)", number);
		wish = make_wish(map, source, suffix);
		index = box_map_find_spot(map, wish);
		if (obstacle(map, source, index, wish) == BOX_WHY_NONE)
			break;
	}
	if ((e = name_table_put(&map->numbers, key, number + 1)))
		return e;
	return give_wish(map, source, index, why);
}

static enum err give_any(struct box_map *map, struct map_source *source)
{
	enum err e = try_wish(map, source, false);

	return e || source->spot != NONE ? e : give_number(map, source);
}

enum err box_map_settle_again(struct box_map *map, struct map_source *source)
{
	return give_any(map, source);
}

/* ---- those that come first ---- */

static void give_remembered(struct box_map *map, struct map_source *source)
{
	uint32_t index = name_table_find(&map->remembered, box_map_text(map, source->name));

	if (index != NONE && source->spot == NONE)
		give(map, source, index, BOX_WHY_REMEMBERED);
}

/* One that says so, else one that is called so. A name that only looks so behind the source's
 * prefix ("INBOX.INBOX") is not. */
static void find_inbox(struct box_map *map, const uint32_t *order, uint32_t count)
{
	for (uint32_t i = 0; i < count && map->inbox == NONE; i++)
		if (map->sources[order[i]].calls_itself_inbox)
			map->inbox = order[i];
	for (uint32_t i = 0; i < count && map->inbox == NONE; i++) {
		const struct map_source *source = &map->sources[order[i]];

		if (box_map_is_inbox(box_map_text(map, source->name)))
			map->inbox = order[i];
	}
}

static enum err give_inbox(struct box_map *map)
{
	struct map_source *source = map->inbox == NONE ? NULL : &map->sources[map->inbox];
	uint32_t index = box_map_find_spot(map, text_of(INBOX_NAME));
	enum err e;

	if (!source || source->spot != NONE)
		return OK;
	if (index == NONE && (e = box_map_new_spot(map, text_of(INBOX_NAME), &index)))
		return e;
	give(map, source, index, BOX_WHY_NONE);
	return OK;
}

/* Parents before children: a name needs its parent's. */
static enum err give_with_parents(struct box_map *map, uint32_t index)
{
	enum err e = OK;

	while (!e && map->sources[index].spot == NONE) {
		uint32_t top = index;

		while (map->sources[top].above != NONE &&
		       map->sources[map->sources[top].above].spot == NONE)
			top = map->sources[top].above;
		e = give_any(map, &map->sources[top]);
	}
	return e;
}

static bool is_called_like(const struct box_map *map, const struct map_source *source,
			   uint32_t spot)
{
	return spot != NONE &&
	       box_name_alike(
		       box_map_last_level(box_map_text(map, source->path), source->separator),
		       box_map_last_level(box_map_text(map, map->spots[spot].name),
					  map->rules.separator));
}

/* Whether `a` is rather the folder of its use than `b`; both want to be the destination's `spot`.
 * One that earlier runs decided is not moved; `a` comes later in the order, which is the last thing
 * to decide. */
static bool is_better(const struct box_map *map, const struct map_source *a,
		      const struct map_source *b, uint32_t spot)
{
	bool a_is_called = is_called_like(map, a, spot), b_is_called = is_called_like(map, b, spot);

	if ((a->spot == NONE) != (b->spot == NONE))
		return a->spot != NONE;
	if (a->use_declared != b->use_declared)
		return a->use_declared;
	if (a_is_called != b_is_called)
		return a_is_called;
	return a->rank < b->rank;
}

static uint32_t best_of_use(const struct box_map *map, const uint32_t *order, uint32_t count,
			    enum box_use use, uint32_t spot)
{
	uint32_t best = NONE;

	for (uint32_t i = 0; i < count; i++) {
		const struct map_source *source = &map->sources[order[i]];

		if (source->use != use || order[i] == map->inbox ||
		    (source->spot != NONE && spot != NONE))
			continue;
		if (best == NONE || is_better(map, source, &map->sources[best], spot))
			best = order[i];
	}
	return best;
}

/* With `merge`: all of a use are one. */
static void merge_use(struct box_map *map, const uint32_t *order, uint32_t count, enum box_use use,
		      uint32_t spot)
{
	for (uint32_t i = 0; i < count; i++) {
		struct map_source *source = &map->sources[order[i]];

		if (source->use == use && source->spot == NONE && order[i] != map->inbox)
			give(map, source, spot, BOX_WHY_USE);
	}
}

/* The one that the destination's folder is for; where it has none, the one that becomes it. */
static enum err give_use(struct box_map *map, const uint32_t *order, uint32_t count,
			 enum box_use use)
{
	uint32_t spot = map->use_spots[use], best = best_of_use(map, order, count, use, spot);
	struct map_source *source;
	enum err e;

	if (best == NONE)
		return OK;
	if (spot == NONE) {
		if ((e = give_with_parents(map, best)))
			return e;
		source = &map->sources[best];
		source->create_use = use;
		map->use_spots[use] = spot = source->spot;
	} else if (map->spots[spot].owner == NONE && !map->spots[spot].reserved) {
		give(map, &map->sources[best], spot, BOX_WHY_USE);
	}
	if (map->target.merge)
		merge_use(map, order, count, use, spot);
	return OK;
}

/* ---- settling ---- */

static int compare_texts(struct text a, struct text b)
{
	int order = memcmp(a.at, b.at, min_u64(a.bytes, b.bytes));

	return order ? order : (a.bytes > b.bytes) - (a.bytes < b.bytes);
}

static int compare_sources(const void *one, const void *other, void *context)
{
	const struct box_map *map = context;
	const struct map_source *a = &map->sources[*(const uint32_t *)one];
	const struct map_source *b = &map->sources[*(const uint32_t *)other];
	int order;

	if (a->depth != b->depth)
		return a->depth < b->depth ? -1 : 1;
	if (a->changes != b->changes)
		return a->changes ? 1 : -1;
	if ((order = compare_texts(box_map_text(map, a->path), box_map_text(map, b->path))) ||
	    (order = compare_texts(box_map_text(map, a->name), box_map_text(map, b->name))))
		return order;
	return a->box_no < b->box_no ? -1 : a->box_no > b->box_no;
}

/* Those that were added since the last time. */
static enum err put_in_order(struct box_map *map, uint32_t *count)
{
	uint32_t *order;

	*count = map->sources_count - map->settled;
	if (!(order = realloc(map->order, *count * sizeof *order)))
		return RAISE(ERR_MEMORY_EXHAUSTED, "the order of %u folders", *count);
	map->order = order;
	for (uint32_t i = 0; i < *count; i++)
		order[i] = map->settled + i;
	qsort_r(order, *count, sizeof *order, compare_sources, map);
	return OK;
}

/* Whether others lie in it: not the INBOX where "INBOX." only begins the names of all folders. */
static bool is_parent(const struct box_map *map, uint32_t index)
{
	return index != map->inbox || !is_inbox_prefix(&map->source_prefix);
}

static enum err note_path(struct box_map *map, uint32_t index)
{
	struct text path = box_map_text(map, map->sources[index].path);

	if (!is_parent(map, index) || name_table_find(&map->sources_by_path, path) != NONE)
		return OK;
	return name_table_put(&map->sources_by_path, path, index);
}

/* The true INBOX is the parent of its children, whatever else is called so. */
static enum err find_parents(struct box_map *map, const uint32_t *order, uint32_t count)
{
	enum err e = map->inbox == NONE ? OK : note_path(map, map->inbox);
	size_t bytes;

	for (uint32_t i = 0; i < count && !e; i++)
		e = note_path(map, order[i]);
	for (uint32_t i = 0; i < count && !e; i++) {
		struct map_source *source = &map->sources[order[i]];

		source->above =
			name_table_above(&map->sources_by_path, box_map_text(map, source->path),
					 source->separator, &bytes);
	}
	return e;
}

enum turn { TURN_EXACT, TURN_WISH, TURN_NUMBER, TURNS };

/* Folders of one level. Numbers come last, lest they take a name that is somebody's own. */
static enum err settle_level(struct box_map *map, const uint32_t *order, uint32_t count)
{
	enum err e = OK;

	for (enum turn turn = TURN_EXACT; turn < TURNS; turn++)
		for (uint32_t i = 0; i < count && !e; i++) {
			struct map_source *source = &map->sources[order[i]];

			if (source->spot != NONE)
				continue;
			e = turn == TURN_NUMBER ? give_number(map, source)
						: try_wish(map, source, turn == TURN_EXACT);
		}
	return e;
}

static enum err settle_levels(struct box_map *map, const uint32_t *order, uint32_t count)
{
	uint32_t first = 0, next;
	enum err e = OK;

	for (; first < count && !e; first = next) {
		unsigned depth = map->sources[order[first]].depth;

		for (next = first; next < count && map->sources[order[next]].depth == depth;)
			next++;
		e = settle_level(map, order + first, next - first);
	}
	return e;
}

enum err box_map_settle(struct box_map *map)
{
	uint32_t count;
	enum err e;

	if (map->settled == map->sources_count)
		return OK;
	if ((e = put_in_order(map, &count)))
		return e;
	find_inbox(map, map->order, count);
	if ((e = find_parents(map, map->order, count)))
		return e;
	for (uint32_t i = 0; i < count; i++)
		give_remembered(map, &map->sources[map->order[i]]);
	if ((e = give_inbox(map)))
		return e;
	for (enum box_use use = BOX_USE_NONE + 1; use <= BOX_USE_IMPORTANT; use++)
		if ((e = give_use(map, map->order, count, use)))
			return e;
	if ((e = settle_levels(map, map->order, count)))
		return e;
	map->settled = map->sources_count;
	return OK;
}
