/* Messages below a prefix of a bucket, one object each, as a source: what SES receives for a domain
 * and stores there, what others keep so, and what the sink `eml` stores (docs/FORMAT.md section
 *12). An account for it has the scheme "s3+eml", the bucket's name in `host`, the prefix in `path`
 *and, in `s3`, how to speak with it:
 *
 *	s3://BUCKET/PREFIX/
 *
 * Sub-prefixes are folders, what lies at the prefix itself is INBOX. A prefix in an archive of ours
 * may stop at the archive, or name a mailbox of it as archive_place.h has it.
 *
 * Bytes are handed on as they are. The date is when the object was stored, and there are no flags,
 * unless we stored it and said so. An object that is no message of use is told of as one that does
 * not come (ERR_SOURCE_ENCRYPTED, _ARCHIVED, _CHANGED, _NOT_MAIL); what cannot be a message by its
 * name is logged. All calls suspend on a fiber with FIBER_STACK_LARGE. A conversation takes 512 KiB
 * beside its chunks and its connection, and one request at a time. */
#ifndef MAILHAUL_MIME_SOURCE_H
#define MAILHAUL_MIME_SOURCE_H

#include "engine/source.h"

extern const struct source_driver mime_source;

#endif
