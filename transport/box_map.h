/* Which folder of an IMAP destination a folder of the source becomes. For the IMAP sink: it lists
 * the destination's folders, tells them and what NAMESPACE said to a map, then all folders of the
 * source, and asks for each where its mail goes. Pure functions over memory: no session, no input,
 * nothing suspends. Not for: creating folders.
 *
 * The rules, which docs/FOLDERS.md tells with examples:
 *
 * 1. INBOX in any case is INBOX; its children stay its children. Every other top-level folder comes
 *    below the destination's prefix. The source's own prefix is taken off before.
 * 2. A folder with a special use (RFC 6154), or else with a well-known name at top level or in
 *    INBOX, goes to the destination's folder of that use: the one that says so, or else a top-level
 *    one with a well-known name. Where there is none, it is created under the source's name, with
 *    the use. Of several, one goes there: a declared use before a name, then the one that is called
 *    like the destination's, then the name higher in the table, the higher folder, the lower name.
 *    The others keep their name. \All and \Flagged are views and give no use to anything.
 * 3. Levels are split at the source's separator and joined by the destination's. In a level, the
 *    destination's separator, control characters, what is forbidden, "%" and "*" become "_", as do
 *    the dots of "." and "..". An empty level is "_".
 * 4. A source without a separator has folders of one level; a destination without one gets the
 *    levels joined by "_".
 * 5. What is too long is cut at a character and gets "~" and 8 digits of the BLAKE3 of the source's
 *    name.
 * 6. A folder lies below what its parent became. Two that would become one: the first keeps the
 *    name, the other gets " (2)" at the end, or the next free number. So does one whose name is
 *    that of a destination's folder of another use. First are those that earlier runs decided, then
 *    INBOX, those of rule 2, then level by level: names that the destination has exactly so, names
 *    that need no change, the rest; among those, by bytes.
 * 7. What cannot be selected holds no mail: there is nothing to do for it. Servers make levels
 *    themselves (RFC 9051 section 6.3.4).
 *
 * So the answer does not depend on the order in which servers list their folders. */
#ifndef MAILHAUL_BOX_MAP_H
#define MAILHAUL_BOX_MAP_H

#include "engine/mail.h"

/* What is known of the destination. The strings are borrowed until box_map_open() returns, and NULL
 * stands for an empty one. */
struct box_map_target {
	char separator;	    /* '\0': it has no levels */
	const char *prefix; /* the personal namespace as NAMESPACE spells it: "INBOX.", "" */
	/* The source's, as its names are spelled; not taken off INBOX. NULL: as its folders say
	 * (struct box) when they are added. */
	const char *source_prefix;
	const char *forbidden; /* characters it refuses: ASCII, no letters, no digits */
	bool case_insensitive;
	bool utf8;		 /* names in UTF-8 (IMAP4rev2, RFC 9755); else modified UTF-7 */
	bool create_special_use; /* CREATE takes USE (RFC 6154 section 3) */
	bool inbox_is_leaf;	 /* \Noinferiors: the children of INBOX are put beside it */
	bool merge;		 /* two of the source that would become one do */
	/* Of a name as it is said; 0: 255 (as long as a file's name), BOX_NAME_BYTES_MAX. */
	size_t level_bytes_max, name_bytes_max;
};

struct box_map;

/* ERR_IMAP_SYNTAX: a separator or a prefix that is none. */
enum err box_map_open(const struct box_map_target *, struct box_map **) MUST_CHECK;
void box_map_close(struct box_map **);

/* The four calls come in this order. Each keeps what it needs: some hundred bytes a folder. All may
 * fail with ERR_MEMORY_EXHAUSTED. */

/* A folder that is there at the destination. */
enum err box_map_add_target(struct box_map *, const struct box *) MUST_CHECK;
/* An earlier run put the source folder of this name there: it goes there again, and nobody else
 * does, whether it still is in the source or not. A folder that has a new name in the source keeps
 * its place if it is remembered by that. (By name and not by epoch: one that was replaced by
 * another of the same name goes where that went.) What is said twice holds as said first. */
enum err box_map_remember(struct box_map *, struct text source_name, struct text raw) MUST_CHECK;
/* A folder of the source; box_no is its key and not 0. One that was added before is known. */
enum err box_map_add_source(struct box_map *, const struct box *) MUST_CHECK;

/* Why a name is not the source's. Where several apply, the last of this order. */
enum box_why {
	BOX_WHY_NONE,
	BOX_WHY_SEPARATOR, /* the levels are joined differently, and that is all */
	BOX_WHY_PREFIX,
	BOX_WHY_REPLACED,
	BOX_WHY_TOO_LONG,
	BOX_WHY_PARENT,
	BOX_WHY_CASE,	    /* two names that differ in case */
	BOX_WHY_CLASH,	    /* two names that became the same */
	BOX_WHY_INBOX,	    /* a second INBOX */
	BOX_WHY_USE_TAKEN,  /* the name is the destination's folder of another use */
	BOX_WHY_USE,	    /* the destination's folder of this use */
	BOX_WHY_REMEMBERED, /* an earlier run decided */
	BOX_WHY_COUNT
};
/* For the report: "another folder has this name already". */
const char *box_why_text(enum box_why);

struct box_place {
	enum box_place_kind {
		BOX_PLACE_NOTHING, /* nothing to do: it holds no mail, or the source refuses it.
				    * The rest is empty */
		BOX_PLACE_EXISTS,
		BOX_PLACE_CREATE, /* two of one place both say so: the second hears ALREADYEXISTS */
	} kind;
	enum box_use create_use; /* to create it with; BOX_USE_NONE: without */
	enum box_why why;
	bool merged;			   /* another folder of the source goes there too */
	bool subscribe;			   /* the source's was */
	char raw[BOX_NAME_BYTES_MAX + 1];  /* as the destination is asked with it */
	char name[BOX_NAME_BYTES_MAX + 1]; /* for people */
};
/* Where the folder's mail goes: the same answer each time. The first call decides for all that were
 * added; one that was not is decided then, with what is left. */
enum err box_map_place(struct box_map *, const struct box *source, struct box_place *) MUST_CHECK;

/* The destination says of a name that box_map_place() gave to this folder that it is there, and
 * does not list it. Where a folder that is there or was given differs from it in case only, the
 * destination folds case: the map knows that from now on, and the folder gets another place
 * (*moved). Places that were given before stay. */
enum err box_map_taken(struct box_map *, uint64_t box_no, bool *moved) MUST_CHECK;

#endif
