#include "transport/aws_settings.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "engine/bytes.h"
#include "engine/log.h"

/* ---- the files ---- */

/* $variable, with "~/" put in full, or the default below the home. False: there is none. */
static bool name_file(const char *variable, const char *usual, char path[AWS_PATH_ROOM],
		      struct aws_profile_file *out)
{
	const char *said = aws_environment(variable), *home = aws_environment("HOME");
	const char *rest = said ? said : usual;
	int n;

	if (strncmp(rest, "~/", 2) != 0)
		n = snprintf(path, AWS_PATH_ROOM, "%s", rest);
	else if (home)
		n = snprintf(path, AWS_PATH_ROOM, "%s%s", home, rest + 1);
	else
		return !said; /* a service without a home has no such files */
	*out = (struct aws_profile_file){ path, said != NULL };
	return n < AWS_PATH_ROOM;
}

enum err aws_settings_open_profiles(nsec until, struct aws_profiles **out)
{
	struct aws_profile_file config = { 0 }, credentials = { 0 };
	char *paths = malloc((size_t)2 * AWS_PATH_ROOM);
	enum err e;

	*out = NULL;
	if (!paths)
		return RAISE(ERR_MEMORY_EXHAUSTED, "reading AWS's config files");
	if (!name_file("AWS_CONFIG_FILE", "~/.aws/config", paths, &config))
		e = RAISE(ERR_INPUT_USAGE, "$AWS_CONFIG_FILE is no path of a file");
	else if (!name_file("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials",
			    paths + AWS_PATH_ROOM, &credentials))
		e = RAISE(ERR_INPUT_USAGE, "$AWS_SHARED_CREDENTIALS_FILE is no path of a file");
	else
		e = aws_profiles_open(&config, &credentials, until, out);
	free(paths);
	return e;
}

/* ---- one value, from wherever it is said first ---- */

/* Where values come from. */
struct sources {
	const struct aws_profiles *profiles;
	const struct aws_settings *settings;
};

const char *aws_environment(const char *variable)
{
	const char *value = getenv(variable);

	return value && *value ? value : NULL;
}

static enum err take_environment(const char *variable, char *to, size_t room)
{
	const char *value = aws_environment(variable);

	if (*to || !value)
		return OK;
	if ((size_t)snprintf(to, room, "%s", value) < room)
		return OK;
	*to = '\0';
	return RAISE(ERR_INPUT_USAGE, "$%s is longer than %zu bytes", variable, room - 1);
}

static enum err take_profile(const struct sources *from, const char *within, const char *key,
			     char *to, size_t room)
{
	return *to ? OK
		   : aws_profiles_copy(from->profiles, AWS_PROFILE, from->settings->profile, within,
				       key, to, room);
}

/* `variables` ends with NULL. */
static enum err take(const struct sources *from, const char *const *variables, const char *key,
		     char *to, size_t room)
{
	enum err e = OK;

	if (from->settings->profile_is_wished && (e = take_profile(from, NULL, key, to, room)))
		return e;
	for (size_t i = 0; variables[i] && !e; i++)
		e = take_environment(variables[i], to, room);
	return e ? e : take_profile(from, NULL, key, to, room);
}

static enum err take_flag(const struct sources *from, const char *variable, const char *key,
			  bool *flag)
{
	const char *const variables[] = { variable, NULL };
	char word[8] = "";
	enum err e = take(from, variables, key, word, sizeof word);

	*flag = strcasecmp(word, "true") == 0;
	if (e || *flag || !*word || strcasecmp(word, "false") == 0)
		return e;
	return RAISE(ERR_INPUT_USAGE, "%s of profile %s, or $%s, is neither \"true\" nor \"false\"",
		     key, from->settings->profile, variable);
}

static enum err take_wish(const char *what, const char *said, char *to, size_t room)
{
	if (!said || (size_t)snprintf(to, room, "%s", said) < room)
		return OK;
	return RAISE(ERR_INPUT_USAGE, "%s is longer than %zu bytes", what, room - 1);
}

/* ---- the profile ---- */

static enum err no_profile(const struct aws_profiles *profiles, const struct aws_settings *settings)
{
	if (aws_profiles_lack_prefix(profiles, settings->profile))
		return RAISE(ERR_INPUT_FILE,
			     "AWS's config file has a section [%s]; to be a profile it must be "
			     "called [profile %s]",
			     settings->profile, settings->profile);
	return RAISE(ERR_INPUT_FILE,
		     "there is no profile \"%s\" in AWS's config and credentials files; see "
		     "`aws configure list-profiles`, $AWS_CONFIG_FILE and "
		     "$AWS_SHARED_CREDENTIALS_FILE",
		     settings->profile);
}

static enum err take_profile_name(const struct aws_profiles *profiles,
				  const struct aws_settings_wish *wish,
				  struct aws_settings *settings)
{
	enum err e = take_wish("the name of the AWS profile", wish->profile, settings->profile,
			       sizeof settings->profile);

	if (e)
		return e;
	settings->profile_is_wished = *settings->profile;
	if ((e = take_environment("AWS_PROFILE", settings->profile, sizeof settings->profile)) ||
	    (e = take_environment("AWS_DEFAULT_PROFILE", settings->profile,
				  sizeof settings->profile)))
		return e;
	settings->profile_is_named = *settings->profile;
	if (!settings->profile_is_named)
		snprintf(settings->profile, sizeof settings->profile, "default");
	else if (!aws_profiles_have(profiles, AWS_PROFILE, settings->profile))
		return no_profile(profiles, settings);
	return OK;
}

/* ---- endpoints ---- */

/* The service's block of the section that `services` of the profile names. */
static enum err take_services(const struct sources *from, enum aws_service service, char *to,
			      size_t room)
{
	char name[AWS_PROFILE_BYTES_MAX + 1] = "";
	enum err e = take_profile(from, NULL, "services", name, sizeof name);

	if (e || *to || !*name)
		return e;
	if (!aws_profiles_have(from->profiles, AWS_SERVICES_OF, name))
		return RAISE(ERR_INPUT_FILE,
			     "the profile %s names [services %s], which AWS's config file does not "
			     "have",
			     from->settings->profile, name);
	return aws_profiles_copy(from->profiles, AWS_SERVICES_OF, name, aws_service_name(service),
				 "endpoint_url", to, room);
}

static enum err take_profile_url(const struct sources *from, enum aws_service service, char *to,
				 size_t room)
{
	enum err e = take_services(from, service, to, room);

	return e ? e : take_profile(from, NULL, "endpoint_url", to, room);
}

static enum err take_url(const struct sources *from, enum aws_service service, char *to,
			 size_t room)
{
	static const char *const variables[AWS_SERVICES] = { "AWS_ENDPOINT_URL_S3",
							     "AWS_ENDPOINT_URL_KMS",
							     "AWS_ENDPOINT_URL_STS" };
	enum err e = OK;

	if (from->settings->profile_is_wished && (e = take_profile_url(from, service, to, room)))
		return e;
	if ((e = take_environment(variables[service], to, room)) ||
	    (e = take_environment("AWS_ENDPOINT_URL", to, room)))
		return e;
	return take_profile_url(from, service, to, room);
}

static enum err take_urls(const struct sources *from, const struct aws_settings_wish *wish,
			  struct aws_settings *settings)
{
	bool ignored;
	enum err e = take_flag(from, "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
			       "ignore_configured_endpoint_urls", &ignored);

	for (enum aws_service service = 0; service < AWS_SERVICES && !e; service++) {
		char *to = settings->endpoint_url[service];

		e = take_wish("an AWS endpoint URL", wish->endpoint_url[service], to,
			      sizeof settings->endpoint_url[0]);
		if (!e && !*to && !ignored)
			e = take_url(from, service, to, sizeof settings->endpoint_url[0]);
	}
	return e;
}

static enum err take_style(const struct sources *from, const struct aws_settings_wish *wish,
			   struct aws_settings *settings)
{
	static const char *const words[] = { [AWS_STYLE_AUTO] = "auto",
					     [AWS_STYLE_VIRTUAL] = "virtual",
					     [AWS_STYLE_PATH] = "path" };
	char word[16] = "";
	enum err e;

	settings->style = wish->style;
	if (wish->style != AWS_STYLE_AUTO ||
	    (e = take_profile(from, "s3", "addressing_style", word, sizeof word)) || !*word)
		return wish->style != AWS_STYLE_AUTO ? OK : e;
	for (size_t i = 0; i < ARRAY_COUNT(words); i++)
		if (strcmp(word, words[i]) == 0) {
			settings->style = (enum aws_style)i;
			return OK;
		}
	return RAISE(ERR_INPUT_FILE,
		     "s3.addressing_style of profile %s is not auto, virtual or path",
		     settings->profile);
}

/* ---- all of them ---- */

enum err aws_settings_make(const struct aws_profiles *profiles,
			   const struct aws_settings_wish *wish, struct aws_settings *out)
{
	static const char *const regions[] = { "AWS_REGION", "AWS_DEFAULT_REGION", NULL };
	static const char *const bundles[] = { "AWS_CA_BUNDLE", NULL };
	const struct sources from = { profiles, out };
	enum err e;

	*out = (struct aws_settings){ .profile = "" };
	if ((e = take_profile_name(profiles, wish, out)) ||
	    (e = take_wish("the AWS region", wish->region, out->region, sizeof out->region)) ||
	    (e = take(&from, regions, "region", out->region, sizeof out->region)) ||
	    (e = take_wish("the path of the CA file", wish->ca_file, out->ca_file,
			   sizeof out->ca_file)) ||
	    (e = take(&from, bundles, "ca_bundle", out->ca_file, sizeof out->ca_file)) ||
	    (e = take_flag(&from, "AWS_USE_FIPS_ENDPOINT", "use_fips_endpoint", &out->fips)) ||
	    (e = take_flag(&from, "AWS_USE_DUALSTACK_ENDPOINT", "use_dualstack_endpoint",
			   &out->dual_stack)) ||
	    (e = take_style(&from, wish, out)))
		return e;
	if (aws_region_is_new(out->region))
		log_event(LOG_WARN, "aws.region", "region=%s known=no", out->region);
	return take_urls(&from, wish, out);
}

enum err aws_settings_endpoint_in(const struct aws_settings *settings, const char *region,
				  enum aws_service service, const char *bucket,
				  struct aws_endpoint *out)
{
	const char *url = settings->endpoint_url[service];

	if (!*region)
		return RAISE(ERR_INPUT_USAGE,
			     "no AWS region is said: give one, or set AWS_REGION or the region of "
			     "profile %s",
			     settings->profile);
	return aws_endpoint_make(&(struct aws_endpoint_wish){ .service = service,
							      .region = region,
							      .url = *url ? url : NULL,
							      .bucket = bucket,
							      .style = settings->style,
							      .fips = settings->fips,
							      .dual_stack = settings->dual_stack },
				 out);
}

enum err aws_settings_endpoint(const struct aws_settings *settings, enum aws_service service,
			       const char *bucket, struct aws_endpoint *out)
{
	return aws_settings_endpoint_in(settings, settings->region, service, bucket, out);
}
