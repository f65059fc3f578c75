/* Folder names on the wire: modified UTF-7 (RFC 3501 section 5.1.3), both ways. Knows no
 * protocol. */
#ifndef MAILHAUL_IMAP_UTF7_H
#define MAILHAUL_IMAP_UTF7_H

#include "engine/base.h"

/* Decode to UTF-8. False, with nothing promised about `to`, unless `raw` is the one correct
 * spelling of a name (so two different spellings never become one name), holds no U+0000, and fits.
 * `to` is terminated. */
bool imap_utf7_decode(struct text raw, char *to, size_t to_bytes) MUST_CHECK;
/* Encode UTF-8. False unless `name` is valid UTF-8 without U+0000 and the result fits.
 * Terminated. */
bool imap_utf7_encode(struct text name, char *to, size_t to_bytes) MUST_CHECK;
/* Valid UTF-8 as RFC 3629 has it: shortest form, no surrogates, at most U+10FFFF. */
bool imap_utf8_valid(struct text) MUST_CHECK;

#endif
