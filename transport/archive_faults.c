/* See archive_faults.h. */
#include "transport/archive_faults.h"

#include <stdio.h>

const char *archive_fault_what(const char *key)
{
	const char *text = err_note()->text;
	size_t bytes = strlen(key);

	return strncmp(text, key, bytes) == 0 && strncmp(text + bytes, ": ", 2) == 0
		       ? text + bytes + 2
		       : text;
}

bool archive_is_damage(enum err e)
{
	return e == ERR_ARCHIVE_DAMAGED || e == ERR_DISK_ABSENT || e == ERR_ARCHIVE_FORMAT ||
	       e == ERR_DISK_IO;
}

enum err archive_fault(struct archive_faults *faults, const char *key, enum err e)
{
	char what[ERR_NOTE_BYTES_MAX];

	if (!archive_is_damage(e))
		return e;
	snprintf(what, sizeof what, "%s",
		 e == ERR_DISK_ABSENT ? "it is missing" : archive_fault_what(key));
	err_note_clear();
	if (!faults->tell)
		return RAISE(ERR_ARCHIVE_DAMAGED, "%s: %s", key, what);
	if (faults->check)
		faults->check->faults++;
	faults->tell(faults->context, key, what);
	return OK;
}
