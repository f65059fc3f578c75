/* What became of a conversation, compared with what its file expects: words of "key=value" behind a
 * kind, those left out not compared. */
#ifndef MAILHAUL_WIRE_EVENT_H
#define MAILHAUL_WIRE_EVENT_H

#include "tests/wire/wire.h"

#define WIRE_HASH_BEGIN 14695981039346656037u
/* FNV-1a, 64 bits: equal for equal bytes, and bytes here are not made to collide. */
uint64_t wire_hash_more(uint64_t hash, const uint8_t *at, size_t n);
/* `expected` may say seed= or text= for the event's hash=, and a part of its note=. */
bool wire_event_fits(const char *event, const char *expected);

/* The script's next "expect" line from *at on, which moves behind it; NULL: there is none. */
const struct wire_line *wire_next_expected(const struct wire_script *, unsigned *at);
/* Whether any of them fits. */
bool wire_is_expected(const struct wire_script *, const char *event);

#endif
