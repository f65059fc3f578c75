/* Where keys come from: what AWS calls the default credential provider chain ("Standardized
 * credential providers", AWS SDKs and Tools Reference Guide), walked once. In this order:
 *
 *   1. AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, AWS_CREDENTIAL_EXPIRATION
 *   2. AWS_WEB_IDENTITY_TOKEN_FILE with AWS_ROLE_ARN, AWS_ROLE_SESSION_NAME
 *   3. the profile: role_arn (with source_profile, or credential_source), which is assumed with the
 *      keys of that; or web_identity_token_file with role_arn; or aws_access_key_id and so on; or
 *      credential_process
 *   4. a container's endpoint, 5. instance metadata (both aws_metadata.h)
 *
 * A profile that the wish names is the only one that is asked; one that AWS_PROFILE names is asked
 * before 4 and 5, which then are not: keys must not come from where nobody meant them to. SSO and
 * `aws login` are people's, not a program's: their keys come through a credential_process.
 * Not for: keeping and renewing keys (aws_credentials.h). */
#ifndef MAILHAUL_AWS_CHAIN_H
#define MAILHAUL_AWS_CHAIN_H

#include "transport/aws_sts.h"

struct secret;

enum {
	AWS_CHAIN_PROFILES_MAX = 5, /* that name one another as source_profile */
	AWS_FROM_BYTES = 400,	    /* where keys came from, for people */
	AWS_COMMAND_BYTES_MAX = 4096,
};

/* Borrowed as long as anybody asks it; not changed meanwhile, so threads may share it. */
struct aws_chain {
	const struct aws_profiles *profiles;
	const struct aws_settings *settings;
	const struct account *way; /* timeouts, CA file, route to STS and to endpoints with TLS */
	const struct aws_listener *listener; /* is told of each request to STS; NULL: nobody */
	/* Assumed in the end with what the chain gives; NULL: none. */
	const struct aws_role *role;
	/* A program that prints the six digits of the MFA device, for roles with an mfa_serial;
	 * NULL: none. Run for each code. */
	const char *mfa_command;
	/* Run a program without a shell, ended at `until`, and take its first line, or all that it
	 * prints: tools/secret_ref_exec.h on an offload thread. Suspends. NULL: none is run. */
	enum err (*run)(void *context, const char *command, bool whole, nsec until,
			struct secret **);
	void *context;
};

/* renewal     there were keys before: what is silent now is away for a while, not absent; and the
 *             profiles are read from their files again
 * from        on OK, where the keys are from: "profile home, role arn:aws:iam::...". No secret
 * returns     OK | ERR_AWS_ABSENT: nobody gives any | ERR_AWS_REFUSED | ERR_AWS_UNAVAILABLE |
 *             ERR_INPUT_FILE, ERR_INPUT_USAGE: what is said makes no sense (both halves of a key,
 *             a loop of profiles) | ERR_INPUT_SECRET | ERR_NET_* | ERR_TLS_* | ERR_HTTP_SYNTAX |
 *             ERR_XML_SYNTAX | ERR_STREAM_CUT | ERR_DISK_*
 * On a fiber with FIBER_STACK_LARGE. Suspends. */
enum err aws_chain_fetch(const struct aws_chain *, bool renewal, nsec until, struct aws_keys *keys,
			 char from[AWS_FROM_BYTES]) MUST_CHECK;

/* The programs it may run, for the helper's list of what is allowed: each is told, and borrowed
 * until then. ERR_INPUT_FILE, ERR_INPUT_USAGE. Does not suspend. */
enum err aws_chain_commands(const struct aws_chain *, void (*tell)(void *to, const char *command),
			    void *to) MUST_CHECK;

#endif
