/* What changed of a message's flags and keywords at the source, to be done to its copy at the
 * destination, where somebody may have changed them too. Pure: no conversation. Not for: which
 * messages (engine/lane_delta.c), commands (imap_flag). */
#ifndef MAILHAUL_FLAG_MERGE_H
#define MAILHAUL_FLAG_MERGE_H

#include "engine/bytes.h"
#include "engine/mail.h"
#include "transport/imap_scan.h"

/* What a folder keeps: PERMANENTFLAGS, RFC 9051 section 7.1. */
struct flag_room {
	struct mail_meta kept;
	bool any_keyword; /* "\*": others than these too */
};
/* Of the code's argument; where there is none, or it does not parse, all is kept. */
void flag_room_read(struct text argument, struct flag_room *);
void flag_room_all(struct flag_room *);

/* What is to be done, as flag lists without parentheses: "\Seen $Label1". */
struct flag_merge {
	struct buffer add, remove;
	bool adds_deleted; /* \Deleted, which is not in `add` */
	bool is_merged;	   /* something was changed at the destination, and stays */
	bool is_short;	   /* the folder keeps not all of it, or its name cannot be said */
};
/* was    the source's at the last run; NULL: not known
 * now    the source's at present
 * there  the destination's at present
 *
 * Where `was` is known, what differs between it and `now` is done, and nothing else. Where it is
 * not, what `now` has is added and nothing is removed, because nobody knows who set it.
 *
 * The buffers are emptied first and may have `failed` for want of memory. */
void flag_merge(const struct mail_meta *was, const struct mail_meta *now,
		const struct mail_meta *there, const struct flag_room *, struct flag_merge *);

#endif
