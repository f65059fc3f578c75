/* The sink that stores each message as an object of its own in a bucket: docs/FORMAT.md section 13.
 * An account for it has the scheme "s3+eml", and is else one of an archive in a bucket
 * (store_s3.h).
 *
 * A message that is no longer than a part is held until the service has it, with those beside it as
 * much as a part in all; of longer ones UPLOAD_PARTS of their parts. Up to 16 requests are on their
 * way, four where several mailboxes are stored at once, each over a connection of the account's
 * pool; a fiber with FIBER_STACK_LARGE each. What later runs find changed goes beside the messages
 * (changes.h): nothing is overwritten. */
#ifndef MAILHAUL_EML_SINK_H
#define MAILHAUL_EML_SINK_H

#include "engine/sink.h"

extern const struct sink_driver eml_sink;

#endif
