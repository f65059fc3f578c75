/* The run's record of its requests to AWS: a line for each in a file of the state directory
 * (docs/FORMAT.md, section 12), and totals for the reports. Whoever makes a request never waits for
 * it: lines gather in 512 KiB of memory, and a fiber writes them. What finds no room, on
 * a disk that is full for long, is counted as missing, and no transfer stops for it.
 *
 * The file is made with the first request. It is one process's; nobody removes it. */
#ifndef MAILHAUL_TOOLS_AWS_RECORD_H
#define MAILHAUL_TOOLS_AWS_RECORD_H

#include <stdio.h>

#include "transport/aws_request.h"

struct json_out;

struct aws_record_config {
	const char *directory; /* the run's state; NULL: nothing is written, only counted */
	bool names;	       /* keys of objects, which hold names of mailboxes, may be written */
};

struct aws_record;
/* Asks the disk nothing yet. ERR_MEMORY_EXHAUSTED. */
enum err aws_record_open(const struct aws_record_config *, struct aws_record **) MUST_CHECK;
/* No request may be under way, aws_record_keep() must have ended. */
void aws_record_close(struct aws_record **);

/* What requests are to be told to, by any thread: for struct s3_config and struct aws_chain. Until
 * aws_record_close(). */
const struct aws_listener *aws_record_listener(const struct aws_record *);
/* A fiber of one thread, with a small stack, until it is cancelled: writes what is there, some
 * times a second. `record` is the struct aws_record. */
enum err aws_record_keep(void *record);
/* Write what is left, and have the disk keep it: after the last request and the end of
 * aws_record_keep(). What cannot be written is told by the reports and the log. Suspends, at most
 * until the deadline. */
void aws_record_finish(struct aws_record *, nsec until);

/* For reports, after aws_record_finish(). Nothing where no request was made. */
/* A line for all requests, one for each kind, and one if the record is not complete. */
void aws_record_text(const struct aws_record *, FILE *);
/* "aws_requests": {file (or null), requests, failed, repeated, missing (in the file), error (why;
 * or null), kinds: [{service, operation, host, status, requests, failed, repeated, bytes_sent,
 * bytes_received, p50_ms, p99_ms}], of_other_kinds} */
void aws_record_json(const struct aws_record *, struct json_out *);

#endif
