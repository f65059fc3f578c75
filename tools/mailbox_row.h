/* One record of a mailbox list into one mailbox_row, whatever the dialect. Not for: what spans rows
 * (mailbox_csv.c). */
#ifndef MAILHAUL_TOOLS_MAILBOX_ROW_H
#define MAILHAUL_TOOLS_MAILBOX_ROW_H

#include "engine/bytes.h"
#include "tools/mailbox_dialect.h"
#include "tools/mailbox_secret.h"
#include "tools/text_store.h"
#include "tools/url.h"

struct mailbox_maker {
	struct mailbox_tell *tell;
	const struct mailbox_layout *layout;
	const struct mailbox_secrets *secrets;
	const struct url *source; /* of the job; NULL: none */
	bool target_given;	  /* by the job */
	bool source_missed;	  /* a row needs the job's source, and that was told */
	struct text_store texts;  /* what rows point to */
	uint32_t plain_line;	  /* of the first password in the list; 0: none */
	uint64_t plain_count;
	/* Of the row being made. */
	struct csv_record *record;
	struct mailbox_row *row;
	const struct mailbox_row *before; /* repeated texts are shared with it; may be NULL */
	bool memory_lost;
	struct url url;	    /* as parsed last */
	struct url given;   /* as the row has it, before its user went in */
	struct buffer text; /* may have held a password: wiped by mailbox_row_end() */
};

/* Make a row of a decoded record; faults are told. ERR_MEMORY_EXHAUSTED. */
enum err mailbox_row_make(struct mailbox_maker *, struct csv_record *,
			  const struct mailbox_row *before, struct mailbox_row *) MUST_CHECK;
/* Wipe what it worked in; `texts` stays. */
void mailbox_row_end(struct mailbox_maker *);

#endif
