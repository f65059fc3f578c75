/* The folders of a mailbox whose messages are objects of their own: which are there, and that each
 * is called what it should be. docs/FORMAT.md section 13.1. Suspends but free. */
#ifndef MAILHAUL_EML_FOLDERS_H
#define MAILHAUL_EML_FOLDERS_H

#include "transport/archive_entry.h"
#include "transport/eml_layout.h"
#include "transport/name_table.h"

/* Zero-initialised is valid and empty. */
struct eml_folders {
	struct name_table keys; /* that are there; 1: and have the name that they should */
	bool listed;		/* those that an earlier run made are among them */
};

/* A folder is about to be filled, or is empty: it is there on return. Of one that was there before
 * nobody asks yet what it is called. */
enum err eml_folders_meet(struct eml_folders *, struct archive_entry *,
			  const struct box *) MUST_CHECK;
/* Before the first message of a run. ERR_SINK_BOX: its place is another's. */
enum err eml_folders_check(struct eml_folders *, struct archive_entry *, const char *key,
			   const char *name) MUST_CHECK;
void eml_folders_free(struct eml_folders *);

#endif
