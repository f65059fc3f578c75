/* What a service manager wants to know: sd_notify(3), without its library. Datagrams to the socket
 * in $NOTIFY_SOCKET that never block; without a service manager every call does nothing. For one
 * thread at a time. */
#ifndef MAILHAUL_NOTIFY_H
#define MAILHAUL_NOTIFY_H

#include "engine/err.h"

struct notify;

/* Read $NOTIFY_SOCKET, $WATCHDOG_USEC and $WATCHDOG_PID and clear them, so that no child speaks in
 * our name: call it while there is one thread only. Without a service manager *out is NULL, which
 * all calls below accept.
 * returns     OK | ERR_INPUT_USAGE the environment makes no sense | ERR_MEMORY_EXHAUSTED |
 *             ERR_DISK_IO no socket can be made */
enum err notify_open(struct notify **out) MUST_CHECK;
void notify_close(struct notify **);

/* The service is up; it is being stopped. Each is said once; if the manager's queue is full, again
 * with whatever is said next. */
void notify_ready(struct notify *);
void notify_stopping(struct notify *);
/* One line for `systemctl status`, cut at 400 bytes. Everybody can read it: never a secret. Lost if
 * the manager's queue is full. */
void notify_status(struct notify *, const char *format, ...) PRINTF_LIKE(2, 3);
/* Sign of life, to be given every notify_watchdog_every(): half of what the manager allows, as
 * sd_watchdog_enabled(3) advises; 0: the manager does not ask for it. */
void notify_watchdog(struct notify *);
nsec notify_watchdog_every(const struct notify *);

#endif
