/* Whole runs into an archive in a bucket, and out of one. Wherever a run is killed, and whatever
 * the service does to its requests: after the next run every message is there once and whole,
 * nothing of ours is left half done, and nothing of others was touched.
 *
 *	SIM_ALL=1 make sim                    every step, every accident at every request
 *	make sim SEED=7 BUCKET=123            the run that is killed before that step
 *	make sim SEED=7 SCENARIO=bucket_dice CUT=123
 *	ACCIDENT=3 .../world_bucket_test      only the third of the table, at every request */
#include <stdlib.h>

#include "tests/sim/sweep.h"
#include "tests/sim/world_bucket.h"
#include "tests/test.h"

enum {
	KILLS_USUAL = SANITIZED ? 8 : 30,
	FIRST_KILLS_NESTED = SANITIZED ? 1 : 3,
	SECOND_KILLS_USUAL = SANITIZED ? 2 : 5,
	EVERY = SANITIZED ? 41 : 31, /* so many-th request meets an accident */
	LONG_PART = 1200 * 1024,     /* longer bodies are asked for first */
	LONG_BYTES = 4 * 1024 * 1024,
	HOUR_S = 3600,
	FOR_EVER = 1000000,
	LATE_REQUESTS_MAX = 40,
	LATE_EVERY = 6,
};

static void add(struct world *world, struct imap_model_box *box, const char *subject, size_t bytes)
{
	struct buffer mail = { 0 };

	world_make_mail(world, subject, bytes, &mail);
	(void)imap_model_add_message(box, "\\Seen", "02-Feb-2022 22:22:22 +0200", mail.at,
				     mail.bytes);
	buffer_free(&mail);
}

/* What a process asked for last may be done when the next one is at work. */
static void make_late(struct world *world, unsigned requests_max)
{
	struct s3_model *model = world->bucket->model;

	model->works_ms_max = 300;
	model->late_requests_max = requests_max;
	model->never_one_in = 5;
}

/* Several packs, of several parts each. */
static void fill(struct world *world)
{
	struct imap_model_box *box = imap_model_add_box(&world->imap, "INBOX", "INBOX", "");

	world_add_bucket(world);
	world->pack_bytes = 12 * 1024;
	for (unsigned i = 0; i < 6; i++)
		add(world, box, "inbox", i == 3 ? 40000 : 9000 + i);
	box = imap_model_add_box(&world->imap, "Sent", "Sent", "");
	add(world, box, "sent", 500);
	add(world, box, "sent", 500);
}

/* ---- kills ---- */

TEST(a_run_that_is_killed_at_any_step_is_made_whole_by_the_next)
{
	static const struct scenario killed = { .between = world_bucket_crowd };
	struct world *world;
	struct sweep sweep;

	ONLY_FOR("BUCKET");
	world = world_open(world_seed(SEED_USUAL));
	fill(world);
	make_late(world, 70);
	sweep_open(&sweep, &killed, world, "BUCKET");
	if (!sweep.only_second)
		sweep_cuts(&sweep, KILLS_USUAL);
	sweep_second_cuts(&sweep, FIRST_KILLS_NESTED, SECOND_KILLS_USUAL);
	printf("  %u kills made, of %llu steps, and %u requests done late; SIM_ALL=1 makes all\n",
	       sweep.made, (unsigned long long)sweep.steps, sweep.world->bucket->late);
	CHECK(sweep.world->bucket->late > 0 || sweep.only);
	sweep_close(&sweep);
}

/* ---- scenarios: each is cut as those of scenario_test.c are ---- */

static void fill_soon_late(struct world *world)
{
	fill(world);
	make_late(world, 4);
}

static void fill_large(struct world *world)
{
	fill(world);
	make_late(world, 40);
	add(world, &world->imap.boxes[0], "large", STAGE_BYTES_MAX + 150000);
	add(world, &world->imap.boxes[0], "behind", 700);
}

static void fill_shared(struct world *world)
{
	static const char *const names[] = { "A", "B", "C", "D", "E" };

	world_add_bucket(world);
	make_late(world, 40);
	world->connections = 2;
	world->pack_bytes = 6 * 1024;
	for (unsigned i = 0; i < ARRAY_COUNT(names); i++) {
		struct imap_model_box *box =
			imap_model_add_box(&world->imap, names[i], names[i], "");

		for (unsigned k = 0; k < 16; k++)
			add(world, box, names[i], k == 7 ? 70000 : 300 + k);
	}
}

/* Bytes that do not get shorter, in parts that are asked for first. */
static void fill_long(struct world *world)
{
	struct imap_model_box *box = imap_model_add_box(&world->imap, "INBOX", "INBOX", "");
	uint64_t x = 88172645463325252;
	struct buffer mail = { .bytes_max = 2 * LONG_BYTES };

	world_add_bucket(world);
	world->bucket->part_bytes = LONG_PART;
	world->pack_bytes = LONG_BYTES / 2;
	while (mail.bytes < LONG_BYTES) {
		x ^= x << 13, x ^= x >> 7, x ^= x << 17;
		buffer_addf(&mail, "%016llx%s", (unsigned long long)x, x % 4 ? "" : "\r\n");
	}
	must(!mail.failed);
	(void)imap_model_add_message(box, "", "02-Feb-2022 22:22:22 +0200", mail.at, mail.bytes);
	buffer_free(&mail);
	add(world, box, "behind", 700);
}

/* An archive that is there already, of a mailbox that people went on using. */
static void fill_changed(struct world *world)
{
	struct imap_model_box *box;

	fill(world);
	CHECK(sweep_completes(world, "the run before"));
	make_late(world, 40);
	box = &world->imap.boxes[0];
	imap_model_flag(box, 0, "\\Seen \\Flagged $a");
	imap_model_flag(box, 2, "");
	add(world, box, "new", 9000);
	add(world, &world->imap.boxes[1], "new", 20000);
	world_bucket_crowd(world);
}

/* Out of the bucket into a directory. */
static void fill_read(struct world *world)
{
	fill(world);
	CHECK(sweep_completes(world, "the run before"));
	world_bucket_crowd(world);
	world_bucket_becomes_source(world->bucket);
}

static void add_fault(struct world *world, const struct s3_model_fault *fault)
{
	s3_model_add_fault(world->bucket->model, fault);
}

static void trouble_dice(struct world *world, uint64_t k)
{
	world->bucket->model->seed = k;
	add_fault(world, &(struct s3_model_fault){
				 .accident = S3_MODEL_DICE, .one_in = 5, .count = FOR_EVER });
}

static void trouble_keys(struct world *world, uint64_t k)
{
	add_fault(world, &(struct s3_model_fault){ .accident = S3_MODEL_EXPIRES_TOKEN,
						   .skip = (unsigned)(k % 50),
						   .count = 1 });
}

/* Ours is set, or theirs. */
static void trouble_clocks(struct world *world, uint64_t k)
{
	if (k % 2)
		add_fault(world, &(struct s3_model_fault){ .accident = S3_MODEL_JUMPS,
							   .skip = (unsigned)(k % 50),
							   .count = 1,
							   .seconds = 2 * HOUR_S });
	else
		world->faults.wall_jumps_at = sweep_before(k);
	world->faults.wall_jump_s = k % 4 ? HOUR_S : -HOUR_S;
}

static void trouble_continue(struct world *world, uint64_t k)
{
	add_fault(world, &(struct s3_model_fault){ .accident = k % 2 ? S3_MODEL_CONTINUES_NEVER
								     : S3_MODEL_CONTINUES_LATE,
						   .op = S3_MODEL_PART,
						   .wait_ms = 3000,
						   .count = FOR_EVER });
}

SCENARIO(bucket_soon_late, .fill = fill_soon_late, .between = world_bucket_crowd)
SCENARIO(bucket_large, .fill = fill_large)
SCENARIO(bucket_shared, .fill = fill_shared)
SCENARIO(bucket_changed, .fill = fill_changed)
SCENARIO(bucket_dice, .fill = fill, .trouble = trouble_dice)
SCENARIO(bucket_dice_changed, .fill = fill_changed, .trouble = trouble_dice)
SCENARIO(bucket_keys, .fill = fill, .trouble = trouble_keys)
SCENARIO(bucket_clocks, .fill = fill, .trouble = trouble_clocks)
SCENARIO(bucket_continue, .fill = fill_long, .trouble = trouble_continue)
SCENARIO(bucket_read, .fill = fill_read)
SCENARIO(bucket_read_dice, .fill = fill_read, .trouble = trouble_dice)

/* ---- one accident at one request ---- */

struct accident {
	struct s3_model_fault fault;
	enum err ends_with; /* the run may; OK: it may not */
	bool keys_end;
};

static const struct accident accidents[] = {
	{ .fault = { .accident = S3_MODEL_ANSWERS, .status = 503, .code = "SlowDown" } },
	{ .fault = { .accident = S3_MODEL_ANSWERS, .status = 500, .code = "InternalError" } },
	{ .fault = { .accident = S3_MODEL_ANSWERS_APPLIED,
		     .status = 500,
		     .code = "InternalError" } },
	{ .fault = { .accident = S3_MODEL_ERROR_IN_200, .op = S3_MODEL_COMPLETE } },
	{ .fault = { .accident = S3_MODEL_ERROR_IN_200,
		     .op = S3_MODEL_COMPLETE,
		     .loses_upload = true },
	  .ends_with = ERR_S3_UNAVAILABLE },
	{ .fault = { .accident = S3_MODEL_RESETS_EARLY } },
	{ .fault = { .accident = S3_MODEL_RESETS_IN_BODY, .bytes = 100 } },
	{ .fault = { .accident = S3_MODEL_RESETS_APPLIED } },
	{ .fault = { .accident = S3_MODEL_RESETS_IN_ANSWER, .bytes = 150 } },
	{ .fault = { .accident = S3_MODEL_LATE } },
	{ .fault = { .accident = S3_MODEL_LATE, .requests = 5 } },
	{ .fault = { .accident = S3_MODEL_LATE, .requests = FOR_EVER } },
	{ .fault = { .accident = S3_MODEL_STALLS } },
	{ .fault = { .accident = S3_MODEL_STALLS, .op = S3_MODEL_COMPLETE } },
	{ .fault = { .accident = S3_MODEL_SLOW, .bytes = 50, .wait_ms = 500 } },
	{ .fault = { .accident = S3_MODEL_TRUNCATES, .bytes = 37 } },
	{ .fault = { .accident = S3_MODEL_JUMPS, .seconds = HOUR_S } },
	{ .fault = { .accident = S3_MODEL_EXPIRES_TOKEN } },
	{ .fault = { .accident = S3_MODEL_EXPIRES_TOKEN },
	  .ends_with = ERR_AWS_EXPIRED,
	  .keys_end = true },
};

/* How often a row of the table was met, and the run ended with its error. */
struct meetings {
	unsigned met, ended;
};

/* False: it went wrong. *is_last: the run ended before that request. */
static bool meet(struct world *world, const struct accident *accident, unsigned at,
		 struct meetings *meetings, bool *is_last)
{
	const struct world_result *result = world->result;
	struct s3_model_fault fault = accident->fault;

	fault.skip = at;
	fault.count = 1;
	add_fault(world, &fault);
	world->bucket->keys_end = accident->keys_end;
	world_copy(world);
	world->bucket->keys_end = false;
	*is_last = world->bucket->model->faults[0].met == 0;
	meetings->met += !*is_last;
	meetings->ended += result->error != OK;
	if (result->end == WORLD_FINISHED && sweep_is_harmless(world) &&
	    (result->error == OK || (!*is_last && result->error == accident->ends_with)))
		return sweep_ends_well(world);
	world_show(world, "the run with the accident");
	return false;
}

/* At each so many requests, not the same ones of every row. */
static void meet_all(struct world *world, unsigned row, unsigned every)
{
	const struct accident *accident = &accidents[row];
	struct world_mark start = world_mark(world);
	struct meetings meetings = { 0 };
	bool is_last = false;

	for (unsigned at = row % every; !is_last; at += every) {
		world_back(world, &start);
		if (meet(world, accident, at, &meetings, &is_last))
			continue;
		test_failed(__FILE__, __LINE__, "accident %u at request %u; repeat: ACCIDENT=%u",
			    row + 1, at + 1, row + 1);
		break;
	}
	world_back(world, &start);
	CHECK(meetings.met > 0);
	CHECK(meetings.ended > 0 || !accident->ends_with);
	world_mark_free(&start);
}

static void check_accidents(void (*fill_it)(struct world *))
{
	unsigned only = (unsigned)sweep_asked("ACCIDENT");
	struct world *world;

	ONLY_FOR("ACCIDENT");
	world = world_open(world_seed(SEED_USUAL));
	fill_it(world);
	for (unsigned row = 0; row < ARRAY_COUNT(accidents); row++)
		if (!only || row == only - 1)
			meet_all(world, row,
				 only || accidents[row].fault.op || sweep_asked("SIM_ALL") ? 1
											   : EVERY);
	world_close(&world);
}

TEST(an_accident_at_any_request_is_got_over_or_the_next_run_completes)
{
	check_accidents(fill);
}

TEST(so_it_is_of_an_archive_that_is_there)
{
	check_accidents(fill_changed);
}

/* ---- a run's last request comes late ---- */

static const char manifests[] = "mail/archive/alice_127.0.0.1-3b524e64/manifest/";

/* The run ends with the first request of a kind on its way, which is done when so many more have
 * been asked. */
static bool last_is_late(struct world *world, enum s3_model_op op, const char *key,
			 unsigned requests)
{
	add_fault(world, &(struct s3_model_fault){ .accident = S3_MODEL_LATE,
						   .op = op,
						   .key = key,
						   .requests = requests,
						   .count = 1 });
	add_fault(world, &(struct s3_model_fault){ .accident = S3_MODEL_ANSWERS,
						   .op = op,
						   .key = key,
						   .status = 403,
						   .code = "AccessDenied",
						   .count = FOR_EVER });
	world_copy(world);
	if (world->result->end != WORLD_FINISHED || world->result->error != ERR_S3_DENIED) {
		world_show(world, "the run whose last request is late");
		return false;
	}
	add(world, &world->imap.boxes[0], "new", 9000);
	return sweep_ends_well(world);
}

/* After any number of requests of the next run; returns how often there are two manifests then. */
static unsigned check_late(enum s3_model_op op, const char *key)
{
	const unsigned every = sweep_asked("SIM_ALL") ? 1 : LATE_EVERY;
	struct world *world = world_open(world_seed(SEED_USUAL));
	struct world_mark start;
	unsigned both = 0;

	fill(world);
	start = world_mark(world);
	for (unsigned requests = 0; requests < LATE_REQUESTS_MAX; requests += every) {
		world_back(world, &start);
		if (!last_is_late(world, op, key, requests))
			test_failed(__FILE__, __LINE__, "it came after %u requests", requests);
		both += s3_model_objects(world->bucket->bucket, manifests) == 2;
	}
	world_mark_free(&start);
	world_close(&world);
	return both;
}

TEST(a_manifest_that_comes_late_takes_its_number_and_the_run_takes_the_next)
{
	ONLY_FOR("");
	CHECK(check_late(S3_MODEL_PUT, manifests) > 0);
}

TEST(an_upload_that_begins_late_is_ended_by_the_run_that_it_meets)
{
	ONLY_FOR("");
	CHECK_EQ(check_late(S3_MODEL_CREATE, NULL), 0);
}

TEST(a_lock_that_comes_late_is_taken_over)
{
	ONLY_FOR("");
	CHECK_EQ(check_late(S3_MODEL_PUT, "mail/archive/.lock"), 0);
}

/* ---- an object changes under its reader ---- */

/* Somebody writes over it, and what was there is put back before the next run. */
static bool object_changes(struct world *world, unsigned at, bool *is_last)
{
	const struct world_result *result = world->result;
	struct s3_model_image *before = s3_model_save(world->bucket->model);

	add_fault(world, &(struct s3_model_fault){ .accident = S3_MODEL_CHANGES_OBJECT,
						   .op = S3_MODEL_GET,
						   .skip = at,
						   .count = 1 });
	world_copy(world);
	*is_last = world->bucket->model->faults[0].met == 0;
	s3_model_restore(world->bucket->model, before);
	free(before);
	if (result->end == WORLD_FINISHED && result->error == (*is_last ? OK : ERR_S3_CHANGED))
		return sweep_ends_well(world);
	world_show(world, "the run with the change");
	return false;
}

TEST(an_object_that_changes_under_its_reader_ends_the_run_and_nothing_else)
{
	struct world_mark start;
	struct world *world;
	bool is_last = false;

	ONLY_FOR("");
	world = world_open(world_seed(SEED_USUAL));
	fill_read(world);
	start = world_mark(world);
	for (unsigned at = 0; !is_last; at++) {
		world_back(world, &start);
		if (!object_changes(world, at, &is_last))
			test_failed(__FILE__, __LINE__, "the object of GetObject %u changed",
				    at + 1);
	}
	world_mark_free(&start);
	world_close(&world);
}
