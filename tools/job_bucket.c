/* source.s3 and target.s3 of a job file: how buckets are reached, and what is stored there. */
#include "tools/drivers.h"
#include "tools/job_make.h"
#include "transport/store.h"

/* The keys of one side, which are a row of the table up to `last`. */
struct side {
	const char *prefix, *nobody;
	enum job_key_id profile, region, endpoint, addressing, role, external_id, mfa_serial,
		mfa_command, policy, identity, tags, ca_file, owner, last;
};
#define ACCESS_KEYS(side)                                                                          \
	.profile = JOB_KEY_##side##_S3_PROFILE, .region = JOB_KEY_##side##_S3_REGION,              \
	.endpoint = JOB_KEY_##side##_S3_ENDPOINT, .addressing = JOB_KEY_##side##_S3_ADDRESSING,    \
	.role = JOB_KEY_##side##_S3_ROLE, .external_id = JOB_KEY_##side##_S3_EXTERNAL_ID,          \
	.mfa_serial = JOB_KEY_##side##_S3_MFA_SERIAL,                                              \
	.mfa_command = JOB_KEY_##side##_S3_MFA_COMMAND, .policy = JOB_KEY_##side##_S3_POLICY,      \
	.identity = JOB_KEY_##side##_S3_IDENTITY, .tags = JOB_KEY_##side##_S3_TAGS,                \
	.ca_file = JOB_KEY_##side##_S3_CA_FILE, .owner = JOB_KEY_##side##_S3_OWNER
static const struct side source_side = {
	.prefix = "source.s3.",
	.nobody = "no source",
	.last = JOB_KEY_SOURCE_S3_OWNER,
	ACCESS_KEYS(SOURCE),
};
static const struct side target_side = {
	.prefix = "target.s3.",
	.nobody = "no target",
	.last = JOB_KEY_TARGET_S3_CHECKSUM,
	ACCESS_KEYS(TARGET),
};

static const char *kept(struct job_make *make, enum job_key_id id)
{
	const char *text = job_file_text(make->file, id);

	return text ? job_keep(make, text_of(text)) : NULL;
}

static const char *choice(const struct job_make *make, enum job_key_id id)
{
	return job_key_option(&job_keys[id])->choices[job_file_value(make->file, id)];
}

/* One that is there to be read. */
static const char *file(struct job_make *make, enum job_key_id id)
{
	const char *text = job_file_text(make->file, id), *path;

	if (!text)
		return NULL;
	path = job_resolve_path(make, text);
	job_check_readable(make, path, job_file_line(make->file, id), job_keys[id].path);
	return path;
}

static void read_list(struct job_make *make, enum job_key_id id, struct opt_list *list)
{
	size_t count = job_file_items_count(make->file, id);

	if (count > OPT_LIST_MAX)
		job_fault(&make->faults, job_file_line(make->file, id), job_keys[id].path,
			  "are more than %d", OPT_LIST_MAX);
	for (size_t i = 0; i < count && i < OPT_LIST_MAX; i++)
		list->at[list->count++] = job_keep(make, text_of(job_file_item(make->file, id, i)));
}

static void read_access(struct job_make *make, const struct side *side,
			struct bucket_options *options)
{
	*options = (struct bucket_options){
		.profile = kept(make, side->profile),
		.region = kept(make, side->region),
		.endpoint = kept(make, side->endpoint),
		.addressing = choice(make, side->addressing),
		.role = kept(make, side->role),
		.external_id = kept(make, side->external_id),
		.mfa_serial = kept(make, side->mfa_serial),
		.mfa_command = kept(make, side->mfa_command),
		.session_policy = file(make, side->policy),
		.source_identity = kept(make, side->identity),
		.ca_file = file(make, side->ca_file),
		.owner = kept(make, side->owner),
	};
	read_list(make, side->tags, &options->session_tags);
}

static void read_storing(struct job_make *make, struct bucket_options *options)
{
	options->checksum = choice(make, JOB_KEY_TARGET_S3_CHECKSUM);
	options->storage_class = kept(make, JOB_KEY_TARGET_S3_CLASS);
	options->encryption = choice(make, JOB_KEY_TARGET_S3_ENCRYPTION);
	options->kms_key = kept(make, JOB_KEY_TARGET_S3_KMS_KEY);
	options->kms_context = kept(make, JOB_KEY_TARGET_S3_KMS_CONTEXT);
	options->lock_mode = choice(make, JOB_KEY_TARGET_S3_LOCK);
	options->retain_until = kept(make, JOB_KEY_TARGET_S3_RETAIN);
	options->bucket_key = job_file_value(make->file, JOB_KEY_TARGET_S3_BUCKET_KEY);
	options->guard = choice(make, JOB_KEY_TARGET_S3_GUARD);
	options->audit = choice(make, JOB_KEY_TARGET_S3_AUDIT);
	read_list(make, JOB_KEY_TARGET_S3_REPLICAS, &options->replicas);
	options->legal_hold = job_file_value(make->file, JOB_KEY_TARGET_S3_HOLD);
}

/* The name of the bucket in this URL; "": it is none. */
static const char *bucket_in(struct job_make *make, const char *url)
{
	const char *name = strncmp(url, "s3://", 5) == 0       ? url + 5
			   : strncmp(url, "s3+eml://", 9) == 0 ? url + 9
							       : NULL;

	return name ? job_keep(make, (struct text){ name, strcspn(name, "/") }) : "";
}

static void check_side(struct job_make *make, const struct side *side,
		       const struct job_bucket *bucket)
{
	unsigned line = 0;
	enum err e = *bucket->name ? bucket_check(side->prefix, bucket->name, &bucket->options)
				   : bucket_refuse(side->prefix, side->nobody, &bucket->options);

	for (enum job_key_id id = side->profile; id <= side->last && e; id++) {
		unsigned of_key = job_file_line(make->file, id);

		line = of_key && (!line || of_key < line) ? of_key : line;
	}
	if (e)
		job_fault_raised(&make->faults, line, side->prefix, e);
}

void job_bucket_make(struct job_make *make)
{
	struct job *job = &make->owner->job;

	job->source_bucket.name = job->target_bucket.name = "";
	for (size_t i = 0; i < job->mailboxes_count; i++) {
		if (!*job->source_bucket.name)
			job->source_bucket.name = bucket_in(make, job->mailboxes[i].source);
		if (!*job->target_bucket.name)
			job->target_bucket.name = bucket_in(make, job->mailboxes[i].target);
	}
	read_access(make, &source_side, &job->source_bucket.options);
	read_access(make, &target_side, &job->target_bucket.options);
	read_storing(make, &job->target_bucket.options);
	if (make->faults.count)
		return; /* of mailboxes, whose sides are not all known */
	check_side(make, &source_side, &job->source_bucket);
	check_side(make, &target_side, &job->target_bucket);
}
