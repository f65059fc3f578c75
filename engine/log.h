/* Events as key=value (or NDJSON) lines on stderr or a file. Never a secret, a subject or a body;
 * names only where the job allows. Values are escaped here. Does not suspend; a full pipe drops and
 * counts. */
#ifndef MAILHAUL_LOG_H
#define MAILHAUL_LOG_H

#include "engine/err.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

/* Everything below `level` is dropped. json: one object per line. fd is borrowed. Default: stderr,
 * LOG_WARN, text. */
void log_setup(int fd, enum log_level, bool json);

/* log_event(LOG_INFO, "lane.reconnect", "box=%s attempt=%u", name, n): `keys` is a printf form of
 * space-separated key=value pairs; a form with spaces is written as key="...". An event without
 * pairs: "%s", "". */
void log_event(enum log_level, const char *event, const char *keys, ...) PRINTF_LIKE(3, 4);
/* The running fiber's note as an event. */
void log_error(enum log_level, const char *event, enum err);

#endif
