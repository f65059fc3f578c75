/* Roles taken on at AWS's Security Token Service: AssumeRole, signed with the keys that one has,
 * and AssumeRoleWithWebIdentity, unsigned ("AWS Security Token Service API Reference", version
 * 2011-06-15). Always in the region of the settings. Not for: which role, and when it is renewed
 * (aws_chain.h, aws_credentials.h). */
#ifndef MAILHAUL_AWS_STS_H
#define MAILHAUL_AWS_STS_H

#include "transport/aws_call.h"
#include "transport/aws_keys.h"
#include "transport/aws_settings.h"

struct aws_tag {
	const char *key, *value;
};
enum { AWS_TAGS_MAX = 50 };

/* The parameters of AssumeRole. All but the ARN may be NULL or 0. */
struct aws_role {
	const char *arn;
	const char *session_name; /* 2 to 64 of A-Z a-z 0-9 _ + = , . @ -; NULL: mailhaul-TIME */
	const char *external_id;  /* 2 to 1224 of those and : / */
	const char *mfa_serial;	  /* of the device whose code must be sent along */
	const char *policy;	  /* a session policy in JSON: the role may do no more than it */
	const char *source_identity;
	unsigned duration_s; /* 900 to 43200; STS's own default is an hour */
	const struct aws_tag *tags;
	size_t tags_count;
};

/* Whom to ask; borrowed until return. `way` has timeouts, CA file and route; the settings' CA file
 * counts before it. */
struct aws_sts {
	const struct aws_settings *settings;
	const struct account *way;
	const struct aws_listener *listener; /* is told of each request; NULL: nobody */
};

/* Both on a fiber with FIBER_STACK_LARGE. Suspend.
 * returns     OK | ERR_AWS_REFUSED with STS's code and words | ERR_AWS_UNAVAILABLE: it asks to come
 *             back later | ERR_INPUT_USAGE: a parameter that STS would not take, no region, a role
 *             of another partition than the region's | ERR_NET_* | ERR_TLS_* | ERR_HTTP_SYNTAX |
 *             ERR_STREAM_CUT | ERR_XML_SYNTAX | ERR_INPUT_SECRET: the answer holds no keys */
/* keys        in: to sign with; out: the role's
 * code        of the MFA device, six digits; {NULL, 0}: none is asked for */
enum err aws_sts_assume(const struct aws_sts *, const struct aws_role *, struct text code,
			nsec until, struct aws_keys *keys) MUST_CHECK;
/* token       of an identity provider; a secret. Of the role ARN, session name, policy and duration
 *             are sent. */
enum err aws_sts_assume_by_token(const struct aws_sts *, const struct aws_role *, struct text token,
				 nsec until, struct aws_keys *out) MUST_CHECK;

/* Why STS says no: "" where it does not say. */
struct aws_sts_refusal {
	char code[80], message[240];
};
/* What STS answers, for tests and fuzzing. `hidden` must not appear in error texts, nor in what is
 * told of the refusal. */
enum err aws_sts_read(const char *shown, unsigned status, struct text body, struct text hidden,
		      struct aws_keys *out, struct aws_sts_refusal *) MUST_CHECK;

#endif
