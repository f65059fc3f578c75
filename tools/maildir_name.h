/* A folder's name as a directory of a Maildir++. */
#ifndef MAILHAUL_TOOLS_MAILDIR_NAME_H
#define MAILHAUL_TOOLS_MAILDIR_NAME_H

#include "engine/bytes.h"

/* The longest directory name; file systems take 255 bytes. */
enum { MAILDIR_NAME_BYTES_MAX = 240 };

/* Append ".Level.Level". '.', '/' and '%' in a level, control bytes, a leading '~', and what is not
 * UTF-8 are written as %XX, an empty level as "%"; then all of it in modified UTF-7, unless `utf8`.
 * A name longer than MAILDIR_NAME_BYTES_MAX is cut and gets "~" and 16 digits that depend on the
 * whole one. So it is one directory below whatever the source called it, and two folders never
 * share one. ERR_MEMORY_EXHAUSTED. */
enum err maildir_name_add(struct buffer *, const char *name, char separator, bool utf8) MUST_CHECK;

#endif
