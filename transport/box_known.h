/* Names by which folders of a use are known where the server does not say the use itself (RFC 6154
 * is not everywhere: Exchange, Zimbra and Courier have no SPECIAL-USE): a table of the common
 * languages. Pure. */
#ifndef MAILHAUL_BOX_KNOWN_H
#define MAILHAUL_BOX_KNOWN_H

#include "engine/mail.h"

/* The use that a folder of this name has by custom, in any case of letters; BOX_USE_NONE: the name
 * says nothing. *rank is lower where the name is more likely the one meant, and different for any
 * two names of one use. */
enum box_use box_known_use(struct text level, unsigned *rank);

#endif
