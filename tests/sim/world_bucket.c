#include "tests/sim/world_bucket.h"

#include <stdio.h>
#include <stdlib.h>

#include "engine/clock.h"
#include "tests/sim/s3_model_net.h"
#include "transport/http_pool.h"
#include "transport/store_s3.h"

enum {
	MODEL_BYTES = 64 * 1024 * 1024,
	PART = 4096,
	LEAST = 2048,
	CONNECTIONS = 3,
	BEFORE_S = 1699999000,
};

#define PREFIX "mail/archive/"
static const char lock_key[] = PREFIX ".lock", shown[] = "s3://bucket/mail/archive/";
static const char *const users[] = { "KEY-0", "KEY-1", "KEY-2", "KEY-3" };
static const char secret[] = "a-secret-that-must-not-be-seen", token[] = "a-token";

/* Of others. The first ones are there from the beginning: beside the prefix, or nothing. */
static const struct {
	const char *key, *bytes;
	bool is_later;
} objects[] = {
	{ PREFIX, "", false },
	{ "mail/archives/alice/packs/000000000001.tar", "hands off", false },
	{ PREFIX "photo.jpg", "not yours", true },
	{ PREFIX "photos/summer/000000000001.jpg", "nor this", true },
};
static const char *const uploads[] = { PREFIX "photo.jpg", PREFIX "box/packs/1.tar",
				       PREFIX "x/y/000000000001/tar",
				       "mail/archives/alice/packs/000000000001.tar" };

/* What one process has in its memory. */
struct world_bucket_process {
	unsigned key;
	bool are_refused;
	struct http_pool *pool;
	struct s3_keys keys;
	struct store_s3_config config;
};

struct world_bucket *world_bucket_open(uint64_t seed)
{
	struct world_bucket *bucket = calloc(1, sizeof *bucket);

	must(bucket && (bucket->process = calloc(1, sizeof *bucket->process)));
	bucket->model = s3_model_open(seed, MODEL_BYTES);
	bucket->part_bytes = PART;
	bucket->part_bytes_least = LEAST;
	bucket->model->part_bytes_min = LEAST;
	snprintf(bucket->model->endpoints[0].host, sizeof bucket->model->endpoints[0].host,
		 "127.0.0.1");
	bucket->bucket = s3_model_add_bucket(bucket->model, "bucket", "us-east-1");
	bucket->bucket->versioning = S3_MODEL_VERSIONED; /* so that the judge sees what was */
	for (unsigned i = 0; i < ARRAY_COUNT(users); i++)
		(void)s3_model_add_user(bucket->model, users[i], secret, token);
	for (unsigned i = 0; i < ARRAY_COUNT(uploads); i++)
		(void)s3_model_plant_upload(bucket->model, bucket->bucket, uploads[i], BEFORE_S);
	for (unsigned i = 0; i < ARRAY_COUNT(objects); i++)
		if (!objects[i].is_later)
			(void)s3_model_plant(bucket->model, bucket->bucket, objects[i].key,
					     objects[i].bytes, strlen(objects[i].bytes), BEFORE_S);
	return bucket;
}

void world_bucket_close(struct world_bucket **bucket)
{
	if (!*bucket)
		return;
	s3_model_close(&(*bucket)->model);
	free((*bucket)->process);
	free(*bucket);
	*bucket = NULL;
}

static unsigned writes(const struct world_bucket *bucket)
{
	const unsigned *requests = bucket->model->counts.requests;

	return requests[S3_MODEL_PUT] + requests[S3_MODEL_DELETE] + requests[S3_MODEL_CREATE] +
	       requests[S3_MODEL_PART] + requests[S3_MODEL_COMPLETE] + requests[S3_MODEL_ABORT];
}

void world_bucket_becomes_source(struct world_bucket *bucket)
{
	bucket->is_source = true;
	bucket->writes = writes(bucket);
}

/* ---- inside of a process ---- */

/* Each process is given keys that are good. */
void world_bucket_listen(struct world_bucket *bucket)
{
	for (unsigned i = 0; i < bucket->model->users_count; i++)
		bucket->model->users[i].expires_s = 0;
	s3_model_listen(bucket->model, WORLD_BUCKET_PORT);
}

static enum err lend(void *context, nsec until, struct s3_key_loan *loan)
{
	struct world_bucket *bucket = context;

	(void)until;
	if (bucket->process->are_refused && bucket->keys_end)
		return RAISE(ERR_AWS_EXPIRED, "nobody renews the keys");
	*loan = (struct s3_key_loan){ .held = bucket,
				      .credentials = { .access_key_id =
							       text_of(users[bucket->process->key]),
						       .secret = text_of(secret),
						       .session_token = text_of(token) } };
	return OK;
}

static void take_back(void *context, struct s3_key_loan *loan, bool refused)
{
	struct world_bucket *bucket = context;
	const char *id = loan->credentials.access_key_id.at;

	must(loan->held == bucket);
	if (!refused || strcmp(id, users[bucket->process->key]) != 0)
		return; /* there are others by now */
	bucket->process->are_refused = true;
	bucket->process->key = (bucket->process->key + 1) % ARRAY_COUNT(users);
}

/* For the store the stand-in is AWS. */
void world_bucket_begin(struct world_bucket *bucket, const uint8_t *ledger_id)
{
	static const struct aws_partition aws = { .name = "aws",
						  .dns_suffix = "0.0.1",
						  .dual_stack_suffix = "0.0.1" };
	struct world_bucket_process *process = bucket->process;

	must(http_pool_open(CONNECTIONS, &process->pool) == OK);
	process->keys = (struct s3_keys){ lend, take_back, bucket };
	process->config = (struct store_s3_config){
		.s3 = { .pool = process->pool,
			.keys = &process->keys,
			.owner = "111122223333",
			.endpoint = { .host = "127.0.0.1",
				      .port = WORLD_BUCKET_PORT,
				      .path = "/bucket",
				      .region = "us-east-1",
				      .partition = &aws } },
		.ledger_id = ledger_id,
		.machine = "mover-1",
		.part_bytes = bucket->part_bytes,
		.part_bytes_least = bucket->part_bytes_least,
	};
}

void world_bucket_end(struct world_bucket *bucket)
{
	must(http_pool_counts(bucket->process->pool).lent == 0);
	http_pool_finish(bucket->process->pool, clock_after(NSEC_SECOND));
	http_pool_close(&bucket->process->pool);
}

struct account world_bucket_account(const struct world_bucket *bucket)
{
	return (struct account){ .scheme = "s3",
				 .user = "",
				 .host = "bucket",
				 .path = "/" PREFIX,
				 .shown = shown,
				 .s3 = &bucket->process->config,
				 .io_timeout = 60 * NSEC_SECOND,
				 .connect_timeout = 30 * NSEC_SECOND };
}

/* ---- what must hold ---- */

bool world_bucket_settle(struct world_bucket *bucket)
{
	const struct s3_model_counts *counts = &bucket->model->counts;

	s3_model_settle(bucket->model, s3_model_world_time());
	bucket->late += counts->late;
	/* With the last request, which deletes the lock, when uploads have been looked for. */
	return counts->late && counts->late_at + 1 >= counts->all;
}

uint64_t world_bucket_fingerprint(const struct world_bucket *bucket)
{
	return s3_model_fingerprint(bucket->bucket, lock_key);
}

bool world_bucket_is_harmless(const struct world_bucket *bucket)
{
	const struct s3_model_counts *counts = &bucket->model->counts;

	bool wrote = bucket->is_source && writes(bucket) != bucket->writes;

	if (!counts->unconditional && !counts->unchecked && !wrote)
		return true;
	printf("  %u writes to the bucket were without a condition, %u without a checksum%s\n",
	       counts->unconditional, counts->unchecked, wrote ? ", some by a reader" : "");
	return false;
}

/* Behind the first version of a key there is nothing. */
static void judge_object(struct world *world, const struct s3_model_object *object)
{
	if (strcmp(object->key, lock_key) == 0)
		return;
	if (s3_model_versions(world->bucket->bucket, object->key) > 1 || object->is_delete_marker)
		world_fault(world, "%s was replaced or deleted", object->key);
}

static void judge_foreign(struct world *world)
{
	const struct s3_model_bucket *bucket = world->bucket->bucket;
	const struct s3_model_object *object;

	for (unsigned i = 0; i < ARRAY_COUNT(uploads); i++)
		if (s3_model_uploads(bucket, uploads[i]) != 1)
			world_fault(world, "the upload of %s by others is gone", uploads[i]);
	for (unsigned i = 0; i < ARRAY_COUNT(objects); i++) {
		object = s3_model_object_of(bucket, objects[i].key);
		if (object ? object->length != strlen(objects[i].bytes) ||
				     memcmp(object->bytes, objects[i].bytes, object->length) != 0
			   : !objects[i].is_later)
			world_fault(world, "%s of others is not what it was", objects[i].key);
	}
}

void world_bucket_judge(struct world *world)
{
	const struct s3_model_bucket *bucket = world->bucket->bucket;

	for (const struct s3_model_object *o = bucket->objects; o; o = o->next)
		judge_object(world, o);
	judge_foreign(world);
	if (s3_model_object_of(bucket, lock_key))
		world_fault(world, "the lock was left behind");
	if (s3_model_uploads(bucket, "") != ARRAY_COUNT(uploads))
		world_fault(world, "%u uploads were left behind",
			    s3_model_uploads(bucket, "") - (unsigned)ARRAY_COUNT(uploads));
}

void world_bucket_crowd(struct world *world)
{
	struct s3_model_bucket *bucket = world->bucket->bucket;

	if (!s3_model_object_of(bucket, PREFIX "mailhaul-archive.json"))
		return; /* they would be there before it */
	for (unsigned i = 0; i < ARRAY_COUNT(objects); i++)
		if (!s3_model_object_of(bucket, objects[i].key))
			(void)s3_model_plant(world->bucket->model, bucket, objects[i].key,
					     objects[i].bytes, strlen(objects[i].bytes), BEFORE_S);
}
