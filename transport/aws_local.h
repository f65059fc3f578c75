/* The services that AWS puts beside a machine or a container to hand it keys: instance metadata and
 * container endpoints. They speak HTTP without TLS, at addresses that no router passes on, and that
 * is the one exception to "no plaintext": this client connects to the addresses below and to no
 * other, so nothing of it can reach a network. Small, on purpose: one request a connection, no
 * redirection, no proxy, no name lookup, hard limits. */
#ifndef MAILHAUL_AWS_LOCAL_H
#define MAILHAUL_AWS_LOCAL_H

#include "transport/aws_call.h"
#include "transport/resolve.h"

enum {
	AWS_LOCAL_HEAD_BYTES_MAX = 8 * 1024,
	AWS_LOCAL_BODY_BYTES_MAX = 24 * 1024,
	AWS_LOCAL_TARGET_BYTES_MAX = 1024,
};

struct aws_local_place {
	union resolve_address address;
	char target[AWS_LOCAL_TARGET_BYTES_MAX + 1]; /* path and query; "/" at least */
};

/* 169.254.169.254 and fd00:ec2::254 (EC2 User Guide, "Access instance metadata"), 169.254.170.2
 * (ECS), 169.254.170.23 and fd00:ec2::23 (EKS: "Container credential provider"), 127.0.0.0/8, ::1.
 */
bool aws_local_is_allowed(const union resolve_address *);
/* "http://ADDRESS[:PORT][/PATH]"; the name "localhost" is 127.0.0.1. `what` names the URL in
 * errors. ERR_INPUT_USAGE: not such a URL, or at another address. */
enum err aws_local_parse(const char *what, const char *url, struct aws_local_place *) MUST_CHECK;

/* Of the request, method, fields and hides_target count. Suspends.
 * returns     OK, whatever the status | ERR_NET_* | ERR_STREAM_CUT | ERR_HTTP_SYNTAX: no HTTP, or
 *             past the limits | ERR_INPUT_SECRET: a field would hold a control character */
enum err aws_local_ask(const struct aws_local_place *, const struct http_request *, nsec until,
		       struct aws_answer *) MUST_CHECK;

#endif
