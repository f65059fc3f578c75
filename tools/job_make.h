/* A job being made: what tools/job.c and tools/job_mailbox.c share. */
#ifndef MAILHAUL_TOOLS_JOB_MAKE_H
#define MAILHAUL_TOOLS_JOB_MAKE_H

#include "engine/bytes.h"
#include "tools/job_file.h"
#include "tools/mailbox_csv.h"
#include "tools/text_store.h"
#include "tools/url.h"

/* What stands behind a struct job. */
struct job_owner {
	struct job job;
	struct login logins[2];
	struct text_store texts;
	struct mailbox_csv **lists; /* rows borrow from them, and passwords are read from them */
	size_t lists_count;
};

enum { JOB_PATH_BYTES_MAX = 4096, JOB_WAVES_MAX = 1000 };

struct job_make {
	struct job_faults faults;
	struct job_file *file;
	struct job_owner *owner;
	char *directory;		 /* of the job file, absolute */
	const char *source, *target;	 /* of the job, checked; NULL: none, or wrong */
	const char *ca_file;		 /* of the job; "": none */
	struct secret_ref source_secret; /* of the job, where it is the same for every mailbox */
	struct secret_ref target_secret;
	enum job_key_id source_secret_key, target_secret_key; /* where they are written */
	const char **waves;
	size_t waves_count, mailboxes_room;
	bool waves_given;
	bool source_missed, target_missed; /* by some mailbox; told for the first */
	unsigned violations; /* of the faults: what is outside of the residency policy, */
	enum err violation;  /* and the first of them */
	bool list_failed;    /* a CSV could not be read: not all mailboxes are known */
	bool memory_lost;
	struct url url;	       /* too large for a stack */
	struct buffer scratch; /* a text being put together */
};

/* Where a fault of one mailbox is told. */
struct job_spot {
	const char *file;
	unsigned line;
	const char *key;
};
void job_fault_at(struct job_make *, const struct job_spot *, const char *text);
/* The same with the text of the error that was just raised, whose note is cleared. */
void job_fault_at_raised(struct job_make *, const struct job_spot *, enum err);

/* A copy that lives as long as the job; "" without memory, which is noted. */
const char *job_keep(struct job_make *, struct text);
/* A path of the job file, as seen from the current directory; kept. */
const char *job_resolve_path(struct job_make *, const char *path);
/* Told unless the file can be opened for reading. */
void job_check_readable(struct job_make *, const char *path, unsigned line, const char *key);

/* A reference as somebody wrote it, for the mailbox of `user`. `before` is the same secret of the
 * mailbox before (may be NULL): what is shared is checked once. */
void job_secret_make(struct job_make *, const struct job_spot *, const char *reference,
		     const char *user, const struct secret_ref *before, struct secret_ref *out);
/* One that a list's row holds. */
void job_secret_of_list(struct job_make *, const struct job_spot *, const struct secret_ref *given,
			const struct secret_ref *before, struct secret_ref *out);
/* The secret of that key, once, where it is the same for all mailboxes. */
void job_secret_shared(struct job_make *, enum job_key_id, struct secret_ref *out);
/* The same for a mailbox that has none of its own. */
void job_secret_default(struct job_make *, const struct job_mailbox *, enum job_key_id,
			const char *user, struct secret_ref *out);

/* `reference` with a relative path resolved and "{user}" as it is; kept. */
const char *job_secret_keep(struct job_make *, const char *reference);
/* source.oauth2 and target.oauth2: the job's logins, and source_secret_key and target_secret_key.
 */
void job_login_make(struct job_make *);

/* The job's logins for one mailbox of these users, which is all there is. */
void job_login_make_alone(struct job_make *, const char *source_user, const char *target_user);

/* What of them is wanted. */
enum err job_make_filter(struct job_make *) MUST_CHECK;

/* source.s3 and target.s3, when all mailboxes are known. */
void job_bucket_make(struct job_make *);

/* What may be met; and, when all is made, whether the hosts that are named may be. */
enum err job_make_residency(struct job_make *) MUST_CHECK;
void job_check_residency(struct job_make *);
/* The same where nothing but the logins is used. */
void job_check_residency_alone(struct job_make *);

/* All mailboxes, of the job file and of its lists. */
void job_make_mailboxes(struct job_make *);

#endif
