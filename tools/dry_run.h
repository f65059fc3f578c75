/* What a dry run looks things up in: a copy of the ledger, which nobody else can read and which is
 * gone when it ends. The ledger itself is not written. */
#ifndef MAILHAUL_TOOLS_DRY_RUN_H
#define MAILHAUL_TOOLS_DRY_RUN_H

#include "engine/err.h"

enum { DRY_RUN_PATH_BYTES_MAX = sizeof "/tmp/mailhaul-dry-run-XXXXXX" + 64 };

struct dry_run {
	char directory[DRY_RUN_PATH_BYTES_MAX]; /* "": there is none */
	bool has_ledger;			/* there was one to copy */
};

/* `state`: the directory of the ledger. Blocks. ERR_INPUT_FILE, ERR_LEDGER_*, ERR_DISK_*. */
enum err dry_run_open(struct dry_run *, const char *state) MUST_CHECK;
/* Remove the copy, which is closed by now. Suspends, and nobody cancels it. */
void dry_run_close(struct dry_run *, nsec until);
/* The same before or after the shard runs. Blocks. */
void dry_run_remove(struct dry_run *);

#endif
