/* Folder names from elsewhere as directories of ours: whatever a folder is called, its path stays
 * below the base, and two folders never share one.
 *
 * A level becomes one directory. '/', '%', control bytes, a leading '.', and the dot of a trailing
 * ".eml" (which would be taken for a message) are written as %XX; an empty level as "%". What is
 * longer than SAFE_PATH_LEVEL_BYTES_MAX is cut and gets "~" and eight digits that depend on the
 * whole name. Names that differ only by case stay two directories where the file system tells them
 * apart; where it does not they share one, and a message that would replace another is refused, not
 * lost. */
#ifndef MAILHAUL_TOOLS_SAFE_PATH_H
#define MAILHAUL_TOOLS_SAFE_PATH_H

#include "engine/bytes.h"

enum { SAFE_PATH_LEVEL_BYTES_MAX = 200 };

/* Append one level's directory name. */
void safe_path_add_level(struct buffer *, struct text level);
/* Append "/LEVEL/LEVEL" for a folder's name; separator '\0': the name is one level. */
void safe_path_add_box(struct buffer *, const char *name, char separator);

#endif
