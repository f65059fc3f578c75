/* How a bucket is set up: what plan and report tell, and what a run checks before it begins. */
#include <stdio.h>
#include <stdlib.h>

#include "transport/s3_state.h"

/* ---- region ---- */

static const struct s3_operation head_bucket = { .name = "HeadBucket",
						 .method = "HEAD",
						 .action = "s3:ListBucket" };

static enum err take_one(void *context, const struct s3_entry *entry)
{
	(void)context, (void)entry;
	return ERR_STREAM_ENDED;
}

/* It needs the permission that HeadBucket needs. */
static enum err list_a_key(struct s3 *s3, const char *key, nsec until)
{
	enum err e = s3_list(s3, &(struct s3_list){ .delimiter = "/", .take = take_one }, until);

	(void)key;
	return e == ERR_STREAM_ENDED ? OK : e;
}

static enum err ask_head(struct s3 *s3, nsec until, char region[S3_REGION_BYTES_MAX + 1])
{
	struct s3_call *call;
	enum err e;

	if ((e = s3_call_open(s3, &head_bucket, NULL, &call)))
		return e;
	e = s3_ask_head(call, list_a_key, until);
	snprintf(region, S3_REGION_BYTES_MAX + 1, "%s", call->region);
	s3_call_close(&call);
	return e;
}

/* ---- what is configured ---- */

struct setting {
	struct s3_operation operation;
	const char *parameter;
	const struct xml_form *form;
	const char *absent; /* the code that says that it was never set */
};

enum { RULES_MAX = 1000 /* of replication; S3 takes no more */ };

struct asking {
	struct xml_sheet sheets[3];
	size_t count;
	struct s3_replication_rule *rule; /* NULL: nobody wants rules */
	struct buffer rules;		  /* one after the other */
};

/* radosgw answers what it does not know as if it had been asked for a list. */
static enum err take_setting(struct s3_call *call, struct http *http, const struct http_head *head)
{
	struct asking *asking = call->owner;
	enum err e = s3_take_xml(call, http, asking->sheets, asking->count);

	(void)head;
	if (e != ERR_XML_SYNTAX)
		return e;
	if (!call->had_note)
		err_note_clear();
	return RAISE(ERR_S3_LACKS, "%s answers something else: it does not know the question",
		     call->s3->host);
}

static enum err keep_rule(void *owner, void *rule)
{
	struct asking *asking = owner;

	buffer_add(&asking->rules, rule, sizeof *asking->rule);
	if (asking->rules.failed)
		return RAISE(ERR_XML_SYNTAX, "more than %d rules", RULES_MAX);
	return OK;
}

static void begin_setting(struct s3_call *call)
{
	struct asking *asking = call->owner;

	buffer_reset(&asking->rules);
}

static enum err ask_with(struct s3 *s3, const struct setting *setting, struct asking *asking,
			 nsec until, void *to)
{
	struct s3_call *call;
	enum err e;

	memset(to, 0, setting->form->bytes);
	if ((e = s3_call_open(s3, &setting->operation, NULL, &call)))
		return e;
	asking->sheets[asking->count++] = (struct xml_sheet){ .form = setting->form,
							      .to = to,
							      .bytes = setting->form->bytes };
	if (asking->rule)
		asking->sheets[asking->count++] = (struct xml_sheet)XML_ROWS(
			&s3_xml_replication_rule, asking->rule, keep_rule, asking);
	buffer_addf(&call->target, "?%s=", setting->parameter);
	call->begin = begin_setting;
	call->take = take_setting;
	call->owner = asking;
	e = s3_ask(call, until);
	if (e && setting->absent && strcmp(call->error.code, setting->absent) == 0) {
		if (!call->had_note)
			err_note_clear();
		e = OK;
	}
	s3_call_close(&call);
	return e;
}

static enum err ask_setting(struct s3 *s3, const struct setting *setting, nsec until, void *to)
{
	return ask_with(s3, setting, &(struct asking){ .count = 0 }, until, to);
}

enum err s3_bucket_region(struct s3 *s3, nsec until, char region[S3_REGION_BYTES_MAX + 1])
{
	static const struct setting location = {
		{ .name = "GetBucketLocation", .method = "GET", .action = "s3:GetBucketLocation" },
		"location",
		&s3_xml_location,
		NULL
	};
	struct s3_location said;
	enum err e;

	region[0] = '\0';
	if ((e = ask_head(s3, until, region)) || *region)
		return e;
	if ((e = ask_setting(s3, &location, until, &said)) == OK)
		snprintf(region, S3_REGION_BYTES_MAX + 1, "%s", s3_xml_region(&said));
	return e;
}

enum err s3_bucket_versioning(struct s3 *s3, nsec until, struct s3_versioning *to)
{
	static const struct setting versioning = { { .name = "GetBucketVersioning",
						     .method = "GET",
						     .action = "s3:GetBucketVersioning" },
						   "versioning",
						   &s3_xml_versioning,
						   NULL };

	return ask_setting(s3, &versioning, until, to);
}

enum err s3_bucket_object_lock(struct s3 *s3, nsec until, struct s3_object_lock *to)
{
	static const struct setting lock = { { .name = "GetObjectLockConfiguration",
					       .method = "GET",
					       .action = "s3:GetBucketObjectLockConfiguration" },
					     "object-lock",
					     &s3_xml_object_lock,
					     "ObjectLockConfigurationNotFoundError" };

	return ask_setting(s3, &lock, until, to);
}

enum err s3_bucket_encryption(struct s3 *s3, nsec until, struct s3_encryption *to)
{
	static const struct setting encryption = {
		{ .name = "GetBucketEncryption",
		  .method = "GET",
		  .action = "s3:GetEncryptionConfiguration" },
		"encryption",
		&s3_xml_encryption,
		"ServerSideEncryptionConfigurationNotFoundError"
	};

	return ask_setting(s3, &encryption, until, to);
}

enum err s3_bucket_public_access(struct s3 *s3, nsec until, struct s3_public_access_block *to)
{
	static const struct setting block = { { .name = "GetPublicAccessBlock",
						.method = "GET",
						.action = "s3:GetBucketPublicAccessBlock" },
					      "publicAccessBlock",
					      &s3_xml_public_access_block,
					      "NoSuchPublicAccessBlockConfiguration" };

	return ask_setting(s3, &block, until, to);
}

enum err s3_bucket_policy_status(struct s3 *s3, nsec until, struct s3_policy_status *to)
{
	static const struct setting status = { { .name = "GetBucketPolicyStatus",
						 .method = "GET",
						 .action = "s3:GetBucketPolicyStatus" },
					       "policyStatus",
					       &s3_xml_policy_status,
					       "NoSuchBucketPolicy" };

	return ask_setting(s3, &status, until, to);
}

/* ---- replication ---- */

static enum err ask_rules(struct s3 *s3, struct asking *asking, nsec until)
{
	static const struct setting replication = { { .name = "GetBucketReplication",
						      .method = "GET",
						      .action = "s3:GetReplicationConfiguration" },
						    "replication",
						    &s3_xml_replication,
						    "ReplicationConfigurationNotFoundError" };
	struct s3_replication whole;

	return ask_with(s3, &replication, asking, until, &whole);
}

enum err s3_bucket_replication(struct s3 *s3, nsec until,
			       void (*take)(void *context, const struct s3_replication_rule *),
			       void *context)
{
	struct asking asking = {
		.rule = calloc(1, sizeof *asking.rule),
		.rules.bytes_max = RULES_MAX * sizeof *asking.rule,
	};
	enum err e;

	if (!asking.rule)
		return RAISE(ERR_MEMORY_EXHAUSTED, "the replication of bucket %s",
			     s3->config.bucket);
	e = ask_rules(s3, &asking, until);
	for (size_t at = 0; !e && at < asking.rules.bytes; at += sizeof *asking.rule) {
		memcpy(asking.rule, asking.rules.at + at, sizeof *asking.rule);
		take(context, asking.rule);
	}
	buffer_free(&asking.rules);
	free(asking.rule);
	return e;
}
