/* list --changes: what each run brought to a mailbox of an archive. */
#ifndef MAILHAUL_TOOLS_LIST_CHANGES_H
#define MAILHAUL_TOOLS_LIST_CHANGES_H

#include "tools/json_out.h"
#include "tools/selection.h"

/* `json` NULL: as text. Counts the lines written. Suspends. */
enum err list_changes(struct archive *, const struct archive_mailbox *, const struct selection *,
		      struct json_out *json, uint64_t *lines) MUST_CHECK;

#endif
