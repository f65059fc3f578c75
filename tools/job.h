/* A job: what `mailhaul run` is asked to do, after the job file and the mailbox list were read and
 * checked whole. Everything in it is owned by the job and constant once it is open. Secrets are
 * references here ("file:/etc/...", "env:NAME", "systemd:NAME", "exec:..."), resolved when the
 * mailbox starts; a password that stands in a CSV is a reference too, to that file's line. */
#ifndef MAILHAUL_TOOLS_JOB_H
#define MAILHAUL_TOOLS_JOB_H

#include "engine/filter.h"
#include "engine/window.h"
#include "tools/bucket.h"
#include "tools/routes.h"
#include "tools/gmail.h"
#include "tools/login.h"
#include "tools/secret_ref.h"

/* One row of the mailbox list, defaults filled in. Strings are never NULL. */
struct job_mailbox {
	const char *source,
		*target; /* URLs without secrets, user included: "imaps://a@old.example/" */
	/* The passwords; or, with a login, what gets access tokens. */
	struct secret_ref source_secret, target_secret;
	const struct login *source_login, *target_login; /* NULL: with the password */
	const char *ca_file;				 /* "": the system's */
	const char *wave, *ticket, *tags;
	const char *account; /* "user@host[:port]" at the source; no two mailboxes have the same */
	const char *file;    /* the CSV or job file it comes from, and where in it */
	uint32_t line;
	int32_t priority;     /* higher first */
	uint16_t connections; /* conversations with the source at once, at least 1 */
};
/* "alice@new.example:993/", the part of the target behind its scheme: a server's own port is not in
 * it, so TLS and STARTTLS lead to one account. NULL: the target is no server. */
const char *job_target_account(const struct job_mailbox *);

struct job_limits {
	uint32_t workers;	       /* 0: one per usable core */
	uint32_t mailboxes;	       /* under way at once, all workers; 0: chosen by mailhaul */
	uint32_t connections;	       /* all hosts */
	uint32_t connections_per_host; /* source hosts, by name and port */
	uint32_t connections_per_account;
	uint64_t bytes_per_second; /* 0: unbounded; windows may say less */
	struct job_pace {
		uint64_t messages_per_second; /* of one account; 0: unbounded */
		uint64_t bytes_a_day;	      /* the same; 0: as its provider says */
	} source, target;
};

/* Options of copy, the same for every mailbox of the job. */
struct job_options {
	const char *digest;
	uint32_t zstd_level; /* 0: off */
	uint64_t pack_bytes;
	bool flags_never, flags_keep, newest_first;
	struct gmail_options gmail; /* of the source */
	const char *wrap;	    /* "no", "refused", "odd" */
	unsigned existing;	    /* enum sink_existing */
	nsec io_timeout, connect_timeout, settle;
};

struct residency; /* transport/residency.h */

/* What of each mailbox is wanted. */
struct job_texts {
	const char *at[FILTER_PATTERNS_MAX];
	size_t count;
};
struct job_filter {
	struct filter *filter;			   /* NULL: everything */
	struct job_texts include, exclude, rename; /* as written, to be shown */
	const char *since, *before;		   /* "": none */
	uint64_t min_bytes, max_bytes;		   /* 0: none */
};

struct job_outputs {
	const char *state;		      /* directory of the ledger */
	const char *text, *json, *csv, *html; /* report files; "": none */
	const char *metrics;		      /* "127.0.0.1:9469", "unix:/run/x.sock"; "": none */
	const char *log, *log_level;	      /* "": stderr */
	bool log_json, log_names;
};

struct job {
	const char *name; /* of the batch; the file's name without extension if it says none */
	const char *path;
	struct job_mailbox *mailboxes;
	size_t mailboxes_count;
	struct login *source_login, *target_login; /* of mailboxes without a secret of their own */
	struct job_limits limits;
	struct job_options options;
	struct job_filter filter;
	/* What may be met, which whoever runs the job sets for the process; NULL: anything. */
	struct residency *residency;
	struct job_outputs outputs;
	struct job_route source_route, target_route;
	/* Where some sources, or targets, are in buckets. */
	struct job_bucket {
		struct bucket_options options;
		const char *name; /* of the first of them; "": there are none */
	} source_bucket, target_bucket;
	struct window *window;	     /* NULL: always open */
	const char *window_texts[3]; /* as window_open() took them; "": none */
	const char *const *waves;    /* in their order; mailboxes of no wave come last */
	size_t waves_count;
};

/* A fault of a job file or CSV: told file by file in the order of lines before the job is refused,
 * of each file the first 50, then how many more there are. A warning is told in the same way,
 * before the faults, and refuses nothing. */
struct job_fault {
	bool warning;
	unsigned more; /* not 0: stands for so many faults that are not told one by one */
	const char *file;
	unsigned line;	 /* 1-based; 0: the file as a whole */
	const char *key; /* "limits.workers", a column's name; "" if none */
	const char *text;
};

/* Reads `path` and every file it names. Faults are told to `fault` (may be NULL); with one or
 * more of them ERR_INPUT_FILE (note: the first), or ERR_RESIDENCY_* where all of them are hosts and
 * keys outside of the job's own residency policy. Blocks; for start-up. Never opens a connection
 * and never resolves a secret. */
enum err job_open(const char *path, void (*fault)(void *context, const struct job_fault *),
		  void *context, struct job **) MUST_CHECK;
void job_close(struct job **);
/* Of a job file source.oauth2, target.oauth2 and residency alone: a job with one mailbox that has
 * these users, its logins and what gets their tokens, and nothing else. At least one of both logins
 * is there. ERR_INPUT_FILE, ERR_RESIDENCY_* with the first fault. Blocks. */
enum err job_open_logins(const char *path, const char *source_user, const char *target_user,
			 struct job **) MUST_CHECK;

#endif
