/* An archive in a bucket of the stand-in for S3, which outlives the processes of a world: the
 * store, S3, HTTP and signatures of the product lie between it and the archive's sink. Others have
 * objects and uploads in the same bucket, below the same prefix too. What a process asked for last
 * is done when it is dead, or never (the model's knobs say how often). Not for: what S3 does
 * (s3_model.h). */
#ifndef MAILHAUL_WORLD_BUCKET_H
#define MAILHAUL_WORLD_BUCKET_H

#include "tests/sim/s3_model.h"
#include "tests/sim/world.h"

enum { WORLD_BUCKET_PORT = 443 };

/* Turn its knobs before the process that they are for; faults of the model are forgotten behind
 * each. */
struct world_bucket {
	struct s3_model *model;
	struct s3_model_bucket *bucket;
	size_t part_bytes, part_bytes_least;
	bool keys_end; /* keys that are refused as expired are not renewed in this process */
	/* Mail comes from the archive in the bucket and goes to one on the disk. */
	bool is_source;
	unsigned writes; /* asked for until it became one */
	unsigned late;	 /* requests done late, of all runs that were judged */
	struct world_bucket_process *process;
};

struct world_bucket *world_bucket_open(uint64_t seed);
void world_bucket_close(struct world_bucket **);
/* From now on is_source holds. */
void world_bucket_becomes_source(struct world_bucket *);

/* ---- inside of a process ---- */

/* When its network is there. */
void world_bucket_listen(struct world_bucket *);
/* In a shard's fiber, before and after all use of the account. ledger_id: whose runs they are;
 * NULL: nothing is written. */
void world_bucket_begin(struct world_bucket *, const uint8_t *ledger_id);
void world_bucket_end(struct world_bucket *);
/* Good between the two. */
struct account world_bucket_account(const struct world_bucket *);

/* ---- what must hold ---- */

/* All that is late is done now. True: something came behind the last look of the last process. */
bool world_bucket_settle(struct world_bucket *);
/* All that is not the archive's is as it was, nothing was ever replaced or deleted but the lock,
 * which is gone; no upload is left. In the judge's process. */
void world_bucket_judge(struct world *);
/* What every process must keep to: conditions and checksums with all that it writes; a reader
 * writes nothing. Prints. */
bool world_bucket_is_harmless(const struct world_bucket *);
uint64_t world_bucket_fingerprint(const struct world_bucket *);
/* Others store objects below the prefix, where an archive is there. */
void world_bucket_crowd(struct world *);

#endif
