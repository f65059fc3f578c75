/* What the two halves of box_map share: box_map.c keeps what it is told and answers,
 * box_map_settle.c decides. Not for anybody else. */
#ifndef MAILHAUL_BOX_MAP_STATE_H
#define MAILHAUL_BOX_MAP_STATE_H

#include "transport/box_map.h"
#include "transport/box_name.h"
#include "transport/name_table.h"

enum {
	NONE = NAME_TABLE_NONE, /* no such source, no such spot */
	USES = BOX_USE_IMPORTANT + 1,
};

/* Text in map->texts, which may move; terminated there. */
struct map_text {
	uint32_t at, bytes;
};

struct map_spot {
	struct map_text name, raw;
	enum box_use use; /* as the destination says */
	bool exists;	  /* and can be selected */
	bool reserved;	  /* for a folder that is remembered */
	uint32_t owner;	  /* the source that came first; NONE: free */
};

struct map_source {
	uint64_t box_no;
	struct map_text name; /* as the source spells it */
	struct map_text path; /* without the source's prefix, a first level INBOX in capitals */
	uint32_t spot;	      /* NONE: not decided */
	uint32_t above;	      /* the source it lies in; NONE: none that holds mail */
	uint32_t mark;	      /* for cut names */
	unsigned depth;	      /* levels */
	unsigned rank;	      /* of a well-known name */
	char separator;
	enum box_use use; /* declared, or by its name; never \All, \Flagged or INBOX */
	bool use_declared;
	bool calls_itself_inbox;
	bool changes; /* a level needs replacing or cutting */
	bool merged;
	enum box_use create_use;
	enum box_why why;
};

struct box_map {
	struct box_map_target target; /* its strings are in the buffers below */
	struct box_name_rules rules;
	struct buffer prefix, source_prefix, forbidden; /* prefix in UTF-8 */
	struct buffer texts;
	struct map_spot *spots;
	uint32_t spots_count, spots_room;
	struct map_source *sources;
	uint32_t sources_count, sources_room, settled;
	uint32_t *order; /* of the sources that are being settled */
	struct name_table spots_by_key, spots_by_raw;
	struct name_table sources_by_no, sources_by_path;
	struct name_table remembered; /* source name: spot */
	struct name_table numbers;    /* key of a name: the next number to try behind it */
	uint32_t use_spots[USES];     /* the destination's folder of the use, there or to be */
	unsigned use_ranks[USES];     /* of its name, where only that says so */
	uint32_t inbox;		      /* the source's; NONE: not seen */
	struct box_name wish;	      /* being made */
};

#define INBOX_NAME "INBOX"

static inline struct text box_map_text(const struct box_map *map, struct map_text kept)
{
	return (struct text){ map->texts.at + kept.at, kept.bytes };
}

bool box_map_is_inbox(struct text name);
/* What names have in common that are one folder to the destination. */
struct text box_map_key(const struct box_map *, struct text name, char key[BOX_NAME_BYTES_MAX + 1]);
uint32_t box_map_find_spot(const struct box_map *, struct text name);
/* A spot that is not there yet. */
enum err box_map_new_spot(struct box_map *, struct text name, uint32_t *out) MUST_CHECK;
/* Of a path: up to the first separator, and behind the last. */
struct text box_map_first_level(struct text path, char separator);
struct text box_map_last_level(struct text path, char separator);

/* Give a spot to each source that has none. */
enum err box_map_settle(struct box_map *) MUST_CHECK;
/* Give a spot to one that lost its own. */
enum err box_map_settle_again(struct box_map *, struct map_source *) MUST_CHECK;

#endif
