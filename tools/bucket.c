#include "tools/bucket.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "crypto/base64.h"
#include "engine/clock.h"
#include "engine/fiber.h"
#include "engine/log.h"
#include "engine/shard.h"
#include "tools/aws_record.h"
#include "tools/confinement.h"
#include "tools/secret_ref.h"
#include "tools/secret_ref_exec.h"
#include "transport/aws_credentials.h"
#include "transport/aws_file.h"
#include "transport/bucket_guard.h"
#include "transport/json.h"

const char *const bucket_checksums[] = { "crc64nvme", "crc32c", NULL };
const char *const bucket_encryptions[] = { "bucket", "AES256", "aws:kms", "aws:kms:dsse", NULL };
const char *const bucket_lock_modes[] = { "bucket", "GOVERNANCE", "COMPLIANCE", NULL };
const char *const bucket_guards[] = { "usual", "strict", "tell", NULL };
const char *const bucket_audits[] = { "run", "all", "no", NULL };
const char *const bucket_addressings[] = { "auto", "virtual", "path", NULL };

/* Reading two small files. */
#define FILES_NS   (30 * NSEC_SECOND)
#define KEEP_EVERY (60 * NSEC_SECOND)

enum {
	POLICY_BYTES_MAX = 2048,     /* of AssumeRole */
	CONTEXT_BYTES_MAX = 2048,    /* of a header's value, before it is base64 */
	TAG_KEY_BYTES_MAX = 128 * 4, /* characters, of at most 4 bytes */
	MACHINE_BYTES = 256,
	COMMANDS_MAX = AWS_CHAIN_PROFILES_MAX + 1,
	MOVED_MAX = 32, /* buckets in other regions */
};

struct bucket {
	const struct bucket_options *options;
	const struct account *way;
	const struct aws_listener *listener;
	struct aws_profiles *profiles;
	struct aws_settings settings;
	struct aws_role role;
	struct aws_chain chain;
	struct aws_credentials *credentials;
	struct s3_keys keys;
	struct aws_file policy;
	struct aws_tag tags[AWS_TAGS_MAX];
	char tag_keys[AWS_TAGS_MAX][TAG_KEY_BYTES_MAX + 1];
	char context[CONTEXT_BYTES_MAX / 3 * 4 + 8]; /* base64 */
	char retain_until[40];
	char machine[MACHINE_BYTES];
	const char *side, *name; /* in words, and of the first bucket */
	struct moved {
		char name[AWS_BUCKET_BYTES_MAX + 1], region[AWS_REGION_BYTES_MAX + 1];
	} moved[MOVED_MAX];
	size_t moved_count;
	char *commands[COMMANDS_MAX]; /* that give keys and codes */
	size_t commands_count;
	bool memory_lost;
};

bool bucket_is_meant(const char *scheme)
{
	return strcmp(scheme, store_s3.scheme) == 0 || strcmp(scheme, "s3+eml") == 0;
}

/* ---- what is written on the command line ---- */

/* Its place among the choices; 0, too, where nothing was said. */
static unsigned index_of(const char *const choices[], const char *word)
{
	for (unsigned i = 0; word && choices[i]; i++)
		if (strcmp(choices[i], word) == 0)
			return i;
	return 0;
}

enum aws_style bucket_style(const struct bucket_options *options)
{
	return (enum aws_style)index_of(bucket_addressings, options->addressing);
}

static const char *asked_for(const char *const choices[], const char *word)
{
	unsigned i = index_of(choices, word);

	return i ? choices[i] : NULL;
}

static bool is_asked(const struct bucket_options *options)
{
	const char *const texts[] = {
		options->profile,     options->region,	       options->endpoint,
		options->role,	      options->external_id,    options->mfa_serial,
		options->mfa_command, options->session_policy, options->source_identity,
		options->owner,	      options->ca_file,	       options->storage_class,
		options->kms_key,     options->kms_context,    options->retain_until,
	};
	unsigned asked = options->session_tags.count + options->bucket_key + options->legal_hold +
			 index_of(bucket_checksums, options->checksum) +
			 index_of(bucket_encryptions, options->encryption) +
			 index_of(bucket_lock_modes, options->lock_mode) +
			 index_of(bucket_addressings, options->addressing) +
			 index_of(bucket_guards, options->guard) +
			 index_of(bucket_audits, options->audit) + options->replicas.count;

	for (size_t i = 0; i < ARRAY_COUNT(texts); i++)
		asked += texts[i] != NULL;
	return asked > 0;
}

enum err bucket_refuse(const char *side, const char *what, const struct bucket_options *options)
{
	return is_asked(options)
		       ? RAISE(ERR_INPUT_USAGE,
			       "what is said of a bucket (%s...) is of no use: %s is in none, "
			       "as s3://BUCKET/PREFIX/ is",
			       side, what)
		       : OK;
}

enum { NAME_BYTES = 60 };

/* How the user calls an option of the group ("aws", "s3"): "--source-aws-role" on the command line,
 * "target.s3.role" in a job file. */
static const char *name_of(char to[NAME_BYTES], const char *side, const char *group,
			   const char *option)
{
	if (strncmp(side, "--", 2) == 0) {
		snprintf(to, NAME_BYTES, "%s%s-%s", side, group, option);
		return to;
	}
	snprintf(to, NAME_BYTES, "%s%s", side, option);
	for (char *at = to; *at; at++)
		*at = *at == '-' ? '_' : *at;
	return to;
}

static enum err make_retain_until(const char *side, const char *text, char to[40])
{
	char whole[40], name[NAME_BYTES];
	struct mail_date date;
	enum { DAY_BYTES = 10 };

	to[0] = '\0';
	if (!text)
		return OK;
	snprintf(whole, sizeof whole, "%s%s", text, strlen(text) == DAY_BYTES ? "T00:00:00Z" : "");
	if (!mail_date_from_rfc3339(text_of(whole), &date))
		return RAISE(ERR_INPUT_USAGE,
			     "%s is no day such as 2033-12-31 and no moment such as "
			     "2033-12-31T12:00:00Z",
			     name_of(name, side, "s3", "retain-until"));
	date.zone_minutes = 0;
	mail_date_rfc3339(to, &date);
	/* S3 wants "Z"; ours ends in "+00:00". */
	snprintf(to + strlen(to) - strlen("+00:00"), sizeof "Z", "Z");
	return OK;
}

static enum err make_context(const char *side, const char *json, char *to, size_t room)
{
	char name[NAME_BYTES];

	to[0] = '\0';
	if (!json)
		return OK;
	if (strlen(json) > CONTEXT_BYTES_MAX || !json_read(text_of(json), NULL, 0, NULL))
		return RAISE(ERR_INPUT_USAGE,
			     "%s is no JSON object such as {\"tenant\":\"42\"} of at most %d bytes",
			     name_of(name, side, "s3", "kms-context"), CONTEXT_BYTES_MAX);
	must(base64_length(strlen(json)) < room);
	base64_encode(to, json, strlen(json));
	return OK;
}

static enum err make_tags(const char *side, const struct opt_list *texts, struct aws_tag *tags,
			  char keys[][TAG_KEY_BYTES_MAX + 1])
{
	char name[NAME_BYTES];

	name_of(name, side, "aws", "session-tag");
	if (texts->count > AWS_TAGS_MAX)
		return RAISE(ERR_INPUT_USAGE, "there are %u of %s, and AWS takes %d", texts->count,
			     name, AWS_TAGS_MAX);
	for (unsigned i = 0; i < texts->count; i++) {
		const char *equals = strchr(texts->at[i], '=');
		size_t bytes = equals ? (size_t)(equals - texts->at[i]) : 0;

		if (bytes == 0 || bytes > TAG_KEY_BYTES_MAX)
			return RAISE(ERR_INPUT_USAGE, "%s is no KEY=VALUE", name);
		snprintf(keys[i], TAG_KEY_BYTES_MAX + 1, "%.*s", (int)bytes, texts->at[i]);
		tags[i] = (struct aws_tag){ keys[i], equals + 1 };
	}
	return OK;
}

/* What only goes with a role. */
static enum err check_role(const char *side, const struct bucket_options *options)
{
	const struct {
		const char *name;
		bool is_said;
	} of_role[] = {
		{ "external-id", options->external_id != NULL },
		{ "mfa-serial", options->mfa_serial != NULL },
		{ "session-policy", options->session_policy != NULL },
		{ "source-identity", options->source_identity != NULL },
		{ "session-tag", options->session_tags.count > 0 },
	};

	char name[NAME_BYTES], other[NAME_BYTES];

	for (size_t i = 0; i < ARRAY_COUNT(of_role) && !options->role; i++)
		if (of_role[i].is_said)
			return RAISE(ERR_INPUT_USAGE,
				     "%s is for a role that is to be assumed, and %s names none",
				     name_of(name, side, "aws", of_role[i].name),
				     name_of(other, side, "aws", "role"));
	name_of(name, side, "aws", "mfa-command");
	if (options->mfa_serial && !options->mfa_command)
		return RAISE(ERR_INPUT_USAGE,
			     "%s wants codes: give the program that prints them as %s",
			     name_of(other, side, "aws", "mfa-serial"), name);
	if (options->mfa_command && secret_ref_exec_parse(options->mfa_command)) {
		err_note_clear();
		return RAISE(ERR_INPUT_USAGE,
			     "%s wants a full path and arguments; there is no shell", name);
	}
	return OK;
}

static enum err check_replicas(const char *side, const struct bucket_options *options)
{
	char name[NAME_BYTES];

	return options->replicas.count <= BUCKET_REPLICAS_MAX
		       ? OK
		       : RAISE(ERR_INPUT_USAGE, "there are %u of %s, and %d can be named",
			       options->replicas.count,
			       name_of(name, side, "s3",
				       strncmp(side, "--", 2) == 0 ? "replica" : "replicas"),
			       BUCKET_REPLICAS_MAX);
}

static struct s3_config config_of(const struct bucket_options *options)
{
	return (struct s3_config){
		.owner = options->owner,
		.checksum = (enum crc_kind)index_of(bucket_checksums, options->checksum),
		.storage_class = options->storage_class,
		.encryption = asked_for(bucket_encryptions, options->encryption),
		.kms_key = options->kms_key,
		.bucket_key = options->bucket_key,
		.lock_mode = asked_for(bucket_lock_modes, options->lock_mode),
		.legal_hold = options->legal_hold,
	};
}

static enum err make_config(const char *side, struct bucket *bucket, struct s3_config *config)
{
	const struct bucket_options *options = bucket->options;
	enum err e;

	*config = config_of(options);
	if ((e = make_retain_until(side, options->retain_until, bucket->retain_until)) ||
	    (e = make_context(side, options->kms_context, bucket->context, sizeof bucket->context)))
		return e;
	config->kms_context = *bucket->context ? bucket->context : NULL;
	config->retain_until = *bucket->retain_until ? bucket->retain_until : NULL;
	return OK;
}

static enum err check(struct bucket *bucket, const char *side, const char *name)
{
	struct s3_config config;
	enum err e;

	if ((e = check_role(side, bucket->options)) ||
	    (e = check_replicas(side, bucket->options)) ||
	    (e = make_tags(side, &bucket->options->session_tags, bucket->tags, bucket->tag_keys)) ||
	    (e = make_config(side, bucket, &config)))
		return e;
	config.bucket = name;
	return s3_check(&config);
}

static enum err make(const char *side, const char *name, const struct bucket_options *options,
		     struct bucket **out)
{
	struct bucket *bucket = *out = calloc(1, sizeof *bucket);

	if (!bucket)
		return RAISE(ERR_MEMORY_EXHAUSTED, "preparing for a bucket");
	bucket->options = options;
	bucket->side = side;
	bucket->name = name;
	return check(bucket, side, name);
}

enum err bucket_check(const char *side, const char *name, const struct bucket_options *options)
{
	struct bucket *bucket;
	enum err e = make(side, name, options, &bucket);

	free(bucket);
	return e;
}

/* ---- keys ---- */

static enum err run_command(void *context, const char *command, bool whole, nsec until,
			    struct secret **out)
{
	const struct secret_ref ref = { .kind = SECRET_REF_EXEC, .text = command, .whole = whole };

	(void)context;
	return secret_ref_resolve(&ref, until, out);
}

static void allow(void *context, const char *command)
{
	struct bucket *bucket = context;
	char *copy = strdup(command);

	must(bucket->commands_count < COMMANDS_MAX);
	bucket->memory_lost |= !copy;
	if (!copy)
		return;
	bucket->commands[bucket->commands_count++] = copy;
	confinement_allow(copy);
}

static atomic_bool keys_were_refused;

/* The keys are good for some minutes yet: enough to end what has begun. */
static void refused(void *context)
{
	const struct bucket *bucket = context;

	atomic_store(&keys_were_refused, true);
	log_event(LOG_ERROR, "aws.keys", "side=%s note=\"nobody renews the keys: the run drains\"",
		  bucket->side);
	shard_request(SHARD_DRAIN);
}

const char *bucket_stop_words(void)
{
	return atomic_load(&keys_were_refused) ? "stopped because AWS renews the keys for a bucket "
						 "no more (see the log, and "
						 "give it new ones: docs/AWS.md)"
					       : "stopped on request";
}

static enum err take_keys(void *context, nsec until, struct s3_key_loan *loan)
{
	struct bucket *bucket = context;
	struct aws_held *held;
	enum err e = aws_credentials_get(bucket->credentials, until, &held);

	if (!e)
		*loan = (struct s3_key_loan){ aws_held_credentials(held), held };
	return e;
}

static void give_keys(void *context, struct s3_key_loan *loan, bool are_refused)
{
	struct bucket *bucket = context;
	struct aws_held *held = loan->held;

	if (are_refused)
		aws_credentials_drop(bucket->credentials, held);
	aws_held_put(&held);
}

static enum err keep_keys(void *argument)
{
	struct bucket *bucket = argument;
	struct aws_held *held;
	enum err e;

	while ((e = fiber_sleep(clock_after(KEEP_EVERY))) == OK) {
		if (aws_credentials_get(bucket->credentials, clock_after(KEEP_EVERY), &held))
			err_note_clear(); /* who needs them is told, and the run, if it is time */
		else
			aws_held_put(&held);
	}
	return e;
}

enum err bucket_beside_begin(struct aws_record *record, struct bucket *source,
			     struct bucket *target, struct group **out)
{
	struct group *beside = *out = group_open();
	enum err e = group_spawn(beside, "record", FIBER_STACK_SMALL, aws_record_keep, record);

	if (!e && source)
		e = group_spawn(beside, "keys", FIBER_STACK_LARGE, keep_keys, source);
	if (!e && target)
		e = group_spawn(beside, "keys", FIBER_STACK_LARGE, keep_keys, target);
	return e;
}

void bucket_beside_end(struct group **beside)
{
	if (!*beside)
		return;
	group_cancel(*beside);
	if (group_join(beside))
		err_note_clear();
}

/* ---- opening ---- */

static struct aws_settings_wish wish_of(const struct bucket *bucket)
{
	const struct bucket_options *options = bucket->options;

	return (struct aws_settings_wish){
		.profile = options->profile,
		.region = options->region,
		.endpoint_url = { [AWS_S3] = options->endpoint },
		.ca_file = options->ca_file,
		.style = bucket_style(options),
	};
}

static void plan_role(struct bucket *bucket)
{
	const struct bucket_options *options = bucket->options;

	bucket->role = (struct aws_role){
		.arn = options->role,
		.external_id = options->external_id,
		.mfa_serial = options->mfa_serial,
		.policy = bucket->policy.text.at,
		.source_identity = options->source_identity,
		.tags = bucket->tags,
		.tags_count = options->session_tags.count,
	};
}

/* In a shard of its own, for a moment. */
static enum err read_files(void *argument)
{
	struct bucket *bucket = argument;
	const struct aws_settings_wish wish = wish_of(bucket);
	const char *policy = bucket->options->session_policy;
	struct aws_endpoint endpoint; /* there is one */
	nsec until = clock_after(FILES_NS);
	enum err e;

	if ((e = aws_settings_open_profiles(until, &bucket->profiles)) ||
	    (e = aws_settings_make(bucket->profiles, &wish, &bucket->settings)) ||
	    (e = aws_settings_endpoint(&bucket->settings, AWS_S3, bucket->name, &endpoint)) ||
	    (policy && (e = aws_file_read(policy, POLICY_BYTES_MAX, until, &bucket->policy))))
		return e;
	plan_role(bucket);
	bucket->chain = (struct aws_chain){
		.profiles = bucket->profiles,
		.settings = &bucket->settings,
		.way = bucket->way,
		.role = bucket->role.arn ? &bucket->role : NULL,
		.mfa_command = bucket->options->mfa_command,
		.run = run_command,
		.listener = bucket->listener,
	};
	e = aws_chain_commands(&bucket->chain, allow, bucket);
	return !e && bucket->memory_lost ? RAISE(ERR_MEMORY_EXHAUSTED, "reading AWS's files") : e;
}

enum err bucket_open(const char *side, const char *name, const struct bucket_options *options,
		     const struct account *way, const struct aws_listener *listener,
		     struct bucket **out)
{
	struct bucket *bucket;
	enum err e = make(side, name, options, out);

	if (e)
		return e;
	bucket = *out;
	bucket->way = way;
	bucket->listener = listener;
	bucket->keys = (struct s3_keys){ take_keys, give_keys, bucket };
	if (gethostname(bucket->machine, sizeof bucket->machine - 1))
		snprintf(bucket->machine, sizeof bucket->machine, "unknown");
	if ((e = shard_run(&(struct shard_config){ .arena_chunks = 1 }, read_files, bucket)))
		return e;
	return aws_credentials_open(&(struct aws_credentials_config){ .chain = bucket->chain,
								      .refused = refused,
								      .context = bucket },
				    &bucket->credentials);
}

void bucket_close(struct bucket **bucket_at)
{
	struct bucket *bucket = *bucket_at;

	*bucket_at = NULL;
	if (!bucket)
		return;
	aws_credentials_close(&bucket->credentials);
	aws_profiles_close(&bucket->profiles);
	aws_file_close(&bucket->policy);
	for (size_t i = 0; i < bucket->commands_count; i++)
		free(bucket->commands[i]);
	free(bucket);
}

/* ---- stores ---- */

static const struct moved *moved_of(const struct bucket *bucket, const char *name)
{
	for (size_t i = 0; i < bucket->moved_count; i++)
		if (strcmp(bucket->moved[i].name, name) == 0)
			return &bucket->moved[i];
	return NULL;
}

enum err bucket_store(const struct bucket *bucket, const char *name, struct http_pool *pool,
		      struct store_s3_config *out)
{
	const struct moved *moved = moved_of(bucket, name);

	*out = (struct store_s3_config){ .s3 = config_of(bucket->options),
					 .machine = bucket->machine };
	out->s3.kms_context = *bucket->context ? bucket->context : NULL;
	out->s3.retain_until = *bucket->retain_until ? bucket->retain_until : NULL;
	out->s3.pool = pool;
	out->s3.keys = &bucket->keys;
	out->s3.listener = bucket->listener;
	return aws_settings_endpoint_in(&bucket->settings,
					moved ? moved->region : bucket->settings.region, AWS_S3,
					name, &out->s3.endpoint);
}

static enum err ask_region(const struct bucket *bucket, struct s3_config *config, const char *name,
			   nsec until, char region[S3_REGION_BYTES_MAX + 1])
{
	struct s3 *s3;
	enum err e;

	config->bucket = name;
	config->way = bucket->way;
	if ((e = s3_open(config, &s3)))
		return e;
	e = s3_bucket_region(s3, until, region);
	s3_close(&s3);
	return e;
}

enum err bucket_locate(struct bucket *bucket, const char *name, struct http_pool *pool, nsec until)
{
	struct store_s3_config config;
	char region[S3_REGION_BYTES_MAX + 1] = "";
	struct moved *moved;
	enum err e;

	if (moved_of(bucket, name))
		return OK;
	if ((e = bucket_store(bucket, name, pool, &config)))
		return e;
	e = ask_region(bucket, &config.s3, name, until, region);
	if (e == ERR_S3_REGION && !bucket->options->region && bucket->moved_count < MOVED_MAX &&
	    aws_endpoint_may_move(&config.s3.endpoint, region)) {
		log_event(LOG_WARN, "bucket.region", "bucket=%s region=%s instead_of=%s", name,
			  region, config.s3.endpoint.region);
		moved = &bucket->moved[bucket->moved_count++];
		snprintf(moved->name, sizeof moved->name, "%s", name);
		snprintf(moved->region, sizeof moved->region, "%s", region);
	} else if (e != ERR_S3_DENIED && e != ERR_S3_LACKS) {
		return e; /* where it may not be asked, the first call of use says what is wrong */
	}
	err_note_clear();
	return OK;
}

const char *bucket_ca_file(const struct bucket *bucket)
{
	return *bucket->settings.ca_file ? bucket->settings.ca_file : NULL;
}
