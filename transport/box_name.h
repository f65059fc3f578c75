/* One folder's name, spelled so that a server takes it: levels joined by its separator, characters
 * replaced that it does not take, cut where it is too long. Pure; knows one name at a time. Not
 * for: which name a folder gets (box_map.h). docs/FOLDERS.md has the rules. */
#ifndef MAILHAUL_BOX_NAME_H
#define MAILHAUL_BOX_NAME_H

#include "engine/mail.h"

struct box_name_rules {
	char separator;	       /* '\0': the server has no levels */
	const char *forbidden; /* ASCII, neither letters nor digits */
	bool utf8;	       /* names are said in UTF-8; else in modified UTF-7 */
	/* Of a name as it is said; at least BOX_NAME_BYTES_MIN, at most BOX_NAME_BYTES_MAX. */
	size_t level_bytes_max, name_bytes_max;
};
enum { BOX_NAME_BYTES_MIN = 32 };

struct box_name {
	size_t bytes;
	bool replaced; /* a character, or an empty level */
	bool cut;
	bool full; /* there was more; box_name_end() cuts */
	char at[BOX_NAME_BYTES_MAX + 1];
};

/* What stands before the levels, as it is, with its last separator; cut if too long. */
void box_name_begin(struct box_name *, struct text base);
/* Levels, which stand between `separator` (of their own server; '\0': one level), joined by the
 * server's, or by a substitute where it has none. `mark` tells names that begin alike apart when
 * they are cut. */
void box_name_add(struct box_name *, const struct box_name_rules *, struct text levels,
		  char separator, uint32_t mark);
/* Put `suffix` (short, ASCII) at the end and cut before it what is too much. Terminates. */
void box_name_end(struct box_name *, const struct box_name_rules *, const char *suffix,
		  uint32_t mark);
/* As it is said to the server; `raw` is terminated. The name was ended. */
void box_name_raw(const struct box_name_rules *, struct text name,
		  char raw[BOX_NAME_BYTES_MAX + 1]);
/* Back to UTF-8. False: it is not the one correct spelling of a name. */
bool box_name_decode(bool utf8, struct text raw, char name[BOX_NAME_BYTES_MAX + 1]) MUST_CHECK;

/* Fold upper to lower case, in place: ASCII, Latin-1, Latin Extended-A, Greek, Cyrillic. Only pairs
 * of letters that are as long as each other, which all of these are; others stay. */
void box_name_fold(char *at, size_t bytes);
/* Whether they are the same when folded. */
bool box_name_alike(struct text, struct text);

#endif
