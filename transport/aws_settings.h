/* What AWS's tools would do here: region, endpoints and the like, from the environment and from a
 * profile (aws_profile.h), in the order of "Settings reference" of the AWS SDKs and Tools Reference
 * Guide. One for each side of a run: a source in one partition and a destination in another have
 * each a profile of their own. Not for: credentials (aws_credentials.h), hosts (aws_partition.h).
 */
#ifndef MAILHAUL_AWS_SETTINGS_H
#define MAILHAUL_AWS_SETTINGS_H

#include "transport/aws_partition.h"
#include "transport/aws_profile.h"

/* What the user said for this side; it counts before everything else. All may be NULL. */
struct aws_settings_wish {
	/* With a profile named here, what it says counts before the environment, which only fills
	 * in what the profile leaves out: $AWS_REGION is one for both sides. */
	const char *profile;
	const char *region;
	const char *endpoint_url[AWS_SERVICES];
	const char *ca_file;
	enum aws_style style; /* AWS_STYLE_AUTO: not said */
};

struct aws_settings {
	char profile[AWS_PROFILE_BYTES_MAX + 1]; /* "default" where nobody named one */
	bool profile_is_wished;			 /* by the wish */
	bool profile_is_named;			 /* by the wish or by $AWS_PROFILE */
	char region[AWS_REGION_BYTES_MAX + 1];	 /* "": nobody said */
	char endpoint_url[AWS_SERVICES][AWS_URL_BYTES_MAX + 1]; /* "": AWS's */
	char ca_file[AWS_PATH_ROOM];				/* "": the system's */
	enum aws_style style;
	bool fips, dual_stack;
};

/* The files that $AWS_CONFIG_FILE and $AWS_SHARED_CREDENTIALS_FILE name, which must be there then,
 * else ~/.aws/config and ~/.aws/credentials. As aws_profiles_open(). Suspends. */
enum err aws_settings_open_profiles(nsec until, struct aws_profiles **) MUST_CHECK;

/* What a variable of the environment says; NULL: nothing, or an empty text. */
const char *aws_environment(const char *variable);

/* Read, besides the profile: AWS_PROFILE (AWS_DEFAULT_PROFILE), AWS_REGION, AWS_DEFAULT_REGION,
 * AWS_CA_BUNDLE, AWS_USE_FIPS_ENDPOINT, AWS_USE_DUALSTACK_ENDPOINT; AWS_ENDPOINT_URL_S3, _KMS,
 * _STS, then AWS_ENDPOINT_URL, unless AWS_IGNORE_CONFIGURED_ENDPOINT_URLS is true. The profile's
 * keys: region, ca_bundle, use_fips_endpoint, use_dualstack_endpoint, endpoint_url (in the block of
 * the service in [services NAME], which `services` names; else its own),
 * ignore_configured_endpoint_urls, and addressing_style in the block s3.
 * ERR_INPUT_FILE: a value in the files makes no sense, or the profile is not there |
 * ERR_INPUT_USAGE: one of the environment. */
enum err aws_settings_make(const struct aws_profiles *, const struct aws_settings_wish *,
			   struct aws_settings *out) MUST_CHECK;

/* An endpoint of `service` by these settings; `bucket` may be NULL. ERR_INPUT_USAGE. */
enum err aws_settings_endpoint(const struct aws_settings *, enum aws_service, const char *bucket,
			       struct aws_endpoint *out) MUST_CHECK;
/* The same in another region than theirs. */
enum err aws_settings_endpoint_in(const struct aws_settings *, const char *region, enum aws_service,
				  const char *bucket, struct aws_endpoint *out) MUST_CHECK;

#endif
