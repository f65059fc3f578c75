/* Keys from what AWS puts beside a machine or a container: instance metadata of EC2, version 2 only
 * (a token first; version 1 is never asked), and the container endpoints of ECS and EKS. Not for:
 * when they are asked (aws_chain.h). */
#ifndef MAILHAUL_AWS_METADATA_H
#define MAILHAUL_AWS_METADATA_H

#include "transport/aws_call.h"
#include "transport/aws_keys.h"

/* $AWS_EC2_METADATA_DISABLED is "true". */
bool aws_metadata_is_disabled(void);
/* The keys of the instance's role ("Use IMDSv2", "Retrieve security credentials from instance
 * metadata" of the EC2 User Guide). At http://169.254.169.254, with
 * AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE=IPv6 at http://[fd00:ec2::254], or where
 * $AWS_EC2_METADATA_SERVICE_ENDPOINT says, if that is an address of aws_local.h. Each of three
 * requests has four seconds. Suspends.
 * returns     OK | ERR_NET_*: nobody answers | ERR_AWS_REFUSED: metadata is off for this instance,
 *             or it has no role | ERR_AWS_UNAVAILABLE | ERR_HTTP_SYNTAX | ERR_STREAM_CUT |
 *             ERR_INPUT_SECRET: the answer holds no keys | ERR_INPUT_USAGE */
enum err aws_metadata_fetch(nsec until, struct aws_keys *) MUST_CHECK;

/* The environment names a container endpoint. */
bool aws_container_is_named(void);
/* $AWS_CONTAINER_CREDENTIALS_RELATIVE_URI at 169.254.170.2, or $AWS_CONTAINER_CREDENTIALS_FULL_URI:
 * https://, or http:// at an address of aws_local.h. With what the file
 * $AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE holds (read each time), or
 * $AWS_CONTAINER_AUTHORIZATION_TOKEN, as Authorization ("Container credential provider"). `way` has
 * timeouts, CA file and route for https://. On a fiber with FIBER_STACK_LARGE. Suspends.
 * returns     as aws_metadata_fetch() | ERR_TLS_* | ERR_DISK_* */
enum err aws_container_fetch(const struct account *way, nsec until, struct aws_keys *) MUST_CHECK;

#endif
