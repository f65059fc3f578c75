/* One request to a service with a short answer, taken whole into guarded memory: STS, KMS, a
 * container's endpoint. Each call is a connection of its own. Not for: S3's bodies. */
#ifndef MAILHAUL_AWS_CALL_H
#define MAILHAUL_AWS_CALL_H

#include "transport/aws_request.h"
#include "transport/http.h"

enum { AWS_ANSWER_BYTES_MAX = 64 * 1024 };

/* Zero-initialised is valid and empty. */
struct aws_answer {
	void *room;
	unsigned status;
	struct text body;		       /* in the room */
	char request_id[AWS_REQUEST_ID_BYTES]; /* "": it said none */
};
void aws_answer_close(struct aws_answer *); /* wipes */

/* Connect to the account's host (as http_open()), ask, read. On a fiber with FIBER_STACK_LARGE.
 * Suspends.
 * returns     OK, whatever the status | ERR_NET_* | ERR_TLS_* | ERR_STREAM_CUT |
 *             ERR_HTTP_SYNTAX: no HTTP, or more than AWS_ANSWER_BYTES_MAX */
enum err aws_call(const struct account *, const struct http_request *, nsec until,
		  struct aws_answer *) MUST_CHECK;

/* Whether what is to be shown of an answer holds a secret that was sent; false if it is empty. */
bool aws_answer_repeats(struct text shown, struct text hidden);

/* The value of Host as http.h sends it, for signing. */
enum { AWS_HOST_FIELD_BYTES = HTTP_HOST_BYTES_MAX + 2 + 6 + 1 };
void aws_host_field(const char *host, uint16_t port, char to[AWS_HOST_FIELD_BYTES]);

/* How a status is to be taken that is not what was hoped for. */
bool aws_status_is_for_now(unsigned status); /* 429 and 5xx: the same again later */

#endif
