#include "tools/copy_bucket.h"

#include "engine/clock.h"
#include "engine/log.h"
#include "tools/aws_record.h"
#include "transport/http_pool.h"

#define LOCATE_TIMEOUT	(300 * NSEC_SECOND)
#define GOODBYE_TIMEOUT (10 * NSEC_SECOND)

enum err copy_bucket_plan(const char *side, const struct account *way, const struct account *url,
			  const struct bucket_options *options, const struct aws_record *record,
			  struct copy_bucket *made)
{
	return bucket_is_meant(url->scheme)
		       ? bucket_open(side, url->host, options, way, aws_record_listener(record),
				     &made->bucket)
		       : bucket_refuse(side, url->shown, options);
}

static enum err open_side(struct copy_bucket *side, struct http_pool *pool, struct account *account)
{
	enum err e;

	if (!side->bucket)
		return OK;
	account->s3 = &side->s3;
	if ((e = bucket_locate(side->bucket, account->host, pool, clock_after(LOCATE_TIMEOUT))))
		return e;
	return bucket_store(side->bucket, account->host, pool, &side->s3);
}

enum err copy_buckets_open(struct copy_buckets *buckets, struct account *source,
			   struct account *target, const struct bucket_options *of_target,
			   bool dry_run)
{
	enum err e;

	if ((e = http_pool_open(BUCKET_CONNECTIONS, &buckets->pool)) ||
	    (buckets->record &&
	     (e = bucket_beside_begin(buckets->record, buckets->source.bucket,
				      buckets->target.bucket, &buckets->beside))) ||
	    (e = open_side(&buckets->source, buckets->pool, source)) ||
	    (e = open_side(&buckets->target, buckets->pool, target)) || !buckets->target.bucket)
		return e;
	e = bucket_watch_open(target, of_target, dry_run, &buckets->watch);
	bucket_watch_use(buckets->watch, &buckets->target.s3);
	return e;
}

static void attend(void *context)
{
	(void)context;
	log_attend();
}

enum err copy_buckets_audit(struct copy_buckets *buckets)
{
	return buckets->watch ? bucket_watch_audit(buckets->watch, attend, NULL) : OK;
}

void copy_buckets_finish(struct copy_buckets *buckets)
{
	bucket_beside_end(&buckets->beside);
	if (buckets->pool)
		http_pool_finish(buckets->pool, clock_after(GOODBYE_TIMEOUT));
	http_pool_close(&buckets->pool);
	if (buckets->record)
		aws_record_finish(buckets->record, clock_after(GOODBYE_TIMEOUT));
}

void copy_buckets_close(struct copy_buckets *buckets)
{
	bucket_watch_close(&buckets->watch);
	bucket_close(&buckets->source.bucket);
	bucket_close(&buckets->target.bucket);
	aws_record_close(&buckets->record);
}
