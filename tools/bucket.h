/* A bucket as one side of a run: what options or job keys and AWS's own files say, made into what
 * stores are opened with (transport/store_s3.h), and the keys that all threads share. Not for: what
 * is in the bucket (transport/archive.h). */
#ifndef MAILHAUL_TOOLS_BUCKET_H
#define MAILHAUL_TOOLS_BUCKET_H

#include "engine/fiber.h"
#include "engine/opt.h"
#include "transport/store_s3.h"

/* Texts are NULL where nothing is said, and borrowed until bucket_close(). */
struct bucket_options {
	const char *profile, *region, *endpoint, *addressing;
	const char *role, *external_id, *mfa_serial, *mfa_command;
	const char *session_policy; /* a file of JSON */
	const char *source_identity;
	const char *ca_file;	      /* counts before that of AWS's settings */
	struct opt_list session_tags; /* "key=value" */
	const char *owner;
	/* Of what is stored. */
	const char *checksum; /* one of bucket_checksums */
	const char *storage_class;
	const char *encryption; /* one of bucket_encryptions */
	const char *kms_key, *kms_context;
	const char *lock_mode; /* one of bucket_lock_modes */
	const char *retain_until;
	bool bucket_key, legal_hold;
	/* What is made sure of (bucket_watch.h). */
	const char *guard, *audit; /* one of bucket_guards, bucket_audits */
	struct opt_list replicas;
};
/* Values of choices; the first is the default, and means that nothing is asked for. */
extern const char *const bucket_checksums[],
	*const bucket_encryptions[], *const bucket_lock_modes[],
					     *const bucket_addressings[],
						     *const bucket_guards[], *const bucket_audits[];

enum aws_style bucket_style(const struct bucket_options *);

/* Whether an account of this scheme lies in a bucket. */
bool bucket_is_meant(const char *scheme);

/* Of a side that is no bucket: that none of it was said. `what` is the side in words.
 * ERR_INPUT_USAGE. */
enum err bucket_refuse(const char *side, const char *what,
		       const struct bucket_options *) MUST_CHECK;
/* What cannot be together, or is written wrongly; nothing is read or asked. `side` stands in front
 * of an option's name in errors: "--source-", "--destination-", "--", or "target.s3." of a job
 * file's keys; `name` is the bucket's.
 * ERR_INPUT_USAGE. */
enum err bucket_check(const char *side, const char *name, const struct bucket_options *) MUST_CHECK;

struct bucket;
/* Read AWS's files, and find out where and as whom to ask; nobody is asked yet. Programs that give
 * keys are told to confinement_allow(). For start-up, before confinement_begin() and outside of
 * fibers: blocks.
 * way      timeouts, CA file, route and who is told of connections; may be filled in later, and is
 *          borrowed until bucket_close()
 * listener is told of each request to AWS; NULL: nobody is
 * returns  OK | ERR_INPUT_USAGE | ERR_INPUT_FILE | ERR_INPUT_SECRET | ERR_DISK_* */
enum err bucket_open(const char *side, const char *name, const struct bucket_options *,
		     const struct account *way, const struct aws_listener *listener,
		     struct bucket **) MUST_CHECK;
/* No store of its may be open. */
void bucket_close(struct bucket **);

/* What goes on beside a run from its first request to its last: the record is written, and the keys
 * of both sides (NULL: there are none) are looked at every minute, for a run that sends nothing for
 * long would else learn too late that nobody renews them. Ended by the same fiber. */
struct aws_record;
enum err bucket_beside_begin(struct aws_record *, struct bucket *source, struct bucket *target,
			     struct group **) MUST_CHECK;
void bucket_beside_end(struct group **); /* accepts NULL in it; suspends */
/* Nobody renews the keys of a bucket, so the run was asked to drain while they are still good:
 * words for why it stopped; else "stopped on request". Any thread. */
const char *bucket_stop_words(void);

/* Ask where the bucket `name` is, before anything else of it is asked: where its region was said by
 * nobody in person, but by an environment or profile that is right for other buckets, the one that
 * S3 names is taken from then on, within the partition, and logged (bucket.region). Hosts of that
 * region must be allowed by the residency policy as any others. On a fiber with FIBER_STACK_LARGE,
 * before other threads use the bucket. Suspends. ERR_S3_REGION: it was said, and is another. */
enum err bucket_locate(struct bucket *, const char *name, struct http_pool *,
		       nsec until) MUST_CHECK;

/* What a store in the bucket `name` is opened with by the fibers of one thread, whose connections
 * `pool` has. The caller adds ledger_id where it will be locked. Borrows from the bucket.
 * ERR_INPUT_USAGE: there is no such place. */
enum err bucket_store(const struct bucket *, const char *name, struct http_pool *pool,
		      struct store_s3_config *) MUST_CHECK;
/* The CA file that AWS's settings name; NULL: none. An account's own counts before it. */
const char *bucket_ca_file(const struct bucket *);

/* Connections of one thread with one host: as many as it may have parts and answers on their way.
 */
enum { BUCKET_CONNECTIONS = 16 };

/* Rows of an option table; `field` of `holder` is a struct bucket_options. `prefix` is "source-",
 * "destination-" or "", `where` the bucket in words. */
#define BUCKET_ACCESS_OPTIONS(prefix, where, holder, field)                                        \
	{ .name = prefix "aws-profile",                                                            \
	  OPT_STORES_TEXT(holder, field.profile),                                                  \
	  .value = "NAME",                                                                         \
	  .help = "Keys, region and endpoint of " where " are those of this profile of "           \
		  "~/.aws/config and ~/.aws/credentials. Without it: as AWS's tools find them "    \
		  "(docs/AWS.md)." },                                                              \
		{ .name = prefix "aws-region",                                                     \
		  OPT_STORES_TEXT(holder, field.region),                                           \
		  .value = "REGION",                                                               \
		  .help = "The region of " where "." },                                            \
		{ .name = prefix "aws-endpoint",                                                   \
		  OPT_STORES_TEXT(holder, field.endpoint),                                         \
		  .value = "URL",                                                                  \
		  .help = "The S3 server of " where ", where it is not AWS's own: "                \
			  "https://HOST[:PORT]." },                                                \
		{ .name = prefix "aws-addressing",                                                 \
		  OPT_STORES_CHOICE(holder, field.addressing),                                     \
		  .choices = bucket_addressings,                                                   \
		  .initial = "auto",                                                               \
		  .help = "How requests name " where ": virtual: in the host; path: in the path; " \
			  "auto: as AWS wants it for its own hosts, in the path at others." },     \
		{ .name = prefix "aws-role",                                                       \
		  OPT_STORES_TEXT(holder, field.role),                                             \
		  .value = "ARN",                                                                  \
		  .help = "Assume this role with the keys that are found, for " where "." },       \
		{ .name = prefix "aws-external-id",                                                \
		  OPT_STORES_TEXT(holder, field.external_id),                                      \
		  .value = "ID",                                                                   \
		  .help = "The external id that the role's owner asks for." },                     \
		{ .name = prefix "aws-mfa-serial",                                                 \
		  OPT_STORES_TEXT(holder, field.mfa_serial),                                       \
		  .value = "ARN",                                                                  \
		  .help = "The MFA device whose code the role asks for." },                        \
		{ .name = prefix "aws-mfa-command",                                                \
		  OPT_STORES_TEXT(holder, field.mfa_command),                                      \
		  .value = "COMMAND",                                                              \
		  .help = "Prints the six digits of the MFA device, of this or of the profile's "  \
			  "role: a full path and arguments, no shell. Run for every renewal." },   \
		{ .name = prefix "aws-session-policy",                                             \
		  OPT_STORES_FILE(holder, field.session_policy),                                   \
		  .value = "FILE",                                                                 \
		  .help = "A policy (JSON): the role may do no more than it allows." },            \
		{ .name = prefix "aws-source-identity",                                            \
		  OPT_STORES_TEXT(holder, field.source_identity),                                  \
		  .value = "NAME",                                                                 \
		  .help = "What CloudTrail is to call whoever assumed the role." },                \
		{ .name = prefix "aws-session-tag",                                                \
		  OPT_STORES_LIST(holder, field.session_tags),                                     \
		  .value = "KEY=VALUE",                                                            \
		  .help = "A tag of the role's session. May be given more than once." },           \
	{                                                                                          \
		.name = prefix "s3-owner", OPT_STORES_TEXT(holder, field.owner),                   \
		.value = "ACCOUNT",                                                                \
		.help = "The account (12 digits) that must own " where "; requests are refused "   \
			"otherwise."                                                               \
	}
#define BUCKET_STORING_OPTIONS(prefix, holder, field)                                              \
	{ .name = prefix "s3-encryption",                                                          \
	  OPT_STORES_CHOICE(holder, field.encryption),                                             \
	  .choices = bucket_encryptions,                                                           \
	  .initial = "bucket",                                                                     \
	  .help = "How S3 encrypts what is stored: bucket: as the bucket says; AES256: with keys " \
		  "of S3; aws:kms, aws:kms:dsse: with a key of KMS." },                            \
		{ .name = prefix "s3-kms-key",                                                     \
		  OPT_STORES_TEXT(holder, field.kms_key),                                          \
		  .value = "ARN",                                                                  \
		  .help = "The key of KMS, by ARN or id. Without it: the account's own for S3." }, \
		{ .name = prefix "s3-kms-context",                                                 \
		  OPT_STORES_TEXT(holder, field.kms_context),                                      \
		  .value = "JSON",                                                                 \
		  .help = "The encryption context, an object of texts: {\"tenant\":\"42\"}." },    \
		{ .name = prefix "s3-bucket-key",                                                  \
		  OPT_STORES_FLAG(holder, field.bucket_key),                                       \
		  .help = "With aws:kms: one key of the bucket for many objects, so that KMS is "  \
			  "asked less." },                                                         \
		{ .name = prefix "s3-storage-class",                                               \
		  OPT_STORES_TEXT(holder, field.storage_class),                                    \
		  .value = "CLASS",                                                                \
		  .help = "Such as STANDARD_IA or GLACIER_IR. The lock object is STANDARD." },     \
		{ .name = prefix "s3-object-lock",                                                 \
		  OPT_STORES_CHOICE(holder, field.lock_mode),                                      \
		  .choices = bucket_lock_modes,                                                    \
		  .initial = "bucket",                                                             \
		  .help = "Object Lock of what is stored: bucket: as the bucket says; "            \
			  "GOVERNANCE, COMPLIANCE: until the time of --destination-s3-"            \
			  "retain-until." },                                                       \
		{ .name = prefix "s3-retain-until",                                                \
		  OPT_STORES_TEXT(holder, field.retain_until),                                     \
		  .value = "TIME",                                                                 \
		  .help = "A day (2033-12-31, its beginning in UTC) or a moment "                  \
			  "(2033-12-31T12:00:00Z)." },                                             \
		{ .name = prefix "s3-legal-hold",                                                  \
		  OPT_STORES_FLAG(holder, field.legal_hold),                                       \
		  .help = "Put a legal hold on what is stored." },                                 \
		{ .name = prefix "s3-guard",                                                       \
		  OPT_STORES_CHOICE(holder, field.guard),                                          \
		  .choices = bucket_guards,                                                        \
		  .initial = "usual",                                                              \
		  .help = "What is looked at before the first byte: region, replication, public "  \
			  "access, versioning, Object Lock, default encryption. usual: what is "   \
			  "known to be unsafe refuses to start; strict: so does what cannot be "   \
			  "found out or is not set; tell: nothing does." },                        \
		{ .name = prefix "s3-replica",                                                     \
		  OPT_STORES_LIST(holder, field.replicas),                                         \
		  .value = "BUCKET",                                                               \
		  .help = "A bucket, by name or ARN, that the target's bucket may replicate to. "  \
			  "May be given more than once; without it replication refuses." },        \
		{ .name = prefix "s3-audit",                                                       \
		  OPT_STORES_CHOICE(holder, field.audit),                                          \
		  .choices = bucket_audits,                                                        \
		  .initial = "run",                                                                \
		  .help = "Which objects are asked for at the end of a run (HEAD), and compared "  \
			  "with how they were to be stored: run: those of this run; all: all of "  \
			  "the archive's; no: none." },                                            \
	{                                                                                          \
		.name = prefix "s3-checksum", OPT_STORES_CHOICE(holder, field.checksum),           \
		.choices = bucket_checksums, .initial = "crc64nvme",                               \
		.help = "The checksum that the service keeps of each object: crc64nvme, or "       \
			"crc32c for servers that know only that."                                  \
	}

#endif
