/* Why messages were skipped, as people read it and as they say it: the counts in status and
 * reports, and the REASON of --retry-skipped. */
#ifndef MAILHAUL_TOOLS_SKIP_REASON_H
#define MAILHAUL_TOOLS_SKIP_REASON_H

#include <stdio.h>

#include "engine/ledger.h"
#include "tools/json_out.h"

#define RETRY_SKIPPED_HELP                                                                         \
	"Ask again for the messages that earlier runs skipped for REASON: a name as mailhaul "     \
	"status and the report print it, such as IMAP_MSG_REFUSED, or all. What is refused once "  \
	"more is skipped as before. Needed once: what it asks for stays asked for until it is "    \
	"moved or skipped."

/* What a person gave as --retry-skipped (NULL: "" in `to`), as the ledger names it: by name or by
 * the report's sentence, in any case of letters, with - or blanks for _. A reason that this version
 * does not know must be one that the ledger in `state` has. Blocks: not for fibers.
 * returns     OK | ERR_INPUT_USAGE with the reasons there are */
enum err skip_reason_parse(const char *given, const char *state,
			   char to[LEDGER_REASON_NAME_BYTES]) MUST_CHECK;

/* The following take LEDGER_REASONS_MAX of them, as in struct ledger_totals. */
void skip_reasons_add(struct ledger_reason *sum, const struct ledger_reason *more);
/* "3 IMAP_MSG_REFUSED, 1 SINK_REFUSED; --retry-skipped REASON asks for them again" as a line that
 * begins with `label`; nothing where nothing is skipped. */
void skip_reasons_text(const struct ledger_reason *, const char *label, FILE *);
/* "skipped_reasons":{"IMAP_MSG_REFUSED":3} */
void skip_reasons_json(const struct ledger_reason *, struct json_out *);

#endif
