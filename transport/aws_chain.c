/* The profiles are walked down to the one that has keys of its own, or names where they are, and
 * then up again, a role for each. */
#include "transport/aws_chain.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "crypto/secret.h"
#include "transport/aws_file.h"
#include "transport/aws_metadata.h"

enum { TOKEN_BYTES_MAX = 20000 }; /* WebIdentityToken, STS */

struct walk {
	const struct aws_chain *chain;
	const struct aws_profiles *profiles_now; /* the chain's, or read again */
	bool is_renewal;
	nsec until;
	struct aws_keys *keys;
	char *from; /* AWS_FROM_BYTES */
	/* The profiles, from the one that is asked for to the one that ends it. The first
	 * `roles_count` have a role that is assumed with what comes from behind. */
	char profiles[AWS_CHAIN_PROFILES_MAX][AWS_PROFILE_BYTES_MAX + 1];
	unsigned profiles_count, roles_count;
	char source[32]; /* credential_source of the last one; "": it has keys itself */
};

/* ---- small things ---- */

static struct text text_or_none(const char *text)
{
	return text ? text_of(text) : (struct text){ NULL, 0 };
}

PRINTF_LIKE(2, 3) static void add_from(struct walk *walk, const char *format, ...)
{
	size_t used = strlen(walk->from);
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(walk->from + used, AWS_FROM_BYTES - used, format, arguments);
	va_end(arguments);
}

static enum err copy_of(const struct walk *walk, const char *profile, const char *key, char *to,
			size_t room)
{
	return aws_profiles_copy(walk->profiles_now, AWS_PROFILE, profile, NULL, key, to, room);
}

static enum err value_of(const struct walk *walk, const char *profile, const char *key,
			 struct text *value)
{
	struct aws_value found;
	enum err e = aws_profiles_get(walk->profiles_now, AWS_PROFILE, profile, NULL, key, &found);

	*value = found.text;
	return e;
}

/* Said, and not empty. */
static enum err has(const struct walk *walk, const char *profile, const char *key, bool *it_has)
{
	struct text value;
	enum err e = value_of(walk, profile, key, &value);

	*it_has = value.bytes > 0;
	return e;
}

/* ---- roles ---- */

/* What a profile says of its role. */
struct role_room {
	char arn[AWS_ARN_BYTES_MAX + 1], external_id[1224 + 1], mfa_serial[256 + 1];
	char session_name[64 + 1], duration[8], token_file[AWS_PATH_ROOM];
	struct aws_role role;
};

static const char *or_null(const char *text)
{
	return *text ? text : NULL;
}

static enum err read_role(const struct walk *walk, const char *profile, struct role_room *room)
{
	char *end;
	enum err e;

	if ((e = copy_of(walk, profile, "role_arn", room->arn, sizeof room->arn)) ||
	    (e = copy_of(walk, profile, "external_id", room->external_id,
			 sizeof room->external_id)) ||
	    (e = copy_of(walk, profile, "mfa_serial", room->mfa_serial, sizeof room->mfa_serial)) ||
	    (e = copy_of(walk, profile, "role_session_name", room->session_name,
			 sizeof room->session_name)) ||
	    (e = copy_of(walk, profile, "duration_seconds", room->duration,
			 sizeof room->duration)) ||
	    (e = copy_of(walk, profile, "web_identity_token_file", room->token_file,
			 sizeof room->token_file)))
		return e;
	room->role = (struct aws_role){ .arn = room->arn,
					.session_name = or_null(room->session_name),
					.external_id = or_null(room->external_id),
					.mfa_serial = or_null(room->mfa_serial) };
	room->role.duration_s = (unsigned)strtoul(room->duration, &end, 10);
	return *end ? RAISE(ERR_INPUT_FILE, "duration_seconds of profile %s is no number", profile)
		    : OK;
}

static enum err read_code(const struct walk *walk, const struct aws_role *role,
			  struct secret **code)
{
	const struct aws_chain *chain = walk->chain;

	if (!chain->mfa_command || !chain->run)
		return RAISE(ERR_INPUT_USAGE,
			     "the role %.150s needs a code of the MFA device %.100s: give a "
			     "program that prints one",
			     role->arn, role->mfa_serial);
	return chain->run(chain->context, chain->mfa_command, false, walk->until, code);
}

/* With the keys that are there, which become the role's. */
static enum err assume(struct walk *walk, const struct aws_role *role)
{
	const struct aws_sts sts = { walk->chain->settings, walk->chain->way,
				     walk->chain->listener };
	struct secret *code = NULL;
	enum err e;

	if (role->mfa_serial && (e = read_code(walk, role, &code)))
		return e;
	e = aws_sts_assume(&sts, role, code ? secret_text(code) : (struct text){ NULL, 0 },
			   walk->until, walk->keys);
	secret_close(&code);
	if (!e)
		add_from(walk, ", role %s", role->arn);
	return e;
}

static enum err assume_of(struct walk *walk, const char *profile)
{
	struct role_room *room = calloc(1, sizeof *room);
	enum err e;

	if (!room)
		return RAISE(ERR_MEMORY_EXHAUSTED, "reading a role");
	if ((e = read_role(walk, profile, room)) == OK)
		e = assume(walk, &room->role);
	free(room);
	return e;
}

/* The file is written anew by whoever put it there, so it is read each time. */
static enum err assume_by_token(struct walk *walk, const struct aws_role *role, const char *path)
{
	const struct aws_sts sts = { walk->chain->settings, walk->chain->way,
				     walk->chain->listener };
	struct aws_file file;
	enum err e = aws_file_read(path, TOKEN_BYTES_MAX + 1, walk->until, &file);

	if (e)
		return e;
	while (file.text.bytes > 0 && (file.text.at[file.text.bytes - 1] == '\n' ||
				       file.text.at[file.text.bytes - 1] == '\r'))
		file.text.bytes--;
	if (file.text.bytes < 4 || file.text.bytes > TOKEN_BYTES_MAX)
		e = RAISE(ERR_INPUT_SECRET, "%s holds no token of 4 to %d characters", path,
			  TOKEN_BYTES_MAX);
	else
		e = aws_sts_assume_by_token(&sts, role, file.text, walk->until, walk->keys);
	aws_file_close(&file);
	if (!e)
		add_from(walk, ", role %s", role->arn);
	return e;
}

/* ---- the environment ---- */

static bool environment_has_keys(void)
{
	return aws_environment("AWS_ACCESS_KEY_ID") || aws_environment("AWS_SECRET_ACCESS_KEY");
}

/* What of it counts before a profile that is not wished for. */
static bool environment_is_first(const struct aws_settings *settings)
{
	return !settings->profile_is_wished &&
	       (environment_has_keys() || aws_environment("AWS_WEB_IDENTITY_TOKEN_FILE"));
}

static enum err take_environment(struct walk *walk, bool *found)
{
	const struct aws_keys_said said = {
		text_or_none(aws_environment("AWS_ACCESS_KEY_ID")),
		text_or_none(aws_environment("AWS_SECRET_ACCESS_KEY")),
		text_or_none(aws_environment("AWS_SESSION_TOKEN")),
		text_or_none(aws_environment("AWS_CREDENTIAL_EXPIRATION")),
	};

	*found = environment_has_keys();
	if (!*found)
		return OK;
	add_from(walk, "the environment");
	return aws_keys_take("the environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY)", &said,
			     walk->keys);
}

static enum err take_environment_token(struct walk *walk)
{
	const char *path = aws_environment("AWS_WEB_IDENTITY_TOKEN_FILE");
	const struct aws_role role = { .arn = aws_environment("AWS_ROLE_ARN"),
				       .session_name = aws_environment("AWS_ROLE_SESSION_NAME") };

	if (!role.arn)
		return RAISE(ERR_INPUT_USAGE,
			     "$AWS_WEB_IDENTITY_TOKEN_FILE is set, but no $AWS_ROLE_ARN");
	add_from(walk, "web identity");
	return assume_by_token(walk, &role, path);
}

/* ---- keys of a profile itself ---- */

static enum err take_static(struct walk *walk, const char *profile, bool *found)
{
	struct aws_keys_said said = { .expiration = { NULL, 0 } };
	char what[AWS_PROFILE_BYTES_MAX + 16];
	enum err e;

	*found = false;
	if ((e = value_of(walk, profile, "aws_access_key_id", &said.key_id)) ||
	    (e = value_of(walk, profile, "aws_secret_access_key", &said.secret)) ||
	    (e = value_of(walk, profile, "aws_session_token", &said.token)))
		return e;
	*found = said.key_id.bytes || said.secret.bytes;
	snprintf(what, sizeof what, "profile %s", profile);
	return *found ? aws_keys_take(what, &said, walk->keys) : OK;
}

static enum err take_token(struct walk *walk, const char *profile, bool *found)
{
	struct role_room *room;
	enum err e = has(walk, profile, "web_identity_token_file", found);

	if (e || !*found)
		return e;
	if (!(room = calloc(1, sizeof *room)))
		return RAISE(ERR_MEMORY_EXHAUSTED, "reading a role");
	if ((e = read_role(walk, profile, room)) == OK)
		e = *room->arn ? assume_by_token(walk, &room->role, room->token_file)
			       : RAISE(ERR_INPUT_FILE,
				       "profile %s has a web_identity_token_file, but no role_arn",
				       profile);
	free(room);
	return e;
}

static enum err run_process(struct walk *walk, const char *profile, const char *command)
{
	const struct aws_chain *chain = walk->chain;
	struct secret *printed = NULL;
	char what[AWS_PROFILE_BYTES_MAX + 48];
	enum err e;

	if (!chain->run)
		return RAISE(ERR_INPUT_USAGE,
			     "profile %s has a credential_process, and no program is run here",
			     profile);
	snprintf(what, sizeof what, "the credential_process of profile %s", profile);
	if ((e = chain->run(chain->context, command, true, walk->until, &printed)) == OK)
		e = aws_keys_read(what, AWS_KEYS_OF_PROCESS, secret_text(printed), walk->keys);
	secret_close(&printed);
	return e;
}

static enum err take_process(struct walk *walk, const char *profile, bool *found)
{
	char *command = calloc(1, AWS_COMMAND_BYTES_MAX + 1);
	enum err e;

	*found = false;
	if (!command)
		return RAISE(ERR_MEMORY_EXHAUSTED, "running a credential_process");
	e = copy_of(walk, profile, "credential_process", command, AWS_COMMAND_BYTES_MAX + 1);
	*found = *command;
	if (!e && *found)
		e = run_process(walk, profile, command);
	free(command);
	return e;
}

/* These need a browser now and then. */
static enum err refuse_people(struct walk *walk, const char *profile)
{
	static const char *const keys[] = { "sso_session", "sso_start_url", "login_session" };
	bool it_has = false;
	enum err e = OK;

	for (size_t i = 0; i < ARRAY_COUNT(keys) && !e && !it_has; i++)
		e = has(walk, profile, keys[i], &it_has);
	if (e || !it_has)
		return e;
	return RAISE(ERR_INPUT_FILE,
		     "profile %s is one of people who log in with a browser; make another profile "
		     "with credential_process = /PATH/aws configure export-credentials --profile "
		     "%s --format process",
		     profile, profile);
}

static enum err take_profile(struct walk *walk, const char *profile, bool *found)
{
	enum err e;

	add_from(walk, "profile %s", profile);
	if ((e = take_token(walk, profile, found)) || *found ||
	    (e = take_static(walk, profile, found)) || *found ||
	    (e = take_process(walk, profile, found)) || *found)
		return e;
	return refuse_people(walk, profile);
}

/* ---- from profile to profile ---- */

static enum err push(struct walk *walk, const char *profile)
{
	for (unsigned i = 0; i < walk->profiles_count; i++)
		if (strcmp(walk->profiles[i], profile) == 0)
			return RAISE(ERR_INPUT_FILE,
				     "the profiles %s and %s name each other as source_profile",
				     walk->profiles[walk->profiles_count - 1], profile);
	if (walk->profiles_count == AWS_CHAIN_PROFILES_MAX)
		return RAISE(ERR_INPUT_FILE, "more than %d profiles in a row name a source_profile",
			     AWS_CHAIN_PROFILES_MAX);
	if (!aws_profiles_have(walk->profiles_now, AWS_PROFILE, profile))
		return RAISE(ERR_INPUT_FILE,
			     "the source_profile %s of profile %s is not in AWS's files", profile,
			     walk->profiles[walk->profiles_count - 1]);
	snprintf(walk->profiles[walk->profiles_count++], sizeof walk->profiles[0], "%s", profile);
	return OK;
}

/* Whether a profile has a role to be assumed with the keys of another one. One that another profile
 * names as its source gives keys of its own first, as AWS's tools have it. */
static enum err wants_role(const struct walk *walk, const char *profile, bool *it_wants)
{
	bool by_token = false, has_key = false;
	enum err e;

	if ((e = has(walk, profile, "role_arn", it_wants)) || !*it_wants ||
	    (e = has(walk, profile, "web_identity_token_file", &by_token)) ||
	    (e = has(walk, profile, "aws_access_key_id", &has_key)))
		return e;
	*it_wants = !by_token && (walk->profiles_count == 1 || !has_key);
	return OK;
}

/* Where the keys for the last profile's role come from. *ended: there is no further profile. */
static enum err go_down(struct walk *walk, bool *ended)
{
	const char *profile = walk->profiles[walk->profiles_count - 1];
	char source[AWS_PROFILE_BYTES_MAX + 1];
	enum err e;

	if ((e = wants_role(walk, profile, ended)) || (*ended = !*ended))
		return e;
	walk->roles_count = walk->profiles_count;
	if ((e = copy_of(walk, profile, "source_profile", source, sizeof source)) ||
	    (e = copy_of(walk, profile, "credential_source", walk->source, sizeof walk->source)))
		return e;
	if (!*source == !*walk->source)
		return RAISE(ERR_INPUT_FILE,
			     "profile %s has a role_arn with %s source_profile and "
			     "credential_source: one of them says whose keys assume the role",
			     profile, *source ? "both" : "neither");
	*ended = *walk->source || strcmp(source, profile) == 0;
	return *ended ? OK : push(walk, source);
}

static enum err walk_down(struct walk *walk)
{
	bool ended = false;
	enum err e = OK;

	snprintf(walk->profiles[0], sizeof walk->profiles[0], "%s", walk->chain->settings->profile);
	walk->profiles_count = 1;
	while (!e && !ended)
		e = go_down(walk, &ended);
	return e;
}

static enum err take_container(struct walk *walk)
{
	add_from(walk, "the container's endpoint");
	return aws_container_fetch(walk->chain->way, walk->until, walk->keys);
}

static enum err take_metadata(struct walk *walk)
{
	add_from(walk, "instance metadata");
	return aws_metadata_fetch(walk->until, walk->keys);
}

static enum err take_metadata_named(struct walk *walk, const char *profile)
{
	if (!aws_metadata_is_disabled())
		return take_metadata(walk);
	return RAISE(
		ERR_AWS_ABSENT,
		"profile %s wants keys from instance metadata, which $AWS_EC2_METADATA_DISABLED "
		"turns off",
		profile);
}

/* "credential_source" of a role, AWS SDKs and Tools Reference Guide. */
static enum err take_source(struct walk *walk, const char *profile)
{
	bool found = false;
	enum err e = OK;

	if (strcmp(walk->source, "Environment") == 0)
		e = take_environment(walk, &found);
	else if (strcmp(walk->source, "Ec2InstanceMetadata") == 0)
		return take_metadata_named(walk, profile);
	else if (strcmp(walk->source, "EcsContainer") != 0)
		return RAISE(ERR_INPUT_FILE,
			     "credential_source of profile %s is not Environment, "
			     "Ec2InstanceMetadata or EcsContainer",
			     profile);
	else if (aws_container_is_named())
		return take_container(walk);
	return e || found ? e
			  : RAISE(ERR_AWS_ABSENT,
				  "profile %s wants keys from %s, and the environment has none",
				  profile, walk->source);
}

/* The keys at the end of the walk, and the roles on the way back. */
static enum err take_named(struct walk *walk, bool *found)
{
	const char *last;
	enum err e = walk_down(walk);

	if (e)
		return e;
	last = walk->profiles[walk->profiles_count - 1];
	*found = true;
	if (*walk->source)
		e = take_source(walk, last);
	else if ((e = take_profile(walk, last, found)) == OK && !*found && walk->roles_count)
		e = RAISE(ERR_AWS_ABSENT,
			  "profile %s, whose keys are to assume a role, has no keys", last);
	for (unsigned i = walk->roles_count; i > 0 && !e; i--)
		e = assume_of(walk, walk->profiles[i - 1]);
	return e;
}

/* ---- the chain ---- */

static enum err nothing_found(const struct walk *walk)
{
	const struct aws_settings *settings = walk->chain->settings;

	return RAISE(ERR_AWS_ABSENT,
		     settings->profile_is_named
			     ? "profile %s has no keys: no aws_access_key_id, role_arn, "
			       "web_identity_token_file or credential_process"
			     : "no keys are in the environment or in profile %s, no container's "
			       "endpoint is named, and instance metadata is disabled",
		     settings->profile);
}

/* Nobody said that this is a machine of AWS, so silence only means that it is none; unless it was
 * one before. */
static enum err take_metadata_unasked(struct walk *walk)
{
	char said[ERR_NOTE_BYTES_MAX];
	enum err e;

	if (aws_metadata_is_disabled())
		return nothing_found(walk);
	e = take_metadata(walk);
	if (walk->is_renewal ||
	    (e != ERR_NET_TIMEOUT && e != ERR_NET_REFUSED && e != ERR_NET_UNREACHABLE))
		return e;
	snprintf(said, sizeof said, "%s", err_note()->text);
	err_note_clear();
	return RAISE(ERR_AWS_ABSENT,
		     "no keys are in the environment or in profile %.80s, no container's endpoint "
		     "is named, and no instance metadata is there: %.200s",
		     walk->chain->settings->profile, said);
}

static enum err take_any(struct walk *walk)
{
	const struct aws_settings *settings = walk->chain->settings;
	bool found = false;
	enum err e = OK;

	if (environment_is_first(settings)) {
		e = take_environment(walk, &found);
		return e || found ? e : take_environment_token(walk);
	}
	if ((e = take_named(walk, &found)) || found)
		return e;
	if (settings->profile_is_named)
		return nothing_found(walk);
	walk->from[0] = '\0';
	return aws_container_is_named() ? take_container(walk) : take_metadata_unasked(walk);
}

enum err aws_chain_fetch(const struct aws_chain *chain, bool renewal, nsec until,
			 struct aws_keys *keys, char from[AWS_FROM_BYTES])
{
	struct walk *walk = calloc(1, sizeof *walk);
	struct aws_profiles *reread = NULL;
	enum err e;

	from[0] = '\0';
	if (!walk)
		return RAISE(ERR_MEMORY_EXHAUSTED, "getting AWS credentials");
	if (renewal && (e = aws_profiles_reread(chain->profiles, until, &reread)))
		goto out;
	*walk = (struct walk){ .chain = chain,
			       .profiles_now = reread ? reread : chain->profiles,
			       .is_renewal = renewal,
			       .until = until,
			       .keys = keys,
			       .from = from };
	if ((e = take_any(walk)) == OK && chain->role)
		e = assume(walk, chain->role);
out:
	aws_profiles_close(&reread);
	free(walk);
	return e;
}

static enum err tell_process(const struct aws_chain *chain,
			     void (*tell)(void *to, const char *command), void *to)
{
	struct walk *walk = calloc(1, sizeof *walk);
	char *command = calloc(1, AWS_COMMAND_BYTES_MAX + 1);
	enum err e = OK;

	if (!walk || !command)
		e = RAISE(ERR_MEMORY_EXHAUSTED, "looking for programs that give credentials");
	else
		*walk = (struct walk){ .chain = chain, .profiles_now = chain->profiles };
	if (!e && (e = walk_down(walk)) == OK && !*walk->source)
		e = copy_of(walk, walk->profiles[walk->profiles_count - 1], "credential_process",
			    command, AWS_COMMAND_BYTES_MAX + 1);
	if (!e && *command)
		tell(to, command);
	free(command);
	free(walk);
	return e;
}

enum err aws_chain_commands(const struct aws_chain *chain,
			    void (*tell)(void *to, const char *command), void *to)
{
	enum err e = OK;

	if (!environment_is_first(chain->settings))
		e = tell_process(chain, tell, to);
	if (!e && chain->mfa_command)
		tell(to, chain->mfa_command);
	return e;
}
