/* See archive_faults.h. */
#include "transport/archive_faults.h"

/* The note without the key it may begin with: the key is told beside it. */
static const char *what_of(const char *key)
{
	const char *text = err_note()->text;
	size_t bytes = strlen(key);

	return strncmp(text, key, bytes) == 0 && strncmp(text + bytes, ": ", 2) == 0
		       ? text + bytes + 2
		       : text;
}

enum err archive_fault(struct archive_faults *faults, const char *key, enum err e)
{
	if (e != ERR_ARCHIVE_DAMAGED && e != ERR_DISK_ABSENT && e != ERR_ARCHIVE_FORMAT)
		return e;
	faults->check->faults++;
	faults->tell(faults->context, key, e == ERR_DISK_ABSENT ? "it is missing" : what_of(key));
	err_note_clear();
	return OK;
}
