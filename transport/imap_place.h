/* One folder of an IMAP destination: created, subscribed to, asked for its numbers. Not for: which
 * folder it is (imap_places), messages. */
#ifndef MAILHAUL_IMAP_PLACE_H
#define MAILHAUL_IMAP_PLACE_H

#include "transport/imap_session.h"

struct imap_place {
	char *raw;     /* as the server spells it */
	enum err fate; /* not OK: it takes nothing in this run, */
	char why[200]; /* because of that */
	/* As said last; 0: not known. Messages that are stored from now on have this UID or a
	 * higher one. */
	uint32_t uidvalidity, uidnext;
	uint32_t messages; /* as said by imap_place_status() */
	uint32_t seen_top; /* up to this UID it is known that nothing of a later act lies there */
	bool is_there;
	bool was_taken; /* CREATE says that it is there, and it was not listed */
	void *owner;	/* the sink's own */
};

/* It takes nothing any more. The first reason stays. */
void imap_place_refuse(struct imap_place *, enum err fate, const char *why);
/* Ask for UIDVALIDITY, UIDNEXT, MESSAGES. ERR_IMAP_BOX_GONE, ERR_IMAP_REFUSED: of this folder.
 * Suspends. */
enum err imap_place_status(struct imap_session *, struct imap_place *) MUST_CHECK;

/* What is asked for several folders in one flight: CREATE, SUBSCRIBE and STATUS of each behind one
 * another, answered together. */
struct imap_errand {
	struct imap_place *place; /* borrowed */
	enum box_use use;	  /* to create it with, RFC 6154 section 3 */
	bool create, subscribe;
	unsigned tags[3]; /* of CREATE, SUBSCRIBE, STATUS; 0: not asked, or answered */
	enum err refused; /* CREATE was, */
	bool taken;	  /* because the folder is there, or without saying why, */
	char why[160];	  /* because of that */
};
enum { IMAP_ERRANDS_MAX = 24 }; /* three commands each, which any socket takes */
struct imap_flight {
	struct imap_errand errands[IMAP_ERRANDS_MAX];
	unsigned count, open;
	struct imap_session *session;
};
/* All of them; empties the flight. A folder that is not there afterwards is refused; one whose
 * CREATE is refused and whose STATUS is answered was there. What concerns the conversation or the
 * account is the call's error. Some kilobytes: not for a stack. Suspends. */
enum err imap_flight_run(struct imap_flight *) MUST_CHECK;

#endif
