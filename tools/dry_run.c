/* See dry_run.h. */
#include "tools/dry_run.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "engine/fiber.h"
#include "engine/ledger.h"
#include "engine/offload.h"

enum err dry_run_open(struct dry_run *dry, const char *state)
{
	const char *temporary = getenv("TMPDIR");
	enum err e;
	int n;

	temporary = temporary && *temporary ? temporary : "/tmp";
	n = snprintf(dry->directory, sizeof dry->directory, "%s/mailhaul-dry-run-XXXXXX",
		     temporary);
	if ((size_t)n >= sizeof dry->directory || !mkdtemp(dry->directory)) {
		dry->directory[0] = '\0';
		return RAISE_ERRNO(ERR_INPUT_FILE, errno, "making a temporary directory in %s",
				   temporary);
	}
	e = ledger_snapshot(state, dry->directory);
	dry->has_ledger = e == OK;
	if (e == ERR_LEDGER_ABSENT)
		err_note_clear();
	return e == ERR_LEDGER_ABSENT ? OK : e;
}

static enum err remove_directory(void *directory)
{
	static const char *const names[] = { "ledger.db", "ledger.db-wal", "ledger.db-shm",
					     "ledger.lock" };
	char path[DRY_RUN_PATH_BYTES_MAX + 32];

	for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
		snprintf(path, sizeof path, "%s/%s", (char *)directory, names[i]);
		(void)unlink(path);
	}
	(void)rmdir(directory);
	return OK;
}

/* In a job: the shard's own thread is confined by now and removes nothing. */
void dry_run_close(struct dry_run *dry, nsec until)
{
	const struct offload_job job = { .name = "dry-run",
					 .run = remove_directory,
					 .argument = dry->directory,
					 .argument_bytes = sizeof dry->directory };

	if (!dry->directory[0])
		return;
	fiber_shield();
	if (offload_run(&job, until))
		err_note_clear();
	fiber_unshield();
	dry->directory[0] = '\0';
}

void dry_run_remove(struct dry_run *dry)
{
	if (dry->directory[0])
		(void)!remove_directory(dry->directory);
	dry->directory[0] = '\0';
}
