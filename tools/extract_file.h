/* One message of an archive as one file: compared with what is there, or written beside it and
 * renamed. Everything suspends. */
#ifndef MAILHAUL_TOOLS_EXTRACT_FILE_H
#define MAILHAUL_TOOLS_EXTRACT_FILE_H

#include "transport/archive.h"

/* One file operation; a disk that needs longer is not well. */
#define EXTRACT_FILE_TIMEOUT (60 * NSEC_SECOND)

/* A directory, made if it is not there; *made says which (may be NULL). */
enum err extract_directory(const char *path, bool *made) MUST_CHECK;
/* Whether there is anything at `path`, and whether it is a file that holds exactly this message.
 * The tap is borrowed, and of the mailbox's digest. */
enum err extract_file_look(const char *path, const struct archive_message *, struct tap *,
			   bool *exists, bool *same) MUST_CHECK;

struct extract_file {
	const char *path, *temporary; /* temporary: ours alone; replaced, removed if this fails */
	bool replace;		      /* what lies at `path`; else ERR_DISK_EXISTS */
	bool durable;		      /* the bytes and the time are on disk before the rename */
};
/* Write the message, dated as it was at the source. */
enum err extract_file_write(const struct extract_file *, struct archive *,
			    const struct archive_message *) MUST_CHECK;

#endif
