/* Events as key=value (or NDJSON) lines on stderr or a file. Never a secret, a subject or a body;
 * names only where the job allows. Values are escaped here. Thread-safe: one write(2) each, lines
 * never mix. Does not suspend; a full pipe or disk drops and counts, and the next line that finds
 * room says how many ("dropped"). */
#ifndef MAILHAUL_LOG_H
#define MAILHAUL_LOG_H

#include "engine/err.h"

enum log_level {
	LOG_DEBUG,
	LOG_INFO,
	LOG_WARN,
	LOG_ERROR,
	/* Conversations with servers, secrets left out: by itself, whatever the level, or not at
	 * all. */
	LOG_TRACE,
};

/* The functions that set something are for start-up, before other threads log, unless they say
 * otherwise. Default: stderr, LOG_WARN, text, names allowed. */

/* Everything below `level` is dropped. json: one object per line. fd is borrowed. Allows names. */
void log_setup(int fd, enum log_level, bool json);

struct log_config {
	const char *path; /* appended to, made with mode 0600; "" or NULL: stderr */
	enum log_level level;
	bool json;
	bool names; /* false: pairs marked with '!' are left out */
};
/* The same with a file of its own, which log_reopen() can open again.
 * returns     OK | ERR_INPUT_FILE */
enum err log_open(const struct log_config *) MUST_CHECK;
/* The file was moved away by logrotate: its path is opened again by the thread that opened it, with
 * that thread's next event or log_attend(), because the others may be confined. If that fails,
 * events go on into the old file, after one that says so. For SIGHUP: async-signal-safe, any
 * thread. */
void log_reopen(void);
/* To be called now and then by the thread that opened the log. */
void log_attend(void);
/* Whether events of LOG_TRACE are wanted (--trace). Default: no. */
void log_set_trace(bool wanted);
/* Any thread: whether they are, before something is made for one. */
bool log_traces(void);
/* Called around each line that goes to a terminal, so that a live view can take itself off the
 * screen and come back; `before` may take a lock that `after` gives back. Neither may log. NULL,
 * NULL: none. Any thread; when it returns the former ones are not running. */
void log_set_around(void (*before)(void), void (*after)(void));
/* Whom an event is about: each line carries mailbox=... while this answers something else than NULL
 * or "" on its thread (fiber_tag of engine/fiber.h). What it answers is as public as a job allows:
 * tools/log_ids.h. */
void log_set_mailbox(const char *(*mailbox)(void));

/* log_event(LOG_INFO, "lane.reconnect", "box=%llu attempt=%u", no, n): `keys` is a printf form of
 * space-separated key=value pairs; a form with spaces is written as key="...". A pair that can hold
 * a name (of a folder, a person, a server's own words) is marked: !box="%s". An event without
 * pairs: "%s", "". */
void log_event(enum log_level, const char *event, const char *keys, ...) PRINTF_LIKE(3, 4);
/* The running fiber's note as an event; its text can hold names. */
void log_error(enum log_level, const char *event, enum err);

#endif
