/* Folders made of labels, as a source asks and scans them: which UIDs of All Mail a range of one
 * stands for, and what a scan tells of it. Pure; part of imap_source. */
#ifndef MAILHAUL_IMAP_LABELLED_H
#define MAILHAUL_IMAP_LABELLED_H

#include "engine/bytes.h"
#include "engine/source.h"
#include "transport/gmail_labels.h"
#include "transport/imap_asks.h"

enum {
	/* Of one set, so that a command stays below 1000 bytes (RFC 2683 section 3.2.1.5). */
	IMAP_LABELLED_SET_BYTES_MAX = 900,
};

/* A range asked of a folder. */
struct imap_labelled {
	size_t folder; /* SIZE_MAX: it is one of the server's own */
	size_t at;     /* what of it was asked for, */
	size_t told;   /* told that the filter does not want it, */
	size_t end;    /* and where it ends */
};

/* `ask` becomes a range of All Mail where the folder is made of labels, else it stays what it is
 * (imap_ask_begin()). `labels` may be NULL. */
void imap_labelled_begin(const struct labels *, struct imap_labelled *, struct imap_ask *,
			 const struct box *, uint64_t first, uint64_t last);
static inline bool imap_labelled_is(const struct imap_labelled *labelled)
{
	return labelled->folder != SIZE_MAX;
}
/* Append the next set of UIDs to ask the bodies of; false: there is none, nothing was appended. */
bool imap_labelled_set(const struct labels *, struct imap_labelled *, struct buffer *to);
/* The next message that the filter does not want; 0: none is left. */
uint32_t imap_labelled_unwanted(const struct labels *, struct imap_labelled *);
/* Was the message asked for with this range, and not handed over yet? */
bool imap_labelled_waits_for(const struct labels *, const struct imap_labelled *,
			     const struct imap_ask *, uint32_t uid);

/* What a scan tells: all there is to know, out of memory. */
struct imap_labelled_scan {
	bool open, flags;
	size_t folder, place;
	uint64_t first, last;
	struct mail_meta meta;
};
/* As scan() and found() of struct source_driver. False: the folder is none of these. */
bool imap_labelled_scan(const struct labels *, struct imap_labelled_scan *, const struct box *,
			uint64_t first, uint64_t last, bool flags);
enum err imap_labelled_found(const struct labels *, struct imap_labelled_scan *,
			     struct finding *) MUST_CHECK;

#endif
