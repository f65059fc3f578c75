/* Whether a bucket is set up as a job needs it, asked before the first byte goes there: where it
 * is, what it passes on to others, who may read it, and what it does to what is stored. Seven
 * requests, once a run. What is known to be unsafe refuses, and names the rule; what cannot be
 * found out (the permission is missing, or the server knows no such thing) is told in the log, and
 * refuses where the policy wants to know. What the guard saw can change behind it: what became of
 * each object bucket_audit.h asks.
 *
 * Whose the bucket is needs no rule: s3_config.owner goes with every request, and S3 refuses. */
#ifndef MAILHAUL_BUCKET_GUARD_H
#define MAILHAUL_BUCKET_GUARD_H

#include "transport/s3.h"

enum bucket_rule {
	BUCKET_REGION,	      /* of AWS: the endpoint's, and one of those that the policy names */
	BUCKET_REPLICATION,   /* none of what lies below the prefix but to the policy's replicas */
	BUCKET_PUBLIC_POLICY, /* its policy does not open it to everybody (GetBucketPolicyStatus) */
	BUCKET_PUBLIC_BLOCK,  /* S3 Block Public Access: all four, where demanded */
	BUCKET_VERSIONING,    /* Enabled, where demanded */
	BUCKET_LOCK,	      /* Object Lock, where demanded or where s3_config stores with it */
	BUCKET_ENCRYPTION,    /* what the policy names is what the bucket does by itself */
	BUCKET_RULES
};

/* How much a rule is worth. */
enum bucket_demand {
	BUCKET_USUAL,	 /* what breaks it refuses; what cannot be found out is told */
	BUCKET_DEMANDED, /* refuses both; and of those that say so, what is not there at all */
	BUCKET_TOLD,	 /* refuses neither */
};

enum { BUCKET_REPLICAS_MAX = 16 };

/* What the job wants. Zero-initialised is valid: a bucket of AWS in its endpoint's region, that
 * replicates nothing and that no policy opens to everybody. All is borrowed until return. */
struct bucket_policy {
	enum bucket_demand demand[BUCKET_RULES];
	/* Where mail may lie: "eu-central-1". Count 0: in the endpoint's region. A server that is
	 * none of AWS's says what it likes ("default"), and is held to it only by this list. */
	const char *const *regions;
	size_t regions_count;
	const char *partition; /* "aws-eusc"; NULL: the endpoint's */
	/* Buckets that may have copies, by ARN or name. An ARN of a bucket does not say its region,
	 * so whoever puts one here answers for that. At most BUCKET_REPLICAS_MAX. */
	const char *const *replicas;
	size_t replicas_count;
	/* "AES256", "aws:kms", "aws:kms:dsse"; NULL: any. The key by ARN or id, or an alias where
	 * the bucket has that very alias; NULL: any. */
	const char *encryption, *kms_key;
	bool bucket_key;    /* demanded, of aws:kms */
	const char *prefix; /* of the archive: rules for others are none of ours. NULL: "" */
};

enum bucket_sight {
	BUCKET_NOT_ASKED,
	BUCKET_SEEN,
	BUCKET_NOT_PERMITTED, /* ERR_S3_DENIED */
	BUCKET_NOT_KNOWN,     /* the server knows no such thing, or says nothing of use */
};

enum { BUCKET_REPLICA_BYTES_MAX = 255, BUCKET_REPLICAS_SHOWN = 4 };

/* What was found, for plan and report. Some 2 KiB. */
struct bucket_facts {
	enum bucket_sight sight[BUCKET_RULES];
	bool broken[BUCKET_RULES];
	char region[S3_REGION_BYTES_MAX + 1];
	struct {
		unsigned rules;	  /* all that there are */
		unsigned active;  /* of them enabled, and for what lies below the prefix */
		unsigned allowed; /* of those, to a bucket that the policy names */
		/* Where the active ones lead, each once; the first that there is room for. */
		unsigned replicas_count;
		char replicas[BUCKET_REPLICAS_SHOWN][BUCKET_REPLICA_BYTES_MAX + 1];
		char refused[BUCKET_REPLICA_BYTES_MAX + 1]; /* the first that is not allowed; "" */
		char refused_rule[64];			    /* by this rule; its id, cut */
	} replication;
	bool is_public; /* by its policy */
	struct s3_public_access_block block;
	struct s3_versioning versioning;
	struct s3_object_lock lock;
	char encryption[S3_WORD_BYTES_MAX + 1]; /* by default; "": none */
	char kms_key[S3_KMS_KEY_BYTES_MAX + 1];
	bool bucket_key;
};

/* Ask, compare, log what could not be found out. `facts` has what was seen also of an error.
 * returns     OK | ERR_S3_RESIDENCY: region or replication | ERR_S3_POLICY: another rule; each with
 *             the first rule that is broken, what was found and what to change, and the names of
 *             all others | ERR_INPUT_USAGE: the policy contradicts itself or the s3_config | those
 *             of s3.h, of which ERR_S3_DENIED is that of HeadBucket: without s3:ListBucket there is
 *             no run, and the bucket may be another account's
 * suspends    until `until`, on a fiber with FIBER_STACK_LARGE */
enum err bucket_guard_check(struct s3 *, const struct bucket_policy *, nsec until,
			    struct bucket_facts *) MUST_CHECK;

/* A row of a report: the rule's name ("replication"), and what was found, in words, or why nothing
 * was ("not checked: allow s3:GetReplicationConfiguration"). Returns `to`. */
const char *bucket_rule_name(enum bucket_rule);
char *bucket_fact_show(const struct bucket_facts *, enum bucket_rule, char *to, size_t room);

/* Whether two ways of naming a KMS key mean the same one: ARN and id do; an alias is only itself.
 */
bool bucket_key_is(const char *one, const char *other);

#endif
