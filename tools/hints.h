/* What a user can do next, per error, and the one line on stderr with which a command fails. */
#ifndef MAILHAUL_TOOLS_HINTS_H
#define MAILHAUL_TOOLS_HINTS_H

#include "engine/err.h"

/* A sentence without its full stop; never NULL or empty for an error. */
const char *hint_for(enum err);
/* "NOTE: TEXT. HINT." without an end of line; the text is left out where the note says it all (the
 * system's own words, or what is wrong on the command line). Borrows; returns `to`. */
char *hint_sentence(enum err, const struct err_note *, char *to, size_t to_bytes);
/* "mailhaul: copy: NOTE: TEXT. HINT." from the running fiber's note, which it clears. Returns the
 * exit code. */
int hint_fail(const char *command, enum err);
/* For help texts: the exit codes and what each means. */
extern const char hint_exit_codes[];

#endif
