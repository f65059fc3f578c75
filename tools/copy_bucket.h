/* The buckets of `mailhaul copy`: either side, or both, may lie in one. */
#ifndef MAILHAUL_TOOLS_COPY_BUCKET_H
#define MAILHAUL_TOOLS_COPY_BUCKET_H

#include "engine/fiber.h"
#include "tools/bucket_watch.h"

struct copy_bucket {
	struct bucket *bucket; /* NULL: the side is in none */
	struct store_s3_config s3;
};
/* Zero-initialised is valid. */
struct copy_buckets {
	struct copy_bucket source, target;
	struct http_pool *pool;
	struct aws_record *record; /* NULL: neither is in one */
	struct group *beside;
	struct bucket_watch *watch;
};

/* One side: what its options say, or that they say nothing where it is in no bucket; before
 * confinement_begin(). `way` is filled in later. ERR_INPUT_*, ERR_DISK_*. */
enum err copy_bucket_plan(const char *side, const struct account *way, const struct account *url,
			  const struct bucket_options *, const struct aws_record *,
			  struct copy_bucket *) MUST_CHECK;
/* In the fiber: what both sides are spoken with, and a look at the target's bucket. Their accounts
 * get `s3`. Suspends. */
enum err copy_buckets_open(struct copy_buckets *, struct account *source, struct account *target,
			   const struct bucket_options *of_target, bool dry_run) MUST_CHECK;
/* When everything is stored: every object of it. Suspends. */
enum err copy_buckets_audit(struct copy_buckets *) MUST_CHECK;
/* Goodbyes, and the rest of the record. Suspends. */
void copy_buckets_finish(struct copy_buckets *);
/* When everything was told. */
void copy_buckets_close(struct copy_buckets *);

#endif
