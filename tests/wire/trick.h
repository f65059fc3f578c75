/* What a hostile or broken server does in the middle of any conversation: a table of tricks, each
 * played before (or in place of) every reply in turn. Not for: what one must do at one place only;
 * that is a conversation of its own. */
#ifndef MAILHAUL_WIRE_TRICK_H
#define MAILHAUL_WIRE_TRICK_H

#include "tests/wire/wire.h"

struct wire_trick {
	const char *name;
	const char *lines[10]; /* put before the reply */
	bool instead;	       /* the reply itself is left out */
	bool twice;	       /* the reply is sent again behind itself; for tagged ones */
	long timeout_ms;       /* 0: the conversation's own; else it is what ends it */
	/* How it has to end, by the error's name. NULL: as without the trick. "": in any way, but
	 * with nothing that was not there. */
	const char *error;
};
extern const struct wire_trick wire_tricks[];
extern const unsigned wire_tricks_count;

/* Work the trick on the reply that begins in the script's line `at`; false: it is no place for
 * it. */
bool wire_trick_apply(const struct wire_trick *, struct wire_script *, unsigned at);

/* How a conversation is played: read in pieces of one size, or of what the dice of a seed say (both
 * 0: as it comes); with a trick at the reply in line `at`; with the words of its n-th `each`. */
struct wire_way {
	unsigned each;
	size_t piece;
	unsigned seed;
	const struct wire_trick *trick;
	unsigned at;
};
/* From now on what arrives under (passed through) TLS is read like this. Borrowed until the next
 * call. */
void wire_cut_like(const struct wire_way *);
const char *wire_way_words(const struct wire_way *, const struct wire_script *, char to[300]);
/* How many lines the file has, if it says "account ... tricks=yes", or tricks=long and WIRE_LONG is
 * set; else 0. */
unsigned wire_lines_for_tricks(const char *path);

#endif
