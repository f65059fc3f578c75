/* See box_map.h. What is told is kept, what is asked is answered; box_map_settle.c decides. */
#include "transport/box_map_state.h"

#include <stdlib.h>

#include "crypto/digest.h"
#include "transport/box_known.h"

enum { LEVEL_BYTES_DEFAULT = 255 };

/* ---- keeping ---- */

static enum err keep(struct box_map *map, struct text text, struct map_text *out)
{
	*out = (struct map_text){ (uint32_t)map->texts.bytes, (uint32_t)text.bytes };
	buffer_add(&map->texts, text.at, text.bytes);
	buffer_add(&map->texts, "", 1);
	return map->texts.failed ? RAISE(ERR_MEMORY_EXHAUSTED, "the names of folders") : OK;
}

bool box_map_is_inbox(struct text name)
{
	return name.bytes == sizeof INBOX_NAME - 1 && box_name_alike(name, text_of(INBOX_NAME));
}

/* What names have in common that are one folder to the destination; `key` is terminated. */
struct text box_map_key(const struct box_map *map, struct text name,
			char key[BOX_NAME_BYTES_MAX + 1])
{
	must(name.bytes <= BOX_NAME_BYTES_MAX);
	if (box_map_is_inbox(name))
		name = text_of(INBOX_NAME);
	bytes_copy(key, name.at, name.bytes, BYTES_META);
	if (map->target.case_insensitive)
		box_name_fold(key, name.bytes);
	return (struct text){ key, name.bytes };
}

uint32_t box_map_find_spot(const struct box_map *map, struct text name)
{
	char key[BOX_NAME_BYTES_MAX + 1];

	return name_table_find(&map->spots_by_key, box_map_key(map, name, key));
}

/* A spot more; of two names that are one the first is found again. */
static enum err add_spot(struct box_map *map, struct text name, struct text raw, uint32_t *out)
{
	char key[BOX_NAME_BYTES_MAX + 1];
	struct text folded = box_map_key(map, name, key);
	struct map_spot *spot;
	enum err e;

	if ((e = name_table_room((void **)&map->spots, map->spots_count, &map->spots_room,
				 sizeof *spot)))
		return e;
	*out = map->spots_count;
	spot = &map->spots[*out];
	*spot = (struct map_spot){ .owner = NONE };
	if ((e = keep(map, name, &spot->name)) || (e = keep(map, raw, &spot->raw)))
		return e;
	if (name_table_find(&map->spots_by_key, folded) == NONE &&
	    (e = name_table_put(&map->spots_by_key, folded, *out)))
		return e;
	map->spots_count++;
	return OK;
}

enum err box_map_new_spot(struct box_map *map, struct text name, uint32_t *out)
{
	char raw[BOX_NAME_BYTES_MAX + 1];

	box_name_raw(&map->rules, name, raw);
	return add_spot(map, name, text_of(raw), out);
}

/* ---- opening ---- */

/* All that are met are "/", "." and "\"; one that could be part of a word or of modified UTF-7
 * would make nonsense of names. */
static bool is_separator(char c)
{
	return c > ' ' && c < 0x7f && !strchr("%*&+,\"", c) && !(c >= '0' && c <= '9') &&
	       !(c >= 'A' && c <= 'Z') && !(c >= 'a' && c <= 'z');
}

static enum err take_prefix(struct box_map *map, const char *raw)
{
	char name[BOX_NAME_BYTES_MAX + 1];

	if (!box_name_decode(map->rules.utf8, text_of(raw), name) ||
	    strlen(raw) + BOX_NAME_BYTES_MIN > map->rules.name_bytes_max ||
	    strlen(name) + BOX_NAME_BYTES_MIN > BOX_NAME_BYTES_MAX)
		return RAISE(ERR_IMAP_SYNTAX, "NAMESPACE: a prefix of %zu bytes that is no name",
			     strlen(raw));
	buffer_add_text(&map->prefix, name);
	return OK;
}

static enum err take_target(struct box_map *map, const struct box_map_target *target)
{
	const char *forbidden = target->forbidden ? target->forbidden : "";
	enum err e;

	for (const char *c = forbidden; *c; c++)
		must((unsigned char)*c < 0x80 && !strchr("0123456789", *c) &&
		     !((*c | 32) >= 'a' && (*c | 32) <= 'z'));
	if (target->separator && !is_separator(target->separator))
		return RAISE(ERR_IMAP_SYNTAX, "a separator of folders that cannot be: 0x%02x",
			     (unsigned char)target->separator);
	buffer_add_text(&map->forbidden, forbidden);
	if (target->source_prefix)
		buffer_add_text(&map->source_prefix, target->source_prefix);
	if ((e = take_prefix(map, target->prefix ? target->prefix : "")))
		return e;
	if (map->forbidden.failed || map->source_prefix.failed || map->prefix.failed)
		return RAISE(ERR_MEMORY_EXHAUSTED, "a map of folders");
	map->rules.forbidden = map->forbidden.at;
	return OK;
}

enum err box_map_open(const struct box_map_target *target, struct box_map **out)
{
	struct box_map *map = calloc(1, sizeof *map);
	size_t level = target->level_bytes_max, name = target->name_bytes_max;
	enum err e;

	*out = map;
	if (!map)
		return RAISE(ERR_MEMORY_EXHAUSTED, "a map of folders");
	map->target = *target;
	map->target.prefix = map->target.source_prefix = map->target.forbidden = NULL;
	map->inbox = NONE;
	for (unsigned i = 0; i < USES; i++)
		map->use_spots[i] = NONE;
	map->rules = (struct box_name_rules){
		.separator = target->separator,
		.utf8 = target->utf8,
		.name_bytes_max = name ? min_u64(name, BOX_NAME_BYTES_MAX) : BOX_NAME_BYTES_MAX,
		.level_bytes_max = level ? min_u64(level, BOX_NAME_BYTES_MAX) : LEVEL_BYTES_DEFAULT,
	};
	must(map->rules.level_bytes_max >= BOX_NAME_BYTES_MIN);
	if ((e = take_target(map, target)))
		box_map_close(out);
	return e;
}

void box_map_close(struct box_map **out)
{
	struct box_map *map = *out;

	if (!map)
		return;
	buffer_free(&map->prefix);
	buffer_free(&map->source_prefix);
	buffer_free(&map->forbidden);
	buffer_free(&map->texts);
	name_table_free(&map->spots_by_key);
	name_table_free(&map->spots_by_raw);
	name_table_free(&map->sources_by_no);
	name_table_free(&map->sources_by_path);
	name_table_free(&map->remembered);
	name_table_free(&map->numbers);
	free(map->spots);
	free(map->sources);
	free(map->order);
	free(map);
	*out = NULL;
}

/* ---- the destination's folders ---- */

/* Without the prefix, and whether that is one level. */
static bool is_top_level(const struct box_map *map, struct text *name)
{
	size_t n = map->prefix.bytes;

	if (name->bytes > n && n > 0 && memcmp(name->at, map->prefix.at, n) == 0) {
		name->at += n;
		name->bytes -= n;
	}
	return !map->rules.separator || !memchr(name->at, map->rules.separator, name->bytes);
}

/* Is this the folder of its use? One that says so goes before one that is only called so; then a
 * better known name, then the lower one: not the order of listing. */
static void note_use(struct box_map *map, uint32_t index)
{
	const struct map_spot *spot = &map->spots[index], *best;
	struct text name = box_map_text(map, spot->name);
	enum box_use use = spot->use;
	unsigned rank = 0;

	if (use == BOX_USE_NONE && is_top_level(map, &name)) {
		use = box_known_use(name, &rank);
		rank++; /* 0: declared */
	}
	if (use == BOX_USE_NONE)
		return;
	best = map->use_spots[use] == NONE ? NULL : &map->spots[map->use_spots[use]];
	if (best && (map->use_ranks[use] < rank ||
		     (map->use_ranks[use] == rank &&
		      strcmp(map->texts.at + best->name.at, map->texts.at + spot->name.at) < 0)))
		return;
	map->use_spots[use] = index;
	map->use_ranks[use] = rank;
}

enum err box_map_add_target(struct box_map *map, const struct box *box)
{
	struct text raw = text_of(box->raw);
	struct map_spot *spot;
	uint32_t index;
	enum err e;

	must(map->sources_count == 0 && map->remembered.count == 0);
	if (name_table_find(&map->spots_by_raw, raw) != NONE)
		return OK;
	if ((e = add_spot(map, text_of(box->name), raw, &index)) ||
	    (e = name_table_put(&map->spots_by_raw, raw, index)))
		return e;
	spot = &map->spots[index];
	spot->exists = box->selectable;
	spot->use = box->use == BOX_USE_INBOX ? BOX_USE_NONE : box->use;
	if (spot->exists && !box_map_is_inbox(text_of(box->name)))
		note_use(map, index);
	return OK;
}

enum err box_map_remember(struct box_map *map, struct text source_name, struct text raw)
{
	uint32_t index = name_table_find(&map->spots_by_raw, raw);
	char name[BOX_NAME_BYTES_MAX + 1];
	enum err e;

	must(map->sources_count == 0);
	if (name_table_find(&map->remembered, source_name) != NONE)
		return OK;
	if (index == NONE) {
		if (raw.bytes > BOX_NAME_BYTES_MAX || !box_name_decode(map->rules.utf8, raw, name))
			return OK; /* gone, and cannot be made again: decided anew */
		index = box_map_find_spot(map, text_of(name));
	}
	if (index == NONE && (e = add_spot(map, text_of(name), raw, &index)))
		return e;
	map->spots[index].reserved = true;
	return name_table_put(&map->remembered, source_name, index);
}

/* ---- the source's folders ---- */

static unsigned levels_of(struct text path, char separator)
{
	unsigned levels = 1;

	for (size_t i = 0; separator && i < path.bytes; i++)
		levels += path.at[i] == separator;
	return levels;
}

/* Up to the first separator. */
struct text box_map_first_level(struct text path, char separator)
{
	const char *stop = separator ? memchr(path.at, separator, path.bytes) : NULL;

	return (struct text){ path.at, stop ? (size_t)(stop - path.at) : path.bytes };
}

struct text box_map_last_level(struct text path, char separator)
{
	const char *last = separator ? memrchr(path.at, separator, path.bytes) : NULL;
	const char *at = last ? last + 1 : path.at;

	return (struct text){ at, (size_t)(path.at + path.bytes - at) };
}

/* The source's prefix off, and a first level INBOX in capitals: it is one folder in any case (RFC
 * 9051 section 5.1), so its children have one parent. */
static enum err keep_path(struct box_map *map, struct map_source *source)
{
	struct text path = box_map_text(map, source->name), first;
	size_t n = map->source_prefix.bytes;
	char copy[BOX_NAME_BYTES_MAX + 1];

	if (n > 0 && path.bytes > n && memcmp(path.at, map->source_prefix.at, n) == 0) {
		path.at += n;
		path.bytes -= n;
		source->why = BOX_WHY_PREFIX;
	}
	bytes_copy(copy, path.at, path.bytes, BYTES_META);
	path.at = copy;
	first = box_map_first_level(path, source->separator);
	if (box_map_is_inbox(first))
		bytes_copy(copy, INBOX_NAME, first.bytes, BYTES_META);
	return keep(map, path, &source->path);
}

/* A well-known name counts at top level and in INBOX. */
static void find_use(const struct box_map *map, struct map_source *source, enum box_use declared)
{
	struct text path = box_map_text(map, source->path);
	bool in_inbox = source->depth == 2 &&
			box_map_is_inbox(box_map_first_level(path, source->separator));

	source->use_declared = declared != BOX_USE_NONE;
	source->use = declared;
	if (declared == BOX_USE_ALL || declared == BOX_USE_FLAGGED || declared == BOX_USE_INBOX)
		source->use = BOX_USE_NONE;
	else if (!source->use_declared && (source->depth == 1 || in_inbox))
		source->use =
			box_known_use(box_map_last_level(path, source->separator), &source->rank);
}

/* The source's name is told by 32 bits of its digest: enough to tell those apart that begin alike;
 * two that are the same in all get numbers. */
static enum err take_mark(const struct box_map *map, struct map_source *source)
{
	struct text name = box_map_text(map, source->name);
	struct digest digest;
	enum err e = digest_of(digest_type(text_of("blake3")), name.at, name.bytes, &digest);

	source->mark = (uint32_t)digest.bytes[0] << 24 | (uint32_t)digest.bytes[1] << 16 |
		       (uint32_t)digest.bytes[2] << 8 | digest.bytes[3];
	return e;
}

static void find_changes(struct box_map *map, struct map_source *source)
{
	box_name_begin(&map->wish, text_of(""));
	box_name_add(&map->wish, &map->rules, box_map_text(map, source->path), source->separator,
		     source->mark);
	box_name_end(&map->wish, &map->rules, "", source->mark);
	source->changes = map->wish.replaced || map->wish.cut;
}

static bool holds_mail(const struct box *box)
{
	return box->selectable && !box->fate;
}

enum err box_map_add_source(struct box_map *map, const struct box *box)
{
	struct map_source source = { .box_no = box->box_no,
				     .separator = box->separator,
				     .calls_itself_inbox = box->use == BOX_USE_INBOX,
				     .spot = NONE,
				     .above = NONE };
	enum err e;

	must(box->box_no);
	if (!map->source_prefix.bytes && box->prefix[0])
		buffer_add_text(&map->source_prefix, box->prefix);
	if (!holds_mail(box) ||
	    name_table_find(&map->sources_by_no, name_table_key(&box->box_no)) != NONE)
		return OK;
	if ((e = name_table_room((void **)&map->sources, map->sources_count, &map->sources_room,
				 sizeof source)) ||
	    (e = keep(map, text_of(box->name), &source.name)) || (e = keep_path(map, &source)) ||
	    (e = take_mark(map, &source)))
		return e;
	source.depth = levels_of(box_map_text(map, source.path), source.separator);
	find_use(map, &source, box->use);
	find_changes(map, &source);
	if ((e = name_table_put(&map->sources_by_no, name_table_key(&box->box_no),
				map->sources_count)))
		return e;
	map->sources[map->sources_count++] = source;
	return OK;
}

/* ---- answers ---- */

const char *box_why_text(enum box_why why)
{
	static const char *const texts[BOX_WHY_COUNT] = {
		[BOX_WHY_NONE] = "",
		[BOX_WHY_SEPARATOR] = "the destination separates levels differently",
		[BOX_WHY_PREFIX] = "the servers' folders begin differently",
		[BOX_WHY_REPLACED] = "the destination does not take all characters of the name",
		[BOX_WHY_TOO_LONG] = "the name is too long for the destination",
		[BOX_WHY_PARENT] = "the folder that it lies in has another name",
		[BOX_WHY_CASE] = "upper and lower case are one to the destination",
		[BOX_WHY_CLASH] = "another folder has this name already",
		[BOX_WHY_INBOX] = "there can be one INBOX",
		[BOX_WHY_USE_TAKEN] = "the destination uses a folder of this name otherwise",
		[BOX_WHY_USE] = "this is the destination's folder of that use",
		[BOX_WHY_REMEMBERED] = "an earlier run decided so",
	};

	must((unsigned)why < BOX_WHY_COUNT);
	return texts[why];
}

static void copy_text(char to[BOX_NAME_BYTES_MAX + 1], struct text from)
{
	must(from.bytes <= BOX_NAME_BYTES_MAX);
	bytes_copy(to, from.at, from.bytes, BYTES_META);
	to[from.bytes] = '\0';
}

enum err box_map_place(struct box_map *map, const struct box *box, struct box_place *out)
{
	const struct map_source *source;
	const struct map_spot *spot;
	enum err e;

	*out = (struct box_place){ .kind = BOX_PLACE_NOTHING };
	if (!holds_mail(box))
		return OK;
	if ((e = box_map_add_source(map, box)) || (e = box_map_settle(map)))
		return e;
	source = &map->sources[name_table_find(&map->sources_by_no, name_table_key(&box->box_no))];
	spot = &map->spots[source->spot];
	out->kind = spot->exists ? BOX_PLACE_EXISTS : BOX_PLACE_CREATE;
	if (!spot->exists && map->target.create_special_use)
		out->create_use = source->create_use;
	out->why = source->why;
	out->merged = source->merged;
	out->subscribe = box->subscribed;
	copy_text(out->raw, box_map_text(map, spot->raw));
	copy_text(out->name, box_map_text(map, spot->name));
	return OK;
}

/* ---- what turns out later ---- */

static bool is_other_case(const struct box_map *map, uint32_t index, uint32_t taken)
{
	const struct map_spot *spot = &map->spots[index];

	return index != taken && (spot->exists || spot->owner != NONE) &&
	       box_name_alike(box_map_text(map, spot->name),
			      box_map_text(map, map->spots[taken].name));
}

/* Of names that are one now the first stands for all, but never the one that is given up. */
static enum err fold_keys(struct box_map *map, uint32_t given_up)
{
	char key[BOX_NAME_BYTES_MAX + 1];
	enum err e = OK;

	name_table_free(&map->spots_by_key);
	name_table_free(&map->numbers);
	map->target.case_insensitive = true;
	for (uint32_t i = 0; i < map->spots_count && !e; i++) {
		struct text folded = box_map_key(map, box_map_text(map, map->spots[i].name), key);

		if (i != given_up && name_table_find(&map->spots_by_key, folded) == NONE)
			e = name_table_put(&map->spots_by_key, folded, i);
	}
	return e;
}

enum err box_map_taken(struct box_map *map, uint64_t box_no, bool *moved)
{
	uint32_t self = name_table_find(&map->sources_by_no, name_table_key(&box_no));
	struct map_source *source = &map->sources[self];
	uint32_t taken = source->spot, other = 0;
	enum err e;

	must(self != NONE && taken != NONE);
	while (other < map->spots_count && !is_other_case(map, other, taken))
		other++;
	*moved = other < map->spots_count && !map->spots[taken].exists && !source->merged;
	if (!*moved)
		return OK;
	map->spots[taken].owner = NONE;
	source->spot = NONE;
	if ((e = fold_keys(map, taken)))
		return e;
	return box_map_settle_again(map, source);
}
