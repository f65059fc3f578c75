/* What a check of an archive finds: damage is told and counted, and the check goes on. */
#ifndef MAILHAUL_ARCHIVE_FAULTS_H
#define MAILHAUL_ARCHIVE_FAULTS_H

#include "transport/archive.h"

struct archive_faults {
	void (*tell)(void *context, const char *key, const char *what);
	void *context;
	struct archive_check *check;
};

/* Damage of the object `key` becomes a fault and OK; anything else ends the check and is returned.
 * The words are the note's. */
enum err archive_fault(struct archive_faults *, const char *key, enum err) MUST_CHECK;
#define ARCHIVE_DAMAGED(...) RAISE(ERR_ARCHIVE_DAMAGED, __VA_ARGS__)

#endif
