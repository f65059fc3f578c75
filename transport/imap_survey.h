/* Which messages of a range are wanted: what a FETCH of their facts said of each, and then, piece
 * by piece, the sets of UIDs (RFC 9051 section 9, sequence-set) to ask the bodies of. Pure; part of
 * imap_source. */
#ifndef MAILHAUL_IMAP_SURVEY_H
#define MAILHAUL_IMAP_SURVEY_H

#include "engine/bytes.h"

enum {
	/* Messages of a range: several times what a range is planned to hold. */
	IMAP_SURVEY_MAX = 2048,
	/* Of one set, so that a command stays below 1000 bytes (RFC 2683 section 3.2.1.5). */
	IMAP_SURVEY_SET_BYTES_MAX = 900,
};

struct imap_survey {
	uint64_t seen[IMAP_SURVEY_MAX]; /* UID * 2, + 1: wanted */
	unsigned count, at;
	uint32_t highest;
	bool full; /* there are more messages than can be kept */
	bool all;  /* every one is wanted */
};

void imap_survey_begin(struct imap_survey *);
/* The message is there. Said again it is not wanted if one of the two says so. */
void imap_survey_note(struct imap_survey *, uint32_t uid, bool wanted);
/* All was noted: now the sets. */
void imap_survey_end(struct imap_survey *);
/* Append the next set to `to`; false: there is none, nothing was appended. Holds no UID that is not
 * wanted, and may hold some that are not there. Where all are wanted it is one, first:last. */
bool imap_survey_set(struct imap_survey *, uint64_t first, uint64_t last, struct buffer *to);

#endif
