/* See bucket_guard.h. All is asked before anything is judged, so that an admin sees all that is to
 * be changed at once. Semantics: Amazon S3 User Guide, "Replicating objects", "Blocking public
 * access to your Amazon S3 storage", "Locking objects with Object Lock", "Setting default
 * server-side encryption behavior". */
#include "transport/bucket_guard.h"

#include <stdio.h>
#include <stdlib.h>

#include "engine/log.h"

enum { FACT_BYTES = 360 };

struct check {
	struct s3 *s3;
	const struct s3_config *config;
	const struct bucket_policy *policy;
	struct bucket_facts *facts;
	nsec until;
	struct s3_encryption encryption; /* its key is longer than a report's */
};

/* ---- asking ---- */

static bool is_one_of(const char *text, const char *const *choices, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(text, choices[i]) == 0)
			return true;
	return false;
}

/* Where the endpoint is right and the bucket elsewhere, S3 says so and nothing can be done there:
 * only what the policy has to say about that place comes first. */
static enum err ask_region(struct check *check)
{
	const struct bucket_policy *policy = check->policy;
	char *region = check->facts->region;
	enum err e = s3_bucket_region(check->s3, check->until, region);

	if (e == ERR_S3_REGION && *region && policy->regions_count > 0 &&
	    !is_one_of(region, policy->regions, policy->regions_count)) {
		err_note_clear();
		return OK;
	}
	if (e == ERR_S3_DENIED) /* all else needs this, too */
		return e;
	return !e && !*region ? RAISE(ERR_S3_LACKS, "the server names no region") : e;
}

static bool begins_with(const char *text, const char *head)
{
	return strncmp(text, head, strlen(head)) == 0;
}

/* Of three places for its prefix a rule has at most one; tags beside it count as if they were not
 * there. */
static bool rule_is_for(const struct s3_replication_rule *rule, const char *prefix)
{
	const char *of_rule = *rule->prefix	     ? rule->prefix
			      : *rule->filter_prefix ? rule->filter_prefix
						     : rule->and_prefix;

	return begins_with(prefix, of_rule) || begins_with(of_rule, prefix);
}

static const char *bucket_of_arn(const char *bucket)
{
	const char *name = strrchr(bucket, ':');

	return begins_with(bucket, "arn:") && name ? name + 1 : bucket;
}

/* Of two ARNs all must be equal; a bare name stands for any ARN of that bucket, for names are
 * unique in a partition. */
static bool is_same_bucket(const char *allowed, const char *found)
{
	if (begins_with(allowed, "arn:") && begins_with(found, "arn:"))
		return strcmp(allowed, found) == 0;
	return strcmp(bucket_of_arn(allowed), bucket_of_arn(found)) == 0;
}

static bool is_allowed(const struct bucket_policy *policy, const char *found)
{
	for (size_t i = 0; i < policy->replicas_count; i++)
		if (is_same_bucket(policy->replicas[i], found))
			return true;
	return false;
}

static void keep_replica(struct bucket_facts *facts, const char *found)
{
	for (unsigned i = 0; i < facts->replication.replicas_count; i++)
		if (strcmp(facts->replication.replicas[i], found) == 0)
			return;
	if (facts->replication.replicas_count < BUCKET_REPLICAS_SHOWN)
		snprintf(facts->replication.replicas[facts->replication.replicas_count++],
			 BUCKET_REPLICA_BYTES_MAX + 1, "%s", found);
}

static void take_rule(void *context, const struct s3_replication_rule *rule)
{
	struct check *check = context;
	struct bucket_facts *facts = check->facts;
	const char *prefix = check->policy->prefix ? check->policy->prefix : "";
	char replica[BUCKET_REPLICA_BYTES_MAX + 1];

	facts->replication.rules++;
	if (strcmp(rule->status, "Disabled") == 0 || !rule_is_for(rule, prefix))
		return;
	facts->replication.active++;
	err_quote(replica, sizeof replica, text_of(rule->destination_bucket));
	keep_replica(facts, replica);
	if (is_allowed(check->policy, rule->destination_bucket)) {
		facts->replication.allowed++;
	} else if (facts->replication.active == facts->replication.allowed + 1) {
		snprintf(facts->replication.refused, sizeof facts->replication.refused, "%s",
			 replica);
		err_quote(facts->replication.refused_rule, sizeof facts->replication.refused_rule,
			  text_of(rule->id));
	}
}

static enum err ask_replication(struct check *check)
{
	return s3_bucket_replication(check->s3, check->until, take_rule, check);
}

static enum err ask_policy(struct check *check)
{
	struct s3_policy_status status;
	enum err e = s3_bucket_policy_status(check->s3, check->until, &status);

	check->facts->is_public = !e && status.is_public;
	return e;
}

static enum err ask_block(struct check *check)
{
	return s3_bucket_public_access(check->s3, check->until, &check->facts->block);
}

static enum err ask_versioning(struct check *check)
{
	return s3_bucket_versioning(check->s3, check->until, &check->facts->versioning);
}

static enum err ask_lock(struct check *check)
{
	return s3_bucket_object_lock(check->s3, check->until, &check->facts->lock);
}

static enum err ask_encryption(struct check *check)
{
	const struct s3_encryption *found = &check->encryption;
	struct bucket_facts *facts = check->facts;
	enum err e = s3_bucket_encryption(check->s3, check->until, &check->encryption);

	snprintf(facts->encryption, sizeof facts->encryption, "%s", found->sse_algorithm);
	err_quote(facts->kms_key, sizeof facts->kms_key, text_of(found->kms_master_key_id));
	facts->bucket_key = found->bucket_key_enabled;
	return e;
}

/* ---- what was found, in words ---- */

static void show_region(const struct bucket_facts *facts, struct buffer *to)
{
	char shown[2 * S3_REGION_BYTES_MAX];

	buffer_add_text(to, err_quote(shown, sizeof shown, text_of(facts->region)));
}

static void show_replication(const struct bucket_facts *facts, struct buffer *to)
{
	unsigned shown = facts->replication.replicas_count;

	if (facts->replication.active == 0) {
		buffer_addf(to,
			    facts->replication.rules ? "none of the archive (%u rules)" : "none",
			    facts->replication.rules);
		return;
	}
	if (facts->replication.active > facts->replication.allowed) {
		buffer_addf(to, "rule \"%s\" copies to %s", facts->replication.refused_rule,
			    facts->replication.refused);
		return;
	}
	for (unsigned i = 0; i < shown; i++)
		buffer_addf(to, "%s%s", i ? ", " : "to ", facts->replication.replicas[i]);
}

static void show_policy(const struct bucket_facts *facts, struct buffer *to)
{
	buffer_add_text(to, !facts->is_public ? "not public"
			    : facts->block.restrict_public_buckets
				    ? "public, and held back by RestrictPublicBuckets"
				    : "the bucket's policy opens it to the public");
}

static bool is_blocked(const struct s3_public_access_block *block)
{
	return block->block_public_acls && block->ignore_public_acls &&
	       block->block_public_policy && block->restrict_public_buckets;
}

static void show_block(const struct bucket_facts *facts, struct buffer *to)
{
	const struct s3_public_access_block *block = &facts->block;

	if (is_blocked(block)) {
		buffer_add_text(to, "on");
		return;
	}
	buffer_addf(to, "off: %s%s%s%s", block->block_public_acls ? "" : "BlockPublicAcls ",
		    block->ignore_public_acls ? "" : "IgnorePublicAcls ",
		    block->block_public_policy ? "" : "BlockPublicPolicy ",
		    block->restrict_public_buckets ? "" : "RestrictPublicBuckets ");
	to->bytes -= to->bytes > 0;
}

static void show_versioning(const struct bucket_facts *facts, struct buffer *to)
{
	buffer_add_text(to, *facts->versioning.status ? facts->versioning.status : "never enabled");
}

static void show_lock(const struct bucket_facts *facts, struct buffer *to)
{
	const struct s3_object_lock *lock = &facts->lock;

	buffer_add_text(to, *lock->enabled ? lock->enabled : "not enabled");
	if (*lock->mode)
		buffer_addf(to, ", by default %s for %llu %s", lock->mode,
			    (unsigned long long)(lock->years ? lock->years : lock->days),
			    lock->years ? "years" : "days");
}

static void show_encryption(const struct bucket_facts *facts, struct buffer *to)
{
	bool is_kms = begins_with(facts->encryption, "aws:kms");

	buffer_add_text(to, *facts->encryption ? facts->encryption : "none");
	if (is_kms)
		buffer_addf(to, " with %s%s", *facts->kms_key ? "key " : "AWS's own key aws/s3",
			    facts->kms_key);
	if (is_kms && facts->bucket_key)
		buffer_add_text(to, " and a bucket key");
}

/* ---- judging: each says whether what was seen breaks it ---- */

static bool breaks_region(const struct check *check)
{
	const struct bucket_policy *policy = check->policy;
	const struct aws_endpoint *endpoint = &check->config->endpoint;

	if (policy->regions_count > 0)
		return !is_one_of(check->facts->region, policy->regions, policy->regions_count);
	return aws_endpoint_is_of_aws(endpoint) &&
	       strcmp(check->facts->region, endpoint->region) != 0;
}

static bool breaks_replication(const struct check *check)
{
	return check->facts->replication.active > check->facts->replication.allowed;
}

static bool breaks_policy(const struct check *check)
{
	return check->facts->is_public && !check->facts->block.restrict_public_buckets;
}

static bool breaks_block(const struct check *check)
{
	return check->policy->demand[BUCKET_PUBLIC_BLOCK] == BUCKET_DEMANDED &&
	       !is_blocked(&check->facts->block);
}

static bool breaks_versioning(const struct check *check)
{
	return check->policy->demand[BUCKET_VERSIONING] == BUCKET_DEMANDED &&
	       strcmp(check->facts->versioning.status, "Enabled") != 0;
}

static bool breaks_lock(const struct check *check)
{
	bool wanted = check->policy->demand[BUCKET_LOCK] == BUCKET_DEMANDED ||
		      check->config->lock_mode || check->config->legal_hold;

	return wanted && strcmp(check->facts->lock.enabled, "Enabled") != 0;
}

static bool breaks_encryption(const struct check *check)
{
	const struct bucket_policy *policy = check->policy;
	const struct s3_encryption *found = &check->encryption;

	if (!policy->encryption)
		return false;
	return strcmp(found->sse_algorithm, policy->encryption) != 0 ||
	       (policy->kms_key && !bucket_key_is(policy->kms_key, found->kms_master_key_id)) ||
	       (policy->bucket_key && !found->bucket_key_enabled);
}

static void want_region(const struct check *check, struct buffer *to)
{
	const struct bucket_policy *policy = check->policy;

	if (policy->regions_count == 0)
		buffer_add_text(to, check->config->endpoint.region);
	for (size_t i = 0; i < policy->regions_count; i++)
		buffer_addf(to, "%s%.40s", i ? " or " : "", policy->regions[i]);
}

static void want_encryption(const struct check *check, struct buffer *to)
{
	const struct bucket_policy *policy = check->policy;

	buffer_addf(to, "%s%s%.120s%s", policy->encryption ? policy->encryption : "one",
		    policy->kms_key ? " with key " : "", policy->kms_key ? policy->kms_key : "",
		    policy->bucket_key ? " and a bucket key" : "");
}

/* ---- the rules ---- */

static const struct rule {
	const char *name, *action;
	enum err broken;
	enum err (*ask)(struct check *);
	bool (*breaks)(const struct check *);
	void (*show)(const struct bucket_facts *, struct buffer *);
	void (*want)(const struct check *, struct buffer *); /* NULL: the change says it */
	const char *change;
} rules[BUCKET_RULES] = {
	[BUCKET_REGION] = { "region", "s3:ListBucket and s3:GetBucketLocation", ERR_S3_RESIDENCY,
			    ask_region, breaks_region, show_region, want_region,
			    "choose a bucket there, or allow that region" },
	[BUCKET_REPLICATION] = { "replication", "s3:GetReplicationConfiguration", ERR_S3_RESIDENCY,
				 ask_replication, breaks_replication, show_replication, NULL,
				 "disable that rule, let it leave out the archive's prefix, or "
				 "allow that bucket as a replica" },
	[BUCKET_PUBLIC_POLICY] = { "public policy", "s3:GetBucketPolicyStatus", ERR_S3_POLICY,
				   ask_policy, breaks_policy, show_policy, NULL,
				   "limit its Principals, or switch on RestrictPublicBuckets" },
	[BUCKET_PUBLIC_BLOCK] = { "public access block", "s3:GetBucketPublicAccessBlock",
				  ERR_S3_POLICY, ask_block, breaks_block, show_block, NULL,
				  "switch on Block Public Access, all four of it" },
	[BUCKET_VERSIONING] = { "versioning", "s3:GetBucketVersioning", ERR_S3_POLICY,
				ask_versioning, breaks_versioning, show_versioning, NULL,
				"enable versioning" },
	[BUCKET_LOCK] = { "Object Lock", "s3:GetBucketObjectLockConfiguration", ERR_S3_POLICY,
			  ask_lock, breaks_lock, show_lock, NULL,
			  "enable Object Lock on the bucket, or store without a lock" },
	[BUCKET_ENCRYPTION] = { "default encryption", "s3:GetEncryptionConfiguration",
				ERR_S3_POLICY, ask_encryption, breaks_encryption, show_encryption,
				want_encryption,
				"change the bucket's default encryption, or what is demanded" },
};

const char *bucket_rule_name(enum bucket_rule rule)
{
	must((unsigned)rule < BUCKET_RULES);
	return rules[rule].name;
}

char *bucket_fact_show(const struct bucket_facts *facts, enum bucket_rule rule, char *to,
		       size_t room)
{
	struct buffer text = { 0 };

	must((unsigned)rule < BUCKET_RULES && room > 0);
	switch (facts->sight[rule]) {
	case BUCKET_SEEN:
		rules[rule].show(facts, &text);
		break;
	case BUCKET_NOT_PERMITTED:
		buffer_addf(&text, "not checked: allow %s", rules[rule].action);
		break;
	case BUCKET_NOT_KNOWN:
		buffer_add_text(&text, "not checked: the server does not know the question");
		break;
	case BUCKET_NOT_ASKED:
		buffer_add_text(&text, "not checked");
		break;
	}
	snprintf(to, room, "%.*s", (int)text.bytes, text.at ? text.at : "");
	buffer_free(&text);
	return to;
}

/* The end of an ARN of a key: "1234abcd-...". An alias has no id of its own. */
static const char *id_of_key(const char *key)
{
	const char *slash = begins_with(key, "arn:") ? strstr(key, ":key/") : NULL;

	return slash ? slash + strlen(":key/") : key;
}

bool bucket_key_is(const char *one, const char *other)
{
	if (begins_with(one, "arn:") && begins_with(other, "arn:"))
		return strcmp(one, other) == 0;
	return strcmp(id_of_key(one), id_of_key(other)) == 0;
}

/* ---- the guard ---- */

/* What needs no question. */
static enum err check_partition(const struct check *check)
{
	const struct aws_endpoint *endpoint = &check->config->endpoint;
	const char *wanted = check->policy->partition;

	if (!wanted ||
	    (aws_endpoint_is_of_aws(endpoint) && strcmp(endpoint->partition->name, wanted) == 0))
		return OK;
	return RAISE(
		ERR_S3_RESIDENCY,
		"the rule \"region\" wants bucket %.64s in partition %.40s, and %s is not of it; "
		"choose a bucket and a region there",
		check->config->bucket, wanted, endpoint->host);
}

static enum err check_key(const struct check *check, const char *key)
{
	const struct aws_endpoint *endpoint = &check->config->endpoint;
	struct aws_arn arn;
	enum err e;

	if (!key || !begins_with(key, "arn:") || !aws_endpoint_is_of_aws(endpoint))
		return OK;
	if ((e = aws_arn_parse("the KMS key", key, &arn)))
		return e;
	if (text_equal(arn.region, text_of(endpoint->region)) &&
	    text_equal(arn.partition, text_of(endpoint->partition->name)))
		return OK;
	return RAISE(
		ERR_S3_RESIDENCY,
		"the KMS key %.200s is not in the region of bucket %.64s, %s; S3 takes keys of "
		"its own region alone: name one there",
		key, check->config->bucket, endpoint->region);
}

static bool differ(const char *one, const char *other)
{
	return one && other && strcmp(one, other) != 0;
}

static enum err check_terms(const struct check *check)
{
	const struct bucket_policy *policy = check->policy;
	const struct s3_config *config = check->config;
	enum err e;

	must(policy->replicas_count <= BUCKET_REPLICAS_MAX);
	if ((policy->kms_key || policy->bucket_key) &&
	    (!policy->encryption || !begins_with(policy->encryption, "aws:kms")))
		return RAISE(ERR_INPUT_USAGE,
			     "a KMS key or a bucket key is demanded of bucket %.64s without the "
			     "encryption aws:kms; demand that, too",
			     config->bucket);
	if (differ(policy->encryption, config->encryption) ||
	    (policy->kms_key && config->kms_key &&
	     !bucket_key_is(policy->kms_key, config->kms_key)))
		return RAISE(ERR_INPUT_USAGE,
			     "objects in bucket %.64s would be stored with %.40s %.120s, and the "
			     "bucket is to have another encryption; make them agree",
			     config->bucket, config->encryption,
			     config->kms_key ? config->kms_key : "");
	if ((e = check_partition(check)) || (e = check_key(check, policy->kms_key)))
		return e;
	return check_key(check, config->kms_key);
}

static void log_rule(const struct check *check, enum bucket_rule rule, const char *event)
{
	char found[FACT_BYTES];

	log_event(LOG_WARN, event, "!bucket=\"%s\" rule=\"%s\" found=\"%s\"", check->config->bucket,
		  rules[rule].name, bucket_fact_show(check->facts, rule, found, sizeof found));
}

/* A bucket was there a moment ago: who says that it is not does not know the question. */
static bool is_of_the_server(enum err e)
{
	return e == ERR_S3_LACKS || e == ERR_S3_REFUSED || e == ERR_S3_BUCKET;
}

static enum err look(struct check *check, enum bucket_rule rule)
{
	enum bucket_sight *sight = &check->facts->sight[rule];
	enum err e = rules[rule].ask(check);

	if (e == OK)
		*sight = BUCKET_SEEN;
	else if (e == ERR_S3_DENIED && rule != BUCKET_REGION)
		*sight = BUCKET_NOT_PERMITTED;
	else if (is_of_the_server(e) && (rule != BUCKET_REGION || e == ERR_S3_LACKS))
		*sight = BUCKET_NOT_KNOWN;
	else
		return e;
	err_note_clear();
	return OK;
}

static void judge(const struct check *check, enum bucket_rule rule)
{
	enum bucket_demand demand = check->policy->demand[rule];
	bool is_seen = check->facts->sight[rule] == BUCKET_SEEN;
	bool is_broken = is_seen ? rules[rule].breaks(check) : demand == BUCKET_DEMANDED;

	check->facts->broken[rule] = is_broken && demand != BUCKET_TOLD;
	if (!is_seen)
		log_rule(check, rule, "bucket.unchecked");
	else if (is_broken && demand == BUCKET_TOLD)
		log_rule(check, rule, "bucket.unfit");
}

static enum err refuse(const struct check *check, enum bucket_rule first)
{
	const struct rule *rule = &rules[first];
	bool is_seen = check->facts->sight[first] == BUCKET_SEEN;
	struct buffer text = { 0 };
	char found[FACT_BYTES];
	enum err e;

	buffer_addf(&text, "bucket %.64s breaks the rule \"%s\": %s", check->config->bucket,
		    rule->name, bucket_fact_show(check->facts, first, found, sizeof found));
	if (rule->want && is_seen) {
		buffer_add_text(&text, ", wanted is ");
		rule->want(check, &text);
	}
	if (is_seen)
		buffer_addf(&text, "; %s", rule->change);
	for (unsigned i = first + 1; i < BUCKET_RULES; i++)
		if (check->facts->broken[i])
			buffer_addf(&text, "; \"%s\" is broken, too", rules[i].name);
	e = RAISE(rule->broken, "%.*s", (int)text.bytes, text.at ? text.at : "");
	buffer_free(&text);
	return e;
}

static enum err check_all(struct check *check)
{
	enum err e = check_terms(check);

	for (unsigned i = 0; i < BUCKET_RULES && !e; i++)
		e = look(check, i);
	if (e)
		return e;
	for (unsigned i = 0; i < BUCKET_RULES; i++)
		judge(check, i);
	for (unsigned i = 0; i < BUCKET_RULES; i++)
		if (check->facts->broken[i])
			return refuse(check, i);
	return OK;
}

enum err bucket_guard_check(struct s3 *s3, const struct bucket_policy *policy, nsec until,
			    struct bucket_facts *facts)
{
	struct check *check = calloc(1, sizeof *check);
	enum err e;

	*facts = (struct bucket_facts){ 0 };
	if (!check)
		return RAISE(ERR_MEMORY_EXHAUSTED, "checking a bucket");
	*check = (struct check){ .s3 = s3,
				 .config = s3_opened_as(s3),
				 .policy = policy,
				 .facts = facts,
				 .until = until };
	e = check_all(check);
	free(check);
	return e;
}
