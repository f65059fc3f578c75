/* The store in a bucket against the strict stand-in for S3, over all that lies between them: what
 * the product asks is what AWS takes, of every kind of bucket; and one accident at any request
 * loses, doubles and alters nothing, whether the run gets over it or ends there and then.
 *
 *	SIM_ALL=1 make sim         at every request
 *	ACCIDENT=3 .../store_s3_test    only the third of the table, at every request */
#include <stdlib.h>

#include "engine/clock.h"
#include "engine/fiber.h"
#include "engine/limits.h"
#include "engine/shard.h"
#include "tests/sim/disk_sim.h"
#include "tests/sim/s3_model_net.h"
#include "tests/sim/sim.h"
#include "tests/test.h"
#include "transport/conn.h"
#include "transport/store_s3.h"

enum {
	PORT = 443,
	PART = 1024,
	LEAST = 640,
	ITEMS = 4,
	BYTES_MAX = 8 * PART,
	MODEL_BYTES = 64 * 1024 * 1024,
	REQUESTS_LEAST = 40,
	EVERY = SANITIZED ? 7 : 1,
	FOR_EVER = 1000000,
};

/* The server and the bucket. */
struct setting {
	const char *name;
	unsigned lacks;
	enum crc_kind checksum;
	bool versioned, with_all; /* Object Lock, SSE-KMS, storage class */
	bool served;		  /* fibers of their own send */
	size_t part_bytes;	  /* 0: PART */
	enum store_s3_proof packs_by, others_by;
};

static const struct setting of_aws = { .name = "of AWS" };
static const struct setting with_all = {
	.name = "with all", .versioned = true, .with_all = true, .served = true
};
static const struct setting settings[] = {
	{ .name = "versioned", .versioned = true },
	{ .name = "sent by fibers of their own", .served = true },
	{ .name = "CRC32C",
	  .checksum = CRC32C,
	  .packs_by = STORE_S3_BY_CRC32C,
	  .others_by = STORE_S3_BY_CRC32C },
	{ .name = "without CRC64NVME",
	  .lacks = S3_MODEL_LACKS_CRC64NVME,
	  .packs_by = STORE_S3_BY_CRC32C,
	  .others_by = STORE_S3_BY_CRC32C },
	{ .name = "that hides CRC64NVME",
	  .lacks = S3_MODEL_HIDES_CRC64NVME,
	  .packs_by = STORE_S3_BY_CRC32C,
	  .others_by = STORE_S3_BY_CRC32C },
	{ .name = "without checksums",
	  .lacks = S3_MODEL_LACKS_CHECKSUMS,
	  .packs_by = STORE_S3_BY_ETAG,
	  .others_by = STORE_S3_BY_ETAG },
	{ .name = "without conditions", .lacks = S3_MODEL_LACKS_CONDITIONS },
};
static const struct setting like_radosgw = { .name = "like radosgw 16",
					     .lacks = S3_MODEL_LACKS_CRC64NVME |
						      S3_MODEL_LACKS_CHECKSUMS |
						      S3_MODEL_LACKS_CONDITIONS,
					     .served = true,
					     .packs_by = STORE_S3_BY_ETAG,
					     .others_by = STORE_S3_BY_ETAG };

/* The bucket, and what a ledger would know of what is to be stored there. */
struct world {
	const struct setting *setting;
	struct s3_model *model;
	struct s3_model_bucket *bucket;
	unsigned runs, keys; /* so far; which keys are lent */
	uint64_t opened;     /* connections, of the run */
	uint64_t next;
	struct {
		char key[80];
		bool sealed, settled;
	} items[ITEMS];
	/* The store of the run. */
	struct store *store;
	enum err (*does)(struct world *); /* instead of all else */
	uint64_t leftovers;		  /* at the run's end */
	struct store_s3_proofs proofs;	  /* of all runs */
	struct err_note note;
	char what[80]; /* goes wrong in it; "": nothing */
};

/* ---- the bucket ---- */

static const char *const foreign[] = { "a/b/photo.jpg", "a/b/box/packs/1.tar",
				       "a/b/x/y/000000000001/tar",
				       "a/c/box/packs/000000000001.tar" };
static const char *const users[] = { "KEY-0", "KEY-1", "KEY-2", "KEY-3" };
static const char secret[] = "a-secret-that-must-not-be-seen", token[] = "a-token";
static const char kms_key[] = "arn:aws:kms:us-east-1:111122223333:key/k";

static void world_open(struct world *world, const struct setting *setting)
{
	struct s3_model *model = s3_model_open(1, MODEL_BYTES);

	*world = (struct world){ .setting = setting, .model = model };
	model->part_bytes_min = LEAST;
	model->lacks = setting->lacks;
	snprintf(model->endpoints[0].host, sizeof model->endpoints[0].host, "127.0.0.1");
	world->bucket = s3_model_add_bucket(model, "bucket", "us-east-1");
	world->bucket->versioning =
		setting->versioned ? S3_MODEL_VERSIONED : S3_MODEL_NEVER_VERSIONED;
	world->bucket->object_lock = setting->with_all;
	for (unsigned i = 0; i < ARRAY_COUNT(users); i++)
		(void)s3_model_add_user(model, users[i], secret, token);
	for (unsigned i = 0; i < ARRAY_COUNT(foreign); i++)
		(void)s3_model_plant_upload(model, world->bucket, foreign[i], 1699999000);
	(void)s3_model_plant(model, world->bucket, "a/b/photo.jpg", "hands off", 9, 1699999000);
}

static void world_close(struct world *world)
{
	s3_model_close(&world->model);
}

static bool lies_there(const struct world *world, const char *key, const void *bytes, size_t n)
{
	const struct s3_model_object *there = s3_model_object_of(world->bucket, key);

	return there && there->length == n && (n == 0 || memcmp(there->bytes, bytes, n) == 0);
}

/* ---- what is to be stored ---- */

static const size_t item_bytes[ITEMS] = { 6 * PART + 100, 10, 0, PART + LEAST };

static size_t item_fill(uint8_t *to, unsigned i)
{
	uint32_t x = 2463534242u + i * 7919;

	for (size_t n = 0; n < item_bytes[i]; n++) {
		x ^= x << 13, x ^= x >> 17, x ^= x << 5;
		to[n] = (uint8_t)(x >> 24);
	}
	return item_bytes[i];
}

/* With a mark somewhere, and something that is taken back. */
static enum err item_write(struct world *world, struct store_put *put, unsigned i)
{
	static const size_t mark_at[] = { PART + LEAST + 7, 3, 0, 100 };
	static uint8_t bytes[BYTES_MAX], wrong[BYTES_MAX];
	size_t n = item_fill(bytes, i), first = mark_at[i], more = 4 * PART + 9;
	uint64_t mark;
	enum err e;

	if (world->setting->lacks) /* radosgw bears no more than there is in the end */
		more = n - first;
	if ((e = store_s3.put_write(put, bytes, first)) || (e = store_s3.put_mark(put, &mark)) ||
	    (e = store_s3.put_write(put, wrong, more)) || (e = store_s3.put_rewind(put, mark)))
		return e;
	return store_s3.put_write(put, bytes + first, n - first);
}

static enum err item_store(struct world *world, unsigned i)
{
	struct store_put *put = NULL;
	enum err e;

	snprintf(world->items[i].key, sizeof world->items[i].key, "box/packs/%012llu.tar",
		 (unsigned long long)++world->next);
	if (!(e = store_s3.put_open(world->store, world->items[i].key, &put)) &&
	    !(e = item_write(world, put, i)) && !(e = store_s3.put_seal(put))) {
		world->items[i].sealed = true;
		e = store_s3.put_publish(&put);
	}
	store_s3.put_abort(&put);
	return e;
}

/* What is there is ours and whole (item_read() sees), or it is stored anew. */
static enum err item_recover(struct world *world, unsigned i)
{
	uint64_t size;
	enum err e = store_s3.size(world->store, world->items[i].key, &size);

	if (e != ERR_DISK_ABSENT)
		return e;
	err_note_clear();
	world->items[i].sealed = false;
	return OK;
}

static int index_name(const struct world *world, unsigned i, char to[120])
{
	return snprintf(to, 120, "box/index/%s", strrchr(world->items[i].key, '/') + 1);
}

static enum err item_run(struct world *world, unsigned i)
{
	char key[120];
	enum err e = OK;

	if (world->items[i].settled)
		return OK;
	if (world->items[i].sealed && (e = item_recover(world, i)))
		return e;
	if (!world->items[i].sealed && (e = item_store(world, i)))
		return e;
	index_name(world, i, key);
	if ((e = store_put_whole(world->store, key, key, strlen(key))))
		return e;
	world->items[i].settled = true;
	return OK;
}

/* In pieces, as a reader does. */
static enum err item_read(struct world *world, unsigned i)
{
	static uint8_t expected[BYTES_MAX], bytes[BYTES_MAX];
	size_t n = item_fill(expected, i), got = 1, at = 0;
	uint64_t size = 0;
	enum err e = store_s3.size(world->store, world->items[i].key, &size);

	CHECK(e || size == n);
	for (; !e && got > 0 && at < n; at += got)
		e = store_s3.get(world->store, world->items[i].key, at, bytes + at,
				 min_u64(2 * PART, sizeof bytes - at), &got);
	CHECK(e || (at == n && memcmp(bytes, expected, n) == 0));
	return e;
}

static enum err names_read(struct world *world)
{
	struct buffer names = { 0 };
	const char *name = NULL;
	unsigned count = 0;
	enum err e = store_s3.list(world->store, "", &names);

	while (!e && store_names_next(&names, &name))
		count++;
	CHECK(e || count == 3); /* box, mailhaul-archive.json, photo.jpg */
	buffer_free(&names);
	return e;
}

/* ---- a run ---- */

static enum err script(struct world *world)
{
	struct store *store = world->store;
	enum err e;

	if (world->does)
		return world->does(world);
	if ((e = store_s3.lock(store)) || (e = store_s3.settle(store, "box")) ||
	    (e = store_put_whole(store, "mailhaul-archive.json", "ours", 4)))
		return e;
	for (unsigned i = 0; i < ITEMS && !e; i++)
		e = item_run(world, i);
	for (unsigned i = 0; i < ITEMS && !e; i++)
		e = item_read(world, i);
	if (e || (e = names_read(world)) || (e = store_s3.leftovers(store, &world->leftovers)))
		return e;
	store_s3.finish(store, clock_after(NSEC_SECOND * 900));
	return OK;
}

static enum err serve(void *argument)
{
	return store_s3.serve(argument);
}

static enum err script_main(void *argument)
{
	struct world *world = argument;
	struct group *serving = group_open();
	enum err e;

	if (world->setting->served)
		CHECK_OK(group_spawn(serving, "serve", FIBER_STACK_LARGE, serve, world->store));
	e = script(world);
	world->note = *err_note();
	CHECK_EQ(world->note.error, e);
	group_cancel(serving);
	(void)!group_join(&serving);
	err_note_clear();
	return e;
}

static enum err lend(void *context, nsec until, struct s3_key_loan *loan)
{
	struct world *world = context;

	(void)until;
	*loan = (struct s3_key_loan){
		.held = world,
		.credentials = { .access_key_id = text_of(users[world->keys % ARRAY_COUNT(users)]),
				 .secret = text_of(secret),
				 .session_token = text_of(token) }
	};
	return OK;
}

static void take_back(void *context, struct s3_key_loan *loan, bool refused)
{
	struct world *world = context;

	must(loan->held == world);
	/* Several that were lent the same may be refused at once. */
	world->keys += refused && loan->credentials.access_key_id.at ==
					  users[world->keys % ARRAY_COUNT(users)];
}

/* For the store the stand-in is AWS, unless it lacks something. */
static struct s3_config s3_config_of(const struct world *world, const struct s3_keys *keys,
				     struct http_pool *pool)
{
	static const struct aws_partition aws = { .name = "aws",
						  .dns_suffix = "0.0.1",
						  .dual_stack_suffix = "0.0.1" },
					  other = { .name = "aws",
						    .dns_suffix = "aws.example",
						    .dual_stack_suffix = "aws.example" };
	struct s3_config config = { .pool = pool,
				    .keys = keys,
				    .owner = "111122223333",
				    .checksum = world->setting->checksum,
				    .endpoint = { .host = "127.0.0.1",
						  .port = PORT,
						  .path = "/bucket",
						  .region = "us-east-1" } };

	config.endpoint.partition = world->setting->lacks ? &other : &aws;
	if (world->setting->with_all) {
		config.storage_class = "STANDARD_IA";
		config.encryption = "aws:kms";
		config.kms_key = kms_key;
		config.kms_context = "eyJhIjoiYiJ9";
		config.bucket_key = true;
		config.lock_mode = "COMPLIANCE";
		config.retain_until = "2030-01-31T00:00:00Z";
		config.legal_hold = true;
	}
	return config;
}

static enum err store_main(void *argument)
{
	static const uint8_t ledger[STORE_S3_LEDGER_BYTES] = { 1, 2, 3 };
	struct world *world = argument;
	const struct s3_keys keys = { lend, take_back, world };
	struct http_pool *pool = NULL;
	struct store_s3_config config = { .proofs = &world->proofs,
					  .ledger_id = ledger,
					  .machine = "mover-1",
					  .part_bytes = world->setting->part_bytes
								? world->setting->part_bytes
								: PART,
					  .part_bytes_least = LEAST };
	const struct account account = { .scheme = "s3",
					 .user = "",
					 .host = "bucket",
					 .path = "/a/b/",
					 .shown = "s3://bucket/a/b/",
					 .io_timeout = 30 * NSEC_SECOND,
					 .connect_timeout = 30 * NSEC_SECOND,
					 .s3 = &config };
	struct group *group = group_open();
	enum err e;

	must(http_pool_open(UPLOADS_MAX + 1, &pool) == OK);
	config.s3 = s3_config_of(world, &keys, pool);
	CHECK_OK(store_s3.open(&world->store, &account, true, 0));
	must(group_spawn(group, "client", FIBER_STACK_LARGE, script_main, world) == OK);
	e = group_join(&group);
	store_s3.close(&world->store);
	err_note_clear();
	world->opened = http_pool_counts(pool).opened;
	http_pool_finish(pool, clock_after(NSEC_SECOND));
	http_pool_close(&pool);
	err_note_clear();
	return e;
}

static enum err run(struct world *world)
{
	static struct disk *disk; /* empty: trust settings look for files */
	enum err e;

	if (!disk)
		disk = disk_open(1024 * 1024);
	sim_begin(&(struct sim_config){ .seed = 7, .process_no = world->runs++ });
	net_forget();
	s3_model_listen(world->model, PORT);
	e = shard_run(&(struct shard_config){ .arena_chunks = 16 }, store_main, world);
	err_note_clear();
	conn_thread_cleanup();
	CHECK(!strstr(world->note.text, secret) && !strstr(world->note.text, token));
	return e;
}

/* ---- the judge ---- */

#define JUDGE(world, condition)                                                                    \
	((condition) ? (void)0                                                                     \
		     : test_failed(__FILE__, __LINE__, "%s: %s, %s", (world)->setting->name,       \
				   (world)->what, #condition))

static unsigned count_of(const struct world *world, const char *kind)
{
	unsigned count = 0;

	for (const struct s3_model_object *o = world->bucket->objects; o; o = o->next)
		count += strstr(o->key, kind) != NULL;
	return count;
}

/* All that was stored was stored as the settings say, the lock but for what would keep it. */
static void judge_traits(const struct world *world, const struct s3_model_object *object)
{
	const struct s3_model_traits *traits = &object->traits;

	if (!world->setting->with_all || object->is_delete_marker)
		return;
	JUDGE(world, strcmp(traits->sse, "aws:kms") == 0);
	JUDGE(world, strcmp(traits->kms_key, kms_key) == 0);
	JUDGE(world, traits->bucket_key);
	if (strcmp(object->key, "a/b/.lock") == 0) {
		JUDGE(world, strcmp(traits->lock_mode, "") == 0);
		JUDGE(world, strcmp(traits->legal_hold, "") == 0);
		return;
	}
	JUDGE(world, strcmp(traits->lock_mode, "COMPLIANCE") == 0);
	JUDGE(world, strcmp(traits->legal_hold, "ON") == 0);
	JUDGE(world, strcmp(traits->storage_class, "STANDARD_IA") == 0);
}

static void judge_items(const struct world *world)
{
	static uint8_t bytes[BYTES_MAX];
	char key[120], full[200];

	JUDGE(world, count_of(world, "/packs/") == ITEMS); /* of all versions */
	JUDGE(world, count_of(world, "/index/") == ITEMS);
	for (unsigned i = 0; i < ITEMS; i++) {
		JUDGE(world, world->items[i].settled);
		if (!world->items[i].settled)
			return;
		snprintf(full, sizeof full, "a/b/%s", world->items[i].key);
		JUDGE(world, lies_there(world, full, bytes, item_fill(bytes, i)));
		JUDGE(world, s3_model_versions(world->bucket, full) == 1);
		index_name(world, i, key);
		snprintf(full, sizeof full, "a/b/%s", key);
		JUDGE(world, lies_there(world, full, key, strlen(key)));
	}
}

static void judge(const struct world *world)
{
	judge_items(world);
	JUDGE(world, lies_there(world, "a/b/mailhaul-archive.json", "ours", 4));
	JUDGE(world, lies_there(world, "a/b/photo.jpg", "hands off", 9));
	JUDGE(world, s3_model_versions(world->bucket, "a/b/photo.jpg") == 1);
	JUDGE(world, !s3_model_object_of(world->bucket, "a/b/.lock"));
	JUDGE(world, s3_model_objects(world->bucket, "") == 2 * ITEMS + 2);
	for (const struct s3_model_object *o = world->bucket->objects; o; o = o->next)
		if (strcmp(o->key, "a/b/photo.jpg") != 0)
			judge_traits(world, o);
	for (unsigned i = 0; i < ARRAY_COUNT(foreign); i++)
		JUDGE(world, s3_model_uploads(world->bucket, foreign[i]) == 1);
	JUDGE(world, s3_model_uploads(world->bucket, "") == ARRAY_COUNT(foreign));
	JUDGE(world, world->leftovers == 0);
	JUDGE(world, world->model->counts.unconditional == 0);
	JUDGE(world, world->model->counts.unchecked == 0 ||
			     world->setting->lacks & S3_MODEL_LACKS_CHECKSUMS);
}

/* ---- the plain way ---- */

static void judge_proofs(const struct world *world)
{
	uint64_t expected[STORE_S3_PROOFS] = { 0 };

	expected[world->setting->packs_by] += ITEMS;
	expected[world->setting->others_by] += ITEMS + 1;
	for (unsigned i = 0; i < STORE_S3_PROOFS; i++)
		JUDGE(world, world->proofs.objects[i] == expected[i]);
}

static void check_plain(const struct setting *setting)
{
	struct world world;

	world_open(&world, setting);
	if (!CHECK_OK(run(&world)))
		printf("%s: %s\n", setting->name, world.note.text);
	judge(&world);
	judge_proofs(&world);
	JUDGE(&world, setting->served ? world.opened > UPLOADS_MAX / 2 : world.opened == 1);
	CHECK_EQ(world.model->counts.forbidden, 0);
	CHECK_EQ(world.model->counts.overwritten, 0);
	if (!setting->lacks) /* but that there is no lock */
		CHECK_EQ(world.model->counts.refused, 1);
	CHECK_OK(run(&world)); /* finds all of it */
	judge(&world);
	world_close(&world);
}

TEST(what_is_asked_is_what_aws_takes)
{
	check_plain(&of_aws);
}

TEST(so_it_is_with_object_lock_and_kms)
{
	check_plain(&with_all);
}

TEST(so_it_is_in_buckets_and_on_servers_of_other_kinds)
{
	for (size_t i = 0; i < ARRAY_COUNT(settings); i++)
		check_plain(&settings[i]);
	check_plain(&like_radosgw);
}

/* ---- accidents ---- */

struct accident {
	struct s3_model_fault fault;
	enum err ends_with[3];	 /* the run may; OK: no other */
	enum err ends_elsewhere; /* where numbers of parts are used again */
};

static const struct accident accidents[] = {
	{ .fault = { .accident = S3_MODEL_ANSWERS, .status = 503, .code = "SlowDown" } },
	{ .fault = { .accident = S3_MODEL_ANSWERS,
		     .status = 503,
		     .code = "SlowDown",
		     .retry_after_s = 7 } },
	{ .fault = { .accident = S3_MODEL_ANSWERS, .status = 500, .code = "InternalError" } },
	{ .fault = { .accident = S3_MODEL_ANSWERS_APPLIED,
		     .status = 500,
		     .code = "InternalError" } },
	{ .fault = { .accident = S3_MODEL_ANSWERS,
		     .op = S3_MODEL_PUT,
		     .status = 409,
		     .code = "ConditionalRequestConflict" } },
	{ .fault = { .accident = S3_MODEL_ANSWERS,
		     .op = S3_MODEL_COMPLETE,
		     .status = 409,
		     .code = "ConditionalRequestConflict" } },
	{ .fault = { .accident = S3_MODEL_ANSWERS,
		     .op = S3_MODEL_COMPLETE,
		     .status = 409,
		     .code = "ConditionalRequestConflict",
		     .loses_upload = true },
	  .ends_with = { ERR_S3_UNAVAILABLE } },
	{ .fault = { .accident = S3_MODEL_ANSWERS,
		     .op = S3_MODEL_COMPLETE,
		     .status = 409,
		     .code = "ConditionalRequestConflict",
		     .count = FOR_EVER },
	  .ends_with = { ERR_S3_UNAVAILABLE } },
	{ .fault = { .accident = S3_MODEL_ERROR_IN_200, .op = S3_MODEL_COMPLETE } },
	{ .fault = { .accident = S3_MODEL_ERROR_IN_200,
		     .op = S3_MODEL_COMPLETE,
		     .loses_upload = true },
	  .ends_with = { ERR_S3_UNAVAILABLE } },
	{ .fault = { .accident = S3_MODEL_RESETS_EARLY } },
	{ .fault = { .accident = S3_MODEL_RESETS_IN_BODY, .bytes = 100 } },
	{ .fault = { .accident = S3_MODEL_RESETS_APPLIED } },
	{ .fault = { .accident = S3_MODEL_RESETS_IN_ANSWER, .bytes = 150 } },
	{ .fault = { .accident = S3_MODEL_LATE }, .ends_elsewhere = ERR_S3_UNAVAILABLE },
	{ .fault = { .accident = S3_MODEL_LATE, .requests = 4 },
	  .ends_elsewhere = ERR_S3_UNAVAILABLE },
	{ .fault = { .accident = S3_MODEL_LATE, .requests = 9 },
	  .ends_elsewhere = ERR_S3_UNAVAILABLE },
	{ .fault = { .accident = S3_MODEL_LATE, .requests = FOR_EVER },
	  .ends_elsewhere = ERR_S3_UNAVAILABLE },
	{ .fault = { .accident = S3_MODEL_STALLS } },
	{ .fault = { .accident = S3_MODEL_SLOW, .bytes = 50, .wait_ms = 500 } },
	{ .fault = { .accident = S3_MODEL_TRUNCATES, .bytes = 37 } },
	{ .fault = { .accident = S3_MODEL_WRONG_CHECKSUM },
	  .ends_with = { ERR_S3_CHECKSUM, ERR_S3_CHANGED, ERR_S3_UNAVAILABLE } },
	{ .fault = { .accident = S3_MODEL_EXPIRES_TOKEN } },
	{ .fault = { .accident = S3_MODEL_JUMPS, .seconds = 3600 } },
	{ .fault = { .accident = S3_MODEL_DICE } },
};

/* Of whom the run is left alone: everything else is refused, as if it had been killed there. */
static const struct s3_model_fault end_of_it = {
	.accident = S3_MODEL_ANSWERS, .status = 403, .code = "AccessDenied", .count = FOR_EVER
};

static void add_faults(struct world *world, const struct accident *accident, unsigned at, bool ends)
{
	struct s3_model_fault fault = accident->fault, end = end_of_it;

	world->model->seed = at; /* of the dice */
	fault.skip = end.skip = at;
	fault.count = fault.count ? fault.count : 1;
	end.op = fault.op;
	s3_model_add_fault(world->model, &fault);
	if (ends)
		s3_model_add_fault(world->model, &end);
}

/* Twice where the first is to find what the accident left and what comes late. */
static void run_again(struct world *world, bool ends, unsigned at)
{
	enum err e;

	world->model->faults_count = 0;
	for (unsigned i = ends ? 0 : 1; i < 2; i++) {
		if (i == 1 || at % 3 == 0)
			s3_model_settle(world->model, s3_model_world_time());
		if ((e = run(world)))
			test_failed(__FILE__, __LINE__, "%s: %s; the next run ends with %s: %s",
				    world->setting->name, world->what, err_name(e),
				    world->note.text);
	}
}

static bool may_end_with(const struct setting *setting, const struct accident *accident, enum err e)
{
	for (size_t i = 0; i < ARRAY_COUNT(accident->ends_with); i++)
		if (accident->ends_with[i] == e)
			return true;
	return setting->lacks && accident->ends_elsewhere == e;
}

/* False: the run ends before that request. */
static bool check_accident(const struct setting *setting, unsigned row, unsigned at, bool ends)
{
	const struct accident *accident = &accidents[row];
	struct world world;
	bool met;
	enum err e;

	world_open(&world, setting);
	snprintf(world.what, sizeof world.what, "accident %u at request %u%s", row + 1, at + 1,
		 ends ? ", and the end" : "");
	add_faults(&world, accident, at, ends);
	e = run(&world);
	met = world.model->faults[0].met > 0;
	if (e && !(met && (ends || may_end_with(setting, accident, e))))
		test_failed(__FILE__, __LINE__, "%s: %s; ended with %s: %s", setting->name,
			    world.what, err_name(e), world.note.text);
	run_again(&world, ends, at);
	judge(&world);
	world_close(&world);
	return met;
}

static unsigned asked(const char *variable)
{
	const char *value = getenv(variable);

	return value ? (unsigned)strtoul(value, NULL, 10) : 0;
}

/* At each so many requests, not the same ones of every accident. */
static void sweep(const struct setting *setting, bool ends, unsigned every)
{
	unsigned at, made = 0, only = asked("ACCIDENT");

	if (only || asked("SIM_ALL"))
		every = 1;
	for (unsigned i = only ? only - 1 : 0; i < (only ? only : (unsigned)ARRAY_COUNT(accidents));
	     i++) {
		for (at = i % every; check_accident(setting, i, at, ends); at += every)
			made++;
		CHECK(at >= (accidents[i].fault.op ? ITEMS : REQUESTS_LEAST));
	}
	printf("  %u accidents\n", made);
}

TEST(one_accident_at_any_request_is_got_over)
{
	sweep(&with_all, false, 3 * EVERY);
}

TEST(a_run_that_ends_with_any_accident_is_made_whole_by_the_next)
{
	sweep(&with_all, true, 2 * EVERY);
}

/* What comes late may replace what is there: the same bytes (docs/FORMAT.md section 11.4). */
TEST(so_it_is_on_a_server_that_has_little_of_s3)
{
	sweep(&like_radosgw, false, 5 * EVERY);
}

/* ---- what is refused ---- */

/* Here and there, so that each is a request of its own. */
static enum err read_pieces(struct world *world)
{
	char piece[100];
	size_t got;
	enum err e = OK;

	for (unsigned at = 5 * PART; at > 0 && !e; at -= PART)
		e = store_s3.get(world->store, world->items[0].key, at, piece, sizeof piece, &got);
	return e;
}

TEST(an_object_that_changes_under_its_reader_is_not_pieced_together)
{
	struct world world;

	world_open(&world, &of_aws);
	CHECK_OK(run(&world));
	world.does = read_pieces;
	s3_model_add_fault(world.model,
			   &(struct s3_model_fault){ .accident = S3_MODEL_CHANGES_OBJECT,
						     .op = S3_MODEL_GET,
						     .skip = 1,
						     .count = 1 });
	CHECK_ERR(run(&world), ERR_S3_CHANGED);
	CHECK(strstr(world.note.text, "a/b/box/packs/000000000001.tar"));
	world_close(&world);
}

TEST(an_upload_that_somebody_aborts_is_told_from_one_that_the_service_lost)
{
	struct world world;

	world_open(&world, &of_aws);
	s3_model_add_fault(world.model, &(struct s3_model_fault){ .accident = S3_MODEL_ANSWERS,
								  .op = S3_MODEL_COMPLETE,
								  .status = 404,
								  .code = "NoSuchUpload",
								  .loses_upload = true,
								  .count = 1 });
	CHECK_ERR(run(&world), ERR_SINK_DAMAGED);
	CHECK(strstr(world.note.text, "somebody has aborted its upload"));
	run_again(&world, true, 0);
	judge(&world);
	world_close(&world);
}

TEST(what_is_refused_with_every_checksum_is_refused_before_anything_is_there)
{
	static const struct setting lacks = { .lacks = S3_MODEL_LACKS_CRC64NVME };
	struct world world;

	world_open(&world, &lacks);
	s3_model_add_fault(world.model, &(struct s3_model_fault){ .accident = S3_MODEL_ANSWERS,
								  .op = S3_MODEL_CREATE,
								  .skip = 1,
								  .status = 400,
								  .code = "InvalidStorageClass",
								  .count = FOR_EVER });
	CHECK_ERR(run(&world), ERR_S3_REFUSED);
	CHECK(strstr(world.note.text, "Checksum algorithm provided is unsupported"));
	CHECK_EQ(s3_model_objects(world.bucket, ""), 1);
	world_close(&world);
}

TEST(a_bucket_that_is_full_or_read_only_is_gone_on_with_when_it_is_not)
{
	struct world world;

	for (unsigned room = 0; room < 3 * PART; room += 500) {
		world_open(&world, &with_all);
		world.model->quota_bytes = 900 + room;
		world.model->read_only = room == 0;
		CHECK_ERR(run(&world), room == 0 ? ERR_S3_DENIED : ERR_S3_FULL);
		world.model->quota_bytes = 0;
		world.model->read_only = false;
		run_again(&world, true, room);
		judge(&world);
		world_close(&world);
	}
}

/* The leftover is there to be ended. */
static void check_denied(const char *action)
{
	const bool only_the_lock_stays = strcmp(action, "s3:DeleteObject") == 0;
	const char *advice; /* ours, not the words of the service */
	struct world world;

	world_open(&world, &with_all);
	snprintf(world.what, sizeof world.what, "%s denied", action);
	(void)s3_model_plant_upload(world.model, world.bucket, "a/b/box/packs/000000000009.tar",
				    1699999000);
	world.model->users[0].denied[0] = action;
	CHECK_ERR(run(&world), only_the_lock_stays ? OK : ERR_S3_DENIED);
	if (!only_the_lock_stays)
		JUDGE(&world, (advice = strstr(world.note.text, "; allow ")) &&
				      strstr(advice, action) &&
				      strstr(advice, " on arn:aws:s3:::bucket"));
	world.model->users[0].denied[0] = NULL;
	run_again(&world, true, 0);
	judge(&world);
	world_close(&world);
}

TEST(a_permission_that_is_missing_is_named)
{
	static const char *const actions[] = {
		"s3:PutObject",
		"s3:PutObjectRetention",
		"s3:PutObjectLegalHold",
		"s3:GetObject",
		"s3:DeleteObject",
		"s3:ListBucket",
		"s3:ListBucketMultipartUploads",
		"s3:AbortMultipartUpload",
		"s3:ListMultipartUploadParts",
	};

	for (size_t i = 0; i < ARRAY_COUNT(actions); i++)
		check_denied(actions[i]);
}

/* ---- long bodies, which are asked for first ---- */

enum { LONG_PART = 1200 * 1024, LONG_BYTES = 2 * LONG_PART + 100 };

static uint8_t *long_bytes;

static enum err store_long(struct world *world)
{
	struct store_put *put = NULL;
	enum err e;

	if ((e = store_s3.lock(world->store)) ||
	    (e = store_s3.put_open(world->store, "box/packs/000000000001.tar", &put)) ||
	    (e = store_s3.put_write(put, long_bytes, LONG_BYTES)) || (e = store_s3.put_seal(put)) ||
	    (e = store_s3.put_publish(&put)))
		store_s3.put_abort(&put);
	return e ? e : store_put_whole(world->store, "long", long_bytes, LONG_PART);
}

TEST(long_bodies_are_sent_whatever_becomes_of_their_announcement)
{
	static const struct setting setting = { .part_bytes = LONG_PART };
	static const struct s3_model_fault faults[] = {
		{ .accident = S3_MODEL_CONTINUES_LATE, .wait_ms = 3000 },
		{ .accident = S3_MODEL_CONTINUES_NEVER },
		{ .accident = S3_MODEL_ANSWERS, .status = 503, .code = "SlowDown" },
		{ .accident = S3_MODEL_RESETS_IN_BODY, .bytes = LONG_PART / 2 },
		{ .accident = S3_MODEL_EXPIRES_TOKEN },
	};
	struct s3_model_fault fault;
	struct world world;

	REQUIRE((long_bytes = calloc(1, LONG_BYTES)));
	long_bytes[LONG_PART] = 1;
	for (unsigned i = 0; i < ARRAY_COUNT(faults); i++) {
		world_open(&world, &setting);
		world.does = store_long;
		fault = faults[i];
		fault.count = 1;
		fault.op = S3_MODEL_PUT;
		fault.key = "a/b/long";
		s3_model_add_fault(world.model, &fault);
		fault.count = fault.skip = 1;
		fault.op = S3_MODEL_PART;
		fault.key = NULL;
		s3_model_add_fault(world.model, &fault);
		CHECK_OK(run(&world));
		CHECK_EQ(world.model->counts.faults, 2);
		CHECK(lies_there(&world, "a/b/box/packs/000000000001.tar", long_bytes, LONG_BYTES));
		CHECK(lies_there(&world, "a/b/long", long_bytes, LONG_PART));
		world_close(&world);
	}
	free(long_bytes);
}
