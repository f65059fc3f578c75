/* What a check of an archive finds: damage is told and counted, and the check goes on. */
#ifndef MAILHAUL_ARCHIVE_FAULTS_H
#define MAILHAUL_ARCHIVE_FAULTS_H

#include "transport/archive.h"

struct archive_faults {
	void (*tell)(void *context, const char *key, const char *what);
	void *context;
	struct archive_check *check; /* may be NULL */
};

/* What an object may be read with that concerns this object only: it is not what was stored, it is
 * gone, or the disk cannot read it. */
bool archive_is_damage(enum err);
/* Damage of the object `key` becomes a fault and OK; anything else ends the check and is returned.
 * The words are the note's. Where there is nobody to tell, ERR_ARCHIVE_DAMAGED says them. */
enum err archive_fault(struct archive_faults *, const char *key, enum err) MUST_CHECK;
/* The note without the key it may begin with: the key is told beside it. */
const char *archive_fault_what(const char *key);
#define ARCHIVE_DAMAGED(...) RAISE(ERR_ARCHIVE_DAMAGED, __VA_ARGS__)

#endif
