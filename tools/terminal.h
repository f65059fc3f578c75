/* What a terminal shows: text made harmless and cut to columns, and the one line that progress
 * redraws. Nothing of the terminal's settings is changed, so all there is to restore is that line.
 */
#ifndef MAILHAUL_TOOLS_TERMINAL_H
#define MAILHAUL_TOOLS_TERMINAL_H

#include "engine/base.h"

/* The first code point of UTF-8 text (RFC 3629: shortest form, no surrogates): its length in bytes,
 * or 0 when the text does not begin with one. */
size_t utf8_take(struct text, uint32_t *code);

/* Copy `from` into `to` as it may be shown: control characters, what would turn the writing
 * direction (a folder may be named to deceive), and bytes that are not UTF-8 become '?'. At most
 * `columns` wide: what is cut ends with "…". Always terminates; returns `to`. */
char *terminal_fit(char *to, size_t to_bytes, struct text from, unsigned columns);
/* The same without a limit of width; a larger text than `to` holds is cut. */
char *terminal_text(char *to, size_t to_bytes, const char *from);

bool terminal_is(int fd);
/* Columns of the terminal behind fd; 80 if it does not say. */
unsigned terminal_columns(int fd);

/* Redraw the line on stderr. Never blocks: when the terminal takes nothing now (Ctrl-S), nothing is
 * drawn. */
void terminal_redraw(const char *line);
/* Remove it, if there is one. Async-signal-safe. */
void terminal_restore(void);
/* A line of ordinary text on stderr; the redrawn line gives way. Never blocks, as above.
 * Async-signal-safe. */
void terminal_say(const char *line);

#endif
