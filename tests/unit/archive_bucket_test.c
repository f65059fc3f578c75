/* The sink and the source of archives over a bucket in memory: what a directory's tests prove of
 * packs and manifests holds there too, while a fiber of its own sends. */
#include "tests/unit/archive_help.h"
#include "tests/unit/s3_fake.h"
#include "transport/store_s3.h"

enum { PART = 64 * 1024, LEAST = 40 * 1024, LARGE = 900 * 1024, MESSAGES = 40 };

static const struct aws_partition aws = { .dns_suffix = "aws.example",
					  .dual_stack_suffix = "aws2.example" };

static void begin(struct world *world, struct store_s3_config *config, const char *path)
{
	*config = (struct store_s3_config){
		.s3 = { .endpoint = { .host = "s3.aws.example", .partition = &aws } },
		.machine = "mover-1",
		.part_bytes = PART,
		.part_bytes_least = LEAST,
	};
	fake_reset(LEAST);
	world_begin(world, path);
	config->ledger_id = world->ledger_id;
	world->account.scheme = "s3";
	world->account.host = "bucket";
	world->account.s3 = config;
	world->config.zstd_level = 0; /* so that what is written is long */
	world->config.pack_bytes = 4 * LARGE;
}

/* The write fiber's part: messages of many lengths, of which some fail on their way. */
static enum err fill_packs(void *argument)
{
	static uint8_t bytes[LARGE];
	struct world *world = argument;
	struct body_stream body;
	struct item item;
	enum err e = OK;

	fill(bytes, sizeof bytes, 1);
	for (uint64_t no = 1; no <= MESSAGES && !e; no++) {
		size_t n = no % 4 == 0 ? LARGE - no : 1000 * no;

		if (no % 8 == 0) {
			body = body_of(world->reserve, bytes, n, 5000);
			body.fail = ERR_STREAM_CUT;
			body.fail_at = n / 2;
			item = item_of(1, 1000 + no, &body);
			CHECK_ERR(archive_sink.put(world->sink, &item), ERR_STREAM_CUT);
			err_note_clear();
			stream_close(&item.body);
		}
		e = world_put(world, 1, no, bytes, n, 5000);
	}
	archive_sink.drain(world->sink);
	return e;
}

static enum err answer(void *argument)
{
	struct world *world = argument;
	enum err e = world_receipts(world, true);

	archive_sink.end_receipts(world->sink);
	return e;
}

static void run(struct world *world)
{
	static struct box box;
	struct group *both = group_open();

	box = box_named("INBOX", 1);
	REQUIRE(CHECK_OK(world_open(world)));
	CHECK_OK(archive_sink.prepare(world->sink, &box));
	CHECK_OK(group_spawn(both, "receipt", FIBER_STACK_LARGE, answer, world));
	CHECK_OK(group_spawn(both, "write", FIBER_STACK_LARGE, fill_packs, world));
	CHECK_OK(group_join(&both));
	CHECK_OK(archive_sink.finish(world->sink, clock_after(60 * NSEC_SECOND)));
	archive_sink.close(&world->sink);
}

static void check_archive(const char *path)
{
	static struct world world;
	static struct store_s3_config config;
	struct archive_check check;
	struct faults faults;

	begin(&world, &config, path);
	run(&world);
	CHECK_EQ(world.stored, MESSAGES);
	CHECK(fake.parts_count > MESSAGES);
	CHECK_OK(world_verify(&world, &faults, &check));
	CHECK_EQ(faults.count, 0);
	CHECK_EQ(check.messages, MESSAGES);
	for (unsigned i = 0; i < FAKE_UPLOADS; i++)
		CHECK(!fake.uploads[i].key[0]);
	CHECK(!fake_find("a/.lock") && !fake_find(".lock"));
	world_end(&world);
}

TEST_FIBER(an_archive_in_a_bucket_reads_back_whole)
{
	check_archive("/a/");
}

TEST_FIBER(a_bucket_itself_may_be_the_archive)
{
	check_archive("/");
}

extern const struct source_driver archive_source;

/* The mailbox's name stands behind the prefix, which may be none. */
TEST_FIBER(a_mailbox_is_found_below_the_archive_in_the_bucket)
{
	static const char *const roots[] = { "/", "/a", "/a/b/" };
	static struct world world;
	static struct store_s3_config config;
	struct source *source = NULL;
	char path[200];

	for (size_t i = 0; i < ARRAY_COUNT(roots); i++) {
		begin(&world, &config, roots[i]);
		run(&world);
		snprintf(path, sizeof path, "%s/alice@mail.example.com", i ? roots[i] : "");
		world.account.path = path;
		if (CHECK_OK(archive_source.open(&source, &world.account, world.reserve,
						 clock_after(60 * NSEC_SECOND))))
			archive_source.close(&source);
		world.account.path = world.path;
		world_end(&world);
	}
}
