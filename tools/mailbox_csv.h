/* The list of mailboxes of a job: a CSV of our own columns or of another tool's (mailbox_dialect.h
 * has the tables), read whole and checked whole before anything starts. Not for: the job's other
 * settings and what a row does not say; tools/job_file.c fills those in from these rows:
 *
 * - `source` is complete here: a dialect without a server (Microsoft's, MigrationWiz's) gets
 * scheme, host, port and path from `defaults.source`, and a row of ours may name its own.
 * - `target` is "" where the row names none; the job's own then holds. Row over job in our own
 *   dialect. The other dialects name IMAP accounts as destinations: if the job has a target
 *   (`defaults.target_given`), it holds and their destination columns are not looked at.
 * - a secret of kind SECRET_REF_NONE, priority_given false, connections 0: the job's default.
 *
 * A list with passwords in it stays open while the rows live, because the passwords are not kept
 * in memory but read again from where they stand (tools/mailbox_secret.h); nothing here is locked
 * memory. Close it after the last mailbox has started. */
#ifndef MAILHAUL_TOOLS_MAILBOX_CSV_H
#define MAILHAUL_TOOLS_MAILBOX_CSV_H

#include "tools/job.h"

/* One mailbox. Strings are never NULL, belong to the list and live until it is closed. */
struct mailbox_row {
	const char *source;	 /* canonical URL with the user, as url_parse() shows it */
	const char *target;	 /* canonical URL, user included if it has one; "": the job's */
	const char *account;	 /* "user@host[:port]", in lower case where the user is an address:
				  * one mailbox has one, and no two rows have the same */
	const char *source_user; /* as logged in with, decoded */
	const char *target_user; /* the destination's login or address; "" if the row has none */
	struct secret_ref source_secret, target_secret;
	const char *wave, *ticket, *tags; /* "": none */
	int32_t priority;
	uint32_t line;
	uint16_t connections; /* 0: not said */
	bool priority_given;
};

struct mailbox_csv_defaults {
	const char *source; /* the job's `source`: a URL, with or without a user; "": none */
	bool target_given;  /* the job has a `target` of its own */
	bool source_wrong;  /* the job's `source` was refused: rows without one are left out
			     * without another fault */
};

struct mailbox_csv {
	struct mailbox_row *rows; /* in the file's order */
	size_t count;
	const char *dialect;  /* "native", "Microsoft IMAP", ... */
	bool passwords_plain; /* at least one row holds its password in the file itself */
	struct mailbox_csv_store *store;
};

/* Read and check a list. Blocks; for start-up. Every fault and warning is told to `fault` (may be
 * NULL) with its line and column's name, and no text holds what a field holds.
 * returns  OK | ERR_INPUT_FILE (one or more faults; note: the first) | ERR_DISK_* |
 *          ERR_MEMORY_EXHAUSTED */
enum err mailbox_csv_read(const char *path, const struct mailbox_csv_defaults *,
			  void (*fault)(void *context, const struct job_fault *), void *context,
			  struct mailbox_csv **) MUST_CHECK;
void mailbox_csv_close(struct mailbox_csv **);

#endif
