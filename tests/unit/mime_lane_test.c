/* A lane from messages in a bucket, run after run: numbers that are made of hashes lie all over 62
 * bits, and what comes between them later is found; nothing is taken twice, and nothing is left. */
#include "engine/lane.h"
#include "tests/unit/archive_help.h"
#include "tests/unit/s3_fake.h"
#include "transport/eml_sink.h"
#include "transport/mime_source.h"
#include "transport/store_s3.h"

static const struct aws_partition aws = { .dns_suffix = "aws.example",
					  .dual_stack_suffix = "aws2.example" };
static struct store_s3_config config;
static char directory[200], state[250], target[250];
static struct lane_progress progress;
static unsigned planted;
static unsigned connections;
static bool newest_first, into_bucket;

static void plant(unsigned count)
{
	char key[60], mail[200];

	for (unsigned i = 0; i < count; i++, planted++) {
		int n = snprintf(mail, sizeof mail, "Subject: %u\r\n\r\n%0*u\r\n", planted,
				 (int)(planted % 90), planted);

		snprintf(key, sizeof key, "in/%s%u", planted % 3 ? "" : "sub/", planted);
		fake_store(key, fake_copy(mail, (size_t)n), (size_t)n);
	}
}

static struct fake_object *planted_one(unsigned i)
{
	char key[60];

	snprintf(key, sizeof key, "in/%s%u", i % 3 ? "" : "sub/", i);
	must(fake_find(key));
	return fake_find(key);
}

static void forget(unsigned i)
{
	struct fake_object *there = planted_one(i);

	free(there->at);
	*there = (struct fake_object){ 0 };
}

static enum err run_with(struct ledger *ledger, struct tap *digest, struct tap *store_digest)
{
	struct account from = { .scheme = "s3+eml",
				.user = "",
				.host = "bucket",
				.path = "/in/",
				.shown = "s3://bucket/in/",
				.s3 = &config,
				.io_timeout = 60 * NSEC_SECOND,
				.connect_timeout = 30 * NSEC_SECOND };
	struct account to = from;
	struct lane_config lane = { .source = &mime_source,
				    .connections = connections,
				    .source_account = &from,
				    .sink = &archive_sink,
				    .sink_account = &to,
				    .sink_config = { .mailbox_name = "alice@mail.example.com",
						     .digest = digest->type,
						     .digest_of_store = store_digest,
						     .zstd_level = 1,
						     .pack_bytes = 1024 * 1024 },
				    .ledger = ledger,
				    .digest = digest,
				    .newest_first = newest_first,
				    .finish_timeout = 10 * NSEC_SECOND };

	if (into_bucket) {
		lane.sink = &eml_sink;
		to.path = to.shown = "/out/";
	} else {
		to.scheme = "file";
		to.path = to.shown = target;
		to.s3 = NULL;
	}
	progress = (struct lane_progress){ 0 };
	return lane_run(&lane, &progress);
}

static enum err run(void)
{
	struct tap *digest = NULL, *store_digest = NULL;
	struct ledger *ledger = NULL;
	enum err e;

	must(digest_open(digest_type(text_of("blake3")), &digest) == OK &&
	     digest_open(digest_type(text_of("blake3")), &store_digest) == OK);
	if (!(e = ledger_open(state, clock_after(60 * NSEC_SECOND), &ledger))) {
		config.ledger_id = ledger_id(ledger);
		e = run_with(ledger, digest, store_digest);
		CHECK_OK(ledger_finish(ledger, clock_after(60 * NSEC_SECOND)));
		ledger_close(&ledger);
	}
	digest->type->close(&digest);
	store_digest->type->close(&store_digest);
	return e;
}

static void check_run(unsigned moved, unsigned vanished)
{
	CHECK_OK(run());
	err_note_clear();
	CHECK_EQ(progress.messages_moved, moved);
	CHECK_EQ(progress.messages_skipped, 0);
	CHECK_EQ(progress.changes.vanished, vanished);
}

static void begin(unsigned with_connections, bool with_newest_first)
{
	static unsigned again;

	snprintf(directory, sizeof directory, "%s", test_directory());
	fake_reset(0);
	log_setup(2, LOG_ERROR, false);
	planted = 0;
	connections = with_connections;
	newest_first = with_newest_first;
	into_bucket = false;
	config = (struct store_s3_config){
		.s3 = { .endpoint = { .host = "s3.aws.example", .partition = &aws } },
		.machine = "mover-1",
	};
	snprintf(state, sizeof state, "%s/state%u", directory, again);
	snprintf(target, sizeof target, "%s/archive%u", directory, again++);
	must(mkdir(state, 0700) == 0);
}

static void check_runs(unsigned with_connections, bool with_newest_first)
{
	begin(with_connections, with_newest_first);
	check_run(0, 0);
	plant(1);
	check_run(1, 0);
	plant(59);
	check_run(59, 0);
	check_run(0, 0);
	CHECK_EQ(progress.messages_read, 0);
	plant(60); /* between the others */
	check_run(60, 0);
	fake_store("in/7", fake_copy("A: b\r\n", 6), 6); /* another one in its place */
	check_run(1, 1);
	for (unsigned i = 30; i < 35; i++)
		forget(i);
	plant(40);
	check_run(40, 5);
	check_run(0, 0);
	CHECK_EQ(progress.messages_before, 1 + 59 + 60 + 40 - 5); /* as many as there are */
}

TEST_FIBER(runs_take_each_object_once)
{
	check_runs(1, false);
}

TEST_FIBER(several_conversations_take_each_object_once)
{
	check_runs(4, false);
}

TEST_FIBER(runs_from_the_highest_number_down_take_each_object_once)
{
	check_runs(2, true);
}

/* What was taken out of an archive again has the same numbers. */
TEST_FIBER(objects_that_cannot_be_had_are_skipped_and_tried_when_they_can)
{
	begin(1, false);
	plant(20);
	planted_one(3)->is_archived = true;
	snprintf(planted_one(4)->fields, FAKE_FIELDS_BYTES, "x-amz-meta-x-amz-key-v2: AAAA\r\n");
	CHECK_OK(run());
	CHECK_EQ(progress.messages_moved, 18);
	CHECK_EQ(progress.messages_skipped, 2);
	plant(1);
	CHECK_OK(run());
	CHECK_EQ(progress.messages_moved, 1);
	CHECK_EQ(progress.messages_skipped, 0);
}

static unsigned stored(void)
{
	unsigned count = 0;

	for (unsigned i = 0; i < FAKE_OBJECTS; i++)
		count += fake.objects[i].at && strstr(fake.objects[i].key, ".eml");
	return count;
}

TEST_FIBER(objects_pass_from_one_prefix_to_another)
{
	begin(2, false);
	into_bucket = true;
	plant(30);
	check_run(30, 0);
	CHECK_EQ(stored(), 30);
	check_run(0, 0);
	forget(5);
	plant(10);
	check_run(10, 1);
	CHECK_EQ(stored(), 40);
	check_run(0, 0);
}

/* At each request in turn one that is refused, late or lost: the lane goes on or the next run does.
 */
TEST_FIBER(no_failure_loses_or_doubles_a_message)
{
	static const enum fake_fault faults[] = { FAKE_REFUSED, FAKE_REPEATED, FAKE_LOST };

	for (unsigned at = 1; at < 120; at += 7) {
		unsigned runs = 0;
		enum err e = ERR_S3_UNAVAILABLE;

		begin(2, false);
		into_bucket = at % 3;
		plant(40);
		fake.fail_at = at;
		fake.fault = faults[at % ARRAY_COUNT(faults)];
		for (; e && runs < 3; runs++) {
			e = run();
			err_note_clear();
		}
		CHECK_OK(e);
		CHECK_EQ(progress.messages_before + progress.messages_moved, 40);
		CHECK_EQ(stored(), into_bucket ? 40 : 0);
	}
}
