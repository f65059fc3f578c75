/* Damage that a command meets in an archive and reads on behind: each object on stderr, with what
 * is wrong and what to do, and in JSON as verify has it; counted, and summed up at the end. */
#ifndef MAILHAUL_TOOLS_DAMAGE_H
#define MAILHAUL_TOOLS_DAMAGE_H

#include "tools/json_out.h"
#include "transport/store.h"

struct damage {
	const char *command;
	struct json_out *json; /* NULL: no JSON */
	uint64_t files;
	char last_pack[STORE_KEY_BYTES_MAX +
		       1]; /* counted once, though each of its messages is told */
};

/* For archive_on_damage(): `context` is a struct damage. */
void damage_tell(void *context, const char *key, const char *what);
/* The same of a note that begins with the object's key. */
void damage_tell_note(struct damage *, const char *key);
/* How many files could not be read, on stderr, if any; and the exit code that this makes of one
 * that says success. */
int damage_end(const struct damage *, int exit_code);
/* {"kind":"fault","key":KEY,"what":WHAT} */
void damage_json(struct json_out *, const char *key, const char *what);

#endif
