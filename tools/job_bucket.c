/* target.s3 of a job file: how targets in buckets are reached, and what is stored there. */
#include "tools/job_make.h"

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

static void read_tags(struct job_make *make, struct opt_list *tags)
{
	size_t count = job_file_items_count(make->file, JOB_KEY_TARGET_S3_TAGS);

	if (count > OPT_LIST_MAX)
		job_fault(&make->faults, job_file_line(make->file, JOB_KEY_TARGET_S3_TAGS),
			  job_keys[JOB_KEY_TARGET_S3_TAGS].path, "are more than %d", OPT_LIST_MAX);
	for (size_t i = 0; i < count && i < OPT_LIST_MAX; i++)
		tags->at[tags->count++] = job_keep(
			make, text_of(job_file_item(make->file, JOB_KEY_TARGET_S3_TAGS, i)));
}

static void read_keys(struct job_make *make, struct bucket_options *bucket)
{
	*bucket = (struct bucket_options){
		.profile = kept(make, JOB_KEY_TARGET_S3_PROFILE),
		.region = kept(make, JOB_KEY_TARGET_S3_REGION),
		.endpoint = kept(make, JOB_KEY_TARGET_S3_ENDPOINT),
		.addressing = choice(make, JOB_KEY_TARGET_S3_ADDRESSING),
		.role = kept(make, JOB_KEY_TARGET_S3_ROLE),
		.external_id = kept(make, JOB_KEY_TARGET_S3_EXTERNAL_ID),
		.mfa_serial = kept(make, JOB_KEY_TARGET_S3_MFA_SERIAL),
		.mfa_command = kept(make, JOB_KEY_TARGET_S3_MFA_COMMAND),
		.session_policy = file(make, JOB_KEY_TARGET_S3_POLICY),
		.ca_file = file(make, JOB_KEY_TARGET_S3_CA_FILE),
		.source_identity = kept(make, JOB_KEY_TARGET_S3_IDENTITY),
		.owner = kept(make, JOB_KEY_TARGET_S3_OWNER),
		.checksum = choice(make, JOB_KEY_TARGET_S3_CHECKSUM),
		.storage_class = kept(make, JOB_KEY_TARGET_S3_CLASS),
		.encryption = choice(make, JOB_KEY_TARGET_S3_ENCRYPTION),
		.kms_key = kept(make, JOB_KEY_TARGET_S3_KMS_KEY),
		.kms_context = kept(make, JOB_KEY_TARGET_S3_KMS_CONTEXT),
		.lock_mode = choice(make, JOB_KEY_TARGET_S3_LOCK),
		.retain_until = kept(make, JOB_KEY_TARGET_S3_RETAIN),
		.bucket_key = job_file_value(make->file, JOB_KEY_TARGET_S3_BUCKET_KEY),
		.legal_hold = job_file_value(make->file, JOB_KEY_TARGET_S3_HOLD),
	};
	read_tags(make, &bucket->session_tags);
}

/* The name of the first bucket among the targets; "": there is none. */
static const char *first_bucket(struct job_make *make)
{
	const struct job *job = &make->owner->job;

	for (size_t i = 0; i < job->mailboxes_count; i++) {
		const char *target = job->mailboxes[i].target;

		if (strncmp(target, "s3://", 5) == 0)
			return job_keep(make,
					(struct text){ target + 5, strcspn(target + 5, "/") });
	}
	return "";
}

void job_bucket_make(struct job_make *make)
{
	struct job *job = &make->owner->job;
	unsigned line = 0;
	enum err e;

	for (enum job_key_id id = JOB_KEY_TARGET_S3_PROFILE; id <= JOB_KEY_TARGET_S3_CHECKSUM; id++)
		if (!line ||
		    (job_file_line(make->file, id) && job_file_line(make->file, id) < line))
			line = job_file_line(make->file, id);
	job->bucket = first_bucket(make);
	read_keys(make, &job->target_bucket);
	if (make->faults.count)
		return; /* of mailboxes, whose targets are not all known */
	e = *job->bucket ? bucket_check("target.s3.", job->bucket, &job->target_bucket)
			 : bucket_refuse("target.s3.", "no target", &job->target_bucket);
	if (e)
		job_fault_raised(&make->faults, line, "target.s3", e);
}
