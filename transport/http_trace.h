/* Requests and answers in the log (LOG_TRACE), without what is secret in them: of fields and of
 * parameters in a target only those are shown whose names stand on a list, of all others the names.
 * Bodies are never shown. What comes from a server of our choice is believed: one that put a secret
 * it was sent into, say, its Date would have it shown. */
#ifndef MAILHAUL_HTTP_TRACE_H
#define MAILHAUL_HTTP_TRACE_H

#include "engine/base.h"

/* Both of a head as it goes over the wire, up to its empty line, and without effect unless traces
 * are wanted. `hides_target`: path and query are secrets themselves. */
/* Returns a number for the exchange, that its answer is to be told with. */
uint64_t http_trace_request(const char *host, struct text head, bool hides_target);
void http_trace_answer(const char *host, uint64_t exchange, unsigned status, struct text head);

#endif
