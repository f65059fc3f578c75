/* The drivers this program was built with, by scheme: transport/drivers.def, expanded. */
#ifndef MAILHAUL_TOOLS_DRIVERS_H
#define MAILHAUL_TOOLS_DRIVERS_H

#include "engine/sink.h"

/* NULL where there is none. */
const struct source_driver *drivers_source(const char *scheme);
const struct sink_driver *drivers_sink(const char *scheme);
/* Whether this target's URL means a mailbox on a server, with somebody to log in as. */
bool drivers_is_server(const char *target);

/* Whether this URL means an archive, in any layout: nobody logs in there. */
bool drivers_has_archives(const char *scheme);
bool drivers_is_archive(const char *url);
/* The same of one of packs, with index and manifest; others have each message by itself. */
bool drivers_is_packed(const char *url);

/* For help texts: a line per driver. */
extern const char drivers_sources_text[], drivers_sinks_text[];

#endif
