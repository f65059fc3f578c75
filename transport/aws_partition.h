/* Where AWS is: from a region to the partition it lies in, and to the hosts of its services there.
 * A name is never looked for in another partition than its own: what does not fit is refused.
 * Pure; nothing here suspends. Not for: which region and endpoint a user wants (aws_settings.h). */
#ifndef MAILHAUL_AWS_PARTITION_H
#define MAILHAUL_AWS_PARTITION_H

#include "engine/err.h"

enum aws_service { AWS_S3, AWS_KMS, AWS_STS, AWS_SERVICES };

enum {
	AWS_REGION_BYTES_MAX = 63,  /* a label of a host name */
	AWS_BUCKET_BYTES_MAX = 255, /* "General purpose bucket naming rules": 63; older ones 255 */
	AWS_ARN_BYTES_MAX = 2048,   /* arnType of the STS API */
	AWS_HOST_BYTES_MAX = 255,
	AWS_PATH_BYTES_MAX = 512, /* of an endpoint's own URL, with a bucket behind it */
	AWS_URL_BYTES_MAX = 768,
};

struct aws_partition {
	const char *name; /* "aws-eusc" */
	const char *dns_suffix, *dual_stack_suffix;
	const char *prefixes; /* of its regions, spaces between */
	const char *regions; /* that were known when the table was made; there may be more by now */
	unsigned without;    /* of its own: aws_partition.c */
};

/* "s3", "kms", "sts": in host names, in signatures and in $AWS_ENDPOINT_URL_* (in capitals). */
const char *aws_service_name(enum aws_service);

/* The partition a region lies in, by the form of its name. ERR_INPUT_USAGE: it is none of AWS. */
enum err aws_partition_of_region(const char *region, const struct aws_partition **) MUST_CHECK;
/* NULL: there is none of that name. */
const struct aws_partition *aws_partition_named(struct text name);
/* It has the form of a region, but is none that the table knows: it may be new, or mistyped. */
bool aws_region_is_new(const char *region);
/* The characters of a region's name, for servers that are not AWS's and have names of their own. */
bool aws_region_is_sound(const char *region);

/* Where a host of AWS's own is, by its name alone. */
struct aws_host {
	const struct aws_partition *partition; /* NULL: the name does not say */
	char region[AWS_REGION_BYTES_MAX + 1];
};
/* False: it is no name of AWS's. The region is what stands right in front of AWS's own part, where
 * no customer may put a word of his own: a bucket can be called "eu-central-1". */
bool aws_host_place(const char *host, struct aws_host *out);

/* How a bucket is named: in the host ("virtual-hosted", what AWS wants) or in the path. */
enum aws_style {
	AWS_STYLE_AUTO, /* in the host at AWS; in the path at other servers */
	AWS_STYLE_VIRTUAL,
	AWS_STYLE_PATH,
};

struct aws_endpoint_wish {
	enum aws_service service;
	const char *region;
	const char *url;    /* the user's own endpoint, https://HOST[:PORT][/PATH]; NULL: AWS's */
	const char *bucket; /* of AWS_S3; NULL: none */
	enum aws_style style;
	bool fips, dual_stack; /* of AWS's own endpoints */
};
struct aws_endpoint {
	char host[AWS_HOST_BYTES_MAX + 1]; /* to connect to; its certificate is checked for it */
	uint16_t port;
	char path[AWS_PATH_BYTES_MAX + 1]; /* in front of every path; "" or "/..." without an end */
	char region[AWS_REGION_BYTES_MAX + 1]; /* to sign for */
	const struct aws_partition *partition; /* the region's; NULL: it is none of AWS */
};

/* Where to ask. "Regional endpoints" of the AWS General Reference; STS is asked in the region,
 * never at its global endpoint. A bucket whose name holds a dot, or what no host name may, goes
 * into the path: AWS's certificates do not cover it. An own URL may name any server, but none of
 * AWS in another partition than the region's.
 * returns     OK | ERR_INPUT_USAGE says what does not fit */
enum err aws_endpoint_make(const struct aws_endpoint_wish *, struct aws_endpoint *out) MUST_CHECK;

/* Its host is AWS's, of the region's partition; else it is some other server that speaks like it.
 */
bool aws_endpoint_is_of_aws(const struct aws_endpoint *);
/* A service there says that something is in that other region: whether it may be asked for there.
 * Only at AWS, for elsewhere the host would stay the same, and within the partition. */
bool aws_endpoint_may_move(const struct aws_endpoint *, const char *region);

/* arn:PARTITION:SERVICE:REGION:ACCOUNT:RESOURCE ("Amazon Resource Names", IAM User Guide). The
 * parts lie in the text; region and account may be empty. */
struct aws_arn {
	struct text partition, service, region, account, resource;
};
/* `what` names it in errors. ERR_INPUT_USAGE: it is none, or of a partition nobody knows. */
enum err aws_arn_parse(const char *what, const char *text, struct aws_arn *out) MUST_CHECK;

#endif
