/* A small file read whole into guarded memory: config files, tokens that a platform writes for us.
 * Not for: password files, which have stricter rules (crypto/secret.h). */
#ifndef MAILHAUL_AWS_FILE_H
#define MAILHAUL_AWS_FILE_H

#include "engine/clock.h"
#include "engine/err.h"

/* Zero-initialised is valid and empty. */
struct aws_file {
	void *room; /* NULL: nothing was read */
	struct text text;
	uint32_t mode; /* permission bits */
};

/* /dev/null is an empty file; another special file is refused. Suspends.
 * returns     OK | ERR_DISK_* | ERR_INPUT_FILE: larger than bytes_max | ERR_MEMORY_EXHAUSTED */
enum err aws_file_read(const char *path, size_t bytes_max, nsec until,
		       struct aws_file *) MUST_CHECK;
/* The same from a text, which is copied; `shown` names it in errors. */
enum err aws_file_of(const char *shown, struct text, size_t bytes_max,
		     struct aws_file *) MUST_CHECK;
void aws_file_close(struct aws_file *); /* wipes */

#endif
