/* A secret is replaced where it was read: a refresh token that its endpoint replaced. */
#ifndef MAILHAUL_TOOLS_SECRET_REF_STORE_H
#define MAILHAUL_TOOLS_SECRET_REF_STORE_H

#include "tools/secret_ref.h"

/* The first line of a file, which reads `was`, becomes `now`; lines behind it stay. Durable and
 * whole, or as it was: written beside it (0600) and renamed. Refused (ERR_INPUT_SECRET): no file,
 * a symbolic link, a file of somebody else or one that others may read, one that reads otherwise by
 * now. Or ERR_DISK_*: the directory cannot be written. The error says why and never what. On a
 * fiber; suspends. */
enum err secret_ref_store(const struct secret_ref *, struct text was, struct text now,
			  nsec until) MUST_CHECK;

#endif
