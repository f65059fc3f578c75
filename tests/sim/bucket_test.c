/* The guard and the audit against the strict stand-in for S3, over all that lies between them: an
 * archive is stored by the store itself, then somebody alters what lies there, and the audit must
 * say so; and how a bucket is set up is read from the XML that AWS documents. */
#include <stdlib.h>

#include "engine/clock.h"
#include "engine/fiber.h"
#include "engine/log.h"
#include "engine/shard.h"
#include "tests/sim/disk_sim.h"
#include "tests/sim/s3_model_net.h"
#include "tests/sim/sim.h"
#include "tests/test.h"
#include "transport/bucket_audit.h"
#include "transport/conn.h"
#include "transport/store_s3.h"

enum {
	PORT = 443,
	PART = 1024,
	MAILBOXES = 10,
	OBJECTS = 1 + 3 * MAILBOXES, /* a marker; a mark, a pack and an index each */
	MODEL_BYTES = 64 * 1024 * 1024,
	CONNECTIONS = 30,
	FOR_EVER = 1000000,
};

static const char kms_key[] = "arn:aws:kms:us-east-1:111122223333:key/1234abcd",
		  other_key[] = "arn:aws:kms:us-east-1:111122223333:key/5678";

/* One process: it stores, somebody meddles, it looks. */
struct world {
	struct s3_model *model;
	struct s3_model_bucket *bucket;
	struct bucket_stored *stored;
	struct s3_config config; /* as the test wants it; what it leaves out is filled in */
	struct bucket_policy policy;
	bool stores, forgets; /* what it stored is of an earlier run */
	void (*meddles)(struct world *);
	bool guards; /* instead of the audit */
	bool only_stored, hurries, is_elsewhere;
	uint64_t cancel_at; /* step; 0: never */
	struct group *group;
	unsigned runs;
	/* what became of it */
	struct bucket_audit *audit;
	struct bucket_facts facts;
	struct err_note note;
	unsigned heads;
	uint64_t opened; /* connections, by the audit */
};

/* ---- the bucket ---- */

static void world_open(struct world *world)
{
	struct s3_model *model = s3_model_open(1, MODEL_BYTES);

	log_setup(2, LOG_ERROR, false); /* what is told is told in the unit test */
	*world = (struct world){ .model = model, .stores = true };
	world->audit = calloc(1, sizeof *world->audit);
	must(world->audit);
	CHECK_OK(bucket_stored_open(&world->stored));
	model->part_bytes_min = PART;
	snprintf(model->endpoints[0].host, sizeof model->endpoints[0].host, "127.0.0.1");
	world->bucket = s3_model_add_bucket(model, "bucket", "us-east-1");
	(void)s3_model_add_user(model, "KEY", "a-secret", "a-token");
	(void)s3_model_plant(model, world->bucket, "a/b/photo.jpg", "hands off", 9, 1699999000);
	(void)s3_model_plant(model, world->bucket, "a/b/x/photos/000000000001.jpg", "", 0, 1);
	world->policy.prefix = "a/b/";
}

static void world_close(struct world *world)
{
	free(world->audit);
	bucket_stored_close(&world->stored);
	s3_model_close(&world->model);
}

/* Stored with all that S3 has. */
static void want_all(struct world *world)
{
	world->bucket->object_lock = true;
	world->bucket->versioning = S3_MODEL_VERSIONED;
	world->config = (struct s3_config){ .storage_class = "STANDARD_IA",
					    .encryption = "aws:kms",
					    .kms_key = kms_key,
					    .bucket_key = true,
					    .lock_mode = "GOVERNANCE",
					    .retain_until = "2030-01-31T00:00:00Z",
					    .legal_hold = true };
}

static struct s3_model_object *object(struct world *world, const char *key)
{
	struct s3_model_object *at = world->bucket->objects;

	while (at && strcmp(at->key, key) != 0)
		at = at->next;
	must(at);
	return at;
}

/* ---- the archive ---- */

static enum err store_pack(struct store *store, const char *key, size_t n)
{
	static const uint8_t bytes[3 * PART];
	struct store_put *put = NULL;
	enum err e;

	must(n <= sizeof bytes);
	if (!(e = store_s3.put_open(store, key, &put)) &&
	    !(e = store_s3.put_write(put, bytes, n)) && !(e = store_s3.put_seal(put)))
		e = store_s3.put_publish(&put);
	store_s3.put_abort(&put);
	return e;
}

static enum err store_all(struct store *store)
{
	char key[80];
	enum err e;

	if ((e = store_s3.lock(store)) ||
	    (e = store_put_whole(store, "mailhaul-archive.json", "ours", 4)))
		return e;
	for (unsigned i = 0; i < MAILBOXES && !e; i++) {
		snprintf(key, sizeof key, "m%u/mailbox.json", i);
		if ((e = store_put_whole(store, key, key, strlen(key))))
			return e;
		snprintf(key, sizeof key, "m%u/packs/000000000001.tar", i);
		if ((e = store_pack(store, key, i * 300)))
			return e;
		snprintf(key, sizeof key, "m%u/index/000000000001.ndjson.zst", i);
		e = store_put_whole(store, key, key, strlen(key));
	}
	return e;
}

/* ---- a run ---- */

static enum err lend(void *context, nsec until, struct s3_key_loan *loan)
{
	(void)until;
	*loan = (struct s3_key_loan){ .held = context,
				      .credentials = { .access_key_id = text_of("KEY"),
						       .secret = text_of("a-secret"),
						       .session_token = text_of("a-token") } };
	return OK;
}

static void take_back(void *context, struct s3_key_loan *loan, bool refused)
{
	must(loan->held == context && !refused);
}

static nsec patience(const struct world *world)
{
	return clock_after((world->hurries ? 10 : 3600) * NSEC_SECOND);
}

static enum err look(struct world *world, struct s3 *s3, struct http_pool *pool)
{
	unsigned before = world->model->counts.requests[S3_MODEL_HEAD];
	uint64_t opened = http_pool_counts(pool).opened;
	enum err e;

	if (world->guards)
		return bucket_guard_check(s3, &world->policy, patience(world), &world->facts);
	e = bucket_audit(s3,
			 &(struct bucket_audit_wish){ .policy = &world->policy,
						      .stored = world->stored,
						      .only_stored = world->only_stored },
			 patience(world), world->audit);
	world->heads = world->model->counts.requests[S3_MODEL_HEAD] - before;
	world->opened = http_pool_counts(pool).opened - opened;
	return e;
}

struct run {
	struct world *world;
	struct http_pool *pool;
	struct store *store;
};

static enum err client(void *argument)
{
	struct run *run = argument;
	struct world *world = run->world;
	const char *prefix;
	struct s3 *s3 = store_s3_bucket(run->store, &prefix);
	enum err e = world->stores ? store_all(run->store) : OK;

	CHECK_TEXT(prefix, "a/b/");
	CHECK_OK(e);
	if (world->forgets) {
		bucket_stored_close(&world->stored);
		CHECK_OK(bucket_stored_open(&world->stored));
	}
	if (world->meddles)
		world->meddles(world);
	if (!e)
		e = look(world, s3, run->pool);
	world->note = *err_note();
	CHECK(e == ERR_FIBER_CANCELED || world->note.error == e);
	err_note_clear();
	store_s3.finish(run->store, clock_after(900 * NSEC_SECOND));
	return e;
}

static const struct aws_partition aws = { .name = "aws",
					  .dns_suffix = "0.0.1",
					  .dual_stack_suffix = "0.0.1" },
				  other = { .name = "aws",
					    .dns_suffix = "aws.example",
					    .dual_stack_suffix = "aws.example" };

static enum err world_main(void *argument)
{
	static const uint8_t ledger[STORE_S3_LEDGER_BYTES] = { 1, 2, 3 };
	struct run run = { .world = argument };
	const struct s3_keys keys = { lend, take_back, &run };
	struct store_s3_config config = { .s3 = run.world->config,
					  .ledger_id = ledger,
					  .machine = "mover-1",
					  .stored = run.world->stored,
					  .part_bytes = PART,
					  .part_bytes_least = PART };
	const struct account account = { .scheme = "s3",
					 .user = "",
					 .host = "bucket",
					 .path = "/a/b/",
					 .shown = "s3://bucket/a/b/",
					 .io_timeout = 30 * NSEC_SECOND,
					 .connect_timeout = 30 * NSEC_SECOND,
					 .s3 = &config };
	enum err e;

	must(http_pool_open(CONNECTIONS, &run.pool) == OK);
	config.s3.pool = run.pool;
	config.s3.keys = &keys;
	config.s3.owner = "111122223333";
	config.s3.endpoint = (struct aws_endpoint){
		.host = "127.0.0.1", .port = PORT, .path = "/bucket", .region = "us-east-1"
	};
	config.s3.endpoint.partition = run.world->is_elsewhere ? &other : &aws;
	CHECK_OK(store_s3.open(&run.store, &account, true, 0));
	run.world->group = group_open();
	must(group_spawn(run.world->group, "client", FIBER_STACK_LARGE, client, &run) == OK);
	e = group_join(&run.world->group);
	store_s3.close(&run.store);
	CHECK_EQ(http_pool_counts(run.pool).lent, 0);
	http_pool_finish(run.pool, clock_after(NSEC_SECOND));
	http_pool_close(&run.pool);
	err_note_clear();
	return e;
}

static void passed(void *owner)
{
	struct world *world = owner;

	if (world->cancel_at && sim_steps() == world->cancel_at && world->group)
		group_cancel(world->group);
}

static enum err run(struct world *world)
{
	static struct disk *disk; /* empty: trust settings look for files */
	enum err e;

	if (!disk)
		disk = disk_open(1024 * 1024);
	sim_begin(&(struct sim_config){
		.seed = 7, .process_no = world->runs++, .passed = passed, .owner = world });
	net_forget();
	s3_model_listen(world->model, PORT);
	e = shard_run(&(struct shard_config){ .arena_chunks = 16 }, world_main, world);
	err_note_clear();
	conn_thread_cleanup();
	return e;
}

static void check_line(const struct world *world, const char *line)
{
	char shown[700];

	CHECK_TEXT(bucket_audit_show(world->audit, shown, sizeof shown), line);
}

static void check_says(const struct world *world, const char *words)
{
	if (!strstr(world->note.text, words))
		test_failed(__FILE__, __LINE__, "\"%s\" does not say \"%s\"", world->note.text,
			    words);
}

/* ---- the audit ---- */

TEST(what_a_run_stored_is_asked_for_once_and_equal)
{
	struct world world;

	world_open(&world);
	want_all(&world);
	CHECK_OK(run(&world));
	check_line(&world, "31 of 31 objects encrypted with aws:kms and key "
			   "arn:aws:kms:us-east-1:111122223333:key/1234abcd, checksum equal, "
			   "locked: 31");
	CHECK_EQ(world.audit->objects, OBJECTS);
	CHECK_EQ(world.audit->stored, OBJECTS);
	CHECK_EQ(world.audit->foreign, 2);
	CHECK_EQ(world.audit->faults, 0);
	CHECK_EQ(world.heads, OBJECTS);
	CHECK(world.opened > 4 && world.opened <= BUCKET_AUDIT_IN_FLIGHT);
	world_close(&world);
}

/* The answer to what stored it was lost, or was a 412 to the repetition. */
TEST(what_was_stored_in_spite_of_accidents_is_known_to_the_audit)
{
	struct world world;

	world_open(&world);
	for (unsigned op = 0; op < 2; op++)
		s3_model_add_fault(world.model, &(struct s3_model_fault){
							.op = op ? S3_MODEL_PUT : S3_MODEL_COMPLETE,
							.key = op ? "a/b/m" : NULL,
							.accident = S3_MODEL_RESETS_APPLIED,
							.count = 8,
							.one_in = 2 });
	CHECK_OK(run(&world));
	CHECK(world.model->counts.faults > 2);
	check_line(&world, "31 of 31 objects encrypted with AES256, checksum equal");
	world_close(&world);
}

static const char pack[] = "a/b/m3/packs/000000000001.tar";

static void overwrites(struct world *world)
{
	static const uint8_t bytes[900] = { 1 };

	(void)s3_model_plant(world->model, world->bucket, pack, bytes, sizeof bytes, 1700000000);
}

static void cuts(struct world *world)
{
	object(world, pack)->length--;
}

static void deletes(struct world *world)
{
	struct s3_model_object **at = &world->bucket->objects;

	while (strcmp((*at)->key, pack) != 0)
		at = &(*at)->next;
	*at = (*at)->next;
}

static void deletes_the_last(struct world *world)
{
	struct s3_model_object **at = &world->bucket->objects;

	while (strcmp((*at)->key, "a/b/mailhaul-archive.json") != 0)
		at = &(*at)->next;
	*at = (*at)->next;
}

static void encrypts_otherwise(struct world *world)
{
	struct s3_model_traits *traits = &object(world, pack)->traits;

	snprintf(traits->sse, sizeof traits->sse, "AES256");
	traits->kms_key[0] = '\0';
}

static void does_not_encrypt(struct world *world)
{
	struct s3_model_traits *traits = &object(world, pack)->traits;

	traits->sse[0] = traits->kms_key[0] = '\0';
}

static void encrypts_with_another_key(struct world *world)
{
	snprintf(object(world, pack)->traits.kms_key, 160, "%s", other_key);
}

static void drops_the_bucket_key(struct world *world)
{
	object(world, pack)->traits.bucket_key = false;
}

static void drops_the_lock(struct world *world)
{
	object(world, pack)->traits.lock_mode[0] = '\0';
}

static void shortens_the_lock(struct world *world)
{
	snprintf(object(world, pack)->traits.retain_until, 32, "2030-01-30T23:59:59Z");
}

static void lengthens_the_lock(struct world *world)
{
	struct s3_model_traits *traits = &object(world, pack)->traits;

	snprintf(traits->retain_until, 32, "2030-01-31T00:00:00.000Z");
	snprintf(traits->lock_mode, 12, "COMPLIANCE");
}

static void lifts_the_hold(struct world *world)
{
	snprintf(object(world, pack)->traits.legal_hold, 4, "OFF");
}

static void moves_to_another_class(struct world *world)
{
	snprintf(object(world, pack)->traits.storage_class, 24, "GLACIER");
}

static void drops_the_checksum(struct world *world)
{
	object(world, pack)->checksum.algorithm = S3_MODEL_NO_CHECKSUM;
}

TEST(whatever_is_not_as_it_was_stored_is_found_and_named)
{
	static const struct {
		void (*meddles)(struct world *);
		const char *says;
	} rows[] = {
		{ overwrites, "holds other bytes" },
		{ cuts, "it has 899 bytes, and was stored with 900" },
		{ deletes, "it is not there, and was stored in this run" },
		{ encrypts_otherwise,
		  "encrypted with AES256, and should be encrypted with aws:kms and key" },
		{ encrypts_with_another_key, "key/5678, and should be" },
		{ drops_the_bucket_key, "without a bucket key" },
		{ drops_the_lock,
		  "its lock is none (or s3:GetObjectRetention is to be allowed), and should be "
		  "GOVERNANCE" },
		{ shortens_the_lock, "is retained until \"2030-01-30T23:59:59Z\"" },
		{ lifts_the_hold, "it is not on legal hold" },
		{ moves_to_another_class, "its storage class is GLACIER" },
		{ drops_the_checksum, "it has no checksum of its whole" },
	};

	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		struct world world;

		world_open(&world);
		want_all(&world);
		world.meddles = rows[i].meddles;
		CHECK_ERR(run(&world), ERR_S3_UNFIT);
		check_says(&world, "1 of 31 objects in bucket bucket are not as they were to be");
		check_says(&world, pack);
		check_says(&world, rows[i].says);
		CHECK_TEXT(world.audit->first[0].key, pack);
		CHECK_EQ(world.audit->faults, 1);
		world_close(&world);
	}
	CHECK_EQ(err_exit_code(ERR_S3_UNFIT), EXIT_MISMATCH);
}

TEST(a_longer_and_a_stronger_lock_is_no_fault)
{
	struct world world;

	world_open(&world);
	want_all(&world);
	world.meddles = lengthens_the_lock;
	CHECK_OK(run(&world));
	world_close(&world);
}

/* Behind all that is listed, too. */
TEST(the_last_object_is_missed_like_any_other)
{
	struct world world;

	world_open(&world);
	world.meddles = deletes_the_last;
	CHECK_ERR(run(&world), ERR_S3_UNFIT);
	CHECK_TEXT(world.audit->first[0].key, "a/b/mailhaul-archive.json");
	check_line(&world, "30 of 31 objects encrypted with AES256, checksum equal of 30, "
			   "not as they were to be stored: 1");
	world_close(&world);
}

/* Their encryption is demanded, too; what a lifecycle may change, and what nobody knows any more,
 * is not judged. */
TEST(what_an_earlier_run_stored_is_judged_by_what_is_known_of_it)
{
	static const struct {
		void (*meddles)(struct world *);
		enum err error;
	} rows[] = { { NULL, OK },
		     { overwrites, ERR_S3_UNFIT }, /* with the bucket's encryption, at least */
		     { deletes, OK },
		     { encrypts_otherwise, ERR_S3_UNFIT },
		     { encrypts_with_another_key, ERR_S3_UNFIT },
		     { drops_the_lock, OK },
		     { moves_to_another_class, OK },
		     { drops_the_checksum, OK } };

	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		struct world world;

		world_open(&world);
		want_all(&world);
		world.forgets = true;
		world.meddles = rows[i].meddles;
		CHECK_ERR(run(&world), rows[i].error);
		CHECK_EQ(world.audit->stored, 0);
		CHECK_EQ(world.audit->objects, OBJECTS - (rows[i].meddles == deletes));
		if (i == 0)
			check_line(&world, "31 of 31 objects encrypted with aws:kms and key "
					   "arn:aws:kms:us-east-1:111122223333:key/1234abcd, "
					   "kept by the service of earlier runs: 31, locked: 31");
		world_close(&world);
	}
}

TEST(only_what_this_run_stored_is_asked_for_where_that_is_wanted)
{
	struct world world;

	world_open(&world);
	world.forgets = true;
	world.only_stored = true;
	CHECK_OK(run(&world));
	CHECK_EQ(world.heads, 0);
	check_line(&world, "no objects");
	world.forgets = false;
	world.stores = false;
	bucket_stored_add(world.stored, pack, 900, 0);
	CHECK_ERR(run(&world), ERR_S3_UNFIT); /* that is not its checksum */
	CHECK_EQ(world.heads, 1);
	CHECK_EQ(world.model->counts.requests[S3_MODEL_LIST], 0);
	world_close(&world);
}

/* radosgw 16 takes AES256 and does nothing about it. */
TEST(what_is_not_encrypted_at_all_is_a_fault_where_it_should_be)
{
	struct world world;

	world_open(&world);
	world.config.encryption = "AES256";
	world.meddles = does_not_encrypt;
	CHECK_ERR(run(&world), ERR_S3_UNFIT);
	check_says(&world, "it is not encrypted, and should be encrypted with AES256");
	check_line(&world, "30 of 31 objects encrypted with AES256, checksum equal, "
			   "not as they were to be stored: 1");
	world_close(&world);
}

TEST(where_nothing_is_demanded_what_is_there_is_told)
{
	void (*const meddles[])(struct world *) = { encrypts_with_another_key, encrypts_otherwise,
						    does_not_encrypt };
	struct world world;

	for (size_t i = 0; i < ARRAY_COUNT(meddles); i++) {
		world_open(&world);
		world.meddles = meddles[i];
		snprintf(world.bucket->encryption, 16, "aws:kms");
		snprintf(world.bucket->kms_key, 160, "%s", kms_key);
		CHECK_OK(run(&world));
		CHECK_EQ(world.audit->encrypted, OBJECTS - 1);
		check_line(&world, "30 of 31 objects encrypted with aws:kms and key "
				   "arn:aws:kms:us-east-1:111122223333:key/1234abcd, checksum "
				   "equal");
		world_close(&world);
	}
}

/* The bucket does it by itself, by the policy's word. */
TEST(what_the_policy_demands_of_the_bucket_is_demanded_of_each_object)
{
	static const struct {
		const char *encryption, *key; /* of the bucket, */
		bool bucket_key;
		const char *wanted; /* and demanded */
		enum err error;
	} rows[] = { { "aws:kms", kms_key, true, "1234abcd", OK },
		     { "aws:kms", kms_key, true, NULL, OK },
		     { "aws:kms", kms_key, false, "1234abcd", ERR_S3_UNFIT },
		     { "aws:kms", other_key, true, "1234abcd", ERR_S3_UNFIT },
		     { "AES256", "", true, NULL, ERR_S3_UNFIT } };

	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		struct world world;

		world_open(&world);
		world.policy.encryption = "aws:kms";
		world.policy.kms_key = rows[i].wanted;
		world.policy.bucket_key = true;
		snprintf(world.bucket->encryption, 16, "%s", rows[i].encryption);
		snprintf(world.bucket->kms_key, 160, "%s", rows[i].key);
		world.bucket->bucket_key = rows[i].bucket_key;
		CHECK_ERR(run(&world), rows[i].error);
		CHECK_EQ(world.audit->faults, rows[i].error ? OBJECTS : 0);
		CHECK_EQ(world.audit->first[BUCKET_FAULTS_KEPT - 1].what[0] != '\0',
			 rows[i].error != OK);
		world_close(&world);
	}
}

/* HEAD tells keys, never aliases; the stand-in stores what it was sent, so it is the bucket's. */
TEST(behind_an_alias_all_objects_must_have_one_key)
{
	struct world world;

	for (unsigned i = 0; i < 2; i++) {
		world_open(&world);
		world.policy.encryption = "aws:kms";
		world.policy.kms_key = "alias/mail";
		snprintf(world.bucket->encryption, 16, "aws:kms");
		snprintf(world.bucket->kms_key, 160, "%s", kms_key);
		world.meddles = i ? encrypts_with_another_key : NULL;
		CHECK_ERR(run(&world), i ? ERR_S3_UNFIT : OK);
		world_close(&world);
	}
}

TEST(of_a_server_without_checksums_that_is_told_and_no_fault)
{
	struct world world;

	world_open(&world);
	world.is_elsewhere = true;
	world.model->lacks = S3_MODEL_LACKS_CHECKSUMS;
	CHECK_OK(run(&world));
	check_line(&world, "31 of 31 objects encrypted with AES256, without a checksum: 31");
	world_close(&world);
}

static void encrypts_nothing(struct world *world)
{
	for (struct s3_model_object *at = world->bucket->objects; at; at = at->next)
		at->traits.sse[0] = '\0';
}

TEST(of_a_server_that_encrypts_nothing_that_is_told)
{
	struct world world;

	world_open(&world);
	world.meddles = encrypts_nothing;
	CHECK_OK(run(&world));
	check_line(&world, "31 of 31 objects not encrypted, checksum equal");
	world_close(&world);
}

TEST(of_a_crowd_of_foreign_objects_none_is_asked_for)
{
	struct world world;

	world_open(&world);
	world.bucket->crowd_prefix = "a/b/m5/photos/";
	world.bucket->crowd_count = 25000;
	CHECK_OK(run(&world));
	CHECK_EQ(world.heads, OBJECTS);
	CHECK_EQ(world.audit->foreign, 25002);
	CHECK_EQ(world.model->counts.requests[S3_MODEL_LIST], 26);
	world_close(&world);
}

/* ---- what goes wrong ---- */

static void is_busy(struct world *world)
{
	s3_model_add_fault(world->model, &(struct s3_model_fault){ .op = S3_MODEL_HEAD,
								   .accident = S3_MODEL_ANSWERS,
								   .count = 40,
								   .status = 503,
								   .code = "SlowDown" });
	s3_model_add_fault(world->model, &(struct s3_model_fault){ .op = S3_MODEL_LIST,
								   .accident = S3_MODEL_TRUNCATES,
								   .bytes = 500,
								   .count = 1 });
}

TEST(an_audit_gets_over_what_passes)
{
	struct world world;

	world_open(&world);
	world.meddles = is_busy;
	CHECK_OK(run(&world));
	CHECK_EQ(world.heads, OBJECTS + 40);
	check_line(&world, "31 of 31 objects encrypted with AES256, checksum equal");
	world_close(&world);
}

TEST(an_object_that_goes_while_we_look_is_a_fault)
{
	struct world world;

	world_open(&world);
	world.forgets = true;
	s3_model_add_fault(world.model, &(struct s3_model_fault){ .op = S3_MODEL_HEAD,
								  .key = pack,
								  .accident = S3_MODEL_ANSWERS,
								  .count = 1,
								  .status = 404 });
	CHECK_ERR(run(&world), ERR_S3_UNFIT);
	check_says(&world, "it is not there, and was listed a moment ago");
	world_close(&world);
}

static void forbids_looking(struct world *world)
{
	world->model->users[0].denied[0] = "s3:GetObject";
}

TEST(who_may_not_look_is_told_which_permission_is_missing)
{
	struct world world;

	world_open(&world);
	world.meddles = forbids_looking;
	CHECK_ERR(run(&world), ERR_S3_DENIED);
	check_says(&world, "allow s3:GetObject on arn:aws:s3:::bucket/a/b/m");
	check_says(&world, "kms:Decrypt");
	CHECK_EQ(world.audit->faults, 0);
	world_close(&world);
}

/* No connection stays lent, no fiber behind, and nothing is taken for an answer. */
TEST(an_audit_that_is_called_off_at_any_step_ends)
{
	struct world world;
	enum err e = ERR_FIBER_CANCELED;

	world_open(&world);
	CHECK_OK(run(&world));
	world.stores = false;
	while (e == ERR_FIBER_CANCELED && world.cancel_at < 10000) {
		world.cancel_at += SANITIZED ? 7 : 1;
		e = run(&world);
	}
	CHECK_OK(e);
	CHECK(world.cancel_at > 100);
	world_close(&world);
}

/* HEAD leaves the lock out then, and says nothing. */
static void hides_the_locks(struct world *world)
{
	world->model->users[0].denied[0] = "s3:GetObjectRetention";
}

TEST(a_lock_that_may_not_be_seen_is_no_lock)
{
	struct world world;

	world_open(&world);
	want_all(&world);
	world.meddles = hides_the_locks;
	CHECK_ERR(run(&world), ERR_S3_UNFIT);
	CHECK_EQ(world.audit->faults, OBJECTS);
	check_says(&world, "s3:GetObjectRetention is to be allowed");
	world_close(&world);
}

static void stalls(struct world *world)
{
	s3_model_add_fault(world->model, &(struct s3_model_fault){ .op = S3_MODEL_HEAD,
								   .accident = S3_MODEL_STALLS,
								   .count = FOR_EVER });
}

TEST(an_audit_ends_at_its_deadline)
{
	struct world world;

	world_open(&world);
	world.hurries = true;
	world.meddles = stalls;
	CHECK_ERR(run(&world), ERR_NET_TIMEOUT);
	CHECK_EQ(world.audit->objects, 0);
	world_close(&world);
}

/* ---- the guard ---- */

static void guard_open(struct world *world)
{
	world_open(world);
	world->stores = false;
	world->guards = true;
}

static void check_found(const struct world *world, enum bucket_rule rule, const char *words)
{
	char found[400];

	CHECK_TEXT(bucket_fact_show(&world->facts, rule, found, sizeof found), words);
}

#define RULE(status, prefix, bucket)                                                               \
	"<Rule><ID>to-" bucket "</ID><Status>" status "</Status><Filter><Prefix>" prefix           \
	"</Prefix></Filter><Destination><Bucket>arn:aws:s3:::" bucket                              \
	"</Bucket></Destination></Rule>"

#define RULES(rules)                                                                               \
	"<ReplicationConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">"             \
	"<Role>arn:aws:iam::111122223333:role/r</Role>" rules "</ReplicationConfiguration>"

TEST(a_bucket_that_has_it_all_is_read_and_let_through)
{
	static const char *const replicas[] = { "arn:aws:s3:::mirror" };
	struct world world;

	guard_open(&world);
	world.bucket->object_lock = true;
	world.bucket->versioning = S3_MODEL_VERSIONED;
	snprintf(world.bucket->lock_mode, 12, "COMPLIANCE");
	world.bucket->lock_days = 3650;
	snprintf(world.bucket->encryption, 16, "aws:kms");
	snprintf(world.bucket->kms_key, 160, "%s", kms_key);
	world.bucket->bucket_key = true;
	world.bucket->public_access_block = "true";
	world.bucket->policy_is_public = "false";
	world.bucket->replication = RULES(RULE("Enabled", "a/", "mirror") RULE(
		"Disabled", "", "off") RULE("Enabled", "logs/", "elsewhere"));
	world.policy.encryption = "aws:kms";
	world.policy.kms_key = kms_key;
	world.policy.bucket_key = true;
	world.policy.replicas = replicas;
	world.policy.replicas_count = 1;
	for (unsigned i = 0; i < BUCKET_RULES; i++)
		world.policy.demand[i] = BUCKET_DEMANDED;
	CHECK_OK(run(&world));
	check_found(&world, BUCKET_REGION, "us-east-1");
	check_found(&world, BUCKET_REPLICATION, "to arn:aws:s3:::mirror");
	CHECK_EQ(world.facts.replication.rules, 3);
	check_found(&world, BUCKET_PUBLIC_POLICY, "not public");
	check_found(&world, BUCKET_PUBLIC_BLOCK, "on");
	check_found(&world, BUCKET_VERSIONING, "Enabled");
	check_found(&world, BUCKET_LOCK, "Enabled, by default COMPLIANCE for 3650 days");
	check_found(&world, BUCKET_ENCRYPTION,
		    "aws:kms with key arn:aws:kms:us-east-1:111122223333:key/1234abcd and a "
		    "bucket key");
	world.bucket->replication = RULES(RULE("Enabled", "a/b/m1", "elsewhere"));
	CHECK_ERR(run(&world), ERR_S3_RESIDENCY);
	check_says(&world, "rule \"to-elsewhere\" copies to arn:aws:s3:::elsewhere");
	world_close(&world);
}

TEST(a_bucket_where_nothing_was_ever_set_breaks_only_what_is_demanded)
{
	struct world world;

	guard_open(&world);
	world.bucket->encryption[0] = '\0';
	CHECK_OK(run(&world));
	check_found(&world, BUCKET_REPLICATION, "none");
	check_found(&world, BUCKET_PUBLIC_POLICY, "not public");
	check_found(&world, BUCKET_PUBLIC_BLOCK,
		    "off: BlockPublicAcls IgnorePublicAcls BlockPublicPolicy "
		    "RestrictPublicBuckets");
	check_found(&world, BUCKET_VERSIONING, "never enabled");
	check_found(&world, BUCKET_LOCK, "not enabled");
	check_found(&world, BUCKET_ENCRYPTION, "none");
	world.policy.encryption = "AES256";
	world.policy.demand[BUCKET_PUBLIC_BLOCK] = BUCKET_DEMANDED;
	world.policy.demand[BUCKET_VERSIONING] = BUCKET_DEMANDED;
	world.policy.demand[BUCKET_LOCK] = BUCKET_DEMANDED;
	CHECK_ERR(run(&world), ERR_S3_POLICY);
	check_says(&world, "\"versioning\" is broken, too; \"Object Lock\" is broken, too; "
			   "\"default encryption\" is broken, too");
	world.bucket->policy_is_public = "true";
	CHECK_ERR(run(&world), ERR_S3_POLICY);
	check_says(&world, "\"public policy\": the bucket's policy opens it to the public");
	world_close(&world);
}

TEST(what_the_guard_may_not_ask_it_says_and_what_is_elsewhere_it_refuses)
{
	struct world world;

	guard_open(&world);
	world.model->users[0].denied[0] = "s3:GetReplicationConfiguration";
	world.model->users[0].denied[1] = "s3:GetBucketPolicyStatus";
	CHECK_OK(run(&world));
	check_found(&world, BUCKET_REPLICATION,
		    "not checked: allow s3:GetReplicationConfiguration");
	world.policy.demand[BUCKET_PUBLIC_POLICY] = BUCKET_DEMANDED;
	CHECK_ERR(run(&world), ERR_S3_POLICY);
	check_says(&world, "not checked: allow s3:GetBucketPolicyStatus");
	world.model->users[0].denied[0] = "s3:ListBucket";
	CHECK_ERR(run(&world), ERR_S3_DENIED);
	world.model->users[0].denied[0] = NULL;
	snprintf(world.bucket->region, sizeof world.bucket->region, "eu-west-1");
	CHECK_ERR(run(&world), ERR_S3_REGION);
	world_close(&world);
}

TEST(of_a_bucket_of_another_owner_nothing_is_learnt)
{
	struct world world;

	guard_open(&world);
	snprintf(world.bucket->owner, sizeof world.bucket->owner, "999999999999");
	CHECK_ERR(run(&world), ERR_S3_DENIED);
	check_says(&world, "the bucket is not account 111122223333's");
	CHECK_EQ(world.model->counts.requests[S3_MODEL_GET_CONFIG], 0);
	world_close(&world);
}
