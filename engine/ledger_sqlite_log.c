/* The write-ahead log that an earlier run left behind, made durable before anything is built on it.
 *
 * When fsync fails, Linux takes the pages that it lost for written: they are read back as they were
 * meant until their memory is wanted for something else, and a second fsync succeeds without them
 * (https://lwn.net/Articles/752063). A run whose commit failed ends there; but the next one reads
 * that commit out of the page cache, adds to the log behind it, syncs, promises, and a power cut
 * then leaves a hole in the middle of the log, at which SQLite stops reading. So what is read is
 * written again: the same bytes, which no cut can harm. */
#include "engine/ledger_sqlite_base.h"

#include <stdlib.h>

enum { PART_BYTES = 64 * 1024 };

static int copy_over_itself(sqlite3_file *file, char part[PART_BYTES], sqlite3_int64 bytes)
{
	int result = SQLITE_OK;

	for (sqlite3_int64 at = 0; at < bytes && !result; at += PART_BYTES) {
		int n = (int)min_u64(PART_BYTES, (uint64_t)(bytes - at));

		result = file->pMethods->xRead(file, part, n, at);
		if (!result)
			result = file->pMethods->xWrite(file, part, n, at);
	}
	return result ? result : file->pMethods->xSync(file, SQLITE_SYNC_NORMAL);
}

/* `which`: SQLITE_FCNTL_FILE_POINTER or _JOURNAL_POINTER. */
static enum err write_again(struct ledger_store *store, int which)
{
	sqlite3_file *file = NULL;
	sqlite3_int64 bytes = 0;
	int result = sqlite3_file_control(store->db, "main", which, &file);
	char *part;
	enum err e;

	if (!result && file && file->pMethods)
		result = file->pMethods->xFileSize(file, &bytes);
	if (!result && bytes == 0)
		return OK;
	if (!(part = malloc(PART_BYTES)))
		return RAISE(ERR_MEMORY_EXHAUSTED, "opening the ledger %s", store->path);
	result = result ? result : copy_over_itself(file, part, bytes);
	free(part);
	if (!result)
		return OK;
	/* Past SQLite's own calls, so it knows of no error. */
	e = (result & 0xff) == SQLITE_FULL ? ERR_DISK_FULL : ERR_DISK_IO;
	return RAISE(e, "writing the log of the ledger %s again, as an earlier run left it: %s",
		     store->path, sqlite3_errstr(result));
}

enum err ledger_sqlite_settle_log(struct ledger_store *store)
{
	enum err e, ended;

	/* Nothing but the head is in a file without tables, and it is in no log. */
	if (store->version == 0)
		return write_again(store, SQLITE_FCNTL_FILE_POINTER);
	if ((e = ledger_sqlite_do(store, SQL_BEGIN_WRITE, NO_NUMBERS, NULL)))
		return e;
	e = write_again(store, SQLITE_FCNTL_JOURNAL_POINTER);
	ended = ledger_sqlite_do(store, SQL_ROLLBACK, NO_NUMBERS, NULL);
	return e ? e : ended;
}
