/* Single messages in a bucket against the strict stand-in for S3, over all that lies between them:
 * one accident at any request of a run that stores some and reads all back loses, doubles and
 *alters nothing, whether the run gets over it or ends there.
 *
 *	SIM_ALL=1 make sim                          at every request
 *	CROWD=1000000 .../eml_test a_prefix_with_very_many_objects_is_listed */
#include <stdlib.h>

#include "crypto/digest.h"
#include "engine/clock.h"
#include "engine/fiber.h"
#include "engine/log.h"
#include "engine/shard.h"
#include "tests/sim/disk_sim.h"
#include "tests/sim/s3_model_net.h"
#include "tests/sim/sim.h"
#include "tests/test.h"
#include "transport/conn.h"
#include "transport/eml_sink.h"
#include "transport/mime_source.h"
#include "transport/store_s3.h"

enum {
	PORT = 443,
	PART = 2048,
	LEAST = 1024,
	MESSAGES = 6,
	BYTES_MAX = 3 * PART,
	MODEL_BYTES = 64 * 1024 * 1024,
	FOR_EVER = 1000000,
	SEALS_MAX = 64,
};

static const char secret[] = "a-secret-that-must-not-be-seen", token[] = "a-token";
static const char *const users[] = { "KEY-0", "KEY-1", "KEY-2", "KEY-3" };
static const uint8_t ledger[STORE_S3_LEDGER_BYTES] = { 1, 2, 3 };

/* The bucket, and what a ledger would know. */
static struct world {
	struct s3_model *model;
	struct s3_model_bucket *bucket;
	unsigned runs, keys; /* so far; which keys are lent */
	bool stored[MESSAGES];
	/* So much of it would be known after a cut. */
	bool durable[MESSAGES];
	struct seal {
		uint64_t no;
		struct buffer blob;
	} seals[SEALS_MAX];
	unsigned seals_count;
	uint64_t next_seal_no, seals_owed;
	struct wait_queue found; /* what was sealed is settled */
	unsigned receipts;
	enum source_change {
		SOURCE_SAME,
		SOURCE_MOVED,	/* all is in another folder now, */
		SOURCE_DELETED, /* nowhere, */
		SOURCE_RENEWED, /* or in a folder of the same name and another epoch */
		SOURCE_CHANGES,
	} change;
	/* of the run */
	struct sink *sink;
	struct source *source;
	struct reserve *reserve;
	struct http_pool *pool;
	struct account account;
	unsigned read, reads[MESSAGES]; /* messages that came back */
	struct err_note note;
	char what[80]; /* goes wrong in it; "": nothing */
} world;

static uint8_t bytes[MESSAGES][BYTES_MAX];
static const size_t sizes[MESSAGES] = { 200, 0, PART, 3 * PART, 17, PART + LEAST };
static struct box box;
static struct box box_later; /* that has the messages after the source was changed */
static struct box_page page;
static struct item item;

static nsec soon(void)
{
	return clock_after(3600 * NSEC_SECOND);
}

static void world_open(void)
{
	struct s3_model *model = s3_model_open(1, MODEL_BYTES);

	log_setup(2, LOG_ERROR, false); /* what accidents bring about is said as a warning */
	world = (struct world){ .model = model, .next_seal_no = 1 };
	model->part_bytes_min = LEAST;
	snprintf(model->endpoints[0].host, sizeof model->endpoints[0].host, "127.0.0.1");
	world.bucket = s3_model_add_bucket(model, "bucket", "us-east-1");
	world.bucket->versioning = S3_MODEL_VERSIONED; /* so that what is overwritten is seen */
	for (unsigned i = 0; i < ARRAY_COUNT(users); i++)
		(void)s3_model_add_user(model, users[i], secret, token);
	for (unsigned i = 0; i < MESSAGES; i++)
		for (size_t n = 0; n < sizes[i]; n++)
			bytes[i][n] = (uint8_t)((n * 31 + i * 7) >> (n % 5));
	box = (struct box){ .name = "INBOX",
			    .raw = "INBOX",
			    .separator = '/',
			    .use = BOX_USE_INBOX,
			    .subscribed = true,
			    .selectable = true,
			    .epoch = 77,
			    .box_no = 1 };
}

static void world_close(void)
{
	for (unsigned i = 0; i < world.seals_count; i++)
		buffer_free(&world.seals[i].blob);
	s3_model_close(&world.model);
}

/* ---- storing ---- */

/* Bytes that are all there, a chunk at a time. */
struct body {
	struct stream base;
	unsigned message;
	size_t at;
};

static enum err body_pull(struct stream *stream, struct iolist *out)
{
	struct body *body = CONTAINER_OF(stream, struct body, base);
	size_t n = min_u64(sizes[body->message] - body->at, CHUNK_BYTES);
	struct chunk *chunk;
	enum err e;

	if (n == 0)
		return ERR_STREAM_ENDED;
	if ((e = chunk_wait(world.reserve, soon(), &chunk)))
		return e;
	bytes_copy(chunk->data, bytes[body->message] + body->at, n, BYTES_META);
	body->at += n;
	iolist_add(out, (struct slice){ chunk, 0, (uint32_t)n });
	return OK;
}

static void body_close(struct stream *stream)
{
	(void)stream;
}

static const struct stream_type body_type = { body_pull, body_close };

static struct mail_meta meta_of(unsigned i)
{
	return (struct mail_meta){ .flags = i, .date = { 1700000000 + i, -60, true } };
}

static enum err put_one(unsigned i)
{
	struct body body = { .base = { &body_type }, .message = i };
	struct item one = { .kind = ITEM_MESSAGE,
			    .box_no = world.change ? 2 : 1,
			    .no = i + 1,
			    .size_bytes = (int64_t)sizes[i],
			    .meta = meta_of(i),
			    .body = &body.base };

	must(digest_of(digest_type(text_of("blake3")), bytes[i], sizes[i], &one.digest) == OK);
	return eml_sink.put(world.sink, &one);
}

static void seal_forget(uint64_t no)
{
	unsigned i = 0;

	while (i < world.seals_count && world.seals[i].no != no)
		i++;
	must(i < world.seals_count);
	buffer_free(&world.seals[i].blob);
	world.seals[i] = world.seals[--world.seals_count];
}

/* The oldest seal above that number; NULL: there is none. */
static const struct seal *seal_behind(uint64_t no)
{
	const struct seal *next = NULL;

	for (unsigned i = 0; i < world.seals_count; i++)
		if (world.seals[i].no > no && (!next || world.seals[i].no < next->no))
			next = &world.seals[i];
	return next;
}

/* What earlier runs sealed is settled first. */
static enum err recover(void)
{
	const struct seal *seal;
	enum seal_fate fate;
	enum err e = OK;

	for (uint64_t no = 0; !e && (seal = seal_behind(no));) {
		struct text blob = { seal->blob.at, seal->blob.bytes };

		no = seal->no;
		if ((e = eml_sink.find(world.sink, no, blob, &fate)))
			break;
		if (fate == SEAL_PRESENT)
			world.seals_owed++;
		else
			seal_forget(no);
	}
	while (!e && world.seals_owed)
		e = wait_on(&world.found, soon());
	return e;
}

static enum err prepare(void)
{
	enum err e = world.change == SOURCE_RENEWED ? OK : eml_sink.prepare(world.sink, &box);

	if (e || !world.change || world.change == SOURCE_DELETED)
		return e;
	return eml_sink.prepare(world.sink, &box_later);
}

/* What the ledger knows of and the source has no more, or has elsewhere. */
static enum err tell_change(void)
{
	enum err e = OK;

	for (unsigned i = 0; i < MESSAGES && !e; i++) {
		struct change change = {
			.kind = CHANGE_VANISHED, .box = &box, .epoch = box.epoch, .no = i + 1
		};

		if (!world.stored[i])
			continue;
		if (world.change == SOURCE_RENEWED)
			change = (struct change){ .kind = CHANGE_RENUMBERED,
						  .box = &box_later,
						  .epoch = box_later.epoch,
						  .no = i + 1,
						  .was_box = box.name,
						  .was_epoch = box.epoch,
						  .was_no = i + 1,
						  .meta = meta_of(i) };
		e = eml_sink.amend(world.sink, &change);
		world.stored[i] = world.change == SOURCE_RENEWED;
	}
	return e ? e : eml_sink.amend_flush(world.sink);
}

static enum err put_all(void *argument)
{
	enum err e = OK;

	(void)argument;
	if (!(e = recover()) && !(e = prepare()) && world.change)
		e = tell_change();
	for (unsigned i = 0; i < MESSAGES && !e; i++)
		if (!world.stored[i] && world.change != SOURCE_DELETED)
			e = put_one(i);
	eml_sink.drain(world.sink);
	return e;
}

static void make_durable(void)
{
	for (unsigned i = 0; i < MESSAGES; i++)
		world.durable[i] = world.stored[i];
}

static enum err take_seal(const struct receipt *receipt)
{
	struct seal *seal = &world.seals[world.seals_count++];

	must(world.seals_count <= SEALS_MAX);
	CHECK_EQ(receipt->seal_no, world.next_seal_no);
	*seal = (struct seal){ .no = world.next_seal_no++ };
	buffer_add(&seal->blob, receipt->seal.at, receipt->seal.bytes);
	make_durable();
	return eml_sink.publish(world.sink, receipt->seal_no);
}

static void take_settled(const struct receipt *receipt)
{
	for (size_t i = 0; i < receipt->seals_count; i++)
		seal_forget(receipt->seal_nos[i]);
	world.seals_owed -= min_u64(world.seals_owed, receipt->seals_count);
	make_durable();
	wake_all(&world.found);
}

static void take_stored(const struct receipt *receipt)
{
	CHECK_EQ(receipt->kind, RECEIPT_STORED);
	must(receipt->no >= 1 && receipt->no <= MESSAGES);
	CHECK(!world.stored[receipt->no - 1]);
	world.stored[receipt->no - 1] = true;
	world.receipts++;
}

static enum err take_receipts(void *argument)
{
	struct receipt receipt;
	enum err e;

	(void)argument;
	while (!(e = eml_sink.receipt(world.sink, &receipt))) {
		if (receipt.kind == RECEIPT_SEALED)
			e = take_seal(&receipt);
		else if (receipt.kind == RECEIPT_SETTLED)
			take_settled(&receipt);
		else
			take_stored(&receipt);
		if (e)
			break;
	}
	eml_sink.end_receipts(world.sink);
	wake_all(&world.found);
	if (e != ERR_SINK_FINISHED)
		return e;
	make_durable();
	return OK;
}

/* As the lane asks. */
static enum err ask_known(void *asked, uint64_t box_no, uint64_t no, size_t count,
			  enum sink_known *known)
{
	(void)asked;
	CHECK_EQ(box_no, 1);
	for (size_t i = 0; i < count; i++)
		known[i] = world.stored[no - 1 + i] ? SINK_KNOWN_STORED : SINK_KNOWN_OPEN;
	return OK;
}

static enum err store_all(void)
{
	const struct sink_config config = { .mailbox_name = "alice@mail.example.com",
					    .ledger_id = ledger,
					    .next_seal_no = world.next_seal_no,
					    .ask_known = ask_known,
					    .digest = digest_type(text_of("blake3")) };
	struct group *both;
	enum err e = eml_sink.open(&world.sink, &world.account, &config, soon());

	if (e)
		return e;
	both = group_open();
	group_cancel_on_error(both, false);
	must(group_spawn(both, "receipt", FIBER_STACK_LARGE, take_receipts, NULL) == OK);
	must(group_spawn(both, "write", FIBER_STACK_LARGE, put_all, NULL) == OK);
	e = group_join(&both);
	return e ? e : eml_sink.finish(world.sink, soon());
}

/* ---- reading ---- */

static enum err drain(struct stream *body, struct buffer *to)
{
	struct iolist list = { 0 };
	enum err e;

	while (!(e = stream_pull(body, &list))) {
		for (unsigned i = 0; i < list.count; i++)
			buffer_add(to, slice_bytes(&list.slices[i]), list.slices[i].length);
		iolist_release(&list);
	}
	return e == ERR_STREAM_ENDED ? OK : e;
}

/* One that came is one of ours, with all that stood beside it. */
static void check_message(const struct buffer *body)
{
	for (unsigned i = 0; i < MESSAGES; i++)
		if (body->bytes == sizes[i] &&
		    (body->bytes == 0 || memcmp(body->at, bytes[i], body->bytes) == 0)) {
			CHECK_EQ(item.meta.flags, i);
			CHECK_EQ(item.meta.date.seconds, 1700000000 + i);
			CHECK_EQ(item.meta.date.zone_minutes, -60);
			world.read++;
			world.reads[i]++;
			return;
		}
	test_failed(__FILE__, __LINE__, "%s: a message of %zu bytes that nobody stored", world.what,
		    body->bytes);
}

static enum err read_messages(void)
{
	struct buffer body = { 0 };
	enum err e;

	while (!(e = mime_source.next(world.source, &item))) {
		if (item.kind != ITEM_MESSAGE)
			continue;
		CHECK_EQ(item.fate, OK);
		if (item.fate)
			break;
		buffer_reset(&body);
		e = drain(item.body, &body);
		stream_close(&item.body);
		if (e)
			break;
		check_message(&body);
	}
	buffer_free(&body);
	if (e != ERR_PIPE_ENDED)
		return e;
	return OK;
}

static enum err read_all(void)
{
	enum err e = mime_source.open(&world.source, &world.account, world.reserve, soon());

	if (e || (e = mime_source.list(world.source, &page, soon())))
		return e;
	CHECK(page.last && page.count == (world.change == SOURCE_MOVED ? 2 : 1));
	for (unsigned i = 0; i < page.count && !e; i++) {
		page.boxes[i].box_no = i + 1;
		CHECK(strcmp(page.boxes[i].name, box.name) == 0 ||
		      strcmp(page.boxes[i].name, box_later.name) == 0);
		if (!(e = mime_source.ask(world.source, &page.boxes[i], 1, UINT64_MAX)))
			e = read_messages();
	}
	return e;
}

/* ---- a run ---- */

static enum err lend(void *context, nsec until, struct s3_key_loan *loan)
{
	(void)context, (void)until;
	*loan = (struct s3_key_loan){
		.held = &world,
		.credentials = { .access_key_id = text_of(users[world.keys % ARRAY_COUNT(users)]),
				 .secret = text_of(secret),
				 .session_token = text_of(token) }
	};
	return OK;
}

static void take_back(void *context, struct s3_key_loan *loan, bool refused)
{
	(void)context;
	must(loan->held == &world);
	world.keys += refused;
}

/* Others' objects: a folder of so many messages. */
static enum err list_crowd(void)
{
	enum err e = mime_source.open(&world.source, &world.account, world.reserve, soon());

	if (e || (e = mime_source.list(world.source, &page, soon())))
		return e;
	CHECK(page.last && page.count == 1);
	CHECK_TEXT(page.boxes[0].name, "crowd");
	CHECK_EQ(page.boxes[0].messages, world.bucket->crowd_count);
	return OK;
}

static enum err script_main(void *argument)
{
	enum err e;

	(void)argument;
	must(reserve_open(arena_current(), 8, soon(), &world.reserve) == OK);
	world.read = 0;
	memset(world.reads, 0, sizeof world.reads);
	world.seals_owed = 0;
	e = world.bucket->crowd_count ? list_crowd() : store_all();
	if (world.sink)
		eml_sink.close(&world.sink);
	if (!e && !world.bucket->crowd_count)
		e = read_all();
	world.note = *err_note();
	if (world.source)
		mime_source.close(&world.source);
	reserve_close(&world.reserve);
	err_note_clear();
	return e;
}

static enum err client_main(void *argument)
{
	static const struct aws_partition aws = { .name = "aws",
						  .dns_suffix = "0.0.1",
						  .dual_stack_suffix = "0.0.1" };
	const struct s3_keys keys = { lend, take_back, NULL };
	struct store_s3_config config = { .ledger_id = ledger,
					  .machine = "mover-1",
					  .part_bytes = PART,
					  .part_bytes_least = LEAST };
	struct group *group = group_open();
	enum err e;

	(void)argument;
	must(http_pool_open(4, &world.pool) == OK);
	config.s3 = (struct s3_config){ .pool = world.pool,
					.keys = &keys,
					.owner = "111122223333",
					.endpoint = { .host = "127.0.0.1",
						      .port = PORT,
						      .path = "/bucket",
						      .region = "us-east-1",
						      .partition = &aws } };
	world.account = (struct account){ .scheme = "s3+eml",
					  .user = "",
					  .host = "bucket",
					  .path = "/a/b/",
					  .shown = "s3://bucket/a/b/",
					  .io_timeout = 30 * NSEC_SECOND,
					  .connect_timeout = 30 * NSEC_SECOND,
					  .s3 = &config };
	must(group_spawn(group, "client", FIBER_STACK_LARGE, script_main, NULL) == OK);
	e = group_join(&group);
	err_note_clear();
	http_pool_finish(world.pool, clock_after(NSEC_SECOND));
	http_pool_close(&world.pool);
	err_note_clear();
	return e;
}

static enum err run(void)
{
	static struct disk *disk; /* empty: trust settings look for files */
	enum err e;

	if (!disk)
		disk = disk_open(1024 * 1024);
	sim_begin(&(struct sim_config){ .seed = 7, .process_no = world.runs++ });
	net_forget();
	s3_model_listen(world.model, PORT);
	e = shard_run(&(struct shard_config){ .arena_chunks = 16 }, client_main, NULL);
	err_note_clear();
	conn_thread_cleanup();
	CHECK(!strstr(world.note.text, secret) && !strstr(world.note.text, token));
	return e;
}

/* ---- the judge ---- */

#define JUDGE(condition)                                                                           \
	((condition) ? (void)0 : test_failed(__FILE__, __LINE__, "%s: %s", world.what, #condition))

#define FOLDER "a/b/alice_mail.example.com-97b7a10a/eml/INBOX-1302608b19023509/"

static void judge(void)
{
	char key[200];

	for (unsigned i = 0; i < MESSAGES; i++) {
		const struct s3_model_object *there;

		snprintf(key, sizeof key, FOLDER "77-%010u.eml", i + 1);
		there = s3_model_object_of(world.bucket, key);
		JUDGE(there && there->length == sizes[i] &&
		      (sizes[i] == 0 || memcmp(there->bytes, bytes[i], sizes[i]) == 0));
		JUDGE(s3_model_versions(world.bucket, key) == 1);
		JUDGE(world.stored[i]);
	}
	JUDGE(world.receipts == MESSAGES);
	JUDGE(world.read == MESSAGES);
	JUDGE(world.seals_count == 0);
	JUDGE(s3_model_objects(world.bucket, "") == MESSAGES + 3); /* archive, mailbox, folder */
	JUDGE(s3_model_uploads(world.bucket, "") == 0);
	JUDGE(world.model->counts.unconditional == 0);
	JUDGE(world.model->counts.unchecked == 0);
}

TEST(what_is_asked_is_what_aws_takes)
{
	world_open();
	if (!CHECK_OK(run()))
		printf("%s\n", world.note.text);
	judge();
	CHECK_EQ(world.model->counts.forbidden, 0);
	CHECK_EQ(world.model->counts.overwritten, 0);
	CHECK_OK(run()); /* has nothing to store */
	judge();
	world_close();
}

TEST(a_prefix_with_very_many_objects_is_listed)
{
	const char *crowd = getenv("CROWD");

	world_open();
	world.bucket->crowd_prefix = "a/b/crowd/x";
	world.bucket->crowd_count = crowd ? strtoull(crowd, NULL, 10) : 20000;
	CHECK_OK(run());
	world_close();
}

/* ---- accidents ---- */

static const struct s3_model_fault accidents[] = {
	{ .accident = S3_MODEL_ANSWERS, .status = 503, .code = "SlowDown" },
	{ .accident = S3_MODEL_ANSWERS_APPLIED, .status = 500, .code = "InternalError" },
	{ .accident = S3_MODEL_ANSWERS,
	  .op = S3_MODEL_PUT,
	  .status = 409,
	  .code = "ConditionalRequestConflict" },
	{ .accident = S3_MODEL_RESETS_EARLY },
	{ .accident = S3_MODEL_RESETS_IN_BODY, .bytes = 100 },
	{ .accident = S3_MODEL_RESETS_APPLIED },
	{ .accident = S3_MODEL_RESETS_IN_ANSWER, .bytes = 150 },
	{ .accident = S3_MODEL_LATE },
	{ .accident = S3_MODEL_LATE, .requests = 5 },
	{ .accident = S3_MODEL_LATE, .requests = FOR_EVER },
	{ .accident = S3_MODEL_STALLS },
	{ .accident = S3_MODEL_SLOW, .bytes = 50, .wait_ms = 500 },
	{ .accident = S3_MODEL_TRUNCATES, .bytes = 37 },
	{ .accident = S3_MODEL_EXPIRES_TOKEN },
	{ .accident = S3_MODEL_JUMPS, .seconds = 3600 },
	{ .accident = S3_MODEL_DICE },
};

/* Everything after it is refused, as if the run had been killed there. */
static const struct s3_model_fault end_of_it = {
	.accident = S3_MODEL_ANSWERS, .status = 403, .code = "AccessDenied", .count = FOR_EVER
};

/* False: the run ends before that request. */
static bool check_accident(unsigned row, unsigned at, bool ends)
{
	struct s3_model_fault fault = accidents[row], end = end_of_it;
	bool met;
	enum err e;

	world_open();
	snprintf(world.what, sizeof world.what, "accident %u at request %u%s", row + 1, at + 1,
		 ends ? ", and the end" : "");
	world.model->seed = at; /* of the dice */
	fault.skip = end.skip = at;
	fault.count = 1;
	end.op = fault.op;
	s3_model_add_fault(world.model, &fault);
	if (ends)
		s3_model_add_fault(world.model, &end);
	e = run();
	met = world.model->faults[0].met > 0;
	if (e && !(met && ends))
		test_failed(__FILE__, __LINE__, "%s; ended with %s: %s", world.what, err_name(e),
			    world.note.text);
	world.model->faults_count = 0;
	if (at % 2)
		s3_model_settle(world.model, s3_model_world_time());
	for (unsigned i = 0; i < 2; i++) {
		if ((e = run()))
			test_failed(__FILE__, __LINE__, "%s; the next run ends with %s: %s",
				    world.what, err_name(e), world.note.text);
		s3_model_settle(world.model, s3_model_world_time());
	}
	judge();
	world_close();
	return met;
}

static void check_accidents(bool ends)
{
	const char *all = getenv("SIM_ALL");
	unsigned step = all && *all == '1' ? 1 : SANITIZED ? 23 : 11, most = 0;

	for (unsigned row = 0; row < ARRAY_COUNT(accidents); row++)
		for (unsigned at = row % step; check_accident(row, at, ends); at += step)
			most = at > most ? at : most;
	CHECK(most > 20);
}

TEST(a_run_gets_over_any_accident)
{
	check_accidents(false);
}

TEST(what_a_run_leaves_that_ends_at_any_accident_is_made_whole)
{
	check_accidents(true);
}

/* ---- the source changes while nothing runs ---- */

static void source_changes(enum source_change how)
{
	world.change = how;
	box_later = box;
	box_later.box_no = 2;
	if (how == SOURCE_RENEWED) {
		box_later.epoch = 78;
	} else {
		bytes_copy(box_later.name, "Archive", sizeof "Archive", BYTES_META);
		bytes_copy(box_later.raw, "Archive", sizeof "Archive", BYTES_META);
		box_later.use = BOX_USE_ARCHIVE;
	}
}

/* False: the run ends before that request. */
static bool check_change(const struct s3_model_fault *accident, unsigned at, enum source_change how)
{
	struct s3_model_fault fault = *accident, end = end_of_it;
	bool met;
	enum err e;

	world_open();
	snprintf(world.what, sizeof world.what, "accident %d at request %u, then change %d",
		 (int)accident->accident, at + 1, (int)how);
	fault.skip = end.skip = at;
	fault.count = 1;
	s3_model_add_fault(world.model, &fault);
	s3_model_add_fault(world.model, &end);
	e = run();
	met = world.model->faults[0].met > 0;
	JUDGE(!e || met);
	world.model->faults_count = 0;
	memcpy(world.stored, world.durable, sizeof world.stored);
	source_changes(how);
	if ((e = run()))
		test_failed(__FILE__, __LINE__, "%s; the next run ends with %s: %s", world.what,
			    err_name(e), world.note.text);
	JUDGE(world.seals_count == 0);
	for (unsigned i = 0; i < MESSAGES; i++)
		JUDGE(world.reads[i] == (how != SOURCE_DELETED));
	world_close();
	return met;
}

TEST(what_a_run_leaves_is_known_though_the_source_has_it_no_more)
{
	static const struct s3_model_fault cuts[] = { { .accident = S3_MODEL_RESETS_EARLY },
						      { .accident = S3_MODEL_RESETS_APPLIED } };
	const char *all = getenv("SIM_ALL");
	unsigned step = all && *all == '1' ? 1 : SANITIZED ? 5 : 2, most = 0;

	for (unsigned row = 0; row < ARRAY_COUNT(cuts); row++)
		for (unsigned how = SOURCE_MOVED; how < SOURCE_CHANGES; how++)
			for (unsigned at = (row + how) % step;
			     check_change(&cuts[row], at, (enum source_change)how); at += step)
				most = at > most ? at : most;
	CHECK(most > 10);
}
