/* The option that shows conversations over HTTP in the log; its value goes to log_set_trace()
 * (engine/log.h). What is shown is transport/http_trace.h's to decide. */
#ifndef MAILHAUL_TOOLS_TRACE_H
#define MAILHAUL_TOOLS_TRACE_H

#include "engine/opt.h"

#define TRACE_OPTION(holder, field)                                                                \
	{                                                                                          \
		.name = "trace", OPT_STORES_FLAG(holder, field),                                   \
		.help = "Log every request and answer over HTTP (S3, STS, OAuth2), whatever the "  \
			"log's level: heads only, without secrets (docs/AWS.md)."                  \
	}

#endif
