/* The streaming parser of FETCH: replies in, messages out, bodies straight into chunks. Takes what
 * a server may send: items in any order, unsolicited replies anywhere, a body as literal, literal8,
 * quoted string or NIL. Bounded whatever is sent. Knows no session: replies come from an imap_wire,
 * so the whole of it can be fuzzed from memory.
 *
 * A body is handed over once the message's UID, flags and date are known. A server that sends them
 * behind the body has it staged here first, up to STAGE_BYTES_MAX; a larger one is read to its end,
 * reported as `too_large` with what was learnt, and may be asked for again after
 * imap_fetch_expect(). */
#ifndef MAILHAUL_IMAP_FETCH_H
#define MAILHAUL_IMAP_FETCH_H

#include "engine/mail.h"
#include "transport/imap_wire.h"

struct imap_fetch;

enum imap_event_kind {
	IMAP_EVENT_MESSAGE, /* a FETCH reply with a body, or with NIL where the body should be */
	IMAP_EVENT_FACTS,   /* a FETCH reply without one: flags changed, or facts asked for */
	IMAP_EVENT_TAGGED,
	IMAP_EVENT_STATUS,   /* untagged OK, NO, BAD, BYE */
	IMAP_EVENT_VANISHED, /* RFC 7162 section 3.2.10 */
	IMAP_EVENT_OTHER,    /* EXISTS, EXPUNGE, CAPABILITY ... : nothing to us */
};
struct imap_event {
	enum imap_event_kind kind;
	unsigned tag;		   /* TAGGED */
	struct imap_status status; /* TAGGED, STATUS; borrowed until the next event */
	struct text vanished;	   /* VANISHED: the set of UIDs; borrowed until the next event */
	/* MESSAGE, FACTS */
	uint32_t uid;	/* 0: the server did not say */
	bool has_flags; /* the server said them */
	bool no_body;	/* the server has nothing to give for this message (NIL) */
	bool too_large; /* see above */
	int64_t size_bytes;
	int64_t told_bytes; /* RFC822.SIZE, which need not be true; SIZE_UNKNOWN: not told */
	const struct mail_meta *meta; /* borrowed until the next event */
	/* X-GM-LABELS, if they are of interest: each label as the server spells it, terminated by a
	 * NUL; borrowed until the next event. */
	bool has_labels; /* the server said them */
	struct text labels;
	unsigned labels_dropped;
	struct stream *body; /* NULL where there is none; not read to its end: skipped silently */
};

/* Chunks come from `reserve`, replies from `wire`; both are borrowed until close. */
enum err imap_fetch_open(struct imap_wire *, struct reserve *, struct imap_fetch **) MUST_CHECK;
void imap_fetch_close(struct imap_fetch **);
/* From now on labels are of interest, or not; at first not. What of a message's is longer than
 * IMAP_LABEL_BYTES_MAX, or beyond IMAP_LABELS_BYTES_MAX in all, is dropped and counted. */
enum { IMAP_LABEL_BYTES_MAX = BOX_NAME_BYTES_MAX, IMAP_LABELS_BYTES_MAX = 32 * 1024 };
void imap_fetch_take_labels(struct imap_fetch *, bool);
/* The next reply. Drains what is left of the body before. Suspends. */
enum err imap_fetch_next(struct imap_fetch *, struct imap_event *) MUST_CHECK;
/* The next body that comes before its UID is this message's, whose facts are known: hand it over at
 * once. Another UID behind it is then ERR_IMAP_SYNTAX, before the body's end is. 0: no such
 * message. */
void imap_fetch_expect(struct imap_fetch *, uint32_t uid, const struct mail_meta *);
/* flag-list = "(" [flag *(SP flag)] ")" into flags and keywords of *meta, without \Recent; what
 * cannot be carried is counted. False, and all of it unknown: it is none. */
bool imap_fetch_flags(struct imap_scan *, struct mail_meta *meta) MUST_CHECK;

#endif
