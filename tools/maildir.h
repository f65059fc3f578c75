/* Messages of an archive as a Maildir++ that a mail server takes over: the mailbox's directory is
 * INBOX, other folders lie beside its cur, new and tmp as ".Level.Level", flags are in the file
 * names, keywords in each folder's dovecot-keywords. docs/OPERATING.md says how to use it. Never
 * replaces a file. Everything suspends but close. */
#ifndef MAILHAUL_TOOLS_MAILDIR_H
#define MAILHAUL_TOOLS_MAILDIR_H

#include "transport/archive.h"

struct maildir;

/* How folder names are written: Dovecot reads modified UTF-7 unless it is told UTF-8. */
struct maildir_config {
	const char *path; /* the mailbox's directory; made if it is not there. Borrowed */
	bool utf8;
	struct tap *digest; /* of the mailbox, borrowed */
};
enum err maildir_open(const struct maildir_config *, struct maildir **) MUST_CHECK;
/* Make a folder, empty or not. */
enum err maildir_add_box(struct maildir *, const struct box *) MUST_CHECK;
/* Into its folder, made if it is not there. *present: it was there already.
 * ERR_DISK_EXISTS: something else has its name. */
enum err maildir_add(struct maildir *, struct archive *, const struct archive_message *,
		     bool *present) MUST_CHECK;
/* Behind the last one: which folders are subscribed, unless that is known already. */
enum err maildir_finish(struct maildir *) MUST_CHECK;
/* Keywords that a folder had no letter left for. */
uint64_t maildir_keywords_dropped(const struct maildir *);
void maildir_close(struct maildir **);

#endif
