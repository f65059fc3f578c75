/* After a run: every object of an archive in a bucket is asked for by HeadObject, many at once, and
 * compared with how it was to be stored. One request an object; no object is read. Memory does not
 * grow with their number. Not for: whether the bytes are right that were there before this run
 * (archive_verify() reads them). */
#ifndef MAILHAUL_BUCKET_AUDIT_H
#define MAILHAUL_BUCKET_AUDIT_H

#include "transport/bucket_guard.h"
#include "transport/bucket_stored.h"

enum {
	BUCKET_AUDIT_IN_FLIGHT = 16, /* as far as the pool has connections */
	BUCKET_FAULTS_KEPT = 20,
	BUCKET_FAULT_KEY_BYTES = 256,
	BUCKET_FAULT_BYTES = 400,
};

/* Borrowed until return. How objects are to be stored the s3_config says: encryption, key, bucket
 * key, of those of this run also storage class, lock and legal hold. */
struct bucket_audit_wish {
	/* Its prefix says where the archive lies; its encryption, key and bucket key what is wanted
	 * where the s3_config leaves that to the bucket. Not NULL. */
	const struct bucket_policy *policy;
	/* What this run stored; NULL: nothing is known of that. Nobody may add to it. */
	struct bucket_stored *stored;
	bool only_stored; /* leave out what was there before: one request for each object stored */
};

struct bucket_fault {
	char key[BUCKET_FAULT_KEY_BYTES]; /* quoted; cut */
	char what[BUCKET_FAULT_BYTES];
};

/* What was found. Some 14 KiB: not for a fiber's frame. */
struct bucket_audit {
	uint64_t objects; /* asked for */
	uint64_t stored;  /* of them by this run */
	uint64_t bytes;	  /* of those that are there */
	/* With this, which is what was demanded, or, where nothing was, what the first one has. */
	uint64_t encrypted;
	char encryption[S3_WORD_BYTES_MAX + 1]; /* "" : with none */
	char kms_key[S3_KMS_KEY_BYTES_MAX + 1];
	/* The service has a checksum of the whole that is equal to ours; it has one, of an object
	 * that an earlier run stored; it has none. */
	uint64_t checksums_equal, checksums_kept, checksums_none;
	uint64_t locked;  /* retained, or on legal hold */
	uint64_t foreign; /* below the prefix, and none of an archive's: not asked for */
	uint64_t lost;	  /* bucket_stored_lost(): their checksums count as those of earlier runs */
	uint64_t faults;  /* objects with a fault; the first of them, in the order of answers */
	struct bucket_fault first[BUCKET_FAULTS_KEPT];
};

/* Of an object of this run a fault is: that it is not there, or has another length or checksum, or
 * at AWS none; of every object that its encryption or key is not the one demanded, or that it is
 * replaced while we look. A key that is demanded by an alias is whichever the first object has.
 *
 * returns     OK | ERR_S3_UNFIT: faults, with the first in the note | those of s3.h: the audit is
 *             not finished, and says nothing; `out` has what was seen so far
 * suspends    until `until`, on a fiber with FIBER_STACK_LARGE */
enum err bucket_audit(struct s3 *, const struct bucket_audit_wish *, nsec until,
		      struct bucket_audit *out) MUST_CHECK;

/* The line for a report, in at most 700 bytes: "12 of 12 objects encrypted with aws:kms and key
 * arn:..., checksum equal". Returns `to`. */
char *bucket_audit_show(const struct bucket_audit *, char *to, size_t room);

#endif
