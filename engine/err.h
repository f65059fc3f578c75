/* One error type for the whole program. A caller that knows only the number knows what to do: the
 * row in err.def holds the retry class, the exit code and the text. The *note* (what was being
 * done, to what, what the peer said, errno, file:line) is kept once per fiber: the first one raised
 * stays until somebody reports it, because the first is the cause. */
#ifndef MAILHAUL_ERR_H
#define MAILHAUL_ERR_H

#include "engine/base.h"

enum err {
	OK = 0,
#define ERR(domain, code, retry, exit_code, text) ERR_##domain##_##code,
#include "engine/err.def"
#undef ERR
	ERR_COUNT
};

/* How wide and when. Only engine/retry.c acts on these; drivers only name them. */
enum err_retry {
	RETRY_NOW,	  /* the same call again */
	RETRY_RECONNECT,  /* a new conversation, the same work */
	RETRY_BACKOFF,	  /* a new conversation, later */
	RETRY_SKIP_MSG,	  /* this message will not be moved */
	RETRY_SKIP_BOX,	  /* this folder will not be moved */
	RETRY_STOP_BOXES, /* this mailbox will not be moved */
	RETRY_STOP_JOB,	  /* nothing more can be done in this run */
	RETRY_NONE,	  /* not a failure: ended, canceled, drained */
};

/* Process exit codes; docs/ARCHITECTURE.md has the table for users. */
enum exit_code {
	EXIT_ALL_MOVED = 0,
	EXIT_TLS = 12,
	EXIT_USAGE = 64,
	EXIT_BAD_INPUT = 65,
	EXIT_INTERNAL = 70,
	EXIT_TARGET = 73,      /* not writable, or foreign */
	EXIT_IO = 74,	       /* disk full, I/O */
	EXIT_LATER = 75,       /* drained, or ledger busy: run again */
	EXIT_CONNECT = 101,    /* 102 where it was the destination */
	EXIT_INCOMPLETE = 111, /* finished, some skipped or failed */
	EXIT_QUOTA = 113,
	EXIT_RESIDENCY = 120,
	EXIT_MISMATCH = 121,
	EXIT_LOGIN = 161, /* 162 where it was the destination */
};

/* AWS's refusals are long: whose keys, which action, which ARN, and two ids for its support. */
enum { ERR_NOTE_BYTES_MAX = 640 };

/* Whom an error of class BACKOFF or RECONNECT concerns: who is to be left alone for a while. */
enum err_scope {
	ERR_OF_MAILBOX, /* this piece of work, as far as anybody said */
	ERR_OF_ACCOUNT, /* all that logs in as this user */
	ERR_OF_HOST,	/* all that connects there */
};

struct err_note {
	enum err error; /* OK: nothing noted */
	int errno_value;
	enum err_scope scope;
	nsec retry_after; /* how long the peer asks us to stay away, from then; 0: not said */
	const char *file;
	int line;
	char text[ERR_NOTE_BYTES_MAX];
};

/* Short name ("IMAP_THROTTLED"), sentence, class, exit code of an error. Valid for every value of
 * enum err; anything else is a broken promise. */
const char *err_name(enum err);
const char *err_text(enum err);
enum err_retry err_retry_class(enum err);
int err_exit_code(enum err);
/* The error with this short name; false if there is none. */
bool err_from_name(struct text name, enum err *out);

/* Raise: note what was being done (printf form; never a secret, never message content) and return
 * the error. Keeps an earlier note. RAISE_ERRNO also keeps errno_value (positive) and appends its
 * text. */
#define RAISE(error, ...) err_raise((error), 0, __FILE__, __LINE__, __VA_ARGS__)
#define RAISE_ERRNO(error, errno_value, ...)                                                       \
	err_raise((error), (errno_value), __FILE__, __LINE__, __VA_ARGS__)
enum err err_raise(enum err, int errno_value, const char *file, int line, const char *format, ...)
	PRINTF_LIKE(5, 6);

/* What the peer said about when to come back, and whom it meant: said right before the RAISE it
 * belongs to, and like that RAISE without effect where an earlier note stands. */
void err_retry_after(nsec duration, enum err_scope);

/* The running fiber's note (or the thread's, outside fibers). Never NULL. */
struct err_note *err_note(void);
void err_note_clear(void);
/* The cause of an error that comes from another fiber or an earlier call: a note that was kept
 * there becomes the running fiber's, unless this has one already or nothing was noted there. */
void err_note_inherit(const struct err_note *kept);
/* For the fiber switch: makes `note` current, returns the one before. NULL: the thread's own. */
struct err_note *err_note_swap(struct err_note *note);

/* errno (positive) of a file operation as one of ours: ENOSPC and EDQUOT are ERR_DISK_FULL; EROFS
 * ERR_DISK_READ_ONLY; EACCES and EPERM ERR_DISK_DENIED; ENOENT and ENOTDIR ERR_DISK_ABSENT; EEXIST
 * and ENOTEMPTY ERR_DISK_EXISTS; the rest ERR_DISK_IO. */
enum err err_of_file_errno(int errno_value);

/* Copy `from` into `to`, control bytes and quotes escaped as \xNN, cut to fit with "..."; for
 * showing what a peer said. Always terminates; returns `to`. */
char *err_quote(char *to, size_t to_bytes, struct text from);

#endif
