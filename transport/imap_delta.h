/* What changed in a folder since a run before: with QRESYNC or CONDSTORE (RFC 7162) the server says
 * it, without them flags and UIDs are listed. One folder and one range at a time, before messages
 * are asked for on this conversation. Not for: judging what was found (engine/lane_delta.c). */
#ifndef MAILHAUL_IMAP_DELTA_H
#define MAILHAUL_IMAP_DELTA_H

#include "engine/source.h"
#include "transport/imap_fetch.h"
#include "transport/imap_session.h"

struct imap_delta;

/* Write where a folder stands into box->cursor; epoch, next_no and messages are set. */
void imap_delta_cursor(struct box *, uint64_t modseq);

/* Both are borrowed until close. */
enum err imap_delta_open(struct imap_session *, struct imap_fetch *,
			 struct imap_delta **) MUST_CHECK;
void imap_delta_close(struct imap_delta **);
/* As scan() and found() of struct source_driver. Suspend. */
enum err imap_delta_scan(struct imap_delta *, const struct box *, uint64_t first, uint64_t last,
			 bool flags) MUST_CHECK;
enum err imap_delta_found(struct imap_delta *, struct finding *) MUST_CHECK;

#endif
