/* By what a message is known again that two servers got at the same time: its Message-ID, Date and
 * From without blanks, and the bytes of its body (docs/FORMAT.md section 10). What servers write on
 * the way in (Received, Delivered-To, Authentication-Results, X-...) does not count. A tap, so that
 * it is made while the message passes. Pure. Not for: what is moved, which is compared byte for
 * byte. */
#ifndef MAILHAUL_FINGERPRINT_H
#define MAILHAUL_FINGERPRINT_H

#include "engine/mail.h"

enum {
	FINGERPRINT_KEY_BYTES = 16,
	/* Of a field without its blanks; a message with a longer one has no fingerprint. */
	FINGERPRINT_FIELD_BYTES_MAX = 1000,
};

/* A tap whose end() gives the fingerprint; all zero: the message has none. ERR_MEMORY_EXHAUSTED. */
enum err fingerprint_open(struct tap **) MUST_CHECK;
/* Of a tap made by fingerprint_open(), which was fed all of the header, or those fields of it: what
 * two messages of the same fingerprint have in common already. False: it will have none. What is
 * fed after that is body. */
bool fingerprint_key(struct tap *, uint8_t key[FINGERPRINT_KEY_BYTES]) MUST_CHECK;
bool fingerprint_is_none(const struct digest *);

#endif
