/* A message of a parcel that goes to the server wrapped (wrap.h): its size, and its bytes as they
 * are sent, made piece by piece from the original. For imap_link. */
#ifndef MAILHAUL_IMAP_WRAP_H
#define MAILHAUL_IMAP_WRAP_H

#include "transport/imap_append.h"
#include "transport/imap_parcel.h"

/* Sets message->wrapped_bytes. `function`: what made its digest. ERR_MEMORY_EXHAUSTED, ERR_DISK_*.
 * Suspends. */
enum err imap_wrap_measure(struct imap_parcel *, struct imap_message *,
			   const char *function) MUST_CHECK;
/* All wrapped_bytes of it, unless the act is off. As above, and as imap_append_bytes(). */
enum err imap_wrap_send(struct imap_append_act *, struct imap_parcel *, const struct imap_message *,
			const char *function) MUST_CHECK;

#endif
